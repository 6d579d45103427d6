"""What classifiers see of a series, and the evidence they give for each date.

Two time scales: a *window* of one season shows the pattern, a single *date* shows
the moment. A window's row holds its bands slot by slot, a date's row its bands
and the season slot; both in the units of X, NaN where not observed.
"""

from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import InputTags, gen_batches, get_tags
from sklearn.utils.metaestimators import available_if

from .windows import window_average

# Added to every probability before its logarithm: a forest that never saw a class
# near a date does not know that it is impossible.
_FLOOR = 0.01
# Series cut into windows in one go: their windows stay near the processor.
_CUT_TOGETHER = 64


class Rows(NamedTuple):
    """Rows to train or predict on.

    Attributes
    ----------
    features : ndarray of shape (n_rows, n_features)
    sample : ndarray of shape (n_rows,) of int
        Sample each row belongs to.
    """

    features: np.ndarray
    sample: np.ndarray


def date_rows(X, calendar, wanted):
    """One row per wanted and observed date: its bands, then its season slot.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
    calendar : windows.Calendar
    wanted : ndarray of shape (n_samples, n_timesteps) of bool

    Returns
    -------
    rows : Rows
    date : ndarray of shape (n_rows,) of int
    """
    n_bands, n_timesteps = X.shape[1:]
    at = np.flatnonzero(wanted & ~np.isnan(X).all(axis=1))
    sample, date = np.divmod(at, n_timesteps)
    features = np.empty((len(at), n_bands + 1), X.dtype)
    for band in range(n_bands):
        features[:, band] = X[:, band].take(at)
    features[:, n_bands] = calendar.slot[date]
    return Rows(features, sample), date


def window_rows(X, calendar, cells, wanted):
    """One row per wanted window with an observation: its bands, slot by slot.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
    calendar : windows.Calendar
    cells : ndarray of shape (n_windows, period) of int
        See `windows.window_cells`.
    wanted : ndarray of shape (n_samples, n_windows) of bool

    Returns
    -------
    rows : Rows
    window : ndarray of shape (n_rows,) of int
    """
    # Layers hold what shares a cell; a window has room for one value.
    grid = calendar.to_grid(X)
    grid = grid[:, 0] if calendar.n_layers == 1 else grid.mean(axis=1)
    # Cell n_cells, never observed, stands for the empty slots of a window.
    grid = np.pad(grid, ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
    seen = ~np.isnan(grid).all(axis=1)
    wanted = wanted & seen[:, cells].any(axis=2)
    sample, window = np.nonzero(wanted)
    n, n_bands, width = grid.shape
    # Bands one after the other, and where in these each window's values lie.
    series = grid.reshape(n, n_bands * width)
    at = np.arange(n_bands)[:, np.newaxis] * width + cells[:, np.newaxis]
    at = at.reshape(len(cells), n_bands * cells.shape[1])
    features = np.empty((len(sample), at.shape[1]), X.dtype)
    first, every = 0, wanted.all()
    for some in gen_batches(n, _CUT_TOGETHER):
        cut = series[some].take(at, axis=1)
        cut = cut.reshape(-1, at.shape[1]) if every else cut[wanted[some]]
        features[first : first + len(cut)] = cut
        first += len(cut)
    return Rows(features, sample), window


def fit_classifier(classifier, features, classes, fit_params, n_bands=None):
    """Fit a classifier, behind a median imputer if it takes no NaN.

    One of time series gets rows in the shape of series, too.

    Parameters
    ----------
    classifier : estimator
        Fitted in place.
    features : ndarray of shape (n_rows, n_features)
    classes : ndarray of shape (n_rows,) of int
    fit_params : dict
        Passed to the classifier's ``fit``.
    n_bands : int, default=None
        Bands in a row; None if rows are no series.

    Returns
    -------
    estimator
        The classifier, or a fitted pipeline of what it takes and the classifier.
        What it predicts are numbers as in `classes`; it was trained on them, or on
        their ranks where some numbers are missing.

    Raises
    ------
    ValueError
        If a classifier of series meets rows that are none.
    """
    steps = []
    if not _get_tags(classifier).allow_nan:
        fill = SimpleImputer(strategy="median", keep_empty_features=True)
        steps.append(("fill", fill))
    if _takes_series(classifier):
        if n_bands is None:
            raise ValueError(
                f"date_classifier={classifier!r} takes time series, but a single date "
                "is none: pass it as classifier."
            )
        shape = FunctionTransformer(_as_series, kw_args={"n_bands": n_bands})
        steps.append(("shape", shape))
    for _, step in steps:
        features = step.fit_transform(features)
    present = np.unique(classes)
    if present[-1] >= len(present) and not isinstance(classifier, FrozenEstimator):
        classifier = _OfSomeClasses(classifier)
    classifier.fit(features, classes, **fit_params)
    return Pipeline([*steps, ("classify", classifier)]) if steps else classifier


class _OfSomeClasses(ClassifierMixin, BaseEstimator):
    """A classifier that sees the classes of fit numbered from 0 without gaps.

    As some want them, such as that of xgboost.
    """

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, y, **fit_params):
        self.classes_, numbers = np.unique(y, return_inverse=True)
        self.classifier.fit(X, numbers, **fit_params)
        return self

    @available_if(lambda self: hasattr(self.classifier, "predict_proba"))
    def predict_proba(self, X):
        return self.classifier.predict_proba(X)

    def predict(self, X):
        return self.classes_[np.asarray(self.classifier.predict(X)).astype(np.intp)]


def _get_tags(classifier):
    try:
        return get_tags(classifier).input_tags
    except AttributeError:  # a learner of another library
        return InputTags()


def _takes_series(classifier):
    """Whether a classifier, or what it puts its input into, takes 3-D input alone."""
    first = classifier
    while not hasattr(first, "get_tag"):  # aeon and sktime describe themselves so
        if hasattr(first, "steps"):
            first = first.steps[0][1]
        elif hasattr(first, "estimator"):
            first = first.estimator
        else:
            tags = _get_tags(first)
            return tags.three_d_array and not tags.two_d_array
    return True


def _as_series(rows, n_bands):
    return rows.reshape(len(rows), n_bands, -1)


def class_probability(classifier, features, n_classes):
    """Probability of each class number, for any classifier.

    Parameters
    ----------
    classifier : fitted classifier
        Trained on class numbers. Without ``predict_proba`` its prediction counts
        as certain.
    features : ndarray of shape (n_rows, n_features)
    n_classes : int

    Returns
    -------
    ndarray of shape (n_rows, n_classes)
    """
    probability = np.zeros((len(features), n_classes))
    if len(features) == 0:
        return probability
    if hasattr(classifier, "predict_proba"):
        columns = np.asarray(classifier.classes_).astype(np.intp)
        found = np.asarray(classifier.predict_proba(features), dtype=np.float64)
        if np.isnan(found).any():
            raise ValueError(
                f"classifier={classifier!r} gave NaN as a probability: expected one "
                "that stays finite on such series."
            )
        if np.array_equal(columns, np.arange(n_classes)):
            return found
        probability[:, columns] = found
    else:
        predicted = np.asarray(classifier.predict(features)).astype(np.intp)
        probability[np.arange(len(features)), predicted] = 1.0
    return probability


def log_probability(probability):
    """Log-probability of classes, the last axis, that no zero turns into certainty."""
    n_classes = probability.shape[-1]
    found = probability + _FLOOR
    found /= 1 + n_classes * _FLOOR
    return np.log(found, out=found)


def spread_windows(values, sample, window, windowing, n_samples):
    """Mean over the windows that cover each date.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_classes)
        Log-probabilities of windows.
    sample, window : ndarrays of shape (n_rows,) of int
        Which ones: see `window_rows`. The others know nothing: to them every
        class is as likely.
    windowing : windows.Windowing
    n_samples : int

    Returns
    -------
    ndarray of shape (n_samples, n_timesteps, n_classes)
    """
    cells, calendar = windowing.cells, windowing.calendar
    n_classes = values.shape[1]
    by_window = np.full((len(cells), n_samples, n_classes), -np.log(n_classes))
    by_window[window, sample] = values
    by_cell = window_average(by_window, cells, calendar.n_cells)
    return by_cell[calendar.cell].transpose(1, 0, 2)
