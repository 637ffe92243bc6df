import joblib
import numpy as np
import pytest
import scipy.io

from common.errors import UserError
from data import load
from tests.fixtures import lsun as fixture


@pytest.fixture(scope="module", params=["isun", "salicon"])
def published(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param) / "LSUN"
    return request.param, root, fixture.write(root, request.param, maps=True)


def test_lsun_files_of_both_sets(published):
    name, root, written = published
    for split, (_, count) in fixture.FILES.items():
        found = load(name, split, root.parent)
        assert len(found) == count and found.about["edition"].startswith("LSUN 2015")
    train = load(name, "train", root)
    for sample in train:
        people = written[sample.name]
        np.testing.assert_array_equal(sample.fixations, np.concatenate([np.zeros((0, 2)), *people]))
        assert sample.observers.tolist() == np.repeat(range(len(people)), 5).tolist()
        assert sample.image.shape == (*sample.shape, 3)
        own = scipy.io.loadmat(root / "saliency" / f"{sample.name}.mat")["I"]
        np.testing.assert_allclose(sample.density, own / own.max(), rtol=1e-5)
    assert not load(name, "test", root)[0].has_fixations


def test_densities_are_made_where_none_is_published(tmp_path):
    fixture.write(tmp_path, "isun")
    train = load("isun", "train", tmp_path)
    assert train.about["edition"].endswith("made here")
    assert train[0].density.max() == 1 and not train[1].density.any()  # nobody's fixations were kept of the second


def test_a_sample_is_cheap_to_send_to_another_process(published):
    import joblib.externals.cloudpickle as cloudpickle
    name, root, _ = published
    assert len(cloudpickle.dumps(load(name, "train", root)[0])) < 6000
    assert joblib.hash(load(name, "train", root).names) == joblib.hash(load(name, "train", root).names)


def test_the_other_set_is_noticed(published):
    name, root, _ = published
    other = {"isun": "salicon", "salicon": "isun"}[name]
    with pytest.raises(UserError, match=f"give DATASET={name}"):
        load(other, "train", root)


@pytest.mark.parametrize("damage, complaint", [
    (lambda path: path.write_bytes(path.read_bytes()[:path.stat().st_size // 2]), "cannot be read as a .mat"),
    (lambda path: path.unlink(), "missing"),
    (lambda path: path.write_bytes(b""), "cannot be read as a .mat"),
    (lambda path: scipy.io.savemat(path, {"training": np.eye(3)}), "not laid out as published"),
    (lambda path: scipy.io.savemat(path, {"a": 1, "b": 2}), "not one variable"),
    (lambda path: scipy.io.savemat(path, {"training": fixture.struct([], "image", "resolution", "gaze")}), "no image"),
])
def test_damage_is_named(tmp_path, damage, complaint):
    fixture.write(tmp_path, "isun")
    damage(tmp_path / "training.mat")
    with pytest.raises(UserError, match=complaint) as error:
        load("isun", "train", tmp_path)
    assert "training.mat" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_image_is_named_when_it_is_read(tmp_path):
    fixture.write(tmp_path, "isun")
    (tmp_path / "images/sun_train_0003.jpg").unlink()
    with pytest.raises(UserError, match=r"sun_train_0003\.jpg: No such file"):
        load("isun", "train", tmp_path)[3].image
