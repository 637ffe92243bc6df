"""From fixations to maps: the fixation map, and the density that it is blurred to."""
import math

import numpy as np

CUT_OFF = 4  # sigma: the Gaussian ends there
FEW = 400  # fixated pixels up to which adding a Gaussian for each is quicker than blurring the map (bench/data.py)
BLOCK = 64  # rows of a map made by one matrix product: they stay in the processor's cache
MANTISSA = 52  # bits of a float64, less one for rounding the sum of the Gaussian


def fixation_map(fixations, shape):
    """Mark the pixel nearest to each fixation; several fixations on a pixel count once.

    Parameters
    ----------
    fixations : float (N, 2), (x, y), 0-based, inside the frame
    shape : (H, W)

    Returns
    -------
    bool (H, W)
    """
    marked = np.zeros(shape, bool)
    column, row = np.floor(np.asarray(fixations).reshape(-1, 2).T + 0.5).astype(int)
    marked[row, column] = True
    return marked


def density_map(fixations, shape, sigma):
    """Blur the fixation map and scale it to a maximum of 1, as the SALICON toolkit does.

    The Gaussian is cut off at 4 sigma; beyond the edge of the image there is nothing (zeros).

    The result has the same bits with every matrix library, kernel and number of threads, so that prepared data can be
    compared and resumed on any of them. That needs sums that do not depend on their order: the Gaussian is rounded to
    multiples of 2^-b, so every product is a multiple of 2^-2b, and b is the largest number of bits for which the sum of
    all products still fits into the 53 bits of a float64. Nothing is rounded on the way. With 8,192 fixated
    pixels b is 19, and the map is off by less than 1e-5 of its maximum at worst, 1e-6 in practice.

    Parameters
    ----------
    fixations : float (N, 2), (x, y), 0-based, inside the frame
    shape : (H, W)
    sigma : float, pixels

    Returns
    -------
    float32 (H, W) in [0, 1]; all zero if there is no fixation
    """
    marked = fixation_map(fixations, shape)
    rows, columns = np.nonzero(marked)
    if not rows.size:
        return np.zeros(shape, np.float32)
    gaussian = _rounded_gaussian(sigma, rows.size)
    density = np.empty(shape, np.float32)
    if rows.size <= FEW:  # as eye trackers give; a Gaussian is the product of its profiles along both axes
        along_y, along_x = _profiles(rows, shape[0], gaussian), _profiles(columns, shape[1], gaussian)
        for start in range(0, shape[0], BLOCK):
            density[start:start + BLOCK] = along_y[:, start:start + BLOCK].T @ along_x
    else:
        down = np.empty(shape)
        _blur_columns(marked, gaussian, down)
        _blur_columns(down.T, gaussian, density.T)
    density /= density.max()
    return density


def _rounded_gaussian(sigma, count):
    """Return the profile of a Gaussian whose sums over `count` pixels are exact in float64; see `density_map`."""
    radius = int(CUT_OFF * sigma + 0.5)
    gaussian = np.exp(-np.arange(-radius, radius + 1) ** 2 / (2 * sigma ** 2))
    largest_sum = min(count, (gaussian.sum() + 1) ** 2)
    bits = (MANTISSA - math.ceil(math.log2(largest_sum + 1))) // 2
    return np.round(gaussian * 2.0 ** bits) / 2.0 ** bits


def _profiles(centres, length, gaussian):
    """float64 (N, length): the Gaussian around each centre."""
    radius = len(gaussian) // 2
    by_distance = np.zeros(2 * (length + radius) + 1)
    by_distance[length:length + len(gaussian)] = gaussian
    return by_distance[length + radius + np.arange(length) - centres[:, None]]


def _blur_columns(array, gaussian, out):
    """Convolve each column of (H, W) with the Gaussian, some rows at a time, into `out`.

    Rows y to y + BLOCK of the result are one matrix times rows y - radius to y + BLOCK + radius of the array, the same
    matrix everywhere: a third of the time of OpenCV's filter, which works through one row after the other.
    """
    height, radius = len(array), len(gaussian) // 2
    matrix = np.zeros((BLOCK, BLOCK + 2 * radius))
    for row in range(BLOCK):
        matrix[row, row:row + len(gaussian)] = gaussian
    padded = np.zeros((-(-height // BLOCK) * BLOCK + 2 * radius, array.shape[1]))
    padded[radius:radius + height] = array
    for start in range(0, height, BLOCK):
        rows = matrix[:height - start]
        out[start:start + BLOCK] = rows @ padded[start:start + len(matrix[0])]
