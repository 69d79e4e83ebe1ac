r"""What composed formulas are spelt with: letters with their accents, fonts and scripts, relations, signs, sizes of brackets.

Tables hold what is drawn from, what is frequent several times.
"""

from collections.abc import Sequence

from hmer.augment import Random

LATIN = r"a b c d e f g h k l m n p q r s t u v w x y z A B C D E F G H J K L M N P Q R S T U V W X Y Z".split()
GREEK = r"""
    \alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \vartheta \kappa \lambda \mu \nu \xi \pi \rho
    \sigma \tau \phi \varphi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Phi \Psi \Omega \ell
    \partial \nabla \hbar \infty
    \mu \mu \mu \nu \phi \phi \pi \pi \delta \delta \alpha \beta \psi \lambda \gamma \sigma
""".split()
RARE = r"\triangle \imath \wp \bigtriangledown \jmath \Re \Im \vartheta \varrho".split()
INDICES = r"i i i j k l m n a b c 0 1 2 2 2 3 4 + - \mu \mu \nu \nu \rho \sigma \alpha \beta \lambda I J N A B".split()
MARKS = r"\dagger \dagger \dagger * \ast \perp \star \pm \mp \circ \| \infty".split()  # as scripts
ACCENTS = r"""
    \bar \bar \bar \bar \bar \bar \bar \tilde \tilde \tilde \tilde \tilde \hat \hat \hat \hat \dot \dot \dot \vec \vec \vec
    \overline \overline \widetilde \widehat \ddot \underline \check \breve
""".split()
FONTS = r"\mathcal \mathcal \mathbf \mathbf \mathrm \mathbb \boldsymbol \mathsf \mathfrak \mathit".split()
LABELS = "eff tot max min in out int kin ren phys BRST F B L R T c p YM cl QCD gf even odd".split()  # words as scripts
RELATIONS = r"= = = = = = = \equiv \sim \simeq \approx \leq \geq < > \neq \rightarrow \propto \in \ll \gg".split()
SIGNS = r"+ + + + - - - - \pm \mp \cdot \times \otimes \oplus \wedge *".split()
SIZES = (r"\big", r"\big", r"\Big", r"\Big", r"\Big", r"\bigg", r"\bigg", r"\Bigg")
# Before an index that stands behind those of the other script: A ^ { i } _ { ~ j }.
STAGGERED = (
    ("~",), ("~",), (r"\,",), (r"\,",), (r"\;",), (r"\:",), ("~", "~"), (r"\quad",), (r"\;", r"\;"),
)  # fmt: skip


def pick(choices: Sequence[str], random: Random) -> str:
    return choices[int(random.integers(len(choices)))]


def a_letter(random: Random) -> list[str]:
    """A letter, now and then with an accent or two or in a font."""
    letter = pick(RARE if random.random() < 0.012 else GREEK if random.random() < 0.45 else LATIN, random)
    chance = random.random()
    tokens = [letter]
    if (chance < 0.02 or 0.16 <= chance < 0.24) and letter.isalpha():
        tokens = [pick(FONTS, random), "{", letter.upper() if random.random() < 0.7 else letter, "}"]
    if chance < 0.004:
        tokens += [pick("__^", random), "{", pick(INDICES, random), "}"]
    if chance < 0.14:
        tokens = [pick(ACCENTS, random), "{", *tokens, "}"]
    if 0.004 <= chance < 0.009:
        tokens = [pick([r"\dot", r"\bar", r"\hat", r"\vec"], random), "{", *tokens, "}"]
    return tokens


def scripted(base: list[str], random: Random) -> list[str]:
    """With a subscript, a superscript, both, one behind the other, some in front, or primes."""
    chance = random.random()
    if chance < 0.39:
        return [*base, "_", "{", *script(random), "}"]
    if chance < 0.72:
        return [*base, "^", "{", *script(random), "}"]
    if chance < 0.86:
        return [*base, "_", "{", *script(random), "}", "^", "{", *script(random), "}"]
    if chance < 0.886:  # tensors' indices keep their order
        first, second = ("_", "^") if random.random() < 0.7 else ("^", "_")
        inner, outer = [first, "{", *script(random), "}"], [second, "{", *script(random), "}"]
        return ["{", *base, *inner, "}", *outer] if random.random() < 0.5 else [*base, *inner, "{", "}", *outer]
    if chance < 0.9:
        return ["{", "}", pick("_^^", random), "{", *script(random), "}", *base]
    return [*base, "^", "{", *([r"\prime"] * int(random.integers(1, 3))), "}"]


def script(random: Random) -> list[str]:
    """What stands in a script, mostly one or two symbols."""
    chance = random.random()
    index = pick(INDICES, random)
    if random.random() < 0.03:
        return _long_script(random)
    if chance < 0.04:
        return [pick(MARKS, random)]
    if chance < 0.11:  # has scripts of its own
        own = [pick("__^", random), "{", pick(INDICES, random), "}"]
        return [pick([*LATIN, "i", r"\mu", r"\alpha"], random), *own]
    if chance < 0.14:
        return [pick([r"\mathrm", r"\mathrm", r"\text"], random), "{", *pick(LABELS, random), "}"]
    if chance < 0.17:
        return ["(", index, ")"]
    if chance < 0.2 and index not in "+-":
        return [pick(ACCENTS, random), "{", index, "}"]
    if chance < 0.23:
        below = pick("23nN", random)
        return ["1", "/", below] if random.random() < 0.5 else [r"\frac", "{", "1", "}", "{", below, "}"]
    if chance < 0.26:
        return [pick("ijkmn", random), pick("+-=", random), pick("0112", random)]
    staggered = STAGGERED[int(random.integers(len(STAGGERED)))] if chance < 0.31 else ()
    count = 1 + int(random.random() < 0.26) + int(random.random() < 0.08)
    inner = [*staggered, index, *(pick(INDICES, random) for _ in range(count - 1))]
    return inner if inner[-1] not in "+-" or count == 1 else [*inner, "1"]


def _long_script(random: Random) -> list[str]:
    """Several indices with their own, with signs or commas between, behind a small style now and then."""
    between = pick(["", "", "", ",", ",", "+", "-", "/", ";"], random)
    tokens: list[str] = []
    for _ in range(int(random.integers(2, 5))):
        tokens += [between] if tokens and between else []
        tokens.append(pick(INDICES[:13] + LATIN + GREEK, random))
        if random.random() < 0.4:
            tokens += [pick("__^", random), "{", pick(INDICES, random), "}"]
    return [r"\scriptscriptstyle", *tokens] if random.random() < 0.06 else tokens
