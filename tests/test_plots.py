"""Pictures: what is drawn must be what the arrays say."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from sktasgen.plots import AttributionDisplay, ScoreDisplay, TimelineDisplay

matplotlib = pytest.importorskip("matplotlib")
dates = pytest.importorskip("matplotlib.dates")
figure = pytest.importorskip("matplotlib.figure")

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


class FakeExplainer:
    detector_ = SimpleNamespace(dates_=DATES)

    def explain(self, X, y=None, *, label_time=None, changed=None):
        self.called_with = X, y, label_time
        self.changed = changed
        return np.where(np.isnan(X), np.nan, X > 0).reshape(len(X), 2, -1)


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


def test_attribution_puts_each_cell_where_it_belongs(ax):
    cells = np.array([[0.0, 0.5, np.nan, 1.0], [0.25, 0.0, 0.0, 0.75]])
    display = AttributionDisplay(
        cells,
        series=np.where(np.isnan(cells), np.nan, [[4, 3, 2, 0], [1, 1, 1, 1]]),
        dates=DATES,
        band_names=["B4", "B8"],
        label_time=0,
        change_time=[1, 3],
    ).plot(ax=ax)
    (mesh,) = ax.collections
    np.testing.assert_array_equal(mesh.get_array().filled(np.nan), cells)
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0, 1)
    assert texts(ax.get_yticklabels()) == ["B4", "B8"]
    assert ax.get_ylim() == (1.5, -0.5)  # the first band on top
    assert display.colorbar_.ax.get_ylabel() == "P(anomalous)"
    days = dates.date2num(DATES)
    assert [x for x, _ in marks(ax, "given label")] == [days[0]] * 2
    changes = [line.get_xdata()[0] for line in ax.lines if line.get_label() == "change"]
    assert changes == [days[0] + 5, days[2] + 5]  # between the two labels
    first, second = (line for line in ax.lines if line.get_marker() == ".")
    np.testing.assert_allclose(first.get_ydata(), [-0.4, -0.2, 0.4])
    np.testing.assert_allclose(second.get_ydata(), 1)  # constant: in the middle


def test_attribution_explains_one_sample_only(ax):
    X = np.array([[[0, 0, 1, 0], [1, 0, 0, 0]], [[0, 1, 0, 0], [np.nan, 0, 0, 1]]])
    explainer = FakeExplainer()
    display = AttributionDisplay.from_estimator(
        explainer, X, ["a", "b"], label_time=2, sample=1, ax=ax
    )
    X_one, y, label_time = explainer.called_with
    assert X_one.shape == (1, 2, 4)
    assert (y.tolist(), label_time.tolist()) == (["b"], [2])
    np.testing.assert_array_equal(display.attribution, X[1])
    assert display.label_time == 2
    assert ax.get_xlabel() == "Date"
    # Flat series, as scikit-learn has them, are drawn alike.
    flat = AttributionDisplay.from_estimator(
        explainer, X.reshape(2, -1), sample=1, ax=figure.Figure().add_subplot()
    )
    np.testing.assert_array_equal(flat.series, X[1])


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
        explain=answer(np.zeros((1, 2, 3))),
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
    assert len(seen) == 5
    assert all(dates is (later if fitted_with_dates else None) for dates in seen)


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
