"""What says early that a training run will end in useless weights; each net adds its own signs."""
import numpy as np

from common.errors import UserError


def check_finite(folder, when, remedy, **values):
    """Raise UserError if a loss is NaN or infinite: the weights are lost, and so is what follows.

    Parameters
    ----------
    folder : path of the run
    when : str, e.g. "epoch 3"
    remedy : str
    **values : float
    """
    for name, value in values.items():
        if not np.isfinite(value):
            raise UserError(f"{folder}: {name} is {value} in {when}: the learning diverged; {remedy}")


class Monitor:
    """Warnings, each given once when its reason appears and again only after it had gone.

    Parameters
    ----------
    window : int
        Losses that are looked at together for one that no longer falls.
    unit : str
        What a loss is of: "epochs" or "iterations".
    state : dict or None
        `.state` of the run that is resumed.
    """

    def __init__(self, window, unit, state=None):
        self.window, self.unit = window, unit
        self.state = state or {"losses": [], "raised": []}

    def flat_loss(self, loss, remedy):
        """Take one training loss.

        Returns
        -------
        list of str
            A warning if the last `window` losses do not fall.
        """
        losses = [*self.state["losses"], loss]
        self.state["losses"] = losses if len(losses) < self.window else []
        if len(losses) < self.window:
            return []
        return self.once("flat", _is_flat(losses),
                         f"the training loss has not fallen for {self.window} {self.unit} (it stands at {loss:.4g}); "
                         f"stuck if this is early, learned out if it is late: see log.csv, {remedy}")

    def once(self, name, is_so, line):
        """`[line]` if `is_so` and was not the last time, else `[]`."""
        raised = self.state["raised"]
        if is_so and name not in raised:
            raised.append(name)
            return [line]
        if not is_so and name in raised:
            raised.remove(name)
        return []


def _is_flat(losses):
    """True if the second half of the losses is not lower than the first by more than they scatter."""
    first, second = np.array_split(np.asarray(losses), 2)
    scatter = np.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    return bool(first.mean() - second.mean() <= scatter)
