r"""What print shows of a list of atoms: one spelling for what TeX sets alike.

A reader of pictures cannot tell `\left ( x \right ) y` from `( x ) \, y`, nor `~` from `\, \,`. Here each has one spelling:

- a run of spaces goes by its width, whatever it is typed with;
- delimiters that would not grow around what is in them are plain ones, with the space that `\left` and `\right` put;
- `\operatorname` is `\mathrm` where an operator has no other space around it than letters;
- in scripts, which have no space around relations, these are the ordinary signs that they look like;
- `\displaystyle` and `\textstyle` go where they change nothing;
- `\mathrm { d e t }` is `\det` where they have the same space, and `{ \textstyle \frac { a } { b } }` is `\tfrac { a } { b }`.

Widths and heights are those of Computer Modern at 10 pt (plain.tex; the font parameters of TeXbook, appendix G).
"""

import functools
import re
from collections.abc import Sequence

from hmer import latex_symbols as known
from hmer.latex_atoms import Item, gap_mu

# Widths in mu, an eighteenth of an em.
_SPACE_MU = {r"\qquad": 36, r"\quad": 18, r"\enspace": 9, r"\;": 5, r"\:": 4, r"\,": 3, r"\!": -3,
             r"\negmedspace": -4, r"\negthickspace": -5}  # fmt: skip
_BLANK_MU = 6  # of ~, to a hundredth of a point
_POINTS_A_MU = 10 / 18  # at 10 pt
_POINTS = {"pt": 1.0, "mm": 2.845, "cm": 28.45, "in": 72.27, "pc": 12.0, "bp": 1.004, "em": 10.0, "ex": 4.306,
           "mu": _POINTS_A_MU}  # fmt: skip
_DIMENSION = re.compile(r"([+-]?)(\d*[.,]?\d*)(?:true)?([a-z]{2})")
_LARGEST_SPACE_MU = 144
_SPELLING = {r"\qquad": 36, r"\quad": 18, "~": _BLANK_MU, r"\;": 5, r"\:": 4, r"\,": 3}

# In points above and below the baseline.
_PAREN = (7.5, 2.5)
_EXTENT = (
    dict.fromkeys("acemnorsuvwxz", (4.31, 0.0))
    | dict.fromkeys("gpqy", (4.31, 1.95))
    | dict.fromkeys("bdhkl", (6.95, 0.0))
    | {"f": (6.95, 1.95), "i": (6.6, 0.0), "j": (6.6, 1.95), "t": (6.2, 0.0)}
    | dict.fromkeys("ABCDEFGHIJKLMNOPRSTUVWXYZ", (6.84, 0.0))
    | {"Q": (6.84, 1.95)}
    | dict.fromkeys("0123456789", (6.45, 0.0))
    | dict.fromkeys(
        (r"\alpha", r"\epsilon", r"\iota", r"\kappa", r"\nu", r"\pi", r"\sigma", r"\tau", r"\upsilon", r"\omega"),
        (4.31, 0.0),
    )
    | dict.fromkeys((r"\gamma", r"\eta", r"\mu", r"\rho", r"\chi", r"\varphi", r"\varrho"), (4.31, 2.17))
    | dict.fromkeys((r"\beta", r"\zeta", r"\xi", r"\phi", r"\psi"), (6.95, 1.95))
    | dict.fromkeys((r"\delta", r"\theta", r"\lambda", r"\vartheta", r"\ell", r"\partial", r"\hbar"), (6.95, 0.0))
    | dict.fromkeys((r"\Gamma", r"\Delta", r"\Theta", r"\Lambda", r"\Xi", r"\Pi", r"\Sigma", r"\Upsilon", r"\Phi",
                     r"\Psi", r"\Omega", r"\nabla", r"\infty", r"\dagger"), (6.95, 0.0))
    | {r"\dagger": (6.95, 1.95), r"\prime": (5.56, 0.0)}
    | dict.fromkeys(("+", "-", "=", r"\pm", r"\times", r"\cdot", r"\otimes", r"\oplus", r"\wedge", r"\rightarrow",
                     r"\to", r"\leq", r"\geq", r"\in", r"\equiv", r"\sim", r"\neq", r"\cdots"), (7.0, 2.0))
    | dict.fromkeys(("<", ">", "*", r"\circ", r"\ast"), (5.4, 0.4))
    | dict.fromkeys((",", ";"), (4.31, 1.95))
    | dict.fromkeys((".", r"\ldots"), (1.06, 0.0))
    | dict.fromkeys(("(", ")", "[", "]", "|", "/", r"\{", r"\}", r"\langle", r"\rangle"), _PAREN)
    | dict.fromkeys(_SPELLING, (0.0, 0.0))
)  # fmt: skip
_IN_SCRIPTS = {r"\perp": r"\bot", r"\mid": "|", r"\parallel": r"\|", r"\setminus": r"\backslash", r"\colon": ":"}
_X_HEIGHT, _SUP, _SUB, _SUB_UNDER_SUP, _RULE, _SCRIPT = 4.306, 4.129, 1.5, 2.472, 0.4, 0.7
_AXIS, _DELIMITER_FACTOR = 2.5, 0.901
_SCRIPT_LEVEL = 2
_DOTS = ([r"\ldots"], [r"\cdots"], [r"\ddots"])
_OPENERS, _CLOSERS = (["("], ["["], [r"\{"], [r"\langle"]), ([")"], ["]"], [r"\}"], [r"\rangle"])
_BARS = (["|"], [r"\|"])
# What stands higher, or larger, in displays than in text, or in what other styles are chosen.
_SET_BY_STYLE = frozenset({"^", "_", r"\frac", r"\binom", r"\genfrac", r"\stackrel", r"\sqrt", r"\left", r"\limits", *known.STYLES}
                          | known.LARGE_OPERATORS | known.INTEGRALS)  # fmt: skip
_GAPS_IN_SCRIPTS = {("ord", "op"), ("op", "op"), ("close", "op"), ("inner", "op"), ("op", "ord")}
_BEFORE_BIN, _AFTER_SIGN = ("ord", "close", "inner"), ("rel", "close", "punct")


def as_printed(items: Sequence[Item], style: int) -> list[Item]:
    """The items of a list in their one spelling; `style`: 0 display, 1 text, 2 script, 3 script of script."""
    return _spaces_by_width(_plain_delimiters(_small_fraction(_without_idle_style(items, style)), style), style)


def _without_idle_style(items: Sequence[Item], style: int) -> list[Item]:
    """Without a first `\\displaystyle` or `\\textstyle` where nothing stands that the two set otherwise."""
    if not items or style >= _SCRIPT_LEVEL or items[0].tokens not in ([r"\displaystyle"], [r"\textstyle"]):
        return list(items)
    idle = all(not item.scripted and _SET_BY_STYLE.isdisjoint(item.tokens) for item in items[1:])
    return list(items[idle:])


def _small_fraction(items: Sequence[Item]) -> list[Item]:
    r"""With `\tfrac` for the fraction that the list ends in, if it alone stands behind `\textstyle`."""
    if [item.tokens[:1] for item in items[-2:]] != [[r"\textstyle"], [r"\frac"]] or items[-1].scripted:
        return list(items)
    return [*items[:-2], Item([r"\tfrac", *items[-1].tokens[1:]], items[-1].kind)]


def _styles(items: Sequence[Item], style: int) -> list[int]:
    """The style at each item."""
    styles = []
    for item in items:
        if item.tokens and item.tokens[0] in known.STYLES:
            style = known.STYLES.index(item.tokens[0])
        styles.append(style)
    return styles


def _classes(items: Sequence[Item]) -> list[str]:
    """What TeX takes each item for, by its neighbours; empty for what is no atom."""
    kinds = ["" if item.kind == "space" else item.kind for item in items]
    for here, item in enumerate(items):
        if item.tokens == ["~"]:
            kinds[here] = "ord"
        elif item.tokens in _DOTS:
            kinds[here] = "inner"
    atoms = [here for here, kind in enumerate(kinds) if kind]
    before = ""
    for place, here in enumerate(atoms):
        after = kinds[atoms[place + 1]] if place + 1 < len(atoms) else ""
        if kinds[here] == "bin" and (before not in _BEFORE_BIN or after in ("", *_AFTER_SIGN)):
            kinds[here] = "ord"  # a sign
        before = kinds[here]
    return kinds


def _plain_delimiters(items: Sequence[Item], style: int) -> list[Item]:
    result: list[Item] = []
    classes = _classes(items)
    before = now_before = ""  # class of the atom before, as it was and as it is spelt now
    for here, (item, level) in enumerate(zip(items, _styles(items, style), strict=True)):
        kind = classes[here]
        if not kind:
            result.append(item)
            continue
        if name := _other_name(item, level, before, *_following(items, classes, here + 1)):
            item.tokens, item.kind = name
            kind = item.kind
        spelt, first, last = [item], kind, kind
        if level <= _SCRIPT_LEVEL and _does_not_grow(item):
            opener, *body, closer = [item.tokens[1]], item.tokens[2:-2], [item.tokens[-1]]
            first, last = ("ord" if one in _BARS else side for one, side in ((opener, "open"), (closer, "close")))
            spelt = [Item(opener, first), *[Item(part, "ord") for part in body if part], Item(closer, last)]
        elif level >= _SCRIPT_LEVEL and len(item.tokens) == 1 and item.tokens[0] in _IN_SCRIPTS:
            item.tokens, item.kind = [_IN_SCRIPTS[item.tokens[0]]], "ord"
        result += [Item([r"\,"], "space")] * ((_gap_mu(before, kind, level) - _gap_mu(now_before, first, level)) // 3)
        result += spelt
        before, now_before = kind, last
    return result


def _following(items: Sequence[Item], classes: Sequence[str], start: int) -> tuple[str, str]:
    """The class of the first atom from there on, and what it is by itself; empty if there is none."""
    return next(
        ((kind, item.kind) for item, kind in zip(items[start:], classes[start:], strict=True) if kind), ("", "")
    )


def _gap_mu(left: str, right: str, level: int) -> int:
    """What TeX puts between two classes; in scripts only around operators."""
    if level >= _SCRIPT_LEVEL and (left, right) not in _GAPS_IN_SCRIPTS:
        return 0
    return gap_mu(left, right)


def _other_name(item: Item, level: int, before: str, after: str, after_itself: str) -> tuple[list[str], str] | None:
    """Tokens and kind of an operator spelt as a word, or of a word spelt as an operator, where nothing tells them apart."""
    command, letters = item.tokens[:1], item.tokens[2:-1]
    if command not in ([r"\operatorname"], [r"\mathrm"]) or after_itself == "bin":
        return None
    around = [(before, "op"), ("op", after)], [(before, "ord"), ("ord", after)]
    as_operator, as_word = ([_gap_mu(left, right, level) for left, right in pairs] for pairs in around)
    if as_operator != as_word:
        return None
    name = "\\" + "".join(letters)
    limits = item.scripted and level == 0 and name not in known.OPERATOR_NAMES
    if name in known.OPERATOR_NAMES | known.NAMED_WITH_LIMITS and not limits and not item.limits:
        return [name], "op"
    if command == [r"\operatorname"] and not item.limits and len(letters) > 1 and all(map(str.isalpha, letters)):
        return [r"\mathrm", *item.tokens[1:]], "ord"
    return None


def _does_not_grow(item: Item) -> bool:
    """Whether \\left and \\right give the brackets of usual size (TeXbook, p. 152)."""
    if item.tokens[:1] != [r"\left"] or item.scripted:  # scripts hang higher there
        return False
    opener, body, closer = item.tokens[1:2], item.tokens[2:-2], item.tokens[-1:]
    if opener not in (*_OPENERS, *_BARS) or closer not in (*_CLOSERS, *_BARS):
        return False
    if (opener in _BARS and not _is_letter(body[:1])) or (closer in _BARS and not _is_letter(body[-1:])):
        return False  # a bar is no bracket: it has other spaces beside signs
    extent = _extent(body)
    if extent is None:
        return False
    height, depth = extent
    return 2 * _DELIMITER_FACTOR * max(height - _AXIS, depth + _AXIS) <= sum(_PAREN)


def _is_letter(tokens: Sequence[str]) -> bool:
    return len(tokens) == 1 and (tokens[0].isalnum() or known.ATOM_CLASSES.get(tokens[0]) == "ord" or tokens[0] == "}")


def _extent(tokens: Sequence[str]) -> tuple[float, float] | None:
    """Height and depth of symbols with simple scripts, in points; None where another thing is among them."""
    height = depth = 0.0
    here = 0
    while here < len(tokens):
        own = _EXTENT.get(tokens[here])
        if own is None:
            return None
        here += 1
        scripts: dict[str, tuple[float, float]] = {}
        while tokens[here : here + 1] in (["_"], ["^"]):
            if tokens[here + 1 : here + 2] != ["{"] or "}" not in tokens[here:]:
                return None
            end = tokens.index("}", here)
            script = _extent(tokens[here + 2 : end])
            if script is None:
                return None
            scripts[tokens[here]] = (_SCRIPT * script[0], _SCRIPT * script[1])
            here = end + 1
        above, below = scripts.get("^"), scripts.get("_")
        up = _SUP if above is None else max(_SUP, above[1] + _X_HEIGHT / 4)
        if below is not None:
            down = max(_SUB, below[0] - 0.8 * _X_HEIGHT)
            if above is not None:
                down = max(_SUB_UNDER_SUP, down)
                down += max(0.0, 4 * _RULE - (up - above[1] - below[0] + down))
            depth = max(depth, down + below[1])
        if above is not None:
            height = max(height, up + above[0])
        height, depth = max(height, own[0]), max(depth, own[1])
    return height, depth


def _spaces_by_width(items: Sequence[Item], style: int) -> list[Item]:
    """In scripts spaces keep their spelling: some shrink there, and some do not."""
    result: list[Item] = []
    styles, classes = _styles(items, style), _classes(items)
    here = 0
    while here < len(items):
        end = here
        while end < len(items) and styles[end] < _SCRIPT_LEVEL and _width(items[end]) is not None:
            end += 1
        if end == here:
            result.append(items[here])
            here += 1
            continue
        result += _run_by_width(items, classes, here, end)
        here = end
    return result


def _run_by_width(items: Sequence[Item], classes: Sequence[str], start: int, end: int) -> list[Item]:
    run = items[start:end]
    before, before_itself = _following(items[:start][::-1], classes[:start][::-1], 0)
    after, after_itself = _following(items, classes, end)
    blanks = sum(item.tokens == ["~"] for item in run)
    mu = sum(_width(item) or 0 for item in run)
    makes_operation = (after_itself == "bin" and before not in _BEFORE_BIN) or (
        before_itself == "bin" and after in ("", *_AFTER_SIGN)
    )
    if makes_operation:  # of the sign beside it, if it is an atom
        return [Item(["~"], "space")] * blanks + _spelt(mu - blanks * _BLANK_MU, blank=False)
    extra = gap_mu(before, "ord") + gap_mu("ord", after) - gap_mu(before, after)  # around an atom
    return _spelt(mu + extra * (blanks > 0), blank=extra == 0)


def _spelt(mu: int, *, blank: bool) -> list[Item]:
    return [Item([name], "space") for name in _spelling(mu, blank)]


def _width(item: Item) -> int | None:
    """The width of a space in mu; None for what is none, or too large to be spelt."""
    if item.kind != "space" or not item.tokens:
        return None
    if item.tokens == ["~"]:
        return _BLANK_MU
    if item.tokens[0] in (r"\hspace", r"\mspace"):
        match = _DIMENSION.fullmatch("".join(item.tokens[2:-1]))
        if match is None or match[3] not in _POINTS or not re.search(r"\d", match[2]):
            return None
        mu = round(float(match[2].replace(",", ".")) * _POINTS[match[3]] / _POINTS_A_MU)
        return (-mu if match[1] == "-" else mu) if mu <= _LARGEST_SPACE_MU else None
    return _SPACE_MU.get(item.tokens[0]) if len(item.tokens) == 1 else None


@functools.cache
def _spelling(mu: int, blank: bool) -> tuple[str, ...]:
    """A width by so few spaces as can be, the widest first; 1 and 2 mu are none, and less than none goes by 3."""
    if mu <= 2:
        return (r"\!",) * round(-mu / 3)
    wide = max(0, (mu - _LARGEST_SPACE_MU) // _SPELLING[r"\qquad"])  # of a run without end
    if wide:
        return (r"\qquad",) * wide + _spelling(mu - wide * _SPELLING[r"\qquad"], blank)
    rests = {name: mu - width for name, width in _SPELLING.items() if blank or name != "~"}
    return min(((name, *_spelling(rest, blank)) for name, rest in rests.items() if rest == 0 or rest > 2), key=len)
