"""Reading images and writing files so that a kill at any moment leaves the old file or the new one."""
import contextlib
import errno
import glob
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from data.errors import UserError, describe

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
EXIF_ORIENTATION = 0x0112


@contextlib.contextmanager
def atomic(path):
    """Give a temporary path beside `path`; on success it becomes `path`, on any failure it is removed.

    Yields
    ------
    pathlib.Path
        A path that does not exist yet, with the same suffix as `path`. Write a file or make a
        folder there. A folder at `path` is replaced as a whole.

    Raises
    ------
    UserError
        The disk is full or the folder cannot be written to. `path` is as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_scratch_of_the_dead(path)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.{os.getpid()}.", dir=path.parent))
    except OSError as error:
        raise UserError(describe(error)) from error
    target, old = scratch / path.name, scratch / "old"
    try:
        yield target
        sync(target)
        if target.is_dir() and path.exists():  # rename replaces files, but not folders
            path.rename(old)
        target.replace(path)
    except (OSError, RuntimeError) as error:
        # h5py reports a full disk without errno, and when closing as RuntimeError
        full = shutil.disk_usage(path.parent).free < 1 << 24
        if not full and getattr(error, "errno", None) is None:
            raise
        reason = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if full else error
        reason.filename = str(path)
        raise UserError(describe(reason)) from error
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(scratch, ignore_errors=True)


def need_space(folder, size):
    """Raise UserError if a folder's disk has less than `size` bytes left; for writers that fail untidily."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(f"{folder}: {size >> 20} MB are needed there and {free >> 20} MB are left; "
                        "free some space and run the same command again")


def _remove_scratch_of_the_dead(path):
    """Remove what processes that were killed while writing `path` left behind."""
    for scratch in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        owner = scratch.name[len(path.name) + 2:].split(".")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(scratch, ignore_errors=True)


def sync(path):
    """Have a file, or those in a folder, on the disk: before it is named, or a power cut leaves an empty file."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())


def write_text(path, text):
    """Write `text` to `path` atomically, as UTF-8."""
    with atomic(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write `value` to `path` atomically, as JSON people can read."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path):
    """Read a JSON file that holds an object, as all of ours do; UserError names it if it is missing or damaged."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(describe(error)) from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); delete it and run the step that writes it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a {type(value).__name__}, not an object with names; "
                        "delete it and run the step that writes it again")
    return value


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
            raise UserError(describe(error)) from error
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
