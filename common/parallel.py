"""Parallel calls of a function in worker processes, with a progress bar.

The workers end when the command ends, even if it is killed, and Ctrl-C reaches the command alone, which stops them. If
a worker is killed, as the system does when memory runs out, the error names the images that were being worked on.
"""
import contextlib
import functools
import itertools
import os
import tempfile
import threading
import time
import warnings

from common.errors import UserError, show_names
from common.interrupts import accept_signals, hold_signals, start_tracker

CHUNK_SIZE = 256  # items per call of a backend that returns results only when all are complete
CHECK_SECONDS = 0.5  # between two checks of a worker whether its parent lives
MAX_NAMED = 3  # images in the error
_record = None  # file to which workers append what they work on: the process, a tab, the name or nothing


def in_parallel(function, items, jobs, total, description):
    """Call `function(*item)` for each item in worker processes, with a progress bar.

    The processes are those of joblib, so `joblib.parallel_config` can choose another backend, such as a cluster.

    Parameters
    ----------
    function : callable, picklable
        Calls `working_on` with the name of each image.
    items : iterable of tuple
    jobs : int
        Number of processes; -1 for all cores.
    total : int
        Number of items.
    description : str
        Label of the progress bar.

    Yields
    ------
    The results, in the order of the items.

    Raises
    ------
    UserError
        A worker process was killed.
    """
    from common.progress import progress

    yield from progress(results_of(function, items, jobs), total, description)


def results_of(function, items, jobs):
    """Yield the same results as `in_parallel`, without a progress bar."""
    import joblib
    from joblib.parallel import get_active_backend

    # joblib warns of unfinished tasks after Ctrl-C, where they are expected
    warnings.filterwarnings("ignore", message=".*tasks which were still being processed", category=UserWarning)
    calls = (joblib.delayed(functools.partial(_call, function))(*item) for item in items)
    if get_active_backend()[0].supports_return_generator:
        yield from _local_results(calls, jobs)
        return
    while chunk := list(itertools.islice(calls, CHUNK_SIZE)):  # Dask's backend returns lists only
        yield from joblib.Parallel(n_jobs=jobs)(chunk)


def working_on(name):
    """Record the image that this worker process works on, for the error if it is killed; "" if none."""
    if _record is not None:
        with contextlib.suppress(OSError):
            os.write(_record.fileno(), f"{os.getpid()}\t{show_names(name)}\n".encode(errors="replace"))


def _call(function, *item):
    try:
        return function(*item)
    finally:
        working_on("")


def _local_results(calls, jobs):
    """Yield the results of joblib's calls in worker processes of this machine."""
    from concurrent.futures.process import BrokenProcessPool

    import joblib
    from joblib._parallel_backends import LokyBackend
    from joblib.externals.loky.backend import resource_tracker

    global _record
    if _record is None:
        _record = tempfile.TemporaryFile()  # noqa: SIM115  open as long as this process; it has no name on the disk
        # Before loky's own end, which waits for ever for a worker that is killed while the workers end. A function of
        # atexit would be too late: Python first ends its threads, and with them loky.
        threading._register_atexit(_end_workers)

    class Backend(LokyBackend):
        def configure(self, *args, **kwargs):
            worker = {"initializer": _start_worker, "initargs": (os.getpid(), _record.fileno())}
            return super().configure(*args, **worker, **kwargs)

    start_tracker(resource_tracker)
    try:
        with hold_signals():
            results = joblib.Parallel(n_jobs=jobs, return_as="generator", backend=Backend())(calls)
        yield from results
    except BrokenProcessPool as error:
        raise UserError(f"{_images_in_work()}: a worker process was killed, probably because memory ran out; close "
                        "other programs, or use one process: --jobs 1, with make JOBS=1") from error


def _end_workers():
    """Stop the idle workers at once; they have nothing to save."""
    from joblib.externals.loky import reusable_executor

    if reusable_executor._executor:
        reusable_executor._executor.terminate(kill_workers=True)


def _images_in_work():
    """Return the names of the images that the workers had not finished, as text."""
    _record.seek(0)
    lines = (line.split("\t", 1) for line in _record.read().decode().splitlines() if "\t" in line)
    names = sorted(filter(None, dict(lines).values()))
    _record.truncate(0)
    more = f" or {len(names) - MAX_NAMED} others" if len(names) > MAX_NAMED else ""
    return " or ".join(names[:MAX_NAMED]) + more or "the images"


def _start_worker(parent, descriptor):
    """Prepare a worker process: it ends with its parent, and records what it works on."""
    global _record
    accept_signals()
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    with contextlib.suppress(OSError):  # not Linux
        _record = open(f"/proc/{parent}/fd/{descriptor}", "ab", buffering=0)  # noqa: SIM115  open until the worker ends


def _follow(parent):
    """Wait for the end of the parent, then exit."""
    while os.getppid() == parent:
        time.sleep(CHECK_SECONDS)
    os._exit(1)
