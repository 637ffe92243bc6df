"""python -m deep.train: train the deep net on what deep.prepare wrote (section 4.2).

The run folder holds solver.prototxt and train_val.prototxt as used, log.csv, caffe.log (Caffe's own
words), snapshots while it lasts, and weights.caffemodel at the end. Interrupted or killed, the same
command goes on from the newest snapshot and ends with the weights of a run that never stopped.
"""
import argparse
import hashlib
import re
from pathlib import Path

from common import runs
from common.arguments import non_negative_int, positive_int
from common.errors import UserError, run
from common.files import write_text
from common.machine import blas_settings
from deep.backend import load_caffe, run_in_subprocess
from deep.prototxt import SOLVER, TRAIN_VAL, parse_prototxt

# What PRESET=demo shrinks. solver.prototxt has the paper's values of the same settings.
DEMO_SOLVER = {"max_iter": 100, "test_interval": 50, "snapshot": 25}
# At batch 2 the last few images decide what the net answers unless the rate comes down before the end.
DEMO_STEPSIZE = 40
DEMO_VALIDATION_IMAGES = 20
# fields of a solver file that say where things are, and in what format
RESERVED_FIELDS = {"net", "net_param", "train_net", "test_net", "train_net_param", "test_net_param", "train_state", "test_state",
         "snapshot_prefix", "snapshot_format", "snapshot_after_train", "weights", "device_id"}
FILES = ("caffe.log", "weights.caffemodel", "start.caffemodel", "solver.prototxt", "train_val.prototxt",
         "snapshot.json", "snapshots", "train.txt", "val.txt")  # of a run folder
LARGEST_FILE = 2**31  # bytes: HDF5Data reads one whole file at a time and fails beyond


def main():
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m deep.train", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--data", required=True, help="folder that deep.prepare wrote")
    parser.add_argument("--run", required=True, help="run folder, e.g. build/runs/NAME")
    parser.add_argument("--preset", choices=["demo", "paper"], default="demo",
                        help="the paper's 24,000 iterations, or as many as take minutes (default: %(default)s)")
    parser.add_argument("--solver", default=str(SOLVER),
                        help="solver file (default: deep/solver.prototxt)")
    parser.add_argument("--vgg", help="VGG_CNN_M.caffemodel for conv1..conv3; without it they start at random")
    parser.add_argument("--rescale-conv1", action="store_true",
                        help="multiply VGG's conv1 by 127.5 (see deep/surgery.py)")
    parser.add_argument("--iterations", type=positive_int, help="override the preset's")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="override any setting of the solver file, e.g. stepsize=500; base_lr is taken as it is, "
                             "where the file's is adapted to the size of the images; may be given several times")
    parser.add_argument("--seed", type=non_negative_int, default=2016, help="of the random start (default: %(default)s)")
    runs.add_arguments(parser)
    args = parser.parse_args()
    return train(args)


def train(args):
    """Set the run folder up, then train in a process of its own, which Caffe may end if it must."""
    from deep.trainer import MARKER, WEIGHTS, remove_snapshots
    from deep.trainer import train as train_in_caffe

    folder, vgg = Path(args.run), args.vgg and str(Path(args.vgg).resolve())
    manifest = runs.prepared_data(args.data, "deep")
    _check_manifest(manifest, Path(args.data))
    shards = _check_data(Path(args.data), manifest)
    net = TRAIN_VAL.read_text(encoding="utf-8")
    solver = resolve_solver(args, manifest)
    settings = {"data": manifest, "solver": solver, "vgg": vgg, "rescale_conv1": args.rescale_conv1,
                "train_val.prototxt": f"sha256 {hashlib.sha256(net.encode()).hexdigest()}"}
    if vgg and (args.restart or not any((folder / name).is_file() for name in (MARKER, WEIGHTS))):
        from deep.surgery import read_vgg

        read_vgg(vgg)  # a wrong file is to be told before there is a run folder that names it
    predict = {"longest_side": max(manifest["size"]), **{name: manifest[name] for name in ("mean_bgr", "mean_map")}}
    with runs.lock_folder(folder):
        runs.start(folder, "deep", settings, predict, FILES, {"caffe": load_caffe().__version__}, args.restart, args.resume)
        if (folder / WEIGHTS).is_file():
            remove_snapshots(folder)  # of a run that was killed right at its end
            print(f"{folder}: already trained; --restart trains it again")
            return 0
        for split, paths in shards.items():
            write_text(folder / f"{split}.txt", "".join(f"{path.resolve()}\n" for path in paths))
            net = re.sub(rf'"[^"]*/{split}\.txt"', f'"{folder.resolve()}/{split}.txt"', net)
        write_text(folder / "train_val.prototxt", net)
        write_text(folder / "solver.prototxt", _solver_text(solver, folder, vgg))
        return run_in_subprocess(train_in_caffe, (str(folder), vgg, args.rescale_conv1), folder / "caffe.log")


def resolve_solver(args, data):
    """The settings of the solver file, with the overrides that preset, data and command line ask for.

    Returns
    -------
    dict
        Fields of Caffe's SolverParameter.

    Raises
    ------
    UserError
        The solver file is missing or has a mistake.
    """
    load_caffe()
    import numpy as np
    from caffe.proto import caffe_pb2

    from deep.preprocess import TRAIN_SIZE

    parsed = parse_prototxt(args.solver, caffe_pb2.SolverParameter())
    solver = _fields(parsed)
    for name in RESERVED_FIELDS.intersection(solver) - {"net", "snapshot_prefix"}:  # those two are replaced by the run's own
        raise UserError(f"{args.solver}: {name} is the run folder's to decide; take it out")
    for name in ("type", "lr_policy", "momentum", "weight_decay", "base_lr", "max_iter", "test_interval", "snapshot"):
        if name not in solver:
            raise UserError(f"{args.solver}: sets no {name}; deep/solver.prototxt shows how")
    held_out = data["val"]
    if args.preset == "demo":
        solver.update(DEMO_SOLVER)
        if Path(args.solver).resolve() == SOLVER:
            solver["stepsize"] = DEMO_STEPSIZE
        held_out = min(held_out, DEMO_VALIDATION_IMAGES)
    solver.update(test_iter=[max(1, held_out // _batch_size())], random_seed=args.seed)
    # section 4.2: the rate is normalised by the number of predictions; the file's is for 320x240
    solver["base_lr"] *= np.prod(TRAIN_SIZE) / np.prod(data["size"])
    if args.iterations:
        solver["max_iter"] = args.iterations
    solver.update(_overrides(args.set))
    _check_solver(solver, args.solver)
    return solver


def _check_solver(solver, path):
    """Values that would end in a misleading error, or that the loop in deep.trainer cannot drive."""
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
        raise UserError("iter_size must be 1, or the logged losses and norms are of a part of the batch; "
                        "raise batch_size in deep/train_val.prototxt instead")


def _overrides(settings):
    """["name=value", ...] as fields of the solver."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    message = caffe_pb2.SolverParameter()
    for setting in settings:
        name, _, value = setting.partition("=")
        if name in RESERVED_FIELDS:
            raise UserError(f"--set {setting}: {name} is the run folder's to decide; leave it out")
        error = None
        for text in (f"{name}: {value}", f'{name}: "{value}"'):  # numbers and names of choices, or strings
            try:
                text_format.Merge(text, message)
                break
            except text_format.ParseError as found:
                error = error or found
        else:
            raise UserError(f"--set {setting}: {str(error).partition(' : ')[2]}; give NAME=VALUE as a line of "
                            "solver.prototxt has it")
    return _fields(message)


def _fields(message):
    """The fields that are set, as config.json can hold them."""
    return {field.name: list(value) if field.label == field.LABEL_REPEATED else value
            for field, value in message.ListFields()}


def _batch_size():
    """Of the validation images, as train_val.prototxt says."""
    from caffe.proto import caffe_pb2

    net = parse_prototxt(TRAIN_VAL, caffe_pb2.NetParameter())
    return next(layer.hdf5_data_param.batch_size for layer in net.layer
                if any(rule.phase == caffe_pb2.TEST for rule in layer.include))


def _check_manifest(manifest, folder):
    """Raise UserError unless the manifest of prepared data has all keys that training needs."""
    missing = {"train", "val", "size", "mean_bgr", "mean_map"} - set(manifest)
    if missing:
        raise UserError(f"{folder / 'manifest.json'}: lacks {', '.join(sorted(missing))}; "
                        f"delete {folder} and run `make data` again")


def _check_data(folder, manifest):
    """Check the shards of both splits, because Caffe would abort on a missing file or data set.

    Parameters
    ----------
    folder : path that deep.prepare wrote
    manifest : dict

    Returns
    -------
    dict of str: list of path
        The shards of "train" and "val", in order.

    Raises
    ------
    UserError
        A shard is missing or damaged, has other shapes than the manifest, or cannot be read by Caffe.
    """
    shards, remedy = {}, f"delete {folder} and run `make data` again"
    for split in ("train", "val"):
        shards[split] = paths = sorted(folder.glob(f"{split}_*.h5"))
        if not paths:
            raise UserError(f"{folder}: holds no {split}_*.h5; {remedy}")
        # HDF5Data reads a list of paths that are separated by white space
        if any(character.isspace() for path in paths for character in str(path.resolve())):
            raise UserError(f"{folder.resolve()}: Caffe cannot read a path with a space; rename the folder")
        count = sum(_count_images(path, *manifest["size"], remedy) for path in paths)
        if count != manifest[split]:
            raise UserError(f"{folder}: the {split}_*.h5 hold {count} images, but the manifest lists "
                            f"{manifest[split]}; {remedy}")
    return shards


def _count_images(path, width, height, remedy):
    """Check the shapes of a shard and return its number of images."""
    import h5py

    try:
        with h5py.File(path) as shard:
            data, label = (shard[name].shape for name in ("data", "label"))
    except (OSError, KeyError, AttributeError) as error:  # AttributeError: a group of that name
        raise UserError(f"{path}: damaged ({error}); {remedy}") from error
    count = data[0] if data else 0
    if not count or data != (count, 3, height, width) or label != (count, 1, height, width):
        raise UserError(f"{path}: holds data of shape {data} and label of shape {label}, expected "
                        f"(n, 3, {height}, {width}) and (n, 1, {height}, {width}); {remedy}")
    if count * 4 * 3 * height * width >= LARGEST_FILE:
        raise UserError(f"{path}: more than 2 GB of images, which Caffe cannot read from one file; {remedy}")
    return count


def _solver_text(solver, folder, vgg):
    """The run's own solver file, which Caffe can run without us."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    message = caffe_pb2.SolverParameter(**{**solver, "net": str(folder.resolve() / "train_val.prototxt"),
                                           "snapshot_prefix": str(folder.resolve() / "snapshots" / "snapshot")})
    environment = [f"{name}={value}" for name, value in blas_settings().items()]
    weights = [f"-weights {folder / 'start.caffemodel'}"] if vgg else []
    command = " ".join([*environment, "build/caffe/build/tools/caffe train -solver", str(folder / "solver.prototxt"),
                        *weights])
    return ("# deep/solver.prototxt, where the reasons stand, with this run's overrides. To repeat it without us:\n"
            f"#   {command}\n" + text_format.MessageToString(message))


if __name__ == "__main__":
    run(main)
