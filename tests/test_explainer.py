"""GibbsExplainer against exact posteriors of linear-Gaussian detectors.

The detectors here are stand-ins whose posterior is known in closed form. They offer
what an explainer may ask of a detector and no more.
"""

import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from sktasgen import BandScaler, GibbsExplainer, HTSVAEDetector
from sktasgen._validation import check_series
from sktasgen.chains import Chain
from sktasgen.datasets import make_pixel_series
from sktasgen.metrics import cell_attribution_ap
from tests import reference


class BandDetector(BaseEstimator):
    """No latents: every cell of a band is N(mean of the band, its variance)."""

    def __init__(self, n_bands=1, random_state=None):
        self.n_bands = n_bands
        self.random_state = random_state

    def fit(self, X, y=None, *, label_time=None):
        series = check_series(self, X, reset=True)
        self.mean_ = np.nanmean(series, axis=(0, 2))[:, None]
        self.std_ = np.nanstd(series, axis=(0, 2))[:, None]
        self.fitted_with_ = y, label_time
        return self

    def _posterior_draw(self, X, missing, y, label_time, rng):
        self.asked_with_ = y, label_time
        return self.mean_ + np.zeros(X.shape), self.std_ + np.zeros(X.shape)


class LinearGaussianDetector(BaseEstimator):
    """Probabilistic PCA: x = mean + W z + noise, z and noise normal."""

    def __init__(self, n_latents=2, n_bands=1):
        self.n_latents = n_latents
        self.n_bands = n_bands

    def fit(self, X, y=None, *, label_time=None):
        series = check_series(self, X, reset=True)
        flat = series.reshape(len(series), -1)
        values, vectors = np.linalg.eigh(np.cov(flat.T))
        noise = values[: -self.n_latents].mean()
        return self.set_model(
            flat.mean(axis=0),
            vectors[:, -self.n_latents :] * np.sqrt(values[-self.n_latents :] - noise),
            np.sqrt(noise),
            self.n_bands_,
        )

    def set_model(self, mean, weights, noise, n_bands):
        self.mean_, self.weights_, self.noise_ = mean, weights, noise
        self.n_bands_ = n_bands
        return self

    def posterior(self, X, missing):
        """Mean and covariance of the latents of each sample."""
        flat = X.reshape(len(X), -1)
        seen = ~(missing.reshape(flat.shape) | np.isnan(flat))
        residual = np.where(seen, flat - self.mean_, 0)[:, :, None]
        W = self.weights_ / self.noise_
        seen_W = np.where(seen[:, :, None], W, 0)
        covariance = np.linalg.inv(np.eye(W.shape[1]) + W.T @ seen_W)
        return covariance @ (W.T @ residual) / self.noise_, covariance

    def _posterior_draw(self, X, missing, y, label_time, rng):
        mean, covariance = self.posterior(X, missing)
        noise = rng.standard_normal((len(X), self.weights_.shape[1]))
        z = mean + np.linalg.cholesky(covariance) @ noise[:, :, None]
        return self.decode(z, X.shape)

    def decode(self, z, shape):
        decoded = self.mean_ + (self.weights_ @ z)[:, :, 0]
        return decoded.reshape(shape), np.full(shape, self.noise_)

    def _latent_draw(self, X, missing, y, label_time, rng):
        mean, covariance = self.posterior(X, missing)
        noise = rng.standard_normal((len(X), self.weights_.shape[1]))
        z = mean + np.linalg.cholesky(covariance) @ noise[:, :, None]
        latents = [z[:, None, :, 0]]
        weight = self._latent_log_weight(X, missing, y, label_time, latents)
        block = np.zeros(X.shape[2], dtype=int)
        return latents, *self.decode(z, X.shape), weight, block

    def _latent_log_weight(self, X, missing, y, label_time, latents):
        z = latents[0][:, 0, :, None]
        mean, covariance = self.posterior(X, missing)
        away = z - mean
        square = (np.swapaxes(away, 1, 2) @ np.linalg.solve(covariance, away))[:, 0, 0]
        posterior = -0.5 * (square + np.linalg.slogdet(covariance)[1])
        return (-0.5 * (z**2).sum(axis=(1, 2)) - posterior)[:, None]


def tiny_problem():
    """A linear-Gaussian model of 2 bands x 5 dates and one odd series with gaps."""
    rng = np.random.default_rng(1)
    detector = LinearGaussianDetector().set_model(
        mean=rng.normal(size=10),
        weights=rng.normal(size=(10, 2)),
        noise=1.0,
        n_bands=2,
    )
    x = detector.mean_ + detector.weights_ @ rng.normal(size=2) + rng.normal(size=10)
    x = x.reshape(2, 5)
    x[0, 1:3] += 3
    x[1, 4] -= 3
    x[0, 3] = x[1, 0] = np.nan
    return detector, x


def exact_probabilities(detector, x, explainer):
    """Cell probabilities by enumerating every state, all else integrated out."""
    observed = ~np.isnan(x)
    offset = np.kron(np.diag(explainer.offset_std_**2), np.ones((x.shape[1],) * 2))
    common = detector.weights_ @ detector.weights_.T + offset
    slab_std = explainer.slab_scale * explainer.band_std_[:, None] + np.zeros(x.shape)
    slab = norm.logpdf(x, explainer.band_mean_[:, None], slab_std)
    noise = detector.noise_ * explainer.noise_scale_[:, None] + np.zeros(x.shape)
    rates, lengths = np.meshgrid(explainer.flag_rate, explainer.run_length)
    prior = rates.ravel(), lengths.ravel(), explainer.band_coupling

    def log_joint(state):
        total = reference.cell_log_prior(state, observed, *prior)
        spread = noise.copy()
        if explainer.slab == "latents":
            about_latents = np.flatnonzero(observed)
            spread[state] = slab_std[state]
        else:
            about_latents = np.flatnonzero(observed & ~state)
            total += slab[state].sum()
        covariance = common + np.diag(spread.ravel() ** 2)
        if len(about_latents):
            total += multivariate_normal.logpdf(
                x.ravel()[about_latents],
                detector.mean_[about_latents],
                covariance[np.ix_(about_latents, about_latents)],
            )
        return total

    return reference.cell_probabilities(observed, log_joint)


def repeated(x, n):
    """n copies of a series that differ enough to have streams of their own."""
    return x + 1e-9 * np.arange(n)[:, None, None]


FITTED = ("band_mean_", "band_std_", "offset_std_", "noise_scale_")


def estimated(n=3000, offset_std=0.0, noise_scale=1.0, **params):
    """Monte-Carlo and exact probabilities of a tiny problem, and their standard error.

    With a function that gives the exact ones under other parameters.
    """
    detector, x = tiny_problem()
    fit_data = np.random.default_rng(0).normal([[[0.3], [-0.5]]], 1.4, (200, 2, 5))
    params = {
        "n_iter": 30,
        "burn_in": 60,
        "n_chains": 1,
        "flag_rate": [0.1, 0.3],
        "run_length": [1.5, 3.0],
        "slab_scale": 2.0,
        "random_state": 0,
    } | params
    explainer = GibbsExplainer(FrozenEstimator(detector), **params).fit(fit_data)
    # Not what the data say, which the detector knows nothing of.
    explainer.offset_std_ = np.full(2, offset_std)
    explainer.noise_scale_ = np.full(2, noise_scale)
    observed = ~np.isnan(x)
    estimates = explainer.explain(repeated(x, n))
    assert np.isnan(estimates[:, ~observed]).all()
    error = estimates.std(axis=0)[observed] / np.sqrt(n)
    assert error.max() < 0.01

    def exact(offset_std=offset_std, **other):
        mutant = clone(explainer).set_params(**other)
        for name in FITTED:
            setattr(mutant, name, getattr(explainer, name))
        mutant.offset_std_ = np.full(2, offset_std)
        return exact_probabilities(detector, x, mutant)[observed]

    return estimates.mean(axis=0)[observed], error, exact


CORRECTED = {"correction": "metropolis", "n_iter": 60, "burn_in": 120}
WRONG = [{"run_length": [1.5]}, {"flag_rate": [0.2]}, {"slab_scale": 2.5}]


@pytest.mark.parametrize(
    ("params", "wrongs"),
    [
        ({}, [*WRONG, {"band_coupling": 0.2}, {"offset_std": 0.5}]),
        ({"band_coupling": 0.7}, [*WRONG, {"band_coupling": 0.4}]),
        ({"offset_std": 0.8, "n_iter": 60}, [*WRONG, {"offset_std": 0.3}]),
        (CORRECTED, WRONG),
        (CORRECTED | {"slab": "latents"}, [*WRONG, {"slab": "band"}]),
        (
            CORRECTED | {"slab": "latents", "offset_std": 0.8},
            [*WRONG, {"slab": "band"}, {"offset_std": 0.3}],
        ),
        (CORRECTED | {"noise_scale": 0.7, "n": 2000}, WRONG),
    ],
    ids=[
        *("pseudo", "bands", "offset", "corrected", "centred", "centred with offset"),
        "corrected for noise",
    ],
)
@pytest.mark.filterwarnings("ignore:The chains of")
def test_probabilities_match_the_exact_posterior(params, wrongs):
    """Explanations would be wrong even where the detector is perfect.

    The exact answers under wrong parameters lie far outside the Monte-Carlo error, so
    a slip in any of them fails the test.
    """
    estimate, error, exact = estimated(**params)
    assert exact().min() < 0.3 and exact().max() > 0.8  # a problem with both answers
    np.testing.assert_array_less(np.abs(estimate - exact()), 4.5 * error)
    for wrong in wrongs:
        assert (np.abs(estimate - exact(**wrong)) / error).max() > 9, wrong


@pytest.mark.filterwarnings("ignore:The chains of")
def test_draws_from_the_true_posterior_are_always_accepted():
    """A slip in the acceptance ratio would throw away what is right."""
    detector, x = tiny_problem()
    fit_data = np.random.default_rng(0).normal(size=(50, 2, 5))
    explainer = GibbsExplainer(
        FrozenEstimator(detector), correction="metropolis", random_state=0
    ).fit(fit_data[:9])  # too few to learn of other noise from
    found = explainer.explanation(repeated(x, 5))
    np.testing.assert_array_equal(found.acceptance, 1)
    # Not so where cells that are set aside have a say.
    centred = clone(explainer).set_params(slab="latents").fit(fit_data[:9])
    assert (centred.explanation(repeated(x, 5)).acceptance < 1).all()


@pytest.mark.filterwarnings("ignore:The chains of")
def test_a_slab_about_the_latents_needs_the_correction():
    """Without one, cells that are set aside should have had a say in the latents."""
    estimate, error, exact = estimated(slab="latents")
    assert (np.abs(estimate - exact()) / error).max() > 9


@pytest.mark.filterwarnings("ignore:The chains of")
def test_other_noise_than_the_detector_knows_needs_the_correction():
    estimate, error, exact = estimated(noise_scale=0.7)
    assert (np.abs(estimate - exact()) / error).max() > 9


class Improbable(LinearGaussianDetector):
    """Every draw after the first is as improbable as can be, and unlike it."""

    def _latent_draw(self, X, missing, y, label_time, rng):
        latents, mean, std, weight, block = super()._latent_draw(
            X, missing, y, label_time, rng
        )
        n_before = vars(self).get("n_draws_", 0)
        self.n_draws_ = n_before + 1
        return latents, mean, std + n_before, weight - 1e9 * n_before, block


def test_a_draw_that_is_not_accepted_leaves_no_trace(X):
    detector = Improbable().fit(X[8:])
    explainer = small(correction="metropolis")
    explainer.set_params(detector=FrozenEstimator(detector)).fit(X[8:])
    nothing = np.zeros((3, X.shape[2]), dtype=bool)
    chain = Chain(explainer, detector, 0, X[:3], None, None, nothing, None)
    chain.offset_std, chain.noise_scale = np.zeros(4), np.ones(4)
    chain.sweep(weigh=True, correct=True)
    before = [chain.mean, chain.std, chain.latents[0]]
    for _ in range(3):
        chain.sweep(weigh=True, correct=True)
        assert (chain.accepted == 0).all()
    for now, then in zip(
        (chain.mean, chain.std, chain.latents[0]), before, strict=True
    ):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("correction", [None, "metropolis"])
def test_dates_known_to_have_changed_say_nothing_of_the_others(X, correction):
    """Neither latents, nor offsets, nor what is accepted may heed them."""
    explainer = small(correction=correction).fit(X[8:])
    explainer.offset_std_ = np.ones(4)
    changed = np.zeros((3, X.shape[2]), dtype=bool)
    changed[:, 15:] = True
    drawn = []
    for values in (X[:3], np.where(changed[:, None], 9.0, X[:3])):
        chain = Chain(
            explainer, explainer.detector_, 0, X[:3], None, None, changed, None
        )
        chain.X = chain.values = values
        chain.offset_std, chain.noise_scale = explainer.offset_std_, np.ones(4)
        for _ in range(5):
            # What is found at these dates must not come back by way of the others.
            chain.regimes = np.array([0.1]), np.array([10 / 9])  # apart
            chain.sweep(weigh=correction, correct=bool(correction))
        drawn.append([chain.offset, chain.mean[:, :, :15], chain.state[:, :, :15]])
    for first, second in zip(*drawn, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_band_that_fit_never_saw_has_no_say(X):
    unseen = np.where(np.arange(4)[:, None] == 1, np.nan, X)
    explainer = GibbsExplainer(
        FrozenEstimator(LinearGaussianDetector().fit(X[8:])), random_state=0
    ).fit(unseen)
    found = explainer.explain(unseen)
    strange = explainer.explain(np.where(np.arange(4)[:, None] == 1, 50.0, X))
    assert np.isnan(strange[:, 1]).all()
    # Streams follow the values that were given: other draws of the same.
    rest = [0, 2, 3]
    assert np.nanmean(np.abs(strange[:, rest] - found[:, rest])) < 0.03


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_beyond_all_bounds_is_anomalous_and_nothing_else(X, dtype):
    """One forgotten no-data value would make NaN of the sample, or not be told of."""
    data = make_pixel_series(20, n_bands=2, n_years=2, period=12, random_state=0)
    series = data.X.astype(dtype)
    detector = HTSVAEDetector(period=12, max_iter=5, random_state=0)
    explainer = small().set_params(detector=detector).fit(series)
    cell = tuple(np.argwhere(~np.isnan(series[0]))[0])
    series[0][cell] = np.finfo(dtype).min
    with pytest.raises(ValueError, match=r"X has the value -\d.*expected NaN where"):
        explainer.explanation(series)
    series[0][cell] = -1e15  # the least that is taken
    found = explainer.explanation(series)
    assert found.probability[0][cell] > 0.99
    np.testing.assert_array_equal(np.isnan(found.probability), np.isnan(series))
    assert np.isfinite(found.counterfactual[0]).all()


def test_dates_of_an_explanation_are_dates_or_nothing(X):
    days = [738000 + 16 * t for t in range(24)]

    class Calendar(BandDetector):
        dates = days

        def _posterior_draw(self, X, missing, y, label_time, rng, dates=None):
            return super()._posterior_draw(X, missing, y, label_time, rng)

    explainer = small().set_params(detector=Calendar()).fit(X)
    assert explainer.explanation(X).dates[0] == np.datetime64("2021-07-29")
    assert explainer.explanation(X[:, :, :10]).dates is None


def test_probabilities_match_the_exact_posterior_of_a_detector_without_latents():
    """The marginals of the Ising chain itself would be off."""
    rng = np.random.default_rng(1)
    fit_data = rng.normal(1.0, 0.5, (100, 2, 5))
    x = rng.normal(1.0, 0.8, (2, 5))
    x[1, 2] = np.nan
    explainer = GibbsExplainer(
        BandDetector(), n_chains=1, slab_scale=3, random_state=0
    ).fit(fit_data)
    explainer.offset_std_, explainer.noise_scale_ = np.zeros(2), np.ones(2)
    detector = LinearGaussianDetector().set_model(
        np.repeat(explainer.detector_.mean_, 5), np.zeros((10, 1)), 1.0, 2
    )
    # The enumeration knows one noise level: bring both bands to it.
    assert abs(np.ptp(explainer.detector_.std_)) < 0.05
    explainer.detector_.std_[:] = detector.noise_ = 0.5
    exact = exact_probabilities(detector, x, explainer)
    estimates = explainer.explain(repeated(x, 2000))
    seen = ~np.isnan(x)
    error = estimates.std(axis=0)[seen] / np.sqrt(len(estimates))
    off = np.abs(estimates.mean(axis=0) - exact)[seen]
    np.testing.assert_array_less(off, 4.5 * error + 1e-5)


def seasonal_series(n_samples, rng, n_bands=4, n_timesteps=24):
    """Seasons of random strength and phase, bands that follow them, little noise."""
    t = 2 * np.pi * np.arange(n_timesteps) / 12
    a, b = rng.normal(1, 0.4, (2, n_samples, 1, 1))
    gain = np.linspace(0.5, 2, n_bands)[:, None]
    season = gain * (a * np.sin(t) + b * np.cos(t))
    return season + 0.2 * rng.normal(size=(n_samples, n_bands, n_timesteps))


def test_injected_anomalies_are_found_better_than_by_standardised_residuals():
    """A plain |x - mu| / sigma would do, and the sampler would be for nothing."""
    rng = np.random.default_rng(0)
    explainer = GibbsExplainer(LinearGaussianDetector(n_latents=4), random_state=0)
    explainer.fit(seasonal_series(300, rng, n_timesteps=12))
    X = seasonal_series(100, rng, n_timesteps=12)
    truth = np.zeros(X.shape, dtype=bool)
    for i in range(100):
        start = rng.integers(0, 12 - 4)
        truth[i, rng.permutation(4)[:2], start : start + 4] = True
    X[truth] += 0.8
    X[rng.random(X.shape) < 0.2] = np.nan
    seen = ~np.isnan(X)
    probability = explainer.explain(X)
    detector = explainer.detector_
    z, _ = detector.posterior(X, ~seen)
    fitted = (detector.mean_ + (detector.weights_ @ z)[:, :, 0]).reshape(X.shape)
    residual = np.abs(X - fitted) / detector.noise_
    ours = average_precision_score(truth[seen], probability[seen])
    theirs = average_precision_score(truth[seen], residual[seen])
    assert ours > theirs + 0.05 and ours > 0.9


@pytest.fixture(scope="module")
def X():
    X = seasonal_series(20, np.random.default_rng(5))
    X[3, 2, 4:9] = np.nan
    X[7] = np.nan
    X[11, 1] += 2
    X.flags.writeable = False
    return X


def small(**params):
    """An explainer that is quick to run."""
    params = {"n_iter": 4, "burn_in": 2, "random_state": 0} | params
    return GibbsExplainer(LinearGaussianDetector(), **params)


@pytest.fixture(scope="module")
def explainer(X):
    return small().fit(X[[0, 1, 2, 4, 5, 6, 8, 9, 10, 12]])


def test_nan_only_and_exactly_where_not_observed(explainer, X):
    """A clouded date would pass for normal, or an observed one go unexplained."""
    before = X.copy()
    probability = explainer.explain(X)
    assert probability.shape == X.shape
    np.testing.assert_array_equal(np.isnan(probability), np.isnan(X))
    assert np.isnan(probability[7]).all()
    assert np.nanmin(probability) >= 0 and np.nanmax(probability) <= 1
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_answers_do_not_depend_on_the_other_samples(explainer, X, batch_size):
    """A pixel's explanation would depend on the tile it was read with."""
    expected = explainer.explain(X)
    other = clone(explainer).set_params(batch_size=batch_size)
    other.__dict__.update(
        {k: v for k, v in vars(explainer).items() if k.endswith("_") or k[0] == "_"}
    )
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(other.explain(X[order]), expected[order])
    np.testing.assert_array_equal(other.explain(X[5:8]), expected[5:8])


def test_same_seed_same_bits(X):
    """Published explanations could not be repeated."""
    stable = X[[0, 1, 2, 4, 5, 6]]
    first, again, other = (
        small(random_state=seed).fit(stable).explain(X) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)
    explainer = small(random_state=None).fit(stable)
    np.testing.assert_array_equal(explainer.explain(X), explainer.explain(X))


def test_global_random_state_is_left_alone(X):
    """The user's own draws would change."""
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.get_state()[1].copy()  # noqa: NPY002
    small().fit(X[8:]).explain(X)
    np.testing.assert_array_equal(np.random.get_state()[1], expected)  # noqa: NPY002


def test_one_seed_reaches_an_unseeded_detector_only(X):
    """random_state=0 would not repeat a fit with a random detector in it."""
    seeds = [
        GibbsExplainer(BandDetector(random_state=given), random_state=0)
        .fit(X)
        .detector_.random_state
        for given in (None, None, 42)
    ]
    assert seeds[0] == seeds[1] is not None and seeds[2] == 42


def test_chains_and_sweeps_average_out(X):
    """More sweeps or chains would buy no precision."""
    fitted = X[[0, 1, 2, 4, 5, 6]]
    probability = [
        # Burnt in for as long as chains remember where they began.
        small(n_iter=n_iter, n_chains=n_chains, burn_in=20, random_state=seed)
        .fit(fitted)
        .explain(X[8:])
        for n_iter, n_chains in ((2, 1), (2, 16), (32, 1))
        for seed in (0, 1)
    ]
    spread = [
        np.abs(a - b).mean()
        for a, b in zip(probability[::2], probability[1::2], strict=True)
    ]
    assert spread[1] < 0.5 * spread[0] and spread[2] < 0.5 * spread[0]


def test_flat_series_give_the_same_answers(X):
    """2-D users would be given another method."""
    flat = X.reshape(len(X), -1)
    deep = GibbsExplainer(BandDetector(), random_state=0).fit(X)
    wide = GibbsExplainer(BandDetector(n_bands=4), random_state=0).fit(flat)
    np.testing.assert_array_equal(wide.explain(flat), deep.explain(X))
    assert wide.explain(flat).shape == X.shape
    frozen = GibbsExplainer(FrozenEstimator(deep.detector_)).fit(flat)
    assert frozen.n_bands_ == 4 and frozen.n_features_in_ == 96


def test_transform_is_explain_laid_flat(explainer, X):
    """Features would not be the documented ones."""
    features = explainer.transform(X)
    np.testing.assert_array_equal(features, explainer.explain(X).reshape(len(X), -1))
    names = explainer.get_feature_names_out()
    assert len(names) == 96 and names[-1] == "gibbsexplainer95"


def test_another_number_of_dates_is_explained_but_not_transformed(X):
    """Features of another width would reach the next step of a pipeline."""
    explainer = GibbsExplainer(BandDetector(), random_state=0).fit(X)
    assert explainer.explain(X[:, :, :10]).shape == (20, 4, 10)
    with pytest.raises(ValueError, match="X has 10 timesteps.*24 timesteps"):
        explainer.transform(X[:, :, :10])


def test_float32_stays_float32(explainer, X):
    """Rasters would double in size on the way."""
    single, double = explainer.explain(X.astype(np.float32)), explainer.explain(X)
    assert single.dtype == np.float32 and double.dtype == np.float64
    # One draw that rounding decides the other way takes a chain elsewhere.
    assert np.nanmean(np.abs(single - double)) < 0.01


def test_the_slab_is_the_spread_of_each_band_in_fit(X):
    """Anomalous values would be sought where the band never goes."""
    shifted = X + np.array([0.0, 3.0, -2.0, 0.0])[:, None]
    shifted[:, 3] = 0.1
    explainer = GibbsExplainer(BandDetector()).fit(shifted)
    mean, std = np.nanmean(shifted, axis=(0, 2)), np.nanstd(shifted, axis=(0, 2))
    np.testing.assert_allclose(explainer.band_mean_, mean)
    np.testing.assert_allclose(explainer.band_std_, [*std[:3], 1.0])


def test_a_band_never_seen_in_fit_is_not_judged(X):
    """A band without a known spread would get made-up probabilities."""
    unseen = X.copy()
    unseen[:, 2] = np.nan
    with pytest.warns(RuntimeWarning):  # of the stand-in
        explainer = GibbsExplainer(BandDetector(), random_state=0).fit(unseen)
    probability = explainer.explain(X)
    assert np.isnan(probability[:, 2]).all()
    assert not np.isnan(probability[0, [0, 1, 3]]).any()


def test_labels_reach_the_detector_and_the_streams(X):
    """Explanations given a class would ignore it."""
    y, label_time = np.repeat(["crop", "forest"], 10), np.arange(20)
    explainer = small().set_params(detector=BandDetector(), batch_size=8)
    explainer.fit(X, y, label_time=3)
    fitted_y, fitted_time = explainer.detector_.fitted_with_
    assert fitted_y is y and fitted_time == 3
    with_labels = explainer.explain(X, y, label_time=label_time)
    asked_y, asked_time = explainer.detector_.asked_with_
    np.testing.assert_array_equal(asked_y, y[16:])
    np.testing.assert_array_equal(asked_time, label_time[16:])
    explainer.explain(X)
    assert explainer.detector_.asked_with_ == (None, None)
    assert not np.array_equal(with_labels, explainer.explain(X), equal_nan=True)


def test_dates_reach_a_detector_with_a_calendar(X):
    """Series with other dates would be explained by the wrong season."""

    class Calendar(BandDetector):
        def _posterior_draw(self, X, missing, y, label_time, rng, dates=None):
            self.dates_ = dates
            return super()._posterior_draw(X, missing, y, label_time, rng)

    explainer = small().set_params(detector=Calendar()).fit(X)
    explainer.explain(X, dates=np.arange(738000, 738024))
    assert explainer.detector_.dates_[0] == np.datetime64("2021-07-29")
    with pytest.raises(ValueError, match="24 timesteps"):
        explainer.explain(X, dates=[738000])


def test_a_fitted_detector_is_used_as_it_is(X):
    """A detector trained for hours would be trained again, or on other data."""
    detector = LinearGaussianDetector().fit(X[8:])
    weights = detector.weights_.copy()
    explainer = clone(GibbsExplainer(FrozenEstimator(detector))).fit(X[4:])
    assert explainer.detector_ is detector
    np.testing.assert_array_equal(detector.weights_, weights)
    assert np.isfinite(explainer.explain(X[:3])).all()
    unfrozen = GibbsExplainer(detector).fit(X[10:])
    assert unfrozen.detector_ is not detector
    np.testing.assert_array_equal(detector.weights_, weights)


def test_label_time_can_be_routed(X):
    """Pipelines could not pass on when labels hold."""
    with config_context(enable_metadata_routing=True):
        explainer = GibbsExplainer(BandDetector()).set_fit_request(label_time=True)
        pipeline = make_pipeline(BandScaler(), explainer)
        pipeline.fit(X, np.zeros(20, dtype=int), label_time=np.arange(20))
    np.testing.assert_array_equal(explainer.detector_.fitted_with_[1], np.arange(20))


def test_an_unfitted_frozen_detector_is_refused(X):
    frozen = FrozenEstimator(LinearGaussianDetector())
    with pytest.raises(NotFittedError, match="LinearGaussianDetector that is not fit"):
        GibbsExplainer(frozen).fit(X)


def test_a_frozen_detector_of_other_bands_is_refused(X):
    frozen = FrozenEstimator(BandDetector().fit(X[:, :2]))
    with pytest.raises(ValueError, match="X has 4 bands.*fitted on 2"):
        GibbsExplainer(frozen).fit(X)


@pytest.mark.parametrize("method", ["explain", "transform"])
def test_bad_series_are_refused(explainer, X, method):
    """Another product's bands would be explained as if they were these."""
    run = getattr(explainer, method)
    with pytest.raises(ValueError, match="3 features.*4 features"):
        run(X[:, :3])
    with pytest.raises(ValueError, match="2 dimensions.*fitted on X with 3"):
        run(X.reshape(len(X), -1)[:, :4])
    with pytest.raises(ValueError, match="infinity"):
        run(np.where(np.isnan(X), np.inf, X))
    with pytest.raises(NotFittedError):
        getattr(GibbsExplainer(BandDetector()), method)(X)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"y": [0, 1]}, ValueError, "2 labels.*20 samples"),
        ({"label_time": 24}, ValueError, "label_time.*24.*0 to 23"),
        ({"label_time": [1, 2]}, ValueError, r"label_time has shape \(2,\)"),
        ({"label_time": 1.5}, TypeError, "label_time must be an int"),
        ({"dates": ["a"] * 24}, TypeError, "dates must be"),
    ],
)
def test_bad_arguments_of_explain_are_named(explainer, X, arguments, error, message):
    with pytest.raises(error, match=message):
        explainer.explain(X, **arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("detector", BandScaler()),
        ("n_iter", 0),
        ("burn_in", -1),
        ("n_chains", 0),
        ("flag_rate", 0.0),
        ("run_length", 0.5),
        ("band_coupling", -0.1),
        ("slab", "wide"),
        ("correction", True),
        ("slab_scale", 0.0),
        ("batch_size", 0),
    ],
)
def test_bad_parameters_are_refused_before_training(X, name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        small().set_params(**{name: value}).fit(X)


def test_a_failed_fit_leaves_the_explainer_unfitted(X):
    """explain would run on half a fit."""

    class Failing(BandDetector):
        def fit(self, X, y=None, *, label_time=None):
            raise ValueError("no")

    explainer = GibbsExplainer(Failing())
    with pytest.raises(ValueError, match="no"):
        explainer.fit(X)
    with pytest.raises(NotFittedError):
        explainer.explain(X)
    with pytest.raises(NotFittedError):
        check_is_fitted(explainer)
    explainer = GibbsExplainer(BandDetector()).fit(X).set_params(detector=Failing())
    with pytest.raises(ValueError, match="no"):
        explainer.fit(X * 100)
    with pytest.raises(NotFittedError):
        explainer.explain(X)


def test_dates_known_to_have_changed_are_hidden_from_the_latents():
    """Without it a change that lasts looks normal: the latents follow it."""
    data = make_pixel_series(
        120, n_classes=2, n_bands=3, n_years=3, period=12, random_state=0
    )
    # With other years to learn from, latents follow a change less in the first place.
    detector = HTSVAEDetector(period=12, max_iter=200, random_state=0)
    detector.set_params(self_training=False)
    explainer = GibbsExplainer(detector, n_iter=10, burn_in=5, random_state=0)
    explainer.fit(data.X, data.y, label_time=data.label_time)
    rows = data.break_at >= 0
    call = dict(X=data.X[rows], y=data.y[rows], label_time=data.label_time[rows])
    changed = (data.Y != data.y[:, None])[rows]
    truth = data.anomalies[rows]
    seen = cell_attribution_ap(truth, explainer.explain(**call))
    hidden = cell_attribution_ap(truth, explainer.explain(**call, changed=changed))
    assert hidden > seen + 0.01
    with pytest.raises(ValueError, match=r"changed has shape \(2,\)"):
        explainer.explain(**call, changed=[True, False])


def test_series_without_an_anomaly_are_said_to_have_none(explainer, X):
    """Somebody would look for what is not there."""
    found = explainer.explanation(X[[0, 1, 2, 4, 5]])
    assert not found.anomalous.any()
    assert (found.change_interval == -1).all()
    # What normal cells say for themselves makes them less suspect than before.
    assert np.median(found.probability) < np.mean(explainer.flag_rate)


def test_series_that_are_anomalous_everywhere_are_explained_by_nothing(explainer, X):
    """Latents without a cell to go by must not break down, or follow the series."""
    strange = X[:3] + 50.0
    found = explainer.explanation(strange)
    assert (found.probability > 0.99).all()
    assert (found.change_interval == [0, X.shape[2] - 1]).all()
    lower, upper = found.interval(0.99)
    assert ((lower < X[:3]) & (X[:3] < upper)).mean() > 0.95


def test_counterfactual_is_the_series_as_if_nothing_had_happened(explainer, X):
    """The picture of what would have been would be of something else."""
    rows, hit = [0, 1, 2, 4], np.zeros((4, *X.shape[1:]), dtype=bool)
    hit[:, 1:3, 8:12] = True
    found = explainer.explanation(np.where(hit, X[rows] + 3, X[rows]))
    assert (found.probability[hit] > 0.9).mean() > 0.9
    off = np.abs(found.counterfactual - X[rows]) / found.counterfactual_std
    assert (off < 3).mean() > 0.95 and (off[hit] < 3).mean() > 0.95
    assert (found.change_interval == [8, 11]).mean() > 0.8
    assert (found.band_importance[:, [1, 2]] > found.band_importance[:, [0]]).all()


def test_a_coupling_that_freezes_the_chains_is_told_of(X):
    """Where a chain began would be taken for what it found."""
    frozen = small(n_iter=20, burn_in=10, band_coupling=1000.0).fit(X[8:])
    with pytest.warns(UserWarning, match="chains of .* of 20 samples disagree"):
        found = frozen.explanation(X)
    assert not found.converged[[0, 1, 2]].any()
    assert np.isfinite(found.probability[~np.isnan(X)]).all()


@pytest.mark.parametrize("correction", [None, "metropolis"])
def test_threads_do_not_show(X, correction):
    """Published explanations could not be repeated on another machine."""
    params = dict(batch_size=3, correction=correction)
    one, two = (
        small(n_jobs=n_jobs, **params).fit(X[8:]).explanation(X) for n_jobs in (1, 2)
    )
    for name in ("probability", "counterfactual", "r_hat", "ess", "acceptance"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_corrected_chains_run_with_the_detector():
    """Seasons are accepted one by one, a short last one and two layers among them."""
    data = make_pixel_series(
        60, n_classes=2, n_bands=2, n_years=2, period=12, random_state=0
    )
    days = np.datetime64("2020-01-01") + np.arange(20) * 30
    days[5] = days[4] + 2  # two acquisitions in one slot
    X = data.X[:, :, :20]
    for normal in ("class", "self"):
        detector = HTSVAEDetector(
            period=12, dates=days, max_iter=100, reference=normal, random_state=0
        )
        explainer = GibbsExplainer(
            detector, correction="metropolis", slab="latents", random_state=0
        ).fit(X, data.y, label_time=5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of few sweeps
            found = explainer.explanation(X, data.y, label_time=5)
        assert ((found.acceptance > 0.02) & (found.acceptance < 1)).all()
        assert found.dates[5] == days[5]
        np.testing.assert_array_equal(np.isnan(found.probability), np.isnan(X))
        if normal == "class":
            with pytest.raises(ValueError, match="correction='metropolis'.*pass y"):
                explainer.explain(X)


def test_offsets_and_noise_are_those_that_the_series_have():
    """What the latents cannot express would be called anomalous for good."""
    rng = np.random.default_rng(0)
    X = seasonal_series(300, rng, n_bands=3)
    detector = LinearGaussianDetector(n_latents=2).fit(X)
    detector.noise_ *= 1.5  # what it was trained on was less regular
    offset = np.array([0.6, 0.2, 0.0])
    X += offset[:, None] * rng.normal(size=(300, 3, 1))
    changed = np.arange(300) % 3 == 0
    X[changed, :, 12:] += 5
    explainer = GibbsExplainer(FrozenEstimator(detector), random_state=0).fit(X)
    np.testing.assert_allclose(explainer.offset_std_, offset, atol=0.12)
    np.testing.assert_allclose(explainer.noise_scale_, 1 / 1.5, rtol=0.1)
    # Series without a label are none to learn from.
    y = np.where(np.arange(300) % 2, 0, None)
    X[::2] *= 5
    half = GibbsExplainer(FrozenEstimator(detector), random_state=0).fit(X, y)
    np.testing.assert_allclose(half.offset_std_, offset, atol=0.12)
    few = GibbsExplainer(FrozenEstimator(detector)).fit(X[:9])
    assert few.offset_std_.tolist() == [0, 0, 0]
    assert few.noise_scale_.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"flag_rate": [0.1, 1.0]}, r"flag_rate must be .* got \[0.1, 1.0\]"),
        ({"run_length": []}, "run_length must be a number of at least 1"),
        ({"flag_rate": 0.9, "run_length": 2}, "flag_rate=0.9 is more than runs of run"),
        ({"flag_rate": ["a"]}, r"flag_rate must be .* got \['a'\]"),
    ],
)
def test_regimes_that_cannot_be_are_refused(X, params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        small(**params).fit(X)


def test_memory_is_that_of_a_batch_beyond_what_is_returned():
    """A region would not fit where a field does."""
    fitted = small(batch_size=20).fit(seasonal_series(50, np.random.default_rng(0)))
    peaks = []
    for n in (100, 400):
        X = seasonal_series(n, np.random.default_rng(1))
        fitted.explain(X[:20])
        tracemalloc.start()
        found = fitted.explanation(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # Batches are kept in parts until they are put together; X is checked.
        returned = found.probability.nbytes * 3
        peaks.append(peak - 2 * returned - X.nbytes)
    assert peaks[1] < 1.5 * peaks[0]
