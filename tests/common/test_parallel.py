"""Worker processes: results in order, a killed worker, a killed parent, Ctrl-C."""
import os
import signal
import time

import pytest

from common.errors import UserError
from common.parallel import results_of, working_on
from tests.conftest import begin, command

signals = pytest.mark.parametrize("number, code, line", [(signal.SIGINT, 130, "interrupted: "), (signal.SIGTERM, 143, "stopped: ")])


def double(number, kill=None):
    working_on(f"image{number}.jpg")
    if number == kill:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return 2 * number


def alive(process):
    """The state of a process that exists and is no zombie."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(process):
    """All descendants of a process."""
    direct = []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == process:
            direct += [int(entry), *children(int(entry))]
    return direct


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_are_in_the_order_of_the_items(jobs):
    assert list(results_of(double, ((number,) for number in range(20)), jobs)) == list(range(0, 40, 2))


def test_a_killed_worker_is_one_line_with_the_images_in_work():
    results = []
    with pytest.raises(UserError) as raised:
        results.extend(results_of(double, ((number, 7) for number in range(20)), 2))
    message = str(raised.value)
    assert "image7.jpg" in message and message.count(".jpg") <= 2 and "JOBS=1" in message and "\n" not in message
    assert results == list(range(0, 2 * len(results), 2)) and len(results) <= 7
    assert list(results_of(double, ((number,) for number in range(4)), 2)) == [0, 2, 4, 6], "the next call has new workers"


PROGRAM = """
from common.errors import run
def work(number):
    import time
    time.sleep(SECONDS)
def main():
    from common.parallel import results_of
    print("started", flush=True)
    list(results_of(work, ((number,) for number in range(100)), 3))
run(main)
"""


@pytest.mark.parametrize("seconds", [0.01, 60])
@pytest.mark.parametrize("delay", [0.02, 0.3, 1.5])
def test_workers_end_with_a_killed_parent(seconds, delay):
    parent = begin("-c", PROGRAM.replace("SECONDS", str(seconds)), stdout=-1, stderr=-1)
    parent.stdout.readline()
    wait_until(lambda: len(children(parent.pid)) >= 2)
    time.sleep(delay)
    processes = children(parent.pid)
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(map(alive, processes)))
    parent.communicate(timeout=10)  # nobody else holds the pipes


@signals
@pytest.mark.parametrize("delay", [0, 0.02, 0.05, 0.1, 0.2, 0.3, 1])
def test_a_signal_to_the_group_is_one_line(number, code, line, delay):
    """As Ctrl-C in a terminal, which reaches the command and its workers."""
    parent = begin("-c", PROGRAM.replace("SECONDS", "0.2"), stdout=-1, stderr=-1, start_new_session=True)
    parent.stdout.readline()
    time.sleep(delay)
    os.killpg(parent.pid, number)
    output = parent.communicate(timeout=60)[1]
    assert parent.returncode == code and output.startswith(line) and output.count("\n") == 1, output


@signals
def test_held_signals_wait_also_if_another_thread_receives_them(number, code, line):
    """A process that starts must be given its work, or it ends with a traceback."""
    text = ("import os, threading, time\nfrom common.errors import run\nfrom common.interrupts import hold_signals\n"
            "def main():\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n    with hold_signals():\n"
            f"        os.kill(os.getpid(), {number:d})\n        time.sleep(0.3)\n        print('given', flush=True)\n"
            "    print('too late', flush=True)\nrun(main)")
    process = begin("-c", text, stdout=-1, stderr=-1)
    output, errors = process.communicate(timeout=60)
    assert (output, process.returncode) == ("given\n", code) and errors.startswith(line) and errors.count("\n") == 1, errors


def test_semaphores_left_behind_by_a_stop_print_no_warning():
    """A signal can arrive after a semaphore is removed and before the tracker is informed; CI once showed the warning."""
    text = ("from common.errors import run\ndef main():\n    from common.parallel import results_of\n"
            "    from joblib.externals.loky.backend import resource_tracker as loky\n"
            "    from multiprocessing import resource_tracker\n"
            "    assert list(results_of(abs, ((number,) for number in range(4)), 2)) == [0, 1, 2, 3]\n"
            "    loky.register('/loky-missing', 'semlock')\n    resource_tracker.register('/mp-missing', 'semaphore')\n"
            "    raise KeyboardInterrupt\nrun(main)")
    process = begin("-c", text, stderr=-1)
    output = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and output.startswith("interrupted: ") and output.count("\n") == 1, output


@signals
@pytest.mark.parametrize("module", ["evaluation.score", "models.predict", "data.check"])
def test_a_signal_in_the_first_moments_is_one_line(module, number, code, line):
    """While the modules are imported; before Python has reached our code, its own output is none of ours."""
    whole = command(module, "--help").stdout
    for delay in (0.06, 0.1, 0.15, 0.2, 0.3, 0.5):
        process = begin("-X", "importtime", "-m", module, "--help", stdout=-1, stderr=-1)
        for text in process.stderr:  # the list of imports, as they happen
            if "| common" in text:
                break
        time.sleep(delay)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        lines = [text for text in errors.splitlines() if not text.startswith("import time:")]
        finished = process.returncode == 0 and lines == [] and output == whole  # Python was ending
        assert finished or process.returncode == code and len(lines) == 1 \
            and lines[0].startswith(line), (delay, lines)


@pytest.mark.parametrize("body", ["class A:\n    def __del__(self): os.kill(os.getpid(), 2); time.sleep(0.5)\nA(); time.sleep(30)",
                                  "class A:\n    def __del__(self): self.missing\na = A()\nos.kill(os.getpid(), 2); time.sleep(30)"])
def test_a_signal_in_or_before_the_end_of_an_object_is_one_line(body):
    text = "import os, time\nfrom common.errors import run\ndef main():\n    " + body.replace("\n", "\n    ") + "\nrun(main)"
    parent = begin("-c", text, stderr=-1)
    output = parent.communicate(timeout=60)[1]
    assert parent.returncode == 130 and output.startswith("interrupted: ") and output.count("\n") == 1, output
