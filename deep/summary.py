"""What the deep net is made of, as Caffe lays it out."""
import contextlib
import tempfile

import numpy as np

from common.runs import read_config
from deep.backend import load_caffe
from deep.preprocess import TRAIN_SIZE
from deep.prototxt import DEPLOY
from deep.solver import solver_on
from deep.weights import check_weights, net_shapes, read_caffemodel


def summary(weights=None):
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
    parameters = {f"{layer}.{kind}": tuple(blob.data.shape) for layer, blobs in net.params.items()
                  for kind, blob in zip(("weights", "bias"), blobs)}
    if weights is None:
        return blobs, parameters, None
    read_config(weights, "deep")
    layers = read_caffemodel(weights)
    check_weights(layers, net_shapes(DEPLOY), weights)
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
    with tempfile.TemporaryDirectory() as folder:
        width, height = TRAIN_SIZE
        image, map_ = (np.zeros((1, channels, height, width), np.float32) for channels in (3, 1))
        solver = solver_on(folder, image, map_, batch=1, base_lr=0)
        yield lambda: solver.step(1)
