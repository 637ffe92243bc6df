"""Ctrl-C and SIGTERM between the updates of a training run, when its state is consistent."""
import signal

from common.errors import Terminated


class Interrupts:
    """Context manager that holds back Ctrl-C and SIGTERM until `check` is called.

    A signal during an update would leave some weights updated and others not. A training loop therefore
    calls `check` between updates. A second signal interrupts at once.
    """

    def __enter__(self):
        self._signal = None
        self._handlers = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def check(self):
        """Raise KeyboardInterrupt (Terminated for SIGTERM) if a signal has arrived."""
        if self._signal is not None:
            raise KeyboardInterrupt if self._signal == signal.SIGINT else Terminated

    def _note(self, number, _frame):
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number
