"""VGG_CNN_M -> conv1..conv3 (section 4.1): weights copied by layer name where shapes agree.

The function is not carried over, only the filters: VGG_CNN_M has stride 2 in conv1 and conv2, a
stronger normalisation, and input of 0..255 where ours is about [-1, 1]. With that input conv1's
response is 127.5 times smaller while its bias stays; `rescale=True` multiplies its filters by 127.5.
"""
from deep import preprocess
from deep.weights import check_weights, read_caffemodel

TRANSFERRED = ("conv1", "conv2", "conv3")  # section 4.1: "the first three convolutional layers"


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
        A line a layer: what was copied, what keeps its random start.

    Raises
    ------
    UserError
        The file cannot be read, or its layers have other shapes.
    """
    weights = read_caffemodel(path)
    check_weights(weights, {name: [tuple(blob.data.shape) for blob in net.params[name]] for name in TRANSFERRED}, path)
    report = []
    for name, blobs in net.params.items():
        if name not in TRANSFERRED:
            report.append(f"{name}: starts at random")
            continue
        for blob, values in zip(blobs, weights[name]):
            blob.data[...] = values.reshape(blob.data.shape)
        if name == "conv1" and rescale:
            blobs[0].data[...] /= preprocess.IMAGE_SCALE
        report.append(f"{name}: copied from {path}")
    return report
