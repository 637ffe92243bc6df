"""From fixations to maps: the fixation map, and the density that it is blurred to."""
import numpy as np

CUT_OFF = 4  # sigma: the Gaussian ends there
FEW = 400  # fixated pixels up to which adding a Gaussian for each is quicker than blurring the map (bench/data.py)
BLOCK = 64  # rows blurred by one matrix product


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
    radius = int(CUT_OFF * sigma + 0.5)
    gaussian = np.exp(-np.arange(-radius, radius + 1) ** 2 / (2 * sigma ** 2)).astype(np.float32)
    rows, columns = np.nonzero(marked)
    if rows.size <= FEW:  # as eye trackers give; a Gaussian is the product of its profiles along both axes
        density = _profiles(rows, shape[0], gaussian).T @ _profiles(columns, shape[1], gaussian)
    else:
        density = _blur_columns(_blur_columns(marked, gaussian).T, gaussian).T
    peak = density.max()
    return density / peak if peak > 0 else density


def _profiles(centres, length, gaussian):
    """float32 (N, length): the Gaussian around each centre."""
    radius = len(gaussian) // 2
    by_distance = np.zeros(2 * (length + radius) + 1, np.float32)
    by_distance[length:length + len(gaussian)] = gaussian
    return by_distance[length + radius + np.arange(length) - centres[:, None]]


def _blur_columns(array, gaussian):
    """Convolve each column of (H, W) with the Gaussian, some rows at a time.

    Rows y to y + BLOCK of the result are one matrix times rows y - radius to y + BLOCK + radius of the array, the same
    matrix everywhere: a third of the time of OpenCV's filter, which works through one row after the other.
    """
    height, radius = len(array), len(gaussian) // 2
    matrix = np.zeros((BLOCK, BLOCK + 2 * radius), np.float32)
    for row in range(BLOCK):
        matrix[row, row:row + len(gaussian)] = gaussian
    blocks = -(-height // BLOCK)
    padded = np.zeros((blocks * BLOCK + 2 * radius, array.shape[1]), np.float32)
    padded[radius:radius + height] = array
    blurred = np.empty((blocks * BLOCK, array.shape[1]), np.float32)
    for start in range(0, len(blurred), BLOCK):
        np.matmul(matrix, padded[start:start + len(matrix[0])], out=blurred[start:start + BLOCK])
    return blurred[:height]
