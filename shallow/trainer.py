"""The training loop of the shallow net: epochs, validation, log, warnings and checkpoints (section 3.2)."""
import math
import sys
import time
from pathlib import Path

import numpy as np

from common import runs
from common.interrupts import Interrupts
from common.machine import keep_freed_memory
from common.monitor import check_finite
from common.progress import progress
from shallow.monitor import Monitor
from shallow.step import read_checkpoint

CHECKPOINT, BEST, WEIGHTS = "checkpoint.npz", "best.npz", "weights.npz"  # in the run folder
CHECKPOINT_SECONDS = 120  # minimum time between two checkpoints; each is half a gigabyte
DIVERGED = "give a lower --learning-rate, and --restart"
LOG_COLUMNS = ["epoch", "lr", "momentum", "loss", "val_loss", "val_cc", "val_spread", "fc1_max_norm", "step_seconds",
               "seconds"]


def train(data, folder, settings, checkpoint_seconds=CHECKPOINT_SECONDS, engine="theano", options=None):
    """Train to the end, from the beginning or from the checkpoint in the run folder, and write weights.npz.

    Parameters
    ----------
    data : path of a folder with shallow.h5
    folder : path of the run folder
    settings : dict
        As returned by `shallow.settings.resolve`.
    checkpoint_seconds : float
        Minimum time between two checkpoints.
    engine : "theano" or "torch"
    options : dict or None
        Keyword arguments of `shallow.torch_engine.TorchStep`.

    Raises
    ------
    UserError
        The data or the checkpoint is damaged, the loss diverged, the disk is full, there is no C++ compiler for
        Theano, or PyTorch's device fails.
    """
    from shallow.batches import TrainingData

    folder = Path(folder)
    with TrainingData(Path(data) / "shallow.h5", settings["target_range"]) as training_data:
        action = "compiling" if engine == "theano" else "training"
        note = "; a minute the first time" if engine == "theano" else ""
        print(f"{action} the shallow net ({len(training_data)} training images{note})", flush=True)
        keep_freed_memory()
        step = load_engine(engine)(settings, **(options or {}))
        with Interrupts() as interrupts:
            row = Trainer(step, training_data, settings, folder, checkpoint_seconds).train(interrupts)
    step.save(folder / WEIGHTS, settings)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    print(f"{folder / WEIGHTS}: the shallow net after {row['epoch']} epochs, validation CC {row['val_cc']:.3f}; "
          f"{folder / BEST}: at its lowest validation loss")


def load_engine(name):
    """Import the class of an engine, "theano" or "torch"; each takes seconds, and libraries that the other lacks."""
    if name == "torch":
        from shallow.torch_engine import TorchStep as Engine
    else:
        from shallow.updates import TrainingStep as Engine
    return Engine


def count_epochs(folder):
    """Return the number of finished epochs of a run's checkpoint, 0 without one, None if the run is complete."""
    path = Path(folder) / CHECKPOINT
    if (Path(folder) / WEIGHTS).is_file():
        return None
    return read_checkpoint(path)[2]["epoch"] if path.is_file() else 0


class Trainer:
    """The training loop. It can stop after any update and resume there from its checkpoint.

    Parameters
    ----------
    step : shallow.step.Step
    data : shallow.batches.TrainingData
    settings : dict
        As returned by `shallow.settings.resolve`.
    folder : pathlib.Path
        The run folder. A checkpoint in it is loaded.
    checkpoint_seconds : float
        Minimum time between two checkpoints, which are written after whole epochs.

    Attributes
    ----------
    state : dict
        What a checkpoint stores: the number of finished epochs, the number of finished batches of the next epoch
        and their losses, the lowest validation loss, and the state of the monitor.
    """

    def __init__(self, step, data, settings, folder, checkpoint_seconds):
        self.step, self.data, self.settings, self.folder = step, data, settings, folder
        self.checkpoint_seconds = checkpoint_seconds
        self.state = {"epoch": 0, "batch": 0, "losses": [], "best": math.inf, "monitor": None}
        if (folder / CHECKPOINT).is_file():
            self.state.update(step.resume(folder / CHECKPOINT, settings))
        self.batches = data.batches_per_epoch(settings["batch"])
        self.epochs = settings["epochs"] or math.ceil(settings["updates"] / self.batches)
        self.schedule = {name: np.linspace(*settings[name], self.epochs) for name in ("learning_rate", "momentum")}
        self.monitor = Monitor(self.epochs, self.state["monitor"])

    def train(self, interrupts):
        """Run the remaining epochs.

        Parameters
        ----------
        interrupts : common.interrupts.Interrupts

        Returns
        -------
        dict
            The last row of the log.

        Raises
        ------
        UserError
            The loss diverged, the data is damaged, or the disk is full.
        KeyboardInterrupt
            A signal arrived; the checkpoint is written.
        """
        state = self.state
        log = runs.Log(self.folder / "log.csv", LOG_COLUMNS, state["epoch"])
        row, saved = {}, time.monotonic()
        with progress(total=self.epochs * self.batches, initial=state["epoch"] * self.batches + state["batch"],
                      description="shallow net", unit="update") as bar:
            for epoch in range(state["epoch"], self.epochs):
                started = time.monotonic()
                row = self._train_epoch(epoch, bar, interrupts)
                log.write(**row, seconds=time.monotonic() - started)
                state.update(epoch=epoch + 1, batch=0, losses=[], monitor=self.monitor.state)
                if time.monotonic() - saved >= self.checkpoint_seconds and epoch + 1 < self.epochs:
                    self._save_checkpoint()
                    saved = time.monotonic()
        return row

    def _train_epoch(self, epoch, bar, interrupts):
        """Train and validate one epoch, counted from 0; return its row of the log."""
        number = epoch + 1
        row = {"epoch": number, "lr": float(self.schedule["learning_rate"][epoch]),
               "momentum": float(self.schedule["momentum"][epoch])}
        row["step_seconds"] = self._update(row["lr"], row["momentum"], bar, interrupts)
        row["loss"] = float(np.mean(self.state["losses"]))
        check_finite(self.folder, f"epoch {number}", DIVERGED, loss=row["loss"])
        if number % self.settings["validate_every"] == 0 or number == self.epochs:
            row.update(self._validate(number))
            bar.set_postfix(val_cc=f"{row['val_cc']:.3f}", val_loss=f"{row['val_loss']:.4f}")
        for line in self.monitor.check(row["loss"], row.get("val_spread")):
            bar.clear()
            print(f"warning: after epoch {number}, {line}", file=sys.stderr, flush=True)
        return row

    def _update(self, rate, momentum, bar, interrupts):
        """Make the remaining updates of this epoch; return the seconds spent in them, without those spent reading."""
        state, seconds = self.state, 0.0
        for batch in range(state["batch"], self.batches):
            images, targets = self.data.batch(state["epoch"], batch, self.settings)
            started = time.monotonic()
            state["losses"].append(float(self.step.update(images, targets, rate, momentum)))
            seconds += time.monotonic() - started
            state["batch"] = batch + 1
            bar.update()
            try:
                interrupts.check()
            except KeyboardInterrupt:
                bar.close()
                self._save_checkpoint()
                raise
        return seconds

    def _validate(self, epoch):
        """Evaluate on the validation images; save the weights if their loss is the lowest so far."""
        metrics = self.step.validate(self.data.validation(self.settings["batch"]))
        check_finite(self.folder, f"epoch {epoch}", DIVERGED, val_loss=metrics["val_loss"])
        if metrics["val_loss"] < self.state["best"]:
            self.state["best"] = metrics["val_loss"]
            self.step.save(self.folder / BEST, {**self.settings, "best": {"epoch": epoch, **metrics}})
        return metrics

    def _save_checkpoint(self):
        self.step.save(self.folder / CHECKPOINT, self.settings, self.state)
