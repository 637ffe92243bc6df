"""The training of the shallow net: one update restated, data order, resuming, and its errors."""
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from data.errors import UserError
from shallow import network, weights
from shallow.batches import Arrays
from shallow.settings import PAPER, PRESETS
from shallow.trainer import Trainer
from tests.conftest import REPOSITORY, command, one_line
from tests.shallow.test_network import SMALL, restated

SETTINGS = {**PAPER, "init": "released", "conv3_filters": 64, "seed": 0}


def snapshot(variables):
    return {name: variable.get_value().astype(np.float64) for name, variable in variables.items()}


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.random((8, 3, 32, 32), np.float32), rng.random((8, 36), np.float32)


def test_presets_are_the_papers_but_for_what_demo_names():
    assert PAPER["epochs"] == 1000 and PAPER["learning_rate"] == (0.03, 0.0001) and PAPER["init"] == "paper"
    changed = {name for name in PAPER if PRESETS["demo"][name] != PAPER[name]}
    assert changed == {"init", "epochs", "updates", "learning_rate", "validate_every"}


def test_gradients_equal_finite_differences(batch):
    """Theano's step with momentum 0 moves each weight by -rate x gradient; compare with differences of NumPy's loss."""
    trainer = Trainer({**SETTINGS, "l2": 0.0, "max_norm": 1e9}, **SMALL)
    before = snapshot(trainer.parameters)
    trainer.step(*batch, np.float32(1.0), np.float32(0.0))
    after = snapshot(trainer.parameters)
    rng = np.random.default_rng(1)

    def loss(parameters):
        return np.mean([(restated(parameters, image) - target) ** 2 for image, target in zip(*batch)])
    for name, values in before.items():
        gradient = values - after[name]
        # where the gradient is large enough for float32 to have kept it
        for index in rng.choice(np.argsort(np.abs(gradient).ravel())[-20:], 2, replace=False):
            shifted = []
            for sign in (1, -1):
                changed = {**before, name: values.copy()}
                changed[name].ravel()[index] += sign * 1e-4
                shifted.append(loss(changed))
            difference = (shifted[0] - shifted[1]) / 2e-4
            assert gradient.ravel()[index] == pytest.approx(difference, rel=2e-2, abs=1e-6), name


def test_update_rule_equals_numpy(batch):
    """Nesterov momentum, the L2 penalty and the norm constraint, on the arrays."""
    rate, momentum, l2, max_norm = 0.5, 0.9, 1e-3, 1.25
    plain = Trainer({**SETTINGS, "l2": 0.0, "max_norm": 1e9}, **SMALL)
    full = Trainer({**SETTINGS, "l2": l2, "max_norm": max_norm}, **SMALL)
    rng = np.random.default_rng(2)
    velocity = {name: rng.normal(0, 1e-3, values.shape) for name, values in snapshot(plain.parameters).items()}
    for name, variable in full.velocities.items():
        variable.set_value(velocity[name].astype(np.float32))
    before = snapshot(plain.parameters)
    plain.step(*batch, np.float32(rate), np.float32(0))
    gradient = {name: (before[name] - values) / rate for name, values in snapshot(plain.parameters).items()}
    full.step(*batch, np.float32(rate), np.float32(momentum))
    for name, found in snapshot(full.parameters).items():
        total = gradient[name] + (2 * l2 * before[name] if name.endswith(".W") else 0)  # biases are not penalised
        moved = momentum * velocity[name] - rate * total
        expected = before[name] + momentum * moved - rate * total
        if name == "fc1.W":
            norms = np.linalg.norm(expected, axis=0)
            assert (norms > max_norm).any() and (norms < max_norm).any()
            expected *= np.minimum(norms, max_norm) / norms
            assert np.linalg.norm(found, axis=0).max() <= max_norm * (1 + 1e-5)
        np.testing.assert_allclose(found, expected, atol=3e-6, err_msg=name)


def test_overfits_eight_images(batch):
    trainer = Trainer({**SETTINGS, "l2": 0.0}, **SMALL)
    losses = [float(trainer.step(*batch, np.float32(0.1), np.float32(0.9))) for _ in range(400)]
    assert losses[-1] < 0.01 * losses[0]


def test_batches_are_a_function_of_seed_and_epoch(prepared):
    settings = {**SETTINGS, "batch": 8}
    with Arrays(prepared / "shallow.h5") as arrays, h5py.File(prepared / "shallow.h5") as file:
        assert arrays.batches_an_epoch(8) == 4
        images, maps = arrays.batch(3, 1, settings)
        assert images.shape == (8, 3, 96, 96) and images.dtype == np.float32 and 0 <= images.min() <= images.max() <= 1
        assert maps.shape == (8, 2304) and maps.dtype == np.float32
        np.testing.assert_array_equal(images, arrays.batch(3, 1, settings)[0])
        assert (images != arrays.batch(4, 1, settings)[0]).any()
        # every image once an epoch, as it is or mirrored, its map likewise
        stored = file["train/image"][...] / np.float32(255)
        seen = []
        for index in range(4):
            for image, map_ in zip(*arrays.batch(0, index, settings)):
                plain = [i for i, other in enumerate(stored) if (image == other).all()]
                turned = [i for i, other in enumerate(stored) if (image == other[:, :, ::-1]).all()]
                target = file["train/map"][(plain or turned)[0]]
                np.testing.assert_array_equal(map_.reshape(48, 48), target if plain else target[:, ::-1])
                seen.append((plain or turned)[0])
                assert plain or turned
        assert sorted(seen) == list(range(32))


def test_damaged_data_is_named(prepared, tmp_path):
    (tmp_path / "shallow.h5").write_bytes((prepared / "shallow.h5").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"shallow\.h5: missing or damaged.*make data"):
        Arrays(tmp_path / "shallow.h5")


@pytest.mark.slow
def test_interrupted_and_resumed_equals_uninterrupted(prepared, tmp_path):
    """The full net, twelve updates: Ctrl-C and a kill on the way, then the same weights bit for bit."""
    arguments = ["--data", prepared, "--batch", "8", "--epochs", "3"]
    assert command("shallow.train", *arguments, "--run", tmp_path / "whole").returncode == 0
    interrupted = [sys.executable, "-m", "shallow.train", *map(str, arguments), "--run", str(tmp_path / "broken")]
    for sent, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        process = subprocess.Popen(interrupted, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while "step/s" not in (line := process.stderr.readline()) and line:
            pass  # the bar appears when the first step is about to begin
        time.sleep(1)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == code, errors
        assert sent == signal.SIGKILL or errors.strip().splitlines()[-1].startswith("interrupted:")
    assert (tmp_path / "broken/checkpoint.npz").is_file()
    assert command("shallow.train", *arguments, "--run", tmp_path / "broken").returncode == 0
    whole, broken = (weights.load(tmp_path / run / "weights.npz")[0] for run in ("whole", "broken"))
    for name in whole:
        np.testing.assert_array_equal(whole[name], broken[name], err_msg=name)
    again = command("shallow.train", *arguments, "--run", tmp_path / "whole")
    assert again.returncode == 0 and "already trained" in again.stdout


def test_weights_round_trip_and_their_errors(tmp_path):
    parameters = network.named_parameters(network.build(seed=1, **SMALL))
    arrays = {name: value.get_value() for name, value in parameters.items()}
    path = tmp_path / "weights.npz"
    weights.save(path, arrays, {"seed": 1})
    loaded, settings = weights.load(path)
    assert settings == {"seed": 1}
    weights.assign(parameters, loaded, path)
    for complaint, change in [("missing", {"conv1.W": None}), ("unknown", {"conv9.W": np.zeros(3)}),
                              ("shape", {"conv1.b": np.zeros(3)}), ("NaN", {"fc2.b": np.full(36, np.nan)})]:
        changed = {name: value for name, value in {**arrays, **change}.items() if value is not None}
        with pytest.raises(UserError, match=rf"weights\.npz: .*{complaint}"):
            weights.assign(parameters, changed, path)
    whole = path.read_bytes()
    for damage in (whole[:500], b"", b"not a zip", whole[:1000] + b"\0" * 50 + whole[1050:]):
        path.write_bytes(damage)
        with pytest.raises(UserError, match=r"weights\.npz: (damaged|not weights)"):
            weights.load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(UserError, match="no 'settings' entry"):
        weights.load(path)
    np.savez(path, a=np.array([object()], object))  # a pickle inside: never opened
    with pytest.raises(UserError):
        weights.load(path)


def test_no_compiler_is_said(tmp_path, prepared):
    process = subprocess.run([sys.executable, "-m", "shallow.train", "--data", prepared, "--run", tmp_path / "run"],
                             cwd=REPOSITORY, text=True, capture_output=True, check=False, env={"PATH": str(tmp_path)})
    assert "no C++ compiler" in one_line(process)
