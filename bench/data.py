"""python -m bench.data: density maps, and the preparation of images for both nets.

The first part compares our density map, on one thread, with blurs of the same fixation map by OpenCV, SciPy and an
FFT. They take turns, and the result is the median of the rounds. The second part runs shallow.prepare and
deep.prepare at the paper's size, on OSIE's training images if its folder is given, else on synthetic images written
as JPEG. It reports images per second, the fractions of CPU time for decoding images and computing densities, the use
of the cores, and an estimate for the 15,000 images of SALICON.
"""
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.metrics import CASES, check_one_thread
from bench.timing import seconds_of
from common.arguments import Parser, positive_int
from common.errors import UserError, run

ROUNDS = 9
TOLERANCE = 1e-5  # absolute, between the density maps
SYNTHETIC_IMAGES = 300  # if the folder of OSIE is not given
SALICON_IMAGES = 15_000  # with fixations: training and validation
COMMANDS = {"shallow": [], "deep": ["--preset", "paper"]}  # net: options of its prepare command


def main():
    """Run the benchmark, print the results and write them."""
    parser = Parser("bench.data", __doc__)
    parser.add_argument("--osie", metavar="FOLDER", help="folder of OSIE (default: use synthetic images)")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument("--rounds", type=positive_int, default=ROUNDS, help="number of rounds (default: %(default)s)")
    args = parser.parse_args()
    check_one_thread()

    from common.files import write_json
    from common.runs import collect_versions

    densities = {name: time_density(*case, args.rounds) for name, *case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        root, name = (args.osie, "osie") if args.osie else (write_images(Path(folder) / "synthetic"), "folder")
        preparation = time_prepare(name, root, Path(folder) / "out")
    write_json(args.out, {"unit": "ms, median", "densities": densities, "preparation": preparation,
                          "versions": collect_versions()})
    print(to_text(densities, preparation))
    print(args.out)


def time_density(shape, count, sigma, rounds):
    """Time the computation of a density map with our code and with other libraries.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels.
    count : int
        Number of fixations.
    sigma : float
        Of the Gaussian, in pixels.
    rounds : int

    Returns
    -------
    dict of str: float
        Milliseconds by library.

    Raises
    ------
    UserError
        The density maps differ.
    """
    import cv2
    import numpy as np

    from data.density import density_map, fixation_map

    points = np.random.default_rng(0).normal(0.5, 0.16, (count, 2)).clip(0, 0.999) * np.array(shape[::-1])
    points = np.floor(points).astype(np.float32)

    def blurred_density(blur):
        blurred = blur(fixation_map(points, shape).astype(np.float32))
        return blurred / blurred.max()

    calls = {"ours": lambda: density_map(points, shape, sigma),
             **{name: lambda blur=blur: blurred_density(blur) for name, blur in _blurs(shape, sigma).items()}}
    cv2.setNumThreads(1)
    for name, call in calls.items():
        if not np.allclose(call(), calls["ours"](), atol=TOLERANCE):
            raise UserError(f"bench/data.py: the density map of {name} differs from ours; correct the blur there")
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds_of(call))
    return {name: 1000 * statistics.median(values) for name, values in times.items()}


def _blurs(shape, sigma):
    """Return Gaussian blurs by library: functions of a fixation map, float32 (H, W), zero outside the frame."""
    import cv2
    import scipy.fft
    import scipy.ndimage

    radius = int(4 * sigma + 0.5)
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_32F)
    padded = [scipy.fft.next_fast_len(length + 2 * radius, real=True) for length in shape]
    transformed = scipy.fft.rfft2(kernel @ kernel.T, padded)

    def fft_blur(fixations):
        blurred = scipy.fft.irfft2(scipy.fft.rfft2(fixations, padded) * transformed, padded)
        return blurred[radius:radius + shape[0], radius:radius + shape[1]]

    return {"OpenCV": lambda fixations: cv2.GaussianBlur(fixations, kernel.shape[:1] * 2, sigma,
                                                         borderType=cv2.BORDER_CONSTANT),
            "SciPy": lambda fixations: scipy.ndimage.gaussian_filter(fixations, sigma, mode="constant", truncate=4),
            "FFT": fft_blur}


def time_prepare(name, root, out):
    """Time shallow.prepare and deep.prepare.

    Parameters
    ----------
    name : str
        Name of the data set.
    root : path
        Its folder.
    out : pathlib.Path
        Folder for the prepared data.

    Returns
    -------
    dict
        dataset, images, seconds, images_per_second, cpu_seconds (of all processes), core_use (from 0 to 1),
        cpu_fractions (of decoding, reading_fixations and densities), bytes, and the estimates salicon_minutes and
        salicon_gb.

    Raises
    ------
    UserError
        A command failed.
    """
    from data.dataset import load

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = seconds_of(lambda: _prepare(name, root, out))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = sum(getattr(after, kind) - getattr(before, kind) for kind in ("ru_utime", "ru_stime"))
    samples = list(load(name, "train", root))

    def cpu_fraction(attribute):
        seconds = sum(seconds_of(lambda sample=sample: getattr(sample, attribute)) for sample in samples)
        return len(COMMANDS) * seconds / cpu_seconds  # each command reads every sample

    cpu_fractions = {"decoding": cpu_fraction("image"), "reading_fixations": cpu_fraction("fixations"),
                     "densities": cpu_fraction("density")}
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    salicon = SALICON_IMAGES / len(samples)
    return {"dataset": name, "images": len(samples), "seconds": seconds, "images_per_second": len(samples) / seconds,
            "cpu_seconds": cpu_seconds, "core_use": cpu_seconds / seconds / os.cpu_count(),
            "cpu_fractions": cpu_fractions, "bytes": size, "salicon_minutes": salicon * seconds / 60,
            "salicon_gb": salicon * size / 1e9}


def _prepare(name, root, out):
    for net, options in COMMANDS.items():
        process = subprocess.run([sys.executable, "-m", f"{net}.prepare", "--dataset", name, "--data-root", str(root),
                                  "--out", str(out / net), *options], check=False)
        if process.returncode:
            raise UserError(f"{root}: {net}.prepare failed; see its message above")


def to_text(densities, preparation):
    """Format the results as tables for the terminal."""
    names = list(next(iter(densities.values())))
    lines = ["", f"{'density map, ms':26}" + "".join(f"{name:>9}" for name in names)]
    for case, times in densities.items():
        lines.append(f"{case:26}" + "".join(f"{times[name]:9.2f}" for name in names))
    fractions = preparation["cpu_fractions"]
    lines += ["", f"preparation of {preparation['images']} images ({preparation['dataset']}) at 320x240 for both nets: "
              f"{preparation['seconds']:.1f} s, {preparation['images_per_second']:.0f} images/s, "
              f"core use {preparation['core_use']:.0%}",
              f"fractions of CPU time: decoding {fractions['decoding']:.0%}, reading fixations "
              f"{fractions['reading_fixations']:.0%}, densities {fractions['densities']:.0%}",
              f"estimate for the {SALICON_IMAGES:,} images of SALICON: {preparation['salicon_minutes']:.0f} min, "
              f"{preparation['salicon_gb']:.1f} GB"]
    return "\n".join(lines)


def write_images(root, count=SYNTHETIC_IMAGES):
    """Write images of the synthetic data set as JPEG, and their fixations, as a data set of kind "folder".

    Returns
    -------
    pathlib.Path
        `root`, which then has the folders images and fixations.
    """
    import numpy as np
    from PIL import Image

    from common.progress import progress
    from data.dataset import load

    for kind in ("images", "fixations"):
        (root / kind).mkdir(parents=True)
    for sample in progress(load("synthetic", "train")[:count], description="writing images"):
        Image.fromarray(sample.image).save(root / "images" / f"{sample.name}.jpg", quality=90)
        np.save(root / "fixations" / f"{sample.name}.npy", sample.fixations)
    return root


if __name__ == "__main__":
    run(main)
