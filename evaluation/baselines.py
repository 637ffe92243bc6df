"""Predictions that every model is measured against: the centre prior and chance."""
import numpy as np

BASELINES = ("centre-prior", "chance")
PRIOR_SHAPE = (480, 640)  # what training densities are averaged at; then resized to each image
SEED = 2016


def centre_prior(training):
    """Where people look whatever the picture: the mean density of the training images.

    Parameters
    ----------
    training : data.dataset.Dataset

    Returns
    -------
    float32 (480, 640) in [0, 1]
    """
    import cv2

    from data.progress import progress

    total = np.zeros(PRIOR_SHAPE)
    for sample in progress(training, description="centre prior"):
        total += cv2.resize(sample.density, PRIOR_SHAPE[::-1], interpolation=cv2.INTER_AREA)
    return (total / total.max()).astype(np.float32)


def chance(shape, index):
    """Uniform noise, float32 of this shape in [0, 1); the same for the same image of a set."""
    return np.random.default_rng((SEED, index)).random(shape, np.float32)
