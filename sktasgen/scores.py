"""From the network's terms to scores per date and per sample.

Scores are higher the further from normal. NaN stands for "not observed".
"""

import numpy as np
from scipy.special import logsumexp

from .decoding import forward_backward, hold

# Where a probability underflows.
_MOST_LOG_ODDS = 700.0


def contrast(log_joint, classes):
    """How improbable the given class is beside the others: -log p(y | x).

    Parameters
    ----------
    log_joint : ndarray of shape (n, n_classes, n_timesteps)
        log p(class) + log p(x | class), or a bound of it.
    classes : ndarray of shape (n,) of int
        The given class of each sample.

    Returns
    -------
    ndarray of shape (n, n_timesteps)
    """
    given = np.take_along_axis(log_joint, classes[:, None, None], axis=1)[:, 0]
    return logsumexp(log_joint, axis=1) - given


def mixture_novelty(log_joint):
    """How improbable the date is under all classes: -log sum_k p(k) p(x | k).

    Parameters
    ----------
    log_joint : ndarray of shape (n, n_classes, n_timesteps)

    Returns
    -------
    ndarray of shape (n, n_timesteps)
    """
    return -logsumexp(log_joint, axis=1)


def course_probability(date_bound, log_prior, switch_cost, classes=None, times=None):
    """Probability of each class at each date given all dates, by forward-backward.

    Parameters
    ----------
    date_bound : ndarray of shape (n, n_timesteps, n_classes)
        Evidence lower bound of each date under each class, given its windows;
        NaN where not observed, which says nothing.
    log_prior : ndarray of shape (n_classes,)
        Log-probability of each class at the first date.
    switch_cost : float
        See `decoding.forward_backward`.
    classes, times : ndarrays of shape (n,) of int, default=None
        A class that each sample is known to show, and the date at which it does.

    Returns
    -------
    ndarray of shape (n, n_timesteps, n_classes)
    """
    evidence = np.nan_to_num(date_bound.astype(np.float64))
    evidence[:, 0] += log_prior
    if times is not None:
        evidence = hold(evidence, classes, times)
    return forward_backward(evidence, switch_cost)


def log_odds(probability, classes):
    """Log-odds that a sample shows another class than the given one.

    Parameters
    ----------
    probability : ndarray of shape (n, n_timesteps, n_classes)
    classes : ndarray of shape (n,) of int
        The given class of each sample.

    Returns
    -------
    ndarray of shape (n, n_timesteps)
    """
    given = classes[:, np.newaxis, np.newaxis]
    own = np.take_along_axis(probability, given, axis=2)[:, :, 0]
    others = probability.copy()
    np.put_along_axis(others, given, 0.0, axis=2)
    # Summed, not 1 - own, which would round to 0 where a change is improbable.
    with np.errstate(divide="ignore"):
        odds = np.log(others.sum(axis=2)) - np.log(own)
    return np.clip(odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS)


def smooth(scores, width):
    """Moving average over `width` dates that skips what was not observed.

    Parameters
    ----------
    scores : ndarray of shape (n, n_timesteps)
    width : int
        Odd number of dates; fewer at the ends.

    Returns
    -------
    ndarray of shape (n, n_timesteps)
        NaN where `scores` is.
    """
    if width == 1:
        return scores
    seen = ~np.isnan(scores)
    padding = ((0, 0), (width // 2, width // 2))
    total = np.pad(np.where(seen, scores, 0), padding)
    count = np.pad(seen, padding)
    windows = np.lib.stride_tricks.sliding_window_view
    total = windows(total, width, axis=1).sum(axis=2)
    count = windows(count, width, axis=1).sum(axis=2)
    return np.where(seen, total / np.maximum(count, 1), np.nan).astype(scores.dtype)


def sample_maximum(scores):
    """Highest score of each sample's dates, NaN without any; (n,)."""
    empty = np.isnan(scores).all(axis=1)
    return np.where(empty, np.nan, np.where(np.isnan(scores), -np.inf, scores).max(1))


def longest_run(flags, seen):
    """Longest run of flagged dates of each sample, unobserved ones skipped.

    Parameters
    ----------
    flags, seen : ndarrays of shape (n, n_timesteps) of bool
        Flagged and observed dates.

    Returns
    -------
    ndarray of shape (n,) of int
    """
    longest = np.zeros(len(flags), dtype=np.intp)
    current = np.zeros(len(flags), dtype=np.intp)
    for flag, observed in zip(flags.T, seen.T, strict=True):
        current = np.where(observed, np.where(flag, current + 1, 0), current)
        longest = np.maximum(longest, current)
    return longest
