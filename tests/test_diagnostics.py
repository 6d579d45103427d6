"""Without these: chains that never met would be averaged without a word."""

import numpy as np
import pytest

from sktasgen.diagnostics import effective_sample_size, split_r_hat


def autoregressive(correlation, n_chains, n_draws, n, rng):
    """Stationary chains of unit variance whose successive draws correlate so."""
    noise = rng.normal(size=(n_chains, n_draws, n))
    draws = noise.copy()
    for t in range(1, n_draws):
        draws[:, t] = correlation * draws[:, t - 1]
        draws[:, t] += np.sqrt(1 - correlation**2) * noise[:, t]
    return draws


@pytest.mark.parametrize("correlation", [-0.4, 0.0, 0.5, 0.9])
def test_effective_sample_size_is_that_of_autoregressive_chains(correlation):
    draws = autoregressive(correlation, 4, 2000, 40, np.random.default_rng(0))
    expected = 8000 * (1 - correlation) / (1 + correlation)
    assert effective_sample_size(draws).mean() == pytest.approx(expected, rel=0.05)


def test_effective_sample_size_of_what_does_not_move_and_of_too_little():
    still = np.full((2, 20, 3), 0.3)
    assert effective_sample_size(still).tolist() == [40, 40, 40]
    assert np.isnan(effective_sample_size(still[:, :3])).all()
    # Chains that are apart are worth no more than their number.
    apart = autoregressive(0, 2, 100, 3, np.random.default_rng(0))
    apart[1] += 20
    assert (effective_sample_size(apart) < 5).all()


def halves(draws):
    """Moments of the halves of chains (n_chains, n_draws, n_samples, ...)."""
    parts = np.concatenate(np.split(draws, 2, axis=1))
    return parts.mean(axis=1), parts.var(axis=1, ddof=1), parts.shape[1]


def test_r_hat_of_one_cell_is_that_of_the_textbook():
    draws = np.random.default_rng(0).normal(size=(3, 40, 5))
    draws[1] += 0.3
    means, variances, n = halves(draws)
    between, within = n * means.var(axis=0, ddof=1), variances.mean(axis=0)
    expected = np.sqrt(((n - 1) / n * within + between / n) / within)
    np.testing.assert_allclose(
        split_r_hat(means, variances, n), np.maximum(expected, 1)
    )


def test_r_hat_is_near_one_only_where_all_halves_agree():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2, 100, 4, 50))
    draws[1, :, 1, :5] += 3  # chains disagree on some cells
    draws[:, 50:, 2, :5] += 3  # chains still on their way
    draws[:, :, 3, 7] = np.nan  # a cell that does not count
    r_hat = split_r_hat(*halves(draws))
    assert (r_hat[[0, 3]] < 1.02).all() and (r_hat[[1, 2]] > 1.1).all()


def test_r_hat_of_frozen_chains_tells_whether_they_froze_alike():
    means, variances = np.zeros((4, 3, 6)), np.zeros((4, 3, 6))
    means[2:, 1, 2] = 1
    assert split_r_hat(means, variances, 10).tolist() == [1, np.inf, 1]
    assert np.isnan(split_r_hat(means, variances, 4)).all()
