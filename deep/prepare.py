"""python -m deep.prepare: prepare the training data of the deep net from any data set.

OUT/train_000.h5, val_000.h5 and so on are shards for Caffe's HDF5Data layer: data, float32 (n, 3, h, w) BGR, and label,
float32 (n, 1, h, w); with --mirror also train_mirrored_000.h5. The values of data lie in about [-1, 1]; label is the
density map in grey levels minus its mean, times 2/255 (about -0.24 to 1.76 with the authors' mean). OUT/manifest.json
lists the data set, the settings, the numbers of images, the subtracted means, the images left out, and hashes of the
data. The last 10% of the shuffled images are for validation (section 4.2). The same command resumes an interrupted
preparation.
"""
from collections import defaultdict
from functools import partial

import numpy as np

from common.arguments import Parser
from common.errors import run
from common.files import need_space
from data import parts

VALIDATION_FRACTION = 0.1  # section 4.2: 1,000 of 10,000
# HDF5Data holds one whole file in memory, and fails near 2 GB. At 320x240, 100 images are 123 MB.
SHARD_SIZE = 100


def main():
    """Parse the command line and prepare."""
    parser = Parser("deep.prepare", __doc__)
    parts.add_arguments(parser)
    parser.add_argument("--preset", choices=["demo", "paper"], default="demo",
                        help="size of the images: 192x144 or the paper's 320x240 (default: %(default)s)")
    parser.add_argument("--mirror", action="store_true",
                        help="add mirrored copies of the training images, written last, in train_mirrored_*.h5")
    parser.add_argument("--means", choices=["training", "authors"], default="training",
                        help="means to subtract from images and density maps: computed from the training images, or "
                             "the constants of the authors' code (default: %(default)s)")
    args = parser.parse_args()
    prepare(args.dataset, args.data_root, args.out, args.preset, args.mirror, args.means, limit=args.limit,
            seed=args.seed, jobs=args.jobs, skip_bad=args.skip_bad)


def prepare(dataset, root, out, preset="demo", mirror=False, means="training", **options):
    """Write the shards and manifest.json into the folder `out`; memory holds two shards.

    Parameters
    ----------
    dataset, root, out, **options : see `data.parts.prepare`, also for the errors raised
    preset : "demo" or "paper"
        Size of the images.
    mirror : bool
        Write mirrored copies of the training images, too. The validation images stay as they are.
    means : "training" or "authors"
        Subtract the mean pixel and the mean of the density maps of these training images (section 4.2), or the
        authors' constants, to compare with their weights.
    """
    from deep import preprocess

    size = {"demo": preprocess.DEMO_TRAIN_SIZE, "paper": preprocess.TRAIN_SIZE}[preset]
    copies = 1 + mirror * (1 - VALIDATION_FRACTION)
    job = parts.Job("deep", compute_arrays, partial(write_shards, size=size, mirror=mirror, means=means),
                    VALIDATION_FRACTION, part_bytes=7 * size[0] * size[1],  # uint8 image, float32 density map
                    output_bytes=round(copies * bytes_per_image(size)), code=[__file__, preprocess.__file__],
                    arguments=(size,), settings={"preset": preset, "mirror": mirror, "means": means})
    parts.prepare(job, dataset, root, out, **options)


def bytes_per_image(size):
    """Return the disk space of an image and its density map in a shard, at (width, height): 1.2 MB at 320x240."""
    return 4 * (3 + 1) * size[0] * size[1]


def compute_arrays(sample, size):
    """Resize the image and the density map of a sample, and sum each over all pixels for the means.

    Parameters
    ----------
    sample : data.dataset.Sample
    size : (width, height)

    Returns
    -------
    dict
        image, uint8 (3, height, width) BGR; map, float32 (1, height, width), grey levels 0..255; sums, float64 (4,): of
        blue, green, red and of the map.
    """
    from deep.preprocess import resize_density, resize_image

    image, density = resize_image(sample.image, size), resize_density(sample.density, size)
    sums = [*image.sum(axis=(1, 2), dtype=np.float64), density.sum(dtype=np.float64)]
    return {"image": image, "map": density, "sums": np.array(sums)}


def write_shards(folder, names, train, read, size, mirror, means):
    """Subtract the means, scale, mirror if asked, and write the shards; see `data.parts.Job` and `prepare`."""
    from deep import preprocess

    mean_bgr, mean_map = preprocess.AUTHORS_MEAN_BGR, preprocess.AUTHORS_MEAN_MAP
    if means == "training":
        total = np.array([sums for sums, in read("sums")])[:train].sum(axis=0)
        *mean_bgr, mean_map = (float(value) for value in total / (train * size[0] * size[1]))
    shards = ShardWriter(folder)
    for index, (image, density) in enumerate(read("image", "map")):
        data, label = preprocess.to_input(image, mean_bgr), preprocess.to_target(density, mean_map)
        shards.add("train" if index < train else "val", data, label)
        if mirror and index < train:
            shards.add("train_mirrored", data[..., ::-1], label[..., ::-1])
    shards.close()
    return {"train": train * (1 + mirror), "size": list(size), "mean_bgr": list(mean_bgr), "mean_map": mean_map}


class ShardWriter:
    """Collects samples into HDF5 files of `SHARD_SIZE`, which Caffe can hold in memory."""

    def __init__(self, folder):
        self.folder = folder
        self.pending, self.written = defaultdict(list), defaultdict(int)

    def add(self, split, data, label):
        """Add one sample: float32 (3, h, w) and (1, h, w)."""
        self.pending[split].append((data, label))
        if len(self.pending[split]) == SHARD_SIZE:
            self._flush(split)

    def close(self):
        """Write the samples that do not fill a shard."""
        for split in list(self.pending):
            self._flush(split)

    def _flush(self, split):
        import h5py

        data, labels = (np.stack(arrays) for arrays in zip(*self.pending.pop(split)))
        need_space(self.folder, data.nbytes + labels.nbytes + (1 << 20))  # h5py leaves a damaged file on a full disk
        with h5py.File(self.folder / f"{split}_{self.written[split]:03d}.h5", "w") as shard:
            shard["data"], shard["label"] = data, labels
        self.written[split] += 1


if __name__ == "__main__":
    run(main)
