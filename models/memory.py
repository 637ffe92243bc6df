"""Measure how much memory a net takes on this machine, to compare with Table 1."""
import multiprocessing
from pathlib import Path

from common.interrupts import accept_signals, hold_signals

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
KINDS = {"Total (train)": "train", "Total (test)": "test"}  # rows of Table 1 that can be measured


def measure_memory(net):
    """Train and predict on one image, each in a new process, and measure how much the process grows.

    The growth is the largest size of the process during an update or a prediction, less its size after Theano or Caffe
    is loaded and before the net is built. It includes parameters, data, gradients, momentum, and the buffers of the
    engine and of the matrix library.

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
    growth = {}
    for row, kind in KINDS.items():
        with hold_signals():
            pool = multiprocessing.get_context("spawn").Pool(1, accept_signals)
        with pool:
            growth[row] = pool.apply(_process_growth, (net, kind))
    return growth


def _process_growth(net, kind):
    """Return the growth in MiB; call it in a new process."""
    if net == "shallow":
        import shallow.backend  # noqa: F401  loads Theano
        from shallow.summary import one_image
    else:
        from deep.backend import load_caffe
        from deep.summary import one_image
        load_caffe()

    before = status_kilobytes("VmRSS")
    with one_image(kind) as work:
        RESET.write_text("5")  # proc(5): reset the peak, so that building the net does not count
        for _ in range(2):  # twice, since gradients and momentum of the first update stay in memory
            work()
        return (status_kilobytes("VmHWM") - before) / 2**10


def status_kilobytes(field):
    """Return a size of this process from /proc/self/status in KiB, such as VmHWM, its largest size so far."""
    return int(next(line for line in STATUS.read_text().splitlines() if line.startswith(field)).split()[1])
