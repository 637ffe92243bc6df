"""python -m models.convert: either net for other engines: the shallow one as Caffe's files, both as ONNX.

    --to caffe    OUT/deploy.prototxt and OUT/weights.caffemodel: the shallow net in the layers of the paper's Figure 2
    --to onnx     OUT/NET.onnx, batch (and for the deep net height and width, multiples of four) free

Input and answer are the net's own, as the docstrings of shallow/preprocess.py and deep/preprocess.py have them. ONNX
needs the package onnx: `make extras`.
"""
import argparse
import tempfile
from pathlib import Path

import numpy as np

from common.errors import UserError, run
from models import NETS

OPSET, IR_VERSION = 13, 8  # of ONNX, 2021: what every runtime of today reads


def main():
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(prog="python -m models.convert", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
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
        raise UserError("the deep net is Caffe's already: deep/deploy.prototxt and its .caffemodel")
    print("\n".join(map(str, paths)))


def shallow_layers(path):
    """The shallow net as other engines have it.

    Theano turns kernels by half before it lays them over an image, others do not; and Figure 2 takes the larger of two
    halves where Lasagne takes that of two neighbours, so that the units are put in another order.

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
        The weights are damaged or another net's.
    """
    from shallow.settings import architecture
    from shallow.weights import load_net

    _, arrays, settings = load_net(path)
    layers = {name: (arrays[f"{name}.W"][:, :, ::-1, ::-1], arrays[f"{name}.b"])
              for name in ("conv1", "conv2", "conv3")}
    order = np.arange(arrays["fc1.b"].size).reshape(-1, 2).T.ravel()  # evens, then odds
    layers["fc1"] = arrays["fc1.W"][:, order].T, arrays["fc1.b"][order]
    layers["fc2"] = arrays["fc2.W"].T, arrays["fc2.b"]
    return ({name: tuple(np.ascontiguousarray(array, np.float32) for array in pair) for name, pair in layers.items()},
            architecture(settings))


def shallow_prototxt(layers, architecture):
    """The text of the shallow net's deploy.prototxt, with the layer names of Figure 2."""
    from shallow.preprocess import INPUT_SIZE

    lines = ['# The shallow net of section 3, by models.convert.', 'name: "JuntingNet"',
             'layer { name: "data" type: "Input" top: "data"',
             f"  input_param {{ shape {{ dim: 1 dim: 3 dim: {INPUT_SIZE} dim: {INPUT_SIZE} }} }} }}"]
    below = "data"
    for index, kernel in enumerate(("2x2", architecture["pools"], architecture["pools"]), 1):
        kernels = layers[f"conv{index}"][0]
        lines += [f'layer {{ name: "conv{index}" type: "Convolution" bottom: "{below}" top: "conv{index}"',
                  f"  convolution_param {{ num_output: {len(kernels)} kernel_size: {kernels.shape[-1]} }} }}",
                  f'layer {{ name: "relu{index}" type: "ReLU" bottom: "conv{index}" top: "conv{index}" }}',
                  f'layer {{ name: "pool{index}" type: "Pooling" bottom: "conv{index}" top: "pool{index}"',
                  f"  pooling_param {{ pool: MAX kernel_size: {kernel[0]} stride: 2 }} }}"]
        below = f"pool{index}"
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
    """
    from common.files import atomic, need_space, write_text
    from deep.backend import load_caffe

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
    need_space(out, sum(array.nbytes for pair in layers.values() for array in pair) + (1 << 20))  # Caffe ends over it
    with atomic(out / "weights.caffemodel") as scratch:
        net.save(str(scratch))
    write_text(out / "deploy.prototxt", text)
    return [out / "deploy.prototxt", out / "weights.caffemodel"]


def to_onnx(net, weights, path):
    """Write a net as ONNX; returns the path.

    Raises
    ------
    UserError
        The package onnx is not there, or the weights are damaged or another net's.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError("the package onnx is not there; `make extras` brings it") from error
    from common.files import atomic, need_space

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
    """Collects an ONNX graph, a node after the other: each takes the last one's answer."""

    def __init__(self, last):
        self.last, self.nodes, self.arrays = last, [], []

    def add(self, kind, name, arrays=(), **attributes):
        from onnx import helper, numpy_helper

        names = [f"{name}.{suffix}" for suffix, _ in zip("Wb", arrays)]
        self.arrays += [numpy_helper.from_array(np.ascontiguousarray(array), each)
                        for each, array in zip(names, arrays)]
        self.nodes.append(helper.make_node(kind, [self.last, *names], [name], name=name, **attributes))
        self.last = name

    def made(self, name, given, answer):
        from onnx import TensorProto, helper

        shaped = [helper.make_tensor_value_info(blob, TensorProto.FLOAT, shape)
                  for blob, shape in ((given[0], given[1]), (self.last, answer))]
        return helper.make_graph(self.nodes, name, shaped[:1], shaped[1:], self.arrays)


def _shallow_graph(weights):
    from shallow.preprocess import INPUT_SIZE, MAP_SIZE

    layers, architecture = shallow_layers(weights)
    graph = _Graph("images")
    for index, kernel in enumerate(("2x2", architecture["pools"], architecture["pools"]), 1):
        graph.add("Conv", f"conv{index}", layers[f"conv{index}"])
        graph.add("Relu", f"relu{index}")
        graph.add("MaxPool", f"pool{index}", kernel_shape=[int(kernel[0])] * 2, strides=[2, 2], ceil_mode=1)
    graph.add("Flatten", "flat")
    graph.add("Gemm", "fc1", layers["fc1"], transB=1)
    graph.add("Relu", "relu4")
    graph.add("Reshape", "halves", [np.array([0, 2, MAP_SIZE ** 2], np.int64)])
    graph.add("ReduceMax", "maxout", axes=[1], keepdims=0)
    graph.add("Gemm", "fc2", layers["fc2"], transB=1)
    if architecture["output"] == "sigmoid":
        graph.add("Sigmoid", "sigmoid")
    return graph.made("JuntingNet", ("images", ["n", 3, INPUT_SIZE, INPUT_SIZE]), ["n", MAP_SIZE ** 2])


def _deep_graph(weights):
    """deploy.prototxt, layer by layer."""
    from deep.backend import load_caffe
    from deep.prototxt import DEPLOY, parse_prototxt
    from deep.weights import check_weights, net_shapes, read_caffemodel

    load_caffe()
    from caffe.proto import caffe_pb2

    arrays, shapes = read_caffemodel(weights), net_shapes(DEPLOY)
    check_weights(arrays, shapes, weights)
    graph = _Graph("data")
    for layer in parse_prototxt(DEPLOY, caffe_pb2.NetParameter()).layer:
        learned = [array.reshape(shape) for array, shape in zip(arrays.get(layer.name, ()), shapes.get(layer.name, ()))]
        size, window = layer.convolution_param, layer.pooling_param
        if layer.type in ("Convolution", "Deconvolution"):
            graph.add({"Convolution": "Conv", "Deconvolution": "ConvTranspose"}[layer.type], layer.name, learned,
                      pads=[size.pad[0]] * 4, strides=[size.stride[0]] * 2)
        elif layer.type == "ReLU":
            graph.add("Relu", layer.name)
        elif layer.type == "LRN":
            norm = layer.lrn_param
            graph.add("LRN", layer.name, size=norm.local_size, alpha=norm.alpha, beta=norm.beta, bias=norm.k)
        elif layer.type == "Pooling":
            graph.add("MaxPool", layer.name, kernel_shape=[window.kernel_size] * 2, strides=[window.stride] * 2,
                      ceil_mode=1)
        elif layer.type != "Input":
            raise UserError(f"{DEPLOY}: layer {layer.name!r} is of type {layer.type}, unknown to models/convert.py")
    return graph.made("SalNet", ("data", ["n", 3, "height", "width"]), ["n", 1, "height", "width"])


if __name__ == "__main__":
    run(main)
