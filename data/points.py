"""Read the fixations of one image from an array or an image file: .npy, .mat, .png and other image formats.

    .npy    points (N, 2), [x, y], 0-based, further columns are dropped; or a map of the image's size, above 0 where
            fixated
    .mat    points, [x, y], 1-based as in MATLAB; two variables x and y; a map of the image's size; or SALICON's `gaze`.
            Versions 5 and 7.3
    image   a fixation map of the image's size: few grey levels, bright where fixated; JPEG changes the levels around a
            point
"""
import numpy as np

from common.arrays import read_npy
from common.errors import UserError, show_names
from data.dataset import Fixations
from data.layouts import read_mat_variables
from data.map_files import MAP_SUFFIXES
from data.maps import read_map
from data.salicon import read_mat_fixations

SUFFIXES = MAP_SUFFIXES
JPEG = (".jpg", ".jpeg")
FEW_LEVELS = 8  # grey levels above 0, up to which every level above 0 is a fixation: marks, or numbers of fixations
# of the marked pixels of a fixation map with more levels, the mean number of marked ones among the four neighbours
ISOLATED = 1.5
# of the pixels brighter than a tenth of the maximum, the fraction of middle grey from which a map is a density map
DIM, MIDDLE, DENSITY_FRACTION = 0.1, (0.25, 0.75), 0.2


def read_points(path, shape):
    """Read the fixations of an image.

    Parameters
    ----------
    path : Path
    shape : (H, W) of the image

    Returns
    -------
    (data.dataset.Fixations, int or None)
        The points as in the file, and the number of its first row and column, 0 or 1; or the marked pixels of a map,
        and None.

    Raises
    ------
    UserError
        The file is damaged, or holds neither points nor a fixation map.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _from_array(read_npy(path, "write it again with numpy.save"), path, shape, base=0)
    if suffix == ".mat":
        return _from_mat(path, shape)
    return Fixations(_points_of_map(read_map(path), path, shape)), None


def _from_array(values, path, shape, base):
    """Return the points of an array or of a map; as `read_points`."""
    expected = f"expected (N, 2) with x and y in each row, or a map of shape {tuple(shape)}"
    if values.dtype.kind not in "fiub":
        raise UserError(f"{path}: holds {values.dtype}; {expected}")
    if values.shape == tuple(shape):
        if not np.isfinite(values).all():
            raise UserError(f"{path}: the map has {np.count_nonzero(~np.isfinite(values))} pixels that are NaN or "
                            "infinite; write it again, with 0 where nobody looked")
        return Fixations(_points_of_map(values, path, shape)), None
    if not values.size:
        return Fixations(np.zeros((0, 2), np.float32)), base
    if values.ndim == 2 and values.shape[0] == 2 and values.shape[1] > 3:
        raise UserError(f"{path}: has shape {values.shape}, x in one row and y in the other; expected one point per "
                        "row: save the transposed array")
    if values.ndim != 2 or values.shape[1] < 2 or values.shape[1] > 9:
        raise UserError(f"{path}: holds {values.dtype} of shape {values.shape}; {expected}")
    extra = f", {values.shape[1] - 2} more not used" if values.shape[1] > 2 else ""
    return _with_positions(values[:, :2], f"columns: x, y of an array{extra}{', 1-based' if base else ''}"), base


def _with_positions(points, note):
    """Return the Fixations of the rows of an array that have a position; the others are counted."""
    points = np.asarray(points, np.float64)
    missing = ~np.isfinite(points).any(axis=1)  # neither x nor y
    return Fixations(points[~missing], missing=int(missing.sum()), notes=(note,))


def _from_mat(path, shape):
    variables = read_mat_variables(path)
    if "gaze" in variables and "resolution" in variables:
        return Fixations(*read_mat_fixations(path), notes=("columns: gaze of SALICON's .mat files",)), 0
    by_name = {name.lower(): value for name, value in variables.items()}
    for x, y in (("x", "y"), ("fix_x", "fix_y")):
        if x in by_name and y in by_name and by_name[x].size == by_name[y].size:
            points = np.column_stack([by_name[x].ravel(), by_name[y].ravel()])
            return _with_positions(points, f"columns: variables {x} and {y}, 1-based"), 1
    candidates = {name: value for name, value in variables.items() if _is_points_or_map(value, shape)}
    if len(candidates) > 1 and any(value.shape == tuple(shape) for value in candidates.values()):
        candidates = {name: value for name, value in candidates.items() if value.shape == tuple(shape)}
    if len(candidates) != 1:
        content = show_names(f"{show_names(name)} {value.dtype.name if value.dtype.names is None else 'struct'} "
                             f"{value.shape}" for name, value in sorted(variables.items()))
        raise UserError(f"{path}: {'more than one' if candidates else 'no'} variable can be the fixations (it has "
                        f"{content or 'none'}); expected one variable with points (N, 2), [x, y], or a map of shape "
                        f"{tuple(shape)}; save that one alone")
    return _from_array(next(iter(candidates.values())), path, shape, base=1)


def _is_points_or_map(values, shape):
    return values.dtype.kind in "fiub" and values.ndim == 2 and (
        values.shape == tuple(shape) or not values.size or values.shape[1] >= 2)


def _points_of_map(values, path, shape):
    """Return the fixated pixels of a fixation map, float32 (N, 2)."""
    if values.shape != tuple(shape):
        raise UserError(f"{path}: is {values.shape[1]}x{values.shape[0]} pixels, but its image is "
                        f"{shape[1]}x{shape[0]}; make the fixation map as large as its image")
    levels, largest, marked = np.unique(values), values.max(), values > 0
    exact = path.suffix.lower() not in JPEG
    if exact and ((levels > 0).sum() <= FEW_LEVELS or _neighbours(marked) < ISOLATED):
        return _marked(marked)
    bright = values[values > DIM * largest]
    if exact and not isinstance(levels[0], np.integer) \
            or ((bright > MIDDLE[0] * largest) & (bright < MIDDLE[1] * largest)).mean() > DENSITY_FRACTION:
        raise UserError(f"{path}: has {len(levels)} levels, many between the lowest and the highest: a density map, "
                        "not a fixation map; put it into maps/ instead of fixations/")
    return _marked(values > largest / 2)


def _neighbours(marked):
    """Return the mean number of marked pixels among the four neighbours of a marked one."""
    padded = np.pad(marked, 1).astype(np.int8)
    count = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return count[marked].mean() if marked.any() else 0.0


def _marked(mask):
    """Return the marked pixels of a map, float32 (N, 2), (x, y)."""
    row, column = np.nonzero(mask)
    return np.column_stack([column, row]).astype(np.float32)
