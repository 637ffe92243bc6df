"""python -m deep.summary: print the layers of any prototxt with a net, with their sizes, and its mistakes by line.

For every layer: type, kernel, stride, padding, shape of the output, number of weights, multiplications (each with an
addition) and MiB of the output as float32. Mistakes at which Caffe would stop are printed as FILE:LINE: fault; remedy,
and the exit code is 1. Layers that read files get the shapes in these files; if the files are missing, those that
deep.prepare writes, or those of --shape.
"""
import argparse
import contextlib
import sys
import tempfile

import numpy as np

from common.arguments import Parser
from common.errors import run, to_printable
from common.layers import to_text
from common.runs import read_config
from deep.backend import load_caffe
from deep.layers import has_phases, list_layers
from deep.prototxt import DEPLOY
from deep.trainer import create_solver
from deep.training_net import PHASES
from deep.weights import check_weights, net_shapes, read_caffemodel


def main():
    """Parse the command line and print the layers and mistakes of a net."""
    parser = Parser("deep.summary", __doc__)
    parser.add_argument("prototxt", help="file with a net, such as deep/deploy.prototxt")
    parser.add_argument("--phase", choices=[phase.lower() for phase in PHASES], default="train",
                        help="phase whose layers are printed; both are checked (default: %(default)s)")
    parser.add_argument("--shape", action="append", default=[], type=_named_shape, metavar="NAME=2x3x240x320",
                        help="shape of an output of a layer that reads files; may be given several times")
    args = parser.parse_args()

    phase, shapes = args.phase.upper(), dict(args.shape)
    layers, faults = list_layers(args.prototxt, phase, shapes)
    if layers and has_phases(args.prototxt):
        other = next(other for other in PHASES if other != phase)
        faults = sorted({*faults, *list_layers(args.prototxt, other, shapes)[1]})
    if layers:
        print(f"{args.prototxt}\n{to_text(layers)}")
    sys.stdout.flush()
    for fault in faults:
        print(to_printable(f"{args.prototxt}:{fault.line}: {fault.text}"), file=sys.stderr)
    return 1 if faults else 0


def _named_shape(text):
    """Convert "data=2x3x240x320" to ("data", [2, 3, 240, 320])."""
    name, _, sizes = text.partition("=")
    sizes = sizes.split("x")
    if not name or not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=2x3x240x320")
    return name, [int(size) for size in sizes]


def summary(weights=None):
    """List the blobs and parameters of the deploy net, and extract the first layer's filters.

    Table 1's 123.65 MiB of data is the size of all blobs at 320x240. In-place layers, such as the ReLUs, have no blob
    of their own.

    Parameters
    ----------
    weights : path of a .caffemodel, or None

    Returns
    -------
    (dict of str: tuple, dict of str: tuple, list of Layer, float32 (96, 7, 7, 3) or None)
        Shapes of the blobs for a batch of 1; shapes of the parameters; the layers; conv1's filters in `weights`, RGB.

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
    layers, _ = list_layers(DEPLOY)
    if weights is None:
        return blobs, parameters, layers, None
    read_config(weights, "deep")
    arrays = read_caffemodel(weights)
    check_weights(arrays, net_shapes(DEPLOY), weights)
    return blobs, parameters, layers, image_filters(arrays["conv1"][0])


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
    from deep.preprocess import TRAIN_SIZE

    caffe = load_caffe()
    if kind == "test":
        yield caffe.Net(str(DEPLOY), caffe.TEST).forward
        return
    with tempfile.TemporaryDirectory() as folder:
        width, height = TRAIN_SIZE
        image, map_ = (np.zeros((1, channels, height, width), np.float32) for channels in (3, 1))
        solver = create_solver(folder, image, map_, batch=1, base_lr=0)
        yield lambda: solver.step(1)


if __name__ == "__main__":
    run(main)
