"""What holds for the project as a whole: pins, help, set-up's messages, and which folder imports which."""
import ast
import os
import re
import subprocess

import pytest

from tests.conftest import REPOSITORY, USER_ENVIRONMENT


def pins(path):
    """The name==version lines of a file, indented or in a list."""
    return set(re.findall(r"^\s*(?:- )?([\w.-]+==[\w.]+)", (REPOSITORY / path).read_text(), re.M))


def shell(script, **environment):
    return subprocess.run(["bash", "-c", script], cwd=REPOSITORY, text=True, capture_output=True, check=False,
                          env={**USER_ENVIRONMENT, **environment})


def test_conda_has_the_same_pins():
    assert pins("requirements.txt") == pins("environment.yml") and len(pins("requirements.txt")) > 20


def test_every_pin_is_installed_as_pinned():
    import importlib.metadata
    for pin in pins("requirements.txt"):
        name, version = pin.split("==")
        assert importlib.metadata.version(name) == version


def test_make_alone_prints_help():
    shown = shell("make").stdout
    assert all(f"make {target}" in shown for target in ("reproduce-tables", "test", "doctor", "env", "caffe", "data", "data-help", "check-data", "fetch", "extras", "predict"))


@pytest.fixture
def poor(tmp_path):
    """A PATH with commands that fail as for a user who is not root, without sudo and without Debian packages."""
    for name, body in {"id": "echo 1000", "sudo": "exit 1", "dpkg-query": "exit 1", "apt-get": "exit 100"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def test_without_root_the_one_command_is_printed(poor):
    process = shell("source setup/common.sh; need_packages g++ cmake", PATH=poor)
    assert process.returncode == 1
    assert "sudo sh -c 'apt-get update && apt-get install --yes --no-install-recommends g++ cmake" in process.stderr


def test_doctor_gives_a_remedy_a_line(poor):
    process = shell("setup/doctor.sh", PATH=poor, PYTHON="/bin/false")
    shown = process.stdout.splitlines()
    missing = [index for index, line in enumerate(shown) if "MISSING" in line]
    assert len(missing) >= 3 and all(shown[index + 1].strip().startswith("->") for index in missing)
    assert f"{len(missing)} missing" in shown[-1] and process.returncode == 1 and process.stderr == ""


def test_without_network_it_says_so(poor, tmp_path):
    (tmp_path / "id").write_text("#!/bin/sh\necho 0\n")  # root, but apt-get fails
    process = shell(f"source setup/common.sh; log={tmp_path}/log; need_packages g++", PATH=poor)
    assert process.returncode == 1 and "check the network" in process.stderr and "apt-get install" in process.stderr


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/false"])
def test_a_wrong_python_is_refused(python):
    process = shell("setup/env.sh", PYTHON=python)
    assert process.returncode == 1 and f"Python 3.11 is required (Theano 1.0.5 and numpy 1.23.5 do not run on newer versions), not {python}" \
        in process.stderr


def test_caffe_src_must_be_caffe(tmp_path):
    before = sorted(path.name for path in (REPOSITORY / "build/caffe").iterdir())
    process = shell("deep/caffe/build.sh", CAFFE_SRC=str(tmp_path))
    assert sorted(path.name for path in (REPOSITORY / "build/caffe").iterdir()) == before
    assert process.returncode == 1 and "not a checkout of BVLC/caffe" in process.stderr
    assert process.stderr.count("\n") == 1


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
    tracked = shell("git ls-files -z").stdout.split("\0")
    for name in filter(None, tracked):
        path = REPOSITORY / name
        if path.is_file():
            assert path.stat().st_size < 1 << 20, name
            assert not re.search(rb"(?<![\w.])/(home|work|root)/\w", path.read_bytes()), name
