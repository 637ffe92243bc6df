"""Work on all cores, an item at a time, with a progress bar."""
import itertools
import warnings

AT_ONCE = 256  # items handed to a backend that gives results back only when all are there


def in_parallel(function, items, jobs, total, description):
    """Call `function(*item)` for each item in worker processes.

    joblib does it, so its backends, a cluster's included, can be chosen with `joblib.parallel_config`.

    Parameters
    ----------
    function : callable, picklable
    items : iterable of tuple
    jobs : int
        Processes; -1 for all cores.
    total : int
        Number of items.
    description : str, for the bar

    Yields
    ------
    The results, in the order of the items.
    """
    from common.progress import progress

    yield from progress(results_of(function, items, jobs), total, description)


def results_of(function, items, jobs):
    """What `in_parallel` yields, without a bar."""
    import joblib
    from joblib.parallel import get_active_backend

    # Ctrl-C leaves work undone, and that is meant
    warnings.filterwarnings("ignore", message=".*tasks which were still being processed", category=UserWarning)
    calls = (joblib.delayed(function)(*item) for item in items)
    if get_active_backend()[0].supports_return_generator:
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator")(calls)
        return
    while chunk := list(itertools.islice(calls, AT_ONCE)):  # Dask's backend, which has lists only
        yield from joblib.Parallel(n_jobs=jobs)(chunk)
