"""Which bands at which dates make a series abnormal: Gibbs sampling of cells."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from . import diagnostics
from ._cloning import default_detector, draw_seed, fit_detector, n_bands
from ._sklearn import HasMethods, Interval, StrOptions, fit_context
from ._validation import (
    ObjectArrayLike,
    check_dates,
    check_label_time,
    check_labels,
    check_series,
    check_some_labels,
)
from ._warnings import warn
from .chains import Chain, check_regimes
from .explanation import MOST_R_HAT, Explanation
from .preprocessing import BandScaler

# Series from which offsets and noise are learnt, and sweeps over them.
_LEAST_SERIES, _MOST_SERIES = 10, 300
_N_NOISE_SWEEPS = 15


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
        :class:`~sktasgen.HTSVAEDetector` with its defaults. A fitted
        detector goes in as ``sklearn.frozen.FrozenEstimator(detector)`` and is used
        as it is. A detector that is to be fitted and whose `random_state` is None
        gets a number drawn from this `random_state`.
    n_iter : int, default=20
        Sweeps of each chain that the answer is averaged over. Each costs one pass
        of the detector over the samples.
    burn_in : int, default=10
        Sweeps of each chain before those, made but not counted.
    n_chains : int, default=2
        Independent chains that the answer is averaged over. They start apart, with no
        cell set aside and with all of them, in turn.
    flag_rate : float or array-like of float, default=(0.003, 0.02, 0.1)
        Share of a band's dates that are anomalous before anything is seen. Of several
        the series of each band follows one, all of them as likely.
    run_length : float or array-like of float, default=(1, 3, 8, 20)
        Observed dates in a row that an anomaly of a band lasts on average, likewise.
    band_coupling : float, default=0.0
        Log-odds by which all other bands of the date together pull a cell to a state
        they share, :math:`\kappa_B`.
    slab : {"band", "latents"}, default="band"
        Where the values of anomalous cells are centred: at the mean of their band, or
        at what the latents expect, which takes a `correction` to be exact.
    slab_scale : float, default=3.0
        Standard deviation of the values of anomalous cells, in standard deviations
        of their band, :math:`\lambda`.
    correction : {"metropolis"} or None, default=None
        Whether draws of the latents are accepted or not by what the detector's joint
        density says of them, instead of being taken for draws from its posterior.
        Begins after half of `burn_in`. A sweep then costs two passes, and chains move
        more slowly the fewer draws are accepted.
    n_jobs : int, default=None
        Threads that batches of samples are shared out to, as in joblib.
    batch_size : int, default=512
        Samples taken through the detector at a time. It bounds memory and does not
        change the answer, but for the rounding of a detector's sums.
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
    offset_std_ : ndarray of shape (n_bands,)
        How far the series of each band lie above or below what the latents say of
        them: a standard deviation in units of X; 0 where the fit data have fewer than
        10 series to tell by.
    noise_scale_ : ndarray of shape (n_bands,)
        What the detector's standard deviations of the values of each band are
        multiplied by, as part of them may have been offset; 1 with fewer series.
    seed_ : int
        Seed of all chains, drawn in `fit`.
    n_bands_ : int
        Number of bands seen in `fit`.
    band_names_in_ : ndarray of shape (`n_bands_`,) of str
        Names of the bands in fit, where X was an `xarray.DataArray` that has them.
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
        p(s, z, \delta \mid x) \propto p(z) \, N(\delta; 0, \tau^2)
            \prod_b \Big(\frac{1}{R} \sum_r p_r(s_b)\Big)
            \exp\Big(\frac{\kappa_B}{B - 1} \sum_{t, b < b'} [s_{bt} = s_{b't}]\Big)
            \prod_{bt} N(x_{bt}; \mu_{bt}(z) + \delta_b,
                           \nu_b^2 \sigma_{bt}^2(z))^{1 - s_{bt}}
                       N(x_{bt}; c_{bt}, (\lambda d_b)^2)^{s_{bt}}

    a spike and slab (George and McCulloch, 1993). Here :math:`p_r` is a Markov chain
    from one observed date of a band to the next, one for each `flag_rate` and
    `run_length`: an Ising chain (its coupling is half the log of
    :math:`p_{00} p_{11} / p_{01} p_{10}`), B is the number of bands, :math:`\delta_b`
    an offset of the series that the latents do not express, whose standard deviation
    :math:`\tau_b` is `offset_std_`, :math:`\nu_b` is `noise_scale_`, :math:`d_b` is
    `band_std_` and :math:`c_{bt}` is
    `band_mean_`, or :math:`\mu_{bt}(z) + \delta_b` with ``slab="latents"``. Sampling
    alternates (Geman and Geman, 1984) between

    1. :math:`z \sim p(z \mid x_{s = 0}, \delta)`, the detector's draw of its latents,
       with the cells set aside passed to it as not observed;
    2. for each band its regime r and all its cells
       :math:`s_b \mid z, \delta, x, s_{\text{others}}`, by forward filtering and
       backward sampling;
    3. :math:`\delta \mid z, s, x`, a normal distribution.

    The answer is the mean of these conditional probabilities over sweeps and
    chains, which has the same expectation as the mean of the indicators and less
    variance. A slab that does not depend on z lets the cells set aside say nothing
    about z, as step 1 assumes, and the alternation is exact wherever the detector
    draws from its true posterior and :math:`\nu_b = 1`. A variational detector draws
    from an approximation q of it, which knows nothing of other noise, and a slab about
    the latents needs draws that heed all cells; such a sampler is called pseudo-Gibbs
    (Mattei and Frellsen, 2018). With a `correction`
    step 1 is a Metropolis-Hastings step of theirs: a draw z' replaces z with
    probability

    .. math::
        \min\Big(1, \frac{p(z') \, p(x \mid z', s) / q(z' \mid x_{s = 0})}
                          {p(z) \, p(x \mid z, s) / q(z \mid x_{s = 0})}\Big),

    season by season, as those have latents of their own. Explaining an anomaly by
    sampling what the series would have been without it follows InterFusion (Li et
    al., 2021).

    Cells of dates given as `changed` are drawn like the others, but neither z nor
    :math:`\delta` heeds them. Without y a detector of several classes decodes a mixture
    of them, of which :math:`\mu` and :math:`\sigma` are the moments.

    Of a detector the explainer needs scikit-learn's estimator API with
    ``fit(X, y=None, *, label_time=None)``, the attribute `n_bands_`, and one
    private step: ``_posterior_draw(X, missing, y, label_time, rng) -> mean, std``,
    a draw of the latents given the observed cells that are not in the boolean array
    `missing`, decoded to the mean and standard deviation of every cell, in units of
    X (and with ``dates=`` where `explain` is given any). It takes its random numbers
    from ``rng.standard_normal(size)``, whose first axis is the sample. A correction
    also takes ``_latent_draw``, with the same arguments, which gives a
    `sktasgen.chains.Draw`, and ``_latent_log_weight(X, missing, y, label_time,
    latents=)``, what the `log_weight` of an earlier draw is now.

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
    >>> found = explainer.explanation(data.X, data.y)
    >>> found.probability.shape == found.counterfactual.shape == data.X.shape
    True
    >>> changed = found.anomalous
    >>> first, last = found.change_interval[changed][0]
    >>> bool(first <= last)
    True
    """

    _parameter_constraints: dict = {
        "detector": [HasMethods(["fit", "_posterior_draw"]), None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "burn_in": [Interval(Integral, 0, None, closed="left")],
        "n_chains": [Interval(Integral, 1, None, closed="left")],
        "flag_rate": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        "run_length": [Interval(Real, 1, None, closed="left"), "array-like"],
        "band_coupling": [Interval(Real, 0, None, closed="left")],
        "slab": [StrOptions({"band", "latents"})],
        "slab_scale": [Interval(Real, 0, None, closed="neither")],
        "correction": [StrOptions({"metropolis"}), None],
        "n_jobs": [Integral, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        detector: Any = None,
        *,
        n_iter: int = 20,
        burn_in: int = 10,
        n_chains: int = 2,
        flag_rate: ArrayLike = (0.003, 0.02, 0.1),
        run_length: ArrayLike = (1, 3, 8, 20),
        band_coupling: float = 0.0,
        slab: Literal["band", "latents"] = "band",
        slab_scale: float = 3.0,
        correction: Literal["metropolis"] | None = None,
        n_jobs: int | None = None,
        batch_size: int = 512,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.detector = detector
        self.n_iter = n_iter
        self.burn_in = burn_in
        self.n_chains = n_chains
        self.flag_rate = flag_rate
        self.run_length = run_length
        self.band_coupling = band_coupling
        self.slab = slab
        self.slab_scale = slab_scale
        self.correction = correction
        self.n_jobs = n_jobs
        self.batch_size = batch_size
        self.random_state = random_state

    # The detector validates its own parameters.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: ObjectArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
    ) -> Self:
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
            If a parameter is out of its range, the series are not numeric, have inf
            or a value above 1e15 in size, or a frozen detector was fitted on other
            bands.
        sklearn.exceptions.NotFittedError
            If a frozen detector was not fitted.
        """
        self.__dict__.pop("detector_", None)  # not fitted until all is done
        check_regimes(self.flag_rate, self.run_length)
        detector = default_detector(self.detector)
        series = check_series(self, X, reset=True, n_bands=n_bands(detector))
        random_state = check_random_state(self.random_state)
        self.seed_ = draw_seed(random_state)
        bands = BandScaler().fit(series)
        self.band_mean_, self.band_std_ = bands.mean_, bands.scale_
        self.n_timesteps_ = series.shape[2]
        self._n_features_out = self.n_bands_ * self.n_timesteps_
        fitted = fit_detector(detector, series, y, label_time, random_state)
        self.offset_std_, self.noise_scale_ = self._find_noise(
            fitted, series, y, label_time
        )
        self.detector_ = fitted
        return self

    def _find_noise(self, detector, X, y, label_time):
        """Spread of the offsets of each band, and of values around latents and offset.

        By stochastic expectation and maximisation (Celeux and Diebolt, 1985): sweeps
        over the series, each followed by what is drawn in it comes to. Cells that are
        set aside, such as those of series that have changed, have no say.
        """
        times = check_label_time(label_time, len(X), X.shape[2])
        wanted = ~np.isnan(X).all(axis=(1, 2))
        if y is not None:
            labels, labelled = check_some_labels(y, len(X))
            wanted &= labelled
        rows = np.flatnonzero(wanted)
        if len(rows) < _LEAST_SERIES:
            return np.zeros(X.shape[1]), np.ones(X.shape[1])
        n = min(len(rows), _MOST_SERIES)
        rows = rows[np.linspace(0, len(rows) - 1, n).astype(np.intp)]
        if y is not None:
            y = labels[np.cumsum(labelled)[rows] - 1]
        times = None if times is None else times[rows]
        nothing = np.zeros((n, X.shape[2]), dtype=bool)
        chain = Chain(self, detector, -2, X[rows], y, times, nothing, None)
        chain.offset_std = np.nan_to_num(self.band_std_)
        chain.noise_scale = np.ones(X.shape[1])
        found = []
        for _ in range(_N_NOISE_SWEEPS):
            chain.sweep()
            middle = np.median(np.abs(chain.offset[:, :, 0]), axis=0)
            chain.offset_std = 1.4826 * middle.astype(np.float64)
            chain.noise_scale = chain.noise_scale * chain.relative_noise()
            found.append((chain.offset_std, chain.noise_scale))
        return np.mean(found[_N_NOISE_SWEEPS // 2 :], axis=0)

    def explain(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
        changed: ArrayLike | None = None,
    ) -> np.ndarray:
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

        Warns
        -----
        UserWarning
            If the chains of some samples disagree.
        """
        return self.explanation(
            X, y, label_time=label_time, dates=dates, changed=changed
        ).probability

    def explanation(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
        changed: ArrayLike | None = None,
    ) -> Explanation:
        """What `explain` finds, and what would have been seen otherwise.

        Parameters
        ----------
        X, y, label_time, dates, changed
            See `explain`.

        Returns
        -------
        sktasgen.explanation.Explanation
            Cell probabilities, the series as if nothing had happened, what counts by
            band and by date, when it happened, and whether the chains agree.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called.
        ValueError, TypeError
            If an argument is not as described, or has other bands than in `fit`.

        Warns
        -----
        UserWarning
            If the chains of some samples disagree.
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

    def transform(self, X: ArrayLike) -> np.ndarray:
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
        return self._explain(series).probability.reshape(len(series), -1)

    def _explain(self, series, y=None, label_time=None, changed=None, dates=None):
        """Run the chains, a batch of samples at a time."""
        run = delayed(self._explain_batch)
        batches = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            run(
                *(
                    None if a is None else a[batch]
                    for a in (series, y, label_time, changed)
                ),
                dates,
            )
            for batch in gen_batches(len(series), self.batch_size)
        )
        found = {
            name: np.concatenate([batch[name] for batch in batches])
            for name in batches[0]
        }
        explanation = Explanation(
            X=series, dates=self._dates(dates, series.shape[2]), **found
        )
        n_apart = np.count_nonzero(~explanation.converged)
        if n_apart:
            warn(
                f"The chains of {n_apart} of {len(series)} samples disagree (R-hat "
                f"above {MOST_R_HAT}): what they say is an average of different "
                "answers. More of n_iter and burn_in may help; explanation() "
                "tells which samples."
            )
        return explanation

    def _dates(self, dates, n_timesteps):
        """Dates of the series, where anybody knows them."""
        if dates is None:
            dates = getattr(self.detector_, "dates", None)
            if dates is not None and len(dates) != n_timesteps:
                return None
        return check_dates(dates, n_timesteps)

    def _explain_batch(self, X, y, label_time, changed, dates):
        """What all chains say of some samples, averaged: a dict of arrays."""
        if changed is None:
            changed = np.zeros((len(X), X.shape[2]), dtype=bool)
        half, n_kept = self.n_iter // 2, self.n_chains * self.n_iter
        weigh = self.correction is not None
        moments = np.zeros((2, *X.shape))
        probability, accepted = np.zeros(X.shape), np.zeros(len(X))
        means, variances = np.zeros((2, 2 * self.n_chains, *X.shape))
        traces = np.empty((self.n_chains, self.n_iter, len(X)))
        for c in range(self.n_chains):
            chain = Chain(self, self.detector_, c, X, y, label_time, changed, dates)
            chain.offset_std, chain.noise_scale = self.offset_std_, self.noise_scale_
            for sweep in range(-self.burn_in, self.n_iter):
                found = chain.sweep(weigh, correct=sweep >= -(self.burn_in // 2))
                if sweep < 0:
                    continue
                probability += found
                accepted += chain.accepted
                moments += chain.mean, chain.mean**2 + chain.std**2
                traces[c, sweep] = np.nansum(found, axis=(1, 2))
                for k, in_half in enumerate(
                    (sweep < half, sweep >= self.n_iter - half)
                ):
                    if in_half:
                        means[2 * c + k] += found
                        variances[2 * c + k] += found**2
        means /= max(half, 1)
        variances = np.maximum(variances - half * means**2, 0) / max(half - 1, 1)
        moments /= n_kept
        variance = np.maximum(moments[1] - moments[0] ** 2, 0)
        return {
            "probability": (probability / n_kept).astype(X.dtype, copy=False),
            "counterfactual": moments[0].astype(X.dtype, copy=False),
            "counterfactual_std": np.sqrt(variance).astype(X.dtype, copy=False),
            "r_hat": diagnostics.split_r_hat(means, variances, half),
            "ess": diagnostics.effective_sample_size(traces),
            "acceptance": accepted / n_kept,
        }

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
