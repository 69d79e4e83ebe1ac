r"""Formulas that nobody wrote, from the segmented ink of those that somebody did.

A training set of some thousand formulas is learnt by heart long before handwriting is understood. Where it is known
which strokes form which symbol, and which token each symbol is, parts can be cut out, symbols exchanged for others'
and formulas joined; the caption follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hmer.augment import Random
from hmer.datasets.radicals import bar_start, radical
from hmer.ink import Ink, Stroke, Symbol, bounds, symbol_size
from hmer.vocabulary import UNWRITTEN

# Symbols that stand alike on the line, so that one can take the other's box.
_CAPITALS = "A B C E F G H I L M N P R S T V X Y"
_ALIKE = (
    "0 1 2 3 4 5 6 7 8 9",
    f"0 1 2 3 4 5 6 7 8 9 {_CAPITALS}",
    r"a c e i m n o r s u v w x z \alpha \sigma \pi",
    rf"b d h k l t f \beta \delta \theta \lambda \Delta {_CAPITALS}",
    r"g j p q y \gamma \mu \phi",
    r"+ - \times \div \pm",
    r"= < > \leq \geq \neq \in",
    r"\forall \exists \infty \Delta \alpha \beta \gamma \theta \phi",
    r"\sin \cos \tan \log",
)
_SIGNS = frozenset(token for line in _ALIKE if line[0] in "+=" or line.startswith(r"\sin") for token in line.split())
_NARROW = frozenset(["1", "i", "j", "l"])  # in their boxes nothing wider has room
_ALIKE_OF: dict[str, list[list[str]]] = {}
for _line in _ALIKE:
    for _token in _line.split():
        _ALIKE_OF.setdefault(_token, []).append(_line.split())
NO_HAND = ("", "Unknown")  # what collections call writers whom they do not tell apart
HAND = 20  # different symbols that make a writer's a hand to write others' formulas in
_BRACKETS = (("(", ")"), ("[", "]"), ("|", "|"), (r"\{", r"\}"))

# These fill the box that the formula leaves them, whatever their own proportions.
_STRETCHED = frozenset(
    [r"\frac", r"\sqrt", r"-", r"(", r")", r"[", r"]", r"|", r"\{", r"\}", r"\int", r"\sum", r"\rightarrow"]
)
_WITHOUT_INK = frozenset(
    [r"\begin{matrix}", r"\end{matrix}", r"\end{cases}"]
)  # what other environments begin and end with
_JOINING = ("+", "-", "=", r"\times", "<", r"\leq", r"\rightarrow")
# Alone, nobody could tell these from one another.
_NOTHING_ALONE = frozenset(
    [r",", r".", r"|", r"-", r"!", r"\prime", r"\cdot", r"(", r")", r"[", r"]", r"/", r"1", r"\ldots", r"\cdots"]
)


@dataclass(frozen=True)
class Formula:
    """Ink and its caption; `positions[i]` is the token that the ink's symbol i is, or -1.

    writer: empty if not known. unit: size of the usual symbol of what it was cut from, 0 where it is whole: what a part is
    large or small beside.
    """

    tokens: tuple[str, ...]
    ink: Ink
    positions: tuple[int, ...]
    writer: str = ""
    unit: float = 0.0

    @property
    def size(self) -> float:
        """Size of the usual symbol, in the unit of the ink."""
        return self.unit or symbol_size(self.ink)

    @property
    def complete(self) -> bool:
        """Whether every written token has its symbol and every stroke belongs to one."""
        index_of_root = root_indices(self.tokens)
        unwritten = UNWRITTEN | _WITHOUT_INK
        written = [
            index for index, token in enumerate(self.tokens) if token not in unwritten and index not in index_of_root
        ]
        strokes = sum(len(symbol.strokes) for symbol in self.ink.symbols)
        return sorted(self.positions) == written and strokes == len(self.ink.strokes)


def root_indices(tokens: Sequence[str]) -> set[int]:
    r"""Where the brackets stand that hold the index of a root, as in \sqrt [ 3 ] { x }: nobody writes those."""
    found: set[int] = set()
    for index, token in enumerate(tokens[:-1]):
        if token == r"\sqrt" and tokens[index + 1] == "[" and "]" in tokens[index:]:
            found |= {index + 1, tokens.index("]", index)}
    return found


def group_end(tokens: Sequence[str], start: int) -> int:
    """One past the brace that closes the one at `start`."""
    depth = 0
    for index in range(start, len(tokens)):
        depth += (tokens[index] == "{") - (tokens[index] == "}")
        if depth == 0:
            return index + 1
    return len(tokens)


def parts(tokens: Sequence[str], start: int, end: int) -> list[tuple[int, int]]:
    """Spans of the symbols between `start` and `end`, each with its arguments and scripts."""
    spans = []
    index = start
    while index < end:
        begin = index
        index += 1
        if tokens[begin].startswith(r"\begin{"):  # an environment is one symbol with arguments
            depth = 1
            while index < end and depth:
                depth += tokens[index].startswith(r"\begin{") - tokens[index].startswith(r"\end{")
                index += 1
        if tokens[begin] == r"\sqrt" and index < end and tokens[index] == "[":
            index = next((place + 1 for place in range(index, end) if tokens[place] == "]"), end)
        while index < end and tokens[index] in ("{", "^", "_", r"\limits"):
            index = group_end(tokens, index) if tokens[index] == "{" else index + 1
        spans.append((begin, index))
    return spans


Instances = dict[str, list[tuple[int, int]]]  # by token: which symbols of which formulas


class Recombiner:
    """Makes formulas from a collection of complete ones; symbols and parts keep their writers' hands.

    `donors` are others whose symbols are taken, too: more hands for the same layouts.
    """

    def __init__(self, formulas: Sequence[Formula]) -> None:
        self.formulas = [formula for formula in formulas if formula.complete]
        self.donors: Sequence[Recombiner] = ()
        self._instances: Instances = {}
        self._size = [formula.size for formula in self.formulas]
        self._by_writer: dict[str, Instances] = {}
        for index, formula in enumerate(self.formulas):
            own = self._by_writer.setdefault(formula.writer, {}) if formula.writer not in NO_HAND else {}
            for symbol, position in enumerate(formula.positions):
                # Some write a slash for it, which is no example of it in other formulas.
                if formula.tokens[position] == r"\div" and len(formula.ink.symbols[symbol].strokes) < 3:
                    continue
                for instances in (self._instances, own):
                    instances.setdefault(formula.tokens[position], []).append((index, symbol))
        self._hands = [own for own in self._by_writer.values() if len(own) >= HAND]

    def __len__(self) -> int:
        return len(self.formulas)

    def make(self, random: Random) -> Formula:
        """A part of a formula, a formula with other symbols, or two parts joined."""
        kind = random.random()
        if kind < 0.3:
            made = self.part(self._any(random), random)
        elif kind < 0.8:
            made = self._any(random)
        else:
            made = self.joined(
                self.part(self._any(random), random, 10), self.part(self._any(random), random, 10), random
            )
        # A whole formula must change, or it would only be seen more often.
        if 0.3 <= kind < 0.8 or random.random() < 0.5:
            made = self.rewritten(made, random)
        return made

    def _any(self, random: Random) -> Formula:
        return self.formulas[int(random.integers(len(self.formulas)))]

    def part(self, formula: Formula, random: Random, most: int = 6) -> Formula:
        """Up to `most` neighbouring symbols of one line of the formula, with their scripts and arguments."""
        tokens = formula.tokens
        lines = [(index + 1, group_end(tokens, index) - 1) for index, token in enumerate(tokens) if token == "{"]
        whole = not lines or random.random() < 0.65
        start, end = (0, len(tokens)) if whole else lines[int(random.integers(len(lines)))]
        spans = parts(tokens, start, end)
        if not spans:
            return formula
        # Of single symbols many could be anything.
        least = 1 if len(spans) == 1 or random.random() < 0.3 else 2
        count = int(random.integers(least, max(least, min(most, len(spans))) + 1))
        first = int(random.integers(len(spans) - count + 1))
        begin, stop = spans[first][0], spans[first + count - 1][1]
        chosen = [index for index, position in enumerate(formula.positions) if begin <= position < stop]
        if not chosen or all(token in _NOTHING_ALONE for token in tokens[begin:stop]):  # empty braces hold nothing
            return formula
        symbols = [(formula.ink.symbols[index], formula.positions[index] - begin) for index in chosen]
        strokes = [[formula.ink.strokes[index] for index in symbol.strokes] for symbol, _ in symbols]
        return _assemble(tokens[begin:stop], [position for _, position in symbols], strokes, formula.size)

    def rewritten(self, formula: Formula, random: Random) -> Formula:
        """The same layout with symbols of other writers, or of one other, and now and then with other symbols."""
        tokens = list(formula.tokens)
        exchanged = self._exchange(sorted(set(tokens)), random) if random.random() < 0.6 else {}
        share = random.random()
        size = formula.size
        donor = self._donor(random)
        hand: Instances = {}
        if donor._hands and random.random() < 0.5:
            hand = donor._hands[int(random.integers(len(donor._hands)))]
            share = max(share, 0.8)
        strokes = []
        for symbol, position in zip(formula.ink.symbols, formula.positions, strict=True):
            own = [formula.ink.strokes[index] for index in symbol.strokes]
            token = exchanged.get(tokens[position], tokens[position])
            if token != tokens[position] or random.random() < share:
                changed = token != tokens[position]
                if token in hand:
                    own = donor._fitting(hand[token], token, own, size, random, changed=changed)
                else:
                    own = self._instance(token, own, size, random, changed=changed)
            tokens[position] = token
            strokes.append(own)
        return _assemble(tuple(tokens), formula.positions, strokes, size)

    def _donor(self, random: Random) -> "Recombiner":
        """This one, or as often one of the others."""
        if not self.donors or random.random() < 0.5:
            return self
        return self.donors[int(random.integers(len(self.donors)))]

    def _exchange(self, tokens: Sequence[str], random: Random) -> dict[str, str]:
        """What some of the tokens become; rare symbols are taken more often than they were written."""
        exchanged: dict[str, str] = {}
        for token in tokens:
            if token in _ALIKE_OF and token not in _NARROW and random.random() < 0.4:
                alike = _ALIKE_OF[token][int(random.integers(len(_ALIKE_OF[token])))]
                choices = [other for other in alike if other in self._instances]
                weights = np.array([len(self._instances[other]) ** -0.5 for other in choices])
                if choices:
                    exchanged[token] = choices[int(random.choice(len(choices), p=weights / weights.sum()))]
        if "(" in tokens and r"\sqrt" not in tokens and random.random() < 0.3:  # of a root, [ ] would be the index
            pair = _BRACKETS[int(random.integers(len(_BRACKETS)))]
            if all(other in self._instances for other in pair):
                exchanged |= dict(zip(("(", ")"), pair, strict=True))
        return exchanged

    def joined(self, left: Formula, right: Formula, random: Random) -> Formula:
        """Two formulas on one line, with an operator or a relation between them."""
        size = left.size
        factor = size / right.size
        line, other_line = _axis(left), _axis(right) * factor
        edge = max(float(stroke[:, 0].max()) for stroke in left.ink.strokes)
        token = _JOINING[int(random.integers(len(_JOINING)))]
        tokens, positions = list(left.tokens), list(left.positions)
        strokes = [[left.ink.strokes[index] for index in symbol.strokes] for symbol in left.ink.symbols]
        if token in self._instances:
            height = 0.05 if token == "-" else 0.6
            low = np.array([edge + size * random.uniform(0.25, 0.7), line - size * height / 2], np.float32)
            box = [np.stack([low, low + np.array([size * 0.7, size * height], np.float32)])]
            strokes.append(self._instance(token, box, size, random))
            edge = max(float(stroke[:, 0].max()) for stroke in strokes[-1])
            positions.append(len(tokens))
            tokens.append(token)
        start = min(float(stroke[:, 0].min()) for stroke in right.ink.strokes) * factor
        shift = np.array([edge + size * random.uniform(0.25, 0.7) - start, line - other_line], np.float32)
        for symbol, position in zip(right.ink.symbols, right.positions, strict=True):
            strokes.append([right.ink.strokes[index] * np.float32(factor) + shift for index in symbol.strokes])
            positions.append(position + len(tokens))
        return _assemble((*tokens, *right.tokens), positions, strokes, size)

    def _instance(
        self, token: str, own: Sequence[Stroke], size: float, random: Random, *, changed: bool = False
    ) -> list[Stroke]:
        """Somebody's `token` in the box of the strokes `own`, in a formula whose usual symbol is `size` large.

        `changed`: the box is another symbol's.
        """
        donor = self._donor(random)
        if token not in donor._instances:
            donor = self
        return donor._fitting(donor._instances[token], token, own, size, random, changed=changed)

    def _fitting(
        self,
        choices: Sequence[tuple[int, int]],
        token: str,
        own: Sequence[Stroke],
        size: float,
        random: Random,
        *,
        changed: bool,
    ) -> list[Stroke]:
        index, symbol = choices[int(random.integers(len(choices)))]
        ink = self.formulas[index].ink
        strokes = [ink.strokes[stroke] for stroke in ink.symbols[symbol].strokes]
        stretched = token in _STRETCHED
        if token == r"\sqrt":
            hook = bar_start(own)
            sign = radical(strokes, hook, bounds(own)) if hook is not None else None
            if sign is not None:
                return sign
        return fitted(
            strokes, own, size / self._size[index], 1.0 if stretched else 0.2,
            by_height=changed and not stretched, near_scale=changed and token in _SIGNS,
        )  # fmt: skip


def fitted(
    strokes: Sequence[Stroke],
    box: Sequence[Stroke],
    scale: float,
    most: float,
    *,
    by_height: bool = False,
    near_scale: bool = False,
) -> list[Stroke]:
    """`strokes` in the middle of the box of others, their proportions changed by exp(2 * most) at most.

    What is next to nothing in one direction (a bar, a dot) has no proportions; `scale` serves where both are. With
    `by_height` they get the height of the box: how large a letter is tells which it is, how wide its box was does not;
    but the width of a box that is flat, as of a minus or of an equals sign. `near_scale`: about as large as it was written,
    as signs are that take each other's place: in the box of an equals sign a plus would be a speck.
    """
    low, high = _corners(strokes)
    box_low, box_high = _corners(box)
    have, want = high - low, box_high - box_low
    flat = 0.15 * max(float(have.max()), 1e-6)
    box_flat = 0.15 * max(float(want.max()), 1e-6)
    usable = (have > flat) & (want > box_flat)
    stretched = most >= 1
    if not usable.any() or (not stretched and max(want) * 8 < max(have) * scale):
        factors = np.full(2, scale)
    else:
        ratios = np.log(np.where(usable, want, 1) / np.where(usable, have, 1))
        side = 1 if usable[1] and want[1] > 0.6 * want[0] else 0
        middle = float(ratios[side] if by_height and usable[side] else ratios[usable].mean())
        factors = np.exp(middle + np.clip(np.where(usable, ratios - middle, 0), -most, most))
        if stretched and not usable[1]:
            factors[1] = min(factors[1], scale)  # a bar that is made longer is made no steeper
    if near_scale:
        factors = np.clip(factors, 0.6 * scale, 1.4 * scale)
    middle_to, middle_from = (box_low + box_high) / 2, (low + high) / 2
    return [((stroke - middle_from) * factors + middle_to).astype(np.float32) for stroke in strokes]


def _corners(strokes: Sequence[Stroke]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    points = np.concatenate(strokes).astype(np.float64)
    return points.min(axis=0), points.max(axis=0)


def _axis(formula: Formula) -> float:
    """Height of the middle of the line: the median of its symbols, scripts and arguments apart."""
    own = {begin for begin, _ in parts(formula.tokens, 0, len(formula.tokens))}
    middles = [
        float(np.mean([corner[1] for corner in _corners([formula.ink.strokes[index] for index in symbol.strokes])]))
        for symbol, position in zip(formula.ink.symbols, formula.positions, strict=True)
        if position in own
    ]
    return float(np.median(middles)) if middles else float(np.concatenate(formula.ink.strokes)[:, 1].mean())


def _assemble(
    tokens: Sequence[str], positions: Sequence[int], strokes: Sequence[Sequence[Stroke]], unit: float
) -> Formula:
    """A formula from the strokes of each symbol; `unit` as in `Formula`."""
    flat: list[Stroke] = []
    symbols = []
    for position, group in zip(positions, strokes, strict=True):
        symbols.append(Symbol(tokens[position], tuple(range(len(flat), len(flat) + len(group)))))
        flat.extend(group)
    return Formula(tuple(tokens), Ink(tuple(flat), tuple(symbols)), tuple(positions), unit=unit)
