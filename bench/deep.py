"""python -m bench.deep: training and prediction of the deep net on Caffe, against PyTorch and OpenCV's dnn module.

All have the same layers and start from the same weights, must give the same answers and losses, and then take turns on
all cores at 320x240; the quickest repeat of each round is taken, and the median of the rounds counts. Of PyTorch's two
memory layouts the quicker one is compared. Then Caffe's layers are timed one by one, to see where its time goes.
"""
import argparse
import tempfile
from pathlib import Path

from bench.peer import Peer
from bench.timing import seconds_of
from common.errors import UserError, run

ROUNDS = 5
# name, method, images, repeats a round, most of PyTorch's time that we allow ourselves
WORKS = (("training step, 2 images", "train", 2, 1, 1.3), ("prediction, 1 image", "predict", 1, 2, 1.3))
LAYER_ROUNDS = 3
TOLERANCE = 1e-3  # relative, between answers and losses


def main():
    """Time, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.deep", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--peer", required=True, help="Python that has PyTorch")
    parser.add_argument("--out", required=True, help="JSON to write")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    args = parser.parse_args()

    import numpy as np

    from common.files import write_json
    from common.runs import collect_versions
    from deep.preprocess import TRAIN_SIZE
    from deep.trainer import create_solver

    rng = np.random.default_rng(0)
    data, label = (rng.uniform(-1, 1, (2, channels, *TRAIN_SIZE[::-1])).astype(np.float32) for channels in (3, 1))
    with tempfile.TemporaryDirectory() as folder:
        solver = create_solver(folder, data, label, random_seed=2016)
        rows = against_peers(solver, data, label, args.peer, Path(folder), args.rounds)
        layers = by_layer(solver)
    write_json(args.out, {"unit": "s, median", "works": rows, "layers": layers, "versions": collect_versions()})
    print(to_text(rows, layers))
    print(args.out)


def against_peers(solver, data, label, python, folder, rounds):
    """Seconds of all, by work.

    Parameters
    ----------
    solver : caffe.SGDSolver of `data` and `label`, two images
    python : path of the Python that has PyTorch
    folder : path, for the weights that all start from
    rounds : int

    Returns
    -------
    list of dict

    Raises
    ------
    UserError
        The nets do not answer alike, or the peer stopped.
    """
    import numpy as np

    from common.progress import progress
    from deep.backend import load_caffe
    from deep.predictor import ENGINES
    from deep.prototxt import parse_prototxt
    from deep.weights import read_caffemodel

    solver.net.save(str(folder / "start.caffemodel"))
    layers = read_caffemodel(folder / "start.caffemodel")
    engines = {name: make(folder / "start.caffemodel", {layer: layers[layer] for layer in solver.net.params})
               for name, make in ENGINES.items()}
    settings = parse_prototxt(folder / "solver.prototxt", load_caffe().proto.caffe_pb2.SolverParameter())
    weights = {f"{name}.{kind}": blob.data for name, blobs in solver.net.params.items()
               for kind, blob in zip("Wb", blobs)}
    np.savez(folder / "start.npz", data=data, label=label,
             solver=[settings.base_lr, settings.momentum, settings.weight_decay], **weights)
    ours = {"train": {"caffe": lambda count: solver.step(1)},
            "predict": {name: lambda count, engine=engine: engine(data[:count]) for name, engine in engines.items()}}
    rows = []
    with Peer(python, "pytorch_deep.py", folder / "start.npz") as peer, \
            progress(total=rounds * len(WORKS), unit="round", description="deep net") as bar:
        answers = {name: float(engine(data).mean()) for name, engine in engines.items()}
        losses = []
        for _ in range(2):
            solver.step(1)
            losses.append(float(solver.net.blobs["loss"].data))
        if abs(losses[1] - losses[0]) < 10 * TOLERANCE * losses[0]:
            raise UserError(f"an update hardly changes the loss, {losses}: nothing would be compared; "
                            "raise base_lr here")
        for layout in ("rows", "channels"):
            theirs = peer.ask(f"{layout}:check", 2, 1)
            for name, answer in answers.items():
                if not np.allclose([answer, *losses], theirs, rtol=TOLERANCE):
                    raise UserError(f"PyTorch's net is not ours: mean answer and two losses {theirs}, {name}'s "
                                    f"{[answer, *losses]}; mend bench/peers/pytorch_deep.py")
        for name, what, count, repeats, goal in WORKS:
            times = {who: [] for who in (*ours[what], "rows", "channels")}
            for _ in range(rounds):
                for who, call in ours[what].items():
                    times[who].append(min(seconds_of(lambda: call(count)) for _ in range(repeats)))  # noqa: B023  at once
                for layout in ("rows", "channels"):
                    times[layout].append(min(peer.ask(f"{layout}:{what}", count, repeats)))
                bar.update()
            median = {who: float(np.median(found)) for who, found in times.items()}
            pytorch = min(median["rows"], median["channels"])
            rows.append({"work": name, "seconds": median["caffe"], "pytorch": pytorch, "opencv": median.get("opencv"),
                         "pytorch_layouts": {kind: median[kind] for kind in ("rows", "channels")},
                         "ratio": median["caffe"] / pytorch, "goal": goal})
    return rows


def by_layer(solver):
    """Where a training step of Caffe goes: seconds of each layer, forward and backward, and of the update.

    Returns
    -------
    list of dict
        layer, forward, backward (None where there is none), gflops: billions of sums and products a second.
    """
    import numpy as np

    net = solver.net
    names = list(net._layer_names)
    forward, backward, updates = ({name: [] for name in names} for _ in range(3))
    for _ in range(LAYER_ROUNDS):
        for name in names:
            forward[name].append(seconds_of(lambda: net.forward(start=name, end=name)))  # noqa: B023  called at once
        for name in reversed(names):
            backward[name].append(seconds_of(lambda: net.backward(start=name, end=name)))  # noqa: B023
        updates["loss"].append(seconds_of(solver.apply_update))
    rows = []
    for index, name in enumerate(names):
        seconds = [float(np.median(found[name])) for found in (forward, backward)]
        operations = 0
        if name.startswith("conv"):
            images, _, *size = net.blobs[net.top_names[name][0]].data.shape
            operations = 2 * net.params[name][0].data.size * np.prod(size) * images
        # backward, a convolution makes two products of that size, but for the first layer's, where no one asks for
        # the gradient of the image
        passes = 2 if index == names.index("conv1") else 3
        rows.append({"layer": name, "forward": seconds[0], "backward": seconds[1],
                     "gflops": float(passes * operations / sum(seconds) / 1e9) if operations else None})
    return [*rows, {"layer": "update", "forward": None, "backward": float(np.median(updates["loss"])), "gflops": None}]


def to_text(rows, layers):
    """The results as tables for people."""
    lines = [f"\n{'deep net at 320x240, seconds':28}{'Caffe':>9}{'OpenCV':>9}{'PyTorch':>9}{'ratio':>8}{'goal':>7}"]
    lines += [f"{row['work']:28}{row['seconds']:9.3f}" + (f"{row['opencv']:9.3f}" if row["opencv"] else " " * 9)
              + f"{row['pytorch']:9.3f}{row['ratio']:7.2f}x{row['goal']:6.1f}x" for row in rows]
    total = sum((row["forward"] or 0) + row["backward"] for row in layers)
    lines += [f"\n{'Caffe, two images, ms':28}{'forward':>9}{'backward':>9}{'share':>9}{'GFLOP/s':>9}"]
    for row in layers:
        seconds = (row["forward"] or 0) + row["backward"]
        if seconds / total >= 0.0005:
            lines.append(f"{row['layer']:28}" + (" " * 9 if row["forward"] is None else f"{1000 * row['forward']:9.1f}")
                         + f"{1000 * row['backward']:9.1f}{seconds / total:9.1%}"
                         + (f"{row['gflops']:9.0f}" if row["gflops"] else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
