"""Without these: changes that are likelier with more classes, memory that runs out."""

import tracemalloc
import warnings

import numpy as np
import pytest

from sktasgen import HTSVAEDetector, _validation, inference, scoring
from sktasgen.datasets import make_pixel_series
from sktasgen.decoding import forward_backward, hold, season_switch_cost
from sktasgen.windows import Calendar


@pytest.mark.parametrize("n_classes", [2, 3, 9])
@pytest.mark.parametrize("period", [1, 12, 23])
def test_a_season_holds_a_twentieth_change_whatever_the_classes(n_classes, period):
    cost = season_switch_cost(Calendar.regular(3 * period, period), n_classes)
    nothing = np.zeros((1, 3 * period, n_classes))
    held = hold(nothing, np.array([0]), np.array([0]))
    posterior = forward_backward(held, cost)[0]
    assert (1 - posterior[1, 0]) * period == pytest.approx(0.05)
    # A chain of equal switches, whose second eigenvalue is 1 - q K / (K - 1).
    others = 1 - 1 / n_classes
    left = others * (1 - (1 - 0.05 / period / others) ** np.arange(3 * period))
    np.testing.assert_allclose(1 - posterior[:, 0], left, atol=1e-12)


def test_two_acquisitions_in_each_slot_make_twice_the_dates():
    """Or a place seen twice as often would change twice as often."""
    days = np.datetime64("2020-01-01") + np.arange(0, 731, 8)
    once, twice = (
        season_switch_cost(Calendar.from_dates(days[::step], 23), 4) for step in (2, 1)
    )
    odds = np.exp([once, twice])
    np.testing.assert_allclose(odds[1] / odds[0], 2, rtol=0.05)


# Memory


@pytest.fixture(scope="module")
def series():
    return make_pixel_series(
        60, n_bands=2, n_years=20, period=12, random_state=0, n_classes=3
    )


@pytest.fixture(scope="module", params=["class", "self", "any"])
def fitted(request, series):
    detector = HTSVAEDetector(
        period=12, max_iter=2, hidden_size=4, reference=request.param, random_state=0
    )
    return detector.fit(series.X, series.y, label_time=series.label_time)


METHODS = [
    ("score_timesteps", True),
    ("predict_timesteps", True),
    ("score_parts", True),
    ("reconstruct", True),
    ("score_samples", False),
    ("transform", False),
]


def call(detector, method, labelled, X, y, label_time):
    given = dict(y=y, label_time=label_time) if labelled else {}
    return getattr(detector, method)(X, **given)


@pytest.mark.parametrize(("method", "labelled"), METHODS)
def test_memory_beyond_input_and_output_is_that_of_a_chunk(
    series, fitted, monkeypatch, method, labelled
):
    monkeypatch.setattr(scoring, "_CHUNK_SIZE", 60_000)
    monkeypatch.setattr(_validation, "_CHECKED_SIZE", 60_000)
    # Few passes, as each leaves a little for the garbage collector.
    monkeypatch.setitem(inference._PASS_SIZE, "cpu", 10**9)

    def peak(n):
        rows = np.arange(n) % 60
        data = series.X[rows], series.y[rows], series.label_time[rows]
        tracemalloc.start()
        try:
            result = call(fitted, method, labelled, *data)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        results = result.values() if isinstance(result, dict) else [result]
        return most - sum(part.nbytes for part in results)

    peak(250)  # what is loaded or compiled once
    # Room for labels and the like; flags of all dates would take 240 bytes a sample.
    assert peak(750) - peak(250) < 240 * 500


@pytest.mark.parametrize(("method", "labelled"), METHODS)
def test_chunks_change_nothing_but_rounding(
    series, fitted, monkeypatch, method, labelled
):
    data = series.X, series.y, series.label_time
    whole = call(fitted, method, labelled, *data)
    monkeypatch.setattr(scoring, "_CHUNK_SIZE", 20_000)
    found = call(fitted, method, labelled, *data)
    if method == "score_parts":
        found, whole = list(found.values()), list(whole.values())
    np.testing.assert_allclose(found, whole, rtol=1e-9, atol=1e-9)


def test_chunks_shrink_with_the_classes_and_the_layers(series, monkeypatch):
    """Or a thousand classes would take a thousand times the memory of one."""
    found = set()

    def spy(X, n=None, sample_size=None):
        found.add(sample_size)
        return chunks(X, n, sample_size)

    chunks = scoring.chunks
    monkeypatch.setattr(scoring, "chunks", spy)
    twice_a_month = np.datetime64("2000-01-01") + 15 * np.arange(240)
    for dates, y, n_cells, n_classes in (
        (None, np.zeros(60), 240, 1),
        (None, np.arange(60) // 2, 240, 30),
        (twice_a_month, np.zeros(60), 118 * 3, 1),
    ):
        detector = HTSVAEDetector(period=12, max_iter=1, hidden_size=4, dates=dates)
        detector.fit(series.X, y)
        assert found == {None, n_cells * (2 + n_classes)}
        found.clear()


# Samples without scores


def test_sample_unseen_in_its_labelled_window_gets_no_score_and_is_named(series):
    X = series.X[:, :, :48].copy()
    X[3, :, :14] = np.nan  # seen elsewhere, so enough for the other references
    X[8] = np.nan
    detector = HTSVAEDetector(
        period=12, max_iter=2, hidden_size=4, reference="self", random_state=0
    )
    with pytest.warns(UserWarning) as found:
        detector.fit(X, label_time=6)
    messages = [str(warning.message) for warning in found]
    assert "1 of 60 samples have fewer than 3 observed dates" in messages[0]
    assert messages[0].endswith("get no score: 8.")
    assert "1 of 60 samples have no observation in the window" in messages[1]
    assert messages[1].endswith("get no score: 3.")
    assert len(messages) == 2
    with pytest.warns(UserWarning, match="around label_time.*: 3"):
        score = detector.score_timesteps(X)
    with pytest.warns(UserWarning, match="around label_time.*: 3"):
        parts = detector.score_parts(X, label_time=6)
    none = np.isin(np.arange(60), [3, 8])
    for values in (score, *parts.values()):
        np.testing.assert_array_equal(np.isnan(values).all(axis=1), none)
    with pytest.warns(UserWarning):
        assert detector.predict(X)[3] == -1
    # Where it is compared with a window that it was seen in, it gets a score.
    with pytest.warns(UserWarning) as found:
        assert not np.isnan(detector.score_timesteps(X, label_time=30)[3]).all()
    assert len(found) == 1


@pytest.mark.parametrize("reference", ["class", "any"])
def test_other_references_need_no_labelled_window(series, reference):
    X = series.X[:, :, :48].copy()
    X[3, :, :14] = np.nan
    detector = HTSVAEDetector(
        period=12, max_iter=2, hidden_size=4, reference=reference, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.fit(X, series.y, label_time=6)
        assert not np.isnan(detector.score_timesteps(X, label_time=6)[3]).all()


@pytest.mark.parametrize(
    "method",
    ["score_timesteps", "predict_timesteps", "score_samples", "decision_function"]
    + ["predict", "score_parts", "transform", "reconstruct", "fit", "fit_predict"],
)
def test_warning_points_at_the_line_of_the_user(series, method):
    X = series.X[:, :, :48].copy()
    X[8] = np.nan
    detector = HTSVAEDetector(period=12, max_iter=1, hidden_size=4, random_state=0)
    detector.fit(series.X[:, :, :48])
    with pytest.warns(UserWarning, match="get no score") as found:
        getattr(detector, method)(X)
    assert {warning.filename for warning in found} == {__file__}
