"""Report of all runs: index.html, one self-contained page with their tables and figures."""
import base64
import html
from collections import Counter
from pathlib import Path

from common.files import read_json
from common.runs import CONFIG
from evaluation.claims import COLUMNS, STATUSES, read_ledger

FIRST = "comparison.png"  # shown before the tables of the paper
FIGURES = {  # in the order of the page
    FIRST: "Figures 1 and 5: image, ground truth, shallow net and deep net; maps as heat over the image",
    "comparison-maps.png": "Figures 1 and 5 with grey maps, as the paper prints them",
    "scatter.png": "Scores per image: shallow net against deep net",
    "filters-shallow.png": "Figure 3: filters of the shallow net's first layer; after the demo preset still close to "
                           "their initial values",
    "filters-deep.png": "Figure 3: filters of the deep net's first layer",
    "curves-shallow.png": "Training of the shallow net",
    "curves-deep.png": "Training of the deep net",
}


# content of NAME.json of evaluation.tables
ROW = {"name": str, "line": str, "values": dict, "cells": {str: str}, "notes": [str]}
REPORT = {"name": str, "runs": {str: CONFIG}, "tables": [{"title": str, "caption": str, "columns": [str],
                                                        "header": [str], "notes": [str], "rows": [ROW]}]}


def to_html(out, figures):
    """Build the page.

    Parameters
    ----------
    out : path of a folder with NAME.json of evaluation.tables, one per run
    figures : path of a folder with NAME/*.png of evaluation.figures, or None

    Returns
    -------
    str, HTML; the run that was written last comes first
    """
    paths = sorted(Path(out).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    runs = [read_json(path, REPORT) for path in paths]
    links = " · ".join(f'<a href="#{html.escape(run["name"])}">{html.escape(run["name"])}</a>' for run in runs)
    sections = [_section(run, Path(figures) / run["name"] if figures else None) for run in runs]
    return PAGE.replace("LINKS", links).replace("SECTIONS", "\n".join([*sections, _claims()]))


def _section(run, figures):
    images = {name: _figure(figures / name, caption) for name, caption in FIGURES.items()
              if figures and (figures / name).is_file()}
    tables = [_table(table) for table in run["tables"]]
    return "\n".join([f'<section id="{html.escape(run["name"])}">', *tables[:1], images.pop(FIRST, ""), *tables[1:],
                      *images.values(), _settings(run["runs"]), "</section>"])


def _claims():
    """Format the ledger of the paper's claims: the counts, and all rows behind a click."""
    rows = read_ledger()
    counts = Counter(row["status"] for row in rows)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in COLUMNS)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(row[name])}</td>" for name in COLUMNS) + "</tr>" for row in rows)
    summary = ", ".join(f"{counts[status]} {status}" for status in STATUSES)
    return (f'<section id="claims"><h2>The paper\'s claims</h2><p>{len(rows)} claims: {html.escape(summary)}. The '
            f"evidence is a test, a command with its recorded result, or an experiment of docs/experiments.md.</p>"
            f"<details><summary>all claims</summary><div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
            "</table></div></details></section>")


def _figure(path, caption):
    encoded = base64.b64encode(path.read_bytes()).decode()
    return (f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{encoded}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>")


def _table(table):
    has_line_column, body = table["header"][1:2] == [""], []
    first_number = 1 + has_line_column
    has_numbers = table["rows"] and table["rows"][0]["values"]
    numbers = range(first_number, first_number + len(table["columns"])) if has_numbers else ()
    head = "".join(f'<th{" class=number" if place in numbers else ""}>{html.escape(cell)}</th>'
                   for place, cell in enumerate(table["header"]))
    for index, row in enumerate(table["rows"]):
        repeated = index > 0 and table["rows"][index - 1]["name"] == row["name"]
        kind = "number" if row["values"] else "words"  # numbers are aligned right, texts (Table 2) left
        cells = ["" if repeated else row["name"], *([row["line"]] if has_line_column else [])]
        body.append(f'<tr class="{row["line"].replace(" ", "-")}{"" if repeated else " first"}">'
                    + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
                    + "".join(f'<td class="{kind}">{html.escape(row["cells"].get(column, ""))}</td>'
                              for column in table["columns"])
                    + "".join(f"<td>{html.escape(note)}</td>" for note in row["notes"]) + "</tr>")
    return (f"<h2>{html.escape(table['title'])}</h2><div><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(body)}</tbody></table></div><p>{html.escape(table['caption'])}</p>")


def _settings(runs):
    """List all settings of the training runs and the versions of the software."""
    parts = ["<h2>Settings and versions</h2>"]
    for name, config in runs.items():
        rows = "".join(f"<tr><td>{html.escape(kind)}</td><td>{html.escape(str(key))}</td>"
                       f"<td>{html.escape(str(value))}</td></tr>"
                       for kind in ("settings", "predict", "versions") for key, value in config.get(kind, {}).items())
        parts.append(f"<details><summary>{html.escape(name)}</summary><div><table><tbody>{rows}</tbody></table></div>"
                     "</details>")
    return "".join(parts)


PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Shallow and deep convolutional networks for saliency prediction</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { line-height: 1.2 } h2 { margin: 2.5rem 0 .5rem } section { margin-bottom: 4rem }
div { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: .85rem }
th, td { text-align: left; padding: .2rem .5rem; vertical-align: baseline }
thead th { border-bottom: 2px solid #444 } tr.first td { border-top: 1px solid #ddd }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
tr.this-run, tr.measured { background: #eef6ff } tr.paper { color: #555 }
tr.difference { color: #888; font-style: italic }
p, figcaption { color: #555; font-size: .9rem; max-width: 60rem } figure { margin: 2rem 0 } img { max-width: 100% }
details { margin: .5rem 0 } summary { cursor: pointer }
</style></head><body>
<h1>Shallow and deep convolutional networks for saliency prediction</h1>
<p>Pan, McGuinness, Sayrol, O'Connor, Giró-i-Nieto, CVPR 2016. Blue lines were computed by this software on
this machine. Grey lines are the numbers printed in the paper, each with its source. Runs: LINKS</p>
SECTIONS
</body></html>
"""
