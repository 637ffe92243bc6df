"""The PyTorch engine against Theano: outputs, updates, random numbers, files, and runs that change their engine."""
import signal
import subprocess

import numpy as np
import pytest

from common import runs
from common.errors import UserError
from shallow import weights
from shallow.predictor import Predictor
from shallow.settings import resolve
from shallow.updates import TrainingStep
from tests.conftest import begin, command, one_line
from tests.shallow.test_network import SMALL

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
torch_engine = pytest.importorskip("shallow.torch_engine")
SETTINGS = resolve("paper", conv3_filters=64, seed=3, init="released", l2=1e-3, max_norm=1.1)
VARIANTS = [{}, {"init": "paper"}, {"dropout": 0.3}, {"loss": "l1"}, {"loss": "cross-entropy"}, {"pools": "3x3"},
            {"max_norm": None, "l2": 0.0, "dropout": 0.5}]


def name_of(change):
    return " ".join(f"{name} {value}" for name, value in change.items()) or "default"


def largest_difference(actual, expected):
    return np.abs(np.asarray(actual, float) - expected).max() / np.abs(expected).max()


def steps(change):
    """The same net in Theano and in PyTorch."""
    settings = {**SETTINGS, **change}
    return TrainingStep(settings, **SMALL), torch_engine.TorchStep(settings, device="cpu", **SMALL)


def values_of(step):
    return {f"{group} {name}": variable.get_value() for group in ("parameters", "velocities", "random_states")
            for name, variable in getattr(step, group).items()}


def batch(index):
    rng = np.random.default_rng(index)
    return rng.random((8, 3, 32, 32), np.float32), rng.random((8, 36), np.float32)


def test_a_net_whose_weights_are_set_afterwards_starts_from_zeros():
    assert not any(parameter.any() for parameter in torch_engine.Net(init="zeros", **SMALL).parameters())



@pytest.mark.parametrize("change", VARIANTS, ids=name_of)
def test_twenty_updates_equal_those_of_theano(change):
    """Initial weights and random numbers are equal bit for bit; losses and weights after 20 updates to 1e-3."""
    theano, engine = steps(change)
    start = values_of(theano)
    assert len(start) == 20 + ("dropout" in change)
    for name, values in values_of(engine).items():
        np.testing.assert_array_equal(values, start[name], err_msg=name)
    for index in range(20):
        schedule = 0.02 - 0.001 * index, 0.9 + 0.004 * index
        assert engine.update(*batch(index), *schedule) == pytest.approx(theano.update(*batch(index), *schedule), rel=1e-3)
    for name, values in values_of(engine).items():
        expected = values_of(theano)[name]
        assert (values != start[name]).any(), name
        if name.startswith("random"):
            np.testing.assert_array_equal(values, expected)
        # a velocity holds the last gradients, in which one maximum that another unit has by rounding is visible
        assert largest_difference(values, expected) < (1e-2 if name.startswith("velocities") else 1e-3), name
    metrics, expected = (step.validate([batch(20), batch(21)]) for step in (engine, theano))
    assert metrics == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("pools", ["2x2", "3x3"])
def test_gradients_of_black_images_equal_those_of_theano(pools):
    """All outputs of the convolutions are 0: no maximum is unique, and ReLU has no slope there."""
    theano, engine = steps({"pools": pools})
    images, targets = batch(0)
    images[:2] = 0
    for step in (theano, engine):
        step.update(images, targets, 0.1, 0.0)
    for name, variable in engine.velocities.items():
        assert largest_difference(variable.get_value(), theano.velocities[name].get_value()) < 1e-4, name


@pytest.mark.parametrize("pools", ["2x2", "3x3"])
@pytest.mark.parametrize("count", [1, 3])
def test_outputs_equal_theano(pools, count):
    for filters, sizes in ((64, SMALL), (128, {"input_size": 40, "map_size": 8})):
        settings = {**SETTINGS, "pools": pools, "conv3_filters": filters, "loss": "cross-entropy" if count == 3 else "squared"}
        theano, engine = TrainingStep(settings, **sizes), torch_engine.TorchStep(settings, device="cpu", **sizes)
        size, cells = sizes["input_size"], sizes["map_size"] ** 2
        images = np.random.default_rng(count).random((count, 3, size, size), np.float32)
        outputs, expected = engine.forward(images), theano.forward(images)
        assert outputs.shape == (count, cells) and outputs.dtype == np.float32
        assert largest_difference(outputs, expected) < 1e-4


def test_the_predictor_equals_that_of_theano(shallow_weights):
    """The full net, one image and several."""
    theano, predictor = (Predictor(shallow_weights, engine=engine) for engine in ("theano", "torch"))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in ((60, 80), (90, 40), (96, 96))]
    net_input = np.stack([predictor.preprocess(image) for image in images])
    assert largest_difference(predictor.forward(net_input), theano.forward(net_input)) < 1e-4
    np.testing.assert_allclose(predictor.predict(images[0]), theano.predict(images[0]), atol=1e-4)


def test_unknown_engines_and_options_of_another_engine_are_errors(shallow_weights):
    for options, fault in (({"engine": "caffe"}, "engine 'caffe' is not known; give one of: theano, torch"),
                           ({"device": "cpu"}, "engine theano has no option device; give engine=torch"),
                           ({"engine": "torch", "device": "mps"}, "device 'mps' is not supported")):
        with pytest.raises(UserError, match=fault):
            Predictor(shallow_weights, **options)


def test_a_checkpoint_resumes_bit_for_bit_and_in_the_other_engine(tmp_path):
    theano, engine = steps({"dropout": 0.5})
    settings, path = {**SETTINGS, "dropout": 0.5}, tmp_path / "checkpoint.npz"
    for index in range(3):
        engine.update(*batch(index), 0.3, 0.9)
    engine.save(path, settings, {"epoch": 1})
    again = torch_engine.TorchStep({**settings, "seed": 9}, device="cpu", **SMALL)
    assert again.resume(path, settings) == theano.resume(path, settings) == {"epoch": 1}
    for name, values in values_of(engine).items():
        np.testing.assert_array_equal(values, values_of(theano)[name])
    losses = [[step.update(*batch(index), 0.3, 0.9) for index in range(3, 6)] for step in (engine, again, theano)]
    assert losses[0] == losses[1] and losses[0] == pytest.approx(losses[2], rel=1e-4)
    for name, values in values_of(engine).items():
        np.testing.assert_array_equal(values, values_of(again)[name])
    theano.save(path, settings, {"epoch": 2})
    engine.resume(path, settings)
    for name, values in values_of(theano).items():
        np.testing.assert_array_equal(values, values_of(engine)[name])


def test_a_foreign_checkpoint_is_an_error(tmp_path):
    engine = torch_engine.TorchStep(SETTINGS, device="cpu", **SMALL)
    engine.save(tmp_path / "checkpoint.npz", SETTINGS, {"epoch": 1})
    other = torch_engine.TorchStep({**SETTINGS, "conv3_filters": 128}, device="cpu", **SMALL)
    with pytest.raises(UserError, match=r"checkpoint\.npz: conv3\.W has shape"):
        other.resume(tmp_path / "checkpoint.npz", SETTINGS)


def test_low_precision_changes_the_losses_little():
    """bfloat16 has three digits; parameters and momentum stay float32."""
    engines = [torch_engine.TorchStep(SETTINGS, device="cpu", precision=precision, **SMALL)
               for precision in ("float32", "bfloat16")]
    losses = [[engine.update(*batch(index), 0.1, 0.9) for index in range(3)] for engine in engines]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.02)
    assert engines[1].parameters["fc1.W"].dtype == "float32"


def train(prepared, run, *options, engine="torch"):
    device = ("--device", "cpu") if engine == "torch" else ()
    return ("shallow.train", "--data", prepared, "--run", run, "--batch", "8", "--epochs", "3", "--dropout", "0.5",
            "--conv3-filters", "64", "--learning-rate", "0.2", "0.02", "--engine", engine, *device, *options)


def interrupt(arguments):
    """Start a training and interrupt it after its first updates."""
    process = begin("-m", *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while "update/s" not in (line := process.stderr.readline()) and line:
        pass  # the bar appears just before the first update
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "interrupted:" in errors


@pytest.mark.slow
def test_runs_resume_and_change_their_engine(prepared, tmp_path):
    """Interrupted and resumed in PyTorch: the same weights bit for bit; started in Theano: the same losses to 1e-3."""
    assert command(*train(prepared, tmp_path / "whole")).returncode == 0
    interrupt(train(prepared, tmp_path / "broken"))
    resumed = command(*train(prepared, tmp_path / "broken", "--resume"))
    assert resumed.returncode == 0 and "warning" not in resumed.stderr
    whole, broken = (weights.load(tmp_path / name / "weights.npz")[0] for name in ("whole", "broken"))
    for name, values in whole.items():
        np.testing.assert_array_equal(values, broken[name], err_msg=name)
    versions = runs.read_config(tmp_path / "whole/weights.npz", "shallow")["versions"]
    assert versions["engine"] == "torch" and versions["torch"] == torch.__version__
    again = command(*train(prepared, tmp_path / "whole", engine="theano"))
    assert again.returncode == 0 and "already trained" in again.stdout
    interrupt(train(prepared, tmp_path / "both", engine="theano"))
    changed = command(*train(prepared, tmp_path / "both"))
    assert changed.returncode == 0 and "started with engine theano and resumes with engine torch" in changed.stderr
    resumption, = runs.read_config(tmp_path / "both/weights.npz", "shallow")["resumed"]
    assert 0 <= resumption["after"] < 3 and resumption["versions"]["engine"] == "torch"
    assert "resumed" not in runs.read_config(tmp_path / "whole/weights.npz", "shallow")  # it was complete
    rows, others = (runs.read_log(tmp_path / name / "log.csv") for name in ("whole", "both"))
    for column in ("loss", "val_loss"):
        values, expected = ([row[column] for row in log if row[column] is not None] for log in (rows, others))
        assert values and values == pytest.approx(expected, rel=1e-3)


def test_wrong_options_are_one_line(prepared, tmp_path):
    arguments = ("shallow.train", "--data", prepared, "--run", tmp_path / "run")
    for options, fault in ((("--device", "cpu"), "are options of --engine torch"),
                           (("--engine", "torch", "--device", "tpu9"), "device 'tpu9' is not known"),
                           (("--engine", "torch", "--device", "cuda:7"), "finds"),
                           (("--engine", "caffe"), "invalid choice: 'caffe'")):
        assert fault in one_line(command(*arguments, *options))
    assert not (tmp_path / "run").exists()
