"""pysaliency's metrics: bench.metrics runs this module in an environment of its own.

Reads lines `CASE METRIC REPEATS` and prints the median in milliseconds for each.
"""
import importlib.util
import statistics
import sys
import types

import numpy as np

from bench.timing import seconds_of_each

# `import pysaliency` imports PyTorch for its deep models; its metrics do not need it, so its __init__ is not run
package = types.ModuleType("pysaliency")
package.__path__ = importlib.util.find_spec("pysaliency").submodule_search_locations
sys.modules["pysaliency"] = package

from pysaliency import metrics  # noqa: E402
from pysaliency.roc import general_roc  # noqa: E402


def metric_calls(case):
    """Return functions by metric that compute a score from plain arrays, as pysaliency's own models do."""
    saliency, density = case["saliency"], case["density"]
    ys, xs = np.nonzero(case["fixations"])
    noise = np.random.RandomState(42)

    def auc_judd():
        jittered = saliency + noise.rand(*saliency.shape) * 1e-7
        unfixated = np.ones(saliency.shape, bool)
        unfixated[ys, xs] = False
        return general_roc(jittered[ys, xs], jittered[unfixated], judd=1)[0]

    return {
        "SIM": lambda: metrics.SIM(saliency, density),
        "CC": lambda: metrics.CC(saliency, density),
        "NSS": lambda: metrics.NSS(saliency, xs, ys).mean(),
        "KL": lambda: metrics.MIT_KLDiv(saliency, density),
        "AUC-Judd": auc_judd,
    }


def main():
    """Print timings on request until the input ends."""
    np.seterr(divide="ignore")  # pysaliency's KL takes the logarithm of 0 on purpose
    cases = {path: metric_calls(dict(np.load(path))) for path in sys.argv[1:]}
    for line in sys.stdin:
        path, metric, repeats = line.rsplit(maxsplit=2)
        call = cases[path][metric]
        call()  # compiles the code and fills the caches
        print(1000 * statistics.median(seconds_of_each(call, int(repeats))), flush=True)


if __name__ == "__main__":
    main()
