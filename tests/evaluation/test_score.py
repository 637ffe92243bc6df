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
    made_of = f"synthetic: 1000 images, {training.names[0]} to {training.names[-1]}, edition 2, seed 2016"
    np.savez(path, prior=prior, made_of=np.array(made_of))
    np.testing.assert_array_equal(baselines.saved_centre_prior(training, path), prior)
    np.savez(path, prior=prior, made_of=np.array("osie: 400 images"))
    with pytest.raises(UserError, match="is the centre prior of osie"):
        baselines.saved_centre_prior(training, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"prior.npz: cannot be read as an .npz of arrays .*; delete it"):
        baselines.saved_centre_prior(training, path)


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


def run(dataset, maps=None, **options):
    """Score a data set with these maps, or with a map that increases from left to right."""
    ramp = np.tile(np.arange(60.0), (40, 1))
    return score.score(dataset, maps=maps or (lambda index, sample: ramp), **{"prior": np.eye(4, 6), **options})


def undefined(row):
    return {metric for metric in METRICS if np.isnan(row[metric])}


def test_without_observers_one_human_is_undefined():
    rows = run(toy([[(5, 5), (9, 9)]] * 2, observers=False), baselines.ONE_HUMAN)
    assert [(row["lacks"], row["error"]) for row in rows] == [(score.NO_OBSERVERS, "")] * 2
    assert all(undefined(row) == set(METRICS) for row in rows)


def test_an_observer_alone_has_no_one_human():
    rows = run(toy([[(5, 5)], [(5, 5), (9, 9), (20, 30), (40, 12)]]), baselines.ONE_HUMAN)
    assert rows[0]["lacks"] == score.SINGLE_OBSERVER and undefined(rows[0]) == set(METRICS)
    assert rows[1]["lacks"] == "" and not np.isnan(rows[1]["CC"])


@pytest.mark.parametrize("maps", [None, baselines.ONE_HUMAN])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_images_without_a_fixation_in_the_frame_are_undefined(maps, convention):
    dataset = toy([[(5, 5), (50, 30), (20, 20)], [], [(99, 5)], [(7, 3), (30, 30), (22, 10)]])
    rows = run(dataset, maps, convention=CONVENTIONS[convention])
    assert [row["lacks"] for row in rows] == ["", score.NO_GROUND_TRUTH, score.NO_GROUND_TRUTH, ""]
    for row in rows[1:3]:
        assert undefined(row) == set(METRICS) and not row["error"]
    summary = score.summarise(rows)
    assert {name: (summary[name]["n"], summary[name]["nan"]) for name in ("SIM", "KL")} == {"SIM": (2, 2), "KL": (2, 2)}
    assert summary["KL"]["mean"] == pytest.approx((rows[0]["KL"] + rows[3]["KL"]) / 2)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_densities_alone_give_four_metrics(convention):
    density = np.random.default_rng(0).random((40, 60))
    dataset = Dataset("toy", "test", 3, "ab", lambda name: Sample(
        name, (40, 60), lambda: np.zeros((40, 60, 3), np.uint8), None, 3, lambda: density if name == "a" else 0 * density),
        {})
    rows = run(dataset, convention=CONVENTIONS[convention])
    assert set(METRICS) - undefined(rows[0]) == {"SIM", "CC", "KL", "EMD"}
    assert rows[0]["lacks"] == score.DENSITY_ONLY and rows[0]["error"] == ""
    ramp = np.tile(np.arange(60.0), (40, 1))
    assert rows[0]["CC"] == pytest.approx(np.corrcoef(ramp.ravel(), density.ravel())[0, 1], abs=1e-6)
    assert rows[1]["lacks"] == score.NO_GROUND_TRUTH and undefined(rows[1]) == set(METRICS)
    assert run(dataset, baselines.ONE_HUMAN)[0]["lacks"] == score.NO_GROUND_TRUTH


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("count", [1, 2])
def test_sets_of_one_and_two_images_can_be_scored(convention, count):
    dataset = toy([[(5, 5), (50, 30), (20, 20)], [(7, 3), (30, 30), (22, 10)]][:count])
    rows = run(dataset, convention=CONVENTIONS[convention], prior=None if count == 1 else np.eye(4, 6))
    expected = {"AUC-shuffled", "IG"} if count == 1 else set()
    assert [undefined(row) for row in rows] == [expected] * count, "these two metrics need other images"
    cc = score.summarise(rows)["CC"]
    assert cc["n"] == count and (cc["low"] is None) == (count == 1), "one score has no interval"


def test_there_is_no_centre_prior_of_the_scored_image_itself_or_without_fixations(tmp_path):
    path = tmp_path / "prior.npz"
    for fixations, scored in (([], ["0"]), ([[(5, 5)]], ["0"]), ([[], []], ["7"])):
        assert baselines.saved_centre_prior(toy(fixations), path, scored=scored) is None and not path.exists()
    prior = baselines.saved_centre_prior(toy([[(5, 5)], []]), path, scored=["0"])
    assert prior.shape == (480, 640) and prior.max() == 1 and path.exists()


def test_rows_and_columns_exchanged_are_an_error():
    dataset = toy([[(5, 5), (50, 30), (20, 20)]] * 2)
    rows = run(dataset, lambda index, sample: np.eye(60, 40) if index else np.eye(30, 20))
    assert rows[0]["error"] == "", "any other size is resized"
    assert rows[1]["error"].startswith("the map is 40x60 pixels, its image 60x40: rows and columns are exchanged;")
    assert undefined(rows[1]) == set(METRICS)


def test_nan_is_left_out_and_counted():
    rows = [dict.fromkeys(METRICS, 0.5), {**dict.fromkeys(METRICS, 0.7), "CC": float("nan"), "KL": float("nan")}]
    rows[0]["KL"] = float("nan")
    summary = score.summarise(rows)
    assert summary["CC"] == {"mean": 0.5, "low": None, "high": None, "n": 1, "nan": 1}
    assert summary["SIM"]["mean"] == pytest.approx(0.6) and summary["SIM"]["nan"] == 0
    assert summary["KL"] == {"mean": None, "low": None, "high": None, "n": 0, "nan": 2}
    json.loads(json.dumps(summary, allow_nan=False))


def test_missing_and_unmatched_maps_are_reported(tmp_path):
    data = write_small_set(tmp_path / "set")
    names = load("folder+sigma=5", "test", tmp_path / "set").names
    arguments = [*data, "--out", tmp_path / "scores"]
    with write_maps(tmp_path / "none.h5", "deep") as store:
        store("cat", np.zeros((48, 64)))
    process = command("evaluation.score", "--predictions", tmp_path / "none.h5", *arguments)
    assert f"no map of any of the {len(names)} images: found cat" in one_line(process) and not list(tmp_path.glob("scores*"))
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in [*names[1:], "dog"]:
        Image.fromarray(rng.integers(0, 256, (48, 64), np.uint8)).save(folder / f"{name}.png")
    process = command("evaluation.score", "--predictions", folder, *arguments)
    assert process.returncode == 1 and f"1 of {len(names)} images could not be scored" in one_line(process)
    assert "1 maps match no test image of folder+sigma=5, such as dog" in process.stderr
    assert f"not scored in full: {names[0]}: no map of this image" in process.stderr
    summary = read_json(tmp_path / "scores.json")
    assert summary["failed"] == 1 and summary["metrics"]["CC"]["n"] == len(names) - 1 and summary["model"] == "mine"
    with open(tmp_path / "scores.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert "no map of this image" in rows[0]["error"] and rows[0]["CC"] == "nan" and float(rows[1]["CC"])
    for metric in METRICS:
        assert np.mean([float(row[metric]) for row in rows[1:]]) == pytest.approx(summary["metrics"][metric]["mean"])


def write_small_set(folder):
    """Write 30 small images with 12 fixations of 3 observers each, which are scored faster than the generated ones."""
    rng = np.random.default_rng(0)
    return write_folder(folder, {f"p{number:02}": [f"{x:.1f},{y:.1f},{'abc'[index % 3]}" for index, (x, y) in enumerate(
        rng.uniform(1, (62, 46), (12, 2)))] for number in range(30)}, header="x,y,observer")


def write_folder(folder, fixations, header="x,y"):
    """Write a folder of grey images with these fixations, one CSV each; None for an image without a file."""
    for part in ("images", "fixations"):
        (folder / part).mkdir(parents=True)
    for name, points in fixations.items():
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (48, 64), np.uint8)).save(
            folder / f"images/{name}.png")
        (folder / f"fixations/{name}.csv").write_text("\n".join([header, *points, ""]))
    return ["--dataset", "folder+sigma=5", "--data-root", folder]


@pytest.mark.parametrize("header, point, complaint", [
    ("x,y", "{},20", "{n} of {n} images have no record of the observer of each fixation: one human is not scored"),
    ("x,y,observer", "{},20,anna", "{n} of {n} images have fixations of a single observer: one human is not scored"),
])
def test_the_command_succeeds_without_observers(tmp_path, header, point, complaint):
    points = [point.format(x) for x in (10, 30, 33)]
    data = write_folder(tmp_path / "data", {f"p{i}": points for i in range(10)}, header)
    for _ in range(2):
        process = command("evaluation.score", "--baseline", "one-human", *data, "--out", tmp_path / "one-human",
                          "--jobs", 1)
        assert process.returncode == 0, process.stderr
    summary = read_json(tmp_path / "one-human.json")
    assert complaint.format(n=summary["images"]) in process.stdout
    assert list(summary["lacking"].values()) == [summary["images"]] and summary["metrics"]["CC"]["n"] == 0


def test_the_command_scores_an_empty_file_with_an_observer_column(tmp_path):
    points = [f"{x},20,{name}" for x, name in ((10, "anna"), (30, "ben"), (33, "ben"), (40, "anna"), (50, "carla"))]
    fixations = {f"p{i}": points if i % 2 else [] for i in range(20)}
    data = write_folder(tmp_path / "data", fixations, "x,y,observer")
    process = command("evaluation.score", "--baseline", "one-human", *data, "--out", tmp_path / "out", "--jobs", 1)
    assert process.returncode == 0, process.stderr
    with open(tmp_path / "out.csv", newline="") as handle:
        rows = {row["name"]: row for row in csv.DictReader(handle)}
    assert all((row["lacks"] == score.NO_GROUND_TRUTH) == (not fixations[name]) for name, row in rows.items())
    assert all((row["SIM"] == "nan") == (not fixations[name]) for name, row in rows.items())
    empty = sum(not fixations[name] for name in rows)
    assert 0 < empty < len(rows) and f"{empty} of {len(rows)} images have no fixations: not scored" in process.stdout


def test_the_command_reads_maps_with_a_pattern_of_names(tmp_path):
    names = [f"p{i}" for i in range(10)]
    data = write_folder(tmp_path / "data", {name: ["10,20", "30,40", "33,5"] for name in names})
    for name in names:
        (tmp_path / "maps/indoor").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (48, 1))).save(tmp_path / f"maps/indoor/{name}_sal.png")
    arguments = ["--predictions", tmp_path / "maps", *data, "--out", tmp_path / "out", "--jobs", 1]
    assert '--names "{name}_sal"' in one_line(command("evaluation.score", *arguments))
    process = command("evaluation.score", *arguments, "--names", "{name}_sal")
    assert process.returncode == 0, process.stderr
    assert read_json(tmp_path / "out.json")["metrics"]["CC"]["nan"] == 0


def test_a_fault_of_all_maps_is_one_line(tmp_path):
    names = [f"p{i}" for i in range(20)]
    data = write_folder(tmp_path / "data", {name: ["10,20", "30,40"] for name in names})
    (tmp_path / "maps").mkdir()
    for name in names:
        Image.fromarray(np.full((48, 64, 3), (255, 9, 80), np.uint8)).save(tmp_path / f"maps/{name}.png")
    process = command("evaluation.score", "--predictions", tmp_path / "maps", *data, "--out", tmp_path / "out",
                      "--jobs", 1)
    line = one_line(process)
    assert "images could be scored in full. " in line and "is a colour image" in line
    assert process.stderr.count("is a colour image") == 1


def test_the_same_seed_gives_the_same_scores(tmp_path):
    data, scores = write_small_set(tmp_path / "set"), []
    for index, seed in enumerate((7, 7, 8)):
        process = command("evaluation.score", "--baseline", "chance", *data, "--out", tmp_path / str(index), "--seed", seed,
                          "--convention", "mit" if index < 2 else "salicon", "--jobs", 2 - index % 2)
        assert process.returncode == 0, process.stderr
        scores.append(read_json(tmp_path / f"{index}.json"))
    assert scores[0] == scores[1] and scores[0]["convention"] == "mit" and scores[2]["convention"] == "salicon"
    assert scores[0]["metrics"]["CC"] != scores[2]["metrics"]["CC"]


def test_a_dask_cluster_gives_the_same_scores(tmp_path):
    pytest.importorskip("dask.distributed", reason="Dask is not installed (run make cluster)")
    data = write_small_set(tmp_path / "set")
    for name, extra in (("here", []), ("dask", ["--dask", "local", "--jobs", "2"])):
        process = command("evaluation.score", "--baseline", "chance", *data, "--out", tmp_path / name, *extra)
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


@pytest.mark.parametrize("baseline", ["itti", "gbvs", "bms", "one-human", "centre-prior"])
def test_an_image_of_one_pixel_does_not_stop_the_others(tmp_path, baseline):
    data = write_folder(tmp_path / "set", {"a": ["3,4,anna", "30,20,ben"], "b": ["9,9,anna", "40,30,ben"],
                                           "pixel": ["0,0,anna", "0,0,ben"]}, header="x,y,observer")
    Image.new("L", (1, 1), 77).save(tmp_path / "set/images/pixel.png")
    process = command("evaluation.score", *data, "--split", "all", "--baseline", baseline, "--out", tmp_path / "scores",
                      "--jobs", 1)
    assert process.returncode == 0 and "Traceback" not in process.stderr, process.stderr
    with open(tmp_path / "scores.csv", newline="") as handle:
        rows = {row["name"]: row for row in csv.DictReader(handle)}
    assert rows["pixel"]["CC"] == rows["pixel"]["AUC-Judd"] == "nan", "one pixel has no variance"
    assert all(np.isfinite(float(rows[name][metric])) for name in "ab" for metric in ("SIM", "CC", "NSS", "AUC-Judd"))
