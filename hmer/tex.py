r"""Formulas typeset by TeX Live, thousands a run: LaTeX in, pictures of the ink out.

Every formula is a page of one document, set in a box and shipped by itself, so that there is no page to break and a
run costs next to nothing; dvipng draws the pages. A formula that TeX refuses is found in the log by the marks around
it, and the others are not touched by it; what cannot be told apart is run again without the one to blame.

What comes from strangers can do nothing but typeset: only commands that `hmer.latex` knows get to TeX, there is no
shell escape, files outside of a temporary folder are neither read nor written, and time, memory and sizes are bounded.
"""

import dataclasses
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from hmer import latex
from hmer import latex_symbols as known
from hmer.dvi import Piece, read_pages
from hmer.errors import LatexError, RenderError
from hmer.image import Grey
from hmer.latex_lexer import Token, environment_name, is_unknown, tokenise
from hmer.places import Boxes, boxes_of, marked

if sys.platform != "win32":
    import resource

INSTALL = (
    "install TeX Live: apt-get install --no-install-recommends texlive-latex-recommended "
    "texlive-fonts-recommended dvipng"
)
MOST_A_RUN = 4_000
LARGEST_PT = (1_500, 800)  # width and height of what is drawn
_SECONDS_A_RUN, _SECONDS_A_FORMULA = 15.0, 0.05
_PATIENCE = 20  # a busy machine gives a process a small part of the time; what counts is the processor's
_MEMORY_BYTES = 2_000_000_000
_FILE_BYTES = 400_000_000
_MOST_PIXELS = 40_000_000

_SANS = r"""\usepackage{sansmath}\AtBeginDocument{\sansmath\sffamily}"""
FONTS = {
    "computer modern": "",
    "times": r"\usepackage{mathptmx}",
    "txfonts": r"\usepackage{txfonts}",
    "palatino": r"\usepackage{mathpazo}",
    "pxfonts": r"\usepackage{pxfonts}",
    "sans": _SANS,
}
SIZES_PT = (8, 9, 10, 11, 12, 14)

_PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage{amsmath,amssymb,mathtools,mathrsfs}
%(font)s
\usepackage{bm}
\allowdisplaybreaks
\makeatletter
\def\color{\@ifnextchar[{\hmer@color}{\@gobble}}\def\hmer@color[#1]#2{}\def\textcolor#1#2{#2}
\providecommand\mathds{\mathbb}\providecommand\iddots{\mathinner{\ldotp\cdot\cdot}}
\def\hmermark#1{\immediate\write-1{<%(secret)s #1>}}
\def\hmerbegin#1{\hmermark{begin #1}}
\def\hmerend#1{\hmermark{end #1 \the\currentgrouplevel}}
\newbox\hmerbox
\def\hmership#1{%%
  \ifdim\wd\hmerbox>%(width)dpt \hmermark{large #1}\else
  \dimen0=\ht\hmerbox\advance\dimen0\dp\hmerbox
  \ifdim\dimen0>%(height)dpt \hmermark{large #1}\else
  \csname RawShipout\endcsname\box\hmerbox \hmermark{ship #1}\fi\fi}
\makeatother
\tracinglostchars=3
\begin{document}
"""


@dataclass(frozen=True)
class Job:
    """A formula to typeset in display style. `number` stands `gap_pt` to its right, as the number of an equation.

    `located`: `latex` is a label, tokens with blanks between, and where they stand is to be found. `with_glyphs`: so is where each
    glyph stands.
    """

    latex: str
    font: str = "computer modern"
    size_pt: int = 10
    dpi: int = 200
    number: str = ""
    gap_pt: int = 60
    located: bool = False
    with_glyphs: bool = False


@dataclass(frozen=True)
class Drawing:
    """A formula's picture, cropped to its ink, and where its tokens stand in it, if that is known.

    `glyphs`: as TeX put them on the page, before their places were rounded to pixels.
    """

    grey: Grey
    places: Boxes | None = None
    glyphs: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a formula was not typeset."""

    reason: str


Done = list[Drawing | Failure | None]


def is_installed() -> bool:
    """Whether `latex` and `dvipng` are there."""
    return shutil.which("latex") is not None and shutil.which("dvipng") is not None


def typeset(
    jobs: Sequence[Job], *, progress: Callable[[int], None] | None = None, seconds: float = _SECONDS_A_RUN
) -> list[Grey | Failure]:
    """A picture cropped to its ink, (H, W) uint8, or a Failure for each job: `draw` without places."""
    drawn = draw(jobs, progress=progress, seconds=seconds)
    return [result if isinstance(result, Failure) else result.grey for result in drawn]


def draw(
    jobs: Sequence[Job], *, progress: Callable[[int], None] | None = None, seconds: float = _SECONDS_A_RUN
) -> list[Drawing | Failure]:
    """A drawing or a Failure for each job.

    `progress` is told how many are done. A run may take `seconds` of the processor's time and a little for each of its
    formulas. Raises RenderError if TeX is not installed or does not work at all.
    """
    if not is_installed():
        raise RenderError(f"latex and dvipng are not installed; {INSTALL}.")
    done: Done = [None] * len(jobs)
    groups: dict[tuple[str, int], list[int]] = {}
    sources = []
    for place, job in enumerate(jobs):
        try:
            sources.append(safe_source(job.latex))
            groups.setdefault((job.font, job.dpi), []).append(place)
        except LatexError as error:
            sources.append("")
            done[place] = Failure(f"refused: {error}")
    for (font, dpi), places in sorted(groups.items()):
        for start in range(0, len(places), MOST_A_RUN):
            _run(font, dpi, {place: (jobs[place], sources[place]) for place in places[start : start + MOST_A_RUN]},
                 done, seconds)  # fmt: skip
            if progress is not None:
                progress(sum(result is not None for result in done))
    return [result if result is not None else Failure("was not drawn") for result in done]


def safe_source(formula: str) -> str:
    """The formula as one line of TeX that can do nothing but typeset. Raises LatexError."""
    latex.normalise(formula)
    if "^^" in re.sub(r"\s", "", formula):  # TeX's notation for any character, a backslash among them
        raise LatexError("^^ cannot stand in a formula.")
    pieces: list[str] = []
    end = 0
    tokens = tokenise(formula)
    closed_up = _spelt_letters(tokens)
    for place, token in enumerate(tokens):
        if is_unknown(token.text):
            raise LatexError(f"{token.text} is not a command that may be typeset.", token.start, token.end)
        name = environment_name(token.text, r"\begin") or environment_name(token.text, r"\end")
        if (
            name
            and name.rstrip("*") not in known.ENVIRONMENT_COLUMNS
            and name.rstrip("*") not in known.OUTER_ENVIRONMENTS
        ):
            raise LatexError(f"The environment {name} may not be typeset.", token.start, token.end)
        if not token.text.isprintable() and token.text not in ("\\\n", "\\\t"):
            raise LatexError("A control character cannot stand in a formula.", token.start, token.end)
        pieces += [" "] if token.start > end and place not in closed_up else []
        pieces.append("\\ " if token.text in ("\\\n", "\\\t") else token.text)
        end = token.end
    return _joined_dimensions("".join(pieces).strip())


def _spelt_letters(tokens: Sequence[Token]) -> set[int]:
    """Which tokens stand in a text that is spelt as tokens, `\\text { s o }`, whose blanks mean nothing; mathematics aside."""
    found: set[int] = set()
    for place, token in enumerate(tokens[:-1]):
        opener = tokens[place + 1]
        if token.text not in known.TEXT_COMMANDS and token.text not in known.TEXT_SYNONYMS:
            continue
        if opener.text != "{" or opener.start == token.end:
            continue
        level, in_mathematics, inside = 0, False, set()
        for here in range(place + 1, len(tokens)):
            text, before = tokens[here].text, tokens[here - 1]
            if here > place + 1 and tokens[here].start != before.end + 1:
                break
            level += (text == "{") - (text == "}")
            if not in_mathematics and not (before.text[0] == "\\" and before.text[-1].isalpha()):
                inside.add(here)
            in_mathematics ^= text == "$"
            if level == 0:
                found |= inside
                break
    return found


_DIMENSIONS = re.compile(
    r"\\(?:hspace|vspace|mspace|raisebox|rule(?:\s*\[[^\]{}]*\])?\s*\{[^{}]*\}|begin\{subarray\}|begin\{alignedat\})\s*\*?"
    r"(?:\s*\[[^\]{}]*\])?(?:\s*\{[^{}]*\})|\\\\\s*\*?\s*\[[^\]{}]*\]"
    r"|\\begin\{array\}(?:\s*\[[^\]{}]*\])?\s*\{(?:[^{}]|\{[^{}]*\})*\}|\\genfrac(?:\s*\{(?:\\[{}]|[^{}])*\}){4}"
)
_SKIPS = re.compile(r"(\\(?:hskip|kern|mskip|mkern|above)\b)((?:\s*[-+.,\d])+)\s*((?:[a-z]\s*){2})")


def _joined_dimensions(source: str) -> str:
    """Without the blanks that lists of tokens have inside of dimensions, where TeX takes none: `{ 1 c m }`."""

    def joined(match: re.Match[str]) -> str:
        command, rest = re.match(r"(\\(?:begin\{[a-z]+\}|[a-z]+|\\))(.*)", match.group(), re.DOTALL).groups()  # type: ignore[union-attr]
        return str(command + re.sub(r"(\\[A-Za-z]+\s)?\s*", r"\1", rest))  # a command is kept from what follows it

    source = _DIMENSIONS.sub(joined, source)
    return _SKIPS.sub(lambda m: m[1] + re.sub(r"\s+", "", m[2]) + re.sub(r"\s+", "", m[3]) + " ", source)


def _page(number: int, job: Job, source: str) -> str:
    beside = rf"\hskip {job.gap_pt}pt\relax\hbox{{{job.number}}}" if job.number else ""
    size = rf"\fontsize{{{job.size_pt}}}{{{round(job.size_pt * 1.2)}}}\selectfont"
    # The groups keep whatever the formula sets to itself; an \over in it then turns what is in display style, too.
    return (
        rf"\hmerbegin{{{number}}}\setbox\hmerbox\hbox{{{size}${{\displaystyle {{{source}}}}}${beside}}}"
        rf"\hmership{{{number}}}\hmerend{{{number}}}"
    )


def _run(font: str, dpi: int, pages: dict[int, tuple[Job, str]], done: Done, seconds: float) -> None:
    """Typeset pages of one font and resolution; what a bad formula took with it is run again without it."""
    waiting = [pages]
    while waiting:
        part = waiting.pop()
        with tempfile.TemporaryDirectory(prefix="hmer-tex-") as name:
            folder = Path(name)
            outcome = _latex(folder, font, part, seconds)
            for number, reason in outcome.failed.items():
                done[number] = Failure(reason)
            _draw(folder, dpi, outcome.pages, done, seconds)
            if outcome.marked_pages or any(job.with_glyphs for job, _ in part.values()):
                _locate(folder, dpi, outcome, {number: job for number, (job, _) in part.items()}, done)
        left = {number: page for number, page in part.items() if done[number] is None}
        if len(left) == len(part) == 1:
            reason = "cannot be drawn" if outcome.pages else "TeX does not come to its end"
            done[next(iter(left))] = Failure(f"{reason} (time, memory or structure)")
        elif len(left) < len(part) and left:
            waiting.append(left)
        elif left:
            # TeX or dvipng was stopped, its log cut off: what TeX had ended goes by itself, the rest in halves.
            sound = {number: left.pop(number) for number in outcome.ended if number in left and not outcome.pages}
            items = list(left.items())
            halves = [dict(items[: len(items) // 2]), dict(items[len(items) // 2 :])]
            waiting += [half for half in (sound, *halves) if half]


@dataclass(frozen=True)
class _Outcome:
    """Why formulas failed, which formula each page holds, and after which formulas TeX was seen to go on.

    After these pages come `marked_pages`: formulas again, with marks.
    """

    failed: dict[int, str]
    pages: list[int]
    marked_pages: list[int]
    ended: list[int]


def _latex(folder: Path, font: str, pages: dict[int, tuple[Job, str]], seconds: float) -> _Outcome:
    """Run latex and read in its log what became of each formula."""
    body = "\n".join(_page(number, job, source) for number, (job, source) in pages.items())
    # Behind all others, so that nothing can happen to these by what marks do.
    beyond = max(pages) + 1
    for number, (job, _) in pages.items():
        with_marks = marked(job.latex.split()) if job.located else None
        if with_marks is not None:
            body += "\n" + _page(beyond + number, job, _joined_dimensions(with_marks))
    secret = secrets.token_hex(8)  # TeX prints the formulas, too: none can know how a mark is written
    setting = {"font": FONTS[font], "secret": secret, "width": LARGEST_PT[0], "height": LARGEST_PT[1]}
    source = _PREAMBLE % setting + body + "\n\\csname @@end\\endcsname\n"
    (folder / "formulas.tex").write_text(source, encoding="utf-8")
    command = ["latex", "-no-shell-escape", "-interaction=batchmode", "formulas.tex"]
    finished = _call(command, folder, seconds + _SECONDS_A_FORMULA * len(pages))
    log = folder / "formulas.log"
    lines = log.read_text(encoding="latin-1").splitlines() if log.is_file() else []
    if finished and not lines:
        raise RenderError(f"latex wrote no log; does `latex --version` work? Otherwise {INSTALL}.")
    failed: dict[int, str] = {}
    pages_in_file: list[int] = []
    ended: list[int] = []
    current: int | None = None
    mark_of = re.compile(rf"<{secret} (begin|end|large|ship) (\d+)(?: (\d+))?>")
    for place, line in enumerate(lines):
        mark = mark_of.search(line)
        if mark:
            kind, number = mark[1], int(mark[2])
            if kind == "begin":
                if current is not None:
                    failed.setdefault(current, "it has no end for TeX")
                current = number
            elif kind == "ship":
                pages_in_file.append(number)
            elif kind == "large":
                failed.setdefault(number, f"larger than {LARGEST_PT[0]} x {LARGEST_PT[1]} pt")
            elif number == current:
                current = None
                if mark[3] != "0":
                    failed.setdefault(number, "a group stays open")
                    break  # what follows would be set inside of it
                ended.append(number)
        elif line.startswith(("! ", "Missing character")):
            if current is not None:
                failed.setdefault(current, _reason(lines, place))
            elif not ended:
                raise RenderError(f"TeX cannot set up the font {font!r}: {line[2:].strip()} Perhaps {INSTALL}.")
    if not finished:  # without its end the file cannot be read
        pages_in_file = []
    return _Outcome(
        {number: reason for number, reason in failed.items() if number < beyond},
        [number for number in pages_in_file if number < beyond],
        [number - beyond for number in pages_in_file if number >= beyond],
        [number for number in ended if number < beyond],
    )


def _reason(lines: Sequence[str], place: int) -> str:
    """TeX's message, with the command that it stumbled over."""
    message = lines[place].removeprefix("! ").strip()
    if message.startswith("Undefined control sequence"):
        for line in lines[place + 1 : place + 4]:
            name = re.search(r"(\\[A-Za-z]+)\s*\Z", line)
            if name:
                return f"Undefined control sequence {name[1]}"
    return message[:160]


def _draw(folder: Path, dpi: int, pages: Sequence[int], done: Done, seconds: float) -> None:
    """Draw the pages with dvipng; where it gives up on one, it goes on behind it, and that one stays undone."""
    first = 0
    while first < len(pages):
        command = ["dvipng", "-q", "-D", str(dpi), "-T", "tight", "-z", "1", "-p", f"={first + 1}", "-l", f"={len(pages)}",
                   "-o", "%d.png", "formulas.dvi"]  # fmt: skip
        _call(command, folder, seconds + _SECONDS_A_FORMULA * (len(pages) - first))
        while first < len(pages) and _take(folder / f"{first + 1}.png", pages[first], done):
            first += 1
        first += 1


def _take(path: Path, number: int, done: Done) -> bool:
    """Read a page that was drawn, unless its formula has failed; False if it is not there or damaged."""
    if not path.is_file():
        return False
    try:
        with PIL.Image.open(path) as header:  # what is large by what was moved out of its box is not decoded
            width, height = header.size
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
        return False
    if width * height > _MOST_PIXELS:
        if done[number] is None:
            done[number] = Failure(f"a picture of {width} x {height} px")
        return True
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        return False
    if done[number] is None:
        inked = cropped(np.asarray(grey, np.uint8))
        done[number] = Failure("nothing is to be seen") if inked is None else Drawing(inked)
    return True


def _locate(folder: Path, dpi: int, outcome: _Outcome, jobs: dict[int, Job], done: Done) -> None:
    """Find where the glyphs of drawn formulas stand, and their tokens, of those whose page with marks is there, too."""
    try:
        pages = read_pages((folder / "formulas.dvi").read_bytes())
    except (OSError, RenderError):
        return  # the pictures are good all the same
    plain = dict(zip(outcome.pages, pages, strict=False))
    for number, pieces in plain.items():
        drawing = done[number]
        if isinstance(drawing, Drawing) and jobs[number].with_glyphs:
            done[number] = dataclasses.replace(drawing, glyphs=tuple(pieces))
    for number, with_marks in zip(outcome.marked_pages, pages[len(outcome.pages) :], strict=False):
        drawing = done[number]
        if isinstance(drawing, Drawing) and number in plain:
            tokens = jobs[number].latex.split()
            places = boxes_of(plain[number], with_marks, tokens, drawing.grey.shape, dpi)
            done[number] = dataclasses.replace(drawing, places=places)


def cropped(grey: Grey) -> Grey | None:
    """The part of a picture that holds ink (anything but paper, 255); None if there is none."""
    inked = grey < 255
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if not len(rows):
        return None
    return np.ascontiguousarray(grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _call(command: Sequence[str], folder: Path, seconds: float) -> bool:
    """Run a program of TeX Live in a folder, bounded; whether it came to its end in time."""
    environment = {
        "PATH": os.environ.get("PATH", ""), "HOME": str(folder), "TEXMFOUTPUT": str(folder),
        "openin_any": "p", "openout_any": "p", "shell_escape": "f", "max_print_line": "2000", "error_line": "200",
        "half_error_line": "100",
        # Fonts of a resolution are made once; not once for each run.
        "TEXMFVAR": os.environ.get("TEXMFVAR") or str(_fonts_folder() or folder),
    }  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 (fixed programs, on a file that was checked)
            command, cwd=folder, env=environment, timeout=_PATIENCE * seconds, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_bound(seconds), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode >= 0  # negative: ended by a signal, as limits do


def _fonts_folder() -> Path | None:
    """Where fonts are kept from run to run: a folder of this user's; None if somebody else has made it."""
    user = os.getuid() if hasattr(os, "getuid") else None
    folder = Path(tempfile.gettempdir()) / f"hmer-texmf-{user if user is not None else 'user'}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder if user is None or (not folder.is_symlink() and folder.stat().st_uid == user) else None
    except OSError:
        return None


def _bound(seconds: float) -> Callable[[], None] | None:
    """Limits on time, memory and file size for the child, where the system has them."""
    if sys.platform == "win32":
        return None
    limits = ((resource.RLIMIT_CPU, int(seconds) + 1), (resource.RLIMIT_AS, _MEMORY_BYTES),
              (resource.RLIMIT_FSIZE, _FILE_BYTES), (resource.RLIMIT_CORE, 0))  # fmt: skip

    def bound() -> None:
        for kind, most in limits:
            resource.setrlimit(kind, (most, most))

    return bound
