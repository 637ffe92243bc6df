"""iSUN: scenes of the SUN database, with webcam eye tracking of crowd workers, recorded in a game.

Xu, Ehinger, Zhang, Finkelstein, Kulkarni, Xiao: TurkerGaze: Crowdsourcing Saliency with Webcam based Eye Tracking
(arXiv:1504.06755, 2015), in the distribution of LSUN 2015: see data/lsun.py.
"""
from common.errors import UserError
from data.layouts import find_root
from data.lsun import SPLIT_FILES, open_lsun

# pixels, for images without a published density map in saliency/; the authors give no value, this is SALICON's
SIGMA = 19
REMEDY = "give the folder that holds training.mat, validation.mat, testing.mat and images/"


def load(split, root):
    """Open iSUN.

    Parameters
    ----------
    split : "train", "val" or "test"
        The test images have no fixations.
    root : path
        The folder with the .mat files and images/, or its parent.

    Raises
    ------
    UserError
        `root` is not iSUN, or a file in it is damaged.
    """
    if split not in SPLIT_FILES:
        raise UserError(f"iSUN has no split {split!r}; choose one of: {', '.join(SPLIT_FILES)}")
    root = find_root(root, _is_isun, "iSUN", REMEDY)
    about = {"images": "SUN", "edition": "LSUN 2015", "capture": "Eyetracker", "observers": "Crowd"}
    return open_lsun("isun", split, root, SIGMA, about)


def _is_isun(folder):
    return any((folder / file).is_file() for file in SPLIT_FILES.values())
