"""Lists of formulas as dataset folders of pictures: what they look like, chunk after chunk, resumable.

A chunk of formulas is typeset, written and noted before the next is begun, so that a run that was stopped goes on where
it was; formulas and looks depend on the seed and the number of the chunk alone.
"""

import dataclasses
import functools
import json
import multiprocessing
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from hmer import latex, tex
from hmer.augment import Random
from hmer.config import check
from hmer.datasets.folder import LABELS, write_labels
from hmer.errors import DatasetError, LatexError, RenderError
from hmer.image import Grey
from hmer.places import PLACES, Boxes, write_places
from hmer.tex import Failure, Job, cropped

Style = Literal["varied", "im2latex"]

CHUNK = 1_000
COLUMNS = ("file", "latex", "source", "look", PLACES)
PLAN, REFUSED = "plan.json", "not_rendered.tsv"
IM2LATEX_DPI = 200
# The sizes that IM2LaTeX-100k's pictures were padded to, at the right and below (im2markup).
BUCKETS_PX = ((120, 50), (160, 40), (200, 40), (200, 50), (240, 40), (240, 50), (280, 40), (280, 50), (320, 40), (320, 50),
              (360, 40), (360, 50), (360, 60), (400, 40), (400, 50), (360, 100), (500, 100))  # fmt: skip
_MARGIN_PX = 4


@dataclass(frozen=True)
class Look:
    """How one formula is to look; ink and paper are RGB."""

    name: str = "im2latex"  # or "tex", "ziamath"
    font: str = "computer modern"
    size_pt: int = 10
    dpi: int = IM2LATEX_DPI
    number: str = ""
    gap_pt: int = 60
    ink: tuple[int, int, int] = (0, 0, 0)
    paper: tuple[int, int, int] = (255, 255, 255)
    margin_px: int = _MARGIN_PX

    def describe(self) -> str:
        """The look in a word or two, for the column `look` of labels.tsv."""
        colour = "dark" if sum(self.paper) < sum(self.ink) else "coloured" if self.ink != (0, 0, 0) else ""
        plain = f"{self.font} {self.size_pt}pt {self.dpi}dpi" if self.name == "tex" else self.name
        return f"{plain} {colour}".strip()

    def moved(self, places: Boxes) -> Boxes:
        """Where what stands there in the formula's ink stands in the finished picture."""
        halved = self.name == "im2latex"
        boxes = places.copy()
        boxes[:, 1:] = (places[:, 1:] + 2 * _MARGIN_PX) / 2 if halved else places[:, 1:] + self.margin_px
        return boxes


@dataclass(frozen=True)
class Picture:
    """A picture (H, W) grey or (H, W, 3) RGB, and where the tokens of its label stand in it, if that is known."""

    pixels: npt.NDArray[np.uint8]
    places: Boxes | None = None


def draw_look(random: Random) -> Look:
    """A look at random: nearly half as IM2LaTeX-100k, the others of any font, size, resolution and colour."""
    number = ""
    if random.random() < 0.04:
        first, second = int(random.integers(1, 30)), int(random.integers(1, 60))
        number = (f"({first})", f"({first}.{second})", f"({second}a)", f"[{first}]")[int(random.integers(4))]
    gap_pt = int(random.integers(45, 120))
    if random.random() < 0.45:
        return Look(number=number, gap_pt=gap_pt)
    fonts = list(tex.FONTS)
    font = fonts[int(random.choice(len(fonts), p=(0.5, 0.12, 0.07, 0.12, 0.07, 0.12)))]
    size_pt = int(random.choice(tex.SIZES_PT, p=(0.1, 0.1, 0.35, 0.15, 0.2, 0.1)))
    dpi = int(random.choice((75, 90, 100, 120, 150, 200, 300), p=(0.08, 0.12, 0.25, 0.2, 0.15, 0.12, 0.08)))
    ink, paper = (0, 0, 0), (255, 255, 255)
    chance = random.random()
    if chance < 0.1:  # a dark theme
        dark, light = int(random.integers(0, 60)), int(random.integers(180, 256))
        paper = _tinted(dark, 14, random)
        ink = _tinted(light, 40, random)
    elif chance < 0.2:
        ink = _tinted(int(random.integers(0, 120)), 60, random)
        paper = _tinted(int(random.integers(225, 256)), 20, random)
    name = "ziamath" if random.random() < 0.06 else "tex"
    margin = int(random.integers(0, 30))
    return Look(name, font, size_pt, dpi, number, gap_pt, ink, paper, margin)


def _tinted(level: int, spread: int, random: Random) -> tuple[int, int, int]:
    red, green, blue = (int(np.clip(level + random.integers(-spread, spread + 1), 0, 255)) for _ in range(3))
    return red, green, blue


def render(formulas: Sequence[str], looks: Sequence[Look], *, located: bool = False) -> list[Picture | Failure]:
    """A picture, or a Failure, for each formula; `located` as in `hmer.tex.Job`. Raises RenderError without TeX."""
    results: list[Picture | Failure | None] = [None] * len(formulas)
    for place, (formula, look) in enumerate(zip(formulas, looks, strict=True)):
        if look.name == "ziamath" and is_simple(formula):
            drawn = ziamath_picture(formula, look.size_pt * look.dpi / 72)
            results[place] = None if drawn is None else Picture(_finished(drawn, look))
    rest = [place for place, result in enumerate(results) if result is None]
    jobs = [
        Job(formulas[place], look.font, look.size_pt, look.dpi, look.number, look.gap_pt, located)
        for place in rest
        for look in [looks[place]]
    ]
    for place, drawing in zip(rest, tex.draw(jobs) if jobs else [], strict=True):
        if isinstance(drawing, Failure):
            results[place] = drawing
        else:
            moved = None if drawing.places is None else looks[place].moved(drawing.places)
            results[place] = Picture(_finished(drawing.grey, looks[place]), moved)
    return [result if result is not None else Failure("was not drawn") for result in results]


def _finished(grey: Grey, look: Look) -> npt.NDArray[np.uint8]:
    if look.name == "im2latex":
        return as_im2latex(grey)
    margin = look.margin_px
    framed = cv2.copyMakeBorder(grey, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=255.0)
    if look.ink == (0, 0, 0) and look.paper == (255, 255, 255):
        return np.asarray(framed, np.uint8)
    share = framed.astype(np.float32)[:, :, None] / 255
    coloured = np.array(look.paper, np.float32) * share + np.array(look.ink, np.float32) * (1 - share)
    return np.round(coloured).astype(np.uint8)


def as_im2latex(grey: Grey) -> Grey:
    """A formula drawn at 200 dpi as IM2LaTeX-100k's pictures are: every pixel that ink touches black, then halved.

    That is what Ghostscript without anti-aliasing and the halving of im2markup gave; padded to the next of its sizes.
    """
    black = np.where(grey < 255, 0, 255).astype(np.uint8)
    edge = 2 * _MARGIN_PX
    framed = cv2.copyMakeBorder(
        black, edge, edge + black.shape[0] % 2, edge, edge + black.shape[1] % 2, cv2.BORDER_CONSTANT, value=255.0
    )
    size = (framed.shape[1] // 2, framed.shape[0] // 2)
    halved = np.asarray(Image.fromarray(np.asarray(framed, np.uint8)).resize(size, Image.Resampling.LANCZOS), np.uint8)
    for width, height in BUCKETS_PX:
        if halved.shape[1] <= width and halved.shape[0] <= height:
            below, right = height - halved.shape[0], width - halved.shape[1]
            return np.asarray(
                cv2.copyMakeBorder(halved, 0, below, 0, right, cv2.BORDER_CONSTANT, value=255.0), np.uint8
            )
    return halved


# What ziamath sets as TeX does; of the rest it is silent where it knows a command and draws nothing.
_SIMPLE = re.compile(
    r"[A-Za-z0-9+\-=<>()\[\],.|/!:;{}_^]|\\(?:frac|sqrt|sum|int|prod|alpha|beta|gamma|delta|epsilon|zeta|eta|theta|lambda|mu|nu|xi|pi|rho"
    r"|sigma|tau|phi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Sigma|Phi|Psi|Omega|infty|partial|nabla|leq|geq|neq|approx|equiv|times|cdot"
    r"|pm|in|subset|cup|cap|rightarrow|sin|cos|tan|log|ln|exp|hat|bar|vec|prime|ldots|cdots|left|right|mathbb|mathcal)"
)


def is_simple(formula: str) -> bool:
    """Whether every token is one that ziamath is known to set."""
    return all(_SIMPLE.fullmatch(token) for token in latex.split(formula))


def ziamath_picture(formula: str, size_px: float) -> Grey | None:
    """The formula by ziamath in STIX Two, cropped; None if it is not installed or fails."""
    try:
        import resvg_py
        from ziamath.zmath import Latex
    except ImportError:
        return None
    try:
        drawing = Latex(formula, size=size_px, margin=4).svg()
        data = bytes(resvg_py.svg_to_bytes(svg_string=drawing, background="white", skip_system_fonts=True))
    except Exception:  # its parser and latex2mathml's fail in many ways
        return None
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if grey is None else cropped(np.asarray(grey, np.uint8))


@dataclass(frozen=True)
class Plan:
    """What a folder is rendered from; a run goes on only under the same plan."""

    style: Style
    label_form: str
    count: int
    seed: int
    source: str  # of the formulas: a hash of list and settings

    def __post_init__(self) -> None:
        check(self.count > 0, "There is no formula to render.")


@dataclass(frozen=True)
class Rendered:
    """What is in the folder in the end: pictures, and formulas that could not be rendered, by reason."""

    count: int
    refused: int
    reasons: tuple[tuple[str, int], ...]


def render_chunk(
    folder: Path, plan: Plan, number: int, formulas: Sequence[tuple[str, str]], *, as_given: bool = False
) -> None:
    """Render a chunk of (source, formula) into `folder`; what it did is noted last.

    The label form is what is typeset, so that the picture shows what the label says; with `as_given` the formula itself is.
    """
    random = np.random.default_rng((plan.seed, number, 1))
    labels: list[str] = []
    sources: list[str] = []
    for _, formula in formulas:
        try:
            label = " ".join(latex.label_tokens(formula, plan.label_form))
        except LatexError:
            label = ""
        labels.append(label)
        sources.append(formula if as_given or not label else label)
    looks = [Look() if plan.style == "im2latex" else draw_look(random) for _ in formulas]
    pictures = render(sources, looks, located=not as_given)
    pages = folder / f"{number:04}"
    pages.mkdir(parents=True, exist_ok=True)
    lines, refused = [], []
    for index, ((source, formula), label, look, picture) in enumerate(
        zip(formulas, labels, looks, pictures, strict=True)
    ):
        if isinstance(picture, Failure) or not label:
            reason = picture.reason if isinstance(picture, Failure) else "its label is empty"
            if not label:
                reason = _refusal(formula)
            refused.append("\t".join((_flat(formula), _flat(reason))))
            continue
        name = f"{number:04}/{index:04}.png"
        _write_png(folder / name, picture.pixels)
        lines.append("\t".join((name, label, source, look.describe(), write_places(picture.places))))
    (pages / REFUSED).write_text("".join(line + "\n" for line in refused), encoding="utf-8")
    temporary = pages / f"{LABELS}.new"
    temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    os.replace(temporary, pages / LABELS)


def _refusal(formula: str) -> str:
    try:
        latex.normalise(formula)
    except LatexError as error:
        return f"refused: {error}"
    return "nothing is to be seen"


def _flat(text: str) -> str:
    return re.sub(r"[\t\r\n]+", " ", text)


def _write_png(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    bgr = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    assert done
    path.write_bytes(data.tobytes())


def begin(folder: Path, plan: Plan) -> None:
    """Note the plan in a new folder, or check it in one that was begun. Raises DatasetError."""
    folder.mkdir(parents=True, exist_ok=True)
    noted = json.dumps(dataclasses.asdict(plan), indent=1) + "\n"
    file = folder / PLAN
    if file.is_file():
        if file.read_text(encoding="utf-8") != noted:
            raise DatasetError(
                f"{folder}: was begun with other formulas or settings; choose another folder, or delete it."
            )
    elif any(path.name != f"{PLAN}.new" for path in folder.iterdir()):
        raise DatasetError(f"{folder}: holds something else; choose a new folder.")
    else:
        (folder / f"{PLAN}.new").write_text(noted, encoding="utf-8")
        os.replace(folder / f"{PLAN}.new", file)


def chunks_left(folder: Path, plan: Plan) -> list[int]:
    """The numbers of the chunks that are still to be rendered."""
    return [number for number in range(-(-plan.count // CHUNK)) if not (folder / f"{number:04}" / LABELS).is_file()]


def finish(folder: Path) -> Rendered:
    """Gather the chunks into labels.tsv and not_rendered.tsv."""
    rows: list[list[str]] = []
    refused: list[list[str]] = []
    for part in sorted(folder.glob(f"[0-9]*/{LABELS}")):
        lines = part.read_text(encoding="utf-8").split("\n")[:-1]
        rows += [(line.split("\t") + [""])[: len(COLUMNS)] for line in lines]  # those of older folders have no places
        refused += [line.split("\t") for line in (part.parent / REFUSED).read_text(encoding="utf-8").split("\n")[:-1]]
    write_labels(folder, rows, COLUMNS)
    text = "latex\treason\n" + "".join("\t".join(row) + "\n" for row in refused)
    (folder / REFUSED).write_text(text, encoding="utf-8")
    reasons = Counter(_kind_of(row[-1]) for row in refused)
    return Rendered(len(rows), len(refused), tuple(reasons.most_common()))


def _kind_of(reason: str) -> str:
    """A reason without what is particular to one formula."""
    return re.sub(r"\s+Did you mean.*", "", reason)[:80]


Make = Callable[[int], Sequence[tuple[str, str]]]  # number of a chunk -> its (source, formula)


def render_dataset(
    folder: Path,
    plan: Plan,
    make: Make,
    *,
    as_given: bool = False,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Rendered:
    """Render what is left of a plan; `progress` is told how many formulas were done. Raises RenderError, DatasetError."""
    if not tex.is_installed():
        raise RenderError(f"latex and dvipng are not installed; {tex.INSTALL}.")
    begin(folder, plan)
    left = chunks_left(folder, plan)
    work = functools.partial(_make_and_render, folder, plan, make, as_given)
    if progress is not None:
        progress(plan.count - sum(min(CHUNK, plan.count - number * CHUNK) for number in left))
    if processes <= 1:
        for size in map(work, left):
            if progress is not None:
                progress(size)
    else:
        several = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
        # Given to each process once: what composes formulas holds all their parts.
        with several.Pool(processes, initializer=_begin_process, initargs=(work,)) as pool:
            for size in pool.imap_unordered(_in_process, left):
                if progress is not None:
                    progress(size)
    return finish(folder)


_work: Callable[[int], int]  # of a process among several


def _begin_process(work: Callable[[int], int]) -> None:
    global _work  # a pool can be given it in no other way
    _work = work


def _in_process(number: int) -> int:
    return _work(number)


def _make_and_render(folder: Path, plan: Plan, make: Make, as_given: bool, number: int) -> int:
    cv2.setNumThreads(1)
    formulas = make(number)
    render_chunk(folder, plan, number, formulas, as_given=as_given)
    return len(formulas)
