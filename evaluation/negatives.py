"""The negatives of shuffled AUC: where people looked in other images."""
import numpy as np

from common.errors import UserError
from common.progress import progress
from data.density import fixation_map

OTHERS = 10  # images whose fixations are an image's negatives, as in the benchmark


def other_fixations(dataset, index, seed, count=OTHERS):
    """Where people looked in some random other images, at the scale of this one.

    An image whose fixations cannot be read gives way to the next one drawn.

    Returns
    -------
    bool (H, W)
    """
    others = np.delete(np.arange(len(dataset)), index)
    shape = dataset[index].shape
    marked, found = np.zeros(shape, bool), 0
    for other in np.random.default_rng((seed, index, 1)).permutation(others):
        if found == count:
            break
        if (points := _fixations(dataset[other], shape)) is not None:
            marked |= fixation_map(points, shape)
            found += 1
    return marked


def all_fixations(dataset):
    """How often each pixel was fixated in all images that can be read together, at the size of the first one.

    Returns
    -------
    int (H, W)
    """
    shape = dataset[0].shape
    looks = np.zeros(shape, int)
    for sample in progress(dataset, description="fixations of all images"):
        if (points := _fixations(sample, shape)) is not None:
            looks += counts(points, shape)
    return looks


def other_counts(all_counts, sample):
    """`all_fixations` without those of one image, at its scale; int (H, W)."""
    rest = all_counts - counts(_fixations(sample, all_counts.shape), all_counts.shape)
    if rest.shape == sample.shape:
        return rest
    row, column = np.nonzero(rest)
    points = _to_scale(np.column_stack([column, row]), rest.shape, sample.shape)
    return counts(points, sample.shape, rest[row, column])


def counts(fixations, shape, weights=None):
    """How many fixations fell nearest to each pixel.

    Parameters
    ----------
    fixations : float (N, 2), (x, y), 0-based, inside the frame
    shape : (H, W)
    weights : int (N,) or None
        How often each one counts; None: once.

    Returns
    -------
    int (H, W)
    """
    column, row = np.floor(np.asarray(fixations).reshape(-1, 2).T + 0.5).astype(int)
    looks = np.zeros(shape, int)
    np.add.at(looks, (row, column), 1 if weights is None else weights)
    return looks


def _fixations(sample, shape):
    """A sample's fixations in the frame of an image of this shape; None if they cannot be read."""
    try:
        return _to_scale(sample.fixations, sample.shape, shape)
    except UserError:
        return None


def _to_scale(points, old, new):
    """Points (x, y) of an image of one shape in another one's frame: corners fall on corners."""
    return points * ((np.array(new[::-1]) - 1) / np.maximum(np.array(old[::-1]) - 1, 1))
