"""What a user meets before the first estimator: installing and importing the package.

What the set-up files promise each other is tested here too, so that a version raised in
one of them only does not surface on somebody's fresh machine.
"""

import ast
import configparser
import inspect
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import time
import zipfile
from importlib import import_module, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import sktasgen
from sktasgen._optional import import_optional

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sktasgen"


def run_python(code):
    """Output of `code` in a process of its own, split at white space."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def libraries_loaded_by(code):
    """Top-level modules outside the standard library that `code` loads."""
    loaded = run_python(
        f"import sys; before = set(sys.modules)\n{code}\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    return set(loaded) - sys.stdlib_module_names


def installed():
    """The installed distribution, whatever an old build has left in the checkout."""
    (found,) = metadata.distributions(
        name="sktasgen", path=[sysconfig.get_path("purelib")]
    )
    return found


def requirements():
    """Every requirement declared, with the extras that ask for it ("" = always)."""
    extras = ["", *installed().metadata.get_all("Provides-Extra")]
    for requirement in map(Requirement, installed().requires):
        marker = requirement.marker
        asking = {
            extra
            for extra in extras
            if marker is None or marker.evaluate({"extra": extra})
        }
        yield requirement, asking


# --- importing ----------------------------------------------------------------------


def test_bare_import_loads_no_library():
    # Else `import sktasgen`, and with it `sktasgen --help`, takes seconds.
    assert libraries_loaded_by("import sktasgen") == {"sktasgen"}


def test_bare_import_takes_little_more_than_python_itself():
    # Else every script and every worker waits. Measured in turn, so that a busy
    # machine slows both; a library underneath takes ten times as long or more.
    def seconds(code):
        start = time.perf_counter()
        run_python(code)
        return time.perf_counter() - start

    runs = [(seconds("pass"), seconds("import sktasgen")) for _ in range(7)]
    bare, ours = map(statistics.median, zip(*runs, strict=True))
    assert ours < 2 * bare
    loaded = run_python(
        "import sys; before = set(sys.modules); import sktasgen\n"
        "print(*(set(sys.modules) - before))"
    )
    assert len(loaded) < 30


def test_public_names_need_no_optional_library_and_no_torch():
    # Else a core installation cannot import what it could use, and everybody waits
    # for torch, who may only want to read a table or score labels.
    optional = ["matplotlib", "pandas", "pooch", "pyarrow", "jinja2", "tqdm"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({optional}))\n"
        "from sktasgen import *"
    )
    loaded = libraries_loaded_by(code)
    assert "sklearn" in loaded  # the names were resolved
    assert "torch" not in loaded


@pytest.mark.parametrize("name", sktasgen.__all__)
def test_public_name_resolves_and_is_listed(name):
    # Else `from sktasgen import *` fails, or completion hides the name.
    assert getattr(sktasgen, name).__name__.rpartition(".")[2] == name
    assert name in dir(sktasgen)


def test_unknown_name_is_an_attribute_error():
    # hasattr, copy, pickle and inspect ask modules for names they may not have.
    assert not hasattr(sktasgen, "no_such_name")
    with pytest.raises(AttributeError, match="'sktasgen' has no attribute 'no_such_"):
        sktasgen.no_such_name  # noqa: B018


def test_imports_follow_the_architecture():
    # Else the table a newcomer reads first misleads, and import cycles creep in.
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\|([^|]*`[^|]*)\|", text, re.MULTILINE)
    rank = {
        name: row
        for row, cell in enumerate(cells)
        for name in re.findall(r"`([\w.]+)`", cell)
    }
    modules = {module_name(path) for path in PACKAGE.rglob("*.py")} - {""}
    assert set(rank) == modules
    for module in rank:
        above = {name for name in rank if rank[name] < rank[module]}
        assert imports_within_package(module) <= above, module


def module_name(path):
    """Name of a module's file within the package; that of a folder for __init__."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts).removesuffix("__init__").strip(".")


def imports_within_package(module):
    """Modules of the package that a module's file imports, at any depth."""
    path = PACKAGE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    folder = ["sktasgen", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) + 1 - node.level] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            head, _, tail = source.partition(".")
            if head == "sktasgen":
                names = [f"{tail}.{alias.name}".strip(".") for alias in node.names]
                found.update(name if is_module(name) else tail for name in names)
        elif isinstance(node, ast.Import):
            found.update(
                alias.name.partition(".")[2]
                for alias in node.names
                if alias.name.startswith("sktasgen.")
            )
    return found - {""}  # the version


def is_module(name):
    path = PACKAGE.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def public_callables():
    """Functions and methods of the names that docs/api.rst lists, by name."""
    text = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    module = None
    for directive, indented in re.findall(
        r"^\.\. currentmodule:: (\S+)|^   (\w+)$", text, re.MULTILINE
    ):
        if directive:
            module = import_module(directive)
            continue
        found = getattr(module, indented)
        if inspect.isfunction(found):
            yield indented, found
        elif inspect.isclass(found):
            for name, member in vars(found).items():
                member = getattr(member, "fget", getattr(member, "__func__", member))
                ours = getattr(member, "__module__", "").startswith("sktasgen")
                made = getattr(member, "__wrapped__", member)
                written = made.__code__.co_filename if inspect.isfunction(made) else "<"
                if ours and written[0] != "<" and name in {"__init__", name.strip("_")}:
                    yield f"{indented}.{name}", member


def test_public_functions_and_methods_say_their_types():
    # Else an editor offers nothing, and a checker of types takes any use for right.
    # Whether the types are right is for mypy to say, of tests/typed_use.py.
    checked = dict(public_callables())
    assert {"HTSVAEDetector.fit", "Explanation.interval", "open_cube"} <= set(checked)
    lacking = []
    for name, function in checked.items():
        signature = inspect.signature(inspect.unwrap(function))
        types = {
            word: parameter.annotation
            for word, parameter in signature.parameters.items()
            if word not in {"self", "cls"}
        }
        types["return"] = signature.return_annotation
        lacking += [(name, word) for word in types if types[word] is inspect._empty]
    assert lacking == []


# --- optional dependencies ----------------------------------------------------------


def test_missing_library_names_the_extra(monkeypatch):
    # Else the user sees only "No module named ..." and has to guess what to install.
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        ImportError, match=r"^Pictures needs 'matplotlib'.*sktasgen\[pl"
    ):
        import_optional("matplotlib", extra="plot", purpose="Pictures")


def test_library_broken_inside_shows_its_own_error(tmp_path, monkeypatch):
    # Else a broken installation is reported as a missing one, and pip finds nothing
    # to do.
    (tmp_path / "broken_library.py").write_text("import no_such_module_of_its_own")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_its_own"):
        import_optional("broken_library", extra="plot", purpose="Pictures")


def test_extras_named_in_errors_install_what_was_missing():
    # Else pip warns of an unknown extra, or installs it and the error stays.
    installed_by = {}
    for requirement, extras in requirements():
        for extra in extras:
            # The extras of a requirement name what they install, here: distributed.
            installed_by.setdefault(extra, set()).add(requirement.name)
            installed_by[extra].update(requirement.extras)
            installed_by[extra].add(requirement.name.removesuffix("-stac"))
    asked = {
        (path.name, node.args[0].value.partition(".")[0], word.value.value)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and "import_optional" in ast.dump(node.func)
        for word in node.keywords
        if word.arg == "extra"
    }
    assert asked
    assert [ask for ask in asked if ask[1] not in installed_by.get(ask[2], ())] == []


# --- installing ---------------------------------------------------------------------


def test_version_is_the_installed_one():
    # Else bug reports name a version that nobody can install.
    assert installed().version == sktasgen.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {sktasgen.__version__}\n" in citation


def pins(name):
    """The version that a constraints file pins each package to."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    version = {}
    for pin in pins:
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and "+" not in specifier.version, str(pin)
        version[canonicalize_name(pin.name)] = specifier.version
    assert len(version) == len(pins)  # none pinned twice
    return version


def tox_environments():
    """Settings of each tox environment."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    return {name: tox[name] for name in tox.sections() if name.startswith("testenv")}


def test_set_up_installs_pinned_versions_the_bounds_allow():
    # Else a target breaks on the day a dependency is released, or pip finds no version
    # that suits both files.
    version = pins("constraints.txt")
    for requirement, _ in requirements():
        pinned = version[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pinned), (str(requirement), pinned)
    asked = {"tox"}  # by the Makefile
    for settings in tox_environments().values():
        if settings.get("constraints", "constraints.txt") == "constraints.txt":
            asked.update(re.findall(r"^[\w-]+$", settings.get("deps", ""), re.M))
    assert {"torch", "mypy", "twine", "pre-commit", "towncrier"} <= asked
    assert asked - set(version) == set()


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-oldest.txt"])
def test_what_pinned_packages_need_is_pinned(name):
    # Else that breaks a target instead. Those installed here say what they need.
    version = pins(name)
    for package in version:
        try:
            needed = metadata.requires(package) or []
            if metadata.version(package).partition("+")[0] != version[package]:
                continue  # another release, with other needs
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, needed):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted = canonicalize_name(requirement.name)
                assert wanted in version, f"{package} needs {requirement}"


def test_the_oldest_versions_tested_are_the_bounds():
    # Else pip keeps a release that nobody has tried and the first use fails.
    version = pins("constraints-oldest.txt")
    torch = pins("constraints.txt")["torch"]
    for requirement, extras in requirements():
        if extras == {"docs"}:
            continue
        (bound,) = requirement.specifier
        assert bound.operator == ">=", str(requirement)
        lowest = torch if requirement.name == "torch" else bound.version
        found = version[canonicalize_name(requirement.name)]
        assert Version(found) == Version(lowest), str(requirement)


def source_files():
    """Files of a checkout, or of an unpacked source distribution; not what use left."""
    if (ROOT / ".git").exists():
        found = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True
        )
        names = found.stdout.decode().strip("\0").split("\0")
        hosted = [name for name in names if name.startswith(".")]  # for the host alone
        names = set(names) - set(hosted) | {".pre-commit-config.yaml"}
    else:
        listed = ROOT / "sktasgen.egg-info" / "SOURCES.txt"
        names = set(listed.read_text(encoding="utf-8").splitlines())
    return {
        name
        for name in names
        if not name.startswith("sktasgen.egg-info/") and (ROOT / name).is_file()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A copy of the checkout, and the sdist and the wheel built there.

    A build writes into its source folder.
    """
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    for name in source_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    build = (
        "from setuptools import build_meta\n"
        f"build_meta.build_sdist({str(folder)!r})\n"
        f"build_meta.build_wheel({str(folder)!r})"
    )
    subprocess.run(
        [sys.executable, "-c", build], cwd=source, check=True, capture_output=True
    )
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, sdist, wheel


def test_wheel_holds_the_whole_package_and_nothing_else(built):
    # Else what runs from a checkout fails once it is installed.
    source, _, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        size = {item.filename: item.file_size for item in archive.infolist()}
        entry_points = next(
            archive.read(name).decode()
            for name in size
            if name.endswith("entry_points.txt")
        )
    files = (source / "sktasgen").rglob("*")
    assert {name for name in size if ".dist-info/" not in name} == {
        path.relative_to(source).as_posix() for path in files if path.is_file()
    }
    assert "sktasgen/py.typed" in size  # else checkers of types pass it over
    assert "sktasgen = sktasgen.__main__:main" in entry_points
    # Else a picture or a data set has crept in, that each worker and image carries.
    assert sum(size.values()) < 1_000_000


def test_source_distribution_holds_what_a_packager_needs(built):
    # Else the tests, the documentation or the checks run in a checkout alone.
    source, sdist, _ = built
    with tarfile.open(sdist) as archive:
        members = [item.name for item in archive.getmembers() if item.isfile()]
    held = {name.partition("/")[2] for name in members}
    wanted = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and {"build", "sktasgen.egg-info"}.isdisjoint(path.parts)
    }
    assert wanted - held == set()


def test_the_page_of_the_package_has_no_dead_links(built):
    # Else whoever reads about it where packages are listed comes to nothing.
    with zipfile.ZipFile(built[2]) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        page = archive.read(name).decode()
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
