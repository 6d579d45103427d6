"""Without these: labels that ignore the change, the label, or the user's choices."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sktasgen import BandScaler, HTSVAEDetector, StableSampleRelabeler
from sktasgen.datasets import make_pixel_series
from sktasgen.evidence import class_probability, date_rows, window_rows
from sktasgen.labelled import Labelled
from sktasgen.metrics import (
    break_within,
    dated_label_report,
    label_time_accuracy,
    nearest_break,
)
from sktasgen.seasons import Seasons
from sktasgen.windows import Calendar, window_cells, window_starts

DETECTOR = HTSVAEDetector(period=12, max_iter=40, random_state=0)
FOREST = RandomForestClassifier(n_estimators=30)


def quick(**params):
    relabeler = StableSampleRelabeler(DETECTOR, FOREST, FOREST, random_state=0)
    return clone(relabeler).set_params(**params)


@pytest.fixture(scope="module")
def series():
    return make_pixel_series(90, n_bands=3, n_years=3, period=12, random_state=0)


@pytest.fixture(scope="module")
def fitted(series):
    return quick().fit(series.X, series.y, label_time=series.label_time)


@pytest.fixture(scope="module")
def trained(series):
    """Log-odds of a change take a detector that is trained."""
    fitted = quick(detector__max_iter=150)
    return fitted.fit(series.X, series.y, label_time=series.label_time)


# What it is for


@pytest.mark.parametrize("name", ["disjoint", "anywhere"])
def test_defaults_relabel_real_series(cerrado, name):
    """The floors that the project holds itself to; the static label has 0 here."""
    data = cerrado(name)
    relabeler = StableSampleRelabeler(HTSVAEDetector(period=23), random_state=0)
    relabeler.fit(data.X, data.y, label_time=data.label_time)
    labels = relabeler.relabel(data.X, data.y, label_time=data.label_time)
    report = dated_label_report(data.Y, labels, data.y)
    assert report.accuracy > 0.975
    assert report.changed_date_accuracy > 0.945
    found = nearest_break(labels, data.label_time)
    assert break_within(data.break_at, found, 3) > 0.8
    # Probabilities mean what they say: the error over 15 bins of equal mass.
    held = dict(y=data.y, label_time=data.label_time)
    posterior = relabeler.predict_proba_timeline(data.X, **held)
    right = relabeler.classes_[posterior.argmax(axis=2)] == data.Y
    for dates in (np.ones_like(right), data.Y != data.y[:, None]):
        probability = posterior.max(axis=2)[dates]
        order = np.argsort(probability, kind="stable")
        away = np.array_split((probability - right[dates])[order], 15)
        assert sum(abs(each.sum()) for each in away) < 0.03 * len(order)


@pytest.mark.parametrize("case", ["20 labels a class, years differ", "20 % wrong"])
def test_defaults_hold_up_with_few_or_wrong_labels(cerrado, case):
    """Without unlabelled samples, aligned years or doubts of labels: 0.6 to 0.9."""
    data = cerrado("disjoint")
    X, y = data.X.copy(), data.y.astype(object)
    rng = np.random.default_rng(0)
    if case == "20 % wrong":
        wrong = rng.permutation(len(y))[:160]
        y[wrong] = np.where(y[wrong] == "Pasture", "Cerrado", "Pasture")
    else:
        X[:, :, 23:46] = 0.8 * X[:, :, 23:46] - 0.05
        X[:, :, 69:] = 1.2 * X[:, :, 69:] + 0.05
        known = [rng.choice(np.flatnonzero(y == k), 20, False) for k in np.unique(y)]
        y[np.setdiff1d(np.arange(len(y)), known)] = None
    relabeler = StableSampleRelabeler(HTSVAEDetector(period=23), random_state=0)
    labels = relabeler.fit(X, y, label_time=11).relabel(X, y, label_time=11)
    report = dated_label_report(data.Y, labels, data.y)
    assert report.accuracy > 0.97
    assert report.changed_date_accuracy > 0.95


def test_defaults_do_not_fall_below_a_forest_where_labels_hold_for_one_date(lakes):
    """One seed of the comparison in benchmarks/relabelling.py."""
    y = lakes.Y[:, 5]
    relabeler = StableSampleRelabeler(HTSVAEDetector(period=12), random_state=0)
    relabeler.fit(lakes.X, y, label_time=5)
    labels = relabeler.relabel(lakes.X, y)
    forest = RandomForestClassifier(random_state=0).fit(lakes.X[:, :, 5], y)
    by_month = [forest.predict(lakes.X[:, :, t]) for t in range(12)]
    assert relabeler.label_span_ == "date"
    assert (labels == lakes.Y).mean() > 0.9
    assert (labels == lakes.Y).mean() >= (np.stack(by_month, 1) == lakes.Y).mean()


def test_simulated_changes_are_found_with_gaps(series, trained):
    labels = trained.relabel(series.X, series.y, label_time=series.label_time)
    report = dated_label_report(series.Y, labels, series.y)
    static = (series.y[:, None] == series.Y).mean()
    assert report.accuracy > (1 + static) / 2
    assert report.changed_date_accuracy > 0.9


def test_unlabelled_series_are_predicted(series):
    old, new = slice(0, 60), slice(60, None)
    fitted = quick().fit(
        series.X[old], series.y[old], label_time=series.label_time[old]
    )
    predicted = fitted.predict_timeline(series.X[new])
    assert (predicted == series.Y[new]).mean() > 0.9
    times = series.label_time[new]
    assert fitted.score(series.X[new], series.y[new], label_time=times) > 0.9


def test_stable_samples_are_those_that_did_not_change(series, trained):
    stable = series.break_at < 0
    assert stable[trained.stable_mask_].mean() > 0.9
    assert trained.stable_mask_[stable].mean() > 0.5


def test_samples_without_a_score_are_not_called_stable(series):
    X = series.X.copy()
    X[3, :, 10:26] = np.nan  # around its label: nothing to compare with
    X[5, :, 2:] = np.nan
    fitted = quick(detector__reference="self")
    with pytest.warns(UserWarning, match="get no score"):
        fitted.fit(X, series.y, label_time=18)
    assert not fitted.stable_mask_[[3, 5]].any()
    assert fitted.stable_mask_.any()


def splice(changes, n=60, period=12, n_years=4, seed=0):
    """Series of three classes, n of each that stays and 20 of others.

    A change is a list of first dates and classes.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(n_years * period)
    phase = 2 * np.pi * t / period
    seasons = np.stack([np.sin(phase), np.cos(phase), 0.3 * np.sin(2 * phase) + 1])
    Y = np.zeros((0, len(t)), dtype=int)
    for course in changes:
        labels = np.zeros((n if len(course) == 1 else 20, len(t)), dtype=int)
        for first, label in course:
            labels[:, first:] = label
        Y = np.concatenate([Y, labels])
    X = np.stack([seasons[Y, t], 1 - seasons[Y, t]], axis=1)
    return X + 0.3 * rng.normal(size=X.shape), Y


@pytest.mark.parametrize(
    "course",
    [
        [(0, 1), (8, 0)],  # before the label
        [(0, 0), (34, 1)],  # after it
        [(0, 2), (10, 0), (38, 1)],  # both
        [(0, 0), (30, 1), (40, 0)],  # there and back
        [(0, 0), (26, 1)],  # within the labelled season
    ],
    ids=str,
)
def test_changes_of_every_kind_are_dated(course):
    """Among stable series of three classes, one of which never changes."""
    X, Y = splice([[(0, 0)], [(0, 1)], [(0, 2)], course])
    relabeler = quick(detector="drop", period=12).fit(X, Y[:, 22], label_time=22)
    labels = relabeler.relabel(X, Y[:, 22])
    assert (labels[180:] == Y[180:]).mean() > 0.93
    for first, _ in course[1:]:
        before, after = labels[180:, first - 3], labels[180:, first + 3]
        assert (before == Y[180, first - 3]).mean() > 0.5
        assert (after == Y[180, first + 3]).mean() > 0.5


def test_a_class_of_three_samples_is_not_lost():
    X, Y = splice([[(0, 0)], [(0, 1)], [(0, 2)], [(0, 0), (34, 2)]])
    keep = np.r_[:120, 120:123, 180:200]
    relabeler = quick(detector=HTSVAEDetector(period=12, max_iter=300))
    relabeler.fit(X[keep], Y[keep, 22], label_time=22)
    assert (relabeler.predict_timeline(X[123:180]) == 2).mean() > 0.7
    assert (relabeler.relabel(X[120:123], Y[120:123, 22]) == 2).mean() > 0.9


# Labels that are missing, wrong or doubtful


@pytest.mark.parametrize("reference", ["self", "any"])
def test_detector_that_tells_no_classes_does_not_vouch_for_wrong_labels(reference):
    """It would give back whatever label it was asked about."""
    X, Y = splice([[(0, 0)], [(0, 1)], [(0, 2)], [(0, 0), (34, 2)]])
    y = Y[:, 22].copy()
    wrong = np.random.default_rng(0).permutation(len(y))[: len(y) // 5]
    y[wrong] = (y[wrong] + 1) % 3
    accuracy = []
    blind = HTSVAEDetector(period=12, reference=reference, max_iter=20)
    for detector in ("drop", blind):
        relabeler = quick(detector=detector, period=12)
        labels = relabeler.fit(X, y, label_time=22).predict_timeline(X)
        accuracy.append((labels == Y).mean())
    assert accuracy[1] > accuracy[0] - 0.01 > 0.95


@pytest.mark.parametrize("missing", [None, np.nan])
def test_samples_without_a_label_are_predicted(series, missing):
    y = series.y.astype(object)
    y[::3] = missing
    relabeler = quick().fit(series.X, y, label_time=series.label_time)
    assert relabeler.classes_.tolist() == [0, 1, 2]
    assert not relabeler.stable_mask_[::3].any()
    labels = relabeler.relabel(series.X, y, label_time=series.label_time)
    predicted = relabeler.predict_timeline(series.X)
    np.testing.assert_array_equal(labels[::3], predicted[::3])
    share = relabeler.score(series.X, y, label_time=series.label_time)
    assert 0.8 < share <= 1
    rows = np.flatnonzero([label is not missing for label in y])
    np.testing.assert_array_equal(labels[rows, series.label_time[rows]], series.y[rows])
    X_new, y_new = relabeler.fit_resample(series.X, y, label_time=series.label_time)
    assert set(relabeler.sample_indices_) == set(range(90))
    assert len(X_new) == len(y_new)


@pytest.mark.parametrize("nothing", [-1, 999, np.nan, None])
def test_date_of_no_label_may_be_anything(series, nothing):
    y, expected = series.y.astype(object), quick(detector="drop", period=12)
    y[::3] = None
    expected.fit(series.X, y, label_time=series.label_time)
    times = series.label_time.astype(object)
    times[::3] = nothing
    if nothing is not None:
        times = np.array(times.tolist())
    relabeler = clone(expected).fit(series.X, y, label_time=times)
    found = relabeler.relabel(series.X, y, label_time=times)
    np.testing.assert_array_equal(
        found, expected.relabel(series.X, y, label_time=series.label_time)
    )
    share = relabeler.score(series.X, y, label_time=times)
    assert share == expected.score(series.X, y, label_time=series.label_time)
    for other in (np.where(y == 1, 999, series.label_time), times.astype(float) + 0.5):
        with pytest.raises((ValueError, TypeError), match="label_time"):
            clone(expected).fit(series.X, y, label_time=other)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_batch_without_any_label_is_predicted(series, fitted, missing):
    X, y = series.X[:4], [missing] * 4
    labels = fitted.relabel(X, y, label_time=3)
    np.testing.assert_array_equal(labels, fitted.predict_timeline(X))
    posterior = fitted.predict_proba_timeline(X, y, label_time=3)
    np.testing.assert_array_equal(posterior, fitted.predict_proba_timeline(X))
    assert np.isnan(fitted.score(X, y))
    with pytest.raises(ValueError, match="y holds no label"):
        quick().fit(X, y, label_time=3)


def test_doubtful_dates_get_no_label(series, fitted):
    X, y, times = series.X, series.y, series.label_time
    posterior = fitted.predict_proba_timeline(X, y, label_time=times)
    labels = fitted.relabel(X, y, label_time=times)
    chosen = np.take_along_axis(posterior, labels[:, :, None], axis=2)[:, :, 0]
    doubts = clone(fitted).set_params(abstain_below=0.9)
    doubts.fit(X, y, label_time=times)
    expected = np.where(chosen < 0.9, -1, labels)
    assert 0 < (expected == -1).mean() < 0.2
    np.testing.assert_array_equal(doubts.relabel(X, y, label_time=times), expected)
    assert (doubts.predict_timeline(X) == -1).any()
    # Nothing to learn from where there is no label.
    _, y_new = doubts.fit_resample(X, y, label_time=times)
    assert (y_new != -1).all()
    names = np.array(["crop", "forest", "water"])[y]
    named = doubts.fit(X, names, label_time=times).relabel(X, names, label_time=times)
    np.testing.assert_array_equal(named == "", expected == -1)


def test_no_label_must_not_be_a_class(series):
    y = np.where(series.y == 2, -1, series.y)
    assert (-1 == quick(switch_cost=1.0).fit(series.X, y).classes_).any()
    with pytest.raises(ValueError, match="no_label=-1 is one of the classes of y"):
        quick(abstain_below=0.5).fit(series.X, y)
    quick(abstain_below=0.5, no_label=-9, switch_cost=1.0).fit(series.X, y)
    with pytest.raises(ValueError, match="no_label='none' is not of the kind"):
        quick(abstain_below=0.5, no_label="none").fit(series.X, y)
    for other in (b"x", (1, 2)):
        with pytest.raises(ValueError, match="is not of the kind.*expected a number"):
            quick(abstain_below=0.5, no_label=other).fit(series.X, y)
    later = quick(detector="drop", switch_cost=1.0).fit(series.X, y)
    later.set_params(abstain_below=0.5)
    with pytest.raises(ValueError, match="no_label=-1 is one of the classes of y"):
        later.predict_timeline(series.X)


@pytest.mark.parametrize("kind", ["uint8", "int8", "float32", object])
def test_no_label_survives_labels_of_any_kind(series, kind):
    relabeler = quick(abstain_below=0.95, no_label=-999, detector__max_iter=5)
    y = series.y.astype(kind)
    X_new, y_new = relabeler.fit_resample(series.X, y, label_time=18)
    labels = relabeler.predict_timeline(series.X)
    assert set(np.unique(labels.astype(int))) == {-999, 0, 1, 2}
    assert set(np.unique(y_new.astype(int))) == {0, 1, 2}


def test_one_series_of_two_labels_is_told_of(series):
    X, y = series.X.copy(), series.y.copy()
    X[7] = X[3]
    y[3], y[7] = 0, 1
    with pytest.warns(UserWarning, match="Samples 3 and 7 are the same series"):
        quick(switch_cost=1.0, detector="drop").fit(X, y)
    X[[3, 7]] = np.nan  # nothing seen is not the same
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(switch_cost=1.0, detector="drop").fit(X, y)


def test_class_of_which_no_sample_is_stable_is_kept_and_told_of():
    X, Y = splice([[(0, 0)], [(0, 1)], [(0, 2), (26, 0)]])
    relabeler = quick(detector="drop", period=12)
    with pytest.warns(UserWarning, match="No sample of class 2 is stable"):
        relabeler.fit(X, Y[:, 20], label_time=20)
    labels = relabeler.relabel(X, Y[:, 20])
    assert (labels[120:, :24] == 2).mean() > 0.9


# What it promises


def test_label_is_held_at_its_date(series, fitted):
    rows = np.arange(len(series.X))
    for times in (series.label_time, np.zeros(len(rows), int), rows % 36):
        # Even a label that the series speaks against.
        y = np.roll(series.y, 1)
        labels = fitted.relabel(series.X, y, label_time=times)
        assert (labels[rows, times] == y).all()
        held = fitted.predict_proba_timeline(series.X, y, label_time=times)
        np.testing.assert_allclose(held[rows, times, y], 1)


def test_probabilities_agree_with_predictions(series, fitted):
    timeline = fitted.predict_proba_timeline(series.X)
    np.testing.assert_allclose(timeline.sum(axis=2), 1)
    assert timeline.shape == (*series.Y.shape, 3)
    for times in (7, series.label_time):
        at = np.broadcast_to(times, len(series.X))
        expected = timeline[np.arange(len(series.X)), at]
        found = fitted.predict_proba(series.X, label_time=times)
        np.testing.assert_array_equal(found, expected)
        predicted = fitted.predict(series.X, label_time=times)
        np.testing.assert_array_equal(predicted, fitted.classes_[found.argmax(1)])


def test_default_label_time_is_that_of_fit(series):
    relabeler = quick().fit(series.X, series.Y[:, 20], label_time=20)
    y = series.Y[:, 20]
    np.testing.assert_array_equal(
        relabeler.relabel(series.X, y), relabeler.relabel(series.X, y, label_time=20)
    )
    assert relabeler.score(series.X, y) == relabeler.score(series.X, y, label_time=20)


def test_default_label_time_that_may_be_wrong_is_told_of(series, fitted):
    X, y = series.X, series.y
    with pytest.warns(UserWarning, match="label_time was not given, and differed"):
        labels = fitted.relabel(X, y)
    assert (labels[:, fitted.label_time_] == y).all()
    with pytest.warns(UserWarning, match="label_time was not given, and differed"):
        fitted.predict_proba_timeline(X, y)
    dates = np.datetime64("2020-01-15") + 30 * np.arange(36)
    dated = quick(detector="drop", dates=dates).fit(X, y, label_time=18)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = dated.relabel(X, y, dates=dates.astype("datetime64[s]"))
        np.testing.assert_array_equal(same, dated.relabel(X, y))
        dated.relabel(X, y, dates=dates + 700, label_time=18)
    with pytest.raises(ValueError, match="dates are not those of fit.*index"):
        dated.relabel(X, y, dates=dates + 700)


def test_dates_are_refused_where_fit_had_none(series):
    X, y = 1 * series.X, series.Y[:, 5]
    X[:, :, 12:24] = 1.3 * X[:, :, 12:24] + 0.3  # there is something to bring in line
    relabeler = quick(detector="drop", period=12).fit(X, y, label_time=5)
    dates = np.datetime64("2020-01-15") + 30 * np.arange(36)
    with pytest.raises(ValueError, match="dates was given, but fit was without") as e:
        relabeler.predict_timeline(X, dates=dates)
    assert "detector" not in str(e.value)


def test_dates_of_one_day_keep_their_order():
    days = np.array(["2020-01-01", "2020-01-01", "2020-02-01"], dtype="M8[D]")
    gain = np.array([[1.5, 2.0, 3.0]])
    seasons = Seasons(3, days, 12, 3, 1, gain, np.zeros((1, 3)))
    for more, expected in (
        ([0, 1], [1.5, 2.0]),
        ([1, 2], [1.5, 3.0]),
        ([0, 1, 1, 2], [1.5, 2.0, 2.0, 3.0]),
    ):
        found, _ = seasons.gain_and_offset(len(more), days[more])
        np.testing.assert_array_equal(found, [expected])
    other = np.array(["2019-01-01", "2020-01-15", "2021-01-01"], dtype="M8[D]")
    np.testing.assert_array_equal(seasons.gain_and_offset(3, other)[0], [[1, 1, 1]])


def test_labels_of_one_sample_do_not_depend_on_the_others(series, fitted):
    order = np.random.default_rng(0).permutation(len(series.X))
    whole = fitted.relabel(series.X, series.y, label_time=series.label_time)
    part = fitted.relabel(
        series.X[order], series.y[order], label_time=series.label_time[order]
    )
    np.testing.assert_array_equal(part, whole[order])


def test_high_switch_cost_keeps_the_label_and_none_follows_the_evidence(series):
    y, times = series.y, series.label_time
    stubborn = quick(switch_cost=1e6).fit(series.X, y, label_time=times)
    assert (stubborn.relabel(series.X, y, label_time=times) == y[:, None]).all()
    assert stubborn.switch_cost_ == 1e6
    free = quick(switch_cost=0).fit(series.X, y, label_time=times)
    evidence = free.predict_proba_timeline(series.X)
    expected = free.classes_[evidence.argmax(axis=2)]
    agree = free.predict_timeline(series.X) == expected
    assert agree[~np.isnan(series.X).all(axis=1)].mean() > 0.99


def test_other_numbers_of_dates_may_be_relabelled(series, fitted):
    for n_timesteps in (3, 12, 30):
        X = series.X[:, :, :n_timesteps]
        assert fitted.relabel(X, series.y, label_time=1).shape == X[:, 0].shape
        assert fitted.predict(X).shape == (len(X),)


def test_label_under_a_cloud_still_trains(series):
    X = series.X.copy()
    X[:, :, 20] = np.nan
    y = series.Y[:, 20]
    for span in ("date", "season"):
        relabeler = quick(label_span=span).fit(X, y, label_time=20)
        assert (relabeler.relabel(X, y) == series.Y).mean() > 0.8


def test_fit_resample_gives_a_row_per_observed_date(series):
    relabeler = quick()
    X_new, y_new = relabeler.fit_resample(
        series.X, series.y, label_time=series.label_time
    )
    sample, date = relabeler.sample_indices_, relabeler.date_indices_
    seen = ~np.isnan(series.X).all(axis=1)
    assert len(X_new) == seen.sum() == len(y_new)
    np.testing.assert_array_equal(X_new[:, :3], series.X[sample, :, date])
    np.testing.assert_array_equal(X_new[:, 3], date % 12)
    labels = relabeler.relabel(series.X, series.y, label_time=series.label_time)
    np.testing.assert_array_equal(y_new, labels[sample, date])
    weight = relabeler.sample_weight_
    assert ((weight > 0) & (weight <= 1 + 1e-12)).all()
    assert (y_new == series.Y[sample, date])[weight > 0.99].mean() > 0.95


def test_fit_resample_takes_flat_series_and_tables(series):
    pd = pytest.importorskip("pandas")
    flat = series.X.reshape(90, -1)
    relabeler = quick(detector="drop", period=12, n_bands=3, switch_cost=2.0)
    for label_time in (series.label_time, 18):
        known = dict(y=series.y, label_time=label_time)
        expected = clone(relabeler).fit_resample(series.X, **known)
        for X in (flat, pd.DataFrame(flat).add_prefix("b")):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = clone(relabeler).fit_resample(X, **known)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


def test_fit_resample_without_label_time_keeps_the_labels_and_says_so(series):
    """All that imbalanced-learn's Pipeline calls without metadata routing."""
    relabeler = quick()
    with pytest.warns(UserWarning, match="every date keeps the label given"):
        _, y_new = relabeler.fit_resample(series.X, series.y)
    np.testing.assert_array_equal(y_new, series.y[relabeler.sample_indices_])
    assert (relabeler.sample_weight_ == 1).all()


def test_rows_feed_samplers_of_imbalanced_learn(series):
    pytest.importorskip("imblearn")
    from imblearn.over_sampling import SMOTE
    from imblearn.under_sampling import RandomUnderSampler

    relabeler, few = quick(detector="drop", period=12), series.y != 0
    few[np.flatnonzero(~few)[:10]] = True  # of class 0
    rows, labels = relabeler.fit_resample(
        series.X[few], series.y[few], label_time=series.label_time[few]
    )
    counts = np.bincount(labels)
    assert counts.max() > 1.5 * counts.min()
    fewer = RandomUnderSampler(random_state=0)
    _, balanced = fewer.fit_resample(rows, labels)
    assert (np.bincount(balanced) == counts.min()).all()
    # What is known of a row is found again.
    kept = fewer.sample_indices_
    Y = series.Y[few][relabeler.sample_indices_[kept], relabeler.date_indices_[kept]]
    assert (balanced == Y)[relabeler.sample_weight_[kept] > 0.99].mean() > 0.95
    _, balanced = SMOTE(random_state=0).fit_resample(rows, labels)
    assert (np.bincount(balanced) == counts.max()).all()


def test_pipeline_of_imbalanced_learn_trains_on_dated_labels(series):
    pytest.importorskip("imblearn")
    from imblearn.pipeline import Pipeline
    from imblearn.under_sampling import RandomUnderSampler

    X, y, label_time = series.X, series.y, series.label_time
    expected = quick(detector="drop", period=12)
    rows, labels = expected.fit_resample(X, y, label_time=label_time)
    sampler = RandomUnderSampler(random_state=0)
    forest = RandomForestClassifier(n_estimators=30, random_state=0)
    by_hand = clone(forest).fit(*sampler.fit_resample(rows, labels))

    steps = [("relabel", clone(expected)), ("sample", sampler), ("classify", forest)]
    pipeline = clone(Pipeline(steps))
    with pytest.warns(UserWarning, match="with metadata routing only"):
        pipeline.fit(X, y, relabel__label_time=label_time)  # and it does not arrive
    with config_context(enable_metadata_routing=True):
        pipeline = clone(Pipeline(steps))
        pipeline[0].set_fit_request(label_time=True)
        pipeline[0].set_fit_resample_request(label_time=True)
        pipeline.fit(X, y, label_time=label_time)
    # In predict the samplers are left out: it takes rows of dates, not series.
    np.testing.assert_array_equal(
        pipeline.predict_proba(rows), by_hand.predict_proba(rows)
    )


def test_changes_that_cannot_be_are_not_given():
    X, Y = splice([[(0, 0)], [(0, 1)], [(0, 2)], [(0, 0), (34, 1)]])
    cost = np.full((3, 3), 5.0)
    np.fill_diagonal(cost, 0)
    cost[0, 1] = np.inf
    relabeler = quick(detector="drop", period=12, switch_cost=cost)
    relabeler.fit(X, Y[:, 22], label_time=22)
    labels = relabeler.relabel(X, Y[:, 22])
    assert not ((labels[:, :-1] == 0) & (labels[:, 1:] == 1)).any()
    np.testing.assert_array_equal(relabeler.switch_cost_, cost)
    with pytest.raises(ValueError, match=r"shape \(2, 2\); expected .*\(3, 3\)"):
        quick(switch_cost=[[0, 1], [1, 0]]).fit(X, Y[:, 22])


class Counted(HTSVAEDetector):
    """Leaves a mark in its folder whenever it is fitted."""

    def fit(self, X, y=None, *, label_time=None, groups=None):
        with Path(self.checkpoint_dir, "fits").open("a") as file:
            file.write("x")
        return super().fit(X, y, label_time=label_time, groups=groups)


def test_a_detector_is_fitted_once_for_all_classifiers(series, tmp_path):
    detector = Counted(period=12, max_iter=5, checkpoint_dir=str(tmp_path))
    fits = tmp_path / "fits"
    memory = str(tmp_path / "kept")
    found = []
    for classifier in (FOREST, GaussianNB(), "drop"):
        relabeler = quick(detector=detector, classifier=classifier, memory=memory)
        relabeler.fit(series.X, series.y, label_time=18)
        found.append(relabeler.detector_.score_timesteps(series.X))
    assert fits.read_text() == "x"
    np.testing.assert_array_equal(found[0], found[2])
    relabeler.fit(series.X[:60], series.y[:60], label_time=18)
    assert fits.read_text() == "xx"


def test_groups_are_held_out_together_everywhere(series):
    seen = []
    groups = np.arange(len(series.X)) // 10

    class Spy(GaussianNB):
        def fit(self, X, y):
            known = X[~np.isnan(X[:, 0]), 0]
            seen.append(set(np.flatnonzero(np.isin(series.X[:, 0], known).any(axis=1))))
            return super().fit(X, y)

    class Detector(HTSVAEDetector):
        def fit(self, X, y=None, *, label_time=None, groups=None):
            self.groups_ = groups
            return super().fit(X, y, label_time=label_time)

    relabeler = quick(
        detector=Detector(period=12, max_iter=5, align_years=False),
        classifier="drop",
        date_classifier=Spy(),
    )
    relabeler.fit(series.X, series.y, label_time=18, groups=groups)
    np.testing.assert_array_equal(relabeler.detector_.groups_, groups)
    assert len(seen) > 3
    for samples in seen[:-1]:  # in the last all take part
        assert 0 < len(set(groups[list(samples)])) < 9
    with pytest.raises(ValueError, match=r"groups has shape \(3,\)"):
        quick().fit(series.X, series.y, groups=[1, 2, 3])


# Without a detector


def test_without_a_detector_few_changes_are_called_stable():
    # So many that another forest's draws move the shares by little.
    series = make_pixel_series(270, n_bands=3, n_years=3, period=12, random_state=0)
    relabeler = quick(detector="drop", period=12)
    relabeler.fit(series.X, series.y, label_time=series.label_time)
    labels = relabeler.relabel(series.X, series.y, label_time=series.label_time)
    report = dated_label_report(series.Y, labels, series.y)
    assert report.changed_date_accuracy > 0.9
    # Every second sample changes, and without a detector one in eight is overlooked.
    stable = series.break_at < 0
    assert stable[relabeler.stable_mask_].mean() > 0.8
    assert relabeler.stable_mask_[stable].mean() > 0.5


def test_without_a_detector_the_calendar_is_the_relabelers(series):
    relabeler = quick(detector="drop", period=12)
    relabeler.fit(series.X, series.y, label_time=series.label_time)
    assert relabeler.detector_ is None
    flat = quick(detector="drop", period=12, n_bands=3)
    flat.fit(series.X.reshape(90, -1), series.y, label_time=series.label_time)
    np.testing.assert_array_equal(
        flat.predict_timeline(series.X.reshape(90, -1)),
        relabeler.predict_timeline(series.X),
    )


def test_calendar_of_the_default_detector(series):
    relabeler = StableSampleRelabeler(None, FOREST, FOREST, period=12, random_state=0)
    relabeler.detector = None
    assert relabeler._detector().period == 12
    with pytest.raises(ValueError, match="period=6, but the detector has period=12"):
        quick(period=6).fit(series.X, series.y)
    assert quick(period=12)._detector().period == 12


# The user's own classifiers


class NearestSeason(ClassifierMixin, BaseEstimator):
    """A classifier of time series, which takes no rows."""

    def fit(self, X, y):
        assert X.ndim == 3 and not np.isnan(X).any()
        self.classes_ = np.unique(y)
        self.means_ = np.stack([X[y == k].mean(axis=0) for k in self.classes_])
        return self

    def predict(self, X):
        away = np.square(X[:, None] - self.means_).sum(axis=(2, 3))
        return self.classes_[away.argmin(axis=1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array, tags.input_tags.two_d_array = True, False
        return tags


def test_classifiers_of_series_get_windows_as_series(series):
    relabeler = quick(classifier=NearestSeason())
    relabeler.fit(series.X, series.y, label_time=series.label_time)
    assert relabeler.classifier_[-1].means_.shape == (3, 3, 12)
    labels = relabeler.relabel(series.X, series.y, label_time=series.label_time)
    assert (labels == series.Y).mean() > (series.y[:, None] == series.Y).mean()
    with pytest.raises(ValueError, match="date_classifier=.*pass it as classifier"):
        quick(date_classifier=NearestSeason()).fit(series.X, series.y)


@pytest.mark.parametrize(
    "classifier",
    [
        KNeighborsClassifier(),
        GaussianNB(),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_any_classifier_can_be_swapped_in(series, classifier):
    relabeler = quick(classifier=classifier, date_classifier=classifier)
    relabeler.fit(series.X, series.y, label_time=series.label_time)
    labels = relabeler.relabel(series.X, series.y, label_time=series.label_time)
    assert (labels == series.Y).mean() > (series.y[:, None] == series.Y).mean()


class Strict(ClassifierMixin, BaseEstimator):
    """Wants classes 0, 1, ... without gaps, and two at least, as many learners do."""

    def __init__(self, votes=False):
        self.votes = votes

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        assert len(self.classes_) > 1
        np.testing.assert_array_equal(self.classes_, np.arange(len(self.classes_)))
        self.trees_ = RandomForestClassifier(10, random_state=0).fit(X, y)
        if not self.votes:
            self.predict_proba = self.trees_.predict_proba
        return self

    def predict(self, X):
        return self.trees_.predict(X).astype(np.float32)


@pytest.mark.filterwarnings("ignore:No sample of class")
@pytest.mark.parametrize("votes", [False, True])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_every_classifier_trains_on_few_samples_some_of_them_wrong(series, n, votes):
    """What is held out leaves classes that no row shows."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        rows = [rng.permutation(np.flatnonzero(series.y == k))[:n] for k in range(3)]
        rows = np.concatenate(rows)
        y = series.y[rows].copy()
        y[[0, n]] = (y[[0, n]] + 1) % 3
        strict = Strict(votes)
        relabeler = quick(
            detector="drop", period=12, classifier=strict, date_classifier=strict
        )
        relabeler.fit(series.X[rows], y, label_time=series.label_time[rows])
        assert set(np.unique(relabeler.predict_timeline(series.X))) <= {0, 1, 2}


def test_class_without_observations_takes_no_place_of_another():
    X, Y = splice([[(0, 0)], [(0, 1)], [(0, 2)]])
    X[Y[:, 0] == 1] = np.nan
    for votes in (False, True):
        strict = Strict(votes)
        relabeler = quick(
            detector="drop", period=12, classifier=strict, date_classifier=strict
        )
        with pytest.warns(UserWarning, match="No sample of class 1"):
            relabeler.fit(X, Y[:, 22], label_time=22)
        seen = Y[:, 0] != 1
        assert (relabeler.predict_timeline(X[seen]) == Y[seen]).mean() > 0.95
        assert relabeler.classifier_.classes_.tolist() == [0, 2]


def test_labelled_season_without_observations_trains_on_the_nearest_dates():
    X, Y = splice([[(0, 0)], [(0, 1)], [(0, 2)]])
    X[:, :, :20] = np.nan
    relabeler = quick(detector="drop", period=12).fit(X, Y[:, 5], label_time=5)
    assert (relabeler.predict_timeline(X)[:, 20] == Y[:, 20]).mean() > 0.5
    with pytest.raises(ValueError, match="X shows fewer than 2 classes.*label_time"):
        quick(detector="drop", period=12).fit(X * np.nan, Y[:, 5], label_time=5)
    relabeler = quick(detector="drop", period=12, date_classifier="drop")
    with pytest.raises(ValueError, match="X shows fewer than 2 classes.*label_time"):
        relabeler.fit(X, Y[:, 5], label_time=5)


def test_classifier_frozen_with_labels_of_its_own_is_refused(series):
    rows = np.zeros((4, 4))
    frozen = FrozenEstimator(GaussianNB().fit(rows, list("aabb")))
    relabeler = quick(detector="drop", period=12, date_classifier=frozen)
    with pytest.raises(ValueError, match="date_classifier=.*labels.*class numbers"):
        relabeler.fit(series.X, series.y, label_time=18)


def test_windows_that_do_not_show_a_label_are_not_trained_on():
    seasons = Seasons.resolve(36, period=12, dates=None, stride=1)
    times = np.arange(36)
    data = Labelled(np.zeros((36, 1, 36)), seasons, times * 0, times, None, {})
    of_windows, _ = data.known("labelled season", times >= 0)
    np.testing.assert_array_equal(of_windows == 0, data.windowing.near(times))
    # However far apart windows start, each label has its nearest.
    data.windowing = data.windowing.with_stride(12)
    of_windows, _ = data.known("date", times >= 0)
    assert (of_windows == 0).any(axis=1).all()


def test_classifier_without_probabilities_votes(series):
    relabeler = quick(classifier=make_pipeline(StandardScaler(), LinearSVC()))
    relabeler.fit(series.X, series.y, label_time=series.label_time)
    labels = relabeler.relabel(series.X, series.y, label_time=series.label_time)
    assert (labels == series.Y).mean() > (series.y[:, None] == series.Y).mean()


def test_dropped_classifiers_are_left_out(series):
    X, y, times = series.X, series.y, series.label_time
    relabeler = quick(classifier="drop").fit(X, y, label_time=times)
    assert relabeler.classifier_ is None
    assert relabeler.date_classifier_ is not None
    relabeler = quick(date_classifier="drop").fit(X, y, label_time=times)
    assert relabeler.date_classifier_ is None
    assert (relabeler.relabel(X, y, label_time=times) == series.Y).mean() > 0.8
    with pytest.raises(ValueError, match="leave nothing to classify with"):
        quick(classifier="drop", date_classifier="drop").fit(X, y, label_time=times)


def test_classifiers_see_aligned_windows_and_dates():
    """A window's row is its bands slot by slot, a date's row its bands and slot."""
    X = np.arange(2 * 2 * 7, dtype=float).reshape(2, 2, 7)
    X[0, :, 3] = np.nan
    X[1, 0, 2] = np.nan
    calendar = Calendar.regular(7, period=4)
    rows, date = date_rows(X, calendar, np.ones((2, 7), dtype=bool))
    assert len(date) == 13
    for features, i, t in zip(rows.features, rows.sample, date, strict=True):
        np.testing.assert_array_equal(features, [*X[i, :, t], t % 4])
    cells = window_cells(window_starts(7, 4), 4, calendar)
    rows, window = window_rows(X, calendar, cells, np.ones((2, 4), dtype=bool))
    for features, i, w in zip(rows.features, rows.sample, window, strict=True):
        expected = np.empty((2, 4))
        for t in range(w, w + 4):
            expected[:, t % 4] = X[i, :, t]
        np.testing.assert_array_equal(features, expected.ravel())


def test_probabilities_of_classes_a_classifier_never_saw_are_zero():
    classifier = GaussianNB().fit([[0.0], [1.0], [5.0], [6.0]], [1, 1, 3, 3])
    found = class_probability(classifier, np.array([[0.5], [5.5]]), 4)
    np.testing.assert_allclose(found, [[0, 1, 0, 0], [0, 0, 0, 1]], atol=1e-6)


def test_probabilities_may_come_as_a_data_frame():
    """Else classifiers that are set to give pandas output cannot be used."""
    pandas = pytest.importorskip("pandas")

    class Framed(GaussianNB):
        def predict_proba(self, X):
            return pandas.DataFrame(super().predict_proba(X))

    X = np.array([[0.0], [1.0], [5.0], [6.0]])
    for y in ([0, 0, 1, 1], [0, 0, 2, 2]):
        found = class_probability(Framed().fit(X, y), X, 3)
        np.testing.assert_allclose(found, np.eye(3)[y], atol=1e-4)


def test_score_leaves_out_what_samples_without_a_label_weigh(series, fitted):
    """Else a column of weights with gaps has to be filled with what has no effect."""
    y = series.y.astype(object)
    y[:30] = None
    times = series.label_time
    weight = np.linspace(1, 2, len(y))
    weight[:30] = np.nan
    found = fitted.score(series.X, y, weight, label_time=times)
    right = fitted.predict(series.X, label_time=times) == series.y
    assert found == pytest.approx(np.average(right[30:], weights=weight[30:]))
    weight[30:] = 0
    with pytest.raises(ValueError, match="^sample_weight must be"):
        fitted.score(series.X, y, weight, label_time=times)
    with pytest.raises(ValueError, match="sample_weight has shape"):
        fitted.score(series.X, y, weight[1:], label_time=times)


def test_weights_per_sample_reach_every_row_of_the_sample(series):
    seen = {}

    class Spy(GaussianNB):
        def fit(self, X, y, sample_weight=None):
            seen["weight"] = sample_weight
            seen["slot"] = X[:, -1]
            return super().fit(X, y, sample_weight)

    weight = np.arange(len(series.X), dtype=float)
    relabeler = quick(
        classifier="drop", date_classifier=Spy(), label_span="date", switch_cost=1.0
    )
    relabeler.fit(
        series.X, series.y, label_time=series.label_time, sample_weight=weight
    )
    # One row per sample here: the observed dates nearest to its label.
    assert set(seen["weight"]) == set(weight)


def test_detector_of_another_kind_is_refused(series):
    class Other(BaseEstimator):
        def fit(self, X, y=None, *, label_time=None):
            raise AssertionError("trained")

        def predict_timesteps(self, X, y=None, *, label_time=None):
            """What it takes is more than that."""

    for detector in (Other(), FrozenEstimator(Other())):
        with pytest.raises(ValueError, match="The 'detector' parameter .* '_scorer'"):
            quick(detector=detector).fit(series.X, series.y)


def test_frozen_detector_is_used_as_it_is(series):
    detector = HTSVAEDetector(period=12, max_iter=40, random_state=3)
    detector.fit(series.X, series.y, label_time=series.label_time)
    relabeler = quick(detector=FrozenEstimator(detector))
    relabeler.fit(series.X, series.y, label_time=series.label_time)
    assert relabeler.detector_ is detector


def test_frozen_detector_of_flat_series_is_used_on_flat_series(series):
    flat = series.X.reshape(len(series.X), -1)
    detector = HTSVAEDetector(period=12, n_bands=3, max_iter=20, random_state=0)
    detector.fit(flat, series.y, label_time=18)
    relabeler = quick(detector=FrozenEstimator(detector))
    relabeler.fit(flat, series.y, label_time=18)
    assert relabeler.relabel(flat, series.y).shape == series.Y.shape


def test_two_samples_per_class_are_enough(series):
    order = np.argsort(series.y, kind="stable")
    rows = np.r_[order[:2], order[-2:]]
    relabeler = quick().fit(series.X[rows], series.y[rows], label_time=5)
    assert relabeler.relabel(series.X, series.y[rows][[0] * 90]).shape == (90, 36)


# Search and routing


def search_space():
    return Pipeline([("scale", BandScaler()), ("relabel", quick())]), {
        "relabel__detector__temporal_latent_size": [2, 4],
        "relabel__classifier": [KNeighborsClassifier(), FOREST],
    }


def test_grid_search_over_latent_size_and_classifiers(series):
    pipeline, grid = search_space()
    y = series.Y[:, 18]
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise")
    search.fit(series.X, y, relabel__label_time=18)
    assert search.best_score_ > 0.8
    assert search.best_estimator_[-1].label_time_ == 18
    assert search.predict(series.X).shape == y.shape


def test_grid_search_routes_a_label_time_per_sample(series):
    with config_context(enable_metadata_routing=True):
        pipeline, grid = search_space()
        pipeline[-1].set_fit_request(label_time=True)
        pipeline[-1].set_predict_request(label_time=True)
        search = GridSearchCV(
            pipeline,
            grid,
            cv=2,
            n_jobs=2,
            error_score="raise",
            scoring=label_time_accuracy,
        )
        search.fit(series.X, series.y, label_time=series.label_time)
        assert search.best_score_ > 0.8


def test_routing_sends_weights_to_the_classifier_that_asks(series):
    seen = {}

    class Spy(GaussianNB):
        def fit(self, X, y, sample_weight=None):
            seen["weight"] = sample_weight
            return super().fit(X, y, sample_weight)

    with config_context(enable_metadata_routing=True):
        relabeler = quick(
            classifier=GaussianNB().set_fit_request(sample_weight=False),
            date_classifier=Spy().set_fit_request(sample_weight=True),
        )
        relabeler.fit(
            series.X, series.y, label_time=18, sample_weight=np.ones(len(series.X))
        )
        assert (seen["weight"] == 1).all()


# Bad input


def test_bad_input_is_named(series, fitted):
    X, y = series.X, series.y
    with pytest.raises(ValueError, match="one class 0.*at least 2"):
        quick().fit(X, np.zeros(len(X), int))
    with pytest.raises(ValueError, match="labels that fit did not see.*9"):
        fitted.relabel(X[:2], [0, 9], label_time=3)
    with pytest.raises(ValueError, match="label_time lies outside the series"):
        fitted.relabel(X, y, label_time=36)
    with pytest.raises(ValueError, match="y has 5 labels"):
        fitted.relabel(X, y[:5], label_time=3)
    with pytest.raises(ValueError, match="label_time=None, and fit was given none"):
        quick().fit(X, y).relabel(X, y)
    with pytest.raises(ValueError, match="switch_cost"):
        quick(switch_cost=-1).fit(X, y)
    with pytest.raises(ValueError, match="classifier"):
        quick(classifier="forest").fit(X, y)


def test_failed_fit_leaves_the_estimator_unfitted(series):
    relabeler = quick(detector=HTSVAEDetector(window_length=99, period=100))
    with pytest.raises(ValueError, match="longer than the series"):
        relabeler.fit(series.X, series.y)
    with pytest.raises(ValueError, match="not fitted"):
        relabeler.predict(series.X)
