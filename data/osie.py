"""OSIE: 700 images with eye tracking of 15 observers, and mouse tracking of many crowd workers.

Xu, Jiang, Wang, Kankanhalli, Zhao: Predicting human gaze beyond pixels (Journal of Vision, 2014);
mouse data: Jiang, Huang, Duan, Zhao: SALICON (CVPR 2015). MIT licence. Get it with
`git clone` of NUS-VIP/predicting-human-gaze-beyond-pixels (its folder `data/`).

    stimuli/1001.jpg ...       800x600
    eye/fixations.mat          cell of struct{img, subjects}, subjects: struct{fix_x, fix_y, fix_duration}
    mouse_amt/1001.mat ...     struct{subj, coord [row, col], order}

The training split has mouse data and the test split has eye data, because the paper trains on
SALICON's mouse data and tests on eye tracking.
"""
from pathlib import Path

import numpy as np

from common.errors import UserError, show_names
from common.images import read_image
from data.dataset import Dataset, Sample, WrongRoot, split_names
from data.layouts import LAYOUT_ERRORS, find_root, layout_error, read_mat, stack_observers, to_zero_based

SIGMA = 24  # pixels, one degree of visual angle in the authors' set-up
GAZES = ("eyes", "mouse")
SHAPE = (600, 800)
REMEDY = "give the folder that holds stimuli/, eye/ and mouse_amt/"


def load(split, root, gaze=None):
    """Open OSIE.

    Parameters
    ----------
    split : "train", "test" or "all"
        The authors publish no split: see `data.dataset.split_names`.
    root : path
        The folder with stimuli/, eye/ and mouse_amt/, or its parent.
    gaze : "mouse", "eyes" or None
        Source of the fixations; None: mouse for training, eyes for the other splits.

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
        raise WrongRoot(f"{root}: no image in stimuli/, or no mouse data in mouse_amt/; {REMEDY}")
    if missing := sorted(set(images) - set(eyes)):
        raise UserError(f"{root / 'eye' / 'fixations.mat'}: has no data for {len(missing)} images of stimuli/, the "
                        f"first is {show_names(missing[0])}; copy the file again, or remove these images from stimuli/")
    names = split_names(images, split)

    def open_sample(name):
        image, fixations, mouse = images[name], eyes[name], root / "mouse_amt" / f"{name}.mat"
        read_fixations = (lambda: fixations) if gaze == "eyes" else (lambda: _read_mouse(mouse))
        return Sample(name, SHAPE, lambda: read_image(image), read_fixations, SIGMA)

    about = {"images": "Photographs", "edition": f"{len(images)} images with eye and mouse data",
             "capture": "Eyetracker" if gaze == "eyes" else "Mouse", "observers": "15" if gaze == "eyes" else "Crowd"}
    files = [root / "eye" / "fixations.mat", *(images[name] for name in names),
             *(root / "mouse_amt" / f"{name}.mat" for name in names if gaze == "mouse")]
    return Dataset("osie", split, SIGMA, names, open_sample, about, files)


def _is_osie(folder):
    return (folder / "stimuli").is_dir() and (folder / "eye" / "fixations.mat").is_file()


def _read_eyes(path):
    """Read the eye tracking of all images.

    Returns
    -------
    dict of str: (float32 (N, 2), int32 (N,))
        By image name: fixations (x, y) of all observers, 0-based, and the index of the observer of each.
    """
    cells = read_mat(path, "fixations")
    eyes = {}
    try:
        for cell in cells.ravel():
            entry = cell[0, 0]
            points = [to_zero_based(np.column_stack([observer[0, 0][axis].ravel() for axis in ("fix_x", "fix_y")]))
                      for observer in entry["subjects"].ravel()]
            eyes[Path(str(entry["img"][0])).stem] = stack_observers(points)
    except LAYOUT_ERRORS as error:
        raise layout_error(path, "cell of struct with img and subjects") from error
    return eyes


def _read_mouse(path):
    """Read the mouse samples of one image.

    Returns
    -------
    (float32 (N, 2), int32 (N,))
        (x, y), 0-based; and the number of the worker of each sample.
    """
    record = read_mat(path, "fixations")
    try:
        points = to_zero_based(record[0, 0]["coord"])[:, ::-1]  # the file has [row, col]
        return points, record[0, 0]["subj"].astype(np.int32).ravel()
    except LAYOUT_ERRORS as error:
        raise layout_error(path, "struct with subj and coord") from error
