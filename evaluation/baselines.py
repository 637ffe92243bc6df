"""Predictions that every model is measured against: chance, the centre, one person, and three models of old."""
import zipfile

import numpy as np

from common.errors import UserError
from evaluation.saliency_models import bms, gbvs, itti

MODELS = {"itti": itti, "gbvs": gbvs, "bms": bms}  # the baselines of Tables 3 and 4
BASELINES = ("chance", "centre-prior", *MODELS, "one-human")
LABELS = {"chance": "chance", "centre-prior": "centre prior", "itti": "Itti", "gbvs": "GBVS", "bms": "BMS",
          "one-human": "one human"}
PRIOR_SHAPE = (480, 640)  # what training densities are averaged at; then resized to each image


def chance(shape, seed):
    """Uniform noise, float32 of this shape in [0, 1); the same for the same seed (int or tuple of int)."""
    return np.random.default_rng(seed).random(shape, np.float32)


def centre_prior(training, jobs=1):
    """Where people look whatever the picture: the mean density of the training images.

    Parameters
    ----------
    training : data.dataset.Dataset
    jobs : int
        Processes; -1 for all cores.

    Returns
    -------
    float32 (480, 640) in [0, 1]
    """
    from common.parallel import in_parallel

    total = np.zeros(PRIOR_SHAPE)
    items = ((training, name) for name in training.names)
    for density in in_parallel(_small_density, items, jobs, len(training), "centre prior"):
        total += density
    return (total / total.max()).astype(np.float32)


def saved_centre_prior(dataset, root, path, jobs=1):
    """The centre prior of a data set's training split, from `path` if it was written there before.

    Parameters
    ----------
    dataset, root : see `data.dataset.load`
    path : path of an .npz, or None to keep nothing
    jobs : as for `centre_prior`

    Returns
    -------
    float32 (480, 640) in [0, 1]

    Raises
    ------
    UserError
        The file at `path` is of other training images, or damaged.
    """
    from common.files import atomic
    from data.dataset import load

    training = load(dataset, "train", root)
    made_of = (f"{dataset}: {len(training)} images, {training.names[0]} to {training.names[-1]}, "
               f"{training.about['edition']}")
    try:
        with np.load(path or "", allow_pickle=False) as saved:
            if str(saved["made_of"]) != made_of:
                raise UserError(f"{path}: is the centre prior of {saved['made_of']}, not of {made_of}; delete it")
            return saved["prior"]
    except FileNotFoundError:
        prior = centre_prior(training, jobs)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a saved centre prior ({error}); delete it") from error
    if path:
        with atomic(path) as scratch:
            np.savez(scratch, prior=prior, made_of=np.array(made_of))
    return prior


def one_human(sample):
    """Each observer's own density as a prediction of where the others look: the human ceiling.

    It is what the benchmark calls "one human": an observer's fixations, blurred like everyone's,
    predict the remaining ones'.

    Parameters
    ----------
    sample : data.dataset.Sample

    Yields
    ------
    (float32 (H, W), float32 (N, 2))
        One human's density and the fixations (x, y) of the others; observers without a fixation
        in the frame are left out.

    Raises
    ------
    UserError
        The data set does not tell the observers apart.
    """
    from data.density import density_map

    if sample.observers is None:
        raise UserError(f"{sample.name}: the data set does not say which fixation is whose; leave this baseline out")
    for observer in np.unique(sample.observers):
        own = sample.observers == observer
        yield density_map(sample.fixations[own], sample.shape, sample.sigma), sample.fixations[~own]


def _small_density(dataset, name):
    import cv2

    return cv2.resize(dataset.open(name).density, PRIOR_SHAPE[::-1], interpolation=cv2.INTER_AREA)
