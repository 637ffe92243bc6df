"""Atomic writing: after a crash or a kill, a file holds its old or its new content, never a part."""
import contextlib
import errno
import glob
import json
import os
import shutil
import tempfile
from pathlib import Path

from common.errors import UserError, os_error_message


@contextlib.contextmanager
def atomic(path):
    """Provide a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    Yields
    ------
    pathlib.Path
        A path that does not exist yet, with the same suffix as `path`. Write a file or create a folder at this path.
        An existing folder at `path` is replaced as a whole.

    Raises
    ------
    UserError
        The disk is full or the folder is not writable. `path` is unchanged.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale_scratch(path)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.{os.getpid()}.", dir=path.parent))
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    target, old = scratch / path.name, scratch / "old"
    try:
        yield target
        sync(target)
        if target.is_dir() and path.exists():  # a rename replaces a file, but not a folder
            path.rename(old)
        target.replace(path)
    except (OSError, RuntimeError) as error:
        # h5py reports a full disk as an OSError without errno, or as a RuntimeError when it closes the file
        full = shutil.disk_usage(path.parent).free < 1 << 24
        if not full and getattr(error, "errno", None) is None:
            raise
        reason = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if full else error
        reason.filename = str(path)
        raise UserError(os_error_message(reason)) from error
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(scratch, ignore_errors=True)


def need_space(folder, size):
    """Raise UserError if the disk of a folder has less than `size` bytes left.

    Call this before a library writes that does not report a full disk as a plain OSError.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(f"{folder}: {size >> 20} MB are needed there and {free >> 20} MB are left; "
                        "free some space and run the same command again")


def _remove_stale_scratch(path):
    """Remove the temporary folders of processes that were killed while they wrote `path`."""
    for scratch in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        owner = scratch.name[len(path.name) + 2:].split(".")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(scratch, ignore_errors=True)


def sync(path):
    """Flush a file, or all files of a folder, to disk (fsync).

    Without it, a power cut after the rename could leave an empty file.
    """
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())


def write_text(path, text):
    """Write `text` to `path` atomically, as UTF-8."""
    with atomic(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write `value` to `path` atomically, as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path):
    """Read a JSON file that holds an object.

    Returns
    -------
    dict

    Raises
    ------
    UserError
        The file is missing or damaged, or holds another type.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); delete it and run the step that writes it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a {type(value).__name__}, not a JSON object; "
                        "delete it and run the step that writes it again")
    return value
