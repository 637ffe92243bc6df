"""Read and write image files."""
import contextlib
import threading
from pathlib import Path

import numpy as np

from common.errors import UserError, os_error_message
from common.files import atomic
from common.limits import limit

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jp2", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm")
# formats of images that Pillow does not read; such files in a folder of images are named
OTHER_IMAGE_SUFFIXES = (".heic", ".heif", ".avif", ".svg", ".eps", ".psd", ".raw", ".cr2", ".cr3", ".nef", ".arw",
                        ".dng")
EXIF_ORIENTATION = 0x0112
_pillow = threading.Lock()


class TooManyPixels(Exception):
    """An image is larger than the limit. The message is the fault and the remedy, without the file's name."""


def read_image(path):
    """Read an image file as upright 8-bit RGB.

    Greyscale, palette, alpha, CMYK, 16-bit and EXIF-rotated files are converted; transparency is dropped. Of images of
    floats, those in [0, 1] are converted.

    Returns
    -------
    uint8 (H, W, 3), RGB

    Raises
    ------
    UserError
        The file is missing, is not an image, is truncated, or has floats outside [0, 1].
    """
    from PIL import ImageOps

    with _opened(path) as image:
        image.load()  # decodes the pixels; a truncated file raises here
        image = ImageOps.exif_transpose(image)
        if image.mode == "F":
            return _grey_float(np.asarray(image), path)
        if image.mode.startswith("I"):
            return _grey_16_bit(np.asarray(image))
        return np.asarray(image.convert("RGB"))


def image_shape(path):
    """Return the size of an image as `read_image` returns it, from the file's header.

    Returns
    -------
    (int, int)
        Height and width in pixels.

    Raises
    ------
    UserError
        The file is missing or is not an image.
    """
    with _opened(path) as image:
        width, height = image.size
        rotated = image.getexif().get(EXIF_ORIENTATION) in (5, 6, 7, 8)  # by 90 or 270 degrees
        return (width, height) if rotated else (height, width)


@contextlib.contextmanager
def open_image(file):
    """Open an image with Pillow, a path or a binary file, without decoding its pixels.

    Raises
    ------
    TooManyPixels
        It has more pixels than SALIENCY_IMAGE_MEGAPIXELS of `common.limits`; a file of 258 kB could take gigabytes.
    """
    with _open_without_limit(file) as image:
        width, height = image.size
        if width * height > 1e6 * (megapixels := limit("SALIENCY_IMAGE_MEGAPIXELS")):
            raise TooManyPixels(f"has {width}x{height} pixels, more than {megapixels} megapixels; make it smaller, or "
                                "set SALIENCY_IMAGE_MEGAPIXELS to a higher limit")
        yield image


def _open_without_limit(file):
    """Open an image without Pillow's own limit of pixels, at which it prints a warning; ours replaces it.

    The limit is a variable of the whole process, which other code in it may rely on.
    """
    from PIL import Image

    with _pillow:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextlib.contextmanager
def _opened(path):
    try:
        with open_image(path) as image:
            yield image
    except (UserError, MemoryError):
        raise
    except TooManyPixels as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # Pillow raises many classes for damaged files
        if isinstance(error, OSError) and error.errno and error.filename:  # without a name: of Pillow, for damage
            raise UserError(os_error_message(error)) from error
        reason = str(error).replace(repr(str(path)), "").replace(str(path), "").replace("''", "").strip()
        reason = reason or type(error).__name__
        raise UserError(f"{path}: cannot be read as an image ({reason}); "
                        "replace the file or remove it from the folder") from error


def _grey_16_bit(values):
    """Convert 16-bit grey to 8-bit RGB. Pillow's own conversion clips at 255 instead of scaling."""
    grey = (values.astype(np.float64) / 257.0).round().clip(0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _grey_float(values, path):
    """Convert floats in [0, 1] to 8-bit RGB."""
    if not (values.min() >= 0 and values.max() <= 1):  # NaN included
        raise UserError(f"{path}: has floats from {values.min():g} to {values.max():g}, so its white is not known; "
                        "scale it to [0, 1], or save it with 8 or 16 bits")
    return np.repeat((values * 255.0).round().astype(np.uint8)[:, :, None], 3, axis=2)


def image_files(path):
    """List the image files of a folder, without its subfolders, sorted by name.

    Parameters
    ----------
    path : path
        A folder, or a single file.

    Returns
    -------
    list of pathlib.Path
        `path` itself if it is a file.

    Raises
    ------
    UserError
        `path` does not exist or holds no image.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; check the path given for the images")
    files = sorted(file for file in path.iterdir()
                   if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."))
    if not files:
        raise UserError(f"{path}: no image in this folder (looked for {', '.join(IMAGE_SUFFIXES)}); "
                        "give the folder that holds the images")
    return files


def write_png(path, array, small=False):
    """Write an image as PNG, atomically.

    Parameters
    ----------
    path : path
    array : uint8 (H, W) or (H, W, 3), RGB
    small : bool
        Compress as much as possible. This takes ten times as long.
    """
    import cv2

    smallest = [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
    _, data = cv2.imencode(".png", array[:, :, ::-1] if array.ndim == 3 else array, smallest if small else [])
    with atomic(path) as scratch:
        scratch.write_bytes(data.tobytes())


def write_jpeg(path, array, quality):
    """Write an image as JPEG, uint8 (H, W, 3) RGB; quality from 1 to 100. Not atomic: for folders that are."""
    import cv2

    _, data = cv2.imencode(".jpg", array[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    Path(path).write_bytes(data.tobytes())


def resize_to_width(image, width):
    """Reduce an image to a width in pixels, with its aspect ratio; a smaller image is returned as it is."""
    import cv2

    if image.shape[1] <= width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
