"""python -m bench.shallow: training and prediction of the shallow net, compared with the same net in PyTorch.

"PyTorch" is the plain net in bench/peers, "torch" our own engine for graphics cards (`make torch`), here on the CPU.
Theano and PyTorch start from the same weights and must give the same outputs and losses. Then they take turns on all
cores. The value of a round is the fastest repeat, the result is the median of the rounds, and the faster of PyTorch's
two memory layouts counts. Then four epochs are trained as in shallow.train, to find the fraction of the time that its
updates take.
"""
import json
import tempfile
from pathlib import Path

from bench.peer import Peer, check_outputs, has_torch_engine, take_turns
from common.arguments import Parser, positive_int
from common.errors import run

ROUNDS = 7
# name, method, images, repeats per round, goal: the highest ratio to PyTorch's time
TASKS = (("training step, 128 images", "train", 128, 2, 1.1), ("prediction, 128 images", "predict", 128, 3, 1.0),
         ("prediction, 1 image", "predict", 1, 20, 1.0))
EPOCHS, IMAGES = 4, 384  # of the training in `update_fraction`
TOLERANCE = 1e-3  # relative, between outputs and losses


def main():
    """Run the benchmark, print the results and write them."""
    parser = Parser("bench.shallow", __doc__)
    parser.add_argument("--peer", required=True, metavar="PYTHON", help="Python interpreter that has PyTorch")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument("--rounds", type=positive_int, default=ROUNDS, help="number of rounds (default: %(default)s)")
    args = parser.parse_args()

    from common.files import write_json
    from common.machine import keep_freed_memory
    from common.runs import collect_versions

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        rows = compare_with_pytorch(args.peer, Path(folder), args.rounds)
        fraction_of_updates = update_fraction(Path(folder))
    write_json(args.out, {"unit": "s, median", "tasks": rows, "update_fraction": fraction_of_updates,
                          "versions": collect_versions()})
    print(to_text(rows, fraction_of_updates))
    print(args.out)


def compare_with_pytorch(python, folder, rounds):
    """Time the tasks with Theano and PyTorch.

    Parameters
    ----------
    python : path
        Python interpreter that has PyTorch.
    folder : path
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
    import numpy as np

    from common.progress import progress
    from shallow import weights
    from shallow.predictor import Predictor
    from shallow.settings import resolve
    from shallow.updates import TrainingStep

    settings = resolve("paper", init="released")
    step = TrainingStep(settings)
    rng = np.random.default_rng(0)
    images, targets = rng.random((128, 3, 96, 96), np.float32), rng.random((128, 2304), np.float32)
    parameters = {name: variable.get_value() for name, variable in step.parameters.items()}
    np.savez(folder / "start.npz", images=images, targets=targets, **parameters)
    weights.save(folder / "weights.npz", parameters, settings)
    predictor = Predictor(folder / "weights.npz")
    schedule = settings["learning_rate"][0], settings["momentum"][0]

    steps, predictors = {"theano": step}, {"theano": predictor}
    if has_torch_engine():
        from shallow.torch_engine import TorchStep

        steps["torch"] = TorchStep(settings, device="cpu")
        predictors["torch"] = Predictor(folder / "weights.npz", engine="torch", device="cpu")
    train = {name: lambda count, step=step: step.update(images[:count], targets[:count], *schedule)
             for name, step in steps.items()}
    predict = {name: lambda count, predictor=predictor: predictor.forward(images[:count])
               for name, predictor in predictors.items()}

    with Peer(python, "pytorch_shallow", folder / "start.npz", json.dumps(settings)) as peer, \
            progress(total=rounds * len(TASKS), unit="round", description="shallow net") as bar:
        expected = {name: [float(predict[name](128).mean()), *(train[name](128) for _ in range(2))] for name in train}
        check_outputs(peer, 128, expected, TOLERANCE)
        return take_turns(TASKS, {"train": train, "predict": predict}, peer, rounds, bar)


def update_fraction(folder):
    """Return the fraction of an epoch's time that its updates take in the loop of shallow.train, without validation."""
    import h5py
    import numpy as np

    from common import runs
    from common.interrupts import Interrupts
    from shallow.batches import TrainingData
    from shallow.settings import resolve
    from shallow.trainer import Trainer
    from shallow.updates import TrainingStep

    rng = np.random.default_rng(0)
    with h5py.File(folder / "shallow.h5", "w") as file:
        for group, count in (("train", IMAGES), ("val", 2)):
            file.create_dataset(f"{group}/image", data=rng.integers(0, 256, (count, 3, 96, 96), np.uint8),
                                chunks=(1, 3, 96, 96))
            file.create_dataset(f"{group}/map", data=rng.random((count, 48, 48), np.float32), chunks=(1, 48, 48))
    settings = resolve("paper", epochs=EPOCHS)
    with TrainingData(folder / "shallow.h5") as arrays, Interrupts() as interrupts:
        Trainer(TrainingStep(settings), arrays, settings, folder, 3600).train(interrupts)
    epochs = [row for row in runs.read_log(folder / "log.csv") if row["val_loss"] is None]
    return sum(row["step_seconds"] for row in epochs) / sum(row["seconds"] for row in epochs)


def to_text(rows, fraction_of_updates):
    """Format the results as a table for the terminal."""
    lines = [f"\n{'shallow net, seconds':28}{'Theano':>9}{'torch':>9}{'PyTorch':>9}{'ratio':>8}{'goal':>7}"]
    for row in rows:
        cells = "".join(f"{row[name]:9.4f}" if name in row else " " * 9 for name in ("theano", "torch", "pytorch"))
        lines.append(f"{row['task']:28}{cells}{row['ratio']:7.2f}x{row['goal']:6.1f}x")
    return "\n".join([*lines, f"updates take {fraction_of_updates:.1%} of an epoch's time"])


if __name__ == "__main__":
    run(main)
