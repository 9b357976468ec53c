"""Formulas as MathML, which browsers draw themselves: the pages need no script and no network."""

from __future__ import annotations

import html
import re

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def spelled_out(tex: str) -> str:
    """TeX as docutils reads it: fractions and accents with braces, brackets of a size with a direction."""
    tex = re.sub(r"\\([bB])ig(?![a-z])", r"\\\1igl", tex)
    tex = re.sub(r"\\(hat|bar)\s*(\\[a-z]+|\{[^{}]*\}|\w)(?=[_^])", r"{\\\1 \2 {}}", tex)  # {}: a limit otherwise
    return re.sub(r"\\[td]?frac\s*(\w)\s*(?:(\w)|(?={))", _braces, tex)


def _braces(found: re.Match[str]) -> str:
    return rf"\frac{{{found[1]}}}" + (f"{{{found[2]}}}" if found[2] else "")


def to_mathml(node: nodes.Element, block: bool) -> str:
    """MathML of a formula; its own text and a warning where docutils cannot read it."""
    tex = spelled_out(node.astext())
    try:
        return latex2mathml.tex2mathml(tex, as_block=block)
    except MathError as error:
        logger.warning("no MathML of %r: %s", tex, error, location=node)
        return f"<code>{html.escape(tex)}</code>"


def visit_inline(self, node) -> None:
    """Write a formula within a line."""
    self.body.append(to_mathml(node, block=False))
    raise nodes.SkipNode


def visit_block(self, node) -> None:
    """Write a formula on a line of its own."""
    self.body.append(self.starttag(node, "div", CLASS="math-block") + to_mathml(node, block=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
