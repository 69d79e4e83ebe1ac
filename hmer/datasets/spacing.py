"""Spaces as authors put them by hand, for composed formulas."""

from collections.abc import Sequence

from hmer.augment import Random
from hmer.datasets.letters import GREEK, LATIN, RELATIONS, SIGNS, SIZES, pick

# Authors put a little space where they please, before a comma, say; most never do, some all the time.
GAPS = (
    *[(r"\,",)] * 11, *[("~",)] * 6, *[(r"\;",)] * 4, (r"\,", r"\,"), ("~", "~"), (r"\;", r"\;"), (r"\:",), (r"\!",),
)  # fmt: skip
_STREWN = (*[r"\,"] * 6, *["~"] * 4, *[r"\;"] * 4, *[r"\!"] * 4, *[r"\:"] * 2, *[r"\quad"] * 2, r"\qquad")
BEFORE_STOPS = (*GAPS, *[(r"\;",)] * 4, *[(r"\quad",)] * 5, (r"\:",), ("~", "~"))
_CLOSING = {"}", ")", "]", r"\}", r"\rangle", r"\prime", "!"}
_LETTERS = {*LATIN, *GREEK, *"0123456789ijoIO"}


def spaced(tokens: Sequence[str], random: Random) -> list[str]:
    """The tokens as an author writes them who puts in spaces by hand: one kind, at the same kinds of places each time.

    At some of those places or, with many authors, at nearly all; not in scripts, in fonts or next to an edge.
    """
    usual, other = (GAPS[int(random.integers(len(GAPS)))] for _ in range(2))
    share = random.uniform(0.5, 1.0) if random.random() < 0.5 else random.uniform(0.05, 0.4)
    around_relations, after_relations, around_signs, in_products, at_commas = (random.random() < 0.45 for _ in range(5))
    result: list[str] = []
    groups: list[str] = []  # what each open group belongs to: the parts of fractions are set as wide as what is outside
    closed = before = ""
    ends = False
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        result.append(token)
        if token == "{":
            groups.append(r"\frac below" if before == "}" and closed == r"\frac" else before)
        elif token == "}" and groups:
            closed = groups.pop()
        ended, ends = ends, token in _CLOSING or token in _LETTERS  # a sign after neither is no operation
        before = token
        if following in ("{", "}", "^", "_", "&", r"\\", r"\limits", r"\right", "") or following.startswith(r"\end"):
            continue
        if any(group not in (r"\frac", r"\frac below", r"\sqrt") for group in groups):
            continue
        wanted = (
            (token in RELATIONS and (around_relations or after_relations))
            or (ends and following in RELATIONS and around_relations)
            or (around_signs and ((token in SIGNS and ended) or (ends and following in SIGNS)))
            or (at_commas and (token == "," or (ends and following in ",.;")))
        )
        if (
            not wanted
            and in_products
            and following not in (*RELATIONS, *SIGNS, ",", ".", ";", ")", "]", "|", "!", r"\}")
        ):
            wanted = token in _CLOSING or (token in _LETTERS and random.random() < 0.25)
        if wanted and random.random() < share:
            result += usual if random.random() < 0.9 else other
    return result


_STREWN_GROUPS = (r"\frac", "}", r"\sqrt", "^", "_")  # what a group stands behind; "}" is a fraction's


def strewn(tokens: Sequence[str], random: Random) -> list[str]:
    """The tokens with spaces of all kinds in any row, scripts' too: so their widths are told, not who puts them where."""
    share = random.uniform(0.05, 0.2)
    result: list[str] = []
    groups: list[str] = []
    before = ""
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        result.append(token)
        if token == "{":
            groups.append(before)
        elif token == "}" and groups:
            groups.pop()
        before = token
        if following in ("{", "}", "^", "_", "&", r"\\", r"\limits", "") or following.startswith(r"\end"):
            continue
        if token in (r"\left", r"\right", r"\sqrt", r"\not", "&", r"\\") or token.startswith(SIZES):
            continue
        if all(group in _STREWN_GROUPS for group in groups) and random.random() < share:
            result.append(pick(_STREWN, random))
    return result
