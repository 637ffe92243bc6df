"""python -m deep.train: train the deep net on the data of deep.prepare (section 4.2).

The run folder holds config.json, solver.prototxt and train_val.prototxt as used, log.csv, caffe.log or torch.log (the
library's messages), the newest snapshot during training, and weights.caffemodel at the end. If a run is interrupted or
killed, the same command continues from the newest snapshot; its final weights are those of an uninterrupted run, bit
for bit, if machine and engine stay the same.
"""
import os
import sys
from pathlib import Path

from common import engine as engines
from common import runs
from common.arguments import Parser, non_negative_int, positive_int
from common.errors import UserError, run
from common.files import NUMBER, write_text
from data.hdf5_index import check_hdf5
from deep import trainer
from deep.backend import load_caffe, run_in_subprocess
from deep.card import check_card
from deep.names import rename_in_run
from deep.prototxt import SOLVER, TRAIN_VAL
from deep.solver import replacements, resolve_solver, write_solver
from deep.torch_workers import FAULT, LOG, launch
from deep.training_net import SETTING, net_setting, read_training_net, with_paths

LOGS = {"caffe": "caffe.log", "torch": LOG}  # in the run folder: messages of the engine's library
LIBRARIES = {"caffe": "Caffe", "torch": "PyTorch"}
FILES = (*LOGS.values(), FAULT, trainer.WEIGHTS, trainer.START, "solver.prototxt", SETTING, trainer.MARKER,
         "snapshots", "train.txt", "val.txt")  # of a run folder
MANIFEST = {"train": int, "val": int, "size": [int], "mean_bgr": [NUMBER], "mean_map": NUMBER}
LARGEST_FILE = 2**31  # bytes: HDF5Data reads whole files, and fails at larger ones


def main():
    """Parse the command line and train."""
    parser = Parser("deep.train", __doc__)
    parser.add_argument("--data", required=True, help="folder that deep.prepare wrote")
    parser.add_argument("--run", required=True, help="run folder, e.g. build/runs/NAME")
    parser.add_argument("--preset", choices=["demo", "paper"], default="demo",
                        help="paper: 24,000 iterations; demo: 300, which take minutes (default: %(default)s)")
    parser.add_argument("--solver", default=str(SOLVER), help="solver file (default: deep/solver.prototxt)")
    parser.add_argument("--train-val", default=str(TRAIN_VAL), metavar="FILE",
                        help="net for training (default: deep/train_val.prototxt); the net that a solver file names is "
                             "not used")
    parser.add_argument("--vgg", help="VGG_CNN_M.caffemodel, to initialise conv1..conv3 (default: random weights)")
    parser.add_argument("--rescale-conv1", action="store_true",
                        help="multiply VGG_CNN_M's conv1 by 127.5, because our input is 127.5 times smaller than VGG's")
    parser.add_argument("--iterations", type=positive_int, help="number of iterations (default: the preset's)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="override a setting of the solver file, e.g. stepsize=500; may be given several times; "
                             "base_lr given here is used unchanged; the base_lr of the solver file is scaled to the "
                             "image size")
    engines.add_arguments(parser, "caffe", "BVLC Caffe")
    parser.add_argument("--gpu", type=non_negative_int, metavar="N",
                        help="train on graphics card N, from 0, with --engine caffe; needs `make caffe CUDA=path`")
    parser.add_argument("--nproc", type=positive_int, default=1, metavar="N",
                        help="number of processes with --engine torch, such as one per graphics card, which compute "
                             "equal parts of each batch (default: %(default)s)")
    parser.add_seed(2016)
    runs.add_arguments(parser)
    args = parser.parse_args()
    return train(args.data, args.run, preset=args.preset, solver_file=args.solver, vgg=args.vgg,
                 rescale_conv1=args.rescale_conv1, iterations=args.iterations, overrides=args.set, seed=args.seed,
                 restart=args.restart, resume=args.resume, engine=args.engine, device=args.device,
                 precision=args.precision, train_val=args.train_val, processes=args.nproc, gpu=args.gpu)


def train(data, folder, preset="demo", solver_file=SOLVER, vgg=None, rescale_conv1=False, iterations=None,
          overrides=(), seed=2016, restart=False, resume=False, engine="caffe", device=None, precision="float32",
          train_val=TRAIN_VAL, processes=1, gpu=None):
    """Train to the end, from the beginning or from the newest snapshot in the run folder.

    The engine runs in a subprocess, since errors of Caffe end the process.

    Parameters
    ----------
    data : path of the folder that deep.prepare wrote
    folder : path of the run folder
    solver_file : path
    preset, iterations, overrides, seed
        As for `deep.solver.resolve_solver`.
    vgg : path of VGG_CNN_M.caffemodel, or None
    rescale_conv1 : bool
        See `deep.surgery.transplant`.
    restart : bool
        Discard an earlier run in the folder.
    resume : bool
        Require an earlier run in the folder.
    engine : "caffe" or "torch"
    device, precision
        Of the engine "torch", see `deep.torch_engine.TorchEngine`.
    train_val : path of the net for training, see `deep.training_net`
    processes : int
        Of the engine "torch", see `deep.torch_workers`; it must divide the batch size.
    gpu : int or None
        Of the engine "caffe": number of a graphics card, for the build with CUDA.

    Returns
    -------
    int
        Exit code: 0, or that of the subprocess.

    Raises
    ------
    UserError
        The data, the solver file, the net or VGG's weights are damaged or do not fit, the folder holds a run with
        other settings or none to resume, or the engine failed or is not installed.
    """
    data, folder, vgg = Path(data), Path(folder), vgg and str(Path(vgg).resolve())
    manifest = runs.prepared_data(data, "deep", MANIFEST)
    _check_size(manifest, data)
    shards = _check_data(data, manifest)
    net = read_training_net(train_val)
    solver = resolve_solver(solver_file, preset, manifest["size"], manifest["val"], seed, iterations, overrides,
                            train_val)
    settings = {"data": manifest, "solver": solver, "vgg": vgg, "rescale_conv1": rescale_conv1}
    if vgg and (restart or not any((folder / name).is_file() for name in (trainer.MARKER, trainer.WEIGHTS))):
        from deep.surgery import read_vgg

        read_vgg(vgg, train_val)  # check the file before a run folder with its path exists
    predict = {"longest_side": max(manifest["size"]), "resizing": "area", "mean_bgr": manifest["mean_bgr"],
               "mean_map": manifest["mean_map"]}
    versions, options = _prepare_engine(engine, device, precision, net, processes, gpu)
    for line in replacements(solver_file, train_val, engine, gpu):
        print(f"warning: {line}", file=sys.stderr, flush=True)
    with runs.lock_folder(folder):
        settings[SETTING] = net_setting(net, None if restart else folder)
        runs.start(folder, "deep", settings, predict, FILES, versions, restart, resume,
                   lambda: trainer.count_iterations(folder))
        rename_in_run(folder)
        if (folder / trainer.WEIGHTS).is_file():
            trainer.remove_snapshots(folder)  # left by a run that was killed after it wrote its final weights
            print(f"{folder}: already trained; --restart trains it again")
            return 0
        for split, paths in shards.items():
            write_text(folder / f"{split}.txt", "".join(f"{_without_space(path)}\n" for path in paths))
        write_text(folder / SETTING, with_paths(net, folder))
        write_solver(folder, solver, vgg, engine, gpu)
        if processes > 1:
            (folder / "snapshots").mkdir(exist_ok=True)
            return launch(folder, processes, vgg, rescale_conv1, options)
        arguments = (str(folder), vgg, rescale_conv1, engine, options)
        try:
            return run_in_subprocess(trainer.train, arguments, folder / LOGS[engine], LIBRARIES[engine])
        except KeyboardInterrupt:
            if (folder / trainer.WEIGHTS).is_file():  # the signal came after the training
                return 0
            raise


def _prepare_engine(name, device, precision, net, processes, gpu):
    """Check that an engine is installed; return its versions for config.json, and the options for its class."""
    batch_size = net.batch_sizes["TRAIN"]
    if batch_size % processes:
        raise UserError(f"{net.path}: its batches of {batch_size} images cannot be divided by {processes} processes; "
                        f"give NPROC (--nproc) a divisor of {batch_size}, or batch_size a multiple of {processes}")
    if processes > 1 and name == "caffe":
        raise UserError("NPROC (--nproc) is an option of --engine torch; omit it, or give --engine torch")
    if gpu is not None and name == "torch":
        raise UserError("GPU (--gpu) is an option of Caffe; for PyTorch, give DEVICE=cuda (--device cuda) instead")
    versions, options = engines.prepare(name, device, precision)
    if name == "caffe":
        versions.update({"caffe": load_caffe().__version__, "device": "cpu"})
        if gpu is not None:
            versions.update(check_card(gpu))
            options["gpu"] = gpu
            print(f"Caffe on {versions['device']} ({versions['build']})", flush=True)
    elif processes > 1:
        from common.torch_backend import check_cards

        check_cards(options["device"], processes)
    versions["processes"] = str(processes)
    return versions, options


def _check_size(manifest, folder):
    """Raise UserError unless the manifest of prepared data gives a size of images and a colour."""
    if len(manifest["size"]) != 2 or len(manifest["mean_bgr"]) != 3:
        raise UserError(f"{folder / 'manifest.json'}: size must be two numbers and mean_bgr three; "
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
        if any(character.isspace() for path in paths for character in _without_space(path)):
            raise UserError(f"{folder.resolve()}: Caffe cannot read a path with a space; rename the folder")
        count = sum(_count_images(path, *manifest["size"], remedy) for path in paths)
        if count != manifest[split]:
            raise UserError(f"{folder}: the {split}_*.h5 hold {count} images, but the manifest lists "
                            f"{manifest[split]}; {remedy}")
    return shards


def _without_space(path):
    """Return a shard's path for HDF5Data, whose list is separated by white space.

    The path is absolute, or relative to the working directory if that alone has the space.
    """
    absolute = str(path.resolve())
    return os.path.relpath(absolute) if any(map(str.isspace, absolute)) else absolute


def _count_images(path, width, height, remedy):
    """Check the shapes of a shard and return its number of images."""
    import h5py

    check_hdf5(path, remedy)
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


if __name__ == "__main__":
    run(main)
