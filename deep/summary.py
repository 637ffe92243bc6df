"""Summarise the deep net as Caffe builds it: blobs, parameters, filters of the first layer."""
import contextlib
import tempfile

import numpy as np

from common.runs import read_config
from deep.backend import load_caffe
from deep.preprocess import TRAIN_SIZE
from deep.prototxt import DEPLOY
from deep.trainer import create_solver
from deep.weights import check_weights, net_shapes, read_caffemodel


def summary(weights=None):
    """List the blobs and parameters of the deploy net, and extract the first layer's filters.

    Table 1's 123.65 MiB of data is the size of all blobs at 320x240. In-place layers, such as the ReLUs, have no blob
    of their own.

    Parameters
    ----------
    weights : path of a .caffemodel, or None

    Returns
    -------
    (dict of str: tuple, dict of str: tuple, float32 (96, 7, 7, 3) or None)
        Shapes of the blobs for a batch of 1; shapes of the parameters; conv1's filters in `weights`, RGB.

    Raises
    ------
    UserError
        Caffe is not built, or the weights are damaged, diverged or those of another net.
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
    """Convert Caffe's kernels, (n, 3, h, w) BGR, to the layout of images, float32 (n, h, w, 3) RGB."""
    return np.ascontiguousarray(kernels[:, ::-1].transpose(0, 2, 3, 1), np.float32)


@contextlib.contextmanager
def one_image(kind):
    """Prepare one training or prediction step on one image of 320x240; models.memory measures it.

    Parameters
    ----------
    kind : "train" or "test"

    Yields
    ------
    callable
        Every call makes one update or one prediction.
    """
    caffe = load_caffe()
    if kind == "test":
        yield caffe.Net(str(DEPLOY), caffe.TEST).forward
        return
    with tempfile.TemporaryDirectory() as folder:
        width, height = TRAIN_SIZE
        image, map_ = (np.zeros((1, channels, height, width), np.float32) for channels in (3, 1))
        solver = create_solver(folder, image, map_, batch=1, base_lr=0)
        yield lambda: solver.step(1)
