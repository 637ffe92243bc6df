"""Image -> 96x96 input, density -> 48x48 target, and back: the only place with these constants.

1. the image is squashed to 96x96, whatever its aspect (section 3.1; the released predictor
   crops images but not maps, which misaligns them: deviation 12 in README.md);
2. colours stay RGB, channels first, divided by 255 to [0, 1] (section 3.2: maps likewise);
3. the density is squashed to 48x48, in [0, 1] (sections 3.1, 3.2);
4. a prediction is resized to the image and smoothed with a Gaussian, sigma 2.0 (section 3.1).
"""
import cv2
import numpy as np

INPUT_SIZE = 96  # section 3.1: "the input images are resized to [96 x 96]"
MAP_SIZE = 48  # section 3.1: "a 2D array of [48 x 48]"
SMOOTHING_SIGMA = 2.0  # section 3.1: "a Gaussian kernel with a standard deviation of 2.0", pixels of the image


def squash_image(image):
    """uint8 (H, W, 3) RGB -> uint8 (3, 96, 96) RGB, averaging over pixels when shrinking."""
    return _squash(image, INPUT_SIZE).transpose(2, 0, 1)


def squash_density(density):
    """float32 (H, W) in [0, 1] -> float32 (48, 48) in [0, 1]."""
    return _squash(density, MAP_SIZE)


def to_input(squashed):
    """uint8 (..., 3, 96, 96) -> float32 in [0, 1], what the net is fed."""
    return np.asarray(squashed, np.float32) / np.float32(255)


def to_saliency(output, shape):
    """Turn the net's answer into a map of the image's size.

    Parameters
    ----------
    output : float32 (2304,) or (48, 48)
        About [0, 1]; the last layer is linear, so it can leave that range.
    shape : (H, W)

    Returns
    -------
    float32 (H, W) in [0, 1]
    """
    small = np.asarray(output, np.float32).reshape(MAP_SIZE, MAP_SIZE)
    full = cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(full, (0, 0), SMOOTHING_SIGMA, borderType=cv2.BORDER_REFLECT)
    return smooth.clip(0, 1)


def _squash(array, size):
    return cv2.resize(np.ascontiguousarray(array), (size, size), interpolation=cv2.INTER_AREA)
