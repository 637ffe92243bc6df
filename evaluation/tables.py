"""python -m evaluation.tables: the paper's Tables 1 to 6 beside this run, and one report with pictures.

Writes OUT/NAME.md, .tex (booktabs), .csv (a line a number) and .json, all of the same tables, and OUT/index.html: one
file with every run's tables and figures found in OUT. What the paper printed carries its source, what was computed
here the number of images; a difference stands between the two, and each caption says whether they can be compared.
"""
import argparse
import csv
import io
from pathlib import Path

from common.errors import UserError, run
from evaluation.metrics import METRICS, TABLE_METRICS

PAPER = Path(__file__).resolve().parent / "paper"
MODELS = {"shallow": "Shallow net", "deep": "Deep net", "one-human": "One human", "bms": "BMS", "gbvs": "GBVS",
          "itti": "Itti", "centre-prior": "Centre prior", "chance": "Chance"}  # score files of a run, in our order
COUNTERPARTS = {"Shallow Convnet": "shallow", "Deep Convnet": "deep", "Baseline: BMS": "bms", "BMS": "bms",
                "Baseline: GBVS": "gbvs", "GBVS": "gbvs", "Baseline: Itti": "itti"}  # the paper's names for them
HEADINGS = {"SIM": "Similarity", "CC": "CC", "AUC-shuffled": "AUC shuffled", "AUC-Borji": "AUC Borji",
            "AUC-Judd": "AUC Judd", "NSS": "NSS", "KL": "KL", "IG": "IG", "EMD": "EMD"}
# rows of the paper that a run on this data set at paper scale may be held against; test sets are with their servers
COMPARABLE = {"SALICON validation": "salicon", "iSUN validation": "isun"}
PAPER_LINE, OUR_LINE, DIFFERENCE_LINE, MEASURED_LINE = "paper", "this run", "difference", "measured"


def main():
    """Parse the command line and write tables and report."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.tables", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--scores", required=True, help="folder with shallow.json, bms.json, ... of evaluation.score")
    parser.add_argument("--nets", required=True, help="folder with shallow.json and deep.json of models.summary")
    parser.add_argument("--runs", nargs="*", default=[], help="run folders of training, for settings and versions")
    parser.add_argument("--figures", help="folder with NAME/*.png of evaluation.figures")
    parser.add_argument("--data-root", help="where the data set lies on disk")
    parser.add_argument("--preset", default="demo", help="demo or paper: how the nets were trained, for the captions")
    parser.add_argument("--name", required=True, help="of this run's files, e.g. synthetic-demo")
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args()

    from common.files import read_json, write_json, write_text
    from evaluation.report import to_html

    out = Path(args.out)
    scores = read_scores(args.scores)
    nets = {net: read_json(Path(args.nets) / f"{net}.json") for net in ("shallow", "deep")}
    tables = build(scores, nets, args.data_root, args.preset)
    runs = {Path(folder).name: read_json(Path(folder) / "config.json") for folder in args.runs}
    write_text(out / f"{args.name}.md", "\n".join(to_markdown(table) for table in tables))
    write_text(out / f"{args.name}.tex", "\n".join(to_latex(table) for table in tables))
    write_text(out / f"{args.name}.csv", to_csv(tables))
    write_json(out / f"{args.name}.json", {"name": args.name, "tables": tables, "runs": runs})
    write_text(out / "index.html", to_html(out, args.figures))
    print(to_markdown(tables[0]))
    print(f"{out / args.name}.md, .csv and .tex: this and Tables 1 to 6 beside the paper's\n"
          f"{out / 'index.html'}: all of it with figures; open it in a browser")


def read_scores(folder):
    """What evaluation.score wrote into a folder, by model.

    Raises
    ------
    UserError
        There is nothing, a file is damaged or something else's, or they are of different images.
    """
    from common.files import read_json

    scores = {model: read_json(path) for model in MODELS if (path := Path(folder) / f"{model}.json").is_file()}
    if not scores:
        raise UserError(f"{folder}: no scores in this folder (looked for {', '.join(MODELS)}); "
                        "score with evaluation.score --out FOLDER/MODEL first")
    about = {}
    for model, score in scores.items():
        try:
            about[model] = [score[key] for key in ("dataset", "edition", "split", "images", "convention", "seed")]
            wanting = set(METRICS) - set(score["metrics"])
        except (KeyError, TypeError) as error:
            wanting = [error]
        if wanting:
            raise UserError(f"{folder}/{model}.json: not what evaluation.score writes; score again")
        first = next(iter(about))
        if about[model] != about[first]:
            raise UserError(f"{folder}/{model}.json: is of {about[model]}, {first}.json of {about[first]}; score "
                            "one of them again, or keep them in different folders")
    return scores


def build(scores, nets, root, scale):
    """All tables as data.

    Parameters
    ----------
    scores : dict of dict
        What evaluation.score wrote, by model, for one data set.
    nets : dict of dict
        What models.summary wrote, by net.
    root : path or None
        Of the data set.
    scale : str, for the captions

    Returns
    -------
    list of dict
        Each has title, caption, columns (keys), header (all columns as printed) and rows. A row has name, line (paper,
        this run or difference), cells (text by column), values (numbers by column, None where there is none)
        and notes (the last columns).
        The first table is this run's, then come Tables 1 to 6.
    """
    return [this_run(scores, scale), table_1(nets), table_2(scores, root),
            *(compared(number, scores, scale) for number in (3, 4, 5, 6))]


def this_run(scores, scale):
    """Every model and measure of this run, with 95% intervals."""
    about = _about(scores)
    rows = [{**_ours(scores[model], MODELS[model], METRICS), "notes": []} for model in MODELS if model in scores]
    return _table(f"This run: {about['dataset']}, {scale} scale", METRICS, rows,
                  f"{_described(about)}; nets trained at {scale} scale. Mean over images ± half the bootstrap 95% "
                  "interval. KL and EMD: lower is better. IG: in bits, against the training images' centre prior. "
                  + _undefined(scores) + _demo(scale), notes=())


def table_1(nets):
    """Memory of both nets: printed, counted in the nets themselves, what lies between, and measured."""
    rows = []
    for printed in _read(1):
        name = printed["quantity"]
        paper = {net: float(printed[net]) for net in nets}
        ours = {net: nets[net]["memory"][name] for net in nets}
        rows += [_row(name, PAPER_LINE, paper, "{:.2f}", [printed["source"]]),
                 _row(name, OUR_LINE, ours, "{:.2f}", ["counted in Theano's and Caffe's nets"]),
                 _row(name, DIFFERENCE_LINE, {net: ours[net] - paper[net] for net in nets}, "{:+.2f}", [""])]
        measured = {net: nets[net].get("measured", {}).get(name) for net in nets}
        if any(measured.values()):
            rows.append(_row(name, MEASURED_LINE, measured, "{:.0f}", ["growth of the process on this machine"]))
    count = {net: nets[net]["values"]["parameters"] for net in nets}
    slip = (nets["shallow"]["memory"]["Parameters"] - float(_read(1)[1]["shallow"]))
    return _table("Table 1: memory, MiB of float32", ("shallow", "deep"), rows,
                  f"One image. {count['shallow']:,} and {count['deep']:,} parameters; training counts the data "
                  f"twice. The paper's parameters of the shallow net are {slip:.2f} MiB short of what its own layers "
                  "hold, and so are both totals: a slip in the paper. Other differences are rounding: the paper adds "
                  "rounded numbers. Comparable: yes, it is the same count. Measured is what a process grows by when it "
                  "trains or predicts on one image: also gradients and momentum, which the paper does not count, and "
                  "the buffers of engine and matrix library, such as the columns that Caffe turns an image into for "
                  "each convolution.",
                  headings=("Shallow", "Deep"), notes=("Source",), first="Memory")


def table_2(scores, root):
    """The data sets of the paper, and the one of this run as it was found."""
    columns = ("images", "capture", "observers", "train", "validation", "test")
    rows = [_text_row(row["dataset"], PAPER_LINE, row, columns, row["source"]) for row in _read(2)]
    about = _about(scores)
    splits = {column: _split_found(about["dataset"], split, root)
              for column, split in (("train", "train"), ("validation", "val"), ("test", "test"))}
    both = {key: " / ".join(dict.fromkeys(found.about[key] for found in splits.values() if found))
            for key in ("images", "capture", "observers")}
    found = {**both, **{column: len(found) if found else "" for column, found in splits.items()}}
    rows.append(_text_row(about["dataset"], OUR_LINE, found, columns, f"found on disk; {about['edition']}"))
    return _table("Table 2: data sets", columns, rows,
                  "The line of this run gives training / test where they differ; each net takes its validation "
                  "images out of the training images. Comparable: "
                  + ("yes." if _base(about) in COMPARABLE.values() else "no, it is another data set."),
                  headings=[column.capitalize() for column in columns], notes=("Source",), first="Data set")


def _split_found(dataset, split, root):
    """A split of the data set; None if it has none of that name, or it is not on this disk."""
    from data.dataset import load

    try:
        return load(dataset, split, root)
    except UserError:
        return None


def compared(number, scores, scale):
    """Table 3, 4, 5 or 6: the paper's rows, this run's beside those that it has too, and this run's others."""
    about, rows, seen, sets = _about(scores), [], set(), []
    for printed in _read(number):
        model = COUNTERPARTS.get(printed["model"])
        sets.append(printed["dataset"])
        values = {name: float(printed[name]) if printed[name] else None for name in TABLE_METRICS}
        row = _row(printed["model"], PAPER_LINE, values, "{}", [printed["dataset"], "", printed["source"]])
        row["cells"] = {name: printed[name] or "not reported" for name in TABLE_METRICS}  # as printed: .60, 0.8230
        rows.append(row)
        if model in scores:
            ours = _ours(scores[model], printed["model"], TABLE_METRICS)
            rows += [ours, _difference(row, ours, _verdict([printed["dataset"]], about, scale)[0])]
            seen.add(model)
    rows += [_ours(scores[model], MODELS[model], TABLE_METRICS)
             for model in MODELS if model in scores and model not in seen]
    return _table(f"Table {number}: {_listed(sets)}", TABLE_METRICS, rows,
                  _caption(number, sets, about, scale, scores))


def to_markdown(table):
    """A table as Markdown."""
    header = table["header"]
    lines = [f"## {table['title']}", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(line) + " |" for line in _lines(table)]
    return "\n".join([*lines, "", table["caption"], ""])


def to_latex(table):
    """A table for a paper: needs the booktabs package."""
    def escape(text):
        for character in "&%#_":
            text = text.replace(character, f"\\{character}")
        return text.replace("±", "$\\pm$")
    words = len(table["header"]) - len(table["columns"]) - len(table["notes"])
    lines = ["\\begin{table}", "\\centering", f"\\caption{{{escape(table['title'] + '. ' + table['caption'])}}}",
             f"\\begin{{tabular}}{{{'l' * words}{'r' * len(table['columns'])}{'l' * len(table['notes'])}}}",
             "\\toprule", " & ".join(escape(cell) for cell in table["header"]) + " \\\\", "\\midrule"]
    previous = None
    for row, line in zip(table["rows"], _lines(table), strict=True):
        if previous not in (None, row["name"]):
            lines.append("\\addlinespace")
        previous = row["name"]
        lines.append(" & ".join(escape(cell) for cell in line) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def to_csv(tables):
    """All tables as one CSV, a line a number, with all digits, 95% intervals and numbers of images."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "model", "line", "column", "value", "low", "high", "n", *("data", "source")])
    for table in tables:
        for row in table["rows"]:
            notes = dict(zip(table["notes"], row["notes"]))
            for column in table["columns"]:
                detail = row.get("details", {}).get(column, {})
                value = row["values"].get(column)
                writer.writerow([table["title"], row["name"], row["line"], column,
                                 row["cells"][column] if value is None else value, detail.get("low"),
                                 detail.get("high"), detail.get("n"), notes.get("Data", ""), notes.get("Source", "")])
    return text.getvalue()


def _table(title, columns, rows, caption, headings=None, notes=("Data", "Images", "Source"), first="Model"):
    # whose line it is needs no column where all are ours
    words = [first, ""] if any(row["line"] != OUR_LINE for row in rows) else [first]
    return {"title": title, "caption": caption, "columns": list(columns), "rows": rows, "notes": list(notes),
            "header": [*words, *(headings or [HEADINGS[column] for column in columns]), *notes]}


def _row(name, line, values, form, notes):
    cells = {column: "" if value is None else form.format(value) for column, value in values.items()}
    return {"name": name, "line": line, "values": values, "cells": cells, "notes": notes}


def _text_row(name, line, texts, columns, source):
    return {"name": name, "line": line, "values": {}, "notes": [source],
            "cells": {column: str(texts[column]) for column in columns}}


def _ours(score, name, measures):
    """A row of this run: three digits and half the width of the interval."""
    details = {measure: score["metrics"][measure] for measure in measures}
    row = _row(name, OUR_LINE, {measure: detail["mean"] for measure, detail in details.items()}, "{}",
               [f"{score['dataset']} {score['split']}", str(score["images"]), "computed here"])
    row["cells"] = {measure: "undefined" if detail["mean"] is None else
                    f"{detail['mean']:.3f} ± {(detail['high'] - detail['low']) / 2:.3f}"
                    for measure, detail in details.items()}
    return {**row, "details": details}


def _difference(paper, ours, comparable):
    values = {column: None if None in (paper["values"][column], ours["values"][column])
              else ours["values"][column] - paper["values"][column] for column in paper["values"]}
    return _row(paper["name"], DIFFERENCE_LINE, values, "{:+.3f}",
                ["", "", "comparable" if comparable else "not comparable"])


def _verdict(sets, about, scale):
    """Whether this run may be held against these sets of the paper, and why not."""
    reasons = []
    if not any(COMPARABLE.get(name) == _base(about) for name in sets):
        reasons.append(f"{about['dataset']} is not {_listed(sets)}")
    if scale != "paper":
        reasons.append(f"the nets were trained at {scale} scale")
    if about["convention"] != "mit":
        reasons.append(f"the measures are of the {about['convention']} convention, the paper's of the MIT benchmark's")
    return not reasons, reasons


def _caption(number, sets, about, scale, scores):
    yes, reasons = _verdict(sets, about, scale)
    servers = ("The fixations of MIT300 are not public: its scores come from the benchmark's server, none is computed "
               f"here, and the lines of this run stand in on {about['dataset']}. The paper's lines are second-hand "
               "where marked unverified. ") if number == 6 else ""
    verdict = ("Comparable: yes, where the data are the same. " if yes else
               f"Comparable: no; {'; '.join(reasons)}. The differences show where this run stands, "
               "not how well the paper is reproduced. ")
    return f"{servers}{verdict}This run: {_described(about)}. {_undefined(scores)}{_demo(scale)}".strip()


def _about(scores):
    return next(iter(scores.values()))


def _base(about):
    """The data set's name without its options."""
    return about["dataset"].split("+")[0]


def _described(about):
    return (f"{about['dataset']} {about['split']}, {about['images']} images ({about['edition']}), measures by the "
            f"{about['convention']} convention")


def _undefined(scores):
    count = sum(value["nan"] for score in scores.values() for value in score["metrics"].values())
    failed = {MODELS[model]: score["failed"] for model, score in scores.items() if score["failed"]}
    return ((f"{count} undefined scores are left out of the means. " if count else "")
            + "".join(f"{model}: {number} images could not be scored. " for model, number in failed.items()))


def _demo(scale):
    return "A demo-scale run shows that everything works, no more." if scale == "demo" else ""


def _listed(names):
    names = list(dict.fromkeys(names))
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _lines(table):
    """The rows as text, a list of cells each."""
    lined = table["header"][1] == ""
    return [[row["name"], *([row["line"]] if lined else []),
             *(row["cells"][column] for column in table["columns"]), *row["notes"]] for row in table["rows"]]


def _read(number):
    with open(PAPER / f"table{number}.csv", newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


if __name__ == "__main__":
    run(main)
