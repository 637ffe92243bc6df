"""Damaged JSON, and valid JSON with the content of something else, is an error of one line."""
import json

import pytest

from common.errors import UserError
from common.files import NONE, NUMBER, check_content, parse_json, read_json, write_json
from common.runs import prepared_data, read_config, start
from deep.predictor import Predictor as DeepPredictor
from evaluation.report import to_html
from evaluation.tables import NET, SCORE, read_scores
from tests.conftest import REPOSITORY

SCORES = REPOSITORY.parent / "shared/cases/faults/fuzz/scores_json"


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"a":' * 100_000, '{"a": "\\ud800"}', "{} {}", "\ufeff{}", "[]",
                                  '"text"', "null", '{"a": ' + "9" * 5000 + "}"])
def test_damaged_json_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.json: .*; delete it and run the step that writes it again") as raised:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(raised.value)


def test_whole_json_is_read(tmp_path):
    value = {"a": [1, 2.5, None, "ü\U0001f600", {"b": True}]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value == parse_json(json.dumps(value)) == parse_json(json.dumps(value).encode())


CONTENT = {"name": str, "rate?": (NUMBER, NONE), "sizes": [int], "scores": {str: {"mean": NUMBER}}}
FITTING = {"name": "a", "sizes": [1, 2], "scores": {"x": {"mean": 1, "n": []}}, "more": 3}


@pytest.mark.parametrize("change, fault", [
    ({}, None), ({"rate": 1.5}, None), ({"rate": None}, None), ({"sizes": []}, None), ({"scores": {}}, None),
    ({"name": None}, "name is of type NoneType, not str"), ({"name": ...}, "has no name"),
    ({"rate": "1"}, "rate is of type str, not NoneType"), ({"sizes": [1, True]}, r"sizes\[1\] is of type bool, not int"),
    ({"sizes": {}}, "sizes is of type dict, not list"), ({"scores": {"x": 1}}, "scores.x is of type int, not dict"),
    ({"scores": {"x": {}}}, "has no scores.x.mean"),
])
def test_the_first_difference_in_content_is_named(change, fault):
    value = {name: part for name, part in {**FITTING, **change}.items() if part is not ...}
    if fault is None:
        check_content(value, CONTENT, "a.json")
    else:
        with pytest.raises(UserError, match=f"^a.json: {fault}; train again$"):
            check_content(value, CONTENT, "a.json", "train again")


WRONG = [{}, {"net": 1}, {"net": "deep", "predict": []}, {"net": "deep", "predict": {"mean_bgr": "x"}, "settings": 3},
         {"net": "deep", "predict": {"longest_side": None}}, {"net": "deep", "predict": {}, "versions": {"numpy": []}},
         {"net": ["deep"], "predict": {}, "settings": {}}]
READERS = {
    "config.json": lambda path: DeepPredictor(path.parent / "weights.caffemodel"),
    "other/config.json": lambda path: read_config(path.parent / "weights", "deep", {"settings": {"data": {"images": int}}}),
    "run/config.json": lambda path: start(path.parent, "deep", {"rate": 1}, {}, ()),
    "manifest.json": lambda path: prepared_data(path.parent, "deep", {"train": int}),
    "shallow.json": lambda path: read_scores(path.parent), "report/a.json": lambda path: to_html(path.parent, None),
}


@pytest.mark.parametrize("name", READERS)
def test_wrong_content_is_one_line(tmp_path, name):
    for value in WRONG if name != "other/config.json" else WRONG[2:]:  # without "predict": of another program
        write_json(tmp_path / name, value)
        with pytest.raises(UserError) as raised:
            READERS[name](tmp_path / name)
        assert "\n" not in str(raised.value) and "; " in str(raised.value)


def test_damaged_scores_are_one_line(tmp_path):
    if not SCORES.is_dir():
        pytest.skip(f"the damaged scores are not beside the checkout (looked for {SCORES})")
    for path in SCORES.iterdir():
        (tmp_path / "shallow.json").write_bytes(path.read_bytes())
        for content in (SCORE, NET):
            with pytest.raises(UserError, match=r"shallow.json: "):
                read_json(tmp_path / "shallow.json", content)
