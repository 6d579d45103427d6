"""What else gives every date a label, each used as its documentation tells.

A peer takes a `Task` and a seed and gives ``{name: labels}``: class indices of shape
(n_samples, n_timesteps). One that decodes its probabilities in two ways gives both.

All see the season windows of `peers.season_windows`, and all that classify are trained
where a label is known to hold: in the windows centred within a quarter of a season of
the labelled one, or at the dates of the labelled season. A date is given the
probabilities of the window centred at it, by a classifier that was not trained on the
sample (`peers.out_of_fold`). The given label is kept at its date.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
from sklearn.preprocessing import StandardScaler

from benchmarks import peers
from benchmarks.provenance import peer
from sktasgen.decoding import hold, viterbi

# Of 3, 6 and 12 the cost under which the window forest alone is best on the Cerrado
# series: no peer shall lose by its setting.
WINDOW_SWITCH_COST = 6.0
# aeon's start at 0.001, which float32 features of few windows do not bear, and end at
# 1000, which is too little where labels are wrong.
PENALTIES = np.logspace(1, 5, 9)
# Windows whose convolutions are held in memory at a time.
BATCH = 4096


class Task(NamedTuple):
    """Series to label, and what a peer may know of them.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
    given : ndarray of shape (n_samples,) of int
        Class index of each label, -1 for none.
    label_time : ndarray of shape (n_samples,) of int
        Date of each label.
    period : int
        Dates of a season.
    break_at : ndarray of shape (n_samples,) of int
        The truth: first date of the second class, -1 for none. For one peer only.
    """

    X: np.ndarray
    given: np.ndarray
    label_time: np.ndarray
    period: int
    break_at: np.ndarray


def static(task, seed):
    """The label at every date; -1 where there is none."""
    labels = np.broadcast_to(task.given[:, None], task.X[:, 0].shape)
    return {"static label": labels}


def forest(task, seed):
    """scikit-learn's RandomForestClassifier as it comes, on windows."""
    probability = _of_windows(task, seed)
    name = "random forest on aligned windows"
    return {
        name: _most_probable(task, probability),
        f"{name} + Viterbi": _decoded(task, probability),
    }


@peer(
    "MiniRocket",
    "aeon",
    "`MiniRocket(random_state=seed)`, then `StandardScaler(with_mean=False)` and a "
    "ridge classifier as in `MiniRocketClassifier`; penalties 10 to 100,000, chosen by "
    "leaving out one of one window per sample; softmax of the decision values",
    "https://www.aeon-toolkit.org/en/stable/api_reference/auto_generated/"
    "aeon.classification.convolution_based.MiniRocketClassifier.html",
)
def minirocket(task, seed):
    """aeon's MiniRocket with a ridge classifier, as in its MiniRocketClassifier.

    Windows are filled linearly in time, for it takes no NaN. The penalty is chosen by
    leaving one out, as there, but among one window per sample: those of a sample
    overlap, and with wrong labels they would be learnt by heart. The softmax of the
    decision values stands for probabilities, which a ridge classifier has not.
    """
    from aeon.transformations.collection.convolution_based import MiniRocket

    shape = task.X.shape[1], task.period

    def fit(rows, classes, sample, seed):
        convolutions = _Convolutions(MiniRocket(random_state=seed), shape)
        return convolutions.fit(rows, classes, sample)

    filled = task._replace(X=peers.fill(task.X))
    probability = _of_windows(filled, seed, fit)
    name = "MiniRocket on aligned windows"
    return {
        name: _most_probable(task, probability),
        f"{name} + Viterbi": _decoded(task, probability),
    }


class _Convolutions:
    """A ridge classifier of MiniRocket's features, for rows band by band."""

    def __init__(self, transform, shape):
        self.transform = transform
        self.shape = shape

    def fit(self, rows, classes, sample):
        features = self.transform.fit_transform(rows.reshape(-1, *self.shape))
        self.scale = StandardScaler(with_mean=False)
        features = self.scale.fit_transform(features)
        _, first, times = np.unique(sample, return_index=True, return_counts=True)
        choice = RidgeClassifierCV(PENALTIES).fit(features[first], classes[first])
        # The penalty of a sample, for as many rows as it has.
        self.ridge = RidgeClassifier(choice.alpha_ * times.mean())
        self.classes_ = self.ridge.fit(features, classes).classes_
        return self

    def predict_proba(self, rows):
        windows = rows.reshape(-1, *self.shape)
        decision = np.concatenate(
            [
                self.ridge.decision_function(
                    self.scale.transform(self.transform.transform(batch))
                )
                for batch in np.array_split(windows, -(-len(windows) // BATCH))
            ]
        )
        if decision.ndim == 1:
            decision = np.column_stack([-decision, decision])
        return softmax(decision, axis=1)


@peer(
    "cleanlab",
    "cleanlab",
    "`find_label_issues(labels, pred_probs)` as it comes, of out-of-fold probabilities",
    "https://docs.cleanlab.ai/stable/cleanlab/filter.html",
)
def cleanlab(task, seed):
    """cleanlab finds windows where the label does not hold; a forest of the rest.

    Every window of a series carries its label. ``find_label_issues`` as it comes,
    given the probabilities of the window forest, says where that is wrong. A forest
    trained on all other windows, of all years, gives the labels, by Viterbi; a label
    that is wrong in its own window is not kept.
    """
    from cleanlab.filter import find_label_issues

    windows = _windows(task)
    labelled = task.given >= 0
    of_known = peers.out_of_fold(windows.rows, windows.known, task.given, seed)
    issue = np.ones(windows.known.shape, dtype=bool)
    issue[labelled] = find_label_issues(
        np.repeat(task.given[labelled], issue.shape[1]),
        of_known[labelled].reshape(-1, of_known.shape[2]),
        n_jobs=1,
    ).reshape(-1, issue.shape[1])
    probability = peers.out_of_fold(windows.rows, ~issue, task.given, seed)
    wrong = issue[np.arange(len(issue)), windows.own]
    trusted = task._replace(given=np.where(wrong, -1, task.given))
    labels = _decoded(trusted, _centred(probability, task))
    return {"cleanlab, then relabel": labels}


def cold(task, seed):
    """Segments between the breaks of pyxccd's COLD, by the window forest."""
    ordinals = peers.composite_ordinals(task.X.shape[2], task.period)
    breaks = peers.cold(task.X, ordinals)
    probability = _of_windows(task, seed)
    return {"pyxccd COLD breaks, then forest": _by_segment(task, probability, breaks)}


def pelt(task, seed):
    """Segments between the breaks of ruptures' PELT, by the window forest.

    All samples must have a label.
    """
    breaks = peers.pelt(task.X, task.period, task.label_time, task.given)
    probability = _of_windows(task, seed)
    return {"ruptures PELT, then forest": _by_segment(task, probability, breaks)}


def told(task, seed):
    """Segments between the true breaks, by the window forest: an upper reference."""
    breaks = [[(at, 0)] if at >= 0 else [] for at in task.break_at]
    probability = _of_windows(task, seed)
    return {"forest told the true breaks": _by_segment(task, probability, breaks)}


@peer(
    "two forests fused",
    "scikit-learn",
    "`RandomForestClassifier(random_state=seed)` of windows and another of dates, out "
    "of fold; 0.3 of the logarithms of the first and all of the second's, Viterbi with "
    "a switch cost of 12: what did best on the MODIS series",
    "what one would write by hand; `benchmarks/relabel_peers.py`",
)
def fused(task, seed):
    """Forests of windows and of dates in one decode."""
    rows, known = peers.date_rows(task.X, task.period, task.label_time)
    of_dates = peers.out_of_fold(rows, known, task.given, seed)
    evidence = peers.fuse(_of_windows(task, seed), of_dates)
    labels = peers.decode(evidence, task.given, task.label_time)[1]
    return {"two forests fused": labels}


# Steps of the above ------------------------------------------------------------


def _windows(task):
    return peers.season_windows(task.X, task.period, task.label_time)


def _of_windows(task, seed, fit=peers.fit_forest):
    """Class probability of the window centred at each date, out of fold."""
    windows = _windows(task)
    found = peers.out_of_fold(windows.rows, windows.known, task.given, seed, fit)
    return _centred(found, task)


def _centred(of_windows, task):
    """From one value per window to that of the window centred nearest each date."""
    start = np.arange(task.X.shape[2]) - task.period // 2
    return of_windows[:, np.clip(start, 0, of_windows.shape[1] - 1)]


def _most_probable(task, probability):
    labels = probability.argmax(axis=2)
    kept = np.flatnonzero(task.given >= 0)
    labels[kept, task.label_time[kept]] = task.given[kept]
    return labels


def _decoded(task, probability):
    evidence = peers.log_probability(probability)
    return viterbi(hold(evidence, task.given, task.label_time), WINDOW_SWITCH_COST)


def _by_segment(task, probability, breaks):
    """One label per segment: the given one, or the most probable on average."""
    labels = np.empty(probability.shape[:2], dtype=int)
    date = np.arange(labels.shape[1])
    for i, found in enumerate(breaks):
        segment = np.searchsorted([at for at, _ in found], date, side="right")
        for k in np.unique(segment):
            labels[i, segment == k] = probability[i, segment == k].mean(axis=0).argmax()
        if task.given[i] >= 0:
            labels[i, segment == segment[task.label_time[i]]] = task.given[i]
    return labels


PEERS = {
    each.__name__: each
    for each in (static, forest, minirocket, cleanlab, cold, pelt, fused, told)
}
