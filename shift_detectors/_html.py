"""The report as one self-contained HTML page: collect, draw, fill the template.

Every text of the caller's (column names, class names) reaches the page through the escaping template or, in
pictures, through the XML writer; the page has no script and loads nothing.
"""

from __future__ import annotations

import io
import platform
import re
import xml.etree.ElementTree as ET
from functools import cache, reduce
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from . import _plot as plot
from . import _text as words
from ._display import Display
from ._style import FAINT, INK, SOURCE, TARGET, style
from ._warnings import ignored

if TYPE_CHECKING:
    from ._report import ShiftReport
    from ._results import ShiftTestResult

TOP_FEATURES = 12
WIDTH = 4.0  # inches of a picture at most: scaled to a phone's width its text can still be read
RASTER_DPI = 200  # of the points on maps; everything else is drawn as lines
VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)", SOURCE.lower(): "var(--source)", TARGET.lower(): "var(--target)"}


def report_to_html(report: ShiftReport) -> str:
    """The whole page."""
    return render("report.html", **report_context(report))


def report_to_snippet(report: ShiftReport) -> str:
    """A short piece of HTML for notebooks: the verdict and what is behind it."""
    return render("snippet.html", **verdict_context(report), text=str(report))


@cache
def environment(*packages: str) -> Environment:
    """Templates of `packages` before our own, escaping everything."""
    names = (*packages, "shift_detectors")
    env = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in names]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        words.change,
        words.clean,
        words.number,
        words.pvalue,
        words.share,
        words.measured,
        words.effect_text,
        words.signed,
        words.times,
    )
    env.filters.update({f.__name__: f for f in filters})
    return env


def render(template: str, *packages: str, **context: Any) -> str:
    """Fill a template; what a page cannot hold (lone surrogates, NUL) becomes "?"."""
    html = environment(*packages).get_template(template).render(**context)
    return html.replace("\0", "?").encode("utf-8", "replace").decode()


def verdict_context(report: ShiftReport) -> dict[str, Any]:
    """What the top of the page says."""
    return {
        "report": report,
        "headline": words.headline(report),
        "compared": words.compared(report),
        "strength": report.verdict.strength,
        "strength_meaning": words.STRENGTHS[report.verdict.strength],
        "size_line": words.size_line(report),
        "unknowns": words.unknowns(report),
    }


def report_context(report: ShiftReport) -> dict[str, Any]:
    """Everything that the template of the diagnosis needs: sentences, table rows and pictures."""
    # what differs stands first: a feature may matter to the classifier that does not differ by itself
    drawable = sorted(plot.drawable_features(report), key=lambda pair: pair[0].pvalue > report.alpha)[:TOP_FEATURES]
    drawn = {shift.feature for shift, _ in drawable}
    displays = (plot.FeatureDisplay(summary, shift, report.alpha) for shift, summary in drawable)
    cards = [
        {"shift": display.shift, "summary": display.summary, "picture": picture(f"feature{k}", display)}
        for k, display in enumerate(displays)
    ]
    return {
        **verdict_context(report),
        "answers": [_row(report, test) for test in words.decisive_tests(report)],
        "tests": [_row(report, test) for test in report.tests],
        "quantities": words.QUANTITIES,
        "unseen": words.unseen(report),
        "changed": len(words.changed_features(report)),
        "cards": cards,
        "moved_columns": words.moved_columns(report),
        "columns_sentence": words.column_shifts_sentence(report),
        "other_features": sorted(
            (f for f in report.features if f.feature not in drawn), key=lambda f: f.pvalue > report.alpha
        ),
        "overlap_sentence": words.overlap_sentence(report),
        "prior_sentence": "" if report.prior is None else words.prior_sentence(report.prior),
        "impact_sentences": () if report.impact is None else words.impact_sentences(report.impact),
        "budget_sentence": words.budget_sentence(report),
        "headlines": words.HEADLINES,
        "pictures": {name: picture(name, display) for name, display in plot.report_displays(report).items()},
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "scipy", "scikit-learn", "pandas")},
    }


def _row(report: ShiftReport, test: ShiftTestResult) -> dict[str, Any]:
    asks = words.QUANTITIES.get(test.quantity, "")
    return {"test": test, "asks": asks, "outcome": words.outcome(report, test)}


def picture(name: str, display: Display) -> Markup:
    """A display of one panel as inline SVG in the page's own colours; the page says what its title would."""
    with style(), ignored(UserWarning, "Glyph .* missing"):  # the browser has the fonts for them
        width, height = display.size
        figure = Figure(figsize=(min(width, WIDTH), height), layout="constrained")
        figure.patch.set_visible(False)
        display.plot(figure.add_subplot())
        svg = io.StringIO()
        figure.savefig(svg, format="svg", dpi=RASTER_DPI, metadata={"Date": None})
    return Markup(inline_svg(svg.getvalue(), name, display.alt))


def inline_svg(svg: str, name: str, alt: str) -> str:
    """Make matplotlib's SVG fit to stand in a page: no prolog, own ids, short numbers, the page's ink.

    Examples
    --------
    >>> inline_svg('<svg xmlns="http://www.w3.org/2000/svg" width="9"><g id="a"/></svg>', "n", "A line")
    '<svg role="img" aria-label="A line"><g /></svg>'
    """
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        element.attrib.clear()
        for key, value in attributes.items():
            if key == "id":
                if value not in used:
                    continue
                value = f"{name}-{value}"
            elif key == "href":
                value = value.replace("#", f"#{name}-", 1) if value.startswith("#") else value
            elif key == "clip-path":
                value = value.replace("url(#", f"url(#{name}-")
            elif key in ("d", "x", "y"):
                value = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", value)
            elif key == "style":
                value = reduce(lambda text, pair: text.replace(*pair), VARIABLES.items(), value)
                value = re.sub(r"(fill|stroke): #ffffff", r"\1: var(--paper)", value)
                value = re.sub(r"font: (?:bold |700 )?([\d.]+px)[^;]*", r"font-size: \1", value) + (
                    "; font-weight: 600" if "font: bold" in value or "font: 700" in value else ""
                )
            element.set(key, value)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    rest = dict(root.attrib)
    root.attrib.clear()
    root.attrib.update({"role": "img", "aria-label": alt, **rest})
    return ET.tostring(root, encoding="unicode")
