"""python -m evaluation.score: score maps against people, on the test images of a data set.

Writes OUT.csv, a row an image, and OUT.json, the means with bootstrap 95% intervals. Maps are an HDF5 file
(models.predict's, or any with one 2-D array an image) or a folder of .npy, .mat or grey pictures, named as the
images are. A map of another size than its image is resized as the benchmark does. A measure that is
undefined on an image (NaN) is left out of its mean, and counted. An image that cannot be scored is named and
left out; the others are scored all the same, and the exit code says that there was one.

Conventions: "mit" is the MIT benchmark's (evaluation/metrics.py), with the fixations of 10 random other images
as negatives of shuffled AUC; "salicon" the SALICON server's (evaluation/salicon.py), with those of all others.
IG is measured against the centre prior of the training images.
"""
import argparse
import contextlib
import csv
import io
import os
import sys
from pathlib import Path

from common.arguments import non_negative_int, positive_int
from common.errors import UserError, run
from evaluation.baselines import BASELINES, LABELS, MODELS, chance, saved_centre_prior
from evaluation.metrics import METRICS

CONVENTIONS = ("mit", "salicon")
SEED = 2016
RESAMPLES = 2000  # of the bootstrap
NAMED = 10  # images that could not be scored: so many are named on stderr, all in the CSV


def main():
    """Parse the command line and score."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.score", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--predictions", help="an .h5 of maps, or a folder of them")
    what.add_argument("--baseline", choices=BASELINES, help="score a baseline instead")
    parser.add_argument("--model", help="its name in tables (default: as in the file, or the folder's name)")
    parser.add_argument("--dataset", default="synthetic", help="name of the data set (default: %(default)s)")
    parser.add_argument("--data-root", help="where it lies on disk")
    parser.add_argument("--split", help="default: test, or val where the fixations of the test images are not public")
    parser.add_argument("--out", required=True, help="path without suffix: OUT.csv and OUT.json are written")
    parser.add_argument("--convention", choices=CONVENTIONS, default="mit", help="default: %(default)s")
    parser.add_argument("--prior", help=".npz to keep the centre prior in, or to take it from if it is there")
    parser.add_argument("--seed", type=non_negative_int, default=SEED, help="of all that is drawn (default: %(default)s)")
    parser.add_argument("--jobs", type=positive_int, default=os.cpu_count(), help="processes (default: all cores)")
    parser.add_argument("--dask", metavar="ADDRESS", help="score on this Dask cluster, or on one made here: local")
    args = parser.parse_args()

    from data.dataset import load, scored_split

    Path(args.out).parent.mkdir(parents=True, exist_ok=True)  # if that cannot be, it is said now and not after the work
    dataset = load(args.dataset, args.split or scored_split(args.dataset), args.data_root)
    if dataset.names and not dataset[0].has_fixations:
        raise UserError(f"{args.dataset} {dataset.split}: where people looked is not known, nothing can be scored; "
                        "give another --split, or send the maps to the benchmark's server")
    with _workers(args.dask, args.jobs):
        maps, model = _predictions(args, dataset) if args.predictions else (None, LABELS[args.baseline])
        prior = saved_centre_prior(args.dataset, args.data_root, args.prior, args.jobs)
        if args.baseline:
            maps = _baseline(args, prior)
        rows = score(dataset, maps, prior, args.convention, args.seed, args.jobs)
    summary = {"model": args.model or model, "dataset": dataset.name, "edition": dataset.about["edition"],
               "split": dataset.split, "convention": args.convention, "seed": args.seed, "images": len(dataset),
               "failed": sum(bool(row["error"]) for row in rows), "metrics": summarise(rows)}
    return _report(args.out, rows, summary)


def score(dataset, maps, prior, convention="mit", seed=SEED, jobs=1):
    """Score one map an image.

    Parameters
    ----------
    dataset : data.dataset.Dataset
    maps : callable (index, Sample) -> float (H, W), or None
        Called in worker processes. None: each observer in turn predicts the others, and the mean is taken.
    prior : float (H, W)
        Baseline of IG, resized to each image.
    convention : "mit" or "salicon"
    seed : int
    jobs : int
        Processes; -1 for all cores. Memory holds one image and its maps for each.

    Returns
    -------
    list of dict
        name, the measures (NaN where undefined) and error ("" or why it could not be scored) of each
        image, in the data set's order.
    """
    from common.parallel import in_parallel
    from evaluation import negatives

    all_counts = negatives.all_fixations(dataset) if convention == "salicon" else None
    items = ((dataset, index, maps, prior, all_counts, seed) for index in range(len(dataset)))
    return list(in_parallel(score_image, items, jobs, len(dataset), "scoring"))


def score_image(dataset, index, maps, prior, all_counts, seed):
    """All measures of one image, as a dict with its name; whatever is wrong with it is in "error"."""
    from data.density import density_map
    from evaluation import metrics, negatives
    from evaluation.baselines import one_human
    from evaluation.imresize import imresize

    row = {"name": dataset.names[index], **dict.fromkeys(METRICS, float("nan")), "error": ""}
    try:
        sample = dataset[index]
        others = negatives.other_fixations(dataset, index, seed) if all_counts is None \
            else negatives.other_counts(all_counts, sample)
        context = others, metrics.Map(imresize(prior, sample.shape)), all_counts is not None, (seed, index)
        if maps is not None:
            return {**row, **measure(maps(index, sample), sample.fixations, sample.density, *context)}
        return {**row, **_mean([measure(own, rest, density_map(rest, sample.shape, sample.sigma), *context)
                                for own, rest in one_human(sample)])}
    except (UserError, ValueError) as error:
        return {**row, "error": str(error)}


def measure(saliency, fixations, density, others, prior, salicon, seed):
    """Every measure of one map.

    Parameters
    ----------
    saliency : float (h, w)
        Resized to the density's shape if it has another one.
    fixations : float32 (N, 2), (x, y), inside the frame
    density : float32 (H, W)
    others : (H, W)
        Fixation map of other images; with `salicon`, of counts.
    prior : float (H, W) or metrics.Map
        Baseline of IG.
    salicon : bool
        The SALICON server's AUCs and NSS instead of the benchmark's.
    seed : tuple of int

    Returns
    -------
    dict of float by measure; "error" too if one of them refuses the map (KL: negative values)

    Raises
    ------
    ValueError
        No measure can be had: NaN or infinity in the map, or it is not 2-D.
    """
    from data.density import fixation_map
    from evaluation import metrics
    from evaluation import salicon as server
    from evaluation.imresize import imresize
    from evaluation.negatives import counts

    given = saliency = metrics.Map(saliency, "prediction")
    if saliency.shape != density.shape:
        saliency = metrics.Map(imresize(saliency.values, density.shape), "prediction")
    density, people = metrics.Map(density, "density"), metrics.Fixations(fixation_map(fixations, density.shape))
    scores = {"SIM": metrics.similarity(saliency, density), "CC": metrics.cc(saliency, density),
              "AUC-Judd": metrics.auc_judd(saliency, people, rng=seed),
              "IG": metrics.information_gain(saliency, people, prior), "EMD": metrics.emd(saliency, density)}
    if salicon:
        looks = counts(fixations, density.shape)
        scores |= {"AUC-shuffled": server.auc_shuffled(saliency, looks, others),
                   "AUC-Borji": server.auc_borji(saliency, looks), "NSS": server.nss(saliency, looks)}
    else:
        scores |= {"AUC-shuffled": metrics.auc_shuffled(saliency, people, others, rng=seed),
                   "AUC-Borji": metrics.auc_borji(saliency, people, rng=seed), "NSS": metrics.nss(saliency, people)}
    try:
        scores["KL"] = metrics.kl_divergence(given, density)
    except ValueError as error:
        scores["error"] = f"no KL: {error}"
    return scores


def summarise(rows):
    """Mean, bootstrap 95% interval of the mean, number of images and of NaN scores, by measure."""
    import numpy as np

    summary = {}
    for name in METRICS:
        values = np.array([row[name] for row in rows], float)
        kept = values[~np.isnan(values)]
        if not len(kept):
            summary[name] = {**dict.fromkeys(("mean", "low", "high"), None), "n": 0, "nan": len(values)}
            continue
        draws = np.random.default_rng(SEED).integers(len(kept), size=(RESAMPLES, len(kept)))
        low, high = np.percentile(kept[draws].mean(axis=1), [2.5, 97.5])
        summary[name] = {"mean": float(kept.mean()), "low": float(low), "high": float(high),
                         "n": len(kept), "nan": int(np.isnan(values).sum())}
    return summary


def _mean(rows):
    """Mean of each measure over an image's observers."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in METRICS} if rows else {}


def _report(out, rows, summary):
    """Write both files, print the means, name what could not be scored; the exit code."""
    from common.files import write_json, write_text

    table = io.StringIO()
    writer = csv.DictWriter(table, ["name", *METRICS, "error"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(f"{out}.csv", table.getvalue())
    write_json(f"{out}.json", summary)
    print(f"{summary['model']} on {len(rows)} test images of {summary['dataset']}: " + ", ".join(
        f"{name} {value['mean']:.3f}" + (f" ({value['nan']} undefined)" if value["nan"] else "") if value["n"]
        else f"{name} undefined" for name, value in summary["metrics"].items()))
    wrong = [row for row in rows if row["error"]]
    for row in wrong[:NAMED]:
        print(f"left out: {row['name']}: {row['error']}", file=sys.stderr)
    if wrong:
        print(f"error: {len(wrong)} of {len(rows)} images could not be scored in full; the rest is in {out}.csv and "
              f".json. Put right what its last column says, and score again", file=sys.stderr)
    return 1 if wrong else 0


def _predictions(args, dataset):
    """What gives each image's map, and the model's name."""
    from data.maps import open_maps

    maps = open_maps(args.predictions)
    known = [name for name in dataset.names if name in maps]
    if not known:
        raise UserError(f"{args.predictions}: has no map of any of the {len(dataset)} test images of {args.dataset} "
                        f"({dataset.names[0]}, ...); maps must be named as the images are")
    if extra := sorted(set(maps.names) - set(known)):
        print(f"{args.predictions}: {len(extra)} maps are of no test image of {args.dataset}, {extra[0]} for one; "
              "not scored", file=sys.stderr)
    return (lambda index, sample: maps[sample.name] if sample.name in maps else _missing(args)), maps.model


def _baseline(args, prior):
    """What gives each image's map; None for one human, who has one for each of the others."""
    if args.baseline == "one-human":
        return None
    if args.baseline == "chance":
        return lambda index, sample: chance(sample.shape, (args.seed, index))
    if args.baseline == "centre-prior":
        return lambda index, sample: prior
    model = MODELS[args.baseline]
    return lambda index, sample: model(sample.image)


def _missing(args):
    raise UserError(f"no map of it in {args.predictions}; predict again")


def _workers(dask, jobs):
    """A context in which joblib works on a Dask cluster, if one is asked for."""
    if not dask:
        return contextlib.nullcontext()
    try:
        import joblib
        from dask.distributed import Client
    except ImportError as error:
        raise UserError(f"--dask needs Dask, which is not installed ({error}); run: make cluster") from error
    stack = contextlib.ExitStack()
    try:
        client = Client(n_workers=jobs, threads_per_worker=1, dashboard_address=None) \
            if dask == "local" else Client(dask, timeout=10)
    except OSError as error:
        raise UserError(f"{dask}: no Dask scheduler answers there ({error}); "
                        "check the address, or give local") from error
    stack.enter_context(client)
    stack.enter_context(joblib.parallel_config(backend="dask"))
    return stack


if __name__ == "__main__":
    run(main)
