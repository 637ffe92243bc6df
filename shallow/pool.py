"""Max pooling, and bias and ReLU of a convolution, in an order that is fast on the CPU.

Both poolings have stride 2 and give maps of the same size: 2x2 as in the released files, 3x3 as in Figure 2.

Figure 2 has bias and ReLU before the pooling; here they come after it. Neither changes the order of numbers, so the
maximum of four numbers with bias and ReLU equals their maximum with bias and ReLU, at a quarter of the work.
"""
from shallow.backend import lasagne, tensor, theano


class MaxPool2x2(lasagne.layers.MaxPool2DLayer):
    """Lasagne's max pooling, 2x2 with stride 2, faster on the CPU forward and backward.

    Theano's own takes twice the time forward. Its gradient takes 0.7 s of a training step at batch 128, a third
    of the step; the gradient here takes 0.1 s. Both pass the gradient to every pixel that equals the maximum of
    its cell.
    """

    def __init__(self, incoming, **kwargs):
        super().__init__(incoming, 2, **kwargs)
        if any(size % 2 for size in self.input_shape[2:]):
            raise ValueError(f"rows and columns must be even, not {self.input_shape[2:]}")

    def get_output_for(self, input, **kwargs):
        """Pool the maps, (batch, channels, rows, columns) to (batch, channels, rows / 2, columns / 2)."""
        images = input.type()  # of the same Theano type: a batch size fixed to 1 stays fixed
        return theano.OpFromGraph([images], [_pool(images)], inline=True, grad_overrides=_gradient)(input)


class MaxPool3x3(lasagne.layers.MaxPool2DLayer):
    """Lasagne's max pooling, 3x3 with stride 2; cells are cut off at the edge of the map."""

    def __init__(self, incoming, **kwargs):
        super().__init__(incoming, 3, stride=2, ignore_border=False, **kwargs)


POOLS = {"2x2": MaxPool2x2, "3x3": MaxPool3x3}


class BiasedReLU(lasagne.layers.Layer):
    """A layer that adds the bias of a convolution, one number per channel, and applies ReLU.

    Parameters
    ----------
    incoming : Layer
        (batch, channels, rows, columns)
    b : Lasagne initialiser
    of : str
        Name of the convolution; the bias is named after it.
    """

    def __init__(self, incoming, b, of, **kwargs):
        super().__init__(incoming, **kwargs)
        self.b = self.add_param(b, self.input_shape[1:2], name="b", regularizable=False)
        self.b.name = f"{of}.b"

    def get_output_for(self, input, **kwargs):
        """Add the bias and apply ReLU; the shape stays the same."""
        return lasagne.nonlinearities.rectify(input + self.b.dimshuffle("x", 0, "x", "x"))


def _pool(images):
    rows = tensor.maximum(images[:, :, ::2], images[:, :, 1::2])
    return tensor.maximum(rows[:, :, :, ::2], rows[:, :, :, 1::2])


def _gradient(inputs, output_gradients):
    images, gradient = inputs[0], output_gradients[0]
    count, channels, rows, columns = (images.shape[axis] for axis in range(4))
    cells = images.reshape((count, channels, rows // 2, 2, columns // 2, 2))

    def spread(pooled):
        return pooled.dimshuffle(0, 1, 2, "x", 3, "x")
    is_maximum = tensor.eq(cells, spread(_pool(images)))
    return [(is_maximum * spread(gradient)).reshape(images.shape)]
