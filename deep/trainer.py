"""The training loop of the deep net: Caffe's solver, driven an iteration at a time.

It runs in the process that `deep.backend.run_in_subprocess` makes, since a CHECK of Caffe's that fails ends it.
"""
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from common import runs
from common.errors import UserError
from common.files import atomic, need_space, read_json, sync, write_json
from common.interrupts import Interrupts
from common.monitor import check_finite
from common.progress import progress
from deep.backend import load_caffe
from deep.monitor import Monitor
from deep.prototxt import TRAIN_VAL, parse_prototxt
from deep.weights import check_shapes, check_weights, net_shapes, read_caffemodel, read_history

WEIGHTS, START = "weights.caffemodel", "start.caffemodel"
MARKER = "snapshot.json"  # names the snapshot that is whole
TWO_HISTORIES = ("Adam", "AdaDelta")  # solvers that keep two numbers a weight; the others keep one
DIVERGED = 'lower base_lr (section 4.2: "using a larger learning rate causes the learning to diverge"), give --restart'
RESTART = "give --restart to train from the beginning"


def train(folder, vgg=None, rescale_conv1=False):
    """Train what `folder` describes, to the end, from the beginning or from its newest snapshot.

    Parameters
    ----------
    folder : str, the run folder with solver.prototxt and train_val.prototxt
    vgg : path of VGG_CNN_M.caffemodel, or None
    rescale_conv1 : bool, see `deep.surgery.transplant`

    Raises
    ------
    UserError
        The loss is no longer a number, a snapshot is damaged or cannot be written, or VGG's weights do not fit.
    """
    run = Run(Path(folder))
    if vgg and not run.solver.iter:
        from deep.surgery import transplant
        print("\n".join(["start of the layers:", *transplant(run.solver.net, vgg, rescale_conv1)]), flush=True)
        run.save(START)  # for those who repeat the run with `caffe train`
    with Interrupts() as interrupts:
        run.train(interrupts)
    run.finish()


class Run:
    """A training run between two moments that it can be resumed from.

    Parameters
    ----------
    folder : pathlib.Path
    """

    def __init__(self, folder):
        self.caffe = load_caffe()
        self.folder = folder
        self.settings = parse_prototxt(folder / "solver.prototxt", self.caffe.proto.caffe_pb2.SolverParameter())
        self.solver = self._open_solver()
        self.gradients = {}
        # Caffe overwrites gradients with the step it takes, so they are looked at in between
        self.solver.add_callback(lambda: None, self._note_gradients)
        # row: of the snapshot's iteration, where it was taken before that was validated and logged
        saved = self._resume() if (folder / MARKER).is_file() else {"iteration": 0, "monitor": None, "row": None}
        self.monitor = Monitor(self.settings.max_iter, saved["monitor"])
        self.pending = saved["row"]

    def train(self, interrupts):
        """Make the iterations that are left."""
        settings, solver = self.settings, self.solver
        logged = solver.iter - (self.pending is not None)
        log = runs.Log(self.folder / "log.csv", columns(solver.net), logged)
        with progress(total=settings.max_iter, description="deep net", unit="step", initial=logged) as bar:
            while self.pending or solver.iter < settings.max_iter:
                resumed, row = self.pending is not None, self.pending or self._step()
                self.pending = row
                due = solver.iter % settings.snapshot == 0 and solver.iter < settings.max_iter
                if due and not resumed:
                    self._snapshot()
                try:
                    interrupts.check()
                    if solver.iter % settings.test_interval == 0 or solver.iter == settings.max_iter:
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
                    self._mark()
                bar.update()

    def save(self, name):
        """Write the weights into the run folder."""
        need_space(self.folder, _size(self.solver.net))  # Caffe aborts on a full disk
        with atomic(self.folder / name) as scratch:
            self.solver.net.save(str(scratch))

    def finish(self):
        """Write the final weights, and remove what only an unfinished run needs."""
        self.save(WEIGHTS)
        remove_snapshots(self.folder)
        print(f"{self.folder / WEIGHTS}: the deep net after {self.settings.max_iter} iterations")

    def _step(self):
        """One iteration; returns its row of the log."""
        started = time.monotonic()
        rate = learning_rate(self.settings, self.solver.iter)
        self.solver.step(1)
        weights = _norms(self.solver.net, "data")
        row = {"iteration": self.solver.iter, "lr": rate, **_losses(self.solver.net)}
        check_finite(self.folder, f"iteration {row['iteration']}", DIVERGED, loss=row["loss"])
        for line in self.monitor.check(row["loss"], weights, self.gradients):
            print(f"\nwarning: after iteration {row['iteration']}, {line}", file=sys.stderr, flush=True)
        row.update({f"weights_{name}": norm for name, norm in weights.items()},
                   **{f"gradient_{name}": norm for name, norm in self.gradients.items()})
        return {**row, "seconds": time.monotonic() - started}

    def _note_gradients(self):
        self.gradients = _norms(self.solver.net, "diff")

    def _validate(self, interrupts):
        """Mean loss and CC over the held-out images, always the same ones: a new net starts at the first."""
        net = self.caffe.Net(str(self.folder / "train_val.prototxt"), self.caffe.TEST)
        net.share_with(self.solver.net)
        losses, correlations = [], []
        for _ in range(self.settings.test_iter[0]):
            interrupts.check()
            net.forward()
            losses.append(float(net.blobs["loss"].data))
            with np.errstate(invalid="ignore", divide="ignore"):  # a constant map correlates with nothing
                correlations += [np.corrcoef(map_.ravel(), label.ravel())[0, 1]
                                 for map_, label in zip(net.blobs["deconv"].data, net.blobs["label"].data)]
        loss = float(np.mean(losses))
        check_finite(self.folder, f"iteration {self.solver.iter}", DIVERGED, val_loss=loss)
        return {"val_loss": loss, "val_rmse": (2 * loss / net.blobs["label"].data[0].size) ** 0.5,
                "val_cc": float(np.mean(np.nan_to_num(correlations)))}

    def _open_solver(self):
        """A solver that neither tests nor writes snapshots by itself: `train` does, where it can see them."""
        from google.protobuf import text_format

        driven = type(self.settings)()
        driven.CopyFrom(self.settings)
        for field in ("test_iter", "test_interval", "test_initialization", "snapshot", "display"):
            driven.ClearField(field)
        driven.snapshot_after_train = False
        (self.folder / "snapshots").mkdir(exist_ok=True)  # Caffe does not make it
        with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
            file.write(text_format.MessageToString(driven))
            file.flush()
            return self.caffe.get_solver(file.name)

    def _resume(self):
        """Go back to the newest whole snapshot, and to the same place in the data; returns what its marker says."""
        saved = {"monitor": None, "row": None, **read_json(self.folder / MARKER)}
        state, model = self._snapshot_files(saved.get("iteration"))
        if not (state.is_file() and model.is_file()):
            raise UserError(f"{state}: gone, though {self.folder / MARKER} promises it; {RESTART}")
        shapes = net_shapes(TRAIN_VAL)
        try:
            check_weights(read_caffemodel(model), shapes, model)
            history, wanted = read_history(state), [shape for layer in shapes.values() for shape in layer]
            check_shapes(history, wanted * (2 if self.settings.type in TWO_HISTORIES else 1), state)
        except UserError as error:
            raise UserError(f"{error}; it is a snapshot of this run: {RESTART}") from error
        self._restore(state, model)
        if self.solver.iter != saved["iteration"]:
            raise UserError(f"{state}: is of iteration {self.solver.iter}, not of {saved['iteration']}; {RESTART}")
        # HDF5Data starts at the first image again, and comes round to it after as many batches as there are images
        for _ in range(saved["iteration"] % _training_images(self.folder)):
            self.solver.net.forward(end="data")
        return saved

    def _restore(self, state, model):
        """Have Caffe load a snapshot, with the weights beside it: the state names them by the path they once had."""
        parsed = self.caffe.proto.caffe_pb2.SolverState()
        parsed.ParseFromString(state.read_bytes())
        parsed.learned_net = str(model.resolve())
        with tempfile.TemporaryDirectory() as folder:
            need_space(folder, state.stat().st_size)
            Path(folder, state.name).write_bytes(parsed.SerializeToString())
            self.solver.restore(str(Path(folder, state.name)))

    def _snapshot(self):
        """Write weights and momentum; the marker names them once they are whole, the last ones go after that."""
        need_space(self.folder, (3 if self.settings.type in TWO_HISTORIES else 2) * _size(self.solver.net))
        self.solver.snapshot()
        newest = self._snapshot_files(self.solver.iter)
        for path in newest:
            sync(path)
        self._mark()
        for path in (self.folder / "snapshots").iterdir():
            if path not in newest:
                path.unlink()

    def _mark(self):
        write_json(self.folder / MARKER,
                   {"iteration": self.solver.iter, "monitor": self.monitor.state, "row": self.pending})

    def _snapshot_files(self, iteration):
        """Where Caffe puts what belongs to an iteration: momentum, weights."""
        state = self.folder / "snapshots" / f"snapshot_iter_{iteration}.solverstate"
        return state, state.with_suffix(".caffemodel")


def remove_snapshots(folder):
    """Remove what only an unfinished run needs. The folder for snapshots stays: `caffe train` does not make it."""
    (folder / MARKER).unlink(missing_ok=True)
    for path in (folder / "snapshots").glob("*"):
        path.unlink()


def columns(net):
    """The columns of log.csv: `weights_` and `gradient_` are norms, one of each a layer."""
    return ["iteration", "lr", "loss", "rmse", "val_loss", "val_rmse", "val_cc", "seconds",
            *(f"{what}_{name}" for what in ("weights", "gradient") for name in net.params)]


def _norms(net, what):
    """{layer: Euclidean norm of its weights' "data" or "diff"}; biases left out."""
    return {name: float(np.linalg.norm(getattr(blobs[0], what).ravel())) for name, blobs in net.params.items()}


def _size(net):
    """Bytes of a net's weights, and a little more for their names."""
    return sum(blob.data.nbytes for blobs in net.params.values() for blob in blobs) + (1 << 20)


def _losses(net):
    """Caffe's loss, sum / (2 x images), and the root mean square error of a pixel behind it."""
    loss = float(net.blobs["loss"].data)
    pixels = net.blobs["label"].data[0].size
    return {"loss": loss, "rmse": (2 * loss / pixels) ** 0.5}


def _training_images(folder):
    """How many images there are in the files of a run's train.txt."""
    import h5py

    count = 0
    for path in (folder / "train.txt").read_text(encoding="utf-8").splitlines():
        with h5py.File(path) as shard:
            count += len(shard["data"])
    return count


def learning_rate(settings, iteration):
    """The rate that Caffe's solver uses in an iteration, counted from 0; the formulas stand in caffe.proto.

    Parameters
    ----------
    settings : SolverParameter
    iteration : int

    Returns
    -------
    float; None for a policy that is not known
    """
    base, gamma, policy = settings.base_lr, settings.gamma, settings.lr_policy
    if policy == "multistep":
        return base * gamma ** sum(value <= iteration for value in settings.stepvalue)
    formulas = {
        "fixed": lambda: base,
        "step": lambda: base * gamma ** (iteration // settings.stepsize),
        "exp": lambda: base * gamma ** iteration,
        "inv": lambda: base * (1 + gamma * iteration) ** -settings.power,
        "poly": lambda: base * (1 - iteration / settings.max_iter) ** settings.power,
        "sigmoid": lambda: base * (1 + math.tanh(gamma * (iteration - settings.stepsize) / 2)) / 2,  # never overflows
    }
    return formulas[policy]() if policy in formulas else None
