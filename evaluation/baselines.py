"""Baselines to score beside a model: chance, the centre prior, one human, and the classical models."""
from pathlib import Path

import numpy as np

from common.arrays import read_npz, write_npz
from common.errors import UserError
from common.parallel import in_parallel, working_on
from evaluation.saliency_models import bms, gbvs, itti

ONE_HUMAN = "one-human"
MODELS = {"itti": itti, "gbvs": gbvs, "bms": bms}  # the baselines of Tables 3 and 4
BASELINES = ("chance", "centre-prior", *MODELS, ONE_HUMAN)
LABELS = {"chance": "chance", "centre-prior": "centre prior", "itti": "Itti", "gbvs": "GBVS", "bms": "BMS",
          ONE_HUMAN: "one human"}
PRIOR_SHAPE = (480, 640)  # training density maps are averaged at this size; the mean is then resized to each image


def chance(shape, seed):
    """Return uniform noise, float32 of this shape in [0, 1); the same for the same seed (int or tuple of int)."""
    return np.random.default_rng(seed).random(shape, np.float32)


def centre_prior(training, jobs=1):
    """Compute the centre prior: the mean density map of the training images that have one.

    Parameters
    ----------
    training : data.dataset.Dataset
    jobs : int
        Number of processes; -1 for all cores.

    Returns
    -------
    float32 (480, 640) in [0, 1], or None if no image has fixations or a density map
    """
    total = np.zeros(PRIOR_SHAPE)
    items = ((training, name) for name in training.names)
    for density in in_parallel(_small_density, items, jobs, len(training), "centre prior"):
        total += density
    return (total / total.max()).astype(np.float32) if total.any() else None


def saved_centre_prior(training, path, jobs=1, scored=()):
    """Load the centre prior of training images from a file, or compute it and save it there.

    Parameters
    ----------
    training : data.dataset.Dataset
    path : path of an .npz, or None to save nothing
    jobs : as for `centre_prior`
    scored : list of str
        Names of the images to score.

    Returns
    -------
    float32 (480, 640) in [0, 1], or None if no image other than a single scored one has fixations or a density map

    Raises
    ------
    UserError
        The file at `path` is damaged or of other training images.
    """
    from common.files import atomic

    if not training.names or list(training.names) == list(scored) and len(scored) == 1:
        return None
    made_of = (f"{training.name}: {len(training)} images, {training.names[0]} to {training.names[-1]}, "
               f"{training.about['edition']}")
    if path and Path(path).exists():
        return _read_prior(path, made_of)
    prior = centre_prior(training, jobs)
    if path and prior is not None:
        with atomic(path) as scratch:
            write_npz(scratch, {"prior": prior, "made_of": np.array(made_of)})
    return prior


def _read_prior(path, made_of):
    """Read a saved centre prior; UserError if it is damaged, or of other images."""
    saved = read_npz(path, "delete it")
    prior, source = saved.get("prior"), str(saved.get("made_of"))
    if prior is None or prior.ndim != 2 or not prior.size or prior.dtype.kind != "f" or not np.isfinite(prior).all():
        raise UserError(f"{path}: not a saved centre prior; delete it")
    if source != made_of:
        raise UserError(f"{path}: is the centre prior of {source}, not of {made_of}; delete it")
    return prior


def one_human(sample):
    """Yield the density map of each observer and the fixations of all others: the benchmark's "one human".

    The map is blurred like any density map and scored as a prediction of the other observers' fixations.

    Parameters
    ----------
    sample : data.dataset.Sample

    Yields
    ------
    (float32 (H, W), float32 (N, 2))
        Density map of an observer, and fixations (x, y) of the others; observers without a fixation
        in the frame are left out.

    Raises
    ------
    UserError
        The data set does not record which observer made a fixation.
    """
    from data.density import density_map

    if sample.observers is None:
        raise UserError(f"{sample.name}: the data set does not record the observer of a fixation; "
                        "leave the baseline one-human out")
    for observer in np.unique(sample.observers):
        own = sample.observers == observer
        yield density_map(sample.fixations[own], sample.shape, sample.sigma), sample.fixations[~own]


def _small_density(dataset, name):
    import cv2

    working_on(name)
    sample = dataset.open(name)
    if not sample.has_density:
        return np.zeros(PRIOR_SHAPE, np.float32)
    return cv2.resize(sample.density, PRIOR_SHAPE[::-1], interpolation=cv2.INTER_AREA)
