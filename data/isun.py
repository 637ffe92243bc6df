"""iSUN: scenes of the SUN database, with webcam eye tracking of crowd workers, recorded in a game.

Xu, Ehinger, Zhang, Finkelstein, Kulkarni, Xiao: TurkerGaze: Crowdsourcing Saliency with Webcam based Eye Tracking
(arXiv:1504.06755, 2015), in the distribution of LSUN 2015: see data/lsun.py.
"""
from common.errors import UserError
from data.layouts import find_root
from data.lsun import SPLIT_FILES, open_lsun

# pixels, for images without a published density map in saliency/; the authors give no value, this is SALICON's
SIGMA = 19
PROTOCOLS = ("paper", "lsun")
REMEDY = "give the folder that holds training.mat, validation.mat, testing.mat and images/"


def load(split, root, protocol="paper"):
    """Open iSUN.

    Parameters
    ----------
    split : "train", "val" or "test"
        The test images have no fixations.
    root : path
        The folder with the .mat files and images/, or its parent.
    protocol : "paper" or "lsun"
        "paper": 6,000 training images (section 3.2). "lsun": training and validation images together, 6,926, as for the
        net that won the challenge (section 5.3); there is no "val" then.

    Raises
    ------
    UserError
        `root` is not iSUN, or a file in it is damaged.
    """
    if split not in SPLIT_FILES:
        raise UserError(f"iSUN has no split {split!r}; choose one of: {', '.join(SPLIT_FILES)}")
    if protocol not in PROTOCOLS:
        raise UserError(f"iSUN has no protocol {protocol!r}; choose one of: {', '.join(PROTOCOLS)}")
    if protocol == "lsun" and split == "val":
        raise UserError("isun+protocol=lsun trains on the validation images, too; score with isun, or export the test "
                        "images' maps for the challenge: python -m models.predict --formats lsun")
    root = find_root(root, _is_isun, "iSUN", REMEDY)
    about = {"images": "SUN", "edition": "LSUN 2015", "capture": "Webcam eyetracker", "observers": "Crowd"}
    if protocol == "lsun" and split == "train":
        about["edition"] += ", training and validation images"
        return open_lsun("isun", split, root, SIGMA, about, parts=("train", "val"))
    return open_lsun("isun", split, root, SIGMA, about)


def _is_isun(folder):
    return any((folder / file).is_file() for file in SPLIT_FILES.values())
