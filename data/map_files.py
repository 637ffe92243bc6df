"""Read one saliency or density map from a file: .npy, .mat or an image."""
import io
from pathlib import Path

import numpy as np

from common.arrays import decode_npy
from common.errors import UserError, os_error_message, show_names
from common.images import IMAGE_SUFFIXES, TooManyPixels, open_image
from common.isolated import isolated
from data.layouts import read_mat_73

MAP_SUFFIXES = (".npy", ".mat", *IMAGE_SUFFIXES)
LSUN_VARIABLE = "I"
HDF5_SIGNATURE, MAT_HEADER = b"\x89HDF\r\n\x1a\n", 512  # of .mat files of version 7.3, which are HDF5 after a header
# JPEG may change the three equal channels of a grey map by a few levels; colour scales differ by far more
GREY_TOLERANCE = 8


class NotAMap(Exception):
    """The content of a file is not a map. The message is the fault and the remedy, without the file's name."""


def read_map(path):
    """Read one map from a .npy, .mat or image file; values as in the file.

    Parameters
    ----------
    path : path

    Returns
    -------
    (H, W), real

    Raises
    ------
    UserError
        The file is damaged, or its content is not a map.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            return decode_map(file, path.suffix, path)
    except OSError as error:
        raise UserError(os_error_message(error)) from error


def decode_map(file, suffix, source):
    """Read one map from an open file or from bytes.

    Parameters
    ----------
    file : binary file or bytes
    suffix : str
        Of the file's name: ".npy", ".mat"; any other is an image.
    source : object
        Name of the map in errors.

    Returns
    -------
    (H, W), real

    Raises
    ------
    UserError
        The content is damaged, or is not a map.
    """
    file = io.BytesIO(file) if isinstance(file, bytes) else file
    read = {".npy": decode_npy}.get(suffix.lower(), _read_image)
    try:
        values = _read_mat(source, file.read()) if suffix.lower() == ".mat" else read(file)
    except (NotAMap, TooManyPixels) as error:
        raise UserError(f"{source}: {error}") from error
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{source}: announces more values than memory holds; write it again") from error
    except Exception as error:  # each reader raises its own classes for damage
        raise UserError(f"{source}: cannot be read as a map ({error}); write it again") from error
    return to_map(values, source)


def to_map(values, source):
    """Return the values as a map, one finite real number per pixel.

    Axes of length 1 before or behind the rows and columns, as in a tensor (1, H, W) or (H, W, 1), are removed.

    Raises
    ------
    UserError
        The values are not a map, or contain NaN or infinity.
    """
    values = remove_single_axes(np.asarray(values))
    if values.ndim != 2 or not values.size or values.dtype.kind not in "fiub":
        raise UserError(f"{source}: holds {values.dtype} of shape {values.shape}, a map has one number per pixel; "
                        "write it again as (rows, columns)")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UserError(f"{source}: contains NaN or infinity; write it again without them")
    return values


def remove_single_axes(values):
    """Remove the first and last axes of length 1 of an array with more than two axes."""
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    while values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
    return values


@isolated
def _read_mat(source, data):
    """Read the map in the bytes of a .mat file."""
    import scipy.io

    head, file = data[:MAT_HEADER + len(HDF5_SIGNATURE)], io.BytesIO(data)
    is_hdf5 = HDF5_SIGNATURE in (head[:len(HDF5_SIGNATURE)], head[MAT_HEADER:])
    try:
        variables = read_mat_73(file, source) if is_hdf5 else scipy.io.loadmat(file)
        # names in damaged files can be any bytes
        return _map_variable({name: value for name, value in variables.items()
                              if name.isidentifier() and not name.startswith("__")})
    except NotAMap as error:
        raise UserError(f"{source}: {error}") from error
    except (MemoryError, UserError):
        raise
    except Exception as error:  # each reader raises its own classes for damage
        raise UserError(f"{source}: cannot be read as a map ({error}); write it again") from error


def _map_variable(variables):
    """Choose the map among the variables of a .mat file: I as in LSUN, or the only matrix."""
    if LSUN_VARIABLE in variables:
        return variables[LSUN_VARIABLE]
    matrices = {name: value for name, value in variables.items() if _is_matrix(value)}
    if len(matrices) == 1:
        return next(iter(matrices.values()))
    if matrices:
        raise NotAMap(f"has several matrices ({show_names(sorted(matrices))}); save the map alone, or as variable I")
    raise NotAMap(f"has no matrix of numbers (its variables: {show_names(sorted(variables)) or 'none'}); "
                  "save the map as variable I, as in LSUN, or as .npy")


def _is_matrix(value):
    value = remove_single_axes(np.asarray(value))
    return value.ndim == 2 and min(value.shape) > 1 and value.dtype.kind in "fiub"


def _read_image(file):
    """Read a grey image, also one that is stored as RGB, with an opaque alpha channel or with a palette of greys."""
    with open_image(file) as image:
        image.load()
        if image.mode[0] in "IF":  # 16 and 32 bits
            return np.asarray(image)
        if image.mode in ("1", "L"):
            return np.asarray(image.convert("L"))
        if "A" in image.mode.upper() or image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
            lowest, highest = image.getchannel("A").getextrema()
            if lowest != highest:
                raise NotAMap("has an alpha channel that differs between pixels, so the map may be in it; "
                              "write the map as a grey image or as .npy")
        image = image.convert("RGB")
        if np.ptp(np.asarray(image, np.int16), axis=2).max() > GREY_TOLERANCE:
            raise NotAMap("is a colour image, and the order of its colours is not known; write the map in grey, "
                          "or as .npy")
        return np.asarray(image.convert("L"))
