"""python -m deep.train: train the deep net on what data.prepare wrote (section 4.2).

The run folder holds solver.prototxt and train_val.prototxt as used, log.csv, caffe.log (Caffe's own
words), snapshots while it lasts, and weights.caffemodel at the end. Interrupted, the same command
goes on from the newest snapshot and ends with the weights of a run that never stopped.
"""
import argparse
import re
import tempfile
import time
from pathlib import Path

from data import runs
from data.arguments import natural_int, positive_int
from data.errors import UserError, run
from data.files import atomic, need_space, read_json, write_json, write_text
from data.interrupts import Interrupts
from deep.backend import HERE, TRAIN_VAL, load_caffe, parent_is_gone, run_guarded

SOLVER = HERE / "solver.prototxt"
# What SCALE=demo shrinks. solver.prototxt has the paper's values of the same settings.
DEMO_SOLVER = {"max_iter": 100, "test_interval": 50, "snapshot": 25}
# At batch 2 the last few images decide what the net answers unless the rate comes down before the end.
DEMO_STEPSIZE = 40
DEMO_VALIDATION_IMAGES = 20
LOG_COLUMNS = ["iteration", "lr", "loss", "rmse", "val_loss", "val_rmse", "val_cc", "seconds"]


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
    return run_guarded(train_in_caffe, (str(folder), args.vgg, args.rescale_conv1),
                       folder / "caffe.log")


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
    from google.protobuf import text_format

    from deep.preprocess import TRAIN_SIZE

    try:
        text = Path(args.solver).read_text(encoding="utf-8")
        parsed = text_format.Parse(text, caffe_pb2.SolverParameter())
    except text_format.ParseError as error:
        raise UserError(f"{args.solver}: line {error}; correct it there") from error
    solver = {field.name: value for field, value in parsed.ListFields()}
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
    return solver


def train_in_caffe(folder, vgg, rescale_conv1):
    """The training loop: runs in the guarded child process.

    Raises
    ------
    UserError
        The loss is no longer a number, a snapshot cannot be written, or VGG's weights do not fit.
    """
    caffe = load_caffe()
    folder = Path(folder)
    solver, settings = _open_solver(caffe, folder)
    done = _resume(solver, folder)
    if not done and vgg:
        from deep.surgery import transplant
        print("\n".join(transplant(solver.net, vgg, rescale_conv1)))
    from data.progress import progress

    log = runs.Log(folder / "log.csv", LOG_COLUMNS, done)
    with progress(total=settings.max_iter, description="deep net", unit="step", initial=done) as bar, \
            Interrupts() as interrupts:
        while solver.iter < settings.max_iter:
            started = time.monotonic()
            rate = _learning_rate(settings, solver.iter)
            solver.step(1)
            row = {"iteration": solver.iter, "lr": rate, **_losses(solver.net)}
            _check_loss(row, folder)
            if solver.iter % settings.test_interval == 0 or solver.iter == settings.max_iter:
                row.update(_validate(caffe, folder, solver.net, settings.test_iter[0]))
                bar.set_postfix(val_cc=f"{row['val_cc']:.3f}", val_rmse=f"{row['val_rmse']:.3f}")
            log.write(**row, seconds=time.monotonic() - started)
            bar.update()
            try:
                interrupts.check()
                if parent_is_gone():
                    raise KeyboardInterrupt
            except KeyboardInterrupt:
                bar.close()
                _snapshot(solver, folder)
                raise
            if solver.iter % settings.snapshot == 0 and solver.iter < settings.max_iter:
                _snapshot(solver, folder)
    need_space(folder, _size(solver.net))
    with atomic(folder / "weights.caffemodel") as scratch:
        solver.net.save(str(scratch))
    (folder / "snapshot.json").unlink(missing_ok=True)
    for path in (folder / "snapshots").iterdir():  # the folder stays: `caffe train` does not make it
        path.unlink()
    print(f"{folder / 'weights.caffemodel'}: the deep net after {settings.max_iter} iterations")


def _open_solver(caffe, folder):
    """A solver that does neither tests nor snapshots by itself: `train_in_caffe` does, where it can see them."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    settings = text_format.Parse((folder / "solver.prototxt").read_text(), caffe_pb2.SolverParameter())
    driven = caffe_pb2.SolverParameter()
    driven.CopyFrom(settings)
    for field in ("test_iter", "test_interval", "test_initialization", "snapshot", "display"):
        driven.ClearField(field)
    driven.snapshot_after_train = False
    (folder / "snapshots").mkdir(exist_ok=True)  # Caffe does not make it
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text_format.MessageToString(driven))
        file.flush()
        return caffe.get_solver(file.name), settings


def _resume(solver, folder):
    """Go back to the newest snapshot, and to the same place in the data; return the iteration."""
    marker = folder / "snapshot.json"
    if not marker.is_file():
        return 0
    done = read_json(marker)["iteration"]
    state = folder / "snapshots" / f"snapshot_iter_{done}.solverstate"
    if not (state.is_file() and state.with_suffix(".caffemodel").is_file()):
        raise UserError(f"{state}: gone, though {marker} promises it; give --restart to train from the beginning")
    solver.restore(str(state))
    for _ in range(done):  # HDF5Data starts at the first image again
        solver.net.forward(end="data")
    return done


def _snapshot(solver, folder):
    """Write weights and momentum; snapshot.json names them only once they are complete."""
    need_space(folder, 2 * _size(solver.net))  # Caffe aborts on a full disk
    solver.snapshot()
    write_json(folder / "snapshot.json", {"iteration": solver.iter})
    for path in (folder / "snapshots").iterdir():
        if path.stem != f"snapshot_iter_{solver.iter}":
            path.unlink()


def _size(net):
    """Bytes of a net's weights, and a little more for their names."""
    return sum(blob.data.nbytes for blobs in net.params.values() for blob in blobs) + (1 << 20)


def _losses(net):
    """Caffe's loss, sum / (2 x images), and the root mean square error of a pixel behind it."""
    loss = float(net.blobs["loss"].data)
    pixels = net.blobs["label"].data[0].size
    return {"loss": loss, "rmse": (2 * loss / pixels) ** 0.5}


def _validate(caffe, folder, trained, batches):
    """Mean loss and CC over the held-out images, always the same ones: a new net starts at the first."""
    import numpy as np

    net = caffe.Net(str(folder / "train_val.prototxt"), caffe.TEST)
    net.share_with(trained)
    losses, correlations = [], []
    for _ in range(batches):
        net.forward()
        losses.append(float(net.blobs["loss"].data))
        correlations += [np.corrcoef(map_.ravel(), label.ravel())[0, 1]
                         for map_, label in zip(net.blobs["deconv"].data, net.blobs["label"].data)]
    loss = float(np.mean(losses))
    return {"val_loss": loss, "val_rmse": (2 * loss / net.blobs["label"].data[0].size) ** 0.5,
            "val_cc": float(np.mean(correlations))}


def _learning_rate(settings, iteration):
    """What Caffe's "step" and "fixed" policies use at this iteration, for the log."""
    if settings.lr_policy == "step":
        return settings.base_lr * settings.gamma ** (iteration // settings.stepsize)
    return settings.base_lr if settings.lr_policy == "fixed" else None


def _check_loss(row, folder):
    if not row["loss"] < float("inf"):
        raise UserError(f"{folder}: the loss is {row['loss']} at iteration {row['iteration']}: the learning diverged "
                        "(section 4.2: it does at a larger learning rate); lower base_lr and give --restart")


def _batch_size():
    """Of the validation images, as train_val.prototxt says."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    net = text_format.Parse(TRAIN_VAL.read_text(encoding="utf-8"), caffe_pb2.NetParameter())
    return next(layer.hdf5_data_param.batch_size for layer in net.layer
                if any(rule.phase == caffe_pb2.TEST for rule in layer.include))


def _check_data(folder, expected):
    """The shards of both splits; Caffe would abort on a missing file or data set, so we look first."""
    import h5py

    width, height = expected["size"]
    found = {}
    for split in ("train", "val"):
        found[split] = shards = sorted(folder.glob(f"{split}_*.h5"))
        if not shards:
            raise UserError(f"{folder}: no {split}_*.h5 there; run `make data` again")
        for path in shards:
            try:
                with h5py.File(path) as shard:
                    shapes = shard["data"].shape[1:], shard["label"].shape[1:]
            except (OSError, KeyError) as error:
                raise UserError(f"{path}: damaged ({error}); delete {folder.parent} "
                                "and run `make data` again") from error
            if shapes != ((3, height, width), (1, height, width)):
                raise UserError(f"{path}: holds images of shape {shapes[0]}, not {(3, height, width)}; "
                                f"delete {folder.parent} and run `make data` again")
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
