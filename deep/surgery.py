"""Copy VGG_CNN_M's weights into conv1..conv3 by layer name (section 4.1).

The copied layers compute another function than in VGG_CNN_M, which has stride 2 in conv1 and conv2, a stronger
normalisation, and input of 0..255 where ours is about [-1, 1]. With our input, conv1's response is 127.5 times smaller,
but its bias is the same. `rescale=True` multiplies conv1's filters by 127.5 to compensate.
"""
from common.errors import UserError
from deep import preprocess
from deep.prototxt import TRAIN_VAL, messages, parse_prototxt
from deep.weights import check_weights, net_shapes, read_caffemodel

TRANSFERRED = ("conv1", "conv2", "conv3")  # section 4.1: "the first three convolutional layers"


def read_vgg(path, prototxt=TRAIN_VAL):
    """Read a VGG_CNN_M.caffemodel with `deep.weights.read_caffemodel`, and check the shapes of conv1..conv3.

    Parameters
    ----------
    path : path of the caffemodel
    prototxt : path of the net that gets the layers

    Raises
    ------
    UserError
        The file cannot be read, is another net's, or its layers have other shapes, or the net has no such layers.
    """
    weights, shapes = read_caffemodel(path), net_shapes(prototxt)
    missing = [name for name in TRANSFERRED if name not in shapes]
    if missing:
        raise UserError(f"{prototxt}: has no convolution {', '.join(missing)} for the weights of {path}; name them so, "
                        "or train without VGG's weights")
    check_weights(weights, {name: shapes[name] for name in TRANSFERRED}, path)
    return weights


def transplant(net, path, rescale=False, prototxt=TRAIN_VAL):
    """Copy conv1..conv3 of a VGG_CNN_M.caffemodel into a net.

    Parameters
    ----------
    net : caffe.Net, or an object whose `params` have the same form
    path : path of the caffemodel
    rescale : bool
        Multiply conv1's filters by 127.5, to compensate for the scaled input.
    prototxt : path of the net

    Returns
    -------
    list of str
        One line per layer: the shape of its weights, and their source: the file, or a filler.

    Raises
    ------
    UserError
        The file cannot be read, is another net's, or its layers have other shapes. The net is unchanged.
    """
    weights, starts, report = read_vgg(path, prototxt), _describe_fillers(prototxt), []
    for name, blobs in net.params.items():
        start = starts[name]
        if name in TRANSFERRED:
            for blob, values in zip(blobs, weights[name]):
                blob.data[...] = values.reshape(blob.data.shape)
            start = f"copied from {path}"
            if name == "conv1" and rescale:
                blobs[0].data[...] /= preprocess.IMAGE_SCALE
                start += ", filters x 127.5"
        report.append(f"  {name:<7} {' x '.join(map(str, blobs[0].data.shape)):<19} {start}")
    return report


def _describe_fillers(prototxt):
    """Describe the weight filler of every layer of a net: {layer name: text}."""
    descriptions = {}
    for layer in parse_prototxt(prototxt, messages().NetParameter()).layer:
        filler = layer.convolution_param.weight_filler
        values = [f"{field.name} {value:g}" for field, value in filler.ListFields() if field.name != "type"]
        descriptions[layer.name] = f"starts with its filler: {', '.join([filler.type, *values])}" \
            if layer.HasField("convolution_param") else "starts with its filler"
    return descriptions
