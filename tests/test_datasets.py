"""Data sets: the simulator's truth is what the series show; the lakes are intact."""

import functools
import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestClassifier

from sktasgen import datasets
from sktasgen.datasets import (
    fetch_dynamic_world_lakes,
    make_pixel_series,
    make_region,
)

# ---------------------------------------------------------------- simulation

# Series of one class are all the same, and so are their years.
PLAIN = {"noise": 0, "pixel_variation": 0, "year_variation": 0, "cloud_fraction": 0}


def class_profiles(n_classes=3):
    """What each class shows, read off stable series: (n_classes, n_bands, T)."""
    stable = make_pixel_series(
        n_classes, n_classes=n_classes, change_fraction=0, random_state=99, **PLAIN
    )
    return stable.X[np.argsort(stable.y)]


def in_class(profiles, labels):
    """The series that shows `labels` (n, T) at each date: (n, n_bands, T)."""
    return profiles[labels, :, np.arange(labels.shape[1])].transpose(0, 2, 1)


def test_shapes_types_and_names():
    """Anything else in the library can take the arrays as they come."""
    data = make_pixel_series(
        30, n_classes=5, n_bands=4, n_years=3, period=12, random_state=0
    )
    assert data.X.shape == data.anomalies.shape == (30, 4, 36)
    assert data.Y.shape == data.disturbed.shape == (30, 36)
    assert data.X.dtype == np.float64
    assert data.anomalies.dtype == data.disturbed.dtype == bool
    for name in ("y", "label_time", "break_at", "transition"):
        assert data[name].shape == (30,)
    for name in ("y", "Y", "label_time", "break_at"):
        assert data[name].dtype.kind == "i"
    assert data.dates.shape == (36,) and data.dates.dtype == "datetime64[D]"
    assert data.period == 12
    assert data.band_names == ["B3", "B4", "B8", "B11"]
    assert len(data.class_names) == len(set(data.class_names)) == 5
    assert set(data.y) == set(range(5))
    assert "Simulated" in data.DESCR


def test_reflectance_stays_physical():
    """Reflectances outside 0..1 would break indices and logarithms."""
    data = make_pixel_series(
        300, n_classes=8, n_bands=10, noise=0.2, pixel_variation=3, random_state=0
    )
    observed = data.X[~np.isnan(data.X)]
    assert observed.min() >= 0 and observed.max() <= 1


@pytest.mark.parametrize("label_time", [None, 0, 40, 91])
def test_labels_flip_exactly_at_the_break(label_time):
    """Break-date errors are measured against break_at, accuracies against Y."""
    data = make_pixel_series(200, label_time=label_time, random_state=1)
    if label_time is not None:
        assert_array_equal(data.label_time, label_time)
    for y, labels, break_at, at in zip(
        data.y, data.Y, data.break_at, data.label_time, strict=True
    ):
        assert labels[at] == y
        flips = np.flatnonzero(np.diff(labels)) + 1
        assert flips.tolist() == ([] if break_at == -1 else [break_at])


def test_breaks_lie_on_both_sides_of_the_labelled_date():
    """A method that only looks forward must not pass unnoticed."""
    data = make_pixel_series(400, random_state=2)
    changed = data.break_at >= 0
    assert changed.sum() == 200
    before = data.break_at[changed] <= data.label_time[changed]
    assert 0.2 < before.mean() < 0.8
    quarter = 23 // 4
    assert data.break_at[changed].min() >= quarter
    assert data.break_at[changed].max() <= 92 - quarter
    assert len(set(data.label_time)) > 50


def test_labelled_classes_are_balanced():
    """Small simulations must hold every class, or classifiers cannot be fitted."""
    data = make_pixel_series(11, n_classes=4, random_state=0)
    counts = np.bincount(data.y, minlength=4)
    assert counts.sum() == 11 and counts.min() == 2 and counts.max() == 3


def test_stable_series_repeat_each_year_without_variation():
    """Nothing but the named sources of variation may move a series."""
    data = make_pixel_series(6, change_fraction=0, random_state=3, **PLAIN)
    years = data.X.reshape(6, 6, 4, 23)
    assert_array_equal(years, np.broadcast_to(years[:, :, :1], years.shape))
    assert_array_equal(data.break_at, -1)
    assert not data.anomalies.any()
    # And each source alone does move it.
    for name, changes in {
        "noise": {"noise": 0.01},
        "years": {"year_variation": 1},
    }.items():
        moved = make_pixel_series(
            6, change_fraction=0, random_state=3, **PLAIN | changes
        )
        years = moved.X.reshape(6, 6, 4, 23)
        assert (years[:, :, 0] != years[:, :, 1]).mean() > 0.9, name
    pixels = make_pixel_series(
        6, change_fraction=0, random_state=3, **PLAIN | {"pixel_variation": 1}
    )
    years = pixels.X.reshape(6, 6, 4, 23)
    assert_array_equal(years, np.broadcast_to(years[:, :, :1], years.shape))
    same_class = np.flatnonzero(pixels.y == 0)
    assert (pixels.X[same_class[0]] != pixels.X[same_class[1]]).mean() > 0.9


def test_years_of_one_series_do_not_step_at_new_year():
    """A step at every New Year would look like a break to any detector."""
    data = make_pixel_series(
        200, change_fraction=0, random_state=4, **PLAIN | {"year_variation": 1}
    )
    steps = np.abs(np.diff(data.X, axis=2))
    at_new_year = steps[:, :, 22::23]
    assert at_new_year.max() < 2 * np.delete(steps, [22, 45, 68], axis=2).max()
    assert np.median(at_new_year) < 0.01


def test_abrupt_changes_show_the_class_of_their_label():
    """The series must show what Y says, at every date."""
    data = make_pixel_series(60, random_state=5, **PLAIN)
    assert_allclose(data.X, in_class(class_profiles(), data.Y), atol=1e-12)
    assert_array_equal(data.transition, 0)


def test_gradual_changes_mix_linearly_and_flip_in_the_middle():
    """Half of the new class is where a gradual change is dated."""
    profiles = class_profiles()
    data = make_pixel_series(60, gradual_fraction=0.5, random_state=6, **PLAIN)
    gradual = np.flatnonzero(data.transition)
    assert len(gradual) == 15
    assert (data.break_at[gradual] >= 0).all()
    assert data.transition[gradual].min() >= 3
    assert data.transition[gradual].max() <= 24
    whole = 0
    for i in gradual:
        first, last = profiles[data.Y[i, 0]], profiles[data.Y[i, -1]]
        # Least squares over bands: the share of the second class at each date.
        share = ((data.X[i] - first) * (last - first)).sum(0)
        share /= ((last - first) ** 2).sum(0)
        assert_allclose(first + share * (last - first), data.X[i], atol=1e-12)
        assert (np.diff(share) >= -1e-12).all()
        assert_array_equal(share >= 0.5 - 1e-12, data.Y[i] == data.Y[i, -1])
        mixed = (share > 1e-9) & (share < 1 - 1e-9)
        slopes = np.diff(share)[mixed[1:] & mixed[:-1]]
        assert_allclose(slopes, 12 / 23 / data.transition[i])
        whole += share[0] < 1e-9 and share[-1] > 1 - 1e-9
    assert whole > 0


def test_disturbances_recover_and_leave_the_label():
    """A fire that recovers is a false alarm, not a change of class."""
    profiles = class_profiles()
    data = make_pixel_series(80, disturbance_fraction=0.5, random_state=7, **PLAIN)
    disturbed = data.disturbed.any(axis=1)
    assert disturbed.sum() == 20
    assert_array_equal(data.break_at[disturbed], -1)
    assert_array_equal(data.Y[disturbed], data.y[disturbed, None].repeat(92, axis=1))
    away = np.abs(data.X - in_class(profiles, data.Y)).max(axis=1)
    assert_allclose(away[~data.disturbed], 0, atol=1e-12)
    assert (away[data.disturbed] > 1e-6).all()
    for i in np.flatnonzero(disturbed):
        dates = np.flatnonzero(data.disturbed[i])
        assert_array_equal(dates, np.arange(dates[0], dates[0] + len(dates)))
        assert len(dates) <= np.ceil(6 / 12 * 23)
        assert away[i, dates[0]] > 0.03
        assert away[i, dates[-1]] < away[i, dates[0]]


def test_injected_anomalies_are_blocks_of_cells_in_stable_samples():
    """Attribution is scored on these cells."""
    profiles = class_profiles()
    data = make_pixel_series(80, anomaly_fraction=0.5, random_state=8, **PLAIN)
    stable = data.break_at == -1
    injected = stable & data.anomalies.any(axis=(1, 2))
    assert injected.sum() == 20
    away = np.abs(data.X - in_class(profiles, data.Y))
    for i in np.flatnonzero(injected):
        bands, dates = data.anomalies[i].any(1), data.anomalies[i].any(0)
        assert_array_equal(data.anomalies[i], bands[:, None] & dates)
        assert 1 <= dates.sum() <= 8 and np.ptp(np.flatnonzero(dates)) < 8
        size = away[i, bands][:, dates]
        assert size.min() >= 0.05 - 1e-12 and size.max() <= 0.15 + 1e-12
        assert_allclose(away[i][~data.anomalies[i]], 0, atol=1e-12)
    n_bands = data.anomalies[injected].any(axis=2).sum(axis=1)
    assert n_bands.min() < 3 and n_bands.max() > 4


def test_anomalies_are_the_cells_that_deviate_from_the_labelled_class():
    """The truth of an explanation, recomputed from what stable series show."""
    kinds = {
        "gradual_fraction": 0.3,
        "disturbance_fraction": 0.4,
        "anomaly_fraction": 0.4,
    }
    data = make_pixel_series(100, random_state=9, **kinds, **PLAIN)
    usual = class_profiles()[data.y]
    away = np.abs(data.X - usual)
    clear = np.abs(away - 0.01) > 1e-9
    assert_array_equal(data.anomalies[clear], (away > 0.01)[clear])
    assert data.anomalies.any(axis=(1, 2)).mean() > 0.8
    # Clouds hide cells and alter no other.
    cloudy = make_pixel_series(
        100, random_state=9, **kinds, **PLAIN | {"cloud_fraction": 0.4}
    )
    assert_array_equal(cloudy.anomalies, data.anomalies & ~np.isnan(cloudy.X))


def test_disturbances_and_anomalies_fall_on_different_samples():
    """Each kind has its own row in a benchmark."""
    data = make_pixel_series(
        50,
        change_fraction=0.2,
        disturbance_fraction=0.5,
        anomaly_fraction=0.5,
        random_state=0,
        **PLAIN,
    )
    changed = data.break_at >= 0
    disturbed = data.disturbed.any(axis=1)
    injected = data.anomalies.any(axis=(1, 2)) & ~changed & ~disturbed
    assert (changed.sum(), disturbed.sum(), injected.sum()) == (10, 20, 20)
    assert not (changed & disturbed).any()


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5, 0.8])
def test_cloud_fraction(fraction):
    """Robustness to gaps is quoted against this share."""
    data = make_pixel_series(500, cloud_fraction=fraction, random_state=10)
    missing = np.isnan(data.X)
    assert_array_equal(missing.all(axis=1), missing.any(axis=1))
    assert missing.mean() == pytest.approx(fraction, abs=1e-3)
    assert not data.anomalies[missing].any()


def test_clouds_cluster_in_time_and_in_winter():
    """Gaps at random are much easier than the real ones."""
    data = make_pixel_series(1000, cloud_fraction=0.3, random_state=11)
    cloudy = np.isnan(data.X[:, 0])
    assert cloudy[:, 1:][cloudy[:, :-1]].mean() > 0.4
    by_slot = cloudy.reshape(1000, 4, 23).mean(axis=(0, 1))
    winter, summer = by_slot[[0, 1, 2, 21, 22]].mean(), by_slot[9:14].mean()
    assert winter > summer + 0.2


def test_noise_has_the_standard_deviation_asked_for():
    """Signal-to-noise ratios are quoted against it."""
    clean = make_pixel_series(300, random_state=12, noise=0, cloud_fraction=0)
    noisy = make_pixel_series(300, random_state=12, noise=0.02, cloud_fraction=0)
    bright = clean.X > 0.1  # far from the clipping at 0
    residual = (noisy.X - clean.X)[bright]
    assert residual.std() == pytest.approx(0.02, rel=0.02)
    assert abs(residual.mean()) < 1e-3


def test_variation_has_the_spread_documented():
    """Brightness of water, which has little season, varies by 6 % of its value."""
    for name in ("pixel_variation", "year_variation"):
        data = make_pixel_series(
            400,
            n_classes=4,
            n_years=20 if name == "year_variation" else 1,
            change_fraction=0,
            random_state=13,
            **PLAIN | {name: 1},
        )
        water = data.X[data.y == data.class_names.index("water")]
        middle_of_years = water[:, :2, 11::23]  # blue and green
        axis = 0 if name == "pixel_variation" else 2
        spread = np.log(middle_of_years).std(axis=axis).mean()
        assert 0.04 < spread < 0.08, name


@pytest.mark.parametrize("period", [1, 6, 12, 23, 36, 73])
def test_dates_are_regular_and_keep_their_season_slot(period):
    """Date k is slot k of its season, leap years or not."""
    data = make_pixel_series(3, n_years=9, period=period, random_state=0)
    steps = np.diff(data.dates).astype(int)
    assert np.abs(steps - 365.25 / period).max() < 1
    day_of_year = (data.dates - data.dates.astype("datetime64[Y]")).astype(int)
    slots = np.floor((day_of_year + 0.5) * period / 365.25).astype(int)
    assert_array_equal(slots, np.arange(9 * period) % period)


@pytest.mark.parametrize("n_bands", range(1, 10))
def test_fewer_bands_are_a_choice_of_the_ten(n_bands):
    """A band of one name is the same band whatever else is simulated."""
    every = make_pixel_series(20, n_bands=10, random_state=14, **PLAIN)
    some = make_pixel_series(20, n_bands=n_bands, random_state=14, **PLAIN)
    index = [every.band_names.index(name) for name in some.band_names]
    assert index == sorted(index) and len(index) == n_bands
    assert_array_equal(some.X, every.X[:, index])
    if n_bands == 6:
        assert some.band_names == ["B2", "B3", "B4", "B8", "B11", "B12"]
    if n_bands == 2:
        assert some.band_names == ["B4", "B8"]


@pytest.mark.parametrize("n_classes", [3, 8])
def test_a_forest_tells_the_classes_by_their_season(n_classes):
    """Classes differ by a season's pattern, far less by a single date."""
    data = make_pixel_series(
        400, n_classes=n_classes, label_time=11, change_fraction=0, random_state=15
    )
    season, moment = data.X[:, :, :23].reshape(400, -1), data.X[:, :, 11]
    forest = RandomForestClassifier(100, random_state=0)
    accuracy = [
        forest.fit(Z[::2], data.y[::2]).score(Z[1::2], data.y[1::2])
        for Z in (season, moment)
    ]
    assert accuracy[0] > 0.95
    assert accuracy[1] < accuracy[0] - 0.1


def test_same_seed_same_bits():
    """Figures must be repeatable, whatever else draws random numbers."""
    everything = {
        "gradual_fraction": 0.5,
        "disturbance_fraction": 0.5,
        "anomaly_fraction": 0.5,
    }
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = make_pixel_series(20, random_state=0, **everything)
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    for seed in (0, np.random.RandomState(0)):
        again = make_pixel_series(20, random_state=seed, **everything)
        assert first.keys() == again.keys()
        for name in first:
            assert_array_equal(first[name], again[name])
    other = make_pixel_series(20, random_state=1, **everything)
    assert (np.nan_to_num(other.X) != np.nan_to_num(first.X)).mean() > 0.5


def test_one_seed_gives_the_same_pixels_under_other_conditions():
    """Noise and clouds are compared on the same pixels, without their luck."""
    base = make_pixel_series(30, random_state=0, noise=0, cloud_fraction=0)
    clouds = make_pixel_series(30, random_state=0, noise=0, cloud_fraction=0.5)
    assert_array_equal(clouds.X, np.where(np.isnan(clouds.X), np.nan, base.X))
    more = make_pixel_series(
        30,
        random_state=0,
        noise=0,
        cloud_fraction=0,
        change_fraction=0.8,
        disturbance_fraction=0.5,
        label_time=None,
    )
    changed = base.break_at >= 0
    assert_array_equal(more.X[changed], base.X[changed])
    assert_array_equal(more.y, base.y)
    assert_array_equal(more.label_time, base.label_time)


def test_small_simulations():
    """One sample, one band or two dates are a user's first experiments."""
    tiny = make_pixel_series(
        1, n_bands=1, n_years=1, period=2, change_fraction=1, random_state=0
    )
    assert tiny.X.shape == (1, 1, 2)
    assert_array_equal(tiny.break_at, 1)
    for kind in ("gradual_fraction", "disturbance_fraction", "anomaly_fraction"):
        data = make_pixel_series(2, n_years=1, period=3, random_state=0, **{kind: 1})
        assert data.X.shape == (2, 6, 3)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_samples", 0),
        ("n_samples", 2.5),
        ("n_classes", 1),
        ("n_classes", 9),
        ("n_bands", 0),
        ("n_bands", 11),
        ("n_years", 0),
        ("period", 0),
        ("change_fraction", -0.1),
        ("gradual_fraction", 1.1),
        ("disturbance_fraction", "half"),
        ("anomaly_fraction", np.nan),
        ("cloud_fraction", 1.0),
        ("noise", -1),
        ("noise", np.inf),
        ("pixel_variation", -1),
        ("year_variation", -1),
        ("label_time", -1),
        ("label_time", 92),
        ("label_time", 3.0),
        ("random_state", "seed"),
    ],
)
def test_bad_parameters_are_named_with_their_value(parameter, value):
    """The message says which argument, what was found and what was wanted."""
    with pytest.raises((ValueError, TypeError)) as info:
        make_pixel_series(**{parameter: value})
    message = str(info.value)
    assert parameter in message and str(value) in message and "must be" in message


def test_a_series_needs_two_dates():
    """One date is no series."""
    with pytest.raises(ValueError, match=r"at least 2 dates.*period=1"):
        make_pixel_series(n_years=1, period=1)


# ------------------------------------------------------------------- regions

GEO = ["xarray", "rioxarray", "geopandas"]


@pytest.fixture
def region():
    """Function of parameters: a small region, by default of seed 0."""
    for name in GEO:
        pytest.importorskip(name)

    def make(**parameters):
        small = {"shape": (20, 30), "n_fields": 30, "n_years": 2, "random_state": 0}
        return make_region(**small | parameters)

    return make


def test_a_region_in_degrees_lies_on_the_earth(region):
    """Else its points lie at latitudes that no other system knows."""
    with pytest.raises(ValueError, match="resolution must be in degrees.*got 10"):
        region(crs="EPSG:4326")
    cube = region(crs="EPSG:4326", resolution=1e-4).cube
    assert abs(cube["y"]).max() < 90 and cube.rio.crs.is_geographic


def test_a_region_may_have_a_projection_of_ones_own(region):
    # Else a project with an equal-area projection of its country gets an error, as
    # such a definition has no area of use.
    crs = "+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84 +units=m"
    cube = region(crs=crs).cube
    assert cube.rio.crs.linear_units == "metre"
    assert cube["x"].values[0] == 5 and np.diff(cube["x"])[0] == 10


def test_a_region_is_a_cube_with_dates_bands_and_a_place(region):
    """Anything that takes cubes takes it as it comes."""
    data = region(n_classes=4, n_bands=4, period=12, crs="EPSG:32736", resolution=30)
    cube = data.cube
    assert dict(cube.sizes) == {"time": 24, "band": 4, "y": 20, "x": 30}
    assert cube.dims == ("time", "band", "y", "x") and cube.dtype == np.float32
    series = make_pixel_series(1, n_bands=4, n_years=2, period=12)
    assert_array_equal(cube["time"], series.dates)
    assert cube["band"].values.tolist() == series.band_names
    assert_array_equal(np.diff(cube["x"]), 30)
    assert_array_equal(np.diff(cube["y"]), -30)
    assert 166_000 < cube["x"].mean() < 834_000  # within the zone
    observed = cube.values[~np.isnan(cube.values)]
    assert observed.min() >= 0 and observed.max() <= 1
    for name in ("labels", "change_date", "fields", "cube"):
        assert data[name].rio.crs.to_epsg() == 32736
        assert data[name].rio.transform() == cube.rio.transform()
    assert data.labels.dims == ("time", "y", "x") and data.labels.dtype == np.uint8
    assert data.labels.attrs["flag_values"] == [0, 1, 2, 3]
    assert data.labels.attrs["classes"] == data.class_names
    assert data.class_names == sorted(make_pixel_series(4, n_classes=4).class_names)
    assert set(np.unique(data.labels)) == {0, 1, 2, 3}
    assert data.period == 12 and "region" in data.DESCR


def test_a_region_changes_where_and_when_its_truth_says(region):
    """The series must show what the labels say, at every date."""
    without = region(change_fraction=0, cloud_fraction=0)
    data = region(cloud_fraction=0)
    assert np.isnat(without.change_date).all()
    assert (without.labels == without.labels[0]).all()
    assert 0.2 < np.isnat(data.change_date).mean() < 0.8
    after = data.cube["time"] >= data.change_date  # False where nothing changes
    assert_array_equal(data.labels != without.labels, after)
    assert_array_equal(*[d.cube.where(~after, 0) for d in (data, without)])
    moved = np.abs(data.cube - without.cube).max("band") > 0.02
    assert moved.where(after).mean() > 0.8


def test_a_region_shows_the_classes_of_pixels(region):
    """What is learnt from one simulation holds in the other."""
    pixels = make_pixel_series(300, label_time=11, change_fraction=0, random_state=1)
    data = region(cloud_fraction=0)
    forest = RandomForestClassifier(100, random_state=0)
    names = np.array(pixels.class_names)[pixels.y]
    forest.fit(pixels.X[:, :, :23].reshape(300, -1), names)
    whole = (data.labels[:23] == data.labels[0]).all("time").values  # no change
    seasons = data.cube[:23].values[:, :, whole]
    found = forest.predict(seasons.transpose(2, 1, 0).reshape(whole.sum(), -1))
    true = np.array(data.class_names)[data.labels[0].values[whole]]
    assert (found == true).mean() > 0.9


def test_fields_share_their_history_and_not_their_pixels(region):
    """A map of fields has edges; a classifier of pixels must work for them."""
    data = region(noise=0, cloud_fraction=0)
    fields = data.fields.values
    assert 20 < len(np.unique(fields)) <= 30
    for field in np.unique(fields):
        within = fields == field
        assert len(np.unique(data.labels.values[:, within], axis=1).T) == 1
        assert len(np.unique(data.change_date.values[within])) == 1
        assert len(np.unique(data.cube.values[10, 0, within])) == within.sum()
    # Fields are compact: most neighbours are of one.
    assert (fields[1:] == fields[:-1]).mean() > 0.6
    # And their pixels are more alike than those of other fields of the class.
    data = region(shape=(40, 50), change_fraction=0, cloud_fraction=0, noise=0)
    fields, stable = data.fields.values, data.labels.values[0] == 0
    green = data.cube.sel(band="B3").values[11]
    of_field = [green[stable & (fields == k)] for k in np.unique(fields[stable])]
    assert np.mean([values.var() for values in of_field]) < 0.8 * green[stable].var()


def test_points_tell_the_truth_of_their_pixel_and_date(region):
    """They are what an estimator learns from."""
    data = region(n_points=200)
    points, labels = data.points, data.labels
    assert len(points) == 200 and points.crs == labels.rio.crs
    x, y = points.geometry.x.values, points.geometry.y.values
    row, column = (
        np.searchsorted(-labels["y"].values, -y),
        np.searchsorted(labels["x"].values, x),
    )
    assert_array_equal(labels["y"][row], y)
    assert_array_equal(labels["x"][column], x)
    assert len(set(zip(row, column, strict=True))) == 200
    assert_array_equal(labels["time"][data.label_time], points["date"])
    codes = labels.values[data.label_time, row, column]
    assert_array_equal(points["label"], np.array(data.class_names)[codes])
    assert len(set(data.label_time)) > 30
    # Fewer points are the first of them, and one date may be asked for.
    fewer = region(n_points=50, label_time=7)
    assert_array_equal(fewer.points.geometry.x, x[:50])
    assert_array_equal(fewer.label_time, 7)
    assert fewer.points["date"].unique() == labels["time"][7].values
    assert len(region(n_points=0).points) == 0


@pytest.mark.parametrize("fraction", [0, 0.3, 0.8])
def test_cloud_fraction_of_a_region(region, fraction):
    """Robustness to gaps is quoted against this share."""
    missing = np.isnan(region(cloud_fraction=fraction).cube.values)
    assert_array_equal(missing.all(axis=1), missing.any(axis=1))
    assert missing.mean() == pytest.approx(fraction, abs=1e-3)


def test_clouds_are_blobs_in_a_region(region):
    """Gaps pixel by pixel are much easier than the real ones."""
    cloudy = np.isnan(region(cloud_fraction=0.4, shape=(60, 80)).cube.values[:, 0])
    some = cloudy[(cloudy.mean(axis=(1, 2)) > 0.2) & (cloudy.mean(axis=(1, 2)) < 0.8)]
    assert len(some) >= 5
    assert (some[:, 1:] == some[:, :-1]).mean() > 0.8
    share = cloudy.mean(axis=(1, 2))
    assert share.max() > 0.9 and share.min() < 0.1


def test_same_seed_same_region(region):
    """Figures must be repeatable, also those of regions of many blocks."""
    parameters = {"shape": (50, 70), "n_bands": 2}
    first, again = region(**parameters), region(**parameters)
    for name in ("cube", "labels", "change_date", "fields"):
        assert first[name].identical(again[name])
    assert first.points.equals(again.points)
    other = region(random_state=1, **parameters)
    assert (other.labels != first.labels).mean() > 0.2
    cloudy = region(cloud_fraction=0.6, **parameters)
    assert_array_equal(first.labels, cloudy.labels)
    seen = ~np.isnan(cloudy.cube.values)
    assert_array_equal(first.cube.values[seen], cloudy.cube.values[seen])


def test_a_region_of_one_pixel(region):
    """Loops over sizes start there."""
    data = region(shape=(1, 1), n_fields=3, n_points=1, n_bands=1, crs=4326)
    assert data.cube.shape == (46, 1, 1, 1)
    assert region(shape=np.array([1, 5]), n_points=2).cube.shape == (46, 6, 1, 5)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("shape", (5,)),
        ("shape", (5, 0)),
        ("shape", (5, 2.5)),
        ("shape", 7),
        ("n_fields", 0),
        ("n_points", 601),
        ("n_classes", 9),
        ("n_bands", 0),
        ("change_fraction", 1.5),
        ("cloud_fraction", 1.0),
        ("resolution", 0),
        ("label_time", 46),
        ("crs", "EPSG:1"),
        ("crs", None),
    ],
)
def test_bad_parameters_of_a_region_are_named(region, parameter, value):
    """The message says which argument, what was found and what was wanted."""
    with pytest.raises((ValueError, TypeError)) as info:
        region(**{parameter: value})
    message = str(info.value)
    assert parameter in message and str(value) in message and "must be" in message


@pytest.mark.parametrize("name", GEO)
def test_a_region_names_the_extra_it_needs(monkeypatch, name):
    """Else the user has to guess what to install."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"needs '{name}'.*sktasgen\[geo\]"):
        make_region()


# --------------------------------------------------------------------- lakes


@pytest.fixture
def no_network(monkeypatch):
    """Every attempt to connect fails the test."""

    def connect(*args):
        pytest.fail("tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def own_copy(data_home, tmp_path):
    """A data home of the test's own, with intact files."""
    shutil.copytree(data_home / "dynamic_world_lakes", tmp_path / "dynamic_world_lakes")
    for path in (tmp_path / "dynamic_world_lakes").iterdir():
        path.chmod(0o644)
    (tmp_path / "dynamic_world_lakes").chmod(0o755)
    return tmp_path


@pytest.fixture
def serve(monkeypatch):
    """Function of a folder: the published files now come from that folder."""
    servers = []

    def start(folder):
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
        )
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(datasets, "_LAKES_URL", url)
        return url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def snapshot(folder):
    """Names, sizes and times of all that lies in a folder, itself included."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def assert_same_data(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert_array_equal(first[name], second[name])


def test_lakes_are_what_their_readme_says(lakes):
    """The figures every result on this set is compared with."""
    assert lakes.X.shape == (1122, 18, 12) and lakes.X.dtype == np.float64
    assert lakes.Y.shape == lakes.month.shape == (1122, 12)
    assert lakes.latlon.shape == (1122, 2)
    assert len(lakes.band_names) == 18 and lakes.period == 12
    assert len(lakes.class_names) == 9
    assert_array_equal(np.unique(lakes.Y), np.arange(9))
    assert lakes.class_names[np.bincount(lakes.Y.ravel()).argmax()] == "water"
    changes = (lakes.Y != lakes.Y[:, :1]).any(axis=1).mean()
    assert changes == pytest.approx(0.53, abs=0.005)
    static = [(lakes.Y == lakes.Y[:, [step]]).mean() for step in (2, 5, 8, 11)]
    assert_allclose(static, [0.845, 0.792, 0.849, 0.871], atol=5e-4)
    assert len(set(lakes.month[:, 0])) == 8
    assert_array_equal(lakes.offset, 0)
    assert lakes.month_axis is None


def test_lakes_values_are_plausible_in_the_units_stated(lakes):
    """No fill value, no NaN, no band out of its place."""
    assert np.isfinite(lakes.X).all()
    band = dict(zip(lakes.band_names, lakes.X.transpose(1, 0, 2), strict=True))
    for name in ("VV", "VH"):  # dB
        assert band[name].min() > -50 and band[name].max() < 0
    assert band["VV"].mean() > band["VH"].mean() + 5
    for name in lakes.band_names[2:13]:  # reflectance x 10000
        assert band[name].min() > 0 and band[name].max() < 12000
    assert 250 < band["temperature_2m"].min() < band["temperature_2m"].max() < 310
    rain = band["total_precipitation"]  # m
    assert 0 <= rain.min() and rain.max() < 0.1
    assert band["elevation"].min() > 0 and band["elevation"].max() < 2000
    assert band["slope"].min() >= 0 and band["slope"].max() < 45
    for name in ("elevation", "slope"):
        assert_array_equal(band[name], band[name][:, :1].repeat(12, axis=1))
    warm = np.isin(lakes.month, (5, 6, 7))
    cold = np.isin(lakes.month, (11, 0, 1))
    temperature = band["temperature_2m"]
    assert temperature[warm].mean() > temperature[cold].mean() + 15


def test_lakes_ndvi_is_recomputed(lakes, data_home):
    """The published channel is another index; only it may differ from the file."""
    source = np.load(data_home / "dynamic_world_lakes" / "s1_s2_era5_srtm.npy")
    names = lakes.band_names
    assert_array_equal(lakes.X[:, :17], source[:, :, :17].transpose(0, 2, 1))
    red, nir = lakes.X[:, names.index("B4")], lakes.X[:, names.index("B8")]
    ndvi = lakes.X[:, names.index("NDVI")]
    assert_allclose(ndvi * (nir + red), nir - red, atol=1e-9)
    assert np.abs(ndvi - source[:, :, 17]).max() > 0.1
    green, b7 = lakes.X[:, names.index("B3")], lakes.X[:, names.index("B7")]
    published = np.isclose(source[:, :, 17], (b7 - green) / (b7 + green))
    assert (~published).sum() == 16  # 0 where the month was filled in, see below
    # Open water is dark in the near infrared, trees in summer are not.
    assert ndvi[lakes.Y == 0].mean() < ndvi[lakes.Y == 1].mean()


def test_lakes_filled_months_are_as_documented(lakes):
    """Whoever wants them missing can find the 16 months nobody observed."""
    optical = lakes.X[:, 2:13]
    fractional = (optical % 1 > 1e-9).any(axis=1)
    assert fractional.sum() == 16
    for i, step in np.argwhere(fractional):
        others = np.delete(optical[i], step, axis=1)
        assert_allclose(optical[i, :, step], others.mean(axis=1))


def test_lakes_groups_are_places(lakes):
    """A place in two folds would leak its labels."""
    assert_array_equal(np.unique(lakes.groups), np.arange(255))
    place_of = {}
    for place, group in zip(map(tuple, lakes.latlon), lakes.groups, strict=True):
        assert place_of.setdefault(place, group) == group
    assert len(place_of) == 255


def test_lakes_aligned_and_unaligned_agree_cell_by_cell(lakes, data_home):
    """Alignment moves observations; it loses, repeats and invents none."""
    aligned = fetch_dynamic_world_lakes(
        data_home=data_home, align=True, download_if_missing=False
    )
    assert aligned.X.shape == (1122, 18, 19)
    assert aligned.Y.shape == aligned.month.shape == (1122, 19)
    assert_array_equal(aligned.month_axis, [*range(3, 12), *range(10)])
    assert sorted(set(aligned.offset)) == list(range(8))
    for i, offset in enumerate(aligned.offset):
        assert aligned.month_axis[offset] == lakes.month[i, 0]
        inside = slice(offset, offset + 12)
        assert_array_equal(aligned.X[i, :, inside], lakes.X[i])
        assert_array_equal(aligned.Y[i, inside], lakes.Y[i])
        assert_array_equal(aligned.month[i, inside], lakes.month[i])
        outside = np.delete(np.arange(19), np.r_[inside])
        assert np.isnan(aligned.X[i][:, outside]).all()
        assert (aligned.Y[i, outside] == -1).all()
        assert (aligned.month[i, outside] == -1).all()
    for name in ("latlon", "groups", "band_names", "class_names", "period"):
        assert_array_equal(aligned[name], lakes[name])


def test_lakes_months_stray_one_month_from_the_axis_at_most(data_home):
    """What the documentation says about the 149 samples with uneven months."""
    aligned = fetch_dynamic_world_lakes(
        data_home=data_home, align=True, download_if_missing=False
    )
    stray = (aligned.month - aligned.month_axis + 6) % 12 - 6
    stray[aligned.month == -1] = 0
    assert set(np.unique(stray)) == {-1, 0}
    # Uneven: a month that comes twice, or is skipped, among the 12 steps.
    uneven = sum(
        len(set(months[months >= 0].tolist())) < 12 for months in aligned.month
    )
    assert uneven == 149


def test_lakes_from_the_environment_variable(lakes, data_home, monkeypatch, no_network):
    """Offline, the files in SKTASGEN_DATA_HOME are enough."""
    monkeypatch.setenv("SKTASGEN_DATA_HOME", str(data_home))
    assert_same_data(fetch_dynamic_world_lakes(), lakes)


def test_lakes_argument_comes_before_the_environment(
    lakes, data_home, monkeypatch, tmp_path
):
    """Whoever names a folder means it."""
    monkeypatch.setenv("SKTASGEN_DATA_HOME", str(tmp_path))
    found = fetch_dynamic_world_lakes(data_home=data_home, download_if_missing=False)
    assert_same_data(found, lakes)


@pytest.mark.parametrize("written", ["~/set", "set", "../{name}/set", "path"])
def test_lakes_relative_and_home_folders(
    lakes, data_home, monkeypatch, tmp_path, written
):
    """A folder counts from the working directory, `~` from the user's home."""
    (tmp_path / "set").symlink_to(data_home, target_is_directory=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = written.format(name=tmp_path.name)
    folder = tmp_path / "set" if written == "path" else folder
    found = fetch_dynamic_world_lakes(data_home=folder, download_if_missing=False)
    assert_same_data(found, lakes)


def test_lakes_from_a_read_only_folder(lakes, own_copy, no_network):
    """Shared data folders are often read-only: nothing is written there."""
    folder = own_copy / "dynamic_world_lakes"
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    before = snapshot(folder)
    try:
        assert_same_data(fetch_dynamic_world_lakes(data_home=own_copy), lakes)
        assert snapshot(folder) == before
    finally:
        folder.chmod(0o755)


def test_lakes_default_to_the_users_cache(lakes, own_copy, monkeypatch):
    """Without argument and variable, data lies where the system keeps caches."""
    pooch = pytest.importorskip("pooch")
    asked = []
    monkeypatch.setattr(pooch, "os_cache", lambda name: asked.append(name) or own_copy)
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("SKTASGEN_DATA_HOME")
        else:
            monkeypatch.setenv("SKTASGEN_DATA_HOME", value)
        assert_same_data(fetch_dynamic_world_lakes(download_if_missing=False), lakes)
    assert asked == ["sktasgen", "sktasgen"]


def test_lakes_files_at_hand_need_no_pooch(lakes, data_home, monkeypatch):
    """Pooch is for downloads; without it, the error names the extra."""
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert_same_data(fetch_dynamic_world_lakes(data_home=data_home), lakes)


def test_lakes_download_without_pooch_names_the_extra(monkeypatch, tmp_path):
    """The user learns what to install."""
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"sktasgen\[data\]"):
        fetch_dynamic_world_lakes(data_home=tmp_path)
    monkeypatch.delenv("SKTASGEN_DATA_HOME", raising=False)
    with pytest.raises(ImportError, match=r"sktasgen\[data\]"):
        fetch_dynamic_world_lakes()


def test_lakes_missing_files_are_named(tmp_path, no_network):
    """scikit-learn's convention: OSError, and nothing is created."""
    with pytest.raises(OSError, match="month.npy is missing") as info:
        fetch_dynamic_world_lakes(data_home=tmp_path, download_if_missing=False)
    assert str(tmp_path) in str(info.value)
    assert "SKTASGEN_DATA_HOME" in str(info.value)
    assert list(tmp_path.iterdir()) == []


def test_lakes_one_missing_file_is_noticed(own_copy):
    """Three of four files are no data set."""
    (own_copy / "dynamic_world_lakes" / "latlon.npy").unlink()
    with pytest.raises(OSError, match=r"^latlon.npy is missing, and"):
        fetch_dynamic_world_lakes(data_home=own_copy, download_if_missing=False)


def test_lakes_corrupted_file_is_never_used(lakes, own_copy, serve, data_home):
    """One wrong byte: an error, or another download, never other data."""
    pytest.importorskip("pooch")
    path = own_copy / "dynamic_world_lakes" / "dynamic_world.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="dynamic_world.npy is not the published file"):
        fetch_dynamic_world_lakes(data_home=own_copy, download_if_missing=False)
    # No better file to be had: the error stands, the folder as it was.
    before = snapshot(own_copy / "dynamic_world_lakes")
    serve(own_copy / "dynamic_world_lakes")
    with pytest.raises(OSError, match="could not be downloaded"):
        fetch_dynamic_world_lakes(data_home=own_copy)
    assert snapshot(own_copy / "dynamic_world_lakes").keys() == before.keys()
    assert path.read_bytes() == content
    serve(data_home / "dynamic_world_lakes")
    assert_same_data(fetch_dynamic_world_lakes(data_home=own_copy), lakes)


def test_lakes_download(lakes, data_home, serve, tmp_path, monkeypatch):
    """The first call fills the cache, the second needs no network."""
    pytest.importorskip("pooch")
    serve(data_home / "dynamic_world_lakes")
    home = tmp_path / "not" / "there" / "yet"
    assert_same_data(fetch_dynamic_world_lakes(data_home=home), lakes)
    folder = home / "dynamic_world_lakes"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        datasets._LAKES_SHA256
    )
    monkeypatch.setattr(datasets, "_LAKES_URL", "http://127.0.0.1:9/")
    assert_same_data(fetch_dynamic_world_lakes(data_home=home), lakes)


@pytest.mark.parametrize("trouble", ["refused", "not found", "other content"])
def test_lakes_failed_download(serve, tmp_path, monkeypatch, trouble):
    """The error names URL, folder and variable; no partial file stays behind."""
    pytest.importorskip("pooch")
    published = tmp_path / "published"
    published.mkdir()
    if trouble == "refused":
        with socket.socket() as free:  # a port on which nobody listens
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        monkeypatch.setattr(datasets, "_LAKES_URL", url)
    else:
        url = serve(published)
    if trouble == "other content":
        for name in datasets._LAKES_SHA256:
            (published / name).write_bytes(b"<html>Log in to the network</html>")
    home = tmp_path / "home"
    with pytest.raises(OSError, match="could not be downloaded") as info:
        fetch_dynamic_world_lakes(data_home=home)
    message = str(info.value)
    assert url in message and "SKTASGEN_DATA_HOME" in message
    assert str(home / "dynamic_world_lakes") in message
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_lakes_sums_are_those_published_with_the_files(data_home):
    """The pinned sums, checked without the package's own code."""
    folder = data_home / "dynamic_world_lakes"
    for name, known in datasets._LAKES_SHA256.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == known
    lines = (folder / "SHA256SUMS").read_text().split()
    assert datasets._LAKES_SHA256 == dict(zip(lines[1::2], lines[::2], strict=True))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("data_home", 3), ("align", "yes"), ("download_if_missing", None)],
)
def test_lakes_bad_parameters(parameter, value):
    """The message says which argument, what was found and what was wanted."""
    with pytest.raises(ValueError, match=f"'{parameter}'.*must be"):
        fetch_dynamic_world_lakes(**{parameter: value})


def test_importing_datasets_imports_no_optional_package():
    """Pooch and its network libraries load only for a download."""
    code = "import sys, sktasgen.datasets; print('pooch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert run.stdout.strip() == "False"


# ------------------------------------------------------------------- cerrado


@pytest.mark.parametrize("name", ["disjoint", "anywhere"])
def test_cerrado_fixture(cerrado, name):
    """The development sets other tests measure on."""
    data = cerrado(name)
    assert data.X.shape == (800, 2, 92) and data.Y.shape == (800, 92)
    assert data.label_time.shape == data.y.shape == data.break_at.shape == (800,)
    assert_array_equal(data.Y[np.arange(800), data.label_time], data.y)
    flips = data.Y[:, 1:] != data.Y[:, :-1]
    assert_array_equal(flips.any(axis=1), data.break_at >= 0)
    changed = data.break_at >= 0
    assert_array_equal(flips[changed].argmax(axis=1) + 1, data.break_at[changed])
