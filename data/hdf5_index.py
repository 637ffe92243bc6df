"""List the maps of an HDF5 file, and check a file of our own before it is read in this process."""
import contextlib

from common.errors import UserError, os_error_message, show_names
from common.isolated import isolated

BLOCK_ROWS = 256  # rows that are read at once


@isolated
def list_hdf5(path):
    """List the arrays of an HDF5 file, also those in groups, in a process of its own.

    Parameters
    ----------
    path : path

    Returns
    -------
    (str or None, list of str)
        The file's attribute "model", and the names of the arrays with those of their groups, such as "group/name".

    Raises
    ------
    UserError
        The file is missing or damaged.
    """
    with _open_hdf5(path, "not an HDF5 file of maps, or damaged", "predict again") as file:
        model = file.attrs.get("model")
        model = model.decode() if isinstance(model, bytes) else model
        names = list(_array_names(file))
        return None if model is None else str(model), names


@isolated
def check_hdf5(path, remedy):
    """Read an HDF5 file of prepared data, in a process of its own.

    Damage can crash the library, or keep it busy for ever. After this check, the file can be read in this process. Of
    arrays without chunks only the headers are read: they have no further lists of places in the file.

    Parameters
    ----------
    path : path
    remedy : str
        End of the error message.

    Raises
    ------
    UserError
        The file is missing or damaged.
    """
    with _open_hdf5(path, "damaged", remedy) as file:
        dict(file.attrs)
        for name in _array_names(file):
            array = file[name]
            if array.id.get_storage_size() < array.nbytes:  # our arrays are not compressed
                raise ValueError(f"{show_names(name)} announces the shape {array.shape} but has fewer values")
            if array.chunks or array.dtype.hasobject:  # texts are elsewhere in the file, too
                for start in range(0, len(array), BLOCK_ROWS):
                    array[start:start + BLOCK_ROWS]


@contextlib.contextmanager
def _open_hdf5(path, fault, remedy):
    """Open an HDF5 file for the body of a `with`, in which every error but a lack of memory is a fault of the file."""
    import h5py

    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    try:
        with h5py.File(path) as file:
            yield file
    except MemoryError:
        raise
    except Exception as error:  # h5py raises many classes for damage
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: {fault} ({reason}); {remedy}") from error


def _array_names(group, prefix="", visited=None):
    """Iterate over the names of all arrays; each group once, since links can form a circle."""
    import h5py

    visited = visited or {h5py.h5o.get_info(group.id).addr}
    for name in group:
        try:
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
        except (KeyError, OSError, RuntimeError):  # a broken link, which is reported when the map is read
            yield prefix + name
            continue
        if not isinstance(item, h5py.Group):
            yield prefix + name
        elif address not in visited:
            visited.add(address)
            yield from _array_names(item, f"{prefix}{name}/", visited)
