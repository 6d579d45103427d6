"""Which cells are abnormal, beside what peers say.

::

    python -m benchmarks explanation                      # everything
    python -m benchmarks explanation injected --seeds 1   # one part, one seed
    python -m benchmarks explanation injected --only explainer,residual

``injected``: anomalies put into stable series, four-year MODIS ones (two bands; every
year is another pixel) and simulated ones without clouds (six bands), half of which, at
random, train and half are tested, 200 each. The detector is fitted on the former with
y and label_time; the explainer has its defaults and is given y and label_time. Every
test series has one anomaly. A block of dates is shifted up or down, by so many sigma
in all chosen bands; scattered dates are blocks of one. Sigma is the standard
deviation, over the training series of the class and all years, of the values of that
band in that season slot, however much of it a detector can tell from the rest of the
series: a shift of one sigma is well within what the class shows. "Several" bands are a
third to half of them, drawn anew for each series (of two bands, one). Last, so many
dates of each series, drawn at random, are hidden, those of the anomaly not excepted.
Training series are complete.

A cell of the tables is the average precision of all observed cells of the test series
together, the mean over the seeds with a 95 % t-interval; each seed splits, trains and
injects anew. How
peers are run is told in `explain_peers`; those that are smoothed are so in four ways,
of which the best in the row is taken. "Ahead" is the explainer's average precision
less that of the best peer in the row, with a 95 % interval: a percentile bootstrap
over the test series, both resampled alike. It does not know of the choice of the best,
which is in the peers' favour, nor of detectors trained otherwise than by the seeds.
Every MODIS sample-year recurs in several series, so that it is rather narrow there.

``servers``: metrics of six servers, with 38 anomalous intervals, of each of which the
metrics that explain it are known. Detector and pieces are those of
`benchmarks.detection`; scores of a step and metric are averaged over the pieces that
cover it. The score of a metric in an interval is the maximum, or the mean, over the
steps of the interval; metrics are ranked by it, ties at random (mean of 100 draws).
The maximum is InterFusion's way, which takes the lowest likelihood of an interval. With
m true metrics, HitRate@100% is the share of them among the first m of the ranking and
HitRate@150% that among the first floor(1.5 m), means over all intervals. The
InterFusion score (IPS; Li et al., KDD 2021) is the mean of the same shares over the
steps of all intervals, so that long ones weigh more; none is left out as undetected. Of
PCA the number of components, of steps or of pieces, is the one with the best
HitRate@100%, found on the same labels. Figures are means over the seeds. "Ahead" is by
how much the explainer is so of the best peer, which may be another one for each figure,
with a 95 % interval: a percentile bootstrap over the intervals, both resampled alike.
"""

from typing import NamedTuple

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch, check_random_state

from benchmarks import data as sets
from benchmarks import explain_peers as peers
from benchmarks import provenance
from benchmarks.peers import PIECE, pieces, scale
from benchmarks.tables import mean_and_interval, show
from sktasgen import GibbsExplainer, HTSVAEDetector
from sktasgen.datasets import make_pixel_series
from sktasgen.metrics import cell_attribution_ap

N_BOOTSTRAPS = 1000
N_TIES = 100

# injected ----------------------------------------------------------------------


class Case(NamedTuple):
    """What is injected; the first of CASES is the one that the others vary."""

    sigmas: float = 2
    bands: str = "several"
    dates: int = 8
    scattered: bool = False
    missing: float = 0


CASES = [
    Case(),
    Case(sigmas=1),
    Case(sigmas=3),
    Case(bands="one"),
    Case(bands="all"),
    Case(dates=1),
    Case(dates=4),
    Case(scattered=True),
    Case(missing=0.3),
    Case(missing=0.6),
    Case(sigmas=1, bands="one", scattered=True, missing=0.6),
    Case(sigmas=3, bands="all", dates=1),
    Case(sigmas=3, bands="one", dates=4, scattered=True, missing=0.3),
]


class Fitted(NamedTuple):
    """Training series, test series and what was fitted on the former."""

    train: Bunch
    test: Bunch
    detector: HTSVAEDetector
    explainer: GibbsExplainer


def _explainer(fitted, test):
    given = dict(X=test.X, y=test.y, label_time=test.label_time)
    return {"": fitted.explainer.explain(**given)}


def _residual(fitted, test):
    return {"": np.abs(peers.residuals(fitted.detector, fitted.train, test))}


def _smoothed_residual(fitted, test):
    return peers.smoothed(peers.residuals(fitted.detector, fitted.train, test))


def _slot(fitted, test):
    return {"": np.abs(peers.slot_gaussian(fitted.train, test))}


def _smoothed_slot(fitted, test):
    return peers.smoothed(peers.slot_gaussian(fitted.train, test))


def _gradients(fitted, test):
    return {"": peers.integrated_gradients(fitted.detector, fitted.train, test)}


METHODS = {
    "explainer": ("**GibbsExplainer**", _explainer),
    "residual": ("\\|x - mu\\| / sigma", _residual),
    "smoothed": ("the same, smoothed", _smoothed_residual),
    "slot": ("class slot Gaussian", _slot),
    "smoothed_slot": ("the same, smoothed", _smoothed_slot),
    "gradients": ("integrated gradients", _gradients),
}


def injected(arguments):
    """A table for each set: a row per case, a column per method."""
    seeds = range(arguments.seeds)
    methods = {
        name: method
        for name, method in METHODS.items()
        if arguments.only is None or name in arguments.only
    }
    for name, load in SERIES.items():
        try:
            series = [load(seed) for seed in seeds]
        except sets.Missing as missing:
            print(f"\n## Injected: {name}\n\nLeft out: {missing}")
            continue
        fitted = [_fit(one, seed) for seed, one in enumerate(series)]
        header = ["sigmas", "bands", "dates", "missing"]
        header += [title for title, _ in methods.values()]
        header += ["ahead"] if len(methods) > 1 and "explainer" in methods else []
        rows = _rows(fitted, methods, ahead=header[-1] == "ahead")
        show(f"Injected: {name}", header, rows)


def _rows(fitted, methods, ahead):
    n_bands = fitted[0].test.X.shape[1]
    for case in CASES:
        if n_bands == 2 and case.bands == "several":
            case = case._replace(bands="one")
        elif n_bands == 2 and case == Case(bands="one"):
            continue  # the same as the first
        tests = [_inject(one, case, seed) for seed, one in enumerate(fitted)]
        best = [
            _best(tests, [function(*pair) for pair in zip(fitted, tests, strict=True)])
            for _, function in methods.values()
        ]
        layout = "scattered" if case.scattered else "in a block"
        dates = f"{case.dates} {layout}" if case.dates > 1 else 1
        cells = [case.sigmas, case.bands, dates, f"{case.missing:.0%}"]
        cells += [mean_and_interval(figures, "{:.3f}") for figures, _ in best]
        yield [*cells, _ahead(tests, *best)] if ahead else cells


def _best(tests, variants):
    """Average precisions of the best of a method's variants, and its scores."""
    found = []
    for name in variants[0]:
        scores = [each[name] for each in variants]
        truths = [test.truth for test in tests]
        found.append(([*map(cell_attribution_ap, truths, scores)], scores))
    return max(found, key=lambda pair: np.mean(pair[0]))


def _ahead(tests, explainer, *others):
    """How far the first is ahead of the best of the others, with an interval."""
    peer = max(others, key=lambda pair: np.mean(pair[0]))
    random = check_random_state(0)
    differences = np.zeros(N_BOOTSTRAPS)
    for test, *both in zip(tests, explainer[1], peer[1], strict=True):
        first, second = (_Ranking(test.truth, scores) for scores in both)
        n = len(test.truth)
        for i in range(N_BOOTSTRAPS):
            times = np.bincount(random.randint(n, size=n), minlength=n)
            differences[i] += first.ap(times) - second.ap(times)
    low, high = np.quantile(differences / len(tests), (0.025, 0.975))
    ahead = np.mean(explainer[0]) - np.mean(peer[0])
    return f"{ahead:+.3f} ({low:+.3f} to {high:+.3f})"


class _Ranking:
    """Average precision of cells when samples count several times or not at all."""

    def __init__(self, truth, scores):
        observed = ~np.isnan(scores)
        order = np.argsort(-scores[observed], kind="stable")
        self.sample = np.nonzero(observed)[0][order]
        self.truth = truth[observed][order]
        ranked = scores[observed][order]
        self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))

    def ap(self, times):
        """Like `cell_attribution_ap`, sample i counted ``times[i]`` times."""
        weight = times[self.sample]
        above = np.cumsum(weight)[self.ends]
        true = np.cumsum(weight * self.truth)[self.ends]
        precision = true / np.maximum(above, 1)
        return (np.diff(true, prepend=0) * precision).sum() / true[-1]


def _modis(name):
    def load(_):
        series = sets.cerrado(name)
        return _take(series, series.break_at == -1)

    return load


def _simulated(seed):
    # As many as the others have; clouds are put in later.
    series = make_pixel_series(
        400, change_fraction=0, cloud_fraction=0, random_state=seed
    )
    return _take(series, slice(None))


SERIES = {
    "cerrado_disjoint": _modis("disjoint"),
    "cerrado_anywhere": _modis("anywhere"),
    "simulated": _simulated,
}


def _take(series, rows):
    parts = {name: series[name][rows] for name in ("X", "y", "label_time")}
    return Bunch(**parts, period=series.period)


@provenance.peer(
    "sktasgen",
    "sktasgen",
    "`GibbsExplainer(HTSVAEDetector(period=..., random_state=seed), "
    "random_state=seed)`, the detector fitted before; given y and label_time",
    "docs/user_guide.md",
)
def _fit(series, seed):
    """Halves of the series, with a detector and an explainer fitted on the first."""
    rows = check_random_state(seed).permutation(len(series.X))
    train, test = (_take(series, half) for half in np.array_split(rows, 2))
    given = dict(X=train.X, y=train.y, label_time=train.label_time)
    detector = HTSVAEDetector(period=train.period, random_state=seed).fit(**given)
    explainer = GibbsExplainer(FrozenEstimator(detector), random_state=seed)
    return Fitted(train, test, detector, explainer.fit(**given))


def _inject(fitted, case, seed):
    """The test series with an anomaly each, and the truth of their cells."""
    random = check_random_state(seed)
    train, test = fitted.train, fitted.test
    n_samples, n_bands, n_dates = test.X.shape
    truth, sign = np.zeros(test.X.shape, dtype=bool), np.ones((n_samples, 1, n_dates))
    hidden = np.zeros((n_samples, 1, n_dates), dtype=bool)
    for i in range(n_samples):
        several = random.randint(-(-n_bands // 3), n_bands // 2 + 1)
        n = {"one": 1, "several": several, "all": n_bands}[case.bands]
        bands = random.permutation(n_bands)[:n]
        if case.scattered:
            dates = random.permutation(n_dates)[: case.dates]
            sign[i, :, dates] = random.choice([-1, 1], size=(case.dates, 1))
        else:
            dates = np.arange(case.dates) + random.randint(n_dates - case.dates + 1)
            sign[i] = random.choice([-1, 1])
        truth[i][np.ix_(bands, dates)] = True
        n_hidden = round(case.missing * n_dates)
        hidden[i, :, random.permutation(n_dates)[:n_hidden]] = True
    season = peers.ClassSeason(train.X, train.y, train.period)
    X = test.X + case.sigmas * season.std(test.y, n_dates) * sign * truth
    X = np.where(hidden, np.nan, X).astype(test.X.dtype)
    return Bunch(**test | {"X": X, "truth": truth & ~hidden})


# servers -----------------------------------------------------------------------


def servers(arguments):
    """A table: a row per method and aggregation."""
    seeds = range(arguments.seeds)
    causes = [cause for found in sets.server_causes() for cause in found]
    lengths = np.array([stop - start for start, stop, _ in causes])
    shares = {}  # of each row and interval: HitRate@100 %, HitRate@150 %
    for seed in seeds:
        found = {}
        for (train, test, _), known in zip(
            sets.servers(), sets.server_causes(), strict=True
        ):
            scores = _server_scores(*scale(train, test), seed)
            for row, score in scores.items():
                for name, aggregate in (("maximum", np.max), ("mean", np.mean)):
                    found.setdefault((*row, name), []).extend(
                        _hit_rates(aggregate(score[start:stop], axis=0), true, seed)
                        for start, stop, true in known
                    )
        for row, figures in found.items():
            shares.setdefault(row, []).append(figures)
    shares = {row: np.mean(figures, axis=0) for row, figures in shares.items()}
    shares = _best_variants(shares)
    even = np.ones(len(causes))
    header, rows = ["method", "over the interval"], [[*row] for row in shares]
    for title, chance, weights, compare in (
        ("HitRate@100%", 0, even, True),
        ("HitRate@150%", 1, even, False),
        ("IPS@100%", 0, lengths, True),
        ("IPS@150%", 1, lengths, False),
    ):
        header += [title, "ahead"] if compare else [title]
        parts = [figures[:, chance] for figures in shares.values()]
        means = [np.average(part, weights=weights) for part in parts]
        peer = max(
            (i for i, row in enumerate(shares) if row[0] != OURS),
            key=lambda i: means[i],
        )
        for row, part, mean in zip(rows, parts, means, strict=True):
            row.append(f"{mean:.3f}")
            if compare:
                ours = row[0] == OURS
                row.append(_margin(part - parts[peer], weights) if ours else "")
    show(f"Server metrics, {len(causes)} intervals", header, rows)


OURS = "**GibbsExplainer**"


@provenance.peer(
    "sktasgen, on servers",
    "sktasgen",
    '`GibbsExplainer(HTSVAEDetector(period=30, reference="any", random_state=seed), '
    "random_state=seed)`, the detector fitted before",
    "docs/user_guide.md",
)
def _server_scores(train, test, seed):
    """{(method, variant): score of each step and metric, (n_steps, n_metrics)}."""
    X, new = pieces(train), pieces(test)
    detector = HTSVAEDetector(period=PIECE, reference="any", random_state=seed).fit(X)
    explainer = GibbsExplainer(FrozenEstimator(detector), random_state=seed).fit(X)
    explained = peers.of_steps(explainer.explain(new), len(test))
    return {
        (OURS, ""): explained,
        ("\\|x - train mean\\| / train std", ""): np.abs(test),
        **{
            ("PCA residual", variant): score
            for variant, score in peers.pca_residuals(train, test).items()
        },
        ("random", ""): np.zeros(test.shape),
    }


def _hit_rates(scores, true, seed):
    """HitRate@100 % and HitRate@150 % of one interval, the mean over draws of ties."""
    random = check_random_state(seed)
    ties = random.uniform(size=(N_TIES, len(scores)))
    ranking = np.lexsort((ties, np.broadcast_to(-scores, ties.shape)))
    hits = np.isin(ranking, true)
    chances = len(true), 3 * len(true) // 2
    return [hits[:, :n].sum(axis=1).mean() / len(true) for n in chances]


def _best_variants(shares):
    """The best variant of every method and aggregation, named with it."""
    best = {}
    for (method, variant, aggregation), figures in shares.items():
        key = method, aggregation
        if key not in best or figures[:, 0].mean() > best[key][1][:, 0].mean():
            best[key] = variant, figures
    return {
        (f"{method}, {variant}" if variant else method, aggregation): figures
        for (method, aggregation), (variant, figures) in best.items()
    }


def _margin(difference, weights):
    """Weighted mean over intervals, with an interval."""
    random = check_random_state(0)
    drawn = random.randint(len(difference), size=(10_000, len(difference)))
    means = np.average(difference[drawn], axis=1, weights=weights[drawn])
    low, high = np.quantile(means, (0.025, 0.975))
    mean = np.average(difference, weights=weights)
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


PARTS = {"injected": injected, "servers": servers}
OPTIONS = {"seeds": 3, "only": None}
QUICK = "servers injected --seeds 1 --only explainer,residual,smoothed"
