"""Read and write image files."""
import contextlib
from pathlib import Path

import numpy as np

from common.errors import UserError, os_error_message
from common.files import atomic

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
EXIF_ORIENTATION = 0x0112


def read_image(path):
    """Read a picture as people see it.

    Greyscale, palette, alpha, CMYK, 16-bit and EXIF-rotated files are all turned into upright
    8-bit RGB; transparency is dropped.

    Returns
    -------
    uint8 (H, W, 3), RGB

    Raises
    ------
    UserError
        The file is missing, is not an image, or is cut off.
    """
    from PIL import ImageOps

    with _opened(path) as picture:
        picture.load()  # decoding happens here, and so does noticing a truncated file
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I") or picture.mode == "F":
            return _grey_16_bit(np.asarray(picture))
        return np.asarray(picture.convert("RGB"))


def image_shape(path):
    """Height and width of a picture as `read_image` gives it, from its header.

    Raises
    ------
    UserError
        The file is missing or is not an image.
    """
    with _opened(path) as picture:
        width, height = picture.size
        lies = picture.getexif().get(EXIF_ORIENTATION, 1) >= 5  # turned by a quarter
        return (width, height) if lies else (height, width)


@contextlib.contextmanager
def _opened(path):
    from PIL import Image

    try:
        with Image.open(path) as picture:
            yield picture
    except (UserError, MemoryError):
        raise
    except Exception as error:  # Pillow has another class for every kind of damage
        if isinstance(error, OSError) and error.errno:
            raise UserError(os_error_message(error)) from error
        reason = str(error).replace(str(path), "").replace("''", "").strip() or type(error).__name__
        raise UserError(f"{path}: cannot be read as an image ({reason}); "
                        "replace the file or take it out of the folder") from error


def _grey_16_bit(values):
    """Pillow's own conversion clips 16-bit grey at 255 instead of scaling it."""
    grey = (values.astype(np.float64) / 257.0).round().clip(0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def image_files(where):
    """List the image files at `where`, a file or a folder (not its subfolders), sorted by name.

    Raises
    ------
    UserError
        `where` does not exist or holds no image.
    """
    where = Path(where)
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise UserError(f"{where}: no such file or folder; check the path given for the images")
    files = sorted(path for path in where.iterdir()
                   if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))
    if not files:
        raise UserError(f"{where}: no image in this folder (looked for {', '.join(IMAGE_SUFFIXES)}); "
                        "give the folder that holds the pictures")
    return files


def write_png(path, array, small=False):
    """Write uint8 (H, W) or (H, W, 3), RGB, as PNG, atomically; `small` takes ten times as long for it."""
    import cv2

    smallest = [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
    _, data = cv2.imencode(".png", array[:, :, ::-1] if array.ndim == 3 else array, smallest if small else [])
    with atomic(path) as scratch:
        scratch.write_bytes(data.tobytes())
