"""The raw tokens of LaTeX as it is typed in, and which of them are no command that is known."""

import difflib
import re
from dataclasses import dataclass

from hmer import latex_symbols as known
from hmer.errors import LatexError

_PIECE = re.compile(
    r"\s+|%[^\n]*\n?"
    r"|\\(?:begin|end)\s*\{\s*[A-Za-z]+\*?\s*\}|\\(?:operatorname|hspace|tag)\s*\*"
    r"|\\[A-Za-z]+|\\.|.",
    re.DOTALL,
)
DIMENSION = re.compile(
    r"[+-]*(?:\d+[.,]?\d*|[.,]\d+)(?:true)?(?:pt|em|ex|mu|mm|cm|in|pc|bp|dd|cc|sp)"
    r"|[+-]*(?:\d*[.,]?\d*)\\(?:[a-z]*skip|[a-z]*width|[a-z]*sep|unitlength|jot)"
)
WORD_COMMAND = re.compile(r"\\[A-Za-z]+\Z")


@dataclass(slots=True, frozen=True)
class Token:
    """A raw token and where it stands: `source[start:end]`."""

    text: str
    start: int
    end: int


def tokenise(latex: str) -> list[Token]:
    """The raw tokens with their places; white space and comments are left out."""
    tokens = []
    for match in _PIECE.finditer(latex):
        text = match.group()
        if text[0] == "%" or text.isspace():
            continue
        if text[0] == "\\" and len(text) > 2 and text[-1] in "}*":
            text = re.sub(r"\s+", "", text)
        tokens.append(Token(text, match.start(), match.end()))
    return tokens


def environment_name(text: str, command: str) -> str:
    return text[len(command) + 1 : -1] if text.startswith(command + "{") else ""


def is_unknown(text: str) -> bool:
    return bool(WORD_COMMAND.match(text)) and text not in known.KNOWN_COMMANDS


def unknown_command(token: Token) -> LatexError:
    name = token.text
    if name in (r"\begin", r"\end"):
        return LatexError(
            f"{name} needs the name of an environment in braces, as {name}{{aligned}}.", token.start, token.end
        )
    if name in known.KNOWN_COMMANDS:
        return LatexError(f"{name} cannot stand here.", token.start, token.end)
    nearest = difflib.get_close_matches(name, known.KNOWN_COMMANDS, n=3, cutoff=0.7) if len(name) <= 30 else []
    hint = f" Did you mean {' or '.join(sorted(nearest))}?" if nearest else " Check its spelling."
    return LatexError(f"{shortened(name)} is not a command that is known here.{hint}", token.start, token.end)


def shortened(text: str) -> str:
    return text if len(text) <= 30 else text[:27] + "..."
