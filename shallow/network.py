"""The shallow net of section 3.1 as Figure 2 draws it: five layers with weights, 64,392,512 parameters."""
import numpy as np

from shallow.backend import lasagne
from shallow.pool import MaxPool2x2
from shallow.preprocess import INPUT_SIZE, MAP_SIZE

CONV3_FILTERS = {"salicon": 128, "isun": 64}  # section 3.2
INIT_STD = 0.01  # section 3.2: "zero mean and a standard deviation of 0.01"
INIT_BIAS = 0.1  # section 3.2: "biases initialized to 0.1"
INITS = ("paper", "released")


def build(conv3_filters=CONV3_FILTERS["salicon"], init="paper", seed=0, input_size=INPUT_SIZE, map_size=MAP_SIZE):
    """Build the net.

    Parameters
    ----------
    conv3_filters : int
        128 gives 64,392,512 parameters, 64 the iSUN variant's 34,864,384.
    init : "paper" or "released"
        Normal weights of std 0.01 and biases 0.1 (section 3.2), or Lasagne's defaults, which the
        authors' script used: Glorot's uniform weights and biases 0. From the paper's start the
        net answers with one and the same map for hundreds of updates.
    seed : int
        Of the random start.
    input_size, map_size : int
        96 and 48; smaller ones make small instances for tests.

    Returns
    -------
    lasagne.layers.Layer
        Output layer, (batch, 48 * 48), linear. Its layers carry the names below.
    """
    lasagne.random.set_rng(np.random.RandomState(seed))
    weights, biases = {"paper": (lasagne.init.Normal(INIT_STD), lasagne.init.Constant(INIT_BIAS)),
                       "released": (lasagne.init.GlorotUniform(), lasagne.init.Constant(0.0))}[init]
    learned = {"W": weights, "b": biases}
    relu, linear = lasagne.nonlinearities.rectify, lasagne.nonlinearities.linear
    conv, dense = lasagne.layers.Conv2DLayer, lasagne.layers.DenseLayer
    cells = map_size ** 2

    # shapes are those of the paper: (batch, channels, rows, columns)
    net = lasagne.layers.InputLayer((None, 3, input_size, input_size), name="input")  # 3 x 96 x 96
    net = conv(net, 32, 5, nonlinearity=relu, name="conv1", **learned)  # 32 x 92 x 92
    net = MaxPool2x2(net, name="pool1")  # 32 x 46 x 46
    net = conv(net, 64, 3, nonlinearity=relu, name="conv2", **learned)  # 64 x 44 x 44
    net = MaxPool2x2(net, name="pool2")  # 64 x 22 x 22
    net = conv(net, conv3_filters, 3, nonlinearity=relu, name="conv3", **learned)  # 128 x 20 x 20
    net = MaxPool2x2(net, name="pool3")  # 128 x 10 x 10
    net = dense(net, 2 * cells, nonlinearity=relu, name="fc1", **learned)  # 4608
    # maxout: the larger of each two neighbouring units, as Lasagne and the authors' script pair them
    net = lasagne.layers.FeaturePoolLayer(net, 2, name="maxout")  # 2304
    return dense(net, cells, nonlinearity=linear, name="fc2", **learned)  # 2304 = 48 x 48


def named_parameters(net):
    """Theano shared variables of a net by name, "conv1.W", "conv1.b", ..., in the order of the figure."""
    return {parameter.name: parameter for parameter in lasagne.layers.get_all_params(net)}
