"""python -m evaluation.tables: write the paper's Tables 1 to 6 with the numbers of a run, and an HTML report.

Writes the tables to OUT/NAME.md, .tex (booktabs), .csv (one line per number) and .json, and OUT/index.html: one file
with the tables and figures of all runs in OUT. Numbers of the paper carry their source, numbers of the run the number
of images. All models and scores of the run are in the first table. Tables 3 to 6 repeat them only beside rows of the
paper that are of the same data, with the difference if the training is the paper's too; otherwise they state whether
the models are in the paper's order.
"""
from pathlib import Path

from common.arguments import Parser
from common.errors import UserError, run
from common.files import NONE, NUMBER, read_json
from common.layers import COLUMNS, LAYER, TEXT_COLUMNS, check_layers, layer_rows, to_layers
from common.runs import CONFIG
from data.dataset import base_name
from evaluation.architecture import FIGURE_NUMBERS
from evaluation.baselines import ONE_HUMAN
from evaluation.comparable import COUNTS, compare_order, differences, has_same_data, read_table
from evaluation.formats import to_csv, to_latex, to_markdown
from evaluation.metrics import METRICS, TABLE_METRICS

# score files of a run, in the order of the tables
MODELS = {"shallow": "Shallow net", "deep": "Deep net", "one-human": "One human", "bms": "BMS", "gbvs": "GBVS",
          "itti": "Itti", "centre-prior": "Centre prior", "chance": "Chance"}
# the paper's names of models -> score files
COUNTERPARTS = {"Shallow Convnet": "shallow", "Deep Convnet": "deep", "Baseline: BMS": "bms", "BMS": "bms",
                "Baseline: GBVS": "gbvs", "GBVS": "gbvs", "Baseline: Itti": "itti"}
HEADINGS = {"SIM": "Similarity", "CC": "CC", "AUC-shuffled": "AUC shuffled", "AUC-Borji": "AUC Borji",
            "AUC-Judd": "AUC Judd", "NSS": "NSS", "KL": "KL", "IG": "IG", "EMD": "EMD"}
CAPTIONS = {  # of the tables of layers
    "shallow": "Bias and ReLU of a convolution come after its pooling here: the same result in less time. Slices and "
               "map are boxes of the paper's figure, not layers.",
    "deep": "The paper's figure lacks conv8, which its text counts and the authors' released file has. A ReLU works in "
            "place."}
PAPER_LINE, OUR_LINE, DIFFERENCE_LINE = "paper", "this run", "difference"  # kinds of lines
MEASURED_LINE, ORDER_LINE = "measured", "order"
# content of the files of evaluation.score and of models.summary
METRIC = {"mean": (NUMBER, NONE), "low": (NUMBER, NONE), "high": (NUMBER, NONE), "n": int, "nan": int}
SCORE = {"train": str, "dataset": str, "edition": str, "split": str, "images": int, "convention": str, "seed": int,
         "failed": int, "lacking?": {str: int}, "trained?": int, "metrics": dict.fromkeys(METRICS, METRIC)}
NET = {"memory": {row["quantity"]: NUMBER for row in read_table(1)}, "values": {"parameters": int},
       "measured?": {str: NUMBER},
       "layers?": [LAYER], "training?": (NONE, {"dataset": str, "images": int, "differences": [str]})}
ORDER_ROW = "Pairs of models in the paper's order"


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
    parser.add_argument("--data-root", metavar="FOLDER", help="folder of the data set that is scored, on disk")
    parser.add_argument("--train-root", metavar="FOLDER",
                        help="folder of the data set of the training (default: --data-root)")
    parser.add_argument("--preset", default="demo",
                        help="preset of the nets' training, demo or paper, for the captions (default: %(default)s)")
    parser.add_argument("--name", required=True, help="name of this run's files, such as synthetic-demo")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder to write to")
    args = parser.parse_args()
    if not args.name or Path(args.name).name != args.name or args.name.startswith("."):
        raise UserError(f"--name {args.name}: is not the name of a file; give it without folders")

    from common.files import write_json, write_text
    from evaluation.report import to_html

    out = Path(args.out)
    scores = read_scores(args.scores)
    nets = read_nets(args.nets)
    runs = {Path(folder).name: read_json(Path(folder) / "config.json", CONFIG) for folder in args.runs}
    tables = build(scores, nets, {"scored": args.data_root, "train": args.train_root or args.data_root}, args.preset)
    write_text(out / f"{args.name}.md", "\n".join(to_markdown(table) for table in tables))
    write_text(out / f"{args.name}.tex", "\n".join(to_latex(table) for table in tables))
    write_text(out / f"{args.name}.csv", to_csv(tables))
    write_json(out / f"{args.name}.json", {"name": args.name, "tables": tables, "runs": runs})
    write_text(out / "index.html", to_html(out, args.figures))
    print(to_markdown(tables[0]))
    print(f"{out / args.name}.md, .csv and .tex: this table, and Tables 1 to 6 beside the paper's\n"
          f"{out / 'index.html'}: all tables and figures; open it in a browser")


def read_nets(folder):
    """Read the files that models.summary wrote to a folder; a run may have one net alone.

    Returns
    -------
    dict of dict by net

    Raises
    ------
    UserError
        The folder has no such file, or one is damaged or of another program.
    """
    paths = {net: Path(folder) / f"{net}.json" for net in FIGURE_NUMBERS}
    nets = {net: read_json(path, NET) for net, path in paths.items() if path.is_file()}
    for net, about in nets.items():
        check_layers(about.get("layers", []), paths[net])
    if not nets:
        raise UserError(f"{folder}: has neither shallow.json nor deep.json; write them with models.summary --out "
                        "FOLDER/NET first")
    return nets


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
    scores = {model: read_json(path, SCORE) for model in MODELS if (path := Path(folder) / f"{model}.json").is_file()}
    if not scores:
        raise UserError(f"{folder}: no scores in this folder (looked for {', '.join(MODELS)}); "
                        "score with evaluation.score --out FOLDER/MODEL first")
    about = {}
    for model, score in scores.items():
        about[model] = [score[key] for key in ("train", "dataset", "edition", "split", "images", "convention", "seed")]
        first = next(iter(about))
        if about[model] != about[first]:
            raise UserError(f"{folder}/{model}.json: is of {about[model]}, but {first}.json is of {about[first]}; "
                            "score one of them again, or keep them in different folders")
    return scores


def build(scores, nets, roots, preset):
    """Build all tables as data.

    Parameters
    ----------
    scores : dict of dict
        Files of evaluation.score for one data set, by model.
    nets : dict of dict
        Files of models.summary, by net.
    roots : dict of path or None
        Folders of the data sets: "scored" and "train".
    preset : str
        Preset of the nets' training, for the captions.

    Returns
    -------
    list of dict
        The table of this run, Tables 1 to 6, and a table of the layers of each net. A table has title, caption,
        columns (keys), header (all columns as printed) and rows. A row has name, line (paper, this run, difference or
        measured), cells (text by column), values (numbers by column, None where there is none) and notes (texts of the
        last columns).
    """
    return [this_run(scores, preset), table_1(nets), table_2(scores, roots),
            *(compared(number, scores, nets) for number in (3, 4, 5, 6)),
            *(layer_table(net, to_layers(about["layers"]))
              for net, about in nets.items() if "layers" in about)]


def this_run(scores, preset):
    """Build the table of this run: all models and metrics, with 95% intervals."""
    about = _about(scores)
    rows = [{**_ours(scores[model], MODELS[model], METRICS), "notes": []} for model in _scored_models(scores)]
    trained = "" if about["train"] == about["dataset"] else f" on {about['train']}"
    return _table(f"This run: {about['dataset']}, {preset} preset" + (f", nets trained{trained}" if trained else ""),
                  METRICS, rows,
                  f"{_description(about)}; nets trained with the {preset} preset. Mean over images ± half the "
                  "bootstrap 95% interval. KL and EMD: lower is better. IG: in bits, against the training images' "
                  "centre prior. "
                  + _undefined(scores) + _demo_note(preset), notes=())


def table_1(nets):
    """Build Table 1, the memory of both nets: as printed, as counted in the nets, the difference, as measured."""
    rows = []
    for printed in read_table(1):
        name = printed["quantity"]
        paper = {net: float(printed[net]) for net in nets}
        ours = {net: nets[net]["memory"][name] for net in nets}
        rows += [_row(name, PAPER_LINE, paper, "{:.2f}", [printed["source"]]),
                 _row(name, OUR_LINE, ours, "{:.2f}", ["counted in Theano's and Caffe's nets"]),
                 _row(name, DIFFERENCE_LINE, {net: ours[net] - paper[net] for net in nets}, "{:+.2f}", [""])]
        measured = {net: nets[net].get("measured", {}).get(name) for net in nets}
        if any(measured.values()):
            rows.append(_row(name, MEASURED_LINE, measured, "{:.0f}", ["growth of the process on this machine"]))
    counts = " and ".join(f"{about['values']['parameters']:,}" for about in nets.values())
    missing = "".join(f"This run has no {net} net. " for net in FIGURE_NUMBERS if net not in nets)
    fault = ""
    if "shallow" in nets:
        error = nets["shallow"]["memory"]["Parameters"] - float(read_table(1)[1]["shallow"])
        fault = (f"The paper's parameters of the shallow net are {error:.2f} MiB short of the sum over its own layers, "
                 "and so are both totals: an error in the paper. ")
    return _table("Table 1: memory, MiB of float32", tuple(nets), rows,
                  f"One image. {counts} parameters; training counts the data twice. {missing}{fault}Other differences "
                  "are rounding: the paper adds rounded numbers. Comparable: yes, it is the same count. Measured: "
                  "growth of a process that trains or predicts on one image. This includes gradients and momentum, "
                  "which the paper does not count, and buffers of the engine and the matrix library, such as Caffe's "
                  "column buffer of each convolution.",
                  headings=[net.capitalize() for net in nets], notes=("Source",), first="Memory")


def table_2(scores, roots):
    """Build Table 2, the data sets: those of the paper, and that of this run as it is on disk."""
    columns = ("images", "capture", "observers", "train", "validation", "test")
    rows = [_text_row(row["dataset"], PAPER_LINE, row, columns, row["source"]) for row in read_table(2)]
    about = _about(scores)
    for name, root in {about["train"]: roots["train"], about["dataset"]: roots["scored"]}.items():
        rows.append(_row_of_table_2(name, root, columns))
    return _table("Table 2: data sets", columns, rows,
                  "The lines of this run give training / test where they differ; each net takes its validation "
                  "images from the training images. Comparable: "
                  + ("yes." if {base_name(about["train"]), base_name(about["dataset"])} <= COUNTS.keys()
                     else "no, it is another data set."),
                  headings=[column.capitalize() for column in columns], notes=("Source",), first="Data set")


def _row_of_table_2(name, root, columns):
    """Build the row of a data set as it is on this disk."""
    splits = {column: _load_split(name, split, root)
              for column, split in (("train", "train"), ("validation", "val"), ("test", "test"))}
    texts = {key: " / ".join(dict.fromkeys(dataset.about[key] for dataset in splits.values() if dataset))
             for key in ("images", "capture", "observers", "edition")}
    counts = {column: len(dataset) if dataset else "" for column, dataset in splits.items()}
    return _text_row(name, OUR_LINE, {**texts, **counts}, columns, f"counted on disk; {texts['edition']}")


def _load_split(dataset, split, root):
    """Load a split of the data set; None if the data set has no such split or is not on this disk."""
    from data.dataset import load

    try:
        return load(dataset, split, root)
    except UserError:
        return None


def layer_table(net, layers):
    """Build the table of a net's layers beside Figure 2 or 4."""
    keys = [column.lower() for column in COLUMNS]
    rows = []
    for cells in layer_rows(layers):
        texts = dict(zip(keys, cells))
        name = texts.pop("layer") or rows[-1]["name"]  # a further output of the same layer
        values = {key: float(texts[key].replace(",", "")) for key in keys[TEXT_COLUMNS:] if texts[key]}
        rows.append({"name": name, "line": OUR_LINE, "values": values, "cells": texts, "notes": []})
    return _table(f"Layers of the {net} net (Figure {FIGURE_NUMBERS[net]})", keys[1:], rows,
                  "One image, float32. Kernel, stride and pad: rows x columns. Output: images x channels x rows x "
                  "columns. Multiplications: of convolutions and dense layers, each with an addition. "
                  + CAPTIONS[net], headings=[column.capitalize() if column != "MiB" else column
                                             for column in COLUMNS[1:]], notes=(), first="Layer")


def compared(number, scores, nets):
    """Build Table 3, 4, 5 or 6: the paper's rows, this run's where the data are the same, and the order of models."""
    rows, reasons, labels = [], {}, {}
    for printed in read_table(number):
        label, model = printed["dataset"], COUNTERPARTS.get(printed["model"])
        labels.setdefault(label, []).append(printed)
        values = {name: float(printed[name]) if printed[name] else None for name in TABLE_METRICS}
        row = _row(printed["model"], PAPER_LINE, values, "{}", [label, "", printed["source"]])
        row["cells"] = {name: printed[name] or "not reported" for name in TABLE_METRICS}  # as printed: .60, 0.8230
        rows.append(row)
        if model in scores and has_same_data(label, scores[model]):
            ours = _ours(scores[model], printed["model"], TABLE_METRICS)
            rows.append(ours)
            reasons[printed["model"]] = differences(scores[model], nets.get(model, {}).get("training"))
            if not reasons[printed["model"]]:
                rows.append(_difference(row, ours))
    sentences = []
    means = {name: {metric: value["mean"] for metric, value in scores[model]["metrics"].items()}
             for name, model in COUNTERPARTS.items() if model in scores}
    for label, printed in labels.items():
        agreement, other_order = compare_order(printed, means)
        if any(total for _, total in agreement.values()):
            rows.append(_order_row(label, agreement, scores))
        sentences += [f"{better} is ahead of {worse} here in {_listed([HEADINGS[metric] for metric in metrics])}, "
                      f"not in the paper ({label})." for (better, worse), metrics in other_order.items()]
    return _table(f"Table {number}: {_listed(labels)}", TABLE_METRICS, rows,
                  " ".join([*_caption(number, scores, reasons), *sentences]))


def _order_row(label, agreement, scores):
    """Build the row with the number of pairs of models that are in the paper's order."""
    row = _row(ORDER_ROW, ORDER_LINE, {}, "{}", [label, str(_about(scores)["images"]), "means of this run"])
    row["cells"] = {metric: f"{same} of {total}" if total else "" for metric, (same, total) in agreement.items()}
    return row


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


def _difference(paper, ours):
    values = {column: None if None in (paper["values"][column], ours["values"][column])
              else ours["values"][column] - paper["values"][column] for column in paper["values"]}
    return _row(paper["name"], DIFFERENCE_LINE, values, "{:+.3f}", ["", "", "this run less the paper"])


def _caption(number, scores, reasons):
    """Return the sentences of a caption: what of this run is in the table, and why not the rest.

    `reasons` has the differences from the paper's training of each model whose row has the same data.
    """
    about, sentences = _about(scores), []
    if number == 6:
        sentences.append("The fixations of MIT300 are not public: the benchmark's server computes its scores, none is "
                         "computed here. The paper's rows are second-hand where marked unverified.")
    if reasons:
        sentences.append(f"This run: {_description(about)}. {_undefined(scores)}".strip())
        sentences += [f"{model} is comparable with the paper." if not differing else
                      f"{model} is not comparable with the paper, so no difference is printed: {'; '.join(differing)}."
                      for model, differing in reasons.items()]
    else:
        sentences.append(f"No row is of the data of this run ({_description(about)}), so no difference is printed; "
                         "the scores of this run are in the first table.")
    return [*sentences, f"{ORDER_ROW}: of the pairs that both have, without ties in the paper, by the means alone."]


def _about(scores):
    return next(iter(scores.values()))


def _description(about):
    trained = "" if about["train"] == about["dataset"] else f"trained on {about['train']}, scored on "
    return (f"{trained}{about['dataset']} {about['split']}, {about['images']} images ({about['edition']}), "
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
    trained = _about(scores).get("trained")
    return ((f"{trained} of these images are training images: their scores are no test. " if trained else "")
            + (f"{count} undefined scores are left out of the means. " if count else "")
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


if __name__ == "__main__":
    run(main)
