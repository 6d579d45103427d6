"""What simulated series are made of: surfaces, seasons, changes, clouds."""

from typing import NamedTuple

import numpy as np
from scipy.fft import fftfreq, irfft2, rfft2, rfftfreq
from scipy.signal import lfilter
from scipy.spatial import cKDTree
from scipy.special import expit

DAYS_PER_YEAR = 365.25

BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")

# With fewer bands than all, the most telling ones for vegetation come first.
_BAND_PRIORITY = ("B8", "B4", "B11", "B3", "B2", "B12", "B5", "B6", "B7", "B8A")

# Reflectance of pure surfaces in `BANDS`: round numbers of a plausible shape.
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


COVERS = (
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

_PIXELS_AT_ONCE = 1024
_CLOUD_SLOPE = 1.7


class RegularCalendar(NamedTuple):
    """The dates of a series."""

    time: np.ndarray  # (T,) 0, 1, ...
    step: float  # days
    day_of_year: np.ndarray  # (T,)
    dates: np.ndarray  # (T,) datetime64[D]


def regular_calendar(n_years, period):
    """Dates in the middle of their season slot: a leap day moves none to the next."""
    time = np.arange(n_years * period)
    step = DAYS_PER_YEAR / period
    days = np.floor((time + 0.5) * step).astype("timedelta64[D]")
    return RegularCalendar(
        time, step, (time % period + 0.5) * step, np.datetime64("2018-01-01") + days
    )


def choose_bands(n_bands):
    """Indices of as many bands, sorted by wavelength."""
    return sorted(BANDS.index(name) for name in _BAND_PRIORITY[:n_bands])


def draw_kinds(rng, n, change, gradual, disturbance, anomaly):
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


def draw_changes(rng, gradual, time, period):
    """Draw breaks (n,), durations in months (n,) and second-class shares (n, T)."""
    n, n_dates = len(gradual), len(time)
    margin = max(1, period // 4)
    break_at = rng.randint(margin, n_dates - margin + 1, size=n)
    months = rng.uniform(3, 24, size=n)
    since = time - break_at[:, None]
    ramp = np.clip(0.5 + since / (months * period / 12)[:, None], 0, 1)
    return break_at, months, np.where(gradual[:, None], ramp, since >= 0)


def draw_pixels(
    rng, n, n_classes, bands, time, period, pixel_variation, year_variation
):
    """Draw the effects of pixels and years.

    Returns a function of rows (m,) and their classes (m,) that gives the
    reflectance, (m, n_bands, T), those pixels would show in those classes.
    """
    n_years = len(time) // period
    between = _between_years(n_years, time, period)

    # The two season effects, shift and log gain, on the first axis.
    of_pixel = pixel_variation * rng.standard_normal((2, n, 1))
    half = year_variation * np.sqrt(0.5)
    of_class_year = half * rng.standard_normal((2, n_classes, n_years)) @ between
    of_pixel_year = half * rng.standard_normal((2, n, n_years)) @ between
    pixel_brightness = pixel_variation * rng.standard_normal((n, len(bands), 1))
    year_brightness = (
        year_variation * rng.standard_normal((len(bands), n_years)) @ between
    )
    day_of_year = (time % period + 0.5) * DAYS_PER_YEAR / period

    def reflectance(rows, classes):
        season = of_pixel[:, rows] + of_pixel_year[:, rows] + of_class_year[:, classes]
        brightness = pixel_brightness[rows] + year_brightness
        return _reflectance(classes, season, brightness, bands, day_of_year)

    return reflectance


def _between_years(n_years, time, period):
    """Weights (n_years, T) that interpolate between the middles of the years."""
    year = np.clip((time + 0.5) / period, 0.5, n_years - 0.5)
    return np.maximum(0, 1 - np.abs(year - np.arange(n_years)[:, None] - 0.5))


def _reflectance(classes, season, brightness, bands, day_of_year):
    """Reflectance (m, n_bands, T) of pixels in `classes` (m,).

    Their effects are in standard deviations: `season`, shift and log gain, (2, m, T)
    and `brightness` (m, n_bands, T).
    """
    shift, log_gain = season
    base, amplitude, middle, length, greening, fading = (
        np.array([getattr(cover, name) for cover in COVERS])[classes, None]
        for name in ("base", "amplitude", "middle", "length", "greening", "fading")
    )
    half_year = DAYS_PER_YEAR / 2
    away = day_of_year - middle - _SHIFT_DAYS * shift
    away = (away + half_year) % DAYS_PER_YEAR - half_year
    width = np.where(away < 0, greening, fading)
    cover = base + amplitude * expit((length / 2 - np.abs(away)) / width)
    cover = np.clip(np.exp(_LOG_GAIN * log_gain) * cover, 0, 1)[:, None, :]
    low = spectra("dormant", bands)[classes, :, None]
    high = spectra("growing", bands)[classes, :, None]
    return np.exp(_LOG_BRIGHTNESS * brightness) * (low + cover * (high - low))


def spectra(surface, bands):
    """Reflectance (number of classes, n_bands) of each class's `surface`."""
    spectra = [_SPECTRA[getattr(cover, surface)] for cover in COVERS]
    return np.array(spectra)[:, bands]


def draw_disturbances(rng, n, time, period):
    """Draw shares (n, T) of a disturbed surface: a sudden rise, a linear decay."""
    length = rng.uniform(1.5, 6, size=(n, 1)) * period / 12
    latest = np.maximum(0, len(time) - length)
    onset = np.floor(rng.uniform(size=(n, 1)) * latest)
    severity = rng.uniform(0.5, 0.9, size=(n, 1))
    since = time - onset
    return np.where(since >= 0, severity * np.clip(1 - since / length, 0, 1), 0)


def draw_anomalies(rng, labelled, time):
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


def draw_clouds(rng, n, calendar, fraction):
    """Draw a mask (n, T) of dates without observation, in runs and in winter."""
    return _cloudiest(_draw_weather(rng, n, calendar), fraction)


def _draw_weather(rng, n, calendar):
    """Draw how cloudy each date is, (n, T)."""
    memory = np.exp(-calendar.step / 15)
    fresh = np.sqrt(1 - memory**2)
    shocks = fresh * rng.standard_normal((n, len(calendar.time)))
    shocks[:, 0] /= fresh  # start in the stationary distribution
    weather = lfilter([1.0], [1.0, -memory], shocks, axis=1)
    return weather + 0.7 * np.cos(
        2 * np.pi * (calendar.day_of_year - 15) / DAYS_PER_YEAR
    )


def _cloudiest(weather, fraction):
    return weather > np.quantile(weather, 1 - fraction)


# ------------------------------------------------------------------- regions


def draw_fields(rng, shape, n_fields):
    """Draw the number of the field, (y, x), that each pixel lies in."""
    seeds = rng.uniform(size=(n_fields, 2)) * shape
    pixels = np.indices(shape).reshape(2, -1).T + 0.5
    return cKDTree(seeds).query(pixels)[1].reshape(shape)


def draw_region(rng, field, history, n_classes, bands, calendar, period, noise):
    """Draw the reflectance, (T, n_bands, y, x) in single precision, of a region.

    `field` (y, x) is the field of each pixel, `history` (n_fields, T) the class of
    each field, which changes once at most.
    """
    n_dates, n_bands, n_effects = len(calendar.time), len(bands), 2 + len(bands)
    n_years = n_dates // period
    between = _between_years(n_years, calendar.time, period)
    of_class_year = rng.standard_normal((2, n_classes, n_years)) @ between
    year_brightness = rng.standard_normal((n_bands, n_years)) @ between
    of_field = rng.standard_normal((len(history), n_effects))
    first, last = history[:, 0], history[:, -1]

    def reflectance(rows, classes, own):
        season = own[rows, :2].T[:, :, None] + of_class_year[:, classes]
        brightness = own[rows, 2:, None] + year_brightness
        return _reflectance(classes, season, brightness, bands, calendar.day_of_year)

    region = np.empty((n_dates, n_bands, field.size), dtype=np.float32)
    for start in range(0, field.size, _PIXELS_AT_ONCE):
        block = slice(start, start + _PIXELS_AT_ONCE)
        of = field.ravel()[block]
        own = rng.standard_normal((len(of), n_effects))
        own = np.sqrt(0.5) * (own + of_field[of])
        values = reflectance(np.arange(len(of)), first[of], own)
        rows = np.flatnonzero(first[of] != last[of])
        is_last = history[of[rows]] == last[of[rows], None]
        values[rows] = np.where(
            is_last[:, None], reflectance(rows, last[of[rows]], own), values[rows]
        )
        values += noise * rng.standard_normal(values.shape)
        region[:, :, block] = np.clip(values, 0, 1).transpose(2, 1, 0)
    return region.reshape(n_dates, n_bands, *field.shape)


def draw_cloud_fields(rng, shape, calendar, fraction):
    """Draw a mask (T, y, x) of what clouds hide: blobs in space, runs in time.

    On top of the weather of each date lies noise of all sizes: its amplitude falls
    with a power of the spatial frequency.
    """
    weather = _draw_weather(rng, 1, calendar)[0]
    frequency = np.hypot(fftfreq(shape[0])[:, None], rfftfreq(shape[1]))
    frequency[0, 0] = np.inf  # the mean is the weather's
    clouds = np.empty((len(weather), *shape), dtype=np.float32)
    for t, of_date in enumerate(weather):
        white = rng.standard_normal(shape)
        noise = irfft2(rfft2(white) * frequency**-_CLOUD_SLOPE, s=shape)
        clouds[t] = of_date + noise / (noise.std() or 1)
    return _cloudiest(clouds, fraction)
