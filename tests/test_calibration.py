"""Without these: twice the false alarms asked for, or thresholds set on training."""

import numpy as np
import pytest
from scipy import stats

from sktasgen.calibration import hold_out, threshold


@pytest.mark.parametrize("method", ["quantile", "pot"])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_threshold_is_exceeded_at_the_rate(rate, method):
    values = np.random.default_rng(2).normal(size=20_000)
    found = threshold(values, rate, method)
    assert stats.norm.sf(found) == pytest.approx(rate, rel=0.1)
    if method == "quantile":
        assert (values > found).mean() <= rate


def test_scores_that_are_perhaps_not_normal_count_by_their_probability():
    rng = np.random.default_rng(3)
    normal, other = rng.normal(0, 1, 30_000), rng.normal(3, 1, 10_000)
    values = np.concatenate([normal, other])
    density = 0.75 * stats.norm.pdf(values, 0), 0.25 * stats.norm.pdf(values, 3)
    weights = density[0] / sum(density)
    found = threshold(values, 0.05, weights=weights)
    assert (normal > found).mean() == pytest.approx(0.05, rel=0.1)
    assert threshold(values, 0.05, weights=np.zeros(40_000)) == np.inf


def test_pareto_tail_reaches_rates_beyond_the_scores():
    errors = {"quantile": [], "pot": []}
    for seed in range(20):
        values = np.random.default_rng(seed).exponential(size=1000)
        for method, found in errors.items():
            wanted = -np.log(1e-4)
            found.append(threshold(values, 1e-4, method) - wanted)
    rms = {name: np.sqrt(np.mean(np.square(e))) for name, e in errors.items()}
    # The highest of a thousand is the quantile's only answer.
    assert abs(np.mean(errors["pot"])) < abs(np.mean(errors["quantile"]))
    assert rms["pot"] < 3


def test_too_few_scores_for_a_tail_give_the_quantile():
    values = np.random.default_rng(0).normal(size=100)
    assert threshold(values, 0.01, "pot") == threshold(values, 0.01)


def test_without_any_score_nothing_is_flagged():
    assert threshold(np.full(3, np.nan), 0.05) == np.inf


def test_every_class_loses_its_share_and_none_all():
    strata = np.repeat([0, 1, 2], [50, 20, 1])
    observed = np.ones(71, dtype=bool)
    held_out = hold_out(observed, strata, None, 0.2, np.random.RandomState(0))
    assert np.bincount(strata[held_out], minlength=3).tolist() == [10, 4, 0]


def test_groups_stay_together_and_leave_every_class_in_training():
    random = np.random.RandomState(0)
    groups = random.randint(12, size=200)
    strata = np.where(groups == 3, 1, 0)  # all of a class in one group
    for seed in range(20):
        held_out = hold_out(
            np.ones(200, bool), strata, groups, 0.25, np.random.RandomState(seed)
        )
        assert held_out.any()
        assert not held_out[strata == 1].any()
        for group in range(12):
            assert len(np.unique(held_out[groups == group])) == 1


def test_few_samples_are_all_needed():
    strata = np.zeros(20, dtype=int)
    observed = np.arange(20) < 9
    assert not hold_out(observed, strata, None, 0.2, np.random.RandomState(0)).any()
    one_group = np.zeros(20)
    everyone = np.ones(20, dtype=bool)
    assert not hold_out(everyone, strata, one_group, 0.2, np.random).any()


def test_group_with_the_last_of_a_class_is_not_split():
    strata = np.r_[1, 1, np.zeros(38, dtype=int)]
    groups = np.repeat(np.arange(5), 8)
    for seed in range(20):
        random = np.random.RandomState(seed)
        drawn = hold_out(np.ones(40, bool), strata, groups, 0.4, random)
        share = drawn.reshape(5, 8).mean(axis=1)
        assert set(share) <= {0, 1}
        assert share[0] == 0


@pytest.mark.parametrize("method", ["quantile", "pot"])
def test_scores_count_by_their_probability_of_being_normal(method):
    rng = np.random.default_rng(0)
    scores = rng.normal(3 * (rng.random(20_000) < 0.3))
    normal, other = 0.7 * stats.norm.pdf(scores), 0.3 * stats.norm.pdf(scores - 3)
    limit = threshold(scores, 0.01, method, normal / (normal + other))
    assert 0.01 / 1.5 < stats.norm.sf(limit) < 0.01 * 1.5


@pytest.mark.parametrize(("share", "n_drawn"), [(0.9, 1), (0.2, 1), (0.5, 1)])
def test_one_of_two_groups_stays_in_training_whatever_the_share(share, n_drawn):
    groups = np.repeat([0, 1], 10)
    random = np.random.RandomState(0)
    drawn = hold_out(np.ones(20, bool), np.zeros(20, int), groups, share, random)
    assert len(np.unique(groups[drawn])) == n_drawn
    assert drawn.sum() == 10


def test_scores_that_weigh_nothing_set_no_threshold():
    """Held-out samples may have no score at all: an IndexError ended fit then."""
    for scores in ([], [np.nan], [1.0]):
        weights = np.zeros(len(scores))
        assert threshold(np.array(scores), 0.05, "quantile", weights) == np.inf
