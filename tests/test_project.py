"""Check what holds for the project as a whole: pins, help, set-up's messages, and which folder imports which."""
import ast
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, USER_ENVIRONMENT, tracked_files


def pins(path):
    """The name==version lines of a file, indented or in a list."""
    return set(re.findall(r"^\s*(?:- )?([\w.-]+==[\w.]+)", (REPOSITORY / path).read_text(), re.M))


def shell(script, **environment):
    return subprocess.run(["bash", "-c", script], cwd=REPOSITORY, text=True, capture_output=True, check=False,
                          env={**USER_ENVIRONMENT, **environment})


def test_every_pin_is_installed_as_pinned():
    import importlib.metadata
    for pin in pins("requirements.txt"):
        name, version = pin.split("==")
        assert importlib.metadata.version(name) == version


def test_make_alone_prints_help():
    shown = shell("make").stdout
    assert all(f"make {target}" in shown for target in ("reproduce-tables", "test", "doctor", "env", "caffe", "data", "data-help", "check-data", "fetch", "extras", "predict"))


def test_make_passes_the_engine_on():
    shown = shell("make -n train-shallow train-deep ENGINE=torch DEVICE=cpu PRECISION=tf32 NPROC=2").stdout
    training = re.sub(r"\\\n", "", shown)
    assert re.search(r"-m shallow\.train .*--engine torch --device cpu --precision tf32\n", training)
    assert re.search(r"-m deep\.train .*--engine torch --device cpu --precision tf32 +--nproc 2\n", training)
    assert "--engine" not in shell("make -n train-shallow train-deep").stdout  # each command has its own default
    assert "--engine caffe" in shell("make -n train-deep ENGINE=caffe").stdout
    predicting = shell("make -n predict NET=shallow IMAGES=x OPTIONS=fit=crop ENGINE=torch DEVICE=cpu").stdout
    assert "--option fit=crop --option engine=torch --option device=cpu" in predicting
    assert predicting.count("-m models.predict") == 1 and '--out "build/maps"' in predicting


def test_make_passes_the_seed_of_the_faults_and_the_gate_has_a_fixed_one():
    assert "-m tests.faults all  --seed 7\n" in shell("make -n test-faults SEED=7").stdout
    assert "-m tests.faults all --long --seed 7\n" in shell("make -n test-faults LONG=1 SEED=7").stdout
    assert "SEED=7: is for make test-faults only; leave it out" in shell("make -n lint SEED=7").stderr
    assert "--seed" not in shell("make -n test-faults").stdout
    assert re.findall("^make test-faults.*", (REPOSITORY / ".ci/run").read_text(), re.MULTILINE) == ["make test-faults SEED=2016"]


@pytest.mark.parametrize("target, engine", [("train-shallow", "caffe"), ("train-deep", "theano"), ("train-deep", "jax")])
def test_an_engine_of_the_other_net_is_one_line(target, engine):
    process = shell(f"make --no-print-directory {target} ENGINE={engine}")  # the tests themselves run under make
    lines = process.stderr.strip().splitlines()
    assert process.returncode == 2 and f"ENGINE={engine}" in lines[0] and "torch" in lines[0] and process.stdout == ""
    assert [line for line in lines[1:] if not line.startswith("make")] == []


@pytest.fixture
def poor(tmp_path):
    """A PATH with commands that fail as for a user who is not root, without sudo and without Debian packages."""
    for name, body in {"id": "echo 1000", "sudo": "exit 1", "dpkg-query": "exit 1", "apt-get": "exit 100"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def test_without_root_the_one_command_is_printed(poor):
    """It names what `make env` and `make caffe` need, so that the second does not ask again."""
    process = shell("source setup/common.sh; need_packages g++", PATH=poor)
    command = process.stderr.splitlines()[-1].strip()
    assert process.returncode == 1
    assert command.startswith("sudo sh -c 'apt-get update; apt-get install --yes --no-install-recommends ")
    assert {"g++", "libopenblas-dev", "cmake", "libhdf5-dev"} <= set(command.strip("'").split())


def test_without_sudo_it_is_not_named(poor, tmp_path):
    (tmp_path / "sudo").unlink()
    for command in ("bash", "dirname", "sort", "head", "grep", "sed", "awk"):
        (tmp_path / command).symlink_to(shutil.which(command))
    process = shell("source setup/common.sh; need_packages g++", PATH=str(tmp_path))
    assert process.returncode == 1 and "su -c 'apt-get" in process.stderr and "sudo" not in process.stderr


def test_doctor_gives_a_remedy_a_line(poor):
    process = shell("setup/doctor.sh", PATH=poor, PYTHON="/bin/false")
    shown = process.stdout.splitlines()
    missing = [index for index, line in enumerate(shown) if "MISSING" in line]
    assert len(missing) >= 2 and all(shown[index + 1].strip().startswith("->") for index in missing)
    assert f"{len(missing)} missing" in shown[-1] and process.returncode == 1 and process.stderr == ""


def test_doctor_names_a_compiler_that_is_too_old(tmp_path):
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho 4.8.5\n")
    compiler.chmod(0o755)
    shown = shell("setup/doctor.sh", CXX=str(compiler)).stdout.splitlines()
    index, = (index for index, line in enumerate(shown) if "C++ compiler" in line)
    assert "MISSING" in shown[index] and "too old" in shown[index + 1] and "CXX=" in shown[index + 1]


def test_a_full_disk_is_one_line_before_anything_is_installed(tmp_path):
    """`df` stands for a disk with one gigabyte free."""
    (tmp_path / "df").write_text("#!/bin/sh\necho header\necho 1048576\n")
    (tmp_path / "df").chmod(0o755)
    process = shell(f"source setup/common.sh; log={tmp_path}/log; need_space 2 'the environment'",
                    PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert process.returncode == 1 and process.stderr.count("\n") == 1
    assert "the environment needs 2 GB of free space, and 1 GB are free" in process.stderr


def test_without_network_it_says_so(poor, tmp_path):
    (tmp_path / "id").write_text("#!/bin/sh\necho 0\n")  # root, but apt-get fails
    process = shell(f"source setup/common.sh; log={tmp_path}/log; need_packages g++", PATH=poor)
    assert process.returncode == 1 and "check the network" in process.stderr and "apt-get install" in process.stderr


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/false"])
def test_a_wrong_python_is_refused(python):
    process = shell("setup/env.sh", PYTHON=python)
    assert process.returncode == 1 and process.stderr.startswith(f"error: PYTHON={python}: not a Python 3.11 with its headers")


def test_a_checkout_that_cannot_be_written_is_one_line():
    """Run as user `nobody` if we are root, who can write everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(REPOSITORY / "setup", Path(folder) / "setup")
        Path(folder).chmod(0o555)
        other_user = "setpriv --reuid 65534 --clear-groups" if os.geteuid() == 0 else ""
        process = shell(f"{other_user} env -u HOME LC_ALL=C '{folder}/setup/env.sh'")
        Path(folder).chmod(0o755)
    assert process.returncode == 1 and "cannot write into build/" in process.stderr and process.stderr.count("\n") == 1


def test_caffe_src_must_be_caffe(tmp_path):
    before = sorted(path.name for path in (REPOSITORY / "build/caffe").iterdir())
    process = shell("deep/caffe/build.sh", CAFFE_SRC=str(tmp_path))
    assert sorted(path.name for path in (REPOSITORY / "build/caffe").iterdir()) == before
    assert process.returncode == 1 and "not a checkout of BVLC/caffe" in process.stderr
    assert process.stderr.count("\n") == 1


# failures of nvidia-smi, which prints them on stdout: no driver, no card, and a driver that does not have this field
NO_CARD = ("echo \"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
           'NVIDIA driver is installed and running."; exit 9',
           "echo 'No devices were found'; exit 6",
           "echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2")


@pytest.fixture
def toolkit(tmp_path):
    """A folder like that of CUDA, whose compiler supports no card; and a PATH with an nvidia-smi that finds no card."""
    for name in ("bin/nvcc", "include/cuda_runtime.h", "include/cublas_v2.h", "include/curand.h", "lib64/libcudart.so",
                 "lib64/libcublas.so", "lib64/libcurand.so"):
        path = tmp_path / "cuda" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    compiler = tmp_path / "cuda/bin/nvcc"
    compiler.write_text("#!/bin/sh\necho \"nvcc fatal   : Unsupported gpu architecture 'compute_20'\"\nexit 1\n")
    compiler.chmod(0o755)
    (tmp_path / "smi").mkdir()
    (tmp_path / "smi/nvidia-smi").write_text(f"#!/bin/sh\n{NO_CARD[0]}\n")
    (tmp_path / "smi/nvidia-smi").chmod(0o755)
    with open(REPOSITORY / "build/logs/toolkit.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel tests would write into one log
        yield tmp_path / "cuda", f"{tmp_path / 'smi'}:{os.environ['PATH']}"


@pytest.mark.parametrize("lacks, architectures, fault, remedy", [
    (".", "61", "no such folder", "such as CUDA=/usr/local/cuda"), ("bin/nvcc", "61", "has no compiler bin/nvcc", "such as CUDA=/usr/local/cuda"),
    ("lib64/libcublas.so", "61", "has no libcublas.so with its cublas_v2.h", "install this library of CUDA"),
    ("include/curand.h", "61", "has no libcurand.so with its curand.h", "install this library of CUDA"),
    (None, "", "no graphics card was found", "such as CUDA_ARCH=61"), (None, "new", "CUDA_ARCH=new: not a list", 'such as CUDA_ARCH="52 61"'),
    (None, "2.0", "nvcc cannot build for CUDA_ARCH=\"20\": nvcc fatal   : Unsupported gpu architecture 'compute_20'", "CXX=g++-12 make caffe CUDA=/")])
def test_a_wrong_cuda_is_one_line_before_anything_is_built(toolkit, lacks, architectures, fault, remedy):
    folder, path = toolkit
    if lacks == ".":
        shutil.rmtree(folder)
    elif lacks:
        (folder / lacks).unlink()
    before = sorted(path.name for path in (REPOSITORY / "build").glob("caffe*"))
    process = shell("deep/caffe/build.sh", CUDA=str(folder), CUDA_ARCH=architectures, PATH=path)
    assert process.returncode == 1 and process.stderr.count("\n") == 1 and process.stdout == ""
    assert process.stderr.startswith("error: CUDA") and fault in process.stderr and remedy in process.stderr
    assert sorted(path.name for path in (REPOSITORY / "build").glob("caffe*")) == before


def test_the_cards_of_the_machine_decide_what_is_built(toolkit):
    """Two cards of one type and a newer one, as nvidia-smi lists them."""
    folder, path = toolkit
    smi = Path(path.split(":")[0]) / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '8.6\\n6.1\\n8.6\\n'\n")
    assert 'for CUDA_ARCH="61 86"' in shell("deep/caffe/build.sh", CUDA=str(folder), PATH=path).stderr


@pytest.mark.parametrize("failure", NO_CARD)
def test_an_error_of_nvidia_smi_is_not_a_card(toolkit, failure):
    folder, path = toolkit
    (Path(path.split(":")[0]) / "nvidia-smi").write_text(f"#!/bin/sh\n{failure}\n")
    process = shell("deep/caffe/build.sh", CUDA=str(folder), PATH=path)
    assert process.returncode == 1 and process.stderr.count("\n") == 1 and "no graphics card was found" in process.stderr
    assert "graphics card" not in shell("setup/doctor.sh", PATH=path).stdout


def test_doctor_lists_the_cards(toolkit):
    _, path = toolkit
    (Path(path.split(":")[0]) / "nvidia-smi").write_text("#!/bin/sh\nprintf 'GeForce GTX 980, 5.2\\nUnnamed, [N/A]\\n'\n")
    assert re.search(r"ok +graphics card +GeForce GTX 980, 5\.2; used with", shell("setup/doctor.sh", PATH=path).stdout)


def test_a_card_is_an_option_of_caffe():
    shown = re.sub(r"\\\n", "", shell("make -n train-deep GPU=1").stdout)
    assert re.search(r"-m deep\.card 1\n(.*\n)*.*-m deep\.train .*--gpu 1\b", shown)
    process = shell("make --no-print-directory -n train-deep GPU=1 ENGINE=torch")
    assert process.returncode == 2 and "GPU=1: is for Caffe; for ENGINE=torch, give DEVICE=cuda instead" in process.stderr
    changed = "make -n -W deep/caffe/build.sh caffe"
    assert "CUDA= deep/caffe/build.sh" in shell(changed).stdout.splitlines()
    with_cuda = shell(f"{changed} CUDA=/usr/local/cuda").stdout.splitlines()
    assert "deep/caffe/build.sh" in with_cuda and "CUDA= deep/caffe/build.sh" not in with_cuda


def test_only_the_command_line_selects_a_card():
    """Clusters often set CUDA in the environment."""
    shown = shell("make -n -W deep/caffe/build.sh train-deep caffe", CUDA="/usr/local/cuda", CUDA_ARCH="61", GPU="1").stdout
    assert "deep.card" not in shown and "--gpu" not in shown and "\nCUDA= deep/caffe/build.sh\n" in f"\n{shown}"
    process = shell("make --no-print-directory -n caffe-cuda", CUDA="/usr/local/cuda")
    assert process.returncode == 2 and process.stderr.count("\n") == 1 and process.stdout == ""
    assert "CUDA is not given; run make caffe CUDA=/usr/local/cuda" in process.stderr


def test_a_card_for_prediction_is_another_option():
    note = "prediction on a graphics card is ENGINE=torch DEVICE=cuda"
    assert note in shell("make -n predict IMAGES=x GPU=0").stdout and note not in shell("make -n predict IMAGES=x").stdout


def imported(path):
    """Top-level folders of this project that a module imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


FOLDERS = {  # of our source, with the folders that each may import; bench and tests are free
    "common": set(), "data": {"common"}, "shallow": {"common", "data"}, "deep": {"common", "data"},
    "evaluation": {"common", "data"}, "models": {"common", "data", "shallow", "deep", "evaluation"},
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_run_one_way(folder):
    ours = {*FOLDERS, "bench", "tests"}
    for path in (REPOSITORY / folder).rglob("*.py"):
        assert set(imported(path)) & ours <= {folder} | FOLDERS[folder], path


def test_nothing_of_a_machine_is_in_the_repository():
    names = tracked_files()
    assert "README.md" in names
    for name in names:
        path = REPOSITORY / name
        assert path.stat().st_size < 1 << 20, name
        assert not re.search(rb"(?<![\w.])/(home|work|root)/\w", path.read_bytes()), name
