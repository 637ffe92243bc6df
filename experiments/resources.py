"""Measure memory against batch and image size, and times at the paper's scale (sections 3.1, 4.1, 4.2 and 5.1)."""
import multiprocessing
import time

import numpy as np

from common.files import read_json, write_text
from experiments.deep import DROPOUT, variant_text
from experiments.setup import Table
from models.memory import RESET, status_kilobytes
from shallow.settings import PAPER

BATCHES = {"shallow": (1, 8, 64, 512, 2048), "deep": (1, 2, 4, 8)}
SIZES = ((160, 120), (320, 240), (640, 480), (1280, 960))  # of the deep net's input, one image
TRAINING_IMAGES = {"SALICON": 8000, "iSUN": 4800}  # 80% of the training images (section 3.2)
BATCH, EPOCHS, ITERATIONS = PAPER["batch"], PAPER["epochs"], 24_000
UPDATES, STEPS = 12, 6  # timed trainings: shallow updates, deep iterations


def memory(setup):
    """Measure memory and time of predictions against the number and size of images (sections 4.1, 4.2 and 5.1)."""
    rows = []
    for net, batches in BATCHES.items():
        for count in batches:
            size = "96x96" if net == "shallow" else "320x240"
            rows.append([net, count, size, *_measured(setup, net, count, (320, 240))])
    for size in SIZES:
        rows.append(["deep", 1, f"{size[0]}x{size[1]}", *_measured(setup, "deep", 1, size)])
    return Table("Sections 4.1, 4.2 and 5.1: the design and the image size are limited by memory; the shallow net "
                 "predicts many more images at once.",
                 ["net", "images", "size", "MiB of the process", "seconds per image"], rows,
                 "Largest size of a process that predicts once; the second prediction is timed. Two processor cores.")


def times(setup):
    """Project training times to the paper's scale (sections 3.1 and 4.2)."""
    rows = []
    for name, filters, paper in (("SALICON", 128, "6 to 7 h (GTX 980)"), ("iSUN", 64, "5 to 6 h (GTX 980)")):
        data = setup.data("shallow")
        per_epoch = max(1, read_json(data / "manifest.json", {"train": int})["train"] // BATCH)
        log = setup.train("shallow", f"times-{filters}", data, "--conv3-filters", filters,
                          *setup.shallow_length(data, UPDATES))
        seconds = np.median([row["step_seconds"] for row in log]) / per_epoch
        updates = TRAINING_IMAGES[name] // BATCH * EPOCHS
        rows.append([f"shallow net on {name}", f"{updates:,} updates", float(seconds), updates * seconds / 3600, paper])
    data = setup.data("deep", preset="paper")
    for name, label, paper in (("deep net", "as released", "15 h (GTX Titan)"),
                               ("deep net, dropout", DROPOUT, "longer")):
        path = setup.out / f"times-{label.replace(' ', '-')}.prototxt"
        write_text(path, variant_text(label))
        log = setup.train("deep", path.stem, data, "--preset", "paper", "--iterations", STEPS, "--train-val", path,
                          "--set", f"test_interval={STEPS}")
        seconds = np.median([row["seconds"] for row in log if row["val_cc"] is None])
        rows.append([name, f"{ITERATIONS:,} iterations", float(seconds), ITERATIONS * seconds / 3600, paper])
    return Table("Sections 3.1, 4.1 and 4.2: hours of training; dropout makes it longer.",
                 ["training", "length", "seconds each", "hours, projected", "the paper's"], rows,
                 "Two processor cores, without validation. Projected from a few updates or iterations.")


def _measured(setup, net, count, size):
    """Return the largest size of a process in MiB and the seconds per image, of `count` images predicted at once."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_predict, (net, str(setup.weights[net]), count, size))


def _predict(net, weights, count, size):
    import models

    predictor = models.load(net, weights, **({"longest_side": max(size)} if net == "deep" else {}))
    image = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    batch = np.repeat(predictor.preprocess(image)[None], count, axis=0)
    predictor.forward(batch)
    RESET.write_text("5")  # building the net does not count
    start = time.perf_counter()
    predictor.forward(batch)
    return [status_kilobytes("VmHWM") / 2**10, (time.perf_counter() - start) / count]
