"""pysaliency's measures, timed on request: run by bench.metrics in an environment of its own.

Reads lines `SCENE MEASURE REPEATS` and answers each with the median milliseconds and the value.
"""
import importlib.util
import sys
import time
import types

import numpy as np

# `import pysaliency` wants PyTorch for its deep models; its measures do not, so the package's own import is left out
package = types.ModuleType("pysaliency")
package.__path__ = importlib.util.find_spec("pysaliency").submodule_search_locations
sys.modules["pysaliency"] = package

from pysaliency import metrics  # noqa: E402
from pysaliency.roc import general_roc  # noqa: E402


def measures(scene):
    """Callables by measure, each from plain arrays to a score, as pysaliency's own models call them."""
    saliency, density = scene["saliency"], scene["density"]
    ys, xs = np.nonzero(scene["fixations"])
    noise = np.random.RandomState(42)

    def judd():
        jittered = saliency + noise.rand(*saliency.shape) * 1e-7
        unfixated = np.ones(saliency.shape, bool)
        unfixated[ys, xs] = False
        return general_roc(jittered[ys, xs], jittered[unfixated], judd=1)[0]

    return {
        "SIM": lambda: metrics.SIM(saliency, density),
        "CC": lambda: metrics.CC(saliency, density),
        "NSS": lambda: metrics.NSS(saliency, xs, ys).mean(),
        "KL": lambda: metrics.MIT_KLDiv(saliency, density),
        "AUC-Judd": judd,
    }


def main():
    """Serve timings until the input ends."""
    np.seterr(divide="ignore")  # its KL takes the logarithm of 0 on purpose
    scenes = {path: measures(dict(np.load(path))) for path in sys.argv[1:]}
    for line in sys.stdin:
        path, measure, repeats = line.rsplit(maxsplit=2)
        call, seconds = scenes[path][measure], []
        value = call()  # compiles, warms the caches
        for _ in range(int(repeats)):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        print(1000 * float(np.median(seconds)), float(value), flush=True)


if __name__ == "__main__":
    main()
