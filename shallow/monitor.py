"""The monitor of the shallow net's training: a flat loss, and its known failure."""
from common import monitor

SAME_MAP = 0.02  # val_spread below which a net is said to answer all images alike
SHORTEST_WINDOW = 20  # epochs that are looked at for a loss that no longer falls
REMEDY = "try another --learning-rate or --init released"


class Monitor(monitor.Monitor):
    """Warnings of a run.

    Parameters
    ----------
    epochs : int
        Length of the run; each tenth of it, of at least 20 epochs, is looked at for a flat loss.
    state : dict or None
        `.state` of the run that is resumed.
    """

    def __init__(self, epochs, state=None):
        super().__init__(max(SHORTEST_WINDOW, epochs // 10), "epochs", state)

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
        found = self.flat_loss(loss, REMEDY)
        if val_spread is not None:
            found += self.once("same map", val_spread < SAME_MAP,
                               f"the net answers all images with one map (they differ by {val_spread:.1%} of what "
                               "people's maps do): the known failure of this net; it needs more updates, a higher "
                               "--learning-rate, or --init released")
        return found
