"""Read a solver file, replace the settings that a run overrides, and write the run's own solver file."""
import math
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import write_text
from common.machine import blas_settings
from deep.prototxt import SOLVER, TRAIN_VAL, messages, parse_prototxt

# PRESET=demo uses these values; solver.prototxt has the paper's values of the same settings.
DEMO_SOLVER = {"max_iter": 200, "test_interval": 50, "snapshot": 50}
# At batch size 2, the last few images dominate the weights unless the learning rate falls before the end.
DEMO_STEPSIZE = 80
DEMO_VALIDATION_IMAGES = 20
REQUIRED_FIELDS = ("type", "lr_policy", "momentum", "weight_decay", "base_lr", "max_iter", "test_interval", "snapshot")
# The run folder determines these fields: paths and formats of files.
RESERVED_FIELDS = {"net", "net_param", "train_net", "test_net", "train_net_param", "test_net_param", "train_state",
                   "test_state", "snapshot_prefix", "snapshot_format", "snapshot_after_train", "weights", "device_id"}
REPLACED_FIELDS = {"net", "snapshot_prefix"}  # reserved, but allowed in solver files: the run's own values replace them


def resolve_solver(path, preset, size, validation_images, seed, iterations=None, overrides=()):
    """Read a solver file and replace the settings that the preset, the data or the command line override.

    Parameters
    ----------
    path : path of the solver file
    preset : "demo" or "paper"
    size : (width, height) of the training images, pixels
        base_lr of the file is for 320x240; it is multiplied by the ratio of the numbers of pixels.
    validation_images : int
        Number of validation images in the data.
    seed : int
        Random seed of the fillers.
    iterations : int or None
        Length of the run, instead of the preset's.
    overrides : iterable of str
        "NAME=VALUE" for any other field; last, so that base_lr is used as given.

    Returns
    -------
    dict
        Fields of Caffe's SolverParameter.

    Raises
    ------
    UserError
        The solver file is missing or has a mistake, or a value is invalid.
    """
    from deep.preprocess import TRAIN_SIZE

    solver = _read_solver(path)
    if preset == "demo":
        solver.update(DEMO_SOLVER)
        if Path(path).resolve() == SOLVER:
            solver["stepsize"] = DEMO_STEPSIZE
        validation_images = min(validation_images, DEMO_VALIDATION_IMAGES)
    batch_size = validation_batch_size()
    if solver.get("test_iter"):
        validation_images = min(validation_images, solver["test_iter"][0] * batch_size)
    solver.update(test_iter=[max(1, validation_images // batch_size)], random_seed=seed)
    # section 4.2: the learning rate is divided by the number of predicted pixels
    solver["base_lr"] *= np.prod(TRAIN_SIZE) / np.prod(size)
    if iterations:
        solver["max_iter"] = iterations
    solver.update(_parse_overrides(overrides))
    _check_solver(solver, path)
    return solver


def write_solver(folder, solver, vgg):
    """Write solver.prototxt of a run; its first lines are the command that repeats the run with Caffe alone.

    Parameters
    ----------
    folder : pathlib.Path of the run
    solver : dict, as returned by `resolve_solver`
    vgg : path or None
        If given, the run starts from start.caffemodel in the run folder.
    """
    from google.protobuf import text_format

    message = messages().SolverParameter(**{**solver, "net": str(folder.resolve() / "train_val.prototxt"),
                                             "snapshot_prefix": str(folder.resolve() / "snapshots" / "snapshot")})
    environment = [f"{name}={value}" for name, value in blas_settings().items()]
    weights = [f"-weights {folder / 'start.caffemodel'}"] if vgg else []
    command = " ".join([*environment, "build/caffe/build/tools/caffe train -solver", str(folder / "solver.prototxt"),
                        *weights])
    write_text(folder / "solver.prototxt",
               "# deep/solver.prototxt, which explains the settings, with the overrides of this run. To repeat the run "
               "with Caffe alone:\n"
               f"#   {command}\n" + text_format.MessageToString(message))


def learning_rate(settings, iteration):
    """Return the learning rate that Caffe's solver uses in an iteration; the formulas are those of caffe.proto.

    Parameters
    ----------
    settings : SolverParameter
    iteration : int, 0-based

    Returns
    -------
    float; None for an unknown lr_policy
    """
    base, gamma, policy = settings.base_lr, settings.gamma, settings.lr_policy
    if policy == "multistep":
        return base * gamma ** sum(value <= iteration for value in settings.stepvalue)
    formulas = {
        "fixed": lambda: base,
        "step": lambda: base * gamma ** (iteration // settings.stepsize),
        "exp": lambda: base * gamma ** iteration,
        "inv": lambda: base * (1 + gamma * iteration) ** -settings.power,
        "poly": lambda: base * (1 - iteration / settings.max_iter) ** settings.power,
        "sigmoid": lambda: base * (1 + math.tanh(gamma * (iteration - settings.stepsize) / 2)) / 2,  # never overflows
    }
    return formulas[policy]() if policy in formulas else None


def _read_solver(path):
    """Read the fields of a solver file; raise UserError if it sets reserved fields or lacks required ones."""
    solver = _set_fields(parse_prototxt(path, messages().SolverParameter()))
    for name in RESERVED_FIELDS.intersection(solver) - REPLACED_FIELDS:
        raise UserError(f"{path}: sets {name}, which the run folder determines; remove it")
    for name in REQUIRED_FIELDS:
        if name not in solver:
            raise UserError(f"{path}: does not set {name}; see deep/solver.prototxt for an example")
    return solver


def _parse_overrides(overrides):
    """Parse "NAME=VALUE" strings; return the fields as a dict."""
    from google.protobuf import text_format

    message = messages().SolverParameter()
    for override in overrides:
        name, _, value = override.partition("=")
        if name in RESERVED_FIELDS:
            raise UserError(f"--set {override}: the run folder determines {name}; leave this option out")
        first_error = None
        for text in (f"{name}: {value}", f'{name}: "{value}"'):  # a number or an enum value; a string
            try:
                text_format.Merge(text, message)
                break
            except text_format.ParseError as error:
                first_error = first_error or error
        else:
            raise UserError(f"--set {override}: {str(first_error).partition(' : ')[2]}; give NAME=VALUE, with name and "
                            "value as in solver.prototxt")
    return _set_fields(message)


def _check_solver(solver, path):
    """Raise UserError for values that Caffe's errors do not explain, or that the loop in deep.trainer cannot use."""
    lowest = {"max_iter": 1, "test_interval": 1, "snapshot": 1, "base_lr": 0}
    if solver["lr_policy"] in ("step", "sigmoid"):
        lowest["stepsize"] = 1
    remedy = f"correct it in {path} or in --set"
    for name, least in lowest.items():
        if not solver.get(name, least - 1) >= least:
            raise UserError(f"{name} is {solver.get(name, 'not set')} and must be at least {least}; {remedy}")
    if len(solver["test_iter"]) != 1 or solver["test_iter"][0] < 1:
        raise UserError(f"test_iter is {solver['test_iter']} and must be one number, at least 1; {remedy}")
    if solver.get("iter_size", 1) != 1:
        raise UserError("iter_size must be 1, since otherwise log.csv would have the losses and norms of a part of the "
                        "batch; raise batch_size in deep/train_val.prototxt instead")


def _set_fields(message):
    """Return the fields of a message that are set, as a dict that config.json can store."""
    return {field.name: list(value) if field.label == field.LABEL_REPEATED else value
            for field, value in message.ListFields()}


def validation_batch_size():
    """Return the batch size of the validation images in train_val.prototxt."""
    caffe_pb2 = messages()
    net = parse_prototxt(TRAIN_VAL, caffe_pb2.NetParameter())
    return next(layer.hdf5_data_param.batch_size for layer in net.layer
                if any(rule.phase == caffe_pb2.TEST for rule in layer.include))
