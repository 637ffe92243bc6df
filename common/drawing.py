"""Draw images for people to look at: a map over its image, fixations, rows of cells."""
import numpy as np

GAP = 8  # pixels between cells


def overlay(image, saliency):
    """Lay a map over its image: blue where little, red where most; half of the image shines through.

    Parameters
    ----------
    image : uint8 (H, W, 3), RGB
    saliency : float (H, W); scaled to its own range

    Returns
    -------
    uint8 (H, W, 3), RGB
    """
    import cv2

    heat = cv2.applyColorMap(stretch(saliency), cv2.COLORMAP_JET)[:, :, ::-1]
    return cv2.addWeighted(image, 0.5, np.ascontiguousarray(heat), 0.5, 0)


def with_points(image, points):
    """Mark fixations (x, y) on an image: yellow dots with a dark rim; of more than 300, every point a pixel's cross.

    Parameters
    ----------
    image : uint8 (H, W, 3), RGB
    points : float (N, 2), (x, y)

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
    """Scale to 0..255, uint8, over the range of the values; all the same gives 0."""
    span = values.max() - values.min()
    return ((values - values.min()) / span * 255 if span > 0 else np.zeros(values.shape)).astype(np.uint8)


def strip(cells, width):
    """Pictures side by side, shrunk to a common width and the first one's aspect, a white gap below and between.

    Parameters
    ----------
    cells : list of uint8 (H, W, 3), RGB
    width : int, pixels of a cell

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
