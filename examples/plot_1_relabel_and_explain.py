"""
From one label per place to dated labels
========================================

Simulated series of three classes, half of which change class once. Every series has
one label, at a date of its own; the truth of all dates is known, so what comes out can
be checked.
"""

# %%
# Four years of six bands every 16 days, with clouds.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator

from sktasgen import GibbsExplainer, HTSVAEDetector, StableSampleRelabeler
from sktasgen.datasets import make_pixel_series
from sktasgen.metrics import break_within, dated_label_report, nearest_break
from sktasgen.plots import AttributionDisplay, TimelineDisplay

data = make_pixel_series(150, random_state=0)
X, y, label_time = data.X, data.y, data.label_time

# %%
# Relabel. The detector knows the acquisition dates and takes the season from them.

detector = HTSVAEDetector(dates=data.dates, max_iter=300)
relabeler = StableSampleRelabeler(detector, random_state=0)
relabeler.fit(X, y, label_time=label_time)
labels = relabeler.relabel(X, y, label_time=label_time)

static = y[:, np.newaxis].repeat(X.shape[2], axis=1)
for name, found in (("static", static), ("dynamic", labels)):
    report = dated_label_report(data.Y, found, y)
    print(f"{name:8} accuracy {report.accuracy:.3f}, on changed dates ", end="")
    print(f"{report.changed_date_accuracy:.3f}")

breaks = nearest_break(labels, label_time)
print(f"breaks within 3 dates: {break_within(data.break_at, breaks, 3):.2f}")

# %%
# The labels of some series that changed, pale where they are in doubt; the mark is the
# given label.

changed = np.flatnonzero(breaks >= 0)
TimelineDisplay.from_estimator(
    relabeler,
    X,
    y,
    label_time=label_time,
    samples=changed[:8],
    class_names=data.class_names,
)

# %%
# One of them in full: a forest when it was labelled, grassland since. Above are its
# labels. Below is what the explainer says of it: the three bands that tell most of the
# change, as they were and as they would have been, and how probably each band at each
# date is anomalous. Hatched dates were cloudy.

forest = data.class_names.index("broadleaf forest")
place = np.flatnonzero((y == forest) & (breaks > label_time))[1]
explainer = GibbsExplainer(FrozenEstimator(relabeler.detector_), random_state=0)
explainer.fit(X, y, label_time=label_time)

# sphinx_gallery_thumbnail_number = 2
figure, axes = plt.subplots(
    2, 1, figsize=(9, 5), height_ratios=[1, 8], layout="constrained"
)
strip = TimelineDisplay.from_estimator(
    relabeler,
    X,
    y,
    label_time=label_time,
    samples=[place],
    sample_names=["Label"] * len(X),
    class_names=data.class_names,
    ax=axes[0],
)
strip.ax_.set(xlabel="", ylabel="")
cells = AttributionDisplay.from_estimator(
    explainer,
    X,
    y,
    label_time=label_time,
    sample=place,
    changed=labels != static,
    change_time=breaks[place],
    band_names=data.band_names,
    ax=axes[1],
)
# The same dates one below the other.
figure.canvas.draw()
figure.set_layout_engine("none")
left, _, width, _ = cells.ax_.get_position().bounds
_, bottom, _, height = strip.ax_.get_position().bounds
strip.ax_.set_position([left, bottom, width, height])
