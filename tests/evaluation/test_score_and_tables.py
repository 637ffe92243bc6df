"""Scoring files of maps, and what becomes of the scores."""
import csv

import numpy as np
import pytest

from data import load
from data.files import read_json
from data.maps import write_maps
from evaluation import baselines, figures, score, tables
from evaluation.metrics import MEASURES
from tests.conftest import REPOSITORY, command, one_line


@pytest.fixture(scope="module")
def few():
    """Eight test images instead of a hundred."""
    dataset = load("synthetic", "test")
    dataset.names = dataset.names[:8]
    return dataset


def test_people_themselves_beat_chance_on_every_measure(few):
    people = score.summarise(score.score(few, lambda index, sample: sample.density))
    noise = score.summarise(score.score(few, lambda index, sample: baselines.chance(sample.shape, index)))
    for measure in MEASURES:
        assert people[measure]["mean"] > noise[measure]["mean"] + 0.15, measure
        assert people[measure]["low"] <= people[measure]["mean"] <= people[measure]["high"]
    assert people["CC"]["mean"] == pytest.approx(1) and people["SIM"]["mean"] == pytest.approx(1)
    assert noise["AUC-Judd"]["mean"] == pytest.approx(0.5, abs=0.03)


def test_the_centre_prior_has_no_merit_in_shuffled_auc(few):
    training = load("synthetic", "train")
    training.names = training.names[:60]
    prior = baselines.centre_prior(training)
    assert prior.shape == (480, 640) and prior.max() == 1
    scores = score.summarise(score.score(few, lambda index, sample: prior))
    assert scores["AUC-Judd"]["mean"] > 0.6 > scores["AUC-shuffled"]["mean"]


def test_other_fixations_are_of_other_images(few):
    others = score.other_fixations(few, 2, count=3)
    assert others.shape == (480, 640) and others.dtype == bool and others.sum() > 100
    np.testing.assert_array_equal(others, score.other_fixations(few, 2, count=3))
    everyone = score.other_fixations(few, 2, count=99)
    alone = np.zeros((480, 640), bool)
    x, y = few[2].fixations.round().astype(int).T
    alone[y, x] = True
    assert (everyone & alone).mean() < alone.mean() / 2


def test_nan_is_left_out_and_counted():
    rows = [dict.fromkeys(MEASURES, 0.5), {**dict.fromkeys(MEASURES, 0.7), "CC": float("nan")}]
    summary = score.summarise(rows)
    assert summary["CC"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 1, "nan": 1}
    assert summary["SIM"]["mean"] == pytest.approx(0.6) and summary["SIM"]["nan"] == 0


def test_missing_and_misshapen_maps_are_named(tmp_path):
    with write_maps(tmp_path / "a.h5", "deep") as store:
        store("synthetic_test_0000", np.zeros((480, 640)))
    arguments = ["--predictions", tmp_path / "a.h5", "--out", tmp_path / "scores"]
    assert "no map for 99 of the 100 test images" in one_line(command("evaluation.score", *arguments))
    with write_maps(tmp_path / "a.h5", "deep") as store:
        for name in load("synthetic", "test").names:
            store(name, np.eye(4))
    assert "synthetic_test_0000: the map is 4x4, the image 640x480" in one_line(command("evaluation.score", *arguments))
    assert not list(tmp_path.glob("scores*"))


def test_score_command(tmp_path):
    process = command("evaluation.score", "--baseline", "chance", "--out", tmp_path / "chance")
    assert process.returncode == 0, process.stderr
    with open(tmp_path / "chance.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    summary = read_json(tmp_path / "chance.json")
    assert len(rows) == 100 and summary["images"] == 100 and summary["convention"] == "mit"
    for measure in MEASURES:
        assert np.mean([float(row[measure]) for row in rows]) == pytest.approx(summary["measures"][measure]["mean"])


def fake_scores():
    return [{"model": model, "dataset": "synthetic", "images": 100, "measures": {
        measure: {"mean": 0.1 * (i + 1) + 0.01 * j, "low": 0.1, "high": 0.12, "n": 100, "nan": 0}
        for j, measure in enumerate(MEASURES)}} for i, model in enumerate(tables.OURS)]


def test_table_has_our_rows_and_the_papers():
    table = tables.build(fake_scores(), "demo")
    assert [row["model"] for row in table["rows"][:4]] == list(tables.LABELS.values())
    paper = {(row["model"], row["data"]): row for row in table["rows"][4:]}
    assert paper["Shallow Convnet, paper", "SALICON test"]["CC"] in (0.5957, 0.6)
    assert paper["Deep Convnet, paper", "SALICON validation"]["AUC-shuffled"] == 0.73
    assert "not comparable" in table["caption"]
    markdown, latex = tables.to_markdown(table), tables.to_latex(table)
    assert "0.110 ± 0.010" in markdown and "not reported" in markdown and "Table 5 (paper text)" in markdown
    assert latex.count("\\\\") == len(table["rows"]) + 1 and "\\toprule" in latex and "±" not in latex
    rows = list(csv.reader(tables.to_csv(table).splitlines()))
    assert len({len(row) for row in rows}) == 1 and len(rows) == len(table["rows"]) + 1


def test_tables_3_to_5_say_what_the_supplied_text_says():
    """Every number of the data files stands in the paper's text; Table 6 is not in it and says so."""
    text = REPOSITORY.parent / "shared/paper/paper.txt"
    if not text.is_file():
        pytest.skip(f"the paper's text is not beside the checkout (looked for {text})")
    lines = text.read_text().splitlines()
    for name in ("table3", "table4", "table5"):
        for row in csv.DictReader(open(tables.PAPER / f"{name}.csv")):
            printed = [row[measure] for measure in MEASURES if row[measure]]
            found = [line for line in lines if line.split()[-len(printed):] == printed]
            assert len(found) == 1 and found[0].startswith(row["model"]), (name, row)
            assert row["source"].startswith("paper text")
    assert {row["source"] for row in csv.DictReader(open(tables.PAPER / "table6.csv"))} == {"unverified", "benchmark code"}


def test_report_command(tmp_path):
    """From files of maps and scores to one page with pictures."""
    from PIL import Image

    from data.files import write_json
    dataset = load("synthetic", "test")
    for net in ("shallow", "deep"):
        with write_maps(tmp_path / f"maps/{net}/predictions.h5", net) as store:
            for index in np.linspace(0, 99, figures.ROWS).round().astype(int):
                store(dataset.names[index], dataset[int(index)].density)
    for model, value in zip(tables.OURS, fake_scores()):
        write_json(tmp_path / f"scores/{model}.json", value)
    process = command("evaluation.tables", "--scores", tmp_path / "scores", "--predictions", tmp_path / "maps",
                      "--name", "synthetic-demo", "--out", tmp_path / "tables")
    assert process.returncode == 0, process.stderr
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        *(f"synthetic-demo.{suffix}" for suffix in ("md", "csv", "tex", "json", "png")), "index.html"}
    page = (tmp_path / "tables/index.html").read_text()
    assert "data:image/png;base64," in page and "Shallow net, this run" in page and 'src="http' not in page
    sheet = np.asarray(Image.open(tmp_path / "tables/synthetic-demo.png"))
    assert sheet.shape == (figures.HEADER + figures.ROWS * (240 + figures.GAP), 4 * 328 - 8, 3)


def test_overlay_of_a_constant_map_is_no_error():
    image = np.full((8, 9, 3), 100, np.uint8)
    assert figures.overlay(image, np.ones((8, 9))).shape == image.shape
