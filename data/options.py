"""The options of command lines that read a data set."""
import sys

from common.errors import UserError, not_utf_8
from data.dataset import WrongRoot, base_name, load

DATA_ROOT_OPTIONS = "DATA_ROOT=FOLDER (make) or --data-root FOLDER"


def add_dataset_arguments(parser, **dataset):
    """Add --dataset and --data-root.

    Parameters
    ----------
    parser : argparse.ArgumentParser, or a group of one
    **dataset
        Further arguments of `add_argument` for --dataset, such as default="synthetic" or required=True.
    """
    parser.add_argument("--dataset", help="name of the data set, with options as in osie+gaze=eyes"
                        + (" (default: %(default)s)" if "default" in dataset else ""), **dataset)
    parser.add_argument("--data-root", metavar="FOLDER", help="folder of the data set on disk")


def add_training_arguments(parser):
    """Add --train and --train-root: the data set that the nets were trained on."""
    parser.add_argument("--train", metavar="DATASET",
                        help="data set that the model was trained on (default: the one of --dataset)")
    parser.add_argument("--train-root", metavar="FOLDER",
                        help="folder of that data set on disk (default: --data-root if both are the same data set)")


def open_training(args):
    """Open the training images of the data set that the nets were trained on; errors as of `open_dataset`."""
    name = args.train or args.dataset
    root = args.train_root or (args.data_root if base_name(name) == base_name(args.dataset) else None)
    return open_dataset(name, "train", root, options="TRAIN_ROOT=FOLDER (make) or --train-root FOLDER"
                        if args.train else DATA_ROOT_OPTIONS)


def open_dataset(name, split, root, warn=True, options=DATA_ROOT_OPTIONS):
    """Open a data set for a command; as `data.dataset.load`, but an error about the folder names the option.

    Parameters
    ----------
    name, split, root : see `data.dataset.load`
    warn : bool
        Print the faults of the data set, such as images without data, to stderr.
    options : str
        How the user gives the folder.

    Raises
    ------
    UserError
        As `data.dataset.load`.
    """
    try:
        dataset = load(name, split, root)
    except WrongRoot as error:
        raise WrongRoot(f"{error} as {options}; `make data-help` lists the layouts") from error
    for name in dataset.names:
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise UserError(not_utf_8(name))
    for fault in dataset.faults if warn else ():
        print(f"warning: {fault}", file=sys.stderr)
    return dataset
