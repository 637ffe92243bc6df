"""OSIE: 700 images with eye tracking of 15 people, and mouse tracking of many more.

Xu, Jiang, Wang, Kankanhalli, Zhao: Predicting human gaze beyond pixels (Journal of Vision, 2014);
mouse data: Jiang, Huang, Duan, Zhao: SALICON (CVPR 2015). MIT licence. Users get it with
`git clone` of NUS-VIP/predicting-human-gaze-beyond-pixels (its folder `data/`).

    stimuli/1001.jpg ...       800x600
    eye/fixations.mat          cell of struct{img, subjects}, subjects: struct{fix_x, fix_y, fix_duration}
    mouse_amt/1001.mat ...     struct{subj, coord [row, col], order}

The training split carries mouse data and the test split eye data, as the paper trains on
SALICON's mouse data and tests on eyes.
"""
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.images import read_image
from data.dataset import Dataset, Sample, split_names
from data.layouts import LAYOUT_ERRORS, by_observer, find_root, read_mat, refuse_layout, to_zero_based

SIGMA = 24  # pixels, one degree of visual angle in the authors' set-up
GAZES = ("eyes", "mouse")
SHAPE = (600, 800)
REMEDY = "give the folder that holds stimuli/, eye/ and mouse_amt/ as DATA_ROOT"


def load(split, root, gaze=None):
    """Open OSIE.

    Parameters
    ----------
    split : "train", "test" or "all"
        The authors give no split: see `data.dataset.split_names`.
    root : path
        The folder with stimuli/, eye/ and mouse_amt/, or the one above it.
    gaze : "mouse", "eyes" or None
        Whose fixations; None: mouse for training, eyes for the others.

    Raises
    ------
    UserError
        `root` is not OSIE, or a file in it is damaged.
    """
    root = find_root(root, _is_osie, "OSIE", REMEDY)
    gaze = gaze or ("mouse" if split == "train" else "eyes")
    if gaze not in GAZES:
        raise UserError(f"OSIE has no gaze {gaze!r}; choose one of: {', '.join(GAZES)}")
    images = {path.stem: path for path in (root / "stimuli").glob("*.jpg")}
    eyes = _read_eyes(root / "eye" / "fixations.mat")
    if not images or not any((root / "mouse_amt").glob("*.mat")):
        raise UserError(f"{root}: no image in stimuli/, or no mouse data in mouse_amt/; {REMEDY}")
    if without := sorted(set(images) - set(eyes)):
        raise UserError(f"{images[without[0]]}: no eye data of it in eye/fixations.mat, of {len(without)} images; "
                        "copy that file again, or take the images out of stimuli/")
    chosen = split_names(images, split)

    def open_sample(name):
        image, seen, mouse = images[name], eyes[name], root / "mouse_amt" / f"{name}.mat"
        read_fixations = (lambda: seen) if gaze == "eyes" else (lambda: _read_mouse(mouse))
        return Sample(name, SHAPE, lambda: read_image(image), read_fixations, SIGMA)

    about = {"images": "Photographs", "edition": f"{len(images)} images with eye and mouse data",
             "capture": "Eyetracker" if gaze == "eyes" else "Mouse", "observers": "15" if gaze == "eyes" else "Crowd"}
    files = [root / "eye" / "fixations.mat", *(images[name] for name in chosen),
             *(root / "mouse_amt" / f"{name}.mat" for name in chosen if gaze == "mouse")]
    return Dataset("osie", split, SIGMA, chosen, open_sample, about, files)


def _is_osie(folder):
    return (folder / "stimuli").is_dir() and (folder / "eye" / "fixations.mat").is_file()


def _read_eyes(path):
    """{name: (float (N, 2), int (N,))}: fixations of all observers, (x, y), 0-based, and whose they are."""
    cells = read_mat(path, "fixations")
    eyes = {}
    try:
        for cell in cells.ravel():
            entry = cell[0, 0]
            points = [to_zero_based(np.column_stack([observer[0, 0][axis].ravel() for axis in ("fix_x", "fix_y")]))
                      for observer in entry["subjects"].ravel()]
            eyes[Path(str(entry["img"][0])).stem] = by_observer(points)
    except LAYOUT_ERRORS as error:
        refuse_layout(path, "cell of struct with img and subjects", error)
    return eyes


def _read_mouse(path):
    """(float (N, 2), int (N,)): every mouse sample, (x, y), 0-based, and the number of its worker."""
    record = read_mat(path, "fixations")
    try:
        points = to_zero_based(record[0, 0]["coord"])[:, ::-1]  # [row, col]
        return points, record[0, 0]["subj"].astype(np.int32).ravel()
    except LAYOUT_ERRORS as error:
        refuse_layout(path, "struct with subj and coord", error)
