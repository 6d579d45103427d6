"""What else scores change, each used as its documentation tells.

Arrays in, arrays out. Series are (n_samples, n_bands, n_timesteps), NaN where not
observed; "windows" are the season windows of `season_windows`, the same ones that the
detector looks at. Peers that take no NaN are given series filled linearly in time.
"""

import contextlib
import datetime
import io
import warnings
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter1d
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold

from benchmarks.provenance import peer
from sktasgen.decoding import forward_backward, hold, viterbi
from sktasgen.windows import (
    Calendar,
    aligned_windows,
    overlap_average,
    window_cells,
    window_starts,
)

N_FOLDS = 5
# What a posterior may not fall below: no zero of a forest is a certainty.
FLOOR = 0.01
# What did best for two forests fused, on the MODIS series, before there was sktasgen.
SWITCH_COST = 12.0
WINDOW_WEIGHT = 0.3


# Windows -----------------------------------------------------------------------


class Windows(NamedTuple):
    """Calendar-aligned windows of one season.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, n_windows, n_features)
        A window of every start: its bands, slot by slot.
    cells : ndarray of shape (n_windows, period) of int
        Timestep in each slot.
    scored : ndarray of int
        The windows to score, a sixth of a season apart.
    known : ndarray of shape (n_samples, n_windows) of bool
        Windows centred within a quarter of a season of the labelled one: for these
        the label is taken to hold. All, where there is no label_time.
    own : ndarray of shape (n_samples,) of int
        The labelled window, centred nearest to label_time.
    """

    rows: np.ndarray
    cells: np.ndarray
    scored: np.ndarray
    known: np.ndarray
    own: np.ndarray

    def to_score(self):
        """Rows of the windows to score, (n_samples, n_scored, n_features)."""
        return self.rows[:, self.scored]

    def average(self, values):
        """Mean over the windows that cover a date.

        Takes (n_samples, n_scored, ...), gives (n_samples, n_timesteps, ...).
        """
        cells = self.cells[self.scored]
        n_dates = self.cells.max() + 1
        spread = np.repeat(np.moveaxis(values, 1, -1)[..., None], cells.shape[1], -1)
        return np.moveaxis(overlap_average(spread, cells, n_dates), -1, 1)


def season_windows(X, period, label_time=None):
    """Cut series into the windows of `Windows`."""
    n, _, n_dates = X.shape
    starts = window_starts(n_dates, period)
    cells = window_cells(starts, period, Calendar.regular(n_dates, period))
    rows = np.moveaxis(aligned_windows(X, cells), 1, 2).reshape(n, len(cells), -1)
    scored = window_starts(len(starts), 1, stride=max(1, period // 6))
    if label_time is None:
        known = np.ones((n, len(starts)), dtype=bool)
        return Windows(rows, cells, scored, known, np.zeros(n, dtype=int))
    own = np.clip(label_time - period // 2, 0, starts[-1])
    known = abs(starts - own[:, None]) <= period // 4
    return Windows(rows, cells, scored, known, own)


def fill(X):
    """Series without NaN: linear in time, the nearest value at the ends."""
    filled = X.reshape(-1, X.shape[2]).copy()
    time = np.arange(X.shape[2])
    for row in filled:
        seen = ~np.isnan(row)
        row[:] = np.interp(time, time[seen], row[seen]) if seen.any() else 0
    return filled.reshape(X.shape)


# Classifiers -------------------------------------------------------------------


# Decorates whatever trains one.
random_forest = peer(
    "random forest",
    "scikit-learn",
    "`RandomForestClassifier(random_state=seed)`: 100 trees, all else as it comes",
    "https://scikit-learn.org/stable/modules/generated/"
    "sklearn.ensemble.RandomForestClassifier.html",
)


@random_forest
def fit_forest(rows, classes, sample, seed):
    """scikit-learn's RandomForestClassifier as it comes: 100 trees."""
    return RandomForestClassifier(random_state=seed).fit(rows, classes)


def out_of_fold(rows, known, classes, seed, fit=fit_forest, new=None):
    """Class probability of the rows of samples that were not trained on.

    A labelled sample is predicted by a classifier that was trained on four fifths of
    the others, one without label by a classifier trained on all that have one.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_rows, n_features)
    known : ndarray of shape (n_samples, n_rows) of bool
        Rows of which the label is known to hold: what is trained on.
    classes : ndarray of shape (n_samples,) of int
        Class index of each label, -1 for none.
    seed : int
    fit : callable, default=fit_forest
        Takes rows, the class and the sample of each, and the seed; gives a classifier.
    new : ndarray of shape (n_samples, n_new, n_features), default=None
        Rows to predict; None for `rows`.

    Returns
    -------
    ndarray of shape (n_samples, n_new, n_classes)
    """
    new = rows if new is None else new
    labelled, others = np.flatnonzero(classes >= 0), np.flatnonzero(classes < 0)
    folds = [
        (labelled[train], labelled[test])
        for train, test in _folds(classes[labelled], seed)
    ]
    if len(others):
        folds.append((labelled, others))
    found = np.zeros((*new.shape[:2], classes.max() + 1))
    for train, test in folds:
        sample = train[np.nonzero(known[train])[0]]
        classifier = fit(rows[train][known[train]], classes[sample], sample, seed)
        probability = classifier.predict_proba(new[test].reshape(-1, new.shape[2]))
        for k, column in zip(classifier.classes_, probability.T, strict=True):
            found[test, :, k] = column.reshape(len(test), -1)
    return found


def forest_of_windows(windows, y, seed):
    """Class probability of each date by a random forest on season windows.

    Trained on the known windows, out of fold; probabilities are averaged over the
    windows that cover a date.

    Returns
    -------
    ndarray of shape (n_samples, n_timesteps, n_classes)
    """
    classes = np.unique(y, return_inverse=True)[1]
    return windows.average(
        out_of_fold(windows.rows, windows.known, classes, seed, new=windows.to_score())
    )


def forest_of_dates(X, period, label_time, y, seed):
    """Class probability of each date by a random forest on its bands and slot.

    Trained on the dates of the labelled season, out of fold.

    Returns
    -------
    ndarray of shape (n_samples, n_timesteps, n_classes)
    """
    classes = np.unique(y, return_inverse=True)[1]
    return out_of_fold(*date_rows(X, period, label_time), classes, seed)


def date_rows(X, period, label_time):
    """Bands and slot of each date, and whether it is in the labelled season.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_timesteps, n_bands + 1)
    known : ndarray of shape (n_samples, n_timesteps) of bool
        Observed dates of the season centred at label_time.
    """
    n, _, n_dates = X.shape
    date = np.arange(n_dates)
    slot = np.broadcast_to(date % period, (n, n_dates))
    rows = np.concatenate([X.transpose(0, 2, 1), slot[..., None]], axis=2)
    first = np.clip(label_time - period // 2, 0, n_dates - period)[:, None]
    known = (date >= first) & (date < first + period) & ~np.isnan(X).all(axis=1)
    return rows, known


def log_probability(probability):
    """Logarithm of probabilities, never below that of `FLOOR`."""
    n_classes = probability.shape[-1]
    return np.log((probability + FLOOR) / (1 + n_classes * FLOOR))


def fuse(of_windows, of_dates):
    """Log-evidence of two forests, up to a constant per date."""
    return WINDOW_WEIGHT * log_probability(of_windows) + log_probability(of_dates)


def smooth(probability, width=5):
    """Moving average over dates."""
    return uniform_filter1d(probability, width, axis=1, mode="nearest")


def decode(log_evidence, classes, label_time):
    """Posterior and most probable labels of a chain held to the label.

    `sktasgen.decoding` with `SWITCH_COST`.

    Parameters
    ----------
    log_evidence : ndarray of shape (n_samples, n_timesteps, n_classes)
    classes : ndarray of shape (n_samples,) of int
        Class index of each label.
    label_time : ndarray of shape (n_samples,) of int

    Returns
    -------
    posterior : ndarray of shape (n_samples, n_timesteps, n_classes)
    labels : ndarray of shape (n_samples, n_timesteps) of int
    """
    held = hold(log_evidence, classes, label_time)
    return forward_backward(held, SWITCH_COST), viterbi(held, SWITCH_COST)


def against_label(probability, classes):
    """Log-odds against the given class, which rank like -log p(y | x).

    Takes (n_samples, n_timesteps, n_classes), gives (n_samples, n_timesteps).
    """
    given = np.eye(probability.shape[-1], dtype=bool)[classes][:, None]
    own = np.where(given, probability, 0).sum(axis=-1)
    others = np.where(given, 0, probability).sum(axis=-1)
    tiny = np.finfo(float).tiny
    return np.log(np.maximum(others, tiny)) - np.log(np.maximum(own, tiny))


def _folds(y, seed):
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    return folds.split(np.zeros(len(y)), y)


# Outlier detectors -------------------------------------------------------------


@peer(
    "ECOD",
    "pyod",
    "`ECOD()`, which has no settings; new rows in batches of a tenth of the training "
    "rows, for they are ranked among each other, too",
    "https://pyod.readthedocs.io/en/latest/pyod.models.html#module-pyod.models.ecod",
)
def ecod(train, rows, seed):
    """PyOD's ECOD, which has no settings.

    Its ``decision_function`` ranks new rows among the training rows *and each
    other*, so rows are scored in batches of a tenth of the training rows: of all at
    once, the changed ones would take part in saying what is normal.
    """
    from pyod.models.ecod import ECOD

    batches = np.array_split(rows, max(1, 10 * len(rows) // len(train)))
    with warnings.catch_warnings():
        # A constant column has no skewness; ECOD takes 0 then.
        warnings.simplefilter("ignore", RuntimeWarning)
        detector = ECOD().fit(train)
        return np.concatenate([detector.decision_function(rows) for rows in batches])


@peer(
    "AutoEncoder",
    "pyod",
    "`AutoEncoder(epoch_num=20, batch_size=128)`, all else as it comes: layers 64, 32, "
    "64, batch norm, dropout 0.2, Adam at 0.001, standardised input",
    "https://pyod.readthedocs.io/en/latest/pyod.models.html"
    "#module-pyod.models.auto_encoder",
)
def autoencoder(train, rows, seed):
    """PyOD's AutoEncoder: its defaults, but 20 epochs of batches of 128.

    Defaults: layers 64-32-64, ReLU, batch norm, dropout 0.2, Adam at 1e-3,
    standardised input. Score: Euclidean distance of a row from its reconstruction.
    """
    from pyod.models.auto_encoder import AutoEncoder

    detector = AutoEncoder(
        epoch_num=20, batch_size=128, random_state=seed, device="cpu", verbose=0
    )
    with contextlib.redirect_stdout(io.StringIO()):
        detector.fit(train)
        return detector.decision_function(rows)


def outlier_scores(windows, y, seed, score):
    """Outlier score of each date under each class.

    One detector per class, trained on its known windows; a fifth of the samples is
    left out of training (as in the detector). Window scores are averaged
    over the windows that cover a date.

    Returns
    -------
    scores : ndarray of shape (n_samples, n_timesteps, n_classes)
    held_out : ndarray of shape (n_samples,) of bool
        Samples for the threshold.
    """
    held_out = np.zeros(len(y), dtype=bool)
    held_out[next(_folds(y, seed))[1]] = True
    scored = windows.to_score()
    rows = scored.reshape(-1, scored.shape[2])
    found = []
    for label in np.unique(y):
        members = (y == label) & ~held_out
        train = windows.rows[members][windows.known[members]]
        found.append(score(train, rows, seed).reshape(scored.shape[:2]))
    return windows.average(np.stack(found, axis=-1)), held_out


def of_label(scores, classes):
    """Scores under the label's class, and the lowest under another class.

    Takes (n_samples, n_timesteps, n_classes), gives two (n_samples, n_timesteps).
    """
    given = np.eye(scores.shape[-1], dtype=bool)[classes][:, None]
    own = np.where(given, scores, np.inf).min(axis=-1)
    return own, np.where(given, np.inf, scores).min(axis=-1)


# Pieces of one long series ------------------------------------------------------

# Steps in a piece, and between the starts of two: without a season, any will do.
PIECE, STEP = 30, 10


def scale(train, test):
    """Both (n_steps, n_bands) series with the bands scaled as in the first."""
    center, spread = train.mean(axis=0), train.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1)
    return (train - center) / spread, (test - center) / spread


def pieces(series):
    """Pieces of a (n_steps, n_bands) series, (n_pieces, n_bands, PIECE)."""
    return np.lib.stride_tricks.sliding_window_view(series, PIECE, axis=0)[::STEP]


def average_pieces(scores, n_steps):
    """Mean over the pieces that cover a step; (n_pieces, PIECE) to (n_steps,)."""
    step = STEP * np.arange(len(scores))[:, None] + np.arange(PIECE)
    total = np.bincount(step.ravel(), scores.ravel(), minlength=n_steps)
    return total / np.bincount(step.ravel(), minlength=n_steps)


@peer(
    "PCA residual",
    "scikit-learn",
    "`PCA(0.9)` of pieces: as many components as have 90 % of the variance",
    "https://scikit-learn.org/stable/modules/generated/sklearn.decomposition.PCA.html",
)
def pca_residual(train, X):
    """What the components with 90 % of the variance of pieces leave of others.

    Returns
    -------
    ndarray of shape (n_pieces, PIECE)
        Squared residual, summed over the bands.
    """
    rows = X.reshape(len(X), -1)
    pca = PCA(0.9, random_state=0).fit(train.reshape(len(train), -1))
    residual = (rows - pca.inverse_transform(pca.transform(rows))).reshape(X.shape)
    return np.square(residual).sum(axis=1)


# Distances from the own labelled window ----------------------------------------


@peer(
    "PCA distance",
    "scikit-learn",
    "`PCA(16)`, and `PCA(8, whiten=True)`, of all windows; Euclidean distance from the "
    "labelled window",
    "https://scikit-learn.org/stable/modules/generated/sklearn.decomposition.PCA.html",
)
def own_distance(windows, n_components=None, whiten=False):
    """Euclidean distance of windows from the sample's own labelled one.

    Of windows without NaN, in the units of X. With `n_components` after
    scikit-learn's PCA, fitted on all windows, `whiten` as there.

    Returns
    -------
    ndarray of shape (n_samples, n_timesteps)
    """
    rows = windows.to_score()
    own = windows.rows[np.arange(len(windows.own)), windows.own]
    if n_components is not None:
        pca = PCA(n_components, whiten=whiten, random_state=0)
        shape = (*rows.shape[:2], n_components)
        rows = pca.fit_transform(rows.reshape(-1, rows.shape[2])).reshape(shape)
        own = pca.transform(own)
    return windows.average(np.linalg.norm(rows - own[:, None], axis=2))


# Breaks ------------------------------------------------------------------------


def composite_ordinals(n_dates, period):
    """Ordinal days of composites: the middles of equal parts of a year."""
    days = (np.arange(n_dates) + 0.5) * 365.25 / period
    return datetime.date(2001, 1, 1).toordinal() + days.astype(np.int64)


@peer(
    "COLD",
    "pyxccd",
    "`cold_detect_flex(dates, ts_stack, qas, lam=20)` on values times 10,000, the "
    "range that this lambda is documented for; tmask on the first two bands; "
    "`p_cg=0.99`, `conse=6` as they come",
    "https://pyxccd.readthedocs.io",
)
def cold(X, ordinals):
    """Change magnitude of each date against label-free breaks by pyxccd's COLD.

    ``cold_detect_flex(dates, ts_stack, qas, lam=20)`` on values times 10000, the
    range that the documented lambda of 20 is meant for; p_cg=0.99, conse=6 as they
    come; tmask on the first two bands. Dates without observation have qa 255.

    Returns
    -------
    list of lists of (timestep, magnitude)
        Breaks of each sample: the first timestep after it, and the norm of
        the change in units of the model's RMSE.
    """
    from pyxccd import cold_detect_flex

    breaks = []
    for series in X:
        qa = np.where(np.isnan(series).all(axis=0), 255, 0)
        stack = np.rint(np.nan_to_num(series.T) * 10000).astype(np.int64)
        segments = cold_detect_flex(
            ordinals, stack, qa, lam=20, tmask_b1_index=1, tmask_b2_index=2
        )
        segments = segments[segments["t_break"] > 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.linalg.norm(segments["magnitude"] / segments["rmse"], axis=1)
        at = np.searchsorted(ordinals, segments["t_break"])
        breaks.append(list(zip(at, np.nan_to_num(size), strict=True)))
    return breaks


@peer(
    "COLD of acquisitions",
    "pyxccd",
    "`cold_detect` with all bands and qa, all else as it comes, as in the first lesson",
    "https://pyxccd.readthedocs.io",
)
def cold_of_acquisitions(ordinals, bands, qa):
    """Break dates, ordinals, of one pixel by ``cold_detect`` with its defaults.

    As in the package's first lesson: all acquisitions with their `qa`, bands blue,
    green, red, nir, swir1, swir2 and thermal, in units of 1e-4.
    """
    from pyxccd import cold_detect

    columns = [np.ascontiguousarray(band) for band in bands.T]
    segments = cold_detect(ordinals, *columns, qa)
    return segments["t_break"][segments["t_break"] > 0]


def beyond_breaks(breaks, label_time, n_dates):
    """Largest magnitude of the breaks between a date and label_time, 0 for none.

    Returns
    -------
    ndarray of shape (n_samples, n_timesteps)
    """
    scores = np.zeros((len(breaks), n_dates))
    date = np.arange(n_dates)
    for score, found, time in zip(scores, breaks, label_time, strict=True):
        for at, size in found:
            beyond = date >= at if at > time else date < at
            score[beyond] = np.maximum(score[beyond], size)
    return scores


@peer(
    "PELT",
    "ruptures",
    '`Pelt(model="l2", jump=1)` on what the mean season of the class leaves, in units '
    "of its standard deviation; penalty log(n) dim sigma², of the user guide",
    "https://centre-borelli.github.io/ruptures-docs/user-guide/detection/pelt/",
)
def pelt(X, period, label_time, y):
    """Breaks by ruptures' PELT on what the season of the class leaves.

    The season of a class is the mean of its labelled seasons, slot by slot; what
    it leaves there has variance sigma^2 per band. ``Pelt(model="l2", jump=1)`` on
    the series less the season of its label, in units of sigma, with the penalty
    of the user guide, ``log(n) * dim * sigma**2``.

    Returns
    -------
    list of lists of (timestep, magnitude)
        Magnitude: distance of the means of the segments that meet there.
    """
    import ruptures

    n, n_bands, n_dates = X.shape
    X = fill(X)
    slot = np.arange(n_dates) % period
    windows = season_windows(X, period, label_time)
    labelled = windows.rows[np.arange(n), windows.own].reshape(n, n_bands, period)
    breaks = [[] for _ in X]
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        season = labelled[members].mean(axis=0)
        sigma = (labelled[members] - season).std(axis=(0, 2))[:, None]
        for i in members:
            left = ((X[i] - season[:, slot]) / sigma).T
            model = ruptures.Pelt(model="l2", jump=1).fit(left)
            ends = model.predict(pen=np.log(n_dates) * n_bands)
            means = [part.mean(axis=0) for part in np.split(left, ends[:-1])]
            sizes = np.linalg.norm(np.diff(means, axis=0), axis=1)
            breaks[i] = list(zip(ends[:-1], sizes, strict=True))
    return breaks


@peer(
    "EWMA, CuSum, MoSum",
    "nrt",
    "`EWMA(trend=False)`, `CuSum(trend=False)` and `MoSum(trend=False)`, all else as "
    "it comes (two harmonics; `fit` by OLS with Shewhart's screening, and by ROC); "
    "NDVI alone, the labelled year as the stable history, then `monitor` date by date",
    "https://pypi.org/project/nrt/",
)
def monitors(series, ordinals, history):
    """First breaks of one band by the monitors of nrt, which watch each new date.

    Parameters
    ----------
    series : ndarray of shape (n_samples, n_timesteps)
    ordinals : ndarray of shape (n_timesteps,)
        Ordinal days of the dates.
    history : int
        How many dates from the first one on are known to be normal.

    Returns
    -------
    dict of lists of lists of (timestep, magnitude)
        By monitor; the magnitude is 1.
    """
    import xarray as xr
    from nrt.monitor.cusum import CuSum
    from nrt.monitor.ewma import EWMA
    from nrt.monitor.mosum import MoSum

    epoch = datetime.date(1970, 1, 1).toordinal()
    days = ordinals - epoch
    images = series.T[:, None].astype(np.float64)  # a row of pixels at each date
    past = xr.DataArray(
        images[:history],
        dims=("time", "y", "x"),
        coords={
            "time": days[:history].astype("datetime64[D]").astype("datetime64[ns]"),
            "y": [0],
            "x": np.arange(len(series)),
        },
    )
    breaks = {}
    for kind in (EWMA, CuSum, MoSum):
        monitor = kind(trend=False)
        monitor.fit(dataarray=past)
        for image, day in zip(images[history:], days[history:], strict=True):
            date = datetime.datetime(1970, 1, 1) + datetime.timedelta(days=int(day))
            monitor.monitor(array=image, date=date)
        at = np.searchsorted(days, monitor.detection_date[0])
        broken = monitor.mask[0] == 3
        breaks[kind.__name__] = [
            [(first, 1)] if seen else [] for first, seen in zip(at, broken, strict=True)
        ]
    return breaks
