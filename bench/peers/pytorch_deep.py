"""The deep net in PyTorch: bench.deep runs this module in an environment of its own.

Argument: an .npz with the weights, a batch and the solver's settings. The protocol is that of serve.py.
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F

from bench.peers.serve import serve


class Net(torch.nn.Module):
    """Layers and weights as in deep/train_val.prototxt."""

    def __init__(self, weights):
        super().__init__()
        self.convs = torch.nn.ModuleList()
        for index in range(1, 10):
            kernels = weights[f"conv{index}.W"]
            conv = torch.nn.Conv2d(*kernels.shape[1::-1], kernels.shape[2], padding=kernels.shape[2] // 2)
            with torch.no_grad():
                conv.weight.copy_(torch.from_numpy(kernels))
                conv.bias.copy_(torch.from_numpy(weights[f"conv{index}.b"]))
            self.convs.append(conv)
        self.deconv1 = torch.nn.ConvTranspose2d(1, 1, 8, stride=4, padding=2, bias=False)
        with torch.no_grad():
            self.deconv1.weight.copy_(torch.from_numpy(weights["deconv1.W"]))

    def forward(self, images):
        """Map images, (n, 3, h, w), to saliency maps, (n, 1, h, w)."""
        for index, conv in enumerate(self.convs, 1):
            images = conv(images)
            if index < 9:
                images = F.relu(images, inplace=True)
            if index == 1:
                images = F.local_response_norm(images, 5, alpha=1e-4, beta=0.75, k=1)
            if index < 3:
                images = F.max_pool2d(images, 3, 2, ceil_mode=True)
        return self.deconv1(images)


class Trainer:
    """The net in one memory layout, with its optimiser."""

    def __init__(self, arrays, layout):
        self.net = Net(arrays).to(memory_format=layout)
        self.images = torch.from_numpy(arrays["data"]).contiguous(memory_format=layout)
        self.labels = torch.from_numpy(arrays["label"])
        rate, momentum, decay = arrays["solver"].tolist()
        weights = [value for name, value in self.net.named_parameters() if name.endswith("weight")]
        biases = [value for name, value in self.net.named_parameters() if name.endswith("bias")]
        self.optimiser = torch.optim.SGD(
            [{"params": weights, "weight_decay": decay}, {"params": biases, "lr": 2 * rate}],
            lr=rate, momentum=momentum, fused=True)  # fused is its fastest

    def train(self, batch):
        """Update the weights once like Caffe's solver; return the loss before the update."""
        self.optimiser.zero_grad(set_to_none=False)  # reusing the arrays is faster here
        loss = F.mse_loss(self.net(self.images[:batch]), self.labels[:batch], reduction="sum") / (2 * batch)
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    @torch.inference_mode()
    def predict(self, batch):
        """Predict the outputs of the first `batch` images."""
        return self.net(self.images[:batch])


if __name__ == "__main__":
    arrays = dict(np.load(sys.argv[1]))
    serve(lambda layout: Trainer(arrays, layout))
