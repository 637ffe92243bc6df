"""Negatives of shuffled AUC: fixations in other images."""
import contextlib

import numpy as np

from common.errors import UserError
from common.progress import progress
from data.density import fixation_map

OTHER_IMAGES = 10  # number of images whose fixations are the negatives of an image, as in the benchmark


def mark_other_fixations(dataset, index, seed, count=OTHER_IMAGES):
    """Mark the pixels that were fixated in random other images, at the scale of this image.

    An image without readable fixations is replaced by the next random image.

    Parameters
    ----------
    dataset : data.dataset.Dataset
    index : int
        Position of this image in the data set.
    seed : int
    count : int
        Number of other images.

    Returns
    -------
    bool (H, W)
    """
    others = np.delete(np.arange(len(dataset)), index)
    shape = dataset[index].shape
    marked, images = np.zeros(shape, bool), 0
    for other in np.random.default_rng((seed, index, 1)).permutation(others):
        if images == count:
            break
        if len(points := _readable_fixations(dataset[other], shape)):
            marked |= fixation_map(points, shape)
            images += 1
    return marked


def count_all_fixations(dataset):
    """Count the images that are fixated at each pixel, over all readable images, at the size of the first one.

    An image counts once per pixel, also with several fixations there, as in the SALICON server's code.

    Parameters
    ----------
    dataset : data.dataset.Dataset

    Returns
    -------
    int (H, W)
    """
    shape = _first_shape(dataset)
    counts = np.zeros(shape, int)
    for sample in progress(dataset, description="fixations of all images"):
        counts += fixation_map(_readable_fixations(sample, shape), shape)
    return counts


def count_other_fixations(all_counts, sample):
    """Subtract an image from the counts of all images and bring the rest to the image's scale.

    Parameters
    ----------
    all_counts : int (H, W), from `count_all_fixations`
    sample : data.dataset.Sample

    Returns
    -------
    int (h, w), of the sample's shape

    Raises
    ------
    UserError
        The sample's fixations cannot be read.
    """
    own = _to_scale(sample.fixations, sample.shape, all_counts.shape)
    counts = all_counts - fixation_map(own, all_counts.shape)
    if counts.shape == sample.shape:
        return counts
    row, column = np.nonzero(counts)
    points = _to_scale(np.column_stack([column, row]), counts.shape, sample.shape)
    return count_fixations(points, sample.shape, counts[row, column])


def count_fixations(fixations, shape, weights=None):
    """Count the fixations whose nearest pixel is this one, for every pixel.

    Parameters
    ----------
    fixations : float (N, 2), (x, y), 0-based, inside the frame
    shape : (H, W)
    weights : int (N,) or None
        Number of times that each fixation counts; None: once.

    Returns
    -------
    int (H, W)
    """
    column, row = np.floor(np.asarray(fixations).reshape(-1, 2).T + 0.5).astype(int)
    counts = np.zeros(shape, int)
    np.add.at(counts, (row, column), 1 if weights is None else weights)
    return counts


def _readable_fixations(sample, shape):
    """Return a sample's fixations at the scale of another shape; none if they are missing or cannot be read."""
    try:
        return _to_scale(sample.fixations, sample.shape, shape)
    except UserError:
        return np.zeros((0, 2))


def _first_shape(dataset):
    """Return the shape of the first readable image."""
    for sample in dataset:
        with contextlib.suppress(UserError):
            return sample.shape
    raise UserError(f"{dataset.name} {dataset.split}: none of the images can be read; run make check-data")


def _to_scale(points, old_shape, new_shape):
    """Scale points (x, y) from one image shape to another, so that corners fall on corners."""
    return points * ((np.array(new_shape[::-1]) - 1) / np.maximum(np.array(old_shape[::-1]) - 1, 1))
