"""What says early that a training run will end in useless weights."""
import numpy as np

from data.errors import UserError

SAME_MAP = 0.02  # val_spread below which a net is said to answer all images alike
SHORTEST_WINDOW = 20  # epochs that are looked at for a loss that no longer falls


def refuse_nan(folder, epoch, **values):
    """Raise UserError if a loss is NaN or infinite: the weights are lost, and so is what follows."""
    for name, value in values.items():
        if not np.isfinite(value):
            raise UserError(f"{folder}: {name} is {value} in epoch {epoch}: the learning diverged; "
                            "give a lower --learning-rate, and --restart")


class Alarms:
    """Warnings, each given once when its reason appears and again only after it had gone.

    Parameters
    ----------
    epochs : int
        Length of the run; each tenth of it, of at least 20 epochs, is looked at for a flat loss.
    state : dict or None
        `.state` of the run that is resumed.
    """

    def __init__(self, epochs, state=None):
        self.window = max(SHORTEST_WINDOW, epochs // 10)
        self.state = state or {"losses": [], "raised": []}

    def check(self, loss, val_spread=None):
        """Take the numbers of one epoch.

        Parameters
        ----------
        loss : float, of training
        val_spread : float or None
            As `Trainer.validate` gives it, in epochs that have it.

        Returns
        -------
        list of str
            Warnings, each of one line.
        """
        found, losses = [], [*self.state["losses"], loss]
        if len(losses) == self.window:
            found = self._note("flat", _is_flat(losses),
                               f"the training loss has not fallen for {self.window} epochs (it stands at {loss:.4g}); "
                               "stuck if this is early, learned out if it is late: see log.csv, try another "
                               "--learning-rate or --init released")
            losses = []
        self.state["losses"] = losses
        if val_spread is not None:
            found += self._note("same map", val_spread < SAME_MAP,
                                f"the net answers all images with one map (they differ by {val_spread:.1%} of what "
                                "people's maps do): the known failure of this net; it needs more updates, a higher "
                                "--learning-rate, or --init released")
        return found

    def _note(self, name, is_so, line):
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
