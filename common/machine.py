"""Settings of libraries for this machine: BLAS kernels and threads, and memory.

NumPy and SciPy each contain an OpenBLAS of their own, which stays as it is. Theano and Caffe share the system's
OpenBLAS. It reads its settings from environment variables when it is loaded, so `load_blas` sets these variables only
for that moment. Each of our processes (command, worker, child process, test) computes the same settings, and other
programs that it starts do not inherit them.
"""
import contextlib
import ctypes
import functools
import math
import os
import signal
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
PR_SET_PDEATHSIG = 1  # sys/prctl.h
LIBRARY = "libopenblas.so.0"


@contextlib.contextmanager
def environment(**variables):
    """Set environment variables inside a `with` block and restore them at its end.

    For libraries that read environment variables only while they are loaded.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def blas_settings(cpuinfo="/proc/cpuinfo"):
    """Return the environment variables for loading the system's OpenBLAS. Values that the user has set take precedence.

    OPENBLAS_CORETYPE: OpenBLAS 0.3.21 (Debian 12) selects its kernels by the processor's model number and uses
    kernels of 2004 for models newer than itself. Matrix products then take seven times as long (measured on an
    Intel model 207: 33 against 230 GFLOP/s). The flags of the processor show which kernels it can run.

    OPENBLAS_THREAD_TIMEOUT: by default, idle OpenBLAS threads spin for 25 ms while they wait for the next product. They
    occupy the cores on which the loops of Caffe or Theano then run. This costs a tenth of a training step in Caffe.

    Returns
    -------
    dict of str: str
    """
    settings = {"OPENBLAS_THREAD_TIMEOUT": "4"}
    try:
        lines = Path(cpuinfo).read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        settings["OPENBLAS_CORETYPE"] = "SkylakeX"
    elif {"avx2", "fma"} <= flags:
        settings["OPENBLAS_CORETYPE"] = "Haswell"
    return {name: os.environ.get(name, value) for name, value in settings.items()}


@functools.cache
def load_blas():
    """Load the OpenBLAS that Theano and Caffe are linked with, with `blas_settings`.

    Call this before Theano or Caffe is loaded: they reuse the library that is in memory under the same name. Does
    nothing if there is no such library: Theano and Caffe report that themselves.

    Returns
    -------
    str or None
        The kernels and the number of threads, such as "OpenBLAS SkylakeX, 2 threads".
    """
    with environment(**blas_settings()):
        for name in (Path(sys.base_prefix) / "lib" / LIBRARY, LIBRARY):  # conda's, or the system's
            try:
                library = ctypes.CDLL(str(name))
                library.openblas_get_corename.restype = ctypes.c_char_p
                kernels, threads = library.openblas_get_corename().decode(), library.openblas_get_num_threads()
                return f"OpenBLAS {kernels}, {threads} threads"
            except (OSError, AttributeError):
                continue
    return None


def count_cores():
    """Count the cores that this process may use: in a job of a cluster, fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def end_with_parent():
    """Ask the kernel to kill this process when its parent ends.

    It would otherwise hold the terminal, or write to a run folder in which the user has already restarted the command.
    """
    with contextlib.suppress(AttributeError, OSError):  # Linux only
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def available_memory(meminfo="/proc/meminfo"):
    """Return the number of bytes that can still be allocated, without swap; infinity on a system without /proc."""
    try:
        lines = Path(meminfo).read_text().splitlines()
    except OSError:
        return math.inf
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), math.inf)


def keep_freed_memory():
    """Keep freed memory in the process for reuse, instead of returning it to the system (a setting of glibc).

    A training step frees arrays of a hundred megabytes and allocates them again. The system provides new memory page
    by page and fills it with zeros, which costs a fifth of a training step in Theano. The peak memory stays the same.
    The setting holds for the whole process, so call this in commands, not in libraries. Does nothing without glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
