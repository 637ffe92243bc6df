"""The shallow net's training step: the net, its loss and its update rule, compiled with Theano (section 3.2)."""
import numpy as np

from common.errors import UserError
from common.files import NONE, NUMBER, check_content
from shallow import network, weights
from shallow.backend import lasagne, tensor, theano
from shallow.settings import architecture

VELOCITY, RANDOM = "velocity/", "random/"  # prefixes of the arrays that only a checkpoint holds
# of a checkpoint
STATE = {"epoch": int, "batch?": int, "losses?": [NUMBER], "best?": NUMBER,
         "monitor?": (NONE, {"losses": [NUMBER], "raised": [str]})}
RESTART = "give --restart to train from the beginning"


class TrainingStep:
    """The compiled net, loss and update rule, with methods to save and load their state.

    Parameters
    ----------
    settings : dict
        As returned by `shallow.settings.resolve`.
    **sizes
        input_size and map_size of `network.build`, for small instances.

    Attributes
    ----------
    update : callable (images, targets, rate, momentum) -> float
        Perform one update; `rate` is the learning rate. Images are float32 (n, 3, 96, 96) in [0, 1], targets float32
        (n, 2304) in the range settings["target_range"]. Returns the loss before the update, without the L2 penalty.
    forward : callable images -> float32 (n, 2304)
        Compute the net's outputs without dropout.
    parameters, velocities, random_states : dict of str: theano shared variable
        Parameters and their velocities, both by parameter name; states of the random generators of dropout.
    """

    def __init__(self, settings, **sizes):
        self.net = network.build(**architecture(settings), init=settings["init"], seed=settings["seed"],
                                 dropout=settings["dropout"], **sizes)
        self.parameters = network.named_parameters(self.net)
        images, targets = tensor.tensor4("images"), tensor.matrix("targets")
        rate, momentum = tensor.scalar("rate"), tensor.scalar("momentum")
        pixel_losses = _loss_functions()[settings["loss"]]
        loss = pixel_losses(lasagne.layers.get_output(self.net, images), targets).mean()
        self.random_states = {str(index): state for index, state in enumerate(network.random_states(self.net))}
        parameters = list(self.parameters.values())
        regularizable = lasagne.layers.get_all_params(self.net, regularizable=True)
        gradients = [add_l2_gradient(gradient, parameter, settings["l2"]) if parameter in regularizable else gradient
                     for gradient, parameter in zip(theano.grad(loss, parameters), parameters)]
        updates = lasagne.updates.nesterov_momentum(gradients, parameters, rate, momentum)
        # Lasagne stores the velocity of each parameter in a shared variable of its own, in the same order
        velocities = [variable for variable in updates if variable not in parameters]
        self.velocities = dict(zip(self.parameters, velocities, strict=True))
        if settings["max_norm"] is not None:
            maxout_weights = self.parameters["fc1.W"]
            updates[maxout_weights] = constrain_norm(updates[maxout_weights], settings["max_norm"])
        self.update = theano.function([images, targets, rate, momentum], loss, updates=updates)
        outputs = lasagne.layers.get_output(self.net, images, deterministic=True)
        self.forward = theano.function([images], outputs)
        self._validate = theano.function([images, targets], [outputs, pixel_losses(outputs, targets).mean(axis=1)])

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
            outputs, image_losses = self._validate(images, targets)
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
        try:
            arrays, saved = weights.load(path)
        except UserError as error:
            raise UserError(f"{path}: the checkpoint is damaged; {RESTART}") from error
        state = saved.pop("state", None)
        if state is None:
            raise UserError(f"{path}: contains weights but is not a checkpoint; {RESTART}")
        check_content(state, STATE, path, RESTART)
        if saved != settings:
            changed = sorted(name for name in {*saved, *settings} if saved.get(name) != settings.get(name))
            raise UserError(f"{path}: a checkpoint of a run with other settings ({', '.join(changed)}); {RESTART}")
        for prefix, variables in ((VELOCITY, self.velocities), (RANDOM, self.random_states)):
            group = {name.removeprefix(prefix): arrays.pop(name) for name in list(arrays) if name.startswith(prefix)}
            weights.assign(variables, group, path)
        weights.assign(self.parameters, arrays, path)
        return state


def add_l2_gradient(gradient, weights, factor):
    """Add the gradient of the L2 penalty, factor x sum of the squared weights, to the gradient of the loss.

    Computes the same as a loss that contains lasagne.regularization.regularize_network_params. With that sum, however,
    Theano merges the matrix product of fc1's gradient with the weights: before the product, it copies and scales 59
    million of them. `_Unmerged` prevents that.

    Parameters
    ----------
    gradient : theano expression of the shape of the weights
    weights : theano shared variable
    factor : float

    Returns
    -------
    theano expression
    """
    return _Unmerged()(gradient) + np.float32(2 * factor) * weights


class _Unmerged(theano.Op):
    """The identity, as an operation that Theano's optimiser does not look through."""

    __props__ = ()
    view_map = {0: [0]}  # the output is the input, not a copy

    def make_node(self, matrix):
        return theano.Apply(self, [matrix], [matrix.type()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = inputs[0]


def constrain_norm(weights, max_norm):
    """Scale every column of a weight matrix whose norm exceeds max_norm to the norm max_norm.

    Computes the same as lasagne.updates.norm_constraint, which sums 59 million squares without a matrix product, in
    0.4 s per update; this function uses a matrix product and takes a tenth of that time.

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


def _loss_functions():
    """Return the functions of `shallow.settings.LOSSES`: theano (outputs, targets) -> losses of the same shape."""
    return {"squared": lasagne.objectives.squared_error,
            "l1": lambda outputs, targets: abs(outputs - targets),
            "cross-entropy": lasagne.objectives.binary_crossentropy}


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
