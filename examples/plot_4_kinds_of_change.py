"""
What kind of change was it?
===========================

A season that runs differently, a spectrum that is off, and both at once are different
events. The detector's score splits into parts that tell them apart.
"""

# %%
# Series that do not change; the last hundred are kept for what happens to them in
# their third year.

import matplotlib.pyplot as plt
import numpy as np

from sktasgen import HTSVAEDetector
from sktasgen.datasets import make_pixel_series

data = make_pixel_series(300, change_fraction=0, cloud_fraction=0.2, random_state=0)
detector = HTSVAEDetector(period=data.period, max_iter=400, random_state=0)
detector.fit(data.X[:200], data.y[:200])
X, y = data.X[200:], data.y[200:]
year = slice(2 * data.period, 3 * data.period)

# %%
# In a failed season all bands stay near what the series shows in winter. A haze
# brightens the blue band alone.

slot = np.arange(X.shape[2]) % data.period
winter = np.nanmean(X[:, :, (slot < 3) | (slot >= 20)], axis=2, keepdims=True)
failed, haze = X.copy(), X.copy()
failed[:, :, year] = winter + 0.2 * (X[:, :, year] - winter)
both = failed.copy()
for series in (haze, both):
    series[:, data.band_names.index("B2"), year] += 0.03
events = {"nothing": X, "failed season": failed, "haze": haze, "both": both}

# %%
# The temporal and the spectral part are what the latents say: this course of the
# season, and these bands in it, are possible but improbable. The joint part is what no
# latent explains. Bare ground in summer is known to the latents from other dates; bands
# that do not belong together are known to none.

print(f"{'share of dates flagged':24}{'temporal':>10}{'spectral':>10}{'joint':>10}")
shares = {}
for event, series in events.items():
    parts = detector.score_parts(series, y)
    flagged = []
    for part, threshold in zip(parts.values(), detector.part_thresholds_, strict=True):
        scores = part[:, year]
        flagged.append((scores[~np.isnan(scores)] > threshold).mean())
    shares[event] = flagged
    print(f"{event:24}" + "".join(f"{share:10.2f}" for share in flagged))

# %%
# Mostly the latents' parts: another season. The joint part alone: another spectrum.
# All of them: both.

figure, ax = plt.subplots(figsize=(8, 4))
places = np.arange(3)
for i, (event, flagged) in enumerate(shares.items()):
    ax.bar(places + 0.2 * i, flagged, width=0.2, label=event)
ax.axhline(detector.false_alarm_rate, color="black", linestyle="--")
ax.set_xticks(places + 0.3, ["temporal", "spectral", "joint"])
ax.set_ylabel("share of the year's dates flagged")
ax.legend()
figure.tight_layout()
