"""python -m shallow.prepare: prepare the training data of the shallow net from any data set.

OUT/shallow.h5 holds the groups train and val, each with image, uint8 (N, 3, 96, 96) RGB, map, float32 (N, 48, 48) in
[0, 1], and name. OUT/manifest.json holds the source, the settings, the counts, the images left out, and hashes. The
last 20% of the shuffled images are for validation (section 3.2). The same command resumes an interrupted preparation.
"""
from common.arguments import Parser
from common.errors import run
from data import parts

VALIDATION_FRACTION = 0.2  # section 3.2
BYTES_PER_IMAGE = 40_000  # in a part and in shallow.h5: 36,864 of arrays, the rest of HDF5


def main():
    """Parse the command line and prepare."""
    parser = Parser("shallow.prepare", __doc__)
    parts.add_arguments(parser)
    args = parser.parse_args()
    prepare(args.dataset, args.data_root, args.out, limit=args.limit, seed=args.seed, jobs=args.jobs,
            skip_bad=args.skip_bad)


def prepare(dataset, root, out, **options):
    """Write shallow.h5 and manifest.json into the folder `out`; arguments and errors as `data.parts.prepare`."""
    from shallow import preprocess

    job = parts.Job("shallow", compute_arrays, write_arrays, VALIDATION_FRACTION, part_bytes=BYTES_PER_IMAGE,
                    output_bytes=BYTES_PER_IMAGE, code=[__file__, preprocess.__file__])
    parts.prepare(job, dataset, root, out, **options)


def compute_arrays(sample):
    """Squash the image and the density map of a sample: uint8 (3, 96, 96) RGB, float32 (48, 48) in [0, 1]."""
    from shallow.preprocess import squash_density, squash_image

    return {"image": squash_image(sample.image), "map": squash_density(sample.density)}


def write_arrays(folder, names, train, read):
    """Write shallow.h5, sample by sample; see `data.parts.Job`."""
    import h5py

    from shallow.preprocess import INPUT_SIZE, MAP_SIZE

    shapes = {"image": ((3, INPUT_SIZE, INPUT_SIZE), "u1"), "map": ((MAP_SIZE, MAP_SIZE), "f4")}
    with h5py.File(folder / "shallow.h5", "w") as file:
        for group, rows in (("train", names[:train]), ("val", names[train:])):
            for name, (shape, dtype) in shapes.items():
                file.create_dataset(f"{group}/{name}", (len(rows), *shape), dtype, chunks=(1, *shape))
            file.create_dataset(f"{group}/name", data=rows, dtype=h5py.string_dtype())
        for index, (image, density) in enumerate(read("image", "map")):
            group, row = ("train", index) if index < train else ("val", index - train)
            file[f"{group}/image"][row], file[f"{group}/map"][row] = image, density
    return {}


if __name__ == "__main__":
    run(main)
