"""Training series, and what is known of their classes: when, of whom, how surely."""

import numpy as np

from ._warnings import warn
from .decoding import forward_backward

# Switch costs to choose from, in nats: from none to one that no less than half a
# season of clear evidence outweighs; and how far from the expected one, in nats, it
# may be before held-out labels must speak for it.
_SWITCH_COSTS = (0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 11.0, 15.0, 20.0)
_COST_SPREAD = 2.0
# Shares of wrong labels to reckon with: one is no proof against a cost.
_WRONG_SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)
_N_FOLDS = 3
# A date shows a class where it is this probable.
_SHOWN = 0.9


class Labelled:
    """Training series, and what is known of their classes.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
        Validated, and in line with the labelled seasons.
    seen : ndarray of shape (n_samples, n_timesteps) of bool
        Observed dates.
    windowing : windows.Windowing
    classes : ndarray of shape (n_samples,) of int
        -1 without a label.
    times : ndarray of shape (n_samples,) of int, or None
    groups : ndarray of shape (n_samples,), or None
    fit_params : dict of dict
        By classifier.
    told : ndarray of shape (n_samples, n_timesteps, n_classes) of float32, or None
        Probability of each class at each date, by all who were asked.
    """

    def __init__(self, X, seasons, classes, times, groups, fit_params):
        self.X = seasons.align(X)
        self.seen = ~np.isnan(X).all(axis=1)
        self.windowing = seasons.windowing(X.shape[2])
        self.classes = classes
        self.times = times
        self.groups = groups
        self.fit_params = fit_params
        self.told = None

    def see(self, rows, probability):
        """Take in how probable somebody holds each class at the dates of samples.

        Several are taken for independent: what is clear to one is not clear if
        another holds it improbable.
        """
        n_classes = probability.shape[2]
        if self.told is None:
            self.told = np.full((*self.seen.shape, n_classes), 1, dtype=np.float32)
        joint = self.told[rows] * probability
        total = joint.sum(axis=2, keepdims=True)
        self.told[rows] = np.where(total > 0, joint / np.maximum(total, 1e-30), 0)

    def known(self, span, samples):
        """Observed windows and dates at which classes of some samples are known.

        Parameters
        ----------
        span : {"series", "date", "labelled season", "season"}
            Where labels are taken to hold; "season" adds what was seen.
        samples : ndarray of shape (n_samples,) of bool

        Returns
        -------
        of_windows : ndarray of shape (n_samples, n_windows) of int
            Class number, -1 where not known.
        of_dates : ndarray of shape (n_samples, n_timesteps) of int
        """
        label = self.classes[:, np.newaxis]
        in_windows, on_dates = self._near_labels(span)
        of_windows = np.where(in_windows, label, -1)
        of_dates = np.where(on_dates, label, -1)
        if span == "season" and self.told is not None:
            # What series show, and labels only where these do not speak against them.
            best = self.told.argmax(axis=2)
            shown = np.where(self.told.max(axis=2) > _SHOWN, best, -1)
            agrees = (shown < 0) | (shown == label)
            of_windows[self.windowing.share(agrees) <= 0.5] = -1
            of_dates = np.where(shown >= 0, shown, of_dates)
            for k in range(label.max() + 1):
                of_windows[self.windowing.throughout(shown == k)] = k
        seen_windows = self.windowing.share(self.seen) > 0
        samples = samples[:, np.newaxis]
        found = []
        for known, held, seen in (
            (of_windows, in_windows, samples & seen_windows),
            (of_dates, on_dates, samples & self.seen),
        ):
            known = np.where(seen, known, -1)
            # A class that nothing agrees with has its labels still.
            lost = (label >= 0) & ~np.isin(label, known)
            found.append(np.where(lost & held & seen, label, known))
        return tuple(found)

    def _near_labels(self, span):
        """Windows and dates at which each label is taken to hold."""
        windowing = self.windowing
        shape = len(self.X), len(windowing.starts)
        if span == "series":
            return np.ones(shape, dtype=bool), np.ones_like(self.seen)
        own = windowing.own_starts(self.times)[:, np.newaxis]
        distance = np.abs(windowing.starts - own)
        in_windows = distance == distance.min(axis=1, keepdims=True)
        # A label under a cloud still holds at the nearest date that was observed.
        cell = windowing.calendar.cell
        away = np.abs(cell - cell[self.times][:, np.newaxis])
        seen_away = np.where(self.seen, away, np.iinfo(away.dtype).max)
        on_dates = seen_away == seen_away.min(axis=1, keepdims=True)
        if span != "date":
            in_windows |= windowing.near(self.times)
            on_dates |= away <= windowing.length // 2
        return in_windows, on_dates

    def most_probable_cost(self, evidence, fold, likely):
        """The switch cost under which labels are most probable.

        Parameters
        ----------
        evidence : ndarray of shape (n_samples, n_timesteps, n_classes)
            By classifiers of other samples.
        fold : ndarray of shape (n_samples,) of int
            -1 for samples without such evidence.
        likely : float
            Where costs are expected.

        Returns
        -------
        float
        """
        rows = np.flatnonzero((fold >= 0) & (self.classes >= 0))
        evidence, classes = evidence[rows], self.classes[rows]
        n_classes = evidence.shape[2]
        wrong = np.array(_WRONG_SHARES)[:, np.newaxis, np.newaxis]

        def log_posterior(cost):
            posterior = forward_backward(evidence, cost)
            found = posterior[np.arange(len(rows)), :, classes]
            if self.times is not None:
                found = found[np.arange(len(rows)), self.times[rows], np.newaxis]
            probable = (1 - wrong) * found + wrong / n_classes
            logs = np.log(np.maximum(probable, np.finfo(float).tiny))
            total = logs.mean(axis=2).sum(axis=1).max()
            return total - (cost - likely) ** 2 / (2 * _COST_SPREAD**2)

        return float(max(sorted({*_SWITCH_COSTS, likely}), key=log_posterior))


def draw_folds(data, random):
    """Fold of each sample: whole groups, or each class spread evenly.

    None unless two classes can be held out. Those that cannot, as all their samples
    would be missed in training, have -1.
    """
    n = len(data.classes)
    if data.groups is not None:
        fold = random.permutation(data.groups.max() + 1)[data.groups] % _N_FOLDS
    else:
        order = random.permutation(n)
        fold = np.empty(n, dtype=np.intp)
        for k in np.unique(data.classes):
            members = order[data.classes[order] == k]
            fold[members] = np.arange(len(members)) % _N_FOLDS
    usable = data.seen.any(axis=1)
    n_left = 0
    for k in np.unique(data.classes[data.classes >= 0]):
        members = data.classes == k
        if len(np.unique(fold[members & usable])) < 2:
            fold[members] = -1
        else:
            n_left += 1
    return fold if n_left >= 2 else None


def warn_of_contradictions(X, classes, times):
    """Say so if one series has several labels at one date."""
    first = {}
    for i in np.flatnonzero((classes >= 0) & ~np.isnan(X).all(axis=(1, 2))):
        key = hash(X[i].tobytes()), None if times is None else times[i]
        other = first.setdefault(key, i)
        if classes[other] != classes[i] and np.array_equal(X[i], X[other], True):
            warn(
                f"Samples {other} and {i} are the same series and have different "
                "labels at one date: at least one is wrong."
            )
            return
