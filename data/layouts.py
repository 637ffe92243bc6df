"""Shared helpers of the readers: find the root folder, read .mat files, list images by name, convert points."""
from pathlib import Path, PurePosixPath

import numpy as np

from common.arrays import check_size
from common.errors import UserError, show_names
from common.images import IMAGE_SUFFIXES
from common.isolated import isolated
from data.dataset import WrongRoot

# raised if a file has another layout
LAYOUT_ERRORS = (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError)


def find_root(root, is_root, title, remedy):
    """Find the root folder of a data set: `root` itself or a folder in it.

    Parameters
    ----------
    root : path or None
    is_root : callable (Path) -> bool
        Returns True for the root folder of this data set.
    title : str
        Name of the data set, for the error.
    remedy : str
        End of the error: the folder to give, such as "give the folder that holds stimuli/ and eye/".

    Returns
    -------
    Path

    Raises
    ------
    WrongRoot
        `root` is None or missing, or no folder matches.
    """
    if not root:
        raise WrongRoot(f"{title} is not downloaded automatically; {remedy}")
    root = Path(root)
    if not root.is_dir():
        raise WrongRoot(f"{root}: no such folder; {remedy}")
    for folder in [root, *sorted(path for path in root.iterdir() if path.is_dir())]:
        if is_root(folder):
            return folder
    raise WrongRoot(f"{root}: not {title}; {remedy}")


def find_images(folder):
    """List all images in a folder and its subfolders.

    Returns
    -------
    dict of str: Path
        By name without extension, in the order of their paths.

    Raises
    ------
    UserError
        Two images have the same name.
    """
    images = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            if path.stem in images:
                raise UserError(f"{path}: {images[path.stem]} has the same name; keep one image per name")
            images[path.stem] = path
    return images


def read_mat(path, variable=None):
    """Read one variable of a .mat file.

    Parameters
    ----------
    path : path
    variable : str or None
        None: the only variable in the file.

    Raises
    ------
    UserError
        The file is missing or damaged, or has no such variable.
    """
    variables = read_mat_variables(path)
    if variable is None and len(variables) == 1:
        return next(iter(variables.values()))
    if variable not in variables:
        fault = f"no variable {variable!r} in it" if variable else "expected one variable"
        raise UserError(f"{path}: {fault} (it has {show_names(sorted(variables)) or 'none'}); copy the file again")
    return variables[variable]


@isolated
def read_mat_variables(path):
    """Read all variables of a .mat file, of version 7.3 (HDF5) or older, in a process of its own.

    Returns
    -------
    dict of str: array
        Structs and cells of version 7.3 are arrays of None.

    Raises
    ------
    UserError
        The file is missing or damaged, or needs more time or memory than `common.isolated` allows.
    """
    import scipy.io

    try:
        with open(path, "rb") as file:
            variables = scipy.io.loadmat(file)
        if "" in variables:  # SciPy reads zeros, as a power cut leaves them, as empty arrays
            raise ValueError("a variable has no name")
        return {name: _dense(value, path) for name, value in variables.items() if not name.startswith("__")}
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; unpack the archive again") from error
    except NotImplementedError:  # 7.3
        return read_mat_73(path, path)
    except (MemoryError, UserError):
        raise
    except Exception as error:  # scipy raises a different class for each kind of damage
        raise UserError(f"{path}: cannot be read as a .mat file ({error}); copy the file again") from error


def read_mat_73(file, source):
    """Read the arrays of a .mat file of version 7.3, which stores them transposed.

    Parameters
    ----------
    file : path or binary file
    source : object
        Name of the file in errors.
    """
    import h5py

    variables = {}
    try:
        with h5py.File(file) as content:
            for name, item in content.items():
                if name.startswith("#"):  # #refs#: the content of cells
                    continue
                if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
                    variables[name] = np.full(getattr(item, "shape", (1, 1)), None, object)
                elif item.attrs.get("MATLAB_empty"):
                    variables[name] = np.zeros((0, 0))
                else:
                    check_size(item.shape, f"{source}: {show_names(name)}")
                    variables[name] = np.asarray(item[()]).T
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"{source}: cannot be read as a .mat file of version 7.3 ({error}); copy it again") from error
    return variables


def same_end(first, second):
    """Return True if two paths have the same end, as far as the shorter one goes."""
    first, second = PurePosixPath(first).parts[::-1], PurePosixPath(second).parts[::-1]
    length = min(len(first), len(second))
    return first[:length] == second[:length]


def _dense(values, path):
    """Return a sparse matrix as an array; anything else as it is."""
    import scipy.sparse

    if not scipy.sparse.issparse(values):
        return values
    check_size(values.shape, path)
    return values.toarray()


def to_points(values):
    """Convert an array of pairs to float32 (N, 2); an empty array of any shape gives (0, 2).

    Raises
    ------
    ValueError
        The array has another shape.
    """
    values = np.asarray(values)
    if not values.size:
        return np.zeros((0, 2), np.float32)
    if values.ndim != 2 or values.shape[1] != 2:
        raise ValueError(f"points have shape {values.shape}, expected (N, 2)")
    return values.astype(np.float32)


def to_zero_based(values):
    """Convert MATLAB's 1-based coordinates to 0-based float32 (N, 2); errors as in `to_points`."""
    return to_points(np.asarray(values, np.float64) - 1)


def stack_observers(points):
    """Concatenate the points of all observers.

    Parameters
    ----------
    points : list of float32 (N, 2)
        One array per observer.

    Returns
    -------
    (float32 (M, 2), int32 (M,))
        All points, and the index of the observer of each.
    """
    observers = np.repeat(np.arange(len(points), dtype=np.int32), [len(array) for array in points])
    return np.concatenate([np.zeros((0, 2), np.float32), *points]), observers


def layout_error(path, expected):
    """Return the UserError of a file that can be read but has another layout than published; the caller raises it."""
    return UserError(f"{path}: layout differs from the published one ({expected}); copy the file again")
