"""API pages from the public lists ``__all__``, links to their names, docstrings that reST can read.

A name is documented once, under the shortest path from which it imports.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

# package, title, whose names it lists; what da_toolkit itself exports is documented under da_toolkit
PAGES = {
    "shift_detectors": "Diagnose",
    "da_toolkit.selection": "Adapt, with a guard",
    "da_toolkit.weighting": "Weighting",
    "da_toolkit.label_shift": "Label shift",
    "da_toolkit.alignment": "Alignment and transport",
    "da_toolkit.deep": "Deep",
    "da_toolkit.transfer": "Few target labels",
    "da_toolkit.validation": "Validation scores",
    "da_toolkit.report": "Pictures",
    "da_toolkit.datasets": "Data sets",
}
# weights_ (a link), |x| (a substitution), "*_north" (emphasis): what reST would take for marks
MARKS = re.compile(r"(?<=\w)_(?!\w)|(?<![\w|])\|(?=[^\s|])|\*(?=_)")
HEADINGS = {
    "diagnose": "One call",
    "detector": "Tests",
    "adapter": "Ways of adapting",
    "method": "Methods, and what they are made of",
    "function": "Functions",
    "display": "Pictures",
    "class": "Classes",
    "error": "Errors and warnings",
    "make": "Simulated, with known truth",
    "induce": "Induced in any table",
    "load": "Real, shipped with scikit-learn",
    "fetch": "Public benchmarks, fetched",
}


def path_of(package: str, name: str) -> str:
    """Shortest import path of a public name."""
    exported = importlib.import_module("da_toolkit").__all__
    return f"da_toolkit.{name}" if package.startswith("da_toolkit.") and name in exported else f"{package}.{name}"


def kind_of(thing: object) -> str:
    """Under which heading a public name stands."""
    from da_toolkit._base import BaseAdapter
    from shift_detectors._base import BaseDetector

    name = getattr(thing, "__name__", "")
    prefix = name.partition("_")[0]
    if name in ("diagnose", "adapt", "recommend"):
        return "diagnose"
    if inspect.isclass(thing):
        if issubclass(thing, Warning | Exception):
            return "error"
        if issubclass(thing, BaseDetector):
            return "detector"
        if name.endswith("Display"):
            return "display"
        if issubclass(thing, BaseAdapter) or name == "SourceFree":
            return "adapter"
        return "class"
    return prefix if prefix in ("make", "induce", "load", "fetch") else "function"


def names_of(package: str) -> dict[str, list[str]]:
    """Heading -> import paths of the public names of a package, in alphabetical order."""
    module = importlib.import_module(package)
    listed: dict[str, list[str]] = {}
    names = list(module.__all__)
    if package == "da_toolkit.selection":  # where a reader looks for what belongs to no family
        names += ["SourceOnly", "Target"]
    for name in sorted(names, key=str.lower):
        thing = getattr(module, name, None) or getattr(importlib.import_module("da_toolkit"), name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            listed.setdefault(kind_of(thing), []).append(path_of(package, name))
    if package in ("da_toolkit.weighting", "da_toolkit.label_shift", "da_toolkit.alignment", "da_toolkit.deep"):
        listed["method"] = listed.pop("class", [])
    return {kind: listed[kind] for kind in HEADINGS if listed.get(kind)}


def public() -> dict[str, str]:
    """Public name -> its import path, for links that give the name alone."""
    return {
        path.rpartition(".")[2]: path
        for package in reversed(PAGES)
        for paths in names_of(package).values()
        for path in paths
    }


def api_page(package: str) -> str:
    """One page of the reference, in reST; autosummary makes a page of every name it lists."""
    root = package.partition(".")[0]
    lines = [PAGES[package], "=" * len(PAGES[package]), "", f".. automodule:: {package}", ""]
    lines += [f".. currentmodule:: {root}", ""]
    for kind, paths in names_of(package).items():
        lines += [HEADINGS[kind], "-" * len(HEADINGS[kind]), ""]
        lines += [".. autosummary::", "   :toctree: .", "   :nosignatures:", ""]
        lines += [f"   {path.removeprefix(root + '.')}" for path in paths] + [""]
    return "\n".join(lines)


def write_api(folder: Path) -> None:
    """The pages of the reference; one that did not change is not touched, so that Sphinx need not read it again."""
    folder.mkdir(exist_ok=True)
    pages = {package: api_page(package) for package in PAGES} | {"index": index_page()}
    listed = {path for package in PAGES for paths in names_of(package).values() for path in paths}
    for file in folder.glob("*.rst"):
        if file.stem not in pages.keys() | listed:  # of a name that is gone
            file.unlink()
    for name, text in pages.items():
        file = folder / f"{name}.rst"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def index_page() -> str:
    """The first page of the reference: packages, and what is imported from where."""
    return "\n".join(
        [
            "API reference",
            "=============",
            "",
            "Names are documented under the shortest path from which they import. What this reference lists is public;",
            "everything else may change without notice.",
            "",
            ".. toctree::",
            "   :maxdepth: 1",
            "",
            *(f"   {title}: {package} <{package}>" for package, title in PAGES.items()),
            "",
        ]
    )


def literal_formulas(lines: list[str]) -> list[str]:
    """Docstring in which indented formulas are literal blocks: they are written for a terminal, with ``|`` and ``*``.

    Only the prose in front of the first numpydoc section is looked at.
    """
    out: list[str] = []
    end = next((i for i, line in enumerate(lines[1:], 1) if re.fullmatch(r"-{3,}", line)), len(lines) + 1) - 1
    literal = False  # inside a directive, a list, or a literal block
    for i, line in enumerate(lines):
        if i < end and line.strip():
            indented = line.startswith("    ")
            if not indented:
                literal = line.rstrip().endswith("::") or re.match(r"(\.\. |- |\d+\. |=+ )", line) is not None
            elif not literal and out and not out[-1].strip():
                out += ["::", ""]
                literal = True  # until a line that is not indented
        out.append(line)
    return out


def escape_marks(line: str) -> str:
    """A line of which reST reads everything outside backticks as it is written."""
    head, separator, rest = line.partition(" : ")
    if not separator or not re.fullmatch(r"\s*[\w*]+(, [\w*]+)*", head):  # not "name : type"
        head, separator, rest = "", "", line
    parts = re.split(r"(`+[^`]*`+)", rest)
    parts[::2] = [MARKS.sub(r"\\\g<0>", part) for part in parts[::2]]
    return head + separator + "".join(parts)


def on_docstring(_app, what, _name, _obj, _options, lines: list[str]) -> None:
    """Make formulas literal and text plain, before numpydoc reads the sections."""
    if what not in ("class", "function", "method", "exception"):
        return
    out = literal_formulas(lines)
    verbatim = -1  # indentation of the line that began a literal block or a directive
    for i, line in enumerate(out):
        indentation = len(line) - len(line.lstrip())
        if line.strip() and indentation <= verbatim:
            verbatim = -1
        if verbatim < 0 and not re.match(r"\s*(>>>|\.\.\. |\.\. )", line):
            out[i] = escape_marks(line)
        if verbatim < 0 and (line.rstrip().endswith("::") or re.match(r"\s*\.\. ", line)):
            verbatim = indentation
    lines[:] = out


def on_missing_reference(app, env, node, contnode):
    """Link a public name that was given alone; what a docstring puts in backticks need not be one."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].rpartition(".")[2] if node["reftarget"].startswith("~") else node["reftarget"]
    full = app.config.public_names.get(target)
    if full is not None and full != node["reftarget"]:
        found = env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, contnode)
        if found is not None:
            return found
    in_docstring = node["refdoc"].startswith("api/")
    from docutils import nodes  # comes with Sphinx; the tests of the pages do without

    return nodes.literal("", "", *contnode.children) if in_docstring else None


def setup(app):
    """Called by Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")  # whose event is listened to
    app.add_config_value("public_names", {}, "")
    app.connect("autodoc-process-docstring", on_docstring, priority=100)
    app.connect("missing-reference", on_missing_reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
