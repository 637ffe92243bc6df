"""What the shallow net is made of, as Theano computes it."""
import contextlib

import numpy as np

from shallow.weights import load_net


def summary(weights=None):
    """List the boxes of Figure 2 and the parameters, and take out the first layer's filters.

    Table 1's 2.29 MiB of data are all boxes of the figure for one image: what each layer gives, the
    two slices that the maxout compares, and the 48x48 map.

    Parameters
    ----------
    weights : path of an .npz as a run of ours writes, or None

    Returns
    -------
    (dict of str: tuple, dict of str: tuple, float32 (32, 5, 5, 3) or None)
        Shapes of the boxes, batch of 1, and of the parameters; the filters of `weights` in RGB.

    Raises
    ------
    UserError
        No C++ compiler, or the weights are damaged, diverged or another net's.
    """
    net, arrays, _ = (None, None, None) if weights is None else load_net(weights)  # before Theano compiles
    from shallow import network

    net = net or network.build()
    filters = None if arrays is None else correlation_filters(arrays["conv1.W"])
    shapes = {name: parameter.get_value(borrow=True).shape
              for name, parameter in network.named_parameters(net).items()}
    return layer_outputs(net), shapes, filters


def layer_outputs(net):
    """Run the net on one image and see what comes out of every layer.

    Parameters
    ----------
    net : lasagne.layers.Layer
        As `network.build` gives it.

    Returns
    -------
    dict of str: tuple
        Shapes by the names of the layers, in the order of the figure, batch first.
    """
    from shallow.backend import lasagne, tensor, theano
    from shallow.pool import BiasedReLU
    from shallow.preprocess import INPUT_SIZE, MAP_SIZE

    images = tensor.tensor4("images")
    layers = lasagne.layers.get_all_layers(net)
    drawn = {}
    for layer, output in zip(layers, lasagne.layers.get_output(layers, images, deterministic=True)):
        if isinstance(layer, BiasedReLU):
            continue  # the figure draws no box for a ReLU
        drawn[layer.name] = output
        if layer.name == "fc1":  # what the maxout compares, drawn between the two
            drawn["slice1"], drawn["slice2"] = output[:, ::2], output[:, 1::2]
    drawn["map"] = drawn["fc2"].reshape((-1, MAP_SIZE, MAP_SIZE))
    outputs = theano.function([images], list(drawn.values()))(np.zeros((1, 3, INPUT_SIZE, INPUT_SIZE), np.float32))
    return {name: output.shape for name, output in zip(drawn, outputs)}


def correlation_filters(kernels):
    """Kernels of a convolution as the image sees them: (n, 3, h, w) -> float32 (n, h, w, 3), RGB.

    Theano convolves, that is, it turns kernels around before it lays them over the image.
    """
    return np.ascontiguousarray(kernels[:, :, ::-1, ::-1].transpose(0, 2, 3, 1), np.float32)


@contextlib.contextmanager
def one_image(kind):
    """The net at work on a single image, for models.memory.

    Parameters
    ----------
    kind : "train" or "test"

    Yields
    ------
    callable
        Makes one update, or one prediction, each time it is called.
    """
    from shallow import network
    from shallow.backend import lasagne, tensor, theano
    from shallow.preprocess import INPUT_SIZE, MAP_SIZE

    image, target = np.zeros((1, 3, INPUT_SIZE, INPUT_SIZE), np.float32), np.zeros((1, MAP_SIZE ** 2), np.float32)
    if kind == "train":
        from shallow.settings import resolve
        from shallow.trainer import Trainer

        trainer = Trainer(resolve("paper"))
        yield lambda: trainer.step(image, target, 0.0, 0.0)
    else:
        images = tensor.tensor4("images")
        forward = theano.function([images], lasagne.layers.get_output(network.build(), images, deterministic=True))
        yield lambda: forward(image)
