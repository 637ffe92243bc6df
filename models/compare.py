"""python -m models.compare: show what both nets and the classical models predict for your own images, side by side.

Writes OUT/NAME_models.png for each image: the image, and the maps of the shallow net, the deep net, BMS, GBVS and Itti
as heat over it. Without --weights, each net has its fetched weights (build/models), otherwise those of the newest run
in build/runs; a net without weights is left out. Images wider than 1024 pixels are reduced first, so that a sheet takes
seconds. An image that cannot be read is reported and left out, and the exit code is 1.
"""
import importlib.util
import sys
from pathlib import Path

import numpy as np

from common.arguments import Parser
from common.drawing import overlay, strip, title_strip
from common.errors import UserError, run
from common.images import resize_to_width, write_png
from common.progress import progress
from models import NETS, load
from models.cards import model_names, read_card
from models.fetch import STORE
from models.predict import Failure, find_sources

RUNS = Path("build/runs")
SUFFIXES = {"shallow": ".npz", "deep": ".caffemodel"}
REMEDIES = {net: f"make train-{net} makes some, or give --weights file{suffix}" for net, suffix in SUFFIXES.items()}
WIDTH = 1024  # pixels of an image that is predicted, at most
CELL_WIDTH, PER_ROW = 440, 3  # pixels and images in a row of the sheet


def main():
    """Parse the command line, predict and write the sheets."""
    parser = Parser("models.compare", __doc__)
    parser.add_argument("--images", nargs="+", metavar="PATH", required=True,
                        help="image files, folders of images, or patterns such as 'a/*.jpg'")
    parser.add_argument("--weights", nargs="+", metavar="FILE", default=[],
                        help="weights of the shallow net (.npz), of the deep net (.caffemodel), or of both")
    parser.add_argument("--out", default="build/try", help="folder to write to (default: %(default)s)")
    args = parser.parse_args()

    out = Path(args.out)
    samples, videos = find_sources(args.images, out)
    if videos:
        raise UserError(f"{videos[0][1]}: is a video; python -m models.predict draws heat maps over videos")
    models = open_models(args.weights)
    failures = []
    for sample in progress(samples, description="comparing"):
        try:
            image = sample.image
        except UserError as error:
            failures.append(Failure(sample.name, error))
            failures[-1].report()
            continue
        path = out / f"{sample.name}_models.png"
        write_png(path, draw_sheet(resize_to_width(image, WIDTH), models))
        print(path)
    return 1 if failures else 0


def open_models(weights):
    """Open both nets and the classical models.

    Parameters
    ----------
    weights : list of path
        Files for the nets, distinguished by suffix; a net without one uses the weights that `find_weights` finds.

    Returns
    -------
    dict of str: callable (uint8 (H, W, 3) RGB) -> float32 (H, W)
        By title. A net without weights is left out; this is printed.

    Raises
    ------
    UserError
        A file has another suffix, or cannot be opened.
    """
    from evaluation.baselines import LABELS, MODELS

    given = {}
    for path in map(Path, weights):
        nets = [net for net, suffix in SUFFIXES.items() if path.suffix == suffix]
        if not nets:
            raise UserError(f"{path}: must end in .npz (shallow net) or .caffemodel (deep net)")
        if nets[0] in given:
            raise UserError(f"{path}: is a second file for the {nets[0]} net, after {given[nets[0]]}; give one")
        given[nets[0]] = path
    models = {}
    for net in NETS:
        path = given.get(net) or find_weights(net)
        if path is None:
            print(f"{net} net left out: no weights in {STORE} and {RUNS}; {REMEDIES[net]}", file=sys.stderr)
            continue
        # OpenCV runs the deep net where Caffe is not built
        options = {"engine": "opencv"} if net == "deep" and importlib.util.find_spec("caffe") is None else {}
        models[f"{net.capitalize()} net"] = load(net, path, **options).predict
        print(f"{net} net: {path}")
    return models | {LABELS[name]: MODELS[name] for name in ("bms", "gbvs", "itti")}


def find_weights(net):
    """Find weights of a net: fetched ones, otherwise those of the newest run; a Path, or None."""
    for name in model_names():
        card = read_card(name)
        if card["net"] == net and "urls" in card:
            for path in (STORE / name / card["file"], STORE / name / "weights.npz"):
                if path.suffix == SUFFIXES[net] and path.is_file():
                    return path
    return max(RUNS.glob(f"*/weights{SUFFIXES[net]}"), key=lambda path: path.stat().st_mtime, default=None)


def draw_sheet(image, models):
    """Draw an image and the maps of models over it, with titles.

    Parameters
    ----------
    image : uint8 (H, W, 3), RGB
    models : dict, as from `open_models`

    Returns
    -------
    uint8 (h, w, 3), RGB
    """
    cells = {"Image": image} | {title: overlay(image, predict(image)) for title, predict in models.items()}
    titles, images = list(cells), list(cells.values())
    blank = np.full_like(image, 255)
    rows = []
    for start in range(0, len(cells), PER_ROW):
        missing = PER_ROW - len(titles[start:start + PER_ROW])
        rows += [title_strip(titles[start:start + PER_ROW] + [""] * missing, CELL_WIDTH),
                 strip(images[start:start + PER_ROW] + [blank] * missing, CELL_WIDTH)]
    return np.concatenate(rows)


if __name__ == "__main__":
    run(main)
