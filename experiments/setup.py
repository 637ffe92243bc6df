"""Run the project's commands for experiments, and keep what is finished.

Every training has its own run folder. If an experiment is interrupted, the same command continues it.
"""
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError
from common.files import read_json, write_json, write_text
from common.runs import read_log
from shallow.settings import PAPER

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class Table:
    """Result of an experiment.

    Attributes
    ----------
    question : str
    header : list of str
    rows : list of list of str or number
    note : str
        What was trained and scored, and on how many images.
    """

    question: str
    header: list
    rows: list
    note: str

    def to_markdown(self, name):
        """Format the table as Markdown, with the experiment's name as its heading."""
        def line(cells):
            return "| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"
        return "\n".join([f"## {name}", "", self.question, "", line(self.header), "|---" * len(self.header) + "|",
                          *map(line, self.rows), "", self.note, ""])


@dataclass
class Setup:
    """Data set and folders of a run of experiments.

    Attributes
    ----------
    dataset : str
    root : str or None
        As of `data.dataset.load`.
    build : Path
        Folder of prepared data, predictions and scores, as of the Makefile.
    out : Path
        Folder of the experiments' runs and results.
    given_weights : dict of str: path
        Weights by net, for the experiments with trained nets' maps.
    """

    dataset: str
    root: str | None
    build: Path
    out: Path
    given_weights: dict = field(default_factory=dict)

    @property
    def weights(self):
        """Return the weights files by net: those given, or of the demo preset's runs."""
        runs = self.build / "runs"
        return {"shallow": runs / f"{self.name}-demo-shallow/best.npz",
                "deep": runs / f"{self.name}-demo-deep/weights.caffemodel", **self.given_weights}

    @property
    def name(self):
        """Return the data set's name as in file names."""
        return self.dataset.replace("+", "-").replace("=", "-")

    @property
    def source(self):
        """Return the options of commands that read the data set, list of str."""
        return ["--dataset", self.dataset, *(["--data-root", self.root] if self.root else [])]

    def data(self, net, **options):
        """Prepare the demo preset's training data of a net, if they are not there; return their folder.

        Data in the folder that were prepared with other settings are an error.
        Options, such as limit=160, give data of their own.
        """
        suffix = "".join(f"-{name}{value}" for name, value in options.items())
        folder = self.build / "data" / f"{self.name}-demo-{net}{suffix}"
        run(f"{net}.prepare", *self.source, "--out", folder, *(["--preset", "demo"] if net == "deep" else []),
            *(word for name, value in options.items() for word in (f"--{name}", value)))
        return folder

    def shallow_length(self, data, updates):
        """Return the options of a training of the shallow net: batches of the paper's size, about `updates` of them."""
        images = read_json(data / "manifest.json", {"train": int})["train"]
        return "--batch", PAPER["batch"], "--epochs", math.ceil(updates / max(1, images // PAPER["batch"]))

    def train(self, net, label, data, *arguments):
        """Train a net with the arguments of its command, and return the rows of its log.

        A diverged training is no error here: its log ends before the last iteration.
        """
        folder = self.out / f"{self.name}-{label}"
        run(f"{net}.train", "--data", data, "--run", folder, *arguments, expect_failure=True)
        if not (folder / "log.csv").is_file():
            raise UserError(f"{folder}: the training wrote no log; run the command again to see why: "
                            f"python -m {net}.train --data {data} --run {folder} {' '.join(map(str, arguments))}")
        return read_log(folder / "log.csv")

    def run_folder(self, label):
        """Return the folder of a training."""
        return self.out / f"{self.name}-{label}"

    def save(self, name, table):
        """Write the result as JSON and Markdown."""
        write_json(self.out / f"{name}.json", {"dataset": self.dataset, "question": table.question,
                                               "header": table.header, "rows": table.rows, "note": table.note})
        write_text(self.out / f"{name}.md", table.to_markdown(name))


def run(module, *arguments, expect_failure=False):
    """Run `python -m module` in the repository, with its messages on this terminal.

    Raises
    ------
    UserError
        The command failed, and `expect_failure` is False.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    code = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
    if code and not (expect_failure and code == 1):
        raise UserError(f"{module}: ended with exit code {code} (see above); the command was: python "
                        + " ".join(command[1:]))
    return code


def validated(rows, column):
    """Return the values of a column of a log at the validations, list of float."""
    return [row[column] for row in rows if row[column] is not None]
