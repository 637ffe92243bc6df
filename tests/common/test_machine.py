"""Settings of libraries for this machine, and that they do not change the environment of other programs."""
import os

import pytest

from common import machine
from tests.conftest import python


@pytest.mark.parametrize("flags, kernel", [
    ("fma avx2 avx512f avx512dq avx512bw avx512vl", "SkylakeX"), ("fma avx2", "Haswell"), ("sse2", None)])
def test_blas_kernels_follow_the_processor_flags_unless_the_user_sets_them(tmp_path, monkeypatch, flags, kernel):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    (tmp_path / "cpuinfo").write_text(f"model\t: 207\nflags\t\t: {flags}\n")
    assert machine.blas_settings(tmp_path / "cpuinfo").get("OPENBLAS_CORETYPE") == kernel
    assert "OPENBLAS_CORETYPE" not in machine.blas_settings(tmp_path / "no such file")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    if kernel:
        assert machine.blas_settings(tmp_path / "cpuinfo")["OPENBLAS_CORETYPE"] == "Nehalem"


def test_environment_variables_are_restored_after_an_error(monkeypatch):
    monkeypatch.setenv("SALIENCY_A", "before")
    before = dict(os.environ)
    with pytest.raises(ValueError), machine.environment(SALIENCY_A="during", SALIENCY_B="during"):
        assert os.environ["SALIENCY_A"] == os.environ["SALIENCY_B"] == "during"
        raise ValueError
    assert dict(os.environ) == before


LOADED = """
import ctypes, os
import cv2  # sets LD_LIBRARY_PATH when it is imported
before = dict(os.environ)
{imports}
library = ctypes.CDLL("libopenblas.so.0", os.RTLD_NOLOAD)
library.openblas_get_corename.restype = ctypes.c_char_p
mapped = {{line.split()[-1] for line in open("/proc/self/maps") if "openblas" in line and "site-packages" not in line}}
print(library.openblas_get_corename().decode(), len(mapped), dict(os.environ) == before)
"""
CAFFE = "from deep.backend import load_caffe; load_caffe()"
THEANO = "from shallow.backend import tensor, theano; x = tensor.matrix(); theano.function([x], tensor.dot(x, x))"


@pytest.mark.parametrize("imports", [CAFFE, THEANO, f"{THEANO}\n{CAFFE}"], ids=["Caffe", "Theano", "both"])
@pytest.mark.parametrize("user", [{}, {"OPENBLAS_CORETYPE": "Nehalem"}], ids=["nothing set", "set by the user"])
def test_a_net_loads_one_blas_with_the_chosen_kernels_and_keeps_the_environment(imports, user):
    """A program that uses a net must not pass our settings on to the programs that it starts."""
    if not machine.load_blas():
        pytest.skip("the system has no OpenBLAS, or one that does not report its kernels")
    process = python("-c", LOADED.format(imports=imports), **user)
    kernel = user.get("OPENBLAS_CORETYPE", machine.load_blas().split()[1].rstrip(","))
    assert process.stdout.split() == [kernel, "1", "True"], process.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot restrict a process to some cores")
def test_cores_of_a_cluster_job_are_counted():
    """A process that may use one core counts one, whatever the machine has."""
    core = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{core}]); from common.machine import count_cores; print(count_cores())"
    assert python("-c", code).stdout.strip() == "1"


def test_freed_memory_is_reused():
    """Allocating an array of the same size again causes no page faults."""
    code = ("import resource, sys\nimport numpy as np\nfrom common.machine import keep_freed_memory\n"
            "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
            "if sys.argv[1] == 'keep': keep_freed_memory()\n"
            "np.ones(2 ** 24, np.float32)\nbefore = faults()\n"
            "for _ in range(10): np.ones(2 ** 24, np.float32)\nprint(faults() - before)")
    page_faults = {mode: int(python("-c", code, mode).stdout) for mode in ("keep", "default")}
    assert page_faults["keep"] * 10 < page_faults["default"]
