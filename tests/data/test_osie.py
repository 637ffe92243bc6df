import numpy as np
import pytest
import scipy.io

from common.errors import UserError
from data import load, osie
from data.dataset import WrongRoot
from tests.fixtures import osie as fixture


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("osie") / "data"
    return root, fixture.write(root)


def test_training_uses_mouse_data_and_testing_uses_eye_data(tiny):
    root, eyes = tiny
    train, test = load("osie", "train", root), load("osie", "test", root)
    assert len(test) == 2 and len(train) == 10
    assert not set(train.names) & set(test.names)
    sample = test[0]
    np.testing.assert_allclose(sample.fixations, eyes[sample.name], atol=0.01)  # uint16 stores whole pixels
    assert sample.image.shape == (600, 800, 3)
    assert sample.observers.tolist() == np.repeat(range(15), 6).tolist() and (train[0].observers == 1).all()
    assert len(train[0].fixations) == 300 and len(osie.load("train", root, gaze="eyes")[0].fixations) == 90


def test_mouse_data_are_converted_from_one_based_row_and_column(tiny):
    root, _ = tiny
    sample = load("osie", "train", root)[0]
    raw = scipy.io.loadmat(root / "mouse_amt" / f"{sample.name}.mat")["fixations"][0, 0]["coord"].astype(float)
    np.testing.assert_array_equal(sample.fixations, raw[:, ::-1] - 1)


def test_the_parent_folder_is_accepted_as_root(tiny):
    assert len(load("osie", "test", tiny[0].parent)) == 2


def test_the_split_depends_only_on_names(tiny, tmp_path):
    fixture.write(tmp_path / "other", seed=7)  # the same names, other images and fixations
    for split in ("train", "test"):
        assert load("osie", split, tiny[0]).names == load("osie", split, tmp_path / "other").names


@pytest.mark.parametrize("damage, message", [
    (lambda root: None, "no such folder"),
    (lambda root: root.mkdir(), "not OSIE"),
    (lambda root: fixture.write(root) and (root / "eye/fixations.mat").write_bytes(b"MATLAB 5.0"), r"fixations\.mat"),
    (lambda root: fixture.write(root) and scipy.io.savemat(root / "eye/fixations.mat", {"other": 1}), "no variable"),
    (lambda root: fixture.write(root) and scipy.io.savemat(root / "eye/fixations.mat", {"fixations": np.eye(3)}), "layout"),
    (lambda root: fixture.write(root) and [path.unlink() for path in (root / "mouse_amt").iterdir()], "no image"),
])
def test_a_wrong_folder_is_an_error_that_names_it(tmp_path, damage, message):
    root = tmp_path / "somewhere"
    damage(root)
    with pytest.raises(UserError, match=message) as error:
        load("osie", "train", root)
    assert str(root) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_root_is_an_error_with_the_folder_to_give():
    with pytest.raises(WrongRoot, match="OSIE is not downloaded automatically; give the folder that holds stimuli/"):
        load("osie", "train")


def test_an_image_without_eye_data_is_an_error(tmp_path):
    fixture.write(tmp_path)
    (tmp_path / "stimuli/2000.jpg").write_bytes((tmp_path / "stimuli/1001.jpg").read_bytes())
    with pytest.raises(UserError, match=r"fixations\.mat: has no data for 1 images of stimuli/, the first is 2000; copy"):
        load("osie", "train", tmp_path)


def test_the_real_osie_is_read(osie_root):
    test, train = load("osie", "test", osie_root), load("osie", "train", osie_root)
    assert len(test) == 100 and len(train) == 400
    counts = [len(test[i].fixations) for i in range(100)]
    assert 100 < np.mean(counts) < 200
    assert len(train[0].fixations) > 3000  # mouse samples of dozens of workers
    assert test[0].image.shape == (600, 800, 3)
