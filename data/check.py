"""Check a data set: number and size of images, fixations, missing and damaged files; and draw an overview image.

Per split, the report lists: the number of images found and the published number, how the files were understood
(columns, units), image sizes, fixations per image, rows without a position, points outside the frame, several points on
the same pixel, images without fixations, identical images, unreadable files, and what cannot be used. The MD5 sums of
archives in the data folder, its parent or its subfolders are compared with the published ones.
OUT/NAME-SPLIT.png shows ten images with their fixations and density maps. The exit code is 1 if something is missing,
damaged or cannot be right.
"""
import hashlib
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from common.arguments import Parser
from common.errors import UserError, os_error_message, run, show_names, to_printable
from common.parallel import in_parallel, working_on
from data.dataset import base_name
from data.options import add_dataset_arguments, open_dataset
from data.screen import FRACTION_LIMIT, FRACTION_MINIMUM, FRACTION_PART, SMALL_SIDE
from data.sources import SOURCES

SHEET_SAMPLES, CELL_WIDTH = 10, 240  # samples on a contact sheet; width of a cell in pixels
MAX_NAMED = 10  # damaged images that are named; the count includes all
CHUNK_SIZE = 1 << 22  # bytes per read when hashing
# of points outside the frame, from which a hint is printed, and from which they are a problem; trackers rarely reach it
SUSPICIOUS_FRACTION, WRONG_FRACTION, WRONG_MINIMUM = 0.05, 0.1, 10
MAX_NOTES = 12


def main():
    """Parse the command line and check."""
    parser = Parser("data.check", __doc__)
    add_dataset_arguments(parser, required=True)
    parser.add_argument("--split", action="append", help="check only this split; may be repeated (default: all splits)")
    parser.add_argument("--out", default="build/check", help="folder for the overview images (default: %(default)s)")
    parser.add_jobs()
    args = parser.parse_args()
    source = SOURCES.get(args.dataset.split("+")[0], {})
    counts = source.get("counts", {})
    names = [args.dataset] if "+" in args.dataset else source.get("variants", [args.dataset])
    problems = 0
    for name in names:
        for split in args.split or list(counts) or ["all"]:
            problems += check(name, split, args.data_root, Path(args.out), counts.get(split), args.jobs)
    problems += check_archives(args.dataset, args.data_root)
    print(f"problems: {problems or 'none'}")
    return 1 if problems else 0


def check(name, split, root, out, expected, jobs=1):
    """Print the report of one split and write its contact sheet.

    Parameters
    ----------
    name, split, root : see `data.dataset.load`
    out : path of the folder for the contact sheet
    expected : int or None
        Published number of images.
    jobs : int
        Number of processes.

    Returns
    -------
    int
        Number of problems: 1 if the split cannot be opened; otherwise one per unreadable image, one per fault of the
        folder, one if the number of images differs from the published one, one if files are missing, one if many
        points lie outside the frame, one if almost all lie in its corner, and one if images of your own lack
        fixations.
    """
    try:
        dataset = open_dataset(name, split, root, warn=False)
    except UserError as error:
        print(f"{name} {split}: {error}")
        return 1
    print(f"{name} {split}: {len(dataset)} images; {dataset.about['edition']}")
    items = ((dataset.open(sample_name),) for sample_name in dataset.names)
    statistics = list(in_parallel(inspect_sample, items, jobs, len(dataset), "checking"))
    problems = 0
    if expected and len(dataset) != expected:
        difference = expected - len(dataset)
        fault = "missing" if difference > 0 else "too many"
        print(f"  published      {expected:,} images: {abs(difference):,} {fault}")
        problems = 1
    for note in dataset.notes[:MAX_NOTES]:
        print(f"  understood     {note}")
    for fault in dataset.faults:
        print(f"  problem        {fault}")
    problems += len(dataset.faults)
    missing = [path for path in dataset.files if not Path(path).exists()]
    if missing:
        print(f"  missing        {len(missing):,} files, the first is {to_printable(missing[0])}")
        problems += 1
    unreadable = [entry for entry in statistics if "error" in entry]
    print(f"  unreadable     {len(unreadable):,} images")
    for line in group_errors(unreadable)[:MAX_NAMED]:
        print(f"    {line}")
    readable = [entry for entry in statistics if "error" not in entry]
    for line in summary_lines(readable):
        print(f"  {line}")
    problems += has_wrong_positions(readable)
    if is_corner_alone(readable):
        print("  problem        almost all points lie within 1.5 pixels of the top left corner: they are fractions; "
              "add the option +unit=fraction (data/README.md)")
        problems += 1
    # other data sets publish images without fixations
    problems += base_name(name) == "folder" and any(entry["fixations"] == 0 for entry in readable)
    if readable:
        path = out / f"{name}-{split}.png"
        write_contact_sheet(dataset, [entry["name"] for entry in readable], path)
        print(f"  contact sheet  {path}")
    return problems + len(unreadable)


def group_errors(unreadable):
    """Return the errors of images, list of str; those that differ only in names and numbers are in one line."""
    groups = {}
    for entry in unreadable:
        words = [word for word in entry["error"].split() if entry["name"] not in word]
        groups.setdefault(re.sub(r"\d+", "0", " ".join(words)), []).append(entry["error"])
    return [errors[0] + (f" (and {len(errors) - 1} other images)" if len(errors) > 1 else "")
            for errors in groups.values()]


def has_wrong_positions(statistics):
    """Return True if so many points of the readable samples lie outside the frame that something is wrong."""
    outside, fixations = (sum(entry.get(key) or 0 for entry in statistics) for key in ("outside", "fixations"))
    return outside >= WRONG_MINIMUM and outside > WRONG_FRACTION * (outside + fixations)


def is_corner_alone(statistics):
    """Return True if almost all points of the readable samples are fractions, most likely."""
    corner, fixations = (sum(entry.get(key) or 0 for entry in statistics) for key in ("corner", "fixations"))
    return fixations >= FRACTION_MINIMUM and corner >= FRACTION_PART * fixations


def inspect_sample(sample):
    """Return the statistics of a sample, or its error.

    Returns
    -------
    dict
        "name", "size" (W, H), "pixels" (MD5 sum of the image), "fixations" (number or None), and with fixations also
        "corner" (number of points that can be fractions), "outside", "missing", "repeated", "observers" (number or
        None) and "notes"; or "name" and "error".
    """
    working_on(sample.name)
    try:
        image = sample.image
        entry = {"name": sample.name, "size": image.shape[1::-1], "pixels": hashlib.md5(image.tobytes()).hexdigest()}
        if sample.has_density:
            sample.density  # noqa: B018  a published density map can be damaged, too
        if not sample.has_fixations:
            return {**entry, "fixations": None, "notes": sample.notes}
        fixations = sample.fixations
        pixels = np.unique(np.floor(fixations + 0.5), axis=0)
        observers = None if sample.observers is None else len(np.unique(sample.observers))
        corner = int((fixations <= FRACTION_LIMIT).all(axis=1).sum()) if min(sample.shape) > SMALL_SIDE else 0
        return {**entry, "fixations": len(fixations), "corner": corner, "outside": sample.outside,
                "missing": sample.missing, "repeated": len(fixations) - len(pixels), "observers": observers,
                "notes": sample.notes}
    except UserError as error:
        return {"name": sample.name, "error": str(error)}


def summary_lines(statistics):
    """Format the report on the readable samples.

    Parameters
    ----------
    statistics : list of dict, as from `inspect_sample`

    Returns
    -------
    list of str
    """
    if not statistics:
        return []
    sizes = Counter("{}x{}".format(*entry["size"]) for entry in statistics)
    lines = ["sizes          " + ", ".join(f"{size} ({count:,})" for size, count in sizes.most_common(3))
             + (f" and {len(sizes) - 3} others" if len(sizes) > 3 else "")]
    duplicates = len(statistics) - len({entry["pixels"] for entry in statistics})
    lines.append(f"identical      {duplicates:,} images are copies of another image")
    notes = Counter(note for entry in statistics for note in entry["notes"])
    lines += [f"understood     {note} ({count:,} images)" for note, count in notes.most_common(MAX_NOTES)]
    annotated = [entry for entry in statistics if entry["fixations"] is not None]
    if not annotated:
        return [*lines, "fixations      none published"]
    counts, observers = ([entry[key] or 0 for entry in annotated] for key in ("fixations", "observers"))
    by = f"; {min(observers)} to {max(observers)} observers per image" if max(observers) else ""
    empty = [entry["name"] for entry in annotated if not entry["fixations"]]
    outside, missing, repeated = (sum(entry[key] for entry in annotated) for key in ("outside", "missing", "repeated"))
    total = outside + sum(counts)
    hint = ("; check whether they are [row, col] instead of [x, y], or positions on the screen: give +screen=, "
            "+offset= or +scale= (data/README.md)") if outside > SUSPICIOUS_FRACTION * total else ""
    return [*lines,
            f"fixations      {min(counts):,} to {max(counts):,} per image, median {np.median(counts):,.0f}{by}",
            f"outside        {outside:,} of {total:,} points lie outside the frame and are dropped{hint}",
            *([f"missing        {missing:,} rows without a position, dropped"] if missing else []),
            f"repeated       {repeated:,} points on a pixel that already has a point",
            f"no fixations   {len(empty):,} images{': ' * bool(empty)}{show_names(empty, MAX_NAMED)}"]


def write_contact_sheet(dataset, names, path):
    """Write a PNG with ten samples, two per row: each image with its fixations, and with its density map."""
    from common.drawing import overlay, strip, with_points
    from common.images import write_png

    indices = np.linspace(0, len(names) - 1, min(SHEET_SAMPLES, len(names))).round().astype(int)
    cells = []
    for index in indices:
        sample = dataset.open(names[index])
        if sample.has_fixations:
            cells += [with_points(sample.image, sample.fixations), overlay(sample.image, sample.density)]
        elif sample.has_density:
            cells += [sample.image, overlay(sample.image, sample.density)]
        else:
            cells.append(sample.image)
    rows = [strip(cells[start:start + 4], CELL_WIDTH) for start in range(0, len(cells), 4)]
    width = max(row.shape[1] for row in rows)
    write_png(path, np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
                                    for row in rows]))


def check_archives(name, root):
    """Print whether the archives in `root`, its subfolders and its parent have the published MD5 sums.

    Returns
    -------
    int
        Number of archives that differ.
    """
    problems, published = 0, {}
    for file, md5 in SOURCES.get(name.split("+")[0], {}).get("archives", {}).items():
        if md5:
            published.setdefault(file.split()[0], {})[md5] = file
    folders = [Path(root).parent, Path(root), *(path for path in Path(root).glob("*") if path.is_dir())] if root else []
    for path in sorted({folder / file for folder in folders for file in published if (folder / file).is_file()}):
        match = published[path.name].get(_md5(path))
        print(f"{path}: MD5 as published, {match}" if match else
              f"{path}: MD5 differs from the published one; download it again")
        problems += not match
    return problems


def _md5(path):
    from common.progress import progress

    digest = hashlib.md5()
    try:
        with open(path, "rb") as file, progress(total=path.stat().st_size, description=f"MD5 of {path.name}",
                                                unit="B") as bar:
            while block := file.read(CHUNK_SIZE):
                digest.update(block)
                bar.update(len(block))
    except OSError as error:
        print(os_error_message(error), file=sys.stderr)
    return digest.hexdigest()


if __name__ == "__main__":
    run(main)
