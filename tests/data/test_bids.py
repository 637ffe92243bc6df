"""Eye tracking in BIDS, written as in the specification's examples."""
import gzip
import json

import numpy as np
import pytest

from data import load
from tests.fixtures.images import write_noise

SHAPE = (40, 60)
RATE, START = 100, -0.5  # samples per second; experiment time of the first sample
RUN = "sub-01_task-look"
SIDECAR = {"SamplingFrequency": RATE, "StartTime": START, "PhysioType": "eyetrack", "RecordedEye": "left",
           "SampleCoordinateSystem": "gaze-on-screen", "Columns": ["timestamp", "x_coordinate", "y_coordinate"],
           "x_coordinate": {"Units": "pixel"}, "y_coordinate": {"Units": "pixel"}}
SCREEN = {"StimulusPresentation": {"ScreenResolution": [160, 120], "ScreenSize": [0.4, 0.3], "ScreenDistance": 0.6}}
# experiment time from, to, position in the image (in the centre of the screen); the third is before any image
FIXATIONS = [(0.0, 0.2, (10, 5)), (0.3, 0.5, (20, 30)), (-0.4, -0.2, (1, 1)), (1.1, 1.4, (50, 8))]


def write_tsv(path, rows):
    path.write_bytes(gzip.compress("".join("\t".join(map(str, row)) + "\n" for row in rows).encode()))


@pytest.fixture
def bids(tmp_path):
    for name in ("a", "b"):
        write_noise(tmp_path / f"stimuli/{name}.png", *SHAPE, np.random.default_rng(0))
    folder = tmp_path / "sub-01/beh"
    folder.mkdir(parents=True)
    times = START + np.arange(200) / RATE
    samples = np.full((200, 2), np.nan)
    for start, end, position in FIXATIONS:
        samples[(times >= start - 1e-9) & (times < end - 1e-9)] = np.add(position, (50, 40))
    samples[55] = np.nan  # a lost sample within the first fixation
    stamps = 7_000_000 + 10 * np.arange(200)
    write_tsv(folder / f"{RUN}_recording-eye1_physio.tsv.gz",
              [(stamp, *("n/a" if np.isnan(value) else value for value in sample)) for stamp, sample in zip(stamps, samples)])
    write_tsv(folder / f"{RUN}_recording-eye1_physioevents.tsv.gz",
              [(int(stamps[round((start - START) * RATE)]), round((end - start) * 1000), "fixation", "n/a")
               for start, end, _ in FIXATIONS] + [(7_000_000, "n/a", "n/a", "a message"), (7_000_900, 50, "saccade", "n/a")])
    (folder / f"{RUN}_events.tsv").write_text("onset\tduration\ttrial_type\tstim_file\n0\t0.9\tlook\ta.png\n1.0\tn/a\tlook\tb.png\n")
    (tmp_path / "task-look_events.json").write_text(json.dumps(SCREEN))
    (tmp_path / "task-look_physio.json").write_text(json.dumps(SIDECAR))
    (folder / f"{RUN}_recording-eye1_physioevents.json").write_text(json.dumps(
        {"Columns": ["onset", "duration", "trial_type", "message"], "ForeignIndexColumn": "timestamp"}))
    return tmp_path


def test_fixations_are_assigned_to_the_images_that_were_shown(bids):
    dataset = load("folder", "all", bids)
    assert dataset.open("a").fixations.tolist() == [[10, 5], [20, 30]] and dataset.open("b").fixations.tolist() == [[50, 8]]
    assert dataset.open("a").observers.tolist() == [0, 0] and not dataset.faults
    assert any("1 rows were made while no image was shown" in note for note in dataset.notes)


def test_the_data_set_can_lie_in_fixations(bids):
    (bids / "stimuli").rename(bids / "images")
    for name in ("a", "b"):  # with images of its own and tables that are no fixations
        write_noise(bids / f"fixations/stimuli/{name}.png", *SHAPE, np.random.default_rng(0))
    for path in ("sub-01", "task-look_events.json", "task-look_physio.json"):
        (bids / path).rename(bids / "fixations" / path)
    (bids / "fixations/participants.tsv").write_text("participant_id\nsub-01\n")
    dataset = load("folder", "all", bids)
    assert dataset.open("a").fixations.tolist() == [[10, 5], [20, 30]] and not dataset.faults


def test_a_recording_can_pause_between_trials(bids):
    """Read timestamps, not numbers of rows: the samples from 0.6 s to 1.0 s are missing."""
    folder = bids / "sub-01/beh"
    path = folder / f"{RUN}_recording-eye1_physio.tsv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    first, last = (round((second - START) * RATE) for second in (0.6, 1.0))
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines[:first] + lines[last:]).encode()))
    dataset = load("folder", "all", bids)
    assert dataset.open("a").fixations.tolist() == [[10, 5], [20, 30]] and dataset.open("b").fixations.tolist() == [[50, 8]]


def test_events_can_be_indexed_by_row_and_durations_in_seconds(bids):
    folder = bids / "sub-01/beh"
    write_tsv(folder / f"{RUN}_recording-eye1_physioevents.tsv.gz",
              [(round((start - START) * RATE) + 1, round(end - start, 3), "fixation") for start, end, _ in FIXATIONS])
    (folder / f"{RUN}_recording-eye1_physioevents.json").write_text(json.dumps({"Columns": ["onset", "duration", "trial_type"]}))
    assert load("folder", "all", bids).open("a").fixations.tolist() == [[10, 5], [20, 30]]


def test_degrees_and_an_origin_below_are_converted(bids):
    sidecar = {**SIDECAR, "x_coordinate": {"Units": "deg"}, "y_coordinate": {"Units": "deg"}}
    (bids / "task-look_physio.json").write_text(json.dumps(sidecar))
    screen = {"StimulusPresentation": {**SCREEN["StimulusPresentation"], "ScreenOrigin": ["bottom", "left"], "ScreenDistance": 60}}
    (bids / "task-look_events.json").write_text(json.dumps(screen))
    path = bids / f"sub-01/beh/{RUN}_recording-eye1_physio.tsv.gz"
    rows = [line.split("\t") for line in gzip.decompress(path.read_bytes()).decode().splitlines()]

    def to_degrees(pixels):
        return np.degrees(np.arctan(pixels * 400 / 160 / 600))

    write_tsv(path, [(stamp, x, y) if x == "n/a" else (stamp, to_degrees(float(x) - 80), to_degrees(60 - float(y)))
                     for stamp, x, y in rows])
    np.testing.assert_allclose(load("folder", "all", bids).open("a").fixations, [[10, 5], [20, 30]], atol=1e-3)


@pytest.mark.parametrize("damage, message", [
    (lambda folder: (folder / f"{RUN}_events.tsv").unlink(), "_events.tsv: missing"),
    (lambda folder: (folder / f"{RUN}_recording-eye1_physioevents.tsv.gz").unlink(), "with its fixations; detect them"),
    (lambda folder: write_tsv(folder / f"{RUN}_recording-eye1_physio.tsv.gz", [(1, 2)]), "line 1 has 2 values"),
    (lambda folder: (folder / f"{RUN}_events.tsv").write_text("onset\tduration\n0\t1\n"), "stim_file are needed"),
])
def test_a_recording_that_cannot_be_used_is_named(bids, damage, message):
    damage(bids / "sub-01/beh")
    faults = load("folder", "all", bids).faults
    assert len(faults) == 1 and message in faults[0]
