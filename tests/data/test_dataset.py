import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from data import dataset, density, load
from data.options import open_dataset

points = st.lists(st.tuples(st.floats(-20, 60, width=32), st.floats(-20, 60, width=32)), max_size=30)


@given(points)
def test_clip_to_frame_keeps_exactly_the_points_whose_nearest_pixel_exists(raw):
    clipped = dataset.clip_to_frame(raw, (30, 40))
    expected = sum(0 <= np.floor(x + 0.5) < 40 and 0 <= np.floor(y + 0.5) < 30 for x, y in np.float32(raw).reshape(-1, 2))
    assert clipped.dtype == np.float32 and clipped.shape == (expected, 2)
    assert ((clipped >= 0) & (clipped <= [39, 29])).all()


@given(points)
def test_fixation_map_marks_the_nearest_pixels_once(raw):
    clipped = dataset.clip_to_frame(raw, (30, 40))
    marked = density.fixation_map(clipped, (30, 40))
    assert {(x, y) for y, x in np.argwhere(marked)} == {(int(np.floor(x + 0.5)), int(np.floor(y + 0.5))) for x, y in clipped}


@given(st.integers(0, 59), st.integers(0, 79))
def test_density_of_one_fixation_is_a_gaussian(row, column):
    blurred = density.density_map(np.array([[column, row]], np.float32), (60, 80), sigma=5)
    y, x = np.mgrid[:60, :80]
    gaussian = np.exp(-((x - column) ** 2 + (y - row) ** 2) / 50)
    np.testing.assert_allclose(blurred, np.where(gaussian > 1e-3, gaussian, blurred), atol=1e-5)
    assert blurred.max() == 1 and blurred.min() >= 0 and blurred.dtype == np.float32


@given(st.integers(1, 150), st.integers(1, 150), st.floats(0.5, 12), st.integers(1, 300), st.booleans())
def test_density_is_the_blurred_fixation_map(height, width, sigma, count, few):
    """Check both algorithms, for few and many fixations, against SciPy's filter."""
    points = np.random.default_rng(count).uniform(0, [width - 1, height - 1], (count, 2)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(density, "SPARSE_LIMIT", 400 if few else 0)
        computed = density.density_map(points, (height, width), sigma)
    marked = density.fixation_map(points, (height, width)).astype(float)
    # our definition: cut off at 4 sigma, zeros beyond the edge
    expected = scipy.ndimage.gaussian_filter(marked, sigma, mode="constant", truncate=4)
    np.testing.assert_allclose(computed, expected / expected.max(), atol=3e-6)
    assert computed.dtype == np.float32 and computed.max() == 1 and computed.min() >= 0


@given(st.integers(1, 900), st.floats(0.5, 40))
def test_density_is_summed_without_rounding(count, sigma):
    """Check that both algorithms, which sum in different orders, give the same bits; see `density_map`."""
    points = np.random.default_rng(count).uniform(0, [89, 69], (count, 2)).astype(np.float32)
    maps = []
    for limit in (0, 10 ** 6):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(density, "SPARSE_LIMIT", limit)
            maps.append(density.density_map(points, (70, 90), sigma))
    np.testing.assert_array_equal(*maps)


def test_points_outside_the_frame_are_dropped_with_their_observers():
    points, observers = [(1, 2), (-9, 0), (5, 3), (6, 1)], [0, 0, 1, 2]
    sample = dataset.Sample("a", (4, 6), None, lambda: (points, observers), sigma=1)
    assert sample.fixations.tolist() == [[1, 2], [5, 3]] and sample.observers.tolist() == [0, 1]
    assert sample.observers.dtype == np.int32
    assert dataset.Sample("a", (4, 6), None, lambda: points, sigma=1).observers is None


def test_observers_must_be_as_many_as_fixations():
    with pytest.raises(UserError, match="a: 2 fixations have 3 observers"):
        dataset.Sample("a", (4, 6), None, lambda: ([(1, 2), (3, 3)], [0, 1, 2]), sigma=1).fixations


def test_density_without_fixations_is_zero():
    assert not density.density_map(np.zeros((0, 2)), (20, 30), sigma=3).any()


def test_a_sample_reads_its_image_on_first_access():
    def read_image():
        raise AssertionError("image was read")
    sample = dataset.Sample("a", (4, 6), read_image, lambda: [(1, 2)], sigma=1)
    assert sample.fixations.tolist() == [[1, 2]] and sample.density.shape == (4, 6)
    with pytest.raises(AssertionError, match="image was read"):
        sample.image


def test_an_image_of_another_size_than_expected_is_an_error():
    sample = dataset.Sample("cat", (4, 6), lambda: np.zeros((4, 5, 3), np.uint8), list, sigma=1)
    with pytest.raises(UserError, match="cat.*5x4.*6x4"):
        sample.image


@pytest.mark.parametrize("density_map, message", [
    (np.zeros((5, 6)), r"a: the density map has shape \(5, 6\), expected \(4, 6\)"),
    (np.full((4, 6), -1), "a: the density map has negative"), (np.full((4, 6), np.nan), "non-finite"),
])
def test_a_published_density_map_must_be_valid(density_map, message):
    with pytest.raises(UserError, match=message):
        dataset.Sample("a", (4, 6), None, None, sigma=1, read_density=lambda: density_map).density


@pytest.mark.parametrize("points, message", [([[1, 2, 3]], r"\(N, 2\)"), ([[np.nan, 1]], "NaN")])
def test_fixations_must_be_finite_pairs(points, message):
    with pytest.raises(UserError, match=message):
        dataset.clip_to_frame(points, (5, 5))


def test_an_unknown_name_is_an_error_that_lists_the_names():
    with pytest.raises(UserError, match="folder, isun, mit1003, mit300, osie, salicon, synthetic"):
        load("salicorn", "train")
    with pytest.raises(UserError, match="train, val, test, all"):
        load("synthetic", "validation")
    with pytest.raises(UserError, match="'sigma' is not an option of a data set; write data set and option as in osie"):
        load("folder+sigma", "train")


def test_a_wrong_root_names_the_option_only_on_the_command_line(tmp_path):
    with pytest.raises(dataset.WrongRoot, match=r"not OSIE; give the folder that holds stimuli/, eye/ and mouse_amt/$"):
        load("osie", "train", tmp_path)
    with pytest.raises(dataset.WrongRoot, match=r"mouse_amt/ as DATA_ROOT=FOLDER \(make\) or --data-root FOLDER;"):
        open_dataset("osie", "train", tmp_path)
