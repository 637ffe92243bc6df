"""The contract of all data sets: a sequence of samples with image, fixations and density map.

The module of a data set has one function,

    load(split, root, **options) -> Dataset

and one line in `LOADERS` below. Training, prediction and evaluation use only this contract.
"""
import importlib
import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from common.errors import UserError, to_printable
from data.density import density_map

LOADERS = {  # name of the data set: "module:function"
    "synthetic": "data.synthetic:load", "salicon": "data.salicon:load", "isun": "data.isun:load",
    "mit1003": "data.mit:load_mit1003", "mit300": "data.mit:load_mit300", "osie": "data.osie:load",
    "folder": "data.folder:load",
}
SPLITS = ("train", "val", "test", "all")
SCORED_SPLITS = {"salicon": "val", "isun": "val"}  # the fixations of their test images were never published
TEST_FRACTION = 0.2  # fraction held out where the authors publish no split
SPLIT_SEED = 2016  # random seed of that split
# fraction and number of points outside the frame above which [row, col] instead of [x, y] is the likely cause
SWAPPED_FRACTION, SWAPPED_MINIMUM = 0.1, 3


class WrongRoot(UserError):
    """The given folder is missing or is not the data set. The message ends with the folder to give."""


class Swapped(UserError):
    """The fixations are [row, col] where [x, y] is expected; this affects the whole data set, not one image."""


class Fixations(NamedTuple):
    """Fixations of one image, as a reader returns them.

    Attributes
    ----------
    points : float (N, 2)
        (x, y) in pixels, 0-based: (0, 0) is the centre of the top left pixel.
    observers : int (N,), or None
        The observer's number of each point.
    missing : int
        Number of rows of the file without a position, which were dropped.
    notes : tuple of str
        How the file was understood, and what else was dropped, for `data.check`.
    """

    points: np.ndarray
    observers: np.ndarray | None = None
    missing: int = 0
    notes: tuple = ()


class Sample:
    """One image with its fixations and density map. Each part is read on first access.

    Parameters
    ----------
    name : str
        Unique in the data set, without folder and extension.
    shape : (int, int), or callable () -> (int, int)
        Height and width in pixels.
    read_image : callable () -> uint8 (H, W, 3), RGB
    read_fixations : callable () -> Fixations, or float (N, 2), or a pair of that and int (N,); or None
        Points and observers, see `Fixations`. None if the data set has no fixations for this image. `Sample` drops the
        points outside the frame, for all data sets alike.
    sigma : float
        Standard deviation, in pixels, of the Gaussian that turns fixations into a density map.
    read_density : callable () -> float (H, W), or a pair of that and a tuple of str; or None
        The published density map, on any scale, and notes; None to compute it from the fixations.
    """

    def __init__(self, name, shape, read_image, read_fixations, sigma, read_density=None):
        self.name = name
        self.sigma = sigma
        self._shape = shape
        self._read_image = read_image
        self._read_fixations = read_fixations
        self._read_density = read_density
        self._density_notes = ()

    @cached_property
    def shape(self):
        """Return the height and width in pixels, (int, int)."""
        return tuple(self._shape() if callable(self._shape) else self._shape)

    @cached_property
    def image(self):
        """Return the image, uint8 (H, W, 3), RGB."""
        image = self._read_image()
        if image.shape != (*self.shape, 3):
            raise UserError(f"{self.name}: the image is {image.shape[1]}x{image.shape[0]} pixels, expected "
                            f"{self.shape[1]}x{self.shape[0]}; unpack the archive again")
        return image

    @property
    def fixations(self):
        """Return the fixations, float32 (N, 2): (x, y) in pixels, 0-based, all inside the frame."""
        return self._fixations[0]

    @property
    def observers(self):
        """Return the observer's number of each fixation, int32 (N,); None if the data set does not have it."""
        return self._fixations[1]

    @property
    def outside(self):
        """Return the number of fixations that were dropped because they lie outside the frame."""
        return self._fixations[2]

    @property
    def missing(self):
        """Return the number of rows of the fixation file that had no position, such as blinks, and were dropped."""
        return self._fixations[3]

    @property
    def notes(self):
        """Return how the files were understood, tuple of str; of the parts that were read."""
        fixations = self.__dict__.get("_fixations")  # where cached_property stores them
        return (fixations[4] if fixations else ()) + self._density_notes

    @property
    def has_fixations(self):
        """Return True if the data set has fixations for this image; reads no file."""
        return self._read_fixations is not None

    @property
    def has_density(self):
        """Return True if the density map is published or can be computed; reads no file."""
        return self.has_fixations or self._read_density is not None

    @cached_property
    def _fixations(self):
        """Return (fixations, observers or None, number of points outside the frame, number of missing ones, notes)."""
        if self._read_fixations is None:
            raise UserError(f"{self.name}: the data set has no fixations for this image; "
                            "use a split or a data set with fixations")
        try:
            content = self._read_fixations()
            content = Fixations(*content) if isinstance(content, tuple) else Fixations(content)
            points, observers, missing, notes = content
            clipped = clip_to_frame(points, self.shape)
            mask = frame_mask(points, self.shape)
            check_swapped(points, self.shape)
            if observers is not None and len(observers) != len(mask):
                raise UserError(f"{len(mask)} fixations have {len(observers)} observers; copy the file again")
        except UserError as error:
            raise type(error)(f"{self.name}: {error}") from error
        observers = None if observers is None else np.asarray(observers, np.int32)[mask]
        return clipped, observers, int((~mask).sum()), missing, tuple(notes)

    @cached_property
    def density(self):
        """Return the density map, float32 (H, W) in [0, 1] with maximum 1: as published, or the blurred fixations."""
        if self._read_density is None:
            return density_map(self.fixations, self.shape, self.sigma)
        content = self._read_density()
        density, self._density_notes = content if isinstance(content, tuple) else (content, ())
        density = np.asarray(density, np.float32)
        if density.shape != self.shape:
            raise UserError(f"{self.name}: the density map has shape {density.shape}, expected {self.shape}; "
                            "replace its file")
        if not np.isfinite(density).all() or density.min() < 0:
            raise UserError(f"{self.name}: the density map has negative or non-finite values; replace its file")
        return density / max(density.max(), np.finfo(np.float32).tiny)

    def __repr__(self):
        return f"Sample({self.name!r})"


class Dataset(Sequence):
    """One split of a data set: `len()`, indexing (a new, unread Sample each time) and iteration.

    Parameters
    ----------
    name, split : str
        As given to `load`.
    sigma : float
        Blur of the density maps, in pixels.
    names : list of str
        Names of the samples, in order.
    open_sample : callable (str) -> Sample
        Returns a new, unread sample by its name; available as `.open`.
    about : dict of str
        For Table 2 and captions: "images" (their source), "capture" (recording method), "observers", "edition".
    files : iterable of path
        All files that the samples are read from, to detect missing or changed files; empty if there are none.
    notes, faults : iterable of str
        How the folder was understood; and what is wrong with it although the rest can be used.
    """

    def __init__(self, name, split, sigma, names, open_sample, about, files=(), notes=(), faults=()):
        self.name = name
        self.split = split
        self.sigma = sigma
        self.names = list(names)
        self.open = open_sample
        self.about = about
        self.files = list(files)
        self.notes, self.faults = ([to_printable(text) for text in texts] for texts in (notes, faults))

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
        Test images are never used for training; the nets take their own validation images from "train".
        "val" exists where the authors published it, "all" where they published no split.
    root : path or None
        Folder of the data set on disk; not used by "synthetic".
    **options
        Further options, such as gaze="eyes".

    Raises
    ------
    UserError
        The name, split or option is unknown.
    WrongRoot
        `root` is missing or is not this data set.
    """
    base, *texts = name.split("+")
    options = {**dict(_parse_option(text) for text in texts), **options}
    if base not in LOADERS:
        raise UserError(f"there is no data set {base!r}; choose one of: {', '.join(sorted(LOADERS))}")
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r}; choose one of: {', '.join(SPLITS)}")
    module, function = LOADERS[base].split(":")
    loader = getattr(importlib.import_module(module), function)
    available = list(inspect.signature(loader).parameters)[2:]
    if unknown := sorted(set(options) - set(available)):
        raise UserError(f"{base} has no option {unknown[0]!r}; its options are: {', '.join(available) or 'none'}")
    dataset = loader(split, root, **options)
    dataset.name = "+".join([base, *(f"{key}={options[key]}" for key in sorted(options))])
    return dataset


def _parse_option(text):
    """Split "sigma=24" into ("sigma", 24.0); a value that is not a number stays a string."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UserError(f"{text!r} is not an option of a data set; write data set and option as in osie+gaze=eyes")
    try:
        return name, float(value)
    except ValueError:
        return name, value


def base_name(name):
    """Return the name of a data set without its options: "osie" for "osie+gaze=eyes"."""
    return name.split("+")[0]


def scored_split(name):
    """Return the split on which models are scored: "test", or "val" if the test fixations were never published."""
    base, *options = name.split("+")
    if "protocol=lsun" in options:  # the validation images are training images
        return "test"
    return SCORED_SPLITS.get(base, "test")


def split_names(names, split):
    """Select the names of one split, for data sets without a published split.

    A fifth of the images is held out for testing. The split depends only on the names and a fixed seed.

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
    held_out = max(round(TEST_FRACTION * len(ordered)), min(1, len(ordered)))  # at least one image is tested
    return sorted({"test": ordered[:held_out], "train": ordered[held_out:], "all": ordered}[split])


def shuffled(names, seed):
    """Shuffle names; the order depends only on the names and the seed."""
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
        raise UserError("some fixations are NaN or infinite; remove those rows from the fixation file")
    return points[frame_mask(points, shape)].clip(0, np.array([shape[1] - 1, shape[0] - 1], np.float32))


def frame_mask(points, shape):
    """Mark the points (x, y) whose nearest pixel lies in an image of this shape, as `clip_to_frame` keeps them.

    Returns
    -------
    bool (N,)
    """
    points = np.asarray(points, np.float32).reshape(-1, 2)
    return ((points >= -0.5) & (points < np.array([shape[1], shape[0]], np.float32) - np.float32(0.5))).all(axis=1)


def check_swapped(points, shape):
    """Check that the points are (x, y): raise Swapped if many lie outside the frame, and none with x and y exchanged.

    An image whose points fit both ways passes; `data.check` examines all images of a data set together.
    """
    outside = ~frame_mask(points, shape)
    if outside.sum() >= max(SWAPPED_MINIMUM, SWAPPED_FRACTION * len(outside)) and frame_mask(points, shape[::-1]).all():
        raise Swapped(f"{outside.sum()} of {len(outside)} fixations lie outside the {shape[1]}x{shape[0]} image, but "
                      "none with x and y exchanged: they are [row, col] where [x, y] is expected; exchange the columns")
