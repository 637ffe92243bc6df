"""python -m bench.predict: pictures a second from JPEGs to maps on disk, and the share of time that is not the net.

The way is that of models.predict with its default output: decode, net, resize, write a grey PNG and float32 HDF5.
The net's own time is taken around its forward pass; the share of the rest is what the wall clock shows beyond it,
since decoding and writing go on in threads beside the net. Weights are random; time does not depend on them.
"""
import argparse
import os
import tempfile
import time
from pathlib import Path

from common.errors import run

ROUNDS = 3
COUNTS = {"shallow": 300, "deep": 12}
GOALS = {"shallow": 0.5, "deep": 0.1}  # share that is not the net, at most


def main():
    """Time, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.predict", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--out", required=True, help="JSON to write")
    args = parser.parse_args()

    from bench.data import draw
    from common.files import write_json
    from common.runs import collect_versions

    with tempfile.TemporaryDirectory() as folder:
        pictures = draw(Path(folder) / "drawn", max(COUNTS.values())) / "images"
        found = {net: time_net(net, pictures, Path(folder)) for net in COUNTS}
    write_json(args.out, {"unit": "s, median", "nets": found, "versions": collect_versions()})
    print(to_text(found))
    print(args.out)


def time_net(net, pictures, folder):
    """Seconds of a net on pictures: of all, and of its forward pass alone, as a dict."""
    import numpy as np

    from models import load
    from models.predict import find_sources, predict_all

    predictor = load(net, random_weights(net, folder))
    sources = find_sources([str(pictures)], folder / "out")[0][:COUNTS[net]]
    forward, spent = predictor.forward, []

    def timed(fed):
        start = time.perf_counter()
        answer = forward(fed)
        spent.append(time.perf_counter() - start)
        return answer

    predictor.forward = timed
    predict_all(predictor, sources[:40], folder / "warm", net, ["png"])  # compiles
    totals, nets = [], []
    for index in range(ROUNDS):
        spent.clear()
        start = time.perf_counter()
        predict_all(predictor, sources, folder / f"out{index}", net, ["png"])
        totals.append(time.perf_counter() - start)
        nets.append(sum(spent))
    total, alone = float(np.median(totals)), float(np.median(nets))
    return {"pictures": len(sources), "seconds": total, "net": alone, "pictures_a_second": len(sources) / total,
            "not_the_net": 1 - alone / total, "goal": GOALS[net]}


def random_weights(net, folder):
    """A file of random weights of a net."""
    import numpy as np

    if net == "shallow":
        from shallow import network, weights

        parameters = network.named_parameters(network.build(init="released"))
        weights.save(folder / "weights.npz", {name: value.get_value() for name, value in parameters.items()}, {})
        return folder / "weights.npz"
    from deep.backend import load_caffe
    from deep.prototxt import DEPLOY

    caffe, rng = load_caffe(), np.random.default_rng(0)
    made = caffe.Net(str(DEPLOY), caffe.TEST)
    for blobs in made.params.values():
        blobs[0].data[...] = rng.normal(0, np.sqrt(2 / blobs[0].data[0].size), blobs[0].data.shape)
    made.save(str(folder / "weights.caffemodel"))
    return folder / "weights.caffemodel"


def to_text(found):
    """The table for the terminal."""
    lines = ["", f"{'640x480 pictures to maps':26}{'pictures/s':>11}{'net alone':>11}{'not the net':>13}{'goal':>7}"]
    for net, one in found.items():
        lines.append(f"{net + ' net, ' + str(os.cpu_count()) + ' cores':26}{one['pictures_a_second']:11.2f}"
                     f"{one['pictures'] / one['net']:11.2f}{one['not_the_net']:13.0%}{one['goal']:7.0%}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
