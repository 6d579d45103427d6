"""Calendar-aligned windows and their overlap average, an inverse pair.

A window covers one season or less and starts anywhere, yet its slot ``j`` always
holds season date ``j``: it is rotated, so that a model sees the same date of the
year in the same place whatever the start. With a period of 4 and dates 0 to 7::

    date         0 1 2 3 4 5 6 7
    season slot  0 1 2 3 0 1 2 3

    window from 0   [0 1 2 3]
    window from 1   [4 1 2 3]
    window from 2   [4 5 2 3]
    window from 3   [4 5 6 3]

Irregular acquisition dates are first put on a regular grid of season slots, one
cell per slot and year. Where several fall in one cell, each goes to a *layer* of
its own, so that every observation keeps its own score.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from ._validation import as_array, check_count, check_dates

DAYS_PER_YEAR = 365.25
# Of a year: more than its minutes.
_MOST_SLOTS = 1_000_000


@dataclass(frozen=True, eq=False)
class Calendar:
    """Which cell of the season grid each timestep falls in.

    Attributes
    ----------
    cell : ndarray of shape (n_timesteps,) of int
        Grid cell of each timestep.
    layer : ndarray of shape (n_timesteps,) of int
        Rank of each timestep among those in the same cell.
    first_slot : int
        Season slot of grid cell 0.
    period : int
        Slots per season cycle.
    """

    cell: np.ndarray
    layer: np.ndarray
    first_slot: int
    period: int

    @classmethod
    def regular(cls, n_timesteps: int, period: int) -> Self:
        """Timesteps at equal distances, the first in season slot 0.

        Parameters
        ----------
        n_timesteps : int
            Length of the series.
        period : int
            Slots per season cycle.

        Returns
        -------
        Calendar
            With a cell of its own for each timestep.
        """
        cell = np.arange(check_count(n_timesteps, "n_timesteps"))
        period = check_count(period, "period", most=_MOST_SLOTS)
        return cls(cell, np.zeros_like(cell), 0, period)

    @classmethod
    def from_dates(cls, dates: np.ndarray, period: int) -> Self:
        """Acquisition dates, in the season slot of their day of year.

        Parameters
        ----------
        dates : array-like of shape (n_timesteps,)
            datetime64 or integer ordinal days, never decreasing.
        period : int
            Slots per year.

        Returns
        -------
        Calendar
            With cells for all slots from the first date to the last.
        """
        period = check_count(period, "period", most=_MOST_SLOTS)
        given = as_array(dates, "dates")
        if dates is None or given.size == 0:
            raise ValueError(f"dates={dates!r}; expected one per timestep.")
        dates = check_dates(given, given.size)
        year = dates.astype("datetime64[Y]")
        day_of_year = (dates - year.astype("datetime64[D]")).astype(np.int64) + 1
        slot = np.floor(day_of_year * period / DAYS_PER_YEAR).astype(np.int64)
        slot = np.minimum(slot, period - 1)  # day 366 of a leap year
        absolute = year.astype(np.int64) * period + slot
        cell = absolute - absolute[0]
        # Dates are sorted, so a cell's first timestep is where its run begins.
        starts = np.searchsorted(cell, cell)
        layer = np.arange(len(cell)) - starts
        return cls(cell, layer, int(slot[0]), period)

    @property
    def n_cells(self) -> int:
        """Number of cells from the first timestep to the last."""
        return int(self.cell[-1]) + 1

    @property
    def n_layers(self) -> int:
        """The most timesteps that share a cell."""
        return int(self.layer.max()) + 1

    @property
    def slot(self) -> np.ndarray:
        """Season slot of each timestep, an ndarray of shape (n_timesteps,)."""
        return (self.first_slot + self.cell) % self.period

    def to_grid(self, X: np.ndarray) -> np.ndarray:
        """Put series on the grid.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_bands, n_timesteps)
            Series; NaN where not observed.

        Returns
        -------
        ndarray of shape (n_samples, n_layers, n_bands, n_cells)
            NaN where nothing was observed. A layer that lacks an observation in
            a cell holds the mean of the other layers there.
        """
        X = _as_floats(X, "X")
        if X.ndim != 3 or X.shape[2] != len(self.cell):
            raise ValueError(
                f"X has shape {X.shape}; expected (n_samples, n_bands, "
                f"{len(self.cell)})."
            )
        n, n_bands, n_timesteps = X.shape
        if self.n_layers == 1 and self.n_cells == n_timesteps:
            return X[:, np.newaxis]
        grid = np.full((n, self.n_layers, n_bands, self.n_cells), np.nan, X.dtype)
        grid[:, self.layer, :, self.cell] = X.transpose(2, 0, 1)
        if self.n_layers > 1:
            seen = ~np.isnan(grid)
            total = np.where(seen, grid, 0).sum(axis=1, keepdims=True)
            count = seen.sum(axis=1, keepdims=True)
            with np.errstate(invalid="ignore"):
                mean = (total / count).astype(X.dtype)
            grid = np.where(seen, grid, mean)
        return grid

    def from_grid(self, values: np.ndarray) -> np.ndarray:
        """Read back each timestep's value, the inverse of `to_grid`.

        Parameters
        ----------
        values : ndarray of shape (n_samples, n_layers, ..., n_cells)
            Of each cell, layer by layer.

        Returns
        -------
        ndarray of shape (n_samples, ..., n_timesteps)
            Of each timestep.
        """
        values = as_array(values, "values")
        ends = values.shape[1:2] + values.shape[-1:]
        if values.ndim < 3 or ends != (self.n_layers, self.n_cells):
            raise ValueError(
                f"values has shape {values.shape}; expected (n_samples, "
                f"{self.n_layers}, ..., {self.n_cells})."
            )
        picked = values[:, self.layer, ..., self.cell]
        return np.moveaxis(picked, 0, -1)


@dataclass(frozen=True, eq=False)
class Windowing:
    """The windows that cover a calendar's grid.

    Attributes
    ----------
    calendar : Calendar
    length : int
        Cells in a window, at most the period and at most ``calendar.n_cells``.
    stride : int
        Cells between the starts of successive windows.
    """

    calendar: Calendar
    length: int
    stride: int

    @cached_property
    def starts(self):
        """First cell of each window, an ndarray of shape (n_windows,)."""
        return window_starts(self.calendar.n_cells, self.length, self.stride)

    @cached_property
    def cells(self):
        """Grid cell in each slot of each window, (n_windows, period)."""
        return window_cells(self.starts, self.length, self.calendar)

    def with_stride(self, stride):
        """The same windows at other distances."""
        return replace(self, stride=stride)

    def observed(self, X):
        """Which windows hold an observation.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_bands, n_timesteps)

        Returns
        -------
        ndarray of shape (n_samples * n_layers, n_windows) of bool
        """
        grid = self.calendar.to_grid(X)
        return self._any(~np.isnan(grid.reshape(-1, *grid.shape[2:])).all(axis=1))

    def throughout(self, flags):
        """Which windows hold flagged timesteps alone.

        Parameters
        ----------
        flags : ndarray of shape (n_samples, n_timesteps) of bool

        Returns
        -------
        ndarray of shape (n_samples, n_windows) of bool
        """
        unflagged = np.zeros((len(flags), self.calendar.n_cells), dtype=bool)
        sample, timestep = np.nonzero(~flags)
        unflagged[sample, self.calendar.cell[timestep]] = True
        return ~self._any(unflagged)

    def share(self, flags):
        """Share of the timesteps of each window that are flagged.

        Parameters
        ----------
        flags : ndarray of shape (n_samples, n_timesteps) of bool

        Returns
        -------
        ndarray of shape (n_samples, n_windows)
            0 for windows without a timestep.
        """
        n_flagged, n_timesteps = np.zeros((2, len(flags), self.calendar.n_cells))
        np.add.at(n_flagged, (slice(None), self.calendar.cell), flags)
        np.add.at(n_timesteps, (slice(None), self.calendar.cell), 1)
        return self._sum(n_flagged) / np.maximum(self._sum(n_timesteps), 1)

    def _any(self, cells):
        """Which windows hold a true cell, from (n, n_cells) to (n, n_windows)."""
        return self._sum(cells) > 0

    def _sum(self, cells):
        """Sum over each window, from (n, n_cells) to (n, n_windows)."""
        so_far = np.pad(np.cumsum(cells, axis=1), ((0, 0), (1, 0)))
        return so_far[:, self.starts + self.length] - so_far[:, self.starts]

    def own_starts(self, timesteps):
        """First cell of the window centred nearest to each timestep, (n,)."""
        wanted = self.calendar.cell[timesteps] - self.length // 2
        return np.clip(wanted, 0, self.calendar.n_cells - self.length)

    def own_cells(self, timesteps):
        """Grid cell in each slot of the window nearest to each timestep."""
        return window_cells(self.own_starts(timesteps), self.length, self.calendar)

    def in_own(self, timesteps):
        """Which timesteps the window nearest to each timestep covers.

        Returns
        -------
        ndarray of shape (n, n_timesteps) of bool
        """
        away = self.calendar.cell - self.own_starts(timesteps)[:, np.newaxis]
        return (away >= 0) & (away < self.length)

    def near(self, timesteps):
        """Which windows the class at a timestep is taken to hold for.

        Those that cover it and are centred within a quarter of a window of it: a
        change elsewhere in the series seldom reaches them.

        Returns
        -------
        ndarray of shape (n, n_windows) of bool
        """
        shift = np.abs(self.starts - self.own_starts(timesteps)[:, np.newaxis])
        cell = self.calendar.cell[timesteps][:, np.newaxis]
        covers = (cell >= self.starts) & (cell < self.starts + self.length)
        return (shift <= self.length // 4) & covers


def window_starts(n_cells, length, stride=1):
    """First cell of each window; the last window always ends with the series.

    >>> window_starts(10, 4, stride=4)
    array([0, 4, 6])
    """
    starts = np.arange(0, n_cells - length + 1, stride)
    if starts[-1] != n_cells - length:
        starts = np.append(starts, n_cells - length)
    return starts


def window_cells(starts, length, calendar):
    """Grid cell in each slot of each window, ``n_cells`` where a slot is empty.

    Parameters
    ----------
    starts : ndarray of shape (n_windows,) of int
        First cell of each window.
    length : int
        Cells in a window, at most the period and at most ``calendar.n_cells``.
    calendar : Calendar
        Gives the season slot of each cell.

    Returns
    -------
    ndarray of shape (n_windows, period) of int

    Examples
    --------
    >>> window_cells(np.arange(3), 4, Calendar.regular(6, period=4))
    array([[0, 1, 2, 3],
           [4, 1, 2, 3],
           [4, 5, 2, 3]])
    """
    cells = np.full((len(starts), calendar.period), calendar.n_cells, dtype=np.intp)
    covered = np.asarray(starts)[:, np.newaxis] + np.arange(length)
    slots = (calendar.first_slot + covered) % calendar.period
    np.put_along_axis(cells, slots, covered, axis=1)
    return cells


def aligned_windows(grid: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Cut calendar-aligned windows out of gridded series.

    Parameters
    ----------
    grid : ndarray of shape (..., n_cells)
        Series on the season grid.
    cells : ndarray of shape (n_windows, period) of int
        What `window_cells` returns.

    Returns
    -------
    ndarray of shape (..., n_windows, period)
        NaN in empty slots.
    """
    grid = _as_floats(grid, "grid")
    if grid.ndim == 0:
        raise ValueError("grid has no dimension; expected (..., n_cells).")
    cells = _check_cells(cells, grid.shape[-1])
    empty = np.full((*grid.shape[:-1], 1), np.nan, dtype=grid.dtype)
    return np.concatenate([grid, empty], axis=-1)[..., cells]


def overlap_average(values: np.ndarray, cells: np.ndarray, n_cells: int) -> np.ndarray:
    """Average the windows that cover each cell, the inverse of `aligned_windows`.

    Parameters
    ----------
    values : ndarray of shape (..., n_windows, period)
        A value in each slot of each window.
    cells : ndarray of shape (n_windows, period) of int
        What `window_cells` returned.
    n_cells : int
        Length of the grid.

    Returns
    -------
    ndarray of shape (..., n_cells)
        NaN where no window reaches.

    Notes
    -----
    The mean is updated value by value, ``m += (v - m) / k``, so that equal
    values average to exactly themselves: windows of a series give it back bit
    for bit.
    """
    n_cells = check_count(n_cells, "n_cells")
    cells = _check_cells(cells, n_cells)
    values = _as_floats(values, "values")
    if values.shape[-2:] != cells.shape:
        raise ValueError(
            f"values has shape {values.shape}; expected (..., {len(cells)}, "
            f"{cells.shape[1]}), as cells has shape {cells.shape}."
        )
    rounds, count = _rounds(cells, n_cells)
    values = values.reshape(*values.shape[:-2], cells.size)
    return _mean_of_rounds(values, rounds, count, axis=-1)


def window_average(values, cells, n_cells):
    """Like `overlap_average`, of windows whose slots all have one value.

    Parameters
    ----------
    values : ndarray of shape (n_windows, ...)
        A value of each window.
    cells, n_cells
        See `overlap_average`.

    Returns
    -------
    ndarray of shape (n_cells, ...)
        NaN where no window reaches.
    """
    rounds, count = _rounds(cells, n_cells)
    # Most cells lie in the same windows as their neighbours: one mean for all these.
    windows = np.vstack([rounds // cells.shape[1], count])
    (*windows, count), which = np.unique(windows, axis=1, return_inverse=True)
    return _mean_of_rounds(values, windows, count, axis=0)[which]


def _as_floats(values, name):
    """Floats of the kind they were given in."""
    values = as_array(values, name)
    return values if values.dtype.kind == "f" else as_array(values, name, np.float64)


def _check_cells(cells, n_cells):
    cells = as_array(cells, "cells")
    if cells.ndim != 2 or cells.size == 0 or cells.dtype.kind not in "iu":
        raise ValueError(
            f"cells has shape {cells.shape} and dtype {cells.dtype}; expected "
            "(n_windows, period) integers."
        )
    if cells.min() < 0 or cells.max() > n_cells:
        raise ValueError(
            f"cells has {cells.min()} to {cells.max()}; expected 0 to {n_cells - 1}, "
            f"or {n_cells} in an empty slot."
        )
    return cells


def _mean_of_rounds(values, rounds, count, axis):
    """The mean of what the rounds of `_rounds` pick along an axis."""
    mean = values.take(rounds[0], axis)
    for k, positions in enumerate(rounds[1:], start=2):
        step = values.take(positions, axis)
        step -= mean
        step /= k
        np.moveaxis(step, axis, 0)[count < k] = 0
        mean += step
    np.moveaxis(mean, axis, 0)[count == 0] = np.nan
    return mean


def _rounds(cells, n_cells):
    """Where the windows' values for each cell lie: first ones, second ones, ...

    Returns
    -------
    rounds : ndarray of shape (n_rounds, n_cells) of int
        Positions in ``cells.ravel()``, in the order of the windows; 0 where fewer
        windows cover the cell.
    count : ndarray of shape (n_cells,) of int
        How many windows cover each cell.
    """
    cells = cells.ravel()
    position = np.argsort(cells, kind="stable")
    position = position[: np.count_nonzero(cells < n_cells)]
    cell = cells[position]
    count = np.bincount(cell, minlength=n_cells)
    rank = np.arange(len(cell)) - np.searchsorted(cell, cell)
    rounds = np.zeros((max(1, count.max()), n_cells), dtype=np.intp)
    rounds[rank, cell] = position
    return rounds, count
