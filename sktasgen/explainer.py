"""Which bands at which dates make a series abnormal: Gibbs sampling of cells."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from . import gibbs
from ._cloning import default_detector, draw_seed, fit_detector, n_bands
from ._sklearn import HasMethods, Interval, fit_context
from ._validation import check_dates, check_label_time, check_labels, check_series
from .preprocessing import BandScaler


class GibbsExplainer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Probability that each cell of a series is anomalous, by Gibbs sampling.

    A cell is one band at one date. A detector knows what normal series look like;
    the explainer asks which cells have to be set aside for the rest of a series to
    look normal. It draws, in turn, the detector's latents given the cells that are
    not set aside, and for every cell whether to set it aside given the latents and
    the cell's neighbours in time.

    Parameters
    ----------
    detector : estimator, default=None
        What is normal: cloned and fitted in `fit`. None is
        :class:`~sktasgen.detector.HTSVAEDetector` with its defaults. A fitted
        detector goes in as ``sklearn.frozen.FrozenEstimator(detector)`` and is used
        as it is. A detector that is to be fitted and whose `random_state` is None
        gets a number drawn from this `random_state`.
    n_iter : int, default=20
        Sweeps of each chain that the answer is averaged over. Each costs one pass
        of the detector over the samples.
    burn_in : int, default=10
        Sweeps of each chain before those, made but not counted.
    n_chains : int, default=2
        Independent chains that the answer is averaged over.
    prior_logit : float, default=-2.5
        Log-odds that a cell is anomalous before anything is seen, :math:`\alpha`.
    coupling : float, default=0.8
        Log-odds by which one neighbour in time pulls a cell to its own state,
        :math:`\kappa`; 0 makes cells independent given the latents.
    slab_scale : float, default=3.0
        Standard deviation of the values of anomalous cells, in standard deviations
        of their band, :math:`\lambda`.
    batch_size : int, default=512
        Samples taken through the detector at a time. It bounds memory and does not
        change the answer.
    random_state : int, RandomState instance or None, default=None
        Source of the seed that `fit` draws. After `fit`, an answer depends on the
        fitted state and the sample alone: the same call gives the same bits.

    Attributes
    ----------
    detector_ : estimator
        The fitted detector (the one inside, where a frozen one was given).
    band_mean_ : ndarray of shape (n_bands,)
        Mean of each band over the observed cells of the fit data, in units of X;
        NaN for a band without any.
    band_std_ : ndarray of shape (n_bands,)
        Standard deviation of the same; 1 for a band that does not vary, NaN for a
        band without any.
    seed_ : int
        Seed of all chains, drawn in `fit`.
    n_bands_ : int
        Number of bands seen in `fit`.
    n_timesteps_ : int
        Number of dates seen in `fit`.
    n_features_in_ : int
        Number of bands seen in `fit` (3-D X), or of columns (2-D X).
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen in `fit`, where X is 2-D and has names.

    See Also
    --------
    sktasgen.HTSVAEDetector : Finds the series and the dates that are not normal.
    sktasgen.StableSampleRelabeler : Finds what they have become.

    Notes
    -----
    With :math:`s_{bt} = 1` where the cell of band b at date t is anomalous, z the
    latents of the detector and x the observed cells, the sampler draws from

    .. math::
        p(s, z \mid x) \propto p(z)
            \exp\Big(\alpha \sum_{bt} s_{bt}
                + \kappa \sum_{b, (t, t')} [s_{bt} = s_{bt'}]\Big)
            \prod_{bt} N(x_{bt}; \mu_{bt}(z), \sigma_{bt}^2(z))^{1 - s_{bt}}
                       N(x_{bt}; c_b, (\lambda d_b)^2)^{s_{bt}}

    where :math:`(t, t')` runs over the consecutive observed dates of a band and
    :math:`c_b, d_b` are `band_mean_` and `band_std_`: a spike and slab (George and
    McCulloch, 1993) with an Ising prior along time. Sampling alternates (Geman and
    Geman, 1984) between

    1. :math:`z \sim p(z \mid x_{s = 0})`, the detector's draw of its latents, with
       the cells set aside passed to it as not observed;
    2. for each cell in order of date,

       .. math::
           \operatorname{logit} p(s_{bt} = 1 \mid \cdot) = \alpha
               + \log \frac{N(x_{bt}; c_b, (\lambda d_b)^2)}
                           {N(x_{bt}; \mu_{bt}(z), \sigma_{bt}^2(z))}
               + \kappa \sum_{t' \sim t} (2 s_{bt'} - 1).

    The answer is the mean of these conditional probabilities over sweeps and
    chains, which has the same expectation as the mean of the indicators and less
    variance. The slab must not depend on z: the cells set aside then say nothing
    about z, as step 1 assumes, and the alternation is exact wherever the detector
    draws from its true posterior. A variational detector draws from an
    approximation of it; such a sampler is called pseudo-Gibbs (Mattei and
    Frellsen, 2018). Explaining an anomaly by sampling what the series would have
    been without it follows InterFusion (Li et al., 2021).

    Of a detector the explainer needs scikit-learn's estimator API with
    ``fit(X, y=None, *, label_time=None)``, the attribute `n_bands_`, and one
    private step: ``_posterior_draw(X, missing, y, label_time, rng) -> mean, std``,
    a draw of the latents given the observed cells that are not in the boolean array
    `missing`, decoded to the mean and standard deviation of every cell, in units of
    X (and with ``dates=`` where `explain` is given any). It takes its random numbers
    from ``rng.standard_normal(size)``, whose first axis is the sample.

    References
    ----------
    .. [1] S. Geman and D. Geman, "Stochastic relaxation, Gibbs distributions, and
       the Bayesian restoration of images", IEEE Transactions on Pattern Analysis
       and Machine Intelligence 6(6), 1984.
    .. [2] E. I. George and R. E. McCulloch, "Variable selection via Gibbs
       sampling", Journal of the American Statistical Association 88(423), 1993.
    .. [3] P.-A. Mattei and J. Frellsen, "Leveraging the exact likelihood of deep
       latent variable models", NeurIPS 2018.
    .. [4] Z. Li et al., "Multivariate time series anomaly detection and
       interpretation using hierarchical inter-metric and temporal embedding",
       KDD 2021.

    Examples
    --------
    >>> from sktasgen import GibbsExplainer, HTSVAEDetector
    >>> from sktasgen.datasets import make_pixel_series
    >>> data = make_pixel_series(60, random_state=0)
    >>> detector = HTSVAEDetector(period=data.period, max_iter=50)
    >>> explainer = GibbsExplainer(detector, n_iter=5, burn_in=5, random_state=0)
    >>> explainer = explainer.fit(data.X, data.y, label_time=data.label_time)
    >>> probability = explainer.explain(data.X, data.y)
    >>> probability.shape == data.X.shape
    True
    """

    _parameter_constraints: dict = {
        "detector": [HasMethods(["fit", "_posterior_draw"]), None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "burn_in": [Interval(Integral, 0, None, closed="left")],
        "n_chains": [Interval(Integral, 1, None, closed="left")],
        "prior_logit": [Interval(Real, None, None, closed="neither")],
        "coupling": [Interval(Real, 0, None, closed="left")],
        "slab_scale": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        detector=None,
        *,
        n_iter=20,
        burn_in=10,
        n_chains=2,
        prior_logit=-2.5,
        coupling=0.8,
        slab_scale=3.0,
        batch_size=512,
        random_state=None,
    ):
        self.detector = detector
        self.n_iter = n_iter
        self.burn_in = burn_in
        self.n_chains = n_chains
        self.prior_logit = prior_logit
        self.coupling = coupling
        self.slab_scale = slab_scale
        self.batch_size = batch_size
        self.random_state = random_state

    # The detector validates its own parameters.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, *, label_time=None):
        """Fit the detector, and the spread of each band.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series; NaN = not observed. The columns of 2-D X are the bands one
            after the other, as many as the detector's `n_bands` says.
        y : array-like of shape (n_samples,), default=None
            Class labels, passed to the detector.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which `y` holds, passed to the detector.

        Returns
        -------
        self : GibbsExplainer

        Raises
        ------
        ValueError
            If a parameter is out of its range, the series are not numeric or have
            inf, or a frozen detector was fitted on other bands.
        sklearn.exceptions.NotFittedError
            If a frozen detector was not fitted.
        """
        detector = default_detector(self.detector)
        series = check_series(self, X, reset=True, n_bands=n_bands(detector))
        random_state = check_random_state(self.random_state)
        self.seed_ = draw_seed(random_state)
        bands = BandScaler().fit(series)
        self.band_mean_, self.band_std_ = bands.mean_, bands.scale_
        self.n_timesteps_ = series.shape[2]
        self._n_features_out = self.n_bands_ * self.n_timesteps_
        self.detector_ = fit_detector(detector, series, y, label_time, random_state)
        return self

    def explain(self, X, y=None, *, label_time=None, dates=None, changed=None):
        """Probability that each cell is anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series; NaN = not observed. 3-D X may have another number of dates
            than in `fit`, where the detector can tell what they are.
        y : array-like of shape (n_samples,), default=None
            Class labels: normal is then what is normal for the class.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which `y` holds, for a detector that uses it.
        dates : array-like of shape (n_timesteps,), default=None
            Acquisition dates as datetime64 or integer ordinal days; None = those
            the detector was fitted with.

        changed : array-like of shape (n_samples, n_timesteps) of bool, default=None
            Dates known not to be normal, such as those to which a relabeller gives
            another label than `y`. The latents do not look at them: they would
            follow a change that lasts, and find nothing odd about it. What is
            explained is then how these dates differ from what the others lead one
            to expect.

        Returns
        -------
        ndarray of shape (n_samples, n_bands, n_timesteps)
            Probabilities in [0, 1]; NaN where not observed, and for a band that was
            never observed in `fit`. float32 for float32 X.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called.
        ValueError, TypeError
            If an argument is not as described, or has other bands than in `fit`.
        """
        check_is_fitted(self)
        series = check_series(self, X, reset=False)
        n_samples, _, n_timesteps = series.shape
        if y is not None:
            y = check_labels(y, n_samples)
        label_time = check_label_time(label_time, n_samples, n_timesteps)
        dates = check_dates(dates, n_timesteps)
        if changed is not None:
            changed = _check_changed(changed, (n_samples, n_timesteps))
        return self._explain(series, y, label_time, changed, dates)

    def transform(self, X):
        """Probability that each cell is anomalous, as flat features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series; NaN = not observed. As many dates as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_bands * n_timesteps)
            What `explain` returns, the bands one after the other.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called.
        ValueError
            If X has other bands or another number of dates than in `fit`.
        """
        check_is_fitted(self)
        series = check_series(self, X, reset=False)
        if series.shape[2] != self.n_timesteps_:
            raise ValueError(
                f"X has {series.shape[2]} timesteps, but transform gives one column "
                f"per cell seen in fit, which had {self.n_timesteps_} timesteps; "
                "explain accepts other lengths."
            )
        return self._explain(series).reshape(len(series), -1)

    def _explain(self, series, y=None, label_time=None, changed=None, dates=None):
        """Mean over the chains, a batch of samples at a time."""
        probability = np.empty(series.shape, dtype=series.dtype)
        for batch in gen_batches(len(series), self.batch_size):
            X, *context = (
                None if a is None else a[batch]
                for a in (series, y, label_time, changed)
            )
            chains = (
                self._run_chain(X, *context, dates, chain)
                for chain in range(self.n_chains)
            )
            probability[batch] = sum(chains) / self.n_chains
        return probability

    def _run_chain(self, X, y, label_time, changed, dates, chain):
        """Mean conditional probability of each cell over the sweeps of one chain."""
        hidden = np.False_ if changed is None else changed[:, np.newaxis]
        streams = gibbs.SampleStreams(self.seed_, chain, X, y, label_time)
        state = np.zeros(X.shape, dtype=bool)
        total = np.zeros(X.shape)
        for sweep in range(-self.burn_in, self.n_iter):
            mean, std = self._draw_spike(
                X, state | hidden, y, label_time, streams, dates
            )
            log_odds = self._log_odds(X, mean, std)
            conditional = gibbs.sweep(
                log_odds, float(self.coupling), streams.random(X.shape), state
            )
            if sweep >= 0:
                total += conditional
        return total / self.n_iter

    def _draw_spike(self, X, missing, y, label_time, streams, dates):
        """Redraw the latents; return what they say of every cell if normal."""
        # A detector without a calendar need not know of dates.
        calendar = {} if dates is None else {"dates": dates}
        return self.detector_._posterior_draw(
            X, missing, y, label_time, streams, **calendar
        )

    def _log_odds(self, X, mean, std):
        """Log-odds that each cell is anomalous, given the latents alone."""
        return self.prior_logit + gibbs.log_density_ratio(
            X.astype(np.float64, copy=False),
            mean,
            std,
            self.band_mean_,
            self.slab_scale * self.band_std_,
        )

    def __sklearn_is_fitted__(self):
        return hasattr(self, "detector_")  # set last, once the detector is fitted

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _check_changed(changed, shape):
    """Return the mask of changed dates as an array of bool."""
    changed = np.asarray(changed)
    if changed.dtype != bool or changed.shape != shape:
        raise ValueError(
            f"changed has shape {changed.shape} and dtype {changed.dtype}; expected "
            f"{shape}, one bool per sample and date."
        )
    return changed
