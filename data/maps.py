"""Saliency maps on disk: one float32 array per image in HDF5, because 8-bit maps produce ties in the AUCs.

Maps of other programs are read from a folder, an archive or one file with all maps; see `open_maps`.
"""
import base64
import contextlib
import mmap
import re
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from common.arrays import check_size, list_npz, open_npy, read_member, read_npz
from common.errors import UserError, os_error_message, show_names, to_printable
from common.files import atomic, need_space, parse_json
from common.isolated import isolated
from data.hdf5_index import list_hdf5
from data.layouts import same_end
from data.map_files import MAP_SUFFIXES, decode_map, read_map, remove_single_axes, to_map

PREDICTIONS = "predictions.h5"  # written by models.predict
ARCHIVES = (".npz", ".json", ".zip", ".h5", ".hdf5")  # files that hold all maps
WRITE_AGAIN = "write it again"  # remedy for a damaged file
PATTERN = "{name}"  # name of an image's map, by default
SEARCHED_KEYS = 1000  # maps in which an image's name is searched for a hint
JSON_ENTRY = re.compile(rb"\{[^{}]*\}")


@contextlib.contextmanager
def write_maps(path, model):
    """Open a file of maps for writing; it gets its name only after all maps are written.

    Parameters
    ----------
    path : path of an .h5 file
    model : str
        Name of the model, for tables.

    Yields
    ------
    callable (name, float32 (H, W) in [0, 1])
        Stores one map.
    """
    import h5py

    with atomic(path) as scratch, h5py.File(scratch, "w") as file:
        file.attrs["model"] = model

        def store(name, saliency):
            need_space(scratch.parent, 2 * saliency.nbytes + (1 << 20))  # h5py's error on a full disk is unclear
            # not compressed: compression saves a third of the space but takes as long as the shallow net
            file.create_dataset(name, data=np.asarray(saliency, np.float32))

        yield store


@dataclass
class Maps:
    """Maps on disk: `maps[name]` reads one, real (H, W), values as in the file.

    Attributes
    ----------
    path : Path
    model : str
        Name of the model, for tables.
    places : dict of str: object
        Place of each map in its file or folder, by the name of its image.
    read : callable (place) -> array
    unmatched : list of str
        Names of the maps that belong to no image.
    """

    path: Path
    model: str
    places: dict
    read: object
    unmatched: list

    @property
    def names(self):
        """Return the names of the images that have a map, a set of str."""
        return set(self.places)

    def __contains__(self, name):
        return name in self.places

    def __getitem__(self, name):
        if name not in self.places:
            raise UserError(f"{self.path}: no map '{show_names(name)}' in it; add it, or predict again")
        return self.read(self.places[name])


def open_maps(path, names=None, pattern=PATTERN):
    """Open the maps of a model.

    Parameters
    ----------
    path : path of one of these
        .h5, .hdf5      one array per image, in groups or not; as `write_maps` and pysaliency write
        folder          one .npy, .mat or image file per image, in subfolders or not; or predictions.h5 or one of the
                        other files below, if it holds nothing else
        .npz, .zip      one array per image; one .npy, .mat or image file per image
        .npy            (number of images, H, W): maps in the order of `names`
        .json           of the SALICON challenge
    names : list of str or None
        Names of the images. None: names of the maps, without suffix if they differ without it.
    pattern : str
        Name of the map of an image, where {name} is the image's name, such as "{name}_saliency". The map's suffix is
        left out, and so are its folders if one map only has this name.

    Returns
    -------
    Maps

    Raises
    ------
    UserError
        `path` does not exist or holds no maps, or none or several match a name.
    """
    if "{name}" not in pattern:
        raise UserError(f'{pattern}: contains no {{name}}; give a pattern such as "{{name}}_saliency"')
    path = Path(path)
    model, places, read = _list_maps(path, names)
    keys = _own_names(places) if names is None else _match(path, places, names, pattern)
    unmatched = sorted(set(places) - set(keys.values()))
    return Maps(path, model, {name: places[key] for name, key in keys.items()}, read, unmatched)


def _list_maps(path, names):
    """List the maps at a path: (name of the model, dict of places by the map's name, function that reads a place)."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; check the path of the maps")
    if path.is_dir():
        return _list_folder(path, names)
    suffix = path.suffix.lower()
    try:
        if suffix == ".npz":
            return path.stem, *_list_npz(path)
        if suffix == ".zip":
            return path.stem, *_list_zip(path)
        if suffix == ".json":
            return path.stem, *_list_salicon(path, names)
        if suffix == ".npy" and names and (count := _stack_length(path)):
            return path.stem, *_list_stack(path, count, names)
    except OSError as error:
        damage = f"{path}: cannot be read ({error}); {WRITE_AGAIN}"
        raise UserError(os_error_message(error) if error.filename else damage) from error
    if suffix in MAP_SUFFIXES:
        return path.stem, {path.name: path.name}, partial(_read_file, path.parent)
    model, keys = list_hdf5(path)
    return model or path.stem, {key: key for key in keys}, partial(_read_hdf5, path)


def _list_folder(path, names):
    if (path / PREDICTIONS).is_file():
        return _list_maps(path / PREDICTIONS, names)
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    maps = [file for file in files if file.suffix.lower() in MAP_SUFFIXES]
    archives = [file for file in files if file.suffix.lower() in ARCHIVES]
    if len(maps) == 1 and maps[0].suffix.lower() == ".npy" and names and _stack_length(maps[0]):
        archives, maps = maps, []
    if not maps and len(archives) == 1:
        return path.resolve().name, *_list_maps(archives[0], names)[1:]
    if not maps:
        raise UserError(f"{path}: no map in this folder (looked for .npy, .mat and image files, or one of "
                        f"{', '.join(ARCHIVES)}); give the folder with one map per image, each with the image's name")
    keys = [file.relative_to(path).as_posix() for file in maps]
    return path.resolve().name, {key: key for key in keys}, partial(_read_file, path)


def _read_file(folder, key):
    return read_map(folder / key)


@isolated
def _read_hdf5(path, key):
    """Read a map, in a process of its own."""
    import h5py

    source = f"{path}: {show_names(key)}"
    try:
        with h5py.File(path) as file:
            array = file[key]
            check_size(array.shape, source)
            if array.size and not array.id.get_storage_size():
                raise UserError(f"{source}: an array of shape {array.shape} without values; predict again")
            values = array[()]
    except MemoryError as error:
        raise UserError(f"{source}: announces more values than memory holds; predict again") from error
    except (OSError, KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:  # damaged, or no array
        raise UserError(f"{path}: no readable map '{show_names(key)}' in it ({error}); predict again") from error
    return to_map(values, source)


def _list_npz(path):
    return {key: key for key in list_npz(path, WRITE_AGAIN)}, partial(_read_npz, path)


def _read_npz(path, key):
    return to_map(read_npz(path, WRITE_AGAIN, key)[key], f"{path}: {show_names(key)}")


def _stack_length(path):
    """Return N of an .npy of shape (N, H, W), also with further axes of length 1; 0 for other shapes and N = 1."""
    try:
        shape = remove_single_axes(open_npy(path, WRITE_AGAIN)).shape
    except UserError:  # damaged: reported when it is read
        return 0
    middle = [length for length in shape[1:] if length != 1]
    return shape[0] if len(shape) > 2 and len(middle) == 2 else 0


def _list_stack(path, count, names):
    if count != len(names):
        raise UserError(f"{path}: holds {count} maps without names, but there are {len(names)} images; write one file "
                        "per map, or an .npz, with the names of the images")
    print(f"{path}: its {count} maps have no names and are read in the order of the images, {show_names(names[0])} to "
          f"{show_names(names[-1])}", file=sys.stderr)
    return {name: index for index, name in enumerate(names)}, partial(_read_stack, path)


def _read_stack(path, index):
    values = remove_single_axes(open_npy(path, WRITE_AGAIN))[index]
    check_size(values.shape, f"{path}: map {index}")
    return to_map(np.array(values), f"{path}: map {index}")


def _list_zip(path):
    try:
        with zipfile.ZipFile(path) as archive:
            keys = [key for key in archive.namelist() if PurePosixPath(key).suffix.lower() in MAP_SUFFIXES]
    except Exception as error:  # zipfile raises many classes for damage
        raise UserError(f"{path}: not an archive of maps ({error}); {WRITE_AGAIN}") from error
    if not keys:
        raise UserError(f"{path}: no map in this archive (looked for .npy, .mat and image files); "
                        "give an archive with one map per image, each with the image's name")
    return {key: key for key in keys}, partial(_read_zip, path)


def _read_zip(path, key):
    try:
        with zipfile.ZipFile(path) as archive:
            content = read_member(archive, key)
    except Exception as error:  # zipfile and zlib raise many classes for damage
        raise UserError(f"{path}: {show_names(key)}: cannot be read ({error}); write it again") from error
    return decode_map(content, PurePosixPath(key).suffix, f"{path}: {show_names(key)}")


def _list_salicon(path, names):
    """List the maps of the SALICON challenge's JSON. An image's number is that at the end of its name, as in COCO."""
    numbers = {}
    for name in names or ():
        number = int(match[0]) if (match := re.search(r"\d+$", name)) else None
        if number is not None and numbers.setdefault(number, name) != name:
            raise UserError(f"{path}: names images by number, but the names {numbers[number]} and {name} have the same "
                            "one; write one file per map, with the names of the images")
    places = {}
    with open(path, "rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                for match in JSON_ENTRY.finditer(content):
                    number = int(parse_json(match[0])["image_id"])
                    places[numbers.get(number, str(number))] = match.span()
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the SALICON challenge's JSON ({error!r}); write it again") from error
    if not places:
        raise UserError(f"{path}: not the SALICON challenge's JSON: it has no image_id; write it again")
    return places, partial(_read_salicon, path)


def _read_salicon(path, place):
    start, end = place
    with open(path, "rb") as file:
        file.seek(start)
        entry = parse_json(file.read(end - start))
    source = f"{path}: image {show_names(str(entry['image_id']))}"
    try:
        content = base64.b64decode(entry["saliency_map"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source}: has no readable saliency_map ({error}); write it again") from error
    return decode_map(content, ".png", source)


def _own_names(keys):
    """Return the maps' names by themselves, without suffix where they differ without it."""
    stems = {key: _without_suffix(key) for key in keys}
    counts = Counter(stems.values())
    return {stem if counts[stem] == 1 else key: key for key, stem in stems.items()}


def _match(path, keys, names, pattern):
    """Find the map of each image: dict of the maps' names by the images'."""
    by_stem, by_last = {}, {}
    for key in keys:
        stem = _without_suffix(key)
        by_stem.setdefault(stem, []).append(key)
        by_last.setdefault(PurePosixPath(stem).name, []).append(key)
    matches = {}
    for name in names:
        form = pattern.replace("{name}", name)
        similar = [key for key in by_last.get(PurePosixPath(form).name, ()) if same_end(_without_suffix(key), form)]
        candidates = [form] if form in keys else by_stem.get(form) or similar
        if len(candidates) > 1:
            raise UserError(f"{path}: both {' and '.join(map(show_names, candidates[:2]))} are maps of image {name}; "
                            "keep one map per image")
        if candidates:
            matches[name] = candidates[0]
    _check_matches(path, matches, keys, names, pattern)
    return matches


def _check_matches(path, matches, keys, names, pattern):
    """Raise UserError if no map matches an image, or one map matches two."""
    images = {}
    for name, key in matches.items():
        if images.setdefault(key, name) != name:
            raise UserError(f"{path}: {show_names(key)} could be the map of {images[key]} and of {name}; "
                            "give the maps the folders of the images")
    if keys and names and not matches:
        key, example = _likely_pattern(keys, names)
        raise UserError(f"{path}: has no map of any of the {len(names)} images: found {show_names(key)}, expected "
                        f"{pattern.replace('{name}', names[0])}; give --names with the pattern of the maps' names, "
                        f'such as --names "{to_printable(example)}", or rename the maps')


def _likely_pattern(keys, names):
    """Find a map whose name contains that of an image: (the map's name, the pattern of the names)."""
    for key in sorted(keys)[:SEARCHED_KEYS]:
        stem = _without_suffix(key)
        for text in (PurePosixPath(stem).name, stem):
            for name in sorted((name for name in names if name in text), key=len, reverse=True):
                # image1 is not in image12
                if (pattern := re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", "{name}", text, count=1)) != text:
                    return key, pattern
    return min(keys), "MODEL_{name}"


def _without_suffix(key):
    """Remove the suffix of a map or image file from a name."""
    return key[:-len(suffix)] if (suffix := PurePosixPath(key).suffix).lower() in MAP_SUFFIXES else key
