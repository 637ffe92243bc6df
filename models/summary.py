"""python -m models.summary: count the blobs and parameters of a net (Table 1) and export its first filters.

Writes OUT.json: every blob and parameter with its shape, every layer with kernel and counts (Figures 2 and 4), the
four rows of Table 1 in MiB of float32, and the memory that training and prediction take on this machine, with one image
each; with the weights of a training run, also what it was trained on and which settings differ from the paper's. With
--weights it also writes OUT.npy: the filters of the first layer, float32 (filters, rows, columns, 3), RGB, as
correlation kernels (Figure 3).
"""
import math
from dataclasses import asdict

import numpy as np

from common.arguments import Parser
from common.errors import run
from common.files import NONE, atomic, check_writable, write_json
from common.layers import by_x, mib
from common.runs import read_config
from data.dataset import base_name
from models import NETS
from models.memory import measure_memory

SETTINGS = {  # of a run that describe its training
    "shallow": {"preset": str, "data": {"dataset": str, "images": int}},
    "deep": {"data": {"dataset": str, "images": int, "preset": str, "val": int}, "solver": {"random_seed?": int},
             "vgg": (str, NONE), "train_val.prototxt": str}}
LARGEST = 3  # number of blobs and of parameters that the text names


def main():
    """Parse the command line, summarise the net and write the files."""
    parser = Parser("models.summary", __doc__)
    parser.add_argument("--net", choices=NETS, required=True)
    parser.add_argument("--weights", help="weights.npz (shallow) or .caffemodel (deep), for the filters")
    parser.add_argument("--out", required=True, help="path without suffix: OUT.json and OUT.npy are written")
    args = parser.parse_args()

    check_writable(f"{args.out}.json", f"{args.out}.npy")
    if args.net == "shallow":
        from shallow.summary import summary
    else:
        from deep.summary import summary

    blobs, parameters, layers, filters = summary(args.weights)
    description = {**summarise(args.net, blobs, parameters), "layers": list(map(asdict, layers)),
                   "measured": measure_memory(args.net), "training": describe_training(args.weights, args.net)}
    write_json(f"{args.out}.json", description)
    if filters is not None:
        with atomic(f"{args.out}.npy") as scratch:
            np.save(scratch, filters)
    print(to_text(description))
    print(f"{args.out}.json" + (f" and .npy, {len(filters)} filters" if filters is not None else ""))


def describe_training(weights, net):
    """Describe what a net was trained on, and what differs from the paper.

    Parameters
    ----------
    weights : path or None
    net : "shallow" or "deep"

    Returns
    -------
    dict or None
        "dataset" (name with options), "images" (their number), "differences" (list of str). None without weights and
        without the config.json of this project beside them.
    """
    if not weights or not read_config(weights, net).get("settings"):
        return None
    settings = read_config(weights, net, {"settings": SETTINGS[net]})["settings"]
    data = settings["data"]
    if net == "shallow":
        from shallow.settings import differences_from_paper

        differences = differences_from_paper(settings, base_name(data["dataset"]))
    else:
        from deep.solver import differences_from_paper

        differences = differences_from_paper(settings)
    return {"dataset": data["dataset"], "images": data["images"], "differences": differences}


def summarise(net, blobs, parameters):
    """Count values and memory as Table 1 does.

    Parameters
    ----------
    net : "shallow" or "deep"
    blobs, parameters : dict of str: tuple
        Shapes by name.

    Returns
    -------
    dict
        The content of OUT.json: net, unit, blobs, parameters, values, memory.
    """
    values = {"data": sum(map(math.prod, blobs.values())), "parameters": sum(map(math.prod, parameters.values()))}
    data, learned = mib(values["data"]), mib(values["parameters"])
    return {
        "net": net,
        "unit": "MiB",
        "blobs": [{"name": name, "shape": list(shape)} for name, shape in blobs.items()],
        "parameters": [{"name": name, "shape": list(shape)} for name, shape in parameters.items()],
        "values": values,
        # section 5.1: doubled in training "to account for the error signal during backpropagation"; the paper adds
        # rounded numbers, so its sums may differ from these in the last digit
        "memory": {"Data": data, "Parameters": learned, "Total (train)": learned + 2 * data,
                   "Total (test)": learned + data},
    }


def to_text(description):
    """Format the rows of Table 1 and the largest blobs and parameters, in a few lines."""
    values = dict(zip(("Data", "Parameters"), description["values"].values()))
    measured = description.get("measured", {})
    lines = [f"{description['net']} net, one image, float32"]
    for row, size in description["memory"].items():
        lines.append(f"  {row:<14}{size:8.2f} MiB" + (f"  {values[row]:>11,} values" if row in values else "")
                     + (f"; the process grows by {measured[row]:,.0f} MiB" if row in measured else ""))
    for part in ("blobs", "parameters"):
        largest = sorted(description[part], key=lambda entry: -math.prod(entry["shape"]))[:LARGEST]
        lines.append(f"  largest {part}: " + ", ".join(
            f"{entry['name']} {by_x(entry['shape'], 'x')} ({mib(math.prod(entry['shape'])):.2f} MiB)"
            for entry in largest))
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
