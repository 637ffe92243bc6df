"""Compare a run with the paper: rows with the same data and settings, and the order of models."""
import csv
from itertools import combinations
from pathlib import Path

from data.dataset import base_name
from evaluation.metrics import TABLE_METRICS

PAPER = Path(__file__).resolve().parent / "paper"
# rows of the paper whose data can be at hand: (training set, data set of the scores, split). Both nets were trained on
# SALICON where the paper states nothing else (section 5.3). The fixations of the test sets are not public.
SAME_DATA = {"SALICON validation": ("salicon", "salicon", "val"), "iSUN validation": ("salicon", "isun", "val")}
COUNTS = {"salicon": "SALICON", "isun": "iSUN"}  # names in Table 2


def read_table(number):
    """Read a table of the paper: list of dict of str."""
    with open(PAPER / f"table{number}.csv", newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def has_same_data(label, score):
    """Return True if the scores are of the data that the paper's rows with this label are of.

    Parameters
    ----------
    label : str
        Column "dataset" of the paper's table, such as "iSUN validation".
    score : dict
        File of evaluation.score.
    """
    return (base_name(score["train"]), base_name(score["dataset"]), score["split"]) == SAME_DATA.get(label)


def differences(score, training):
    """List what makes a row with the same data different from the paper's.

    Parameters
    ----------
    score : dict
        File of evaluation.score.
    training : dict or None
        "training" of a file of models.summary; None if the settings of the training are unknown.

    Returns
    -------
    list of str
        Empty if the row is comparable.
    """
    texts = [f"{name} has options" for name in dict.fromkeys((score["train"], score["dataset"])) if "+" in name]
    if score["convention"] != "mit":
        texts.append(f"the {score['convention']} convention; the paper used the MIT benchmark's")
    counts = {row["dataset"]: row for row in read_table(2)}
    expected = int(counts[COUNTS[base_name(score["dataset"])]]["validation"])
    if score["images"] != expected:
        texts.append(f"{score['images']:,} of {expected:,} images")
    if training is None:
        return [*texts, "the settings of the training are unknown"]
    expected = int(counts[COUNTS[base_name(score["train"])]]["train"])
    if training["dataset"] != score["train"]:
        texts.append(f"the net was trained on {training['dataset']}")
    elif training["images"] != expected:
        texts.append(f"trained on {training['images']:,} of {expected:,} images")
    return texts + training["differences"]


def compare_order(printed, means):
    """Compare the order of models in the paper with their order in a run, for each metric.

    Parameters
    ----------
    printed : list of dict
        Rows of one table and data set of the paper.
    means : dict of dict of float by str
        Mean scores of the run by the paper's name of the model and metric; None where undefined.

    Returns
    -------
    (dict of (int, int) by str, dict of list of str by (str, str))
        Per metric, the number of pairs of models in the paper's order and the number of pairs that both have, without
        ties in the paper. And the metrics of each pair that is in the other order, by (the better one here, the
        better one in the paper).
    """
    agreement, reversed_pairs = {}, {}
    for metric in TABLE_METRICS:
        paper = {row["model"]: float(row[metric]) for row in printed if row[metric]}
        models = [model for model in paper if means.get(model, {}).get(metric) is not None]
        pairs = [sorted(pair, key=paper.get) for pair in combinations(models, 2)]
        pairs = [(worse, better) for worse, better in pairs if paper[worse] < paper[better]]
        others = [(worse, better) for worse, better in pairs if means[worse][metric] >= means[better][metric]]
        agreement[metric] = len(pairs) - len(others), len(pairs)
        for pair in others:
            reversed_pairs.setdefault(pair, []).append(metric)
    return agreement, reversed_pairs
