"""Convert images and density maps to the deep net's input and target, and its output to a saliency map.

All constants of this preprocessing are here and nowhere else.

Input and target (section 4.2):

1. Images are resized to half size: for training, SALICON's 640x480 to 320x240; for prediction, to fit 320x320 with
   their own aspect ratio, never enlarged (released code). Every pixel is the mean of the area that it covers.
2. RGB -> BGR, minus the mean pixel of the training set, times 1/127.5: about [-1, 1].
3. Rows and columns of the mean pixel pad heights and widths to multiples of 4. The net computes one output value per
   4x4 pixels and would ignore the remainder. The output is cropped to the size before padding.
4. Density maps are grey levels 0..255, minus their mean over the training set, times 2/255.

Output (released code): x 128 + 127, clipped to 0..255, resized to the image with cubic interpolation, blurred with a
5x5 Gaussian, scaled to a maximum of 255. We divide by 255. x 128 + 127 is not the inverse of step 4, and it clips grey
levels above 159. `scaling="consistent"` uses the exact inverse instead.

The authors' weights get images as in the authors' code, `resizing="released"`: step 1 interpolates linearly between
four pixels, without rounding to grey levels; without step 3, the net's output, up to three rows and columns smaller
than its input, is stretched over the whole image; and grey levels above 255, which the cubic interpolation makes, are
clipped.
"""
import cv2
import numpy as np

TRAIN_SIZE = (320, 240)  # width, height; section 4.2: "downsampled by half to 320 x 240"
DEMO_TRAIN_SIZE = (192, 144)  # PRESET=demo: the same aspect ratio, a third of the pixels
IMAGE_SCALE = 0.0078431372549  # released prototxt: 1/127.5
MAP_SCALE = 2 / 255  # section 4.2: "scaling to [-1, 1]"
AUTHORS_MEAN_BGR = (100.0, 110.0, 118.0)  # released code: SALICON's training images
AUTHORS_MEAN_MAP = 31.0  # grey levels, SALICON's training maps, confirmed by an author
RELEASED_GAIN, RELEASED_OFFSET = 128.0, 127.0  # released code
SMOOTHING_KERNEL = (5, 5)  # released code, pixels of the image; OpenCV derives sigma 1.1 from it
STRIDE = 4  # pixels per value before the deconvolution: two pools of stride 2, section 4.1: "by a factor of four"
SMALLEST = STRIDE  # pixels: smallest height and width of an image
SCALINGS = ("released", "consistent")
RESIZINGS = ("released", "area")
WHITE = 255  # grey level


def resize_image(image, size):
    """Resize an image, uint8 (H, W, 3) RGB, to `size` (width, height); return uint8 (3, height, width) BGR."""
    return _resize(image, size)[:, :, ::-1].transpose(2, 0, 1)


def shrink_image(image, longest_side, resizing="area"):
    """Shrink an image to fit a square; the aspect ratio stays, nothing is enlarged.

    Parameters
    ----------
    image : uint8 (H, W, 3) RGB
    longest_side : int
        Side of the square, pixels.
    resizing : "released" or "area"
        Linear interpolation as in the authors' code, or means of areas.

    Returns
    -------
    (3, h, w) BGR, float32 ("released") or uint8 ("area"); h and w as of `fit_size`
    """
    size = fit_size(image.shape[:2], longest_side)
    if resizing == "area":
        return resize_image(image, size)
    factor = min(1.0, longest_side / max(image.shape[:2]))
    exact = (round(image.shape[1] * factor), round(image.shape[0] * factor)) == size  # not of a side shorter than 4
    # OpenCV samples at multiples of 1 / fx, or of the ratio of the sizes, which are whole numbers
    target = {"dsize": None, "fx": factor, "fy": factor} if exact else {"dsize": size}
    shrunk = cv2.resize(image.astype(np.float32), **target, interpolation=cv2.INTER_LINEAR)
    return shrunk[:, :, ::-1].transpose(2, 0, 1)


def resize_density(density, size):
    """Resize a density map, float32 (H, W) in [0, 1], to `size` (width, height).

    Returns
    -------
    float32 (1, height, width), grey levels 0..255
    """
    return _resize(density * np.float32(255), size)[None]


def to_input(resized, mean_bgr):
    """Convert resized images, uint8 (..., 3, h, w) BGR, to the net's input: float32 of that shape, about [-1, 1]."""
    mean = np.asarray(mean_bgr, np.float32)[:, None, None]
    return (np.asarray(resized, np.float32) - mean) * np.float32(IMAGE_SCALE)


def pad(net_input, multiple=STRIDE):
    """Pad the net's input, float32 (..., h, w), with zeros at the bottom and on the right.

    h and w become multiples of `multiple`, and at least 8: OpenCV has no output for images smaller than a pooling
    window.
    """
    extra = [(0, max(-size % multiple, 2 * STRIDE - size)) for size in net_input.shape[-2:]]
    return np.pad(net_input, [(0, 0)] * (net_input.ndim - 2) + extra)


def to_target(grey, mean_map):
    """Convert density maps, float32 (..., 1, h, w), grey levels 0..255, to the net's target, float32, about [-1, 1]."""
    return (np.asarray(grey, np.float32) - np.float32(mean_map)) * np.float32(MAP_SCALE)


def fit_size(shape, longest_side):
    """Return the width and height at which an image fits a square; the aspect ratio stays, nothing is enlarged.

    Parameters
    ----------
    shape : (H, W) of the image
    longest_side : int
        Side of the square, pixels; 320 for a net trained at 320x240 (released code).

    Returns
    -------
    (width, height), each at least 4: two pools reduce anything smaller to nothing
    """
    factor = min(1.0, longest_side / max(shape))
    return max(SMALLEST, round(shape[1] * factor)), max(SMALLEST, round(shape[0] * factor))


def to_saliency(output, shape, scaling="released", mean_map=AUTHORS_MEAN_MAP, resizing="area"):
    """Convert the net's output to a saliency map of the image's size.

    Parameters
    ----------
    output : float32 (h, w), about [-1, 1]
    shape : (H, W) of the image
    scaling : "released" or "consistent"
        x 128 + 127 as in the authors' code, or the exact inverse of `to_target`.
    mean_map : float, grey levels
        Mean that `to_target` subtracted; used by "consistent".
    resizing : "released" or "area"
        "released" clips grey levels above 255 after the resizing, as the authors' code does.

    Returns
    -------
    float32 (H, W) in [0, 1]; its maximum is 1 unless it is zero everywhere
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}, not {scaling!r}")
    output = np.asarray(output, np.float32)
    released = scaling == "released"
    grey = output * RELEASED_GAIN + RELEASED_OFFSET if released else output / MAP_SCALE + mean_map
    full = cv2.resize(grey.clip(0, WHITE), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(full, SMOOTHING_KERNEL, 0).clip(0, WHITE if resizing == "released" else None)
    peak = smooth.max()
    return smooth / peak if peak > 0 else smooth


def _resize(array, size):
    return cv2.resize(np.ascontiguousarray(array), size, interpolation=cv2.INTER_AREA)
