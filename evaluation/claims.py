"""python -m evaluation.claims: print the ledger of the paper's claims, evaluation/paper/claims.csv.

Each row has the section, the claim in our words, its kind, its status and the evidence: "test: FILE::NAME ...", which
passes in `make test`; "command: COMMAND; RESULT", with the recorded result; "experiment: NAME; RESULT", of
`make claims` and docs/experiments.md; or "reason: TEXT", why there is none.
"""
import csv
import textwrap
from collections import Counter
from pathlib import Path

from common.arguments import Parser
from common.errors import UserError, os_error_message, run

LEDGER = Path(__file__).parent / "paper/claims.csv"
COLUMNS = ["number", "section", "claim", "kind", "status", "evidence"]
STATUSES = {  # and what they mean
    "verified": "a test or a count shows it",
    "reproduced": "a run of ours shows it, at least in direction",
    "contradicted": "the paper contradicts itself, its own released files, or arithmetic",
    "measured, other result": "a run of ours shows something else, or nothing clear at its size",
    "needs data or hardware": "not without SALICON, iSUN, MIT300, the authors' weights or a card",
    "not checkable": "history, literature or opinion",
}
EVIDENCE = ("test", "command", "experiment", "reason")


def main():
    """Parse the command line and print the ledger."""
    parser = Parser("evaluation.claims", __doc__)
    parser.add_argument("--status", choices=STATUSES, help="print only claims of this status")
    parser.add_argument("--counts", action="store_true", help="print only the number of claims by status")
    args = parser.parse_args()
    rows = read_ledger()
    if not args.counts:
        print("\n\n".join(to_text(row) for row in rows if args.status in (None, row["status"])), end="\n\n")
    print(counts_table(rows))


def read_ledger(path=LEDGER):
    """Read the ledger.

    Returns
    -------
    list of dict of str, with the keys COLUMNS

    Raises
    ------
    UserError
        The file is missing or has other columns.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    if reader.fieldnames != COLUMNS:
        raise UserError(f"{path}: has the columns {reader.fieldnames}; expected {', '.join(COLUMNS)}")
    return rows


def evidence(row):
    """Return the kind and the content of a row's evidence, (str, str)."""
    kind, _, content = row["evidence"].partition(": ")
    return kind, content


def named_tests(row):
    """Return the tests that a row names, list of "FILE::NAME"."""
    kind, content = evidence(row)
    return content.partition(";")[0].split() if kind == "test" else []


def to_text(row):
    """Format a row for the terminal."""
    head = f"{row['number']:>3}  {row['status']}, section {row['section']}: {row['claim']}"
    return "\n".join([*textwrap.wrap(head, 110, subsequent_indent=" " * 5),
                      *textwrap.wrap(row["evidence"], 110, initial_indent=" " * 5, subsequent_indent=" " * 7,
                                     break_long_words=False, break_on_hyphens=False)])


def counts_table(rows):
    """Return the number of claims by status as a Markdown table."""
    counts = Counter(row["status"] for row in rows)
    lines = [f"| {status} | {counts[status]} | {meaning} |" for status, meaning in STATUSES.items()]
    return "\n".join(["| status | claims | meaning |", "|---|---|---|", *lines, f"| all | {len(rows)} | |"])


if __name__ == "__main__":
    run(main)
