"""Several PyTorch processes: the weights of one process, and nothing lost when one of them is killed."""
import json
import os
import signal
import subprocess
import time
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from common import runs
from deep import train as train_command
from deep.torch_workers import FAULT
from deep.weights import read_caffemodel
from tests.conftest import REPOSITORY, begin, command, one_line, python
from tests.deep.conftest import assert_equal_to_rounding, run_folder

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
torch_engine = pytest.importorskip("deep.torch_engine")


@pytest.mark.parametrize("processes", [2, 4])
def test_each_process_reads_its_own_images_of_every_batch(tmp_path, processes):
    """Two shards of 3 and 2 images, batches of 4: the parts together are the batches of one process."""
    listing, cpu = run_folder(tmp_path / "run", "") / "train.txt", torch.device("cpu")
    whole = torch_engine.Batches(listing, 4, cpu)
    parts = [torch_engine.Batches(listing, 4, cpu, rank, processes) for rank in range(processes)]
    skipped = torch_engine.Batches(listing, 4, cpu, 1, processes)
    skipped.skip(3)
    assert [len(part.data) for part in parts] == {2: [2, 1], 4: [1, 1, 1, 1]}[processes]  # images in memory
    for index in range(7):
        data, label = whole.next()
        own = [part.next() for part in parts]
        np.testing.assert_array_equal(np.concatenate([images for images, _ in own]), data)
        np.testing.assert_array_equal(np.concatenate([maps for _, maps in own]), label)
        if index >= 3:
            np.testing.assert_array_equal(skipped.next()[0], own[1][0])


def train(data, run, *options, processes=2):
    return ("deep.train", "--data", data, "--run", run, "--iterations", "5", "--engine", "torch", "--device", "cpu",
            "--nproc", processes, "--set", "snapshot=2", *options)


def begin_and_wait(arguments, log, rows):
    """Start a training and wait until its log has `rows` rows; return the process."""
    process = begin("-m", *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not log.is_file() or len(log.read_text().splitlines()) <= rows:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    return process


def read(path):
    """Read a file of /proc; b"" if its process has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def process_id(parent, rank):
    """Return the id of the training process `rank` of a command."""
    for folder in Path("/proc").glob("[0-9]*"):
        if f"PPid:\t{parent}\n".encode() in read(folder / "status") and f"\0RANK={rank}\0".encode() in read(folder / "environ"):
            return int(folder.name)
    raise AssertionError("no such process")


def layers_of(run):
    return {f"{name} {index}": values for name, arrays in read_caffemodel(run / "weights.caffemodel").items()
            for index, values in enumerate(arrays)}


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one_also_when_killed_or_interrupted(prepared_small, tmp_path):
    assert command(*train(prepared_small, tmp_path / "one", processes=1)).returncode == 0
    killed = begin_and_wait(train(prepared_small, tmp_path / "killed"), tmp_path / "killed/log.csv", 3)
    os.kill(process_id(killed.pid, 1), signal.SIGKILL)
    _, errors = killed.communicate(timeout=300)
    assert killed.returncode == 0 and "Traceback" not in errors
    assert "warning: a training process ended early; all start again from the newest snapshot (1 of 3 times" in errors
    interrupted = begin_and_wait(train(prepared_small, tmp_path / "interrupted"), tmp_path / "interrupted/log.csv", 1)
    interrupted.send_signal(signal.SIGINT)
    _, errors = interrupted.communicate(timeout=120)
    assert interrupted.returncode == 130 and errors.strip().splitlines()[-1].startswith("interrupted:"), errors
    assert "Traceback" not in errors and (tmp_path / "interrupted/snapshot.json").is_file()
    resumed = command(*train(prepared_small, tmp_path / "interrupted", "--resume"))
    assert resumed.returncode == 0 and "warning" not in resumed.stderr, resumed.stderr
    single, two, again = (layers_of(tmp_path / run) for run in ("one", "killed", "interrupted"))
    for name, values in single.items():
        np.testing.assert_array_equal(two[name], again[name])
        assert_equal_to_rounding(two[name], values, name)
    logs = [runs.read_log(tmp_path / run / "log.csv") for run in ("one", "killed", "interrupted")]
    for log in logs:
        assert [row["iteration"] for row in log] == [1, 2, 3, 4, 5]
        assert [row["loss"] for row in log] == pytest.approx([row["loss"] for row in logs[0]], rel=1e-3)
        assert log[-1]["val_cc"] == pytest.approx(logs[0][-1]["val_cc"], abs=1e-3)
    assert runs.read_config(tmp_path / "killed/weights.caffemodel", "deep")["versions"]["processes"] == "2"
    # a process that fails after the final weights are written makes the launcher start all again: nothing is left to do
    arguments = json.dumps([str(tmp_path / "killed"), None, False, {"device": "cpu", "precision": "float32"}])
    restarted = python("-m", "deep.torch_workers", arguments, RANK="0", WORLD_SIZE="2", TORCHELASTIC_RESTART_COUNT="1")
    assert restarted.returncode == 0, restarted.stderr
    assert runs.read_log(tmp_path / "killed/log.csv") == logs[1]


@pytest.fixture(scope="module")
def whole(prepared_small, tmp_path_factory):
    """A run of two processes without a fault."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert command(*train(prepared_small, run)).returncode == 0
    return layers_of(run)


FAULTS = """
import os
if os.environ.get("RANK") == "{rank}" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    from common.errors import UserError
    from deep import torch_engine
    iterate = torch_engine.TorchEngine._iterate

    def fail(engine):
        if engine.iteration == 3:
            raise {error}
        return iterate(engine)

    torch_engine.TorchEngine._iterate = fail
"""


def environment_with_fault(folder, rank, error):
    """Environment variables with which process `rank` raises an error in the iteration after the third one, once."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAULTS.format(rank=rank, error=error))
    return {"PYTHONPATH": f"{folder}:{REPOSITORY}"}


def assert_no_process_is_left(run):
    """Wait shortly: a process that has ended may still be listed."""
    deadline = time.monotonic() + 10
    while left := [folder.name for folder in Path("/proc").glob("[0-9]*") if str(run).encode() in read(folder / "cmdline")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def assert_layers_equal(layers, others):
    for name, values in layers.items():
        np.testing.assert_array_equal(values, others[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_an_iteration_of_one_process_is_one_line_and_the_run_resumes(whole, prepared_small, tmp_path, rank):
    """The other process waits for its gradients at that time."""
    failed = command(*train(prepared_small, tmp_path / "run"),
                     **environment_with_fault(tmp_path / "fault", rank, "UserError('the card is on fire; extinguish it')"))
    assert one_line(failed) == "error: the card is on fire; extinguish it"
    assert failed.returncode == 1 and not (tmp_path / "run/fault.txt").exists()
    assert_no_process_is_left(tmp_path / "run")
    assert command(*train(prepared_small, tmp_path / "run", "--resume")).returncode == 0
    assert_layers_equal(whole, layers_of(tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_after_a_fault_of_the_program_in_one_process_all_start_again(whole, prepared_small, tmp_path, rank):
    process = command(*train(prepared_small, tmp_path / "run"),
                      **environment_with_fault(tmp_path / "fault", rank, "ValueError('a fault of the program')"))
    assert process.returncode == 0 and "Traceback" not in process.stderr
    assert "warning: a training process ended early; all start again from the newest snapshot (1 of 3 times" in process.stderr
    assert "ValueError: a fault of the program" in (tmp_path / "run/torch.log").read_text()
    assert_no_process_is_left(tmp_path / "run")
    assert_layers_equal(whole, layers_of(tmp_path / "run"))


@pytest.mark.slow
def test_the_first_process_can_be_killed(whole, prepared_small, tmp_path):
    """It writes the snapshots and the log."""
    killed = begin_and_wait(train(prepared_small, tmp_path / "run"), tmp_path / "run/log.csv", 3)
    os.kill(process_id(killed.pid, 0), signal.SIGKILL)
    _, errors = killed.communicate(timeout=300)
    assert killed.returncode == 0 and "Traceback" not in errors
    assert "warning: a training process ended early" in errors
    assert_no_process_is_left(tmp_path / "run")
    assert_layers_equal(whole, layers_of(tmp_path / "run"))
    assert [row["iteration"] for row in runs.read_log(tmp_path / "run/log.csv")] == [1, 2, 3, 4, 5]


def test_a_shard_is_freed_before_the_next_one_is_read(tmp_path):
    """Two shards of 3 MB: the peak of NumPy's memory, which PyTorch's arrays share on the CPU."""
    folder, shape = tmp_path, (200, 3, 32, 32)
    for name in "ab":
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["data"], file["label"] = np.ones(shape, np.float32), np.ones((200, 1, 32, 32), np.float32)
    (folder / "train.txt").write_text(f"{folder}/a.h5\n{folder}/b.h5\n")
    tracemalloc.start()
    try:
        batches = torch_engine.Batches(folder / "train.txt", 2, torch.device("cpu"))
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(250):
            batches.next()
        assert size > 4 * 200 * 4 * 32 * 32 and tracemalloc.get_traced_memory()[1] < 1.3 * size
    finally:
        tracemalloc.stop()


def test_restart_removes_the_fault_of_a_run_that_was_killed(tmp_path):
    (tmp_path / FAULT).write_text("the disk was full")
    runs.start(tmp_path, "deep", {}, {}, train_command.FILES, restart=True)
    assert not (tmp_path / FAULT).exists()


@pytest.mark.slow
def test_an_error_in_a_process_is_one_line_of_the_command(prepared_small, tmp_path):
    process = command(*train(prepared_small, tmp_path / "run", "--set", "base_lr=1e30"))
    assert "learning diverged" in one_line(process) and not (tmp_path / "run/fault.txt").exists()


def test_wrong_numbers_of_processes_are_one_line(prepared_small, tmp_path):
    for options, fault in ((("--nproc", "3"), "its batches of 2 images cannot be divided by 3 processes; give NPROC"),
                           (("--nproc", "0"), "'0' is not a whole number above 0"),
                           (("--nproc", "2", "--engine", "caffe"), "is an option of --engine torch")):
        process = command("deep.train", "--data", prepared_small, "--run", tmp_path / "run", "--engine", "torch", *options)
        assert fault in one_line(process)
    assert not (tmp_path / "run").exists()
