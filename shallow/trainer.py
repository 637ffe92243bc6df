"""The shallow net with its loss and update rule compiled, and its state on disk (section 3.2)."""
import numpy as np

from common.errors import UserError
from shallow import network, weights
from shallow.backend import lasagne, tensor, theano
from shallow.settings import architecture

VELOCITY, RANDOM = "velocity/", "random/"  # what a checkpoint holds beside the parameters


class Trainer:
    """The net, its loss and its update rule, compiled.

    Parameters
    ----------
    settings : dict
        As `shallow.settings.resolve` gives them.
    sizes : dict
        input_size and map_size of `network.build`, for small instances.

    Attributes
    ----------
    step : callable (images, targets, rate, momentum) -> float
        One update. Images float32 (n, 3, 96, 96) in [0, 1], targets float32 (n, 2304) in the range that
        the settings name; gives the loss before the update, without the penalty.
    forward : callable images -> float32 (n, 2304)
    """

    def __init__(self, settings, **sizes):
        self.net = network.build(**architecture(settings), init=settings["init"], seed=settings["seed"],
                                 dropout=settings["dropout"], **sizes)
        self.parameters = network.named_parameters(self.net)
        images, targets = tensor.tensor4("images"), tensor.matrix("targets")
        rate, momentum = tensor.scalar("rate"), tensor.scalar("momentum")
        self._error = _losses()[settings["loss"]]
        error = self._error(lasagne.layers.get_output(self.net, images), targets).mean()
        self.random_states = {str(index): state for index, state in enumerate(network.random_states(self.net))}
        penalty = lasagne.regularization.regularize_network_params(self.net, lasagne.regularization.l2)
        parameters = list(self.parameters.values())
        updates = lasagne.updates.nesterov_momentum(error + settings["l2"] * penalty, parameters, rate, momentum)
        # Lasagne keeps each parameter's velocity in a shared variable of its own, in the same order
        velocities = [variable for variable in updates if variable not in parameters]
        self.velocities = dict(zip(self.parameters, velocities, strict=True))
        if settings["max_norm"] is not None:
            maxout_weights = self.parameters["fc1.W"]
            updates[maxout_weights] = constrain_norm(updates[maxout_weights], settings["max_norm"])
        # the penalty's value is not asked for, so only its gradient is computed
        self.step = theano.function([images, targets, rate, momentum], error, updates=updates)
        answer = lasagne.layers.get_output(self.net, images, deterministic=True)
        self.forward = theano.function([images], answer)
        self._validate = theano.function([images, targets], [answer, self._error(answer, targets).mean(axis=1)])

    def validate(self, batches):
        """Measure the net on held-out images.

        Parameters
        ----------
        batches : iterable of (float32 (n, 3, 96, 96), float32 (n, 2304))

        Returns
        -------
        dict
            val_loss, mean over images; val_cc, their mean correlation with people's maps at 48x48,
            a constant map counting as 0; val_spread, how much the maps differ from image to image, in
            units of how much people's do: 0 is one map for all; fc1_max_norm, the longest vector of weights
            that enters a unit of the maxout.
        """
        losses, correlations, ours, people = [], [], _Spread(), _Spread()
        for images, targets in batches:
            answers, errors = self._validate(images, targets)
            losses += list(errors)
            with np.errstate(invalid="ignore", divide="ignore"):
                found = [np.corrcoef(answer, target)[0, 1] for answer, target in zip(answers, targets)]
            correlations += list(np.nan_to_num(found))
            ours.add(answers)
            people.add(targets)
        norms = np.sqrt((self.parameters["fc1.W"].get_value(borrow=True) ** 2).sum(axis=0))
        return {"val_loss": float(np.mean(losses)), "val_cc": float(np.mean(correlations)),
                "val_spread": ours.value() / max(people.value(), 1e-12), "fc1_max_norm": float(norms.max())}

    def save(self, path, settings, state=None):
        """Write the parameters; for a checkpoint also velocities, random states and `state`.

        Parameters
        ----------
        path : path of an .npz
        settings : dict
        state : dict of what JSON can hold, or None for weights alone

        Raises
        ------
        UserError
            The disk is full or the folder cannot be written to; an older file at `path` is untouched.
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
            Of this run; the checkpoint must have been saved with the same.

        Returns
        -------
        dict
            The state it was saved with.

        Raises
        ------
        UserError
            It is damaged, no checkpoint, or another run's.
        """
        remedy = "give --restart to train from the beginning"
        try:
            arrays, saved = weights.load(path)
        except UserError as error:
            raise UserError(f"{path}: the checkpoint is damaged; {remedy}") from error
        state = saved.pop("state", None)
        if state is None:
            raise UserError(f"{path}: holds weights but is no checkpoint; {remedy}")
        if saved != settings:
            other = sorted(name for name in {*saved, *settings} if saved.get(name) != settings.get(name))
            raise UserError(f"{path}: a checkpoint of a run with other settings ({', '.join(other)}); {remedy}")
        for prefix, variables in ((VELOCITY, self.velocities), (RANDOM, self.random_states)):
            group = {name.removeprefix(prefix): arrays.pop(name) for name in list(arrays) if name.startswith(prefix)}
            weights.assign(variables, group, path)
        weights.assign(self.parameters, arrays, path)
        return state


def constrain_norm(weights, max_norm):
    """Shrink the columns of a weight matrix that are longer than max_norm to that length.

    The same as lasagne.updates.norm_constraint, whose sum over 59 million squares is not a matrix
    product and takes 0.4 s a step; this takes a tenth of that.

    Parameters
    ----------
    weights : theano matrix (inputs, units)
    max_norm : float

    Returns
    -------
    theano matrix (inputs, units)
    """
    norms = tensor.sqrt(tensor.dot(tensor.ones_like(weights[:, 0]), tensor.sqr(weights)))
    return weights * (tensor.minimum(norms, max_norm) / tensor.maximum(norms, 1e-7))


def _losses():
    """The losses by their names in shallow.settings, theano (answers, targets) -> errors of one shape."""
    return {"squared": lasagne.objectives.squared_error,
            "l1": lambda answers, targets: abs(answers - targets),
            "cross-entropy": lasagne.objectives.binary_crossentropy}


class _Spread:
    """How much maps differ between images: their standard deviation, root mean square over cells; one pass."""

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
