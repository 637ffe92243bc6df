"""SALICON: 20,000 images of Microsoft COCO, and the mouse movements of a crowd that stand for its gaze.

Jiang, Huang, Duan, Zhao: SALICON: Saliency in Context (CVPR 2015). Three forms are about, all 640x480:

    2015r1 JSON    annotations/fixations_{train,val}2014*.json, COCO's layout, points [row, col];
                   images/*.jpg or images/{train,val,test}*/*.jpg
    .mat a image   fixations/{train,val}/*.mat with the variable gaze, points [x, y]; images/{train,val,test}/*.jpg;
                   editions of 2015 and 2017, which score differently
    LSUN 2015      {training,validation,testing}.mat, images/*.jpg, saliency/*.mat (data/lsun.py)

All count pixels from 1. The JSON has raw mouse samples a few pixels apart. The official tools blur the map of all
of them, and score against the repeated ones alone, a pixel that was passed k times counting k - 1 times
(salicon-evaluation, saliconeval/eval.py): `points="repeated"`.
"""
import contextlib
import json
import mmap
import re
from functools import partial
from pathlib import Path

import numpy as np

from common.errors import UserError, os_error_message
from common.images import read_image
from data.dataset import Dataset, Sample, clip_to_frame
from data.density import density_map
from data.layouts import (
    LAYOUT_ERRORS,
    by_observer,
    find_root,
    images_below,
    read_mat,
    refuse_layout,
    to_zero_based,
)
from data.lsun import SPLIT_FILES, open_lsun
from data.maps import read_map

SIGMA = 19  # pixels: the official API's
SHAPE = (480, 640)
POINTS = ("all", "repeated")
SPLITS = ("train", "val", "test")
REMEDY = "give the folder that holds images/, and annotations/, fixations/ or training.mat beside it, as DATA_ROOT"
OBJECT = re.compile(rb"\{[^{}]*\}")  # an image or annotation: neither holds objects of its own
IMAGE_ID = re.compile(rb'"image_id"\s*:\s*(\d+)')
LOOKED_AT = 50  # .mat files read to tell 2017 from 2015


def load(split, root, points="all"):
    """Open SALICON, in whichever form it is there; the form is in `.about["edition"]`.

    Parameters
    ----------
    split : "train", "val" or "test"
        The test images have no fixations.
    root : path
        The folder with images/, or the one above it.
    points : "all" or "repeated"
        Of the JSON's mouse samples: all, or for each pixel all but one. Densities are made of all.

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
        _refuse_repeated(points, root)
        return open_lsun("salicon", split, root, SIGMA, {**_about(split), "edition": "LSUN 2015"})
    if any((root / file).is_file() for file in SPLIT_FILES.values()) and not (root / "annotations").is_dir():
        raise UserError(f"{root / SPLIT_FILES[split]}: missing; put it beside the other splits' files")
    images = _images(root, split)
    if split == "test":
        return _open(split, root, {name: SHAPE for name in images}, images, None, "images alone", [])
    if found := _annotations(root, split):
        shapes, where = index_json(found)
        readers = {name: partial(read_json_fixations, found, where[name], points) for name in shapes}
        everything = {name: partial(_density_of_all, found, where[name], shapes[name]) for name in shapes}
        return _open(split, root, shapes, images, readers, "2015r1 JSON", [found], _maps(root, split), everything)
    found = {path.stem: path for path in sorted((root / "fixations" / split).glob("*.mat"))}
    if not found:
        raise UserError(f"{root}: no annotations/fixations_{split}2014.json and no fixations/{split}/*.mat; {REMEDY}")
    _refuse_repeated(points, root)
    # an image without its .mat, or the other way round, is named when it is read
    files = {name: root / "fixations" / split / f"{name}.mat" for name in {**images, **found}}
    readers = {name: partial(read_mat_fixations, path) for name, path in files.items()}
    return _open(split, root, {name: SHAPE for name in files}, images, readers, f".mat, {edition(found.values())}",
                 files.values(), _maps(root, split))


def index_json(path):
    """Find what belongs to which image, without holding more of the file (818 MB) than the place of each annotation.

    Parameters
    ----------
    path : path

    Returns
    -------
    ({name: (H, W)}, {name: [(start, end), ...]})
        The images; and where in the file their annotations are, one a worker.

    Raises
    ------
    UserError
        The file is cut off, or holds no images and annotations as COCO's do.
    """
    images, places, end = {}, {}, 0
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            for match in OBJECT.finditer(text):
                end, one = match.end(), match.group()
                if b'"fixations"' in one:
                    places.setdefault(int(IMAGE_ID.search(one)[1]), []).append(match.span())
                elif b'"file_name"' in one:
                    image = json.loads(one)
                    images[image["id"]] = Path(image["file_name"]).stem, (image["height"], image["width"])
            rest = text[end:].strip()
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except LAYOUT_ERRORS as error:  # json's errors among them; mmap's for an empty file
        refuse_layout(path, "JSON with images and annotations", error)
    if (images or places) and (not rest.endswith(b"}") or b"{" in rest):
        raise UserError(f"{path}: cut off, after {len(images)} images; download it again")
    if not images or not places:
        raise UserError(f"{path}: no images or no annotations with fixations in it; {REMEDY}")
    if strangers := set(places) - set(images):
        raise UserError(f"{path}: has annotations of image {min(strangers)}, which it does not list; download it again")
    return ({name: shape for name, shape in images.values()},
            {name: places.get(number, []) for number, (name, _) in images.items()})


def read_json_fixations(path, places, points="all"):
    """The mouse samples of one image.

    Parameters
    ----------
    path : path
    places : list of (start, end)
        As `index_json` gives them.
    points : "all" or "repeated"

    Returns
    -------
    (float32 (N, 2), int32 (N,))
        (x, y) from 0; and the number of each one's worker.
    """
    found, workers = [], []
    try:
        with open(path, "rb") as file:
            for start, end in places:
                file.seek(start)
                annotation = json.loads(file.read(end - start))
                found.append(to_zero_based(annotation["fixations"])[:, ::-1])  # [row, col]
                workers.append(annotation.get("worker_id", len(workers)))
        samples, whose = by_observer(found)
        whose = np.array(workers, np.int32)[whose]
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except LAYOUT_ERRORS as error:
        refuse_layout(path, "annotations with fixations [[row, col], ...]", error)
    if points == "all":
        return samples, whose
    order = np.lexsort(samples.T)
    again = order[1:][(samples[order[1:]] == samples[order[:-1]]).all(axis=1)]
    return samples[again], whose[again]


def read_mat_fixations(path):
    """The fixations of one image, as `read_json_fixations` gives them, from its .mat; workers by their place in it."""
    gaze = read_mat(path, "gaze")
    try:
        return by_observer([to_zero_based(worker["fixations"]) for worker in gaze.ravel()])
    except LAYOUT_ERRORS as error:
        refuse_layout(path, "gaze: struct with location, timestamp, fixations", error)


def edition(files):
    """"2015" or "2017" for .mat files: in 2017's some mouse locations lie outside the frame, in 2015's none."""
    for path in list(files)[:LOOKED_AT]:
        with contextlib.suppress(UserError, *LAYOUT_ERRORS):  # damaged: named when it is read
            for worker in read_mat(path, "gaze").ravel():
                location = np.asarray(worker["location"], float).reshape(-1, 2)
                if (location < 1).any() or (location > SHAPE[::-1]).any():
                    return "2017"
    return "2015"


def _refuse_repeated(points, root):
    if points != "all":
        raise UserError(f"{root}: points={points} is for the JSON of 2015; the .mat files hold fixations and not "
                        "mouse samples")


def _is_salicon(folder):
    return (folder / "training.mat").is_file() or (folder / "images").is_dir() and (
        (folder / "fixations").is_dir() or (folder / "annotations").is_dir())


def _annotations(root, split):
    """The JSON of a split; None if there is none."""
    exact = root / "annotations" / f"fixations_{split}2014.json"
    parts = sorted((root / "annotations").glob(f"fixations_{split}2014*.json"))  # SALICON's own example, for one
    return exact if exact.is_file() else parts[0] if parts else None


def _images(root, split):
    """{name: path}; each image's name has its split in it."""
    found = {name: path for name, path in images_below(root / "images").items() if name.startswith(f"COCO_{split}")}
    if not found:
        raise UserError(f"{root / 'images'}: no COCO_{split}*.jpg in it; unpack the images of this split there")
    return found


def _maps(root, split):
    """The folder of published densities; None if there is none."""
    folder = root / "maps" / split
    return folder if folder.is_dir() else None


def _about(split):
    return {"images": "Microsoft COCO", "capture": "Mouse", "observers": "Crowd" if split != "test" else "none"}


def _density_of_all(path, places, shape):
    return density_map(clip_to_frame(read_json_fixations(path, places)[0], shape), shape, SIGMA)


def _open(split, root, shapes, images, readers, form, sources, maps=None, densities=None):
    """A Dataset of the images with fixations; those whose picture is missing say so when they are read."""
    paths = {name: images.get(name, root / "images" / f"{name}.jpg") for name in shapes}

    def open_sample(name):
        image, own = paths[name], maps and maps / f"{name}.png"
        return Sample(name, shapes[name], lambda: read_image(image), readers and readers[name], SIGMA,
                      partial(read_map, own) if own else densities and densities[name])

    about = {**_about(split), "edition": f"{form}, densities {'as published' if maps else 'made here'}"}
    files = [*sources, *paths.values(), *(maps / f"{name}.png" for name in shapes if maps)]
    return Dataset("salicon", split, SIGMA, sorted(shapes), open_sample, about, files)
