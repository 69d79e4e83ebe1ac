"""Repairs of the truths in CROHME's InkML files, some of which are no LaTeX or not what was written."""

import re

from hmer.latex import MAX_CHARACTERS

# Slips that occur in several files, and what was meant.
_REPAIRS = (
    (re.compile(r"\$"), ""),  # dollars left over inside, or without a partner; never part of the ink's truth
    (re.compile(r"\\(lt|gt)(?=[A-Za-z])"), r"\\\1 "),  # \ltN, where < was replaced and the blank forgotten
    (re.compile(r"\\parallel(?![A-Za-z])"), "||"),  # the bars of two norms side by side
    (
        re.compile(r"(?<![\\A-Za-z])(?:l ?o ?g|l ?i ?m)(?![A-Za-z])"),
        lambda found: "\\" + found[0].replace(" ", ""),
    ),
)
_ROOT_INDEX = " ABOVE "


def repair_truth(raw: str) -> str:
    r"""The truth of an InkML file as LaTeX without dollars, mended where it is broken.

    Repairs stray dollars, braces that close nothing, commands grown together with a letter (`\ltN`), `l o g`
    for `\log`, and root indices spelt `\sqrt {x} ABOVE {n}`. Sound truths keep their meaning.
    """
    if len(raw) > MAX_CHARACTERS:
        return raw
    text = raw
    for pattern, replacement in _REPAIRS:
        text = pattern.sub(replacement, text)
    return _move_root_indices(_drop_stray_closers(text))


def _drop_stray_closers(text: str) -> str:
    """The text without the closing braces that have no opening one."""
    kept, level = [], 0
    for piece in re.findall(r"\\.|.", text, re.DOTALL):
        if piece == "}" and level == 0:
            continue
        level += (piece == "{") - (piece == "}")
        kept.append(piece)
    return "".join(kept)


def _move_root_indices(text: str) -> str:
    r"""`\sqrt {x} ABOVE {n}` as `\sqrt[n] {x}`, from the inside out."""
    while (above := text.find(_ROOT_INDEX)) >= 0:
        root = _group_start(text, above)
        index = re.match(r"\{([^{}]*)\}", text[above + len(_ROOT_INDEX) :])
        if root < 0 or not index or not text[:root].rstrip().endswith(r"\sqrt"):
            return text
        end = above + len(_ROOT_INDEX) + index.end()
        text = f"{text[:root].rstrip()}[{index[1]}] {text[root:above]}{text[end:]}"
    return text


def _group_start(text: str, end: int) -> int:
    """Where the group starts that closes right before `end`; -1 if none does."""
    level = 0
    for here in range(end - 1, -1, -1):
        level += (text[here] == "}") - (text[here] == "{")
        if level == 0:
            return here if text[here] == "{" else -1
    return -1
