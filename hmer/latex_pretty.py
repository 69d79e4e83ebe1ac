"""The writer behind hmer.latex.pretty: tokens as a person would type them."""

import re
from collections.abc import Sequence

from hmer import latex_symbols as known
from hmer.latex_commands import argument_style
from hmer.latex_labels import Tree, bracket_end, leaves, read_tree
from hmer.latex_lexer import DIMENSION, WORD_COMMAND, environment_name

_SPACED = known.RELATIONS | known.BINARY  # commands that get a blank on either side


def pretty(tokens: Sequence[str]) -> str:
    r"""The string that a person would type for these tokens: `\frac{a}{b}`, `x^2`, `f'(x)`, `a \leq b`.

    `\limits` is left out where display style does the same by itself. Any tokens are accepted; those that do
    not form a formula are joined as well as can be.
    """
    tree = read_tree(tokens)
    writer = _Writer()
    if tree is None:
        for text in tokens:
            writer.add(text)
    else:
        writer.nodes(tree)
    return writer.text()


class _Writer:
    """Collects pieces of LaTeX, with a blank between two where it is needed or helps."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.after_word = False  # the last piece is a command of letters: no letter may follow it directly
        self.wants_blank = ""  # what kind of piece, if it comes next, is set off by a blank
        self.in_display_style = True
        self.environments: list[tuple[bool, bool]] = []  # display style outside, and in a fresh cell or part

    def text(self) -> str:
        return "".join(self.pieces)

    def add(self, piece: str, spaced: bool = False) -> None:
        """Append a piece; `spaced` asks for a blank on either side."""
        if not piece:
            return
        head = piece[0]
        blank = (
            (self.after_word and (head.isalnum()))
            or (self.wants_blank == "all" and head not in "})],^_&'")
            or (self.wants_blank == "word" and (head.isalnum() or head == "\\"))
            or (self.wants_blank == "digit" and head.isdigit())
            or (self.wants_blank == "letter" and head.isalpha())
        )
        if (blank or spaced) and self.pieces and self.pieces[-1][-1:] not in (" ", "{", "(", "["):
            self.pieces.append(" ")
        self.pieces.append(piece)
        self.after_word = bool(re.search(r"\\[A-Za-z]+\Z", piece)) if len(piece) < 40 else False
        self.wants_blank = "all" if spaced else ""

    def nodes(self, nodes: Tree) -> None:
        here = 0
        display = self.in_display_style
        base = ""  # the operator whose scripts are being written, if it is one
        while here < len(nodes):
            node = nodes[here]
            here += 1
            if not isinstance(node, str):
                self.group(node)
                base = ""
            elif node in ("_", "^"):
                argument = nodes[here] if here < len(nodes) else None
                if isinstance(argument, list):
                    here += 1
                    self.script(node, argument, after_operator=base in known.OPERATORS)
                else:
                    self.add(node)
            elif node in (r"\limits", r"\nolimits"):
                if node == r"\nolimits" or base not in known.OPERATORS_WITH_LIMITS or not self.in_display_style:
                    self.pieces.append(node)
                    self.after_word = True
            else:
                here = self.command(node, nodes, here)
                base = node
        self.in_display_style = display

    def group(self, nodes: Tree, smaller: bool = False) -> None:
        """Nodes in braces; `smaller` if they are not set in display style."""
        self.add("{")
        self.after_word, self.wants_blank = False, ""
        display = self.in_display_style
        self.in_display_style = display and not smaller
        self.nodes(nodes)
        self.in_display_style = display
        self.pieces.append("}")
        self.after_word, self.wants_blank = False, ""

    def script(self, mark: str, body: Tree, after_operator: bool) -> None:
        """A script, with primes as primes and without braces around a single symbol."""
        if mark == "^" and body[:1] == [r"\prime"]:
            count = next((here for here, node in enumerate(body) if node != r"\prime"), len(body))
            if not all(isinstance(node, str) for node in body):
                count = 0  # what stands in braces could change with its neighbours gone
            self.pieces.append("'" * count)
            self.after_word, self.wants_blank = False, ""
            body = body[count:]
            if not body:
                return
        self.pieces.append(mark)
        single = body[0] if len(body) == 1 else ""
        if isinstance(single, str) and _stands_alone(single):
            self.pieces.append(single)
            self.after_word = len(single) > 1
            self.wants_blank = "word" if after_operator else "digit" if single.isdigit() else "letter"
        else:
            self.after_word, self.wants_blank = False, ""
            self.group(body, smaller=True)
            self.wants_blank = "word" if after_operator else ""

    def command(self, name: str, nodes: Tree, here: int) -> int:
        """A token and what belongs to it; where to go on."""
        if name in known.TEXT_COMMANDS and here < len(nodes) and isinstance(nodes[here], list):
            self.add(name)
            self.pieces.append("{" + _pretty_text(nodes[here]) + "}")
            self.after_word = False
            return here + 1
        if name in known.SIGNATURES:
            return self.with_arguments(name, nodes, here)
        if name.startswith(r"\begin{"):
            self.add(name)
            environment = environment_name(name, r"\begin")
            if environment in known.ENVIRONMENTS_WITH_ARGUMENT and here < len(nodes):
                here = self.raw(nodes, here)
            self.wants_blank = "all"
            outside, self.in_display_style = self.in_display_style, environment in known.DISPLAY_ENVIRONMENTS
            self.environments.append((outside, self.in_display_style))
        elif name.startswith(r"\end{"):
            self.add(name, spaced=True)
            self.wants_blank = ""
            if self.environments:
                self.in_display_style, _ = self.environments.pop()
        elif name == r"\\":
            self.add(name, spaced=True)
            self.new_cell()
            end = bracket_end(nodes, here)
            if end > here and DIMENSION.fullmatch("".join(str(node) for node in nodes[here + 1 : end])):
                self.pieces.append("[" + "".join(str(node) for node in nodes[here + 1 : end]) + "]")
                return end + 1
        elif name == "&":
            self.add(name, spaced=True)
            self.new_cell()
        elif name == r"\left":
            self.add(name)
            self.environments.append((self.in_display_style, self.in_display_style))
        elif name in (r"\middle", r"\right"):
            self.add(name)
            self.new_cell()
            if name == r"\right" and self.environments:
                self.environments.pop()
        elif name in _SPACED:
            self.add(name, spaced=True)
        else:
            self.add(name)
            if name in known.OPERATORS:
                self.wants_blank = "word"
            elif name in known.STYLES:
                self.in_display_style = name == r"\displaystyle"
        return here

    def new_cell(self) -> None:
        if self.environments:
            self.in_display_style = self.environments[-1][1]

    def with_arguments(self, name: str, nodes: Tree, here: int) -> int:
        self.add(name)
        index = 0
        for kind in known.SIGNATURES[name]:
            if kind in "op":
                end = bracket_end(nodes, here)
                if end >= 0:
                    self.pieces.append("[")
                    self.after_word = False
                    display, self.in_display_style = self.in_display_style, False
                    self.nodes(nodes[here + 1 : end])
                    self.in_display_style = display
                    self.pieces.append("]")
                    self.after_word, self.wants_blank = False, ""
                    here = end + 1
                continue
            if here >= len(nodes) or isinstance(nodes[here], str):
                break  # a model's output: an argument is missing
            if kind == "r":
                here = self.raw(nodes, here)
            else:
                if kind == "s":
                    self.environments.append((self.in_display_style, False))
                self.group(nodes[here], smaller=kind == "s" or argument_style(name, 0, index) > 0)
                if kind == "s":
                    self.environments.pop()
                here += 1
            index += 1
        if known.COMMAND_CLASSES.get(name) == "op":
            self.wants_blank = "word"
        return here

    def raw(self, nodes: Tree, here: int) -> int:
        node = nodes[here]
        self.pieces.append("{" + "".join(leaves(node)) + "}" if isinstance(node, list) else node)
        self.after_word = False
        return here + 1


def _stands_alone(text: str) -> bool:
    """Whether a token may be a script without braces."""
    if len(text) == 1:
        return text.isalnum() or text in "*+-"
    return text in known.ORDINARY and text[1:].isalpha() and text != r"\prime"


def _pretty_text(nodes: Tree) -> str:
    """The inside of \\text: ~ as blanks, mathematics between dollars."""
    pieces: list[str] = []
    here = 0
    while here < len(nodes):
        node = nodes[here]
        here += 1
        last = pieces[-1] if pieces else ""
        if isinstance(node, list):
            pieces.append("{" + _pretty_text(node) + "}")
        elif node == "$":
            end = next((place for place in range(here, len(nodes)) if nodes[place] == "$"), len(nodes))
            writer = _Writer()
            writer.in_display_style = False
            writer.nodes(nodes[here:end])
            pieces.append("$" + writer.text() + "$")
            here = end + 1
        elif node == "~":
            pieces.append("~" if last.endswith((" ", "~")) or WORD_COMMAND.match(last) else " ")
        else:
            if WORD_COMMAND.match(last) and node[0].isalpha():
                pieces.append(" ")
            pieces.append(node)
    return "".join(pieces)
