"""Accuracy of dated labels on real series, as Markdown tables.

Run from the project's root, with SKTASGEN_DATA_HOME naming the folder of the data::

    python -m benchmarks.relabelling            # everything
    python -m benchmarks.relabelling lakes      # one part: cerrado or lakes

``cerrado``: four-year MODIS series of two classes, half of which switch class once.
Every sample-year recurs in several series, so a classifier that is trained on other
years of stable series has seen some of the years it is asked about, and its figures
flatter. So there are two rows: the defaults, which train on the stable series, and
the same without any stable series, trained on the labelled seasons alone.

``lakes``: a year of Sentinel months, nine noisy classes, one label per sample at one
step. In-sample, every sample is relabelled with its own label known; grouped, the
estimators are trained on other locations, in five folds. A plain forest is trained
on the labelled step of all samples and applied to every step; its row "held" keeps
each sample's own label where it is known, as the relabeller does.
"""

import argparse

import numpy as np
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold

from benchmarks import data as sets
from sktasgen import HTSVAEDetector, StableSampleRelabeler
from sktasgen.datasets import fetch_dynamic_world_lakes
from sktasgen.metrics import break_within, dated_label_report, nearest_break

LABEL_STEP = 5


def cerrado(name, seeds=range(3)):
    """Accuracy of the defaults beside the static label."""
    series = sets.cerrado(name)
    X, y, Y = series.X, series.y, series.Y
    times, break_at = series.label_time, series.break_at
    print(f"\n### cerrado_{name}, mean over seeds (lowest to highest)\n")
    print("| labels | accuracy | on changed dates | breaks within 3 dates |")
    print("|---|---|---|---|")
    static = y[:, None].repeat(Y.shape[1], axis=1)
    for title, relabeler_class in (
        ("static label", None),
        ("sktasgen", StableSampleRelabeler),
        ("sktasgen, labelled seasons alone", _NothingStable),
    ):
        figures = []
        for seed in seeds:
            labels = static
            if relabeler_class is not None:
                relabeler = relabeler_class(
                    HTSVAEDetector(period=23), random_state=seed
                )
                relabeler.fit(X, y, label_time=times)
                labels = relabeler.relabel(X, y, label_time=times)
            report = dated_label_report(Y, labels, y)
            within = break_within(break_at, nearest_break(labels, times), 3)
            figures.append((report.accuracy, report.changed_date_accuracy, within))
        cells = [
            f"{column.mean():.4f} ({column.min():.4f} to {column.max():.4f})"
            for column in np.array(figures).T
        ]
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


class _NothingStable(StableSampleRelabeler):
    """Trains on the labelled seasons alone."""

    def _find_stable(self, X, times, flags):
        return np.zeros(len(X), dtype=bool)


def lakes(seeds=range(5)):
    """Accuracy over all months from the label of one, paired with a forest."""
    data = fetch_dynamic_world_lakes()
    y = data.Y[:, LABEL_STEP]
    everyone = np.arange(len(y))
    in_sample = [(everyone, everyone)]
    print(f"\n### lakes, labels of step {LABEL_STEP}\n")
    print("| protocol | labels | accuracy over seeds | on changed months | - forest |")
    print("|---|---|---|---|---|")
    static = y[:, None].repeat(data.Y.shape[1], axis=1)
    _print_lakes("any", "static label", [dated_label_report(data.Y, static, y)], None)
    for protocol in ("in-sample", "grouped"):
        found = {"forest": [], "forest, held": [], "sktasgen": []}
        for seed in seeds:
            folds = in_sample
            if protocol == "grouped":
                splitter = GroupKFold(5, shuffle=True, random_state=seed)
                folds = splitter.split(data.X, y, data.groups)
            labels = {name: np.empty_like(data.Y) for name in found}
            for train, test in folds:
                labels["forest"][test] = _forest(data.X, y, train, test, seed)
                relabeler = StableSampleRelabeler(
                    HTSVAEDetector(period=12), random_state=seed
                )
                relabeler.fit(data.X[train], y[train], label_time=LABEL_STEP)
                labels["sktasgen"][test] = _relabel(relabeler, data.X[test], y[test])
            labels["forest, held"] = labels["forest"].copy()
            labels["forest, held"][:, LABEL_STEP] = y
            for name, value in labels.items():
                found[name].append(dated_label_report(data.Y, value, y))
        for name, reports in found.items():
            reference = None if name == "forest" else found["forest"]
            _print_lakes(protocol, name, reports, reference)


def _forest(X, y, train, test, seed):
    """A forest of one month's bands, applied to every month."""
    forest = RandomForestClassifier(random_state=seed)
    forest.fit(X[train, :, LABEL_STEP], y[train])
    months = np.moveaxis(X[test], 2, 1)
    return forest.predict(months.reshape(-1, X.shape[1])).reshape(months.shape[:2])


def _relabel(relabeler, X, y):
    """Held labels; a label of a class that no other location has is not held."""
    labels = relabeler.predict_timeline(X)
    known = np.isin(y, relabeler.classes_)
    labels[known] = relabeler.relabel(X[known], y[known])
    labels[~known, LABEL_STEP] = y[~known]
    return labels


def _print_lakes(protocol, name, reports, reference):
    accuracy = np.array([report.accuracy for report in reports])
    changed = np.array([report.changed_date_accuracy for report in reports])
    gain = ""
    if reference is not None:
        gains = accuracy - [report.accuracy for report in reference]
        half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
        gain = f"{gains.mean():+.4f} ± {half:.4f}"
    print(
        f"| {protocol} | {name} | {accuracy.mean():.4f} ({accuracy.min():.4f} to "
        f"{accuracy.max():.4f}) | {changed.mean():.3f} | {gain} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description="Accuracy of dated labels.")
    parser.add_argument("parts", nargs="*", metavar="PART", help="cerrado or lakes")
    parts = parser.parse_args().parts or ["cerrado", "lakes"]
    for part in parts:
        if part not in ("cerrado", "lakes"):
            parser.error(f"unknown part {part!r}: wanted cerrado or lakes")
    if "cerrado" in parts:
        sets.home()
    for part in parts:
        if part == "lakes":
            lakes()
        else:
            cerrado("disjoint")
            cerrado("anywhere")


if __name__ == "__main__":
    main()
