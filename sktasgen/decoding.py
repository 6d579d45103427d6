"""Label sequences from evidence per date: Viterbi and forward-backward, in numba.

The chain is the simplest that knows persistence: a label stays with probability
``p`` and switches to each of the other ``K - 1`` with equal probability, so that
one switch costs ``c = log p - log((1 - p) / (K - 1))`` nats against staying.
Equal costs make a step linear in the number of classes; a matrix of costs, a weight
``exp(-c)`` for each pair of labels that follow each other, makes it quadratic.
"""

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from ._validation import as_array

# Nats beyond which a switch is too improbable to be held in a float: forward-backward
# then counts in logarithms.
_MOST_COST = 600.0
# Constants per date do not matter, but sums of larger ones would swallow all else.
_MOST_EVIDENCE = 1e12


def viterbi(log_evidence: np.ndarray, switch_cost: ArrayLike) -> np.ndarray:
    """Most probable label sequence of each sample.

    Parameters
    ----------
    log_evidence : ndarray of shape (n_samples, n_timesteps, n_classes)
        Log-evidence of each date for each class; constants per date do not
        matter, and -inf rules a class out, though not all of a date's.
    switch_cost : float or array-like of shape (n_classes, n_classes)
        Nats that a switch between successive dates costs, not negative: one number,
        or one for each class before (row) and after (column), 0 on the diagonal and
        inf for what cannot be.

    Returns
    -------
    ndarray of shape (n_samples, n_timesteps) of int
        Class indices. Among equally probable paths one that stays in the class it
        ends in for as long as it can.

    Raises
    ------
    ValueError
        If an argument is not as described: if the evidence holds NaN or +inf, or
        a date at which all classes are -inf, among others.

    References
    ----------
    A. J. Viterbi, "Error bounds for convolutional codes and an asymptotically
    optimum decoding algorithm", IEEE Transactions on Information Theory 13
    (1967).

    Examples
    --------
    >>> evidence = np.log([[[0.9, 0.1], [0.4, 0.6], [0.9, 0.1]]])
    >>> viterbi(evidence, switch_cost=1.0)
    array([[0, 0, 0]])
    >>> viterbi(evidence, switch_cost=0.0)
    array([[0, 1, 0]])
    """
    log_evidence, switch_cost = _check(log_evidence, switch_cost)
    if np.ndim(switch_cost) == 0:
        if np.isfinite(switch_cost):
            return _viterbi(log_evidence, switch_cost)
        switch_cost = _of_pairs(switch_cost, log_evidence.shape[2])
    path, possible = _viterbi_of_pairs(log_evidence, switch_cost)
    _check_possible(possible)
    return path


def forward_backward(log_evidence: np.ndarray, switch_cost: ArrayLike) -> np.ndarray:
    """Posterior probability of each label at each date.

    Parameters
    ----------
    log_evidence, switch_cost
        See `viterbi`.

    Returns
    -------
    ndarray of shape (n_samples, n_timesteps, n_classes)
        Rows sum to 1.

    Raises
    ------
    ValueError
        If an argument is not as described: if the evidence holds NaN or +inf, or
        a date at which all classes are -inf, among others.

    References
    ----------
    L. R. Rabiner, "A tutorial on hidden Markov models and selected applications
    in speech recognition", Proceedings of the IEEE 77 (1989).

    Examples
    --------
    >>> evidence = np.log([[[0.9, 0.1], [0.5, 0.5]]])
    >>> forward_backward(evidence, switch_cost=np.log(9)).round(3)
    array([[[0.9 , 0.1 ],
            [0.82, 0.18]]])
    """
    log_evidence, switch_cost = _check(log_evidence, switch_cost)
    if np.ndim(switch_cost) == 0:
        if switch_cost <= _MOST_COST:
            return _forward_backward(log_evidence, switch_cost)
        switch_cost = _of_pairs(switch_cost, log_evidence.shape[2])
    posterior, possible = _forward_backward_of_pairs(log_evidence, switch_cost)
    _check_possible(possible)
    return posterior


def hold(log_evidence, classes, label_time):
    """Rule out every class but the given one at each sample's label_time.

    Parameters
    ----------
    log_evidence : ndarray of shape (n_samples, n_timesteps, n_classes)
    classes : ndarray of shape (n_samples,) of int
        Class index of each sample, -1 for none.
    label_time : ndarray of shape (n_samples,) of int, or None
        None means at every date.

    Returns
    -------
    ndarray of shape (n_samples, n_timesteps, n_classes)
        A copy.
    """
    held = np.array(log_evidence, dtype=np.float64)
    rows = np.flatnonzero(classes >= 0)
    dates = slice(None) if label_time is None else label_time[rows]
    held[rows, dates] = -np.inf
    held[rows, dates, classes[rows]] = 0.0
    return held


def season_switch_cost(calendar, n_classes, changes=0.05):
    """Nats that a switch to another class costs between two dates of a calendar.

    So many that a season holds this many changes on average, whatever the number of
    its dates and of the classes.
    """
    dates_per_season = calendar.period * len(calendar.cell) / calendar.n_cells
    # At most chance, where a switch costs nothing.
    change = min(changes / max(dates_per_season, 1), 1 - 1 / n_classes)
    return np.log(1 - change) - np.log(change / (n_classes - 1))


def check_switch_cost(switch_cost, n_classes):
    """Return a cost as a float, or a matrix of them as an ndarray.

    Raises
    ------
    ValueError
        If it is no number, negative or NaN, or a matrix of another shape or with
        something on its diagonal.
    """
    cost = as_array(switch_cost, "switch_cost", np.float64)
    if cost.ndim == 0:
        if not cost >= 0:
            raise ValueError(f"switch_cost must not be negative, got {switch_cost}.")
        return float(cost)
    if cost.shape != (n_classes, n_classes):
        raise ValueError(
            f"switch_cost has shape {cost.shape}; expected a number or shape "
            f"({n_classes}, {n_classes}), a row and a column for each class."
        )
    if not (cost >= 0).all():
        row, column = np.argwhere(~(cost >= 0))[0]
        raise ValueError(
            f"switch_cost must not be negative, got {cost[row, column]} in row {row}, "
            f"column {column}."
        )
    if cost.diagonal().any():
        raise ValueError(
            "switch_cost must be 0 on its diagonal, where the label stays; got "
            f"{cost.diagonal().tolist()}."
        )
    return np.ascontiguousarray(cost)


def _of_pairs(switch_cost, n_classes):
    """The same cost for each pair of classes."""
    return np.where(np.eye(n_classes, dtype=bool), 0.0, switch_cost)


def _check_possible(possible):
    if not possible.all():
        raise ValueError(
            "switch_cost and log_evidence rule out every label sequence of sample "
            f"{int(possible.argmin())}."
        )


def _check(log_evidence, switch_cost):
    """Validate what the kernels take."""
    log_evidence = as_array(log_evidence, "log_evidence", np.float64)
    if log_evidence.ndim != 3:
        raise ValueError(
            f"log_evidence has {log_evidence.ndim} dimensions; expected 3 (n_samples, "
            "n_timesteps, n_classes)."
        )
    if 0 in log_evidence.shape[1:]:
        raise ValueError(
            f"log_evidence has shape {log_evidence.shape}; expected at least one date "
            "and one class."
        )
    log_evidence = np.ascontiguousarray(log_evidence)
    # Class by class: a reduction of so few values, over and over, is slow.
    best = np.full(log_evidence.shape[:2], -np.inf)
    for of_class in np.moveaxis(log_evidence, 2, 0):
        np.maximum(best, of_class, out=best)
    for values, problem in (
        (np.isnan(best), "holds NaN; no evidence is 0 for every class"),
        (best == np.inf, "holds +inf; to rule the other classes out, set them to -inf"),
        (best == -np.inf, "rules out every class of a date, all of them being -inf"),
    ):
        if values.any():
            sample, date = np.argwhere(values)[0]
            raise ValueError(
                f"log_evidence {problem}: first at sample {sample}, date {date}."
            )
    if best.size and np.abs(best).max() > _MOST_EVIDENCE:
        log_evidence = log_evidence - best[:, :, np.newaxis]
    return log_evidence, check_switch_cost(switch_cost, log_evidence.shape[2])


@njit(cache=True, nogil=True)
def _viterbi(log_evidence, switch_cost):
    n, n_timesteps, n_classes = log_evidence.shape
    path = np.empty((n, n_timesteps), dtype=np.int64)
    score = np.empty(n_classes)
    # Where class k at date t came from: itself, or the best class of t - 1.
    stayed = np.empty((n_timesteps, n_classes), dtype=np.bool_)
    leader = np.empty(n_timesteps, dtype=np.int64)
    for i in range(n):
        score[:] = log_evidence[i, 0]
        for t in range(1, n_timesteps):
            best = np.argmax(score)
            switched = score[best] - switch_cost
            leader[t] = best
            for k in range(n_classes):
                stayed[t, k] = score[k] >= switched
                if not stayed[t, k]:
                    score[k] = switched
                score[k] += log_evidence[i, t, k]
        k = np.argmax(score)
        for t in range(n_timesteps - 1, 0, -1):
            path[i, t] = k
            if not stayed[t, k]:
                k = leader[t]
        path[i, 0] = k
    return path


@njit(cache=True, nogil=True)
def _forward_backward(log_evidence, switch_cost):
    n, n_timesteps, n_classes = log_evidence.shape
    posterior = np.empty((n, n_timesteps, n_classes))
    stay = 1.0 / (1.0 + (n_classes - 1) * np.exp(-switch_cost))
    switch = stay * np.exp(-switch_cost)
    evidence = np.empty((n_timesteps, n_classes))
    after = np.empty(n_classes)
    for i in range(n):
        for t in range(n_timesteps):
            # Scaled at each date, so that nothing underflows along the way.
            top = log_evidence[i, t].max()
            for k in range(n_classes):
                evidence[t, k] = np.exp(log_evidence[i, t, k] - top)
        for t in range(n_timesteps):
            for k in range(n_classes):
                arrived = 1.0
                if t > 0:
                    arrived = switch + (stay - switch) * posterior[i, t - 1, k]
                posterior[i, t, k] = arrived * evidence[t, k]
            before = posterior[i, t].sum()
            posterior[i, t] /= before
        after[:] = 1.0
        for t in range(n_timesteps - 2, -1, -1):
            total = 0.0
            for k in range(n_classes):
                after[k] *= evidence[t + 1, k]
                total += after[k]
            for k in range(n_classes):
                after[k] = switch + (stay - switch) * after[k] / total
                posterior[i, t, k] *= after[k]
            posterior[i, t] /= posterior[i, t].sum()
    return posterior


@njit(cache=True, nogil=True)
def _viterbi_of_pairs(log_evidence, switch_cost):
    n, n_timesteps, n_classes = log_evidence.shape
    path = np.empty((n, n_timesteps), dtype=np.int64)
    possible = np.ones(n, dtype=np.bool_)
    score = np.empty(n_classes)
    before = np.empty(n_classes)
    came_from = np.empty((n_timesteps, n_classes), dtype=np.int64)
    for i in range(n):
        score[:] = log_evidence[i, 0]
        for t in range(1, n_timesteps):
            before[:] = score
            for k in range(n_classes):
                # Staying first: among equals it is preferred.
                best = k
                score[k] = before[k]
                for j in range(n_classes):
                    if before[j] - switch_cost[j, k] > score[k]:
                        best = j
                        score[k] = before[j] - switch_cost[j, k]
                came_from[t, k] = best
                score[k] += log_evidence[i, t, k]
        k = np.argmax(score)
        possible[i] = score[k] > -np.inf
        for t in range(n_timesteps - 1, 0, -1):
            path[i, t] = k
            k = came_from[t, k]
        path[i, 0] = k
    return path, possible


@njit(cache=True, nogil=True)
def _log_sum(values):
    top = values.max()
    if top == -np.inf:
        return top
    return top + np.log(np.exp(values - top).sum())


@njit(cache=True, nogil=True)
def _forward_backward_of_pairs(log_evidence, switch_cost):
    # In logarithms throughout: what cannot be turned back dies out in the long run,
    # yet may be all that a held label leaves.
    n, n_timesteps, n_classes = log_evidence.shape
    posterior = np.empty((n, n_timesteps, n_classes))
    possible = np.ones(n, dtype=np.bool_)
    after = np.empty(n_classes)
    before = np.empty(n_classes)
    for i in range(n):
        for k in range(n_classes):
            posterior[i, 0, k] = log_evidence[i, 0, k]
        for t in range(1, n_timesteps):
            for k in range(n_classes):
                arrived = _log_sum(posterior[i, t - 1] - switch_cost[:, k])
                posterior[i, t, k] = arrived + log_evidence[i, t, k]
        if posterior[i, n_timesteps - 1].max() == -np.inf:
            possible[i] = False
            continue
        after[:] = 0.0
        for t in range(n_timesteps - 1, -1, -1):
            if t < n_timesteps - 1:
                before[:] = after + log_evidence[i, t + 1]
                for k in range(n_classes):
                    after[k] = _log_sum(before - switch_cost[k])
            posterior[i, t] += after
            # Divided by their sum: next to huge logarithms that of a sum is lost.
            posterior[i, t] = np.exp(posterior[i, t] - posterior[i, t].max())
            posterior[i, t] /= posterior[i, t].sum()
    return posterior, possible
