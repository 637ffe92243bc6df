import h5py
import numpy as np

from common.files import read_json
from data.dataset import load
from shallow.prepare import VALIDATION_FRACTION, prepare
from shallow.preprocess import squash_density, squash_image
from tests.conftest import command


def test_layout_counts_and_ranges(prepared):
    manifest = read_json(prepared / "manifest.json")
    assert list(manifest) == ["net", "dataset", "root", "seed", "limit", "fingerprint", "split", "edition", "sigma",
                              "images", "train", "val", "left_out", "without_fixations", "sha256"]
    assert (manifest["net"], manifest["train"], manifest["val"]) == ("shallow", 32, 8)
    with h5py.File(prepared / "shallow.h5") as file:
        assert file["train/image"].shape == (32, 3, 96, 96) and file["train/image"].dtype == np.uint8
        assert file["val/map"].shape == (8, 48, 48) and file["val/map"].dtype == np.float32
        assert 0 <= file["train/map"][...].min() and file["train/map"][...].max() <= 1
        names = [*file["train/name"].asstr(), *file["val/name"].asstr()]
    assert len(set(names)) == 40  # no image both trains and validates


def test_eight_thousand_train_and_two_thousand_validate():
    """Section 3.2, of SALICON's 10,000 training images."""
    assert round(10_000 * VALIDATION_FRACTION) == 2_000


def test_arrays_are_what_preprocessing_makes(prepared):
    source = load("synthetic", "train")
    with h5py.File(prepared / "shallow.h5") as file:
        sample = source.open(file["train/name"].asstr()[5])
        np.testing.assert_array_equal(file["train/image"][5], squash_image(sample.image))
        np.testing.assert_array_equal(file["train/map"][5], squash_density(sample.density))


def test_the_same_seed_makes_the_same_arrays(prepared, tmp_path):
    prepare("synthetic", None, tmp_path / "again", limit=40, jobs=1)
    with h5py.File(prepared / "shallow.h5") as first, h5py.File(tmp_path / "again/shallow.h5") as second:
        np.testing.assert_array_equal(first["train/image"], second["train/image"])
        np.testing.assert_array_equal(first["val/map"], second["val/map"])


def test_the_command_writes_the_file_of_the_shallow_net_alone(tmp_path):
    process = command("shallow.prepare", "--out", tmp_path / "out", "--limit", "10")
    assert process.returncode == 0 and "10 images of synthetic for the shallow net" in process.stdout, process.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "shallow.h5"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
