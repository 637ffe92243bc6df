"""The report in a browser: no error, tables that sort, sections, sliders and enlarged images; and runs that lack files."""
import html
import json
import re
import shutil
import subprocess
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from common.files import write_json
from common.layers import Layer
from evaluation import examples, report
from evaluation.metrics import METRICS
from tests.conftest import command, one_line
from tests.evaluation.test_tables import NETS, fake_scores

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LAYERS = [Layer("data", "Input", blobs={"data": [1, 3, 240, 320]}),
          Layer("conv1", "Convolution", [7, 7], [1, 1], [3, 3], {"conv1": [1, 96, 240, 320]}, [[96, 3, 7, 7], [96]], 1_083_801_600)]
MODELS = ["Shallow net", "Deep net", "One human", "BMS", "GBVS", "Itti", "Centre prior", "Chance"]


def write_inputs(folder, scores=None, nets=("shallow", "deep")):
    """Write small files of all kinds that evaluation.tables reads."""
    for model, value in (scores or fake_scores()).items():
        write_json(folder / f"scores/{model}.json", value)
    for net in nets:
        write_json(folder / f"nets/{net}.json", {**NETS[net], "layers": [asdict(layer) for layer in LAYERS]})
    write_json(folder / "run/config.json", {"net": "deep", "settings": {"rate": "</script><b>0.01"}, "versions": {"numpy": "1"},
                                            "resumed": [{"after": 70, "versions": {"device": "gpu 0, A&B"}}]})


def write_figures(folder):
    """Write the figures of a run; photographs with noise, so that their size matters."""
    folder.mkdir(parents=True)
    for name in ("comparison-maps.png", "scatter.png", "filters-deep.png", "curves-shallow.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)).save(folder / name)
    (folder / "architecture-deep.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="700" height="300"/>')
    chosen = [{"name": f"image <{i}>", "score": 0.9 - i / 10, "rank": 1 + i, "total": 2} for i in range(2)]
    image, maps = np.full((480, 640, 3), 90, np.uint8), [np.eye(480, 640, dtype=np.float32)] * 3
    pixel = np.full((1, 1, 3), 200, np.uint8), [np.ones((1, 1), np.float32)] * 3
    examples.write_examples(chosen, [(image, maps), pixel], folder / "examples")


def write_report(folder, name="synthetic-demo"):
    return command("evaluation.tables", "--scores", folder / "scores", "--nets", folder / "nets", "--runs", folder / "run",
                   "--figures", folder / "figures", "--name", name, "--out", folder / "out")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_inputs(folder)
    write_figures(folder / "figures/synthetic-demo")
    process = write_report(folder)
    assert process.returncode == 0, process.stderr
    return (folder / "out/index.html").read_text(encoding="utf-8")


def test_the_versions_with_which_a_run_resumed_are_listed(page):
    assert re.search(r"resumed after 70</th>\s*<td[^>]*>device</td>\s*<td[^>]*>gpu 0, A&amp;B</td>", page)


def browse(page, script, folder, width=1280):
    """Open a page in Chromium, run a script that returns a value, and return the value and the messages of the console."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    added = ("<script>addEventListener('load', () => setTimeout(() => { const output = document.createElement('pre'); "
             "output.id = 'output'; output.textContent = JSON.stringify((() => {" + script + "})()); "
             "document.body.append(output); }))</script></body>")
    path = folder / "page.html"
    path.write_text(page.replace("</body>", added), encoding="utf-8")
    process = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
                              "--enable-logging=stderr", "--virtual-time-budget=5000", f"--window-size={width},900",
                              "--dump-dom", path.as_uri()], text=True, capture_output=True, timeout=120, check=False)
    output = re.search(r'<pre id="output">(.*?)</pre>', process.stdout, re.S)
    assert output, process.stderr[-2000:]
    return json.loads(html.unescape(output[1])), [line for line in process.stderr.splitlines() if "CONSOLE" in line]


SORTING = """
const table = document.querySelector("table.sortable"), names = () => [...table.tBodies].map(body => body.rows[0].cells[0].textContent);
const head = table.tHead.rows[0].cells[2], steps = [[names(), head.getAttribute("aria-sort")]];
for (let click = 0; click < 3; click++) {
  head.querySelector("button").click();
  steps.push([names(), head.getAttribute("aria-sort"), document.getElementById("status").textContent]);
}
table.tHead.rows[0].cells[0].querySelector("button").click();
steps.push([names(), head.getAttribute("aria-sort"), document.getElementById("status").textContent]);
return steps;
"""


def test_a_table_sorts_by_a_click_on_a_heading(page, tmp_path):
    (start, descending, ascending, again, by_name), messages = browse(page, SORTING, tmp_path)
    assert messages == []
    assert start == [MODELS, "none"]  # the scores of fake_scores rise in this order
    assert descending == [MODELS[::-1], "descending", "sorted by CC, descending"]
    assert ascending == [MODELS, "ascending", "sorted by CC, ascending"] and again == [MODELS, "none", "original order"]
    assert by_name == [sorted(MODELS, key=str.lower), "none", "sorted by Model, ascending"]


def test_lines_of_the_paper_and_the_run_stay_together(page, tmp_path):
    script = """
    const table = [...document.querySelectorAll("table.sortable")].find(t => t.caption.textContent.startsWith("Table 1"));
    table.tHead.rows[0].cells[3].querySelector("button").click();
    const layers = [...document.querySelectorAll("table.sortable")].find(t => t.caption.textContent.startsWith("Layers of the deep"));
    layers.tHead.rows[0].cells[6].querySelector("button").click();
    return [[...table.tBodies].map(body => [body.rows[0].cells[0].textContent, ...[...body.rows].map(row => row.className)]),
            [...layers.rows].map(row => row.cells[0].textContent)];
    """
    (groups, layers), messages = browse(page, script, tmp_path)
    assert messages == []
    lines = ["paper", "this-run", "difference"]
    assert groups == [["Total (train)", *lines, "measured"], ["Total (test)", *lines, "measured"], ["Data", *lines], ["Parameters", *lines]]
    assert layers == ["Layer", "conv1", "data", "total"], "the total stays below"


def test_sliders_views_enlarged_images_and_themes_work(page, tmp_path):
    script = """
    const result = {}, box = document.querySelector(".compare"), input = box.querySelector("input");
    const visible = () => [...box.querySelectorAll(".map")].filter(map => getComputedStyle(map).visibility === "visible").map(map => map.dataset.view);
    result.first = visible();
    document.querySelector('input[value="truth"]').click();
    result.then = visible();
    input.value = 20; input.dispatchEvent(new Event("input"));
    result.clip = getComputedStyle(box.querySelector('[data-view="truth"]')).clipPath;
    const dialog = document.getElementById("large");
    const button = document.querySelector("button.large"); button.focus(); button.click();
    result.open = dialog.open && dialog.querySelectorAll("img").length === 1;
    dialog.close();
    result.focus = document.activeElement === button;
    document.querySelector("button.enlarge").click();
    const copy = dialog.querySelector(".compare"); copy.querySelector("input").value = 75; copy.querySelector("input").dispatchEvent(new Event("input"));
    result.copy = [copy.style.getPropertyValue("--place"), box.style.getPropertyValue("--place")];
    dialog.close();
    const colour = () => getComputedStyle(document.body).backgroundColor, before = colour();
    document.getElementById("theme").click();
    result.themes = [before, colour()];
    document.querySelector("details.part > summary").click();
    result.folded = !document.querySelector("details.part").open;
    document.getElementById("claims").open = false;
    document.querySelector('nav a[href="#claims"]').click();
    result.linked = document.getElementById("claims").open;
    result.unnamed = [...document.querySelectorAll("button, input, img")].filter(e => !(e.textContent.trim() || e.ariaLabel || e.alt || e.labels?.length)).length;
    return result;
    """
    result, messages = browse(page, script, tmp_path)
    assert messages == []
    assert result["first"] == ["deep"] and result["then"] == ["truth"] and result["clip"] == "inset(0px 0px 0px 20%)"
    assert result["open"] and result["focus"] and result["copy"] == ["75%", "20%"]
    assert result["themes"] == ["rgb(255, 255, 255)", "rgb(21, 24, 28)"] and result["folded"] and result["linked"]
    assert result["unnamed"] == 0, "each button, slider and image has a name for screen readers"


@pytest.mark.parametrize("width", [500, 1280])  # headless Chromium has no narrower window
def test_the_page_is_not_wider_than_the_window(page, width, tmp_path):
    script = "document.querySelectorAll('details').forEach(part => part.open = true); return [innerWidth, document.documentElement.scrollWidth];"
    (window, content), messages = browse(page, script, tmp_path, width)
    assert messages == [] and window == width and content <= width


def test_an_error_of_the_page_would_be_seen(page, tmp_path):
    for broken in ("missingFunction();", "fetch('https://example.org/a.js').catch(() => 0);"):
        _, messages = browse(page.replace("\"use strict\";", broken, 1), "return 1;", tmp_path)
        assert messages, broken


def test_the_page_is_one_file_below_3_mb_with_every_figure(page):
    assert len(page.encode()) < 3e6 and page.count("data:image/jpeg;base64,") == 2 * 4 + 1
    assert page.count("data:image/png;base64,") == 3 and page.count("data:image/svg+xml;base64,") == 1
    assert not re.search(r'(?:src|href)="(?!data:|#)', page) and "@import" not in page and "url(" not in page
    assert "&lt;/script&gt;&lt;b&gt;0.01" in page and "image &lt;0&gt;" in page
    assert "2 of 2 test images at evenly spaced ranks" in page and "rank 2 of 2" in page


@pytest.mark.parametrize("net", ["shallow", "deep"])
def test_a_run_without_a_net_has_a_report(net, tmp_path):
    scores = fake_scores()
    del scores[net]
    write_inputs(tmp_path, scores, nets=[other for other in NETS if other != net])
    process = write_report(tmp_path)
    assert process.returncode == 0, process.stderr
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert f"This run has no {net} net. " in page and f"Layers of the {net} net" not in page and page.count("Layers of the ")
    assert f"{net.capitalize()} net</th>" not in page
    assert "<img" not in page, "no figures were written"


def test_a_run_without_a_metric_or_without_nets_is_one_line(tmp_path):
    scores = fake_scores()
    del scores["bms"]["metrics"]["EMD"]
    write_inputs(tmp_path, scores)
    assert one_line(write_report(tmp_path)).startswith(f"error: {tmp_path}/scores/bms.json: has no metrics.EMD; delete it")
    write_json(tmp_path / "scores/bms.json", fake_scores()["bms"])
    write_json(tmp_path / "nets/deep.json", {"net": "deep"})
    assert "deep.json: has no memory; delete it" in one_line(write_report(tmp_path))
    shutil.rmtree(tmp_path / "nets")
    assert "nets: has neither shallow.json nor deep.json" in one_line(write_report(tmp_path))
    assert METRICS and not (tmp_path / "out/index.html").exists()


def test_foreign_and_damaged_files_are_named(tmp_path):
    write_inputs(tmp_path)
    write_figures(tmp_path / "figures/synthetic-demo")
    (tmp_path / "figures/synthetic-demo/examples/0-image.jpg").unlink()
    assert "0-image.jpg: cannot be read" in one_line(write_report(tmp_path))
    (tmp_path / "figures/synthetic-demo/examples/examples.json").write_text('{"rule": 1}')
    assert "examples.json: " in one_line(write_report(tmp_path))
    shutil.rmtree(tmp_path / "figures")
    write_json(tmp_path / "out/mine.json", {"a": 1})
    assert "mine.json: has no name; delete it" in one_line(write_report(tmp_path))


def test_a_name_of_a_run_is_escaped(tmp_path):
    write_json(tmp_path / "run.json", {"name": 'a"><i>', "runs": {}, "tables": []})
    assert "<i>" not in report.to_html(tmp_path, None)
