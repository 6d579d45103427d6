"""Thresholds that a wanted share of normal scores exceeds, and what to set them on."""

from math import ceil

import numpy as np
from scipy.stats import genpareto
from sklearn.model_selection import GroupShuffleSplit

# Fewer samples than this are too few to set some aside.
MIN_SAMPLES = 10
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
        Of the samples, or of the groups; of at most 10,000 samples, or as many
        groups as hold them on average.
    random : RandomState

    Returns
    -------
    ndarray of shape (n_samples,) of bool
        None where less than ten samples may be drawn, and never all of a class:
        none of one that has so few that its share is less than a sample, nor a
        group without which a class would be lost.
    """
    held_out = np.zeros_like(observed)
    candidates = random.permutation(np.flatnonzero(observed))
    if len(candidates) < MIN_SAMPLES:
        return held_out
    share = min(share, _MAX_SAMPLES / len(candidates))
    if groups is not None:
        n_groups = len(np.unique(groups[candidates]))
        if n_groups < 2:
            return held_out
        n_drawn = min(ceil(share * n_groups), n_groups - 1)
        splitter = GroupShuffleSplit(1, test_size=n_drawn, random_state=random)
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
        Probability that each is normal, where that is not known.

    Returns
    -------
    float
        Infinite where there is none to go by: nothing is flagged then.

    References
    ----------
    A. Siffer, P.-A. Fouque, A. Termier and C. Largouet, "Anomaly detection in
    streams with extreme value theory", KDD 2017.
    """
    scores = scores[~np.isnan(scores)] if weights is None else _drawn(scores, weights)
    if len(scores) == 0:
        return np.inf
    scores = scores.astype(np.float64)
    # The lowest score that no more than the rate exceed.
    quantile = float(np.quantile(scores, 1 - rate, method="inverted_cdf"))
    if method == "quantile":
        return quantile
    start = np.quantile(scores, 1 - min(max(_TAIL_SHARE, 2 * rate), 1.0))
    excess = scores[scores > start] - start
    if len(excess) < _MIN_TAIL:
        return quantile
    shape, _, scale = genpareto.fit(excess, floc=0)
    exceeding = len(excess) / len(scores)
    return float(start + genpareto.isf(min(rate / exceeding, 1), shape, 0, scale))


def _drawn(scores, weights):
    """As many scores as the weights add up to, evenly spread over what they weigh."""
    seen = ~np.isnan(scores)
    order = np.argsort(scores[seen])
    scores, total = scores[seen][order], np.cumsum(weights[seen][order])
    n = int(round(total[-1])) if len(total) else 0
    if n == 0:
        return scores[:0]
    return scores[np.searchsorted(total, (np.arange(n) + 0.5) / n * total[-1])]
