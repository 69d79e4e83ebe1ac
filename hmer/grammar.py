"""Which tokens may follow a prefix: restriction to a set of symbols, and LaTeX that is well-formed."""

from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

import torch
from torch import Tensor

from hmer import latex_symbols as known
from hmer.decoding import Rules
from hmer.errors import ConfigError
from hmer.latex_lexer import environment_name
from hmer.latex_parser import MAX_DEPTH
from hmer.vocabulary import END, END_ID, PAD_ID, START_ID, Vocabulary

_CROHME_LETTERS = "a b c d e f g h i j k l m n o p q r s t u v w x y z A B C E F G H I L M N P R S T V X Y"
_CROHME_OTHER = r"""
0 1 2 3 4 5 6 7 8 9 ! ( ) + , - . / < = > [ ] { } | ^ _ \Delta \Pi \alpha \beta \cdot \cdots \cos \div \exists \forall
\frac \gamma \geq \in \infty \int \lambda \ldots \leq \lim \limits \log \mu \neq \phi \pi \pm \prime \rightarrow \sigma
\sin \sqrt \sum \tan \theta \times \{ \}
"""
# The tokens of the published CROHME captions.
SYMBOL_SETS: dict[str, frozenset[str]] = {
    "crohme": frozenset((_CROHME_LETTERS + " " + _CROHME_OTHER).split()),
}


def allowed_tokens(vocabulary: Vocabulary, symbols: str) -> Tensor:
    """(V,) bool: the tokens of a named set, or of a list separated by spaces; the end token always.

    Raises ConfigError on a token that the vocabulary lacks.
    """
    allowed = torch.zeros(len(vocabulary), dtype=torch.bool)
    if symbols.strip() == "all":
        allowed[:] = True
    elif symbols.strip() in SYMBOL_SETS:
        chosen = [token for token in vocabulary.words if token in SYMBOL_SETS[symbols.strip()]]
        allowed[vocabulary.encode(chosen)] = True
    else:
        tokens = symbols.split()
        unknown = vocabulary.missing(tokens)
        if unknown or not tokens:
            raise ConfigError(
                f"symbols: {' '.join(unknown) or 'an empty list'} is not known to this checkpoint; give 'all', "
                f"one of {', '.join(sorted(SYMBOL_SETS))}, or tokens separated by spaces."
            )
        allowed[vocabulary.encode(tokens)] = True
    allowed[END_ID] = True
    allowed[PAD_ID] = allowed[START_ID] = False
    return allowed


def rules_for(vocabulary: Vocabulary, *, symbols: str = "all", grammar: bool = False) -> Rules | None:
    """Rules for `hmer.decoding`, or None when everything is allowed."""
    if symbols.strip() == "all" and not grammar:
        return None
    allowed = allowed_tokens(vocabulary, symbols)
    if not grammar:
        return lambda prefixes: allowed.expand(len(prefixes), -1)
    return _Grammar(vocabulary, allowed)


# What stands last in a list of the formula, as far as it decides what may follow.
_NOTHING = "nothing"
_OPENED, _ROW, _CELL = "opened", "row", "cell"  # the start of an environment, of a further row, of a further cell
_ATOM, _OPERATOR, _SPACE = "atom", "operator", "space"
_EMPTY = "empty"  # `{ }`, on which scripts on nothing stand
_LIMITS = "limits"
_FILLED = (_ATOM, _OPERATOR, _SPACE)

_SCRIPTS = ("_", "^")
_DEEPEST = MAX_DEPTH // 2 - 4  # lists in one another; the parser counts an argument twice
_OPTIONAL_FIRST = tuple(rf"\end{{{name}}}" for name in ("array", "aligned", "gathered", "alignedat"))
_TEXT_CALLS = known.TEXT_COMMANDS | known.TEXT_ACCENTS


class _List(NamedTuple):
    """An open list of tokens: the formula, a group, an argument, what stands between delimiters, an environment.

    wants: the arguments that its last command still awaits, a letter each, as in latex_symbols.SIGNATURES, and besides
    c columns of an array, d a delimiter, n a symbol to strike through.
    """

    closer: str
    mode: str = "mathematics"  # or text, raw, columns
    last: str = _NOTHING
    wants: str = ""
    becomes: str = _ATOM  # what the last command is once it has its arguments
    scripts: str = ""  # those that the last atom has
    columns: int = -1  # most cells of a row; 0 any number; -1 no rows here
    cell: int = 1
    plain: bool = False  # a group that is no argument


_Stack = tuple[_List, ...]  # innermost last


class _Grammar:
    """A stack automaton over prefixes: `hmer.latex` accepts every answer that it lets end.

    Beyond that there is no empty group or argument, but `{ }` where a script stands on nothing. A token that no normal
    form holds, or that the allowed ones cannot complete, is never written.
    """

    def __init__(self, vocabulary: Vocabulary, allowed: Tensor) -> None:
        self._tokens = vocabulary.tokens
        chosen = {token for token, is_allowed in zip(vocabulary.tokens, allowed.tolist(), strict=True) if is_allowed}
        self._members = _members(chosen)
        self._masks: dict[frozenset[str], Tensor] = {}  # by the kinds that may follow: a few dozen sets
        self._stacks: dict[tuple[int, ...], _Stack] = {}  # of the last call: the next one asks for their successors

    def __call__(self, prefixes: Sequence[tuple[int, ...]]) -> Tensor:
        self._stacks = {prefix: self._stack(prefix) for prefix in prefixes}
        return torch.stack([self._mask(self._following(self._stacks[prefix])) for prefix in prefixes])

    def _stack(self, prefix: tuple[int, ...]) -> _Stack:
        if prefix in self._stacks:
            return self._stacks[prefix]
        if prefix[:-1] in self._stacks:
            return _advance(self._stacks[prefix[:-1]], self._tokens[prefix[-1]])
        stack: _Stack = (_List(END),)
        for index in prefix:
            stack = _advance(stack, self._tokens[index])
        return stack

    def _mask(self, kinds: frozenset[str]) -> Tensor:
        """(V,) bool: the tokens of these kinds."""
        if kinds not in self._masks:
            members = {token for kind in kinds for token in self._members.get(kind, ())}
            self._masks[kinds] = torch.tensor([token in members for token in self._tokens])
        return self._masks[kinds]

    def _following(self, stack: _Stack) -> frozenset[str]:
        """The kinds of tokens that may follow."""
        top = stack[-1]
        if not self._members["fill"]:
            return frozenset({END})
        if top.wants:
            return _WANTED["o" + top.wants[1] if top.wants[0] == "o" else top.wants[0]]
        kinds = _WITHIN[top.mode] if top.mode != "mathematics" else _mathematics(top, len(stack) >= _DEEPEST)
        return frozenset(kinds | {top.closer}) if self._may_close(top) else frozenset(kinds)

    def _may_close(self, top: _List) -> bool:
        if top.mode == "raw":
            return True
        if top.closer.startswith(r"\end{"):
            return top.last in (*_FILLED, _ROW, _CELL)
        if top.plain and top.last == _NOTHING:
            return bool(self._members["_"] or self._members["^"])
        return top.last in _FILLED


_WANTED = {
    "m": frozenset({"{"}), "r": frozenset({"{"}), "t": frozenset({"{"}), "s": frozenset({"{"}), "c": frozenset({"{"}),
    "om": frozenset({"{", "optional ["}), "d": frozenset({"delimiter"}), "n": frozenset({"atom"}),
}  # fmt: skip
_WITHIN = {"text": {"text", "text call", "$"}, "raw": {"raw"}, "columns": {"column"}}


def _mathematics(top: _List, deep: bool) -> set[str]:
    """The kinds that may stand next in a list of mathematics, its closer aside; nothing that opens where it is deep."""
    free = {script for script in _SCRIPTS if script not in top.scripts}
    if top.last == _LIMITS:
        return free
    if top.last == _EMPTY:
        return free | {"[", "*"}  # or it keeps these from being an argument of what stands before
    kinds = {"atom", "operator", "space", "*", "[", "]"}
    if top.closer == "]":
        kinds.remove("]")
    if top.last == _OPENED and top.closer in _OPTIONAL_FIRST:
        kinds.remove("[")
    if not deep:
        kinds |= {"call", "left", "begin", "{"}
        kinds |= free if top.last in (_ATOM, _OPERATOR) else set()
        kinds |= {"limits"} if top.last == _OPERATOR else set()
    if top.closer == r"\right":
        kinds.add("middle")
    if top.columns >= 0:
        kinds |= {r"\\"} if top.last in (*_FILLED, _CELL) else {r"\hline"}
        kinds |= {"&"} if top.columns == 0 or top.cell < top.columns else set()
    return kinds


def _members(chosen: Set[str]) -> dict[str, frozenset[str]]:
    """The chosen tokens by kind; what they cannot complete (a command without braces, say) is left out."""

    def those(condition: bool, tokens: Iterable[str]) -> frozenset[str]:
        return frozenset(chosen & set(tokens)) if condition else frozenset()

    classes = {token: _class_of(token) for token in chosen}
    found = {kind: frozenset(token for token in chosen if classes[token] == kind) for kind in _FILLED}
    found["fill"] = found[_ATOM] | found[_OPERATOR]
    groups = bool(found["fill"]) and {"{", "}"} <= chosen
    found |= {closer: those(True, {closer}) for closer in (END, "]", "[", "*", "&", r"\\", r"\hline")}
    found |= {mark: those(groups, {mark}) for mark in ("{", "}", *_SCRIPTS)}
    found["limits"] = those(bool(found["_"] or found["^"]), {r"\limits", r"\nolimits"})
    found["optional ["] = those(bool(found["fill"]) and "]" in chosen, {"["})
    found["$"] = those(bool(found["fill"]), {"$"})
    found["column"] = those({"{", "}"} <= chosen and bool(chosen & {"l", "c", "r"}), {"l", "c", "r", "|"})
    found["delimiter"] = those(True, known.DELIMITERS)
    found["text"] = frozenset(token for token in chosen if _is_text(token))
    found["raw"] = frozenset(token for token in chosen if len(token) == 1 and token not in r"{}\%") | found["delimiter"]

    def can_complete(wants: str) -> bool:
        needs = {"m": groups, "s": groups, "r": groups, "t": groups and bool(found["text"]), "o": True,
                 "c": bool(found["column"]), "d": bool(found["delimiter"]), "n": bool(found[_ATOM])}  # fmt: skip
        return all(needs[want] for want in wants)

    found["call"] = frozenset(token for token in chosen if token in _CALLS and can_complete(_CALLS[token]))
    found["text call"] = those(can_complete("t"), _TEXT_CALLS)
    rights = frozenset(token for token in chosen if _is_fence(token, r"\right")) | those(can_complete("d"), {r"\right"})
    lefts = frozenset(token for token in chosen if _is_fence(token, r"\left")) | those(can_complete("d"), {r"\left"})
    found[r"\right"] = rights
    found["left"] = lefts if rights else frozenset()
    found["middle"] = those(can_complete("d"), {r"\middle"})
    begins = set()
    for token in chosen:
        name = environment_name(token, r"\begin")
        if name in known.ENVIRONMENT_COLUMNS and rf"\end{{{name}}}" in chosen and can_complete(_wants_of(name)):
            begins.add(token)
            found[rf"\end{{{name}}}"] = frozenset({rf"\end{{{name}}}"})
    found["begin"] = frozenset(begins)
    return found


_CALLS = (
    {name: signature.replace("p", "") for name, signature in known.SIGNATURES.items()}
    | dict.fromkeys(known.BIG_DELIMITERS, "d")
    | {r"\not": "n"}
)


def _class_of(token: str) -> str:
    """Atom, operator or space; empty for what is none by itself."""
    token = known.SYNONYMS.get(token, (token,))[-1]
    if token in known.SPACES or token in known.STYLES:
        return _SPACE
    if token in ("[", "]", "*"):
        return ""
    if token in known.ATOM_CLASSES:
        return _OPERATOR if known.ATOM_CLASSES[token] == "op" else _ATOM
    return _ATOM if len(token) == 1 and (token.isalpha() or (token.isascii() and token.isdigit())) else ""


def _is_text(token: str) -> bool:
    return token in known.TEXT_SYMBOLS or (len(token) == 1 and token not in r"^_&#\{}$%")


def _is_fence(token: str, command: str) -> bool:
    r"""Whether the token is a command and its delimiter in one, as `\left(`."""
    return token.startswith(command) and token[len(command) :] in known.DELIMITERS


def _wants_of(environment: str) -> str:
    if environment == "array":
        return "c"
    return "r" if environment in known.ENVIRONMENTS_WITH_ARGUMENT else ""


def _advance(stack: _Stack, token: str) -> _Stack:
    """The stack after one more token."""
    *outer, top = stack
    if top.wants:
        return _give(stack, token)
    if token == top.closer or (top.closer == r"\right" and _is_fence(token, r"\right")):
        return _close(stack, token)
    if top.mode == "text" and token == "$":
        return _open(stack, _List("$"))
    if top.mode == "text" and token in _TEXT_CALLS:
        return (*outer, top._replace(wants="t", becomes=_ATOM))
    if top.mode == "columns":
        columns = top.columns + (token != "|")
        return (*outer, top._replace(columns=columns, last=_ATOM if columns else _NOTHING))
    if top.mode != "mathematics":
        return (*outer, top._replace(last=_ATOM))
    if token == "{":
        return _open(stack, _List("}", plain=True))
    if token == r"\left":
        return _open(stack, _List(r"\right", wants="d", becomes=_NOTHING))
    if _is_fence(token, r"\left"):
        return _open(stack, _List(r"\right"))
    name = environment_name(token, r"\begin")
    if name:
        columns = known.ENVIRONMENT_COLUMNS.get(name, 0)
        return _open(
            stack, _List(rf"\end{{{name}}}", last=_OPENED, wants=_wants_of(name), becomes=_OPENED, columns=columns)
        )
    return (*outer, _after(top, token))


def _after(top: _List, token: str) -> _List:
    """The list after a token that opens and closes nothing."""
    if token in _SCRIPTS:
        return top._replace(wants="m", becomes=_ATOM, scripts=top.scripts + token)
    if token in (r"\limits", r"\nolimits"):
        return top._replace(last=_LIMITS)
    if token == r"\middle":
        return top._replace(wants="d", becomes=_SPACE, scripts="")
    if top.columns >= 0 and token in (r"\\", r"\hline"):
        return top._replace(last=_ROW, cell=1, scripts="")
    if top.columns >= 0 and token == "&":
        return top._replace(last=_CELL, cell=top.cell + 1, scripts="")
    if token in _CALLS:
        becomes = {"op": _OPERATOR, "space": _SPACE}.get(known.COMMAND_CLASSES.get(token, ""), _ATOM)
        return top._replace(wants=_CALLS[token], becomes=becomes, scripts="")
    return top._replace(last=_class_of(token) or _ATOM, scripts="")


def _open(stack: _Stack, inner: _List) -> _Stack:
    *outer, top = stack
    return (*outer, top._replace(becomes=_ATOM, scripts=""), inner)


def _close(stack: _Stack, token: str) -> _Stack:
    *outer, parent, top = stack
    if top.mode == "columns":
        parent = parent._replace(columns=top.columns)
    if token == r"\right":
        return (*outer, parent._replace(wants="d"))
    if top.plain and top.last == _NOTHING:
        return (*outer, parent._replace(last=_EMPTY))
    return (*outer, parent if parent.wants else parent._replace(last=parent.becomes))


def _give(stack: _Stack, token: str) -> _Stack:
    """The stack after a token that is, or opens, the argument that is wanted next."""
    *outer, top = stack
    want, left = top.wants[0], top._replace(wants=top.wants[1:])
    if want == "o":
        return (*outer, left, _List("]")) if token == "[" else _give((*outer, left), token)
    if want in "dn":
        return (*outer, left if left.wants else left._replace(last=left.becomes))
    if want == "s":
        return (*outer, left, _List("}", last=_ROW, columns=1))
    mode = {"m": "mathematics", "r": "raw", "t": "text", "c": "columns"}[want]
    return (*outer, left, _List("}", mode, columns=0 if want == "c" else -1))
