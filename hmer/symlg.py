"""Symbol layout graphs (.lg, the symbol-level label graphs of CROHME and LgEval) as LaTeX tokens.

A file has a line per symbol and a line per relation between two of them, and what starts with # is a comment:

    O, <id>, <label>, <weight>, <strokes or position>
    EO, <id>, <id>, Right | Sub | Sup | Above | Below | Inside, <weight>

The graph of a formula is a tree: symbols on a baseline hang on each other by Right, everything else hangs on
the symbol that it is a script, part or limit of.
"""

from dataclasses import dataclass, field
from pathlib import Path

from hmer.errors import BadInk
from hmer.latex_symbols import INTEGRALS, OPERATORS, OPERATORS_WITH_LIMITS
from hmer.vocabulary import RELATIONS

_LABELS = {"COMMA": ",", r"\lt": "<", r"\gt": ">", r"\ge": r"\geq", r"\le": r"\leq", r"\ne": r"\neq"}
_SHORT_RELATIONS = {"R": "Right", "A": "Above", "B": "Below", "I": "Inside"}
_MAX_BYTES = 1_000_000
_MAX_DEPTH = 60


@dataclass(slots=True)
class _Symbol:
    """A symbol and what hangs on it, by relation."""

    label: str
    parts: dict[str, str] = field(default_factory=dict)
    has_parent: bool = False


def read_symlg(path: str | Path) -> list[str]:
    r"""The tokens, in the crohme label form, of the formula in a symbol layout graph.

    Every script of a `\sum`, `\int`, `\lim` and the like has `\limits`, as in the published captions, whether
    the graph says Sub or Below. A comma or full stop alone as a subscript is taken as written low. Raises
    BadInk if the file cannot be read or its graph is not one formula.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInk(f"{path.name} is too large for a symbol layout graph (limit {_MAX_BYTES:,} bytes).")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInk(f"{path.name} cannot be opened: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadInk(f"{path.name} is no text file, so no symbol layout graph.") from error
    return parse_symlg(text, path.name)


def parse_symlg(text: str, name: str = "The graph") -> list[str]:
    """The tokens of a symbol layout graph given as text; `name` is what messages call it. Raises BadInk."""
    symbols = _read_symbols(text, name)
    if len(symbols) > 1:  # symbols that the makers of a graph added and then hung on nothing
        symbols = {
            id_: one for id_, one in symbols.items() if one.parts or one.has_parent or not id_.startswith("AUTO")
        }
    roots = [symbol for symbol in symbols.values() if not symbol.has_parent]
    if len(roots) != 1:
        raise BadInk(f"{name} must have one first symbol, not {len(roots)}: every other hangs on exactly one symbol.")
    budget = [len(symbols)]
    tokens = _baseline(roots[0], symbols, name, 0, budget)
    if budget[0]:
        raise BadInk(f"{name} has {budget[0]} symbols that hang on each other in a circle.")
    return tokens


def _read_symbols(text: str, name: str) -> dict[str, _Symbol]:
    symbols: dict[str, _Symbol] = {}
    relations: list[tuple[int, str, str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = [part.strip() for part in line.split(",")]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if fields[0] == "O" and len(fields) >= 3:
            if fields[1] in symbols:
                raise BadInk(f"{name}, line {number}: the symbol {fields[1]} occurs twice.")
            symbols[fields[1]] = _Symbol(_LABELS.get(fields[2], fields[2]))
        elif fields[0] in ("EO", "R") and len(fields) >= 4:
            relations.append((number, fields[1], fields[2], _SHORT_RELATIONS.get(fields[3], fields[3])))
        else:
            shown = line.strip()[:40]
            raise BadInk(f"{name}, line {number}: {shown!r} is neither a symbol (O) nor a relation (EO, R).")
    if not symbols:
        raise BadInk(f"{name} holds no symbol.")
    for number, parent, child, relation in relations:
        if parent not in symbols or child not in symbols:
            missing = child if parent in symbols else parent
            raise BadInk(f"{name}, line {number}: there is no symbol {missing}.")
        if relation not in RELATIONS:
            relation_names = ", ".join(sorted(RELATIONS))
            raise BadInk(f"{name}, line {number}: the relation {relation!r} is none of {relation_names}.")
    right_of = {child for _, _, child, relation in relations if relation == "Right"}
    for number, parent, child, relation in relations:
        if relation == "Inside" and child in right_of:
            continue  # some graphs put every symbol of a baseline inside the root, not only its first
        if relation in symbols[parent].parts or symbols[child].has_parent:
            raise BadInk(f"{name}, line {number}: two symbols have the same place, or {child} has two.")
        symbols[parent].parts[relation] = child
        symbols[child].has_parent = True
    return symbols


def _baseline(first: _Symbol, symbols: dict[str, _Symbol], name: str, depth: int, budget: list[int]) -> list[str]:
    """The tokens of a symbol and everything to its right; takes every symbol written off the budget."""
    if depth > _MAX_DEPTH:
        raise BadInk(f"{name} is nested more than {_MAX_DEPTH} deep.")
    tokens: list[str] = []
    symbol: _Symbol | None = first
    while symbol is not None:
        budget[0] -= 1
        parts = {
            relation: ["{", *_baseline(symbols[child], symbols, name, depth + 1, budget), "}"]
            for relation, child in symbol.parts.items()
            if relation != "Right"
        }
        tokens += _with_parts(symbol.label, parts, name)
        symbol = symbols[symbol.parts["Right"]] if "Right" in symbol.parts else None
    return tokens


def _with_parts(label: str, parts: dict[str, list[str]], name: str) -> list[str]:
    """The tokens of a symbol with its parts, each of which has its braces."""
    above, below, inside = parts.get("Above"), parts.get("Below"), parts.get("Inside")
    sub, sup = parts.get("Sub"), parts.get("Sup")
    if label in ("-", r"\frac") and above and below:
        tokens = [r"\frac", *above, *below]
    elif label == r"\sqrt" and inside:
        tokens = [r"\sqrt", *(["[", *above[1:-1], "]"] if above else []), *inside]
    else:
        if inside:
            raise BadInk(f"{name}: something stands inside {label}, and only roots have an inside.")
        if (above or below) and (label not in OPERATORS or (above and sup) or (below and sub)):
            raise BadInk(f"{name}: something stands over or under {label}, where nothing can.")
        tokens = [label]
        sub, sup = below or sub, above or sup
        if (sub or sup) and label in OPERATORS_WITH_LIMITS | INTEGRALS:
            tokens.append(r"\limits")
    low_sign = sub[1] if sub and len(sub) == 3 and sub[1] in (",", ".") else ""
    if sub and not low_sign:
        tokens += ["_", *sub]
    if sup:
        tokens += ["^", *sup]
    return [*tokens, low_sign] if low_sign else tokens
