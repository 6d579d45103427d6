"""How the dates of a fit fall into seasons, and how other dates compare."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils import gen_batches

from ._validation import check_dates
from .windows import DAYS_PER_YEAR, Calendar, Windowing

# Series brought in line in one go: what this takes stays near the processor.
_ALIGNED_TOGETHER = 64


@dataclass(frozen=True, eq=False)
class Seasons:
    """Calendar and windows of the dates that fit saw, and of others beside them.

    Attributes
    ----------
    n_timesteps : int
    dates : ndarray of shape (n_timesteps,) of datetime64[D], or None
        None means regular steps.
    period : int
        Slots per season cycle.
    window_length, stride : int
        Slots in a window, and between the starts of two.
    gain, offset : ndarrays of shape (n_bands, n_timesteps), or None
        What sets the dates apart from the labelled seasons, if anything: see
        `alignment.align_years`.
    """

    n_timesteps: int
    dates: np.ndarray | None
    period: int
    window_length: int
    stride: int
    gain: np.ndarray | None = None
    offset: np.ndarray | None = None

    @classmethod
    def resolve(cls, n_timesteps, *, period, dates, window_length=None, stride=None):
        """Find what was left open; the arguments are the detector's parameters.

        Raises
        ------
        ValueError
            If they do not fit each other or the dates.
        TypeError
            If dates are neither dates nor integers.
        """
        dates = check_dates(dates, n_timesteps)
        if period is None:
            period = n_timesteps if dates is None else _slots_per_year(dates)
        whole = cls(n_timesteps, dates, period, window_length=1, stride=1)
        n_cells = whole.calendar(n_timesteps).n_cells
        if window_length is None:
            window_length = min(period, n_cells)
        if window_length > n_cells:
            raise ValueError(
                f"window_length={window_length} is longer than the series, "
                f"which spans {n_cells} season slots."
            )
        if window_length > period:
            raise ValueError(
                f"window_length={window_length} is longer than the season: "
                f"expected at most period={period}."
            )
        stride = stride or max(1, window_length // 2)
        if stride > window_length:
            raise ValueError(
                f"stride={stride} leaves dates between windows uncovered: "
                f"expected at most window_length={window_length}."
            )
        return replace(whole, window_length=window_length, stride=stride)

    def _days(self, n_timesteps, dates):
        """Validated dates of other series, None for those of fit."""
        if dates is not None and self.dates is None:
            raise ValueError(
                "dates was given, but fit was without dates: set the parameter dates "
                "to those of the training series."
            )
        return check_dates(dates, n_timesteps)

    def calendar(self, n_timesteps, dates=None):
        """The calendar of series with these dates, or those of fit.

        Raises
        ------
        ValueError
            If there is no telling which dates the series have.
        """
        days = self._days(n_timesteps, dates)
        if days is None:
            if self.dates is None:
                return Calendar.regular(n_timesteps, self.period)
            if n_timesteps != self.n_timesteps:
                raise ValueError(
                    f"X has {n_timesteps} timesteps, fit had {self.n_timesteps} "
                    "dates: pass dates=, one per timestep."
                )
            days = self.dates
        return Calendar.from_dates(days, self.period)

    def windowing(self, n_timesteps, dates=None):
        """The windows over such series: one shorter one where these are short."""
        calendar = self.calendar(n_timesteps, dates)
        length = min(self.window_length, calendar.n_cells)
        return Windowing(calendar, length, self.stride)

    def gain_and_offset(self, n_timesteps, dates=None):
        """Those of the dates that fit saw; 1 and 0 on others.

        Returns
        -------
        gain, offset : ndarrays of shape (n_bands, n_timesteps), or 1 and 0
        """
        days = self._days(n_timesteps, dates)
        if self.gain is None or days is None and n_timesteps != self.n_timesteps:
            return np.ones((1, 1)), np.zeros((1, 1))
        if days is None or np.array_equal(days, self.dates):
            return self.gain, self.offset
        # Of several dates of one day the first is the first that fit saw of it.
        first = np.searchsorted(self.dates, days)
        last = np.searchsorted(self.dates, days, side="right") - 1
        rank = np.arange(n_timesteps) - np.searchsorted(days, days)
        at, seen = np.minimum(first + rank, last), first <= last
        return np.where(seen, self.gain[:, at], 1), np.where(
            seen, self.offset[:, at], 0
        )

    def align(self, X, dates=None):
        """Series of shape (n_samples, n_bands, n_timesteps), brought in line."""
        gain, offset = self.gain_and_offset(X.shape[2], dates)
        if (gain == 1).all() and (offset == 0).all():
            return X
        aligned = np.empty_like(X)
        for some in gen_batches(len(X), _ALIGNED_TOGETHER):
            part = X[some] - offset  # in double precision
            part /= gain
            aligned[some] = part
        return aligned


def _slots_per_year(dates):
    """A year's worth of season slots at the median gap between distinct dates."""
    gaps = np.diff(np.unique(dates)).astype(np.int64)
    if len(gaps) == 0:
        return 1
    return max(1, round(DAYS_PER_YEAR / float(np.median(gaps))))
