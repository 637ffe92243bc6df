"""What the libraries are told about this machine."""
import subprocess
import sys

import pytest

from data import machine
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("flags, kernel", [
    ("fma avx2 avx512f avx512dq avx512bw avx512vl", "SkylakeX"), ("fma avx2", "Haswell"), ("sse2", None)])
def test_blas_kernel_follows_the_flags(tmp_path, monkeypatch, flags, kernel):
    monkeypatch.setattr(machine.os, "environ", environment := {})
    (tmp_path / "cpuinfo").write_text(f"model\t: 207\nflags\t\t: {flags}\n")
    machine.choose_blas_kernel(tmp_path / "cpuinfo")
    assert environment.get("OPENBLAS_CORETYPE") == kernel
    environment["OPENBLAS_CORETYPE"] = "Mine"
    machine.choose_blas_kernel(tmp_path / "cpuinfo")
    assert environment["OPENBLAS_CORETYPE"] == "Mine"


def test_freed_memory_is_kept():
    """Arrays of the same size, made again, cost no new pages."""
    code = ("import resource, sys\nimport numpy as np\nfrom data.machine import keep_freed_memory\n"
            "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
            "if sys.argv[1] == 'keep': keep_freed_memory()\n"
            "np.ones(2 ** 24, np.float32)\nbefore = faults()\n"
            "for _ in range(10): np.ones(2 ** 24, np.float32)\nprint(faults() - before)")
    found = {what: int(subprocess.run([sys.executable, "-c", code, what], cwd=REPOSITORY, text=True, check=True,
                                      capture_output=True).stdout) for what in ("keep", "give back")}
    assert found["keep"] * 10 < found["give back"]
