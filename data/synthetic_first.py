"""The first edition of the embedded data set: bright shapes on a dark ground; `data.synthetic` opens it.

An image is a dark, cluttered scene with one to three salient objects that differ in colour and contrast from the
background. Their positions are biased towards the centre, as in photographs. A simulated observer first fixates near
the centre, then mostly the objects, those of high contrast more often, and sometimes random positions.

Models of contrast are at their best here. The second edition, the default since November 2026, has what they lack; this
one repeats numbers that were recorded with it.
"""
import numpy as np

from data.scenes import SHAPE

OBSERVERS = 20
FIXATIONS_PER_OBSERVER = (6, 11)  # minimum; maximum, exclusive
OBJECT_FRACTION = 0.8  # fraction of fixations on objects; of the rest, half near the centre, half anywhere
CENTRE_SPREAD = 0.22  # standard deviation of objects and central fixations, as a fraction of width and height
TRACKER_NOISE = 10  # pixels, added to a standard deviation of half the object's radius


def sample_objects(rng):
    """Sample the salient objects of one image.

    Parameters
    ----------
    rng : numpy.random.Generator

    Returns
    -------
    list of dict
        position (x, y) and radius in pixels, contrast in (0, 1], hue in [0, 180) and shape.
    """
    objects = []
    for _ in range(rng.integers(1, 4)):
        radius = rng.uniform(28, 64)
        spread = rng.normal(0.5, CENTRE_SPREAD, 2).clip(0, 1)
        margin = radius + 4
        objects.append({
            "position": margin + spread * (np.array([SHAPE[1], SHAPE[0]]) - 2 * margin),
            "radius": radius,
            "contrast": rng.uniform(0.45, 1.0),
            "hue": rng.uniform(0, 180),
            "shape": rng.choice(["disc", "ring", "box", "star"]),
        })
    return objects


def render_image(key):
    """Render one image of the first edition; arguments and result as of `data.synthetic.render_image`."""
    import cv2

    scene = sample_objects(np.random.default_rng(key))
    rng = np.random.default_rng((*key, 1))
    canvas = _render_background(rng)
    for target in scene:
        saturation, value = 60 + 140 * target["contrast"], 150 + 105 * target["contrast"]
        colour = cv2.cvtColor(np.uint8([[[target["hue"], saturation, value]]]), cv2.COLOR_HSV2RGB)[0, 0]
        layer, mask = canvas.copy(), np.zeros(SHAPE, np.uint8)
        _fill_shape(mask, target, rng.uniform(0, np.pi))
        layer[mask > 0] = colour
        canvas = cv2.addWeighted(layer, target["contrast"], canvas, 1 - target["contrast"], 0)
    noisy = canvas + rng.normal(0, 4, (*SHAPE, 1)).astype(np.float32)
    return noisy.round().clip(0, 255).astype(np.uint8)


def simulate_fixations(key):
    """Simulate fixations of the first edition; arguments and result as of `data.synthetic.simulate_fixations`."""
    scene = sample_objects(np.random.default_rng(key))
    rng = np.random.default_rng((*key, 2))
    weights = np.array([target["contrast"] * np.sqrt(target["radius"]) for target in scene])
    size = np.array([SHAPE[1], SHAPE[0]])
    points, observers = [], []
    for observer in range(OBSERVERS):
        points.append(rng.normal(size / 2, 0.08 * size))
        for _ in range(rng.integers(*FIXATIONS_PER_OBSERVER) - 1):
            choice = rng.random()
            if choice < OBJECT_FRACTION:
                target = scene[rng.choice(len(scene), p=weights / weights.sum())]
                points.append(rng.normal(target["position"], 0.5 * target["radius"] + TRACKER_NOISE))
            elif choice < (1 + OBJECT_FRACTION) / 2:
                points.append(rng.normal(size / 2, CENTRE_SPREAD * size))
            else:
                points.append(rng.uniform(0, size - 1))
        observers += [observer] * (len(points) - len(observers))
    return np.array(points), np.array(observers)


def _render_background(rng):
    """Render smooth light and low-contrast clutter without fixations, float32 (480, 640, 3)."""
    import cv2

    base = rng.uniform(15, 40) + rng.uniform(-4, 4, 3)
    light = rng.normal(0, 6, (4, 5, 1)) + rng.normal(0, 2, (4, 5, 3))
    canvas = np.ascontiguousarray(base + cv2.resize(light, SHAPE[::-1], interpolation=cv2.INTER_CUBIC), np.float32)
    for _ in range(rng.integers(12, 25)):
        mask = np.zeros(SHAPE, np.uint8)
        clutter = {"position": rng.uniform((0, 0), SHAPE[::-1]), "radius": rng.uniform(8, 60),
                   "shape": rng.choice(["disc", "ring", "box", "star"])}
        _fill_shape(mask, clutter, rng.uniform(0, np.pi))
        canvas[mask > 0] += rng.normal(0, 6) + rng.normal(0, 2, 3)
    return canvas.astype(np.float32)


def _fill_shape(mask, item, angle):
    """Set the pixels of `mask` that a disc, ring, box or star covers to 1.

    Parameters
    ----------
    mask : uint8 (H, W)
    item : dict with position, radius and shape, as from `sample_objects`
    angle : float, radians
    """
    import cv2

    centre, radius = item["position"], item["radius"]
    middle = tuple(int(round(value)) for value in centre)
    if item["shape"] == "disc":
        cv2.circle(mask, middle, int(radius), 1, -1)
    elif item["shape"] == "ring":
        cv2.circle(mask, middle, int(0.8 * radius), 1, max(2, int(0.4 * radius)))
    else:
        corners, inner = (4, 1.0) if item["shape"] == "box" else (10, 0.45)
        angles = angle + np.arange(corners) * 2 * np.pi / corners
        distances = radius * np.where(np.arange(corners) % 2, inner, 1.0)
        outline = centre + distances[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
        cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1)
