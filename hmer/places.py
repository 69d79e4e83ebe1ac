r"""Where in a typeset picture each token of its label stands, so that a model can be shown it.

The formula is set a second time with a mark around each token (`\special`, which TeX copies to the DVI file and which has no size).
Marks can keep TeX from closing letters up or from placing an accent, so places are those of the formula without them; the marks tell which of
its glyphs, the same in the same order, belongs to which token.
"""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hmer import latex_symbols as known
from hmer.dvi import UNMARK, Piece, mark
from hmer.latex_lexer import environment_name

Boxes = npt.NDArray[np.float32]  # (N, 5): position of the token in its label, left, top, right, bottom in pixels

PLACES = "places"  # the column of labels.tsv

_X_HEIGHT = 0.44  # of an em: what is lower in the box of an accent is empty
_STROKE = 0.7  # of an em: how far a glyph without width goes to the right
_ACCENTS_OF_A_GLYPH = frozenset(
    (r"\hat", r"\check", r"\tilde", r"\acute", r"\grave", r"\dot", r"\ddot", r"\breve", r"\bar", r"\vec", r"\mathring",
     r"\widehat", r"\widetilde")
)  # fmt: skip
# Nothing to be seen stands for these themselves; where they have arguments, in these.
_UNSEEN = known.SPACES | frozenset(known.STYLES) | frozenset((r"\limits", r"\nolimits", r"\hline", "&", r"\\", "."))
_WRAPPERS = (
    known.FONTS
    | known.TEXT_COMMANDS
    | frozenset(name for name in known.SIGNATURES if name.startswith((r"\math", r"\operatorname")))
    | {r"\phantom", r"\hphantom", r"\vphantom", r"\smash", r"\substack", r"\hspace", r"\mspace", r"\multicolumn", r"\raisebox"}
)  # fmt: skip
_BOLD = (r"\boldsymbol", r"\pmb")
_UNSUPPORTED = known.INFIX | known.TEXT_ACCENTS - {r"\."} | {r"\sideset", r"\hdotsfor", "$"}


def marked(tokens: Sequence[str]) -> str | None:
    """LaTeX of a label with a mark around each token that can be seen; None where one is among them that cannot be marked."""
    try:
        marker = _Marker(tokens)
        marker.row(0, len(tokens))
    except (IndexError, KeyError, ValueError):
        return None
    return "".join(marker.pieces)


class _Marker:
    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens, self.pieces = tuple(tokens), list[str]()
        self.closing: dict[int, int] = {}
        opened: list[int] = []
        for place, token in enumerate(tokens):
            if token == "{":
                opened.append(place)
            elif token == "}":
                self.closing[opened.pop()] = place
        if opened:
            raise ValueError("a brace stays open")

    def put(self, token: str) -> None:
        self.pieces.append(token + " " if token[0] == "\\" and token[-1].isalpha() else token)

    def raw(self, here: int, end: int) -> int:
        for token in self.tokens[here:end]:
            self.put(token)
        return end

    def row(self, here: int, end: int) -> None:
        while here < end:
            here = self.atom(here)

    def group(self, here: int) -> int:
        """What stands in braces there, marked; where to go on."""
        end = self.closing[here]
        self.put("{")
        self.row(here + 1, end)
        self.put("}")
        return end + 1

    def atom(self, here: int) -> int:
        """A token with its arguments and scripts; where to go on."""
        token = self.tokens[here]
        if token in _UNSUPPORTED:
            raise ValueError(token)
        if token == "{":
            return self.group(here)
        if token in _UNSEEN or token in ("_", "^") or token.startswith(r"\end{"):
            return self.raw(here, here + 1)
        if token in _WRAPPERS and token not in _BOLD:
            self.put(token)
            return self.arguments(here)
        has_delimiter = token in (r"\left", r"\right", r"\middle") or token in known.BIG_DELIMITERS
        if token in _BOLD:  # it looks into its argument before it sets that
            end = self.closing[here + 1] + 1
            if end != here + 4:
                raise ValueError(token)
            self.pieces.append(mark(here + 2))
            here = self.raw(here, end)
        else:
            self.pieces.append(mark(here + has_delimiter))
            self.put(token)
            here = self.raw(here + 1, here + 2) if has_delimiter else self.arguments(here)
        if token.startswith(r"\begin{"):
            end = self.environment_end(here)
            self.row(here, end)
            here = self.raw(end, end + 1)
        while here < len(self.tokens) and self.tokens[here] in ("_", "^", r"\limits", r"\nolimits"):
            script = self.tokens[here] in ("_", "^")
            self.put(self.tokens[here])
            here = self.group(here + 1) if script else here + 1
        self.pieces.append(UNMARK)
        return here

    def environment_end(self, here: int) -> int:
        depth = 0
        while depth or not self.tokens[here].startswith(r"\end{"):
            depth += self.tokens[here].startswith(r"\begin{")
            depth -= self.tokens[here].startswith(r"\end{")
            here += 1
        return here

    def arguments(self, here: int) -> int:
        """The arguments of the command there; where to go on."""
        token, here = self.tokens[here], here + 1
        kinds = known.SIGNATURES.get(token, "")
        if environment_name(token, r"\begin") in known.ENVIRONMENTS_WITH_ARGUMENT:
            kinds = "r"
        for kind in kinds:
            if kind in "op":
                if self.tokens[here : here + 1] == ("[",):
                    end = self.tokens.index("]", here)
                    self.put("[")
                    if kind == "o":
                        self.row(here + 1, end)
                    else:
                        self.raw(here + 1, end)
                    self.put("]")
                    here = end + 1
            elif self.tokens[here] != "{":
                raise ValueError(token)
            elif kind == "r":
                here = self.raw(here, self.closing[here] + 1)
            else:
                here = self.group(here)
        return here


def boxes_of(
    pieces: Sequence[Piece], marked_pieces: Sequence[Piece], tokens: Sequence[str], shape: tuple[int, int], dpi: int
) -> Boxes | None:
    """Where the tokens stand in a picture of that shape which holds the page's ink and nothing else.

    None if the marks have changed what is set. Fonts' metrics do not say where in its box a glyph's ink begins; what is over on
    the left and on the right, above and below, is taken to be the same.
    """
    if not pieces or [piece.what for piece in pieces] != [piece.what for piece in marked_pieces]:
        return None
    owners = np.array([piece.mark for piece in marked_pieces])
    boxes = np.array([(piece.left, piece.top, piece.right, piece.bottom) for piece in pieces]) * dpi
    for row, (piece, owner) in enumerate(zip(pieces, owners.tolist(), strict=True)):
        if piece.left == piece.right:  # the stroke of \not
            boxes[row, 2] += _STROKE * piece.size * dpi
        if owner >= 0 and piece.size and tokens[owner] in _ACCENTS_OF_A_GLYPH:
            boxes[row, 3] = (piece.baseline - _X_HEIGHT * piece.size) * dpi
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    over = (np.array(shape[::-1]) - (high - low)) / 2
    if np.abs(over).max() > 0.12 * dpi:  # something stands where metrics do not say
        return None
    boxes += np.tile(over - low, 2)
    found = np.column_stack([owners, boxes])[owners >= 0]
    return found.astype(np.float32)


def write_places(boxes: Boxes | None) -> str:
    """Boxes as a field of labels.tsv, in whole pixels: `token:left,top,right,bottom` each, with blanks between."""
    if boxes is None:
        return ""
    outward = np.column_stack([boxes[:, 0], np.floor(boxes[:, 1:3]), np.ceil(boxes[:, 3:])]).astype(int)
    return " ".join(f"{token}:{left},{top},{right},{bottom}" for token, left, top, right, bottom in outward.tolist())


_BOXES = re.compile(r"(\d{1,4}:-?\d{1,5},-?\d{1,5},\d{1,5},\d{1,5}( (?=\d)|\Z))*")


def are_places(field: str, tokens: int) -> bool:
    """Whether the field is what `write_places` makes for a label of so many tokens."""
    return _BOXES.fullmatch(field) is not None and all(int(box.split(":")[0]) < tokens for box in field.split())


def read_places(field: str) -> Boxes | None:
    """What `write_places` has written; None for an empty field."""
    if not field:
        return None
    return np.array(re.split("[:, ]", field), np.float32).reshape(-1, 5)
