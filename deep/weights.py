"""Read, check and write .caffemodel and .solverstate files without Caffe.

The messages below are a part of caffe.proto: only the fields that hold weights or their shapes; the parser skips all
others. Weights are declared as bytes, not as numbers. For packed fields, which Caffe uses, both have the same wire
format, and NumPy reads the bytes as fast as an array.
"""
import functools
from pathlib import Path

import numpy as np

from common.errors import UserError, os_error_message, show_names
from deep.names import rename_layers
from deep.prototxt import parse_prototxt

# message: {field: (number, type, repeated)}
_FIELDS = {
    "BlobShape": {"dim": (1, "int64", True)},
    "BlobProto": {"num": (1, "int32", False), "channels": (2, "int32", False), "height": (3, "int32", False),
                  "width": (4, "int32", False), "data": (5, "bytes", False), "shape": (7, "BlobShape", False),
                  "double_data": (8, "bytes", False)},
    "ConvolutionParameter": {"num_output": (1, "uint32", False), "bias_term": (2, "bool", False),
                             "kernel_size": (4, "uint32", True)},
    "LayerParameter": {"name": (1, "string", False), "type": (2, "string", False), "blobs": (7, "BlobProto", True),
                       "convolution_param": (106, "ConvolutionParameter", False)},
    "V1LayerParameter": {"name": (4, "string", False), "blobs": (6, "BlobProto", True)},
    "NetParameter": {"layers": (2, "V1LayerParameter", True), "layer": (100, "LayerParameter", True)},
    "SolverState": {"iter": (1, "int32", False), "learned_net": (2, "string", False),
                    "history": (3, "BlobProto", True), "current_step": (4, "int32", False)},
}
REMEDY = "fetch or train it again"


def read_caffemodel(path):
    """Read the weights in a .caffemodel, current or V1 format.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str: list of float32 array
        Per layer, in Caffe's order: weights (out, in, rows, columns), then biases (out,). The deconvolution has its
        present name, also if the file has the old one.

    Raises
    ------
    UserError
        The file is missing, cut off, or not a caffemodel.
    """
    net = _parse(path, "NetParameter", "a caffemodel")
    layers = [layer for layer in (*net.layer, *net.layers) if layer.blobs]
    if not all(isinstance(layer.name, str) for layer in layers):  # protobuf returns invalid UTF-8 as bytes
        raise UserError(f"{path}: the name of a layer is not text, the file is damaged; {REMEDY}")
    if not layers:
        raise UserError(f"{path}: contains no layer with weights, so it is not a caffemodel; {REMEDY}")
    return rename_layers({
        layer.name: [_to_array(blob, path, f"layer '{show_names(layer.name)}'") for blob in layer.blobs]
        for layer in layers})


def read_history(path):
    """Read the momentum in a .solverstate.

    Returns
    -------
    list of float32 array
        One per parameter; two for solvers such as Adam.

    Raises
    ------
    UserError
        The file is missing or damaged.
    """
    state = _parse(path, "SolverState", "a solverstate")
    return [_to_array(blob, path, f"history {index}") for index, blob in enumerate(state.history)]


def write_caffemodel(path, weights):
    """Write weights in Caffe's format.

    Parameters
    ----------
    path : path of the .caffemodel
    weights : dict of str: list of float32 array
        As returned by `read_caffemodel`.
    """
    Path(path).write_bytes(to_caffemodel(weights))


def to_caffemodel(weights):
    """Return the bytes of a .caffemodel, see `write_caffemodel`."""
    net = _messages()["NetParameter"]()
    for name, arrays in weights.items():
        layer = net.layer.add(name=name)
        for array in arrays:
            _add_blob(layer.blobs, array)
    return net.SerializeToString()


def write_solverstate(path, iteration, history, model, step=0):
    """Write a solver's state in Caffe's format.

    Parameters
    ----------
    path : path of the .solverstate
    iteration : int
        Number of iterations that are done.
    history : list of float32 array
        As returned by `read_history`.
    model : path of the .caffemodel with the weights of the same iteration
    step : int
        Number of reductions of the learning rate so far, for lr_policy "multistep".
    """
    state = _messages()["SolverState"](iter=iteration, learned_net=str(model), current_step=step)
    for array in history:
        _add_blob(state.history, array)
    Path(path).write_bytes(state.SerializeToString())


def read_iteration(path):
    """Read the number of iterations in a .solverstate; raises as `read_history`."""
    return _parse(path, "SolverState", "a solverstate").iter


def check_weights(weights, expected, path):
    """Check that weights have the shapes of a net and are finite.

    Parameters
    ----------
    weights : dict, as returned by `read_caffemodel`
    expected : dict of str: list of tuple
        Shapes per layer. Other layers in `weights` are ignored.
    path : path
        Named in the error.

    Raises
    ------
    UserError
        A layer is missing, has another shape, or holds NaN or infinity.
    """
    for name, shapes in expected.items():
        if name not in weights:
            raise UserError(f"{path}: contains no layer {name!r}, but {show_names(weights)}; give a file of this net")
        check_shapes(weights[name], shapes, path, f"layer {name!r} ")


def check_shapes(arrays, shapes, path, what=""):
    """Raise UserError unless `arrays` have `shapes`, apart from axes of length 1, and finite values."""
    actual = [array.shape for array in arrays]
    # in old files, biases have shape (1, 1, 1, n)
    if [[n for n in shape if n != 1] for shape in actual] != [[n for n in shape if n != 1] for shape in shapes]:
        raise UserError(f"{path}: {what}has shapes {actual}, this net needs {shapes}; give a file of this net")
    if not all(np.isfinite(array).all() for array in arrays):
        raise UserError(f"{path}: {what}contains NaN or infinity, since the training diverged or the file is damaged; "
                        f"{REMEDY}")


def net_shapes(prototxt, channels=3):
    """Return the shapes of a net's weights; the net must be a chain of convolutions and deconvolutions.

    Parameters
    ----------
    prototxt : path
    channels : int
        Number of channels of the image.

    Returns
    -------
    dict of str: list of tuple
        Per layer: shape of the weights, then of the biases if it has any.

    Raises
    ------
    UserError
        The file is missing or has a mistake.
    """
    shapes = {}
    for layer in parse_prototxt(prototxt, _messages()["NetParameter"](), allow_unknown_field=True).layer:
        if layer.type in ("Convolution", "Deconvolution"):
            if not layer.convolution_param.kernel_size:
                raise UserError(f"{prototxt}: layer {layer.name!r} has no kernel_size; give it one, for square kernels")
            outputs, kernel = layer.convolution_param.num_output, layer.convolution_param.kernel_size[0]
            axes = (outputs, channels) if layer.type == "Convolution" else (channels, outputs)
            shapes[layer.name] = [(*axes, kernel, kernel)]
            if layer.convolution_param.bias_term:
                shapes[layer.name].append((outputs,))
            channels = outputs
    return shapes


def _add_blob(blobs, array):
    blob = blobs.add(data=np.ascontiguousarray(array, "<f4").tobytes())
    blob.shape.dim.extend(array.shape)


def _parse(path, message, kind):
    from google.protobuf.message import DecodeError

    parsed = _messages()[message]()
    try:
        with open(path, "rb") as handle:
            parsed.ParseFromString(handle.read())
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except DecodeError as error:
        raise UserError(f"{path}: cut off, or not {kind}; {REMEDY}") from error
    return parsed


@functools.cache
def _messages():
    """Create the classes of the messages above, in a separate pool: pycaffe's may be loaded in the same process."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="weights.proto", package="weights", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for name, (number, kind, repeated) in fields.items():
            field = described.field.add(
                name=name, number=number, label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL)
            if kind in _FIELDS:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".weights.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
                if name == "bias_term":
                    field.default_value = "true"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {message: factory.GetPrototype(pool.FindMessageTypeByName(f"weights.{message}")) for message in _FIELDS}


def _to_array(blob, path, what):
    """Convert a BlobProto to an array; its shape is in `shape`, or in the old fields num, channels, height, width."""
    legacy = any(blob.HasField(axis) for axis in ("num", "channels", "height", "width"))
    shape = (blob.num, blob.channels, blob.height, blob.width) if legacy else tuple(blob.shape.dim)
    data, dtype = (blob.double_data, "<f8") if blob.double_data else (blob.data, "<f4")
    try:
        if min(shape, default=1) < 0:
            raise ValueError
        return np.frombuffer(data, dtype).astype(np.float32, copy=False).reshape(shape)
    except ValueError as error:  # the number of values does not match the shape
        raise UserError(f"{path}: {what} has shape {shape} but {len(data)} bytes of data, the file is damaged; "
                        f"{REMEDY}") from error
