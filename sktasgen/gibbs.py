"""The Gibbs sampler of cell indicators: its kernels and its random numbers.

The kernels are pure functions from arrays to arrays, compiled by numba; every
random number they use is handed to them, so the same numbers give the same bits.
The joint density they sample is written out in
:class:`~sktasgen.GibbsExplainer`.
"""

from hashlib import blake2b
from math import exp, isnan, log

import numpy as np
from numba import njit

# Evidence against a state, in nats, beyond which more of it does not count: a state
# that is all a chain has left must not vanish.
_LEAST_LOG = -460.0


@njit(cache=True, nogil=True)
def log_density_ratio(X, mean, std, slab_mean, slab_std, centred):
    r"""Log density of each cell under the slab over that under the spike.

    .. math:: \log N(x_{bt}; c_{bt}, w_b^2) - \log N(x_{bt}; \mu_{bt}, \sigma_{bt}^2)

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
        Observed values, NaN where not observed.
    mean, std : ndarray of shape (n_samples, n_bands, n_timesteps)
        The spike: mean and standard deviation of a normal cell, in units of X.
    slab_mean, slab_std : ndarray of shape (n_bands,)
        The slab: mean and standard deviation of an anomalous cell of a band.
    centred : bool
        Whether the slab is centred at `mean` instead of `slab_mean`.

    Returns
    -------
    ndarray of shape (n_samples, n_bands, n_timesteps)
        In nats, positive where the slab explains the cell better; NaN where not
        observed.
    """
    n_samples, n_bands, n_timesteps = X.shape
    ratio = np.empty(X.shape, dtype=np.float64)
    for i in range(n_samples):
        for b in range(n_bands):
            for t in range(n_timesteps):
                center = mean[i, b, t] if centred else slab_mean[b]
                spike = (X[i, b, t] - mean[i, b, t]) / std[i, b, t]
                slab = (X[i, b, t] - center) / slab_std[b]
                ratio[i, b, t] = 0.5 * (spike * spike - slab * slab) + log(
                    std[i, b, t] / slab_std[b]
                )
    return ratio


@njit(cache=True, nogil=True)
def sweep(log_odds, rate, run_length, band_coupling, uniforms, state):
    r"""Redraw the indicators of every band, all dates at once, given the other bands.

    One scan of blocked Gibbs sampling from

    .. math::
        p(s) \propto \prod_b \Big( \frac{1}{R} \sum_r p_r(s_b) \Big)
            \exp\Big(\sum_{bt} \ell_{bt} s_{bt}
                + \frac{\kappa}{B - 1} \sum_{t, b < b'} [s_{bt} = s_{b't}]\Big)

    for each sample, where :math:`\ell` is `log_odds`, :math:`\kappa` is
    `band_coupling`, B the number of bands, and :math:`p_r` the stationary Markov chain
    of the indicators of a band, from one observed date to the next, of which the share
    ``rate[r]`` is anomalous, in runs of ``run_length[r]`` dates on average: an Ising
    chain, told by what one may know of it. Dates on which nothing was seen can be
    added to a series or left out without changing the answer.

    Parameters
    ----------
    log_odds : ndarray of shape (n_samples, n_bands, n_timesteps)
        Log of the odds that a cell is anomalous, before prior and neighbours are
        heard; NaN marks a cell that is not observed.
    rate, run_length : ndarrays of shape (n_regimes,)
        Of the chains that a band may follow, all of them as likely.
    band_coupling : float
        Log-odds that all other bands of the date together add in favour of a state
        they agree on.
    uniforms : ndarray of shape (n_samples, n_bands, n_timesteps + 1)
        Uniform random numbers in [0, 1), one for each cell and one for the regime.
    state : ndarray of shape (n_samples, n_bands, n_timesteps), dtype bool
        The indicators, redrawn in place: True = anomalous. Cells that are not
        observed are neither read nor written.

    Returns
    -------
    ndarray of shape (n_samples, n_bands, n_timesteps)
        Probability that each cell is anomalous given the indicators of the other
        bands as they stood; NaN where not observed. Averaged over sweeps it estimates
        the marginal with less variance than the indicators.

    References
    ----------
    S. L. Scott, "Bayesian methods for hidden Markov models: recursive computing in the
    21st century", Journal of the American Statistical Association 97 (2002): forward
    filtering and backward sampling.
    """
    n_samples, n_bands, n_timesteps = log_odds.shape
    n_regimes = len(rate)
    conditional = np.full(log_odds.shape, np.nan)
    per_band = band_coupling / max(n_bands - 1, 1)
    # From a date that is normal, or anomalous, to an anomalous one.
    begins, lasts = rate / (run_length * (1 - rate)), 1 - 1 / run_length
    dates = np.empty(n_timesteps, dtype=np.int64)
    excess = np.empty(n_timesteps)
    # Given the dates up to one: that it is anomalous, or not; and before it was seen.
    on, off, ahead = np.empty((3, n_timesteps, n_regimes))
    weight, later = np.empty(n_regimes), np.empty(n_regimes)
    for i in range(n_samples):
        # Bands of each date that are flagged, less the others.
        excess[:] = 0.0
        for b in range(n_bands):
            for t in range(n_timesteps):
                if not isnan(log_odds[i, b, t]):
                    excess[t] += 1.0 if state[i, b, t] else -1.0
        for b in range(n_bands):
            n_dates = 0
            for t in range(n_timesteps):
                dates[n_dates] = t
                n_dates += not isnan(log_odds[i, b, t])
            if n_dates == 0:
                continue
            weight[:] = 1.0
            for j in range(n_dates):
                t = dates[j]
                excess[t] -= 1.0 if state[i, b, t] else -1.0
                odds = log_odds[i, b, t] + per_band * excess[t]
                like_on = exp(max(min(odds, 0.0), _LEAST_LOG))
                like_off = exp(max(min(-odds, 0.0), _LEAST_LOG))
                for r in range(n_regimes):
                    coming = rate[r]
                    if j > 0:
                        coming = on[j - 1, r] * lasts[r] + off[j - 1, r] * begins[r]
                    ahead[j, r] = coming
                    on[j, r] = coming * like_on
                    off[j, r] = (1.0 - coming) * like_off
                    total = on[j, r] + off[j, r]
                    on[j, r] /= total
                    off[j, r] /= total
                    weight[r] *= total
                weight /= weight.max()
            weight /= weight.sum()
            drawn = _draw(weight, uniforms[i, b, n_timesteps])
            later[:] = on[n_dates - 1]
            flagged = uniforms[i, b, dates[n_dates - 1]] < later[drawn]
            for j in range(n_dates - 1, -1, -1):
                t = dates[j]
                if j + 1 < n_dates:
                    for r in range(n_regimes):
                        then_on = _share(on[j, r] * lasts[r], ahead[j + 1, r])
                        then_off = _share(
                            on[j, r] * (1 - lasts[r]), 1 - ahead[j + 1, r]
                        )
                        if r == drawn:
                            probability = then_on if flagged else then_off
                        later[r] = later[r] * then_on + (1 - later[r]) * then_off
                    flagged = uniforms[i, b, t] < probability
                conditional[i, b, t] = min((weight * later).sum(), 1.0)
                state[i, b, t] = flagged
                excess[t] += 1.0 if flagged else -1.0
    return conditional


@njit(cache=True, nogil=True)
def _draw(weight, uniform):
    """Index drawn with probabilities that add up to 1."""
    so_far = 0.0
    for r in range(len(weight)):
        so_far += weight[r]
        if uniform < so_far:
            return r
    return len(weight) - 1


@njit(cache=True, nogil=True)
def _share(part, total):
    """Part of a total, at most all of it; of nothing, none."""
    return min(part / total, 1.0) if total > 0 else 0.0


@njit(cache=True, nogil=True)
def block_log_likelihood(X, mean, std, slab_std, state, hidden, block, n_blocks):
    r"""Log density of the cells that depend on the latents, block by block.

    Of those not flagged under the spike, and of flagged ones under a slab centred at
    the latents' mean.

    Parameters
    ----------
    X, mean, std : ndarray of shape (n_samples, n_bands, n_timesteps)
        As for `log_density_ratio`.
    slab_std : ndarray of shape (n_bands,)
        Infinite where the slab is centred elsewhere: flagged cells then do not count.
    state : ndarray of shape (n_samples, n_bands, n_timesteps), dtype bool
        The indicators.
    hidden : ndarray of shape (n_samples, n_timesteps), dtype bool
        Dates that the latents have no part in.
    block : ndarray of shape (n_timesteps,) of int
        Block of each date.
    n_blocks : int

    Returns
    -------
    ndarray of shape (n_samples, n_blocks)
        In nats, up to a constant.
    """
    n_samples, n_bands, n_timesteps = X.shape
    total = np.zeros((n_samples, n_blocks))
    for i in range(n_samples):
        for b in range(n_bands):
            for t in range(n_timesteps):
                if isnan(X[i, b, t]) or hidden[i, t]:
                    continue
                spread = slab_std[b] if state[i, b, t] else std[i, b, t]
                if spread == np.inf:
                    continue
                away = (X[i, b, t] - mean[i, b, t]) / spread
                total[i, block[t]] -= 0.5 * away * away + log(spread)
    return total


class SampleStreams:
    """One stream of random numbers for each sample, seeded by its own content.

    What a sample draws depends on the seed, the chain and the sample, never on its
    position, on the samples beside it or on threads. Equal samples draw alike.

    Parameters
    ----------
    seed : int
        Seed that all samples share.
    chain : int
        Index of the chain; each has streams of its own.
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
        The samples. Only their values count: float32 and float64 of the same value,
        all NaN, and both zeros are the same.
    y : ndarray of shape (n_samples,), default=None
        Class labels, where given part of the content.
    label_time : ndarray of shape (n_samples,), default=None
        Index of the date at which `y` holds, where given part of the content.

    Examples
    --------
    >>> import numpy as np
    >>> from sktasgen.gibbs import SampleStreams
    >>> X = np.arange(12.0).reshape(2, 2, 3)
    >>> together = SampleStreams(0, 0, X).random((2, 5))
    >>> alone = SampleStreams(0, 0, X[1:]).random((1, 5))
    >>> bool(np.array_equal(together[1:], alone))
    True
    """

    def __init__(self, seed, chain, X, y=None, label_time=None):
        values = np.where(np.isnan(X), np.nan, X).astype(np.float64, order="C")
        values += 0.0  # -0.0 becomes 0.0
        self._generators = [
            np.random.Generator(
                np.random.PCG64(
                    _digest(
                        sample,
                        seed,
                        chain,
                        None if y is None else y[i],
                        None if label_time is None else label_time[i],
                    )
                )
            )
            for i, sample in enumerate(values)
        ]

    def standard_normal(self, size):
        """Draw standard normal numbers.

        Parameters
        ----------
        size : tuple of int, or int
            Shape wanted; its first axis is the sample.

        Returns
        -------
        ndarray of shape `size`
            Row i comes from the stream of sample i.
        """
        return self._draw(np.random.Generator.standard_normal, size)

    def random(self, size):
        """Draw uniform numbers in [0, 1).

        Parameters
        ----------
        size : tuple of int, or int
            Shape wanted; its first axis is the sample.

        Returns
        -------
        ndarray of shape `size`
            Row i comes from the stream of sample i.
        """
        return self._draw(np.random.Generator.random, size)

    def _draw(self, method, size):
        size = (size,) if np.ndim(size) == 0 else tuple(size)
        if size[:1] != (len(self._generators),):
            raise ValueError(
                f"size must have one row for each of the {len(self._generators)} "
                f"samples, got {size}"
            )
        numbers = np.empty(size)
        rows = numbers.reshape(size[0], int(np.prod(size[1:])))
        for generator, row in zip(self._generators, rows, strict=True):
            method(generator, out=row)
        return numbers


def _digest(sample, *context):
    """Hash a sample and what belongs to it to an integer, the same on any machine."""
    digest = blake2b(repr([str(item) for item in context]).encode(), digest_size=16)
    digest.update(sample.astype("<f8", copy=False).tobytes())
    return int.from_bytes(digest.digest(), "little")
