"""Change and anomaly scores for every date of a series: `HTSVAEDetector`."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from . import scores, windows
from ._sklearn import Interval, StrOptions, fit_context
from ._validation import (
    check_dates,
    check_label_time,
    check_labels,
    check_series,
    common_label_time,
    encode_labels,
)

# Fewer samples than this are too few to set some aside for the thresholds.
_MIN_SAMPLES_TO_HOLD_OUT = 10
_HELD_OUT_SHARE = 0.2


class HTSVAEDetector(
    ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin, BaseEstimator
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
        labelled window (needs label_time in fit), or anything seen. None takes
        the first that fit's arguments allow.
    stride : int, default=None
        Dates between the starts of successive windows in scoring. None takes a
        sixth of the window.
    smoothing : int, default=5
        Odd number of dates over which date scores are averaged; 1 keeps them.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of training samples that `predict` calls outliers; "auto" takes
        the `false_alarm_rate` of samples held out of training.
    false_alarm_rate : float in (0, 1), default=0.05
        Share of normal dates that `predict_timesteps` may flag, set on samples
        held out of training (a fifth; with less than ten samples, on all).
    max_iter : int, default=600
        Gradient steps.
    batch_size : int, default=256
        Windows per step.
    learning_rate : float, default=2e-3
        Highest learning rate of the one-cycle schedule.
    free_nats : float, default=2.0
        Divergence of each group of latents, per window, that costs nothing in
        training.
    device : str, default="auto"
        Where the network runs, as torch names it; "auto" takes a GPU where
        there is one.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same bits at every fit.

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
    weights_ : dict of str to ndarray
        Weights of the network.
    loss_curve_ : ndarray of shape (n_iter_,)
        Negative evidence lower bound per observed cell, step by step.
    n_iter_ : int
        Gradient steps taken.
    latent_variance_ : ndarray of shape (n_temporal_latents,)
        Of the temporal latents' posterior means over the windows of the training
        series.
    threshold_ : float
        Date score above which `predict_timesteps` flags when it is given what
        fit was given (y for the class reference).
    mixture_threshold_ : float
        The same for the class reference without y.
    offset_ : float
        Sample score below which `predict` says outlier.
    n_bands_ : int
        Bands seen in fit.
    n_features_in_ : int
        Bands seen in fit (3-D), or columns (2-D).
    feature_names_in_ : ndarray of shape (n_features_in_,)
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
    those that cover date t, and W the window's length. Without y the class
    reference scores :math:`-\\log \\sum_k p(k) \\exp L_{kt}`; the "any" reference
    :math:`-L_t`. The "self" reference is the squared Mahalanobis distance, per
    latent, of the window's temporal latent from that of the sample's labelled
    window, averaged over the windows that cover the date.

    A sample without any observation scores NaN and is predicted -1.

    References
    ----------
    S. Yuan et al., "Dynamic mapping from static labels: remote sensing dynamic
    sample generation with temporal-spectral embedding", arXiv:2506.02574.

    Z. Li et al., "Multivariate time series anomaly detection and interpretation
    using hierarchical inter-metric and temporal embedding", KDD 2021.

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
        "smoothing": [Interval(Integral, 1, None, closed="left")],
        "contamination": [
            StrOptions({"auto"}),
            Interval(Real, 0, 0.5, closed="right"),
        ],
        "false_alarm_rate": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "free_nats": [Interval(Real, 0, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        window_length=None,
        period=None,
        dates=None,
        n_bands=1,
        temporal_latent_size=8,
        spectral_latent_size=2,
        hidden_size=32,
        reference=None,
        stride=None,
        smoothing=5,
        contamination="auto",
        false_alarm_rate=0.05,
        max_iter=600,
        batch_size=256,
        learning_rate=2e-3,
        free_nats=2.0,
        device="auto",
        random_state=None,
    ):
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
        self.contamination = contamination
        self.false_alarm_rate = false_alarm_rate
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.free_nats = free_nats
        self.device = device
        self.random_state = random_state

    # Fitting

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, label_time=None):
        """Learn what normal series look like.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            Training series; NaN where not observed.
        y : array-like of shape (n_samples,), default=None
            Class of each sample at `label_time`.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which y (or normality) holds; None means at
            every date.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument does not fit the others, or X holds no observation.
        TypeError
            If `label_time` or `dates` is of a wrong type.
        """
        X = check_series(self, X, reset=True)
        n, _, n_timesteps = X.shape
        times = check_label_time(label_time, n, n_timesteps)
        y = None if y is None else check_labels(y, n)
        random = check_random_state(self.random_state)
        self._resolve(y, times, n_timesteps)
        self._fit_scale(X)
        held_out = self._hold_out(~np.isnan(X).all(axis=(1, 2)), y, random)
        self._train(X, y, times, ~held_out, random.randint(np.iinfo(np.int32).max))
        # Too few samples to hold some out: the thresholds are the training ones.
        rows = held_out if held_out.any() else np.ones(n, dtype=bool)
        self._calibrate(
            X[rows],
            None if y is None else y[rows],
            None if times is None else times[rows],
        )
        if self.contamination != "auto":
            sample_scores = self._score_samples(X, self._windowing(n_timesteps, None))
            self.offset_ = float(np.nanquantile(sample_scores, self.contamination))
        return self

    def fit_predict(self, X, y=None, *, label_time=None):
        """Fit, y included, and say which samples are outliers.

        Parameters
        ----------
        X, y, label_time
            See `fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            -1 for outliers, 1 for inliers, as ``predict(X)`` gives them.
        """
        return self.fit(X, y, label_time=label_time).predict(X)

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
        if self.smoothing % 2 == 0:
            raise ValueError(f"smoothing must be odd, got {self.smoothing}.")
        self.label_time_ = common_label_time(times, n_timesteps)
        self.dates_ = check_dates(self.dates, n_timesteps)
        self._n_timesteps = n_timesteps
        self.period_ = self.period
        if self.period_ is None:
            self.period_ = (
                n_timesteps if self.dates_ is None else _slots_per_year(self.dates_)
            )
        n_cells = self._calendar(n_timesteps, None).n_cells
        self.window_length_ = self.window_length
        if self.window_length_ is None:
            self.window_length_ = min(self.period_, n_cells)
        if self.window_length_ > n_cells:
            raise ValueError(
                f"window_length={self.window_length_} is longer than the series, "
                f"which spans {n_cells} season slots."
            )
        if self.window_length_ > self.period_:
            raise ValueError(
                f"window_length={self.window_length_} is longer than the season: "
                f"expected at most period={self.period_}."
            )
        self.stride_ = self.stride or max(1, self.window_length_ // 6)
        if self.stride_ > self.window_length_:
            raise ValueError(
                f"stride={self.stride_} leaves dates between windows uncovered: "
                f"expected at most window_length={self.window_length_}."
            )
        if y is not None and self.reference_ == "class":
            self.classes_, counts = np.unique(y, return_counts=True)
            self.class_prior_ = counts / counts.sum()
        else:
            self.classes_, self.class_prior_ = np.array([None]), np.ones(1)

    def _fit_scale(self, X):
        """Mean and standard deviation of each band, gaps left out."""
        if np.isnan(X).all():
            raise ValueError(f"X of shape {X.shape} holds no observation: all is NaN.")
        with warnings.catch_warnings():
            # A band without any observation is legal; it keeps 0 and 1.
            warnings.simplefilter("ignore", RuntimeWarning)
            center = np.nanmean(X, axis=(0, 2), dtype=np.float64)
            scale = np.nanstd(X, axis=(0, 2), dtype=np.float64)
        self.center_ = np.where(np.isnan(center), 0, center)
        # A band that hardly varies beside its own size is constant.
        tiny = 10 * np.finfo(X.dtype).eps * np.abs(self.center_)
        self.scale_ = np.where(scale > tiny, scale, 1)

    def _hold_out(self, observed, y, random):
        """Mask of the samples that the thresholds are set on, class by class."""
        held_out = np.zeros_like(observed)
        candidates = random.permutation(np.flatnonzero(observed))
        if len(candidates) < _MIN_SAMPLES_TO_HOLD_OUT:
            return held_out
        strata = np.zeros(len(observed), dtype=np.intp)
        if self.reference_ == "class":
            strata = encode_labels(y, self.classes_, len(y))
        for stratum in np.unique(strata[candidates]):
            members = candidates[strata[candidates] == stratum]
            # Rounded down: a class of a few is needed for training.
            held_out[members[: int(_HELD_OUT_SHARE * len(members))]] = True
        return held_out

    def _train(self, X, y, times, rows, seed):
        """Train the network on the windows at which normality is known."""
        from .training import WindowDataset, resolve_device, train

        windowing = self._windowing(X.shape[2], None)
        every = windowing.with_stride(1)
        n_layers = windowing.calendar.n_layers
        grid = self._grid(X[rows], windowing.calendar).astype(np.float32)
        seen = ~np.isnan(grid).all(axis=1)  # (series, cells)
        so_far = np.pad(np.cumsum(seen, axis=1), ((0, 0), (1, 0)))
        windows_seen = so_far[:, every.length :] > so_far[:, : -every.length]
        if times is not None and self.reference_ == "class":
            windows_seen &= np.repeat(every.near(times[rows]), n_layers, axis=0)
        pairs = np.argwhere(windows_seen)
        if len(pairs) == 0:
            raise ValueError(
                "X holds no observation in any window around label_time: nothing "
                "to train on."
            )
        if self.reference_ == "class":
            classes = encode_labels(y[rows], self.classes_, rows.sum())
        else:
            classes = np.zeros(rows.sum(), dtype=np.intp)
        # Kept, so that parameters set after fit do not change the fitted network.
        self._network_arguments = dict(
            n_bands=self.n_bands_,
            period=self.period_,
            n_classes=len(self.classes_),
            temporal_latent_size=self.temporal_latent_size,
            spectral_latent_size=self.spectral_latent_size,
            hidden_size=self.hidden_size,
        )
        self.weights_, self.loss_curve_ = train(
            WindowDataset(grid, every.cells, pairs, np.repeat(classes, n_layers)),
            module=self._network_arguments,
            batch_size=self.batch_size,
            n_steps=self.max_iter,
            learning_rate=self.learning_rate,
            free_nats=self.free_nats,
            device=resolve_device(self.device),
            seed=seed,
        )
        self.n_iter_ = len(self.loss_curve_)
        mean, _ = self._runner(windowing, grid.dtype).temporal_posterior(grid)
        self.latent_variance_ = mean.var(axis=(0, 1))

    def _calibrate(self, X, y, times):
        """Thresholds and offset from samples where normality is known."""
        windowing = self._windowing(X.shape[2], None)
        own = self._score_timesteps(X, y, times, windowing)
        without = own if y is None else self._score_timesteps(X, None, times, windowing)
        known = np.ones_like(own, dtype=bool)
        if times is not None and self.reference_ == "class":
            # The label holds around its date; elsewhere the sample may change.
            cell = windowing.calendar.cell
            distance = np.abs(cell - cell[times][:, np.newaxis])
            known = distance <= self.window_length_ // 4
        if np.isnan(own[known]).all():
            known[:] = True
        rate = self.false_alarm_rate
        self.threshold_ = scores.upper_quantile(own[known], rate)
        self.mixture_threshold_ = scores.upper_quantile(without[known], rate)
        self.offset_ = -scores.upper_quantile(scores.sample_maximum(without), rate)

    # Scores

    def score_timesteps(self, X, y=None, *, label_time=None, dates=None):
        """Score how far each date is from normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            Series; NaN where not observed. 3-D input may have another number of
            dates than in fit.
        y : array-like of shape (n_samples,), default=None
            Class that each sample should look like (class reference only);
            None compares with the mixture of all classes.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Date whose window each sample is compared with (self reference
            only); None takes ``label_time_``.
        dates : array-like of shape (n_timesteps,), default=None
            Acquisition dates of X; None takes the training dates.

        Returns
        -------
        ndarray of shape (n_samples, n_timesteps)
            Higher = further from normal, averaged over `smoothing` dates: nats, or
            for the self reference a squared distance in standard deviations. NaN
            where not observed, and for the self reference wherever the labelled
            window holds no observation: there is nothing to compare with.
        """
        check_is_fitted(self)
        X, y, times, windowing = self._check_scoring(X, y, label_time, dates)
        return self._score_timesteps(X, y, times, windowing)

    def predict_timesteps(self, X, y=None, *, label_time=None, dates=None):
        """Flag the dates that are further from normal than the threshold.

        Parameters
        ----------
        X, y, label_time, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of shape (n_samples, n_timesteps) of bool
            Never True where not observed.
        """
        check_is_fitted(self)
        X, y, times, windowing = self._check_scoring(X, y, label_time, dates)
        date_scores = self._score_timesteps(X, y, times, windowing)
        return date_scores > self._threshold(y)

    def _threshold(self, y):
        return self.mixture_threshold_ if y is None else self.threshold_

    def score_samples(self, X, *, dates=None):
        """Score how normal each sample is.

        Parameters
        ----------
        X, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Minus the highest smoothed date score; NaN without any observation.
        """
        check_is_fitted(self)
        X, _, _, windowing = self._check_scoring(X, None, None, dates)
        return self._score_samples(X, windowing)

    def _score_samples(self, X, windowing):
        return -scores.sample_maximum(self._score_timesteps(X, None, None, windowing))

    def decision_function(self, X, *, dates=None):
        """`score_samples` less `offset_`: negative for outliers.

        Parameters
        ----------
        X, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.score_samples(X, dates=dates) - self.offset_

    def predict(self, X, *, dates=None):
        """Say which samples are outliers.

        Parameters
        ----------
        X, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of shape (n_samples,) of int
            -1 for outliers and for samples without any observation, else 1.
        """
        decision = self.decision_function(X, dates=dates)
        return np.where(decision >= 0, 1, -1)  # NaN is no inlier

    def _score_timesteps(self, X, y, times, windowing):
        calendar = windowing.calendar
        grid = self._grid(X, calendar)
        if self.reference_ == "self":
            if times is None:
                times = self._default_times(len(X), calendar)
            score = self._self_scores(grid, times, windowing)
        else:
            score = self._elbo_scores(grid, y, windowing)
        score = score.reshape(len(X), calendar.n_layers, calendar.n_cells)
        score = calendar.from_grid(score)
        score[np.isnan(X).all(axis=1)] = np.nan
        return scores.smooth(score, self.smoothing)

    def _elbo_scores(self, grid, y, windowing):
        """Contrast with the other classes; without y or classes, novelty."""
        log_prior = np.log(self.class_prior_).astype(grid.dtype)[:, np.newaxis]
        date, window = self._runner(windowing, grid.dtype).elbo(grid)
        if y is None or len(self.classes_) == 1:
            return scores.mixture_novelty(log_prior + date)
        classes = encode_labels(y, self.classes_, len(y))
        context = window * (2 / self.window_length_)
        return scores.contrast(
            log_prior + date + context, np.repeat(classes, windowing.calendar.n_layers)
        )

    def _self_scores(self, grid, times, windowing):
        """Distance of the windows that cover a date from the sample's own one."""
        runner = self._runner(windowing, grid.dtype)
        mean, _ = runner.temporal_posterior(grid)
        own_mean, _ = self._own_course(grid, times, windowing)
        distance = scores.own_distance(
            mean, own_mean, self.latent_variance_.astype(mean.dtype)
        )
        spread = np.repeat(distance[:, :, np.newaxis], self.period_, axis=2)
        return windows.overlap_average(spread, runner.cells, runner.n_cells)

    def _own_course(self, grid, times, windowing):
        """Temporal posterior of each series' labelled window, (n, n_latents) twice.

        NaN where that window holds no observation: there is nothing to compare.
        """
        n_layers = windowing.calendar.n_layers
        cells = np.repeat(windowing.own_cells(times), n_layers, axis=0)
        # One window per series: gather it, and run it as a series of its own.
        padded = np.pad(grid, ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
        window = np.take_along_axis(padded, cells[:, np.newaxis, :], axis=2)
        whole = np.arange(self.period_)[np.newaxis]
        runner = self._runner(windowing, grid.dtype, cells=whole)
        mean, log_var = (part[:, 0] for part in runner.temporal_posterior(window))
        empty = np.isnan(window).all(axis=(1, 2))
        mean[empty] = np.nan
        return mean, log_var

    # Latents and reconstruction

    def transform(self, X, *, dates=None):
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
        """
        check_is_fitted(self)
        X, _, _, windowing = self._check_scoring(X, None, None, dates)
        n_layers = windowing.calendar.n_layers
        grid = self._grid(X, windowing.calendar)
        latents = self._runner(windowing, grid.dtype).embed(grid)
        latents = latents.reshape(len(X), n_layers, -1).mean(axis=1)
        latents[np.isnan(X).all(axis=(1, 2))] = np.nan
        return latents

    @property
    def _n_features_out(self):
        sizes = self._network_arguments
        return len(self.latent_variance_) + sizes["spectral_latent_size"]

    def reconstruct(self, X, y=None, *, label_time=None, dates=None):
        """What the network expects at every cell, observed or not.

        Parameters
        ----------
        X, y, label_time, dates
            See `score_timesteps`.

        Returns
        -------
        ndarray of the shape of X
            In the units of X, without NaN but for samples without observation.
        """
        check_is_fitted(self)
        X_in, y, times, windowing = self._check_scoring(X, y, label_time, dates)
        mean, _ = self._decode(X_in, y, times, windowing)
        mean[np.isnan(X_in).all(axis=(1, 2))] = np.nan
        return mean if self._series_ndim == 3 else mean.reshape(len(mean), -1)

    def _decode(self, X, y, times, windowing, *, missing=None, rng=None):
        """Mean and standard deviation of every cell in the units of X."""
        calendar = windowing.calendar
        hidden = X if missing is None else np.where(missing, np.nan, X)
        grid = self._grid(hidden, calendar)
        classes = course = None
        if self.reference_ == "class" and y is not None:
            classes = np.repeat(
                encode_labels(y, self.classes_, len(X)), calendar.n_layers
            )
        if self.reference_ == "self":
            if times is None:
                times = self._default_times(len(X), calendar)
            course = self._own_course(grid, times, windowing)
            # A series without a labelled window stands for itself.
            course = [np.nan_to_num(part) for part in course]
        # Windows side by side where the answer is a draw: one pass, and dates
        # that belong together are drawn together.
        if rng is not None:
            windowing = windowing.with_stride(windowing.length)
        runner = self._runner(windowing, grid.dtype)
        if rng is None:
            mean, std = runner.decode(grid, classes, course=course)
        else:
            rng = _Repeated(rng, calendar.n_layers)
            mean, std = runner.decode_draw(grid, classes, course=course, rng=rng)
        scale = self.scale_.astype(X.dtype)[:, np.newaxis]
        mean = self._ungrid(mean, len(X), calendar) * scale
        mean += self.center_.astype(X.dtype)[:, np.newaxis]
        return mean, self._ungrid(std, len(X), calendar) * scale

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
        windowing = self._windowing(X.shape[2], dates)
        return self._decode(X, y, label_time, windowing, missing=missing, rng=rng)

    # Between series and windows

    def _check_scoring(self, X, y, label_time, dates):
        """Validate what the scoring methods take."""
        X = check_series(self, X, reset=False)
        n, _, n_timesteps = X.shape
        windowing = self._windowing(n_timesteps, dates)
        times = check_label_time(label_time, n, n_timesteps)
        if y is not None:
            y = check_labels(y, n)
            if self.reference_ == "class":
                encode_labels(y, self.classes_, n)
            else:
                y = None  # other references know no classes
        return X, y, times, windowing

    def _calendar(self, n_timesteps, dates):
        """The calendar of series with these dates, or the training ones."""
        if dates is None:
            if self.dates_ is None:
                return windows.Calendar.regular(n_timesteps, self.period_)
            if n_timesteps != self._n_timesteps:
                raise ValueError(
                    f"X has {n_timesteps} timesteps, fit had {self._n_timesteps} "
                    "dates: pass dates=, one per timestep."
                )
            dates = self.dates_
        elif self.dates_ is None:
            raise ValueError(
                "dates was given, but the detector was fitted without dates: set "
                "its parameter dates to those of the training series."
            )
        dates = check_dates(dates, n_timesteps)
        return windows.Calendar.from_dates(dates, self.period_)

    def _windowing(self, n_timesteps, dates):
        """The windows over such series: one shorter one where these are short."""
        calendar = self._calendar(n_timesteps, dates)
        length = min(self.window_length_, calendar.n_cells)
        return windows.Windowing(calendar, length, self.stride_)

    def _default_times(self, n, calendar):
        """`label_time_` for every sample, within the series."""
        last = len(calendar.cell) - 1
        return np.full(n, min(self.label_time_, last), dtype=np.intp)

    def _grid(self, X, calendar):
        """Standardised series on the season grid, layers as series of their own."""
        center = self.center_.astype(X.dtype)[:, np.newaxis]
        scale = self.scale_.astype(X.dtype)[:, np.newaxis]
        grid = calendar.to_grid((X - center) / scale)
        return grid.reshape(-1, *grid.shape[2:])

    def _ungrid(self, values, n, calendar):
        """Back from gridded series with bands to one value per timestep."""
        values = values.reshape(n, calendar.n_layers, *values.shape[1:])
        return calendar.from_grid(values)

    def _runner(self, windowing, dtype, *, cells=None):
        """The network over windows: those given, or `cells` of one season."""
        from .inference import Runner
        from .training import build_network, resolve_device

        n_cells = self.period_
        if cells is None:
            cells, n_cells = windowing.cells, windowing.calendar.n_cells
        network = build_network(
            self._network_arguments,
            self.weights_,
            dtype=dtype,
            device=resolve_device(self.device),
        )
        return Runner(network, np.log(self.class_prior_), cells, n_cells)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "offset_")  # set last

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags


class _Repeated:
    """The random numbers of samples, repeated for each layer of a sample."""

    def __init__(self, rng, n_layers):
        self.rng = rng
        self.n_layers = n_layers

    def standard_normal(self, size):
        numbers = self.rng.standard_normal((size[0] // self.n_layers, *size[1:]))
        return np.repeat(numbers, self.n_layers, axis=0)


def _slots_per_year(dates):
    """A year's worth of season slots at the median gap between distinct dates."""
    gaps = np.diff(np.unique(dates)).astype(np.int64)
    if len(gaps) == 0:
        return 1
    return max(1, round(windows.DAYS_PER_YEAR / float(np.median(gaps))))
