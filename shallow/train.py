"""python -m shallow.train: train the shallow net on what shallow.prepare wrote (section 3.2).

The run folder holds config.json, log.csv, checkpoint.npz while it lasts, best.npz (the weights with the
lowest loss on the validation images so far) and at the end weights.npz. Interrupted or killed, the same
command goes on from the checkpoint and ends with the weights of a run that never stopped.
"""
import argparse
import math
import sys
import time
from pathlib import Path

from common import runs
from common.arguments import fraction, non_negative_float, non_negative_int, positive_int
from common.errors import run
from common.interrupts import Interrupts
from shallow.settings import LOSSES, PRESETS, resolve

OVERRIDES = ("epochs", "batch", "learning_rate", "l2", "max_norm", "init", "pools", "dropout", "loss", "target_range")
DIVERGED = "give a lower --learning-rate, and --restart"
CHECKPOINT_SECONDS = 120  # between checkpoints; one is half a gigabyte
FILES = ("checkpoint.npz", "best.npz", "weights.npz")  # of a run folder
LOG_COLUMNS = ["epoch", "lr", "momentum", "loss", "val_loss", "val_cc", "val_spread", "fc1_max_norm", "step_seconds",
               "seconds"]


def main():
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m shallow.train", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--data", required=True, help="folder that shallow.prepare wrote")
    parser.add_argument("--run", required=True, help="run folder, e.g. build/runs/NAME")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="demo",
                        help="the paper's 1,000 epochs, what the released script did, or as many updates as take "
                             "minutes (default: %(default)s); shallow/settings.py has each value with its source")
    preset = parser.add_argument_group("in place of the preset's")
    preset.add_argument("--epochs", type=positive_int, help="length; the schedules stretch with it")
    preset.add_argument("--batch", type=positive_int, help="images an update")
    preset.add_argument("--learning-rate", type=non_negative_float, nargs=2, metavar=("FIRST", "LAST"), help="of the epochs")
    preset.add_argument("--l2", type=non_negative_float, help="penalty on the weights")
    preset.add_argument("--max-norm", type=non_negative_float, help="bound on the maxout layer's incoming weights")
    preset.add_argument("--init", choices=["paper", "released"], help="random start: N(0, 0.01), or Glorot's")
    preset.add_argument("--pools", choices=["2x2", "3x3"], help="second and third pooling, as released or as drawn")
    preset.add_argument("--dropout", type=fraction, help="share of fc1 set to zero; the paper tried 0.5")
    preset.add_argument("--loss", choices=LOSSES, help="squared is the paper's; it tried the others too")
    preset.add_argument("--target-range", type=float, nargs=2, metavar=("LOW", "HIGH"),
                        help="what maps are stretched to: 0 1 in the paper, -1 1 as released")
    parser.add_argument("--conv3-filters", type=int, default=128, choices=[64, 128],
                        help="128, or 64 as for iSUN (default: %(default)s)")
    parser.add_argument("--seed", type=non_negative_int, default=2016, help="of all that is drawn (default: %(default)s)")
    parser.add_argument("--checkpoint-seconds", type=non_negative_int, default=CHECKPOINT_SECONDS,
                        help="between checkpoints of half a gigabyte (default: %(default)s)")
    runs.add_arguments(parser)
    args = parser.parse_args()
    try:
        settings = resolve(args.preset, args.conv3_filters, args.seed,
                           **{name: getattr(args, name) for name in OVERRIDES})
    except ValueError as error:
        parser.error(str(error))
    train(Path(args.data), Path(args.run), settings, args.restart, args.resume, args.checkpoint_seconds)


def train(data, folder, settings, restart=False, resume=False, checkpoint_seconds=CHECKPOINT_SECONDS):
    """Train to the end, from the beginning or from the checkpoint in the run folder.

    Parameters
    ----------
    data : path of the folder that shallow.prepare wrote
    folder : path of the run folder
    settings : dict
        As `shallow.settings.resolve` gives them.
    restart : bool
        Discard an earlier run in the folder.
    resume : bool
        There must be an earlier run in the folder.
    checkpoint_seconds : float
        At least so long between two checkpoints; they are written after whole epochs.

    Raises
    ------
    UserError
        The data or the checkpoint is damaged, there is nothing to resume, the loss diverged, the disk is
        full, or there is no C++ compiler.
    """
    # a later `make data` with other images must not go unnoticed
    settings = {**settings, "data": runs.prepared_data(data, "shallow")}
    with runs.lock_folder(folder):
        runs.start(folder, "shallow", settings, {}, FILES, restart=restart, resume=resume)
        _train(data, folder, settings, checkpoint_seconds)


def _train(data, folder, settings, checkpoint_seconds):
    if (folder / "weights.npz").is_file():
        (folder / "checkpoint.npz").unlink(missing_ok=True)  # of a run that was killed right at its end
        print(f"{folder}: already trained; --restart trains it again")
        return
    from common.machine import keep_freed_memory
    from shallow.batches import TrainingData

    with TrainingData(data / "shallow.h5", settings["target_range"]) as arrays:
        print(f"compiling the shallow net ({len(arrays)} training images; a minute the first time)", flush=True)
        keep_freed_memory()
        from shallow.trainer import Trainer
        trainer = Trainer(settings)
        with Interrupts() as interrupts:
            row = Run(trainer, arrays, settings, folder, checkpoint_seconds).train(interrupts)
    trainer.save(folder / "weights.npz", settings)
    (folder / "checkpoint.npz").unlink(missing_ok=True)
    print(f"{folder / 'weights.npz'}: the shallow net after {row['epoch']} epochs, validation CC {row['val_cc']:.3f}; "
          f"{folder / 'best.npz'}: at its lowest validation loss")


class Run:
    """A training run between two moments that it can be resumed from.

    Parameters
    ----------
    trainer : Trainer
    arrays : TrainingData
    settings : dict
    folder : path
    checkpoint_seconds : float
    """

    def __init__(self, trainer, arrays, settings, folder, checkpoint_seconds):
        self.trainer, self.arrays, self.settings, self.folder = trainer, arrays, settings, folder
        self.checkpoint_seconds = checkpoint_seconds
        self.checkpoint = folder / "checkpoint.npz"
        self.state = {"epoch": 0, "batch": 0, "losses": [], "best": math.inf, "monitor": None}
        if self.checkpoint.is_file():
            self.state.update(trainer.resume(self.checkpoint, settings))
        self.batches = arrays.batches_per_epoch(settings["batch"])
        self.epochs = settings["epochs"] or math.ceil(settings["updates"] / self.batches)

    def train(self, interrupts):
        """Run the epochs that are left; returns the last row of the log."""
        import numpy as np

        from common.monitor import check_finite
        from common.progress import progress
        from shallow.monitor import Monitor

        state, settings = self.state, self.settings
        monitor = Monitor(self.epochs, state["monitor"])
        schedule = {name: np.linspace(*settings[name], self.epochs) for name in ("learning_rate", "momentum")}
        log = runs.Log(self.folder / "log.csv", LOG_COLUMNS, state["epoch"])
        row, saved = {}, time.monotonic()
        with progress(total=self.epochs * self.batches, initial=state["epoch"] * self.batches + state["batch"],
                      description="shallow net", unit="step") as bar:
            for epoch in range(state["epoch"], self.epochs):
                started = time.monotonic()
                row = {"epoch": epoch + 1, "lr": float(schedule["learning_rate"][epoch]),
                       "momentum": float(schedule["momentum"][epoch])}
                row["step_seconds"] = self._steps(row["lr"], row["momentum"], bar, interrupts)
                row["loss"] = float(np.mean(state["losses"]))
                check_finite(self.folder, f"epoch {epoch + 1}", DIVERGED, loss=row["loss"])
                if (epoch + 1) % settings["validate_every"] == 0 or epoch + 1 == self.epochs:
                    row.update(self._validate(epoch + 1))
                    bar.set_postfix(val_cc=f"{row['val_cc']:.3f}", val_loss=f"{row['val_loss']:.4f}")
                for line in monitor.check(row["loss"], row.get("val_spread")):
                    bar.clear()
                    print(f"warning: after epoch {epoch + 1}, {line}", file=sys.stderr, flush=True)
                log.write(**row, seconds=time.monotonic() - started)
                state.update(epoch=epoch + 1, batch=0, losses=[], monitor=monitor.state)
                if time.monotonic() - saved >= self.checkpoint_seconds and epoch + 1 < self.epochs:
                    self._save()
                    saved = time.monotonic()
        return row

    def _steps(self, rate, momentum, bar, interrupts):
        """The updates left in this epoch; returns the seconds spent in them, without reading what they are fed."""
        state, seconds = self.state, 0.0
        for batch in range(state["batch"], self.batches):
            fed = self.arrays.batch(state["epoch"], batch, self.settings)
            started = time.monotonic()
            state["losses"].append(float(self.trainer.step(*fed, rate, momentum)))
            seconds += time.monotonic() - started
            state["batch"] = batch + 1
            bar.update()
            try:
                interrupts.check()
            except KeyboardInterrupt:
                bar.close()
                self._save()
                raise
        return seconds

    def _validate(self, epoch):
        """Measure on the held-out images, and keep the weights if they are the best so far."""
        from common.monitor import check_finite

        found = self.trainer.validate(self.arrays.validation(self.settings["batch"]))
        check_finite(self.folder, f"epoch {epoch}", DIVERGED, val_loss=found["val_loss"])
        if found["val_loss"] < self.state["best"]:
            self.state["best"] = found["val_loss"]
            self.trainer.save(self.folder / "best.npz", {**self.settings, "best": {"epoch": epoch, **found}})
        return found

    def _save(self):
        self.trainer.save(self.checkpoint, self.settings, self.state)


if __name__ == "__main__":
    run(main)
