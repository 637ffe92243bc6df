"""Training of the shallow net: one update against NumPy, data order, warnings, resuming, errors."""
import json
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest

from common.errors import UserError
from common.files import read_json, write_json
from common.runs import read_log
from shallow import network, weights
from shallow.batches import TrainingData
from shallow.monitor import Monitor
from shallow.settings import PRESETS, resolve
from shallow.train import default_filters
from shallow.updates import TrainingStep
from tests.conftest import begin, command, one_line, python
from tests.shallow.test_network import SMALL, forward_in_numpy

SETTINGS = resolve("paper", conv3_filters=64, seed=0, init="released")


def values_of(variables):
    return {name: variable.get_value().astype(np.float64) for name, variable in variables.items()}


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.random((8, 3, 32, 32), np.float32), rng.random((8, 36), np.float32)


LOSSES = {  # of one image's outputs and targets, float64
    "squared": lambda outputs, targets: (outputs - targets) ** 2,
    "l1": lambda outputs, targets: np.abs(outputs - targets),
    "cross-entropy": lambda outputs, targets: np.logaddexp(0, outputs) - targets * outputs,
}


def test_presets_have_the_values_of_the_paper_and_of_the_released_script():
    paper = resolve("paper")
    assert paper == {
        "preset": "paper", "init": "paper", "pools": "2x2", "dropout": 0.0, "loss": "squared", "target_range": [0, 1],
        "epochs": 1000, "updates": None, "batch": 128, "learning_rate": [0.03, 0.0001], "momentum": [0.9, 0.999],
        "l2": 1e-5, "max_norm": 0.8, "mirror": True, "validate_every": 10, "conv3_filters": 128, "seed": 2016}
    changes = {preset: {name for name in paper if resolve(preset)[name] != paper[name]} for preset in PRESETS}
    assert changes == {"paper": set(),
                       "released": {"preset", "init", "target_range", "epochs", "learning_rate", "l2", "max_norm"},
                       "demo": {"preset", "init", "epochs", "updates", "batch", "learning_rate", "validate_every", "max_norm"}}


def test_settings_that_contradict_each_other_are_errors():
    with pytest.raises(ValueError, match="cross-entropy"):
        resolve("released", loss="cross-entropy")
    with pytest.raises(ValueError, match="must rise"):
        resolve("paper", target_range=(1.0, 0.0))
    process = command("shallow.train", "--data", "x", "--run", "y", "--preset", "released", "--loss", "cross-entropy")
    assert process.returncode == 2 and "--target-range 0 1" in one_line(process)


@pytest.mark.parametrize("change", [{}, {"loss": "l1"}, {"loss": "cross-entropy"}, {"pools": "3x3"}],
                         ids=lambda change: next(iter(change.values()), "paper"))
def test_gradients_equal_finite_differences(batch, change):
    """An update with momentum 0 changes each weight by -rate x gradient; the gradient equals differences of NumPy's loss."""
    settings = {**SETTINGS, "l2": 0.0, "max_norm": None, **change}
    step, cell_losses = TrainingStep(settings, **SMALL), LOSSES[settings["loss"]]
    before = values_of(step.parameters)
    step.update(*batch, np.float32(1.0), np.float32(0.0))
    after = values_of(step.parameters)
    rng = np.random.default_rng(1)

    def loss(parameters):
        return np.mean([cell_losses(forward_in_numpy(parameters, image, settings["pools"]), target)
                        for image, target in zip(*batch)])
    assert float(step.update(*batch, 0.0, 0.0)) == pytest.approx(loss(after), rel=1e-5)
    for name, values in before.items():
        gradient = values - after[name]
        # only the largest gradients: small ones are lost in float32
        for index in rng.choice(np.argsort(np.abs(gradient).ravel())[-20:], 2, replace=False):
            shifted = []
            for sign in (1, -1):
                changed = {**before, name: values.copy()}
                changed[name].ravel()[index] += sign * 1e-4
                shifted.append(loss(changed))
            difference = (shifted[0] - shifted[1]) / 2e-4
            assert gradient.ravel()[index] == pytest.approx(difference, rel=2e-2, abs=1e-6), name


def test_update_rule_equals_numpy(batch):
    """Nesterov momentum, the L2 penalty and the norm constraint equal the same formulas in NumPy."""
    rate, momentum, l2, max_norm = 0.5, 0.9, 1e-3, 1.25
    plain = TrainingStep({**SETTINGS, "l2": 0.0, "max_norm": None}, **SMALL)
    full = TrainingStep({**SETTINGS, "l2": l2, "max_norm": max_norm}, **SMALL)
    rng = np.random.default_rng(2)
    velocity = {name: rng.normal(0, 1e-3, values.shape) for name, values in values_of(plain.parameters).items()}
    for name, variable in full.velocities.items():
        variable.set_value(velocity[name].astype(np.float32))
    before = values_of(plain.parameters)
    plain.update(*batch, np.float32(rate), np.float32(0))
    gradient = {name: (before[name] - values) / rate for name, values in values_of(plain.parameters).items()}
    full.update(*batch, np.float32(rate), np.float32(momentum))
    for name, values in values_of(full.parameters).items():
        total = gradient[name] + (2 * l2 * before[name] if name.endswith(".W") else 0)  # biases are not penalised
        moved = momentum * velocity[name] - rate * total
        expected = before[name] + momentum * moved - rate * total
        if name == "fc1.W":
            norms = np.linalg.norm(expected, axis=0)
            assert (norms > max_norm).any() and (norms < max_norm).any()
            expected *= np.minimum(norms, max_norm) / norms
            assert np.linalg.norm(values, axis=0).max() <= max_norm * (1 + 1e-5)
        np.testing.assert_allclose(values, expected, atol=3e-6, err_msg=name)


def test_training_overfits_eight_images(batch):
    step = TrainingStep({**SETTINGS, "l2": 0.0}, **SMALL)
    losses = [float(step.update(*batch, np.float32(0.1), np.float32(0.9))) for _ in range(400)]
    assert losses[-1] < 0.01 * losses[0]


def test_batches_depend_only_on_seed_and_epoch(prepared):
    settings = {**SETTINGS, "batch": 8}
    with TrainingData(prepared / "shallow.h5") as data, h5py.File(prepared / "shallow.h5") as file:
        assert data.batches_per_epoch(8) == 4
        images, maps = data.batch(3, 1, settings)
        assert images.shape == (8, 3, 96, 96) and images.dtype == np.float32 and 0 <= images.min() <= images.max() <= 1
        assert maps.shape == (8, 2304) and maps.dtype == np.float32
        np.testing.assert_array_equal(images, data.batch(3, 1, settings)[0])
        assert (images != data.batch(4, 1, settings)[0]).any()
        # every image appears once per epoch, mirrored or not, and its map likewise
        stored = file["train/image"][...] / np.float32(255)
        rows = []
        for index in range(4):
            for image, map_ in zip(*data.batch(0, index, settings)):
                plain = [i for i, other in enumerate(stored) if (image == other).all()]
                mirrored = [i for i, other in enumerate(stored) if (image == other[:, :, ::-1]).all()]
                assert plain or mirrored
                row = (plain or mirrored)[0]
                target = file["train/map"][row]
                np.testing.assert_array_equal(map_.reshape(48, 48), target if plain else target[:, ::-1])
                rows.append(row)
        assert sorted(rows) == list(range(32))


def test_targets_are_stretched_to_the_range_of_the_settings(prepared):
    with TrainingData(prepared / "shallow.h5") as paper, TrainingData(prepared / "shallow.h5", (-1.0, 1.0)) as released:
        settings = {**SETTINGS, "batch": 8}
        np.testing.assert_allclose(released.batch(0, 0, settings)[1], 2 * paper.batch(0, 0, settings)[1] - 1, atol=1e-6)


def test_data_of_another_size_or_with_nan_is_an_error(prepared, tmp_path):
    path = tmp_path / "shallow.h5"

    def error_after(change):
        shutil.copy(prepared / "shallow.h5", path)
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(UserError, match=r"shallow\.h5: .*make data") as caught:
            TrainingData(path)
        return str(caught.value)

    def replace(file, name, values):
        del file[name]
        file[name] = values

    assert "row 3 of /val/map holds NaN" in error_after(lambda file: file["val/map"].__setitem__((3, 0, 0), np.nan))
    assert "row 7 of /train/map" in error_after(lambda file: file["train/map"].__setitem__((7, 0, 0), 1.5))
    assert "(32, 3, 48, 48)" in error_after(
        lambda file: replace(file, "train/image", np.zeros((32, 3, 48, 48), np.uint8)))
    assert "float32" in error_after(lambda file: replace(file, "train/image", np.zeros((32, 3, 96, 96), np.float32)))
    assert "no image" in error_after(lambda file: [replace(file, "val/image", np.zeros((0, 3, 96, 96), np.uint8)),
                                                   replace(file, "val/map", np.zeros((0, 48, 48), np.float32))])


def test_damaged_data_is_an_error(prepared, tmp_path):
    (tmp_path / "shallow.h5").write_bytes((prepared / "shallow.h5").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"shallow\.h5: damaged.*make data"):
        TrainingData(tmp_path / "shallow.h5")


def test_validation_equals_numpy(batch):
    step = TrainingStep(SETTINGS, **SMALL)
    images, targets = batch
    metrics = step.validate([(images[:5], targets[:5]), (images[5:], targets[5:])])
    outputs = step.forward(images).astype(np.float64)
    assert metrics["val_loss"] == pytest.approx(((outputs - targets) ** 2).mean(), rel=1e-5)
    assert metrics["val_cc"] == pytest.approx(np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(outputs, targets)]), rel=1e-4)
    target_spread = np.sqrt(targets.astype(np.float64).var(axis=0).mean())
    assert metrics["val_spread"] == pytest.approx(np.sqrt(outputs.var(axis=0).mean()) / target_spread, rel=1e-3)
    assert metrics["fc1_max_norm"] == pytest.approx(np.linalg.norm(step.parameters["fc1.W"].get_value(), axis=0).max())


def test_a_constant_output_counts_as_uncorrelated(batch):
    step = TrainingStep(SETTINGS, **SMALL)
    step.parameters["fc2.W"].set_value(np.zeros((36, 36), np.float32))
    metrics = step.validate([batch])
    assert metrics["val_cc"] == 0 and metrics["val_spread"] == pytest.approx(0, abs=1e-6)


def test_one_map_for_all_images_gives_a_warning(batch):
    """The paper's initial weights give the warning, those of the released script do not."""
    for init, lines in (("paper", 1), ("released", 0)):
        metrics = TrainingStep({**SETTINGS, "init": init}, **SMALL).validate([batch])
        monitor = Monitor(100)
        assert len(monitor.check(0.1, metrics["val_spread"])) == lines
        assert not monitor.check(0.1, metrics["val_spread"])  # the warning is not repeated
    monitor = Monitor(100)
    assert "the same map" in monitor.check(1.0, 0.0)[0] and not monitor.check(1.0, 0.5) and monitor.check(1.0, 0.0)


def test_a_flat_loss_gives_a_warning():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 100)
    falling, flat, resumed = Monitor(200), Monitor(200), Monitor(200)
    assert not any(falling.check(1 - 0.002 * epoch + value) for epoch, value in enumerate(noise))
    warnings = [flat.check(1 + value) for value in noise[:40]]
    assert not any(warnings[:19]) and sum(map(len, warnings)) == 1 and "20 epochs" in "".join(sum(warnings, []))
    for value in noise[:10]:
        resumed.check(1 + value)
    resumed = Monitor(200, json.loads(json.dumps(resumed.state)))
    assert [resumed.check(1 + value) for value in noise[10:40]] == warnings[10:]


@pytest.mark.slow
def test_a_diverged_loss_ends_the_run_with_one_line(prepared, tmp_path):
    process = command("shallow.train", "--data", prepared, "--run", tmp_path, "--batch", "8", "--epochs", "3",
                      "--learning-rate", "1e30", "1e30")
    assert "learning diverged" in one_line(process) and not list(tmp_path.glob("*.npz"))


def check_schedule(folder, epochs):
    """Check that rate and momentum of a log go linearly from the first to the last value, and which epochs are validated."""
    log, settings = read_log(folder / "log.csv"), read_json(folder / "config.json")["settings"]
    for column, name in (("lr", "learning_rate"), ("momentum", "momentum")):
        np.testing.assert_allclose([row[column] for row in log], np.linspace(*settings[name], epochs), rtol=1e-6)
    every = settings["validate_every"]
    assert [row["epoch"] for row in log if row["val_cc"] is not None] == [
        epoch for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs]


@pytest.mark.slow
def test_the_logged_rate_falls_from_the_first_to_the_last_value(prepared, tmp_path):
    command("shallow.train", "--data", prepared, "--run", tmp_path, "--preset", "paper", "--batch", "8", "--epochs", "4",
            "--validate-every", "2", "--momentum", "0.5", "0.8", "--mirror", "0", "--max-norm", "0")
    check_schedule(tmp_path, 4)
    settings = read_json(tmp_path / "config.json")["settings"]
    assert settings["momentum"] == [0.5, 0.8] and settings["max_norm"] is None and settings["mirror"] is False


def test_the_net_for_isun_has_64_maps(tmp_path):
    for dataset, filters in (("isun", 64), ("isun+protocol=lsun", 64), ("salicon", 128), ("osie", 128)):
        write_json(tmp_path / "manifest.json", {"net": "shallow", "dataset": dataset})
        assert default_filters(tmp_path) == filters


@pytest.mark.slow
def test_a_run_killed_at_any_moment_and_resumed_equals_an_uninterrupted_one(prepared, tmp_path):
    """The full net with dropout, interrupted once and killed four times, ends with the same weights bit for bit."""
    arguments = ["--data", prepared, "--batch", "8", "--epochs", "3", "--dropout", "0.5", "--checkpoint-seconds", "0"]
    broken = ("-m", "shallow.train", *arguments, "--run", tmp_path / "broken")
    # first, because it also compiles: later runs take less time, as do those that are killed
    process = begin(*broken, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while "update/s" not in (line := process.stderr.readline()) and line:
        pass  # the bar appears just before the first update
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and errors.strip().splitlines()[-1].startswith("interrupted:")
    assert (tmp_path / "broken/checkpoint.npz").is_file()
    started = time.monotonic()
    assert command("shallow.train", *arguments, "--run", tmp_path / "whole").returncode == 0
    duration = time.monotonic() - started
    moments, killed = np.random.default_rng().uniform(0.3, 1, 4), 0
    for moment in moments:
        process = begin(*broken, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moment * duration)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    assert killed, "all kills met a command that had ended"
    assert command("shallow.train", *arguments, "--run", tmp_path / "broken", "--resume").returncode == 0, moments
    for file in ("weights.npz", "best.npz"):
        whole, resumed = (weights.load(tmp_path / run / file)[0] for run in ("whole", "broken"))
        for name in whole:
            np.testing.assert_array_equal(whole[name], resumed[name], err_msg=f"{file} {name} {moments}")
    check_schedule(tmp_path / "whole", 3)
    logs = [[{**row, "seconds": 0, "step_seconds": 0} for row in read_log(tmp_path / run / "log.csv")]
            for run in ("whole", "broken")]
    assert logs[0] == logs[1] and [row["epoch"] for row in logs[0]] == [1, 2, 3]
    files = {path.name for path in (tmp_path / "broken").iterdir() if not path.name.startswith(".")}
    assert files == {"config.json", "log.csv", "weights.npz", "best.npz"}
    again = command("shallow.train", *arguments, "--run", tmp_path / "whole")
    assert again.returncode == 0 and "already trained" in again.stdout


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_leaves_no_broken_checkpoint(prepared, tmp_path):
    """With files limited to 300 MB, the weights of best.npz fit and the checkpoint does not."""
    arguments = ["--data", prepared, "--run", tmp_path, "--batch", "16", "--epochs", "2", "--checkpoint-seconds", "0"]
    limited = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300 << 20, 300 << 20)); " \
              f"sys.argv[1:] = {list(map(str, arguments))}; from shallow.train import main; from common.errors import run; run(main)"
    process = python("-c", limited)
    assert "checkpoint.npz" in one_line(process) and "File too large" in one_line(process)
    assert not (tmp_path / "checkpoint.npz").exists() and not list(tmp_path.glob(".*"))
    assert command("shallow.train", *arguments).returncode == 0


def test_foreign_and_damaged_checkpoints_are_errors(tmp_path):
    step = TrainingStep(SETTINGS, **SMALL)
    path = tmp_path / "checkpoint.npz"
    state = {"epoch": 3, "batch": 1, "losses": [0.5]}
    step.save(path, SETTINGS, state)
    other = TrainingStep({**SETTINGS, "seed": 5}, **SMALL)
    assert other.resume(path, SETTINGS) == state
    for saved, loaded in ((step.parameters, other.parameters), (step.velocities, other.velocities)):
        for name in saved:
            np.testing.assert_array_equal(saved[name].get_value(), loaded[name].get_value())
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(UserError, match=r"checkpoint\.npz: the checkpoint is damaged; give --restart"):
        step.resume(path, SETTINGS)
    step.save(path, SETTINGS)
    with pytest.raises(UserError, match=r"checkpoint\.npz: contains weights but is not a checkpoint"):
        step.resume(path, SETTINGS)
    step.save(path, {**SETTINGS, "l2": 0.1}, state)
    with pytest.raises(UserError, match=r"checkpoint\.npz: a checkpoint of a run with other settings \(l2\); give --restart"):
        step.resume(path, SETTINGS)
    for foreign in ({"conv3_filters": 128}, {"dropout": 0.5}):
        TrainingStep({**SETTINGS, **foreign}, **SMALL).save(path, SETTINGS, state)
        with pytest.raises(UserError, match=r"checkpoint\.npz: "):
            step.resume(path, SETTINGS)


def test_weights_survive_saving_and_loading_and_damage_is_an_error(tmp_path):
    parameters = network.named_parameters(network.build(seed=1, **SMALL))
    arrays = {name: value.get_value() for name, value in parameters.items()}
    path = tmp_path / "weights.npz"
    weights.save(path, arrays, {"seed": 1})
    loaded, settings = weights.load(path)
    assert settings == {"seed": 1}
    weights.assign(parameters, loaded, path)
    for message, change in [("missing", {"conv1.W": None}), ("unknown", {"conv9.W": np.zeros(3)}),
                              ("shape", {"conv1.b": np.zeros(3)}), ("NaN", {"fc2.b": np.full(36, np.nan)}),
                              ("<U3", {"fc2.b": np.full(36, "one")})]:
        changed = {name: value for name, value in {**arrays, **change}.items() if value is not None}
        with pytest.raises(UserError, match=rf"weights\.npz: .*{message}"):
            weights.assign(parameters, changed, path)
    whole = path.read_bytes()
    for damage in (whole[:500], b"", b"not a zip", whole[:1000] + b"\0" * 50 + whole[1050:]):
        path.write_bytes(damage)
        with pytest.raises(UserError, match=r"weights\.npz: (cannot be read as an .npz|not weights)"):
            weights.load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(UserError, match="no 'settings' entry"):
        weights.load(path)
    np.savez(path, a=np.array([object()], object))  # a pickle, which is never opened
    with pytest.raises(UserError):
        weights.load(path)


def test_a_missing_compiler_is_an_error(tmp_path, prepared):
    process = command("shallow.train", "--data", prepared, "--run", tmp_path / "run", PATH=str(tmp_path))
    assert "no C++ compiler" in one_line(process)
