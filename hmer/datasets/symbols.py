r"""Handwritten symbols from several collections, by the LaTeX token that each is.

Sources: segmented ink (a dataset folder of InkML files), isolated characters as JSON lines, isolated symbols as a
folder of text files named as Typst names them, and fonts, whose glyphs are thinned to strokes. What no collection has
is made of what there is: an arrow to the left is one to the right, mirrored; a circled plus is a circle and a plus.
"""

import gzip
import json
import string
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hmer.augment import Random
from hmer.datasets.batches import symbol_positions, with_dots_joined
from hmer.datasets.folder import read_dataset
from hmer.errors import BadInk, DatasetError
from hmer.ink import Stroke, read_inkml

Strokes = tuple[Stroke, ...]

# What Typst calls the symbols that are drawn in the collection of isolated symbols.
TYPST = {
    "alpha": r"\alpha", "beta": r"\beta", "gamma": r"\gamma", "delta": r"\delta", "Delta": r"\Delta",
    "epsilon": r"\varepsilon", "zeta": r"\zeta", "theta": r"\theta", "iota": r"\iota", "nu": r"\nu", "pi": r"\pi",
    "sigma": r"\sigma", "chi": r"\chi", "psi": r"\psi", "omega": r"\omega", "Lambda": r"\Lambda", "Xi": r"\Xi",
    "Pi": r"\Pi", "Phi": r"\Phi", "Sigma": r"\Sigma", "ohm": r"\Omega", "diff": r"\partial", "gradient": r"\nabla",
    "infinity": r"\infty", "forall": r"\forall", "in": r"\in", "in.rev": r"\ni", "emptyset": r"\emptyset",
    "AA": "A", "DD": "D", "HH": "H", "II": "I", "KK": "K", "LL": "L", "MM": "M", "NN": "N", "OO": "O", "QQ": "Q",
    "RR": "R", "TT": "T", "UU": "U", "ZZ": "Z",
    "subset": r"\subset", "subset.eq": r"\subseteq", "supset": r"\supset", "supset.eq": r"\supseteq",
    "union": r"\cup", "or.big": r"\vee", "compose": r"\circ", "perp": r"\perp",
    "tilde.op": r"\sim", "tilde.eq": r"\simeq", "tilde.equiv": r"\cong", "approx": r"\approx", "approx.eq": r"\approx",
    "equiv": r"\equiv", "eq.triple": r"\equiv", "prop": r"\propto", "eq.not": r"\neq", "lt.eq": r"\leq",
    "gt.double": r"\gg", "plus.minus": r"\pm", "minus.plus": r"\mp", "times.circle": r"\otimes", "xor": r"\oplus",
    "dagger": r"\dagger", "parallel": r"\|", "models": r"\models", "divides": "|", "angle": r"\angle",
    "arrow.r.double": r"\Rightarrow", "arrow.r.double.long": r"\Rightarrow", "arrow.l.r": r"\leftrightarrow",
    "arrow.l.r.long": r"\leftrightarrow", "arrow.l.double.long": r"\Leftarrow", "arrow.r.hook": r"\hookrightarrow",
    "arrow.t.b": r"\updownarrow", "tack.r.short": r"\vdash", "tack.r.long": r"\vdash",
    "integral": r"\int", "integral.cont": r"\oint", "sum": r"\sum", "square.stroked": r"\square",
    "dots.v": r"\vdots", "dots.down": r"\ddots", "dots.h": r"\ldots", "percent": r"\%", "section": r"\S",
    "prec": r"\prec", "lt.curly.eq": r"\preceq", "star.op": r"\star", "ast.small": "*", "minus": "-", "plus": "+",
    "tilde.not": r"\nsim", "subset.not": r"\not\subset", "because": r"\because", "alef": r"\aleph",
    "bar.v": "|", "paren.l": "(", "paren.r": ")", "bracket.l": "[", "bracket.r": "]", "colon": ":", "comma": ",",
    "semi": ";", "slash.big": "/", "div.circle": "", "tack.t.big": r"\perp", "lt": "<",
}  # fmt: skip

# The character of a font for each token; fonts that lack it are passed over.
CHARACTERS = {
    **{f"\\{name}": chr(code) for name, code in {
        "rho": 0x3C1, "tau": 0x3C4, "eta": 0x3B7, "kappa": 0x3BA, "xi": 0x3BE, "zeta": 0x3B6, "nu": 0x3BD, "chi": 0x3C7,
        "psi": 0x3C8, "omega": 0x3C9, "iota": 0x3B9, "varepsilon": 0x3B5, "delta": 0x3B4, "Gamma": 0x393,
        "Theta": 0x398, "Xi": 0x39E, "Psi": 0x3A8, "Omega": 0x3A9, "Sigma": 0x3A3, "Pi": 0x3A0, "Phi": 0x3A6,
        "Lambda": 0x39B, "partial": 0x2202, "nabla": 0x2207, "prod": 0x220F, "subset": 0x2282, "subseteq": 0x2286,
        "supset": 0x2283, "supseteq": 0x2287, "cup": 0x222A, "cap": 0x2229, "wedge": 0x2227, "vee": 0x2228,
        "neg": 0xAC, "Rightarrow": 0x21D2, "Leftrightarrow": 0x21D4, "angle": 0x2220, "perp": 0x22A5, "equiv": 0x2261,
        "approx": 0x2248, "sim": 0x223C, "simeq": 0x2243, "cong": 0x2245, "ll": 0x226A, "gg": 0x226B,
        "propto": 0x221D, "leftarrow": 0x2190, "uparrow": 0x2191, "downarrow": 0x2193, "leftrightarrow": 0x2194,
        "mapsto": 0x21A6, "oplus": 0x2295, "otimes": 0x2297, "odot": 0x2299, "emptyset": 0x2205, "ell": 0x2113,
        "hbar": 0x210F, "dagger": 0x2020, "star": 0x2606, "square": 0x25A1, "mp": 0x2213, "forall": 0x2200,
        "exists": 0x2203, "in": 0x2208, "ni": 0x220B, "notin": 0x2209, "langle": 0x3008, "rangle": 0x3009,
    }.items()},
    r"\|": chr(0x2225), r"\sharp": chr(0x266F), r"\%": "%", r"\#": "#", r"\&": "&",
    **{letter: letter for letter in "DJKOQUWZ"}, "?": "?", ":": ":", ";": ";", "*": "*",
}  # fmt: skip
# What CROHME has of many hands, for fonts that are hands of their own.
COMMON = {
    **{character: character for character in string.ascii_letters + string.digits + "()[]+=<>/!,"},
    r"\{": "{", r"\}": "}",
    **{f"\\{name}": chr(code) for name, code in {
        "alpha": 0x3B1, "beta": 0x3B2, "gamma": 0x3B3, "theta": 0x3B8, "lambda": 0x3BB, "mu": 0x3BC, "pi": 0x3C0,
        "sigma": 0x3C3, "phi": 0x3C6, "Delta": 0x394, "pm": 0xB1, "times": 0xD7, "div": 0xF7, "infty": 0x221E,
        "neq": 0x2260, "leq": 0x2264, "geq": 0x2265, "int": 0x222B,
    }.items()},
}  # fmt: skip

# Isolated characters whose LaTeX is another: what is not listed stands for itself, or is left out.
_SPELT = {
    "#": r"\#", "%": r"\%", "&": r"\&", "{": r"\{", "}": r"\}", "\\": r"\setminus", r"\backslash": r"\setminus", "~": r"\sim", "^": r"\hat",
    "'": r"\prime", "$": "", "@": "", "_": "", "`": "", '"': "", "-": "-",
}  # fmt: skip


_LINES = frozenset("1lI|/\\-_'`,.!()") | {r"\backslash"}  # what one straight stroke may be
UNKNOWN = "Unknown"  # what CROHME calls several writers


def _is_line(strokes: Sequence[npt.ArrayLike]) -> bool:
    """Whether there is one stroke and it is straight: of an X or an F, one line of several."""
    if len(strokes) != 1:
        return False
    points = np.asarray(strokes[0], np.float64)[:, :2]
    along = points[-1] - points[0]
    length = max(float(np.hypot(*along)), 1e-6)
    across = (points - points[0]) @ np.array([-along[1], along[0]]) / length
    return float(np.ptp(across)) < 0.1 * length


@dataclass(frozen=True)
class Glyph:
    """Somebody's symbol: strokes, y downward, in any unit."""

    strokes: Strokes
    writer: str = ""


class SymbolBank:
    """Glyphs by token. `part` keeps a fifth of the writers and drawings apart: `train` and `test` share none."""

    def __init__(self, part: str = "") -> None:
        self.part = part
        self.glyphs: dict[str, list[Glyph]] = {}
        self._by_writer: dict[tuple[str, str], list[Glyph]] = {}

    def __contains__(self, token: str) -> bool:
        return bool(self.glyphs.get(token))

    def _mine(self, owner: str) -> bool:
        return not self.part or (zlib.crc32(owner.encode()) % 5 == 0) == (self.part == "test")

    def _add(self, token: str, strokes: Iterable[npt.ArrayLike], writer: str) -> None:
        parts = tuple(np.asarray(stroke, np.float32)[:, :2] for stroke in strokes if np.size(stroke))
        if token and parts:
            glyph = Glyph(parts, writer)
            self.glyphs.setdefault(token, []).append(glyph)
            if writer:
                self._by_writer.setdefault((writer, token), []).append(glyph)

    def add_ink(self, folder: Path) -> None:
        """Symbols of the segmented ink of a dataset folder, all of it: parts are the folders themselves."""
        for item in read_dataset(folder, "crohme"):
            try:
                ink = with_dots_joined(item.tokens, read_inkml(item.path))
            except BadInk:
                continue
            for symbol, position in zip(ink.symbols, symbol_positions(item.tokens, ink), strict=True):
                token = item.tokens[position]
                if position >= 0 and not (token == r"\div" and len(symbol.strokes) < 3):  # a slash that was called so
                    self._add(
                        "-" if token == r"\frac" else token, [ink.strokes[i] for i in symbol.strokes], item.writer
                    )

    def add_characters(self, file: Path) -> None:
        """Isolated characters, a JSON object a line with label, writer and strokes; gzip. Raises DatasetError."""
        try:
            with gzip.open(file, "rt", encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    label, writer = str(row["label"]), str(row["writer"])
                    token = _SPELT.get(label, label)
                    if self._mine(writer) and (label in _LINES or not _is_line(row["strokes"])):
                        self._add(token, row["strokes"], writer)
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError(f"{file}: cannot be read as gzipped JSON lines of characters ({error!r}).") from error

    def add_drawings(self, folder: Path) -> None:
        """Isolated symbols, a file for each Typst name with a JSON list of strokes a line. Raises DatasetError."""
        for file in sorted(folder.glob("*.txt")):
            token = TYPST.get(file.stem, "")
            if not token:
                continue
            try:
                drawings = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            except (OSError, ValueError) as error:
                raise DatasetError(f"{file}: cannot be read as JSON lists of strokes ({error}).") from error
            # A class with a single drawing is for training; of others the last is for testing.
            held = len(drawings) - 1 if len(drawings) > 1 else len(drawings)
            for index, strokes in enumerate(drawings):
                if not self.part or (index >= held) == (self.part == "test"):
                    self._add(token, strokes, f"{file.stem} {index}")

    def add_font(self, file: Path, *, whole: bool = False) -> None:
        """The thinned glyphs of a font, all of it: parts are the fonts themselves. Raises DatasetError.

        What CROHME has is taken only of `whole` fonts, those that somebody's hand was made into.
        """
        from fontTools.ttLib import TTFont  # here: for preparing data only
        from PIL import ImageFont

        try:
            known = TTFont(file, fontNumber=0).getBestCmap()
            font = ImageFont.truetype(str(file), 96)
        except Exception as error:  # whatever a damaged font makes of the two libraries
            raise DatasetError(f"{file}: cannot be read as a font ({error}).") from error
        for token, character in (CHARACTERS | COMMON if whole else CHARACTERS).items():
            if ord(character) in known:
                mask = font.getmask(character, mode="L")
                if 0 not in mask.size:
                    picture = np.asarray(mask, np.uint8).reshape(mask.size[1], mask.size[0])
                    self._add(token, thinned(picture > 127), file.stem)

    def derive(self, random: Random) -> None:
        """Make what no collection has, or few have, of symbols that many drew; see `DERIVED`."""
        made = {
            token: [recipe(self, random) for _ in range(count)]
            for token, (needed, count, recipe) in DERIVED.items()
            if all(part in self for part in needed)
        }
        for token, glyphs in made.items():
            self.glyphs.setdefault(token, []).extend(glyphs)

    def pick(self, token: str, random: Random, writer: str = "") -> Glyph:
        """One of the token's glyphs: the writer's, if there are any, otherwise those of every source alike."""
        choices = self._by_writer.get((writer, token)) or self.glyphs[token]
        return choices[int(random.integers(len(choices)))]

    def writers(self, fewest: int) -> list[str]:
        """Those by name who wrote so many different symbols."""
        counts = Counter(writer for writer, _ in self._by_writer)
        return [writer for writer, count in counts.items() if count >= fewest and writer != UNKNOWN]


def thinned(mask: npt.NDArray[np.bool_]) -> list[Stroke]:
    """The strokes along the middle of a shape: (H, W) bool -> polylines in pixels."""
    from skimage.morphology import skeletonize

    mask = np.pad(mask, 2)
    skeleton: npt.NDArray[np.bool_] = skeletonize(mask)  # type: ignore[no-untyped-call]
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    neighbours = cv2.filter2D(skeleton.astype(np.uint8), -1, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT)
    left = {(int(row), int(column)) for row, column in zip(*np.nonzero(skeleton), strict=True)}
    # Ends first, so that lines are followed from one end to the other.
    starts = sorted(left, key=lambda place: (int(neighbours[place]), place))
    strokes = []
    for start in starts:
        if start not in left:
            continue
        line = [start]
        left.discard(start)
        while following := _next_pixel(line, left):
            line.append(following)
            left.discard(following)
        # Where lines cross, the first took the crossing; the others reach back to it.
        strokes.append(_to_touch(line, skeleton, left))
    # Spurs of the skeleton are left out, but not dots: the longest of what hangs together stays, however short.
    longest: dict[int, list[tuple[int, int]]] = {}
    for stroke in strokes:
        piece = int(pieces[stroke[0]])
        longest[piece] = max(longest.get(piece, []), stroke, key=len)
    strokes = [stroke for stroke in strokes if len(stroke) > 3 or longest[int(pieces[stroke[0]])] is stroke]
    return [_simplified(np.array(stroke, np.float32)[:, ::-1]) for stroke in strokes]


def _next_pixel(line: Sequence[tuple[int, int]], left: set[tuple[int, int]]) -> tuple[int, int] | None:
    """The neighbour that goes on most nearly in the direction of the last pixels."""
    row, column = line[-1]
    around = [(row + dr, column + dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1) if (dr or dc)]
    choices = [place for place in around if place in left]
    if not choices:
        return None
    back = line[max(0, len(line) - 6)]
    ahead = (row - back[0], column - back[1])
    return max(choices, key=lambda place: (place[0] - row) * ahead[0] + (place[1] - column) * ahead[1])


def _to_touch(
    line: list[tuple[int, int]], skeleton: npt.NDArray[np.bool_], left: set[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The line with one more pixel at each end where it touches a line that was followed before."""
    own = set(line)
    ends = []
    for row, column in (line[0], line[-1]):
        around = [(row + dr, column + dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1)]
        ends.append([place for place in around if skeleton[place] and place not in own and place not in left][:1])
    return [*ends[0], *line, *ends[1]]


def _simplified(stroke: Stroke) -> Stroke:
    kept = np.asarray(cv2.approxPolyDP(stroke[:, None], 0.8, False)[:, 0], np.float32)
    return kept if len(kept) > 1 else stroke


# How to make one symbol of others. Boxes are left, top, right, bottom in units of the whole.
Recipe = Callable[[SymbolBank, Random], Glyph]


def _in_box(strokes: Sequence[Stroke], box: tuple[float, float, float, float]) -> list[Stroke]:
    points = np.concatenate(strokes)
    low, size = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-3 * max(float(np.ptp(points)), 1e-6))
    corner, extent = np.array(box[:2]), np.array(box[2:]) - np.array(box[:2])
    return [np.asarray((stroke - low) / size * extent + corner, np.float32) for stroke in strokes]


def _moved(token: str, matrix: Sequence[Sequence[float]]) -> Recipe:
    """Another symbol mirrored or turned: points times a 2 x 2 matrix."""

    def make(bank: SymbolBank, random: Random) -> Glyph:
        glyph = bank.pick(token, random)
        turn = np.array(matrix, np.float32).T
        return Glyph(tuple(stroke @ turn for stroke in glyph.strokes), glyph.writer)

    return make


def _built(*pieces: tuple[str, tuple[float, float, float, float]]) -> Recipe:
    """Several symbols, each in its box, which is shaken a little."""

    def make(bank: SymbolBank, random: Random) -> Glyph:
        strokes: list[Stroke] = []
        for token, box in pieces:
            left, top, right, bottom = (side + random.normal(0, 0.03) for side in box)
            flat = box[3] - box[1] < 0.1
            strokes += _in_box(bank.pick(token, random).strokes, (left, top, right, top + 0.04 if flat else bottom))
        return Glyph(tuple(strokes))

    return make


_MIRRORED, _UPSIDE_DOWN = ((-1, 0), (0, 1)), ((1, 0), (0, -1))
_LEFT, _RIGHT = ((0, 1), (-1, 0)), ((0, -1), (1, 0))
_RING, _HALF = (0.0, 0.0, 1.0, 1.0), (0.05, 0.5, 0.95, 0.5)


def _recipes() -> dict[str, tuple[tuple[str, ...], int, Recipe]]:
    moved = {
        r"\leftarrow": (r"\rightarrow", _MIRRORED), r"\uparrow": (r"\rightarrow", _LEFT),
        r"\downarrow": (r"\rightarrow", _RIGHT), r"\wedge": ("V", _UPSIDE_DOWN), r"\vee": ("V", ((1, 0), (0, 1))),
        r"\nabla": (r"\Delta", _UPSIDE_DOWN), r"\perp": ("T", _UPSIDE_DOWN), r"\Gamma": ("L", _UPSIDE_DOWN),
        r"\Lambda": ("V", _UPSIDE_DOWN), r"\mp": (r"\pm", _UPSIDE_DOWN), r"\ni": (r"\in", _MIRRORED),
        r"\subset": ("C", ((1, 0), (0, 1))), r"\supset": ("C", _MIRRORED), r"\cap": ("C", _RIGHT),
        r"\cup": ("C", _LEFT), r"\circ": ("o", ((1, 0), (0, 1))), r"\langle": ("<", ((0.5, 0), (0, 1.6))),
        r"\rangle": (">", ((0.5, 0), (0, 1.6))), r"\lfloor": ("L", ((0.4, 0), (0, 1.4))),
        r"\rfloor": ("L", ((-0.4, 0), (0, 1.4))), r"\lceil": ("L", ((0.4, 0), (0, -1.4))),
        r"\rceil": ("L", ((-0.4, 0), (0, -1.4))), r"\vdash": ("T", _LEFT), r"\Pi": (r"\pi", ((0.8, 0), (0, 1.3))),
    }  # fmt: skip
    built: dict[str, tuple[tuple[str, tuple[float, float, float, float]], ...]] = {
        r"\oplus": (("O", _RING), ("+", (0.1, 0.1, 0.9, 0.9))),
        r"\otimes": (("O", _RING), (r"\times", (0.2, 0.2, 0.8, 0.8))),
        r"\ominus": (("O", _RING), ("-", (0.1, 0.5, 0.9, 0.5))),
        r"\odot": (("O", _RING), (".", (0.46, 0.46, 0.54, 0.54))),
        r"\Theta": (("O", _RING), ("-", (0.25, 0.5, 0.75, 0.5))),
        r"\Phi": (("O", (0.0, 0.25, 1.0, 0.75)), ("1", (0.48, 0.0, 0.52, 1.0))),
        r"\Psi": (("U", (0.0, 0.0, 1.0, 0.7)), ("1", (0.48, 0.0, 0.52, 1.0))),
        r"\emptyset": (("O", (0.1, 0.1, 0.9, 0.9)), ("/", (0.0, 0.0, 1.0, 1.0))),
        r"\equiv": (("=", (0.0, 0.0, 1.0, 0.35)), ("-", (0.0, 0.7, 1.0, 0.7))),
        r"\approx": ((r"\sim", (0.0, 0.0, 1.0, 0.25)), (r"\sim", (0.0, 0.4, 1.0, 0.65))),
        r"\simeq": ((r"\sim", (0.0, 0.0, 1.0, 0.25)), ("-", (0.0, 0.55, 1.0, 0.55))),
        r"\cong": ((r"\sim", (0.0, 0.0, 1.0, 0.25)), ("=", (0.0, 0.5, 1.0, 0.85))),
        r"\subseteq": ((r"\subset", (0.0, 0.0, 1.0, 0.75)), ("-", (0.0, 1.0, 1.0, 1.0))),
        r"\supseteq": ((r"\supset", (0.0, 0.0, 1.0, 0.75)), ("-", (0.0, 1.0, 1.0, 1.0))),
        r"\notin": ((r"\in", (0.1, 0.1, 0.9, 0.9)), ("/", (0.25, -0.1, 0.75, 1.1))),
        r"\ll": (("<", (0.0, 0.0, 0.6, 0.7)), ("<", (0.5, 0.0, 1.1, 0.7))),
        r"\gg": ((">", (0.0, 0.0, 0.6, 0.7)), (">", (0.5, 0.0, 1.1, 0.7))),
        r"\Rightarrow": (("=", (0.0, 0.3, 0.9, 0.6)), (">", (0.6, 0.0, 1.1, 0.9))),
        r"\Leftarrow": (("=", (0.2, 0.3, 1.1, 0.6)), ("<", (0.0, 0.0, 0.5, 0.9))),
        r"\Leftrightarrow": (("=", (0.2, 0.3, 1.2, 0.6)), ("<", (0.0, 0.0, 0.4, 0.9)), (">", (1.0, 0.0, 1.4, 0.9))),
        r"\leftrightarrow": ((r"\rightarrow", (0.3, 0.0, 1.2, 0.5)), ("<", (0.0, 0.0, 0.3, 0.5))),
        r"\mapsto": ((r"\rightarrow", (0.0, 0.0, 1.0, 0.5)), ("1", (-0.02, 0.0, 0.02, 0.5))),
        r"\|": (("|", (0.0, 0.0, 0.04, 1.0)), ("|", (0.2, 0.0, 0.24, 1.0))),
        r"\hbar": (("h", (0.0, 0.0, 0.6, 1.0)), ("-", (-0.15, 0.25, 0.45, 0.25))),
        r"\iint": ((r"\int", (0.0, 0.0, 0.5, 1.0)), (r"\int", (0.4, 0.0, 0.9, 1.0))),
        r"\oint": ((r"\int", (0.0, 0.0, 0.5, 1.0)), ("o", (0.05, 0.35, 0.45, 0.65))),
        r"\ddot": ((".", (0.0, 0.0, 0.06, 0.06)), (".", (0.4, 0.0, 0.46, 0.06))),
        r"\vdots": ((".", (0.0, 0.0, 0.06, 0.06)), (".", (0.0, 0.4, 0.06, 0.46)), (".", (0.0, 0.8, 0.06, 0.86))),
        r"\ddots": ((".", (0.0, 0.0, 0.06, 0.06)), (".", (0.4, 0.4, 0.46, 0.46)), (".", (0.8, 0.8, 0.86, 0.86))),
        ":": ((".", (0.0, 0.0, 0.06, 0.06)), (".", (0.0, 0.5, 0.06, 0.56))),
        ";": ((".", (0.0, 0.0, 0.06, 0.06)), (",", (-0.05, 0.5, 0.1, 0.9))),
    }  # fmt: skip
    for name in [
        "ln",
        "max",
        "min",
        "sup",
        "inf",
        "det",
        "dim",
        "ker",
        "arg",
        "deg",
        "exp",
        "gcd",
        "sec",
        "csc",
        "cot",
        "sinh",
        "cosh",
        "tanh",
        "arctan",
        "arcsin",
        "arccos",
        "mod",
        "Pr",
    ]:
        wide = 0.0
        pieces = []
        for letter in name:
            span = {"i": 0.15, "l": 0.15, "m": 0.75, "r": 0.35, "t": 0.35, "f": 0.35, "s": 0.4}.get(letter, 0.45)
            top, bottom = (0.0 if letter in "dfhklPt" else 0.42), (1.35 if letter in "gpq" else 1.0)
            pieces.append((letter, (wide, 0.2 if letter in "ti" else top, wide + span, bottom)))
            wide += span + 0.08
        built[f"\\{name}"] = tuple(pieces)
    made: dict[str, tuple[tuple[str, ...], int, Recipe]] = {
        token: ((source,), 80, _moved(source, matrix)) for token, (source, matrix) in moved.items()
    }
    made |= {token: (tuple({piece for piece, _ in pieces}), 80, _built(*pieces)) for token, pieces in built.items()}
    return made


DERIVED = _recipes()
