"""Ctrl-C and SIGTERM at moments when they may not raise an exception."""
import contextlib
import multiprocessing.resource_tracker
import signal
import threading

from common.errors import Terminated, deferred_signal
from common.machine import environment

WORKER_SIGNALS = signal.SIGTERM, signal.SIGALRM  # alarm: a signal that `common.errors` has deferred
SIGNALS = signal.SIGINT, *WORKER_SIGNALS


@contextlib.contextmanager
def hold_signals():
    """Hold back Ctrl-C and SIGTERM in a `with` block that starts processes; these start with the signals blocked.

    The terminal sends Ctrl-C to them, too, and each would print a traceback. Each calls `accept_signals`. A signal that
    arrives in the block takes effect at its end.
    """
    start_tracker(multiprocessing.resource_tracker)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    held = []
    try:
        # the system can give a signal to another thread, such as one of OpenBLAS: its handler runs in the main thread
        with handled_by(lambda number, _: held.append(number)):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in held:
            signal.raise_signal(number)


@contextlib.contextmanager
def handled_by(handler):
    """Give Ctrl-C, SIGTERM and deferred signals to a handler in a `with` block.

    A signal that is ignored, or that ends the process by default, is not changed. In a thread other than the main one,
    nothing is changed.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {number: old for number in SIGNALS if main and callable(old := signal.getsignal(number))}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def start_tracker(tracker):
    """Start the resource tracker of `multiprocessing` or of loky, if it is not running, with its warnings off.

    Call this before signals are blocked: the start of a tracker unblocks them. When a command has ended, the tracker
    removes semaphores that were left behind. Its warning would follow the line of a signal. Those who start Python with
    -W still see it.

    Parameters
    ----------
    tracker : module with the function ensure_running
    """
    with environment(PYTHONWARNINGS="ignore"):
        tracker.ensure_running()


def accept_signals(*others):
    """Accept SIGTERM, and `others`, in a process that was started under `hold_signals`."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*WORKER_SIGNALS, *others})


class Interrupts:
    """Context manager that holds back Ctrl-C and SIGTERM until `check` is called.

    A signal during an update would leave some weights updated and others not. A training loop therefore
    calls `check` between updates. A second Ctrl-C interrupts at once. A second SIGTERM changes nothing: `make` sends
    its own after one to the whole group.
    """

    def __enter__(self):
        self._signal = None
        self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS
                          if signal.getsignal(number) != signal.SIG_IGN}
        return self

    def __exit__(self, *_):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def check(self):
        """Raise KeyboardInterrupt (Terminated for SIGTERM) if a signal has arrived."""
        if self._signal is not None:
            raise KeyboardInterrupt if self._signal == signal.SIGINT else Terminated

    def _note(self, number, _frame):
        number = deferred_signal() if number == signal.SIGALRM else number
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number
