"""Without these: windows out of step with the season, dates averaged wrongly."""

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktasgen.windows import (
    Calendar,
    Windowing,
    aligned_windows,
    overlap_average,
    window_cells,
    window_starts,
)
from tests import reference


@st.composite
def gridded(draw):
    """Series on a calendar, and windows over them."""
    period = draw(st.integers(1, 8))
    n_cells = draw(st.integers(1, 25))
    length = draw(st.integers(1, min(period, n_cells)))
    stride = draw(st.integers(1, length))
    first_slot = draw(st.integers(0, period - 1))
    cell = np.arange(n_cells)
    calendar = Calendar(cell, np.zeros_like(cell), first_slot, period)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    series = rng.normal(size=(2, 3, n_cells))
    series[rng.random(series.shape) < 0.2] = np.nan
    return series, calendar, window_starts(n_cells, length, stride), length


@given(gridded())
def test_windows_are_those_of_the_naive_loop(case):
    series, calendar, starts, length = case
    cells = window_cells(starts, length, calendar)
    expected = reference.aligned_windows(
        series, starts, length, calendar.first_slot, calendar.period
    )
    np.testing.assert_array_equal(aligned_windows(series, cells), expected)


@given(gridded())
def test_windows_hold_observations_and_flags_where_a_loop_finds_them(case):
    series, calendar, starts, length = case
    windowing = Windowing(calendar, length, 1)
    flags = np.nan_to_num(series[:, 0]) > -1
    observed, throughout = windowing.observed(series), windowing.throughout(flags)
    for i, one in enumerate(series):
        for start in windowing.starts:
            window = slice(start, start + length)
            assert observed[i, start] == (~np.isnan(one[:, window])).any()
            assert throughout[i, start] == all(flags[i, window])


def test_flags_of_dates_in_one_slot_are_all_asked():
    cell, layer = np.array([0, 0, 1, 2]), np.array([0, 1, 0, 0])
    windowing = Windowing(Calendar(cell, layer, 0, 3), 2, 1)
    flags = np.array([[True, False, True, True], [True, True, True, False]])
    expected = [[False, True], [True, False]]
    np.testing.assert_array_equal(windowing.throughout(flags), expected)


@given(gridded())
def test_overlap_average_gives_the_series_back_bit_for_bit(case):
    series, calendar, starts, length = case
    cells = window_cells(starts, length, calendar)
    windows = aligned_windows(series, cells)
    back = overlap_average(windows, cells, calendar.n_cells)
    np.testing.assert_array_equal(back, series)


def test_overlap_average_is_the_mean_of_the_covering_windows():
    calendar = Calendar.regular(7, period=4)
    starts = window_starts(7, 4, stride=2)
    cells = window_cells(starts, 4, calendar)
    values = np.random.default_rng(0).normal(size=(2, len(starts), 4))
    expected = reference.overlap_average(values, cells, 7)
    np.testing.assert_allclose(overlap_average(values, cells, 7), expected)


def test_last_window_ends_with_the_series_when_the_stride_does_not_divide():
    for n_cells in range(5, 30):
        starts = window_starts(n_cells, 5, stride=4)
        assert starts[-1] + 5 == n_cells
        assert (np.diff(starts) <= 4).all()


@given(
    st.lists(st.integers(0, 1500), min_size=1, max_size=40),
    st.integers(1, 60),
)
def test_irregular_dates_return_from_the_grid_unchanged(days, period):
    dates = np.datetime64("2019-11-20") + np.sort(days)
    calendar = Calendar.from_dates(dates, period)
    X = np.random.default_rng(0).normal(size=(2, 3, len(dates)))
    X[0, 1, ::2] = np.nan
    back = calendar.from_grid(calendar.to_grid(X))
    np.testing.assert_array_equal(back[~np.isnan(X)], X[~np.isnan(X)])


def test_season_slot_is_that_of_the_day_of_year():
    dates = np.arange("2019-01-01", "2021-12-31", dtype="datetime64[D]")
    calendar = Calendar.from_dates(dates, 23)
    for date, slot in zip(dates.tolist(), calendar.slot, strict=True):
        day_of_year = date.timetuple().tm_yday
        assert slot == min(22, int(day_of_year * 23 / 365.25))
    # A year later is one period further on the grid.
    same_day = [np.datetime64(datetime.date(year, 6, 1)) for year in (2019, 2021)]
    first, last = np.searchsorted(dates, same_day)
    assert calendar.cell[last] - calendar.cell[first] == 2 * 23


def test_dates_in_one_slot_keep_a_layer_each_and_lend_their_mean_to_gaps():
    dates = np.array(["2020-01-01", "2020-01-01", "2020-07-01"], "datetime64[D]")
    calendar = Calendar.from_dates(dates, 2)
    X = np.array([[[1.0, 3.0, 5.0]], [[np.nan, 3.0, 5.0]]])
    grid = calendar.to_grid(X)
    assert grid.shape == (2, 2, 1, 2)
    np.testing.assert_array_equal(grid[0, :, 0], [[1, 5], [3, 5]])
    np.testing.assert_array_equal(grid[1, :, 0], [[3, 5], [3, 5]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_windows_keep_the_dtype(dtype):
    calendar = Calendar.regular(6, period=4)
    cells = window_cells(window_starts(6, 4), 4, calendar)
    windows = aligned_windows(np.ones((1, 2, 6), dtype), cells)
    assert windows.dtype == dtype
    assert overlap_average(windows, cells, 6).dtype == dtype


def test_timesteps_of_the_own_window_are_those_in_its_cells():
    days = np.array([0, 3, 40, 41, 100, 180, 181, 300, 360, 400, 500])
    calendar = Calendar.from_dates(np.datetime64("2021-01-05") + days, period=12)
    windowing = Windowing(calendar, length=5, stride=2)
    times = np.arange(len(days))
    for t, covered in enumerate(windowing.in_own(times)):
        cells = windowing.own_cells(times[t : t + 1])[0]
        np.testing.assert_array_equal(covered, np.isin(calendar.cell, cells))


def test_what_does_not_fit_a_calendar_is_named():
    calendar = Calendar.regular(6, 4)
    cells = window_cells(window_starts(6, 4), 4, calendar)
    for call, name in (
        (lambda: Calendar.regular(0, 4), "n_timesteps"),
        (lambda: Calendar.regular(6, 0), "period"),
        (lambda: Calendar.from_dates([], 4), "dates"),
        (lambda: Calendar.from_dates([1, [2]], 4), "dates"),
        (lambda: Calendar.from_dates(["soon"], 4), "dates"),
        (lambda: calendar.to_grid(np.zeros((1, 2, 5))), "X"),
        (lambda: calendar.from_grid(np.zeros((1, 2, 6))), "values"),
        (lambda: aligned_windows(np.zeros(6), cells + 2), "cells"),
        (lambda: aligned_windows(np.zeros(6), cells.astype(float)), "cells"),
        (lambda: overlap_average(np.zeros((3, 5)), cells, 6), "values"),
        (lambda: overlap_average(np.zeros(cells.shape), cells, 0), "n_cells"),
    ):
        with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b"):
            call()
