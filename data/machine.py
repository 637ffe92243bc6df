"""How this machine's processor and memory are put to use, told to the libraries before they start."""
import ctypes
import os
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def choose_blas_kernel(cpuinfo="/proc/cpuinfo"):
    """Set OPENBLAS_CORETYPE for processors that Debian 12's OpenBLAS does not know yet.

    OpenBLAS 0.3.21 looks its kernels up by the processor's model number and falls back to those of
    2004 for newer models: matrix products then take six times as long (measured on an Intel model
    207: 33 against 230 GFLOP/s). What a processor can do is in its flags, whatever its number.
    A value that the user has set stays. Must run before Theano's or Caffe's libraries are loaded.
    """
    if "OPENBLAS_CORETYPE" in os.environ:
        return
    try:
        lines = Path(cpuinfo).read_text().splitlines()
    except OSError:  # not Linux
        return
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"
    elif {"avx2", "fma"} <= flags:
        os.environ["OPENBLAS_CORETYPE"] = "Haswell"


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
