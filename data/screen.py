"""Convert positions on a screen, as eye trackers write them, to pixels of the image that was shown.

Trackers write pixels of the screen, fractions of the screen or of the image, or degrees from the screen's centre. The
file itself or the user's options, such as `folder+unit=fraction+screen=1920x1080`, state which.
"""
import re
from dataclasses import dataclass, replace

import numpy as np

from common.errors import UserError
from data.dataset import check_swapped, frame_mask

UNITS = ("pixels", "fraction", "degrees")
IMAGE_FRACTION = "fraction of the image"  # stated by a file, never by an option
ORIGINS = ("top", "bottom")
FRACTIONS = ("{count} positions lie between 0 and 1: they are fractions of the image or of the screen, not pixels; add "
             "the option +unit=fraction to the data set (and +screen=1920x1080 if they are fractions of the screen)")
# points per image, and fraction of them outside the image, from which an image's fixations are an error
MISPLACED_MINIMUM, MISPLACED_FRACTION = 10, 0.5
# points, and fraction of them within 1.5 of the corner, from which positions are fractions; trackers give a few below 0
# and above 1. Sides of an image in which such positions can be pixels
FRACTION_MINIMUM, FRACTION_PART, FRACTION_LIMIT, SMALL_SIDE = 3, 0.9, 1.5, 8


@dataclass(frozen=True)
class Screen:
    """Unit of the positions, and place of the image on the screen.

    Parameters
    ----------
    unit : str
        One of `UNITS`, or IMAGE_FRACTION.
    origin : "top" or "bottom"
        Where y is 0.
    size : (int, int) or None
        Width and height of the screen in pixels.
    offset : (float, float) or None
        Screen position of the image's top left corner.
    centre : (float, float) or None
        Screen position of the image's centre; None: the centre of the screen, if its size is given.
    scale : (float, float) or None
        Screen pixels per image pixel.
    shown : (float, float) or None
        Width and height of the image on the screen, instead of `scale`.
    width_mm, distance_mm : float or None
        Width of the screen and distance of the eyes, for degrees.
    """

    unit: str = "pixels"
    origin: str = "top"
    size: tuple | None = None
    offset: tuple | None = None
    centre: tuple | None = None
    scale: tuple | None = None
    shown: tuple | None = None
    width_mm: float | None = None
    distance_mm: float | None = None

    def to_image(self, points, shape):
        """Convert positions to pixels of an image.

        Parameters
        ----------
        points : float (N, 2), (x, y)
        shape : (H, W) of the image

        Returns
        -------
        float64 (N, 2), (x, y), 0-based
            A fraction f becomes f x width, as in the trackers' own columns of pixels.
        """
        image = np.array(shape[::-1], np.float64)
        on_image = self.unit == IMAGE_FRACTION or self.size is None
        frame = image if on_image else np.array(self.size, np.float64)
        points = self._to_pixels(np.asarray(points, np.float64).reshape(-1, 2), frame)
        if self.origin == "bottom":  # pixels count from 0, fractions are of the whole height
            points = points * (1, -1) + (0, frame[1] - (self.unit == "pixels"))
        if self.unit == IMAGE_FRACTION or self.unit == "fraction" and on_image:
            last = image - 1  # fractions up to 1 lie in the image: the last half pixel belongs to the last pixel
            return np.where((points > last) & (points <= image), last, points)
        scale = np.array(self.shown) / image if self.shown else np.array(self.scale or (1, 1))
        return (points - self._corner(scale * image)) / scale

    def _to_pixels(self, points, frame):
        """Convert fractions or degrees to pixels of the frame, the screen or the image."""
        if self.unit == "degrees":
            return frame / 2 + np.tan(np.radians(points)) * self.distance_mm * frame[0] / self.width_mm
        return points if self.unit == "pixels" else points * frame

    def _corner(self, shown):
        """Return the screen position of the top left corner of an image that is shown in this size."""
        if self.offset is not None:
            return np.array(self.offset)
        if self.centre is not None:
            return np.array(self.centre) - shown / 2
        return np.zeros(2) if self.size is None else (np.array(self.size) - shown) / 2


def parse_screen(unit=None, origin=None, screen=None, offset=None, scale=None, width_mm=None, distance_mm=None):
    """Read the options of a data set.

    Parameters
    ----------
    unit : "pixels", "fraction" or "degrees"
    origin : "top" or "bottom"
    screen : "WIDTHxHEIGHT", in pixels
    offset : "X,Y", in pixels of the screen
    scale : float, or "X,Y"
    width_mm, distance_mm : float

    Returns
    -------
    dict
        The fields of Screen that are given; the others may come from a file.

    Raises
    ------
    UserError
        A value has another form, or a needed option is missing.
    """
    for name, value, values in (("unit", unit, UNITS), ("origin", origin, ORIGINS)):
        if value is not None and value not in values:
            raise UserError(f"{name}={value}: choose one of: {', '.join(values)}")
    fields = {"unit": unit, "origin": origin, "size": _parse_pair("screen", screen, "1920x1080", smallest=1),
              "offset": _parse_pair("offset", offset, "448,156"),
              "scale": _parse_pair("scale", scale, "2 or 2,1.5", smallest=1e-3),
              "width_mm": _parse_positive("width_mm", width_mm),
              "distance_mm": _parse_positive("distance_mm", distance_mm)}
    fields = {name: value for name, value in fields.items() if value is not None}
    if unit == "degrees" and not {"size", "width_mm", "distance_mm"} <= set(fields):
        raise UserError("unit=degrees needs the screen: add +screen=1920x1080+width_mm=530+distance_mm=600, with its "
                        "pixels, its width and the distance of the eyes in millimetres")
    if unit == "fraction" and "size" not in fields and {"offset", "scale"} & set(fields):
        raise UserError("unit=fraction with an offset or a scale needs the size of the screen: add +screen=1920x1080; "
                        "without them, the fractions are of the image")
    return fields


def merge(stated, given):
    """Combine what a file states with the user's options, which take precedence.

    Parameters
    ----------
    stated : Screen
    given : dict, as from `parse_screen`

    Returns
    -------
    Screen
    """
    if {"offset", "scale", "size"} & set(given):  # the user places the image: forget the file's placement
        stated = replace(stated, offset=None, centre=None, shown=None, scale=None)
    return replace(stated, **given)


def check_points(points, shape, screen):
    """Check that points lie where fixations of an image can lie.

    Parameters
    ----------
    points : float (N, 2), (x, y), pixels of the image
    shape : (H, W)
    screen : Screen
        For the remedies.

    Raises
    ------
    UserError
        They are fractions, [row, col] (Swapped), or most of them lie outside the image.
    """
    if screen.unit == "pixels" and min(shape) > SMALL_SIDE and are_fractions(points):
        raise UserError(FRACTIONS.format(count=len(points)))
    check_swapped(points, shape)
    outside = ~frame_mask(points, shape)
    if len(points) >= MISPLACED_MINIMUM and outside.mean() > MISPLACED_FRACTION:
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        raise UserError(f"{outside.sum()} of {len(points)} fixations lie outside the {shape[1]}x{shape[0]} image: x "
                        f"from {left:.0f} to {right:.0f}, y from {top:.0f} to {bottom:.0f}; if these are positions on "
                        "the screen, add the options +screen=1920x1080 (the image was in its centre) or +offset=X,Y "
                        "(the image's top left corner), and +scale=S if it was not shown in its own size")


def are_fractions(points):
    """Return True if points, float (N, 2), are fractions of an image or a screen, most likely."""
    if len(points) < FRACTION_MINIMUM:
        return False
    small = (np.abs(points) <= FRACTION_LIMIT).all(axis=1)
    return bool(small.mean() >= FRACTION_PART and (points != np.round(points)).any())


def _parse_pair(name, value, example, smallest=-1e6):
    """Read "1920x1080", "448,156" or one number for both; None stays None."""
    if value is None:
        return None
    try:
        pair = tuple(float(number) for number in re.split("[x,]", str(value)))
    except ValueError:
        pair = ()
    if len(pair) == 1 and name == "scale":
        pair *= 2
    if len(pair) != 2 or not all(smallest <= number <= 1e6 for number in pair):
        raise UserError(f"{name}={value}: write it as in {name}={example}")
    return pair


def _parse_positive(name, value):
    """Check a number of millimetres; None stays None."""
    if value is not None and not (isinstance(value, float | int) and 0 < value < 1e6):
        raise UserError(f"{name}={value}: give a number of millimetres above 0")
    return value
