"""Without these: a night's map is lost, spoilt or another than the one begun."""

import contextlib
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import rasterio
import xarray

from sktasgen.__main__ import main
from sktasgen.datasets import make_region
from sktasgen.detector import HTSVAEDetector
from sktasgen.maps import command, open_maps
from sktasgen.relabeler import StableSampleRelabeler

# Estimators that are real but briefly trained, here and in other processes.
BRIEF = {
    HTSVAEDetector: {"max_iter": 60, "hidden_size": 8},
    StableSampleRelabeler: {"label_span": "date", "switch_cost": 2.0},
}
_SCRIPT = """
    import sys
    from sktasgen.__main__ import main
    from sktasgen.detector import HTSVAEDetector
    from sktasgen.relabeler import StableSampleRelabeler

    if __name__ == "__main__":
        HTSVAEDetector.__init__.__kwdefaults__.update({detector})
        StableSampleRelabeler.__init__.__kwdefaults__.update({relabeler})
        sys.exit(main(sys.argv[1:]))
"""


_CHANCE = random.Random(0)


@pytest.fixture(scope="module", autouse=True)
def brief():
    """Estimators are trained briefly, and once on the same series."""
    learn, learnt = command._learn, {}

    def learn_once(data, *args):
        key = joblib.hash([data.X.values, data.y, data.label_time])
        if key not in learnt:
            learnt[key] = learn(data, *args)
        return learnt[key]

    with pytest.MonkeyPatch.context() as patch:
        for estimator, options in BRIEF.items():
            for name, value in options.items():
                patch.setitem(estimator.__init__.__kwdefaults__, name, value)
        patch.setattr(command, "_learn", learn_once)
        yield


@pytest.fixture(scope="module")
def region():
    return make_region(
        (24, 32), n_fields=12, n_points=60, n_years=3, period=12, random_state=0
    )


def to_zarr(cube, path, side=12):
    chunks = (cube.shape[0], cube.shape[1], side, side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names of bands in format 3
        cube.to_dataset(name="reflectance").to_zarr(
            path, encoding={"reflectance": {"chunks": chunks}}
        )


@pytest.fixture(scope="module")
def inputs(region, tmp_path_factory):
    """A cube of 2 x 3 blocks, and its points in another CRS."""
    folder = tmp_path_factory.mktemp("inputs")
    to_zarr(region.cube, folder / "cube.zarr")
    region.points.to_crs("EPSG:4326").to_file(folder / "points.geojson")
    (folder / "brief.py").write_text(
        textwrap.dedent(_SCRIPT).format(
            detector=BRIEF[HTSVAEDetector], relabeler=BRIEF[StableSampleRelabeler]
        )
    )
    return folder


def arguments(inputs, out, *options, cube="cube.zarr", points="points.geojson"):
    return [
        "map",
        str(inputs / cube),
        "--points",
        str(inputs / points),
        "--out",
        str(out),
        *map(str, options),
    ]


def run(inputs, out, *options, **files):
    return main(arguments(inputs, out, *options, **files))


def start(inputs, out, *options):
    """The same in a process, and a group, of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "default", "-W", "ignore::ResourceWarning"]
        + [str(inputs / "brief.py"), *arguments(inputs, out, *options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def files(folder):
    """Hash of every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """What one run leaves that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "new" / "out"
    assert run(inputs, out) == 0
    return out


@pytest.fixture
def learnt(whole, tmp_path):
    """What a run leaves that was killed when it had learnt."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("arguments.json", "model.joblib"):
        shutil.copy(whole / name, out)
    return out


# What is written


def test_from_points_to_maps(region, whole):
    assert sorted(path.name for path in whole.iterdir()) == [
        "arguments.json",
        "geotiff",
        "maps.zarr",
        "model.joblib",
        "summary.json",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = xarray.open_zarr(whole / "maps.zarr", decode_coords="all").load()
    assert set(maps) == {"labels", "probability", "change_date"}
    assert maps.rio.crs == region.cube.rio.crs
    for dim in ("time", "y", "x"):
        np.testing.assert_array_equal(maps[dim], region.cube[dim])
    assert (maps["labels"] == region.labels).mean() > 0.9

    days = np.datetime_as_string(maps["time"].values, "D")
    names = [f"labels_{day.replace('-', '')}.tif" for day in days]
    images = dict(zip(names, maps["labels"].values, strict=True))
    changed = maps["change_date"]
    images["change_date.tif"] = (
        changed.dt.strftime("%Y%m%d").where(changed.notnull(), "0").astype(int).values
    )
    found = {path.name for path in (whole / "geotiff").glob("*.tif")}
    assert found == set(images)
    for name, image in images.items():
        with rasterio.open(whole / "geotiff" / name) as file:
            np.testing.assert_array_equal(file.read(1), image)
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.crs == region.cube.rio.crs
            assert file.transform == region.cube.rio.transform()
            if name in names:
                assert file.nodata == 255
                assert len(set(file.colormap(1)[code] for code in range(3))) == 3

    summary = json.loads((whole / "summary.json").read_text())
    assert summary["pixels_changed"] == changed.notnull().sum()
    for when, which in (("first_date", 0), ("last_date", -1)):
        assert summary[when] == days[which]
        counts = np.bincount(maps["labels"].values[which].ravel(), minlength=256)
        assert list(summary["pixels_by_class"][when].values()) == counts[:3].tolist()
        assert summary["pixels_without_label"] == counts[255]
    assert summary["points"] == len(region.points)
    assert summary["classes"] == region.class_names
    assert summary["bands"] == region.cube["band"].values.tolist()
    assert (summary["pixels"], summary["dates"]) == (24 * 32, 36)


@pytest.mark.parametrize(
    ("crs", "columns", "options"),
    [
        ("EPSG:4326", ["lon", "lat"], []),
        ("EPSG:3035", ["x", "y"], ["--points-crs", "EPSG:3035"]),
    ],
)
def test_points_in_a_table_give_the_same(
    region, inputs, whole, tmp_path, crs, columns, options
):
    points = region.points.to_crs(crs)
    table = points[["label", "date"]].assign(
        **{columns[0]: points.geometry.x, columns[1]: points.geometry.y}
    )
    table.to_csv(tmp_path / "points.csv", index=False)
    out = tmp_path / "out"
    assert run(inputs, out, *options, points=tmp_path / "points.csv") == 0
    expected, found = files(whole), files(out)
    for name in ("arguments.json", "summary.json"):  # tell of the points' file
        assert expected.pop(name) != found.pop(name)
    assert found == expected


@pytest.mark.parametrize(
    ("what", "geotiffs"),
    [("change_score", None), ("change_date", ["change_date.tif"])],
)
def test_one_product_alone(inputs, whole, tmp_path, what, geotiffs):
    assert run(inputs, tmp_path / "out", "--what", what, "--chunk-size", 7) == 0
    maps = open_maps(tmp_path / "out" / "maps.zarr")
    assert list(maps) == [what]
    assert maps[what].chunks[-1] == (7, 7, 7, 7, 4)
    if what == "change_date":
        xarray.testing.assert_equal(maps, open_maps(whole / "maps.zarr")[[what]])
    folder = tmp_path / "out" / "geotiff"
    found = [path.name for path in folder.iterdir()] if folder.exists() else None
    assert found == geotiffs
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (
        summary["last_date"]
        == str(open_maps(whole / "maps.zarr")["time"].values[-1])[:10]
    )


def test_it_tells_how_long_it_takes_and_floods_no_log(
    region, inputs, learnt, tmp_path, monkeypatch, capsys
):
    outside = region.points.copy()
    outside.loc[:2, "geometry"] = outside.geometry[:3].translate(10_000)
    outside.to_file(tmp_path / "points.geojson")
    options = ["--no-geotiff", "--what", "labels"]
    points = tmp_path / "points.geojson"
    assert run(inputs, tmp_path / "log", *options, points=points) == 0
    printed, errors = capsys.readouterr()
    assert "57 points, 6 bands, 36 dates" in printed
    warning = r"sktasgen: warning: .*: 3 of 60 points lie outside .* left out\.\n"
    assert re.search(f"^{warning}", errors)
    assert "Warning" not in errors
    assert 1 <= errors.count("mapping:") <= 2
    assert not (tmp_path / "log" / "geotiff").exists()

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert run(inputs, learnt) == 0
    assert re.search(r"mapping: .*pixel.*\[\d\d:\d\d<\d\d:\d\d", sys.stderr.getvalue())


# Going on


def n_files(folder, pattern):
    return sum(1 for _ in Path(folder).rglob(pattern))


def kill_when(process, ready):
    """SIGKILL to all its processes, a moment after it has come to a place."""
    while process.poll() is None and not ready():
        time.sleep(0.001)
    time.sleep(_CHANCE.uniform(0, 0.02))
    os.killpg(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
def test_killed_again_and_again_the_files_are_the_same(inputs, whole, learnt):
    written, total = learnt / "maps.zarr" / "blocks" / "written" / "c", 6
    n_blocks = _CHANCE.randrange(total - 2)
    kill_when(start(inputs, learnt), lambda: n_files(written, "?") > n_blocks)
    assert not (learnt / "summary.json").exists()
    n_tiffs = _CHANCE.randrange(3, 30)
    kill_when(
        start(inputs, learnt),
        lambda: n_files(learnt / "geotiff", "labels_????????.tif") > n_tiffs,
    )
    assert not (learnt / "summary.json").exists()
    assert run(inputs, learnt) == 0
    assert files(learnt) == files(whole)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
def test_killed_while_it_learns(inputs, whole, tmp_path):
    out = tmp_path / "out"
    kill_when(start(inputs, out), out.exists)
    (out / ".sktasgen-model.joblib").write_text("half")  # as if killed a bit later
    (out / "arguments.json").write_bytes((whole / "arguments.json").read_bytes())
    process = start(inputs, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert files(out) == files(whole)
    # As in an ordinary run: a bar and nothing else.
    rest = re.sub("\r?mapping: .*pixel/s\\]\n?", "", errors)
    assert without_third_parties(rest) == ""


def without_third_parties(errors):
    """Standard error without warnings that arise in the code of others."""
    return re.sub(r".*/site-packages/.*Warning: .*\n(  .*\n)?", "", errors).strip()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
def test_workers_that_are_killed_and_interrupted(inputs, whole, learnt):
    written = learnt / "maps.zarr" / "blocks" / "written" / "c"
    process = start(inputs, learnt, "--workers", 2)
    kill_when(process, lambda: n_files(written, "?") > 1)
    # As Ctrl-C does: to the workers, too.
    process = start(inputs, learnt, "--workers", 2)
    n_before = n_files(written, "?")
    while process.poll() is None and n_files(written, "?") == n_before:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    if process.returncode == 0:  # it was faster
        assert files(learnt) == files(whole)
    else:
        assert process.returncode == 130, errors
        told = "sktasgen: interrupted, the same command goes on from here\n"
        assert errors.endswith(told)
        errors = errors.removesuffix(told)
    rest = re.sub("\r?mapping: .*pixel/s\\]\n?", "", errors)
    assert without_third_parties(rest) == ""
    if process.returncode:
        assert run(inputs, learnt) == 0
        assert files(learnt) == files(whole)


def test_a_scheduler_whose_workers_are_at_home_elsewhere(
    inputs, whole, learnt, tmp_path, monkeypatch
):
    distributed = pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        monkeypatch.chdir(learnt)
        here = Path(os.path.relpath(inputs, learnt))
        assert run(here, ".", "--scheduler", cluster.scheduler_address) == 0
    assert files(learnt) == files(whole)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interruption_is_one_line(
    inputs, whole, learnt, monkeypatch, capsys, name, overwrite
):
    from sktasgen.maps import stores

    def interrupt(*args):
        signal.raise_signal(getattr(signal, name))

    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(stores._Job, "_write", interrupt)
            options = ["--overwrite"] if overwrite else []
            assert run(inputs, learnt, *options) == 130
    finally:
        signal.signal(signal.SIGINT, inherited)
    how = " without --overwrite" if overwrite else ""
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"sktasgen: interrupted, the same command{how} goes on from here"
    assert run(inputs, learnt) == 0
    assert files(learnt) == files(whole)


def fill_at(patch, where):
    """Let the disk be full at some place; half of a file is there by then."""
    from zarr.storage import _local

    from sktasgen.maps import geotiffs

    def full(path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    if where == "model":
        patch.setattr(command.joblib, "dump", lambda model, path: full(path))
    elif where == "geotiff":
        patch.setattr(
            geotiffs, "_optimise", lambda work, name, _: full(Path(work) / name)
        )
    else:
        put = _local._put

        def put_until_full(path, *args, **options):
            if str(path).endswith(where):
                raise OSError(28, "No space left on device", str(path))
            return put(path, *args, **options)

        patch.setattr(_local, "_put", put_until_full)


@pytest.mark.parametrize(
    "where", ["model", "blocks/written/zarr.json", "labels/c/0/1/1", "geotiff"]
)
def test_a_full_disk_loses_nothing(inputs, whole, tmp_path, capsys, where):
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        fill_at(patch, where)
        assert run(inputs, out) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch("sktasgen: error: .*No space left on device", last)
    assert not [path for path in out.rglob(".*")]
    assert run(inputs, out) == 0
    assert files(out) == files(whole)


def test_a_broken_chunk_is_named_and_mended(region, inputs, tmp_path, capsys):
    cube = tmp_path / "cube.zarr"
    shutil.copytree(inputs / "cube.zarr", cube)
    x, y = region.points.geometry.x.values, region.points.geometry.y.values
    edges = region.cube["x"].values[[12, 23]], region.cube["y"].values[[23, 12]]
    within = (x >= edges[0][0]) & (x <= edges[0][1])
    within &= (y >= edges[1][0]) & (y <= edges[1][1])
    assert within.any()
    region.points[~within].to_file(tmp_path / "points.geojson")
    assert run(tmp_path, tmp_path / "whole") == 0
    chunk = cube / "reflectance" / "c" / "0" / "0" / "1" / "1"
    content = chunk.read_bytes()
    chunk.write_bytes(content[: len(content) // 2])

    capsys.readouterr()
    out = tmp_path / "out"
    for _ in range(2):  # still broken
        assert run(tmp_path, out) == 1
        lines = capsys.readouterr().err.splitlines()
        assert re.fullmatch(
            r"sktasgen: block \(1, 1\) could not be mapped: \w+: .*", lines[-2]
        )
        assert lines[-1].startswith("sktasgen: 1 of 6 blocks are missing; the same")
        assert not (out / "summary.json").exists()
        hole = np.zeros((24, 32), dtype=bool)
        hole[12:24, 12:24] = True
        expected = open_maps(tmp_path / "whole" / "maps.zarr")["labels"].values
        expected = np.where(hole, 255, expected)
        found = open_maps(out / "maps.zarr")["labels"].values
        np.testing.assert_array_equal(found, expected)
        images = sorted((out / "geotiff").glob("labels_*.tif"))
        with rasterio.open(images[-1]) as file:
            np.testing.assert_array_equal(file.read(1), expected[-1])
        (out / "geotiff" / "mine.qgz").write_text("a project")

    chunk.write_bytes(content)
    assert run(tmp_path, out) == 0
    (out / "geotiff" / "mine.qgz").unlink()  # still there
    assert files(out) == files(tmp_path / "whole")

    # Where there are points nothing can be learnt without it.
    chunk.write_bytes(content[: len(content) // 2])
    capsys.readouterr()
    points = inputs / "points.geojson"
    assert run(tmp_path, tmp_path / "none", points=points) == 2
    errors = capsys.readouterr().err
    assert re.fullmatch(r"sktasgen: error: .*cube.zarr.* read.*\n", errors)
    assert not (tmp_path / "none").exists()


# What is refused


def refused(capsys, out, message, *command_line):
    """Exit status 2, one line, and nothing is touched."""
    before = files(out) if out.exists() else None
    assert main(list(command_line)) == 2
    printed, errors = capsys.readouterr()
    assert re.fullmatch(rf"sktasgen: error: .*{message}.*\n", errors)
    assert printed == ""
    assert (files(out) if out.exists() else None) == before


def test_outputs_are_replaced_only_on_demand(
    region, inputs, whole, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    same = arguments(inputs, out)
    refused(capsys, out, "this run is complete there", *same)
    refused(capsys, out, r"\(random_state\)", *same, "--random-state", "1")
    refused(capsys, out, r"\(chunk_size\)", *same, "--chunk-size", "8")
    refused(capsys, out, r"\(reading\)", *same, "--bands", "B2,B3")
    refused(capsys, out, r"\(masking\)", *same, "--nodata", "nan")
    region.points[:50].to_file(tmp_path / "points.geojson")
    other = arguments(inputs, out, points=tmp_path / "points.geojson")
    refused(capsys, out, r"\(points\)", *other)
    # The same cube by another name is the same.
    monkeypatch.chdir(inputs.parent)
    by_other_name = arguments(Path(inputs.name), out)
    refused(capsys, out, "this run is complete there", *by_other_name)

    # Nor on demand before it is clear that something can take their place.
    refused(capsys, out, "no such file", *arguments(inputs, out, points="none.csv"))
    (tmp_path / "bad.csv").write_text("lon,lat,label\n15,45,crop\n")
    bad = arguments(inputs, out, "--overwrite", points=tmp_path / "bad.csv")
    refused(capsys, out, "date", *bad)
    bad = arguments(inputs, out, "--overwrite", cube="none.zarr")
    refused(capsys, out, "none.zarr does not exist", *bad)

    (out / "notes.txt").write_text("mine")
    (out / "geotiff" / "mine.qgz").write_text("a project")
    assert main([*other, "--overwrite", "--no-geotiff"]) == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert [path.name for path in (out / "geotiff").iterdir()] == ["mine.qgz"]
    assert main([*same, "--overwrite"]) == 0
    (out / "notes.txt").unlink()
    (out / "geotiff" / "mine.qgz").unlink()
    assert files(out) == files(whole)


def test_what_was_half_removed_is_not_gone_on_with(
    inputs, whole, tmp_path, monkeypatch, capsys
):
    # It has the arguments, the model and perhaps the marks of all its blocks.
    out = tmp_path / "out"
    shutil.copytree(whole, out)

    def die(path):
        (out / "maps.zarr" / "labels" / "c" / "0" / "1" / "1").unlink()
        raise OSError(5, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(command.shutil, "rmtree", die)
        assert run(inputs, out, "--overwrite") == 2
    capsys.readouterr()
    refused(capsys, out, "of a run with other arguments", *arguments(inputs, out))
    assert run(inputs, out, "--overwrite") == 0
    assert files(out) == files(whole)


def test_what_is_no_output_of_ours_is_never_touched(inputs, tmp_path, capsys):
    out = tmp_path / "out"
    for name in ("maps.zarr", "geotiff"):
        (out / name).mkdir(parents=True)
        (out / name / "thesis.txt").write_text("years of work")
        for option in ([], ["--overwrite"]):
            message = rf"has \['{name}'\] of something else than a run"
            refused(capsys, out, message, *arguments(inputs, out, *option))
        shutil.rmtree(out)
    out.mkdir()
    for content in ("[]", "{}", '{"cube": 1}', "nonsense"):
        (out / "arguments.json").write_text(content)
        message = r"has \['arguments.json'\] of something else"
        refused(capsys, out, message, *arguments(inputs, out, "--overwrite"))
    (out / "arguments.json").unlink()
    (out / "file").write_text("mine")
    message = "file: File exists"
    refused(capsys, out, message, *arguments(inputs, out / "file"))
    message = "Not a directory"
    refused(capsys, out, message, *arguments(inputs, out / "file" / "below"))


def test_inputs_among_the_outputs(inputs, whole, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    cube = out / "maps.zarr"
    for option in ([], ["--overwrite"]):
        command_line = arguments(inputs, out, *option, cube=cube)
        refused(capsys, out, "maps.zarr: lies in .* for outputs", *command_line)
    points = out / "summary.json"
    refused(capsys, out, "lies in", *arguments(inputs, out, points=points))


def test_a_damaged_model(inputs, learnt, capsys):
    (learnt / "model.joblib").write_bytes(b"half of it")
    message = r"model.joblib: cannot be read.*--overwrite"
    refused(capsys, learnt, message, *arguments(inputs, learnt))


def test_two_runs_at_once(inputs, whole, learnt, capsys):
    pytest.importorskip("fcntl")  # not on Windows
    with command._locked(learnt):
        refused(capsys, learnt, "another run writes", *arguments(inputs, learnt))
    assert run(inputs, learnt) == 0
    assert files(learnt) == files(whole)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="the superuser may write anywhere",
)
def test_a_folder_that_must_not_be_written_to(inputs, tmp_path, capsys):
    tmp_path.chmod(0o500)
    refused(capsys, tmp_path, "Permission denied", *arguments(inputs, tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers: '0' is not a positive whole number"),
        (["--workers", "2", "--scheduler", "tcp://h:1"], "not allowed with argument"),
        (["--what", "labels,height"], r"\['height'\].* wanted some of labels"),
        (["--what", ""], r"--what: '' has"),
        (["--what", "labels,labels"], "labels.*more than once"),
        (["--bbox", "1,2,3"], "'1,2,3' is not west,south,east,north"),
        (["--bbox=1,2,3,4"], "bbox is given, but source is a Zarr store"),
        (["--pattern", "x"], "pattern is given, but source is a Zarr store"),
        (["--crs", "EPSG:4326"], "crs is given, but source is a Zarr store"),
        (["--bands", "B2,B99"], r"lacks the bands \['B99'\]"),
        (["--bands", "B2,,B3"], "has an empty name"),
        (["--quality", "SCL"], "no band 'SCL'"),
        (["--quality-kind", "SCL"], "no band of that kind"),
        (["--chunk-size", "0"], "--chunk-size: '0' is not a positive"),
        (["--scale", "nan"], "--scale: 'nan' is not a number"),
        (["--points-crs", "EPSG:4"], "EPSG:4"),
        (["--scheduler", "nowhere"], "nowhere"),
        (["--period", "0"], "not a whole number from 1 to 366"),
    ],
)
def test_bad_options(inputs, tmp_path, capsys, options, message):
    out = tmp_path / "out"
    refused(capsys, out, message, *arguments(inputs, out, *options))


def bad_cubes(cube):
    """What may be wrong with a cube, and what is then said."""
    whole_numbers = np.arange(cube.sizes["time"])
    twice = cube["time"].values.copy()
    twice[1] = twice[0]
    return {
        "no CRS": (
            cube.drop_vars("spatial_ref").drop_encoding(),
            "no coordinate reference system",
        ),
        "no time": (cube.isel(time=0, drop=True), "time"),
        "numbers": (cube.assign_coords(time=whole_numbers), "dtype int64; .*datetime"),
        "twice": (cube.assign_coords(time=twice), "more than once"),
        "text": (cube.astype("U4"), "dtype .*expected numbers"),
        "no x": (cube.rename(x="east"), "without a variable over time, y and x"),
        "dark": (cube * np.nan, "points.*observ"),
    }


@pytest.mark.parametrize(
    "fault",
    ["no CRS", "no time", "numbers", "twice", "text", "no x", "dark"],
)
def test_bad_cubes(region, inputs, tmp_path, capsys, fault):
    cube, message = bad_cubes(region.cube)[fault]
    cube.attrs = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cube.to_dataset(name="reflectance").to_zarr(tmp_path / "bad.zarr")
    out = tmp_path / "out"
    command_line = arguments(inputs, out, cube=tmp_path / "bad.zarr")
    refused(capsys, out, message, *command_line)


GOOD = "lon,lat,label,date\n15.0,42.0,crop,2019-01-01\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "points.csv: no such file"),
        ("", "points.csv: not a readable csv table"),
        (GOOD.replace("label", "class"), "points.csv.*label"),
        (GOOD.replace("date", "day"), "points.csv.*date"),
        (GOOD.replace("lon", "east"), "points.csv.*lon"),
        (GOOD.replace("15.0", ""), "no coordinates in row.* 1"),
        (GOOD.replace("15.0", "16.0"), "none of the 1 points lies inside the cube"),
        (GOOD.replace("2019", "2029"), "date.* outside the dates of the cube"),
        (GOOD.replace("2019-01-01", "some day"), "unreadable date.*row 1"),
        (GOOD.replace("crop", ""), "no label in row.* 1"),
        (GOOD, "points.csv: .*one class 'crop'"),
    ],
)
def test_bad_points(region, inputs, tmp_path, capsys, text, message):
    if text is not None:
        centre = region.points.to_crs("EPSG:4326").geometry[0]
        text = text.replace("15.0", str(centre.x)).replace("42.0", str(centre.y))
        (tmp_path / "points.csv").write_text(text)
    out = tmp_path / "out"
    command_line = arguments(inputs, out, points=tmp_path / "points.csv")
    refused(capsys, out, message, *command_line)


def test_a_shapefile_is_more_than_one_file(tmp_path, region):
    before = None
    for label in ("crop", "water"):
        region.points[["geometry"]].assign(label=label).to_file(tmp_path / "points.shp")
        after = command._digest(tmp_path / "points.shp")
        assert after != before
        before = after


def test_a_run_with_a_region_of_a_catalogue_is_known_again(tmp_path):
    # What is a tuple in the command line is a list in the file.
    wanted = {"reading": {"bbox": (1.0, 2.0, 3.0, 4.0)}, "masking": {"nodata": np.nan}}
    wanted["sktasgen"] = "0"
    command._write_json(tmp_path / "arguments.json", wanted)
    command._check_out(tmp_path, wanted, overwrite=False)
    wanted["reading"]["bbox"] = (1.0, 2.0, 3.0, 5.0)
    with pytest.raises(FileExistsError, match=r"\(reading\)"):
        command._check_out(tmp_path, wanted, overwrite=False)


def test_help(capsys):
    with pytest.raises(SystemExit), contextlib.suppress(KeyError):
        main(["map", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for option in ("--workers", "--scheduler", "--overwrite", "--points"):
        assert option in text
    assert "None" not in text
