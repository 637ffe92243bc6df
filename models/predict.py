"""python -m models.predict: saliency maps for pictures, or for the test images of a data set.

Writes OUT/predictions.h5 with one float32 map an image, and for pictures also OUT/<name>.png: the
map in grey, as bright as people are expected to look. A picture that cannot be read is named and
left out; the exit code says that there was one.
"""
import argparse
import sys
from pathlib import Path

from data.arguments import positive_int
from data.errors import UserError, run
from models import NETS, load


def main():
    """Parse the command line and predict."""
    parser = argparse.ArgumentParser(prog="python -m models.predict", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--net", choices=NETS, required=True)
    parser.add_argument("--weights", required=True, help="weights.npz (shallow) or .caffemodel (deep)")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", help="an image, or a folder of images")
    what.add_argument("--dataset", help="the images of this data set on which models are scored instead")
    parser.add_argument("--data-root", help="where the data set lies on disk")
    parser.add_argument("--split", help="of the data set; default: test, or val where test has no public fixations")
    parser.add_argument("--limit", type=positive_int, help="only the first so many images")
    parser.add_argument("--option", action="append", default=[], type=_option, metavar="NAME=VALUE",
                        help="of the net's Predictor: fit=crop, smoothing=released (shallow), scaling=consistent, "
                             "longest_side=512 (deep); may be given several times")
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args()

    from data.files import image_files, read_image

    if args.images:
        files = image_files(args.images)
        if Path(args.out).resolve() in {path.parent.resolve() for path in files}:
            raise UserError(f"{args.out}: is where the pictures are, and maps would overwrite them; give another --out")
        names = _unique_names(files)
        sources = [(name, lambda path=path: read_image(path)) for name, path in zip(names, files)]
    else:
        from data.dataset import load as load_dataset
        from data.dataset import scored_split
        dataset = load_dataset(args.dataset, args.split or scored_split(args.dataset), args.data_root)
        sources = [(name, lambda name=name: dataset.open(name).image) for name in dataset.names]
    predictor = load(args.net, args.weights, **dict(args.option))
    failed = predict_all(predictor, sources[:args.limit], Path(args.out), args.net,
                         pictures=bool(args.images))
    return 1 if failed else 0


def predict_all(predictor, sources, out, model, pictures):
    """Predict and write, image by image; memory holds one.

    Parameters
    ----------
    predictor : Predictor
    sources : list of (name, callable () -> uint8 (H, W, 3))
    out : path of a folder
    model : str, stored with the maps
    pictures : bool
        Write PNGs too, and go on after a picture that cannot be read; a data set must be whole.

    Returns
    -------
    int
        Number of images that could not be read; each was named on stderr.

    Raises
    ------
    UserError
        Not one image could be read, or nothing can be written to `out`.
    """
    from data.maps import write_maps
    from data.pictures import write_png
    from data.progress import progress

    failed = 0
    with write_maps(out / "predictions.h5", model) as store:
        for name, read in progress(sources, description=f"{model} net predicts"):
            try:
                image = read()
            except UserError as error:
                if not pictures:
                    raise
                print(f"\nleft out: {error}", file=sys.stderr)
                failed += 1
                continue
            saliency = predictor.predict(image)
            store(name, saliency)
            if pictures:
                write_png(out / f"{name}.png", (saliency * 255).round().astype("uint8"))
        if failed == len(sources):
            raise UserError("not one of the images could be read; nothing was written")
    print(f"{out}: {len(sources) - failed} maps" + (f", {failed} unreadable images left out" if failed else ""))
    return failed


def _option(text):
    """"name=value" -> (name, value), whole numbers as numbers."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, int(value) if value.isdecimal() else value


def _unique_names(files):
    """The files' stems, or their whole names where two stems are the same (a.jpg and a.png)."""
    stems = [path.stem for path in files]
    return stems if len(set(stems)) == len(stems) else [path.name for path in files]


if __name__ == "__main__":
    run(main)
