"""Errors that a user can correct, and the report of all commands on them."""
import errno
import os
import signal
import sys


class UserError(Exception):
    """Error that the user can correct. The message names the file, the fault and the remedy."""


class WrongFile(UserError):
    """Error for a readable file with the wrong content. Reading it again cannot help."""


def run(main):
    """Run `main` and exit with code 0, or with another code and one line on stderr.

    Parameters
    ----------
    main : callable without arguments
        Exit codes: 1 for UserError, MemoryError and OSError (such as a full disk), 130 for Ctrl-C, 143 for SIGTERM.
        `main` may save its state while it handles an interrupt. Any other exception is a bug and keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = main() or 0
        sys.stdout.flush()
    except UserError as error:
        code = _fail(f"error: {error}", 1)
    except Terminated:
        code = _fail("stopped: no incomplete file was left; run the same command to continue", 143)
    except KeyboardInterrupt:
        code = _fail("interrupted: no incomplete file was left; run the same command to continue", 130)
    except BrokenPipeError:  # the reader of a pipe has closed it, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        if error.errno is None:
            raise
        code = _fail(f"error: {os_error_message(error)}", 1)
    except MemoryError:
        code = _fail("error: out of memory; close other programs, or use a smaller batch or PRESET=demo", 1)
    sys.exit(code)


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


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. A subclass of KeyboardInterrupt, so that the code that handles Ctrl-C also handles it."""


def _terminate(_signal, _frame):
    raise Terminated


def _fail(line, code):
    print(f"\n{line}" if sys.stderr.isatty() else line, file=sys.stderr)
    return code
