"""Without these: changes that are likelier with more classes, memory that runs out."""

import numpy as np
import pytest

from sktasgen.decoding import forward_backward, hold
from sktasgen.scoring import switch_cost
from sktasgen.windows import Calendar


@pytest.mark.parametrize("n_classes", [2, 3, 9])
@pytest.mark.parametrize("period", [1, 12, 23])
def test_a_season_holds_a_twentieth_change_whatever_the_classes(n_classes, period):
    cost = switch_cost(Calendar.regular(3 * period, period), n_classes)
    nothing = np.zeros((1, 3 * period, n_classes))
    held = hold(nothing, np.array([0]), np.array([0]))
    posterior = forward_backward(held, cost)[0]
    assert (1 - posterior[1, 0]) * period == pytest.approx(0.05)
    # A chain of equal switches, whose second eigenvalue is 1 - q K / (K - 1).
    others = 1 - 1 / n_classes
    left = others * (1 - (1 - 0.05 / period / others) ** np.arange(3 * period))
    np.testing.assert_allclose(1 - posterior[:, 0], left, atol=1e-12)


def test_two_acquisitions_in_each_slot_make_twice_the_dates():
    """Or a place seen twice as often would change twice as often."""
    days = np.datetime64("2020-01-01") + np.arange(0, 731, 8)
    once, twice = (
        switch_cost(Calendar.from_dates(days[::step], 23), 4) for step in (2, 1)
    )
    odds = np.exp([once, twice])
    np.testing.assert_allclose(odds[1] / odds[0], 2, rtol=0.05)
