"""The shallow net's weights on disk: named float32 arrays in an .npz, nothing pickled."""
import json
import zipfile

import numpy as np

from common.errors import UserError, os_error_message
from common.files import atomic, need_space
from common.runs import read_config
from shallow.settings import architecture

SETTINGS = "settings"  # name of the entry that holds JSON instead of numbers


def save(path, arrays, settings):
    """Write arrays and settings atomically.

    Parameters
    ----------
    path : path of an .npz
    arrays : dict of str: array
    settings : dict, what JSON can hold

    Raises
    ------
    UserError
        The disk is full or the folder cannot be written to; an older file at `path` is untouched.
    """
    with atomic(path) as scratch:
        need_space(scratch.parent, sum(np.asarray(array).nbytes for array in arrays.values()) + (1 << 20))
        # what numpy.savez writes; but that leaves its archive open when the disk fills, and Python complains
        with zipfile.ZipFile(scratch, "w", allowZip64=True) as archive:
            for name, array in {SETTINGS: np.array(json.dumps(settings)), **arrays}.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def load(path):
    """Read what `save` wrote.

    Returns
    -------
    (dict of str: array, dict)
        TrainingData by name, and the settings.

    Raises
    ------
    UserError
        The file is missing, damaged, or was not written by this project.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        settings = json.loads(str(arrays.pop(SETTINGS)))
        return arrays, {**settings}
    except OSError as error:
        if error.errno is None:
            raise UserError(f"{path}: damaged ({error}); train or fetch it again") from error
        raise UserError(os_error_message(error)) from error
    except (zipfile.BadZipFile, ValueError, EOFError, zipfile.zlib.error) as error:
        raise UserError(f"{path}: damaged, or not an .npz of weights ({error}); train or fetch it again") from error
    except (KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: not weights of this project, it has no {SETTINGS!r} entry that names settings; "
                        "give the weights.npz of a run") from error


def load_net(path):
    """Build the net that a file of weights is of and put them in.

    Returns
    -------
    (lasagne.layers.Layer, dict of str: array, dict)
        As `network.build` gives it; the arrays and the settings of the file.

    Raises
    ------
    UserError
        No C++ compiler, or the weights are damaged, diverged or another net's.
    """
    read_config(path, "shallow")
    arrays, settings = load(path)
    from shallow import network

    try:
        wanted = architecture(settings)
        if "conv3.b" in arrays:  # what the file holds, not what it says; without, `assign` refuses it
            wanted["conv3_filters"] = arrays["conv3.b"].size
        net = network.build(**wanted)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its settings name a net that there is not ({error!r}); "
                        "give the weights.npz of a run") from error
    assign(network.named_parameters(net), arrays, path)
    return net, arrays, settings


def assign(parameters, arrays, path):
    """Set a net's parameters from arrays.

    Parameters
    ----------
    parameters : dict of str: theano shared variable, as of `network.named_parameters`
    arrays : dict of str: array
    path : path
        Named in the message.

    Raises
    ------
    UserError
        A name is missing or unknown, a shape or kind of number differs, or a value is NaN or infinite.
    """
    if set(arrays) != set(parameters):
        missing, unknown = sorted(set(parameters) - set(arrays)), sorted(set(arrays) - set(parameters))
        raise UserError(f"{path}: not this net's weights (missing: {missing or 'none'}, unknown: {unknown or 'none'}); "
                        "give the weights.npz of a run of the shallow net")
    for name, parameter in parameters.items():
        shape = parameter.get_value(borrow=True).shape
        if arrays[name].shape != shape:
            raise UserError(f"{path}: {name} has shape {arrays[name].shape}, this net wants {shape}; "
                            "was it trained with another conv3_filters?")
        if arrays[name].dtype.kind != np.dtype(parameter.dtype).kind:
            raise UserError(f"{path}: {name} holds {arrays[name].dtype}, not {parameter.dtype}; the file is another "
                            "program's or damaged")
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"{path}: {name} holds NaN or infinity; the training diverged or the file is damaged")
        parameter.set_value(arrays[name].astype(parameter.dtype, copy=False), borrow=True)
