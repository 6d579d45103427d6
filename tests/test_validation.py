"""A date that is asked for must be the date that is found."""

import datetime

import numpy as np
import pandas
import pytest
from numpy.testing import assert_array_equal

from sktasgen._validation import find_dates

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
