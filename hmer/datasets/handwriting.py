r"""Synthetic handwriting: formulas that somebody typed, written with symbols that others wrote.

CROHME's 109 tokens are a part of what people write. Here a list of formulas gives structure and context, a
`SymbolBank` gives strokes, and `hmer.datasets.layout` puts them where a hand would. The result is a dataset folder of
segmented ink, as good for training as any other.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hmer import latex
from hmer.augment import Random
from hmer.datasets.folder import write_labels
from hmer.datasets.layout import ACCENT_GLYPHS, ACCENTS, MATRICES, Hand
from hmer.datasets.recombine import group_end
from hmer.datasets.symbols import SymbolBank
from hmer.errors import DatasetError, LatexError
from hmer.ink import Ink, Stroke, Symbol, write_inkml
from hmer.vocabulary import UNWRITTEN

# What looks alike when a hand writes it, under the name that is learnt.
HANDWRITTEN = {
    r"\epsilon": r"\varepsilon", r"\varphi": r"\phi", r"\vartheta": r"\theta", r"\varrho": r"\rho", r"\ast": "*",
    r"\longrightarrow": r"\rightarrow", r"\longleftarrow": r"\leftarrow", r"\Longrightarrow": r"\Rightarrow",
    r"\Longleftarrow": r"\Leftarrow", r"\Longleftrightarrow": r"\Leftrightarrow", r"\longmapsto": r"\mapsto",
    r"\widehat": r"\hat", r"\widetilde": r"\tilde", r"\bigcup": r"\cup", r"\bigcap": r"\cap", r"\bigoplus": r"\oplus",
    r"\bigotimes": r"\otimes", r"\bigvee": r"\vee", r"\bigwedge": r"\wedge", r"\varnothing": r"\emptyset",
    r"\acute": r"\prime", r"\backslash": r"\setminus", r"\coprod": "", r"\bullet": "", r"\leqslant": r"\leq",
    r"\geqslant": r"\geq", r"\mid": "|", r"\top": "T", r"\bot": r"\perp",
}  # fmt: skip

# Tokens that can stand in each other's place without making nonsense of the layout.
_KINDS = (
    r"a b c d e f g h i j k l m n o p q r s t u v w x y z \alpha \beta \gamma \delta \varepsilon \zeta \eta \theta"
    r" \iota \kappa \lambda \mu \nu \xi \pi \rho \sigma \tau \phi \chi \psi \omega \ell \hbar \partial",
    r"A B C D E F G H I J K L M N O P Q R S T U V W X Y Z \Gamma \Delta \Theta \Lambda \Xi \Pi \Phi \Psi \Omega"
    r" \nabla \infty \emptyset",
    r"= < > \leq \geq \neq \equiv \approx \sim \simeq \cong \propto \subset \subseteq \supset \supseteq \in \notin \ni"
    r" \ll \gg \perp \vdash \| \rightarrow \leftarrow \leftrightarrow \Rightarrow \Leftarrow \Leftrightarrow \mapsto"
    r" \uparrow \downarrow \hookrightarrow : ;",
    r"+ - \times \div \pm \mp \oplus \otimes \ominus \odot \cup \cap \wedge \vee \circ \cdot * \setminus \star / \neg",
    r"\sum \prod \int \oint \iint",
    r"\hat \bar \vec \dot \ddot \tilde \check",
    r"\sin \cos \tan \log \lim \ln \exp \max \min \sup \inf \det \dim \ker \arg \deg \gcd \sec \csc \cot \sinh \cosh"
    r" \tanh \arctan \arcsin \arccos",
    r"\forall \exists \nabla \partial \neg \angle \square \dagger \# \%",
)
_KIND_OF = {token: kind.split() for kind in _KINDS for token in kind.split()}
_DELIMITERS = (("(", ")"), ("[", "]"), (r"\{", r"\}"), (r"\langle", r"\rangle"), (r"\lfloor", r"\rfloor"),
               (r"\lceil", r"\rceil"), ("|", "|"), (r"\|", r"\|"))  # fmt: skip
HAND = 60  # different symbols that make somebody's glyphs a hand
_ADDITIONS = ("?", r"\aleph", r"\vdots", r"\ddots", r"\updownarrow", r"\&", r"\because", r"\models", r"\star")
_LAID_OUT = UNWRITTEN | {r"\frac", r"\sqrt"}


def handwritten_tokens(formula: str) -> list[str] | None:
    """The tokens of a formula as a hand would write it, or None where it has what nobody writes."""
    try:
        tokens = latex.label_tokens(formula, "crohme")
    except LatexError:
        return None
    renamed = [HANDWRITTEN.get(token, token) for token in tokens]
    for index, token in enumerate(renamed):
        if token in (r"\bar", r"\overline") and index + 1 < len(renamed) and renamed[index + 1] == "{":
            renamed[index] = r"\bar" if group_end(renamed, index + 1) == index + 4 else r"\overline"
    return None if "" in renamed else _without_empty_bases(renamed)


_WITH_ARGUMENT = ACCENTS | {"^", "_", "{", "}", r"\frac", r"\sqrt", r"\limits"}


def _without_empty_bases(tokens: list[str]) -> list[str]:
    """Without the empty braces between a symbol, accented or not, and its script: they cannot be seen.

    As in f { } ^ { \\prime } and \\vec { r } { } ^ { \\prime }.
    """
    kept: list[str] = []
    index = 0
    while index < len(tokens):
        empty = tokens[index : index + 2] == ["{", "}"] and tokens[index + 2 : index + 3] in (["^"], ["_"])
        if empty and kept and (kept[-1] not in _WITH_ARGUMENT or _ends_accented(kept)):
            index += 2
        kept.append(tokens[index])
        index += 1
    return kept


def _ends_accented(tokens: Sequence[str]) -> bool:
    """Whether the last token closes the argument of an accent."""
    depth = 0
    for index in range(len(tokens) - 1, 0, -1):
        depth += (tokens[index] == "}") - (tokens[index] == "{")
        if depth == 0:
            return tokens[index] == "{" and tokens[index - 1] in ACCENTS
    return False


class Composer:
    """Writes formulas with the symbols of a bank; rare tokens are taken more often than they were typed."""

    def __init__(
        self,
        bank: SymbolBank,
        formulas: Iterable[str],
        *,
        longest: int,
        exclude: Iterable[Sequence[str]] = (),
        matrices: float = 0.05,
        hands: float = 0.0,
    ) -> None:
        """`formulas` as LaTeX; `exclude` holds captions (tokens) that are not to be written. Raises DatasetError.

        A share of `matrices` is made of short formulas in rows: of those, lists have few. A share of `hands` is written
        by one writer, all of its symbols that he ever wrote.
        """
        self.bank, self.matrices, self.hands = bank, matrices, hands
        self.writers = bank.writers(HAND)
        self.environments = {rf"\{end}{{{name}}}" for name in MATRICES for end in ("begin", "end")}
        kept = set(map(tuple, exclude))
        self.formulas = []
        for formula in formulas:
            tokens = handwritten_tokens(formula)
            if tokens and len(tokens) <= longest and tuple(tokens) not in kept and self._writable(tokens):
                self.formulas.append(tuple(tokens))
        if not self.formulas:
            raise DatasetError("None of the formulas can be written with these symbols; give more formulas or symbols.")
        self._cells = [formula for formula in self.formulas if len(formula) <= 5] or self.formulas
        self.counts: Counter[str] = Counter()

    def _writable(self, tokens: Iterable[str]) -> bool:
        return all(
            token in _LAID_OUT
            or token in self.environments
            or (ACCENT_GLYPHS.get(token, token) if token in ACCENTS else token) in self.bank
            for token in tokens
        )

    def make(self, random: Random) -> tuple[tuple[str, ...], Ink]:
        """A formula and its ink, symbols in the order of the tokens."""
        while True:
            tokens = self._chosen(random)
            drawn: dict[str, Sequence[Stroke]] = {}
            own = random.random() < 0.5  # one writer writes a symbol much the same each time
            alone = self.writers and random.random() < self.hands
            writer = self.writers[int(random.integers(len(self.writers)))] if alone else ""

            def draw(
                token: str, drawn: dict[str, Sequence[Stroke]] = drawn, own: bool = own, writer: str = writer
            ) -> Sequence[Stroke]:
                if token not in drawn or not own:
                    drawn[token] = self.bank.pick(token, random, writer).strokes
                return drawn[token]

            try:
                box = Hand(draw, random).write(tokens)
            except LatexError:
                continue
            self.counts.update(set(tokens))
            return tokens, _ink(tokens, sorted(box.placed, key=lambda placed: placed[0]), writer)

    def _chosen(self, random: Random) -> tuple[str, ...]:
        """A formula as typed or with other symbols, or a single symbol."""
        if random.random() < 0.06:
            return (self._rare([token for token in self._singles if token in self.bank], random),)
        tokens = self._any(self.formulas, random)
        if random.random() < self.matrices:
            tokens = self._rows(random)
        exchanged: dict[str, str] = {}
        if random.random() < 0.7:
            for token in sorted(set(tokens)):
                if token in _KIND_OF and random.random() < 0.35:
                    others = [other for other in _KIND_OF[token] if self._writable([other])]
                    exchanged[token] = self._rare(others, random)
            if "(" in tokens and r"\sqrt" not in tokens and random.random() < 0.3:
                pairs = [pair for pair in _DELIMITERS if self._writable(pair)]
                exchanged |= dict(zip("()", pairs[int(random.integers(len(pairs)))], strict=True))
        return _with_limits([exchanged.get(token, token) for token in tokens])

    def _any(self, formulas: Sequence[tuple[str, ...]], random: Random) -> tuple[str, ...]:
        return formulas[int(random.integers(len(formulas)))]

    def _rows(self, random: Random) -> tuple[str, ...]:
        """A matrix or a choice of cases, often after a symbol and an equals sign."""
        name = tuple(MATRICES)[int(random.integers(len(MATRICES)))]
        columns = 2 if name == "cases" else int(random.integers(1, 4))
        tokens: list[str] = []
        for row in range(int(random.integers(2, 4))):
            tokens += [r"\\"] if row else []
            for column in range(columns):
                cell: Sequence[str] = self._any(self._cells, random)
                if name != "cases" and random.random() < 0.6:
                    cell = [token for token in cell if token.isalnum()][:1] or ["0"]
                tokens += [*(["&"] if column else []), *cell]
        capitals = [token for token in _KINDS[1].split() if token in self.bank]
        before = [self._rare(capitals, random), "="] if random.random() < 0.5 else []
        return (*before, rf"\begin{{{name}}}", *tokens, rf"\end{{{name}}}")

    @property
    def _singles(self) -> list[str]:
        return [token for token in (*_KIND_OF, *_ADDITIONS) if token not in ACCENTS]

    def _rare(self, tokens: Sequence[str], random: Random) -> str:
        weights = np.array([(20 + self.counts[token]) ** -0.75 for token in tokens])
        return tokens[int(random.choice(len(tokens), p=weights / weights.sum()))]


def _with_limits(tokens: Sequence[str]) -> tuple[str, ...]:
    r"""The crohme form again: `\limits` before the scripts of what has them, and nowhere else."""
    return tuple(latex.reduce([token for token in tokens if token != r"\limits"], "crohme"))


def _ink(tokens: Sequence[str], placed: Sequence[tuple[int, tuple[Stroke, ...]]], writer: str) -> Ink:
    strokes: list[Stroke] = []
    symbols = []
    for position, own in placed:
        # Segmentations call the bar of a fraction a minus.
        label = "-" if tokens[position] == r"\frac" else tokens[position]
        symbols.append(Symbol(label, tuple(range(len(strokes), len(strokes) + len(own)))))
        strokes += own
    return Ink(tuple(strokes), tuple(symbols), truth=" ".join(tokens), writer=writer)


def shuffled(formulas: Sequence[tuple[str, str]], cap: int = 20_000, seed: int = 0) -> Iterator[str]:
    """The LaTeX of (source, LaTeX) in another order, at most `cap` of each source."""
    taken: Counter[str] = Counter()
    for index in np.random.default_rng(seed).permutation(len(formulas)).tolist():
        source, formula = formulas[index]
        if taken[source] < cap:
            taken[source] += 1
            yield formula


def compose(
    composer: Composer, out: Path, count: int, seed: int, progress: Callable[[int], None] | None = None
) -> None:
    """Write a dataset folder of `count` formulas. Raises DatasetError if `out` exists."""
    if out.exists():
        raise DatasetError(f"{out}: exists already; choose another folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    random = np.random.default_rng(seed)
    rows = []
    try:
        for number in range(count):
            tokens, ink = composer.make(random)
            name = f"{number:06}.inkml"
            write_inkml(ink, temporary / name, resolution=100.0)
            rows.append((name, " ".join(tokens), ink.writer))
            if progress:
                progress(1)
        write_labels(temporary, rows, ("file", "latex", "writer"))
        temporary.chmod(0o755)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
