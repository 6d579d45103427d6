"""
A map of every year from places labelled once
=============================================

A map of a year needs samples of that year. Here is a sample that was labelled in the
first of five years, and a region to map, of known truth. In both fields spread: some
grassland and forest becomes cropland, none goes back.
"""

# %%
# Simulated series, of which those that change to anything but crops are left out. What
# makes one year differ from another is common to all places of a simulation, so sample
# and region come from the same one.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestClassifier

from sktasgen import HTSVAEDetector, StableSampleRelabeler
from sktasgen.datasets import make_pixel_series

label_time, n_years, crop = 11, 5, 0
data = make_pixel_series(
    800, n_years=n_years, change_fraction=0.4, label_time=label_time, random_state=0
)
one_way = np.flatnonzero((data.Y[:, -1] == data.y) | (data.Y[:, -1] == crop))
sample, region = one_way[:150], one_way[150:600]
X, y, period = data.X[sample], data.y[sample], data.period

# %%
# What a map of a year should show: the classes of its midsummer.

midsummers = label_time + period * np.arange(n_years)
truth = data.Y[region][:, midsummers]
changed = truth != truth[:, :1]
print(f"places of the region that change by the last year: {changed[:, -1].mean():.0%}")

# %%
# Relabel the sample. `fit_resample` returns a row for each observed date of each place,
# its bands and its season slot, which any classifier can learn from, and remembers
# which place and date each row is and how probable its label.

detector = HTSVAEDetector(period=period, max_iter=150)
relabeler = StableSampleRelabeler(detector, random_state=0)
rows, dynamic = relabeler.fit_resample(X, y, label_time=label_time)
place, date = relabeler.sample_indices_, relabeler.date_indices_
weight = relabeler.sample_weight_

stale, true = y[place], data.Y[sample][place, date]
print(f"{len(rows)} rows; wrong labels: ", end="")
print(f"{(stale != true).mean():.1%} stale, {(dynamic != true).mean():.1%} relabelled")

# %%
# The region in rows of the same kind.

observed = ~np.isnan(data.X[region]).all(axis=1)
region_place, region_date = np.nonzero(observed)
bands = data.X[region][region_place, :, region_date]
region_rows = np.column_stack([bands, region_date % period])

# %%
# An ordinary map classifier: a forest trained on the rows of one year, whose
# probabilities are added up over the dates that a place has in the year of the map.


def make_map(year, labels, weight=None, trained_in=None):
    train = date // period == (year if trained_in is None else trained_in)
    forest = RandomForestClassifier(50, random_state=0)
    forest.fit(rows[train], labels[train], None if weight is None else weight[train])
    wanted = region_date // period == year
    total = np.zeros((len(region), len(forest.classes_)))
    probability = forest.predict_proba(region_rows[wanted])
    np.add.at(total, region_place[wanted], probability)
    return forest.classes_[total.argmax(axis=1)]


# %%
# Four maps of each year, whose classifiers differ in their labels alone, but for the
# second: it is trained once, on the year in which the labels were right, and knows no
# other year. The third has the labels and weights of `fit_resample`. More than the last
# one, which has the true labels, cannot be asked for.

ways = {
    "stale labels": {"labels": stale},
    "first year's classifier": {"labels": stale, "trained_in": 0},
    "relabelled": {"labels": dynamic, "weight": weight},
    "true labels": {"labels": true},
}
maps = {
    name: np.stack([make_map(year, **way) for year in range(n_years)], axis=1)
    for name, way in ways.items()
}
print(f"{'accuracy in year':24}1     2     3     4     5     all   changed places")
for name, found in maps.items():
    right = found == truth
    shares = [*right.mean(axis=0), right.mean(), right[changed].mean()]
    print(f"{name:24}" + " ".join(f"{share:.3f}" for share in shares))

# %%
# Most places never change, and a forest forgives some wrong labels, above all if they
# are wrong in all directions. These go one way: more and more rows that look like crops
# are called grassland or forest, and the map takes fields, old and new, for these.

print("share of cropland in the last year")
for name, found in {"truth": truth, **maps}.items():
    print(f"{name:24}{(found[:, -1] == crop).mean():.3f}")

# %%
# Accuracy by year, and the map of the last year. Places of one history lie side by
# side, so that what is wrong stands out: crops are dark, grassland is green, forest
# yellow.

figure, axes = plt.subplots(1, 4, figsize=(13, 3.5), width_ratios=[1.4, 1, 1, 1])
for name, found in maps.items():
    axes[0].plot(np.arange(1, 6), (found == truth).mean(axis=0), "o-", label=name)
axes[0].set(xlabel="year", ylabel="accuracy of the map", ylim=(0.9, 1))
axes[0].legend(loc="lower left")
history = np.lexsort((truth.sum(axis=1), truth[:, 0]))
last = {"truth": truth, **maps}
for ax, name in zip(axes[1:], ("truth", "stale labels", "relabelled"), strict=True):
    ax.imshow(last[name][history, -1].reshape(18, 25))
    ax.set(title=f"last year: {name}", xticks=[], yticks=[])
figure.tight_layout()
