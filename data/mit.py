"""MIT1003, with eye tracking of 15 subjects; and MIT300, the benchmark's images, whose fixations are not public.

Judd, Ehinger, Durand, Torralba: Learning to Predict Where Humans Look (ICCV 2009);
Judd, Durand, Torralba: A Benchmark of Computational Models of Saliency to Predict Human Fixations (2012).

    ALLSTIMULI/<stem>.jpeg             longest side 1024
    ALLFIXATIONMAPS/<stem>_fixPts.jpg  the fixation map, as JPEG: bright where fixated
    ALLFIXATIONMAPS/<stem>_fixMap.jpg  the density map
    DATA/<subject>/<stem>.mat          gaze samples of the eye tracker, 240 per second: DATA(1).eyeData, [x, y, ...] per
                                       row; the variable has the image's name, cut to MATLAB's 63 characters
    BenchmarkIMAGES/i1.jpg ...         MIT300
"""
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.images import image_files, image_shape, read_image
from data.dataset import Dataset, Sample, split_names
from data.layouts import (
    LAYOUT_ERRORS,
    find_images,
    find_root,
    layout_error,
    read_mat,
    stack_observers,
    to_zero_based,
)
from data.maps import read_map

# pixels; the benchmark's blur halves 8 cycles per image: N sqrt(ln 2) / (sqrt(2) pi 8), 24.0 for N = 1024
SIGMA = 24
MID_RANGE = 127  # brighter pixels are fixated; JPEG changes the brightness of the points
GAZES = ("points", "samples")
REMEDY_1003 = "give the folder that holds ALLSTIMULI/ and ALLFIXATIONMAPS/ or DATA/"
REMEDY_300 = "give the folder that holds BenchmarkIMAGES/"
NAME_LENGTH = 63  # longest name of a MATLAB variable
SAMPLE_RATE = 240  # per second
FIXATION_SPEED = 30 * 35 / SAMPLE_RATE  # pixels per sample: the usual threshold of 30 degrees/s, 35 pixels per degree
FIXATION_SAMPLES = SAMPLE_RATE // 10  # 0.1 s


def load_mit1003(split, root, gaze="points"):
    """Open MIT1003.

    Parameters
    ----------
    split : "train", "test" or "all"
        The authors publish no split: see `data.dataset.split_names`.
    root : path
        The folder with ALLSTIMULI/, or its parent.
    gaze : "points" or "samples"
        "points": the published fixation maps, without observers. "samples": fixations detected in the eye tracker's
        gaze samples (`detect_fixations`), with observers.

    Raises
    ------
    UserError
        `root` is not MIT1003, or a file in it is damaged.
    """
    if gaze not in GAZES:
        raise UserError(f"MIT1003 has no gaze {gaze!r}; choose one of: {', '.join(GAZES)}")
    root = find_root(root, lambda folder: (folder / "ALLSTIMULI").is_dir(), "MIT1003", REMEDY_1003)
    images = find_images(root / "ALLSTIMULI")
    maps, subjects = root / "ALLFIXATIONMAPS", sorted(path for path in (root / "DATA").glob("*") if path.is_dir())
    if gaze == "points" and not maps.is_dir():
        raise UserError(f"{root}: no ALLFIXATIONMAPS/ in it; unpack it there, or use the data set "
                        "mit1003+gaze=samples, which reads DATA/")
    if gaze == "samples" and not subjects:
        raise UserError(f"{root}: no DATA/ with one folder per subject in it; unpack DATA.zip there")

    def open_sample(name):
        image, density = images[name], maps / f"{name}_fixMap.jpg"
        points, samples = maps / f"{name}_fixPts.jpg", [subject / f"{name}.mat" for subject in subjects]
        if gaze == "samples":
            return Sample(name, lambda: image_shape(image), lambda: read_image(image),
                          lambda: stack_observers([detect_fixations(read_gaze(path)) for path in samples]), SIGMA)
        return Sample(name, lambda: image_shape(image), lambda: read_image(image), lambda: read_points(points), SIGMA,
                      lambda: read_map(density))

    names = split_names(images, split)
    about = {"images": "Flickr and LabelMe", "capture": "Eyetracker",
             "observers": str(len(subjects)) if gaze == "samples" else "15",
             "edition": {"points": "published fixation maps", "samples": "fixations found in raw gaze"}[gaze]}
    if gaze == "points":
        fixation_files = [maps / f"{name}_{kind}.jpg" for name in names for kind in ("fixPts", "fixMap")]
    else:
        fixation_files = [subject / f"{name}.mat" for name in names for subject in subjects]
    files = [*(images[name] for name in names), *fixation_files]
    return Dataset("mit1003", split, SIGMA, names, open_sample, about, files)


def load_mit300(split, root):
    """Open MIT300: images without fixations; only the benchmark's owners can score predictions.

    Parameters
    ----------
    split : "test" or "all"
    root : path
        The folder with BenchmarkIMAGES/, or its parent.

    Raises
    ------
    UserError
        `root` is not MIT300, or the split does not exist.
    """
    if split not in ("test", "all"):
        raise UserError(f"MIT300 has no split {split!r}; choose one of: test, all")
    root = find_root(root, lambda folder: (folder / "BenchmarkIMAGES").is_dir(), "MIT300", REMEDY_300)
    # not in subfolders: the archive has maps of the same names in one
    images = {path.stem: path for path in image_files(root / "BenchmarkIMAGES")}

    def open_sample(name):
        image = images[name]
        return Sample(name, lambda: image_shape(image), lambda: read_image(image), None, SIGMA)

    about = {"images": "Flickr and LabelMe", "edition": "images alone", "capture": "Eyetracker", "observers": "39"}
    return Dataset("mit300", split, SIGMA, list(images), open_sample, about, images.values())


def read_points(path):
    """Return the bright pixels of a fixation map stored as JPEG, float32 (N, 2), (x, y), 0-based."""
    row, column = np.nonzero(read_map(path) > MID_RANGE)
    return np.column_stack([column, row]).astype(np.float32)


def read_gaze(path):
    """Read the gaze samples of one subject on one image; during blinks they lie outside the image.

    Returns
    -------
    float32 (N, 2), (x, y), 0-based
    """
    path = Path(path)
    record = read_mat(path, path.stem[:NAME_LENGTH])
    try:
        return to_zero_based(np.asarray(record.ravel()[0]["DATA"].ravel()[0]["eyeData"])[:, :2])
    except LAYOUT_ERRORS as error:
        raise layout_error(path, "struct with DATA(1).eyeData") from error


def detect_fixations(samples):
    """Find fixations in gaze samples with a velocity threshold.

    Consecutive samples slower than 30 degrees per second form a group. A group of at least 0.1 s is a fixation, at the
    median of its samples. The first fixation is dropped, as the authors do, because it started before the image
    appeared. The authors' MATLAB program gives other fixations; `gaze="points"` reads the published ones.

    Parameters
    ----------
    samples : float (N, 2), (x, y)

    Returns
    -------
    float32 (M, 2)
    """
    speed = np.linalg.norm(np.diff(samples, axis=0), axis=1)
    slow = np.concatenate([[False], speed < FIXATION_SPEED, [False]])
    edges = np.flatnonzero(slow[1:] != slow[:-1]).reshape(-1, 2)
    fixations = [np.median(samples[start:end + 1], axis=0) for start, end in edges
                 if end + 1 - start >= FIXATION_SAMPLES]
    return np.array(fixations[1:], np.float32).reshape(-1, 2)
