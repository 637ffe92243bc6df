"""Write saliency maps in the formats of three challenges, and check the written files.

    lsun      NAME.mat, variable I, float in [0, 1], of the image's size (iSUN and SALICON in LSUN 2015)
    salicon   fixations_SPLIT2014_MODEL_results.json: [{image_id, saliency_map: base64 of a PNG}]
    mit300    MODEL.zip: MODEL/NAME.jpg, grey, of the image's size, one per image

Each format is written map by map, so that memory holds one map.
"""
import base64
import contextlib
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from common.arrays import read_member
from common.errors import UserError, show_names
from common.files import atomic, parse_json
from common.images import open_image
from data.maps import read_map

JPEG_QUALITY = 95  # high, because the benchmark scores the compressed map
COCO_ID = re.compile(r"COCO_\w+2014_(\d{12})$")


def to_grey(saliency):
    """Convert float (H, W) in [0, 1] to uint8, 255 for 1."""
    return (np.asarray(saliency) * 255).round().astype(np.uint8)


def export_path(challenge, out, model, split=None):
    """Return the path that an export is written to: a folder for "lsun", a file for the others.

    Parameters
    ----------
    challenge : "lsun", "salicon" or "mit300"
    out : path of a folder
    model : str
        Part of the file names, as the challenges require.
    split : "val" or "test"
        For "salicon", whose server scores these two.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        `model` cannot be a file name, or the challenge does not score this split.
    """
    if not re.fullmatch(r"[\w.-]+", model):
        raise UserError(f"{model!r} cannot be a file name; give --model a name of letters, digits, dots and dashes")
    if challenge == "salicon" and split not in ("val", "test"):
        raise UserError(f"the SALICON server scores val and test, not {split!r}; give --split val or test")
    names = {"lsun": "lsun", "mit300": f"{model}.zip", "salicon": f"fixations_{split}2014_{model}_results.json"}
    return Path(out) / names[challenge]


@contextlib.contextmanager
def open_export(challenge, path, model):
    """Open an export for writing; its file appears when all maps are in it, the files of "lsun" one by one.

    Parameters
    ----------
    challenge, model : as in `export_path`
    path : path that `export_path` returned

    Yields
    ------
    callable (name, float32 (H, W) in [0, 1])
        Writes one map.
    """
    if challenge == "lsun":
        yield lambda name, saliency: _write_mat(path / f"{name}.mat", saliency)
    elif challenge == "mit300":
        with atomic(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
            def write(name, saliency):
                # ZipInfo has a fixed date. The date of today would fail before 1980, and make two equal exports differ
                archive.writestr(zipfile.ZipInfo(f"{model}/{name}.jpg"), _encode(saliency, "JPEG"))

            yield write
    else:
        with atomic(path) as scratch, open(scratch, "w", encoding="ascii") as file:
            separator = "["

            def write(name, saliency):
                nonlocal separator
                file.write(separator)
                separator = ",\n"
                json.dump({"image_id": coco_id(name),
                           "saliency_map": base64.b64encode(_encode(saliency, "PNG")).decode("ascii")}, file)

            yield write
            file.write("[]" if separator == "[" else "]")


def check_export(challenge, path, shapes):
    """Read an export and compare it with the images.

    Parameters
    ----------
    challenge, path : as in `open_export`
    shapes : dict of str: (H, W)
        Shapes of the images by name. Each image must have a map; other maps are an error, except in a folder of "lsun".

    Raises
    ------
    UserError
        The export is damaged, or a map is missing, unexpected, of another size than its image, or out of range.
    """
    {"lsun": _check_lsun, "salicon": _check_salicon, "mit300": _check_mit300}[challenge](path, shapes)


def coco_id(name):
    """Return COCO's number of an image, from its name."""
    match = COCO_ID.match(name)
    if not match:
        raise UserError(f"{name}: not the name of a COCO image, so it has no image_id; use --formats salicon with "
                        "SALICON images only")
    return int(match[1])


def _check_lsun(path, shapes):
    for name, shape in shapes.items():
        file = Path(path) / f"{name}.mat"
        if not file.is_file():
            raise UserError(f"{file}: missing; predict all images of the split")
        _check_map(file, read_map(file), shape, 1)


def _check_salicon(path, shapes):
    try:
        entries = parse_json(Path(path).read_text(encoding="ascii"))
        maps = {int(entry["image_id"]): _decode(base64.b64decode(entry["saliency_map"], validate=True), "PNG")
                for entry in entries}
    except Exception as error:  # decoders raise many classes of errors for damaged data
        raise UserError(f"{path}: not the SALICON server's JSON ({error}); export it again") from error
    shapes = {coco_id(name): shape for name, shape in shapes.items()}
    _check_names(path, maps, shapes)
    if len(entries) != len(maps):
        raise UserError(f"{path}: contains an image twice; export it again")
    for number, shape in shapes.items():
        _check_map(f"{path}: image {number}", maps[number], shape, 255)


def _check_mit300(path, shapes):
    model = Path(path).stem
    try:
        with zipfile.ZipFile(path) as archive:
            maps = {Path(name).stem: _decode(read_member(archive, name), "JPEG") for name in archive.namelist()
                    if name == f"{model}/{Path(name).stem}.jpg"}
            others = len(archive.namelist()) - len(maps)
    except Exception as error:  # decoders raise many classes of errors for damaged data
        raise UserError(f"{path}: not an archive of JPEGs ({error}); export it again") from error
    if others:
        raise UserError(f"{path}: {others} files in it are not {model}/NAME.jpg; export it again")
    _check_names(path, maps, shapes)
    for name, shape in shapes.items():
        _check_map(f"{path}: {show_names(name)}", maps[name], shape, 255)


def _check_names(path, names, expected_names):
    missing = sorted(set(expected_names) - set(names))
    unexpected = sorted(set(names) - set(expected_names))
    if missing or unexpected:
        example = f" (for example {show_names(missing[0])})" if missing else ""
        raise UserError(f"{path}: {len(missing)} images have no map{example}, and {len(unexpected)} maps have no image"
                        "; predict all images of the split, and no others")


def _check_map(where, values, shape, highest):
    if values.shape != tuple(shape):
        raise UserError(f"{where}: the map has shape {values.shape}, its image {tuple(shape)}; export it again")
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= highest):
        raise UserError(f"{where}: has values outside 0 to {highest}; export it again")


def _write_mat(path, saliency):
    import scipy.io

    with atomic(path) as scratch:
        scipy.io.savemat(scratch, {"I": np.asarray(saliency, np.float64)}, do_compression=True)


def _encode(saliency, image_format):
    """Encode a saliency map as a grey "PNG" or "JPEG"; returns bytes."""
    file = io.BytesIO()
    options = {"quality": JPEG_QUALITY} if image_format == "JPEG" else {}
    Image.fromarray(to_grey(saliency)).save(file, image_format, **options)
    return file.getvalue()


def _decode(data, image_format):
    """Decode the bytes of a grey "PNG" or "JPEG" to uint8 (H, W)."""
    with open_image(io.BytesIO(data)) as image:
        if (image.format, image.mode) != (image_format, "L"):
            raise ValueError(f"a {image.format} of mode {image.mode}, not a grey {image_format}")
        return np.asarray(image)
