"""Run experiments with the shallow net's training: regularisation, losses, momentum, the paper's start."""
import numpy as np

from experiments.setup import Table, validated

FEW = 160  # images, of which 128 train: one update per epoch
OFF = 1e9  # a norm that is never reached


def regularisation(setup):
    """Train on few images with each regulariser alone (sections 3.1 and 5.1)."""
    data, rows = setup.data("shallow", limit=FEW), []
    arms = {"none": (), "norm at most 0.8": ("--max-norm", 0.8), "norm at most 0.5": ("--max-norm", 0.5),
            "L2 penalty 1e-5": ("--l2", 1e-5), "dropout 0.5": ("--dropout", 0.5)}
    for name, given in arms.items():
        plain = ("--l2", 0, "--max-norm", OFF)  # of options given twice, the last one counts
        log = setup.train("shallow", f"regularised-{name.replace(' ', '-')}", data, *setup.shallow_length(data, 400),
                          *plain, *given)
        losses = validated(log, "val_loss")
        rows.append([name, min(losses), losses[-1], log[-1]["loss"], losses[-1] / log[-1]["loss"],
                     max(validated(log, "val_cc")), validated(log, "fc1_max_norm")[-1]])
    return Table("Sections 3.1 and 5.1: the norm constraint is essential against overfitting, dropout does not help "
                 "much, and the net needs regularisation.",
                 ["regulariser", "lowest validation loss", "last validation loss", "last training loss",
                  "ratio of the last two", "best validation CC", "longest norm at the end"], rows,
                 f"Shallow net, demo preset, 400 updates on 128 images of {setup.dataset}, 32 for validation, one "
                 "seed.")


def losses(setup):
    """Train with each loss, and without momentum (section 3.2)."""
    data, rows = setup.data("shallow"), []
    arms = {"squared, rate 2": (), "squared, rate 2, no momentum": ("--momentum", 0, 0),
            "squared, rate 20, no momentum": ("--momentum", 0, 0, "--learning-rate", 20, 0.067)}
    for rate in (0.05, 0.2, 0.8):
        arms[f"L1, rate {rate}"] = ("--loss", "l1", "--learning-rate", rate, rate / 300)
        arms[f"cross-entropy, rate {rate}"] = ("--loss", "cross-entropy", "--learning-rate", rate, rate / 300)
    for name, given in arms.items():
        label = name.replace(" ", "-").replace(",", "").replace(".", "")
        log = setup.train("shallow", f"loss-{label}", data, *setup.shallow_length(data, 100), *given)
        scores = validated(log, "val_cc")
        finished = np.isfinite(log[-1]["loss"])
        rows.append([name, scores[len(scores) // 2] if len(scores) > 1 else "", scores[-1] if finished else "diverged",
                     validated(log, "val_spread")[-1]])
    return Table("Section 3.2: Nesterov momentum helps convergence; L1 and cross-entropy converge slowly.",
                 ["loss and first learning rate", "CC in the middle", "CC at the end", "spread of the maps"], rows,
                 f"Shallow net, demo preset, 100 updates of 128 images of {setup.dataset}, one seed. Spread: standard "
                 "deviation of the outputs over images, divided by that of the targets; 0: one map for all images.")


def paper_start(setup):
    """Train with the paper's initial weights and learning rates (section 3.2)."""
    data = setup.data("shallow")
    log = setup.train("shallow", "paper-start", data, "--preset", "paper", "--epochs", 300)
    checked = [row for row in log if row["val_cc"] is not None]
    rows = [[row["epoch"], row["loss"], row["val_loss"], row["val_cc"], row["val_spread"]] for row in
            checked[::max(1, len(checked) // 8)] + checked[-1:]]
    return Table("Section 3.2: with weights from N(0, 0.01) and learning rates from 0.03 to 0.0001 the net learns.",
                 ["epoch", "training loss", "validation loss", "validation CC", "spread of the maps"], rows,
                 f"Shallow net, paper preset shortened to 300 epochs, on {setup.dataset}, one seed; a spread of 0 "
                 "means that every image gets the same map.")
