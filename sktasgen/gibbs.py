"""The Gibbs sampler of cell indicators: its kernels and its random numbers.

The kernels are pure functions from arrays to arrays, compiled by numba; every
random number they use is handed to them, so the same numbers give the same bits.
The joint density they sample is written out in
:class:`~sktasgen.explainer.GibbsExplainer`.
"""

from hashlib import blake2b
from math import exp, isnan, log

import numpy as np
from numba import njit


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
def sweep(
    log_odds, prior_logit, prior_strength, coupling, band_coupling, uniforms, state
):
    r"""Redraw every cell indicator once, in order of date, given all the others.

    One systematic scan of Gibbs sampling (Geman and Geman, 1984) from

    .. math::
        p(s) \propto \pi(s) \exp\Big(\sum_{bt} \ell_{bt} s_{bt}
                 + \kappa \sum_{b, (t, t')} [s_{bt} = s_{bt'}]
                 + \tfrac{\kappa_B}{B - 1} \sum_{t, b < b'} [s_{bt} = s_{b't}]\Big)

    for each sample, where :math:`\ell` is `log_odds`, :math:`\kappa` is `coupling`,
    :math:`\kappa_B` is `band_coupling`, B the number of bands, and :math:`(t, t')`
    runs over the consecutive observed dates of band b. The observed dates either side
    of a gap are thus neighbours: dates on which nothing was seen can be added to a
    series or left out without changing the answer. The prior :math:`\pi` is that of
    independent indicators whose common rate is known or has a beta distribution,
    integrated out.

    Parameters
    ----------
    log_odds : ndarray of shape (n_samples, n_bands, n_timesteps)
        Log of the odds that a cell is anomalous, before prior and neighbours are
        heard; NaN marks a cell that is not observed.
    prior_logit : float
        Log-odds of the prior rate, or of its mean.
    prior_strength : float
        Number of cells that the prior rate counts for, the sum of the parameters of
        its beta distribution; inf for a known rate.
    coupling : float
        Log-odds that one neighbour in time adds in favour of its own state.
    band_coupling : float
        Log-odds that all other bands of the date together add in favour of a state
        they agree on.
    uniforms : ndarray of shape (n_samples, n_bands, n_timesteps)
        Uniform random numbers in [0, 1), one for each cell.
    state : ndarray of shape (n_samples, n_bands, n_timesteps), dtype bool
        The indicators, redrawn in place: True = anomalous. Cells that are not
        observed are neither read nor written.

    Returns
    -------
    ndarray of shape (n_samples, n_bands, n_timesteps)
        Probability that each cell is anomalous given the indicators of the others
        as they stood when it was redrawn; NaN where not observed. Averaged over
        sweeps it estimates the marginal with less variance than the indicators.
    """
    n_samples, n_bands, n_timesteps = log_odds.shape
    conditional = np.full(log_odds.shape, np.nan)
    # More could not be told from it, and its exponential would overflow.
    coupling = min(coupling, 300.0)
    per_band = band_coupling / max(n_bands - 1, 1)
    known_rate = prior_strength == np.inf
    prior = exp(-prior_logit)
    strength_on = prior_strength * _expit(prior_logit)
    strength_off = prior_strength * _expit(-prior_logit)
    dates = np.empty(n_timesteps, dtype=np.int64)
    # Odds against a flag, and what a neighbour makes of them.
    against = np.empty(n_timesteps)
    after_flag, after_none = np.empty(n_timesteps), np.empty(n_timesteps)
    pull_of_flag, pull_of_none = exp(-coupling), exp(coupling)
    excess = np.empty(n_timesteps)
    for i in range(n_samples):
        # Flagged cells of each date less the others, and of the sample.
        excess[:] = 0.0
        n_seen = n_flagged = 0
        for b in range(n_bands):
            for t in range(n_timesteps):
                if not isnan(log_odds[i, b, t]):
                    excess[t] += 1.0 if state[i, b, t] else -1.0
                    n_seen += 1
                    n_flagged += state[i, b, t]
        for b in range(n_bands):
            n_dates = 0
            for t in range(n_timesteps):
                dates[n_dates] = t
                n_dates += not isnan(log_odds[i, b, t])
            # All but the prior and the date before, which is still to be redrawn.
            for j in range(n_dates):
                t = dates[j]
                logit = log_odds[i, b, t]
                logit += per_band * (excess[t] - (1.0 if state[i, b, t] else -1.0))
                if j + 1 < n_dates:
                    logit += coupling if state[i, b, dates[j + 1]] else -coupling
                against[j] = exp(-logit) if logit > -709 else np.inf
            if known_rate:
                # For both states of the date before: none need wait for the last.
                for j in range(n_dates):
                    after_flag[j] = 1.0 / (1.0 + against[j] * prior * pull_of_flag)
                    after_none[j] = 1.0 / (1.0 + against[j] * prior * pull_of_none)
            flagged, pull = False, 1.0
            for j in range(n_dates):
                t = dates[j]
                was_flagged = state[i, b, t]
                if known_rate and j > 0:
                    probability = after_flag[j] if flagged else after_none[j]
                else:
                    if not known_rate:
                        n_flagged -= was_flagged
                        n_others = n_seen - 1 - n_flagged
                        prior = (strength_off + n_others) / (strength_on + n_flagged)
                    probability = 1.0 / (1.0 + against[j] * prior * pull)
                flagged = uniforms[i, b, t] < probability
                conditional[i, b, t] = probability
                state[i, b, t] = flagged
                excess[t] += 2.0 * flagged - 2.0 * was_flagged
                n_flagged += flagged
                pull = pull_of_flag if flagged else pull_of_none
    return conditional


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


@njit(cache=True, nogil=True)
def _expit(logit):
    """Logistic function; the sign decides the form, so that neither overflows."""
    if logit >= 0:
        return 1.0 / (1.0 + exp(-logit))
    odds = exp(logit)
    return odds / (1.0 + odds)


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
