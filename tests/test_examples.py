"""Without these: the first thing a newcomer copies does not run."""

import runpy
from pathlib import Path

import matplotlib
import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("plot_*.py"))


@pytest.fixture(autouse=True)
def no_window():
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, request, capsys):
    if "lakes" in path.stem:
        request.getfixturevalue("data_home")
    runpy.run_path(str(path))
    assert capsys.readouterr().out
