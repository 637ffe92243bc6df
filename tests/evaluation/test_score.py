"""Scoring files and folders of maps, and baselines, against people."""
import csv
import json

import numpy as np
import pytest
import scipy.io
from PIL import Image

from common.errors import UserError
from common.files import read_json
from data import load
from data.dataset import Dataset, Sample
from data.maps import open_maps, write_maps
from evaluation import baselines, metrics, negatives, score
from evaluation.metrics import METRICS
from tests.conftest import command, one_line

LOWER_IS_BETTER = {"KL", "EMD"}


@pytest.fixture(scope="module")
def few():
    """Eight test images instead of a hundred."""
    dataset = load("synthetic", "test")
    dataset.names = dataset.names[:8]
    return dataset


@pytest.fixture(scope="module")
def prior():
    training = load("synthetic", "train")
    training.names = training.names[:60]
    return baselines.centre_prior(training)


def toy(looks, shapes=None, observers=True, damaged=()):
    """A data set of grey pictures with given fixations."""
    def open_sample(name):
        index = int(name)

        def read():
            if index in damaged:
                raise UserError("fixation file cut off; copy it again")
            points = np.array(looks[index], float)
            return (points, np.arange(len(points)) % 3) if observers else points
        shape = shapes[index] if shapes else (40, 60)
        return Sample(name, shape, lambda: np.full((*shape, 3), 99, np.uint8), read, sigma=3)
    about = {"images": "Toy", "edition": "toy", "capture": "None", "observers": "3"}
    return Dataset("toy", "test", 3, [str(index) for index in range(len(looks))], open_sample, about)


def test_people_themselves_beat_chance_on_every_measure(few, prior):
    people = score.summarise(score.score(few, lambda index, sample: sample.density, prior))
    noise = score.summarise(score.score(few, lambda index, sample: baselines.chance(sample.shape, index), prior))
    for measure in METRICS:
        better, worse = (noise, people) if measure in LOWER_IS_BETTER else (people, noise)
        assert better[measure]["mean"] > worse[measure]["mean"] + 0.15, measure
        assert people[measure]["low"] <= people[measure]["mean"] <= people[measure]["high"]
    assert people["CC"]["mean"] == pytest.approx(1) and people["SIM"]["mean"] == pytest.approx(1)
    assert people["EMD"]["mean"] == pytest.approx(0, abs=1e-9) and people["KL"]["mean"] == pytest.approx(0, abs=1e-6)
    assert noise["AUC-Judd"]["mean"] == pytest.approx(0.5, abs=0.03)


def test_one_observer_lies_between_the_centre_and_everyone(few, prior):
    one = score.summarise(score.score(few, None, prior))
    centre = score.summarise(score.score(few, lambda index, sample: prior, prior))
    assert centre["CC"]["mean"] < one["CC"]["mean"] < 1 and one["AUC-Judd"]["mean"] > 0.75
    assert centre["IG"]["mean"] == 0, "the centre prior gains nothing over itself"


def test_the_centre_prior_has_no_merit_in_shuffled_auc(few, prior):
    assert prior.shape == (480, 640) and prior.max() == 1
    scores = score.summarise(score.score(few, lambda index, sample: prior, prior))
    assert scores["AUC-Judd"]["mean"] > 0.6 > scores["AUC-shuffled"]["mean"]


def test_a_saved_centre_prior_is_used_and_a_foreign_one_refused(tmp_path, prior):
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
    others = negatives.other_fixations(few, 2, seed=1, count=3)
    assert others.shape == (480, 640) and others.dtype == bool and others.sum() > 100
    np.testing.assert_array_equal(others, negatives.other_fixations(few, 2, seed=1, count=3))
    assert (others != negatives.other_fixations(few, 2, seed=2, count=3)).any()
    everyone = negatives.other_fixations(few, 2, seed=1, count=99)
    alone = np.zeros((480, 640), bool)
    x, y = few[2].fixations.round().astype(int).T
    alone[y, x] = True
    assert (everyone & alone).mean() < alone.mean() / 2


def test_negatives_come_at_the_scale_of_the_image():
    dataset = toy([[(0, 0), (59, 39)], [(0, 0), (119, 79), (119, 79)]], shapes=[(40, 60), (80, 120)])
    assert np.argwhere(negatives.other_fixations(dataset, 0, seed=0)).tolist() == [[0, 0], [39, 59]]
    assert np.argwhere(negatives.other_fixations(dataset, 1, seed=0)).tolist() == [[0, 0], [79, 119]]
    everyone = negatives.all_fixations(dataset)
    assert everyone[39, 59] == 3 and everyone[0, 0] == 2 and everyone.sum() == 5
    rest = negatives.other_counts(everyone, dataset[1])
    assert rest.shape == (80, 120) and rest[79, 119] == rest[0, 0] == 1 and rest.sum() == 2
    assert negatives.other_counts(everyone, dataset[0]).sum() == 3


def test_conventions_differ_where_they_say(few, prior):
    maps = {name: few.open(name).density ** 2 for name in few.names}
    mit, salicon = (score.summarise(score.score(few, lambda index, sample: maps[sample.name], prior, convention))
                    for convention in score.CONVENTIONS)
    for measure in ("SIM", "CC", "KL", "IG", "EMD", "AUC-Judd"):
        assert mit[measure] == salicon[measure]
    for measure in ("AUC-shuffled", "AUC-Borji", "NSS"):
        assert mit[measure]["mean"] != salicon[measure]["mean"]


def test_one_bad_image_never_loses_the_scores_of_the_others():
    looks = [[(5, 5), (50, 30), (20, 20)]] * 5 + [[]]
    dataset = toy(looks, damaged=(1,))
    rng = np.random.default_rng(0)
    maps = {str(index): rng.random((40, 60)) for index in range(6)}
    maps["2"][3, 3] = np.nan
    maps["3"] -= 0.5
    maps["4"] = maps["4"][::2, ::2]
    rows = score.score(dataset, lambda index, sample: maps[sample.name], np.ones((4, 6)) + np.eye(4, 6))
    assert [row["name"] for row in rows] == dataset.names
    assert "cut off" in rows[1]["error"] and "NaN or infinity in the prediction" in rows[2]["error"]
    assert all(np.isnan(rows[index][measure]) for index in (1, 2) for measure in METRICS)
    assert "negative values" in rows[3]["error"] and np.isnan(rows[3]["KL"]) and rows[3]["CC"] == rows[3]["CC"]
    for index in (0, 4):
        assert rows[index]["error"] == "" and not any(np.isnan(rows[index][measure]) for measure in METRICS)
    # nobody looked: undefined, but no error
    assert rows[5]["error"] == "" and np.isnan(rows[5]["AUC-Judd"]) and np.isnan(rows[5]["NSS"])
    salicon = score.score(dataset, lambda index, sample: maps[sample.name], np.eye(4, 6), "salicon")
    assert [bool(row["error"]) for row in salicon] == [False, True, True, True, False, False]


def test_without_observers_that_baseline_is_refused():
    rows = score.score(toy([[(5, 5), (9, 9)]] * 2, observers=False), None, np.eye(4, 6))
    assert all("whose" in row["error"] for row in rows)


def test_nan_is_left_out_and_counted():
    rows = [dict.fromkeys(METRICS, 0.5), {**dict.fromkeys(METRICS, 0.7), "CC": float("nan"), "KL": float("nan")}]
    rows[0]["KL"] = float("nan")
    summary = score.summarise(rows)
    assert summary["CC"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 1, "nan": 1}
    assert summary["SIM"]["mean"] == pytest.approx(0.6) and summary["SIM"]["nan"] == 0
    assert summary["KL"] == {"mean": None, "low": None, "high": None, "n": 0, "nan": 2}
    json.loads(json.dumps(summary, allow_nan=False))


@pytest.mark.parametrize("suffix", [".npy", ".mat", ".png", ".h5"])
def test_any_folder_or_file_of_maps(tmp_path, suffix):
    values = np.arange(24).reshape(4, 6).astype(np.uint8)
    if suffix == ".npy":
        np.save(tmp_path / "a.npy", values.astype(np.float32) / 7)
    elif suffix == ".mat":
        scipy.io.savemat(tmp_path / "a.mat", {"I": values / 7.0})
    elif suffix == ".png":
        Image.fromarray(values).save(tmp_path / "a.png")
    else:
        with write_maps(tmp_path / "predictions.h5", "other") as store:
            store("a", values / 7.0)
    maps = open_maps(tmp_path)
    assert "a" in maps and "b" not in maps and maps.names == {"a"}
    np.testing.assert_allclose(maps["a"], values if suffix == ".png" else values / 7, rtol=1e-6)


def test_pictures_keep_all_their_bits(tmp_path):
    Image.fromarray(np.array([[0, 40000, 65535]], np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((2, 3, 3), [10, 200, 30], np.uint8)).save(tmp_path / "colour.jpg")
    maps = open_maps(tmp_path)
    assert maps["deep"].tolist() == [[0, 40000, 65535]]
    assert maps["colour"].shape == (2, 3) and abs(int(maps["colour"][0, 0]) - 124) < 3


@pytest.mark.parametrize("write, complaint", [
    (lambda p: (p / "a.png").write_bytes(b"\x89PNG\r\n"), "a.png: cannot be read"),
    (lambda p: (p / "a.npy").write_bytes(b"\x93NUMPY"), "a.npy: cannot be read"),
    (lambda p: np.save(p / "a.npy", np.array([{"x": 1}], object), allow_pickle=True), "a.npy: cannot be read"),
    (lambda p: np.save(p / "a.npy", np.zeros((3, 4, 3))), r"a.npy: holds float64 of shape \(3, 4, 3\)"),
    (lambda p: scipy.io.savemat(p / "a.mat", {"J": np.eye(3)}), "a.mat: has no variable I"),
    (lambda p: [Image.new("L", (2, 2)).save(p / name) for name in ("a.png", "a.jpg")], "there is also"),
    (lambda p: None, "no map in this folder"),
    (lambda p: (p / "predictions.h5").write_bytes(b"no"), "not an HDF5 file"),
])
def test_damaged_maps_are_named(tmp_path, write, complaint):
    write(tmp_path)
    with pytest.raises(UserError, match=complaint):
        open_maps(tmp_path)["a"]


def test_whatever_else_an_hdf5_file_may_hold(tmp_path):
    import h5py
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("group")
        file["text"], file["cube"], file["number"], file["complex"] = "x", np.zeros((3, 4, 5)), 5.0, np.eye(3) * 1j
        file["good"] = np.eye(3)
    maps = open_maps(tmp_path / "a.h5")
    for name in ("group", "text", "cube", "number", "complex", "absent"):
        with pytest.raises(UserError, match=f"a.h5.*{name}"):
            maps[name]
    assert maps["good"].shape == (3, 3)


def test_missing_extra_and_foreign_maps(tmp_path):
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
    assert "1 maps are of no test image of synthetic, dog" in process.stderr
    assert f"left out: {names[0]}: no map of it" in process.stderr
    summary = read_json(tmp_path / "scores.json")
    assert summary["failed"] == 1 and summary["metrics"]["CC"]["n"] == 99 and summary["model"] == "mine"
    with open(tmp_path / "scores.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert "no map of it" in rows[0]["error"] and rows[0]["CC"] == "nan" and float(rows[1]["CC"])
    for measure in METRICS:
        assert np.mean([float(row[measure]) for row in rows[1:]]) == pytest.approx(summary["metrics"][measure]["mean"])


def test_same_seed_same_scores(tmp_path):
    scores = []
    for index, seed in enumerate((7, 7, 8)):
        process = command("evaluation.score", "--baseline", "chance", "--out", tmp_path / str(index), "--seed", seed,
                          "--prior", _flat_prior(tmp_path), "--convention", "mit" if index < 2 else "salicon")
        assert process.returncode == 0, process.stderr
        scores.append(read_json(tmp_path / f"{index}.json"))
    assert scores[0] == scores[1] and scores[0]["convention"] == "mit" and scores[2]["convention"] == "salicon"
    assert scores[0]["metrics"]["CC"] != scores[2]["metrics"]["CC"]


def test_on_a_dask_cluster(tmp_path):
    """The same scores from a local dask.distributed cluster."""
    pytest.importorskip("dask.distributed", reason="Dask is not installed (make cluster brings it)")
    for name, extra in (("here", []), ("dask", ["--dask", "local", "--jobs", "2"])):
        process = command("evaluation.score", "--baseline", "chance", "--out", tmp_path / name,
                          "--prior", _flat_prior(tmp_path), *extra)
        assert process.returncode == 0, process.stderr
    assert (tmp_path / "here.csv").read_text() == (tmp_path / "dask.csv").read_text()


def test_no_scheduler_at_that_address(tmp_path):
    pytest.importorskip("dask.distributed", reason="Dask is not installed (make cluster brings it)")
    process = command("evaluation.score", "--baseline", "chance", "--out", tmp_path / "a", "--dask", "tcp://127.0.0.1:9")
    assert "no Dask scheduler answers there" in one_line(process)


def test_order_known_from_the_literature(osie_root):
    """On real eyes: chance < Itti < GBVS and BMS < one human (AUC-Judd)."""
    dataset = load("osie", "test", osie_root)
    dataset.names = dataset.names[::5]
    prior = np.ones((4, 6)) + np.eye(4, 6)
    judd = {"chance": 0.5}
    for name, model in baselines.MODELS.items():
        rows = score.score(dataset, lambda index, sample, model=model: model(sample.image), prior, jobs=-1)
        judd[name] = score.summarise(rows)["AUC-Judd"]["mean"]
    judd["one"] = score.summarise(score.score(dataset, None, prior, jobs=-1))["AUC-Judd"]["mean"]
    assert judd["chance"] + 0.05 < judd["itti"] < min(judd["gbvs"], judd["bms"])
    assert max(judd["gbvs"], judd["bms"]) < judd["one"], judd
    assert metrics.METRICS[:5] == metrics.TABLE_METRICS


def _flat_prior(folder):
    """A centre prior that costs nothing to fit, as if saved by an earlier command."""
    training = load("synthetic", "train")
    path = folder / "prior.npz"
    np.savez(path, prior=1 + np.eye(48, 64), made_of=np.array(
        f"synthetic: {len(training)} images, {training.names[0]} to {training.names[-1]}, seed 2016"))
    return path
