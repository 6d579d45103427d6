"""Odd input to the estimators, where a user would otherwise meet a crash or a NaN."""

from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.frozen import FrozenEstimator
from sklearn.naive_bayes import GaussianNB

from sktasgen import (
    BandScaler,
    GibbsExplainer,
    HTSVAEDetector,
    StableSampleRelabeler,
)
from tests.fuzz import odd

N, BANDS, DATES, PERIOD = 8, 2, 8, 4
SHAPE = (N, BANDS, DATES)
IRREGULAR = np.datetime64("2019-11-01") + np.array([0, 3, 3, 90, 200, 201, 400, 720])

Detector = partial(
    HTSVAEDetector, max_iter=2, hidden_size=2, temporal_latent_size=1, random_state=0
)


def Relabeler(detector=None, **params):
    detector = Detector(period=PERIOD) if detector is None else detector
    return StableSampleRelabeler(
        **{
            "detector": detector,
            "classifier": GaussianNB(),
            "date_classifier": GaussianNB(),
            "random_state": 0,
            **params,
        }
    )


Explainer = partial(GibbsExplainer, n_iter=2, burn_in=1, n_chains=1, random_state=0)


def make():
    rng = np.random.default_rng(0)
    y = np.arange(N) % 2
    X = rng.normal(scale=0.3, size=SHAPE) + np.where(y, 1, -1)[:, None, None]
    X[rng.random((N, 1, DATES)).repeat(BANDS, axis=1) < 0.2] = np.nan
    return X, y


@cache
def detectors():
    """Fitted ones, of each reference, of 2-D series, and of irregular dates."""
    X, y = make()
    return [
        Detector(period=PERIOD).fit(X, y, label_time=3),
        Detector(period=PERIOD).fit(X, label_time=3),
        Detector(period=PERIOD).fit(X),
        Detector(period=PERIOD, n_bands=BANDS).fit(X.reshape(N, -1), y),
        Detector(dates=IRREGULAR, smoothing=3).fit(X, np.array(["a", "b"])[y]),
    ]


@cache
def relabelers():
    X, y = make()
    names = np.array(["a", "b"])[y]
    return [
        Relabeler().fit(X, y, label_time=3),
        Relabeler(abstain_below=0.7).fit(X, names),
        Relabeler("drop", dates=IRREGULAR).fit(X, y, label_time=np.arange(N)),
        Relabeler(Detector(n_bands=BANDS)).fit(X.reshape(N, -1), y, label_time=2),
        Relabeler(classifier="drop", switch_cost=[[0, 1], [np.inf, 0]]).fit(X, y),
        Relabeler(date_classifier="drop").fit(X, y, label_time=3),
    ]


@cache
def explainers():
    X, y = make()
    return [
        Explainer(FrozenEstimator(detector), **more).fit(
            X.reshape(N, -1) if detector._series_ndim == 2 else X
        )
        for detector, more in zip(
            detectors(),
            [{}, {}, {"slab": "latents", "correction": "metropolis"}, {}, {}],
            strict=True,
        )
    ]


def series(*flat):
    """Series of about the shape of fit; 2-D where what is drawn of `flat` is true."""
    return st.sampled_from(flat).flatmap(
        lambda f: odd.arrays((N, BANDS * DATES) if f else SHAPE)
    )


def other_series(fitted):
    """Series for a fitted estimator, of as many dimensions or not."""
    return series(*[fitted._series_ndim == 2] * 9, True)


def n_and_dates(estimator, X):
    """How many samples and dates valid series have."""
    X = np.asarray(X)
    return len(X), X.shape[2] if X.ndim == 3 else X.shape[1] // estimator.n_bands_


def check_unscored_only(scores, X, least=3):
    """Scores are finite wherever their sample is scored and the date observed."""
    X = np.asarray(X, dtype=np.float64).reshape(len(scores), -1, scores.shape[1])
    seen = ~np.isnan(X).all(axis=1)
    assert np.isnan(scores[~seen]).all()
    assert not np.isinf(scores).any()
    enough = seen.sum(axis=1) >= min(least, seen.shape[1])
    assert np.isfinite(scores[enough[:, None] & seen]).all()


# --- fit ----------------------------------------------------------------------------

constructors = st.sampled_from([dict(period=PERIOD), dict(), dict(dates=IRREGULAR)])


def odd_or_good(strategy, good):
    """Mostly as it should be: else the first bad argument hides the others."""
    return st.one_of(st.just(good), st.just(good), strategy)


def odd_ones(X, y, *params):
    """Names of what is not as it should be: a refusal must be of one of these."""
    found = {name for some in params for name in some}
    return (*found, *["X"] * (X is not X_GOOD), *["y"] * (y is not Y_GOOD))


X_GOOD, Y_GOOD = make()
detector_params = odd.parameters(
    set(HTSVAEDetector().get_params()) - {"random_state", "checkpoint_dir", "verbose"},
    keep=("batch_size", "n_iter_no_change", "min_observations", "n_bands"),
)


@odd.share(0.2)
@given(
    params=odd_or_good(detector_params, {}),
    more=constructors,
    X=odd_or_good(series(False, True), X_GOOD),
    y=odd_or_good(odd.labels(N), Y_GOOD),
    label_time=odd.label_times(N, DATES),
    groups=odd.groups(N),
    random_state=odd_or_good(st.sampled_from([None, -1, "a", 2**40, True, 1.5]), 0),
)
def test_detector_is_fitted_or_says_why_not(
    params, more, X, y, label_time, groups, random_state
):
    params = {**more, "random_state": random_state, **params}
    detector = Detector(**params)
    fitted = odd.attempt(
        detector.fit, X, y, label_time=label_time, groups=groups,
        named=odd_ones(X, y, params),
    )  # fmt: skip
    if odd.answered(fitted):
        scores = odd.attempt(fitted.score_timesteps, X, named=["X"])
        n, n_dates = n_and_dates(fitted, X)
        assert scores.shape == (n, n_dates)
        if fitted.reference_ != "self":
            check_unscored_only(scores, X, fitted.min_observations)
        assert np.isfinite(fitted.loss_curve_).all()
        assert fitted.predict(X).shape == (n,)


relabeler_params = odd.parameters(
    set(StableSampleRelabeler().get_params()) - {"random_state", "memory"}
)


@odd.share(0.2)
@given(
    params=odd_or_good(relabeler_params, {}),
    of_detector=odd_or_good(constructors, dict(period=PERIOD)),
    drop=st.booleans(),
    X=odd_or_good(series(False), X_GOOD),
    y=odd_or_good(odd.labels(N), Y_GOOD),
    label_time=odd.label_times(N, DATES),
    groups=odd.groups(N),
    sample_weight=odd.weights(N),
    resample=st.booleans(),
)
def test_relabeler_is_fitted_or_says_why_not(
    params, of_detector, drop, X, y, label_time, groups, sample_weight, resample
):
    if drop:
        relabeler = Relabeler(**{"detector": "drop", **of_detector, **params})
    else:
        relabeler = Relabeler(**{"detector": Detector(**of_detector), **params})
    fit_params = {} if sample_weight is None else {"sample_weight": sample_weight}
    fitted = odd.attempt(
        relabeler.fit_resample if resample else relabeler.fit,
        X, y, label_time=label_time, groups=groups, **fit_params,
        # The classifier is blamed if it makes NaN of odd series.
        named=(*odd_ones(X, y, params, of_detector), "classifier"),
    )  # fmt: skip
    if not odd.answered(fitted):
        return
    if resample:
        rows, classes = fitted
        assert len(rows) == len(classes) == len(relabeler.sample_weight_)
        assert rows.shape[1] == relabeler.n_bands_ + 1
        assert np.isfinite(relabeler.sample_weight_).all()
    n, n_dates = n_and_dates(relabeler, X)
    proba = odd.attempt(relabeler.predict_proba_timeline, X, named=["X", "classifier"])
    if not odd.answered(proba):
        return
    check_probability(proba, (n, n_dates, len(relabeler.classes_)))
    assert relabeler.predict_timeline(X).shape == (n, n_dates)


def check_probability(proba, shape):
    assert proba.shape == shape
    np.testing.assert_allclose(proba.sum(axis=-1), 1)


explainer_params = odd.parameters(
    set(GibbsExplainer().get_params()) - {"random_state", "n_jobs", "detector"},
    keep=("batch_size",),
)


@odd.share(0.1)
@given(
    params=explainer_params,
    detector=odd_or_good(odd.anything, None),
    X=odd_or_good(series(False, True), X_GOOD),
    y=odd_or_good(odd.labels(N), Y_GOOD),
    label_time=odd.label_times(N, DATES),
)
def test_explainer_is_fitted_or_says_why_not(params, detector, X, y, label_time):
    if detector is None:
        detector = Detector(period=PERIOD)
    explainer = Explainer(**{"detector": detector, **params})
    fitted = odd.attempt(
        explainer.fit, X, y, label_time=label_time,
        named=(*odd_ones(X, y, params), "detector", "period"),
    )  # fmt: skip
    if odd.answered(fitted):
        X = np.asarray(X, dtype=np.float64)
        found = fitted.transform(X)
        assert found.shape == (len(X), X[0].size)
        check_cell_probability(fitted, found, X)


def check_cell_probability(explainer, found, X):
    X = np.asarray(X, dtype=np.float64).reshape(len(X), explainer.n_bands_, -1)
    found = found.reshape(X.shape)
    known = ~np.isnan(X) & np.isfinite(explainer.band_mean_)[:, None]
    assert np.isnan(found[~known]).all()
    assert ((found[known] >= 0) & (found[known] <= 1)).all()


@odd.share(0.1)
@given(
    params=odd.parameters(["n_bands"]),
    X=series(False, True),
    other=odd_or_good(series(False, True), None),
)
def test_bands_are_scaled_or_it_is_said_why_not(params, X, other):
    scaler = BandScaler(**params)
    if not odd.answered(odd.attempt(scaler.fit, X, named=["X", "n_bands"])):
        return
    other = X if other is None else other
    scaled = odd.attempt(scaler.transform, other, named=["X"])
    if odd.answered(scaled):
        given = np.asarray(other, dtype=np.float64)
        assert scaled.shape == given.shape
        back = odd.attempt(scaler.inverse_transform, scaled, named=["X"])
        if odd.answered(back):
            assert back.shape == scaled.shape


# --- methods of fitted ones ---------------------------------------------------------

which = st.integers(0, 4)
DETECTOR_METHODS = {
    "score_timesteps": ("y", "label_time", "dates"),
    "predict_timesteps": ("y", "label_time", "dates"),
    "score_parts": ("y", "label_time", "dates"),
    "reconstruct": ("y", "label_time", "dates"),
    "score_samples": ("dates",),
    "decision_function": ("dates",),
    "predict": ("dates",),
    "transform": ("dates",),
}


@st.composite
def scoring(draw, fitted, methods):
    """A method of a fitted estimator, series, and the other arguments it takes."""
    estimator = draw(st.sampled_from(fitted))
    method = draw(st.sampled_from(sorted(methods)))
    X = draw(other_series(estimator))
    if draw(st.booleans()):
        X = make()[0].reshape(N, -1) if estimator._series_ndim == 2 else make()[0]
    values = {
        "y": odd.labels(N),
        "label_time": odd.label_times(N, DATES),
        "dates": odd.dates(DATES),
        "changed": st.one_of(
            st.none(), odd.arrays((N, DATES), lambda rng, s: rng.random(s) < 0.3)
        ),
        "sample_weight": odd.weights(N),
    }
    given = {
        name: draw(values[name]) for name in methods[method] if draw(st.booleans())
    }
    return estimator, method, X, given


@odd.share(0.2)
@given(st.data())
def test_detector_scores_or_says_why_not(data):
    detector, method, X, given = data.draw(scoring(detectors(), DETECTOR_METHODS))
    found = odd.attempt(getattr(detector, method), X, **given, named=["X"])
    if not odd.answered(found):
        return
    n, n_dates = n_and_dates(detector, X)
    if method in ("score_timesteps", "predict_timesteps"):
        assert found.shape == (n, n_dates)
    if method == "score_timesteps" and detector.reference_ != "self":
        check_unscored_only(found, X)
    if method == "score_parts":
        for part in found.values():
            assert part.shape == (n, n_dates)
    if method in ("score_samples", "decision_function", "predict"):
        assert found.shape == (n,)
    if method == "predict":
        assert set(found.tolist()) <= {-1, 1}
    if method == "transform":
        assert found.shape == (n, len(detector.get_feature_names_out()))
    if method == "reconstruct":
        assert found.shape == np.shape(X)
        seen = ~np.isnan(np.asarray(X, dtype=np.float64)).all(
            axis=tuple(range(1, found.ndim))
        )
        assert np.isfinite(found[seen]).all()


RELABELER_METHODS = {
    "relabel": ("y", "label_time", "dates"),
    "predict_proba_timeline": ("y", "label_time", "dates"),
    "predict_timeline": ("dates",),
    "predict": ("label_time", "dates"),
    "predict_proba": ("label_time", "dates"),
    "score": ("y", "label_time", "sample_weight"),
}


@odd.share(0.2)
@given(st.data())
def test_relabeler_labels_or_says_why_not(data):
    relabeler, method, X, given = data.draw(scoring(relabelers(), RELABELER_METHODS))
    if method in ("relabel", "score") and "y" not in given:
        given["y"] = np.array(relabeler.classes_)[Y_GOOD]
    found = odd.attempt(
        getattr(relabeler, method), X, **given, named=["X", "y", "classifier"]
    )
    if not odd.answered(found):
        return
    n, n_dates = n_and_dates(relabeler, X)
    n_classes = len(relabeler.classes_)
    known = {*relabeler.classes_.tolist(), relabeler.no_label_}
    if method in ("relabel", "predict_timeline"):
        assert found.shape == (n, n_dates)
        assert set(found.ravel().tolist()) <= known
    elif method == "predict":
        assert found.shape == (n,)
        assert set(found.tolist()) <= known
    elif method == "predict_proba":
        check_probability(found, (n, n_classes))
    elif method == "predict_proba_timeline":
        check_probability(found, (n, n_dates, n_classes))
    else:
        assert np.isnan(found) or 0 <= found <= 1


@odd.share(0.1)
@given(st.data())
def test_explainer_explains_or_says_why_not(data):
    arguments = ("y", "label_time", "dates", "changed")
    methods = {"explain": arguments, "explanation": arguments, "transform": ()}
    explainer, method, X, given = data.draw(scoring(explainers(), methods))
    found = odd.attempt(
        getattr(explainer, method), X, **given, named=["X", "correction"]
    )
    if not odd.answered(found):
        return
    if method == "transform":
        assert found.shape == (len(np.asarray(X)), BANDS * DATES)
    if method != "explanation":
        check_cell_probability(explainer, found, X)
        return
    n, n_dates = n_and_dates(explainer, X)
    assert found.band_importance.shape == (n, BANDS)
    assert found.date_importance.shape == (n, n_dates)
    assert found.change_interval.shape == (n, 2)
    assert found.converged.shape == found.anomalous.shape == (n,)
    coverage = data.draw(odd.anything)
    odd.attempt(found.interval, coverage=coverage)
    frame = odd.attempt(
        found.to_frame,
        sample_names=data.draw(odd.groups(n)),
        band_names=data.draw(odd.groups(BANDS)),
        coverage=data.draw(odd_or_good(odd.anything, 0.9)),
    )
    if odd.answered(frame):
        assert len(frame) == found.X.size


@odd.share(0.1)
@given(st.data())
def test_order_and_number_of_samples_do_not_change_what_is_said_of_one(data):
    X, y = make()
    rows = np.array(data.draw(st.permutations(range(N))))[
        : data.draw(st.integers(1, N))
    ]
    for estimator, method, exact in (
        (data.draw(st.sampled_from(detectors())), "score_timesteps", False),
        (data.draw(st.sampled_from(relabelers())), "predict_proba_timeline", True),
        (data.draw(st.sampled_from(explainers()[:2])), "explain", False),
    ):
        given = X.reshape(N, -1) if estimator._series_ndim == 2 else X
        whole, part = (
            getattr(estimator, method)(part) for part in (given, given[rows])
        )
        np.testing.assert_allclose(
            part, whole[rows], rtol=0 if exact else 1e-4, atol=1e-12 if exact else 1e-4
        )


# --- files --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "detector.safetensors"
    detectors()[0].save(path)
    return path


@odd.share(0.1)
@given(data=st.data())
def test_a_damaged_file_is_refused(saved, data):
    content = bytearray(saved.read_bytes())
    header = int.from_bytes(content[:8], "little") + 8
    for _ in range(data.draw(st.integers(1, 3))):
        # Mostly in what tells of the arrays: their values may be anything.
        at = data.draw(st.integers(0, min(header, len(content)) - 1))
        content[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.sampled_from([len(content)] * 3 + [0, 7, 8, header, -1]))
    path = saved.with_name("damaged")
    path.write_bytes(content[:end])
    loaded = odd.attempt(HTSVAEDetector.load, path, named=["damaged"])
    if odd.answered(loaded):
        assert isinstance(loaded, HTSVAEDetector)


@odd.share(0.03)
@given(path=odd.anything, device=odd.anything)
def test_odd_paths_are_refused(path, device, tmp_path_factory):
    refusals = (ValueError, TypeError, OSError)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.getbasetemp())
        odd.attempt(detectors()[0].save, path=path, refusals=refusals)
        odd.attempt(HTSVAEDetector.load, path=path, device=device, refusals=refusals)
