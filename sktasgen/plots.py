"""Pictures of labels, explanations and scores, drawn with matplotlib.

Each class holds the arrays of one picture: ``from_estimator`` computes them,
``plot`` draws them, on axes that are given or on new ones.
"""

import numpy as np

from ._optional import import_optional
from ._validation import check_dates
from .explanation import MOST_R_HAT
from .legend import PALETTE

_HATCHES = ("", "///", "...", "xxx")
_EXPECTED = "#0072B2"
_ALARM = "#D55E00"
_GIVEN = {"color": "#009E73", "linestyle": ":", "linewidth": 2}
_CHANGE = {"color": "black", "linestyle": "--", "linewidth": 1.5}
_MEAN = "0.35"
# One hue, ever darker: in order for the colour-blind and on prints without colour.
_PROBABILITY = "Oranges"
_N_PANELS = 3  # bands whose series is drawn
_STRIP = 0.8  # height, as a share of the distance between strips
_LETTER_WIDTH = 0.06  # of a small letter, in inches
_DATE_WIDTH = 0.55  # of a date at its tick, in inches


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
        labels,
        *,
        probabilities=None,
        dates=None,
        label_time=None,
        sample_names=None,
        classes=None,
        class_names=None,
    ):
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
        relabeler,
        X,
        y=None,
        *,
        label_time=None,
        samples=None,
        dates=None,
        sample_names=None,
        class_names=None,
        ax=None,
    ):
        """Relabel samples and draw the result.

        Parameters
        ----------
        relabeler : StableSampleRelabeler
            A fitted one.
        X : array-like of shape (n_samples, n_bands, n_timesteps) or \
                (n_samples, n_bands * n_timesteps)
            The series.
        y : array-like of shape (n_samples,), default=None
            Label of each sample, to which its timeline is held; None takes the
            samples for unlabelled.
        label_time : int or array-like of int of shape (n_samples,), default=None
            Index of the date at which y holds; None takes that of fit.
        samples : array-like of int, default=None
            Indices of the samples to draw; None draws all.
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
        """
        X = np.asarray(X)
        rows = np.arange(len(X)) if samples is None else np.atleast_1d(samples)
        fitted = _fitted_dates(relabeler)
        known = _known_dates(fitted, dates)
        if y is None:
            times = None
            labels = relabeler.predict_timeline(X[rows], **known)
            posterior = relabeler.predict_proba_timeline(X[rows], **known)
        else:
            if label_time is None:
                label_time = relabeler.label_time_
            times = np.broadcast_to(label_time, len(X))[rows]
            given = X[rows], np.asarray(y)[rows]
            labels = relabeler.relabel(*given, label_time=times, **known)
            posterior = relabeler.predict_proba_timeline(
                *given, label_time=times, **known
            )
        drawn = labels[:, :, np.newaxis] == relabeler.classes_
        if sample_names is not None:
            sample_names = [sample_names[row] for row in rows]
        else:
            sample_names = [str(row) for row in rows]
        return cls(
            labels,
            probabilities=np.where(drawn, posterior, 0).sum(axis=2),
            dates=_axis_dates(fitted, dates, labels.shape[1]),
            label_time=times,
            sample_names=sample_names,
            classes=relabeler.classes_,
            class_names=class_names,
        ).plot(ax=ax)

    def plot(self, ax=None):
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
        labels = np.asarray(self.labels, dtype=object)
        if labels.ndim != 2:
            raise ValueError(
                f"labels has {labels.ndim} dimensions; expected 2 (n_samples, "
                "n_timesteps)."
            )
        n, n_timesteps = labels.shape
        classes = _classes(labels) if self.classes is None else list(self.classes)
        names = self.class_names
        names = [str(label) for label in classes] if names is None else list(names)
        _check_length("class_names", names, len(classes))
        samples = self.sample_names
        samples = [str(i) for i in range(n)] if samples is None else list(samples)
        _check_length("sample_names", samples, n)
        probabilities = self.probabilities
        if probabilities is not None:
            probabilities = np.asarray(probabilities, dtype=float)
            if probabilities.shape != labels.shape:
                raise ValueError(
                    f"probabilities has shape {probabilities.shape}; expected that of "
                    f"labels, {labels.shape}."
                )
        positions, edges = _time_axis(self.dates, n_timesteps)

        self.ax_, self.figure_ = _axes(ax, (8, 1 + 0.3 * n), "TimelineDisplay")
        times = np.broadcast_to(-1 if self.label_time is None else self.label_time, n)
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
        _name_rows(self.ax_, samples)
        self.ax_.set_ylabel("Sample")
        _finish_time_axis(self.ax_, self.dates, edges)
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
        letter = _LETTER_WIDTH * (edges[-1] - edges[0]) / _inches(self.ax_)[0]
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
    label_time : int, default=None
        Index of the date of the given label, which is marked.
    change_time : int or array-like of int, default=None
        Index of the first date of each new label, which is marked.
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
        attribution,
        *,
        series=None,
        counterfactual=None,
        interval=None,
        dates=None,
        band_names=None,
        label_time=None,
        change_time=None,
        change_interval=None,
        r_hat=None,
    ):
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
        explainer,
        X,
        y=None,
        *,
        label_time=None,
        sample=0,
        dates=None,
        changed=None,
        change_time=None,
        band_names=None,
        ax=None,
    ):
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
            :meth:`sktasgen.explainer.GibbsExplainer.explain`.
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
        """
        X, y, label_time = _only(sample, X, y, label_time)
        fitted = _fitted_dates(explainer)
        explanation = explainer.explanation(
            X,
            y,
            label_time=label_time,
            changed=None if changed is None else np.asarray(changed)[[sample]],
            **_known_dates(fitted, dates),
        )
        return cls.from_explanation(
            explanation,
            dates=_axis_dates(fitted, dates, explanation.X.shape[2]),
            band_names=band_names,
            label_time=None if label_time is None else int(label_time[0]),
            change_time=change_time,
            ax=ax,
        )

    @classmethod
    def from_explanation(
        cls,
        explanation,
        *,
        sample=0,
        dates=None,
        band_names=None,
        label_time=None,
        change_time=None,
        ax=None,
    ):
        """Draw one sample of what an explainer has found.

        Parameters
        ----------
        explanation : sktasgen.explanation.Explanation
            What :meth:`sktasgen.explainer.GibbsExplainer.explanation` returned.
        sample : int, default=0
            Index of the sample to draw.
        dates : array-like of shape (n_timesteps,), default=None
            Dates for the axis; None takes those of the explanation.
        band_names : list of str of length n_bands, default=None
            Names of the bands; None numbers them.
        label_time : int, default=None
            Index of the date of the sample's label.
        change_time : int or array-like of int, default=None
            Index of the first date of each of its new labels.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.

        Returns
        -------
        AttributionDisplay
            The display, drawn. Its interval holds nine tenths of the values expected.
        """
        _check_sample(sample, len(explanation.X))
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

    def plot(self, ax=None):
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
        cells = np.ma.masked_invalid(np.asarray(self.attribution, dtype=float))
        if cells.ndim != 2:
            raise ValueError(
                f"attribution has {cells.ndim} dimensions; expected 2 (n_bands, "
                "n_timesteps)."
            )
        n_bands, n_timesteps = cells.shape
        names = self.band_names
        names = [str(b) for b in range(n_bands)] if names is None else list(names)
        _check_length("band_names", names, n_bands)
        positions, edges = _time_axis(self.dates, n_timesteps)
        series = self._like_cells("series", cells.shape)
        expected = self._like_cells("counterfactual", cells.shape)
        interval = self._like_cells("interval", (2, *cells.shape))
        bands = []
        if series is not None or expected is not None:
            bands = _highest(cells.mean(axis=1).filled(0), _N_PANELS)

        self._place_axes(ax, n_bands, len(bands))
        self._draw_cells(cells, names, edges)
        self._draw_means(cells, edges)
        handles = {}
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
        handles |= self._draw_marks(positions, edges)
        if self.r_hat is not None and self.r_hat > MOST_R_HAT:
            (mark,) = self.ax_.plot([], [], "x", color=_ALARM)
            handles[f"chains disagree\n(R-hat {self.r_hat:.2f})"] = mark
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
        _finish_time_axis(self.ax_, self.dates, edges)
        return self

    def _like_cells(self, name, shape):
        """An optional array as float, of the shape that it must have."""
        values = getattr(self, name)
        if values is None:
            return None
        values = np.asarray(values, dtype=float)
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
        self.ax_, self.figure_ = _axes(ax, size, type(self).__name__)
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
        _name_rows(self.ax_, names)
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

    def _draw_marks(self, positions, edges):
        """When it happened, on every axes that has dates: handles for the legend."""
        above = [*self.series_axes_, self.date_ax_]
        handles = {}

        def mark(name, position, style):
            for ax in (*above, self.ax_):
                handles[name] = ax.axvline(position, label=name, **style)

        if self.change_interval is not None and min(self.change_interval) >= 0:
            first, last = self.change_interval
            span = edges[first], edges[last + 1]
            for ax in above:
                handles["change interval"] = ax.axvspan(*span, color="0.9", zorder=0)
            self.ax_.axvspan(*span, fill=False, edgecolor="black", zorder=3)
        if self.change_time is not None:
            for time in np.atleast_1d(self.change_time):
                mark("change", edges[time], _CHANGE)
        if self.label_time is not None:
            mark("given label", positions[self.label_time], _GIVEN)
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
            positions, expected, color=_EXPECTED, linewidth=1.5
        )
    if interval is not None:
        handles["interval"] = ax.fill_between(
            positions, *interval, color=_EXPECTED, alpha=0.25, linewidth=0
        )
    ax.locator_params(axis="y", nbins=3)
    ax.tick_params(axis="y", labelsize="small")
    return handles


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
        Index of the date of the given label, which is marked. A score far below all
        others there, where the class is certain, is left out of the picture.

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
        self, scores, *, flags=None, threshold=None, dates=None, label_time=None
    ):
        self.scores = scores
        self.flags = flags
        self.threshold = threshold
        self.dates = dates
        self.label_time = label_time

    @classmethod
    def from_estimator(
        cls, detector, X, y=None, *, label_time=None, sample=0, dates=None, ax=None
    ):
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
        """
        X, y, label_time = _only(sample, X, y, label_time)
        fitted = _fitted_dates(detector)
        known = {"label_time": label_time, **_known_dates(fitted, dates)}
        scores = detector.score_timesteps(X, y, **known)[0]
        with_mixture = y is None and detector.reference_ == "class"
        return cls(
            scores,
            flags=detector.predict_timesteps(X, y, **known)[0],
            threshold=(
                detector.mixture_threshold_ if with_mixture else detector.threshold_
            ),
            dates=_axis_dates(fitted, dates, len(scores)),
            label_time=None if label_time is None else int(label_time[0]),
        ).plot(ax=ax)

    def plot(self, ax=None):
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
        scores = np.asarray(self.scores, dtype=float)
        if scores.ndim != 1:
            raise ValueError(
                f"scores has {scores.ndim} dimensions; expected 1 (n_timesteps,)."
            )
        positions, edges = _time_axis(self.dates, len(scores))
        seen = ~np.isnan(scores)

        self.ax_, self.figure_ = _axes(ax, (8, 3), "ScoreDisplay")
        self.ax_.plot(
            positions[seen],
            scores[seen],
            color=_EXPECTED,
            marker="o",
            markersize=3,
            linewidth=1,
            label="score",
        )
        if self.threshold is not None:
            self.ax_.axhline(
                self.threshold, color="black", linestyle="--", label="threshold"
            )
        if self.flags is not None:
            flags = np.asarray(self.flags, dtype=bool)
            _check_length("flags", flags, len(scores))
            self.ax_.plot(
                positions[flags],
                scores[flags],
                linestyle="none",
                marker="s",
                markersize=6,
                markerfacecolor="none",
                markeredgecolor=_ALARM,
                markeredgewidth=1.5,
                label="flagged",
            )
        if self.label_time is not None:
            self.ax_.axvline(positions[self.label_time], label="given label", **_GIVEN)
            self._leave_out_label(scores)
        self.ax_.set_ylabel("Score")
        _finish_time_axis(self.ax_, self.dates, edges)
        self.ax_.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small"
        )
        return self

    def _leave_out_label(self, scores):
        """Let the line leave the picture at the given label, if it goes far down.

        The class is certain there, and a score of its odds as low as scores can be:
        in full it would press all others into a line.
        """
        levels = np.delete(scores, self.label_time)
        if self.threshold is not None:
            levels = np.append(levels, self.threshold)
        levels = levels[np.isfinite(levels)]
        if len(levels) == 0:
            return
        low, high = levels.min(), levels.max()
        if high > low > scores[self.label_time] + (high - low):
            pad = 0.05 * (high - low)
            self.ax_.set_ylim(low - pad, high + pad)


def _axes(ax, size, purpose):
    if ax is None:
        pyplot = import_optional("matplotlib.pyplot", extra="plot", purpose=purpose)
        _, ax = pyplot.subplots(figsize=size, layout="constrained")
    return ax, ax.figure


def _inches(ax):
    """Width and height of an axes, before a layout has made room for labels."""
    return np.array(ax.get_window_extent().size) / ax.figure.dpi


def _name_rows(ax, names):
    """Write names at rows, from the top, no larger than the rows are high."""
    n = len(names)
    ax.set_yticks(np.arange(n), names, parse_math=False)
    ax.set_ylim(n - 0.5, -0.5)
    for text in ax.get_yticklabels():
        text.set_fontsize(min(text.get_fontsize(), 60 * _inches(ax)[1] / n))


def _only(sample, X, y, label_time):
    """The arguments of one sample, which keep their first axis."""
    X = np.asarray(X)
    _check_sample(sample, len(X))
    rows = [sample]
    return (
        X[rows],
        None if y is None else np.asarray(y)[rows],
        None if label_time is None else np.broadcast_to(label_time, len(X))[rows],
    )


def _check_sample(sample, n):
    if not 0 <= sample < n:
        raise ValueError(f"sample={sample} is not among the {n} samples.")


def _fitted_dates(estimator):
    """Dates that an estimator was fitted with: its detector's, or its own."""
    detector = getattr(estimator, "detector_", None)
    if detector is None:
        return getattr(estimator, "dates_", getattr(estimator, "dates", None))
    return getattr(detector, "dates_", None)


def _known_dates(fitted, dates):
    """The dates given, for an estimator that was fitted with dates."""
    return {} if dates is None or fitted is None else {"dates": dates}


def _axis_dates(fitted, dates, n_timesteps):
    """The dates given, or those of fit where they fit the series."""
    if dates is not None:
        return dates
    return fitted if fitted is not None and len(fitted) == n_timesteps else None


def _time_axis(dates, n_timesteps):
    """Position of each timestep, and the edges between them.

    In days since 1970 for dates, as matplotlib counts them.
    """
    days = check_dates(dates, n_timesteps)
    if days is None:
        positions = np.arange(n_timesteps, dtype=float)
    else:
        positions = days.astype(np.int64).astype(float)
    if n_timesteps == 1:
        return positions, positions[0] + np.array([-0.5, 0.5])
    middles = (positions[:-1] + positions[1:]) / 2
    first, last = 2 * positions[0] - middles[0], 2 * positions[-1] - middles[-1]
    return positions, np.concatenate([[first], middles, [last]])


def _finish_time_axis(ax, dates, edges):
    ax.set_xlim(edges[0], edges[-1])
    if dates is None:
        ax.set_xlabel("Timestep")
        ax.xaxis.get_major_locator().set_params(integer=True)
        return
    matplotlib_dates = import_optional(
        "matplotlib.dates", extra="plot", purpose="A date axis"
    )
    most = max(3, int(_inches(ax)[0] / _DATE_WIDTH))
    # The locator finds steps for twice as many ticks as the least, and one more.
    least = min(5, (most - 1) // 2)
    locator = matplotlib_dates.AutoDateLocator(minticks=least, maxticks=most)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(matplotlib_dates.ConciseDateFormatter(locator))
    ax.set_xlabel("Date")


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


def _check_length(name, values, wanted):
    if len(values) != wanted:
        raise ValueError(f"{name} has length {len(values)}; expected {wanted}.")
