"""python -m bench.data: making a density map, and preparing pictures for both nets.

A density map on one thread, beside OpenCV's, SciPy's and an FFT's blur of the same fixation map; they take turns, and
the median of the rounds counts. Then shallow.prepare and deep.prepare on OSIE's training images, at the paper's size,
if its folder is given, or on pictures drawn here and written as JPEG: images a second, the share of the processors'
time spent decoding images and making densities, how busy the cores are, and what 15,000 images of SALICON would take.
"""
import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.timing import seconds_of
from common.errors import UserError, run

ROUNDS = 9
SCENES = (("800x600, 76 fixations", (600, 800), 76, 24), ("640x480, 3,600 fixations", (480, 640), 3600, 19))
TOLERANCE = 1e-5  # between the ways to blur
DRAWN = 300  # pictures, where OSIE is not given
SALICON = 15_000  # images with gaze: training and validation


def main():
    """Time, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.data", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--osie", help="folder of OSIE")
    parser.add_argument("--out", required=True, help="JSON to write")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    args = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise UserError("threads are not limited to one; run make bench")

    from common.files import write_json
    from common.runs import collect_versions

    densities = {name: time_density(*scene, args.rounds) for name, *scene in SCENES}
    with tempfile.TemporaryDirectory() as folder:
        root, name = (args.osie, "osie") if args.osie else (draw(Path(folder) / "drawn"), "folder")
        preparing = time_prepare(name, root, Path(folder) / "out")
    write_json(args.out, {"unit": "ms, median", "densities": densities, "preparing": preparing,
                          "versions": collect_versions()})
    print(to_text(densities, preparing))
    print(args.out)


def time_density(shape, count, sigma, rounds):
    """Milliseconds of a density map by who makes it; UserError if they differ."""
    import cv2
    import numpy as np
    import scipy.fft
    import scipy.ndimage

    from data.density import density_map, fixation_map

    points = np.random.default_rng(0).normal(0.5, 0.16, (count, 2)).clip(0, 0.999) * np.array(shape[::-1])
    points = np.floor(points).astype(np.float32)
    radius = int(4 * sigma + 0.5)
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_32F)
    padded = [scipy.fft.next_fast_len(length + 2 * radius, real=True) for length in shape]
    transformed = scipy.fft.rfft2(kernel @ kernel.T, padded)

    def fft(marked):
        blurred = scipy.fft.irfft2(scipy.fft.rfft2(marked, padded) * transformed, padded)
        return blurred[radius:radius + shape[0], radius:radius + shape[1]]

    blurs = {"OpenCV": lambda marked: cv2.GaussianBlur(marked, kernel.shape[:1] * 2, sigma,
                                                       borderType=cv2.BORDER_CONSTANT),
             "SciPy": lambda marked: scipy.ndimage.gaussian_filter(marked, sigma, mode="constant", truncate=4),
             "FFT": fft}

    def peer(blur):
        blurred = blur(fixation_map(points, shape).astype(np.float32))
        return blurred / blurred.max()

    ways = {"ours": lambda: density_map(points, shape, sigma),
            **{name: lambda blur=blur: peer(blur) for name, blur in blurs.items()}}
    cv2.setNumThreads(1)
    for name, way in ways.items():
        if not np.allclose(way(), ways["ours"](), atol=TOLERANCE):
            raise UserError(f"{name}'s density is not ours; mend bench/data.py")
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(seconds_of(way))
    return {name: 1000 * float(np.median(found)) for name, found in times.items()}


def time_prepare(name, root, out):
    """Time shallow.prepare and deep.prepare, as a dict of sums; "cpu" counts the seconds of all processes."""
    from data.dataset import load

    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    commands = {"shallow": [], "deep": ["--preset", "paper"]}
    for net, options in commands.items():
        process = subprocess.run([sys.executable, "-m", f"{net}.prepare", "--dataset", name, "--data-root", str(root),
                                  "--out", str(out / net), *options], check=False)
        if process.returncode:
            raise UserError(f"{net}.prepare failed on {root}; see above")
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(getattr(after, kind) - getattr(before, kind) for kind in ("ru_utime", "ru_stime"))
    samples = list(load(name, "train", root))
    images = len(samples)
    # both commands read each sample
    decode = len(commands) * sum(seconds_of(lambda sample=sample: sample.image) for sample in samples)
    read = len(commands) * sum(seconds_of(lambda sample=sample: sample.fixations) for sample in samples)
    density = len(commands) * sum(seconds_of(lambda sample=sample: sample.density) for sample in samples)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {"dataset": name, "images": images, "seconds": wall, "images_a_second": images / wall, "cpu": cpu,
            "busy": cpu / wall / os.cpu_count(), "decoding": decode / cpu, "reading_gaze": read / cpu,
            "densities": density / cpu,
            "bytes": size, "salicon_minutes": SALICON * wall / images / 60, "salicon_gb": SALICON * size / images / 1e9}


def to_text(densities, found):
    """Both tables, for the terminal."""
    names = list(next(iter(densities.values())))
    lines = ["", f"{'a density map, ms':26}" + "".join(f"{name:>9}" for name in names)]
    for scene, times in densities.items():
        lines.append(f"{scene:26}" + "".join(f"{times[name]:9.2f}" for name in names))
    lines += ["", f"preparing {found['images']} images of {found['dataset']} at 320x240 for both nets: "
              f"{found['seconds']:.1f} s, {found['images_a_second']:.0f} images/s, cores busy {found['busy']:.0%}",
              f"of the processors' time: decoding {found['decoding']:.0%}, reading gaze {found['reading_gaze']:.0%}, "
              f"densities {found['densities']:.0%}",
              f"at this rate SALICON's {SALICON:,}: {found['salicon_minutes']:.0f} min, {found['salicon_gb']:.1f} GB"]
    return "\n".join(lines)


def draw(root, count=DRAWN):
    """Pictures of the synthetic set as a folder of JPEGs, with their fixations."""
    import numpy as np
    from PIL import Image

    from common.progress import progress
    from data.dataset import load

    for kind in ("images", "fixations"):
        (root / kind).mkdir(parents=True)
    for sample in progress(load("synthetic", "train")[:count], description="drawing"):
        Image.fromarray(sample.image).save(root / "images" / f"{sample.name}.jpg", quality=90)
        np.save(root / "fixations" / f"{sample.name}.npy", sample.fixations)
    return root


if __name__ == "__main__":
    run(main)
