"""Images and maps of the deep net, in both directions: the only place with its constants.

To the net (section 4.2):

1. half size: 320x240 for SALICON's 640x480 when training, and when predicting whatever
   fits inside 320x320 with the image's own aspect, never enlarged (released code);
2. RGB -> BGR, minus the mean pixel of the training set, times 1/127.5: about [-1, 1];
3. heights and widths that are no multiples of four get rows and columns of the mean pixel, since the net answers
   in cells of four pixels and drops what is left over; the answer is cut back to the size before;
4. densities, as grey levels 0..255: minus their mean over the training set, times 2/255.

From the net (released code): x 128 + 127, cut to 0..255, cubic resize to the image, 5x5 Gaussian
blur, stretched so that the maximum is 255; we divide by 255. x 128 + 127 is not the inverse of
step 4, and cuts maps brighter than 159; `scaling="consistent"` inverts it exactly instead.
"""
import cv2
import numpy as np

TRAIN_SIZE = (320, 240)  # width, height; section 4.2: "downsampled by half to 320 x 240"
DEMO_TRAIN_SIZE = (128, 96)  # PRESET=demo: the same aspect, a sixth of the work
IMAGE_SCALE = 0.0078431372549  # released prototxt: 1/127.5
MAP_SCALE = 2 / 255  # section 4.2: "scaling to [-1, 1]"
AUTHORS_MEAN_BGR = (100.0, 110.0, 118.0)  # released code: SALICON's training images
AUTHORS_MEAN_MAP = 31.0  # grey levels, SALICON's training maps, agreed by an author
RELEASED_GAIN, RELEASED_OFFSET = 128.0, 127.0  # released code
SMOOTHING_KERNEL = (5, 5)  # released code, pixels of the image; OpenCV derives sigma 1.1 from it
STRIDE = 4  # pixels a cell of the net's answer: two pools of stride 2, section 4.1: "by a factor of four"
SMALLEST = STRIDE  # pixels
SCALINGS = ("released", "consistent")


def resize_image(image, size):
    """uint8 (H, W, 3) RGB -> uint8 (3, height, width) BGR; size is (width, height)."""
    return _resize(image, size)[:, :, ::-1].transpose(2, 0, 1)


def resize_density(density, size):
    """float32 (H, W) in [0, 1] -> float32 (1, height, width), grey levels 0..255."""
    return _resize(density * np.float32(255), size)[None]


def to_input(resized, mean_bgr):
    """uint8 (..., 3, h, w) BGR -> float32, about [-1, 1], what the net is fed."""
    mean = np.asarray(mean_bgr, np.float32)[:, None, None]
    return (np.asarray(resized, np.float32) - mean) * np.float32(IMAGE_SCALE)


def pad(fed):
    """float32 (..., h, w), what the net is fed -> the same with zeros below and to the right.

    To multiples of 4, and to 8 at least: OpenCV makes nothing of an image that is smaller than a pool's window.
    """
    extra = [(0, max(-size % STRIDE, 2 * STRIDE - size)) for size in fed.shape[-2:]]
    return np.pad(fed, [(0, 0)] * (fed.ndim - 2) + extra)


def to_target(grey, mean_map):
    """float32 (..., 1, h, w), grey levels 0..255 -> float32, about [-1, 1], what the net is to answer."""
    return (np.asarray(grey, np.float32) - np.float32(mean_map)) * np.float32(MAP_SCALE)


def fit_size(shape, longest_side):
    """Width and height that fit into a square, keeping the aspect, never enlarging.

    Parameters
    ----------
    shape : (H, W) of the image
    longest_side : int
        320 for a net trained at 320x240 (released code).

    Returns
    -------
    (width, height), each at least 4, for less would leave nothing after two pools
    """
    factor = min(1.0, longest_side / max(shape))
    return max(SMALLEST, round(shape[1] * factor)), max(SMALLEST, round(shape[0] * factor))


def to_saliency(output, shape, scaling="released", mean_map=AUTHORS_MEAN_MAP):
    """Turn the net's answer into a map of the image's size.

    Parameters
    ----------
    output : float32 (h, w), about [-1, 1]
    shape : (H, W) of the image
    scaling : "released" or "consistent"
        x 128 + 127 as the authors' code does, or the exact inverse of `to_target`.
    mean_map : float, grey levels
        Used by "consistent": the mean that `to_target` took off.

    Returns
    -------
    float32 (H, W) in [0, 1]; its maximum is 1 unless it is zero everywhere
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}, not {scaling!r}")
    output = np.asarray(output, np.float32)
    released = scaling == "released"
    grey = output * RELEASED_GAIN + RELEASED_OFFSET if released else output / MAP_SCALE + mean_map
    full = cv2.resize(grey.clip(0, 255), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(full, SMOOTHING_KERNEL, 0).clip(0, None)
    peak = smooth.max()
    return smooth / peak if peak > 0 else smooth


def _resize(array, size):
    return cv2.resize(np.ascontiguousarray(array), size, interpolation=cv2.INTER_AREA)
