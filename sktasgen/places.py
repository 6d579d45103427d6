"""Do two windows show the same place? A two-covariance model of their latents.

Nothing is known of a window's class here: what a place looks like is its own
labelled window, and how far another may lie from it is learnt from how much
windows of one series differ beside windows of different series.
"""

from math import gcd
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh
from scipy.special import expit

# Posterior means of a latent that vary less than this say nothing of the input
# (active units: Burda, Grosse and Salakhutdinov, "Importance weighted
# autoencoders", ICLR 2016).
_ACTIVE_VARIANCE = 0.001
# Share of changed pairs to start from. Few steps: in many the share would drift
# up to all pairs that are not alike.
_CHANGED = 0.2
_EM_STEPS = 4
# Pairs of windows that the model is fitted to.
_MAX_PAIRS = 50_000


class PlaceModel(NamedTuple):
    """How windows' latents vary within a place and between places.

    Attributes
    ----------
    center : ndarray of shape (n_latents,)
        Mean over all windows.
    basis : ndarray of shape (n_latents, n_directions)
        Directions in which windows of one place vary independently, each with
        variance 1.
    ratio : ndarray of shape (n_directions,)
        Variance between places in each of them.
    changed : ndarray of shape (1,)
        Share of the pairs of windows of one series that showed different places.
    """

    center: np.ndarray
    basis: np.ndarray
    ratio: np.ndarray
    changed: np.ndarray


def fit_place_model(mean, noise, starts, length):
    """Estimate the covariances within a place and between places.

    Two windows of one series that do not overlap show the same place, unless it
    changed; then the second is like one of any place. Pairs are a mixture of both
    kinds, whose shares and covariances expectation-maximisation finds.

    Parameters
    ----------
    mean : ndarray of shape (n_series, n_windows, n_latents)
        Posterior means of the windows' latents, NaN for empty windows.
    noise : ndarray of shape (n_latents,)
        Mean posterior variance of the latents: stands for the variance within a
        place where no series has two windows apart.
    starts : ndarray of shape (n_windows,) of int
        First cell of each window, rising.
    length : int
        Cells in a window.

    Returns
    -------
    PlaceModel

    References
    ----------
    S. Ioffe, "Probabilistic linear discriminant analysis", ECCV 2006.

    N. Brummer and E. de Villiers, "The speaker partitioning problem", Odyssey
    2010.
    """
    n_latents = mean.shape[2]
    known = mean.reshape(-1, n_latents)
    known = known[~np.isnan(known).any(axis=1)].astype(np.float64)
    center = known.mean(axis=0)
    active = np.flatnonzero(known.var(axis=0) > _ACTIVE_VARIANCE)
    known = known[:, active] - center[active]
    total = known.T @ known / len(known)
    first, second = _pairs(mean[:, :, active] - center[active], starts, length)
    if len(first) == 0:
        changed = _CHANGED
        basis, ratio = _directions(total, np.diag(noise[active].astype(np.float64)))
    else:
        # Pairs of one series are hardly more than one witness.
        shrinkage = len(active) / (len(active) + len(mean))
        basis, ratio, changed = _from_pairs(total, first, second, shrinkage)
    full = np.zeros((n_latents, len(ratio)))
    full[active] = basis
    return PlaceModel(center, full, ratio, np.array([changed]))


def _pairs(mean, starts, length):
    """Windows of one series that do not overlap: two arrays (n_pairs, n_latents)."""
    # From each window on, the first one that starts another length later, and so on.
    ahead = np.arange(length, starts[-1] + 1, length)
    later = np.searchsorted(starts, starts[:, np.newaxis] + ahead)
    earlier, _ = np.nonzero(later < len(starts))
    later = later[later < len(starts)]
    n_pairs = len(mean) * len(earlier)
    # Or of every series the same pair of seasons might be taken.
    every = -(-n_pairs // _MAX_PAIRS)
    while gcd(every, len(earlier)) > 1:
        every += 1
    series, pair = np.divmod(np.arange(0, n_pairs, max(1, every)), len(earlier) or 1)
    first, second = mean[series, earlier[pair]], mean[series, later[pair]]
    seen = ~np.isnan(first + second).any(axis=1)
    return first[seen], second[seen]


def _from_pairs(total, first, second, shrinkage):
    """Directions and share of changes, by expectation-maximisation over pairs.

    `shrinkage` is the part of the covariance within a place that is shrunk to its
    diagonal, as if as many series without correlations had been seen as there are
    latents.
    """
    same, changed = np.ones(len(first)), _CHANGED
    for step in range(_EM_STEPS + 1):
        weight = same / (2 * max(same.sum(), 1e-12))
        difference = (first - second) * np.sqrt(weight)[:, np.newaxis]
        within = difference.T @ difference
        # Never singular, however few the pairs.
        spread = np.diag(np.diag(within) + 1e-6 * np.diag(total))
        basis, ratio = _directions(total, (1 - shrinkage) * within + shrinkage * spread)
        if step < _EM_STEPS:
            odds = _log_ratio(first @ basis, second @ basis, ratio)
            same = expit(np.log((1 - changed) / changed) - odds)
            changed = np.clip(1 - same.mean(), 0.01, 0.7)
    return basis, ratio, changed


def _directions(total, within):
    """Directions that tell places apart, and how well."""
    if len(total) == 0:
        return np.zeros((0, 0)), np.zeros(0)
    values, vectors = eigh(total, within)
    telling = values > 1
    return vectors[:, telling], values[telling] - 1


def place_log_odds(mean, own_mean, model):
    """Log-odds that windows show another place than each sample's own one.

    Parameters
    ----------
    mean : ndarray of shape (n, n_windows, n_latents)
        Posterior means of the windows' latents.
    own_mean : ndarray of shape (n, n_latents)
        Of the window that each sample is compared with.
    model : PlaceModel

    Returns
    -------
    ndarray of shape (n, n_windows)
        log p(window, own | different places) - log p(window, own | same place).
    """
    center, basis, ratio, _ = (part.astype(mean.dtype) for part in model)
    own = ((own_mean - center) @ basis)[:, np.newaxis]
    return _log_ratio((mean - center) @ basis, own, ratio)


def _log_ratio(a, b, ratio):
    """Log-odds that two points are of different places, axis by axis summed."""
    total = ratio + 1
    rest = total**2 - ratio**2
    square = a**2 + b**2
    same = (total * square - 2 * ratio * a * b) / rest + np.log(rest)
    different = square / total + 2 * np.log(total)
    return 0.5 * (same - different).sum(axis=-1)
