"""The shallow net's weights on disk: named float32 arrays in an .npz without pickles."""
import json
import shlex
from pathlib import Path

import numpy as np

from common.arrays import read_npz, write_npz
from common.errors import UserError, show_names
from common.files import atomic, need_space
from common.runs import read_config
from shallow.settings import architecture

MAX_VALUES = 1 << 29  # of a file; a checkpoint of the net has 2^27
SETTINGS = "settings"  # name of the entry that holds JSON instead of an array


def save(path, arrays, settings):
    """Write arrays and settings atomically.

    Parameters
    ----------
    path : path of an .npz
    arrays : dict of str: array
    settings : dict that JSON can hold

    Raises
    ------
    UserError
        The disk is full or the folder is not writable. An older file at `path` stays unchanged.
    """
    with atomic(path) as scratch:
        need_space(scratch.parent, sum(np.asarray(array).nbytes for array in arrays.values()) + (1 << 20))
        write_npz(scratch, {SETTINGS: np.array(json.dumps(settings)), **arrays})


def load(path):
    """Read the arrays and settings of a file written by `save`.

    Parameters
    ----------
    path : path of an .npz

    Returns
    -------
    (dict of str: array, dict)
        Arrays by name, and the settings.

    Raises
    ------
    UserError
        The file is missing, damaged, or was not written by this project.
    """
    try:
        arrays = read_npz(path, "train or fetch it again", max_values=MAX_VALUES)
    except UserError as error:
        if _is_pickle(path):
            raise UserError(f"{path}: a pickle, as the authors published their weights; convert it with: "
                            f"python -m models.fetch juntingnet-salicon --file {shlex.quote(str(path))} (or "
                            "juntingnet-isun), and give the weights.npz that this writes") from error
        raise
    try:
        return arrays, {**json.loads(str(arrays.pop(SETTINGS)))}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not weights of this project: no {SETTINGS!r} entry with names and values; "
                        "give the weights.npz of a run") from error


def _is_pickle(path):
    """Return True if a file is a pickle: by its name, or by its first two bytes, from protocol 2 on."""
    try:
        with open(path, "rb") as file:
            start = file.read(2)
    except OSError:
        return False
    return Path(path).suffix in (".pickle", ".pkl") or start[:1] == b"\x80" and b"\2" <= start[1:] <= b"\5"


def load_net(path, engine="theano"):
    """Build the net that a file of weights belongs to, and set its parameters.

    Parameters
    ----------
    path : path of an .npz
    engine : "theano" or "torch"

    Returns
    -------
    (lasagne.layers.Layer or shallow.torch_net.Net, dict of str: array, dict)
        The net; the arrays and the settings of the file.

    Raises
    ------
    UserError
        The engine is not installed, there is no C++ compiler for Theano, or the weights are damaged, diverged or
        another net's.
    """
    read_config(path, "shallow")
    arrays, settings = load(path)
    # loads Theano or PyTorch, which takes seconds: damaged weights are reported before
    if engine == "torch":
        from shallow.torch_net import Net as build
        from shallow.torch_net import named_parameters
    else:
        from shallow.network import build, named_parameters

    try:
        arguments = architecture(settings)
        if "conv3.b" in arrays:  # the array decides, since the setting may be missing; `assign` rejects a missing array
            arguments["conv3_filters"] = arrays["conv3.b"].size
        net = build(**arguments, init="zeros")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its settings describe no net of this project ({error!r}); "
                        "give the weights.npz of a run") from error
    assign(named_parameters(net), arrays, path)
    return net, arrays, settings


def assign(parameters, arrays, path):
    """Set the parameters of a net.

    Parameters
    ----------
    parameters : dict of str: variable
        As returned by `named_parameters` of shallow.network or shallow.torch_net.
    arrays : dict of str: array
    path : path
        Path of the arrays' file, for error messages.

    Raises
    ------
    UserError
        A name is missing or unknown, a shape or kind of dtype differs, or a value is NaN or infinite.
    """
    if set(arrays) != set(parameters):
        missing, unknown = sorted(set(parameters) - set(arrays)), sorted(set(arrays) - set(parameters))
        raise UserError(f"{path}: not this net's weights (missing: {show_names(missing) or 'none'}, unknown: "
                        f"{show_names(unknown) or 'none'}); give the weights.npz of a run of the shallow net")
    for name, parameter in parameters.items():
        shape = parameter.get_value(borrow=True).shape
        if arrays[name].shape != shape:
            raise UserError(f"{path}: {name} has shape {arrays[name].shape}, this net needs {shape}; "
                            "give weights trained with the same conv3_filters")
        if arrays[name].dtype.kind != np.dtype(parameter.dtype).kind:
            raise UserError(f"{path}: {name} holds {arrays[name].dtype}, not {parameter.dtype} (damaged, or written by "
                            "another program); give the weights.npz of a run")
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"{path}: {name} holds NaN or infinity, the training diverged or the file is "
                            "damaged; give other weights")
        parameter.set_value(arrays[name].astype(parameter.dtype, copy=False), borrow=True)
