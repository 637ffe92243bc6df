"""Tables of the paper with the numbers of a run, in four formats, and the HTML report."""
import csv
import json
import re

import pytest

from common.errors import UserError
from evaluation import comparable, formats, tables
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


def fake_scores(dataset="synthetic", convention="mit", train=None):
    return {model: {"model": model, "train": train or dataset, "trained": 0, "dataset": dataset, "edition": "seed 2016", "split": "test", "images": 100,
                    "convention": convention, "failed": 0, "seed": 1, "metrics": {
                        metric: {"mean": 0.1 * (i + 1) + 0.01 * j, "low": 0.1, "high": 0.12, "n": 100, "nan": 0}
                        for j, metric in enumerate(METRICS)}} for i, model in enumerate(tables.MODELS)}


def build(scores, trainings=()):
    nets = {net: {**about, "training": dict(trainings).get(net)} for net, about in NETS.items()}
    return tables.build(scores, nets, {"scored": None, "train": None}, "demo")


@pytest.fixture(scope="module")
def built():
    return {table["title"].split(":")[0]: table for table in build(fake_scores())}


def test_layers_have_a_table_per_net():
    conv = {"name": "conv1", "type": "Convolution", "kernel": [7, 7], "stride": [1, 1], "pad": [3, 3], "blobs": {"conv1": [1, 96, 240, 320]},
            "weights": [[96, 3, 7, 7], [96]], "multiply_adds": 1_083_801_600}
    built = tables.build(fake_scores(), {"deep": {**NETS["deep"], "training": None, "layers": [conv]}, "shallow": NETS["shallow"]},
                         {"scored": None, "train": None}, "demo")
    *_, table = built
    assert len(built) == 8 and table["title"] == "Layers of the deep net (Figure 4)"
    assert table["header"] == ["Layer", "Type", "Kernel", "Stride", "Pad", "Output", "Weights", "Multiplications", "MiB"]
    assert [row["name"] for row in table["rows"]] == ["conv1", "total"] and table["rows"][0]["values"]["weights"] == 14208
    assert table["rows"][0]["cells"]["output"] == "1 x 96 x 240 x 320" and table["rows"][1]["cells"]["mib"] == "28.12"
    assert "| conv1 | Convolution | 7 x 7 | 1 x 1 | 3 x 3 |" in formats.to_markdown(table)
    assert "Layers of the deep net (Figure 4),conv1,this run,weights,14208.0" in formats.to_csv([table])


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


PAPER = {"dataset": "salicon", "images": 10000, "differences": []}


def paper_scores(dataset, train="salicon"):
    """Scores as if of the paper's validation images."""
    count = {"salicon": 5000, "isun": 926}[dataset]
    return {model: {**score, "split": "val", "images": count} for model, score in fake_scores(dataset, train=train).items()}


def test_rows_of_other_data_have_no_line_of_this_run(built):
    for number in (3, 4, 5, 6):
        table = built[f"Table {number}"]
        assert {row["line"] for row in table["rows"]} == {"paper", "order"}, number
        assert "No row is of the data of this run (synthetic test, 100 images (seed 2016), mit convention)" in table["caption"]
        assert len(table["rows"]) == len(comparable.read_table(number)) + (3 if number == 5 else 1)
    assert "none is computed here" in built["Table 6"]["caption"]
    assert {row["notes"][2] for row in built["Table 6"]["rows"] if row["line"] == "paper"} == {"unverified", "benchmark code"}
    lines = rows_of(built["Table 4"], "Shallow Convnet")
    assert lines["paper"]["cells"]["CC"] == "0.5957"
    deep = [row["cells"] for row in built["Table 5"]["rows"] if row["name"] == "Deep Convnet" and row["line"] == "paper"]
    assert [cells["AUC-shuffled"] for cells in deep] == ["0.63", "0.73", "0.72"] and deep[0]["SIM"] == "not reported"


def test_trained_on_one_set_and_scored_on_the_other_fills_the_rows_of_table_5():
    trainings = {net: PAPER for net in ("shallow", "deep")}
    for dataset, label in (("salicon", "SALICON validation"), ("isun", "iSUN validation")):
        table = build(paper_scores(dataset), trainings)[5]
        assert [row["line"] for row in table["rows"]].count("difference") == 2 == [row["line"] for row in table["rows"]].count("this run")
        for name, cc in (("Shallow Convnet", 0.11), ("Deep Convnet", 0.21)):
            place = next(i for i, row in enumerate(table["rows"]) if (row["name"], row["notes"][0]) == (name, label))
            paper, ours, difference = table["rows"][place:place + 3]
            assert ours["values"]["CC"] == pytest.approx(cc) and ours["notes"][0] == f"{dataset} val"
            assert difference["values"]["CC"] == pytest.approx(cc - paper["values"]["CC"])
            assert f"{name} is comparable with the paper" in table["caption"]


@pytest.mark.parametrize("change, reason", [
    ({"differences": ["trained with epochs 20 instead of 1000"]}, "trained with epochs 20 instead of 1000"),
    ({"images": 99}, "trained on 99 of 10,000 images"), ({"dataset": "isun"}, "the net was trained on isun")])
def test_a_run_with_other_settings_has_no_difference(change, reason):
    table = build(paper_scores("salicon"), {"shallow": PAPER, "deep": {**PAPER, **change}})[5]
    lines = [row["line"] for row in table["rows"]]
    assert lines.count("this run") == 2 and lines.count("difference") == 1
    assert f"Deep Convnet is not comparable with the paper, so no difference is printed: {reason}." in table["caption"]


def test_other_images_conventions_and_options_are_not_comparable():
    score = paper_scores("isun")["deep"]
    assert comparable.differences(score, PAPER) == []
    for change, reason in (({"images": 4}, "4 of 926 images"), ({"convention": "salicon"}, "the salicon convention"),
                           ({"train": "salicon+points=repeated"}, "has options")):
        assert reason in " ".join(comparable.differences({**score, **change}, PAPER))
    assert comparable.differences(score, None) == ["the settings of the training are unknown"]
    assert not comparable.has_same_data("iSUN validation", {**score, "train": "isun"}), "the paper's net was trained on SALICON"
    assert not comparable.has_same_data("iSUN test", score)


def test_the_order_of_models_is_counted_in_pairs():
    printed = [{"model": name, **dict.fromkeys(TABLE_METRICS, ""), "CC": cc} for name, cc in
               (("A", ".9"), ("B", ".5"), ("C", ".5"), ("D", ".1"))]
    means = {"A": {"CC": 0.6}, "B": {"CC": 0.8}, "C": {"CC": None}, "D": {"CC": 0.2}}
    agreement, reversed_pairs = comparable.compare_order(printed, means)
    assert agreement["CC"] == (2, 3) and agreement["SIM"] == (0, 0)
    assert reversed_pairs == {("B", "A"): ["CC"]}
    means["C"]["CC"] = 0.7
    assert comparable.compare_order(printed, means)[0]["CC"] == (3, 5), "B and C are tied in the paper: no pair"


def test_tables_state_the_pairs_in_the_other_order(built):
    order = rows_of(built["Table 3"], tables.ORDER_ROW)["order"]
    # fake scores rise in the order of tables.MODELS: shallow < bms < gbvs < itti
    assert order["cells"]["CC"] == "2 of 6" and order["notes"][0] == "iSUN test"
    assert "Baseline: BMS is ahead of Shallow Convnet here in Similarity, CC, AUC shuffled, AUC Borji and AUC Judd, " \
        "not in the paper (iSUN test)." in built["Table 3"]["caption"]
    cells = [row["cells"]["CC"] for row in built["Table 5"]["rows"] if row["line"] == "order"]
    assert cells == ["0 of 1", "1 of 1", "1 of 1"], "the deep net is ahead, but not on iSUN in the paper"


def test_the_first_table_names_both_data_sets():
    scores = fake_scores("osie", train="synthetic")
    run, _, second, *_ = build(scores)
    assert run["title"] == "This run: osie, demo preset, nets trained on synthetic"
    assert "trained on synthetic, scored on osie test" in run["caption"]
    assert [row["name"] for row in second["rows"]] == ["SALICON", "iSUN", "MIT300", "synthetic", "osie"]
    scores["deep"]["trained"] = scores["shallow"]["trained"] = 7
    assert "7 of these images are training images" in build(scores)[0]["caption"]


def test_captions_count_undefined_and_failed_scores():
    scores = fake_scores()
    scores["deep"]["metrics"]["KL"] = {"mean": None, "low": None, "high": None, "n": 0, "nan": 100}
    scores["bms"]["failed"] = 3
    del scores["itti"]
    run, *_ = build(scores)
    assert rows_of(run, "Deep net")["this run"]["cells"]["KL"] == "undefined"
    assert "100 undefined scores" in run["caption"] and "BMS: 3 images could not be scored" in run["caption"]
    assert not rows_of(run, "Itti")
    json.loads(json.dumps(run, allow_nan=False))


def test_one_human_without_observers_is_left_out_and_the_captions_state_it():
    scores = fake_scores()
    nothing = {metric: {"mean": None, "low": None, "high": None, "n": 0, "nan": 100} for metric in METRICS}
    scores["one-human"] |= {"metrics": nothing, "lacking": {NO_OBSERVERS: 98, NO_GROUND_TRUTH: 2}}
    for model in set(scores) - {"one-human"}:
        scores[model]["lacking"] = {NO_GROUND_TRUTH: 2}
    table = build(scores)[0]
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
    run, *_ = built = build(scores)
    assert rows_of(run, "Deep net")["this run"]["cells"]["CC"] == "0.250"
    assert "0.25,,,1," in formats.to_csv(built)


def test_all_formats_contain_the_same_numbers(built):
    for table in built.values():
        markdown, latex = formats.to_markdown(table), formats.to_latex(table)
        lines = [line for line in markdown.splitlines() if line.startswith("|")]
        assert len(lines) == len(table["rows"]) + 2 and len({line.count("|") for line in lines}) == 1
        assert latex.count("\\\\\n") == len(table["rows"]) + 1 and "\\toprule" in latex and "±" not in latex
        assert not re.search(r"(?<!\\)[&%#_](?=\w)", latex.split("\\toprule")[0].split("\\caption")[1].split("}")[0])
        body = latex.split("\\midrule")[1]
        for row in table["rows"]:
            for cell in row["cells"].values():
                assert cell in markdown and cell.replace("±", "$\\pm$").split("&")[0].strip() in body
    rows = list(csv.DictReader(formats.to_csv(list(built.values())).splitlines()))
    assert len(rows) == sum(len(table["rows"]) * len(table["columns"]) for table in built.values())
    cell = next(row for row in rows if (row["table"][:8], row["model"], row["column"]) == ("This run", "Shallow net", "CC"))
    assert float(cell["value"]) == pytest.approx(0.11) and (cell["low"], cell["high"], cell["n"]) == ("0.1", "0.12", "100")


PRINTED = """1: Data | 2.29 | 123.65
1: Parameters | 244.64 | 98.44
1: Total (train) | 249.22 | 345.74
1: Total (test) | 246.93 | 222.09
2: SALICON | Microsoft CoCo | Mouse clicks | Crowd | 10000 | 5000 | 5000
2: iSUN | SUN | Eyetracker | Crowd | 6000 | 926 | 2000
2: MIT300 | Flickr and LabelMe | Eyetracker | 39 | | | 300
3: Shallow Convnet | iSUN test | 0.6833 | 0.8230 | 0.6650 | 0.8463 | 0.8693
3: Xidian | iSUN test | 0.5713 | 0.6167 | 0.6484 | 0.7949 | 0.8207
3: WHU IIP | iSUN test | 0.5593 | 0.6263 | 0.6307 | 0.7960 | 0.8197
3: LCYLab | iSUN test | 0.5474 | 0.5699 | 0.6259 | 0.7921 | 0.8133
3: Rare 2012 Improved | iSUN test | 0.5199 | 0.5199 | 0.6283 | 0.7582 | 0.7846
3: Baseline: BMS | iSUN test | 0.5026 | 0.3465 | 0.5885 | 0.6560 | 0.6914
3: Baseline: GBVS | iSUN test | 0.4798 | 0.5087 | 0.6208 | 0.7913 | 0.8115
3: Baseline: Itti | iSUN test | 0.4251 | 0.3728 | 0.6024 | 0.7262 | 0.7489
4: Shallow Convnet | SALICON test | 0.5198 | 0.5957 | 0.6698 | 0.8291 | 0.8364
4: WHU IIP | SALICON test | 0.4908 | 0.4569 | 0.6064 | 0.7759 | 0.7923
4: Rare 2012 Improved | SALICON test | 0.5017 | 0.5108 | 0.6644 | 0.8047 | 0.8148
4: Xidian | SALICON test | 0.4617 | 0.4811 | 0.6809 | 0.7990 | 0.8051
4: Baseline: BMS | SALICON test | 0.4542 | 0.4268 | 0.6935 | 0.7699 | 0.7899
4: Baseline: GBVS | SALICON test | 0.4460 | 0.4212 | 0.6303 | 0.7816 | 0.7899
4: Baseline: Itti | SALICON test | 0.3777 | 0.2046 | 0.6101 | 0.6603 | 0.6669
5: Shallow Convnet | iSUN validation | | 0.59 | 0.64 | 0.79 |
5: Deep Convnet | iSUN validation | | 0.53 | 0.63 | 0.80 |
5: Shallow Convnet | SALICON validation | | 0.58 | 0.67 | 0.83 |
5: Deep Convnet | SALICON validation | | 0.61 | 0.73 | 0.86 |
5: Shallow Convnet | SALICON test | | 0.60 | 0.67 | 0.83 |
5: Deep Convnet | SALICON test | | 0.62 | 0.72 | 0.86 |"""


def test_tables_1_to_5_are_the_printed_ones():
    """Compare each cell with a second transcription; where the paper's text is beside the checkout, also with that."""
    rows = [f"{number}: " + " | ".join(cell for name, cell in row.items() if name not in ("source", "unit"))
            for number in range(1, 6) for row in comparable.read_table(number)]
    assert [row.replace(" ", "") for row in rows] == [row.replace(" ", "") for row in PRINTED.splitlines()]
    for number in range(3, 6):
        assert all(row["source"].startswith("paper text") for row in comparable.read_table(number))
    assert {row["source"] for row in comparable.read_table(6)} == {"unverified", "benchmark code"}
    text = REPOSITORY.parent / "shared/paper/paper.txt"
    lines = text.read_text().splitlines() if text.is_file() else []
    for row in [row for number in (3, 4, 5) if lines for row in comparable.read_table(number)]:
        printed = [row[metric] for metric in TABLE_METRICS if row[metric]]
        matches = [line for line in lines if line.split()[-len(printed):] == printed]
        assert len(matches) == 1 and matches[0].startswith(row["model"]), row


def test_every_cell_of_the_paper_has_a_source():
    for number in range(1, 7):
        assert all(row["source"] for row in comparable.read_table(number))


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
        Image.new("RGB", (4, 4)).save(tmp_path / f"figures/{name}/scatter.png")
        process = command("evaluation.tables", "--scores", tmp_path / "scores", "--nets", tmp_path / "nets", "--runs",
                          tmp_path / "run", "--figures", tmp_path / "figures", "--name", name, "--out", tmp_path / "out")
        assert process.returncode == 0, process.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "index.html", *(f"{name}.{suffix}" for name in ("first", "second") for suffix in ("md", "csv", "tex", "json"))}
    page = (tmp_path / "out/index.html").read_text()
    assert page.index("<h2>second</h2>") < page.index("<h2>first</h2>") and page.count("data:image/png;base64,") == 2
    assert 'src="http' not in page and "href=\"http" not in page and "&lt;0.01&gt;" in page
    assert all(page.count(f"<h4>Table {number}:") == 2 for number in range(1, 7))
    assert page.count('id="claims"') == 1 and "149 claims: " in page and "Figures 1 and 5 show image" in page


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
    for change, complaint in (({"convention": "salicon"}, "is of .*salicon"), ({"metrics": {}}, r"bms.json: has no metrics.SIM; "),
                              ({"metrics": None}, "bms.json: ")):
        write_json(tmp_path / "shallow.json", scores["shallow"])
        write_json(tmp_path / "bms.json", {**scores["bms"], **change})
        with pytest.raises(UserError, match=complaint):
            tables.read_scores(tmp_path)
    (tmp_path / "bms.json").unlink()
    assert list(tables.read_scores(tmp_path)) == ["shallow"]


def test_names_are_escaped_in_markdown_and_latex():
    name = r"a|b_c*d`e<f>[g] {h} $i$ 100% #1 & \\j ~k ^l"
    table = {"title": name, "caption": name, "header": ["Model", "SIM"], "columns": ["SIM"], "notes": [],
             "rows": [{"name": name + "\n", "line": "this run", "values": {"SIM": 1}, "cells": {"SIM": "1 ± 2"}, "notes": []}]}
    markdown, latex = formats.to_markdown(table), formats.to_latex(table)
    row = next(line for line in markdown.splitlines() if line.startswith("| a"))
    assert row.startswith(r"| a\|b\_c\*d\`e\<f>\[g\] {h}") and row.endswith("| 1 ± 2 |") and r"\\\\j" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 3, "the cells stay two"
    row = next(line for line in latex.splitlines() if line.startswith("a|"))
    assert row == (r"a|b\_c*d`e\textless{}f\textgreater{}[g] \{h\} \$i\$ 100\% \#1 \& \textbackslash{}\textbackslash{}j "
                   r"\textasciitilde{}k \textasciicircum{}l  & 1 $\pm$ 2 \\")


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", ".hidden", "/tmp/x", ""])
def test_the_name_of_a_run_stays_in_the_output_folder(tmp_path, name):
    line = one_line(command("evaluation.tables", "--scores", tmp_path, "--nets", tmp_path, "--out", tmp_path / "out", "--name", name))
    assert line == f"error: --name {name}: is not the name of a file; give it without folders" and not list(tmp_path.iterdir())
