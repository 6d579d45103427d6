"""Pictures of labels, explanations and scores, drawn with matplotlib.

Each class holds the arrays of one picture: ``from_estimator`` computes them,
``plot`` draws them, on axes that are given or on new ones.
"""

import numpy as np

from ._optional import import_optional
from ._validation import check_dates

# Okabe and Ito's palette, which the colour-blind tell apart; black is for marks.
_PALETTE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#999999",
)
_HATCHES = ("", "///", "...", "xxx")
_LETTER_WIDTH = 0.01  # of a small letter, as a share of the axis


class TimelineDisplay:
    """Labels of samples over time, a strip for each.

    Build it with :meth:`from_estimator`, or from arrays as below.

    Parameters
    ----------
    labels : array-like of shape (n_samples, n_timesteps)
        Label of each date; None or NaN leaves a gap.
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
        dates=None,
        label_time=None,
        sample_names=None,
        classes=None,
        class_names=None,
    ):
        self.labels = labels
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
        known = _known_dates(relabeler.detector_, dates)
        if y is None:
            labels, times = relabeler.predict_timeline(X[rows], **known), None
        else:
            if label_time is None:
                label_time = relabeler.label_time_
            times = np.broadcast_to(label_time, len(X))[rows]
            labels = relabeler.relabel(
                X[rows], np.asarray(y)[rows], label_time=times, **known
            )
        if sample_names is not None:
            sample_names = [sample_names[row] for row in rows]
        else:
            sample_names = [str(row) for row in rows]
        return cls(
            labels,
            dates=_estimator_dates(relabeler.detector_, dates, labels.shape[1]),
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
            If the labels are not 2-D, or there are more or fewer dates, times
            or names than they need.
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
        positions, edges = _time_axis(self.dates, n_timesteps)

        self.ax_, self.figure_ = _axes(ax, (8, 1 + 0.3 * n), "TimelineDisplay")
        for k, label in enumerate(classes):
            spans, rows = _runs(labels == label, edges)
            if len(rows) == 0:
                continue
            self.ax_.barh(
                rows,
                [right - left for left, right in spans],
                left=[left for left, _ in spans],
                height=0.8,
                color=_PALETTE[k % len(_PALETTE)],
                hatch=_HATCHES[k // len(_PALETTE) % len(_HATCHES)],
                edgecolor="black",
                linewidth=0.4,
                label=names[k],
            )
            self._write_names(names[k], spans, rows, edges)
        if self.label_time is not None:
            times = np.broadcast_to(self.label_time, n)
            rows = np.flatnonzero(times >= 0)
            self.ax_.plot(
                positions[times[rows]],
                rows,
                linestyle="none",
                marker="D",
                markersize=6,
                markerfacecolor="white",
                markeredgecolor="black",
                label="given label",
                zorder=4,  # above the names
            )
        self.ax_.set_yticks(np.arange(n), samples, parse_math=False)
        self.ax_.set_ylim(n - 0.5, -0.5)
        self.ax_.set_ylabel("Sample")
        _finish_time_axis(self.ax_, self.dates, edges)
        legend = self.ax_.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small"
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may have a dollar sign
        return self

    def _write_names(self, name, spans, rows, edges):
        """Write a class into the runs long enough, for prints without colour."""
        width = _LETTER_WIDTH * (len(name) + 2) * (edges[-1] - edges[0])
        for (left, right), row in zip(spans, rows, strict=True):
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

    Build it with :meth:`from_estimator`, or from arrays as below.

    Parameters
    ----------
    attribution : array-like of shape (n_bands, n_timesteps)
        Probabilities, NaN where not observed.
    series : array-like of shape (n_bands, n_timesteps), default=None
        The series, drawn as a line in the row of each band, from the band's
        lowest value to its highest; None draws none.
    dates : array-like of shape (n_timesteps,), default=None
        Dates as datetime64 or integer ordinal days; None numbers the timesteps.
    band_names : list of str of length n_bands, default=None
        Names at the rows; None numbers them.
    label_time : int, default=None
        Index of the date of the given label, which is marked.
    change_time : int or array-like of int, default=None
        Index of the first date of each new label, which is marked.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the heat map.
    figure_ : matplotlib Figure
        Figure of the axes.
    colorbar_ : matplotlib Colorbar
        Scale of the probabilities.

    See Also
    --------
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
        dates=None,
        band_names=None,
        label_time=None,
        change_time=None,
    ):
        self.attribution = attribution
        self.series = series
        self.dates = dates
        self.band_names = band_names
        self.label_time = label_time
        self.change_time = change_time

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
        band_names : list of str of length n_bands, default=None
            Names of the bands; None numbers them.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.

        Returns
        -------
        AttributionDisplay
            The display, drawn.
        """
        X, y, label_time = _only(sample, X, y, label_time)
        attribution = explainer.explain(
            X,
            y,
            label_time=label_time,
            changed=None if changed is None else np.asarray(changed)[[sample]],
            **_known_dates(explainer.detector_, dates),
        )[0]
        return cls(
            attribution,
            series=X.reshape(attribution.shape),
            dates=_estimator_dates(explainer.detector_, dates, attribution.shape[1]),
            band_names=band_names,
            label_time=None if label_time is None else int(label_time[0]),
        ).plot(ax=ax)

    def plot(self, ax=None):
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.

        Returns
        -------
        AttributionDisplay
            The display itself, with `ax_`, `figure_` and `colorbar_`.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If the attribution is not 2-D, the series is of another shape, or
            there are more or fewer dates or names than they need.
        """
        attribution = np.asarray(self.attribution, dtype=float)
        if attribution.ndim != 2:
            raise ValueError(
                f"attribution has {attribution.ndim} dimensions; expected 2 (n_bands, "
                "n_timesteps)."
            )
        n_bands, n_timesteps = attribution.shape
        bands = self.band_names
        bands = [str(b) for b in range(n_bands)] if bands is None else list(bands)
        _check_length("band_names", bands, n_bands)
        positions, edges = _time_axis(self.dates, n_timesteps)

        self.ax_, self.figure_ = _axes(
            ax, (8, 1.2 + 0.4 * n_bands), type(self).__name__
        )
        # Grey where nothing was observed: white would read as "not anomalous".
        self.ax_.set_facecolor("0.85")
        heat = self.ax_.pcolormesh(
            edges,
            np.arange(n_bands + 1) - 0.5,
            np.ma.masked_invalid(attribution),
            cmap="Oranges",
            vmin=0,
            vmax=1,
        )
        self.colorbar_ = self.figure_.colorbar(
            heat, ax=self.ax_, label="P(anomalous)", pad=0.02
        )
        if self.series is not None:
            self._draw_series(np.asarray(self.series, dtype=float), positions)
        for edge in np.arange(1, n_bands) - 0.5:
            self.ax_.axhline(edge, color="white", linewidth=1)
        handles = []
        if self.change_time is not None:
            for time in np.atleast_1d(self.change_time):
                line = self.ax_.axvline(
                    edges[time], color="black", linestyle="--", label="change"
                )
            handles.append(line)
        if self.label_time is not None:
            handles.append(
                self.ax_.axvline(
                    positions[self.label_time],
                    color="#0072B2",
                    linestyle=":",
                    linewidth=2,
                    label="given label",
                )
            )
        if handles:
            self.ax_.legend(
                handles=handles,
                loc="lower left",
                bbox_to_anchor=(0, 1),
                ncols=2,
                frameon=False,
                fontsize="small",
            )
        self.ax_.set_yticks(np.arange(n_bands), bands, parse_math=False)
        self.ax_.set_ylim(n_bands - 0.5, -0.5)
        self.ax_.set_ylabel("Band")
        _finish_time_axis(self.ax_, self.dates, edges)
        return self

    def _draw_series(self, series, positions):
        """Each band's course in its row, its lowest value at the bottom."""
        if series.shape != np.shape(self.attribution):
            raise ValueError(
                f"series has shape {series.shape}; expected that of attribution, "
                f"{np.shape(self.attribution)}."
            )
        for band, values in enumerate(series):
            seen = ~np.isnan(values)
            if not seen.any():
                continue
            low, high = values[seen].min(), values[seen].max()
            share = (values[seen] - low) / (high - low) if high > low else 0.5
            self.ax_.plot(
                positions[seen],
                band + 0.4 - 0.8 * (share + np.zeros(seen.sum())),
                color="black",
                linewidth=0.8,
                marker=".",
                markersize=2.5,
            )


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
        Index of the date of the given label, which is marked.

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
        known = {"label_time": label_time, **_known_dates(detector, dates)}
        scores = detector.score_timesteps(X, y, **known)[0]
        with_mixture = y is None and detector.reference_ == "class"
        return cls(
            scores,
            flags=detector.predict_timesteps(X, y, **known)[0],
            threshold=(
                detector.mixture_threshold_ if with_mixture else detector.threshold_
            ),
            dates=_estimator_dates(detector, dates, len(scores)),
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
            color="#0072B2",
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
                markeredgecolor="#D55E00",
                markeredgewidth=1.5,
                label="flagged",
            )
        if self.label_time is not None:
            self.ax_.axvline(
                positions[self.label_time],
                color="0.5",
                linestyle=":",
                linewidth=2,
                label="given label",
            )
        self.ax_.set_ylabel("Score")
        _finish_time_axis(self.ax_, self.dates, edges)
        self.ax_.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small"
        )
        return self


def _axes(ax, size, purpose):
    if ax is None:
        pyplot = import_optional("matplotlib.pyplot", extra="plot", purpose=purpose)
        _, ax = pyplot.subplots(figsize=size, layout="constrained")
    return ax, ax.figure


def _only(sample, X, y, label_time):
    """The arguments of one sample, which keep their first axis."""
    X = np.asarray(X)
    if not 0 <= sample < len(X):
        raise ValueError(f"sample={sample} is not among the {len(X)} samples of X.")
    rows = [sample]
    return (
        X[rows],
        None if y is None else np.asarray(y)[rows],
        None if label_time is None else np.broadcast_to(label_time, len(X))[rows],
    )


def _known_dates(detector, dates):
    """The dates given, for a detector that was fitted with dates."""
    if dates is None or getattr(detector, "dates_", None) is None:
        return {}
    return {"dates": dates}


def _estimator_dates(detector, dates, n_timesteps):
    """The dates given, or those of fit where they fit the series."""
    if dates is not None:
        return dates
    fitted = getattr(detector, "dates_", None)
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
    locator = matplotlib_dates.AutoDateLocator()
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
    """The labels that occur, without None and NaN."""
    found = {label for label in labels.ravel() if label is not None and label == label}
    return sorted(found, key=lambda label: (isinstance(label, str), label))


def _check_length(name, values, wanted):
    if len(values) != wanted:
        raise ValueError(f"{name} has length {len(values)}; expected {wanted}.")
