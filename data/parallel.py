"""Work on all cores, an item at a time, with a progress bar."""
import warnings


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
    import joblib

    from data.progress import progress

    # Ctrl-C leaves work undone, and that is meant
    warnings.filterwarnings("ignore", message=".*tasks which were still being processed", category=UserWarning)
    results = joblib.Parallel(n_jobs=jobs, return_as="generator")(joblib.delayed(function)(*item) for item in items)
    yield from progress(results, total, description)
