"""Progress bars with time left, on a terminal and in a log file."""
import sys
import threading


def progress(iterable=None, total=None, description="", unit="image", initial=0):
    """A tqdm bar on stderr; in a log file it prints a line every half a minute instead of redrawing.

    Parameters
    ----------
    iterable : iterable or None
        None gives a bar that is moved by hand with `.update()`.
    total, initial : int
        Units of work in all, and those already done by an earlier run.
    """
    from tqdm import tqdm

    # tqdm's own lock is one for processes, which a process that Caffe aborts would leave behind, with a warning
    tqdm.set_lock(threading.RLock())
    on_terminal = sys.stderr.isatty()
    return tqdm(iterable, total=total, desc=description, unit=unit, initial=initial,
                file=sys.stderr if on_terminal else _Lines(),
                mininterval=0.2 if on_terminal else 30, maxinterval=10 if on_terminal else 60,
                dynamic_ncols=on_terminal, ncols=None if on_terminal else 100, smoothing=0.1)


class _Lines:
    """A line for each state of the bar, where a log cannot take the last one back."""

    def write(self, text):
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self):
        sys.stderr.flush()
