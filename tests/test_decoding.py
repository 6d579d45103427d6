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


def _draw_matrix(case):
    """Costs of their own for each pair, some of them infinite."""
    log_evidence, _ = _draw(case)
    rng = np.random.default_rng(case[2])
    n_classes = log_evidence.shape[2]
    cost = rng.uniform(0, 4, size=(n_classes, n_classes))
    cost[rng.uniform(size=cost.shape) < 0.3] = np.inf
    np.fill_diagonal(cost, 0)
    return log_evidence, cost


@given(evidence)
def test_costs_of_their_own_are_counted_for_each_pair(case):
    log_evidence, cost = _draw_matrix(case)
    posterior = forward_backward(log_evidence, cost)
    for path, marginal, sample in zip(
        viterbi(log_evidence, cost), posterior, log_evidence, strict=True
    ):
        sequences, score = reference.all_label_sequences(sample, cost)
        found = score[np.flatnonzero((sequences == path).all(axis=1))[0]]
        assert found == pytest.approx(score.max())
        weight = np.exp(score - score.max())
        share = np.einsum(
            "s,stk->tk", weight, sequences[:, :, None] == np.arange(sample.shape[1])
        )
        np.testing.assert_allclose(marginal, share / weight.sum(), atol=1e-12)


@given(evidence)
def test_equal_costs_may_come_as_a_matrix(case):
    log_evidence, cost = _draw(case)
    matrix = cost * (1 - np.eye(log_evidence.shape[2]))
    for decode in (viterbi, forward_backward):
        np.testing.assert_allclose(
            decode(log_evidence, matrix), decode(log_evidence, cost), atol=1e-12
        )


def test_what_cannot_be_is_never_decoded():
    """Built-up land stays, whatever a summer looks like."""
    log_evidence = np.log(np.full((1, 5, 2), [0.001, 0.999]))
    log_evidence[0, 0] = [0.0, -np.inf]
    cost = np.array([[0.0, np.inf], [1.0, 0.0]])
    assert viterbi(log_evidence, cost).tolist() == [[0, 0, 0, 0, 0]]
    assert forward_backward(log_evidence, cost)[0, :, 0].tolist() == [1.0] * 5
    log_evidence[0, 4] = [-np.inf, 0.0]
    for decode in (viterbi, forward_backward):
        with pytest.raises(ValueError, match="rule out every label sequence.*0"):
            decode(log_evidence, cost)


def test_a_long_way_back_is_not_forgotten():
    """What a held label leaves possible may be improbable beyond any float."""
    log_evidence = np.log(np.full((1, 500, 2), [0.01, 0.99]))
    log_evidence[0, -1] = [0.0, -np.inf]
    one_way = np.array([[0.0, 2.0], [np.inf, 0.0]])
    for evidence, cost in (
        (log_evidence, one_way),
        (log_evidence[:, ::-1], one_way.T),
        (np.log([[[1, 1e-300], [0.5, 0.5], [1e-300, 1]]]), 800 * (1 - np.eye(2))),
    ):
        path = viterbi(evidence, cost)
        posterior = forward_backward(evidence, cost)
        np.testing.assert_allclose(posterior.sum(axis=2), 1)
        likely = np.take_along_axis(posterior, path[:, :, None], axis=2)
        assert (likely >= 0.49).all()


@pytest.mark.parametrize("decode", [viterbi, forward_backward])
@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\); expected .*\(2, 2\)"),
        ([[0, -1.0], [1, 0]], "negative, got -1.0 in row 0, column 1"),
        ([[0, np.nan], [1, 0]], "got nan in row 0, column 1"),
        ([[0, 1.0], [1, 2]], r"0 on its diagonal.*\[0.0, 2.0\]"),
    ],
)
def test_bad_costs_are_named(decode, cost, message):
    with pytest.raises(ValueError, match=message):
        decode(np.zeros((1, 4, 2)), cost)


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


@pytest.mark.parametrize("cost", [590.0, 610.0, 800.0, 1490.0, 1500.0, 1e6])
def test_a_cost_beyond_any_float_is_weighed_against_all_evidence(cost):
    """299 dates that speak for the other class by 5 nats each."""
    held = np.tile([0.0, 5.0], (1, 300, 1))
    held[0, 0] = [0.0, -np.inf]
    posterior = forward_backward(held, cost)
    np.testing.assert_allclose(
        posterior, forward_backward(held, [[0, cost], [cost, 0]]), atol=1e-9
    )
    assert posterior[0, -1].argmax() == viterbi(held, cost)[0, -1]


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


def test_probabilities_add_up_beside_huge_evidence():
    for size in (-9e18, -1e308, 1e308):
        log_evidence = np.full((1, 3, 2), size)
        posterior = forward_backward(log_evidence, [[0, 1.0], [1.0, 0]])
        np.testing.assert_allclose(posterior, 0.5)


@pytest.mark.parametrize("decode", [viterbi, forward_backward])
def test_a_change_that_costs_infinitely_much_is_never_made(decode):
    """Or a sequence comes back that the evidence rules out."""
    log_evidence = np.array([[[0, -np.inf], [-np.inf, 0]]])
    with pytest.raises(ValueError, match="rule out every label sequence"):
        decode(log_evidence, np.inf)


@pytest.mark.parametrize("decode", [viterbi, forward_backward])
@pytest.mark.parametrize("shape", [(1, 0, 2), (1, 2, 0), (0, 0, 0)])
def test_evidence_of_nothing_is_named(decode, shape):
    """The kernels would read memory that is not theirs."""
    with pytest.raises(ValueError, match="log_evidence has shape"):
        decode(np.zeros(shape), 1.0)


def test_what_is_no_cost_is_named():
    for cost in ("a", [[0], [1, 2]], None, {}):
        with pytest.raises((ValueError, TypeError), match="switch_cost"):
            viterbi(np.zeros((1, 4, 2)), cost)
