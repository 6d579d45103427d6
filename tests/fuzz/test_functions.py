"""Odd input to the functions and pictures, which must answer or say why not."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktasgen import metrics, plots
from sktasgen.datasets import (
    fetch_dynamic_world_lakes,
    make_pixel_series,
    make_region,
)
from sktasgen.decoding import forward_backward, viterbi
from sktasgen.preprocessing import composite
from sktasgen.windows import Calendar, aligned_windows, overlap_average
from tests.fuzz import odd
from tests.fuzz.test_estimators import (
    DATES,
    check_probability,
    detectors,
    explainers,
    make,
    odd_or_good,
    relabelers,
)

N, T, K = 3, 5, 2


def integers(low, high):
    return lambda rng, shape: rng.integers(low, high, shape)


# --- decoding -----------------------------------------------------------------------

COSTS = st.one_of(
    st.sampled_from([0, 1.0, 5, 700.0, 1e300, np.inf, [[0, 1], [np.inf, 0]]]),
    odd.arrays((K, K), low=0),
    odd.anything,
)


@odd.share(0.2)
@given(log_evidence=odd.arrays((N, T, K), low=-5, high=0), switch_cost=COSTS)
def test_sequences_are_decoded_or_it_is_said_why_not(log_evidence, switch_cost):
    given = dict(log_evidence=log_evidence, switch_cost=switch_cost)
    path = odd.attempt(viterbi, **given)
    posterior = odd.attempt(forward_backward, **given)
    assert odd.answered(path) == odd.answered(posterior)
    if odd.answered(path):
        shape = np.shape(log_evidence)
        assert path.shape == shape[:2]
        assert ((path >= 0) & (path < shape[2])).all()
        check_probability(posterior, shape)


# --- metrics ------------------------------------------------------------------------

timelines = st.one_of(
    odd.arrays((N, T), integers(0, K)),
    odd.arrays((N, T)),
    odd.labels(N * T).map(
        lambda y: np.asarray(y).reshape(N, T) if np.size(y) == N * T else y
    ),
    st.just([["a", "b", None, "a", "b"]] * N),
)
breaks = st.one_of(odd.arrays((N,), integers(-1, T)), odd.anything)
bools = odd.arrays((N, T), lambda rng, shape: rng.random(shape) < 0.5)
values = odd.arrays((N, T))
cells = st.tuples(
    odd.arrays((N, K, T), lambda rng, shape: rng.random(shape) < 0.5),
    odd.arrays((N, K, T)),
)
METRICS = {
    "timeline_accuracy": dict(
        Y_true=timelines, Y_pred=timelines, mask=st.none() | bools
    ),
    "changed_date_accuracy": dict(
        Y_true=timelines, Y_pred=timelines, y=odd.labels(N), mask=st.none() | bools
    ),
    "dated_label_report": dict(
        Y_true=timelines, Y_pred=timelines, y=odd.labels(N), mask=st.none() | bools
    ),
    "change_dates": dict(Y=timelines),
    "nearest_break": dict(Y=timelines, label_time=odd.label_times(N, T)),
    "break_date_error": dict(break_true=breaks, break_pred=breaks),
    "break_within": dict(break_true=breaks, break_pred=breaks, k=odd.anything),
    "timestep_detection_scores": dict(changed=bools, scores=values),
    "cell_attribution_ap": dict(
        truth=odd.arrays((N, K, T), lambda rng, shape: rng.random(shape) < 0.5),
        probabilities=odd.arrays((N, K, T)),
    ),
    "area_adjusted_accuracy": dict(
        confusion=odd.arrays((K, K), integers(0, 9)),
        mapped_area=odd.arrays((K,), low=0),
    ),
    "make_label_time_scorer": dict(
        score_func=odd.anything, greater_is_better=odd.anything
    ),
}


@odd.share(0.05)
@pytest.mark.parametrize("name", sorted(METRICS))
@given(data=st.data())
def test_metrics_count_or_say_why_not(name, data):
    given = {key: data.draw(value) for key, value in METRICS[name].items()}
    found = odd.attempt(getattr(metrics, name), **given)
    if not odd.answered(found):
        return
    if name in ("timeline_accuracy", "dated_label_report"):
        accuracy = found if name == "timeline_accuracy" else found.accuracy
        assert 0 <= accuracy <= 1
    if name == "nearest_break":
        assert found.shape == (len(np.asarray(given["Y"])),)


@odd.share(0.05)
@given(
    X=odd_or_good(odd.arrays((8, 2, DATES)), make()[0]),
    y=st.just(make()[1]),
    sample_weight=odd.weights(8),
    label_time=odd.label_times(8, DATES),
)
def test_scorers_score_or_say_why_not(X, y, sample_weight, label_time):
    for scorer in (
        metrics.label_time_accuracy,
        metrics.label_time_balanced_accuracy,
        metrics.label_time_f1_macro,
    ):
        found = odd.attempt(
            scorer, relabelers()[0], X, y,
            sample_weight=sample_weight, label_time=label_time,
            named=("X", "Sample weights", "inconsistent"),
        )  # fmt: skip
        if odd.answered(found):
            assert 0 <= found <= 1


# --- preparing series ---------------------------------------------------------------


@odd.share(0.2)
@given(
    values=odd.arrays((6, 2)),
    sample_index=odd_or_good(odd.arrays((6,), integers(0, 3)), [0, 0, 1, 1, 2, 2]),
    dates=odd_or_good(
        odd.dates(6), np.datetime64("2020-01-01") + np.array([0, 9, 1, 10, 0, 30])
    ),
    step=odd_or_good(odd.anything, None),
    start=odd_or_good(odd.anything, None),
    n_samples=odd_or_good(odd.anything, None),
)
def test_acquisitions_are_composited_or_it_is_said_why_not(**given):
    for name in ("step", "n_samples"):
        odd.refuse_large(given[name])
    found = odd.attempt(composite, **given)
    if odd.answered(found):
        X, dates = found
        assert X.shape[1:] == (np.asarray(given["values"]).shape[1], len(dates))
        assert (np.diff(dates) > np.timedelta64(0, "D")).all()


@odd.share(0.1)
@given(dates=odd.dates(6), period=odd.anything, n_timesteps=odd.anything)
def test_calendars_are_made_or_it_is_said_why_not(dates, period, n_timesteps):
    odd.refuse_large(n_timesteps)
    calendars = [
        odd.attempt(Calendar.from_dates, dates=dates, period=period),
        odd.attempt(Calendar.regular, n_timesteps=n_timesteps, period=period),
    ]
    for calendar in filter(odd.answered, calendars):
        assert len(calendar.slot) == len(calendar.cell)
        assert ((calendar.slot >= 0) & (calendar.slot < calendar.period)).all()


calendars = st.sampled_from(
    [
        Calendar.regular(T, 4),
        Calendar.from_dates(
            np.datetime64("2020-01-01") + np.array([0, 3, 4, 90, 200]), 4
        ),
    ]
)


@odd.share(0.1)
@given(
    calendar=calendars,
    X=odd.arrays((N, 2, T)),
    values=odd.arrays((N, 2, T)),
    cells=odd.arrays((2, 4), integers(0, T + 1)),
    n_cells=odd_or_good(odd.anything, T),
)
def test_series_go_to_windows_and_back_or_it_is_said_why_not(
    calendar, X, values, cells, n_cells
):
    odd.refuse_large(n_cells)
    grid = odd.attempt(calendar.to_grid, X=X)
    if odd.answered(grid):
        back = calendar.from_grid(grid)
        assert back.shape == np.shape(X)
    odd.attempt(calendar.from_grid, values=values)
    windows = odd.attempt(aligned_windows, grid=X, cells=cells)
    if odd.answered(windows):
        assert windows.shape == (*np.shape(X)[:-1], *np.shape(cells))
        odd.attempt(overlap_average, values=windows, cells=cells, n_cells=n_cells)
    odd.attempt(overlap_average, values=values, cells=cells, n_cells=n_cells)


# --- data ---------------------------------------------------------------------------

SIMULATORS = {
    make_pixel_series: dict(n_samples=4, n_years=2, period=6, n_bands=2),
    make_region: dict(
        shape=(6, 8), n_fields=4, n_points=4, n_years=2, period=6, n_bands=2
    ),
}


@odd.share(0.1)
@pytest.mark.parametrize("simulate", SIMULATORS, ids=lambda f: f.__name__)
@given(data=st.data())
def test_series_are_simulated_or_it_is_said_why_not(simulate, data):
    names = set(inspect.signature(simulate).parameters)
    given = SIMULATORS[simulate] | data.draw(odd.parameters(names))
    found = odd.attempt(simulate, **given)
    if odd.answered(found):
        values = found.X if "X" in found else found.cube.values
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()


@odd.share(0.03)
@given(data_home=odd.anything, align=odd.anything)
def test_data_that_are_not_there_are_missed(data_home, align, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.getbasetemp())
        patch.delenv("SKTASGEN_DATA_HOME", raising=False)
        odd.attempt(
            fetch_dynamic_world_lakes,
            data_home=data_home, align=align, download_if_missing=False,
            refusals=(ValueError, TypeError, OSError),
            named=["lakes"],
        )  # fmt: skip


# --- pictures -----------------------------------------------------------------------

names = st.one_of(st.none(), odd.labels(N), odd.anything)
PICTURES = {
    "TimelineDisplay": dict(
        labels=timelines,
        probabilities=st.none() | odd.arrays((N, T), low=0, high=1),
        dates=odd.dates(T),
        label_time=odd.label_times(N, T),
        sample_names=names,
        classes=names,
        class_names=names,
    ),
    "AttributionDisplay": dict(
        attribution=odd.arrays((K, T), low=0, high=1),
        series=st.none() | odd.arrays((K, T)),
        counterfactual=st.none() | odd.arrays((K, T)),
        interval=st.none() | odd.arrays((2, K, T)),
        dates=odd.dates(T),
        band_names=names,
        label_time=odd_or_good(odd.anything, 1),
        change_time=odd_or_good(odd.anything, 2),
        change_interval=odd_or_good(odd.anything, (1, 3)),
        r_hat=odd_or_good(odd.anything, 1.1),
    ),
    "ScoreDisplay": dict(
        scores=odd.arrays((T,)),
        flags=st.none() | odd.arrays((T,), lambda rng, shape: rng.random(shape) < 0.5),
        threshold=odd_or_good(odd.anything, 1.0),
        dates=odd.dates(T),
        label_time=odd_or_good(odd.anything, 1),
    ),
    "MapDisplay": dict(labels=odd.anything, change_date=odd.anything),
}


@odd.share(0.05)
@pytest.mark.parametrize("name", sorted(PICTURES))
@given(data=st.data())
def test_pictures_are_drawn_or_it_is_said_why_not(name, data):
    from matplotlib import pyplot

    given = {
        key: data.draw(value)
        for i, (key, value) in enumerate(PICTURES[name].items())
        if i == 0 or data.draw(st.integers(0, 2)) == 0
    }
    try:
        odd.attempt(lambda **k: getattr(plots, name)(**k).plot(), **given)
    finally:
        pyplot.close("all")


@odd.share(0.05)
@given(data=st.data())
def test_pictures_of_estimators_are_drawn_or_it_is_said_why_not(data):
    from matplotlib import pyplot

    display, estimator = data.draw(
        st.sampled_from(
            [
                (plots.TimelineDisplay, relabelers()[0]),
                (plots.AttributionDisplay, explainers()[0]),
                (plots.ScoreDisplay, detectors()[0]),
            ]
        )
    )
    values = {
        "y": odd.labels(8),
        "label_time": odd_or_good(odd.label_times(8, DATES), 3),
        "samples": odd.anything,
        "sample": odd.anything,
        "dates": odd.dates(DATES),
        "sample_names": odd.labels(8),
        "class_names": odd.labels(2),
        "band_names": odd.labels(2),
        "changed": odd.arrays((8, DATES), lambda rng, shape: rng.random(shape) < 0.5),
        "change_time": odd.anything,
        "ax": odd.anything,
    }
    taken = inspect.signature(display.from_estimator).parameters
    given = {
        key: data.draw(value)
        for key, value in values.items()
        if key in taken and data.draw(st.integers(0, 2)) == 0
    }
    try:
        X = data.draw(odd_or_good(odd.arrays((8, 2, DATES)), make()[0]))
        odd.attempt(display.from_estimator, estimator, X, **given, named=["X"])
    finally:
        pyplot.close("all")
