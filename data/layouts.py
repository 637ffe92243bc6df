"""What the readers of published data sets share: finding the folder, .mat files, images by name."""
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.images import IMAGE_SUFFIXES


def find_root(root, looks_right, title, remedy):
    """The folder in which `looks_right` finds a data set: `root`, or one in it.

    Parameters
    ----------
    root : path or None
    looks_right : callable (Path) -> bool
    title : str
        Of the data set, for the error.
    remedy : str
        What to give as DATA_ROOT.

    Raises
    ------
    UserError
        There is no such folder.
    """
    if not root:
        raise UserError(f"{title} has to be on this machine already: {remedy} (`make data-help` says where to get it)")
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {remedy}")
    for folder in [root, *sorted(path for path in root.iterdir() if path.is_dir())]:
        if looks_right(folder):
            return folder
    raise UserError(f"{root}: not {title}; {remedy} (`make data-help` shows the layout)")


def images_below(folder):
    """{stem: path} of all images in a folder and its subfolders, sorted by name; two of one stem are an error."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise UserError(f"{path}: there is also {found[path.stem]}; leave one image of a name")
            found[path.stem] = path
    return found


def read_mat(path, variable=None):
    """One variable of a .mat file.

    Parameters
    ----------
    path : path
    variable : str or None
        None: the only one in the file.

    Raises
    ------
    UserError
        The file is missing or damaged, or has no such variable.
    """
    import scipy.io

    try:
        with open(path, "rb") as file:
            found = {name: value for name, value in scipy.io.loadmat(file).items() if not name.startswith("__")}
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; unpack the archive again") from error
    except NotImplementedError as error:  # 7.3, which is HDF5
        raise UserError(f"{path}: a .mat of version 7.3; save it again with -v7 in MATLAB or Octave") from error
    except Exception as error:  # scipy raises a different class for every kind of damage
        raise UserError(f"{path}: cannot be read as a .mat file ({error}); copy the file again") from error
    if variable is None and len(found) == 1:
        return next(iter(found.values()))
    if variable not in found:
        wanted = f"no variable {variable!r}" if variable else "not one variable"
        raise UserError(f"{path}: {wanted} in it (it has {', '.join(sorted(found)) or 'none'}); copy the file again")
    return found[variable]


def as_points(values):
    """float32 (N, 2) of an array of pairs; an empty array of any shape is no point. ValueError for other shapes."""
    values = np.asarray(values)
    if not values.size:
        return np.zeros((0, 2), np.float32)
    if values.ndim != 2 or values.shape[1] != 2:
        raise ValueError(f"points have shape {values.shape}, expected (N, 2)")
    return values.astype(np.float32)


def to_zero_based(values):
    """MATLAB's (x, y), counted from 1 -> float32 (N, 2) counted from 0; see `as_points`."""
    return as_points(np.asarray(values, np.float64) - 1)


def by_observer(points):
    """A list of (N, 2), one an observer -> all points, and int32 whose each is."""
    whose = np.repeat(np.arange(len(points), dtype=np.int32), [len(one) for one in points])
    return np.concatenate([np.zeros((0, 2), np.float32), *points]), whose


def refuse_layout(path, expected, error):
    """Raise UserError: a .mat that can be read, and is laid out in another way than published."""
    raise UserError(f"{path}: not laid out as published ({expected}); copy the file again") from error


LAYOUT_ERRORS = (IndexError, KeyError, ValueError, TypeError, AttributeError)  # what another layout leads to
