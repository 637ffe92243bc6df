"""A run folder: the settings and versions of a training run, its log, and what its weights need to predict.

    config.json    net, settings (every one, resolved), predict (what a Predictor has to know), versions
    log.csv        one row a step or epoch
    ...            checkpoints and the final weights, written by the net's own train.py
"""
import contextlib
import csv
import fcntl
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from common.errors import UserError, os_error_message
from common.files import read_json, write_json, write_text
from common.machine import load_blas

PACKAGES = ("numpy", "scipy", "h5py", "opencv-python-headless", "Theano", "Lasagne", "protobuf")


def add_arguments(parser):
    """Give a command line of training --resume and --restart, of which at most one may be said."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true",
                     help="go on with the run in the folder, an error if there is none; without it the command goes on "
                          "or begins, whichever it finds")
    how.add_argument("--restart", action="store_true", help="discard what an interrupted run left")


@contextlib.contextmanager
def lock_folder(folder):
    """Keep a folder to this process: two that train or prepare in one would destroy each other's work.

    The lock is the system's and goes with the process, however that ends.

    Raises
    ------
    UserError
        Another process works there.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{folder}: another process is at work in it; wait for its end, or give another folder") \
            from error
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)


def start(folder, net, settings, predict, files, versions=None, restart=False, resume=False):
    """Make a run folder, or recognise the one that an interrupted run with the same settings left.

    Parameters
    ----------
    folder : path
    net : str, "shallow" or "deep"
    settings : dict
        Everything that shapes the weights; must be equal for a run to continue.
    predict : dict
        Keyword arguments of the net's Predictor that belong to these weights.
    files : collection of str
        Names of the files and folders that a run of this net writes into the folder, besides config.json and log.csv.
    versions : dict or None
        Versions that `collect_versions` does not know.
    restart : bool
        Remove `files`, config.json and log.csv first; nothing else that is in the folder.
    resume : bool
        There must be a run already.

    Raises
    ------
    UserError
        The folder holds a run with other settings, or none to resume.
    """
    folder = Path(folder)
    path = folder / "config.json"
    if restart:
        _clear(folder, files)
    if path.is_file():
        config = read_json(path)
        before = config.get("settings", {})
        changed = [f"{key} {before.get(key)!r} -> {settings.get(key)!r}"
                   for key in sorted({*before, *settings}) if before.get(key) != settings.get(key)]
        if changed:
            raise UserError(f"{folder}: holds a run with other settings ({'; '.join(changed)}); "
                            "delete it, or give --restart, or another folder")
        _warn_of_other_blas(folder, config)
        return
    if resume:
        raise UserError(f"{folder}: holds no run to resume (no config.json); leave --resume out to begin one")
    write_json(path, {"net": net, "settings": settings, "predict": predict,
                      "versions": {**collect_versions(), **(versions or {})}})


def _warn_of_other_blas(folder, config):
    """Print a warning if a run is resumed with other BLAS kernels or threads: its sums are then rounded differently."""
    before, now = config.get("versions", {}).get("blas"), load_blas()
    if before and before != now:
        print(f"warning: {folder}: was begun with {before} and is resumed with {now}: the weights will differ in "
              "rounding from those of an uninterrupted run; to avoid it, set OPENBLAS_CORETYPE and "
              "OPENBLAS_NUM_THREADS as before",
              file=sys.stderr)


def prepared_data(folder, net):
    """Read the manifest of prepared data, without the fingerprint of the source files, which does not shape weights.

    Parameters
    ----------
    folder : path
    net : str, "shallow" or "deep"

    Returns
    -------
    dict

    Raises
    ------
    UserError
        There is no manifest, it is damaged, or the data were prepared for the other net.
    """
    manifest = read_json(Path(folder) / "manifest.json")
    if manifest.get("net") != net:
        raise UserError(f"{folder}: holds no training data of the {net} net; give the folder that `make data` or "
                        f"`python -m {net}.prepare` wrote as --data")
    return {key: value for key, value in manifest.items() if key != "fingerprint"}


def read_config(weights, net):
    """The config.json beside a file of weights.

    Returns
    -------
    dict
        Empty if there is none, as for weights that were made elsewhere.

    Raises
    ------
    UserError
        It belongs to the other net.
    """
    path = Path(weights).parent / "config.json"
    if not path.is_file():
        return {}
    config = read_json(path)
    if "predict" not in config:  # some other program's
        return {}
    if config["net"] != net:
        raise UserError(f"{path}: these weights are of the {config['net']} net, not of the {net} one; "
                        f"give --net {config['net']}")
    return config


class Log:
    """log.csv: rows are on the disk as soon as they are written.

    Parameters
    ----------
    path : path
    columns : list of str
        The first one counts steps; a resumed run drops the rows after the step it resumes from.
    done : int
        Step to resume from, 0 for a new run.
    """

    def __init__(self, path, columns, done=0):
        self.path, self.columns = Path(path), columns
        rows = [",".join(columns)]
        if done and self.path.is_file():
            for row in read_log(self.path):
                if row[columns[0]] <= done:
                    rows.append(",".join("" if row[column] is None else f"{row[column]:.9g}" for column in columns))
        write_text(self.path, "\n".join(rows) + "\n")
        self._handle = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  open as long as the run lasts

    def write(self, **row):
        """Append one row; columns left out stay empty."""
        values = [row.get(column) for column in self.columns]
        self._handle.write(",".join("" if value is None else f"{value:.9g}" for value in values) + "\n")
        self._handle.flush()


def read_log(path):
    """The rows of a log.csv as dicts of floats, None where empty; a row cut off by a kill is left out."""
    rows = []
    with open(path, newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            if None in row.values() or None in row:
                continue
            try:
                rows.append({key: float(value) if value else None for key, value in row.items()})
            except ValueError:
                continue
    return rows


def collect_versions():
    """Versions of Python, the packages and the code, and the machine."""
    found = {"python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} cores",
             "blas": load_blas()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    here = Path(__file__).resolve().parents[1]
    if (here / ".git").exists() and shutil.which("git"):
        commit = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"], capture_output=True, text=True,
                                check=False)
        found["commit"] = commit.stdout.strip()
    return found


def _clear(folder, files):
    """Remove what a run wrote, and nothing else that is in the folder."""
    for name in ("config.json", "log.csv", *files):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
