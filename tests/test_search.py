"""Without these: searches that waste hours, or score what they did not train.

Latent size, window length and classifiers are chosen together; fields, label dates
and weights go where they belong; and detectors that were trained are not trained anew.
"""

from pathlib import Path

import numpy as np
import optuna
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    cross_val_score,
    cross_validate,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sktasgen import BandScaler, HTSVAEDetector, StableSampleRelabeler, calibration
from sktasgen.datasets import make_pixel_series
from sktasgen.evidence import fit_classifier
from sktasgen.metrics import (
    label_time_accuracy,
    label_time_f1_macro,
    make_label_time_scorer,
)

# Detectors that are trained so little may find all samples of a class unstable.
pytestmark = pytest.mark.filterwarnings("ignore:No sample of class")
# On the CPU, where the same seed promises the same bits.
DETECTOR = HTSVAEDetector(period=12, max_iter=4, hidden_size=8, device="cpu")
GRID = {
    "detector__temporal_latent_size": [1, 4],
    "detector__window_length": [6, 12],
    "classifier": [GaussianNB(), "drop"],
}
FOLDS = GroupKFold(2)


def quick(**params):
    relabeler = StableSampleRelabeler(DETECTOR, GaussianNB(), GaussianNB())
    return relabeler.set_params(switch_cost=1.0, random_state=0, **params)


@pytest.fixture(scope="module")
def series():
    """Pixels of fields, each with its own label date and weight."""
    data = make_pixel_series(60, n_bands=2, n_years=3, period=12, random_state=0)
    data.field = np.array([f"field {i // 5}" for i in range(60)])
    data.weight = np.linspace(0.5, 1.5, 60)
    return data


@pytest.fixture(autouse=True)
def routing():
    with config_context(enable_metadata_routing=True):
        yield


def asking(relabeler):
    """Told that the data come with label dates and fields."""
    return relabeler.set_fit_request(label_time=True, groups=True)


def metadata(series):
    return {"label_time": series.label_time, "groups": series.field}


def n_kept(folder):
    return len(list(Path(folder).rglob("output.pkl")))


def same_scores(searches, names):
    for name in names:
        found = [search.cv_results_[f"mean_test_{name}"] for search in searches]
        assert len(set(found[0])) > 1, "equal scores would not tell searches apart"
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])


# Searches


def test_grid_search_finds_the_same_in_two_processes_and_with_kept_detectors(
    series, tmp_path
):
    """Else what is found depends on how long one was ready to wait for it."""
    searches = []
    for n_jobs, memory in ((1, None), (2, str(tmp_path)), (1, str(tmp_path))):
        search = GridSearchCV(
            asking(quick(memory=memory)),
            GRID,
            cv=FOLDS,
            scoring={"accuracy": label_time_accuracy, "f1": label_time_f1_macro},
            refit="f1",
            n_jobs=n_jobs,
            error_score="raise",
        )
        searches.append(search.fit(series.X, series.y, **metadata(series)))
        # Two classifiers, but four detectors on two folds, and one on all samples.
        assert n_kept(tmp_path) == (0 if memory is None else 9)
    same_scores(searches, ["accuracy", "f1"])
    timelines = [
        search.best_estimator_.predict_timeline(series.X) for search in searches
    ]
    np.testing.assert_array_equal(timelines[1], timelines[0])
    np.testing.assert_array_equal(timelines[2], timelines[0])


@pytest.mark.parametrize("resource", ["n_samples", "detector__max_iter"])
def test_halving_search_finds_the_same_with_kept_detectors(series, tmp_path, resource):
    """Else the cheap search is not to be trusted, or not cheap."""
    size = {"min_resources": 30} if resource == "n_samples" else {"max_resources": 2}
    searches = []
    for n_jobs, memory in ((1, None), (2, str(tmp_path))):
        search = HalvingGridSearchCV(
            asking(quick(memory=memory)),
            {**GRID, "detector__window_length": [12]},
            cv=FOLDS,
            scoring=label_time_accuracy,
            resource=resource,
            factor=2,
            n_jobs=n_jobs,
            error_score="raise",
            random_state=0,
            **size,
        )
        searches.append(search.fit(series.X, series.y, **metadata(series)))
    same_scores(searches, ["score"])
    assert searches[0].n_iterations_ > 1
    results = searches[1].cv_results_
    latent_sizes = results["param_detector__temporal_latent_size"]
    detectors = set(zip(latent_sizes, results["n_resources"], strict=True))
    assert n_kept(tmp_path) == 2 * len(detectors) + 1


def test_optuna_finds_the_same_from_the_same_seed(series, tmp_path):
    """Else a published choice cannot be repeated; cached detectors change nothing."""
    classifiers = {"bayes": GaussianNB(), "tree": DecisionTreeClassifier(max_depth=3)}

    def suggest(trial):
        return {
            "detector__temporal_latent_size": trial.suggest_int("latent_size", 1, 3),
            "detector__window_length": trial.suggest_int("window", 6, 12, step=6),
            "classifier": classifiers[
                trial.suggest_categorical("kind", ["bayes", "tree"])
            ],
        }

    def study(memory):
        def objective(trial):
            relabeler = asking(quick(memory=memory)).set_params(**suggest(trial))
            return cross_val_score(
                relabeler,
                series.X,
                series.y,
                cv=FOLDS,
                scoring=label_time_accuracy,
                params=metadata(series),
                error_score="raise",
            ).mean()

        sampler = optuna.samplers.TPESampler(n_startup_trials=2, seed=0)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(objective, n_trials=5)
        return study

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first, second = study(None), study(str(tmp_path))
    assert [(trial.params, trial.value) for trial in first.trials] == [
        (trial.params, trial.value) for trial in second.trials
    ]
    assert len({trial.value for trial in first.trials}) > 2
    detectors = {(t.params["latent_size"], t.params["window"]) for t in first.trials}
    # Five trials on two folds, some of them with another classifier alone.
    assert n_kept(tmp_path) == 2 * len(detectors) < 10
    best = quick().set_params(**suggest(optuna.trial.FixedTrial(first.best_params)))
    best.fit(series.X, series.y, label_time=series.label_time)
    assert best.predict_timeline(series.X).shape == series.Y.shape


class Counted(HTSVAEDetector):
    """Remembers, for all of its clones, what each fit was given."""

    given = []

    def fit(self, X, y=None, *, label_time=None, groups=None):
        self.given.append((len(X), label_time, groups))
        return super().fit(X, y, label_time=label_time, groups=groups)


def test_search_over_classifiers_trains_a_detector_once_for_each_fold(series, tmp_path):
    """Hours, with a detector of a real size."""
    detector = Counted(period=12, max_iter=2, hidden_size=8, device="cpu")
    grid = {
        "relabel__classifier": [GaussianNB(), DecisionTreeClassifier(), "drop"],
        "relabel__date_classifier": [GaussianNB(), DecisionTreeClassifier()],
    }
    relabeler = asking(quick(detector=detector, memory=str(tmp_path)))
    pipeline = scaled(relabeler.set_predict_request(label_time=True))
    search = GridSearchCV(
        pipeline, grid, cv=FOLDS, scoring=label_time_accuracy, error_score="raise"
    )
    Counted.given.clear()
    search.fit(series.X, series.y, **metadata(series))
    assert len(search.cv_results_["params"]) == 6
    assert sorted(n for n, *_ in Counted.given) == [30, 30, 60]


@pytest.mark.parametrize("keep", [False, True])
def test_warnings_of_the_detector_point_at_the_users_own_line(series, tmp_path, keep):
    """Else they seem to come from joblib, and nobody knows which fit is meant."""
    X = series.X.copy()
    X[3] = np.nan
    relabeler = quick(memory=str(tmp_path) if keep else None)
    with pytest.warns(UserWarning, match="get no score: 3") as found:
        relabeler.fit(X, series.y, label_time=series.label_time)
    assert {warning.filename for warning in found} == {__file__}


# Metadata routing


class Recorder(GaussianNB):
    """Remembers, for all of its clones, what each fit was given."""

    given = []

    def fit(self, X, y, sample_weight=None):
        self.given.append((X, sample_weight))
        return super().fit(X, y, sample_weight)


def routed(detector=DETECTOR, last=GaussianNB):
    """A relabeller that asks for all there is, one classifier in a pipeline."""
    classifier = make_pipeline(
        StandardScaler().set_fit_request(sample_weight=False),
        GaussianNB().set_fit_request(sample_weight=True),
    )
    date_classifier = last().set_fit_request(sample_weight=True)
    relabeler = asking(
        quick(detector=detector, classifier=classifier, date_classifier=date_classifier)
    )
    relabeler.set_predict_request(label_time=True)
    return relabeler.set_score_request(label_time=True, sample_weight=True)


def scaled(relabeler):
    return Pipeline([("scale", BandScaler()), ("relabel", relabeler)])


def weighted():
    scorer = make_label_time_scorer(accuracy_score)
    return scorer.set_score_request(sample_weight=True)


@pytest.mark.parametrize("by", ["scorer, through a pipeline", "its own score"])
def test_metadata_are_cut_into_folds_as_by_hand(series, by):
    """Else labels are taken for those of other dates, and scores mean nothing."""
    relabeler, own = routed(), by == "its own score"
    found = cross_validate(
        relabeler if own else scaled(relabeler),
        series.X,
        series.y,
        cv=FOLDS,
        scoring=None if own else weighted(),
        params={**metadata(series), "sample_weight": series.weight},
        n_jobs=1 if own else 2,
        error_score="raise",
    )["test_score"]
    for score, (train, test) in zip(
        found, FOLDS.split(series.X, groups=series.field), strict=True
    ):
        X = series.X if own else BandScaler().fit(series.X[train]).transform(series.X)
        predicted = (
            clone(relabeler)
            .fit(
                X[train],
                series.y[train],
                label_time=series.label_time[train],
                groups=series.field[train],
                sample_weight=series.weight[train],
            )
            .predict(X[test], label_time=series.label_time[test])
        )
        right = predicted == series.y[test]
        assert score == pytest.approx(np.average(right, weights=series.weight[test]))


def test_every_estimator_gets_what_it_asked_for(series, monkeypatch):
    """Else groups, label dates or weights are dropped on the way and nobody is told."""
    drawn, hold_out = [], calibration.hold_out

    def spy(candidates, strata, groups, *args):
        drawn.append((groups, hold_out(candidates, strata, groups, *args)))
        return drawn[-1][1]

    monkeypatch.setattr(calibration, "hold_out", spy)
    Counted.given.clear()
    Recorder.given.clear()
    # What aligns years would change what the classifiers see.
    detector = Counted(
        period=12, max_iter=2, hidden_size=8, align_years=False, random_state=0
    )
    search = GridSearchCV(
        scaled(routed(detector, Recorder)),
        {"relabel__detector__temporal_latent_size": [2]},
        cv=FOLDS,
        scoring=weighted(),
        error_score="raise",
    )
    search.fit(series.X, series.y, **metadata(series), sample_weight=series.weight)
    folds = [train for train, _ in FOLDS.split(series.X, groups=series.field)]
    samples = [*folds, np.arange(60)]
    assert len(Counted.given) == len(drawn) == 3
    for rows, given, (groups, held_out) in zip(
        samples, Counted.given, drawn, strict=True
    ):
        n, label_time, field = given
        assert n == len(rows)
        np.testing.assert_array_equal(label_time, series.label_time[rows])
        # Fields by name or number: what matters is who is together.
        for found in (field, groups):
            together = np.equal.outer(found, found)
            expected = np.equal.outer(series.field[rows], series.field[rows])
            np.testing.assert_array_equal(together, expected)
        assert set(
            np.bincount(np.unique(groups, return_inverse=True)[1], held_out)
        ) == {0, 5}
    # Each fold's classifiers saw its samples alone, each row with its sample's weight.
    last = len(Recorder.given) // 3
    for i, (X, weight) in enumerate(Recorder.given):
        rows = samples[i // last]
        bands = BandScaler().fit(series.X[rows]).transform(series.X[rows])
        of_sample = {
            value: w
            for band, w in zip(bands[:, 0], series.weight[rows], strict=True)
            for value in band[~np.isnan(band)]
        }
        observed = ~np.isnan(X[:, 0])
        expected = [of_sample[value] for value in X[observed, 0]]
        np.testing.assert_array_equal(weight[observed], expected)


# Classifiers of other libraries


class OfAnotherLibrary(ClassifierMixin, BaseEstimator):
    """A classifier of series that puts another one behind features of its own."""

    def __init__(self, estimator=None):
        self.estimator = estimator

    def get_tag(self, name):
        return False

    def fit(self, X, y):
        self.shape_ = X.shape
        return self


@pytest.mark.parametrize("estimator", [None, GaussianNB()], ids=str)
def test_classifiers_of_series_with_an_estimator_of_their_own_get_series(estimator):
    """Else bands are laid end to end and taken for one long series."""
    classifier = OfAnotherLibrary(estimator)
    fit_classifier(classifier, np.zeros((4, 6)), [0, 1, 0, 1], {}, n_bands=2)
    assert classifier.shape_ == (4, 2, 3)


def test_classifiers_of_aeon_relabel_series_with_gaps(series):
    """Else the strongest classifiers of seasons are out of reach."""
    rocket = pytest.importorskip("aeon.classification.convolution_based")
    assert np.isnan(series.X).any()
    relabeler = quick(classifier=rocket.RocketClassifier(n_kernels=50))
    relabeler.fit(series.X, series.y, label_time=series.label_time)
    assert relabeler.classifier_[-1].metadata_["n_channels"] == 2
    labels = relabeler.relabel(series.X, series.y, label_time=series.label_time)
    assert (labels == series.Y).mean() > (series.y[:, None] == series.Y).mean()
    posterior = relabeler.predict_proba_timeline(series.X)
    again = relabeler.fit(series.X, series.y, label_time=series.label_time)
    np.testing.assert_array_equal(again.predict_proba_timeline(series.X), posterior)
