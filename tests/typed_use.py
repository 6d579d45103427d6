"""Uses of the package as a checker of types sees them; mypy reads it, nothing runs it.

Else whoever checks the types of their own code is told of calls to untyped functions,
or of nothing at all, as every result would be of any type.
"""

import datetime
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from sklearn.frozen import FrozenEstimator

import sktasgen
from sktasgen import (
    BandScaler,
    GibbsExplainer,
    HTSVAEDetector,
    StableSampleRelabeler,
    metrics,
)
from sktasgen.datasets import make_pixel_series
from sktasgen.explanation import Explanation
from sktasgen.plots import AttributionDisplay, ScoreDisplay, TimelineDisplay
from sktasgen.tables import SeriesTable, read_series


def relabelled(path: Path) -> float:
    """Each estimator, a metric, a picture and a table."""
    data = make_pixel_series(30, random_state=0)
    X, y, label_time = data.X, data.y, data.label_time
    detector = HTSVAEDetector(period=23, dates=None, reference="self")
    assert_type(detector.fit(X, y, label_time=label_time), HTSVAEDetector)
    assert_type(detector.score_timesteps(X.tolist(), y), np.ndarray)
    detector.save(path)
    assert_type(HTSVAEDetector.load(path, device="cpu"), HTSVAEDetector)
    relabeler = sktasgen.StableSampleRelabeler(detector, random_state=0)
    assert_type(relabeler.fit(X, y, label_time=11), StableSampleRelabeler)
    labels = relabeler.relabel(X, y, label_time=label_time)
    assert_type(labels, np.ndarray)
    assert_type(GibbsExplainer(detector).fit(X).explanation(X), Explanation)
    assert_type(BandScaler(n_bands=6).fit(X).transform(X), np.ndarray)
    assert_type(ScoreDisplay.from_estimator(detector, X, sample=3), ScoreDisplay)
    assert_type(read_series("series.csv"), SeriesTable)
    assert_type(sktasgen.windows.aligned_windows(X, labels), np.ndarray)
    return metrics.timeline_accuracy(data.Y, labels)


def partly_known(X: np.ndarray[Any, Any], relabeler: StableSampleRelabeler) -> None:
    """Labels that are missing, dates of the standard library, a frozen detector."""
    y, label_time = ["a", None, "b"], [1, None, 2]
    relabeler.fit(X, y, label_time=label_time).relabel(X, y, label_time=label_time)
    TimelineDisplay.from_estimator(relabeler, X, y, label_time=label_time)
    dates = [datetime.date(2020, 1, 1), datetime.date(2020, 2, 1)]
    detector = HTSVAEDetector(dates=dates).fit(X, y)
    detector.score_timesteps(X, dates=dates)
    GibbsExplainer(detector=FrozenEstimator(detector)).fit(X, y)
    AttributionDisplay([[0.1, 0.9]], dates=dates, label_time=[1], change_time=[])
    metrics.timeline_accuracy([["a", None]], [["a", "b"]])
    metrics.break_within([3], [4], k=1.5)


def refused() -> None:
    """A checker finds these: an error silenced in vain would be one itself."""
    HTSVAEDetector(period="month")  # type: ignore[arg-type]
    HTSVAEDetector(threshold="mean")  # type: ignore[arg-type]
    HTSVAEDetector(perod=23)  # type: ignore[call-arg]
    make_pixel_series(n_sample=30)  # type: ignore[call-arg]
