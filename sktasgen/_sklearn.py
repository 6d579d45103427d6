"""The private names of scikit-learn that the package uses: here and nowhere else.

Beside them the names that only its later releases have.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sklearn.utils._metadata_requests import RequestMethod
from sklearn.utils._metadata_requests import _routing_enabled as routing_enabled
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils._param_validation import Interval as _Interval

if TYPE_CHECKING:
    # scikit-learn has no types, so what its decorators return would have none.
    _Decorated = TypeVar("_Decorated", bound=Callable)

    def fit_context(
        *, prefer_skip_nested_validation: bool
    ) -> Callable[[_Decorated], _Decorated]: ...

    def validate_params(
        parameter_constraints: dict[str, Any], *, prefer_skip_nested_validation: bool
    ) -> Callable[[_Decorated], _Decorated]: ...

else:
    from sklearn.base import _fit_context as fit_context
    from sklearn.utils._param_validation import validate_params

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Without callbacks in scikit-learn, nobody is told of anything."""

        def _init_callback_context(self, **kwargs):
            return _Silence()


class _Silence:
    """The context of a fit that has no callbacks."""

    def call_on_fit_task_begin(self, **kwargs):
        return self

    def call_on_fit_task_end(self, **kwargs):
        return False


class Interval(_Interval):
    """Numbers of a range; True, time spans and other kin of numbers are none."""

    def is_satisfied_by(self, val):
        if isinstance(val, bool | np.timedelta64):
            return False
        try:
            return super().is_satisfied_by(val)
        except TypeError:  # a Fraction, of which NumPy knows nothing
            return False


def has_callbacks(estimator):
    """Whether anybody wants to be told of an estimator's fit."""
    return hasattr(estimator, "_skl_callbacks")


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "RequestMethod",
    "StrOptions",
    "fit_context",
    "has_callbacks",
    "routing_enabled",
    "validate_params",
]
