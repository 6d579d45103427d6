"""Without these: labels that ignore the change, the label, or the user's choices."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
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
from sktasgen.metrics import (
    break_within,
    dated_label_report,
    label_time_accuracy,
    nearest_break,
)
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


def test_simulated_changes_are_found_with_gaps(series, fitted):
    labels = fitted.relabel(series.X, series.y, label_time=series.label_time)
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


def test_stable_samples_are_those_that_did_not_change(series):
    # Log-odds of a change take a detector that is trained.
    fitted = quick(detector__max_iter=150)
    fitted.fit(series.X, series.y, label_time=series.label_time)
    stable = series.break_at < 0
    assert stable[fitted.stable_mask_].mean() > 0.9
    assert fitted.stable_mask_[stable].mean() > 0.5


def test_samples_without_a_score_are_not_called_stable(series):
    X = series.X.copy()
    X[3, :, 10:26] = np.nan  # around its label: nothing to compare with
    X[5, :, 2:] = np.nan
    fitted = quick(detector__reference="self")
    with pytest.warns(UserWarning, match="get no score"):
        fitted.fit(X, series.y, label_time=18)
    assert not fitted.stable_mask_[[3, 5]].any()
    assert fitted.stable_mask_.any()


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


def test_fit_resample_without_label_time_keeps_the_labels(series):
    """All that imbalanced-learn's Pipeline can call."""
    relabeler = quick()
    _, y_new = relabeler.fit_resample(series.X, series.y)
    np.testing.assert_array_equal(y_new, series.y[relabeler.sample_indices_])
    assert (relabeler.sample_weight_ == 1).all()


# The user's own classifiers


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
