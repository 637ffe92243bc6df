"""Provide what several tests share: weights, and the real data beside the checkout."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# a busy machine must not fail a test
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

# shells start what runs in the background with Ctrl-C ignored; the commands under test must not inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

# of child processes: taken before anything of ours, or a library that sets variables, is imported
USER_ENVIRONMENT = dict(os.environ)
REPOSITORY = Path(__file__).resolve().parents[1]
OSIE = REPOSITORY.parent / "shared" / "osie"


def tracked_files():
    """The names of all files of the repository; without its history, for example in a container, all but build/."""
    listed = subprocess.run(["git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "-co", "--exclude-standard", "-z"],
                            cwd=REPOSITORY, text=True, capture_output=True, check=False)
    names = listed.stdout.split("\0") if listed.returncode == 0 else \
        (str(path.relative_to(REPOSITORY)) for path in REPOSITORY.rglob("*") if "__pycache__" not in path.parts)
    return sorted(name for name in names
                  if (REPOSITORY / name).is_file() and not name.startswith(("build/", ".pytest_cache/", ".hypothesis/")))


def failed_claims(failed):
    """A line for each claim of the ledger that names one of these tests, or a file that could not be read."""
    from evaluation.claims import named_tests, read_ledger

    names = {test.partition("[")[0] for test in failed}
    return [f"claim {row['number']} of the ledger is not shown by this run: {name} failed"
            for row in read_ledger() for name in named_tests(row) if names & {name, name.partition("::")[0]}]


def pytest_terminal_summary(terminalreporter):
    reports = [report for outcome in ("failed", "error") for report in terminalreporter.stats.get(outcome, ())]
    for line in failed_claims(report.nodeid for report in reports) if reports else ():
        terminalreporter.write_line(line)


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist, the tests run in this process
def pytest_xdist_auto_num_workers():
    """The number of processes of `make test`: two at most, because a test may use all cores and 5 GB of memory."""
    from common.machine import available_memory, count_cores

    return 2 if count_cores() > 1 and available_memory() > 10e9 else 1


@pytest.fixture(scope="session")
def osie_root():
    """The real OSIE."""
    if not OSIE.is_dir():
        pytest.skip(f"OSIE is not beside the checkout (looked for {OSIE})")
    return OSIE


@pytest.fixture(scope="session")
def salicon_root():
    """Ten real images of SALICON with their annotations."""
    root = REPOSITORY.parent / "shared" / "salicon_sample"
    if not root.is_dir():
        pytest.skip(f"the sample of SALICON is not beside the checkout (looked for {root})")
    return root


@pytest.fixture(scope="session")
def deep_weights(tmp_path_factory):
    """A caffemodel of the deep net with random weights, as the fillers draw them."""
    from deep.backend import load_caffe
    from deep.prototxt import DEPLOY

    caffe = load_caffe()
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    rng = np.random.default_rng(0)
    for blobs in net.params.values():
        fan_in = blobs[0].data[0].size
        blobs[0].data[...] = rng.normal(0, np.sqrt(2 / fan_in), blobs[0].data.shape)
    path = tmp_path_factory.mktemp("deep") / "weights.caffemodel"
    net.save(str(path))
    return path


@pytest.fixture(scope="session")
def shallow_weights(tmp_path_factory):
    """An .npz of the shallow net with its initial weights."""
    from shallow import network, weights

    path = tmp_path_factory.mktemp("shallow") / "weights.npz"
    parameters = network.named_parameters(network.build(init="released"))
    weights.save(path, {name: value.get_value() for name, value in parameters.items()}, {"conv3_filters": 128})
    return path


def python(*arguments, cwd=REPOSITORY, **environment):
    """Run Python in the repository with the environment of a user, plus `environment`; return the finished process."""
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, text=True, capture_output=True, check=False,
                          env={**USER_ENVIRONMENT, **environment})


def command(module, *arguments, **environment):
    """Run `python -m module arguments` in the same way."""
    return python("-m", module, *arguments, **environment)


def begin(*arguments, **kwargs):
    """Start Python in the same way and return the running process; `kwargs` are those of subprocess.Popen."""
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=REPOSITORY, text=True, env=USER_ENVIRONMENT,
                            **kwargs)


def one_line(process):
    """Return the error of a failed command: its last line on stderr, without a traceback above it."""
    assert process.returncode != 0
    assert "Traceback" not in process.stderr, process.stderr
    return process.stderr.strip().splitlines()[-1]
