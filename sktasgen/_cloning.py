"""Copies of the estimators that a meta-estimator was given, ready to fit."""

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from . import __version__


def seeded_clone(estimator, random_state):
    """Clone an estimator, and seed whatever in it was left unseeded.

    So one `random_state` on the outside decides everything, and a seed that the
    user set inside is kept.

    Parameters
    ----------
    estimator : estimator
    random_state : RandomState
        Advanced by one draw for each seed that is set.

    Returns
    -------
    estimator
    """
    estimator = clone(estimator)
    if not isinstance(estimator, FrozenEstimator):
        unseeded = {
            name: draw_seed(random_state)
            for name, value in sorted(estimator.get_params().items())
            if value is None and name.split("__")[-1] == "random_state"
        }
        estimator.set_params(**unseeded)
    return estimator


def draw_seed(random_state):
    """A seed for someone else, from a RandomState."""
    return int(random_state.randint(np.iinfo(np.int32).max))


def default_detector(detector):
    """The detector that a parameter means: None is `HTSVAEDetector`.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it is frozen without having been fitted.
    """
    if detector is None:
        from .detector import HTSVAEDetector

        return HTSVAEDetector()
    if isinstance(detector, FrozenEstimator):
        check_is_fitted(
            detector.estimator,
            msg="detector is a FrozenEstimator around a %(name)s that is not "
            "fitted: fit it first, or pass it unfrozen to have it fitted here.",
        )
    return detector


def n_bands(detector):
    """Bands in the columns of 2-D series, as a detector takes them."""
    frozen = isinstance(detector, FrozenEstimator)
    return getattr(detector, "n_bands_" if frozen else "n_bands", 1)


def fit_detector(detector, X, y, label_time, random_state, *, groups=None, memory=None):
    """Fit a clone of a detector, or take the fitted one out of a frozen one.

    With a `joblib.Memory` that keeps them, a detector is fitted but once to the same.

    Raises
    ------
    ValueError
        If a frozen detector was fitted on other bands than X (n, n_bands, T) has.
    """
    if not isinstance(detector, FrozenEstimator):
        seeded = seeded_clone(detector, random_state)
        more = {} if groups is None else {"groups": groups}
        fit = _fit if memory is None else memory.cache(_fit)
        return fit(seeded, X, y, __version__, label_time=label_time, **more)
    fitted = detector.estimator
    if fitted.n_bands_ != X.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} bands, but the frozen detector was fitted on "
            f"{fitted.n_bands_}."
        )
    return fitted


def _fit(detector, X, y, version, **known):
    """Fit; what another version of the package fitted is not the same."""
    return detector.fit(X, y, **known)
