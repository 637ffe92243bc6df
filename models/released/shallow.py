"""python -m models.released.shallow: the authors' pickle -> weights.npz, and what it says about how they were made.

The pickle is a whole nolearn network with its training data inside (2.5 GB for SALICON, 0.8 GB for iSUN), written by
Python 2, Theano and Lasagne on a graphics card. It is read without running anything of it (models/released/pickled.py) and the
training data are passed over, so memory holds the weights alone.
"""
import argparse
import json
from pathlib import Path

import numpy as np

from common.errors import UserError, WrongFile, run
from models.released.pickled import PickledObject, attribute, mapping, read_pickle, scalar, to_array
from shallow.preprocess import MAP_SIZE
from shallow.settings import CONV3_FILTERS

CELLS = MAP_SIZE ** 2
# shapes of the weights, section 3.1; conv3 has 128 filters for SALICON, 64 for iSUN
SHAPES = {"conv1": lambda n: (32, 3, 5, 5), "conv2": lambda n: (64, 32, 3, 3), "conv3": lambda n: (n, 64, 3, 3),
          "fc1": lambda n: (100 * n, 2 * CELLS), "fc2": lambda n: (CELLS, CELLS)}
WANTED = {shape(filters) for shape in SHAPES.values() for filters in CONV3_FILTERS.values()}
# what the released predictor and training script do with images and maps
USE = {"fit": "crop", "smoothing": "released", "target_range": [-1.0, 1.0]}
EPOCHS_SHOWN = 3


def main():
    """Parse the command line, read, write, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m models.released.shallow", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("pickle", help="shallow_net.pickle or JuntingNet_iSUN.pickle")
    parser.add_argument("--out", required=True, help="weights.npz to write")
    parser.add_argument("--allow", action="append", default=[], metavar="MODULE.NAME",
                        help="a name in the pickle that is no reason to refuse it (nothing of it is run, ever)")
    args = parser.parse_args()
    convert(args.pickle, args.out, args.allow)


def convert(path, out, allow=()):
    """Write the weights in an authors' pickle as an .npz of ours, and print what else it tells.

    Parameters
    ----------
    path : path of the pickle
    out : path of the .npz
    allow : collection of str, see `models.released.pickled.read_pickle`

    Raises
    ------
    UserError
        The file cannot be read, is another net's or no net's, or names what weights have no use for.
    """
    from common.progress import progress
    from shallow.weights import save

    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; check the path, or see models/README.md for where to get it")
    with progress(total=Path(path).stat().st_size, description="reading", unit="B") as bar:
        net = read_pickle(path, WANTED.__contains__, allow, bar.update)
    arrays, layers = weights_of(net, path)
    found = settings_of(net, layers)
    save(out, arrays, {"preset": "released weights", "conv3_filters": len(arrays["conv3.b"]), "pools": _pools(found),
                       **USE, "found": found})
    print(to_text(found))
    print(f"{out}: {sum(array.size for array in arrays.values()):,} weights")


def weights_of(net, path):
    """The weights by our names, and the layers by theirs.

    Parameters
    ----------
    net : what `read_pickle` gave
    path : path, named in errors

    Returns
    -------
    (dict of str: float32 array, list of (str, PickledObject))
    """
    remedy = "is it shallow_net.pickle or JuntingNet_iSUN.pickle of saliency-2016-cvpr?"
    layers = [(name, layer) for name, layer in mapping(attribute(net, "layers_")) if isinstance(name, str)]
    if not (isinstance(net, PickledObject) and net.name.endswith("NeuralNet") and layers):
        raise WrongFile(f"{path}: no trained network of nolearn in it; {remedy}")
    learned = {}
    for name, layer in layers:
        try:
            pair = [to_array(_storage(attribute(layer, part))) for part in ("W", "b")]
        except ValueError as error:
            if attribute(layer, "W") is None:
                continue
            raise WrongFile(f"{path}: layer {name!r}: {error}; {remedy}") from error
        learned[name] = pair
    filters = next((len(kernels) for kernels, _ in learned.values() if kernels.shape[1:] == (64, 3, 3)), 0)
    arrays = {}
    for ours, shape in SHAPES.items():
        matching = [pair for pair in learned.values() if pair[0].shape == shape(filters)]
        if len(matching) != 1 or matching[0][1].shape != (shape(filters)[-1 if ours.startswith("fc") else 0],):
            shapes = {name: kernels.shape for name, (kernels, _) in learned.items()}
            raise WrongFile(f"{path}: no one layer in it is {ours}, {shape(filters)}; it has {shapes}; {remedy}")
        arrays.update({f"{ours}.{kind}": np.asarray(array, np.float32) for kind, array in zip("Wb", matching[0])})
    return arrays, layers


def settings_of(net, layers):
    """What the network says of its making: plain values of its own, of its schedules and layers, and the history."""
    own = {key: value for part in _states(net) for key, value in part.items() if isinstance(key, str)}
    schedules = [{key: _plain(value) for key, value in part.items()}
                 for each in _listed(own.get("on_epoch_finished")) for part in _states(each)]
    kept = ("pool_size", "ds", "stride", "filter_size", "num_filters", "num_units", "p")
    sizes = {name: {key: _plain(attribute(layer, key)) for key in kept if attribute(layer, key) is not None}
             for name, layer in layers}
    history = [{key: _plain(value) for key, value in mapping(epoch)} for epoch in _listed(own.get("train_history_"))]
    return {"settings": {key: _plain(value) for key, value in sorted(own.items()) if _plain(value) is not None},
            "schedules": schedules, "layers": {name: found for name, found in sizes.items() if found},
            "history": history}


def to_text(found):
    """Settings, schedules, layers, and the first and last epochs, a line each."""
    lines = [f"  {key}: {value}" for key, value in found["settings"].items()]
    lines += [f"  schedule: {json.dumps(schedule)}" for schedule in found["schedules"]]
    lines += [f"  layer {name}: {json.dumps(sizes)}" for name, sizes in found["layers"].items()]
    history = found["history"]
    lines.append(f"  history: {len(history)} epochs")
    shown = history if len(history) <= 2 * EPOCHS_SHOWN else [*history[:EPOCHS_SHOWN], *history[-EPOCHS_SHOWN:]]
    return "\n".join([*lines, *(f"    {json.dumps(epoch)}" for epoch in shown)])


def _pools(found):
    """"3x3" if a pooling of the file says so, as Figure 2 draws it."""
    sizes = [_pair(layer.get("pool_size") or layer.get("ds")) for layer in found["layers"].values()]
    return "3x3" if (3, 3) in sizes else "2x2"


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, list) else None


def _storage(shared):
    """The array in a Theano shared variable: its container's storage."""
    storage = attribute(attribute(shared, "container"), "storage")
    return storage[0] if isinstance(storage, list) and storage else None


def _states(thing):
    """The dicts that an object's state consists of."""
    state = getattr(thing, "state", None)
    return [part for part in (state if isinstance(state, tuple) else (state,)) if isinstance(part, dict)]


def _listed(value):
    """A list, or the items of a class derived from it."""
    return value if isinstance(value, list) else value.items if isinstance(value, PickledObject) else []


def _plain(value):
    """A number, text, or short list of them; an array of one number as that number; None for anything else."""
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple) and len(value) <= 8 and all(isinstance(one, str | int | float) for one in value):
        return list(value)
    if isinstance(value, PickledObject) and value.name.endswith("multiarray.scalar") and len(value.args) == 2:
        return scalar(*value.args)
    try:
        return to_array(value).item()
    except ValueError:
        pass
    try:
        return to_array(_storage(value)).item()  # of a shared variable, as the learning rate is
    except ValueError:
        return None



if __name__ == "__main__":
    run(main)
