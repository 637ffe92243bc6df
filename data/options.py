"""The options of command lines that read a data set."""
import sys

from data.dataset import WrongRoot, load


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


def open_dataset(name, split, root, warn=True):
    """Open a data set for a command; as `data.dataset.load`, but an error about the folder names the option.

    Parameters
    ----------
    name, split, root : see `data.dataset.load`
    warn : bool
        Print the faults of the data set, such as images without data, to stderr.

    Raises
    ------
    UserError
        As `data.dataset.load`.
    """
    try:
        dataset = load(name, split, root)
    except WrongRoot as error:
        raise WrongRoot(f"{error} as DATA_ROOT=FOLDER (make) or --data-root FOLDER; "
                        "`make data-help` lists the layouts") from error
    for fault in dataset.faults if warn else ():
        print(f"warning: {fault}", file=sys.stderr)
    return dataset
