"""The shallow net's training step: the net, its loss and its update rule, compiled with Theano (section 3.2)."""
import numpy as np

from shallow import network
from shallow.backend import lasagne, tensor, theano
from shallow.settings import architecture
from shallow.step import Step


class TrainingStep(Step):
    """The net, loss and update rule, compiled with Theano; see `shallow.step.Step` for the interface.

    Parameters
    ----------
    settings : dict
        As returned by `shallow.settings.resolve`.
    **sizes
        input_size and map_size of `network.build`, for small instances.
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
        self._update = theano.function([images, targets, rate, momentum], loss, updates=updates)
        outputs = lasagne.layers.get_output(self.net, images, deterministic=True)
        self._forward = theano.function([images], outputs)
        self._validate = theano.function([images, targets], [outputs, pixel_losses(outputs, targets).mean(axis=1)])

    def update(self, images, targets, rate, momentum):
        """Compute one update; return the loss before it."""
        return float(self._update(images, targets, rate, momentum))

    def forward(self, images):
        """Compute the net's outputs without dropout."""
        return self._forward(images)

    def outputs_and_losses(self, images, targets):
        """Compute the outputs, and the loss of each image."""
        return self._validate(images, targets)


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
