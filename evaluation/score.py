"""python -m evaluation.score: score maps against people, on the test images of a data set.

Writes OUT.csv, a row an image, and OUT.json, the means with bootstrap 95% intervals. The
measures are those of the MIT benchmark (evaluation/metrics.py). For shuffled AUC, the negatives
of an image are the fixations of 10 random other images of the set. A measure that is undefined
on an image (NaN) is left out of its mean, and counted.
"""
import argparse
import csv
import io

from data.errors import UserError, run
from evaluation.baselines import BASELINES
from evaluation.metrics import MEASURES

OTHERS = 10  # images whose fixations are the negatives of shuffled AUC, as in the benchmark
SEED = 2016
RESAMPLES = 2000  # of the bootstrap


def main():
    """Parse the command line and score."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.score", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--predictions", help="predictions.h5 of models.predict")
    what.add_argument("--baseline", choices=BASELINES, help="score a baseline instead")
    parser.add_argument("--dataset", default="synthetic", help="name of the data set (default: %(default)s)")
    parser.add_argument("--data-root", help="where it lies on disk")
    parser.add_argument("--out", required=True, help="path without suffix: OUT.csv and OUT.json are written")
    parser.add_argument("--jobs", type=int, default=-1, help="processes (default: all cores)")
    args = parser.parse_args()

    from data.dataset import load
    from data.files import write_json, write_text

    dataset = load(args.dataset, "test", args.data_root)
    maps, model = _open_maps(args, dataset)
    rows = score(dataset, maps, args.jobs)
    summary = {"model": model, "dataset": args.dataset, "split": "test", "convention": "mit",
               "images": len(dataset), "measures": summarise(rows)}
    table = io.StringIO()
    writer = csv.DictWriter(table, ["name", *MEASURES], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(f"{args.out}.csv", table.getvalue())
    write_json(f"{args.out}.json", summary)
    print(f"{model} on {len(dataset)} test images of {args.dataset}: " + ", ".join(
        f"{name} {value['mean']:.3f}" + (f" ({value['nan']} undefined)" if value["nan"] else "")
        for name, value in summary["measures"].items()))


def score(dataset, maps, jobs=1):
    """Score one map an image.

    Parameters
    ----------
    dataset : data.dataset.Dataset
    maps : callable (index, Sample) -> float (H, W)
        Called in worker processes.
    jobs : int
        Processes; -1 for all cores. Memory holds one image and its maps for each.

    Returns
    -------
    list of dict
        name and the five measures of each image, in the data set's order.
    """
    from data.parallel import in_parallel

    items = ((dataset, index, maps) for index in range(len(dataset)))
    return list(in_parallel(score_image, items, jobs, len(dataset), "scoring"))


def score_image(dataset, index, maps):
    """All measures of one image, as a dict with its name."""
    from data.dataset import fixation_map
    from evaluation import metrics

    sample = dataset[index]
    saliency = maps(index, sample)
    if saliency.shape != sample.shape:
        raise UserError(f"{sample.name}: the map is {saliency.shape[1]}x{saliency.shape[0]}, the image "
                        f"{sample.shape[1]}x{sample.shape[0]}; predict again for this data set")
    people, others = fixation_map(sample.fixations, sample.shape), other_fixations(dataset, index)
    try:
        return {
            "name": sample.name,
            "SIM": metrics.similarity(saliency, sample.density),
            "CC": metrics.cc(saliency, sample.density),
            "AUC-shuffled": metrics.auc_shuffled(saliency, people, others, rng=(SEED, index)),
            "AUC-Borji": metrics.auc_borji(saliency, people, rng=(SEED, index)),
            "AUC-Judd": metrics.auc_judd(saliency, people, rng=(SEED, index)),
        }
    except ValueError as error:
        raise UserError(f"{sample.name}: {error}") from error


def other_fixations(dataset, index, count=OTHERS, seed=SEED):
    """Where people looked in some random other images, at the scale of this one.

    Returns
    -------
    bool (H, W)
    """
    import numpy as np

    from data.dataset import fixation_map

    others = np.delete(np.arange(len(dataset)), index)
    chosen = np.random.default_rng((seed, index, 1)).permutation(others)[:count]
    shape = dataset[index].shape
    marked = np.zeros(shape, bool)
    for other in chosen:
        sample = dataset[other]
        # pixel centres to pixel centres: the corners of one image fall on the corners of the other
        factor = (np.array(shape[::-1]) - 1) / np.maximum(np.array(sample.shape[::-1]) - 1, 1)
        marked |= fixation_map(sample.fixations * factor, shape)
    return marked


def summarise(rows):
    """Mean, bootstrap 95% interval of the mean, number of images and of NaN scores, by measure."""
    import numpy as np

    summary = {}
    for measure in MEASURES:
        values = np.array([row[measure] for row in rows], float)
        kept = values[~np.isnan(values)]
        if not len(kept):
            summary[measure] = {**dict.fromkeys(("mean", "low", "high"), float("nan")), "n": 0, "nan": len(values)}
            continue
        draws = np.random.default_rng(SEED).integers(len(kept), size=(RESAMPLES, len(kept)))
        low, high = np.percentile(kept[draws].mean(axis=1), [2.5, 97.5])
        summary[measure] = {"mean": float(kept.mean()), "low": float(low), "high": float(high),
                            "n": len(kept), "nan": int(np.isnan(values).sum())}
    return summary


def _open_maps(args, dataset):
    """What gives each image's map, and the model's name."""
    from evaluation import baselines

    if args.predictions:
        from data.maps import Maps
        maps = Maps(args.predictions)
        missing = [name for name in dataset.names if name not in maps]
        if missing:
            raise UserError(f"{args.predictions}: no map for {len(missing)} of the {len(dataset)} test images of "
                            f"{args.dataset}, {missing[0]} for one; predict again for this data set")
        return (lambda index, sample: maps[sample.name]), maps.model
    if args.baseline == "chance":
        return (lambda index, sample: baselines.chance(sample.shape, index)), "chance"
    from data.dataset import load
    prior = baselines.centre_prior(load(args.dataset, "train", args.data_root))

    def resized(_index, sample):
        import cv2
        return cv2.resize(prior, sample.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return resized, "centre prior"


if __name__ == "__main__":
    run(main)
