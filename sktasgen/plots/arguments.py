"""What the pictures share: one sample of many, its dates, errors that name them."""

import numpy as np


def only_sample(sample, X, y, label_time):
    """The arguments of one sample, which keep their first axis."""
    X = np.asarray(X)
    check_sample(sample, len(X))
    rows = [sample]
    return (
        X[rows],
        None if y is None else np.asarray(y)[rows],
        None if label_time is None else np.broadcast_to(label_time, len(X))[rows],
    )


def check_sample(sample, n):
    if not 0 <= sample < n:
        raise ValueError(f"sample={sample} is not among the {n} samples.")


def fitted_dates(estimator):
    """Dates that an estimator was fitted with: its detector's, or its own."""
    detector = getattr(estimator, "detector_", None)
    if detector is None:
        return getattr(estimator, "dates_", getattr(estimator, "dates", None))
    return getattr(detector, "dates_", None)


def known_dates(fitted, dates):
    """The dates given, for an estimator that was fitted with dates."""
    return {} if dates is None or fitted is None else {"dates": dates}


def axis_dates(fitted, dates, n_timesteps):
    """The dates given, or those of fit where they fit the series."""
    if dates is not None:
        return dates
    return fitted if fitted is not None and len(fitted) == n_timesteps else None


def check_length(name, values, wanted):
    if len(values) != wanted:
        raise ValueError(f"{name} has length {len(values)}; expected {wanted}.")
