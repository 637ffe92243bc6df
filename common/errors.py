"""Errors that a user can correct, and the report of all commands on them."""
import atexit
import errno
import os
import re
import shutil
import signal
import sys
import time
import unicodedata

from common import STOPPED, exit_now

RETRY_SECONDS, LONGEST_DEFERRAL = 0.05, 30
LONGEST_NAME, MOST_NAMES, LONGEST_MESSAGE, LONGEST_REMEDY = 80, 10, 1000, 500  # characters and names in one message
REMOVE_FOLDER = shutil.rmtree.__code__
JOINERS = "\u200c\u200d"  # parts of words in Persian and Hindi, and of emoji
_deferred = []  # the last signal; and the time of the first one while it is deferred
_ended = []  # has an element once `main` has ended


class UserError(Exception):
    """Error that the user can correct. The message names the file, the fault and the remedy, in one printable line."""

    def __init__(self, message=""):
        text = to_printable(message)
        if len(text) > LONGEST_MESSAGE:  # a library's message can hold the content of a file; the remedy is at the end
            before, separator, remedy = text.rpartition("; ")
            end = (separator + remedy)[-LONGEST_REMEDY:]
            text = f"{before[:LONGEST_MESSAGE - len(end)]} ...{'' if end.startswith('; ') else ' '}{end}"
        super().__init__(text)


class WrongFile(UserError):
    """Error for a readable file with the wrong content. Reading it again cannot help."""


def run(main):
    """Run `main` and exit with code 0, or with another code and one line on stderr.

    Parameters
    ----------
    main : callable without arguments
        Exit codes: that of `sys.exit`; 1 for UserError, MemoryError and OSError (such as a full disk), 130 for Ctrl-C,
        143 for SIGTERM.
        `main` may save its state while it handles an interrupt. Any other exception is a bug and keeps its traceback.
    """
    code = 1  # of a bug, which keeps its traceback
    try:
        code = _call(main)
    finally:
        # the alarm of a deferred signal can come after Python has removed its handler, and would end the process
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        _handle(lambda *_: os._exit(code))  # nothing is left to save while Python and its libraries end
    sys.exit(code)


def _catch_signals():
    """Raise an exception when a signal arrives."""
    signal.signal(signal.SIGALRM, lambda _, frame: _raise(deferred_signal(), frame))
    _handle(_raise)
    sys.unraisablehook = _keep_signal


def _handle(handler):
    """Set the handler of the signals that are not ignored, as Ctrl-C is in a command in the background of a script."""
    for number in STOPPED:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


@atexit.register  # at import: libraries that register later, such as multiprocessing, come before it
def _ignore_signals():
    """Ignore signals in the last moments of a command that has called `run`.

    When Python ends, it removes all handlers; a signal would then end a complete command without a line.
    """
    if _ended:
        _handle(signal.SIG_IGN)


def _call(main):
    """Call `main`, report its error, and return the exit code."""
    _ended.clear()
    try:
        try:
            _catch_signals()
            if hasattr(sys.stdout, "reconfigure"):  # a name must not end the command if the terminal cannot show it
                sys.stdout.reconfigure(errors="backslashreplace")
            code = _exit_code(main)
            sys.stdout.flush()
        finally:
            _ended.append(True)
    except UserError as error:
        code = _fail(f"error: {error}", 1)
    except Terminated:
        code = _fail(STOPPED[signal.SIGTERM], 143)
    except KeyboardInterrupt:
        code = _fail(STOPPED[signal.SIGINT], 130)
    except BrokenPipeError:  # the reader of a pipe has closed it, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        if error.errno is None:
            raise
        code = _fail(f"error: {os_error_message(error)}", 1)
    except UnicodeEncodeError as error:
        if not (name := re.search(r"[^\s,\"']*[\ud800-\udfff][^\s,\"']*", error.object)):
            raise
        code = _fail(f"error: {not_utf_8(name[0])}", 1)
    except MemoryError:
        code = _fail("error: out of memory; close other programs, or use a smaller batch or PRESET=demo", 1)
    return code


def _exit_code(main):
    """Call `main` and return its exit code, 0 if it returns None; or that of `sys.exit`, as after --help."""
    try:
        return main() or 0
    except SystemExit as end:
        return end.code or 0


def to_printable(text):
    """Return text without control characters, such as line feeds in the name of a file: their codes replace them."""
    return "".join(character if character.isprintable() or character in JOINERS
                   or unicodedata.category(character) == "Zs"  # spaces
                   else character.encode("unicode_escape").decode() for character in str(text))


def show_names(names, most=MOST_NAMES):
    """Return a name out of a foreign file, or several, for a message: printable, short, and the first few alone.

    A damaged file can hold names of any characters and any length.

    Parameters
    ----------
    names : str, or iterable of objects
        A name; or names, which commas separate.
    most : int
        Largest number of names.
    """
    if isinstance(names, str):
        text = to_printable(names[:LONGEST_NAME + 1])  # not all of it: it can be millions of characters
        return text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME - 3] + "..."
    names = list(map(str, names))
    return ", ".join(map(show_names, names[:most])) + ", ..." * (len(names) > most)


def os_error_message(error):
    """Format an OSError as one line: file, fault and remedy."""
    remedies = {
        errno.ENOSPC: "free some space and run the same command again",
        errno.EACCES: "check its owner and permissions",
        errno.EROFS: "choose a folder you may write to",
        errno.ENOENT: "check the path",
        errno.ENOTDIR: "check the path",
        errno.EISDIR: "give a file, not a folder",
    }
    name = error.filename or "the file being written"
    return f"{name}: {error.strerror}; {remedies.get(error.errno, 'check the path and the disk')}"


def not_utf_8(name):
    """Format the error for the name of a file that can be neither shown nor written to our files."""
    return f"{ascii(name)}: its name is not UTF-8; rename the file or folder, or set LC_ALL=C.UTF-8"


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. A subclass of KeyboardInterrupt, so that the code that handles Ctrl-C also handles it."""


def _raise(number, frame):
    """Raise the exception of a signal; later, if a module is being imported or a folder removed; not after the end.

    An import could turn it into an ImportError, or continue as if nothing had happened. `shutil.rmtree` could close a
    folder twice, which is an OSError. After the end of `main`, signals are ignored: nothing is left to do but to print
    the line of an error.
    """
    if _ended:
        return
    first = (_deferred[1:] or [time.monotonic()])[0]
    while frame and not _must_finish(frame.f_code):
        frame = frame.f_back
    _deferred[:] = [number, first] if frame else [number]
    if frame and time.monotonic() > first + LONGEST_DEFERRAL:
        exit_now(number)
    if frame:
        signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)
        return
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def deferred_signal():
    """Return the number of the signal that was deferred, when SIGALRM arrives in its place."""
    return _deferred[0] if _deferred else signal.SIGINT


def _must_finish(code):
    """Return True if an exception must not be raised in a function, given its code."""
    return code is REMOVE_FOLDER or code.co_filename.startswith("<frozen importlib")


def _keep_signal(unraisable):
    """Repeat a signal whose exception cannot be raised, as in a callback of C code or in `__del__`.

    After a signal, other such exceptions are not printed: they come from objects that it left half made.
    """
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)
    elif not _deferred:
        sys.__unraisablehook__(unraisable)


def _fail(line, code):
    line = to_printable(line)
    print(f"\n{line}" if sys.stderr.isatty() else line, file=sys.stderr)
    return code
