"""Call functions that read foreign files in a process of their own, with limits of time and memory.

The libraries behind .mat and HDF5 files are C code, which a damaged file can crash, or keep busy for ever. `isolated`
turns both into an error of one line. A process keeps one such child and uses it for all its calls, so that a call costs
a copy of the result, not the start of a process. The limits are SALIENCY_READ_SECONDS and SALIENCY_READ_MB of
`common.limits`.
"""
import atexit
import contextlib
import fcntl
import functools
import importlib
import os
import pickle
import resource
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

from common.errors import UserError
from common.limits import LIMITS, limit, limit_memory, memory_limit
from common.machine import end_with_parent

ROOT = Path(__file__).resolve().parents[1]
LENGTH = struct.Struct("<Q")
PIPE_SIZE = 1 << 20  # bytes; Linux allows users this much
NO_MEMORY = ("failed to map segment", "Cannot allocate memory")  # in errors of the system's loader of libraries
_lock, _child = threading.Lock(), None


def isolated(function):
    """Make a function of a module run in the child; its arguments and its result are copied.

    The first argument names the file in errors. A UserError of the function is raised here, too.

    Raises
    ------
    UserError
        The function crashed, took longer or needed more memory than the limits allow, or raised any exception.
    """
    @functools.wraps(function)
    def call(path, *arguments):
        if os.environ.get("SALIENCY_ISOLATED"):  # this is the child
            return function(path, *arguments)
        with _lock:
            return _call(f"{function.__module__}:{function.__qualname__}", path, arguments)
    return call


def _call(name, path, arguments):
    """Send a call to the child and wait for its result."""
    global _child
    if _child is None or _child.pid_of_owner != os.getpid() or _child.process.poll() is not None:
        _child = _Child()
    seconds = limit("SALIENCY_READ_SECONDS")
    try:
        kind, value = _child.call((name, (path, *arguments)), seconds)
    except TimeoutError:
        _child.kill()
        raise UserError(f"{path}: reading did not end in {seconds} s; the file is damaged, or set "
                        "SALIENCY_READ_SECONDS to a higher limit") from None
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):
        code = _child.kill()
        if code == -signal.SIGKILL:  # sent by the kernel, which protects other processes
            raise UserError(f"{path}: the process that reads it was killed, probably because memory ran out; close "
                            "other programs, or set SALIENCY_READ_MB to a limit that the machine has") from None
        fault = f"crashed on it ({signal.Signals(-code).name})" if code and code < 0 else "ended"
        raise UserError(f"{path}: damaged: the library that reads it {fault}; {_remedy()}") from None
    except BaseException:  # Ctrl-C between a call and its result
        _child.kill()
        raise
    if kind == "error":
        raise value
    return value


def _memory():
    """Return the megabytes of memory that the child may have."""
    return memory_limit(limit("SALIENCY_READ_MB") << 20) >> 20


def _remedy(first="copy or write the file again"):
    """Return the remedy for a file that cannot be read: libraries do not report all lacks of memory as such."""
    size = _memory()
    return first + (f", or {_more_memory(size)}" if size < LIMITS["SALIENCY_READ_MB"] else "")


def _more_memory(size):
    return f"give more memory than {size} MB: SALIENCY_READ_MB, ulimit -v"


class _Child:
    """The child process, and the pipes to it."""

    def __init__(self):
        self.pid_of_owner = os.getpid()
        environment = {**os.environ, "SALIENCY_ISOLATED": str(limit("SALIENCY_READ_MB")), "OPENBLAS_NUM_THREADS": "1",
                       "OMP_NUM_THREADS": "1"}
        # in a session of its own, so that Ctrl-C reaches the parent alone
        program = f"import sys; sys.path[0] = {str(ROOT)!r}; from common.isolated import serve; serve()"
        self.process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, env=environment, start_new_session=True)
        with contextlib.suppress(OSError, AttributeError):  # a larger pipe is faster; Python 3.10 has a name for it
            fcntl.fcntl(self.process.stdout, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        atexit.register(self.kill)

    def call(self, message, seconds):
        """Send a message and return the output of the child; TimeoutError after this many seconds."""
        data = pickle.dumps(message)
        self.process.stdin.write(LENGTH.pack(len(data)) + data)
        self.process.stdin.flush()
        deadline = time.monotonic() + seconds
        size, = LENGTH.unpack(self._read(LENGTH.size, deadline))
        return pickle.loads(self._read(size, deadline))  # written by `serve`

    def _read(self, size, deadline):
        output, data = self.process.stdout.fileno(), bytearray(size)
        view, count = memoryview(data), 0
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while count < size:
                if not selector.select(max(0, deadline - time.monotonic())):
                    raise TimeoutError
                read = os.readv(output, [view[count:]])
                if not read:
                    raise EOFError
                count += read
        return data

    def kill(self):
        """Stop the child and return its exit code; negative: the signal that had ended it before."""
        atexit.unregister(self.kill)
        try:
            code = self.process.wait(timeout=0.5 if self.process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            code = None
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):  # it writes what was not sent, which has no reader any more
            self.process.stdin.close()
        self.process.stdout.close()
        return code


def serve():
    """Serve calls until the parent closes the pipe or ends; the child's main function."""
    end_with_parent()
    limit_memory(int(os.environ["SALIENCY_ISOLATED"]) << 20)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, outputs = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get into the outputs
    while header := requests.read(LENGTH.size):
        data = _output_of(*pickle.loads(requests.read(LENGTH.unpack(header)[0])))
        outputs.write(LENGTH.pack(len(data)) + data)
        outputs.flush()


def _output_of(name, arguments):
    """Call a function and return the pickled output: ("value", its result) or ("error", UserError)."""
    module, _, function = name.partition(":")
    path = arguments[0]
    try:
        value = getattr(importlib.import_module(module), function)(*arguments)
        return pickle.dumps(("value", value), pickle.HIGHEST_PROTOCOL)
    except UserError as error:
        return pickle.dumps(("error", error))
    except MemoryError:
        size = _memory()
        fault = f"needs more than {size} MB; it is damaged, or {_more_memory(size)}"
        return pickle.dumps(("error", UserError(f"{path}: {fault}")))
    except ImportError as error:
        reason = str(error).strip().rpartition("\n")[2]
        remedy = _more_memory(_memory()) if any(text in str(error) for text in NO_MEMORY) else _remedy("run `make env`")
        fault = f"the library that reads it cannot be loaded ({reason})"
        return pickle.dumps(("error", UserError(f"{path}: {fault}; {remedy}")))
    except Exception as error:  # any class, for damage
        reason = " ".join(str(error).split()) or type(error).__name__
        return pickle.dumps(("error", UserError(f"{path}: cannot be read ({reason}); {_remedy()}")))
