"""Labels over time, a strip for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from .._optional import import_optional
from .._validation import ObjectArrayLike, as_array, naming
from ..legend import PALETTE
from .arguments import (
    as_cells,
    as_names,
    as_rows,
    as_series,
    axis_dates,
    each_time,
    fitted_dates,
    known_dates,
    some_labels,
)
from .axes import finish_time_axis, inches, name_rows, take_axes, time_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..relabeler import StableSampleRelabeler

_HATCHES = ("", "///", "...", "xxx")
_STRIP = 0.8  # height, as a share of the distance between strips
_LETTER_WIDTH = 0.06  # of a small letter, in inches


class TimelineDisplay:
    """Labels of samples over time, a strip for each.

    Build it with :meth:`from_estimator`, or from arrays as below.

    Parameters
    ----------
    labels : array-like of shape (n_samples, n_timesteps)
        Label of each date; None, NaN or "" leaves a gap, and so does a label that is
        not one of `classes`.
    probabilities : array-like of shape (n_samples, n_timesteps), default=None
        Probability of each label, to which the strip is filled at that date: what is
        in doubt is pale. None fills all strips.
    dates : array-like of shape (n_timesteps,), default=None
        Dates as datetime64 or integer ordinal days; None numbers the timesteps.
    label_time : int or array-like of int of shape (n_samples,), default=None
        Index of the date of the given label, which is marked; below 0 for a
        sample without one.
    sample_names : list of str of length n_samples, default=None
        Names at the strips; None numbers them.
    classes : array-like of shape (n_classes,), default=None
        All classes, so that a class looks the same in every picture; None takes
        those that occur.
    class_names : list of str of length n_classes, default=None
        Names for the legend; None writes the labels.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the strips.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    AttributionDisplay : The bands and dates that explain a change.
    ScoreDisplay : How far from normal each date of a sample is.

    Examples
    --------
    >>> from sktasgen.plots import TimelineDisplay
    >>> display = TimelineDisplay(
    ...     [["crop", "crop", "water"], ["crop", "crop", "crop"]], label_time=[0, 1]
    ... )
    >>> display.plot().ax_.get_xlabel()
    'Timestep'
    """

    def __init__(
        self,
        labels: ObjectArrayLike,
        *,
        probabilities: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
        label_time: ArrayLike | None = None,
        sample_names: Sequence | None = None,
        classes: Sequence | np.ndarray | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.labels = labels
        self.probabilities = probabilities
        self.dates = dates
        self.label_time = label_time
        self.sample_names = sample_names
        self.classes = classes
        self.class_names = class_names

    @classmethod
    def from_estimator(
        cls,
        relabeler: StableSampleRelabeler,
        X: ArrayLike,
        y: ObjectArrayLike | None = None,
        *,
        label_time: ObjectArrayLike | None = None,
        samples: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
        sample_names: Sequence | None = None,
        class_names: Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Relabel samples and draw the result.

        Parameters
        ----------
        relabeler : StableSampleRelabeler
            A fitted one.
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series.
        y : array-like of shape (n_samples,), default=None
            Label of each sample, to which its timeline is held; None or NaN for one
            without. None takes all samples for unlabelled.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which y holds; None takes that of fit.
        samples : array-like of int, default=None
            Indices of the samples to draw, from the end if below 0; None draws all.
        dates : array-like of shape (n_timesteps,), default=None
            Dates of X; None takes those of the relabeler's detector. A detector fitted
            without dates does not see them: they are for the axis alone.
        sample_names : list of str of length n_samples, default=None
            Names of all samples; None numbers them.
        class_names : list of str, default=None
            Names for the legend, in the order of ``relabeler.classes_``.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.

        Returns
        -------
        TimelineDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError, TypeError
            See :meth:`sktasgen.StableSampleRelabeler.relabel`.
        """
        X = as_series(X)
        n = len(X)
        rows = np.arange(n)
        if samples is not None:
            rows = as_rows("samples", samples, n)
        fitted = fitted_dates(relabeler)
        known = known_dates(fitted, dates)
        if y is None:
            times = None
            labels = relabeler.predict_timeline(X[rows], **known)
            posterior = relabeler.predict_proba_timeline(X[rows], **known)
        else:
            if label_time is None:
                label_time = relabeler.label_time_
            y, times, labelled = some_labels(rows, n, y, label_time)
            given = X[rows], y
            labels = relabeler.relabel(*given, label_time=times, **known)
            posterior = relabeler.predict_proba_timeline(
                *given, label_time=times, **known
            )
            times = np.where(labelled, times, -1)
        drawn = labels[:, :, np.newaxis] == relabeler.classes_
        sample_names = as_names("sample_names", sample_names, n)
        sample_names = [sample_names[row] for row in rows]
        return cls(
            labels,
            probabilities=np.where(drawn, posterior, 0).sum(axis=2),
            dates=axis_dates(fitted, dates, labels.shape[1]),
            label_time=times,
            sample_names=sample_names,
            classes=relabeler.classes_,
            class_names=class_names,
        ).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the strips.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.

        Returns
        -------
        TimelineDisplay
            The display itself, with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If the labels are not 2-D, the probabilities are of another shape, or
            there are more or fewer dates, times or names than they need.
        """
        labels = as_cells("labels", self.labels, ("n_samples", "n_timesteps"), object)
        n, n_timesteps = labels.shape
        with naming("labels" if self.classes is None else "classes"):
            classes = self.classes
            if classes is None:
                classes = _classes(labels)
            else:
                classes = as_cells("classes", classes, ("n_classes",), object).tolist()
            names = [str(label) for label in classes]
        if self.class_names is not None:
            names = as_names("class_names", self.class_names, len(classes))
        samples = as_names("sample_names", self.sample_names, n)
        times = each_time(-1 if self.label_time is None else self.label_time, n)
        if times.max() >= n_timesteps:
            raise ValueError(
                f"label_time has {times.max()}; expected at most {n_timesteps - 1}, "
                "or -1 for none."
            )
        probabilities = self.probabilities
        if probabilities is not None:
            probabilities = as_array(probabilities, "probabilities", float)
            if probabilities.shape != labels.shape:
                raise ValueError(
                    f"probabilities has shape {probabilities.shape}; expected that of "
                    f"labels, {labels.shape}."
                )
        positions, edges = time_axis(self.dates, n_timesteps)

        self.ax_, self.figure_ = take_axes(ax, (8, 1 + 0.3 * n), "TimelineDisplay")
        marks = np.where(times >= 0, positions[times], np.nan)
        shown = np.zeros(labels.shape, dtype=bool)
        for k, label in enumerate(classes):
            shown |= labels == label
            spans, rows = _runs(labels == label, edges)
            if len(rows) == 0:
                continue
            self.ax_.barh(
                rows,
                [right - left for left, right in spans],
                left=[left for left, _ in spans],
                height=_STRIP,
                color=PALETTE[k % len(PALETTE)],
                hatch=_HATCHES[k // len(PALETTE) % len(_HATCHES)],
                edgecolor="black",
                linewidth=0.4,
                label=names[k],
            )
            self._write_names(names[k], spans, rows, edges, marks)
        if probabilities is not None:
            self._veil(np.where(shown, probabilities, 1), edges)
        if self.label_time is not None:
            rows = np.flatnonzero(times >= 0)
            self.ax_.plot(
                marks[rows],
                rows,
                linestyle="none",
                marker="D",
                markersize=6,
                markerfacecolor="white",
                markeredgecolor="black",
                label="given label",
                zorder=4,  # above the names
            )
        name_rows(self.ax_, samples)
        self.ax_.set_ylabel("Sample")
        finish_time_axis(self.ax_, self.dates, edges)
        legend = self.ax_.legend(
            loc="upper left",
            bbox_to_anchor=(1.01, 1),
            frameon=False,
            fontsize="small",
            title=None if probabilities is None else "Filled to probability",
            title_fontsize="small",
            alignment="left",
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may have a dollar sign
        return self

    def _veil(self, probabilities, edges):
        """Make strips pale from the top down to the probability of each date."""
        rows, times = np.nonzero(~(probabilities >= 1))
        doubt = 1 - np.nan_to_num(probabilities[rows, times])
        left, right = edges[times], edges[times + 1]
        top = rows - _STRIP / 2
        bottom = top + _STRIP * doubt
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        collections = import_optional(
            "matplotlib.collections", extra="plot", purpose=type(self).__name__
        )
        veil = collections.PolyCollection(
            np.moveaxis(np.array(corners), 2, 0),
            facecolor="white",
            alpha=0.7,
            antialiased=False,  # no seams between dates
            zorder=1.5,  # above the strips, below the names
        )
        self.ax_.add_collection(veil, autolim=False)

    def _write_names(self, name, spans, rows, edges, marks):
        """Write a class into the runs long enough, for prints without colour.

        Beside the marks, of which there is one in each row, or NaN.
        """
        letter = _LETTER_WIDTH * (edges[-1] - edges[0]) / inches(self.ax_)[0]
        width = letter * (len(name) + 2)
        for (left, right), row in zip(spans, rows, strict=True):
            if left <= marks[row] + letter and marks[row] < left + width:
                left = marks[row] + letter
            if right - left >= width:
                self.ax_.annotate(
                    name,
                    (left, row),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7,
                    parse_math=False,
                )


def _runs(mask, edges):
    """Left and right end of each run of True, and the row that it is in."""
    padded = np.pad(mask.astype(np.int8), ((0, 0), (1, 1)))
    step = np.diff(padded, axis=1)
    rows, starts = np.nonzero(step == 1)
    ends = np.nonzero(step == -1)[1]
    return list(zip(edges[starts], edges[ends], strict=True)), rows


def _classes(labels):
    """The labels that occur, without None, NaN and ""."""
    labels = [label for label in labels.ravel() if label is not None and label != ""]
    found = {label for label in labels if label == label}
    return sorted(found, key=lambda label: (isinstance(label, str), label))
