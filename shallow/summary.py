"""List the layers and parameters of the shallow net, as Theano computes them."""
import contextlib
import math

import numpy as np

from common.layers import Layer
from shallow.weights import load_net


def summary(weights=None):
    """List the shapes of the layers' outputs and of the parameters, and extract the first layer's filters.

    The outputs are the boxes of Figure 2. For one image, all boxes together are the 2.29 MiB of data in Table 1:
    the output of each layer, the two slices that the maxout compares, and the 48x48 map.

    Parameters
    ----------
    weights : path of an .npz, or None

    Returns
    -------
    (dict of str: tuple, dict of str: tuple, list of Layer, float32 (32, 5, 5, 3) or None)
        Shapes of the layers' outputs at batch size 1, and of the parameters; the layers; the filters of `weights`, RGB.

    Raises
    ------
    UserError
        There is no C++ compiler, or the weights are damaged, diverged or another net's.
    """
    net, arrays, _ = (None, None, None) if weights is None else load_net(weights)
    from shallow import network  # loads Theano, which takes seconds: damaged weights are reported before

    net = net or network.build(init="zeros")
    filters = None if arrays is None else correlation_filters(arrays["conv1.W"])
    shapes = {name: parameter.get_value(borrow=True).shape
              for name, parameter in network.named_parameters(net).items()}
    outputs = layer_outputs(net)
    return outputs, shapes, list_layers(net, outputs), filters


def list_layers(net, outputs):
    """List the layers with kernels and counts, in the order of the graph.

    The two slices that the maxout compares and the map are listed too, as boxes of Figure 2 without a layer of their
    own. A ReLU, which holds the bias of its convolution, has no box, so no blob.

    Parameters
    ----------
    net : lasagne.layers.Layer
        As returned by `network.build`.
    outputs : dict of str: tuple
        As returned by `layer_outputs`.

    Returns
    -------
    list of Layer
    """
    from shallow.backend import lasagne

    listed = []
    for layer in lasagne.layers.get_all_layers(net):
        kernel = getattr(layer, "filter_size", None) or getattr(layer, "pool_size", ())
        kernel = kernel if len(layer.output_shape) == 4 else ()  # the maxout has a pool size, too
        weights = [list(parameter.get_value(borrow=True).shape) for parameter in layer.params]
        has_products = weights and len(weights[0]) > 1  # not the biases alone of a ReLU
        # a weight of a convolution is used once for each pixel of a map, a weight of a dense layer once
        products = math.prod(layer.output_shape[2:]) * math.prod(weights[0]) if has_products else 0
        stride, pad = (list(getattr(layer, name)) if kernel else [] for name in ("stride", "pad"))
        blobs = {layer.name: list(outputs[layer.name])} if layer.name in outputs else {}
        listed.append(Layer(layer.name, type(layer).__name__, list(kernel), stride, pad, blobs, weights, products))
        for name, kind in {"fc1": {"slice1": "slice", "slice2": "slice"}, "fc2": {"map": "reshape"}}.get(
                layer.name, {}).items():
            listed.append(Layer(name, kind, blobs={name: list(outputs[name])}))
    return listed


def layer_outputs(net):
    """Run the net on one image and return the shape of every layer's output.

    Parameters
    ----------
    net : lasagne.layers.Layer
        As returned by `network.build`.

    Returns
    -------
    dict of str: tuple
        Shapes by layer name, in the order of Figure 2, batch first.
    """
    from shallow.backend import lasagne, tensor, theano
    from shallow.pool import BiasedReLU
    from shallow.preprocess import INPUT_SIZE, MAP_SIZE

    images = tensor.tensor4("images")
    layers = lasagne.layers.get_all_layers(net)
    symbolic = {}
    for layer, output in zip(layers, lasagne.layers.get_output(layers, images, deterministic=True)):
        if isinstance(layer, BiasedReLU):
            continue  # Figure 2 has no box for a ReLU
        symbolic[layer.name] = output
        if layer.name == "fc1":  # the two slices that the maxout compares are boxes of Figure 2
            symbolic["slice1"], symbolic["slice2"] = output[:, ::2], output[:, 1::2]
    symbolic["map"] = symbolic["fc2"].reshape((-1, MAP_SIZE, MAP_SIZE))
    outputs = theano.function([images], list(symbolic.values()))(np.zeros((1, 3, INPUT_SIZE, INPUT_SIZE), np.float32))
    return {name: output.shape for name, output in zip(symbolic, outputs)}


def correlation_filters(kernels):
    """Convert kernels of a Theano convolution to filters as correlated with an image.

    Theano computes a true convolution: it rotates kernels by 180 degrees before it multiplies them with the image.

    Parameters
    ----------
    kernels : float32 (n, 3, h, w), RGB

    Returns
    -------
    float32 (n, h, w, 3), RGB
    """
    return np.ascontiguousarray(kernels[:, :, ::-1, ::-1].transpose(0, 2, 3, 1), np.float32)


@contextlib.contextmanager
def one_image(kind):
    """Set up one update or one prediction on a single image, for models.memory.

    Parameters
    ----------
    kind : "train" or "test"

    Yields
    ------
    callable
        Each call makes one update or one prediction.
    """
    from shallow import network
    from shallow.backend import lasagne, tensor, theano
    from shallow.preprocess import INPUT_SIZE, MAP_SIZE

    image, target = np.zeros((1, 3, INPUT_SIZE, INPUT_SIZE), np.float32), np.zeros((1, MAP_SIZE ** 2), np.float32)
    if kind == "train":
        from shallow.settings import resolve
        from shallow.updates import TrainingStep

        step = TrainingStep(resolve("paper"))
        yield lambda: step.update(image, target, 0.0, 0.0)
    else:
        images = tensor.tensor4("images")
        forward = theano.function([images], lasagne.layers.get_output(network.build(), images, deterministic=True))
        yield lambda: forward(image)
