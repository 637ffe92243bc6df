"""Prepare a net's training data from any data set, in parallel and in parts; resume an interrupted preparation.

A `Job` describes how to prepare the data of a net. Worker processes read the samples, in parts of `PART_SIZE`, and
write the arrays of each part into OUT.parts, as HDF5. The file name of a part contains a hash of everything that
determines its content, so that an interrupted preparation resumes with the missing parts. When all parts are
complete, `Job.write` combines them. OUT, including manifest.json, is then created in one step. If the files of the
data set (names, sizes, dates) or our code change later, the next run prepares OUT again.

This module does not import the code of either net.
"""
import contextlib
import hashlib
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common import images, runs
from common.arguments import positive_int
from common.errors import UserError, show_names
from common.files import atomic, check_content, need_space, parse_json, read_json, write_json
from common.parallel import results_of, working_on
from data.dataset import Swapped, shuffled
from data.hdf5_index import check_hdf5
from data.options import add_dataset_arguments, open_dataset

SEED = 2016
PART_SIZE = 25  # samples per part
MIN_IMAGES = 2  # one to train on, one for validation
MAX_NAMED = 10  # number of left-out images that are listed on stderr; the manifest lists all


@dataclass(frozen=True)
class Job:
    """Description of a net's training data: what to compute per image and how to write it.

    Attributes
    ----------
    net : str, "shallow" or "deep"
    compute : callable (data.dataset.Sample, *arguments) -> dict of str: array
        Computes the arrays of one sample; names, shapes and dtypes must be the same for all samples. Runs in worker
        processes, so it must be picklable.
    write : callable (folder, names, train, read) -> dict
        Writes the net's files into `folder`. `names` are the samples that were not left out, in order; the first
        `train` of them are for training. `read("image", "map")` yields a tuple of these arrays for each sample, in the
        same order, and keeps only one part in memory. Returns additional entries for the manifest.
    validation_fraction : float
        Fraction of the samples that is used for validation.
    part_bytes, output_bytes : int
        Disk space per image in the parts and in the net's files.
    code : list of path
        Source files that the arrays depend on, besides those of data/ and common/images.py.
    arguments : tuple
        Further arguments of `compute`; must be JSON-serialisable.
    settings : dict
        The net's settings for the manifest. A folder that was prepared with other settings is not overwritten.
    """

    net: str
    compute: Callable
    write: Callable
    validation_fraction: float
    part_bytes: int
    output_bytes: int
    code: list
    arguments: tuple = ()
    settings: dict = field(default_factory=dict)


def add_arguments(parser):
    """Add the options of every preparation: data set, --out, --limit, --skip-bad, --seed and --jobs."""
    add_dataset_arguments(parser, default="synthetic")
    parser.add_argument("--out", required=True, metavar="FOLDER",
                        help="output folder; created when all data are complete")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="use only the first N images after shuffling")
    parser.add_argument("--skip-bad", action="store_true",
                        help="leave out images that cannot be read, and list them in manifest.json, instead of "
                             "stopping at the first")
    parser.add_seed(SEED)
    parser.add_jobs()


def prepare(job, dataset, root, out, limit=None, seed=SEED, jobs=1, skip_bad=False):
    """Write the folder `out`, only when it is complete; after an interruption, finished parts are kept.

    The order of the images depends only on their names and the seed; the last ones are for validation.

    Parameters
    ----------
    job : Job
    dataset, root : see `data.dataset.load`
    out : path of the folder to write
    limit : int or None
        Number of images to use.
    seed : int
    jobs : int
        Number of worker processes. Each holds one image and its density map, and the arrays of one part.
    skip_bad : bool
        Leave out images that cannot be read; stderr and the manifest list them. Swapped
        coordinates are always an error.

    Raises
    ------
    UserError
        The data set cannot be read, or is too small; `out` was prepared with other settings, or contains other
        files; another process is preparing it; there is not enough disk space.
    """
    out = Path(out)
    source = open_dataset(dataset, "train", root)
    settings = {"net": job.net, "dataset": source.name, "root": str(Path(root).resolve()) if root else None,
                "seed": seed, "limit": limit, **job.settings}
    stamps = _collect_stamps(source, job.code, skip_bad)
    fingerprint = _hash_json(stamps)
    if _is_prepared(out, settings, fingerprint, skip_bad):
        return
    names = shuffled(source.names, seed)[:limit]
    if len(names) < MIN_IMAGES:
        raise UserError(f"{dataset}: {len(names)} training images are too few for a training and a validation "
                        f"set; at least {MIN_IMAGES} are needed")
    folder = _parts_folder(out)
    parts = _plan_parts(folder, names, stamps, job)
    _check_space(out.parent, parts, job)
    with runs.lock_folder(folder):
        _compute_parts(source, parts, job, folder, jobs, skip_bad)
        manifest = _join_parts(out, list(parts), job, {
            **settings, "fingerprint": fingerprint, "split": source.split, "edition": source.about["edition"],
            "sigma": source.sigma})
        shutil.rmtree(folder)
    print(f"{out}: {manifest['images']} images of {dataset} for the {job.net} net"
          + (f", {len(manifest['left_out'])} unreadable" if manifest["left_out"] else "")
          + (f", {len(manifest['without_fixations'])} without a fixation" if manifest["without_fixations"] else ""))


def _is_prepared(out, settings, fingerprint, skip_bad):
    """Return True if `out` is up to date; raise UserError if it has other settings or was not made here."""
    manifest = read_json(out / "manifest.json") if (out / "manifest.json").is_file() else {}
    prepared = {"net", "fingerprint"} <= set(manifest)
    if prepared:
        check_content(manifest, {"images": int, "left_out?": dict}, out / "manifest.json")
    for folder in (_parts_folder(out),) if prepared else (out, _parts_folder(out)):
        if folder.exists() and not (folder.is_dir() and all(map(_is_part, folder.iterdir()))):
            raise UserError(f"{folder}: exists and was not made by this command; give another --out")
    if not prepared:
        return False
    changes = [f"{key} {show_names(repr(manifest.get(key)))} -> {show_names(repr(value))}"
               for key, value in settings.items() if manifest.get(key) != value]
    if changes:
        raise UserError(f"{out}: was prepared with other settings ({'; '.join(changes)}); "
                        "delete it, or give another --out")
    if manifest["fingerprint"] != fingerprint:
        print(f"{out}: out of date, files of {settings['dataset']} or the code that reads them have changed; "
              "preparing it again")
        return False
    if manifest.get("left_out") and not skip_bad:
        raise UserError(f"{out}: was prepared with --skip-bad, which left out {len(manifest['left_out'])} images; give "
                        "--skip-bad again, or repair the images and delete the folder")
    print(f"{out}: {manifest['images']} images of {settings['dataset']}, already prepared")
    return True


def _parts_folder(out):
    """Return the path of the folder of parts, beside `out`."""
    resolved = out.resolve()  # Path(".").name is empty
    return out.parent / f"{resolved.name}.parts" if out.name else resolved.with_name(f"{resolved.name}.parts")


def _is_part(path):
    """Return True for the files that a preparation keeps in its folder of parts, temporary ones included."""
    return path.suffix == ".h5" and path.stem[:6].isdecimal() or path.name.startswith(".")


def _collect_stamps(source, code, skip_bad):
    """Collect what identifies a version of the samples: names, sizes and dates of their files, and the code in use.

    Returns
    -------
    dict of str: list
        By sample name; the key "" has what all samples depend on.

    Raises
    ------
    UserError
        Files are missing and `skip_bad` is False.
    """
    code = sorted([*Path(__file__).parent.glob("*.py"), Path(images.__file__), *map(Path, code)])
    stamps, missing = {name: [] for name in ("", *source.names)}, []
    stamps[""] = [source.name, source.sigma, source.about,
                  _hash_json([path.read_text(encoding="utf-8") for path in code])]
    for path in map(Path, source.files):
        candidates = (path.stem, path.stem.rpartition("_")[0])  # i1.jpg and i1_fixMap.jpg belong to i1
        name = next((candidate for candidate in candidates if candidate in stamps), "")
        try:
            status = path.stat()
            stamps[name].append((path.name, status.st_size, status.st_mtime_ns))
        except OSError:
            missing.append(path)
    if missing and not skip_bad:
        raise UserError(f"{missing[0]}: missing ({len(missing)} of {len(source.files)} files in all); unpack the "
                        "archive again, or use --skip-bad to leave such images out")
    return stamps


def _hash_json(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _plan_parts(folder, names, stamps, job):
    """Return the paths of all parts, each with the names of its samples, in order."""
    parts = {}
    for start in range(0, len(names), PART_SIZE):
        group = names[start:start + PART_SIZE]
        key = _hash_json((job.net, job.arguments, *(stamps[name] for name in ("", *group))))
        parts[folder / f"{start:06d}-{key[:12]}.h5"] = group
    return parts


def _check_space(folder, parts, job):
    """Raise UserError unless the disk has space for the net's files and for the parts that are still missing."""
    while not folder.exists():
        folder = folder.parent
    total = sum(map(len, parts.values()))
    missing = sum(len(group) for path, group in parts.items() if not path.is_file())
    need_space(folder, missing * job.part_bytes + total * job.output_bytes)


def _compute_parts(source, parts, job, folder, jobs, skip_bad):
    """Compute the parts that are missing in worker processes.

    Parameters
    ----------
    source : data.dataset.Dataset
    parts : dict of path: list of str
        Names of the samples of each part.
    job, jobs, skip_bad : see `prepare`
    folder : path of the folder of parts
    """
    from common.progress import progress

    for path in folder.iterdir():
        # made with other settings or files, or with images left out although --skip-bad is not given now
        if path.suffix == ".h5" and (path not in parts or not skip_bad and _read_summaries([path])[1]):
            path.unlink()
    missing = [path for path in parts if not path.is_file()]
    items = ((path, [source.open(name) for name in parts[path]], job.compute, job.arguments, skip_bad)
             for path in missing)
    total = sum(map(len, parts.values()))
    done = total - sum(len(parts[path]) for path in missing)
    with progress(total=total, initial=done, description=f"preparing, {job.net} net") as bar:
        for path, _ in zip(missing, results_of(_write_part, items, jobs)):
            bar.update(len(parts[path]))


def _write_part(path, samples, compute, arguments, skip_bad):
    """Compute the arrays of some samples and write them to an HDF5 file; runs in the worker processes."""
    import cv2
    import h5py

    cv2.setNumThreads(1)  # every core has a worker process already
    columns, left_out, empty = defaultdict(list), {}, []
    while samples:
        sample = samples.pop(0)  # releases the memory of the previous image
        working_on(sample.name)
        try:
            arrays = compute(sample, *arguments)
        except UserError as error:
            if not skip_bad or isinstance(error, Swapped):  # swapped coordinates are a fault of the whole data set
                raise
            left_out[sample.name] = str(error)
            continue
        if not sample.density.any():
            empty.append(sample.name)  # nothing to learn from: nobody looked at the image, or only beside it
            continue
        for name, array in arrays.items():
            columns[name].append(array)
        columns["name"].append(sample.name)
    digest = hashlib.sha256()
    with atomic(path) as scratch, h5py.File(scratch, "w") as part:
        for name, rows in columns.items():
            part[name] = rows
            digest.update(repr(rows).encode() if name == "name" else np.stack(rows).tobytes())
        part.attrs["sha256"], part.attrs["bad"] = digest.hexdigest(), json.dumps(left_out)
        part.attrs["empty"] = json.dumps(empty)


def _join_parts(out, parts, job, about):
    """Write the net's files and the manifest from all parts; return the manifest.

    Parameters
    ----------
    out : path of the folder to write
    parts : list of path, in order
    job : Job
    about : dict
        Entries of the manifest for the source and the settings.
    """
    names, left_out, digests, empty = _read_summaries(parts)
    if len(names) < MIN_IMAGES:
        raise UserError(f"{out}: {len(names)} images could be read and have a fixation, too few for a training and a "
                        f"validation set; the first unreadable one: {next(iter(left_out.values()), 'none')}")
    for line in list(left_out.values())[:MAX_NAMED]:
        print(f"left out: {line}", file=sys.stderr)
    val = max(1, round(job.validation_fraction * len(names)))
    train = len(names) - val
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        details = job.write(folder, names, train, lambda *arrays: _read_arrays(parts, arrays))
        manifest = {**about, "images": len(names), "train": train, "val": val, **details, "left_out": left_out,
                    "without_fixations": empty,
                    "sha256": hashlib.sha256("".join(digests).encode()).hexdigest()}
        write_json(folder / "manifest.json", manifest)
    return manifest


def _read_summaries(parts):
    """Return the names of all samples, {name: error} of unreadable ones, hashes of parts, names without fixations."""
    names, left_out, digests, empty = [], {}, [], []
    for path in parts:
        with _open_part(path) as part:
            left_out.update(parse_json(part.attrs["bad"]))
            digests.append(part.attrs["sha256"])
            empty += parse_json(part.attrs["empty"])
            if "name" in part:
                names += list(part["name"].asstr())
    return names, left_out, digests, empty


def _read_arrays(parts, arrays):
    """Yield, for each sample of all parts in order, a tuple of the arrays with these names."""
    for path in parts:
        with _open_part(path) as part:
            if "name" in part:
                yield from zip(*(part[name][...] for name in arrays))


@contextlib.contextmanager
def _open_part(path):
    import h5py

    check_hdf5(path, "delete it and run the same command again")
    try:
        with h5py.File(path) as part:
            if any(array.shape[0] > PART_SIZE for array in part.values()):
                raise ValueError(f"more than {PART_SIZE} samples")
            yield part
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run the same command again") from error
