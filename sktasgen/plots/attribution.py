"""The bands and dates that explain a change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from .._validation import ObjectArrayLike, as_array
from ..explanation import MOST_R_HAT
from .arguments import (
    as_cells,
    as_marks,
    as_names,
    as_series,
    axis_dates,
    check_number,
    check_sample,
    fitted_dates,
    known_dates,
    only_sample,
)
from .axes import (
    ALARM,
    EXPECTED,
    GIVEN,
    finish_time_axis,
    name_rows,
    take_axes,
    time_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..explainer import GibbsExplainer
    from ..explanation import Explanation

_CHANGE = {"color": "black", "linestyle": "--", "linewidth": 1.5}
_MEAN = "0.35"
# One hue, ever darker: in order for the colour-blind and on prints without colour.
_PROBABILITY = "Oranges"
_N_PANELS = 3  # bands whose series is drawn


class AttributionDisplay:
    """Probability that each cell of a series is anomalous, band by date.

    A heat map of bands by dates, with the mean of each date above and that of each
    band at its right. On top are the series of the bands with the highest means, at
    most three, beside what they would have been if nothing had happened.

    Build it with :meth:`from_estimator` or :meth:`from_explanation`, or from arrays
    as below.

    Parameters
    ----------
    attribution : array-like of shape (n_bands, n_timesteps)
        Probabilities, NaN where not observed.
    series : array-like of shape (n_bands, n_timesteps), default=None
        The series; None draws none.
    counterfactual : array-like of shape (n_bands, n_timesteps), default=None
        The series as if nothing had happened; None draws none.
    interval : array-like of shape (2, n_bands, n_timesteps), default=None
        Lowest and highest value expected if nothing had happened; None draws none.
    dates : array-like of shape (n_timesteps,), default=None
        Dates as datetime64 or integer ordinal days; None numbers the timesteps.
    band_names : list of str of length n_bands, default=None
        Names at the rows; None numbers them.
    label_time : int or array-like of int, default=None
        Index of the date of the given label, which is marked; below 0 for none.
    change_time : int or array-like of int, default=None
        Index of the first date of each new label, which is marked; below 0 for none.
    change_interval : array-like of int of shape (2,), default=None
        Indices of the first and last date of what happened, which are framed; below
        0 where nothing has.
    r_hat : float, default=None
        How far the chains behind the probabilities differ: above 1.2 the legend says
        that they disagree.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the heat map. It is kept to a part of its place, the rest of which
        goes to the other axes.
    series_axes_ : list of matplotlib Axes
        Axes with the series of one band each, from the top; empty without series
        and counterfactual.
    date_ax_, band_ax_ : matplotlib Axes
        Axes with the means.
    figure_ : matplotlib Figure
        Figure of the axes.
    colorbar_ : matplotlib Colorbar
        Scale of the probabilities.

    See Also
    --------
    sktasgen.GibbsExplainer : Finds the probabilities.
    TimelineDisplay : The labels themselves.

    Examples
    --------
    >>> from sktasgen.plots import AttributionDisplay
    >>> display = AttributionDisplay([[0.1, 0.9, 0.8]], band_names=["B8"]).plot()
    >>> [text.get_text() for text in display.ax_.get_yticklabels()]
    ['B8']
    """

    def __init__(
        self,
        attribution: ArrayLike,
        *,
        series: ArrayLike | None = None,
        counterfactual: ArrayLike | None = None,
        interval: ArrayLike | None = None,
        dates: ObjectArrayLike | None = None,
        band_names: Sequence[str] | None = None,
        label_time: ArrayLike | None = None,
        change_time: ArrayLike | None = None,
        change_interval: ArrayLike | None = None,
        r_hat: float | None = None,
    ) -> None:
        self.attribution = attribution
        self.series = series
        self.counterfactual = counterfactual
        self.interval = interval
        self.dates = dates
        self.band_names = band_names
        self.label_time = label_time
        self.change_time = change_time
        self.change_interval = change_interval
        self.r_hat = r_hat

    @classmethod
    def from_estimator(
        cls,
        explainer: GibbsExplainer,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        label_time: ArrayLike | None = None,
        sample: int = 0,
        dates: ObjectArrayLike | None = None,
        changed: ArrayLike | None = None,
        change_time: ArrayLike | None = None,
        band_names: Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Explain one sample and draw the result.

        Parameters
        ----------
        explainer : GibbsExplainer
            A fitted one.
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series.
        y : array-like of shape (n_samples,), default=None
            Label of each sample: normal is then what is normal for the class.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which y holds.
        sample : int, default=0
            Index of the sample to draw; no other is explained.
        dates : array-like of shape (n_timesteps,), default=None
            Dates of X; None takes those of the explainer's detector. A detector fitted
            without dates does not see them: they are for the axis alone.
        changed : array-like of shape (n_samples, n_timesteps) of bool, default=None
            Dates known not to be normal, see
            :meth:`sktasgen.GibbsExplainer.explain`.
        change_time : int or array-like of int, default=None
            Index of the first date of each new label of the sample drawn.
        band_names : list of str of length n_bands, default=None
            Names of the bands; None numbers them.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.

        Returns
        -------
        AttributionDisplay
            The display, drawn. Its interval holds nine tenths of the values expected.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError, TypeError
            If there is no such sample, or see
            :meth:`sktasgen.GibbsExplainer.explain`.
        """
        n = len(as_series(X))
        X, y, label_time = only_sample(sample, X, y, label_time)
        if changed is not None:
            changed = as_array(changed, "changed")
            if changed.shape[:1] != (n,):
                raise ValueError(
                    f"changed has shape {changed.shape}; expected ({n}, n_timesteps)."
                )
            changed = changed[[sample]]
        fitted = fitted_dates(explainer)
        explanation = explainer.explanation(
            X,
            y,
            label_time=label_time,
            changed=changed,
            **known_dates(fitted, dates),
        )
        return cls.from_explanation(
            explanation,
            dates=axis_dates(fitted, dates, explanation.X.shape[2]),
            band_names=band_names,
            label_time=None if label_time is None else int(label_time[0]),
            change_time=change_time,
            ax=ax,
        )

    @classmethod
    def from_explanation(
        cls,
        explanation: Explanation,
        *,
        sample: int = 0,
        dates: ObjectArrayLike | None = None,
        band_names: Sequence[str] | None = None,
        label_time: ArrayLike | None = None,
        change_time: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw one sample of what an explainer has found.

        Parameters
        ----------
        explanation : sktasgen.explanation.Explanation
            What :meth:`sktasgen.GibbsExplainer.explanation` returned.
        sample : int, default=0
            Index of the sample to draw.
        dates : array-like of shape (n_timesteps,), default=None
            Dates for the axis; None takes those of the explanation.
        band_names : list of str of length n_bands, default=None
            Names of the bands; None numbers them.
        label_time : int or array-like of int, default=None
            Index of the date of the sample's label; below 0 for none.
        change_time : int or array-like of int, default=None
            Index of the first date of each of its new labels; below 0 for none.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.

        Returns
        -------
        AttributionDisplay
            The display, drawn. Its interval holds nine tenths of the values expected.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If there is no such sample, or there are more or fewer dates or names than
            it needs.
        """
        check_sample(sample, len(explanation.X))
        lower, upper = explanation.interval(0.9)
        return cls(
            explanation.probability[sample],
            series=explanation.X[sample],
            counterfactual=explanation.counterfactual[sample],
            interval=(lower[sample], upper[sample]),
            dates=explanation.dates if dates is None else dates,
            band_names=band_names,
            label_time=label_time,
            change_time=change_time,
            change_interval=explanation.change_interval[sample],
            r_hat=explanation.r_hat[sample],
        ).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the heat map and what is around it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes whose place all of it takes; None makes new ones.

        Returns
        -------
        AttributionDisplay
            The display itself, with the attributes of the axes.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If the attribution is not 2-D, the series, the counterfactual or the
            interval are of another shape, or there are more or fewer dates or names
            than they need.
        """
        cells = np.ma.masked_invalid(
            as_cells("attribution", self.attribution, ("n_bands", "n_timesteps"))
        )
        # In single precision a mean of ones may be a little more.
        if ((cells < 0) | (cells > 1 + 1e-6)).any():
            raise ValueError("attribution has values beyond 0 to 1: no probabilities.")
        n_bands, n_timesteps = cells.shape
        names = as_names("band_names", self.band_names, n_bands)
        marks = self._check_marks(n_timesteps)
        r_hat = None if self.r_hat is None else check_number("r_hat", self.r_hat)
        positions, edges = time_axis(self.dates, n_timesteps)
        series = self._like_cells("series", cells.shape)
        expected = self._like_cells("counterfactual", cells.shape)
        interval = self._like_cells("interval", (2, *cells.shape))
        bands = []
        if series is not None or expected is not None:
            bands = _highest(cells.mean(axis=1).filled(0), _N_PANELS)

        self._place_axes(ax, n_bands, len(bands))
        self._draw_cells(cells, names, edges)
        self._draw_means(cells, edges)
        handles: dict = {}
        for panel, band in zip(self.series_axes_, bands, strict=True):
            handles |= _draw_band(
                panel,
                positions,
                None if series is None else series[band],
                None if expected is None else expected[band],
                None if interval is None else interval[:, band],
            )
            panel.set_ylabel(
                names[band], rotation=0, ha="right", va="center", parse_math=False
            )
        handles |= self._draw_marks(marks, positions, edges)
        if r_hat is not None and r_hat > MOST_R_HAT:
            (mark,) = self.ax_.plot([], [], "x", color=ALARM)
            handles[f"chains disagree\n(R-hat {r_hat:.2f})"] = mark
        if handles:
            # In the corner that the means leave free.
            self.ax_.legend(
                handles.values(),
                handles.keys(),
                loc="lower left",
                bbox_to_anchor=(1.01, 1.02),
                borderaxespad=0,
                frameon=False,
                fontsize="small",
            )
        finish_time_axis(self.ax_, self.dates, edges)
        return self

    def _like_cells(self, name, shape):
        """An optional array as float, of the shape that it must have."""
        values = getattr(self, name)
        if values is None:
            return None
        values = as_array(values, name, float)
        if values.shape != shape:
            raise ValueError(
                f"{name} has shape {values.shape}; expected {shape}, as attribution "
                f"has shape {np.shape(self.attribution)}."
            )
        return values

    def _place_axes(self, ax, n_bands, n_panels):
        """Divide the place of one axes: the heat map below, the others around it."""
        rows = max(0.3 * n_bands, 0.6), 0.4, *[0.7] * n_panels  # inches, if free
        gap = 0.14
        height = sum(rows) + gap * (len(rows) - 1)
        size = (8, height + 0.8)
        self.ax_, self.figure_ = take_axes(ax, size, type(self).__name__)
        # Not by a grid of subplots: the axes given need not be one of a grid, and
        # labels that stick out of insets count in the layout as the axes' own.
        width = 0.85
        self.ax_.set_axes_locator(_LowerLeft(self.ax_, width, rows[0] / height))
        above = []
        bottom = 1.0
        for row in rows[1:]:
            bottom += gap / rows[0]
            bounds = [0, bottom, 1, row / rows[0]]
            above.append(self.ax_.inset_axes(bounds, sharex=self.ax_))
            bottom += row / rows[0]
        for inset in above:
            inset.tick_params(labelbottom=False)
        self.date_ax_, *panels = above
        self.series_axes_ = panels[::-1]
        self.band_ax_ = self.ax_.inset_axes([1.01, 0, 0.1, 1], sharey=self.ax_)
        self.band_ax_.tick_params(labelleft=False)
        self._scale_ax = self.ax_.inset_axes([1.13, 0, 0.02, 1])

    def _draw_cells(self, cells, names, edges):
        n_bands = len(cells)
        # Hatched where nothing was observed: white would read as "not anomalous".
        self.ax_.patch.set(facecolor="0.95", edgecolor="0.6", hatch="////", linewidth=0)
        heat = self.ax_.pcolormesh(
            edges,
            np.arange(n_bands + 1) - 0.5,
            cells,
            cmap=_PROBABILITY,
            vmin=0,
            vmax=1,
        )
        self.colorbar_ = self.figure_.colorbar(
            heat, cax=self._scale_ax, label="P(anomalous)"
        )
        for edge in np.arange(1, n_bands) - 0.5:
            self.ax_.axhline(edge, color="white", linewidth=1)
        name_rows(self.ax_, names)
        self.ax_.set_ylabel("Band")

    def _draw_means(self, cells, edges):
        by_date, by_band = (cells.mean(axis=axis).filled(np.nan) for axis in (0, 1))
        self.date_ax_.stairs(by_date, edges, fill=True, color=_MEAN)
        self.date_ax_.set_ylim(0, 1)
        self.date_ax_.set_yticks([1])
        self.date_ax_.set_ylabel("Mean", rotation=0, ha="right", va="center")
        self.band_ax_.barh(np.arange(len(cells)), by_band, height=0.8, color=_MEAN)
        # Bands differ by less than dates: few changes last for most of a series.
        most = max(0.1, np.ceil(10 * np.nan_to_num(by_band).max()) / 10)
        self.band_ax_.set_xlim(0, most)
        self.band_ax_.set_xticks([most])  # one at 0 would touch the last date's label
        self.band_ax_.set_xlabel("Mean")

    def _check_marks(self, n_timesteps):
        """Indices of the interval, None if there is none, of changes and labels."""
        interval = self.change_interval
        if interval is not None:
            interval = as_array(interval, "change_interval")
            if interval.shape != (2,) or interval.dtype.kind not in "iu":
                raise ValueError(
                    f"change_interval={self.change_interval!r}; expected two ints."
                )
            if interval.min() < 0:  # nothing happened
                interval = None
            elif not interval[0] <= interval[1] < n_timesteps:
                raise ValueError(
                    f"change_interval={self.change_interval!r}; expected the first "
                    f"and the last date, from 0 to {n_timesteps - 1}."
                )
        change, label = (
            as_marks(name, () if value is None else value, n_timesteps)
            for name, value in (
                ("change_time", self.change_time),
                ("label_time", self.label_time),
            )
        )
        return interval, change, label

    def _draw_marks(self, marks, positions, edges):
        """When it happened, on every axes that has dates: handles for the legend."""
        above = [*self.series_axes_, self.date_ax_]
        handles = {}

        def mark(name, position, style):
            for ax in (*above, self.ax_):
                handles[name] = ax.axvline(position, label=name, **style)

        interval, change, label = marks
        if interval is not None:
            first, last = interval
            span = edges[first], edges[last + 1]
            for ax in above:
                handles["change interval"] = ax.axvspan(*span, color="0.9", zorder=0)
            self.ax_.axvspan(*span, fill=False, edgecolor="black", zorder=3)
        for time in change:
            mark("change", edges[time], _CHANGE)
        for time in label:
            mark("given label", positions[time], GIVEN)
        return handles


class _LowerLeft:
    """Where an axes lies that is kept to a share of its place: an axes locator."""

    def __init__(self, ax, width, height):
        self.ax, self.width, self.height = ax, width, height

    def __call__(self, ax, renderer):
        place = ax.get_position(original=True)
        width, height = self.width * place.width, self.height * place.height
        return place.from_bounds(place.x0, place.y0, width, height)

    def get_subplotspec(self):
        # Without it tight_layout leaves an axes that has a locator alone.
        return self.ax.get_subplotspec()


def _highest(importance, n):
    """Indices of the highest values, in order of index."""
    return np.sort(np.argsort(-importance, kind="stable")[:n])


def _draw_band(ax, positions, values, expected, interval):
    """One band over time, and what was expected: handles for the legend."""
    handles = {}
    if values is not None:
        seen = ~np.isnan(values)
        (handles["observed"],) = ax.plot(
            positions[seen],
            values[seen],
            color="black",
            marker=".",
            markersize=3,
            linewidth=0.7,
            zorder=3,
        )
    if expected is not None:
        (handles["expected"],) = ax.plot(
            positions, expected, color=EXPECTED, linewidth=1.5
        )
    if interval is not None:
        handles["interval"] = ax.fill_between(
            positions, *interval, color=EXPECTED, alpha=0.25, linewidth=0
        )
    ax.locator_params(axis="y", nbins=3)
    ax.tick_params(axis="y", labelsize="small")
    return handles
