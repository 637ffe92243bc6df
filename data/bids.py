"""Read fixations from a BIDS data set with eye tracking (BIDS specification 1.10, physiological recordings).

    stimuli/                                              the images
    sub-01/[ses-1/]beh/sub-01_task-T_...
        events.tsv                           onset, duration, stim_file: which image was shown when
        events.json                          StimulusPresentation: ScreenResolution, ScreenSize, ...
        recording-eye1_physio.tsv.gz         one row per sample, without names; names and rate in the .json
        recording-eye1_physioevents.tsv.gz   onset, duration, trial_type: fixation, saccade

A fixation's position is the mean of its samples. Of several recordings of one run, eye3 (both eyes together) or else
the first is used. Sidecars (.json) in the folders above apply, too.
"""
import math
from collections import Counter

import numpy as np

from common.errors import UserError, show_names
from common.files import parse_json
from data.screen import Screen
from data.tables import NO_POSITION, Table, open_text, report_damage

RECORDING = "_physio.tsv.gz"
NO_IMAGE = "were made while no image was shown"
BOTH_EYES = "recording-eye3"
MAX_METRES = 10  # a larger distance of the screen is in centimetres, as in some files


def find_recordings(root):
    """Return the eye-tracking recordings of a BIDS data set, one per run, sorted paths."""
    runs = {}
    for path in sorted(root.glob(f"sub-*/**/*{RECORDING}")):
        if "x_coordinate" in _sidecar(path, root).get("Columns", ()):
            runs.setdefault((path.parent, _run(path)), []).append(path)
    return [next((path for path in paths if BOTH_EYES in path.name), paths[0]) for paths in runs.values()]


def read_recording(path, root):
    """Read the fixations of one run.

    Parameters
    ----------
    path : Path of a ..._physio.tsv.gz
    root : Path of the data set

    Returns
    -------
    data.tables.Table

    Raises
    ------
    UserError
        A file is missing or damaged, or the recording has no fixations.
    """
    sidecar = _sidecar(path, root)
    columns = sidecar["Columns"]
    samples = {name: np.array([_float(row[place]) for row in _read_rows(path, len(columns))])
               for place, name in enumerate(columns) if name in ("timestamp", "x_coordinate", "y_coordinate")}
    rate, start = _number(sidecar, "SamplingFrequency", path), _number(sidecar, "StartTime", path, 0)
    shown = _images(path.with_name(f"{_run(path)}_events.tsv"))
    points, images, dropped, seconds = [], [], Counter(), _seconds(samples, rate)
    for first, last in _fixation_rows(path, root, samples, rate):
        image = next((name for onset, end, name in shown if onset <= start + seconds[first] < end), None)
        position = np.column_stack([samples["x_coordinate"][first:last], samples["y_coordinate"][first:last]])
        position = position[np.isfinite(position).all(axis=1)]
        if image is None or not len(position):
            dropped[NO_IMAGE if image is None else NO_POSITION] += 1
            continue
        points.append(position.mean(axis=0))
        images.append(image)
    observer = path.name.split("_")[0]
    return Table(np.array(points, np.float64).reshape(-1, 2), images, [observer] * len(images),
                 _screen(path, root, sidecar), {}, dropped, f"BIDS: fixations of {observer}, means of their samples")


def _seconds(samples, rate):
    """Return the time of each sample after the first one, by its timestamp: a recording can pause between trials."""
    count = len(samples["x_coordinate"])
    ticks = samples.get("timestamp")
    if ticks is None or count < 2 or not np.isfinite(ticks).all() or not (np.diff(ticks) > 0).all():
        return np.arange(count) / rate
    return (ticks - ticks[0]) / (np.median(np.diff(ticks)) * rate)


def _fixation_rows(path, root, samples, rate):
    """Yield the first and the last row (exclusive) of the samples of each fixation."""
    events = path.with_name(path.name.replace("_physio.", "_physioevents."))
    if not events.is_file():
        raise UserError(f"{path}: has no {events.name} with its fixations; detect them with the tracker's software or "
                        "with eye2bids, and write them there")
    sidecar = _sidecar(events, root)
    columns = sidecar.get("Columns", [])
    if not {"onset", "duration", "trial_type"} <= set(columns):
        raise UserError(f"{events}: its .json must name the columns onset, duration and trial_type")
    index = samples.get("timestamp") if sidecar.get("ForeignIndexColumn") == "timestamp" else None
    units = str(sidecar.get("duration", {}).get("Units", "")).lower()
    in_seconds = index is None or units in ("s", "second", "seconds")
    for row in _read_rows(events, len(columns)):
        event = dict(zip(columns, row))
        onset, duration = _float(event["onset"]), _float(event["duration"])
        if event["trial_type"].lower() != "fixation" or math.isnan(onset + duration):
            continue
        # without an index, the onset is the number of a row, counted from 1
        first = int(onset) - 1 if index is None else int(np.searchsorted(index, onset))
        last = first + round(duration * rate) if in_seconds else int(np.searchsorted(index, onset + duration))
        first = min(max(first, 0), len(samples["x_coordinate"]) - 1)
        yield first, max(last, first + 1)


def _images(path):
    """Return when each image was shown: list of (onset, end, name), in seconds of the experiment."""
    if not path.is_file():
        raise UserError(f"{path}: missing; it states which image was shown when (onset, duration, stim_file)")
    with report_damage(path), open_text(path) as file:
        lines = [line.rstrip("\r\n").split("\t") for line in file if line.strip()]
    header = [name.strip() for name in lines[0]] if lines else []
    if not {"onset", "duration", "stim_file"} <= set(header):
        raise UserError(f"{path}: has the columns {show_names(header)}; onset, duration and stim_file are needed")
    rows = [dict(zip(header, line)) for line in lines[1:]]
    onsets = [_float(row.get("onset", "")) for row in rows]
    shown = []
    for number, (row, onset) in enumerate(zip(rows, onsets)):
        if row.get("stim_file", "n/a") != "n/a" and not math.isnan(onset):
            duration = _float(row["duration"])
            end = min((later for later in onsets[number + 1:] if later > onset), default=math.inf)
            shown.append((onset, end if math.isnan(duration) else onset + duration, row["stim_file"]))
    return shown


def _screen(path, root, sidecar):
    """Return the Screen of a run, from the sidecars of the recording and of the events."""
    shown = _sidecar(path.with_name(f"{_run(path)}_events.tsv"), root).get("StimulusPresentation", {})
    size = shown.get("ScreenResolution", sidecar.get("ScreenResolution"))
    units = sidecar.get("x_coordinate", {}).get("Units", sidecar.get("SampleCoordinateUnits", "pixel"))
    fields = {"size": tuple(size) if isinstance(size, list) and len(size) == 2 else None}
    if "bottom" in str(shown.get("ScreenOrigin", sidecar.get("EnvironmentCoordinates", "top"))):
        fields["origin"] = "bottom"
    if str(units).lower().startswith("deg"):
        width, distance = (shown.get("ScreenSize") or [None])[0], shown.get("ScreenDistance")
        if not (fields["size"] and width and distance):
            raise UserError(f"{path}: is in degrees, but the .json of its events lacks ScreenResolution, ScreenSize or "
                            "ScreenDistance (StimulusPresentation); add them")
        metres = distance if distance < MAX_METRES else distance / 100
        fields.update(unit="degrees", width_mm=1000 * width, distance_mm=1000 * metres)
    return Screen(**fields)


def _run(path):
    """Return the part of a file's name that the files of one run share."""
    return "_".join(part for part in path.name.split("_")[:-1] if not part.startswith("recording-"))


def _sidecar(path, root):
    """Return the metadata of a file: from all .json files of its kind in its folder and above, nearer ones last."""
    kind, parts = path.name.split("_")[-1].split(".")[0], set(path.name.split("_")[:-1])
    folders = [folder for folder in reversed(path.parents) if folder == root or root in folder.parents]
    metadata = {}
    for sidecar in (file for folder in folders for file in sorted(folder.glob(f"*{kind}.json"))):
        *entities, last = sidecar.name.split("_")
        if last == f"{kind}.json" and set(entities) <= parts:
            try:
                metadata.update(parse_json(sidecar.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise UserError(f"{sidecar}: cannot be read as metadata ({error}); write it again") from error
    return metadata


def _read_rows(path, width):
    """Yield the rows of a table without names; one with another number of values is an error."""
    with report_damage(path), open_text(path) as file:
        for number, line in enumerate(file, 1):
            row = [value.strip().strip('"') for value in line.rstrip("\r\n").split("\t")]
            if len(row) != width:
                raise UserError(f"{path}: line {number} has {len(row)} values, but its .json names {width} columns")
            yield row


def _float(text):
    try:
        return float(text)
    except ValueError:
        return math.nan  # n/a


def _number(sidecar, key, path, default=None):
    value = sidecar.get(key, default)
    if not isinstance(value, int | float) or key == "SamplingFrequency" and value <= 0:
        raise UserError(f"{path}: its .json has no number for {key}; add it")
    return value
