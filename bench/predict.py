"""python -m bench.predict: images per second from JPEG files to saliency maps on disk, for both nets.

The steps are those of models.predict with its default output: decode, net, resize, write a grey PNG and float32 HDF5.
The time of the net is that of its forward passes. The rest of the wall-clock time is reported as a fraction; it is less
than the sum of the other steps, since threads decode and write while the net runs. Weights are random, as they do not
influence the time.
"""
import os
import statistics
import tempfile
from pathlib import Path

from bench.timing import seconds_of, timed
from common.arguments import Parser
from common.errors import run

ROUNDS = 3
COUNTS = {"shallow": 300, "deep": 12}  # images
WARM_UP = 40  # images at most, before the rounds
GOALS = {"shallow": 0.5, "deep": 0.1}  # highest fraction of the time outside the net


def main():
    """Run the benchmark, print the results and write them."""
    parser = Parser("bench.predict", __doc__)
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    args = parser.parse_args()

    from bench.data import write_images
    from common.files import write_json
    from common.runs import collect_versions

    with tempfile.TemporaryDirectory() as folder:
        images = write_images(Path(folder) / "synthetic", max(COUNTS.values())) / "images"
        results = {net: time_net(net, images, Path(folder)) for net in COUNTS}
    write_json(args.out, {"unit": "s, median", "nets": results, "versions": collect_versions()})
    print(to_text(results))
    print(args.out)


def time_net(net, images, folder):
    """Time the predictions of a net.

    Parameters
    ----------
    net : str
        Name of the net.
    images : path
        Folder of the images.
    folder : pathlib.Path
        For weights and predictions.

    Returns
    -------
    dict
        images, seconds (all steps), net_seconds (forward passes), images_per_second, other_fraction (fraction of the
        time outside the net), goal.
    """
    from models import load
    from models.predict import find_sources, predict_all

    predictor = load(net, random_weights(net, folder))
    sources = find_sources([str(images)], folder / "out")[0][:COUNTS[net]]
    forward_seconds = []
    predictor.forward = timed(predictor.forward, forward_seconds)
    predict_all(predictor, sources[:WARM_UP], folder / "warm", net, ["png"])  # compiles the net
    totals, forwards = [], []
    for index in range(ROUNDS):
        forward_seconds.clear()
        out = folder / f"out{index}"
        totals.append(seconds_of(lambda: predict_all(predictor, sources, out, net, ["png"])))  # noqa: B023  called at once
        forwards.append(sum(forward_seconds))
    total, forward = statistics.median(totals), statistics.median(forwards)
    return {"images": len(sources), "seconds": total, "net_seconds": forward, "images_per_second": len(sources) / total,
            "other_fraction": 1 - forward / total, "goal": GOALS[net]}


def random_weights(net, folder):
    """Write random weights of a net into a folder, and return the path of the file."""
    import numpy as np

    if net == "shallow":
        from shallow import network, weights

        parameters = network.named_parameters(network.build(init="released"))
        weights.save(folder / "weights.npz", {name: value.get_value() for name, value in parameters.items()}, {})
        return folder / "weights.npz"
    from deep.backend import load_caffe
    from deep.prototxt import DEPLOY

    caffe, rng = load_caffe(), np.random.default_rng(0)
    caffe_net = caffe.Net(str(DEPLOY), caffe.TEST)
    for blobs in caffe_net.params.values():
        blobs[0].data[...] = rng.normal(0, np.sqrt(2 / blobs[0].data[0].size), blobs[0].data.shape)
    caffe_net.save(str(folder / "weights.caffemodel"))
    return folder / "weights.caffemodel"


def to_text(results):
    """Format the results as a table for the terminal."""
    lines = ["", f"{'640x480 images to maps':26}{'images/s':>11}{'net only':>11}{'other steps':>13}{'goal':>7}"]
    for net, row in results.items():
        lines.append(f"{net + ' net, ' + str(os.cpu_count()) + ' cores':26}{row['images_per_second']:11.2f}"
                     f"{row['images'] / row['net_seconds']:11.2f}{row['other_fraction']:13.0%}{row['goal']:7.0%}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
