"""The shallow net as a PyTorch module: layers, names and weights as in `shallow.network`."""
import functools

import numpy as np

from common.torch_backend import torch
from shallow import mrg
from shallow.preprocess import INPUT_SIZE, MAP_SIZE
from shallow.settings import CONV3_FILTERS, FILTERS, INIT_BIAS, INIT_STD, KERNELS

POOL_SIZES = {"2x2": 2, "3x3": 3}
LARGEST_SEED = mrg.MODULUS_2  # of dropout; Lasagne draws it below this
functional = torch.nn.functional


class Net(torch.nn.Module):
    """The net of section 3.1, from images, (n, 3, 96, 96) RGB in [0, 1], to saliency maps, (n, 2304).

    The parameters are those of `shallow.network.build`, with the same meaning and the same initial weights.

    Attributes
    ----------
    weights : torch.nn.ModuleDict
        Per layer, a ParameterDict of weights "W" and biases "b", in Lasagne's layout: kernels (outputs, inputs, rows,
        columns), which are applied rotated by 180 degrees, and matrices (inputs, outputs).
    dropout : Dropout or None
        Applied in training mode only.
    """

    def __init__(self, conv3_filters=CONV3_FILTERS["salicon"], init="paper", seed=0, pools="2x2", dropout=0.0,
                 output="linear", input_size=INPUT_SIZE, map_size=MAP_SIZE):
        super().__init__()
        self.pool_size = POOL_SIZES[pools]
        self.output = {"linear": torch.nn.Identity(), "sigmoid": torch.nn.Sigmoid()}[output]
        fill = {"paper": _fill_as_paper, "released": _fill_as_released, "zeros": _fill_with_zeros}[init]
        size, cells, channels, shapes = input_size, map_size ** 2, 3, {}
        for name, filters in {**FILTERS, "conv3": conv3_filters}.items():
            shapes[name] = filters, channels, KERNELS[name], KERNELS[name]
            size, channels = (size - KERNELS[name] + 1) // 2, filters
        shapes.update(fc1=(channels * size ** 2, 2 * cells), fc2=(cells, cells))
        self.weights, self.dropout = torch.nn.ModuleDict(), None
        rng = np.random.RandomState(seed)  # Lasagne draws in this order, so the numbers are the same
        for name, shape in shapes.items():
            if name == "fc2" and dropout:
                self.dropout = Dropout(dropout, rng.randint(1, LARGEST_SEED))
            values, bias = fill(rng, shape)
            biases = torch.full((shape[0 if len(shape) == 4 else 1],), bias)
            self.weights[name] = torch.nn.ParameterDict({"W": torch.from_numpy(values.astype(np.float32)), "b": biases})

    def forward(self, images):
        """Compute the saliency maps of images."""
        return self.output(self.linear(images))

    def linear(self, images):
        """Compute the outputs of fc2, before a sigmoid: the cross-entropy loss is exact only with these."""
        values = images
        for name in KERNELS:
            layer = self.weights[name]
            values = functional.conv2d(values, layer["W"].flip(2, 3))
            values = _pool(values, 2 if name == "conv1" else self.pool_size)
            values = _rectify(values + layer["b"][:, None, None])
        fc1, fc2 = self.weights["fc1"], self.weights["fc2"]
        values = _rectify(values.flatten(1) @ fc1["W"] + fc1["b"])
        if self.training and self.dropout:
            values = self.dropout(values)
        return _Maximum.apply(values, _neighbours) @ fc2["W"] + fc2["b"]


class Dropout:
    """Dropout with Theano's random numbers.

    Parameters
    ----------
    fraction : float
        Fraction of the units that are set to zero.
    seed : int

    Attributes
    ----------
    state : torch int32 tensor on the CPU, state of the random streams, see `shallow.mrg`
    """

    def __init__(self, fraction, seed):
        self.keep = np.float32(1 - fraction)
        self.state = torch.from_numpy(mrg.initial_state(seed))

    def __call__(self, values):
        """Set units to zero, and scale the others so that the mean stays."""
        mask = mrg.uniform(self.state.numpy(), values.numel()) < self.keep
        return values / float(self.keep) * torch.from_numpy(mask.reshape(values.shape)).to(values.device, values.dtype)


class Variable:
    """A tensor with the methods of Theano's shared variables, see `shallow.step.Step`."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.dtype = str(tensor.dtype).removeprefix("torch.")

    def get_value(self, borrow=False):
        """Return the values as an array; with `borrow`, it may share memory with the tensor."""
        array = self.tensor.detach().cpu().numpy()
        return array if borrow else array.copy()

    def set_value(self, array, borrow=False):
        """Copy an array of the same shape into the tensor."""
        with torch.no_grad():
            self.tensor.copy_(torch.tensor(array))


def named_parameters(net):
    """Return the parameters of a net by name, "conv1.W", "conv1.b", ..., as `shallow.network.named_parameters`."""
    return {name: Variable(parameter) for name, parameter in net.weights.named_parameters()}


class _Maximum(torch.autograd.Function):
    """Maximum of parts of a tensor; `cut` returns them as a list of views.

    As in Theano, every element that equals the maximum gets its gradient. PyTorch's own functions give it to one of
    them, or divide it, which changes the training where an image is black. In other uniform areas, rounding in the
    convolution before decides whether elements are equal, so that Theano's gradient, too, depends on the BLAS there.
    """

    @staticmethod
    def forward(ctx, values, cut):
        maximum = functools.reduce(torch.maximum, cut(values))
        ctx.save_for_backward(values, maximum)
        ctx.cut = cut
        return maximum

    @staticmethod
    def backward(ctx, gradient):
        values, maximum = ctx.saved_tensors
        total = torch.zeros_like(values)
        for part, part_gradient in zip(ctx.cut(values), ctx.cut(total)):
            part_gradient += (part == maximum) * gradient
        return total, None


def _pool(images, size):
    """Pool windows of `size` with stride 2; rows and columns must be even, and windows are cut off at the edge."""
    rows, columns = images.shape[2:]
    if size > 2:
        images = functional.pad(images, (0, size - 2, 0, size - 2), value=-np.inf)
    return _Maximum.apply(images, lambda values: [values[:, :, row:row + rows:2, column:column + columns:2]
                                                  for row in range(size) for column in range(size)])


def _neighbours(values):
    """Cut units into the first and the second of each pair, for maxout."""
    return [values[:, ::2], values[:, 1::2]]


def _rectify(values):
    """Apply ReLU as Lasagne computes it; the gradient at 0 is a half, where PyTorch's is 0."""
    return (values + values.abs()) / 2


def _fill_as_paper(rng, shape):
    """Draw weights, and return them with the value of all biases, as `shallow.network.build` does with init="paper"."""
    return rng.normal(0.0, INIT_STD, shape), INIT_BIAS


def _fill_as_released(rng, shape):
    """Draw weights as for init="released": Glorot's uniform ones, biases 0."""
    limit = np.sqrt(3) * np.sqrt(2 / (sum(shape[:2]) * np.prod(shape[2:])))
    return rng.uniform(-limit, limit, shape), 0.0


def _fill_with_zeros(rng, shape):
    """Return zeros, as for init="zeros"."""
    return np.zeros(shape, np.float32), 0.0
