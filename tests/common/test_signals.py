"""Ctrl-C and SIGTERM in the first and last moments of `run`, while a folder is removed, and just before a training."""
from tests.common.test_parallel import signals
from tests.conftest import begin

PROGRAM = """
import os, shutil, sys, time
import common.errors
from common.errors import UserError, run

common.errors.RETRY_SECONDS = 2  # on a busy machine, 50 ms can pass between two lines

def send(kill=os.kill, process=os.getpid()):
    kill(process, {number})

class Sends:
    def __init__(self, file):
        self.file = file
    def __getattr__(self, name):
        return getattr(self.file, name)
    def {method}(self, *args, **kwargs):
        result = self.file.{method}(*args, **kwargs)
        send()
        return result

{body}
"""


def outcome(number, body, method="close"):
    """Run a program that can send a signal to itself; return its exit code, output and errors."""
    process = begin("-c", PROGRAM.format(number=int(number), method=method, body=body), stdout=-1, stderr=-1)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def stopped(number, code, line, body, method="close"):
    """Run such a program, which the signal must end with one line; return its output."""
    returned, output, errors = outcome(number, body, method)
    assert returned == code and errors.startswith(line) and errors.count("\n") == 1, (returned, errors)
    return output


@signals
def test_two_signals_during_imports_are_one_line(number, code, line):
    body = (f"import signal\nfrom common import exit_now\nsignal.signal({number:d}, exit_now)\n"
            "common.os = Sends(os)\nsend()\ntime.sleep(30)")
    assert stopped(number, code, line, body, "write") == ""


@signals
def test_a_signal_before_main_is_one_line(number, code, line):
    body = "sys.stdout = Sends(sys.stdout)\nrun(lambda: print('main'))"
    assert stopped(number, code, line, body, "reconfigure") == ""


@signals
def test_a_signal_while_an_error_is_reported_keeps_the_error(number, code, line):
    body = "def main(): raise UserError('a.png: is empty; copy it again')\nsys.stderr = Sends(sys.stderr)\nrun(main)"
    assert outcome(number, body, "write") == (1, "", "error: a.png: is empty; copy it again\n")


@signals
def test_a_signal_while_python_ends_changes_nothing(number, code, line):
    """Python has removed its handlers by then; a complete command must not look as if it had failed."""
    last = "class Last:\n    def __del__(self, send=send): send()\nlast = Last()\n"
    assert outcome(number, last + "run(lambda: print('done'))") == (0, "done\n", "")


@signals
def test_a_signal_after_sys_exit_keeps_its_code(number, code, line):
    """As after --help, whose text must not be lost either."""
    body = "import atexit\ndef main():\n    atexit.register(send)\n    print('usage')\n    sys.exit({})\nrun(main)"
    assert outcome(number, body.replace("{}", "0")) == (0, "usage\n", "")
    assert outcome(number, body.replace("{}", "2")) == (2, "usage\n", "")


@signals
def test_an_ignored_signal_stays_ignored(number, code, line):
    """As Ctrl-C for a command in the background of a script."""
    body = (f"import atexit, signal\nfrom common.interrupts import Interrupts\nsignal.signal({number:d}, signal.SIG_IGN)\n"
            "atexit.register(print, 'end', flush=True)\natexit.register(send)\n"
            "def main():\n    with Interrupts() as interrupts:\n        send()\n        interrupts.check()\n    send()\nrun(main)")
    assert outcome(number, body) == (0, "end\n", "")


@signals
def test_a_signal_deferred_until_after_the_end_does_not_end_python(tmp_path, number, code, line):
    """It arrives in an import, after which nothing is left to do; the end of Python takes longer than the deferral."""
    (tmp_path / "imported.py").write_text("from __main__ import send\nsend()\n")
    body = (f"sys.path.insert(0, {str(tmp_path)!r})\n"
            "class Slow:\n    def __del__(self, sleep=time.sleep): sleep(4)\nslow = Slow()\n"
            "def main():\n    import imported\n    print('done')\nrun(main)")
    assert outcome(number, body) == (0, "done\n", "")


@signals
def test_a_folder_that_is_being_removed_is_removed_before_a_signal_takes_effect(tmp_path, number, code, line):
    """An exception right after a folder is closed would let Python close it again: "Bad file descriptor"."""
    (tmp_path / "a/b").mkdir(parents=True)
    body = ("shutil.os = Sends(os)\n"
            f"def main():\n    shutil.rmtree({str(tmp_path / 'a')!r})\n    time.sleep(30)\nrun(main)")
    assert stopped(number, code, line, body) == ""
    assert not (tmp_path / "a").exists()


@signals
def test_a_deferred_signal_does_not_interrupt_an_update(tmp_path, number, code, line):
    """An update is complete or not started; the signal came while a folder was removed, just before the training."""
    (tmp_path / "a").mkdir()
    body = ("from common.interrupts import Interrupts\nshutil.os = Sends(os)\n"
            f"def main():\n    shutil.rmtree({str(tmp_path / 'a')!r})\n    with Interrupts() as interrupts:\n"
            "        time.sleep(4)\n        print('update', flush=True)\n        interrupts.check()\n"
            "        print('too late', flush=True)\nrun(main)")
    assert stopped(number, code, line, body) == "update\n"


@signals
def test_two_signals_in_an_update(number, code, line):
    """A second Ctrl-C is from a person who cannot wait; a second SIGTERM is one that `make` has sent on."""
    body = ("from common.interrupts import Interrupts\n"
            "def main():\n    with Interrupts() as interrupts:\n        send()\n        send()\n"
            "        print('update', flush=True)\n        interrupts.check()\nrun(main)")
    assert stopped(number, code, line, body) == ("update\n" if code == 143 else "")
