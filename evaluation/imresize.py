"""MATLAB's imresize, bicubic: what the benchmark does to a prediction that is not of its image's size.

Keys' cubic kernel with a = -1/2, stretched when shrinking so that it also smooths (antialiasing);
the weights of each output pixel sum to 1; beyond the edge the image is mirrored. OpenCV (a = -3/4, no
antialiasing) and scipy.ndimage.zoom (splines) give maps that differ by 1e-3.
"""
import math

import numpy as np

RADIUS = 2.0  # of the cubic kernel, in pixels of the coarser image


def imresize(image, size):
    """Resize as MATLAB's `imresize(image, size)` and `imresize(image, scale)` do for floating point images.

    Parameters
    ----------
    image : (H, W), any real dtype
    size : (int, int) or float
        Rows and columns to come to; or a scale, which gives ceil(scale * H) and ceil(scale * W).

    Returns
    -------
    float64 of that size. Cubic weights can be negative: values may leave the range of the input
    by some percent, and are not clipped.

    Raises
    ------
    ValueError
        The image is not 2-D, has no pixel or NaN or infinity in it, or the size is not positive.
    """
    image = np.asarray(image, np.float64)
    if image.ndim != 2 or not image.size:
        raise ValueError(f"an image to resize must be 2-D with at least one pixel, not {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError("NaN or infinity in the image to resize; predict or load it again")
    if np.isscalar(size):
        scales = (float(size),) * 2
        size = tuple(math.ceil(scales[0] * length) for length in image.shape)
    else:
        scales = tuple(new / old for new, old in zip(size, image.shape, strict=True))
    if min(scales) <= 0 or not all(math.isfinite(scale) for scale in scales):
        raise ValueError(f"the size to resize to must be positive, not {size}")
    # MATLAB works along the dimension that shrinks most first; either order gives the same up to rounding
    rows = _weights(image.shape[0], size[0], scales[0])
    columns = _weights(image.shape[1], size[1], scales[1])
    return rows @ (image @ columns.T) if scales[1] < scales[0] else (rows @ image) @ columns.T


def _weights(old, new, scale):
    """Sparse (new, old) matrix: how much each old pixel of a line counts in each new one."""
    import scipy.sparse

    stretch = min(scale, 1.0)  # below 1 the kernel covers as many more pixels
    centres = (np.arange(new) + 0.5) / scale - 0.5
    count = math.ceil(2 * RADIUS / stretch) + 2
    first = np.floor(centres - RADIUS / stretch)
    pixels = first[:, None] + np.arange(count)
    weights = _cubic((centres[:, None] - pixels) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    # mirrored with the edge pixel repeated: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
    folded = np.mod(pixels.astype(np.int64), 2 * old)
    folded = np.minimum(folded, 2 * old - 1 - folded)
    lines = np.repeat(np.arange(new), count)
    return scipy.sparse.csr_matrix((weights.ravel(), (lines, folded.ravel())), shape=(new, old))


def _cubic(distance):
    """Keys' interpolation kernel with a = -1/2."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x ** 2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
