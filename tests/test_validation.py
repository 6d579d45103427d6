"""A date that is asked for must be the date that is found."""

import datetime

import numpy as np
import pandas
import pytest
from numpy.testing import assert_array_equal

from sktasgen import BandScaler
from sktasgen._validation import (
    check_count,
    check_dates,
    check_groups,
    check_label_time,
    check_labels,
    check_series,
    check_some_label_times,
    check_weights,
    find_dates,
)

TIMES = np.array(
    ["2020-01-01T10:30", "2020-01-01T10:40", "2020-03-01", "2020-06-01"], "M8[ns]"
)


@pytest.mark.parametrize(
    ("dates", "found"),
    [
        (2, [2]),
        (np.int32(-1), [3]),
        ([3, 0], [3, 0]),
        ("2020-03-01", [2]),
        ("2020-01-01", [0, 1]),  # all images of the day
        ("2020-01-01T10:40", [1]),  # but one of several is told apart by its time
        ("2020-03-01T12:00", [2]),
        (datetime.date(2020, 6, 1), [3]),
        (pandas.Timestamp("2020-06-01"), [3]),
        (pandas.DatetimeIndex(["2020-06-01", "2020-03-01"]), [3, 2]),
        (TIMES[1:3], [1, 2]),
        (np.array(["2020-06"], "M8[M]"), [3]),
        ([0, "2020-03-01"], [0, 2]),
    ],
)
def test_dates_are_found_by_index_day_or_time(dates, found):
    assert_array_equal(find_dates(dates, TIMES, where="maps"), found)


def test_the_nearest_date_is_found_where_it_is_wanted():
    found = find_dates(["2020-03-20", "2030-01-01"], TIMES, where="x", nearest=True)
    assert_array_equal(found, [2, 3])


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        ([], "at least one"),
        ([[0]], "flat list"),
        (4, "the index 4, but maps has 4 dates"),
        ("2020-03-02", "has 2020-03-02, which is none of the 4 dates of maps, from 20"),
        ("soon", "expected indices, datetime64 or strings"),
        ("20200301", "of the year 20200301"),
        ("NaT", "a missing date"),
        (None, "of type NoneType"),
        ({}, "of type dict"),
        (2.0, "of type float"),
        ([True], "of type bool"),
        (pandas.Timestamp("2020-03-01", tz="UTC"), "with a time zone"),
        ([2, "2020-03-01"], "asks for 2020-03-01 more than once"),
        ([3, -1], "asks for 2020-06-01 more than once"),
    ],
)
def test_what_is_no_date_is_refused(dates, message):
    with pytest.raises(ValueError, match=f"^dates.*{message}"):
        find_dates(dates, TIMES, where="maps")


def test_an_error_of_a_conversion_names_the_argument():
    """Else nobody knows which of a dozen arguments was ragged."""
    for call in (
        lambda: check_series(BandScaler(), [[1.0, 2.0], [3.0]], reset=True),
        lambda: check_series(BandScaler(), 1.0, reset=True),
        lambda: check_label_time([0, [1]], 2, 3),
        lambda: check_some_label_times([0, None], np.array([True, False]), 0),
        lambda: check_labels([0.5, 1.5], 2),
        lambda: check_labels({1, 2}, 2),
        lambda: check_groups([1j, [1]], 2),
        lambda: check_dates([1, [2]], 2),
    ):
        with pytest.raises(
            (ValueError, TypeError), match=r"\b(X|label_time|y|groups|dates)\b"
        ):
            call()


def test_a_fill_value_is_no_observation():
    """Squared, the 9.97e36 of NetCDF would make every score infinite or NaN."""
    X = np.zeros((2, 3, 4))
    X[1, 2, 3] = 9.969209968386869e36
    with pytest.raises(ValueError, match=r"X has the value 9.9\S*e\+36; expected NaN"):
        check_series(BandScaler(), X, reset=True)


@pytest.mark.parametrize("value", [2e15, -2e15, np.inf, -np.inf])
def test_one_value_too_large_is_found_among_gaps(value):
    X = np.full((3, 2, 4), np.nan, dtype=np.float32)
    check_series(BandScaler(), X, reset=True)
    X[0] = 1e15, -1e15, 0, 1
    check_series(BandScaler(), X, reset=True)
    X[2, 1, 0] = value
    message = "infinity" if np.isinf(value) else f"has the value {value:g}"
    with pytest.raises(ValueError, match=f"X.*{message}".replace("+", r"\+")):
        check_series(BandScaler(), X, reset=True)


@pytest.mark.parametrize("value", [True, np.timedelta64(1, "D"), "1"])
def test_truth_and_time_spans_are_no_sizes(value):
    """torch would fail on them, somewhere within a training."""
    with pytest.raises(ValueError, match="n_bands"):
        BandScaler(n_bands=value).fit(np.zeros((2, 4)))


def test_counts_are_ints_within_bounds():
    assert check_count(np.int8(3), "step") == 3
    for value, error in ((0, ValueError), (11, ValueError), (2.0, TypeError)):
        with pytest.raises(error, match="^step="):
            check_count(value, "step", most=10)


@pytest.mark.parametrize("weights", [[1, np.nan], [1, -1], [0, 0], [1], "ab", [[1, 2]]])
def test_weights_are_one_finite_number_per_sample(weights):
    with pytest.raises((ValueError, TypeError), match="sample_weight"):
        check_weights(weights, 2)
