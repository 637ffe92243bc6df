"""Write files so that a kill at any moment leaves the old file or the new one."""
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
    """Give a temporary path beside `path`; on success it becomes `path`, on any failure it is removed.

    Yields
    ------
    pathlib.Path
        A path that does not exist yet, with the same suffix as `path`. Write a file or make a
        folder there. A folder at `path` is replaced as a whole.

    Raises
    ------
    UserError
        The disk is full or the folder cannot be written to. `path` is as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_scratch_of_the_dead(path)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.{os.getpid()}.", dir=path.parent))
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    target, old = scratch / path.name, scratch / "old"
    try:
        yield target
        sync(target)
        if target.is_dir() and path.exists():  # rename replaces files, but not folders
            path.rename(old)
        target.replace(path)
    except (OSError, RuntimeError) as error:
        # h5py reports a full disk without errno, and when closing as RuntimeError
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
    """Raise UserError if a folder's disk has less than `size` bytes left; for writers that fail untidily."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(f"{folder}: {size >> 20} MB are needed there and {free >> 20} MB are left; "
                        "free some space and run the same command again")


def _remove_scratch_of_the_dead(path):
    """Remove what processes that were killed while writing `path` left behind."""
    for scratch in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        owner = scratch.name[len(path.name) + 2:].split(".")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(scratch, ignore_errors=True)


def sync(path):
    """Have a file, or those in a folder, on the disk: before it is named, or a power cut leaves an empty file."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())


def write_text(path, text):
    """Write `text` to `path` atomically, as UTF-8."""
    with atomic(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write `value` to `path` atomically, as JSON people can read."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path):
    """Read a JSON file that holds an object, as all of ours do; UserError names it if it is missing or damaged."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); delete it and run the step that writes it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a {type(value).__name__}, not an object with names; "
                        "delete it and run the step that writes it again")
    return value
