"""python -m models.predict: saliency maps for pictures, videos, or the images of a data set.

Writes OUT/predictions.h5 with one float32 map an image, and what --formats names: png (the map in grey, as bright as
people are expected to look), overlay (a heat map over the picture), npy; lsun, salicon and mit300 are what these
challenges want to be sent. Of a video, OUT/NAME.mp4 shows the heat map over each frame. A picture that cannot
be read is named and left out; the exit code says that there was one.
"""
import argparse
import contextlib
import glob
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from common.arguments import option, positive_int
from common.errors import UserError, run
from models import NETS, load

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
PICTURES = ("png", "overlay", "npy")
CHALLENGES = ("lsun", "salicon", "mit300")
BATCH_OF_OVERLAYS = 8  # these keep the pictures themselves in memory
ANNOUNCED = 0.98  # share of the frames that a video says it has, fewer than which are an error: some round
SPACE_EVERY = 50  # frames of a video between two looks at the disk, of which OpenCV does not tell when it is full
THREADS = 2  # that decode the next images, and write the last ones, while the net works


def main():
    """Parse the command line and predict."""
    parser = argparse.ArgumentParser(prog="python -m models.predict", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--net", choices=NETS, required=True)
    parser.add_argument("--weights", required=True, help="weights.npz (shallow) or .caffemodel (deep)")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", nargs="+", help="pictures, folders of pictures, patterns like 'a/*.jpg', or videos")
    what.add_argument("--dataset", help="the images of this data set on which models are scored instead")
    parser.add_argument("--data-root", help="where the data set lies on disk")
    parser.add_argument("--split", help="of the data set; default: test, or val where test has no public fixations")
    parser.add_argument("--limit", type=positive_int, help="only the first so many images")
    parser.add_argument("--option", action="append", default=[], type=option, metavar="NAME=VALUE",
                        help="of the net's Predictor: fit=crop, smoothing=released (shallow), scaling=consistent, "
                             "longest_side=512, engine=opencv (deep); may be given several times")
    parser.add_argument("--formats", nargs="+", choices=[*PICTURES, *CHALLENGES], metavar="FORMAT",
                        help=f"of {', '.join([*PICTURES, *CHALLENGES])}; default: png for pictures")
    parser.add_argument("--model", help="its name in files for challenges (default: the net's)")
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args()

    write, videos = args.formats or (["png"] if args.images else []), []
    if args.limit and set(write) & set(CHALLENGES):
        raise UserError(f"{', '.join(write)}: a challenge wants a map of every image; leave --limit out")
    if args.images:
        sources, videos = find_sources(args.images, Path(args.out))
    else:
        sources = _of_dataset(args)
    if not (sources or videos):
        raise UserError(f"{' '.join(args.images or [args.dataset])}: no picture and no video there; check the path")
    predictor = load(args.net, args.weights, **dict(args.option))
    failed = 0
    for name, path in videos:
        try:
            predict_video(predictor, path, Path(args.out) / f"{name}.mp4", args.limit)
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr)
            failed += 1
    if sources:
        failed += predict_all(predictor, sources[:args.limit], Path(args.out), args.model or args.net, write,
                              whole=not args.images, split=args.split)
    return 1 if failed else 0


def find_sources(patterns, out):
    """Pictures and videos that files, folders and patterns name.

    Parameters
    ----------
    patterns : list of str
    out : Path
        Where maps go; not where pictures are.

    Returns
    -------
    (list of (name, shape, read), list of (name, Path))
        Of pictures, `shape` and `read` are callables: (H, W) from the file's header, uint8 (H, W, 3) RGB; and videos.

    Raises
    ------
    UserError
        The only pattern names nothing, a folder has no pictures, or `out` would overwrite pictures.
    """
    from common.images import IMAGE_SUFFIXES, image_files, image_shape, read_image

    files = []
    for pattern in patterns:
        found = [Path(pattern)] if Path(pattern).exists() else sorted(map(Path, glob.glob(pattern, recursive=True)))
        if not found and len(patterns) == 1:
            raise UserError(f"{pattern}: no such file or folder; check the path given for the images")
        for path in found or [Path(pattern)]:  # one that is not there is named when it is to be read; the others go on
            inside = sorted(path.iterdir()) if path.is_dir() else []
            films = [each for each in inside if each.suffix.lower() in VIDEO_SUFFIXES]
            if path.is_dir() and (films or not Path(pattern).exists()):  # where nothing else may be, pictures must be
                files += films + [each for each in inside if each.suffix.lower() in IMAGE_SUFFIXES]
            else:
                files += image_files(path) if path.is_dir() else [path]
    files = list({path.resolve(): path for path in files}.values())
    if out.resolve() in {path.parent.resolve() for path in files}:
        raise UserError(f"{out}: is where the pictures are, and maps would overwrite them; give another --out")
    named = list(zip(unique_names(files), files))
    return ([(name, lambda path=path: image_shape(path), lambda path=path: read_image(path))
             for name, path in named if path.suffix.lower() not in VIDEO_SUFFIXES],
            [(name, path) for name, path in named if path.suffix.lower() in VIDEO_SUFFIXES])


def predict_all(predictor, sources, out, model, write=(), whole=False, split=None):
    """Predict and write; memory holds two batches of what the nets are fed and answer, and with overlays of pictures.

    The shallow net answers `batch_size` images at a time; the deep net takes them one by one, those of one size after
    each other, since Caffe lays its memory out anew for another size.

    Parameters
    ----------
    predictor : Predictor
    sources : list of (name, shape, read) as of `find_sources`
    out : path of a folder
    model : str, stored with the maps
    write : collection of str
        Of `PICTURES` and `CHALLENGES`.
    whole : bool
        Stop at the first image that cannot be read, as a data set must be whole, instead of going on.
    split : str or None
        Of the data set; the salicon format's name wants it.

    Returns
    -------
    int
        Number of images that could not be read; each was named on stderr.

    Raises
    ------
    UserError
        Not one image could be read, or nothing can be written to `out`.
    """
    from common.progress import progress
    from data.maps import write_maps
    from models import exports

    failed, batch = 0, getattr(predictor, "batch_size", 1)
    if "overlay" in write:
        batch = min(batch, BATCH_OF_OVERLAYS)
    targets = {kind: exports.target(kind, out, model, split) for kind in CHALLENGES if kind in write}
    if batch == 1:
        sources = sorted(sources, key=_shape_or_none)
    groups = [sources[start:start + batch] for start in range(0, len(sources), batch)]
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(exports.writing(kind, path, model)) for kind, path in targets.items()]
        store = stack.enter_context(write_maps(out / "predictions.h5", model))
        bar = stack.enter_context(progress(total=len(sources), description=f"{model} net predicts"))
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))

        def finish(futures):
            for future in futures:
                name, saliency = future.result()
                for add in (store, *writers):
                    add(name, saliency)

        finishing = []
        for group in _ahead(pool, groups, predictor, "overlay" in write):
            for one in group:
                if isinstance(one, UserError):
                    if whole:
                        raise one
                    print(f"\nleft out: {one}", file=sys.stderr)
                    failed += 1
            good = [one for one in group if not isinstance(one, UserError)]
            answers = predictor.forward(np.stack([fed for *_, fed in good])) if good else []
            finish(finishing)
            finishing = [pool.submit(_finished, predictor, out, name, shape, image, answer, write)
                         for (name, shape, image, _), answer in zip(good, answers)]
            bar.update(len(group))
        finish(finishing)
        if failed == len(sources):
            raise UserError("not one of the images could be read; nothing was written")
        if failed and targets:
            raise UserError(f"{', '.join(targets)}: a challenge wants a map of every image, and {failed} could not be "
                            "read; nothing was written")
    for kind, path in targets.items():
        exports.check(kind, path, {name: shape() for name, shape, _ in sources})
        print(f"{path}: {len(sources)} maps, read again")
    print(f"{out}: {len(sources) - failed} maps" + (f", {failed} unreadable images left out" if failed else ""))
    return failed


def predict_video(predictor, path, out, limit=None):
    """Lay a heat map over each frame of a video.

    Parameters
    ----------
    predictor : Predictor
    path : path of a video that OpenCV can read
    out : path of the .mp4 to write; without sound
    limit : int or None
        Frames.

    Raises
    ------
    UserError
        The video cannot be read, or ends early, or OpenCV cannot write one here.
    """
    import cv2

    from common.drawing import overlay
    from common.files import atomic, need_space
    from common.progress import progress

    video = cv2.VideoCapture(str(path))
    read, frame = video.read()
    if not read:
        raise UserError(f"{path}: not one frame can be read as a video; is it one, and not cut off?")
    count, writer = 0, None
    announced = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    total = min(filter(None, (announced, limit)), default=None)
    with atomic(out) as scratch, progress(total=total, description=path.name, unit="frame") as bar:
        try:
            writer = cv2.VideoWriter(str(scratch), cv2.VideoWriter_fourcc(*"mp4v"), video.get(cv2.CAP_PROP_FPS) or 25,
                                     frame.shape[1::-1])
            if not writer.isOpened():
                raise UserError(f"{out}: OpenCV cannot write a video here; extract frames, and predict those")
            while read and (limit is None or count < limit):
                if count % SPACE_EVERY == 0:
                    need_space(scratch.parent, SPACE_EVERY * frame.nbytes)
                image = np.ascontiguousarray(frame[:, :, ::-1])
                writer.write(np.ascontiguousarray(overlay(image, predictor.predict(image))[:, :, ::-1]))
                count += 1
                bar.update()
                read, frame = video.read()
        finally:
            video.release()
            if writer is not None:
                writer.release()
    print(f"{out}: {count} frames")
    if total and count < ANNOUNCED * total:
        raise UserError(f"{path}: announces {announced} frames and gave {count}; is it cut off? {out} has those")


def _of_dataset(args):
    """Sources of a data set's images."""
    from data.dataset import load as load_dataset
    from data.dataset import scored_split

    args.split = args.split or scored_split(args.dataset)
    dataset = load_dataset(args.dataset, args.split, args.data_root)
    return [(name, lambda name=name: dataset.open(name).shape, lambda name=name: dataset.open(name).image)
            for name in dataset.names]


def _ahead(pool, groups, predictor, keep):
    """What is to be fed for each group of sources; the next group is read while this one is worked on."""
    pending = None
    for group in [*groups, None]:
        coming = None if group is None else [pool.submit(_fed, predictor, keep, *source) for source in group]
        if pending is not None:
            yield [future.result() for future in pending]
        pending = coming


def _fed(predictor, keep, name, _shape, read):
    """(name, shape, the image if it is to be kept, what the net is fed), or the UserError that says why not."""
    try:
        image = read()
    except UserError as error:
        return error
    return name, image.shape[:2], image if keep else None, predictor.preprocess(image)


def _finished(predictor, out, name, shape, image, answer, write):
    """(name, map) of the net's answer, once its pictures are written."""
    saliency = predictor.postprocess(answer, shape)
    _write_pictures(out, name, image, saliency, write)
    return name, saliency


def _write_pictures(out, name, image, saliency, write):
    from common.drawing import overlay
    from common.files import atomic
    from common.images import write_png
    from models.exports import to_grey

    if "png" in write:
        write_png(out / f"{name}.png", to_grey(saliency))
    if "overlay" in write:
        write_png(out / f"{name}_overlay.png", overlay(image, saliency))
    if "npy" in write:
        with atomic(out / f"{name}.npy") as scratch:
            np.save(scratch, saliency)


def _shape_or_none(source):
    """A key that brings images of one size together; unreadable ones come first and are told of when they are read."""
    try:
        return source[1]()
    except UserError:
        return (0, 0)


def unique_names(files):
    """A name for the maps of each file: its stem if no other has it, its whole name, or its folder's beside it."""
    names, taken, stems = [], set(), Counter(path.stem for path in files)
    for path in files:
        candidates = [path.stem if stems[path.stem] == 1 else path.name, path.name,
                      f"{path.resolve().parent.name}_{path.name}",
                      *(f"{path.stem}_{number}" for number in range(2, len(files) + 2))]
        for candidate in candidates:
            name = os.fsencode(candidate).decode("utf-8", "replace")  # HDF5's names are UTF-8, files' need not be
            written = {name, f"{name}_overlay"}
            if not written & taken:
                break
        names.append(name)
        taken |= written
    return names


if __name__ == "__main__":
    run(main)
