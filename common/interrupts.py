"""Ctrl-C and SIGTERM at moments where the state of a training run is whole."""
import signal

from common.errors import Terminated


class Interrupts:
    """Between `with` and its end, note a request to stop; `check()` acts on it.

    A signal that arrives inside an update would leave some weights updated and others not. The
    training loop calls `check()` between updates. A second Ctrl-C does not wait.
    """

    def __enter__(self):
        self._asked = None
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self):
        """Raise KeyboardInterrupt (Terminated for SIGTERM) if a signal has arrived."""
        if self._asked is not None:
            raise KeyboardInterrupt if self._asked == signal.SIGINT else Terminated

    def _note(self, number, _frame):
        if self._asked is not None:
            raise KeyboardInterrupt
        self._asked = number
