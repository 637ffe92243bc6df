import joblib
import joblib.externals.cloudpickle as cloudpickle
import numpy as np
import pytest
import scipy.io

from common.errors import UserError
from data import load
from data.dataset import WrongRoot, scored_split
from tests.fixtures import lsun as fixture


@pytest.fixture(scope="module", params=["isun", "salicon"])
def published(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param) / "LSUN"
    return request.param, root, fixture.write(root, request.param, maps=True)


def test_lsun_files_of_both_data_sets_are_read(published):
    name, root, written = published
    for split, (_, count) in fixture.FILES.items():
        dataset = load(name, split, root.parent)
        assert len(dataset) == count and dataset.about["edition"].startswith("LSUN 2015")
    train = load(name, "train", root)
    for sample in train:
        expected = written[sample.name]
        np.testing.assert_array_equal(sample.fixations, np.concatenate([np.zeros((0, 2)), *expected]))
        assert sample.observers.tolist() == np.repeat(range(len(expected)), 5).tolist()
        assert sample.image.shape == (*sample.shape, 3)
        density = scipy.io.loadmat(root / "saliency" / f"{sample.name}.mat")["I"]
        np.testing.assert_allclose(sample.density, density / density.max(), rtol=1e-5)
    assert not load(name, "test", root)[0].has_fixations


def test_training_and_validation_data_together(tmp_path):
    fixture.write(tmp_path, "isun")
    train, val = load("isun", "train", tmp_path), load("isun", "val", tmp_path)
    both = load("isun+protocol=lsun", "train", tmp_path)
    assert both.names == sorted([*train.names, *val.names]) and "validation" in both.about["edition"]
    assert scored_split("isun+protocol=lsun") == "test" and len(load("isun+protocol=lsun", "test", tmp_path)) == 3
    with pytest.raises(UserError, match="trains on the validation images"):
        load("isun+protocol=lsun", "val", tmp_path)


def test_density_maps_are_computed_where_none_is_published(tmp_path):
    fixture.write(tmp_path, "isun")
    train = load("isun", "train", tmp_path)
    assert train.about["edition"].endswith("made here")
    assert train[0].density.max() == 1 and not train[1].density.any()  # the second image has no observers


def test_a_sample_pickles_small(published):
    name, root, _ = published
    assert len(cloudpickle.dumps(load(name, "train", root)[0])) < 6000
    assert joblib.hash(load(name, "train", root).names) == joblib.hash(load(name, "train", root).names)


def test_files_of_the_other_data_set_are_an_error(published):
    name, root, _ = published
    other = {"isun": "salicon", "salicon": "isun"}[name]
    with pytest.raises(WrongRoot, match=f"which is the data set {name}; give the folder of "):
        load(other, "train", root)


@pytest.mark.parametrize("damage, message", [
    (lambda path: path.write_bytes(path.read_bytes()[:path.stat().st_size // 2]), "cannot be read as a .mat"),
    (lambda path: path.unlink(), "missing"),
    (lambda path: path.write_bytes(b""), "cannot be read as a .mat"),
    (lambda path: scipy.io.savemat(path, {"training": np.eye(3)}), "layout differs from the published one"),
    (lambda path: scipy.io.savemat(path, {"a": 1, "b": 2}), "expected one variable"),
    (lambda path: scipy.io.savemat(path, {"training": fixture.struct([], "image", "resolution", "gaze")}), "no image"),
])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage, message):
    fixture.write(tmp_path, "isun")
    damage(tmp_path / "training.mat")
    with pytest.raises(UserError, match=message) as error:
        load("isun", "train", tmp_path)
    assert "training.mat" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_image_is_an_error_when_it_is_read(tmp_path):
    fixture.write(tmp_path, "isun")
    (tmp_path / "images/sun_train_0003.jpg").unlink()
    with pytest.raises(UserError, match=r"sun_train_0003\.jpg: No such file"):
        load("isun", "train", tmp_path)[3].image
