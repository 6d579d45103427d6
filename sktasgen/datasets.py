"""Series with a known label at every date: simulated pixels and a real set."""

import hashlib
import os
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter
from scipy.special import expit
from sklearn.utils import Bunch, check_random_state

from ._optional import import_optional
from ._sklearn import Interval, validate_params

_DAYS_PER_YEAR = 365.25

# ---------------------------------------------------------------- simulation

_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")

# With fewer bands than all, the most telling ones for vegetation come first.
_BAND_PRIORITY = ("B8", "B4", "B11", "B3", "B2", "B12", "B5", "B6", "B7", "B8A")

# Reflectance of pure surfaces in `_BANDS`: round numbers of a plausible shape.
_SPECTRA = {
    "soil": (0.09, 0.13, 0.18, 0.21, 0.23, 0.25, 0.27, 0.29, 0.36, 0.31),
    "litter": (0.07, 0.10, 0.14, 0.17, 0.20, 0.23, 0.25, 0.27, 0.33, 0.24),
    "leaves": (0.03, 0.07, 0.03, 0.10, 0.32, 0.40, 0.43, 0.45, 0.20, 0.09),
    "canopy": (0.02, 0.05, 0.02, 0.08, 0.26, 0.32, 0.34, 0.36, 0.15, 0.06),
    "needles": (0.02, 0.04, 0.02, 0.06, 0.17, 0.21, 0.23, 0.24, 0.11, 0.05),
    "water": (0.06, 0.06, 0.04, 0.03, 0.03, 0.02, 0.02, 0.02, 0.01, 0.01),
    "roofs": (0.14, 0.16, 0.18, 0.19, 0.20, 0.21, 0.22, 0.23, 0.26, 0.24),
    "ash": (0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.11, 0.12, 0.18, 0.20),
}


class _Cover(NamedTuple):
    """A land-cover class: two surfaces, and how one greens over the other."""

    name: str
    dormant: str  # surface out of season
    growing: str  # surface that covers it in season
    disturbed: str  # surface a fire, a flood or a drought leaves for a while
    base: float  # share of the growing surface out of season
    amplitude: float  # what the season adds to that share
    middle: float  # day of year
    length: float  # days
    greening: float  # days: time scale of the rise
    fading: float  # days: time scale of the fall


_COVERS = (
    _Cover("summer crop", "soil", "leaves", "water", 0.08, 0.80, 205, 100, 8, 12),
    _Cover("grassland", "litter", "leaves", "ash", 0.20, 0.45, 170, 170, 16, 20),
    _Cover("broadleaf forest", "litter", "canopy", "ash", 0.15, 0.75, 200, 165, 8, 12),
    _Cover("water", "water", "leaves", "soil", 0.02, 0.08, 215, 110, 14, 14),
    _Cover("built-up", "roofs", "leaves", "water", 0.10, 0.15, 190, 180, 14, 16),
    _Cover("winter crop", "soil", "leaves", "water", 0.12, 0.75, 125, 110, 14, 8),
    _Cover("needleleaf forest", "soil", "needles", "ash", 0.80, 0.12, 195, 150, 20, 20),
    _Cover("wetland", "water", "leaves", "soil", 0.15, 0.65, 205, 130, 12, 14),
)

# Standard deviation of a pixel, and again of a year, at a variation of 1.
_SHIFT_DAYS = 8.0
_LOG_GAIN = 0.10
_LOG_BRIGHTNESS = 0.06

_VISIBLE = 0.01  # reflectance: what a cell must deviate by to count as anomalous

_SIMULATED_DESCR = """\
Simulated pixels with a known label at every date
=================================================
Surface reflectance (0 to 1) of land-cover classes with a season, seen by an optical
sensor through clouds. Ground truth by construction: the class at every date (`Y`),
the first date of the second class (`break_at`) and the cells that deviate from the
labelled class (`anomalies`). See `sktasgen.datasets.make_pixel_series`.
"""


def _fraction(closed="both"):
    return [Interval(Real, 0, 1, closed=closed)]


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_classes": [Interval(Integral, 2, len(_COVERS), closed="both")],
        "n_bands": [Interval(Integral, 1, len(_BANDS), closed="both")],
        "n_years": [Interval(Integral, 1, None, closed="left")],
        "period": [Interval(Integral, 1, None, closed="left")],
        "change_fraction": _fraction(),
        "gradual_fraction": _fraction(),
        "disturbance_fraction": _fraction(),
        "anomaly_fraction": _fraction(),
        "cloud_fraction": _fraction(closed="left"),
        "noise": [Interval(Real, 0, None, closed="left")],
        "pixel_variation": [Interval(Real, 0, None, closed="left")],
        "year_variation": [Interval(Real, 0, None, closed="left")],
        "label_time": [Interval(Integral, 0, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_pixel_series(
    n_samples=200,
    *,
    n_classes=3,
    n_bands=6,
    n_years=4,
    period=23,
    change_fraction=0.5,
    gradual_fraction=0.0,
    disturbance_fraction=0.0,
    anomaly_fraction=0.0,
    cloud_fraction=0.3,
    noise=0.01,
    pixel_variation=1.0,
    year_variation=1.0,
    label_time=None,
    random_state=None,
):
    """Simulate reflectance series of pixels, some of which change class.

    Every sample is one pixel with one static label, the class it shows at
    ``label_time``. A changing pixel shows another class before, or after, its
    break.

    Parameters
    ----------
    n_samples : int, default=200
        Number of pixels.
    n_classes : int, default=3
        Number of land-cover classes, 2 to 8. They are the same in every
        simulation, so series of two calls share their classes.
    n_bands : int, default=6
        Number of bands, 1 to 10, named after those of Sentinel-2 and sorted by
        wavelength: B8 for 1; B4 and B8 for 2; B2, B3, B4, B8, B11 and B12 for 6.
    n_years : int, default=4
        Length of the series in years.
    period : int, default=23
        Dates per year.
    change_fraction : float, default=0.5
        Share of the samples that change class, once.
    gradual_fraction : float, default=0.0
        Share of the changes that take 3 to 24 months, over which the second
        class mixes linearly into the first. Their label switches in the middle,
        at the first date with half of the second class or more.
    disturbance_fraction : float, default=0.0
        Share of the stable samples with one disturbance (fire, flood or
        drought, as befits the class) that recovers within 1.5 to 6 months. The
        label does not change.
    anomaly_fraction : float, default=0.0
        Share of the stable samples with one injected block of anomalous cells:
        some bands, up to 8 consecutive dates, each band brighter or darker by
        0.05 to 0.15. They are other samples than the disturbed ones as long as
        the two shares sum to at most 1.
    cloud_fraction : float, default=0.3
        Share of all (sample, date) pairs that are not observed, below 1. Cloudy
        dates come in runs of weeks and more often in winter.
    noise : float, default=0.01
        Standard deviation of the sensor noise, in reflectance.
    pixel_variation : float, default=1.0
        Spread between pixels of one class; 0 makes them equal. 1 stands for
        standard deviations of 8 days of season, 10 % of green cover and 6 % of
        brightness in each band.
    year_variation : float, default=1.0
        Spread between years, on the same scale; 0 makes every year the same. Half
        the variance of season and cover is common to all pixels of a class, half
        is the pixel's own; that of brightness is common to all pixels.
    label_time : int, default=None
        Index of the date at which the static label holds, for all samples. None
        draws one for each.
    random_state : int, RandomState instance or None, default=None
        Seed of the simulation.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        X : ndarray of shape (n_samples, n_bands, n_timesteps)
            Reflectance from 0 to 1, NaN = not observed. The number of dates is
            ``n_years * period``.
        y : ndarray of shape (n_samples,)
            Static label as a class number, the same for each class to within one
            sample.
        Y : ndarray of shape (n_samples, n_timesteps)
            True class number at every date.
        label_time : ndarray of shape (n_samples,)
            Index of the date at which ``y`` holds.
        dates : ndarray of shape (n_timesteps,), dtype datetime64[D]
            Dates, each the middle of one of ``period`` equal parts of a year.
        break_at : ndarray of shape (n_samples,)
            Index of the first date of the second class, -1 where stable. At least
            a quarter of a year lies on each side of it.
        transition : ndarray of shape (n_samples,)
            Months a gradual change takes, 0 for the abrupt ones and where stable.
            Its ends may lie outside the series, and it may cover ``label_time``.
        disturbed : ndarray of shape (n_samples, n_timesteps), dtype bool
            Dates within a disturbance, observed or not.
        anomalies : ndarray of shape (n_samples, n_bands, n_timesteps), dtype bool
            Observed cells whose reflectance, before noise, differs by more than
            0.01 from what the same pixel would have shown in its labelled class,
            undisturbed: other class, disturbance or injected anomaly.
        band_names : list of str
        class_names : list of str
            Name of each class number.
        period : int
            Dates per year.
        DESCR : str

    Raises
    ------
    ValueError
        If a parameter is out of range (also a ``TypeError`` where its type is
        wrong), ``label_time`` lies outside the series, or it has a single date.

    Notes
    -----
    Each class mixes two surfaces with reflectances :math:`d_b` out of season and
    :math:`g_b` in season. The share of the second follows a double logistic [1]_

    .. math:: c(t) = \\gamma \\, (a + h \\, \\sigma((l / 2 - |t - m - s|) / w)),

    with the days counted around the year, base :math:`a`, height :math:`h`, middle
    :math:`m` and length :math:`l` of the season, and a width :math:`w` that differs
    between rise and fall. Pixel and year add a shift :math:`s` and a gain
    :math:`\\gamma`, and multiply band :math:`b` by a brightness :math:`\\beta_b`:

    .. math:: x_b(t) = \\beta_b \\, ((1 - c(t)) \\, d_b + c(t) \\, g_b).

    The effects of years are interpolated between the middles of the years, so no
    series steps at New Year. Clouds are the highest values of a Gaussian first-order
    autoregression with a correlation time of 15 days plus a yearly cosine.

    The random numbers drawn depend on the numbers of samples, classes, bands, years
    and dates alone. With one seed, another fraction, noise or variation thus alters
    the same pixels, for paired comparisons.

    References
    ----------
    .. [1] P. S. A. Beck, C. Atzberger, K. A. Hogda, B. Johansen and A. K. Skidmore,
       "Improved monitoring of vegetation dynamics at very high latitudes: A new
       method using MODIS NDVI", Remote Sensing of Environment 100(3), 2006.

    Examples
    --------
    >>> from sktasgen.datasets import make_pixel_series
    >>> data = make_pixel_series(n_samples=10, change_fraction=0.3, random_state=0)
    >>> data.X.shape
    (10, 6, 92)
    >>> int((data.break_at >= 0).sum())
    3
    """
    n_dates = n_years * period
    if n_dates < 2:
        raise ValueError(
            "n_years * period must be at least 2 dates, got "
            f"n_years={n_years} and period={period}"
        )
    if label_time is not None and label_time >= n_dates:
        raise ValueError(
            f"label_time must be an index of the {n_dates} dates "
            f"(n_years * period), from 0 to {n_dates - 1}, got {label_time}"
        )
    rng = check_random_state(random_state)
    bands = sorted(_BANDS.index(name) for name in _BAND_PRIORITY[:n_bands])
    time = np.arange(n_dates)
    step = _DAYS_PER_YEAR / period
    day_of_year = (time % period + 0.5) * step

    y = rng.permutation(np.arange(n_samples) % n_classes)
    other = (y + rng.randint(1, n_classes, size=n_samples)) % n_classes
    drawn_label_time = rng.randint(n_dates, size=n_samples)
    if label_time is None:
        label_time = drawn_label_time
    else:
        label_time = np.full(n_samples, label_time)

    changed, gradual, disturbed, injected = _draw_kinds(
        rng,
        n_samples,
        change_fraction,
        gradual_fraction,
        disturbance_fraction,
        anomaly_fraction,
    )
    break_at, months, share_of_second = _draw_changes(rng, gradual, time, period)
    label_is_second = label_time >= break_at
    second = time >= break_at[:, None]
    shows_other = changed[:, None] & (second != label_is_second[:, None])
    share_of_other = np.where(
        label_is_second[:, None], 1 - share_of_second, share_of_second
    )

    reflectance = _draw_pixels(
        rng, n_samples, n_classes, bands, time, period, pixel_variation, year_variation
    )
    labelled = reflectance(np.arange(n_samples), y)
    deviation = np.zeros_like(labelled)

    rows = np.flatnonzero(changed)
    deviation[rows] = share_of_other[rows, None, :] * (
        reflectance(rows, other[rows]) - labelled[rows]
    )

    rows = np.flatnonzero(disturbed)
    share_disturbed = _draw_disturbances(rng, n_samples, time, period)
    share_disturbed[~disturbed] = 0
    deviation[rows] += share_disturbed[rows, None, :] * (
        _spectra("disturbed", bands)[y[rows], :, None] - labelled[rows]
    )

    deviation += np.where(
        injected[:, None, None], _draw_anomalies(rng, labelled, time), 0
    )

    X = labelled
    X += deviation
    X += noise * rng.standard_normal(X.shape)
    np.clip(X, 0, 1, out=X)
    cloudy = _draw_clouds(rng, n_samples, day_of_year, step, cloud_fraction)
    np.copyto(X, np.nan, where=cloudy[:, None, :])

    # Dates in the middle of their season slot: a leap day moves none to the next.
    days = np.floor((time + 0.5) * step).astype("timedelta64[D]")
    return Bunch(
        X=X,
        y=y,
        Y=np.where(shows_other, other[:, None], y[:, None]),
        label_time=label_time,
        dates=np.datetime64("2018-01-01") + days,
        break_at=np.where(changed, break_at, -1),
        transition=np.where(gradual, months, 0.0),
        disturbed=share_disturbed > 0,
        anomalies=(np.abs(deviation) > _VISIBLE) & ~cloudy[:, None, :],
        band_names=[_BANDS[band] for band in bands],
        class_names=[cover.name for cover in _COVERS[:n_classes]],
        period=period,
        DESCR=_SIMULATED_DESCR,
    )


def _draw_kinds(rng, n, change, gradual, disturbance, anomaly):
    """Draw masks (n,) of changed, gradual, disturbed and injected samples."""
    order = rng.permutation(n)
    changed, stable = np.split(order, [round(change * n)])
    n_stable = len(stable)
    # Disturbances from the front of the stable ones, anomalies from the back.
    kinds = (
        changed,
        changed[: round(gradual * len(changed))],
        stable[: round(disturbance * n_stable)],
        stable[n_stable - round(anomaly * n_stable) :],
    )
    masks = np.zeros((len(kinds), n), dtype=bool)
    for mask, rows in zip(masks, kinds, strict=True):
        mask[rows] = True
    return masks


def _draw_changes(rng, gradual, time, period):
    """Draw breaks (n,), durations in months (n,) and second-class shares (n, T)."""
    n, n_dates = len(gradual), len(time)
    margin = max(1, period // 4)
    break_at = rng.randint(margin, n_dates - margin + 1, size=n)
    months = rng.uniform(3, 24, size=n)
    since = time - break_at[:, None]
    ramp = np.clip(0.5 + since / (months * period / 12)[:, None], 0, 1)
    return break_at, months, np.where(gradual[:, None], ramp, since >= 0)


def _draw_pixels(
    rng, n, n_classes, bands, time, period, pixel_variation, year_variation
):
    """Draw the effects of pixels and years.

    Returns a function of rows (m,) and their classes (m,) that gives the
    reflectance, (m, n_bands, T), those pixels would show in those classes.
    """
    n_years = len(time) // period
    year = np.clip((time + 0.5) / period, 0.5, n_years - 0.5)
    between = np.maximum(0, 1 - np.abs(year - np.arange(n_years)[:, None] - 0.5))

    # The two season effects, shift and log gain, on the first axis.
    of_pixel = pixel_variation * rng.standard_normal((2, n, 1))
    half = year_variation * np.sqrt(0.5)
    of_class_year = half * rng.standard_normal((2, n_classes, n_years)) @ between
    of_pixel_year = half * rng.standard_normal((2, n, n_years)) @ between
    pixel_brightness = pixel_variation * rng.standard_normal((n, len(bands), 1))
    year_brightness = (
        year_variation * rng.standard_normal((len(bands), n_years)) @ between
    )

    dormant, growing = _spectra("dormant", bands), _spectra("growing", bands)
    table = {
        name: np.array([getattr(cover, name) for cover in _COVERS])[:, None]
        for name in ("base", "amplitude", "middle", "length", "greening", "fading")
    }
    day_of_year = (time % period + 0.5) * _DAYS_PER_YEAR / period

    def reflectance(rows, classes):
        season = {name: column[classes] for name, column in table.items()}
        shift, log_gain = (
            of_pixel[:, rows] + of_pixel_year[:, rows] + of_class_year[:, classes]
        )
        half_year = _DAYS_PER_YEAR / 2
        away = day_of_year - season["middle"] - _SHIFT_DAYS * shift
        away = (away + half_year) % _DAYS_PER_YEAR - half_year
        width = np.where(away < 0, season["greening"], season["fading"])
        cover = season["base"] + season["amplitude"] * expit(
            (season["length"] / 2 - np.abs(away)) / width
        )
        cover = np.clip(np.exp(_LOG_GAIN * log_gain) * cover, 0, 1)[:, None, :]
        low, high = dormant[classes, :, None], growing[classes, :, None]
        brightness = np.exp(
            _LOG_BRIGHTNESS * (pixel_brightness[rows] + year_brightness)
        )
        return brightness * (low + cover * (high - low))

    return reflectance


def _spectra(surface, bands):
    """Reflectance (number of classes, n_bands) of each class's `surface`."""
    spectra = [_SPECTRA[getattr(cover, surface)] for cover in _COVERS]
    return np.array(spectra)[:, bands]


def _draw_disturbances(rng, n, time, period):
    """Draw shares (n, T) of a disturbed surface: a sudden rise, a linear decay."""
    length = rng.uniform(1.5, 6, size=(n, 1)) * period / 12
    latest = np.maximum(0, len(time) - length)
    onset = np.floor(rng.uniform(size=(n, 1)) * latest)
    severity = rng.uniform(0.5, 0.9, size=(n, 1))
    since = time - onset
    return np.where(since >= 0, severity * np.clip(1 - since / length, 0, 1), 0)


def _draw_anomalies(rng, labelled, time):
    """Draw shifts, shaped like `labelled`: a block of bands and dates each."""
    n, n_bands, n_dates = labelled.shape
    n_hit = rng.randint(1, n_bands + 1, size=(n, 1))
    hit = rng.uniform(size=(n, n_bands)).argsort(axis=1) < n_hit
    length = np.minimum(rng.randint(1, 9, size=(n, 1)), n_dates)
    start = np.floor(rng.uniform(size=(n, 1)) * (n_dates - length + 1))
    within = (time >= start) & (time < start + length)
    size = rng.uniform(0.05, 0.15, size=(n, n_bands))
    # Reflectance stays positive: a dark band can only brighten.
    darker = (rng.uniform(size=(n, n_bands)) < 0.5) & (labelled.min(axis=2) > size)
    shift = np.where(darker, -size, size)
    return (hit * shift)[:, :, None] * within[:, None, :]


def _draw_clouds(rng, n, day_of_year, step, fraction):
    """Draw a mask (n, T) of dates without observation, in runs and in winter."""
    memory = np.exp(-step / 15)
    fresh = np.sqrt(1 - memory**2)
    shocks = fresh * rng.standard_normal((n, len(day_of_year)))
    shocks[:, 0] /= fresh  # start in the stationary distribution
    weather = lfilter([1.0], [1.0, -memory], shocks, axis=1)
    weather += 0.7 * np.cos(2 * np.pi * (day_of_year - 15) / _DAYS_PER_YEAR)
    return weather > np.quantile(weather, 1 - fraction)


# --------------------------------------------------------------------- lakes

_LAKES_FOLDER = "dynamic_world_lakes"
_LAKES_URL = (
    "https://raw.githubusercontent.com/nasaharvest/presto/"
    "13173d028f035abcbcc3b13829314323a5c15d02/data/algae_blooms/npy/"
)
_LAKES_SHA256 = {
    "s1_s2_era5_srtm.npy": (
        "73a8a6c58fd1fa910c4ed1932166387b5ceb543f5a6800f4954ccd9d9c70da40"
    ),
    "dynamic_world.npy": (
        "1402381605982a166bf3fa3fc5fb0c537a51959f80db1601b2b6e8c0b596799e"
    ),
    "month.npy": "f3ab45c324bd44cc861fbb1157b860b516ecf10b08d4cd844d06a3ea967e0146",
    "latlon.npy": "e5d7c43fd00bc7b75f3327c500e2803315f230b2f5e209d2171da5362e4400b1",
}
_LAKES_BANDS = (
    "VV VH B2 B3 B4 B5 B6 B7 B8 B8A B9 B11 B12 "
    "temperature_2m total_precipitation elevation slope NDVI"
).split()
_LAKES_CLASSES = [
    "water",
    "trees",
    "grass",
    "flooded vegetation",
    "crops",
    "shrub and scrub",
    "built",
    "bare",
    "snow and ice",
]
_LAKES_DESCR = """\
Dynamic World labels of every month around lakes
================================================
1122 series of 12 steps of 30 days at 255 places around inland water bodies of the US
Midwest, each step with its land-cover class. 53 % of the series change class within
their year, so a label of one month is often wrong in another.

Bands, in native units
  VV, VH                Sentinel-1 backscatter, dB. Where a month had no acquisition
                        it repeats that of a neighbouring month.
  B2 ... B12            Sentinel-2 top-of-atmosphere reflectance x 10000, clouds and
                        snow included, no quality band. 16 months that were not
                        observed hold the mean of the sample's other months, as
                        published: the only values with a fraction.
  temperature_2m        ERA5, K
  total_precipitation   ERA5, m
  elevation, slope      SRTM, m and degrees: the same in every step, so they tell
                        places apart and not dates.
  NDVI                  (B8 - B4) / (B8 + B4), computed here: the last channel of the
                        source files uses B7 and B3 instead.

The labels are a map product, not ground truth: expect noise. Places recur with
overlapping years, so split by `groups` when cross-validating.

Source: files of github.com/nasaharvest/presto (MIT licence), made for G. Tseng et al.,
"Lightweight, Pre-trained Transformers for Remote Sensing Timeseries", arXiv 2304.14065.
Labels: C. F. Brown et al., "Dynamic World, Near real-time global 10 m land use land
cover mapping", Scientific Data 9, 251, 2022.
"""


@validate_params(
    {
        "data_home": [str, os.PathLike, None],
        "align": ["boolean"],
        "download_if_missing": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_dynamic_world_lakes(*, data_home=None, align=False, download_if_missing=True):
    """Load Sentinel-2 series with a Dynamic World label for every month.

    Files that are present and intact are only read. Others are downloaded (2 MB)
    with pooch, an optional dependency, and checked against pinned SHA-256 sums;
    a file whose sum is wrong counts as missing.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds, or shall hold, the folder ``dynamic_world_lakes``;
        ``~`` is expanded. None is the environment variable ``SKTASGEN_DATA_HOME``
        or, where that is unset or empty, the cache folder of the user.
    align : bool, default=False
        Put all series on one calendar axis of 19 months, April to October of the
        year after, padded where a series has no data.
    download_if_missing : bool, default=True
        If False, missing files are an error.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        X : ndarray of shape (1122, 18, n_timesteps)
            Series in native units, see ``DESCR``. There are 12 steps, or with
            ``align=True`` 19 of which 7 are NaN in each sample.
        Y : ndarray of shape (1122, n_timesteps)
            Class number of every month; -1 marks the padding of ``align=True``
            and is no class.
        month : ndarray of shape (1122, n_timesteps)
            Calendar month, 0 (January) to 11, in which each step of 30 days
            starts; -1 in the padding.
        month_axis : ndarray of shape (19,) or None
            Calendar month of each position of the common axis; None without one.
        offset : ndarray of shape (1122,)
            Position of each sample's first step; 0 without a common axis.
        latlon : ndarray of shape (1122, 2)
            Latitude and longitude in degrees.
        groups : ndarray of shape (1122,)
            Number of the place, 0 to 254, for grouped cross-validation.
        band_names : list of str
        class_names : list of str
            Name of each class number.
        period : int
            Steps per year, 12.
        DESCR : str

    Raises
    ------
    OSError
        If files are missing and ``download_if_missing=False``, or their download
        fails; the message names what was looked for and where. A failed download
        leaves no file behind.
    ImportError
        If pooch is needed (for a download, or to find the user's cache folder)
        and not installed.

    Notes
    -----
    The samples start in eight different calendar months. A step is 30 days and a
    month a little longer, so 149 samples have two steps that start in one month or
    none in another. ``align=True`` therefore places step k of a sample k months
    after its first one: every observation keeps a place of its own, at most one
    month from where ``month`` says it belongs. The years of the samples are not
    published, so the axis joins equal months of different years.

    Examples
    --------
    >>> from sktasgen.datasets import fetch_dynamic_world_lakes
    >>> lakes = fetch_dynamic_world_lakes(align=True)  # doctest: +SKIP
    >>> lakes.X.shape  # doctest: +SKIP
    (1122, 18, 19)
    """
    folder = _data_folder(data_home, _LAKES_FOLDER)
    _ensure_files(folder, _LAKES_URL, _LAKES_SHA256, download_if_missing)

    X = np.load(folder / "s1_s2_era5_srtm.npy").transpose(0, 2, 1).copy()
    red, nir = (X[:, _LAKES_BANDS.index(name)] for name in ("B4", "B8"))
    X[:, _LAKES_BANDS.index("NDVI")] = (nir - red) / (nir + red)
    Y = np.load(folder / "dynamic_world.npy").astype(np.int64)
    month = np.load(folder / "month.npy")
    latlon = np.load(folder / "latlon.npy")
    _, groups = np.unique(latlon, axis=0, return_inverse=True)

    month_axis, offset = None, np.zeros(len(X), dtype=np.int64)
    if align:
        start = month[:, 0]  # none starts in January to March: no year wraps
        offset = start - start.min()
        length = offset.max() + X.shape[2]
        month_axis = (start.min() + np.arange(length)) % 12
        X = _place(X, offset, length, np.nan)
        Y = _place(Y, offset, length, -1)
        month = _place(month, offset, length, -1)
    return Bunch(
        X=X,
        Y=Y,
        month=month,
        month_axis=month_axis,
        offset=offset,
        latlon=latlon,
        groups=groups.ravel(),
        band_names=list(_LAKES_BANDS),
        class_names=list(_LAKES_CLASSES),
        period=12,
        DESCR=_LAKES_DESCR,
    )


def _place(values, offset, length, fill):
    """Copy (n, ..., T) into (n, ..., length), row i from `offset[i]` on."""
    placed = np.full((*values.shape[:-1], length), fill, dtype=values.dtype)
    position = offset[:, None] + np.arange(values.shape[-1])
    between = tuple(range(1, values.ndim - 1))
    np.put_along_axis(placed, np.expand_dims(position, between), values, axis=-1)
    return placed


def _data_folder(data_home, name):
    """Absolute path of the folder of one data set."""
    if data_home is None:
        data_home = os.environ.get("SKTASGEN_DATA_HOME")
    if not data_home:
        pooch = import_optional(
            "pooch", extra="data", purpose="Finding the user's cache folder"
        )
        data_home = pooch.os_cache("sktasgen")
    return Path(data_home).expanduser().resolve() / name


def _ensure_files(folder, url, sha256, download):
    """Make sure that `folder` holds intact files, {name: SHA-256 sum}."""
    wanted = {}
    for name, known in sha256.items():
        path = folder / name
        if not path.is_file():
            wanted[name] = "missing"
            continue
        # Checked here and not by pooch, which is not needed to read what is there.
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != known:
                wanted[name] = "not the published file (SHA-256 differs)"
    if not wanted:
        return
    where = (
        f"looked in {str(folder)!r}; set data_home or the environment variable "
        f"SKTASGEN_DATA_HOME to a folder that holds {folder.name!r}"
    )
    if not download:
        found = ", ".join(f"{name} is {what}" for name, what in wanted.items())
        raise OSError(f"{found}, and download_if_missing=False: {where}")
    pooch = import_optional("pooch", extra="data", purpose="Downloading a data set")
    for name, what in wanted.items():
        try:
            pooch.retrieve(url + name, sha256[name], fname=name, path=folder)
        except (OSError, ValueError) as error:  # ValueError: another hash
            raise OSError(
                f"{name} is {what} and could not be downloaded from {url + name} "
                f"({error}): {where}"
            ) from error
