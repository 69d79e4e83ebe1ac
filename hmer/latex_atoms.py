"""Atoms: what a list of mathematics is made of, with TeX's spacing between them.

Decides which braces of a formula can go without moving anything, and writes atoms out as canonical tokens.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hmer import latex_symbols as known

# Spacing that TeX puts between neighbours, by class (TeXbook, p. 170): 0 none, 1 thin, 2 medium, 3 thick.
_CLASSES = ("ord", "op", "bin", "rel", "open", "close", "punct", "inner")
_SPACING_ROWS = (
    "01230001",
    "11*30001",
    "22**2**2",
    "33*03003",
    "00*00000",
    "01230001",
    "11*11111",
    "11231011",
)
_MU = {"0": 0, "1": 3, "2": 4, "3": 5, "*": 0}
CONTROL_SPACE = "\\ "  # until its neighbours are known; see spell_control_spaces
_SPACING = {left: dict(zip(_CLASSES, row, strict=True)) for left, row in zip(_CLASSES, _SPACING_ROWS, strict=True)}


@dataclass(slots=True)
class Item:
    """An atom with its scripts, or something between atoms (spacing, style), whose kind is then "space".

    `inner` holds the items of an explicit group, which has no tokens of its own until it is emitted.
    """

    tokens: list[str]
    kind: str
    inner: "list[Item] | None" = None
    limits: str = ""
    sub: list[str] | None = None
    sup: list[str] | None = None

    @property
    def scripted(self) -> bool:
        return self.sub is not None or self.sup is not None


@dataclass(slots=True)
class Row:
    """A row of an environment: how many rules stand over it, its cells, the extra space under it."""

    rules: int = 0
    cells: list[list[Item]] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether this is only what follows a last \\\\."""
        return not self.rules and self.cells == [[]]


def flatten(items: list[Item]) -> list[Item]:
    """Resolve the explicit groups of a list: spliced in where nothing changes, kept with braces elsewhere."""
    changed = any(item.inner is not None for item in items)
    for _ in range(8):  # one group's going can free the one before it
        if not changed:
            break
        items, changed = _flatten_once(items)
    return items


def _flatten_once(items: list[Item]) -> tuple[list[Item], bool]:
    """One pass over a list, and whether any group was spliced."""
    result: list[Item] = []
    changed = False
    previous = ""  # class of the atom before; spacing between atoms does not matter
    for here, item in enumerate(items):
        if item.inner is not None:
            following = _next_class(items, here + 1)
            if not item.scripted:
                if _can_splice(item.inner, previous, following, here == len(items) - 1):
                    result += item.inner
                    changed = True
                    previous = _edge_class(reversed(item.inner)) or previous
                    continue
            elif _carries_scripts(item):
                *before, base = item.inner
                alone = not before and here == len(items) - 1
                if alone or _can_splice(item.inner, previous, following, False):
                    base.limits, base.sub, base.sup = item.limits, item.sub, item.sup
                    result += [*before, base]
                    changed = True
                    previous = base.kind
                    continue
        if item.kind != "space":
            previous = item.kind
        result.append(item)
    return result, changed


def spell_control_spaces(items: list[Item]) -> list[Item]:
    r"""The items with ~ for each control space, or `\, \,` (as wide) where ~ would move its neighbours.

    A control space is nothing but width; to TeX ~ is an atom, too: `= ~ -` sets the sign as between two terms.
    """
    if all(item.tokens != [CONTROL_SPACE] for item in items):
        return items
    result: list[Item] = []
    previous = ""
    for here, item in enumerate(items):
        if item.tokens == [CONTROL_SPACE]:
            following = next((_class_here(other) for other in items[here + 1 :] if _class_here(other)), "")
            if _is_unmoved_by_atom(previous, following):
                result.append(Item(["~"], "space"))
            else:
                result += [Item([r"\,"], "space"), Item([r"\,"], "space")]
            continue
        previous = _class_here(item) or previous
        result.append(item)
    return result


def _class_here(item: Item) -> str:
    return "ord" if item.tokens == ["~"] else "" if item.kind == "space" else item.kind


def _is_unmoved_by_atom(previous: str, following: str) -> bool:
    """Whether an ordinary atom without extent between two atoms changes no spacing."""
    if following == "bin" and previous not in ("ord", "close", "inner"):
        return False
    if not following:
        return previous != "bin"
    return gap_mu(previous, "ord") + gap_mu("ord", following) == gap_mu(previous, following)


def _edge_class(items: Iterable[Item]) -> str:
    return next((item.kind for item in items if item.kind != "space"), "")


def _next_class(items: list[Item], start: int) -> str:
    """The class of the atom that follows; a group counts as ordinary until it is spliced."""
    return next((items[here].kind for here in range(start, len(items)) if items[here].kind != "space"), "")


def _can_splice(inner: list[Item], previous: str, following: str, last: bool) -> bool:
    """Whether a group's braces can go without moving anything, by TeX's table of spacing."""
    first_class, last_class = _edge_class(inner), _edge_class(reversed(inner))
    if any(item.tokens and item.tokens[0] in known.STYLES for item in inner) and not last:
        return False
    if not first_class:  # nothing but spacing: an empty ordinary atom
        if previous == "bin" or (following == "bin" and previous not in ("ord", "close", "inner")):
            return False
        around = sorted((_gap(previous, "ord"), _gap("ord", following)))
        return around == ["0", _gap(previous, following)]
    if first_class == "bin":
        if previous in ("ord", "close", "inner"):
            return False
    elif _gap(previous, first_class) != _gap(previous, "ord"):
        return False
    if last_class == "bin":
        return last
    return last or not following or _gap(last_class, following) == _gap("ord", following)


def _gap(left: str, right: str) -> str:
    return _SPACING[left][right] if left and right else "0"


def gap_mu(left: str, right: str) -> int:
    """The space between two neighbours by their classes, in mu, outside scripts; 0 where there is none."""
    return _MU[_gap(left, right)]


def _carries_scripts(group: Item) -> bool:
    """Whether the scripts of a group look the same on its last atom."""
    inner = group.inner or []
    if not inner or inner[-1].scripted or inner[-1].kind in ("op", "space"):
        return False
    if len(inner) == 1:
        return True
    simple = all(len(item.tokens) == 1 and not item.scripted for item in inner)
    return simple and group.sub is None and inner[-1].kind in ("ord", "close")


def emit(items: list[Item]) -> list[str]:
    """The tokens of resolved items."""
    tokens: list[str] = []
    for item in items:
        tokens += (
            (item.tokens if item.tokens != [CONTROL_SPACE] else ["~"])
            if item.inner is None
            else ["{", *emit(item.inner), "}"]
        )
        if item.scripted and item.limits:
            tokens.append(item.limits)
        if item.sub is not None:
            tokens += ["_", "{", *item.sub, "}"]
        if item.sup is not None:
            tokens += ["^", "{", *item.sup, "}"]
    return tokens


def emit_rows(rows: list[Row]) -> list[str]:
    """The tokens of the rows of an environment."""
    tokens: list[str] = []
    for number, row in enumerate(rows):
        tokens += [r"\hline"] * row.rules
        for column, cell in enumerate(row.cells):
            body = emit(cell)
            if column:
                tokens.append("&")
            elif number and not row.rules and body[:1] == ["["]:
                tokens += ["{", "}"]  # or \\ would take it for its own argument
            elif number and not row.rules and body[:1] == ["*"]:
                body = ["{", "*", "}", *body[1:]]  # after { } it would be a sign between two terms
            tokens += body
        if number < len(rows) - 1:
            tokens.append(r"\\")
            if row.skip:
                tokens += ["[", *row.skip, "]"]
    if len(rows) > 1 and rows[-1].is_empty:
        tokens.append(r"\\")
    return tokens


def protect_brackets(body: list[str]) -> list[str]:
    """The tokens of an optional argument, in braces if they hold a bracket that would end it."""
    level = 0
    for text in body:
        level += (text == "{") - (text == "}")
        if text == "]" and level == 0:
            return ["{", *body, "}"]
    return body


def is_fontless(item: Item) -> bool:
    """Whether a font leaves an item as it is, so that it can stand outside the font's command."""
    return not item.scripted and item.kind in ("space", "bin", "rel", "punct", "open", "close")
