"""python -m bench.metrics: every measure of evaluation.metrics against pysaliency, on one thread.

Both libraries take turns on the same arrays, round after round, and the median of the rounds counts, so that a
busy machine slows both alike. "arrays" is a call with plain arrays; "wrapped" the same with density and fixations
wrapped once an image (metrics.Map, metrics.Fixations), as evaluation.score does it.
"""
import argparse
import os
import tempfile
import time
from pathlib import Path

from bench.peer import Peer
from common.errors import UserError, run

ROUNDS, REPEATS = 9, 5
# milliseconds that plain NumPy was shown to reach, on another machine, with the ground truth normalised once an image
# and not once a measure: (800x600, 640x480)
GOALS = {"SIM": (1.3, 0.8), "CC": (0.9, 0.5), "NSS": (0.6, 0.4), "KL": (0.9, 1.2), "AUC-Judd": (7.2, 11.9),
         "AUC-Borji": (0.5, 1.8), "AUC-shuffled": (0.4, 0.8)}
SHARED = ("SIM", "CC", "NSS", "KL", "AUC-Judd")  # what pysaliency has too; its shuffled AUC is another measure
OF_FIXATIONS = ("NSS", "AUC-Judd")
SCENES = (("800x600, 76 fixations", (600, 800), 76, 24), ("640x480, 3,600 fixations", (480, 640), 3600, 19))
SEED = 2016


def main():
    """Time, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.metrics", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--peer", required=True, help="Python that has pysaliency")
    parser.add_argument("--out", required=True, help="JSON to write")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    args = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise UserError("threads are not limited to one; run make bench")

    from common.files import write_json
    from common.progress import progress
    from common.runs import collect_versions

    results = {}
    with tempfile.TemporaryDirectory() as folder, progress(total=len(SCENES) * args.rounds, unit="round",
                                                           description="metrics") as bar:
        files = [_save(Path(folder) / f"{index}.npz", *scene[1:]) for index, scene in enumerate(SCENES)]
        with Peer(args.peer, "pysaliency_metrics.py", *files) as peer:
            for index, (name, *_) in enumerate(SCENES):
                results[name] = _scene(files[index], peer, args.rounds, index, bar)
    write_json(args.out, {"unit": "ms, median", "scenes": results, "versions": collect_versions()})
    print(to_text(results))
    print(args.out)


def scene(shape, count, sigma):
    """A map, a density, `count` fixated pixels, other images' fixations and a baseline, all of this shape."""
    import numpy as np

    from data.density import density_map, fixation_map

    rng = np.random.default_rng(SEED)
    size = np.array(shape[::-1])

    def looks(number):
        return np.floor(rng.normal(0.5, 0.2, (number, 2)).clip(0, 0.999) * size)
    points = looks(40 * count)
    pixels = np.unique(points, axis=0)
    pixels = pixels[rng.permutation(len(pixels))[:count]]
    return {"saliency": density_map(looks(60), shape, 2 * sigma).astype(float) + 0.05 * rng.random(shape),
            "density": density_map(pixels, shape, sigma).astype(float), "fixations": fixation_map(pixels, shape),
            "others": fixation_map(looks(10 * count), shape),
            "baseline": density_map(points, shape, sigma).astype(float)}


def measures(saliency, density, fixations, others, baseline):
    """Callables by measure, from what is given to a score."""
    from evaluation import metrics

    return {
        "SIM": lambda: metrics.similarity(saliency, density), "CC": lambda: metrics.cc(saliency, density),
        "NSS": lambda: metrics.nss(saliency, fixations), "KL": lambda: metrics.kl_divergence(saliency, density),
        "IG": lambda: metrics.information_gain(saliency, fixations, baseline),
        "EMD": lambda: metrics.emd(saliency, density), "AUC-Judd": lambda: metrics.auc_judd(saliency, fixations),
        "AUC-Borji": lambda: metrics.auc_borji(saliency, fixations),
        "AUC-shuffled": lambda: metrics.auc_shuffled(saliency, fixations, others),
    }


def to_text(results):
    """The results as tables for people."""
    lines = []
    for name, rows in results.items():
        lines += [f"\n{name}, ms",
                  f"{'':14}{'arrays':>9}{'wrapped':>9}{'pysaliency':>12}{'ratio':>8}{'goal':>7}{'of goal':>9}"]
        for measure, row in rows.items():
            goal, ratio = row.get("goal"), row.get("pysaliency_ratio")
            lines.append(f"{measure:14}{row['arrays']:9.2f}{row['wrapped']:9.2f}"
                         + (f"{row['pysaliency']:12.2f}{ratio:7.1f}x" if ratio else f"{'none':>12}{'':8}")
                         + (f"{goal:7.1f}{row['wrapped'] / goal:8.2f}x" if goal else ""))
    lines.append("\nratio: how many times longer pysaliency takes, from the same input: coordinates of fixations (our "
                 "\"wrapped\")\n       for NSS and AUC-Judd, arrays for the others\n"
                 "goal: what plain NumPy was shown to reach on another machine, ground truth \"wrapped\" likewise")
    return "\n".join(lines)


def _save(path, shape, count, sigma):
    import numpy as np

    np.savez(path, **scene(shape, count, sigma))
    return str(path)


def _scene(file, peer, rounds, index, bar):
    """All rounds of one scene: {measure: times}."""
    import numpy as np

    from evaluation import metrics

    arrays = dict(np.load(file))
    truth = {key: (metrics.Map if key in ("density", "baseline") else metrics.Fixations)(arrays[key])
             for key in ("density", "fixations", "others", "baseline")}
    calls = {"arrays": measures(**arrays), "wrapped": measures(arrays["saliency"], **truth)}
    times = {measure: {"arrays": [], "wrapped": [], "pysaliency": []} for measure in calls["arrays"]}
    for _ in range(rounds):
        for measure, found in times.items():
            for kind, of in calls.items():
                found[kind].append(_median_ms(of[measure]))
            if measure in SHARED:
                found["pysaliency"].append(peer.ask(file, measure, REPEATS)[0])
        bar.update()
    return {measure: _row(measure, found, index) for measure, found in times.items()}


def _row(measure, found, index):
    import numpy as np

    row = {kind: float(np.median(values)) for kind, values in found.items() if values}
    if "pysaliency" in row:
        # pysaliency is given coordinates, not a map of fixations: so are we, where it is compared
        row["pysaliency_ratio"] = row["pysaliency"] / row["wrapped" if measure in OF_FIXATIONS else "arrays"]
    if measure in GOALS:
        row["goal"] = GOALS[measure][index]
    return row


def _median_ms(call):
    import numpy as np

    call()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))


if __name__ == "__main__":
    run(main)
