"""A full disk, a read-only folder and a limit of the size of files: one line with the file's own name, nothing lost."""
import contextlib
import os
import subprocess

import pytest

from common.errors import UserError
from common.files import check_writable, need_space, write_text
from tests.conftest import command, one_line, python


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB in memory; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=64", "tmpfs", folder]).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder, left=0):
    """Fill a disk but for a number of bytes."""
    with open(folder / "fill", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    os.truncate(folder / "fill", max(0, (folder / "fill").stat().st_size - left))


def test_score_reports_a_full_disk_before_its_work(small_disk):
    fill(small_disk)
    line = one_line(command("evaluation.score", "--baseline", "chance", "--out", small_disk / "chance"))
    assert line == f"error: {small_disk}/chance.csv: No space left on device; free some space and run the same command again"
    assert sorted(path.name for path in small_disk.iterdir()) == ["fill"]


WRITE_PRIOR = """
import sys, numpy as np
from common.errors import run
from data.dataset import load
from evaluation import baselines
baselines.centre_prior = lambda *_: np.random.default_rng(0).random((480, 640), np.float32)
run(lambda: baselines.saved_centre_prior(load("synthetic", "train"), sys.argv[1]) is None)
"""


def test_a_disk_that_fills_while_the_centre_prior_is_written_is_one_line(small_disk):
    fill(small_disk, left=600_000)
    process = python("-c", WRITE_PRIOR, small_disk / "prior.npz")
    assert process.stderr == (f"error: {small_disk}/prior.npz: No space left on device; free some space and run the same "
                              "command again\n"), process.stderr
    assert sorted(path.name for path in small_disk.iterdir()) == ["fill"]
    (small_disk / "fill").unlink()
    assert python("-c", WRITE_PRIOR, small_disk / "prior.npz").returncode == 0


def test_a_disk_without_inodes_is_one_line(small_disk):
    for number in range(100):
        try:
            (small_disk / str(number)).touch()
        except OSError:
            break
    with pytest.raises(UserError, match=rf"^{small_disk}/a\.txt: No space left on device; free"):
        write_text(small_disk / "a.txt", "text")


def test_a_limit_of_the_size_of_files_is_one_line(tmp_path):
    code = ("import resource, sys, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + WRITE_PRIOR)
    process = python("-c", code, tmp_path / "prior.npz")
    assert process.stderr.startswith(f"error: {tmp_path}/prior.npz: ") and process.stderr.count("\n") == 1, process.stderr
    assert list(tmp_path.iterdir()) == []


def test_errors_name_no_hidden_folder(tmp_path):
    scratch = tmp_path / ".weights.npz.123.abcdefgh" / "weights.npz"
    scratch.mkdir(parents=True)
    for folder in (scratch, tmp_path):
        with pytest.raises(UserError, match=rf"^{tmp_path}: \d+ MB are needed there"):
            need_space(folder, 1 << 60)


@pytest.mark.parametrize("text, fault", [("{tmp}/folder", "is a folder"), ("{tmp}/file/a", "Not a directory|File exists"),
                                         ("/proc/a", "/proc/a: No such file or directory|/proc/a: .*")])
def test_paths_that_cannot_be_written_are_named_before_the_work(tmp_path, text, fault):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=fault) as raised:
        check_writable(tmp_path / "good", text.format(tmp=tmp_path))
    assert "/." not in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_read_only_folder_is_one_line(small_disk):
    write_text(small_disk / "old.txt", "text")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for path in (small_disk / "old.txt", small_disk / "new.txt", small_disk / "folder/new.txt"):
        with pytest.raises(UserError, match=r"^\S+/disk\S*: Read-only file system; choose a folder you may write to$") as raised:
            check_writable(path)
        assert "/." not in str(raised.value)
    assert (small_disk / "old.txt").read_text() == "text"
