"""A folder of your own images, with fixations or density maps.

    images/        NAME.jpg, .png, ...; also in subfolders: the name is then SUBFOLDER/NAME
    fixations/     NAME.csv, .tsv, .txt     a table of one image: x,y or row,col, optionally observer; pixels, 0-based
                   NAME.npy, .mat, .png     see data/points.py
                   NAME/PERSON.csv, PERSON/NAME.csv    a file per image and observer
                   ANY.csv, .tsv, .json     a table of many images, with a column for the image
                   ANY.asc                  an EyeLink recording
                   PERSON/...               exports of Pupil Labs: .../surfaces/fixations_on_surface_NAME.csv
    fixations.csv, .tsv, .json, .asc        the same tables beside images/
    sub-01/...                              BIDS, see data/bids.py
    maps/          NAME.png, .jpg, .npy, .mat, ...    density map; computed from the fixations where it is missing

images/train, images/val and images/test (or training, validation, testing) are splits. stimuli/ or Stimuli/,
FIXATIONLOCS/ and FIXATIONMAPS/ (CAT2000) are other names of the three folders. Without fixations, nets can be trained
but not scored. Without fixations and maps, saliency maps can be predicted. data/README.md has the options for trackers'
files.
"""
from functools import partial
from pathlib import Path

import numpy as np

from common.errors import UserError, show_names
from common.images import IMAGE_SUFFIXES, image_shape, read_image
from data import bids, eyelink, points, tables
from data.dataset import Dataset, Fixations, Sample, WrongRoot, split_names
from data.layouts import find_root, same_end
from data.map_files import MAP_SUFFIXES, read_map
from data.screen import Screen, check_points, merge, parse_screen

SIGMA = 19  # pixels, as in SALICON; the option `sigma` overrides it
FOLDERS = {"images": ("images", "stimuli"), "fixations": ("fixations", "fixationlocs"),  # in lower case
           "maps": ("maps", "fixationmaps")}
TABLES = (*tables.SUFFIXES, eyelink.SUFFIX)
IGNORED = {"thumbs.db", "desktop.ini"}  # written by Windows
SURFACE_PREFIX = "fixations_on_surface_"  # Pupil Labs: a surface has the name of its image
# other files of its exports; its fixations.csv is in pixels of the camera
SURFACE_EXPORT = ("fixations", "gaze", "surface", "surf_", "export_info", "blinks", "pupil", "world", "annotations",
                  "heatmap", "head_pose", "imu", "info", "saccades", "3d_eye_states")
RESULTS = "output"  # CAT2000's subfolders of images that are no stimuli
OWN_SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
MAX_NAMED = 3
ASPECT_TOLERANCE = 0.02  # relative, between an image and a density map of another size
FRACTIONS_OF_IMAGE = ("fractions are taken as fractions of the image; if the image did not fill the screen, add the "
                      "option +screen=1920x1080")
REMEDY = "give the folder that holds images/ and fixations/ or maps/"


def load(split, root, sigma=SIGMA, x=None, y=None, image=None, observer=None, unit=None, origin=None, screen=None,
         offset=None, scale=None, width_mm=None, distance_mm=None):
    """Open a folder of images with fixations or density maps.

    Parameters
    ----------
    split : "train", "val", "test" or "all"
        The user's own if images/ has subfolders train and test or val; otherwise see `data.dataset.split_names`.
        Without fixations and maps, all images are in "test".
    root : path
        The folder with images/, or its parent.
    sigma : float
        Blur, in pixels; one degree of visual angle is usual.
    x, y, image, observer : str
        Names of the columns of tables, where they are not recognised.
    unit, origin, screen, offset, scale, width_mm, distance_mm : see `data.screen.parse_screen`
        Where the positions of tables are measured from, and in which unit.

    Raises
    ------
    UserError
        `root` has another layout, or an option another form. What can be left out, such as an image without data, is
        listed in the Dataset's `faults`.
    """
    if not isinstance(sigma, int | float) or not 0 < sigma < float("inf"):
        raise UserError(f"sigma is {sigma!r}; give a number of pixels above 0; one degree of visual angle is usual")
    given = parse_screen(unit, origin, screen, offset, scale, width_mm, distance_mm)
    root = find_root(root, lambda folder: _subfolder(folder, "images") is not None, "a folder of images", REMEDY)
    content = _Content(root, {"x": x, "y": y, "image": image, "observer": observer}, given)
    about = {"images": root.resolve().name, "edition": "own data", "capture": "", "observers": ""}
    names = content.names_of(split)
    return Dataset("folder", split, sigma, names, partial(content.open_sample, sigma), about, content.files(names),
                   content.notes, content.faults)


class _Content:
    """Files of a folder, by the image that they belong to.

    Parameters
    ----------
    root : Path
    columns : dict of str: str or None
        Names of columns, from the options.
    given : dict
        Fields of Screen, from the options.

    Attributes
    ----------
    images, maps : dict of str: Path
    single, persons : dict of str: Path, and of str: list of (Path, str)
        Fixation files of a whole image, and those of its single observers with their names.
    tables : dict of str: list of (Table, row numbers, file)
        Rows of tables of many images.
    notes, faults : list of str
    """

    def __init__(self, root, columns, given):
        self.root, self.bids_root, self.columns, self.given = root, root, columns, given
        self.notes, self.faults, self.unmatched = [], [], []
        folders = {kind: _subfolder(root, kind) for kind in FOLDERS}
        self.images = self._find_images(folders["images"])
        self._lookup = _Lookup(self.images)
        self.single, self.persons, self.maps, self.tables = {}, {}, {}, {}
        self._add_tables(self._sort_fixations(folders["fixations"]) if folders["fixations"] else self._root_tables())
        beside = [path.name for path in self._root_tables() if "fix" in path.name.lower()]
        if folders["fixations"] and beside:
            self.faults.append(f"{_listed(beside, 'file')} beside images/ not used, because there is a folder "
                               f"{folders['fixations'].name}/; move them into it")
        if folders["maps"]:
            self._sort_maps(folders["maps"])
        self.with_data = [name for name in self.images
                          if any(name in files for files in (self.single, self.persons, self.tables, self.maps))]
        # a cross between the images is no fault; if images lack fixations, their names may differ
        (self.notes if len(self.with_data) == len(self.images) else self.faults).extend(self.unmatched)
        if without := [name for name in self.images if name not in set(self.with_data)] if self.with_data else []:
            self.faults.append(f"{_listed(without, 'image')} without fixations and density map, not used; add one, or "
                               "remove the images")

    def names_of(self, split):
        """Return the names of one split, sorted."""
        if not self.with_data:
            return [] if split == "train" else sorted(self.images)
        own = {name: [image for image in self.with_data if image.lower().partition("/")[0] in folders]
               for name, folders in OWN_SPLITS.items()}
        if not own["train"] or not (own["val"] or own["test"]):
            return split_names(self.with_data, split)
        if rest := sorted(set(self.with_data).difference(*own.values())):
            self.faults.append(f"{_listed(rest, 'image')} in none of the folders train, val and test, not used; move "
                               "them there")
        self.notes.append("splits of your own: " + ", ".join(f"{name} {len(names):,}" for name, names in own.items())
                          + ("" if own["test"] else "; val is the test split, too"))
        own["test"] = own["test"] or own["val"]
        return sorted({**own, "all": {name for names in own.values() for name in names}}[split])

    def open_sample(self, sigma, name):
        """Return the Sample of an image."""
        image, density = self.images[name], self.maps.get(name)
        has_fixations = any(name in files for files in (self.single, self.persons, self.tables))
        return Sample(name, lambda: image_shape(image), lambda: read_image(image),
                      (lambda: self._read_fixations(name, image_shape(image))) if has_fixations else None, sigma,
                      density and (lambda: _read_density(density, image_shape(image))))

    def files(self, names):
        """Return all files of some images."""
        lists = [[self.images[name], self.single.get(name), *(path for path, _ in self.persons.get(name, [])),
                  self.maps.get(name), *(path for _, _, path in self.tables.get(name, []))] for name in names]
        return sorted({path for paths in lists for path in paths if path})

    def _find_images(self, folder):
        images, other = {}, []
        for path in _files(folder):
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                other.append(path)
            elif RESULTS not in [part.lower() for part in path.relative_to(folder).parts[:-1]]:
                name = _relative(path, folder)
                if name in images:
                    raise UserError(f"{path}: {images[name].name} has the same name; keep one image per name")
                images[name] = path
        if other:
            names = _listed([path.relative_to(self.root) for path in other], "file")
            self.faults.append(f"{names} not read: none of {', '.join(IMAGE_SUFFIXES)}; convert or remove them")
        if not images:
            but = f" of a format that can be read, but {other[0].name}" if other else ""
            raise WrongRoot(f"{folder}: no image in it{but}; {REMEDY}")
        return images

    def _sort_fixations(self, folder):
        """Assign the files of fixations/ to images; return those that can be tables of many images."""
        if recordings := bids.find_recordings(folder):
            self.bids_root = folder
            return recordings
        many, other, files, by_folder = [], [], self._sort_surfaces(folder), {}
        for path in files:
            suffix, relative = path.suffix.lower(), path.relative_to(folder)
            name = self._lookup.find(_relative(path, folder))
            person_of = self._lookup.find(relative.parent.as_posix()) if len(relative.parts) > 1 else None
            if suffix not in (*points.SUFFIXES, *TABLES):
                other.append(relative)
            elif name and suffix != eyelink.SUFFIX:
                outer = relative.parts[:-len(Path(name).parts)]  # PERSON of PERSON/NAME.csv
                by_folder.setdefault("/".join(outer), []).append((name, path))
            elif person_of:
                self.persons.setdefault(person_of, []).append((path, path.stem))
            elif suffix in TABLES:
                many.append(path)
            else:
                other.append(relative)
        for person, entries in by_folder.items():
            for name, path in entries:
                if len(by_folder) > 1 and person:
                    self.persons.setdefault(name, []).append((path, person))
                elif name in self.single:
                    self.faults.append(f"{path}: not used, because {self.single[name].name} has the same name; keep "
                                       "one file per image")
                else:
                    self.single[name] = path
        if other:
            self.faults.append(f"{_listed(other, 'file')} of fixations/ match no image or have another format, not "
                               "used; give each file the name of its image")
        return many

    def _sort_surfaces(self, folder):
        """Assign Pupil Labs' fixations on surfaces to images; return the files that are not of its exports."""
        files = _files(folder)
        surfaces = [path for path in files if path.name.lower().startswith(SURFACE_PREFIX)]
        unmatched = []
        for path in surfaces:
            if name := self._lookup.find(path.stem[len(SURFACE_PREFIX):]):
                self.persons.setdefault(name, []).append((path, path.parent.relative_to(folder).as_posix()))
            else:
                unmatched.append(path.name)
        self._add_unmatched(folder, sorted(set(unmatched)))
        if not surfaces:
            return files
        return [path for path in files if not path.name.lower().startswith(SURFACE_EXPORT)
                or self._lookup.find(_relative(path, folder))]

    def _root_tables(self):
        """Return the recordings of a BIDS data set, or else the tables beside images/."""
        return bids.find_recordings(self.root) or [
            path for path in sorted(self.root.iterdir())
            if path.is_file() and path.suffix.lower() in TABLES and not path.name.startswith(".")]

    def _read_table(self, path):
        if path.suffix.lower() == eyelink.SUFFIX:
            return eyelink.read_asc(path)
        if path.name.endswith(bids.RECORDING):
            return bids.read_recording(path, self.bids_root)
        return tables.read_table(path, self.columns)

    def _add_tables(self, paths):
        """Read tables of many images; those that are none are a fault."""
        unused, unnamed, self.several_tables = [], [], False
        for path in paths:
            try:
                table = self._read_table(path)
            except UserError as error:
                unused.append(str(error))
                continue
            if table.images is None:
                unnamed.append(path.name)
            else:
                self.several_tables = self.several_tables or bool(self.tables)
                self._add_rows(path, table)
        if unnamed:
            self.faults.append(f"{_listed(unnamed, 'file')} not used: the name is that of no image, and there is no "
                               "column for the image; add the image, or name the column with the option +image=NAME")
        if unused:
            more = f" (and {len(unused) - 1} other files)" if len(unused) > 1 else ""
            self.faults.append(f"not used: {unused[0]}{more}")

    def _add_rows(self, path, table):
        """Assign the rows of a table to images."""
        unmatched = []
        for label, rows in table.rows_by_image().items():
            name = self._lookup.find(label)
            if name:
                self.tables.setdefault(name, []).append((table, rows, path))
            else:
                unmatched.append(label)
        self._add_unmatched(path, unmatched)
        self.notes.append(f"{path.name}: {table.columns}")
        if table.screen.unit == "fraction" and "size" not in self.given:
            self.notes.append(f"{path.name}: {FRACTIONS_OF_IMAGE}")
        self.notes += [f"{path.name}: {count:,} rows {reason}; dropped"
                       for reason, count in table.dropped.items() if count]

    def _add_unmatched(self, path, labels):
        if labels:
            self.unmatched.append(f"{path}: has fixations on {_listed(labels, 'image')} not in images/; not used")

    def _sort_maps(self, folder):
        other = []
        for path in _files(folder):
            name = self._lookup.find(_relative(path, folder))
            if not name or path.suffix.lower() not in MAP_SUFFIXES:
                other.append(path.relative_to(folder))
            elif name in self.maps:
                raise UserError(f"{path}: {self.maps[name].name} has the same name; keep one map per image")
            else:
                self.maps[name] = path
        if other:
            self.faults.append(f"{_listed(other, 'file')} of maps/ match no image or have another format, not used; "
                               "give each file the name of its image")

    def _read_fixations(self, name, shape):
        """Read all fixations of an image; see `data.dataset.Fixations`."""
        files = [(self.single[name], None)] if name in self.single else []
        pieces = [_of_observer(self._read_file(name, path, shape), label)
                  for path, label in [*files, *self.persons.get(name, [])]]
        for table, rows, path in self.tables.get(name, []):
            positions, observers = table.select(rows)
            stated = table.screens.get(table.images[rows[0]], table.screen)
            if observers is None and (self.several_tables or path.suffix.lower() == eyelink.SUFFIX):
                observers = [path.stem] * len(rows)  # without a column of observers, each table is of a single observer
            pieces.append(_to_fixations(positions, observers, merge(stated, self.given), shape))
        if len(pieces) > 1 and any(piece.observers is None for piece in pieces):
            pieces = [piece._replace(observers=None) for piece in pieces]
        fixations = _join(pieces)
        if len(pieces) > 1:  # a few points per file may be fractions, too
            check_points(fixations.points, shape, Screen(unit=self.given.get("unit", "pixels")))
        return fixations

    def _read_file(self, name, path, shape):
        """Read the fixations of an image from a file of its name."""
        fixations, labels = read_fixations(path, shape, self.columns, self.given)
        if others := sorted({label for label in labels if self._lookup.find(label) not in (None, name)}):
            raise UserError(f"{path}: has the name of image {name}, but fixations on {_listed(others, 'other image')}; "
                            f"give it another name, such as person-{path.name}")
        return fixations


class _Lookup:
    """Names of images by the names that files and tables give them."""

    def __init__(self, names):
        self._exact, self._stems = {}, {}
        for name in names:
            self._exact[name.lower()] = name
            self._stems.setdefault(name.rpartition("/")[2].lower(), []).append(name)
        self._in_one_folder = len({name.rpartition("/")[0] for name in names}) < 2

    def find(self, label):
        """Return the name of the image that a label means, such as "p0", "P0.png" or "set\\p0.jpg"; or None."""
        label = label.strip().replace("\\", "/").lower()
        stem, _, suffix = label.rpartition(".")
        for text in (label, stem if f".{suffix}" in IMAGE_SUFFIXES else label):
            if text in self._exact:
                return self._exact[text]
            # folders must agree, unless all images are in the same one: Action/002 is not Affective/002
            names = [name for name in self._stems.get(text.rpartition("/")[2], ())
                     if self._in_one_folder or same_end(name.lower(), text)]
            if len(names) == 1:
                return names[0]
        return None


def read_fixations(path, shape, columns=None, given=None):
    """Read the fixations of one image from a file of any supported format.

    Parameters
    ----------
    path : Path
    shape : (H, W) of the image
    columns : dict of str: str, or None
        Names of the columns "x", "y" and "observer", where the user gives them.
    given : dict or None
        Fields of Screen that the user gives.

    Returns
    -------
    (data.dataset.Fixations, set of str)
        The observers are strings. And the images that the file names, if it has a column for them.

    Raises
    ------
    UserError
        The file is damaged, or holds neither points nor a fixation map.
    """
    if path.suffix.lower() not in TABLES:
        fixations, base = points.read_points(path, shape)
        if base is None:  # a map
            return fixations, set()
        screen = merge(Screen(), given or {})
        positions = fixations.points - base * (screen.unit == "pixels")
        return fixations._replace(points=_to_fixations(positions, None, screen, shape).points), set()
    table = tables.read_table(path, columns, of_one_image=True)
    notes = [f"columns: {table.columns}", *(f"rows that {reason}; dropped" for reason in table.dropped
                                           if reason != tables.NO_POSITION)]
    if table.screen.unit == "fraction" and "size" not in (given or {}):
        notes.append(FRACTIONS_OF_IMAGE)
    fixations = _to_fixations(table.points, table.observers, merge(table.screen, given or {}), shape)
    return fixations._replace(missing=table.dropped[tables.NO_POSITION], notes=tuple(notes)), set(table.images or ())


def _to_fixations(positions, observers, place, shape):
    """Convert positions on a screen to Fixations of an image."""
    positions = place.to_image(positions, shape)
    check_points(positions, shape, place)
    return Fixations(positions.astype(np.float32), observers if observers is None else np.array(observers, object))


def _of_observer(fixations, label):
    """Return fixations with this observer; with those of the file if it has them, or if the label is None."""
    if label is None or fixations.observers is not None:
        return fixations
    return fixations._replace(observers=np.full(len(fixations.points), label, object))


def _join(pieces):
    """Concatenate Fixations, and number their observers."""
    observers = None
    if pieces[0].observers is not None and sum(len(piece.points) for piece in pieces):
        labels = np.concatenate([piece.observers for piece in pieces])
        observers = np.unique(labels.astype(str), return_inverse=True)[1].astype(np.int32)
    notes = dict.fromkeys(note for piece in pieces for note in piece.notes)
    return Fixations(np.concatenate([piece.points for piece in pieces]), observers,
                     sum(piece.missing for piece in pieces), tuple(notes))


def _read_density(path, shape):
    """Read a density map; one of another size but the same proportions is resized, with a note."""
    import cv2

    values = read_map(path)
    if values.shape == tuple(shape):
        return values
    height, width = values.shape
    if abs(width * shape[0] / (height * shape[1]) - 1) > ASPECT_TOLERANCE:
        raise UserError(f"{path}: is {width}x{height} pixels, but its image is {shape[1]}x{shape[0]}; make the density "
                        "map as large as its image")
    resized = cv2.resize(values.astype(np.float32), tuple(shape[::-1]), interpolation=cv2.INTER_LINEAR)
    return resized, ("density map of another size than its image; resized",)


def _subfolder(root, kind):
    """Return the folder of this kind, whatever its spelling, or None."""
    names = {path.name.lower(): path for path in sorted(root.iterdir(), reverse=True) if path.is_dir()}
    return next((names[name] for name in FOLDERS[kind] if name in names), None)


def _files(folder):
    """Return all files of a folder and its subfolders, without hidden ones and those of Windows, sorted."""
    return [path for path in sorted(Path(folder).rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path.name.lower() not in IGNORED]


def _relative(path, folder):
    """Return the path relative to the folder, without the suffix: the name of an image."""
    relative = path.relative_to(folder).with_suffix("")
    return (relative.with_suffix("") if relative.suffix == ".tsv" else relative).as_posix()  # .tsv.gz


def _listed(items, noun):
    """Return "2 images (a, b)": the number, the noun and the first few items."""
    return f"{len(items):,} {noun}{'' if len(items) == 1 else 's'} ({show_names(items, MAX_NAMED)})"
