"""Images for reports: a map over its image, fixations on an image, rows of images."""
import numpy as np

GAP, HEADER = 8, 34  # pixels: between images, and the height of a strip of titles


def overlay(image, saliency):
    """Overlay a saliency or density map on its image: blue is low, red is high, each half transparent.

    Parameters
    ----------
    image : uint8 (H, W, 3), RGB
    saliency : float (H, W)
        Scaled to its own range.

    Returns
    -------
    uint8 (H, W, 3), RGB
    """
    import cv2

    return cv2.addWeighted(image, 0.5, heat(saliency), 0.5, 0)


def heat(saliency):
    """Render a map in colours from blue (lowest) to red (highest), uint8 (H, W, 3) RGB; its own range is used."""
    import cv2

    return np.ascontiguousarray(cv2.applyColorMap(stretch(saliency), cv2.COLORMAP_JET)[:, :, ::-1])


def with_points(image, points):
    """Mark fixations on a copy of an image: yellow dots with a dark rim, or small crosses if there are more than 300.

    Parameters
    ----------
    image : uint8 (H, W, 3), RGB
    points : float (N, 2)
        (x, y) in pixels.

    Returns
    -------
    uint8 (H, W, 3), RGB
    """
    import cv2

    marked, size = image.copy(), max(2, round(max(image.shape[:2]) / 160))
    centres = [tuple(int(round(float(value))) for value in point) for point in points]
    for centre in centres:
        if len(centres) > 300:
            cv2.drawMarker(marked, centre, (255, 225, 0), cv2.MARKER_CROSS, 3, 1)
            continue
        cv2.circle(marked, centre, size + 1, (40, 40, 40), -1, cv2.LINE_AA)
        cv2.circle(marked, centre, size, (255, 225, 0), -1, cv2.LINE_AA)
    return marked


def stretch(values):
    """Stretch an array's own range to 0..255, uint8; a constant array becomes 0."""
    span = values.max() - values.min()
    return ((values - values.min()) / span * 255 if span > 0 else np.zeros(values.shape)).astype(np.uint8)


def strip(cells, width):
    """Join images side by side, with white gaps between and below them.

    Parameters
    ----------
    cells : list of uint8 (H, W, 3), RGB
        Images. All are resized to the same size, with the aspect ratio of the first.
    width : int
        Width of each resized image in pixels.

    Returns
    -------
    uint8 (h, w, 3), RGB
    """
    import cv2

    height = max(1, round(cells[0].shape[0] * width / cells[0].shape[1]))
    row = np.full((height + GAP, len(cells) * (width + GAP) - GAP, 3), 255, np.uint8)
    for column, cell in enumerate(cells):
        left = column * (width + GAP)
        row[:height, left:left + width] = cv2.resize(cell, (width, height), interpolation=cv2.INTER_AREA)
    return row


def title_strip(titles, width):
    """Render a white strip with a title above each column of this width in pixels, for `strip`; uint8 (34, w, 3)."""
    import cv2

    header = np.full((HEADER, len(titles) * (width + GAP) - GAP, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        cv2.putText(header, title, (column * (width + GAP), HEADER - 11), cv2.FONT_HERSHEY_SIMPLEX, 0.7,
                    (30, 30, 30), 1, cv2.LINE_AA)
    return header
