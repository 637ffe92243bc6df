"""Run experiments with the deep net's training: learning rate, schedule, variants, transfer, convergence."""
import numpy as np

from common.files import write_text
from deep.prototxt import TRAIN_VAL, messages, parse_prototxt
from deep.weights import read_caffemodel
from experiments.setup import Table, validated

RATES = (1, 3, 10, 30, 100)  # times the paper's
SEEDS = (2016, 2017)
CONSTANT_RATE = ("--set", "stepsize=100000")
HALVED_RATE = ("--set", "stepsize=80", "--set", "test_interval=50")  # after 80 iterations
EIGHT, SHORTER, NARROWER, DROPOUT = "eight convolutions", "without conv5", "half the maps in conv4-7", "dropout 0.5"
SIZE = "the demo preset's size (192x144)"


def learning_rate(setup):
    """Train with larger learning rates than the paper's, to find where training diverges (section 4.2)."""
    data, rows, rate = setup.data("deep"), [], None
    for factor in RATES:
        given = () if factor == 1 else ("--set", f"base_lr={factor * rate:.8g}")
        log = setup.train("deep", f"rate{factor}", data, "--iterations", 40, *CONSTANT_RATE, *given)
        rate = rate or log[0]["lr"]
        last = np.mean([row["rmse"] for row in log[-5:]])
        diverged = len(log) < 40 or not np.isfinite(last)
        rows.append([factor, f"{factor * rate:.3g}", log[0]["rmse"], "diverged" if diverged else last, len(log)])
    return Table("Section 4.2: a learning rate larger than 0.01 / (320 x 240) makes training diverge.",
                 ["times the paper's rate", "base_lr", "first RMSE", "mean of the last five", "iterations"], rows,
                 f"Deep net from random weights, 40 iterations at {SIZE}; base_lr is the paper's, scaled to this "
                 f"number of pixels. Training data: {setup.dataset}.")


def schedule(setup):
    """Compare the literal schedule, halved every 100 iterations, with halving every 2,000 (section 4.2)."""
    data, rows = setup.data("deep"), []
    for stepsize in (100, 2000):
        log = setup.train("deep", f"step{stepsize}", data, "--iterations", 400, "--set", f"stepsize={stepsize}",
                          "--set", "test_interval=50")
        rows.append([stepsize, *validated(log, "val_cc")])
    return Table("Section 4.2: the learning rate is halved every 100 iterations.",
                 ["halved every", *(f"CC at {50 * (index + 1)}" for index in range(len(rows[0]) - 1))], rows,
                 f"Deep net, validation CC on {setup.dataset} at {SIZE}, one seed. By arithmetic, the literal schedule "
                 "is worth 200 iterations at the full rate, however long it runs.")


def variants(setup):
    """Compare the deep net with fewer layers, fewer maps, and dropout (section 4.1)."""
    data, rows = setup.data("deep"), []
    for name in ("as released", EIGHT, SHORTER, NARROWER, DROPOUT):
        label = name.replace(" ", "-").replace(".", "")
        path = setup.out / f"{label}.prototxt"
        write_text(path, variant_text(name))
        logs = [setup.train("deep", f"{label}-{seed}", data, "--iterations", 150, "--seed", seed, "--train-val", path,
                            *HALVED_RATE) for seed in SEEDS]
        seconds = np.median([row["seconds"] for row in logs[0] if row["val_cc"] is None])
        rows.append([name, *(validated(log, column)[-1] for column in ("val_cc", "val_rmse") for log in logs),
                     float(seconds)])
    return Table("Section 4.1: more layers and more feature maps improve accuracy; dropout does not.",
                 ["net", *(f"CC, seed {seed}" for seed in SEEDS), *(f"RMSE, seed {seed}" for seed in SEEDS),
                  "seconds per iteration"], rows,
                 f"Deep net, 150 iterations at {SIZE}, validation images of {setup.dataset} (mouse data for OSIE).")


def variant_text(name):
    """Return train_val.prototxt with one change, as text; the Gaussian fillers follow the number of inputs."""
    from google.protobuf import text_format

    net = messages().NetParameter()
    net.CopyFrom(parse_prototxt(TRAIN_VAL, net))
    layers = {layer.name: layer for layer in net.layer}
    if name == EIGHT:
        _remove(net, "conv8", "conv7")
        layers["conv9"].convolution_param.weight_filler.std *= np.sqrt(32 / 128)
    elif name == SHORTER:
        _remove(net, "conv5", "conv4")
    elif name == NARROWER:
        for index in (4, 5, 6, 7):
            layers[f"conv{index}"].convolution_param.num_output //= 2
            layers[f"conv{index + 1}"].convolution_param.weight_filler.std *= np.sqrt(2)
    elif name == DROPOUT:
        place = next(index for index, layer in enumerate(net.layer) if layer.name == "relu7") + 1
        dropout = messages().LayerParameter(name="drop7", type="Dropout", bottom=["conv7"], top=["conv7"])
        dropout.dropout_param.dropout_ratio = 0.5
        following = [layer for layer in net.layer]
        del net.layer[:]
        net.layer.extend([*following[:place], dropout, *following[place:]])
    return text_format.MessageToString(net)


def _remove(net, name, below):
    """Remove a convolution and its ReLU; the layer above reads from `below`."""
    remaining = [layer for layer in net.layer if layer.name not in (name, name.replace("conv", "relu"))]
    for layer in remaining:
        for index, bottom in enumerate(layer.bottom):
            if bottom == name:
                layer.bottom[index] = below
    del net.layer[:]
    net.layer.extend(remaining)


def transfer(setup):
    """Start conv1 to conv3 from the weights of a net trained on the generated images, or at random (section 4.1)."""
    data, rows = setup.data("deep"), []
    source = type(setup)("synthetic+edition=1", None, setup.build, setup.out)
    source.train("deep", "source", source.data("deep"), "--iterations", 200, *HALVED_RATE)
    weights = source.run_folder("source") / "weights.caffemodel"
    for name, given in (("random", ()), ("from the generated images", ("--vgg", weights))):
        label = "transfer-" + ("copied" if given else "random")
        logs = [setup.train("deep", f"{label}-{seed}", data, "--iterations", 100, "--seed", seed,
                            *HALVED_RATE, *given) for seed in (*SEEDS, 2018)]
        rows.append([name, *(value for log in logs for value in validated(log, "val_cc"))])
    return Table("Section 4.1: first layers from another task regularise, and improve the result.",
                 ["conv1 to conv3", *(f"CC at {at}, seed {seed}" for seed in (*SEEDS, 2018) for at in (50, 100))], rows,
                 f"Deep net, 100 iterations at {SIZE} on {setup.dataset}. The filters come from a net of ours that was "
                 "trained for 200 iterations on generated images, not from VGG_CNN_M: this shows the mechanism, not "
                 "the paper's claim.")


def convergence(setup):
    """Measure how fast each layer approaches its final weights (section 4)."""
    data, lengths, weights = setup.data("deep"), (1, 25, 50, 100, 200), {}
    for length in lengths:  # training is deterministic: a shorter run is the beginning of a longer one
        setup.train("deep", f"convergence{length}", data, "--iterations", length, *CONSTANT_RATE)
        weights[length] = read_caffemodel(setup.run_folder(f"convergence{length}") / "weights.caffemodel")
    first, last = weights[lengths[0]], weights[lengths[-1]]
    rows = []
    for layer in first:
        whole = _distance(first[layer][0], last[layer][0])
        rows.append([layer, *(_distance(weights[length][layer][0], last[layer][0]) / whole for length in lengths[1:-1]),
                     whole / float(np.linalg.norm(first[layer][0]))])
    return Table("Section 4: the lowest layers converge in a few epochs.",
                 ["layer", *(f"distance left after {length}" for length in lengths[1:-1]), "whole distance / norm"],
                 rows,
                 f"Deep net, {lengths[-1]} iterations at a constant rate at {SIZE} on {setup.dataset}, one to "
                 "two epochs. Distance of the layer's weights from those at the end, as a fraction of the distance at "
                 "the start.")


def _distance(first, second):
    return float(np.linalg.norm(first - second))
