"""python -m evaluation.tables: write the paper's Tables 1 to 6 with the numbers of a run, and an HTML report.

Writes the tables to OUT/NAME.md, .tex (booktabs), .csv (one line per number) and .json, and OUT/index.html: one file
with the tables and figures of all runs in OUT. Numbers of the paper carry their source, numbers of the run the number
of images. Below both is their difference; each caption states whether they are comparable.
"""
import csv
import io
from pathlib import Path

from common.arguments import Parser
from common.errors import UserError, run
from evaluation.baselines import ONE_HUMAN
from evaluation.metrics import METRICS, TABLE_METRICS

PAPER = Path(__file__).resolve().parent / "paper"
# score files of a run, in the order of the tables
MODELS = {"shallow": "Shallow net", "deep": "Deep net", "one-human": "One human", "bms": "BMS", "gbvs": "GBVS",
          "itti": "Itti", "centre-prior": "Centre prior", "chance": "Chance"}
# the paper's names of models -> score files
COUNTERPARTS = {"Shallow Convnet": "shallow", "Deep Convnet": "deep", "Baseline: BMS": "bms", "BMS": "bms",
                "Baseline: GBVS": "gbvs", "GBVS": "gbvs", "Baseline: Itti": "itti"}
HEADINGS = {"SIM": "Similarity", "CC": "CC", "AUC-shuffled": "AUC shuffled", "AUC-Borji": "AUC Borji",
            "AUC-Judd": "AUC Judd", "NSS": "NSS", "KL": "KL", "IG": "IG", "EMD": "EMD"}
# rows of the paper that are comparable with a run of the paper preset on this data set; the fixations of test sets are
# not public
COMPARABLE = {"SALICON validation": "salicon", "iSUN validation": "isun"}
PAPER_LINE, OUR_LINE, DIFFERENCE_LINE, MEASURED_LINE = "paper", "this run", "difference", "measured"


def main():
    """Parse the command line and write tables and report."""
    parser = Parser("evaluation.tables", __doc__)
    parser.add_argument("--scores", metavar="FOLDER", required=True,
                        help="folder with shallow.json, bms.json, ... of evaluation.score")
    parser.add_argument("--nets", metavar="FOLDER", required=True,
                        help="folder with shallow.json and deep.json of models.summary")
    parser.add_argument("--runs", metavar="FOLDER", nargs="*", default=[],
                        help="run folders of the trainings, for their settings and versions")
    parser.add_argument("--figures", metavar="FOLDER", help="folder with NAME/*.png of evaluation.figures")
    parser.add_argument("--data-root", metavar="FOLDER", help="folder of the data set on disk")
    parser.add_argument("--preset", default="demo",
                        help="preset of the nets' training, demo or paper, for the captions (default: %(default)s)")
    parser.add_argument("--name", required=True, help="name of this run's files, such as synthetic-demo")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder to write to")
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
    print(f"{out / args.name}.md, .csv and .tex: this table, and Tables 1 to 6 beside the paper's\n"
          f"{out / 'index.html'}: all tables and figures; open it in a browser")


def read_scores(folder):
    """Read the JSON files that evaluation.score wrote to a folder.

    Returns
    -------
    dict of dict by model

    Raises
    ------
    UserError
        The folder has no scores, a file is damaged or of another program, or the files are of different images.
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
            missing = set(METRICS) - set(score["metrics"])
        except (KeyError, TypeError) as error:
            missing = [error]
        if missing:
            raise UserError(f"{folder}/{model}.json: not a file of evaluation.score; score again")
        first = next(iter(about))
        if about[model] != about[first]:
            raise UserError(f"{folder}/{model}.json: is of {about[model]}, but {first}.json is of {about[first]}; "
                            "score one of them again, or keep them in different folders")
    return scores


def build(scores, nets, root, preset):
    """Build all tables as data.

    Parameters
    ----------
    scores : dict of dict
        Files of evaluation.score for one data set, by model.
    nets : dict of dict
        Files of models.summary, by net.
    root : path or None
        Folder of the data set.
    preset : str
        Preset of the nets' training, for the captions.

    Returns
    -------
    list of dict
        The table of this run, then Tables 1 to 6. A table has title, caption, columns (keys), header (all columns
        as printed) and rows. A row has name, line (paper, this run, difference or measured), cells (text by column),
        values (numbers by column, None where there is none) and notes (texts of the last columns).
    """
    return [this_run(scores, preset), table_1(nets), table_2(scores, root),
            *(compared(number, scores, preset) for number in (3, 4, 5, 6))]


def this_run(scores, preset):
    """Build the table of this run: all models and metrics, with 95% intervals."""
    about = _about(scores)
    rows = [{**_ours(scores[model], MODELS[model], METRICS), "notes": []} for model in _scored_models(scores)]
    return _table(f"This run: {about['dataset']}, {preset} preset", METRICS, rows,
                  f"{_description(about)}; nets trained with the {preset} preset. Mean over images ± half the "
                  "bootstrap 95% interval. KL and EMD: lower is better. IG: in bits, against the training images' "
                  "centre prior. "
                  + _undefined(scores) + _demo_note(preset), notes=())


def table_1(nets):
    """Build Table 1, the memory of both nets: as printed, as counted in the nets, the difference, as measured."""
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
    error = nets["shallow"]["memory"]["Parameters"] - float(_read(1)[1]["shallow"])
    return _table("Table 1: memory, MiB of float32", ("shallow", "deep"), rows,
                  f"One image. {count['shallow']:,} and {count['deep']:,} parameters; training counts the data "
                  f"twice. The paper's parameters of the shallow net are {error:.2f} MiB short of the sum over its own "
                  "layers, and so are both totals: an error in the paper. Other differences are rounding: the paper "
                  "adds rounded numbers. Comparable: yes, it is the same count. Measured: growth of a process that "
                  "trains or predicts on one image. This includes gradients and momentum, which the paper does not "
                  "count, and buffers of the engine and the matrix library, such as Caffe's column buffer of each "
                  "convolution.",
                  headings=("Shallow", "Deep"), notes=("Source",), first="Memory")


def table_2(scores, root):
    """Build Table 2, the data sets: those of the paper, and that of this run as it is on disk."""
    columns = ("images", "capture", "observers", "train", "validation", "test")
    rows = [_text_row(row["dataset"], PAPER_LINE, row, columns, row["source"]) for row in _read(2)]
    about = _about(scores)
    splits = {column: _load_split(about["dataset"], split, root)
              for column, split in (("train", "train"), ("validation", "val"), ("test", "test"))}
    texts = {key: " / ".join(dict.fromkeys(dataset.about[key] for dataset in splits.values() if dataset))
             for key in ("images", "capture", "observers")}
    counts = {column: len(dataset) if dataset else "" for column, dataset in splits.items()}
    rows.append(_text_row(about["dataset"], OUR_LINE, {**texts, **counts}, columns,
                          f"counted on disk; {about['edition']}"))
    return _table("Table 2: data sets", columns, rows,
                  "The line of this run gives training / test where they differ; each net takes its validation "
                  "images from the training images. Comparable: "
                  + ("yes." if _base(about) in COMPARABLE.values() else "no, it is another data set."),
                  headings=[column.capitalize() for column in columns], notes=("Source",), first="Data set")


def _load_split(dataset, split, root):
    """Load a split of the data set; None if the data set has no such split or is not on this disk."""
    from data.dataset import load

    try:
        return load(dataset, split, root)
    except UserError:
        return None


def compared(number, scores, preset):
    """Build Table 3, 4, 5 or 6: each row of the paper with this run's if it has that model, then this run's others."""
    about, rows, models, sets = _about(scores), [], set(), []
    for printed in _read(number):
        model = COUNTERPARTS.get(printed["model"])
        sets.append(printed["dataset"])
        values = {name: float(printed[name]) if printed[name] else None for name in TABLE_METRICS}
        row = _row(printed["model"], PAPER_LINE, values, "{}", [printed["dataset"], "", printed["source"]])
        row["cells"] = {name: printed[name] or "not reported" for name in TABLE_METRICS}  # as printed: .60, 0.8230
        rows.append(row)
        if model in scores:
            ours = _ours(scores[model], printed["model"], TABLE_METRICS)
            rows += [ours, _difference(row, ours, _comparable([printed["dataset"]], about, preset)[0])]
            models.add(model)
    rows += [_ours(scores[model], MODELS[model], TABLE_METRICS)
             for model in _scored_models(scores) if model not in models]
    return _table(f"Table {number}: {_listed(sets)}", TABLE_METRICS, rows,
                  _caption(number, sets, about, preset, scores))


def to_markdown(table):
    """Format a table as Markdown."""
    header = table["header"]
    lines = [f"## {table['title']}", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cells) + " |" for cells in _cells(table)]
    return "\n".join([*lines, "", table["caption"], ""])


def to_latex(table):
    """Format a table as LaTeX for a paper; needs the booktabs package."""
    def escape(text):
        for character in "&%#_":
            text = text.replace(character, f"\\{character}")
        return text.replace("±", "$\\pm$")
    text_columns = len(table["header"]) - len(table["columns"]) - len(table["notes"])
    lines = ["\\begin{table}", "\\centering", f"\\caption{{{escape(table['title'] + '. ' + table['caption'])}}}",
             f"\\begin{{tabular}}{{{'l' * text_columns}{'r' * len(table['columns'])}{'l' * len(table['notes'])}}}",
             "\\toprule", " & ".join(escape(cell) for cell in table["header"]) + " \\\\", "\\midrule"]
    previous = None
    for row, cells in zip(table["rows"], _cells(table), strict=True):
        if previous not in (None, row["name"]):
            lines.append("\\addlinespace")
        previous = row["name"]
        lines.append(" & ".join(escape(cell) for cell in cells) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def to_csv(tables):
    """Format all tables as one CSV: one line per number, with all digits, 95% interval and number of images."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "model", "line", "column", "value", "low", "high", "n", "data", "source"])
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
    # the column with the kind of line (paper, this run, ...) is left out if all lines are of this run
    text_headings = [first, ""] if any(row["line"] != OUR_LINE for row in rows) else [first]
    return {"title": title, "caption": caption, "columns": list(columns), "rows": rows, "notes": list(notes),
            "header": [*text_headings, *(headings or [HEADINGS[column] for column in columns]), *notes]}


def _row(name, line, values, form, notes):
    cells = {column: "" if value is None else form.format(value) for column, value in values.items()}
    return {"name": name, "line": line, "values": values, "cells": cells, "notes": notes}


def _text_row(name, line, texts, columns, source):
    return {"name": name, "line": line, "values": {}, "notes": [source],
            "cells": {column: str(texts[column]) for column in columns}}


def _ours(score, name, metrics):
    """Build a row of this run: means with three digits and half the width of the 95% interval."""
    details = {metric: score["metrics"][metric] for metric in metrics}
    row = _row(name, OUR_LINE, {metric: detail["mean"] for metric, detail in details.items()}, "{}",
               [f"{score['dataset']} {score['split']}", str(score["images"]), "computed here"])
    row["cells"] = {metric: _mean_and_interval(detail) for metric, detail in details.items()}
    return {**row, "details": details}


def _mean_and_interval(detail):
    if detail["mean"] is None:
        return "undefined"
    if detail["low"] is None:  # the score of a single image
        return f"{detail['mean']:.3f}"
    return f"{detail['mean']:.3f} ± {(detail['high'] - detail['low']) / 2:.3f}"


def _difference(paper, ours, comparable):
    values = {column: None if None in (paper["values"][column], ours["values"][column])
              else ours["values"][column] - paper["values"][column] for column in paper["values"]}
    return _row(paper["name"], DIFFERENCE_LINE, values, "{:+.3f}",
                ["", "", "comparable" if comparable else "not comparable"])


def _comparable(sets, about, preset):
    """Return whether this run is comparable with these data sets of the paper, and a list of reasons if not."""
    reasons = []
    if not any(COMPARABLE.get(name) == _base(about) for name in sets):
        reasons.append(f"{about['dataset']} is not {_listed(sets)}")
    if preset != "paper":
        reasons.append(f"the nets were trained with the {preset} preset")
    if about["convention"] != "mit":
        reasons.append(f"this run uses the {about['convention']} convention, the paper the MIT benchmark's")
    return not reasons, reasons


def _caption(number, sets, about, preset, scores):
    comparable, reasons = _comparable(sets, about, preset)
    servers = ("The fixations of MIT300 are not public: the benchmark's server computes its scores, none is computed "
               f"here. The lines of this run are scores on {about['dataset']} instead. The paper's lines are "
               "second-hand where marked unverified. ") if number == 6 else ""
    verdict = ("Comparable: yes, where the data are the same. " if comparable else
               f"Comparable: no; {'; '.join(reasons)}. The differences place this run beside the paper; they do not "
               "measure how well it reproduces the paper. ")
    return f"{servers}{verdict}This run: {_description(about)}. {_undefined(scores)}{_demo_note(preset)}".strip()


def _about(scores):
    return next(iter(scores.values()))


def _base(about):
    """Return the data set's name without its options."""
    return about["dataset"].split("+")[0]


def _description(about):
    return (f"{about['dataset']} {about['split']}, {about['images']} images ({about['edition']}), "
            f"{about['convention']} convention")


def _scored_models(scores):
    """List the models with a score, in the order of the tables: one human has none without observers."""
    return [model for model in MODELS if model in scores and not _is_left_out(model, scores[model])]


def _is_left_out(model, score):
    return model == ONE_HUMAN and sum(score.get("lacking", {}).values()) == score["images"]


def _undefined(scores):
    """State what could not be scored, and why."""
    models = _scored_models(scores)
    count = sum(value["nan"] for model in models for value in scores[model]["metrics"].values())
    failed = {MODELS[model]: scores[model]["failed"] for model in models if scores[model]["failed"]}
    return ((f"{count} undefined scores are left out of the means. " if count else "")
            + "".join(f"{model}: {number} images could not be scored. " for model, number in failed.items())
            + "".join(f"{text}. " for text in dict.fromkeys(_lacking(scores))))


def _lacking(scores):
    """Iterate over texts that state what the images lack."""
    for model, score in scores.items():
        for lacks, number in score.get("lacking", {}).items():
            images = f"{number} of {score['images']} images have"
            yield f"One human is left out: {images} {lacks.split(':')[0]}" if _is_left_out(model, score) \
                else f"{images} {lacks}"


def _demo_note(preset):
    return "A run with the demo preset shows only that everything works." if preset == "demo" else ""


def _listed(names):
    names = list(dict.fromkeys(names))
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _cells(table):
    """Return the rows as lists of texts."""
    has_line_column = table["header"][1] == ""
    return [[row["name"], *([row["line"]] if has_line_column else []),
             *(row["cells"][column] for column in table["columns"]), *row["notes"]] for row in table["rows"]]


def _read(number):
    with open(PAPER / f"table{number}.csv", newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


if __name__ == "__main__":
    run(main)
