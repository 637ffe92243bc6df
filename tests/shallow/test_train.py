"""The training of the shallow net: one update restated, data order, resuming, and its errors."""
import json
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest

from common.errors import UserError
from common.runs import read_log
from shallow import network, weights
from shallow.batches import TrainingData
from shallow.monitor import Monitor
from shallow.settings import PRESETS, resolve
from shallow.trainer import Trainer
from tests.conftest import begin, command, one_line, python
from tests.shallow.test_network import SMALL, restated

SETTINGS = resolve("paper", conv3_filters=64, seed=0, init="released")


def snapshot(variables):
    return {name: variable.get_value().astype(np.float64) for name, variable in variables.items()}


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.random((8, 3, 32, 32), np.float32), rng.random((8, 36), np.float32)


LOSSES = {  # of one image's answers and targets, float64
    "squared": lambda answers, targets: (answers - targets) ** 2,
    "l1": lambda answers, targets: np.abs(answers - targets),
    "cross-entropy": lambda answers, targets: np.logaddexp(0, answers) - targets * answers,
}


def test_every_value_of_the_paper():
    paper = resolve("paper")
    assert paper == {
        "preset": "paper", "init": "paper", "pools": "2x2", "dropout": 0.0, "loss": "squared", "target_range": [0, 1],
        "epochs": 1000, "updates": None, "batch": 128, "learning_rate": [0.03, 0.0001], "momentum": [0.9, 0.999],
        "l2": 1e-5, "max_norm": 2.0, "mirror": True, "validate_every": 10, "conv3_filters": 128, "seed": 2016}
    changes = {preset: {name for name in paper if resolve(preset)[name] != paper[name]} for preset in PRESETS}
    assert changes == {"paper": set(),
                       "released": {"preset", "init", "target_range", "epochs", "learning_rate", "l2", "max_norm"},
                       "demo": {"preset", "init", "epochs", "updates", "learning_rate", "validate_every"}}


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="cross-entropy"):
        resolve("released", loss="cross-entropy")
    with pytest.raises(ValueError, match="must rise"):
        resolve("paper", target_range=(1.0, 0.0))
    process = command("shallow.train", "--data", "x", "--run", "y", "--preset", "released", "--loss", "cross-entropy")
    assert process.returncode == 2 and "--target-range 0 1" in one_line(process)


@pytest.mark.parametrize("change", [{}, {"loss": "l1"}, {"loss": "cross-entropy"}, {"pools": "3x3"}],
                         ids=lambda change: next(iter(change.values()), "paper"))
def test_gradients_equal_finite_differences(batch, change):
    """Theano's step with momentum 0 moves each weight by -rate x gradient; compare with differences of NumPy's loss."""
    settings = {**SETTINGS, "l2": 0.0, "max_norm": None, **change}
    trainer, error = Trainer(settings, **SMALL), LOSSES[settings["loss"]]
    before = snapshot(trainer.parameters)
    trainer.step(*batch, np.float32(1.0), np.float32(0.0))
    after = snapshot(trainer.parameters)
    rng = np.random.default_rng(1)

    def loss(parameters):
        return np.mean([error(restated(parameters, image, settings["pools"]), target) for image, target in zip(*batch)])
    assert float(trainer.step(*batch, 0.0, 0.0)) == pytest.approx(loss(after), rel=1e-5)
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
    plain = Trainer({**SETTINGS, "l2": 0.0, "max_norm": None}, **SMALL)
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
    with TrainingData(prepared / "shallow.h5") as arrays, h5py.File(prepared / "shallow.h5") as file:
        assert arrays.batches_per_epoch(8) == 4
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


def test_targets_are_stretched_to_the_range_of_the_settings(prepared):
    with TrainingData(prepared / "shallow.h5") as paper, TrainingData(prepared / "shallow.h5", (-1.0, 1.0)) as released:
        settings = {**SETTINGS, "batch": 8}
        np.testing.assert_allclose(released.batch(0, 0, settings)[1], 2 * paper.batch(0, 0, settings)[1] - 1, atol=1e-6)


def test_data_of_another_size_or_with_nan_is_named(prepared, tmp_path):
    path = tmp_path / "shallow.h5"

    def complaint(change):
        shutil.copy(prepared / "shallow.h5", path)
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(UserError, match=r"shallow\.h5: .*make data") as caught:
            TrainingData(path)
        return str(caught.value)

    def replace(file, name, values):
        del file[name]
        file[name] = values

    assert "row 3 of /val/map holds NaN" in complaint(lambda file: file["val/map"].__setitem__((3, 0, 0), np.nan))
    assert "row 7 of /train/map" in complaint(lambda file: file["train/map"].__setitem__((7, 0, 0), 1.5))
    assert "(32, 3, 48, 48)" in complaint(
        lambda file: replace(file, "train/image", np.zeros((32, 3, 48, 48), np.uint8)))
    assert "float32" in complaint(lambda file: replace(file, "train/image", np.zeros((32, 3, 96, 96), np.float32)))
    assert "no image" in complaint(lambda file: [replace(file, "val/image", np.zeros((0, 3, 96, 96), np.uint8)),
                                                 replace(file, "val/map", np.zeros((0, 48, 48), np.float32))])


def test_damaged_data_is_named(prepared, tmp_path):
    (tmp_path / "shallow.h5").write_bytes((prepared / "shallow.h5").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"shallow\.h5: damaged.*make data"):
        TrainingData(tmp_path / "shallow.h5")


def test_spread_and_correlation_on_held_out_images(batch):
    trainer = Trainer(SETTINGS, **SMALL)
    images, targets = batch
    found = trainer.validate([(images[:5], targets[:5]), (images[5:], targets[5:])])
    answers = trainer.forward(images).astype(np.float64)
    assert found["val_loss"] == pytest.approx(((answers - targets) ** 2).mean(), rel=1e-5)
    assert found["val_cc"] == pytest.approx(np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(answers, targets)]), rel=1e-4)
    people = np.sqrt(targets.astype(np.float64).var(axis=0).mean())
    assert found["val_spread"] == pytest.approx(np.sqrt(answers.var(axis=0).mean()) / people, rel=1e-3)
    assert found["fc1_max_norm"] == pytest.approx(np.linalg.norm(trainer.parameters["fc1.W"].get_value(), axis=0).max())


def test_a_constant_answer_counts_as_uncorrelated(batch):
    trainer = Trainer(SETTINGS, **SMALL)
    trainer.parameters["fc2.W"].set_value(np.zeros((36, 36), np.float32))
    found = trainer.validate([batch])
    assert found["val_cc"] == 0 and found["val_spread"] == pytest.approx(0, abs=1e-6)


def test_alarm_for_one_map_for_all_images(batch):
    """The paper's start raises it, the released script's does not."""
    for init, lines in (("paper", 1), ("released", 0)):
        found = Trainer({**SETTINGS, "init": init}, **SMALL).validate([batch])
        monitor = Monitor(100)
        assert len(monitor.check(0.1, found["val_spread"])) == lines
        assert not monitor.check(0.1, found["val_spread"])  # once is enough
    monitor = Monitor(100)
    assert "one map" in monitor.check(1.0, 0.0)[0] and not monitor.check(1.0, 0.5) and monitor.check(1.0, 0.0)


def test_alarm_for_a_flat_loss():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 100)
    falling, flat, resumed = Monitor(200), Monitor(200), Monitor(200)
    assert not any(falling.check(1 - 0.002 * epoch + wiggle) for epoch, wiggle in enumerate(noise))
    warnings = [flat.check(1 + wiggle) for wiggle in noise[:40]]
    assert not any(warnings[:19]) and sum(map(len, warnings)) == 1 and "20 epochs" in "".join(sum(warnings, []))
    for wiggle in noise[:10]:
        resumed.check(1 + wiggle)
    resumed = Monitor(200, json.loads(json.dumps(resumed.state)))
    assert [resumed.check(1 + wiggle) for wiggle in noise[10:40]] == warnings[10:]


@pytest.mark.slow
def test_diverged_learning_stops_with_one_line(prepared, tmp_path):
    process = command("shallow.train", "--data", prepared, "--run", tmp_path, "--batch", "8", "--epochs", "3",
                      "--learning-rate", "1e30", "1e30")
    assert "learning diverged" in one_line(process) and not list(tmp_path.glob("*.npz"))


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_equals_uninterrupted(prepared, tmp_path):
    """The full net with dropout: Ctrl-C and kills on the way, then the same weights bit for bit."""
    arguments = ["--data", prepared, "--batch", "8", "--epochs", "5", "--dropout", "0.5", "--checkpoint-seconds", "0"]
    started = time.monotonic()
    assert command("shallow.train", *arguments, "--run", tmp_path / "whole").returncode == 0
    whole_run = time.monotonic() - started
    moments = [("interrupt", 0)] + [("kill", moment) for moment in np.random.default_rng().uniform(0.3, 1, 4)]
    for how, moment in moments:
        process = begin("-m", "shallow.train", *arguments, "--run", tmp_path / "broken", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if how == "interrupt":
            while "step/s" not in (line := process.stderr.readline()) and line:
                pass  # the bar appears when the first step is about to begin
            time.sleep(1)
            process.send_signal(signal.SIGINT)
        else:
            time.sleep(moment * whole_run)
            process.kill()
        _, errors = process.communicate(timeout=120)
        if how == "interrupt":
            assert process.returncode == 130 and errors.strip().splitlines()[-1].startswith("interrupted:")
            assert (tmp_path / "broken/checkpoint.npz").is_file()
    assert command("shallow.train", *arguments, "--run", tmp_path / "broken", "--resume").returncode == 0, moments
    for file in ("weights.npz", "best.npz"):
        whole, resumed = (weights.load(tmp_path / run / file)[0] for run in ("whole", "broken"))
        for name in whole:
            np.testing.assert_array_equal(whole[name], resumed[name], err_msg=f"{file} {name} {moments}")
    logs = [[{**row, "seconds": 0, "step_seconds": 0} for row in read_log(tmp_path / run / "log.csv")]
            for run in ("whole", "broken")]
    assert logs[0] == logs[1] and [row["epoch"] for row in logs[0]] == [1, 2, 3, 4, 5]
    left = {path.name for path in (tmp_path / "broken").iterdir() if not path.name.startswith(".")}
    assert left == {"config.json", "log.csv", "weights.npz", "best.npz"}
    again = command("shallow.train", *arguments, "--run", tmp_path / "whole")
    assert again.returncode == 0 and "already trained" in again.stdout


@pytest.mark.slow
def test_no_room_for_a_checkpoint_is_said_and_the_older_one_is_kept(prepared, tmp_path):
    """No file may grow beyond 300 MB: the weights of best.npz fit, the checkpoint does not."""
    arguments = ["--data", prepared, "--run", tmp_path, "--batch", "16", "--epochs", "2", "--checkpoint-seconds", "0"]
    limited = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300 << 20, 300 << 20)); " \
              f"sys.argv[1:] = {list(map(str, arguments))}; from shallow.train import main; from common.errors import run; run(main)"
    process = python("-c", limited)
    assert "checkpoint.npz" in one_line(process) and "File too large" in one_line(process)
    assert not (tmp_path / "checkpoint.npz").exists() and not list(tmp_path.glob(".*"))
    assert command("shallow.train", *arguments).returncode == 0


def test_foreign_and_damaged_checkpoints_are_refused(tmp_path):
    trainer = Trainer(SETTINGS, **SMALL)
    path = tmp_path / "checkpoint.npz"
    state = {"epoch": 3, "batch": 1, "losses": [0.5]}
    trainer.save(path, SETTINGS, state)
    again = Trainer({**SETTINGS, "seed": 5}, **SMALL)
    assert again.resume(path, SETTINGS) == state
    for ours, theirs in ((trainer.parameters, again.parameters), (trainer.velocities, again.velocities)):
        for name in ours:
            np.testing.assert_array_equal(ours[name].get_value(), theirs[name].get_value())
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(UserError, match=r"checkpoint\.npz: the checkpoint is damaged; give --restart"):
        trainer.resume(path, SETTINGS)
    trainer.save(path, SETTINGS)
    with pytest.raises(UserError, match=r"checkpoint\.npz: holds weights but is no checkpoint"):
        trainer.resume(path, SETTINGS)
    trainer.save(path, {**SETTINGS, "l2": 0.1}, state)
    with pytest.raises(UserError, match=r"checkpoint\.npz: a checkpoint of a run with other settings \(l2\); give --restart"):
        trainer.resume(path, SETTINGS)
    for foreign in ({"conv3_filters": 128}, {"dropout": 0.5}):
        Trainer({**SETTINGS, **foreign}, **SMALL).save(path, SETTINGS, state)
        with pytest.raises(UserError, match=r"checkpoint\.npz: "):
            trainer.resume(path, SETTINGS)


def test_weights_round_trip_and_their_errors(tmp_path):
    parameters = network.named_parameters(network.build(seed=1, **SMALL))
    arrays = {name: value.get_value() for name, value in parameters.items()}
    path = tmp_path / "weights.npz"
    weights.save(path, arrays, {"seed": 1})
    loaded, settings = weights.load(path)
    assert settings == {"seed": 1}
    weights.assign(parameters, loaded, path)
    for complaint, change in [("missing", {"conv1.W": None}), ("unknown", {"conv9.W": np.zeros(3)}),
                              ("shape", {"conv1.b": np.zeros(3)}), ("NaN", {"fc2.b": np.full(36, np.nan)}),
                              ("<U3", {"fc2.b": np.full(36, "one")})]:
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
    process = command("shallow.train", "--data", prepared, "--run", tmp_path / "run", PATH=str(tmp_path))
    assert "no C++ compiler" in one_line(process)
