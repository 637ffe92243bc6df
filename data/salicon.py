"""SALICON: 20,000 images of Microsoft COCO, with mouse movements of crowd workers in place of eye tracking.

Jiang, Huang, Duan, Zhao: SALICON: Saliency in Context (CVPR 2015). Three distributions exist, all 640x480:

    2015r1 JSON    annotations/fixations_{train,val}2014*.json, COCO's layout, points [row, col];
                   images/*.jpg or images/{train,val,test}*/*.jpg
    .mat files     one per image: fixations/{train,val}/*.mat with the variable gaze, points [x, y];
                   images/{train,val,test}/*.jpg; editions of 2015 and 2017, which score differently
    LSUN 2015      {training,validation,testing}.mat, images/*.jpg, saliency/*.mat (data/lsun.py)

All coordinates are 1-based. The JSON has raw mouse samples a few pixels apart. The official tools blur the map of all
samples, but score only against repeated ones: a pixel with k samples counts k - 1 times
(salicon-evaluation, saliconeval/eval.py). The option `points="repeated"` selects these.
"""
import contextlib
import mmap
import re
from functools import partial
from pathlib import Path

import numpy as np

from common.errors import UserError, os_error_message, show_names
from common.files import parse_json
from common.images import read_image
from data.dataset import Dataset, Sample, WrongRoot, clip_to_frame
from data.density import density_map
from data.layouts import (
    LAYOUT_ERRORS,
    find_images,
    find_root,
    layout_error,
    read_mat,
    stack_observers,
    to_zero_based,
)
from data.lsun import SPLIT_FILES, open_lsun
from data.maps import read_map

SIGMA = 19  # pixels, as in the official API
SHAPE = (480, 640)
POINTS = ("all", "repeated")
SPLITS = ("train", "val", "test")
REMEDY = "give the folder that holds images/ and annotations/, fixations/ or training.mat"
OBJECT = re.compile(rb"\{[^{}]*\}")  # one image or annotation; neither contains nested objects
IMAGE_ID = re.compile(rb'"image_id"\s*:\s*(\d+)')
EDITION_FILES = 50  # number of .mat files that are read to detect the edition, 2015 or 2017


def load(split, root, points="all"):
    """Open SALICON. The distribution is detected from its files and recorded in `.about["edition"]`.

    Parameters
    ----------
    split : "train", "val" or "test"
        The test images have no fixations.
    root : path
        The folder with images/, or its parent.
    points : "all" or "repeated"
        Which mouse samples of the JSON count as fixations: all, or for each pixel all but one. Density maps are always
        computed from all samples.

    Raises
    ------
    UserError
        `root` is not SALICON, or a file in it is damaged.
    """
    if split not in SPLITS:
        raise UserError(f"SALICON has no split {split!r}; choose one of: {', '.join(SPLITS)}")
    if points not in POINTS:
        raise UserError(f"SALICON has no points {points!r}; choose one of: {', '.join(POINTS)}")
    root = find_root(root, _is_salicon, "SALICON", REMEDY)
    if (root / SPLIT_FILES[split]).is_file():
        _check_points(points, root)
        return open_lsun("salicon", split, root, SIGMA, {**_describe(split), "edition": "LSUN 2015"})
    if any((root / file).is_file() for file in SPLIT_FILES.values()) and not (root / "annotations").is_dir():
        raise UserError(f"{root / SPLIT_FILES[split]}: missing; put it beside the files of the other splits")
    images = _find_images(root, split)
    if split == "test":
        return _open_dataset(split, root, {name: SHAPE for name in images}, images, None, "images alone", [])
    if path := _find_annotations(root, split):
        return _open_json(path, split, root, images, points)
    annotated = {path.stem: path for path in sorted((root / "fixations" / split).glob("*.mat"))}
    if not annotated:
        raise WrongRoot(f"{root}: no annotations/fixations_{split}2014.json and no fixations/{split}/*.mat; {REMEDY}")
    _check_points(points, root)
    # an image without .mat, or a .mat without image, is an error when that sample is read
    files = {name: root / "fixations" / split / f"{name}.mat" for name in {**images, **annotated}}
    readers = {name: partial(read_mat_fixations, path) for name, path in files.items()}
    edition = detect_edition(annotated.values())
    return _open_dataset(split, root, {name: SHAPE for name in files}, images, readers, f".mat, {edition}",
                         files.values(), _find_maps(root, split))


def index_json(path):
    """Locate the annotations of each image in the JSON file.

    Memory holds only the positions of the annotations, not the file (818 MB).

    Parameters
    ----------
    path : path

    Returns
    -------
    ({name: (H, W)}, {name: [(start, end), ...]})
        Sizes of the images; and per image the byte ranges of its annotations, one per worker.

    Raises
    ------
    UserError
        The file is truncated, or has no images and annotations in COCO's layout.
    """
    images, places, end = {}, {}, 0
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            for match in OBJECT.finditer(text):
                end, entry = match.end(), match.group()
                if b'"fixations"' in entry:
                    places.setdefault(int(IMAGE_ID.search(entry)[1]), []).append(match.span())
                elif b'"file_name"' in entry:
                    image = parse_json(entry)
                    images[image["id"]] = Path(image["file_name"]).stem, (image["height"], image["width"])
            rest = text[end:].strip()
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except LAYOUT_ERRORS as error:  # include json's errors, and mmap's for an empty file
        raise layout_error(path, "JSON with images and annotations") from error
    if (images or places) and (not rest.endswith(b"}") or b"{" in rest):
        raise UserError(f"{path}: truncated after {len(images)} images; download it again")
    if not images or not places:
        raise UserError(f"{path}: no images or no annotations with fixations in it; "
                        "download SALICON's annotations again")
    if unmatched := set(places) - set(images):
        raise UserError(f"{path}: has annotations of image {show_names(str(min(unmatched)))}, which is not in its "
                        "list of images; download it again")
    return ({name: shape for name, shape in images.values()},
            {name: places.get(number, []) for number, (name, _) in images.items()})


def read_json_fixations(path, places, points="all"):
    """Read the mouse samples of one image.

    Parameters
    ----------
    path : path
    places : list of (start, end)
        Byte ranges from `index_json`.
    points : "all" or "repeated"

    Returns
    -------
    (float32 (N, 2), int32 (N,))
        (x, y), 0-based; and the number of the worker of each sample.
    """
    samples_per_worker, numbers = [], []
    try:
        with open(path, "rb") as file:
            for start, end in places:
                file.seek(start)
                annotation = parse_json(file.read(end - start))
                samples_per_worker.append(to_zero_based(annotation["fixations"])[:, ::-1])  # the file has [row, col]
                numbers.append(annotation.get("worker_id", len(numbers)))
        samples, indices = stack_observers(samples_per_worker)
        workers = np.array(numbers, np.int32)[indices]
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except LAYOUT_ERRORS as error:
        raise layout_error(path, "annotations with fixations [[row, col], ...]") from error
    if points == "all":
        return samples, workers
    order = np.lexsort(samples.T)
    repeated = order[1:][(samples[order[1:]] == samples[order[:-1]]).all(axis=1)]
    return samples[repeated], workers[repeated]


def read_mat_fixations(path):
    """Read the fixations of one image from its .mat file.

    Parameters
    ----------
    path : path

    Returns
    -------
    (float32 (N, 2), int32 (N,))
        (x, y), 0-based; and the worker of each fixation, as an index into the file.
    """
    gaze = read_mat(path, "gaze")
    try:
        return stack_observers([to_zero_based(worker["fixations"]) for worker in gaze.ravel()])
    except LAYOUT_ERRORS as error:
        raise layout_error(path, "gaze: struct with location, timestamp, fixations") from error


def detect_edition(files):
    """Return "2015" or "2017" for .mat files: only in 2017 do some mouse locations lie outside the frame."""
    for path in list(files)[:EDITION_FILES]:
        with contextlib.suppress(UserError, *LAYOUT_ERRORS):  # a damaged file is reported when its sample is read
            for worker in read_mat(path, "gaze").ravel():
                location = np.asarray(worker["location"], float).reshape(-1, 2)
                if (location < 1).any() or (location > SHAPE[::-1]).any():
                    return "2017"
    return "2015"


def _check_points(points, root):
    """Raise UserError for points="repeated": only the JSON has mouse samples."""
    if points != "all":
        raise UserError(f"{root}: the .mat files hold fixations, not mouse samples; the option points={points} needs "
                        "the JSON of 2015, leave it out")


def _is_salicon(folder):
    return (folder / "training.mat").is_file() or (folder / "images").is_dir() and (
        (folder / "fixations").is_dir() or (folder / "annotations").is_dir())


def _find_annotations(root, split):
    """Return the path of the JSON of a split, or None."""
    exact = root / "annotations" / f"fixations_{split}2014.json"
    others = sorted((root / "annotations").glob(f"fixations_{split}2014*.json"))  # such as SALICON's own example
    return exact if exact.is_file() else others[0] if others else None


def _find_images(root, split):
    """List the images of a split by name; the name of each image contains its split."""
    prefix = f"COCO_{split}"
    images = {name: path for name, path in find_images(root / "images").items() if name.startswith(prefix)}
    if not images:
        raise UserError(f"{root / 'images'}: no {prefix}*.jpg in it; unpack the images of this split there")
    return images


def _find_maps(root, split):
    """Return the folder of published density maps, or None."""
    folder = root / "maps" / split
    return folder if folder.is_dir() else None


def _describe(split):
    return {"images": "Microsoft COCO", "capture": "Mouse", "observers": "Crowd" if split != "test" else "none"}


def _density_of_all_points(path, places, shape):
    return density_map(clip_to_frame(read_json_fixations(path, places)[0], shape), shape, SIGMA)


def _open_json(path, split, root, images, points):
    """Open a split of the JSON of 2015."""
    shapes, places = index_json(path)
    readers = {name: partial(read_json_fixations, path, places[name], points) for name in shapes}
    densities = {name: partial(_density_of_all_points, path, places[name], shapes[name]) for name in shapes}
    maps = _find_maps(root, split)
    return _open_dataset(split, root, shapes, images, readers, "2015r1 JSON", [path], maps, densities)


def _open_dataset(split, root, shapes, images, readers, distribution, sources, maps=None, densities=None):
    """Build the Dataset of one split; a missing image file is an error when its sample is read.

    Parameters
    ----------
    split : str
    root : Path
    shapes : dict of str: (H, W)
        Names and sizes of the samples.
    images : dict of str: Path
    readers : dict of str: callable () -> fixations, see `data.dataset.Sample`; or None
    distribution : str
        For `about["edition"]`.
    sources : iterable of Path
        Files that hold the fixations.
    maps : Path of the folder of published density maps, or None
    densities : dict of str: callable () -> float (H, W), or None
        Density maps where none is published.
    """
    paths = {name: images.get(name, root / "images" / f"{name}.jpg") for name in shapes}

    def open_sample(name):
        image, published = paths[name], maps and maps / f"{name}.png"
        return Sample(name, shapes[name], lambda: read_image(image), readers and readers[name], SIGMA,
                      partial(read_map, published) if published else densities and densities[name])

    about = {**_describe(split), "edition": f"{distribution}, densities {'as published' if maps else 'made here'}"}
    files = [*sources, *paths.values(), *(maps / f"{name}.png" for name in shapes if maps)]
    return Dataset("salicon", split, SIGMA, sorted(shapes), open_sample, about, files)
