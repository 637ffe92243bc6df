"""Tables of fixations as people and eye trackers write them."""
import gzip
import json

import numpy as np
import pytest

from common.errors import UserError
from data.tables import NO_POSITION, NOT_FIXATION, OTHER_EYE, normalise, read_table

POINTS = [[27.5, 17.25], [11, 34.5], [63.5, 0]]


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def rows(separator=",", decimal=".", names=("x", "y")):
    lines = [separator.join(names), *(separator.join(str(value).replace(".", decimal) for value in point) for point in POINTS)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name, text, encoding", [
    ("a.csv", rows(), "utf-8"),
    ("a.csv", rows(), "utf-8-sig"),
    ("a.csv", rows().replace("\n", "\r\n"), "utf-16"),
    ("a.csv", rows(";", ","), "utf-8"),
    ("a.txt", rows("\t", ","), "utf-8"),
    ("a.tsv", rows("\t"), "utf-16-be-with-mark"),
    ("a.txt", rows(" "), "utf-8"),
    ("a.txt", rows("   "), "utf-8"),
    ("a.csv", "# made by a tracker\n\n" + rows(), "utf-8"),
    ("a.csv", rows(names=("Y", "X")).replace("Y,X", "X , Y"), "utf-8"),
    ("a.csv", "row,col\n" + "".join(f"{y},{x}\n" for x, y in POINTS), "utf-8"),
    ("a.csv", "x,y,\n" + "".join(f"{x},{y},\n" for x, y in POINTS), "utf-8"),
    ("a.csv", "".join(f"{x}, {y}\n" for x, y in POINTS), "utf-8"),
    ("a.csv", "".join(f"{index + 1},{x},{y},200\n" for index, (x, y) in enumerate(POINTS)), "utf-8"),
    ("a.csv", "".join(f"{x},{y},200\n" for x, y in POINTS), "utf-8"),
    ("a.csv", "Beobachter;x;y\n" + "".join(f"Jörg;{x};{y}\n" for x, y in POINTS), "cp1252"),
    ("a.json", json.dumps([{"x": x, "y": y} for x, y in POINTS]), "utf-8"),
    ("a.json", json.dumps({"data": [{"X": [x for x, _ in POINTS], "Y": [y for _, y in POINTS]}]}), "utf-8"),
])
def test_separator_decimal_mark_and_encoding_are_detected(tmp_path, name, text, encoding):
    if encoding == "utf-16-be-with-mark":
        text, encoding = "\ufeff" + text, "utf-16-be"
    table = read_table(write(tmp_path / name, text, encoding))
    assert table.points.tolist() == POINTS and table.screen.unit == "pixels"


def test_a_compressed_table_is_read_and_a_cut_off_one_is_an_error(tmp_path):
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress(rows("\t").encode()))
    assert read_table(path).points.tolist() == POINTS
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match=r"a\.tsv\.gz: .*copy the file again"):
        read_table(path)


@pytest.mark.parametrize("missing", ["", ".", "nan", "NaN", "NA", "-"])
def test_rows_without_a_position_are_dropped_and_counted(tmp_path, missing):
    table = read_table(write(tmp_path / "a.csv", f"x,y,observer\n{missing},{missing},ann\n3,4,bob\n{missing},{missing},bob\n\n"))
    assert table.points.tolist() == [[3, 4]] and table.observers == ["bob"] and table.dropped[NO_POSITION] == 2


@pytest.mark.parametrize("column", ["observer", "subject_id", "Participant ID", "user", "name", "RECORDING_SESSION_LABEL"])
def test_columns_of_observers_are_recognised(tmp_path, column):
    assert read_table(write(tmp_path / "a.csv", f"{column},x,y\nann,1,2\nbob,3,4\n"), of_one_image=True).observers == ["ann", "bob"]


@pytest.mark.parametrize("column", ["image", "Stimulus", "file name", "Presented Stimulus name", "name"])
def test_columns_of_images_are_recognised(tmp_path, column):
    table = read_table(write(tmp_path / "a.csv", f"subject,{column},x,y\nann,p0.png,1,2\nann,p1.png,3,4\nbob,p0.png,5,6\n"))
    assert table.rows_by_image() == {"p0.png": [0, 2], "p1.png": [1]}
    points, observers = table.select([0, 2])
    assert points.tolist() == [[1, 2], [5, 6]] and observers == ["ann", "bob"]


def test_lists_in_json_are_one_fixation_per_element(tmp_path):
    path = write(tmp_path / "fixations.json", json.dumps([
        {"name": "p0.png", "subject": 1, "X": [1, 2.5], "Y": [3, 4], "T": [200, 210], "length": 2},
        {"name": "p1.png", "subject": 2, "X": [5], "Y": [6], "T": [90], "length": 1},
        {"name": "p2.png", "subject": 2, "X": [], "Y": [], "T": [], "length": 0}]))
    table = read_table(path)
    assert table.points.tolist() == [[1, 3], [2.5, 4], [5, 6]]
    assert table.images == ["p0.png", "p0.png", "p1.png"] and table.observers == ["1", "1", "2"]


def test_json_of_another_structure_is_an_error_with_an_example(tmp_path):
    with pytest.raises(UserError, match=r'is not a list of objects; write it as \[{"image": ..., "x": ..., "y": ...}, ...\]$'):
        read_table(write(tmp_path / "a.json", "[1, 2]"))


def test_options_name_other_columns(tmp_path):
    path = write(tmp_path / "a.csv", "who,where x,where y,what\nann,1,2,p0\n")
    table = read_table(path, {"x": "where_x", "y": "Where Y", "observer": "who", "image": "what"})
    assert (table.points.tolist(), table.observers, table.images) == ([[1, 2]], ["ann"], ["p0"])
    with pytest.raises(UserError, match="has no column 'depth', which the option x= names; give one of these: who, where_x"):
        read_table(path, {"x": "depth", "y": "where_y"})
    numbers = write(tmp_path / "b.csv", "9,1,2\n8,3,4\n")
    assert read_table(numbers, {"x": 2.0, "y": 3.0}).points.tolist() == [[1, 2], [3, 4]]


def test_tobii_rows_of_fixations_are_read_once_in_media_coordinates(tmp_path):
    header = ["Recording timestamp", "Participant name", "Presented Stimulus name", "Eye movement type",
              "Eye movement type index", "Fixation point X", "Fixation point Y", "Fixation point X (MCSnorm)",
              "Fixation point Y (MCSnorm)"]
    lines = [(0, "P01", "p0", "Saccade", 1, "", "", "", ""), (8, "P01", "p0", "Fixation", 1, 960, 540, "0,5", "0,25"),
             (16, "P01", "p0", "Fixation", 1, 960, 540, "0,5", "0,25"), (24, "P01", "p0", "Unclassified", 1, "", "", "", ""),
             (32, "P01", "p0", "Fixation", 2, 480, 540, "0,125", "0,25"), (40, "P01", "p1", "Fixation", 3, "", "", "", "")]
    text = "\n".join("\t".join(map(str, line)) for line in [header, *lines])
    table = read_table(write(tmp_path / "Recording1.tsv", text, "utf-16"))
    assert table.points.tolist() == [[0.5, 0.25], [0.125, 0.25]] and table.images == ["p0", "p0"]
    assert table.screen.unit == "fraction of the image" and table.observers == ["P01"] * 2
    assert table.dropped == {NOT_FIXATION: 2, NO_POSITION: 1}


def test_gazepoint_keeps_the_last_row_of_a_fixation_and_drops_invalid_ones(tmp_path):
    text = ("MEDIA_ID,MEDIA_NAME,CNT,TIME(2026/01/01 00:00:00.000),FPOGX,FPOGY,FPOGS,FPOGD,FPOGID,FPOGV,\n"
            "0,p0,0,0.0,0.30,0.50,0,0.1,1,1,\n0,p0,1,0.1,0.31,0.52,0,0.2,1,1,\n0,p0,2,0.2,0.9,0.9,0,0.2,2,0,\n"
            "0,p0,3,0.3,0.6,0.7,0,0.2,3,1,\n")
    table = read_table(write(tmp_path / "User 1_all_gaze.csv", text))
    assert table.points.tolist() == [[0.31, 0.52], [0.6, 0.7]] and table.screen.unit == "fraction" and sum(table.dropped.values()) == 1


def test_pupil_positions_on_a_surface_have_their_origin_below(tmp_path):
    text = ("world_timestamp,world_index,fixation_id,start_timestamp,duration,dispersion,norm_pos_x,norm_pos_y,x_scaled,y_scaled,"
            "on_surf\n100,0,1,100,150,0.4,0.75,0.25,48,12,True\n101,1,2,101,150,0.4,1.5,0.5,96,24,False\n")
    table = read_table(write(tmp_path / "p0.csv", text))
    assert table.points.tolist() == [[0.75, 0.25]] and (table.screen.unit, table.screen.origin) == ("fraction of the image", "bottom")


def test_a_saccade_column_with_other_content_drops_nothing(tmp_path):
    assert len(read_table(write(tmp_path / "a.csv", "x,y,category\n1,2,cats\n3,4,dogs\n")).points) == 2


@pytest.mark.parametrize("text, message", [
    ("", "must name the columns"),
    ("a,b\n1,2\n", "must name the columns, x,y or row,col"),
    ("7\n8\n", "must name the columns"),
    ("x,y\n3,4\n5\n", "line 3 has only one of x and y"),
    ("x,y\n3,four\n", r"line 2 has no numbers for the point \('four'\)"),
    ("x,y\n3,inf\n", "line 2 has an infinite position"),
    ("x,y\n27,8,29,1\n44,3,30,1\n", "line 2 has 4 values, but the first line names 2 columns; decimal commas"),
    ("x,y\n1,2\0\n", "is not text"),
])
def test_a_damaged_table_is_an_error_that_names_the_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as error:
        read_table(write(tmp_path / "a.csv", text))
    assert "a.csv" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "[1, 2]", "{}", "[" * 100_000])
def test_json_of_another_form_is_an_error(tmp_path, text):
    with pytest.raises(UserError, match=r"a\.json: is not"):
        read_table(write(tmp_path / "a.json", text))


def test_names_are_compared_without_case_and_punctuation():
    assert normalise(" Fixation point X (MCSnorm)") == "fixation_point_x_mcsnorm"
    assert np.unique([normalise(name) for name in ("x-px", "X px", "x_px")]).tolist() == ["x_px"]


def test_smi_rows_of_the_right_eye_are_dropped_where_the_left_one_was_recorded(tmp_path):
    rows = [("a.jpg", person, "Fixation", eye, x, 3) for person, eyes in (("P1", "Left Right"), ("P2", "Right"))
            for eye, x in zip(eyes.split(), (10, 12))]
    path = tmp_path / "Event Statistics.txt"
    path.write_text("\n".join("\t".join(map(str, row)) for row in [
        ("Stimulus", "Participant", "Category", "Eye L/R", "Fixation Position X [px]", "Fixation Position Y [px]"), *rows]))
    table = read_table(path)
    assert table.points.tolist() == [[10, 3], [10, 3]] and table.observers == ["P1", "P2"]
    assert table.dropped == {OTHER_EYE: 1}


def test_rows_of_a_fixation_without_a_number_are_read_once(tmp_path):
    """Read samples of Tobii without "Eye movement type index": a fixation takes as many rows as it has samples."""
    lines = ["Presented Stimulus name\tEye movement type\tFixation point X\tFixation point Y"]
    for x in (10, 20):
        lines += [f"a\tFixation\t{x}\t5"] * 30 + ["a\tSaccade\t\t"] * 3
    table = read_table(write(tmp_path / "a.tsv", "\n".join(lines)))
    assert table.points.tolist() == [[10, 5], [20, 5]]


def test_a_table_without_names_can_have_names_of_images(tmp_path):
    path = write(tmp_path / "a.csv", "p0.png,12,33\np1.png,5,6\n")
    table = read_table(path, {"image": 1.0, "x": 2.0, "y": 3.0})
    assert table.points.tolist() == [[12, 33], [5, 6]] and table.images == ["p0.png", "p1.png"]


def test_all_lists_of_a_json_file_are_read(tmp_path):
    content = {"train": [{"name": "a.jpg", "X": [1, 2], "Y": [3, 4], "bbox": [0, 0, 5, 5]}], "test": [{"name": "b.jpg", "X": [5], "Y": [6]}]}
    table = read_table(write(tmp_path / "a.json", json.dumps(content)))
    assert table.points.tolist() == [[1, 3], [2, 4], [5, 6]] and table.images == ["a.jpg", "a.jpg", "b.jpg"]
    assert not table.dropped


def test_quoted_decimal_commas_and_excels_separator_line(tmp_path):
    table = read_table(write(tmp_path / "a.csv", 'x,y\n"12,5","33,1"\n'))
    assert table.points.tolist() == [[12.5, 33.1]]
    assert read_table(write(tmp_path / "b.csv", "sep=;\nx;y\n1,5;2\n")).points.tolist() == [[1.5, 2]]
    with pytest.raises(UserError, match="no numbers for the point"):  # thousands, or decimals?
        read_table(write(tmp_path / "c.csv", 'x,y\n"1,234","33,1"\n'))


def test_the_eye_is_chosen_for_each_person_and_image(tmp_path):
    lines = ["image,eye,x,y", "a,L,1,1", "a,R,2,2", "b,R,3,3"]
    assert read_table(write(tmp_path / "a.csv", "\n".join(lines))).points.tolist() == [[1, 1], [3, 3]]
