"""The nets on other engines give the same outputs."""
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from deep.backend import load_caffe
from deep.layers import list_layers
from models import as_pysaliency, load
from models.convert import shallow_to_caffe, to_onnx
from shallow.settings import architecture
from shallow.summary import summary
from tests.conftest import command, one_line


@pytest.fixture(scope="module")
def net_input():
    return np.random.default_rng(0).random((3, 3, 96, 96), np.float32)


@pytest.fixture(scope="module", params=[{}, {"pools": "3x3"}, {"loss": "cross-entropy", "conv3_filters": 64}],
                ids=["released", "figure 2", "sigmoid"])
def shallow_files(request, tmp_path_factory):
    """Write weights of the shallow net whose biases differ; return the path."""
    from shallow import network, weights

    path, rng = tmp_path_factory.mktemp("shallow") / "weights.npz", np.random.default_rng(1)
    settings = {"conv3_filters": 128, **request.param}
    parameters = network.named_parameters(network.build(init="released", **architecture(settings)))
    arrays = {name: value.get_value() + (0.1 * rng.standard_normal(value.get_value().shape).astype(np.float32)
                                         if name.endswith("b") else 0) for name, value in parameters.items()}
    weights.save(path, arrays, settings)
    return path


def test_caffe_and_opencv_run_the_shallow_net(shallow_files, net_input, tmp_path):
    import cv2

    prototxt, caffemodel = shallow_to_caffe(shallow_files, tmp_path / "net")
    expected = load("shallow", shallow_files).forward(net_input)
    caffe = load_caffe()
    net = caffe.Net(str(prototxt), str(caffemodel), caffe.TEST)
    net.blobs["data"].reshape(*net_input.shape)
    net.blobs["data"].data[...] = net_input
    (output,) = net.forward().values()
    np.testing.assert_allclose(output, expected, atol=1e-5)
    opencv = cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))
    opencv.setInput(net_input[:1])
    np.testing.assert_allclose(opencv.forward(), expected[:1], atol=1e-5)
    text = prototxt.read_text()
    for name in ("slice1", "slice2", "operation: MAX", "InnerProduct"):  # the names of Figure 2
        assert name in text
    in_caffe, faults = list_layers(prototxt)
    in_theano = summary(shallow_files)[2]
    assert faults == [] and len({(sum(layer.weight_count for layer in layers), sum(layer.multiply_adds for layer in layers))
                                 for layers in (in_caffe, in_theano)}) == 1, "both count the same net"


def test_onnxruntime_runs_the_shallow_net(shallow_files, net_input, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs `make extras`")
    path = to_onnx("shallow", shallow_files, tmp_path / "shallow.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = load("shallow", shallow_files).forward(net_input)
    np.testing.assert_allclose(session.run(None, {"images": net_input})[0], expected, atol=1e-5)


@pytest.mark.slow
def test_onnxruntime_runs_the_deep_net(deep_weights, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs `make extras`")
    path = to_onnx("deep", deep_weights, tmp_path / "deep.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    predictor = load("deep", deep_weights)
    for height, width in ((64, 96), (100, 52)):
        net_input = np.random.default_rng(0).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
        expected = predictor.forward(net_input)
        (output,) = session.run(None, {"data": net_input})
        assert output.shape == expected.shape == (1, 1, height, width)
        np.testing.assert_allclose(output, expected, atol=1e-4 * np.abs(expected).max())


def test_converting_the_deep_net_to_caffe_or_bad_weights_is_an_error(deep_weights, tmp_path):
    line = one_line(command("models.convert", "--net", "deep", "--weights", deep_weights, "--to", "caffe", "--out", tmp_path))
    assert "deep/deploy.prototxt" in line
    (tmp_path / "w.npz").write_bytes(b"PK")
    line = one_line(command("models.convert", "--net", "shallow", "--weights", tmp_path / "w.npz", "--to", "caffe", "--out", tmp_path / "o"))
    assert "w.npz: cannot be read as an .npz" in line and not (tmp_path / "o").exists()


def test_a_missing_onnx_package_is_an_error_with_the_remedy(shallow_weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match="run `make extras`"):
        to_onnx("shallow", shallow_weights, Path(tmp_path) / "a.onnx")


def test_pysaliency_evaluates_the_net(deep_weights, monkeypatch):
    """Use the real package; PyTorch, which only its deep models need, is replaced by an empty module."""
    pytest.importorskip("boltons", reason="needs `make extras`")
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    pysaliency = pytest.importorskip("pysaliency", reason="needs `make extras`")
    model = as_pysaliency("deep", deep_weights, engine="opencv", longest_side=96)
    assert isinstance(model, pysaliency.SaliencyMapModel)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, shape, np.uint8) for shape in ((60, 80, 3), (40, 50))]  # colour and grey
    stimuli = pysaliency.Stimuli(images)
    predictor = load("deep", deep_weights, engine="opencv", longest_side=96)
    np.testing.assert_array_equal(model.saliency_map(stimuli[0]), predictor.predict(images[0]))
    assert model.saliency_map(images[1]).shape == (40, 50)
    fixations = pysaliency.FixationTrains.from_fixation_trains([[3, 30], [20]], [[4, 9], [11]], [[0, 1], [0]], [0, 1], [0, 0])
    assert 0 <= model.AUC(stimuli, fixations) <= 1 and np.isfinite(model.NSS(stimuli, fixations))


def test_a_missing_pysaliency_is_an_error_with_the_remedy(shallow_weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "pysaliency", None)
    with pytest.raises(UserError, match="pysaliency cannot be imported.*`make extras`"):
        as_pysaliency("shallow", shallow_weights)
