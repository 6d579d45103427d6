"""The private names of scikit-learn that the package uses: here and nowhere else."""

from sklearn.base import _fit_context as fit_context
from sklearn.utils._metadata_requests import _routing_enabled as routing_enabled
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)

__all__ = [
    "HasMethods",
    "Interval",
    "StrOptions",
    "fit_context",
    "routing_enabled",
    "validate_params",
]
