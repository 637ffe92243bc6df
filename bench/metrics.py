"""python -m bench.metrics: every metric of evaluation.metrics, compared with pysaliency, on one thread.

Both libraries take turns on the same arrays, so that other load slows both alike; the result is the median of the
rounds. "arrays" are calls with plain arrays. "wrapped" are the same calls with densities and fixations that are wrapped
once per image (metrics.Map, metrics.Fixations), as in evaluation.score.
"""
import os
import statistics
import tempfile
from pathlib import Path

from bench.peer import Peer
from bench.timing import seconds_of_each
from common.arguments import Parser, positive_int
from common.errors import UserError, run

ROUNDS, REPEATS = 9, 5
# milliseconds that plain NumPy reached on another machine, with the ground truth normalised once per image and not once
# per metric: (800x600, 640x480)
GOALS = {"SIM": (1.3, 0.8), "CC": (0.9, 0.5), "NSS": (0.6, 0.4), "KL": (0.9, 1.2), "AUC-Judd": (7.2, 11.9),
         "AUC-Borji": (0.5, 1.8), "AUC-shuffled": (0.4, 0.8)}
# metrics of both libraries; pysaliency defines its shuffled AUC in another way
SHARED = ("SIM", "CC", "NSS", "KL", "AUC-Judd")
OF_FIXATIONS = ("NSS", "AUC-Judd")
# name, (height, width), fixated pixels, sigma of the density map
CASES = (("800x600, 76 fixations", (600, 800), 76, 24), ("640x480, 3,600 fixations", (480, 640), 3600, 19))
SEED = 2016


def main():
    """Run the benchmark, print the results and write them."""
    parser = Parser("bench.metrics", __doc__)
    parser.add_argument("--peer", required=True, metavar="PYTHON", help="Python interpreter that has pysaliency")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument("--rounds", type=positive_int, default=ROUNDS, help="number of rounds (default: %(default)s)")
    args = parser.parse_args()
    check_one_thread()

    from common.files import write_json
    from common.progress import progress
    from common.runs import collect_versions

    results = {}
    with tempfile.TemporaryDirectory() as folder, progress(total=len(CASES) * args.rounds, unit="round",
                                                           description="metrics") as bar:
        files = [_save_case(Path(folder) / f"{index}.npz", *case[1:]) for index, case in enumerate(CASES)]
        with Peer(args.peer, "pysaliency_metrics", *files) as peer:
            for index, (name, *_) in enumerate(CASES):
                results[name] = _time_case(files[index], peer, args.rounds, index, bar)
    write_json(args.out, {"unit": "ms, median", "cases": results, "versions": collect_versions()})
    print(to_text(results))
    print(args.out)


def check_one_thread():
    """Raise UserError unless the environment limits libraries to one thread."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise UserError("OMP_NUM_THREADS: is not 1, so libraries may use several threads; run make bench")


def make_case(shape, count, sigma):
    """Generate the arguments of the metrics for one image.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels.
    count : int
        Number of fixated pixels.
    sigma : float
        Of the density map, in pixels.

    Returns
    -------
    dict of str: array (H, W)
        saliency, density, baseline (float64); fixations, other_fixations (fixation maps).
    """
    import numpy as np

    from data.density import density_map, fixation_map

    rng = np.random.default_rng(SEED)
    size = np.array(shape[::-1])

    def draw_points(number):
        return np.floor(rng.normal(0.5, 0.2, (number, 2)).clip(0, 0.999) * size)
    points = draw_points(40 * count)
    pixels = np.unique(points, axis=0)
    pixels = pixels[rng.permutation(len(pixels))[:count]]
    return {"saliency": density_map(draw_points(60), shape, 2 * sigma).astype(float) + 0.05 * rng.random(shape),
            "density": density_map(pixels, shape, sigma).astype(float), "fixations": fixation_map(pixels, shape),
            "other_fixations": fixation_map(draw_points(10 * count), shape),
            "baseline": density_map(points, shape, sigma).astype(float)}


def metric_calls(saliency, density, fixations, other_fixations, baseline):
    """Return functions without arguments by metric, each of which computes the score of these arrays."""
    from evaluation import metrics

    return {
        "SIM": lambda: metrics.similarity(saliency, density), "CC": lambda: metrics.cc(saliency, density),
        "NSS": lambda: metrics.nss(saliency, fixations), "KL": lambda: metrics.kl_divergence(saliency, density),
        "IG": lambda: metrics.information_gain(saliency, fixations, baseline),
        "EMD": lambda: metrics.emd(saliency, density), "AUC-Judd": lambda: metrics.auc_judd(saliency, fixations),
        "AUC-Borji": lambda: metrics.auc_borji(saliency, fixations),
        "AUC-shuffled": lambda: metrics.auc_shuffled(saliency, fixations, other_fixations),
    }


def to_text(results):
    """Format the results as tables for the terminal."""
    lines = []
    for name, rows in results.items():
        lines += [f"\n{name}, ms",
                  f"{'':14}{'arrays':>9}{'wrapped':>9}{'pysaliency':>12}{'ratio':>8}{'goal':>7}{'of goal':>9}"]
        for metric, row in rows.items():
            goal, ratio = row.get("goal"), row.get("pysaliency_ratio")
            lines.append(f"{metric:14}{row['arrays']:9.2f}{row['wrapped']:9.2f}"
                         + (f"{row['pysaliency']:12.2f}{ratio:7.1f}x" if ratio else f"{'none':>12}{'':8}")
                         + (f"{goal:7.1f}{row['wrapped'] / goal:8.2f}x" if goal else ""))
    lines.append("\nratio: pysaliency's time divided by ours, from the same input: coordinates of fixations (our "
                 "\"wrapped\")\n       for NSS and AUC-Judd, arrays for the other metrics\n"
                 "goal: time of plain NumPy on another machine, with \"wrapped\" ground truth\n"
                 "of goal: our \"wrapped\" time divided by the goal")
    return "\n".join(lines)


def _save_case(path, shape, count, sigma):
    import numpy as np

    np.savez(path, **make_case(shape, count, sigma))
    return str(path)


def _time_case(file, peer, rounds, index, bar):
    """Time all rounds of one case; return a dict of rows by metric."""
    import numpy as np

    from evaluation import metrics

    arrays = dict(np.load(file))
    truth = {key: (metrics.Map if key in ("density", "baseline") else metrics.Fixations)(arrays[key])
             for key in ("density", "fixations", "other_fixations", "baseline")}
    calls = {"arrays": metric_calls(**arrays), "wrapped": metric_calls(arrays["saliency"], **truth)}
    times = {metric: {"arrays": [], "wrapped": [], "pysaliency": []} for metric in calls["arrays"]}
    for _ in range(rounds):
        for metric, times_of_metric in times.items():
            for kind, calls_of_kind in calls.items():
                times_of_metric[kind].append(_median_ms(calls_of_kind[metric]))
            if metric in SHARED:
                times_of_metric["pysaliency"] += peer.ask(file, metric, REPEATS)
        bar.update()
    return {metric: _row(metric, times_of_metric, index) for metric, times_of_metric in times.items()}


def _row(metric, times, index):
    row = {kind: statistics.median(values) for kind, values in times.items() if values}
    if "pysaliency" in row:
        # pysaliency takes coordinates of fixations, not a fixation map, so it is compared with our "wrapped" calls
        row["pysaliency_ratio"] = row["pysaliency"] / row["wrapped" if metric in OF_FIXATIONS else "arrays"]
    if metric in GOALS:
        row["goal"] = GOALS[metric][index]
    return row


def _median_ms(call):
    call()  # fills the caches
    return 1000 * statistics.median(seconds_of_each(call, REPEATS))


if __name__ == "__main__":
    run(main)
