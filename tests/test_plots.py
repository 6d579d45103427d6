"""Pictures: what is drawn must be what the arrays say.

Whole pictures are compared with those in `tests/pictures`, small and without text,
which is drawn otherwise by every version of matplotlib and is tested by itself. With
the environment variable SKTASGEN_NEW_PICTURES set, they are drawn anew instead.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sktasgen.explanation import Explanation
from sktasgen.plots import AttributionDisplay, ScoreDisplay, TimelineDisplay

matplotlib = pytest.importorskip("matplotlib")
dates = pytest.importorskip("matplotlib.dates")
figure = pytest.importorskip("matplotlib.figure")
pytest.importorskip("matplotlib.axes")

DATES = np.datetime64("2020-01-01") + 10 * np.arange(4)


@pytest.fixture
def ax():
    """Axes of a figure that pyplot does not know."""
    return figure.Figure().add_subplot()


@pytest.fixture
def pyplot():
    with matplotlib.rc_context({"backend": "agg"}):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        yield pyplot
        pyplot.close("all")


class FakeRelabeler:
    """Labels a date by its first band, and a labelled date by its label."""

    classes_ = np.array(["crop", "water"])
    label_time_ = 1
    detector_ = SimpleNamespace(dates_=DATES)

    def predict_timeline(self, X):
        return self.classes_[(X[:, 0] > 0).astype(int)]

    def relabel(self, X, y, *, label_time=None):
        labels = self.predict_timeline(X)
        labels[np.arange(len(X)), label_time] = y
        return labels

    def predict_proba_timeline(self, X, y=None, *, label_time=None):
        """Of "water" 0.9 where it is the label, and as often as it is not 0.3."""
        water = np.where(X[:, 0] > 0, 0.9, 0.3)
        if y is not None:
            water[np.arange(len(X)), label_time] = np.equal(y, "water")
        return np.stack([1 - water, water], axis=2)


class FakeExplainer:
    detector_ = SimpleNamespace(dates_=DATES)

    def explanation(self, X, y=None, *, label_time=None, changed=None):
        self.called_with = X, y, label_time
        self.changed = changed
        return explanation(X.reshape(len(X), 2, -1))


def explanation(X, r_hat=1.0, dates=None):
    """Positive cells are anomalous; 0.5 was expected, give or take 1."""
    X = np.asarray(X, dtype=float)
    return Explanation(
        X=X,
        probability=np.where(np.isnan(X), np.nan, X > 0),
        counterfactual=np.full(X.shape, 0.5),
        counterfactual_std=np.ones(X.shape),
        r_hat=np.full(len(X), r_hat),
        ess=np.ones(len(X)),
        acceptance=np.ones(len(X)),
        dates=dates,
    )


class FakeDetector:
    dates_ = DATES
    reference_ = "class"
    threshold_ = 1.0
    mixture_threshold_ = 2.0

    def score_timesteps(self, X, y=None, *, label_time=None):
        return X[:, 0]

    def predict_timesteps(self, X, y=None, *, label_time=None):
        threshold = self.mixture_threshold_ if y is None else self.threshold_
        return X[:, 0] > threshold


def bars(ax):
    """Left end, width and row of each bar, by the class it stands for."""
    return {
        container.get_label(): [
            (bar.get_x(), bar.get_width(), round(bar.get_y() + bar.get_height() / 2))
            for bar in container
        ]
        for container in ax.containers
    }


def texts(handles):
    return [handle.get_text() for handle in handles]


def marks(ax, label):
    (line,) = (line for line in ax.lines if line.get_label() == label)
    return line.get_xydata()


def test_each_run_of_a_label_is_one_bar(ax):
    labels = [["b", "b", "a", "b"], ["a", np.nan, np.nan, "a"]]
    display = TimelineDisplay(labels, label_time=[3, -1]).plot(ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert bars(ax) == {
        "a": [(1.5, 1, 0), (-0.5, 1, 1), (2.5, 1, 1)],
        "b": [(-0.5, 2, 0), (2.5, 1, 0)],
    }
    assert marks(ax, "given label").tolist() == [[3, 0]]
    assert texts(ax.get_legend().get_texts()) == ["given label", "a", "b"]
    assert ax.get_xlabel() == "Timestep"


def test_a_class_keeps_its_colour_and_the_legend_its_name(ax):
    labels = [[7, 7, 9, 9]]
    TimelineDisplay(
        labels, classes=[5, 7, 9], class_names=["crop", "water", "built"], dates=DATES
    ).plot(ax=ax)
    other = figure.Figure().add_subplot()
    TimelineDisplay([[9, 9]], classes=[5, 7, 9]).plot(ax=other)
    assert texts(ax.get_legend().get_texts()) == ["water", "built"]
    assert ax.containers[1][0].get_facecolor() == other.containers[0][0].get_facecolor()
    assert ax.get_xlabel() == "Date"
    left, width, _ = bars(ax)["built"][0]
    assert str(dates.num2date(left).date()) == "2020-01-16"  # half a step before
    assert width == 20


def test_many_classes_stay_apart(ax):
    TimelineDisplay([list(range(20))]).plot(ax=ax)
    looks = {
        (container[0].get_facecolor(), container[0].get_hatch())
        for container in ax.containers
    }
    assert len(looks) == 20


def test_timelines_of_a_relabeler(ax):
    X = np.array([[[-1, -1, 1, 1]], [[1, 1, 1, 1]], [[-1, 1, -1, -1]]])
    names = ["north", "mid", "south"]
    display = TimelineDisplay.from_estimator(
        FakeRelabeler(),
        X,
        ["water", "water", "crop"],
        label_time=[0, 1, 2],
        samples=[2, 0],
        sample_names=names,
        ax=ax,
    )
    assert display.labels.tolist() == [
        ["crop", "water", "crop", "crop"],
        ["water", "crop", "water", "water"],
    ]
    np.testing.assert_allclose(
        display.probabilities, [[0.7, 0.9, 1, 0.7], [1, 0.7, 0.9, 0.9]]
    )
    assert texts(ax.get_yticklabels()) == ["south", "north"]
    assert ax.get_xlabel() == "Date"  # known to the detector
    days = dates.date2num(DATES)
    assert marks(ax, "given label").tolist() == [[days[2], 0], [days[0], 1]]

    display = TimelineDisplay.from_estimator(
        FakeRelabeler(), X, ["crop"] * 3, ax=figure.Figure().add_subplot()
    )
    assert display.label_time.tolist() == [1, 1, 1]  # that of fit
    display = TimelineDisplay.from_estimator(
        FakeRelabeler(), X, ax=figure.Figure().add_subplot()
    )
    assert display.label_time is None
    assert len(display.labels) == 3


@pytest.mark.parametrize("no_label", ["", -1])
def test_labels_withheld_are_gaps(ax, no_label):
    """A relabeller that abstains must not seem to have found another class."""
    classes = np.array([0, 1]) if no_label == -1 else np.array(["a", "b"])
    drawn = classes[[[0, 0, 1, 1]]].astype(object)
    drawn[0, 1] = no_label

    class Abstaining(FakeRelabeler):
        classes_ = classes

        def predict_timeline(self, X):
            return drawn

    display = TimelineDisplay.from_estimator(Abstaining(), np.ones((1, 1, 4)), ax=ax)
    edges = dates.date2num(DATES) - 5
    names = [str(label) for label in classes]
    assert bars(ax) == {
        names[0]: [(edges[0], 10, 0)],
        names[1]: [(edges[2], 20, 0)],
    }
    np.testing.assert_allclose(display.probabilities, [[0.1, 0, 0.9, 0.9]])
    (veil,) = ax.collections
    assert len(veil.get_paths()) == 3  # nothing is made pale in the gap


def test_an_empty_label_is_no_class(ax):
    TimelineDisplay([["a", "", "b"]]).plot(ax=ax)
    assert texts(ax.get_legend().get_texts()) == ["a", "b"]


def test_strips_are_filled_to_the_probability(ax):
    labels = [["a", "b", None], ["a", "a", "a"]]
    probabilities = [[1, 0.75, 0.5], [0.5, np.nan, 1]]
    TimelineDisplay(labels, probabilities=probabilities).plot(ax=ax)
    (veil,) = ax.collections
    pale = [path.get_extents().extents.tolist() for path in veil.get_paths()]
    np.testing.assert_allclose(
        pale, [[0.5, -0.4, 1.5, -0.2], [-0.5, 0.6, 0.5, 1.0], [0.5, 0.6, 1.5, 1.4]]
    )
    assert ax.get_legend().get_title().get_text() == "Filled to probability"


def test_names_in_strips_stay_inside_and_off_the_mark():
    labels = [["meadow"] * 30 + ["forest"] * 10]
    for width, written in ((8, ["forest", "meadow"]), (2, ["meadow"])):
        wide = figure.Figure(figsize=(width, 1)).add_subplot()
        TimelineDisplay(labels, label_time=[0]).plot(ax=wide)
        wide.figure.draw_without_rendering()
        assert texts(wide.texts) == written
        mark = wide.transData.transform((0, 0))[0]
        ends = {"meadow": 29.5, "forest": 39.5}
        for text in wide.texts:
            extent = text.get_window_extent()
            assert mark + 4 < extent.x0
            assert extent.x1 < wide.transData.transform((ends[text.get_text()], 0))[0]


def test_attribution_puts_each_cell_where_it_belongs(ax):
    cells = np.array([[0.0, 0.5, np.nan, 1.0], [0.25, 0.0, 0.0, 0.75]])
    display = AttributionDisplay(
        cells,
        dates=DATES,
        band_names=["B4", "B8"],
        label_time=0,
        change_time=[1, 3],
        change_interval=[1, 2],
    ).plot(ax=ax)
    assert display.ax_ is ax
    (mesh,) = ax.collections
    np.testing.assert_array_equal(mesh.get_array().filled(np.nan), cells)
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0, 1)
    assert texts(ax.get_yticklabels()) == ["B4", "B8"]
    assert ax.get_ylim() == (1.5, -0.5)  # the first band on top
    assert display.colorbar_.ax.get_ylabel() == "P(anomalous)"
    days = dates.date2num(DATES)
    for drawn in (ax, display.date_ax_):
        assert [x for x, _ in marks(drawn, "given label")] == [days[0]] * 2
        changes = [
            line.get_xdata()[0] for line in drawn.lines if line.get_label() == "change"
        ]
        assert changes == [days[0] + 5, days[2] + 5]  # between the two labels
        assert [
            extents(patch)[::2]
            for patch in drawn.patches
            if not isinstance(patch, matplotlib.patches.StepPatch)
        ] == [[days[0] + 5, days[2] + 5]]
    assert texts(ax.get_legend().get_texts()) == [
        "change interval",
        "change",
        "given label",
    ]


def extents(patch):
    """Least x and y, greatest x and y, in the axes' units."""
    path = patch.get_path().transformed(patch.get_patch_transform())
    return path.get_extents().extents.tolist()


def test_attribution_margins_are_means_of_what_was_observed(ax):
    cells = [[0.0, 0.5, np.nan, 1.0], [0.25, 0.0, np.nan, 0.75], [np.nan] * 4]
    display = AttributionDisplay(cells).plot(ax=ax)
    (steps,) = display.date_ax_.patches
    np.testing.assert_allclose(steps.get_data().values, [0.125, 0.25, np.nan, 0.875])
    np.testing.assert_allclose(
        [bar.get_width() for bar in display.band_ax_.patches], [0.5, 1 / 3, np.nan]
    )
    assert display.band_ax_.get_xlim() == (0, 0.5)
    assert display.band_ax_.get_ylim() == ax.get_ylim()
    assert display.date_ax_.get_xlim() == ax.get_xlim()


def test_attribution_draws_the_bands_that_count(ax):
    """The three of the highest means, in order, in their units."""
    series = np.array([[4, 3, np.nan, 0], [1, 1, 1, 1], [5, 6, 7, 8], [9, 9, 9, 0]])
    expected = series + 10.0
    expected[:, 2] = 11
    display = AttributionDisplay(
        np.array([[0.2], [0.1], [0.4], [0.3]]) * np.ones(4),
        series=series,
        counterfactual=expected,
        interval=[expected - 1, expected + 2],
        band_names=["B2", "B3", "B4", "B8"],
    ).plot(ax=ax)
    names = [panel.get_ylabel() for panel in display.series_axes_]
    assert names == ["B2", "B4", "B8"]
    for panel, band in zip(display.series_axes_, (0, 2, 3), strict=True):
        observed, counterfactual = panel.lines
        seen = ~np.isnan(series[band])
        np.testing.assert_array_equal(observed.get_xdata(), np.flatnonzero(seen))
        np.testing.assert_array_equal(observed.get_ydata(), series[band][seen])
        np.testing.assert_array_equal(counterfactual.get_ydata(), expected[band])
        (shade,) = panel.collections
        low, high = shade.get_datalim(panel.transData).intervaly
        assert (low, high) == (expected[band].min() - 1, expected[band].max() + 2)
    assert texts(ax.get_legend().get_texts()) == ["observed", "expected", "interval"]
    # From the top of the picture in order.
    ax.figure.draw_without_rendering()
    heights = [a.bbox.y0 for a in (*display.series_axes_, display.date_ax_, ax)]
    assert heights == sorted(heights, reverse=True)


def test_attribution_keeps_to_the_place_of_its_axes():
    """Beside other pictures: nothing lies on a neighbour, whatever the layout."""
    for layout in ("constrained", "tight", None):
        drawn = figure.Figure(figsize=(12, 8), layout=layout)
        axes = drawn.subplots(2, 2)
        display = AttributionDisplay.from_explanation(
            explanation(np.eye(6)[np.newaxis]), change_time=2, ax=axes[1, 0]
        )
        display.ax_.set_title("title")
        drawn.draw_without_rendering()
        inner = [*display.series_axes_, display.date_ax_, display.ax_]
        place = axes[1, 0].get_position(original=True)
        for other in (*inner, display.band_ax_, display.colorbar_.ax):
            box = other.get_window_extent()
            box = box.transformed(drawn.transFigure.inverted())
            assert place.x0 - 1e-6 <= box.x0 < box.x1 <= place.x1 + 1e-6
            assert place.y0 - 1e-6 <= box.y0 < box.y1 <= place.y1 + 1e-6
        for lower, upper in zip(inner[::-1], inner[-2::-1], strict=False):
            assert lower.get_window_extent().y1 < upper.get_window_extent().y0
        if layout is not None:
            whole = display.ax_.get_tightbbox()
            for other in axes.flat:
                if other is not axes[1, 0]:
                    assert not whole.overlaps(other.get_tightbbox())


def test_attribution_explains_one_sample_only(ax):
    X = np.array([[[0, 0, 1, 0], [1, 0, 0, 0]], [[0, 1, 0, 0], [np.nan, 0, 0, 1]]])
    explainer = FakeExplainer()
    display = AttributionDisplay.from_estimator(
        explainer, X, ["a", "b"], label_time=2, sample=1, change_time=3, ax=ax
    )
    X_one, y, label_time = explainer.called_with
    assert X_one.shape == (1, 2, 4)
    assert (y.tolist(), label_time.tolist()) == (["b"], [2])
    np.testing.assert_array_equal(display.attribution, X[1])
    assert (display.label_time, display.change_time) == (2, 3)
    assert ax.get_xlabel() == "Date"
    # Flat series, as scikit-learn has them, are drawn alike.
    flat = AttributionDisplay.from_estimator(
        explainer, X.reshape(2, -1), sample=1, ax=figure.Figure().add_subplot()
    )
    np.testing.assert_array_equal(flat.series, X[1])


def test_attribution_of_an_explanation(ax):
    X = [[[0, 0, 0, 0], [0, 0, 0, 0]], [[0, 1, 1, 0], [0, 0, 0, 0]]]
    found = explanation(X, r_hat=np.array([1.0, 1.9]), dates=DATES)
    display = AttributionDisplay.from_explanation(found, sample=1, ax=ax)
    np.testing.assert_array_equal(display.attribution, found.probability[1])
    np.testing.assert_array_equal(display.counterfactual, found.counterfactual[1])
    # Nine tenths of a normal distribution lie within 1.645 standard deviations.
    np.testing.assert_allclose(display.interval[0], 0.5 - 1.645, atol=1e-3)
    np.testing.assert_allclose(display.interval[1], 0.5 + 1.645, atol=1e-3)
    assert display.change_interval.tolist() == [1, 2]
    assert ax.get_xlabel() == "Date"
    assert "chains disagree\n(R-hat 1.90)" in texts(ax.get_legend().get_texts())

    calm = figure.Figure().add_subplot()
    AttributionDisplay.from_explanation(found, ax=calm)
    legend = ["observed", "expected", "interval"]  # of no change, no disagreement
    assert texts(calm.get_legend().get_texts()) == legend
    with pytest.raises(ValueError, match="sample=2 is not among the 2 samples"):
        AttributionDisplay.from_explanation(found, sample=2)


def test_attribution_passes_the_mask_of_its_sample(ax):
    changed = np.array([[True, False], [False, True]])
    explainer = FakeExplainer()
    AttributionDisplay.from_estimator(
        explainer, np.zeros((2, 2, 2)), changed=changed, sample=1, ax=ax
    )
    assert explainer.changed.tolist() == [[False, True]]


@pytest.mark.parametrize("fitted_with_dates", [True, False])
def test_dates_reach_a_detector_that_was_fitted_with_dates(fitted_with_dates):
    seen = []
    fitted = DATES if fitted_with_dates else None

    def answer(value):
        def method(*args, dates=None, **options):
            seen.append(dates)
            return value

        return method

    detector = SimpleNamespace(
        dates_=fitted,
        reference_="pooled",
        threshold_=1.0,
        score_timesteps=answer(np.zeros((1, 3))),
        predict_timesteps=answer(np.zeros((1, 3), dtype=bool)),
    )
    user = SimpleNamespace(
        detector_=detector,
        classes_=np.array(["a"]),
        label_time_=0,
        relabel=answer(np.array([["a"] * 3])),
        predict_timeline=answer(np.array([["a"] * 3])),
        predict_proba_timeline=answer(np.ones((1, 3, 1))),
        explanation=answer(explanation(np.zeros((1, 2, 3)))),
    )
    X, later = np.zeros((1, 2, 3)), DATES[:3] + 365
    for display, estimator, y in (
        (TimelineDisplay, user, ["a"]),
        (TimelineDisplay, user, None),
        (AttributionDisplay, user, None),
        (ScoreDisplay, detector, None),
    ):
        ax = figure.Figure().add_subplot()
        drawn = display.from_estimator(estimator, X, y, dates=later, ax=ax)
        assert drawn.dates is later
    assert len(seen) == 7
    assert all(dates is (later if fitted_with_dates else None) for dates in seen)


def test_dates_of_a_relabeller_without_a_detector(ax):
    class Bare(FakeRelabeler):
        detector_ = None
        dates = DATES

    display = TimelineDisplay.from_estimator(Bare(), np.ones((1, 1, 4)), ax=ax)
    assert display.dates is DATES


def test_dollar_signs_are_no_mathematics(ax):
    odd = r"$\frac{$"
    TimelineDisplay([[odd, "b"]], sample_names=[odd]).plot(ax=ax)
    ax.figure.draw_without_rendering()
    other = figure.Figure().add_subplot()
    AttributionDisplay([[0.1, 0.2]], band_names=[odd]).plot(ax=other)
    other.figure.draw_without_rendering()
    assert texts(other.get_yticklabels()) == [odd]


def test_scores_flags_and_threshold(ax):
    X = np.array([[[0, 0, 0, 0]], [[0.5, 1.5, np.nan, 2.5]]])
    display = ScoreDisplay.from_estimator(
        FakeDetector(), X, ["a", "b"], label_time=[0, 3], sample=1, ax=ax
    )
    days = dates.date2num(DATES)
    assert marks(ax, "score").tolist() == [
        [days[0], 0.5],
        [days[1], 1.5],
        [days[3], 2.5],
    ]
    assert marks(ax, "flagged").tolist() == [[days[1], 1.5], [days[3], 2.5]]
    assert marks(ax, "threshold")[0, 1] == 1
    assert marks(ax, "given label")[0, 0] == days[3]
    # Without labels the detector flags by another threshold.
    display = ScoreDisplay.from_estimator(
        FakeDetector(), X, sample=1, ax=figure.Figure().add_subplot()
    )
    assert display.threshold == 2
    assert np.flatnonzero(display.flags).tolist() == [3]


def test_scores_at_the_given_label_leave_the_others_readable(ax):
    """There the odds of another class are nil: -700, where others are about -10."""
    scores = [-5.0, 20.0, -700.0, np.nan, -15.0]
    ScoreDisplay(scores, threshold=-8, label_time=2).plot(ax=ax)
    low, high = ax.get_ylim()
    assert -25 < low < -15
    assert 20 < high < 30
    assert marks(ax, "score")[2, 1] == -700
    # Where it is like the others, or the only one, it stays in the picture.
    for kept in ([-5.0, 20.0, -15.0], [np.nan, np.nan, -700.0]):
        other = figure.Figure().add_subplot()
        ScoreDisplay(kept, label_time=2).plot(ax=other)
        assert other.get_ylim()[0] < kept[2]


def test_dates_of_fit_are_left_out_where_they_do_not_fit(ax):
    display = ScoreDisplay.from_estimator(FakeDetector(), np.zeros((1, 1, 6)), ax=ax)
    assert display.dates is None


def test_ordinal_days_are_dates(ax):
    ordinal = DATES.astype(int) + 719163
    ScoreDisplay(np.arange(4), dates=ordinal).plot(ax=ax)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), dates.date2num(DATES))


def test_a_single_date(ax):
    TimelineDisplay([["a"]], dates=DATES[:1]).plot(ax=ax)
    AttributionDisplay([[0.5]]).plot(ax=figure.Figure().add_subplot())
    ScoreDisplay([0.5]).plot(ax=figure.Figure().add_subplot())


def test_all_unobserved(ax):
    nothing = np.full((2, 4), np.nan)
    AttributionDisplay(nothing, series=nothing).plot(ax=ax)
    ScoreDisplay(nothing[0]).plot(ax=figure.Figure().add_subplot())


def test_without_axes_a_new_figure_is_made(pyplot):
    for display in (
        TimelineDisplay([["a", "b"]]),
        AttributionDisplay([[0.1, 0.2]]),
        ScoreDisplay([0.1, 0.2]),
    ):
        assert display.plot() is display
        assert display.figure_.number in pyplot.get_fignums()
        display.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("display", "message"),
    [
        (TimelineDisplay(["a", "b"]), "labels has 1 dimensions; expected 2"),
        (
            TimelineDisplay([["a"]], sample_names=["x", "y"]),
            "sample_names has length 2",
        ),
        (TimelineDisplay([["a", "b"]], class_names=["x"]), "class_names has length 1"),
        (TimelineDisplay([["a", "b"]], dates=DATES), "dates has shape"),
        (AttributionDisplay([0.1]), "attribution has 1 dimensions; expected 2"),
        (AttributionDisplay([[0.1]], band_names=[]), "band_names has length 0"),
        (AttributionDisplay([[0.1]], series=[[1, 2]]), r"series has shape \(1, 2\)"),
        (
            AttributionDisplay([[0.1]], counterfactual=[1]),
            r"counterfactual has shape \(1,\); expected \(1, 1\)",
        ),
        (
            AttributionDisplay([[0.1]], interval=[[1]]),
            r"interval has shape \(1, 1\); expected \(2, 1, 1\)",
        ),
        (
            TimelineDisplay([["a", "b"]], probabilities=[[1]]),
            r"probabilities has shape \(1, 1\); expected that of labels, \(1, 2\)",
        ),
        (ScoreDisplay([[0.1]]), "scores has 2 dimensions; expected 1"),
        (ScoreDisplay([0.1], flags=[True, True]), "flags has length 2"),
    ],
)
def test_arrays_that_do_not_fit_are_named(ax, display, message):
    with pytest.raises(ValueError, match=message):
        display.plot(ax=ax)


def test_a_sample_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="sample=2 is not among the 2 samples"):
        ScoreDisplay.from_estimator(FakeDetector(), np.zeros((2, 1, 4)), sample=2)


def test_matplotlib_is_loaded_by_plot_alone_and_named_when_missing():
    code = (
        "import sys; from sktasgen.plots import ScoreDisplay\n"
        "display = ScoreDisplay([0.1, 0.2])\n"
        "assert 'matplotlib' not in sys.modules\n"
        "sys.modules['matplotlib'] = None\n"
        "try: display.plot()\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'sktasgen[plot]'" in done.stdout, done.stderr


# Whole pictures

PICTURES = Path(__file__).parent / "pictures"
# Root mean square of 256 levels, over all pixels and colours.
TOLERANCE = 1.0


def timeline(**changed):
    labels = np.repeat([["a", "b", "c"], ["c", "c", "a"], ["b", None, "b"]], 8, axis=1)
    rng = np.random.default_rng(0)
    arrays = {
        "labels": labels,
        "probabilities": rng.uniform(0.4, 1, labels.shape),
        "label_time": [3, 20, -1],
        "classes": ["a", "b", "c"],
    }
    return TimelineDisplay(**arrays | changed)


def attribution(**changed):
    rng = np.random.default_rng(0)
    expected = 0.3 + np.array([[0.1], [0.2], [0.3], [0.2]]) * np.sin(np.arange(24) / 4)
    X = expected + 0.02 * rng.standard_normal(expected.shape)
    X[1:, 10:17] += [[0.1], [0.2], [0.3]]
    probability = np.where(X - expected > 0.05, 0.9, 0.05)
    probability[:, [4, 5, 13]] = X[:, [4, 5, 13]] = np.nan
    arrays = {
        "attribution": probability,
        "series": X,
        "counterfactual": expected,
        "interval": (expected - 0.05, expected + 0.05),
        "label_time": 2,
        "change_time": 9,
        "change_interval": (10, 16),
    }
    return AttributionDisplay(**arrays | changed)


def scores(**changed):
    found = np.sin(np.arange(24.0))
    found[10:16] += 3
    found[4] = np.nan
    arrays = {
        "scores": found,
        "threshold": 1.5,
        "flags": found > 1.5,
        "label_time": 6,
    }
    return ScoreDisplay(**arrays | changed)


def save(display, path, spoil=None):
    """Draw without text and ticks, at a fixed size and place."""
    style = pytest.importorskip("matplotlib.style")
    with style.context("default"):
        drawn = figure.Figure(figsize=(8, 5))
        display.plot(ax=drawn.add_axes([0.05, 0.05, 0.9, 0.9]))
        if spoil is not None:
            spoil(display)
        for axes in drawn.findobj(matplotlib.axes.Axes):
            axes.tick_params(length=0, which="both")
        drawn.draw_without_rendering()  # makes the labels of the ticks
        for kind in (matplotlib.text.Text, matplotlib.legend.Legend):
            for artist in drawn.findobj(kind):
                artist.set_visible(False)
        drawn.savefig(path, dpi=60, metadata={"Software": None})


def difference(display, name, folder, spoil=None):
    """None if the picture is that of the file, else a word on how far it is from it."""
    compare = pytest.importorskip("matplotlib.testing.compare")
    path = folder / f"{name}.png"
    save(display, path, spoil)
    return compare.compare_images(str(PICTURES / path.name), str(path), TOLERANCE)


@pytest.mark.parametrize("display", [timeline, attribution, scores])
def test_picture_is_that_of_the_file(display, tmp_path):
    name = display.__name__
    if os.environ.get("SKTASGEN_NEW_PICTURES"):
        save(display(), PICTURES / f"{name}.png")
    assert difference(display(), name, tmp_path) is None


@pytest.mark.parametrize(
    ("display", "part"),
    [
        *((timeline, part) for part in ("probabilities", "label_time")),
        *(
            (attribution, part)
            for part in (
                "series",
                "counterfactual",
                "interval",
                "label_time",
                "change_time",
                "change_interval",
            )
        ),
        *((scores, part) for part in ("threshold", "flags", "label_time")),
    ],
)
def test_a_part_that_is_missing_shows(display, part, tmp_path):
    """Else a picture could lose it, and the comparison above would still pass."""
    found = difference(display(**{part: None}), display.__name__, tmp_path)
    assert found is not None


@pytest.mark.parametrize("margin", ["date_ax_", "band_ax_"])
def test_a_margin_that_is_empty_shows(margin, tmp_path):
    def spoil(display):
        for patch in list(getattr(display, margin).patches):
            patch.remove()

    assert difference(attribution(), "attribution", tmp_path, spoil) is not None


@pytest.mark.parametrize(
    ("display", "name"),
    [
        (AttributionDisplay([[0.1]], label_time=1), "label_time"),
        (AttributionDisplay([[0.1]], change_time="a"), "change_time"),
        (AttributionDisplay([[0.1]], change_interval=(0, 1)), "change_interval"),
        (AttributionDisplay([[0.1]], r_hat="a"), "r_hat"),
        (AttributionDisplay([[]]), "attribution"),
        (AttributionDisplay([[-0.5]]), "attribution"),
        (AttributionDisplay([[1.1]]), "attribution"),
        (TimelineDisplay([["a"]], label_time=1), "label_time"),
        (TimelineDisplay([["a"]], sample_names=3), "sample_names"),
        (TimelineDisplay([]), "labels"),
        (ScoreDisplay([0.1], label_time=1), "label_time"),
        (ScoreDisplay([0.1], threshold="a"), "threshold"),
        (ScoreDisplay([]), "scores"),
    ],
)
def test_what_cannot_be_drawn_is_named(display, name):
    with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b"):
        display.plot()


def test_an_index_below_0_and_no_index_mark_nothing(ax):
    """What finds no date of a change gives -1 for it, or finds none at all."""
    for display in (
        AttributionDisplay([[0.1, 0.9]], label_time=-1, change_time=-1),
        AttributionDisplay([[0.1, 0.9]], label_time=[], change_time=[]),
        ScoreDisplay([0.1, 0.9], label_time=-1),
    ):
        drawn = figure.Figure().add_subplot()
        _, labels = display.plot(ax=drawn).ax_.get_legend_handles_labels()
        assert set(labels) <= {"score"}
    AttributionDisplay([[0.1, 0.9]], change_time=[-1, 1]).plot(ax=ax)
    np.testing.assert_allclose(marks(ax, "change"), [[0.5, 0], [0.5, 1]])


def test_rounding_above_1_is_a_probability():
    """A mean of ones in single precision may be a little more than 1."""
    AttributionDisplay(np.array([[1.0000001]], dtype=np.float32)).plot()


class Asked(FakeRelabeler):
    """Keeps the labels and times that it is asked to hold, and holds none."""

    def relabel(self, X, y, *, label_time=None):
        self.asked = y, label_time
        return self.predict_timeline(X)

    def predict_proba_timeline(self, X, y=None, *, label_time=None):
        return super().predict_proba_timeline(X)


@pytest.mark.parametrize(
    "times", [[1, None, 2], np.array([1, np.nan, 2]), [1.0, None, 2.0]]
)
def test_samples_without_a_label_have_no_mark(times, ax):
    X = np.ones((3, 1, 4))
    relabeler = Asked()
    TimelineDisplay.from_estimator(
        relabeler, X, ["crop", None, "water"], label_time=times, ax=ax
    )
    days = dates.date2num(DATES)
    np.testing.assert_array_equal(
        marks(ax, "given label"), [[days[1], 0], [days[2], 2]]
    )
    # Those drawn may all have one: their times are whole numbers again.
    TimelineDisplay.from_estimator(
        relabeler, X, ["crop", np.nan, "water"], label_time=times, samples=[2, 0]
    )
    y, label_time = relabeler.asked
    assert y.tolist() == ["water", "crop"]
    assert label_time.tolist() == [2, 1]
    assert label_time.dtype.kind == "i"


def test_samples_count_from_the_end_and_labels_may_be_a_column(ax):
    X = np.ones((3, 1, 4))
    relabeler = Asked()
    y = np.array([["crop"], ["crop"], ["water"]])
    display = TimelineDisplay.from_estimator(
        relabeler, X, y, samples=[-1], sample_names=["a", "b", "c"], ax=ax
    )
    assert display.sample_names == ["c"]
    assert relabeler.asked[0].tolist() == [["water"]]
    for samples in ([-4], [3], []):
        with pytest.raises(ValueError, match="^samples="):
            TimelineDisplay.from_estimator(relabeler, X, y, samples=samples)


def test_what_is_no_axes_is_named():
    with pytest.raises(TypeError, match="ax=1; expected matplotlib Axes"):
        ScoreDisplay([0.1]).plot(ax=1)


def test_classes_may_be_any_array():
    xarray = pytest.importorskip("xarray")
    classes = xarray.DataArray(["a", "b"])
    handles, _ = (
        TimelineDisplay([["b", "a"]], classes=classes)
        .plot()
        .ax_.get_legend_handles_labels()
    )
    assert len(handles) == 2
