"""python -m evaluation.figures: draw the paper's figures for any data set from the files of a run.

Writes to OUT: comparison.png and comparison-maps.png (Figures 1 and 5: image, ground truth and the maps of both nets,
as heat over the image and as grey maps; six test images at evenly spaced ranks of the deep net's CC, from the best to
the worst), examples/ (the same images and maps as single files, for the report), architecture-NET.svg and .png (Figures
2 and 4), filters-NET.png (Figure 3), curves-NET.png (loss and learning rate during training) and scatter.png (scores
per image, one net against the other). A figure is left out if a file that it needs is missing; the command that makes
the file is printed. The exit code is 1 if a file is damaged or no figure could be drawn.
"""
import math
import shlex
import sys
from functools import partial
from pathlib import Path

import numpy as np

from common.arguments import Parser
from common.arrays import read_npy
from common.drawing import overlay, stretch, strip, title_strip
from common.errors import UserError, run
from common.images import write_png
from data.options import add_dataset_arguments, add_training_arguments
from evaluation import architecture
from evaluation.canvas import new_figure, save
from evaluation.examples import choose_examples, open_examples, read_metric, write_examples

COLUMNS = ("Image", "Ground truth", "Shallow net", "Deep net")
CELL_WIDTH = 320  # pixels
FILTER_WIDTH, FILTER_GAP = 60, 4  # pixels; the width is an upper limit
# two of Okabe and Ito's colours, which colour-blind readers can distinguish; a net has the same colour in all figures
COLOURS = {"shallow": "#D55E00", "deep": "#0072B2"}
GREY = "#666666"
# losses of both nets, and the two that the paper tried for the shallow net and did not use
LOSSES = {"deep": "half the squared error, summed over a map", "squared": "squared error, mean over a map",
          "l1": "absolute error, mean over a map", "cross-entropy": "cross-entropy, mean over a map"}
# scale and line style of the learning rate: it falls linearly in the shallow net, by halves in the deep net
RATES = {"shallow": ("linear", "default"), "deep": ("log", "steps-post")}
SCATTERED = ("CC", "AUC-shuffled", "AUC-Judd")


def main():
    """Parse the command line and draw all figures for which files exist."""
    parser = Parser("evaluation.figures", __doc__)
    add_dataset_arguments(parser, default="synthetic")
    add_training_arguments(parser)
    parser.add_argument("--split", help="split that was predicted (default: the one that is scored)")
    for name, contents in (("--predictions", "folder with shallow/ and deep/ of models.predict"),
                           ("--scores", "folder with shallow.csv and deep.csv of evaluation.score"),
                           ("--runs-shallow", "run folder of shallow.train"),
                           ("--runs-deep", "run folder of deep.train"),
                           ("--filters", "folder with shallow.json, shallow.npy, ... of models.summary"),
                           ("--out", "folder to write to")):
        parser.add_argument(name, metavar="FOLDER", required=True, help=contents)
    args = parser.parse_args()

    drawn = damaged = 0
    for name, inputs, draw in _plan(args):
        path = Path(args.out) / name
        missing = [f"{file} is missing; `{command}` makes it" for file, command in inputs if not file.is_file()]
        if missing:
            print("\n    ".join([f"{path} left out:", *missing]), file=sys.stderr)
            continue
        try:
            draw(path)
        except UserError as error:
            print(f"{path} left out: {error}", file=sys.stderr)
            damaged += 1
            continue
        print(path)
        drawn += 1
    if not drawn and not damaged:
        raise UserError(f"{args.out}: no files to draw from; run the commands above")
    return 1 if damaged else 0


def _plan(args):
    """List the figures.

    Yields
    ------
    (str, list of (path, str), callable (path))
        File name of the figure; files that it needs, with the commands that make them; function that draws it.
    """
    data = ["--dataset", args.dataset, *(["--data-root", args.data_root] if args.data_root else []),
            *(["--split", args.split] if args.split else [])]
    train, train_root = args.train or args.dataset, args.train_root or args.data_root
    make = [f"DATASET={train}", *([f"DATA_ROOT={train_root}"] if train_root else [])]
    runs = {"shallow": Path(args.runs_shallow), "deep": Path(args.runs_deep)}
    logs, maps, scores, summaries = {}, {}, {}, {}
    for net, weights in (("shallow", runs["shallow"] / "weights.npz"), ("deep", runs["deep"] / "weights.caffemodel")):
        folder, score, summary = (Path(parent) / net for parent in (args.predictions, args.scores, args.filters))
        model = ["--net", net, "--weights", weights]
        logs[net] = runs[net] / "log.csv", shlex.join(["make", f"train-{net}", *make])
        maps[net] = folder / "predictions.h5", _module("models.predict", *model, *data, "--out", folder)
        scores[net] = Path(f"{score}.csv"), _module("evaluation.score", "--predictions", maps[net][0], *data,
                                                    "--out", score)
        summaries[net] = [(Path(f"{summary}{suffix}"), _module("models.summary", *model, "--out", summary))
                          for suffix in (".json", ".npy")]

    def with_examples(draw, path):
        examples = choose_examples(scores["deep"][0])
        draw(examples, open_examples(examples, args.dataset, args.data_root, args.predictions, args.split), path)

    needed = [*maps.values(), scores["deep"]]
    yield "comparison.png", needed, partial(with_examples, lambda _, opened, path: comparison(opened, path))
    yield "comparison-maps.png", needed, partial(with_examples, lambda _, opened, path: comparison(opened, path, "map"))
    yield "examples", needed, partial(with_examples, write_examples)
    for net in COLOURS:
        for suffix in (".svg", ".png"):
            yield (f"architecture-{net}{suffix}", summaries[net][:1],
                   partial(_draw_layers, summaries[net][0][0], net))
    for net in COLOURS:
        yield f"filters-{net}.png", summaries[net][1:], partial(_draw_filters, summaries[net][1][0], net)
    for net in COLOURS:
        yield f"curves-{net}.png", [logs[net]], partial(curves, runs[net], net=net)
    yield "scatter.png", scores.values(), partial(scatter, scores["shallow"][0], scores["deep"][0])


def _module(name, *arguments):
    return shlex.join(["python", "-m", name, *map(str, arguments)])


def _draw_layers(file, net, path):
    layers = architecture.read_layers(file)
    count = sum(layer.weight_count for layer in layers)
    title = f"Figure {architecture.FIGURE_NUMBERS[net]}: {net} net, {count:,} weights"
    save(architecture.draw_architecture(layers, title), path)


def _draw_filters(file, net, path):
    filters(read_filters(file), path, f"{net.capitalize()} net, filters of the first layer")


def comparison(opened, path, style="overlay"):
    """Draw images in rows: image, ground truth, shallow net, deep net.

    Parameters
    ----------
    opened : iterable, as from `evaluation.examples.open_examples`
    path : path of the PNG to write
    style : "overlay" or "map"
        Maps as heat over the image, or as grey maps as the paper prints them.
    """
    draw = {"overlay": overlay, "map": grey_map}[style]
    strips = [title_strip(COLUMNS, CELL_WIDTH)]
    for image, maps in opened:
        strips.append(strip([image, *(draw(image, saliency) for saliency in maps)], CELL_WIDTH))
    write_png(path, np.concatenate(strips), small=True)


def grey_map(_image, saliency):
    """Render a map alone, from black (lowest) to white (highest); parameters and result as for `overlay`."""
    return np.repeat(stretch(saliency)[:, :, None], 3, axis=2)


def filters(array, path, title):
    """Draw filters in a grid. Each filter is scaled to its own range; each value becomes a square of pixels.

    Parameters
    ----------
    array : float (filters, rows, columns, 3), RGB
    path : path of the PNG to write
    title : str
    """
    count, rows, columns, _ = array.shape
    factor = max(1, FILTER_WIDTH // max(rows, columns))
    across = next(n for n in range(math.ceil(math.sqrt(count)), count + 1) if count % n == 0)  # all rows are full
    pitch = np.array([rows, columns]) * factor + FILTER_GAP
    sheet = np.full((*(pitch * (count // across, across) - FILTER_GAP), 3), 255, np.uint8)
    for index, values in enumerate(array):
        top, left = pitch * divmod(index, across)
        sheet[top:top + rows * factor, left:left + columns * factor] = np.kron(
            stretch(values), np.ones((factor, factor, 1), np.uint8))
    write_png(path, np.concatenate([title_strip([title], sheet.shape[1]), sheet]), small=True)


def read_filters(path):
    """Read the filters that models.summary wrote.

    Returns
    -------
    float (filters, rows, columns, 3), RGB

    Raises
    ------
    UserError
        The file is damaged, or its array has another shape.
    """
    array = read_npy(path, "write it again with python -m models.summary")
    if array.dtype.kind != "f" or array.ndim != 4 or array.shape[-1] != 3 or not array.size:
        raise UserError(f"{path}: holds an array {array.shape}, not (filters, rows, columns, 3); "
                        "write it again with python -m models.summary")
    return array


def curves(run_folder, path, net):
    """Draw the training curves of a run: loss of training and validation, and learning rate.

    Parameters
    ----------
    run_folder : path
        Run folder of either net; its log.csv is read.
    path : path of the PNG to write
    net : "shallow" or "deep"

    Raises
    ------
    UserError
        The log is empty.
    """
    from common.files import read_json
    from common.runs import read_log

    log, remedy = Path(run_folder) / "log.csv", f"run make train-{net}"
    rows = read_log(log, ("lr", "loss", "val_loss"), remedy)
    config = Path(run_folder) / "config.json"
    content = {"settings?": {"loss?": str}}
    settings = read_json(config, content).get("settings", {}) if config.is_file() else {}
    loss = net if net == "deep" else settings.get("loss", "squared")
    if not rows:
        raise UserError(f"{log}: contains no training; {remedy}")
    step = next(iter(rows[0]))  # epoch or iteration
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot()
    _draw_losses(axes, step, rows, COLOURS[net])
    axes.set(title=f"{net.capitalize()} net, training", xlabel=step, ylabel=f"loss ({LOSSES.get(loss, loss)})")
    rate_axes = axes.twinx()
    scale, drawstyle = RATES[net]
    rate_axes.plot(*_column(rows, step, "lr"), color=GREY, linewidth=0.8, linestyle="--", drawstyle=drawstyle,
                   label="learning rate")
    rate_axes.set_yscale(scale)
    rate_axes.set_ylabel("learning rate", color=GREY)
    rate_axes.tick_params(axis="y", which="both", colors=GREY, labelsize="small")
    lines = [line for side in (axes, rate_axes) for line in side.get_lines()]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)
    save(figure, path)


def _draw_losses(axes, step, rows, colour):
    """Draw training and validation loss; in long logs also the moving mean, since the loss varies between batches."""
    steps, losses = _column(rows, step, "loss")
    window = max(5, len(losses) // 100)
    long = len(losses) >= 20 * window
    axes.plot(steps, losses, color=colour, alpha=0.35 if long else 1, linewidth=0.8 if long else 1.8, label="training")
    if long:
        smooth = np.convolve(losses, np.full(window, 1 / window), mode="valid")
        axes.plot(steps[window // 2:][:len(smooth)], smooth, color=colour, linewidth=1.8,
                  label=f"training, mean of {window} {step}s")
    validated, errors = _column(rows, step, "val_loss")
    axes.plot(validated, errors, color="black", marker="o" if len(errors) <= 20 else "", markersize=4, linewidth=1,
              label="validation")
    shown = np.concatenate([losses, errors])
    if 0 < 10 * shown.min() < shown.max():
        axes.set_yscale("log")
    axes.grid(color="0.9")


def _column(rows, step, name):
    """Return the steps that have a value in a column of a log, and the values."""
    return np.array([(row[step], row[name]) for row in rows if row[name] is not None]).reshape(-1, 2).T


def scatter(shallow_csv, deep_csv, path, metrics=SCATTERED):
    """Draw a point per image: score of the shallow net against score of the deep net.

    Parameters
    ----------
    shallow_csv, deep_csv : path
        Files of evaluation.score.
    path : path of the PNG to write
    metrics : sequence of str
        One panel per metric.

    Raises
    ------
    UserError
        A file lacks a metric, or the files have no image in common.
    """
    figure = new_figure(3.7 * len(metrics), 4.2)
    for axes, metric in zip(np.atleast_1d(figure.subplots(1, len(metrics))), metrics):
        shallow, deep = paired_scores(shallow_csv, deep_csv, metric)
        for net, better in (("shallow", shallow > deep), ("deep", deep > shallow), (None, deep == shallow)):
            axes.scatter(shallow[better], deep[better], s=14, alpha=0.7, linewidths=0, color=COLOURS.get(net, GREY))
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, zorder=0)
        scores = np.concatenate([shallow, deep, [0.5] * (not len(deep))])
        margin = 0.05 * np.ptp(scores) or 0.05
        limits = scores.min() - margin, scores.max() + margin
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set_title(f"{metric}\n{fraction_better(shallow, deep)}", fontsize="medium")
        axes.set_xlabel("shallow net", color=COLOURS["shallow"])
        axes.set_ylabel("deep net", color=COLOURS["deep"])
        axes.locator_params(nbins=5)
    save(figure, path)


def paired_scores(first_csv, second_csv, metric):
    """Read the scores of the images that both files have, in the first file's order, without undefined scores.

    Returns
    -------
    (float (N,), float (N,))

    Raises
    ------
    UserError
        A file lacks the metric, or the files have no image in common.
    """
    first, second = (read_metric(path, metric) for path in (first_csv, second_csv))
    names = [name for name in first if name in second]
    if not names:
        raise UserError(f"{first_csv}, {second_csv}: no image in common; score both nets on the same data set")
    pairs = np.array([(first[name], second[name]) for name in names])
    return tuple(pairs[~np.isnan(pairs).any(axis=1)].T)


def fraction_better(shallow, deep):
    """State the fraction of images on which the deep net is better, as text; equal scores do not count."""
    if not len(deep):
        return "undefined on every image"
    return f"deep net better on {np.mean(deep > shallow):.0%} of {len(deep)} images"


if __name__ == "__main__":
    run(main)
