"""python -m evaluation.figures: the paper's figures for any data set, from what a run left on disk.

Writes into OUT comparison.png and comparison-maps.png (Figures 1 and 5: image, people, both nets, as heat
over the image and as grey maps), filters-NET.png (Figure 3), curves-NET.png (loss and learning rate while
training) and scatter.png (each image's scores with one net against those with the other). What is not there
yet is named with the command that makes it, and its figure left out. The exit code is 1 if a file is damaged
or nothing could be drawn.
"""
import argparse
import csv
import math
import os
import shlex
import sys
from functools import partial
from pathlib import Path

import numpy as np

from common.drawing import GAP, overlay, stretch, strip
from common.errors import UserError, run
from common.images import write_png
from common.machine import environment

BUILD = Path(__file__).resolve().parents[1] / "build"
COLUMNS = ("Image", "People", "Shallow net", "Deep net")
ROWS = 6
CELL_WIDTH, HEADER = 320, 34  # pixels
FILTER_WIDTH, FILTER_GAP = 60, 4  # pixels, at most and exactly
# two of Okabe and Ito's colours, which colour-blind people tell apart; a net has the same one everywhere
COLOURS = {"shallow": "#D55E00", "deep": "#0072B2"}
GREY = "#666666"
# of both nets, and of the shallow net the two that the paper tried and did not keep
LOSSES = {"deep": "half the squared error, summed over a map", "squared": "squared error, mean over a map",
          "l1": "absolute error, mean over a map", "cross-entropy": "cross-entropy, mean over a map"}
# the learning rate falls evenly in one net, by halves in the other
RATES = {"shallow": ("linear", "default"), "deep": ("log", "steps-post")}
SCATTERED = ("CC", "AUC-shuffled", "AUC-Judd")
DPI = 150


def main():
    """Parse the command line and draw what can be drawn."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.figures", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--dataset", default="synthetic", help="name of the data set (default: %(default)s)")
    parser.add_argument("--data-root", help="where it lies on disk")
    parser.add_argument("--predictions", required=True, help="folder with shallow/ and deep/ of models.predict")
    parser.add_argument("--scores", required=True, help="folder with shallow.csv and deep.csv of evaluation.score")
    parser.add_argument("--runs-shallow", required=True, help="run folder of shallow.train")
    parser.add_argument("--runs-deep", required=True, help="run folder of deep.train")
    parser.add_argument("--filters", required=True, help="folder with shallow.npy and deep.npy of models.summary")
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args()

    drawn = damaged = 0
    for name, inputs, draw in _plan(args):
        path = Path(args.out) / name
        missing = [f"{file} is not there; `{command}` makes it" for file, command in inputs if not file.is_file()]
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
        raise UserError(f"{args.out}: nothing to draw from yet; the commands above make it")
    return 1 if damaged else 0


def _plan(args):
    """Every figure: its name, the files it needs, each with the command that makes it, and what draws it."""
    data = ["--dataset", args.dataset, *(["--data-root", args.data_root] if args.data_root else [])]
    make = [f"DATASET={args.dataset}", *([f"DATA_ROOT={args.data_root}"] if args.data_root else [])]
    runs = {"shallow": Path(args.runs_shallow), "deep": Path(args.runs_deep)}
    logs, maps, scores, kernels = {}, {}, {}, {}
    for net, weights in (("shallow", runs["shallow"] / "weights.npz"), ("deep", runs["deep"] / "weights.caffemodel")):
        folder, score, kernel = (Path(where) / net for where in (args.predictions, args.scores, args.filters))
        use = ["--net", net, "--weights", weights]
        logs[net] = runs[net] / "log.csv", shlex.join(["make", f"train-{net}", *make])
        maps[net] = folder / "predictions.h5", _module("models.predict", *use, *data, "--out", folder)
        scores[net] = Path(f"{score}.csv"), _module("evaluation.score", "--predictions", maps[net][0], *data,
                                                    "--out", score)
        kernels[net] = Path(f"{kernel}.npy"), _module("models.summary", *use, "--out", kernel)

    compare = partial(comparison, args.dataset, args.data_root, args.predictions)
    yield "comparison.png", maps.values(), compare
    yield "comparison-maps.png", maps.values(), partial(compare, style="map")
    for net in COLOURS:
        yield f"filters-{net}.png", [kernels[net]], partial(_draw_filters, kernels[net][0], net)
    for net in COLOURS:
        yield f"curves-{net}.png", [logs[net]], partial(curves, runs[net], net=net)
    yield "scatter.png", scores.values(), partial(scatter, scores["shallow"][0], scores["deep"][0])


def _module(name, *arguments):
    return shlex.join(["python", "-m", name, *map(str, arguments)])


def _draw_filters(file, net, path):
    filters(read_filters(file), path, f"{net.capitalize()} net, filters of the first layer")


def comparison(dataset, root, predictions, path, rows=ROWS, style="overlay"):
    """Draw test images in rows: image, people, shallow net, deep net.

    Parameters
    ----------
    dataset, root : see `data.dataset.load`
    predictions : path of a folder with shallow/predictions.h5 and deep/predictions.h5
    path : path of the PNG to write
    rows : int
        Images, spread evenly over the split that is scored.
    style : "overlay" or "map"
        The maps laid over the image as heat, or in grey as the paper prints them.
    """
    from data.dataset import load, scored_split
    from data.maps import Maps

    draw = {"overlay": overlay, "map": grey_map}[style]
    samples = load(dataset, scored_split(dataset), root)
    maps = [Maps(Path(predictions) / net / "predictions.h5") for net in COLOURS]
    chosen = np.linspace(0, len(samples) - 1, min(rows, len(samples))).round().astype(int)
    strips = [_header(COLUMNS, CELL_WIDTH)]
    for index in chosen:
        sample = samples[index]
        cells = [sample.image, *(draw(sample.image, saliency) for saliency in
                                 (sample.density, *(source[sample.name] for source in maps)))]
        strips.append(strip(cells, CELL_WIDTH))
    write_png(path, np.concatenate(strips), small=True)


def grey_map(_image, saliency):
    """A map alone, black where little, white where most; takes and gives what `overlay` does."""
    return np.repeat(stretch(saliency)[:, :, None], 3, axis=2)


def filters(array, path, title):
    """Draw filters in a grid, each scaled to its own range, every value a square of pixels.

    Parameters
    ----------
    array : float (filters, rows, columns, 3), RGB
    path : path of the PNG to write
    title : str
    """
    count, rows, columns, _ = array.shape
    factor = max(1, FILTER_WIDTH // max(rows, columns))
    across = next(n for n in range(math.ceil(math.sqrt(count)), count + 1) if count % n == 0)  # no row half empty
    pitch = np.array([rows, columns]) * factor + FILTER_GAP
    sheet = np.full((*(pitch * (count // across, across) - FILTER_GAP), 3), 255, np.uint8)
    for index, values in enumerate(array):
        top, left = pitch * divmod(index, across)
        sheet[top:top + rows * factor, left:left + columns * factor] = np.kron(
            stretch(values), np.ones((factor, factor, 1), np.uint8))
    write_png(path, np.concatenate([_header([title], sheet.shape[1]), sheet]), small=True)


def read_filters(path):
    """The filters that models.summary wrote, float (filters, rows, columns, 3); UserError if they are damaged."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: damaged, or not an .npy of filters ({error}); "
                        "write it again with python -m models.summary") from error
    if array.ndim != 4 or array.shape[-1] != 3 or not array.size:
        raise UserError(f"{path}: holds an array {array.shape}, not (filters, rows, columns, 3); "
                        "write it again with python -m models.summary")
    return array


def curves(run_folder, path, net):
    """Draw how a training went: loss in training and validation, and the learning rate.

    Parameters
    ----------
    run_folder : path
        Of a run of either net; its log.csv is read.
    path : path of the PNG to write
    net : "shallow" or "deep"

    Raises
    ------
    UserError
        Nothing has been logged yet.
    """
    from common.files import read_json
    from common.runs import read_log

    rows, config = read_log(Path(run_folder) / "log.csv"), Path(run_folder) / "config.json"
    settings = read_json(config).get("settings", {}) if config.is_file() else {}
    loss = net if net == "deep" else settings.get("loss", "squared")
    if not rows or not {"lr", "loss", "val_loss"} <= set(rows[0]):
        raise UserError(f"{Path(run_folder) / 'log.csv'}: no training has been logged in it; make train-{net}")
    step = next(iter(rows[0]))  # epoch or iteration
    figure = _figure(8, 4.5)
    axes = figure.add_subplot()
    _draw_losses(axes, step, rows, COLOURS[net])
    axes.set(title=f"{net.capitalize()} net, training", xlabel=step, ylabel=f"loss ({LOSSES[loss]})")
    rate_axes = axes.twinx()
    scale, drawstyle = RATES[net]
    rate_axes.plot(*_column(rows, step, "lr"), color=GREY, linewidth=0.8, linestyle="--", drawstyle=drawstyle,
                   label="learning rate")
    rate_axes.set_yscale(scale)
    rate_axes.set_ylabel("learning rate", color=GREY)
    rate_axes.tick_params(axis="y", which="both", colors=GREY, labelsize="small")
    lines = [line for side in (axes, rate_axes) for line in side.get_lines()]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)
    _save(figure, path)


def _draw_losses(axes, step, rows, colour):
    """Training and validation loss; in long logs the training's moving mean too, since a batch's loss jumps."""
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
    """Steps and values of a column of a log, where it has any."""
    return np.array([(row[step], row[name]) for row in rows if row[name] is not None]).reshape(-1, 2).T


def scatter(first_csv, second_csv, path, measures=SCATTERED):
    """Draw each image as a point: its score with the shallow net against that with the deep net.

    Parameters
    ----------
    first_csv, second_csv : path
        Of the shallow and of the deep net, as evaluation.score writes them.
    path : path of the PNG to write
    measures : sequence of str
        A panel each.

    Raises
    ------
    UserError
        A file lacks a measure, or the two have no image in common.
    """
    figure = _figure(3.7 * len(measures), 4.2)
    for axes, measure in zip(np.atleast_1d(figure.subplots(1, len(measures))), measures):
        shallow, deep = paired_scores(first_csv, second_csv, measure)
        for net, better in (("shallow", shallow > deep), ("deep", deep > shallow), (None, deep == shallow)):
            axes.scatter(shallow[better], deep[better], s=14, alpha=0.7, linewidths=0, color=COLOURS.get(net, GREY))
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, zorder=0)
        both = np.concatenate([shallow, deep, [0.5] * (not len(deep))])
        margin = 0.05 * np.ptp(both) or 0.05
        limits = both.min() - margin, both.max() + margin
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set_title(f"{measure}\n{share_better(shallow, deep)}", fontsize="medium")
        axes.set_xlabel("shallow net", color=COLOURS["shallow"])
        axes.set_ylabel("deep net", color=COLOURS["deep"])
        axes.locator_params(nbins=5)
    _save(figure, path)


def paired_scores(first_csv, second_csv, measure):
    """Scores of the images that both files have, in the first one's order; undefined ones left out.

    Returns
    -------
    (float (N,), float (N,))
    """
    first, second = (_read_scores(path, measure) for path in (first_csv, second_csv))
    names = [name for name in first if name in second]
    if not names:
        raise UserError(f"{first_csv}, {second_csv}: no image in common; score both nets on the same data set")
    pairs = np.array([(first[name], second[name]) for name in names])
    return tuple(pairs[~np.isnan(pairs).any(axis=1)].T)


def share_better(shallow, deep):
    """On what share of the images the deep net is better, in words; equal scores are not better."""
    if not len(deep):
        return "undefined on every image"
    return f"deep net better on {np.mean(deep > shallow):.0%} of {len(deep)} images"


def _read_scores(path, measure):
    with open(path, newline="", encoding="utf-8") as handle:
        try:
            return {row["name"]: float(row[measure]) for row in csv.DictReader(handle)}
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path}: no scores of {measure} to be read in it ({error!r}); score again") from error


def _header(titles, width):
    """A white strip with a title over each column of this width."""
    import cv2

    strip = np.full((HEADER, len(titles) * (width + GAP) - GAP, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        cv2.putText(strip, title, (column * (width + GAP), HEADER - 11), cv2.FONT_HERSHEY_SIMPLEX, 0.7,
                    (30, 30, 30), 1, cv2.LINE_AA)
    return strip


def _figure(width, height):
    """An empty matplotlib figure, inches, that is nobody's current figure."""
    # matplotlib writes its list of fonts there
    with environment(MPLCONFIGDIR=os.environ.get("MPLCONFIGDIR", str(BUILD / "matplotlib"))):
        from matplotlib.figure import Figure

    return Figure((width, height), dpi=DPI, layout="constrained")


def _save(figure, path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from common.files import atomic

    with atomic(path) as scratch:
        FigureCanvasAgg(figure).print_png(scratch)


if __name__ == "__main__":
    run(main)
