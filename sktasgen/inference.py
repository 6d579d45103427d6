"""Running a trained network over series: NumPy in, NumPy out, chunk by chunk.

Series are gridded and standardised, ``(n, n_bands, n_cells)``. No more than a
chunk of windows is in memory at a time, and torch runs on one thread: on nets
this small more threads are slower, and one gives the same bits everywhere.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch.nn import functional as F

from .losses import date_elbo, gaussian_log_likelihood
from .networks import draw
from .training import one_thread
from .windows import overlap_average

# Bytes of one channel of all windows in a pass: enough to keep a core busy, few
# enough to stay near its cache. A GPU is busy, and its memory far from full, with
# many more.
_PASS_SIZE = {"cpu": 96_000, "cuda": 8_000_000}
# glibc gives freed memory back to the system, and takes twice the largest block freed
# so far, up to this one, as a sign of what will be wanted again. Without the sign
# each pass spends as long on getting its memory back, page by page, as on its sums.
_LARGEST_BLOCK = 2**25 - 2**13


class Runner:
    """A network together with the windows it is run over.

    Parameters
    ----------
    network : networks.HTSVAE
        Ready to score.
    log_prior : ndarray of shape (n_classes,)
        Log-probability of each class before the window is seen.
    cells : ndarray of shape (n_windows, period) of int
        See `windows.window_cells`.
    n_cells : int
        Length of the grid.
    """

    def __init__(self, network, log_prior, cells, n_cells):
        self.network = network
        self.cells = cells
        self.n_cells = n_cells
        parameter = next(network.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.log_prior = self._tensor(log_prior)
        # (period, n_windows)
        self.slots = torch.from_numpy(np.ascontiguousarray(cells.T)).to(self.device)

    def elbo(self, grid):
        """Evidence lower bound under each class.

        Returns
        -------
        date, window : ndarrays of shape (n, n_classes, n_cells)
            Of each date given its windows, and of the windows that cover it,
            both averaged over these windows.
        """
        n_classes = len(self.log_prior)
        date = np.empty((len(grid), n_classes, self.n_cells), grid.dtype)
        window = np.empty_like(date)
        with _inference():
            for rows in self._chunks(len(grid)):
                x, mask = self._windows(grid[rows])
                terms = self.network(x, mask, mask, self._classes(len(x)))
                bound = date_elbo(terms)
                total = bound.sum(dim=-1, keepdim=True).expand_as(bound)
                both = self._average(torch.cat([bound, total], dim=1))
                date[rows], window[rows] = np.split(both, 2, axis=1)
        return date, window

    def parts(self, grid, classes=None, *, course=None):
        """What makes each date improbable, in three parts.

        Parameters
        ----------
        grid, classes, course
            See `decode`.

        Returns
        -------
        list of three ndarrays of shape (n, n_cells)
            Divergence of the windows' temporal latent, divergence of the date's
            spectral latents, and negative log-likelihood of its bands.
        """
        parts = [np.empty((len(grid), self.n_cells), grid.dtype) for _ in range(3)]
        with _inference():
            for rows in self._chunks(len(grid)):
                terms = self._terms(
                    grid[rows],
                    None if classes is None else classes[rows],
                    None if course is None else [part[rows] for part in course],
                )
                weight = self._class_weights(terms, classes).unsqueeze(-1)
                found = (
                    terms.kl_temporal.unsqueeze(-1).expand_as(terms.kl_spectral),
                    terms.kl_spectral,
                    -terms.log_likelihood.sum(dim=2),
                )
                for part, values in zip(parts, found, strict=True):
                    part[rows] = self._average((weight * values).sum(dim=1))
        return parts

    def temporal_posterior(self, grid):
        """Posterior of the temporal latent of each window.

        Returns
        -------
        mean, log_var : ndarrays of shape (n, n_windows, n_latents)
        """
        parts = []
        with _inference():
            for rows in self._chunks(len(grid)):
                posterior = self.network.encode(*self._windows(grid[rows]))
                parts.append([self._by_series(part.flatten(1)) for part in posterior])
        mean, log_var = zip(*parts, strict=True)
        return np.concatenate(mean), np.concatenate(log_var)

    def embed(self, grid):
        """Latents of each series: averages over windows and dates that are observed.

        Returns
        -------
        ndarray of shape (n, n_temporal_latents + n_spectral_latents)
            NaN for a series without any observation.
        """
        parts = []
        with _inference():
            for rows in self._chunks(len(grid)):
                x, mask = self._windows(grid[rows])
                terms = self.network(x, mask, mask, self._classes(len(x)))
                weight = self._class_weights(terms)
                z_s = (terms.z_spectral * weight[:, :, None, None]).sum(dim=1)
                seen = terms.seen.unsqueeze(1)
                z_t, any_seen = terms.z_temporal.flatten(1), seen.amax(dim=2)
                parts.append(
                    np.hstack(
                        [
                            self._mean(z_t * any_seen, any_seen),
                            self._mean((z_s * seen).sum(dim=2), seen.sum(dim=2)),
                        ]
                    )
                )
        return np.concatenate(parts)

    def decode(self, grid, classes=None, *, course=None):
        """Mean and standard deviation of every cell, from the latents' means.

        Parameters
        ----------
        grid : ndarray of shape (n, n_bands, n_cells)
        classes : ndarray of shape (n,) of int, default=None
            Class of each series; None weighs the classes by their probability
            given the window.
        course : pair of ndarrays of shape (n, n_latents), default=None
            Mean and log-variance of the temporal latent that stands for all of
            a series' windows, as `temporal_posterior` gives them.

        Returns
        -------
        mean, std : ndarrays of shape (n, n_bands, n_cells)
        """
        mean, std = np.empty_like(grid), np.empty_like(grid)
        with _inference():
            for rows in self._chunks(len(grid)):
                mean[rows], std[rows] = self._decode(
                    grid[rows],
                    None if classes is None else classes[rows],
                    None if course is None else [part[rows] for part in course],
                )
        return mean, std

    def decode_draw(self, grid, classes, *, course, rng):
        """Like `decode`, for one draw of the latents and in a single pass.

        Parameters
        ----------
        rng : object
            ``rng.standard_normal(size)`` gives each series, the first axis, its
            own random numbers.
        """

        def noise(like):
            return self._noise(rng, like[:, :1] if like.ndim == 4 else like)

        with _inference():
            return self._decode(grid, classes, course, noise)

    def weighed_draw(self, grid, seen, classes, *, course, rng=None, latents=None):
        """A draw of the latents, or an earlier one, and how probable it is.

        Parameters
        ----------
        grid, classes, course, rng
            See `decode_draw`; `classes` may be None only for a network of one class.
        seen : ndarray of shape (n, n_cells) of bool
            Dates whose spectral latents count: what was never observed hangs on none.
        latents : list of two ndarrays, default=None
            As this method gives them: weighed instead of drawn.

        Returns
        -------
        latents : list of two ndarrays of shape (n, n_windows, ...)
        mean, std : ndarrays of shape (n, n_bands, n_cells)
            See `decode`.
        log_weight : ndarray of shape (n, n_windows)
            Log-density under the prior, less that given what is seen in `grid`.
        """
        with _inference():
            x, mask = self._windows(grid)
            counted = self._windows(np.where(seen, 0.0, np.nan)[:, np.newaxis])[1]
            columns = self._classes(len(x), classes)
            posterior = self.network.encode(x, mask)
            prior = [part[:, 0] for part in self.network.prior(columns)]
            if course is not None:
                posterior = prior = self._course(course, len(x))
            z_t, log_weight = self._weigh(posterior, prior, rng, latents, 0)
            h = self.network.season(z_t, columns)
            spectral = self.network.spectral(h, x, mask)
            z_s, of_dates = self._weigh(*spectral, rng, latents, 1, counted)
            mean, log_std = self.network.decode(h, z_s)
            return (
                [self._by_series(z_t), self._by_series(z_s[:, 0])],
                self._average(mean[:, 0]),
                self._average(log_std[:, 0].exp()),
                self._by_series(log_weight + of_dates),
            )

    def _weigh(self, posterior, prior, rng, latents, which, counted=1):
        """A latent, drawn or given, and its log-weight in each window."""
        mean, log_var = posterior
        if latents is not None:
            z = self._windows_first(latents[which]).view_as(mean)
        else:
            z = draw(mean, log_var, self._noise(rng, mean))
        weight = [
            gaussian_log_likelihood(z, mean, 0.5 * log_var)
            for mean, log_var in (prior, posterior)
        ]
        return z, ((weight[0] - weight[1]).flatten(1, -2) * counted).sum(dim=(1, 2))

    def _noise(self, rng, like):
        """Random numbers of each series' windows, in the shape of their latents."""
        n_windows = len(self.cells)
        shape = (len(like) // n_windows, n_windows, *like.shape[-2:])
        return self._windows_first(rng.standard_normal(shape)).view_as(like)

    def _windows_first(self, array):
        """(n, n_windows, ...) array to (n_windows * n, ...) tensor."""
        return self._tensor(array).transpose(0, 1).flatten(0, 1)

    def _terms(self, grid, classes, course, noise=None):
        """Terms of the windows of some series, under some classes and course."""
        x, mask = self._windows(grid)
        if course is not None:
            course = self._course(course, len(x))
        return self.network(
            x, mask, mask, self._classes(len(x), classes), course=course, noise=noise
        )

    def _course(self, course, n_windows):
        """The course of each series, for all of its windows."""
        shape = (n_windows, *self.network.temporal_shape)
        tiled = [np.tile(part, (len(self.cells), 1)) for part in course]
        return [self._tensor(part).reshape(shape) for part in tiled]

    def _decode(self, grid, classes, course, noise=None):
        terms = self._terms(grid, classes, course, noise)
        mean, variance = terms.mean, torch.exp(2 * terms.log_std)
        # Moments of the mixture over classes.
        weight = self._class_weights(terms, classes)[:, :, None, None]
        mixed = (weight * mean).sum(dim=1)
        second = (weight * (variance + mean**2)).sum(dim=1)
        std = (second - mixed**2).clamp(min=1e-12).sqrt()
        return self._average(mixed), self._average(std)

    def _class_weights(self, terms, classes=None):
        """Probability of each class decoded under, given the window, (N, K)."""
        if classes is not None:
            return torch.ones_like(terms.kl_temporal)
        window = date_elbo(terms).sum(dim=-1)
        return torch.softmax(self.log_prior + window, dim=1)

    def _chunks(self, n_series):
        """Slices of the series whose windows fit in one pass."""
        size = _PASS_SIZE.get(self.device.type, _PASS_SIZE["cuda"])
        size = max(1, size // (self.cells.size * self.dtype.itemsize))
        return [slice(start, start + size) for start in range(0, n_series, size)]

    def _windows(self, grid):
        """Values and mask of all windows of some series, windows first."""
        # Cells and then series are the last axes: a slot of a window is a row of
        # all series, and what is cut lies as the network wants it.
        series = torch.from_numpy(np.ascontiguousarray(grid.transpose(1, 2, 0)))
        series = series.to(self.device)
        mask = series == series
        return [
            F.pad(part.to(self.dtype), (0, 0, 0, 1))[:, self.slots]
            .flatten(2)
            .movedim(2, 0)
            for part in (torch.where(mask, series, 0), mask)
        ]

    def _classes(self, n_windows, classes=None):
        """Classes to decode each window under, (N, K): all, or the series' own."""
        if classes is None:
            every = torch.arange(len(self.log_prior), device=self.device)
            return every.unsqueeze(0)
        repeated = torch.from_numpy(np.tile(classes, len(self.cells)))
        return repeated.to(self.device).unsqueeze(1)

    def _tensor(self, array):
        return torch.from_numpy(array).to(self.device, self.dtype)

    def _by_series(self, tensor):
        """(n_windows * n, ...) tensor to (n, n_windows, ...) array."""
        array = tensor.unflatten(0, (len(self.cells), -1)).cpu().numpy()
        return np.moveaxis(array, 0, 1)

    def _mean(self, totals, counts):
        """Mean of each series, from its windows' totals; NaN where all count none."""
        totals, counts = (self._by_series(t).sum(axis=1) for t in (totals, counts))
        return totals / np.where(counts > 0, counts, np.nan)

    def _average(self, tensor):
        """Overlap average of a tensor (N, ..., period): an array (n, ..., n_cells)."""
        values = np.moveaxis(self._by_series(tensor), 1, -2)
        return overlap_average(values, self.cells, self.n_cells)


@contextmanager
def _inference():
    torch.empty(_LARGEST_BLOCK, dtype=torch.uint8, device="cpu")  # freed untouched
    with torch.inference_mode(), one_thread():
        yield
