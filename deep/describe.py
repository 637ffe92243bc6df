"""What the deep net is made of, as Caffe lays it out."""
import contextlib
import re
import tempfile
from pathlib import Path

import numpy as np

from data.runs import read_config
from deep.backend import DEPLOY, TRAIN_VAL, load_caffe
from deep.preprocess import TRAIN_SIZE
from deep.weights import check_weights, net_shapes, read_caffemodel


def describe(weights=None):
    """List the blobs and parameters of the deploy net, and take out the first layer's filters.

    Table 1's 123.65 MiB of data are all blobs at 320x240, each once: layers that work in place, as
    the ReLUs do, have none of their own.

    Parameters
    ----------
    weights : path of a .caffemodel, or None

    Returns
    -------
    (dict of str: tuple, dict of str: tuple, float32 (96, 7, 7, 3) or None)
        Shapes of the blobs, batch of 1, and of the parameters; the filters of `weights` in RGB.

    Raises
    ------
    UserError
        Caffe is not there, or the weights are damaged, diverged or another net's.
    """
    caffe = load_caffe()
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    blobs = {name: tuple(blob.data.shape) for name, blob in net.blobs.items()}
    parameters = {f"{layer}.{kind}": shape for layer, shapes in net_shapes(net).items()
                  for kind, shape in zip(("weights", "bias"), shapes)}
    if weights is None:
        return blobs, parameters, None
    read_config(weights, "deep")
    layers = read_caffemodel(weights)
    check_weights(layers, net_shapes(net), weights)
    return blobs, parameters, image_filters(layers["conv1"][0])


def image_filters(kernels):
    """Caffe's kernels as the image sees them: (n, 3, h, w), BGR -> float32 (n, h, w, 3), RGB."""
    return np.ascontiguousarray(kernels[:, ::-1].transpose(0, 2, 3, 1), np.float32)


@contextlib.contextmanager
def one_image(kind):
    """The net at work on a single image of 320x240, for models.memory.

    Parameters
    ----------
    kind : "train" or "test"

    Yields
    ------
    callable
        Makes one update, or one prediction, each time it is called.
    """
    caffe = load_caffe()
    if kind == "test":
        yield caffe.Net(str(DEPLOY), caffe.TEST).forward
        return
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        width, height = TRAIN_SIZE
        with h5py.File(f"{folder}/data.h5", "w") as data:
            data["data"] = np.zeros((1, 3, height, width), np.float32)
            data["label"] = np.zeros((1, 1, height, width), np.float32)
        Path(folder, "list.txt").write_text(f"{folder}/data.h5\n")
        net = re.sub(r'source: "[^"]*"', f'source: "{folder}/list.txt"', TRAIN_VAL.read_text(encoding="utf-8"))
        Path(folder, "net.prototxt").write_text(re.sub(r"batch_size: \d+", "batch_size: 1", net))
        Path(folder, "solver.prototxt").write_text(
            f'net: "{folder}/net.prototxt" type: "SGD" base_lr: 0 lr_policy: "fixed" momentum: 0.9 weight_decay: 5e-7 '
            'snapshot_after_train: false')
        solver = caffe.get_solver(f"{folder}/solver.prototxt")
        yield lambda: solver.step(1)
