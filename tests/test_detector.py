"""Without these: scores that depend on the batch, gaps that pass for normal."""

import datetime
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from sktasgen import HTSVAEDetector, calibration
from sktasgen.datasets import make_pixel_series
from sktasgen.scores import smooth


@pytest.fixture(scope="module")
def series():
    return make_pixel_series(
        90, n_bands=3, n_years=3, period=12, random_state=0, n_classes=3
    )


def quick(**params):
    return HTSVAEDetector(period=12, max_iter=40, random_state=0).set_params(**params)


@pytest.fixture(scope="module")
def fitted(series):
    detector = quick(max_iter=150)
    return detector.fit(series.X, series.y, label_time=series.label_time)


# What it is for


@pytest.mark.parametrize("reference", ["class", "self"])
def test_changed_dates_score_higher(series, reference):
    detector = quick(reference=reference, max_iter=300)
    detector.fit(series.X, series.y, label_time=series.label_time)
    scores = detector.score_timesteps(series.X, series.y, label_time=series.label_time)
    seen = ~np.isnan(scores)
    changed = series.Y != series.y[:, None]
    assert roc_auc_score(changed[seen], scores[seen]) > 0.9


def test_novel_series_score_higher_with_any_reference(series):
    stable = series.X[series.break_at < 0]
    detector = quick(reference="any", max_iter=300).fit(stable)
    strange = stable.copy()
    strange[:, :, 15:25] += 4 * np.nanstd(stable, axis=(0, 2))[:, None]
    assert (
        detector.score_samples(strange) < detector.score_samples(stable)
    ).mean() > 0.9
    assert detector.predict_timesteps(strange)[:, 17:23].mean() > 0.5


@pytest.mark.parametrize("name", ["disjoint", "anywhere"])
@pytest.mark.parametrize(("reference", "least"), [("class", 0.99), ("self", 0.85)])
def test_real_series_that_change_class_score_higher_where_they_changed(
    cerrado, name, reference, least
):
    data = cerrado(name)
    detector = HTSVAEDetector(period=23, reference=reference, random_state=0)
    detector.fit(data.X, data.y, label_time=data.label_time)
    times = data.label_time if reference == "self" else None
    scores = detector.score_timesteps(data.X, data.y, label_time=times)
    changed = data.Y != data.y[:, None]
    assert roc_auc_score(changed.ravel(), scores.ravel()) > least


@pytest.mark.parametrize(("reference", "least"), [("class", 0.97), ("self", 0.8)])
def test_changes_are_found_though_four_dates_in_five_are_missing(reference, least):
    make = dict(n_bands=3, n_years=3, period=12, n_classes=3, random_state=1)
    data = make_pixel_series(600, change_fraction=0.5, cloud_fraction=0.1, **make)
    gone = np.random.default_rng(0).random((600, 1, 36)) < 0.8
    X = np.where(gone, np.nan, data.X)
    detector = quick(reference=reference, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some have too few dates
        detector.fit(X, data.y, label_time=data.label_time)
        scores = detector.score_timesteps(X, data.y, label_time=data.label_time)
    seen = ~np.isnan(scores)
    assert seen.any(axis=1).mean() > 0.8
    changed = data.Y != data.y[:, None]
    assert roc_auc_score(changed[seen], scores[seen]) > least


@pytest.fixture(scope="module")
def unchanging():
    """Series that do not change: 1200 to train on, and 600 new ones of their years."""
    make = dict(n_bands=3, n_years=3, period=12, change_fraction=0, cloud_fraction=0.1)
    return make_pixel_series(1800, random_state=1, **make)


@pytest.mark.parametrize(
    "reference, dated",
    [("class", False), ("class", True), ("self", True), ("any", False)],
)
@pytest.mark.parametrize("smoothing", ["auto", 1])
@pytest.mark.parametrize("rate", [0.05, 0.01])
def test_new_stable_series_are_flagged_at_the_rate_asked_for(
    unchanging, reference, dated, smoothing, rate
):
    data, old, new = unchanging, slice(0, 1200), slice(1200, None)
    detector = quick(reference=reference, smoothing=smoothing, max_iter=80)
    detector.set_params(false_alarm_rate=rate, batch_size=128)
    times = [data.label_time[rows] if dated else None for rows in (old, new)]
    detector.fit(data.X[old], data.y[old], label_time=times[0])
    flags = detector.predict_timesteps(data.X[new], data.y[new], label_time=times[1])
    share = flags[~np.isnan(data.X[new]).all(axis=1)].mean()
    # A factor of 1.5 and the binomial interval. Dates of a sample go together, so
    # samples count: the 240 that the threshold was set on, and the new ones.
    deviation = np.sqrt(rate * (1 - rate) * (1 / 240 + 1 / 600))
    assert rate / 1.5 - 2 * deviation < share < 1.5 * rate + 2 * deviation


@pytest.mark.parametrize(
    ("reference", "threshold", "least"),
    [
        ("class", "quantile", 0.8),
        ("self", "quantile", 0.8),
        ("class", "pot", 0.8),
        ("self", "pot", 0.6),
    ],
)
def test_changes_in_training_neither_raise_nor_hide_the_flags(
    reference, threshold, least
):
    make = dict(n_bands=3, n_years=3, period=12, cloud_fraction=0.1, random_state=1)
    data = make_pixel_series(1200, change_fraction=0.5, **make)
    old, new = slice(0, 800), slice(800, None)
    detector = quick(reference=reference, threshold=threshold, max_iter=300)
    detector.fit(data.X[old], data.y[old], label_time=data.label_time[old])
    flags = detector.predict_timesteps(
        data.X[new], data.y[new], label_time=data.label_time[new]
    )
    seen = ~np.isnan(data.X[new]).all(axis=1)
    changed = data.Y[new] != data.y[new][:, None]
    assert flags[seen & changed].mean() > least
    stable = seen & (data.break_at[new] < 0)[:, None]
    assert flags[stable].mean() < 1.5 * 0.05 + 2 * np.sqrt(0.05 * 0.95 / 80)


@pytest.mark.parametrize("reference", ["class", "any"])
def test_new_groups_of_samples_alike_are_flagged_at_the_rate_asked_for(reference):
    """Fields of six pixels each: it is fields that are new, and that count."""
    make = dict(n_bands=3, n_years=3, period=12, change_fraction=0, cloud_fraction=0)
    fields = make_pixel_series(300, random_state=1, **make)
    rng = np.random.default_rng(0)
    weather = 0.05 * rng.normal(size=fields.X.shape)
    groups = np.repeat(np.arange(300), 6)
    pixels = 0.005 * rng.normal(size=(1800, 3, 36))
    X, y = (fields.X + weather)[groups] + pixels, fields.y[groups]
    old = groups < 200
    detector = quick(reference=reference, max_iter=200, calibration_fraction=0.4)
    detector.fit(X[old], y[old], groups=groups[old])
    share = detector.predict_timesteps(X[~old], y[~old]).mean()
    deviation = np.sqrt(0.05 * 0.95 * (1 / 80 + 1 / 100))
    assert 0 < share < 1.5 * 0.05 + 2 * deviation


def test_pareto_tail_flags_at_the_rate_too(unchanging):
    detector = quick(threshold="pot", false_alarm_rate=0.02, max_iter=80)
    detector.fit(unchanging.X[:1200])
    flags = detector.predict_timesteps(unchanging.X[1200:])
    assert 0.005 < flags[~np.isnan(unchanging.X[1200:]).all(axis=1)].mean() < 0.045
    quantile = quick(false_alarm_rate=0.02, max_iter=80).fit(unchanging.X[:1200])
    assert detector.threshold_ == pytest.approx(quantile.threshold_, rel=0.2)
    assert detector.threshold_ != quantile.threshold_


def test_samples_of_a_group_are_held_out_together(series, monkeypatch):
    drawn = []
    hold_out = calibration.hold_out

    def spy(*args):
        drawn.append(hold_out(*args))
        return drawn[-1]

    monkeypatch.setattr(calibration, "hold_out", spy)
    groups = np.arange(90) // 9
    quick(max_iter=2, calibration_fraction=0.3).fit(series.X, series.y, groups=groups)
    assert drawn[0].sum() == 27
    assert np.isin(np.bincount(groups[drawn[0]], minlength=10), [0, 9]).all()


def test_few_samples_set_the_threshold_on_their_last_dates(series):
    X = series.X[:4]
    detector = quick(window_length=6, max_iter=20).fit(X)
    assert detector._first_held_cell == 36 - int(0.2 * 36)
    later = X.copy()
    later[:, :, detector._first_held_cell :] += 1
    # Not trained on, but what counts as normal: the bands' scale is that of all dates.
    moved = quick(window_length=6, max_iter=20)
    moved.fit(later)
    assert moved.threshold_ > detector.threshold_
    expected = detector.score_timesteps(X)
    detector.fit(X, label_time=3)
    assert detector._first_held_cell == 36
    # What anything seen is compared with does not depend on labels.
    detector = quick(window_length=6, max_iter=20, reference="any")
    detector.fit(X, list("abab"), label_time=3)
    assert detector._first_held_cell == 36 - int(0.2 * 36)
    found = detector.score_timesteps(X, list("abab"), label_time=5)
    np.testing.assert_array_equal(found, expected)


def test_fire_is_dated_on_a_real_pixel_with_its_own_irregular_dates(data_home):
    """Clear observations of one forest pixel, which burnt on 2024-03-23."""
    path = data_home / "pixel_series" / "1_hls_sc.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(9))
    clear = np.isin(table[:, 8], (0, 1))
    ordinal, bands = table[clear, 0].astype(int), table[clear, 1:7]
    bands[(bands <= -9999) | (bands >= 20000)] = np.nan
    old = ordinal < datetime.date(2023, 1, 1).toordinal()
    detector = HTSVAEDetector(dates=ordinal[old], random_state=0)
    detector.fit(bands[old].T[None])
    flags = detector.predict_timesteps(bands[~old].T[None], dates=ordinal[~old])[0]
    runs = np.lib.stride_tricks.sliding_window_view(flags, 6).all(axis=1)
    first = ordinal[~old][runs.argmax()]
    assert runs.any()
    assert abs(first - datetime.date(2024, 3, 23).toordinal()) <= 30


def test_label_is_held_at_its_date(series, fitted):
    free = fitted.score_timesteps(series.X, series.y)
    held = fitted.score_timesteps(series.X, series.y, label_time=series.label_time)
    own = np.arange(90), series.label_time
    seen = ~np.isnan(free[own])
    assert (held[own][seen] < -100).all()
    assert np.nanmean(held) < np.nanmean(free)


# Parts


def test_parts_add_up_to_the_novelty(series):
    detector = quick(reference="any", smoothing=1, stride=12, window_length=12)
    X = np.nan_to_num(series.X[:, :, :12], nan=0.2)
    detector.fit(series.X)
    parts = detector.score_parts(X)
    total = parts.temporal / 12 + parts.spectral + parts.joint
    np.testing.assert_allclose(total, detector.score_timesteps(X))


def test_parts_tell_another_season_from_another_spectrum():
    make = dict(n_bands=6, period=12, change_fraction=0, cloud_fraction=0.1)
    data = make_pixel_series(400, random_state=0, **make)
    old, new, year = slice(0, 300), slice(300, None), slice(24, 36)
    detector = quick(max_iter=400).fit(data.X[old], data.y[old])

    def flagged(X):
        parts = detector.score_parts(X, data.y[new])
        return [
            np.nanmean(np.where(np.isnan(part), np.nan, part > threshold)[:, year])
            for part, threshold in zip(
                parts.values(), detector.part_thresholds_, strict=True
            )
        ]

    late, haze = data.X[new].copy(), data.X[new].copy()
    late[:, :, year] = late[:, :, 21:33]
    haze[:, 0, year] += 0.05
    assert max(flagged(data.X[new])) < 0.15
    temporal, spectral, joint = flagged(haze)
    assert joint > 0.5
    assert joint > 3 * max(temporal, spectral)
    latents_of_late = max(flagged(late)[:2])
    assert latents_of_late > 0.3
    assert latents_of_late > 2 * max(temporal, spectral)


@pytest.mark.parametrize("reference", ["class", "self", "any"])
def test_parts_are_nan_where_scores_are(series, reference):
    detector = quick(reference=reference)
    detector.fit(series.X, series.y, label_time=series.label_time)
    y = series.y if reference == "class" else None
    expected = np.isnan(detector.score_timesteps(series.X, y))
    for part in detector.score_parts(series.X, y).values():
        np.testing.assert_array_equal(np.isnan(part), expected)


@pytest.mark.parametrize("dated", [False, True])
def test_parts_of_stable_series_pass_their_thresholds_with_or_without_class(dated):
    make = dict(n_bands=3, n_years=3, period=12, n_classes=3, random_state=1)
    data = make_pixel_series(900, change_fraction=0, cloud_fraction=0.1, **make)
    old, new = slice(0, 600), slice(600, None)
    times = data.label_time[old] if dated else None
    detector = quick(max_iter=150).fit(data.X[old], data.y[old], label_time=times)
    for y in (data.y[new], None):
        for part, limit in zip(
            detector.score_parts(data.X[new], y).values(),
            detector.part_thresholds_,
            strict=True,
        ):
            assert 0.02 < (part > limit)[~np.isnan(part)].mean() < 0.12


def test_reconstruction_fills_gaps_better_than_the_season_mean(series):
    X = series.X[series.break_at < 0]
    y = series.y[series.break_at < 0]
    detector = quick(max_iter=400).fit(X, y)
    gaps = np.random.default_rng(0).random((len(X), 1, X.shape[2])) < 0.2
    gaps = np.broadcast_to(gaps, X.shape) & ~np.isnan(X)
    filled = detector.reconstruct(np.where(gaps, np.nan, X), y)
    error = np.abs(filled - X)[gaps].mean()
    season = np.empty_like(X)
    for k in np.unique(y):
        rows = y == k
        for slot in range(12):
            mean = np.nanmean(np.where(gaps, np.nan, X)[rows][:, :, slot::12], (0, 2))
            season[np.ix_(rows, range(3), range(slot, X.shape[2], 12))] = mean[:, None]
    assert error < np.abs(season - X)[gaps].mean()


# Gaps


def test_nan_where_not_observed_and_never_flagged(series, fitted):
    scores = fitted.score_timesteps(series.X, series.y)
    flags = fitted.predict_timesteps(series.X, series.y)
    unseen = np.isnan(series.X).all(axis=1)
    assert unseen.any()
    np.testing.assert_array_equal(np.isnan(scores), unseen)
    assert not flags[unseen].any()


@pytest.mark.parametrize("reference", ["class", "self", "any"])
def test_sample_without_observation_is_nan_and_no_inlier(series, reference):
    X = series.X.copy()
    X[4] = np.nan
    detector = quick(reference=reference)
    detector.fit(X, series.y, label_time=series.label_time)
    assert np.isnan(detector.score_timesteps(X, series.y)[4]).all()
    assert np.isnan(detector.score_samples(X)[4])
    assert np.isnan(detector.decision_function(X)[4])
    assert detector.predict(X)[4] == -1
    assert np.isnan(detector.transform(X)[4]).all()
    assert np.isnan(detector.reconstruct(X)[4]).all()
    rest = np.arange(len(X)) != 4
    assert not np.isnan(detector.score_samples(X)[rest]).any()
    assert not np.isnan(detector.transform(X)[rest]).any()
    assert not np.isnan(detector.reconstruct(X)[rest]).any()


def test_too_few_observations_get_no_score_and_are_named(series):
    X = series.X.copy()
    X[4, :, 2:] = np.nan
    X[7] = np.nan
    with pytest.warns(UserWarning, match="2 of 90 samples.* 3 observed.*: 4, 7"):
        detector = quick().fit(X, series.y, label_time=series.label_time)
    with pytest.warns(UserWarning, match="2 of 90 samples"):
        found = detector.score_timesteps(X, series.y)
    few = np.isin(np.arange(len(X)), [4, 7])
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), few)
    with pytest.warns(UserWarning, match="2 of 90"):
        assert not detector.predict_timesteps(X, series.y)[few].any()
    # Two dates are enough where they are asked for.
    detector = quick(min_observations=1)
    with pytest.warns(UserWarning, match="1 of 90 samples.*: 7"):
        detector.fit(X, series.y)


def test_short_series_need_no_more_dates_than_they_have():
    X = np.random.default_rng(0).normal(size=(12, 2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = quick(period=None).fit(X, label_time=1)
        assert np.isfinite(detector.score_timesteps(X)).all()


def test_band_without_observation_is_harmless(series):
    X = series.X.copy()
    X[:, 1] = np.nan
    detector = quick().fit(X, series.y)
    seen = ~np.isnan(X).all(axis=1)
    assert np.isfinite(detector.score_timesteps(X, series.y)[seen]).all()


# Shapes


def test_two_dimensional_input_is_the_same_band_after_band(series):
    flat = series.X.reshape(len(series.X), -1)
    three = quick().fit(series.X, series.y)
    two = quick(n_bands=3).fit(flat, series.y)
    np.testing.assert_array_equal(
        two.score_timesteps(flat, series.y), three.score_timesteps(series.X, series.y)
    )
    np.testing.assert_array_equal(
        two.reconstruct(flat), three.reconstruct(series.X).reshape(len(flat), -1)
    )


def test_other_numbers_of_dates_may_be_scored(series, fitted):
    for n_timesteps in (1, 5, 12, 20):
        X = series.X[:, :, :n_timesteps]
        assert fitted.score_timesteps(X, series.y).shape == (len(X), n_timesteps)
        assert fitted.transform(X).shape == fitted.transform(series.X).shape
        assert fitted.reconstruct(X).shape == X.shape


def test_one_sample_one_band_and_as_many_dates_as_samples():
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 12), (1, 2, 30), (24, 2, 24), (5, 1, 1)):
        X = rng.normal(size=shape)
        detector = quick(period=None).fit(X)
        assert detector.score_timesteps(X).shape == (shape[0], shape[2])
        assert detector.transform(X).shape == (shape[0], detector._n_features_out)
        assert len(detector.get_feature_names_out()) == detector._n_features_out


def test_windows_shorter_than_the_season(series):
    detector = quick(window_length=5).fit(series.X, series.y)
    seen = ~np.isnan(series.X).all(axis=1)
    assert np.isfinite(detector.score_timesteps(series.X, series.y)[seen]).all()


@pytest.mark.parametrize("labels", [["a", "b", "c"], [-1, 1, 7], [0.0, 1.0, 2.0]])
def test_labels_of_any_kind(series, labels):
    y = np.array(labels)[series.y]
    detector = quick().fit(series.X, y)
    assert detector.classes_.tolist() == sorted(labels)
    expected = quick().fit(series.X, series.y).score_timesteps(series.X, series.y)
    np.testing.assert_array_equal(detector.score_timesteps(series.X, y), expected)


def test_boolean_labels(series):
    detector = quick().fit(series.X, series.y == 0)
    assert detector.score_timesteps(series.X, series.y == 0).shape == series.Y.shape


def test_read_only_and_strided_input_is_left_alone(series):
    X = np.asfortranarray(series.X)
    X.flags.writeable = False
    before = X.copy()
    detector = quick().fit(X, series.y)
    found = detector.score_timesteps(X[::2], series.y[::2])
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(
        found, detector.score_timesteps(X[::2].copy(), series.y[::2])
    )


def test_float32_stays_float32(series):
    X = series.X.astype(np.float32)
    detector = quick().fit(X, series.y)
    assert detector.transform(X).dtype == np.float32
    assert detector.reconstruct(X).dtype == np.float32
    assert detector.score_timesteps(X, series.y).dtype == np.float32


# Dates


def test_regular_dates_of_a_year_are_the_regular_calendar(series):
    """Slots by day of year and slots by counting agree up to where slot 0 lies."""
    days = np.arange(36) * 365.25 / 12 + 15
    dates = np.datetime64("2018-01-01") + days.astype(int)
    detector = quick(period=None, dates=dates).fit(series.X, series.y)
    assert detector.period_ == 12
    counted = quick().fit(series.X, series.y)
    np.testing.assert_array_equal(
        detector.score_timesteps(series.X, series.y),
        counted.score_timesteps(series.X, series.y),
    )


def test_irregular_dates_score_each_observation(series):
    rng = np.random.default_rng(0)
    days = np.sort(rng.choice(1000, size=36))
    days[5] = days[4]  # two acquisitions of one day
    dates = 736000 + days
    detector = quick(period=24, dates=dates).fit(series.X, series.y)
    scores = detector.score_timesteps(series.X, series.y)
    np.testing.assert_array_equal(np.isnan(scores), np.isnan(series.X).all(axis=1))
    assert detector.reconstruct(series.X).shape == series.X.shape
    new = detector.score_timesteps(series.X[:, :, :7], series.y, dates=dates[:7] + 200)
    assert new.shape == (len(series.X), 7)
    with pytest.raises(ValueError, match="pass dates="):
        detector.score_timesteps(series.X[:, :, :7], series.y)


# The same bits


def test_scores_do_not_depend_on_the_batch_or_the_order(series, fitted):
    whole = fitted.score_timesteps(series.X, series.y)
    order = np.random.default_rng(0).permutation(len(series.X))
    shuffled = fitted.score_timesteps(series.X[order], series.y[order])
    np.testing.assert_allclose(shuffled, whole[order], rtol=1e-9)
    alone = fitted.score_timesteps(series.X[3:4], series.y[3:4])
    np.testing.assert_allclose(alone, whole[3:4], rtol=1e-9)


def test_same_seed_same_bits_whatever_the_threads(series):
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            detector = quick().fit(series.X, series.y, label_time=series.label_time)
            found.append(detector.score_timesteps(series.X, series.y))
    np.testing.assert_array_equal(*found)


def test_global_random_state_is_left_alone(series):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    quick().fit(series.X, series.y).score_samples(series.X)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    other = quick(random_state=1).fit(series.X, series.y)
    same = quick(random_state=1).fit(series.X, series.y)
    np.testing.assert_array_equal(other.loss_curve_, same.loss_curve_)


def test_saved_model_scores_the_same_in_a_fresh_process(series, fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "detector.joblib")
    np.savez(tmp_path / "in.npz", X=series.X, y=series.y)
    code = (
        "import joblib, numpy as np; data = np.load('in.npz');"
        "scores = joblib.load('detector.joblib').score_timesteps(data['X'], data['y']);"
        "np.save('out.npy', scores)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    expected = fitted.score_timesteps(series.X, series.y)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_clone_is_unfitted_and_fits_to_the_same(series, fitted):
    again = clone(fitted)
    assert not hasattr(again, "weights_")
    again.fit(series.X, series.y, label_time=series.label_time)
    np.testing.assert_array_equal(again.loss_curve_, fitted.loss_curve_)


# scikit-learn's conventions


def test_label_time_is_one_int_or_the_most_frequent(series):
    X, y = series.X, series.y
    assert quick().fit(X, y).label_time_ == X.shape[2] - 1
    assert quick().fit(X, y, label_time=7).label_time_ == 7
    times = np.r_[[3] * 10, [5] * 10, [9] * (len(X) - 20)]
    assert quick().fit(X, y, label_time=times).label_time_ == 9
    times = np.r_[[3] * 45, [2] * 45]
    assert quick().fit(X, y, label_time=times).label_time_ == 2


def test_contamination_is_the_share_of_training_outliers(series):
    predicted = quick(contamination=0.2).fit_predict(series.X, series.y)
    assert (predicted == -1).mean() == pytest.approx(0.2, abs=0.02)


def test_default_reference_follows_from_what_fit_is_given(series):
    X, y, times = series.X, series.y, series.label_time
    assert quick().fit(X, y, label_time=times).reference_ == "class"
    assert quick().fit(X, label_time=times).reference_ == "self"
    assert quick().fit(X).reference_ == "any"


# Bad input


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(label_time=36), ValueError, "label_time lies outside the series"),
        (dict(label_time=-1), ValueError, "label_time lies outside the series"),
        (dict(label_time=[3, 4]), ValueError, r"label_time has shape \(2,\)"),
        (dict(label_time=2.5), TypeError, "label_time must be an int"),
        (dict(label_time="2020-01-01"), TypeError, "label_time must be an int"),
        (dict(y=[0, 1]), ValueError, "y has 2 labels"),
        (dict(X=np.zeros((2, 3, 4, 5))), ValueError, "X has 4 dimensions"),
        (dict(X=np.zeros((90, 3, 0))), ValueError, "0 timesteps"),
        (dict(X=np.full((90, 3, 36), np.nan)), ValueError, "no observation"),
        (dict(X=np.full((90, 3, 36), np.inf)), ValueError, "infinity"),
        (dict(X=np.full((90, 3), "a")), ValueError, "could not convert|numeric"),
    ],
)
def test_bad_arguments_of_fit_are_named(series, change, error, message):
    arguments = dict(X=series.X, y=series.y, label_time=series.label_time) | change
    with pytest.raises(error, match=message):
        quick().fit(arguments["X"], arguments["y"], label_time=arguments["label_time"])


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (np.arange(5), ValueError, r"groups has shape \(5,\), but X has 90 samples"),
        (np.zeros((90, 1)), ValueError, r"groups has shape \(90, 1\)"),
        (np.zeros((90, 2)), ValueError, r"groups has shape \(90, 2\)"),
        ("field", ValueError, r"groups has shape \(\)"),
        (["a", None] * 45, ValueError, "groups holds no group.*45 .*first at 1"),
        (["a", np.nan] * 45, ValueError, "groups holds no group.*45 .*first at 1"),
        (np.r_[[np.nan], np.arange(89)], ValueError, "groups holds no group.* at 0"),
        (["a", 1] * 45, TypeError, "groups mixes strings.*'a' and 1"),
    ],
)
def test_bad_groups_are_named(series, groups, error, message):
    with pytest.raises(error, match=message):
        quick().fit(series.X, series.y, groups=groups)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (["a", 1], TypeError, "y mixes strings and other values, such as 'a' and 1"),
        (np.array([1, "a"], dtype=object), TypeError, "y mixes strings.* 'a' and 1"),
        ([None, "a", 1], (TypeError, ValueError), "y mixes strings|y holds no label"),
        ([None, None], ValueError, "y holds no label"),
    ],
)
def test_labels_of_several_kinds_are_named(series, fitted, labels, error, message):
    y = list(labels) * (90 // len(labels))
    if isinstance(labels, np.ndarray):
        y = np.array(y, dtype=object)
    for call in (quick().fit, fitted.score_timesteps):
        with pytest.raises(error, match=message):
            call(series.X, y)


@pytest.mark.parametrize("dtype", ["string", "str", "category", "object", "Int64"])
def test_missing_labels_of_any_pandas_dtype_are_known_as_such(series, dtype):
    pandas = pytest.importorskip("pandas")
    labels = [1, 2, pandas.NA] if dtype == "Int64" else ["a", "b", pandas.NA]
    y = pandas.Series(labels * 30, dtype=dtype)
    detector = quick(max_iter=2).fit(series.X, y, label_time=18)
    assert detector.classes_.tolist() == labels[:2]
    with pytest.raises(ValueError, match="y holds no label.*30 .*first at 2"):
        detector.score_timesteps(series.X, y)
    with pytest.raises(ValueError, match="groups holds no group.*30 .*first at 2"):
        quick().fit(series.X, groups=y)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_samples_without_a_label_teach_what_years_look_like(series, missing):
    """Most places have no label; leaving them out would waste all but a few."""
    labels = series.Y[:, 18]
    y = labels.astype(object)
    y[12:] = missing
    changed = (series.Y != labels[:, None])[~np.isnan(series.X).all(axis=1)]
    rank = {}
    for n in (12, 90):
        detector = quick(max_iter=150).fit(series.X[:n], y[:n], label_time=18)
        assert detector.classes_.tolist() == [0, 1, 2]
        score = detector.score_timesteps(series.X, labels, label_time=18)
        rank[n] = roc_auc_score(changed, score[~np.isnan(score)])
    assert rank[90] > rank[12]


def test_years_of_another_look_are_not_called_changed(cerrado):
    """Or a sensor that reads a fifth lower has all land change on New Year's Day."""
    data = cerrado("disjoint")
    X = data.X.copy()
    X[:, :, 46:] = 0.8 * X[:, :, 46:] - 0.05
    detector = HTSVAEDetector(period=23, max_iter=300, random_state=0)
    detector.fit(X, data.y, label_time=11)
    found = (X - detector.date_offset_) / detector.date_gain_
    np.testing.assert_array_equal(found[:, :, :23], X[:, :, :23])
    assert np.abs(found - data.X)[:, :, 46:].mean() < 0.02
    score = detector.score_timesteps(X, data.y, label_time=11)
    assert roc_auc_score((data.Y != data.y[:, None]).ravel(), score.ravel()) > 0.99
    as_they_are = clone(detector).set_params(align_years=False, max_iter=1)
    as_they_are.fit(X, data.y, label_time=11)
    assert (as_they_are.date_gain_ == 1).all()


def test_groups_of_which_none_can_be_held_out_are_warned_of(series):
    """Or thresholds of the training samples pass for those of new fields."""
    detector = quick(max_iter=2)
    message = "None of the 1 groups can be held out.*calibration_fraction=0.2"
    with pytest.warns(UserWarning, match=message):
        detector.fit(series.X, groups=np.zeros(90))
    with pytest.warns(UserWarning, match="None of the 3 groups"):
        detector.fit(series.X, series.y, groups=series.y)  # each has all of a class
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.set_params(calibration_fraction=0.9)
        detector.fit(series.X, groups=np.arange(90) % 2)
        detector.fit(series.X[:8], groups=np.zeros(8))


@pytest.mark.parametrize(
    ("n", "given", "message"),
    [
        (11, dict(), r"takes 10 samples with observations.*and there are 9"),
        (40, dict(groups=np.arange(40) // 20), "none of the 1 groups can be held out"),
    ],
)
def test_early_stopping_without_samples_to_hold_out_says_why(series, n, given, message):
    detector = quick(early_stopping=True)
    with pytest.raises(ValueError, match=message):
        detector.fit(series.X[:n], **given)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (dict(window_length=13), "longer than the season"),
        (dict(window_length=40, period=50), "longer than the series"),
        (dict(smoothing=4), "smoothing must be odd"),
        (dict(dates=np.arange(1, 6)), r"dates has shape \(5,\)"),
        (dict(dates=700036 - np.arange(36)), "dates must not decrease"),
        (dict(reference="nearest"), "reference"),
        (dict(temporal_latent_size=0), "temporal_latent_size"),
        (dict(contamination=0.7), "contamination"),
    ],
)
def test_bad_parameters_are_named(series, params, message):
    with pytest.raises(ValueError, match=message):
        quick(**params).fit(series.X, series.y, label_time=series.label_time)


def test_references_need_what_they_compare_with(series):
    with pytest.raises(ValueError, match="needs y"):
        quick(reference="class").fit(series.X)
    with pytest.raises(ValueError, match="needs label_time"):
        quick(reference="self").fit(series.X)


def test_bad_input_to_scoring_is_named(series, fitted):
    with pytest.raises(ValueError, match="features"):
        fitted.score_timesteps(series.X[:, :2])
    with pytest.raises(ValueError, match="2 dimensions"):
        fitted.score_timesteps(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="labels that fit did not see.*forest"):
        fitted.score_timesteps(series.X[:2], ["forest", "crop"])
    with pytest.raises(ValueError, match="fit was without dates"):
        fitted.score_timesteps(series.X, dates=700000 + np.arange(36))
    with pytest.raises(ValueError, match="does not divide"):
        quick(n_bands=5).fit(np.zeros((4, 12)))


# What a mutation once passed by


def test_smoothing_is_that_of_the_scores(series):
    raw = quick(smoothing=1).fit(series.X, series.y)
    smoothed = quick(smoothing=5).fit(series.X, series.y)
    np.testing.assert_allclose(
        smoothed.score_timesteps(series.X, series.y),
        smooth(raw.score_timesteps(series.X, series.y), 5),
    )


def test_sample_and_mixture_thresholds_are_those_of_the_rate():
    make = dict(n_bands=2, n_years=2, period=12, change_fraction=0, cloud_fraction=0)
    data = make_pixel_series(900, random_state=0, **make)
    old, new = slice(0, 600), slice(600, None)  # the same years' weather
    detector = quick(max_iter=150, false_alarm_rate=0.1)
    detector.fit(data.X[old], data.y[old])
    assert 0.03 < (detector.predict(data.X[new]) == -1).mean() < 0.25
    assert 0.05 < detector.predict_timesteps(data.X[new]).mean() < 0.2


def test_reconstruction_without_class_is_that_of_the_evident_class(series):
    stable = series.break_at < 0
    X, y = series.X[stable], series.y[stable]
    detector = quick(max_iter=300).fit(X, y)
    own, other = detector.reconstruct(X, y), detector.reconstruct(X, (y + 1) % 3)
    mixed = detector.reconstruct(X)
    assert np.abs(mixed - own).mean() < 0.3 * np.abs(mixed - other).mean()


def test_own_season_is_that_of_the_label_time_asked_for(series):
    detector = quick(reference="self").fit(series.X, label_time=5)
    first = detector.reconstruct(series.X, label_time=5)
    assert (first != detector.reconstruct(series.X, label_time=30)).any()
    np.testing.assert_array_equal(first, detector.reconstruct(series.X))


@pytest.mark.parametrize("reference", ["class", "self", "any"])
def test_no_reference_turns_float32_into_float64(series, reference):
    X = series.X.astype(np.float32)
    detector = quick(reference=reference).fit(X, series.y, label_time=5)
    assert detector.score_timesteps(X).dtype == np.float32


def test_threads_that_fit_at_once_do_not_disturb_each_other(series):
    def weights(seed):
        detector = quick(random_state=seed, max_iter=20)
        return detector.fit(series.X, series.y).weights_["slot"]

    together = joblib.Parallel(2, backend="threading")(
        joblib.delayed(weights)(seed) for seed in (0, 1)
    )
    for seed, found in enumerate(together):
        np.testing.assert_array_equal(found, weights(seed))


def test_dates_are_not_routed(series):
    request = quick().get_metadata_routing()
    assert "dates" not in request.predict.requests
    assert "dates" not in request.transform.requests


def test_failed_fit_leaves_the_detector_unfitted(series):
    detector = quick(window_length=99, period=100)
    with pytest.raises(ValueError, match="longer than the series"):
        detector.fit(series.X)
    with pytest.raises(NotFittedError):
        detector.score_samples(series.X)


def test_strides_that_skip_dates_and_days_that_are_none_are_named(series):
    with pytest.raises(ValueError, match="leaves dates between windows uncovered"):
        quick(stride=13).fit(series.X)
    for days in (np.arange(36), 20180101 + np.arange(36), -np.arange(36)[::-1]):
        with pytest.raises(ValueError, match="ordinal days from 1"):
            quick(dates=days).fit(series.X)


def test_parameters_set_after_fit_do_not_change_the_fitted_network(series):
    detector = quick().fit(series.X, series.y)
    before = detector.transform(series.X)
    detector.set_params(hidden_size=7, temporal_latent_size=3)
    np.testing.assert_array_equal(detector.transform(series.X), before)
    assert len(detector.get_feature_names_out()) == before.shape[1]


def test_unknown_devices_are_named(series):
    with pytest.raises(ValueError, match="device='abacus' is none that torch knows"):
        quick(device="abacus").fit(series.X)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch finds no such GPU"):
            quick(device="cuda").fit(series.X)
