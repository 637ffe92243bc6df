"""Odd clocks: dates of files before 1970 or far ahead, unusual time zones, a log whose times run backwards.

The clock of the system itself is not changed: that would need root and would disturb other programs.
"""
import os
import time

import numpy as np
import pytest

from common.runs import Log, read_log
from evaluation.figures import curves
from models import exports
from tests.conftest import USER_ENVIRONMENT, command
from tests.faults import kills

DATES = {"before 1970": -86400 * 400, "1970": 0, "2038": 2 ** 31 + 5, "2100": 4102444800, "2446": 15032385535}


def write_data(folder):
    from common.images import write_png

    rng = np.random.default_rng(0)
    (folder / "fixations").mkdir(parents=True)
    for index in range(6):
        write_png(folder / f"images/i{index}.png", rng.integers(0, 256, (48, 64, 3), np.uint8))
        np.savetxt(folder / f"fixations/i{index}.csv", rng.uniform(1, 47, (9, 2)), "%.1f", ",", header="x,y", comments="")
    return folder


def run(name, *arguments):
    process = command(name, *arguments, "--dataset", "folder+sigma=9")
    assert process.returncode == 0 and "Traceback" not in process.stderr, process.stderr
    return process


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("clocks") / "data")


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("expected")
    return use(data, out)


def use(data, out):
    """Prepare and score a data set, and return the hashes of what was written, the fingerprint of the dates excluded."""
    run("shallow.prepare", "--data-root", data, "--out", out / "prepared", "--jobs", "1")
    run("evaluation.score", "--baseline", "centre-prior", "--data-root", data, "--split", "all", "--jobs", "1",
        "--prior", out / "prior.npz", "--out", out / "scores")
    return {name: digest for name, digest in kills.digest(out).items() if name != "prepared/manifest.json"}


@pytest.mark.parametrize("date", DATES)
def test_dates_of_files_change_no_result(data, expected, tmp_path, date):
    try:
        kills.set_dates(data, DATES[date])
    except OverflowError:
        pytest.skip("this file system has no such date")
    assert use(data, tmp_path) == expected
    assert "already prepared" in run("shallow.prepare", "--data-root", data, "--out", tmp_path / "prepared").stdout
    kills.set_dates(tmp_path, DATES[date])
    assert use(data, tmp_path) == expected
    os.utime(data / "images/i0.png")
    assert "out of date" in run("shallow.prepare", "--data-root", data, "--out", tmp_path / "prepared").stdout


@pytest.mark.parametrize("zone", kills.ZONES)
def test_time_zones_change_no_result(data, expected, tmp_path, monkeypatch, zone):
    monkeypatch.setitem(USER_ENVIRONMENT, "TZ", zone)
    assert use(data, tmp_path) == expected


def test_a_log_whose_times_and_iterations_run_backwards_is_drawn_and_continued(tmp_path):
    columns = ["iteration", "lr", "loss", "val_loss", "seconds"]
    (tmp_path / "log.csv").write_text("\n".join([
        ",".join(columns), "1,0.1,0.9,0.8,100", "2,0.1,0.8,,-50", "3,0.1,0.7,0.6,0", "2,0.1,0.75,,-1e9", "4,0.1,0.6,,1e300"]))
    curves(tmp_path, tmp_path / "curves.png", "deep")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    Log(tmp_path / "log.csv", columns, done=2).write(iteration=3, lr=0.1, loss=0.65, seconds=-7)
    assert [(row["iteration"], row["seconds"]) for row in read_log(tmp_path / "log.csv")] == [
        (1, 100), (2, -50), (2, -1e9), (3, -7)]


@pytest.mark.parametrize("year", [1970, 2110])
def test_an_archive_of_maps_does_not_depend_on_the_clock(tmp_path, monkeypatch, year):
    """The format of zip has dates from 1980 to 2107 only; a computer without a clock starts in 1970."""
    for folder in ("now", "then"):
        with exports.open_export("mit300", exports.export_path("mit300", tmp_path / folder, "net"), "net") as write:
            write("i1", np.zeros((4, 5)))
        monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time((year, 1, 1, 0, 0, 0, 3, 1, 0)))
    assert (tmp_path / "now/net.zip").read_bytes() == (tmp_path / "then/net.zip").read_bytes()
