r"""Formulas that no list holds: parts of a list joined to the length of displayed equations, in rows and in matrices.

What books' inline formulas lack and displayed equations have: several terms, fractions and brackets around whole parts,
accents and fonts, limits, conditions behind a space, a full stop at the end, arrays, cases, aligned rows, words.
Everything is made by one random generator, so that the same seed gives the same formulas.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from hmer import latex
from hmer.augment import Random
from hmer.datasets.formula_lists import MAX_TOKENS, Part, Tokens
from hmer.datasets.letters import (
    ACCENTS,
    FONTS,
    GREEK,
    INDICES,
    LATIN,
    RELATIONS,
    SIGNS,
    SIZES,
    a_letter,
    pick,
    script,
    scripted,
)
from hmer.datasets.spacing import BEFORE_STOPS, spaced, strewn
from hmer.errors import DatasetError, LatexError

_FENCES = (("(", ")"), ("(", ")"), ("[", "]"), ("[", "]"), (r"\{", r"\}"), ("|", "|"), (r"\langle", r"\rangle"))
_SPACES = [r"\,", r"\,", r"\,", r"~", r"~", r"\;", r"\:", r"\quad", r"\!"]
_FAR = (
    (r"\quad",), (r"\quad",), (r"\qquad",), ("~", "~"), (r"\;", r"\;"), (r"\quad", r"\quad"), ("~", "~", "~"), (r"\,", r"\,"),
)  # fmt: skip
_WORDS = r"""
    for if and or where with when otherwise even odd const h.c. tot max min eff for~all if~and~only~if such~that as
    then on in is is~a at phys free int crit
""".split()
_OPERATORS = r"\sin \cos \exp \ln \log \det \tan \cosh \sinh \tanh \arctan \max \min \dim \lim".split()
_NAMES = r"Tr tr sgn diag Re Im Res Ad arcsinh sech rank vol Det STr ch Pf".split()
_LARGE = (r"\sum", r"\sum", r"\int", r"\int", r"\prod", r"\oint", r"\bigoplus", r"\bigcup", r"\iint")
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
                tokens = spaced(tokens, random)
            elif random.random() < 0.15:
                tokens = strewn(tokens, random)
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
        return self._dressed([pick(LATIN, random)], random)

    def _dressed(self, tokens: list[str], random: Random) -> list[str]:
        """The same structure with other letters, and accents, fonts and scripts on some of them."""
        style = random.random()
        if style < 0.2:
            return tokens
        letters = {token for token in tokens if token in LATIN or token in GREEK or token == "i"}
        others = {token: pick(GREEK if random.random() < 0.4 else LATIN, random) for token in sorted(letters)}
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
                result += [pick(ACCENTS, random), "{", exchanged, "}"]
            elif chance < 0.12 and exchanged.isalpha() and level < 3:
                result += [pick(FONTS, random), "{", exchanged.upper(), "}"]
            elif chance < 0.2 and level == 0 and followed not in ("_", "^"):
                result += scripted([exchanged], random)
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
            tokens.append(pick(SIGNS, random))

    def _factor(self, length: float, random: Random) -> list[str]:
        """A term, a fraction, something in brackets, under a root, an integral or sum."""
        if length < 6:
            chance = random.random()
            if chance < 0.06:
                return self._enclosed(a_letter(random), random)
            return self._term(length, random) if chance < 0.5 else scripted(a_letter(random), random)
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
            inner += [";", *a_letter(random)]
        return self._enclosed(inner, random)

    def _enclosed(self, inner: list[str], random: Random) -> list[str]:
        """In brackets of some size, now and then with a script."""
        opening, closing = _FENCES[int(random.integers(len(_FENCES)))]
        way = random.random()
        if way < 0.42:
            fenced = [r"\left", opening, *inner, r"\right", closing]
        elif way < 0.54:
            size, plain = pick(SIZES, random), random.random() < 0.5
            fenced = [size + "l" * (not plain), opening, *inner, size + "r" * (not plain), closing]
        else:
            fenced = [opening, *inner, closing]
        chance = random.random()
        if chance < 0.2:
            return [*fenced, "^", "{", pick(["2", "2", "2", "3", "n", "N"], random), "}"]
        if chance < 0.3:
            return scripted(fenced, random)
        return fenced

    def _at(self, length: float, random: Random) -> list[str]:
        """What is evaluated somewhere: a bar with a script behind it."""
        inner = self._factor(length - 8, random)
        way = random.random()
        if way < 0.35:
            inner = [r"\left", ".", *inner, r"\right", "|"]
        elif way < 0.7:
            inner += [pick(SIZES, random), "|"]
        else:
            inner.append("|" if way < 0.85 else r"\mid")
        place = [*a_letter(random), *(["=", pick(["0", "0", "1", *LATIN], random)] if random.random() < 0.6 else [])]
        return [*inner, "_", "{", *place, "}"]

    def _root(self, length: float, random: Random) -> list[str]:
        return [r"\sqrt", "{", *self._short(length - 3, random), "}"]

    def _power(self, length: float, random: Random) -> list[str]:
        """An exponential, its exponent as long as a term."""
        base = ["e"] if random.random() < 0.75 else a_letter(random)
        sign = ["-"] * (random.random() < 0.4) + ["i"] * (random.random() < 0.3)
        if random.random() < 0.35:
            return [*base, "^", "{", *sign, *self._factor(min(length, random.uniform(1, 6)), random), "}"]
        return [*base, "^", "{", *sign, *self._short(min(length - 3, random.uniform(4, 26)), random), "}"]

    def _large(self, length: float, random: Random) -> list[str]:
        """A sum, an integral and the like before a factor."""
        large = pick(_LARGE, random)
        low = [*a_letter(random), *(["=", pick(["0", "1"], random)] if "int" not in large else [])]
        limits = ["_", "{", *low, "}"] if random.random() < 0.8 else []
        limits += ["^", "{", *a_letter(random), "}"] if random.random() < 0.5 else []
        gap = [pick(_SPACES, random)] if random.random() < 0.3 else []
        measure = ["d", *a_letter(random), *gap] if "int" in large and random.random() < 0.7 else gap
        drawn_closer = [r"\!"] * int(random.integers(1, 4)) if "int" in large and random.random() < 0.08 else []
        return [large, *limits, *drawn_closer, *measure, *self._factor(length - 8, random)]

    def _function(self, length: float, random: Random) -> list[str]:
        name = [pick(_OPERATORS, random)]
        if random.random() < 0.35:
            command = r"\operatorname" if random.random() < 0.4 else r"\mathrm"
            name = [command, "{", *pick(_NAMES, random), "}"]
        if random.random() < 0.12:
            name += ["^", "{", pick(["2", "2", "2", "3", "4", "n"], random), "}"]
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
        below = ["{", symbol, *a_letter(random), "}"]
        rate = [r"\frac", "{", symbol, *a_letter(random), "}", *below] if random.random() < 0.5 else [
            symbol, "_", "{", pick(INDICES, random), "}"]  # fmt: skip
        return [*rate, *self._term(length - len(rate), random)]

    def _product(self, length: float, random: Random) -> list[str]:
        tokens: list[str] = []
        while len(tokens) < 0.6 * length:
            tokens += scripted(a_letter(random), random)
            tokens += [pick(_SPACES, random)] if random.random() < 0.1 else []
        return tokens

    def _stacked(self, length: float, random: Random) -> list[str]:
        """Something small above a symbol."""
        above = [pick(_ABOVE, random)] if random.random() < 0.6 else script(random)
        base = [pick(RELATIONS[7:], random)] if random.random() < 0.4 else a_letter(random)
        return [r"\stackrel", "{", *above, "}", "{", *base, "}", *self._term(length - 8, random)]

    def _listed(self, length: float, random: Random) -> list[str]:
        """First, second, dots and last, with commas or signs between."""
        between = pick([",", ",", ",", "+", r"\cdots"], random)
        dots = pick([r"\ldots", r"\ldots", r"\cdots", "..."], random)
        letter, last = a_letter(random), pick("nNkmdr", random)
        if between == r"\cdots":
            return [*letter, "_", "{", "1", "}", r"\cdots", *letter, "_", "{", last, "}"]
        dots_spelt = list(dots) if dots == "..." else [dots]
        if random.random() < 0.4:
            return [pick("01", random), between, pick("12", random), between, *dots_spelt, between, last]
        script = pick("__^", random)
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
                tokens.append(pick(RELATIONS, random))
            tokens += self._sum_of(min(length - len(tokens), length * random.uniform(0.3, 0.8)), random)
        return tokens

    def _with_condition(self, start: list[str], length: float, random: Random) -> list[str]:
        tokens = self._equation(start, length * 0.75, random)
        word = pick(_WORDS, random)
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
        name = pick(["pmatrix", "pmatrix", "bmatrix", "matrix", "vmatrix", "array", "array", "array", "array"], random)
        begin, end = [rf"\begin{{{name}}}"], [rf"\end{{{name}}}"]
        if name == "array":
            alignment = pick(["c", "c", "c", "l", "r"], random)
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
                    body.append(pick([r"\cdots", r"\vdots", r"\ddots"], random))
                elif random.random() < 0.3 and columns > 1:
                    body.append(pick(["0", "0", "0", "1", "1", "2", "-"], random).replace("-", "0"))
                else:
                    body += (
                        self._sum_of(cell, random)
                        if cell > 4
                        else (scripted(a_letter(random), random) if cell > 3 else a_letter(random))
                    )
        matrix = [*begin, *body, *end]
        head = self._dressed(start, random) if len(start) < 0.3 * length else a_letter(random)
        return (
            [*head, "=", *matrix]
            if random.random() < 0.7
            else [*matrix, *a_letter(random), "=", *self._sum_of(8, random)]
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
                condition = [command, "{", *pick(["if", "for", "when"], random), "~", "}", *condition]
            body += [*self._sum_of(share, random), *([","] if random.random() < 0.5 else []), "&", *condition]
        head = self._dressed(start, random) if len(start) < 0.3 * length else scripted(a_letter(random), random)
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
            relation = pick(RELATIONS, random)
            right = self._sum_of(length / rows * 0.7, random)
            stop = [pick([",", ",", "."], random)] if random.random() < 0.5 else []
            body += [*style, *left, "&", relation, *(["&"] if array else []), *style, *right, *stop]
        if array:
            return [r"\begin{array}", "{", "r", "c", "l", "}", *body, r"\end{array}"]
        return [r"\begin{aligned}", *body, r"\end{aligned}"]

    def _ended(self, tokens: list[str], random: Random) -> list[str]:
        """With the full stop or comma that displayed equations end in."""
        chance = random.random()
        if tokens[-1] in (".", ",", r"\right") or tokens[-1].startswith(r"\end{a"):
            return tokens
        gap = BEFORE_STOPS[int(random.integers(len(BEFORE_STOPS)))] if random.random() < 0.4 else ()
        if chance >= 0.64:
            return tokens
        return [*tokens, *gap, "." if chance < 0.36 else "," if chance < 0.625 else pick(";;;:", random)]


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


def _cell_style(environment: str, random: Random) -> list[str]:
    """What each cell begins with: arrays are set small unless they are told not to be."""
    return [r"\displaystyle"] if environment == "array" and random.random() < 0.3 else []
