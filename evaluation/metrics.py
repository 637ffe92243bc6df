"""The measures of Tables 3 to 6 and four more, as the MIT saliency benchmark defines them, in float64.

All take 2-D arrays of one shape, rows first. `saliency` is the prediction, `density` the blurred
ground truth, `fixations` a map of where people looked: every pixel above 0 counts once. A
prediction of another shape is first brought to that of the ground truth with MATLAB's bicubic
`imresize`, as the benchmark does. NaN or infinity in a map raises ValueError.

To score several measures on one image, wrap its arrays once:

    saliency, density, people = Map(saliency), Map(density), Fixations(fixation_map)
    cc(saliency, density), similarity(saliency, density), nss(saliency, people)

and what they share (extremes, sums, positions) is worked out once an image, not once a measure.

Source of the definitions: Bylinskii, Judd, Oliva, Torralba, Durand: What do different evaluation
metrics tell us about saliency models? (PAMI 2019), and the benchmark's code as of 2016-10.
"""
from functools import cached_property

import numpy as np

from evaluation.imresize import imresize

TABLE_METRICS = ("SIM", "CC", "AUC-shuffled", "AUC-Borji", "AUC-Judd")  # the columns of Table 3, in its order
METRICS = (*TABLE_METRICS, "NSS", "KL", "IG", "EMD")
SPLITS, STEP = 100, 0.1  # of the two AUCs with random negatives
JITTER = 1e-7  # AUC-Judd's tie breaker
EPS = 2.0 ** -52  # MATLAB's eps, in KL and IG
EMD_SCALE = 1 / 32  # the benchmark shrinks maps before the transport
BLOCK = 1 << 15  # pixels worked on at a time: what fits the processor's cache; results do not depend on it
BUCKETS = 1 << 16  # of the histogram that AUC-Judd counts with; results do not depend on it


class Map:
    """A saliency or density map, checked, with what the measures need to know of it.

    Parameters
    ----------
    values : (H, W), any real dtype
    name : str
        What messages call it.

    Raises
    ------
    ValueError
        Not 2-D, without a pixel, or with NaN or infinity in it.
    """

    def __init__(self, values, name="map"):
        self.values = np.ascontiguousarray(values, np.float64)
        if self.values.ndim != 2 or not self.values.size:
            raise ValueError(f"the {name} must be 2-D with at least one pixel, not of shape {np.shape(values)}")
        self.name, self.shape, self.size = name, self.values.shape, self.values.size
        self.flat = self.values.reshape(-1)
        self.total = float(self.flat.sum())
        if not np.isfinite(self.total):  # one pass; any NaN or infinity shows in the sum
            raise ValueError(f"NaN or infinity in the {name}; predict or load it again")
        self.mean = self.total / self.size

    def blocks(self):
        """The pixels, a cacheful at a time."""
        return (self.flat[start:start + BLOCK] for start in range(0, self.size, BLOCK))

    @cached_property
    def low(self):
        """The lowest value."""
        return float(self.flat.min())

    @cached_property
    def high(self):
        """The highest value."""
        return float(self.flat.max())

    @cached_property
    def constant(self):
        """Whether all pixels are equal; a few of them nearly always tell that they are not."""
        few = self.flat[::max(1, self.size // 64)]
        return bool((few == few[0]).all()) and self.low == self.high

    @cached_property
    def total_above_low(self):
        """Sum of the pixels after the minimum is subtracted: with it, n01 and / sum are one scaling."""
        scratch = np.empty(BLOCK)
        return float(sum(np.subtract(block, self.low, out=scratch[:block.size]).sum() for block in self.blocks()))

    @cached_property
    def sum_of_squares(self):
        """Of the differences from the mean."""
        scratch = np.empty(BLOCK)
        centred = (np.subtract(block, self.mean, out=scratch[:block.size]) for block in self.blocks())
        with np.errstate(over="ignore"):
            return float(sum(block @ block for block in centred))

    def scaled(self, values):
        """Some of this map's values on the scale on which its minimum is 0 and its maximum 1; 0 if constant."""
        return np.zeros(values.shape) if self.constant else (values - self.low) / (self.high - self.low)


class Fixations:
    """Where people looked: the pixels of a map that are above 0.

    Parameters
    ----------
    values : (H, W), bool or any real dtype

    Raises
    ------
    ValueError
        Not 2-D, without a pixel, or with NaN or infinity in it.
    """

    def __init__(self, values):
        values = np.asarray(values)
        if values.ndim != 2 or not values.size:
            raise ValueError(f"a fixation map must be 2-D with at least one pixel, not of shape {values.shape}")
        if values.dtype.kind == "f" and not np.isfinite(values.sum()):  # one pass; any NaN or infinity shows in it
            raise ValueError("NaN or infinity in the fixation map; load it again")
        self.shape, self.size = values.shape, values.size
        self.where = np.flatnonzero(values if values.dtype == bool else values > 0)  # in the flattened map
        self.count = self.where.size


def similarity(saliency, density):
    """SIM: what two maps share, as histograms over the pixels.

    Each map is scaled to [0, 1], then to sum 1; the score is the sum of the pixelwise minima.

    Parameters
    ----------
    saliency, density : (H, W) or Map

    Returns
    -------
    float in [0, 1]
        0 if a map is zero everywhere, NaN if one is constant but not zero.
    """
    saliency, density = _pair(saliency, density)
    if any(one.constant and one.low == 0 for one in (saliency, density)):
        return 0.0
    if saliency.constant or density.constant:
        return float("nan")
    saliency, density = (_representable(one, one.total_above_low) for one in (saliency, density))
    first, second = np.empty(BLOCK), np.empty(BLOCK)
    shared = 0.0
    for ours, theirs in zip(saliency.blocks(), density.blocks()):
        p = np.subtract(ours, saliency.low, out=first[:ours.size])
        q = np.subtract(theirs, density.low, out=second[:theirs.size])
        p *= 1 / saliency.total_above_low
        q *= 1 / density.total_above_low
        shared += np.minimum(p, q, out=p).sum()
    return float(shared)


def cc(saliency, density):
    """CC: Pearson's correlation of the two maps.

    Parameters
    ----------
    saliency, density : (H, W) or Map

    Returns
    -------
    float in [-1, 1]; NaN if either map is constant
    """
    saliency, density = _pair(saliency, density)
    if saliency.constant or density.constant:
        return float("nan")
    saliency, density = (_representable(one, one.sum_of_squares) for one in (saliency, density))
    first, second = np.empty(BLOCK), np.empty(BLOCK)
    product = sum(np.subtract(ours, saliency.mean, out=first[:ours.size])
                  @ np.subtract(theirs, density.mean, out=second[:theirs.size])
                  for ours, theirs in zip(saliency.blocks(), density.blocks()))
    return float(product / np.sqrt(saliency.sum_of_squares) / np.sqrt(density.sum_of_squares))


def nss(saliency, fixations, ddof=1):
    """NSS: mean over the fixated pixels of the map in standard deviations above its mean.

    Parameters
    ----------
    saliency : (H, W) or Map
    fixations : (H, W), fixated where > 0, or Fixations
    ddof : int
        1: the benchmark's standard deviation (MATLAB's); 0: NumPy's.

    Returns
    -------
    float; 0 is chance; NaN without fixations or for a constant map
    """
    saliency, fixations = _on(saliency, fixations)
    if not fixations.count or saliency.constant:
        return float("nan")
    saliency = _representable(saliency, saliency.sum_of_squares)
    deviation = np.sqrt(saliency.sum_of_squares / (saliency.size - ddof))
    return float((saliency.flat[fixations.where] - saliency.mean).mean() / deviation)


def kl_divergence(saliency, density):
    """KL: information lost when the prediction p stands in for the people's q, in nats.

    Each map is divided by its sum, no minimum subtracted; sum of q ln(eps + q / (p + eps)).

    Parameters
    ----------
    saliency, density : (H, W) or Map, without negative values
        What little of a resized prediction falls below 0, where the cubic weights undershoot, counts as 0.

    Returns
    -------
    float >= 0 (but for eps): lower is better
        A map that is zero everywhere stays zero, as in the benchmark: about 36 minus the density's
        entropy for such a prediction, 0 for such a density.

    Raises
    ------
    ValueError
        A map has negative values: it is no distribution, and the benchmark's code turns complex.
    """
    given = saliency if isinstance(saliency, Map) else Map(saliency, "prediction")
    saliency, density = _pair(given, density)
    for one in (given, density):
        if one.low < 0:
            raise ValueError(f"negative values in the {one.name}, down to {one.low:.3g}: KL divergence is of "
                             "distributions; shift or clip the map to 0 and above first")
    if saliency is not given:
        saliency = Map(np.maximum(saliency.values, 0), given.name)
    if not density.total:
        return 0.0
    saliency, density = (_representable(one, one.total) for one in (saliency, density))
    # with q = theirs / total: q / (p + eps) = theirs / (ours * scale + eps * total)
    scale = density.total / (saliency.total or 1.0)
    scratch, lost = np.empty(BLOCK), 0.0
    for ours, theirs in zip(saliency.blocks(), density.blocks()):
        ratio = np.multiply(ours, scale, out=scratch[:ours.size])
        ratio += EPS * density.total
        np.divide(theirs, ratio, out=ratio)
        ratio += EPS
        lost += theirs @ np.log(ratio, out=ratio)
    return float(lost / density.total)


def information_gain(saliency, fixations, baseline):
    """IG: how many bits better than the baseline the map foresees a fixation, on average.

    Both maps are scaled to [0, 1], then to sum 1; mean over the fixated pixels of
    log2(eps + p) - log2(eps + baseline).

    Parameters
    ----------
    saliency : (H, W) or Map
    fixations : (H, W), fixated where > 0, or Fixations
    baseline : (H, W) or Map
        Such as the centre prior; resized like a prediction.

    Returns
    -------
    float, bits a fixation; NaN without fixations or if either map is constant
    """
    saliency, fixations = _on(saliency, fixations)
    baseline, _ = _on(baseline, fixations, "baseline")
    if not fixations.count or saliency.constant or baseline.constant:
        return float("nan")
    bits = [np.log2(EPS + (one.flat[fixations.where] - one.low) / one.total_above_low).mean()
            for one in (saliency, baseline)]
    return float(bits[0] - bits[1])


def emd(saliency, density):
    """EMD: the least work that turns one map into the other, mass times distance.

    Both maps are shrunk by 1/32 with `imresize` and divided by their sums; the distance between two bins
    is Euclidean, in bins. The transport is exact: network simplex of the POT library.

    Parameters
    ----------
    saliency, density : (H, W) or Map

    Returns
    -------
    float >= 0, in bins (32 pixels); NaN if a shrunken map sums to 0
        Cubic weights can leave a bin slightly negative; what counts is the difference of the maps, for
        which the cost of transport is defined all the same.
    """
    import ot

    saliency, density = _pair(saliency, density)
    p, q = imresize(saliency.values, EMD_SCALE), imresize(density.values, EMD_SCALE)
    if not (p.sum() and q.sum()):
        return float("nan")
    # distance is a metric, so mass that both have in a bin stays there at no cost
    surplus = p / p.sum() - q / q.sum()
    sources, sinks = np.argwhere(surplus > 0), np.argwhere(surplus < 0)
    supply, demand = surplus[surplus > 0], -surplus[surplus < 0]
    if not (supply.size and demand.size):
        return 0.0
    distance = np.sqrt(((sources[:, None, :] - sinks[None, :, :]) ** 2).sum(axis=2).astype(np.float64))
    moved = supply.sum()
    return float(ot.emd2(supply / moved, demand / demand.sum(), distance, numItermax=10_000_000) * moved)


def auc_judd(saliency, fixations, jitter=True, rng=None):
    """AUC-Judd: area under the ROC curve with the values at the fixations as thresholds.

    At the i-th highest of N fixated values, the true positive rate is i / N and the false positive
    rate the share of the other pixels at or above it, (count - i) / (pixels - N).

    Parameters
    ----------
    saliency : (H, W) or Map
    fixations : (H, W), fixated where > 0, or Fixations
    jitter : bool
        Add uniform noise below 1e-7, so that ties do not count against the map.
    rng : numpy.random.Generator, int or None
        Of the noise; None: seed 0.

    Returns
    -------
    float in [0, 1]; NaN without fixations, with every pixel fixated, or for a constant map without jitter
    """
    saliency, fixations = _on(saliency, fixations)
    count = fixations.count
    if count in (0, saliency.size):
        return float("nan")
    if jitter:
        noise = _generator(rng).random(saliency.size)
        noise *= JITTER
        noise += saliency.flat
        values, low, high = noise, noise.min(), noise.max()
    else:
        values, low, high = saliency.flat.copy(), saliency.low, saliency.high
    if low == high:  # without jitter, or so far from 0 that the noise is lost in rounding
        return float("nan")
    values -= low
    values /= high - low
    thresholds = np.sort(values[fixations.where])[::-1]
    order = np.arange(1, count + 1)
    return _area(order / count, (_at_or_above(values, thresholds) - order) / (saliency.size - count))


def auc_borji(saliency, fixations, splits=SPLITS, step=STEP, rng=None):
    """AUC-Borji: area under the ROC curve against pixels drawn at random, with replacement, from the whole image.

    Parameters
    ----------
    saliency : (H, W) or Map
    fixations : (H, W), fixated where > 0, or Fixations
    splits : int or None
        How many draws, of as many pixels as there are fixations, to average. None: the value
        expected over infinitely many, in closed form.
    step : float
        Between thresholds, on the map scaled to [0, 1].
    rng : numpy.random.Generator, int or None
        Of the draws; None: seed 0.

    Returns
    -------
    float in [0, 1]; NaN with fewer than two fixations or with every pixel fixated, 0.5 for a constant map
    """
    saliency, fixations = _on(saliency, fixations)
    if fixations.count <= 1 or fixations.count == saliency.size:
        return float("nan")
    thresholds = _thresholds(step)
    positives = _levels(saliency, thresholds, fixations.where)
    # The area is linear in the false positive rate, so the mean over the splits is the area of all
    # their draws together, and for that only how many fall on each level matters.
    draws = None if splits is None else splits * fixations.count
    if draws is not None and draws < saliency.size // 8:  # cheaper than looking at every pixel
        negatives = _levels(saliency, thresholds, _generator(rng).integers(saliency.size, size=draws))
    else:
        negatives = _levels(saliency, thresholds)
        if draws is not None:
            negatives = _generator(rng).multinomial(draws, negatives / negatives.sum())
    return _stepped_area(positives, negatives)


def auc_shuffled(saliency, fixations, other_fixations, splits=SPLITS, step=STEP, rng=None):
    """Shuffled AUC: area under the ROC curve against where people looked in other images.

    This takes the centre bias out: a map that only says "centre" scores 0.5.

    Parameters
    ----------
    saliency : (H, W) or Map
    fixations : (H, W), fixated where > 0, or Fixations
    other_fixations : (H, W), fixated where > 0, or Fixations
        Fixations of other images. A split draws as many of them, without replacement, as there
        are fixations, or all if there are fewer. The image's own fixations are not removed.
    splits, step, rng
        As for `auc_borji`.

    Returns
    -------
    float in [0, 1]; NaN with fewer than two fixations, every pixel fixated or no other fixations; 0.5 for a
    constant map

    Raises
    ------
    ValueError
        As for every measure; also if `other_fixations` has another shape than `fixations`.
    """
    saliency, fixations = _on(saliency, fixations)
    others = other_fixations if isinstance(other_fixations, Fixations) else Fixations(other_fixations)
    if others.shape != fixations.shape:
        raise ValueError(f"other_fixations is of shape {others.shape}, fixations of {fixations.shape}; "
                         "scale the other images' fixations to this image first")
    if fixations.count <= 1 or fixations.count == saliency.size or not others.count:
        return float("nan")
    thresholds = _thresholds(step)
    negatives = _levels(saliency, thresholds, others.where)
    if splits is not None:
        # which pixels are drawn shows only in how many of each level are: multivariate hypergeometric
        negatives = _generator(rng).multivariate_hypergeometric(
            negatives, min(fixations.count, others.count), size=splits, method="marginals").sum(axis=0)
    return _stepped_area(_levels(saliency, thresholds, fixations.where), negatives)


def _pair(saliency, density):
    """Both as Maps, the prediction resized to the ground truth if need be."""
    density = density if isinstance(density, Map) else Map(density, "ground truth")
    return _resized(saliency, density.shape, "prediction"), density


def _on(saliency, fixations, name="prediction"):
    """A Map and Fixations of one shape, the map resized if need be."""
    fixations = fixations if isinstance(fixations, Fixations) else Fixations(fixations)
    return _resized(saliency, fixations.shape, name), fixations


def _resized(saliency, shape, name):
    saliency = saliency if isinstance(saliency, Map) else Map(saliency, name)
    return saliency if saliency.shape == shape else Map(imresize(saliency.values, shape), name)


def _representable(one, size):
    """The map, times a power of two if `size`, computed of it, leaves float64's range: no score changes."""
    if one.constant or 1e-280 < size < 1e280:
        return one
    return Map(one.values * (2.0 ** 600 if size < 1 else 2.0 ** -600), one.name)


def _generator(rng):
    return np.random.default_rng(0 if rng is None else rng)


def _at_or_above(values, thresholds):
    """How many of the values in [0, 1] are at or above each threshold.

    A histogram settles it for all values but those that share a bucket with a threshold; only these
    are sorted. The thresholds are some of the values themselves.
    """
    bucket = np.empty(values.size, np.int64)
    np.multiply(values, BUCKETS, out=bucket, casting="unsafe")
    hit = np.zeros(BUCKETS + 1, bool)
    at = (thresholds * BUCKETS).astype(np.int64)
    hit[at] = True
    clear = np.bincount(bucket, minlength=BUCKETS + 1)
    clear[hit] = 0
    above = np.cumsum(clear[::-1])[::-1]
    close = np.sort(values[hit[bucket]])
    return above[at] + close.size - np.searchsorted(close, thresholds, side="left")


def _thresholds(step):
    """0, step, 2 step, ... up to 1.

    The benchmark stops at the highest value drawn; thresholds beyond it add the point (0, 0) once more.
    """
    if not 0 < step <= 1:
        raise ValueError(f"the step between thresholds must be above 0 and at most 1, not {step}")
    return np.arange(int(1 / step + 1e-9) + 1) * step


def _levels(saliency, thresholds, where=None):
    """How many pixels (of those at `where`, or all) have each of the thresholds as the highest they reach."""
    at_or_above = np.zeros(thresholds.size + 1, np.int64)
    for values in saliency.blocks() if where is None else [saliency.flat[where]]:
        scaled = saliency.scaled(values)
        at_or_above[:-1] += [np.count_nonzero(scaled >= threshold) for threshold in thresholds]
    return at_or_above[:-1] - at_or_above[1:]


def _stepped_area(positives, negatives):
    """Area for counts per level."""
    rates = [np.cumsum(counts[::-1]) / counts.sum() for counts in (positives, negatives)]
    return _area(*rates)


def _area(true_rate, false_rate):
    """Trapezoids under the points, (0, 0) and (1, 1) added."""
    return float(np.trapz(np.concatenate([[0], true_rate, [1]]), np.concatenate([[0], false_rate, [1]])))
