"""The monitor of the deep net's training: a flat loss, and a layer that is dead."""
from common import monitor

SHORTEST_WINDOW = 100  # iterations: with two images in each, losses scatter
REMEDY = "try another base_lr"


class Monitor(monitor.Monitor):
    """Warnings of a run.

    Parameters
    ----------
    iterations : int
        Length of the run; each tenth of it, of at least 100 iterations, is looked at for a flat loss.
    state : dict or None
        `.state` of the run that is resumed.
    """

    def __init__(self, iterations, state=None):
        super().__init__(max(SHORTEST_WINDOW, iterations // 10), "iterations", state)

    def check(self, loss, weights, gradients):
        """Take the numbers of one iteration.

        Parameters
        ----------
        loss : float, of training
        weights, gradients : dict of str: float
            Norms by layer: of the weights, and of their gradient.

        Returns
        -------
        list of str
            Warnings, each of one line.
        """
        found = self.flat_loss(loss, REMEDY)
        for layer, norm in weights.items():
            found += self.once(f"zero {layer}", norm == 0,
                               f"{layer} is dead, all its weights are 0 and let nothing through: give it a "
                               "weight_filler in train_val.prototxt (Caffe's default is constant 0)")
            found += self.once(f"dead {layer}", norm != 0 and gradients[layer] == 0,
                               f"{layer} does not learn, its gradient is 0: a layer above it is dead, or all its ReLUs "
                               "are off; restart with a lower base_lr, or see the weight_fillers in train_val.prototxt")
        return found
