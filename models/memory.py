"""How much memory a net takes on this machine, beside what Table 1 counts."""
import multiprocessing
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
KINDS = {"Total (train)": "train", "Total (test)": "test"}  # rows of Table 1 that a process can be asked for


def measure(net):
    """Train and predict on one image, each in a process of its own, and see how far that grows.

    What counts is the largest size of the process during an update or a prediction, less its size when
    Theano or Caffe was loaded but no net: parameters, data, gradients, momentum, and what the engine's and
    the matrix library's own buffers take.

    Parameters
    ----------
    net : "shallow" or "deep"

    Returns
    -------
    dict of str: float
        MiB by the rows of Table 1. Empty on a system without Linux's /proc.
    """
    if not RESET.exists():
        return {}
    grown = {}
    for row, kind in KINDS.items():
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            grown[row] = pool.apply(_grown, (net, kind))
    return grown


def _grown(net, kind):
    """MiB, in a fresh process."""
    if net == "shallow":
        import shallow.backend  # noqa: F401  loads Theano
        from shallow.summary import one_image
    else:
        from deep.backend import load_caffe
        from deep.summary import one_image
        load_caffe()

    before = _kilobytes("VmRSS")
    with one_image(kind) as work:
        RESET.write_text("5")  # proc(5): the high-water mark starts anew, without what building the net took
        for _ in range(2):  # the second time with gradients and momentum of the first still there
            work()
        return (_kilobytes("VmHWM") - before) / 2**10


def _kilobytes(field):
    return int(next(line for line in STATUS.read_text().splitlines() if line.startswith(field)).split()[1])
