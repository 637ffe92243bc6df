"""Read the fixations of one image from an array or an image file: .npy, .mat, .png and other image formats.

    .npy    points (N, 2), [x, y], 0-based, further columns are dropped; or a map of the image's size, above 0 where
            fixated
    .mat    points, [x, y], 1-based as in MATLAB; two variables x and y; a map of the image's size; or SALICON's `gaze`.
            Versions 5 and 7.3
    image   a fixation map of the image's size: few grey levels, bright where fixated; JPEG changes the levels around a
            point
"""
import numpy as np

from common.errors import UserError, os_error_message
from common.images import IMAGE_SUFFIXES
from data.dataset import Fixations
from data.layouts import read_mat_variables, to_zero_based
from data.maps import read_map
from data.salicon import read_mat_fixations

SUFFIXES = (".npy", ".mat", *IMAGE_SUFFIXES)
JPEG = (".jpg", ".jpeg")
FEW_LEVELS = 8  # grey levels above 0, up to which every level above 0 is a fixation: marks, or numbers of fixations
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
    data.dataset.Fixations
        Points float32.

    Raises
    ------
    UserError
        The file is damaged, or holds neither points nor a fixation map.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        fixations = _from_array(_read_npy(path), path, shape)
        return fixations._replace(points=fixations.points.astype(np.float32))
    if suffix == ".mat":
        return _from_mat(path, shape)
    return Fixations(_points_of_image(read_map(path), path, shape))


def _from_array(values, path, shape):
    """Convert points or a map, 0-based."""
    expected = f"expected (N, 2) with x and y in each row, or a map of shape {tuple(shape)}"
    if values.dtype.kind not in "fiub":
        raise UserError(f"{path}: holds {values.dtype}; {expected}")
    if values.shape == tuple(shape):
        if not np.isfinite(values).all():
            raise UserError(f"{path}: the map has {np.count_nonzero(~np.isfinite(values))} pixels that are NaN or "
                            "infinite; write it again, with 0 where nobody looked")
        return Fixations(_marked(values > 0))
    if not values.size:
        return Fixations(np.zeros((0, 2), np.float32))
    if values.ndim == 2 and values.shape[0] == 2 and values.shape[1] > 3:
        raise UserError(f"{path}: has shape {values.shape}, x in one row and y in the other; expected one point per "
                        "row: save the transposed array")
    if values.ndim != 2 or values.shape[1] < 2 or values.shape[1] > 9:
        raise UserError(f"{path}: holds {values.dtype} of shape {values.shape}; {expected}")
    points, extra = values[:, :2].astype(np.float64), values.shape[1] - 2
    missing = ~np.isfinite(points).any(axis=1)  # neither x nor y
    notes = ("columns: x, y of an array",) if not extra else (f"columns: x, y of an array, {extra} more not used",)
    return Fixations(points[~missing], missing=int(missing.sum()), notes=notes)


def _from_mat(path, shape):
    variables = read_mat_variables(path)
    if "gaze" in variables and "resolution" in variables:
        return Fixations(*read_mat_fixations(path), notes=("columns: gaze of SALICON's .mat files",))
    by_name = {name.lower(): value for name, value in variables.items()}
    for x, y in (("x", "y"), ("fix_x", "fix_y")):
        if x in by_name and y in by_name and by_name[x].size == by_name[y].size:
            points = np.column_stack([by_name[x].ravel(), by_name[y].ravel()])
            return Fixations(to_zero_based(points), notes=(f"columns: variables {x} and {y}, 1-based",))
    candidates = {name: value for name, value in variables.items() if _is_points_or_map(value, shape)}
    if len(candidates) > 1 and any(value.shape == tuple(shape) for value in candidates.values()):
        candidates = {name: value for name, value in candidates.items() if value.shape == tuple(shape)}
    if len(candidates) != 1:
        content = ", ".join(f"{name} {value.dtype.name if value.dtype.names is None else 'struct'} {value.shape}"
                            for name, value in sorted(variables.items()))
        raise UserError(f"{path}: {'more than one' if candidates else 'no'} variable can be the fixations (it has "
                        f"{content or 'none'}); expected one variable with points (N, 2), [x, y], or a map of shape "
                        f"{tuple(shape)}; save that one alone")
    values = next(iter(candidates.values()))
    fixations = _from_array(values, path, shape)
    if values.shape == tuple(shape):
        return fixations
    return fixations._replace(points=to_zero_based(fixations.points),
                              notes=tuple(f"{note}, 1-based" for note in fixations.notes))


def _is_points_or_map(values, shape):
    return values.dtype.kind in "fiub" and values.ndim == 2 and (
        values.shape == tuple(shape) or not values.size or values.shape[1] >= 2)


def _points_of_image(values, path, shape):
    """Return the fixated pixels of a fixation map stored as an image, float32 (N, 2)."""
    if values.shape != tuple(shape):
        raise UserError(f"{path}: is {values.shape[1]}x{values.shape[0]} pixels, but its image is "
                        f"{shape[1]}x{shape[0]}; make the fixation map as large as its image")
    levels, largest = np.unique(values), values.max()
    if (levels > 0).sum() <= FEW_LEVELS and path.suffix.lower() not in JPEG:
        return _marked(values > 0)
    bright = values[values > DIM * largest]
    if ((bright > MIDDLE[0] * largest) & (bright < MIDDLE[1] * largest)).mean() > DENSITY_FRACTION:
        raise UserError(f"{path}: has {len(levels)} grey levels, many neither black nor white: a density map, not a "
                        "fixation map; put it into maps/ instead of fixations/")
    return _marked(values > largest / 2)


def _marked(mask):
    """Return the marked pixels of a map, float32 (N, 2), (x, y)."""
    row, column = np.nonzero(mask)
    return np.column_stack([column, row]).astype(np.float32)


def _read_npy(path):
    try:
        return np.load(path, allow_pickle=False)
    except OSError as error:
        message = os_error_message(error) if error.errno else f"{path}: not an .npy file; write it again"
        raise UserError(message) from error
    except Exception as error:  # NumPy's parser of a damaged header raises many classes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: cannot be read as an array ({reason}); write it again with numpy.save") from error
