"""Warn about signs of failing training of the deep net: a loss that stops falling, and dead layers."""
from common import monitor

SHORTEST_WINDOW = 100  # iterations: the loss of two images varies much from one to the next
REMEDY = "try another base_lr"


class Monitor(monitor.Monitor):
    """Warnings of a training run.

    Parameters
    ----------
    iterations : int
        Length of the run. Every tenth of it, but at least 100 iterations, is checked for a loss that does not fall.
    state : dict or None
        `.state` of the interrupted run, to resume it.
    """

    def __init__(self, iterations, state=None):
        super().__init__(max(SHORTEST_WINDOW, iterations // 10), "iterations", state)

    def check(self, loss, weights, gradients):
        """Check one iteration.

        Parameters
        ----------
        loss : float, training loss
        weights, gradients : dict of str: float
            Per layer: norm of the weights, norm of their gradient.

        Returns
        -------
        list of str
            Warnings, one line each.
        """
        warnings = self.flat_loss(loss, REMEDY)
        for layer, norm in weights.items():
            warnings += self.once(f"zero {layer}", norm == 0,
                                  f"{layer} is dead: all its weights are 0, so its output is 0; give it a "
                                  "weight_filler in train_val.prototxt (Caffe's default is constant 0)")
            warnings += self.once(f"dead {layer}", norm != 0 and gradients[layer] == 0,
                                  f"{layer} does not learn: its gradient is 0, because a later layer is dead, or all "
                                  "its ReLUs output 0; restart with a lower base_lr, or see the weight_fillers in "
                                  "train_val.prototxt")
        return warnings
