import json

import numpy as np
import pytest
import scipy.io
from PIL import Image

from common.errors import UserError
from data import load, salicon
from tests.fixtures import salicon as fixture
from tests.fixtures.lsun import struct


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("salicon") / "salicon"
    return root, fixture.write_json(root)


def test_json_is_converted_from_one_based_row_and_column(published):
    root, written = published
    train = load("salicon", "train", root)
    assert len(train) == 12 and train.about["edition"] == "2015r1 JSON, densities made here"
    sample = train[3]
    expected = np.concatenate(list(written[sample.name].values()))[:, ::-1] - 1
    np.testing.assert_array_equal(sample.fixations, expected)
    assert sample.observers.tolist() == np.repeat([100, 101, 102], fixture.SAMPLES).tolist()
    assert sample.image.shape == (480, 640, 3) and sample.density.max() == 1


def test_the_json_has_three_splits(published):
    root, _ = published
    names = {split: load("salicon", split, root.parent).names for split in ("train", "val", "test")}
    assert [len(split_names) for split_names in names.values()] == [12, 3, 2]
    test = load("salicon", "test", root)[0]
    assert test.image.shape == (480, 640, 3) and not test.has_fixations
    with pytest.raises(UserError, match="the data set has no fixations for this image; use a split"):
        test.fixations
    with pytest.raises(UserError, match="no split 'all'"):
        load("salicon", "all", root)


def test_repeated_points_are_those_of_the_official_evaluation(published):
    """Check that a pixel with k samples of all workers counts k - 1 times, and that the density map uses all samples."""
    root, written = published
    whole, repeated = load("salicon", "train", root), load("salicon+points=repeated", "train", root)
    assert repeated.name == "salicon+points=repeated"
    for whole_sample, sample in zip(whole, repeated):
        points = [tuple(point) for worker in written[sample.name].values() for point in worker]
        expected = [point for point in set(points) for _ in range(points.count(point) - 1)]
        assert expected and sorted((y + 1, x + 1) for x, y in sample.fixations.tolist()) == sorted(expected)
        assert len(sample.observers) == len(sample.fixations)
        np.testing.assert_array_equal(sample.density, whole_sample.density)


def test_white_space_in_the_json_does_not_matter(published, tmp_path):
    fixture.write_json(tmp_path / "spread", indent=2)
    for compact, spread in zip(load("salicon", "val", published[0]), load("salicon", "val", tmp_path / "spread")):
        np.testing.assert_array_equal(compact.fixations, spread.fixations)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.9, 0.999])
def test_a_truncated_json_is_an_error_that_names_it(published, tmp_path, fraction):
    text = (published[0] / "annotations/fixations_train2014.json").read_text()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").symlink_to(published[0] / "images")
    path = tmp_path / "annotations/fixations_train2014.json"
    path.write_text(text[:int(fraction * len(text))])
    with pytest.raises(UserError, match="truncated") as error:
        load("salicon", "train", tmp_path)
    assert str(path) in str(error.value) and "download it again" in str(error.value)


@pytest.mark.parametrize("text, message", [
    ("", "layout differs"), ("[]", "no images or no annotations"), ("{}", "no images or no annotations"),
    ('{"images": [{"file_name": "a.jpg", "id": 1}]}', "layout differs"),
    ('{"images": [], "annotations": [{"image_id": 3, "fixations": [[1, 2]]}]}', "no images"),
    ('{"annotations": [{"image_id": 3, "fixations": [[1, 2]]}, {"image_id', "truncated"),
    ('{"images": [{"file_name": "COCO_train_a.jpg", "id": 1, "height": 4, "width": 5}], '
     '"annotations": [{"image_id": 3, "fixations": [[1, 2]]}]}', "annotations of image 3"),
])
def test_other_json_is_an_error(published, tmp_path, text, message):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").symlink_to(published[0] / "images")
    (tmp_path / "annotations/fixations_train2014.json").write_text(text)
    with pytest.raises(UserError, match=message):
        load("salicon", "train", tmp_path)


def test_swapped_points_in_the_json_are_an_error(published, tmp_path):
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
def test_the_edition_of_mat_files_is_detected(tmp_path, edition):
    written = fixture.write_mat(tmp_path, edition)
    train = load("salicon", "train", tmp_path)
    assert train.about["edition"] == f".mat, {edition}, densities made here"
    sample = train[2]
    np.testing.assert_array_equal(sample.fixations, np.concatenate(written[sample.name]))
    assert sample.observers.tolist() == np.repeat(range(3), 9).tolist()
    assert len(load("salicon", "val", tmp_path)) == 3 and len(load("salicon", "test", tmp_path)) == 2


def test_a_partly_unpacked_archive_is_an_error_only_for_the_missing_files(tmp_path):
    """Check a missing .mat, a damaged .mat and a missing density map: other samples can be read."""
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


def test_repeated_points_need_the_json(tmp_path):
    fixture.write_mat(tmp_path, "2015")
    with pytest.raises(UserError, match="points=repeated needs the JSON"):
        load("salicon+points=repeated", "train", tmp_path)


def test_published_density_maps_are_used(tmp_path):
    fixture.write_mat(tmp_path, "2015", maps=True)
    train = load("salicon", "train", tmp_path)
    assert train.about["edition"].endswith("densities as published")
    density = np.asarray(Image.open(tmp_path / "maps/train" / f"{train[0].name}.png"), np.float32)
    np.testing.assert_allclose(train[0].density, density / density.max(), rtol=1e-6)


@pytest.mark.parametrize("damage, message", [
    (lambda path: path.write_bytes(path.read_bytes()[:200]), "cannot be read as a .mat"),
    (lambda path: scipy.io.savemat(path, {"other": 1}), "no variable 'gaze'"),
    (lambda path: scipy.io.savemat(path, {"gaze": np.eye(3)}), "layout differs from the published one"),
    (lambda path: scipy.io.savemat(path, {"gaze": struct([(np.eye(3), 1, np.eye(3))], "location", "timestamp", "fixations")}),
     "layout differs from the published one"),
])
def test_a_damaged_mat_is_an_error_that_names_it(tmp_path, damage, message):
    fixture.write_mat(tmp_path, "2015")
    path = sorted((tmp_path / "fixations/train").iterdir())[0]
    damage(path)
    with pytest.raises(UserError, match=message) as error:
        salicon.read_mat_fixations(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_wrong_folders_and_missing_parts_are_errors(published, tmp_path):
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
    with pytest.raises(UserError, match="no option 'gaze'; its options are: points"):
        load("salicon+gaze=eyes", "train", tmp_path)


def test_the_published_sample_is_read(salicon_root):
    """Compare ten published images with the same file read by the json module."""
    content = json.loads((salicon_root / "annotations/fixations_train2014examples.json").read_text())
    train = load("salicon", "train", salicon_root)
    assert len(train) == 10
    for sample in train:
        number = int(sample.name[-12:])
        points = np.concatenate([entry["fixations"] for entry in content["annotations"] if entry["image_id"] == number])
        np.testing.assert_array_equal(sample.fixations, points[:, ::-1] - 1)
        assert 55 <= len(set(sample.observers)) <= 67 and sample.outside == 0 and sample.image.shape == (480, 640, 3)
