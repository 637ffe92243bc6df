"""Describe the layers of a net in one form for both frameworks: sizes, weights, multiplications."""
import itertools
import math
from dataclasses import dataclass, field

from common.errors import UserError, show_names

FLOAT_BYTES = 4
COLUMNS = ("layer", "type", "kernel", "stride", "pad", "output", "weights", "multiplications", "MiB")
TEXT_COLUMNS = 6  # the first ones are texts, the others numbers
AS_INPUT = "as input"  # output of a layer that has no blob of its own
LARGEST_SIZE, MOST_AXES, LARGEST_COUNT = 1 << 31, 8, 1 << 62
# content of a layer in the .json of models.summary, see `common.files.check_content`
LAYER = {"name": str, "type": str, "kernel": [int], "stride": [int], "pad": [int], "blobs": {str: [int]},
         "weights": [[int]], "multiply_adds": int}


@dataclass
class Layer:
    """A layer with its sizes.

    Attributes
    ----------
    name, type : str
        The type is the framework's name of it.
    kernel, stride, pad : list of int
        By axis, rows first; empty for layers without a kernel.
    blobs : dict of str: list of int
        Shapes of the outputs, batch first; empty for a layer that works in place.
    weights : list of list of int
        Shapes of the learned arrays, biases included.
    multiply_adds : int
        Number of multiplications, each with an addition, for one batch in convolutions and dense layers; 0 in others.
    """

    name: str
    type: str
    kernel: list = field(default_factory=list)
    stride: list = field(default_factory=list)
    pad: list = field(default_factory=list)
    blobs: dict = field(default_factory=dict)
    weights: list = field(default_factory=list)
    multiply_adds: int = 0

    @property
    def weight_count(self):
        """Count the learned values."""
        return sum(map(math.prod, self.weights))


def to_layers(descriptions):
    """Convert dicts of the content LAYER to a list of Layer."""
    return [Layer(**{name: layer[name] for name in LAYER}) for layer in descriptions]


def check_layers(descriptions, path):
    """Raise UserError if dicts of the content LAYER, read from the file `path`, have sizes that cannot be true."""
    for layer in to_layers(descriptions):
        shapes = [*layer.blobs.values(), *layer.weights]
        sizes = [*itertools.chain(*shapes), *layer.kernel, *layer.stride, *(pad + 1 for pad in layer.pad)]
        if not all(0 < size <= LARGEST_SIZE for size in sizes) or max(map(len, shapes), default=0) > MOST_AXES \
                or not 0 <= layer.multiply_adds <= LARGEST_COUNT:
            raise UserError(f"{path}: the sizes of layer {show_names(layer.name)} cannot be true; "
                            "write it again with python -m models.summary")


def by_x(sizes, sign=" x "):
    """Join sizes, as in "1 x 3 x 240 x 320"."""
    return sign.join(map(str, sizes))


def mib(count):
    """Return the MiB of this number of float32 values."""
    return count * FLOAT_BYTES / 2**20


def layer_rows(layers):
    """Format layers and their totals as rows of text; a blob is counted once.

    Parameters
    ----------
    layers : list of Layer

    Returns
    -------
    list of list of str
        The cells of `COLUMNS`. A layer with several outputs has several rows; the last row has the totals.
    """
    rows = []
    for layer in layers:
        cells = [layer.name, layer.type, *(by_x(sizes) for sizes in (layer.kernel, layer.stride, layer.pad))]
        counts = [f"{layer.weight_count:,}", f"{layer.multiply_adds:,}"]
        for shape in list(layer.blobs.values()) or [None]:
            output = AS_INPUT if shape is None else by_x(shape) or "one number"
            rows.append([*cells, output, *counts, f"{mib(0 if shape is None else math.prod(shape)):.2f}"])
            cells, counts = [""] * len(cells), ["", ""]  # of a further output of the same layer
    values = sum(math.prod(shape) for layer in layers for shape in layer.blobs.values())
    return [*rows, ["total", *[""] * (TEXT_COLUMNS - 1), f"{sum(layer.weight_count for layer in layers):,}",
                    f"{sum(layer.multiply_adds for layer in layers):,}", f"{mib(values):.2f}"]]


def to_text(layers):
    """Format layers, a list of Layer, as a table for a terminal."""
    rows = [COLUMNS, *layer_rows(layers)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) if place < TEXT_COLUMNS else cell.rjust(width)
                               for place, (cell, width) in enumerate(zip(row, widths))) for row in rows)
