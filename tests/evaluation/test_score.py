"""Scores of files and folders of maps, and of baselines."""
import csv
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.files import read_json
from data import load
from data.dataset import Dataset, Sample
from data.maps import write_maps
from evaluation import baselines, metrics, negatives, score
from evaluation.conventions import CONVENTIONS
from evaluation.metrics import METRICS
from tests.conftest import command, one_line

LOWER_IS_BETTER = {"KL", "EMD"}


@pytest.fixture(scope="module")
def few():
    """Load eight test images instead of a hundred."""
    dataset = load("synthetic", "test")
    dataset.names = dataset.names[:8]
    return dataset


@pytest.fixture(scope="module")
def prior():
    training = load("synthetic", "train")
    training.names = training.names[:60]
    return baselines.centre_prior(training)


def toy(fixations, shapes=None, observers=True, damaged=()):
    """Make a data set of grey images with these fixations."""
    def open_sample(name):
        index = int(name)

        def read():
            if index in damaged:
                raise UserError("fixation file cut off; copy it again")
            points = np.array(fixations[index], float)
            return (points, np.arange(len(points)) % 3) if observers else points
        shape = shapes[index] if shapes else (40, 60)
        return Sample(name, shape, lambda: np.full((*shape, 3), 99, np.uint8), read, sigma=3)
    about = {"images": "Toy", "edition": "toy", "capture": "None", "observers": "3"}
    return Dataset("toy", "test", 3, [str(index) for index in range(len(fixations))], open_sample, about)


def test_the_ground_truth_beats_chance_in_every_metric(few, prior):
    truth = score.summarise(score.score(few, maps=lambda index, sample: sample.density, prior=prior))
    noise = score.summarise(score.score(few, maps=lambda index, sample: baselines.chance(sample.shape, index), prior=prior))
    for metric in METRICS:
        better, worse = (noise, truth) if metric in LOWER_IS_BETTER else (truth, noise)
        assert better[metric]["mean"] > worse[metric]["mean"] + 0.15, metric
        assert truth[metric]["low"] <= truth[metric]["mean"] <= truth[metric]["high"]
    assert truth["CC"]["mean"] == pytest.approx(1) and truth["SIM"]["mean"] == pytest.approx(1)
    assert truth["EMD"]["mean"] == pytest.approx(0, abs=1e-9) and truth["KL"]["mean"] == pytest.approx(0, abs=1e-6)
    assert noise["AUC-Judd"]["mean"] == pytest.approx(0.5, abs=0.03)


def test_one_human_scores_between_the_centre_prior_and_the_ground_truth(few, prior):
    human = score.summarise(score.score(few, maps=baselines.ONE_HUMAN, prior=prior))
    centre = score.summarise(score.score(few, maps=lambda index, sample: prior, prior=prior))
    assert centre["CC"]["mean"] < human["CC"]["mean"] < 1 and human["AUC-Judd"]["mean"] > 0.75
    assert centre["IG"]["mean"] == 0, "the centre prior has no gain over itself"


def test_the_centre_prior_is_near_chance_in_shuffled_auc(few, prior):
    assert prior.shape == (480, 640) and prior.max() == 1
    scores = score.summarise(score.score(few, maps=lambda index, sample: prior, prior=prior))
    assert scores["AUC-Judd"]["mean"] > 0.6 > scores["AUC-shuffled"]["mean"]


def test_a_saved_centre_prior_is_used_and_a_foreign_one_rejected(tmp_path, prior):
    path = tmp_path / "prior.npz"
    training = load("synthetic", "train")
    made_of = f"synthetic: 1000 images, {training.names[0]} to {training.names[-1]}, seed 2016"
    np.savez(path, prior=prior, made_of=np.array(made_of))
    np.testing.assert_array_equal(baselines.saved_centre_prior("synthetic", None, path), prior)
    np.savez(path, prior=prior, made_of=np.array("osie: 400 images"))
    with pytest.raises(UserError, match="is the centre prior of osie"):
        baselines.saved_centre_prior("synthetic", None, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="not a saved centre prior"):
        baselines.saved_centre_prior("synthetic", None, path)


def test_other_fixations_are_of_other_images(few):
    marked = negatives.mark_other_fixations(few, 2, seed=1, count=3)
    assert marked.shape == (480, 640) and marked.dtype == bool and marked.sum() > 100
    np.testing.assert_array_equal(marked, negatives.mark_other_fixations(few, 2, seed=1, count=3))
    assert (marked != negatives.mark_other_fixations(few, 2, seed=2, count=3)).any()
    all_others = negatives.mark_other_fixations(few, 2, seed=1, count=99)
    own = np.zeros((480, 640), bool)
    x, y = few[2].fixations.round().astype(int).T
    own[y, x] = True
    assert (all_others & own).mean() < own.mean() / 2


def test_negatives_are_at_the_scale_of_the_image():
    dataset = toy([[(0, 0), (59, 39)], [(0, 0), (119, 79), (119, 79)]], shapes=[(40, 60), (80, 120)])
    assert np.argwhere(negatives.mark_other_fixations(dataset, 0, seed=0)).tolist() == [[0, 0], [39, 59]]
    assert np.argwhere(negatives.mark_other_fixations(dataset, 1, seed=0)).tolist() == [[0, 0], [79, 119]]
    all_counts = negatives.count_all_fixations(dataset)
    assert all_counts[39, 59] == all_counts[0, 0] == 2 and all_counts.sum() == 4, "a pixel counts once per image"
    other_counts = negatives.count_other_fixations(all_counts, dataset[1])
    assert other_counts.shape == (80, 120) and other_counts[79, 119] == other_counts[0, 0] == 1
    assert other_counts.sum() == 2 and negatives.count_other_fixations(all_counts, dataset[0]).sum() == 2


def test_conventions_differ_in_three_metrics(few, prior):
    maps = {name: few.open(name).density ** 2 for name in few.names}
    mit, salicon = (score.summarise(score.score(few, maps=lambda index, sample: maps[sample.name], prior=prior,
                                                convention=convention)) for convention in CONVENTIONS.values())
    for metric in ("SIM", "CC", "KL", "IG", "EMD", "AUC-Judd"):
        assert mit[metric] == salicon[metric]
    for metric in ("AUC-shuffled", "AUC-Borji", "NSS"):
        assert mit[metric]["mean"] != salicon[metric]["mean"]


@pytest.mark.parametrize("name", CONVENTIONS)
def test_conventions_can_be_pickled(name):
    assert pickle.loads(pickle.dumps(CONVENTIONS[name])).name == name


def test_a_bad_image_does_not_lose_the_scores_of_the_others():
    fixations = [[(5, 5), (50, 30), (20, 20)]] * 5 + [[]]
    dataset = toy(fixations, damaged=(1,))
    rng = np.random.default_rng(0)
    maps = {str(index): rng.random((40, 60)) for index in range(6)}
    maps["2"][3, 3] = np.nan
    maps["3"] -= 0.5
    maps["4"] = maps["4"][::2, ::2]
    rows = score.score(dataset, maps=lambda index, sample: maps[sample.name], prior=np.ones((4, 6)) + np.eye(4, 6))
    assert [row["name"] for row in rows] == dataset.names
    assert "cut off" in rows[1]["error"] and "NaN or infinity in the prediction" in rows[2]["error"]
    assert all(np.isnan(rows[index][metric]) for index in (1, 2) for metric in METRICS)
    assert "negative values" in rows[3]["error"] and np.isnan(rows[3]["KL"]) and rows[3]["CC"] == rows[3]["CC"]
    for index in (0, 4):
        assert rows[index]["error"] == "" and not any(np.isnan(rows[index][metric]) for metric in METRICS)
    # no fixations: undefined, but no error
    assert rows[5]["error"] == "" and np.isnan(rows[5]["AUC-Judd"]) and np.isnan(rows[5]["NSS"])
    salicon = score.score(dataset, maps=lambda index, sample: maps[sample.name], prior=np.eye(4, 6),
                          convention=CONVENTIONS["salicon"])
    assert [bool(row["error"]) for row in salicon] == [False, True, True, True, False, False]
    assert "cut off" in salicon[1]["error"]


def test_without_observers_one_human_is_an_error():
    rows = score.score(toy([[(5, 5), (9, 9)]] * 2, observers=False), maps=baselines.ONE_HUMAN, prior=np.eye(4, 6))
    assert all("does not record the observer" in row["error"] for row in rows)


def test_nan_is_left_out_and_counted():
    rows = [dict.fromkeys(METRICS, 0.5), {**dict.fromkeys(METRICS, 0.7), "CC": float("nan"), "KL": float("nan")}]
    rows[0]["KL"] = float("nan")
    summary = score.summarise(rows)
    assert summary["CC"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 1, "nan": 1}
    assert summary["SIM"]["mean"] == pytest.approx(0.6) and summary["SIM"]["nan"] == 0
    assert summary["KL"] == {"mean": None, "low": None, "high": None, "n": 0, "nan": 2}
    json.loads(json.dumps(summary, allow_nan=False))


def test_missing_and_unmatched_maps_are_reported(tmp_path):
    names = load("synthetic", "test").names
    arguments = ["--out", tmp_path / "scores", "--prior", _flat_prior(tmp_path)]
    with write_maps(tmp_path / "none.h5", "deep") as store:
        store("cat", np.zeros((480, 640)))
    process = command("evaluation.score", "--predictions", tmp_path / "none.h5", *arguments)
    assert "no map of any of the 100 test images" in one_line(process) and not list(tmp_path.glob("scores*"))
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in [*names[1:], "dog"]:
        Image.fromarray(rng.integers(0, 256, (48, 64), np.uint8)).save(folder / f"{name}.png")
    process = command("evaluation.score", "--predictions", folder, *arguments)
    assert process.returncode == 1 and "1 of 100 images could not be scored" in one_line(process)
    assert "1 maps match no test image of synthetic, such as dog" in process.stderr
    assert f"not scored in full: {names[0]}: no map of this image" in process.stderr
    summary = read_json(tmp_path / "scores.json")
    assert summary["failed"] == 1 and summary["metrics"]["CC"]["n"] == 99 and summary["model"] == "mine"
    with open(tmp_path / "scores.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert "no map of this image" in rows[0]["error"] and rows[0]["CC"] == "nan" and float(rows[1]["CC"])
    for metric in METRICS:
        assert np.mean([float(row[metric]) for row in rows[1:]]) == pytest.approx(summary["metrics"][metric]["mean"])


def test_the_same_seed_gives_the_same_scores(tmp_path):
    scores = []
    for index, seed in enumerate((7, 7, 8)):
        process = command("evaluation.score", "--baseline", "chance", "--out", tmp_path / str(index), "--seed", seed,
                          "--prior", _flat_prior(tmp_path), "--convention", "mit" if index < 2 else "salicon")
        assert process.returncode == 0, process.stderr
        scores.append(read_json(tmp_path / f"{index}.json"))
    assert scores[0] == scores[1] and scores[0]["convention"] == "mit" and scores[2]["convention"] == "salicon"
    assert scores[0]["metrics"]["CC"] != scores[2]["metrics"]["CC"]


def test_a_dask_cluster_gives_the_same_scores(tmp_path):
    pytest.importorskip("dask.distributed", reason="Dask is not installed (run make cluster)")
    for name, extra in (("here", []), ("dask", ["--dask", "local", "--jobs", "2"])):
        process = command("evaluation.score", "--baseline", "chance", "--out", tmp_path / name,
                          "--prior", _flat_prior(tmp_path), *extra)
        assert process.returncode == 0, process.stderr
    assert (tmp_path / "here.csv").read_text() == (tmp_path / "dask.csv").read_text()


def test_a_wrong_dask_address_is_an_error(tmp_path):
    pytest.importorskip("dask.distributed", reason="Dask is not installed (run make cluster)")
    process = command("evaluation.score", "--baseline", "chance", "--out", tmp_path / "a", "--dask", "tcp://127.0.0.1:9")
    assert "no Dask scheduler at this address" in one_line(process)


def test_models_rank_as_in_the_literature(osie_root):
    """Check on eye-tracking data: chance < Itti < GBVS and BMS < one human (AUC-Judd)."""
    dataset = load("osie", "test", osie_root)
    dataset.names = dataset.names[::5]
    prior = np.ones((4, 6)) + np.eye(4, 6)
    judd = {"chance": 0.5}
    for name, model in baselines.MODELS.items():
        rows = score.score(dataset, maps=lambda index, sample, model=model: model(sample.image), prior=prior, jobs=-1)
        judd[name] = score.summarise(rows)["AUC-Judd"]["mean"]
    judd["human"] = score.summarise(score.score(dataset, maps=baselines.ONE_HUMAN, prior=prior, jobs=-1))["AUC-Judd"]["mean"]
    assert judd["chance"] + 0.05 < judd["itti"] < min(judd["gbvs"], judd["bms"])
    assert max(judd["gbvs"], judd["bms"]) < judd["human"], judd
    assert metrics.METRICS[:5] == metrics.TABLE_METRICS


def _flat_prior(folder):
    """Save a centre prior without computing it, as if by an earlier command."""
    training = load("synthetic", "train")
    path = folder / "prior.npz"
    np.savez(path, prior=1 + np.eye(48, 64), made_of=np.array(
        f"synthetic: {len(training)} images, {training.names[0]} to {training.names[-1]}, seed 2016"))
    return path
