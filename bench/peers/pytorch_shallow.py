"""The shallow net in PyTorch, timed on request: run by bench.shallow in an environment of its own.

Arguments: an .npz with the weights and a batch, the settings as JSON. Requests and answers are those of serve.py.
"""
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from serve import serve


class Net(torch.nn.Module):
    """Layers and weights as in shallow/network.py; torch correlates where Theano convolves."""

    def __init__(self, weights):
        super().__init__()
        for name in ("conv1", "conv2", "conv3"):
            kernels, bias = weights[f"{name}.W"][:, :, ::-1, ::-1].copy(), weights[f"{name}.b"]
            layer = torch.nn.Conv2d(*kernels.shape[1::-1], kernels.shape[2])
            setattr(self, name, _filled(layer, kernels, bias))
        for name in ("fc1", "fc2"):
            matrix, bias = weights[f"{name}.W"].T.copy(), weights[f"{name}.b"]
            setattr(self, name, _filled(torch.nn.Linear(*matrix.shape[::-1]), matrix, bias))

    def forward(self, images):
        """(n, 3, 96, 96) -> (n, 2304)."""
        for conv in (self.conv1, self.conv2, self.conv3):
            images = F.relu(F.max_pool2d(conv(images), 2))
        hidden = F.relu(self.fc1(images.contiguous().flatten(1)))
        return self.fc2(hidden.unflatten(1, (-1, 2)).amax(2))


class Work:
    """The net in one memory layout, with its optimiser."""

    def __init__(self, arrays, settings, layout):
        self.net = Net(arrays).to(memory_format=layout)
        self.images = torch.from_numpy(arrays["images"]).contiguous(memory_format=layout)
        self.targets = torch.from_numpy(arrays["targets"])
        self.max_norm = settings["max_norm"]
        weights = [value for name, value in self.net.named_parameters() if name.endswith("weight")]
        biases = [value for name, value in self.net.named_parameters() if name.endswith("bias")]
        # PyTorch's decay is added to the gradient: twice the factor of a squared penalty. fused: its quickest
        self.optimiser = torch.optim.SGD(
            [{"params": weights, "weight_decay": 2 * settings["l2"]}, {"params": biases}],
            lr=settings["learning_rate"][0], momentum=settings["momentum"][0], nesterov=True, fused=True)

    def train(self, batch):
        """One update as shallow.updates makes it; the loss before it."""
        self.optimiser.zero_grad(set_to_none=False)  # keeps the arrays, which is quicker here than new ones
        loss = F.mse_loss(self.net(self.images[:batch]), self.targets[:batch])
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            weights = self.net.fc1.weight
            norms = torch.linalg.vector_norm(weights, dim=1, keepdim=True)
            weights.mul_(norms.clamp(max=self.max_norm) / norms.clamp(min=1e-7))
        return float(loss.detach())

    @torch.inference_mode()
    def predict(self, batch):
        """The net's answers."""
        return self.net(self.images[:batch])


def _filled(layer, weights, bias):
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


if __name__ == "__main__":
    arrays, settings = dict(np.load(sys.argv[1])), json.loads(sys.argv[2])
    serve(lambda layout: Work(arrays, settings, layout))
