"""The Gibbs kernels against naive Python, enumeration and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import logit
from scipy.stats import norm

from sktasgen import gibbs
from tests import reference


@st.composite
def sweep_arguments(draw):
    """Log-odds with gaps and extremes, a prior, couplings, uniforms and a state."""
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6))
    odds = st.floats(-5, 5) | st.sampled_from([np.nan, 900.0, -900.0, np.inf, -np.inf])
    prior = st.floats(-4, 1), st.floats(0.5, 50) | st.just(np.inf)
    uniform = st.floats(0, 1, exclude_max=True)
    log_odds = draw(hnp.arrays(np.float64, shape, elements=odds))
    state = draw(hnp.arrays(bool, shape))
    uniforms = draw(hnp.arrays(np.float64, shape, elements=uniform))
    couplings = draw(st.floats(0, 3)), draw(st.floats(0, 3))
    return log_odds, *map(draw, prior), *couplings, uniforms, state


@settings(deadline=None, max_examples=200)
@given(sweep_arguments())
def test_sweep_matches_differences_of_the_log_prior(arguments):
    """A wrong neighbour or an overflow would shift probabilities unseen."""
    *others, state = arguments
    state = state.copy()
    expected, expected_state = reference.gibbs_sweep(*arguments)
    conditional = gibbs.sweep(*others, state)
    np.testing.assert_allclose(conditional, expected, rtol=1e-9, atol=1e-12)
    near = np.abs(others[-1] - expected) < 1e-9  # a tie that rounding decides
    if not near.any():
        np.testing.assert_array_equal(state, expected_state)


@settings(deadline=None, max_examples=50)
@given(sweep_arguments(), st.integers(0, 6))
def test_a_date_never_observed_changes_nothing(arguments, position):
    """Clouded dates would decouple what lies either side of them."""
    log_odds, *prior, uniforms, state = arguments
    position = min(position, log_odds.shape[2])
    with_gap = [
        np.insert(array, position, filling, axis=2)
        for array, filling in ((log_odds, np.nan), (uniforms, 0.5), (state, False))
    ]
    conditional = gibbs.sweep(log_odds, *prior, uniforms, state)
    longer = gibbs.sweep(with_gap[0], *prior, *with_gap[1:])
    np.testing.assert_array_equal(np.delete(longer, position, axis=2), conditional)
    assert np.isnan(longer[:, :, position]).all()
    assert not with_gap[2][:, :, position].any()


@pytest.mark.parametrize(
    "prior",
    [
        (0.0, np.inf, 0.0, 0.0),
        (0.0, np.inf, 0.8, 0.0),
        (-0.5, np.inf, 2.0, 1.0),
        (-0.5, 4.0, 0.5, 0.7),
    ],
    ids=str,
)
def test_sweeps_converge_to_the_enumerated_posterior(prior):
    """Explanations would be of another model than the documented one."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-0.5, 1.5, (2, 5))
    log_odds[0, 2] = log_odds[1, 0] = np.nan
    observed = ~np.isnan(log_odds)
    exact = reference.cell_probabilities(
        observed,
        lambda state: (
            log_odds[state].sum() + reference.cell_log_prior(state, observed, *prior)
        ),
    )
    n_chains, burn_in, n_kept = 2000, 40, 20
    tiled = np.tile(log_odds, (n_chains, 1, 1))
    state = np.zeros(tiled.shape, dtype=bool)
    indicators, conditionals = np.zeros((2, *tiled.shape))
    for sweep in range(burn_in + n_kept):
        conditional = gibbs.sweep(tiled, *prior, rng.random(tiled.shape), state)
        if sweep >= burn_in:
            indicators += state / n_kept
            conditionals += conditional / n_kept
    for estimate in (np.where(observed, indicators, np.nan), conditionals):
        error = estimate.std(axis=0) / np.sqrt(n_chains)
        off = np.abs(estimate.mean(axis=0) - exact)[observed]
        np.testing.assert_array_less(off, 4.5 * error[observed] + 1e-12)
    variance = conditionals.var(axis=0)[observed]
    assert (variance < indicators.var(axis=0)[observed]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_density_ratio_is_that_of_two_normals(dtype):
    """Wrong densities would turn normal cells into anomalous ones."""
    rng = np.random.default_rng(0)
    X, mean = rng.normal(0, 3, (2, 3, 2, 4)).astype(dtype)
    std = rng.uniform(0.1, 2, X.shape).astype(dtype)
    slab_mean, slab_std = rng.normal(size=2), rng.uniform(1, 3, 2)
    X[1, 0, 2] = np.nan
    X.flags.writeable = False
    for centred, center in ((False, slab_mean[:, None]), (True, mean)):
        slab = norm.logpdf(X, center, slab_std[:, None])
        expected = slab - norm.logpdf(X, mean, std)
        ratio = gibbs.log_density_ratio(X, mean, std, slab_mean, slab_std, centred)
        assert ratio.dtype == np.float64
        np.testing.assert_allclose(ratio, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("centred", [False, True])
def test_block_log_likelihood_is_that_of_normals(centred):
    """Draws would be accepted for the wrong reasons."""
    rng = np.random.default_rng(0)
    X, mean = rng.normal(0, 2, (2, 4, 3, 6))
    std, slab_std = rng.uniform(0.1, 2, X.shape), rng.uniform(1, 3, 3)
    X[1, 0, 2] = np.nan
    state, hidden = rng.random(X.shape) < 0.4, rng.random((4, 6)) < 0.3
    block = np.array([0, 0, 1, 1, 1, 0])
    cells = np.where(state, norm.logpdf(X, mean, slab_std[:, None]), 0)
    if not centred:
        slab_std, cells = np.full(3, np.inf), np.zeros(X.shape)
    cells = np.where(state, cells, norm.logpdf(X, mean, std))
    counted = ~np.isnan(X) & ~hidden[:, None]
    # What does not depend on the latents is left out.
    cells = np.where(counted, cells + 0.5 * np.log(2 * np.pi), 0)
    cells[state & counted & (not centred)] = 0
    expected = np.stack([cells[:, :, block == k].sum(axis=(1, 2)) for k in (0, 1)], 1)
    total = gibbs.block_log_likelihood(X, mean, std, slab_std, state, hidden, block, 2)
    np.testing.assert_allclose(total, expected)


def test_expit_inverts_logit():
    """A slip in either branch would bend every probability."""
    probability = np.array([1e-12, 0.2, 0.5, 0.7, 1 - 1e-12])
    recovered = [gibbs._expit(value) for value in logit(probability)]
    np.testing.assert_allclose(recovered, probability, rtol=1e-12)


@pytest.fixture
def series():
    X = np.random.default_rng(0).normal(size=(6, 2, 5))
    X[2, 1, 3] = np.nan
    X[3, 0, 0] = 0.0
    return X


def test_streams_do_not_depend_on_order_or_company(series):
    """A pixel's explanation would change with the tile it is cut into."""
    order = np.array([4, 2, 0])
    every = gibbs.SampleStreams(7, 1, series)
    some = gibbs.SampleStreams(7, 1, series[order])
    for method in ("random", "standard_normal", "random"):
        numbers = getattr(every, method)((6, 3, 2))
        np.testing.assert_array_equal(
            getattr(some, method)((3, 3, 2)), numbers[order], err_msg=method
        )


def test_streams_follow_values_not_their_storage(series):
    """float32 or Fortran-ordered copies would be explained differently."""
    series = series.astype(np.float32)
    numbers = gibbs.SampleStreams(7, 1, series).random((6, 4))
    other_nan = series.astype(np.float64)
    other_nan[2, 1, 3] = np.uint64(0xFFF8000000000001).view(np.float64)
    minus_zero = series.copy()
    minus_zero[3, 0, 0] = -0.0
    for same in (other_nan, minus_zero, np.asfortranarray(series)):
        np.testing.assert_array_equal(
            gibbs.SampleStreams(7, 1, same).random((6, 4)), numbers
        )


def test_streams_differ_in_everything_that_should_matter(series):
    """Chains or samples that draw alike would hide the Monte-Carlo error."""
    ones = np.ones(6, dtype=int)
    variants = [
        gibbs.SampleStreams(0, 0, series),
        gibbs.SampleStreams(1, 0, series),
        gibbs.SampleStreams(0, 1, series),
        gibbs.SampleStreams(0, 0, series, y=ones),
        gibbs.SampleStreams(0, 0, series, label_time=ones),
        gibbs.SampleStreams(0, 0, series, y=ones, label_time=ones),
    ]
    numbers = np.concatenate([streams.random((6, 2)) for streams in variants])
    assert len(np.unique(numbers)) == numbers.size


def test_streams_are_the_same_in_every_process():
    """Python's own hash is salted: a second run would give other bits."""
    digest = gibbs._digest(np.array([[1.0, np.nan]]), 0, 1, None, None)
    assert digest == 79625926065207261422386185005519419234


def test_streams_draw_what_they_say():
    """Numbers of a wrong law would bias every chain."""
    streams = gibbs.SampleStreams(0, 0, np.arange(300.0).reshape(300, 1, 1))
    assert streams.random(300).shape == (300,)
    uniform = streams.random((300, 200))
    assert uniform.min() >= 0 and uniform.max() < 1
    normal = streams.standard_normal((300, 200))
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02


@pytest.mark.parametrize("size", [5, (5, 2), ()])
def test_streams_refuse_rows_without_a_sample(series, size):
    """Numbers would be shared out among the wrong samples."""
    with pytest.raises(ValueError, match="one row for each of the 6 samples"):
        gibbs.SampleStreams(0, 0, series).random(size)
