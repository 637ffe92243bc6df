"""The training loop of the deep net: Caffe's solver, driven an iteration at a time.

It runs in the process that `deep.backend.run_guarded` makes, since a CHECK of Caffe's that fails ends it.
"""
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from data import runs
from data.alarms import refuse_nan
from data.errors import UserError
from data.files import atomic, need_space, read_json, sync, write_json
from data.interrupts import Interrupts
from data.progress import progress
from deep.alarms import Alarms
from deep.backend import TRAIN_VAL, load_caffe, parent_is_gone, parse_prototxt
from deep.weights import check_shapes, check_weights, net_shapes, read_caffemodel, read_history

MARKER = "snapshot.json"  # names the snapshot that is whole
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
    if not run.done and vgg:
        from deep.surgery import transplant
        print("\n".join(["start of the layers:", *transplant(run.solver.net, vgg, rescale_conv1)]), flush=True)
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
        self.done, alarms = self._resume()
        self.alarms = Alarms(self.settings.max_iter, alarms)

    def train(self, interrupts):
        """Make the iterations that are left."""
        settings, solver = self.settings, self.solver
        log = runs.Log(self.folder / "log.csv", columns(solver.net), self.done)
        with progress(total=settings.max_iter, description="deep net", unit="step", initial=self.done) as bar:
            while solver.iter < settings.max_iter:
                row = self._step()
                if solver.iter % settings.test_interval == 0 or solver.iter == settings.max_iter:
                    row.update(self._validate())
                    bar.set_postfix(val_cc=f"{row['val_cc']:.3f}", val_rmse=f"{row['val_rmse']:.3f}")
                log.write(**row)
                bar.update()
                try:
                    interrupts.check()
                    if parent_is_gone():
                        raise KeyboardInterrupt
                except KeyboardInterrupt:
                    bar.close()
                    self._snapshot()
                    raise
                if solver.iter % settings.snapshot == 0 and solver.iter < settings.max_iter:
                    self._snapshot()

    def finish(self):
        """Write the final weights, and remove what only an unfinished run needs."""
        need_space(self.folder, _size(self.solver.net))
        with atomic(self.folder / "weights.caffemodel") as scratch:
            self.solver.net.save(str(scratch))
        (self.folder / MARKER).unlink(missing_ok=True)
        for path in (self.folder / "snapshots").iterdir():  # the folder stays: `caffe train` does not make it
            path.unlink()
        print(f"{self.folder / 'weights.caffemodel'}: the deep net after {self.settings.max_iter} iterations")

    def _step(self):
        """One iteration; returns its row of the log."""
        started = time.monotonic()
        rate = _learning_rate(self.settings, self.solver.iter)
        self.solver.step(1)
        weights = _norms(self.solver.net, "data")
        row = {"iteration": self.solver.iter, "lr": rate, **_losses(self.solver.net)}
        refuse_nan(self.folder, f"iteration {row['iteration']}", DIVERGED, loss=row["loss"])
        for line in self.alarms.check(row["loss"], weights, self.gradients):
            print(f"\nwarning: after iteration {row['iteration']}, {line}", file=sys.stderr, flush=True)
        row.update({f"weights_{name}": norm for name, norm in weights.items()},
                   **{f"gradient_{name}": norm for name, norm in self.gradients.items()})
        return {**row, "seconds": time.monotonic() - started}

    def _note_gradients(self):
        self.gradients = _norms(self.solver.net, "diff")

    def _validate(self):
        """Mean loss and CC over the held-out images, always the same ones: a new net starts at the first."""
        net = self.caffe.Net(str(self.folder / "train_val.prototxt"), self.caffe.TEST)
        net.share_with(self.solver.net)
        losses, correlations = [], []
        for _ in range(self.settings.test_iter[0]):
            net.forward()
            losses.append(float(net.blobs["loss"].data))
            with np.errstate(invalid="ignore", divide="ignore"):  # a constant map correlates with nothing
                correlations += [np.corrcoef(map_.ravel(), label.ravel())[0, 1]
                                 for map_, label in zip(net.blobs["deconv"].data, net.blobs["label"].data)]
        loss = float(np.mean(losses))
        refuse_nan(self.folder, f"iteration {self.solver.iter}", DIVERGED, val_loss=loss)
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
        """Go back to the newest whole snapshot, and to the same place in the data.

        Returns
        -------
        (int, dict or None): the iteration, and the state of the alarms
        """
        marker = self.folder / MARKER
        if not marker.is_file():
            return 0, None
        saved = read_json(marker)
        state = self.folder / "snapshots" / f"snapshot_iter_{saved.get('iteration')}.solverstate"
        model = state.with_suffix(".caffemodel")
        if not (state.is_file() and model.is_file()):
            raise UserError(f"{state}: gone, though {marker} promises it; {RESTART}")
        shapes = net_shapes(TRAIN_VAL)
        try:
            check_weights(read_caffemodel(model), shapes, model)
            history, wanted = read_history(state), [shape for layer in shapes.values() for shape in layer]
            # SGD keeps one history, Adam and AdaDelta keep two, one after the other
            check_shapes(history, wanted * max(1, len(history) // len(wanted)), state)
        except UserError as error:
            raise UserError(f"{error}; it is a snapshot of this run: {RESTART}") from error
        self.solver.restore(str(state))
        for _ in range(saved["iteration"] * self.settings.iter_size):  # HDF5Data starts at the first image again
            self.solver.net.forward(end="data")
        return saved["iteration"], saved.get("alarms")

    def _snapshot(self):
        """Write weights and momentum; the marker names them once they are whole, the last ones go after that."""
        need_space(self.folder, 2 * _size(self.solver.net))  # Caffe aborts on a full disk
        self.solver.snapshot()
        newest = f"snapshot_iter_{self.solver.iter}"
        for suffix in (".caffemodel", ".solverstate"):
            sync(self.folder / "snapshots" / f"{newest}{suffix}")
        write_json(self.folder / MARKER, {"iteration": self.solver.iter, "alarms": self.alarms.state})
        for path in (self.folder / "snapshots").iterdir():
            if path.stem != newest:
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


def _learning_rate(settings, iteration):
    """What Caffe's "step" and "fixed" policies use at this iteration, for the log."""
    if settings.lr_policy == "step":
        return settings.base_lr * settings.gamma ** (iteration // settings.stepsize)
    return settings.base_lr if settings.lr_policy == "fixed" else None
