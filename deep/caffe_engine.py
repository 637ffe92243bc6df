"""Caffe's solver as an engine of `deep.trainer`.

The other engine is deep.torch_engine. Both have the attributes and methods of `CaffeEngine`, read the prototxt files of
the run folder, and read and write the same files, so a run may change its engine at a snapshot.
"""
import tempfile
from pathlib import Path

import numpy as np

from common.files import need_space
from deep.backend import load_caffe
from deep.prototxt import parse_prototxt
from deep.training_net import SETTING, read_training_net
from deep.weights import read_caffemodel


class CaffeEngine:
    """Caffe's solver, at the first iteration of a run.

    Parameters
    ----------
    folder : pathlib.Path
        Run folder with solver.prototxt, train_val.prototxt and the lists of shards.
    gpu : int or None
        Number of a graphics card, for Caffe's build with CUDA; None computes on the CPU.

    Attributes
    ----------
    settings : SolverParameter
    layers : list of str
        Names of the layers that have weights.
    shapes : dict of str: list of tuple
        Per layer, the shapes of its weights and biases.
    batch_size : int
    pixels : int
        Number of pixels of a target.
    size : int
        Number of bytes of all weights.
    iteration : int
        Number of iterations that are done.
    """

    def __init__(self, folder, gpu=None):
        self.caffe = load_caffe(gpu)
        self.folder = folder
        self.settings = parse_prototxt(folder / "solver.prototxt", self.caffe.proto.caffe_pb2.SolverParameter())
        self.solver = self._open_solver()
        self.net = self.solver.net
        self.layers = list(self.net.params)
        self.shapes = {name: [tuple(blob.data.shape) for blob in blobs] for name, blobs in self.net.params.items()}
        training_net = read_training_net(folder / SETTING)
        self.output, self.loss = training_net.output, training_net.loss
        self.batch_size = self.net.blobs["data"].shape[0]
        self.pixels = self.net.blobs["label"].data[0].size
        self.size = sum(blob.data.nbytes for blobs in self.net.params.values() for blob in blobs)
        self.losses, self.gradients, self.last_layer = [], {}, len(self.net._layer_names) - 1
        # The loss of each of the iter_size batches of an iteration; Caffe keeps that of the last one only.
        self.net.after_forward(self._record_loss)
        # Caffe overwrites the gradients with the update; this callback is called before that
        self.solver.add_callback(self.losses.clear, self._record_gradients)

    @property
    def iteration(self):
        """Return the number of iterations that are done."""
        return self.solver.iter

    def transplant(self, vgg, rescale_conv1):
        """Copy VGG's first layers, see `deep.surgery.transplant`; return a description of all layers, a list of str."""
        from deep.surgery import transplant

        return transplant(self.net, vgg, rescale_conv1, self.folder / SETTING)

    def step(self):
        """Run one iteration: iter_size batches and one update.

        Returns
        -------
        (float, dict of str: float, dict of str: float)
            Caffe's loss, sum of squared errors / (2 x images), mean of the batches; per layer, the Euclidean norms of
            the weights after the update and of their gradient, without biases.
        """
        self.solver.step(1)
        return float(np.mean(self.losses)), _norms(self.net, "data"), self.gradients

    def forward(self, data):
        """Compute the outputs, float32 (n, 1, h, w), of inputs, float32 (n, 3, h, w); n is at most the batch size.

        The training net computes them, so there is no second net. Its data layer overwrites the inputs in the next
        iteration.
        """
        self.net.blobs["data"].data[:len(data)] = data
        self.net.forward(start=self.net._layer_names[1])  # layer 0 is the data layer
        return self.net.blobs[self.output].data[:len(data)]

    def save(self, path):
        """Write the weights as a .caffemodel."""
        self.net.save(str(path))

    def snapshot(self, state, model):
        """Write weights (`model`) and solver state (`state`); Caffe itself writes them to these paths."""
        self.solver.snapshot()

    def restore(self, state, model):
        """Load a snapshot.

        The solver state contains the path of its weights. The run folder may have been moved, and Caffe would leave out
        a layer with another name without an error. So a copy without the path is loaded, and the weights are set here.
        """
        parsed = self.caffe.proto.caffe_pb2.SolverState()
        parsed.ParseFromString(state.read_bytes())
        parsed.ClearField("learned_net")
        with tempfile.TemporaryDirectory() as folder:
            need_space(folder, state.stat().st_size)
            Path(folder, state.name).write_bytes(parsed.SerializeToString())
            self.solver.restore(str(Path(folder, state.name)))
        layers = read_caffemodel(model)
        for name, blobs in self.net.params.items():
            for blob, values in zip(blobs, layers[name], strict=True):
                blob.data[...] = values.reshape(blob.data.shape)

    def skip_batches(self, count):
        """Leave out batches of the training data, as if that many iterations had used them."""
        for _ in range(count):
            self.net.forward(end=self.net._layer_names[0])

    def _record_loss(self, layer):
        if layer == self.last_layer:
            self.losses.append(float(self.net.blobs[self.loss].data))

    def _record_gradients(self):
        """Record the norms of the gradients, which are now the sums over the batches; Caffe divides them later."""
        self.gradients = {name: norm / self.settings.iter_size for name, norm in _norms(self.net, "diff").items()}

    def _open_solver(self):
        """Open a solver without validation and snapshots of its own; deep.trainer controls both."""
        from google.protobuf import text_format

        settings = type(self.settings)()
        settings.CopyFrom(self.settings)
        for field in ("test_iter", "test_interval", "test_initialization", "snapshot", "display"):
            settings.ClearField(field)
        settings.snapshot_after_train = False
        with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
            file.write(text_format.MessageToString(settings))
            file.flush()
            return self.caffe.get_solver(file.name)


def _norms(net, array):
    """Compute the Euclidean norm of every layer's weights (array="data") or gradient ("diff"), without biases."""
    return {name: float(np.linalg.norm(getattr(blobs[0], array).ravel())) for name, blobs in net.params.items()}
