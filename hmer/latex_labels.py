"""The label forms of hmer.latex: how a dataset's labels spell a formula in normal form."""

from collections.abc import Callable, Sequence
from typing import Any

from hmer import latex_symbols as known
from hmer.errors import LatexError
from hmer.latex_lexer import environment_name
from hmer.latex_parser import MAX_DEPTH, parse
from hmer.latex_print import as_printed
from hmer.vocabulary import RELATIONS, UNWRITTEN

_ACCENTS_IN_MATHEMATICS = {
    r"\'": r"\acute", r"\`": r"\grave", r"\^": r"\hat", r"\"": r"\ddot", r"\~": r"\tilde", r"\=": r"\bar",
    r"\.": r"\dot", r"\v": r"\check", r"\u": r"\breve", r"\r": r"\mathring",
}  # fmt: skip
Tree = list[Any]  # tokens, with what stands between braces as a list

# After these a bracket opens an argument.
_BEFORE_OPTIONAL = ([r"\\"], [r"\begin{aligned}"], [r"\begin{gathered}"])


class _EmptyBase(Tree):
    """The empty braces that scripts on nothing stand on."""


def read_tree(tokens: Sequence[str]) -> Tree | None:
    """Braces as nested lists; None if they do not balance or nest too deeply."""
    root: Tree = []
    stack = [root]
    for text in tokens:
        if text == "{":
            group: Tree = []
            stack[-1].append(group)
            stack.append(group)
            if len(stack) > 2 * MAX_DEPTH:
                return None
        elif text == "}":
            stack.pop()
            if not stack:
                return None
        else:
            stack[-1].append(text)
    return root if len(stack) == 1 else None


def _checked_tree(tokens: Sequence[str]) -> Tree:
    tree = read_tree(tokens)
    if tree is None:
        raise LatexError("The braces of these tokens do not balance; normalise the formula first.")
    return tree


def leaves(tree: Tree) -> list[str]:
    tokens: list[str] = []
    for node in tree:
        if isinstance(node, str):
            tokens.append(node)
        else:
            tokens += ["{", *leaves(node), "}"]
    return tokens


def bracket_end(nodes: Tree, start: int) -> int:
    """Where the optional argument that opens at `start` closes; -1 if there is none."""
    if nodes[start : start + 1] != ["["]:
        return -1
    try:
        return nodes.index("]", start)
    except ValueError:
        return -1


_CROHME_DROPPED = (
    known.SPACES
    | frozenset(known.STYLES)
    | frozenset(known.FONT_SWITCHES)
    | frozenset(known.BIG_DELIMITERS)
    | {r"\left", r"\right", r"\middle", r"\limits", r"\nolimits"}
)
# In the published captions every script of these has \limits, wherever it was drawn.
_CROHME_LIMITS = known.OPERATORS_WITH_LIMITS | known.INTEGRALS
_CROHME_DROPPED_WITH_ARGUMENT = frozenset({r"\hspace", r"\mspace", r"\phantom", r"\hphantom", r"\vphantom"})
_CROHME_UNWRAPPED = (
    known.FONTS
    | known.TEXT_COMMANDS
    | {r"\operatorname", r"\operatorname*", r"\mathop", r"\mathrel", r"\mathbin", r"\mathord", r"\mathopen",
       r"\mathclose", r"\mathpunct", r"\mathinner", r"\smash", r"\boxed", r"\fbox"}
)  # fmt: skip
_CROHME_RENAMED = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\dbinom": r"\binom",
    r"\tbinom": r"\binom",
    r"\lvert": "|", r"\rvert": "|", r"\mid": "|", r"\lVert": r"\|", r"\rVert": r"\|", r"\colon": ":",
    r"\cdotp": r"\cdot", r"\ldotp": ".", r"\centerdot": r"\cdot",
}  # fmt: skip


def _crohme(tokens: list[str]) -> list[str]:
    r"""What handwriting shows: no spacing, fonts, sizes, stretching; braces for scripts and arguments only.

    Every script of a sum, an integral, a limit and the like has `\limits`, as in the published captions.
    """
    return leaves(_crohme_nodes(_checked_tree(tokens)))


def _crohme_nodes(nodes: Tree) -> Tree:
    result: Tree = []
    here = 0
    while here < len(nodes):
        node = nodes[here]
        here += 1
        if not isinstance(node, str):
            _splice(result, _crohme_nodes(node), nodes, here)
        elif node == r"\\":
            result.append(node)
            here = max(here, bracket_end(nodes, here) + 1)
        elif node in _CROHME_DROPPED:
            if node in (r"\left", r"\right") and nodes[here : here + 1] == ["."]:
                here += 1
        elif node in _CROHME_DROPPED_WITH_ARGUMENT:
            here += 1
            if nodes[here : here + 1] in (["_"], ["^"]):
                result.append(_EmptyBase())
        elif node == r"\not" and here < len(nodes) and isinstance(nodes[here], list):
            here += 1
            result += _crohme_negation(_crohme_nodes(nodes[here - 1]), nodes[here : here + 1])
        elif node in known.TEXT_ACCENTS and here < len(nodes):
            if node in _ACCENTS_IN_MATHEMATICS:
                result += [_ACCENTS_IN_MATHEMATICS[node], nodes[here]]
            else:
                result += nodes[here]
            here += 1
        elif node in _CROHME_UNWRAPPED:
            here = max(here, bracket_end(nodes, here) + 1)
            if here < len(nodes) and not isinstance(nodes[here], str):
                body = _crohme_nodes(nodes[here])
                if node in known.TEXT_COMMANDS or "t" in known.SIGNATURES.get(node, ""):
                    body = [part for part in body if part != "$"]
                here += 1
                _splice(result, body, nodes, here)
        elif node in known.SIGNATURES:
            here = _crohme_command(result, node, nodes, here)
        elif node.startswith(r"\begin{"):
            result.append(node)
            if environment_name(node, r"\begin") in known.ENVIRONMENTS_WITH_ARGUMENT and here < len(nodes):
                result.append(nodes[here])
                here += 1
        elif node in ("_", "^") and here < len(nodes) and not isinstance(nodes[here], str):
            _add_script(result, node, _crohme_nodes(nodes[here]))
            here += 1
        elif node == "'":  # from a text; in mathematics it is a prime already
            if not result or isinstance(result[-1], str):
                _add_script(result, "^", [r"\prime"])
            elif result[-2:-1] == ["^"]:
                result[-1] = [*result[-1], r"\prime"]
            else:
                _add_script(result, "^", [r"\prime"])
        else:
            result.append(_CROHME_RENAMED.get(node, node))
    return _tidy(result)


def _crohme_negation(struck: Tree, following: Tree) -> Tree:
    """The strike through several symbols, when some of them have gone."""
    if not struck:
        return [_EmptyBase()] if following in (["_"], ["^"]) else []
    if len(struck) > 1 or isinstance(struck[0], list):
        return [r"\not", struck]
    if struck[0] in known.OPERATORS:
        return struck
    return [known.NEGATED[struck[0]]] if struck[0] in known.NEGATED else [r"\not", struck[0]]


def _tidy(nodes: Tree) -> Tree:
    """Drop bases that carry nothing and rows in which nothing is left; keep brackets from being arguments."""
    kept: Tree = []
    for place, node in enumerate(nodes):
        if isinstance(node, _EmptyBase) and nodes[place + 1 : place + 2] not in (["_"], ["^"]):
            continue
        if (node == "[" and kept[-1:] in _BEFORE_OPTIONAL) or (node == "*" and kept[-1:] == [r"\\"]):
            kept.append([])
        while kept[-1:] == [r"\\"] and isinstance(node, str) and node.startswith(r"\end{"):
            kept.pop()
        kept.append(node)
    return kept


def _is_invisible(nodes: Tree) -> bool:
    """Whether nothing of a group is left in this form."""
    last: str = ""
    for node in nodes:
        if isinstance(node, list):
            if last not in _CROHME_DROPPED_WITH_ARGUMENT and not _is_invisible(node):
                return False
            last = ""
        elif (
            node in _CROHME_DROPPED
            or node in _CROHME_UNWRAPPED
            or node in ("_", "^", r"\not", *_CROHME_DROPPED_WITH_ARGUMENT)
        ):
            last = node
        elif node != "." or last not in (r"\left", r"\right"):
            return False
    return True


def _crohme_command(result: Tree, name: str, nodes: Tree, here: int) -> int:
    """Append a command with its arguments reduced; where to go on."""
    result.append(_CROHME_RENAMED.get(name, name))
    for kind in known.SIGNATURES[name]:
        if kind in "op":
            end = bracket_end(nodes, here)
            if end >= 0:
                if kind == "o":
                    body = _crohme_nodes(nodes[here + 1 : end])
                    if body:
                        result += ["[", *([body] if "]" in body else body), "]"]
                here = end + 1
        elif here < len(nodes) and not isinstance(nodes[here], str):
            body = nodes[here] if kind == "r" else _crohme_nodes(nodes[here])
            if kind == "t":
                body = [part for part in body if part != "$"]
            while kind == "s" and body and body[-1] == r"\\":
                body.pop()
            result.append(body)
            here += 1
    return here


def _add_script(result: Tree, mark: str, body: Tree) -> None:
    """Append a script; beside those of a spliced group, sub goes first and primes take a superscript in."""
    if not body:
        return
    if mark == "^" and body[-3:-1] == [[], "^"] and set(map(str, body[:-3] + body[-1])) == {r"\prime"}:
        body = [*body[:-3], *body[-1]]  # as the parser reads f^{'}
    if result and isinstance(result[-1], str) and result[-1] in _CROHME_LIMITS:
        result.append(r"\limits")
    if len(result) > 2 and result[-2] == "^":
        sup = result[-1]
        if mark == "_":
            result[-2:-2] = ["_", body]
            return
        if isinstance(sup, list) and set(map(str, sup)) == {r"\prime"}:
            result[-1] = sup + body
            return
    result += [mark, body]


def _splice(result: Tree, body: Tree, nodes: Tree, here: int) -> None:
    """Append the body of a group without its braces, unless the scripts that follow clash with its own."""
    incoming: set[str] = set()
    while here + 1 < len(nodes) and nodes[here] in ("_", "^", r"\limits", r"\nolimits"):
        if nodes[here] in ("_", "^"):
            if not _is_invisible(nodes[here + 1]):
                incoming.add(nodes[here])
            here += 1
        here += 1
    if not incoming:
        result += body
        return
    own: set[str] = set()
    for mark in (-2, -4):
        if len(body) + mark <= 0 or body[mark] not in ("_", "^"):
            break
        if body[mark] == "_" or set(map(str, body[mark + 1])) != {r"\prime"}:
            own.add(str(body[mark]))
    if not body:
        result.append(_EmptyBase())
    elif incoming & own:
        result.append(body)
    else:
        result += body


def _crohme_symbols(tokens: list[str]) -> list[str]:
    """What is written, in the order of the crohme form: without the braces, scripts and limits that only say where."""
    return [token for token in _crohme(tokens) if token not in UNWRITTEN]


# Where the arguments of a command stand, by its name; of others they stand inside.
_PLACES = (
    dict.fromkeys((*known.ACCENTS, r"\overbrace"), ("Below",))
    | {name: ("Above",) for name in (*known.ACCENTS, r"\underbrace") if name.startswith(r"\under")}
    | {name: ("Below", "Above") for name in known.SIGNATURES if known.COMMAND_CLASSES.get(name) == "rel"}
    | dict.fromkeys((r"\frac", r"\binom", r"\stackrel", r"\overset"), ("Above", "Below"))
    | {r"\underset": ("Below", "Above"), r"\sqrt": ("Above", "Inside")}
)


def _crohme_relations(tokens: list[str]) -> list[str]:
    r"""The symbols of the crohme form, each but the first after the word for how it stands to the one it belongs to.

    x ^ { 2 } + \frac { 1 } { y } is x Sup 2 Right + Right \frac Above 1 Below y. Where a script or a part ends is not
    said, so the words do not always tell the formula. Cells of an array go to the Right, its rows Below.
    """
    if RELATIONS.intersection(tokens):
        return tokens
    return _related(_crohme_nodes(_checked_tree(tokens)), "")


def _related(nodes: Tree, relation: str) -> list[str]:
    """The symbols of a baseline and of all that hangs on it; `relation` is the word before its first, if there is one."""
    result: list[str] = []
    here, has_limits = 0, False
    while here < len(nodes):
        node = nodes[here]
        here += 1
        if isinstance(node, list):
            found = _related(node, relation)
            result += found
            relation = "Right" if found else relation
        elif node in ("_", "^"):
            words = ("Below", "Above") if has_limits else ("Sub", "Sup")
            result += _related(nodes[here : here + 1], words[node == "^"])
            relation = relation or "Right"
            here += 1
        elif node == r"\limits":
            has_limits = True
        elif node == r"\\":
            relation = "Below"
        elif node != "&" and not node.startswith(r"\end{"):
            result += [relation, node] if relation else [node]
            relation, has_limits = "Right", False
            here = _related_parts(result, node, nodes, here)
            if node.startswith(r"\begin{"):
                relation = "Inside"
    return result


def _related_parts(result: list[str], name: str, nodes: Tree, here: int) -> int:
    """Append the arguments of a command, without raw ones, which are no symbols; where to go on."""
    kinds = known.SIGNATURES.get(name, "").replace("p", "")  # those the crohme form has dropped
    if environment_name(name, r"\begin") in known.ENVIRONMENTS_WITH_ARGUMENT:
        kinds = "r"
    words = _PLACES.get(name, ("Inside",) * len(kinds))
    for kind, word in zip(kinds, words, strict=False):
        end = bracket_end(nodes, here) if kind == "o" else -1
        if end >= 0:
            result += _related(nodes[here + 1 : end], word)
            here = end + 1
        elif kind != "o" and here < len(nodes) and isinstance(nodes[here], list):
            result += _related(nodes[here], word) if kind != "r" else []
            here += 1
    return here


def _im2markup(tokens: list[str]) -> list[str]:
    r"""The spelling of IM2LaTeX-100k's normalised lists, as far as one spelling can follow theirs.

    Delimiters are one token with \left and \right, operators are spelt out, array cells have braces, every
    row ends with \\, text is \mathrm. Those lists keep synonyms and redundant braces as the authors typed
    them; this form does not.
    """
    return leaves(_im2markup_nodes(_checked_tree(tokens)))


def _im2markup_nodes(nodes: Tree) -> Tree:
    result: Tree = []
    here = 0
    while here < len(nodes):
        node = nodes[here]
        here += 1
        if not isinstance(node, str):
            result.append(_im2markup_nodes(node))
        elif node in (r"\left", r"\right") and here < len(nodes):
            result.append(f"{node}{nodes[here]}")
            here += 1
        elif node in known.OPERATOR_NAMES:
            result += [r"\operatorname", list(node[1:])]
        elif node in known.NAMED_WITH_LIMITS:
            result += [r"\operatorname*", list(node[1:])]
        elif node in (r"\text", r"\mbox"):
            result.append(r"\mathrm")
        elif node.startswith(r"\begin{"):
            here = _im2markup_environment(result, node, nodes, here)
        else:
            result.append(node)
    return result


def _im2markup_environment(result: Tree, opener: str, nodes: Tree, here: int) -> int:
    """Append an environment with braced cells; where to go on behind it."""
    name = environment_name(opener, r"\begin")
    fence = next((pair for pair, fenced in known.FENCED_MATRICES.items() if fenced == name), None)
    inner_name = "matrix" if fence else name
    if fence:
        result.append(rf"\left{fence[0]}")
    result.append(rf"\begin{{{inner_name}}}")
    if name in known.ENVIRONMENTS_WITH_ARGUMENT and here < len(nodes):
        result.append(nodes[here])
        here += 1
    level, end = 1, here
    while end < len(nodes):
        text = nodes[end]
        if isinstance(text, str):
            level += text.startswith(r"\begin{") - text.startswith(r"\end{")
        if level == 0:
            break
        end += 1
    _im2markup_rows(result, nodes[here:end])
    result.append(rf"\end{{{inner_name}}}")
    if fence:
        result.append(rf"\right{fence[1]}")
    return end + 1


def _im2markup_rows(result: Tree, nodes: Tree) -> None:
    """Append the inside of an environment, each cell in braces, without extra space between rows."""
    cell: Tree = []
    level = here = 0
    row_is_open = False
    while here <= len(nodes):
        node = nodes[here] if here < len(nodes) else None  # None: the end of the last row
        here += 1
        if isinstance(node, str):
            level += node.startswith(r"\begin{") - node.startswith(r"\end{")
        if level > 0 or node not in ("&", r"\\", r"\hline", None):
            cell.append(node)
            continue
        if cell or row_is_open or node in ("&", r"\\"):
            body = _im2markup_nodes(cell)
            result.append(body[0] if len(body) == 1 and not isinstance(body[0], str) else body)
        if node is not None:
            result.append(node)
        elif cell or row_is_open:
            result.append(r"\\")
        if node == r"\\":
            here = max(here, bracket_end(nodes, here) + 1)
        row_is_open = node == "&"
        cell = []


def _printed(tokens: list[str]) -> list[str]:
    r"""What print shows, in the one spelling of `hmer.latex_print`: for formulas typeset by TeX.

    Space that stands first or last cannot be seen and goes; upright words are \mathrm wherever that looks like \text.
    """
    spelt = parse(" ".join(tokens), as_printed)
    nodes = _without_text(_checked_tree(spelt))
    while nodes and isinstance(nodes[0], str) and nodes[0] in known.SPACES:
        nodes.pop(0)
    while nodes and isinstance(nodes[-1], str) and nodes[-1] in known.SPACES and nodes[-2:-1] != [r"\\"]:
        nodes.pop()
    label = leaves(nodes)
    return label if label == spelt else _printed(label)  # what went may have kept braces, or a name, from going


def _without_text(nodes: Tree) -> Tree:
    """Upright words as \\mathrm where that looks the same as \\text."""
    result: Tree = []
    here = 0
    while here < len(nodes):
        node = nodes[here]
        here += 1
        if isinstance(node, str) and node in known.TEXT_COMMANDS and here < len(nodes):
            body = nodes[here]
            here += 1
            upright = node == r"\text" and all(
                isinstance(part, str) and part.isascii() and part.isalnum() for part in body
            )
            result += [r"\mathrm" if upright else node, body]
        elif isinstance(node, str) and "r" in known.SIGNATURES.get(node, ""):
            result.append(node)  # raw arguments are no mathematics
            while here < len(nodes) and not isinstance(nodes[here], str):
                result.append(nodes[here])
                here += 1
        else:
            result.append(node if isinstance(node, str) else _without_text(node))
    return result


LABEL_FORMS: dict[str, Callable[[list[str]], list[str]]] = {
    "full": list,
    "crohme": _crohme,
    "crohme_symbols": _crohme_symbols,
    "crohme_relations": _crohme_relations,
    "im2markup": _im2markup,
    "printed": _printed,
}
