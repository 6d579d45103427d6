"""Bands on one scale, and acquisitions on one grid of dates."""

from datetime import date
from numbers import Integral
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from ._sklearn import Interval, fit_context
from ._validation import (
    ObjectArrayLike,
    as_array,
    as_days,
    check_count,
    check_dates,
    check_series,
    naming,
)

# More than lie between any two dates.
MOST_DAYS = 10_000_000


class BandScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Standardise each band over samples and dates.

    Every date of a band is shifted and scaled alike, unlike in
    :class:`~sklearn.preprocessing.StandardScaler`, which would scale each date
    by itself and so wipe out the season.

    Parameters
    ----------
    n_bands : int, default=1
        Bands in the columns of 2-D input; ignored for 3-D input.

    Attributes
    ----------
    mean_ : ndarray of shape (n_bands,) of float64
        Mean of the observed values of each band, in the units of X; NaN for a
        band without any.
    scale_ : ndarray of shape (n_bands,) of float64
        Standard deviation of the observed values of each band, in the units of
        X; 1 for a constant band, NaN for a band without any value.
    n_bands_ : int
        Number of bands seen in fit.
    band_names_in_ : ndarray of shape (`n_bands_`,) of str
        Names of the bands in fit, where X was an `xarray.DataArray` that has them.
    n_features_in_ : int
        Size of axis 1 of X in fit: bands (3-D) or columns (2-D).
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns in fit, where 2-D X had names.

    See Also
    --------
    sktasgen.preprocessing.composite : Puts acquisitions on one grid of dates.

    Notes
    -----
    NaN, "not observed", is left out of the statistics and stays NaN. A band
    that was never observed in fit has no scale, so whatever it holds later
    becomes NaN too: nothing could have been learned from it.

    Examples
    --------
    >>> import numpy as np
    >>> from sktasgen.preprocessing import BandScaler
    >>> X = np.array([[[1.0, 3.0, np.nan], [500.0, 500.0, 500.0]],
    ...               [[3.0, 1.0, 3.0], [500.0, 500.0, 500.0]],
    ...               [[1.0, np.nan, np.nan], [500.0, np.nan, 500.0]]])
    >>> scaler = BandScaler().fit(X)
    >>> scaler.mean_, scaler.scale_
    (array([  2., 500.]), array([1., 1.]))
    >>> scaler.transform(X[:1])
    array([[[-1.,  1., nan],
            [ 0.,  0.,  0.]]])
    """

    _parameter_constraints = {"n_bands": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, n_bands: int = 1) -> None:
        self.n_bands = n_bands

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn the mean and the standard deviation of each band.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series; NaN where not observed.
        y : ignored
            Taken as other estimators take it.

        Returns
        -------
        self : BandScaler

        Raises
        ------
        ValueError
            If X is not numeric, has inf, a value above 1e15 in size or more than
            three dimensions, or if `n_bands` does not divide the columns of 2-D X.
        """
        series = check_series(self, X, reset=True)
        self.mean_ = np.full(self.n_bands_, np.nan)
        self.scale_ = np.full(self.n_bands_, np.nan)
        # Band by band, so that the float64 copy is that of one band.
        for band, values in enumerate(np.swapaxes(series, 0, 1)):
            values = values[~np.isnan(values)].astype(np.float64, copy=False)
            if values.size:
                self.mean_[band] = values.mean()
                # Rounding gives a constant band a tiny standard deviation, not 0.
                varies = values.min() < values.max()
                self.scale_[band] = (values.std() if varies else 0.0) or 1.0
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Scale each band to mean 0 and standard deviation 1.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series, with as many dimensions and bands as in fit; 3-D X may
            have another number of dates.

        Returns
        -------
        ndarray of the shape of X
            The scaled series, a new array; float32 for float32 X.

        Raises
        ------
        ValueError
            If X is not numeric, has inf or a value above 1e15 in size, or does not
            match that of fit.
        """
        check_is_fitted(self)
        series = check_series(self, X, reset=False)
        scaled = np.empty(series.shape, series.dtype)
        np.subtract(series, self.mean_[:, np.newaxis], out=scaled)
        scaled /= self.scale_[:, np.newaxis]
        return self._flat_if_fitted_flat(scaled)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Return scaled series to the units they had before `transform`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            Scaled series, with as many dimensions and bands as in fit.

        Returns
        -------
        ndarray of the shape of X
            The series in the units of fit, a new array; float32 for float32 X.

        Raises
        ------
        ValueError
            If X is not numeric, has inf or a value above 1e15 in size, or does not
            match that of fit.
        """
        check_is_fitted(self)
        scaled = check_series(self, X, reset=False)
        series = np.empty(scaled.shape, scaled.dtype)
        np.multiply(scaled, self.scale_[:, np.newaxis], out=series)
        series += self.mean_[:, np.newaxis]
        return self._flat_if_fitted_flat(series)

    def _flat_if_fitted_flat(self, series):
        return series.reshape(len(series), -1) if self._series_ndim == 2 else series

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def composite(
    values: ArrayLike,
    sample_index: ArrayLike,
    dates: ObjectArrayLike,
    *,
    step: int | None = None,
    start: date | np.datetime64 | int | None = None,
    n_samples: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Put acquisitions of samples at different dates onto one grid of dates.

    Each acquisition goes to the grid date nearest to it (to the later one when
    it lies halfway), and a cell of the result is the mean of the values that
    meet in it. Where `step` and `start` are None and all samples were acquired
    on exactly the same dates, the grid is those very dates, whatever their
    spacing: nothing is resampled.

    Parameters
    ----------
    values : array-like of shape (n_observations, n_bands)
        One row per acquisition of a sample, in any order; NaN where a band was
        not observed.
    sample_index : array-like of int of shape (n_observations,)
        Which sample each row belongs to, counted from 0.
    dates : array-like of shape (n_observations,)
        Date of each row: datetime64 (the time of day is dropped), or integer
        proleptic ordinal days. A date may occur twice in a sample.
    step : int, default=None
        Days between the grid dates. None takes the median gap between
        consecutive distinct dates of a sample, over all samples, in whole days.
    start : datetime64, `datetime.date` or int (ordinal day), default=None
        The first grid date; None takes the earliest of `dates`.
    n_samples : int, default=None
        Rows of the result; None takes the largest `sample_index` plus one. A
        sample without acquisitions comes out as NaN throughout.

    Returns
    -------
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
        The series in the units of `values`; NaN where nothing was observed.
        float32 for float32 values, else float64.
    dates : ndarray of shape (n_timesteps,) of datetime64[D]
        The dates of the grid.

    Raises
    ------
    TypeError
        If `sample_index` is not made of integers, `dates` or `start` are neither
        dates nor integers, or `step` or `n_samples` is no int.
    ValueError
        If `values` is not numeric, has inf or no rows; if the lengths differ,
        an index lies outside ``range(n_samples)``, a date is NaT or nearer to
        a grid date before `start`, `step` or `n_samples` is not positive, or
        `step` is None where no sample has two dates.

    Examples
    --------
    Two samples, 10 days apart each, the second acquired 2 days later:

    >>> import numpy as np
    >>> from sktasgen.preprocessing import composite
    >>> days = np.array(["2024-01-01", "2024-01-11", "2024-01-03", "2024-01-13"])
    >>> X, dates = composite(
    ...     [[0.1], [0.2], [0.3], [0.4]], [0, 0, 1, 1], days.astype("datetime64[D]")
    ... )
    >>> X[:, 0]
    array([[0.1, 0.2],
           [0.3, 0.4]])
    >>> dates
    array(['2024-01-01', '2024-01-11'], dtype='datetime64[D]')
    """
    with naming("values"):
        values = check_array(
            values,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            input_name="values",
        )
    n_samples, sample_index = _check_sample_index(sample_index, len(values), n_samples)
    days, day_index = _check_acquisition_dates(dates, len(values))

    if step is None and start is None and _all_share(sample_index, day_index):
        grid, slot = days, day_index
    else:
        if step is None:
            step = _median_gap(sample_index, days[day_index])
        else:
            step = check_count(step, "step", most=MOST_DAYS)
        start = days[0] if start is None else check_dates([start], 1)[0]
        since_start = (days - start).astype(np.int64)
        slot = (2 * since_start + step) // (2 * step)
        if slot[0] < 0:
            raise ValueError(
                f"dates has {days[0]}, which is nearer to a grid date before "
                f"start={start} (step={step} days); start earlier or drop it."
            )
        grid = start + step * np.arange(slot[-1] + 1)
        slot = slot[day_index]
    return _cell_means(values, sample_index * len(grid) + slot, n_samples, grid), grid


def _check_sample_index(sample_index, n_observations, n_samples):
    sample_index = as_array(sample_index, "sample_index")
    if sample_index.dtype.kind not in "iu":
        raise TypeError(
            f"sample_index must be integers, got dtype {sample_index.dtype}."
        )
    if sample_index.shape != (n_observations,):
        raise ValueError(
            f"sample_index has shape {sample_index.shape}, but values has "
            f"{n_observations} rows: expected ({n_observations},)."
        )
    sample_index = sample_index.astype(np.int64)
    if n_samples is None:
        n_samples = sample_index.max() + 1
    else:
        n_samples = check_count(n_samples, "n_samples")
    if sample_index.min() < 0 or sample_index.max() >= n_samples:
        raise ValueError(
            f"sample_index runs from {sample_index.min()} to {sample_index.max()}; "
            f"expected 0 to {n_samples - 1}."
        )
    return n_samples, sample_index


def _check_acquisition_dates(dates, n_observations):
    """Return the distinct dates in order, and the index into them of each row."""
    dates = as_array(dates, "dates")
    if dates.shape != (n_observations,):
        raise ValueError(
            f"dates has shape {dates.shape}, but values has {n_observations} rows: "
            f"expected ({n_observations},)."
        )
    days, day_index = np.unique(as_days(dates), return_inverse=True)
    return check_dates(days, len(days)), day_index


def _all_share(sample_index, day_index):
    """Whether every sample that has acquisitions has one on every date."""
    n_days = day_index.max() + 1
    n_pairs = np.unique(sample_index * n_days + day_index).size
    return n_pairs == np.unique(sample_index).size * n_days


def _median_gap(sample_index, days):
    order = np.lexsort((days, sample_index))
    gaps = np.diff(days[order]).astype(np.int64)
    gaps = gaps[(np.diff(sample_index[order]) == 0) & (gaps > 0)]
    if not gaps.size:
        raise ValueError(
            "step=None needs a sample with two different dates to take the gap "
            "from; give step in days."
        )
    return max(1, round(np.median(gaps)))


def _cell_means(values, cell, n_samples, grid):
    """Mean of the observed values of each band that share a cell, NaN for none."""
    n_bands, n_cells = values.shape[1], n_samples * len(grid)
    X = np.full((n_samples, n_bands, len(grid)), np.nan, dtype=values.dtype)
    for band, band_values in enumerate(values.T):
        observed = ~np.isnan(band_values)
        count = np.bincount(cell[observed], minlength=n_cells)
        total = np.bincount(cell[observed], band_values[observed], n_cells)
        mean = np.divide(total, count, out=np.full(n_cells, np.nan), where=count > 0)
        X[:, band] = mean.reshape(n_samples, len(grid))
    return X
