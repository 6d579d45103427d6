"""Figures of dated labels, breaks, detection and areas; scorers that use the dates."""

import pickle

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    zero_one_loss,
)
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline

from sktasgen import metrics
from tests import reference

rng = np.random.default_rng(0)

# Dated labels -----------------------------------------------------------------

STATIC = np.array([0, 1, 2])
TRUE = np.array([[0, 0, 0, 1], [1, 1, 1, 1], [2, 2, 0, 0]])
PRED = np.array([[0, 0, 0, 0], [1, 1, 2, 1], [2, 0, 0, 0]])

LABEL_TYPES = {
    "int": lambda Y: Y,
    "uint8": lambda Y: Y.astype(np.uint8),
    "float": lambda Y: Y.astype(float),
    "str": lambda Y: np.array(["crop", "forest", "water"])[Y],
    "object": lambda Y: np.array(["crop", "forest", "water"], dtype=object)[Y],
    "int objects": lambda Y: Y.astype(object),
}


@pytest.mark.parametrize("label_type", LABEL_TYPES)
def test_report_is_scikit_learns_figures_over_all_dates(label_type):
    true, pred, static = map(LABEL_TYPES[label_type], (TRUE, PRED, STATIC))
    report = metrics.dated_label_report(true, pred, static)
    assert report.accuracy == metrics.timeline_accuracy(true, pred) == 9 / 12
    assert report.kappa == cohen_kappa_score(TRUE.ravel(), PRED.ravel())
    f1 = f1_score(TRUE.ravel(), PRED.ravel(), average="macro")
    assert report.f1_macro == f1
    # Changed dates: one of sample 0 (missed), two of sample 2 (found).
    assert report.changed_date_accuracy == 2 / 3
    assert metrics.changed_date_accuracy(true, pred, static) == 2 / 3
    assert (report.n_dates, report.n_changed_dates) == (12, 3)


def test_bool_labels():
    report = metrics.dated_label_report(TRUE > 0, PRED > 0, STATIC > 0)
    assert report.accuracy == np.mean((TRUE > 0) == (PRED > 0))


def test_the_static_label_scores_0_on_changed_dates_and_the_truth_1():
    static = np.broadcast_to(STATIC[:, np.newaxis], TRUE.shape)
    assert metrics.changed_date_accuracy(TRUE, static, STATIC) == 0
    assert metrics.changed_date_accuracy(TRUE, TRUE, STATIC) == 1
    assert np.isnan(metrics.changed_date_accuracy(static, static, STATIC))


@pytest.mark.parametrize("gap", ["None", "NaN", "NA", "mask"])
def test_dates_without_a_true_label_do_not_count(gap):
    labelled = rng.random(TRUE.shape) < 0.6
    wanted = metrics.dated_label_report(TRUE, PRED, STATIC, mask=labelled)
    assert wanted.accuracy == accuracy_score(TRUE[labelled], PRED[labelled])
    mask = None
    if gap == "mask":
        true, mask = np.where(labelled, TRUE, 99), labelled.astype(int)
    elif gap == "NaN":
        true = np.where(labelled, TRUE, np.nan)
    else:
        hole = pytest.importorskip("pandas").NA if gap == "NA" else None
        true = np.where(labelled, TRUE.astype(object), hole)
    assert metrics.dated_label_report(true, PRED, STATIC, mask=mask) == wanted


def test_samples_without_a_static_label_have_no_changed_dates():
    static = np.array([0, 1, None], dtype=object)
    report = metrics.dated_label_report(TRUE, PRED, static)
    assert (report.n_dates, report.n_changed_dates) == (12, 1)
    nothing = metrics.dated_label_report(TRUE, PRED, [None] * 3)
    assert np.isnan(nothing.changed_date_accuracy)


def test_kappa_of_a_single_class_is_undefined_and_silent(recwarn):
    report = metrics.dated_label_report([["a", "a"]], [["a", "a"]], ["a"])
    assert np.isnan(report.kappa) and report.accuracy == 1
    assert not recwarn.list


@pytest.mark.parametrize(
    ("Y_true", "Y_pred", "y", "mask", "message"),
    [
        (TRUE[0], PRED, STATIC, None, "Y_true has 1 dimensions"),
        (TRUE, PRED[:, :3], STATIC, None, "Y_pred has shape"),
        (TRUE, PRED, STATIC[:2], None, "y has shape"),
        (TRUE, PRED, STATIC, [True] * 4, "mask has shape"),
        (TRUE, PRED, STATIC, TRUE, "mask must be bool"),
        (TRUE, PRED, STATIC, TRUE < 0, "No date counts"),
        (TRUE, np.where(PRED == 2, np.nan, PRED), STATIC, None, "no label on 2 of"),
        (TRUE, PRED, ["a", "b", "c"], None, "Mix of label input types"),
    ],
)
def test_bad_timelines_are_refused_by_name(Y_true, Y_pred, y, mask, message):
    with pytest.raises(ValueError, match=message):
        metrics.dated_label_report(Y_true, Y_pred, y, mask=mask)


# Changes and breaks -----------------------------------------------------------

timelines = st.integers(1, 8).flatmap(
    lambda n_timesteps: st.lists(
        st.lists(
            st.sampled_from(["a", "b", "c", None]),
            min_size=n_timesteps,
            max_size=n_timesteps,
        ),
        min_size=1,
        max_size=5,
    )
)


@given(timelines)
@settings(deadline=None)
def test_change_dates_walk_the_timelines(Y):
    found = metrics.change_dates(Y)
    assert list(zip(*found, strict=True)) == reference.change_dates(Y)


def test_change_dates_pass_over_gaps_and_do_not_cross_samples():
    changes = metrics.change_dates(
        [[1.0, np.nan, np.nan, 2.0], [2.0, 1.0, np.nan, 1.0]]
    )
    assert_array_equal(changes.sample, [0, 1])
    assert_array_equal(changes.date, [3, 1])
    assert_array_equal(changes.from_label, [1, 2])
    assert_array_equal(changes.to_label, [2, 1])
    with pytest.raises(ValueError, match="Y has 1 dimensions"):
        metrics.change_dates([1, 2])


@given(timelines, st.data())
@settings(deadline=None)
def test_nearest_break_is_the_change_nearest_the_label(Y, data):
    time = st.integers(0, len(Y[0]) - 1)
    label_time = data.draw(st.lists(time, min_size=len(Y), max_size=len(Y)))
    wanted = [
        reference.nearest_break(*pair) for pair in zip(Y, label_time, strict=True)
    ]
    assert_array_equal(metrics.nearest_break(Y, label_time), wanted)


def test_nearest_break_refuses_a_label_time_that_does_not_fit():
    for label_time, error in [(4, ValueError), ([0, 1], ValueError), (None, TypeError)]:
        with pytest.raises(error, match="label_time"):
            metrics.nearest_break(TRUE, label_time)


@pytest.mark.parametrize("name", ["disjoint", "anywhere"])
def test_breaks_of_real_series_are_those_their_maker_wrote_down(name, cerrado):
    data = cerrado(name)
    breaks = metrics.nearest_break(data.Y, data.label_time)
    assert_array_equal(breaks, data.break_at)
    assert metrics.break_within(data.break_at, breaks, 0) == 1
    static = np.broadcast_to(data.y[:, np.newaxis], data.Y.shape)
    # The static label's accuracy is known to three digits.
    known = {"disjoint": 0.778, "anywhere": 0.827}[name]
    assert round(metrics.timeline_accuracy(data.Y, static), 3) == known
    assert metrics.changed_date_accuracy(data.Y, static, data.y) == 0


def test_break_errors_by_hand():
    true = np.array([10, 20, 30, 40, -1, -1, -1, -1])
    pred = np.array([12, 19, 37, -1, -1, -1, -1, 0])
    error = metrics.break_date_error(true, pred)
    assert error.median_error == 2  # of 2, -1, 7
    assert error.median_absolute_error == 2
    assert error.missed_share == 1 / 4
    assert error.false_share == 1 / 4
    assert [metrics.break_within(true, pred, k) for k in (0, 1, 2, 7)] == [
        0,
        1 / 4,
        2 / 4,
        3 / 4,  # the missed one never counts
    ]
    for k in (2, 2.0, np.array(2), np.float32(2.5)):
        assert metrics.break_within(true, pred, k) == 2 / 4
    assert metrics.break_within(true, pred, np.inf) == 3 / 4
    # A missed break near the first date is not "found" by its -1.
    assert metrics.break_within([0], [-1], 3) == 0
    # Unsigned indices do not wrap around.
    early = metrics.break_date_error(np.array([5], np.uint8), np.array([3], np.uint8))
    assert early.median_error == -2


def test_undefined_break_figures_are_nan_and_silent(recwarn):
    assert np.isnan(metrics.break_within([-1], [3], 1))
    none_found = metrics.break_date_error([4], [-1])
    assert np.isnan(none_found.median_error) and np.isnan(none_found.false_share)
    assert np.isnan(metrics.break_date_error([-1], [-1]).missed_share)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("true", "pred", "error", "message"),
    [
        ([1], [1, 2], ValueError, "break_true has 1 samples, break_pred 2"),
        ([[1]], [[1]], ValueError, "break_true has 2 dimensions"),
        ([1], [np.nan], TypeError, "break_pred must be integers"),
        ([-2], [1], ValueError, "break_true has -2"),
    ],
)
def test_bad_breaks_are_refused_by_name(true, pred, error, message):
    for function in (
        metrics.break_date_error,
        lambda t, p: metrics.break_within(t, p, 1),
    ):
        with pytest.raises(error, match=message):
            function(true, pred)


# Detection and attribution ----------------------------------------------------


def pairs_won(truth, scores):
    """AUROC as the chance that a changed one outranks an unchanged one."""
    above, below = scores[truth], scores[~truth]
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    return wins.mean()


def mean_precision(truth, scores):
    """Average precision from the ranking, for scores without ties."""
    hits = truth[np.argsort(-scores)]
    return (np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean()


def test_detection_scores_by_date_and_by_sample():
    changed = rng.random((30, 12)) < 0.1
    scores = rng.normal(size=changed.shape) + changed
    scores[rng.random(scores.shape) < 0.3] = np.nan
    scores[3] = np.nan
    report = metrics.timestep_detection_scores(changed, scores)
    seen = ~np.isnan(scores)
    assert_allclose(report.auroc, pairs_won(changed[seen], scores[seen]))
    assert_allclose(
        report.average_precision, mean_precision(changed[seen], scores[seen])
    )
    samples = [i for i in range(30) if i != 3]
    highest = np.array([np.nanmax(scores[i]) for i in samples])
    any_changed = np.array([any(changed[i]) for i in samples])
    assert_allclose(report.sample_auroc, pairs_won(any_changed, highest))
    assert_allclose(
        report.sample_average_precision, mean_precision(any_changed, highest)
    )


def test_attribution_over_observed_cells_only():
    truth = rng.random((5, 3, 8)) < 0.2
    probabilities = rng.random(truth.shape)
    seen = rng.random(truth.shape) < 0.7
    assert_allclose(
        metrics.cell_attribution_ap(truth, np.where(seen, probabilities, np.nan)),
        mean_precision(truth[seen], probabilities[seen]),
    )
    assert metrics.cell_attribution_ap(truth, truth.astype(float)) == 1


def test_undefined_ranking_figures_are_nan_and_silent(recwarn):
    scores = np.array([[0.1, 0.2]])
    nothing = metrics.timestep_detection_scores([[False, False]], scores)
    assert np.isnan(list(nothing.values())).all()
    everything = metrics.timestep_detection_scores([[True, True]], scores)
    assert np.isnan(everything.auroc) and everything.average_precision == 1
    unobserved = metrics.timestep_detection_scores([[True, False]], scores * np.nan)
    assert np.isnan(list(unobserved.values())).all()
    assert np.isnan(metrics.cell_attribution_ap([[[False]]], [[[0.5]]]))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        ([[True]], [[0.1, 0.2]], "changed has shape"),
        ([[True, False]], [[0.1, np.inf]], "scores contains infinity"),
        ([[0.0, np.nan]], [[0.1, 0.2]], "changed must be bool"),
        ([True, False], [0.1, 0.2], "scores has 1 dimensions; expected 2"),
    ],
)
def test_bad_detections_are_refused_by_name(truth, scores, message):
    with pytest.raises(ValueError, match=message):
        metrics.timestep_detection_scores(truth, scores)
    with pytest.raises(ValueError, match="probabilities has 2 dimensions; expected 3"):
        metrics.cell_attribution_ap([[True]], [[0.1]])


# Areas ------------------------------------------------------------------------

COUNTS = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def test_areas_and_accuracies_of_the_published_example():
    # Olofsson et al. 2014, section 5; pixels of 30 m are 0.09 ha.
    report = metrics.area_adjusted_accuracy(COUNTS, PIXELS * 0.09)
    assert_array_equal(report.area.round(), [21_158, 11_686, 285_770, 581_386])
    assert_allclose(report.area_se[0], 3_142, atol=0.5)
    assert_array_equal((1.96 * report.area_se).round(), [6_158, 3_756, 15_510, 16_282])
    assert_allclose(report.area_ci[0], [21_158 - 6_158, 21_158 + 6_158], atol=1)
    assert round(report.overall_accuracy, 2) == 0.95
    assert round(1.96 * report.overall_accuracy_se, 2) == 0.02
    for figure, published in [
        (report.users_accuracy, [0.88, 0.73, 0.93, 0.96]),
        (1.96 * report.users_accuracy_se, [0.07, 0.10, 0.04, 0.02]),
        (report.producers_accuracy, [0.75, 0.85, 0.93, 0.96]),
    ]:
        assert_array_equal(figure.round(2), published)
    # To more digits, the R package mapaccuracy on the same example.
    for standard_error, half_width in [
        (report.users_accuracy_se, [0.0740, 0.1008, 0.0397, 0.0205]),
        (report.producers_accuracy_se, [0.2133, 0.2544, 0.0343, 0.0184]),
        (report.overall_accuracy_se, 0.0185),
    ]:
        assert_allclose(1.96 * standard_error, half_width, atol=5e-5)
    assert_allclose(report.area.sum(), PIXELS.sum() * 0.09)


def test_standard_errors_are_those_of_resampling():
    # Draw the reference sample again and again from a known map.
    truth_given_map = np.array([[0.8, 0.2, 0.0], [0.1, 0.85, 0.05], [0.0, 0.1, 0.9]])
    mapped, n_row = np.array([10.0, 30.0, 60.0]), [150, 200, 250]
    draws = np.array(
        [
            rng.multinomial(n, p, 2000)
            for n, p in zip(n_row, truth_given_map, strict=True)
        ]
    ).swapaxes(0, 1)
    reports = [metrics.area_adjusted_accuracy(draw, mapped) for draw in draws]
    for name in ("overall_accuracy", "users_accuracy", "producers_accuracy", "area"):
        estimate = np.array([report[name] for report in reports])
        claimed = np.array([report[f"{name}_se"] for report in reports])
        assert_allclose(claimed.mean(axis=0), estimate.std(axis=0), rtol=0.08)
    areas = np.array([report.area for report in reports])
    assert_allclose(areas.mean(axis=0), mapped @ truth_given_map, rtol=0.01)


def test_degenerate_rows_and_columns():
    # A class the map does not show: no user's accuracy, but an area.
    report = metrics.area_adjusted_accuracy([[8, 2], [0, 0]], [100, 0])
    assert_allclose(report.area, [80, 20])
    assert np.isnan(report.users_accuracy[1]) and report.producers_accuracy[1] == 0
    assert np.isfinite(report.area_se).all() and np.isfinite(report.overall_accuracy_se)
    # A class no reference sample shows.
    report = metrics.area_adjusted_accuracy([[8, 0], [5, 0]], [60, 40])
    assert np.isnan(report.producers_accuracy[1]) and report.area[1] == 0
    # One sample in a row: the estimate stands, its error is not known.
    report = metrics.area_adjusted_accuracy([[8, 2], [0, 1]], [60, 40])
    assert_allclose(report.area, [48, 52])
    assert np.isnan(report.area_se).all() and np.isnan(report.overall_accuracy_se)
    assert np.isfinite(report.users_accuracy_se[0])


@pytest.mark.parametrize(
    ("confusion", "mapped_area", "message"),
    [
        ([[1, 2]], [1], "expected a square"),
        ([[0.5, 0.5], [0, 1]], [1, 1], "counts"),
        ([[-1, 2], [0, 1]], [1, 1], "counts"),
        ([[1, np.nan], [0, 1]], [1, 1], "confusion contains NaN"),
        ([[1, 2], [0, 1]], [1], "mapped_area has shape"),
        ([[1, 2], [0, 1]], [1, -1], "mapped_area must be 0 or more"),
        ([[1, 2], [0, 1]], [0, 0], "above 0 for some"),
        ([[1, 2], [0, 0]], [1, 1], r"no reference sample in row\(s\) \[1\]"),
    ],
)
def test_bad_areas_are_refused_by_name(confusion, mapped_area, message):
    with pytest.raises(ValueError, match=message):
        metrics.area_adjusted_accuracy(confusion, mapped_area)


# Scorers ----------------------------------------------------------------------


class ReadOff(ClassifierMixin, BaseEstimator):
    """Predicts the label that stands in X itself at `label_time`.

    So it is right for every sample if, and only if, it gets that sample's
    label_time; `offset` spoils it.
    """

    def __init__(self, offset=0):
        self.offset = offset

    def fit(self, X, y, *, label_time=None):
        self.classes_ = np.unique(y)
        self.fitted_with_ = label_time
        if label_time is not None:
            assert np.ndim(label_time) == 0 or len(label_time) == len(X)
        times = np.full(len(X), X.shape[2] - 1 if label_time is None else label_time)
        self.label_time_ = int(np.bincount(times).argmax())
        return self

    def predict(self, X, *, label_time=None):
        times = self.label_time_ if label_time is None else np.asarray(label_time)
        assert np.shape(times) in ((), (len(X),))
        return self.classes_[
            (X[np.arange(len(X)), 0, times].astype(int) + self.offset) % 3
        ]


class Same(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X


N, T = 60, 5
X = rng.integers(0, 3, size=(N, 1, T)).astype(float)
TIMES = rng.integers(0, T, N)
Y_AT_TIMES = np.array(["a", "b", "c"])[X[np.arange(N), 0, TIMES].astype(int)]
Y_AT_2 = np.array(["a", "b", "c"])[X[:, 0, 2].astype(int)]
GRID = {"offset": [1, 0]}
SCORERS = {
    "accuracy": metrics.label_time_accuracy,
    "balanced": metrics.label_time_balanced_accuracy,
    "f1": metrics.label_time_f1_macro,
}


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_scorers_score_the_predictions_at_label_time():
    model = ReadOff().fit(X, Y_AT_TIMES)
    elsewhere = model.predict(X)
    for name, score_func in {
        "accuracy": accuracy_score,
        "balanced": balanced_accuracy_score,
        "f1": lambda y, p: f1_score(y, p, average="macro"),
    }.items():
        assert SCORERS[name](model, X, Y_AT_TIMES, label_time=TIMES) == 1
        assert SCORERS[name](model, X, Y_AT_TIMES) == score_func(Y_AT_TIMES, elsewhere)
        assert SCORERS[name](model, X, Y_AT_TIMES) < 0.7


def test_factory_passes_arguments_flips_losses_and_weighs_samples():
    model = ReadOff(offset=1).fit(X, Y_AT_2, label_time=2)
    loss = metrics.make_label_time_scorer(
        zero_one_loss, greater_is_better=False, normalize=False
    )
    assert loss(model, X, Y_AT_2, label_time=2) == -N
    right = model.predict(X, label_time=2)
    mixed = np.where(np.arange(N) < 15, right, Y_AT_2)
    weight = np.where(np.arange(N) < 15, 3.0, 1.0)
    assert_allclose(
        metrics.label_time_accuracy(
            model, X, mixed, label_time=2, sample_weight=weight
        ),
        45 / 90,
    )


def test_weights_are_the_business_of_the_metric():
    """Else a metric with weights of another kind cannot be used in a search."""
    model = ReadOff().fit(X, Y_AT_2, label_time=2)
    seen = []

    def metric(y_true, y_pred, sample_weight):
        seen.append(sample_weight)
        return 1.0

    weight = np.full((N, 2), -1.0)
    scorer = metrics.make_label_time_scorer(metric)
    assert scorer(model, X, Y_AT_2, sample_weight=weight, label_time=2) == 1
    assert seen[0] is weight


def test_scorers_serve_estimators_that_know_no_label_time():
    model = DummyClassifier().fit(X[:, 0], Y_AT_2)
    score = metrics.label_time_accuracy(model, X[:, 0], Y_AT_2)
    assert score == model.score(X[:, 0], Y_AT_2)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_search_splits_one_label_time_per_sample(routing, n_jobs):
    search = GridSearchCV(
        ReadOff().set_fit_request(label_time=True),
        GRID,
        scoring=metrics.label_time_accuracy,
        cv=3,
        n_jobs=n_jobs,
    ).fit(X, Y_AT_TIMES, label_time=TIMES)
    assert search.best_params_ == {"offset": 0} and search.best_score_ == 1
    assert_array_equal(search.best_estimator_.fitted_with_, TIMES)
    # The search as a whole is scored at the label dates, too.
    assert search.score(X, Y_AT_TIMES, label_time=TIMES) == 1


def test_search_passes_a_common_label_time_whole(routing):
    search = GridSearchCV(
        ReadOff().set_fit_request(label_time=True),
        GRID,
        scoring=metrics.label_time_accuracy,
        cv=3,
    ).fit(X, Y_AT_2, label_time=2)
    assert search.best_score_ == 1
    assert search.best_estimator_.fitted_with_ == 2


@pytest.mark.parametrize("scoring", [metrics.label_time_accuracy, "accuracy"])
def test_without_routing_one_common_date_is_right(scoring):
    search = GridSearchCV(ReadOff(), GRID, scoring=scoring, cv=3)
    assert search.fit(X, Y_AT_2, label_time=2).best_score_ == 1
    # And dates that differ are not: what the scorers with routing are for.
    assert search.fit(X, Y_AT_TIMES, label_time=TIMES).best_score_ < 0.7


def test_built_in_scorers_do_not_do_it(routing):
    search = GridSearchCV(
        ReadOff().set_fit_request(label_time=True), GRID, scoring="accuracy", cv=3
    ).fit(X, Y_AT_TIMES, label_time=TIMES)
    assert search.best_score_ < 0.7


def test_pipeline_needs_its_last_step_to_ask_in_fit_and_predict(routing):
    def search(last_step, n_jobs):
        return GridSearchCV(
            Pipeline([("same", Same()), ("model", last_step)]),
            {"model__offset": [1, 0]},
            scoring=metrics.label_time_accuracy,
            cv=3,
            n_jobs=n_jobs,
            error_score="raise",
        )

    asking = ReadOff().set_fit_request(label_time=True)
    with pytest.raises(UnsetMetadataPassedError, match="set_predict_request"):
        search(asking, n_jobs=1).fit(X, Y_AT_TIMES, label_time=TIMES)
    asking.set_predict_request(label_time=True)
    fitted = search(asking, n_jobs=2).fit(X, Y_AT_TIMES, label_time=TIMES)
    assert fitted.best_params_ == {"model__offset": 0} and fitted.best_score_ == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_several_scorers_in_one_cross_validation(routing, n_jobs):
    result = cross_validate(
        ReadOff().set_fit_request(label_time=True),
        X,
        Y_AT_TIMES,
        # Beside a built-in one: neither may see the other's predictions.
        scoring=SCORERS | {"built-in": "accuracy", "again": "balanced_accuracy"},
        params={"label_time": TIMES},
        cv=3,
        n_jobs=n_jobs,
    )
    for name in SCORERS:
        assert_array_equal(result[f"test_{name}"], 1)
    assert (result["test_built-in"] < 0.7).all()


def test_several_scorers_without_routing():
    result = cross_validate(
        ReadOff(), X, X[:, 0, -1].astype(int), scoring=SCORERS, cv=3
    )
    for name in SCORERS:
        assert_array_equal(result[f"test_{name}"], 1)


def test_nested_search(routing):
    inner = GridSearchCV(
        ReadOff().set_fit_request(label_time=True),
        GRID,
        scoring=metrics.label_time_accuracy,
        cv=2,
    )
    result = cross_validate(
        inner,
        X,
        Y_AT_TIMES,
        scoring=metrics.label_time_accuracy,
        params={"label_time": TIMES},
        cv=2,
        error_score="raise",
    )
    assert_array_equal(result["test_score"], 1)


def test_requests_can_be_renamed_withdrawn_and_refused(routing):
    def search(scoring):
        return GridSearchCV(
            ReadOff().set_fit_request(label_time="when"), GRID, scoring=scoring, cv=3
        )

    scorer = metrics.make_label_time_scorer(accuracy_score)
    assert scorer.set_score_request(label_time="when") is scorer
    assert search(scorer).fit(X, Y_AT_TIMES, when=TIMES).best_score_ == 1
    scorer.set_score_request(label_time=False)
    assert search(scorer).fit(X, Y_AT_TIMES, when=TIMES).best_score_ < 0.7
    scorer.set_score_request(label_time=None)
    with pytest.raises(UnsetMetadataPassedError, match="label_time"):
        search(scorer).fit(X, Y_AT_TIMES, label_time=TIMES, when=TIMES)
    with pytest.raises(ValueError, match="alias"):
        scorer.set_score_request(label_time="not a name")
    with pytest.raises(TypeError):
        scorer.set_score_request(labeltime=True)
    # The scorers of the module are untouched by all that.
    requests = metrics.label_time_accuracy.get_metadata_routing().score.requests
    assert requests == {"label_time": True, "sample_weight": None}


def test_sample_weight_is_asked_for_like_in_scikit_learn(routing):
    class Weighted(ReadOff):
        def fit(self, X, y, sample_weight=None, *, label_time=None):
            return super().fit(X, y, label_time=label_time)

    model = Weighted().set_fit_request(label_time=True, sample_weight=True)
    scorer = metrics.make_label_time_scorer(accuracy_score)
    arguments = {"label_time": TIMES, "sample_weight": np.ones(N)}
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        GridSearchCV(model, GRID, scoring=scorer).fit(X, Y_AT_TIMES, **arguments)
    scorer.set_score_request(sample_weight=True)
    search = GridSearchCV(model, GRID, scoring=scorer)
    assert search.fit(X, Y_AT_TIMES, **arguments).best_score_ == 1


def test_score_requests_need_routing():
    with pytest.raises(RuntimeError, match="enable_metadata_routing=True"):
        metrics.make_label_time_scorer(accuracy_score).set_score_request(
            label_time=True
        )


def test_scorers_survive_pickle_and_clone(routing):
    scorer = metrics.make_label_time_scorer(f1_score, average="macro")
    scorer.set_score_request(label_time="when")
    copy = pickle.loads(pickle.dumps(scorer))
    search = clone(GridSearchCV(ReadOff(), GRID, scoring=scorer))
    for twin in (copy, search.scoring):
        assert repr(twin) == "make_label_time_scorer(f1_score, average='macro')"
        requests = twin.get_metadata_routing().score.requests
        assert requests == {"label_time": "when", "sample_weight": None}


def test_what_cannot_be_compared_is_named():
    for call, name in (
        (lambda: metrics.timeline_accuracy([["a"]], [[1]]), "Y_pred"),
        (lambda: metrics.dated_label_report([["a"]], [["a"]], [1]), "y"),
        (lambda: metrics.change_dates([[1], [1, 2]]), "Y"),
        (lambda: metrics.break_within([1], [1], k="a"), "k"),
        (lambda: metrics.break_within([1], [1], k=-1), "k"),
        (lambda: metrics.break_within([1], [1], k=[1, 2]), "k"),
        (lambda: metrics.cell_attribution_ap([[[True]]], "a"), "probabilities"),
        (lambda: metrics.area_adjusted_accuracy([1], [1]), "confusion"),
        (lambda: metrics.area_adjusted_accuracy([[1]], 1), "mapped_area"),
        (lambda: metrics.make_label_time_scorer("accuracy"), "score_func"),
    ):
        with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b"):
            call()
