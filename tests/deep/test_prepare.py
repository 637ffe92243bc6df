from collections import namedtuple

import h5py
import numpy as np
import pytest

from common.errors import UserError
from common.files import read_json
from data.dataset import load, shuffled
from deep import preprocess
from deep.prepare import SHARD_SIZE, VALIDATION_FRACTION, ShardWriter, bytes_per_image, prepare
from tests.conftest import command


def test_layout_counts_and_ranges(prepared):
    manifest = read_json(prepared / "manifest.json")
    assert set(manifest) == {"net", "dataset", "root", "seed", "limit", "preset", "mirror", "means", "fingerprint",
                             "split", "edition", "sigma", "images", "train", "val", "size", "mean_bgr", "mean_map",
                             "left_out", "without_fixations", "sha256"}
    assert (manifest["net"], manifest["train"], manifest["val"], manifest["size"]) == ("deep", 36, 4, [192, 144])
    with h5py.File(prepared / "train_000.h5") as file:
        assert file["data"].shape == (36, 3, 144, 192) and file["label"].shape == (36, 1, 144, 192)
        assert file["data"].dtype == file["label"].dtype == np.float32
        # section 4.2: zero mean over the training set
        np.testing.assert_allclose(file["data"][...].mean(axis=(0, 2, 3)), 0, atol=1e-5)
        assert abs(file["label"][...].mean()) < 1e-5
        assert np.abs(file["data"][...]).max() <= 2


def test_arrays_are_what_preprocessing_makes(prepared):
    manifest, source = read_json(prepared / "manifest.json"), load("synthetic", "train")
    names = shuffled(source.names, 2016)[:40]
    for file, row, name in (("train_000.h5", 5, names[5]), ("val_000.h5", 3, names[39])):
        sample = source.open(name)
        image = preprocess.resize_image(sample.image, (192, 144))
        density = preprocess.resize_density(sample.density, (192, 144))
        with h5py.File(prepared / file) as shard:
            np.testing.assert_array_equal(shard["data"][row], preprocess.to_input(image, manifest["mean_bgr"]))
            np.testing.assert_array_equal(shard["label"][row], preprocess.to_target(density, manifest["mean_map"]))


def test_mirrored_copies_come_after_all_others_and_never_validate(prepared, tmp_path):
    out = tmp_path / "mirrored"
    prepare("synthetic", None, out, limit=40, jobs=2, mirror=True)
    manifest = read_json(out / "manifest.json")
    # Caffe reads them in this order
    assert sorted(path.name for path in out.glob("*.h5")) == ["train_000.h5", "train_mirrored_000.h5", "val_000.h5"]
    assert manifest["train"] == 72 and manifest["val"] == 4 and manifest["mirror"] is True
    with h5py.File(out / "train_000.h5") as shard, h5py.File(prepared / "train_000.h5") as before, \
            h5py.File(out / "train_mirrored_000.h5") as mirrored:
        for name in ("data", "label"):
            np.testing.assert_array_equal(shard[name], before[name])
            np.testing.assert_array_equal(shard[name][...], mirrored[name][...][..., ::-1])
    with pytest.raises(UserError, match="mirror True -> False"):
        prepare("synthetic", None, out, limit=40)


def test_the_authors_means_can_be_subtracted(prepared, tmp_path):
    prepare("synthetic", None, tmp_path / "authors", limit=40, jobs=2, means="authors")
    ours, theirs = (read_json(folder / "manifest.json") for folder in (prepared, tmp_path / "authors"))
    assert theirs["mean_bgr"] == [100, 110, 118] and theirs["mean_map"] == 31
    with h5py.File(prepared / "val_000.h5") as first, h5py.File(tmp_path / "authors/val_000.h5") as second:
        shift = (np.array(ours["mean_bgr"]) - theirs["mean_bgr"]) / 127.5
        np.testing.assert_allclose(second["data"][...] - first["data"][...],
                                   np.broadcast_to(shift[:, None, None], first["data"].shape), atol=1e-5)
        np.testing.assert_allclose(second["label"][...] - first["label"][...], (ours["mean_map"] - 31) / 127.5, atol=1e-5)


def test_a_small_disk_is_an_error_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: namedtuple("usage", "free")(50_000_000))
    with pytest.raises(UserError, match=r"168 MB are needed there and 47 MB are left; free some space"):
        prepare("synthetic", None, tmp_path / "large", "paper", limit=100)
    with pytest.raises(UserError, match=r"273 MB are needed"):
        prepare("synthetic", None, tmp_path / "large", "paper", limit=100, mirror=True)
    assert not list(tmp_path.iterdir())


def test_nine_thousand_train_and_one_thousand_validate():
    """Section 4.2, of SALICON's 10,000 training images; and the size of a shard in memory."""
    assert round(10_000 * VALIDATION_FRACTION) == 1_000
    assert 10_000 * bytes_per_image((320, 240)) == 12_288_000_000 and SHARD_SIZE * bytes_per_image((320, 240)) < 2**27


def test_shards_hold_a_hundred_samples_in_order(tmp_path):
    shards = ShardWriter(tmp_path)
    for index in range(SHARD_SIZE + 5):
        shards.add("train", np.full((3, 2, 2), index, np.float32), np.full((1, 2, 2), -index, np.float32))
    shards.close()
    for name, rows in (("train_000.h5", range(100)), ("train_001.h5", range(100, 105))):
        with h5py.File(tmp_path / name) as shard:
            assert shard["data"][:, 0, 0, 0].tolist() == list(rows)
            assert shard["label"][:, 0, 0, 0].tolist() == [-row for row in rows]


def test_preset_paper_is_320x240(prepared, tmp_path):
    process = command("deep.prepare", "--preset", "paper", "--limit", "10", "--out", tmp_path / "paper")
    assert process.returncode == 0 and "10 images of synthetic for the deep net" in process.stdout, process.stderr
    assert sorted(path.name for path in (tmp_path / "paper").iterdir()) == ["manifest.json", "train_000.h5", "val_000.h5"]
    with h5py.File(tmp_path / "paper/train_000.h5") as shard:
        assert shard["data"].shape == (9, 3, 240, 320)
    before = (prepared / "manifest.json").stat().st_mtime_ns
    with pytest.raises(UserError, match="was prepared with other settings.*preset 'demo' -> 'paper'.*delete it"):
        prepare("synthetic", None, prepared, "paper", limit=40)
    assert (prepared / "manifest.json").stat().st_mtime_ns == before
