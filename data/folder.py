"""A folder of your own images, with fixations or density maps.

    images/       NAME.jpg, .png, ...
    fixations/    NAME.csv    header x,y or row,col, and optionally observer; pixels, 0-based
                  NAME.npy    points (N, 2), [x, y], 0-based; or a map of the image's size, above 0 where fixated
                  NAME.mat    one variable: points (N, 2), [x, y], 1-based as in MATLAB; or a map of the image's size
                  NAME.png    fixation map of the image's size, bright where fixated
    maps/         NAME.png    density map, grey; computed from the fixations where it is missing

Without fixations/, nets can be trained but not scored. Without fixations/ and maps/, saliency maps can be predicted.
"""
import csv
from functools import partial

import numpy as np

from common.errors import UserError, os_error_message
from common.images import image_shape, read_image
from data.dataset import Dataset, Sample, WrongRoot, split_names
from data.layouts import find_images, find_root, read_mat, to_points, to_zero_based
from data.maps import read_map

SIGMA = 19  # pixels, as in SALICON; the option `sigma` overrides it
SUFFIXES = (".csv", ".npy", ".mat", ".png")
COLUMNS = (("x", "y"), ("col", "row"), ("column", "row"))
OBSERVERS = ("observer", "subject", "participant")
REMEDY = "give the folder that holds images/ and fixations/ or maps/"


def load(split, root, sigma=SIGMA):
    """Open a folder of images with fixations or density maps.

    Parameters
    ----------
    split : "train", "test" or "all"
        See `data.dataset.split_names`; without fixations and maps, all images are in "test".
    root : path
        The folder with images/, or its parent.
    sigma : float
        Blur, in pixels; one degree of visual angle is usual.

    Raises
    ------
    UserError
        `root` has another layout. If only some images have neither fixations nor a map, the error is raised when
        such an image is read.
    """
    if not isinstance(sigma, int | float) or not 0 < sigma < float("inf"):
        raise UserError(f"sigma is {sigma!r}; give a number of pixels above 0; one degree of visual angle is usual")
    root = find_root(root, lambda folder: (folder / "images").is_dir(), "a folder of images", REMEDY)
    images = find_images(root / "images")
    fixations, maps = _list_files(root / "fixations", SUFFIXES), _list_files(root / "maps", (".png",))
    if not images:
        raise WrongRoot(f"{root / 'images'}: no image in it; {REMEDY}")
    if unmatched := sorted({*fixations, *maps} - set(images)):
        raise UserError(f"{root}: {len(unmatched)} files in fixations/ or maps/ match no image, the first is "
                        f"{unmatched[0]!r}; give each file the name of its image")
    has_data = bool(fixations or maps)

    def open_sample(name):
        image, points, density = images[name], fixations.get(name), maps.get(name)
        read = points and (lambda: read_fixations(points, image_shape(image)))
        if has_data and not (points or density):
            read = partial(_raise_missing_data, image)
        return Sample(name, lambda: image_shape(image), lambda: read_image(image), read, sigma,
                      density and (lambda: read_map(density)))

    names = split_names(images, split) if has_data else [] if split == "train" else list(images)
    about = {"images": root.resolve().name, "edition": "own data", "capture": "", "observers": ""}
    files = [paths[name] for name in names for paths in (images, fixations, maps) if name in paths]
    return Dataset("folder", split, sigma, names, open_sample, about, files)


def read_fixations(path, shape):
    """Read the fixations of one image from a file of any supported format.

    Parameters
    ----------
    path : Path
    shape : (H, W) of the image

    Returns
    -------
    float32 (N, 2), (x, y), 0-based; or a pair of that and int32 (N,), the observers

    Raises
    ------
    UserError
        The file is damaged, or holds neither points nor a fixation map.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _read_csv(path)
    if suffix == ".png":
        values = read_map(path)
        return _points_of_map(values > values.max() / 2, path, shape)
    values = np.asarray(read_mat(path) if suffix == ".mat" else _read_npy(path))
    try:
        if values.shape == tuple(shape):
            return _points_of_map(values > 0, path, shape)
        return to_zero_based(values) if suffix == ".mat" else to_points(values)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: holds {values.dtype} of shape {values.shape}; expected (N, 2) with x and y in each "
                        f"row, or a map of shape {tuple(shape)}") from error


def _raise_missing_data(image):
    raise UserError(f"{image}: has neither fixations nor a density map, but other images do; "
                    "add one, or remove the image")


def _list_files(folder, suffixes):
    """List the files of a folder by name without extension.

    A file of another format, or two files of one name, are an error; otherwise data would be ignored silently.
    """
    files = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in suffixes:
            raise UserError(f"{path}: is none of {', '.join(suffixes)}; remove it from the folder")
        if path.stem in files:
            raise UserError(f"{path}: {files[path.stem].name} has the same name; keep one file per image")
        files[path.stem] = path
    return files


def _points_of_map(fixation_map, path, shape):
    """Return the fixated pixels of a binary map, float32 (N, 2), (x, y)."""
    if fixation_map.shape != tuple(shape):
        raise UserError(f"{path}: is {fixation_map.shape[1]}x{fixation_map.shape[0]} pixels, but its image is "
                        f"{shape[1]}x{shape[0]}; make the fixation map as large as its image")
    row, column = np.nonzero(fixation_map)
    return np.column_stack([column, row]).astype(np.float32)


def _read_npy(path):
    try:
        return np.load(path, allow_pickle=False)
    except OSError as error:
        message = os_error_message(error) if error.errno else f"{path}: not an .npy file; write it again"
        raise UserError(message) from error
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as an array ({error}); write it again with numpy.save") from error


def _read_csv(path):
    """Read the points of a CSV file, and their observers if it has such a column; see `read_fixations`."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            names = [(name or "").strip().lower() for name in rows.fieldnames or ()]
            rows.fieldnames = names
            columns = next((pair for pair in COLUMNS if set(pair) <= set(names)), None)
            if columns is None:
                raise UserError(f"{path}: the first line is {','.join(names)!r}; it must name the columns, "
                                "x,y or row,col")
            observer_column = next((name for name in OBSERVERS if name in names), None)
            points, observers = [], []
            for row in rows:
                points.append([float(row[column]) for column in columns])
                observers.append(row[observer_column] or "" if observer_column else "")
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason}); save it again as CSV in UTF-8") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: line {rows.line_num} has no numbers for the point ({error}); correct it") from error
    points = np.array(points, np.float32).reshape(-1, 2)
    if not (observer_column and observers):
        return points
    return points, np.unique(observers, return_inverse=True)[1].astype(np.int32)
