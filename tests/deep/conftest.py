import pytest

from deep.backend import load_caffe
from deep.names import NEW, OLD
from deep.prepare import prepare
from tests.fixtures.vgg import vgg_cnn_m


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Training data of the deep net from 40 synthetic images at 192x144: 36 for training, 4 for validation."""
    out = tmp_path_factory.mktemp("prepared") / "synthetic-deep"
    prepare("synthetic", None, out, limit=40, jobs=2)
    return out


@pytest.fixture(scope="session")
def vgg(tmp_path_factory):
    """Save a small VGG_CNN_M.caffemodel: the fully connected layers, which are not used, have fewer units."""
    folder = tmp_path_factory.mktemp("vgg")
    (folder / "vgg.prototxt").write_text(vgg_cnn_m((64, 64, 10)))
    caffe = load_caffe()
    net = caffe.Net(str(folder / "vgg.prototxt"), caffe.TEST)
    net.save(str(folder / "VGG_CNN_M.caffemodel"))
    return folder / "VGG_CNN_M.caffemodel"


def with_old_name(source, path):
    """Write a copy of a caffemodel of ours in which the last layer has its old name; return its path."""
    message = load_caffe().proto.caffe_pb2.NetParameter()
    message.ParseFromString(source.read_bytes())
    for layer in message.layer:
        if layer.name == NEW:
            layer.name = layer.top[0] = OLD
    path.write_bytes(message.SerializeToString())
    return path
