"""Years brought into line: what sets the dates of other years apart from the labelled.

Weather and sensors give every year a look of its own. Labels of one year say how the
classes look in that year; how much brighter, darker or earlier another one is has to
come from the series themselves, though these may have changed class by then.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter1d
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from .decoding import forward_backward, hold, season_switch_cost
from .evidence import log_probability, spread_windows, window_rows

# Rounds of expectation and maximisation; each takes one more step away from the
# assumption that nothing changed.
_N_ROUNDS = 10
# Series looked at: more would not sharpen a mean.
_MOST_SERIES = 2000
# A year is left as it is unless it differs by more than chance, in standard errors,
# and by more than does harm: a shift in units of the spread, a gain as a logarithm.
_ERRORS = 3.0
_SHIFT, _LOG_GAIN = 0.25, 0.125
# Degrees of freedom that it takes to know a spread, and how small one is none.
_LEAST_FREEDOM = 10
_LEAST_SPREAD = 1e-6
# What no change of weather or sensor goes beyond.
_GAINS = 0.5, 2.0


class Alignment(NamedTuple):
    """What every date does to a value: ``offset + gain * value``.

    Attributes
    ----------
    gain, offset : ndarrays of shape (n_bands, n_timesteps)
    """

    gain: np.ndarray
    offset: np.ndarray


def align_years(X, classes, times, windowing, n_classes):
    """Gain and offset of each date beside the labelled seasons.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
        Series in units of their own; NaN where not observed.
    classes : ndarray of shape (n_samples,) of int
        Class number at `times`, -1 where not known.
    times : ndarray of shape (n_samples,) of int
        Index of the labelled date.
    windowing : windows.Windowing
    n_classes : int

    Returns
    -------
    Alignment
        Of gain 1 and offset 0 on dates of years, season by season from the first
        date, that differ from the labelled ones in no band beyond chance, and where
        there is too little to compare with: fewer than two seasons or two classes,
        ten labels beyond one of each class at the season slot, bands that are
        constant.

    Notes
    -----
    Expectation and maximisation in turn. Given who shows which class at a date, the
    gain is the ratio of the spreads within classes, at the date and at the same
    season slot of the labelled seasons, and the offset is what is left between the
    means, the classes set side by side: shares of classes that change over time do
    not enter. Given gain and offset, linear discriminant analysis of season windows,
    trained on the labelled ones, and a chain over the dates (`decoding`) tell the
    classes. The first round takes every label to hold throughout, and medians, which
    the samples that did change hardly move; or no year to differ, where that ends with
    series that are more probable, changes of class included.

    References
    ----------
    A. P. Dempster, N. M. Laird and D. B. Rubin, "Maximum likelihood from incomplete
    data via the EM algorithm", Journal of the Royal Statistical Society B 39 (1977).

    M. J. Canty and A. A. Nielsen, "Automatic radiometric normalization of
    multitemporal satellite imagery with the iteratively re-weighted MAD
    transformation", Remote Sensing of Environment 112 (2008): from the pixels that
    did not change.
    """
    plain = Alignment(*np.stack([np.ones(X.shape[1:]), np.zeros(X.shape[1:])]))
    calendar = windowing.calendar
    if n_classes < 2 or calendar.n_cells < 2 * windowing.length:
        return plain
    rows = _some(classes)
    X, classes, times = X[rows].astype(np.float64), classes[rows], times[rows]
    labelled = (classes >= 0)[:, np.newaxis]
    in_season = labelled & windowing.in_own(times)
    shown = (in_season & ~np.isnan(X).all(axis=1)).any(axis=1)
    if len(np.unique(classes[shown])) < 2:
        return plain
    given = np.zeros((len(X), X.shape[2], n_classes))
    given[labelled[:, 0], :, classes[labelled[:, 0]]] = 1
    season = given * in_season[:, :, np.newaxis]
    reference = _Moments.of(X, season).by_slot(calendar).where_known(X)
    tell = _Teller(X, classes, times, windowing, n_classes, reference)
    # From what would explain as much without any change as there is, and from no
    # difference of years at all: many may have changed in one direction.
    starts = _compare(_Moments.by_medians(X, given), reference), plain
    best = -np.inf
    for start in starts:
        so_far = start
        for _ in range(_N_ROUNDS):
            told = tell(_apply(X, so_far))
            moments_so_far = _Moments.of(X, told * _far_from_switches(told, windowing))
            so_far = _compare(moments_so_far, reference)
        likelihood = _log_likelihood(X, so_far, told, reference, tell.cost)
        if likelihood > best:
            best, found, moments = likelihood, so_far, moments_so_far
    beyond_chance = _beyond_chance(found, moments, reference, calendar)
    return Alignment(
        *(np.where(beyond_chance, *pair) for pair in zip(found, plain, strict=True))
    )


class _Moments(NamedTuple):
    """Of each class at each date.

    Attributes
    ----------
    n_seen, mean : ndarrays of shape (n_bands, n_timesteps, n_classes)
    spread : ndarray of shape (n_bands, n_timesteps)
        Standard deviation within classes.
    """

    n_seen: np.ndarray
    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, X, weight):
        """Of series, given how probably (n, n_timesteps, n_classes) they show each."""
        seen = ~np.isnan(X)
        X = np.where(seen, X, 0)
        sums = [
            np.einsum("ntk,nbt->btk", weight, part, optimize=True)
            for part in (seen.astype(float), X, X**2)
        ]
        return cls._from_sums(*sums)

    @classmethod
    def _from_sums(cls, n_seen, total, square):
        mean = total / np.maximum(n_seen, 1e-9)
        within = (square - n_seen * mean**2).sum(axis=2)
        spread = np.sqrt(np.maximum(within, 0) / np.maximum(n_seen.sum(axis=2), 1e-9))
        return cls(n_seen, mean, spread)

    @classmethod
    def by_medians(cls, X, given):
        """Of series of which most still show their given class."""
        middle, n_seen, away = [], [], []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # dates without any
            for members in np.moveaxis(given[:, 0] > 0, 1, 0):
                median = np.nanmedian(X[members], axis=0)
                middle.append(np.nan_to_num(median))
                n_seen.append((~np.isnan(X[members])).sum(axis=0))
                away.append(np.nanmedian(abs(X[members] - median), axis=0))
        n_seen = np.stack(n_seen, axis=2).astype(float)
        variance = np.nan_to_num(1.4826 * np.stack(away, axis=2)) ** 2
        within = (n_seen * variance).sum(axis=2) / np.maximum(n_seen.sum(axis=2), 1)
        return cls(n_seen, np.stack(middle, axis=2), np.sqrt(within))

    def where_known(self, X):
        """None where the spread is not known, or is none."""
        freedom = np.maximum(self.n_seen - 1, 0).sum(axis=2)
        largest = np.nanmax(np.abs(X), axis=(0, 2), initial=0)[:, np.newaxis]
        known = (freedom >= _LEAST_FREEDOM) & (self.spread > _LEAST_SPREAD * largest)
        return self._replace(spread=np.where(known, self.spread, 0))

    def by_slot(self, calendar):
        """Those of all dates of a season slot together, for each date."""
        square = self.n_seen * self.mean**2
        square += (self.spread[:, :, np.newaxis] ** 2) * self.n_seen
        sums = []
        for part in (self.n_seen, self.n_seen * self.mean, square):
            of_slot = np.zeros((part.shape[0], calendar.period, part.shape[2]))
            np.add.at(of_slot, (slice(None), calendar.slot), part)
            sums.append(of_slot[:, calendar.slot])
        return self._from_sums(*sums)


def _some(classes):
    """Rows to look at: labelled ones first, evenly spread."""
    rows = []
    for members in (np.flatnonzero(classes >= 0), np.flatnonzero(classes < 0)):
        n = min(len(members), _MOST_SERIES - sum(map(len, rows)))
        rows.append(members[np.linspace(0, len(members) - 1, n).astype(np.intp)])
    return np.sort(np.concatenate(rows))


def _compare(moments, reference):
    """Gain and offset that bring means and spreads of a date to the reference."""
    known = (moments.spread > 0) & (reference.spread > 0)
    ratio = moments.spread / np.where(known, reference.spread, 1)
    gain = np.where(known, np.clip(ratio, *_GAINS), 1)
    weight = _weight(moments, reference)
    left = moments.mean - gain[:, :, np.newaxis] * reference.mean
    return Alignment(gain, np.where(known, (weight * left).sum(axis=2), 0))


def _precision(moments, reference):
    """Of the difference of the means of each class, in units of the spread."""
    both = moments.n_seen * reference.n_seen
    return both / np.maximum(moments.n_seen + reference.n_seen, 1e-9)


def _weight(moments, reference):
    """What each class counts for in a mean over classes."""
    precision = _precision(moments, reference)
    return precision / np.maximum(precision.sum(axis=2, keepdims=True), 1e-9)


def _beyond_chance(found, moments, reference, calendar):
    """Dates of years that differ from the reference, (n_bands, n_timesteps)."""
    weight = _weight(moments, reference)
    middle = (weight * reference.mean).sum(axis=2)
    shift = found.offset + (found.gain - 1) * middle
    n = _precision(moments, reference).sum(axis=2)
    compared = (n > 0) & (reference.spread > 0)
    chance = np.where(compared, _ERRORS**2 / np.maximum(n, 1e-9), np.inf)
    spread = np.where(compared, reference.spread, 1)
    in_mean = (shift / spread) ** 2 / np.maximum(chance, _SHIFT**2)
    in_spread = np.log(found.gain) ** 2 / np.maximum(chance / 2, _LOG_GAIN**2)
    year = calendar.cell // calendar.period
    beyond = np.zeros_like(compared)
    for number in range(year.max() + 1):
        dates = year == number
        n_compared = np.maximum(compared[:, dates].sum(axis=1), 1)
        for statistic in (in_mean, in_spread):
            mean = np.where(compared, statistic, 0)[:, dates].sum(axis=1) / n_compared
            beyond[:, dates] |= (mean > 1)[:, np.newaxis]
    return beyond.any(axis=0) & compared


def _far_from_switches(told, windowing):
    """Dates at which there is no doubt of the class, (n, n_timesteps, 1).

    Windows tell a change, but not its date to the day.
    """
    path = told.argmax(axis=2)
    switch = np.zeros(path.shape, dtype=bool)
    switch[:, 1:] = path[:, 1:] != path[:, :-1]
    width = 2 * (windowing.length // 4) + 1
    return ~maximum_filter1d(switch, width, axis=1)[:, :, np.newaxis]


def _log_likelihood(X, alignment, told, reference, cost):
    """Of series whose classes are told, up to a constant."""
    seen = ~np.isnan(X)
    known = reference.spread > 0
    spread = np.where(known, reference.spread, 1)
    aligned = np.where(seen, _apply(X, alignment), 0)
    total = -np.where(seen, np.log(alignment.gain), 0).sum()
    for k in range(told.shape[2]):
        away = (aligned - reference.mean[:, :, k]) / spread
        # Bounded: a cloud that was missed is no reason to call a class changed.
        fit = np.where(seen & known, np.minimum(away**2, 16), 0).sum(axis=1)
        total -= (told[:, :, k] * fit).sum() / 2
    path = told.argmax(axis=2)
    return total - cost * (path[:, 1:] != path[:, :-1]).sum()


def _apply(X, alignment):
    return (X - alignment.offset) / alignment.gain


class _Teller:
    """Tells classes by linear discriminant analysis of the labelled windows."""

    def __init__(self, X, classes, times, windowing, n_classes, reference):
        self.held = classes, times
        self.windowing = windowing
        self.n_classes = n_classes
        calendar = windowing.calendar
        self.cost = season_switch_cost(calendar, n_classes)
        # What was not observed speaks for no class.
        share = reference.n_seen / np.maximum(
            reference.n_seen.sum(axis=2, keepdims=True), 1e-9
        )
        self.filling = np.zeros((X.shape[1], calendar.period))
        self.filling[:, calendar.slot] = (share * reference.mean).sum(axis=2)
        every = windowing.with_stride(1)
        wanted = every.near(times) & (classes >= 0)[:, np.newaxis]
        rows, _ = window_rows(X, calendar, every.cells, wanted)
        self.model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        self.model.fit(self._fill(rows.features), classes[rows.sample])

    def __call__(self, X):
        """Probability (n, n_timesteps, n_classes) of each class at each date."""
        windowing = self.windowing
        wanted = np.ones((len(X), len(windowing.starts)), dtype=bool)
        rows, window = window_rows(X, windowing.calendar, windowing.cells, wanted)
        found = np.zeros((len(rows.sample), self.n_classes))
        features = self._fill(rows.features)
        found[:, self.model.classes_] = self.model.predict_proba(features)
        evidence = spread_windows(
            log_probability(found), rows.sample, window, windowing, len(X)
        )
        return forward_backward(hold(evidence, *self.held), self.cost)

    def _fill(self, features):
        return np.where(np.isnan(features), self.filling.ravel(), features)
