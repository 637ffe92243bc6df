"""python -m bench.shallow: the shallow net's training and prediction against the same net in PyTorch.

Theano and PyTorch start from the same weights, must give the same answers and losses, and then take turns on all
cores; the quickest repeat of each round is taken, and the median of the rounds counts. Of PyTorch's two memory layouts
the quicker one is compared. Then four epochs are trained as shallow.train does, to see what share of the time the
updates have.
"""
import argparse
import json
import tempfile
import time
from pathlib import Path

from bench.peer import Peer
from common.errors import UserError, run

ROUNDS = 7
# name, method, images, repeats a round, most of PyTorch's time that we allow ourselves
WORKS = (("training step, 128 images", "train", 128, 2, 1.1), ("prediction, 128 images", "predict", 128, 3, 1.0),
         ("prediction, 1 image", "predict", 1, 20, 1.0))
EPOCHS, IMAGES = 4, 384  # of the training that is looked at
TOLERANCE = 1e-3  # relative, between the answers and losses of the two


def main():
    """Time, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.shallow", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--peer", required=True, help="Python that has PyTorch")
    parser.add_argument("--out", required=True, help="JSON to write")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    args = parser.parse_args()

    from common.files import write_json
    from common.machine import keep_freed_memory
    from common.runs import collect_versions

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        rows = against_pytorch(args.peer, Path(folder), args.rounds)
        share = step_share(Path(folder))
    write_json(args.out, {"unit": "s, median", "works": rows, "step_share": share, "versions": collect_versions()})
    print(to_text(rows, share))
    print(args.out)


def against_pytorch(python, folder, rounds):
    """Seconds of both, by work.

    Parameters
    ----------
    python : path of the Python that has PyTorch
    folder : path, for the weights that both start from
    rounds : int

    Returns
    -------
    list of dict

    Raises
    ------
    UserError
        The two nets do not answer alike, or the peer stopped.
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
    ours = {"train": lambda count: step.update(images[:count], targets[:count], *schedule),
            "predict": lambda count: predictor.forward(images[:count])}
    rows = []
    with Peer(python, "pytorch_shallow.py", folder / "start.npz", json.dumps(settings)) as peer, \
            progress(total=rounds * len(WORKS), unit="round", description="shallow net") as bar:
        answers = [float(ours["predict"](128).mean()), *(float(ours["train"](128)) for _ in range(2))]
        for layout in ("rows", "channels"):
            theirs = peer.ask(f"{layout}:check", 128, 1)
            if not np.allclose(answers, theirs, rtol=TOLERANCE):
                raise UserError(f"PyTorch's net is not ours: mean answer and two losses {theirs}, ours {answers}; "
                                "mend bench/peers/pytorch_shallow.py")
        for name, what, count, repeats, goal in WORKS:
            times = {"ours": [], "rows": [], "channels": []}
            for _ in range(rounds):
                times["ours"].append(_quickest(lambda: ours[what](count), repeats))  # noqa: B023  called at once
                for layout in ("rows", "channels"):
                    times[layout].append(min(peer.ask(f"{layout}:{what}", count, repeats)))
                bar.update()
            median = {kind: float(np.median(found)) for kind, found in times.items()}
            pytorch = min(median["rows"], median["channels"])
            rows.append({"work": name, "seconds": median["ours"], "pytorch": pytorch,
                         "pytorch_layouts": {kind: median[kind] for kind in ("rows", "channels")},
                         "ratio": median["ours"] / pytorch, "goal": goal})
    return rows


def step_share(folder):
    """Share of an epoch's time that its updates take when shallow.train's own loop runs, validation left out."""
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


def to_text(rows, share):
    """The results as a table for people."""
    lines = [f"\n{'shallow net, seconds':28}{'Theano':>9}{'PyTorch':>9}{'ratio':>8}{'goal':>7}"]
    lines += [f"{row['work']:28}{row['seconds']:9.4f}{row['pytorch']:9.4f}{row['ratio']:7.2f}x{row['goal']:6.1f}x"
              for row in rows]
    return "\n".join([*lines, f"share of an epoch's time that is spent in its updates: {share:.1%}"])


def _quickest(call, repeats):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    run(main)
