"""Sphinx: how the documentation is built (``make docs``)."""

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small arrays: threads that wait cost more than they bring

import pictures  # noqa: E402
import public_names as api  # noqa: E402
import registry_pages  # noqa: E402

from shift_detectors import __version__  # noqa: E402

project = "da-toolkit"
author = "The da-toolkit developers"
copyright = f"2026, {author}"
release = version = __version__

extensions = [
    "public_names",
    "mathml",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_generated", "_ext", "_templates"]
templates_path = ["_templates"]
nitpicky = True  # every link has to lead somewhere

# --- pages made from the code, before Sphinx looks for sources ---------------------------------------------

GENERATED = HERE / "_generated"
public_names = api.public()
api.write_api(HERE / "api")
registry_pages.write_all(GENERATED)
pictures.make_all(HERE, GENERATED)

NOTEBOOKS = HERE / "notebooks"  # copies: Sphinx reads nothing outside its own folder
shutil.rmtree(NOTEBOOKS, ignore_errors=True)
NOTEBOOKS.mkdir()
for notebook in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
    shutil.copy2(notebook, NOTEBOOKS)
names = [file.stem for file in sorted(NOTEBOOKS.glob("*.ipynb"))]
listing = "\n".join(["```{toctree}", ":maxdepth: 1", "", *names, "```"]) if names else "None in this build."
(NOTEBOOKS / "index.md").write_text(
    "# Notebooks\n\nEach starts from a question and ends in a picture. They are shown as they ran last.\n\n" + listing,
    encoding="utf-8",
)

# --- docstrings --------------------------------------------------------------------------------------------

highlight_language = "none"  # of formulas in docstrings; examples are known by their prompt
default_role = "py:obj"  # `name` is a link where the name is public
add_module_names = False
autosummary_generate = True
autodoc_typehints = "none"  # types are in the numpydoc sections
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# --- Markdown and notebooks --------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True

# --- HTML --------------------------------------------------------------------------------------------------

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"da-toolkit {release}"
html_static_path = ["_static"]
html_extra_path = ["_generated/report.html"]
html_css_files = ["custom.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f4e79", "color-brand-content": "#1f5f99"},
    "dark_css_variables": {"color-brand-primary": "#7fb3e0", "color-brand-content": "#8fc1ec"},
}
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
