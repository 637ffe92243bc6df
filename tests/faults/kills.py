"""Signals to the commands at random moments: nothing is lost, and nobody is left behind.

A round runs a command, sends it signals at random moments one to four times, and runs it once more to the end. Its
files must equal those of a run without signals, bit by bit; each stop is one line, and all its processes have ended.
"""
import contextlib
import hashlib
import http.server
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from tests.conftest import REPOSITORY, USER_ENVIRONMENT

WAIT = 120  # seconds for a command to end after a signal
LINES = ("error: ", "interrupted: ", "stopped: ")
# of a killed process: a warning of Python's tracker of resources, which outlives it
IGNORED = ("resource_tracker", "warnings.warn(")
TRACKERS = ("resource_tracker",)
TIMES = ("seconds", "step_seconds")  # columns of log.csv
UNEQUAL = ("caffe.log", "torch.log")  # files that hold times or numbers of processes
PYTHON = "python"  # the signal met Python before it had read a line of ours, or after the last one
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
    from deep.prototxt import DEPLOY
    from deep.weights import net_shapes, write_caffemodel
    from evaluation import tables
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
            rows = [f"i{index}," + ",".join(f"{value:.3f}" for value in rng.random(5)) for index in range(16)]
            (folder / f"scores/{model}.csv").write_text("name,SIM,CC,AUC-shuffled,AUC-Borji,AUC-Judd\n" + "\n".join(rows) + "\n")
            write_json(folder / f"nets/{model}.json", {**NETS[model], "training": None})
            np.save(folder / f"nets/{model}.npy", rng.random((32, 5, 5, 3), np.float32))
    assert set(tables.MODELS) <= {path.stem for path in (folder / "scores").glob("*.json")}


def scenarios(source, url):
    """Return the commands by name, lists of arguments of Python in which {out} is the folder that they write to."""
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
        "fetch": ["-c", FETCH, cards, "{out}"],
        "train, deep net": ["-m", "deep.train", "--data", "{source}/deep", "--run", "{out}", "--iterations", "8",
                            "--set", "snapshot=2", "--set", "test_interval=4", "--set", "test_iter=1"],
        "train, shallow net": ["-m", "shallow.train", "--data", "{source}/shallow", "--run", "{out}", "--epochs", "3",
                               "--batch", "8", "--checkpoint-seconds", "0"],
    }


QUICK = ("prepare, shallow net", "score", "check", "predict, images", "predict, video", "tables", "fetch")  # the short form
TRAININGS = ("train, deep net", "train, shallow net")


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


def start(arguments):
    """Start Python in a session of its own, as a terminal does."""
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=REPOSITORY, text=True, env=USER_ENVIRONMENT,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def kill(process, kind, rng):
    """Send a signal; return the processes that must end with the command."""
    family = [child for child in descendants(process.pid)]
    workers = [child for child in family if command_line(child) and not any(text in command_line(child) for text in TRACKERS)]
    try:
        if kind == "kill worker":
            os.kill(rng.choice(workers) if workers else process.pid, KINDS[kind])
        elif kind in ("kill group", "terminate group", "Ctrl-C"):
            os.killpg(process.pid, KINDS[kind])
        else:
            os.kill(process.pid, KINDS[kind])
    except ProcessLookupError:
        pass
    return family


def fault_of_stop(process, kind, family, errors):
    """Return what was wrong with the end of a command after a signal, or None."""
    lines = [line for line in errors.splitlines() if line.strip() and not any(text in line for text in IGNORED)]
    if "Traceback" in errors:
        ours = any(f"{folder}/" in line for line in lines for folder in ("common", "data", "evaluation", "site-packages"))
        if ours or "frozen runpy" not in errors and "site.py" not in errors and "encodings" not in errors:
            return "traceback: " + " | ".join(lines[-12:])
        return PYTHON
    if process.returncode in (-signal.SIGINT, -signal.SIGTERM) and not any(line.startswith(LINES) for line in lines):
        return PYTHON
    if process.returncode not in (0, 1, 130, 143, -signal.SIGKILL):
        return f"exit code {process.returncode}: {' | '.join(lines[-3:])}"
    if process.returncode in (1, 130, 143) and not any(line.startswith(LINES) for line in lines):
        return f"no line: {' | '.join(lines[-3:])}"
    if process.returncode in (130, 143) and sum(line.startswith(LINES) for line in lines) > 1:
        return f"more than one line: {' | '.join(lines[-3:])}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        left = [child for child in family if command_line(child)]
        if not left:
            return None
        time.sleep(0.1)
    return f"left behind: {' | '.join(map(command_line, left))[:300]}"


def digest(folder):
    """Return the hashes of all files that a command wrote."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name in UNEQUAL:
            continue
        data = path.read_bytes()
        if path.name == "log.csv":
            header, *rows = (line.split(",") for line in data.decode().splitlines())
            columns = [place for place, name in enumerate(header) if name not in TIMES]
            data = repr([[row[place] for place in columns] for row in rows]).encode()
        hashes[path.relative_to(folder).as_posix()] = hashlib.md5(data).hexdigest()
    return hashes


def run_whole(arguments):
    """Run a command to its end; return its errors if it failed, and the seconds that it took."""
    started = time.monotonic()
    process = start(arguments)
    errors = process.communicate()[1]
    return errors[-1500:] if process.returncode else "", time.monotonic() - started


def campaign(folder, seed, count, names, report):
    """Send `count` signals; return the numbers of signals, of rounds, and of signals that met Python alone."""
    source, out = folder / "source", folder / "out"
    source.mkdir(parents=True)
    write_sources(source)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    commands = scenarios(source, f"http://127.0.0.1:{server.server_port}")
    for net in ("shallow", "deep") if set(names) & set(TRAININGS) else ():
        failure, _ = run_whole(["-m", f"{net}.prepare", "--dataset", "synthetic", "--limit", "30", "--out", source / net])
        assert not failure, failure
    references, totals, rng = {}, {"kills": 0, "rounds": 0, PYTHON: 0}, random.Random(seed)
    for name in names:
        arguments = [str(text).replace("{out}", str(out)).replace("{source}", str(source)) for text in commands[name]]
        shutil.rmtree(out, ignore_errors=True)
        failure, seconds = run_whole(arguments)
        assert not failure, f"{name}: {failure}"
        references[name] = arguments, digest(out), seconds
        print(f"{name}: {seconds:.1f} s, {len(references[name][1])} files", flush=True)
    while totals["kills"] < count:
        name = rng.choice(list(names))
        shutil.rmtree(out, ignore_errors=True)
        number = totals["rounds"]
        kinds = [rng.choice(list(KINDS)) for _ in range(min(rng.randint(1, 4), count - totals["kills"]))]
        for fault in _round(*references[name], out, kinds, rng):
            if fault == PYTHON:
                totals[PYTHON] += 1
            else:
                report(f"round {number}, {name}, {kinds}: {fault}; repeat with: python -m tests.faults kills --seed {seed}")
        totals["kills"] += len(kinds)
        totals["rounds"] += 1
        print(f"{totals['kills']} signals; round {number}: {name}: {', '.join(kinds)}", flush=True)
    server.shutdown()
    return totals


def _round(arguments, reference, seconds, out, kinds, rng):
    """Run a command with signals and then to the end; yield the faults."""
    for kind in kinds:
        process = start(arguments)
        errors = []
        reader = threading.Thread(target=lambda process=process, errors=errors: errors.append(process.stderr.read()))
        reader.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.05, 1.1) * seconds)
        family = kill(process, kind, rng)
        try:
            process.wait(WAIT)
        except subprocess.TimeoutExpired:
            yield f"does not end after {kind}"
            os.killpg(process.pid, signal.SIGKILL)
        reader.join(30)
        if reader.is_alive():
            yield f"its pipe is still open after {kind}"
        elif fault := fault_of_stop(process, kind, family, errors[0]):
            yield fault if fault == PYTHON else f"{kind}: {fault}"
    failure, _ = run_whole(arguments)
    if failure:
        yield f"the repeated command failed: {failure}"
    elif (result := digest(out)) != reference:
        differing = sorted(file for file in {*result, *reference} if result.get(file) != reference.get(file))
        yield f"differs from the run without signals: {', '.join(differing[:5])}"
