r"""A formula as what other programs take: LaTeX to put into a document, MathML, SVG, PNG. Nothing leaves the machine.

MathML comes from latex2mathml, SVG from ziamath, PNG from resvg. What they do not know is spelt for them as
something that looks the same, and what has no such spelling is refused: never a picture of something else.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from hmer import latex
from hmer import latex_symbols as known
from hmer.errors import ConfigError, LatexError
from hmer.latex_labels import Tree, bracket_end, leaves, read_tree

MATHML = "http://www.w3.org/1998/Math/MathML"
SVG_SIZE_PX = 32  # of the letters
PNG_ZOOM = 4
PNG_PIXELS = 50_000_000
DRAWN_TOKENS = 2_000

# --- spelling for latex2mathml ----------------------------------------------------------------------------

# (what opens it, what closes it, whether its cells are in display style)
_ENVIRONMENTS = {
    "aligned": (r"\begin{split}", r"\end{split}", False),  # which is itself in display style
    "alignedat": (r"\begin{split}", r"\end{split}", False),
    "gathered": (r"\begin{matrix}", r"\end{matrix}", True),
    "dcases": (r"\begin{cases}", r"\end{cases}", True),
    "rcases": (r"\left.\begin{array}{ll}", r"\end{array}\right\}", False),
    "drcases": (r"\left.\begin{array}{ll}", r"\end{array}\right\}", True),
    "subarray": (r"\begin{smallmatrix}", r"\end{smallmatrix}", False),
}
_LIKE = {
    r"\textsc": r"\text",
    r"\overlinesegment": r"\overline",
    r"\vcentcolon": ":",
    r"\dblcolon": "::",
    r"\shortparallel": r"\parallel",
}
# What latex2mathml leaves as a command, in Unicode.
_CHARACTERS = {"\\backslash": "\\", "\\nleqq": "\u2266\u0338", "\\nsupseteqq": "\u2ac6\u0338"}
_STYLES = {
    "0": r"\displaystyle",
    "1": r"\textstyle",
    "2": r"\scriptstyle",
    "3": r"\scriptscriptstyle",
}
_NO_LINE = re.compile(r"0(\.0*)?(pt|em|ex|mm|cm|in|mu|px)?")


@dataclass
class _Rules:
    """The lines of an array: before which columns and rows, and after the last, there is one."""

    columns: set[int] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)


def _spelt(nodes: Tree, arrays: list[_Rules]) -> Tree:
    """The same formula in words that latex2mathml knows.

    It mixes the lines of arrays up: they are taken out into `arrays`, and a mark in the first cell says whose they are.
    """
    spelt: Tree = []
    rows: list[tuple[_Rules, int]] = []  # of the environments around: their lines, and which row this is
    open_cells: list[bool] = []  # of the environments around: whether their cells are wrapped for display style
    here = 0
    while here < len(nodes):
        node = nodes[here]
        here += 1
        if not isinstance(node, str):
            spelt.append(_spelt(node, arrays))
            continue
        wrapped = bool(open_cells) and open_cells[-1]
        if node.startswith(r"\begin{"):
            name = node[len(r"\begin{") : -1]
            opening, _, display = _ENVIRONMENTS.get(name, (node, "", False))
            spelt.append(opening)
            rules = _Rules()
            rows.append((rules, 0))
            if name in known.ENVIRONMENTS_WITH_ARGUMENT:
                if name == "array":
                    letters = _column_letters(nodes[here], rules)
                    spelt.append([*letters])
                here += 1
            if name == "array" and (rules.columns or r"\hline" in nodes):
                arrays.append(rules)
                spelt.append(f"\\text{{{_MARK}{len(arrays) - 1}}}")
            open_cells.append(display)
            spelt += _cell_opens(display)
        elif node.startswith(r"\end{"):
            name = node[len(r"\end{") : -1]
            spelt += ["}"] * wrapped
            if open_cells:
                open_cells.pop()
                rows.pop()
            spelt.append(_ENVIRONMENTS.get(name, ("", node, False))[1])
        elif node == r"\hline":
            if rows:
                rows[-1][0].rows.add(rows[-1][1])
        elif node in ("&", r"\\"):
            spelt += ["}"] * wrapped
            spelt.append(node)
            end = bracket_end(nodes, here) if node == r"\\" else -1
            if end >= 0:
                spelt += nodes[here : end + 1]
                here = end + 1
            if node == r"\\" and rows:
                rows[-1] = (rows[-1][0], rows[-1][1] + 1)
            spelt += _cell_opens(wrapped)
        elif node == r"\genfrac":
            spelt.append(_genfrac(nodes[here : here + 6], arrays))
            here += 6
        else:
            spelt.append(_LIKE.get(node, node))
    return spelt


def _cell_opens(display: bool) -> list[Any]:
    return ["{", r"\displaystyle"] if display else []


def _column_letters(argument: Any, rules: _Rules) -> str:
    """The letters of an array's columns; its vertical lines go to `rules`."""
    letters = ""
    for letter in leaves(argument if isinstance(argument, list) else [argument]):
        if letter == "|":
            rules.columns.add(len(letters))
        elif letter in "lcr":
            letters += letter
        else:
            raise LatexError(f"Columns written with {letter!r} cannot be exported; use the letters l, c, r and |.")
    return letters


def _genfrac(arguments: Tree, arrays: list[_Rules]) -> Tree:
    r"""\genfrac as a fraction, or as one thing over the other, between delimiters that stretch."""
    left, right, thickness, style, over, under = (node if isinstance(node, list) else [node] for node in arguments)
    flat = "".join(leaves(thickness))
    parts = [_spelt(over, arrays), _spelt(under, arrays)]
    if _NO_LINE.fullmatch(flat):
        inside: Tree = [r"\begin{matrix}", parts[0], r"\\", parts[1], r"\end{matrix}"]
    elif not flat:
        inside = [r"\frac", *parts]
    else:
        raise LatexError(f"A fraction line of {flat} has no counterpart in MathML here; use \\frac.")
    if left or right:
        inside = [r"\left", *(left or ["."]), *inside, r"\right", *(right or ["."])]
    size = _STYLES.get("".join(leaves(style)))
    return [size, *inside] if size else inside


# --- MathML -----------------------------------------------------------------------------------------------


def mathml(formula: str) -> str:
    """Presentation MathML of a displayed formula, well-formed XML without entities; Word takes it when pasted.

    Raises LatexError for what is not well-formed, and for what has no counterpart.
    """
    return ElementTree.tostring(_element(formula), encoding="unicode", short_empty_elements=True)


def _element(formula: str) -> ElementTree.Element:
    from latex2mathml.converter import convert_to_element

    tokens = latex.normalise(formula)
    if not tokens:
        raise LatexError("There is no formula to export yet.")
    arrays: list[_Rules] = []
    spelt = latex.pretty(leaves(_spelt(read_tree(tokens) or [], arrays)))
    try:
        root = convert_to_element(spelt, display="block")
    except Exception as error:  # what it raises has no common base
        raise LatexError(f"This formula cannot be written as MathML ({type(error).__name__}).") from error
    for element in root.iter():
        # It writes characters as references, and leaves what it does not know as it is.
        text = html.unescape(element.text or "")
        element.text = _CHARACTERS.get(text, text) or None
        element.attrib.update({key: html.unescape(value) for key, value in element.attrib.items()})
        unknown = re.match(r"\\[A-Za-z]+", element.text or "")
        if unknown:
            raise LatexError(f"{unknown[0]} cannot be written as MathML.")
    _draw_rules(root, arrays)
    for element in root.iter():
        _mend(element)
    return root


def _draw_rules(root: ElementTree.Element, arrays: list[_Rules]) -> None:
    """Give tables their lines; where only some sides of the frame are there, `data-rules` names all."""
    for table in root.iter("mtable"):
        for cell in table.iterfind("mtr/mtd"):
            mark = next((child for child in cell if (child.text or "").startswith(_MARK)), None)
            if mark is None:
                continue
            cell.remove(mark)
            rules = arrays[int((mark.text or "")[len(_MARK) :])]
            high = len(table)
            wide = max(len(row) for row in table)
            for name, where, count in (("columnlines", rules.columns, wide), ("rowlines", rules.rows, high)):
                if count > 1 and where & set(range(1, count)):
                    table.set(name, " ".join("solid" if index in where else "none" for index in range(1, count)))
            if {0, wide} <= rules.columns and {0, high} <= rules.rows:
                table.set("frame", "solid")
            for name, where in (("data-columns", rules.columns), ("data-rows", rules.rows)):
                table.set(name, " ".join(map(str, sorted(where))))
            break


def _mend(element: ElementTree.Element) -> None:
    """What Word and others need beside what latex2mathml says."""
    children = list(element)
    first = children[0] if children else None
    if element.tag == "mover" and len(children) == 2 and children[1].text in _ACCENTS:
        element.set("accent", "true")  # or it is taken for a limit
        if sum(1 for _ in children[0].iter()) > 2:
            children[1].set("stretchy", "true")
    elif element.tag in _SCRIPTS and first is not None and first.text in _WITH_LIMITS:
        element.tag = _SCRIPTS[element.tag]
        first.set("movablelimits", "true")  # where it is not displayed, they stand beside it
    elif element.tag == "mo" and element.text == "mod":
        element.attrib.update(lspace="0.2222em", rspace="0.2222em")


_MARK = "hmer-table-"
_ACCENTS = frozenset("^ˇ~´`˙¨⃛⃜˘¯→←↔˚―‾_\u0302\u0303\u0307\u20d7")
_SCRIPTS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
_WITH_LIMITS = frozenset(name[1:] for name in known.NAMED_WITH_LIMITS)


# --- pictures ---------------------------------------------------------------------------------------------


def svg(formula: str) -> str:
    """The typeset formula as SVG, black on nothing, made of paths alone: it looks the same wherever it is opened.

    Raises LatexError.
    """
    from ziamath.config import config
    from ziamath.zmath import Math

    if len(latex.normalise(formula)) > DRAWN_TOKENS:  # ziamath's time grows with the square
        raise LatexError(f"This formula has more than {DRAWN_TOKENS} symbols, too many to be drawn; shorten it.")
    config.svg2 = False  # Word, Inkscape and older viewers know no SVG 2
    root = _element(formula)
    del root.attrib["xmlns"]  # ziamath writes and reads it again, and then finds none of its names
    try:
        picture = Math(root, size=SVG_SIZE_PX, title=formula, margin=SVG_SIZE_PX / 4)
        _add_lines(picture.node)
        return str(picture.svg())
    except Exception as error:  # its errors have no common base
        raise LatexError(f"This formula cannot be drawn ({type(error).__name__}).") from error


def _add_lines(node: Any) -> None:
    """Lines into the tables below a node: ziamath draws none."""
    from ziamath.drawable import HLine, VLine

    for child in node.nodes:
        if hasattr(child, "nodes"):
            _add_lines(child)
    if getattr(node, "mtag", "") != "mtable" or "data-columns" not in node.element.attrib:
        return
    counts = [len(row) for row in node.element]
    cells = list(zip(node.nodes, node.nodexy, strict=True))
    rows = [cells[sum(counts[:index]) : sum(counts[: index + 1])] for index in range(len(counts))]
    columns = [[row[index] for row in rows if index < len(row)] for index in range(max(counts))]
    tops = [min(y - cell.bbox.ymax for cell, (_, y) in row) for row in rows]
    bottoms = [max(y - cell.bbox.ymin for cell, (_, y) in row) for row in rows]
    lefts = [min(x + cell.bbox.xmin for cell, (x, _) in column) for column in columns]
    rights = [max(x + cell.bbox.xmax for cell, (x, _) in column) for column in columns]
    gap = SVG_SIZE_PX / 6
    xs = [lefts[0] - gap, *((r + x) / 2 for r, x in zip(rights, lefts[1:], strict=False)), rights[-1] + gap]
    ys = [tops[0] - gap, *((b + y) / 2 for b, y in zip(bottoms, tops[1:], strict=False)), bottoms[-1] + gap]
    thin = SVG_SIZE_PX / 24
    for index in map(int, node.element.get("data-columns").split()):
        node.nodes.append(VLine(ys[-1] - ys[0], thin))
        node.nodexy.append((xs[index], ys[0]))
    for index in map(int, node.element.get("data-rows").split()):
        node.nodes.append(HLine(xs[-1] - xs[0], thin))
        node.nodexy.append((xs[0], ys[index]))


def png(formula: str) -> bytes:
    """The typeset formula as PNG, black on white, fine enough for print. Raises LatexError."""
    import resvg_py

    drawn = svg(formula)
    root = ElementTree.fromstring(drawn)  # noqa: S314 - our own
    wide, tall = (PNG_ZOOM * float(root.get(side, "nan")) for side in ("width", "height"))
    if not wide * tall <= PNG_PIXELS:  # resvg would end the whole process where memory does not suffice
        raise LatexError(
            f"The picture would have {wide:.0f} x {tall:.0f} pixels; save it as SVG, or shorten the formula."
        )
    return bytes(resvg_py.svg_to_bytes(svg_string=drawn, background="#ffffff", zoom=PNG_ZOOM, skip_system_fonts=True))


# --- all of them ------------------------------------------------------------------------------------------

FORMATS: dict[str, Callable[[str], str | bytes]] = {
    "latex": str.strip,
    "inline": lambda formula: f"${formula.strip()}$",
    "display": lambda formula: f"\\[\n{formula.strip()}\n\\]",
    "mathml": mathml,
    "svg": svg,
    "png": png,
}


def export(formula: str, form: str) -> str | bytes:
    """A formula in one of FORMATS. Raises ConfigError for another, LatexError."""
    if form not in FORMATS:
        raise ConfigError(f"The format {form!r} is not known; known are {', '.join(FORMATS)}.")
    return FORMATS[form](formula)
