"""The HTML report: one file, with its pictures inside."""

import base64
import io

import numpy as np

from ._optional import import_optional
from .plots import AttributionDisplay, TimelineDisplay
from .tables import tell_explained

_N_TIMELINES = 12
_N_ATTRIBUTIONS = 3

_TEMPLATE = """\
{%- macro picture(parts) -%}
<figure><img src="data:image/png;base64,{{ parts[0] }}" alt="{{ parts[1] }}">
<figcaption>{{ parts[2] }}</figcaption></figure>
{%- endmacro -%}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.8rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid #bbb; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ccc; text-align: right;
  font-variant-numeric: tabular-nums; }
th[scope=row], thead th:first-child { text-align: left; }
thead th { border-bottom: 2px solid #444; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; }
dt { color: #555; } dd { margin: 0; }
figure { margin: 1rem 0 2rem; }
figure img { width: 100%; height: auto; }
figcaption { color: #444; font-size: .95rem; }
.wide { overflow-x: auto; }
@media print {
  body { max-width: none; margin: 0; font-size: 11pt; }
  figure, table, dl { break-inside: avoid; }
  h2 { break-after: avoid; }
}
</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
{% if about %}<p>{{ about }}</p>{% endif %}

<h2>At a glance</h2>
<dl>
{% for name, value in facts %}<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}</dl>

{% if accuracy %}
<h2>Static label and dynamic labels</h2>
<div class="wide"><table>
<caption>Agreement with the true label over all dates of all samples. The static
label is the given one, taken for every date; changed dates are those whose true label
is another.</caption>
<thead><tr><th scope="col">Labels</th><th scope="col">Accuracy</th>
<th scope="col">Kappa</th><th scope="col">Macro F1</th>
<th scope="col">Accuracy on changed dates</th></tr></thead>
<tbody>
{% for name, scores in accuracy.items() %}<tr><th scope="row">{{ name }}</th>
<td>{{ "%.3f"|format(scores.accuracy) }}</td><td>{{ "%.3f"|format(scores.kappa) }}</td>
<td>{{ "%.3f"|format(scores.f1_macro) }}</td>
<td>{{ "%.3f"|format(scores.changed_date_accuracy) }}</td></tr>
{% endfor %}</tbody>
</table></div>
{% endif %}

<h2>When</h2>
{{ picture(change_dates) }}

<h2>From what to what</h2>
{% if summary.transitions %}
<div class="wide"><table>
<caption>Number of changes from the label in the row to that in the column.</caption>
<thead><tr><th scope="col">From \\ to</th>
{% for to in targets %}<th scope="col">{{ to }}</th>{% endfor %}</tr></thead>
<tbody>
{% for label, row in summary.transitions.items() %}<tr><th scope="row">{{ label }}</th>
{% for to in targets %}<td>{{ row.get(to, "") }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
{% else %}<p>No sample changes its label.</p>{% endif %}

{% if timelines %}
<h2>Timelines</h2>
{{ picture(timelines) }}
{% endif %}

{% if attributions %}
<h2>Which bands, which dates</h2>
<p>{{ explained }}. Pictured are, of the samples with cells that stand out where there
are such, the one with the most evidence, one in the middle and the one with the least.
The darker a cell, the more probable it is that
this band at this date is not what the label makes one expect. Hatched was not
observed. Above each date and beside each band is the mean of its cells; on top are the
series of the bands with the highest means.</p>
{% for item in attributions %}{{ picture(item) }}{% endfor %}
{% endif %}
</main>
<footer><p>Made with sktasgen {{ summary.sktasgen }}, random state
{{ summary.random_state }}.</p></footer>
</body>
</html>
"""


def render_report(result, summary, *, title, about="", accuracy=None, truth=None):
    """Render a relabelling as one HTML page that needs no other file.

    Parameters
    ----------
    result : Relabelling
        What to show.
    summary : dict
        Its counts, with the keys ``period``, ``random_state`` and ``sktasgen``.
    title : str
        Heading of the page.
    about : str, default=""
        A word on the data.
    accuracy : dict of str to Bunch, default=None
        Reports of :func:`sktasgen.metrics.dated_label_report`, by the name of what
        was compared with the truth.
    truth : ndarray of shape (n_samples, n_timesteps), default=None
        True labels, drawn below those found.

    Returns
    -------
    str
        The page.

    Raises
    ------
    ImportError
        If jinja2 or matplotlib is missing.
    """
    jinja2 = import_optional("jinja2", extra="io", purpose="The HTML report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_TEMPLATE).render(
        title=title,
        about=about,
        summary=summary,
        facts=_facts(summary),
        accuracy=accuracy,
        targets=sorted({to for row in summary["transitions"].values() for to in row}),
        change_dates=_change_dates(result),
        timelines=_timelines(result, truth),
        attributions=_attributions(result),
        explained=tell_explained(summary) if result.attribution else "",
    )


def _facts(summary):
    dates = (
        f"{summary['dates']}, from {summary['first_date']} to {summary['last_date']}, "
        f"median step {summary['step_days']:g} days"
    )
    return [
        ("Samples", f"{summary['samples']}, {summary['samples_labelled']} labelled"),
        ("Dates", dates + (", composited" if summary["composited"] else "")),
        ("Season", f"{summary['period']} slots a year"),
        ("Bands", ", ".join(summary["bands"])),
        ("Cells observed", f"{summary['share_of_cells_observed']:.1%}"),
        ("Classes", ", ".join(summary["classes"])),
        (
            "Samples that change",
            f"{summary['samples_changed']} "
            f"({summary['share_of_samples_changed']:.1%}), "
            f"{summary['changes']} times in all",
        ),
        ("Dates off the given label", f"{summary['share_of_dates_changed']:.1%}"),
    ]


# Pictures: source, text for those who cannot see it, caption


def _change_dates(result):
    dates = result.series.dates
    count = np.bincount(result.changes[:, 1], minlength=len(dates))
    figure = _figure(8, 2.5)
    ax = figure.add_subplot()
    days = dates.astype("datetime64[D]").astype(float)
    width = np.median(np.diff(days)) if len(days) > 1 else 1
    ax.bar(dates, count, width=0.9 * width, color="#0072B2")
    matplotlib_dates = import_optional(
        "matplotlib.dates", extra="plot", purpose="The HTML report"
    )
    formatter = matplotlib_dates.ConciseDateFormatter(ax.xaxis.get_major_locator())
    ax.xaxis.set_major_formatter(formatter)
    ax.set_xlabel("Date")
    ax.set_ylabel("Changes")
    ax.yaxis.get_major_locator().set_params(integer=True)
    alt = f"Bar chart of {count.sum()} changes over {len(dates)} dates."
    if count.any():
        alt += f" Most, {count.max()}, fall on {dates[count.argmax()]}."
    return _encode(figure), alt, "Changes by the first date of the new label."


def _timelines(result, truth):
    """Label strips of changed samples, evenly picked; None without any."""
    changed = np.unique(result.changes[:, 0])
    if len(changed) == 0:
        return None
    rows = _evenly(changed, _N_TIMELINES)
    series = result.series
    labels = np.where(series.covered, result.labels.astype(object), None)[rows]
    probabilities = result.probability[rows]
    names = [str(name) for name in series.samples[rows]]
    times = result.label_time[rows]
    caption = (
        f"{len(rows)} of the {len(changed)} samples that change. Strips are filled to "
        "the probability of the label. The diamond is the given label."
    )
    if truth is not None:
        # Strips in pairs: found, then true.
        true = np.where(series.covered, truth.astype(object), None)[rows]
        labels = np.stack([labels, true], axis=1).reshape(-1, labels.shape[1])
        certain = np.ones_like(probabilities)
        probabilities = np.stack([probabilities, certain], axis=1)
        probabilities = probabilities.reshape(labels.shape)
        names = [part for name in names for part in (name, "truth")]
        times = np.stack([times, np.full(len(rows), -1)], axis=1).ravel()
        caption += " Below each sample is its true label."
    figure = _figure(8, 1 + 0.26 * len(labels))
    TimelineDisplay(
        labels,
        probabilities=probabilities,
        dates=series.dates,
        label_time=times,
        sample_names=names,
    ).plot(ax=figure.add_subplot())
    alt = "Strips of labels over time. " + " ".join(
        _tell_timeline(result, row) for row in rows
    )
    return _encode(figure), alt, caption


def _tell_timeline(result, row):
    changes = result.changes[result.changes[:, 0] == row, 1]
    labels = result.labels[row]
    first = labels[changes[0] - 1]
    then = ", ".join(f"{labels[t]} from {result.series.dates[t]}" for t in changes)
    return f"Sample {result.series.samples[row]}: {first}, {then}."


def _attributions(result):
    """Heat maps of the samples with most, middling and least evidence."""
    listed = np.array([bool(bands) for bands, _ in result.evidence], dtype=bool)
    shown = result.stands_out if result.stands_out.any() else listed
    strength = {
        sample: float(np.nanmean(result.attribution[sample]))
        for sample in result.changes[shown, 0]
    }
    ranked = sorted(strength, key=lambda sample: (-strength[sample], sample))
    return [_attribution(result, int(row)) for row in _evenly(ranked, _N_ATTRIBUTIONS)]


def _attribution(result, row):
    series = result.series
    inside = np.flatnonzero(series.covered[row])
    shown = slice(inside[0], inside[-1] + 1)
    changes = np.flatnonzero(result.changes[:, 0] == row)
    times = result.changes[changes, 1]
    label_time = result.label_time[row] - inside[0]
    n_bands = len(series.bands)
    figure = _figure(8, 1.3 + 0.3 * n_bands + 0.8 * min(n_bands, 3))
    AttributionDisplay(
        result.attribution[row][:, shown],
        series=series.X[row][:, shown],
        dates=series.dates[shown],
        band_names=series.bands,
        label_time=label_time if label_time >= 0 else None,
        change_time=times - inside[0],
    ).plot(ax=figure.add_subplot())
    told = []
    for change in changes:
        bands, dates = result.evidence[change]
        if bands:
            names = ", ".join(series.bands[b] for b in bands)
            when = ", ".join(str(series.dates[t]) for t in dates)
            date = series.dates[result.changes[change, 1]]
            some = "" if result.stands_out[change] else " no cell stands out;"
            told.append(f"The change of {date}:{some} strongest in {names}, on {when}.")
    told = " ".join(told)
    caption = f"{_tell_timeline(result, row)} {told}"
    return _encode(figure), f"Heat map of bands by dates, with series. {told}", caption


def _evenly(values, n):
    """At most `n` of the values, evenly spaced."""
    values = np.asarray(values)
    if len(values) <= n:
        return values
    return values[np.linspace(0, len(values) - 1, n).round().astype(int)]


def _figure(width, height):
    # Never through pyplot, whose figures are global.
    figure = import_optional(
        "matplotlib.figure", extra="plot", purpose="The HTML report"
    )
    return figure.Figure(figsize=(width, height), layout="constrained")


def _encode(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
