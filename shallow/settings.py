"""What shapes a training run of the shallow net: presets, each value with its source.

Section 3.2 of the paper unless another source is named; "released" is the authors' published script;
what neither says is marked assumed.
"""

PAPER = {
    "init": "paper",  # N(0, 0.01), biases 0.1
    "pools": "2x2",  # released; Figure 2 draws 3x3 for the second and third, with maps of the same sizes
    "dropout": 0.0,  # section 3.1: 0.5 was tried, "and so was not included in the final model"
    "loss": "squared",  # "L2 (Euclidean) loss"; "l1" and "cross-entropy" were tried, see LOSSES
    "target_range": (0.0, 1.0),  # "saliency maps were normalized to [0, 1]"
    "epochs": 1000,
    "updates": None,  # of a batch each, where epochs is None
    "batch": 128,  # released; the paper does not say
    "learning_rate": (0.03, 0.0001),  # first and last epoch; linear in between as released
    "momentum": (0.9, 0.999),  # "the Nesterov momentum method"; values and linear schedule as released
    "l2": 1e-5,  # "the standard L2 norm regularizer on the weights": its value is assumed
    "max_norm": 2.0,  # section 3.1, "norm constraint regularization for the maxout layers": its value is assumed
    "mirror": True,  # "mirroring all images": a random half of each batch, as released
    "validate_every": 10,  # epochs; "periodic validation", how often is assumed
}
PRESETS = {
    "paper": PAPER,
    # What the authors' training script did. Its other habits are bugs and not repeated: images cropped but maps
    # squashed, the first fifth of the images validating unshuffled.
    "released": {**PAPER, "init": "released", "target_range": (-1.0, 1.0), "epochs": 1200,
                 "learning_rate": (0.05, 0.0001), "l2": 0.0, "max_norm": None},
    # Minutes instead of hours: as many epochs as make 100 updates. In that time the paper's start
    # would still answer with one map for every image, and its learning rate would hardly have left
    # the start; so the released script's start, and 67 times the rate, with its decline kept.
    # At 400 times the rate every unit dies.
    "demo": {**PAPER, "init": "released", "epochs": None, "updates": 100, "learning_rate": (2.0, 2.0 / 300),
             "validate_every": 5},
}
CONV3_FILTERS = {"salicon": 128, "isun": 64}  # section 3.2
LOSSES = ("squared", "l1", "cross-entropy")


def resolve(preset, conv3_filters=128, seed=2016, **overrides):
    """Every setting of a run, as config.json and the weights hold it.

    Parameters
    ----------
    preset : str, a key of PRESETS
    conv3_filters : int
    seed : int
    **overrides
        Settings that take the place of the preset's; None leaves the preset's.

    Returns
    -------
    dict
        Of what JSON can hold.

    Raises
    ------
    ValueError
        Settings that contradict each other.
    """
    settings = {"preset": preset, **PRESETS[preset],
                **{name: value for name, value in overrides.items() if value is not None},
                "conv3_filters": conv3_filters, "seed": seed}
    low, high = settings["target_range"]
    if not low < high:
        raise ValueError(f"the target range must rise, not go from {low:g} to {high:g}")
    if settings["loss"] == "cross-entropy" and tuple(settings["target_range"]) != (0.0, 1.0):
        raise ValueError("the cross-entropy loss wants maps in [0, 1]: give --target-range 0 1, or another preset")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def architecture(settings):
    """The settings that `network.build` wants to know of weights, with the defaults of those that lack them."""
    return {"conv3_filters": settings.get("conv3_filters", 128), "pools": settings.get("pools", PAPER["pools"]),
            "output": "sigmoid" if settings.get("loss") == "cross-entropy" else "linear"}
