"""Without these: a place called changed because its latents are on another scale."""

import numpy as np
import pytest
from scipy import stats

from sktasgen import places
from sktasgen.places import PlaceModel, fit_place_model, place_log_odds

WITHIN = np.diag([1.0, 0.25, 4.0])
BETWEEN = np.diag([9.0, 4.0, 0.0])  # the last latent says nothing of the place


def make_windows(rng, n=4000, n_windows=2, changed=0.0):
    """Latents of windows, the second half of them of another place where changed."""
    place = rng.multivariate_normal(np.zeros(3), BETWEEN, size=n)
    other = rng.multivariate_normal(np.zeros(3), BETWEEN, size=n)
    is_changed = rng.random(n) < changed
    of_window = np.repeat(place[:, np.newaxis], n_windows, axis=1)
    of_window[is_changed, n_windows // 2 :] = other[is_changed, np.newaxis]
    noise = rng.multivariate_normal(np.zeros(3), WITHIN, size=(n, n_windows))
    return of_window + noise, is_changed


def exact_log_odds(first, second):
    """Ratio of the joint densities of two windows, as multivariate normals."""
    total = WITHIN + BETWEEN
    same = stats.multivariate_normal(
        np.zeros(6), np.block([[total, BETWEEN], [BETWEEN, total]])
    )
    alone = stats.multivariate_normal(np.zeros(3), total)
    joint = same.logpdf(np.hstack([first, second]))
    return alone.logpdf(first) + alone.logpdf(second) - joint


def test_log_odds_are_the_ratio_of_the_joint_densities():
    rng = np.random.default_rng(0)
    model = PlaceModel(
        np.zeros(3),
        np.diag(1 / np.sqrt(np.diag(WITHIN))),
        np.diag(BETWEEN) / np.diag(WITHIN),
        np.array([0.1]),
    )
    mean, own = rng.normal(0, 3, (5, 7, 3)), rng.normal(0, 3, (5, 3))
    found = place_log_odds(mean, own, model)
    for i in range(5):
        expected = exact_log_odds(mean[i], np.tile(own[i], (7, 1)))
        np.testing.assert_allclose(found[i], expected)


@pytest.mark.parametrize("changed", [0.0, 0.3])
def test_estimates_are_those_of_the_model_though_some_places_changed(changed):
    mean, is_changed = make_windows(np.random.default_rng(1), changed=changed)
    model = fit_place_model(mean, np.ones(3), np.arange(mean.shape[1]), 1)
    assert model.changed[0] == pytest.approx(changed, abs=0.1)
    found = place_log_odds(mean[:, 1:], mean[:, 0], model)[:, 0]
    expected = exact_log_odds(mean[:, 0], mean[:, 1])
    assert np.corrcoef(found, expected)[0, 1] > 0.98
    if changed:
        right = (found > 0) == is_changed
        best = (expected > 0) == is_changed
        assert right.mean() > best.mean() - 0.01


def test_only_windows_that_do_not_overlap_are_compared():
    apart, _ = make_windows(np.random.default_rng(2))
    # Between them lies a window that shares nearly all dates with the first.
    near = apart[:, :1] + 0.01 * np.random.default_rng(3).normal(size=(4000, 1, 3))
    mean = np.concatenate([apart[:, :1], near, apart[:, 1:]], axis=1)
    model = fit_place_model(mean, np.ones(3), np.arange(mean.shape[1]), 2)
    np.testing.assert_allclose(np.sort(model.ratio)[-2:], [9, 16], rtol=0.2)
    assert (
        fit_place_model(mean, np.ones(3), np.arange(mean.shape[1]), 1).ratio.max() > 20
    )


def test_last_window_is_compared_though_it_lies_off_the_stride():
    """Windows 0-5, 3-8 and 4-9 of ten cells: none apart; of eleven, one pair."""
    mean, _ = make_windows(np.random.default_rng(6), n=10, n_windows=3)
    none, _ = places._pairs(mean, np.array([0, 3, 4]), 6)
    assert len(none) == 0
    first, second = places._pairs(mean, np.array([0, 3, 6]), 6)
    np.testing.assert_array_equal(first, mean[:, 0])
    np.testing.assert_array_equal(second, mean[:, 2])
    # Counted in windows, the last one would be as far from the second.
    first, second = places._pairs(mean, np.array([0, 5, 8]), 5)
    np.testing.assert_array_equal(first, mean[:, 0])
    np.testing.assert_array_equal(second, mean[:, 1])


@pytest.mark.parametrize("n_windows", [3, 4, 5, 9])
def test_some_of_the_pairs_are_of_all_seasons_and_of_all_series(monkeypatch, n_windows):
    """Or one season's weather would stand for how much places vary."""
    monkeypatch.setattr(places, "_MAX_PAIRS", 100)
    mean = np.empty((500, n_windows, 2))
    mean[:, :, 0] = np.arange(500)[:, np.newaxis]
    mean[:, :, 1] = np.arange(n_windows)
    first, second = places._pairs(mean, np.arange(n_windows), 1)
    assert 30 < len(first) <= 100
    np.testing.assert_array_equal(first[:, 0], second[:, 0])
    assert np.diff(np.unique(first[:, 0])).max() <= 16
    pairs, count = np.unique([first[:, 1], second[:, 1]], axis=1, return_counts=True)
    assert pairs.shape[1] == n_windows * (n_windows - 1) // 2
    assert np.ptp(count) <= 1


def test_without_pairs_the_uncertainty_of_the_latents_stands_in():
    mean, _ = make_windows(np.random.default_rng(4), n_windows=1)
    model = fit_place_model(mean, np.diag(WITHIN), np.arange(mean.shape[1]), 1)
    total = np.diag(np.cov(mean[:, 0].T)) / np.diag(WITHIN)
    np.testing.assert_allclose(np.sort(model.ratio + 1), np.sort(total), rtol=0.1)


def test_empty_windows_and_dead_latents_say_nothing():
    mean, _ = make_windows(np.random.default_rng(5), n=200, n_windows=3)
    mean = np.concatenate([mean, np.zeros((200, 3, 1))], axis=2)
    mean[:50, 1] = np.nan
    model = fit_place_model(mean, np.ones(4), np.arange(mean.shape[1]), 1)
    assert (model.basis[3] == 0).all()
    assert np.isfinite(model.ratio).all()
    dead = fit_place_model(np.zeros((5, 2, 4)), np.ones(4), np.arange(2), 1)
    odds = place_log_odds(np.zeros((5, 2, 4)), np.zeros((5, 4)), dead)
    np.testing.assert_array_equal(odds, np.zeros((5, 2)))
