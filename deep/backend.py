"""BVLC Caffe, loaded quietly and fast, and kept from taking the user's Python down with it."""
import contextlib
import ctypes
import multiprocessing
import os
import re
import signal
import sys
from pathlib import Path

from common.errors import Terminated, UserError, run
from common.machine import environment, load_blas

GLOG_LEVEL = "GLOG_minloglevel"  # environment variable that glog reads when it is loaded
ERRORS, EVERYTHING = "2", "0"
PR_SET_PDEATHSIG = 1  # sys/prctl.h


def load_caffe():
    """Import pycaffe in CPU mode.

    Returns
    -------
    module

    Raises
    ------
    UserError
        It has not been built, or does not load.
    """
    load_blas()
    try:
        # errors only: Caffe logs every layer otherwise
        with environment(**{GLOG_LEVEL: os.environ.get(GLOG_LEVEL, ERRORS)}):
            import caffe
    except ImportError as error:
        raise UserError(f"BVLC Caffe cannot be imported ({error}); run `make caffe`, then use build/env/bin/python; "
                        "for prediction without Caffe: engine=opencv") \
            from error
    caffe.set_mode_cpu()
    return caffe


def run_in_subprocess(target, args, log):
    """Call `target(*args)` in a process of its own, since Caffe's CHECK ends the process it fails in.

    Parameters
    ----------
    target : function of a module
    args : tuple, picklable
    log : path
        Caffe's own messages go there instead of to the screen.

    Returns
    -------
    int
        Exit code. The child has told the user about its own errors by then.

    Raises
    ------
    UserError
        Caffe gave up: the message says why in Caffe's words.
    """
    log = Path(log)
    before = log.stat().st_size if log.is_file() else 0
    child = multiprocessing.get_context("spawn").Process(target=_child, args=(target, args, str(log)))
    child.start()
    while child.is_alive():
        try:
            child.join()
        except KeyboardInterrupt as interruption:
            # the child is out of the terminal's reach, see _child; it saves a snapshot before it goes
            os.kill(child.pid, signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)
    if child.exitcode >= 0:
        return child.exitcode
    if child.exitcode == -signal.SIGKILL:
        raise UserError("the training process was killed, most likely for lack of memory; "
                        "close other programs or use PRESET=demo, then run the same command again")
    raise UserError(f"Caffe stopped: {fatal_message(log, before)} (all of it: {log}); "
                    "put that right and run the same command again")


def fatal_message(log, start=0):
    """The message of the CHECK that failed, from Caffe's log after its first `start` bytes."""
    lines = Path(log).read_bytes()[start:].decode(errors="replace").splitlines()
    fatal = [match.group(1) for line in lines if (match := re.match(r"F\d+ \S+ +\d+ \S+\] (.*)", line))]
    return fatal[-1].strip() if fatal else "no reason given"


def _child(target, args, log):
    """Send file descriptor 2, where Caffe writes, to the log; Python's stderr stays on the screen.

    A process group of its own keeps Ctrl-C from reaching it twice, from the terminal and the parent. If the parent
    is killed, so is the child: it must not go on writing where the same command has begun anew.
    """
    os.setpgrp()
    with contextlib.suppress(AttributeError, OSError):  # Linux only
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if not multiprocessing.parent_process().is_alive():
        os._exit(1)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
    os.environ[GLOG_LEVEL] = EVERYTHING  # of this process, which is ours alone
    run(lambda: target(*args))
