"""python -m deep.train: train the deep net on what data.prepare wrote (section 4.2).

The run folder holds solver.prototxt and train_val.prototxt as used, log.csv, caffe.log (Caffe's own
words), snapshots while it lasts, and weights.caffemodel at the end. Interrupted or killed, the same
command goes on from the newest snapshot and ends with the weights of a run that never stopped.
"""
import argparse
import re
from pathlib import Path

from data import runs
from data.arguments import natural_int, positive_int
from data.errors import UserError, run
from data.files import read_json, write_text
from deep.backend import HERE, TRAIN_VAL, load_caffe, parse_prototxt, run_guarded
from deep.surgery import read_vgg

SOLVER = HERE / "solver.prototxt"
# What SCALE=demo shrinks. solver.prototxt has the paper's values of the same settings.
DEMO_SOLVER = {"max_iter": 100, "test_interval": 50, "snapshot": 25}
# At batch 2 the last few images decide what the net answers unless the rate comes down before the end.
DEMO_STEPSIZE = 40
DEMO_VALIDATION_IMAGES = 20
LARGEST_FILE = 2**31  # bytes: HDF5Data reads one whole file at a time and fails beyond


def main():
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m deep.train", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--data", required=True, help="folder that data.prepare wrote")
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
                        help="override any setting of the solver file, e.g. stepsize=500; may be given several times")
    parser.add_argument("--seed", type=natural_int, default=2016, help="of the random start (default: %(default)s)")
    runs.add_arguments(parser)
    args = parser.parse_args()
    return train(args)


def train(args):
    """Set the run folder up, then train in a process of its own, which Caffe may end if it must."""
    folder = Path(args.run)
    manifest = read_json(Path(args.data) / "manifest.json")
    shards = _check_data(Path(args.data) / "deep", manifest["deep"])
    solver = resolve_solver(args, manifest["deep"])
    if args.vgg:
        read_vgg(args.vgg)  # a wrong file is to be told before there is a run folder that names it
    width, height = manifest["deep"]["size"]
    settings = {"data": manifest, "solver": solver, "vgg": args.vgg, "rescale_conv1": args.rescale_conv1}
    runs.start(folder, "deep", settings, {
        "longest_side": max(width, height), "mean_bgr": manifest["deep"]["mean_bgr"],
        "mean_map": manifest["deep"]["mean_map"]}, {"caffe": load_caffe().__version__}, args.restart, args.resume)
    if (folder / "weights.caffemodel").is_file():
        print(f"{folder}: already trained; --restart trains it again")
        return 0
    net = TRAIN_VAL.read_text(encoding="utf-8")
    for split, paths in shards.items():
        # HDF5Data reads the names of its files from a list, up to the next white space
        if any(character.isspace() for path in paths for character in str(path.resolve())):
            raise UserError(f"{paths[0].parent.resolve()}: Caffe reads no path with a space in it; rename the folder")
        write_text(folder / f"{split}.txt", "".join(f"{path.resolve()}\n" for path in paths))
        net = re.sub(rf'"[^"]*/{split}\.txt"', f'"{folder.resolve()}/{split}.txt"', net)
    write_text(folder / "train_val.prototxt", net)
    write_text(folder / "solver.prototxt", _solver_text(solver, folder))
    from deep.trainer import train as train_in_caffe
    return run_guarded(train_in_caffe, (str(folder), args.vgg, args.rescale_conv1), folder / "caffe.log")


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
    for name in ("max_iter", "test_interval", "snapshot", *(["stepsize"] if solver["lr_policy"] == "step" else [])):
        if solver.get(name, 0) < 1:
            raise UserError(f"{args.solver}: {name} is {solver.get(name, 'not set')}, and must be at least 1; "
                            "correct it there, or in --set")
    return solver


def _overrides(settings):
    """["name=value", ...] as fields of the solver."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    message = caffe_pb2.SolverParameter()
    for setting in settings:
        name, _, value = setting.partition("=")
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


def _check_data(folder, expected):
    """The shards of both splits; Caffe would abort on a missing file or data set, so we look first."""
    import h5py

    width, height = expected["size"]
    found, remedy = {}, f"delete {folder.parent} and run `make data` again"
    for split in ("train", "val"):
        found[split] = shards = sorted(folder.glob(f"{split}_*.h5"))
        if not shards:
            raise UserError(f"{folder}: no {split}_*.h5 there; run `make data` again")
        for path in shards:
            try:
                with h5py.File(path) as shard:
                    shapes = {name: shard[name].shape for name in ("data", "label")}
            except (OSError, KeyError, AttributeError) as error:  # AttributeError: a group of that name
                raise UserError(f"{path}: damaged ({error}); {remedy}") from error
            images = shapes["data"][:1]
            if shapes != {"data": (*images, 3, height, width), "label": (*images, 1, height, width)} or not images[0]:
                raise UserError(f"{path}: holds data of shape {shapes['data']} and label of shape {shapes['label']}, "
                                f"where (n, 3, {height}, {width}) and (n, 1, {height}, {width}) are wanted; {remedy}")
            if images[0] * 4 * 3 * height * width >= LARGEST_FILE:
                raise UserError(f"{path}: more than 2 GB of images, which Caffe cannot read from one file; {remedy}")
    return found


def _solver_text(solver, folder):
    """The run's own solver file, which `caffe train -solver` can run without us."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    message = caffe_pb2.SolverParameter(**{**solver, "net": str(folder.resolve() / "train_val.prototxt"),
                                           "snapshot_prefix": str(folder.resolve() / "snapshots" / "snapshot")})
    return (f"# deep/solver.prototxt (the reasons stand there) with the overrides of this run.\n"
            f"# caffe train -solver {folder / 'solver.prototxt'} repeats it; a run that started from VGG_CNN_M's\n"
            f"# weights also needs -weights VGG_CNN_M.caffemodel.\n" + text_format.MessageToString(message))


if __name__ == "__main__":
    run(main)
