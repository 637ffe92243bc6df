import pytest

from deep.backend import load_caffe
from tests.fixtures.vgg import vgg_cnn_m


@pytest.fixture(scope="session")
def vgg(tmp_path_factory):
    """Save a small VGG_CNN_M.caffemodel: the fully connected layers, which are not used, have fewer units."""
    folder = tmp_path_factory.mktemp("vgg")
    (folder / "vgg.prototxt").write_text(vgg_cnn_m((64, 64, 10)))
    caffe = load_caffe()
    net = caffe.Net(str(folder / "vgg.prototxt"), caffe.TEST)
    net.save(str(folder / "VGG_CNN_M.caffemodel"))
    return folder / "VGG_CNN_M.caffemodel"
