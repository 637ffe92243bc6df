"""python -m shallow.train: train the shallow net on prepared data (section 3.2).

The run folder contains config.json, log.csv and best.npz (the weights with the lowest validation loss so far); during
the run also checkpoint.npz, and after it weights.npz. After an interruption or a kill, the same command resumes from
the checkpoint. The weights are then the same as those of an uninterrupted run, bit for bit, if machine and engine stay
the same.
"""
from pathlib import Path

from common import engine as engines
from common import runs
from common.arguments import Parser, fraction, non_negative_float, non_negative_int, positive_int
from common.errors import run
from shallow import trainer
from shallow.settings import CONV3_FILTERS, LOSSES, PRESETS, resolve

OVERRIDES = ("epochs", "batch", "learning_rate", "momentum", "l2", "max_norm", "init", "pools", "dropout", "loss",
             "target_range", "mirror", "validate_every")
FILES = (trainer.CHECKPOINT, trainer.BEST, trainer.WEIGHTS)  # in the run folder, besides config.json and log.csv


def main():
    """Parse the command line and train."""
    parser = Parser("shallow.train", __doc__)
    parser.add_argument("--data", required=True, help="folder that shallow.prepare wrote")
    parser.add_argument("--run", required=True, help="run folder, for example build/runs/NAME")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="demo",
                        help="paper: 1,000 epochs; released: the values of the authors' training script; demo: 800 "
                             "updates, a few minutes (default: %(default)s); shallow/settings.py gives the origin of "
                             "each value")
    preset = parser.add_argument_group("options that replace a value of the preset")
    preset.add_argument("--epochs", type=positive_int,
                        help="number of epochs; the schedules of learning rate and momentum span them")
    preset.add_argument("--batch", type=positive_int, help="number of images per update")
    preset.add_argument("--learning-rate", type=non_negative_float, nargs=2, metavar=("FIRST", "LAST"),
                        help="learning rate of the first and the last epoch")
    preset.add_argument("--momentum", type=fraction, nargs=2, metavar=("FIRST", "LAST"),
                        help="Nesterov momentum of the first and the last epoch; 0 0: none")
    preset.add_argument("--l2", type=non_negative_float, help="factor of the L2 penalty on the weights")
    preset.add_argument("--max-norm", type=non_negative_float,
                        help="maximum norm of the incoming weights of each maxout unit; 0: no constraint")
    preset.add_argument("--mirror", type=int, choices=[0, 1], help="1: mirror a random half of each batch")
    preset.add_argument("--validate-every", type=positive_int, metavar="EPOCHS", help="epochs between validations")
    preset.add_argument("--init", choices=["paper", "released"],
                        help="initial weights; paper: Gaussian with standard deviation 0.01; released: Glorot")
    preset.add_argument("--pools", choices=["2x2", "3x3"],
                        help="window of the second and third pooling: 2x2 as released, 3x3 as in Figure 2")
    preset.add_argument("--dropout", type=fraction,
                        help="fraction of fc1's outputs set to zero in training; the paper tried 0.5")
    preset.add_argument("--loss", choices=LOSSES, help="loss; the final model of the paper uses squared")
    preset.add_argument("--target-range", type=float, nargs=2, metavar=("LOW", "HIGH"),
                        help="range of the targets: 0 1 in the paper, -1 1 in the authors' script")
    parser.add_argument("--conv3-filters", type=int, choices=sorted(set(CONV3_FILTERS.values())),
                        help="number of filters of conv3 (default: 64 for iSUN, else 128)")
    engines.add_arguments(parser, "theano", "Theano")
    parser.add_seed(2016)
    parser.add_argument("--checkpoint-seconds", type=non_negative_int, default=trainer.CHECKPOINT_SECONDS,
                        help="minimum time between checkpoints, in seconds; a checkpoint takes half a "
                             "gigabyte (default: %(default)s)")
    runs.add_arguments(parser)
    args = parser.parse_args()
    try:
        settings = resolve(args.preset, args.conv3_filters or CONV3_FILTERS["salicon"], args.seed,
                           **{name: getattr(args, name) for name in OVERRIDES})
    except ValueError as error:
        parser.error(str(error))
    if args.conv3_filters is None:
        settings["conv3_filters"] = default_filters(args.data)
    train(args.data, args.run, settings, restart=args.restart, resume=args.resume,
          checkpoint_seconds=args.checkpoint_seconds, engine=args.engine, device=args.device,
          precision=args.precision)


def default_filters(data):
    """Return the number of filters of conv3 for prepared data: section 3.2 has another one for iSUN."""
    dataset = runs.prepared_data(data, "shallow", {"dataset": str})["dataset"].split("+")[0]
    return CONV3_FILTERS.get(dataset, CONV3_FILTERS["salicon"])


def train(data, folder, settings, *, restart=False, resume=False, checkpoint_seconds=trainer.CHECKPOINT_SECONDS,
          engine="theano", device=None, precision="float32"):
    """Create or open the run folder, then train to the end.

    Parameters
    ----------
    data : path of the folder of prepared data
    folder : path of the run folder
    settings : dict
        As returned by `shallow.settings.resolve`.
    restart : bool
        Discard an earlier run in the folder.
    resume : bool
        Require an earlier run in the folder.
    checkpoint_seconds : float
        Minimum time between two checkpoints, which are written after whole epochs.
    engine : "theano" or "torch"
    device, precision
        Of the engine "torch", see `shallow.torch_engine.TorchStep`.

    Raises
    ------
    UserError
        The data or the checkpoint is damaged, there is no run to resume, the loss diverged, the disk is full, there
        is no C++ compiler for Theano, or PyTorch is not installed or its device fails.
    """
    folder = Path(folder)
    # the description of the data is part of the settings: a run must not resume with other images
    settings = {**settings, "data": runs.prepared_data(data, "shallow")}
    versions, options = engines.prepare(engine, device, precision)
    with runs.lock_folder(folder):
        runs.start(folder, "shallow", settings, {}, FILES, versions, restart, resume,
                   lambda: trainer.count_epochs(folder))
        if (folder / trainer.WEIGHTS).is_file():
            (folder / trainer.CHECKPOINT).unlink(missing_ok=True)  # left by a kill at the very end
            print(f"{folder}: already trained; --restart trains it again")
            return
        trainer.train(data, folder, settings, checkpoint_seconds, engine, options)


if __name__ == "__main__":
    run(main)
