"""Checks of a training run for signs that its weights will be useless. Each net adds checks of its own."""
import numpy as np

from common.errors import UserError


def check_finite(folder, when, remedy, **values):
    """Raise UserError if a loss is NaN or infinite: the weights are lost, and further training is useless.

    Parameters
    ----------
    folder : path of the run
    when : str
        Time of the loss, such as "epoch 3".
    remedy : str
        What the user can do, the end of the error message.
    **values : float
        Losses by name.
    """
    for name, value in values.items():
        if not np.isfinite(value):
            raise UserError(f"{folder}: {name} is {value} in {when}: the learning diverged; {remedy}")


class Monitor:
    """Monitor of a training run. It returns a warning when a condition begins to hold, and not again while it holds.

    Parameters
    ----------
    window : int
        Number of losses in which a decrease is expected.
    unit : str
        What one loss belongs to: "epochs" or "iterations".
    state : dict or None
        The attribute `state` of the run that is resumed, None for a new run.

    Attributes
    ----------
    state : dict
        The losses of the current window and the names of the conditions that hold; JSON can store it.
    """

    def __init__(self, window, unit, state=None):
        self.window, self.unit = window, unit
        self.state = state or {"losses": [], "raised": []}

    def flat_loss(self, loss, remedy):
        """Add a training loss, and check the window when it is full.

        Parameters
        ----------
        loss : float
        remedy : str
            What the user can do, the end of the warning.

        Returns
        -------
        list of str
            A warning if the last `window` losses have not fallen, else empty.
        """
        losses = [*self.state["losses"], loss]
        self.state["losses"] = losses if len(losses) < self.window else []
        if len(losses) < self.window:
            return []
        return self.once("flat", _is_flat(losses),
                         f"the training loss has stopped falling: no decrease in {self.window} {self.unit} (now "
                         f"{loss:.4g}); expected near the end of training; earlier: see log.csv, {remedy}")

    def once(self, name, condition, message):
        """Return `[message]` if the condition holds and did not hold at the previous call with this name, else `[]`."""
        raised = self.state["raised"]
        if condition and name not in raised:
            raised.append(name)
            return [message]
        if not condition and name in raised:
            raised.remove(name)
        return []


def _is_flat(losses):
    """Return True unless the mean of the second half is below that of the first by more than the standard error."""
    first, second = np.array_split(np.asarray(losses), 2)
    scatter = np.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    return bool(first.mean() - second.mean() <= scatter)
