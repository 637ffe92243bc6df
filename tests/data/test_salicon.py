import json

import numpy as np
import pytest
import scipy.io

from common.errors import UserError
from data import load, salicon
from tests.fixtures import salicon as fixture
from tests.fixtures.lsun import struct


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("salicon") / "salicon"
    return root, fixture.write_json(root)


def test_json_is_row_column_from_one_with_workers(published):
    root, written = published
    train = load("salicon", "train", root)
    assert len(train) == 12 and train.about["edition"] == "2015r1 JSON, densities made here"
    sample = train[3]
    expected = np.concatenate(list(written[sample.name].values()))[:, ::-1] - 1
    np.testing.assert_array_equal(sample.fixations, expected)
    assert sample.observers.tolist() == np.repeat([100, 101, 102], fixture.SAMPLES).tolist()
    assert sample.image.shape == (480, 640, 3) and sample.density.max() == 1


def test_splits_of_the_json(published):
    root, _ = published
    names = {split: load("salicon", split, root.parent).names for split in ("train", "val", "test")}
    assert [len(found) for found in names.values()] == [12, 3, 2]
    test = load("salicon", "test", root)[0]
    assert test.image.shape == (480, 640, 3) and not test.has_fixations
    with pytest.raises(UserError, match="where people looked is not known"):
        test.fixations
    with pytest.raises(UserError, match="no split 'all'"):
        load("salicon", "all", root)


def test_repeated_points_are_those_that_the_official_evaluation_keeps(published):
    """A pixel that was passed k times, by whomever, counts k - 1 times; the density stays that of all."""
    root, written = published
    everything, repeated = load("salicon", "train", root), load("salicon+points=repeated", "train", root)
    assert repeated.name == "salicon+points=repeated"
    for all_points, again in zip(everything, repeated):
        points = [tuple(point) for worker in written[again.name].values() for point in worker]
        expected = [point for point in set(points) for _ in range(points.count(point) - 1)]
        assert expected and sorted((y + 1, x + 1) for x, y in again.fixations.tolist()) == sorted(expected)
        assert len(again.observers) == len(again.fixations)
        np.testing.assert_array_equal(again.density, all_points.density)


def test_json_written_with_other_spaces_reads_the_same(published, tmp_path):
    fixture.write_json(tmp_path / "spread", indent=2)
    for one, other in zip(load("salicon", "val", published[0]), load("salicon", "val", tmp_path / "spread")):
        np.testing.assert_array_equal(one.fixations, other.fixations)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9, 0.999])
def test_json_cut_off_is_named(published, tmp_path, share):
    text = (published[0] / "annotations/fixations_train2014.json").read_text()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").symlink_to(published[0] / "images")
    path = tmp_path / "annotations/fixations_train2014.json"
    path.write_text(text[:int(share * len(text))])
    with pytest.raises(UserError, match="cut off") as error:
        load("salicon", "train", tmp_path)
    assert str(path) in str(error.value) and "download it again" in str(error.value)


@pytest.mark.parametrize("text, complaint", [
    ("", "not laid out"), ("[]", "no images or no annotations"), ("{}", "no images or no annotations"),
    ('{"images": [{"file_name": "a.jpg", "id": 1}]}', "not laid out"),
    ('{"images": [], "annotations": [{"image_id": 3, "fixations": [[1, 2]]}]}', "no images"),
    ('{"annotations": [{"image_id": 3, "fixations": [[1, 2]]}, {"image_id', "cut off"),
    ('{"images": [{"file_name": "COCO_train_a.jpg", "id": 1, "height": 4, "width": 5}], '
     '"annotations": [{"image_id": 3, "fixations": [[1, 2]]}]}', "annotations of image 3"),
])
def test_other_json_is_named(published, tmp_path, text, complaint):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").symlink_to(published[0] / "images")
    (tmp_path / "annotations/fixations_train2014.json").write_text(text)
    with pytest.raises(UserError, match=complaint):
        load("salicon", "train", tmp_path)


def test_points_as_x_y_in_the_json_are_noticed(published, tmp_path):
    content = json.loads((published[0] / "annotations/fixations_val2014.json").read_text())
    rng = np.random.default_rng(0)
    for annotation in content["annotations"]:  # [x, y] all over the image, where [row, col] is expected
        annotation["fixations"] = np.column_stack([rng.integers(1, 641, 90), rng.integers(1, 481, 90)]).tolist()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").symlink_to(published[0] / "images")
    (tmp_path / "annotations/fixations_val2014.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"outside the 640x480 image.*\[row, col\] where \[x, y\]"):
        load("salicon", "val", tmp_path)[0].fixations


@pytest.mark.parametrize("edition", ["2015", "2017"])
def test_mat_editions_are_told_apart(tmp_path, edition):
    written = fixture.write_mat(tmp_path, edition)
    train = load("salicon", "train", tmp_path)
    assert train.about["edition"] == f".mat, {edition}, densities made here"
    sample = train[2]
    np.testing.assert_array_equal(sample.fixations, np.concatenate(written[sample.name]))
    assert sample.observers.tolist() == np.repeat(range(3), 9).tolist()
    assert len(load("salicon", "val", tmp_path)) == 3 and len(load("salicon", "test", tmp_path)) == 2


def test_a_half_unpacked_archive_is_noticed(tmp_path):
    """Images without their .mat, and densities of some images alone, are named; one damaged .mat stops nothing else."""
    fixture.write_mat(tmp_path, "2017", maps=True)
    files = sorted((tmp_path / "fixations/train").iterdir())
    files[3].unlink()
    files[0].write_bytes(files[0].read_bytes()[:300])
    train = load("salicon", "train", tmp_path)
    assert len(train) == 12 and ".mat, 2017" in train.about["edition"]
    with pytest.raises(UserError, match=f"{files[3].name}: missing"):
        train.open(files[3].stem).fixations
    (tmp_path / "maps/train" / f"{files[5].stem}.png").unlink()
    with pytest.raises(UserError, match=f"{files[5].stem}.png"):
        train.open(files[5].stem).density


def test_repeated_points_are_for_the_json_alone(tmp_path):
    fixture.write_mat(tmp_path, "2015")
    with pytest.raises(UserError, match="points=repeated is for the JSON"):
        load("salicon+points=repeated", "train", tmp_path)


def test_published_densities_are_used(tmp_path):
    from PIL import Image
    fixture.write_mat(tmp_path, "2015", maps=True)
    train = load("salicon", "train", tmp_path)
    assert train.about["edition"].endswith("densities as published")
    own = np.asarray(Image.open(tmp_path / "maps/train" / f"{train[0].name}.png"), np.float32)
    np.testing.assert_allclose(train[0].density, own / own.max(), rtol=1e-6)


@pytest.mark.parametrize("damage, complaint", [
    (lambda path: path.write_bytes(path.read_bytes()[:200]), "cannot be read as a .mat"),
    (lambda path: scipy.io.savemat(path, {"other": 1}), "no variable 'gaze'"),
    (lambda path: scipy.io.savemat(path, {"gaze": np.eye(3)}), "not laid out as published"),
    (lambda path: scipy.io.savemat(path, {"gaze": struct([(np.eye(3), 1, np.eye(3))], "location", "timestamp", "fixations")}),
     "not laid out as published"),
])
def test_a_damaged_mat_is_named(tmp_path, damage, complaint):
    fixture.write_mat(tmp_path, "2015")
    path = sorted((tmp_path / "fixations/train").iterdir())[0]
    damage(path)
    with pytest.raises(UserError, match=complaint) as error:
        salicon.read_mat_fixations(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_wrong_folder_and_missing_parts_are_named(published, tmp_path):
    with pytest.raises(UserError, match="not SALICON"):
        load("salicon", "train", tmp_path)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"no COCO_train\*.jpg in it"):
        load("salicon", "train", tmp_path)
    (tmp_path / "images").rmdir()
    (tmp_path / "images").symlink_to(published[0] / "images")
    with pytest.raises(UserError, match=r"no annotations/fixations_train2014.json and no fixations/train"):
        load("salicon", "train", tmp_path)
    with pytest.raises(UserError, match="no points 'some'"):
        load("salicon+points=some", "train", tmp_path)
    with pytest.raises(UserError, match="no option 'gaze'; it has points"):
        load("salicon+gaze=eyes", "train", tmp_path)


def test_the_real_sample(salicon_root):
    """Ten images as published, against the file read as any JSON."""
    content = json.loads((salicon_root / "annotations/fixations_train2014examples.json").read_text())
    train = load("salicon", "train", salicon_root)
    assert len(train) == 10
    for sample in train:
        number = int(sample.name[-12:])
        points = np.concatenate([one["fixations"] for one in content["annotations"] if one["image_id"] == number])
        np.testing.assert_array_equal(sample.fixations, points[:, ::-1] - 1)
        assert 55 <= len(set(sample.observers)) <= 67 and sample.outside == 0 and sample.image.shape == (480, 640, 3)
