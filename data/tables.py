"""Read tables of fixations, as people and eye trackers write them: CSV, TSV and other text, and JSON.

The separator (comma, semicolon, tab, spaces), decimal commas and the encoding (UTF-8, UTF-16, Windows) are detected.
Columns are recognised by their names, of which the lists below have those of Tobii, EyeLink, Pupil Labs, Gazepoint, SMI
and BIDS; the options x=, y=, image= and observer= name others. Names are compared in lower case, with "_" for anything
that is neither letter nor digit. Rows without a position (blinks) and rows of saccades are dropped and counted.
"""
import codecs
import contextlib
import csv
import gzip
import math
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from common.errors import UserError, os_error_message
from common.files import parse_json
from common.limits import limit
from data.screen import IMAGE_FRACTION, Screen

SUFFIXES = (".csv", ".tsv", ".txt", ".tab", ".gz", ".json")
# x and y, unit, origin; in the order of preference
POSITIONS = (
    ("fixation_point_x_mcsnorm", "fixation_point_y_mcsnorm", IMAGE_FRACTION, "top"),  # Tobii: media coordinates
    ("fixation_point_x_mcs_norm", "fixation_point_y_mcs_norm", IMAGE_FRACTION, "top"),
    ("fixationpointx_mcspx", "fixationpointy_mcspx", "pixels", "top"),
    ("norm_pos_x", "norm_pos_y", IMAGE_FRACTION, "bottom"),  # Pupil Labs: on a surface
    ("fpogx", "fpogy", "fraction", "top"),  # Gazepoint: of the screen
    ("current_fix_x", "current_fix_y", "pixels", "top"),  # EyeLink Data Viewer
    *((f"{name}x{suffix}", f"{name}y{suffix}", "pixels", "top") for name, suffix in (
        ("", ""), ("", "_px"), ("", "_pixel"), ("", "_pixels"), ("", "_coordinate"), ("", "_coord"), ("", "pos"),
        ("", "_pos"), ("pos_", ""), ("position_", ""), ("fix_", ""), ("fix", ""), ("fixation_", ""), ("fixation", ""),
        ("gaze_", ""),
        ("fixation_point_", ""), ("fixation_point_", "_dacs_px"), ("fixation_point_", "_dacspx"),
        ("fixationpoint", ""),
        ("fixation_position_", "_px"), ("fixation_position_", ""), ("fixation_", "_px"), ("mean_", ""), ("avg_", ""))),
    ("col", "row", "pixels", "top"), ("column", "row", "pixels", "top"),
)
OBSERVERS = ("observer", "observer_id", "subject", "subject_id", "subject_name", "subj", "sub", "participant",
             "participant_id", "participant_name", "participantname", "user", "user_id", "user_name", "worker",
             "worker_id", "person", "viewer", "recording_session_label", "recording_name", "recordingname", "name")
IMAGES = ("image", "image_name", "image_file", "image_path", "imagename", "img", "stimulus", "stimulus_name", "stim",
          "stim_file", "stimfile", "filename", "file_name", "file", "presented_stimulus_name", "presented_media_name",
          "medianame", "media_name", "name")
EVENTS = ("eye_movement_type", "gaze_event_type", "gazeeventtype", "category", "event_type", "trial_type")
FIXATION_EVENTS = {"fixation", "visual intake", "fix", "efix"}
# 0 or false: not a fixation on the image
VALIDITY = ("fpogv", "on_surf", "on_srf", "on_surface", "fixation_detected_on_surface")
REPEATED = ("fpogid", "eye_movement_type_index", "fixationindex")  # one fixation can take several rows: its number
EYES = ("eye_l_r", "eye")  # whose values begin with l or r; of a person's two eyes, the left one is used
THOUSANDS = re.compile(r"-?\d{1,3},\d{3}")
SURFACE = "on_surf"  # of Pupil Labs: a fixation has a row per frame of the camera, all with its fixation_id
MISSING = {"", ".", "nan", "na", "n/a", "null", "none", "-", "--"}
COMMENTS = ("#", "%")
SEPARATORS = {"\t": "tab", ";": "semicolon", ",": "comma"}  # in the order of preference; otherwise spaces
SEPARATOR_LINE = re.compile(r"sep=.", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
NUMBER = re.compile(r"[-+]?[\d.,]+([eE][-+]?\d+)?")
NO_POSITION, NOT_FIXATION, INVALID = "have no position", "are not fixations", "are marked as invalid or off the image"
OTHER_EYE = "are of the right eye; the left eye is used"
BLOCK_SIZE = 1 << 20  # bytes


@dataclass
class Table:
    """Fixations of one image or of many.

    Attributes
    ----------
    points : float64 (N, 2), (x, y), as in the file
    images, observers : list of str, of N; or None if the file does not have them
    screen : Screen
        Unit and origin, from the names of the columns.
    screens : dict of str: Screen
        By name of the image, where the file places each image on the screen.
    dropped : Counter of str
        Number of dropped rows by reason.
    columns : str
        How the file was understood, for `data.check`.
    """

    points: np.ndarray
    images: list | None = None
    observers: list | None = None
    screen: Screen = field(default_factory=Screen)
    screens: dict = field(default_factory=dict)
    dropped: Counter = field(default_factory=Counter)
    columns: str = ""

    def rows_by_image(self):
        """Return the row numbers of each image, dict of str: list of int, by the name in the file."""
        rows = {}
        for row, image in enumerate(self.images or ()):
            rows.setdefault(image, []).append(row)
        return rows

    def select(self, rows):
        """Return the points of some rows and their observers or None."""
        return self.points[rows], None if self.observers is None else [self.observers[row] for row in rows]


def read_table(path, names=None, of_one_image=False):
    """Read a table.

    Parameters
    ----------
    path : Path
    names : dict of str: str
        Names of the columns "x", "y", "image" and "observer", where the user gives them.
    of_one_image : bool
        The file belongs to one image: a column that can name images or observers names observers.

    Returns
    -------
    Table

    Raises
    ------
    UserError
        The file cannot be read, its columns are not understood, or a row is damaged.
    """
    # options that are numbers arrive as floats: the number of a column in a table without names
    names = {key: normalise(int(value) if isinstance(value, float) else value) for key, value in (names or {}).items()
             if value}
    with report_damage(path):
        if path.suffix.lower() == ".json":
            return _collect(path, *_json_rows(path, {names.get("x"), names.get("y")}), "JSON", names, of_one_image)
        return _read_text(path, names, of_one_image)


@contextlib.contextmanager
def report_damage(path):
    """Raise a UserError for what reading text can raise: a file that is missing, cut off, or no text."""
    try:
        yield
    except OSError as error:
        damage = f"{path}: {error}; copy the file again"
        raise UserError(os_error_message(error) if error.filename else damage) from error
    except (EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise UserError(f"{path}: damaged ({error}); copy the file again") from error


def normalise(name):
    """Return the name of a column as it is compared: "Fixation point X (MCSnorm)" is fixation_point_x_mcsnorm."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).strip().lower()).strip("_")


def open_text(path):
    """Open a text file, compressed or not, in its encoding: UTF-8, UTF-16 with its mark, or Windows-1252.

    Raises
    ------
    UserError
        The file is not text.
    """
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    return opened(path, "rt", encoding=_encoding(path, opened), newline="")


def _encoding(path, opened):
    """Return the encoding of a text file; reads all of it, block by block."""
    decoder, size, largest = codecs.getincrementaldecoder("utf-8")(), 0, limit("SALIENCY_TABLE_MB")
    encoding = "utf-8-sig"
    with opened(path, "rb") as file:
        block = file.read(BLOCK_SIZE)
        if block[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            encoding = "utf-16"
        elif b"\0" in block:
            raise UserError(f"{path}: is not text; save it again as CSV in UTF-8")
        while block:  # to the end in every encoding, since the size is not known before
            size += len(block)
            if size > largest << 20:
                raise UserError(f"{path}: has more than {largest} MB of text; split it, or set SALIENCY_TABLE_MB "
                                "to a higher limit")
            if encoding == "utf-8-sig" and not _decodes(decoder, block):
                encoding = "cp1252"
            block = file.read(BLOCK_SIZE)
    return encoding


def _decodes(decoder, block):
    try:
        decoder.decode(block)
    except UnicodeDecodeError:
        return False
    return True


def _read_text(path, names, of_one_image):
    """Read a table from text with separated columns; see `read_table`."""
    with open_text(path) as text:
        lines, start = _skip_comments(text)
        header_line = next(lines, "")
        separator = next((mark for mark in SEPARATORS if mark in header_line), None)
        _check_columns(path, header_line, separator)
        rows = _rows(chain([header_line], lines), separator)
        header = [name.strip() for name in next(rows, [])]
        by_number = any(str(names.get(key, "")).isdigit() and names[key] not in header for key in ("x", "y"))
        has_names = not by_number and (not header or not all(NUMBER.fullmatch(name) or name.lower() in MISSING
                                                          for name in header))
        columns = list(map(normalise, header)) if has_names else [str(place + 1) for place in range(len(header))]
        kind = f"separator {SEPARATORS.get(separator, 'space')}"
        if not has_names:
            rows = [header, *rows]
            names = {**({} if by_number else _columns_by_place(path, rows, header_line)), **names}
            kind += "; no names in the first line, columns by their number"
        numbered = ((start + has_names + index, row) for index, row in enumerate(rows))
        return _collect(path, columns, numbered, kind, names, of_one_image, separator)


def _check_columns(path, line, separator):
    """Raise UserError if the first line has more columns than any table."""
    largest = limit("SALIENCY_TABLE_COLUMNS")
    if len(line) > largest and (count := line.count(separator or " ")) >= largest:
        raise UserError(f"{path}: its first line has {count + 1} columns, more than {largest}; give a table of "
                        "fixations, or set SALIENCY_TABLE_COLUMNS to a higher limit")


def _columns_by_place(path, rows, first_line):
    """Return the numbers of the columns of x and y in a table without names: the first two, or after a row number."""
    first = [row[0].strip() for row in rows if row]
    counts = any(first == [str(start + index) for index in range(len(first))] for start in (0, 1)) and len(rows[0]) > 2
    if len(rows[0]) < 2:
        raise UserError(f"{path}: the first line is {first_line.strip()[:80]!r}; it must name the columns, as in x,y "
                        "or image,observer,x,y")
    return {"x": "2", "y": "3"} if counts else {"x": "1", "y": "2"}


def _skip_comments(text):
    """Return the lines from the first one that is neither empty nor a comment nor Excel's "sep=;", and its number."""
    for number, line in enumerate(text, 1):
        if line.strip() and not line.lstrip().startswith(COMMENTS) and not SEPARATOR_LINE.fullmatch(line.strip()):
            return chain([line], text), number
    return iter(()), 1


def _rows(lines, separator):
    """Split lines into fields; quotes may enclose a field that holds the separator."""
    if separator is None:
        return (line.split() for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t")


def _json_rows(path, given):
    """Return the columns and the numbered rows of a JSON file: objects, whose x and y may be lists of numbers."""
    try:
        with open_text(path) as file:
            content = parse_json(file.read())
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); write it again") from error
    if isinstance(content, dict):  # such as {"train": [...], "test": [...]}
        lists = [value for value in content.values() if isinstance(value, list)]
        content = [entry for value in lists for entry in value] if lists else None
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise UserError(f"{path}: is not a list of objects; write it as "
                        "[{\"image\": ..., \"x\": ..., \"y\": ...}, ...]")
    entries = [{normalise(key): value for key, value in entry.items()} for entry in content]
    columns = list(dict.fromkeys(key for entry in entries for key in entry))
    positions = {name for position in POSITIONS for name in position[:2]} | given
    return columns, ((number, row) for number, entry in enumerate(entries, 1)
                     for row in _rows_of_object(entry, columns, positions))


def _rows_of_object(entry, columns, positions):
    """Yield rows of text fields; an object whose positions are lists gives as many rows as the longest has elements."""
    lists = [value for key, value in entry.items() if isinstance(value, list) and key in positions]
    for index in range(max(map(len, lists)) if lists else 1):
        row = []
        for column in columns:
            value = entry.get(column)
            if isinstance(value, list):
                value = value[index] if index < len(value) else None
            row.append("" if value is None else str(value))
        yield row


def _collect(path, columns, rows, kind, names, of_one_image, separator=None):
    """Build the Table from numbered rows of text fields."""
    places, screen = _find_columns(path, columns, names, of_one_image)
    dropped, points, labels, eyes, previous = Counter(), [], [], [], None
    repeated = _find(columns, (*REPEATED, *(["fixation_id"] if SURFACE in columns else [])))
    eye = _find(columns, EYES)
    events, rows = _fixation_rows(_check_widths(rows, len(columns), path), columns, dropped)
    for number, row in rows:
        point = [_number(_field(row, places[axis]), path, number, separator) for axis in ("x", "y")]
        missing = sum(map(math.isnan, point))
        if missing == 1:
            raise UserError(f"{path}: line {number} has only one of x and y; correct it")
        if missing:
            dropped[NO_POSITION] += 1
            continue
        label = tuple(_field(row, places[key]) if key in places else "" for key in ("image", "observer"))
        # without a number of the fixation, its rows follow each other with the same position
        key = (label, _field(row, repeated)) if repeated is not None else (label, point) if events else None
        if key is not None and key == previous:
            points[-1] = point  # a further row of the same fixation: the last one is final
            continue
        previous = key
        points.append(point)
        labels.append(label)
        eyes.append("" if eye is None else _field(row, eye)[:1].lower())
    points, labels = _left_eye(points, labels, eyes, dropped)
    images, observers = ([label[index] for label in labels] if key in places else None
                         for index, key in enumerate(("image", "observer")))
    if observers is not None and not all(observers):
        if any(observers):
            kind += f"; {observers.count('')} rows name no observer, so observers are not used"
        observers = None  # an empty column, as Gazepoint's USER
    names = ", ".join(f"{key} = {columns[place]}" for key, place in places.items())
    below = ", y from below" if screen.origin == "bottom" else ""
    return Table(np.array(points, np.float64).reshape(-1, 2), images, observers, screen, {}, dropped,
                 f"{names}; {screen.unit}{below}; {kind}")


def _left_eye(points, labels, eyes, dropped):
    """Drop the right eye's points of a person and an image with those of the left eye, too; count them in `dropped`."""
    eyes_of = {}
    for label, eye in zip(labels, eyes):
        eyes_of.setdefault(label, set()).add(eye)
    indices = [index for index, (label, eye) in enumerate(zip(labels, eyes))
               if not (eye == "r" and "l" in eyes_of[label])]
    if len(indices) < len(points):
        dropped[OTHER_EYE] = len(points) - len(indices)
    return [points[index] for index in indices], [labels[index] for index in indices]


def _check_widths(rows, width, path):
    """Yield the rows that are not empty; one with more values than names is an error."""
    for number, row in rows:
        if any(value.strip() for value in row[width:]):
            raise UserError(f"{path}: line {number} has {len(row)} values, but the first line names {width} columns; "
                            "decimal commas need another separator: save it with semicolons or tabs")
        if any(value.strip() for value in row):
            yield number, row


def _fixation_rows(rows, columns, dropped):
    """Return whether events are named, and an iterator over the rows of fixations; others are counted in `dropped`."""
    events, validity = _find(columns, EVENTS), _find(columns, VALIDITY)
    if events is not None:
        rows = list(rows)
        if not any(_field(row, events).lower() in FIXATION_EVENTS for _, row in rows):
            events = None  # a column of that name with other content
    return events is not None, _valid_rows(rows, events, validity, dropped)


def _valid_rows(rows, events, validity, dropped):
    """Yield the rows that are fixations and valid; count the others in `dropped`."""
    for number, row in rows:
        if events is not None and _field(row, events).lower() not in FIXATION_EVENTS:
            dropped[NOT_FIXATION] += 1
        elif validity is not None and _field(row, validity).lower() in ("0", "false"):
            dropped[INVALID] += 1
        else:
            yield number, row


def _find_columns(path, columns, names, of_one_image):
    """Return the places of the columns "x", "y", and if they exist "image" and "observer"; and the Screen."""
    for key, name in names.items():
        if name not in columns and not (of_one_image and key == "image"):
            raise UserError(f"{path}: has no column {name!r}, which the option {key}= names; give one of these: "
                            f"{', '.join(columns)[:300]}")
    x, y, unit, origin = next((position for position in POSITIONS if set(position[:2]) <= set(columns)),
                              (None, None, "pixels", "top"))
    if "x" in names or "y" in names:
        x, y = names.get("x", x), names.get("y", y)
        unit, origin = next((position[2:] for position in POSITIONS if position[:2] == (x, y)), ("pixels", "top"))
    if x is None or y is None:
        raise UserError(f"{path}: the first line is {','.join(columns)[:300]!r}; it must name the columns, x,y or "
                        "row,col; or give their names as options: folder+x=NAME+y=NAME")
    image = names["image"] if names.get("image") in columns else _first(columns, [
        name for name in IMAGES if not (of_one_image and name in OBSERVERS)])
    observer = names.get("observer") or _first([name for name in columns if name != image], OBSERVERS)
    places = {"x": x, "y": y, "image": image, "observer": observer}
    return {key: columns.index(name) for key, name in places.items() if name}, Screen(unit=unit, origin=origin)


def _first(columns, names):
    return next((name for name in names if name in columns), None)


def _find(columns, names):
    """Return the place of the first of these names, or None."""
    name = _first(columns, names)
    return None if name is None else columns.index(name)


def _field(row, place):
    return row[place].strip() if place < len(row) else ""


def _number(text, path, number, separator):
    """Convert a field to float; NaN for a missing value."""
    if text.lower() in MISSING:
        return math.nan
    # between commas, a number with a comma was quoted; 1,234 could be thousands
    if DECIMAL_COMMA.fullmatch(text) and not (separator == "," and THOUSANDS.fullmatch(text)):
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError as error:
        raise UserError(f"{path}: line {number} has no numbers for the point ({text[:40]!r}); correct it") from error
    if math.isinf(value):
        raise UserError(f"{path}: line {number} has an infinite position; correct it")
    return value
