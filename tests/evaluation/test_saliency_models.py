"""The bottom-up models of old: what their papers promise, on pictures made for it and on real ones."""
import numpy as np
import pytest

from evaluation import saliency_models
from evaluation.saliency_models import bms, gbvs, itti

MODELS = pytest.mark.parametrize("model", [itti, gbvs, bms])


@pytest.fixture(scope="module")
def disc():
    """A red disc, left of the middle, on a grey-green texture; and where it is."""
    rng = np.random.default_rng(0)
    picture = np.array([100, 130, 100]) + rng.integers(-25, 26, (120, 160, 1))
    row, column = np.ogrid[:120, :160]
    where = (row - 60) ** 2 + (column - 50) ** 2 <= 14 ** 2
    picture[where] = (220, 30, 30)
    return picture.astype(np.uint8), where


@MODELS
@pytest.mark.parametrize("shape", [(16, 16), (17, 41), (93, 31), (16, 200)])
def test_any_size_gives_a_map_of_that_size(model, shape):
    picture = np.random.default_rng(1).integers(256, size=(*shape, 3), dtype=np.uint8)
    saliency = model(picture)
    assert saliency.shape == shape and saliency.dtype == np.float32
    assert saliency.min() == 0 and saliency.max() == 1  # no NaN, too


@MODELS
@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128), (255, 255, 255), (200, 30, 90)])
def test_a_uniform_picture_is_nowhere_salient(model, colour):
    saliency = model(np.full((60, 81, 3), colour, np.uint8))
    assert saliency.dtype == np.float32 and not saliency.any()


@MODELS
def test_a_red_disc_stands_out(model, disc):
    picture, where = disc
    saliency = model(picture)
    assert saliency[where].mean() > 2 * saliency[~where].mean()
    assert where[np.unravel_index(saliency.argmax(), saliency.shape)]


@MODELS
def test_the_same_picture_gives_the_same_map_and_stays_as_it_was(model, disc):
    picture = disc[0].copy()
    np.testing.assert_array_equal(model(picture), model(picture))
    np.testing.assert_array_equal(picture, disc[0])


def test_itti_promotes_one_peak_over_many():
    def bumps(*centres):
        row, column = np.ogrid[:48, :48]
        return sum(np.exp(-((row - y) ** 2 + (column - x) ** 2) / 8) for y, x in centres).astype(np.float32)

    one, lesser, many = (saliency_models._promoted(feature) for feature in (
        bumps((24, 24)), bumps((24, 24)) + bumps((8, 8)) / 2,
        bumps(*((y, x) for y in (8, 24, 40) for x in (8, 24, 40)))))
    assert one.max() == 1
    assert lesser.max() == pytest.approx(0.25, abs=1e-3)  # (1 - 1/2) squared
    assert many.max() < 1e-3


def test_itti_sees_hue_where_intensity_is_the_same():
    where = np.zeros((128, 128), bool)
    where[48:80, 48:80] = True
    saliency = itti(np.where(where[..., None], (150, 60, 90), (60, 150, 90)).astype(np.uint8))
    assert saliency[where].mean() > 2 * saliency[~where].mean()


def test_itti_tells_orientations_apart():
    row, column = np.indices((64, 64))
    bars = {0: column, 45: row + column, 90: row, 135: row - column}  # the direction in which they alternate
    for angle, along in bars.items():
        wave = np.sin(2 * np.pi * along / (7 if angle in (0, 90) else 7 * 2 ** 0.5)).astype(np.float32)
        energy = {other: saliency_models._energy(wave, other).mean() for other in bars}
        assert max(energy, key=energy.get) == angle
        assert energy[angle] > 4 * energy[(angle + 90) % 180]


def test_gbvs_closed_form_is_where_power_iteration_ends():
    shape = (5, 7)
    closeness = saliency_models._closeness(shape, 1.5)
    feature = np.random.default_rng(2).normal(size=35)
    activation = saliency_models._activation(feature, closeness)
    concentration = saliency_models._concentration(activation, closeness)
    unlike = np.abs(feature[:, None] - feature) * closeness
    near_and_active = activation[None] * closeness
    for weights, closed_form in ((unlike, activation), (near_and_active, concentration)):
        step = weights / weights.sum(axis=1, keepdims=True)
        walker = np.full(35, 1 / 35)
        for _ in range(2000):
            walker = walker @ step
        np.testing.assert_allclose(closed_form, walker, rtol=1e-9)


def test_bms_leaves_out_what_touches_the_border():
    picture = np.full((90, 120, 3), 90, np.uint8)
    picture[35:55, 40:60] = 200  # surrounded
    alone = bms(picture)
    picture[30:60, 100:] = 200  # as bright, at the border
    saliency = bms(picture)
    np.testing.assert_array_equal(saliency, alone)
    assert saliency[45, 50] > 0.9 and saliency[45, 118] == 0


def test_bms_finds_a_ring_and_what_is_in_it():
    boolean = np.zeros((9, 9), np.uint8)
    boolean[2:7, 2:7] = 1
    boolean[4, 4] = 0
    boolean[0, 8] = 1
    expected = np.zeros((9, 9), np.uint8)
    expected[2:7, 2:7] = 1
    np.testing.assert_array_equal(saliency_models._surrounded(boolean), expected)
    np.testing.assert_array_equal(saliency_models._surrounded(1 - boolean), expected)


def test_on_real_pictures_they_rank_as_in_the_literature(osie_root):
    from data.dataset import load
    from data.density import fixation_map
    from evaluation.baselines import chance
    from evaluation.metrics import Fixations, auc_judd

    scores = []
    for index, sample in enumerate(load("osie", "test", osie_root)[:15]):
        people = Fixations(fixation_map(sample.fixations, sample.shape))
        maps = chance(sample.shape, index), itti(sample.image), gbvs(sample.image), bms(sample.image)
        scores.append([auc_judd(saliency, people) for saliency in maps])
    by_chance, by_itti, by_gbvs, by_bms = np.mean(scores, axis=0)
    assert by_chance + 0.1 < by_itti < min(by_gbvs, by_bms) - 0.03
