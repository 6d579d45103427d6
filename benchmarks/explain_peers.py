"""What else says which cells of a series are abnormal, and which metrics of a server.

Arrays in, arrays out. Scores are higher where more abnormal, NaN where not observed.
Series are (n_samples, n_bands, n_timesteps) of whole seasons at regular steps.
"""

import numpy as np
from scipy.ndimage import uniform_filter1d
from sklearn.decomposition import PCA

from benchmarks.peers import average_pieces, pieces
from benchmarks.provenance import peer
from sktasgen.losses import date_elbo
from sktasgen.training import build_network

# Components of steps, and of pieces, that are left out of account.
STEP_COMPONENTS = (1, 2, 4, 8, 12, 16)
PIECE_COMPONENTS = (4, 16, 64)
# Points on the way from the baseline to a series.
INTEGRATION_STEPS = 32
# Windows that are differentiated at a time.
BATCH = 256


# Seasons of classes ------------------------------------------------------------


class ClassSeason:
    """Mean and spread of each class, band and season slot.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_bands, n_timesteps)
    y : ndarray of shape (n_samples,)
    period : int
    """

    def __init__(self, values, y, period):
        self.classes, self.period = np.unique(y), period
        members = [self._seasons(values[y == label]) for label in self.classes]
        self.mean_ = np.stack([np.nanmean(part, axis=(0, 2)) for part in members])
        self.std_ = np.stack([np.nanstd(part, axis=(0, 2)) for part in members])

    def _seasons(self, values):
        n_samples, n_bands, _ = values.shape
        return values.reshape(n_samples, n_bands, -1, self.period)

    def mean(self, y, n_timesteps):
        """Mean of every cell of series of some classes."""
        return self._of(self.mean_, y, n_timesteps)

    def std(self, y, n_timesteps):
        """Spread of every cell of series of some classes."""
        return self._of(self.std_, y, n_timesteps)

    def _of(self, table, y, n_timesteps):
        slot = np.arange(n_timesteps) % self.period
        return table[np.searchsorted(self.classes, y)][:, :, slot]


def slot_gaussian(train, test):
    """z of each cell under the Gaussian of its class, band and season slot."""
    season = ClassSeason(train.X, train.y, train.period)
    given = test.y, test.X.shape[2]
    return (test.X - season.mean(*given)) / season.std(*given)


# The detector ------------------------------------------------------------------


def residuals(detector, train, test):
    """(x - mu) / sigma: mu is the detector's reconstruction, given the whole series.

    sigma is the root mean square of the training series' residuals in the same class,
    band and season slot.
    """
    left = train.X - _reconstruction(detector, train)
    season = ClassSeason(left, train.y, train.period)
    given = test.y, test.X.shape[2]
    scale = np.hypot(season.mean(*given), season.std(*given))
    return (test.X - _reconstruction(detector, test)) / scale


def _reconstruction(detector, series):
    return detector.reconstruct(series.X, series.y, label_time=series.label_time)


def smoothed(values):
    """Means along time in four ways, by name, of values that are 0 where normal.

    Over 3 or 5 observed dates, the nearest ones at an end repeated, of the absolute
    values, or absolute values of the means.
    """
    return {
        "absolute 3": _means(np.abs(values), 3),
        "absolute 5": _means(np.abs(values), 5),
        "signed 3": np.abs(_means(values, 3)),
        "signed 5": np.abs(_means(values, 5)),
    }


def _means(values, width):
    """Means over so many observed dates; all bands are observed at the same."""
    means = np.full(values.shape, np.nan)
    for sample, found in zip(values, means, strict=True):
        seen = ~np.isnan(sample[0])
        found[:, seen] = uniform_filter1d(sample[:, seen], width, mode="nearest")
    return means


@peer(
    "integrated gradients",
    "captum",
    "`IntegratedGradients.attribute` of minus the detector's bound, from the mean "
    "season of the class, 32 steps; absolute values",
    "https://captum.ai/api/integrated_gradients.html",
)
def integrated_gradients(detector, train, test):
    """captum's integrated gradients of the detector's bound, absolute values.

    What is differentiated is minus the evidence lower bound of the windows that cut a
    series into seasons, under its class: what the detector's scores are made of, and
    the last step before its class probabilities, which come from a recursion over
    dates that is not differentiated. The baseline is the mean season of the class.
    """
    import torch
    from captum.attr import IntegratedGradients

    X, center = _windows(detector, train, test)
    observed = ~np.isnan(X)
    network = build_network(
        detector._network_arguments, detector.weights_, dtype=X.dtype, device="cpu"
    )

    def bound(x, mask, classes):
        return -date_elbo(network(x, mask, mask, classes)).sum(dim=(1, 2))

    method = IntegratedGradients(bound)
    n_windows = test.X.shape[2] // test.period
    classes = np.repeat(np.searchsorted(detector.classes_, test.y), n_windows)
    found = np.empty(X.shape, dtype=X.dtype)
    for start in range(0, len(X), BATCH):
        rows = slice(start, start + BATCH)
        mask = torch.from_numpy(observed[rows].astype(X.dtype))
        found[rows] = method.attribute(
            torch.from_numpy(np.nan_to_num(X[rows])),
            baselines=torch.from_numpy(center[rows]) * mask,
            additional_forward_args=(mask, torch.from_numpy(classes[rows, None])),
            n_steps=INTEGRATION_STEPS,
            internal_batch_size=BATCH * 8,
        ).numpy()
    found[~observed] = np.nan
    return np.abs(_series(found, n_windows))


def _windows(detector, train, test):
    """Standardised seasons of the series, and the mean season of their class."""
    shape = test.X.shape[1:]
    gain = np.broadcast_to(detector.date_gain_, shape)
    offset = np.broadcast_to(detector.date_offset_, shape)
    center = offset + gain * detector.center_[:, None]
    scale = gain * detector.scale_[:, None]
    season = ClassSeason((train.X - center) / scale, train.y, train.period)
    means = season.mean(test.y, shape[1])
    standard = (test.X - center) / scale
    return [
        part.reshape(len(part), shape[0], -1, test.period)
        .transpose(0, 2, 1, 3)
        .reshape(-1, shape[0], test.period)
        .astype(np.float32)
        for part in (standard, means)
    ]


def _series(windows, n_windows):
    n_bands, period = windows.shape[1:]
    parts = windows.reshape(-1, n_windows, n_bands, period).transpose(0, 2, 1, 3)
    return parts.reshape(len(parts), n_bands, -1)


# Server metrics -----------------------------------------------------------------


def of_steps(scores, n_steps):
    """Mean over the pieces that cover a step: (n_pieces, n, PIECE) to (n_steps, n)."""
    parts = [average_pieces(part, n_steps) for part in scores.transpose(1, 0, 2)]
    return np.stack(parts, axis=1)


@peer(
    "PCA residuals",
    "scikit-learn",
    "`PCA(n)` of steps (1 to 16 components) or of pieces (4, 16, 64), the best of them",
    "https://scikit-learn.org/stable/modules/generated/sklearn.decomposition.PCA.html",
)
def pca_residuals(train, test):
    """Squared residual of each step and metric, by what the components are of.

    Series are (n_steps, n_metrics), scaled.
    """
    found = {f"{n} of steps": _pca_residual(train, test, n) for n in STEP_COMPONENTS}
    X, new = pieces(train), pieces(test)
    rows, new_rows = X.reshape(len(X), -1), new.reshape(len(new), -1)
    for n in PIECE_COMPONENTS:
        residual = _pca_residual(rows, new_rows, n).reshape(new.shape)
        found[f"{n} of pieces"] = of_steps(residual, len(test))
    return found


def _pca_residual(train, test, n_components):
    pca = PCA(n_components, random_state=0).fit(train)
    return np.square(test - pca.inverse_transform(pca.transform(test)))
