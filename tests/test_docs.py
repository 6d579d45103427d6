"""What readers of the pages run into: links that lead nowhere, things left out."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    if not {"_build", "auto_examples"} & set(path.parts)
)
# What these list beside the public modules is public.
MODULES = ["sktasgen", "sktasgen.maps", "sktasgen.plots"]


def text_of(page):
    """A page without its code, in which brackets mean something else."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`", lambda code: code[0].strip("`"), text)


def anchors(page):
    """Names of the headings of a page, as forges and the site make them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    names = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {name.strip().replace(" ", "-") for name in names}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files_and_headings(page):
    # Else a newcomer clicks into nothing.
    text = text_of(page)
    links = re.findall(r"\]\(([^)\s]+)\)|^\[[^^\]]+\]: (\S+)", text, re.MULTILINE)
    for link in map("".join, links):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_contents():
    # Else a page is written that no reader of the site ever finds.
    listed = {DOCS / "index.md"}
    for page in PAGES:
        for contents in re.findall(
            r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
        ):
            for name in re.findall(r"^[\w./]+$", contents, re.MULTILINE):
                listed.add((page.parent / f"{name}.md").resolve())
    assert {page for page in PAGES if DOCS in page.parents} <= listed


def test_notes_are_written_and_referred_to():
    # Else a statement has no source, or a source no statement.
    for page in PAGES:
        text = text_of(page)
        note = re.compile(r"^\[\^(\w+)\]: ", re.MULTILINE)
        notes, rest = note.findall(text), note.sub("", text)
        referred = re.findall(r"\[\^(\w+)\]", rest)
        assert len(notes) == len(set(notes)), page
        assert set(notes) == set(referred), page


def documented():
    """Full names of what the page of the API lists."""
    names, module = set(), None
    for line in (DOCS / "api.rst").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\.\. (?:currentmodule|automodule):: (\S+)", line):
            module = found[1]
        elif found := re.match(r"   (\w+)$", line):
            names.add(f"{module}.{found[1]}")
    return names


def test_the_api_lists_every_public_name():
    # Else something public can only be found by reading the code.
    public = set()
    for module in MODULES:
        for name in import_module(module).__all__:
            if f"{module}.{name}" not in MODULES:
                public.add(f"{module}.{name}")
    listed = documented()
    modules = {name.rpartition(".")[0] for name in listed}
    assert public <= listed | modules


def test_the_api_lists_only_what_there_is():
    for name in documented():
        module, _, attribute = name.rpartition(".")
        assert getattr(import_module(module), attribute).__doc__, name


@pytest.mark.parametrize("page", ["comparison.md", "model_card.md"])
def test_figures_are_those_of_the_benchmarks(page):
    # Else pages promise what was measured once, with another version.
    results = (ROOT / "benchmarks" / "results").glob("*.md")
    pages = [DOCS / "benchmarks.md", *results]
    measured = "".join(page.read_text(encoding="utf-8") for page in pages)
    for figure in re.findall(r"\b0\.\d{3,}\b", text_of(DOCS / page)):
        assert figure in measured, figure
