"""Read a solver file, replace the settings that a run overrides, and write the run's own solver file."""
import math
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import write_text
from common.machine import blas_settings
from deep.prototxt import HERE, SOLVER, TRAIN_VAL, messages, parse_prototxt
from deep.training_net import SETTING, net_setting, read_training_net

# PRESET=demo uses these values; solver.prototxt has the paper's values of the same settings.
DEMO_SOLVER = {"max_iter": 300, "test_interval": 50, "snapshot": 50}
# At batch size 2, the last few images dominate the weights unless the learning rate falls before the end.
DEMO_STEPSIZE = 120
DEMO_VALIDATION_IMAGES = 20
DEFAULT_TYPE = "SGD"  # Caffe's
REQUIRED_FIELDS = ("lr_policy", "momentum", "weight_decay", "base_lr", "max_iter", "test_interval", "snapshot")
DEVICE_FIELDS = {"solver_mode", "device_id"}
# The run determines these fields: paths and formats of files, and the device.
RESERVED_FIELDS = DEVICE_FIELDS | {
    "net", "net_param", "train_net", "test_net", "train_net_param", "test_net_param", "train_state", "test_state",
    "snapshot_prefix", "snapshot_format", "snapshot_after_train", "weights"}
# they decide the weights, so that a run is comparable with the paper's only if they are equal
DECISIVE_FIELDS = ("type", "max_iter", "base_lr", "lr_policy", "gamma", "stepsize", "momentum", "weight_decay",
                   "iter_size")
# reserved, but allowed in solver files: the run's own values replace them
REPLACED_FIELDS = {"net", "train_net", "test_net", "snapshot_prefix", "solver_mode"}


def resolve_solver(path, preset, size, validation_images, seed, iterations=None, overrides=(), net=TRAIN_VAL):
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
    net : path
        The net for training, which sets the batch size of validations.

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
    batch_size = read_training_net(net).batch_sizes["TEST"]
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


def write_solver(folder, solver, vgg, engine="caffe", gpu=None):
    """Write solver.prototxt of a run; its first lines are the command that trains the same with Caffe alone.

    Parameters
    ----------
    folder : pathlib.Path of the run
    solver : dict, as returned by `resolve_solver`
    vgg : path or None
        If given, the run starts from start.caffemodel in the run folder.
    engine : "caffe" or "torch"
    gpu : int or None
        Number of the graphics card on which Caffe runs.
    """
    from google.protobuf import text_format

    caffe_pb2 = messages()
    message = caffe_pb2.SolverParameter(**{**solver, "net": str(folder.resolve() / "train_val.prototxt"),
                                           "snapshot_prefix": str(folder.resolve() / "snapshots" / "snapshot"),
                                           **({"solver_mode": caffe_pb2.SolverParameter.CPU} if gpu is None else
                                              {"solver_mode": caffe_pb2.SolverParameter.GPU, "device_id": gpu})})
    environment = [f"{name}={value}" for name, value in blas_settings().items()]
    weights = [f"-weights {folder / 'start.caffemodel'}"] if vgg else []
    build = "build/caffe" if gpu is None else "build/caffe-cuda"
    command = " ".join([*environment, f"{build}/build/tools/caffe train -solver", str(folder / "solver.prototxt"),
                        *weights])
    # the weights that PyTorch draws are not Caffe's; VGG's runs save all initial weights in start.caffemodel
    purpose = "To train the same on the card (not compared by us)" if gpu is not None else \
        "To repeat the run with Caffe alone" if engine == "caffe" else \
        "PyTorch ran it. To repeat it with Caffe alone, to rounding" if vgg else \
        "PyTorch ran it. To train the same net with Caffe alone, from other random weights"
    write_text(folder / "solver.prototxt",
               f"# deep/solver.prototxt, which explains the settings, with the overrides of this run. {purpose}:\n"
               f"#   {command}\n" + text_format.MessageToString(message))


def differences_from_paper(settings):
    """List the settings of a training that differ from the paper's.

    Parameters
    ----------
    settings : dict
        "settings" of the run's config.json.

    Returns
    -------
    list of str
    """
    from deep.preprocess import TRAIN_SIZE

    data, solver = settings["data"], settings["solver"]
    if data["preset"] != "paper":
        return [f"trained with the {data['preset']} preset"]
    paper = resolve_solver(SOLVER, "paper", TRAIN_SIZE, data["val"], solver["random_seed"])
    paper = {"iter_size": 1, **paper}
    texts = [] if settings["vgg"] else ["trained from random weights, not from VGG_CNN_M"]
    if settings[SETTING] != net_setting(read_training_net(TRAIN_VAL), None):
        texts.append("trained with another train_val.prototxt")
    return texts + [f"trained with {name} {value} instead of {paper[name]}" for name in DECISIVE_FIELDS
                    if (value := solver.get(name, paper.get(name))) != paper.get(name)]


def replacements(path, net, engine="caffe", gpu=None):
    """Describe what a run uses instead of the settings of a solver file.

    Parameters
    ----------
    path : path of the solver file
    net : path of the net that the run trains
    engine : "caffe" or "torch"
    gpu : int or None
        Number of the graphics card on which Caffe runs.

    Returns
    -------
    list of str
        One line per setting that the run replaces, for the user.
    """
    caffe_pb2, path, net = messages(), Path(path), Path(net)
    settings = parse_prototxt(path, caffe_pb2.SolverParameter())
    named = dict.fromkeys(filter(None, (settings.net, settings.train_net, *settings.test_net)))
    # Caffe looks in the current folder; those who post a solver file mean the folder of that file
    others = [name for name in named
              if not any((folder / name).resolve() == net.resolve() for folder in (Path(), path.parent, HERE.parent))]
    lines = []
    if others:
        lines.append(f"{path}: names the net {', '.join(others)}, but this run trains {net}; to train another net, "
                     "give --train-val FILE (make train-deep TRAIN_VAL=FILE)")
    on_card = settings.HasField("solver_mode") and settings.solver_mode == caffe_pb2.SolverParameter.GPU
    if on_card and engine == "caffe" and gpu is None:
        lines.append(f"{path}: solver_mode GPU has no effect; to train on a graphics card, give --engine torch (make "
                     "train-deep ENGINE=torch), or, after `make caffe CUDA=path`, --gpu 0 (GPU=0)")
    return lines


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
    solver = {"type": DEFAULT_TYPE, **_set_fields(parse_prototxt(path, messages().SolverParameter()))}
    if "solver_type" in solver:
        raise UserError(f'{path}: sets solver_type, an old field; write its name instead, such as type: "Nesterov"')
    for name in ("train_net", "test_net"):  # Caffe accepts no more than one net for training, see `write_solver`
        solver.pop(name, None)
    for name in RESERVED_FIELDS.intersection(solver) - REPLACED_FIELDS:
        raise UserError(f"{path}: sets {name}, which the run determines; remove it")
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
            card = "; for a graphics card, give --gpu 0 (GPU=0 with make), or with --engine torch --device cuda"
            raise UserError(f"--set {override}: the run determines {name}; leave this option out"
                            f"{card if name in DEVICE_FIELDS else ''}")
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
    if "iter_size" in solver:
        lowest["iter_size"] = 1
    if solver["lr_policy"] in ("step", "sigmoid"):
        lowest["stepsize"] = 1
    remedy = f"correct it in {path} or in --set"
    for name, least in lowest.items():
        if not solver.get(name, least - 1) >= least:
            raise UserError(f"{name} is {solver.get(name, 'not set')} and must be at least {least}; {remedy}")
    if len(solver["test_iter"]) != 1 or solver["test_iter"][0] < 1:
        raise UserError(f"test_iter is {solver['test_iter']} and must be one number, at least 1; {remedy}")


def _set_fields(message):
    """Return the fields of a message that are set, as a dict that config.json can store."""
    return {field.name: list(value) if field.label == field.LABEL_REPEATED else value
            for field, value in message.ListFields()}

