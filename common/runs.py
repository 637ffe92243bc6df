"""A run folder: the settings and versions of a training run, its log, and what its weights need to predict.

    config.json    net, settings (all, resolved), predict (keyword arguments of the Predictor), versions; if the run has
                   resumed with other versions, resumed: a list of "after", the number of finished iterations or
                   epochs, and "versions", those that have changed, null for what is no longer used
    log.csv        one row per iteration or epoch
    ...            checkpoints and the final weights, written by the train.py of the net
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

from common.errors import UserError, os_error_message, show_names
from common.files import NONE, check_content, read_json, write_json, write_text
from common.machine import load_blas

VERSIONS = {str: (str, NONE)}
# content of a config.json
CONFIG = {"settings?": dict, "predict?": dict, "versions?": VERSIONS,
          "resumed?": [{"after": int, "versions": VERSIONS}]}
PACKAGES = ("numpy", "scipy", "h5py", "opencv-python-headless", "Theano", "Lasagne", "protobuf")


def add_arguments(parser):
    """Add --resume and --restart, mutually exclusive options of a training command."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--resume", action="store_true",
                       help="resume the run in the folder; an error if there is none (default: resume if there is a "
                            "run, else start one)")
    group.add_argument("--restart", action="store_true",
                       help="delete the files of an earlier run in the folder and start again")


@contextlib.contextmanager
def lock_folder(folder):
    """Lock a folder for this process: two processes that write to one folder would destroy each other's files.

    The system releases the lock when the process ends, even after a kill.

    Raises
    ------
    UserError
        Another process has locked the folder, or it cannot be created.
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
        raise UserError(f"{folder}: another process uses this folder; wait until it ends, or give another folder") \
            from error
    except OSError:  # this file system has no locks
        pass
    try:
        yield
    finally:
        os.close(handle)


def start(folder, net, settings, predict, files, versions=None, restart=False, resume=False, count=lambda: 0):
    """Create a run folder, or check that the run in an existing folder has the same settings.

    Parameters
    ----------
    folder : path
    net : str
        Name of the net.
    settings : dict
        All settings that influence the weights. A run continues only if they are equal.
    predict : dict
        Keyword arguments of the net's Predictor for these weights.
    files : collection of str
        Names of the files and folders that a run of this net writes into the folder, besides config.json and log.csv.
    versions : dict or None
        Versions to record in addition to those of `collect_versions`.
    restart : bool
        Remove `files`, config.json and log.csv first. Other files in the folder stay.
    resume : bool
        Require an existing run.
    count : function without arguments
        Counts the finished iterations or epochs from which an existing run resumes; None if it is complete.

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
        config = read_json(path, CONFIG)
        before = config.get("settings", {})
        if changed := _changes(before, settings):
            raise UserError(f"{folder}: holds a run with other settings ({'; '.join(changed)}); "
                            "delete the folder, give --restart, or give another folder")
        _warn_of_other_blas(folder, config, count)
        _warn_of_other_engine(folder, config, versions or {}, count)
        _record_versions(path, config, {**collect_versions(), **(versions or {})}, count)
        return
    if resume:
        raise UserError(f"{folder}: holds no run to resume (no config.json); omit --resume to start one")
    write_json(path, {"net": net, "settings": settings, "predict": predict,
                      "versions": {**collect_versions(), **(versions or {})}})


def _changes(before, now, prefix=""):
    """List the settings that differ, with both values; of nested settings those that differ, such as data.images."""
    changes = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += _changes(old, new, f"{prefix}{key}.")
        elif old != new:
            changes.append(f"{prefix}{show_names(key)} {show_names(repr(old))} -> {show_names(repr(new))}")
    return changes


def _with_device(versions):
    """Return versions with the device: runs of Caffe did not record it when all of them were on the CPU."""
    return {**versions, "device": versions.get("device") or "cpu"} if versions.get("engine") == "caffe" else versions


def _warn_of_other_blas(folder, config, count):
    """Warn if a run resumes with other BLAS kernels or another number of threads: its sums are rounded differently."""
    before, now = config.get("versions", {}).get("blas"), load_blas()
    if before and before != now and count() is not None:
        print(f"warning: {folder}: the run started with {before} and resumes with {now}; its weights will differ by "
              "rounding from those of an uninterrupted run; to avoid this, give the environment variables "
              "OPENBLAS_CORETYPE and OPENBLAS_NUM_THREADS the first values", file=sys.stderr)


def _warn_of_other_engine(folder, config, versions, count):
    """Warn if a run resumes with another engine, device, precision or number of processes: each rounds differently."""
    before = _with_device(config.get("versions", {}))
    names = [name for name in ("engine", "device", "precision", "processes")
             if before.get(name) and versions.get(name) and before[name] != versions[name]]
    if names and count() is not None:
        started, resumes = (", ".join(f"{name} {values[name]}" for name in names) for values in (before, versions))
        print(f"warning: {folder}: the run started with {started} and resumes with {resumes}; its weights will differ "
              "by rounding from those of an uninterrupted run", file=sys.stderr)


def _record_versions(path, config, versions, count):
    """Add the versions with which a run resumes to its config.json, if others ran it before."""
    before = dict(config.get("versions", {}))
    for entry in config.get("resumed", []):
        before.update(entry["versions"])
    before = _with_device(before)
    changed = {name: versions.get(name) for name in {**before, **versions} if versions.get(name) != before.get(name)}
    if changed and (after := count()) is not None:
        write_json(path, {**config, "resumed": [*config.get("resumed", []), {"after": after, "versions": changed}]})


def prepared_data(folder, net, content=None):
    """Return the entries of a prepared data set's manifest that influence the weights.

    Parameters
    ----------
    folder : path
    net : str, "shallow" or "deep"
    content : dict or None
        Further entries that the manifest must have, see `common.files.check_content`.

    Returns
    -------
    dict
        manifest.json without "fingerprint", which changes with the names, sizes and dates of the source files, and
        without "without_fixations", a list for people.

    Raises
    ------
    UserError
        There is no manifest, it is damaged, or the data were prepared for the other net.
    """
    path = Path(folder) / "manifest.json"
    manifest = read_json(path)
    if manifest.get("net") != net:
        raise UserError(f"{folder}: holds no training data of the {net} net; give the folder that `make data` or "
                        f"`python -m {net}.prepare` wrote as --data")
    check_content(manifest, content or {}, path, f"delete {folder} and run `make data` again")
    return {key: value for key, value in manifest.items() if key not in ("fingerprint", "without_fixations")}


def read_config(weights, net, content=None):
    """Read the config.json beside a weights file.

    Parameters
    ----------
    weights : path
    net : str
        Name of the net that the weights should belong to.
    content : dict or None
        Further entries that it must have, see `common.files.check_content`.

    Returns
    -------
    dict
        Empty if there is no config.json of this project, as for weights from elsewhere.

    Raises
    ------
    UserError
        The config.json is damaged or belongs to another net.
    """
    path = Path(weights).parent / "config.json"
    if not path.is_file():
        return {}
    config = read_json(path)
    if "predict" not in config:  # a file of another program
        return {}
    check_content(config, {"net": str, **CONFIG, **(content or {})}, path)
    if config["net"] != net:
        raise UserError(f"{path}: these weights are of the {config['net']} net, not of the {net} net; "
                        f"give --net {config['net']}")
    return config


class Log:
    """Writer of log.csv. Each row is flushed when it is written.

    Parameters
    ----------
    path : path
    columns : list of str
        The first column holds the iteration or epoch.
    done : int
        Last iteration or epoch of the checkpoint to resume from, 0 for a new run. Later rows of the log are dropped.
    """

    def __init__(self, path, columns, done=0):
        self.path, self.columns = Path(path), columns
        rows = [",".join(columns)]
        if done and self.path.is_file():
            for row in read_log(self.path, columns):
                if row[columns[0]] <= done:
                    rows.append(",".join("" if row[column] is None else f"{row[column]:.9g}" for column in columns))
        write_text(self.path, "\n".join(rows) + "\n")
        self._handle = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  open until the run ends

    def write(self, **row):
        """Write one row; columns without a value stay empty."""
        values = [row.get(column) for column in self.columns]
        self._handle.write(",".join("" if value is None else f"{value:.9g}" for value in values) + "\n")
        self._handle.flush()


def read_log(path, columns=(), remedy="delete it, and run the same command again"):
    """Read the rows of a log.csv; skip a row that is incomplete because the run was killed, or damaged.

    Parameters
    ----------
    path : path
    columns : iterable of str
        Columns that the log must have.
    remedy : str
        Remedy for the message about a damaged log, or one of another training.

    Returns
    -------
    list of dict of str: float or None
        None for empty cells, but the first column, the epoch or iteration, is never empty.

    Raises
    ------
    UserError
        The file is missing, is not a table, or lacks a column.
    """
    rows = []
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as handle:
            reader = csv.DictReader(handle)
            if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise UserError(f"{path}: damaged, or of another training: has no column {missing[0]}; "
                                f"{remedy}")
            for row in reader:
                if None in row.values() or None in row or not row[reader.fieldnames[0]]:
                    continue
                with contextlib.suppress(ValueError):
                    rows.append({key: float(value) if value else None for key, value in row.items()})
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except csv.Error as error:
        raise UserError(f"{path}: damaged ({error}); {remedy}") from error
    return rows


def collect_versions():
    """Collect the versions of Python, packages, BLAS and this repository, and the processor's type and number of cores.

    Returns
    -------
    dict of str: str or None
    """
    versions = {"python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "blas": load_blas()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    root = Path(__file__).resolve().parents[1]
    if (root / ".git").exists() and shutil.which("git"):
        commit = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True,
                                check=False)
        versions["commit"] = commit.stdout.strip()
    return versions


def _clear(folder, files):
    """Remove the files of a run from its folder; other files stay."""
    for name in ("config.json", "log.csv", *files):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
