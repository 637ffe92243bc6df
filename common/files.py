"""Atomic writing: after a crash or a kill, a file holds its old or its new content, never a part."""
import contextlib
import errno
import glob
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from common.errors import UserError, os_error_message, show_names

WRITE_AGAIN = "delete it and run the step that writes it again"
SCRATCH = re.compile(r"\..+\.\d+\.\w{8}")  # names of the temporary folders of `atomic`
SMALL_FILE = 1 << 16  # bytes; many file systems still have space for less when they are full
NONE, NUMBER = type(None), (int, float)  # for `check_content`
MISSING = object()


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
        if SCRATCH.fullmatch(Path(error.filename or "").name):
            error.filename = str(path)
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
            if isinstance(error, OSError):  # of NumPy or h5py
                raise UserError(f"{path}: cannot be written ({error}); check the disk and its limits") from error
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
        # not the hidden folder of `atomic`, but the one around it
        folder = next((path.parent for path in Path(folder).parents if SCRATCH.fullmatch(path.name)), folder)
        raise UserError(f"{folder}: {size >> 20} MB are needed there and {free >> 20} MB are left; "
                        "free some space and run the same command again")


def check_writable(*paths):
    """Create the folders of files, and write and remove a small file there: long work must not end in an error.

    Raises
    ------
    UserError
        A path is a folder, or its folder cannot be written to, or the disk is full.
    """
    for path in map(Path, paths):
        if path.is_dir():
            raise UserError(f"{path}: is a folder; give another path for the file, or remove it")
        with contextlib.suppress(_Written), atomic(path) as scratch:
            scratch.write_bytes(bytes(SMALL_FILE))
            sync(scratch)
            raise _Written


class _Written(Exception):
    """A file could be written; `atomic` removes it."""


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


def read_json(path, content=None):
    """Read a JSON file of this project, which holds an object.

    Parameters
    ----------
    path : path
    content : dict or None
        What the object must have, see `check_content`.

    Returns
    -------
    dict

    Raises
    ------
    UserError
        The file is missing or damaged, or has other content.
    """
    try:
        value = parse_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); {WRITE_AGAIN}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a {type(value).__name__}, not a JSON object; {WRITE_AGAIN}")
    check_content(value, content or {}, path)
    return value


def parse_json(text):
    """Parse JSON, str or bytes.

    Raises
    ------
    ValueError
        It is not valid, has too many brackets inside each other, or has half a character (a lone surrogate).
    """
    text = text if isinstance(text, str) else text.decode()
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("too many brackets inside each other") from None
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate could be neither printed nor written
    return value


def check_content(value, content, path, remedy=WRITE_AGAIN):
    """Raise UserError unless a value read from JSON has the content that the code relies on.

    Parameters
    ----------
    value : object
    content : description
        A type; a list with the description of all elements; a dict with those of some entries, whose names end with
        "?" if they may be missing, or {str: description of all entries}; a tuple of alternatives.
    path, remedy : start and end of the error
    """
    if fault := _find_fault(value, content, ""):
        raise UserError(f"{path}: {fault}; {remedy}")


def _find_fault(value, content, place):
    """Return how a value differs from `content` of `check_content`, None if it does not."""
    if isinstance(content, tuple):
        faults = [_find_fault(value, alternative, place) for alternative in content]
        return None if None in faults else faults[-1]
    expected = type(content) if isinstance(content, dict | list) else content
    if value is MISSING:
        return f"has no {place.lstrip('.')}"
    if type(value) is not expected:
        return f"{place.lstrip('.') or 'its content'} is of type {type(value).__name__}, not {expected.__name__}"
    faults = (_find_fault(*part) for part in _parts(value, content, place))
    return next(filter(None, faults), None)


def _parts(value, content, place):
    """List the parts of a value to compare: (part, its description, its place)."""
    if isinstance(content, list):
        return [(element, content[0], f"{place}[{index}]") for index, element in enumerate(value)]
    if not isinstance(content, dict):
        return []
    if str in content:
        return [(element, content[str], f"{place}.{show_names(name)}") for name, element in value.items()]
    return [(value.get(name.rstrip("?"), MISSING), part, f"{place}.{name.rstrip('?')}")
            for name, part in content.items() if not name.endswith("?") or name[:-1] in value]
