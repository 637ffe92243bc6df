"""Reading .caffemodel files with every check made before Caffe sees them."""
import numpy as np

from data.errors import UserError, describe


def read_caffemodel(path):
    """Read the weights in a .caffemodel, current or V1 format.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str: list of float32 array
        By layer, in Caffe's order: weights (out, in, rows, columns), then biases (out,).

    Raises
    ------
    UserError
        The file is missing, cut off, or not a caffemodel.
    """
    from deep.backend import load_caffe

    load_caffe()
    from caffe.proto import caffe_pb2
    from google.protobuf.message import DecodeError

    net = caffe_pb2.NetParameter()
    try:
        with open(path, "rb") as handle:
            net.ParseFromString(handle.read())
    except OSError as error:
        raise UserError(describe(error)) from error
    except DecodeError as error:
        raise UserError(f"{path}: cut off, or not a caffemodel; fetch or train it again") from error
    layers = [layer for layer in (*net.layer, *net.layers) if layer.blobs]
    if not layers:
        raise UserError(f"{path}: no layer with weights in it, so not a caffemodel; fetch or train it again")
    return {layer.name: [_blob(blob, path, layer.name) for blob in layer.blobs] for layer in layers}


def check_weights(weights, expected, path):
    """Compare weights with the shapes a net has.

    Parameters
    ----------
    weights : dict as of `read_caffemodel`
    expected : dict of str: list of tuple
        Shapes by layer. Layers of `weights` beyond these are ignored, as Caffe does.
    path : path
        Named in the message.

    Raises
    ------
    UserError
        A layer is missing, has another shape, or holds NaN or infinity.
    """
    for name, shapes in expected.items():
        if name not in weights:
            raise UserError(f"{path}: no layer {name!r} in it (it has {', '.join(weights)}); is it another net's file?")
        found = [blob.shape for blob in weights[name]]
        # old files write a bias as (1, 1, 1, n)
        if [[n for n in shape if n != 1] for shape in found] != [[n for n in shape if n != 1] for shape in shapes]:
            raise UserError(f"{path}: layer {name!r} has shapes {found}, this net wants {shapes}; "
                            "is it another net's file?")
        if not all(np.isfinite(blob).all() for blob in weights[name]):
            raise UserError(f"{path}: layer {name!r} holds NaN or infinity; "
                            "the training diverged or the file is damaged")


def net_shapes(net):
    """Shapes of the weights of a caffe.Net, by layer."""
    return {name: [tuple(blob.data.shape) for blob in blobs] for name, blobs in net.params.items()}


def _blob(blob, path, layer):
    """A BlobProto as an array, whichever way its shape is written."""
    legacy = blob.HasField("num") or blob.HasField("channels") or blob.HasField("height") or blob.HasField("width")
    shape = (blob.num, blob.channels, blob.height, blob.width) if legacy else tuple(blob.shape.dim)
    values = np.array(blob.data if len(blob.data) else blob.double_data, np.float32)
    if values.size != np.prod(shape, dtype=np.int64):
        raise UserError(f"{path}: layer {layer!r} says {shape} but holds {values.size} values; the file is damaged")
    return values.reshape(shape)
