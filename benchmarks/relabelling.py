"""Accuracy of dated labels beside peers on the same series.

::

    python -m benchmarks relabelling                      # everything, for hours
    python -m benchmarks relabelling cerrado --seeds 1    # one part, one seed
    python -m benchmarks relabelling years --only sktasgen,fused
    python -m benchmarks relabelling lakes --steps 2,5,8,11

Means over the seeds, with 95 % t-intervals. A date is changed where its true label is
not the true one at label_time. How the peers are run is told in `relabel_peers`.

``cerrado``: four-year MODIS series of two classes, half of which switch class once. A
break is found if the change of label nearest label_time is within 3 dates of it; a
missed one is wrong. Errors are paired: the share of wrong dates of a seed less
sktasgen's, with a t-interval over the seeds; and the sum of the series' shares over the
sum of sktasgen's, with a 95 % bootstrap interval (BCa) over the series, each averaged
over the seeds. The bootstrap does not know that every sample-year
recurs in several series, so it is rather narrow; and what is trained on other years
(sktasgen, cleanlab) has seen some of the years it is asked about, which flatters it.
Hence a row of sktasgen without stable series, trained on the labelled seasons alone.
The forest told the true breaks is no peer but an upper reference.

``years``: the same series, labelled in the first year, and as they would be if every
other year had its own weather and sensor (`protocols.other_years`), with labels that
are few (only these are trained on, but all series are labelled) or wrong. A cell is the
accuracy and that on changed dates, against the truth.

``lakes``: a year of Sentinel months, nine noisy classes, one label per sample, at each
of the 12 steps in turn. In-sample, every sample is relabelled with its own label known
in training; grouped, with estimators trained on other locations, in five folds. The
forest is trained on the bands of the labelled month and applied to every month; "held"
it keeps each sample's own label where it is known, as the relabeller does. The
forest told all months is trained on the true labels of other locations: near it is the
ceiling. First the means over the labelled months, the difference paired by seeds; then,
of each labelled month, the accuracy over all months and that on changed ones.

``calibration``: of ``predict_proba_timeline``, the labels held, on both MODIS sets and
on the lakes in-sample. A cell is the expected calibration error (15 bins of equal
mass), the mean probability of the most probable class, and how often that is right.
"""

from functools import partial
from itertools import product

import numpy as np
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold
from sklearn.utils import Bunch

from benchmarks import data as sets
from benchmarks.peers import random_forest
from benchmarks.protocols import few_labels, other_years, wrong_labels
from benchmarks.provenance import peer
from benchmarks.relabel_peers import PEERS, Task
from benchmarks.tables import mean_and_interval, show
from sktasgen import HTSVAEDetector, StableSampleRelabeler
from sktasgen.datasets import fetch_dynamic_world_lakes
from sktasgen.metrics import break_within, dated_label_report, nearest_break

# sktasgen ----------------------------------------------------------------------


class _LabelledSeasons(StableSampleRelabeler):
    """Trains on the labelled seasons alone."""

    def _train(self, data, span, samples, random):
        return super()._train(data, "labelled season", samples, random)


@peer(
    "sktasgen",
    "sktasgen",
    "`StableSampleRelabeler(HTSVAEDetector(period=...), random_state=seed)`: defaults",
    "docs/user_guide.md",
)
def _defaults(period, seed):
    return StableSampleRelabeler(HTSVAEDetector(period=period), random_state=seed)


@peer(
    'sktasgen, `detector="drop"`',
    "sktasgen",
    '`StableSampleRelabeler("drop", period=..., random_state=seed)`',
    "docs/user_guide.md",
)
def _without_detector(period, seed):
    return StableSampleRelabeler("drop", period=period, random_state=seed)


@peer(
    "sktasgen, labelled seasons alone",
    "sktasgen",
    'a subclass of the relabeller with `"drop"`, without the training on stable '
    "series; no setting of the package",
    "benchmarks/relabelling.py",
)
def _labelled_seasons(period, seed):
    return _LabelledSeasons("drop", period=period, random_state=seed)


RELABELERS = {
    "sktasgen": ("**sktasgen**", _defaults),
    "drop": ('sktasgen, `detector="drop"`', _without_detector),
    "seasons": ("sktasgen, labelled seasons alone", _labelled_seasons),
}


def _relabel_task(title, make, task, seed):
    """The relabeller as one of the peers of `relabel_peers`."""
    relabeler = make(task.period, seed)
    y = np.where(task.given >= 0, task.given, np.nan)
    relabeler.fit(task.X, y, label_time=task.label_time)
    labels = relabeler.relabel(task.X, y, label_time=task.label_time)
    return {title: labels.astype(int)}


# Our own come first: the others are compared with them.
METHODS = {
    name: partial(_relabel_task, *relabeler) for name, relabeler in RELABELERS.items()
} | PEERS


# cerrado -----------------------------------------------------------------------


def cerrado(arguments):
    """Tables of the two MODIS sets."""
    header = ["labels", "accuracy", "on changed dates", "breaks within 3 dates"]
    header += ["error - sktasgen's", "error / sktasgen's"]
    for name in ("disjoint", "anywhere"):
        series = _coded(sets.cerrado(name))
        show(f"cerrado_{name}", header, _cerrado_rows(series, arguments))


def _cerrado_rows(series, arguments):
    ours = None
    for method in _chosen(METHODS, arguments):
        found = {}
        for seed in range(arguments.seeds):
            for title, labels in method(_task(series, series.y), seed).items():
                found.setdefault(title, []).append(labels)
        for title, labels in found.items():
            figures = [_figures(series, each) for each in labels]
            # Of each seed and series; a method without random numbers runs anew, too.
            errors = np.mean([each != series.Y for each in labels], axis=2)
            ours = errors if title == "**sktasgen**" else ours
            paired = ["", ""]
            if ours is not None and ours is not errors:
                more = errors.mean(axis=1) - ours.mean(axis=1)
                paired = [mean_and_interval(more, "{:+.4f}"), _ratio(errors, ours)]
            yield title, *map(mean_and_interval, zip(*figures, strict=True)), *paired


def _figures(series, labels):
    """Accuracy, that on changed dates, breaks found within 3 dates."""
    found = nearest_break(labels, series.label_time)
    return *_accuracy(series, labels), break_within(series.break_at, found, 3)


def _ratio(errors, ours):
    """Ratio of errors with its bootstrap interval over the series."""
    errors, ours = errors.mean(axis=0), ours.mean(axis=0)

    def ratio(errors, ours, axis=-1):
        return errors.mean(axis=axis) / ours.mean(axis=axis)

    limits = stats.bootstrap((errors, ours), ratio, paired=True, rng=0)
    low, high = limits.confidence_interval
    return f"{ratio(errors, ours):.2f} ({low:.2f} to {high:.2f})"


# years -------------------------------------------------------------------------

PROTOCOLS = {
    "all labels": lambda y, seed: y,
    "50 per class": lambda y, seed: np.where(few_labels(y, 50, seed), y, -1),
    "20 per class": lambda y, seed: np.where(few_labels(y, 20, seed), y, -1),
    "10 per class": lambda y, seed: np.where(few_labels(y, 10, seed), y, -1),
    "5 % wrong": lambda y, seed: wrong_labels(y, 0.05, seed),
    "10 % wrong": lambda y, seed: wrong_labels(y, 0.10, seed),
    "20 % wrong": lambda y, seed: wrong_labels(y, 0.20, seed),
}
YEARS = ("sktasgen", "drop", "static", "forest", "minirocket", "cleanlab", "fused")


def years(arguments):
    """Table of labels that are few or wrong, and of years that differ."""
    series = _coded(sets.cerrado("disjoint"))
    methods = {name: METHODS[name] for name in YEARS}
    show(
        "cerrado_disjoint: accuracy / on changed dates",
        ["labels", "years", *PROTOCOLS],
        _years_rows(series, _chosen(methods, arguments), arguments),
    )


def _years_rows(series, methods, arguments):
    seeds = range(arguments.seeds)
    variants = {
        "alike": [series for seed in seeds],
        "differ": [other_years(series, seed) for seed in seeds],
    }
    for method in methods:
        for variant, by_seed in variants.items():
            cells = {}
            for protocol in PROTOCOLS.values():
                found = {}
                for seed, these in zip(seeds, by_seed, strict=True):
                    task = _task(these, protocol(these.y, seed))
                    for title, labels in method(task, seed).items():
                        figures = _accuracy(these, labels)
                        found.setdefault(title, []).append(figures)
                for title, figures in found.items():
                    cells.setdefault(title, []).append(_cell(figures))
            for title, row in cells.items():
                yield title, variant, *row


# lakes -------------------------------------------------------------------------


def lakes(arguments):
    """Tables of labels of each month in turn."""
    data = fetch_dynamic_world_lakes()
    steps = arguments.steps or range(data.Y.shape[1])
    header = ["labels", "accuracy", "on changed months", "accuracy - sktasgen's"]
    header += [f"month {step}" for step in steps]
    for protocol in ("in-sample", "grouped"):
        show(f"lakes_{protocol}", header, _lakes_rows(data, protocol, steps, arguments))


def _lakes_rows(data, protocol, steps, arguments):
    everyone = np.arange(len(data.Y))
    given = [Bunch(Y=data.Y, y=data.Y[:, step]) for step in steps]
    ours = None
    for method in _chosen(LAKES, arguments):
        if protocol == "in-sample" and method is _told:
            continue
        found = {}
        for seed in range(arguments.seeds):
            folds = [(everyone, everyone)]
            if protocol == "grouped":
                splitter = GroupKFold(5, shuffle=True, random_state=seed)
                folds = list(splitter.split(data.X, groups=data.groups))
            for title, by_step in method(data, folds, steps, seed).items():
                found.setdefault(title, []).append([*map(_accuracy, given, by_step)])
        for title, figures in found.items():
            # Of each seed: the mean over the labelled months.
            accuracy, changed = np.mean(figures, axis=1).T
            ours = accuracy if title == "**sktasgen**" else ours
            ahead = ""
            if ours is not None and ours is not accuracy:
                ahead = mean_and_interval(accuracy - ours, "{:+.4f}")
            means = map(mean_and_interval, (accuracy, changed))
            months = (_cell([month]) for month in np.mean(figures, axis=0))
            yield title, *means, ahead, *months


def _static(data, folds, steps, seed):
    n_months = data.Y.shape[1]
    return {
        "static label": [np.repeat(data.Y[:, [k]], n_months, axis=1) for k in steps]
    }


@random_forest
def _forest(data, folds, steps, seed):
    """A forest of one month's bands, applied to every month."""
    plain, held = [], []
    for step in steps:
        labels = np.empty_like(data.Y)
        for train, test in folds:
            forest = RandomForestClassifier(random_state=seed)
            forest.fit(data.X[train, :, step], data.Y[train, step])
            labels[test] = _by_month(forest, data.X[test])
        plain.append(labels)
        held.append(labels.copy())
        held[-1][:, step] = data.Y[:, step]
    return {"forest of the labelled month": plain, "the same, held to the label": held}


@random_forest
def _told(data, folds, steps, seed):
    """A forest of the bands of every month, told the truth elsewhere."""
    labels = np.empty_like(data.Y)
    for train, test in folds:
        forest = RandomForestClassifier(random_state=seed)
        months = np.moveaxis(data.X[train], 2, 1).reshape(-1, data.X.shape[1])
        labels[test] = _by_month(
            forest.fit(months, data.Y[train].ravel()), data.X[test]
        )
    return {"forest told all months of other locations": [labels] * len(steps)}


def _by_month(forest, X):
    months = np.moveaxis(X, 2, 1)
    return forest.predict(months.reshape(-1, X.shape[1])).reshape(months.shape[:2])


def _relabel_lakes(title, make, data, folds, steps, seed):
    """Held labels; a label of a class that no other location has is not held."""
    found = []
    for step in steps:
        y = data.Y[:, step]
        labels = np.empty_like(data.Y)
        for train, test in folds:
            relabeler = make(data.period, seed)
            relabeler.fit(data.X[train], y[train], label_time=step)
            labels[test] = relabeler.predict_timeline(data.X[test])
            known = test[np.isin(y[test], relabeler.classes_)]
            labels[known] = relabeler.relabel(data.X[known], y[known], label_time=step)
        labels[:, step] = y
        found.append(labels)
    return {title: found}


LAKES = {
    name: partial(_relabel_lakes, *RELABELERS[name]) for name in ("sktasgen", "drop")
} | {"static": _static, "forest": _forest, "told": _told}


# calibration -------------------------------------------------------------------


def calibration(arguments):
    """Table of how far probabilities are from how often they are right."""
    methods = [
        relabeler
        for name, relabeler in RELABELERS.items()
        if name in (arguments.only or ("sktasgen", "drop"))
    ]
    show(
        "calibration error / mean probability / accuracy",
        ["series", "method", "all dates", "changed", "unchanged"],
        _calibration_rows(methods, arguments),
    )


def _calibration_rows(methods, arguments):
    given = [
        (f"cerrado_{name}", _coded(sets.cerrado(name)))
        for name in ("disjoint", "anywhere")
    ]
    data = fetch_dynamic_world_lakes()
    for step in arguments.steps or range(data.Y.shape[1]):
        month = Bunch(**data | {"y": data.Y[:, step], "label_time": step})
        given.append((f"lakes, step {step}", month))
    for (name, series), (title, make) in product(given, methods):
        figures = []
        for seed in range(arguments.seeds):
            relabeler = make(series.period, seed)
            known = dict(y=series.y, label_time=series.label_time)
            probability = relabeler.fit(series.X, **known).predict_proba_timeline(
                series.X, **known
            )
            right = relabeler.classes_[probability.argmax(axis=2)] == series.Y
            changed = series.Y != series.y[:, np.newaxis]
            figures.append(
                [
                    calibration_error(probability.max(axis=2)[of], right[of])
                    for of in (np.ones_like(changed), changed, ~changed)
                ]
            )
        cells = np.mean(figures, axis=0)
        yield name, title, *(" / ".join(map("{:.4f}".format, cell)) for cell in cells)


def calibration_error(probability, right, n_bins=15):
    """Expected calibration error over bins of equal mass, and both means.

    Parameters
    ----------
    probability : ndarray of shape (n,)
        Of what was taken to be so.
    right : ndarray of shape (n,) of bool
        Whether it was.

    Returns
    -------
    error, mean_probability, accuracy : float
    """
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(probability[order] - right[order], n_bins)
    error = sum(abs(away.sum()) for away in bins) / len(probability)
    return error, probability.mean(), right.mean()


# What the parts share ----------------------------------------------------------


def _coded(series):
    """The same series with class numbers for labels."""
    classes, y = np.unique(series.y, return_inverse=True)
    return Bunch(**series | {"y": y, "Y": np.searchsorted(classes, series.Y)})


def _task(series, given):
    return Task(series.X, given, series.label_time, series.period, series.break_at)


def _chosen(methods, arguments):
    return [
        method
        for name, method in methods.items()
        if arguments.only is None or name in arguments.only
    ]


def _accuracy(series, labels):
    """Accuracy, and that on changed dates; NaN unless every date has a label."""
    if (labels < 0).any():
        return np.nan, np.nan
    report = dated_label_report(series.Y, labels, series.y)
    return report.accuracy, report.changed_date_accuracy


def _cell(figures):
    """Both accuracies, averaged over rows."""
    accuracy, changed = np.mean(figures, axis=0)
    return "" if np.isnan(accuracy) else f"{accuracy:.4f} / {changed:.3f}"


PARTS = {
    "cerrado": cerrado,
    "years": years,
    "lakes": lakes,
    "calibration": calibration,
}
OPTIONS = {"seeds": 3, "only": None, "steps": None}
QUICK = "cerrado lakes --seeds 1 --only sktasgen,drop,static,forest --steps 5"
