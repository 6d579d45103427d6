"""From series to date scores and reconstructions, with a trained network.

The door between the two worlds: validated series in their own units on one side,
standardised windows of the season grid on the other.
"""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils import gen_batches

from . import places, scores
from .windows import Windowing, aligned_windows, overlap_average

# Changes of class in a season of one place that forward-backward reckons with.
_CHANGES_PER_SEASON = 0.05
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
    center, scale : ndarrays of shape (n_bands,)
        What bands are standardised by.
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
        score = np.full((len(X), X.shape[2]), np.nan, X.dtype)
        for rows in chunks(X):
            given = _rows((classes, times), rows)
            found = self._self_scores if self.reference == "self" else self._elbo_scores
            score[rows] = np.where(self._known(X[rows]), found(X[rows], *given), np.nan)
        return score if self.decodes(classes) else self._smooth(score)

    def parts(self, X, classes, times):
        """Temporal, spectral and joint score of each date: a list of three."""
        parts = np.full((3, len(X), X.shape[2]), np.nan, X.dtype)
        for rows in chunks(X):
            given = _rows((classes, times), rows)
            grid = self.grid(X[rows])
            repeated, course = self._decoded_under(grid, *given)
            found = self._runner(grid.dtype).parts(grid, repeated, course=course)
            found = [self._per_timestep(part) for part in found]
            if self.reference == "self":
                found[0] = self._self_scores(X[rows], *given)
            parts[:, rows] = np.where(self._known(X[rows]), found, np.nan)
        return [self._smooth(part) for part in parts]

    def _known(self, X):
        """Dates that get a score, (n_samples, n_timesteps)."""
        enough = has_enough(X, self.min_observations)
        return enough[:, np.newaxis] & ~np.isnan(X).all(axis=1)

    def _smooth(self, score):
        width = _SMOOTHING if self.smoothing == "auto" else self.smoothing
        return scores.smooth(score, width)

    def _elbo_scores(self, X, classes, times):
        """Contrast of a class with the others; without one, novelty."""
        grid = self.grid(X)
        log_prior = np.log(self.class_prior).astype(X.dtype)[:, np.newaxis]
        bounds = self._runner(X.dtype).elbo(grid)
        date, window = (self._per_timestep(bound) for bound in bounds)
        if not self._contrasts(classes):
            return scores.mixture_novelty(log_prior + date)
        if not self.decodes(classes):
            context = window * (2 / self.windowing.length)
            return scores.contrast(log_prior + date + context, classes)
        seen = ~np.isnan(X).all(axis=1, keepdims=True)
        date = np.where(seen, date, np.nan).transpose(0, 2, 1)
        cost = switch_cost(self.windowing.calendar, len(self.class_prior))
        return scores.course_log_odds(date, log_prior[:, 0], classes, cost, times)

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
        gap = -(-self.windowing.length // self.windowing.stride)
        return places.fit_place_model(mean, noise, gap)

    # Latents and reconstruction

    def embed(self, X):
        """Latents of each series, averaged: ndarray of shape (n_samples, n_latents)."""
        n_layers = self.windowing.calendar.n_layers
        latents = self._runner(X.dtype).embed(self.grid(X))
        return latents.reshape(len(X), n_layers, -1).mean(axis=1)

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
            rng = _Repeated(rng, self.windowing.calendar.n_layers)
            mean, std = scorer._runner(X.dtype).decode_draw(
                grid, classes, course=course, rng=rng
            )
        center, scale = (
            part.astype(X.dtype)[:, np.newaxis] for part in (self.center, self.scale)
        )
        mean = self._per_timestep(mean) * scale + center
        return mean, self._per_timestep(std) * scale

    def _decoded_under(self, grid, classes, times):
        """Class of each gridded series, and course of its labelled window."""
        course = None
        if classes is not None:
            classes = np.repeat(classes, self.windowing.calendar.n_layers)
        if self.reference == "self":
            # A series without a labelled window stands for itself.
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
        runner = self._runner(grid.dtype, cells=whole)
        mean, log_var = (part[:, 0] for part in runner.temporal_posterior(window))
        empty = np.isnan(window).all(axis=(1, 2))
        mean[empty] = np.nan
        return mean, log_var

    # Between series and windows

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

    def _runner(self, dtype, *, cells=None):
        """The network over all windows, or over `cells` of one season."""
        from .inference import Runner
        from .training import build_network, resolve_device

        n_cells = self.windowing.calendar.period
        if cells is None:
            cells, n_cells = self.windowing.cells, self.windowing.calendar.n_cells
        network = build_network(
            self.network,
            self.weights,
            dtype=dtype,
            device=resolve_device(self.device),
        )
        return Runner(network, np.log(self.class_prior), cells, n_cells)


def standardise(X, center, scale):
    """Series less the center of each band, in units of its scale."""
    center = center.astype(X.dtype)[:, np.newaxis]
    return (X - center) / scale.astype(X.dtype)[:, np.newaxis]


def switch_cost(calendar, n_classes):
    """Nats that a switch to another class costs between two dates of a calendar.

    So many that a season holds 0.05 changes on average, whatever the number of its
    dates and of the classes: see `decoding` for the chain.
    """
    dates_per_season = calendar.period * len(calendar.cell) / calendar.n_cells
    change = _CHANGES_PER_SEASON / max(dates_per_season, 1)
    return np.log(1 - change) - np.log(change / (n_classes - 1))


def has_enough(X, min_observations):
    """Which samples are observed on enough dates, as far as there are as many."""
    seen = [(~np.isnan(X[rows]).all(axis=1)).sum(axis=1) for rows in chunks(X)]
    return np.concatenate(seen) >= min(min_observations, X.shape[2])


def chunks(X, n=None):
    """Slices over n rows of X, or all, each of a bounded number of values."""
    size = max(1, _CHUNK_SIZE // max(1, X[:1].size))
    return gen_batches(len(X) if n is None else n, size)


def _rows(arrays, rows):
    """Some rows of arrays that may be None."""
    return [None if array is None else array[rows] for array in arrays]


class _Repeated:
    """The random numbers of samples, repeated for each layer of a sample."""

    def __init__(self, rng, n_layers):
        self.rng = rng
        self.n_layers = n_layers

    def standard_normal(self, size):
        numbers = self.rng.standard_normal((size[0] // self.n_layers, *size[1:]))
        return np.repeat(numbers, self.n_layers, axis=0)
