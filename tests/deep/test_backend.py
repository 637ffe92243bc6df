"""The subprocess of Caffe, and signals at the moments when it starts and ends."""
import time

import pytest

from tests.common.test_parallel import signals
from tests.conftest import begin

TARGETS = """
import atexit
import time

def sleep():
    time.sleep(60)

def end_slowly():
    atexit.register(time.sleep, 60)
    atexit.register(print, "ending", flush=True)
"""

PROGRAM = """
import multiprocessing, os, sys
sys.path.insert(0, {folder!r})
import targets
from common.errors import run
from deep.backend import run_in_subprocess

class Process(multiprocessing.get_context("spawn").Process):
    def start(self):
        super().start()
        for _ in range({at_start}):
            os.kill(os.getpid(), {number})

def main():
    code = run_in_subprocess(targets.{target}, (), {folder!r} + "/caffe.log")
    print("after the subprocess", code, flush=True)
    return code

if __name__ == "__main__":
    multiprocessing.context.SpawnContext.Process = Process
    run(main)
"""


def start(folder, number, target, at_start=0):
    (folder / "targets.py").write_text(TARGETS)
    (folder / "program.py").write_text(PROGRAM.format(folder=str(folder), number=int(number), target=target, at_start=at_start))
    return begin("-c", f"import runpy; runpy.run_path({str(folder / 'program.py')!r}, run_name='__main__')", stdout=-1, stderr=-1)


def finish(process):
    """Return output and errors; also if the process hangs, it does not stay behind."""
    try:
        return process.communicate(timeout=50)
    finally:
        process.kill()


@signals
@pytest.mark.parametrize("times", [1, 2])
def test_signals_while_the_subprocess_starts_end_it(tmp_path, number, code, line, times):
    """They take effect right after the start; without them, the subprocess would go on for hours."""
    process = start(tmp_path, number, "sleep", at_start=times)
    output, errors = finish(process)
    assert (process.returncode, output) == (code, f"after the subprocess {code}\n")
    assert errors.startswith(line) and errors.count("\n") == 1, errors


@signals
def test_a_signal_while_the_subprocess_ends_is_not_lost(tmp_path, number, code, line):
    process = start(tmp_path, number, "end_slowly")
    assert process.stdout.readline() == "ending\n"
    time.sleep(0.2)
    process.send_signal(number)
    output, errors = finish(process)
    assert (process.returncode, output) == (code, "") and errors.startswith(line) and errors.count("\n") == 1, errors
