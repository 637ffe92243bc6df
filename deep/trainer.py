"""Train the deep net: the loop that runs an engine one iteration at a time.

The loop runs in the subprocess of `deep.backend.run_in_subprocess`, because a failed assertion in Caffe (CHECK) ends
the process.
"""
import contextlib
import re
import sys
import time
from pathlib import Path

import numpy as np

from common import runs
from common.errors import UserError
from common.files import NONE, NUMBER, atomic, need_space, read_json, sync, write_json
from common.interrupts import Interrupts
from common.monitor import check_finite
from common.progress import progress
from deep.backend import load_caffe
from deep.monitor import Monitor
from deep.prototxt import SOLVER, TRAIN_VAL, parse_prototxt
from deep.solver import learning_rate
from deep.training_net import SETTING, read_training_net
from deep.weights import check_shapes, check_weights, read_caffemodel, read_history

WEIGHTS, START = "weights.caffemodel", "start.caffemodel"
MARKER = "snapshot.json"  # names the newest complete snapshot
MARKER_CONTENT = {"iteration": int, "row?": (NONE, {str: NUMBER}),
                  "monitor?": (NONE, {"losses": [NUMBER], "raised": [str]})}
MEGABYTE = 2**20  # upper bound of what a weights file holds besides weights, such as the names of layers
TWO_HISTORIES = ("Adam", "AdaDelta")  # solvers with two values of history per weight; the others have one
DIVERGED = 'lower base_lr (section 4.2: "using a larger learning rate causes the learning to diverge"), give --restart'
RESTART = "give --restart to train from the beginning"


def train(folder, vgg=None, rescale_conv1=False, engine="caffe", options=None):
    """Train to the end, from the beginning or from the newest snapshot in the run folder.

    Parameters
    ----------
    folder : str, run folder with solver.prototxt and train_val.prototxt
    vgg : path of VGG_CNN_M.caffemodel, or None
    rescale_conv1 : bool, see `deep.surgery.transplant`
    engine : "caffe" or "torch"
    options : dict or None
        Keyword arguments of the engine's class.

    Raises
    ------
    UserError
        The loss is NaN or infinite, a snapshot is damaged or cannot be written, VGG's weights do not fit, or the engine
        is not installed or lacks memory.
    """
    folder = Path(folder)
    (folder / "snapshots").mkdir(exist_ok=True)  # Caffe does not create it
    train_with(folder, load_engine(engine)(folder, **(options or {})), vgg, rescale_conv1)


def train_with(folder, engine, vgg=None, rescale_conv1=False):
    """Train as `train` does, with an engine that is loaded; `folder` is a pathlib.Path."""
    run = Run(folder, engine)
    if vgg and not run.engine.iteration:
        print("\n".join(["initial weights:", *run.engine.transplant(vgg, rescale_conv1)]), flush=True)
        run.save(START)  # to repeat the run with `caffe train`
    with Interrupts() as interrupts:
        run.train(interrupts)
    run.finish()


def load_engine(name):
    """Import the class of an engine, "caffe" or "torch"; each needs libraries that the other does not."""
    if name == "torch":
        from deep.torch_engine import TorchEngine as Engine
    else:
        from deep.caffe_engine import CaffeEngine as Engine
    return Engine


class Run:
    """A training run that can be interrupted and resumed.

    Parameters
    ----------
    folder : pathlib.Path
        Run folder. If it has a snapshot, the run resumes from it.
    engine : deep.caffe_engine.CaffeEngine or deep.torch_engine.TorchEngine
    """

    def __init__(self, folder, engine):
        self.folder, self.engine, self.settings = folder, engine, engine.settings
        self.validation_images = self.settings.test_iter[0] * read_training_net(folder / SETTING).batch_sizes["TEST"]
        # row: log row of the snapshot's iteration if the run stopped before that iteration was validated and logged,
        # else None
        saved = self._resume() if (folder / MARKER).is_file() else {"iteration": 0, "monitor": None, "row": None}
        self.monitor = Monitor(self.settings.max_iter, saved["monitor"])
        self.pending = saved["row"]

    def train(self, interrupts):
        """Run the remaining iterations.

        Parameters
        ----------
        interrupts : common.interrupts.Interrupts
        """
        settings, engine = self.settings, self.engine
        logged = engine.iteration - (self.pending is not None)
        log = runs.Log(self.folder / "log.csv", log_columns(engine.layers), logged)
        with progress(total=settings.max_iter, description="deep net", unit="iteration", initial=logged) as bar:
            while self.pending or engine.iteration < settings.max_iter:
                resumed, row = self.pending is not None, self.pending or self._iterate()
                self.pending = row
                iteration = engine.iteration
                due = iteration % settings.snapshot == 0 and iteration < settings.max_iter
                if due and not resumed:
                    self._snapshot()
                try:
                    interrupts.check()
                    if iteration % settings.test_interval == 0 or iteration == settings.max_iter:
                        row = {**row, **self._validate(interrupts)}
                        bar.set_postfix(val_cc=f"{row['val_cc']:.3f}", val_rmse=f"{row['val_rmse']:.3f}")
                except KeyboardInterrupt:
                    bar.close()
                    if not (due or resumed):
                        self._snapshot()
                    raise
                log.write(**row)
                self.pending = None
                if due or resumed:
                    self._write_marker()
                bar.update()

    def save(self, name):
        """Write the weights into the run folder."""
        need_space(self.folder, self.engine.size + MEGABYTE)  # Caffe aborts on a full disk
        with atomic(self.folder / name) as scratch:
            self.engine.save(scratch)

    def finish(self):
        """Write the final weights, and remove the snapshots."""
        self.save(WEIGHTS)
        remove_snapshots(self.folder)
        print(f"{self.folder / WEIGHTS}: the deep net after {self.settings.max_iter} iterations")

    def _iterate(self):
        """Run one iteration; return its row of the log."""
        started = time.monotonic()
        rate = learning_rate(self.settings, self.engine.iteration)
        loss, weights, gradients = self.engine.step()
        row = {"iteration": self.engine.iteration, "lr": rate, "loss": loss, "rmse": self._rmse(loss)}
        check_finite(self.folder, f"iteration {row['iteration']}", DIVERGED, loss=loss)
        for line in self.monitor.check(loss, weights, gradients):
            print(f"\nwarning: after iteration {row['iteration']}, {line}", file=sys.stderr, flush=True)
        row.update({f"weights_{name}": norm for name, norm in weights.items()},
                   **{f"gradient_{name}": norm for name, norm in gradients.items()})
        return {**row, "seconds": time.monotonic() - started}

    def _validate(self, interrupts):
        """Compute the mean loss and the mean CC; every validation starts at the first validation image."""
        losses, correlations = [], []
        for data, label in _validation_batches(self.folder, self.engine.batch_size, self.validation_images):
            interrupts.check()
            for map_, target in zip(self.engine.forward(data), label):
                losses.append(((map_.astype(float) - target) ** 2).sum() / 2)
                with np.errstate(invalid="ignore", divide="ignore"):  # the CC of a constant map is NaN
                    correlations.append(np.corrcoef(map_.ravel(), target.ravel())[0, 1])
        loss = float(np.mean(losses))
        check_finite(self.folder, f"iteration {self.engine.iteration}", DIVERGED, val_loss=loss)
        return {"val_loss": loss, "val_rmse": self._rmse(loss), "val_cc": float(np.mean(np.nan_to_num(correlations)))}

    def _rmse(self, loss):
        """Return the root mean square error per pixel; Caffe's loss is the sum of squared errors / (2 x images)."""
        return (2 * loss / self.engine.pixels) ** 0.5

    def _resume(self):
        """Restore the newest complete snapshot and its position in the data; return the content of its marker."""
        saved = {"monitor": None, "row": None, **read_json(self.folder / MARKER, MARKER_CONTENT)}
        state, model = self._snapshot_files(saved["iteration"])
        if not (state.is_file() and model.is_file()):
            raise UserError(f"{state}: missing, although {self.folder / MARKER} names it; {RESTART}")
        shapes = self.engine.shapes
        try:
            check_weights(read_caffemodel(model), shapes, model)
            expected = [shape for layer in shapes.values() for shape in layer]
            check_shapes(read_history(state), expected * (2 if self.settings.type in TWO_HISTORIES else 1), state)
        except UserError as error:
            fault = str(error).rpartition("; ")[0]  # its remedy is for files from elsewhere, not for a snapshot
            raise UserError(f"{fault}; {RESTART}") from error
        self.engine.restore(state, model)
        if self.engine.iteration != saved["iteration"]:
            raise UserError(f"{state}: belongs to iteration {self.engine.iteration}, not to {saved['iteration']}; "
                            f"{RESTART}")
        # Skip the batches that the run has already used: iter_size per iteration. With N images, the position in the
        # data repeats after N batches for any batch size, so only their number mod N must be skipped.
        used = saved["iteration"] * self.settings.iter_size
        self.engine.skip_batches(used % _count_training_images(self.folder))
        return saved

    def _snapshot(self):
        """Write weights and momentum, then the marker that names them, then remove the previous snapshot."""
        arrays = 3 if self.settings.type in TWO_HISTORIES else 2
        need_space(self.folder, arrays * (self.engine.size + MEGABYTE))
        newest = self._snapshot_files(self.engine.iteration)
        self.engine.snapshot(*newest)
        for path in newest:
            sync(path)
        self._write_marker()
        for path in (self.folder / "snapshots").iterdir():
            if path not in newest:
                path.unlink()

    def _write_marker(self):
        write_json(self.folder / MARKER,
                   {"iteration": self.engine.iteration, "monitor": self.monitor.state, "row": self.pending})

    def _snapshot_files(self, iteration):
        """Return the paths of the snapshot of an iteration, with Caffe's names: solver state (momentum), weights."""
        state = self.folder / "snapshots" / f"snapshot_iter_{iteration}.solverstate"
        return state, state.with_suffix(".caffemodel")


def create_solver(folder, data, label, batch=2, **settings):
    """Create a solver of train_val.prototxt and solver.prototxt that trains on arrays and writes no snapshots.

    For benchmarks, tests and measurements of memory.

    Parameters
    ----------
    folder : path
        Folder for the solver's files; keep it while the solver is in use.
    data : float32 (n, 3, h, w), input of the net; h and w multiples of 4
    label : float32 (n, 1, h, w), target
    batch : int
        Batch size.
    **settings
        Fields that replace those of solver.prototxt. Unless base_lr is among them, it is adapted to h and w.

    Returns
    -------
    caffe.SGDSolver
    """
    import h5py
    from google.protobuf import text_format

    from deep.preprocess import TRAIN_SIZE

    caffe, folder = load_caffe(), Path(folder)
    with h5py.File(folder / "data.h5", "w") as file:
        file["data"], file["label"] = np.asarray(data, np.float32), np.asarray(label, np.float32)
    (folder / "list.txt").write_text(f"{folder / 'data.h5'}\n")
    net = re.sub(r'source: "[^"]*"', f'source: "{folder / "list.txt"}"', TRAIN_VAL.read_text(encoding="utf-8"))
    (folder / "net.prototxt").write_text(re.sub(r"batch_size: \d+", f"batch_size: {batch}", net))
    solver = parse_prototxt(SOLVER, caffe.proto.caffe_pb2.SolverParameter())
    for field in ("test_iter", "test_interval", "snapshot", "display"):
        solver.ClearField(field)
    solver.base_lr *= np.prod(TRAIN_SIZE) / np.prod(label.shape[-2:])
    solver.MergeFrom(caffe.proto.caffe_pb2.SolverParameter(
        net=str(folder / "net.prototxt"), snapshot_after_train=False, **settings))
    (folder / "solver.prototxt").write_text(text_format.MessageToString(solver))
    return caffe.get_solver(str(folder / "solver.prototxt"))


def remove_snapshots(folder):
    """Remove the snapshots and their marker. The folder of snapshots stays, since `caffe train` does not create it."""
    (folder / MARKER).unlink(missing_ok=True)
    for path in (folder / "snapshots").glob("*"):
        path.unlink()


def log_columns(layers):
    """List the columns of log.csv; `weights_LAYER` and `gradient_LAYER` are norms."""
    return ["iteration", "lr", "loss", "rmse", "val_loss", "val_rmse", "val_cc", "seconds",
            *(f"{array}_{name}" for array in ("weights", "gradient") for name in layers)]


def count_iterations(folder):
    """Return the number of iterations of a run's newest snapshot, 0 without one, None if the run is complete."""
    path = Path(folder) / MARKER
    if (Path(folder) / WEIGHTS).is_file():
        return None
    return read_json(path, MARKER_CONTENT)["iteration"] if path.is_file() else 0


def _validation_batches(folder, batch_size, count):
    """Read the first `count` validation images of a run, and start again after the last one, as Caffe does.

    Yields
    ------
    (float32 (n, 3, h, w), float32 (n, 1, h, w))
        Inputs and targets; n is `batch_size`, or smaller for the last ones.
    """
    import h5py

    with contextlib.ExitStack() as stack:
        shards = [stack.enter_context(h5py.File(path))
                  for path in (folder / "val.txt").read_text(encoding="utf-8").splitlines()]
        images = [(shard, index) for shard in shards for index in range(len(shard["data"]))]
        for start in range(0, count, batch_size):
            batch = [images[i % len(images)] for i in range(start, min(start + batch_size, count))]
            yield tuple(np.stack([shard[name][index] for shard, index in batch]) for name in ("data", "label"))


def _count_training_images(folder):
    """Count the images in the shards that a run's train.txt lists."""
    import h5py

    count = 0
    for path in (folder / "train.txt").read_text(encoding="utf-8").splitlines():
        with h5py.File(path) as shard:
            count += len(shard["data"])
    return count
