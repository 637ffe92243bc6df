"""Fit this machine's processor and memory to the libraries: BLAS kernels and threads, and freed memory.

NumPy and SciPy bring an OpenBLAS of their own each, which is loaded with them and left as it is. Theano and Caffe share
the system's. It reads its settings from environment variables when it is loaded, so `load_blas` sets them for that
moment alone: every process of ours (a command, a worker, Caffe's child, a test) comes to the same settings by itself,
and what else a program starts inherits nothing of them.
"""
import contextlib
import ctypes
import functools
import os
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
LIBRARY = "libopenblas.so.0"


@contextlib.contextmanager
def environment(**variables):
    """Set environment variables for a library that reads them only while it is loaded, then put them back."""
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
    """Return the environment variables that the system's OpenBLAS is loaded with; the user's own values win.

    OPENBLAS_CORETYPE: OpenBLAS 0.3.21 (Debian 12) looks its kernels up by the processor's model number and falls back
    to those of 2004 for newer models: matrix products then take six times as long (measured on an Intel model 207: 33
    against 230 GFLOP/s). The flags of the processor tell which kernels it can run, whatever its number.

    OPENBLAS_THREAD_TIMEOUT: OpenBLAS's threads otherwise wait for their next product by spinning, for 25 ms, on the
    cores where the loops of Caffe (deep/caffe/patches) or Theano then run; a tenth of the deep net's training step.

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
    """Load the OpenBLAS that Theano and Caffe are linked with, with `blas_settings`; called before either is loaded.

    They find it in memory by its name. Does nothing where there is none: they report that themselves.

    Returns
    -------
    str or None
        Kernels and threads in use, such as "OpenBLAS SkylakeX, 2 threads".
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


def keep_freed_memory():
    """Have glibc keep freed memory for what comes next instead of giving it back to the system.

    A training step frees and asks again for the same arrays of a hundred megabytes; the system hands them
    over page by page and zeroed, a fifth of the shallow net's step. The largest use of memory stays as it
    is. For command lines, not for libraries: it holds for the whole process. Does nothing without glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
