"""Have the chains of a sampler converged? Split R-hat and effective sample size."""

import numpy as np

# Fewer draws in a half are too few to tell how much they vary.
_LEAST_DRAWS = 5


def split_r_hat(means, variances, n_draws):
    """Potential scale reduction of each sample, from the halves of its chains.

    Parameters
    ----------
    means, variances : ndarrays of shape (n_halves, n_samples, ...)
        Over the draws of each half of each chain, cell by cell; NaN for cells that do
        not count. Variances divide by the number of draws less one.
    n_draws : int
        Draws in a half.

    Returns
    -------
    ndarray of shape (n_samples,)
        About 1 where all halves agree; inf where each stays what it is and they
        differ, 1 where nothing varies at all. NaN with fewer than five draws in a half.

    Notes
    -----
    The variances between and within halves are added up over the cells of a sample
    before they are compared: a ratio for each cell would call some cell of many
    unconverged by chance. This is the multivariate diagnostic of Brooks and Gelman
    with the trace for the largest eigenvalue.

    References
    ----------
    A. Gelman and D. B. Rubin, "Inference from iterative simulation using multiple
    sequences", Statistical Science 7 (1992); S. P. Brooks and A. Gelman, "General
    methods for monitoring convergence of iterative simulations", Journal of
    Computational and Graphical Statistics 7 (1998); A. Vehtari et al.,
    "Rank-normalization, folding, and localization: an improved R-hat for assessing
    convergence of MCMC", Bayesian Analysis 16 (2021), for the halves.
    """
    n_samples = means.shape[1]
    if n_draws < _LEAST_DRAWS:
        return np.full(n_samples, np.nan)
    between = means.var(axis=0, ddof=1).reshape(n_samples, -1)
    within = variances.mean(axis=0).reshape(n_samples, -1)
    between, within = np.nansum(between, axis=1), np.nansum(within, axis=1)
    # What rounding leaves where all draws are the same is no difference.
    ratio = np.full(n_samples, np.inf)
    ratio[between < 1e-12] = 0
    np.divide(between, within, out=ratio, where=(between >= 1e-12) & (within >= 1e-12))
    # Never below 1: halves that agree better than by chance have not converged more.
    return np.maximum(np.sqrt((n_draws - 1) / n_draws + ratio), 1)


def effective_sample_size(traces):
    """Independent draws that the draws of chains are worth, for the mean of each.

    Parameters
    ----------
    traces : ndarray of shape (n_chains, n_draws, n_samples)

    Returns
    -------
    ndarray of shape (n_samples,)
        At most the number of draws times its decimal logarithm; the number of draws
        where nothing varies, NaN with fewer than four draws.

    Notes
    -----
    From the autocorrelations of the halves of all chains together, summed up to where
    the sum of two successive ones is no longer positive, none of these sums being
    larger than the one before (Geyer's initial monotone sequence).

    References
    ----------
    C. J. Geyer, "Practical Markov chain Monte Carlo", Statistical Science 7 (1992);
    A. Vehtari et al., as for `split_r_hat`.
    """
    half = traces.shape[1] // 2
    if half < 2:
        return np.full(traces.shape[2], np.nan)
    halves = np.concatenate([traces[:, :half], traces[:, -half:]])
    total = len(halves) * half
    mean = halves.mean(axis=1, keepdims=True)
    away = halves - mean
    covariance = np.stack(
        [
            (away[:, lag:] * away[:, : half - lag]).sum(axis=1).mean(axis=0) / half
            for lag in range(half)
        ]
    )
    within = covariance[0] * half / (half - 1)
    both = covariance[0] + mean.var(axis=0, ddof=1)[0]
    varies = both > 1e-12 * np.maximum(1, np.abs(mean).max(axis=(0, 1))) ** 2
    both = np.where(varies, both, 1)
    correlation = 1 - (within - covariance) / both
    correlation[0] = 1
    pairs = correlation[: half - half % 2].reshape(half // 2, 2, -1).sum(axis=1)
    pairs = np.minimum.accumulate(np.where(pairs > 0, pairs, 0), axis=0)
    tau = np.maximum(2 * pairs.sum(axis=0) - 1, 1 / np.log10(max(total, 10)))
    return np.where(varies, total / tau, total)
