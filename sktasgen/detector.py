"""Change and anomaly scores for every date of a series: `HTSVAEDetector`."""

import hashlib
import os
import warnings
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from os import PathLike
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from . import __version__, calibration, places, scores
from ._sklearn import CallbackSupportMixin, Interval, StrOptions, fit_context
from ._validation import (
    ObjectArrayLike,
    as_days,
    check_groups,
    check_label_time,
    check_labels,
    check_series,
    check_some_labels,
    common_label_time,
    encode_labels,
    encode_some_labels,
    is_integer,
)
from ._warnings import warn
from .progress import Monitor
from .scoring import Scorer, chunks, is_observed, standardise
from .seasons import Seasons

# More series would not sharpen the place model, nor teach a class better.
_MAX_DESCRIBED = 10_000
# A date shows a class that is more probable than this.
_PLAIN = 0.95
# More of them would learn the labelled windows by heart, and miss what changed.
_MOST_FIRST_STEPS = 300
# What files of `save` say that they are.
_KIND = "HTSVAEDetector"


class HTSVAEDetector(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    OutlierMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Hierarchical temporal-spectral VAE that scores how far each date is from normal.

    A variational autoencoder of calendar-aligned season windows learns what
    normal series look like. One temporal latent per window describes the course
    of the season, one spectral latent per date its bands given that course.
    What "normal" means is set by `reference`: like the sample's own class, like
    its own labelled window, or like anything seen.

    Parameters
    ----------
    window_length : int, default=None
        Dates (with `dates`: season slots) in a window, at most `period`. None
        takes one season, or the whole series where that is shorter.
    period : int, default=None
        Slots per season cycle: 23 for 16-day composites, 12 for months. None
        takes a year's worth at the median gap of `dates`; without `dates`, the
        length of the series.
    dates : array-like of shape (n_timesteps,), default=None
        Acquisition dates of the training series, datetime64 or integer ordinal
        days, never decreasing. None means regular steps.
    n_bands : int, default=1
        Bands in the columns of 2-D input, which are the bands one after the
        other. Ignored for 3-D input.
    temporal_latent_size : int, default=8
        Channels of the temporal latent; each has ``ceil(period / 4)`` positions.
    spectral_latent_size : int, default=2
        Spectral latents per date.
    hidden_size : int, default=32
        Channels of the hidden layers.
    reference : {"class", "self", "any"}, default=None
        What a series is compared with: its class (needs y in fit), its own
        labelled window (needs label_time in fit), or anything seen, whatever its
        class and whenever: "any" makes no use of y and label_time, in fit and in
        scoring. None takes the first that fit's arguments allow.
    stride : int, default=None
        Dates between the starts of successive windows in scoring. None takes
        half a window.
    smoothing : "auto" or int, default="auto"
        Odd number of dates over which date scores are averaged; 1 keeps them.
        "auto" scores classes by forward-backward, which weighs all dates of a
        series and reckons with a change of class in twenty seasons, and averages
        what has no classes to go by over 5 dates.
    min_observations : int, default=3
        Observed dates that a sample needs, as far as the series has as many, to
        get scores.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of training samples that `predict` calls outliers; "auto" takes
        the `false_alarm_rate` of samples held out of training.
    false_alarm_rate : float in (0, 1), default=0.05
        Share of normal dates that `predict_timesteps` may flag, set on what is
        held out of training.
    calibration_fraction : float in (0, 1), default=0.2
        Share of the samples, class by class and rounded down, that is held out of
        training to set the thresholds on; with `groups` in fit, of the groups; of
        10,000 samples at most. Where that comes to none, with less than ten
        samples with a score or less than ``1 / calibration_fraction`` in every
        class, it is the same share of the dates, the last ones, but one window at
        least, if normality is known at all dates, three windows fit in the series
        and ten of these dates were observed, and else nothing: the thresholds are
        then those of the training samples. Series so few are soon learnt by heart:
        the dates held out stop training early, too.
    threshold : {"quantile", "pot"}, default="quantile"
        Whether thresholds are quantiles of the held-out scores, or those of a
        generalised Pareto distribution fitted to the highest tenth (peaks over
        a threshold), for rates that the held-out dates are too few for. With less
        than thirty dates in that tenth it is the quantile.
    max_iter : int, default=600
        Gradient steps.
    self_training : bool, default=True
        Whether a network of the class reference that knows each label at one date
        only is trained twice: with half as many steps, but 300 at most, on the
        windows around those dates; and anew, with all `max_iter`, also on windows
        whose every date then shows one class with a probability above 0.95, of
        10,000 series at most. It finds changes better, and their dates.
    align_years : bool, default=True
        Whether years that look otherwise than the labelled ones, by weather or
        sensor, are brought in line with them, by a gain and an offset for each date
        and band: for the class reference that knows each label at one date. Years
        that hardly differ are left as they are, and so are dates that fit did not
        see. Without `dates`, series of as many dates as in fit are taken to be of
        the same dates, others not.
    batch_size : int, default=256
        Windows per step.
    learning_rate : float, default=2e-3
        Highest learning rate of the one-cycle schedule.
    free_nats : float, default=2.0
        Divergence of each group of latents, per window, that costs nothing in
        training.
    early_stopping : bool, default=False
        Whether to hold samples out of training, stop when the bound on them no
        longer improves, and keep the weights with the best one. Where dates are
        held out, for want of samples, it is always done, with the dates that the
        thresholds are set on.
    validation_fraction : float in (0, 1), default=0.1
        Share of the training samples, class by class, that `early_stopping` holds
        out, beside those that the thresholds are set on.
    n_iter_no_change : int, default=10
        Evaluations of these samples or dates, fifty of which would fill `max_iter`,
        without an improvement after which training stops.
    warm_start : bool, default=False
        Whether to go on from the weights of the last fit, in its `center_` and
        `scale_`. The learning rate starts its cycle anew.
    checkpoint_dir : str or path-like, default=None
        Folder in which the state of the training is kept while fit runs. A fit that
        was interrupted, by whatever, goes on from there when it is called again with
        the same arguments, and comes, on a CPU, to the same bits. Needs an int as
        `random_state`.
    verbose : int, default=0
        1 prints a line per tenth of the steps. Where scikit-learn has callbacks,
        ``set_callbacks(sklearn.callback.ProgressBar())`` shows every step.
    device : str, default="auto"
        Where the network runs, as torch names it; "auto" takes a GPU where
        there is one.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same bits at every fit on a CPU, whatever the number of
        threads, and the same up to rounding on a GPU.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of fit; one class, ``None``, where the reference is not the class.
    class_prior_ : ndarray of shape (n_classes,)
        Share of each class in fit.
    reference_ : str
        What series are compared with.
    period_, window_length_, stride_ : int
        The values used, in season slots.
    label_time_ : int
        Where `label_time` was one int, that; else its most frequent value
        (earliest on ties), or the last date if it was None.
    dates_ : ndarray of shape (n_timesteps,) of datetime64[D], or None
        Training dates.
    center_, scale_ : ndarrays of shape (n_bands,)
        Mean and standard deviation of each band in fit, in its units.
    date_gain_, date_offset_ : ndarrays of shape (n_bands, n_timesteps)
        What `align_years` found: a value of the labelled seasons would have been
        ``date_offset_ + date_gain_ * value`` at that date; 1 and 0 where left as it
        is.
    weights_ : dict of str to ndarray
        Weights of the network.
    loss_curve_ : ndarray of shape (`n_iter_`,)
        Training loss of each step, in the last training if there were two: the
        negative evidence lower bound per observed cell, in which the divergences
        weigh less in the first quarter of the steps and count `free_nats` at least,
        and with classes half of the mean negative log-probability that a date is of
        its class rather than another, less in the first quarter too.
    validation_curve_ : ndarray of shape (n_evaluations,), or None
        The plain negative bound per observed cell, without any of that, of the
        samples or dates that training is stopped by, parts of them hidden from the
        encoders as in training: every ``max(1, max_iter // 50)`` steps from a
        quarter of them on, and after the last of `max_iter`. None where there are
        none.
    n_iter_ : int
        Gradient steps taken, in the last training if there were two.
    place_model_ : dict of str to ndarray, or None
        How the temporal latents of windows vary around their "center", of shape
        (n_temporal_latents,): the "basis" of directions, of shape
        (n_temporal_latents, n_directions), in which windows of one place have
        variance 1, the "ratio" of the variance between places to it, and the share
        of pairs of windows of a series that "changed". Self reference only; from
        10,000 training series at most.
    threshold_ : float
        Date score in nats above which `predict_timesteps` flags when it is given what
        fit was given (y for the class reference).
    mixture_threshold_ : float
        The same for the class reference without y: all held-out dates count, as
        the mixture of all classes knows of no change from one to another.
    part_thresholds_ : ndarray of shape (3,)
        The same for the parts of `score_parts`, in their order, with or without y:
        they are set with it, and without it stable windows show their class.
    offset_ : float
        Sample score in nats below which `predict` says outlier.
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
    StableSampleRelabeler : Labels for every date, trained on stable samples.
    GibbsExplainer : Which bands and dates make a series abnormal.

    Notes
    -----
    The model of a window x with bands b, season slots t and class k is

    .. math::

        p(x | k) = \\int p(z | k) \\prod_t \\int p(s_t | z, k)
                   \\prod_b N(x_{bt}; \\mu_{bt}, \\sigma_{bt}) \\, ds_t \\, dz

    with a Gaussian prior of the temporal latent z per class, and
    :math:`\\mu, \\sigma` decoded from :math:`(z, k, t, s_t)`. The product is
    over observed cells alone. The posterior of z sees no class, so a window is
    encoded once and decoded under every class. The evidence lower bound splits
    into dates :math:`L_{kt}`; window and date bounds together give the contrast

    .. math::

        -\\log p(y | x_t), \\quad
        \\log p(k | x_t) = \\log p(k) + L_{kt} + \\frac{2}{W} \\sum_j \\bar L_{kj}
        + const

    in which :math:`\\sum_j \\bar L_{kj}` is the bound of a window, averaged over
    those that cover date t, and W the window's length. That is the score for a
    whole number as `smoothing`. With "auto" the bounds :math:`L_{kt}` are the
    evidence of a chain that changes class once in twenty seasons, however many
    classes there are, and the score is the log-odds
    :math:`\\log p(k_t \\ne y | x) - \\log p(k_t = y | x)` given all dates. Without y
    the class reference scores :math:`-\\log \\sum_k p(k) \\exp L_{kt}`; the "any"
    reference :math:`-L_t`.

    The "self" reference asks whether two windows show one place. Their temporal
    latents, as a two-covariance model has it, vary around what the place is, and
    that around the mean of all; the score is the log-odds that a window and the
    sample's labelled one are of different places, averaged over the windows that
    cover the date. How much latents vary within a place is learnt from windows of
    one series that do not overlap, those of changed places told apart by
    expectation-maximisation; where series are shorter than two windows, the
    uncertainty of the latents stands for it.

    In training, windows are to be likely under their class, and their dates less
    likely under another. The windows around `label_time` alone have a known class,
    one season of many. `self_training` takes the class of others from a first
    network, its chain held to the labels (pseudo-labels): in series that stay the
    same, and before and after the changes of others, it adds the other years.

    A sample with too few observations, or for the self reference without any in its
    labelled window, scores NaN, is predicted -1 and is named in a warning.

    Training reads X batch by batch: a memory-mapped array (float32, as
    ``numpy.load(path, mmap_mode="r")`` gives it) is never copied, however large.

    `save` and `load` keep a fitted detector in a file that holds no code. A detector
    fitted on one device scores on any other that its parameter `device` is set to.

    References
    ----------
    S. Yuan et al., "Dynamic mapping from static labels: remote sensing dynamic
    sample generation with temporal-spectral embedding", arXiv:2506.02574.

    Z. Li et al., "Multivariate time series anomaly detection and interpretation
    using hierarchical inter-metric and temporal embedding", KDD 2021.

    D.-H. Lee, "Pseudo-label: the simple and efficient semi-supervised learning
    method for deep neural networks", ICML 2013 workshop.

    S. Ioffe, "Probabilistic linear discriminant analysis", ECCV 2006.

    A. Siffer et al., "Anomaly detection in streams with extreme value theory",
    KDD 2017.

    Examples
    --------
    >>> from sktasgen import HTSVAEDetector
    >>> from sktasgen.datasets import make_pixel_series
    >>> data = make_pixel_series(60, random_state=0)
    >>> detector = HTSVAEDetector(period=data.period, max_iter=50, random_state=0)
    >>> detector.fit(data.X, data.y, label_time=data.label_time)
    HTSVAEDetector(max_iter=50, period=23, random_state=0)
    >>> detector.score_timesteps(data.X, data.y).shape == data.Y.shape
    True
    """

    # Dates belong to the columns of X, not to its rows: nothing to route or to slice.
    __metadata_request__predict = {"dates": UNUSED}
    __metadata_request__decision_function = {"dates": UNUSED}
    __metadata_request__transform = {"dates": UNUSED}

    _parameter_constraints = {
        "window_length": [Interval(Integral, 1, None, closed="left"), None],
        "period": [Interval(Integral, 1, None, closed="left"), None],
        "dates": ["array-like", None],
        "n_bands": [Interval(Integral, 1, None, closed="left")],
        "temporal_latent_size": [Interval(Integral, 1, None, closed="left")],
        "spectral_latent_size": [Interval(Integral, 1, None, closed="left")],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "reference": [StrOptions({"class", "self", "any"}), None],
        "stride": [Interval(Integral, 1, None, closed="left"), None],
        "smoothing": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "min_observations": [Interval(Integral, 1, None, closed="left")],
        "contamination": [
            StrOptions({"auto"}),
            Interval(Real, 0, 0.5, closed="right"),
        ],
        "false_alarm_rate": [Interval(Real, 0, 1, closed="neither")],
        "calibration_fraction": [Interval(Real, 0, 1, closed="neither")],
        "threshold": [StrOptions({"quantile", "pot"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "self_training": ["boolean"],
        "align_years": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "free_nats": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "checkpoint_dir": [str, os.PathLike, None],
        "verbose": ["verbose"],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        window_length: int | None = None,
        period: int | None = None,
        dates: ObjectArrayLike | None = None,
        n_bands: int = 1,
        temporal_latent_size: int = 8,
        spectral_latent_size: int = 2,
        hidden_size: int = 32,
        reference: Literal["class", "self", "any"] | None = None,
        stride: int | None = None,
        smoothing: Literal["auto"] | int = "auto",
        min_observations: int = 3,
        contamination: Literal["auto"] | float = "auto",
        false_alarm_rate: float = 0.05,
        calibration_fraction: float = 0.2,
        threshold: Literal["quantile", "pot"] = "quantile",
        max_iter: int = 600,
        self_training: bool = True,
        align_years: bool = True,
        batch_size: int = 256,
        learning_rate: float = 2e-3,
        free_nats: float = 2.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        checkpoint_dir: str | PathLike[str] | None = None,
        verbose: int = 0,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.window_length = window_length
        self.period = period
        self.dates = dates
        self.n_bands = n_bands
        self.temporal_latent_size = temporal_latent_size
        self.spectral_latent_size = spectral_latent_size
        self.hidden_size = hidden_size
        self.reference = reference
        self.stride = stride
        self.smoothing = smoothing
        self.min_observations = min_observations
        self.contamination = contamination
        self.false_alarm_rate = false_alarm_rate
        self.calibration_fraction = calibration_fraction
        self.threshold = threshold
        self.max_iter = max_iter
        self.self_training = self_training
        self.align_years = align_years
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.free_nats = free_nats
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.checkpoint_dir = checkpoint_dir
        self.verbose = verbose
        self.device = device
        self.random_state = random_state

    # Fitting

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: ObjectArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn what normal series look like.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            Training series; NaN where not observed, no value above 1e15 in size.
        y : array-like of shape (n_samples,), default=None
            Class of each sample at `label_time`; of use to the class reference
            only. None or NaN for a sample whose class is not known: it takes part
            in `self_training` and `align_years`.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which y (or normality) holds; None means at
            every date. The "any" reference takes all dates for normal even so.
        groups : array-like of shape (n_samples,), default=None
            Places, fields or tiles whose samples are alike: those of a group are
            held out of training together.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument does not fit the others, X holds no observation, or
            `warm_start` meets a network of another size. A fitted detector then
            stays as it was.
        TypeError
            If `label_time` or `dates` is of a wrong type, or y or `groups` mixes
            strings with other values.

        Warns
        -----
        UserWarning
            If samples get no score, or no group can be held out.
        """
        dated = y is not None and label_time is not None
        most_steps = sum(self._n_steps(dated and self.reference in (None, "class")))
        context = self._init_callback_context(max_subtasks=most_steps)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        with self._unchanged_on_failure() as before:
            self._fit(X, y, label_time, groups, before, context)
        context.call_on_fit_task_end(
            estimator=self, X=X, y=y, reconstruction_attributes={}
        )
        return self

    def _fit(self, X, y, label_time, groups, before, context):
        given = X, y
        X = check_series(self, X, reset=True)
        n, _, n_timesteps = X.shape
        times = check_label_time(label_time, n, n_timesteps)
        labelled = np.ones(n, dtype=bool)
        if y is not None:
            y, labelled = check_some_labels(y, n)
        groups = check_groups(groups, n)
        random = check_random_state(self.random_state)
        self._resolve(y, times, n_timesteps)
        classes = None
        if self.reference_ == "class":
            classes = encode_some_labels(y, labelled, self.classes_)
        weights = self._initial_weights(before)
        observed = self._fit_scale(X, keep=weights is not None)
        self._align_years(X, classes, times)

        def hold_out(candidates, share):
            strata = np.zeros(n, dtype=np.intp) if classes is None else classes
            return calibration.hold_out(candidates, strata, groups, share, random)

        # What gets no score sets no threshold, nor what is not known to be normal.
        candidates = self._scored(X, times, tell=True) & labelled
        held_out = hold_out(candidates, self.calibration_fraction)
        self._warn_of_groups(held_out, candidates, groups)
        self._first_held_cell = self._hold_out_dates(X, times, candidates, held_out)
        seed = random.randint(np.iinfo(np.int32).max)
        training, validation = ~held_out, None
        if self.early_stopping and not self._holds_dates_out(X):
            candidates = observed & training & labelled
            validation = hold_out(candidates, self.validation_fraction)
            self._check_validation(validation, candidates, groups)
            training &= ~validation

        def finish(trained):
            detector = copy(self)
            detector._take(trained)
            detector._finish(X, classes, times, training, held_out)
            return vars(detector)

        checkpoints = self._train(
            X,
            classes,
            times,
            training,
            validation,
            seed,
            weights,
            partial(Monitor.wanted, self, context, *given, finish),
        )
        self._finish(X, classes, times, training, held_out)
        for checkpoint in checkpoints:
            checkpoint.remove()

    def _n_steps(self, twice):
        """Gradient steps of each training."""
        if not (twice and self.self_training):
            return [self.max_iter]
        return [max(1, min(self.max_iter // 2, _MOST_FIRST_STEPS)), self.max_iter]

    def fit_predict(
        self,
        X: ArrayLike,
        y: ObjectArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> np.ndarray:
        """Fit, y included, and say which samples are outliers.

        Parameters
        ----------
        X, y, label_time, groups
            See `fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            -1 for outliers, 1 for inliers, as ``predict(X)`` gives them.

        Raises
        ------
        ValueError, TypeError
            See `fit`.
        """
        return self.fit(X, y, label_time=label_time, groups=groups).predict(X)

    def _resolve(self, y, times, n_timesteps):
        """Turn the parameters that depend on the data into attributes."""
        self.reference_ = self.reference
        if self.reference_ is None:
            self.reference_ = (
                "class" if y is not None else "self" if times is not None else "any"
            )
        if self.reference_ == "class" and y is None:
            raise ValueError("reference='class' needs y in fit, got y=None.")
        if self.reference_ == "self" and times is None:
            raise ValueError(
                "reference='self' needs label_time in fit, got label_time=None."
            )
        if self.smoothing != "auto" and self.smoothing % 2 == 0:
            raise ValueError(f"smoothing must be odd, got {self.smoothing}.")
        self.label_time_ = common_label_time(times, n_timesteps)
        self._n_timesteps = n_timesteps
        seasons = Seasons.resolve(
            n_timesteps,
            period=self.period,
            dates=self.dates,
            window_length=self.window_length,
            stride=self.stride,
        )
        self.dates_, self.period_ = seasons.dates, seasons.period
        self.window_length_, self.stride_ = seasons.window_length, seasons.stride
        if y is not None and self.reference_ == "class":
            self.classes_, counts = np.unique(y, return_counts=True)
            self.class_prior_ = counts / counts.sum()
        else:
            self.classes_, self.class_prior_ = np.array([None]), np.ones(1)
        # Kept, so that parameters set after fit do not change the fitted network.
        self._network_arguments = dict(
            n_bands=self.n_bands_,
            period=self.period_,
            n_classes=len(self.classes_),
            temporal_latent_size=self.temporal_latent_size,
            spectral_latent_size=self.spectral_latent_size,
            hidden_size=self.hidden_size,
        )

    @contextmanager
    def _unchanged_on_failure(self):
        """Give the attributes as they were, and put them back if fit fails."""
        before = dict(vars(self))
        try:
            yield before
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _initial_weights(self, before):
        """Weights of the last fit, where a warm start goes on from them."""
        if not (self.warm_start and "weights_" in before):
            return None
        now = self._network_arguments | {"classes": self.classes_.tolist()}
        last = before["_network_arguments"]
        last = last | {"classes": before["classes_"].tolist()}
        changed = [name for name in now if now[name] != last.get(name)]
        if changed:
            raise ValueError(
                "warm_start=True goes on from the last fit's network, but "
                + ", ".join(f"{k} is {now[k]} and was {last.get(k)}" for k in changed)
                + ": set warm_start=False to start afresh."
            )
        return before["weights_"]

    def _fit_scale(self, X, *, keep):
        """Mean and standard deviation of each band, gaps left out.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_bands, n_timesteps)
        keep : bool
            Whether to keep those of the last fit.

        Returns
        -------
        ndarray of shape (n_samples,) of bool
            Which samples have an observation.
        """
        observed, parts = np.zeros(len(X), dtype=bool), []
        for rows in chunks(X):
            chunk = X[rows]
            seen = ~np.isnan(chunk)
            observed[rows] = seen.any(axis=(1, 2))
            parts.append((seen.sum(axis=(0, 2)), *_moments(chunk)))
        if not observed.any():
            raise ValueError(f"X of shape {X.shape} holds no observation: all is NaN.")
        if not keep:
            # A band without any observation is legal; it gets 0 and 1.
            self.center_, scale = _pooled(*map(np.array, zip(*parts, strict=True)))
            # A band that hardly varies beside its own size is constant.
            tiny = 10 * np.finfo(X.dtype).eps * np.abs(self.center_)
            self.scale_ = np.where(scale > tiny, scale, 1)
        return observed

    def _align_years(self, X, classes, times):
        """What sets each date apart from the labelled seasons."""
        self.date_gain_, self.date_offset_ = np.ones(X.shape[1:]), np.zeros(X.shape[1:])
        if self.align_years and classes is not None and times is not None:
            from .alignment import align_years

            self.date_gain_, self.date_offset_ = align_years(
                X,
                classes,
                times,
                self._seasons.windowing(X.shape[2]),
                len(self.classes_),
            )

    def _hold_out_dates(self, X, times, candidates, held_out):
        """First grid cell that training may not see, one past the last if all.

        The last dates stand in for held-out samples where these are too few, unless
        too little was observed on them, or nothing before.
        """
        windowing = self._seasons.windowing(X.shape[2])
        n_cells = windowing.calendar.n_cells
        known = times is None or self.reference_ == "any"
        if held_out.any() or not known or n_cells < 3 * windowing.length:
            return n_cells
        held = max(windowing.length, int(self.calibration_fraction * n_cells))
        first = n_cells - min(held, n_cells - windowing.length)
        n_seen = np.zeros(2, dtype=np.intp)
        for rows in chunks(X):
            seen = candidates[rows, np.newaxis] & ~np.isnan(X[rows]).all(axis=1)
            is_held = windowing.calendar.cell >= first
            n_seen += [seen[:, ~is_held].sum(), seen[:, is_held].sum()]
        enough = n_seen[0] > 0 and n_seen[1] >= calibration.MIN_SAMPLES
        return first if enough else n_cells

    def _holds_dates_out(self, X):
        return self._first_held_cell < self._seasons.calendar(X.shape[2]).n_cells

    def _warn_of_groups(self, held_out, candidates, groups):
        """Say so if no group can be held out, though there are enough samples."""
        if groups is None or held_out.any():
            return
        if candidates.sum() >= calibration.MIN_SAMPLES:
            warn(
                f"None of the {len(np.unique(groups[candidates]))} groups can be held "
                "out of training, as one must stay there, and some of every class: "
                f"calibration_fraction={self.calibration_fraction} cannot be met, and "
                "false_alarm_rate need not hold for new groups. Give more groups, or "
                "none."
            )

    def _check_validation(self, validation, candidates, groups):
        if validation.any():
            return
        n, least = candidates.sum(), calibration.MIN_SAMPLES
        if n < least:
            reason = (
                f"it takes {least} samples with observations, beside those that the "
                f"thresholds are set on, to hold some out, and there are {n}: give "
                "more samples, or set early_stopping=False."
            )
        elif groups is not None:
            reason = (
                f"none of the {len(np.unique(groups[candidates]))} groups can be held "
                "out, as one must stay in training, and some of every class: give "
                "more groups, or none."
            )
        else:
            reason = (
                f"validation_fraction={self.validation_fraction} of {n} training "
                "samples, class by class and rounded down, is none: raise it, or give "
                "more samples."
            )
        raise ValueError(f"early_stopping=True: {reason}")

    def _identity(self, X, seed, weights):
        """What all trainings of a fit depend on, or None where no state is kept."""
        if self.checkpoint_dir is None:
            return None
        if not is_integer(self.random_state):
            raise ValueError(
                "checkpoint_dir needs an int as random_state, or the interrupted fit "
                f"could not be told from another; got {self.random_state!r}."
            )
        import torch

        from .training import resolve_device

        passing = ("checkpoint_dir", "dates", "device", "random_state", "verbose")
        params = self.get_params(deep=False)
        return {
            "versions": [__version__, str(torch.__version__), np.__version__],
            "device": resolve_device(self.device).type,
            "params": {k: v for k, v in params.items() if k not in passing},
            "network": self._network_arguments,
            "dates": self.dates_,
            "seed": seed,
            "X": _digest(X),
            "scale": list(self._center_and_scale(X.shape[2])),
            "weights": weights,
        }

    def _checkpoint(self, identity, dataset, validation, n_steps):
        """Where a training's state is kept, or None."""
        if identity is None:
            return None
        from .checkpoints import Checkpoint

        parts = {"training": dataset, "validation": validation}
        windows = {
            name: list(map(_digest, (part.samples, part.classes, part.used)))
            for name, part in parts.items()
            if part is not None
        }
        return Checkpoint(
            self.checkpoint_dir, identity | windows | {"n_steps": n_steps}
        )

    def _train(self, X, classes, times, training, validation, seed, weights, monitor):
        """Train, and once more where that says more about the training series.

        Returns
        -------
        list of checkpoints.Checkpoint
            Where the trainings were kept, for the caller to remove.
        """
        data, checkpoints = (X, classes, times), []
        if validation is not None:
            validation = self._windows(*data, validation)
        elif self._holds_dates_out(X):
            # Series this few are soon learnt by heart.
            validation = self._windows(*data, training, later=True) or None
        identity = self._identity(X, seed, weights)
        known_once = classes is not None and (times is not None or classes.min() < 0)
        n_cells = self._seasons.calendar(X.shape[2]).n_cells
        others = len(self.classes_) > 1 and n_cells > self.window_length_
        rounds = self._n_steps(twice=known_once and others)
        scorer = None
        for number, n_steps in enumerate(rounds, 1):
            name = f"training {number} of {len(rounds)}, " if len(rounds) > 1 else ""
            told = monitor(name, n_steps)
            trained, checkpoint = self._train_once(
                self._windows(*data, training, scorer),
                validation,
                identity,
                n_steps=n_steps,
                seed=seed,
                weights=weights,
                monitor=told,
            )
            self._take(trained)
            if checkpoint is not None:
                checkpoints.append(checkpoint)
            if told is not None and told.stopped:
                break
            scorer = self._scorer(X.shape[2])
        return checkpoints

    def _train_once(self, dataset, validation, identity, *, n_steps, **kwargs):
        """What a training comes to, and where its state is kept."""
        from .training import resolve_device, train

        if len(dataset) == 0:
            raise ValueError(
                "X holds no observation in any window around label_time: nothing "
                "to train on."
            )
        if validation is not None and len(validation) == 0:
            raise ValueError(
                "early_stopping=True: the samples held out hold no observation in "
                "any window around label_time: raise validation_fraction."
            )
        checkpoint = self._checkpoint(identity, dataset, validation, n_steps)
        trained = train(
            dataset,
            module=self._network_arguments,
            batch_size=self.batch_size,
            n_steps=n_steps,
            learning_rate=self.learning_rate,
            free_nats=self.free_nats,
            device=resolve_device(self.device),
            validation=validation,
            patience=self.n_iter_no_change,
            checkpoint=checkpoint,
            **kwargs,
        )
        return trained, checkpoint

    def _windows(self, X, classes, times, mask, scorer=None, later=False):
        """The windows of some samples whose class is known.

        Those about the labelled date, or all where normality holds at every date;
        and, of some samples, those that a scorer finds to show one class
        throughout. With `later` those of the dates that training may not see.
        """
        from .training import WindowDataset

        every = self._seasons.windowing(X.shape[2]).with_stride(1)
        n_windows, n_layers = len(every.starts), every.calendar.n_layers
        in_time = every.starts + every.length <= self._first_held_cell
        if later:
            in_time = every.starts >= self._first_held_cell
        samples = np.flatnonzero(mask)
        asked = np.zeros(len(X), dtype=bool)
        if scorer is not None:
            asked[_spread(samples, _MAX_DESCRIBED)] = True
        found = [], [], []
        size = X[:1].size * len(self.classes_)
        for rows in chunks(X, len(samples), size):
            chunk = samples[rows]
            shown = np.zeros((len(chunk), len(self.classes_), n_windows), dtype=bool)
            given = np.zeros(len(chunk), np.intp) if classes is None else classes[chunk]
            near = np.ones((len(chunk), n_windows), dtype=bool)
            if times is not None and classes is not None:
                near = every.near(times[chunk])
            known = np.flatnonzero(given >= 0)
            shown[known, given[known]] = near[known]
            told = np.flatnonzero(asked[chunk])
            if len(told):
                some = chunk[told]
                plain = _PLAIN < scorer.class_probability(
                    X[some], classes[some], None if times is None else times[some]
                )
                for number in range(len(self.classes_)):
                    shown[told, number] |= every.throughout(plain[:, :, number])
            sample, number = np.nonzero(shown.any(axis=2))
            observed = every.observed(X[chunk]).reshape(len(chunk), n_layers, -1)
            used = observed[sample] & (shown[sample, number] & in_time)[:, np.newaxis]
            rows = chunk[sample], number, used.reshape(-1, n_windows)
            for parts, part in zip(found, rows, strict=True):
                parts.append(part)
        samples, numbers, used = map(_joined, found)
        center, scale = self._center_and_scale(X.shape[2])
        return WindowDataset(
            X,
            samples,
            numbers,
            partial(standardise, center=center, scale=scale),
            every,
            used,
            len(self.classes_),
        )

    def _take(self, trained):
        """Take over what a training came to."""
        self.weights_, self.loss_curve_, self.validation_curve_ = trained
        self.n_iter_ = len(self.loss_curve_)
        self.place_model_ = None

    def _finish(self, X, classes, times, training, held_out):
        """Learn what else scoring takes, and set the thresholds."""
        if self.reference_ == "self":
            some = _spread(np.flatnonzero(training), _MAX_DESCRIBED)
            model = self._scorer(X.shape[2]).fit_place_model(X[some])
            self.place_model_ = model._asdict()
        # Too few samples to hold some out: the thresholds are the training ones.
        rows = held_out
        if not held_out.any():
            rows = slice(None) if classes is None else classes >= 0
        self._calibrate(
            X[rows],
            None if classes is None else classes[rows],
            None if times is None else times[rows],
        )
        if self.contamination != "auto":
            highest = self._scorer(X.shape[2]).samples(X, *self._given(None, None, X))
            self.offset_ = -float(np.nanquantile(highest, 1 - self.contamination))

    def _calibrate(self, X, classes, times):
        """Thresholds and offset from what training has not seen."""
        scorer = self._scorer(X.shape[2])
        own = scorer.timesteps(X, classes, times)
        # What `predict` goes by, and `predict_timesteps` without y.
        plain = own
        if self.reference_ != "any":
            plain = scorer.timesteps(X, *self._given(None, None, X))
        held = np.ones(own.shape)
        calendar = scorer.windowing.calendar
        if self._first_held_cell < calendar.n_cells:
            held[:, calendar.cell < self._first_held_cell] = 0

        def threshold(values, weights):
            return calibration.threshold(
                values, self.false_alarm_rate, self.threshold, weights
            )

        normal = held * self._probability_normal(own, X, classes, times, scorer)
        self.threshold_ = self.mixture_threshold_ = threshold(own, normal)
        if classes is not None:
            self.mixture_threshold_ = threshold(plain, held)
        parts = scorer.parts(X, classes, times)
        self.part_thresholds_ = np.array([threshold(part, normal) for part in parts])
        highest = scores.sample_maximum(np.where(held > 0, plain, np.nan))
        self.offset_ = -threshold(highest, None)

    def _probability_normal(self, score, X, classes, times, scorer):
        """Probability that each date of held-out samples is normal.

        Where normality holds at `times` alone, the samples may change at others, and
        the log-odds say how probably they did.
        """
        if times is not None and self.reference_ == "self":
            odds = score + logit(scorer.place_model.changed)
        elif times is None or classes is None or len(self.classes_) == 1:
            return 1.0
        elif scorer.decodes(classes):
            odds = score
        else:
            odds = replace(scorer, smoothing="auto").timesteps(X, classes, times)
        return np.nan_to_num(expit(-odds), nan=1.0)

    # Scores

    def score_timesteps(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
    ) -> np.ndarray:
        """Score how far each date is from normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            Series; NaN where not observed. 3-D input may have another number of
            dates than in fit.
        y : array-like of shape (n_samples,), default=None
            Class that each sample should look like (class reference only, else
            without effect); None compares with the mixture of all classes.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Date at which y holds (class reference, and only where forward-backward
            decodes); or date whose window each sample is compared with (self
            reference), None taking ``label_time_``; or without effect ("any").
        dates : array-like of shape (n_timesteps,), default=None
            Acquisition dates of X; None takes the training dates.

        Returns
        -------
        ndarray of shape (n_samples, n_timesteps)
            Higher = further from normal, in nats. NaN where not observed, for
            samples with fewer observed dates than `min_observations`, and for the
            self reference wherever the labelled window holds no observation: there
            is nothing to compare with.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called.
        ValueError
            If X has other bands or columns than in fit or holds inf, y has a class that
            fit did not see, `label_time` lies outside the series, or there is no
            telling which dates X has: fit was given dates, X has another number of
            them and `dates` is None, or fit had none and `dates` is given.
        TypeError
            If `label_time` or `dates` is of a wrong type.

        Warns
        -----
        UserWarning
            If samples get no score.
        """
        X, classes, times, scorer = self._check_scoring(X, y, label_time, dates)
        return scorer.timesteps(X, classes, times)

    def predict_timesteps(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
    ) -> np.ndarray:
        """Flag the dates that are further from normal than the threshold.

        Parameters
        ----------
        X, y, label_time, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of shape (n_samples, n_timesteps) of bool
            Never True where not observed.

        Raises
        ------
        ValueError, TypeError
            See `score_timesteps`.
        """
        X, classes, times, scorer = self._check_scoring(X, y, label_time, dates)
        threshold = self.mixture_threshold_ if classes is None else self.threshold_
        return scorer.exceed(X, classes, times, threshold)

    def score_samples(
        self, X: ArrayLike, *, dates: ObjectArrayLike | None = None
    ) -> np.ndarray:
        """Score how normal each sample is.

        Parameters
        ----------
        X, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Minus the highest date score, in nats; NaN where all of them are.

        Raises
        ------
        ValueError, TypeError
            See `score_timesteps`.
        """
        X, _, times, scorer = self._check_scoring(X, None, None, dates)
        return -scorer.samples(X, None, times)

    def decision_function(
        self, X: ArrayLike, *, dates: ObjectArrayLike | None = None
    ) -> np.ndarray:
        """`score_samples` less `offset_`: negative for outliers.

        Parameters
        ----------
        X, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats; NaN for samples that get no score.

        Raises
        ------
        ValueError, TypeError
            See `score_timesteps`.
        """
        return self.score_samples(X, dates=dates) - self.offset_

    def predict(
        self, X: ArrayLike, *, dates: ObjectArrayLike | None = None
    ) -> np.ndarray:
        """Say which samples are outliers.

        Parameters
        ----------
        X, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of shape (n_samples,) of int
            -1 for outliers and for samples that get no score, else 1.

        Raises
        ------
        ValueError, TypeError
            See `score_timesteps`.
        """
        decision = self.decision_function(X, dates=dates)
        return np.where(decision >= 0, 1, -1)  # NaN is no inlier

    def score_parts(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
    ) -> Bunch:
        """Split what is abnormal of each date into three parts.

        A season that runs differently, as one that comes late, shows in the
        temporal part; a date whose bands depart from that season in a way the
        training series know, in the spectral part; what neither explains is
        left to the joint part.

        Parameters
        ----------
        X, y, label_time, dates
            See `score_timesteps`. Without y the classes weigh as probable as
            each window makes them.

        Returns
        -------
        parts : :class:`~sklearn.utils.Bunch`
            Arrays of shape (n_samples, n_timesteps) in nats, averaged over
            `smoothing` dates, NaN as in `score_timesteps`.

            temporal
                Divergence of the windows' temporal latent from its prior; for the
                self reference the score itself.
            spectral
                Divergence of the date's spectral latents from their prior, which
                depends on the course of the season; for the self reference on that
                of the labelled window.
            joint
                Negative log-likelihood of the date's bands given both, for the self
                reference again with the course of the labelled window.

        Raises
        ------
        ValueError, TypeError
            See `score_timesteps`.
        """
        X, classes, times, scorer = self._check_scoring(X, y, label_time, dates)
        temporal, spectral, joint = scorer.parts(X, classes, times)
        return Bunch(temporal=temporal, spectral=spectral, joint=joint)

    # Latents and reconstruction

    def transform(
        self, X: ArrayLike, *, dates: ObjectArrayLike | None = None
    ) -> np.ndarray:
        """Latents of each series, averaged over its windows and dates.

        Parameters
        ----------
        X, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of shape (n_samples, n_latents)
            The temporal latents, then the spectral ones; as many whatever the
            number of dates. NaN without any observation.

        Raises
        ------
        ValueError, TypeError
            See `score_timesteps`.
        """
        X, _, _, scorer = self._check_scoring(X, None, None, dates)
        return scorer.embed(X)

    @property
    def _n_features_out(self):
        sizes = self._network_arguments
        n_positions = -(-sizes["period"] // 4)
        return (
            sizes["temporal_latent_size"] * n_positions + sizes["spectral_latent_size"]
        )

    def reconstruct(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
    ) -> np.ndarray:
        """What the network expects at every cell, observed or not.

        Parameters
        ----------
        X, y, label_time, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of the shape of X
            In the units of X, without NaN but for samples without observation.

        Raises
        ------
        ValueError, TypeError
            See `score_timesteps`.
        """
        X, classes, times, scorer = self._check_scoring(X, y, label_time, dates)
        mean = scorer.reconstruct(X, classes, times)
        return mean if self._series_ndim == 3 else mean.reshape(len(mean), -1)

    def _posterior_draw(self, X, missing, y, label_time, rng, dates=None):
        """Decode one draw of the latents given the cells that are not missing.

        The one step that an explainer needs of a detector.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_bands, n_timesteps)
            Validated series; NaN where not observed.
        missing : ndarray of shape (n_samples, n_bands, n_timesteps) of bool
            Cells that the encoders may not see, beside those not observed.
        y : array-like of shape (n_samples,), or None
            Class to decode under; None weighs the classes by their probability
            given each window.
        label_time : ndarray of shape (n_samples,) of int, or None
            Date whose window is normal (self reference only).
        rng : object
            ``rng.standard_normal(size)`` gives each sample, the first axis, its
            own random numbers.
        dates : array-like of shape (n_timesteps,), default=None
            Acquisition dates of X.

        Returns
        -------
        mean, std : ndarrays of shape (n_samples, n_bands, n_timesteps)
            Of every cell under that draw, in the units of X.
        """
        classes, times = self._given(y, label_time, X)
        X = np.where(missing, np.nan, X)
        return self._scorer(X.shape[2], dates).decode(X, classes, times, rng=rng)

    def _latent_draw(self, X, missing, y, label_time, rng, dates=None):
        """Like `_posterior_draw`, for a sampler that corrects its draws.

        Returns
        -------
        latents, mean, std, log_weight, block
            See `chains.Draw`.

        Raises
        ------
        ValueError
            If the detector knows several classes and y is None.
        """
        return self._weighed(X, missing, y, label_time, dates, rng=rng)

    def _latent_log_weight(self, X, missing, y, label_time, latents, dates=None):
        """The log-weight that an earlier draw of the latents has now."""
        return self._weighed(X, missing, y, label_time, dates, latents=latents)[3]

    def _weighed(self, X, missing, y, label_time, dates, **drawn):
        classes, times = self._given(y, label_time, X)
        scorer = self._scorer(X.shape[2], dates)
        if classes is None and len(scorer.class_prior) > 1:
            raise ValueError(
                "correction='metropolis' draws latents given the class: pass y."
            )
        return scorer.weighed_draw(X, missing, classes, times, **drawn)

    # Keeping

    def save(self, path: str | PathLike[str]) -> None:
        """Save the fitted detector to a file that holds no code.

        The file is of safetensors format: arrays as tensors, all else as JSON. It
        appears complete or not at all. Callbacks and metadata requests stay behind.

        Parameters
        ----------
        path : str or path-like
            Where to; a file that is there is replaced.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it was not fitted.
        TypeError
            If a parameter or label is of a kind that such a file cannot hold.
        """
        check_is_fitted(self)
        from . import persistence

        params = self.get_params(deep=False)
        # Of the many kinds that they may have, the ones they all mean.
        if self.dates is not None:
            params["dates"] = as_days(self.dates)
        if self.checkpoint_dir is not None:
            params["checkpoint_dir"] = os.fspath(self.checkpoint_dir)
        fitted = {
            name: value
            for name, value in vars(self).items()
            if name not in params
            and "callback" not in name
            and name != "_metadata_request"
        }
        persistence.write(path, {"params": params, "fitted": fitted}, kind=_KIND)

    @classmethod
    def load(cls, path: str | PathLike[str], *, device: str | None = None) -> Self:
        """Load a detector that `save` saved; no code in the file is run.

        Parameters
        ----------
        path : str or path-like
            What `save` wrote.
        device : str, default=None
            Where the network shall run; None keeps the parameter as it was saved.

        Returns
        -------
        HTSVAEDetector
            It scores as the saved one, bit for bit on the same device.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it holds something else, is damaged, or was written by a later
            release in a newer format.
        """
        from . import persistence

        state = persistence.read(path, kind=_KIND)
        try:
            detector = cls(**state["params"])
        except TypeError as error:
            raise ValueError(
                f"{os.fspath(path)!r} was saved by another release of sktasgen, whose "
                f"{cls.__name__} has other parameters: {error}"
            ) from error
        detector.__dict__.update(state["fitted"])
        return detector if device is None else detector.set_params(device=device)

    # Between series and windows

    def _check_scoring(self, X, y, label_time, dates):
        """Validate what the scoring methods take."""
        check_is_fitted(self)
        X = check_series(self, X, reset=False)
        n, _, n_timesteps = X.shape
        scorer = self._scorer(n_timesteps, dates)
        times = check_label_time(label_time, n, n_timesteps)
        y = None if y is None else check_labels(y, n)
        self._scored(X, times, dates, tell=True)
        return X, *self._given(y, times, X), scorer

    def _given(self, y, times, X):
        """Class numbers and labelled dates, as far as the reference knows them."""
        n, _, n_timesteps = X.shape
        classes = None
        if y is not None and self.reference_ == "class":
            classes = encode_labels(y, self.classes_, n)
        if times is None and self.reference_ == "self":
            times = np.full(n, min(self.label_time_, n_timesteps - 1), dtype=np.intp)
        return classes, times

    def _scored(self, X, times, dates=None, *, tell=False):
        """Which samples get a score; tells of the others, and why, if asked to."""
        own_times = None
        if self.reference_ == "self":
            _, own_times = self._given(None, times, X)
        windowing = self._seasons.windowing(X.shape[2], dates)
        enough, own = is_observed(X, self.min_observations, windowing, own_times)
        least = min(self.min_observations, X.shape[2])
        for unscored, reason in (
            (~enough, f"fewer than {least} observed dates"),
            (enough & ~own, "no observation in the window around label_time"),
        ):
            found = np.flatnonzero(unscored)
            if tell and len(found):
                named = ", ".join(map(str, found[:5])) + ", ..." * (len(found) > 5)
                warn(
                    f"{len(found)} of {len(X)} samples have {reason} and get no "
                    f"score: {named}."
                )
        return enough & own

    @property
    def _seasons(self):
        """Calendar and windows, of the dates of fit and of others."""
        return Seasons(
            self._n_timesteps,
            self.dates_,
            self.period_,
            self.window_length_,
            self.stride_,
            getattr(self, "date_gain_", None),
            getattr(self, "date_offset_", None),
        )

    def _center_and_scale(self, n_timesteps, dates=None):
        """What bands are standardised by, (n_bands, n_timesteps) or (n_bands, 1)."""
        gain, offset = self._seasons.gain_and_offset(n_timesteps, dates)
        center, scale = self.center_[:, np.newaxis], self.scale_[:, np.newaxis]
        return offset + gain * center, gain * scale

    def _scorer(self, n_timesteps, dates=None):
        """The trained network over such series."""
        place_model = self.place_model_
        windowing = self._seasons.windowing(n_timesteps, dates)
        center, scale = self._center_and_scale(n_timesteps, dates)
        return Scorer(
            windowing=windowing,
            reference=self.reference_,
            network=self._network_arguments,
            weights=self.weights_,
            device=self.device,
            center=center,
            scale=scale,
            class_prior=self.class_prior_,
            place_model=place_model and places.PlaceModel(**place_model),
            smoothing=self.smoothing,
            min_observations=self.min_observations,
        )

    def __sklearn_is_fitted__(self):
        return hasattr(self, "offset_")  # set last

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags


def _spread(values, n):
    """At most n of some values, evenly spread."""
    if len(values) <= n:
        return values
    return values[np.linspace(0, len(values) - 1, n).astype(np.intp)]


def _moments(X):
    """Mean and variance of each band of some series; 0 without any observation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(X, axis=(0, 2), dtype=np.float64)
        variance = np.nanvar(X, axis=(0, 2), dtype=np.float64)
    return np.nan_to_num(mean), np.nan_to_num(variance)


def _pooled(count, mean, variance):
    """Mean and standard deviation of the whole from those of its parts."""
    share = count / np.maximum(count.sum(axis=0), 1)
    center = (share * mean).sum(axis=0)
    return center, np.sqrt((share * (variance + (mean - center) ** 2)).sum(axis=0))


def _joined(parts):
    """Arrays end to end; their list is emptied, or they would lie there twice."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined


def _digest(X):
    """Hash of series, chunk by chunk."""
    found = hashlib.blake2b(f"{X.dtype.str} {X.shape}".encode(), digest_size=16)
    for rows in chunks(X):
        found.update(np.ascontiguousarray(X[rows]))
    return found.hexdigest()
