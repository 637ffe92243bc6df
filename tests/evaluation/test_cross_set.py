"""Train on one data set and score on another: Table 5's protocol (section 5.3), with tiny files in SALICON's and iSUN's layout."""
import csv
import subprocess

import numpy as np
import pytest

from common.files import read_json
from data import load
from data.options import open_training
from tests.conftest import REPOSITORY, USER_ENVIRONMENT, command, one_line
from tests.fixtures import lsun, salicon


def succeed(module, *arguments):
    process = command(module, *arguments)
    assert process.returncode == 0, process.stderr
    return process


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    salicon.write_json(root / "salicon")
    lsun.write(root / "isun", "isun")
    return {name: root / name for name in ("salicon", "isun")}


@pytest.mark.slow
def test_nets_trained_on_salicon_fill_the_isun_rows_of_table_5(roots, tmp_path):
    train = ("--dataset", "salicon", "--data-root", roots["salicon"])
    test = ("--dataset", "isun", "--data-root", roots["isun"])
    cross = (*test, "--train", "salicon", "--train-root", roots["salicon"], "--prior", tmp_path / "prior.npz")
    for net, weights, short in (("shallow", "weights.npz", ("--epochs", 1)),
                                ("deep", "weights.caffemodel", ("--iterations", 2))):
        data, run, maps = (tmp_path / f"{kind}-{net}" for kind in ("data", "run", "maps"))
        succeed(f"{net}.prepare", *train, "--out", data)
        succeed(f"{net}.train", "--data", data, "--run", run, *short)
        succeed("models.predict", "--net", net, "--weights", run / weights, *test, "--out", maps)
        succeed("evaluation.score", "--predictions", maps / "predictions.h5", *cross, "--out", tmp_path / "scores" / net)
        succeed("models.summary", "--net", net, "--weights", run / weights, "--out", tmp_path / "nets" / net)
    succeed("evaluation.score", "--baseline", "centre-prior", *cross, "--out", tmp_path / "scores/centre-prior")
    about = read_json(tmp_path / "scores/deep.json")
    assert (about["train"], about["dataset"], about["split"], about["images"]) == ("salicon", "isun", "val", 4)
    assert about["trained"] == 0 and read_json(tmp_path / "scores/centre-prior.json")["metrics"]["IG"]["mean"] == 0
    with np.load(tmp_path / "prior.npz") as prior:
        assert str(prior["made_of"]).startswith("salicon: 12 images"), "of the training images"

    succeed("evaluation.tables", "--scores", tmp_path / "scores", "--nets", tmp_path / "nets", "--name", "salicon-on-isun",
            "--runs", tmp_path / "run-shallow", tmp_path / "run-deep", "--data-root", roots["isun"],
            "--train-root", roots["salicon"], "--out", tmp_path / "tables")
    with open(tmp_path / "tables/salicon-on-isun.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["table"].startswith("Table 5") and row["column"] == "CC"]
    lines = [(row["model"], row["line"], row["data"]) for row in rows[:4]]
    assert lines == [("Shallow Convnet", "paper", "iSUN validation"), ("Shallow Convnet", "this run", "isun val"),
                     ("Deep Convnet", "paper", "iSUN validation"), ("Deep Convnet", "this run", "isun val")]
    assert [float(row["value"]) for row in rows if row["line"] == "this run"] == [
        read_json(tmp_path / f"scores/{net}.json")["metrics"]["CC"]["mean"] for net in ("shallow", "deep")]
    text = (tmp_path / "tables/salicon-on-isun.md").read_text()
    assert "difference" not in text.split("## Table 5")[1].replace("no difference", "")
    assert "trained with the demo preset" in text and "4 of 926 images" in text and "12 of 10,000 images" in text
    second = text.split("## Table 2")[1].split("## Table 3")[0]
    assert "| salicon | this run |" in second and "| isun | this run | SUN |" in second and "| 12 | 3 | 2 |" in second


def test_scoring_training_images_is_announced(roots, tmp_path):
    args = ("--baseline", "chance", "--dataset", "isun", "--data-root", roots["isun"], "--train", "isun+protocol=lsun")
    process = succeed("evaluation.score", *args, "--out", tmp_path / "a")
    assert "warning: 4 of 4 images are training images of isun+protocol=lsun" in process.stderr
    assert read_json(tmp_path / "a.json")["trained"] == 4


def test_the_folder_of_the_training_set_is_asked_for(roots, tmp_path):
    args = ("--baseline", "chance", "--dataset", "isun", "--data-root", roots["isun"], "--train", "salicon")
    assert "TRAIN_ROOT=FOLDER (make) or --train-root FOLDER" in one_line(command("evaluation.score", *args, "--out", tmp_path / "a"))


def test_the_folder_of_the_same_data_set_is_used_for_training(osie_root):
    class Args:
        dataset, data_root, train, train_root = "osie+gaze=eyes", osie_root, "osie+gaze=mouse", None
    training = open_training(Args)
    assert training.name == "osie+gaze=mouse" and training.names == load("osie", "train", osie_root).names
    first, default = training[0], load("osie", "train", osie_root)[0]
    np.testing.assert_array_equal(first.fixations, default.fixations)  # osie trains on mouse data by itself


def make(*arguments):
    """List the commands that make would run."""
    process = subprocess.run(["make", "-n", *arguments], cwd=REPOSITORY, text=True, capture_output=True, check=False,
                             env=USER_ENVIRONMENT)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_make_keeps_both_data_sets_apart():
    commands = make("reproduce-tables", "TRAIN=salicon", "TRAIN_ROOT=/a", "TEST=isun", "TEST_ROOT=/b c").replace("\\\n", "").splitlines()
    trained = [line for line in commands if ".prepare" in line or "shallow.train" in line or "deep.train" in line]
    scored = [line for line in commands if "models.predict" in line or "evaluation.score" in line]
    assert len(trained) == 4 and len(scored) == 10
    assert all("isun" not in line and "salicon-paper" in line for line in trained), "the default preset is that of SALICON"
    assert all('--dataset isun --data-root "/b c"' in line and "salicon-paper-on-isun" in line for line in scored)
    assert all('--train salicon --train-root "/a"' in line for line in scored if "score" in line)
    assert "--train" not in make("reproduce-tables", "DATASET=osie").replace("--train-val", "")


def test_make_exports_the_maps_of_a_test_set():
    exported = make("predict", "DATASET=isun+protocol=lsun", "NET=shallow", "SPLIT=test", "FORMATS=lsun", "DATA_ROOT=/a")
    assert "--dataset isun+protocol=lsun" in exported and "--split test" in exported and "--formats lsun" in exported
    assert "isun-protocol-lsun-paper-shallow/weights.npz" in exported and "--images" not in exported
    assert "--dataset" not in make("predict", "IMAGES=a.jpg")
