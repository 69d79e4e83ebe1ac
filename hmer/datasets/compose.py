r"""Formulas that no list holds: parts of a list joined to the length of displayed equations, in rows and in matrices.

What books' inline formulas lack and displayed equations have: several terms, fractions and brackets around whole parts,
accents and fonts, limits, conditions behind a space, a full stop at the end, arrays, cases, aligned rows, words.
Everything is made by one random generator, so that the same seed gives the same formulas.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from hmer import latex
from hmer.augment import Random
from hmer.errors import DatasetError, LatexError

Tokens = tuple[str, ...]

MAX_TOKENS = 150
RAREST = 20  # a token that a list holds less often is not learnt from it


@dataclass(frozen=True)
class Part:
    """A formula of a list in normal form, and where it comes from."""

    tokens: Tokens
    source: str


def read_formulas(path: Path | str) -> list[tuple[str, str]]:
    """(source, LaTeX) of a list: a formula a line, or source, tab, formula. Raises DatasetError."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    rows = [line.rstrip("\r").split("\t") for line in lines if line.strip()]
    if not rows:
        raise DatasetError(f"{path}: holds no formula; expected one a line, or source<TAB>formula.")
    return [(row[0], row[1]) if len(row) > 1 else ("", row[0]) for row in rows]


def key_of(formula: str) -> str:
    """What two formulas have in common that differ in braces, spacing, fonts and sizes only. Raises LatexError."""
    return " ".join(latex.label_tokens(formula, "crohme"))


def keys_of(formulas: Iterable[str]) -> set[str]:
    """`key_of` each; what is not well-formed cannot be equal to what is."""
    keys = set()
    for formula in formulas:
        with contextlib.suppress(LatexError):
            keys.add(key_of(formula))
    return keys


def usable_parts(formulas: Iterable[tuple[str, str]], exclude: Iterable[str] = ()) -> list[Part]:
    """Normal forms of what is well-formed, without what is equal to one of `exclude`, and without rare tokens."""
    forbidden = keys_of(exclude)
    parts: dict[Tokens, Part] = {}
    for source, formula in formulas:
        try:
            tokens = tuple(latex.normalise(formula))
        except LatexError:
            continue
        if tokens and len(tokens) <= MAX_TOKENS and tokens not in parts and key_of(" ".join(tokens)) not in forbidden:
            parts[tokens] = Part(tokens, source)
    counts = Counter(token for part in parts.values() for token in set(part.tokens))
    return [
        part
        for part in parts.values()
        if all(counts[token] >= RAREST and token.isascii() for token in part.tokens) or len(parts) < RAREST
    ]


# What letters and signs are exchanged for, a class a line.
_LATIN = r"a b c d e f g h k l m n p q r s t u v w x y z A B C D E F G H J K L M N P Q R S T U V W X Y Z".split()
_GREEK = r"""
    \alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \vartheta \kappa \lambda \mu \nu \xi \pi \rho
    \sigma \tau \phi \varphi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Phi \Psi \Omega \ell
    \partial \nabla \hbar \infty
    \mu \mu \mu \nu \phi \phi \pi \pi \delta \delta \alpha \beta \psi \lambda \gamma \sigma
""".split()
_RARE = r"\triangle \imath \wp \bigtriangledown \jmath \Re \Im \vartheta \varrho".split()
_INDICES = r"i i i j k l m n a b c 0 1 2 2 2 3 4 + - \mu \mu \nu \nu \rho \sigma \alpha \beta \lambda I J N A B".split()
_MARKS = r"\dagger \dagger \dagger * \ast \perp \star \pm \mp \circ \| \infty".split()  # as scripts
_RELATIONS = r"= = = = = = = \equiv \sim \simeq \approx \leq \geq < > \neq \rightarrow \propto \in \ll \gg".split()
_SIGNS = r"+ + + + - - - - \pm \mp \cdot \times \otimes \oplus \wedge *".split()
_ACCENTS = r"""
    \bar \bar \bar \bar \bar \bar \bar \tilde \tilde \tilde \tilde \tilde \hat \hat \hat \hat \dot \dot \dot \vec \vec \vec
    \overline \overline \widetilde \widehat \ddot \underline \check \breve
""".split()
_FONTS = r"\mathcal \mathcal \mathbf \mathbf \mathrm \mathbb \boldsymbol \mathsf \mathfrak \mathit".split()
_FENCES = (("(", ")"), ("(", ")"), ("[", "]"), ("[", "]"), (r"\{", r"\}"), ("|", "|"), (r"\langle", r"\rangle"))
_SPACES = [r"\,", r"\,", r"\,", r"~", r"~", r"\;", r"\:", r"\quad", r"\!"]
# Authors put a little space where they please, before a comma, say; most never do, some all the time.
_GAPS = (
    *[(r"\,",)] * 11, *[("~",)] * 6, *[(r"\;",)] * 4, (r"\,", r"\,"), ("~", "~"), (r"\;", r"\;"), (r"\:",), (r"\!",),
)  # fmt: skip
_BEFORE_STOPS = (*_GAPS, *[(r"\;",)] * 4, *[(r"\quad",)] * 5, (r"\:",), ("~", "~"))
# Before an index that stands behind those of the other script: A ^ { i } _ { ~ j }.
_STAGGERED = (
    ("~",), ("~",), (r"\,",), (r"\,",), (r"\;",), (r"\:",), ("~", "~"), (r"\quad",), (r"\;", r"\;"),
)  # fmt: skip
_STREWN = (*[r"\,"] * 6, *["~"] * 4, *[r"\;"] * 4, *[r"\!"] * 4, *[r"\:"] * 2, *[r"\quad"] * 2, r"\qquad")
_FAR = (
    (r"\quad",), (r"\quad",), (r"\qquad",), ("~", "~"), (r"\;", r"\;"), (r"\quad", r"\quad"), ("~", "~", "~"), (r"\,", r"\,"),
)  # fmt: skip
_WORDS = r"""
    for if and or where with when otherwise even odd const h.c. tot max min eff for~all if~and~only~if such~that as
    then on in is is~a at phys free int crit
""".split()
_OPERATORS = r"\sin \cos \exp \ln \log \det \tan \cosh \sinh \tanh \arctan \max \min \dim \lim".split()
_NAMES = r"Tr tr sgn diag Re Im Res Ad arcsinh sech rank vol Det STr ch Pf".split()
_LABELS = "eff tot max min in out int kin ren phys BRST F B L R T c p YM cl QCD gf even odd".split()  # words as scripts
_LARGE = (r"\sum", r"\sum", r"\int", r"\int", r"\prod", r"\oint", r"\bigoplus", r"\bigcup", r"\iint")
_SIZES = (r"\big", r"\big", r"\Big", r"\Big", r"\Big", r"\bigg", r"\bigg", r"\Bigg")
_ABOVE = r"\leftrightarrow \leftrightarrow \rightarrow \leftarrow . \circ \wedge \sim \rightharpoonup * ? o def".split()


class Composer:
    """Makes formulas from parts; sources beyond `cap` of all draws are drawn so often, and no more."""

    def __init__(self, parts: Sequence[Part], *, cap: float = 0.15) -> None:
        """`cap`: the largest share of one source. Raises DatasetError if there is no part."""
        if not parts:
            raise DatasetError("No formula of the list can be used; give a list of well-formed LaTeX.")
        by_source: dict[str, list[Part]] = {}
        for part in parts:
            by_source.setdefault(part.source, []).append(part)
        self.sources = [sorted(group, key=lambda part: part.tokens) for _, group in sorted(by_source.items())]
        shares = np.array([len(group) for group in self.sources], float) / len(parts)
        for _ in range(20):  # what one source loses goes to the others, which may then pass the cap
            over = shares > cap
            if not over.any() or over.all():
                break
            free = 1 - cap * over.sum()
            shares = np.where(over, cap, shares * free / max(shares[~over].sum(), 1e-9))
        self.shares = shares / shares.sum()

    def make(self, random: Random) -> tuple[Tokens, str]:
        """A formula in normal form, of 1 to 150 tokens and mostly 20 to 90, and the source of its first part."""
        for _ in range(100):
            part = self._part(random)
            if random.random() < 0.12:
                tokens = list(part.tokens)
            else:
                length = float(np.clip(np.exp(random.normal(np.log(52), 0.55)), 4, MAX_TOKENS))
                kind = _drawn(_KINDS, _KIND_SHARES, random)
                tokens = self._ended(kind(self, list(part.tokens), length, random), random)
            if random.random() < 0.26:
                tokens = _spaced(tokens, random)
            elif random.random() < 0.15:
                tokens = _strewn(tokens, random)
            try:
                made = tuple(latex.normalise(" ".join(tokens)))
            except LatexError:
                continue  # a part that ends in a command, say, and the next begins with its argument
            if 0 < len(made) <= MAX_TOKENS:
                return made, part.source
        return part.tokens, part.source

    def _part(self, random: Random) -> Part:
        group = self.sources[int(random.choice(len(self.sources), p=self.shares))]
        return group[int(random.integers(len(group)))]

    def _term(self, most: float, random: Random) -> list[str]:
        """A part of at most so many tokens that does not span rows, its symbols exchanged."""
        for _ in range(20):
            tokens = list(self._part(random).tokens)
            if len(tokens) <= max(most, 3) and not any(token.startswith(r"\begin") for token in tokens):
                return self._dressed(tokens, random)
        return self._dressed([_pick(_LATIN, random)], random)

    def _dressed(self, tokens: list[str], random: Random) -> list[str]:
        """The same structure with other letters, and accents, fonts and scripts on some of them."""
        style = random.random()
        if style < 0.2:
            return tokens
        letters = {token for token in tokens if token in _LATIN or token in _GREEK or token == "i"}
        others = {token: _pick(_GREEK if random.random() < 0.4 else _LATIN, random) for token in sorted(letters)}
        result: list[str] = []
        level = 0  # inside of what takes letters as they stand: fonts, texts, raw arguments
        raw: list[int] = []
        for here, token in enumerate(tokens):
            if token == "{":
                level += 1
                before = tokens[here - 1] if here else ""
                if before.startswith("\\") and before not in (
                    r"\frac",
                    r"\sqrt",
                    r"\bar",
                    r"\hat",
                    r"\tilde",
                    r"\overline",
                ):
                    raw.append(level)
            elif token == "}":
                if raw and raw[-1] == level:
                    raw.pop()
                level -= 1
            if raw or token not in others:
                result.append(token)
                continue
            exchanged = others[token] if style < 0.7 else token
            chance = random.random()
            followed = tokens[here + 1] if here + 1 < len(tokens) else ""
            if chance < 0.08 and level < 3:
                result += [_pick(_ACCENTS, random), "{", exchanged, "}"]
            elif chance < 0.12 and exchanged.isalpha() and level < 3:
                result += [_pick(_FONTS, random), "{", exchanged.upper(), "}"]
            elif chance < 0.2 and level == 0 and followed not in ("_", "^"):
                result += _scripted([exchanged], random)
            else:
                result.append(exchanged)
        return result

    def _sum_of(self, length: float, random: Random) -> list[str]:
        """Terms with signs between them."""
        tokens = ["-"] if random.random() < 0.15 else []
        while True:
            tokens += self._factor(min(length - len(tokens), length * 0.7), random)
            if len(tokens) >= 0.75 * length:
                return tokens
            tokens.append(_pick(_SIGNS, random))

    def _factor(self, length: float, random: Random) -> list[str]:
        """A term, a fraction, something in brackets, under a root, an integral or sum."""
        if length < 6:
            chance = random.random()
            if chance < 0.06:
                return self._enclosed(_letter(random), random)
            return self._term(length, random) if chance < 0.5 else _scripted(_letter(random), random)
        return _drawn(_FACTORS, _FACTOR_SHARES, random)(self, length, random)

    def _short(self, length: float, random: Random) -> list[str]:
        return self._factor(length, random) if random.random() < 0.5 else self._sum_of(length, random)

    def _fraction(self, length: float, random: Random) -> list[str]:
        share = random.uniform(0.2, 0.6)
        above, below = self._short(length * share, random), self._short(length * (1 - share) - 5, random)
        made = [r"\frac", "{", *above, "}", "{", *below, "}"]
        return [r"\tfrac", *made[1:]] if length < 14 and random.random() < 0.02 else made

    def _fenced(self, length: float, random: Random) -> list[str]:
        inner = self._sum_of(length - 6, random)
        if random.random() < 0.05:
            inner += [";", *_letter(random)]
        return self._enclosed(inner, random)

    def _enclosed(self, inner: list[str], random: Random) -> list[str]:
        """In brackets of some size, now and then with a script."""
        opening, closing = _FENCES[int(random.integers(len(_FENCES)))]
        way = random.random()
        if way < 0.42:
            fenced = [r"\left", opening, *inner, r"\right", closing]
        elif way < 0.54:
            size, plain = _pick(_SIZES, random), random.random() < 0.5
            fenced = [size + "l" * (not plain), opening, *inner, size + "r" * (not plain), closing]
        else:
            fenced = [opening, *inner, closing]
        chance = random.random()
        if chance < 0.2:
            return [*fenced, "^", "{", _pick(["2", "2", "2", "3", "n", "N"], random), "}"]
        if chance < 0.3:
            return _scripted(fenced, random)
        return fenced

    def _at(self, length: float, random: Random) -> list[str]:
        """What is evaluated somewhere: a bar with a script behind it."""
        inner = self._factor(length - 8, random)
        way = random.random()
        if way < 0.35:
            inner = [r"\left", ".", *inner, r"\right", "|"]
        elif way < 0.7:
            inner += [_pick(_SIZES, random), "|"]
        else:
            inner.append("|" if way < 0.85 else r"\mid")
        place = [*_letter(random), *(["=", _pick(["0", "0", "1", *_LATIN], random)] if random.random() < 0.6 else [])]
        return [*inner, "_", "{", *place, "}"]

    def _root(self, length: float, random: Random) -> list[str]:
        return [r"\sqrt", "{", *self._short(length - 3, random), "}"]

    def _power(self, length: float, random: Random) -> list[str]:
        """An exponential, its exponent as long as a term."""
        base = ["e"] if random.random() < 0.75 else _letter(random)
        sign = ["-"] * (random.random() < 0.4) + ["i"] * (random.random() < 0.3)
        if random.random() < 0.35:
            return [*base, "^", "{", *sign, *self._factor(min(length, random.uniform(1, 6)), random), "}"]
        return [*base, "^", "{", *sign, *self._short(min(length - 3, random.uniform(4, 26)), random), "}"]

    def _large(self, length: float, random: Random) -> list[str]:
        """A sum, an integral and the like before a factor."""
        large = _pick(_LARGE, random)
        low = [*_letter(random), *(["=", _pick(["0", "1"], random)] if "int" not in large else [])]
        limits = ["_", "{", *low, "}"] if random.random() < 0.8 else []
        limits += ["^", "{", *_letter(random), "}"] if random.random() < 0.5 else []
        gap = [_pick(_SPACES, random)] if random.random() < 0.3 else []
        measure = ["d", *_letter(random), *gap] if "int" in large and random.random() < 0.7 else gap
        drawn_closer = [r"\!"] * int(random.integers(1, 4)) if "int" in large and random.random() < 0.08 else []
        return [large, *limits, *drawn_closer, *measure, *self._factor(length - 8, random)]

    def _function(self, length: float, random: Random) -> list[str]:
        name = [_pick(_OPERATORS, random)]
        if random.random() < 0.35:
            command = r"\operatorname" if random.random() < 0.4 else r"\mathrm"
            name = [command, "{", *_pick(_NAMES, random), "}"]
        if random.random() < 0.12:
            name += ["^", "{", _pick(["2", "2", "2", "3", "4", "n"], random), "}"]
        body = self._short(length - 6, random)
        chance = random.random()
        if chance < 0.2:
            return [*name, *body]
        opening, closing = ("(", ")") if chance < 0.85 else ("[", "]")
        return [*name, opening, *body, closing] if random.random() < 0.55 else [
            *name, r"\left", opening, *body, r"\right", closing]  # fmt: skip

    def _rate(self, length: float, random: Random) -> list[str]:
        """A derivative of a term."""
        symbol = r"\partial" if random.random() < 0.6 else "d"
        below = ["{", symbol, *_letter(random), "}"]
        rate = [r"\frac", "{", symbol, *_letter(random), "}", *below] if random.random() < 0.5 else [
            symbol, "_", "{", _pick(_INDICES, random), "}"]  # fmt: skip
        return [*rate, *self._term(length - len(rate), random)]

    def _product(self, length: float, random: Random) -> list[str]:
        tokens: list[str] = []
        while len(tokens) < 0.6 * length:
            tokens += _scripted(_letter(random), random)
            tokens += [_pick(_SPACES, random)] if random.random() < 0.1 else []
        return tokens

    def _stacked(self, length: float, random: Random) -> list[str]:
        """Something small above a symbol."""
        above = [_pick(_ABOVE, random)] if random.random() < 0.6 else _script(random)
        base = [_pick(_RELATIONS[7:], random)] if random.random() < 0.4 else _letter(random)
        return [r"\stackrel", "{", *above, "}", "{", *base, "}", *self._term(length - 8, random)]

    def _listed(self, length: float, random: Random) -> list[str]:
        """First, second, dots and last, with commas or signs between."""
        between = _pick([",", ",", ",", "+", r"\cdots"], random)
        dots = _pick([r"\ldots", r"\ldots", r"\cdots", "..."], random)
        letter, last = _letter(random), _pick("nNkmdr", random)
        if between == r"\cdots":
            return [*letter, "_", "{", "1", "}", r"\cdots", *letter, "_", "{", last, "}"]
        dots_spelt = list(dots) if dots == "..." else [dots]
        if random.random() < 0.4:
            return [_pick("01", random), between, _pick("12", random), between, *dots_spelt, between, last]
        script = _pick("__^", random)
        first, second, end = ([*letter, script, "{", one, "}"] for one in ("1", "2", last))
        return [*first, between, *(second if random.random() < 0.5 else []),
                *([between] if random.random() < 0.5 else []), *dots_spelt, between, *end]  # fmt: skip

    # -- whole formulas

    def _equation(self, start: list[str], length: float, random: Random) -> list[str]:
        tokens = self._dressed(start, random) if len(start) <= length else self._sum_of(length / 3, random)
        while len(tokens) < 0.8 * length:
            if random.random() < 0.12:
                tokens += [";" if random.random() < 0.15 else ",", *_FAR[int(random.integers(len(_FAR)))]]
            else:
                tokens.append(_pick(_RELATIONS, random))
            tokens += self._sum_of(min(length - len(tokens), length * random.uniform(0.3, 0.8)), random)
        return tokens

    def _with_condition(self, start: list[str], length: float, random: Random) -> list[str]:
        tokens = self._equation(start, length * 0.75, random)
        word = _pick(_WORDS, random)
        letters = list(word.replace("~", " ~ ").split(" ")) if "~" in word else [word]
        spelt = [character for piece in letters for character in (piece if piece != "~" else "~")]
        command = r"\text" if random.random() < 0.4 else r"\mathrm"
        far = _FAR[int(random.integers(len(_FAR)))]
        way = random.random()
        if way < 0.4:
            tokens += [*far, command, "{", *spelt, "}", *far]
        elif way < 0.6:
            tokens += [",", *far, "(", *self._term(8, random), ")"]
            return tokens
        else:
            tokens += [",", *far]
        return [*tokens, *self._term(max(length * 0.25, 5), random)]

    def _with_matrix(self, start: list[str], length: float, random: Random) -> list[str]:
        rows, columns = int(random.integers(1, 5)), int(random.integers(1, 5))
        rows = 2 if rows * columns == 1 else rows
        cell = max(1.0, (length * 0.75 - 6) / (rows * columns) - 1)
        name = _pick(["pmatrix", "pmatrix", "bmatrix", "matrix", "vmatrix", "array", "array", "array", "array"], random)
        begin, end = [rf"\begin{{{name}}}"], [rf"\end{{{name}}}"]
        if name == "array":
            alignment = _pick(["c", "c", "c", "l", "r"], random)
            begin += ["{", *([alignment] * columns), "}"]
            opening, closing = _FENCES[int(random.integers(5))]
            begin, end = [r"\left", opening, *begin], [*end, r"\right", closing]
        style = _cell_style(name, random)
        dots = random.random() < 0.12
        body: list[str] = []
        for row in range(rows):
            body += [r"\\"] if row else []
            for column in range(columns):
                body += ["&", *style] if column else style
                if dots and random.random() < 0.3:
                    body.append(_pick([r"\cdots", r"\vdots", r"\ddots"], random))
                elif random.random() < 0.3 and columns > 1:
                    body.append(_pick(["0", "0", "0", "1", "1", "2", "-"], random).replace("-", "0"))
                else:
                    body += (
                        self._sum_of(cell, random)
                        if cell > 4
                        else (_scripted(_letter(random), random) if cell > 3 else _letter(random))
                    )
        matrix = [*begin, *body, *end]
        head = self._dressed(start, random) if len(start) < 0.3 * length else _letter(random)
        return (
            [*head, "=", *matrix]
            if random.random() < 0.7
            else [*matrix, *_letter(random), "=", *self._sum_of(8, random)]
        )

    def _with_cases(self, start: list[str], length: float, random: Random) -> list[str]:
        rows = int(random.integers(2, 5))
        share = max(length * 0.8 / rows / 2, 2)
        body: list[str] = []
        for row in range(rows):
            body += [r"\\"] if row else []
            condition = self._term(share, random)
            if random.random() < 0.4:
                command = r"\text" if random.random() < 0.6 else r"\mathrm"
                condition = [command, "{", *_pick(["if", "for", "when"], random), "~", "}", *condition]
            body += [*self._sum_of(share, random), *([","] if random.random() < 0.5 else []), "&", *condition]
        head = self._dressed(start, random) if len(start) < 0.3 * length else _scripted(_letter(random), random)
        if random.random() < 0.6:
            return [*head, "=", r"\begin{cases}", *body, r"\end{cases}"]
        return [
            *head,
            "=",
            r"\left",
            r"\{",
            r"\begin{array}",
            "{",
            "l",
            "l",
            "}",
            *body,
            r"\end{array}",
            r"\right",
            ".",
        ]

    def _in_rows(self, start: list[str], length: float, random: Random) -> list[str]:
        rows = int(random.integers(2, 5))
        body: list[str] = []
        array = random.random() < 0.4
        style = _cell_style("array" if array else "aligned", random)
        for row in range(rows):
            body += [r"\\"] if row else []
            left = self._sum_of(length / rows * 0.3, random) if row == 0 or random.random() < 0.6 else []
            relation = _pick(_RELATIONS, random)
            right = self._sum_of(length / rows * 0.7, random)
            stop = [_pick([",", ",", "."], random)] if random.random() < 0.5 else []
            body += [*style, *left, "&", relation, *(["&"] if array else []), *style, *right, *stop]
        if array:
            return [r"\begin{array}", "{", "r", "c", "l", "}", *body, r"\end{array}"]
        return [r"\begin{aligned}", *body, r"\end{aligned}"]

    def _ended(self, tokens: list[str], random: Random) -> list[str]:
        """With the full stop or comma that displayed equations end in."""
        chance = random.random()
        if tokens[-1] in (".", ",", r"\right") or tokens[-1].startswith(r"\end{a"):
            return tokens
        gap = _BEFORE_STOPS[int(random.integers(len(_BEFORE_STOPS)))] if random.random() < 0.4 else ()
        if chance >= 0.64:
            return tokens
        return [*tokens, *gap, "." if chance < 0.36 else "," if chance < 0.625 else _pick(";;;:", random)]


_Kind = Callable[[Composer, list[str], float, Random], list[str]]
_KINDS: tuple[_Kind, ...] = (
    Composer._equation, Composer._with_condition, Composer._with_matrix, Composer._with_cases, Composer._in_rows,
)  # fmt: skip
_KIND_SHARES = (0.77, 0.12, 0.05, 0.03, 0.03)
_Factor = Callable[[Composer, float, Random], list[str]]
_FACTORS: tuple[_Factor, ...] = (
    Composer._fraction, Composer._fenced, Composer._root, Composer._large, Composer._function, Composer._rate,
    Composer._product, Composer._power, Composer._at, Composer._listed, Composer._stacked, Composer._term,
)  # fmt: skip
_FACTOR_SHARES = (0.18, 0.14, 0.04, 0.1, 0.06, 0.07, 0.2, 0.06, 0.015, 0.02, 0.01, 0.105)
_T = TypeVar("_T")


def _drawn(ways: Sequence[_T], shares: Sequence[float], random: Random) -> _T:
    return ways[int(random.choice(len(ways), p=shares))]


def _pick(choices: Sequence[str], random: Random) -> str:
    return choices[int(random.integers(len(choices)))]


_CLOSING = {"}", ")", "]", r"\}", r"\rangle", r"\prime", "!"}
_LETTERS = {*_LATIN, *_GREEK, *"0123456789ijoIO"}


def _spaced(tokens: Sequence[str], random: Random) -> list[str]:
    """The tokens as an author writes them who puts in spaces by hand: one kind, at the same kinds of places each time.

    At some of those places or, with many authors, at nearly all; not in scripts, in fonts or next to an edge.
    """
    usual, other = (_GAPS[int(random.integers(len(_GAPS)))] for _ in range(2))
    share = random.uniform(0.5, 1.0) if random.random() < 0.5 else random.uniform(0.05, 0.4)
    around_relations, after_relations, around_signs, in_products, at_commas = (random.random() < 0.45 for _ in range(5))
    result: list[str] = []
    groups: list[str] = []  # what each open group belongs to: the parts of fractions are set as wide as what is outside
    closed = before = ""
    ends = False
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        result.append(token)
        if token == "{":
            groups.append(r"\frac below" if before == "}" and closed == r"\frac" else before)
        elif token == "}" and groups:
            closed = groups.pop()
        ended, ends = ends, token in _CLOSING or token in _LETTERS  # a sign after neither is no operation
        before = token
        if following in ("{", "}", "^", "_", "&", r"\\", r"\limits", r"\right", "") or following.startswith(r"\end"):
            continue
        if any(group not in (r"\frac", r"\frac below", r"\sqrt") for group in groups):
            continue
        wanted = (
            (token in _RELATIONS and (around_relations or after_relations))
            or (ends and following in _RELATIONS and around_relations)
            or (around_signs and ((token in _SIGNS and ended) or (ends and following in _SIGNS)))
            or (at_commas and (token == "," or (ends and following in ",.;")))
        )
        if (
            not wanted
            and in_products
            and following not in (*_RELATIONS, *_SIGNS, ",", ".", ";", ")", "]", "|", "!", r"\}")
        ):
            wanted = token in _CLOSING or (token in _LETTERS and random.random() < 0.25)
        if wanted and random.random() < share:
            result += usual if random.random() < 0.9 else other
    return result


_STREWN_GROUPS = (r"\frac", "}", r"\sqrt", "^", "_")  # what a group stands behind; "}" is a fraction's


def _strewn(tokens: Sequence[str], random: Random) -> list[str]:
    """The tokens with spaces of all kinds in any row, scripts' too: so their widths are told, not who puts them where."""
    share = random.uniform(0.05, 0.2)
    result: list[str] = []
    groups: list[str] = []
    before = ""
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        result.append(token)
        if token == "{":
            groups.append(before)
        elif token == "}" and groups:
            groups.pop()
        before = token
        if following in ("{", "}", "^", "_", "&", r"\\", r"\limits", "") or following.startswith(r"\end"):
            continue
        if token in (r"\left", r"\right", r"\sqrt", r"\not", "&", r"\\") or token.startswith(_SIZES):
            continue
        if all(group in _STREWN_GROUPS for group in groups) and random.random() < share:
            result.append(_pick(_STREWN, random))
    return result


def _cell_style(environment: str, random: Random) -> list[str]:
    """What each cell begins with: arrays are set small unless they are told not to be."""
    return [r"\displaystyle"] if environment == "array" and random.random() < 0.3 else []


def _letter(random: Random) -> list[str]:
    """A letter, now and then with an accent or two or in a font."""
    letter = _pick(_RARE if random.random() < 0.012 else _GREEK if random.random() < 0.45 else _LATIN, random)
    chance = random.random()
    tokens = [letter]
    if (chance < 0.02 or 0.16 <= chance < 0.24) and letter.isalpha():
        tokens = [_pick(_FONTS, random), "{", letter.upper() if random.random() < 0.7 else letter, "}"]
    if chance < 0.004:
        tokens += [_pick("__^", random), "{", _pick(_INDICES, random), "}"]
    if chance < 0.14:
        tokens = [_pick(_ACCENTS, random), "{", *tokens, "}"]
    if 0.004 <= chance < 0.009:
        tokens = [_pick([r"\dot", r"\bar", r"\hat", r"\vec"], random), "{", *tokens, "}"]
    return tokens


def _scripted(base: list[str], random: Random) -> list[str]:
    """With a subscript, a superscript, both, one behind the other, some in front, or primes."""
    chance = random.random()
    if chance < 0.39:
        return [*base, "_", "{", *_script(random), "}"]
    if chance < 0.72:
        return [*base, "^", "{", *_script(random), "}"]
    if chance < 0.86:
        return [*base, "_", "{", *_script(random), "}", "^", "{", *_script(random), "}"]
    if chance < 0.886:  # tensors' indices keep their order
        first, second = ("_", "^") if random.random() < 0.7 else ("^", "_")
        inner, outer = [first, "{", *_script(random), "}"], [second, "{", *_script(random), "}"]
        return ["{", *base, *inner, "}", *outer] if random.random() < 0.5 else [*base, *inner, "{", "}", *outer]
    if chance < 0.9:
        return ["{", "}", _pick("_^^", random), "{", *_script(random), "}", *base]
    return [*base, "^", "{", *([r"\prime"] * int(random.integers(1, 3))), "}"]


def _script(random: Random) -> list[str]:
    """What stands in a script, mostly one or two symbols."""
    chance = random.random()
    index = _pick(_INDICES, random)
    if random.random() < 0.03:
        return _long_script(random)
    if chance < 0.04:
        return [_pick(_MARKS, random)]
    if chance < 0.11:  # has scripts of its own
        own = [_pick("__^", random), "{", _pick(_INDICES, random), "}"]
        return [_pick([*_LATIN, "i", r"\mu", r"\alpha"], random), *own]
    if chance < 0.14:
        return [_pick([r"\mathrm", r"\mathrm", r"\text"], random), "{", *_pick(_LABELS, random), "}"]
    if chance < 0.17:
        return ["(", index, ")"]
    if chance < 0.2 and index not in "+-":
        return [_pick(_ACCENTS, random), "{", index, "}"]
    if chance < 0.23:
        below = _pick("23nN", random)
        return ["1", "/", below] if random.random() < 0.5 else [r"\frac", "{", "1", "}", "{", below, "}"]
    if chance < 0.26:
        return [_pick("ijkmn", random), _pick("+-=", random), _pick("0112", random)]
    staggered = _STAGGERED[int(random.integers(len(_STAGGERED)))] if chance < 0.31 else ()
    count = 1 + int(random.random() < 0.26) + int(random.random() < 0.08)
    inner = [*staggered, index, *(_pick(_INDICES, random) for _ in range(count - 1))]
    return inner if inner[-1] not in "+-" or count == 1 else [*inner, "1"]


def _long_script(random: Random) -> list[str]:
    """Several indices with their own, with signs or commas between, behind a small style now and then."""
    between = _pick(["", "", "", ",", ",", "+", "-", "/", ";"], random)
    tokens: list[str] = []
    for _ in range(int(random.integers(2, 5))):
        tokens += [between] if tokens and between else []
        tokens.append(_pick(_INDICES[:13] + _LATIN + _GREEK, random))
        if random.random() < 0.4:
            tokens += [_pick("__^", random), "{", _pick(_INDICES, random), "}"]
    return [r"\scriptscriptstyle", *tokens] if random.random() < 0.06 else tokens
