"""Architecture and arithmetic of the shallow net, compared with NumPy in float64."""
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from shallow import network
from shallow.backend import lasagne, tensor, theano
from tests.conftest import python

# the same layers, a few thousand times smaller; sizes after each convolution and pooling: 28 14 12 6 4 2
SMALL = {"input_size": 32, "map_size": 6}


@pytest.mark.parametrize("filters, count", [(128, 64_392_512), (64, 34_864_384)])
def test_number_of_parameters_is_that_of_the_paper(filters, count):
    assert lasagne.layers.count_params(network.build(conv3_filters=filters)) == count


@pytest.mark.parametrize("pools", ["2x2", "3x3"])
def test_shapes_equal_figure_2(pools):
    shapes = {layer.name: layer.output_shape[1:] for layer in lasagne.layers.get_all_layers(network.build(pools=pools))
              if not layer.name.startswith("relu")}
    assert shapes == {"input": (3, 96, 96), "conv1": (32, 92, 92), "pool1": (32, 46, 46), "conv2": (64, 44, 44),
                      "pool2": (64, 22, 22), "conv3": (128, 20, 20), "pool3": (128, 10, 10), "fc1": (4608,),
                      "maxout": (2304,), "fc2": (2304,)}


def test_initial_weights_are_those_of_the_paper():
    parameters = {name: value.get_value() for name, value in network.named_parameters(network.build()).items()}
    for name, values in parameters.items():
        if name.endswith(".b"):
            assert (values == np.float32(0.1)).all()
        else:
            assert abs(values.std() / 0.01 - 1) < 0.05 and abs(values.mean()) < 5e-4, name


def test_seed_decides_the_initial_weights():
    first, again, other = (network.named_parameters(network.build(seed=seed, **SMALL))["fc1.W"].get_value()
                           for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_a_net_whose_weights_are_set_afterwards_starts_from_zeros():
    for parameter in network.named_parameters(network.build(init="zeros", **SMALL)).values():
        assert parameter.get_value().dtype == np.float32 and not parameter.get_value().any()


def forward_in_numpy(parameters, image, pools="2x2"):
    """Compute the net of section 3.1 in float64 for one image (3, n, n)."""
    values = image.astype(np.float64)
    sizes = {"conv1": 2, "conv2": int(pools[0]), "conv3": int(pools[0])}
    for layer in ("conv1", "conv2", "conv3"):
        kernels, biases = parameters[f"{layer}.W"].astype(np.float64), parameters[f"{layer}.b"]
        # Theano computes a true convolution: a correlation with kernels rotated by 180 degrees
        windows = sliding_window_view(values, kernels.shape[2:], axis=(1, 2))  # channels, rows, columns, kernel rows and columns
        values = np.einsum("crsij,kcij->krs", windows, kernels[:, :, ::-1, ::-1], optimize=True) + biases[:, None, None]
        values, size = np.maximum(values, 0), sizes[layer]
        rows, columns = values.shape[1:]
        padded = np.pad(values, ((0, 0), (0, size - 2), (0, size - 2)))  # a ReLU's outputs are never below 0
        values = np.max([padded[:, row:row + rows:2, column:column + columns:2]
                         for row in range(size) for column in range(size)], axis=0)
    hidden = np.maximum(values.ravel() @ parameters["fc1.W"] + parameters["fc1.b"], 0)
    return np.maximum(hidden[::2], hidden[1::2]) @ parameters["fc2.W"] + parameters["fc2.b"]


@pytest.mark.parametrize("pools", ["2x2", "3x3"])
def test_forward_equals_numpy(pools):
    net = network.build(init="released", seed=3, pools=pools, **SMALL)
    parameters = {name: value.get_value() for name, value in network.named_parameters(net).items()}
    images = np.random.default_rng(0).random((4, 3, 32, 32), np.float32)
    variable = tensor.tensor4()
    outputs = theano.function([variable], lasagne.layers.get_output(net, variable))(images)
    expected = np.stack([forward_in_numpy(parameters, image, pools) for image in images])
    assert np.ptp(expected, axis=0).max() > 1e-3  # the outputs depend on the images
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_bias_and_relu_after_pooling_give_the_same_gradients_as_before_it():
    """Figure 2 has bias and ReLU before the pooling. Both orders have the same gradients unless two outputs are equal."""
    from theano.tensor.signal.pool import pool_2d

    from shallow.pool import BiasedReLU, MaxPool2x2

    values = np.random.default_rng(0).normal(0, 1, (2, 3, 8, 6)).astype(np.float32)
    weights = np.random.default_rng(1).random((2, 3, 4, 3), np.float32)
    images = tensor.tensor4()
    layer = BiasedReLU(MaxPool2x2(lasagne.layers.InputLayer((None, 3, 8, 6), images)), lasagne.init.Normal(0.5), "conv1")
    assert layer.b.name == "conv1.b" and layer.get_params(regularizable=True) == []
    biased = images + layer.b.dimshuffle("x", 0, "x", "x")
    figure_2 = pool_2d(lasagne.nonlinearities.rectify(biased), (2, 2), ignore_border=True)
    ours, theirs = (theano.function([images], [pooled, *theano.grad((pooled * weights).sum(), [images, layer.b])])(values)
                    for pooled in (lasagne.layers.get_output(layer), figure_2))
    for actual, expected in zip(ours[:2], theirs):
        np.testing.assert_array_equal(actual, expected)
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-5)


def test_dropout_sets_half_of_fc1_to_zero_in_training_only():
    net = network.build(init="released", dropout=0.5, **SMALL)
    layers = {layer.name: layer for layer in lasagne.layers.get_all_layers(net)}
    assert list(layers).index("fc1") + 1 == list(layers).index("dropout") == list(layers).index("maxout") - 1
    images = tensor.tensor4()
    pair = [layers["fc1"], layers["dropout"]]
    training, testing = (theano.function([images], lasagne.layers.get_output(pair, images, deterministic=deterministic))
                         for deterministic in (False, True))
    values = np.random.default_rng(0).random((40, 3, 32, 32), np.float32)
    before, after = training(values)
    assert 0.4 < (after[before > 0] == 0).mean() < 0.6
    np.testing.assert_allclose(after[after > 0], 2 * before[after > 0], rtol=1e-6)  # doubled, so the mean stays the same
    assert (training(values)[1] != after).any()
    np.testing.assert_array_equal(*testing(values))


def test_sigmoid_output_equals_the_sigmoid_of_the_linear_output():
    linear, sigmoid = (network.build(init="released", seed=3, output=output, **SMALL) for output in network.OUTPUTS)
    images = tensor.tensor4()
    net_input = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    linear_output, sigmoid_output = (theano.function([images], lasagne.layers.get_output(net, images))(net_input)
                                     for net in (linear, sigmoid))
    np.testing.assert_allclose(sigmoid_output, 1 / (1 + np.exp(-linear_output)), rtol=1e-5)


def test_pooling_and_its_gradient_equal_theanos_own():
    from theano.tensor.signal.pool import pool_2d

    from shallow.pool import MaxPool2x2

    values = np.random.default_rng(0).integers(-3, 3, (2, 3, 8, 6)).astype(np.float32)  # many ties
    weights = np.random.default_rng(1).random((2, 3, 4, 3), np.float32)
    images = tensor.tensor4()
    layer = MaxPool2x2(lasagne.layers.InputLayer((None, 3, 8, 6)))
    ours, theirs = (theano.function([images], [pooled, theano.grad((pooled * weights).sum(), images)])(values)
                    for pooled in (layer.get_output_for(images), pool_2d(images, (2, 2), ignore_border=True)))
    for actual, expected in zip(ours, theirs):
        np.testing.assert_array_equal(actual, expected)


def test_pooling_of_odd_sizes_is_an_error():
    from shallow.pool import MaxPool2x2

    with pytest.raises(ValueError, match="even"):
        MaxPool2x2(lasagne.layers.InputLayer((None, 3, 7, 6)))


def test_backend_prints_nothing():
    code = ("from shallow import network\nfrom shallow.backend import lasagne, tensor, theano\n"
            "x = tensor.tensor4()\nf = theano.function([x], lasagne.layers.get_output(network.build(input_size=32, map_size=6), x))")
    python("-c", code)  # Theano may report that it waits for another process that compiles
    process = python("-c", code)
    assert process.returncode == 0 and process.stdout == process.stderr == ""


def test_a_second_process_compiles_nothing():
    """Theano alone would compile these operations again in each process."""
    code = ("from shallow import network\nfrom shallow.backend import lasagne, tensor, theano\n"
            "from theano.gof.cc import get_module_cache\n"
            "x, index = tensor.tensor4(), tensor.lscalar()\nnet = network.build(input_size=32, map_size=6)\n"
            "output = lasagne.layers.get_output(net, x).dimshuffle('x', 0, 1)[:, index]\n"
            "f = theano.function([x, index], theano.grad(output.sum(), lasagne.layers.get_all_params(net)))\n"
            "print(*sorted({type(node.op).__name__ for node in f.maker.fgraph.toposort()}))\n"
            "print(get_module_cache().stats[2])")  # the number of compiled modules
    python("-c", code)
    operations, compiled = python("-c", code).stdout.splitlines()
    assert {"Alloc", "DimShuffle", "Dot22", "ScalarFromTensor"} <= {*operations.split()} and int(compiled) == 0, (operations, compiled)
