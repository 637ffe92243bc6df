"""The nets as PyTorch modules: outputs, and gradients with respect to the image."""
import copy

import numpy as np
import pytest

import models
from common.errors import UserError
from common.images import write_png
from deep.backend import load_caffe
from deep.prototxt import DEPLOY
from tests.conftest import command, one_line, python

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make torch")


def images_of(net, count=2):
    shape = (count, 3, 96, 96) if net == "shallow" else (count, 3, 36, 44)
    low = 0 if net == "shallow" else -1
    return np.random.default_rng(0).uniform(low, 1, shape).astype(np.float32)


@pytest.fixture(params=models.NETS)
def net(request):
    return request.param


@pytest.fixture
def weights(net, request):
    return request.getfixturevalue(f"{net}_weights")


def test_outputs_are_those_of_the_predictor(net, weights):
    module, images = models.torch_module(net, weights), images_of(net)
    expected = models.load(net, weights).forward(images[:1])
    output = module(torch.from_numpy(images)).detach().numpy()[:1]
    assert not module.training and isinstance(module, torch.nn.Module)
    assert np.abs(output - expected).max() < 1e-4 * np.abs(expected).max()
    again = models.load(net, weights, engine="torch", device="cpu").forward(images[:1])
    np.testing.assert_allclose(again, output, atol=1e-5 * np.abs(expected).max())


def test_the_gradient_of_the_image_equals_finite_differences(net, weights):
    """The slope of a random sum of the outputs along a random direction, in float64."""
    module, rng = models.torch_module(net, weights), np.random.default_rng(1)
    images = torch.from_numpy(images_of(net)).requires_grad_()
    output = module(images)
    factors, change = (rng.standard_normal(array.shape) for array in (output, images))
    (output * torch.from_numpy(factors)).sum().backward()
    exact, step = copy.deepcopy(module).double(), 1e-7
    with torch.no_grad():
        ends = [exact(torch.from_numpy(images_of(net) + sign * step * change)) for sign in (1, -1)]
    slope = float(((ends[0] - ends[1]) * torch.from_numpy(factors)).sum()) / (2 * step)
    assert float((images.grad.numpy() * change).sum()) == pytest.approx(slope, rel=1e-3)


def test_without_caffe_the_remedy_is_its_build(deep_weights):
    """The module needs the definition of prototxt files, which Caffe's build makes; OpenCV would not help."""
    process = python("-c", "import sys; sys.path = [path for path in sys.path if 'caffe' not in path]\n"
                           "from common.errors import run\nfrom models import torch_module\n"
                           f"run(lambda: torch_module('deep', {str(deep_weights)!r}))")
    line = one_line(process)
    assert "caffe_pb2.py, which defines the prototxt files, is missing" in line
    assert "run `make caffe`" in line and "opencv" not in line


def test_the_gradient_of_the_image_equals_that_of_caffe(deep_weights, tmp_path):
    (tmp_path / "net.prototxt").write_text(f"force_backward: true\n{DEPLOY.read_text()}")
    caffe, data = load_caffe(), images_of("deep")
    net = caffe.Net(str(tmp_path / "net.prototxt"), str(deep_weights), caffe.TEST)
    net.blobs["data"].reshape(*data.shape)
    net.blobs["data"].data[...] = data
    net.forward()
    factors = np.random.default_rng(2).standard_normal(net.blobs["deconv1"].data.shape).astype(np.float32)
    net.blobs["deconv1"].diff[...] = factors
    net.backward()
    images = torch.from_numpy(data).requires_grad_()
    (models.torch_module("deep", deep_weights)(images) * torch.from_numpy(factors)).sum().backward()
    expected = net.blobs["data"].diff
    assert np.abs(expected).max() > 0
    assert np.abs(images.grad.numpy() - expected).max() < 1e-4 * np.abs(expected).max()


def test_wrong_nets_and_weights_are_errors(shallow_weights, deep_weights):
    with pytest.raises(UserError, match="there is no net 'deeper'"):
        models.torch_module("deeper", deep_weights)
    with pytest.raises(UserError, match="not a caffemodel"):
        models.torch_module("deep", shallow_weights)
    with pytest.raises(UserError, match="cannot be read as an .npz"):
        models.torch_module("shallow", deep_weights)


def test_the_command_predicts_with_pytorch(net, weights, tmp_path):
    """Maps of both engines are equal to rounding, and a device without its engine is one line."""
    write_png(tmp_path / "images/one.png", np.random.default_rng(0).integers(0, 256, (60, 90), np.uint8))
    arguments = ("models.predict", "--net", net, "--weights", weights, "--images", tmp_path / "images", "--formats", "npy")
    for out, options in (("plain", ()), ("torch", ("--option", "engine=torch", "--option", "device=cpu"))):
        process = command(*arguments, "--out", tmp_path / out, *options)
        assert process.returncode == 0, process.stderr
    plain, other = (np.load(tmp_path / out / "one.npy") for out in ("plain", "torch"))
    assert np.ptp(plain) > 1e-3
    np.testing.assert_allclose(other, plain, atol=1e-4)
    process = command(*arguments, "--out", tmp_path / "none", "--option", "device=cpu")
    assert "has no option device; give engine=torch, or omit device" in one_line(process)
