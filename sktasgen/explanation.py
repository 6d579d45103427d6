"""What an explanation holds: cells, bands, dates, and the series without the change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from ._optional import import_optional
from ._validation import as_array, check_dates, naming

if TYPE_CHECKING:
    import pandas as pd

# Chains whose estimates differ by more than this have not found the same answer
# (Brooks and Gelman, 1998).
MOST_R_HAT = 1.2


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which cells of series are anomalous, how sure that is, and what was expected.

    A cell is one band at one date. :meth:`sktasgen.GibbsExplainer.explanation` makes
    these.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
        The series; NaN where not observed.
    probability : ndarray of shape (n_samples, n_bands, n_timesteps)
        That the cell is anomalous; NaN where not observed.
    counterfactual : ndarray of shape (n_samples, n_bands, n_timesteps)
        The series as if nothing had happened: the expected value of every cell,
        observed or not, in the units of X.
    counterfactual_std : ndarray of shape (n_samples, n_bands, n_timesteps)
        Standard deviation of a value observed there, if nothing had happened.
    r_hat : ndarray of shape (n_samples,)
        Split R-hat of the probabilities: about 1 where the chains agree.
    ess : ndarray of shape (n_samples,)
        Effective sample size: how many independent draws the sweeps of all chains
        are worth, for the expected number of anomalous cells.
    acceptance : ndarray of shape (n_samples,)
        Share of the latents drawn that were accepted: 1 without correction.
    dates : ndarray of shape (n_timesteps,) of datetime64[D], or None
        Dates of the series, if known.

    See Also
    --------
    sktasgen.plots.AttributionDisplay : The same as a picture.

    Examples
    --------
    >>> import numpy as np
    >>> from sktasgen.explanation import Explanation
    >>> one = np.ones(1)
    >>> found = Explanation(
    ...     X=np.array([[[0.2, 0.9, 0.8, 0.2]]]),
    ...     probability=np.array([[[0.0, 0.9, 0.8, 0.1]]]),
    ...     counterfactual=np.full((1, 1, 4), 0.2),
    ...     counterfactual_std=np.full((1, 1, 4), 0.05),
    ...     r_hat=one, ess=40 * one, acceptance=one, dates=None,
    ... )
    >>> found.change_interval
    array([[1, 2]])
    >>> found.interval(0.9)[1].round(2)
    array([[[0.28, 0.28, 0.28, 0.28]]])
    """

    X: np.ndarray
    probability: np.ndarray
    counterfactual: np.ndarray
    counterfactual_std: np.ndarray
    r_hat: np.ndarray
    ess: np.ndarray
    acceptance: np.ndarray
    dates: np.ndarray | None = None

    @property
    def band_importance(self) -> np.ndarray:
        """Share of a band's observed dates expected to be anomalous, (n, n_bands)."""
        return _mean(self.probability, axis=2)

    @property
    def date_importance(self) -> np.ndarray:
        """Share of a date's observed bands expected to be anomalous, (n, n_dates)."""
        return _mean(self.probability, axis=1)

    @property
    def anomalous(self) -> np.ndarray:
        """Samples with a cell that is more probably anomalous than not, (n,) bool."""
        return np.nan_to_num(self.probability).max(axis=(1, 2)) > 0.5

    @property
    def change_interval(self) -> np.ndarray:
        """First and last date of what happened, an ndarray of shape (n, 2) of int.

        The run of dates over which the highest probability of a date's bands, less a
        half, adds up to most: -1 for samples where no cell is `anomalous`.
        """
        seen = ~np.isnan(self.probability)
        highest = np.where(seen, self.probability, 0).max(axis=1)
        gain = np.where(seen.any(axis=1), highest - 0.5, 0)
        return np.array([_best_run(row) for row in gain]).reshape(-1, 2)

    @property
    def converged(self) -> np.ndarray:
        """Samples whose chains agree, an R-hat of at most 1.2: (n,) of bool.

        True where there were too few sweeps to tell: then `r_hat` is NaN.
        """
        return ~(self.r_hat > MOST_R_HAT)

    def interval(self, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Where the values would lie if nothing had happened.

        Parameters
        ----------
        coverage : float, default=0.9
            Probability that a value lies inside.

        Returns
        -------
        lower, upper : ndarrays of shape (n_samples, n_bands, n_timesteps)
            In the units of X.

        Raises
        ------
        ValueError
            If coverage is not between 0 and 1.
        """
        wanted = as_array(coverage, "coverage", np.float64)
        if wanted.ndim or not 0 < wanted < 1:
            raise ValueError(f"coverage must be between 0 and 1, got {coverage!r}.")
        away = norm.isf((1 - wanted) / 2) * self.counterfactual_std
        return self.counterfactual - away, self.counterfactual + away

    def to_frame(
        self,
        *,
        sample_names: Sequence | None = None,
        band_names: Sequence[str] | None = None,
        coverage: float = 0.9,
    ) -> pd.DataFrame:
        """A row for each cell.

        Parameters
        ----------
        sample_names : sequence of length n_samples, default=None
            None numbers the samples.
        band_names : sequence of str of length n_bands, default=None
            None numbers the bands.
        coverage : float, default=0.9
            Of the interval.

        Returns
        -------
        pandas.DataFrame
            Columns sample, band, timestep, date (if dates are known), value,
            probability, expected, lower, upper and converged.

        Raises
        ------
        ImportError
            If pandas is missing.
        ValueError
            If there are more or fewer names than samples or bands, or coverage is
            not between 0 and 1.
        """
        pandas = import_optional("pandas", extra="io", purpose="a table of cells")
        n, n_bands, n_timesteps = self.X.shape
        sample_names = _names("sample_names", sample_names, n)
        band_names = _names("band_names", band_names, n_bands)
        lower, upper = self.interval(coverage)
        sample, band, timestep = np.indices(self.X.shape).reshape(3, -1)
        columns = {"sample": sample_names[sample], "band": band_names[band]}
        columns["timestep"] = timestep
        if self.dates is not None:
            columns["date"] = check_dates(self.dates, n_timesteps)[timestep]
        for name, values in (
            ("value", self.X),
            ("probability", self.probability),
            ("expected", self.counterfactual),
            ("lower", lower),
            ("upper", upper),
        ):
            columns[name] = values.ravel()
        columns["converged"] = self.converged[sample]
        return pandas.DataFrame(columns)


def _mean(values, axis):
    """Mean of what is not NaN; NaN where all is."""
    seen = ~np.isnan(values)
    total = np.where(seen, values, 0).sum(axis=axis)
    count = seen.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _best_run(gain):
    """First and last index of the run that adds up to most, -1 if to nothing."""
    best, found, total, start = 0.0, (-1, -1), 0.0, 0
    for t, value in enumerate(gain):
        if total <= 0:
            total, start = 0.0, t
        total += value
        if total > best:
            best, found = total, (start, t)
    return found


def _names(argument, names, n):
    """Names as an array, numbers by default."""
    if names is None:
        return np.arange(n)
    with naming(argument):
        found = np.array(list(names))
    if found.shape != (n,):
        raise ValueError(f"{argument} has {len(found)} names; expected {n}.")
    return found
