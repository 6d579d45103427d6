"""One chain of the Gibbs sampler: latents, cells and offsets of some samples."""

from typing import NamedTuple

import numpy as np

from . import gibbs

# Values are taken for at most this many standard deviations of their band from its
# mean: as anomalous as can be, and within what single precision can square.
_REACH = 1e6


class Draw(NamedTuple):
    """A draw of latents that can be corrected: what ``_latent_draw`` gives.

    Attributes
    ----------
    latents : list of ndarrays of shape (n_samples, n_blocks, ...)
    mean, std : ndarrays of shape (n_samples, n_bands, n_timesteps)
        Of every cell under them, in units of X.
    log_weight : ndarray of shape (n_samples, n_blocks)
        Log-density of the latents under their prior, less that of drawing them.
    block : ndarray of shape (n_timesteps,) of int
        Which block of latents each date depends on; blocks are independent.
    """

    latents: list
    mean: np.ndarray
    std: np.ndarray
    log_weight: np.ndarray
    block: np.ndarray


class Chain:
    """One chain over some samples: latents and cell indicators, redrawn in turn.

    Attributes
    ----------
    offset_std, noise_scale : ndarrays of shape (n_bands,)
        As fitted; to be set before the first sweep.
    offset : ndarray of shape (n_samples, n_bands, 1)
        The last one drawn.
    mean, std : ndarrays of shape (n_samples, n_bands, n_timesteps)
        What latents and offset say of every cell if nothing has happened.
    latents : list of ndarrays, or None
        As last taken, if they may be corrected.
    accepted : ndarray of shape (n_samples,)
        Share of the latents' last draw that was taken.
    """

    def __init__(self, explainer, detector, number, X, y, label_time, changed, dates):
        self.explainer = explainer
        self.detector = detector
        self.X = _within_reach(X, explainer.band_mean_, explainer.band_std_)
        self.values = self.X.astype(np.float64, copy=False)
        self.hidden = changed
        # A detector without a calendar need not know of dates.
        calendar = {} if dates is None else {"dates": dates}
        self.given = dict(y=y, label_time=label_time, **calendar)
        self.regimes = check_regimes(explainer.flag_rate, explainer.run_length)
        self.streams = gibbs.SampleStreams(explainer.seed_, number, X, y, label_time)
        # Chains that start apart and end up together have found the same answer.
        self.state = np.full(X.shape, number % 2 == 1)
        self.offset = np.zeros((*X.shape[:2], 1), dtype=X.dtype)
        self.accepted = np.ones(len(X))
        self.latents = None

    def sweep(self, weigh=False, correct=False):
        """Redraw latents, cells and offsets: conditional probability of each cell.

        Parameters
        ----------
        weigh : bool
            Whether to draw latents that can be corrected.
        correct : bool
            Whether to stay, perhaps, where the last draw led; of no effect on draws
            that cannot be corrected.
        """
        if weigh:
            self._propose(correct)
        else:
            drawn = self._ask("_posterior_draw", rng=self.streams)
            self.mean, self.std = self._spike(*drawn)
        n, n_bands, n_timesteps = self.X.shape
        conditional = gibbs.sweep(
            self._log_odds(),
            *self.regimes,
            float(self.explainer.band_coupling),
            self.streams.random((n, n_bands, n_timesteps + 1)),
            self.state,
        )
        if self.offset_std.any():
            self._draw_offset()
        return conditional

    def _ask(self, step, **more):
        """Have the detector do a step, with the cells set aside not observed."""
        missing = self.state | self.hidden[:, np.newaxis]
        step = getattr(self.detector, step)
        return step(self.X - self.offset, missing, **self.given, **more)

    def _spike(self, mean, std):
        """What latents say of every cell, with the offset and in the noise there is."""
        return mean + self.offset, std * self.noise_scale[:, np.newaxis]

    def relative_noise(self):
        """Spread of the cells that are not set aside, in units of `std`, by band."""
        normal = ~np.isnan(self.X) & ~self.state
        away = np.where(normal, (self.values - self.mean) / self.std, 0)
        count = normal.sum(axis=(0, 2))
        square = (away**2).sum(axis=(0, 2)) / np.maximum(count, 1)
        return np.where((count > 0) & (square > 0), np.sqrt(square), 1)

    def _log_odds(self):
        explainer = self.explainer
        return gibbs.log_density_ratio(
            self.values,
            self.mean,
            self.std,
            explainer.band_mean_,
            self._slab_std,
            self._centred,
        )

    @property
    def _centred(self):
        return self.explainer.slab == "latents"

    @property
    def _slab_std(self):
        return self.explainer.slab_scale * self.explainer.band_std_

    def _draw_offset(self):
        """Redraw what sets the series apart from what the latents say of it."""
        seen = ~np.isnan(self.X) & ~self.hidden[:, np.newaxis]
        spread = np.where(self.state, self._slab_std[:, np.newaxis], self.std)
        if not self._centred:
            seen &= ~self.state
        precision = np.where(seen, 1 / spread**2, 0)
        away = np.where(seen, self.values - self.mean + self.offset, 0)
        prior = self.offset_std[:, np.newaxis]
        known = 1 / (precision.sum(axis=2, keepdims=True) * prior**2 + 1)
        mean = known * prior**2 * (precision * away).sum(axis=2, keepdims=True)
        numbers = self.streams.standard_normal(mean.shape)
        drawn = mean + prior * np.sqrt(known) * numbers
        self.mean = self.mean + (drawn - self.offset)
        self.offset = drawn.astype(self.X.dtype)

    def _propose(self, correct):
        """Draw latents, and take them, or perhaps stay."""
        new = Draw(*self._ask("_latent_draw", rng=self.streams))
        mean, std = self._spike(new.mean, new.std)
        new = new._replace(mean=mean, std=std)
        n, n_blocks = new.log_weight.shape
        uniforms = self.streams.random((n, n_blocks))
        accept = np.ones((n, n_blocks), dtype=bool)
        if correct and self.latents is not None:
            # By how much the density of the draw exceeds that of what would stay, each
            # in units of how probably it is drawn.
            blocks = new.block, n_blocks
            gain = new.log_weight + self._log_likelihood(new.mean, new.std, *blocks)
            gain -= self._ask("_latent_log_weight", latents=self.latents)
            gain -= self._log_likelihood(self.mean, self.std, *blocks)
            accept = np.log(uniforms) < gain
        self.accepted = accept.mean(axis=1)
        if self.latents is None:
            self.latents, self.mean, self.std = new.latents, new.mean, new.std
            return
        self.latents = [
            np.where(accept.reshape(n, n_blocks, *[1] * (now.ndim - 2)), now, before)
            for now, before in zip(new.latents, self.latents, strict=True)
        ]
        taken = accept[:, np.newaxis, new.block]
        self.mean = np.where(taken, new.mean, self.mean)
        self.std = np.where(taken, new.std, self.std)

    def _log_likelihood(self, mean, std, block, n_blocks):
        slab_std = self._slab_std if self._centred else np.full(len(mean[0]), np.inf)
        return gibbs.block_log_likelihood(
            self.values,
            mean,
            std,
            slab_std,
            self.state,
            self.hidden,
            block,
            n_blocks,
        )


def _within_reach(X, mean, std):
    """The series without values that overflow, and without bands that fit never saw."""
    mean, reach = mean[:, np.newaxis], _REACH * std[:, np.newaxis]
    # NaN bounds make NaN of a band that nothing is known of.
    return np.clip(X, mean - reach, mean + reach).astype(X.dtype, copy=False)


def check_regimes(flag_rate, run_length):
    """Every rate with every run length, as two arrays."""
    found = []
    for name, values, wanted, right in (
        ("flag_rate", flag_rate, "between 0 and 1", lambda v: (v > 0) & (v < 1)),
        ("run_length", run_length, "of at least 1", lambda v: v >= 1),
    ):
        try:
            values = np.atleast_1d(np.asarray(values, dtype=np.float64))
        except (TypeError, ValueError):
            raise TypeError(
                f"{name} must be a number {wanted}, or several; got {values!r}."
            ) from None
        if values.ndim > 1 or len(values) == 0 or not right(values).all():
            raise ValueError(
                f"{name} must be a number {wanted}, or several; got {values.tolist()}."
            )
        found.append(values)
    rate, length = (part.ravel() for part in np.meshgrid(*found))
    begins = rate / (length * (1 - rate))
    if (begins > 1).any():
        worst = begins.argmax()
        raise ValueError(
            f"flag_rate={rate[worst]} is more than runs of run_length={length[worst]} "
            "dates can make up, with a normal date at least between two of them."
        )
    return rate, length
