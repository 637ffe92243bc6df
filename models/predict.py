"""python -m models.predict: predict saliency maps for images, videos, or the images of a data set.

Writes OUT/predictions.h5 with one float32 map per image, and the files that --formats names: png (the map in grey),
overlay (a heat map over the image) and npy for each image; lsun, salicon and mit300 (submission
files for these challenges). For each
video it writes OUT/NAME.mp4, with the heat map over each frame. An image or video that cannot be read is reported and
left out, and the exit code is 1.
"""
import contextlib
import copy
import glob
import os
import shlex
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.arguments import Parser, option, positive_int
from common.drawing import overlay
from common.errors import UserError, run, show_names
from common.files import atomic, need_space
from common.images import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES, image_files, image_shape, read_image, write_png
from common.progress import progress
from data.dataset import Sample, scored_split
from data.maps import PREDICTIONS, write_maps
from data.options import add_dataset_arguments, open_dataset
from models import NETS, exports, load

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
IMAGE_FORMATS = ("png", "overlay", "npy")
CHALLENGES = ("lsun", "salicon", "mit300")
OVERLAY_BATCH_SIZE = 8  # at most, since overlays need the images in memory
MIN_FRAMES_FRACTION = 0.98  # minimum fraction of the announced frames that must decode; some files round the number
SPACE_CHECK_FRAMES = 50  # frames between two checks of the free space; OpenCV does not report a full disk
DEFAULT_FPS = 25  # of a video whose file has no frame rate
THREADS = 2  # threads that read the next images and write the last maps while the net runs


def main():
    """Parse the command line and predict."""
    args = parse_arguments()
    out, split, formats = Path(args.out), args.split, args.formats
    if args.images:
        samples, videos = find_sources(args.images, out)
        formats = formats or ["png"]
    else:
        split = split or scored_split(args.dataset)
        samples, videos = list(open_dataset(args.dataset, split, args.data_root)), []
    if args.limit and set(formats) & set(CHALLENGES):
        raise UserError(f"{', '.join(formats)}: a challenge needs a map of every image; leave --limit out")
    if not (samples or videos):
        raise UserError(f"{' '.join(args.images or [args.dataset])}: no image and no video there; check the path")
    if not os.path.isfile(args.weights):
        raise UserError(f"{args.weights}: no such file; make train-{args.net} makes it, or give WEIGHTS=file")
    predictor = load(args.net, args.weights, **dict(args.option))
    failures = predict_videos(predictor, videos, out, args.limit)
    if samples:
        failures += predict_all(predictor, samples[:args.limit], out, args.model or args.net, formats,
                                complete=args.dataset is not None, split=split)
    return 1 if failures else 0


def parse_arguments():
    """Parse the command line; exit with code 2 if an option or value is wrong."""
    parser = Parser("models.predict", __doc__)
    parser.add_argument("--net", choices=NETS, required=True, help="net to use")
    parser.add_argument("--weights", required=True, help="weights.npz (shallow) or .caffemodel (deep)")
    parser.add_argument("--images", nargs="+", metavar="PATH",
                        help="image files, folders of images, patterns such as 'a/*.jpg', or videos; a quoted list of "
                             "paths is split at spaces")
    add_dataset_arguments(parser)
    parser.add_argument("--split", help="split of the data set (default: test, or val if the fixations of the test "
                                        "split are not public)")
    parser.add_argument("--limit", type=positive_int, metavar="N",
                        help="predict only the first N images, and the first N frames of a video")
    parser.add_argument("--option", action="append", default=[], type=option, metavar="NAME=VALUE",
                        help="option of the net's Predictor: fit=crop, smoothing=released (shallow), "
                             "scaling=consistent, resizing=area, longest_side=512, engine=opencv (deep), engine=torch, "
                             "device=cpu (both); may be given several times")
    parser.add_argument("--formats", nargs="+", default=[], choices=[*IMAGE_FORMATS, *CHALLENGES], metavar="FORMAT",
                        help=f"any of {', '.join([*IMAGE_FORMATS, *CHALLENGES])} (default: png with --images)")
    parser.add_argument("--model", help="model name in challenge submissions (default: the name of the net)")
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args()
    if (args.images is None) == (args.dataset is None):
        parser.error("give either --images or --dataset")
    return args


@dataclass
class Failure:
    """An image or a video that could not be read."""

    name: str
    error: UserError

    def report(self):
        """Print the error on stderr; on a terminal, below the progress bar."""
        print("\n" * sys.stderr.isatty() + f"left out: {self.error}", file=sys.stderr)


@dataclass
class _NetInput:
    """An image as the net takes it: `array` float32 (channels, h, w), `shape` of the image, the image for overlays."""

    name: str
    shape: tuple
    array: np.ndarray
    image: np.ndarray | None


def find_sources(arguments, out):
    """Find the images and videos that paths, folders and patterns name.

    Parameters
    ----------
    arguments : list of str
        Each a path or a pattern, or several of them, see `split_patterns`.
    out : Path
        Folder of the maps; an error if images are in it.

    Returns
    -------
    (list of Sample, list of (str, Path))
        The images, as samples without fixations; names and paths of the videos.

    Raises
    ------
    UserError
        Nothing is given, a single pattern matches nothing, a folder has no images, or `out` would overwrite images.
    """
    patterns = [pattern for argument in arguments for pattern in split_patterns(argument)]
    if not patterns:
        raise UserError("which images? make predict IMAGES=file-or-folder, or --images file-or-folder")
    if len(patterns) == 1 and not _matches(patterns[0]):
        raise UserError(f"{patterns[0]}: no such file or folder; check the path given for the images")
    files = [file for pattern in patterns for file in _files_of(pattern)]
    files = list({path.resolve(): path for path in files}.values())
    if out.resolve() in {path.parent.resolve() for path in files}:
        raise UserError(f"{out}: contains the images, and maps would overwrite them; give another --out")
    named = list(zip(unique_names(files), files))
    return ([_image_sample(name, path) for name, path in named if path.suffix.lower() not in VIDEO_SUFFIXES],
            [(name, path) for name, path in named if path.suffix.lower() in VIDEO_SUFFIXES])


def split_patterns(argument):
    """Split an argument that holds several paths and patterns, such as "film.mp4 more/*.png", as a shell does.

    An argument that names a path as it is, or a pattern that matches one, stays whole, with its white space.

    Returns
    -------
    list of str

    Raises
    ------
    UserError
        A quote is not closed.
    """
    if _matches(argument) or not any(map(str.isspace, argument)):
        return [argument] if argument else []
    try:
        return shlex.split(argument)
    except ValueError as error:
        raise UserError(f"{argument}: cannot be split into paths ({error}); close the quote") from error


def _matches(pattern):
    """List the paths that a path or a pattern names."""
    return [Path(pattern)] if os.path.exists(pattern) else sorted(map(Path, glob.glob(pattern, recursive=True)))


def _files_of(pattern):
    """List the images and videos that a path or a pattern names, those in a folder included."""
    files = []
    for path in _matches(pattern) or [Path(pattern)]:  # a missing file is reported later, when it is read
        if not os.path.isdir(path):
            files.append(path)
            continue
        contents = sorted(path.iterdir())
        _warn_of_other_images(path, contents)
        videos = [file for file in contents if file.suffix.lower() in VIDEO_SUFFIXES]
        if videos or not os.path.exists(pattern):
            files += videos + [file for file in contents if file.suffix.lower() in IMAGE_SUFFIXES]
        else:
            files += image_files(path)  # a folder that is named itself must have images
    return files


def _warn_of_other_images(folder, contents):
    """Name the images of a folder that cannot be read because of their format."""
    other = [file.name for file in contents if file.suffix.lower() in OTHER_IMAGE_SUFFIXES]
    if other:
        print(f"warning: {folder}: {len(other)} files are passed over, the first is {show_names(other[0])}; "
              "convert them to PNG or JPEG", file=sys.stderr)


def _image_sample(name, path):
    """Return the sample of an image file; it has no fixations."""
    shapes = []

    def read():
        image = read_image(path)
        shapes.append(image.shape[:2])  # `image_shape` may decode the whole image
        return image

    return Sample(name, lambda: shapes[0] if shapes else image_shape(path), read, None, sigma=0)


def unique_names(files):
    """Choose a different name for the maps of each file.

    Parameters
    ----------
    files : list of Path

    Returns
    -------
    list of str
        The file's stem if it is unique; otherwise its whole name, that with its folder's name, or its stem with a
        number.
    """
    names, taken, stems = [], set(), Counter(path.stem for path in files)
    for path in files:
        candidates = [path.stem if stems[path.stem] == 1 else path.name, path.name,
                      f"{path.resolve().parent.name}_{path.name}",
                      *(f"{path.stem}_{number}" for number in range(2, len(files) + 2))]
        for candidate in candidates:
            # names in HDF5 are UTF-8, file names may not be
            name = os.fsencode(candidate).decode("utf-8", "replace")
            written = {name, f"{name}_overlay"}
            if not written & taken:
                break
        names.append(name)
        taken |= written
    return names


def predict_all(predictor, samples, out, model, formats=(), complete=False, split=None):
    """Predict the saliency maps of all samples and write them.

    Memory holds the inputs and outputs of two batches, and with overlays their images. A net with batch size 1 takes
    the images in order of size, since Caffe allocates its memory anew for each change of size.

    Parameters
    ----------
    predictor : common.predictor.Predictor
    samples : list of Sample
    out : Path of a folder
    model : str
        Stored with the maps, and part of the file names of a challenge.
    formats : collection of str
        Of `IMAGE_FORMATS` and `CHALLENGES`.
    complete : bool
        Raise the error of the first image that cannot be read, as for a data set, instead of leaving the image out.
    split : str or None
        Split of the data set, part of the file name of "salicon".

    Returns
    -------
    list of Failure
        The images that could not be read; each was reported on stderr.

    Raises
    ------
    UserError
        No image could be read, a challenge would lack a map, or a file cannot be written.
    """
    exported = {kind: exports.export_path(kind, out, model, split) for kind in CHALLENGES if kind in formats}
    failures = []
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(exports.open_export(kind, path, model)) for kind, path in exported.items()]
        writers.append(stack.enter_context(write_maps(out / PREDICTIONS, model)))
        bar = stack.enter_context(progress(total=len(samples), description=f"predicting ({model})"))
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        for maps, unreadable in _predict_batches(pool, predictor, _batches(samples, predictor, formats), out, formats):
            if unreadable and complete:
                raise unreadable[0].error
            for failure in unreadable:
                failure.report()
            failures += unreadable
            for name, saliency in maps:
                for write in writers:
                    write(name, saliency)
            bar.update(len(maps) + len(unreadable))
        if len(failures) == len(samples):
            raise UserError("none of the images could be read; nothing was written")
        if failures and exported:
            raise UserError(f"{', '.join(exported)}: a challenge needs a map of every image, and {len(failures)} could "
                            "not be read; nothing was written")
    for kind, path in exported.items():
        exports.check_export(kind, path, {sample.name: sample.shape for sample in samples})
        print(f"{path}: {len(samples)} maps, checked")
    print(f"{out}: {len(samples) - len(failures)} maps"
          + (f", {len(failures)} unreadable images left out" if failures else ""))
    return failures


def _batches(samples, predictor, formats):
    """Split samples into lists of the net's batch size."""
    size = min(predictor.batch_size, OVERLAY_BATCH_SIZE) if "overlay" in formats else predictor.batch_size
    if size == 1:
        samples = sorted(samples, key=_shape_or_zero)
    return [samples[start:start + size] for start in range(0, len(samples), size)]


def _shape_or_zero(sample):
    """Return the shape of a sample's image; (0, 0) if it cannot be read, which is reported when it is predicted."""
    try:
        return sample.shape
    except UserError:
        return (0, 0)


def _predict_batches(pool, predictor, batches, out, formats):
    """Predict batch by batch: while the net runs, threads read the next batch and finish the last one.

    Parameters
    ----------
    pool : ThreadPoolExecutor
    predictor, out, formats : as in `predict_all`
    batches : list of lists of Sample

    Yields
    ------
    (list of (str, float32 (H, W)), list of Failure)
        Names and saliency maps of the batch before, and images of this batch that could not be read.
    """
    finishing = []
    for results in _read_ahead(pool, predictor, batches, "overlay" in formats):
        inputs = [result for result in results if not isinstance(result, Failure)]
        outputs = predictor.forward(np.stack([net_input.array for net_input in inputs])) if inputs else []
        yield [future.result() for future in finishing], [result for result in results if isinstance(result, Failure)]
        finishing = [pool.submit(_finish, predictor, net_input, output, out, formats)
                     for net_input, output in zip(inputs, outputs)]
    yield [future.result() for future in finishing], []


def _read_ahead(pool, predictor, batches, keep_images):
    """Yield a list of _NetInput or Failure for each batch, while threads read the next batch."""
    reading = []
    for batch in [*batches, []]:
        next_reading = [pool.submit(_read, predictor, sample, keep_images) for sample in batch]
        if reading:
            yield [future.result() for future in reading]
        reading = next_reading


def _read(predictor, sample, keep_image):
    """Read and preprocess an image; returns _NetInput or Failure."""
    try:
        image = copy.copy(sample).image  # the sample itself would keep its image in memory
    except UserError as error:
        return Failure(sample.name, error)
    return _NetInput(sample.name, image.shape[:2], predictor.preprocess(image), image if keep_image else None)


def _finish(predictor, net_input, output, out, formats):
    """Convert an output of the net to a saliency map and write its image files; returns (name, map)."""
    saliency = predictor.postprocess(output, net_input.shape)
    name = net_input.name
    if "png" in formats:
        write_png(out / f"{name}.png", exports.to_grey(saliency))
    if "overlay" in formats:
        write_png(out / f"{name}_overlay.png", overlay(net_input.image, saliency))
    if "npy" in formats:
        with atomic(out / f"{name}.npy") as scratch:
            np.save(scratch, saliency)
    return name, saliency


def predict_videos(predictor, videos, out, limit=None):
    """Write a heat map over each frame of each video, OUT/NAME.mp4.

    Parameters
    ----------
    predictor : common.predictor.Predictor
    videos : list of (str, Path)
        Names and paths.
    out : Path of a folder
    limit : int or None
        Maximum number of frames per video.

    Returns
    -------
    list of Failure
        The videos that could not be read or written; each was reported on stderr.
    """
    failures = []
    for name, path in videos:
        try:
            predict_video(predictor, path, out / f"{name}.mp4", limit)
        except UserError as error:
            failures.append(Failure(name, error))
            failures[-1].report()
    return failures


def predict_video(predictor, path, out, limit=None):
    """Write a heat map over each frame of a video.

    Parameters
    ----------
    predictor : common.predictor.Predictor
    path : Path of a video that OpenCV can read
    out : Path of the .mp4 to write; without sound
    limit : int or None
        Maximum number of frames.

    Raises
    ------
    UserError
        The video cannot be read, or ends early, or OpenCV cannot write one here.
    """
    import cv2

    video = cv2.VideoCapture(str(path))
    decoded, frame = video.read()
    if not decoded:
        raise UserError(f"{path}: no frame can be decoded; give a whole video file")
    announced = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    total, count = min(filter(None, (announced, limit)), default=None), 0
    with atomic(out) as scratch, progress(total=total, description=path.name, unit="frame") as bar, \
            _open_video(scratch, out, video.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS, frame.shape) as write:
        while decoded and (limit is None or count < limit):
            if count % SPACE_CHECK_FRAMES == 0:
                need_space(scratch.parent, SPACE_CHECK_FRAMES * frame.nbytes)
            image = np.ascontiguousarray(frame[:, :, ::-1])
            write(np.ascontiguousarray(overlay(image, predictor.predict(image))[:, :, ::-1]))
            count += 1
            bar.update()
            decoded, frame = video.read()
    video.release()
    print(f"{out}: {count} frames")
    if total and count < MIN_FRAMES_FRACTION * total:
        raise UserError(f"{path}: only {count} of {announced} announced frames can be decoded, and {out} has those; "
                        "give a whole video file")


@contextlib.contextmanager
def _open_video(scratch, out, fps, shape):
    """Give a function that appends a frame, uint8 (H, W, 3) BGR, to the video `scratch`; errors name `out`."""
    import cv2

    writer = cv2.VideoWriter(str(scratch), cv2.VideoWriter_fourcc(*"mp4v"), fps, shape[1::-1])
    try:
        if not writer.isOpened():
            raise UserError(f"{out}: OpenCV cannot write a video here; extract the frames and predict those")
        yield writer.write
    finally:
        writer.release()


if __name__ == "__main__":
    run(main)
