"""MATLAB's bicubic imresize: the benchmark applies it to a prediction that differs in size from its image.

Kernel: Keys' cubic with a = -1/2, stretched when shrinking so that it also smooths (antialiasing). The weights of
each output pixel sum to 1. The image is mirrored at its edges. OpenCV (a = -3/4, no antialiasing) and
scipy.ndimage.zoom (splines) give maps that differ by 1e-3.
"""
import math

import numpy as np

RADIUS = 2.0  # radius of the cubic kernel, in pixels of the coarser image


def imresize(image, size):
    """Resize like MATLAB's `imresize(image, size)` and `imresize(image, scale)` of a floating-point image.

    Parameters
    ----------
    image : (H, W), any real dtype
    size : (int, int) or float
        Rows and columns of the result; or a scale, which gives ceil(scale * H) and ceil(scale * W).

    Returns
    -------
    float64 of that size
        Cubic weights can be negative: values may leave the range of the input by some percent, and are not clipped.

    Raises
    ------
    ValueError
        The image is not 2-D, has no pixel, or contains NaN or infinity; or the size is not positive.
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
    # MATLAB first resizes the dimension that shrinks most; the order changes the result by rounding only
    rows = _weights(image.shape[0], size[0], scales[0])
    columns = _weights(image.shape[1], size[1], scales[1])
    return rows @ (image @ columns.T) if scales[1] < scales[0] else (rows @ image) @ columns.T


def _weights(old, new, scale):
    """Build the sparse matrix (new, old) of the weights of input pixels in output pixels, along one axis."""
    import scipy.sparse

    stretch = min(scale, 1.0)  # when shrinking, the kernel is 1 / scale times as wide
    centres = (np.arange(new) + 0.5) / scale - 0.5
    count = math.ceil(2 * RADIUS / stretch) + 2
    first = np.floor(centres - RADIUS / stretch)
    pixels = first[:, None] + np.arange(count)
    weights = _cubic((centres[:, None] - pixels) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    # mirrored with the edge pixel repeated: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
    mirrored = np.mod(pixels.astype(np.int64), 2 * old)
    mirrored = np.minimum(mirrored, 2 * old - 1 - mirrored)
    rows = np.repeat(np.arange(new), count)
    return scipy.sparse.csr_matrix((weights.ravel(), (rows, mirrored.ravel())), shape=(new, old))


def _cubic(distance):
    """Evaluate Keys' interpolation kernel with a = -1/2."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x ** 2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
