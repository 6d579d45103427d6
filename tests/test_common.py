"""scikit-learn's checks on every estimator, with none expected to fail.

scikit-learn never makes 3-D series, NaN or samples without observation: the
checks of our own below do, on every estimator alike.
"""

import subprocess
import sys

import joblib
import numpy as np
import pytest
import skops.io
import xarray
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

import sktasgen
from sktasgen import (
    BandScaler,
    GibbsExplainer,
    HTSVAEDetector,
    StableSampleRelabeler,
)

# Small networks and forests: conformance does not depend on their size.
DETECTOR = HTSVAEDetector(max_iter=20, random_state=0)
FOREST = RandomForestClassifier(n_estimators=20, random_state=0)
ESTIMATORS = [
    BandScaler(),
    DETECTOR,
    StableSampleRelabeler(DETECTOR, FOREST, FOREST, random_state=0),
    GibbsExplainer(DETECTOR, n_iter=4, burn_in=1, n_chains=1, random_state=0),
]

every_estimator = pytest.mark.parametrize(
    "estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__
)


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


def fit(estimator, X, y, label_time=None):
    """Fit a clone, with a label_time where the estimator takes one."""
    estimator = clone(estimator)
    if isinstance(estimator, BandScaler):
        return estimator.fit(X)
    return estimator.fit(X, y, label_time=label_time)


def outputs(estimator, X, y, label_time=None):
    """Whatever the fitted estimator gives, by method."""
    found = {}
    for method in ("transform", "score_samples", "predict", "predict_proba"):
        if hasattr(estimator, method):
            found[method] = getattr(estimator, method)(X)
    held = () if label_time is None else ("relabel",)  # it needs a date to hold
    for method in ("score_timesteps", "predict_timesteps", "explain", *held):
        if hasattr(estimator, method):
            call = getattr(estimator, method)
            found[method] = call(X, y, label_time=label_time)
    for method in ("predict_timeline", "predict_proba_timeline"):
        if hasattr(estimator, method):
            found[method] = getattr(estimator, method)(X)
    return found


def same(first, second):
    """Whether two results of `outputs` are equal to the bit."""
    assert first.keys() == second.keys()
    for method, value in first.items():
        np.testing.assert_array_equal(value, second[method], err_msg=method)


def make(n=24, n_bands=2, n_timesteps=16, gaps=0.2, seed=0):
    """Two classes that differ in their season, with gaps."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    season = np.sin(2 * np.pi * np.arange(n_timesteps) / 8)
    X = rng.normal(scale=0.3, size=(n, n_bands, n_timesteps))
    X += np.where(y, 1, -1)[:, None, None] * season
    X[rng.random((n, 1, n_timesteps)).repeat(n_bands, axis=1) < gaps] = np.nan
    return X, y


@every_estimator
@pytest.mark.parametrize(
    "size",
    [
        dict(),
        dict(gaps=0),
        dict(gaps=0.8),
        dict(n=16),  # as many dates as samples
        dict(n_bands=1),
        dict(n_timesteps=1, gaps=0),
    ],
    ids=str,
)
def test_three_dimensional_series(estimator, size):
    X, y = make(**size)
    times = np.arange(len(X)) % X.shape[2]
    for label_time in (None, 0, times):
        fitted = fit(estimator, X, y, label_time)
        for method, value in outputs(fitted, X, y, label_time).items():
            assert len(value) == len(X), method


@every_estimator
def test_one_sample(estimator):
    X, y = make(n=1, gaps=0)
    if isinstance(estimator, StableSampleRelabeler):
        with pytest.raises(ValueError, match="class"):
            fit(estimator, X, y)
    else:
        outputs(fit(estimator, X, y), X, y)


@every_estimator
def test_sample_without_observation(estimator):
    X, y = make()
    X[3] = np.nan
    fitted = fit(estimator, X, y, 4)
    found = outputs(fitted, X, y, 4)
    for method in ("transform", "score_samples", "score_timesteps", "explain"):
        if method in found:
            assert np.isnan(found[method][3]).all(), method
    if "stable_mask_" in vars(fitted):
        assert not fitted.stable_mask_[3]
        assert (found["relabel"][3] == y[3]).all()
        assert np.isfinite(found["predict_proba_timeline"]).all()


@every_estimator
@pytest.mark.parametrize("labels", ["ab", (-1, 1), (False, True), (3, 7)], ids=str)
def test_labels_of_any_kind(estimator, labels):
    X, y = make()
    named = np.array(list(labels))[y]
    fitted = fit(estimator, X, named, 4)
    found = outputs(fitted, X, named, 4)
    for method in ("relabel", "predict_timeline"):
        if method in found:
            assert found[method].dtype == named.dtype
            assert set(found[method].ravel().tolist()) <= set(labels)


@every_estimator
def test_read_only_and_strided_input_is_never_modified(estimator):
    X, y = make()
    for layout in (np.asfortranarray(X), np.repeat(X, 2, axis=2)[:, :, ::2]):
        layout.flags.writeable = False
        times = np.arange(len(X)) % X.shape[2]
        times.flags.writeable = False
        fitted = fit(estimator, layout, y, times)
        same(outputs(fitted, layout, y, times), outputs(fitted, X.copy(), y, times))
        np.testing.assert_array_equal(layout, X)


@every_estimator
def test_float32_is_kept(estimator):
    X, y = make()
    X = X.astype(np.float32)
    fitted = fit(estimator, X, y, 4)
    for method, value in outputs(fitted, X, y, 4).items():
        if method in ("transform", "score_timesteps", "explain"):
            assert value.dtype == np.float32, method


@every_estimator
def test_two_dimensional_series_are_the_same_band_after_band(estimator):
    X, y = make()
    flat = X.reshape(len(X), -1)
    # The number of bands belongs to whoever looks at the series first.
    inner = {"detector__n_bands", "n_bands"} & set(estimator.get_params())
    banded = clone(estimator).set_params(**dict.fromkeys(inner, 2))
    found = outputs(fit(banded, flat, y, 4), flat, y, 4)
    expected = outputs(fit(estimator, X, y, 4), X, y, 4)
    for method, value in expected.items():
        np.testing.assert_array_equal(found[method].ravel(), value.ravel(), method)


@every_estimator
def test_same_seed_same_bits_whatever_the_threads(estimator):
    X, y = make()
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(outputs(fit(estimator, X, y, 4), X, y, 4))
    same(*found)


@every_estimator
def test_global_random_state_is_left_alone(estimator):
    import torch

    X, y = make()
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    outputs(fit(estimator, X, y, 4), X, y, 4)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


@every_estimator
def test_saved_estimator_gives_the_same_in_a_fresh_process(estimator, tmp_path):
    X, y = make()
    fitted = fit(estimator, X, y, 4)
    joblib.dump((fitted, X, y), tmp_path / "in.joblib")
    code = (
        "import joblib; from tests.test_common import outputs;"
        f"fitted, X, y = joblib.load({str(tmp_path / 'in.joblib')!r});"
        f"joblib.dump(outputs(fitted, X, y, 4), {str(tmp_path / 'out.joblib')!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    same(joblib.load(tmp_path / "out.joblib"), outputs(fitted, X, y, 4))


@every_estimator
def test_skops_saves_without_running_code_on_loading(estimator):
    X, y = make()
    fitted = fit(estimator, X, y, 4)
    saved = skops.io.dumps(fitted)
    unknown = skops.io.get_untrusted_types(data=saved)
    # Nothing to trust but the estimators themselves (and the forests' own trees).
    ours = {name for name in unknown if name.startswith("sktasgen.")}
    assert set(unknown) - ours <= {"sklearn.tree._tree.Tree"}
    assert all(hasattr(sktasgen, name.split(".")[-1]) for name in ours)
    same(
        outputs(skops.io.loads(saved, trusted=unknown), X, y, 4),
        outputs(fitted, X, y, 4),
    )


@every_estimator
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.full((24, 2, 16), np.inf), "infinity"),
        (np.zeros((24, 2, 4, 4)), "4 dimensions"),
        (np.zeros(24), "1D array"),
        (np.full((24, 2, 16), "a"), "could not convert|numeric"),
        (np.zeros((24, 2, 0)), "0 timesteps|0 feature"),
    ],
    ids=["inf", "4-D", "1-D", "text", "no dates"],
)
def test_bad_series_are_named(estimator, X, message):
    y = np.arange(24) % 2
    with pytest.raises(ValueError, match=message):
        fit(estimator, X, y)


@every_estimator
def test_other_bands_than_in_fit_are_named(estimator):
    X, y = make()
    fitted = fit(estimator, X, y, 4)
    with pytest.raises(ValueError, match="features"):
        outputs(fitted, X[:, :1], y, 4)


@pytest.mark.parametrize("estimator", ESTIMATORS[1:], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    ("label_time", "error"),
    [(16, ValueError), (-1, ValueError), ([1, 2], ValueError), (0.5, TypeError)],
    ids=str,
)
def test_bad_label_times_are_named(estimator, label_time, error):
    X, y = make()
    with pytest.raises(error, match="label_time"):
        fit(estimator, X, y, label_time)


@pytest.mark.parametrize("estimator", ESTIMATORS[1:], ids=lambda e: type(e).__name__)
def test_labels_of_another_length_are_named(estimator):
    X, y = make()
    with pytest.raises(ValueError, match="y has 5 labels|inconsistent"):
        fit(estimator, X, y[:5], 4)


@pytest.mark.parametrize("estimator", ESTIMATORS[1:], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("nothing", [None, np.nan])
def test_samples_may_lack_a_label_in_fit(estimator, nothing):
    X, y = make()
    labels = y.astype(object)
    labels[[3, 5]] = nothing
    fitted = fit(estimator, X, labels, 4)
    same(outputs(fitted, X, y, 4), outputs(fit(estimator, X, labels, 4), X, y, 4))
    with pytest.raises(ValueError, match="y holds no label .*any of the 24 samples"):
        fit(estimator, X, np.full(24, nothing), 4)


# --- names of bands -----------------------------------------------------------------


def with_band_names(X, names):
    return xarray.DataArray(X, dims=("sample", "band", "time"), coords={"band": names})


@every_estimator
def test_names_of_bands_are_remembered_and_held_to(estimator):
    # Else a cube whose bands come in another order is mapped as if they did not.
    X = np.random.RandomState(0).normal(size=(12, 2, 9))
    y = np.arange(12) % 2
    estimator = clone(estimator).fit(with_band_names(X, ["B4", "B8"]), y)
    assert estimator.band_names_in_.tolist() == ["B4", "B8"]
    method = getattr(estimator, "transform", None) or estimator.predict
    named = method(with_band_names(X, ["B4", "B8"]))
    np.testing.assert_array_equal(named, method(X))
    with pytest.raises(ValueError, match=r"\['B8', 'B4'\].*fitted on \['B4', 'B8'\]"):
        method(with_band_names(X, ["B8", "B4"]))
    assert not hasattr(estimator.fit(X, y), "band_names_in_")
