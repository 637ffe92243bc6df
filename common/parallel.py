"""Parallel calls of a function in worker processes, with a progress bar."""
import itertools
import warnings

CHUNK_SIZE = 256  # items per call of a backend that returns results only when all are complete


def in_parallel(function, items, jobs, total, description):
    """Call `function(*item)` for each item in worker processes, with a progress bar.

    The processes are those of joblib, so `joblib.parallel_config` can choose another backend, such as a cluster.

    Parameters
    ----------
    function : callable, picklable
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
    """
    from common.progress import progress

    yield from progress(results_of(function, items, jobs), total, description)


def results_of(function, items, jobs):
    """Yield the same results as `in_parallel`, without a progress bar."""
    import joblib
    from joblib.parallel import get_active_backend

    # joblib warns of unfinished tasks after Ctrl-C, where they are expected
    warnings.filterwarnings("ignore", message=".*tasks which were still being processed", category=UserWarning)
    calls = (joblib.delayed(function)(*item) for item in items)
    if get_active_backend()[0].supports_return_generator:
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator")(calls)
        return
    while chunk := list(itertools.islice(calls, CHUNK_SIZE)):  # Dask's backend returns lists only
        yield from joblib.Parallel(n_jobs=jobs)(chunk)
