"""The campaigns themselves: they repeat, and they see a traceback, a crash, a hang, and a process left behind."""
import os
import random
import re
import signal
import sys
import time

import pytest

from common.errors import UserError
from tests.conftest import USER_ENVIRONMENT, begin, command
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
    def stop(code, ours=False, kind="kill worker"):
        process = kills.start([sys.executable, "-c", code])
        errors = process.communicate()[1]
        return kills.fault_of_stop(process, kind, {}, ours, errors)

    for ours in (True, False):
        assert stop("import sys; sys.exit('error: a: b; c')", ours) is None
        assert stop("import sys; sys.exit('error: a: b; c')", ours, "terminate").startswith("exit code 1 after terminate")
        assert stop("import sys; sys.exit('what')", ours).startswith("no line")
        assert stop("import os; os._exit(77)", ours).startswith("exit code 77")
        assert stop("import warnings, sys; warnings.warn('a'); sys.exit('error: a: b; c')", ours).startswith("a warning")
        assert stop("import sys; print('stopped: a\\nstopped: b', file=sys.stderr); sys.exit(143)", ours).startswith("more than one")
        for module, call in (("common.arrays", "check_size(5, 1)"), ("models.cards", "read_card(5)"),
                             ("deep.solver", "replacements(1, 2)"), ("shallow.settings", "resolve(1)"),
                             ("evaluation.formats", "to_markdown(1)"), ("data.dataset", "base_name(5)")):
            assert stop(f"from {module} import *; {call}", ours).startswith("traceback"), module
    silent = ("import os, signal; signal.signal(15, signal.SIG_DFL); os.kill(os.getpid(), 15)",
              "import os, signal; signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), 2)", "raise KeyboardInterrupt")
    assert [(stop(code, ours=True) or "").split(":")[0] for code in silent] == ["ended without a line"] * 2 + ["traceback"]
    assert [stop(code) for code in silent] == [kills.PYTHON] * 3


@pytest.mark.parametrize("recipe, kind, expected", [
    ("@kill -KILL $$$$", "kill worker", (None, None)), ("@kill -TERM $$$$", "terminate", (None, "no line")),
    ("@kill -INT $$$$", "Ctrl-C", (None, "no line")), ("@kill -INT $$PPID; sleep 0.3", "Ctrl-C", (kills.PYTHON, None)),
    ("@kill -INT $$PPID; sleep 0.3; exit 130", "Ctrl-C", (kills.PYTHON, "no line")), ("@echo 'stopped: a; b' >&2; exit 143", "terminate", (None, None)),
    ("@echo 'error: a: b; c' >&2; exit 1", "kill worker", (None, None)),
    ("@echo 'error: a: b; c' >&2; exit 1", "terminate", ("exit code 1 after terminate",) * 2),
    (None, "terminate", ("no line",) * 2)])
def test_only_the_lines_of_make_about_signals_count(tmp_path, recipe, kind, expected):
    (tmp_path / "Makefile").write_text(f"a:\n\t{recipe}\n" if recipe else "a: b\n")  # else: no rule to make b
    process = kills.start(["make", "-C", tmp_path])
    errors = process.communicate()[1]
    faults = [kills.fault_of_stop(process, kind, {}, ours, errors) for ours in (False, True)]
    assert tuple(fault and fault.partition(":")[0] for fault in faults) == expected, errors


def test_only_the_measured_rows_of_tables_are_not_compared():
    page = '<table><tr class="measured"><td>{}</td></tr><tr class="counted"><td>measured {}</td></tr></table>'
    assert kills.without_memory(page.format(1, 2)) == kills.without_memory(page.format(3, 2))
    assert kills.without_memory(page.format(1, 2)) != kills.without_memory(page.format(1, 3))
    for row in ("| a | measured | {} |", "a,measured,{}", "a & measured & {}"):
        assert kills.without_memory(f"b\n{row.format(1)}") == kills.without_memory(f"b\n{row.format(2)}")
        assert kills.without_memory(f"b\n{row.format(1)}") != kills.without_memory(f"c\n{row.format(1)}")


def test_a_command_that_fails_without_a_signal_is_reported(tmp_path):
    scenario = kills.Scenario([sys.executable, "-c", "raise SystemExit('error: a: b; c')"], lambda: None, {}, 60)
    faults = list(kills._round(scenario, tmp_path, ["kill"], random.Random(1)))
    assert faults == ["failed without a signal: error: a: b; c\n", "the repeated command failed: error: a: b; c\n"]


def test_a_process_that_has_read_our_first_module_is_recognised():
    for module, expected in (("json", False), ("common", True)):
        process = kills.start([sys.executable, "-c", f"import sys; sys.argv = ['-m']; import {module}, time; "
                               "print(file=sys.stderr); time.sleep(60)"])
        process.stderr.readline()
        family, ours = kills.kill(process, "kill", random.Random(1))
        process.communicate()
        assert ours == expected and family == {}


def test_a_process_that_is_left_behind_is_reported(monkeypatch):
    monkeypatch.setattr(kills.time, "monotonic", iter(range(0, 9999, 15)).__next__)
    code = ("import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'], "
            "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(file=sys.stderr); child.wait()")
    process = kills.start([sys.executable, "-c", code])
    process.stderr.readline()
    family, _ = kills.kill(process, "kill", random.Random(1))
    process.communicate()
    assert kills.fault_of_stop(process, "kill", family, True, "").startswith("left behind: ") and len(family) == 1
    os.kill(*family, signal.SIGKILL)


def test_the_stacks_of_a_command_that_hangs_are_reported():
    code = "import sys, time\ndef waits_for_ever():\n    print(file=sys.stderr)\n    time.sleep(60)\nwaits_for_ever()"
    process = kills.start([sys.executable, "-c", code])
    process.stderr.readline()
    kills.stacks(process)
    assert "in waits_for_ever" in process.communicate()[1]


def test_a_lost_result_is_reported(tmp_path):
    code = ("import pathlib, sys, time, uuid; time.sleep(0.2); folder = pathlib.Path(sys.argv[1]); "
            "folder.mkdir(exist_ok=True); (folder / 'file').write_text(str(uuid.uuid4()))")
    out = tmp_path / "out"
    scenario = kills.run_scenario("write", tmp_path, out, {"write": [sys.executable, "-c", code, "{out}"]})
    faults = list(kills._round(scenario, out, ["kill"], random.Random(1)))
    assert faults == [kills.PYTHON, "differs from the run without signals: file"][-len(faults):]
    scenario.seconds = 60
    (out / "file").unlink()
    assert list(kills._round(scenario, out, ["kill"], random.Random(1)))[0] == kills.LATE and scenario.seconds < 60


def test_a_round_can_be_repeated_alone(tmp_path, capsys):
    def rounds(folder, *options):
        faults = []
        kills.campaign(tmp_path / folder, 7, *options[:2], faults.append, *options[2:])
        assert faults == []
        return [line.partition("; ")[2] for line in capsys.readouterr().out.splitlines() if "signals; round" in line]

    last = rounds("all", 5, ("tables", "check"))[-1]
    number, name, signals = re.match(r"round (\d+): (\w+): (.*)", last).groups()
    assert rounds("alone", signals.count(",") + 1, (name,), int(number))[0] == last  # others follow if a signal was late


def test_the_command_runs_both_campaigns():
    process = command("tests.faults", "all", "--seed", "5", "--inputs", "52", "--kills", "2", "--scenario", "tables")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "seed 5" in process.stdout and "52 damaged inputs" in process.stdout and "2 signals in" in process.stdout


def test_an_interrupted_campaign_leaves_neither_files_nor_commands(tmp_path, monkeypatch):
    monkeypatch.setitem(USER_ENVIRONMENT, "TMPDIR", str(tmp_path))
    process = begin("-m", "tests.faults", "kills", "--scenario", "score", stdout=-1, stderr=-1)
    deadline = time.monotonic() + 60
    while not (family := [child for child in kills.descendants(process.pid) if "evaluation.score" in kills.command_line(child)]):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and errors.startswith("interrupted: ") and errors.count("\n") == 1, errors
    assert list(tmp_path.iterdir()) == [] and not any(map(kills.command_line, family))
