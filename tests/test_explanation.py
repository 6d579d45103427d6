"""Without these: the right cells, told of wrongly."""

import numpy as np
import pytest

from sktasgen.explanation import Explanation


def explanation(probability, **more):
    """An explanation with given probabilities; all else is of no interest."""
    probability = np.asarray(probability, dtype=float)
    n = len(probability)
    arrays = {
        "X": np.where(np.isnan(probability), np.nan, 0.5),
        "probability": probability,
        "counterfactual": np.zeros(probability.shape),
        "counterfactual_std": np.ones(probability.shape),
        "r_hat": np.ones(n),
        "ess": np.full(n, 40.0),
        "acceptance": np.ones(n),
    }
    return Explanation(**arrays | more)


NAN = np.nan


def test_importance_is_the_expected_share_of_what_was_observed():
    found = explanation([[[0.8, 0.4, NAN], [0.0, NAN, NAN]]])
    np.testing.assert_allclose(found.band_importance, [[0.6, 0.0]])
    np.testing.assert_allclose(found.date_importance, [[0.4, 0.4, NAN]])


@pytest.mark.parametrize(
    ("highest", "interval"),
    [
        ([0.1, 0.9, 0.8, 0.1], (1, 2)),
        ([0.9, 0.4, 0.9, 0.1], (0, 2)),  # over a date that is in doubt
        ([0.9, 0.0, 0.0, 0.7], (0, 0)),  # not over dates that are not
        ([0.1, 0.9, NAN, 0.9], (1, 3)),  # over a cloud
        ([0.1, 0.2, 0.3, 0.1], (-1, -1)),
        ([NAN, NAN, NAN, NAN], (-1, -1)),
    ],
)
def test_change_interval_is_the_run_of_most_evidence(highest, interval):
    band = np.array(highest)
    found = explanation([[band, band / 3]])
    assert found.change_interval.tolist() == [list(interval)]
    assert found.anomalous.tolist() == [interval[0] >= 0]


def test_change_interval_is_the_best_of_all_runs():
    """Kadane's algorithm against every run there is."""
    rng = np.random.default_rng(0)
    probability = rng.random((50, 1, 9))
    found = explanation(probability).change_interval
    for (first, last), gain in zip(found, probability[:, 0] - 0.5, strict=True):
        sums = [gain[i : j + 1].sum() for i in range(9) for j in range(i, 9)]
        assert gain[first : last + 1].sum() == pytest.approx(max(sums))


def test_chains_that_disagree_are_marked():
    r_hat = np.array([1.0, 1.21, np.inf, NAN])
    found = explanation(np.zeros((4, 1, 2)), r_hat=r_hat)
    assert found.converged.tolist() == [True, False, False, True]


def test_interval_covers_what_it_says():
    found = explanation(np.zeros((1, 1, 100_000)))
    lower, upper = found.interval(0.8)
    values = np.random.default_rng(0).normal(size=(1, 1, 100_000))
    assert ((values > lower) & (values < upper)).mean() == pytest.approx(0.8, abs=0.01)
    with pytest.raises(ValueError, match="coverage must be between 0 and 1, got 90"):
        found.interval(90)


def test_frame_has_a_row_for_each_cell():
    pytest.importorskip("pandas")
    dates = np.array(["2020-01-01", "2020-01-17"], dtype="datetime64[D]")
    found = explanation([[[0.1, 0.9], [NAN, 0.2]]], dates=dates)
    frame = found.to_frame(sample_names=["field 1"], band_names=["red", "nir"])
    assert frame.shape == (4, 10)
    cell = frame[(frame["band"] == "nir") & (frame["date"] == dates[1])].iloc[0]
    assert (cell["sample"], cell["timestep"], cell["value"]) == ("field 1", 1, 0.5)
    assert (cell["probability"], cell["expected"]) == (0.2, 0.0)
    assert cell["lower"] == -cell["upper"] and cell["converged"]
    assert "date" not in explanation([[[0.1]]]).to_frame()
    with pytest.raises(ValueError, match="band_names has 1 names; expected 2"):
        found.to_frame(band_names=["red"])
