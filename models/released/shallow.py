"""python -m models.released.shallow: convert the authors' pickle of the shallow net to weights.npz.

The pickle is a whole nolearn network with its training data inside (2.5 GB for SALICON, 0.8 GB for iSUN), written by
Python 2, Theano and Lasagne on a graphics card. It is read without executing anything in it
(models/released/pickled.py). The training data are skipped, so memory holds the weights only. The settings and the
history of the training are printed.
"""
import contextlib
import json
from pathlib import Path

import numpy as np

from common.arguments import Parser
from common.errors import UserError, WrongFile, run, show_names
from common.progress import progress
from models.released.pickled import (
    PickledObject,
    attribute,
    dict_items,
    list_items,
    read_pickle,
    state_dicts,
    to_array,
    to_scalar,
)
from shallow.settings import CONV3_FILTERS

# what the released predictor and training script do with images and maps
AUTHORS_SETTINGS = {"fit": "crop", "smoothing": "released", "target_range": [-1.0, 1.0]}
LAYER_SETTINGS = ("pool_size", "ds", "stride", "filter_size", "num_filters", "num_units", "p")
EPOCHS_SHOWN = 3  # at either end of the history
LONGEST_LIST = 8  # values of a list that is kept as a setting
REMEDY = "is it shallow_net.pickle or JuntingNet_iSUN.pickle of saliency-2016-cvpr?"


def main():
    """Parse the command line, convert the pickle and print its settings."""
    parser = Parser("models.released.shallow", __doc__)
    parser.add_argument("pickle", help="shallow_net.pickle or JuntingNet_iSUN.pickle")
    parser.add_argument("--out", required=True, help="weights.npz to write")
    parser.add_argument("--allow", action="append", default=[], metavar="MODULE.NAME",
                        help="accept this name in the pickle; nothing in it is ever executed")
    args = parser.parse_args()
    convert(args.pickle, args.out, args.allow)


def weight_shapes(conv3_filters):
    """Return the shapes of the shallow net's weights, section 3.1.

    Parameters
    ----------
    conv3_filters : int
        128 for SALICON, 64 for iSUN.

    Returns
    -------
    dict of str: tuple of int
        By layer: (filters, channels, rows, columns) of convolutions, (inputs, outputs) of dense layers.
    """
    from shallow.preprocess import MAP_SIZE

    pixels = MAP_SIZE ** 2
    return {"conv1": (32, 3, 5, 5), "conv2": (64, 32, 3, 3), "conv3": (conv3_filters, 64, 3, 3),
            "fc1": (100 * conv3_filters, 2 * pixels), "fc2": (pixels, pixels)}


def convert(path, out, allow=()):
    """Convert an authors' pickle to a weights.npz, and print the settings and the history in it.

    Parameters
    ----------
    path : path of the pickle
    out : path of the .npz
    allow : collection of str, see `models.released.pickled.read_pickle`

    Raises
    ------
    UserError
        The file cannot be read, does not hold this net, or contains names that weights do not need.
    """
    from shallow.weights import save

    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; check the path; models/README.md lists where to get it")
    shapes = {shape for filters in CONV3_FILTERS.values() for shape in weight_shapes(filters).values()}
    with progress(total=Path(path).stat().st_size, description="reading", unit="B") as bar:
        net = read_pickle(path, shapes.__contains__, allow, bar.update)
    arrays, layers = extract_weights(net, path)
    settings = extract_settings(net, layers)
    save(out, arrays, {"preset": "released weights", "conv3_filters": len(arrays["conv3.b"]),
                       "pools": _pools(settings), **AUTHORS_SETTINGS, "found": settings})
    print(to_text(settings))
    print(f"{out}: {sum(array.size for array in arrays.values()):,} weights")


def extract_weights(net, path):
    """Return the weights by this project's layer names, and the layers by the authors' names.

    Parameters
    ----------
    net : PickledObject or another value that `read_pickle` returned
    path : path, named in errors

    Returns
    -------
    (dict of str: float32 array, list of (str, PickledObject))

    Raises
    ------
    WrongFile
        It is not a network of nolearn, or a layer of section 3.1 is missing, present twice or of another shape.
    """
    layers = [(name, layer) for name, layer in dict_items(attribute(net, "layers_")) if isinstance(name, str)]
    if not (isinstance(net, PickledObject) and net.name.endswith("NeuralNet") and layers):
        raise WrongFile(f"{path}: no trained network of nolearn in it; {REMEDY}")
    learned = _learned_arrays(layers, path)
    filters = next((len(kernels) for kernels, _ in learned.values() if kernels.shape[1:] == (64, 3, 3)), 0)
    arrays = {}
    for name, shape in weight_shapes(filters).items():
        bias_shape = (shape[-1 if name.startswith("fc") else 0],)
        pairs = [pair for pair in learned.values() if pair[0].shape == shape]
        if len(pairs) != 1 or pairs[0][1].shape != bias_shape:
            shapes = show_names(f"{layer} {kernels.shape}" for layer, (kernels, _) in learned.items()) or "none"
            raise WrongFile(f"{path}: needs exactly one layer {name} of shape {shape}, and has {shapes}; {REMEDY}")
        arrays.update({f"{name}.{kind}": np.asarray(array, np.float32) for kind, array in zip("Wb", pairs[0])})
    return arrays, layers


def extract_settings(net, layers):
    """Return the settings of a pickled network, as JSON can hold them.

    Parameters
    ----------
    net : PickledObject
    layers : list of (str, PickledObject)

    Returns
    -------
    dict
        "settings" of the network, "schedules" of its learning rate and momentum, settings of its "layers" by name, and
        "history", a dict per epoch.
    """
    fields = {key: value for state in state_dicts(net) for key, value in state.items() if isinstance(key, str)}
    schedules = [{key: _plain(value) for key, value in state.items()}
                 for schedule in list_items(fields.get("on_epoch_finished")) for state in state_dicts(schedule)]
    layer_settings = {name: {key: _plain(attribute(layer, key)) for key in LAYER_SETTINGS
                             if attribute(layer, key) is not None} for name, layer in layers}
    history = [{key: _plain(value) for key, value in dict_items(epoch)}
               for epoch in list_items(fields.get("train_history_"))]
    return {"settings": {key: _plain(value) for key, value in sorted(fields.items()) if _plain(value) is not None},
            "schedules": schedules, "layers": {name: values for name, values in layer_settings.items() if values},
            "history": history}


def to_text(settings):
    """Format what `extract_settings` returns, one line per setting, schedule, layer and shown epoch."""
    lines = [f"  {show_names(key)}: {show_names(str(value))}" for key, value in settings["settings"].items()]
    lines += [f"  schedule: {json.dumps(schedule)}" for schedule in settings["schedules"]]
    lines += [f"  layer {show_names(name)}: {json.dumps(values)}" for name, values in settings["layers"].items()]
    history = settings["history"]
    lines.append(f"  history: {len(history)} epochs")
    shown = history if len(history) <= 2 * EPOCHS_SHOWN else [*history[:EPOCHS_SHOWN], *history[-EPOCHS_SHOWN:]]
    return "\n".join([*lines, *(f"    {json.dumps(epoch)}" for epoch in shown)])


def _learned_arrays(layers, path):
    """Return [weights, biases] by layer name, of those layers that have any."""
    learned = {}
    for name, layer in layers:
        try:
            learned[name] = [to_array(_shared_value(attribute(layer, kind))) for kind in ("W", "b")]
        except ValueError as error:
            if attribute(layer, "W") is not None:
                raise WrongFile(f"{path}: layer '{show_names(name)}': {error}; {REMEDY}") from error
    return learned


def _pools(settings):
    """Return "3x3", as Figure 2 draws it, if a pooling of the file has that size; "2x2" otherwise."""
    sizes = [values.get("pool_size") or values.get("ds") for values in settings["layers"].values()]
    return "3x3" if 3 in sizes or [3, 3] in sizes else "2x2"


def _shared_value(variable):
    """Return the array in the container of a Theano shared variable; None if there is none."""
    storage = attribute(attribute(variable, "container"), "storage")
    return storage[0] if isinstance(storage, list) and storage else None


def _plain(value):
    """Return a number, a text, or a short list of them; an array of one number as that number; None for others."""
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple) and len(value) <= LONGEST_LIST \
            and all(isinstance(item, str | int | float) for item in value):
        return list(value)
    if isinstance(value, PickledObject) and value.name.endswith("multiarray.scalar") and len(value.args) == 2:
        return to_scalar(*value.args)
    for array in (value, _shared_value(value)):  # a learning rate is a shared variable
        with contextlib.suppress(ValueError):
            return to_array(array).item()
    return None


if __name__ == "__main__":
    run(main)
