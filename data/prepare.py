"""python -m data.prepare: what each net trains on, made from any data set.

    OUT/shallow.h5            groups train and val: image uint8 (N, 3, 96, 96) RGB, map float32 (N, 48, 48), name
    OUT/deep/train_000.h5 ... data float32 (n, 3, h, w), label float32 (n, 1, h, w): for Caffe's HDF5Data;
                              val_000.h5 ..., and with --mirror train_mirrored_000.h5 ... likewise
    OUT/manifest.json         source, counts, seed, the means taken off; written last

Images are shuffled once, by name and seed. The shallow net's validation images are the last 20%
(section 3.2), the deep net's the last 10% (section 4.2: 1,000 of 10,000).

This command stands above both nets, whose preprocessing it applies (the constants live there, and
only there); nothing imports it.
"""
import argparse
import os
from collections import defaultdict
from pathlib import Path

from data.arguments import natural_int, positive_int
from data.errors import UserError, run

SEED = 2016
VALIDATION_SHARE = {"shallow": 0.2, "deep": 0.1}  # sections 3.2 and 4.2
# HDF5Data holds one whole file in memory, and fails near 2 GB: at 320x240 this many make 123 MB
SAMPLES_A_SHARD = 100
SHALLOW_BYTES = 40_000  # a sample in shallow.h5, generously


def main():
    """Parse the command line and prepare."""
    parser = argparse.ArgumentParser(prog="python -m data.prepare", description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="synthetic", help="name of the data set (default: %(default)s)")
    parser.add_argument("--data-root", help="where it lies on disk")
    parser.add_argument("--out", required=True, help="folder to write; it appears when all is ready")
    parser.add_argument("--scale", choices=["demo", "paper"], default="demo",
                        help="size of the deep net's images: 128x96 or the paper's 320x240 (default: %(default)s)")
    parser.add_argument("--limit", type=positive_int, metavar="N",
                        help="use only the first N images of the shuffled split")
    parser.add_argument("--mirror", action="store_true",
                        help="the deep net's training images mirrored too, after all the others")
    parser.add_argument("--means", choices=["training", "authors"], default="training",
                        help="what the deep net's images and maps have taken off: the means of these training images, "
                             "or the constants of the authors' code (default: %(default)s)")
    parser.add_argument("--seed", type=natural_int, default=SEED, help="of the shuffle (default: %(default)s)")
    parser.add_argument("--jobs", type=positive_int, default=os.cpu_count(), help="processes (default: all cores)")
    args = parser.parse_args()
    prepare(args.dataset, args.data_root, args.out, args.scale, args.limit, args.seed, args.jobs, args.mirror,
            args.means)


def prepare(dataset, root, out, scale="demo", limit=None, seed=SEED, jobs=1, mirror=False, means="training"):
    """Write `out`, complete or not at all.

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
        Processes that read and shrink images; memory is theirs plus two shards.
    mirror : bool
        Write the deep net's training images mirrored, too. The validation images stay as they are.
    means : "training" or "authors"
        Mean pixel and mean map that are taken off: of these training images (section 4.2), or the authors'
        constants, for comparison with their weights.

    Raises
    ------
    UserError
        The data set cannot be read, or is too small to be split.
    """
    from data.dataset import load, shuffled
    from data.files import atomic, need_space, read_json, write_json
    from deep import preprocess as deep

    wanted = {"dataset": dataset, "root": str(Path(root).resolve()) if root else None, "scale": scale, "seed": seed,
              "limit": limit, "mirror": mirror, "means": means}
    if (Path(out) / "manifest.json").is_file():
        # manifests of earlier versions lack the two
        there = {"mirror": False, "means": "training", **read_json(Path(out) / "manifest.json")}
        if {key: there.get(key) for key in wanted} == wanted:
            print(f"{out}: {there['images']} images of {dataset}, prepared before")
            return
        other = [f"{key} {there.get(key)!r} -> {value!r}" for key, value in wanted.items() if there.get(key) != value]
        raise UserError(f"{out}: was prepared with other settings ({'; '.join(other)}); "
                        "delete it, or give another --out")
    source = load(dataset, "train", root)
    names = shuffled(source.names, seed)[:limit]
    if len(names) < 10:
        raise UserError(f"{dataset}: {len(names)} training images are too few to hold some out; at least 10 are needed")
    size = {"demo": deep.DEMO_TRAIN_SIZE, "paper": deep.TRAIN_SIZE}[scale]
    counts = {net: len(names) - round(share * len(names)) for net, share in VALIDATION_SHARE.items()}
    with atomic(out) as folder:
        (folder / "deep").mkdir(parents=True)
        need_space(folder, len(names) * SHALLOW_BYTES + (len(names) + mirror * counts["deep"]) * sample_bytes(size))
        mean_bgr, mean_map = _write_arrays(folder, source, names, size, counts, jobs, mirror)
        if means == "authors":
            mean_bgr, mean_map = list(deep.AUTHORS_MEAN_BGR), deep.AUTHORS_MEAN_MAP
        _normalise(folder / "deep", mean_bgr, mean_map)
        write_json(folder / "manifest.json", {
            **wanted, "images": len(names),
            "shallow": {"train": counts["shallow"], "val": len(names) - counts["shallow"]},
            "deep": {"train": counts["deep"] * (2 if mirror else 1), "val": len(names) - counts["deep"],
                     "size": list(size),
                     "mean_bgr": mean_bgr, "mean_map": mean_map},
        })
    print(f"{out}: {len(names)} images of {dataset}, deep net at {size[0]}x{size[1]}")


def sample_bytes(size):
    """What an image and its map take in the deep net's files, at (width, height): 1.2 MB at 320x240."""
    return 4 * (3 + 1) * size[0] * size[1]


def _shrink(sample, size):
    """One image and its density at the sizes of both nets; what the worker processes do."""
    from deep import preprocess as deep
    from shallow import preprocess as shallow

    return (shallow.squash_image(sample.image), shallow.squash_density(sample.density),
            deep.resize_image(sample.image, size), deep.resize_density(sample.density, size))


def _write_arrays(folder, source, names, size, counts, jobs, mirror):
    """Fill shallow.h5 and the deep shards, these still as grey levels; return the deep net's means.

    The mean pixel and mean map of section 4.2 are those of the training images, known only when
    all have been read, so `_normalise` takes them off afterwards instead of decoding twice.
    """
    import h5py
    import numpy as np

    from data.parallel import in_parallel
    from shallow.preprocess import INPUT_SIZE, MAP_SIZE

    items = ((source.open(name), size) for name in names)
    shrunk = in_parallel(_shrink, items, jobs, len(names), "preparing")
    sums, total = np.zeros(4), counts["deep"] * size[0] * size[1]
    shards = ShardWriter(folder / "deep", size)
    with h5py.File(folder / "shallow.h5", "w") as shallow:
        for group, rows in (("train", counts["shallow"]), ("val", len(names) - counts["shallow"])):
            shapes = {"image": ((3, INPUT_SIZE, INPUT_SIZE), "u1"), "map": ((MAP_SIZE, MAP_SIZE), "f4")}
            for name, (shape, dtype) in shapes.items():
                shallow.create_dataset(f"{group}/{name}", (rows, *shape), dtype, chunks=(1, *shape))
            shallow.create_dataset(f"{group}/name", (rows,), h5py.string_dtype())
        for index, (name, arrays) in enumerate(zip(names, shrunk)):
            image, density, deep_image, deep_density = arrays
            group, row = ("train", index) if index < counts["shallow"] else ("val", index - counts["shallow"])
            shallow[f"{group}/image"][row], shallow[f"{group}/map"][row] = image, density
            shallow[f"{group}/name"][row] = name
            in_training = index < counts["deep"]
            shards.add("train" if in_training else "val", deep_image, deep_density)
            if in_training:
                if mirror:
                    shards.add("train_mirrored", deep_image[..., ::-1], deep_density[..., ::-1])
                sums[:3] += deep_image.sum(axis=(1, 2), dtype=np.float64)
                sums[3] += deep_density.sum(dtype=np.float64)
    shards.close()
    return [float(value) for value in sums[:3] / total], float(sums[3] / total)


class ShardWriter:
    """Collects the deep net's samples into HDF5 files that Caffe can hold in memory."""

    def __init__(self, folder, size):
        self.folder, self.size = folder, size
        self.pending, self.written = defaultdict(list), defaultdict(int)

    def add(self, split, image, density):
        """Take one sample: image (3, h, w) and density (1, h, w)."""
        self.pending[split].append((image, density))
        if len(self.pending[split]) == SAMPLES_A_SHARD:
            self._flush(split)

    def close(self):
        """Write what is left."""
        for split, samples in self.pending.items():
            if samples:
                self._flush(split)

    def _flush(self, split):
        import h5py
        import numpy as np

        from data.files import need_space

        images, densities = (np.stack(arrays).astype(np.float32) for arrays in zip(*self.pending[split]))
        need_space(self.folder, images.nbytes + densities.nbytes + (1 << 20))  # HDF5 does not fail tidily
        with h5py.File(self.folder / f"{split}_{self.written[split]:03d}.h5", "w") as shard:
            shard["data"], shard["label"] = images, densities
        self.pending[split] = []
        self.written[split] += 1


def _normalise(folder, mean_bgr, mean_map):
    """Take the means off and scale, shard by shard, in place."""
    import h5py

    from deep import preprocess as deep

    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path, "r+") as shard:
            shard["data"][...] = deep.to_input(shard["data"][...], mean_bgr)
            shard["label"][...] = deep.to_target(shard["label"][...], mean_map)


if __name__ == "__main__":
    run(main)
