"""Pictures that compare: Figure 1 and 5 of the paper, for any data set."""
from pathlib import Path

import numpy as np

COLUMNS = ("Image", "People", "Shallow net", "Deep net")
ROWS = 6
CELL_WIDTH, GAP, HEADER = 320, 8, 34  # pixels


def comparison(dataset, root, predictions, path, rows=ROWS):
    """Draw test images in rows: image, people, shallow net, deep net, the maps laid over the image as heat.

    Parameters
    ----------
    dataset, root : see `data.dataset.load`
    predictions : path of a folder with shallow/predictions.h5 and deep/predictions.h5
    path : path of the PNG to write
    rows : int
        Images, spread evenly over the test split.
    """
    from PIL import Image

    from data.dataset import load
    from data.files import atomic
    from data.maps import Maps

    samples = load(dataset, "test", root)
    maps = [Maps(Path(predictions) / net / "predictions.h5") for net in ("shallow", "deep")]
    chosen = np.linspace(0, len(samples) - 1, min(rows, len(samples))).round().astype(int)
    strips = [_header()]
    for index in chosen:
        sample = samples[index]
        cells = [sample.image, *(overlay(sample.image, saliency) for saliency in
                                 (sample.density, *(source[sample.name] for source in maps)))]
        strips.append(_strip(cells))
    sheet = np.concatenate(strips)
    with atomic(path) as scratch:
        Image.fromarray(sheet).save(scratch, format="PNG", optimize=True)


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

    span = saliency.max() - saliency.min()
    grey = ((saliency - saliency.min()) / span * 255 if span > 0 else np.zeros(saliency.shape)).astype(np.uint8)
    heat = cv2.applyColorMap(grey, cv2.COLORMAP_JET)[:, :, ::-1]
    return cv2.addWeighted(image, 0.5, np.ascontiguousarray(heat), 0.5, 0)


def _strip(cells):
    """Cells of one image side by side, shrunk to a common width, with a white gap below and between."""
    import cv2

    height = round(cells[0].shape[0] * CELL_WIDTH / cells[0].shape[1])
    strip = np.full((height + GAP, len(cells) * (CELL_WIDTH + GAP) - GAP, 3), 255, np.uint8)
    for column, cell in enumerate(cells):
        left = column * (CELL_WIDTH + GAP)
        strip[:height, left:left + CELL_WIDTH] = cv2.resize(cell, (CELL_WIDTH, height), interpolation=cv2.INTER_AREA)
    return strip


def _header():
    import cv2

    strip = np.full((HEADER, len(COLUMNS) * (CELL_WIDTH + GAP) - GAP, 3), 255, np.uint8)
    for column, title in enumerate(COLUMNS):
        cv2.putText(strip, title, (column * (CELL_WIDTH + GAP), HEADER - 11), cv2.FONT_HERSHEY_SIMPLEX, 0.7,
                    (30, 30, 30), 1, cv2.LINE_AA)
    return strip
