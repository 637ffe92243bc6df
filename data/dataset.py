"""The contract every data set meets, and the step from fixations to maps.

A data set is a sequence of `Sample`s. A module of this folder offers it through one function,

    load(split, root) -> Dataset

and a line in `MODULES` below. Everything else (training, prediction, evaluation) knows only this.
"""
import importlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from data.errors import UserError

MODULES = {"synthetic": "data.synthetic", "osie": "data.osie"}
SPLITS = ("train", "test")
FEW = 500  # fixated pixels up to which a density is a sum of Gaussians and not a blurred map


class Sample:
    """One image and where people looked at it. Nothing is read until it is asked for.

    Parameters
    ----------
    name : str
        Unique in its data set, without folder or extension.
    shape : (int, int)
        Height and width in pixels.
    read_image : callable () -> uint8 (H, W, 3), RGB
    read_fixations : callable () -> float (N, 2), or a pair of that and int (N,)
        (x, y) in pixels, 0-based: (0, 0) is the centre of the top left pixel; and whose fixation
        each is, where the data set knows. Points outside the frame are dropped here, once for every
        data set.
    sigma : float
        Standard deviation, in pixels, of the Gaussian that turns fixations into a density.
    """

    def __init__(self, name, shape, read_image, read_fixations, sigma):
        self.name = name
        self.shape = tuple(shape)
        self.sigma = sigma
        self._read_image = read_image
        self._read_fixations = read_fixations

    @cached_property
    def image(self):
        """uint8 (H, W, 3), RGB."""
        image = self._read_image()
        if image.shape != (*self.shape, 3):
            raise UserError(f"{self.name}: the image is {image.shape[1]}x{image.shape[0]} pixels, the data set says "
                            f"{self.shape[1]}x{self.shape[0]}; unpack the archive again")
        return image

    @property
    def fixations(self):
        """float32 (N, 2): (x, y) in pixels, 0-based, all inside the frame."""
        return self._looks[0]

    @property
    def observers(self):
        """int32 (N,): number of the person who made each fixation; None if the data set does not tell."""
        return self._looks[1]

    @cached_property
    def _looks(self):
        try:
            found = self._read_fixations()
            points, observers = found if isinstance(found, tuple) else (found, None)
            kept = inside(points, self.shape)
            return kept, None if observers is None else np.asarray(observers, np.int32)[in_frame(points, self.shape)]
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from error

    @cached_property
    def density(self):
        """float32 (H, W) in [0, 1]: the fixations blurred with the data set's sigma; its maximum is 1."""
        return density_map(self.fixations, self.shape, self.sigma)

    def __repr__(self):
        return f"Sample({self.name!r}, {self.shape[1]}x{self.shape[0]})"


class Dataset(Sequence):
    """A split of a data set: `len()`, indexing (a fresh, unread Sample each time) and iteration.

    Parameters
    ----------
    name, split : str
        As given to `load`.
    sigma : float
        Blur of its densities, in pixels.
    names : list of str
        One a sample, in order.
    open_sample : callable (str) -> Sample
        Kept as `.open`: a fresh, unread sample by its name.
    about : dict of str
        For Table 2 and captions: "images" (where they are from), "capture" (of gaze), "observers",
        "edition".
    """

    def __init__(self, name, split, sigma, names, open_sample, about):
        self.name = name
        self.split = split
        self.sigma = sigma
        self.names = list(names)
        self.open = open_sample
        self.about = about

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.open(self.names[index])

    def __repr__(self):
        return f"Dataset({self.name!r}, {self.split!r}, {len(self)} samples)"


def load(name, split, root=None):
    """Open a data set.

    Parameters
    ----------
    name : str
        A key of `MODULES`.
    split : str
        "train" or "test". Test images are held out from everything; the nets take their own
        validation images from "train".
    root : path or None
        Where the data set lies on disk; not used by "synthetic".

    Raises
    ------
    UserError
        The name or split is unknown, or `root` is not this data set.
    """
    if name not in MODULES:
        raise UserError(f"there is no data set {name!r}; choose one of: {', '.join(sorted(MODULES))}")
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r}; choose one of: {', '.join(SPLITS)}")
    return importlib.import_module(MODULES[name]).load(split, root)


def shuffled(names, seed):
    """The names in an order that depends on nothing but the names and the seed."""
    names = sorted(names)
    order = np.random.default_rng(seed).permutation(len(names))
    return [names[i] for i in order]


def inside(points, shape):
    """Keep the points whose nearest pixel lies in an image of this shape.

    Parameters
    ----------
    points : array-like (N, 2), (x, y), 0-based
    shape : (H, W)

    Returns
    -------
    float32 (M, 2), clipped by up to half a pixel to [0, W - 1] x [0, H - 1]

    Raises
    ------
    UserError
        The points are not N pairs, or some are not finite.
    """
    points = np.asarray(points, dtype=np.float32)
    if points.size == 0:
        return np.zeros((0, 2), np.float32)
    if points.ndim != 2 or points.shape[1] != 2:
        raise UserError(f"fixations have shape {points.shape}, expected (N, 2) with (x, y) in each row")
    if not np.isfinite(points).all():
        raise UserError("some fixations are NaN or infinite; take those rows out of the fixation file")
    return points[in_frame(points, shape)].clip(0, np.array([shape[1] - 1, shape[0] - 1], np.float32))


def in_frame(points, shape):
    """bool (N,): for which (x, y) the nearest pixel lies in an image of this shape; same points as `inside`."""
    points = np.asarray(points, np.float32).reshape(-1, 2)
    return ((points >= -0.5) & (points < np.array([shape[1], shape[0]], np.float32) - np.float32(0.5))).all(axis=1)


def fixation_map(fixations, shape):
    """Mark the pixel nearest to each fixation; several fixations on a pixel count once.

    Parameters
    ----------
    fixations : float (N, 2), (x, y), 0-based, inside the frame
    shape : (H, W)

    Returns
    -------
    bool (H, W)
    """
    marked = np.zeros(shape, bool)
    column, row = np.floor(np.asarray(fixations).reshape(-1, 2).T + 0.5).astype(int)
    marked[row, column] = True
    return marked


def density_map(fixations, shape, sigma):
    """Blur the fixation map and scale it to a maximum of 1, as the SALICON toolkit does.

    The Gaussian is cut off at 4 sigma; beyond the edge of the image there is nothing (zeros).

    Parameters
    ----------
    fixations : float (N, 2), (x, y), 0-based, inside the frame
    shape : (H, W)
    sigma : float, pixels

    Returns
    -------
    float32 (H, W) in [0, 1]; all zero if there is no fixation
    """
    import cv2

    marked = fixation_map(fixations, shape)
    radius = int(4 * sigma + 0.5)
    size = 2 * radius + 1
    rows, columns = np.nonzero(marked)
    if rows.size <= FEW:  # as eye trackers give: adding up so many Gaussians is several times faster
        kernel = cv2.getGaussianKernel(size, sigma, cv2.CV_32F)
        gaussian, padded = kernel @ kernel.T, np.zeros((shape[0] + 2 * radius, shape[1] + 2 * radius), np.float32)
        for row, column in zip(rows, columns):
            padded[row:row + size, column:column + size] += gaussian
        density = padded[radius:radius + shape[0], radius:radius + shape[1]]
    else:
        density = cv2.GaussianBlur(marked.astype(np.float32), (size, size), sigma, borderType=cv2.BORDER_CONSTANT)
    peak = density.max()
    return density / peak if peak > 0 else density
