"""
How much was water? From labels to areas
========================================

Labels are made to be counted: how much water, how much ice, over a year? But a label
that is wrong one time in ten is not wrong in all directions alike, and counts inherit
it. Real lakes show how far off they are, and what a small reference sample mends.
"""

# %%
# Monthly series around lakes, each with its label of the sixth month alone. The set is
# downloaded once, or found in the folder that SKTASGEN_DATA_HOME names.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import confusion_matrix

from sktasgen import HTSVAEDetector, StableSampleRelabeler
from sktasgen.datasets import fetch_dynamic_world_lakes
from sktasgen.metrics import area_adjusted_accuracy

lakes = fetch_dynamic_world_lakes()
X, label_time = lakes.X, 5
y = lakes.Y[:, label_time]
relabeler = StableSampleRelabeler(
    HTSVAEDetector(period=12, max_iter=100), random_state=0
)
relabeler.fit(X, y, label_time=label_time)
labels = relabeler.relabel(X, y)

# %%
# How sure is it of the other eleven months? Labels that it calls probable are right
# more often, so leaving out the doubtful ones is a choice between more labels and
# better ones. ``abstain_below`` makes it: such dates get no label.

others = np.arange(X.shape[2]) != label_time
found, truth = labels[:, others].ravel(), lakes.Y[:, others].ravel()
probability = relabeler.predict_proba_timeline(X, y)[:, others].max(axis=2).ravel()
print("at least  labels kept  right")
for least in (0, 0.5, 0.7, 0.8, 0.9):
    kept = probability >= least
    print(f"{least:8}{kept.mean():13.2f}{(found == truth)[kept].mean():7.3f}")

# %%
# Suppose nobody knew the truth. An analyst then looks at some sample months, drawn at
# random within each class of the result: here at 300 of the water, and of every other
# class at 60, or all there are.

random = np.random.RandomState(0)
reference = []
for k in np.unique(found):
    of_class = np.flatnonzero(found == k)
    size = min(len(of_class), 300 if lakes.class_names[k] == "water" else 60)
    reference.extend(random.choice(of_class, size, replace=False))
classes = np.arange(len(lakes.class_names))
confusion = confusion_matrix(found[reference], truth[reference], labels=classes)
counted = np.bincount(found, minlength=len(classes))
report = area_adjusted_accuracy(confusion, counted)
print(f"{len(reference)} of {len(found)} sample months looked at")
margin = 1.96 * report.overall_accuracy_se
print(f"accuracy {report.overall_accuracy:.3f} +- {margin:.3f}, ", end="")
print(f"in truth {(found == truth).mean():.3f}")

# %%
# The reference sample says what the labels of each class really are, and so how much
# there is of each, with a margin. The counts alone had too much water and too little
# of all else. The stale labels carry the ice of one month through the year.

stale = np.bincount(np.repeat(y, others.sum()), minlength=len(classes))
true = np.bincount(truth, minlength=len(classes))
print(f"{'sample months':20}{'truth':>6}{'stale':>7}{'counted':>9}  estimated")
for k, name in enumerate(lakes.class_names):
    low, high = report.area_ci[k].clip(0)
    print(f"{name:20}{true[k]:6}{stale[k]:7}{counted[k]:9}", end="")
    print(f"{report.area[k]:8.0f} ({low:.0f} to {high:.0f})")

# %%
# In one picture, without the water, which would dwarf the rest.

figure, ax = plt.subplots(figsize=(8, 3.5), layout="constrained")
places = classes[1:]
ax.bar(places - 0.2, stale[1:], 0.2, label="stale labels", color="0.7")
ax.bar(places, counted[1:], 0.2, label="labels counted")
ax.errorbar(
    places + 0.2,
    report.area[1:],
    np.abs(report.area_ci[1:].clip(0).T - report.area[1:]),
    fmt="o",
    color="black",
    capsize=3,
    label="estimated, 95 % interval",
)
ax.hlines(true[1:], places - 0.4, places + 0.4, color="tab:red", label="truth")
ax.set_xticks(places, lakes.class_names[1:], rotation=20, ha="right")
ax.set_ylabel("sample months")
ax.legend()
