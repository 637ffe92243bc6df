"""python -m experiments: run the experiments behind the paper's remarks (docs/experiments.md).

Each experiment writes OUT/NAME.json and OUT/NAME.md and prints its table. Trainings continue after an interruption; a
finished experiment is not repeated (--restart repeats it). Experiments with trained nets' maps use the weights of the
demo preset's runs (make reproduce-tables), unless --weights-shallow and --weights-deep name others.
"""
from pathlib import Path

from common.arguments import Parser
from common.errors import UserError, run
from data.options import add_dataset_arguments
from experiments.setup import REPOSITORY, Setup

EXPERIMENTS = {  # name: (module, minutes on two cores)
    "learning-rate": ("deep", 4), "schedule": ("deep", 9), "variants": ("deep", 16), "transfer": ("deep", 9),
    "convergence": ("deep", 3), "regularisation": ("shallow", 32), "losses": ("shallow", 16),
    "paper-start": ("shallow", 10), "centre-bias": ("maps", 2), "resolution": ("maps", 1),
    "blur": ("maps", 1), "aspect": ("maps", 2),
    "mouse-eyes": ("maps", 8), "filters": ("maps", 1), "memory": ("resources", 2), "times": ("resources", 2),
}


def main():
    """Parse the command line and run the experiments."""
    parser = Parser("experiments", __doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of them: {', '.join(EXPERIMENTS)}")
    add_dataset_arguments(parser, default="synthetic")
    parser.add_argument("--build", default=str(REPOSITORY / "build"),
                        help="folder of prepared data and runs (default: build)")
    parser.add_argument("--out", default=str(REPOSITORY / "build/experiments"),
                        help="folder for runs and results (default: build/experiments)")
    parser.add_argument("--weights-shallow", metavar="FILE", help="weights of the shallow net, .npz")
    parser.add_argument("--weights-deep", metavar="FILE", help="weights of the deep net, .caffemodel")
    parser.add_argument("--restart", action="store_true", help="repeat experiments that are finished")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in EXPERIMENTS]:
        raise UserError(f"there is no experiment {unknown[0]!r}; choose from: {', '.join(EXPERIMENTS)}")
    weights = {"shallow": args.weights_shallow, "deep": args.weights_deep}
    setup = Setup(args.dataset, args.data_root, Path(args.build), Path(args.out),
                  {net: path for net, path in weights.items() if path})
    for name in args.names or EXPERIMENTS:
        run_experiment(name, setup, args.restart)


def run_experiment(name, setup, restart=False):
    """Run an experiment, unless its result exists, and print its table."""
    import importlib

    path = setup.out / f"{name}.md"
    if restart or not path.is_file():
        module, minutes = EXPERIMENTS[name]
        print(f"{name}: about {minutes} minutes on two cores", flush=True)
        setup.save(name, getattr(importlib.import_module(f"experiments.{module}"), name.replace("-", "_"))(setup))
    print(path.read_text(encoding="utf-8"), flush=True)


if __name__ == "__main__":
    run(main)
