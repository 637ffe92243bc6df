"""Errors a person can repair, and how every command line of this project reports them."""
import errno
import os
import signal
import sys


class UserError(Exception):
    """Something the user can put right. The message names the file, the fault and the remedy."""


class WrongFile(UserError):
    """A file is whole and readable, and something else than it should be: no use in trying it again."""


def run(main):
    """Call `main()` and exit: 0, or one clear line on stderr and a code that is not 0.

    Parameters
    ----------
    main : callable without arguments
        May raise UserError (exit 1), OSError such as a full disk (exit 1), or be interrupted by
        Ctrl-C or SIGTERM (exit 130 or 143, after whatever `main` saves on the way out).
        Anything else is a bug of ours and keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = main() or 0
        sys.stdout.flush()
    except UserError as error:
        code = _fail(f"error: {error}", 1)
    except Terminated:
        code = _fail("stopped: nothing half-written was kept; the same command continues", 143)
    except KeyboardInterrupt:
        code = _fail("interrupted: nothing half-written was kept; the same command continues", 130)
    except BrokenPipeError:  # `... | head`: the reader has seen enough
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
    """One line for an OSError: the file, what is wrong with it, what to do about it."""
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
    """SIGTERM: leaves by the same doors as Ctrl-C."""


def _terminate(_signal, _frame):
    raise Terminated


def _fail(line, code):
    print(f"\n{line}" if sys.stderr.isatty() else line, file=sys.stderr)
    return code
