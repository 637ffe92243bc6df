"""The ledger of claims: every row has evidence that exists, and what arithmetic on the paper's own numbers shows."""
import ast
import csv
import re
import types

import pytest

from data.sources import SOURCES
from evaluation.claims import EVIDENCE, STATUSES, counts_table, evidence, named_tests, read_ledger
from experiments.__main__ import EXPERIMENTS
from shallow.settings import CONV3_FILTERS
from tests.conftest import REPOSITORY, command, pytest_terminal_summary

LEDGER = read_ledger()
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")


def table(number):
    with open(REPOSITORY / f"evaluation/paper/table{number}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", LEDGER, ids=lambda row: row["number"])
def test_a_claim_has_a_status_and_evidence(row):
    kind, content = evidence(row)
    assert row["status"] in STATUSES and kind in EVIDENCE and content and row["section"] and row["claim"]
    if row["status"] in ("needs data or hardware", "not checkable"):
        assert kind == "reason"
    for name in named_tests(row):
        file, _, function = name.partition("::")
        tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
    if kind == "experiment":
        name, _, result = content.partition("; ")
        assert name in EXPERIMENTS and result
        assert f"\n## {name}\n" in (REPOSITORY / "docs/experiments.md").read_text(encoding="utf-8")
    if kind == "command":
        words, _, result = content.partition("; ")
        assert result
        if words.startswith("python -m "):
            module, options = words.split()[2], re.findall(r" (--[\w-]+)", words)
            shown = command(module, "--help").stdout
            assert options and all(option in shown for option in options), words
        for target in [word for word in words.split()[1:] if "=" not in word] if words.startswith("make ") else ():
            assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.M), target
        for variable in re.findall(r"\b([A-Z][A-Z_]+)=", words):
            assert re.search(rf"^{variable} \?=", MAKEFILE, re.M), variable


def test_numbers_are_unique_and_in_order():
    assert [int(row["number"]) for row in LEDGER] == list(range(1, len(LEDGER) + 1))


def test_a_claim_whose_test_fails_is_named_at_the_end_of_the_run():
    class Reporter:
        stats, lines = {}, []
        write_line = lines.append

    row = next(row for row in LEDGER if named_tests(row))
    name, line = named_tests(row)[0], "claim {} of the ledger is not shown by this run: {} failed"
    for outcome, failed, named in (("passed", name, False), ("failed", name, True), ("failed", f"{name}[1]", True),
                                   ("error", name.partition("::")[0], True), ("failed", "tests/other.py::test_other", False)):
        Reporter.stats = {outcome: [types.SimpleNamespace(nodeid=failed)]}
        Reporter.lines.clear()
        pytest_terminal_summary(Reporter)
        assert (line.format(row["number"], name) in Reporter.lines) == named == bool(Reporter.lines)


def test_the_command_prints_all_claims_and_their_counts():
    printed = command("evaluation.claims").stdout
    assert all(f"{row['number']:>3}  {row['status']}" in printed for row in LEDGER) and counts_table(LEDGER) in printed
    assert command("evaluation.claims", "--status", "verified", "--counts").stdout == counts_table(LEDGER) + "\n"


def test_the_readme_has_the_counts():
    assert counts_table(LEDGER) in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_mit300_is_declared_as_in_table_2():
    row = next(row for row in table(2) if row["dataset"] == "MIT300")
    assert int(row["test"]) == SOURCES["mit300"]["counts"]["test"] and row["observers"] in SOURCES["mit300"]["title"]


def test_the_papers_tables_are_not_sorted_by_judd():
    for number in (3, 4):
        judd = [float(row["AUC-Judd"]) for row in table(number) if row["AUC-Judd"]]
        assert judd != sorted(judd, reverse=True)


def test_the_shallow_net_is_not_best_in_every_metric_of_table_4():
    rows = table(4)
    shuffled = {row["model"]: float(row["AUC-shuffled"]) for row in rows}
    ours = next(name for name in shuffled if "shallow" in name.lower())
    assert [name for name, value in shuffled.items() if value > shuffled[ours]]
    assert max(rows, key=lambda row: float(row["CC"]))["model"] == ours


def test_table_5_repeats_table_4_rounded():
    ours = next(row for row in table(4) if "shallow" in row["model"].lower())
    rounded = next(row for row in table(5) if "shallow" in row["model"].lower() and row["dataset"] == "SALICON test")
    for metric in ("CC", "AUC-shuffled", "AUC-Borji"):
        assert round(float(ours[metric]), 2) == float(rounded[metric])


def test_arithmetic_of_the_paper():
    """Section 5.2's 7,300 test images; updates of 1,000 epochs; multiplications of both nets per image."""
    assert 5000 + 2000 + 300 == 7300
    assert 8000 // 128 * 1000 == 62_000 and 4800 // 128 * 1000 == 37_000 and CONV3_FILTERS["isun"] < CONV3_FILTERS["salicon"]
    shallow = (92 * 92 * 32 * 75 + 44 * 44 * 64 * 288 + 20 * 20 * 128 * 576 + 12_800 * 4608 + 2304 * 2304)
    cells = (240 * 320, 120 * 160, *[60 * 80] * 7)
    layers = ((3, 96, 7), (96, 256, 5), (256, 512, 3), (512, 512, 5), (512, 512, 5), (512, 256, 7), (256, 128, 11),
              (128, 32, 11), (32, 1, 13))
    deep = sum(size * inputs * outputs * kernel ** 2 for size, (inputs, outputs, kernel) in zip(cells, layers)) + 60 * 80 * 64
    assert round(shallow / 1e9, 3) == 0.150 and round(deep / 1e9, 1) == 133.7 and round(deep / shallow) == 893
