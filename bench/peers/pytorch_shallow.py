"""The shallow net in PyTorch: bench.shallow runs this module in an environment of its own.

Arguments: an .npz with the weights and a batch, and the settings as JSON. The protocol is that of serve.py.
"""
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F

from bench.peers.serve import serve


class Net(torch.nn.Module):
    """Layers and weights as in shallow/network.py; kernels are flipped: Theano convolves, PyTorch correlates."""

    def __init__(self, weights):
        super().__init__()
        for name in ("conv1", "conv2", "conv3"):
            kernels, bias = weights[f"{name}.W"][:, :, ::-1, ::-1].copy(), weights[f"{name}.b"]
            layer = torch.nn.Conv2d(*kernels.shape[1::-1], kernels.shape[2])
            setattr(self, name, _fill(layer, kernels, bias))
        for name in ("fc1", "fc2"):
            matrix, bias = weights[f"{name}.W"].T.copy(), weights[f"{name}.b"]
            setattr(self, name, _fill(torch.nn.Linear(*matrix.shape[::-1]), matrix, bias))

    def forward(self, images):
        """Map images, (n, 3, 96, 96), to flat saliency maps, (n, 2304)."""
        for conv in (self.conv1, self.conv2, self.conv3):
            images = F.relu(F.max_pool2d(conv(images), 2))
        hidden = F.relu(self.fc1(images.contiguous().flatten(1)))
        return self.fc2(hidden.unflatten(1, (-1, 2)).amax(2))


class Trainer:
    """The net in one memory layout, with its optimiser."""

    def __init__(self, arrays, settings, layout):
        self.net = Net(arrays).to(memory_format=layout)
        self.images = torch.from_numpy(arrays["images"]).contiguous(memory_format=layout)
        self.targets = torch.from_numpy(arrays["targets"])
        self.max_norm = settings["max_norm"]
        weights = [value for name, value in self.net.named_parameters() if name.endswith("weight")]
        biases = [value for name, value in self.net.named_parameters() if name.endswith("bias")]
        # PyTorch adds weight_decay * w to the gradient: weight_decay is twice the factor of a squared penalty.
        # fused is its fastest implementation
        self.optimiser = torch.optim.SGD(
            [{"params": weights, "weight_decay": 2 * settings["l2"]}, {"params": biases}],
            lr=settings["learning_rate"][0], momentum=settings["momentum"][0], nesterov=True, fused=True)

    def train(self, batch):
        """Update the weights once like shallow.updates; return the loss before the update."""
        self.optimiser.zero_grad(set_to_none=False)  # reusing the arrays is faster here
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
        """Predict the outputs of the first `batch` images."""
        return self.net(self.images[:batch])


def _fill(layer, weights, bias):
    """Copy weights and biases into a layer, and return it."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


if __name__ == "__main__":
    arrays, settings = dict(np.load(sys.argv[1])), json.loads(sys.argv[2])
    serve(lambda layout: Trainer(arrays, settings, layout))
