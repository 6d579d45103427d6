"""Without these: scores that mean something else than the docs say."""

import numpy as np
import pytest
from scipy import stats

from sktasgen import scores


def test_contrast_is_minus_log_of_bayes_rule():
    rng = np.random.default_rng(0)
    prior = np.array([0.2, 0.5, 0.3])
    x = rng.normal(size=(4, 6))
    density = np.stack([stats.norm.pdf(x, k, 1) for k in range(3)], axis=1)
    joint = np.log(prior)[:, None] + np.log(density)
    y = np.array([0, 2, 1, 1])
    joint_density = prior[:, None] * density
    given = joint_density / joint_density.sum(axis=1, keepdims=True)
    expected = -np.log([given[i, k] for i, k in enumerate(y)])
    np.testing.assert_allclose(scores.contrast(joint, y), expected)
    total = -np.log(joint_density.sum(axis=1))
    np.testing.assert_allclose(scores.mixture_novelty(joint), total)


def test_own_distance_is_the_mahalanobis_distance_per_active_latent():
    rng = np.random.default_rng(1)
    mean, own = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 3))
    variance = np.array([0.5, 1e-6, 2.0])
    found = scores.own_distance(mean, own, variance)
    for i in range(2):
        for w in range(5):
            shift = (mean[i, w] - own[i])[[0, 2]]
            expected = shift @ np.diag([1 / 0.5, 1 / 2.0]) @ shift / 2
            assert found[i, w] == pytest.approx(expected)


def test_smoothing_averages_what_was_observed_and_invents_nothing():
    row = np.array([[1.0, np.nan, 4.0, 7.0, np.nan, np.nan, 2.0]])
    found = scores.smooth(row, 3)
    expected = [[1.0, np.nan, 5.5, 5.5, np.nan, np.nan, 2.0]]
    np.testing.assert_allclose(found, expected)
    assert scores.smooth(row, 1) is row


def test_sample_maximum_of_nothing_is_nan():
    found = scores.sample_maximum(np.array([[1.0, np.nan, 3.0], [np.nan] * 3]))
    np.testing.assert_array_equal(found, [3.0, np.nan])


def test_longest_run_skips_what_was_not_observed():
    flags = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=bool)
    seen = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]], dtype=bool)
    assert scores.longest_run(flags & seen, seen).tolist() == [2, 3, 0]


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_upper_quantile_is_exceeded_at_the_rate(rate):
    values = np.random.default_rng(2).normal(size=20_000)
    share = (values > scores.upper_quantile(values, rate)).mean()
    assert share <= rate
    assert share == pytest.approx(rate, abs=1e-3)


def test_without_any_score_nothing_is_flagged():
    assert scores.upper_quantile(np.full(3, np.nan), 0.05) == np.inf
