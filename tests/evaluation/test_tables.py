"""Tables of the paper with the numbers of a run, in four formats, and the HTML report."""
import csv
import json
import re

import pytest

from common.errors import UserError
from evaluation import tables
from evaluation.metrics import METRICS, TABLE_METRICS
from evaluation.score import NO_GROUND_TRUTH, NO_OBSERVERS
from tests.conftest import REPOSITORY, command, one_line

NETS = {  # as models.summary writes it; tests/models/test_summary.py counts these numbers in the nets
    "shallow": {"values": {"parameters": 64392512},
                "memory": {"Data": 2.2935, "Parameters": 245.6379, "Total (train)": 250.2249, "Total (test)": 247.9314},
                "measured": {"Total (train)": 781.5, "Total (test)": 276.9}},
    "deep": {"values": {"parameters": 25806209},
             "memory": {"Data": 123.6511, "Parameters": 98.4429, "Total (train)": 345.7451, "Total (test)": 222.094},
             "measured": {}}}


def fake_scores(dataset="synthetic", convention="mit"):
    return {model: {"model": model, "dataset": dataset, "edition": "seed 2016", "split": "test", "images": 100,
                    "convention": convention, "failed": 0, "seed": 1, "metrics": {
                        metric: {"mean": 0.1 * (i + 1) + 0.01 * j, "low": 0.1, "high": 0.12, "n": 100, "nan": 0}
                        for j, metric in enumerate(METRICS)}} for i, model in enumerate(tables.MODELS)}


@pytest.fixture(scope="module")
def built():
    return {table["title"].split(":")[0]: table for table in tables.build(fake_scores(), NETS, None, "demo")}


def rows_of(table, name):
    return {row["line"]: row for row in table["rows"] if row["name"] == name}


def test_all_tables_are_built_in_order(built):
    assert list(built) == ["This run", *(f"Table {number}" for number in range(1, 7))]
    run = built["This run"]
    assert run["title"] == "This run: synthetic, demo preset"
    assert [row["name"] for row in run["rows"]] == list(tables.MODELS.values()) and run["columns"] == list(METRICS)
    assert run["rows"][0]["cells"]["SIM"] == "0.100 ± 0.010"


def test_table_1_shows_the_error_of_the_paper(built):
    lines = rows_of(built["Table 1"], "Parameters")
    assert lines["paper"]["cells"] == {"shallow": "244.64", "deep": "98.44"}
    assert lines["this run"]["cells"] == {"shallow": "245.64", "deep": "98.44"}
    assert lines["difference"]["cells"] == {"shallow": "+1.00", "deep": "+0.00"}
    assert "1.00 MiB short" in built["Table 1"]["caption"]
    assert list(dict.fromkeys(row["name"] for row in built["Table 1"]["rows"])) == [
        "Data", "Parameters", "Total (train)", "Total (test)"]
    assert rows_of(built["Table 1"], "Total (train)")["measured"]["cells"] == {"shallow": "782", "deep": ""}
    assert "measured" not in lines


def test_table_2_counts_the_data_set_of_the_run(built):
    lines = rows_of(built["Table 2"], "synthetic")["this run"]["cells"]
    assert lines["train"] == "1000" and lines["test"] == "100" and lines["observers"] == "20"
    assert rows_of(built["Table 2"], "SALICON")["paper"]["cells"]["train"] == "10000"


def test_a_model_has_lines_of_paper_run_and_difference(built):
    lines = rows_of(built["Table 4"], "Shallow Convnet")
    assert lines["paper"]["cells"]["CC"] == "0.5957" and lines["this run"]["values"]["CC"] == pytest.approx(0.11)
    assert lines["difference"]["values"]["CC"] == pytest.approx(0.11 - 0.5957)
    assert lines["difference"]["notes"][-1] == "not comparable"
    assert set(rows_of(built["Table 4"], "WHU IIP")) == {"paper"}
    for name in ("Baseline: BMS", "Baseline: GBVS", "Baseline: Itti"):
        assert set(rows_of(built["Table 3"], name)) == {"paper", "this run", "difference"}
    # models that the paper's table lacks come last
    assert set(rows_of(built["Table 4"], "Deep net")) == {"this run"} == set(rows_of(built["Table 3"], "One human"))
    deep = [row["cells"] for row in built["Table 5"]["rows"] if row["name"] == "Deep Convnet" and row["line"] == "paper"]
    assert [cells["AUC-shuffled"] for cells in deep] == ["0.63", "0.73", "0.72"] and deep[0]["SIM"] == "not reported"


def test_mit300_has_no_line_of_this_run(built):
    table = built["Table 6"]
    assert "none is computed here" in table["caption"] and "scores on synthetic instead" in table["caption"]
    assert all(row["notes"][0] in ("synthetic test", "") for row in table["rows"] if row["line"] != "paper")
    assert {row["notes"][2] for row in table["rows"] if row["line"] == "paper"} == {"unverified", "benchmark code"}


def test_captions_state_whether_a_run_is_comparable(built):
    for number in (3, 4, 5, 6):
        caption = built[f"Table {number}"]["caption"]
        assert "Comparable: no; " in caption and "demo preset" in caption and "seed 2016" in caption \
            and "mit convention" in caption
    sets = ["SALICON validation", "SALICON test"]
    about = fake_scores("salicon")["shallow"]
    assert tables._comparable(sets, about, "paper") == (True, [])
    assert tables._comparable(["SALICON test"], about, "paper")[0] is False
    assert "demo" in tables._comparable(sets, about, "demo")[1][0]
    assert "salicon convention" in tables._comparable(sets, fake_scores("salicon", "salicon")["deep"], "paper")[1][0]


def test_captions_count_undefined_and_failed_scores():
    scores = fake_scores()
    scores["deep"]["metrics"]["KL"] = {"mean": None, "low": None, "high": None, "n": 0, "nan": 100}
    scores["bms"]["failed"] = 3
    del scores["itti"]
    run, *_, last = tables.build(scores, NETS, None, "demo")
    assert rows_of(run, "Deep net")["this run"]["cells"]["KL"] == "undefined"
    assert "100 undefined scores" in run["caption"] and "BMS: 3 images could not be scored" in last["caption"]
    assert not rows_of(run, "Itti")
    json.loads(json.dumps(run, allow_nan=False))


def test_one_human_without_observers_is_left_out_and_the_captions_state_it():
    scores = fake_scores()
    nothing = {metric: {"mean": None, "low": None, "high": None, "n": 0, "nan": 100} for metric in METRICS}
    scores["one-human"] |= {"metrics": nothing, "lacking": {NO_OBSERVERS: 98, NO_GROUND_TRUTH: 2}}
    for model in set(scores) - {"one-human"}:
        scores[model]["lacking"] = {NO_GROUND_TRUTH: 2}
    built = tables.build(scores, NETS, None, "demo")
    for table in (built[0], *built[3:]):
        assert not rows_of(table, "One human") and rows_of(table, "Centre prior")
        caption = table["caption"]
        assert "One human is left out: 98 of 100 images have no record of the observer of each fixation. " in caption
        assert caption.count("2 of 100 images have no fixations: not scored. ") == 1, "once, not per model"
        assert "undefined scores" not in caption
    scores["one-human"]["lacking"] = {NO_OBSERVERS: 50}
    caption = tables.this_run(scores, "demo")["caption"]
    assert "50 of 100 images have no record of the observer of each fixation: one human is not scored. " in caption


def test_the_mean_of_one_image_has_no_interval():
    scores = fake_scores()
    scores["deep"]["metrics"]["CC"] = {"mean": 0.25, "low": None, "high": None, "n": 1, "nan": 0}
    run, *_ = built = tables.build(scores, NETS, None, "demo")
    assert rows_of(run, "Deep net")["this run"]["cells"]["CC"] == "0.250"
    assert "0.25,,,1," in tables.to_csv(built)


def test_all_formats_contain_the_same_numbers(built):
    for table in built.values():
        markdown, latex = tables.to_markdown(table), tables.to_latex(table)
        lines = [line for line in markdown.splitlines() if line.startswith("|")]
        assert len(lines) == len(table["rows"]) + 2 and len({line.count("|") for line in lines}) == 1
        assert latex.count("\\\\\n") == len(table["rows"]) + 1 and "\\toprule" in latex and "±" not in latex
        assert not re.search(r"(?<!\\)[&%#_](?=\w)", latex.split("\\toprule")[0].split("\\caption")[1].split("}")[0])
        body = latex.split("\\midrule")[1]
        for row in table["rows"]:
            for cell in row["cells"].values():
                assert cell in markdown and cell.replace("±", "$\\pm$").split("&")[0].strip() in body
    rows = list(csv.DictReader(tables.to_csv(list(built.values())).splitlines()))
    assert len(rows) == sum(len(table["rows"]) * len(table["columns"]) for table in built.values())
    cell = next(row for row in rows if (row["table"][:7], row["model"], row["line"], row["column"])
                == ("Table 3", "Shallow Convnet", "this run", "CC"))
    assert float(cell["value"]) == pytest.approx(0.11) and (cell["low"], cell["high"], cell["n"]) == ("0.1", "0.12", "100")


def test_tables_3_to_5_equal_the_supplied_text():
    """Check that every number of the data files is in the paper's text; Table 6 is not in it and is marked so."""
    text = REPOSITORY.parent / "shared/paper/paper.txt"
    if not text.is_file():
        pytest.skip(f"the paper's text is not beside the checkout (looked for {text})")
    lines = text.read_text().splitlines()
    for number in (3, 4, 5):
        for row in tables._read(number):
            printed = [row[metric] for metric in TABLE_METRICS if row[metric]]
            matches = [line for line in lines if line.split()[-len(printed):] == printed]
            assert len(matches) == 1 and matches[0].startswith(row["model"]), (number, row)
            assert row["source"].startswith("paper text")
    assert {row["source"] for row in tables._read(6)} == {"unverified", "benchmark code"}


def test_every_cell_of_the_paper_has_a_source():
    for number in range(1, 7):
        assert all(row["source"] for row in tables._read(number))


def test_the_report_is_one_page_with_the_newest_run_first(tmp_path):
    from PIL import Image

    from common.files import write_json
    for model, value in fake_scores().items():
        write_json(tmp_path / f"scores/{model}.json", value)
    for net, value in NETS.items():
        write_json(tmp_path / f"nets/{net}.json", value)
    write_json(tmp_path / "run/config.json", {"net": "deep", "settings": {"rate": "<0.01>"}, "versions": {"numpy": "1"}})
    for name in ("first", "second"):
        (tmp_path / "figures" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / f"figures/{name}/comparison.png")
        process = command("evaluation.tables", "--scores", tmp_path / "scores", "--nets", tmp_path / "nets", "--runs",
                          tmp_path / "run", "--figures", tmp_path / "figures", "--name", name, "--out", tmp_path / "out")
        assert process.returncode == 0, process.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "index.html", *(f"{name}.{suffix}" for name in ("first", "second") for suffix in ("md", "csv", "tex", "json"))}
    page = (tmp_path / "out/index.html").read_text()
    assert page.index('id="second"') < page.index('id="first"') and page.count("data:image/png;base64,") == 2
    assert 'src="http' not in page and "href=\"http" not in page and "&lt;0.01&gt;" in page
    assert all(page.count(f"Table {number}:") == 2 for number in range(1, 7))


def test_a_damaged_score_file_is_named(tmp_path):
    (tmp_path / "shallow.json").write_text("{")
    process = command("evaluation.tables", "--scores", tmp_path, "--nets", tmp_path, "--name", "a", "--out", tmp_path / "o")
    assert "shallow.json: not valid JSON" in one_line(process)
    (tmp_path / "shallow.json").unlink()
    process = command("evaluation.tables", "--scores", tmp_path, "--nets", tmp_path, "--name", "a", "--out", tmp_path / "o")
    assert "no scores" in one_line(process)


def test_scores_of_different_images_are_not_mixed(tmp_path):
    from common.files import write_json
    scores = fake_scores()
    for change, complaint in (({"convention": "salicon"}, "is of .*salicon"), ({"metrics": {}}, "not a file of evaluation.score")):
        write_json(tmp_path / "shallow.json", scores["shallow"])
        write_json(tmp_path / "bms.json", {**scores["bms"], **change})
        with pytest.raises(UserError, match=complaint):
            tables.read_scores(tmp_path)
    (tmp_path / "bms.json").unlink()
    assert list(tables.read_scores(tmp_path)) == ["shallow"]
