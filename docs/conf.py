"""Settings of the documentation site: `make docs` builds it."""

import re
from pathlib import Path
from textwrap import indent

from sphinx.util.logging import getLogger

import sktasgen
from sktasgen.datasets import fetch_dynamic_world_lakes

project = "sktasgen"
author = "The sktasgen developers"
project_copyright = "The sktasgen developers"
version = release = sktasgen.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
html_theme = "pydata_sphinx_theme"
html_title = "sktasgen"
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2}
html_show_sourcelink = False
# Pages of the first level have no others beside them to list.
html_sidebars = {"*": []}
# What names no language is none.
highlight_language = "text"

# Links to headings of other pages, as the pages have them on the web.
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
autosummary_generate = True
# A reference that leads nowhere is a warning, but for those to other libraries.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(numpy|sklearn)\..*")]
# Listed by the class's own page alone.
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the sections on parameters say more

# Examples on real data are shown without pictures where the data cannot be had.
try:
    fetch_dynamic_world_lakes()
    examples = r"/plot_"
except OSError as error:
    getLogger(__name__).info("examples on lakes are not run: %s", error)
    examples = r"/plot_(?!.*lakes)"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": examples,
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "abort_on_example_error": True,
    "matplotlib_animations": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    # A display's picture says more than its repr.
    "ignore_repr_types": r"sktasgen\.plots|matplotlib",
    "show_signature": False,
}

# Pages whose text is a file of the repository's root; what is here leads there, for
# those who read it on the web.
ROOT_PAGES = {"contributing", "changelog", "security"}


def read_page(app, docname, source):
    """Put the text of root pages in place, and have links lead to them."""
    text = source[0]
    if docname in ROOT_PAGES:
        path = Path(app.srcdir).parent / f"{docname.upper()}.md"
        app.env.note_dependency(path)
        # Its links, as they would be from here.
        text = re.sub(r"\]\((?!\w+:|#)", "](../", path.read_text(encoding="utf-8"))
        text = text.replace("](../docs/", "](")
    if docname == "changelog":
        notes = sorted((Path(app.srcdir).parent / "changes").glob("*.*.md"))
        entries = [indent(note.read_text(encoding="utf-8"), "  ") for note in notes]
        text += "\n## To come\n\n" + "".join(f"-{entry[1:]}" for entry in entries)
    names = "|".join(page.upper() for page in sorted(ROOT_PAGES))
    source[0] = re.sub(
        rf"\]\(((?:\.\./)*)\.\./({names})\.md",
        lambda found: f"]({found[1]}{found[2].lower()}.md",
        text,
    )


def setup(app):
    app.connect("source-read", read_page)
