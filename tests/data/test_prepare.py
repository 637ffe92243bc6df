import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from data.dataset import load
from data.errors import UserError
from data.files import read_json
from data.prepare import prepare
from deep import preprocess as deep
from shallow import preprocess as shallow
from tests.conftest import REPOSITORY, command, one_line


def test_layout_counts_and_ranges(prepared):
    manifest = read_json(prepared / "manifest.json")
    assert manifest["shallow"] == {"train": 32, "val": 8} and manifest["deep"]["train"] == 36
    with h5py.File(prepared / "shallow.h5") as file:
        assert file["train/image"].shape == (32, 3, 96, 96) and file["train/image"].dtype == np.uint8
        assert file["val/map"].shape == (8, 48, 48) and file["val/map"].dtype == np.float32
        assert 0 <= file["train/map"][...].min() and file["train/map"][...].max() <= 1
        names = [*file["train/name"].asstr(), *file["val/name"].asstr()]
    assert len(set(names)) == 40  # no image both trains and validates
    with h5py.File(prepared / "deep/train_000.h5") as file:
        assert file["data"].shape == (36, 3, 96, 128) and file["label"].shape == (36, 1, 96, 128)
        assert file["data"].dtype == file["label"].dtype == np.float32
        # section 4.2: zero mean over the training set
        np.testing.assert_allclose(file["data"][...].mean(axis=(0, 2, 3)), 0, atol=1e-5)
        assert abs(file["label"][...].mean()) < 1e-5
        assert np.abs(file["data"][...]).max() <= 2


def test_arrays_are_what_preprocessing_makes(prepared):
    manifest = read_json(prepared / "manifest.json")
    source = load("synthetic", "train")
    with h5py.File(prepared / "shallow.h5") as file, h5py.File(prepared / "deep/train_000.h5") as shard:
        sample = source.open(file["train/name"].asstr()[5])
        np.testing.assert_array_equal(file["train/image"][5], shallow.squash_image(sample.image))
        np.testing.assert_array_equal(file["train/map"][5], shallow.squash_density(sample.density))
        resized = deep.resize_image(sample.image, (128, 96))
        np.testing.assert_allclose(shard["data"][5], deep.to_input(resized, manifest["deep"]["mean_bgr"]), atol=1e-6)
        grey = deep.resize_density(sample.density, (128, 96))
        np.testing.assert_allclose(shard["label"][5], deep.to_target(grey, manifest["deep"]["mean_map"]), atol=1e-6)


def test_same_seed_same_arrays(prepared, tmp_path):
    prepare("synthetic", None, tmp_path / "again", "demo", limit=40, jobs=1)
    with h5py.File(prepared / "shallow.h5") as first, h5py.File(tmp_path / "again/shallow.h5") as second:
        np.testing.assert_array_equal(first["train/image"], second["train/image"])
        np.testing.assert_array_equal(first["val/map"], second["val/map"])


def test_mirrored_copies_come_after_all_others_and_never_validate(prepared, tmp_path):
    prepare("synthetic", None, tmp_path / "mirrored", "demo", limit=40, jobs=2, mirror=True)
    there, manifest = sorted(path.name for path in (tmp_path / "mirrored/deep").iterdir()), read_json(tmp_path / "mirrored/manifest.json")
    assert there == ["train_000.h5", "train_mirrored_000.h5", "val_000.h5"]  # Caffe reads them in this order
    assert manifest["deep"]["train"] == 72 and manifest["deep"]["val"] == 4 and manifest["mirror"] is True
    with h5py.File(tmp_path / "mirrored/deep/train_000.h5") as shard, h5py.File(prepared / "deep/train_000.h5") as before, \
            h5py.File(tmp_path / "mirrored/deep/train_mirrored_000.h5") as mirrored:
        for name in ("data", "label"):
            np.testing.assert_array_equal(shard[name], before[name])
            np.testing.assert_array_equal(shard[name][...], mirrored[name][...][..., ::-1])
    with pytest.raises(UserError, match="mirror True -> False"):
        prepare("synthetic", None, tmp_path / "mirrored", "demo", limit=40)


def test_the_authors_means(prepared, tmp_path):
    prepare("synthetic", None, tmp_path / "authors", "demo", limit=40, jobs=2, means="authors")
    ours, theirs = (read_json(folder / "manifest.json")["deep"] for folder in (prepared, tmp_path / "authors"))
    assert theirs["mean_bgr"] == [100, 110, 118] and theirs["mean_map"] == 31
    with h5py.File(prepared / "deep/val_000.h5") as one, h5py.File(tmp_path / "authors/deep/val_000.h5") as other:
        shift = (np.array(ours["mean_bgr"]) - theirs["mean_bgr"]) / 127.5
        np.testing.assert_allclose(other["data"][...] - one["data"][...], np.broadcast_to(shift[:, None, None], one["data"].shape), atol=1e-5)
        np.testing.assert_allclose(other["label"][...] - one["label"][...], (ours["mean_map"] - 31) / 127.5, atol=1e-5)


def test_a_disk_too_small_is_said_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: __import__("collections").namedtuple("usage", "free")(50_000_000))
    with pytest.raises(UserError, match=r"1\d\d MB are needed there and 47 MB are left; free some space"):
        prepare("synthetic", None, tmp_path / "large", "paper", limit=100)
    assert not list(tmp_path.iterdir())


def test_nine_thousand_train_and_one_thousand_validate():
    """Section 4.2, of SALICON's 10,000 training images; and in how many files of how much memory."""
    from data.prepare import SAMPLES_A_SHARD, VALIDATION_SHARE, sample_bytes
    assert round(10_000 * VALIDATION_SHARE["deep"]) == 1_000
    assert 10_000 * sample_bytes((320, 240)) == 12_288_000_000 and SAMPLES_A_SHARD * sample_bytes((320, 240)) < 2**27


def test_paper_scale_is_320x240(tmp_path):
    prepare("synthetic", None, tmp_path / "paper", "paper", limit=10, jobs=1)
    with h5py.File(tmp_path / "paper/deep/train_000.h5") as shard:
        assert shard["data"].shape == (9, 3, 240, 320)


def test_the_same_again_does_nothing_and_something_else_is_refused(prepared, capsys):
    before = (prepared / "manifest.json").stat().st_mtime_ns
    prepare("synthetic", None, prepared, "demo", limit=40)
    assert "prepared before" in capsys.readouterr().out
    with pytest.raises(UserError, match="was prepared with other settings.*delete it"):
        prepare("synthetic", None, prepared, "paper", limit=40)
    assert (prepared / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("sent, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_leaves_nothing_and_says_one_line(tmp_path, sent, code):
    arguments = [sys.executable, "-m", "data.prepare", "--out", str(tmp_path / "data/out"), "--jobs", "2"]
    process = subprocess.Popen(arguments, cwd=REPOSITORY, text=True, stderr=subprocess.PIPE)
    assert "preparing" in process.stderr.readline()
    time.sleep(1)
    process.send_signal(sent)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == code and "Traceback" not in errors, errors
    assert not list((tmp_path / "data").iterdir())


def test_too_few_images(tmp_path):
    with pytest.raises(UserError, match="9 training images are too few"):
        prepare("synthetic", None, tmp_path / "few", limit=9)


def test_a_wrong_folder_leaves_nothing_behind(tmp_path):
    process = command("data.prepare", "--dataset", "osie", "--data-root", tmp_path, "--out", tmp_path / "out")
    assert "not OSIE" in one_line(process) and list(tmp_path.iterdir()) == []
