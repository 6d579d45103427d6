"""How far from normal each date of a sample is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from .._validation import ObjectArrayLike, as_array
from .arguments import (
    as_cells,
    as_marks,
    axis_dates,
    check_length,
    check_number,
    fitted_dates,
    known_dates,
    only_sample,
)
from .axes import (
    ALARM,
    EXPECTED,
    GIVEN,
    finish_time_axis,
    take_axes,
    time_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..detector import HTSVAEDetector


class ScoreDisplay:
    """How far from normal each date of a sample is, and which are flagged.

    Build it with :meth:`from_estimator`, or from arrays as below.

    Parameters
    ----------
    scores : array-like of shape (n_timesteps,)
        Score of each date, higher is further from normal; NaN where not
        observed.
    flags : array-like of bool of shape (n_timesteps,), default=None
        Dates to mark; None marks none.
    threshold : float, default=None
        Score above which dates are flagged; None draws none.
    dates : array-like of shape (n_timesteps,), default=None
        Dates as datetime64 or integer ordinal days; None numbers the timesteps.
    label_time : int, default=None
        Index of the date of the given label, which is marked; below 0 for none. A
        score far below all others there, where the class is certain, is left out of
        the picture.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the scores.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    AttributionDisplay : The bands behind the scores.

    Examples
    --------
    >>> from sktasgen.plots import ScoreDisplay
    >>> display = ScoreDisplay([0.1, 0.2, 2.5], threshold=1.0).plot()
    >>> display.ax_.get_ylabel()
    'Score'
    """

    def __init__(
        self,
        scores: ArrayLike,
        *,
        flags: ArrayLike | None = None,
        threshold: float | None = None,
        dates: ObjectArrayLike | None = None,
        label_time: int | None = None,
    ) -> None:
        self.scores = scores
        self.flags = flags
        self.threshold = threshold
        self.dates = dates
        self.label_time = label_time

    @classmethod
    def from_estimator(
        cls,
        detector: HTSVAEDetector,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
        sample: int = 0,
        dates: ObjectArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Score one sample and draw the result.

        Parameters
        ----------
        detector : HTSVAEDetector
            A fitted one.
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series.
        y : array-like of shape (n_samples,), default=None
            Label of each sample: normal is then what is normal for the class.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which y holds.
        sample : int, default=0
            Index of the sample to draw; no other is scored.
        dates : array-like of shape (n_timesteps,), default=None
            Dates of X; None takes those of the detector. A detector fitted
            without dates does not see them: they are for the axis alone.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.

        Returns
        -------
        ScoreDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError, TypeError
            If there is no such sample, or see
            :meth:`sktasgen.HTSVAEDetector.score_timesteps`.
        """
        X, y, label_time = only_sample(sample, X, y, label_time)
        fitted = fitted_dates(detector)
        known = {"label_time": label_time, **known_dates(fitted, dates)}
        scores = detector.score_timesteps(X, y, **known)[0]
        with_mixture = y is None and detector.reference_ == "class"
        return cls(
            scores,
            flags=detector.predict_timesteps(X, y, **known)[0],
            threshold=(
                detector.mixture_threshold_ if with_mixture else detector.threshold_
            ),
            dates=axis_dates(fitted, dates, len(scores)),
            label_time=None if label_time is None else int(label_time[0]),
        ).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.

        Returns
        -------
        ScoreDisplay
            The display itself, with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If the scores are not 1-D, or there are more or fewer flags or dates
            than they need.
        """
        scores = as_cells("scores", self.scores, ("n_timesteps",))
        threshold = self.threshold
        if threshold is not None:
            threshold = check_number("threshold", threshold)
        flags = self.flags
        if flags is not None:
            flags = as_array(flags, "flags", bool)
            if flags.ndim != 1:
                raise ValueError(f"flags has {flags.ndim} dimensions; expected 1.")
            check_length("flags", flags, len(scores))
        label_time = () if self.label_time is None else self.label_time
        labelled = as_marks("label_time", label_time, len(scores))
        if len(labelled) > 1:
            raise TypeError(f"label_time={self.label_time!r}; expected an int.")
        positions, edges = time_axis(self.dates, len(scores))
        seen = ~np.isnan(scores)

        self.ax_, self.figure_ = take_axes(ax, (8, 3), "ScoreDisplay")
        self.ax_.plot(
            positions[seen],
            scores[seen],
            color=EXPECTED,
            marker="o",
            markersize=3,
            linewidth=1,
            label="score",
        )
        if threshold is not None:
            self.ax_.axhline(
                threshold, color="black", linestyle="--", label="threshold"
            )
        if flags is not None:
            self.ax_.plot(
                positions[flags],
                scores[flags],
                linestyle="none",
                marker="s",
                markersize=6,
                markerfacecolor="none",
                markeredgecolor=ALARM,
                markeredgewidth=1.5,
                label="flagged",
            )
        for time in labelled:
            self.ax_.axvline(positions[time], label="given label", **GIVEN)
            self._leave_out_label(scores, time)
        self.ax_.set_ylabel("Score")
        finish_time_axis(self.ax_, self.dates, edges)
        self.ax_.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small"
        )
        return self

    def _leave_out_label(self, scores, time):
        """Let the line leave the picture at the given label, if it goes far down.

        The class is certain there, and a score of its odds as low as scores can be:
        in full it would press all others into a line.
        """
        levels = np.delete(scores, time)
        if self.threshold is not None:
            levels = np.append(levels, self.threshold)
        levels = levels[np.isfinite(levels)]
        if len(levels) == 0:
            return
        low, high = levels.min(), levels.max()
        if high > low > scores[time] + (high - low):
            pad = 0.05 * (high - low)
            self.ax_.set_ylim(low - pad, high + pad)
