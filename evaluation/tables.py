"""python -m evaluation.tables: this run's scores beside the paper's, and one report with pictures.

Writes OUT/NAME.md, .csv, .tex and .json (the same table), OUT/NAME.png (pictures: image, people,
shallow, deep) and OUT/index.html, one file that holds every table and picture found in OUT.
"""
import argparse
import base64
import csv
import html
import io
from pathlib import Path

from data.errors import run
from evaluation.metrics import MEASURES

PAPER = Path(__file__).resolve().parent / "paper"
OURS = ("shallow", "deep", "centre-prior", "chance")  # score files of a run, in the order of the rows
LABELS = {"shallow": "Shallow net, this run", "deep": "Deep net, this run",
          "centre-prior": "Baseline: centre prior", "chance": "Baseline: chance"}
HEADINGS = {"SIM": "Similarity", "CC": "CC", "AUC-shuffled": "AUC shuffled", "AUC-Borji": "AUC Borji",
            "AUC-Judd": "AUC Judd"}  # the paper's
PAPER_ROWS = (("table4.csv", "Shallow Convnet", "Table 4"), ("table5.csv", "Shallow Convnet", "Table 5"),
              ("table5.csv", "Deep Convnet", "Table 5"), ("table3.csv", "Shallow Convnet", "Table 3"))


def main():
    """Parse the command line and write tables and report."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.tables", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--scores", required=True, help="folder with shallow.json, deep.json, ... of evaluation.score")
    parser.add_argument("--predictions", required=True, help="folder with shallow/ and deep/ of models.predict")
    parser.add_argument("--data-root", help="where the data set lies on disk")
    parser.add_argument("--scale", default="demo", help="demo or paper: how the nets were trained, for the caption")
    parser.add_argument("--name", required=True, help="of this table's files, e.g. synthetic-demo")
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args()

    from data.files import read_json, write_json, write_text
    from evaluation import figures

    out = Path(args.out)
    scores = [read_json(Path(args.scores) / f"{model}.json") for model in OURS]
    table = build(scores, args.scale)
    figures.comparison(scores[0]["dataset"], args.data_root, Path(args.predictions), out / f"{args.name}.png")
    write_text(out / f"{args.name}.md", to_markdown(table))
    write_text(out / f"{args.name}.csv", to_csv(table))
    write_text(out / f"{args.name}.tex", to_latex(table))
    write_json(out / f"{args.name}.json", table)
    write_text(out / "index.html", to_html(out))
    print(to_markdown(table))
    print(f"{out / 'index.html'}: open it in a browser; the table above is {out / args.name}.md, .csv and .tex")


def build(scores, scale):
    """The table as data.

    Parameters
    ----------
    scores : list of dict
        What evaluation.score wrote for each of `OURS`, in that order.
    scale : str, for the caption

    Returns
    -------
    dict
        title, caption, and rows: each with model, data, source and one value (float or None) a measure.
    """
    first = scores[0]
    data = f"{first['dataset']} test, {first['images']} images"
    rows = [{"model": LABELS[model], "data": data, "source": "computed here",
             **{measure: score["measures"][measure]["mean"] for measure in MEASURES},
             "intervals": {measure: [score["measures"][measure]["low"], score["measures"][measure]["high"]]
                           for measure in MEASURES}}
            for model, score in zip(OURS, scores, strict=True)]
    undefined = sum(value["nan"] for score in scores for value in score["measures"].values())
    caption = (f"This run: {data}, nets trained at {scale} scale on its training images, measures of "
               f"the MIT benchmark, {undefined} undefined scores left out. The paper's rows are scores on other images "
               "after training on 10,000 of SALICON (Table 3: on iSUN), so they are not comparable with this run: "
               + ("a demo-scale run shows that everything works, no more." if scale == "demo"
                  else "compare the order of the rows, not the numbers."))
    return {"title": f"{first['dataset']}, {scale} scale", "caption": caption, "rows": rows + paper_rows()}


def paper_rows():
    """The paper's own rows for both nets, from Tables 3 to 5."""
    rows = []
    for file, model, table in PAPER_ROWS:
        with open(PAPER / file, newline="", encoding="utf-8") as handle:
            rows += [{"model": f"{model}, paper", "data": row["dataset"], "source": f"{table} ({row['source']})",
                      **{measure: float(row[measure]) if row[measure] else None for measure in MEASURES},
                      "printed": {measure: row[measure] for measure in MEASURES}}
                     for row in csv.DictReader(handle) if row["model"] == model]
    return rows


def to_markdown(table):
    """The table as Markdown."""
    lines = [f"## {table['title']}", "", "| " + " | ".join(_header()) + " |", "|" + "---|" * len(_header())]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in table["rows"]]
    return "\n".join([*lines, "", table["caption"], ""])


def to_csv(table):
    """The table as CSV, with as many digits as were computed or printed, and our 95% intervals."""
    intervals = [f"{measure} {end}" for measure in MEASURES for end in ("low", "high")]
    lines = [["model", "data", *MEASURES, *intervals, "source"]]
    for row in table["rows"]:
        values = [row.get("printed", {}).get(measure, row[measure]) for measure in MEASURES]
        ends = [end for measure in MEASURES for end in row.get("intervals", {}).get(measure, ["", ""])]
        lines.append([row["model"], row["data"], *values, *ends, row["source"]])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def to_latex(table):
    """The table for a paper: needs the booktabs package."""
    def escape(text):
        for character in "&%#_":
            text = text.replace(character, f"\\{character}")
        return text.replace("±", "$\\pm$")
    lines = ["\\begin{table}", "\\centering", f"\\caption{{{escape(table['caption'])}}}",
             f"\\begin{{tabular}}{{ll{'r' * len(MEASURES)}l}}", "\\toprule",
             " & ".join(_header()) + " \\\\", "\\midrule"]
    ours = sum("intervals" in row for row in table["rows"])
    for index, row in enumerate(table["rows"]):
        lines += ["\\midrule"] if index == ours else []
        lines.append(" & ".join(escape(cell) for cell in _cells(row)) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def to_html(out):
    """Every table and picture in the folder as one page that needs nothing else."""
    from data.files import read_json

    sections = []
    for path in sorted(out.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        table = read_json(path)
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in _header())
        body = "".join(f"<tr class={'ours' if 'intervals' in row else 'paper'}>"
                       + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(row)) + "</tr>"
                       for row in table["rows"])
        picture = base64.b64encode(path.with_suffix(".png").read_bytes()).decode()
        image = f'<img alt="image, people, shallow net, deep net" src="data:image/png;base64,{picture}">'
        sections.append(f"<section><h2>{html.escape(table['title'])}</h2><table><thead><tr>{head}</tr></thead>"
                        f"<tbody>{body}</tbody></table><p>{html.escape(table['caption'])}</p>{image}</section>")
    return PAGE.replace("SECTIONS", "\n".join(sections))


PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Shallow and deep convolutional networks for saliency prediction</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd }
td:nth-child(n+3):nth-child(-n+7) { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
tr.ours { background: #eef6ff } tr.paper { color: #555 }
section { overflow-x: auto; margin-bottom: 3rem } img { max-width: 100% } p { color: #555; font-size: .9rem }
</style></head><body>
<h1>Shallow and deep convolutional networks for saliency prediction</h1>
<p>Pan, McGuinness, Sayrol, O'Connor, Giró-i-Nieto, CVPR 2016. Blue rows were computed by this software on this
machine, the others are printed in the paper.</p>
SECTIONS
</body></html>
"""


def _header():
    return ["Model", "Data", *(HEADINGS[measure] for measure in MEASURES), "Source"]


def _cells(row):
    """A row as text: ours with three digits and half the width of the interval, the paper's as printed."""
    cells = []
    for measure in MEASURES:
        if "intervals" in row:
            low, high = row["intervals"][measure]
            undefined = row[measure] != row[measure]  # NaN
            cells.append("undefined" if undefined else f"{row[measure]:.3f} ± {(high - low) / 2:.3f}")
        else:
            cells.append(row["printed"][measure] or "not reported")
    return [row["model"], row["data"], *cells, row["source"]]


if __name__ == "__main__":
    run(main)
