"""The PyTorch engine against Caffe: outputs, gradients, updates, files, and runs that change their engine."""
import signal
import subprocess
import time

import numpy as np
import pytest

from common import runs
from common.errors import UserError
from deep.backend import load_caffe
from deep.prototxt import DEPLOY, SOLVER, TRAIN_VAL
from deep.solver import resolve_solver, write_solver
from deep.trainer import create_solver
from deep.weights import read_caffemodel, read_history, write_caffemodel
from tests.conftest import begin, command, one_line
from tests.deep.conftest import assert_equal_to_rounding, run_command_of, run_folder

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
torch_engine = pytest.importorskip("deep.torch_engine")
torch_net = pytest.importorskip("deep.torch_net")


def relative_error(actual, expected):
    return np.abs(np.asarray(actual, float) - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def nets(deep_weights):
    """Caffe's net and PyTorch's with the same weights."""
    caffe = load_caffe()
    in_caffe = caffe.Net(str(DEPLOY), str(deep_weights), caffe.TEST)
    in_torch = torch_net.Net(DEPLOY)
    in_torch.read(read_caffemodel(deep_weights))
    return in_caffe, in_torch


@pytest.mark.parametrize("images, height, width", [(1, 24, 32), (2, 44, 28), (3, 100, 8)])
def test_outputs_and_image_gradients_equal_caffe(nets, images, height, width):
    """The odd sizes within the net are rounded up by both."""
    caffe, net = nets
    rng = np.random.default_rng(images)
    data = rng.uniform(-1, 1, (images, 3, height, width)).astype(np.float32)
    caffe.blobs["data"].reshape(*data.shape)
    caffe.reshape()
    caffe.blobs["data"].data[...] = data
    expected = caffe.forward()["deconv1"]
    inputs = torch.from_numpy(data).requires_grad_()
    output = net(inputs)
    assert relative_error(output.detach(), expected) < 1e-4
    direction = rng.standard_normal(expected.shape).astype(np.float32)
    output.backward(torch.from_numpy(direction))
    # the slope along a random direction, in float64
    exact, step = torch_net.Net(DEPLOY).double(), 1e-6
    exact.load_state_dict({name: value.double() for name, value in net.state_dict().items()})
    change = rng.standard_normal(data.shape)
    with torch.no_grad():
        outputs = [exact(torch.from_numpy(data + sign * step * change)) for sign in (1, -1)]
    slope = float(((outputs[0] - outputs[1]) * torch.from_numpy(direction)).sum()) / (2 * step)
    exact_inputs = torch.from_numpy(data).double().requires_grad_()
    exact(exact_inputs).backward(torch.from_numpy(direction))
    assert float((exact_inputs.grad.numpy() * change).sum()) == pytest.approx(slope, rel=1e-3)
    # In float32, a value next to zero can be on the other side of a ReLU: 0.02 in the narrow image on a processor without
    # AVX-512, 1e-6 without such a value.
    assert relative_error(inputs.grad, exact_inputs.grad.numpy()) < 5e-2


# a weight decay of 3, because that of the file hardly changes the weights in 20 iterations
@pytest.mark.parametrize("settings", ["weight_decay: 3", 'type: "Nesterov" weight_decay: 3', "clip_gradients: 10", 'regularization_type: "L1"',
                                      "iter_size: 2", "iter_size: 3 clip_gradients: 10"])
def test_twenty_iterations_equal_those_of_caffe(tmp_path, settings):
    from deep.caffe_engine import CaffeEngine

    folder = run_folder(tmp_path / "run", settings)
    caffe, engine = CaffeEngine(folder), torch_engine.TorchEngine(folder, device="cpu")
    model, state = tmp_path / "snapshot_iter_0.caffemodel", tmp_path / "snapshot_iter_0.solverstate"
    caffe.save(model)
    engine.net.read(read_caffemodel(model))
    for _ in range(20):
        (loss, weights, gradients), (caffe_loss, caffe_weights, caffe_gradients) = engine.step(), caffe.step()
        assert loss == pytest.approx(caffe_loss, rel=1e-3)
        assert weights == pytest.approx(caffe_weights, rel=1e-3) and gradients == pytest.approx(caffe_gradients, rel=1e-2)
    assert engine.iteration == caffe.iteration == 20
    engine.save(model)
    for name, arrays in read_caffemodel(model).items():
        for values, blob in zip(arrays, caffe.net.params[name]):
            assert_equal_to_rounding(values, blob.data, name)
    image = np.random.default_rng(1).uniform(-1, 1, (1, 3, 24, 32)).astype(np.float32)
    assert relative_error(engine.forward(image), caffe.forward(image)) < 1e-3
    # momentum, and a snapshot of this engine in Caffe
    engine.snapshot(state, model)
    caffe.restore(state, model)
    (loss, weights, _), (caffe_loss, caffe_weights, _) = engine.step(), caffe.step()
    assert loss == pytest.approx(caffe_loss, rel=1e-4) and weights == pytest.approx(caffe_weights, rel=1e-3)
    caffe.snapshot(None, None)
    restored = torch_engine.TorchEngine(folder, device="cpu")
    restored.restore(folder / "snapshot_iter_21.solverstate", folder / "snapshot_iter_21.caffemodel")
    assert restored.iteration == 21
    for array, other in zip(restored.history, read_history(folder / "snapshot_iter_21.solverstate")):
        np.testing.assert_array_equal(array.numpy(), other)


def test_files_are_those_of_caffe(tmp_path, deep_weights):
    layers = read_caffemodel(deep_weights)
    write_caffemodel(tmp_path / "again.caffemodel", layers)
    caffe = load_caffe()
    net = caffe.Net(str(DEPLOY), str(tmp_path / "again.caffemodel"), caffe.TEST)
    for name, arrays in layers.items():
        for values, blob in zip(arrays, net.params[name]):
            np.testing.assert_array_equal(values, blob.data)


def train(data, run, *options, engine="torch"):
    device = ("--device", "cpu") if engine == "torch" else ()
    return "deep.train", "--data", data, "--run", run, "--iterations", "4", "--engine", engine, *device, *options


@pytest.mark.slow
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(prepared_small, tmp_path):
    assert command(*train(prepared_small, tmp_path / "whole")).returncode == 0
    process = begin("-m", *train(prepared_small, tmp_path / "broken"), stderr=subprocess.PIPE)
    while not (log := tmp_path / "broken/log.csv").is_file() or len(log.read_text().splitlines()) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "interrupted:" in errors
    resumed = command(*train(prepared_small, tmp_path / "broken", "--resume"))
    assert resumed.returncode == 0 and "warning" not in resumed.stderr
    whole, broken = (read_caffemodel(tmp_path / name / "weights.caffemodel") for name in ("whole", "broken"))
    for name, arrays in whole.items():
        for values, other in zip(arrays, broken[name]):
            np.testing.assert_array_equal(values, other)
    config = runs.read_config(tmp_path / "whole/weights.caffemodel", "deep")
    assert config["versions"]["torch"] == torch.__version__ and config["versions"]["device"].startswith("cpu")


@pytest.mark.slow
def test_a_run_changes_its_engine_at_a_snapshot(prepared_small, tmp_path):
    """The losses are those of a run of Caffe alone, to rounding."""
    assert command(*train(prepared_small, tmp_path / "caffe", engine="caffe")).returncode == 0
    process = begin("-m", *train(prepared_small, tmp_path / "both", engine="caffe"), stderr=subprocess.DEVNULL)
    while not (log := tmp_path / "both/log.csv").is_file() or len(log.read_text().splitlines()) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    resumed = command(*train(prepared_small, tmp_path / "both"))
    assert resumed.returncode == 0 and "the run started with engine caffe, device cpu and resumes with engine torch, device cpu, " in resumed.stderr
    resumption, = runs.read_config(tmp_path / "both/weights.caffemodel", "deep")["resumed"]
    assert 0 < resumption["after"] < 4 and resumption["versions"]["engine"] == "torch"
    assert resumption["versions"]["precision"] == "float32" and resumption["versions"]["caffe"] is None
    rows, others = (runs.read_log(tmp_path / name / "log.csv") for name in ("caffe", "both"))
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in others], rel=1e-3)
    assert rows[-1]["val_cc"] == pytest.approx(others[-1]["val_cc"], abs=1e-3)


@pytest.mark.slow
def test_vgg_weights_are_copied(prepared_small, vgg, tmp_path):
    """Caffe repeats such a run to rounding, by the command in its solver file, which starts from start.caffemodel."""
    process = command(*train(prepared_small, tmp_path / "run", "--vgg", vgg, "--set", "base_lr=1e-12"))
    assert process.returncode == 0 and "copied from" in process.stdout
    weights = read_caffemodel(tmp_path / "run/weights.caffemodel")
    for name in ("conv1", "conv2", "conv3"):
        np.testing.assert_allclose(weights[name][0], read_caffemodel(vgg)[name][0], atol=1e-6)
    first_line = (tmp_path / "run/solver.prototxt").read_text().splitlines()[0]
    assert first_line.endswith("PyTorch ran it. To repeat it with Caffe alone, to rounding:")
    run_command_of(tmp_path / "run/solver.prototxt")
    for name, arrays in read_caffemodel(tmp_path / "run/snapshots/snapshot_iter_4.caffemodel").items():
        for values, other in zip(arrays, weights[name]):
            np.testing.assert_allclose(values, other, atol=1e-4 * max(np.abs(other).max(), 1e-6))


def test_a_run_from_weights_that_pytorch_drew_does_not_promise_that_caffe_repeats_it(tmp_path):
    """PyTorch's random numbers are not Caffe's, and only runs from VGG's weights save the initial ones."""
    solver = resolve_solver(SOLVER, "demo", size=[192, 144], validation_images=40, seed=1)
    write_solver(tmp_path, solver, None, engine="torch")
    first_line, second_line, *_ = (tmp_path / "solver.prototxt").read_text().splitlines()
    assert first_line.endswith("PyTorch ran it. To train the same net with Caffe alone, from other random weights:")
    assert "start.caffemodel" not in second_line


def test_the_batches_are_those_of_caffe(tmp_path):
    """Across shards, and from the beginning again."""
    folder = run_folder(tmp_path / "run", "")
    caffe = load_caffe()
    net = caffe.Net(str(folder / "train_val.prototxt"), caffe.TRAIN)
    batches = torch_engine.Batches(folder / "train.txt", 2, torch.device("cpu"))
    skipped = torch_engine.Batches(folder / "train.txt", 2, torch.device("cpu"))
    skipped.skip(4)
    for index in range(12):
        net.forward(end="data")
        for array, name in zip(batches.next(), ("data", "label")):
            np.testing.assert_array_equal(array, net.blobs[name].data)
        if index >= 4:
            np.testing.assert_array_equal(skipped.next()[0], net.blobs["data"].data)


def test_wrong_settings_are_one_line(prepared_small, tmp_path):
    arguments = ("deep.train", "--data", prepared_small, "--run", tmp_path / "run")
    for options, fault in ((("--device", "cpu"), "are options of --engine torch"),
                           (("--engine", "torch", "--device", "tpu9"), "device 'tpu9' is not known"),
                           (("--engine", "torch", "--device", "cuda:7"), "finds"),
                           (("--engine", "torch", "--device", "cpu", "--set", "type=Adam"), "the PyTorch engine has SGD and Nesterov")):
        assert fault in one_line(command(*arguments, *options))


def test_unknown_layers_and_fillers_are_errors(tmp_path):
    for before, after, fault in (('type: "ReLU"', 'type: "TanH"', "has type TanH"), ('type: "gaussian"', 'type: "xavier"', "filler 'xavier'")):
        (tmp_path / "net.prototxt").write_text(TRAIN_VAL.read_text().replace(before, after))
        with pytest.raises(UserError, match=fault):
            torch_net.Net(tmp_path / "net.prototxt")


@pytest.mark.parametrize("before, after, fault", [
    ('bottom: "conv4" top: "conv4" }', 'bottom: "conv3" top: "conv4" }', "layer 'relu4' takes conv3, not the output of the layer before it"),
    ("kernel_size: 11 pad: 5", "kernel_size: 11 dilation: 2 pad: 10", "layer 'conv7' sets dilation"),
    ("num_output: 128", "num_output: 128 group: 2", "layer 'conv7' sets group"),
    ('{ name: "relu8" type: "ReLU"', '{ relu_param { negative_slope: 0.1 } name: "relu8" type: "ReLU"', "layer 'relu8' sets negative_slope")])
def test_nets_that_would_be_computed_otherwise_are_errors(tmp_path, before, after, fault):
    """A user's net may have branches and settings that this engine does not have."""
    text = TRAIN_VAL.read_text()
    assert before in text
    (tmp_path / "net.prototxt").write_text(text.replace(before, after))
    with pytest.raises(UserError, match=fault):
        torch_net.Net(tmp_path / "net.prototxt")


def test_an_output_of_another_size_than_the_targets_is_an_error(tmp_path):
    folder = run_folder(tmp_path / "run", "")
    net = folder / "train_val.prototxt"
    net.write_text(net.read_text().replace("kernel_size: 8 pad: 2 stride: 4", "kernel_size: 2 pad: 0 stride: 2"))
    with pytest.raises(UserError, match=r"its output has shape \(2, 1, 12, 16\), but the targets have \(2, 1, 24, 32\)"):
        torch_engine.TorchEngine(folder, device="cpu").step()


def test_initial_weights_are_those_of_the_fillers(tmp_path):
    first, again, other = (torch_net.Net(TRAIN_VAL, seed=seed).to_arrays() for seed in (1, 1, 2))
    solver = create_solver(tmp_path, np.zeros((1, 3, 24, 32)), np.zeros((1, 1, 24, 32)), batch=1, random_seed=1)
    for name, arrays in first.items():
        np.testing.assert_array_equal(arrays[0], again[name][0])
        assert not np.array_equal(arrays[0], other[name][0])
        blobs = solver.net.params[name]
        assert arrays[0].shape == blobs[0].data.shape
        assert arrays[0].std() == pytest.approx(blobs[0].data.std(), rel=0.1 if arrays[0].size > 1000 else 0.5)
        if len(blobs) > 1:
            np.testing.assert_array_equal(arrays[1], blobs[1].data)
