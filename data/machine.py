"""What this machine's processor can do, told to the matrix library before it loads."""
import os
from pathlib import Path


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
