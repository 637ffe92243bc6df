"""Scenes of the embedded data set: daylight, people and signs, and objects that attract by contrast alone.

A scene is flat ground under a sky. Each object stands on the ground at some distance, so perspective decides its size,
its place in the image and which objects hide others.

An image depends only on its seed, not on the machine or the number of threads (tested on x86-64). OpenCV only draws
and enlarges uint8 arrays, for which it computes with integers; NumPy computes floats element by element. Outlines are
rounded to 1/16 pixel, so the last bits of sines and cosines do not matter.
"""
import colorsys
from dataclasses import dataclass

import numpy as np

SHAPE = (480, 640)  # rows, columns: the size of SALICON's images
SUBPIXEL_BITS = 4  # of coordinates
# Octaves of texture, with about equal variance: the power falls with the square of the frequency, as in photographs.
OCTAVES = 8
TEXTURE_STD = 156  # standard deviation of the sum of the octaves, grey levels

# kind of object: minimum and maximum number per scene; width and height in metres; scale in pixels per metre, which
# is large for near objects. People have large heads, as children do.
KINDS = {
    "building": ((0, 3), (3.0, 8.0), (3.0, 7.0), (20, 44)),
    "tree": ((0, 2), (1.8, 3.2), (2.6, 4.2), (50, 100)),
    "plant": ((0, 2), (0.6, 1.2), (0.5, 0.9), (110, 220)),
    "crate": ((0, 3), (0.5, 0.9), (0.5, 0.9), (110, 220)),
    "ball": ((1, 4), (0.35, 0.7), None, (110, 220)),
    "poster": ((1, 2), (0.6, 1.0), (1.3, 1.8), (110, 220)),
    "sign": ((0, 1), (0.6, 1.0), (1.3, 1.8), (110, 220)),
    "person": ((0, 2), (0.55, 0.7), (1.4, 1.8), (120, 330)),
}
BOARD_ASPECT = 0.62  # height / width of the board of a poster or sign
HEAD_RADIUS = 0.11  # of a person, as a fraction of the height
CENTRE_SPREAD = 0.2  # standard deviation of people and signs around the centre, as a fraction of the width
ATTENDED_RANGE, OTHER_RANGE = (0.08, 0.92), (0.02, 0.98)  # of x, as fractions of the width: people and signs; others
EDGE = 20  # pixels: smallest distance of the fixated part of an object from the lower edge
TRIES = 8  # to place an object so that it hides no face and no writing

SKIES = [((86, 140, 212), (196, 220, 238)), ((150, 165, 180), (205, 210, 212)), ((104, 128, 186), (236, 214, 190))]
GROUNDS = [(96, 126, 62), (138, 136, 130), (186, 168, 132), (98, 98, 104), (118, 132, 84)]  # RGB
CLOUD = np.float32(238)  # grey level
SUNLIGHT = (1.05, 1.0, 0.92)
SHADOW = 0.55  # light in a shadow, as a fraction


@dataclass
class Object:
    """One object of a scene.

    Attributes
    ----------
    kind : str, a key of KINDS
    x, y : float
        The middle of its foot, pixels.
    width, height : float, pixels
    seed : int
        Seed of its colours and details.
    """

    kind: str
    x: float
    y: float
    width: float
    height: float
    seed: int

    @property
    def region(self):
        """Return the part that observers fixate, as (x, y, radius) in pixels: a face, a board, or the middle."""
        if self.kind == "person":
            return self.x, self.y - self.height * (1 - 1.25 * HEAD_RADIUS), self.height * HEAD_RADIUS
        if self.kind in ("sign", "poster"):
            board = BOARD_ASPECT * self.width
            return self.x, self.y - self.height + board / 2, (self.width + board) / 4  # the mean of half its sides
        return self.x, self.y - self.height / 2, (self.width + self.height) / 4


@dataclass
class Scene:
    """A scene: its objects from far to near, and its light.

    Attributes
    ----------
    horizon : float
        Row of the horizon, pixels.
    side : int
        Side of the sun: 1 is right, -1 is left.
    objects : list of Object
    """

    horizon: float
    side: int
    objects: list


def sample_scene(rng):
    """Sample a scene with people or signs; there is one at least, except where none of TRIES places is free.

    Parameters
    ----------
    rng : numpy.random.Generator

    Returns
    -------
    Scene
    """
    horizon, camera = rng.uniform(170, 300), rng.uniform(1.3, 1.7)  # pixels; metres above the ground
    counts = {kind: int(rng.integers(low, high + 1)) for kind, ((low, high), *_) in KINDS.items()}
    if not counts["person"] + counts["sign"]:
        counts[("person", "sign")[rng.integers(2)]] = 1
    objects = []
    for kind in reversed(KINDS):  # people and signs find their places first
        for _ in range(counts[kind]):
            for _ in range(TRIES):
                candidate = _sample_object(kind, horizon, camera, rng)
                if candidate.region[1] < SHAPE[0] - EDGE and not any(
                        _hides(candidate, item) or _hides(item, candidate) for item in objects):
                    objects.append(candidate)
                    break
    return Scene(horizon, int(rng.choice([-1, 1])), sorted(objects, key=lambda item: item.y))


def _sample_object(kind, horizon, camera, rng):
    """Sample one object of a kind."""
    _, widths, heights, scales = KINDS[kind]
    scale = rng.uniform(*scales)
    width = rng.uniform(*widths)
    height = rng.uniform(*heights) if heights else width
    if kind in ("person", "sign"):
        x = 0.0
        while not ATTENDED_RANGE[0] < x < ATTENDED_RANGE[1]:
            x = rng.normal(0.5, CENTRE_SPREAD)
    else:
        x = rng.uniform(*OTHER_RANGE)
    return Object(kind, x * SHAPE[1], float(horizon + camera * scale), width * scale, height * scale,
                  int(rng.integers(2 ** 31)))


def _hides(near, far):
    """Return True if the box of one object touches the face or the board of another one behind it."""
    if near.y < far.y or far.kind not in ("person", "sign", "poster"):
        return False
    x, y, radius = far.region
    half = radius if far.kind == "person" else far.width / 2
    return abs(x - near.x) < near.width / 2 + half and near.y - near.height - radius < y < near.y + radius


def render_scene(scene, rng):
    """Draw a scene.

    Parameters
    ----------
    scene : Scene
    rng : numpy.random.Generator

    Returns
    -------
    uint8 (480, 640, 3), RGB
    """
    texture = _render_texture(rng)
    canvas = _render_place(scene, texture, rng)
    canvas *= _render_shadows(scene)[:, :, None]
    for item in scene.objects:
        DRAWERS[item.kind](Painter(canvas, texture, scene.side), item, np.random.default_rng(item.seed))
    light = rng.uniform(0.8, 1.1) * np.linspace(1, rng.uniform(0.8, 1), SHAPE[1])[::-scene.side, None]
    canvas *= (light * SUNLIGHT).astype(np.float32)
    canvas += rng.integers(-4, 5, (*SHAPE, 1), np.int8)  # noise of a sensor
    return canvas.clip(0, 255).astype(np.uint8)


def _render_texture(rng):
    """Return a texture with the spectrum of photographs, float32 (480, 640): mean 0, standard deviation 1, about."""
    total = np.zeros(SHAPE, np.int16)
    for octave in range(OCTAVES):
        cells = rng.integers(0, 256, (max(2, SHAPE[0] >> octave), max(2, SHAPE[1] >> octave)), np.uint8)
        total += _enlarge(cells)
    return (total - np.float32(127.5 * OCTAVES)) * np.float32(1 / TEXTURE_STD)


def _render_place(scene, texture, rng):
    """Draw sky and ground, float32 (480, 640, 3)."""
    edge = int(scene.horizon)
    canvas = np.empty((*SHAPE, 3), np.float32)
    top, bottom = np.float32(SKIES[rng.choice(len(SKIES), p=(0.5, 0.35, 0.15))])
    clouds = _enlarge(rng.integers(0, 256, (6, 5), np.uint8))[:edge]
    clouds = (clouds * np.float32(1 / 255) + texture[:edge] * np.float32(0.12) - np.float32(0.5)).clip(0, 1)
    sky = top + (bottom - top) * np.linspace(0, 1, edge, dtype=np.float32)[:, None, None]
    np.multiply(CLOUD - sky, clouds[:, :, None], out=canvas[:edge])
    canvas[:edge] += sky
    # perspective: rows near the horizon are farther apart on the ground
    below = np.arange(1, SHAPE[0] - edge + 1)
    rows = (SHAPE[0] * (SHAPE[0] - edge) / 3 / below.clip(4, None)).astype(int) % SHAPE[0]
    colour = np.float32(GROUNDS[rng.integers(len(GROUNDS))]) * np.float32(rng.uniform(0.8, 1.15))
    light = 1 + np.float32(rng.uniform(0.06, 0.16)) * texture[rows]
    light *= np.linspace(0.9, 1.05, len(rows), dtype=np.float32)[:, None]
    np.multiply(light[:, :, None], colour, out=canvas[edge:])
    return canvas


def _render_shadows(scene):
    """Return the fraction of light that reaches the ground, float32 (480, 640); shadows lie away from the sun."""
    import cv2

    mask = np.full((SHAPE[0] // 4, SHAPE[1] // 4), 255, np.uint8)  # enlarged below: soft edges
    for item in scene.objects:
        length = 0.35 * item.height
        axes = (length / 2 + item.width / 2, max(4.0, 0.12 * item.width))
        points = _ellipse(item.x - scene.side * length / 2, item.y, *axes) / 4
        cv2.fillConvexPoly(mask, points.round().astype(np.int32), round(255 * SHADOW))
    mask[:max(0, int(scene.horizon / 4))] = 255
    return _enlarge(mask) * np.float32(1 / 255)


def _enlarge(values):
    """Enlarge uint8 values to (480, 640) by linear interpolation; OpenCV's exact method computes with integers."""
    import cv2

    return cv2.resize(values, SHAPE[::-1], interpolation=cv2.INTER_LINEAR_EXACT)


class Painter:
    """Draw filled outlines on a canvas, with light from the side of the sun.

    Parameters
    ----------
    canvas : float32 (480, 640, 3), changed in place
    texture : float32 (480, 640)
    side : int, as of `Scene`
    """

    def __init__(self, canvas, texture, side):
        self.canvas, self.texture, self.side = canvas, texture, side

    def fill(self, points, colour, shading=0.2, grain=0.04):
        """Fill an outline.

        Parameters
        ----------
        points : float (N, 2), (x, y) in pixels
        colour : (3,), RGB in 0..255
        shading : float
            Difference of the light between the sunny side and the middle, as a fraction.
        grain : float
            Contrast of the surface's texture.
        """
        import cv2

        points = (points * 2 ** SUBPIXEL_BITS).round() / 2 ** SUBPIXEL_BITS
        low = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(points.max(0)).astype(int) + 2, SHAPE[::-1])
        if (low >= high).any():
            return  # outside the frame
        mask = np.zeros((high - low)[::-1], np.uint8)
        outline = ((points - low) * 2 ** SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        middle, half = (points.max(0) + points.min(0)) / 2, np.maximum(np.ptp(points, 0) / 2, 1)
        across = ((np.arange(low[0], high[0]) - middle[0]) / half[0]).astype(np.float32) * self.side
        down = ((np.arange(low[1], high[1]) - middle[1]) / half[1]).astype(np.float32)[:, None]
        window = np.s_[low[1]:high[1], low[0]:high[0]]
        light = 1 + np.float32(shading) * (across - down / 2) + np.float32(grain) * self.texture[window]
        part = self.canvas[window]
        part += (np.float32(colour) * light[:, :, None] - part) * (mask * np.float32(1 / 255))[:, :, None]

    def box(self, left, top, right, bottom, colour, **options):
        """Fill a box; see `fill`."""
        self.fill(np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float), colour, **options)

    def ellipse(self, x, y, across, down, colour, **options):
        """Fill an ellipse; see `fill`."""
        self.fill(_ellipse(x, y, across, down), colour, **options)


def _ellipse(x, y, across, down, count=32):
    """Return the outline of an ellipse, float (count, 2)."""
    angles = np.arange(count) * (2 * np.pi / count)
    return np.column_stack([x + across * np.cos(angles), y + down * np.sin(angles)])


def _colour(hue, saturation, value):
    """Convert HSV, each in [0, 1], to RGB in 0..255."""
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def _vivid(rng):
    """Sample a saturated colour."""
    return _colour(rng.uniform(), rng.uniform(0.65, 0.95), rng.uniform(0.55, 0.95))


def _draw_building(painter, item, rng):
    """Draw a façade with rows of bright or dark windows."""
    wall = _colour(rng.uniform(0.02, 0.14), rng.uniform(0.05, 0.4), rng.uniform(0.45, 0.85))
    left, top = item.x - item.width / 2, item.y - item.height
    painter.box(left, top, left + item.width, item.y, wall, shading=0.08)
    window = wall * 0.3 if rng.random() < 0.6 else np.array([250, 244, 214])
    columns, rows = max(2, round(item.width / 30)), max(2, round(item.height / 34))
    for column in range(columns):
        for row in range(rows):
            x = left + item.width * (column + 0.25) / columns
            y = top + item.height * (row + 0.25) / rows
            painter.box(x, y, x + item.width / columns / 2, y + item.height / rows / 2, window, shading=0.1)


def _draw_tree(painter, item, rng):
    """Draw a trunk under clusters of leaves."""
    half, top = item.width * 0.05, item.y - item.height * 0.6
    painter.box(item.x - half, top, item.x + half, item.y, (82, 64, 48))
    _draw_leaves(painter, item.x, item.y - item.height * 0.65, item.width / 2, item.height * 0.35, 16, rng)


def _draw_plant(painter, item, rng):
    """Draw a bush with flowers."""
    _draw_leaves(painter, item.x, item.y - item.height / 2, item.width / 2, item.height / 2, 12, rng)
    colour = _vivid(rng)
    for _ in range(12):
        x, y = rng.uniform(-0.4, 0.4, 2)
        painter.ellipse(item.x + x * item.width, item.y + (y - 0.5) * item.height, 4, 4, colour, shading=0)


def _draw_leaves(painter, x, y, across, down, count, rng):
    """Draw clusters of leaves in an ellipse, from dark to light."""
    hue, value = rng.uniform(0.22, 0.36), rng.uniform(0.3, 0.5)
    for step in range(count):
        angle, distance = rng.uniform(0, 2 * np.pi), 0.6 * np.sqrt(rng.uniform())
        painter.ellipse(x + across * distance * np.cos(angle), y + down * distance * np.sin(angle),
                        across * 0.45, down * 0.45, _colour(hue, 0.6, value * (0.7 + 0.6 * step / count)), grain=0.15)


def _draw_crate(painter, item, rng):
    """Draw a box with stripes of two colours."""
    colours, stripes = (_vivid(rng), _vivid(rng)), int(rng.integers(3, 7))
    left, top = item.x - item.width / 2, item.y - item.height
    for stripe in range(stripes):
        painter.box(left + item.width * stripe / stripes, top, left + item.width * (stripe + 1) / stripes, item.y,
                    colours[stripe % 2], shading=0.1)


def _draw_ball(painter, item, rng):
    """Draw a glossy ball."""
    radius, y = item.width / 2, item.y - item.height / 2
    painter.ellipse(item.x, y, radius, radius, _vivid(rng), shading=0.4)
    x = item.x + painter.side * radius * 0.35
    painter.ellipse(x, y - radius * 0.4, radius * 0.2, radius * 0.15, (255, 255, 250))


def _draw_board(painter, item, colour):
    """Draw a board on a post; return its left, top, width and height."""
    left, top, height = item.x - item.width / 2, item.y - item.height, BOARD_ASPECT * item.width
    painter.box(item.x - 3, top, item.x + 3, item.y, (96, 96, 98))
    painter.box(left, top, left + item.width, top + height, colour, shading=0.06)
    return left, top, item.width, height


def _draw_poster(painter, item, rng):
    """Draw a board with dark patches and no writing: more contrast than a sign."""
    left, top, width, height = _draw_board(painter, item, _colour(rng.uniform(), 0.5, 1.0))
    for _ in range(3):
        x, y = left + width * rng.uniform(0.2, 0.8), top + height * rng.uniform(0.3, 0.7)
        painter.ellipse(x, y, width * 0.18, height * 0.28, _colour(rng.uniform(), 0.7, 0.2), shading=0.05)


def _draw_sign(painter, item, rng):
    """Draw a board with lines of marks that look like writing."""
    board, ink = (_colour(0.14, 0.08, 0.94), (32, 32, 40)) if rng.random() < 0.7 else ((38, 66, 120), (238, 238, 232))
    left, top, width, height = _draw_board(painter, item, board)
    rows = int(rng.integers(2, 5))
    size = height * 0.8 / rows  # of a line with its space
    for row in range(rows):
        x, y = left + width * 0.08, top + height * 0.12 + row * size
        while x < left + width * rng.uniform(0.75, 0.9):
            if rng.random() < 0.8:  # else a space between words
                _draw_letter(painter, x, y, size * 0.4, size * 0.7, ink, rng)
            x += size * 0.55


def _draw_letter(painter, x, y, width, height, ink, rng):
    """Draw a mark of two or three strokes."""
    stroke = max(1.2, height / 6)
    painter.box(x, y, x + stroke, y + height, ink, shading=0)
    for level in rng.permutation(3)[:rng.integers(1, 3)] / 2:
        middle = y + level * (height - stroke)
        painter.box(x, middle, x + width, middle + stroke, ink, shading=0)
    if rng.random() < 0.5:
        painter.box(x + width - stroke, y + height / 2 * rng.integers(2), x + width, y + height, ink, shading=0)


def _draw_person(painter, item, rng):
    """Draw a person who faces the camera."""
    skin = _colour(rng.uniform(0.045, 0.085), rng.uniform(0.35, 0.6), rng.uniform(0.45, 0.98))
    shirt, trousers = _vivid(rng), _colour(rng.uniform(), rng.uniform(0.1, 0.6), rng.uniform(0.15, 0.5))
    hair = _colour(0.07, rng.uniform(0.2, 0.6), rng.uniform(0.08, 0.45))
    x, head_y, radius = item.region
    hip, shoulder, half = item.y - item.height * 0.45, head_y + 1.35 * radius, item.width / 2
    for side in (-1, 1):
        painter.box(x + side * half * 0.05, hip, x + side * half * 0.5, item.y, trousers)
        arm = np.array([[0.62, shoulder + 0.1 * radius], [0.9, shoulder + 0.4 * radius], [1.0, hip], [0.8, hip]])
        painter.fill(np.column_stack([x + side * half * arm[:, 0], arm[:, 1]]), shirt)
        painter.ellipse(x + side * half * 0.9, hip + 0.2 * radius, radius * 0.28, radius * 0.32, skin)
    painter.box(x - half * 0.68, shoulder, x + half * 0.68, hip + radius * 0.3, shirt)
    painter.box(x - radius * 0.35, head_y, x + radius * 0.35, shoulder + radius * 0.15, skin * 0.85)
    painter.ellipse(x, head_y - radius * 0.2, radius, radius * 1.1, hair)
    painter.ellipse(x, head_y + radius * 0.1, radius * 0.82, radius * 1.05, skin, shading=0.12)
    _draw_face(painter, x, head_y, radius, skin, hair)


def _draw_face(painter, x, y, radius, skin, hair):
    """Draw eyes, brows, nose and mouth."""
    for side in (-1, 1):
        eye = x + side * radius * 0.34
        brow = np.array([[-0.2, -0.24], [0, -0.32], [0.2, -0.24], [0, -0.25]])
        painter.fill((eye, y) + radius * brow, hair, shading=0)
        painter.ellipse(eye, y, radius * 0.2, radius * 0.12, (244, 244, 242), shading=0)
        painter.ellipse(eye, y, radius * 0.09, radius * 0.11, (28, 22, 20), shading=0)
    painter.ellipse(x, y + radius * 0.3, radius * 0.1, radius * 0.14, skin * 0.8, shading=0)
    mouth = np.array([[-0.34, 0.56], [-0.15, 0.64], [0.15, 0.64], [0.34, 0.56], [0.16, 0.78], [-0.16, 0.78]])
    painter.fill((x, y) + radius * mouth, (150, 52, 54), shading=0)


DRAWERS = {"building": _draw_building, "tree": _draw_tree, "plant": _draw_plant, "crate": _draw_crate,
           "ball": _draw_ball, "poster": _draw_poster, "sign": _draw_sign, "person": _draw_person}
