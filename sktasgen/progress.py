"""Who is told of each step of a fit: scikit-learn's callbacks, and the screen."""

import time

from ._sklearn import has_callbacks

# Lines that verbose=1 prints in a whole fit.
_N_LINES = 10


class Monitor:
    """What `training.train` tells of each step, passed on.

    Parameters
    ----------
    estimator : estimator
        With ``max_iter`` and ``verbose``.
    context : sklearn.callback.CallbackContext
        Of the whole fit; each step is a subtask.
    X, y
        What fit was given.
    finish : callable
        ``finish(trained)`` is a dict of the attributes that the estimator would
        have if its training ended with `trained`.
    name : str
        Of this training, printed before the number of a step.
    n_steps : int
        Steps of this training at most.
    """

    def __init__(self, estimator, context, X, y, finish, name, n_steps):
        self.estimator = estimator
        self.context = context
        self.name = name
        self.n_steps = n_steps
        self.data = dict(estimator=estimator, X=X, y=y)
        self.finish = finish
        self.step = None
        self.stopped = False  # by a callback
        self.start = time.monotonic()

    @classmethod
    def wanted(cls, estimator, *args):
        """A monitor, or None where nobody wants to be told."""
        if estimator.verbose or has_callbacks(estimator):
            return cls(estimator, *args)
        return None

    def begin(self):
        """A step begins."""
        if has_callbacks(self.estimator):
            self.step = self.context.subcontext(task_name="step")
            self.step.call_on_fit_task_begin(**self.data)

    def end(self, n, loss, curve, result):
        """A step has ended; returns whether training shall end with it."""
        if self.estimator.verbose:
            self._print(n, loss, curve)
        if not has_callbacks(self.estimator):
            return False
        self.stopped = self.step.call_on_fit_task_end(
            **self.data, reconstruction_attributes=lambda: self.finish(result())
        )
        return self.stopped

    def _print(self, n, loss, curve):
        if n % max(1, self.n_steps // _N_LINES) and n != self.n_steps:
            return
        validated = f", validation {curve[-1]:.4f}" if curve else ""
        seconds = time.monotonic() - self.start
        print(
            f"[{type(self.estimator).__name__}] {self.name}step {n} of {self.n_steps}, "
            f"loss {loss:.4f}{validated}, {seconds:.0f} s"
        )
