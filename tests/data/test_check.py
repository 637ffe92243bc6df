import csv
import hashlib
import re

import numpy as np
import pytest
from PIL import Image

from data import check as check_module
from data import sources
from data.dataset import LOADERS
from tests.conftest import REPOSITORY, command, one_line
from tests.fixtures import lsun, mit, osie, salicon
from tests.fixtures.images import write_noise


def check(name, root, out, *options):
    return command("data.check", "--dataset", name, "--data-root", root, "--out", out, *options)


def test_the_report_counts_images_and_missing_images(tmp_path):
    salicon.write_json(tmp_path / "salicon")
    process = check("salicon", tmp_path / "salicon", tmp_path)
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert "salicon train: 12 images; 2015r1 JSON" in process.stdout
    assert "published      10,000 images: 9,988 missing" in process.stdout
    assert "sizes          640x480 (12)" in process.stdout
    assert f"fixations      {3 * salicon.SAMPLES} to {3 * salicon.SAMPLES} per image" in process.stdout
    assert "; 3 to 3 observers per image" in process.stdout and "salicon test: 2 images; images alone" in process.stdout
    assert "fixations      none published" in process.stdout
    for split, shape in (("train", (5 * 188, 4 * 248 - 8)), ("test", (188, 2 * 248 - 8))):
        sheet = np.asarray(Image.open(tmp_path / f"salicon-{split}.png"))
        assert sheet.shape == (*shape, 3) and sheet.std() > 20


def test_the_exit_code_of_a_complete_data_set_is_0(tmp_path, monkeypatch):
    mit.write_mit300(tmp_path / "mit300")
    monkeypatch.setitem(sources.SOURCES["mit300"], "counts", {"test": 3})
    monkeypatch.setattr("sys.argv", ["check", "--dataset", "mit300", "--data-root", str(tmp_path), "--out", str(tmp_path)])
    assert check_module.main() == 0


def test_damaged_files_are_counted_and_named_and_the_check_continues(tmp_path):
    osie.write(tmp_path / "osie", 12)
    image, mouse = tmp_path / "osie/stimuli/1003.jpg", tmp_path / "osie/mouse_amt/1004.mat"
    image.write_bytes(image.read_bytes()[:900])
    mouse.write_bytes(b"MATLAB")
    (tmp_path / "osie/stimuli/1005.jpg").write_bytes((tmp_path / "osie/stimuli/1006.jpg").read_bytes())
    process = check("osie", tmp_path / "osie", tmp_path)  # eyes and mouse
    assert process.returncode == 1 and "unreadable     2" in process.stdout and "identical      1 images" in process.stdout
    assert "unreadable     1" in process.stdout and str(image) in process.stdout and str(mouse) in process.stdout
    assert (tmp_path / "osie+gaze=mouse-all.png").is_file() and (tmp_path / "osie+gaze=eyes-all.png").is_file()


def test_points_outside_repeated_points_and_images_without_points_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    (tmp_path / "fixations").mkdir()
    for name, points in {"a": [(1, 1), (1.2, 0.9), (70, 3)], "b": [], "c": [(2, 2)]}.items():
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / "images" / f"{name}.png")
        np.save(tmp_path / "fixations" / f"{name}.npy", points)
    process = check("folder", tmp_path, tmp_path)
    assert process.returncode == 1, process.stdout + process.stderr
    assert "outside        1 of 4 points" in process.stdout and "repeated       1 points" in process.stdout
    assert "no fixations   1 images: b" in process.stdout and "problems: 1" in process.stdout


@pytest.mark.parametrize("per_image, message", [(1, "almost all points lie within 1.5 pixels of the top left corner"),
                                                (20, "lie between 0 and 1: they are fractions")])
def test_fractions_are_a_problem(tmp_path, per_image, message):
    rng = np.random.default_rng(0)
    for index in range(6):
        write_noise(tmp_path / f"images/p{index}.png", 40, 60, rng)
        (tmp_path / "fixations").mkdir(exist_ok=True)
        points = rng.random((per_image, 2))
        points[:per_image // 20] = 1.02, -0.01  # as trackers give them at the border
        np.save(tmp_path / f"fixations/p{index}.npy", points)
    process = check("folder", tmp_path, tmp_path)
    assert process.returncode == 1 and message in process.stdout, process.stdout
    assert check("folder+unit=fraction", tmp_path, tmp_path).returncode == 0


def test_many_points_outside_give_a_hint(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("images", "fixations"):
        (tmp_path / kind).mkdir()
    for index in range(12):  # [row, col]; too few points to detect it per image
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / f"images/{index}.png")
        np.save(tmp_path / f"fixations/{index}.npy", rng.uniform(0, (39, 59), (4, 2)))
    process = check("folder", tmp_path, tmp_path)
    assert "check whether they are [row, col] instead of [x, y]" in process.stdout or "[row, col] where [x, y] is expected" in process.stdout


def test_archives_are_compared_by_md5(tmp_path, monkeypatch, capsys):
    lsun.write(tmp_path / "set", "isun")
    published = hashlib.md5((tmp_path / "set/training.mat").read_bytes()).hexdigest()
    monkeypatch.setitem(sources.SOURCES["isun"]["archives"], "training.mat", published)
    assert check_module.check_archives("isun", tmp_path / "set") == 2  # the tests also write validation.mat and testing.mat
    printed = capsys.readouterr().out
    assert re.search(r"training.mat: MD5 as published", printed) and printed.count("differs from the published one") == 2


def test_a_wrong_root_is_one_line(tmp_path):
    process = check("isun", tmp_path, tmp_path, "--split", "train")
    assert process.returncode == 1 and "Traceback" not in process.stderr
    line = next(line for line in process.stdout.splitlines() if line.startswith("isun train: "))
    assert "not iSUN; give the folder that holds training.mat" in line and "--data-root FOLDER" in line


def test_data_help_lists_all_data_sets():
    assert set(sources.SOURCES) == set(LOADERS)
    printed = command("data.sources").stdout
    for name, source in sources.SOURCES.items():
        assert f"{name}: {source['title']}" in printed and all(md5 in printed for md5 in source["archives"].values() if md5)
    assert command("data.sources", "mit300").stdout.startswith("mit300:")
    assert "there is no data set 'imagenet'" in one_line(command("data.sources", "imagenet"))


@pytest.mark.parametrize("name", ["salicon", "isun"])
def test_counts_are_those_of_table_2(name):
    with open(REPOSITORY / "evaluation/paper/table2.csv", newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["dataset"].lower() == name)
    assert {key: int(row[column]) for key, column in (("train", "train"), ("val", "validation"), ("test", "test"))} \
        == sources.SOURCES[name]["counts"]
