"""What the PyTorch peers share: timings on request, in both of PyTorch's memory layouts."""
import sys
import time

import torch

LAYOUTS = {"rows": torch.contiguous_format, "channels": torch.channels_last}


def serve(make):
    """Answer lines `LAYOUT:WORK BATCH REPEATS` on standard input until it ends.

    `train` and `predict` are answered with the seconds of every repeat, `check` with the mean answer and the loss
    before each of two updates.

    Parameters
    ----------
    make : callable (memory layout) -> object with train(batch) -> float and predict(batch) -> tensor
    """
    works = {name: make(layout) for name, layout in LAYOUTS.items()}
    for line in sys.stdin:
        what, batch, repeats = line.split()
        layout, what = what.split(":")
        work, batch = works[layout], int(batch)
        if what == "check":
            print(float(work.predict(batch).mean()), *(work.train(batch) for _ in range(2)), flush=True)
            continue
        seconds = []
        for _ in range(int(repeats)):
            start = time.perf_counter()
            getattr(work, what)(batch)
            seconds.append(time.perf_counter() - start)
        print(*seconds, flush=True)
