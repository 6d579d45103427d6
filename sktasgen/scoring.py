"""From series to date scores and reconstructions, with a trained network.

The door between the two worlds: validated series in their own units on one side,
standardised windows of the season grid on the other.
"""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils import gen_batches

from . import places, scores
from .decoding import season_switch_cost
from .windows import Windowing, aligned_windows, overlap_average, window_cells

# Dates that scores are averaged over where `smoothing` is "auto" and no class decodes.
_SMOOTHING = 5
# Values of the series looked at in one go; bounds memory.
_CHUNK_SIZE = 2**22


@dataclass(frozen=True, eq=False)
class Scorer:
    """A trained network, and all it takes to score series of some dates.

    In its methods `X` are validated series of shape ``(n_samples, n_bands,
    n_timesteps)``, `classes` the class number of each sample, or None for the
    mixture of all, and `times` the index of its labelled date: where its class is
    held (None holds none), or whose window is its own for the self reference.

    Attributes
    ----------
    windowing : windows.Windowing
        Of these dates.
    reference : {"class", "self", "any"}
    network : dict
        Arguments of `networks.HTSVAE`.
    weights : dict of str to ndarray
    device : str
    center, scale : ndarrays of shape (n_bands, n_timesteps) or (n_bands, 1)
        What bands are standardised by, date by date.
    class_prior : ndarray of shape (n_classes,)
    place_model : places.PlaceModel, or None
        For the self reference.
    smoothing : "auto" or int
    min_observations : int
    """

    windowing: Windowing
    reference: str
    network: dict
    weights: dict
    device: str
    center: np.ndarray
    scale: np.ndarray
    class_prior: np.ndarray
    place_model: places.PlaceModel | None
    smoothing: str | int
    min_observations: int

    # Scores

    def decodes(self, classes):
        """Whether scores come from forward-backward over classes."""
        return self._contrasts(classes) and self.smoothing == "auto"

    def _contrasts(self, classes):
        return classes is not None and len(self.class_prior) > 1

    def timesteps(self, X, classes, times):
        """Score of each date: ndarray of shape (n_samples, n_timesteps)."""
        return self._by_chunk(self._timesteps, X, classes, times)

    def exceed(self, X, classes, times, threshold):
        """Dates with a higher score: ndarray of shape (n_samples, n_timesteps)."""

        def exceed(*chunk):
            return self._timesteps(*chunk) > threshold

        return self._by_chunk(exceed, X, classes, times)

    def samples(self, X, classes, times):
        """Highest score of each sample's dates: ndarray of shape (n_samples,)."""

        def highest(*chunk):
            return scores.sample_maximum(self._timesteps(*chunk))

        return self._by_chunk(highest, X, classes, times)

    def parts(self, X, classes, times):
        """Temporal, spectral and joint score of each date: an array of three."""
        return np.moveaxis(self._by_chunk(self._parts, X, classes, times), 1, 0)

    def _timesteps(self, X, classes, times):
        find = self._self_scores if self.reference == "self" else self._elbo_scores
        score = self._known(find(X, classes, times), X, times)
        return score if self.decodes(classes) else self._smooth(score)

    def _parts(self, X, classes, times):
        grid = self.grid(X)
        repeated, course = self._decoded_under(grid, classes, times)
        found = self._runner(grid.dtype).parts(grid, repeated, course=course)
        found = [self._per_timestep(part) for part in found]
        if self.reference == "self":
            found[0] = self._self_scores(X, classes, times)
        known = [self._smooth(self._known(part, X, times)) for part in found]
        return np.stack(known, axis=1)

    def _known(self, score, X, times):
        """The scores of dates that get one, NaN at the others."""
        own_time = times if self.reference == "self" else None
        enough, own = is_observed(X, self.min_observations, self.windowing, own_time)
        known = (enough & own)[:, np.newaxis] & ~np.isnan(X).all(axis=1)
        return np.where(known, score, np.nan).astype(X.dtype, copy=False)

    def _smooth(self, score):
        width = _SMOOTHING if self.smoothing == "auto" else self.smoothing
        return scores.smooth(score, width)

    def _elbo_scores(self, X, classes, times):
        """Contrast of a class with the others; without one, novelty."""
        if self.decodes(classes):
            return scores.log_odds(self.class_probability(X, classes, times), classes)
        log_prior = np.log(self.class_prior).astype(X.dtype)[:, np.newaxis]
        bounds = self._runner(X.dtype).elbo(self.grid(X))
        date, window = (self._per_timestep(bound) for bound in bounds)
        if not self._contrasts(classes):
            return scores.mixture_novelty(log_prior + date)
        context = window * (2 / self.windowing.length)
        return scores.contrast(log_prior + date + context, classes)

    def class_probability(self, X, classes, times):
        """Probability of each class at each date: (n_samples, n_timesteps, n_classes).

        Given the whole series, and its class at its labelled date.
        """
        bound, _ = self._runner(X.dtype).elbo(self.grid(X))
        seen = ~np.isnan(X).all(axis=1, keepdims=True)
        date = np.where(seen, self._per_timestep(bound), np.nan).transpose(0, 2, 1)
        cost = season_switch_cost(self.windowing.calendar, len(self.class_prior))
        log_prior = np.log(self.class_prior)
        return scores.course_probability(date, log_prior, cost, classes, times)

    def _self_scores(self, X, _, times):
        """Log-odds that the windows that cover a date show another place."""
        grid = self.grid(X)
        mean, _ = self._runner(X.dtype).temporal_posterior(grid)
        own_mean, _ = self._own_course(grid, times)
        odds = places.place_log_odds(mean, own_mean, self.place_model)
        cells, n_cells = self.windowing.cells, self.windowing.calendar.n_cells
        spread = np.broadcast_to(odds[:, :, np.newaxis], (len(odds), *cells.shape))
        return self._per_timestep(overlap_average(spread, cells, n_cells))

    def fit_place_model(self, X):
        """How much windows of one place differ, from the windows of some series."""
        grid = self.grid(X.astype(np.float32, copy=False))
        mean, log_var = self._runner(grid.dtype).temporal_posterior(grid)
        empty = np.isnan(aligned_windows(grid, self.windowing.cells))
        mean[empty.all(axis=(1, 3))] = np.nan
        noise = np.exp(log_var).mean(axis=(0, 1))
        starts, length = self.windowing.starts, self.windowing.length
        return places.fit_place_model(mean, noise, starts, length)

    # Latents and reconstruction

    def embed(self, X):
        """Latents of each series, averaged: ndarray of shape (n_samples, n_latents).

        NaN without any observation.
        """

        def embed(X):
            n_layers = self.windowing.calendar.n_layers
            latents = self._runner(X.dtype).embed(self.grid(X))
            return latents.reshape(len(X), n_layers, -1).mean(axis=1)

        return self._by_chunk(embed, X)

    def reconstruct(self, X, classes, times):
        """Mean of every cell, in the units of X; NaN without any observation."""

        def reconstruct(X, classes, times):
            mean, _ = self.decode(X, classes, times)
            mean[np.isnan(X).all(axis=(1, 2))] = np.nan
            return mean

        return self._by_chunk(reconstruct, X, classes, times)

    def decode(self, X, classes, times, *, rng=None):
        """Mean and standard deviation of every cell, in the units of X.

        With ``rng.standard_normal(size)``, which gives each sample, the first axis,
        its own random numbers, they are those of one draw of the latents.
        """
        grid = self.grid(X)
        classes, course = self._decoded_under(grid, classes, times)
        scorer = self
        if rng is None:
            mean, std = self._runner(X.dtype).decode(grid, classes, course=course)
        else:
            # Windows side by side: one pass, and dates that belong together are
            # drawn together.
            side_by_side = self.windowing.with_stride(self.windowing.length)
            scorer = replace(self, windowing=side_by_side)
            rng = _OfLayers(rng, self.windowing.calendar.n_layers, alike=True)
            mean, std = scorer._runner(X.dtype).decode_draw(
                grid, classes, course=course, rng=rng
            )
        return self._in_units(mean, std)

    def weighed_draw(self, X, missing, classes, times, *, rng=None, latents=None):
        """A draw of the latents that can be corrected, or the weight of an earlier one.

        Every window of cells that no other one covers, and every layer of it, is a
        block with latents of its own.

        Parameters
        ----------
        X, missing, classes, times
            See `HTSVAEDetector._posterior_draw`.
        rng : object
            See `decode`.
        latents : list of ndarrays of shape (n_samples, n_blocks, ...), default=None
            Weighed instead of drawn.

        Returns
        -------
        latents, mean, std, log_weight, block
            See `chains.Draw`.
        """
        calendar, length = self.windowing.calendar, self.windowing.length
        n, n_layers = len(X), calendar.n_layers
        grid = self.grid(np.where(missing, np.nan, X))
        seen = np.zeros((n, n_layers, calendar.n_cells), dtype=bool)
        seen[:, calendar.layer, calendar.cell] = ~np.isnan(X).all(axis=1)
        # What a labelled window says of the others is no guess: it stays as it is.
        classes, course = self._decoded_under(self.grid(X), classes, times)
        cells = window_cells(np.arange(0, calendar.n_cells, length), length, calendar)
        n_windows = len(cells)
        if latents is not None:
            latents = [
                part.reshape(n * n_layers, n_windows, *part.shape[2:])
                for part in latents
            ]
        runner = self._runner(X.dtype, np.minimum(cells, calendar.n_cells))
        latents, mean, std, log_weight = runner.weighed_draw(
            grid,
            seen.reshape(-1, calendar.n_cells),
            classes,
            course=course,
            rng=None if rng is None else _OfLayers(rng, n_layers, alike=False),
            latents=latents,
        )
        n_blocks = n_layers * n_windows
        latents = [part.reshape(n, n_blocks, *part.shape[2:]) for part in latents]
        block = calendar.layer * n_windows + calendar.cell // length
        mean, std = self._in_units(mean, std)
        return latents, mean, std, log_weight.reshape(n, n_blocks), block

    def _in_units(self, mean, std):
        """Of each timestep, in units of X, from the standardised grid."""
        mean, std = self._per_timestep(mean), self._per_timestep(std)
        center, scale = (part.astype(mean.dtype) for part in (self.center, self.scale))
        return mean * scale + center, std * scale

    def _decoded_under(self, grid, classes, times):
        """Class of each gridded series, and course of its labelled window."""
        course = None
        if classes is not None:
            classes = np.repeat(classes, self.windowing.calendar.n_layers)
        if self.reference == "self":
            # Without a labelled window there is no score, but something to decode.
            course = [np.nan_to_num(part) for part in self._own_course(grid, times)]
        return classes, course

    def _own_course(self, grid, times):
        """Temporal posterior of each series' labelled window, (n, n_latents) twice.

        NaN where that window holds no observation: there is nothing to compare.
        """
        n_layers = self.windowing.calendar.n_layers
        cells = np.repeat(self.windowing.own_cells(times), n_layers, axis=0)
        # One window per series: gather it, and run it as a series of its own.
        padded = np.pad(grid, ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
        window = np.take_along_axis(padded, cells[:, np.newaxis, :], axis=2)
        whole = np.arange(cells.shape[1])[np.newaxis]
        runner = self._runner(grid.dtype, whole, cells.shape[1])
        mean, log_var = (part[:, 0] for part in runner.temporal_posterior(window))
        empty = np.isnan(window).all(axis=(1, 2))
        mean[empty] = np.nan
        return mean, log_var

    # Between series and windows

    def _by_chunk(self, function, X, *given):
        """Results of a function for all samples, as many at a time as memory allows.

        Parameters
        ----------
        function : callable
            ``function(X, *given)`` gives an array, the samples on its first axis.
        X : ndarray of shape (n_samples, n_bands, n_timesteps)
        *given : ndarrays of shape (n_samples,), or None
        """
        calendar = self.windowing.calendar
        n_cells = calendar.n_layers * calendar.n_cells
        sample_size = n_cells * (X.shape[1] + len(self.class_prior))
        result = None
        for rows in chunks(X, sample_size=sample_size):
            found = function(X[rows], *_rows(given, rows))
            if result is None:
                result = np.empty((len(X), *found.shape[1:]), found.dtype)
            result[rows] = found
        return result

    def grid(self, X):
        """Standardised series on the season grid, layers as series of their own."""
        standard = standardise(X, self.center, self.scale)
        grid = self.windowing.calendar.to_grid(standard)
        return grid.reshape(-1, *grid.shape[2:])

    def _per_timestep(self, values):
        """Back from gridded series to one value per timestep, on the last axis."""
        calendar = self.windowing.calendar
        values = values.reshape(-1, calendar.n_layers, *values.shape[1:])
        return calendar.from_grid(values)

    def _runner(self, dtype, cells=None, n_cells=None):
        """The network over all windows of the calendar, or over others."""
        from .inference import Runner
        from .training import build_network, resolve_device

        cells = self.windowing.cells if cells is None else cells
        n_cells = self.windowing.calendar.n_cells if n_cells is None else n_cells
        network = build_network(
            self.network,
            self.weights,
            dtype=dtype,
            device=resolve_device(self.device),
        )
        return Runner(network, np.log(self.class_prior), cells, n_cells)


def standardise(X, center, scale):
    """Series less the center of each band and date, in units of its scale."""
    return (X - center.astype(X.dtype)) / scale.astype(X.dtype)


def is_observed(X, min_observations, windowing, own_times=None):
    """Which samples are observed where it takes observations to score them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
    min_observations : int
    windowing : windows.Windowing
    own_times : ndarray of shape (n_samples,) of int, default=None
        Date whose window each sample is compared with.

    Returns
    -------
    enough : ndarray of shape (n_samples,) of bool
        On enough dates, as far as there are as many.
    own : ndarray of shape (n_samples,) of bool
        In their own window; True without `own_times`.
    """
    enough, own = np.ones((2, len(X)), dtype=bool)
    for rows in chunks(X):
        seen = ~np.isnan(X[rows]).all(axis=1)
        enough[rows] = seen.sum(axis=1) >= min(min_observations, X.shape[2])
        if own_times is not None:
            own[rows] = (seen & windowing.in_own(own_times[rows])).any(axis=1)
    return enough, own


def chunks(X, n=None, sample_size=None):
    """Slices over n rows of X, or all, each of a bounded number of values.

    `sample_size` is the number of values that a row comes to, if not its own.
    """
    size = max(1, _CHUNK_SIZE // max(1, sample_size or X[:1].size))
    return gen_batches(len(X) if n is None else n, size)


def _rows(arrays, rows):
    """Some rows of arrays that may be None."""
    return [None if array is None else array[rows] for array in arrays]


class _OfLayers:
    """The random numbers of samples for each layer of a sample, alike or not."""

    def __init__(self, rng, n_layers, alike):
        self.rng = rng
        self.n_layers = n_layers
        self.alike = alike

    def standard_normal(self, size):
        n, *rest = size
        n //= self.n_layers
        if self.alike:
            numbers = self.rng.standard_normal((n, *rest))
            return np.repeat(numbers, self.n_layers, axis=0)
        return self.rng.standard_normal((n, self.n_layers, *rest)).reshape(size)
