"""The files of the LSUN challenge of 2015, in which both iSUN and SALICON came.

    training.mat, validation.mat, testing.mat    one variable: an array of struct, an element an image
    images/<name>.jpg
    saliency/<name>.mat                          variable I, float in [0, 1]: the density

The two sets name fields differently, but have them in one order: the image's name first, then its resolution
[height width], and the gaze last, an array of struct, an element an observer: location, timestamp and, last, the
fixations, (N, 2), [x, y], counted from 1. testing.mat has no gaze.
"""
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.images import read_image
from data.dataset import Dataset, Sample
from data.layouts import LAYOUT_ERRORS, by_observer, images_below, read_mat, refuse_layout, to_zero_based
from data.maps import read_map

SPLIT_FILES = {"train": "training.mat", "val": "validation.mat", "test": "testing.mat"}
LAYOUT = "struct array with image, resolution and gaze"


def open_lsun(name, split, root, sigma, about):
    """Open a split as LSUN distributed it.

    Parameters
    ----------
    name : "isun" or "salicon"
    split : "train", "val" or "test"
    root : Path of the folder with the .mat files
    sigma : float
        Blur for images without a map in saliency/.
    about : dict, see `data.dataset.Dataset`

    Raises
    ------
    UserError
        A file is missing, damaged, or of the other data set.
    """
    path = root / SPLIT_FILES[split]
    records = read_lsun(path)
    if any(stem.startswith("COCO_") for stem in records) != (name == "salicon"):
        raise UserError(f"{path}: these are {'SALICON' if name == 'isun' else 'iSUN'}'s images; "
                        f"give DATASET={'salicon' if name == 'isun' else 'isun'}, or another DATA_ROOT")
    images = images_below(root / "images")
    maps = root / "saliency" if (root / "saliency").is_dir() and split != "test" else None

    paths = {stem: images.get(stem, root / "images" / f"{stem}.jpg") for stem in records}

    def open_sample(stem):  # binds what is this sample's own, so that it is cheap to send to another process
        (shape, gaze), image, own = records[stem], paths[stem], maps and maps / f"{stem}.mat"
        return Sample(stem, shape, lambda: read_image(image), None if split == "test" else lambda: gaze, sigma,
                      own and (lambda: read_map(own)))

    about = {**about, "edition": f"{about['edition']}, densities {'as published' if maps else 'made here'}"}
    files = [path, *paths.values(), *(maps / f"{stem}.mat" for stem in records if maps)]
    return Dataset(name, split, sigma, sorted(records), open_sample, about, files)


def read_lsun(path):
    """{name: ((H, W), (float32 (N, 2), int32 (N,)))}: each image's size, fixations (x, y) from 0, and whose they are.

    MATLAB's format cannot be read in parts, so this takes the whole file; what stays are the fixations.
    """
    array = read_mat(path)
    try:
        found = {}
        for record in array.ravel():
            fields = record.item() if hasattr(record, "item") else tuple(record)
            size = np.asarray(fields[1]).ravel()
            gaze = fields[-1].ravel() if len(fields) > 2 and fields[-1].dtype.names else []
            points = [to_zero_based(observer.item()[-1]) for observer in gaze]
            found[Path(str(np.asarray(fields[0]).ravel()[0])).stem] = (int(size[0]), int(size[1])), by_observer(points)
    except LAYOUT_ERRORS as error:
        refuse_layout(path, LAYOUT, error)
    if not found:
        raise UserError(f"{path}: no image in it; copy the file again")
    return found
