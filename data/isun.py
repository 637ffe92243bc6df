"""iSUN: scenes of the SUN database, and the gaze of a crowd that played a game before its webcams.

Xu, Ehinger, Zhang, Finkelstein, Kulkarni, Xiao: TurkerGaze: Crowdsourcing Saliency with Webcam based Eye Tracking
(arXiv:1504.06755, 2015), as distributed for LSUN 2015: see data/lsun.py.
"""
from common.errors import UserError
from data.layouts import find_root
from data.lsun import SPLIT_FILES, open_lsun

SIGMA = 19  # pixels; the authors give none: LSUN's other set has it. Used where saliency/ lacks an image's own density
REMEDY = "give the folder that holds training.mat, validation.mat, testing.mat and images/ as DATA_ROOT"


def load(split, root):
    """Open iSUN.

    Parameters
    ----------
    split : "train", "val" or "test"
        The test images have no fixations.
    root : path
        The folder with the .mat files and images/, or the one above it.

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
