"""The deep net as a PyTorch module, made from its prototxt files."""
from common.errors import UserError
from common.runs import read_config
from common.torch_backend import torch
from deep.prototxt import DEPLOY, messages, parse_prototxt
from deep.weights import check_weights, net_shapes, read_caffemodel

functional = torch.nn.functional
CONVOLUTIONS = ("Convolution", "Deconvolution")
# settings of each type of layer; another one may only have its default value
SETTINGS = {
    "convolution_param": ("num_output", "bias_term", "pad", "kernel_size", "stride", "weight_filler", "bias_filler"),
    "pooling_param": ("pool", "pad", "kernel_size", "stride"), "lrn_param": ("local_size", "alpha", "beta", "k"),
    "relu_param": (),
}


class Net(torch.nn.Module):
    """A chain of Caffe's layers: convolutions, deconvolutions, ReLU, LRN across channels, max and average pooling.

    Parameters
    ----------
    prototxt : path
        deploy.prototxt, or a train_val.prototxt, whose data layers and loss are left out.
    channels : int
        Number of channels of the input.
    seed : int
        Random seed of the initial weights. They are drawn as the fillers in the file describe, but are not the numbers
        that Caffe draws with the same seed.

    Attributes
    ----------
    weights : torch.nn.ModuleDict
        Per layer: a ParameterList of the weights, in Caffe's layout, then the biases, if there are any.

    Raises
    ------
    UserError
        The file has a mistake, or a layer or filler that this module does not have.
    """

    def __init__(self, prototxt, channels=3, seed=0):
        super().__init__()
        net = parse_prototxt(prototxt, messages().NetParameter())
        self.layers = [layer for layer in net.layer if layer.type not in ("Input", "HDF5Data", "EuclideanLoss")]
        generator = torch.Generator().manual_seed(seed)
        self.weights = torch.nn.ModuleDict()
        _check_layers(self.layers, prototxt)
        for layer in self.layers:
            if layer.type in CONVOLUTIONS:
                self.weights[layer.name] = _initial_weights(layer, channels, generator, prototxt)
                channels = layer.convolution_param.num_output

    def forward(self, images):
        """Compute the outputs, (n, 1, h, w), of inputs, (n, 3, h, w) in BGR, about [-1, 1]; h and w multiples of 4."""
        for layer in self.layers:
            images = _forward_layer(layer, self.weights[layer.name] if layer.type in CONVOLUTIONS else (), images)
        return images

    def read(self, layers):
        """Copy weights into the net.

        Parameters
        ----------
        layers : dict of str: list of float32 array
            As returned by `deep.weights.read_caffemodel`; of the shapes of this net.
        """
        with torch.no_grad():
            for name, parameters in self.weights.items():
                for parameter, values in zip(parameters, layers[name]):
                    parameter.copy_(torch.tensor(values).reshape(parameter.shape))

    def to_arrays(self):
        """Return copies of the weights as `deep.weights.write_caffemodel` expects them."""
        return {name: [parameter.detach().cpu().numpy().copy() for parameter in parameters]
                for name, parameters in self.weights.items()}


def load_net(weights):
    """Build the net of deploy.prototxt with the weights of a .caffemodel.

    Raises
    ------
    UserError
        The weights are damaged, diverged or another net's, or Caffe's schema, which its build creates, is missing.
    """
    read_config(weights, "deep")
    layers, shapes = read_caffemodel(weights), net_shapes(DEPLOY)
    check_weights(layers, shapes, weights)
    net = Net(DEPLOY)
    net.read(layers)
    return net


def _check_layers(layers, prototxt):
    """Raise UserError unless the layers are a chain of types and settings that this module has."""
    def fail(layer, fault):
        raise UserError(f"{prototxt}: layer {layer.name!r} {fault}; give engine=caffe")

    for before, layer in zip([None, *layers], layers):
        if layer.type not in (*CONVOLUTIONS, "ReLU", "LRN", "Pooling"):
            fail(layer, f"has type {layer.type}, which the PyTorch engine does not have")
        if layer.include or layer.exclude:
            fail(layer, "belongs to one phase, and the PyTorch engine has one net for both")
        if any(param.name for param in layer.param):
            fail(layer, "shares weights by the name of a param, which the PyTorch engine does not have")
        pooling = layer.pooling_param
        if layer.type == "Pooling" and pooling.pool not in (pooling.MAX, pooling.AVE):
            fail(layer, "has a pooling that is neither MAX nor AVE, which the PyTorch engine does not have")
        if before and list(layer.bottom) != list(before.top):
            fail(layer, f"takes {', '.join(layer.bottom)}, not the output of the layer before it, and the PyTorch "
                        "engine has chains of layers only")
        for part, names in SETTINGS.items():
            for field, value in getattr(layer, part).ListFields():
                repeated = field.label == field.LABEL_REPEATED
                if field.name not in names and (repeated or value != field.default_value):
                    fail(layer, f"sets {field.name}, which the PyTorch engine does not have")
                if repeated and len(value) > 1:
                    fail(layer, f"sets {field.name} per axis, and the PyTorch engine has one value for both")


def _initial_weights(layer, channels, generator, prototxt):
    """Create the parameters of a convolution or deconvolution and fill them."""
    settings = layer.convolution_param
    kernel, outputs = settings.kernel_size[0], settings.num_output
    axes = (outputs, channels) if layer.type == "Convolution" else (channels, outputs)
    arrays = [_fill(settings.weight_filler, (*axes, kernel, kernel), generator, prototxt)]
    if settings.bias_term:
        arrays.append(_fill(settings.bias_filler, (outputs,), generator, prototxt))
    return torch.nn.ParameterList([torch.nn.Parameter(array) for array in arrays])


def _fill(filler, shape, generator, prototxt):
    """Create an array as a filler of a prototxt file describes."""
    if filler.type == "constant":
        return torch.full(shape, filler.value)
    if filler.type == "gaussian" and filler.sparse == -1:
        return torch.empty(shape).normal_(filler.mean, filler.std, generator=generator)
    raise UserError(f"{prototxt}: filler {filler.type!r}: the PyTorch engine has only gaussian, not sparse, and "
                    "constant; give engine=caffe")


def _forward_layer(layer, weights, images):
    """Compute one layer; `weights` are its parameters."""
    if layer.type in CONVOLUTIONS:
        settings = layer.convolution_param
        convolve = functional.conv2d if layer.type == "Convolution" else functional.conv_transpose2d
        return convolve(images, *weights, stride=settings.stride[0] if settings.stride else 1,
                        padding=settings.pad[0] if settings.pad else 0)
    if layer.type == "ReLU":
        return functional.relu(images)
    if layer.type == "LRN":
        return _normalise(images, layer.lrn_param)
    settings = layer.pooling_param
    # Caffe rounds the sizes of its outputs up
    options = {"kernel_size": settings.kernel_size, "stride": settings.stride, "padding": settings.pad,
               "ceil_mode": True}
    return functional.max_pool2d(images, **options) if settings.pool == settings.MAX \
        else functional.avg_pool2d(images, **options)


def _normalise(images, settings):
    """Divide by (k + alpha / n x sum of the squares of n neighbouring channels) ^ beta.

    As torch's local_response_norm, whose gradient on a graphics card differs from run to run.
    """
    size = settings.local_size
    squares = functional.pad(images * images, (0, 0, 0, 0, size // 2, (size - 1) // 2))
    channels = images.shape[1]
    total = sum(squares[:, offset:offset + channels] for offset in range(size))
    return images * (settings.k + settings.alpha / size * total) ** -settings.beta
