"""A formula as MathML, SVG and PNG: well-formed, complete, and with the structure that other programs go by."""

import io
import re
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest

from hmer import latex, latex_symbols
from hmer.checkpoint import resolve
from hmer.datasets.folder import read_dataset
from hmer.errors import ConfigError, LatexError
from hmer.export import MATHML, export, mathml, png, svg

ALIGNED = r"\begin{aligned} a &= b+\frac{1}{2} \\ &= c \end{aligned}"
SVG = "{http://www.w3.org/2000/svg}"


def parsed(formula: str) -> ElementTree.Element:
    return ElementTree.fromstring(mathml(formula))


def tags(formula: str) -> list[str]:
    return [element.tag.removeprefix(f"{{{MATHML}}}") for element in parsed(formula).iter()]


def find(formula: str, path: str) -> list[ElementTree.Element]:
    return parsed(formula).findall(".//" + "/".join(f"{{{MATHML}}}{name}" for name in path.split("/")))


def characters(formula: str) -> Counter[str]:
    return Counter(re.sub(r"[^A-Za-z0-9]", "", "".join(parsed(formula).itertext())))


def ink(picture: bytes) -> np.ndarray:
    image = PIL.Image.open(io.BytesIO(picture))
    assert image.format == "PNG"
    return np.asarray(image.convert("L")) < 128


def test_text_for_documents() -> None:
    assert export(" x^2 ", "latex") == "x^2"
    assert export("x^2", "inline") == "$x^2$"
    assert export("x^2", "display") == "\\[\nx^2\n\\]"
    with pytest.raises(ConfigError, match="latex, inline, display, mathml, svg, png"):
        export("x", "docx")


def test_mathml_is_what_word_takes() -> None:
    assert mathml("x").startswith(f'<math xmlns="{MATHML}" display="block">')
    assert "&" not in mathml(r"a \leq b \quad \text{if } \hat{x} \in \mathbb{R}")  # entities mean nothing to Word
    rows = find(ALIGNED, "mtable/mtr")
    assert [[cell.get("columnalign") for cell in row] for row in rows] == [["right", "left"]] * 2
    assert "".join(rows[1].itertext()) == "=c"
    assert find(ALIGNED, "mtable")[0].get("displaystyle") == "true"
    for accent in (r"\hat{x}", r"\vec{v}", r"\dot{x}", r"\bar{z}", r"\overline{ab}", r"\widehat{abc}"):
        assert find(accent, "mover")[0].get("accent") == "true", accent
    (limit,) = find(r"\lim_{x \to 0} f", "munder")
    assert limit[0].get("movablelimits") == "true"
    assert tags(r"\sum_{i=1}^n i") == ["math", "mrow", "munderover", "mo", "mrow", "mi", "mo", "mn", "mi", "mi"]


@pytest.mark.parametrize("environment", sorted(latex_symbols.ENVIRONMENT_COLUMNS))
def test_every_environment_keeps_its_cells(environment: str) -> None:
    columns = latex_symbols.ENVIRONMENT_COLUMNS[environment] or 2
    if environment == "subarray":
        columns = 1
    argument = {"array": "{rl}", "subarray": "{c}", "alignedat": "{1}"}.get(environment, "")
    cells = [["a", r"\frac{b}{c}"][:columns], ["d", "e"][:columns]]
    body = r" \\ ".join(" & ".join(row) for row in cells)
    rows = find(f"x+\\begin{{{environment}}}{argument} {body} \\end{{{environment}}}", "mtable/mtr")
    assert [["".join(cell.itertext()) for cell in row] for row in rows] == [["a", "bc"][:columns], ["d", "e"][:columns]]


def test_lines_of_an_array() -> None:
    formula = r"\begin{array}{|c|cc|} \hline a & b & 1 \\ \hline c & d & 2 \\ e & f & 3 \\ \hline \end{array}"
    (table,) = find(formula, "mtable")
    assert table.get("columnlines") == "solid none"
    assert table.get("rowlines") == "solid none"
    assert table.get("frame") == "solid"
    assert "hmer" not in "".join(table.itertext())
    drawn = ElementTree.fromstring(svg(formula)).findall(f"{SVG}rect")
    assert len(drawn) == 3 + 3
    picture = ink(png(formula))
    assert (picture.mean(axis=0) > 0.8).sum() > 0  # a column of pixels from top to bottom
    assert (picture.mean(axis=1) > 0.8).sum() > 0
    assert not picture[0].any() and not picture[:, 0].any()  # nothing is cut off
    augmented = r"\left(\begin{array}{cc|c} a & b & c \\ d & e & f \end{array}\right)"
    assert find(augmented, "mtable")[0].get("columnlines") == "none solid"
    assert find(augmented, "mtable")[0].get("frame") is None


def test_one_over_another() -> None:
    assert "".join(parsed(r"{a \brack b}").itertext()) == "[ab]"
    assert "mfrac" not in tags(r"{a \atop b}")
    assert "mfrac" in tags(r"\frac{a}{b}")


def test_every_command_is_written_or_refused() -> None:
    refused = set()
    for name in sorted(latex_symbols.KNOWN_COMMANDS):
        arguments = {"m": "{x}", "o": "", "p": "", "r": "{1em}", "t": "{ab}", "s": "{a}"}
        formula = f"a {name}" + "".join(arguments[kind] for kind in latex_symbols.SIGNATURES.get(name, "")) + " b"
        if not latex.is_valid(formula):
            continue
        try:
            text = "".join(parsed(formula).itertext())
        except LatexError:
            refused.add(name)
        else:
            assert "\\" not in text or name in (r"\backslash", r"\textbackslash"), formula
    assert refused - latex_symbols.TEXT_SYMBOLS == {
        r"\genfrac",
        r"\hdotsfor",
        r"\multicolumn",
        r"\overgroup",
        r"\raisebox",
        r"\undergroup",
    }


def test_whole_formulas_lose_nothing() -> None:
    """The letters and digits of every formula of the regression set, as often as in its tokens."""
    items = read_dataset(resolve("handwritten") / "regression", "full")
    assert len(items) > 100
    for item in items:
        formula = latex.pretty(item.tokens)
        words = [token.removeprefix("\\") for token in item.tokens if token in latex_symbols.OPERATOR_NAMES]
        words += [name[1:] for name in item.tokens if name in latex_symbols.NAMED_WITH_LIMITS]
        letters = [token for token in item.tokens if re.fullmatch(r"[A-Za-z0-9]", token)]
        assert characters(formula) == Counter("".join(words + letters)), formula


def test_pictures_are_drawn_of_paths_alone() -> None:
    formula = r"\frac{a}{b} < \text{<script>alert(1)</script>}"
    root = ElementTree.fromstring(svg(formula))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg",
        "title",
        "path",
        "rect",
        "symbol",
        "use",
        "g",
    }
    assert all(
        value.startswith("#") for element in root.iter() for key, value in element.attrib.items() if "href" in key
    )
    assert "font" not in svg(formula)  # the machine that opens it needs none
    wide, narrow = ink(png("x+x+x+x")), ink(png("x"))
    assert narrow.mean() > 0.05
    assert wide.shape[1] > 3 * narrow.shape[1]
    assert wide.sum() > 3 * narrow.sum()
    assert ink(png(ALIGNED)).shape[0] > 1.2 * ink(png(r"a=b+\frac{1}{2}")).shape[0]


@pytest.mark.parametrize("form", ["mathml", "svg", "png"])
def test_what_is_no_formula_is_refused(form: str) -> None:
    with pytest.raises(LatexError, match="never closed"):
        export(r"\frac{a", form)
    with pytest.raises(LatexError, match="no formula"):
        export("  ", form)


def test_a_picture_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(LatexError, match="too many to be drawn"):
        export("x" * 3_000, "svg")
    tall_and_wide = r"\begin{matrix}" + "x" * 900 + r"\\ x" * 400 + r"\end{matrix}"
    with pytest.raises(LatexError, match="pixels; save it as SVG"):
        export(tall_and_wide, "png")
