"""MIT1003, with the gaze of 15 people; and MIT300, the benchmark's images, whose gaze is not public.

Judd, Ehinger, Durand, Torralba: Learning to Predict Where Humans Look (ICCV 2009);
Judd, Durand, Torralba: A Benchmark of Computational Models of Saliency to Predict Human Fixations (2012).

    ALLSTIMULI/<stem>.jpeg             longest side 1024
    ALLFIXATIONMAPS/<stem>_fixPts.jpg  the fixation map, as JPEG: bright is fixated
    ALLFIXATIONMAPS/<stem>_fixMap.jpg  the density
    DATA/<subject>/<stem>.mat          what the eye tracker recorded, 240 times a second, in a variable that is named as
                                       the image, cut to MATLAB's 63 characters: DATA(1).eyeData, [x, y, ...] a row
    BenchmarkIMAGES/i1.jpg ...         MIT300
"""
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.images import image_files, image_shape, read_image
from data.dataset import Dataset, Sample, split_names
from data.layouts import LAYOUT_ERRORS, by_observer, find_root, images_below, read_mat, refuse_layout, to_zero_based
from data.maps import read_map

SIGMA = 24  # pixels; the benchmark's blur halves 8 cycles an image: N sqrt(ln 2) / (sqrt(2) pi 8), 24.0 for N = 1024
MID_RANGE = 127  # JPEG blurs the points' brightness: above is fixated
GAZES = ("points", "samples")
REMEDY_1003 = "give the folder that holds ALLSTIMULI/ and ALLFIXATIONMAPS/ or DATA/ as DATA_ROOT"
REMEDY_300 = "give the folder that holds BenchmarkIMAGES/ as DATA_ROOT"
NAME_LENGTH = 63  # of MATLAB's variables
RATE = 240  # samples a second
FIXATION_SPEED = 30 * 35 / RATE  # pixels a sample: 30 degrees a second, as usual for such thresholds, of 35 pixels each
FIXATION_SAMPLES = RATE // 10  # 0.1 s


def load_mit1003(split, root, gaze="points"):
    """Open MIT1003.

    Parameters
    ----------
    split : "train", "test" or "all"
        The authors give no split: see `data.dataset.split_names`.
    root : path
        The folder with ALLSTIMULI/, or the one above it.
    gaze : "points" or "samples"
        The published fixation maps, which do not tell whose fixation is whose; or fixations that are found
        in the eye tracker's samples (`fixations_in`), with their observers.

    Raises
    ------
    UserError
        `root` is not MIT1003, or a file in it is damaged.
    """
    if gaze not in GAZES:
        raise UserError(f"MIT1003 has no gaze {gaze!r}; choose one of: {', '.join(GAZES)}")
    root = find_root(root, lambda folder: (folder / "ALLSTIMULI").is_dir(), "MIT1003", REMEDY_1003)
    images = images_below(root / "ALLSTIMULI")
    maps, people = root / "ALLFIXATIONMAPS", sorted(path for path in (root / "DATA").glob("*") if path.is_dir())
    if gaze == "points" and not maps.is_dir():
        raise UserError(f"{root}: no ALLFIXATIONMAPS/ in it; unpack it there, or use DATA/: mit1003+gaze=samples")
    if gaze == "samples" and not people:
        raise UserError(f"{root}: no DATA/ with a folder a subject in it; unpack DATA.zip there")

    def open_sample(name):
        image, density = images[name], maps / f"{name}_fixMap.jpg"
        points, samples = maps / f"{name}_fixPts.jpg", [person / f"{name}.mat" for person in people]
        if gaze == "samples":
            return Sample(name, lambda: image_shape(image), lambda: read_image(image),
                          lambda: by_observer([fixations_in(read_samples(path)) for path in samples]), SIGMA)
        return Sample(name, lambda: image_shape(image), lambda: read_image(image), lambda: read_points(points), SIGMA,
                      lambda: read_map(density))

    names = split_names(images, split)
    about = {"images": "Flickr and LabelMe", "capture": "Eyetracker",
             "observers": str(len(people)) if gaze == "samples" else "15",
             "edition": {"points": "published fixation maps", "samples": "fixations found in raw gaze"}[gaze]}
    looks = [maps / f"{name}_{kind}.jpg" for name in names for kind in ("fixPts", "fixMap")] if gaze == "points" else \
        [person / f"{name}.mat" for name in names for person in people]
    return Dataset("mit1003", split, SIGMA, names, open_sample, about, [*(images[name] for name in names), *looks])


def load_mit300(split, root):
    """Open MIT300: images to predict; only the benchmark's owners can score them.

    Parameters
    ----------
    split : "test" or "all"
    root : path
        The folder with BenchmarkIMAGES/, or the one above it.
    """
    if split not in ("test", "all"):
        raise UserError(f"MIT300 has no split {split!r}; choose one of: test, all")
    root = find_root(root, lambda folder: (folder / "BenchmarkIMAGES").is_dir(), "MIT300", REMEDY_300)
    # the archive has maps of the same names in a subfolder
    images = {path.stem: path for path in image_files(root / "BenchmarkIMAGES")}

    def open_sample(name):
        image = images[name]
        return Sample(name, lambda: image_shape(image), lambda: read_image(image), None, SIGMA)

    about = {"images": "Flickr and LabelMe", "edition": "images alone", "capture": "Eyetracker", "observers": "39"}
    return Dataset("mit300", split, SIGMA, list(images), open_sample, about, images.values())


def read_points(path):
    """float32 (N, 2), (x, y) from 0: the bright pixels of a fixation map that was stored as JPEG."""
    row, column = np.nonzero(read_map(path) > MID_RANGE)
    return np.column_stack([column, row]).astype(np.float32)


def read_samples(path):
    """float32 (N, 2), (x, y) from 0: one person's gaze on one image as recorded; off the image in blinks."""
    path = Path(path)
    record = read_mat(path, path.stem[:NAME_LENGTH])
    try:
        return to_zero_based(np.asarray(record.ravel()[0]["DATA"].ravel()[0]["eyeData"])[:, :2])
    except LAYOUT_ERRORS as error:
        refuse_layout(path, "struct with DATA(1).eyeData", error)


def fixations_in(samples):
    """Fixations in the samples of an eye tracker, by a threshold of velocity.

    Samples slower than 30 degrees a second belong together; what lasts at least 0.1 s is a fixation, at its
    median. The first one is left out, as by the authors: it is where the eye was before the image came.
    The authors' own program is for MATLAB and gives others; published points are `gaze="points"`.

    Parameters
    ----------
    samples : float (N, 2), (x, y)

    Returns
    -------
    float32 (M, 2)
    """
    speed = np.linalg.norm(np.diff(samples, axis=0), axis=1)
    still = np.concatenate([[False], speed < FIXATION_SPEED, [False]])
    edges = np.flatnonzero(still[1:] != still[:-1]).reshape(-1, 2)
    found = [np.median(samples[start:end + 1], axis=0) for start, end in edges if end + 1 - start >= FIXATION_SAMPLES]
    return np.array(found[1:], np.float32).reshape(-1, 2)
