"""python -m bench.deep: training and prediction of the deep net with Caffe, OpenCV's dnn module and PyTorch.

"PyTorch" is the plain net in bench/peers, "torch" our own engine for graphics cards (`make torch`), here on the CPU.

All engines have the same layers, start from the same weights, and must give the same outputs and losses. Then they take
turns on all cores at 320x240. The value of a round is the fastest repeat, the result is the median of the rounds, and
the faster of PyTorch's two memory layouts counts. Then Caffe's layers are timed separately.
"""
import statistics
import tempfile
from pathlib import Path

from bench.peer import Peer, check_outputs, has_torch_engine, take_turns
from bench.timing import seconds_of
from common.arguments import Parser, positive_int
from common.errors import UserError, run

ROUNDS = 5
# name, method, images, repeats per round, goal: the highest ratio to PyTorch's time
TASKS = (("training step, 2 images", "train", 2, 1, 0.25), ("prediction, 1 image", "predict", 1, 2, 0.25))
ENGINES = {"caffe": "Caffe", "opencv": "OpenCV", "torch": "torch", "pytorch": "PyTorch"}  # in the order of the table
LAYER_ROUNDS = 3
TOLERANCE = 1e-3  # relative, between outputs and losses


def main():
    """Run the benchmark, print the results and write them."""
    parser = Parser("bench.deep", __doc__)
    parser.add_argument("--peer", required=True, metavar="PYTHON", help="Python interpreter that has PyTorch")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument("--rounds", type=positive_int, default=ROUNDS, help="number of rounds (default: %(default)s)")
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
        rows = compare_engines(solver, data, label, args.peer, Path(folder), args.rounds)
        layers = time_layers(solver)
    write_json(args.out, {"unit": "s, median", "tasks": rows, "layers": layers, "versions": collect_versions()})
    print(to_text(rows, layers))
    print(args.out)


def compare_engines(solver, data, label, python, folder, rounds):
    """Time the tasks with Caffe, OpenCV and PyTorch.

    Parameters
    ----------
    solver : caffe.SGDSolver
        Solver of `data` and `label`, whose files are in `folder`.
    data, label : float32 (2, 3, h, w), float32 (2, 1, h, w)
    python : path
        Python interpreter that has PyTorch.
    folder : pathlib.Path
        For the initial weights.
    rounds : int

    Returns
    -------
    list of dict
        As of `bench.peer.take_turns`.

    Raises
    ------
    UserError
        Outputs or losses differ, or the peer has stopped.
    """
    from common.progress import progress
    from deep import predictor
    from deep.weights import read_caffemodel

    solver.net.save(str(folder / "start.caffemodel"))
    layers = read_caffemodel(folder / "start.caffemodel")
    with_torch = has_torch_engine()
    forward = {name: make(folder / "start.caffemodel", {layer: layers[layer] for layer in solver.net.params})
               for name, make in predictor.ENGINES.items() if with_torch or name != "torch"}
    _save_start(folder, solver, data, label)
    train = {"caffe": lambda count: solver.step(1)}
    if with_torch:
        engine = _torch_engine(folder, layers)
        train["torch"] = lambda count: engine.step()
    engines = {"train": train,
               "predict": {name: lambda count, call=call: call(data[:count]) for name, call in forward.items()}}
    with Peer(python, "pytorch_deep", folder / "start.npz") as peer, \
            progress(total=rounds * len(TASKS), unit="round", description="deep net") as bar:
        outputs = {name: float(call(data).mean()) for name, call in forward.items()}
        losses = []
        for _ in range(2):
            solver.step(1)
            losses.append(float(solver.net.blobs["loss"].data))
        if abs(losses[1] - losses[0]) < 10 * TOLERANCE * losses[0]:
            raise UserError(f"bench/deep.py: an update hardly changes the loss, {losses}, so a comparison of losses "
                            "would show nothing; raise base_lr there")
        expected = {name: [output, *losses] for name, output in outputs.items()}
        if with_torch:
            expected["torch"][1:] = [engine.step()[0] for _ in range(2)]
        check_outputs(peer, 2, expected, TOLERANCE)
        return take_turns(TASKS, engines, peer, rounds, bar)


def _torch_engine(folder, layers):
    """Return our engine in PyTorch on the CPU, with the solver file and the data of `deep.trainer.create_solver`."""
    from deep.torch_engine import TorchEngine

    for name, source in (("train_val.prototxt", "net.prototxt"), ("train.txt", "list.txt")):
        (folder / name).write_text((folder / source).read_text())
    engine = TorchEngine(folder, device="cpu")
    engine.net.read(layers)
    return engine


def _save_start(folder, solver, data, label):
    """Write start.npz for the peer: the batch, the solver's settings and the net's weights."""
    import numpy as np

    from deep.backend import load_caffe
    from deep.prototxt import parse_prototxt

    settings = parse_prototxt(folder / "solver.prototxt", load_caffe().proto.caffe_pb2.SolverParameter())
    weights = {f"{name}.{kind}": blob.data for name, blobs in solver.net.params.items()
               for kind, blob in zip("Wb", blobs)}
    np.savez(folder / "start.npz", data=data, label=label,
             solver=[settings.base_lr, settings.momentum, settings.weight_decay], **weights)


def time_layers(solver):
    """Time each layer of a training step in Caffe, forward and backward, and the update.

    Returns
    -------
    list of dict
        layer; forward (seconds, None for the update); backward (seconds, for the update its time); gflops: billions of
        additions and multiplications per second, None except for convolutions.
    """
    import numpy as np

    net = solver.net
    names = list(net._layer_names)
    forward, backward, updates = {name: [] for name in names}, {name: [] for name in names}, []
    for _ in range(LAYER_ROUNDS):
        for name in names:
            forward[name].append(seconds_of(lambda: net.forward(start=name, end=name)))  # noqa: B023  called at once
        for name in reversed(names):
            backward[name].append(seconds_of(lambda: net.backward(start=name, end=name)))  # noqa: B023
        updates.append(seconds_of(solver.apply_update))
    rows = []
    for index, name in enumerate(names):
        seconds = [statistics.median(times[name]) for times in (forward, backward)]
        operations = 0
        if name.startswith("conv"):
            images, _, *size = net.blobs[net.top_names[name][0]].data.shape
            operations = 2 * net.params[name][0].data.size * np.prod(size) * images
        # a convolution needs one matrix product forward and two backward: the gradients of its weights and of its
        # input; the first layer does not need the gradient of its input, the image
        products = 2 if index == names.index("conv1") else 3
        rows.append({"layer": name, "forward": seconds[0], "backward": seconds[1],
                     "gflops": float(products * operations / sum(seconds) / 1e9) if operations else None})
    return [*rows, {"layer": "update", "forward": None, "backward": statistics.median(updates), "gflops": None}]


def to_text(rows, layers):
    """Format the results as tables for the terminal."""
    heads = "".join(f"{head:>9}" for head in ENGINES.values())
    lines = [f"\n{'deep net at 320x240, seconds':28}{heads}{'ratio':>8}{'goal':>7}"]
    for row in rows:
        cells = "".join(f"{row[name]:9.3f}" if name in row else " " * 9 for name in ENGINES)
        lines.append(f"{row['task']:28}{cells}{row['ratio']:7.3f}x{row['goal']:6.2f}x")
    total = sum((row["forward"] or 0) + row["backward"] for row in layers)
    lines += [f"\n{'Caffe, 2 images, ms':28}{'forward':>9}{'backward':>9}{'fraction':>9}{'GFLOP/s':>9}"]
    for row in layers:
        seconds = (row["forward"] or 0) + row["backward"]
        if seconds / total >= 0.0005:
            lines.append(f"{row['layer']:28}" + (" " * 9 if row["forward"] is None else f"{1000 * row['forward']:9.1f}")
                         + f"{1000 * row['backward']:9.1f}{seconds / total:9.1%}"
                         + (f"{row['gflops']:9.0f}" if row["gflops"] else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
