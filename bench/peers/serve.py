"""Server of the PyTorch peers: timings on request, in both of PyTorch's memory layouts."""
import sys

import torch

from bench.timing import seconds_of_each

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def serve(make):
    """Process lines `LAYOUT:METHOD BATCH REPEATS` of standard input until it ends, with one line of numbers each.

    For `train` and `predict` the numbers are the seconds of each repeat. For `check` they are the mean output and the
    losses before two successive updates.

    Parameters
    ----------
    make : callable
        Function of a memory layout. Its result has the methods train(batch) -> float and predict(batch) -> tensor.
    """
    nets = {name: make(layout) for name, layout in LAYOUTS.items()}
    for line in sys.stdin:
        task, batch, repeats = line.split()
        layout, method = task.split(":")
        net, batch = nets[layout], int(batch)
        if method == "check":
            numbers = [float(net.predict(batch).mean()), *(net.train(batch) for _ in range(2))]
        else:
            call = getattr(net, method)
            numbers = seconds_of_each(lambda call=call, batch=batch: call(batch), int(repeats))
        print(*numbers, flush=True)
