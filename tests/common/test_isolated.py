"""Foreign files are read in a process of their own: its crash, delay or use of memory is an error of one line."""
import os
import time

import numpy as np
import pytest
import scipy.io

from common.errors import UserError, WrongFile
from common.isolated import isolated
from tests.conftest import USER_ENVIRONMENT, begin


@isolated
def double(path, values):
    return values * 2


@isolated
def crash(path):
    os.kill(os.getpid(), 11)


@isolated
def loop(path):
    time.sleep(60)


@isolated
def allocate(path, size):
    return np.ones(size, np.uint8).sum()


@isolated
def fail(path, error):
    print("text that must not get into the outputs", flush=True)
    raise error


@isolated
def process_id(path):
    return os.getpid()


def test_a_result_of_any_size_is_returned():
    for size in (0, 3, 3_000_000):
        values = np.arange(size)
        np.testing.assert_array_equal(double("a", values), 2 * values)
    assert process_id("a") == process_id("b") != os.getpid(), "calls use the same child"


def test_a_crash_is_an_error_that_names_the_file_and_the_next_call_works():
    with pytest.raises(UserError, match=r"^bad.mat: damaged: the library that reads it crashed on it \(SIGSEGV\); copy"):
        crash("bad.mat")
    assert double("a", 2) == 4


@isolated
def kill(path):
    os.kill(os.getpid(), 9)


def test_a_child_that_the_kernel_kills_is_a_lack_of_memory():
    with pytest.raises(UserError, match=r"^good.mat: the process that reads it was killed, probably because memory ran "
                                        r"out; close other programs, or set SALIENCY_READ_MB") as raised:
        kill("good.mat")
    assert "damaged" not in str(raised.value) and double("a", 2) == 4


@pytest.mark.parametrize("size", ["10", "30", "60", "100"])
def test_a_limit_of_memory_that_is_too_low_is_named(tmp_path, monkeypatch, size):
    """As the limit falls, first the file does not fit, then the libraries do not, then Python does not."""
    scipy.io.savemat(tmp_path / "good.mat", {"a": np.ones(3)})
    program = ("import sys; from common.errors import run; from data.layouts import read_mat\n"
               "run(lambda: print(read_mat(sys.argv[1], 'a').sum()))")
    monkeypatch.setitem(USER_ENVIRONMENT, "SALIENCY_READ_MB", size)
    process = begin("-c", program, tmp_path / "good.mat", stdout=-1, stderr=-1)
    output, errors = process.communicate(timeout=120)
    assert output == "3.0\n" and errors == "" or process.returncode == 1 and errors.count("\n") == 1 \
        and "good.mat: " in errors and "SALIENCY_READ_MB" in errors, (output, errors)


def test_other_errors_name_the_memory_only_if_it_was_limited(monkeypatch):
    with pytest.raises(UserError, match=r"\('x'\); copy or write the file again$"):
        fail("bad.mat", KeyError("x"))
    from common import isolated as module

    monkeypatch.setenv("SALIENCY_READ_MB", "2000")
    module._child.kill()  # the limits are those of its start
    with pytest.raises(UserError, match=r"again, or give more memory than 2000 MB: SALIENCY_READ_MB, ulimit -v$"):
        fail("bad.mat", KeyError("x"))
    with pytest.raises(UserError, match=r"\(SIGSEGV\); .* more memory than 2000 MB"):
        crash("bad.mat")
    module._child.kill()


@pytest.mark.parametrize("reason, remedy", [
    ("libhdf5.so.310: cannot open shared object file: No such file or directory", "run `make env`"),
    ("libhdf5.so: failed to map segment from shared object",
     "give more memory than 8192 MB: SALIENCY_READ_MB, ulimit -v"),
    ("libhdf5.so: cannot map zero-fill pages: Cannot allocate memory",
     "give more memory than 8192 MB: SALIENCY_READ_MB, ulimit -v")])
def test_a_library_that_cannot_be_loaded_lacks_memory_only_if_the_system_names_it(reason, remedy):
    with pytest.raises(UserError) as raised:
        fail("good.h5", ImportError(reason))
    assert str(raised.value) == f"good.h5: the library that reads it cannot be loaded ({reason}); {remedy}"


def test_a_child_that_ends_before_it_reads_a_long_call_is_an_error():
    from common import isolated as module

    double("a", 2)
    os.kill(module._child.process.pid, 19)  # it reads no more
    module._child.process.stdin.write(bytes(100))  # stays in the buffer
    os.kill(module._child.process.pid, 9)
    module._child.kill()
    assert double("a", 2) == 4


def test_a_call_that_does_not_end_is_an_error(monkeypatch):
    monkeypatch.setenv("SALIENCY_READ_SECONDS", "1")
    with pytest.raises(UserError, match=r"^bad.mat: reading did not end in 1 s; .* SALIENCY_READ_SECONDS"):
        loop("bad.mat")
    monkeypatch.delenv("SALIENCY_READ_SECONDS")  # the start of the next child can take longer on a busy machine
    assert double("a", 2) == 4
    monkeypatch.setenv("SALIENCY_READ_SECONDS", "soon")
    with pytest.raises(UserError, match="SALIENCY_READ_SECONDS=soon: give a whole number"):
        double("a", 2)


def test_a_bomb_is_an_error():
    with pytest.raises(UserError, match=r"^bad.h5: needs more than 8192 MB; .* SALIENCY_READ_MB"):
        allocate("bad.h5", 1 << 34)


@pytest.mark.parametrize("error, expected", [
    (WrongFile("bad.mat: wrong"), "^bad.mat: wrong$"), (KeyError("x"), r"^bad.mat: cannot be read \('x'\); copy"),
    (ValueError("two\nlines"), r"cannot be read \(two lines\)")])
def test_errors_of_the_function_are_raised_here(error, expected):
    with pytest.raises(UserError, match=expected) as raised:
        fail("bad.mat", error)
    assert type(raised.value) is (type(error) if isinstance(error, UserError) else UserError)


def test_the_child_ends_with_its_parent():
    parent = begin("-c", "from tests.common.test_isolated import process_id; import time\n"
                   "print(process_id('a'), flush=True); time.sleep(60)", stdout=-1)
    child = int(parent.stdout.readline())
    os.kill(child, 0)  # it lives
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{child}")
