"""Bands come out on one scale, acquisitions on one grid, and nothing is lost."""

import datetime
import pickle

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sktasgen.preprocessing import BandScaler, composite
from tests import reference

rng = np.random.default_rng(0)
SERIES = rng.normal([[3.0], [500.0]], [[0.1], [40.0]], size=(7, 2, 12))
SERIES[rng.random(SERIES.shape) < 0.2] = np.nan


# BandScaler -------------------------------------------------------------------


@parametrize_with_checks([BandScaler()])
def test_scaler_obeys_scikit_learn(estimator, check):
    check(estimator)


def test_each_band_gets_mean_0_and_std_1_over_samples_and_dates():
    scaler = BandScaler().fit(SERIES)
    assert_allclose(scaler.mean_, np.nanmean(SERIES, axis=(0, 2)))
    assert_allclose(scaler.scale_, np.nanstd(SERIES, axis=(0, 2)))
    scaled = scaler.transform(SERIES)
    assert_allclose(np.nanmean(scaled, axis=(0, 2)), 0, atol=1e-12)
    assert_allclose(np.nanstd(scaled, axis=(0, 2)), 1)
    assert_array_equal(np.isnan(scaled), np.isnan(SERIES))


def test_season_survives_unlike_with_a_scaler_per_column():
    season = np.sin(np.arange(12)) + 0.01 * rng.normal(size=(30, 1, 12))
    scaled = BandScaler().fit_transform(season)
    assert np.corrcoef(scaled.mean(axis=0)[0], np.sin(np.arange(12)))[0, 1] > 0.999
    per_date = StandardScaler().fit_transform(season[:, 0])
    assert_allclose(per_date.mean(axis=0), 0, atol=1e-12)  # the season is gone


@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5)),
        elements=st.floats(-1e4, 1e4) | st.just(np.nan),
    )
)
@settings(deadline=None, max_examples=60)
def test_inverse_transform_returns_what_was_given(X):
    scaler = BandScaler().fit(X)
    scaled = scaler.transform(X)
    assert_array_equal(np.isnan(scaled), np.isnan(X))
    # Rounding is in proportion to the largest value of the band.
    assert_allclose(scaler.inverse_transform(scaled), X, rtol=1e-12, atol=1e-10)


def test_2d_input_is_band_after_band():
    flat = SERIES.reshape(len(SERIES), -1)
    scaler = BandScaler(n_bands=2).fit(flat)
    scaled = scaler.transform(flat)
    assert scaled.shape == flat.shape
    assert_array_equal(scaled.reshape(SERIES.shape), BandScaler().fit_transform(SERIES))
    assert_allclose(scaler.inverse_transform(scaled), flat)
    with pytest.raises(ValueError, match="n_bands=5 does not divide"):
        BandScaler(n_bands=5).fit(flat)


def test_column_names_pass_through():
    pd = pytest.importorskip("pandas")
    flat = SERIES.reshape(len(SERIES), -1)
    names = [f"{band}_{date}" for band in ("red", "nir") for date in range(12)]
    scaler = BandScaler(n_bands=2).set_output(transform="pandas")
    frame = scaler.fit_transform(pd.DataFrame(flat, columns=names))
    assert list(frame.columns) == names
    assert list(scaler.get_feature_names_out()) == names
    assert list(BandScaler().fit(SERIES).get_feature_names_out()) == ["x0", "x1"]


def test_any_number_of_dates_but_the_bands_of_fit():
    scaler = BandScaler().fit(SERIES)
    assert_array_equal(
        scaler.transform(SERIES[:, :, 3:8]), scaler.transform(SERIES)[:, :, 3:8]
    )
    with pytest.raises(ValueError, match="X has 1 features"):
        scaler.transform(SERIES[:, :1])
    with pytest.raises(ValueError, match="2 dimensions"):
        scaler.transform(SERIES[:, :, 0])


def test_float32_is_kept_and_as_exact_as_float32_can_be():
    X = (1e4 + rng.normal(size=(1000, 1, 50))).astype(np.float32)
    scaler = BandScaler().fit(X)
    # A mean accumulated in float32 would be off by more than the spread.
    assert_allclose(scaler.mean_, X.astype(np.float64).mean(), rtol=1e-12)
    scaled = scaler.transform(X)
    assert scaled.dtype == np.float32
    wanted = BandScaler().fit_transform(X.astype(np.float64))
    assert_allclose(scaled, wanted, rtol=1e-6, atol=1e-7)
    assert scaler.inverse_transform(scaled).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_band_becomes_0_whatever_its_value(dtype):
    X = np.full((50, 1, 7), 0.1, dtype=dtype)  # 0.1 has no exact mean
    scaler = BandScaler().fit(X)
    assert scaler.scale_ == 1
    assert_allclose(scaler.transform(X), 0, atol=1e-16)


def test_a_band_never_observed_in_fit_stays_unobserved():
    X = SERIES.copy()
    X[:, 1] = np.nan
    scaler = BandScaler().fit(X)
    assert np.isnan(scaler.mean_[1]) and np.isnan(scaler.scale_[1])
    scaled = scaler.transform(SERIES)
    assert np.isnan(scaled[:, 1]).all()
    assert_array_equal(np.isnan(scaled[:, 0]), np.isnan(SERIES[:, 0]))


def test_input_is_never_modified_even_where_it_cannot_be():
    X = SERIES.copy()
    X.flags.writeable = False
    scaler = BandScaler().fit(X)
    scaled = scaler.transform(X)
    assert scaler.inverse_transform(scaled) is not scaled
    assert_array_equal(X, SERIES)
    scaled[:] = 0  # the result is the caller's own
    strided = np.asfortranarray(SERIES)[::2]
    assert_array_equal(
        scaler.transform(strided), scaler.transform(SERIES)[::2], strict=True
    )


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match="infinity"):
        BandScaler().fit(np.where(np.isnan(SERIES), np.inf, SERIES))
    with pytest.raises(ValueError, match="4 dimensions"):
        BandScaler().fit(SERIES[..., np.newaxis])
    with pytest.raises(ValueError, match="could not convert string"):
        BandScaler().fit([["a", "b"]])
    with pytest.raises(ValueError, match="n_bands"):
        BandScaler(n_bands=0).fit(SERIES)
    for method in ("transform", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(BandScaler(), method)(SERIES)


def test_clones_pickles_and_stands_in_a_pipeline():
    scaler = BandScaler(n_bands=2)
    assert clone(scaler).n_bands == 2
    pipeline = pickle.loads(pickle.dumps(make_pipeline(scaler).fit(SERIES)))
    assert_array_equal(pipeline.transform(SERIES), scaler.transform(SERIES))


# composite --------------------------------------------------------------------

DAY0 = np.datetime64("2024-01-01")


def as_dates(days):
    return DAY0 + np.asarray(days)


@st.composite
def long_tables(draw):
    n = draw(st.integers(1, 30))
    n_bands = draw(st.integers(1, 3))
    value = st.floats(-100, 100) | st.just(np.nan)
    values = draw(hnp.arrays(np.float64, (n, n_bands), elements=value))
    sample_index = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 3)))
    return (
        values,
        sample_index,
        draw(hnp.arrays(np.int64, n, elements=st.integers(0, 60))),
    )


@given(long_tables(), st.integers(1, 20), st.integers(0, 9))
@settings(deadline=None, max_examples=100)
def test_each_cell_is_the_mean_of_the_values_nearest_its_date(table, step, lead):
    values, sample_index, days = table
    start = min(days) - lead
    X, dates = composite(
        values, sample_index, as_dates(days), step=step, start=as_dates(start)
    )
    assert_array_equal(dates, as_dates(start) + step * np.arange(len(dates)))
    cells = reference.composite_cells(values, sample_index, days, start, step)
    wanted = np.full(X.shape, np.nan)
    for cell, members in cells.items():
        wanted[cell] = np.mean(members)
    assert_allclose(X, wanted, rtol=1e-12, atol=1e-12)
    # Nothing observed is lost: each value weighs in exactly one cell.
    assert sum(map(len, cells.values())) == np.isfinite(values).sum()
    total = sum(X[cell] * len(members) for cell, members in cells.items())
    assert_allclose(total, np.nansum(values), atol=1e-9)


def test_shared_dates_are_the_grid_however_irregular():
    days = [0, 7, 8, 40]
    values = rng.normal(size=(8, 2)).astype(np.float32)
    shuffled = rng.permutation(8)
    X, dates = composite(
        values[shuffled],
        np.repeat([0, 1], 4)[shuffled],
        as_dates(np.tile(days, 2)[shuffled]),
    )
    assert_array_equal(dates, as_dates(days))
    assert_array_equal(X, values.reshape(2, 4, 2).swapaxes(1, 2))
    assert X.dtype == np.float32 and dates.dtype == "datetime64[D]"
    # Asked for a step, it resamples all the same.
    assert (
        len(composite(values, np.repeat([0, 1], 4), as_dates(days * 2), step=8)[1]) == 6
    )


def test_default_step_is_the_median_gap_between_distinct_dates_of_a_sample():
    # Gaps 10, 10 (a repeated date is no gap) and 30; across samples it would be 2.
    days = [0, 10, 10, 20, 2, 32]
    X, dates = composite(np.arange(6.0)[:, None], [0, 0, 0, 0, 1, 1], as_dates(days))
    assert_array_equal(dates, as_dates([0, 10, 20, 30]))
    assert_array_equal(X[:, 0], [[0, 1.5, 3, np.nan], [4, np.nan, np.nan, 5]])


def test_days_may_be_ordinals_times_of_day_or_datetime_objects():
    day = datetime.date(2024, 2, 28)
    days = [day + datetime.timedelta(k) for k in (0, 5, 10)]
    forms = [
        [d.toordinal() for d in days],
        np.array(days, dtype="datetime64[ns]") + np.timedelta64(13, "h"),
        days,
    ]
    for dates in forms:
        _, grid = composite(np.ones((3, 1)), [0, 0, 0], dates)
        assert_array_equal(grid, np.array(days, dtype="datetime64[D]"))
        _, grid = composite(np.ones((3, 1)), [0, 0, 0], dates, start=dates[0], step=10)
        assert_array_equal(grid, np.array(days, dtype="datetime64[D]")[[0, 2]])


def test_samples_without_acquisitions_are_unobserved():
    X, _ = composite([[1.0], [2.0]], [1, 1], as_dates([0, 1]), n_samples=4)
    assert_array_equal(np.isnan(X).all(axis=(1, 2)), [True, False, True, True])


def test_same_table_same_series_in_any_row_order_and_untouched():
    values = rng.normal(size=(40, 2))
    sample, days = rng.integers(0, 5, 40), rng.integers(0, 90, 40)
    values.flags.writeable = False
    order = rng.permutation(40)
    X, dates = composite(values, sample, as_dates(days))
    again, dates_again = composite(values[order], sample[order], as_dates(days[order]))
    assert_array_equal(dates, dates_again)
    assert_allclose(X, again)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"values": [[1.0], [np.inf], [2.0]]}, ValueError, "values contains infinity"),
        ({"values": np.empty((0, 1))}, ValueError, "0 sample"),
        ({"sample_index": [0, 0]}, ValueError, "sample_index has shape"),
        ({"sample_index": [0.0, 0.0, 1.0]}, TypeError, "sample_index must be integers"),
        ({"sample_index": [-1, 0, 1]}, ValueError, "runs from -1 to 1"),
        ({"n_samples": 1}, ValueError, "expected 0 to 0"),
        ({"n_samples": 0}, ValueError, "n_samples=0; expected at least 1"),
        ({"dates": [0.5, 1.0, 2.0]}, TypeError, "ordinal days"),
        ({"dates": ["x", "y", "z"]}, TypeError, "ordinal days"),
        ({"dates": [None, "y", DAY0]}, TypeError, "ordinal days"),
        ({"dates": [DAY0, None, DAY0]}, ValueError, "NaT"),
        ({"dates": as_dates([1, 2])}, ValueError, "dates has shape"),
        ({"step": 0}, ValueError, "step=0; expected at least 1"),
        ({"step": 2.5}, TypeError, "step=2.5; expected an int"),
        ({"dates": as_dates([0, 0, 9])}, ValueError, "step=None needs"),
        ({"start": as_dates(10), "step": 3}, ValueError, "start earlier"),
        ({"start": 1.5}, TypeError, "ordinal days"),
    ],
)
def test_bad_tables_are_refused_by_name(change, error, message):
    table = {
        "values": [[1.0], [2.0], [3.0]],
        "sample_index": [0, 0, 1],
        "dates": as_dates([0, 5, 2]),
    }
    with pytest.raises(error, match=message):
        composite(**(table | change))


@pytest.mark.parametrize(
    "step, error",
    [
        (2**62, ValueError),
        (2**63, ValueError),
        (10**30, ValueError),
        (np.timedelta64(1, "D"), TypeError),
    ],
)
def test_a_step_beyond_all_dates_is_refused(step, error):
    """An overflow ended the command line with a traceback."""
    with pytest.raises(error, match="^step="):
        composite([[1.0], [2.0]], [0, 0], [1, 2], step=step)
