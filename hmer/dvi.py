"""What a DVI file puts where: each page's glyphs and rules in the order in which TeX set them.

Source: the file format as described in Knuth's DVItype, sections 13 to 19; sizes of glyphs from the fonts' metrics.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hmer.errors import RenderError

if TYPE_CHECKING:
    from matplotlib.dviread import Tfm

SCALED_POINTS = 65_536 * 72.27  # in an inch

_SET_RULE, _PUT_1, _PUT_RULE, _NOP, _BOP, _EOP, _PUSH, _POP = 132, 133, 137, 138, 139, 140, 141, 142
_RIGHT, _W, _X, _DOWN, _Y, _Z = 143, 147, 152, 157, 161, 166
_FONT_0, _FONT_1, _SPECIAL, _FONT_DEF, _PRE, _POST = 171, 235, 239, 243, 247, 248


@dataclass(frozen=True)
class Piece:
    """A glyph or a rule. Lengths in inches, to the right and down; `baseline` is a rule's lower edge, `size` a glyph's em.

    `what` tells the glyph: its font and character; ("", 0) is a rule. `mark`: of the innermost `mark` around it, or -1.
    """

    what: tuple[str, int]
    left: float
    top: float
    right: float
    bottom: float
    baseline: float
    size: float
    mark: int


def mark(number: int) -> str:
    r"""What stands in LaTeX before something that is to be found again; `UNMARK` stands behind it."""
    return rf"\special{{hmer:{number}}}"


UNMARK = r"\special{hmer:}"


def read_pages(data: bytes) -> list[list[Piece]]:
    """The pages of a file. Raises RenderError where it is damaged or the metrics of one of its fonts are not here."""
    try:
        return _Reader(data).pages()
    except (IndexError, ValueError, KeyError, OSError) as error:
        raise RenderError(f"The DVI file cannot be read: {error}.") from error


@functools.cache
def _metrics(font: str) -> "Tfm":
    from matplotlib.dviread import Tfm, find_tex_file  # half a second, which a start of the app need not wait

    return Tfm(find_tex_file(f"{font}.tfm"))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.here = data, 0
        self.fonts: dict[int, tuple[str, int]] = {}  # name and size in scaled points

    def number(self, size: int, *, signed: bool = True) -> int:
        part = self.data[self.here : self.here + size]
        if len(part) < size:
            raise ValueError("it ends too early")
        self.here += size
        return int.from_bytes(part, "big", signed=signed)

    def pages(self) -> list[list[Piece]]:
        found: list[list[Piece]] = []
        while True:
            code = self.number(1, signed=False)
            if code == _PRE:
                self.here += 13
                comment = self.number(1, signed=False)
                self.here += comment
            elif code == _BOP:
                self.here += 44
                found.append(self.page())
            elif _FONT_DEF <= code < _PRE:
                self.define_font(code - _FONT_DEF + 1)
            elif code == _POST:
                return found
            elif code != _NOP:
                raise ValueError(f"an unknown command, {code}")

    def define_font(self, size: int) -> None:
        number = self.number(size, signed=False)
        self.here += 4
        scale = self.number(4)
        self.here += 4
        length = self.number(1, signed=False) + self.number(1, signed=False)
        name = self.data[self.here : self.here + length].decode("ascii")
        self.here += length
        self.fonts[number] = name, scale

    def page(self) -> list[Piece]:
        pieces: list[Piece] = []
        marks = [-1]
        stack: list[tuple[int, ...]] = []
        h = v = w = x = y = z = 0
        font = 0

        def keep(what: tuple[str, int], *lengths: float) -> None:
            left, top, right, bottom, baseline, size = (length / SCALED_POINTS for length in lengths)
            pieces.append(Piece(what, left, top, right, bottom, baseline, size, marks[-1]))

        def glyph(character: int) -> int:
            name, scale = self.fonts[font]
            sizes = _metrics(name).get_metrics(character)
            if sizes is None:
                raise ValueError(f"{name} has no character {character}")
            width, height, depth = (
                size * scale / 2**20 for size in (sizes.tex_width, sizes.tex_height, sizes.tex_depth)
            )
            keep((name, character), h, v - height, h + width, v + depth, v, scale)
            return round(width)

        while True:
            code = self.number(1, signed=False)
            if code < 128:
                h += glyph(code)
            elif code < _SET_RULE:
                h += glyph(self.number(code - 127, signed=False))
            elif code in (_SET_RULE, _PUT_RULE):
                height, width = self.number(4), self.number(4)
                if height > 0 and width > 0:
                    keep(("", 0), h, v - height, h + width, v, v, 0)
                h += width if code == _SET_RULE else 0
            elif code < _PUT_RULE:
                glyph(self.number(code - _PUT_1 + 1, signed=False))
            elif code == _EOP:
                return pieces
            elif code == _PUSH:
                stack.append((h, v, w, x, y, z))
            elif code == _POP:
                h, v, w, x, y, z = stack.pop()
            elif _RIGHT <= code < _W:
                h += self.number(code - _RIGHT + 1)
            elif _W <= code < _X:
                w = self.number(code - _W) if code > _W else w
                h += w
            elif _X <= code < _DOWN:
                x = self.number(code - _X) if code > _X else x
                h += x
            elif _DOWN <= code < _Y:
                v += self.number(code - _DOWN + 1)
            elif _Y <= code < _Z:
                y = self.number(code - _Y) if code > _Y else y
                v += y
            elif _Z <= code < _FONT_0:
                z = self.number(code - _Z) if code > _Z else z
                v += z
            elif code < _FONT_1:
                font = code - _FONT_0
            elif code < _SPECIAL:
                font = self.number(code - _FONT_1 + 1, signed=False)
            elif code < _FONT_DEF:
                length = self.number(code - _SPECIAL + 1, signed=False)
                text = self.data[self.here : self.here + length]
                self.here += length
                if text == b"hmer:":
                    marks.pop()
                elif text.startswith(b"hmer:"):
                    marks.append(int(text[5:]))
            elif code < _PRE:
                self.define_font(code - _FONT_DEF + 1)
            elif code != _NOP:
                raise ValueError(f"an unknown command, {code}")
