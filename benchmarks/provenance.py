"""What a results file says of itself: command, versions, processor, seeds, peers."""

import datetime
import functools
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

# Named in every file; those of the peers come with them.
PACKAGES = ("sktasgen", "numpy", "scipy", "scikit-learn", "torch", "skorch", "numba")


class Peer(NamedTuple):
    """How a peer is used, and the documentation that says so."""

    name: str
    package: str
    settings: str
    source: str


# The peers that were called since the list was last cleared, by name.
USED = {}


def peer(name, package, settings, source):
    """Decorate what calls a peer, so that the results list it where it was used."""

    def decorate(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            USED[name] = Peer(name, package, settings, source)
            return function(*args, **kwargs)

        return call

    return decorate


def header(asked, summary, module, arguments):
    """The head of a results file, Markdown.

    Parameters
    ----------
    asked : str
        The command's arguments, as given.
    summary : str
        What is compared.
    module : module
        Its ``PACKAGES``, if any, are named with their versions too.
    arguments : Namespace
        As understood.
    """
    name = module.__name__.partition(".")[2]
    packages = [*PACKAGES, *getattr(module, "PACKAGES", ())]
    packages += [each.package for each in USED.values()]
    versions = ", ".join(f"{each} {version(each)}" for each in dict.fromkeys(packages))
    seeds = getattr(arguments, "seeds", None)
    lines = [
        f"# {asked}",
        "",
        f"{summary} What the columns mean is told in `benchmarks/{name}.py`.",
        "",
        f"- Command: `python -m benchmarks {asked}`",
        *([f"- That is: `{name} {module.QUICK}`"] if "--quick" in asked else []),
        f"- Date: {datetime.date.today()}",
        f"- Processor: {processor()}, {os.cpu_count()} cores; OMP_NUM_THREADS="
        f"{os.environ.get('OMP_NUM_THREADS', '')}; load at the end "
        f"{os.getloadavg()[1]:.1f}",
        f"- Commit: {commit()}",
        f"- Python {platform.python_version()}, {platform.system()}; {versions}",
        *([f"- Seeds: {', '.join(map(str, range(seeds)))}"] if seeds else []),
    ]
    if USED:
        lines += ["", "| method | settings | source |", "|---|---|---|"]
        lines += [
            f"| {each.name} ({each.package}) | {each.settings} | {_link(each.source)} |"
            for each in USED.values()
        ]
    return "\n".join(lines) + "\n"


def _link(source):
    return f"<{source}>" if source.startswith("https:") else source


def commit():
    """The commit that was run, and whether the code was as committed."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        asked = [*git, "rev-parse", "--short", "HEAD"]
        name = subprocess.check_output(asked, text=True).strip()
        asked = [*git, "status", "--porcelain", "--", "*.py"]
        changes = subprocess.check_output(asked, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown, there is no repository"
    return f"{name} and changes" if changes else name


def processor():
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()
