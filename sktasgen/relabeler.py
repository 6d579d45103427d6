"""Labels for every date from one label per sample: `StableSampleRelabeler`."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted

from . import windows
from ._cloning import default_detector, fit_detector, n_bands, seeded_clone
from ._sklearn import HasMethods, Interval, StrOptions, fit_context, routing_enabled
from ._validation import (
    check_label_time,
    check_labels,
    check_series,
    common_label_time,
    encode_labels,
)
from .decoding import forward_backward, hold, viterbi
from .evidence import class_probability, date_rows, fit_classifier, window_rows
from .scores import longest_run

# Switch costs to choose from, in nats: from none to one that no less than half a
# season of clear evidence outweighs.
_SWITCH_COSTS = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 11.0, 15.0, 20.0)
# What is used where there are too few labels to choose by.
_FALLBACK = ("season", 3.0)
_N_FOLDS = 3
# A longer span must explain held-out labels better by this many standard errors.
_SPAN_ERRORS = 2.0
# Added to every probability before its logarithm: a forest that never saw a class
# near a date does not know that it is impossible.
_FLOOR = 0.01
# Series relabelled at a time; bounds memory.
_BATCH_SIZE = 512


class StableSampleRelabeler(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Labels for every date of a series from one label per sample.

    A detector finds the samples whose class did not change. Two classifiers are
    trained where the labels can be trusted: one sees a season of a series, the
    other a single date. Their evidence is joined and decoded into the most
    probable sequence of labels, which agrees with the given label at its date.

    Parameters
    ----------
    detector : estimator, default=None
        Finds the dates that do not look like the label: cloned and fitted. It also
        sets window, period, dates and the bands of 2-D input. None is
        `HTSVAEDetector` with its defaults. A fitted one goes in as
        ``sklearn.frozen.FrozenEstimator(detector)``.
    classifier : estimator, "drop" or None, default=None
        Classifier of season windows, whose columns are the bands slot by slot.
        None is a random forest; it is left out where one window spans the series
        and so cannot tell its dates apart.
    date_classifier : estimator, "drop" or None, default=None
        Classifier of single dates, whose columns are the bands and the season
        slot. None is a random forest.
    label_span : {"auto", "date", "season"}, default="auto"
        Dates at which a label is taken to hold in training. "date" is
        `label_time` alone. "season" is the window around it, and every date of
        the samples that are stable. "auto" takes the season if that predicts
        labels that were held out clearly better. Of no effect where `label_time`
        is None: the labels then hold at every date.
    switch_cost : float or "auto", default="auto"
        Nats that a change of label between successive dates costs. "auto" takes
        the cost under which labels that were held out are most probable.
    window_weight : float, default=0.3
        Weight of the season's log-evidence beside the date's.
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
        a quarter of a window. Samples that get no score are not stable.
    detector_ : estimator
        The fitted detector.
    classifier_, date_classifier_ : estimator or None
        The fitted classifiers, None where left out. One that takes no NaN stands
        behind a median imputer. They are trained on class numbers, indices into
        `classes_`.
    label_span_ : str
        "date" or "season" as used; "series" where `label_time` was None.
    switch_cost_ : float
        The cost used, in nats.
    label_time_ : int
        Where `label_time` was one int, that; else its most frequent value
        (earliest on ties), or the last date if it was None.
    n_bands_ : int
        Bands seen in fit.
    n_features_in_ : int
        Bands seen in fit (3-D), or columns (2-D).
    feature_names_in_ : ndarray of shape (n_features_in_,)
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

    The cost c is chosen without any dated truth. The classifiers are trained on
    two thirds of the samples and give evidence for the rest; the chain, holding
    nothing, then says how probable each held-out label is at its date. Too small a
    cost wastes the evidence of the neighbouring dates, too large a cost drowns
    the date's own. The span is chosen by the same measure.

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

    _parameter_constraints = {
        "detector": [HasMethods(["fit", "predict_timesteps"]), None],
        "classifier": [HasMethods(["fit", "predict"]), StrOptions({"drop"}), None],
        "date_classifier": [HasMethods(["fit", "predict"]), StrOptions({"drop"}), None],
        "label_span": [StrOptions({"auto", "date", "season"})],
        "switch_cost": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "window_weight": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        detector=None,
        classifier=None,
        date_classifier=None,
        *,
        label_span="auto",
        switch_cost="auto",
        window_weight=0.3,
        n_jobs=None,
        random_state=None,
    ):
        self.detector = detector
        self.classifier = classifier
        self.date_classifier = date_classifier
        self.label_span = label_span
        self.switch_cost = switch_cost
        self.window_weight = window_weight
        self.n_jobs = n_jobs
        self.random_state = random_state

    # Fitting

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, label_time=None, **fit_params):
        """Learn from labelled series.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series; NaN where not observed.
        y : array-like of shape (n_samples,)
            Label of each sample at `label_time`.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which y holds; None means at every date.
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
            If y has fewer than two classes, both classifiers are dropped, or an
            argument does not fit the others.
        TypeError
            If `label_time` is not made of integers.
        """
        detector = default_detector(self.detector)
        X = check_series(self, X, reset=True, n_bands=n_bands(detector))
        n, _, n_timesteps = X.shape
        y = check_labels(y, n)
        times = check_label_time(label_time, n, n_timesteps)
        classes = np.unique(y)
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
        weights = self._route(fit_params)
        random = check_random_state(self.random_state)
        self.classes_ = classes
        self.label_time_ = common_label_time(times, n_timesteps)
        self.detector_ = fit_detector(detector, X, y, label_time, random)
        flags = self.detector_.predict_timesteps(
            # A frozen detector may have been fitted on 2-D series.
            X.reshape(n, -1) if self.detector_._series_ndim == 2 else X,
            y,
            label_time=label_time,
        )
        self.stable_mask_ = self._find_stable(X, times, flags)
        self._fit_classifiers(
            _Labelled(X, encode_labels(y, classes, n), times, flags, weights), random
        )
        return self

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

    def _find_stable(self, X, times, flags):
        """Samples that nowhere differ from their label for long."""
        run = longest_run(flags, ~np.isnan(X).all(axis=1))
        # What is too little to be scored is too little to be called stable.
        scored = self.detector_._scored(X, times)
        return scored & (run < self.detector_.window_length_ / 4)

    def _fit_classifiers(self, data, random):
        """Choose span and switch cost on held-out labels, then fit on all."""
        windowing = self.detector_._windowing(data.X.shape[2])
        templates = self._templates(data, windowing)
        spans = [self.label_span]
        if data.times is None:
            spans = ["series"]
        elif self.label_span == "auto":
            spans = ["date", "season"]
        chosen = None
        if len(spans) > 1 or self.switch_cost == "auto":
            chosen = self._choose(data, windowing, templates, spans, random)
        self.label_span_, self.switch_cost_ = chosen or _FALLBACK
        if len(spans) == 1:
            self.label_span_ = spans[0]
        if self.switch_cost != "auto":
            self.switch_cost_ = float(self.switch_cost)
        everyone = np.ones(len(data.X), dtype=bool)
        self.classifier_, self.date_classifier_ = self._train(
            data, windowing, templates, self.label_span_, everyone, random
        )

    def _templates(self, data, windowing):
        """The unfitted classifiers of windows and dates, None where left out."""
        classifier, date_classifier = self.classifier, self.date_classifier
        forest = RandomForestClassifier(n_jobs=self.n_jobs)
        one_window = len(windowing.starts) == 1
        if classifier is None:
            says_nothing = one_window and data.times is not None
            keep = not says_nothing or date_classifier == "drop"
            classifier = forest if keep else "drop"
        if date_classifier is None:
            date_classifier = forest
        return [
            None if template == "drop" else template
            for template in (classifier, date_classifier)
        ]

    def _choose(self, data, windowing, templates, spans, random):
        """Span and switch cost under which held-out labels are most probable.

        None where there are too few labels to hold some out.
        """
        fold = _stratified_folds(data.classes, data.seen.any(axis=1), random)
        if fold is None:
            return None
        best = None
        for span in spans:
            evidence = np.empty((*data.X[:, 0].shape, len(self.classes_)))
            for k in np.unique(fold):
                held_out = fold == k
                fitted = self._train(
                    data, windowing, templates, span, ~held_out, random
                )
                evidence[held_out] = self._evidence(data.X[held_out], windowing, fitted)
            costs = _SWITCH_COSTS
            if self.switch_cost != "auto":
                costs = (float(self.switch_cost),)
            probable = [data.label_log_probability(evidence, cost) for cost in costs]
            top = int(np.argmax([p.mean() for p in probable]))
            found = (span, costs[top], probable[top])
            if best is None or _clearly_better(found[2], best[2]):
                best = found
        return best[:2]

    def _train(self, data, windowing, templates, span, samples, random):
        """Fit both classifiers where the labels of some samples can be trusted."""
        classifier, date_classifier = templates
        trusted_windows, trusted_dates = self._trusted(data, windowing, span)
        if classifier is not None:
            rows, _ = window_rows(
                data.X,
                windowing.calendar,
                windowing.cells,
                trusted_windows & samples[:, np.newaxis],
            )
            classifier = self._fit_one("classifier", classifier, rows, data, random)
        if date_classifier is not None:
            rows, _ = date_rows(
                data.X, windowing.calendar, trusted_dates & samples[:, np.newaxis]
            )
            date_classifier = self._fit_one(
                "date_classifier", date_classifier, rows, data, random
            )
        return classifier, date_classifier

    def _fit_one(self, name, template, rows, data, random):
        classifier = seeded_clone(template, random)
        params = {
            key: _repeat(value, rows.sample, len(data.X))
            for key, value in data.fit_params[name].items()
        }
        classes = data.classes[rows.sample]
        return fit_classifier(classifier, rows.features, classes, params)

    def _trusted(self, data, windowing, span):
        """Windows and dates at which each sample's label is taken to hold.

        Returns
        -------
        of_windows : ndarray of shape (n_samples, n_windows) of bool
        of_dates : ndarray of shape (n_samples, n_timesteps) of bool
        """
        n, _, n_timesteps = data.X.shape
        calendar, length = windowing.calendar, windowing.length
        starts = windowing.starts
        if span == "series":
            return np.ones((n, len(starts)), bool), np.ones((n, n_timesteps), bool)
        label_cell = calendar.cell[data.times][:, np.newaxis]
        nearest = np.abs(starts + length // 2 - np.clip(label_cell, length // 2, None))
        of_windows = nearest == nearest.min(axis=1, keepdims=True)
        # A label under a cloud still holds at the nearest date that was observed.
        away = np.abs(calendar.cell - label_cell)
        seen_away = np.where(data.seen, away, np.iinfo(away.dtype).max)
        of_dates = seen_away == seen_away.min(axis=1, keepdims=True)
        if span == "season":
            stable = self.stable_mask_[:, np.newaxis]
            of_windows |= (nearest <= length // 4) | stable
            of_dates |= (away <= length // 2) | (stable & ~data.flags)
        return of_windows, of_dates

    # Labels

    def relabel(self, X, y, *, label_time=None, dates=None):
        """Labels for every date of labelled samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series; NaN where not observed. 3-D input may have another number
            of dates than in fit.
        y : array-like of shape (n_samples,)
            Label of each sample at `label_time`.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which y holds; None takes ``label_time_`` if fit
            was given one.
        dates : array-like of shape (n_timesteps,), default=None
            Acquisition dates of X; None takes the training dates.

        Returns
        -------
        ndarray of shape (n_samples, n_timesteps)
            The most probable labels among those that agree with y.

        Raises
        ------
        ValueError
            If no label_time is known, from the call or from fit, or y has a label
            that fit did not see.
        """
        evidence = self._held_evidence(X, y, label_time, dates)
        return self.classes_[viterbi(evidence, self.switch_cost_)]

    def predict_timeline(self, X, *, dates=None):
        """Labels for every date of unlabelled samples.

        Parameters
        ----------
        X, dates
            See `relabel`.

        Returns
        -------
        ndarray of shape (n_samples, n_timesteps)
        """
        return self.classes_[viterbi(self._free_evidence(X, dates), self.switch_cost_)]

    def predict_proba_timeline(self, X, y=None, *, label_time=None, dates=None):
        """Probability of every class at every date.

        Parameters
        ----------
        X, label_time, dates
            See `relabel`.
        y : array-like of shape (n_samples,), default=None
            Labels to hold at `label_time`; None holds nothing.

        Returns
        -------
        ndarray of shape (n_samples, n_timesteps, n_classes)
            In the order of ``classes_``.
        """
        if y is None:
            evidence = self._free_evidence(X, dates)
        else:
            evidence = self._held_evidence(X, y, label_time, dates)
        return forward_backward(evidence, self.switch_cost_)

    def predict_proba(self, X, *, label_time=None, dates=None):
        """Probability of every class at one date per sample.

        Parameters
        ----------
        X, dates
            See `relabel`.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date asked for; None takes ``label_time_``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        evidence = self._free_evidence(X, dates)
        n, n_timesteps, _ = evidence.shape
        times = check_label_time(label_time, n, n_timesteps)
        if times is None:
            times = np.full(n, min(self.label_time_, n_timesteps - 1))
        return forward_backward(evidence, self.switch_cost_)[np.arange(n), times]

    def predict(self, X, *, label_time=None, dates=None):
        """Most probable class at one date per sample.

        Parameters
        ----------
        X, label_time, dates
            See `predict_proba`.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        probability = self.predict_proba(X, label_time=label_time, dates=dates)
        return self.classes_[probability.argmax(axis=1)]

    def score(self, X, y, sample_weight=None, *, label_time=None):
        """Accuracy of `predict` at `label_time`.

        Parameters
        ----------
        X, label_time
            See `predict_proba`.
        y : array-like of shape (n_samples,)
            True labels at `label_time`.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        predicted = self.predict(X, label_time=label_time)
        return accuracy_score(y, predicted, sample_weight=sample_weight)

    def fit_resample(self, X, y, *, label_time=None):
        """Fit, and return one labelled row per observed date.

        The rows train any other classifier, such as one of pixels of a map at any
        date. This is imbalanced-learn's convention for samplers.

        Parameters
        ----------
        X, y, label_time
            See `fit`. Where `label_time` is None every date keeps the label given.

        Returns
        -------
        X_resampled : ndarray of shape (n_rows, n_bands + 1)
            The bands of a date, then its season slot.
        y_resampled : ndarray of shape (n_rows,)
            The label of the date.

        Notes
        -----
        Sets ``sample_indices_`` and ``date_indices_``, which sample and date each
        row is, and ``sample_weight_``, the probability of its label; all of shape
        (n_rows,).
        """
        self.fit(X, y, label_time=label_time)
        if label_time is None:
            given = encode_labels(y, self.classes_, len(y))
            everywhere = (len(y), check_series(self, X, reset=False).shape[2])
            labels = np.broadcast_to(given[:, np.newaxis], everywhere)
            probability = np.ones((*everywhere, len(self.classes_)))
        else:
            evidence = self._held_evidence(X, y, label_time, None)
            labels = viterbi(evidence, self.switch_cost_)
            probability = forward_backward(evidence, self.switch_cost_)
        X = check_series(self, X, reset=False)
        calendar = self.detector_._calendar(X.shape[2], None)
        rows, date = date_rows(X, calendar, np.ones(labels.shape, dtype=bool))
        label = labels[rows.sample, date]
        self.sample_indices_ = rows.sample
        self.date_indices_ = date
        self.sample_weight_ = probability[rows.sample, date, label]
        return rows.features, self.classes_[label]

    def _free_evidence(self, X, dates):
        """Evidence that holds no label."""
        check_is_fitted(self)
        return self._fitted_evidence(check_series(self, X, reset=False), dates)

    def _fitted_evidence(self, X, dates):
        windowing = self.detector_._windowing(X.shape[2], dates)
        return self._evidence(X, windowing, (self.classifier_, self.date_classifier_))

    def _held_evidence(self, X, y, label_time, dates):
        """Evidence that leaves each sample its label at its label_time."""
        check_is_fitted(self)
        X = check_series(self, X, reset=False)
        n, _, n_timesteps = X.shape
        times = check_label_time(label_time, n, n_timesteps)
        if times is None:
            if self.label_span_ == "series":
                raise ValueError(
                    "label_time=None, and fit was given none either: say at which "
                    "date y holds, an index or one per sample."
                )
            times = check_label_time(self.label_time_, n, n_timesteps)
        classes = encode_labels(check_labels(y, n), self.classes_, n)
        return hold(self._fitted_evidence(X, dates), classes, times)

    def _evidence(self, X, windowing, classifiers):
        """Joint log-evidence of windows and dates, (n, n_timesteps, n_classes)."""
        classifier, date_classifier = classifiers
        n_classes = len(self.classes_)
        evidence = np.zeros((len(X), X.shape[2], n_classes))
        for batch in gen_batches(len(X), _BATCH_SIZE):
            if classifier is not None:
                evidence[batch] += self.window_weight * self._window_evidence(
                    X[batch], windowing, classifier
                )
            if date_classifier is not None:
                everything = np.ones((len(X[batch]), X.shape[2]), dtype=bool)
                rows, date = date_rows(X[batch], windowing.calendar, everything)
                found = class_probability(date_classifier, rows.features, n_classes)
                evidence[batch][rows.sample, date] += _log(found)
        return evidence

    def _window_evidence(self, X, windowing, classifier):
        """Mean log-probability of the windows that cover each date."""
        calendar, cells = windowing.calendar, windowing.cells
        n_classes = len(self.classes_)
        everything = np.ones((len(X), len(cells)), dtype=bool)
        rows, window = window_rows(X, calendar, cells, everything)
        found = class_probability(classifier, rows.features, n_classes)
        # A window without observation knows nothing: every class is as likely.
        by_window = np.full((len(X), len(cells), n_classes), -np.log(n_classes))
        by_window[rows.sample, window] = _log(found)
        spread = np.repeat(
            by_window.transpose(0, 2, 1)[..., np.newaxis], cells.shape[1], axis=3
        )
        by_cell = windows.overlap_average(spread, cells, calendar.n_cells)
        return by_cell[:, :, calendar.cell].transpose(0, 2, 1)

    def get_metadata_routing(self):
        """How metadata reaches the classifiers.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRouter
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


class _Labelled:
    """Training series with their labels, validated.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
    seen : ndarray of shape (n_samples, n_timesteps) of bool
        Observed dates.
    classes : ndarray of shape (n_samples,) of int
    times : ndarray of shape (n_samples,) of int, or None
    flags : ndarray of shape (n_samples, n_timesteps) of bool
    fit_params : dict of dict
        By classifier.
    """

    def __init__(self, X, classes, times, flags, fit_params):
        self.X = X
        self.seen = ~np.isnan(X).all(axis=1)
        self.classes = classes
        self.times = times
        self.flags = flags
        self.fit_params = fit_params

    def label_log_probability(self, evidence, switch_cost):
        """Log-probability of each label where it is known to hold, (n_samples,)."""
        posterior = forward_backward(evidence, switch_cost)
        rows = np.arange(len(posterior))
        if self.times is None:
            found = posterior[rows, :, self.classes]
        else:
            found = posterior[rows, self.times, self.classes][:, np.newaxis]
        return np.log(np.maximum(found, np.finfo(float).tiny)).mean(axis=1)


def _log(probability):
    """Log-probability that no zero turns into certainty."""
    n_classes = probability.shape[-1]
    return np.log((probability + _FLOOR) / (1 + n_classes * _FLOOR))


def _repeat(value, sample, n):
    """A value per row from a value per sample; other values are left alone."""
    if np.ndim(value) == 1 and len(value) == n:
        return np.asarray(value)[sample]
    return value


def _stratified_folds(classes, usable, random):
    """Fold of each sample, the usable ones of each class spread evenly.

    None unless two classes have two usable samples: some fold would then be left
    with one class to train on.
    """
    if (np.bincount(classes[usable]) >= 2).sum() < 2:
        return None
    order = random.permutation(len(classes))
    fold = np.zeros(len(classes), dtype=np.intp)
    for k in np.unique(classes):
        members = order[(classes[order] == k) & usable[order]]
        fold[members] = np.arange(len(members)) % _N_FOLDS
    return fold


def _clearly_better(new, old):
    """Whether paired values are higher on average, beyond doubt."""
    gain = new - old
    return gain.mean() > _SPAN_ERRORS * gain.std() / np.sqrt(len(gain))
