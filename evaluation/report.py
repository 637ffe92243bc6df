"""Report of all runs: index.html, one self-contained page with their tables and figures.

report.html, report.css and report.js are put into the page, images as data. The page opens from disk and loads nothing.
"""
import base64
import html
import io
from collections import Counter
from itertools import groupby
from pathlib import Path

from common.errors import UserError
from common.files import NONE, NUMBER, read_json
from common.runs import CONFIG
from evaluation.claims import COLUMNS, STATUSES, read_ledger
from evaluation.examples import LIST, VIEWS

HERE = Path(__file__).resolve().parent
# figures by part of the page: file, caption
FIGURES = {
    "Maps side by side": {
        "comparison-maps.png": "Figures 1 and 5 of the paper with the images above: image, ground truth, map of the "
                               "shallow net, map of the deep net. White is where people look, or should.",
        "scatter.png": "One point per image: score of the shallow net to the right, score of the deep net upwards. "
                       "Above the line, the deep net is better."},
    "Training and filters": {
        "curves-shallow.png": "Loss of the shallow net while it was trained. The lower, the closer its maps are to the "
                              "ground truth.",
        "curves-deep.png": "Loss of the deep net while it was trained.",
        "filters-shallow.png": "Figure 3 of the paper: filters of the shallow net's first layer; after the demo preset "
                               "still close to their initial values.",
        "filters-deep.png": "Figure 3 of the paper: filters of the deep net's first layer."},
}
# above the table of a net's layers
ARCHITECTURES = {
    "shallow": "Figure 2 of the paper, drawn from the layers in Theano: name, type, output (channels × rows × "
               "columns), kernel, number of weights.",
    "deep": "Figure 4 of the paper, drawn from the layers in Caffe: name, type, output (channels × rows × columns), "
            "kernel, number of weights."}
PHOTOGRAPHS = ("comparison-maps.png",)  # embedded as JPEG
JPEG_QUALITY = 80
SUMMARY_LINES = ("order",)  # lines that stay below the others when a table is sorted
TOTAL = "total"


# content of NAME.json of evaluation.tables
ROW = {"name": str, "line": str, "values": {str: (NUMBER, NONE)}, "cells": {str: str}, "notes": [str]}
REPORT = {"name": str, "runs": {str: CONFIG}, "tables": [{"title": str, "caption": str, "columns": [str],
                                                        "header": [str], "notes": [str], "rows": [ROW]}]}

EXAMPLES = {"rule": str, "examples": [{"name": str, "score": NUMBER, "rank": int, "total": int}]}


def to_html(out, figures):
    """Build the page.

    Parameters
    ----------
    out : path of a folder with NAME.json of evaluation.tables, one per run
    figures : path of a folder with NAME/ of evaluation.figures, or None; a figure that is missing is left out

    Returns
    -------
    str, HTML; the run that was written last comes first

    Raises
    ------
    UserError
        A .json in `out` is damaged or of another program, or a figure is damaged.
    """
    paths = sorted(Path(out).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    runs = [read_json(path, REPORT) for path in paths]
    links = [f'<a href="#run-{index}">{html.escape(run["name"])}</a>' for index, run in enumerate(runs)]
    sections = [_run(run, Path(figures) / run["name"] if figures else None, index) for index, run in enumerate(runs)]
    parts = {"LINKS": "Runs: " + " · ".join(links) + ' · <a href="#claims">The paper\'s claims</a>',
             "SECTIONS": "\n".join([*sections, _claims()]),
             "STYLE": (HERE / "report.css").read_text(encoding="utf-8"),
             "SCRIPT": (HERE / "report.js").read_text(encoding="utf-8")}
    page = (HERE / "report.html").read_text(encoding="utf-8")
    return "".join(parts.get(piece, piece) for piece in _split(page, parts))


def _split(text, words):
    """Split a text at the first place of each of some words, in their order in the text; the words are kept."""
    for word in sorted(words, key=text.index):
        before, _, text = text.partition(word)
        yield from (before, word)
    yield text


def _run(run, folder, index):
    """Format a run: examples, scores, maps, the tables of the paper, the nets, training, settings."""
    first, rest = run["tables"][:1], run["tables"][1:]
    layers = [table for table in rest if table["title"].startswith("Layers")]
    papers = [table for table in rest if table not in layers]
    figures = {part: [_figure(folder, name, caption) for name, caption in files.items()]
               for part, files in FIGURES.items()}
    nets = [piece for net, caption in ARCHITECTURES.items()
            for piece in (_figure(folder, f"architecture-{net}.svg", caption),
                          *(_table(table) for table in layers if f"the {net} net" in table["title"]))]
    parts = {"Scores": list(map(_table, first)), "Examples": _examples(folder),
             "Maps side by side": figures["Maps side by side"], "The paper's tables": list(map(_table, papers)),
             "The two nets": nets,
             "Training and filters": figures["Training and filters"], "Settings and versions": _settings(run["runs"])}
    body = "\n".join(_part(title, "".join(pieces), is_open=title != "Settings and versions")
                     for title, pieces in parts.items() if any(pieces))
    return (f'<details class="run" id="run-{index}"{" open" * (index == 0)}>'
            f'<summary><h2>{html.escape(run["name"])}</h2></summary>\n{body}</details>')


def _part(title, content, is_open=True):
    return (f'<details class="part"{" open" * is_open}><summary><h3>{html.escape(title)}</h3></summary>'
            f"{content}</details>")


def _claims():
    """Format the ledger of the paper's claims: the counts, and all rows in a table."""
    rows = read_ledger()
    counts = Counter(row["status"] for row in rows)
    summary = ", ".join(f"{counts[status]} {status}" for status in STATUSES)
    groups = [[[(row[name], None) for name in COLUMNS]] for row in rows]
    return ('<details class="run" id="claims" open><summary><h2>The paper\'s claims</h2></summary>'
            f"<p>{len(rows)} claims: {html.escape(summary)}. The evidence is a test, a command with its recorded "
            "result, or an experiment of docs/experiments.md.</p>"
            + _part("All claims", _html_table("All claims of the paper", [(name, False) for name in COLUMNS], groups),
                    is_open=False) + "</details>")


def _examples(folder):
    """Format the example images: a slider between each image and one of its maps. [] without examples."""
    if folder is None or not (folder / "examples" / LIST).is_file():
        return []
    listed = read_json(folder / "examples" / LIST, EXAMPLES)
    views = list(VIEWS.items())[1:]
    choices = "".join(f'<label><input type="radio" name="view-{html.escape(folder.name)}" value="{view}"'
                      f'{" checked" * (view == "deep")}> {title}</label>' for view, title in views)
    figures = [_example(folder / "examples", number, example, views)
               for number, example in enumerate(listed["examples"])]
    return [f"<p>{html.escape(listed['rule'])}. Move the line in an image: to its right is the map, laid over the "
            "image; red is where people look, or should, blue is where they do not.</p>"
            f'<fieldset class="views"><legend>Map:</legend>{choices}</fieldset>'
            f'<div class="examples">{"".join(figures)}</div>']


def _example(folder, number, example, views):
    name = html.escape(example["name"])
    maps = "".join(f'<img class="map" data-view="{view}" alt="{title} of {name}" src="{_data(path)}">'
                   for view, title in views if (path := folder / f"{number}-{view}.jpg").is_file())
    image = f'<img alt="Image {name}" src="{_data(folder / f"{number}-image.jpg")}">'
    slider = ('<input type="range" min="0" max="100" value="50" '
              f'aria-label="Line between {name} and its map, in percent">')
    return (f'<figure><div class="compare">{image}{maps}{slider}</div><div class="more"><figcaption>{name}: CC of the '
            f"deep net {example['score']:.3f}, rank {example['rank']} of {example['total']}</figcaption>"
            f'<button type="button" class="enlarge" aria-label="Enlarge {name}">Enlarge</button></div></figure>')


def _figure(folder, name, caption):
    """Format a figure; empty if it is missing."""
    if folder is None or not (folder / name).is_file():
        return ""
    path = folder / name
    return (f'<figure><button type="button" class="large" aria-label="Enlarge: {html.escape(caption)}">'
            f'<img alt="{html.escape(caption)}" src="{_data(path)}"></button>'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>")


def _data(path):
    """Return an image file as a data URL; photographs as JPEG, which is smaller."""
    kinds = {".svg": "svg+xml", ".png": "png", ".jpg": "jpeg"}
    try:
        content, kind = path.read_bytes(), kinds[path.suffix]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run python -m evaluation.figures again") from error
    if path.name in PHOTOGRAPHS:
        content, kind = _to_jpeg(path), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _to_jpeg(path):
    from PIL import Image

    from common.images import read_image

    data = io.BytesIO()
    Image.fromarray(read_image(path)).save(data, "JPEG", quality=JPEG_QUALITY)
    return data.getvalue()


def _table(table):
    """Format a table of evaluation.tables with its title and caption."""
    has_line_column = table["header"][1:2] == [""]
    texts = 1 + has_line_column
    numbers = {column for row in table["rows"] for column, value in row["values"].items() if value is not None}
    head = [(cell or "Line", texts <= place < texts + len(table["columns"])
             and table["columns"][place - texts] in numbers) for place, cell in enumerate(table["header"])]
    rows = [(row, [(row["name"], None), *([(row["line"], None)] if has_line_column else []),
                   *((row["cells"].get(column, ""), row["values"].get(column)) for column in table["columns"]),
                   *((note, None) for note in row["notes"])]) for row in table["rows"]]
    foot = [cells for row, cells in rows if row["line"] in SUMMARY_LINES or row["name"] == TOTAL]
    groups = [list(group) for _, group in groupby([pair for pair in rows if pair[1] not in foot],
                                                  key=lambda pair: pair[0]["name"])]
    lines = [[row["line"] for row, _ in group] for group in groups]
    return (f"<h4>{html.escape(table['title'])}</h4>"
            + _html_table(table["title"], head, [[cells for _, cells in group] for group in groups], lines, foot)
            + f"<p>{html.escape(table['caption'])}</p>")


def _html_table(title, head, groups, lines=None, foot=()):
    """Format a sortable table.

    Parameters
    ----------
    title : str, for screen readers
    head : list of (str, bool)
        Headings, and True for columns of numbers.
    groups : list of list of list of (str, float or None)
        Rows that stay together, in groups; cells with text and value. The first cell of a group names it.
    lines : list of list of str, or None
        Kind of each row, for its colour.
    foot : list of list of (str, float or None)
        Rows that stay below the others.
    """
    headings = "".join(f'<th scope="col" aria-sort="none"{_number(is_number)}><button type="button">{html.escape(text)}'
                       "</button></th>" for text, is_number in head)
    bodies = []
    for index, group in enumerate(groups):
        rows = [_row(cells, head, place > 0, lines and lines[index][place]) for place, cells in enumerate(group)]
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    footer = f"<tfoot>{''.join(_row(cells, head, False, 'order') for cells in foot)}</tfoot>" if foot else ""
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(title)}">'
            f'<table class="sortable"><caption class="hidden">{html.escape(title)}</caption><thead><tr>{headings}</tr>'
            f"</thead>{''.join(bodies)}{footer}</table></div>")


def _row(cells, head, is_repeated, line):
    """Format a row; a repeated name is kept for screen readers."""
    (name, _), *rest = cells
    first = f'<span class="hidden">{html.escape(name)}</span>' if is_repeated else html.escape(name)
    columns = []
    for (text, value), (_, is_number) in zip(rest, head[1:]):
        data = "" if value is None else f' data-value="{value:.10g}"'
        columns.append(f"<td{_number(is_number)}{data}>{html.escape(text)}</td>")
    kind = f' class="{html.escape(line.replace(" ", "-"))}"' if line else ""
    return f'<tr{kind}><th scope="row">{first}</th>{"".join(columns)}</tr>'


def _number(is_number):
    return ' class="number"' if is_number else ""


def _settings(runs):
    """List all settings of the training runs and the versions of the software; a list of HTML, one per run."""
    head = [("Kind", False), ("Name", False), ("Value", False)]
    parts = []
    for name, config in runs.items():
        groups = [[[(kind, None), (str(key), None), (str(value), None)]]
                  for kind in ("settings", "predict", "versions") for key, value in config.get(kind, {}).items()]
        groups += [[[(f"resumed after {entry['after']}", None), (str(key), None), (str(value), None)]]
                   for entry in config.get("resumed", []) for key, value in entry["versions"].items()]
        parts.append(f"<h4>{html.escape(name)}</h4>{_html_table(name, head, groups)}")
    return parts
