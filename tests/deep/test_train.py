"""Test the training of the deep net: run folder, resuming, and Caffe's errors as one line."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from common import runs
from common.errors import UserError
from common.files import read_json, write_json
from deep import trainer
from deep.backend import fatal_message, load_caffe
from deep.monitor import Monitor
from deep.names import NEW, OLD
from deep.prototxt import DEPLOY
from deep.weights import check_weights, net_shapes, read_caffemodel
from tests.conftest import REPOSITORY, USER_ENVIRONMENT, begin, command, one_line, python
from tests.deep.conftest import run_command_of, with_old_name

caffe = load_caffe()


def assert_same_weights(first, second):
    first, second = read_caffemodel(first), read_caffemodel(second)
    assert first.keys() == second.keys()
    for name in first:
        for array, other in zip(first[name], second[name]):
            np.testing.assert_array_equal(array, other, err_msg=name)


@pytest.mark.slow
def test_interrupted_and_resumed_equals_uninterrupted(prepared, tmp_path):
    arguments = ["--data", prepared, "--iterations", "4"]
    whole = command("deep.train", *arguments, "--run", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    process = begin("-m", "deep.train", *arguments, "--run", tmp_path / "broken", stderr=subprocess.PIPE)
    while not (log := tmp_path / "broken/log.csv").is_file() or len(log.read_text().splitlines()) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and errors.strip().splitlines()[-1].startswith("interrupted:"), errors
    assert (tmp_path / "broken/snapshot.json").is_file()
    assert command("deep.train", *arguments, "--run", tmp_path / "broken").returncode == 0
    assert_same_weights(tmp_path / "whole/weights.caffemodel", tmp_path / "broken/weights.caffemodel")
    rows = runs.read_log(tmp_path / "broken/log.csv")
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4] and rows[-1]["val_cc"] is not None
    # section 4.2: the learning rate is 0.01 / pixels; Caffe's loss is sum / 2N
    assert rows[0]["lr"] == pytest.approx(0.01 / (192 * 144), rel=1e-6)
    assert rows[0]["rmse"] == pytest.approx((2 * rows[0]["loss"] / (192 * 144)) ** 0.5, rel=1e-5)
    config = runs.read_config(tmp_path / "broken/weights.caffemodel", "deep")
    assert config["predict"]["longest_side"] == 192 and config["versions"]["caffe"] == "1.0.0"
    assert "already trained" in command("deep.train", *arguments, "--run", tmp_path / "whole").stdout


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(prepared_small, tmp_path):
    """After SIGKILL in an iteration and in snapshots, the final weights are equal bit for bit."""
    arguments = ["--data", prepared_small, "--iterations", "8", "--set", "snapshot=2", "--set", "test_interval=3",
                 "--set", "stepsize=3"]
    whole = command("deep.train", *arguments, "--run", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    broken = tmp_path / "broken"
    for wait in ("log.csv", "snapshots/snapshot_iter_4.caffemodel", "snapshots/snapshot_iter_6.solverstate"):
        process = begin("-m", "deep.train", *arguments, "--run", broken, stderr=subprocess.DEVNULL, start_new_session=True)
        while not (broken / wait).exists() or (wait == "log.csv" and len((broken / wait).read_text().splitlines()) < 4):
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()  # the kernel must kill the child, which runs Caffe, as well: the next command starts at once
        process.wait()
    assert command("deep.train", *arguments, "--run", broken, "--resume").returncode == 0
    assert_same_weights(tmp_path / "whole/weights.caffemodel", tmp_path / "broken/weights.caffemodel")
    logs = [[{key: value for key, value in row.items() if key != "seconds"} for row in runs.read_log(tmp_path / run / "log.csv")]
            for run in ("whole", "broken")]
    assert logs[0] == logs[1] and len(logs[0]) == 8
    assert [row["iteration"] for row in logs[0] if row["val_cc"] is not None] == [3, 6, 8]
    assert sorted(path.name for path in broken.iterdir()) == [
        "caffe.log", "config.json", "log.csv", "snapshots", "solver.prototxt", "train.txt", "train_val.prototxt",
        "val.txt", "weights.caffemodel"] and not list((broken / "snapshots").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("start", ["random", "vgg"])
def test_the_command_in_the_runs_solver_file_repeats_the_run(prepared_small, vgg, tmp_path, start):
    """The command in the comment of <run>/solver.prototxt gives the same weights with Caffe alone, also from VGG's."""
    settings = ["--set", "test_interval=2", "--set", "snapshot=3", *(["--vgg", vgg, "--rescale-conv1", "--set", "base_lr=1e-10"] if start == "vgg" else [])]
    ours = command("deep.train", "--data", prepared_small, "--run", tmp_path / "run", "--iterations", "3", *settings)
    assert ours.returncode == 0, ours.stderr
    written = (tmp_path / "run/solver.prototxt").read_text()
    assert ("start.caffemodel" in written) == (tmp_path / "run/start.caffemodel").exists() == (start == "vgg")
    run_command_of(tmp_path / "run/solver.prototxt")
    assert_same_weights(tmp_path / "run/weights.caffemodel", tmp_path / "run/snapshots/snapshot_iter_3.caffemodel")


def test_the_iterations_from_which_a_run_resumes_are_those_of_its_snapshot(tmp_path):
    assert trainer.count_iterations(tmp_path) == 0
    write_json(tmp_path / "snapshot.json", {"iteration": 40})
    assert trainer.count_iterations(tmp_path) == 40
    (tmp_path / "weights.caffemodel").touch()
    assert trainer.count_iterations(tmp_path) is None


STOPPED = ["--iterations", "4", "--set", "snapshot=3"]


@pytest.fixture(scope="module")
def stopped(prepared, tmp_path_factory):
    """Interrupt a run after its first iteration; return its folder."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    process = begin("-m", "deep.train", "--data", prepared, *STOPPED, "--run", folder, stderr=subprocess.DEVNULL)
    while not (folder / "log.csv").is_file() or len((folder / "log.csv").read_text().splitlines()) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("pattern, damage, complaint", [
    ("*.solverstate", lambda whole: whole[:len(whole) // 2], "solverstate: cut off, or not a solverstate"),
    ("*.solverstate", lambda whole: whole[:60], "cut off|has shapes"),
    ("*.solverstate", lambda whole: b"", r"has shapes \[\], this net needs"),
    ("*.caffemodel", lambda whole: whole[:-1000], "caffemodel: cut off, or not a caffemodel"),
    ("*.caffemodel", lambda whole: b"<html>no</html>", "cut off|no layer"),
    ("*.solverstate", None, "missing, although .*snapshot.json names it"),
])
def test_a_damaged_snapshot_is_named(stopped, prepared, tmp_path, pattern, damage, complaint):
    shutil.copytree(stopped, tmp_path / "run")
    path = next((tmp_path / "run/snapshots").glob(pattern))
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    line = one_line(command("deep.train", "--data", prepared, *STOPPED, "--run", tmp_path / "run"))
    assert re.search(complaint, line) and "--restart" in line and str(tmp_path / "run/snapshots") in line


def test_a_failed_check_of_caffe_is_an_error_of_one_line(prepared, tmp_path):
    """The data pass our checks, but have a type that Caffe cannot read."""
    for split in ("train", "val"):
        with h5py.File(tmp_path / f"{split}_000.h5", "w") as shard:
            shard["data"] = np.zeros((4, 3, 144, 192), bool)
            shard["label"] = np.zeros((4, 1, 144, 192), "f4")
    manifest = read_json(prepared / "manifest.json")
    manifest.update(train=4, val=4)
    write_json(tmp_path / "manifest.json", manifest)
    line = one_line(command("deep.train", "--data", tmp_path, "--run", tmp_path / "run"))
    assert line.startswith("error: Caffe stopped: ") and "caffe.log" in line


def _rewrite(path, **arrays):
    path.unlink()
    with h5py.File(path, "w") as shard:
        for name, array in arrays.items():
            shard[name] = array


IMAGES, MAPS = np.zeros((4, 3, 144, 192), "f4"), np.zeros((4, 1, 144, 192), "f4")


@pytest.mark.parametrize("damage, complaint", [
    (lambda data: (data / "train_000.h5").write_bytes(b"HDF"), r"train_000\.h5: damaged"),
    (lambda data: (data / "train_000.h5").write_bytes((data / "train_000.h5").read_bytes()[:-5000]), r"train_000\.h5: damaged"),
    (lambda data: (data / "val_000.h5").unlink(), r"no val_\*\.h5"),
    (lambda data: _rewrite(data / "val_000.h5", image=IMAGES, label=MAPS), r"val_000\.h5: damaged .*'data'"),
    (lambda data: _rewrite(data / "val_000.h5", data=IMAGES), r"val_000\.h5: damaged .*'label'"),
    (lambda data: _rewrite(data / "val_000.h5", data=IMAGES[..., :64], label=MAPS), r"data of shape \(4, 3, 144, 64\).* expected"),
    (lambda data: _rewrite(data / "val_000.h5", data=IMAGES, label=MAPS[:3]), r"label of shape \(3, 1, 144, 192\)"),
    (lambda data: _rewrite(data / "val_000.h5", data=IMAGES[:0], label=MAPS[:0]), r"data of shape \(0, 3"),
    (lambda data: _rewrite(data / "val_000.h5", data=IMAGES[:3], label=MAPS[:3]), r"the val_\*\.h5 hold 3 images, but the manifest lists 4"),
    (lambda data: (data / "manifest.json").write_text("{"), r"manifest\.json: not valid JSON"),
    (lambda data: (data / "manifest.json").write_text('{"net": "deep"}'), r"manifest\.json: has no train; .*make data"),
    (lambda data: (data / "manifest.json").write_text('{"net": "shallow"}'), r"data: holds no training data of the deep net; give"),
])
def test_damaged_data_are_named_before_caffe_reads_them(prepared, tmp_path, damage, complaint):
    shutil.copytree(prepared, tmp_path / "data")
    damage(tmp_path / "data")
    assert re.search(complaint, one_line(command("deep.train", "--data", tmp_path / "data", "--run", tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_nan_in_the_data_is_an_error_with_the_iteration(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "data")
    with h5py.File(tmp_path / "data/train_000.h5", "r+") as shard:
        shard["data"][0, 0, 5, 5] = np.nan
    line = one_line(command("deep.train", "--data", tmp_path / "data", "--run", tmp_path / "run"))
    assert re.search(r"loss is nan in iteration 1: the learning diverged; lower base_lr .*--restart", line)
    assert not list(tmp_path.rglob("*.caffemodel"))


@pytest.mark.slow
def test_a_run_can_be_moved_while_it_is_stopped(stopped, prepared, tmp_path):
    """Caffe's solverstate contains the old path of its weights, where there may be another run's weights now."""
    shutil.copytree(stopped, tmp_path / "moved")
    state = next(stopped.glob("snapshots/*.caffemodel"))
    hidden = state.rename(state.with_suffix(".hidden"))
    try:
        process = command("deep.train", "--data", prepared, *STOPPED, "--run", tmp_path / "moved", "--resume")
    finally:
        hidden.rename(state)
    assert process.returncode == 0, process.stderr
    assert [row["iteration"] for row in runs.read_log(tmp_path / "moved/log.csv")] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_run_with_the_old_name_of_the_last_layer_resumes(stopped, prepared, tmp_path):
    """Our files called it "deconv" before; weights, momentum and log continue as without the change of the name."""
    for name in ("new", "old"):
        shutil.copytree(stopped, tmp_path / name)
    for path in (tmp_path / "old/train_val.prototxt", tmp_path / "old/log.csv"):
        path.write_text(path.read_text().replace(NEW, OLD))
    config = read_json(tmp_path / "old/config.json")
    config["settings"]["train_val.prototxt"] = "sha256 of the old file"
    write_json(tmp_path / "old/config.json", config)
    model = next((tmp_path / "old/snapshots").glob("*.caffemodel"))
    with_old_name(model, model)
    for name in ("new", "old"):
        process = command("deep.train", "--data", prepared, *STOPPED, "--run", tmp_path / name, "--resume")
        assert process.returncode == 0, process.stderr
    assert_same_weights(tmp_path / "new/weights.caffemodel", tmp_path / "old/weights.caffemodel")
    first, second = (runs.read_log(tmp_path / name / "log.csv") for name in ("new", "old"))
    assert [row["weights_deconv1"] for row in first] == [row["weights_deconv1"] for row in second] and len(first) == 4


@pytest.mark.slow
def test_a_run_cannot_be_resumed_with_another_net(stopped, prepared, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    process = in_copy(tmp_path, lambda text: text.replace("batch_size: 2 ", "batch_size: 4 "), "--data", prepared, *STOPPED)
    assert "holds a run with other settings (train_val.prototxt 'sha256" in one_line(process)


def test_a_second_process_in_the_run_folder_is_an_error(prepared, tmp_path):
    with runs.lock_folder(tmp_path / "run"):
        line = one_line(command("deep.train", "--data", prepared, "--run", tmp_path / "run"))
    assert "another process uses this folder" in line
    with runs.lock_folder(tmp_path / "run"):  # the lock is released
        pass


@pytest.mark.slow
def test_an_iteration_interrupted_in_its_validation_is_not_repeated(prepared, tmp_path):
    """The snapshot contains the iteration; on resuming, its validation runs and its row is logged."""
    arguments = ["--data", prepared, "--iterations", "3", "--set", "test_interval=1", "--set", "test_iter=30"]
    process = begin("-m", "deep.train", *arguments, "--run", tmp_path / "run", stderr=subprocess.DEVNULL)
    log = tmp_path / "run/log.csv"
    while not log.is_file() or len(log.read_text().splitlines()) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(2)  # past the second iteration
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    marker = read_json(tmp_path / "run/snapshot.json")
    assert marker["row"]["iteration"] == marker["iteration"] == len(runs.read_log(log)) + 1
    assert command("deep.train", *arguments, "--run", tmp_path / "run").returncode == 0
    rows = runs.read_log(log)
    assert [row["iteration"] for row in rows] == [1, 2, 3] and all(row["val_cc"] is not None for row in rows)
    assert rows[marker["iteration"] - 1]["loss"] == pytest.approx(marker["row"]["loss"])


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_snapshot(stopped, prepared, tmp_path):
    """Without space for the next snapshot, there is an error before Caffe would abort."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=360M", "tmpfs", tmp_path], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        shutil.copytree(stopped, tmp_path / "run")  # 206 MB of snapshot
        before = sorted(path.name for path in (tmp_path / "run/snapshots").iterdir())
        line = one_line(command("deep.train", "--data", prepared, *STOPPED, "--run", tmp_path / "run"))
        assert re.search(r"run: \d+ MB are needed there and \d+ MB are left; free some space", line)
        assert sorted(path.name for path in (tmp_path / "run/snapshots").iterdir()) == before
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_mistake_in_the_solver_file_is_an_error_of_one_line(prepared, tmp_path):
    (tmp_path / "mine.prototxt").write_text("base_lr: 0.1\nmomentun: 0.9\n")
    line = one_line(command("deep.train", "--data", prepared, "--run", tmp_path / "run", "--solver", tmp_path / "mine.prototxt"))
    assert "mine.prototxt: line 2" in line and "momentun" in line


def in_copy(folder, change, *arguments):
    """Run deep.train with run folder folder/run, in a copy of the project with a changed train_val.prototxt."""
    copy = folder / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    for part in ("common", "data", "deep"):
        shutil.copytree(REPOSITORY / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "deep/train_val.prototxt"
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    return python("-m", "deep.train", "--run", folder / "run", *arguments, cwd=copy)


@pytest.mark.parametrize("change, complaint", [
    (lambda text: 'layer { nane: "x" }', "train_val.prototxt: line 1.*nane"),
    (lambda text: text.replace('"LRN"', '"LRM"'), "Caffe stopped: .*LRM"),
    (lambda text: text.replace('bottom: "pool2"', 'bottom: "pool3"'), "Caffe stopped: .*Unknown bottom blob 'pool3'"),
])
def test_a_mistake_in_the_net_is_named(prepared, tmp_path, change, complaint):
    """Mistakes of users who edit train_val.prototxt: a wrong field, an unknown type, a blob that does not exist."""
    process = in_copy(tmp_path, change, "--data", prepared)
    assert re.search(complaint, one_line(process)), process.stderr


def test_dead_layers_give_warnings_once():
    healthy = {"conv9": 1.0, "deconv1": 0.5}
    monitor = Monitor(1000)
    assert monitor.check(1.0, healthy, healthy) == []
    warnings = monitor.check(1.0, {**healthy, "deconv1": 0.0}, {"conv9": 0.0, "deconv1": 0.1})
    assert len(warnings) == 2 and "conv9 does not learn" in warnings[0]
    assert "deconv1 is dead" in warnings[1] and "weight_filler" in warnings[1]
    assert monitor.check(1.0, {**healthy, "deconv1": 0.0}, {"conv9": 0.0, "deconv1": 0.1}) == []
    resumed = Monitor(1000, json.loads(json.dumps(monitor.state)))
    assert resumed.check(1.0, {**healthy, "deconv1": 0.0}, {"conv9": 0.0, "deconv1": 0.1}) == []


@pytest.mark.slow
def test_a_deconvolution_without_a_filler_gives_a_warning(prepared, tmp_path):
    """With Caffe's default filler, constant 0, the output stays 0, and no earlier layer learns."""
    without = re.compile(r'weight_filler \{ type: "gaussian" mean: 0.015625 std: 0.000001 \}')
    process = in_copy(tmp_path, lambda text: without.sub("", text), "--data", prepared, "--iterations", "1", "--set", "base_lr=0")
    assert process.returncode == 0, process.stderr
    assert "warning: after iteration 1, deconv1 is dead: all its weights are 0" in process.stderr
    assert "conv9 does not learn" in process.stderr
    row = runs.read_log(tmp_path / "run/log.csv")[0]
    assert row["weights_deconv1"] == 0 and row["gradient_conv1"] == 0 and row["gradient_deconv1"] > 0 and row["weights_conv1"] > 1


def test_a_path_with_a_space_is_an_error_before_caffe_runs(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "my data")
    line = one_line(command("deep.train", "--data", tmp_path / "my data", "--run", tmp_path / "run"))
    assert "cannot read a path with a space" in line


def test_a_working_directory_with_a_space_trains(prepared, tmp_path):
    checkout = tmp_path / "my checkout"
    shutil.copytree(prepared, checkout / "data")
    process = subprocess.run([sys.executable, "-m", "deep.train", "--data", "data", "--run", "run", "--iterations", "1"],
                             cwd=checkout, env={**USER_ENVIRONMENT, "PYTHONPATH": str(REPOSITORY)}, text=True,
                             capture_output=True, check=False)
    assert process.returncode == 0, process.stderr
    assert (checkout / "run/weights.caffemodel").is_file()
    assert (checkout / "run/train.txt").read_text().startswith("data/")


def test_the_message_of_a_fatal_check_is_read_from_the_log(tmp_path):
    (tmp_path / "log").write_text("I1123 17:00:00.1 77 net.cpp:5] fine\n"
                                  "F1123 17:00:01.2   77 hdf5.cpp:9] Check failed: status >= 0 (-1 vs. 0) Failed\n*** Check\n")
    assert fatal_message(tmp_path / "log") == "Check failed: status >= 0 (-1 vs. 0) Failed"
    assert fatal_message(tmp_path / "log", (tmp_path / "log").stat().st_size) == ""


def test_damaged_caffemodels_are_named(deep_weights, tmp_path):
    expected = net_shapes(DEPLOY)
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    assert expected == {name: [blob.data.shape for blob in blobs] for name, blobs in net.params.items()}
    check_weights(read_caffemodel(deep_weights), expected, deep_weights)
    whole = deep_weights.read_bytes()
    for damage, complaint in [(whole[:len(whole) // 2], "cut off"), (b"<html>not found</html>", "cut off|no layer"),
                              (b"", "no layer with weights")]:
        (tmp_path / "bad.caffemodel").write_bytes(damage)
        with pytest.raises(UserError, match=rf"bad\.caffemodel: .*({complaint})"):
            read_caffemodel(tmp_path / "bad.caffemodel")
    with pytest.raises(UserError, match="No such file"):
        read_caffemodel(tmp_path / "gone.caffemodel")
    weights = read_caffemodel(deep_weights)
    for change, complaint in [({"conv5": []}, "shapes"), ({"conv1": [np.full((96, 3, 7, 7), np.nan), np.zeros(96)]}, "NaN")]:
        with pytest.raises(UserError, match=complaint):
            check_weights({**weights, **change}, expected, deep_weights)
    del weights["conv9"]
    with pytest.raises(UserError, match="no layer 'conv9'"):
        check_weights(weights, expected, deep_weights)


