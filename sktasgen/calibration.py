"""Thresholds that a wanted share of normal scores exceeds, and what to set them on."""

import numpy as np
from scipy.stats import genpareto
from sklearn.model_selection import GroupShuffleSplit

# Fewer samples than this are too few to set some aside.
_MIN_SAMPLES = 10
# More would not sharpen a threshold.
_MAX_SAMPLES = 10_000
# The Pareto tail starts where this share of the scores lies above, or twice the
# rate asked for, and needs some scores to be fitted to.
_TAIL_SHARE = 0.1
_MIN_TAIL = 30


def hold_out(observed, strata, groups, share, random):
    """Draw the samples to be kept out of training.

    Parameters
    ----------
    observed : ndarray of shape (n_samples,) of bool
        Samples that may be drawn.
    strata : ndarray of shape (n_samples,) of int
        Class of each sample: each loses about the same share.
    groups : ndarray of shape (n_samples,), or None
        Samples of one group are drawn together or not at all; the classes then
        lose what their groups hold.
    share : float
        Of the samples, or of the groups.
    random : RandomState

    Returns
    -------
    ndarray of shape (n_samples,) of bool
        No sample where there are few, and never all of a class.
    """
    held_out = np.zeros_like(observed)
    candidates = random.permutation(np.flatnonzero(observed))
    if len(candidates) < _MIN_SAMPLES:
        return held_out
    share = min(share, _MAX_SAMPLES / len(candidates))
    if groups is not None:
        if len(np.unique(groups[candidates])) < 2:
            return held_out
        splitter = GroupShuffleSplit(1, test_size=share, random_state=random)
        _, drawn = next(splitter.split(candidates, groups=groups[candidates]))
        held_out[candidates[drawn]] = True
        # A group with all that is left of a class goes back to training, whole.
        left = np.isin(strata, strata[candidates[~held_out[candidates]]])
        return held_out & ~np.isin(groups, groups[held_out & ~left])
    for stratum in np.unique(strata[candidates]):
        members = candidates[strata[candidates] == stratum]
        # Rounded down: a class of a few is needed for training.
        held_out[members[: int(share * len(members))]] = True
    return held_out


def threshold(scores, rate, method="quantile", weights=None):
    """Threshold that a share `rate` of normal scores exceeds, NaN left out.

    Parameters
    ----------
    scores : ndarray
        Of samples that training has not seen, where they are normal.
    rate : float
        Between 0 and 1.
    method : {"quantile", "pot"}
        The empirical quantile, or peaks over a threshold: a generalised Pareto
        distribution fitted to the highest tenth (or to twice the rate, if that
        is more), which reaches rates that the scores are too few for. Less than
        30 scores there are too few for either, and give the quantile.
    weights : ndarray of the shape of `scores`, default=None
        Probability that each is normal, where that is not known; the tail is
        fitted to the more probable ones.

    Returns
    -------
    float
        Infinite where there is none to go by: nothing is flagged then.

    References
    ----------
    A. Siffer, P.-A. Fouque, A. Termier and C. Largouet, "Anomaly detection in
    streams with extreme value theory", KDD 2017.
    """
    seen = ~np.isnan(scores)
    weights = np.ones(seen.sum()) if weights is None else weights[seen]
    scores = scores[seen].astype(np.float64)
    if not weights.any():
        return np.inf
    order = np.argsort(scores)
    above = np.cumsum(weights[order][::-1])[::-1] - weights[order]
    # The lowest score above which there is no more than the rate.
    first = np.argmax(above <= rate * weights.sum())
    quantile = float(scores[order][first])
    if method == "quantile":
        return quantile
    scores = scores[weights > 0.5]
    if len(scores) < _MIN_TAIL:
        return quantile
    tail = min(max(_TAIL_SHARE, 2 * rate), 1.0)
    start = np.quantile(scores, 1 - tail)
    excess = scores[scores > start] - start
    if len(excess) < _MIN_TAIL:
        return quantile
    shape, _, scale = genpareto.fit(excess, floc=0)
    exceeding = len(excess) / len(scores)
    return float(start + genpareto.isf(min(rate / exceeding, 1), shape, 0, scale))
