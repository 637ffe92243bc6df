"""The SALICON server's way of measuring, where it differs from the MIT benchmark's (evaluation/metrics.py).

Its AUCs step through thresholds by 0.01 and stop below the highest value; repeated fixations on a
pixel count as often as they occur; negatives are all of them at once, nothing is drawn; the standard
deviation of NSS has ddof 0. The convention alone moves shuffled AUC by 0.04, so tables name theirs.

Fixations are maps of counts here: how many fixations fell on each pixel.
"""
import numpy as np

from evaluation.metrics import Map

STEP = 0.01


def auc_shuffled(saliency, fixations, other_fixations):
    """Shuffled AUC against the fixations of all other images, without the pixels fixated in this one.

    Parameters
    ----------
    saliency : (H, W) or metrics.Map
    fixations : (H, W), number of fixations on each pixel
    other_fixations : (H, W), likewise of the other images together

    Returns
    -------
    float in [0, 1]; NaN without fixations or without other fixations; 0.5 for a constant map
    """
    fixations, others = np.asarray(fixations), np.asarray(other_fixations)
    return _area(_map(saliency, fixations), fixations, np.where(fixations > 0, 0, others))


def auc_borji(saliency, fixations):
    """AUC against every pixel once: what the server's 100,000 random pixels come to on average.

    Parameters and result as for `auc_shuffled`.
    """
    return _area(_map(saliency, fixations), np.asarray(fixations), np.ones(np.shape(fixations)))


def nss(saliency, fixations):
    """NSS with ddof 0, repeated fixations counted as often as they occur.

    Parameters as for `auc_shuffled`; NaN without fixations or for a constant map.
    """
    saliency, counts = _map(saliency, fixations), np.asarray(fixations).ravel()
    if saliency.constant or not counts.any():
        return float("nan")
    deviation = np.sqrt(saliency.sum_of_squares / saliency.size)
    return float(((saliency.flat - saliency.mean) @ counts) / counts.sum() / deviation)


def _map(saliency, fixations):
    saliency = saliency if isinstance(saliency, Map) else Map(saliency, "prediction")
    if saliency.shape != np.shape(fixations):
        raise ValueError(f"the prediction is of shape {saliency.shape}, the fixations of {np.shape(fixations)}; "
                         "resize the prediction first")
    return saliency


def _area(saliency, positives, negatives):
    """Trapezoids under the ROC curve of weighted positives and negatives, at 0, 0.01, ... below the highest."""
    positives, negatives = positives.ravel(), negatives.ravel()
    if not (positives.any() and negatives.any()):
        return float("nan")
    scaled = saliency.scaled(saliency.flat)
    highest = scaled[(positives > 0) | (negatives > 0)].max()
    thresholds = np.arange(0, highest, STEP)  # as the server has it, without the highest value
    rates = []
    for counts in (positives, negatives):
        where = np.flatnonzero(counts)
        level = np.searchsorted(thresholds, scaled[where], side="right")  # thresholds each one reaches
        reached = np.bincount(level, weights=counts[where], minlength=thresholds.size + 1)
        at_or_above = np.cumsum(reached[::-1])[:-1]  # from the highest threshold down
        rates.append(np.concatenate([[0], at_or_above / counts.sum(), [1]]))
    return float(np.trapz(*rates))
