"""Maps in the formats that challenges want, and checkers that read them again.

    lsun      NAME.mat, variable I, float in [0, 1], of the image's size (iSUN and SALICON in LSUN 2015)
    salicon   fixations_SPLIT2014_MODEL_results.json: [{image_id, saliency_map: base64 of a PNG}]
    mit300    MODEL.zip: MODEL/NAME.jpg, grey, of the image's size, one for each image

Each exporter takes maps one at a time, so that memory holds one.
"""
import base64
import contextlib
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic

JPEG_QUALITY = 95  # the benchmark scores what is left of the map
COCO_ID = re.compile(r"COCO_\w+2014_(\d{12})$")


def to_grey(saliency):
    """float (H, W) in [0, 1] -> uint8, 255 for 1."""
    return (np.asarray(saliency) * 255).round().astype(np.uint8)


def target(kind, out, model, split=None):
    """Where an export goes: the folder of "lsun", the file of the others.

    Parameters
    ----------
    kind : "lsun", "salicon" or "mit300"
    out : path of a folder
    model : str
        Goes into the names, as the challenges want it.
    split : "val" or "test"
        For "salicon", whose server scores these two.
    """
    if not re.fullmatch(r"[\w.-]+", model):
        raise UserError(f"{model!r} is no name for a file; give --model one of letters, digits, dots and dashes")
    if kind == "salicon" and split not in ("val", "test"):
        raise UserError(f"the SALICON server scores val and test, not {split!r}; give --split val or test")
    names = {"lsun": "lsun", "mit300": f"{model}.zip", "salicon": f"fixations_{split}2014_{model}_results.json"}
    return Path(out) / names[kind]


@contextlib.contextmanager
def writing(kind, path, model):
    """Write an export; it appears under its name when all maps are in it, the files of "lsun" one by one.

    Parameters
    ----------
    kind, model : as for `target`
    path : as `target` gives it

    Yields
    ------
    callable (name, float32 (H, W) in [0, 1])
        Takes one map.
    """
    if kind == "lsun":
        yield lambda name, saliency: _write_mat(path / f"{name}.mat", saliency)
    elif kind == "mit300":
        with atomic(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
            yield lambda name, saliency: archive.writestr(f"{model}/{name}.jpg", _encoded(saliency, "JPEG"))
    else:
        with atomic(path) as scratch, open(scratch, "w", encoding="ascii") as file:
            between = ["["]

            def add(name, saliency):
                file.write(between.pop() if between else ",\n")
                json.dump({"image_id": coco_id(name),
                           "saliency_map": base64.b64encode(_encoded(saliency, "PNG")).decode("ascii")}, file)

            yield add
            file.write("[]" if between else "]")


def check(kind, path, shapes):
    """Read an export again.

    Parameters
    ----------
    kind, path : as for `writing`
    shapes : dict of str: (H, W)
        The images by name; every one must have its map, and no other.

    Raises
    ------
    UserError
        A map is missing, too many, of another size, or out of range.
    """
    {"lsun": check_lsun, "salicon": check_salicon, "mit300": check_mit300}[kind](path, shapes)


def coco_id(name):
    """COCO's number of an image, from its name."""
    found = COCO_ID.match(name)
    if not found:
        raise UserError(f"{name}: is no COCO image's name, so it has no image_id; the salicon format is SALICON's")
    return int(found[1])


def check_lsun(path, shapes):
    """A folder of .mat files: see `check`; files of other images may lie there."""
    from data.maps import read_map

    for name, shape in shapes.items():
        file = Path(path) / f"{name}.mat"
        if not file.is_file():
            raise UserError(f"{file}: missing; predict all images of the split")
        _refuse(file, read_map(file), shape, 1)


def check_salicon(path, shapes):
    """The SALICON server's JSON: see `check`."""
    try:
        entries = json.loads(Path(path).read_text(encoding="ascii"))
        found = {int(entry["image_id"]): _decoded(base64.b64decode(entry["saliency_map"], validate=True), "PNG")
                 for entry in entries}
    except Exception as error:  # decoders have a class for every kind of damage
        raise UserError(f"{path}: not the SALICON server's JSON ({error}); export it again") from error
    wanted = {coco_id(name): (name, shape) for name, shape in shapes.items()}
    _refuse_names(path, found, wanted)
    if len(entries) != len(found):
        raise UserError(f"{path}: an image is in it twice; export it again")
    for number, (_, shape) in wanted.items():
        _refuse(f"{path}: image {number}", found[number], shape, 255)


def check_mit300(path, shapes):
    """An archive for MIT300: see `check`."""
    model = Path(path).stem
    try:
        with zipfile.ZipFile(path) as archive:
            found = {Path(name).stem: _decoded(archive.read(name), "JPEG") for name in archive.namelist()
                     if name == f"{model}/{Path(name).stem}.jpg"}
            others = len(archive.namelist()) - len(found)
    except Exception as error:  # likewise
        raise UserError(f"{path}: not an archive of JPEGs ({error}); export it again") from error
    if others:
        raise UserError(f"{path}: {others} files in it are not {model}/NAME.jpg; export it again")
    _refuse_names(path, found, shapes)
    for name, shape in shapes.items():
        _refuse(f"{path}: {name}", found[name], shape, 255)


def _write_mat(path, saliency):
    import scipy.io

    with atomic(path) as scratch:
        scipy.io.savemat(scratch, {"I": np.asarray(saliency, np.float64)}, do_compression=True)


def _decoded(data, kind):
    """The grey values of a picture of this kind."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        if (picture.format, picture.mode) != (kind, "L"):
            raise ValueError(f"a {picture.format} of mode {picture.mode}, not a grey {kind}")
        return np.asarray(picture)


def _encoded(saliency, kind):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(to_grey(saliency)).save(file, kind, **({"quality": JPEG_QUALITY} if kind == "JPEG" else {}))
    return file.getvalue()


def _refuse_names(path, found, wanted):
    missing, strangers = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or strangers:
        first = f" ({missing[0]} for one)" if missing else ""
        raise UserError(f"{path}: {len(missing)} images have no map in it{first}, and {len(strangers)} maps no image; "
                        "predict all images of the split, and no others")


def _refuse(where, values, shape, highest):
    if values.shape != tuple(shape):
        raise UserError(f"{where}: is of shape {values.shape}, its image of {tuple(shape)}; export it again")
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= highest):
        raise UserError(f"{where}: leaves the range from 0 to {highest}; export it again")
