"""Labels for every date from one label per sample: `StableSampleRelabeler`."""

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from joblib import Memory
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted, check_memory

from ._cloning import (
    default_detector,
    fit_detector,
    n_bands,
    seeded_clone,
)
from ._sklearn import (
    HasMethods,
    Interval,
    RequestMethod,
    StrOptions,
    fit_context,
    routing_enabled,
)
from ._validation import (
    ObjectArrayLike,
    check_dates,
    check_groups,
    check_label_time,
    check_series,
    check_some_label_times,
    check_some_labels,
    check_weights,
    common_label_time,
    encode_some_labels,
    naming,
)
from ._warnings import warn
from .alignment import align_years
from .decoding import (
    check_switch_cost,
    forward_backward,
    hold,
    season_switch_cost,
    viterbi,
)
from .evidence import (
    class_probability,
    date_rows,
    fit_classifier,
    log_probability,
    spread_windows,
    window_rows,
)
from .labelled import Labelled, draw_folds, warn_of_contradictions
from .scores import longest_run
from .seasons import Seasons

# The switch cost expected, in units of what a change in twenty seasons makes it:
# successive dates err together, so their evidence counts for more than it is worth.
_LIKELY_COST = 1.5
# Series looked at in one go by the detector, and by the classifiers, whose calls take
# as long as hundreds of rows; bounds memory.
_BATCH_SIZE = 512
_CLASSIFIED_TOGETHER = 2048


class StableSampleRelabeler(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Labels for every date of a series from one label per sample.

    A detector finds the samples whose class did not change. Two classifiers are
    trained where the labels can be trusted: one sees a season of a series, the
    other a single date. Their evidence is joined and decoded into the most
    probable sequence of labels, which agrees with the given label at its date.

    Parameters
    ----------
    detector : HTSVAEDetector, "drop" or None, default=None
        Finds the dates that do not look like the label: cloned and fitted. It also
        sets window, period, dates and the bands of 2-D input, and brings years that
        look otherwise in line. None is `HTSVAEDetector` with its defaults; "drop"
        leaves it out: the classifiers then tell by themselves who changed. A fitted
        one goes in as ``sklearn.frozen.FrozenEstimator(detector)``. One of a subclass
        will do, no other.
    classifier : estimator, "drop" or None, default=None
        Classifier of season windows, whose columns are the bands slot by slot; or
        of time series, such as those of aeon and sktime, which get windows of shape
        (n_bands, period). None is a random forest; or nothing where labels hold at
        one date and one window spans the series, and so cannot tell its dates apart.
    date_classifier : estimator, "drop" or None, default=None
        Classifier of single dates, whose columns are the bands and the season
        slot. None is a random forest of 20 trees with leaves of 5 rows at least,
        or 100 extremely randomised trees where labels hold for a date alone.
    label_span : {"auto", "date", "season"}, default="auto"
        Dates at which a label is taken to hold in training. "date" is
        `label_time` alone. "season" is every date within half a window of it, and
        every other one at which a sample clearly shows a class. "auto" takes the
        season unless labels that were held out tell of more than one change in a
        season. Of no effect where `label_time` is None: the labels then hold at every
        date.
    switch_cost : float, array-like of shape (n_classes, n_classes) or "auto", \
            default="auto"
        Nats that a change of label between successive dates costs. A matrix has a
        row for the class before and a column for the class after, both in sorted
        order, zeros on its diagonal, and ``inf`` for a change that cannot be.
        "auto" takes the cost under which labels that were held out are most
        probable, of those near one change in twenty seasons.
    window_weight : float, default=0.3
        Weight of the season's log-evidence beside the date's.
    abstain_below : float in [0, 1], default=0
        Labels less probable than this are given as `no_label`.
    no_label : object, default=None
        What stands for no label. None is -1 for numbers and "" for strings.
    period, dates, n_bands : default=None
        The calendar of the series for a `detector` that is None or "drop", as in
        `HTSVAEDetector`. Any other detector has its own.
    memory : str, `joblib.Memory` or None, default=None
        Where to keep fitted detectors: a search over classifiers then fits each
        detector once. Needs an int as `random_state`, here or in the detector.
    n_jobs : int, default=None
        Threads of the default classifiers, as in scikit-learn.
    random_state : int, RandomState instance or None, default=None
        Seeds the detector and the classifiers that are not seeded themselves, and
        the folds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        All labels of fit.
    stable_mask_ : ndarray of shape (n_samples,) of bool
        Samples of fit without a change: nowhere a run of flagged dates as long as
        a quarter of a window; without a detector, of dates that are relabelled.
        Samples that get no score or have no label are not stable.
    detector_ : estimator or None
        The fitted detector.
    classifier_, date_classifier_ : estimator or None
        The fitted classifiers, None where left out, or where fewer than two classes
        were observed when labels hold. One that takes no NaN stands behind a median
        imputer. They predict class numbers, indices into `classes_`.
    label_span_ : str
        "date" or "season" as used; "series" where `label_time` was None.
    switch_cost_ : float or ndarray of shape (n_classes, n_classes)
        The cost used, in nats.
    no_label_ : object
        What stands for no label.
    label_time_ : int
        Where `label_time` was one int, that; else its most frequent value
        (earliest on ties), or the last date if it was None.
    n_bands_ : int
        Bands seen in fit.
    band_names_in_ : ndarray of shape (`n_bands_`,) of str
        Names of the bands in fit, where X was an `xarray.DataArray` that has them.
    n_features_in_ : int
        Bands seen in fit (3-D), or columns (2-D).
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns in fit, for 2-D input with names only.

    See Also
    --------
    HTSVAEDetector : The detector.
    GibbsExplainer : Which bands and dates tell of a change.
    sktasgen.metrics : Accuracy of dated labels, and scorers for model selection.

    Notes
    -----
    With :math:`p_w` the window classifier's probability of class k, averaged as a
    logarithm over the windows that cover date t, and :math:`p_d` that of the date
    classifier (absent where the date was not observed), the log-evidence is

    .. math:: e_{tk} = 0.3 \\, \\overline{\\log p_w(k)} + \\log p_d(k | x_t).

    The labels maximise :math:`\\sum_t e_{t, k_t} - c \\, \\#\\{k_t \\ne k_{t-1}\\}`
    (Viterbi), with :math:`k` at `label_time` held to the given label; probabilities
    are the marginals of the same chain (forward-backward).

    Both are trained on the labelled seasons and on every date, and every window, at
    which a sample clearly shows a class (probability above 0.9), be it another than
    its label: by what classifiers of other samples' labelled seasons make of it and,
    where the detector knows the same classes, its probability of them given the whole
    series, the two multiplied. A label that its own season speaks against is not
    trained on. Samples without a label take part in that as the others do.

    The cost c is chosen without any dated truth. The classifiers are trained on
    two thirds of the samples and give evidence for the rest; the chain, holding
    nothing, then says how probable each held-out label is at its date, of which an
    unknown share may be wrong. Too small a cost wastes the evidence of the
    neighbouring dates, too large a cost drowns the date's own. Few labels say little
    about it: they are weighed against a normal density around 1.5 times the cost
    that makes for one change in twenty seasons.

    References
    ----------
    S. Yuan et al., "Dynamic mapping from static labels: remote sensing dynamic
    sample generation with temporal-spectral embedding", arXiv:2506.02574.

    Examples
    --------
    >>> from sktasgen import HTSVAEDetector, StableSampleRelabeler
    >>> from sktasgen.datasets import make_pixel_series
    >>> data = make_pixel_series(60, random_state=0)
    >>> detector = HTSVAEDetector(period=data.period, max_iter=50)
    >>> relabeler = StableSampleRelabeler(detector, random_state=0)
    >>> relabeler = relabeler.fit(data.X, data.y, label_time=data.label_time)
    >>> Y = relabeler.relabel(data.X, data.y, label_time=data.label_time)
    >>> bool((Y == data.Y).mean() > (data.y[:, None] == data.Y).mean())
    True
    """

    # Dates belong to the columns of X, not to its rows: nothing to route or to slice.
    __metadata_request__predict = {"dates": UNUSED}
    __metadata_request__predict_proba = {"dates": UNUSED}
    # scikit-learn makes it only if imbalanced-learn was imported before.
    set_fit_resample_request = RequestMethod("fit_resample", ["groups", "label_time"])

    _parameter_constraints = {
        "detector": [
            # The last: only one of this package's knows how dates fall into seasons.
            HasMethods(["fit", "predict_timesteps", "_scorer"]),
            StrOptions({"drop"}),
            None,
        ],
        "classifier": [HasMethods(["fit", "predict"]), StrOptions({"drop"}), None],
        "date_classifier": [HasMethods(["fit", "predict"]), StrOptions({"drop"}), None],
        "label_span": [StrOptions({"auto", "date", "season"})],
        "switch_cost": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
            "array-like",
        ],
        "window_weight": [Interval(Real, 0, None, closed="left")],
        "abstain_below": [Interval(Real, 0, 1, closed="both")],
        "no_label": "no_validation",
        "period": [Interval(Integral, 1, None, closed="left"), None],
        "dates": "no_validation",
        "n_bands": [Interval(Integral, 1, None, closed="left"), None],
        "memory": [str, HasMethods(["cache"]), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        detector: Any = None,
        classifier: Any = None,
        date_classifier: Any = None,
        *,
        label_span: Literal["auto", "date", "season"] = "auto",
        switch_cost: Literal["auto"] | ArrayLike = "auto",
        window_weight: float = 0.3,
        abstain_below: float = 0.0,
        no_label: Any = None,
        period: int | None = None,
        dates: ObjectArrayLike | None = None,
        n_bands: int | None = None,
        memory: str | Memory | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.detector = detector
        self.classifier = classifier
        self.date_classifier = date_classifier
        self.label_span = label_span
        self.switch_cost = switch_cost
        self.window_weight = window_weight
        self.abstain_below = abstain_below
        self.no_label = no_label
        self.period = period
        self.dates = dates
        self.n_bands = n_bands
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state

    # Fitting

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: ObjectArrayLike,
        *,
        label_time: ObjectArrayLike | None = None,
        groups: ArrayLike | None = None,
        **fit_params: Any,
    ) -> Self:
        """Learn from labelled series.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series; NaN where not observed, no value above 1e15 in size.
        y : array-like of shape (n_samples,)
            Label of each sample at `label_time`; None or NaN for samples without
            one, which say how the classes look in other years.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which y holds; None means at every date. Without
            effect for samples that have no label.
        groups : array-like of shape (n_samples,), default=None
            Places, fields or tiles whose samples are alike: what is held out to
            choose or calibrate by is held out with its whole group.
        **fit_params : dict
            Passed to the ``fit`` of the classifiers, such as ``sample_weight``;
            what has one value per sample is repeated for each of its rows. With
            metadata routing, what the classifiers request.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If y has fewer than two classes, X shows fewer where labels hold, both
            classifiers are dropped, `detector` is of another kind than
            `HTSVAEDetector`, or an argument does not fit the others. What was fitted
            before is then gone.
        TypeError
            If `label_time` is not made of integers.

        Warns
        -----
        UserWarning
            If one series has several labels at one date, or no sample of a class
            is stable.
        """
        self.__dict__.pop("date_classifier_", None)  # not fitted until all is done
        detector = self._detector()
        X = check_series(self, X, reset=True, n_bands=self._n_bands_of(detector))
        n, _, n_timesteps = X.shape
        labels, labelled = check_some_labels(y, n)
        times = check_some_label_times(label_time, labelled, n_timesteps)
        groups = check_groups(groups, n)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(
                f"y has the one class {classes.tolist()[0]!r}; relabelling needs at "
                "least 2 classes."
            )
        if self.classifier == "drop" and self.date_classifier == "drop":
            raise ValueError(
                "classifier='drop' and date_classifier='drop' leave nothing to "
                "classify with; keep one of them."
            )
        self.no_label_ = self.no_label
        if self.no_label is None:
            self.no_label_ = "" if _are_strings(classes) else -1
        if self.abstain_below > 0:
            _check_no_label(self.no_label_, classes)
        self.switch_cost_ = self.switch_cost
        if not isinstance(self.switch_cost, str):
            self.switch_cost_ = check_switch_cost(self.switch_cost, len(classes))
        if fit_params.get("sample_weight") is not None:
            weights = check_weights(fit_params["sample_weight"], n)
            fit_params = fit_params | {"sample_weight": weights}
        params = self._route(fit_params)
        random = check_random_state(self.random_state)
        numbers = encode_some_labels(labels, labelled, classes)
        warn_of_contradictions(X, numbers, times)
        self.classes_ = classes
        known_times = None if times is None else times[labelled]
        self.label_time_ = common_label_time(known_times, n_timesteps)
        self._one_label_time = known_times is None or len(np.unique(known_times)) == 1
        self.detector_ = None
        if detector is not None:
            self.detector_ = fit_detector(
                detector,
                X,
                y,
                times,
                random,
                groups=groups,
                memory=check_memory(self.memory),
            )
        self._own_seasons = None
        if detector is None:
            self._own_seasons = self._find_seasons(X, numbers, times)
        data = Labelled(X, self._seasons, numbers, times, groups, params)
        if self.detector_ is not None:
            self._ask_detector(data, X)
        date_classifier = self._fit_classifiers(data, random)
        if self.detector_ is None:
            fitted = self.classifier_, date_classifier
            evidence = self._evidence(data.X, data.windowing, fitted)
            if times is not None:
                evidence = hold(evidence, numbers, times)
            path = viterbi(evidence, self.switch_cost_)
            self._find_stable(data, path != numbers[:, np.newaxis], data.seen.any(1))
        self._warn_of_unstable(data)
        self.date_classifier_ = date_classifier
        return self

    def _detector(self):
        """The detector to fit, None where it is left out."""
        calendar = {"period": self.period, "dates": self.dates, "n_bands": self.n_bands}
        given = {k: v for k, v in calendar.items() if v is not None}
        if isinstance(self.detector, str):
            return None
        if self.detector is None:
            return default_detector(None).set_params(**given)
        for name, value in given.items():
            own = getattr(self.detector, name, None)
            if not np.array_equal(own, value):
                raise ValueError(
                    f"{name}={value!r}, but the detector has {name}={own!r}: {name} is "
                    "for a detector that is None or 'drop'; set the detector's own."
                )
        return default_detector(self.detector)

    def _n_bands_of(self, detector):
        return (self.n_bands or 1) if detector is None else n_bands(detector)

    @property
    def _seasons(self):
        """Calendar and windows, of the dates of fit and of others."""
        if self.detector_ is not None:
            return self.detector_._seasons
        return Seasons(**self._own_seasons)

    def _find_seasons(self, X, numbers, times):
        """Calendar and windows without a detector, and what sets the years apart."""
        n_timesteps = X.shape[2]
        seasons = Seasons.resolve(n_timesteps, period=self.period, dates=self.dates)
        if times is not None:
            windowing = seasons.windowing(n_timesteps)
            found = align_years(X, numbers, times, windowing, len(self.classes_))
            seasons = replace(seasons, gain=found.gain, offset=found.offset)
        return vars(seasons)  # plain, for what saves estimators

    def _route(self, fit_params):
        """Fit parameters of each classifier, from one value per sample."""
        names = ("classifier", "date_classifier")
        if not routing_enabled():
            return dict.fromkeys(names, fit_params)
        routed = process_routing(self, "fit", **fit_params)
        requested = {name: routed.get(name) for name in names}
        return {
            name: {} if request is None else request.fit
            for name, request in requested.items()
        }

    # Which samples show which class

    def _ask_detector(self, data, X):
        """Who is stable, and which dates show which class, by the detector."""
        detector, labelled = self.detector_, data.classes >= 0
        flags = np.zeros(data.seen.shape, dtype=bool)
        rows = np.flatnonzero(labelled)
        # A frozen detector may have been fitted on 2-D series.
        flat = detector._series_ndim == 2
        flags[rows] = detector.predict_timesteps(
            X[rows].reshape(len(rows), -1) if flat else X[rows],
            self.classes_[data.classes[rows]],
            label_time=None if data.times is None else data.times[rows],
        )
        self._find_stable(data, flags, detector._scored(X, data.times))
        if data.times is None:
            return
        # One of other classes, or of none, cannot tell which of these a date shows.
        if np.array_equal(detector.classes_, self.classes_):
            scorer = detector._scorer(X.shape[2])
            for batch in gen_batches(len(X), _BATCH_SIZE):
                # Whatever its label: that may be wrong.
                data.see(batch, scorer.class_probability(X[batch], None, None))

    def _find_stable(self, data, flags, scored):
        """Samples that nowhere differ from their label for long."""
        run = longest_run(flags, data.seen)
        # What is too little to be scored is too little to be called stable.
        labelled = data.classes >= 0
        self.stable_mask_ = labelled & scored & (run < self._seasons.window_length / 4)

    def _warn_of_unstable(self, data):
        stable = np.unique(data.classes[self.stable_mask_])
        unstable = np.delete(self.classes_, stable)
        if len(unstable):
            warn(
                f"No sample of class {', '.join(map(repr, unstable.tolist()))} is "
                "stable: what these classes look like is learnt from their labelled "
                "dates, and from dates of other samples that look like them."
            )

    # Training

    def _fit_classifiers(self, data, random):
        """Choose span and switch cost on held-out labels, then fit on all.

        Sets `classifier_`, and returns the other.
        """
        fold = draw_folds(data, random)
        calendar, n_classes = data.windowing.calendar, len(self.classes_)
        season_cost = season_switch_cost(calendar, n_classes)
        likely = _LIKELY_COST * season_cost
        self.label_span_ = "series" if data.times is None else self.label_span
        evidence = None
        if fold is not None and self.label_span_ in ("auto", "season"):
            evidence = self._out_of_fold(data, "labelled season", fold, random)
        if self.label_span_ == "auto":
            self.label_span_ = "season"
            if evidence is not None:
                cost = data.most_probable_cost(evidence, fold, likely)
                if cost <= season_switch_cost(calendar, n_classes, changes=1):
                    self.label_span_ = "date"
        if self.label_span_ == "season" and evidence is not None:
            # What classifiers of the labelled seasons of others make of a sample.
            data.see(slice(None), forward_backward(evidence, season_cost))
        if isinstance(self.switch_cost_, str):
            self.switch_cost_ = float(likely)
            if fold is not None:
                evidence = self._out_of_fold(data, self.label_span_, fold, random)
                self.switch_cost_ = data.most_probable_cost(evidence, fold, likely)
        everyone = np.ones(len(data.X), dtype=bool)
        self.classifier_, date_classifier = self._train(
            data, self.label_span_, everyone, random
        )
        if self.classifier_ is date_classifier is None:
            raise ValueError(
                "X shows fewer than 2 classes where labels hold: no sample of the "
                "others has an observation near its label_time."
            )
        return date_classifier

    def _templates(self, data, span):
        """The unfitted classifiers of windows and dates, None where left out."""
        classifier, date_classifier = self.classifier, self.date_classifier
        if classifier is None:
            one_window = len(data.windowing.starts) == 1
            says_nothing = one_window and data.times is not None
            if says_nothing and date_classifier != "drop":
                classifier = "drop"
            else:
                classifier = RandomForestClassifier(n_jobs=self.n_jobs)
        if date_classifier is None and span == "date":
            # Rows are few, and some recur: what was seen is best not resampled.
            date_classifier = ExtraTreesClassifier(n_jobs=self.n_jobs)
        elif date_classifier is None:
            # The chain averages over dates as more trees would.
            date_classifier = RandomForestClassifier(
                20, min_samples_leaf=5, n_jobs=self.n_jobs
            )
        return [
            None if isinstance(template, str) else template
            for template in (classifier, date_classifier)
        ]

    def _out_of_fold(self, data, span, fold, random):
        """Evidence for the samples of folds by classifiers of all others."""
        evidence = np.zeros((*data.seen.shape, len(self.classes_)))
        for k in range(fold.max() + 1):
            held_out = fold == k
            fitted = self._train(data, span, ~held_out, random)
            evidence[held_out] = self._evidence(
                data.X[held_out], data.windowing, fitted
            )
        return evidence

    def _train(self, data, span, samples, random):
        """Fit both classifiers where the class of some samples is known."""
        of_windows, of_dates = data.known(span, samples)
        calendar, cells = data.windowing.calendar, data.windowing.cells
        classifier, date_classifier = self._templates(data, span)
        if classifier is not None:
            rows, window = window_rows(data.X, calendar, cells, of_windows >= 0)
            classifier = self._fit_one(
                "classifier",
                classifier,
                rows,
                of_windows[rows.sample, window],
                data,
                random,
            )
        if date_classifier is not None:
            rows, date = date_rows(data.X, calendar, of_dates >= 0)
            date_classifier = self._fit_one(
                "date_classifier",
                date_classifier,
                rows,
                of_dates[rows.sample, date],
                data,
                random,
            )
        return classifier, date_classifier

    def _fit_one(self, name, template, rows, classes, data, random):
        """The fitted classifier; None where rows leave nothing to tell apart."""
        if len(np.unique(classes)) < 2:
            return None
        params = {
            key: _repeat(value, rows.sample, len(data.X))
            for key, value in data.fit_params[name].items()
        }
        n_bands = data.X.shape[1] if name == "classifier" else None
        classifier = fit_classifier(
            seeded_clone(template, random), rows.features, classes, params, n_bands
        )
        told, n_classes = getattr(classifier, "classes_", ()), len(self.classes_)
        if not set(np.ravel(told).tolist()) <= set(range(n_classes)):
            raise ValueError(
                f"{name}={template!r} was fitted to the labels "
                f"{np.ravel(told).tolist()}; expected class numbers, from 0 to "
                f"{n_classes - 1}: indices into the sorted labels of y."
            )
        return classifier

    # Labels

    def relabel(
        self,
        X: ArrayLike,
        y: ObjectArrayLike,
        *,
        label_time: ObjectArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
    ) -> np.ndarray:
        """Labels for every date of labelled samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series; NaN where not observed. 3-D input may have another number
            of dates than in fit.
        y : array-like of shape (n_samples,)
            Label of each sample at `label_time`; None or NaN for samples without
            one, which are predicted as by `predict_timeline`.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which y holds; None takes ``label_time_`` if fit
            was given one and the dates are those of fit. Without effect for samples
            that have no label.
        dates : array-like of shape (n_timesteps,), default=None
            Acquisition dates of X; None takes the training dates.

        Returns
        -------
        ndarray of shape (n_samples, n_timesteps)
            The most probable labels among those that agree with y; ``no_label_``
            where less probable than `abstain_below`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called.
        ValueError
            If no label_time is known, from the call or from fit, y has a label that
            fit did not see, X has other bands or columns than in fit or holds inf,
            or there is no telling which dates it has: see
            `HTSVAEDetector.score_timesteps`.
        TypeError
            If `label_time` or `dates` is of a wrong type.

        Warns
        -----
        UserWarning
            If label_time is None and differed between the samples of fit.
        """
        return self._decode(self._held_evidence(X, y, label_time, dates))

    def predict_timeline(
        self, X: ArrayLike, *, dates: ObjectArrayLike | None = None
    ) -> np.ndarray:
        """Labels for every date of unlabelled samples.

        Parameters
        ----------
        X, dates
            See `relabel`.

        Returns
        -------
        ndarray of shape (n_samples, n_timesteps)
            As `relabel` returns them.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called.
        ValueError
            If X has other bands or columns than in fit or holds inf, or there is no
            telling which dates it has: see `HTSVAEDetector.score_timesteps`.
        TypeError
            If `dates` is of a wrong type.
        """
        return self._decode(self._free_evidence(X, dates))

    def _decode(self, evidence):
        """The most probable labels, or no label where that is improbable."""
        if self.abstain_below == 0:
            return self.classes_[viterbi(evidence, self.switch_cost_)]
        _check_no_label(self.no_label_, self.classes_)  # may abstain only since fit
        path, probability = self._most_probable(evidence)
        labels = self.classes_[path]
        # Of a kind that holds both, whether or not there is anything to hold.
        kind = np.result_type(labels, np.min_scalar_type(self.no_label_))
        if labels.dtype.kind == "O":
            kind = labels.dtype
        labels = labels.astype(kind)
        labels[probability < self.abstain_below] = self.no_label_
        return labels

    def _most_probable(self, evidence):
        """Class numbers of the most probable sequence, and how probable each is."""
        path = viterbi(evidence, self.switch_cost_)
        posterior = forward_backward(evidence, self.switch_cost_)
        chosen = np.take_along_axis(posterior, path[:, :, np.newaxis], axis=2)
        return path, chosen[:, :, 0]

    def predict_proba_timeline(
        self,
        X: ArrayLike,
        y: ObjectArrayLike | None = None,
        *,
        label_time: ObjectArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
    ) -> np.ndarray:
        """Probability of every class at every date.

        Parameters
        ----------
        X
            See `relabel`.
        y : array-like of shape (n_samples,), default=None
            Labels to hold at `label_time`; None holds nothing.
        label_time, dates
            See `relabel`.

        Returns
        -------
        ndarray of shape (n_samples, n_timesteps, n_classes)
            In the order of ``classes_``.

        Raises
        ------
        ValueError, TypeError
            See `relabel`.
        """
        if y is None:
            evidence = self._free_evidence(X, dates)
        else:
            evidence = self._held_evidence(X, y, label_time, dates)
        return forward_backward(evidence, self.switch_cost_)

    def predict_proba(
        self,
        X: ArrayLike,
        *,
        label_time: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
    ) -> np.ndarray:
        """Probability of every class at one date per sample.

        Parameters
        ----------
        X
            See `relabel`.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date asked for; None takes ``label_time_``.
        dates
            See `relabel`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.

        Raises
        ------
        ValueError, TypeError
            See `predict_timeline`; or if `label_time` lies outside the series, or is
            not made of integers.
        """
        evidence = self._free_evidence(X, dates)
        n, n_timesteps, _ = evidence.shape
        times = check_label_time(label_time, n, n_timesteps)
        if times is None:
            times = np.full(n, min(self.label_time_, n_timesteps - 1))
        return forward_backward(evidence, self.switch_cost_)[np.arange(n), times]

    def predict(
        self,
        X: ArrayLike,
        *,
        label_time: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
    ) -> np.ndarray:
        """Most probable class at one date per sample.

        Parameters
        ----------
        X, label_time, dates
            See `predict_proba`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Of the kind of ``classes_``.

        Raises
        ------
        ValueError, TypeError
            See `predict_proba`.
        """
        probability = self.predict_proba(X, label_time=label_time, dates=dates)
        return self.classes_[probability.argmax(axis=1)]

    def score(
        self,
        X: ArrayLike,
        y: ObjectArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        label_time: ObjectArrayLike | None = None,
    ) -> float:
        """Accuracy of `predict` at `label_time`.

        Parameters
        ----------
        X
            See `predict_proba`.
        y : array-like of shape (n_samples,)
            True labels at `label_time`; samples without one do not count.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each sample counts; None counts all alike.
        label_time
            See `predict_proba`.

        Returns
        -------
        float
            NaN if no sample has a label.

        Raises
        ------
        ValueError, TypeError
            See `predict_proba`.
        """
        check_is_fitted(self)
        n, _, n_timesteps = check_series(self, X, reset=False).shape
        y, labelled = check_some_labels(y, n, required=False)
        if not labelled.any():
            return np.nan
        times = check_some_label_times(label_time, labelled, n_timesteps)
        predicted = self.predict(X, label_time=times)
        if sample_weight is not None:
            sample_weight = check_weights(sample_weight, n, labelled)
        with naming("y"):
            return accuracy_score(y, predicted[labelled], sample_weight=sample_weight)

    def fit_resample(
        self,
        X: ArrayLike,
        y: ObjectArrayLike,
        *,
        label_time: ObjectArrayLike | None = None,
        groups: ArrayLike | None = None,
        **fit_params: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit, and return one labelled row per observed date.

        The rows train any other classifier, such as one of pixels of a map at any
        date. This is imbalanced-learn's convention for samplers.

        Parameters
        ----------
        X, y, label_time, groups, **fit_params
            See `fit`. Where `label_time` is None every date keeps the label given.
            That is all that imbalanced-learn's ``Pipeline`` asks for, whatever its
            ``fit`` is given, unless metadata routing is enabled and `label_time`
            requested, by ``set_fit_resample_request`` and ``set_fit_request``.

        Returns
        -------
        X_resampled : ndarray of shape (n_rows, n_bands + 1)
            The bands of a date, then its season slot.
        y_resampled : ndarray of shape (n_rows,)
            The label of the date.

        Raises
        ------
        ValueError, TypeError
            See `fit`.

        Warns
        -----
        UserWarning
            If `label_time` is None: nothing is relabelled.

        Notes
        -----
        Sets ``sample_indices_`` and ``date_indices_``, which sample and date each
        row is, and ``sample_weight_``, the probability of its label; all of shape
        (n_rows,).
        """
        if label_time is None:
            warn(
                "fit_resample was given no label_time: every date keeps the label "
                "given. (The Pipeline of imbalanced-learn passes label_time on with "
                "metadata routing only.)"
            )
        self.fit(X, y, label_time=label_time, groups=groups, **fit_params)
        X = check_series(self, X, reset=False)
        evidence = self._hold(X, y, label_time, None)
        path, probability = self._most_probable(evidence)
        told = probability >= self.abstain_below
        rows, date = date_rows(X, self._seasons.calendar(X.shape[2]), told)
        self.sample_indices_ = rows.sample
        self.date_indices_ = date
        self.sample_weight_ = probability[rows.sample, date]
        return rows.features, self.classes_[path[rows.sample, date]]

    def _free_evidence(self, X, dates):
        """Evidence that holds no label."""
        check_is_fitted(self)
        return self._fitted_evidence(check_series(self, X, reset=False), dates)

    def _fitted_evidence(self, X, dates):
        """Evidence of the fitted classifiers, for validated series as they came."""
        return self._evidence(
            self._seasons.align(X, dates),
            self._seasons.windowing(X.shape[2], dates),
            (self.classifier_, self.date_classifier_),
        )

    def _held_evidence(self, X, y, label_time, dates):
        """Evidence that leaves each sample its label at its label_time."""
        check_is_fitted(self)
        X = check_series(self, X, reset=False)
        if label_time is None:
            if self.label_span_ == "series":
                raise ValueError(
                    "label_time=None, and fit was given none either: say at which "
                    "date y holds, an index or one per sample."
                )
            days = check_dates(dates, X.shape[2])
            if days is not None and not np.array_equal(days, self._seasons.dates):
                raise ValueError(
                    "label_time=None, but dates are not those of fit: say at which "
                    "of them y holds, an index or one per sample."
                )
            if not self._one_label_time:
                warn(
                    "label_time was not given, and differed between the samples of "
                    f"fit: labels are held at the most frequent, {self.label_time_}. "
                    "Pass label_time=, an index or one per sample."
                )
            label_time = self.label_time_
        return self._hold(X, y, label_time, dates)

    def _hold(self, X, y, label_time, dates):
        """Evidence of validated series as they came that holds their labels.

        At every date where label_time is None.
        """
        n, _, n_timesteps = X.shape
        labels, labelled = check_some_labels(y, n, required=False)
        times = check_some_label_times(label_time, labelled, n_timesteps)
        classes = encode_some_labels(labels, labelled, self.classes_)
        return hold(self._fitted_evidence(X, dates), classes, times)

    def _evidence(self, X, windowing, classifiers):
        """Joint log-evidence of windows and dates, (n, n_timesteps, n_classes).

        Of series that are in line.
        """
        classifier, date_classifier = classifiers
        n_classes, calendar = len(self.classes_), windowing.calendar
        evidence = np.zeros((len(X), X.shape[2], n_classes))
        for batch in gen_batches(len(X), _CLASSIFIED_TOGETHER):
            chunk = X[batch]
            if date_classifier is not None:
                every = np.ones((len(chunk), X.shape[2]), dtype=bool)
                rows, date = date_rows(chunk, calendar, every)
                found = class_probability(date_classifier, rows.features, n_classes)
                at = rows.sample * X.shape[2] + date  # faster than two indices
                by_date = evidence[batch].reshape(-1, n_classes)  # a view
                by_date[at] = log_probability(found)
            if classifier is not None:
                every = np.ones((len(chunk), len(windowing.starts)), dtype=bool)
                rows, window = window_rows(chunk, calendar, windowing.cells, every)
                found = class_probability(classifier, rows.features, n_classes)
                evidence[batch] += self.window_weight * spread_windows(
                    log_probability(found), rows.sample, window, windowing, len(chunk)
                )
        return evidence

    def get_metadata_routing(self) -> MetadataRouter:
        """How metadata reaches the classifiers.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRouter
            What the relabeller asks for itself, and what its classifiers do.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        for name in ("classifier", "date_classifier"):
            classifier = getattr(self, name)
            if hasattr(classifier, "fit"):
                router.add(**{name: classifier}, method_mapping=mapping)
        return router

    def __sklearn_is_fitted__(self):
        return hasattr(self, "date_classifier_")  # set last

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags


def _are_strings(classes):
    return isinstance(classes.tolist()[0], str)


def _check_no_label(no_label, classes):
    """Refuse what cannot stand for no label beside the classes, or is one of them."""
    kind, wanted = (str, "string") if _are_strings(classes) else (Real, "number")
    if not isinstance(no_label, kind):
        raise ValueError(
            f"no_label={no_label!r} is not of the kind of the classes of y, "
            f"{classes.tolist()}: expected a {wanted}."
        )
    if no_label in classes.tolist():
        raise ValueError(
            f"no_label={no_label!r} is one of the classes of y, {classes.tolist()}: "
            "set another."
        )


def _repeat(value, sample, n):
    """A value per row from a value per sample; other values are left alone."""
    if np.ndim(value) == 1 and len(value) == n:
        return np.asarray(value)[sample]
    return value
