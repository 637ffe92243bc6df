import cv2
import numpy as np
import pytest
import scipy.io

from common.errors import UserError
from data import load, mit
from tests.fixtures import mit as fixture


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("mit") / "MIT1003"
    return root, fixture.write_mit1003(root)


def test_points_are_recovered_from_their_jpeg(published):
    root, written = published
    dataset = load("mit1003", "all", root.parent)
    assert len(dataset) == 10 and len(load("mit1003", "train", root)) == 8 and len(load("mit1003", "test", root)) == 2
    for sample in dataset:
        assert {tuple(point) for point in sample.fixations.tolist()} == {tuple(p) for p in written[sample.name][0].tolist()}
        assert sample.image.shape == (*sample.shape, 3) and sample.observers is None
        assert sample.density.max() == 1 and (sample.density > 0.1).mean() > 0.5  # the published map, which is noise


def test_the_number_of_observers_depends_on_the_gaze_option(published):
    root, _ = published
    assert load("mit1003", "all", root).about["observers"] == "15"
    assert load("mit1003+gaze=samples", "all", root).about["observers"] == "2"


def test_fixations_are_detected_in_gaze_samples(published):
    """Check that the first fixation is dropped and that names longer than MATLAB's variables work."""
    root, written = published
    for sample in load("mit1003+gaze=samples", "all", root):
        expected = np.concatenate([centres[1:] for centres in written[sample.name][1].values()])
        np.testing.assert_allclose(sample.fixations, expected, atol=0.5)
        assert sample.observers.tolist() == [0, 0, 0, 1, 1, 1]


def test_short_stops_and_blinks_are_not_fixations():
    rng = np.random.default_rng(0)
    still = [centre + rng.normal(0, 0.4, (count, 2)) for centre, count in
             (((100, 100), 60), ((200, 150), 40), ((300, 80), 15), ((50, 220), 30))]
    np.testing.assert_allclose(mit.detect_fixations(np.concatenate(still)), [[200, 150], [50, 220]], atol=0.5)
    assert mit.detect_fixations(np.zeros((0, 2))).shape == mit.detect_fixations(np.zeros((1, 2))).shape == (0, 2)


def test_sigma_halves_eight_cycles_per_image():
    """Blur a cosine of 8 cycles per 1024 pixels."""
    wave = np.cos(2 * np.pi * 8 * np.arange(4096) / 1024)[None]
    blurred = cv2.GaussianBlur(wave, (0, 0), mit.SIGMA)[0, 1024:-1024]
    assert blurred.max() == pytest.approx(0.5, abs=0.01)


def test_mit300_has_only_images(tmp_path):
    fixture.write_mit300(tmp_path / "mit300")
    test = load("mit300", "test", tmp_path)
    assert test.names == ["i1", "i2", "i3"] and test[0].image.shape == (240, 320, 3) and not test[0].has_density
    with pytest.raises(UserError, match="no split 'train'"):
        load("mit300", "train", tmp_path)


@pytest.mark.parametrize("damage, message", [
    (lambda root: (root / "DATA/ajs/i3.mat").write_bytes(b"MATLAB 5.0"), "i3.mat: cannot be read"),
    (lambda root: scipy.io.savemat(root / "DATA/ajs/i3.mat", {"i4": 1}), "no variable 'i3'"),
    (lambda root: scipy.io.savemat(root / "DATA/ajs/i3.mat", {"i3": 1}), "layout differs from the published one"),
    (lambda root: (root / "DATA/ajs/i3.mat").unlink(), "i3.mat: missing"),
])
def test_damaged_gaze_is_an_error_that_names_the_file(tmp_path, damage, message):
    fixture.write_mit1003(tmp_path, 5)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        load("mit1003+gaze=samples", "all", tmp_path).open("i3").fixations


def test_missing_folders_are_errors_that_name_them(published, tmp_path):
    with pytest.raises(UserError, match="not MIT1003"):
        load("mit1003", "train", tmp_path)
    with pytest.raises(UserError, match="not MIT300"):
        load("mit300", "test", tmp_path)
    (tmp_path / "ALLSTIMULI").symlink_to(published[0] / "ALLSTIMULI")
    with pytest.raises(UserError, match="no ALLFIXATIONMAPS/ in it"):
        load("mit1003", "train", tmp_path)
    with pytest.raises(UserError, match="no DATA/ with one folder per subject"):
        load("mit1003+gaze=samples", "train", tmp_path)
    with pytest.raises(UserError, match="no gaze 'eyes'"):
        load("mit1003+gaze=eyes", "train", tmp_path)
