"""Progress bars with time left, on a terminal and in a log file."""
import sys
import threading


def progress(iterable=None, total=None, description="", unit="image", initial=0):
    """Show a progress bar on stderr; in a log file, print a line every 30 seconds instead of redrawing.

    Parameters
    ----------
    iterable : iterable or None
        None for a bar that the caller advances with `.update()`.
    total : int or None
        Number of units; by default the length of `iterable`.
    description : str
        Label of the bar.
    unit : str
        Name of a unit.
    initial : int
        Number of units that an earlier run has done.

    Returns
    -------
    tqdm.tqdm
        Iterate over it, or use it as a context manager.
    """
    from tqdm import tqdm

    # tqdm's default lock is shared between processes; a process that a library aborts would leak it, with a warning
    tqdm.set_lock(threading.RLock())
    on_terminal = sys.stderr.isatty()
    return tqdm(iterable, total=total, desc=description, unit=unit, initial=initial,
                file=sys.stderr if on_terminal else _Lines(),
                mininterval=0.2 if on_terminal else 30, maxinterval=10 if on_terminal else 60,
                dynamic_ncols=on_terminal, ncols=None if on_terminal else 100, smoothing=0.1)


class _Lines:
    """File that writes each state of the bar as a line of its own, since a log cannot redraw a line."""

    def write(self, text):
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self):
        sys.stderr.flush()
