"""VGG_CNN_M -> conv1..conv3 (section 4.1): weights copied by layer name where shapes agree.

The function is not carried over, only the filters: VGG_CNN_M has stride 2 in conv1 and conv2, a
stronger normalisation, and input of 0..255 where ours is about [-1, 1]. With that input conv1's
response is 127.5 times smaller while its bias stays; `rescale=True` multiplies its filters by 127.5.
"""
from deep import preprocess
from deep.backend import load_caffe
from deep.prototxt import TRAIN_VAL, parse_prototxt
from deep.weights import check_weights, net_shapes, read_caffemodel

TRANSFERRED = ("conv1", "conv2", "conv3")  # section 4.1: "the first three convolutional layers"


def read_vgg(path):
    """Read a VGG_CNN_M.caffemodel, as `deep.weights.read_caffemodel`, and check that conv1..conv3 fit.

    Raises
    ------
    UserError
        The file cannot be read, is another net's, or its layers have other shapes.
    """
    weights, shapes = read_caffemodel(path), net_shapes(TRAIN_VAL)
    check_weights(weights, {name: shapes[name] for name in TRANSFERRED}, path)
    return weights


def transplant(net, path, rescale=False):
    """Copy conv1..conv3 of a VGG_CNN_M.caffemodel into a net.

    Parameters
    ----------
    net : caffe.Net
    path : path of the caffemodel
    rescale : bool
        Multiply conv1's filters by 127.5, to make up for the scaled input.

    Returns
    -------
    list of str
        A line a layer: its weights' shape, and whether they were copied, or how they start.

    Raises
    ------
    UserError
        The file cannot be read, is another net's, or its layers have other shapes. The net is as it was.
    """
    weights, shapes, fillers, report = read_vgg(path), net_shapes(TRAIN_VAL), _fillers(), []
    for name, blobs in net.params.items():
        start = fillers[name]
        if name in TRANSFERRED:
            for blob, values in zip(blobs, weights[name]):
                blob.data[...] = values.reshape(blob.data.shape)
            start = f"copied from {path}"
            if name == "conv1" and rescale:
                blobs[0].data[...] /= preprocess.IMAGE_SCALE
                start += ", filters x 127.5"
        report.append(f"  {name:<7} {' x '.join(map(str, shapes[name][0])):<19} {start}")
    return report


def _fillers():
    """How each layer starts when nothing is copied into it, in words, as train_val.prototxt says."""
    words = {}
    for layer in parse_prototxt(TRAIN_VAL, load_caffe().proto.caffe_pb2.NetParameter()).layer:
        filler = layer.convolution_param.weight_filler
        values = [f"{field.name} {value:g}" for field, value in filler.ListFields() if field.name != "type"]
        words[layer.name] = f"starts with its filler: {', '.join([filler.type, *values])}"
    return words
