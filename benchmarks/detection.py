"""Change scores beside those of peers on the same series.

::

    python -m benchmarks detection                       # everything
    python -m benchmarks detection cerrado --seeds 1     # one part, one seed

A cell is the mean over the seeds, with a 95 % t-interval; what has no random
numbers is run once. All peers see the windows and the labels that the detector sees.
AUROC and AP rank observed dates; a date is changed where its true label is not the
static one. "Breaks" is the share of all true breaks that are dated within 3
dates by the flag (or label) nearest label_time that changes: a missed one is wrong.

``cerrado``: four-year MODIS series, half of which switch class once; every year of a
series is another pixel. The forests predict a sample only if not trained on it; the
detector and PyOD's hold a fifth of the samples out for their thresholds, which are set
where the label is known. Nothing is known of unchanged dates to the peers of the self
reference: their flags are the highest hundredth. One row of the detector, with the
first seed, is of five folds, each scored by a detector fitted on the others. The
monitors of nrt watch NDVI and learn each series' own first year, so they are run only
where all labels are of that year.

``simulated``: four years of one pixel, clouds, three classes: abrupt and gradual
changes, disturbances that recover, and false alarms on new stable series.

``servers``: metrics of six servers, train and test cut into pieces of 30 steps, 10
steps apart, bands scaled as in train. A piece is one sample of one window for
everybody; scores of a step are averaged over the pieces that cover it.

``fire``: acquisitions of one pixel, fitted before 2023, scored from then on.
"""

import datetime
from functools import partial
from unittest import mock

import numpy as np
from sklearn.metrics import precision_recall_curve
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import Bunch

from benchmarks import data, peers
from benchmarks.provenance import peer
from benchmarks.tables import mean_and_interval, show
from sktasgen import HTSVAEDetector, training
from sktasgen.datasets import make_pixel_series
from sktasgen.metrics import break_within, nearest_break, timestep_detection_scores

# The rate of false alarms asked for wherever flags are counted, but in their own table.
# Low, for a change seems to begin early where many normal dates may be flagged.
RATE = 0.01
WITH_CLASS = "score_timesteps(X, y, label_time=)"


# cerrado -----------------------------------------------------------------------


def cerrado(arguments):
    """Tables of the two MODIS sets."""
    seeds = range(arguments.seeds)
    for name in ("disjoint", "anywhere"):
        series = data.cerrado(name)
        table = Table("reference", "method", "score")
        for seed in seeds:
            for row, scores, flags in _class_rows(series, seed):
                table.add("class", *row, _date_figures(series, scores, flags))
            for row, scores, flags in _self_rows(series, seed):
                table.add("self", *row, _date_figures(series, scores, flags))
            if seed == seeds[0]:
                for row, breaks in _break_rows(series):
                    n_dates = series.X.shape[2]
                    scores = peers.beyond_breaks(breaks, series.label_time, n_dates)
                    figures = _date_figures(series, scores, scores > 0)
                    table.add(*row, figures)
        table.show(
            f"cerrado_{name}", "AUROC", "AP", "breaks", "unchanged dates flagged"
        )
        dating = Table("network", "false_alarm_rate")
        for seed in seeds:
            _add_dating(dating, series, seed)
        dating.show(
            f"cerrado_{name}: changes dated by predict_timesteps(X, y, label_time=)",
            *("AUROC", "AP", "breaks", "unchanged dates flagged"),
        )


def _add_dating(table, series, seed):
    """Rows of networks by size, and of the rates that may be asked of them."""
    given = dict(X=series.X, y=series.y, label_time=series.label_time)
    for params in ({}, dict(hidden_size=64), dict(hidden_size=64, max_iter=1200)):
        named = ", ".join(f"{name}={value}" for name, value in params.items())
        detector = _detector(series, "class", seed, **params)
        scores = detector.score_timesteps(**given)
        # Only thresholds depend on the rate.
        trained = detector.weights_, detector.loss_curve_, detector.validation_curve_
        with mock.patch.object(training, "train", return_value=trained):
            for rate in (0.05, 0.02, 0.01, 0.005):
                params = params | dict(false_alarm_rate=rate)
                flags = _detector(series, "class", seed, **params).predict_timesteps(
                    **given
                )
                figures = _date_figures(series, scores, flags)
                table.add(named or "defaults", f"{rate:.1%}", figures)


def _date_figures(series, scores, flags):
    """AUROC, AP, breaks dated within 3, share of unchanged dates flagged."""
    changed = series.Y != series.y[:, None]
    ranking = timestep_detection_scores(changed, scores)
    found = nearest_break(flags, series.label_time)
    within = break_within(series.break_at, found, 3)
    return ranking.auroc, ranking.average_precision, within, flags[~changed].mean()


def _class_rows(series, seed):
    """(method, score), scores, flags of what is given y and label_time."""
    X, y, times, period = series.X, series.y, series.label_time, series.period
    classes = np.unique(y, return_inverse=True)[1]
    yield ("**sktasgen**", WITH_CLASS), *_detect(series, "class", seed)
    if seed == 0:
        found = _detect_unseen(series, seed)
        yield ("**sktasgen**, samples it was not fitted on", WITH_CLASS), *found

    windows = peers.season_windows(X, period, times)
    of_windows = peers.forest_of_windows(windows, y, seed)
    of_dates = peers.forest_of_dates(X, period, times, y, seed)
    fused = peers.fuse(of_windows, of_dates)
    raw = np.exp(fused)
    raw /= raw.sum(axis=2, keepdims=True)
    for method, evidence, probability in (
        ("window forest", peers.log_probability(of_windows), of_windows),
        ("two forests fused", fused, raw),
    ):
        smoothed = peers.smooth(probability)
        posterior, labels = peers.decode(evidence, classes, times)
        for score, found, decided in (
            ("-log p(y)", probability, probability.argmax(2)),
            ("-log p(y), p smoothed over 5", smoothed, smoothed.argmax(2)),
            ("-log p(y), forward-backward; flags Viterbi", posterior, labels),
        ):
            scores = peers.against_label(found, classes)
            yield (method, score), scores, decided != classes[:, None]

    near = abs(np.arange(X.shape[2]) - times[:, None]) <= period // 4
    for method, scorer in (
        ("PyOD ECOD", peers.ecod),
        ("PyOD AutoEncoder", peers.autoencoder),
    ):
        outlying, held_out = peers.outlier_scores(windows, y, seed, scorer)
        own, least = peers.of_label(outlying, classes)
        for score, scores in (
            ("outlier score in own class", own),
            ("the same less the lowest of other classes", own - least),
        ):
            threshold = np.quantile(scores[held_out][near[held_out]], 1 - RATE)
            yield (method, score), scores, scores > threshold


def _self_rows(series, seed):
    """(method, score), scores, flags of what is given label_time alone."""
    scores, flags = _detect(series, "self", seed)
    yield ("**sktasgen**", "score_timesteps(X, label_time=)"), scores, flags
    windows = peers.season_windows(
        peers.fill(series.X), series.period, series.label_time
    )
    for method, scores in _distances(windows):
        yield (method, "distance from own window"), scores, _highest(scores)


def _distances(windows):
    yield "Euclidean", peers.own_distance(windows)
    yield "PCA, 16 components", peers.own_distance(windows, 16)
    yield "PCA, 8 whitened components", peers.own_distance(windows, 8, whiten=True)


def _break_rows(series):
    """(reference, method, score), breaks of what looks for breaks in a series."""
    ordinals = peers.composite_ordinals(series.X.shape[2], series.period)
    size = "size of the largest break between the date and label_time"
    yield ("none", "COLD", size), peers.cold(series.X, ordinals)
    found = peers.pelt(series.X, series.period, series.label_time, series.y)
    yield ("class", "PELT", size), found
    # The monitors need a history to begin with: the year of the label.
    if series.label_time.max() < series.period:
        found = peers.monitors(series.X[:, 0], ordinals, series.period)
        for monitor, breaks in found.items():
            yield ("self", f"nrt {monitor}", "after its break"), breaks


@peer(
    "sktasgen",
    "sktasgen",
    "`HTSVAEDetector(period=..., reference=..., false_alarm_rate=0.01, "
    "random_state=seed)`, else defaults; where a table names a rate, a smoothing or a "
    "network, that",
    "docs/user_guide.md",
)
def _detector(series, reference, seed, **params):
    """The detector, fitted with its defaults."""
    detector = HTSVAEDetector(
        period=series.period,
        reference=reference,
        random_state=seed,
        **dict(false_alarm_rate=RATE) | params,
    )
    y = series.y if reference == "class" else None
    return detector.fit(series.X, y, label_time=series.label_time)


def _detect(series, reference, seed, **params):
    """Scores and flags of the detector."""
    detector = _detector(series, reference, seed, **params)
    y = series.y if reference == "class" else None
    scores = detector.score_timesteps(series.X, y, label_time=series.label_time)
    flags = detector.predict_timesteps(series.X, y, label_time=series.label_time)
    return scores, flags


def _detect_unseen(series, seed):
    """The same for the class reference, in five folds."""
    scores, flags = np.empty(series.Y.shape), np.empty(series.Y.shape, dtype=bool)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    for train, test in folds.split(series.X, series.y):
        detector = _detector(_rows(series, train), "class", seed)
        given = _rows(series, test)
        given = dict(X=given.X, y=given.y, label_time=given.label_time)
        scores[test] = detector.score_timesteps(**given)
        flags[test] = detector.predict_timesteps(**given)
    return scores, flags


def _rows(series, rows):
    """Some samples of a set."""
    parts = {name: series[name][rows] for name in ("X", "y", "label_time")}
    return Bunch(**parts, period=series.period)


def _highest(scores):
    return scores > np.nanquantile(scores, 1 - RATE)


# simulated ---------------------------------------------------------------------


def simulated(arguments):
    """Tables of simulated pixels: changes, disturbances, false alarms."""
    seeds = range(arguments.seeds)
    changes = Table("changes", "reference", "method", "score")
    disturbances = Table("reference", "method", "score")
    alarms = Table("new series", "asked", "smoothing", "reference")
    for seed in seeds:
        abrupt = make_pixel_series(300, random_state=seed)
        _add_changes(changes, abrupt, {"abrupt": abrupt.break_at >= 0}, seed)
        gradual = make_pixel_series(300, gradual_fraction=1, random_state=seed)
        months = gradual.transition
        durations = {
            f"over {low}-{high} months": (months > low) & (months <= high)
            for low, high in ((3, 6), (6, 12), (12, 24))
        }
        _add_changes(changes, gradual, durations, seed)
        _add_disturbances(disturbances, seed)
        _add_alarms(alarms, seed)
    changes.show("Simulated changes (each with all stable samples)", "AUROC", "AP")
    disturbances.show("Simulated disturbances that recover", "AUROC", "AP")
    alarms.show("False alarms on new stable series", "flagged", "flagged / asked")


def _add_changes(table, series, kinds, seed):
    """Rows of class and self; `kinds` names the masks of changed samples."""
    changed = series.Y != series.y[:, None]
    for reference, method, score, scores in _simulated_rows(series, seed):
        scores = np.where(np.isnan(series.X).all(axis=1), np.nan, scores)
        for kind, members in kinds.items():
            members = members | (series.break_at < 0)
            ranking = timestep_detection_scores(changed[members], scores[members])
            figures = ranking.auroc, ranking.average_precision
            table.add(kind, reference, method, score, figures)


def _simulated_rows(series, seed):
    """reference, method, score, scores."""
    y, times, period = series.y, series.label_time, series.period
    detector = _detector(series, "class", seed)
    scores = detector.score_timesteps(series.X, y, label_time=times)
    yield "class", "**sktasgen**", WITH_CLASS, scores
    scores = detector.score_timesteps(series.X, label_time=times)
    yield "class, no y", "**sktasgen**", "score_timesteps(X)", scores
    windows = peers.season_windows(series.X, period, times)
    of_windows = peers.forest_of_windows(windows, y, seed)
    of_dates = peers.forest_of_dates(series.X, period, times, y, seed)
    fused = peers.fuse(of_windows, of_dates)
    posterior, _ = peers.decode(fused, y, times)
    for method, score, probability in (
        ("window forest", "-log p(y)", of_windows),
        ("two forests fused", "-log p(y), forward-backward", posterior),
    ):
        yield "class", method, score, peers.against_label(probability, y)
    filled = peers.season_windows(peers.fill(series.X), period, times)
    outlying, _ = peers.outlier_scores(filled, y, seed, peers.ecod)
    own, least = peers.of_label(outlying, y)
    yield "class", "PyOD ECOD", "outlier score in own class", own
    yield "class", "PyOD ECOD", "the same less the lowest of others", own - least
    given_time = "self", "**sktasgen**", "score_timesteps(X, label_time=)"
    yield *given_time, _detect(series, "self", seed)[0]
    for method, scores in _distances(filled):
        yield "self", method, "distance from own window", scores


def _add_disturbances(table, seed):
    """Every score of stable samples, each of which is disturbed once."""
    series = make_pixel_series(
        400, change_fraction=0, disturbance_fraction=1, random_state=seed
    )

    def add(*row, scores):
        scores = np.where(np.isnan(series.X).all(axis=1), np.nan, scores)
        ranking = timestep_detection_scores(series.disturbed, scores)
        table.add(*row, (ranking.auroc, ranking.average_precision))

    for *row, scores in _simulated_rows(series, seed):
        add(*row, scores=scores)
    for reference in ("class", "any"):
        detector = _detector(series, reference, seed)
        y = series.y if reference == "class" else None
        for name, part in detector.score_parts(series.X, y).items():
            add(reference, "**sktasgen**", f"score_parts(X, y).{name}", scores=part)
    add(
        "any",
        "**sktasgen**",
        "score_timesteps(X)",
        scores=detector.score_timesteps(series.X),
    )


def _add_alarms(table, seed):
    """Share of dates flagged, of new pixels in the same years and in others."""
    both = make_pixel_series(1400, change_fraction=0, random_state=seed)
    other = make_pixel_series(400, change_fraction=0, random_state=1000 + seed)
    train, new = np.arange(1000), np.arange(1000, 1400)
    news = {
        "same years": (both.X[new], both.y[new], both.label_time[new]),
        "other years": (other.X, other.y, other.label_time),
    }
    for reference in ("class", "self", "any"):
        for rate in (0.05, 0.01):
            for smoothing in (1, "auto"):
                detector = HTSVAEDetector(
                    period=both.period,
                    reference=reference,
                    false_alarm_rate=rate,
                    smoothing=smoothing,
                    random_state=seed,
                )
                y = both.y[train] if reference == "class" else None
                detector.fit(both.X[train], y, label_time=both.label_time[train])
                for name, (X, new_y, times) in news.items():
                    observed = ~np.isnan(X).all(axis=1)
                    given = {reference: None}
                    if reference == "class":
                        given = {"class": new_y, "class, no y": None}
                    for row, y in given.items():
                        flags = detector.predict_timesteps(X, y, label_time=times)
                        share = flags[observed].mean()
                        figures = share, share / rate
                        table.add(name, f"{rate:.0%}", smoothing, row, figures)


# servers -----------------------------------------------------------------------


def servers(arguments):
    """Table of anomalies in server metrics."""
    seeds = range(arguments.seeds)
    table = Table("method", "score")
    sets = data.servers()
    for seed in seeds:
        figures = {}
        for train, test, anomalous in sets:
            for row, scores in _server_rows(train, test, seed):
                figures.setdefault(row, []).append(_anomaly_figures(anomalous, scores))
        for row, per_server in figures.items():
            table.add(*row, tuple(np.mean(per_server, axis=0)))
    table.show(
        f"Server metrics, mean of {len(sets)}", "AP", "best F1", "best F1, adjusted"
    )


@peer(
    "sktasgen, on servers",
    "sktasgen",
    '`HTSVAEDetector(period=30, reference="any", random_state=seed)`',
    "docs/user_guide.md",
)
def _server_rows(train, test, seed):
    """(method, score), scores of each step of test, (t,)."""
    train, test = peers.scale(train, test)
    X, new = peers.pieces(train), peers.pieces(test)
    spread = partial(peers.average_pieces, n_steps=len(test))

    detector = HTSVAEDetector(
        period=peers.PIECE, reference="any", random_state=seed
    ).fit(X)
    yield ("**sktasgen**", "score_timesteps(X)"), spread(detector.score_timesteps(new))
    residual = peers.pca_residual(X, new)
    method = "PCA, 90 % of variance"
    yield (method, "squared residual of the step"), spread(residual)
    whole = np.broadcast_to(residual.mean(axis=1, keepdims=True), residual.shape)
    yield (method, "squared residual of the piece"), spread(whole)
    rows, new_rows = X.reshape(len(X), -1), new.reshape(len(new), -1)
    for method, scorer in (
        ("PyOD ECOD", peers.ecod),
        ("PyOD AutoEncoder", peers.autoencoder),
    ):
        scores = np.repeat(scorer(rows, new_rows, seed)[:, None], peers.PIECE, axis=1)
        yield (method, "outlier score of the piece"), spread(scores)
    yield ("PyOD ECOD", "outlier score of the step"), peers.ecod(train, test, seed)
    random = np.random.default_rng(seed).uniform(size=len(test))
    yield ("random", "uniform"), random


def _anomaly_figures(anomalous, scores):
    """Average precision, best F1, best F1 with point adjustment.

    Adjustment: an anomalous run counts as found throughout once one step of it is.
    """
    ranking = timestep_detection_scores(anomalous[None], scores[None])
    adjusted = scores.copy()
    edges = np.flatnonzero(np.diff(anomalous, prepend=False, append=False))
    for start, end in edges.reshape(-1, 2):
        adjusted[start:end] = scores[start:end].max()
    return (
        ranking.average_precision,
        _best_f1(anomalous, scores),
        _best_f1(anomalous, adjusted),
    )


def _best_f1(truth, scores):
    precision, recall, _ = precision_recall_curve(truth, scores)
    return (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()


# fire --------------------------------------------------------------------------

FIRE = np.datetime64("2024-03-23")
RUN = 6


def fire(arguments):
    """When each first says that the forest burnt."""
    seeds = range(arguments.seeds)
    pixel = data.fire()
    epoch = datetime.date(1970, 1, 1).toordinal()
    dates = (pixel.ordinals - epoch).astype("datetime64[D]")
    clear = np.isin(pixel.qa, (0, 1))  # COLD takes water for clear, too
    bands = pixel.bands[:, :6].astype(float)  # the thermal band is empty
    bands[(bands <= -9999) | (bands >= 20000)] = np.nan
    dates, X = dates[clear], bands[clear].T[None]
    before = dates < np.datetime64("2023-01-01")

    print(f"\n## Fire pixel: first run of {RUN} flagged clear observations\n")
    print(f"Truth: {FIRE}, and none between 2023-01-01 and then.\n")
    print("| method | seed | first run | days late | share flagged before |")
    print("|---|---|---|---|---|")
    for seed in seeds:
        detector = _detector_of_acquisitions(dates[before], seed)
        detector.fit(X[..., before])
        flags = detector.predict_timesteps(X[..., ~before], dates=dates[~before])[0]
        stable = flags[dates[~before] < FIRE].mean()
        found = _first_run(flags, dates[~before])
        _print_fire("**sktasgen**", seed, found, f"{stable:.3f}")
    for found in peers.cold_of_acquisitions(pixel.ordinals, pixel.bands, pixel.qa):
        _print_fire("COLD, breaks", "", np.datetime64(int(found) - epoch, "D"), "")


@peer(
    "sktasgen, on acquisitions",
    "sktasgen",
    "`HTSVAEDetector(dates=..., random_state=seed)`",
    "docs/user_guide.md",
)
def _detector_of_acquisitions(dates, seed):
    return HTSVAEDetector(dates=dates, random_state=seed)


def _first_run(flags, dates):
    runs = np.convolve(flags, np.ones(RUN, dtype=int), "valid") == RUN
    return dates[np.argmax(runs)] if runs.any() else None


def _print_fire(name, seed, found, stable):
    late = "never" if found is None else (found - FIRE).astype(int)
    print(f"| {name} | {seed} | {found} | {late} | {stable} |", flush=True)


# tables ------------------------------------------------------------------------


class Table:
    """Rows of figures, gathered over seeds and printed in the order they came."""

    def __init__(self, *names):
        self.names = names
        self.rows = {}

    def add(self, *row_and_figures):
        *row, figures = row_and_figures
        self.rows.setdefault(tuple(row), []).append(figures)

    def show(self, title, *columns):
        cells = [
            [*row, *map(mean_and_interval, np.transpose(figures))]
            for row, figures in self.rows.items()
        ]
        show(title, [*self.names, *columns], cells)


PARTS = {"cerrado": cerrado, "simulated": simulated, "servers": servers, "fire": fire}
OPTIONS = {"seeds": 3}
QUICK = "cerrado fire --seeds 1"
