"""Warnings during the shallow net's training: a flat loss, and one map for all images."""
from common import monitor

SAME_MAP = 0.02  # val_spread below which the net is considered to give all images the same map
SHORTEST_WINDOW = 20  # minimum number of epochs for the check for a flat loss
REMEDY = "try another --learning-rate or --init released"


class Monitor(monitor.Monitor):
    """Warnings of a training run.

    Parameters
    ----------
    epochs : int
        Length of the run. Each tenth of it, at least 20 epochs, is checked for a flat loss.
    state : dict or None
        `.state` of the run that is resumed.
    """

    def __init__(self, epochs, state=None):
        super().__init__(max(SHORTEST_WINDOW, epochs // 10), "epochs", state)

    def check(self, loss, val_spread=None):
        """Check the numbers of one epoch.

        Parameters
        ----------
        loss : float
            Training loss.
        val_spread : float or None
            As returned by `TrainingStep.validate`; None in epochs without validation.

        Returns
        -------
        list of str
            Warnings of one line each.
        """
        warnings = self.flat_loss(loss, REMEDY)
        if val_spread is not None:
            warnings += self.once("same map", val_spread < SAME_MAP,
                                  "the net gives all images the same map (saliency maps differ by "
                                  f"{val_spread:.1%} of what density maps differ by), the known failure of this net; "
                                  "train for more updates, or give a higher --learning-rate or --init released")
        return warnings
