"""python -m shallow.train: train the shallow net on what data.prepare wrote (section 3.2).

The run folder holds config.json, log.csv, checkpoint.npz while it lasts, and weights.npz at the
end. Interrupted, the same command goes on from the checkpoint and ends with the weights of a run
that never stopped.
"""
import argparse
import math
import time
from pathlib import Path

from data import runs
from data.arguments import natural_int, positive_int
from data.errors import UserError, run
from data.files import read_json
from data.interrupts import Interrupts

# Section 3.2 unless another source is named; what it does not say is marked assumed.
PAPER = {
    "init": "paper",
    "epochs": 1000,
    "updates": None,  # of a batch each, where epochs is None
    "batch": 128,  # released script; the paper does not say
    "learning_rate": (0.03, 0.0001),  # first and last epoch, linear in between as in the released script
    "momentum": (0.9, 0.999),  # Nesterov; values and schedule of the released script
    "l2": 1e-5,  # "the standard L2 norm regularizer on the weights": its value is assumed
    "max_norm": 2.0,  # section 3.1, "norm constraint regularization for the maxout layers": its value is assumed
    "mirror": True,  # "mirroring all images": a random half of each batch, as the released script does
    "validate_every": 10,  # epochs; "periodic validation", how often is assumed
}
PRESETS = {
    "paper": PAPER,
    # Minutes instead of hours: as many epochs as make 100 updates. In that time the paper's start
    # would still answer with one map for every image, and its learning rate would hardly have left
    # the start; so the released script's start, and 67 times the rate, with its decline kept.
    # At 400 times the rate every unit dies.
    "demo": {**PAPER, "init": "released", "epochs": None, "updates": 100, "learning_rate": (2.0, 2.0 / 300),
             "validate_every": 5},
}
CHECKPOINT_SECONDS = 60  # between checkpoints; one is half a gigabyte
LOG_COLUMNS = ["epoch", "lr", "momentum", "loss", "val_loss", "val_cc", "fc1_norm", "seconds"]


def main():
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m shallow.train", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--data", required=True, help="folder that data.prepare wrote")
    parser.add_argument("--run", required=True, help="run folder, e.g. build/runs/NAME")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="demo",
                        help="the paper's 1,000 epochs, or as many as take minutes (default: %(default)s)")
    parser.add_argument("--epochs", type=positive_int, help="override the preset's length")
    parser.add_argument("--batch", type=positive_int, help="override the preset's")
    parser.add_argument("--learning-rate", type=float, nargs=2, metavar=("FIRST", "LAST"), help="override the preset's")
    parser.add_argument("--l2", type=float, help="override the preset's penalty on the weights")
    parser.add_argument("--max-norm", type=float, help="override the preset's bound on the maxout layer's weights")
    parser.add_argument("--init", choices=["paper", "released"], help="override the preset's random start")
    parser.add_argument("--conv3-filters", type=int, default=128, choices=[64, 128],
                        help="128, or 64 as for iSUN (default: %(default)s)")
    parser.add_argument("--seed", type=natural_int, default=2016, help="of all that is drawn (default: %(default)s)")
    parser.add_argument("--restart", action="store_true", help="discard what an interrupted run left")
    args = parser.parse_args()
    overrides = {name: getattr(args, name) for name in ("epochs", "batch", "learning_rate", "l2", "max_norm", "init")
                 if getattr(args, name) is not None}
    settings = {"preset": args.preset, **PRESETS[args.preset], **overrides,
                "conv3_filters": args.conv3_filters, "seed": args.seed}
    train(Path(args.data), Path(args.run), {key: list(value) if isinstance(value, tuple) else value
                                            for key, value in settings.items()}, args.restart)


def train(data, folder, settings, restart=False):
    """Train to the end, from the beginning or from the checkpoint in the run folder.

    Parameters
    ----------
    data : path, written by data.prepare
    folder : path of the run folder
    settings : dict
        A preset of PRESETS with conv3_filters and seed.
    restart : bool
        Discard an earlier run in the folder.

    Raises
    ------
    UserError
        The data is damaged, the loss diverged, the disk is full, or there is no C++ compiler.
    """
    # a later `make data` with other images must not go unnoticed
    settings = {**settings, "data": read_json(data / "manifest.json")}
    runs.start(folder, "shallow", settings, {}, restart=restart)
    if (folder / "weights.npz").is_file():
        print(f"{folder}: already trained; --restart trains it again")
        return
    with Arrays(data / "shallow.h5") as arrays:
        print(f"compiling the shallow net ({len(arrays)} training images; a minute the first time)", flush=True)
        trainer = Trainer(settings)
        with Interrupts() as interrupts:
            row = _train_epochs(trainer, arrays, settings, folder, interrupts)
    trainer.save(folder / "weights.npz", settings, with_velocity=False)
    (folder / "checkpoint.npz").unlink(missing_ok=True)
    print(f"{folder / 'weights.npz'}: the shallow net after {row['epoch']} epochs, "
          f"validation CC {row['val_cc']:.3f}")


def _train_epochs(trainer, arrays, settings, folder, interrupts):
    """The training loop; returns the last row of the log."""
    import numpy as np

    from data.progress import progress

    state = trainer.resume(folder / "checkpoint.npz")
    first_epoch, first_batch, losses = state["epoch"], state["batch"], state["losses"]
    batches = arrays.batches_an_epoch(settings["batch"])
    epochs = settings["epochs"] or math.ceil(settings["updates"] / batches)
    schedule = {name: np.linspace(*settings[name], epochs) for name in ("learning_rate", "momentum")}
    log = runs.Log(folder / "log.csv", LOG_COLUMNS, first_epoch)
    bar = progress(total=epochs * batches, initial=first_epoch * batches + first_batch,
                   description="shallow net", unit="step")
    saved = time.monotonic()
    row = {}
    for epoch in range(first_epoch, epochs):
        started = time.monotonic()
        rate, momentum = float(schedule["learning_rate"][epoch]), float(schedule["momentum"][epoch])
        for batch in range(first_batch, batches):
            losses.append(float(trainer.step(*arrays.batch(epoch, batch, settings), rate, momentum)))
            bar.update()
            try:
                interrupts.check()
            except KeyboardInterrupt:
                bar.close()
                trainer.save(folder / "checkpoint.npz", settings, epoch=epoch, batch=batch + 1, losses=losses)
                raise
        row = {"epoch": epoch + 1, "lr": rate, "momentum": momentum, "loss": float(np.mean(losses))}
        if not np.isfinite(row["loss"]):
            raise UserError(f"{folder}: the loss is {row['loss']} in epoch {epoch + 1}: the learning diverged; "
                            "give a lower --learning-rate, and --restart")
        first_batch, losses = 0, []
        if (epoch + 1) % settings["validate_every"] == 0 or epoch + 1 == epochs:
            row.update(trainer.validate(arrays, settings["batch"]))
            bar.set_postfix(val_cc=f"{row['val_cc']:.3f}", val_loss=f"{row['val_loss']:.4f}")
        log.write(**row, seconds=time.monotonic() - started)
        if time.monotonic() - saved > CHECKPOINT_SECONDS and epoch + 1 < epochs:
            trainer.save(folder / "checkpoint.npz", settings, epoch=epoch + 1, batch=0, losses=[])
            saved = time.monotonic()
    bar.close()
    return row


class Trainer:
    """The net, its loss and its update rule, compiled.

    Parameters
    ----------
    settings : dict
        As `train` takes them.
    sizes : dict
        input_size and map_size of `network.build`, for small instances.
    """

    def __init__(self, settings, **sizes):
        from shallow import network
        from shallow.backend import lasagne, tensor, theano

        self.net = network.build(settings["conv3_filters"], settings["init"], settings["seed"], **sizes)
        self.parameters = network.named_parameters(self.net)
        images, targets = tensor.tensor4("images"), tensor.matrix("targets")
        rate, momentum = tensor.scalar("rate"), tensor.scalar("momentum")
        output = lasagne.layers.get_output(self.net, images)
        error = lasagne.objectives.squared_error(output, targets).mean()
        penalty = lasagne.regularization.regularize_network_params(self.net, lasagne.regularization.l2)
        parameters = list(self.parameters.values())
        updates = lasagne.updates.nesterov_momentum(error + settings["l2"] * penalty, parameters, rate, momentum)
        maxout_weights = self.parameters["fc1.W"]
        updates[maxout_weights] = constrain_norm(updates[maxout_weights], settings["max_norm"])
        # Lasagne keeps each parameter's velocity in a shared variable of its own, in the same order
        velocities = [variable for variable in updates if variable not in parameters]
        self.velocities = dict(zip(self.parameters, velocities, strict=True))
        # the penalty's value is not asked for, so only its gradient is computed
        self.step = theano.function([images, targets, rate, momentum], error, updates=updates)
        self.forward = theano.function([images], output)

    def validate(self, arrays, batch):
        """Mean loss and CC over the held-out images, and the largest norm of a maxout unit's weights."""
        import numpy as np

        errors, correlations = [], []
        for images, targets in arrays.validation(batch):
            output = self.forward(images)
            errors += list(((output - targets) ** 2).mean(axis=1))
            with np.errstate(invalid="ignore"):
                correlations += [np.corrcoef(answer, target)[0, 1] for answer, target in zip(output, targets)]
        norms = np.sqrt((self.parameters["fc1.W"].get_value(borrow=True) ** 2).sum(axis=0))
        return {"val_loss": float(np.mean(errors)), "val_cc": float(np.nanmean(correlations)),
                "fc1_norm": float(norms.max())}

    def save(self, path, settings, with_velocity=True, **state):
        """Write the parameters, and for a checkpoint also velocities, epoch, batch and losses."""
        from shallow import weights

        arrays = {name: parameter.get_value(borrow=True) for name, parameter in self.parameters.items()}
        if with_velocity:
            arrays.update({f"velocity/{name}": variable.get_value(borrow=True)
                           for name, variable in self.velocities.items()})
        weights.save(path, arrays, {**settings, **({"state": state} if state else {})})

    def resume(self, path):
        """Load a checkpoint if there is one; returns where the run stands."""
        from shallow import weights

        if not path.is_file():
            return {"epoch": 0, "batch": 0, "losses": []}
        try:
            arrays, settings = weights.load(path)
        except UserError as error:
            raise UserError(f"{path}: the checkpoint is damaged; delete it to train from the beginning") from error
        if "state" not in settings:
            raise UserError(f"{path}: not a checkpoint; delete it to train from the beginning")
        velocities = {name: arrays.pop(f"velocity/{name}") for name in self.parameters if f"velocity/{name}" in arrays}
        weights.assign(self.parameters, arrays, path)
        weights.assign(self.velocities, velocities, path)
        return settings["state"]


def constrain_norm(weights, max_norm):
    """Shrink the columns of a weight matrix that are longer than max_norm to that length.

    The same as lasagne.updates.norm_constraint, whose sum over 59 million squares is not a matrix
    product and takes 0.4 s a step; this takes a tenth of that.

    Parameters
    ----------
    weights : theano matrix (inputs, units)
    max_norm : float

    Returns
    -------
    theano matrix (inputs, units)
    """
    from shallow.backend import tensor

    norms = tensor.sqrt(tensor.dot(tensor.ones_like(weights[:, 0]), tensor.sqr(weights)))
    return weights * (tensor.minimum(norms, max_norm) / tensor.maximum(norms, 1e-7))


class Arrays:
    """shallow.h5, read a batch at a time: order and mirroring depend on seed and epoch alone.

    So a resumed run needs no saved random state to go on with the same batches.
    """

    def __init__(self, path):
        import h5py

        try:
            self._file = h5py.File(path)
            self._groups = {name: (self._file[name]["image"], self._file[name]["map"]) for name in ("train", "val")}
        except (OSError, KeyError) as error:
            raise UserError(f"{path}: missing or damaged ({error}); delete {path.parent} and run `make data` again") \
                from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __len__(self):
        return len(self._groups["train"][0])

    def batches_an_epoch(self, batch):
        """Whole batches only: the images left over in one epoch have their turn in another."""
        return max(1, len(self) // batch)

    def batch(self, epoch, index, settings):
        """Training batch `index` of an epoch: float32 (n, 3, 96, 96) in [0, 1], float32 (n, 2304) in [0, 1]."""
        import numpy as np

        order = np.random.default_rng((settings["seed"], epoch)).permutation(len(self))
        rows = np.sort(order[index * settings["batch"]:(index + 1) * settings["batch"]])
        mirrored = np.random.default_rng((settings["seed"], epoch, index)).random(len(rows)) < 0.5
        # row by row: h5py takes ten times as long to look up a list of rows
        images, maps = (np.stack([array[row] for row in rows]) for array in self._groups["train"])
        if settings["mirror"]:
            images[mirrored], maps[mirrored] = images[mirrored, :, :, ::-1], maps[mirrored, :, ::-1]
        return _fed(images, maps)

    def validation(self, batch):
        """All validation images, in batches as above, never mirrored."""
        images, maps = self._groups["val"]
        for start in range(0, len(images), batch):
            yield _fed(images[start:start + batch], maps[start:start + batch])


def _fed(images, maps):
    from shallow import preprocess

    return preprocess.to_input(images), maps.reshape(len(maps), -1)


if __name__ == "__main__":
    run(main)
