"""The Gibbs kernels against naive Python, enumeration and scipy."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chisquare, norm

from sktasgen import gibbs
from tests import reference

REGIMES = np.array([0.05, 0.3, 0.3]), np.array([1.0, 1.5, 4.0])


@st.composite
def sweep_arguments(draw):
    """Log-odds with gaps and extremes, regimes, a coupling, uniforms and a state."""
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5))
    odds = st.floats(-5, 5) | st.sampled_from([np.nan, 40.0, -900.0, -np.inf])
    log_odds = draw(hnp.arrays(np.float64, shape, elements=odds))
    n_regimes = draw(st.integers(1, 3))
    rate = draw(hnp.arrays(float, n_regimes, elements=st.floats(0.01, 0.45)))
    run_length = draw(
        hnp.arrays(float, n_regimes, elements=st.just(1.0) | st.floats(1.1, 20))
    )
    uniform = st.floats(0, 1, exclude_max=True)
    uniforms = draw(
        hnp.arrays(np.float64, (*shape[:2], shape[2] + 1), elements=uniform)
    )
    state = draw(hnp.arrays(bool, shape))
    return log_odds, rate, run_length, draw(st.floats(0, 3)), uniforms, state


@settings(deadline=None, max_examples=100)
@given(sweep_arguments())
def test_probabilities_are_those_of_all_sequences_of_a_band(arguments):
    """A wrong neighbour, regime or underflow would shift probabilities unseen."""
    log_odds, *prior, uniforms, state = arguments
    after = state.copy()
    conditional = gibbs.sweep(log_odds, *prior, uniforms, after)
    observed = ~np.isnan(log_odds)
    np.testing.assert_array_equal(after[~observed], state[~observed])
    for i, b in np.ndindex(*log_odds.shape[:2]):
        # Of the other bands those before have been redrawn, those behind have not.
        others = np.where(np.arange(log_odds.shape[1])[:, None] < b, after[i], state[i])

        def log_joint(flags, i=i, b=b, others=others):
            own = reference.cell_log_prior(flags, observed[i, b : b + 1], *prior)
            agree = (others == flags) & observed[i] & observed[i, b]
            agree[b] = False
            pull = prior[2] * agree.sum() / max(len(others) - 1, 1)
            return own + pull + log_odds[i, b][flags[0]].sum()

        expected = reference.cell_probabilities(observed[i, b : b + 1], log_joint)[0]
        np.testing.assert_allclose(conditional[i, b], expected, rtol=1e-9, atol=1e-12)


def test_sequences_are_drawn_as_often_as_they_are_probable():
    """Runs would be torn apart, or never begin."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0, 1.5, 5)
    log_odds[3] = np.nan
    observed = ~np.isnan(log_odds)
    n = 40_000
    state = np.zeros((n, 1, 5), dtype=bool)
    gibbs.sweep(
        np.tile(log_odds, (n, 1, 1)), *REGIMES, 0.0, rng.random((n, 1, 6)), state
    )
    found, counts = np.unique(state[:, 0, observed], axis=0, return_counts=True)
    sequences = np.array(list(itertools.product([False, True], repeat=4)))
    weights = []
    for flags in sequences:
        whole = np.zeros((1, 5), dtype=bool)
        whole[0, observed] = flags
        prior = reference.cell_log_prior(whole, observed[None], *REGIMES, 0.0)
        weights.append(np.exp(prior + log_odds[whole[0]].sum()))
    expected = n * np.array(weights) / np.sum(weights)
    possible = expected > 0
    np.testing.assert_array_equal(found, sequences[possible])
    assert chisquare(counts, expected[possible]).pvalue > 1e-3


def test_anomalies_however_large_leave_a_chain_of_single_dates_a_way():
    """From there on all dates would be called normal."""
    odds = np.full((1, 1, 6), 900.0)
    regime = np.array([0.02]), np.array([1.0])
    found = gibbs.sweep(odds, *regime, 0.0, np.full((1, 1, 7), 0.5), odds > 1000)
    expected = [0.75, 0.25, 0.5, 0.5, 0.25, 0.75]
    np.testing.assert_allclose(found[0, 0], expected, atol=0.01)


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


@pytest.mark.parametrize("band_coupling", [0.0, 0.7, 2.0])
def test_sweeps_converge_to_the_enumerated_posterior(band_coupling):
    """Explanations would be of another model than the documented one."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-0.5, 1.5, (2, 5))
    log_odds[0, 2] = log_odds[1, 0] = np.nan
    observed = ~np.isnan(log_odds)
    prior = *REGIMES, band_coupling
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
        uniforms = rng.random((n_chains, 2, 6))
        conditional = gibbs.sweep(tiled, *prior, uniforms, state)
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
