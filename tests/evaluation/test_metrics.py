"""Every metric against a plain implementation of its definition, on random maps with ties."""
import importlib.util

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import metrics
from evaluation.imresize import imresize
from tests.conftest import python

EPS = np.finfo(float).eps


@st.composite
def scenes(draw):
    """Draw a saliency map with few or many distinct values (few give ties), a density map and two fixation maps."""
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
    """Compute the ROC area of positive and negative values with thresholds 0, step, ... up to the maximum."""
    highest = max(positives.max(), negatives.max())
    thresholds = [k * step for k in range(int(1 / step) + 1) if k * step <= highest]
    points = [(0, 0), *(((negatives >= t).mean(), (positives >= t).mean()) for t in reversed(thresholds)), (1, 1)]
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in zip(points, points[1:]))


def plain_kl(saliency, density):
    p, q = saliency / saliency.sum(), density / density.sum()
    return sum(b * np.log(EPS + b / (a + EPS)) for a, b in zip(p.ravel(), q.ravel()))


def plain_gain(saliency, fixations, baseline):
    p, b = (n01(values) / n01(values).sum() for values in (saliency, baseline))
    return np.mean([np.log2(EPS + p[place]) - np.log2(EPS + b[place]) for place in zip(*np.nonzero(fixations))])


def usable(saliency, fixations, others):
    return saliency.min() < saliency.max() and 1 < fixations.sum() < fixations.size and others.any()


@given(scenes())
def test_scores_equal_the_plain_definitions(scene):
    saliency, density, fixations, others = scene
    if not usable(saliency, fixations, others):
        return
    first, second = n01(saliency), n01(density)
    assert metrics.similarity(saliency, density) == pytest.approx(
        np.minimum(first / first.sum(), second / second.sum()).sum(), abs=1e-10)
    assert metrics.cc(saliency, density) == pytest.approx(np.corrcoef(saliency.ravel(), density.ravel())[0, 1], abs=1e-10)
    assert metrics.kl_divergence(saliency, density) == pytest.approx(plain_kl(saliency, density), abs=1e-10)
    z = (saliency - saliency.mean()) / saliency.std(ddof=1)
    assert metrics.nss(saliency, fixations) == pytest.approx(z[fixations].mean(), abs=1e-9)
    assert metrics.information_gain(saliency, fixations, density) == pytest.approx(
        plain_gain(saliency, fixations, density), abs=1e-9)
    assert metrics.auc_judd(saliency, fixations, jitter=False) == pytest.approx(plain_judd(saliency, fixations), abs=1e-12)
    for step in (0.1, 0.05, 1 / 3):
        for negatives, score in ((first.ravel(), metrics.auc_borji(saliency, fixations, None, step)),
                                 (first[others], metrics.auc_shuffled(saliency, fixations, others, None, step))):
            assert score == pytest.approx(plain_stepped(first, first[fixations], negatives, step), abs=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 50, 100_000]), st.floats(0.3, 8))
def test_judd_equals_a_sort_on_maps_of_many_blocks(seed, levels, skew):
    """Check maps larger than a block, with ties and with most values in few buckets."""
    rng = np.random.default_rng(seed)
    saliency = (rng.integers(0, levels, (210, 190)) / levels) ** skew
    fixations = rng.random(saliency.shape) < rng.choice([0.0005, 0.1])
    fixations[0, 0] = True
    values, thresholds = np.sort(n01(saliency).ravel()), np.sort(n01(saliency)[fixations])[::-1]
    order = np.arange(1, len(thresholds) + 1)
    false = (saliency.size - np.searchsorted(values, thresholds) - order) / (saliency.size - len(order))
    expected = np.trapz([0, *(order / len(order)), 1], [0, *false, 1])
    assert metrics.auc_judd(saliency, fixations, jitter=False) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=15)
@given(scenes(), st.integers(1, 40))
def test_the_block_size_changes_nothing(scene, block):
    saliency, density, fixations, others = scene
    if not usable(saliency, fixations, others):
        return

    def all_scores():
        return [metrics.similarity(saliency, density), metrics.cc(saliency, density), metrics.nss(saliency, fixations),
                metrics.kl_divergence(saliency, density), metrics.auc_borji(saliency, fixations, splits=None)]
    whole = all_scores()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BLOCK", block)
        assert all_scores() == pytest.approx(whole, abs=1e-12)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(60, 90), (128, 97), (33, 160)]))
def test_emd_is_the_least_cost_of_transport(seed, shape):
    """Compare with the linear program over all pairs of bins."""
    rng = np.random.default_rng(seed)
    saliency, density = 1 + rng.random(shape), 1 + rng.random(shape) * (np.indices(shape).sum(0) % 64 > 20)
    p, q = (imresize(values, 1 / 32) for values in (saliency, density))
    p, q = p / p.sum(), q / q.sum()
    bins = np.argwhere(np.ones(p.shape))
    cost = np.linalg.norm(bins[:, None] - bins[None], axis=2).ravel()
    n = len(bins)
    marginals = np.vstack([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    program = scipy.optimize.linprog(cost, A_eq=marginals, b_eq=np.concatenate([p.ravel(), q.ravel()]), method="highs")
    assert metrics.emd(saliency, density) == pytest.approx(program.fun, abs=1e-6)


def test_emd_of_moved_mass_is_the_distance_it_moved():
    left, right = np.full((320, 640), 1e-12), np.full((320, 640), 1e-12)
    left[96:128, 64:96], right[96:128, 384:416] = 1, 1  # ten bins apart
    assert metrics.emd(left, right) == pytest.approx(10, abs=0.1)  # cubic weights overshoot a little
    assert metrics.emd(left, left) == 0 and metrics.emd(left, 3 * left) == pytest.approx(0, abs=1e-12)


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed (run make torch)")
@pytest.mark.parametrize("first, used", [("", False), ("import torch", True)])
def test_pot_uses_pytorch_only_if_the_program_has_imported_it(first, used):
    """POT alone would import it, which takes seconds; the user's environment stays as it was."""
    process = python("-c", f"import os, sys\n{first}\nimport numpy as np\nfrom evaluation import metrics\n"
                     "before = dict(os.environ)\nassert metrics.emd(np.eye(64), np.eye(64)[::-1]) > 0\n"
                     "print('torch' in sys.modules, bool(sys.modules['ot'].backend.torch), before == dict(os.environ))")
    assert process.stdout == f"{used} {used} True\n", process.stderr


def test_a_map_of_another_size_is_resized_as_matlab_does():
    rng = np.random.default_rng(0)
    small, density, fixations = rng.random((30, 40)), rng.random((50, 70)), rng.random((50, 70)) < 0.1
    large = imresize(small, (50, 70))
    for metric, truth in ((metrics.similarity, density), (metrics.cc, density), (metrics.nss, fixations),
                          (metrics.auc_judd, fixations), (metrics.auc_borji, fixations)):
        assert metric(small, truth) == metric(large, truth)
    assert metrics.information_gain(small, fixations, small) == 0
    with pytest.raises(ValueError, match="scale the other images' fixations"):
        metrics.auc_shuffled(small, fixations, np.ones((30, 40)))


def test_wrapped_arrays_give_the_same_scores():
    rng = np.random.default_rng(0)
    arrays = rng.random((50, 70)), rng.random((50, 70)), rng.random((50, 70)) < 0.05, rng.random((50, 70)) < 0.2
    wrapped = *map(metrics.Map, arrays[:2]), *map(metrics.Fixations, arrays[2:])
    for saliency, density, fixations, others in (arrays, wrapped, arrays):
        scores = [metrics.similarity(saliency, density), metrics.cc(saliency, density), metrics.nss(saliency, fixations),
                  metrics.kl_divergence(saliency, density), metrics.emd(saliency, density),
                  metrics.information_gain(saliency, fixations, density), metrics.auc_judd(saliency, fixations),
                  metrics.auc_borji(saliency, fixations), metrics.auc_shuffled(saliency, fixations, others)]
        if saliency is arrays[0]:
            expected = scores
        assert scores == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, bool, np.int64])
def test_the_dtype_of_a_map_does_not_change_its_score(dtype):
    """Check that 8-bit maps are not divided as integers and float32 values are not rounded again."""
    rng = np.random.default_rng(0)
    saliency = rng.integers(0, 2 if dtype is bool else 256, (40, 50)).astype(dtype)
    fixations = rng.random((40, 50)) < 0.05
    for metric in (metrics.auc_borji, metrics.auc_judd, metrics.nss):
        assert metric(saliency, fixations) == metric(saliency.astype(np.float64), fixations.astype(np.uint8) * 255)


def test_153_of_255_lies_below_the_seventh_threshold():
    """Check a value for which 153/255 < 6 * 0.1 holds in float64 and not in float32."""
    saliency, fixations = np.array([[0, 153, 255, 153, 0, 9]]), np.array([[0, 1, 1, 0, 0, 0]])
    assert metrics.auc_borji(saliency, fixations, splits=None) == pytest.approx(
        plain_stepped(None, np.array([153 / 255, 1]), saliency.ravel() / 255), abs=1e-12)


@settings(max_examples=30)
@given(scenes())
def test_many_splits_approach_the_expected_value(scene):
    saliency, _, fixations, others = scene
    if saliency.min() == saliency.max() or not 1 < fixations.sum() < fixations.size or not others.any():
        return
    assert metrics.auc_borji(saliency, fixations, splits=4000) == pytest.approx(
        metrics.auc_borji(saliency, fixations, splits=None), abs=0.025)
    assert metrics.auc_shuffled(saliency, fixations, others, splits=4000) == pytest.approx(
        metrics.auc_shuffled(saliency, fixations, others, splits=None), abs=0.025)


def test_draws_of_levels_equal_draws_of_pixels():
    """Compare mean and standard deviation over the splits with the benchmark's method, which draws pixels."""
    rng = np.random.default_rng(0)
    saliency = rng.random((30, 40)) ** 2
    fixations = rng.random((30, 40)) < 0.02 + 0.05 * saliency
    scaled, count = n01(saliency), fixations.sum()
    drawn = [plain_stepped(scaled, scaled[fixations], rng.choice(scaled.ravel(), count)) for _ in range(3000)]
    scores = [metrics.auc_borji(saliency, fixations, splits=1, rng=seed) for seed in range(3000)]
    assert np.mean(scores) == pytest.approx(np.mean(drawn), abs=0.003)
    assert np.std(scores) == pytest.approx(np.std(drawn), rel=0.1)


def test_judd_is_mann_whitney_except_for_its_first_step():
    """Check, without ties: Mann-Whitney plus half a step over the negatives above the lowest fixation."""
    rng = np.random.default_rng(0)
    saliency = rng.permutation(600).reshape(20, 30).astype(float)
    fixations = rng.random((20, 30)) < 0.05
    positives, negatives = saliency[fixations], saliency[~fixations]
    mann_whitney = (positives[:, None] > negatives).mean()
    extra = 0.5 / len(positives) * (negatives > positives.min()).mean()
    assert metrics.auc_judd(saliency, fixations, jitter=False) == pytest.approx(mann_whitney + extra, abs=1e-12)


def test_perfect_and_random_maps_have_the_expected_scores():
    rng = np.random.default_rng(0)
    fixations = rng.random((40, 50)) < 0.01
    assert metrics.auc_judd(fixations.astype(float), fixations) > 0.99
    assert metrics.auc_judd(rng.random((40, 50)), fixations) == pytest.approx(0.5, abs=0.2)
    density = rng.random((40, 50))
    assert metrics.similarity(density, density) == pytest.approx(1) and metrics.cc(-density, density) == pytest.approx(-1)


def test_a_seed_determines_the_score():
    rng = np.random.default_rng(0)
    saliency, fixations = rng.integers(0, 9, (20, 30)) / 8, rng.random((20, 30)) < 0.1
    others = rng.random((20, 30)) < 0.5
    for metric in (metrics.auc_judd, metrics.auc_borji, lambda *a, **k: metrics.auc_shuffled(*a, others, **k)):
        assert metric(saliency, fixations, rng=1) == metric(saliency, fixations, rng=1)
        assert metric(saliency, fixations, rng=1) != metric(saliency, fixations, rng=2)


def test_degenerate_input_gives_nan_or_a_defined_score():
    ramp = np.arange(12.0).reshape(3, 4)
    flat, zero, none, single = np.ones((3, 4)), np.zeros((3, 4)), np.zeros((3, 4), bool), ramp == 5
    assert metrics.similarity(zero, ramp) == 0 == metrics.similarity(flat, zero)
    for metric in (metrics.similarity, metrics.cc):
        assert np.isnan(metric(flat, ramp)) and np.isnan(metric(ramp, flat))
    assert np.isnan(metrics.cc(zero, ramp)) and np.isnan(metrics.cc(ramp, zero))
    for fixations in (none, ~none):
        assert np.isnan(metrics.auc_judd(ramp, fixations)) and np.isnan(metrics.auc_borji(ramp, fixations))
        assert np.isnan(metrics.auc_shuffled(ramp, fixations, single))
    assert np.isnan(metrics.auc_borji(ramp, single)) and np.isnan(metrics.auc_shuffled(ramp, single, ~single))
    assert np.isnan(metrics.auc_shuffled(ramp, ramp > 8, none))
    assert metrics.auc_judd(ramp, single) > 0
    assert np.isnan(metrics.nss(ramp, none)) and np.isnan(metrics.nss(flat, single))
    assert metrics.nss(ramp, ~none) == pytest.approx(0, abs=1e-12)
    assert np.isnan(metrics.information_gain(ramp, none, ramp)) and np.isnan(metrics.information_gain(ramp, single, flat))
    assert np.isnan(metrics.information_gain(zero, single, ramp))
    # a constant map scores one half in both AUCs with random negatives
    for splits in (None, 10):
        assert metrics.auc_borji(flat, ramp > 5, splits) == metrics.auc_shuffled(zero, ramp > 5, ramp < 3, splits) == 0.5
    assert np.isnan(metrics.auc_judd(flat, single, jitter=False)) and 0 <= metrics.auc_judd(flat, ramp > 5) <= 1
    assert np.isnan(metrics.auc_judd(1e12 * flat, single))
    assert np.isnan(metrics.emd(zero, ramp)) and metrics.emd(flat, 7 * flat) == pytest.approx(0, abs=1e-12)
    # as in the benchmark, which does not normalise an all-zero map
    q = ramp / ramp.sum()
    assert metrics.kl_divergence(zero, ramp) == pytest.approx((q * np.log(EPS + q / EPS)).sum(), abs=1e-10)
    assert metrics.kl_divergence(ramp, zero) == 0 and metrics.kl_divergence(ramp, ramp) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("metric, truth", [
    (metrics.similarity, np.ones), (metrics.cc, np.ones), (metrics.kl_divergence, np.ones), (metrics.emd, np.ones),
    (metrics.nss, np.eye), (metrics.auc_judd, np.eye), (metrics.auc_borji, np.eye),
    (lambda a, b: metrics.auc_shuffled(a, b, b), np.eye), (lambda a, b: metrics.information_gain(a, b, np.ones(b.shape)), np.eye)])
def test_bad_maps_raise(metric, truth):
    good = np.random.default_rng(0).random((4, 4))
    truth = truth(4) if truth is np.eye else truth((4, 4))
    for bad in (np.nan, np.inf, -np.inf):
        broken = good.copy()
        broken[2, 1] = bad
        with pytest.raises(ValueError, match="NaN or infinity in the prediction"):
            metric(broken, truth)
        broken_truth = truth.astype(float)
        broken_truth[2, 1] = bad
        with pytest.raises(ValueError, match="NaN or infinity in the (ground truth|fixation map)"):
            metric(good, broken_truth)
    for shape in ((4,), (4, 4, 3), (0, 4)):
        with pytest.raises(ValueError, match="2-D"):
            metric(np.zeros(shape), truth)


def test_kl_rejects_negative_maps():
    ramp = np.arange(12.0).reshape(3, 4)
    with pytest.raises(ValueError, match="negative values in the prediction, down to -1"):
        metrics.kl_divergence(ramp - 1, ramp)
    with pytest.raises(ValueError, match="negative values in the ground truth"):
        metrics.kl_divergence(ramp, ramp - 1)


def test_kl_of_a_resized_map_ignores_the_undershoot():
    spike = np.zeros((20, 20))
    spike[10, 10] = 1
    assert imresize(spike, (40, 40)).min() < 0
    resized = imresize(spike, (40, 40)).clip(0)
    density = np.random.default_rng(0).random((40, 40))
    assert metrics.kl_divergence(spike, density) == pytest.approx(metrics.kl_divergence(resized, density), abs=1e-10)
    with pytest.raises(ValueError, match="negative values in the prediction"):
        metrics.kl_divergence(spike - 0.1, density)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-12, 1e6, 1e200])
def test_the_scale_of_a_map_does_not_matter(scale):
    rng = np.random.default_rng(0)
    saliency, density, fixations = rng.random((20, 30)), rng.random((20, 30)), rng.random((20, 30)) < 0.1
    for metric, truth in ((metrics.similarity, density), (metrics.cc, density), (metrics.kl_divergence, density),
                          (metrics.emd, density), (metrics.nss, fixations)):
        assert metric(scale * saliency, truth) == pytest.approx(metric(saliency, truth), rel=1e-9)
        if truth is density:
            assert metric(saliency, scale * truth) == pytest.approx(metric(saliency, truth), rel=1e-9)
    assert metrics.information_gain(scale * saliency, fixations, density) == pytest.approx(
        metrics.information_gain(saliency, fixations, density), rel=1e-9)


@pytest.mark.filterwarnings("error")
def test_a_large_offset_keeps_all_digits():
    rng = np.random.default_rng(0)
    values, density = rng.random((200, 300)), rng.random((200, 300))
    saliency = 1e6 + values
    exact = saliency - 1e6  # the values, rounded by the offset
    for metric in (metrics.similarity, metrics.cc):
        assert metric(saliency, density) == pytest.approx(metric(exact, density), abs=1e-10)


@pytest.mark.parametrize("step", [0, -0.1, 1.5])
def test_a_step_outside_0_to_1_raises(step):
    with pytest.raises(ValueError, match="step"):
        metrics.auc_borji(np.eye(4), np.eye(4), step=step)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 20), st.integers(1, 20)), st.sampled_from([0, 0.01, 0.5, 1]))
def test_fixated_pixels_are_indexed_in_any_layout(seed, shape, fraction):
    marked = np.random.default_rng(seed).random(shape) < fraction
    for values in (marked, marked * 3.0, np.asfortranarray(marked), np.repeat(marked, 2, axis=1)[:, ::2]):
        assert metrics.Fixations(values).pixels.tolist() == np.flatnonzero(marked).tolist()
    assert metrics.Fixations(marked).count == marked.sum()
