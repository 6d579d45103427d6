"""Run a comparison and write its tables to benchmarks/results/."""

import argparse
import ast
import contextlib
import importlib
import io
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

from benchmarks import data, provenance

HERE = Path(__file__).parent
RESULTS = HERE / "results"
# In this order all of them are run, the quickest first.
COMPARISONS = (
    "kernels",
    "relabelling",
    "detection",
    "explanation",
    "maps",
    "speed",
    "streaming",
)


def numbers(text):
    return [int(number) for number in text.split(",")]


# What a comparison may have beside its parts; its OPTIONS say which it has.
OPTIONS = {
    "seeds": dict(type=int, help="how many, from 0"),
    "only": dict(
        type=lambda text: text.split(","), help="methods, with commas between"
    ),
    "steps": dict(type=numbers, help="labelled months of the lakes: 0,3 for two"),
    "iterations": dict(type=int, help="steps of a fit"),
}


def main(argv):
    """Run what the command line asks for."""
    if not argv or argv[0] in ("-h", "--help"):
        print("python -m benchmarks NAME [arguments], or --quick for short runs of all")
        for name in COMPARISONS:
            print(f"  {name:12} {_summary(name)}")
        return
    if argv == ["--quick"]:
        for name in COMPARISONS:
            _run(name, ["--quick"])
        return
    name, *argv = argv
    if name not in COMPARISONS:
        sys.exit(f"unknown comparison {name!r}: wanted one of {', '.join(COMPARISONS)}")
    _run(name, argv)


def _summary(name):
    """The first line of a comparison's docstring, without importing it."""
    docstring = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text("utf-8")))
    return docstring.partition("\n")[0]


def _run(name, argv):
    """One comparison, printed as it goes and then written to its file."""
    module = importlib.import_module(f"benchmarks.{name}")
    asked, arguments = shlex.join([name, *argv]), _parse(name, module, argv)
    # A file for each command: a trial does not replace what pages quote.
    path = RESULTS / (re.sub(r"[^\w.]+", "-", asked) + ".md")
    if arguments.quick:
        arguments = _parse(name, module, shlex.split(module.QUICK))
    provenance.USED.clear()
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(_Tee(sys.stdout, printed)),
        tempfile.TemporaryDirectory(dir=arguments.folder) as folder,
    ):
        arguments.folder = Path(folder)
        for part in arguments.parts or module.PARTS:
            try:
                module.PARTS[part](arguments)
            except data.Missing as missing:
                print(f"\n## {part}\n\nLeft out: {missing}")
            # After each, for the next may fail after hours.
            header = provenance.header(asked, _summary(name), module, arguments)
            path.write_text(header + printed.getvalue(), encoding="utf-8")
    print(f"\nWritten: {os.path.relpath(path)}", file=sys.stderr)


def _parse(name, module, argv):
    """The arguments of a comparison, those it does not have at their defaults."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}", description=_summary(name)
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=", ".join(module.PARTS)
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"the short run that is called: {module.QUICK}",
    )
    parser.add_argument("--folder", help="where large files are written for a while")
    for option, default in module.OPTIONS.items():
        parser.add_argument(f"--{option}", default=default, **OPTIONS[option])
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.parts) - set(module.PARTS):
        wanted = ", ".join(module.PARTS)
        parser.error(f"unknown part {min(unknown)!r}: wanted one of {wanted}")
    known = getattr(module, "METHODS", {})
    if unknown := set(getattr(arguments, "only", None) or ()) - set(known):
        wanted = ", ".join(known)
        parser.error(f"unknown method {min(unknown)!r}: wanted one of {wanted}")
    return arguments


class _Tee(io.TextIOBase):
    """What is printed goes to several streams."""

    def __init__(self, *streams):
        self.streams = streams

    def write(self, text):
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self):
        for stream in self.streams:
            stream.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
