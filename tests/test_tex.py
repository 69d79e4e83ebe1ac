"""Typesetting by TeX: what gets there, how its log is read, and, where TeX is installed, that it works and is bounded."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from hmer import tex
from hmer.errors import LatexError, RenderError
from hmer.latex import label_tokens, normalise
from hmer.rendered import difference, looks_the_same, set_alike
from hmer.tex import Drawing, Failure, Job, safe_source, typeset

needs_tex = pytest.mark.skipif(not tex.is_installed(), reason=f"latex and dvipng are not here; {tex.INSTALL}")

HOSTILE = (
    r"\input{/etc/passwd}",
    r"\hspace{\input{/etc/passwd}}x",
    r"\label{\immediate\write18{touch x}}y",
    r"\vspace{\csname x\endcsname}a",
    r"\begin{array}{@{\input{x}}c}a\end{array}",
    r"\text{^^5cinput}",
    r"\hspace{^ ^5cinput b}x",
    r"\begin{filecontents}x\end{filecontents}",
    r"\def\x{\x}\x",
    r"}\end{document}",
)


@pytest.mark.parametrize("formula", HOSTILE)
def test_what_could_do_more_than_typeset_does_not_reach_tex(formula: str) -> None:
    with pytest.raises(LatexError):
        safe_source(formula)


@pytest.mark.parametrize(
    ("formula", "source"),
    [
        ("a % comment\n+ b", "a + b"),
        ("a\n\t+ b", "a + b"),
        (r"x \hspace { 1 . 5 c m } { \cal R }", r"x \hspace{1.5cm} { \cal R }"),
        (
            r"\begin{array} { c c } a & b \\ [ 2 p t ] c & d \end{array}",
            r"\begin{array}{cc} a & b \\[2pt] c & d \end{array}",
        ),
        (r"a \kern 2 p t b", r"a \kern2pt b"),
        (r"\genfrac { \{ } { } { 0 p t } { } { a } { b }", r"\genfrac{\{}{}{0pt}{} { a } { b }"),
        (r"\begin{array} { p { 3 c m } l } a \end{array}", r"\begin{array}{p{3cm}l} a \end{array}"),
        (r"\begin{array} { @ { \quad c } } a \end{array}", r"\begin{array}{@{\quad c}} a \end{array}"),
        (r"\text{two words}", r"\text{two words}"),
        (r"a \text { s o ~ t h a t } b", r"a \text {so~that} b"),
        (r"\text { i f ~ $ x _ { 1 } $ \ldots a n d }", r"\text {if~$ x _ { 1 } $\ldots and}"),
        (r"\textbf { o n e } { t w o }", r"\textbf {one} { t w o }"),
    ],
)
def test_source_is_one_line_with_dimensions_that_tex_reads(formula: str, source: str) -> None:
    assert safe_source(formula) == source


class FakeTex:
    """Stands for latex and dvipng: refuses \\eta, stops for ever in \\xi, and cannot draw \\zeta."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, command: Sequence[str], folder: Path, seconds: float) -> bool:
        if command[0] == "latex":
            self.runs += 1
            return self.latex(folder)
        first = int(command[command.index("-p") + 1].removeprefix("="))
        for place, source in enumerate((folder / "formulas.dvi").read_text().splitlines(), start=1):
            if place >= first:
                if r"\zeta" in source:
                    return False
                cv2.imwrite(str(folder / f"{place}.png"), np.full((3, len(source) % 50 + 4), 99, np.uint8))
        return True

    @staticmethod
    def latex(folder: Path) -> bool:
        log, pages = [], []
        document = (folder / "formulas.tex").read_text()
        secret = document.split(r"\immediate\write-1{<")[1].split(" ")[0]
        for line in document.splitlines():
            if not line.startswith(r"\hmerbegin{"):
                continue
            number = line.split("{")[1].split("}")[0]
            if r"\xi" in line:
                (folder / "formulas.log").write_text("\n".join(log[: max(0, len(log) - 3)]))
                return False
            log.append(f"<{secret} begin {number}>")
            if r"\eta" in line:
                log += ["! Undefined control sequence.", r"l.14 ... \eta", "  }"]
            log += [f"<{secret} ship {number}>", f"<{secret} end {number} 0>"]
            pages.append(line)
        (folder / "formulas.log").write_text("\n".join(log))
        (folder / "formulas.dvi").write_text("\n".join(pages))
        return True


def test_one_bad_formula_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTex()
    monkeypatch.setattr(tex, "_call", fake)
    monkeypatch.setattr(tex, "is_installed", lambda: True)
    formulas = [f"x _ {{ {number} }}" for number in range(40)]
    formulas[7], formulas[20], formulas[30] = r"\eta", r"\xi", r"\zeta"
    formulas[35] = r"\unknown"
    done: list[int] = []
    results = typeset([Job(formula) for formula in formulas], progress=done.append)
    failures = {place: result.reason for place, result in enumerate(results) if isinstance(result, Failure)}
    assert failures == {
        7: r"Undefined control sequence \eta",
        20: "TeX does not come to its end (time, memory or structure)",
        30: "cannot be drawn (time, memory or structure)",
        35: r"refused: \unknown is not a command that is known here. Check its spelling.",
    }
    assert done == [40]
    assert fake.runs < 20


def test_fonts_and_resolutions_have_runs_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTex()
    monkeypatch.setattr(tex, "_call", fake)
    monkeypatch.setattr(tex, "is_installed", lambda: True)
    typeset([Job("x"), Job("y", font="times"), Job("z"), Job("x", dpi=100)])
    assert fake.runs == 3


def test_without_tex_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tex, "is_installed", lambda: False)
    with pytest.raises(RenderError, match="apt-get install"):
        typeset([Job("x")])


def test_difference_counts_dark_pixels_after_the_best_shift() -> None:
    one = np.full((20, 30), 255, np.uint8)
    one[5:15, 5:25] = 0
    moved = np.full((20, 30), 255, np.uint8)
    moved[7:17, 4:24] = 0
    assert difference(one, moved) == 0
    moved[7, 4] = 255
    assert difference(one, moved) == pytest.approx(1 / 200)
    assert looks_the_same(one, moved)
    moved[7, 5:9] = 255
    assert not looks_the_same(one, moved)
    assert difference(one, np.full((20, 30), 255, np.uint8)) == 1


@needs_tex
def test_tex_sets_every_font_and_fails_alone() -> None:
    jobs = [Job(r"\sum _ { i } x ^ { 2 }", font=font, size_pt=8, dpi=75) for font in tex.FONTS]
    *pictures, missing, bad, last = typeset([*jobs, Job(r"\text{漢}"), Job(r"\hspace{90000pt} x"), Job("a + b")])
    assert all(not isinstance(picture, Failure) and picture.min() < 128 for picture in [*pictures, last])
    assert isinstance(missing, Failure)
    assert isinstance(bad, Failure) and bad.reason == "Dimension too large."


@needs_tex
def test_pictures_belong_to_their_formulas_behind_a_failure() -> None:
    refused = Job(r"\hspace{90000pt} x")
    together = typeset([Job("a"), refused, Job(r"\rule{14000pt}{14000pt}"), Job("~"), Job("x + y + z")])
    alone = typeset([Job("x + y + z")])
    assert [isinstance(result, Failure) for result in together] == [False, True, True, True, False]
    assert np.array_equal(together[4], alone[0])  # type: ignore[arg-type]


@needs_tex
def test_a_formula_cannot_write_the_marks_of_the_log() -> None:
    alone = typeset([Job("W + W")])[0]
    forged = [r"\oiint\text{<ship 0><x>}", r"\oiint\text{<large 99999999>}", r"\oiint\text{<begin 0><end 0 0>}"]
    first, *failed, second, third = typeset([Job(formula) for formula in ["a", *forged, "W + W", "i"]])
    assert all(isinstance(one, Failure) and "oiint" in one.reason for one in failed)
    assert not isinstance(first, Failure) and not isinstance(third, Failure)
    assert np.array_equal(second, alone)  # type: ignore[arg-type]


@needs_tex
@pytest.mark.parametrize(
    ("formula", "like"),
    [
        (r"a\atop b", r"\genfrac{}{}{0pt}{}{a}{b}"),
        (r"{n\brack k}+1", r"\genfrac{[}{]}{0pt}{}{n}{k}+1"),
        (r"a+b\over c", r"\frac{a+b}{c}"),
        (r"\mbox{$\sum_i\frac ab$}", r"\textstyle\sum_i\frac ab"),
        (r"{\rm SU(2)}", r"\mathrm{SU(2)}"),
        (r"x\buildrel\rm def\over=y", r"x\stackrel{\mathrm{def}}{=}y"),
        (r"\begin{split}a&=b\\c&=d\end{split}", r"\begin{aligned}a&=b\\c&=d\end{aligned}"),
    ],
)
def test_a_normal_form_looks_like_what_was_typed(formula: str, like: str) -> None:
    normal, typed = typeset([Job(" ".join(normalise(formula))), Job(like)])
    assert not isinstance(normal, Failure) and not isinstance(typed, Failure)
    assert difference(normal, typed) == 0


@needs_tex
@pytest.mark.slow
def test_what_never_ends_is_found_and_the_others_are_set() -> None:
    endless = Job(r"\begin{array}{*{99999}{c}}a\end{array}")
    results = typeset([Job("a"), endless, Job("b")], seconds=4)
    assert [isinstance(result, Failure) for result in results] == [False, True, False]


@needs_tex
@pytest.mark.parametrize(
    "formula",
    [
        r"f\left(x_i,y\right)g+\left[a^m\right]-\left\{b\right\}\left\langle z\right\rangle,",
        r"a~+b\,\,\,c=~\sum x~\ldots~~~d,\;-\left(u\right)\left(v\right)\;.",
        r"\left|0\right\rangle_n=\left|x\right|\sin\left(x\right)\times\operatorname{Tr}(y)",
        r"P_\perp+P_\parallel^{a\mid b}=\frac{1}{\left(p\right)~q}",
    ],
)
def test_the_label_form_of_print_is_set_as_what_was_typed(formula: str) -> None:
    label = " ".join(label_tokens(formula, "printed"))
    assert label != " ".join(normalise(formula))
    drawn = tex.draw([Job(source, with_glyphs=True) for source in (formula, label, formula.replace("x", "x\\,"))])
    glyphs = [drawing.glyphs for drawing in drawn if isinstance(drawing, Drawing)]
    assert set_alike(glyphs[0], glyphs[1])
    assert set_alike(glyphs[0], glyphs[2]) == ("x" not in formula)
