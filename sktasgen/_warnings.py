"""Warnings that point at the user's own line, however deep they arise."""

import os
import sys
import warnings

import joblib
import sklearn

# Neither ours nor those of scikit-learn's and joblib's wrappers around our methods.
_PASSED_BY = tuple(
    os.path.dirname(os.path.abspath(path)) + os.sep
    for path in (__file__, sklearn.__file__, joblib.__file__)
)


def warn(message):
    """Warn at the innermost line outside of the package, scikit-learn and joblib."""
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_code.co_filename.startswith(_PASSED_BY):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)
