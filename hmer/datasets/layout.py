r"""Where the symbols of a formula stand when somebody writes it: a hand's version of TeX's rules for boxes.

Lengths are in heights of a capital letter; y is downward and 0 on the baseline. Everything varies: sizes, gaps, how
far scripts are raised, how the line wanders.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hmer.augment import Random
from hmer.datasets.radicals import radical
from hmer.datasets.recombine import group_end
from hmer.errors import LatexError
from hmer.ink import Stroke

Draw = Callable[[str], Sequence[Stroke]]  # somebody's strokes for a token, in any unit

ACCENTS_ABOVE = frozenset([r"\hat", r"\bar", r"\vec", r"\dot", r"\ddot", r"\tilde", r"\check", r"\overline"])
ACCENTS = ACCENTS_ABOVE | {r"\underline"}
# What an accent is drawn with.
ACCENT_GLYPHS = {
    r"\bar": "-", r"\overline": "-", r"\underline": "-", r"\vec": r"\rightarrow", r"\tilde": r"\sim", r"\dot": ".",
    r"\check": r"\vee",
}  # fmt: skip
# The delimiters on the left and on the right of a matrix.
MATRICES = {
    "pmatrix": ("(", ")"), "bmatrix": ("[", "]"), "vmatrix": ("|", "|"), "matrix": ("", ""), "cases": (r"\{", ""),
}  # fmt: skip
_OPENING = {"(": ")", "[": "]", r"\{": r"\}", "|": "|", r"\langle": r"\rangle"}

_SPANS: dict[str, tuple[float, float]] = {}  # bottom and top of a symbol over the baseline


def _span(bottom: float, top: float, tokens: str) -> None:
    _SPANS.update(dict.fromkeys(tokens.split(), (bottom, top)))


_span(0, 0.55, r"a c e m n o r s u v w x z \cos \sec \csc \max \pi \sigma \nu \omega \varepsilon \iota \kappa \tau")
_span(0, 0.75, r"i t")
_span(-0.4, 0.55, r"g p q y \gamma \mu \eta \rho \chi")
_span(-0.4, 0.8, r"j")
_span(-0.35, 0.95, r"\beta \phi \psi \xi \zeta")
_span(-0.45, 1.2, "f")
_span(0, 1.25, "h")
_span(0, 0.8, r"\alpha")
_span(-0.35, 0.55, r"\sup \exp \arg")
_span(-0.4, 1.0, r"\log \deg \gcd")
_span(-0.05, 0.95, r"\leq \geq \neq \pm \div")  # larger than in print
_span(-0.3, 1.2, r"\sum \prod")
_span(-0.5, 1.4, r"\int \oint \iint")
_span(-0.2, 1.05, r"( ) [ ] | \{ \} / \setminus \langle \rangle \lfloor \rfloor \lceil \rceil \|")
_span(-0.25, 0.15, ",")
_span(-0.02, 0.06, ". \\ldots")
_span(-0.2, 0.5, ";")
_span(0, 0.5, ":")
_span(0.36, 0.42, r"\cdot \cdots")
_span(0.5, 1.0, r"\prime")
_span(-0.1, 0.9, r"\vdots \ddots")
_span(0.1, 0.75, r"+ \times \mp \oplus \otimes \ominus \odot \cup \cap \wedge \vee \star")
_span(0.27, 0.52, r"\circ *")
_span(
    0.1,
    0.7,
    r"= < > \equiv \approx \simeq \cong \subset \supset \subseteq \supseteq \in \ni \notin \ll \gg",
)
_span(0.1, 0.7, r"\propto \infty \vdash \perp")
_span(0.0, 0.8, r"\uparrow \downarrow \updownarrow")
# As wide as this, whatever the height comes to.
_WIDE = {
    "-": 0.55, "=": 0.65, r"\equiv": 0.65, r"\approx": 0.65, r"\simeq": 0.65, r"\cong": 0.65, r"\sim": 0.6, r"\rightarrow": 0.9, r"\leftarrow": 0.9, r"\leftrightarrow": 1.0, r"\mapsto": 0.9,
    r"\hookrightarrow": 0.9, r"\Rightarrow": 0.9, r"\Leftarrow": 0.9, r"\Leftrightarrow": 1.1, r"\neg": 0.5,
    r"\ldots": 0.9, r"\cdots": 0.9,
}  # fmt: skip
_RELATIONS = frozenset(
    [
        r"=",
        r"<",
        r">",
        r"\leq",
        r"\geq",
        r"\neq",
        r"\equiv",
        r"\approx",
        r"\simeq",
        r"\cong",
        r"\subset",
        r"\supset",
        r"\subseteq",
        r"\supseteq",
        r"\in",
        r"\ni",
        r"\notin",
        r"\ll",
        r"\gg",
        r"\sim",
        r"\propto",
        r"\rightarrow",
        r"\leftarrow",
        r"\leftrightarrow",
        r"\Rightarrow",
        r"\Leftarrow",
        r"\Leftrightarrow",
        r"\mapsto",
        r"\vdash",
        r"\perp",
    ]
)
_BINARY = frozenset(
    [
        r"+",
        r"-",
        r"\times",
        r"\div",
        r"\pm",
        r"\mp",
        r"\oplus",
        r"\otimes",
        r"\ominus",
        r"\cup",
        r"\cap",
        r"\wedge",
        r"\vee",
        r"\circ",
        r"\cdot",
    ]
)
_AXIS = 0.4  # height of the middle of fractions and operators


@dataclass(frozen=True)
class Box:
    """Placed strokes by the position of their token; the baseline is y = 0 and the left edge x = 0."""

    width: float
    ascent: float
    descent: float
    placed: tuple[tuple[int, tuple[Stroke, ...]], ...] = ()

    def at(self, x: float, y: float, scale: float = 1.0) -> tuple[tuple[int, tuple[Stroke, ...]], ...]:
        """The strokes with the box's origin at (x, y), `scale` times as large."""
        shift = np.array([x, y], np.float32)
        return tuple(
            (position, tuple(s * np.float32(scale) + shift for s in strokes)) for position, strokes in self.placed
        )

    def scaled(self, factor: float) -> "Box":
        return Box(self.width * factor, self.ascent * factor, self.descent * factor, self.at(0, 0, factor))


EMPTY = Box(0.0, 0.4, 0.0)


class Hand:
    """Lays formulas out as one writer would on one occasion. Raises LatexError for what it cannot lay out."""

    def __init__(self, draw: Draw, random: Random) -> None:
        self.draw, self.random = draw, random
        self.gap = float(np.exp(random.normal(math.log(0.16), 0.35)))
        self.script = float(random.uniform(0.5, 0.8))
        self.raised, self.lowered = float(random.uniform(0.45, 0.75)), float(random.uniform(0.15, 0.4))
        self.small = float(random.uniform(0.85, 1.25))  # lower-case letters, beside capitals
        self.fraction = float(random.uniform(0.75, 1.0))
        self.slope = float(random.normal(0, 0.01))

    def write(self, tokens: Sequence[str]) -> Box:
        """The box of a whole formula, tokens in the crohme label form."""
        self.tokens = tuple(tokens)
        return self._line(0, len(tokens))

    def _vary(self, spread: float) -> float:
        return float(np.exp(self.random.normal(0, spread)))

    def _group(self, index: int) -> tuple[Box, int]:
        """The box of the group that opens at `index`, and where it ends."""
        if index >= len(self.tokens) or self.tokens[index] != "{":
            raise LatexError("An argument is missing; normalise the formula first.")
        end = group_end(self.tokens, index)
        return self._line(index + 1, end - 1), end

    def _line(self, start: int, end: int) -> Box:
        """Atoms one after the other; delimiters grow to hold what stands between them."""
        atoms: list[tuple[Box, str, int]] = []  # box, token, position; of a delimiter nothing is drawn yet
        index = start
        while index < end:
            begin = index
            box, index = self._nucleus(index, end)
            box, index = self._scripted(box, begin, index, end)
            atoms.append((box, self.tokens[begin], begin))
        self._stretch(atoms)
        x = wander = 0.0
        placed: list[tuple[int, tuple[Stroke, ...]]] = []
        ascent, descent = 0.3, 0.0
        for number, (box, token, _) in enumerate(atoms):
            around = 1.8 if token in _RELATIONS else 1.4 if token in _BINARY and number else 1.0
            space = self.gap * around * self._vary(0.3)
            if number:
                before = atoms[number - 1][1]
                x += space if around > 1 or before not in _RELATIONS | _BINARY else self.gap * 1.6 * self._vary(0.3)
            wander = 0.7 * wander + float(self.random.normal(0, 0.025))
            y = wander + x * self.slope
            placed += box.at(x, y)
            x += box.width
            ascent, descent = max(ascent, box.ascent - y), max(descent, box.descent + y)
        return Box(x, ascent, descent, tuple(placed))

    def _stretch(self, atoms: list[tuple[Box, str, int]]) -> None:
        """Redraw the delimiters around what is taller than they are."""
        open_at: list[int] = []
        for number, (_, token, _) in enumerate(atoms):
            if open_at and token == _OPENING[atoms[open_at[-1]][1]]:
                first = open_at.pop()
                inner = [box for box, _, _ in atoms[first + 1 : number]]
                ascent = max((box.ascent for box in inner), default=0.0)
                descent = max((box.descent for box in inner), default=0.0)
                if ascent > 1.25 or descent > 0.45:
                    for place in (first, number):
                        box, name, position = atoms[place]
                        if len(box.placed) == 1:  # with scripts it stays as it is
                            atoms[place] = (self._tall(name, position, ascent, descent), name, position)
            elif token in _OPENING:
                open_at.append(number)

    def _tall(self, token: str, position: int, ascent: float, descent: float) -> Box:
        """A delimiter as high as what it holds."""
        height = (ascent + descent) * self.random.uniform(0.9, 1.1)
        top = -(ascent - descent + height) / 2
        width = 0.08 if token in ("|", r"\|") else self.random.uniform(0.2, 0.35)
        return self._filled(position, token, 0.0, top, width, top + height)

    def _filled(self, position: int, token: str, left: float, top: float, right: float, bottom: float) -> Box:
        """A symbol that fills a box, whatever its own proportions."""
        strokes = _filling(self.draw(token), left, top, right, bottom)
        return Box(right - min(left, 0.0), -top, bottom, ((position, strokes),))

    def _nucleus(self, index: int, end: int) -> tuple[Box, int]:
        token = self.tokens[index]
        if token == "{":
            return self._group(index)
        if token == r"\frac":
            return self._fraction(index)
        if token == r"\sqrt":
            return self._root(index)
        if token in ACCENTS:
            return self._accented(index)
        if token.startswith(r"\begin{"):
            return self._matrix(index, end)
        if token in ("}", "&", r"\\", "^", "_", r"\limits") or token.startswith(r"\end{"):
            raise LatexError(f"{token} stands where a symbol should; normalise the formula first.")
        return self._symbol(index, token), index + 1

    def _symbol(self, position: int, token: str) -> Box:
        bottom, top = _SPANS.get(token, (0.0, 0.95))
        if token in _SPANS and top <= 0.55 and bottom <= 0:
            bottom, top = bottom * self.small, top * self.small
        strokes = self.draw(token)
        points = np.concatenate(strokes)
        low, size = points.min(axis=0), np.ptp(points, axis=0)
        if token in _WIDE:
            scale = _WIDE[token] * self._vary(0.15) / max(float(size[0]), 0.3 * float(size[1]), 1e-6)
        else:
            # What is much wider than high is not blown up to the height of its kind.
            scale = (top - bottom) * self._vary(0.08) / max(float(size[1]), 0.4 * float(size[0]), 1e-6)
        width, height = size * scale
        middle = (_AXIS if token in _WIDE and token != r"\ldots" else (top + bottom) / 2) + self.random.normal(0, 0.03)
        corner = np.array([0.0, -middle - height / 2], np.float32)
        moved = tuple(np.asarray((stroke - low) * scale + corner, np.float32) for stroke in strokes)
        return Box(float(width), float(middle + height / 2), float(height / 2 - middle), ((position, moved),))

    def _scripted(self, box: Box, begin: int, index: int, end: int) -> tuple[Box, int]:
        """The nucleus with the scripts that follow it."""
        limits = index < end and self.tokens[index] == r"\limits"
        index += limits
        scripts: dict[str, Box] = {}
        while index < end and self.tokens[index] in ("_", "^"):
            mark = self.tokens[index]
            inner, index = self._group(index + 1)
            scripts[mark] = inner.scaled(self.script * self._vary(0.05))
        if not scripts:
            return box, index
        # Integrals have their limits beside them more often than not.
        beside = not limits or (self.tokens[begin] in (r"\int", r"\oint", r"\iint") and self.random.random() < 0.7)
        return (self._beside if beside else self._above)(box, scripts), index

    def _beside(self, box: Box, scripts: dict[str, Box]) -> Box:
        placed = list(box.placed)
        width, ascent, descent = box.width, box.ascent, box.descent
        for mark, script in scripts.items():
            x = box.width + 0.05 + abs(float(self.random.normal(0, 0.05)))
            if mark == "^":
                y = -max(self.raised * max(box.ascent, 0.6), box.ascent - 0.45 + script.descent)
            else:
                y = max(self.lowered, box.descent - 0.1, script.ascent - 0.35)
            y += float(self.random.normal(0, 0.04))
            placed += script.at(x, y)
            width = max(width, x + script.width)
            ascent, descent = max(ascent, script.ascent - y), max(descent, script.descent + y)
        return Box(width, ascent, descent, tuple(placed))

    def _above(self, box: Box, scripts: dict[str, Box]) -> Box:
        """Scripts over and under, in the middle."""
        width = max(box.width, *(script.width for script in scripts.values()))
        placed = list(box.at((width - box.width) / 2, 0))
        ascent, descent = box.ascent, box.descent
        for mark, script in scripts.items():
            gap = 0.1 * self._vary(0.4)
            x = (width - script.width) / 2 + float(self.random.normal(0, 0.06))
            y = -(box.ascent + gap + script.descent) if mark == "^" else box.descent + gap + script.ascent
            placed += script.at(x, y)
            ascent, descent = max(ascent, script.ascent - y), max(descent, script.descent + y)
        return Box(width, ascent, descent, tuple(placed))

    def _fraction(self, index: int) -> tuple[Box, int]:
        above, after = self._group(index + 1)
        below, after = self._group(after)
        above, below = above.scaled(self.fraction), below.scaled(self.fraction)
        width = max(above.width, below.width, 0.3) * self.random.uniform(1.05, 1.3)
        gap = 0.15 * self._vary(0.3)
        bar = self._filled(index, "-", 0.0, -_AXIS - 0.02, width, -_AXIS + 0.02)
        up, down = -(_AXIS + gap + above.descent), -_AXIS + gap + below.ascent
        placed = (
            *bar.placed,
            *above.at((width - above.width) * self.random.uniform(0.35, 0.65), up),
            *below.at((width - below.width) * self.random.uniform(0.35, 0.65), down),
        )
        return Box(width, above.ascent - up, below.descent + down, placed), after

    def _root(self, index: int) -> tuple[Box, int]:
        after, degree = index + 1, EMPTY
        if after < len(self.tokens) and self.tokens[after] == "[":
            end = next((place for place in range(after, len(self.tokens)) if self.tokens[place] == "]"), after)
            degree = self._line(after + 1, end).scaled(0.5)
            after = end + 1
        inner, after = self._group(after)
        ascent, descent = inner.ascent + 0.15 * self._vary(0.3), max(inner.descent, 0.0) + 0.05
        hook = self.random.uniform(0.35, 0.55) * float(np.clip(ascent + descent, 0.8, 2.0)) ** 0.5
        right = hook + inner.width + 0.1
        sign = self._filled(index, r"\sqrt", 0.0, -ascent, right, descent)
        strokes = radical(sign.placed[0][1], hook, (0.0, -ascent, right, descent))
        if strokes is not None:
            sign = Box(right, ascent, descent, ((index, tuple(strokes)),))
        y = -(ascent - descent) / 2 - 0.1
        placed = (*sign.placed, *inner.at(hook + 0.02, 0), *degree.at(max(0.0, hook - 0.15 - degree.width), y))
        return Box(sign.width, max(ascent, degree.ascent - y), descent, placed), after

    def _accented(self, index: int) -> tuple[Box, int]:
        token = self.tokens[index]
        inner, after = self._group(index + 1)
        wide = token in (r"\overline", r"\underline")
        width = max(inner.width, 0.2) * self.random.uniform(0.9, 1.15) if wide else self.random.uniform(0.3, 0.5)
        if token == r"\bar":
            width = max(width, 0.8 * inner.width)
        flat = {r"\bar": 0.03, r"\overline": 0.03, r"\underline": 0.03, r"\dot": 0.05, r"\ddot": 0.05}
        width = 0.05 if token == r"\dot" else width
        height = flat.get(token, 0.2 * self._vary(0.2))
        gap = 0.1 * self._vary(0.3)
        top = inner.descent + gap if token == r"\underline" else -inner.ascent - gap - height
        left = (inner.width - width) / 2 + float(self.random.normal(0, 0.04))
        mark = self._filled(index, ACCENT_GLYPHS.get(token, token), left, top, left + width, top + height)
        placed = (*mark.placed, *inner.placed)
        return Box(
            max(inner.width, left + width), max(inner.ascent, -top), max(inner.descent, top + height), placed
        ), after

    def _matrix(self, index: int, end: int) -> tuple[Box, int]:
        name = self.tokens[index][len(r"\begin{") : -1]
        if name not in MATRICES:
            raise LatexError(f"{name}: no layout for this environment.")
        closing = rf"\end{{{name}}}"
        rows: list[list[Box]] = [[]]
        depth, here, start = 0, index + 1, index + 1
        while here < end and not (depth == 0 and self.tokens[here] == closing):
            token = self.tokens[here]
            depth += (token == "{") - (token == "}")
            if token.startswith(r"\begin{"):
                raise LatexError("Environments inside one another have no layout.")
            if depth == 0 and token in ("&", r"\\"):
                rows[-1].append(self._line(start, here))
                rows += [[]] if token == r"\\" else []
                start = here + 1
            here += 1
        if here >= end:
            raise LatexError(f"{self.tokens[index]} is not closed.")
        rows[-1].append(self._line(start, here))
        grid, width, ascent, descent = self._grid(rows, left=name == "cases")
        opening, ending = MATRICES[name]
        placed: list[tuple[int, tuple[Stroke, ...]]] = []
        x = 0.0
        if opening:
            sign = self._tall(opening, index, ascent, descent)
            placed += sign.placed
            x = sign.width + self.gap
        placed += Box(width, ascent, descent, grid).at(x, 0)
        x += width
        if ending:
            sign = self._tall(ending, here, ascent, descent)
            placed += sign.at(x + self.gap, 0)
            x += self.gap + sign.width
        return Box(x, ascent, descent, tuple(placed)), here + 1

    def _grid(
        self, rows: list[list[Box]], *, left: bool
    ) -> tuple[tuple[tuple[int, tuple[Stroke, ...]], ...], float, float, float]:
        columns = max(map(len, rows))
        widths = [max((row[c].width for row in rows if c < len(row)), default=0.0) for c in range(columns)]
        between, leading = self.random.uniform(0.4, 0.9), self.random.uniform(0.2, 0.5)
        placed: list[tuple[int, tuple[Stroke, ...]]] = []
        y, height = 0.0, 0.0
        for number, row in enumerate(rows):
            ascent, descent = max(max(box.ascent for box in row), 0.6), max(max(box.descent for box in row), 0.1)
            y += ascent + (leading if number else 0.0)
            x = 0.0
            for box, width in zip(row, widths, strict=False):
                placed += box.at(x if left else x + (width - box.width) / 2, y)
                x += width + between
            y += descent
            height = y
        up = height / 2 + _AXIS
        whole = Box(0, 0, 0, tuple(placed))
        return whole.at(0, -up), sum(widths) + between * (columns - 1), up, height - up


def _filling(strokes: Sequence[Stroke], left: float, top: float, right: float, bottom: float) -> tuple[Stroke, ...]:
    """Strokes that fill a box; what is flat in one direction keeps to its middle there."""
    points = np.concatenate(strokes)
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    usual = float(size.max())
    box = np.array([right - left, bottom - top])
    flat = size < 0.02 * max(usual, 1e-6)
    factors = np.where(flat, box.max() / max(usual, 1e-6), box / np.where(flat, 1, size))
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    return tuple(np.asarray((stroke - low - size / 2) * factors + middle, np.float32) for stroke in strokes)
