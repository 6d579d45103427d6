"""Without these: maps that an interruption spoils, or that workers make differently."""

import hashlib
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import xarray
import zarr
from sklearn.naive_bayes import GaussianNB

from sktasgen import HTSVAEDetector, StableSampleRelabeler
from sktasgen.datasets import make_region
from sktasgen.maps import (
    BrokenBlocksError,
    open_maps,
    predict_cube,
    sample_cube,
    write_maps,
)
from sktasgen.maps.stores import _hash

EVERYTHING = ["labels", "probability", "change_date", "change_score"]


@pytest.fixture(scope="module")
def region():
    return make_region((16, 20), n_fields=10, n_points=40, n_years=3, random_state=0)


@pytest.fixture(scope="module")
def relabeler(region):
    data = sample_cube(region.cube, region.points)
    detector = HTSVAEDetector(dates=data.dates, hidden_size=8, max_iter=30)
    relabeler = StableSampleRelabeler(
        detector, GaussianNB(), GaussianNB(), random_state=0
    )
    return relabeler.fit(data.X, data.y, label_time=data.label_time)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    # Blocks are small here, and what they lack of a batch would only take time.
    monkeypatch.setattr("sktasgen.maps.prediction._BATCH_SIZE", 64)


@pytest.fixture
def cube(region):
    return region.cube.chunk(y=7, x=9)


def files(folder):
    """Hash of every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


class Broken:
    """An array that cannot be read in one place, as a damaged file."""

    def __init__(self, values, at):
        self.values, self.at = values, at
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, window):
        rows, columns = window[2:]
        if rows.start <= self.at[0] < rows.stop:
            if columns.start <= self.at[1] < columns.stop:
                raise OSError("chunk is damaged")
        return self.values[window]


def with_broken_pixel(cube, at):
    from dask.array import from_array

    blocks = from_array(Broken(cube.values, at), chunks=cube.chunks, asarray=False)
    return cube.copy(data=blocks)


def test_store_holds_what_predict_cube_gives(region, relabeler, cube, tmp_path):
    maps = write_maps(relabeler, cube, tmp_path / "maps.zarr", EVERYTHING)
    assert maps["labels"].chunks[1:] == ((7, 7, 2), (9, 9, 2))
    expected = predict_cube(relabeler, region.cube, EVERYTHING)
    xarray.testing.assert_identical(maps.compute(), expected)
    assert maps.rio.crs == region.cube.rio.crs
    # As anybody would open it who does not know how it was written.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = xarray.open_zarr(tmp_path / "maps.zarr")
    assert set(plain.data_vars) == set(EVERYTHING)
    assert plain["labels"].dtype == np.uint8


def test_a_written_store_is_left_alone(relabeler, cube, tmp_path, monkeypatch):
    store = tmp_path / "maps.zarr"
    write_maps(relabeler, cube, store)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    # The same estimator, read back from where it was kept.
    joblib.dump(relabeler, tmp_path / "model")
    write_maps(joblib.load(tmp_path / "model"), cube, store)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_an_estimator_is_known_again_in_another_process(region, tmp_path):
    # Else no run with the default classifiers, which are trees, can be gone on with.
    data = sample_cube(region.cube, region.points)
    relabeler = StableSampleRelabeler("drop", dates=data.dates, random_state=0)
    relabeler.fit(data.X, data.y, label_time=data.label_time)
    joblib.dump(relabeler, tmp_path / "model")
    script = (
        "import joblib, sys; from sktasgen.maps.stores import _hash; "
        "print(_hash(joblib.load(sys.argv[1])))"
    )
    command = [sys.executable, "-c", script, tmp_path / "model"]
    found = [subprocess.check_output(command, text=True).strip() for _ in range(2)]
    assert found == [_hash(relabeler)] * 2
    relabeler.date_classifier_.estimators_[0].tree_.value[-1] += 1
    assert _hash(relabeler) != found[0]


def test_a_store_that_was_being_replaced_is_no_whole_one(
    relabeler, cube, tmp_path, monkeypatch
):
    import shutil

    store = tmp_path / "maps.zarr"
    write_maps(relabeler, cube, store)
    expected = files(store)

    rmtree = shutil.rmtree

    def die(path, **options):
        if (Path(path) / "zarr.json").exists():
            (Path(path) / "zarr.json").unlink()
            raise RuntimeError("killed")
        return rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", die)
    with pytest.raises(RuntimeError, match="killed"):
        write_maps(relabeler, cube, store, overwrite=True)
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    write_maps(relabeler, cube, store)
    assert files(store) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["maps.zarr"]


def test_a_place_of_others_is_never_written_to(relabeler, cube, tmp_path):
    # Not even where what keeps it is no file system.
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/notes/thesis.txt", b"years of work")
    zarr.create_array(f"{tmp_path}/array", shape=(3,), dtype="i4")
    for store in ("memory://notes", tmp_path / "array"):
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match="holds no maps"):
                write_maps(relabeler, cube, store, overwrite=overwrite)
    assert memory.cat("/notes/thesis.txt") == b"years of work"
    maps = write_maps(relabeler, cube, "memory://free/maps.zarr")
    xarray.testing.assert_identical(maps, open_maps("memory://free/maps.zarr"))
    memory.rm("/notes", recursive=True)
    memory.rm("/free", recursive=True)
    write_maps(relabeler, cube, f"file://{tmp_path}/maps.zarr")
    assert (tmp_path / "maps.zarr").is_dir()
    with pytest.raises(TypeError, match="store is of type MemoryStore; expected a str"):
        write_maps(relabeler, cube, zarr.storage.MemoryStore())
    with pytest.raises(ValueError, match="holds no maps that write_maps wrote"):
        cube.to_dataset().to_zarr(tmp_path / "cube.zarr")
        open_maps(tmp_path / "cube.zarr")


def test_maps_of_another_zone_or_model_are_not_taken_for_these(
    region, relabeler, cube, tmp_path
):
    # Tiles of neighbouring zones share their coordinates, and often their dates.
    store = tmp_path / "maps.zarr"
    write_maps(relabeler, cube, store)
    with pytest.raises(FileExistsError, match="other crs"):
        write_maps(relabeler, cube.rio.write_crs("EPSG:32632"), store)
    zarr.open_array(f"{store}/blocks/written", mode="r+")[0, 1] = 0
    with pytest.warns(UserWarning, match="1 of 9 blocks are not written"):
        open_maps(store)


def test_a_cube_of_other_formats_and_coordinates_is_written(relabeler, cube, tmp_path):
    cube.to_dataset(name="r").to_zarr(tmp_path / "old.zarr", zarr_format=2)
    old = xarray.open_zarr(tmp_path / "old.zarr", decode_coords="all")["r"]
    old = old.assign_coords(
        platform=("time", np.array([{"name": "S2A"}] * old.sizes["time"]))
    )
    maps = write_maps(relabeler, old, tmp_path / "maps.zarr")
    assert maps.rio.crs == cube.rio.crs
    xarray.testing.assert_equal(
        maps.compute(), predict_cube(relabeler, cube, list(maps)).compute()
    )


def test_interrupted_at_any_write_a_second_run_ends_as_if_it_were_the_first(
    relabeler, cube, tmp_path, monkeypatch
):
    # Else a map has holes, half a chunk, or none of what an hour has made.
    from zarr.storage import _local

    class Killed(BaseException):
        """Passes every handler that waits for an Exception, as a kill would."""

    put = _local._put
    left = [np.inf]

    def put_or_die(path, value, **kwargs):
        left[0] -= 1
        if left[0] < 0:  # half of it lies there
            path.parent.mkdir(parents=True, exist_ok=True)
            half = value.as_buffer_like()[: len(value) // 2]
            path.with_suffix(".0123.partial").write_bytes(half)
            raise Killed
        return put(path, value, **kwargs)

    monkeypatch.setattr(_local, "_put", put_or_die)
    small = cube.isel(y=slice(0, 10), x=slice(0, 10))
    write_maps(relabeler, small, tmp_path / "whole.zarr")
    expected = files(tmp_path / "whole.zarr")

    n_writes = 0
    while True:
        store = tmp_path / f"{n_writes}.zarr"
        left[0] = n_writes
        try:
            write_maps(relabeler, small, store)
        except Killed:
            left[0] = np.inf
            write_maps(relabeler, small, store)
            assert files(store) == expected, f"died at write {n_writes}"
            n_writes += 1
            continue
        break
    assert n_writes >= len(expected)


def test_only_missing_blocks_are_mapped_again(relabeler, cube, tmp_path, monkeypatch):
    store = tmp_path / "maps.zarr"
    write_maps(relabeler, cube, store)
    expected = files(store)
    zarr.open_array(f"{store}/blocks/written", mode="r+")[1, 2] = 0
    seen = []
    count = StableSampleRelabeler._free_evidence

    def free_evidence(self, X, dates):
        seen.append(len(X))
        return count(self, X, dates)

    monkeypatch.setattr(StableSampleRelabeler, "_free_evidence", free_evidence)
    write_maps(relabeler, cube, store)
    assert seen == [64, 64]  # a pixel to try, and the block
    assert files(store) == expected


@pytest.mark.parametrize("on_cluster", [False, True])
def test_a_broken_block_is_named_and_the_others_are_written(
    region, relabeler, cube, tmp_path, on_cluster
):
    store = tmp_path / "maps.zarr"
    broken = with_broken_pixel(cube, (8, 10))
    client = None
    if on_cluster:
        from distributed import Client

        client = Client(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
        )
    try:
        with pytest.raises(
            BrokenBlocksError, match=r"1 of 9 blocks .*\(1, 1\): OSError: chunk is dam"
        ) as caught:
            write_maps(relabeler, broken, store, client=client)
    finally:
        if client is not None:
            client.close()
    assert list(caught.value.blocks) == [(1, 1)]
    found = open_maps(store).compute()
    expected = predict_cube(relabeler, region.cube, list(found))
    hole = xarray.zeros_like(found["change_date"], dtype=bool)
    hole[7:14, 9:18] = True
    assert (found["labels"] == 255).where(hole).all()
    assert found.drop_vars("labels").where(hole).isnull().to_dataarray().all()
    xarray.testing.assert_identical(found.where(~hole), expected.where(~hole))
    # Mended, and run again: as if it had never been broken.
    write_maps(relabeler, cube, store)
    write_maps(relabeler, cube, tmp_path / "whole.zarr")
    assert files(store) == files(tmp_path / "whole.zarr")


def test_a_full_disk_ends_the_run_and_loses_nothing(
    relabeler, cube, tmp_path, monkeypatch
):
    from zarr.storage import _local

    store, put = tmp_path / "maps.zarr", _local._put

    def full(path, value, **kwargs):
        if path.parts[-2:] == ("1", "1"):
            raise OSError(28, "No space left on device", str(path))
        return put(path, value, **kwargs)

    monkeypatch.setattr(_local, "_put", full)
    with pytest.raises(OSError, match="No space left"):
        write_maps(relabeler, cube, store)
    monkeypatch.setattr(_local, "_put", put)
    write_maps(relabeler, cube, store)
    write_maps(relabeler, cube, tmp_path / "whole.zarr")
    assert files(store) == files(tmp_path / "whole.zarr")


def test_what_is_there_already_is_never_lost(relabeler, cube, tmp_path):
    store = tmp_path / "maps.zarr"
    write_maps(relabeler, cube, store, ["labels"])
    before = files(store)
    for arguments in ({"what": ["labels", "probability"]}, {"chunk_size": 8}):
        with pytest.raises(FileExistsError, match="of another cube, estimator or cho"):
            write_maps(relabeler, cube, store, **{"what": ["labels"], **arguments})
    with pytest.raises(FileExistsError, match="other inputs"):
        other = cube.assign_coords(x=cube["x"] + 1)
        write_maps(relabeler, other, store, ["labels"])
    assert files(store) == before
    write_maps(relabeler, cube, store, ["labels"], chunk_size=8, overwrite=True)
    assert files(store) != before

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("more of it")
    for name in ("notes", "file"):
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match="holds no maps"):
                write_maps(relabeler, cube, tmp_path / name, overwrite=overwrite)
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "years of work"


_CLUSTER = """
    import os, signal, sys, threading, time
    import joblib, numpy as np, xarray
    from distributed import Client, LocalCluster
    from sktasgen.maps import predict_cube, write_maps

    class Counted:
        '''Says in a file that a process has got it.'''
        def __init__(self, folder):
            self.folder = folder
        def __setstate__(self, state):
            vars(self).update(state)
            with open(f"{self.folder}/{os.getpid()}", "a") as file:
                file.write("got it\\n")

    def main(folder):
        relabeler = joblib.load(f"{folder}/model")
        cube = joblib.load(f"{folder}/cube")
        os.mkdir(f"{folder}/got")
        relabeler.counted = Counted(f"{folder}/got")
        with LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster, Client(cluster) as client:
            workers = {w: i["pid"] for w, i in client.run(
                lambda: {"pid": __import__("os").getpid()}).items()}
            maps = write_maps(relabeler, cube, f"{folder}/a.zarr", client=client)
            got = {int(n): len(open(f"{folder}/got/{n}").readlines())
                   for n in os.listdir(f"{folder}/got")}
            # One may have mapped all blocks before the other had the model.
            times = [got.get(pid, 0) for pid in workers.values()]
            print("got", max(times))
            lazy = predict_cube(relabeler, cube, list(maps)).compute()
            joblib.dump(lazy, f"{folder}/lazy")

            def kill():
                while not os.path.exists(f"{folder}/b.zarr/blocks/written/c/0"):
                    time.sleep(0.02)
                os.kill(next(iter(workers.values())), signal.SIGKILL)

            killer = threading.Thread(target=kill)
            killer.start()
            write_maps(relabeler, cube, f"{folder}/b.zarr", client=client)
            killer.join()
            print("done")

    if __name__ == "__main__":
        main(sys.argv[1])
"""


def test_two_processes_give_the_same_and_survive_the_loss_of_one(
    relabeler, cube, tmp_path
):
    # Else a cluster's map differs from the laptop's, or a lost worker costs a night.
    joblib.dump(relabeler, tmp_path / "model")
    joblib.dump(cube, tmp_path / "cube")
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_CLUSTER))
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["got", "1", "done"]
    assert files(tmp_path / "b.zarr") == files(tmp_path / "a.zarr")
    maps = open_maps(tmp_path / "a.zarr").compute()
    products = list(maps)
    threads = predict_cube(relabeler, cube, products).compute(scheduler="threads")
    xarray.testing.assert_identical(maps, threads)
    xarray.testing.assert_identical(maps, joblib.load(tmp_path / "lazy"))
    eager = predict_cube(relabeler, cube.compute(), products)
    xarray.testing.assert_identical(maps, eager)
