"""
From labelled points to maps of every date
==========================================

People have labelled points in a region, all in the summer of its first year. What grew
there on every later date, and when did it change? A region is simulated, so that the
maps can be compared with the truth.
"""

# %%
# A cube: 92 dates over four years, six bands, 60 x 90 pixels of 10 m, fields under
# clouds. Cut into chunks it stands for a cube on disk, which `open_cube` would open as
# lazily and `mask_cube` would free of its clouds. The points are of one date.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator

from sktasgen import GibbsExplainer, HTSVAEDetector, StableSampleRelabeler
from sktasgen.datasets import make_region
from sktasgen.maps import predict_cube, sample_cube, write_geotiffs, write_maps
from sktasgen.plots import MapDisplay

summer = 11
region = make_region((60, 90), n_points=150, label_time=summer, random_state=0)
cube = region.cube.chunk(y=30, x=45)
print(region.points.head(3))

# %%
# Each point takes the series of its pixel. The rest is as with any other series.

data = sample_cube(cube, region.points)
detector = HTSVAEDetector(dates=data.dates, max_iter=150)
relabeler = StableSampleRelabeler(detector, random_state=0)
relabeler.fit(data.X, data.y, label_time=data.label_time)

# %%
# A lazy cube gives lazy maps: nothing is computed before it is asked for, and then
# block by block. These are small enough to be held in memory.

maps = predict_cube(relabeler, cube, ["labels", "change_date"])
print("lazy:", maps["labels"].chunks is not None)
maps = maps.compute()
summers = ["2018-07-02", "2019-07-02", "2020-07-02", "2021-07-02"]
MapDisplay.from_maps(maps, dates=summers)

# %%
# And the truth.

MapDisplay(region.labels, region.change_date).plot(dates=summers)

# %%
# What else could one do with these points? Make a map of their date, and take it for
# the later ones, too. Or train a forest on the season in which they were labelled, its
# gaps filled, and apply it to the other seasons: a map for each year.

truth = region.labels.values
by_date = {"labelled date's map": maps["labels"].values[[summer] * len(truth)]}

filled = cube.compute().interpolate_na("time", "nearest", fill_value="extrapolate")
seasons = filled.values.reshape(-1, region.period * cube.sizes["band"], *cube.shape[2:])
row, column = (
    np.abs(cube[dim].values - at.to_numpy()[:, np.newaxis]).argmin(axis=1)
    for dim, at in (("y", region.points.geometry.y), ("x", region.points.geometry.x))
)
codes = np.searchsorted(region.class_names, data.y)
forest = RandomForestClassifier(random_state=0)
forest.fit(seasons[0][:, row, column].T, codes)
yearly = [forest.predict(season.reshape(len(season), -1).T) for season in seasons]
yearly = np.reshape(yearly, (-1, *truth.shape[1:]))
by_date["labelled season's forest"] = np.repeat(yearly, region.period, axis=0)

by_date["sktasgen"] = maps["labels"].values

changed = truth != truth[summer]
print(f"{'accuracy':26}all dates  where changed")
for name, labels in by_date.items():
    right = labels == truth
    print(f"{name:26}{right.mean():9.3f}  {right[changed].mean():13.3f}")

# %%
# A map of one date is right at that date. The forest has one answer for a year, and
# meets years that are unlike its own. The relabeller is least sure of the last months:
# of what changed then it has seen a part of a winter.

figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
for name, labels in by_date.items():
    ax.plot(cube["time"], (labels == truth).mean(axis=(1, 2)), label=name)
ax.plot(cube["time"][summer], 1, "kv", label="date of the points", clip_on=False)
ax.set(ylabel="share of pixels that are right", ylim=(0.5, 1))
ax.legend(loc="lower left")

# %%
# How well are changes dated? Most of what is missed changed in the last four months.

change, true_change = maps["change_date"], region.change_date
error = (change - true_change).dt.days
missed = true_change.notnull() & change.isnull()
late = missed & (true_change > np.datetime64("2021-09-01"))
invented = change.notnull() & true_change.isnull()
print(f"{int(true_change.notnull().sum())} pixels change. The change of")
print(f"{int((abs(error) <= 32).sum())} is dated within 32 days, that of")
print(f"{int(missed.sum())} missed, {int(late.sum())} of them since September 2021.")
print(f"{int(invented.sum())} pixels that do not change are said to.")

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
image = ax.imshow(error, cmap="RdBu", vmin=-96, vmax=96)
ax.imshow(np.where(missed, 1, np.nan), cmap="gray_r", vmin=0, vmax=1)
ax.set(title="Error of the change date; black: missed", facecolor="0.85")
ax.set(xticks=[], yticks=[])
figure.colorbar(image, label="days too late", extend="both")

# %%
# The labels one date after the other. In a notebook, ``HTML(animation.to_jshtml())``
# shows it with buttons.

folder = tempfile.TemporaryDirectory()
out = Path(folder.name)
animation = MapDisplay(maps["labels"]).animate(dates=list(range(0, 92, 4)))
animation.save(out / "labels.gif", writer="pillow", dpi=60)

# %%
# Which bands and dates say that a field changed? Attributions take far longer than
# labels, so they are for a small area. Here two fields of it, a year apart.

explainer = GibbsExplainer(
    FrozenEstimator(relabeler.detector_), n_iter=40, random_state=0
)
explainer.fit(data.X, data.y, label_time=data.label_time)
area = {"y": slice(28, 44), "x": slice(6, 22)}
cells = predict_cube(relabeler, cube.isel(area), "attributions", explainer=explainer)
cells = cells.compute()

change = maps["change_date"].isel(area)
figure, axes = plt.subplots(2, 1, figsize=(8, 4.2), sharex=True, layout="constrained")
for ax, month in zip(axes, ("2019-10", "2020-10"), strict=True):
    then = change.dt.strftime("%Y-%m") == month
    image = ax.pcolormesh(
        cells["time"],
        cells["band"],
        cells.where(then).mean(("y", "x")),
        cmap="magma_r",
        vmin=0,
        vmax=1,
    )
    ax.invert_yaxis()
    ax.set_title(f"{int(then.sum())} pixels that change in {month}", fontsize="medium")
figure.colorbar(image, ax=axes, label="probability of an anomaly")

# %%
# To disk. `write_maps` maps the cube into a Zarr store, a block at a time, so the cube
# may be larger than memory. Killed at any moment, the same call does what is left.
# `write_geotiffs` makes files that QGIS shows with their colours and names.

maps = write_maps(relabeler, cube, out / "maps.zarr")
files = write_geotiffs(maps, out / "geotiff", dates=summers)
print(maps)
for path in sorted(out.rglob("*.tif")):
    print(path.relative_to(out), path.stat().st_size, "bytes")
folder.cleanup()
