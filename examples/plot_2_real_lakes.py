"""
Monthly land cover around real lakes
====================================

A year of Sentinel-1 and Sentinel-2 months around lakes of the US Midwest, with the
Dynamic World class of every month. More than half of the samples change class within
the year, so the label of one month is wrong at others. We keep the label of the sixth
month alone and ask for the other eleven.
"""

# %%
# The set is downloaded once, or found in the folder that SKTASGEN_DATA_HOME names.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestClassifier

from sktasgen import HTSVAEDetector, StableSampleRelabeler
from sktasgen.datasets import fetch_dynamic_world_lakes
from sktasgen.metrics import dated_label_report

lakes = fetch_dynamic_world_lakes()
X, label_time = lakes.X, 5
y = lakes.Y[:, label_time]
print(f"{len(X)} samples, {len(lakes.band_names)} bands, {X.shape[2]} months")

# %%
# Three answers: the label as it is; a forest trained on its month and applied to every
# month; and the relabeller, which also knows how labels follow one another.

static = y[:, np.newaxis].repeat(12, axis=1)
forest = RandomForestClassifier(random_state=0).fit(X[:, :, label_time], y)
by_month = np.stack([forest.predict(X[:, :, t]) for t in range(12)], axis=1)
relabeler = StableSampleRelabeler(HTSVAEDetector(period=12), random_state=0)
relabeler.fit(X, y, label_time=label_time)
dynamic = relabeler.relabel(X, y)

answers = {"static label": static, "forest": by_month, "sktasgen": dynamic}
for name, labels in answers.items():
    report = dated_label_report(lakes.Y, labels, y)
    print(f"{name:14} accuracy {report.accuracy:.3f}")

# %%
# It found out by itself that labels of this kind hold for their own month and no
# longer, and that a switch between months costs little.

print("label span:", relabeler.label_span_, " switch cost:", relabeler.switch_cost_)

# %%
# Accuracy by month: the static label is right in its own month and wrong ever after.

figure, ax = plt.subplots()
for name, labels in answers.items():
    ax.plot((labels == lakes.Y).mean(axis=0), marker="o", label=name)
ax.set(xlabel="month of the series", ylabel="accuracy", ylim=(0.6, 1.01))
ax.axvline(label_time, color="0.7", zorder=0)
ax.legend()
