"""Settings of the documentation site: `make docs` builds it."""

import sktasgen

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

# Links to headings of other pages, as the pages have them on the web.
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
autosummary_generate = True
# Listed by the class's own page alone.
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the sections on parameters say more

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "abort_on_example_error": True,
    "matplotlib_animations": True,
    "download_all_examples": False,
    "remove_config_comments": True,
}
