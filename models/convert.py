"""python -m models.convert: convert a net for other engines: the shallow net to Caffe's files, both nets to ONNX.

    --to caffe    OUT/deploy.prototxt and OUT/weights.caffemodel: the shallow net in the layers of the paper's Figure 2
    --to onnx     OUT/NET.onnx, with free batch size (and for the deep net free height and width, multiples of four)

Input and output are those of the net, see the docstrings of shallow/preprocess.py and deep/preprocess.py. ONNX needs
the package onnx: `make extras`.
"""
import argparse
import tempfile
from pathlib import Path

import numpy as np

from common.arguments import Parser
from common.errors import UserError, run
from common.files import atomic, need_space, write_text
from deep.backend import load_caffe
from deep.prototxt import DEPLOY, parse_prototxt
from deep.weights import check_weights, net_shapes, read_caffemodel
from models import NETS
from shallow import settings as shallow_settings
from shallow.weights import load_net

OPSET, IR_VERSION = 13, 8  # of ONNX, 2021: current runtimes read it


def main():
    """Parse the command line and convert."""
    parser = Parser("models.convert", __doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=NETS, required=True)
    parser.add_argument("--weights", required=True, help="weights.npz (shallow) or .caffemodel (deep)")
    parser.add_argument("--to", choices=["caffe", "onnx"], required=True)
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args()
    if args.to == "onnx":
        paths = [to_onnx(args.net, args.weights, Path(args.out) / f"{args.net}.onnx")]
    elif args.net == "shallow":
        paths = shallow_to_caffe(args.weights, Path(args.out))
    else:
        raise UserError("the deep net is in Caffe's format already; use deep/deploy.prototxt and its .caffemodel")
    print("\n".join(map(str, paths)))


def shallow_layers(path):
    """Read the shallow net's weights in the layout of other engines.

    Theano rotates kernels by 180 degrees before it applies them to an image; other engines do not. Figure 2 takes the
    maximum of two halves of fc1, Lasagne the maximum of two neighbours, so the units of fc1 are reordered.

    Parameters
    ----------
    path : path of a weights.npz

    Returns
    -------
    (dict of str: (float32 W, float32 b), dict)
        By layer, kernels (out, in, rows, columns), dense layers (out, in); and the net's architecture.

    Raises
    ------
    UserError
        The weights are damaged or of another net.
    """
    _, arrays, settings = load_net(path)
    layers = {name: (arrays[f"{name}.W"][:, :, ::-1, ::-1], arrays[f"{name}.b"])
              for name in ("conv1", "conv2", "conv3")}
    order = np.arange(arrays["fc1.b"].size).reshape(-1, 2).T.ravel()  # even units, then odd ones
    layers["fc1"] = arrays["fc1.W"][:, order].T, arrays["fc1.b"][order]
    layers["fc2"] = arrays["fc2.W"].T, arrays["fc2.b"]
    return ({name: tuple(np.ascontiguousarray(array, np.float32) for array in pair) for name, pair in layers.items()},
            shallow_settings.architecture(settings))


def shallow_prototxt(layers, architecture):
    """Return the text of a deploy.prototxt of the shallow net, with the layer names of Figure 2.

    Parameters
    ----------
    layers, architecture : as `shallow_layers` returns them
    """
    from shallow.preprocess import INPUT_SIZE

    lines = ['# The shallow net of section 3, by models.convert.', 'name: "JuntingNet"',
             'layer { name: "data" type: "Input" top: "data"',
             f"  input_param {{ shape {{ dim: 1 dim: 3 dim: {INPUT_SIZE} dim: {INPUT_SIZE} }} }} }}"]
    bottom = "data"
    for index, pool in enumerate(_pools(architecture), 1):
        kernels = layers[f"conv{index}"][0]
        lines += [f'layer {{ name: "conv{index}" type: "Convolution" bottom: "{bottom}" top: "conv{index}"',
                  f"  convolution_param {{ num_output: {len(kernels)} kernel_size: {kernels.shape[-1]} }} }}",
                  f'layer {{ name: "relu{index}" type: "ReLU" bottom: "conv{index}" top: "conv{index}" }}',
                  f'layer {{ name: "pool{index}" type: "Pooling" bottom: "conv{index}" top: "pool{index}"',
                  f"  pooling_param {{ pool: MAX kernel_size: {pool} stride: 2 }} }}"]
        bottom = f"pool{index}"
    lines += ['layer { name: "fc1" type: "InnerProduct" bottom: "pool3" top: "fc1"',
              f"  inner_product_param {{ num_output: {len(layers['fc1'][0])} }} }}",
              'layer { name: "relu4" type: "ReLU" bottom: "fc1" top: "fc1" }',
              'layer { name: "slice" type: "Slice" bottom: "fc1" top: "slice1" top: "slice2"',
              f"  slice_param {{ axis: 1 slice_point: {len(layers['fc1'][0]) // 2} }} }}",
              'layer { name: "maxout" type: "Eltwise" bottom: "slice1" bottom: "slice2" top: "maxout"',
              "  eltwise_param { operation: MAX } }",
              'layer { name: "fc2" type: "InnerProduct" bottom: "maxout" top: "fc2"',
              f"  inner_product_param {{ num_output: {len(layers['fc2'][0])} }} }}"]
    if architecture["output"] == "sigmoid":
        lines.append('layer { name: "sigmoid" type: "Sigmoid" bottom: "fc2" top: "sigmoid" }')
    return "\n".join(lines) + "\n"


def shallow_to_caffe(weights, out):
    """Write the shallow net as Caffe's files.

    Parameters
    ----------
    weights : path of a weights.npz
    out : Path of a folder

    Returns
    -------
    [Path, Path]
        deploy.prototxt and weights.caffemodel

    Raises
    ------
    UserError
        Caffe is not built, the weights are damaged or of another net, or the files cannot be written.
    """
    layers, architecture = shallow_layers(weights)
    caffe = load_caffe()
    text = shallow_prototxt(layers, architecture)
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as scratch:
        scratch.write(text)
        scratch.flush()
        net = caffe.Net(scratch.name, caffe.TEST)
    for name, arrays in layers.items():
        for blob, values in zip(net.params[name], arrays):
            blob.data[...] = values
    out.mkdir(parents=True, exist_ok=True)
    # Caffe aborts the process if the disk is full
    need_space(out, sum(array.nbytes for pair in layers.values() for array in pair) + (1 << 20))
    with atomic(out / "weights.caffemodel") as scratch:
        net.save(str(scratch))
    write_text(out / "deploy.prototxt", text)
    return [out / "deploy.prototxt", out / "weights.caffemodel"]


def to_onnx(net, weights, path):
    """Write a net as ONNX.

    Parameters
    ----------
    net : "shallow" or "deep"
    weights : path of a weights.npz (shallow) or .caffemodel (deep)
    path : Path of the file to write

    Returns
    -------
    Path
        The written file, `path`.

    Raises
    ------
    UserError
        The package onnx is not installed, or the weights are damaged or of another net.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError("the package onnx is not installed; run `make extras`") from error
    graph = _shallow_graph(weights) if net == "shallow" else _deep_graph(weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
                                   producer_name="saliency-2016")
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    path.parent.mkdir(parents=True, exist_ok=True)
    need_space(path.parent, len(data))
    with atomic(path) as scratch:
        scratch.write_bytes(data)
    return path


class _Graph:
    """An ONNX graph that is a chain: the input of each added node is the output of the node before.

    Parameters
    ----------
    input_name : str
        Name of the graph's input.
    """

    def __init__(self, input_name):
        self.input_name = self.last_output = input_name
        self.nodes, self.weights = [], []

    def add(self, kind, name, weights=(), **attributes):
        """Add a node: `kind` is an operator of ONNX, `weights` its one or two arrays."""
        from onnx import helper, numpy_helper

        names = [f"{name}.{suffix}" for suffix, _ in zip("Wb", weights)]
        self.weights += [numpy_helper.from_array(np.ascontiguousarray(array), array_name)
                         for array_name, array in zip(names, weights)]
        self.nodes.append(helper.make_node(kind, [self.last_output, *names], [name], name=name, **attributes))
        self.last_output = name

    def build(self, name, input_shape, output_shape):
        """Return the graph as onnx.GraphProto; axes of the shapes that are strings are free."""
        from onnx import TensorProto, helper

        net_input, net_output = (
            helper.make_tensor_value_info(blob, TensorProto.FLOAT, shape)
            for blob, shape in ((self.input_name, input_shape), (self.last_output, output_shape)))
        return helper.make_graph(self.nodes, name, [net_input], [net_output], self.weights)


def _shallow_graph(weights):
    """Build the ONNX graph of the shallow net."""
    from shallow.preprocess import INPUT_SIZE, MAP_SIZE

    layers, architecture = shallow_layers(weights)
    graph = _Graph("images")
    for index, pool in enumerate(_pools(architecture), 1):
        graph.add("Conv", f"conv{index}", layers[f"conv{index}"])
        graph.add("Relu", f"relu{index}")
        graph.add("MaxPool", f"pool{index}", kernel_shape=[pool] * 2, strides=[2, 2], ceil_mode=1)
    graph.add("Flatten", "flat")
    graph.add("Gemm", "fc1", layers["fc1"], transB=1)
    graph.add("Relu", "relu4")
    graph.add("Reshape", "halves", [np.array([0, 2, MAP_SIZE ** 2], np.int64)])
    graph.add("ReduceMax", "maxout", axes=[1], keepdims=0)
    graph.add("Gemm", "fc2", layers["fc2"], transB=1)
    if architecture["output"] == "sigmoid":
        graph.add("Sigmoid", "sigmoid")
    return graph.build("JuntingNet", ["n", 3, INPUT_SIZE, INPUT_SIZE], ["n", MAP_SIZE ** 2])


def _pools(architecture):
    """List the kernel sizes of pool1 to pool3."""
    return [2, *[int(architecture["pools"][0])] * 2]  # "3x3" -> 3


def _deep_graph(weights):
    """Build the ONNX graph of the deep net from deploy.prototxt, layer by layer."""
    load_caffe()
    from caffe.proto import caffe_pb2

    arrays, shapes = read_caffemodel(weights), net_shapes(DEPLOY)
    check_weights(arrays, shapes, weights)
    graph = _Graph("data")
    for layer in parse_prototxt(DEPLOY, caffe_pb2.NetParameter()).layer:
        if layer.type != "Input":
            learned = [array.reshape(shape)
                       for array, shape in zip(arrays.get(layer.name, ()), shapes.get(layer.name, ()))]
            _add_caffe_layer(graph, layer, learned)
    return graph.build("SalNet", ["n", 3, "height", "width"], ["n", 1, "height", "width"])


def _add_caffe_layer(graph, layer, learned):
    """Add the ONNX node of a layer of Caffe (a LayerParameter) with its learned arrays."""
    convolution, norm, pooling = layer.convolution_param, layer.lrn_param, layer.pooling_param
    if layer.type in ("Convolution", "Deconvolution"):
        graph.add({"Convolution": "Conv", "Deconvolution": "ConvTranspose"}[layer.type], layer.name, learned,
                  pads=[convolution.pad[0]] * 4, strides=[convolution.stride[0]] * 2)
    elif layer.type == "ReLU":
        graph.add("Relu", layer.name)
    elif layer.type == "LRN":
        graph.add("LRN", layer.name, size=norm.local_size, alpha=norm.alpha, beta=norm.beta, bias=norm.k)
    elif layer.type == "Pooling":
        graph.add("MaxPool", layer.name, kernel_shape=[pooling.kernel_size] * 2, strides=[pooling.stride] * 2,
                  ceil_mode=1)
    else:
        raise UserError(f"{DEPLOY}: layer {layer.name!r} is of type {layer.type}, which models/convert.py cannot "
                        "convert; use a net of convolutions, ReLU, LRN and max pooling")


if __name__ == "__main__":
    run(main)
