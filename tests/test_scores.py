"""Without these: scores that mean something else than the docs say."""

import itertools

import numpy as np
from scipy import stats

from sktasgen import scores


def test_contrast_is_minus_log_of_bayes_rule():
    rng = np.random.default_rng(0)
    prior = np.array([0.2, 0.5, 0.3])
    x = rng.normal(size=(4, 6))
    density = np.stack([stats.norm.pdf(x, k, 1) for k in range(3)], axis=1)
    joint = np.log(prior)[:, None] + np.log(density)
    y = np.array([0, 2, 1, 1])
    joint_density = prior[:, None] * density
    given = joint_density / joint_density.sum(axis=1, keepdims=True)
    expected = -np.log([given[i, k] for i, k in enumerate(y)])
    np.testing.assert_allclose(scores.contrast(joint, y), expected)
    total = -np.log(joint_density.sum(axis=1))
    np.testing.assert_allclose(scores.mixture_novelty(joint), total)


def test_course_log_odds_are_those_of_all_label_sequences():
    """Brute force over all sequences of three classes and five dates."""
    rng = np.random.default_rng(1)
    bound, prior = rng.normal(0, 2, (2, 5, 3)), np.array([0.2, 0.5, 0.3])
    bound[0, 2] = np.nan  # not observed
    y, cost = np.array([1, 2]), 1.5
    weight = np.zeros((2, 5, 3))
    for path in itertools.product(range(3), repeat=5):
        switches = np.count_nonzero(np.diff(path))
        evidence = np.nan_to_num(bound)[:, np.arange(5), path].sum(axis=1)
        probability = prior[path[0]] * np.exp(evidence - cost * switches)
        weight[:, np.arange(5), path] += probability[:, None]
    own = weight[np.arange(2), :, y]
    expected = np.log(weight.sum(axis=2) - own) - np.log(own)
    probability = scores.course_probability(bound, np.log(prior), cost)
    np.testing.assert_allclose(probability, weight / weight.sum(axis=2, keepdims=True))
    found = scores.log_odds(probability, y)
    np.testing.assert_allclose(found, expected)


def test_course_log_odds_are_finite_however_certain():
    bound = np.zeros((1, 4, 2))
    bound[0, :, 1] = -1e5
    probability = scores.course_probability(bound, np.log([0.5, 0.5]), 3.0)
    found = scores.log_odds(probability, np.array([0]))
    assert np.isfinite(found).all()
    assert (found < -500).all()


def test_smoothing_averages_what_was_observed_and_invents_nothing():
    row = np.array([[1.0, np.nan, 4.0, 7.0, np.nan, np.nan, 2.0]])
    found = scores.smooth(row, 3)
    expected = [[1.0, np.nan, 5.5, 5.5, np.nan, np.nan, 2.0]]
    np.testing.assert_allclose(found, expected)
    assert scores.smooth(row, 1) is row


def test_sample_maximum_of_nothing_is_nan():
    found = scores.sample_maximum(np.array([[1.0, np.nan, 3.0], [np.nan] * 3]))
    np.testing.assert_array_equal(found, [3.0, np.nan])


def test_longest_run_skips_what_was_not_observed():
    flags = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=bool)
    seen = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]], dtype=bool)
    assert scores.longest_run(flags & seen, seen).tolist() == [2, 3, 0]
