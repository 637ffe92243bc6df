"""Your own data: pictures, and where people looked at them.

    images/       NAME.jpg, .png, ...
    fixations/    NAME.csv    a header with x,y or row,col, and observer if known; pixels from 0
                  NAME.npy    (N, 2), [x, y], from 0; or of the image's size, above 0 where fixated
                  NAME.mat    one variable, (N, 2), [x, y], from 1 as MATLAB counts; or of the image's size
                  NAME.png    of the image's size, bright where fixated
    maps/         NAME.png    densities, grey; where they are missing, they are made from the fixations

Of fixations/ and maps/ one may be missing: without fixations a net can be trained, but not scored; without both,
pictures can be predicted.
"""
import csv
from functools import partial

import numpy as np

from common.errors import UserError, os_error_message
from common.images import image_shape, read_image
from data.dataset import Dataset, Sample, split_names
from data.layouts import as_points, find_root, images_below, read_mat, to_zero_based
from data.maps import read_map

SIGMA = 19  # pixels, SALICON's; `sigma` for another
SUFFIXES = (".csv", ".npy", ".mat", ".png")
COLUMNS = (("x", "y"), ("col", "row"), ("column", "row"))
OBSERVERS = ("observer", "subject", "participant")
REMEDY = "give the folder that holds images/, and fixations/ or maps/ beside it, as DATA_ROOT (see data/README.md)"


def load(split, root, sigma=SIGMA):
    """Open a folder of pictures with fixations.

    Parameters
    ----------
    split : "train", "test" or "all"
        See `data.dataset.split_names`; without fixations and maps every picture is in "test".
    root : path
        The folder with images/, or the one above it.
    sigma : float
        Blur, in pixels; a degree of visual angle is usual.

    Raises
    ------
    UserError
        `root` has another layout. An image with neither fixations nor a map, while others have, is named when
        it is read.
    """
    if not isinstance(sigma, int | float) or not 0 < sigma < float("inf"):
        raise UserError(f"sigma is {sigma!r}; give a number of pixels above 0, a degree of visual angle is usual")
    root = find_root(root, lambda folder: (folder / "images").is_dir(), "a folder of pictures", REMEDY)
    images = images_below(root / "images")
    looks, maps = _files(root / "fixations", SUFFIXES), _files(root / "maps", (".png",))
    if not images:
        raise UserError(f"{root / 'images'}: no picture in it; {REMEDY}")
    if strangers := sorted({*looks, *maps} - set(images)):
        raise UserError(f"{root}: {len(strangers)} files in fixations/ or maps/ belong to no image, the first is "
                        f"{strangers[0]!r}; name them as the images are")
    watched = bool(looks or maps)

    def open_sample(name):
        image, look, own = images[name], looks.get(name), maps.get(name)
        read = look and (lambda: read_fixations(look, image_shape(image)))
        if watched and not (look or own):
            read = partial(_refuse_unwatched, image)
        return Sample(name, lambda: image_shape(image), lambda: read_image(image), read, sigma,
                      own and (lambda: read_map(own)))

    names = split_names(images, split) if watched else [] if split == "train" else list(images)
    about = {"images": root.resolve().name, "edition": "own data", "capture": "", "observers": ""}
    files = [place[name] for name in names for place in (images, looks, maps) if name in place]
    return Dataset("folder", split, sigma, names, open_sample, about, files)


def read_fixations(path, shape):
    """Fixations from a file of any of the kinds above.

    Parameters
    ----------
    path : Path
    shape : (H, W) of the image

    Returns
    -------
    float32 (N, 2), (x, y) from 0; or a pair of that and int32 (N,), the observers

    Raises
    ------
    UserError
        The file is damaged, or holds something else.
    """
    kind = path.suffix.lower()
    if kind == ".csv":
        return _read_csv(path)
    if kind == ".png":
        values = read_map(path)
        return _marked(values > values.max() / 2, path, shape)
    values = np.asarray(read_mat(path) if kind == ".mat" else _read_npy(path))
    try:
        if values.shape == tuple(shape):
            return _marked(values > 0, path, shape)
        return to_zero_based(values) if kind == ".mat" else as_points(values)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: holds {values.dtype} of shape {values.shape}; expected (N, 2) with x and y in a row, "
                        f"or a map of {tuple(shape)}") from error


def _refuse_unwatched(image):
    raise UserError(f"{image}: has neither fixations nor a map, and other images have; add one, or take the image out")


def _files(folder, suffixes):
    """{stem: path}; a file of another kind, or two of one stem, are an error rather than a silent loss."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in suffixes:
            raise UserError(f"{path}: is none of {', '.join(suffixes)}; take it out of the folder")
        if path.stem in found:
            raise UserError(f"{path}: there is also {found[path.stem].name}; leave one file an image")
        found[path.stem] = path
    return found


def _marked(marked, path, shape):
    if marked.shape != tuple(shape):
        raise UserError(f"{path}: is {marked.shape[1]}x{marked.shape[0]} pixels, its image {shape[1]}x{shape[0]}; "
                        "a fixation map has the size of its image")
    row, column = np.nonzero(marked)
    return np.column_stack([column, row]).astype(np.float32)


def _read_npy(path):
    try:
        return np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(os_error_message(error) if error.errno else f"{path}: not an .npy file; write it again") from error
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as an array ({error}); write it again with numpy.save") from error


def _read_csv(path):
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            names = [(name or "").strip().lower() for name in rows.fieldnames or ()]
            rows.fieldnames = names
            columns = next((pair for pair in COLUMNS if set(pair) <= set(names)), None)
            if columns is None:
                raise UserError(f"{path}: its first line is {','.join(names)!r}; it has to name the columns, "
                                "x,y or row,col")
            whose = next((name for name in OBSERVERS if name in names), None)
            points, observers = [], []
            for row in rows:
                points.append([float(row[column]) for column in columns])
                observers.append(row[whose] or "" if whose else "")
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text in UTF-8 ({error.reason}); save it again as CSV, UTF-8") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: line {rows.line_num} is not numbers under x and y ({error}); correct it") from error
    points = np.array(points, np.float32).reshape(-1, 2)
    return (points, np.unique(observers, return_inverse=True)[1].astype(np.int32)) if whose and observers else points
