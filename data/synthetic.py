"""The embedded data set: pictures made from a seed, and simulated people who look at them.

It exists so that everything runs on a machine that has nothing but this repository. A picture is a
dark, cluttered scene with one to three *things* that stand out by colour and contrast, placed
as photographers do, somewhat towards the centre. An observer starts near the centre, then mostly
looks at the things, at the stronger ones more often, and sometimes anywhere. So the centre prior
is a fair baseline here, as it is on real data, and a net that looks at the picture can beat it.

Nothing about people can be learned from it: scores on it show that the code works, no more.
"""
import numpy as np

from common.errors import UserError
from data.dataset import Dataset, Sample

SHAPE = (480, 640)  # rows, columns: the size of SALICON's images
SIGMA = 19  # pixels, SALICON's
COUNT = {"train": 1000, "test": 100}
SEED = 2016
STREAM = {"train": 0, "test": 1}  # each split draws from a random stream of its own

OBSERVERS = 20
FIXATIONS_EACH = (6, 11)  # from, up to but not including
LOOKS_AT_THINGS = 0.8  # share of fixations on things; the rest: half near the centre, half anywhere
CENTRE_SPREAD = 0.22  # standard deviation of things and of looks at the centre, share of width and height
TRACKER_NOISE = 10  # pixels, on top of wandering over the thing by half its radius


def load(split, root=None):
    """Open the synthetic data set; `root` is not used. Images are drawn when they are asked for."""
    if split not in COUNT:
        raise UserError(f"synthetic has no split {split!r}; choose one of: {', '.join(COUNT)}")
    prefix = f"synthetic_{split}_"
    names = [f"{prefix}{index:04d}" for index in range(COUNT[split])]

    def open_sample(name):
        key = (SEED, STREAM[split], int(name.removeprefix(prefix)))
        return Sample(name, SHAPE, lambda: render_image(key), lambda: simulate_fixations(key), SIGMA)

    about = {"images": "Drawn by data/synthetic.py", "edition": f"seed {SEED}", "capture": "Simulated",
             "observers": str(OBSERVERS)}
    return Dataset("synthetic", split, SIGMA, names, open_sample, about)


def objects(rng):
    """What stands out in one picture.

    Returns
    -------
    list of dict
        position (x, y) and radius in pixels, contrast in (0, 1], hue in [0, 180) and shape.
    """
    found = []
    for _ in range(rng.integers(1, 4)):
        radius = rng.uniform(28, 64)
        spread = rng.normal(0.5, CENTRE_SPREAD, 2).clip(0, 1)
        margin = radius + 4
        found.append({
            "position": margin + spread * (np.array([SHAPE[1], SHAPE[0]]) - 2 * margin),
            "radius": radius,
            "contrast": rng.uniform(0.45, 1.0),
            "hue": rng.uniform(0, 180),
            "shape": rng.choice(["disc", "ring", "box", "star"]),
        })
    return found


def render_image(key):
    """Paint one picture.

    Parameters
    ----------
    key : tuple of int
        Seed of the scene; the same key gives the same picture, and the people of `simulate_fixations` look at it.

    Returns
    -------
    uint8 (480, 640, 3), RGB
    """
    import cv2

    scene = objects(np.random.default_rng(key))
    rng = np.random.default_rng((*key, 1))
    canvas = _background(rng)
    for thing in scene:
        saturation, value = 60 + 140 * thing["contrast"], 150 + 105 * thing["contrast"]
        colour = cv2.cvtColor(np.uint8([[[thing["hue"], saturation, value]]]), cv2.COLOR_HSV2RGB)[0, 0]
        layer, mask = canvas.copy(), np.zeros(SHAPE, np.uint8)
        _paint(mask, thing, rng.uniform(0, np.pi))
        layer[mask > 0] = colour
        canvas = cv2.addWeighted(layer, thing["contrast"], canvas, 1 - thing["contrast"], 0)
    noisy = canvas + rng.normal(0, 4, (*SHAPE, 1)).astype(np.float32)
    return noisy.round().clip(0, 255).astype(np.uint8)


def simulate_fixations(key):
    """Let the observers look at one picture.

    Returns
    -------
    (float (N, 2), int (N,))
        (x, y) in pixels, 0-based, a few outside the frame as in real recordings; and each one's observer.
    """
    scene = objects(np.random.default_rng(key))
    rng = np.random.default_rng((*key, 2))
    weights = np.array([thing["contrast"] * np.sqrt(thing["radius"]) for thing in scene])
    size = np.array([SHAPE[1], SHAPE[0]])
    points, observers = [], []
    for observer in range(OBSERVERS):
        points.append(rng.normal(size / 2, 0.08 * size))
        for _ in range(rng.integers(*FIXATIONS_EACH) - 1):
            choice = rng.random()
            if choice < LOOKS_AT_THINGS:
                thing = scene[rng.choice(len(scene), p=weights / weights.sum())]
                points.append(rng.normal(thing["position"], 0.5 * thing["radius"] + TRACKER_NOISE))
            elif choice < (1 + LOOKS_AT_THINGS) / 2:
                points.append(rng.normal(size / 2, CENTRE_SPREAD * size))
            else:
                points.append(rng.uniform(0, size - 1))
        observers += [observer] * (len(points) - len(observers))
    return np.array(points), np.array(observers)


def _background(rng):
    """float32 (480, 640, 3): soft light, and dull clutter that nobody looks at."""
    import cv2

    base = rng.uniform(15, 40) + rng.uniform(-4, 4, 3)
    light = rng.normal(0, 6, (4, 5, 1)) + rng.normal(0, 2, (4, 5, 3))
    canvas = np.ascontiguousarray(base + cv2.resize(light, SHAPE[::-1], interpolation=cv2.INTER_CUBIC), np.float32)
    for _ in range(rng.integers(12, 25)):
        mask = np.zeros(SHAPE, np.uint8)
        clutter = {"position": rng.uniform((0, 0), SHAPE[::-1]), "radius": rng.uniform(8, 60),
                   "shape": rng.choice(["disc", "ring", "box", "star"])}
        _paint(mask, clutter, rng.uniform(0, np.pi))
        canvas[mask > 0] += rng.normal(0, 6) + rng.normal(0, 2, 3)
    return canvas.astype(np.float32)


def _paint(mask, thing, angle):
    """Set the pixels of `mask` that a disc, ring, box or star covers."""
    import cv2

    centre, radius = thing["position"], thing["radius"]
    middle = tuple(int(round(value)) for value in centre)
    if thing["shape"] == "disc":
        cv2.circle(mask, middle, int(radius), 1, -1)
    elif thing["shape"] == "ring":
        cv2.circle(mask, middle, int(0.8 * radius), 1, max(2, int(0.4 * radius)))
    else:
        corners, inner = (4, 1.0) if thing["shape"] == "box" else (10, 0.45)
        turns = angle + np.arange(corners) * 2 * np.pi / corners
        reach = radius * np.where(np.arange(corners) % 2, inner, 1.0)
        outline = centre + reach[:, None] * np.column_stack([np.cos(turns), np.sin(turns)])
        cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1)
