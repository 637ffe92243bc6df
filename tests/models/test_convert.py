"""The nets on other engines: the same answers."""
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from models.convert import shallow_to_caffe, to_onnx
from shallow.predictor import Predictor
from tests.conftest import command, one_line


@pytest.fixture(scope="module")
def fed():
    return np.random.default_rng(0).random((3, 3, 96, 96), np.float32)


@pytest.fixture(scope="module", params=[{}, {"pools": "3x3"}, {"loss": "cross-entropy", "conv3_filters": 64}],
                ids=["released", "figure 2", "sigmoid"])
def shallow_files(request, tmp_path_factory):
    """Weights of the shallow net with biases that are not all the same, and its settings."""
    from shallow import network, weights
    from shallow.settings import architecture

    path, rng = tmp_path_factory.mktemp("shallow") / "weights.npz", np.random.default_rng(1)
    settings = {"conv3_filters": 128, **request.param}
    parameters = network.named_parameters(network.build(init="released", **architecture(settings)))
    arrays = {name: value.get_value() + (0.1 * rng.standard_normal(value.get_value().shape).astype(np.float32)
                                         if name.endswith("b") else 0) for name, value in parameters.items()}
    weights.save(path, arrays, settings)
    return path


def test_the_shallow_net_on_caffe_and_opencv(shallow_files, fed, tmp_path):
    import cv2

    from deep.backend import load_caffe
    prototxt, caffemodel = shallow_to_caffe(shallow_files, tmp_path / "net")
    expected = Predictor(shallow_files).forward(fed)
    caffe = load_caffe()
    net = caffe.Net(str(prototxt), str(caffemodel), caffe.TEST)
    net.blobs["data"].reshape(*fed.shape)
    net.blobs["data"].data[...] = fed
    (answer,) = net.forward().values()
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    opencv = cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))
    opencv.setInput(fed[:1])
    np.testing.assert_allclose(opencv.forward(), expected[:1], atol=1e-5)
    text = prototxt.read_text()
    for name in ("slice1", "slice2", "operation: MAX", "InnerProduct"):  # as Figure 2 names them
        assert name in text


def test_the_shallow_net_as_onnx(shallow_files, fed, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs `make extras`")
    path = to_onnx("shallow", shallow_files, tmp_path / "shallow.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"images": fed})[0], Predictor(shallow_files).forward(fed), atol=1e-5)


@pytest.mark.slow
def test_the_deep_net_as_onnx(deep_weights, tmp_path):
    from deep.predictor import Predictor as Deep
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs `make extras`")
    path = to_onnx("deep", deep_weights, tmp_path / "deep.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    predictor = Deep(deep_weights)
    for height, width in ((64, 96), (100, 52)):
        fed = np.random.default_rng(0).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
        expected = predictor.forward(fed)
        (answer,) = session.run(None, {"data": fed})
        assert answer.shape == expected.shape == (1, 1, height, width)
        np.testing.assert_allclose(answer, expected, atol=1e-4 * np.abs(expected).max())


def test_the_deep_net_is_caffes_already_and_bad_weights_are_named(deep_weights, tmp_path):
    line = one_line(command("models.convert", "--net", "deep", "--weights", deep_weights, "--to", "caffe", "--out", tmp_path))
    assert "deep/deploy.prototxt" in line
    (tmp_path / "w.npz").write_bytes(b"PK")
    line = one_line(command("models.convert", "--net", "shallow", "--weights", tmp_path / "w.npz", "--to", "caffe", "--out", tmp_path / "o"))
    assert "w.npz: damaged" in line and not (tmp_path / "o").exists()


def test_without_onnx_it_says_what_brings_it(shallow_weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match="`make extras` brings it"):
        to_onnx("shallow", shallow_weights, Path(tmp_path) / "a.onnx")


def test_a_model_of_pysaliency(deep_weights, monkeypatch):
    """The real package's own class, evaluated by it; PyTorch, which only its deep models want, is left out."""
    import types

    pytest.importorskip("boltons", reason="needs `make extras`")
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    pysaliency = pytest.importorskip("pysaliency", reason="needs `make extras`")
    from models import as_pysaliency, load
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


def test_without_pysaliency_it_says_so(shallow_weights, monkeypatch):
    from models import as_pysaliency
    monkeypatch.setitem(sys.modules, "pysaliency", None)
    with pytest.raises(UserError, match="pysaliency cannot be imported"):
        as_pysaliency("shallow", shallow_weights)
