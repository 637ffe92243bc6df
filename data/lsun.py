"""The files of the LSUN challenge of 2015, which distributed both iSUN and SALICON.

    training.mat, validation.mat, testing.mat    one variable: a struct array with one element per image
    images/<name>.jpg
    saliency/<name>.mat                          variable I, float in [0, 1]: the density map

The two data sets name the fields differently but order them alike: first the image's name, then its resolution
[height width], and last the gaze, a struct array with one element per observer: location, timestamp and, last, the
fixations, (N, 2), [x, y], 1-based. testing.mat has no gaze.
"""
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.images import read_image
from data.dataset import Dataset, Sample, WrongRoot
from data.layouts import LAYOUT_ERRORS, find_images, layout_error, read_mat, stack_observers, to_zero_based
from data.maps import read_map

SPLIT_FILES = {"train": "training.mat", "val": "validation.mat", "test": "testing.mat"}
LAYOUT = "struct array with image, resolution and gaze"
TITLES = {"isun": "iSUN", "salicon": "SALICON"}


def open_lsun(name, split, root, sigma, about, parts=None):
    """Open a split in LSUN's distribution.

    Parameters
    ----------
    name : "isun" or "salicon"
    split : "train", "val" or "test"
    root : Path of the folder with the .mat files
    sigma : float
        Blur for images without a density map in saliency/.
    about : dict, see `data.dataset.Dataset`
    parts : tuple of str, or None
        The published splits that this split consists of; None: the one of the same name.

    Raises
    ------
    UserError
        A file is missing, damaged, or belongs to the other data set.
    """
    sources = [root / SPLIT_FILES[part] for part in parts or (split,)]
    records = {stem: record for source in sources for stem, record in read_lsun(source).items()}
    actual = "salicon" if any(stem.startswith("COCO_") for stem in records) else "isun"
    if actual != name:
        raise WrongRoot(f"{sources[0]}: holds the images of {TITLES[actual]}, which is the data set {actual}; "
                        f"give the folder of {TITLES[name]}")
    images = find_images(root / "images")
    maps = root / "saliency" if (root / "saliency").is_dir() and split != "test" else None

    paths = {stem: images.get(stem, root / "images" / f"{stem}.jpg") for stem in records}

    def open_sample(stem):  # binds only the values of this sample, so that it pickles small for worker processes
        (shape, gaze), image, density = records[stem], paths[stem], maps and maps / f"{stem}.mat"
        return Sample(stem, shape, lambda: read_image(image), None if split == "test" else lambda: gaze, sigma,
                      density and (lambda: read_map(density)))

    about = {**about, "edition": f"{about['edition']}, densities {'as published' if maps else 'made here'}"}
    files = [*sources, *paths.values(), *(maps / f"{stem}.mat" for stem in records if maps)]
    return Dataset(name, split, sigma, sorted(records), open_sample, about, files)


def read_lsun(path):
    """Read the sizes and fixations of all images of a split.

    MATLAB's format cannot be read in parts, so this reads the whole file and keeps only sizes and fixations.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str: ((H, W), (float32 (N, 2), int32 (N,)))
        By image name: size; fixations (x, y), 0-based, and the index of the observer of each.

    Raises
    ------
    UserError
        The file is missing or damaged, or holds no image.
    """
    array = read_mat(path)
    try:
        records = {}
        for record in array.ravel():
            fields = record.item() if hasattr(record, "item") else tuple(record)
            size = np.asarray(fields[1]).ravel()
            gaze = fields[-1].ravel() if len(fields) > 2 and fields[-1].dtype.names else []
            points = [to_zero_based(observer.item()[-1]) for observer in gaze]
            name = Path(str(np.asarray(fields[0]).ravel()[0])).stem
            records[name] = (int(size[0]), int(size[1])), stack_observers(points)
    except LAYOUT_ERRORS as error:
        raise layout_error(path, LAYOUT) from error
    if not records:
        raise UserError(f"{path}: no image in it; copy the file again")
    return records
