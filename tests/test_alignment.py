"""Without these: a dry year or another sensor passes for change, or the reverse."""

import numpy as np
import pytest

from sktasgen.alignment import align_years
from sktasgen.seasons import Seasons
from sktasgen.windows import Calendar, Windowing

PERIOD, N_YEARS = 12, 3
GAIN = np.array([[1.3], [0.8]])
OFFSET = np.array([[-0.2], [0.5]])


def draw(n=300, *, changed=0.0, seed=0):
    """Two classes of two bands; a share of the first turns into the second in time."""
    rng = np.random.default_rng(seed)
    t = np.arange(N_YEARS * PERIOD)
    season = np.sin(2 * np.pi * t / PERIOD)
    of_class = np.array([[1 + season, 2 + 0 * season], [3 + 0 * season, 1 + season]])
    Y = np.repeat((np.arange(n) % 2)[:, None], len(t), axis=1)
    moved = (Y[:, 0] == 0) & (rng.uniform(size=n) < changed)
    break_at = rng.integers(PERIOD, len(t), size=n)[:, None]
    Y[moved[:, None] & (t >= break_at)] = 1
    X = of_class[Y, :, t].transpose(0, 2, 1)
    return X + 0.4 * rng.normal(size=X.shape), Y


def windowing(n_timesteps=N_YEARS * PERIOD):
    return Windowing(Calendar.regular(n_timesteps, PERIOD), PERIOD, PERIOD // 2)


def align(X, classes, label_time=5):
    times = np.full(len(X), label_time)
    return align_years(X, classes, times, windowing(X.shape[2]), 2)


@pytest.mark.parametrize("changed", [0.0, 0.4])
@pytest.mark.parametrize("n_labelled", [300, 30])
def test_gain_and_offset_of_a_year_are_found_whoever_changed(changed, n_labelled):
    X, Y = draw(changed=changed)
    X[:, :, 2 * PERIOD :] = GAIN * X[:, :, 2 * PERIOD :] + OFFSET
    classes = np.where(np.arange(len(X)) < n_labelled, Y[:, 5], -1)
    gain, offset = align(X, classes)
    np.testing.assert_allclose(gain[:, 2 * PERIOD :].mean(axis=1), GAIN[:, 0], rtol=0.1)
    # What it does to the values that there are.
    for value in (1.0, 2.0):
        shift = (offset + gain * value)[:, 2 * PERIOD :].mean(axis=1)
        np.testing.assert_allclose(shift, (OFFSET + GAIN * value)[:, 0], atol=0.15)


@pytest.mark.parametrize("changed", [0.0, 0.2, 0.4])
def test_years_that_differ_by_what_changed_alone_are_left_as_they_are(changed):
    X, Y = draw(changed=changed)
    gain, offset = align(X, Y[:, 5])
    assert (gain == 1).all() and (offset == 0).all()


def test_gaps_do_not_matter():
    X, Y = draw()
    X[:, :, 2 * PERIOD :] = GAIN * X[:, :, 2 * PERIOD :] + OFFSET
    X[np.random.default_rng(1).uniform(size=X.shape) < 0.3] = np.nan
    X[:, :, 30] = np.nan
    gain, offset = align(X, Y[:, 5])
    assert gain[0, 30] == 1 and offset[0, 30] == 0  # nothing to compare
    there = np.r_[24:30, 31:36]
    np.testing.assert_allclose(gain[:, there].mean(axis=1), GAIN[:, 0], rtol=0.1)


def test_without_a_second_season_or_class_nothing_is_compared():
    X, Y = draw()
    X[:, :, PERIOD:] += 5
    for some in (X[:, :, :18], X):
        one_class = np.zeros(len(X), int) if some is X else Y[:, 5]
        gain, offset = align(some, one_class)
        assert (gain == 1).all() and (offset == 0).all()


def test_dates_of_fit_are_known_again_and_others_are_left_alone():
    days = np.datetime64("2020-01-15") + 30 * np.arange(30)
    seasons = Seasons.resolve(30, period=12, dates=days)
    gain, offset = np.full((2, 30), 2.0), np.arange(60.0).reshape(2, 30)
    seasons = Seasons(
        30, seasons.dates, 12, seasons.window_length, seasons.stride, gain, offset
    )
    X = np.ones((1, 2, 4))
    np.testing.assert_array_equal(
        seasons.align(X, days[6:10]), ((X - offset[:, 6:10]) / 2)
    )
    np.testing.assert_array_equal(seasons.align(X, days[6:10] + 1), X)
    mixed = np.r_[days[6:8], days[8:10] + 1]
    np.testing.assert_array_equal(seasons.align(X, mixed)[:, :, 2:], X[:, :, 2:])


def test_bands_that_are_constant_and_labels_that_are_few_say_nothing():
    X, Y = draw()
    constant = np.concatenate([X, np.full_like(X[:, :1], 0.1)], axis=1)
    gain, offset = align(constant, Y[:, 5])
    assert (gain == 1).all() and (offset == 0).all()
    few = np.where(np.arange(len(X)) < 6, Y[:, 5], -1)
    gain, offset = align(2 * X - 3, few)
    assert (gain == 1).all() and (offset == 0).all()
