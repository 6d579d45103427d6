"""Without these: labels that are not the most probable, probabilities that lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktasgen.decoding import forward_backward, hold, viterbi
from tests import reference

evidence = st.tuples(
    st.integers(1, 6), st.integers(1, 3), st.integers(0, 10_000), st.floats(0, 6)
)


def _draw(case):
    n_timesteps, n_classes, seed, cost = case
    rng = np.random.default_rng(seed)
    return 2 * rng.normal(size=(3, n_timesteps, n_classes)), cost


@given(evidence)
def test_viterbi_finds_the_best_of_all_sequences(case):
    log_evidence, cost = _draw(case)
    for path, sample in zip(viterbi(log_evidence, cost), log_evidence, strict=True):
        sequences, score = reference.all_label_sequences(sample, cost)
        found = score[np.flatnonzero((sequences == path).all(axis=1))[0]]
        assert found == pytest.approx(score.max())


@given(evidence)
def test_forward_backward_sums_over_all_sequences(case):
    log_evidence, cost = _draw(case)
    posterior = forward_backward(log_evidence, cost)
    for marginal, sample in zip(posterior, log_evidence, strict=True):
        sequences, score = reference.all_label_sequences(sample, cost)
        weight = np.exp(score - score.max())
        for t in range(sample.shape[0]):
            for k in range(sample.shape[1]):
                share = weight[sequences[:, t] == k].sum() / weight.sum()
                assert marginal[t, k] == pytest.approx(share, abs=1e-12)


def test_held_label_is_certain_and_the_rest_is_free():
    log_evidence = np.log(np.full((2, 4, 2), [0.1, 0.9]))
    held = hold(log_evidence, np.array([0, -1]), np.array([1, 1]))
    assert viterbi(held, 0.5).tolist() == [[1, 0, 1, 1], [1, 1, 1, 1]]
    assert viterbi(held, 50.0).tolist() == [[0, 0, 0, 0], [1, 1, 1, 1]]
    posterior = forward_backward(held, 0.5)
    assert posterior[0, 1].tolist() == [1.0, 0.0]
    assert (log_evidence == np.log([0.1, 0.9])).all()


def test_long_series_with_strong_evidence_neither_underflow_nor_overflow():
    log_evidence = np.zeros((1, 5000, 3))
    log_evidence[:, ::2, 0] = -800.0
    log_evidence[:, 1::2, 1] = 800.0
    posterior = forward_backward(log_evidence, 1000.0)
    assert np.isfinite(posterior).all()
    np.testing.assert_allclose(posterior.sum(axis=2), 1)


def test_ties_are_broken_in_favour_of_staying():
    assert viterbi(np.zeros((1, 5, 3)), 0.0).tolist() == [[0, 0, 0, 0, 0]]


def test_among_equal_paths_the_one_that_stays_longest_where_it_ends():
    log_evidence = np.zeros((1, 4, 2))
    log_evidence[0, 0, 1] = log_evidence[0, 3, 0] = -50
    assert viterbi(log_evidence, 1.0).tolist() == [[0, 1, 1, 1]]


@pytest.mark.parametrize("decode", [viterbi, forward_backward])
def test_bad_evidence_is_named(decode):
    with pytest.raises(ValueError, match="2 dimensions"):
        decode(np.zeros((4, 2)), 1.0)
    with pytest.raises(ValueError, match="holds NaN"):
        decode(np.full((1, 4, 2), np.nan), 1.0)
    for cost in (-1.0, np.nan):
        with pytest.raises(ValueError, match="switch_cost"):
            decode(np.zeros((1, 4, 2)), cost)


@pytest.mark.parametrize("decode", [viterbi, forward_backward])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([-np.inf, -np.inf], "rules out every class.*sample 1, date 2"),
        ([np.inf, 0.0], r"\+inf.*sample 1, date 2"),
        ([np.inf, -np.inf], r"\+inf.*sample 1, date 2"),
    ],
)
def test_infinite_evidence_that_leaves_no_probability_is_named(decode, values, message):
    """Or NaN, and labels out of nowhere, come back."""
    log_evidence = np.zeros((2, 4, 2))
    log_evidence[1, 2] = values
    with pytest.raises(ValueError, match=message):
        decode(log_evidence, 1.0)
