"""
How far is each date from normal?
=================================

The detector alone, with its three meanings of "normal": like the sample's class, like
its own labelled season, like anything seen in training.
"""

# %%
# Simulated series, half of which change class.

import matplotlib.pyplot as plt
import numpy as np

from sktasgen import HTSVAEDetector
from sktasgen.datasets import make_pixel_series
from sktasgen.metrics import timestep_detection_scores
from sktasgen.plots import ScoreDisplay

data = make_pixel_series(200, n_bands=4, random_state=0)
changed = data.Y != data.y[:, np.newaxis]

# %%
# A change from one known class to another is plain to a detector that knows the class,
# and to one that compares a series with its own past. To a detector of novelty the new
# class is as normal as the old one.

detectors = {}
for reference in ("class", "self", "any"):
    detector = HTSVAEDetector(
        period=data.period, reference=reference, max_iter=300, random_state=0
    )
    detector.fit(data.X, data.y, label_time=data.label_time)
    scores = detector.score_timesteps(data.X, data.y, label_time=data.label_time)
    found = timestep_detection_scores(changed & ~np.isnan(scores), scores)
    print(f"reference={reference!r:8} AUROC of changed dates {found.auroc:.3f}")
    detectors[reference] = detector

# %%
# The scores of one series that changed, with the threshold that a twentieth of normal
# dates exceed, and the dates above it.

sample = np.flatnonzero(data.break_at >= 0)[0]
figure, axes = plt.subplots(2, 1, figsize=(8, 6), sharex=True)
for ax, reference in zip(axes, ("class", "self"), strict=True):
    ScoreDisplay.from_estimator(
        detectors[reference],
        data.X,
        data.y,
        label_time=data.label_time,
        sample=sample,
        dates=data.dates,
        ax=ax,
    )
    ax.set_title(f"reference={reference!r}")
figure.tight_layout()
