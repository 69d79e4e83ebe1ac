"""Golden tables, round trips and hostile input for hmer.latex."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmer.errors import ConfigError, LatexError
from hmer.latex import (
    LABEL_FORMS,
    MAX_DEPTH,
    is_valid,
    label_tokens,
    normalise,
    pretty,
    reduce,
    split,
    tokenise,
    validate,
)
from hmer.vocabulary import RELATIONS

NORMAL_FORMS = [
    # scripts
    ("x^2", "x ^ { 2 }"),
    ("x^10", "x ^ { 1 } 0"),
    ("x^{10}_i", "x _ { i } ^ { 1 0 }"),
    (r"x\sp2\sb i", "x _ { i } ^ { 2 }"),
    ("^2x", "{ } ^ { 2 } x"),
    ("{}_a^b X", "{ } _ { a } ^ { b } X"),
    (r"x_\alpha", r"x _ { \alpha }"),
    (r"x^\frac12", r"x ^ { \frac { 1 } { 2 } }"),
    ("x_{}+y^{}", "x + y"),
    ("e^{x^{2}}", "e ^ { x ^ { 2 } }"),
    # primes
    ("f'", r"f ^ { \prime }"),
    ("f''(x)", r"f ^ { \prime \prime } ( x )"),
    ("x'^2", r"x ^ { \prime 2 }"),
    ("x_1'", r"x _ { 1 } ^ { \prime }"),
    ("f^{'}", r"f ^ { \prime }"),
    (r"f^\prime", r"f ^ { \prime }"),
    (r"f\prime", r"f \prime"),
    # braces
    ("{x}+{ab}", "x + a b"),
    ("{{{x}}}", "x"),
    ("{x}^2", "x ^ { 2 }"),
    ("{(a+b)}^2", "( a + b ) ^ { 2 }"),
    ("{x^2}^3", "{ x ^ { 2 } } ^ { 3 }"),
    ("{v_0}^2", "{ v _ { 0 } } ^ { 2 }"),
    ("x{=}y", "x { = } y"),
    ("1{,}000", "1 { , } 0 0 0"),
    ("x{-y}", "x { - y }"),
    ("={-y}", "= - y"),
    ("x{}y", "x y"),
    ("a{}-b", "a - b"),
    ("{}-b", "{ } - b"),
    (r"\sin{x}", r"\sin x"),
    (r"\sin{(x)}", r"\sin { ( x ) }"),
    (r"{\displaystyle x}", "x"),
    (r"{\textstyle\sum_i} x", r"{ \textstyle \sum _ { i } } x"),
    # synonyms
    (r"a\le b\ge c\ne d", r"a \leq b \geq c \neq d"),
    (r"a\lt b\gt c", "a < b > c"),
    (r"x\to\infty", r"x \rightarrow \infty"),
    (r"\lbrace\lbrack x\rbrack\rbrace", r"\{ [ x ] \}"),
    (r"\|x\Vert", r"\| x \|"),
    (r"1,\dots,n", r"1 , \ldots , n"),
    (r"1+\dots+n", r"1 + \cdots + n"),
    (r"\not=\not\in\not\sim", r"\neq \notin \not \sim"),
    (r"a\iff b", r"a \; \Longleftrightarrow \; b"),
    (r"a\ast b", "a * b"),
    ("α≤β·x²", r"\alpha \leq \beta \cdot x ^ { 2 }"),
    ("90°", r"9 0 ^ { \circ }"),
    ("x∈ℝ", r"x \in \mathbb { R }"),
    # commands with arguments
    (r"\frac12", r"\frac { 1 } { 2 }"),
    (r"{a\over b}", r"\frac { a } { b }"),
    (r"{1+x \over 2}+1", r"\frac { 1 + x } { 2 } + 1"),
    (r"n\choose k", r"\binom { n } { k }"),
    (r"a\atop b", r"\genfrac { } { } { 0 p t } { } { a } { b }"),
    (r"\dfrac12+\frac{\dfrac12}3", r"\frac { 1 } { 2 } + \frac { \dfrac { 1 } { 2 } } { 3 }"),
    (r"\sqrt x", r"\sqrt { x }"),
    (r"\sqrt[3]{x}", r"\sqrt [ 3 ] { x }"),
    (r"\sqrt[{[n]}]x", r"\sqrt [ { [ n ] } ] { x }"),
    (r"\root 3\of x", r"\sqrt [ 3 ] { x }"),
    (r"\hat x\overline{ab}\vec\imath", r"\hat { x } \overline { a b } \vec { \imath }"),
    (r"\stackrel{a}=\overset!=", r"\stackrel { a } { = } \overset { ! } { = }"),
    (r"\xrightarrow[a]{b}", r"\xrightarrow [ a ] { b }"),
    (r"\sum_{\substack{i\\j}}x", r"\sum _ { \substack { i \\ j } } x"),
    (r"\underbrace{a+b}_{n}", r"\underbrace { a + b } _ { n }"),
    # fonts, names, text
    (r"\mathrm dx", r"\mathrm { d } x"),
    (r"{\rm d}x", r"\mathrm { d } x"),
    (r"{\rm SU(2)}+{\rm (ab)}", r"\mathrm { S U ( 2 ) } + ( \mathrm { a b } )"),
    (r"a\buildrel\rm def\over=b", r"a \stackrel { \mathrm { d e f } } { = } b"),
    (r"\tfrac12\buildrel x\over=b", r"\tfrac { 1 } { 2 } \stackrel { x } { = } b"),
    (r"\sum\nolimits_i\sqrt[a\over b]c", r"\sum \nolimits _ { i } \sqrt [ \frac { a } { b } ] { c }"),
    (r"[a\over b", r"\frac { [ a } { b }"),
    (r"\not\kern-2pt D", r"\not \hspace { - 2 p t } D"),
    (r"{\not}D", r"{ \not } D"),
    (r"\mathop{\rm P}_x", r"\mathop { \mathrm { P } } _ { x }"),
    (r"\mbox{$\frac ab$}", r"\mbox { $ \frac { a } { b } $ }"),
    (r"\text{$\sum\nolimits_i$}", r"\text { $ \sum \nolimits _ { i } $ }"),
    (r"a\space b", "a b"),
    (r"{\bf x+y}", r"\mathbf { x + y }"),
    (r"{\cal L}_i", r"\mathcal { L } _ { i }"),
    (r"\Bbb R", r"\mathbb { R }"),
    (r"\operatorname{sin}x", r"\sin x"),
    (r"\operatorname*{lim}x", r"\lim x"),
    (r"\mathop{\mathrm{Hom}}\nolimits", r"\operatorname* { H o m }"),
    (r"\text{if  $x>0$}", r"\text { i f ~ $ x > 0 $ }"),
    (r"\text { i f }", r"\text { i f }"),
    (r"\mbox{for all}", r"\text { f o r ~ a l l }"),
    # spacing, what cannot be seen
    (r"a\,b\:c\;d\!e~f\ g\quad h", r"a \, b \: c \; d \! e ~ f ~ g \quad h"),
    (r"a\hskip 1em b\mkern3mu c\hspace{1cm}d", r"a \quad b \, c \hspace { 1 c m } d"),
    ("a % comment\n b", "a b"),
    (r"\color{red}a\label{x}\nonumber", "a"),
    (r"\textcolor{red}{a}+b", "a + b"),
    # delimiters and limits
    (r"\left(x\right]", r"\left ( x \right ]"),
    (r"\left<x\middle|y\right.", r"\left \langle x \middle | y \right ."),
    (r"\bigl( x \Bigr\}", r"\bigl ( x \Bigr \}"),
    (r"\sum\limits_{i=1}^n i", r"\sum _ { i = 1 } ^ { n } i"),
    (r"\sum\nolimits_i", r"\sum \nolimits _ { i }"),
    (r"\frac{\sum\limits_i}{\sum\nolimits_i}", r"\frac { \sum \limits _ { i } } { \sum _ { i } }"),
    (r"\int\limits_0^1\int\nolimits_0^1", r"\int \limits _ { 0 } ^ { 1 } \int _ { 0 } ^ { 1 }"),
    (r"\sum\limits", r"\sum"),
    # environments and wrappers
    (r"\begin{matrix}a&b\\c&d\\\end{matrix}", r"\begin{matrix} a & b \\ c & d \end{matrix}"),
    (r"\left(\begin{matrix}a\\b\end{matrix}\right)", r"\begin{pmatrix} a \\ b \end{pmatrix}"),
    (r"\pmatrix{a&b\cr c&d}", r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}"),
    (
        r"\begin{array}{l|c}\hline a&{b}\\[2pt]c&d\end{array}",
        r"\begin{array} { l | c } \hline a & b \\ [ 2 p t ] c & d \end{array}",
    ),
    (r"\begin{cases}1&x\\[y]\end{cases}", r"\begin{cases} 1 & x \\ { } [ y ] \end{cases}"),
    (r"\begin{align*}a&=b\\c&=d\end{align*}", r"\begin{aligned} a & = b \\ c & = d \end{aligned}"),
    (r"\begin{equation}a=b\label{e}\end{equation}", "a = b"),
    (r"$$x$$", "x"),
    (r"\(x\)", "x"),
    (r"\[ x \]", "x"),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("latex", "tokens"), NORMAL_FORMS)
def test_normal_form(latex: str, tokens: str) -> None:
    assert " ".join(normalise(latex)) == tokens


@pytest.mark.parametrize("tokens", [tokens for _, tokens in NORMAL_FORMS])
def test_normal_form_stays_as_it_is(tokens: str) -> None:
    assert " ".join(normalise(tokens)) == tokens
    assert " ".join(normalise(pretty(tokens.split()))) == tokens


ERRORS = [
    ("{a", 0, 1, "never closed"),
    (r"a\hline", 1, 7, "cannot stand here"),
    (r"a\end{aligned", 1, 5, "needs the name of an environment"),
    ("a}", 1, 2, "closes nothing"),
    (r"\frac{a}", 0, 5, "needs an argument"),
    (r"\sqrt", 0, 5, "needs an argument"),
    ("x^", 1, 2, "needs an argument"),
    ("x^^2", 1, 2, "needs an argument"),
    ("x^2^3", 3, 4, "Double superscript"),
    ("x_1_2", 3, 4, "Double subscript"),
    ("x^2'", 3, 4, "Double superscript"),
    (r"\left(a", 0, 5, r"has no \right"),
    (r"a\right)", 1, 7, r"without \left"),
    (r"{\left(a}\right)", 8, 9, "stands open"),
    (r"\left x\right)", 6, 7, "delimiter"),
    ("a&b", 1, 2, "outside an environment"),
    (r"a\\b", 1, 3, "outside an environment"),
    (r"\begin{matrix}a", 0, 14, "never closed"),
    (r"a\end{matrix}", 1, 13, r"without \begin"),
    (r"\begin{matrix}a\end{cases}", 15, 26, "stands open"),
    (r"\begin{cases}a&b&c\end{cases}", 16, 17, "More columns"),
    (r"\begin{matirx}a\end{matirx}", 0, 14, "matrix"),
    (r"a+\alpah", 2, 8, r"\alpha"),
    (r"x\limits_1", 1, 8, "must follow an operator"),
    (r"a\over b\over c", 8, 13, "in one group"),
    (r"a $ b", 2, 3, "inside a formula"),
    ("a#b", 1, 2, r"\#"),
    ("a\\", 1, 2, "backslash"),
    (r"\text{a", 5, 6, "never closed"),
    (r"\text{\alpha}", 6, 12, "dollars"),
    (r"\hskip x", 0, 6, "dimension"),
    ("a☃", 1, 2, "cannot stand"),
]


@pytest.mark.parametrize(("latex", "start", "end", "message"), ERRORS)
def test_ill_formed_says_where_and_why(latex: str, start: int, end: int, message: str) -> None:
    with pytest.raises(LatexError) as caught:
        normalise(latex)
    assert message in str(caught.value)
    if latex != r"\hskip x":
        assert (caught.value.start, caught.value.end) == (start, end)
    assert not is_valid(latex)
    assert (validate(latex)[0].start, str(validate(latex)[0])) == (caught.value.start, str(caught.value))


def test_validate_lists_every_unknown_command() -> None:
    errors = validate(r"\foo x + \alpah y")
    assert [(error.start, error.end) for error in errors] == [(0, 4), (9, 15)]
    assert validate(r"\frac{a}{b}") == []


def test_is_valid_takes_tokens() -> None:
    assert is_valid(["x", "^", "{", "2", "}"])
    assert not is_valid(["x", "^", "{", "2"])


def test_split_keeps_what_is_there() -> None:
    assert split(r"\begin {array}{c} x^{2} % no") == [
        r"\begin{array}",
        "{",
        "c",
        "}",
        "x",
        "^",
        "{",
        "2",
        "}",
    ]
    assert [(token.start, token.end) for token in tokenise(r"x \alpha")] == [(0, 1), (2, 8)]


PRETTY = [
    (r"\frac { a } { b }", r"\frac{a}{b}"),
    ("x ^ { 2 }", "x^2"),
    ("x ^ { 1 0 }", "x^{10}"),
    ("x ^ { 2 } 3", "x^2 3"),
    ("x _ { i } j", "x_i j"),
    (r"x ^ { \infty } y", r"x^\infty y"),
    (r"\sum _ { i = 1 } ^ { n } i", r"\sum_{i=1}^n i"),
    (r"\sum \limits _ { i = 1 } ^ { n } i", r"\sum_{i=1}^n i"),
    (r"\int \limits _ { 0 } ^ { 1 } x", r"\int\limits_0^1 x"),
    (r"\frac { \sum \limits _ { i } } { 2 }", r"\frac{\sum\limits_i}{2}"),
    (r"f ^ { \prime } ( x )", "f'(x)"),
    (r"x _ { 1 } ^ { \prime 2 }", "x_1'^2"),
    (r"\alpha x", r"\alpha x"),
    ("a + b", "a+b"),
    (r"a \leq b", r"a \leq b"),
    (r"\sin x", r"\sin x"),
    (r"\sin ( x )", r"\sin(x)"),
    (r"\sqrt [ 3 ] { x }", r"\sqrt[3]{x}"),
    (r"\left ( x \right )", r"\left(x\right)"),
    (r"\mathrm { d } x", r"\mathrm{d}x"),
    (r"\text { i f ~ $ x > 0 $ }", r"\text{if $x>0$}"),
    (r"\begin{matrix} a & b \\ c & d \end{matrix}", r"\begin{matrix} a & b \\ c & d \end{matrix}"),
    ("{ } ^ { 2 } x", "{}^2x"),
    # no formulas: joined as well as can be
    (r"\frac { a", r"\frac{a"),
    ("} } x ^", "}}x^"),
    (r"\frac a", r"\frac a"),
    ("_ _ ^", "__^"),
    (r"\foo x", r"\foo x"),
    ("", ""),
]


@pytest.mark.parametrize(("tokens", "latex"), PRETTY)
def test_pretty(tokens: str, latex: str) -> None:
    assert pretty(tokens.split()) == latex


CROHME_LABELS = [
    (r"\left(a\,b\right)", "( a b )"),
    (r"\mathrm{R}^0_0\!", "R _ { 0 } ^ { 0 }"),
    (r"\Big\{x\Big\}", r"\{ x \}"),
    (r"{v_0}^2", "v _ { 0 } ^ { 2 }"),
    (r"{v^2}_0", "v _ { 0 } ^ { 2 }"),
    (r"{x^2}^3", "{ x ^ { 2 } } ^ { 3 }"),
    (r"{y^\prime}^2", r"y ^ { \prime 2 }"),
    (r"\sin{(x)}", r"\sin ( x )"),
    (r"\mbox{rot}\,A", "r o t A"),
    (r"\text{it's}", r"i t ^ { \prime } s"),
    (r"\displaystyle\dfrac12", r"\frac { 1 } { 2 }"),
    (r"\sum_{i=1}^n i", r"\sum \limits _ { i = 1 } ^ { n } i"),
    (r"\int_0^1", r"\int \limits _ { 0 } ^ { 1 }"),
    (r"\int x", r"\int x"),
    (r"\log_a b", r"\log _ { a } b"),
    (r"\lim_{x \to 0}", r"\lim \limits _ { x \rightarrow 0 }"),
    (r"\lvert x\rvert=\lVert y\rVert", r"| x | = \| y \|"),
    (r"\sqrt[\,3]{\mathbf{x}}", r"\sqrt [ 3 ] { x }"),
    (r"\left.x\right|_0", "x | _ { 0 }"),
    (r"\phantom{a}^2b", "{ } ^ { 2 } b"),
    (r"1{,}000", "1 , 0 0 0"),
]


@pytest.mark.parametrize(("latex", "label"), CROHME_LABELS)
def test_crohme_form(latex: str, label: str) -> None:
    assert " ".join(label_tokens(latex, "crohme")) == label
    assert reduce(label.split(), "crohme") == label.split()
    assert label_tokens(pretty(label.split()), "crohme") == label.split()


IM2MARKUP_LABELS = [
    (r"\left(a\right)", r"\left( a \right)"),
    (r"\sin x", r"\operatorname { s i n } x"),
    (r"\lim x", r"\operatorname* { l i m } x"),
    (r"\text{ if}", r"\mathrm { ~ i f }"),
    (
        r"\begin{pmatrix}a&b\\c&d\end{pmatrix}",
        r"\left( \begin{matrix} { a } & { b } \\ { c } & { d } \\ \end{matrix} \right)",
    ),
]


@pytest.mark.parametrize(("latex", "label"), IM2MARKUP_LABELS)
def test_im2markup_form(latex: str, label: str) -> None:
    tokens = label_tokens(latex, "im2markup")
    assert " ".join(tokens) == label
    assert reduce(tokens, "im2markup") == tokens
    assert label_tokens(label, "im2markup") == tokens


def test_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="crohme, crohme_relations, crohme_symbols, full, im2markup"):
        reduce(["x"], "crome")


def test_reduce_refuses_unbalanced_braces() -> None:
    with pytest.raises(LatexError):
        reduce(["{", "x"], "crohme")


# --- properties --------------------------------------------------------------------------------

LETTERS = st.sampled_from([*"abxyzABn0129", r"\alpha", r"\infty", r"\pi", r"\ell", r"\hbar"])
SIGNS = st.sampled_from(
    [*"+-=<>()[]|,.!:/*", r"\leq", r"\cdot", r"\in", r"\{", r"\rangle", r"\lvert", "~", r"\,", r"\quad"]
)
OPERATORS = st.sampled_from([r"\sum", r"\int", r"\lim", r"\sin", r"\log", r"\max", r"\operatorname{tr}", r"\mathop{x}"])


SCRIPTS = st.sampled_from(["_{0}", "^{0}", "_{0}^{1}", "^{0}_{1}", "'", "'^{0}", "''_{0}"])
SHAPES = (
    r"{{{0}}}", "{0}{1}", "{0} {1} {2}", "{{{0}}}{{{1}}}", r"\frac{{{0}}}{{{1}}}", r"\sqrt[{0}]{{{1}}}",
    r"\left({0}\right]",
    r"{{{0}\over {1}}}", r"{{{0}\bf {1}}}", r"{{\displaystyle {0}}}", r"\mathrm{{{0}}}\hat{{{1}}}",
    r"\begin{{cases}}{0}&{1}\\{2}\end{{cases}}", r"\begin{{matrix}}{0}\\\end{{matrix}}",
    r"\begin{{aligned}}{0}&{1}\\{2}\end{{aligned}}", r"\text{{ a ${0}$  b}}",
    r"\sum_{{\substack{{{0}\\{1}}}}}",
)  # fmt: skip


PIECES = st.sampled_from(
    [*"{{}}_^&'$#%\\é☃", r"\frac", r"\sqrt", r"\left", r"\right", r"\\", r"\text", r"\begin{matrix}", r"\end{matrix}",
     r"\bf", r"\limits", r"\over", r"\hline", r"\not", r"\hskip", r"\middle", r"\begin{array}", r"\substack",
     r"\dots", r"\genfrac", r"\stackrel", r"\root", r"\of"]
)  # fmt: skip


@st.composite
def formulas(draw: st.DrawFn, depth: int = 4) -> str:
    """Formulas of every construction, mostly well-formed."""
    if depth == 0 or draw(st.booleans()):
        return str(draw(st.one_of(LETTERS, SIGNS)))
    parts = [draw(formulas(depth - 1)) for _ in range(3)]
    kind = draw(st.sampled_from(["shape", "shape", "script", "group", "operator"]))
    if kind == "shape":
        shape: str = draw(st.sampled_from(SHAPES))
        return shape.format(*parts)
    script = draw(SCRIPTS).format(*(f"{{{part}}}" for part in parts))
    if kind == "group":
        return f"{{{parts[2]}}}{script}"
    if kind == "script":
        return f"{draw(st.one_of(LETTERS, SIGNS))}{script}"
    limits = draw(st.sampled_from(["", r"\limits", r"\nolimits"]))
    return f"{draw(OPERATORS)}{limits}{script}"


@settings(max_examples=200, deadline=None)
@given(formulas())
def test_normal_form_and_label_forms_are_stable(latex: str) -> None:
    if not is_valid(latex):  # the pieces may meet as a double script
        return
    tokens = normalise(latex)
    assert normalise(" ".join(tokens)) == tokens
    assert normalise(pretty(tokens)) == tokens
    for form in LABEL_FORMS:
        label = reduce(tokens, form)
        assert reduce(label, form) == label
    label = reduce(tokens, "crohme")
    assert label_tokens(" ".join(label), "crohme") == label
    assert label_tokens(pretty(label), "crohme") == label


def test_the_symbols_alone() -> None:
    label = label_tokens(r"\sum_{i=1}^n \frac{x_i^2}{\sqrt{y}}", "crohme_symbols")
    assert label == [r"\sum", r"i", r"=", r"1", r"n", r"\frac", r"x", r"i", r"2", r"\sqrt", r"y"]


RELATED = [
    ("x", "x"),
    (r"x^2+\frac{1}{y_i}", r"x Sup 2 Right + Right \frac Above 1 Below y Sub i"),
    (r"\sum_{i=1}^n \sqrt[3]{x_i^{2k}}",
     r"\sum Below i Right = Right 1 Above n Right \sqrt Above 3 Inside x Sub i Sup 2 Right k"),
    (r"\hat{a}=\sqrt{[b]}", r"\hat Below a Right = Right \sqrt Inside [ Right b Right ]"),
    (r"{}^2x", r"Sup 2 Right x"),
    (r"\underline{ab} c", r"\underline Above a Right b Right c"),
    (r"\xrightarrow[b]{a}", r"\xrightarrow Below b Above a"),
    (r"\begin{array}{cc} a & b \\ & d \end{array} + 1", r"\begin{array} Inside a Right b Below d Right + Right 1"),
]  # fmt: skip


@pytest.mark.parametrize(("formula", "expected"), RELATED)
def test_the_symbols_and_how_they_stand(formula: str, expected: str) -> None:
    label = label_tokens(formula, "crohme_relations")
    assert label == expected.split()
    assert reduce(label, "crohme_relations") == label
    # Each symbol but the first has a word before it.
    words = [token for token in label if token in RELATIONS]
    assert len(label) - len(words) - len(words) in (0, 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(LETTERS, SIGNS, OPERATORS, PIECES), max_size=30))
def test_any_tokens_are_written_and_judged(tokens: list[str]) -> None:
    assert isinstance(pretty(tokens), str)
    errors = validate(" ".join(tokens))
    assert bool(errors) != is_valid(tokens)
    for error in errors:
        assert 0 <= error.start <= error.end <= len(" ".join(tokens))


# --- bounds --------------------------------------------------------------------------------

HOSTILE = [
    "{" * 10_000,
    "}" * 10_000,
    "{" * 5_000 + "}" * 5_000,
    "x" * 100_000,
    "x^" * 9_000,
    r"\sqrt" * 3_000,
    r"\left(" * 3_000,
    r"\frac" * 3_000,
    r"\not" * 3_000 + "=",
    r"\root" * 3_000 + "x",
    r"\buildrel" * 2_000,
    r"\hspace{" + "{" * 3_000 + "}" * 3_001,
    "x" + r"\," * 5_000 + "y",
    "{x}" * 6_000,
    "{}" * 9_000,
    "{(" * 50 + "x" + ")}" * 50,
    r"{a\sin}" * 2_500,
    r"{(\sin}" * 2_500,
    r"\begin{matrix}" * 1_000,
    r"\text{" * 3_000,
    r"\begin{matrix}" + "&" * 15_000 + r"\end{matrix}",
    r"\begin{matrix}" + r"\\" * 9_000 + r"\end{matrix}",
    r"\begin{matrix}" + r"\\[" * 6_000 + r"\end{matrix}",
    "\\" + "a" * 19_000,
    r"\foo" * 4_000,
    "a" + " " * 19_000,
    "\\begin" + " " * 19_000,
    "%" * 19_000,
    "a'" * 9_000,
    r"\bf a" * 4_000,
    r"a\over " * 2_000,
    "$" * 19_999,
    r"\hskip" * 3_000,
    "\\text { " + "a " * 9_000 + "}",
    r"\color{" * 2_000,
]


@pytest.mark.parametrize("latex", HOSTILE, ids=lambda latex: f"{latex[:12]}x{len(latex)}")
def test_hostile_input_is_answered_quickly(latex: str) -> None:
    started = time.process_time()
    errors = validate(latex)
    assert all(isinstance(error, LatexError) for error in errors)
    pretty(split(latex))
    assert time.process_time() - started < 3


def test_depth_limit() -> None:
    inside = MAX_DEPTH - 2
    assert is_valid(r"\sqrt{" * (inside // 2) + "x" + "}" * (inside // 2))
    for unit, closer in ((r"\sqrt{", "}"), ("x^{", "}"), (r"\left(", r"\right)"), (r"\frac1{", "}")):
        deep = unit * (MAX_DEPTH + 1) + "x" + closer * (MAX_DEPTH + 1)
        assert "nested" in str(validate(deep)[0])


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        (r"a\ =\ b", "a ~ = ~ b"),
        (r"a\ +\ b", "a ~ + ~ b"),
        (r"=\ -b", r"= \, \, - b"),  # ~ would make of the sign one between two terms
        (r"=~-b", "= ~ - b"),
        (r",\ \sum x", r", \, \, \sum x"),
        (r"\left(x\right)\ =y", r"\left ( x \right ) \, \, = y"),
        (r"\begin{matrix}a\\{*}b\end{matrix}", r"\begin{matrix} a \\ { * } b \end{matrix}"),
        (r"x_{\stackrel{\scriptstyle a}{b}}", r"x _ { \stackrel { \scriptstyle a } { b } }"),
    ],
)
def test_spaces_and_stars_keep_their_neighbours_in_place(typed: str, canonical: str) -> None:
    assert " ".join(normalise(typed)) == canonical
    assert " ".join(normalise(canonical)) == canonical


@pytest.mark.parametrize(
    ("typed", "label"),
    [
        (r"\quad a = b \,\qquad", "a = b"),
        (r"a\;\;\;\;b", r"a ~ ~ \; \, b"),
        (r"a\,\,b~~~c", r"a ~ b \quad c"),
        (r"a\,\,\,\,\,\,b", r"a \quad b"),
        (r"a\,\!b", "a b"),
        (r"a~\,~b", r"a ~ ~ \, b"),
        (r"a\hspace{1cm}b", r"a \qquad ~ ~ \, b"),
        (r"a\hspace{40cm}b", r"a \hspace { 4 0 c m } b"),
        (r"x^{\,\,\,\,\,\,a}", r"x ^ { \, \, \, \, \, \, a }"),
        ("{+}~", "+"),
        (r"\text{max}(x)", r"\max ( x )"),
        (r"\text{max} x", r"\mathrm { m a x } x"),
        (r"\text{so that}", r"\text { s o ~ t h a t }"),
        (r"\frac{\,a}{b\;}", r"\frac { \, a } { b \; }"),
        (r"a=~-b", "a = ~ - b"),  # the blank makes an operation of the sign
        (r"a=\,\,-b", r"a = \, \, - b"),
        (r"\sum~\sum x", r"\sum \; \: \sum x"),  # the blank is an atom, with a thin space on either side
        (r"f\left(x_i\right)y", r"f \, ( x _ { i } ) \, y"),
        (r"a=\left(x\right)+b", "a = ( x ) + b"),
        (r"-\left[x\right]\left[y\right]", r"- \, [ x ] \, [ y ]"),
        (r"\left|0\right\rangle=\left|-x\right|", r"| 0 \rangle = \left | - x \right |"),  # else the sign is an operation
        (r"\left(x\right)^2\left(x^i\right)\left(\frac{a}{b}\right)",
         r"\left ( x \right ) ^ { 2 } \left ( x ^ { i } \right ) \left ( \frac { a } { b } \right )"),
        (r"\left(x^a\right)", "( x ^ { a } )"),
        (r"e^{\sin\left(x\right)}", r"e ^ { \sin ( x ) }"),
        (r"x^{a_{\left(i\right)}}", r"x ^ { a _ { \left ( i \right ) } }"),  # set with fonts of other proportions
        (r"\mathrm{det}(x)\mathrm{sin}(x)", r"\det ( x ) \mathrm { s i n } ( x )"),  # a function has space before it
        (r"x^{\left(a\right)\mathrm{deg}(a)+\mathrm{deg}(a)}", r"x ^ { ( a ) \mathrm { d e g } ( a ) + \deg ( a ) }"),
        (r"x_\mathrm{max}+\mathrm{max}_x", r"x _ { \max } + \mathrm { m a x } _ { x }"),  # else the script is below
        (r"\frac{\displaystyle a+b}{\displaystyle x^2}", r"\frac { a + b } { \displaystyle x ^ { 2 } }"),
        (r"{\textstyle\frac{1}{2}}x={\textstyle x\frac{1}{2}}",
         r"\tfrac { 1 } { 2 } x = \textstyle x \frac { 1 } { 2 }"),
        (r"a=\operatorname{Tr}(x)\operatorname{Tr}x", r"a = \mathrm { T r } ( x ) \operatorname { T r } x"),
        (r"P_\perp\perp P_\parallel", r"P _ { \bot } \perp P _ { \| }"),
    ],
)  # fmt: skip
def test_printed_labels_are_spelt_by_what_is_seen(typed: str, label: str) -> None:
    assert " ".join(label_tokens(typed, "printed")) == label
    assert " ".join(label_tokens(label, "printed")) == label
