"""The report as one self-contained HTML page: collect, draw, fill the template.

Every text of the caller's (column names, class names) reaches the page through the escaping template or, in
pictures, through the XML writer; the page has no script and loads nothing.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import _plot as plot
from . import _text as words
from ._style import FAINT, INK, style

if TYPE_CHECKING:
    from ._report import ShiftReport
    from ._results import FeatureShift, FeatureSummary, ShiftTestResult

TOP_FEATURES = 12


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
        words.clean,
        words.number,
        words.pvalue,
        words.share,
        words.interval,
        words.effect_text,
        words.signed,
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
        "strength": report.verdict.strength,
        "strength_meaning": words.STRENGTHS[report.verdict.strength],
        "size_line": words.size_line(report),
        "unknowns": words.unknowns(report),
    }


def report_context(report: ShiftReport) -> dict[str, Any]:
    """Everything that the template of the diagnosis needs: sentences, table rows and pictures."""
    drawable = plot.drawable_features(report)[:TOP_FEATURES]
    drawn = {shift.feature for shift, _ in drawable}
    cards = [
        {"shift": shift, "summary": summary, "picture": _feature_picture(k, shift, summary)}
        for k, (shift, summary) in enumerate(drawable)
    ]
    return {
        **verdict_context(report),
        "answers": [_row(report, test) for test in words.decisive_tests(report)],
        "tests": [_row(report, test) for test in report.tests],
        "quantities": words.QUANTITIES,
        "changed": len(words.changed_features(report)),
        "cards": cards,
        "other_features": [f for f in report.features if f.feature not in drawn],
        "overlap_sentence": words.overlap_sentence(report),
        "prior_sentence": words.prior_sentence(report),
        "impact_sentences": words.impact_sentences(report),
        "budget_sentence": words.budget_sentence(report),
        "headlines": words.HEADLINES,
        "pictures": _pictures(report),
    }


def _row(report: ShiftReport, test: ShiftTestResult) -> dict[str, Any]:
    asks = words.QUANTITIES.get(test.quantity, "")
    return {"test": test, "asks": asks, "outcome": words.outcome(report, test)}


def _pictures(report: ShiftReport) -> dict[str, Markup]:
    rows = len(words.decisive_tests(report)) + len(report.verdict.untestable)
    pictures = {
        "tests": picture(
            "tests",
            "Effect size per quantity; the numbers are in the list and the table.",
            plot.draw_tests,
            report,
            size=(4.4, 0.75 + 0.45 * rows),
        ),
        "overlap": picture(
            "overlap",
            "Histograms of the probability of being a target row, for source and target rows. "
            + words.overlap_sentence(report),
            plot.draw_overlap,
            report.overlap,
        ),
    }
    if report.prior is not None:
        classes = min(len(report.prior.classes), plot.MAX_CLASSES)
        alt = words.prior_sentence(report)
        pictures["prior"] = picture("prior", alt, plot.draw_prior, report.prior, size=(4.4, 0.8 + 0.36 * classes))
    if report.impact is not None:
        rows = 1 + (report.impact.target is not None) + len(report.impact.estimates)
        alt = " ".join(words.impact_sentences(report))
        pictures["impact"] = picture("impact", alt, plot.draw_impact, report.impact, size=(4.4, 0.8 + 0.36 * rows))
    if report.domain_map is not None:
        alt = "Rows of source and target on the first two principal components."
        pictures["map"] = picture("map", alt, plot.draw_map, report.domain_map, size=(4.4, 3.2))
    return pictures


def _feature_picture(k: int, shift: FeatureShift, summary: FeatureSummary) -> Markup:
    alt = f"Distribution of {words.clean(shift.feature)} in source and target: {words.feature_line(shift)}."
    rows = len(summary.bins) if summary.kind == "categorical" else 0
    return picture(f"feature{k}", alt, plot.draw_feature, summary, size=(3.1, max(1.75, 0.5 + 0.19 * rows)))


def picture(
    name: str, alt: str, draw: Callable[..., Axes], *arguments: Any, size: tuple[float, float] = (4.4, 2.4)
) -> Markup:
    """Draw on a figure of `size` inches and return it as inline SVG in the page's own colours."""
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has the fonts for them
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_visible(False)
        draw(figure.add_subplot(), *arguments)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return Markup(inline_svg(svg.getvalue(), name, alt))


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
                value = value.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
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
