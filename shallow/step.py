"""The interface of the shallow net's training step, with all that does not depend on the library that computes it."""
import abc

import numpy as np

from common.errors import UserError
from common.files import NONE, NUMBER, check_content
from shallow import weights

VELOCITY, RANDOM = "velocity/", "random/"  # prefixes of the arrays that only a checkpoint holds
# of a checkpoint
STATE = {"epoch": int, "batch?": int, "losses?": [NUMBER], "best?": NUMBER,
         "monitor?": (NONE, {"losses": [NUMBER], "raised": [str]})}
RESTART = "give --restart to train from the beginning"


class Step(abc.ABC):
    """A net, its loss and its update rule, with methods to save and load their state.

    The files are the same for all libraries, so that a run may change its engine at a checkpoint.

    Attributes
    ----------
    parameters, velocities, random_states : dict of str: variable
        Parameters and their velocities, both by parameter name; states of the random generators of dropout. Variables
        have the attribute `dtype` and the methods get_value(borrow=False) and set_value(array, borrow=False).
    """

    @abc.abstractmethod
    def update(self, images, targets, rate, momentum):
        """Compute one update.

        Parameters
        ----------
        images : float32 (n, 3, 96, 96) in [0, 1]
        targets : float32 (n, 2304), in the range settings["target_range"]
        rate, momentum : float
            Learning rate and momentum of this update.

        Returns
        -------
        float
            The loss before the update, without the L2 penalty.
        """

    @abc.abstractmethod
    def forward(self, images):
        """Compute the net's outputs without dropout, float32 (n, 2304), of images as for `update`."""

    @abc.abstractmethod
    def outputs_and_losses(self, images, targets):
        """Compute the outputs as `forward` and the loss of each image, float32 (n,)."""

    def validate(self, batches):
        """Evaluate the net on validation images.

        Parameters
        ----------
        batches : iterable of (float32 (n, 3, 96, 96), float32 (n, 2304))
            Images and targets, as for `update`.

        Returns
        -------
        dict of str: float
            val_loss: mean over images.
            val_cc: mean correlation of outputs and targets at 48x48; 0 for a constant output.
            val_spread: standard deviation of the outputs over images, divided by that of the targets; 0 means that
            every image gets the same output.
            fc1_max_norm: largest norm of the incoming weights of a maxout unit.
        """
        losses, correlations, output_spread, target_spread = [], [], _Spread(), _Spread()
        for images, targets in batches:
            outputs, image_losses = self.outputs_and_losses(images, targets)
            losses += list(image_losses)
            with np.errstate(invalid="ignore", divide="ignore"):
                batch_correlations = [np.corrcoef(output, target)[0, 1] for output, target in zip(outputs, targets)]
            correlations += list(np.nan_to_num(batch_correlations))
            output_spread.add(outputs)
            target_spread.add(targets)
        norms = np.sqrt((self.parameters["fc1.W"].get_value(borrow=True) ** 2).sum(axis=0))
        return {"val_loss": float(np.mean(losses)), "val_cc": float(np.mean(correlations)),
                "val_spread": output_spread.value() / max(target_spread.value(), 1e-12),
                "fc1_max_norm": float(norms.max())}

    def save(self, path, settings, state=None):
        """Write the parameters; for a checkpoint also the velocities, the random states and `state`.

        Parameters
        ----------
        path : path of an .npz
        settings : dict
        state : JSON-serialisable dict, or None to write the parameters only

        Raises
        ------
        UserError
            The disk is full or the folder is not writable. An older file at `path` stays unchanged.
        """
        groups = {"": self.parameters}
        if state is not None:
            groups.update({VELOCITY: self.velocities, RANDOM: self.random_states})
        arrays = {prefix + name: variable.get_value(borrow=True)
                  for prefix, variables in groups.items() for name, variable in variables.items()}
        weights.save(path, arrays, {**settings, **({} if state is None else {"state": state})})

    def resume(self, path, settings):
        """Load a checkpoint.

        Parameters
        ----------
        path : path of an .npz
        settings : dict
            Settings of this run; the checkpoint must have been saved with the same ones.

        Returns
        -------
        dict
            The `state` that was given to `save`.

        Raises
        ------
        UserError
            The file is damaged, is not a checkpoint, or belongs to a run with other settings.
        """
        arrays, saved, state = read_checkpoint(path)
        if saved != settings:
            changed = sorted(name for name in {*saved, *settings} if saved.get(name) != settings.get(name))
            raise UserError(f"{path}: a checkpoint of a run with other settings ({', '.join(changed)}); {RESTART}")
        for prefix, variables in ((VELOCITY, self.velocities), (RANDOM, self.random_states)):
            group = {name.removeprefix(prefix): arrays.pop(name) for name in list(arrays) if name.startswith(prefix)}
            weights.assign(variables, group, path)
        weights.assign(self.parameters, arrays, path)
        return state


def read_checkpoint(path):
    """Read a file that `Step.save` wrote with a state; return its arrays, its settings and its state.

    Raises
    ------
    UserError
        The file is damaged, or is not a checkpoint.
    """
    try:
        arrays, settings = weights.load(path)
    except UserError as error:
        raise UserError(f"{path}: the checkpoint is damaged; {RESTART}") from error
    state = settings.pop("state", None)
    if state is None:
        raise UserError(f"{path}: contains weights but is not a checkpoint; {RESTART}")
    check_content(state, STATE, path, RESTART)
    return arrays, settings, state


class _Spread:
    """Standard deviation over images at each pixel, combined over pixels as root mean square; computed in one pass."""

    def __init__(self):
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def add(self, maps):
        maps = maps.astype(np.float64)
        self._count += len(maps)
        self._sum = self._sum + maps.sum(axis=0)
        self._squares = self._squares + (maps ** 2).sum(axis=0)

    def value(self):
        variance = self._squares / self._count - (self._sum / self._count) ** 2
        return float(np.sqrt(max(variance.mean(), 0.0)))
