"""python -m deep.card N: check that Caffe's build with CUDA can compute on graphics card N, and print its name.

A CHECK of Caffe that fails ends its process, for example if there is no card. So a process of its own computes a small
net on the card.
"""
import ctypes
import json
import sys
import tempfile
from pathlib import Path

from common.arguments import Parser, non_negative_int
from common.errors import UserError, run
from deep.backend import (
    CARD_REMEDIES,
    CUDA_BUILD,
    OUT_OF_MEMORY,
    card_remedy,
    cuda_python,
    load_caffe,
    run_in_subprocess,
)

# its kernels are im2col, cuBLAS's products and ReLU; each of the outputs is the sum of 9 ones
NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 3 dim: 3 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3
        weight_filler { type: "constant" value: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""

# this net fits any card that is free
REMEDIES = {**CARD_REMEDIES,
            **dict.fromkeys(OUT_OF_MEMORY, "another program uses the card: end it (nvidia-smi lists it), or give "
                                           "another GPU")}
KILLED = ("the check of the card was killed, probably for lack of memory; close other programs and run the same "
          "command again")


def main():
    """Parse the command line, check the card and print its name."""
    parser = Parser("deep.card", __doc__)
    parser.add_argument("gpu", type=non_negative_int, metavar="N", help="number of the card, from 0")
    print(", ".join(check_card(parser.parse_args().gpu).values()))


def check_card(gpu):
    """Check that Caffe's build with CUDA can compute on a graphics card.

    Parameters
    ----------
    gpu : int
        Number of the card.

    Returns
    -------
    dict of str: str
        Description for config.json: "device", the card, and "build", the version of CUDA and the cards built for.

    Raises
    ------
    UserError
        There is no build with CUDA, no such card, or the build has no code for the card.
    """
    cuda_python()
    print(f"checking graphics card {gpu}", flush=True)  # the first start of CUDA can take long
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "card.json", Path(folder) / "caffe.log"
        try:
            code = run_in_subprocess(_compute, (gpu, str(out)), log, killed=KILLED)
        except UserError as error:
            reason, log_named, _ = str(error).partition(" (full log")
            if log_named:  # it is removed here
                reason += f"; {card_remedy(reason, REMEDIES) or 'check the driver with nvidia-smi'}"
            raise UserError(f"GPU={gpu}: {reason}") from error
        if code:
            sys.exit(code)  # the process has printed its error
        return {"device": f"gpu {gpu}, {json.loads(out.read_text())}",
                "build": (CUDA_BUILD / ".ready").read_text(encoding="utf-8").strip()}


def _compute(gpu, out):
    """Compute the net on a card, and write the name of the card as JSON; runs in a subprocess."""
    outputs, gradient = compute(load_caffe(gpu))
    if (outputs != 9).any() or (gradient != 2).any():
        raise UserError(f"GPU={gpu}: the card computes a convolution wrongly ({outputs.ravel()}, expected 9); build "
                        "again: rm -rf build/caffe-cuda, then make caffe CUDA=path")
    Path(out).write_text(json.dumps(_name(gpu)))


def compute(caffe):
    """Compute the net for an image of ones; return its outputs, and the gradient of their sum."""
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(NET)
        file.flush()
        net = caffe.Net(file.name, caffe.TEST)
    net.blobs["data"].data[...] = 1
    net.forward()
    net.blobs["conv"].diff[...] = 1
    net.backward()
    return net.blobs["conv"].data, net.blobs["data"].diff


def _name(gpu):
    """Return the name of a card, from CUDA's driver, which Caffe has started."""
    driver, device, name = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(device), gpu)
    driver.cuDeviceGetName(name, len(name), device)
    return name.value.decode()


if __name__ == "__main__":
    run(main)
