"""Figures that anyone can check: the entry point, and what is quoted from its files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as entry_point
from benchmarks.tables import mean_and_interval

ROOT = Path(__file__).parents[1]


def test_every_comparison_is_listed_with_one_line():
    """Who runs the module without a name learns all there is to run."""
    listed = subprocess.check_output(
        [sys.executable, "-m", "benchmarks"], cwd=ROOT, text=True
    )
    lines = [line.split(maxsplit=1) for line in listed.splitlines()[1:]]
    comparisons = {
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if re.search("^PARTS = ", path.read_text("utf-8"), re.MULTILINE)
    }
    assert {name for name, _ in lines} == comparisons


def test_missing_data_are_told_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    """Without the cerrado files a stranger's run ends with a file, not an error."""
    monkeypatch.delenv("SKTASGEN_DATA_HOME", raising=False)
    monkeypatch.setattr(entry_point, "RESULTS", tmp_path)
    entry_point.main("relabelling cerrado --seeds 2 --only static".split())
    (path,) = tmp_path.glob("relabelling-cerrado*.md")
    # Else a trial replaces the whole run that pages quote.
    assert path.name == "relabelling-cerrado-seeds-2-only-static.md"
    written = path.read_text("utf-8")
    assert "Left out: SKTASGEN_DATA_HOME names no folder" in written
    assert "python -m benchmarks relabelling cerrado --seeds 2 --only static" in written
    assert "Seeds: 0, 1" in written
    assert written.endswith(capsys.readouterr().out)


@pytest.mark.parametrize(
    "argv, message",
    [
        ("tea", "unknown comparison 'tea'"),
        ("relabelling tea", "unknown part 'tea'"),
        ("relabelling --only tea", "unknown method 'tea'"),
    ],
)
def test_misspelt_names_are_told(argv, message, capsys):
    """A typing error does not start hours of another comparison."""
    with pytest.raises(SystemExit) as stopped:
        entry_point.main(argv.split())
    assert message in f"{stopped.value}{capsys.readouterr().err}"


def test_interval_is_students():
    """Three seeds say less than the normal distribution would have it."""
    # The 0.975 quantile with two degrees of freedom is 4.303 in any table.
    assert mean_and_interval([1.0, 2.0, 3.0], "{:.2f}") == "2.00 ± 2.48"
    assert mean_and_interval([0.5], "{:+.1f}") == "+0.5"


def test_readme_quotes_results():
    """Every figure of the README's table is the one in the file that its row names."""
    section = (ROOT / "README.md").read_text("utf-8").partition("## What to expect")[2]
    header, rule, *rows = re.findall(r"^\|.*\|$", section, re.MULTILINE)
    assert rows
    for row in rows:
        series, label, *figures = cells(row)
        if series:
            path, heading = re.search(r"\]\((.+)#(.+)\)", series).groups()
        names, quoted = table(ROOT / path, heading)
        assert "accuracy" in names[0] and "on changed" in names[1], names
        assert figures[2] == "" or "within 3 dates" in names[2], names
        quoted = quoted[label]
        assert figures[0]
        for figure, found in zip(figures, quoted, strict=False):
            assert figure in ("", found), row


def table(path, heading):
    """Names of the columns, and {label: figures}, of the table under a heading."""
    section = (
        path.read_text("utf-8").split(f"\n## {heading}\n")[1].partition("\n## ")[0]
    )
    rows = [cells(row) for row in re.findall(r"^\|.*\|$", section, re.MULTILINE)]
    return rows[0][1:], {label: figures for label, *figures in rows}


def cells(row):
    return [cell.strip() for cell in row.strip("|").split("|")]
