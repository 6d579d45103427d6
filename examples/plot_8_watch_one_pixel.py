"""
One pixel, watched
==================

No label, no other place: one pixel, and acquisitions of irregular dates. The detector
learns what the pixel looked like over six years and watches the seventh and eighth.
"""

# %%
# A simulated pixel. Clouds hide dates as they come; those are dropped, so that no two
# gaps are alike.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator

from sktasgen import GibbsExplainer, HTSVAEDetector
from sktasgen.datasets import make_pixel_series
from sktasgen.plots import AttributionDisplay, ScoreDisplay

data = make_pixel_series(1, n_years=8, period=46, change_fraction=0, random_state=1)
clear = ~np.isnan(data.X[0]).any(axis=0)
X, dates = data.X[:, :, clear], data.dates[clear]
gaps = np.diff(dates).astype(int)
print(f"{len(dates)} clear dates, {gaps.min()} to {gaps.max()} days apart")

# %%
# In the spring of the last year something happens: the near infrared darkens by a
# third, the short-wave infrared brightens by as much, as after a mild fire.

event = np.datetime64("2025-05-01")
for band, factor in {"B8": 0.7, "B12": 1.3}.items():
    X[:, data.band_names.index(band), dates >= event] *= factor

# %%
# Fit on the past. Without labels "normal" means like anything seen so far. The rate of
# false alarms is for single dates, and counted on the last fifth of the past.

learnt = dates < np.datetime64("2024-01-01")
detector = HTSVAEDetector(
    dates=dates[learnt], max_iter=300, false_alarm_rate=0.01, random_state=0
)
detector.fit(X[:, :, learnt])

# %%
# Watch. A year unlike all that came before raises flags, too, so an alarm takes six in
# a row. Scores are averaged over five dates, which is why the first flag may be a date
# or two early.

new = X[:, :, ~learnt]
flags = detector.predict_timesteps(new, dates=dates[~learnt])[0]
in_a_row = np.convolve(flags, np.ones(6), mode="valid") == 6
first = np.flatnonzero(in_a_row)[0]
seen = dates[~learnt]
print("happened on", event, "or later; first clear date", seen[seen >= event][0])
print("six flags in a row from", seen[first], "on; alarm at", seen[first + 5])
print("flags before it:", int(flags[:first].sum()), "of", first)

figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ScoreDisplay.from_estimator(detector, new, dates=seen, ax=ax)
ax.axvline(event, color="black", linewidth=1)

# %%
# Which bands say so?

explainer = GibbsExplainer(FrozenEstimator(detector), random_state=0)
explainer.fit(X[:, :, learnt])
AttributionDisplay.from_estimator(
    explainer, new, dates=seen, change_time=first, band_names=data.band_names
)
