"""The embedded data set: generated scenes with simulated fixations.

With this data set, everything runs on a machine that has only this repository. An image is a scene in daylight
(`data.scenes`). The simulated observers look at what has a meaning for people: they prefer faces and writing to
things of equal or higher contrast, such as balls, striped crates, posters without writing and windows. People do:
faces and text attract fixations whatever the task (Cerf, Frady and Koch, "Faces and text attract gaze independent of
the task", Journal of Vision 9(12):10, 2009), and models of saliency gain from detectors of faces and people (Judd,
Ehinger, Durand and Torralba, "Learning to predict where humans look", ICCV 2009) and of objects and their meaning (Xu,
Jiang, Wang, Kankanhalli and Zhao, "Predicting human gaze beyond pixels", Journal of Vision 14(1):28, 2014: OSIE).
Contrast does not show this, but a net can learn it from the training images, which is the point of the paper.

It is a simulation. Scores on this data set show that the code works and that nets learn from data; they give no
information about human gaze. The numbers below are plausible, not fitted to any recording.

The first edition of the data set, bright shapes on a dark ground, is `load("synthetic", split, edition=1)`, or
`synthetic+edition=1` on the command line; it repeats numbers that were recorded with it.
"""
import numpy as np

from common.errors import UserError
from data import synthetic_first
from data.dataset import Dataset, Sample
from data.scenes import SHAPE, render_scene, sample_scene

SIGMA = 19  # pixels, as in SALICON
COUNTS = {"train": 1000, "test": 100}
SEED = 2016
SEEDS = 2 ** 32  # seeds are smaller than this
STREAMS = {"train": 0, "test": 1}  # each split has its own random stream
EDITION = 2

OBSERVERS = 20
FIXATIONS_PER_OBSERVER = (8, 13)  # minimum; maximum, exclusive
CENTRE_SPREAD = 0.2  # standard deviation of fixations that the centre attracts, as a fraction of width and height
# relative attraction of a region with a radius of REFERENCE_RADIUS; it grows with the square root of the radius
ATTRACTION = {"person": 1.0, "sign": 0.7}
OTHER_ATTRACTION = 0.03  # of all other objects
REFERENCE_RADIUS = 24  # pixels
INDIVIDUAL = 0.3  # standard deviation of the logarithm of an observer's attractions
CENTRE_ATTRACTION, ANYWHERE_ATTRACTION = 0.1, 0.04
RETURN_FRACTION = 0.5  # inhibition of return: attraction of the object that was fixated last, as a fraction
SPREAD_IN_REGION = 0.35  # standard deviation of fixations in a region, as a fraction of its radius
TRACKER_NOISE = 8  # pixels, standard deviation


def load(split, root=None, edition=EDITION, seed=SEED):
    """Open the synthetic data set.

    Parameters
    ----------
    split : "train" or "test"
    root : not used
    edition : 1 or 2
    seed : int
        Another seed gives other images and fixations of the same kind.

    Raises
    ------
    UserError
        The split, edition or seed does not exist.
    """
    if split not in COUNTS:
        raise UserError(f"synthetic has no split {split!r}; choose one of: {', '.join(COUNTS)}")
    if edition not in (1, EDITION):
        raise UserError(f"synthetic has no edition {edition}; give edition=1 or edition={EDITION}, or leave it out")
    if isinstance(seed, str) or not 0 <= seed < SEEDS or seed != int(seed):
        raise UserError(f"synthetic: seed={seed} is no integer from 0 to {SEEDS - 1}; give one, or leave it out")
    draw, simulate = ((synthetic_first.render_image, synthetic_first.simulate_fixations) if edition == 1
                      else (render_image, simulate_fixations))
    prefix = f"synthetic_{split}_"
    names = [f"{prefix}{index:04d}" for index in range(COUNTS[split])]

    def open_sample(name):
        key = (int(seed), STREAMS[split], int(name.removeprefix(prefix)))
        return Sample(name, SHAPE, lambda: draw(key), lambda: simulate(key), SIGMA)

    about = {"images": "Drawn by data/synthetic.py", "edition": f"edition {edition:g}, seed {seed:g}",
             "capture": "Simulated", "observers": str(OBSERVERS)}
    return Dataset("synthetic", split, SIGMA, names, open_sample, about)


def render_image(key):
    """Render one image.

    Parameters
    ----------
    key : tuple of int
        Seed of the scene; the same key gives the same image, and `simulate_fixations` gives its fixations.

    Returns
    -------
    uint8 (480, 640, 3), RGB
    """
    return render_scene(sample_scene(np.random.default_rng(key)), np.random.default_rng((*key, 1)))


def simulate_fixations(key):
    """Simulate the fixations of all observers on one image.

    Parameters
    ----------
    key : tuple of int, as for `render_image`

    Returns
    -------
    (float (N, 2), int (N,))
        (x, y) in pixels, 0-based, a few outside the frame as in real recordings; and the observer of each fixation.
    """
    return observe(sample_scene(np.random.default_rng(key)), np.random.default_rng((*key, 2)))


def observe(scene, rng):
    """Simulate the fixations of all observers on a scene.

    Each fixation is on an object, near the centre or anywhere, with probabilities that differ between observers; the
    object that was fixated last is less likely to be fixated next. The first fixation of a recording, on the mark at
    the centre of the screen, is left out, as in most data sets.

    Parameters
    ----------
    scene : data.scenes.Scene; it may have no objects
    rng : numpy.random.Generator

    Returns
    -------
    (float (N, 2), int (N,)), as of `simulate_fixations`
    """
    size = np.array([SHAPE[1], SHAPE[0]])
    regions = [item.region for item in scene.objects]
    attraction = np.array([ATTRACTION.get(item.kind, OTHER_ATTRACTION) * np.sqrt(item.region[2] / REFERENCE_RADIUS)
                           for item in scene.objects] + [CENTRE_ATTRACTION, ANYWHERE_ATTRACTION])
    points, observers = [], []
    for observer in range(OBSERVERS):
        weights = attraction * np.exp(INDIVIDUAL * rng.normal(size=len(attraction)))
        inhibited = np.ones(len(weights))
        for _ in range(rng.integers(*FIXATIONS_PER_OBSERVER)):
            chances = weights * inhibited
            choice = rng.choice(len(weights), p=chances / chances.sum())
            inhibited[:] = 1
            if choice < len(regions):
                x, y, radius = regions[choice]
                points.append(rng.normal((x, y), SPREAD_IN_REGION * radius + TRACKER_NOISE))
                inhibited[choice] = RETURN_FRACTION
            elif choice == len(regions):
                points.append(rng.normal(size / 2, CENTRE_SPREAD * size))
            else:
                points.append(rng.uniform(0, size - 1))
        observers += [observer] * (len(points) - len(observers))
    return np.array(points), np.array(observers)
