"""The contract every data set meets.

A data set is a sequence of `Sample`s. A module of this folder offers it through one function,

    load(split, root, **options) -> Dataset

and a line in `LOADERS` below. Everything else (training, prediction, evaluation) knows only this.
"""
import importlib
import inspect
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from common.errors import UserError
from data.density import density_map

LOADERS = {  # module:function
    "synthetic": "data.synthetic:load", "salicon": "data.salicon:load", "isun": "data.isun:load",
    "mit1003": "data.mit:load_mit1003", "mit300": "data.mit:load_mit300", "osie": "data.osie:load",
    "folder": "data.folder:load",
}
SPLITS = ("train", "val", "test", "all")
SCORED = {"salicon": "val", "isun": "val"}  # the fixations of their test images were never published
TEST_FRACTION = 0.2  # of sets without a split of their own
SPLIT_SEED = 2016  # of the images that they hold out
SWAPPED_SHARE, SWAPPED_LEAST = 0.1, 3  # points outside the frame that make [row, col] for [x, y] the likely reason


class WrongRoot(UserError):
    """The given folder is missing or is not the data set. The message ends with the folder to give."""


class Swapped(UserError):
    """Fixations are [row, col] where [x, y] is expected: a fault of a whole data set, and not of one image."""


class Sample:
    """One image and where people looked at it. Nothing is read until it is asked for.

    Parameters
    ----------
    name : str
        Unique in its data set, without folder or extension.
    shape : (int, int), or callable () -> (int, int)
        Height and width in pixels.
    read_image : callable () -> uint8 (H, W, 3), RGB
    read_fixations : callable () -> float (N, 2), or a pair of that and int (N,); or None
        (x, y) in pixels, 0-based: (0, 0) is the centre of the top left pixel; and whose fixation
        each is, where the data set knows. Points outside the frame are dropped here, once for every
        data set. None where they are not known.
    sigma : float
        Standard deviation, in pixels, of the Gaussian that turns fixations into a density.
    read_density : callable () -> float (H, W), or None
        The data set's own density, of any scale; None to make it from the fixations.
    """

    def __init__(self, name, shape, read_image, read_fixations, sigma, read_density=None):
        self.name = name
        self.sigma = sigma
        self._shape = shape
        self._read_image = read_image
        self._read_fixations = read_fixations
        self._read_density = read_density

    @cached_property
    def shape(self):
        """(int, int): height and width in pixels."""
        return tuple(self._shape() if callable(self._shape) else self._shape)

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

    @property
    def has_fixations(self):
        """bool: whether it is known where people looked; nothing is read to tell."""
        return self._read_fixations is not None

    @property
    def has_density(self):
        """bool: whether there can be a density."""
        return self.has_fixations or self._read_density is not None

    @property
    def outside(self):
        """int: fixations that were dropped because they lie outside the frame."""
        return self._looks[2]

    @cached_property
    def _looks(self):
        if self._read_fixations is None:
            raise UserError(f"{self.name}: where people looked is not known, only what they saw; "
                            "measures that need fixations cannot be had here")
        try:
            found = self._read_fixations()
            points, observers = found if isinstance(found, tuple) else (found, None)
            kept = clip_to_frame(points, self.shape)
            where = frame_mask(points, self.shape)
            check_swapped(points, self.shape)
            if observers is not None and len(observers) != len(where):
                raise UserError(f"{len(where)} fixations have {len(observers)} observers; copy the file again")
        except UserError as error:
            raise type(error)(f"{self.name}: {error}") from error
        return kept, None if observers is None else np.asarray(observers, np.int32)[where], int((~where).sum())

    @cached_property
    def density(self):
        """float32 (H, W) in [0, 1], its maximum 1: the data set's own, or the fixations blurred with its sigma."""
        if self._read_density is None:
            return density_map(self.fixations, self.shape, self.sigma)
        density = np.asarray(self._read_density(), np.float32)
        if density.shape != self.shape or not np.isfinite(density).all() or density.min() < 0:
            raise UserError(f"{self.name}: its density map is of shape {density.shape} or has values below 0, expected "
                            f"{self.shape}; unpack the archive again")
        return density / max(density.max(), np.finfo(np.float32).tiny)

    def __repr__(self):
        return f"Sample({self.name!r})"


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
    files : iterable of path
        What the samples are read from, to notice that it changed or is incomplete; empty for none.
    """

    def __init__(self, name, split, sigma, names, open_sample, about, files=()):
        self.name = name
        self.split = split
        self.sigma = sigma
        self.names = list(names)
        self.open = open_sample
        self.about = about
        self.files = list(files)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.open(self.names[index])

    def __repr__(self):
        return f"Dataset({self.name!r}, {self.split!r}, {len(self)} samples)"


def load(name, split, root=None, **options):
    """Open a data set.

    Parameters
    ----------
    name : str
        A key of `LOADERS`; options of the data set may follow, as in "osie+gaze=eyes".
    split : "train", "val", "test" or "all"
        Test images are held out from everything; the nets take their own validation images from "train".
        "val" is there where the authors made one, "all" where they did not split.
    root : path or None
        Where the data set lies on disk; not used by "synthetic".
    **options
        More options, such as gaze="eyes".

    Raises
    ------
    UserError
        The name, split or option is unknown, or `root` is not this data set.
    """
    base, *said = name.split("+")
    options = {**dict(_option(text) for text in said), **options}
    if base not in LOADERS:
        raise UserError(f"there is no data set {base!r}; choose one of: {', '.join(sorted(LOADERS))}")
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r}; choose one of: {', '.join(SPLITS)}")
    module, function = LOADERS[base].split(":")
    loader = getattr(importlib.import_module(module), function)
    known = list(inspect.signature(loader).parameters)[2:]
    if unknown := sorted(set(options) - set(known)):
        raise UserError(f"{base} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    dataset = loader(split, root, **options)
    dataset.name = "+".join([base, *(f"{key}={options[key]}" for key in sorted(options))])
    return dataset


def _option(text):
    """"sigma=24" -> ("sigma", 24.0)."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UserError(f"{text!r} is no option of a data set; write DATASET=name+option=value, as in osie+gaze=eyes")
    try:
        return name, float(value)
    except ValueError:
        return name, value


def scored_split(name):
    """The split on which models are compared with people: the test images, where their fixations are public."""
    return SCORED.get(name.split("+")[0], "test")


def split_names(names, split):
    """Names of a split of a data set whose authors made none: a fifth, by name and a fixed seed, is held out.

    Parameters
    ----------
    names : iterable of str
    split : "train", "test" or "all"

    Returns
    -------
    list of str, sorted
    """
    if split == "val":
        raise UserError("this data set has no split 'val'; choose one of: train, test, all")
    ordered = shuffled(names, SPLIT_SEED)
    held_out = round(TEST_FRACTION * len(ordered))
    return sorted({"test": ordered[:held_out], "train": ordered[held_out:], "all": ordered}[split])


def shuffled(names, seed):
    """The names in an order that depends on nothing but the names and the seed."""
    names = sorted(names)
    order = np.random.default_rng(seed).permutation(len(names))
    return [names[i] for i in order]


def clip_to_frame(points, shape):
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
    return points[frame_mask(points, shape)].clip(0, np.array([shape[1] - 1, shape[0] - 1], np.float32))


def frame_mask(points, shape):
    """bool (N,): for which (x, y) the nearest pixel lies in an image of this shape; same points as `clip_to_frame`."""
    points = np.asarray(points, np.float32).reshape(-1, 2)
    return ((points >= -0.5) & (points < np.array([shape[1], shape[0]], np.float32) - np.float32(0.5))).all(axis=1)


def check_swapped(points, shape):
    """Raise Swapped if many points (x, y) lie outside an image of this shape, and none with x and y exchanged.

    An image whose points happen to fit either way is not noticed; `data.check` looks at all of a data set together.
    """
    out = ~frame_mask(points, shape)
    if out.sum() >= max(SWAPPED_LEAST, SWAPPED_SHARE * len(out)) and frame_mask(points, shape[::-1]).all():
        raise Swapped(f"{out.sum()} of {len(out)} fixations lie outside the {shape[1]}x{shape[0]} image, none with "
                      "its coordinates exchanged: they are [row, col] where [x, y] is expected; exchange them")
