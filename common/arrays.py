"""Read .npy and .npz files, which may be damaged or forged, without pickles.

A damaged header can claim any shape, and a small archive can unpack to any size. So the shape in a header is compared
with the size of the file, and with the limits, before memory is allocated. NumPy's parser of headers, zipfile and zlib
raise a dozen classes of exceptions for damage: here each is a UserError of one line.
"""
import contextlib
import io
import math
import warnings
import zipfile

import numpy as np

from common.errors import UserError, os_error_message, show_names

MAX_VALUES = 1 << 27  # of an array: no map and no list of fixations has more
MAX_HEADER = 10_000  # bytes of the header of an .npy; NumPy's own limit
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
REST_SIZE = 1 << 20  # bytes per read behind an array
SUFFIX = ".npy"  # of the members of an .npz
NPZ = "an .npz of arrays"


class DamagedArray(ValueError):
    """The content of a file is no array. The message is the fault, without the file's name."""


def read_npy(path, remedy, max_values=MAX_VALUES):
    """Read an .npy file.

    Parameters
    ----------
    path : path
    remedy : str
        What the user can do about a damaged file, the end of the error message.
    max_values : int
        Largest number of values.

    Raises
    ------
    UserError
        The file is missing or damaged, holds Python objects, or claims more values than it has, or than `max_values`.
    """
    with _opened(path, path, remedy) as file:
        return decode_npy(file, max_values)


def open_npy(path, remedy):
    """Open an .npy file without reading its values (memory map); errors as in `read_npy`, without a largest size."""
    with _opened(path, path, remedy) as file:
        _check_header(file, math.inf)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def decode_npy(file, max_values=MAX_VALUES, size=None):
    """Read an array from an open .npy file; any exception, such as DamagedArray, means that the file is damaged.

    Parameters
    ----------
    file : binary file that can seek, also a member of an archive
    max_values : int
    size : int or None
        Number of bytes of the file, if it is known: to find it in a member of an archive, all of it is unpacked.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of headers written by Python 2 or damaged
        _check_header(file, max_values, size)
        array = np.lib.format.read_array(file, allow_pickle=False)
    while size and file.read(REST_SIZE):  # an archive compares the checksum at the end of a member
        pass
    return array


def write_npz(path, arrays):
    """Write arrays to an .npz file; use it with `common.files.atomic`.

    As numpy.savez, which leaves its archive open and so prints a further error if the disk is full.

    Parameters
    ----------
    path : path
    arrays : dict of str: array
    """
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(name + SUFFIX, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def list_npz(path, remedy):
    """List the names of the arrays of an .npz file, without reading them; errors as in `read_npy`."""
    with _opened(path, path, remedy, NPZ) as file, zipfile.ZipFile(file) as archive:
        return _array_names(archive)


def read_npz(path, remedy, name=None, max_values=MAX_VALUES):
    """Read the arrays of an .npz file.

    Parameters
    ----------
    path, remedy : as for `read_npy`
    name : str or None
        Name of the only array to read.
    max_values : int
        Largest number of values of all arrays that are read.

    Returns
    -------
    dict of str: array

    Raises
    ------
    UserError
        As `read_npy`, or there is no array `name`.
    """
    arrays = {}
    source = path if name is None else f"{path}: {show_names(name)}"
    with _opened(path, source, remedy, NPZ) as file, zipfile.ZipFile(file) as archive:
        for key in _array_names(archive) if name is None else [name]:
            with open_member(archive, key + SUFFIX) as member:
                arrays[key] = decode_npy(member, max_values, archive.getinfo(key + SUFFIX).file_size)
            max_values -= arrays[key].size
    return arrays


@contextlib.contextmanager
def open_member(archive, name):
    """Open a member of a zip archive for reading; DamagedArray if it unpacks to more than its archive may hold.

    Parameters
    ----------
    archive : zipfile.ZipFile
    name : str
    """
    if name not in archive.NameToInfo:
        raise DamagedArray(f"has no {show_names(name)}")
    largest = np.dtype(np.float64).itemsize * MAX_VALUES
    if (size := archive.getinfo(name).file_size) > 2 * largest:
        raise DamagedArray(f"{show_names(name)} unpacks to {size >> 20} MB, more than any array has here")
    with archive.open(name) as member:
        yield member


def read_member(archive, name):
    """Read a member of a zip archive, bytes; errors as in `open_member`."""
    with open_member(archive, name) as member:
        return member.read()


def check_size(shape, source):
    """Raise UserError if an array of this shape is too large for a map or the points of an image."""
    if np.prod([float(length) for length in shape]) > MAX_VALUES:
        raise UserError(f"{source}: announces {' x '.join(map(str, shape))} values, more than any map has; "
                        "write it again")


def _array_names(archive):
    return [name.removesuffix(SUFFIX) for name in archive.namelist() if name.endswith(SUFFIX)]


def _check_header(file, max_values, size=None):
    """Raise DamagedArray if the shape of an .npy file cannot be true; the file's position does not change."""
    start = file.tell()
    header = io.BytesIO(file.read(MAX_HEADER))
    size = file.seek(0, io.SEEK_END) - start if size is None else size
    file.seek(start)
    version = np.lib.format.read_magic(header)
    if version not in HEADERS:
        raise DamagedArray(f"has an .npy header of version {version}")
    shape, _, dtype = HEADERS[version](header)
    values = math.prod(shape)
    if dtype.hasobject or not dtype.itemsize:
        raise DamagedArray(f"holds {dtype}, which is not read")
    if min(shape, default=0) < 0 or values * dtype.itemsize > size - header.tell():
        raise DamagedArray(f"announces the shape {shape} but has {size} bytes")
    if values > max_values:
        raise DamagedArray(f"holds {values} values, more than the {max_values} that are possible here")


@contextlib.contextmanager
def _opened(path, source, remedy, kind="an array"):
    """Open a file, and turn every exception inside the `with` block into a UserError about `source`."""
    try:
        file = open(path, "rb")  # noqa: SIM115  closed below; only errors of opening are those of the system
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    with file:
        try:
            yield file
        except UserError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{source}: cannot be read as {kind} ({reason}); {remedy}") from error

