"""Series with a known label at every date: simulated ones and a real set."""

import hashlib
import os
from numbers import Integral, Real
from operator import index
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state

from ._optional import import_optional
from ._simulation import (
    BANDS,
    COVERS,
    choose_bands,
    draw_anomalies,
    draw_changes,
    draw_cloud_fields,
    draw_clouds,
    draw_disturbances,
    draw_fields,
    draw_kinds,
    draw_pixels,
    draw_region,
    regular_calendar,
    spectra,
)
from ._sklearn import Interval, validate_params
from .legend import class_codes, flag_attributes

# ---------------------------------------------------------------- simulation

_VISIBLE = 0.01  # reflectance: what a cell must deviate by to count as anomalous

_SIMULATED_DESCR = """\
Simulated pixels with a known label at every date
=================================================
Surface reflectance (0 to 1) of land-cover classes with a season, seen by an optical
sensor through clouds. Ground truth by construction: the class at every date (`Y`),
the first date of the second class (`break_at`) and the cells that deviate from the
labelled class (`anomalies`). See `sktasgen.datasets.make_pixel_series`.
"""

_REGION_DESCR = """\
Simulated region with a known class at every date
=================================================
A cube of surface reflectance (0 to 1) of fields of land-cover classes, seen by an
optical sensor through clouds, with labelled points. Ground truth by construction: the
class of every pixel at every date (`labels`) and the date at which it changes
(`change_date`). See `sktasgen.datasets.make_region`.
"""


def _fraction(closed="both"):
    return [Interval(Real, 0, 1, closed=closed)]


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_classes": [Interval(Integral, 2, len(COVERS), closed="both")],
        "n_bands": [Interval(Integral, 1, len(BANDS), closed="both")],
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
    n_samples: int = 200,
    *,
    n_classes: int = 3,
    n_bands: int = 6,
    n_years: int = 4,
    period: int = 23,
    change_fraction: float = 0.5,
    gradual_fraction: float = 0.0,
    disturbance_fraction: float = 0.0,
    anomaly_fraction: float = 0.0,
    cloud_fraction: float = 0.3,
    noise: float = 0.01,
    pixel_variation: float = 1.0,
    year_variation: float = 1.0,
    label_time: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
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
            Name of each band.
        class_names : list of str
            Name of each class number.
        period : int
            Dates per year.
        DESCR : str
            What the series are, and where they come from.

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
    _check_times(n_years, period, label_time)
    rng = check_random_state(random_state)
    bands = choose_bands(n_bands)
    calendar = regular_calendar(n_years, period)
    time, n_dates = calendar.time, len(calendar.time)

    y = rng.permutation(np.arange(n_samples) % n_classes)
    other = (y + rng.randint(1, n_classes, size=n_samples)) % n_classes
    drawn_label_time = rng.randint(n_dates, size=n_samples)
    if label_time is None:
        label_time = drawn_label_time
    else:
        label_time = np.full(n_samples, label_time)

    changed, gradual, disturbed, injected = draw_kinds(
        rng,
        n_samples,
        change_fraction,
        gradual_fraction,
        disturbance_fraction,
        anomaly_fraction,
    )
    break_at, months, share_of_second = draw_changes(rng, gradual, time, period)
    label_is_second = label_time >= break_at
    second = time >= break_at[:, None]
    shows_other = changed[:, None] & (second != label_is_second[:, None])
    share_of_other = np.where(
        label_is_second[:, None], 1 - share_of_second, share_of_second
    )

    reflectance = draw_pixels(
        rng, n_samples, n_classes, bands, time, period, pixel_variation, year_variation
    )
    labelled = reflectance(np.arange(n_samples), y)
    deviation = np.zeros_like(labelled)

    rows = np.flatnonzero(changed)
    deviation[rows] = share_of_other[rows, None, :] * (
        reflectance(rows, other[rows]) - labelled[rows]
    )

    rows = np.flatnonzero(disturbed)
    share_disturbed = draw_disturbances(rng, n_samples, time, period)
    share_disturbed[~disturbed] = 0
    deviation[rows] += share_disturbed[rows, None, :] * (
        spectra("disturbed", bands)[y[rows], :, None] - labelled[rows]
    )

    deviation += np.where(
        injected[:, None, None], draw_anomalies(rng, labelled, time), 0
    )

    X = labelled
    X += deviation
    X += noise * rng.standard_normal(X.shape)
    np.clip(X, 0, 1, out=X)
    cloudy = draw_clouds(rng, n_samples, calendar, cloud_fraction)
    np.copyto(X, np.nan, where=cloudy[:, None, :])

    return Bunch(
        X=X,
        y=y,
        Y=np.where(shows_other, other[:, None], y[:, None]),
        label_time=label_time,
        dates=calendar.dates,
        break_at=np.where(changed, break_at, -1),
        transition=np.where(gradual, months, 0.0),
        disturbed=share_disturbed > 0,
        anomalies=(np.abs(deviation) > _VISIBLE) & ~cloudy[:, None, :],
        band_names=[BANDS[band] for band in bands],
        class_names=[cover.name for cover in COVERS[:n_classes]],
        period=period,
        DESCR=_SIMULATED_DESCR,
    )


@validate_params(
    {
        "shape": ["array-like"],
        "n_fields": [Interval(Integral, 1, None, closed="left")],
        "n_points": [Interval(Integral, 0, None, closed="left")],
        "n_classes": [Interval(Integral, 2, len(COVERS), closed="both")],
        "n_bands": [Interval(Integral, 1, len(BANDS), closed="both")],
        "n_years": [Interval(Integral, 1, None, closed="left")],
        "period": [Interval(Integral, 1, None, closed="left")],
        "change_fraction": _fraction(),
        "cloud_fraction": _fraction(closed="left"),
        "noise": [Interval(Real, 0, None, closed="left")],
        "resolution": [Interval(Real, 0, None, closed="neither")],
        "crs": "no_validation",
        "label_time": [Interval(Integral, 0, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_region(
    shape: tuple[int, int] = (48, 64),
    *,
    n_fields: int = 60,
    n_points: int = 100,
    n_classes: int = 3,
    n_bands: int = 6,
    n_years: int = 4,
    period: int = 23,
    change_fraction: float = 0.5,
    cloud_fraction: float = 0.3,
    noise: float = 0.01,
    resolution: float = 10.0,
    crs: Any = "EPSG:32633",
    label_time: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Simulate a cube of a region of fields, some of which change class.

    The classes, bands and dates are those of :func:`make_pixel_series`.

    Parameters
    ----------
    shape : tuple of int, default=(48, 64)
        Rows and columns of pixels.
    n_fields : int, default=60
        Number of fields. Each pixel belongs to the nearest of as many random places,
        so small fields may be without pixels.
    n_points : int, default=100
        Number of labelled points, each in a pixel of its own.
    n_classes : int, default=3
        Number of land-cover classes, 2 to 8.
    n_bands : int, default=6
        Number of bands, 1 to 10.
    n_years : int, default=4
        Length of the series in years.
    period : int, default=23
        Dates per year.
    change_fraction : float, default=0.5
        Share of the fields that change class, once and from one date to the next.
    cloud_fraction : float, default=0.3
        Share of all (date, pixel) pairs that are not observed, below 1. Clouds cover
        whole parts of a date, and more dates in winter.
    noise : float, default=0.01
        Standard deviation of the sensor noise, in reflectance.
    resolution : float, default=10.0
        Length of a pixel's sides in units of `crs`: of one in degrees some 0.0001.
    crs : str, int or object, default="EPSG:32633"
        Coordinate reference system, as anything that pyproj takes. The region lies
        in the middle of the area it is made for.
    label_time : int, default=None
        Index of the date at which the labels of the points hold, for all of them.
        None draws one for each.
    random_state : int, RandomState instance or None, default=None
        Seed of the simulation.

    Returns
    -------
    region : :class:`~sklearn.utils.Bunch`
        cube : xarray.DataArray of shape (n_timesteps, n_bands, n_rows, n_columns)
            Reflectance from 0 to 1 in single precision, NaN = not observed, with the
            dimensions time, band, y and x, the centres of pixels as coordinates, y
            descending, and the CRS as rioxarray writes it. The number of dates is
            ``n_years * period``.
        labels : xarray.DataArray of shape (n_timesteps, n_rows, n_columns)
            Code of the true class at every date, uint8, with names and colours in
            the attributes ``flag_values``, ``flag_meanings``, ``flag_colors`` and
            ``classes``.
        change_date : xarray.DataArray of shape (n_rows, n_columns)
            First date of the second class, NaT where there is none. At least a
            quarter of a year lies on each side of it.
        fields : xarray.DataArray of shape (n_rows, n_columns)
            Number of the field of each pixel.
        points : geopandas.GeoDataFrame of n_points rows
            Labelled points at centres of pixels: label, the name of the class there
            at date, and geometry, in the CRS of the cube.
        label_time : ndarray of shape (n_points,)
            Index of the date of each point.
        class_names : list of str
            Name of each code, sorted.
        period : int
            Dates per year.
        DESCR : str
            What the series are, and where they come from.

    Raises
    ------
    ImportError
        If rioxarray or geopandas is missing, of the extra ``geo``.
    ValueError
        If a parameter is out of range (also a ``TypeError`` where its type is
        wrong), there are more points than pixels, ``label_time`` lies outside the
        series, it has a single date, or ``crs`` is not known.

    See Also
    --------
    make_pixel_series : Single pixels, with more kinds of change.

    Notes
    -----
    Pixels differ by season, cover and brightness as in :func:`make_pixel_series` at a
    variation of 1; half of the variance is common to the pixels of a field. The
    effects of years are common to all pixels of a class, that on brightness to all.

    Memory is little more than that of the cube, 4 bytes a value.

    With one seed, another share of changes or clouds, another noise or number of
    points alters the same region, for paired comparisons.

    Examples
    --------
    >>> from sktasgen.datasets import make_region
    >>> region = make_region((20, 30), n_fields=9, random_state=0)
    >>> dict(region.cube.sizes)
    {'time': 92, 'band': 6, 'y': 20, 'x': 30}
    >>> region.class_names
    ['broadleaf forest', 'grassland', 'summer crop']
    """
    _check_times(n_years, period, label_time)
    shape = _check_shape(shape)
    n_pixels = shape[0] * shape[1]
    if n_points > n_pixels:
        raise ValueError(
            f"n_points must be at most the number of pixels, {n_pixels}, got {n_points}"
        )
    xarray = import_optional("xarray", extra="geo", purpose="A simulated region")
    geopandas = import_optional("geopandas", extra="geo", purpose="A simulated region")
    import_optional("rioxarray", extra="geo", purpose="A simulated region")  # .rio
    left, top = _middle(geopandas, crs, resolution)
    x = left + resolution * (np.arange(shape[1]) + 0.5)
    y = top - resolution * (np.arange(shape[0]) + 0.5)
    _check_degrees(geopandas, crs, resolution, x, y)

    rng = check_random_state(random_state)
    calendar = regular_calendar(n_years, period)
    field = draw_fields(rng, shape, n_fields)
    first = rng.permutation(np.arange(n_fields) % n_classes)
    second = (first + rng.randint(1, n_classes, size=n_fields)) % n_classes
    changed, *_ = draw_kinds(rng, n_fields, change_fraction, 0, 0, 0)
    abrupt = np.zeros(n_fields, dtype=bool)
    break_at, *_ = draw_changes(rng, abrupt, calendar.time, period)
    shows_second = changed[:, None] & (calendar.time >= break_at[:, None])
    history = np.where(shows_second, second[:, None], first[:, None])

    cloudy = draw_cloud_fields(rng, shape, calendar, cloud_fraction)
    bands = choose_bands(n_bands)
    values = draw_region(rng, field, history, n_classes, bands, calendar, period, noise)
    np.copyto(values, np.nan, where=cloudy[:, None])

    drawn_label_time = rng.randint(calendar.time.size, size=n_pixels)[:n_points]
    if label_time is None:
        label_time = drawn_label_time
    else:
        label_time = np.full(n_points, label_time)
    row, column = np.unravel_index(rng.permutation(n_pixels)[:n_points], shape)

    names = np.array([cover.name for cover in COVERS[:n_classes]])
    dates = calendar.dates.astype("datetime64[ns]")
    change_date = np.where(changed, dates[break_at], np.datetime64("NaT"))

    def on_map(values, dims, **coords):
        array = xarray.DataArray(values, {**coords, "y": y, "x": x}, dims)
        return array.rio.write_crs(crs, inplace=True)  # else it copies

    return Bunch(
        cube=on_map(
            values,
            ("time", "band", "y", "x"),
            time=dates,
            band=[BANDS[band] for band in bands],
        ).rename("reflectance"),
        labels=on_map(
            class_codes(names)[history].T[:, field], ("time", "y", "x"), time=dates
        )
        .rename("labels")
        .assign_attrs(flag_attributes(names)),
        change_date=on_map(change_date[field], ("y", "x")).rename("change_date"),
        fields=on_map(field, ("y", "x")).rename("fields"),
        points=geopandas.GeoDataFrame(
            {
                "label": names[history[field[row, column], label_time]],
                "date": dates[label_time],
            },
            geometry=geopandas.points_from_xy(x[column], y[row]),
            crs=crs,
        ),
        label_time=label_time,
        class_names=sorted(names.tolist()),
        period=period,
        DESCR=_REGION_DESCR,
    )


def _check_shape(shape):
    wanted = "must be two positive integers, rows and columns"
    try:
        shape = tuple(map(index, shape))
    except TypeError:
        raise TypeError(f"shape {wanted}, got {shape!r}") from None
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape {wanted}, got {shape!r}")
    return shape


def _middle(geopandas, crs, resolution):
    """A corner of pixels, x and y, in the middle of the area of use of a CRS."""
    try:  # pyproj has a RuntimeError of its own, and of None there is no CRS
        area = geopandas.GeoSeries(crs=crs).crs.area_of_use
    except (RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"crs must be a coordinate reference system that pyproj knows, got {crs!r}"
        ) from error
    if area is None:
        return 0.0, 0.0
    longitude, latitude = (area.west + area.east) / 2, (area.south + area.north) / 2
    middle = geopandas.GeoSeries.from_xy([longitude], [latitude], crs="EPSG:4326")
    (corner,) = middle.to_crs(crs)
    return tuple(float(resolution * np.round(v / resolution)) for v in corner.coords[0])


def _check_degrees(geopandas, crs, resolution, x, y):
    """Refuse a region larger than the Earth."""
    is_geographic = geopandas.GeoSeries(crs=crs).crs.is_geographic
    if is_geographic and (np.abs(x).max() > 180 or np.abs(y).max() > 90):
        raise ValueError(
            f"resolution must be in degrees, the units of crs={crs!r}, such as 0.0001, "
            f"got {resolution}: {len(y)} rows and {len(x)} columns would be "
            f"{len(y) * resolution:g} x {len(x) * resolution:g} degrees"
        )


def _check_times(n_years, period, label_time):
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
def fetch_dynamic_world_lakes(
    *,
    data_home: str | PathLike[str] | None = None,
    align: bool = False,
    download_if_missing: bool = True,
) -> Bunch:
    """Load satellite series with a Dynamic World label for every month.

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
            Name of each band.
        class_names : list of str
            Name of each class number.
        period : int
            Steps per year, 12.
        DESCR : str
            What the series are, and where they come from.

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
