"""What becomes of a command with its arguments: items of the canonical form, by their simplest spelling."""

import re
from collections.abc import Iterable

from hmer import latex_symbols as known
from hmer.latex_atoms import Item, emit, flatten, is_fontless

_SPACE_NAMES = {
    "1em": (r"\quad",), "2em": (r"\qquad",), "0.5em": (r"\enspace",),
    "18mu": (r"\quad",), "36mu": (r"\qquad",),
    "3mu": (r"\,",), "4mu": (r"\:",), "5mu": (r"\;",), "-3mu": (r"\!",),
}  # fmt: skip


def symbols(tokens: Iterable[str]) -> list[Item]:
    items = []
    for text in tokens:
        kind = "space" if text in known.SPACES else known.ATOM_CLASSES.get(text, "ord")
        items.append(Item([text], kind))
    return items


def count_columns(spec: list[str]) -> int:
    """The number of columns of a simple specification; 0 (any) if there is more than letters and rules."""
    letters = [text for text in spec if text in ("l", "c", "r")]
    return len(letters) if all(text in ("l", "c", "r", "|") for text in spec) else 0


def argument_style(name: str, style: int, index: int) -> int:
    """The style (0 display, 1 text, 2 script, 3 script of script) of an argument of a command in `style`."""
    if name in (r"\frac", r"\binom"):
        return min(style + 1, 3)
    if name in (r"\dfrac", r"\dbinom", r"\cfrac"):
        return 1
    if name in (r"\tfrac", r"\tbinom"):
        return 2
    if name == r"\genfrac":
        return min(style + 1, 3)
    if name.startswith(r"\x") or (name in (r"\stackrel", r"\overset", r"\underset") and index == 0):
        return 2 if style < 2 else 3
    return style


def simplify(name: str, tokens: list[str], bodies: list[list[str]], style: int) -> list[Item]:
    """The item of a command with arguments, by its simplest spelling."""
    kind = known.COMMAND_CLASSES.get(name, "ord")
    if name == r"\hspace*":
        name, tokens = r"\hspace", [r"\hspace", *tokens[1:]]
    if name in (r"\hspace", r"\mspace"):
        dimension = "".join(bodies[0])
        if re.fullmatch(r"[+-]?0+(\.0*)?[a-z]+", dimension):
            return []
        number = re.fullmatch(r"(-?)(\d*)(?:\.(\d*?)0*)?(em|mu)", dimension)
        if number:
            sign, whole, fraction, unit = number.groups()
            dimension = sign + (whole or "0") + ("." + fraction if fraction else "") + unit
        return (
            [Item([text], "space") for text in _SPACE_NAMES[dimension]]
            if dimension in _SPACE_NAMES
            else [Item(tokens, "space")]
        )
    if name in (r"\overset", r"\underset") and len(bodies[1]) == 1:
        kind = known.ATOM_CLASSES.get(bodies[1][0], "ord")
    for big, small in ((r"\dfrac", r"\frac"), (r"\dbinom", r"\binom")):
        if name == big and style == 0:
            tokens[0] = small
    for small, usual in ((r"\tfrac", r"\frac"), (r"\tbinom", r"\binom")):
        if name == small and style == 1:
            tokens[0] = usual
    if name == r"\genfrac" and ["".join(body) for body in bodies[:4]] == ["(", ")", "0pt", ""]:
        return [Item([r"\binom", *tokens[tokens.index("}", tokens.index("t")) + 3 :]], kind)]
    if name == r"\mbox" and style < 2 and "$" not in bodies[0]:  # its mathematics is never in display style
        tokens[0] = r"\text"
    letters = tokens[4:-2]  # TeX centres a single one on the axis
    if name == r"\mathop" and tokens[2:4] == [r"\mathrm", "{"] and len(letters) > 1 and all(map(str.isalpha, letters)):
        name, bodies = r"\operatorname*", [tokens[4:-2]]
        tokens = [name, "{", *bodies[0], "}"]
    if name in (r"\operatorname", r"\operatorname*"):
        command = "\\" + "".join(bodies[0])
        has_limits = command in known.NAMED_WITH_LIMITS
        if (has_limits and name.endswith("*")) or (command in known.OPERATOR_NAMES and not name.endswith("*")):
            return [Item([command], "op")]
    return [Item(tokens, kind)]


def infix_item(name: str, arguments: list[list[str]], above: list[Item], below: list[Item]) -> Item:
    parts = ["{", *emit(above), "}", "{", *emit(below), "}"]
    if name in known.INFIX_PLAIN:
        return Item([known.INFIX_PLAIN[name], *parts], "ord")
    left: list[str] = []
    right: list[str] = []
    rule = [] if name == r"\overwithdelims" else ["0", "p", "t"]
    if name == r"\above":
        rule = arguments[0]
    elif name == r"\brack":
        left, right = ["["], ["]"]
    elif name == r"\brace":
        left, right = [r"\{"], [r"\}"]
    elif name.endswith("withdelims"):
        left, right = ([] if one == ["."] else one for one in arguments[:2])
        rule = arguments[2] if len(arguments) > 2 else rule
    if (left, right, rule) == (["("], [")"], ["0", "p", "t"]):
        return Item([r"\binom", *parts], "ord")
    return Item([r"\genfrac", "{", *left, "}", "{", *right, "}", "{", *rule, "}", "{", "}", *parts], "ord")


def in_font(font: str, items: list[Item]) -> list[Item]:
    """Items after a font switch, put into the font's command; spacing and signs at the edges stay outside."""
    if not font or not items:
        return items
    items = flatten(items)
    first, last = 0, len(items)
    while first < last and is_fontless(items[first]):
        first += 1
    while last > first and is_fontless(items[last - 1]):
        last -= 1
    if first == last:
        return items
    # Brackets stay together: SU(2) is upright as a whole.
    while first > 0 and _lacks_partner(items[first:last], "close"):
        first -= 1
    while last < len(items) and _lacks_partner(items[first:last], "open"):
        last += 1
    inner = flatten(items[first:last])
    return [*items[:first], Item([font, "{", *emit(inner), "}"], "ord"), *items[last:]]


def _lacks_partner(items: list[Item], kind: str) -> bool:
    """Whether a delimiter of a kind (open or close) has no partner among the items."""
    waiting = 0
    for item in items if kind == "close" else items[::-1]:
        if item.kind == kind:
            if not waiting:
                return True
            waiting -= 1
        elif item.kind in ("open", "close"):
            waiting += 1
    return False
