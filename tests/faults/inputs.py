"""Damaged inputs for every reader: each is read, or is an error of one line; no traceback, crash or hang.

A damaged file is a whole one after a few random changes; the reader's name, the seed and a number determine it. A child
process reads them, so that a crash or a hang counts as a failure instead of ending the campaign.
"""
import base64
import faulthandler
import gzip
import json
import os
import random
import resource
import signal
import struct
import sys
import time
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from common.errors import UserError

SHAPE = (48, 64)
SECONDS = 60  # for one input; limits of the readers themselves are lower
MEMORY = 24 << 30  # bytes of address space
BATCH = 200  # inputs per child process
EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]
TOKENS = [b"", b"-1", b"0", b"1e999", b"nan", b"9" * 30, b"9" * 5000, b"null", b"true", b"[]", b"{}", b"\"", b"'", b"[" * 3000,
          b"{\"a\":" * 3000, b"\\ud800", b"\xff\xfe", b"\0", b"\n", b",", b"\xef\xbb\xbf", b"../../x", b"x" * 200_000]


# ---- Whole files ------------------------------------------------------------------------------------------------------

def write_originals(folder):
    """Write a whole file for each reader into a folder."""
    import h5py
    import scipy.io
    from PIL import Image

    from common.files import write_json
    from data.maps import write_maps
    from deep.weights import write_caffemodel, write_solverstate
    from shallow import weights
    from tests.data.test_folder import write_mat_73
    from tests.evaluation.test_figures import LAYERS
    from tests.evaluation.test_tables import NETS
    from tests.fixtures.lsun import struct as matlab_struct

    rng = np.random.default_rng(0)
    points, density = rng.uniform(1, 47, (12, 2)), rng.random(SHAPE, np.float32)
    np.save(folder / "points.npy", points)
    np.save(folder / "map.npy", density)
    np.save(folder / "filters.npy", rng.random((4, 5, 5, 3), np.float32))
    np.savez(folder / "maps.npz", a=density, b=density)
    np.savez_compressed(folder / "packed.npz", a=density, b=density)
    np.savez(folder / "prior.npz", prior=density, made_of="other")
    weights.save(folder / "weights.npz", {"conv1.W": points, "conv1.b": points[0]}, {"seed": 1, "conv3_filters": 64})
    with zipfile.ZipFile(folder / "maps.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "map.npy", "a/map.npy")
    image = Image.fromarray(rng.integers(0, 256, (*SHAPE, 3), np.uint8))
    for suffix in ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm", "jp2"):
        image.save(folder / f"image.{suffix}")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    image.save(folder / "rotated.jpg", exif=exif)
    Image.fromarray((255 * (density > 0.99)).astype(np.uint8)).save(folder / "fixations.png")
    gaze = matlab_struct([(points, points[:, :1], points) for _ in range(3)], "location", "timestamp", "fixations")
    scipy.io.savemat(folder / "gaze.mat", {"gaze": gaze, "image": "a", "resolution": np.array([SHAPE])})
    scipy.io.savemat(folder / "points.mat", {"fixations": points}, do_compression=True)
    scipy.io.savemat(folder / "map.mat", {"I": density.astype(float)})
    scipy.io.savemat(folder / "cells.mat", {"a": np.array([{"x": 1}, "text", points], object), "b": scipy.sparse.eye(5)})
    write_mat_73(folder / "v73.mat", "fixations", points)
    write_mat_73(folder / "map73.mat", "I", density)
    with write_maps(folder / "predictions.h5", "deep") as store:
        store("a", density)
        store("group/b", density)
    with h5py.File(folder / "part.h5", "w") as part:
        part["image"], part["name"] = rng.integers(0, 256, (3, 3, 4, 4), np.uint8), ["a", "b", "c"]
        part.attrs["sha256"], part.attrs["bad"], part.attrs["empty"] = "0" * 64, "{}", "[]"
    with h5py.File(folder / "shallow.h5", "w") as file:
        for split in ("train", "val"):
            file.create_dataset(f"{split}/image", data=np.zeros((2, 3, 96, 96), np.uint8), chunks=(1, 3, 96, 96))
            file.create_dataset(f"{split}/map", data=np.zeros((2, 48, 48), np.float32), chunks=(1, 48, 48))
    with h5py.File(folder / "train_000.h5", "w") as file:
        file["data"], file["label"] = np.zeros((2, 3, 8, 8), np.float32), np.zeros((2, 1, 8, 8), np.float32)
    write_caffemodel(folder / "net.caffemodel", {"conv1": (rng.random((2, 3, 3, 3), np.float32), np.zeros(2, np.float32))})
    write_solverstate(folder / "net.solverstate", 7, [rng.random((2, 3, 3, 3), np.float32)], "net.caffemodel")
    config = {"net": "deep", "settings": {"data": {"dataset": "osie", "images": 2}},
              "predict": {"longest_side": 320, "mean_bgr": [1.0, 2, 3], "mean_map": 0.5, "resizing": "area"},
              "versions": {"numpy": "1"}}
    metric = {"mean": 0.5, "low": 0.1, "high": None, "n": 3, "nan": 0}
    from evaluation.metrics import METRICS
    write_json(folder / "config.json", config)
    write_json(folder / "manifest.json", {"net": "deep", "train": 3, "val": 1, "size": [8, 8], "mean_bgr": [1.0, 2, 3],
                                          "mean_map": 0.5, "images": 4, "fingerprint": "a", "left_out": {}})
    write_json(folder / "snapshot.json", {"iteration": 4, "monitor": {"losses": [0.5], "raised": ["flat"]}, "row": None})
    write_json(folder / "score.json", {"train": "a", "dataset": "a", "edition": "b", "split": "test", "images": 3,
                                       "convention": "mit", "seed": 1, "failed": 0, "lacking": {}, "trained": 0,
                                       "metrics": dict.fromkeys(METRICS, metric)})
    write_json(folder / "shallow.json", {**NETS["shallow"], "layers": [asdict(layer) for layer in LAYERS]})
    (folder / "log.csv").write_text("epoch,lr,loss,val_loss\n1,0.1,0.5,0.6\n2,0.1,0.4,\n")
    (folder / "scores.csv").write_text("name,CC\na,0.5\nb,nan\n")
    (folder / "table.csv").write_text("image,observer,x,y\na,1,5,6\na,2,7.5,8\nb,1,,\n")
    (folder / "table.tsv").write_text("Media\tEvent\tFixation point X\tFixation point Y\na.png\tFixation\t5\t6\n")
    (folder / "table.csv.gz").write_bytes(gzip.compress(b"image,observer,x,y\n" + b"a,1,5,6\nb,2,7.5,8\n" * 40))
    (folder / "table.json").write_text('[{"image": "a", "x": [1, 2], "y": [3, 4]}, {"image": "b", "x": 5, "y": 6}]')
    (folder / "trial.asc").write_text("MSG\t900 DISPLAY_COORDS 0 0 1023 767\nMSG\t1000 TRIALID 1\nMSG\t1000 !V IMGLOAD CENTER "
                                      "a.png 512 384\nEFIX L   1000\t1180\t181\t  500.5\t  300\t    900\n")
    annotations = {"images": [{"file_name": "a.jpg", "height": 48, "width": 64, "id": 7}],
                   "annotations": [{"image_id": 7, "fixations": [[1, 2], [3, 4]], "worker_id": 1, "id": 0}]}
    (folder / "salicon.json").write_text(json.dumps(annotations))
    encoded = base64.b64encode((folder / "fixations.png").read_bytes()).decode()
    (folder / "challenge.json").write_text(json.dumps([{"image_id": 7, "saliency_map": encoded}]))
    for name in ("solver.prototxt", "train_val.prototxt"):
        (folder / name).write_bytes((Path(__file__).parents[2] / "deep" / name).read_bytes())
    import pickle
    (folder / "net.pickle").write_bytes(pickle.dumps({"layers": [points, {"name": "conv1"}, density]}, 2))


# ---- Readers ----------------------------------------------------------------------------------------------------------

def _maps(path):
    from data.maps import open_maps
    maps = open_maps(path)
    for name in sorted(maps.names):
        maps[name]


def _salicon(path):
    from data.salicon import index_json, read_json_fixations
    for places in index_json(path)[1].values():
        read_json_fixations(path, places)


def _training_data(path):
    from shallow.batches import TrainingData
    with TrainingData(path) as data:
        data.batch(0, 0, {"seed": 1, "batch": 1, "mirror": True})


def _part(path):
    from data import parts
    parts._read_summaries([path])
    for _ in parts._read_arrays([path], ["image"]):
        pass


def _log(path):
    from common.runs import Log
    Log(path, ["epoch", "lr", "loss", "val_loss"], done=2)


def _curves(path):
    from evaluation.figures import curves
    curves(path.parent, path.with_suffix(".png"), "deep")


def _architecture(path):
    from evaluation.architecture import draw_architecture, read_layers
    from evaluation.canvas import save
    save(draw_architecture(read_layers(path), "title"), path.with_suffix(".svg"))


def _nets(path):
    from evaluation import tables
    for net, content in tables.read_nets(path.parent).items():
        tables.layer_table(net, tables.to_layers(content["layers"]))


def _solver(path):
    from deep.solver import resolve_solver
    resolve_solver(path, "paper", [320, 240], 5, 1)


def _points(path):
    from data.points import read_points
    read_points(path, SHAPE)


def _json(content):
    def read(path):
        from common.files import read_json
        read_json(path, content())
    return read


def _score_content():
    from evaluation.tables import SCORE
    return SCORE


def _marker_content():
    from deep.trainer import MARKER_CONTENT
    return MARKER_CONTENT


def _manifest_content():
    from deep.train import MANIFEST
    return MANIFEST


def _config_content():
    from common.runs import CONFIG
    from deep.predictor import PREDICT
    return {**CONFIG, "net": str, "predict": PREDICT}


def _call(module, function, *arguments):
    def read(path):
        import importlib
        getattr(importlib.import_module(module), function)(path, *arguments)
    return read


IMAGES = [f"image.{suffix}" for suffix in ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm", "jp2")] + ["rotated.jpg"]
READERS = {  # name: (files, function of a path)
    "points": (["points.npy", "map.npy", "points.mat", "gaze.mat", "v73.mat", "cells.mat", "fixations.png"], _points),
    "maps": (["map.npy", "map.mat", "map73.mat", "maps.npz", "packed.npz", "maps.zip", "predictions.h5", "challenge.json", "image.png"], _maps),
    "images": (IMAGES, _call("common.images", "read_image")),
    "shapes": (IMAGES, _call("common.images", "image_shape")),
    "gaze": (["gaze.mat"], _call("data.salicon", "read_mat_fixations")),
    "mat": (["cells.mat", "gaze.mat", "v73.mat"], _call("data.layouts", "read_mat_variables")),
    "salicon": (["salicon.json"], _salicon),
    "tables": (["table.csv", "table.tsv", "table.csv.gz", "table.json"], _call("data.tables", "read_table")),
    "eyelink": (["trial.asc"], _call("data.eyelink", "read_asc")),
    "weights": (["weights.npz", "packed.npz"], _call("shallow.weights", "load")),
    "filters": (["filters.npy"], _call("evaluation.figures", "read_filters")),
    "prior": (["prior.npz"], _call("evaluation.baselines", "_read_prior", "other")),
    "caffemodel": (["net.caffemodel"], _call("deep.weights", "read_caffemodel")),
    "solverstate": (["net.solverstate"], _call("deep.weights", "read_history")),
    "pickle": (["net.pickle"], _call("models.released.pickled", "read_pickle")),
    "architecture": (["shallow.json"], _architecture),
    "nets": (["shallow.json"], _nets),
    "log": (["log.csv"], _log),
    "curves": (["log.csv"], _curves),
    "scores": (["scores.csv"], _call("evaluation.examples", "choose_examples")),
    "score": (["score.json"], _json(_score_content)),
    "config": (["config.json"], _json(_config_content)),
    "manifest": (["manifest.json"], _json(_manifest_content)),
    "snapshot": (["snapshot.json"], _json(_marker_content)),
    "part": (["part.h5"], _part),
    "training data": (["shallow.h5"], _training_data),
    "shard": (["train_000.h5"], _call("deep.train", "_count_images", 8, 8, "prepare again")),
    "solver": (["solver.prototxt"], _solver),
    "net": (["train_val.prototxt"], _call("deep.training_net", "read_training_net")),
}


# ---- Damage -----------------------------------------------------------------------------------------------------------

def damage(data, rng):
    """Return the bytes of a file after one to four random changes."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        change = rng.choice((_cut, _flip, _flip, _number, _number, _zero, _copy, _token, _token, _digits))
        data = change(data, rng) or data
    return bytes(data)


def _cut(data, rng):
    return data[:rng.randrange(len(data) + 1)]


def _flip(data, rng):
    for _ in range(rng.choice((1, 2, 8))):
        if data:
            # half of them near the beginning, where the headers are
            place = rng.randrange(min(len(data), 256) if rng.random() < 0.5 else len(data))
            data[place] ^= 1 << rng.randrange(8)


def _number(data, rng):
    """Replace a binary number, such as a length or an offset, by an extreme one."""
    size = rng.choice((1, 2, 4, 8))
    if len(data) >= size:
        place = rng.randrange(0, len(data) - size + 1)
        value = rng.choice(EXTREMES) & ((1 << 8 * size) - 1)
        data[place:place + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _zero(data, rng):
    start = rng.randrange(len(data) + 1)
    length = min(rng.choice((1, 16, 512)), len(data) - start)
    data[start:start + length] = bytes(length)


def _copy(data, rng):
    """Repeat, remove or move a block."""
    start, target = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)
    block = data[start:start + rng.choice((1, 16, 512))]
    if rng.random() < 0.3:
        del data[start:start + len(block)]
    else:
        data[target:target] = block


def _token(data, rng):
    """Replace or insert a piece of text."""
    start = rng.randrange(len(data) + 1)
    data[start:start + rng.choice((0, 1, 5))] = rng.choice(TOKENS)


def _digits(data, rng):
    """Replace a number that is written as text."""
    places = [index for index, value in enumerate(data[:1 << 16]) if 48 <= value <= 57]
    if places:
        start = end = rng.choice(places)
        while end < len(data) and 48 <= data[end] <= 57:
            end += 1
        data[start:end] = rng.choice((b"0", b"-1", b"1000000000000", b"99999999999999999999999", b"1e300", b"nan"))


def repair_checksums(data):
    """Correct the checksums of a PNG, so that its damage reaches the decoder."""
    place = 8
    while place + 12 <= len(data):
        size, = struct.unpack(">I", data[place:place + 4])
        end = place + 8 + size
        if end + 4 > len(data):
            break
        data = data[:end] + struct.pack(">I", zlib.crc32(data[place + 4:end])) + data[end + 4:]
        place = end + 4
    return data


def make_input(originals, reader, seed, number):
    """Return the name and the bytes of a damaged input."""
    rng = random.Random(f"{reader} {seed} {number}")
    name = rng.choice(READERS[reader][0])
    data = damage((originals / name).read_bytes(), rng)
    return name, repair_checksums(data) if name.endswith(".png") and rng.random() < 0.7 else data


def _noise(data):
    return random.Random(len(data)).randbytes(len(data))


# no file of any format; each reader must reject them, apart from:
GARBAGE = {"empty": lambda data: b"", "half": lambda data: data[:len(data) // 2], "zeros": lambda data: bytes(len(data)),
           "noise": _noise, "text": lambda data: b"# Notes\n\nSome text; no numbers.\n" * 20}
ACCEPTED = {
    *(("shapes", name, "half") for name in IMAGES if name not in ("image.png", "image.webp")),  # the header is whole
    ("tables", "table.csv", "half"), ("log", "log.csv", "half"),  # the first lines are whole
    ("solverstate", "net.solverstate", "empty"),  # every field may be missing; the trainer compares what it needs
}
NOT_READ = {("points", "map.npy"), ("maps", "image.png"), ("weights", "packed.npz")}  # whole files of another kind


def expected_outcomes():
    """List (reader, name of a file, change or None, outcome) of whole files and of garbage."""
    for reader, (names, _) in READERS.items():
        for name in names:
            yield reader, name, None, "line" if (reader, name) in NOT_READ else "read"
            for change in GARBAGE:
                yield reader, name, change, "read" if (reader, name, change) in ACCEPTED else "line"


# ---- Campaign ---------------------------------------------------------------------------------------------------------

def check(read, path):
    """Read a file; return "read", "line", or the fault of the outcome."""
    try:
        read(path)
    except UserError as error:
        message = str(error)  # UserError itself makes it one printable line of limited length
        if "; " not in message or str(path) not in message:
            return f"not file: fault; remedy: {message[:300]!r}"
        return "line"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    return "read"


def run_reader(originals, folder, reader, seed, first, count, report):
    """Read `count` inputs; return the numbers of inputs that were read, were one line, and failed."""
    counts, number = {"read": 0, "line": 0, "failed": 0}, first
    while number < first + count:
        last = min(number + BATCH, first + count)
        for outcome in _in_child(originals, folder, reader, seed, number, last):
            counts[outcome if outcome in counts else "failed"] += 1
            if outcome not in counts:
                name, data = make_input(originals, reader, seed, number)
                copy = folder / f"{reader.replace(' ', '-')}-{seed}-{number}-{name}"
                copy.write_bytes(data)
                report(f"{reader}: {outcome}; repeat with: python -m tests.faults inputs --reader '{reader}' --seed {seed} "
                       f"--first {number} --count 1 ({copy})")
            number += 1
    return counts


def _in_child(originals, folder, reader, seed, first, last):
    """Yield the outcome of each input, from a child process; if it crashes or hangs, that is the last outcome."""
    output, entry = os.pipe()
    child = os.fork()
    if not child:
        os.close(output)
        _child(originals, folder, reader, seed, first, last, entry)
    os.close(entry)
    with os.fdopen(output, "rb") as lines:
        received = 0
        for line in lines:
            received += 1
            yield json.loads(line)
    status = os.waitpid(child, 0)[1]
    if received < last - first:
        yield f"hang of more than {SECONDS} s" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM \
            else f"crash of the process ({status})"


def _child(originals, folder, reader, seed, first, last, entry):
    try:
        os.setpgrp()
        faulthandler.disable()  # of pytest
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process
        os.environ.setdefault("SALIENCY_READ_SECONDS", "20")
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)  # what C libraries print
        sys.stdout = sys.stderr = open(os.devnull, "w")
        work = folder / f"input-{os.getpid()}"
        work.mkdir()
        for number in range(first, last):
            name, data = make_input(originals, reader, seed, number)
            path = work / name
            path.write_bytes(data)
            signal.alarm(SECONDS)
            outcome = check(READERS[reader][1], path)
            signal.alarm(0)
            os.write(entry, json.dumps(outcome).encode() + b"\n")
            path.unlink()
        work.rmdir()
    finally:
        os._exit(0)  # the isolated child ends with this process


def check_expected(originals, folder, report):
    """Report the outcomes that are not expected: a reader that rejects whole files, or accepts garbage."""
    for reader, name, change, expected in expected_outcomes():
        data = (originals / name).read_bytes()
        path = folder / name
        path.write_bytes(GARBAGE[change](data) if change else data)
        if (outcome := check(READERS[reader][1], path)) != expected:
            report(f"{reader}: {name}, {change or 'whole'}: {outcome}, not {expected}")
        path.unlink()


def campaign(folder, seed, total, readers=None, first=0, report=print):
    """Read damaged inputs, about equally many per reader; return the counts by reader."""
    originals = folder / "originals"
    originals.mkdir(parents=True, exist_ok=True)
    write_originals(originals)
    if first == 0:
        check_expected(originals, folder, report)
    readers, counts = readers or list(READERS), {}
    for index, reader in enumerate(readers):
        started = time.monotonic()
        part = total // len(readers) + (index < total % len(readers))
        counts[reader] = run_reader(originals, folder, reader, seed, first, part, report)
        print(f"{reader:14} {part:7} inputs: {counts[reader]['read']} read, {counts[reader]['line']} one line, "
              f"{counts[reader]['failed']} failed; {time.monotonic() - started:.0f} s", flush=True)
    return counts
