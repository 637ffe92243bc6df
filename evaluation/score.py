"""python -m evaluation.score: score saliency maps on one split of a data set.

Writes OUT.csv, one row per image, and OUT.json, the means with bootstrap 95% intervals. Maps are an HDF5 file
(predictions.h5 of models.predict, or of another program), a folder of .npy, .mat or grey images, in subfolders or not,
an .npz or .zip, one .npy (images, rows, columns), or the JSON of the SALICON challenge. They have the names of the
images, or names that follow --names. A map that differs in size from its image is resized as in the MIT benchmark.

Undefined scores (NaN) do not enter the mean; OUT.json gives their number. All metrics of an image without a fixation
inside its frame and without a density map are undefined; with a density map alone, SIM, CC, KL and EMD are scored. If
an image cannot be scored, the reason is written in its row, the other images are scored, and the exit code is 1.

Conventions: "mit" is the MIT benchmark's (evaluation/metrics.py), which takes the negatives of shuffled AUC (points
that count as not fixated) from the fixations of 10 other, randomly chosen images; "salicon" is the SALICON server's
(evaluation/salicon.py), which takes them from all other images. Information gain (IG) is measured relative to the
centre prior of the training images: those of --train, if the model was trained on another data set.
"""
import contextlib
import csv
import functools
import io
import os
import sys
from collections import Counter

from common.arguments import Parser
from common.errors import UserError, run, show_names
from common.files import check_writable
from common.parallel import in_parallel, working_on
from data.dataset import base_name, scored_split
from data.options import add_dataset_arguments, add_training_arguments, open_dataset, open_training
from evaluation.baselines import BASELINES, LABELS, MODELS, ONE_HUMAN, chance, one_human, saved_centre_prior
from evaluation.conventions import CONVENTIONS
from evaluation.metrics import METRICS

SEED = 2016
RESAMPLES = 2000  # bootstrap samples
LISTED_FAILURES = 10  # images on stderr that could not be scored; the CSV lists all
# what an image lacks, so that some or all of its metrics are undefined; continues "3 of 10 images have ..."
NO_GROUND_TRUTH = "no fixations: not scored"
DENSITY_ONLY = "a density map but no fixations: only SIM, CC, KL and EMD are scored"
NO_OBSERVERS = "no record of the observer of each fixation: one human is not scored"
SINGLE_OBSERVER = "fixations of a single observer: one human is not scored"


def main():
    """Parse the command line and score."""
    parser = Parser("evaluation.score", __doc__)
    maps_options = parser.add_mutually_exclusive_group(required=True)
    maps_options.add_argument("--predictions", metavar="PATH", help="file or folder of saliency maps")
    maps_options.add_argument("--baseline", choices=BASELINES, help="score this baseline instead of predictions")
    parser.add_argument("--names", metavar="PATTERN", default="{name}",
                        help='names of the maps, without suffix, such as "{name}_saliency" (default: %(default)s)')
    parser.add_argument("--model", metavar="NAME",
                        help="name of the model in tables (default: as in the file, or the folder's name)")
    add_dataset_arguments(parser, default="synthetic")
    add_training_arguments(parser)
    parser.add_argument("--split", help="split to score (default: test, or val if the fixations of the test split are "
                                        "not public)")
    parser.add_argument("--out", required=True, metavar="OUT",
                        help="path without suffix: OUT.csv and OUT.json are written")
    parser.add_argument("--convention", choices=CONVENTIONS, default="mit",
                        help="scoring convention (default: %(default)s)")
    parser.add_argument("--prior", metavar="FILE",
                        help=".npz of the centre prior: loaded if it exists, otherwise computed and saved (default: "
                             "computed, not saved)")
    parser.add_seed(SEED)
    parser.add_jobs()
    parser.add_argument("--dask", metavar="ADDRESS",
                        help='address of a Dask cluster, or "local" to start one on this machine')
    args = parser.parse_args()

    # an error comes before the long work, not after it
    written_prior = [args.prior] if args.prior and not os.path.exists(args.prior) else []  # others are read
    check_writable(f"{args.out}.csv", f"{args.out}.json", *written_prior)
    dataset = open_dataset(args.dataset, args.split or scored_split(args.dataset), args.data_root)
    _check_ground_truth(args, dataset)
    training = open_training(args)
    with _workers(args.dask, args.jobs):
        maps, model = _open_predictions(args, dataset) if args.predictions else (None, LABELS[args.baseline])
        prior = saved_centre_prior(training, args.prior, args.jobs, scored=dataset.names)
        rows = score(dataset, maps=maps or _baseline_maps(args, prior), prior=prior,
                     convention=CONVENTIONS[args.convention], seed=args.seed, jobs=args.jobs)
    summary = {"model": args.model or model, "train": training.name, "dataset": dataset.name,
               "edition": dataset.about["edition"], "trained": count_training_images(dataset, training),
               "split": dataset.split, "convention": args.convention, "seed": args.seed, "images": len(dataset),
               "failed": sum(bool(row["error"]) for row in rows),
               "lacking": dict(Counter(row["lacks"] for row in rows if row["lacks"])), "metrics": summarise(rows)}
    return _report(args.out, rows, summary)


def score(dataset, *, maps, prior, convention=CONVENTIONS["mit"], seed=SEED, jobs=1):
    """Score one map per image.

    Parameters
    ----------
    dataset : data.dataset.Dataset
    maps : callable (index, Sample) -> float (H, W), or baselines.ONE_HUMAN
        Called in worker processes. ONE_HUMAN: each observer predicts the others; the scores are averaged.
    prior : float (H, W) or None
        Baseline of IG, resized to each image. None: IG is undefined.
    convention : conventions.Convention
    seed : int
    jobs : int
        Number of processes; -1 for all cores. Each holds one image and its maps in memory.

    Returns
    -------
    list of dict
        Per image, in the data set's order: "name", the metrics (NaN where undefined), "lacks" ("" or what it lacks, so
        that metrics are undefined) and "error" ("" or the reason why it could not be scored).
    """
    scorer = functools.partial(score_image, dataset=dataset, maps=maps, prior=prior, convention=convention,
                                  source=convention.prepare(dataset), seed=seed)
    indices = ((index,) for index in range(len(dataset)))
    return list(in_parallel(scorer, indices, jobs, len(dataset), "scoring"))


def score_image(index, *, dataset, maps, prior, convention, source, seed):
    """Compute all metrics of one image.

    Parameters
    ----------
    index : int
        Position of the image in the data set.
    dataset, maps, prior, convention, seed
        As for `score`.
    source : object
        Result of `convention.prepare(dataset)`.

    Returns
    -------
    dict
        As in `score`; the errors of one image are returned, not raised.
    """
    from data.density import density_map
    from evaluation.imresize import imresize
    from evaluation.metrics import Map

    working_on(dataset.names[index])
    row = {"name": dataset.names[index], **dict.fromkeys(METRICS, float("nan")), "lacks": "", "error": ""}
    try:
        sample = dataset[index]
        row["lacks"] = what_is_lacking(sample, observers=maps == ONE_HUMAN)
        if row["lacks"] not in ("", DENSITY_ONLY):
            return row
        fixations = () if row["lacks"] else sample.fixations
        score_prediction = functools.partial(
            score_map, negatives=convention.make_negatives(source, index, sample, seed) if len(fixations) else None,
            baseline=None if prior is None else Map(imresize(prior, sample.shape)), convention=convention,
            seed=(seed, index))
        if maps == ONE_HUMAN:
            scores = [score_prediction(own_density, fixations=others,
                                       density=density_map(others, sample.shape, sample.sigma))
                      for own_density, others in one_human(sample)]
            return {**row, **_mean_scores(scores)}
        return {**row, **score_prediction(maps(index, sample), fixations=fixations, density=sample.density)}
    except (UserError, ValueError) as error:
        return {**row, "error": str(error)}


def count_training_images(dataset, training):
    """Count the images of a split that are training images, too, so that their scores are no test of a model.

    Parameters
    ----------
    dataset, training : data.dataset.Dataset

    Returns
    -------
    int
        0 for different data sets, where equal names of images mean nothing.
    """
    same = base_name(dataset.name) == base_name(training.name)
    return len(set(dataset.names) & set(training.names)) if same else 0


def what_is_lacking(sample, observers=False):
    """Return what an image lacks for some or all metrics, as text; "" if nothing.

    Parameters
    ----------
    sample : data.dataset.Sample
    observers : bool
        The fixations of two observers or more are needed.
    """
    if not (sample.has_fixations and len(sample.fixations)):
        has_density = sample.has_density and not observers and sample.density.any()
        return DENSITY_ONLY if has_density else NO_GROUND_TRUTH
    if observers and sample.observers is None:
        return NO_OBSERVERS
    if observers and len(set(sample.observers.tolist())) < 2:
        return SINGLE_OBSERVER
    return ""


def score_map(saliency, *, fixations, density, negatives, baseline, convention=CONVENTIONS["mit"], seed=SEED):
    """Compute all metrics of one map.

    Parameters
    ----------
    saliency : float (h, w)
        Resized to the density's shape if it has another shape.
    fixations : float32 (N, 2), (x, y), inside the frame
        Without a fixation, the metrics of fixations are undefined.
    density : float32 (H, W)
        If it is zero everywhere, SIM, CC, KL and EMD are undefined.
    negatives : (H, W)
        Fixations of other images, as `convention.make_negatives` returns them; not used without fixations.
    baseline : float (H, W), metrics.Map or None
        Baseline of IG. None: IG is undefined.
    convention : conventions.Convention
    seed : int or tuple of int

    Returns
    -------
    dict of float by metric
        And "error" if KL cannot be computed because the map has negative values.

    Raises
    ------
    ValueError
        No metric can be computed: the map contains NaN or infinity, is not 2-D, or has rows and columns exchanged.
    """
    from evaluation import metrics
    from evaluation.imresize import imresize

    given = saliency = metrics.Map(saliency, "prediction")
    if saliency.shape != density.shape:
        _check_not_transposed(saliency.shape, density.shape)
        saliency = metrics.Map(imresize(saliency.values, density.shape), "prediction")
    scores = dict.fromkeys(METRICS, float("nan"))
    if len(fixations):
        scores |= _score_on_fixations(saliency, fixations, negatives, baseline, convention, seed)
    density = metrics.Map(density, "density")
    if not density.values.any():
        return scores
    scores |= {"SIM": metrics.similarity(saliency, density), "CC": metrics.cc(saliency, density),
               "EMD": metrics.emd(saliency, density)}
    try:
        scores["KL"] = metrics.kl_divergence(given, density)
    except ValueError as error:
        scores["error"] = f"no KL: {error}"
    return scores


def _score_on_fixations(saliency, points, negatives, baseline, convention, seed):
    """Compute the metrics that compare a map with fixations; parameters as for `score_map`."""
    from data.density import fixation_map
    from evaluation import metrics

    fixations = metrics.Fixations(fixation_map(points, saliency.shape))
    gain = float("nan") if baseline is None else metrics.information_gain(saliency, fixations, baseline)
    return {"AUC-Judd": metrics.auc_judd(saliency, fixations, rng=seed), "IG": gain,
            **convention.compute_scores(saliency, points=points, fixations=fixations, negatives=negatives, seed=seed)}


def _check_not_transposed(shape, image_shape):
    """Raise ValueError if a map has the height of its image as width, and the width as height."""
    if shape == tuple(image_shape)[::-1]:
        raise ValueError(f"the map is {shape[1]}x{shape[0]} pixels, its image {image_shape[1]}x{image_shape[0]}: rows "
                         "and columns are exchanged; transpose the map, or resize it to the image")


def summarise(rows):
    """Summarise the scores of all images.

    Parameters
    ----------
    rows : list of dict, from `score`

    Returns
    -------
    dict of dict by metric
        "mean", bootstrap 95% interval of the mean ("low", "high"), number of defined ("n") and undefined ("nan")
        scores. The mean is None if no score is defined, the interval is None with fewer than two.
    """
    import numpy as np

    summary = {}
    for name in METRICS:
        scores = np.array([row[name] for row in rows], float)
        defined = scores[~np.isnan(scores)]
        low = high = None
        if len(defined) > 1:
            draws = np.random.default_rng(SEED).integers(len(defined), size=(RESAMPLES, len(defined)))
            low, high = map(float, np.percentile(defined[draws].mean(axis=1), [2.5, 97.5]))
        summary[name] = {"mean": float(defined.mean()) if len(defined) else None, "low": low, "high": high,
                         "n": len(defined), "nan": int(np.isnan(scores).sum())}
    return summary


def _mean_scores(scores):
    """Average each metric over the observers of an image."""
    return {name: sum(row[name] for row in scores) / len(scores) for name in METRICS}


def _report(out, rows, summary):
    """Write both files, print the means, list the images that could not be scored; return the exit code."""
    from common.files import write_json, write_text

    table = io.StringIO()
    writer = csv.DictWriter(table, ["name", *METRICS, "lacks", "error"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(f"{out}.csv", table.getvalue())
    write_json(f"{out}.json", summary)
    print(f"{summary['model']} on {len(rows)} {summary['split']} images of {summary['dataset']}: " + ", ".join(
        f"{name} {value['mean']:.3f}" + (f" ({value['nan']} undefined)" if value["nan"] else "") if value["n"]
        else f"{name} undefined" for name, value in summary["metrics"].items()))
    if summary["trained"]:
        print(f"warning: {summary['trained']} of {len(rows)} images are training images of {summary['train']}; their "
              "scores are no test of the model", file=sys.stderr)
    for lacks, count in summary["lacking"].items():
        print(f"{count} of {len(rows)} images have {lacks}")
    return _report_failures(out, [row for row in rows if row["error"]], len(rows))


def _report_failures(out, failed, count):
    """List the images that could not be scored on stderr, and return the exit code."""
    if len(failed) == count > 1:  # the same fault in all maps, most likely
        print(f"error: none of the {count} images could be scored in full. {show_names(failed[0]['name'])}: "
              f"{failed[0]['error']}", file=sys.stderr)
        return 1
    for row in failed[:LISTED_FAILURES]:
        print(f"not scored in full: {show_names(row['name'])}: {row['error']}", file=sys.stderr)
    if failed:
        print(f"error: {len(failed)} of {count} images could not be scored in full; {out}.csv gives the reason "
              "per image. Correct the maps or images, and score again", file=sys.stderr)
    return 1 if failed else 0


def _check_ground_truth(args, dataset):
    """Raise UserError if no image of the split has fixations or a density map."""
    name = f"{args.dataset} {dataset.split}"
    if not dataset.names:
        raise UserError(f"{name}: has no images; give another --split, such as all")
    if not any(sample.has_density for sample in dataset):
        raise UserError(f"{name}: has no fixations and no density maps, so nothing can be scored; add them, give "
                        "another --split, or send the maps to the benchmark's server")


def _open_predictions(args, dataset):
    """Return a callable (index, sample) -> map for the maps on disk, and the model's name."""
    from data.maps import open_maps

    maps = open_maps(args.predictions, dataset.names, args.names)
    if not maps.names:
        raise UserError(f"{args.predictions}: has no map in it; give the file or folder that holds the maps")
    if maps.unmatched:
        print(f"{args.predictions}: {len(maps.unmatched)} maps match no {dataset.split} image of {args.dataset}, such "
              f"as {show_names(maps.unmatched[0])}; they are not scored", file=sys.stderr)
    return (lambda index, sample: maps[sample.name] if sample.name in maps else _raise_missing(args)), maps.model


def _baseline_maps(args, prior):
    """Return a callable (index, sample) -> map for a baseline, or ONE_HUMAN."""
    if args.baseline == ONE_HUMAN:
        return ONE_HUMAN
    if args.baseline == "chance":
        return lambda index, sample: chance(sample.shape, (args.seed, index))
    if args.baseline == "centre-prior" and prior is None:
        raise UserError(f"{args.dataset}: has no training images with fixations or density maps, so there is no centre "
                        "prior; leave this baseline out")
    if args.baseline == "centre-prior":
        return lambda index, sample: prior
    model = MODELS[args.baseline]
    return lambda index, sample: model(sample.image)


def _raise_missing(args):
    raise UserError(f"no map of this image in {args.predictions}; add it, or predict again")


def _workers(dask, jobs):
    """Open a context in which joblib runs on a Dask cluster, if one is given."""
    if not dask:
        return contextlib.nullcontext()
    try:
        import joblib
        from dask.distributed import Client
    except ImportError as error:
        raise UserError(f"--dask: Dask is not installed ({error}); run: make cluster") from error
    stack = contextlib.ExitStack()
    try:
        client = Client(n_workers=jobs, threads_per_worker=1, dashboard_address=None) \
            if dask == "local" else Client(dask, timeout=10)
    except OSError as error:
        raise UserError(f"{dask}: no Dask scheduler at this address ({error}); "
                        "check the address, or give --dask local") from error
    stack.enter_context(client)
    stack.enter_context(joblib.parallel_config(backend="dask"))
    return stack


if __name__ == "__main__":
    run(main)
