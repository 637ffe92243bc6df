"""Each measure against a plain restatement of its definition, on random maps with ties."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import metrics


@st.composite
def scenes(draw):
    """A map with few distinct values (so with ties) or many, a density, and two fixation maps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(3, 9), st.integers(3, 9)))
    levels = draw(st.sampled_from([2, 5, 11, 1000]))
    saliency = rng.integers(0, levels, shape) / draw(st.sampled_from([1, 10, 255]))
    fixations = rng.random(shape) < draw(st.floats(0.05, 0.6))
    return saliency, rng.random(shape), fixations, rng.random(shape) < 0.4


def n01(values):
    return (values - values.min()) / (values.max() - values.min())


def plain_judd(saliency, fixations):
    saliency = n01(saliency)
    thresholds = sorted(saliency[fixations], reverse=True)
    count, pixels = len(thresholds), saliency.size
    points = [(0, 0)]
    for i, threshold in enumerate(thresholds, 1):
        points.append((((saliency >= threshold).sum() - i) / (pixels - count), i / count))
    points.append((1, 1))
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in zip(points, points[1:]))


def plain_stepped(saliency, positives, negatives, step=0.1):
    """ROC area for given negative values, thresholds 0 : step : maximum."""
    highest = max(positives.max(), negatives.max())
    thresholds = [k * step for k in range(int(1 / step) + 1) if k * step <= highest]
    points = [(0, 0), *(((negatives >= t).mean(), (positives >= t).mean()) for t in reversed(thresholds)), (1, 1)]
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in zip(points, points[1:]))


@given(scenes())
def test_against_plain_definitions(scene):
    saliency, density, fixations, others = scene
    if saliency.min() == saliency.max() or not 1 < fixations.sum() < fixations.size or not others.any():
        return
    first, second = n01(saliency), n01(density)
    assert metrics.similarity(saliency, density) == pytest.approx(
        np.minimum(first / first.sum(), second / second.sum()).sum(), abs=1e-10)
    assert metrics.cc(saliency, density) == pytest.approx(np.corrcoef(saliency.ravel(), density.ravel())[0, 1], abs=1e-10)
    assert metrics.auc_judd(saliency, fixations, jitter=False) == pytest.approx(plain_judd(saliency, fixations), abs=1e-12)
    scaled = n01(saliency)
    for negatives, found in ((scaled.ravel(), metrics.auc_borji(saliency, fixations, splits=None)),
                             (scaled[others], metrics.auc_shuffled(saliency, fixations, others, splits=None))):
        assert found == pytest.approx(plain_stepped(scaled, scaled[fixations], negatives), abs=1e-12)


@settings(max_examples=30)
@given(scenes())
def test_many_splits_come_to_the_expected_value(scene):
    saliency, _, fixations, others = scene
    if saliency.min() == saliency.max() or not 1 < fixations.sum() < fixations.size or not others.any():
        return
    assert metrics.auc_borji(saliency, fixations, splits=4000) == pytest.approx(
        metrics.auc_borji(saliency, fixations, splits=None), abs=0.025)
    assert metrics.auc_shuffled(saliency, fixations, others, splits=4000) == pytest.approx(
        metrics.auc_shuffled(saliency, fixations, others, splits=None), abs=0.025)


def test_drawing_levels_is_drawing_pixels():
    """Mean and spread of the splits equal those of the benchmark's way: drawing pixels one by one."""
    rng = np.random.default_rng(0)
    saliency = rng.random((30, 40)) ** 2
    fixations = rng.random((30, 40)) < 0.02 + 0.05 * saliency
    scaled, count = n01(saliency), fixations.sum()
    drawn = [plain_stepped(scaled, scaled[fixations], rng.choice(scaled.ravel(), count)) for _ in range(3000)]
    ours = [metrics.auc_borji(saliency, fixations, splits=1, rng=seed) for seed in range(3000)]
    assert np.mean(ours) == pytest.approx(np.mean(drawn), abs=0.003)
    assert np.std(ours) == pytest.approx(np.std(drawn), rel=0.1)


def test_judd_is_mann_whitney_but_for_its_first_step():
    """Without ties: Mann-Whitney plus half a step over the negatives above the lowest fixation."""
    rng = np.random.default_rng(0)
    saliency = rng.permutation(600).reshape(20, 30).astype(float)
    fixations = rng.random((20, 30)) < 0.05
    positives, negatives = saliency[fixations], saliency[~fixations]
    mann_whitney = (positives[:, None] > negatives).mean()
    extra = 0.5 / len(positives) * (negatives > positives.min()).mean()
    assert metrics.auc_judd(saliency, fixations, jitter=False) == pytest.approx(mann_whitney + extra, abs=1e-12)


def test_perfect_and_useless_maps():
    rng = np.random.default_rng(0)
    fixations = rng.random((40, 50)) < 0.01
    assert metrics.auc_judd(fixations.astype(float), fixations) > 0.99
    assert metrics.auc_judd(rng.random((40, 50)), fixations) == pytest.approx(0.5, abs=0.2)
    density = rng.random((40, 50))
    assert metrics.similarity(density, density) == pytest.approx(1) and metrics.cc(-density, density) == pytest.approx(-1)


def test_seeds():
    rng = np.random.default_rng(0)
    saliency, fixations = rng.integers(0, 9, (20, 30)) / 8, rng.random((20, 30)) < 0.1
    for measure in (metrics.auc_judd, metrics.auc_borji):
        assert measure(saliency, fixations, rng=1) == measure(saliency, fixations, rng=1)
        assert measure(saliency, fixations, rng=1) != measure(saliency, fixations, rng=2)


def test_degenerate_input():
    ramp = np.arange(12.0).reshape(3, 4)
    flat, zero, none, one = np.ones((3, 4)), np.zeros((3, 4)), np.zeros((3, 4), bool), ramp == 5
    assert metrics.similarity(zero, ramp) == 0 and np.isnan(metrics.similarity(flat, ramp))
    assert np.isnan(metrics.cc(flat, ramp)) and np.isnan(metrics.cc(ramp, zero))
    for fixations in (none, ~none):
        assert np.isnan(metrics.auc_judd(ramp, fixations)) and np.isnan(metrics.auc_borji(ramp, fixations))
    assert np.isnan(metrics.auc_borji(ramp, one)) and not np.isnan(metrics.auc_judd(ramp, one))
    assert np.isnan(metrics.auc_shuffled(ramp, ramp > 8, none))


@pytest.mark.parametrize("measure", [metrics.similarity, metrics.cc, metrics.auc_judd, metrics.auc_borji])
def test_bad_maps_are_refused(measure):
    with pytest.raises(ValueError, match="one shape"):
        measure(np.zeros((3, 4)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="NaN or infinity in the prediction"):
        measure(np.full((3, 4), np.nan), np.ones((3, 4)))
