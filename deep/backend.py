"""Load BVLC Caffe, or its build with CUDA, and run it in a subprocess.

A CHECK of Caffe that fails ends the process. In a subprocess, it does not end the user's Python."""
import contextlib
import multiprocessing
import os
import re
import signal
import sys
from pathlib import Path

from common.errors import Terminated, UserError, deferred_signal, run
from common.interrupts import accept_signals, handled_by, hold_signals
from common.machine import end_with_parent, environment, load_blas

GLOG_LEVEL = "GLOG_minloglevel"  # environment variable; glog reads it when it is loaded
ERRORS, EVERYTHING = "2", "0"
KILLED = ("the training process was killed, probably for lack of memory; close other programs or use PRESET=demo, then "
          "run the same command again")
CUDA_BUILD = Path(__file__).resolve().parents[1] / "build/caffe-cuda"  # of `make caffe CUDA=path`
OUT_OF_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED")  # parts of CUDA's errors
# part of an error of CUDA -> remedy; the first one that fits counts
CARD_REMEDIES = {
    **dict.fromkeys(OUT_OF_MEMORY, "give smaller batches (batch_size in train_val.prototxt), or leave GPU out"),
    "no kernel image": "this build has no code for the card; run `make caffe CUDA=path` on the machine with the card, "
                       "or with its compute capability, such as CUDA_ARCH=61",
    "invalid device ordinal": "there is no card of this number; the first one is 0",
    "cudaSuccess": "check the driver with nvidia-smi, or leave GPU out",
    "CUBLAS": "check the driver with nvidia-smi, or leave GPU out",
}


def load_caffe(gpu=None):
    """Import pycaffe, which computes on the CPU; with `gpu`, its build with CUDA, and compute on a graphics card.

    A process can load one of both builds. Caffe without a card ends the process, see `deep.card.check_card`.

    Parameters
    ----------
    gpu : int or None
        Number of the card.

    Returns
    -------
    module

    Raises
    ------
    UserError
        Caffe has not been built, or cannot be loaded.
    """
    load_blas()
    if gpu is not None and str(cuda_python()) not in sys.path:
        sys.path.insert(0, str(cuda_python()))
    try:
        # errors only: by default, Caffe logs every layer
        with environment(**{GLOG_LEVEL: os.environ.get(GLOG_LEVEL, ERRORS)}):
            import caffe
    except ImportError as error:
        remedy = ("run `make caffe`, then use build/env/bin/python; to predict without Caffe, give engine=opencv"
                  if gpu is None else "rm -rf build/caffe-cuda, then make caffe CUDA=path")
        raise UserError(f"BVLC Caffe{'' if gpu is None else ' with CUDA'} cannot be imported ({error}); {remedy}") \
            from error
    if gpu is not None:
        if cuda_python() not in Path(caffe.__file__).parents:
            raise UserError("Caffe without CUDA is loaded in this process; use the graphics card in a new one")
        caffe.set_device(gpu)
        caffe.set_mode_gpu()
    return caffe


def cuda_python():
    """Return the folder of pycaffe in the build with CUDA; raise UserError if there is no such build."""
    if not (CUDA_BUILD / ".ready").is_file():
        raise UserError(f"{CUDA_BUILD}: missing, so Caffe cannot use a graphics card; run `make caffe "
                        "CUDA=/usr/local/cuda`, or train with PyTorch (make torch, then ENGINE=torch without GPU)")
    return CUDA_BUILD / "src/python"


def run_in_subprocess(target, args, log, library="Caffe", killed=KILLED):
    """Call `target(*args)` in a subprocess: a CHECK of Caffe that fails ends its process.

    Parameters
    ----------
    target : function, importable from its module
    args : tuple, picklable
    log : path
        File to which the library's messages are appended; they do not appear on the screen.
    library : str
        Library that runs in the subprocess, for errors.
    killed : str
        Error if the subprocess is killed (SIGKILL).

    Returns
    -------
    int
        Exit code. If it is not 0, the subprocess has already printed its error.

    Raises
    ------
    UserError
        A CHECK of Caffe failed (the error quotes its message), or the subprocess crashed or was killed.
    KeyboardInterrupt
        A signal ended the subprocess without a line, or came while it was ending.
    """
    log = Path(log)
    before = log.stat().st_size if log.is_file() else 0
    child = multiprocessing.get_context("spawn").Process(target=_run_child, args=(target, args, str(log)))
    with _forward_signals(child) as received:
        with hold_signals():
            if not received:
                child.start()
        if child.pid is not None:
            child.join()
    if child.pid is not None and child.exitcode > 0:
        return child.exitcode
    if received:  # it ended the child before it could react, or came while the child was ending
        raise KeyboardInterrupt if received[-1] == signal.SIGINT else Terminated
    if child.exitcode == 0:
        return 0
    if child.exitcode == -signal.SIGKILL:
        raise UserError(killed)
    reason = fatal_message(log, before) or f"it crashed with {signal.Signals(-child.exitcode).name}"
    remedy = card_remedy(reason) or "correct the cause"
    raise UserError(f"{library} stopped: {reason} (full log: {log}); {remedy} and run the same command again")


@contextlib.contextmanager
def _forward_signals(child):
    """Send Ctrl-C, SIGTERM and deferred signals on to a process in a `with` block; yield the list of their numbers.

    The terminal does not signal the child, see `_run_child`; the child saves a snapshot, then exits. An exception here
    would leave it running if two signals came at once.
    """
    received = []

    def forward(number, _frame):
        received.append(deferred_signal() if number == signal.SIGALRM else number)
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, received[-1])

    with handled_by(forward):
        yield received


def fatal_message(log, start=0):
    """Return the message of the CHECK that failed, "" if none did; the first `start` bytes of Caffe's log are skipped.
    """
    lines = Path(log).read_bytes()[start:].decode(errors="replace").splitlines()
    fatal = [match.group(1) for line in lines if (match := re.match(r"F\d+ \S+ +\d+ \S+\] (.*)", line))]
    return fatal[-1].strip() if fatal else ""


def card_remedy(reason, remedies=None):
    """Return the remedy for an error of CUDA that Caffe reports, of CARD_REMEDIES or others; None for another error."""
    return next((remedy for part, remedy in (remedies or CARD_REMEDIES).items() if part in reason), None)


def redirect_messages(log):
    """Redirect file descriptor 2, to which C++ libraries write, to the end of a log; Python's stderr stays."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)


def _run_child(target, args, log):
    """Call `target`, with Caffe's messages in the log.

    The child has its own process group: in the parent's, Ctrl-C would reach it twice, from the terminal and from the
    parent.
    """
    os.setpgrp()
    end_with_parent()
    if not multiprocessing.parent_process().is_alive():
        os._exit(1)
    redirect_messages(log)
    os.environ[GLOG_LEVEL] = EVERYTHING  # set for the whole process, which runs only `target`

    def main():
        accept_signals(signal.SIGINT)  # from here on, `run` handles them
        return target(*args)

    run(main)
