"""The command line: ``sktasgen relabel``, ``sktasgen map`` and ``sktasgen demo``."""

import argparse
import contextlib
import json
import signal
import sys
import threading
import warnings

import numpy as np
from sklearn.frozen import FrozenEstimator

from . import __version__, tables
from ._optional import import_optional

_CHUNK = 256  # samples relabelled between two steps of the bar
_EXPLAIN_CHUNK = 64  # the same for explaining, which takes longer
_TOP = 5  # bands and dates listed per change
_OUTPUTS = (
    "changes.csv",
    "changes.parquet",
    "dynamic_labels.csv",
    "dynamic_labels.parquet",
    "report.html",
    "summary.json",
)

_EPILOG = """\
Long tables are CSV (.csv, .csv.gz) or Parquet (.parquet), by their ending. Errors
end with exit status 2 and one line that names the file, column and rows; nothing is
written then.
"""


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments after the program's name; None takes those of the process.

    Returns
    -------
    int
        Exit status: 0; 1 where parts of a map are missing; 2 after an error and 130
        when interrupted or terminated. Each but the first with a line on stderr.
    """
    try:
        args = _parser().parse_args(argv)
        with _terminated_as_interrupted():
            return args.run(args) or 0
    except MemoryError as error:
        reason = " ".join(str(error).split())
        print(f"sktasgen: error: not enough memory: {reason}", file=sys.stderr)
        return 2
    except (ValueError, OSError, ImportError) as error:
        reason = " ".join(_reason(error).split())
        print(f"sktasgen: error: {reason}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        told = str(interrupt) or "nothing was written"
        print(f"sktasgen: interrupted, {told}", file=sys.stderr)
        return 130


@contextlib.contextmanager
def _terminated_as_interrupted():
    """Let SIGTERM clean up, too; only the main thread may listen to signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _reason(error):
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return where + error.strerror
    return str(error)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message):
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser():
    parser = _Parser(
        prog="sktasgen",
        description="Dated labels for satellite time series from one label per place.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    relabel = commands.add_parser(
        "relabel",
        help="give every date of your series a label",
        description="Give every date of every series a label, list the changes and "
        "the bands and dates that explain them.",
        epilog=_EPILOG,
    )
    relabel.add_argument(
        "series",
        metavar="SERIES",
        help="table with the columns sample, date and one per band; an empty cell is "
        "not observed",
    )
    relabel.add_argument(
        "--labels",
        required=True,
        metavar="LABELS",
        help="table with the columns sample, date, label; a date counts for the "
        "sample's nearest acquisition, at most half the median step away",
    )
    relabel.add_argument(
        "--out",
        required=True,
        type=_folder,
        metavar="DIR",
        help="folder to write to; outputs of a former run there are replaced",
    )
    relabel.add_argument(
        "--bands",
        type=_band_names,
        metavar="B1,B2,...",
        help="columns of SERIES to use as bands (default: all but sample and date)",
    )
    relabel.add_argument(
        "--step",
        type=_positive,
        metavar="DAYS",
        help="composite onto a grid of this many days (default: only samples with "
        "different dates, at the median gap between the dates of a sample)",
    )
    relabel.add_argument(
        "--period",
        type=_period,
        metavar="N",
        help="season slots per year, at most 366 (default: as many as median steps "
        "fit in)",
    )
    relabel.add_argument(
        "--format",
        choices=("csv", "parquet"),
        default="csv",
        help="format of the tables written (default: %(default)s)",
    )
    relabel.add_argument(
        "--report",
        action="store_true",
        help="write report.html, with pictures, too (default: tables only)",
    )
    relabel.add_argument(
        "--no-explain",
        dest="explain",
        action="store_false",
        help="do not look for the bands and dates of the changes, to save time "
        "(default: look for them)",
    )
    _add_random_state(relabel)
    relabel.set_defaults(run=_relabel)

    _add_map(commands)

    demo = commands.add_parser(
        "demo",
        help="see it work on real satellite series",
        description="Relabel the Dynamic World lakes set, which has a label for "
        "every month, from one of them, and compare. Where the set is neither found "
        "(in $SKTASGEN_DATA_HOME or the cache) nor can be fetched, simulated series "
        "take its place.",
    )
    demo.add_argument(
        "--out",
        default="demo-output",
        type=_folder,
        metavar="DIR",
        help="folder to write to (default: %(default)s)",
    )
    _add_random_state(demo)
    demo.set_defaults(run=_demo)
    return parser


def _add_map(commands):
    parser = commands.add_parser(
        "map",
        help="map a region from labelled points",
        description="Learn from labelled points of a cube of images, and map a label "
        "for every date of every pixel, and the date of the last change. What is in "
        "memory at a time is a block of the cube. A run that was interrupted, however "
        "that was, is gone on with by the same command, to the same bytes.",
        epilog="Writes DIR/maps.zarr, DIR/geotiff/labels_YYYYMMDD.tif and "
        "change_date.tif, DIR/model.joblib and DIR/summary.json. Exit status 1: some "
        "blocks could not be read, which stderr names; all others are mapped, and "
        "the same command tries those again. Exit status 2: an error, in one line.",
    )
    parser.add_argument(
        "cube",
        metavar="CUBE",
        help="Zarr store, NetCDF file, folder of GeoTIFFs with dates in their names, "
        "or STAC catalogue (file or address)",
    )
    parser.add_argument(
        "--points",
        required=True,
        metavar="LABELS",
        help="labelled points: GeoJSON or another file of points, with the attributes "
        "label and date; or a table (.csv, .parquet) with the columns label, date, "
        "and lon and lat, or x and y",
    )
    parser.add_argument(
        "--out", required=True, type=_folder, metavar="DIR", help="folder to write to"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="processes to share the work (default: none but this one)",
    )
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="dask scheduler whose workers share the work, such as "
        "tcp://10.0.0.1:8786; they read CUBE and write DIR by the same paths",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the outputs of a former run in DIR",
    )
    parser.add_argument(
        "--what",
        type=_products,
        default="labels,probability,change_date",
        metavar="P1,P2,...",
        help="what to map, of labels, probability, change_date, change_score "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--no-geotiff",
        dest="geotiff",
        action="store_false",
        help="write the Zarr store only (default: GeoTIFFs, too)",
    )
    parser.add_argument(
        "--chunk-size",
        type=_positive,
        metavar="N",
        help="pixels along each side of a block (default: as CUBE is stored, but at "
        "most 256 MB)",
    )
    parser.add_argument(
        "--period",
        type=_period,
        metavar="N",
        help="season slots per year, at most 366 (default: as many as median steps "
        "fit in)",
    )
    _add_random_state(parser)

    reading = parser.add_argument_group("what CUBE holds")
    reading.add_argument(
        "--bands",
        type=_band_names,
        metavar="B1,B2,...",
        help="bands to use (default: all; needed of a STAC catalogue with others)",
    )
    reading.add_argument(
        "--quality",
        metavar="BAND",
        help="band of cloud masks (default: SCL, QA_PIXEL or qa, where CUBE has one; "
        "of a STAC catalogue with --bands, none)",
    )
    reading.add_argument(
        "--quality-kind",
        choices=("SCL", "QA_PIXEL", "qa"),
        help="convention of its codes (default: by its name)",
    )
    reading.add_argument(
        "--keep-snow", action="store_true", help="snow is no cloud (default: masked)"
    )
    reading.add_argument(
        "--scale",
        type=_number,
        metavar="S",
        help="of stored values (default: as CUBE states, or 1)",
    )
    reading.add_argument(
        "--offset",
        type=_number,
        metavar="O",
        help="of stored values (default: as CUBE states, or 0)",
    )
    reading.add_argument(
        "--nodata", type=float, metavar="V", help="stored value of what is not observed"
    )
    reading.add_argument(
        "--pattern",
        metavar="REGEX",
        help="names of GeoTIFFs, with the groups date and, of files of one band, band: "
        "'(?P<band>B\\d+)_(?P<date>\\d{8})' (default: the first date of the name)",
    )
    reading.add_argument(
        "--crs", metavar="CRS", help="of a STAC catalogue: reproject to it"
    )
    reading.add_argument(
        "--resolution",
        type=float,
        metavar="R",
        help="of a STAC catalogue: size of a pixel in units of the CRS",
    )
    reading.add_argument(
        "--bbox",
        type=_bbox,
        metavar="W,S,E,N",
        help="of a STAC catalogue: region in degrees (--bbox=-10,40,-9,41)",
    )
    reading.add_argument(
        "--points-crs",
        metavar="CRS",
        help="of coordinates in a table (default: EPSG:4326 for lon and lat)",
    )
    parser.set_defaults(run=_map)


def _products(text):
    names = [name.strip() for name in text.split(",")]
    known = ("labels", "probability", "change_date", "change_score")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{text!r} has {unknown}; wanted some of {', '.join(known)}"
        )
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} has a name more than once")
    return names


def _bbox(text):
    with contextlib.suppress(ValueError):
        west, south, east, north = map(float, text.split(","))
        return west, south, east, north
    raise argparse.ArgumentTypeError(f"{text!r} is not west,south,east,north")


def _add_random_state(parser):
    parser.add_argument(
        "--random-state",
        type=_seed,
        default=0,
        metavar="N",
        help="seed; the same one gives the same files (default: %(default)s)",
    )


def _positive(text):
    with contextlib.suppress(ValueError):
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")


def _number(text):
    with contextlib.suppress(ValueError):
        if np.isfinite(float(text)):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number")


def _period(text):
    with contextlib.suppress(ValueError):
        if 1 <= int(text) <= 366:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 366")


def _band_names(text):
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise argparse.ArgumentTypeError(
            f"{text!r} has an empty name; wanted columns of SERIES, such as B4,B8"
        )
    return names


def _folder(text):
    if text.strip():
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no name of a folder")


def _seed(text):
    with contextlib.suppress(ValueError):
        if 0 <= int(text) < 2**32:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^32-1")


# The two commands


def _relabel(args):
    _require(report=args.report, parquet=args.format == "parquet")
    with tables.staged(args.out, _OUTPUTS) as folder:
        series = tables.read_series(args.series, bands=args.bands, step=args.step)
        rows, y, label_time = tables.read_labels(args.labels, series)

        from .detector import HTSVAEDetector

        detector = HTSVAEDetector(
            dates=series.dates, period=args.period, random_state=args.random_state
        )
        try:
            result, period = _compute(
                series,
                rows,
                y,
                label_time,
                detector,
                explain=args.explain,
                random_state=args.random_state,
            )
        except ValueError as error:
            raise ValueError(f"{args.labels} with {args.series}: {error}") from error
        summary = _summary(result, period, args.random_state)
        _write(folder, result, summary, args.format)
        if args.report:
            from .report import render_report

            text = render_report(result, summary, title="Relabelled series")
            (folder / "report.html").write_text(text, encoding="utf-8")
        written = _names(folder, args.out)
    _print_summary(summary)
    if series.composited:
        why = "--step asks for it" if args.step else "no sample has all the dates"
        print(
            f"composited onto a grid of {len(series.dates)} dates, from "
            f"{series.dates[0]} to {series.dates[-1]}, because {why}"
        )
    print(f"wrote {written}")


def _map(args):
    import_optional("rioxarray", extra="geo", purpose="Mapping")
    import_optional("geopandas", extra="geo", purpose="Mapping")
    import_optional("zarr", extra="geo", purpose="Mapping")
    import_optional("distributed", extra="geo", purpose="Mapping")
    from .maps.command import map_region

    reading = {
        name: value
        for name, value in (
            ("bands", args.bands),
            ("pattern", args.pattern),
            ("crs", args.crs),
            ("resolution", args.resolution),
            ("bbox", args.bbox),
        )
        if value is not None
    }
    masking = {
        "quality": args.quality,
        "kind": args.quality_kind,
        "keep_snow": args.keep_snow,
        "scale": args.scale,
        "offset": args.offset,
        "nodata": args.nodata,
    }
    try:
        with _warnings_in_a_line():
            summary, broken = map_region(
                args.cube,
                args.points,
                args.out,
                reading=reading,
                masking=masking,
                what=args.what,
                period=args.period,
                points_crs=args.points_crs,
                chunk_size=args.chunk_size,
                geotiff=args.geotiff,
                random_state=args.random_state,
                overwrite=args.overwrite,
                workers=args.workers,
                scheduler=args.scheduler,
                wait=_Progress().wait,
            )
    except KeyboardInterrupt:
        how = " without --overwrite" if args.overwrite else ""
        raise KeyboardInterrupt(f"the same command{how} goes on from here") from None
    _print_map(summary, broken)
    print(f"wrote {args.out}")
    if broken is None:
        return 0
    for block, reason in broken.blocks.items():
        print(f"sktasgen: block {block} could not be mapped: {reason}", file=sys.stderr)
    print(
        f"sktasgen: {len(broken.blocks)} of {broken.total} blocks are missing; the "
        "same command tries them again",
        file=sys.stderr,
    )
    return 1


@contextlib.contextmanager
def _warnings_in_a_line():
    """Show what concerns the user's data as errors are shown."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def tell(message, category, *where):
            if category is UserWarning:
                print(f"sktasgen: warning: {message}", file=sys.stderr)
            else:
                show(message, category, *where)

        warnings.showwarning = tell
        yield


def _print_map(summary, broken):
    print(
        f"{summary['points']} points, {len(summary['bands'])} bands, "
        f"{summary['dates']} dates from {summary['first_date']} to "
        f"{summary['last_date']}, {len(summary['classes'])} classes, "
        f"{summary['pixels']} pixels"
    )
    if "pixels_changed" in summary:
        share = summary["pixels_changed"] / summary["pixels"]
        print(f"{summary['pixels_changed']} pixels ({share:.1%}) change")
    if summary.get("pixels_without_label"):
        why = "never observed" if broken is None else "never observed, or missing"
        print(f"{summary['pixels_without_label']} pixels have no label: {why}")


def _demo(args):
    _require(report=True, parquet=False)
    with tables.staged(args.out, _OUTPUTS) as folder:
        series, truth, label_time, detector, about = _demo_data(args.random_state)
        print(about)
        rows = np.arange(len(truth))
        y = truth[rows, label_time]
        result, period = _compute(
            series,
            rows,
            y,
            label_time,
            detector,
            explain=True,
            random_state=args.random_state,
        )

        from .metrics import dated_label_report
        from .report import render_report

        static = np.broadcast_to(y[:, np.newaxis], truth.shape)
        accuracy = {
            name: dated_label_report(truth, labels, y, mask=series.covered)
            for name, labels in (
                ("static label", static),
                ("dynamic labels", result.labels),
            )
        }
        summary = _summary(result, period, args.random_state)
        summary["accuracy"] = {name: dict(report) for name, report in accuracy.items()}
        _write(folder, result, summary, "csv")
        text = render_report(
            result,
            summary,
            title="Dynamic labels from static ones",
            about=about,
            accuracy=accuracy,
            truth=truth,
        )
        (folder / "report.html").write_text(text, encoding="utf-8")
        written = _names(folder, args.out)
    _print_summary(summary)
    _print_accuracy(accuracy)
    print(f"wrote {written}")


def _demo_data(random_state):
    """Series, true labels, label_time, an unfitted detector, and a word on them."""
    from . import datasets
    from .detector import HTSVAEDetector

    try:
        lakes = datasets.fetch_dynamic_world_lakes(align=True)
    except (OSError, ImportError) as error:
        print(_reason(error))
        data = datasets.make_pixel_series(300, random_state=random_state)
        series = _series_table(data, data.dates, np.ones(data.Y.shape, dtype=bool))
        about = (
            "The Dynamic World lakes set was neither found nor fetched. Instead: "
            f"{len(data.X)} simulated series of {len(data.dates)} dates, with one "
            "label each and known truth."
        )
        detector = HTSVAEDetector(dates=data.dates, random_state=random_state)
        truth = np.array(data.class_names)[data.Y]
        return series, truth, data.label_time, detector, about

    # The set has months but no years, so the dates are there to be read only: to
    # the detector a step is a twelfth of a year.
    first = np.datetime64("2001-01") + int(lakes.month_axis[0])
    dates = (first + np.arange(len(lakes.month_axis))).astype("datetime64[D]")
    series = _series_table(lakes, dates, lakes.Y >= 0)
    about = (
        f"Dynamic World lakes: {len(lakes.X)} real series of 12 months of "
        "Sentinel-1, Sentinel-2 and weather, labelled with the class of their sixth "
        "month alone. The truth is the Dynamic World class of every month, itself a "
        "map product. The set gives no years: the dates are months on an invented "
        "axis that starts in 2001."
    )
    detector = HTSVAEDetector(period=lakes.period, random_state=random_state)
    truth = np.array(lakes.class_names)[lakes.Y]
    return series, truth, lakes.offset + 5, detector, about


def _series_table(data, dates, covered):
    width = len(str(len(data.X) - 1))
    samples = np.array([f"{i:0{width}}" for i in range(len(data.X))])
    return tables.SeriesTable(samples, dates, data.band_names, data.X, covered, False)


# What both do


def _require(*, report, parquet):
    """Miss what is not installed before the work, not after it."""
    import_optional("pandas", extra="io", purpose="Reading and writing tables")
    if parquet:
        import_optional("pyarrow", extra="io", purpose="Writing Parquet")
    if report:
        import_optional("jinja2", extra="io", purpose="The HTML report")
        import_optional("matplotlib", extra="plot", purpose="The HTML report")


def _compute(series, rows, y, label_time, detector, *, explain, random_state):
    """Relabel all series from the labels of some, and explain the changes."""
    from .metrics import change_dates
    from .relabeler import StableSampleRelabeler

    n = len(series.samples)
    given = np.full(n, None, dtype=object)
    given[rows] = y
    label_times = np.full(n, -1)
    label_times[rows] = label_time
    progress = _Progress()
    relabeler = StableSampleRelabeler(detector, random_state=random_state)
    with progress.wait("learning"):
        relabeler.fit(series.X[rows], y, label_time=label_time)
    labels, probability = _timelines(relabeler, series.X, given, label_times, progress)
    found = change_dates(labels)
    inside = series.covered[found.sample, found.date - 1]
    inside &= series.covered[found.sample, found.date]
    changes = np.stack([found.sample[inside], found.date[inside]], axis=1)
    # What is explained is how a sample left its given label or, without one, the
    # label of its first date.
    times = np.where(label_times >= 0, label_times, series.covered.argmax(axis=1))
    reference = labels[np.arange(n), times]
    attribution = {}
    evidence = [([], [])] * len(changes)
    stands_out = np.zeros(len(changes), dtype=bool)
    if explain and len(changes):
        from .explainer import GibbsExplainer

        explainer = GibbsExplainer(
            FrozenEstimator(relabeler.detector_), random_state=random_state
        )
        explainer.fit(series.X[rows], y, label_time=label_time)
        attribution = _explanations(
            explainer, series.X, reference, times, labels, changes, progress
        )
        # Above its prior a cell's probability is what the data speak for.
        prior = np.mean(explainer.flag_rate)
        evidence, stands_out = _evidence(
            attribution, series.X, labels, reference, changes, prior
        )
    result = tables.Relabelling(
        series,
        given,
        label_times,
        labels,
        probability,
        changes,
        evidence,
        attribution,
        stands_out,
    )
    return result, relabeler.detector_.period_


def _timelines(relabeler, X, given, times, progress):
    """Label and its probability at every date, held to the label where there is one."""
    labels = np.empty((len(X), X.shape[2]), dtype=relabeler.classes_.dtype)
    probability = np.empty(labels.shape)
    with progress.stage("relabelling", len(X)) as advance:
        for rows in _chunks(times >= 0):
            if times[rows[0]] >= 0:
                y = given[rows].astype(relabeler.classes_.dtype)
                labels[rows] = relabeler.relabel(X[rows], y, label_time=times[rows])
                proba = relabeler.predict_proba_timeline(
                    X[rows], y, label_time=times[rows]
                )
            else:
                labels[rows] = relabeler.predict_timeline(X[rows])
                proba = relabeler.predict_proba_timeline(X[rows])
            code = np.searchsorted(relabeler.classes_, labels[rows])
            probability[rows] = np.take_along_axis(
                proba, code[..., np.newaxis], axis=2
            )[..., 0]
            advance(len(rows))
    return labels, probability


def _explanations(explainer, X, reference, times, labels, changes, progress):
    """Probability that each cell is anomalous, of the changed samples.

    Normal is what is normal for the reference label, at `times`.
    """
    changed = np.unique(changes[:, 0])
    attribution = {}
    with progress.stage("explaining", len(changed)) as advance:
        for start in range(0, len(changed), _EXPLAIN_CHUNK):
            rows = changed[start : start + _EXPLAIN_CHUNK]
            cells = explainer.explain(
                X[rows],
                reference[rows],
                label_time=times[rows],
                changed=labels[rows] != reference[rows, np.newaxis],
            )
            attribution.update(zip(rows.tolist(), cells, strict=True))
            advance(len(rows))
    return attribution


def _evidence(attribution, X, labels, reference, changes, prior):
    """Bands and dates that explain each change, strongest first.

    They are sought from the change to the next one (or the end), or, where the
    change leads back to the reference label, from the one before (or the start),
    among the cells above the prior. Where there is none, the strongest few have to
    do. A band that is the same at all dates, such as elevation, explains no change.

    Returns
    -------
    evidence : list of (list of int, list of int)
        Bands and dates of each change.
    stands_out : ndarray of shape (n_changes,) of bool
        Whether a cell is above the prior.
    """
    evidence = []
    stands_out = np.zeros(len(changes), dtype=bool)
    for i, (sample, time) in enumerate(changes):
        steps = np.flatnonzero(labels[sample, 1:] != labels[sample, :-1]) + 1
        if labels[sample, time] == reference[sample]:
            start, stop = steps[steps < time].max(initial=0), time
        else:
            start, stop = time, steps[steps > time].min(initial=labels.shape[1])
        cells = attribution[sample][:, start:stop]
        observed = ~np.isnan(X[sample])
        low = X[sample].min(axis=1, initial=np.inf, where=observed)
        high = X[sample].max(axis=1, initial=-np.inf, where=observed)
        telling = ~np.isnan(cells) & (high > low)[:, np.newaxis]
        above = telling & (cells > prior)
        stands_out[i] = above.any()
        if not above.any():
            few = _strongest(np.where(telling, cells, -np.inf).ravel())
            above.ravel()[few] = True
        weights = np.where(above, cells, 0)
        bands = np.where(above.any(axis=1), weights.sum(axis=1), -np.inf)
        dates = np.where(above.any(axis=0), weights.sum(axis=0), -np.inf)
        evidence.append(
            (_strongest(bands), [int(start) + t for t in _strongest(dates)])
        )
    return evidence, stands_out


def _strongest(weights):
    """Indices of the largest weights; one of -inf never counts."""
    order = np.argsort(-weights, kind="stable")[:_TOP]
    return [int(i) for i in order if weights[i] > -np.inf]


def _chunks(labelled):
    """Indices a few at a time, labelled and unlabelled ones apart."""
    for rows in (np.flatnonzero(labelled), np.flatnonzero(~labelled)):
        for start in range(0, len(rows), _CHUNK):
            yield rows[start : start + _CHUNK]


class _Progress:
    """A bar on stderr for each stage; none where that is not a terminal."""

    def __init__(self):
        self._tqdm = import_optional(
            "tqdm", extra="io", purpose="The progress bar"
        ).tqdm

    @contextlib.contextmanager
    def stage(self, name, total):
        """Count samples: yields the function that takes how many more are done."""
        options = {"disable": None, "leave": False, "file": sys.stderr}
        with self._tqdm(desc=name, total=total, unit="sample", **options) as bar:
            yield bar.update

    @contextlib.contextmanager
    def wait(self, name):
        """Count seconds, where nobody knows how many there will be."""
        options = {"disable": None, "leave": False, "file": sys.stderr}
        done = threading.Event()
        with self._tqdm(desc=name, bar_format="{desc}: {elapsed}", **options) as bar:

            def tick():
                while not done.wait(1):
                    bar.refresh()

            clock = threading.Thread(target=tick, daemon=True)
            clock.start()
            try:
                yield
            finally:
                done.set()
                clock.join()


def _summary(result, period, random_state):
    return {
        **tables.summary_of(result),
        "period": period,
        "random_state": random_state,
        "sktasgen": __version__,
    }


def _write(folder, result, summary, kind):
    tables.write_table(
        tables.dynamic_labels_table(result), folder / f"dynamic_labels.{kind}"
    )
    tables.write_table(tables.changes_table(result), folder / f"changes.{kind}")
    text = json.dumps(summary, indent=2, ensure_ascii=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")


def _names(folder, out):
    return ", ".join(f"{out}/{file.name}" for file in sorted(folder.iterdir()))


def _print_summary(summary):
    grid = ", composited" if summary["composited"] else ""
    print(
        f"{summary['samples']} samples, {len(summary['bands'])} bands, "
        f"{summary['dates']} dates from {summary['first_date']} to "
        f"{summary['last_date']} (median step {summary['step_days']:g} days{grid}), "
        f"{len(summary['classes'])} classes"
    )
    if summary["samples_unlabelled"]:
        print(
            f"{summary['samples_unlabelled']} samples came without a label: theirs "
            "are predicted, held to none"
        )
    print(
        f"{summary['samples_changed']} samples "
        f"({summary['share_of_samples_changed']:.1%}) change, "
        f"{summary['changes']} times in all"
    )
    if summary["changes_explained"] is not None:
        print(tables.tell_explained(summary))


def _print_accuracy(accuracy):
    print()
    heads = f"{'accuracy':>10}{'kappa':>10}{'macro F1':>10}{'on changed dates':>18}"
    print(f"{'':16}{heads}")
    for name, report in accuracy.items():
        print(
            f"{name:16}{report.accuracy:10.3f}{report.kappa:10.3f}"
            f"{report.f1_macro:10.3f}{report.changed_date_accuracy:18.3f}"
        )
    print()


if __name__ == "__main__":
    sys.exit(main())
