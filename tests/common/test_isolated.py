"""Foreign files are read in a process of their own: its crash, delay or use of memory is an error of one line."""
import os
import time

import numpy as np
import pytest

from common.errors import UserError, WrongFile
from common.isolated import isolated


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


def test_a_call_that_does_not_end_is_an_error(monkeypatch):
    monkeypatch.setenv("SALIENCY_READ_SECONDS", "1")
    with pytest.raises(UserError, match=r"^bad.mat: reading did not end in 1 s; .* SALIENCY_READ_SECONDS"):
        loop("bad.mat")
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
    from tests.conftest import begin

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
