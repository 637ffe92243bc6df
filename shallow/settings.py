"""Settings of a training run of the shallow net: presets, and the source of each value.

The source is section 3.2 of the paper unless a comment names another one. "Released" is the authors' published
script. A value that neither of them gives is marked "assumed".
"""

PAPER = {
    "init": "paper",  # N(0, 0.01), biases 0.1
    "pools": "2x2",  # released; Figure 2 has 3x3 for the second and third, with maps of the same sizes
    "dropout": 0.0,  # section 3.1: 0.5 was tried, "and so was not included in the final model"
    "loss": "squared",  # "L2 (Euclidean) loss"; "l1" and "cross-entropy" were tried, see LOSSES
    "target_range": (0.0, 1.0),  # "saliency maps were normalized to [0, 1]"
    "epochs": 1000,
    "updates": None,  # length of the run in updates of one batch, used if epochs is None
    "batch": 128,  # released; the paper gives none
    "learning_rate": (0.03, 0.0001),  # first and last epoch; linear in between as released
    "momentum": (0.9, 0.999),  # "the Nesterov momentum method"; values and linear schedule as released
    "l2": 1e-5,  # "the standard L2 norm regularizer on the weights": its value is assumed
    # section 3.1, "norm constraint regularization for the maxout layers"; the value is assumed: it acts from the first
    # update on, since the longest vector starts at 1.1; a smaller one, 0.5, made the net overfit (docs/experiments.md)
    "max_norm": 0.8,
    "mirror": True,  # "mirroring all images": as released, a random half of each batch
    "validate_every": 10,  # epochs; "periodic validation": the period is assumed
}
PRESETS = {
    "paper": PAPER,
    # The values of the authors' training script. Two more differences of the script are bugs and are not repeated: it
    # crops images but squashes maps, and it validates on the first fifth of the images without shuffling.
    "released": {**PAPER, "init": "released", "target_range": (-1.0, 1.0), "epochs": 1200,
                 "learning_rate": (0.05, 0.0001), "l2": 0.0, "max_norm": None},
    # Minutes instead of hours: the number of epochs that gives 800 updates. From the paper's initial weights, the net
    # still gives all images the same map after 600 updates or more (docs/experiments.md), and at the paper's learning
    # rate the weights hardly change. So the demo uses the released script's initial weights and 67 times the paper's
    # rate, with the same relative decline. The number of updates decides when the net begins to use the image, so the
    # batch is small.
    "demo": {**PAPER, "init": "released", "epochs": None, "updates": 800, "batch": 16,
             "learning_rate": (2.0, 2.0 / 300), "validate_every": 5, "max_norm": 2.0},
}
INIT_STD = 0.01  # section 3.2: "zero mean and a standard deviation of 0.01"
INIT_BIAS = 0.1  # section 3.2: "biases initialized to 0.1"
# section 3.1 and Figure 2: rows and columns of the kernels, numbers of filters
KERNELS = {"conv1": 5, "conv2": 3, "conv3": 3}
FILTERS = {"conv1": 32, "conv2": 64}
CONV3_FILTERS = {"salicon": 128, "isun": 64}  # section 3.2
NO_DIFFERENCE = ("preset", "validate_every", "updates", "seed")  # settings whose values the paper leaves open
LOSSES = ("squared", "l1", "cross-entropy")


def resolve(preset, conv3_filters=128, seed=2016, **overrides):
    """Resolve every setting of a run, as stored in config.json and with the weights.

    Parameters
    ----------
    preset : str, a key of PRESETS
    conv3_filters : int
    seed : int
    **overrides
        Settings that replace the preset's; None keeps the preset's.

    Returns
    -------
    dict
        Values that JSON can hold: lists instead of tuples.

    Raises
    ------
    ValueError
        The settings contradict each other.
    """
    settings = {"preset": preset, **PRESETS[preset],
                **{name: value for name, value in overrides.items() if value is not None},
                "conv3_filters": conv3_filters, "seed": seed}
    settings["max_norm"] = settings["max_norm"] or None  # 0 on the command line: no constraint
    settings["mirror"] = bool(settings["mirror"])
    low, high = settings["target_range"]
    if not low < high:
        raise ValueError(f"the target range must rise, but its ends are {low:g} and {high:g}")
    if settings["loss"] == "cross-entropy" and tuple(settings["target_range"]) != (0.0, 1.0):
        raise ValueError("the cross-entropy loss needs maps in [0, 1]; give --target-range 0 1, or another preset")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def differences_from_paper(settings, dataset):
    """List the settings of a training that differ from the paper's.

    Parameters
    ----------
    settings : dict, as returned by `resolve`
    dataset : str
        Name of the training set, which decides the maps of conv3.

    Returns
    -------
    list of str
    """
    if settings["preset"] != "paper":
        return [f"trained with the {settings['preset']} preset"]
    paper = resolve("paper", conv3_filters=CONV3_FILTERS.get(dataset, 128))
    return [f"trained with {name} {settings[name]} instead of {value}" for name, value in paper.items()
            if name not in NO_DIFFERENCE and settings.get(name, value) != value]


def architecture(settings):
    """Return the arguments of `network.build` that the settings of weights decide; missing settings get defaults."""
    return {"conv3_filters": settings.get("conv3_filters", 128), "pools": settings.get("pools", PAPER["pools"]),
            "output": "sigmoid" if settings.get("loss") == "cross-entropy" else "linear"}
