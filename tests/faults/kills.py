"""Signals to the commands at random moments: nothing is lost, and nobody is left behind.

A round runs a command, sends it signals at random moments one to four times, and runs it once more to the end. Its
files must equal those of a run without signals, bit by bit; each stop is one line, and all its processes have ended.
Between the runs of a round, the dates of its files and the time zone can change. Not compared: caffe.log and torch.log
(dates, numbers of processes), the columns of log.csv with seconds, memory that was measured, and caches of libraries.

A signal can meet Python before it has read our first module: then Python's own default holds, a silent end or its
traceback. These are counted apart. Python has read our first module if it catches SIGTERM, which `common` alone sets;
/proc shows this at the moment of the signal. While Python ends, signals are ignored, which looks the same in /proc: an end
without a line would not be found here then, but in tests/common/test_signals.py.
"""
import contextlib
import hashlib
import http.server
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.conftest import REPOSITORY, USER_ENVIRONMENT, tracked_files

WAIT = 120  # seconds for a command to end after a signal
LINES = ("error: ", "interrupted: ", "stopped: ")
TRACKERS = ("resource_tracker",)
WARNINGS = re.compile(r"resource_tracker|[a-z]Warning: ")  # in a line that a library wrote
TIMES = ("seconds", "step_seconds")  # columns of log.csv
UNEQUAL = ("caffe.log", "torch.log")  # files that hold times or numbers of processes
LIBRARIES = ("env", "caffe", "theano", "matplotlib", "logs")  # in build/: not written by the steps of make, or caches
# make's line about a recipe that a signal ended; the shell of the recipe turns signals into 128 + their number
MAKES_SIGNAL = re.compile(r"^make(?:\[\d+\])?: \*\*\* .*\] (Terminated|Interrupt|Killed|Error (?:130|137|143))$", re.MULTILINE)
MAKES_ERROR = re.compile(r"^make(?:\[\d+\])?: \*\*\* .*\] Error 1$", re.MULTILINE)
LATE = "late"  # the command had ended before the signal, which is not counted
PYTHON = "python"  # the signal met Python before it had read our first module
FOLDERS = ("common", "data", "deep", "evaluation", "models", "shallow")
FIRST = [f"{folder}/__init__.py" for folder in FOLDERS]  # files that Python reads before SIGTERM is caught
DATES = {"1970": 0, "before 1970": -86400 * 365, "2100": 4102444800}  # seconds since 1970
ZONES = ("Pacific/Kiritimati", "Asia/Kathmandu", "America/St_Johns", "none/such", ":", "XXX-25:61:61")
CLOCKS = (*[None] * 4, *DATES, *ZONES)
MAKE = "make reproduce-tables"
KINDS = {"kill": signal.SIGKILL, "kill worker": signal.SIGKILL, "kill group": signal.SIGKILL, "terminate": signal.SIGTERM,
         "terminate group": signal.SIGTERM, "Ctrl-C": signal.SIGINT}
FETCH = ("import signal, sys; from common import exit_now\n"
         "signal.signal(signal.SIGINT, exit_now); signal.signal(signal.SIGTERM, exit_now)\n"
         "from pathlib import Path; from common.errors import run; from models import cards, fetch\n"
         "cards.FOLDER = Path(sys.argv[1])\nrun(lambda: fetch.fetch('toy', out=sys.argv[2], wait=0.01) is None)")


# ---- Scenarios --------------------------------------------------------------------------------------------------------

class SlowHandler(http.server.BaseHTTPRequestHandler):
    """Serve 3 MB slowly, with ranges, so that signals meet a download."""

    data = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(self.data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        self.end_headers()
        try:
            for place in range(start, len(self.data), 1 << 18):
                self.wfile.write(self.data[place:place + (1 << 18)])
                time.sleep(0.05)
        except OSError:
            pass  # the client was killed

    def log_message(self, *_):
        pass


def write_sources(folder):
    """Write what the scenarios read: a small data set, an image, a video, weights, scores."""
    import cv2

    from common.files import write_json
    from common.images import write_png
    from data.maps import write_maps
    from deep.prototxt import DEPLOY
    from deep.weights import net_shapes, write_caffemodel
    from evaluation import tables
    from tests.evaluation.test_figures import LAYERS, write_log
    from tests.evaluation.test_tables import NETS, fake_scores

    rng = np.random.default_rng(0)
    for index in range(16):
        write_png(folder / f"data/images/i{index:02d}.png", rng.integers(0, 256, (96, 128, 3), np.uint8))
        rows = [f"{observer},{x},{y}" for observer in range(3) for x, y in rng.integers(0, 96, (6, 2))]
        (folder / "data/fixations").mkdir(exist_ok=True)
        (folder / f"data/fixations/i{index:02d}.csv").write_text("observer,x,y\n" + "\n".join(rows) + "\n")
    video = cv2.VideoWriter(str(folder / "film.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (128, 96))
    for _ in range(20):
        video.write(rng.integers(0, 256, (96, 128, 3), np.uint8))
    video.release()
    arrays = {name: tuple(0.02 * rng.standard_normal(shape).astype(np.float32) for shape in shapes)
              for name, shapes in net_shapes(DEPLOY).items()}
    write_caffemodel(folder / "net.caffemodel", arrays)
    for model, score in fake_scores().items():
        write_json(folder / f"scores/{model}.json", score)
        if model in ("shallow", "deep"):
            rows = [f"i{index:02d}," + ",".join(f"{value:.3f}" for value in rng.random(5)) for index in range(16)]
            (folder / f"scores/{model}.csv").write_text("name,SIM,CC,AUC-shuffled,AUC-Borji,AUC-Judd\n" + "\n".join(rows) + "\n")
            layers = [asdict(layer) for layer in LAYERS]
            write_json(folder / f"nets/{model}.json", {**NETS[model], "training": None, "layers": layers})
            np.save(folder / f"nets/{model}.npy", rng.random((32, 5, 5, 3), np.float32))
            write_log(folder / f"runs/{model}", model, 40)
            (folder / f"maps/{model}").mkdir(parents=True)
            with write_maps(folder / f"maps/{model}/predictions.h5", model) as store:
                for index in range(16):
                    store(f"i{index:02d}", rng.random((96, 128), np.float32))
    assert set(tables.MODELS) <= {path.stem for path in (folder / "scores").glob("*.json")}


def write_shallow_weights(path):
    """Write weights of the shallow net, as its training does."""
    from shallow import network, weights
    from shallow.settings import architecture

    settings = {"conv3_filters": 64}
    parameters = network.named_parameters(network.build(**architecture(settings)))
    weights.save(path, {name: value.get_value() for name, value in parameters.items()}, settings)


def scenarios(source, url):
    """Return the commands by name: program and arguments, in which {out} is the folder that they write to."""
    commands = {name: [sys.executable, *arguments] for name, arguments in _python_scenarios(source, url).items()}
    # -o: never set up the environments again, which are those of this repository
    commands[MAKE] = ["make", "-C", "{out}", "-o", "build/env/.ready", "-o", "build/caffe/.ready", "reproduce-tables",
                      "DATASET=folder+sigma=9", f"DATA_ROOT={source / 'few'}"]
    return commands


def _python_scenarios(source, url):
    data = ("--dataset", "folder+sigma=9", "--data-root", source / "data")
    cards = source / "cards"
    cards.mkdir(exist_ok=True)
    blob = hashlib.sha1(f"blob {len(SlowHandler.data)}\0".encode() + SlowHandler.data).hexdigest()
    (cards / "toy.md").write_text(f'+++\ntitle = "toy"\nnet = "deep"\nfile = "net.bin"\nurls = ["{url}/a"]\nsize = "3 MB"\n'
                                  f'licence = "none"\ninput = "a"\nscored = "a"\ngit_blob = "{blob}"\n+++\nA toy.\n')
    predict = ("-m", "models.predict", "--net", "deep", "--weights", source / "net.caffemodel")
    return {
        "prepare, shallow net": ["-m", "shallow.prepare", "--dataset", "synthetic", "--limit", "100", "--out", "{out}/p"],
        "prepare, deep net": ["-m", "deep.prepare", "--dataset", "synthetic", "--limit", "60", "--out", "{out}/p"],
        "score": ["-m", "evaluation.score", "--baseline", "gbvs", *data, "--split", "all", "--prior", "{out}/prior.npz",
                  "--out", "{out}/gbvs"],
        "check": ["-m", "data.check", *data, "--out", "{out}"],
        "predict, images": [*predict, "--images", source / "data/images", "--out", "{out}"],
        "predict, video": [*predict, "--images", source / "film.mp4", "--out", "{out}"],
        "tables": ["-m", "evaluation.tables", "--scores", source / "scores", "--nets", source / "nets", "--name", "a",
                   "--out", "{out}"],
        "figures": ["-m", "evaluation.figures", *data, "--split", "all", "--predictions", source / "maps", "--scores",
                    source / "scores", "--runs-shallow", source / "runs/shallow", "--runs-deep", source / "runs/deep",
                    "--filters", source / "nets", "--out", "{out}"],
        "fetch": ["-c", FETCH, cards, "{out}"],
        "convert": ["-m", "models.convert", "--net", "shallow", "--weights", "{source}/shallow-weights.npz", "--to", "caffe",
                    "--out", "{out}"],
        "train, deep net": ["-m", "deep.train", "--data", "{source}/deep", "--run", "{out}", "--iterations", "8",
                            "--set", "snapshot=2", "--set", "test_interval=4", "--set", "test_iter=1"],
        "train, shallow net": ["-m", "shallow.train", "--data", "{source}/shallow", "--run", "{out}", "--epochs", "3",
                               "--batch", "8", "--checkpoint-seconds", "0"],
    }


# the short form
QUICK = ("prepare, shallow net", "score", "check", "predict, images", "predict, video", "tables", "figures", "fetch")
TRAININGS = ("train, deep net", "train, shallow net")
LONG = (*QUICK, "prepare, deep net", "convert", *TRAININGS, MAKE)
UPDATES_LEFT = 5  # updates or iterations of the trainings of MAKE in each round; those before are done once


def write_checkout(folder, source):
    """Write a checkout in which both trainings are a few updates before their end, as after a stop by SIGTERM.

    `make reproduce-tables` then prepares the data, ends both trainings, predicts, scores, draws and writes the tables.
    """
    from deep.solver import DEMO_SOLVER
    from shallow.settings import PRESETS

    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, folder / name)
        shutil.copymode(REPOSITORY / name, folder / name)
        os.utime(folder / name, (0, 0))  # older than all that is made, whatever date that is given later
    (folder / "build").mkdir()
    for name in ("env", "caffe"):
        (folder / "build" / name).symlink_to((REPOSITORY / "build" / name).resolve())
    data = ("--dataset", "folder+sigma=9", "--data-root", source / "few")
    files = ("--solver", "deep/solver.prototxt", "--train-val", "deep/train_val.prototxt")  # as the Makefile gives them
    for net, updates, extra in (("shallow", PRESETS["demo"]["updates"], ()), ("deep", DEMO_SOLVER["max_iter"], files)):
        prepared, run = f"build/data/folder-sigma-9-demo-{net}", f"build/runs/folder-sigma-9-demo-{net}"
        preset = ("--preset", "demo") if net == "deep" else ()
        failure, _ = run_whole([sys.executable, "-m", f"{net}.prepare", *data, *preset, "--out", prepared], folder)
        assert not failure, failure
        process = start([sys.executable, "-m", f"{net}.train", "--data", f"{prepared}/", "--run", run, "--preset", "demo",
                         *extra], folder)
        log = folder / run / "log.csv"
        while process.poll() is None and not (log.is_file() and log.read_text().count("\n") > updates - UPDATES_LEFT):
            time.sleep(0.05)
        process.terminate()
        errors = process.communicate()[1]
        assert process.returncode == 143, errors
        shutil.rmtree(folder / "build/data")


# ---- Runs and signals -------------------------------------------------------------------------------------------------

def descendants(process):
    """Return the processes that a process has started, and that those have started."""
    parents = {}
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", errors="replace") as file:
                parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {process}
    while more := {child for child, parent in parents.items() if parent in family and child not in family}:
        family |= more
    return sorted(family - {process})


def command_line(process):
    """Return the command line of a process, "" if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def catches(process, number=signal.SIGTERM):
    """Return True if a process catches a signal."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return False
    mask = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")), 0)
    return bool(mask >> (number - 1) & 1)


def start(arguments, folder=REPOSITORY, zone=None):
    """Start a command in a session of its own, as a terminal does."""
    environment = {**USER_ENVIRONMENT, "PYTHONFAULTHANDLER": "1", **({"TZ": zone} if zone else {})}
    environment.pop("MAKEFLAGS", None)  # holds SEED and LONG of `make test-faults`, which are not for another `make`
    return subprocess.Popen([*map(str, arguments)], cwd=folder, text=True, env=environment, errors="replace",
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def end_commands():
    """End all processes that this one has started, for a campaign that is itself interrupted."""
    for child in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def kill(process, kind, rng):
    """Send a signal; return the processes that must end with the command, and whether it had read our first module."""
    family = {child: command_line(child) for child in descendants(process.pid)}
    workers = [child for child, line in family.items() if line and not any(text in line for text in TRACKERS)]
    group = kind in ("kill group", "terminate group", "Ctrl-C")
    target = rng.choice(workers) if kind == "kill worker" and workers else process.pid
    ours = any(map(catches, family if process.args[0] == "make" else [process.pid]))
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(target, KINDS[kind])
    return family, ours


def stacks(process):
    """Abort a command that hangs, with all its processes; the Python stacks are the last lines of its errors."""
    for child in (*descendants(process.pid), process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGABRT)
            time.sleep(0.3)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def is_ours(line):
    """Return True if a line of a traceback names a file of ours, apart from those that Python reads first."""
    match = re.search(r'File "([^"]+)"', line)
    return bool(match) and any(f"/{folder}/" in match[1] for folder in FOLDERS) and not match[1].endswith(tuple(FIRST))


def fault_of_stop(process, kind, family, ours, errors):
    """Return what was wrong with the end of a command after a signal, PYTHON if it met Python alone, or None.

    Parameters
    ----------
    process : subprocess.Popen, ended
    kind : str, a key of KINDS
    family : dict of int: str
        The processes that the command had started, and their command lines.
    ours : bool
        The command had read our first module.
    errors : str
        What it wrote to stderr.
    """
    make = process.args[0] == "make"
    lines = [line for line in errors.splitlines() if line.strip() and not (make and line.startswith(("make: ", "make[")))]
    signals = set(MAKES_SIGNAL.findall(errors)) if make else set()
    stated = sum(line.startswith(LINES) for line in lines) or int(bool(signals & {"Killed", "Error 137"}))
    silent = -signal.SIGINT, -signal.SIGTERM
    if "Traceback" in errors or "Fatal Python error" in errors:
        if ours or any(map(is_ours, lines)):
            return "traceback: " + " | ".join(lines[-12:])
        return PYTHON
    if process.returncode in silent and not stated and not (make and ours):
        return "ended without a line" if ours else PYTHON
    if (process.returncode == 1 or make and MAKES_ERROR.search(errors)) and kind != "kill worker":
        return f"exit code 1 after {kind}: {' | '.join(lines[-3:])}"
    if process.returncode not in (0, 1, 130, 143, -signal.SIGKILL, *((2, *silent) if make else ())):
        return f"exit code {process.returncode}: {' | '.join(lines[-3:])}"
    # make reports each command that fails: without a report, the command had ended with code 0 and had no line to write
    quiet = make and (not ours and (signals or process.returncode in silent)
                      or process.returncode in silent and "***" not in errors)
    if process.returncode in (1, 130, 143, 2, *silent) and not stated and not quiet:
        return f"no line: {' | '.join(errors.splitlines()[-4:])}"
    if process.returncode in (130, 143, 2, *silent) and stated > 1:
        return f"more than one line: {' | '.join(lines[-3:])}"
    if any(map(WARNINGS.search, lines)):
        return f"a warning of Python: {' | '.join(lines[-3:])}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        left = [line for child, line in family.items() if line and command_line(child) == line]
        if not left:
            return None
        time.sleep(0.1)
    return f"left behind: {' | '.join(left)[:300]}"


def digest(folder):
    """Return the hashes of all files that a command wrote; of a checkout, those of build/ that `make` wrote."""
    hashes, build = {}, folder / "build"
    for path in sorted((build if build.is_dir() else folder).rglob("*")):
        if path.is_dir() or path.name in UNEQUAL or build.is_dir() and path.relative_to(build).parts[0] in LIBRARIES:
            continue
        data = path.read_bytes()
        if path.name == "log.csv":
            header, *rows = (line.split(",") for line in data.decode().splitlines())
            columns = [place for place, name in enumerate(header) if name not in TIMES]
            data = repr([[row[place] for place in columns] for row in rows]).encode()
        if build.is_dir() and path.suffix != ".npy" and path.relative_to(build).parts[0] in ("nets", "tables"):
            data = without_memory(data.decode())
        hashes[path.relative_to(folder).as_posix()] = hashlib.md5(data).hexdigest()
    return hashes


def without_memory(text):
    """Return the bytes of a summary or a table without the measured memory of processes, which differs each time."""
    with contextlib.suppress(ValueError):
        content = json.loads(text)
        content.pop("measured", None)
        for table in content.get("tables", []):
            table["rows"] = [row for row in table["rows"] if row["line"] != "measured"]
        return json.dumps(content).encode()
    if "</tr>" in text:  # a line of index.html can hold a whole table
        return re.sub(r'<tr class="measured">.*?</tr>', "", text, flags=re.DOTALL).encode()
    return "\n".join(line for line in text.splitlines() if "measured" not in line).encode()


def set_dates(folder, seconds):
    """Set the dates of all files and folders, links and what they lead to excluded."""
    for path in folder.rglob("*"):
        if not any(part.is_symlink() for part in (path, *path.parents)):
            os.utime(path, (seconds, seconds))


def run_whole(arguments, folder=REPOSITORY, zone=None):
    """Run a command to its end; return its errors if it failed, and the seconds that it took."""
    started = time.monotonic()
    process = start(arguments, folder, zone)
    errors = process.communicate()[1]
    return errors[-1500:] if process.returncode else "", time.monotonic() - started


@dataclass
class Scenario:
    """A command, its result without signals, and the seconds that it takes at most."""

    arguments: list
    begin: object  # callable without arguments: write what `out` holds before the command
    result: dict
    seconds: float


def run_scenario(name, source, out, commands):
    """Run a command without signals, and return the Scenario."""
    arguments = [str(text).replace("{out}", str(out)).replace("{source}", str(source)) for text in commands[name]]

    def begin():
        shutil.rmtree(out, ignore_errors=True)
        if name == MAKE:
            shutil.copytree(source / "checkout", out, symlinks=True)

    begin()
    failure, seconds = run_whole(arguments)
    assert not failure, f"{name}: {failure}"
    print(f"{name}: {seconds:.1f} s, {len(digest(out))} files", flush=True)
    return Scenario(arguments, begin, digest(out), seconds)


def write_more_sources(source, out, names):
    """Write what only the long form needs; `out` is the folder of the commands."""
    for net in ("shallow", "deep") if set(names) & set(TRAININGS) else ():
        failure, _ = run_whole([sys.executable, "-m", f"{net}.prepare", "--dataset", "synthetic", "--limit", "30", "--out",
                                source / net])
        assert not failure, failure
    if "convert" in names:
        write_shallow_weights(source / "shallow-weights.npz")
    if MAKE in names:
        for part, suffix in (("images", ".png"), ("fixations", ".csv")):
            (source / "few" / part).mkdir(parents=True)
            for index in range(12):
                shutil.copy(source / f"data/{part}/i{index:02d}{suffix}", source / "few" / part)
        write_checkout(out, source)
        shutil.move(out, source / "checkout")  # each round copies it back: its files name this path


def campaign(folder, seed, count, names, report, first=0):
    """Send `count` signals to running commands; return the numbers of signals, rounds, and signals to Python alone.

    The seed and the number of a round determine its command, the kinds of its signals and their moments.
    """
    source, out = folder / "source", folder / "out"
    source.mkdir(parents=True)
    write_sources(source)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    commands = scenarios(source, f"http://127.0.0.1:{server.server_port}")
    write_more_sources(source, out, names)
    whole = {name: run_scenario(name, source, out, commands) for name in names}
    totals = {"kills": 0, "rounds": 0, PYTHON: 0}
    while totals["kills"] < count:
        number = first + totals["rounds"]
        name = random.Random(f"{seed} {number} command").choice(list(names))
        rng = random.Random(f"{seed} {number}")
        clock = rng.choice(CLOCKS)
        kinds = [rng.choice(list(KINDS)) for _ in range(rng.randint(1, 4))][:count - totals["kills"]]
        if name == MAKE:  # GNU make itself leaves its command behind if it is killed alone
            kinds = ["kill group" if kind == "kill" else kind for kind in kinds]
        late = 0
        for fault in _round(whole[name], out, kinds, rng, clock):
            if fault == PYTHON:
                totals[PYTHON] += 1
            elif fault == LATE:
                late += 1
            else:
                report(f"round {number}, {name}, {kinds}, {clock}: {fault}; repeat with: python -m tests.faults kills "
                       f"--seed {seed} --first {number} --kills {len(kinds)} --scenario '{name}'")
        totals["kills"] += len(kinds) - late
        totals["rounds"] += 1
        print(f"{totals['kills']} signals; round {number}: {name}: {', '.join(kinds)}{f' ({clock})' if clock else ''}",
              flush=True)
    server.shutdown()
    return totals


def _stop(process, kind, rng, reader, errors):
    """Send a signal to a command and wait for its end; yield the faults."""
    family, ours = kill(process, kind, rng)
    try:
        process.wait(WAIT)
    except subprocess.TimeoutExpired:
        stacks(process)
        reader.join(30)
        yield f"does not end after {kind}: {' | '.join(''.join(errors).splitlines()[-80:])}"
    reader.join(30)
    if reader.is_alive():
        yield f"its pipe is still open after {kind}"
    elif fault := fault_of_stop(process, kind, family, ours, errors[0]):
        yield fault if fault == PYTHON else f"{kind}: {fault}"


def _round(scenario, out, kinds, rng, clock=None):
    """Run a command with signals and then to the end; yield the faults."""
    scenario.begin()
    zone = clock if clock in ZONES else None
    for kind in kinds:
        process, started, errors = start(scenario.arguments, zone=zone), time.monotonic(), []
        reader = threading.Thread(target=lambda process=process, errors=errors: errors.append(process.stderr.read()))
        reader.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.05, 1.1) * scenario.seconds)
        if process.poll() is not None:
            scenario.seconds = min(scenario.seconds, time.monotonic() - started)  # the machine has less to do now
            reader.join(30)
            yield f"failed without a signal: {''.join(errors)[-300:]}" if process.returncode else LATE
        else:  # the number of an ended command could belong to another process
            yield from _stop(process, kind, rng, reader, errors)
        if clock in DATES and out.is_dir():
            set_dates(out / "build" if (out / "build").is_dir() else out, DATES[clock])
    failure, _ = run_whole(scenario.arguments, zone=zone)
    if failure:
        yield f"the repeated command failed: {failure}"
    elif (result := digest(out)) != scenario.result:
        differing = sorted(file for file in {*result, *scenario.result} if result.get(file) != scenario.result.get(file))
        yield f"differs from the run without signals: {', '.join(differing[:5])}"
