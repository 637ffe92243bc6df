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

from data.dataset import Dataset, Sample, shuffled
from data.errors import UserError
from data.files import read_image

SIGMA = 24  # pixels, one degree of visual angle in the authors' set-up
TEST_SHARE = 0.2  # the authors give no split: a fifth of the images, drawn by name, is held out
SPLIT_SEED = 2016
SHAPE = (600, 800)
REMEDY = "give the folder that holds stimuli/, eye/ and mouse_amt/ as DATA_ROOT"


def load(split, root, gaze=None):
    """Open OSIE.

    Parameters
    ----------
    split : "train" or "test"
    root : path
        The folder with stimuli/, eye/ and mouse_amt/, or the one above it.
    gaze : "mouse", "eyes" or None
        Whose fixations; None: mouse for training, eyes for testing.

    Raises
    ------
    UserError
        `root` is not OSIE, or a file in it is damaged.
    """
    root = find_root(root)
    gaze = gaze or {"train": "mouse", "test": "eyes"}[split]
    images = {path.stem: path for path in (root / "stimuli").glob("*.jpg")}
    eyes = _read_eyes(root / "eye" / "fixations.mat")
    names = [name for name in images if name in eyes and (root / "mouse_amt" / f"{name}.mat").is_file()]
    if not names:
        raise UserError(f"{root}: no image in stimuli/ has both eye and mouse data; {REMEDY}")
    ordered = shuffled(names, SPLIT_SEED)
    held_out = round(TEST_SHARE * len(ordered))
    chosen = ordered[:held_out] if split == "test" else ordered[held_out:]

    def open_sample(name):
        image, seen, mouse = images[name], eyes[name], root / "mouse_amt" / f"{name}.mat"
        read_fixations = (lambda: seen) if gaze == "eyes" else (lambda: _read_mouse(mouse))
        return Sample(name, SHAPE, lambda: read_image(image), read_fixations, SIGMA)

    about = {"images": "Photographs", "edition": f"{len(names)} images with eye and mouse data",
             "capture": "Eyetracker" if gaze == "eyes" else "Mouse", "observers": "15" if gaze == "eyes" else "Crowd"}
    return Dataset("osie", split, SIGMA, sorted(chosen), open_sample, about)


def find_root(root):
    """The folder that holds the three parts: `root`, `root`/data or one level deeper."""
    if not root:
        raise UserError(f"OSIE has to be on this machine already: {REMEDY} (see data/README.md for where to get it)")
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {REMEDY}")
    for folder in [root, *sorted(path for path in root.iterdir() if path.is_dir())]:
        if (folder / "stimuli").is_dir() and (folder / "eye" / "fixations.mat").is_file():
            return folder
    raise UserError(f"{root}: not OSIE, there is no stimuli/ beside an eye/fixations.mat in it; {REMEDY}")


def _read_eyes(path):
    """{name: (float (N, 2), int (N,))}: fixations of all observers, (x, y), 0-based, and whose they are."""
    cells = _read_mat(path, "fixations")
    eyes = {}
    try:
        for cell in cells.ravel():
            entry = cell[0, 0]
            points = [np.column_stack([observer[0, 0][axis].ravel().astype(np.float64) for axis in ("fix_x", "fix_y")])
                      for observer in entry["subjects"].ravel()]
            whose = np.repeat(np.arange(len(points)), [len(one) for one in points])
            eyes[Path(str(entry["img"][0])).stem] = np.concatenate(points) - 1, whose  # MATLAB counts from 1
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: its variable 'fixations' is not laid out as OSIE's "
                        f"(cell of struct with img and subjects); copy the file again") from error
    return eyes


def _read_mouse(path):
    """(float (N, 2), int (N,)): every mouse sample, (x, y), 0-based, and the number of its worker."""
    record = _read_mat(path, "fixations")
    try:
        coordinates = record[0, 0]["coord"].astype(np.float64)  # [row, col], from 1
        return coordinates[:, ::-1] - 1, record[0, 0]["subj"].astype(np.int32).ravel()
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not laid out as OSIE's mouse data (struct with coord); "
                        "copy the file again") from error


def _read_mat(path, variable):
    import scipy.io

    try:
        return scipy.io.loadmat(path)[variable]
    except KeyError as error:
        raise UserError(f"{path}: no variable {variable!r} in it; copy the file again") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; {REMEDY}") from error
    except Exception as error:  # scipy raises a different class for every kind of damage
        raise UserError(f"{path}: cannot be read as a .mat file ({error}); copy the file again") from error
