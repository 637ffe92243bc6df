"""Caffe on a graphics card: its absence is one line, before a run folder is made. Nothing here needs a card."""
import os
import shutil
import signal
import subprocess
import sys

import pytest

from common.errors import UserError
from deep import backend, card
from deep.caffe_engine import CaffeEngine
from deep.prototxt import SOLVER, messages, parse_prototxt
from deep.solver import replacements, resolve_solver, write_solver
from tests.conftest import REPOSITORY, USER_ENVIRONMENT, command, one_line


def test_the_net_that_checks_a_card_gives_these_values_on_the_cpu():
    outputs, gradient = card.compute(backend.load_caffe())
    assert outputs.shape == (1, 2, 1, 1) and (outputs == 9).all()
    assert gradient.shape == (1, 1, 3, 3) and (gradient == 2).all()


def test_without_a_build_with_cuda_the_remedy_is_the_build(monkeypatch, tmp_path):
    monkeypatch.setattr(backend, "CUDA_BUILD", tmp_path / "caffe-cuda")
    for use in (lambda: backend.load_caffe(0), lambda: card.check_card(0), lambda: CaffeEngine(tmp_path, gpu=0)):
        with pytest.raises(UserError, match=r"caffe-cuda: missing.*run `make caffe CUDA=/usr/local/cuda`.*ENGINE=torch"):
            use()


def test_a_process_loads_one_build_of_caffe(monkeypatch, tmp_path):
    backend.load_caffe()
    (tmp_path / ".ready").touch()
    monkeypatch.setattr(backend, "CUDA_BUILD", tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(UserError, match="Caffe without CUDA is loaded in this process"):
        backend.load_caffe(0)


def test_a_damaged_build_with_cuda_is_to_be_built_again(tmp_path):
    folder = copy_of_the_code(tmp_path / "code")
    damaged = folder / "build/caffe-cuda/src/python/caffe/__init__.py"
    damaged.parent.mkdir(parents=True)
    (folder / "build/caffe-cuda/.ready").touch()
    damaged.write_text("from ._caffe import Net\n")
    assert one_line(run_in(folder, "deep.card", "0")) == (
        "error: BVLC Caffe with CUDA cannot be imported (No module named 'caffe._caffe'); "
        "rm -rf build/caffe-cuda, then make caffe CUDA=path")


def copy_of_the_code(folder):
    """Copy the code, so that it can have builds of its own in build/."""
    for name in ("common", "data", "deep"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "caffe"))
    return folder


def run_in(folder, *arguments):
    return subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=folder, text=True, capture_output=True, check=False,
                          env=USER_ENVIRONMENT)


def test_an_abort_of_caffe_is_one_line_before_a_run_folder_is_made(prepared, tmp_path):
    """The build without CUDA in its place: it aborts, as the other one does without a card."""
    folder = copy_of_the_code(tmp_path / "code")
    build = folder / "build/caffe-cuda"
    build.mkdir(parents=True)
    (build / ".ready").write_text("CUDA 12.4, compute capabilities 61\n")
    for part in ("src", "build"):
        (build / part).symlink_to((REPOSITORY / "build/caffe" / part).resolve())
    for arguments in (("deep.card", "3"), ("deep.train", "--data", prepared, "--run", tmp_path / "run", "--gpu", "3")):
        process = run_in(folder, *arguments)
        assert process.stdout == "checking graphics card 3\n" and process.stderr.count("\n") == 1
        line = one_line(process)
        assert line.startswith("error: GPU=3: Caffe stopped: Cannot use GPU in CPU-only Caffe: check mode.; check the driver")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not (backend.CUDA_BUILD / ".ready").is_file() or shutil.which("nvidia-smi") is not None,
                    reason="for a machine with a build with CUDA (make caffe CUDA=path) and without a card")
def test_the_build_with_cuda_without_a_card_is_one_line(prepared, tmp_path):
    process = command("deep.train", "--data", prepared, "--run", tmp_path / "run", "--gpu", "0")
    assert one_line(process).startswith("error: GPU=0: Caffe stopped: Check failed: error == cudaSuccess")
    assert process.stderr.count("\n") == 1 and not (tmp_path / "run").exists()


def test_a_card_for_pytorch_is_another_option(prepared, tmp_path):
    process = command("deep.train", "--data", prepared, "--run", tmp_path / "run", "--engine", "torch", "--gpu", "0")
    assert "GPU (--gpu) is an option of Caffe; for PyTorch, give DEVICE=cuda" in one_line(process)
    assert not (tmp_path / "run").exists()


def test_the_runs_solver_file_names_the_card(tmp_path):
    solver = resolve_solver(SOLVER, "demo", size=[192, 144], validation_images=40, seed=1)
    for gpu, mode, build in ((None, "CPU", "build/caffe/build/tools/caffe"), (1, "GPU", "build/caffe-cuda/build/tools/caffe")):
        write_solver(tmp_path, solver, None, gpu=gpu)
        written = parse_prototxt(tmp_path / "solver.prototxt", messages().SolverParameter())
        assert written.solver_mode == written.SolverMode.Value(mode)
        assert written.HasField("device_id") == (gpu is not None) and written.device_id == (gpu or 0)
        header = (tmp_path / "solver.prototxt").read_text().splitlines()[:2]
        assert f" {build} train -solver " in header[1]
        assert ("not compared by us" in header[0]) == (gpu is not None)


def test_the_mode_in_a_solver_file_is_reported_only_where_it_has_no_effect(tmp_path):
    path = tmp_path / "mine.prototxt"
    path.write_text(SOLVER.read_text().replace("solver_mode: CPU", "solver_mode: GPU"))
    assert "solver_mode GPU has no effect" in replacements(path, SOLVER.with_name("train_val.prototxt"))[0]
    assert replacements(path, SOLVER.with_name("train_val.prototxt"), gpu=0) == []


@pytest.mark.parametrize("reason, remedy", [
    ("Check failed: error == cudaSuccess (2 vs. 0)  out of memory", "smaller batches"),
    ("Check failed: status == CUBLAS_STATUS_SUCCESS (3 vs. 0)  CUBLAS_STATUS_ALLOC_FAILED", "smaller batches"),
    ("Check failed: error == cudaSuccess (209 vs. 0)  no kernel image is available for execution on the device", "CUDA_ARCH"),
    ("Check failed: error == cudaSuccess (101 vs. 0)  invalid device ordinal", "no card of this number"),
    ("Check failed: error == cudaSuccess (35 vs. 0)  CUDA driver version is insufficient", "driver"),
    ("Check failed: status == CUBLAS_STATUS_SUCCESS (1 vs. 0)  CUBLAS_STATUS_NOT_INITIALIZED", "driver")])
def test_each_error_of_a_card_has_its_remedy(reason, remedy):
    assert remedy in backend.card_remedy(reason)
    assert backend.card_remedy("Unknown learning rate policy: nonsense") is None


def kill_itself(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def abort_for_memory(*_):
    """Write Caffe's message for a card whose memory is full, then abort as Caffe does."""
    os.write(2, b"F1128 06:00:00.000000 1 math.cu:1] Check failed: error == cudaSuccess (2 vs. 0)  out of memory\n")
    os.abort()


@pytest.mark.parametrize("end, message", [
    (kill_itself, "GPU=0: the check of the card was killed, probably for lack of memory; close other programs and run the "
                  "same command again"),
    (abort_for_memory, "GPU=0: Caffe stopped: Check failed: error == cudaSuccess (2 vs. 0)  out of memory; another program "
                       "uses the card: end it (nvidia-smi lists it), or give another GPU")])
def test_a_check_that_ends_early_has_a_text_of_its_own(monkeypatch, tmp_path, end, message):
    (tmp_path / ".ready").touch()
    monkeypatch.setattr(backend, "CUDA_BUILD", tmp_path)
    monkeypatch.setattr(card, "_compute", end)
    with pytest.raises(UserError) as error:
        card.check_card(0)
    assert str(error.value) == message


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_crash_without_a_message_names_the_library_and_the_signal(tmp_path):
    with pytest.raises(UserError, match=r"^PyTorch stopped: it crashed with SIGSEGV \(full log: .*torch.log\); correct"):
        backend.run_in_subprocess(crash, (), tmp_path / "torch.log", "PyTorch")
