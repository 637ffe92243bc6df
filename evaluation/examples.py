"""Choose the images that figures and report show, by a rule and not by their looks, and write them for the report."""
import csv
import json
import math
from pathlib import Path

import numpy as np

from common.drawing import heat
from common.errors import UserError, show_names
from common.files import atomic
from common.images import resize_to_width, write_jpeg
from data.options import open_dataset

COUNT = 6  # examples
METRIC = "CC"  # the images are ranked by the deep net's CC
RULE = "{count} of {total} test images at evenly spaced ranks of the deep net's CC, from the best to the worst"
LIST = "examples.json"
WIDTH, QUALITY = 640, 80  # pixels and JPEG quality in the report
VIEWS = {"image": "Image", "truth": "Ground truth", "shallow": "Shallow net", "deep": "Deep net"}


def read_metric(path, metric):
    """Read a metric from a .csv of evaluation.score.

    Returns
    -------
    dict of str: float
        By name of the image, in the file's order; NaN where it is undefined.

    Raises
    ------
    UserError
        The file lacks the metric, or is damaged.
    """
    with open(path, newline="", encoding="utf-8") as handle:
        try:
            return {row["name"]: float(row[metric]) for row in csv.DictReader(handle)}
        except (KeyError, ValueError, TypeError, csv.Error) as error:
            raise UserError(f"{path}: has no readable scores of {metric} ({error!r}); score again") from error


def choose_examples(path, count=COUNT):
    """Choose images at evenly spaced ranks of a net's CC, the best and the worst included.

    Parameters
    ----------
    path : path of the .csv of evaluation.score
    count : int
        Number of images; all if there are fewer.

    Returns
    -------
    list of dict
        "name", "score" (CC), "rank" (1 is the best) and "total" (number of ranked images), from the best to the worst.
        Images without a CC are not ranked; equal ones are in the order of their names.

    Raises
    ------
    UserError
        No image has a CC.
    """
    scores = sorted((-score, name) for name, score in read_metric(path, METRIC).items() if not math.isnan(score))
    if not scores:
        raise UserError(f"{path}: has no image with a {METRIC} to choose examples by; score again")
    places = np.linspace(0, len(scores) - 1, min(count, len(scores))).round().astype(int)
    return [{"name": scores[place][1], "score": -scores[place][0], "rank": int(place) + 1, "total": len(scores)}
            for place in places]


def open_examples(examples, dataset, root, predictions, split=None):
    """Read the images and maps of examples.

    Parameters
    ----------
    examples : list of dict, as from `choose_examples`
    dataset, root, split : see `data.dataset.load`; split None: the one that is scored
    predictions : path of a folder with shallow/predictions.h5 and deep/predictions.h5

    Yields
    ------
    (uint8 (H, W, 3) RGB, list of float32 (H, W))
        The image; density map, map of the shallow net, map of the deep net.
    """
    from data.dataset import scored_split
    from data.maps import open_maps

    samples = open_dataset(dataset, split or scored_split(dataset), root)
    maps = [open_maps(Path(predictions) / net / "predictions.h5") for net in ("shallow", "deep")]
    known = set(samples.names)
    for example in examples:
        name = example["name"]
        if name not in known:
            raise UserError(f"{dataset} {samples.split}: has no image '{show_names(name)}', which "
                            "the scores name; score again")
        sample = samples.open(name)
        yield sample.image, [sample.density, *(maps_of_net[sample.name] for maps_of_net in maps)]


def write_examples(examples, opened, path):
    """Write images and maps in colours as JPEG into a folder, with a list of them for the report.

    The page lays the maps over the images: maps alone are smooth, so their files are small.

    Parameters
    ----------
    examples : list of dict, as from `choose_examples`
    opened : iterable, as from `open_examples`
    path : path of the folder to write
    """
    with atomic(path) as folder:
        folder.mkdir()
        for number, (image, maps) in enumerate(opened):
            views = [image, *map(heat, maps)]
            for view, pixels in zip(VIEWS, views):
                write_jpeg(folder / f"{number}-{view}.jpg", resize_to_width(pixels, WIDTH), QUALITY)
        rule = RULE.format(count=len(examples), total=examples[0]["total"])
        (folder / LIST).write_text(json.dumps({"rule": rule, "examples": examples}, indent=2) + "\n", encoding="utf-8")
