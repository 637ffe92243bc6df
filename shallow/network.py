"""The shallow net of section 3.1, as in Figure 2: five layers with weights, 64,392,512 parameters."""
import numpy as np

from shallow.backend import lasagne
from shallow.pool import POOLS, BiasedReLU
from shallow.preprocess import INPUT_SIZE, MAP_SIZE
from shallow.settings import CONV3_FILTERS, FILTERS, INIT_BIAS, INIT_STD, KERNELS

OUTPUTS = ("linear", "sigmoid")


def build(conv3_filters=CONV3_FILTERS["salicon"], init="paper", seed=0, pools="2x2", dropout=0.0, output="linear",
          input_size=INPUT_SIZE, map_size=MAP_SIZE):
    """Build the net.

    Parameters
    ----------
    conv3_filters : int
        Number of filters of conv3. 128 gives 64,392,512 parameters; 64, for iSUN, gives 34,864,384.
    init : "paper", "released" or "zeros"
        Initial weights. "paper": normal with standard deviation 0.01, biases 0.1 (section 3.2). "released":
        Lasagne's defaults, which the authors' script used: Glorot's uniform weights, biases 0. From the paper's
        initial weights, the net gives all images the same map for 600 updates or more (docs/experiments.md).
        "zeros": for a net whose weights are set afterwards. This saves the seconds in which 64 million random
        numbers are drawn.
    seed : int
        Random seed of the initial weights and of dropout.
    pools : "2x2" or "3x3"
        Second and third pooling: 2x2 as in the released files, or 3x3 with stride 2 as in Figure 2. Both give
        maps of the same size, so the same weights fit both.
    dropout : float in [0, 1)
        Fraction of fc1's outputs that training sets to zero. Section 3.1 tried 0.5 and did not keep it.
    output : "linear" or "sigmoid"
        Linear as released, or a sigmoid, since the cross-entropy loss needs outputs in [0, 1].
    input_size, map_size : int
        96 and 48; smaller values give small instances for tests.

    Returns
    -------
    lasagne.layers.Layer
        Output layer, (batch, 48 * 48). The layers have the names below.
    """
    lasagne.random.set_rng(np.random.RandomState(seed))
    weights, biases = {"paper": (lasagne.init.Normal(INIT_STD), lasagne.init.Constant(INIT_BIAS)),
                       "released": (lasagne.init.GlorotUniform(), lasagne.init.Constant(0.0)),
                       "zeros": (_zeros, _zeros)}[init]
    learned, kernels = {"W": weights, "b": biases}, {"W": weights, "b": None}
    linear, rectify, sigmoid = (getattr(lasagne.nonlinearities, name) for name in ("linear", "rectify", "sigmoid"))
    dense, relu = lasagne.layers.DenseLayer, BiasedReLU
    first_pool, pool = POOLS["2x2"], POOLS[pools]
    cells = map_size ** 2

    def conv(net, filters, name):
        return lasagne.layers.Conv2DLayer(net, filters, KERNELS[name], nonlinearity=linear, name=name, **kernels)

    # The comments give the shapes of the paper without the batch axis: channels x rows x columns. Bias and ReLU of a
    # convolution come after the pooling: the same result at a quarter of the work (shallow/pool.py).
    net = lasagne.layers.InputLayer((None, 3, input_size, input_size), name="input")  # 3 x 96 x 96
    net = conv(net, FILTERS["conv1"], "conv1")  # 32 x 92 x 92
    net = relu(first_pool(net, name="pool1"), biases, "conv1", name="relu1")  # 32 x 46 x 46
    net = conv(net, FILTERS["conv2"], "conv2")  # 64 x 44 x 44
    net = relu(pool(net, name="pool2"), biases, "conv2", name="relu2")  # 64 x 22 x 22
    net = conv(net, conv3_filters, "conv3")  # 128 x 20 x 20
    net = relu(pool(net, name="pool3"), biases, "conv3", name="relu3")  # 128 x 10 x 10
    net = dense(net, 2 * cells, nonlinearity=rectify, name="fc1", **learned)  # 4608
    if dropout:
        net = lasagne.layers.DropoutLayer(net, dropout, name="dropout")
    # maxout: the maximum of two neighbouring units, paired as in Lasagne and the authors' script
    net = lasagne.layers.FeaturePoolLayer(net, 2, name="maxout")  # 2304
    return dense(net, cells, nonlinearity={"linear": linear, "sigmoid": sigmoid}[output], name="fc2",
                 **learned)  # 2304 = 48 x 48


def _zeros(shape):
    """Return zeros, without the float64 arrays that lasagne.init.Constant makes on the way: a gigabyte for fc1."""
    return np.zeros(shape, np.float32)


def named_parameters(net):
    """Return the Theano shared variables of a net by name, "conv1.W", "conv1.b", ..., in the order of Figure 2."""
    return {parameter.name: parameter for parameter in lasagne.layers.get_all_params(net)}


def random_states(net):
    """Return the Theano shared variables that hold the states of dropout's random streams.

    Dropout creates them when `lasagne.layers.get_output` is called, so call this function after it.
    """
    return [state for layer in lasagne.layers.get_all_layers(net) if isinstance(layer, lasagne.layers.DropoutLayer)
            for state, *_ in layer._srng.state_updates]
