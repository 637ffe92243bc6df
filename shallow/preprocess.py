"""Convert an image to the 96x96 input, a density map to the 48x48 target, and an output to a saliency map.

These constants stand only in this file.

1. The image is squashed to 96x96, whatever its aspect ratio (section 3.1). The released predictor crops images
   but not maps, which misaligns them; `crop_image` does so for the authors' weights (deviation 12 in README.md).
2. Colours stay RGB, channels first, divided by 255 to [0, 1] (section 3.2, which also has maps in [0, 1]).
3. The density map is squashed to 48x48, in [0, 1] (sections 3.1, 3.2), or in [-1, 1] as released.
4. A saliency map is resized to the image and smoothed with a Gaussian, sigma 2.0 (section 3.1). The released
   predictor smooths before resizing, sigma 3 at 48x48; `to_saliency` can do both.
"""
import cv2
import numpy as np

INPUT_SIZE = 96  # section 3.1: "the input images are resized to [96 x 96]"
MAP_SIZE = 48  # section 3.1: "a 2D array of [48 x 48]"
SMOOTHING_SIGMA = 2.0  # section 3.1: "a Gaussian kernel with a standard deviation of 2.0", pixels of the image
RELEASED_SIGMA = 3.0  # released predictor, cells of the 48x48 map
FITS = ("squash", "crop")
SMOOTHINGS = ("paper", "released")


def squash_image(image):
    """Resize an image, uint8 (H, W, 3) RGB -> uint8 (3, 96, 96) RGB; shrinking averages pixels."""
    return _squash(image, INPUT_SIZE).transpose(2, 0, 1)


def crop_image(image):
    """Crop the central square, then resize, uint8 (H, W, 3) RGB -> uint8 (3, 96, 96) RGB, as the released predictor."""
    side = min(image.shape[:2])
    top, left = ((size - side) // 2 for size in image.shape[:2])
    return squash_image(image[top:top + side, left:left + side])


def squash_density(density):
    """Resize a density map, float32 (H, W) in [0, 1] -> float32 (48, 48) in [0, 1]."""
    return _squash(density, MAP_SIZE)


def to_input(squashed):
    """Convert resized images, uint8 (..., 3, 96, 96), to the net's input, float32 in [0, 1]."""
    return np.asarray(squashed, np.float32) / np.float32(255)


def to_target(density, target_range=(0.0, 1.0)):
    """Stretch density maps in [0, 1], float32 of any shape, to target_range."""
    low, high = np.float32(target_range[0]), np.float32(target_range[1])
    return np.asarray(density, np.float32) * (high - low) + low


def to_saliency(output, shape, smoothing="paper", target_range=(0.0, 1.0)):
    """Convert the net's output to a saliency map of the image's size.

    Parameters
    ----------
    output : float32 (2304,) or (48, 48)
        Approximately in target_range; the last layer is linear, so values outside it occur.
    shape : (H, W)
        Shape of the image.
    smoothing : "paper" or "released"
        Sigma 2.0 after resizing to the image, or sigma 3 at 48x48 before resizing.
    target_range : (float, float)
        Range of the maps that the net was trained on.

    Returns
    -------
    float32 (H, W) in [0, 1]
    """
    low, high = target_range
    small = (np.asarray(output, np.float32).reshape(MAP_SIZE, MAP_SIZE) - np.float32(low)) / np.float32(high - low)
    if smoothing == "released":
        return _enlarge(_blur(small, RELEASED_SIGMA), shape).clip(0, 1)
    return _blur(_enlarge(small, shape), SMOOTHING_SIGMA).clip(0, 1)


def _enlarge(small, shape):
    return cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def _blur(array, sigma):
    return cv2.GaussianBlur(array, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def _squash(array, size):
    return cv2.resize(np.ascontiguousarray(array), (size, size), interpolation=cv2.INTER_AREA)
