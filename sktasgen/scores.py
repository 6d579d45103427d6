"""From the network's terms to scores per date, per sample, and thresholds.

Scores are higher the further from normal. NaN stands for "not observed".
"""

import numpy as np
from scipy.special import logsumexp

# Posterior means of a latent that vary less than this say nothing of the input.
_ACTIVE_VARIANCE = 0.01


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


def own_distance(mean, own_mean, variance):
    """Squared Mahalanobis distance of windows from each sample's own one.

    Parameters
    ----------
    mean : ndarray of shape (n, n_windows, n_latents)
        Posterior means of the windows' latents.
    own_mean : ndarray of shape (n, n_latents)
        Of the window each sample is compared with.
    variance : ndarray of shape (n_latents,)
        Of the posterior means over the training windows. Latents that hardly
        vary carry nothing and are left out (active units: Burda, Grosse and
        Salakhutdinov, "Importance weighted autoencoders", ICLR 2016).

    Returns
    -------
    ndarray of shape (n, n_windows)
        Divided by the number of latents it counts.
    """
    active = variance > _ACTIVE_VARIANCE
    shift = mean[:, :, active] - own_mean[:, np.newaxis, active]
    return (shift**2 / variance[active]).sum(axis=2) / max(1, int(active.sum()))


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


def upper_quantile(scores, rate):
    """Threshold that a share `rate` of the scores exceeds, NaN left out.

    Infinite where there is none to go by: nothing is flagged then.
    """
    if np.isnan(scores).all():
        return np.inf
    return float(np.nanquantile(scores, 1 - rate, method="higher"))


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
