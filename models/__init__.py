"""Trained weights and their use: `load` opens either net as a Predictor."""
import common  # noqa: F401  isort: skip  from here on, Ctrl-C is one line
import inspect

import numpy as np

from common.errors import UserError

NETS = ("shallow", "deep")


def load(net, weights, **options):
    """Open a trained net.

    Parameters
    ----------
    net : "shallow" or "deep"
    weights : path
        An .npz for the shallow net, a .caffemodel for the deep net.
    **options
        Options of that net's Predictor.

    Returns
    -------
    common.predictor.Predictor
        `.predict(image uint8 (H, W, 3) RGB) -> float32 (H, W)` in [0, 1].

    Raises
    ------
    UserError
        The net or an option is unknown, or the weights or the engine cannot be loaded.
    """
    if net == "shallow":
        from shallow.predictor import Predictor
    elif net == "deep":
        from deep.predictor import Predictor
    else:
        raise UserError(f"there is no net {net!r}; choose one of: {', '.join(NETS)}")
    names = [name for name in inspect.signature(Predictor).parameters if name != "weights"]
    for name in options:
        if name not in names:
            raise UserError(f"the {net} net has no option {name!r}; choose from: {', '.join(names)}")
    return Predictor(weights, **options)


def torch_module(net, weights):
    """Open a trained net as a PyTorch module, as part of other programs, for example as a loss of images.

    The module is differentiable with respect to its parameters and its input; it does not change settings of PyTorch.

    Parameters
    ----------
    net : "shallow" or "deep"
    weights : path
        As in `load`.

    Returns
    -------
    torch.nn.Module
        On the CPU, float32, in evaluation mode. Its inputs and outputs are those of `.forward` of `load(net, weights)`.
        Deep: float32 (n, 3, h, w) in BGR, (grey levels - mean_bgr) / 127.5, to float32 (n, 1, h, w), about [-1, 1];
        h and w are multiples of 4. Shallow: float32 (n, 3, 96, 96) RGB in [0, 1], to float32 (n, 2304), rows of 48x48
        maps in the range of the targets of its training.

    Raises
    ------
    UserError
        PyTorch is not installed, the net is unknown, or the weights are damaged, diverged or another net's.
    """
    if net == "shallow":
        from shallow.weights import load_net

        return load_net(weights, "torch")[0].eval()
    if net == "deep":
        from deep.torch_net import load_net

        return load_net(weights).eval()
    raise UserError(f"there is no net {net!r}; choose one of: {', '.join(NETS)}")


def as_pysaliency(net, weights, cache=True, **options):
    """Open a trained net as a model of pysaliency, for that library's metrics and comparisons.

    Parameters
    ----------
    net, weights, **options : as in `load`
    cache : bool
        Keep the saliency maps in memory, as other models of pysaliency do.

    Returns
    -------
    pysaliency.SaliencyMapModel

    Raises
    ------
    UserError
        pysaliency is not installed, or as in `load`.
    """
    try:
        from pysaliency import SaliencyMapModel
    except ImportError as error:
        raise UserError(f"pysaliency cannot be imported ({error}); install it with `make extras`, and PyTorch, which "
                        "it needs, with pip") from error
    predictor = load(net, weights, **options)

    class Net(SaliencyMapModel):
        def _saliency_map(self, stimulus):
            image = np.asarray(stimulus, np.uint8)
            return predictor.predict(image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2))

    return Net(caching=cache)
