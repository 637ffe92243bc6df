"""python -m data.check: what is there of a data set, what is missing, and a picture of it.

Of each split: images against the number published, their sizes, fixations an image, points outside the frame,
points on a pixel that has one already, images without any, identical images, unreadable files; MD5 sums of
the archives that lie beside, where known; and OUT/NAME-SPLIT.png, ten images with fixations and density. The
exit code is 1 if something is missing or damaged.
"""
import argparse
import hashlib
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from common.arguments import positive_int
from common.errors import UserError, os_error_message, run
from data.sources import SOURCES

SHOWN, CELL = 10, 240  # samples on the contact sheet; pixels, the width of its cells
NAMED = 10  # damaged images that are named; all are counted
CHUNK = 1 << 22  # bytes hashed at a time
SUSPICIOUS = 0.05  # share of points outside the frame that eye trackers rarely reach


def main():
    """Parse the command line and check."""
    parser = argparse.ArgumentParser(prog="python -m data.check", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--dataset", required=True, help="name of the data set, with options as in osie+gaze=mouse")
    parser.add_argument("--data-root", help="where it lies on disk")
    parser.add_argument("--split", action="append", help="of these splits only; may be given several times")
    parser.add_argument("--out", default="build/check", help="folder for the pictures (default: %(default)s)")
    parser.add_argument("--jobs", type=positive_int, default=os.cpu_count(), help="processes (default: all cores)")
    args = parser.parse_args()
    source = SOURCES.get(args.dataset.split("+")[0], {})
    counts = source.get("counts", {})
    names = [args.dataset] if "+" in args.dataset else source.get("variants", [args.dataset])
    wrong = 0
    for name in names:
        for split in args.split or list(counts) or ["all"]:
            wrong += check(name, split, args.data_root, Path(args.out), counts.get(split), args.jobs)
    wrong += check_archives(args.dataset, args.data_root)
    print("all is there" if not wrong else f"{wrong} of the above need looking after")
    return 1 if wrong else 0


def check(name, split, root, out, expected, jobs=1):
    """Print what there is of a split, and draw some of it.

    Parameters
    ----------
    name, split, root : see `data.dataset.load`
    out : path of a folder
    expected : int or None
        Images, as published.
    jobs : int

    Returns
    -------
    int
        Complaints: an image missing or unreadable, or the whole split.
    """
    from common.parallel import in_parallel
    from data.dataset import load

    try:
        dataset = load(name, split, root)
    except UserError as error:
        print(f"{name} {split}: {error}")
        return 1
    print(f"{name} {split}: {len(dataset)} images; {dataset.about['edition']}")
    items = ((dataset.open(each),) for each in dataset.names)
    found = list(in_parallel(look_at, items, jobs, len(dataset), "checking"))
    complaints = 0
    if expected and len(dataset) != expected:
        print(f"  published    {expected:,} images: {abs(expected - len(dataset)):,} "
              f"{'are missing' if expected > len(dataset) else 'too many'}")
        complaints = 1
    missing = [path for path in dataset.files if not Path(path).exists()]
    if missing:
        print(f"  missing      {len(missing):,} files, the first {missing[0]}")
        complaints += 1
    bad = [one for one in found if "error" in one]
    print(f"  unreadable   {len(bad)}")
    for one in bad[:NAMED]:
        print(f"    {one['error']}")
    readable = [one for one in found if "error" not in one]
    for line in describe_found(readable):
        print(f"  {line}")
    if readable:
        path = out / f"{name}-{split}.png"
        contact_sheet(dataset, [one["name"] for one in readable], path)
        print(f"  picture      {path}")
    return complaints + len(bad)


def look_at(sample):
    """What is to be counted of a sample, as a dict; of one that cannot be read, its "error"."""
    try:
        image = sample.image
        one = {"name": sample.name, "size": image.shape[1::-1], "pixels": hashlib.md5(image.tobytes()).hexdigest()}
        if sample.has_density:
            sample.density  # noqa: B018  published ones can be damaged, too
        if not sample.has_fixations:
            return {**one, "fixations": None}
        fixations = sample.fixations
        pixels = np.unique(np.floor(fixations + 0.5), axis=0)
        observers = None if sample.observers is None else len(np.unique(sample.observers))
        return {**one, "fixations": len(fixations), "outside": sample.outside, "repeated": len(fixations) - len(pixels),
                "observers": observers}
    except UserError as error:
        return {"name": sample.name, "error": str(error)}


def describe_found(found):
    """Lines on the samples that could be read."""
    if not found:
        return []
    sizes = Counter("{}x{}".format(*one["size"]) for one in found)
    lines = ["sizes        " + ", ".join(f"{size} ({count:,})" for size, count in sizes.most_common(3))
             + (f" and {len(sizes) - 3} others" if len(sizes) > 3 else "")]
    copies = len(found) - len({one["pixels"] for one in found})
    lines.append(f"identical    {copies:,} images are copies of another")
    watched = [one for one in found if one["fixations"] is not None]
    if not watched:
        return [*lines, "fixations    none published"]
    counts, observers = [one["fixations"] for one in watched], [one["observers"] or 0 for one in watched]
    people = f", of {min(observers)} to {max(observers)} observers" if max(observers) else ""
    outside, total = sum(one["outside"] for one in watched), sum(counts)
    hint = "; are they [row, col] and not [x, y]?" if outside > SUSPICIOUS * (outside + total) else ""
    return [*lines,
            f"fixations    {min(counts):,} to {max(counts):,} an image, median {np.median(counts):,.0f}{people}",
            f"outside      {outside:,} of {outside + total:,} points lie outside the frame and are left out{hint}",
            f"repeated     {sum(one['repeated'] for one in watched):,} points are on a pixel that has one already",
            f"none         {sum(not count for count in counts):,} images have no fixation"]


def contact_sheet(dataset, names, path):
    """Draw ten samples: each with its fixations, and with its density laid over it; two a row."""
    from common.drawing import overlay, strip, with_points
    from common.images import write_png

    chosen = [names[i] for i in np.linspace(0, len(names) - 1, min(SHOWN, len(names))).round().astype(int)]
    cells = []
    for name in chosen:
        sample = dataset.open(name)
        if sample.has_fixations:
            cells += [with_points(sample.image, sample.fixations), overlay(sample.image, sample.density)]
        elif sample.has_density:
            cells += [sample.image, overlay(sample.image, sample.density)]
        else:
            cells.append(sample.image)
    rows = [strip(cells[start:start + 4], CELL) for start in range(0, len(cells), 4)]
    width = max(row.shape[1] for row in rows)
    write_png(path, np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
                                    for row in rows]))


def check_archives(name, root):
    """Print MD5 sums of the published archives in `root` or beside it; the number of those that differ."""
    wrong, known = 0, {}
    for file, md5 in SOURCES.get(name.split("+")[0], {}).get("archives", {}).items():
        if md5:
            known.setdefault(file.split()[0], {})[md5] = file
    folders = [Path(root).parent, Path(root), *(path for path in Path(root).glob("*") if path.is_dir())] if root else []
    for path in sorted({folder / file for folder in folders for file in known if (folder / file).is_file()}):
        found = known[path.name].get(_md5(path))
        print(f"{path}: MD5 {f'as published, {found}' if found else 'not as published; download it again'}")
        wrong += not found
    return wrong


def _md5(path):
    from common.progress import progress

    digest = hashlib.md5()
    try:
        with open(path, "rb") as file, progress(total=path.stat().st_size, description=f"MD5 of {path.name}",
                                                unit="B") as bar:
            while block := file.read(CHUNK):
                digest.update(block)
                bar.update(len(block))
    except OSError as error:
        print(os_error_message(error), file=sys.stderr)
    return digest.hexdigest()


if __name__ == "__main__":
    run(main)
