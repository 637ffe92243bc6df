"""Draw the layers of a net as Figures 2 and 4 do, from the lists that models.summary takes from the real graphs."""
import math

from common.errors import UserError, show_names
from common.files import read_json
from common.layers import LAYER, by_x, check_layers, to_layers
from evaluation.canvas import new_figure

FIGURE_NUMBERS = {"shallow": 2, "deep": 4}  # of the paper's drawings of the nets
PER_ROW = 7  # maximum number of boxes in a row
COLUMN, ROW, LARGEST = 1.5, 2.25, 1.0  # inches: width of a box with its text, height of a row, the largest map
LINE = 0.155  # inches between lines of text
BAR = 0.13  # inches, width of a vector
DEPTH = 0.028  # inches per doubling of the number of channels
FONT = 8  # points
# Caffe's and Lasagne's types of layers -> kind, with a colour; four of Okabe and Ito's and two of Tol's
KINDS = {"Convolution": "convolution", "Conv2DLayer": "convolution", "Pooling": "max pooling",
         "MaxPool2x2": "max pooling", "MaxPool3x3": "max pooling", "LRN": "normalisation", "DenseLayer": "dense",
         "InnerProduct": "dense", "FeaturePoolLayer": "maxout", "Deconvolution": "deconvolution"}
OTHER = "input, parts and output"
COLOURS = {"convolution": "#56B4E9", "max pooling": "#E69F00", "normalisation": "#CC79A7", "dense": "#44AA77",
           "maxout": "#DDCC55", "deconvolution": "#EE7755", OTHER: "#C8C8C8"}
REMEDY = "write it again with python -m models.summary"


def read_layers(path):
    """Read the list of layers in a file of models.summary.

    Parameters
    ----------
    path : path of a .json

    Returns
    -------
    list of Layer

    Raises
    ------
    UserError
        The file is missing or damaged, or has no list of layers.
    """
    descriptions = read_json(path, {"layers": [LAYER]})["layers"]
    check_layers(descriptions, path)
    layers = to_layers(descriptions)
    if not any(layer.blobs for layer in layers):
        raise UserError(f"{path}: its layers have no output; {REMEDY}")
    return layers


def draw_architecture(layers, title):
    """Draw a net: a box per output, with the layer's name, type, output, kernel and number of weights.

    Faces of the boxes grow with the square root of rows and columns, depths with the logarithm of the number of
    channels. A layer without an output of its own, such as a ReLU, is named at the box that it changes.

    Parameters
    ----------
    layers : list of Layer
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.lines import Line2D

    groups = group_layers(layers)
    rows = math.ceil(len(groups) / PER_ROW)
    per_row = math.ceil(len(groups) / rows)
    width, height = COLUMN * max(per_row, 5), ROW * rows + 0.75  # the legend needs five columns
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    axes.text(0.15, height - 0.25, title, fontsize=FONT + 3, va="center")
    shapes = [shape for layer in layers for shape in layer.blobs.values()]
    largest = max([max(shape[-2:]) for shape in shapes if _is_map(shape)], default=1)
    longest = max([math.prod(shape[1:]) for shape in shapes if not _is_map(shape)], default=1)
    for index, group in enumerate(groups):
        row, column = divmod(index, per_row)
        centre, base = (column + 0.5) * COLUMN, height - 0.5 - row * ROW - LARGEST - 0.15
        half = _draw_group(axes, group, centre, base, largest, longest)
        _write(axes, group, centre, base - 0.12)
        if index:
            axes.annotate("", (centre - half - 0.05, base + 0.25), (centre - half - 0.25, base + 0.25),
                          arrowprops={"arrowstyle": "->", "color": "0.35", "linewidth": 1})
    kinds = dict.fromkeys(_kind(group[0]) for group in groups)
    axes.legend(handles=[Line2D([], [], marker="s", linestyle="", markersize=8, color=COLOURS[kind], label=kind)
                         for kind in kinds], loc="lower center", ncols=len(kinds), frameon=False, fontsize=FONT + 1,
                handletextpad=0.2)
    return figure


def group_layers(layers):
    """Group the layers by box: layers without an output and slices of the same blob share one.

    Returns
    -------
    list of list of Layer
    """
    groups = []
    for layer in layers:
        if groups and (not layer.blobs or layer.type == groups[-1][0].type == "slice"):
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return groups


def describe(group):
    """Return the lines of text of a box: names, type, output, kernel, number of weights."""
    layer, shapes = group[0], [shape for member in group for shape in member.blobs.values()]
    lines = [", ".join(show_names(member.name) for member in group), show_names(layer.type)]
    lines += [by_x(shape[1:] or [1], " × ") for shape in shapes]
    if layer.kernel:
        stride, pad = (sizes[0] if len(set(sizes)) == 1 else by_x(sizes, " × ") for sizes in (layer.stride, layer.pad))
        lines.append(f"{by_x(layer.kernel, ' × ')}, stride {stride}" + (f", pad {pad}" if pad else ""))
    count = sum(member.weight_count for member in group)
    return [*lines, *([f"{count:,} weights"] if count else [])]


def _is_map(shape):
    return len(shape) > 2


def _kind(layer):
    return KINDS.get(layer.type, OTHER)


def _draw_group(axes, group, centre, base, largest, longest):
    """Draw the boxes of a group side by side; return half their width in inches."""
    sizes = []
    for shape in (shape for layer in group for shape in layer.blobs.values()):
        if _is_map(shape):
            rows, columns = (LARGEST * 0.8 * math.sqrt(side / largest) for side in shape[-2:])
            sizes.append((columns, rows, DEPTH * math.log2(2 * shape[1] if len(shape) > 3 else 1)))
        else:
            sizes.append((BAR, LARGEST * math.sqrt(math.prod(shape[1:]) / longest), 0))
    total = sum(columns + depth for columns, _, depth in sizes) + 0.12 * (len(sizes) - 1)
    left = centre - total / 2
    for columns, rows, depth in sizes:
        _draw_box(axes, left, base, columns, rows, depth, COLOURS[_kind(group[0])])
        left += columns + depth + 0.12
    return total / 2


def _draw_box(axes, left, base, columns, rows, depth, colour):
    """Draw a box in oblique projection: front, top and side; all in inches."""
    from matplotlib.patches import Polygon

    right, top = left + columns, base + rows
    faces = [([(left, base), (right, base), (right, top), (left, top)], 1.0)]
    if depth:
        faces += [([(left, top), (right, top), (right + depth, top + depth), (left + depth, top + depth)], 0.6),
                  ([(right, base), (right + depth, base + depth), (right + depth, top + depth), (right, top)], 0.8)]
    for corners, alpha in faces:
        axes.add_patch(Polygon(corners, facecolor=colour, alpha=alpha, edgecolor="none"))
        axes.add_patch(Polygon(corners, fill=False, edgecolor="0.25", linewidth=0.6, joinstyle="round"))


def _write(axes, group, centre, top):
    """Write the text of a group, centred below its box."""
    for number, line in enumerate(describe(group)):
        axes.text(centre, top - number * LINE, line, ha="center", va="center", fontsize=FONT, parse_math=False,
                  weight="bold" if number == 0 else "normal", color="0.45" if number == 1 else "0.1")
