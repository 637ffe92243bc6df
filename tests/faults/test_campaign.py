"""The campaigns themselves: they repeat, and they see a traceback, a crash, a hang, and a process left behind."""
import os
import random
import signal
import time

import pytest

from common.errors import UserError
from tests.conftest import command
from tests.faults import inputs, kills


def test_a_seed_repeats_an_input_whole_files_are_read_and_garbage_is_not(tmp_path):
    inputs.write_originals(tmp_path)
    faults = []
    for reader in inputs.READERS:
        first = [inputs.make_input(tmp_path, reader, 1, number) for number in range(5)]
        assert first == [inputs.make_input(tmp_path, reader, 1, number) for number in range(5)]
        assert first != [inputs.make_input(tmp_path, reader, 2, number) for number in range(5)]
    (tmp_path / "copies").mkdir()
    inputs.check_expected(tmp_path, tmp_path / "copies", faults.append)
    assert faults == [], "\n".join(faults)


def test_a_reader_that_accepts_garbage_is_reported(tmp_path, monkeypatch):
    inputs.write_originals(tmp_path)
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(inputs, "READERS", {"broken": (["log.csv"], lambda path: None)})
    faults = []
    inputs.check_expected(tmp_path, tmp_path / "copies", faults.append)
    assert faults == [f"broken: log.csv, {change}: read, not line" for change in inputs.GARBAGE]


FAULTS = {"traceback": lambda path: 1 / 0, "crash": lambda path: os.kill(os.getpid(), signal.SIGSEGV),
          "hang": lambda path: time.sleep(60), "no remedy": lambda path: (_ for _ in ()).throw(UserError(f"{path}: a")),
          "no file": lambda path: exec("raise UserError('bad; copy it')", {"UserError": UserError})}
EXPECTED = {"traceback": "ZeroDivisionError", "crash": "crash of the process", "hang": "hang of more than 1 s",
            "no remedy": "not file: fault; remedy", "no file": "not file: fault; remedy"}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_reader_are_reported(tmp_path, monkeypatch, fault):
    originals, lines = tmp_path / "originals", []
    originals.mkdir()
    (originals / "a.csv").write_text("x,y\n1,2\n")
    monkeypatch.setitem(inputs.READERS, "broken", (["a.csv"], FAULTS[fault]))
    monkeypatch.setattr(inputs, "SECONDS", 1)
    counts = inputs.run_reader(originals, tmp_path, "broken", 1, 0, 2, lines.append)
    assert counts == {"read": 0, "line": 0, "failed": 2} and len(lines) == 2
    assert EXPECTED[fault] in lines[0] and "--reader 'broken' --seed 1 --first 0 --count 1" in lines[0]


def test_a_bad_stop_is_reported():
    def stop(code):
        process = kills.start(["-c", code])
        errors = process.communicate()[1]
        return kills.fault_of_stop(process, "kill", kills.descendants(process.pid), errors)

    assert stop("import sys; sys.exit('error: a: b; c')") is None
    assert stop("import sys; sys.exit('what')").startswith("no line")
    assert stop("from common import arrays; arrays.read_npy(1, 2, 3, 4)").startswith("traceback")
    assert stop("import os; os._exit(77)").startswith("exit code 77")


def test_a_lost_result_is_reported(tmp_path):
    code = "import sys, time, uuid; time.sleep(0.2); open(sys.argv[1], 'w').write(str(uuid.uuid4()))"
    arguments = ["-c", code, tmp_path / "out/file"]
    (tmp_path / "out").mkdir()
    assert kills.run_whole(arguments)[0] == ""
    faults = list(kills._round(arguments, kills.digest(tmp_path / "out"), 0.2, tmp_path / "out", ["kill"], random.Random(1)))
    assert faults == ["differs from the run without signals: file"]


def test_the_command_runs_both_campaigns():
    process = command("tests.faults", "all", "--seed", "5", "--inputs", "52", "--kills", "2", "--scenario", "tables")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "seed 5" in process.stdout and "52 damaged inputs" in process.stdout and "2 signals in" in process.stdout
