"""The shallow net's training step in PyTorch, for graphics cards; `shallow.updates` has the original in Theano."""
from common.torch_backend import autocast, device_errors, select_device, set_precision, torch
from shallow.settings import architecture
from shallow.step import Step
from shallow.torch_net import Net, Variable, named_parameters

functional = torch.nn.functional
# as `shallow.settings.LOSSES`, of the outputs before the sigmoid
LOSSES = {"squared": functional.mse_loss, "l1": functional.l1_loss,
          "cross-entropy": functional.binary_cross_entropy_with_logits}
SMALLEST_NORM = 1e-7  # avoids a division by 0 in `constrain_norm`


class TorchStep(Step):
    """The net, loss and update rule in PyTorch; see `shallow.step.Step` for the interface.

    The update is Lasagne's Nesterov momentum: velocity = momentum x velocity - rate x gradient, then parameter +=
    momentum x velocity - rate x gradient.

    Parameters
    ----------
    settings : dict
        As returned by `shallow.settings.resolve`.
    device, precision : as for `deep.torch_engine.TorchEngine`
    **sizes
        input_size and map_size of `shallow.network.build`, for small instances.

    Raises
    ------
    UserError
        There is no such device, it lacks memory, or this PyTorch does not support it.
    """

    @device_errors()
    def __init__(self, settings, device=None, precision="float32", **sizes):
        self.device, self.precision, self.settings = select_device(device), precision, settings
        set_precision(precision)
        self.net = Net(**architecture(settings), init=settings["init"], seed=settings["seed"],
                       dropout=settings["dropout"], **sizes).to(self.device)
        self.parameters = named_parameters(self.net)
        self.velocities = {name: Variable(torch.zeros_like(variable.tensor))
                           for name, variable in self.parameters.items()}
        self.random_states = {"0": Variable(self.net.dropout.state)} if self.net.dropout else {}

    @device_errors()
    def update(self, images, targets, rate, momentum):
        """Compute one update; return the loss before it."""
        self.net.train()
        parameters = [variable.tensor for variable in self.parameters.values()]
        loss = self._losses(self._linear(images), targets, "mean")
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for name, gradient in zip(self.parameters, gradients):
                self._move(name, gradient, float(rate), float(momentum))
            if self.settings["max_norm"] is not None:
                constrain_norm(self.parameters["fc1.W"].tensor, self.settings["max_norm"])
        return float(loss.detach())

    @device_errors()
    @torch.no_grad()
    def forward(self, images):
        """Compute the net's outputs without dropout."""
        self.net.eval()
        return self.net.output(self._linear(images)).cpu().numpy()

    @device_errors()
    @torch.no_grad()
    def outputs_and_losses(self, images, targets):
        """Compute the outputs, and the loss of each image."""
        self.net.eval()
        linear = self._linear(images)
        losses = self._losses(linear, targets, "none").mean(dim=1)
        return self.net.output(linear).cpu().numpy(), losses.cpu().numpy()

    def _linear(self, images):
        """Compute the outputs before the sigmoid, as a tensor on the device."""
        with autocast(self.device, self.precision):
            return self.net.linear(torch.from_numpy(images).to(self.device)).float()

    def _losses(self, linear, targets, reduction):
        return LOSSES[self.settings["loss"]](linear, torch.from_numpy(targets).to(self.device), reduction=reduction)

    def _move(self, name, gradient, rate, momentum):
        """Update a parameter and its velocity by the gradient of the loss; overwrites `gradient`."""
        parameter, velocity = self.parameters[name].tensor, self.velocities[name].tensor
        if name.endswith(".W"):  # biases are not penalised
            gradient.add_(parameter, alpha=2 * self.settings["l2"])
        velocity.mul_(momentum).sub_(gradient, alpha=rate)
        parameter.add_(velocity, alpha=momentum).sub_(gradient, alpha=rate)


def constrain_norm(weights, max_norm):
    """Scale every column of a matrix whose norm exceeds max_norm to that norm, in place."""
    norms = torch.linalg.vector_norm(weights, dim=0)
    weights.mul_(norms.clamp(max=max_norm) / norms.clamp(min=SMALLEST_NORM))
