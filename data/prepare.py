"""python -m data.prepare: what each net trains on, made from any data set.

    OUT/shallow.h5            groups train and val: image uint8 (N, 3, 96, 96) RGB, map float32 (N, 48, 48), name
    OUT/deep/train_000.h5 ... data float32 (n, 3, h, w), label float32 (n, 1, h, w): for Caffe's HDF5Data;
                              val_000.h5 ..., and with --mirror train_mirrored_000.h5 ... likewise
    OUT/manifest.json         source, settings, counts, means taken off, what was left out, hashes; written last

Images are shuffled once, by name and seed. The shallow net's validation images are the last 20%
(section 3.2), the deep net's the last 10% (section 4.2: 1,000 of 10,000).

Images are read and shrunk by all cores, some at a time, into OUT.parts; an interrupted run goes on from there, and
the arrays are put together when all parts are. A preparation whose source has changed since (other files, sizes or
dates, or our code of densities and sizes) is made again.

This command stands above both nets, whose preprocessing it applies (the constants live there, and
only there); nothing imports it.
"""
import argparse
import contextlib
import os
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from common.arguments import non_negative_int, positive_int
from common.errors import UserError, run

SEED = 2016
VALIDATION_FRACTION = {"shallow": 0.2, "deep": 0.1}  # sections 3.2 and 4.2
# HDF5Data holds one whole file in memory, and fails near 2 GB: at 320x240 this many make 123 MB
SHARD_SIZE = 100
SHALLOW_BYTES = 40_000  # a sample in shallow.h5, generously
PART_SIZE = 25  # images that a process reads before it writes them down
NAMED = 10  # images left out: so many are named on stderr, all in the manifest


def main():
    """Parse the command line and prepare."""
    parser = argparse.ArgumentParser(prog="python -m data.prepare", description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="synthetic",
                        help="name of the data set, with options as in osie+gaze=eyes (default: %(default)s)")
    parser.add_argument("--data-root", help="where it lies on disk")
    parser.add_argument("--out", required=True, help="folder to write; it appears when all is ready")
    parser.add_argument("--preset", choices=["demo", "paper"], default="demo",
                        help="size of the deep net's images: 128x96 or the paper's 320x240 (default: %(default)s)")
    parser.add_argument("--limit", type=positive_int, metavar="N",
                        help="use only the first N images of the shuffled split")
    parser.add_argument("--mirror", action="store_true",
                        help="the deep net's training images mirrored too, after all the others")
    parser.add_argument("--means", choices=["training", "authors"], default="training",
                        help="what the deep net's images and maps have taken off: the means of these training images, "
                             "or the constants of the authors' code (default: %(default)s)")
    parser.add_argument("--skip-bad", action="store_true",
                        help="leave out images that cannot be read, and list them, instead of stopping at the first")
    parser.add_argument("--seed", type=non_negative_int, default=SEED, help="of the shuffle (default: %(default)s)")
    parser.add_argument("--jobs", type=positive_int, default=os.cpu_count(), help="processes (default: all cores)")
    args = parser.parse_args()
    prepare(args.dataset, args.data_root, args.out, args.preset, args.limit, args.seed, args.jobs, args.mirror,
            args.means, args.skip_bad)


def prepare(dataset, root, out, scale="demo", limit=None, seed=SEED, jobs=1, mirror=False, means="training",
            skip_bad=False):
    """Write `out`, complete or not at all; parts that are done stay for the next time.

    Parameters
    ----------
    dataset, root : see `data.dataset.load`
    out : path of the folder to write
    scale : "demo" or "paper"
        Chooses the size of the deep net's images.
    limit : int or None
        Number of images to use.
    seed : int
    jobs : int
        Processes that read and shrink images. Memory: an image and its density each, and two shards.
    mirror : bool
        Write the deep net's training images mirrored, too. The validation images stay as they are.
    means : "training" or "authors"
        Mean pixel and mean map that are taken off: of these training images (section 4.2), or the authors'
        constants, for comparison with their weights.
    skip_bad : bool
        Leave out images that cannot be read; they are named on stderr and in the manifest. Exchanged coordinates
        are an error all the same.

    Raises
    ------
    UserError
        The data set cannot be read, or is too small to be split; `out` was prepared with other settings, or is
        a folder of something else.
    """
    from common import runs
    from data.dataset import load, shuffled
    from deep import preprocess as deep

    out = Path(out)
    source = load(dataset, "train", root)
    wanted = {"dataset": source.name, "root": str(Path(root).resolve()) if root else None, "scale": scale, "seed": seed,
              "limit": limit, "mirror": mirror, "means": means}
    stamps = _stamps(source, skip_bad)
    fingerprint = _hash(stamps)
    if _is_there(out, wanted, fingerprint, skip_bad):
        return
    names = shuffled(source.names, seed)[:limit]
    if len(names) < 10:
        raise UserError(f"{dataset}: {len(names)} training images are too few to hold some out; at least 10 are needed")
    size = {"demo": deep.DEMO_TRAIN_SIZE, "paper": deep.TRAIN_SIZE}[scale]
    parts_folder = _parts_of(out)
    parts = {}
    for start in range(0, len(names), PART_SIZE):
        group = names[start:start + PART_SIZE]
        made_of = _hash((size, *(stamps[name] for name in ("", *group))))
        parts[parts_folder / f"{start:06d}-{made_of[:12]}.h5"] = group
    _need_space_for(len(names), sum(len(group) for path, group in parts.items() if not path.is_file()), size, mirror,
                    out.parent)
    with runs.lock_folder(parts_folder):
        about = {**wanted, "fingerprint": fingerprint, "split": source.split, "edition": source.about["edition"],
                 "sigma": source.sigma}
        _read_all(source, parts, size, parts_folder, jobs, skip_bad)
        manifest = _put_together(out, list(parts), size, about)
        shutil.rmtree(parts_folder)
    print(f"{out}: {manifest['images']} images of {dataset}, deep net at {size[0]}x{size[1]}"
          + (f", {len(manifest['left_out'])} left out" if manifest["left_out"] else ""))


def _is_there(out, wanted, fingerprint, skip_bad):
    """True if `out` holds what is wanted, made of the same files; UserError if it was made with other settings."""
    from common.files import read_json

    there = read_json(out / "manifest.json") if (out / "manifest.json").is_file() else {}
    parts = _parts_of(out)
    strange = [folder for folder, ours in ((out, {"shallow", "deep"} <= set(there)), (parts, False))
               if not ours and folder.exists() and not (folder.is_dir() and all(map(_is_part, folder.iterdir())))]
    if strange:
        raise UserError(f"{strange[0]}: is there and was not made by this command; give another --out")
    if not there:
        return False
    other = [f"{key} {there.get(key)!r} -> {value!r}" for key, value in wanted.items()
             if there.get(key, value) != value]
    if other:
        raise UserError(f"{out}: was prepared with other settings ({'; '.join(other)}); "
                        "delete it, or give another --out")
    if there.get("fingerprint") != fingerprint:
        print(f"{out}: stale, files of {wanted['dataset']} or the code that reads them changed since; made again")
        return False
    if there.get("left_out") and not skip_bad:
        raise UserError(f"{out}: was prepared with --skip-bad, which left out {len(there['left_out'])} images; give it "
                        "again, or repair them and delete the folder")
    print(f"{out}: {there['images']} images of {wanted['dataset']}, prepared before")
    return True


def _parts_of(out):
    """The folder beside `out` where parts wait for each other."""
    whole = out.resolve()  # "." has a name then
    return out.parent / f"{whole.name}.parts" if out.name else whole.with_name(f"{whole.name}.parts")


def _is_part(path):
    """True for what a preparation keeps in its folder of parts; an empty folder holds nothing else."""
    return path.suffix == ".h5" and path.stem[:6].isdecimal() or path.name.startswith(".")


def _stamps(source, skip_bad):
    """What tells that samples changed: names, sizes and dates of their files, and the code that reads them.

    Returns
    -------
    dict of str: list
        By sample; under "" what all of them depend on.

    Raises
    ------
    UserError
        Files are missing; not with `skip_bad`.
    """
    from deep import preprocess as deep
    from shallow import preprocess as shallow

    stamps, missing = {name: [] for name in ("", *source.names)}, []
    code = sorted([*Path(__file__).parent.glob("*.py"), Path(deep.__file__), Path(shallow.__file__)])
    stamps[""] = [source.name, source.sigma, source.about, _hash([path.read_text(encoding="utf-8") for path in code])]
    for path in map(Path, source.files):
        name = next((each for each in (path.stem, path.stem.rpartition("_")[0]) if each in stamps), "")  # i1_fixMap.jpg
        try:
            found = path.stat()
            stamps[name].append((path.name, found.st_size, found.st_mtime_ns))
        except OSError:
            missing.append(path)
    if missing and not skip_bad:
        raise UserError(f"{missing[0]}: missing, {len(missing)} of {len(source.files)} files in all; unpack the "
                        "archive again, or leave such images out with --skip-bad")
    return stamps


def _hash(value):
    import hashlib
    import json

    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def sample_bytes(size):
    """What an image and its map take in the deep net's files, at (width, height): 1.2 MB at 320x240."""
    return 4 * (3 + 1) * size[0] * size[1]


def _need_space_for(count, missing, size, mirror, folder):
    """UserError unless there is room for the arrays of `count` images, and for the parts of those still to be read."""
    from common.files import need_space

    while not folder.exists():
        folder = folder.parent
    trained = count - round(VALIDATION_FRACTION["deep"] * count)
    part = SHALLOW_BYTES + 7 * size[0] * size[1]  # uint8 image, float32 density
    need_space(folder, missing * part + count * SHALLOW_BYTES + (count + mirror * trained) * sample_bytes(size))


def _read_all(source, parts, size, folder, jobs, skip_bad):
    """Have all images shrunk, into parts of `PART_SIZE` each; those that are there are kept.

    Parameters
    ----------
    source : data.dataset.Dataset
    parts : dict of path: list of str
        Names of the samples; a part's own name tells what it was made of.
    size, jobs, skip_bad : as for `prepare`
    """
    from common.parallel import results_of
    from common.progress import progress

    for path in folder.iterdir():  # of other settings or files; or with images left out that are not to be
        if path.suffix == ".h5" and (path not in parts or not skip_bad and _survey([path])[2]):
            path.unlink()
    todo = [path for path in parts if not path.is_file()]
    items = ((path, [source.open(name) for name in parts[path]], size, skip_bad) for path in todo)
    done = sum(map(len, parts.values())) - sum(len(parts[path]) for path in todo)
    with progress(total=sum(map(len, parts.values())), initial=done, description="preparing") as bar:
        for path, _ in zip(todo, results_of(_write_part, items, jobs)):
            bar.update(len(parts[path]))


def _write_part(path, samples, size, skip_bad):
    """Shrink some images and their densities for both nets, and write them down; what the worker processes do."""
    import hashlib
    import json

    import cv2
    import h5py

    from common.files import atomic
    from data.dataset import Swapped

    cv2.setNumThreads(1)  # the cores have a process each already
    kept, bad = defaultdict(list), {}
    while samples:
        sample = samples.pop(0)  # and with it the large image goes
        try:
            shrunk = _shrink(sample, size)
        except UserError as error:
            if not skip_bad or isinstance(error, Swapped):  # a fault of the whole set
                raise
            bad[sample.name] = str(error)
            continue
        for name, array in shrunk.items():
            kept[name].append(array)
        kept["name"].append(sample.name)
    digest = hashlib.sha256()
    with atomic(path) as scratch, h5py.File(scratch, "w") as part:
        for name, arrays in kept.items():
            part[name] = arrays
            digest.update(repr(arrays).encode() if name == "name" else np.stack(arrays).tobytes())
        part.attrs["sha256"], part.attrs["bad"] = digest.hexdigest(), json.dumps(bad)


def _shrink(sample, size):
    """One image and its density at the sizes of both nets, and the deep net's sums over all pixels."""
    from deep import preprocess as deep
    from shallow import preprocess as shallow

    image, density = deep.resize_image(sample.image, size), deep.resize_density(sample.density, size)
    sums = [*image.sum(axis=(1, 2), dtype=np.float64), density.sum(dtype=np.float64)]
    return {"shallow_image": shallow.squash_image(sample.image), "shallow_map": shallow.squash_density(sample.density),
            "deep_image": image, "deep_map": density, "sums": np.array(sums)}


def _put_together(out, parts, size, about):
    """Make the arrays of both nets of the parts, and the manifest, which is returned."""
    import hashlib

    from common.files import atomic, write_json
    from deep import preprocess as deep

    names, sums, bad, digest = _survey(parts)
    if len(names) < 10:
        raise UserError(f"{out}: {len(names)} images could be read, too few to hold some out; "
                        f"the first that could not: {next(iter(bad.values()), '')}")
    counts = {net: len(names) - round(share * len(names)) for net, share in VALIDATION_FRACTION.items()}
    pixels = counts["deep"] * size[0] * size[1]
    total = sums[:counts["deep"]].sum(axis=0)
    mean_bgr, mean_map = [float(value) for value in total[:3] / pixels], float(total[3] / pixels)
    if about["means"] == "authors":
        mean_bgr, mean_map = list(deep.AUTHORS_MEAN_BGR), deep.AUTHORS_MEAN_MAP
    manifest = {
        **about, "images": len(names),
        "shallow": {"train": counts["shallow"], "val": len(names) - counts["shallow"]},
        "deep": {"train": counts["deep"] * (1 + about["mirror"]), "val": len(names) - counts["deep"],
                 "size": list(size), "mean_bgr": mean_bgr, "mean_map": mean_map},
        "left_out": bad, "sha256": hashlib.sha256("".join(digest).encode()).hexdigest(),
    }
    for line in list(bad.values())[:NAMED]:
        print(f"left out: {line}", file=sys.stderr)
    with atomic(out) as folder:
        (folder / "deep").mkdir(parents=True)
        _write_shallow(folder / "shallow.h5", parts, names, counts["shallow"])
        _write_deep(folder / "deep", parts, manifest)
        write_json(folder / "manifest.json", manifest)
    return manifest


def _survey(parts):
    """Names, sums, {name: error} and hashes of all parts."""
    import json


    names, sums, bad, digest = [], [np.zeros((0, 4))], {}, []
    for path in parts:
        with _open_part(path) as part:
            bad.update(json.loads(part.attrs["bad"]))
            digest.append(part.attrs["sha256"])
            if "name" in part:
                names += list(part["name"].asstr())
                sums.append(part["sums"][...])
    return names, np.concatenate(sums), bad, digest


@contextlib.contextmanager
def _open_part(path):
    import h5py

    try:
        with h5py.File(path) as part:
            yield part
    except (OSError, KeyError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run the same command again") from error


def _write_shallow(path, parts, names, train):
    """shallow.h5, a sample after the other."""
    import h5py

    from shallow.preprocess import INPUT_SIZE, MAP_SIZE

    with h5py.File(path, "w") as file:
        for group, rows in (("train", names[:train]), ("val", names[train:])):
            shapes = {"image": ((3, INPUT_SIZE, INPUT_SIZE), "u1"), "map": ((MAP_SIZE, MAP_SIZE), "f4")}
            for name, (shape, dtype) in shapes.items():
                file.create_dataset(f"{group}/{name}", (len(rows), *shape), dtype, chunks=(1, *shape))
            file.create_dataset(f"{group}/name", data=rows, dtype=h5py.string_dtype())
        for index, (image, density) in enumerate(_samples(parts, "shallow_image", "shallow_map")):
            group, row = ("train", index) if index < train else ("val", index - train)
            file[f"{group}/image"][row], file[f"{group}/map"][row] = image, density


def _write_deep(folder, parts, manifest):
    """The deep net's shards: less the means, scaled, and mirrored if that is wanted."""
    from deep import preprocess as deep

    described, shards = manifest["deep"], ShardWriter(folder)
    train = manifest["images"] - described["val"]
    for index, (image, density) in enumerate(_samples(parts, "deep_image", "deep_map")):
        data = deep.to_input(image, described["mean_bgr"])
        label = deep.to_target(density, described["mean_map"])
        shards.add("train" if index < train else "val", data, label)
        if manifest["mirror"] and index < train:
            shards.add("train_mirrored", data[..., ::-1], label[..., ::-1])
    shards.close()


def _samples(parts, *arrays):
    """Samples of all parts in order, as tuples of some of their arrays; memory holds one part."""
    for path in parts:
        with _open_part(path) as part:
            if "name" in part:
                yield from zip(*(part[name][...] for name in arrays))


class ShardWriter:
    """Collects the deep net's samples into HDF5 files that Caffe can hold in memory."""

    def __init__(self, folder):
        self.folder = folder
        self.pending, self.written = defaultdict(list), defaultdict(int)

    def add(self, split, data, label):
        """Take one sample: float32 (3, h, w) and (1, h, w)."""
        self.pending[split].append((data, label))
        if len(self.pending[split]) == SHARD_SIZE:
            self._flush(split)

    def close(self):
        """Write what is left."""
        for split in list(self.pending):
            self._flush(split)

    def _flush(self, split):
        import h5py

        from common.files import need_space

        data, labels = (np.stack(arrays) for arrays in zip(*self.pending.pop(split)))
        need_space(self.folder, data.nbytes + labels.nbytes + (1 << 20))  # HDF5 does not fail tidily
        with h5py.File(self.folder / f"{split}_{self.written[split]:03d}.h5", "w") as shard:
            shard["data"], shard["label"] = data, labels
        self.written[split] += 1


if __name__ == "__main__":
    run(main)
