"""Test the copying of VGG_CNN_M's weights into conv1..conv3, with files of its architecture that the tests create."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from deep import surgery
from deep.backend import load_caffe
from deep.preprocess import IMAGE_SCALE
from deep.prototxt import TRAIN_VAL
from deep.weights import check_weights, net_shapes, read_caffemodel
from tests.conftest import command, one_line
from tests.fixtures.vgg import vgg_cnn_m

caffe = load_caffe()
pb2 = caffe.proto.caffe_pb2


@pytest.fixture
def net(tmp_path):
    """Create the deep net with the initial weights of its fillers."""
    text = TRAIN_VAL.read_text()
    head, tail = text[:text.index("layer {")], text[text.index("# conv1..conv3"):text.index("# Caffe's EuclideanLoss")]
    (tmp_path / "net.prototxt").write_text(
        head + 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 24, 32] } } }' + tail)
    return caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)


def test_three_layers_are_copied_and_the_others_keep_their_weights(vgg, net):
    before = {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}
    source = read_caffemodel(vgg)
    report = surgery.transplant(net, vgg)
    for name, blobs in net.params.items():
        expected = source[name] if name in ("conv1", "conv2", "conv3") else before[name]
        for blob, values in zip(blobs, expected):
            np.testing.assert_array_equal(blob.data, values, err_msg=name)
    assert "conv4" in source and source["conv4"][0].shape == (512, 512, 3, 3)  # of another shape than ours: not copied
    assert len(report) == 10
    assert "96 x 3 x 7 x 7" in report[0] and report[0].endswith(f"copied from {vgg}")
    assert "512 x 512 x 5 x 5" in report[3] and report[3].endswith("starts with its filler: gaussian, std 0.0125")
    assert report[9].endswith("starts with its filler: gaussian, mean 0.015625, std 1e-06")


def test_rescaling_conv1_compensates_for_the_scaled_input(vgg, net):
    source = read_caffemodel(vgg)["conv1"]
    report = surgery.transplant(net, vgg, rescale=True)
    np.testing.assert_allclose(net.params["conv1"][0].data, source[0] / IMAGE_SCALE, rtol=1e-6)
    np.testing.assert_array_equal(net.params["conv1"][1].data, source[1])
    assert report[0].endswith("filters x 127.5") and "127.5" not in "".join(report[1:])
    # the response to a scaled image is then that of VGG_CNN_M's filters to grey levels
    image = np.random.default_rng(0).uniform(-100, 150, (1, 3, 24, 32)).astype(np.float32)
    net.blobs["data"].data[...] = image * IMAGE_SCALE
    net.forward(end="conv1")
    patch = image[0, :, 5:12, 8:15]
    expected = (source[0] * patch).sum(axis=(1, 2, 3)) + source[1]
    np.testing.assert_allclose(net.blobs["conv1"].data[0, :, 8, 11], expected, rtol=1e-3, atol=1e-2)


def test_files_in_the_v1_format_are_read(vgg, net, tmp_path):
    """V1LayerParameter with four-dimensional biases, as in files of 2014."""
    old = pb2.NetParameter(name="CNN_M")
    for name, blobs in read_caffemodel(vgg).items():
        layer = old.layers.add(name=name, type=pb2.V1LayerParameter.CONVOLUTION)
        for values in blobs:
            shape = (1,) * (4 - values.ndim) + values.shape
            blob = layer.blobs.add(num=shape[0], channels=shape[1], height=shape[2], width=shape[3])
            blob.data.extend(values.ravel().tolist())
    (tmp_path / "old.caffemodel").write_bytes(old.SerializeToString())
    surgery.transplant(net, tmp_path / "old.caffemodel")
    for name in surgery.TRANSFERRED:
        for blob, values in zip(net.params[name], read_caffemodel(vgg)[name]):
            np.testing.assert_array_equal(blob.data, values, err_msg=name)


def test_files_in_double_precision_are_read(net, tmp_path):
    rng, file = np.random.default_rng(0), pb2.NetParameter()
    for name in surgery.TRANSFERRED:
        layer = file.layer.add(name=name)
        for shape in net_shapes(TRAIN_VAL)[name]:
            blob = layer.blobs.add()
            blob.shape.dim.extend(shape)
            blob.double_data.extend(rng.normal(size=np.prod(shape)).tolist())
    (tmp_path / "double.caffemodel").write_bytes(file.SerializeToString())
    surgery.transplant(net, tmp_path / "double.caffemodel")
    np.testing.assert_array_equal(net.params["conv3"][1].data, np.float32(file.layer[2].blobs[1].double_data))


@pytest.mark.slow
def test_a_file_of_the_real_size_is_read(net, tmp_path):
    """VGG_CNN_M with 103 million parameters."""
    (tmp_path / "vgg.prototxt").write_text(vgg_cnn_m())
    whole = caffe.Net(str(tmp_path / "vgg.prototxt"), caffe.TEST)
    assert sum(blob.data.size for blobs in whole.params.values() for blob in blobs) > 100e6
    whole.save(str(tmp_path / "VGG_CNN_M.caffemodel"))
    surgery.transplant(net, tmp_path / "VGG_CNN_M.caffemodel")
    for name in surgery.TRANSFERRED:
        np.testing.assert_array_equal(net.params[name][0].data, whole.params[name][0].data)


def test_other_files_are_errors_and_nothing_is_copied(vgg, net, deep_weights, tmp_path):
    before = net.params["conv1"][0].data.copy()
    whole, foreign, wrong, nan = vgg.read_bytes(), pb2.NetParameter(), pb2.NetParameter(), pb2.NetParameter()
    foreign.layer.add(name="conv1_1").blobs.add(data=[1.0]).shape.dim.append(1)
    for name, shape in [("conv1", (96, 3, 11, 11)), ("conv2", (256, 96, 5, 5)), ("conv3", (512, 256, 3, 3))]:
        for file in (wrong, nan):
            layer = file.layer.add(name=name)
            actual = (96, 3, 7, 7) if file is nan and name == "conv1" else shape
            for dims in (actual, actual[:1]):
                layer.blobs.add(data=np.full(np.prod(dims), np.nan if file is nan else 1.0)).shape.dim.extend(dims)
    for data, complaint in [
            (whole[:len(whole) // 2], "cut off, or not a caffemodel; fetch or train it again"),
            (whole[:100], "cut off|no layer"),
            (b"", "contains no layer with weights"),
            (b"<html>404</html>", "cut off|no layer"),
            (foreign.SerializeToString(), "contains no layer 'conv1', but conv1_1; give a file of this net"),
            (wrong.SerializeToString(), r"layer 'conv1' has shapes \[\(96, 3, 11, 11\)"),
            (nan.SerializeToString(), "layer 'conv1' contains NaN")]:
        (tmp_path / "VGG.caffemodel").write_bytes(data)
        with pytest.raises(UserError, match=rf"VGG\.caffemodel: .*({complaint})"):
            surgery.transplant(net, tmp_path / "VGG.caffemodel")
    with pytest.raises(UserError, match="No such file"):
        surgery.transplant(net, tmp_path / "gone.caffemodel")
    np.testing.assert_array_equal(net.params["conv1"][0].data, before)


def test_a_truncated_file_is_an_error(tmp_path):
    """At every length: no crash, and no truncated file passes as complete."""
    file, shapes = pb2.NetParameter(name="small"), {name: [(2, 2), (2,)] for name in ("conv1", "conv2")}
    for name in shapes:
        layer = file.layer.add(name=name, type="Convolution")
        layer.blobs.add(data=[1, 2, 3, 4]).shape.dim.extend([2, 2])
        layer.blobs.add(data=[5, 6]).shape.dim.append(2)
    whole, path = file.SerializeToString(), tmp_path / "cut.caffemodel"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError, match=r"cut\.caffemodel: "):
            check_weights(read_caffemodel(path), shapes, path)
    path.write_bytes(whole)
    check_weights(read_caffemodel(path), shapes, path)


@settings(max_examples=300)
@given(st.data())
def test_flipped_bits_give_an_error_or_other_values(tmp_path_factory, data):
    """Never a traceback: the file is read, or an error of one line names it."""
    file = pb2.NetParameter(name="small")
    layer = file.layer.add(name="conv1", type="Convolution")
    layer.blobs.add(data=[1, 2, 3, 4]).shape.dim.extend([2, 2])
    whole = bytearray(file.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "flipped.caffemodel"
    path.write_bytes(whole)
    try:
        check_weights(read_caffemodel(path), {"conv1": [(2, 2)]}, path)
    except UserError as error:
        assert "flipped.caffemodel: " in str(error) and "\n" not in str(error)


def test_an_impossible_shape_is_an_error(tmp_path):
    for dims in ([0, 2**62, 2**62], [1] * 40, [-1, 4], [2**40, 2**40]):
        file = pb2.NetParameter()
        file.layer.add(name="conv1").blobs.add(data=[1.0]).shape.dim.extend(dims)
        (tmp_path / "odd.caffemodel").write_bytes(file.SerializeToString())
        with pytest.raises(UserError, match="odd.caffemodel: layer 'conv1' has shape .* the file is damaged"):
            read_caffemodel(tmp_path / "odd.caffemodel")


def test_training_starts_from_vgg(vgg, prepared, tmp_path):
    arguments = ["--data", prepared, "--run", tmp_path / "run", "--iterations", "1", "--set", "base_lr=0"]
    assert "No such file" in one_line(command("deep.train", *arguments, "--vgg", tmp_path / "VGG_CNN_M.caffemodel"))
    process = command("deep.train", *arguments, "--vgg", vgg)  # the command with the wrong path created no run folder
    assert process.returncode == 0, process.stderr
    assert f"copied from {vgg}" in process.stdout and "conv4 " in process.stdout
    trained = read_caffemodel(tmp_path / "run/weights.caffemodel")
    np.testing.assert_array_equal(trained["conv2"][0], read_caffemodel(vgg)["conv2"][0])
