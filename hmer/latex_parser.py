"""The parser behind hmer.latex.normalise: LaTeX as it is typed in, canonical tokens out."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from hmer import latex_symbols as known
from hmer.errors import LatexError
from hmer.latex_atoms import (
    CONTROL_SPACE,
    Item,
    Row,
    emit,
    emit_rows,
    flatten,
    protect_brackets,
    spell_control_spaces,
)
from hmer.latex_commands import argument_style, count_columns, in_font, infix_item, simplify, symbols
from hmer.latex_lexer import (
    DIMENSION,
    WORD_COMMAND,
    Token,
    environment_name,
    is_unknown,
    shortened,
    tokenise,
    unknown_command,
)

Arrange = Callable[[list[Item], int], list[Item]]
MAX_DEPTH = 60  # of nested braces, delimiters and environments; keeps the parser far from Python's recursion limit
MAX_CHARACTERS = 20_000


def parse(latex: str, arrange: Arrange = lambda items, _: items) -> list[str]:
    """The canonical tokens of a formula. Raises LatexError, with the place, if it is not well-formed.

    `arrange` is given the items of each list of mathematics, and the style there (0 display, 1 text, 2 script, 3 script of
    script), to respell them.
    """
    if len(latex) > MAX_CHARACTERS:
        raise LatexError(
            f"The formula has {len(latex):,} characters; at most {MAX_CHARACTERS:,} are read.",
            MAX_CHARACTERS,
            len(latex),
        )
    return _Parser(latex, arrange).formula()


class _Parser:
    """Recursive descent over raw tokens; every method leaves `pos` behind what it has read."""

    def __init__(self, source: str, arrange: Arrange) -> None:
        self.source, self.arrange = source, arrange
        self.tokens = tokenise(source)
        self.pos = 0
        self.depth = 0
        self.style = 0  # 0 display, 1 text, 2 script, 3 script of script
        self.infix_lists = _lists_with_infix(self.tokens)

    # -- small helpers --

    def peek(self) -> str:
        """The text of the next token; empty at the end."""
        return self.tokens[self.pos].text if self.pos < len(self.tokens) else ""

    def next(self) -> Token:
        token = self.tokens[self.pos]
        self.pos += 1
        return token

    def error(self, message: str, token: Token | None = None) -> LatexError:
        """A LatexError about a token; about the next one if none is given."""
        if token is None:
            here = len(self.source)
            token = self.tokens[self.pos] if self.pos < len(self.tokens) else Token("", here, here)
        return LatexError(message, token.start, token.end)

    def fail(self, message: str, token: Token | None = None) -> NoReturn:
        raise self.error(message, token)

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"The formula is nested more than {MAX_DEPTH} deep; write it with fewer braces.")

    # -- the whole formula --

    def formula(self) -> list[str]:
        self.strip_wrappers()
        outer = environment_name(self.peek(), r"\begin")
        if outer.rstrip("*") in known.OUTER_ENVIRONMENTS:
            items = self.outer_environment(outer)
        else:
            items = self.items()
            while self.peek() in (r"\\", r"\cr") and self.pos == len(self.tokens) - 1:
                self.pos += 1
        if self.pos < len(self.tokens):
            self.unexpected()
        return emit(items)

    def strip_wrappers(self) -> None:
        """Drop the dollars or brackets around the formula, and the environments that hold one row."""
        pairs = {"$": "$", r"\(": r"\)", r"\[": r"\]", r"\begin{equation}": r"\end{equation}",
                 r"\begin{equation*}": r"\end{equation*}", r"\begin{math}": r"\end{math}",
                 r"\begin{displaymath}": r"\end{displaymath}"}  # fmt: skip
        start, end = 0, len(self.tokens)
        while end - start >= 2 and pairs.get(self.tokens[start].text) == self.tokens[end - 1].text:
            start, end = start + 1, end - 1
        if start:
            self.tokens = self.tokens[start:end]
            self.infix_lists = _lists_with_infix(self.tokens)

    def outer_environment(self, name: str) -> list[Item]:
        opener = self.next()
        base = name.rstrip("*")
        becomes = known.OUTER_ENVIRONMENTS[base]
        arguments = [self.raw_argument(opener)] if base == "alignat" else []
        rows = self.rows(opener, name, display=True, columns=0)
        if len(rows) == 1 and not rows[0].rules:
            return flatten([item for cell in rows[0].cells for item in cell])
        if becomes == "array":
            arguments = [["r", "c", "l"]]
        return [self.environment_item(becomes or "gathered", arguments, rows)]

    def unexpected(self) -> NoReturn:
        """Explain a token that closes or separates something that is not there."""
        token = self.tokens[self.pos]
        text = token.text
        if text == "}":
            self.fail("This } closes nothing: take it away or add a { before it.", token)
        if text == "&":
            self.fail(r"& outside an environment: use it in matrix, array, cases or aligned; \& is the sign.", token)
        if text in (r"\\", r"\cr"):
            self.fail(
                rf"{text} outside an environment: put the rows into \begin{{aligned}}...\end{{aligned}}.",
                token,
            )
        if text == r"\right":
            self.fail(r"\right without \left: add the \left that it belongs to.", token)
        if text.startswith(r"\end{"):
            name = environment_name(text, r"\end")
            self.fail(rf"\end{{{name}}} without \begin{{{name}}}.", token)
        if text in ("$", r"\(", r"\)", r"\[", r"\]"):
            self.fail(f"{text} inside a formula: the formula goes without it.", token)
        self.fail(f"{shortened(text)} cannot stand here.", token)

    # -- lists --

    def items(self, in_brackets: bool = False) -> list[Item]:
        """Items up to whatever closes this list, which is left for the caller to check; groups resolved."""
        self.enter()
        outer_style = self.style
        if self.pos in self.infix_lists:
            self.style = min(self.style + 1, 3)
        list_style = self.style
        done: list[Item] = []
        font, font_from = "", 0
        infix: Token | None = None
        numerator: list[Item] = []
        infix_arguments: list[list[str]] = []
        while self.pos < len(self.tokens):
            token = self.tokens[self.pos]
            text = token.text
            if text in _CLOSERS or text.startswith(r"\end{") or (in_brackets and text == "]"):
                break
            if text in known.FONT_SWITCHES:
                self.pos += 1
                done[font_from:] = in_font(font, done[font_from:])
                font, font_from = known.FONT_SWITCHES[text], len(done)
            elif text in known.INFIX:
                self.pos += 1
                if infix is not None:
                    self.fail(r"Two of \over, \choose and the like in one group: put braces around one part.", token)
                infix, infix_arguments = token, self.infix_arguments(token)
                done[font_from:] = in_font(font, done[font_from:])
                numerator, done, font_from = done, [], 0
                self.style = list_style
            else:
                done.extend(self.item())
        done[font_from:] = in_font(font, done[font_from:])
        self.style = outer_style
        self.depth -= 1
        done = self.arrange(spell_control_spaces(flatten(done)), list_style)
        if infix is not None:
            above = self.arrange(spell_control_spaces(flatten(numerator)), list_style)
            return [infix_item(infix.text, infix_arguments, above, done)]
        return done

    def infix_arguments(self, token: Token) -> list[list[str]]:
        if token.text == r"\above":
            return [self.dimension(token)]
        if token.text.endswith("withdelims"):
            delimiters = [[self.delimiter(token)], [self.delimiter(token)]]
            return [*delimiters, self.dimension(token)] if token.text == r"\abovewithdelims" else delimiters
        return []

    def item(self) -> list[Item]:
        """The next atom with its scripts, or spacing; empty for what cannot be seen."""
        text = self.peek()
        if text in _SCRIPT_STARTS or text in known.SUPERSCRIPTS or text in known.SUBSCRIPTS:
            items = [Item([], "ord", inner=[])]
        elif text in (r"\limits", r"\nolimits"):
            self.fail(f"{text} must follow an operator such as \\sum or \\lim.")
        else:
            items = self.nucleus()
        if items and items[-1].kind != "space":
            self.scripts(items[-1])
        return items

    def scripts(self, item: Item) -> None:
        """Read the scripts that follow an atom into it."""
        explicit_sup = False
        primes: list[Item] = []
        while self.pos < len(self.tokens):
            token = self.tokens[self.pos]
            text = known.UNICODE.get(token.text, token.text)
            if text in (r"\limits", r"\nolimits"):
                if item.kind != "op":
                    self.fail(f"{text} must follow an operator such as \\sum or \\lim.", token)
                self.pos += 1
                item.limits = text
            elif text == r"\displaylimits":
                self.pos += 1
            elif text in ("_", r"\sb"):
                if item.sub is not None:
                    self.fail("Double subscript: put braces around what the second one belongs to.", token)
                self.pos += 1
                item.sub = self.argument(token, script=True)
            elif text in ("^", r"\sp"):
                if explicit_sup:
                    self.fail("Double superscript: put braces around what the second one belongs to.", token)
                self.pos += 1
                given = self.argument_items(token, script=True)
                if given and all(part.tokens == [r"\prime"] and not part.scripted for part in given):
                    # x ^ { \prime } ^ { 2 }, as old captions have it, is meant as x'^2.
                    primes += given
                else:
                    explicit_sup = True
                    item.sup = emit(flatten([*primes, *given]))
            elif text == "'" or text in known.SUPERSCRIPTS:
                if explicit_sup:
                    self.fail(f"Double superscript: write {shortened(text)} before the ^ or inside its braces.", token)
                self.pos += 1
                primes += symbols([r"\prime" if text == "'" else known.SUPERSCRIPTS[text]])
            elif text in known.SUBSCRIPTS:
                self.pos += 1
                item.sub = [*(item.sub or []), known.SUBSCRIPTS[text]]
            else:
                break
        if primes and not explicit_sup:
            item.sup = emit(primes)
        item.sub, item.sup = item.sub or None, item.sup or None  # `x_{}` looks like x
        if not item.scripted or item.limits == self.default_limits(item):
            item.limits = ""

    def default_limits(self, item: Item) -> str:
        """Where the scripts of an operator go here by themselves."""
        name = item.tokens[0] if item.tokens else ""
        if name in (r"\overbrace", r"\underbrace"):
            return r"\limits"
        beside = self.style > 0 or name in known.INTEGRALS or name in known.OPERATOR_NAMES or name == r"\operatorname"
        return r"\nolimits" if beside else r"\limits"

    # -- atoms --

    def nucleus(self) -> list[Item]:
        """One atom without its scripts (a few commands stand for several items, or for none)."""
        token = self.tokens[self.pos]
        text = known.UNICODE.get(token.text, token.text)
        if text in _CONTROL_SPACES:
            self.pos += 1
            return [Item([CONTROL_SPACE], "space")]
        if text in known.SYNONYMS:
            self.pos += 1
            return symbols(known.SYNONYMS[text])
        if text in known.ATOM_CLASSES:
            self.pos += 1
            return [Item([text], known.ATOM_CLASSES[text])]
        if text in known.BLACKBOARD:
            self.pos += 1
            return [Item([r"\mathbb", "{", known.BLACKBOARD[text], "}"], "ord")]
        if len(text) == 1 and (text.isalpha() or (text.isascii() and text.isdigit())):
            self.pos += 1
            return [Item([text], "ord")]
        if text == "{":
            return [self.group()]
        if text in known.SPACES:
            self.pos += 1
            return [Item([text], "space")]
        if text.startswith(r"\begin{"):
            return [self.environment()]
        if text.startswith("\\"):
            return self.command()
        if text == "#":
            self.fail(r"# has a meaning in TeX: write \#.", token)
        if text in _CLOSERS:
            self.unexpected()
        raise self.error(f"The character {shortened(text)!r} cannot stand in mathematics; inside \\text it can.", token)

    def group(self) -> Item:
        opener = self.next()
        style = self.style
        inner = self.items()
        self.style = style
        self.close("}", opener, "This { is never closed: add a }.")
        return Item([], "ord", inner=inner)

    def close(self, closer: str, opener: Token, message: str) -> None:
        """Step over `closer`; if it is not there, blame the opener, or the token that stands in the way."""
        if self.peek() == closer:
            self.pos += 1
            return
        text = self.peek()
        if text == "":
            self.fail(message, opener)
        if text == "}" or text.startswith(r"\end{") or (text == r"\right" and opener.text.startswith(r"\begin{")):
            self.fail(f"{shortened(text)} comes before what stands open: {message}", self.tokens[self.pos])
        self.unexpected()

    def argument(self, owner: Token, script: bool = False) -> list[str]:
        """The tokens of a mandatory argument."""
        return emit(self.argument_items(owner, script))

    def argument_items(self, owner: Token, script: bool = False) -> list[Item]:
        """The items of a mandatory argument: of a group, or a single atom without braces."""
        if self.pos >= len(self.tokens):
            self.fail(f"{shortened(owner.text)} needs an argument and the formula ends here.", owner)
        text = self.peek()
        style = self.style
        if script:
            self.style = 2 if style < 2 else 3
        self.enter()
        if text == "{":
            group = self.group()
            items = group.inner or []
        elif (
            text in _CLOSERS or text in _SCRIPT_STARTS or text in _NO_ARGUMENT or text.startswith(r"\end{")
            or text in known.SPACES or text in known.STYLES
        ):  # fmt: skip
            self.fail(f"{shortened(owner.text)} needs an argument, and {shortened(text)} is none: add {{...}}.", owner)
        else:
            items = self.nucleus()
        self.depth -= 1
        self.style = style
        items = flatten(items)
        only = items[0] if len(items) == 1 else None
        if (
            only
            and owner.text in ("^", r"\sp")
            and only.inner == []
            and not only.sub
            and set(only.sup or []) == {r"\prime"}
        ):
            return symbols(only.sup or [])  # f^{'}: a prime is meant, not the superscript of a superscript
        return items

    def command(self) -> list[Item]:
        token = self.next()
        text = token.text
        text = known.FONT_SYNONYMS.get(text, known.TEXT_SYNONYMS.get(text, text))
        if text in known.SIGNATURES and not (text in _PLAIN_MATRICES and self.peek() == "{"):
            return self.with_arguments(token, text)
        if text in _SPECIAL:
            return _SPECIAL[text](self, token)
        if text in known.STYLES:
            level = known.STYLES.index(text)
            if level == self.style:
                return []
            self.style = level
            return [Item([text], "space")]
        if text in known.BIG_DELIMITERS:
            return [Item([text, self.delimiter(token)], known.BIG_DELIMITERS[text])]
        if text in known.IGNORED:
            return []
        if text in known.IGNORED_WITH_ARGUMENT:
            self.raw_argument(token)
            return []
        if text == "\\":
            self.fail("A backslash at the end: a command's name is missing.", token)
        if text in known.TEXT_ACCENTS or text in known.TEXT_SYMBOLS:
            self.fail(f"{text} belongs into \\text{{...}}.", token)
        raise unknown_command(token)

    def with_arguments(self, token: Token, name: str) -> list[Item]:
        """A command with its arguments as its signature says."""
        tokens = [name]
        style = self.style
        bodies: list[list[str]] = []
        for kind in known.SIGNATURES[name]:
            if kind in "op":
                optional = self.optional_argument(token, raw=kind == "p")
                if optional:
                    tokens += ["[", *optional, "]"]
                continue
            if kind == "m":
                self.style = argument_style(name, style, len(bodies))
                body = self.argument(token)
                self.style = style
            elif kind == "r":
                body = self.raw_argument(token)
            elif kind == "t":
                body = self.text_argument(token)
            else:
                body = self.stacked_argument(token)
            bodies.append(body)
            tokens += ["{", *body, "}"]
        return simplify(name, tokens, bodies, style)

    def optional_argument(self, owner: Token, raw: bool) -> list[str]:
        if self.peek() != "[":
            return []
        opener = self.next()
        if raw:
            return self.raw_until("]", owner)
        style = self.style
        self.style = 2
        body = emit(self.items(in_brackets=True))
        self.style = style
        self.close("]", opener, f"The [ after {shortened(owner.text)} is never closed: add a ].")
        return protect_brackets(body)

    def raw_argument(self, owner: Token) -> list[str]:
        """The tokens of an argument that is no mathematics, as they stand."""
        if self.pos >= len(self.tokens) or self.peek() in _CLOSERS:
            self.fail(f"{shortened(owner.text)} needs an argument in braces.", owner)
        if self.peek() != "{":
            return [self.next().text]
        self.pos += 1
        return self.raw_until("}", owner)

    def raw_until(self, closer: str, owner: Token) -> list[str]:
        level = 0
        body: list[str] = []
        while self.pos < len(self.tokens):
            text = self.next().text
            if text == closer and level == 0:
                return body
            level += (text == "{") - (text == "}")
            if level > MAX_DEPTH:
                self.fail(f"The argument of {shortened(owner.text)} is nested more than {MAX_DEPTH} deep.", owner)
            body.append(text)
            if level < 0:
                break
        raise self.error(f"The argument of {shortened(owner.text)} is never closed: add a {closer}.", owner)

    def dimension(self, owner: Token) -> list[str]:
        """A dimension without braces, as after \\hskip; stretch and shrink are read and dropped."""
        start = self.tokens[self.pos].start if self.pos < len(self.tokens) else len(self.source)
        window = re.sub(r"\s+", "", self.source[start : start + 60])
        match = DIMENSION.match(window)
        if not match:
            self.fail(f"{owner.text} needs a dimension such as 1em or 3mu.", owner)
        length = len(match.group())
        while length > 0:
            length -= len(self.next().text)
        for word in ("plus", "minus"):
            if [token.text for token in self.tokens[self.pos : self.pos + len(word)]] == list(word):
                self.pos += len(word)
                self.dimension(owner)
        return [token.text for token in tokenise(match.group())]

    def delimiter(self, owner: Token) -> str:
        if self.pos >= len(self.tokens):
            self.fail(f"{owner.text} needs a delimiter such as ( or | and the formula ends here.", owner)
        token = self.next()
        text = {"<": r"\langle", ">": r"\rangle", r"\lt": r"\langle", r"\gt": r"\rangle"}.get(token.text)
        text = text or known.UNICODE.get(token.text, token.text)
        text = known.SYNONYMS.get(text, (text,))[0]
        if text == "{" and self.peek() in known.DELIMITERS and self.pos + 1 < len(self.tokens):
            inner = self.next().text  # \big{(}
            if self.peek() == "}":
                self.pos += 1
                return inner
        if text not in known.DELIMITERS:
            self.fail(f"{owner.text} needs a delimiter such as (, [, \\{{ or |, not {shortened(token.text)}.", token)
        return text

    # -- special commands --

    def left_right(self, token: Token) -> list[Item]:
        tokens = [r"\left", self.delimiter(token)]
        style = self.style
        body = self.items()
        self.style = style
        while self.peek() == r"\middle":
            middle = self.next()
            delimiter = self.delimiter(middle)
            body = [*body, Item([r"\middle", delimiter], "space"), *self.items()]
            self.style = style
        if self.peek() != r"\right":
            self.close(r"\right", token, r"This \left has no \right: add one, \right. if nothing is to be seen.")
        closer = self.delimiter(self.next())
        fence = known.FENCED_MATRICES.get((tokens[1], closer))
        if fence and len(body) == 1 and not body[0].scripted and body[0].tokens[:1] == [r"\begin{matrix}"]:
            return [Item([rf"\begin{{{fence}}}", *body[0].tokens[1:-1], rf"\end{{{fence}}}"], "inner")]
        return [Item([*tokens, *emit(body), r"\right", closer], "inner")]

    def negation(self, token: Token) -> list[Item]:
        """\\not strikes through the next symbol, with or without braces around it."""
        if self.pos >= len(self.tokens):
            self.fail(r"\not needs a symbol to strike through.", token)
        if self.peek() == "}":
            return [Item([r"\not"], "rel")]  # `{\not} D`
        if self.peek() in _CLOSERS or self.peek() in _SCRIPT_STARTS:
            self.fail(r"\not needs a symbol to strike through.", token)
        if self.peek() in known.SPACES or self.peek() in _SKIPS:
            return [Item([r"\not"], "rel")]  # drawn over what is shifted back under it
        self.enter()
        struck = self.nucleus()
        self.depth -= 1
        if len(struck) == 1 and struck[0].inner is not None:
            struck = struck[0].inner
        if all(item.kind in ("space", "op") and not item.scripted for item in struck):
            self.fail(r"\not needs a symbol to strike through.", token)
        if len(struck) != 1 or len(struck[0].tokens) != 1 or struck[0].scripted:
            return [Item([r"\not", "{", *emit(struck), "}"], "rel")]
        symbol = struck[0].tokens[0]
        return [Item([known.NEGATED[symbol]] if symbol in known.NEGATED else [r"\not", symbol], "rel")]

    def dots(self, token: Token) -> list[Item]:
        """\\dots lies low or centred by what follows it, as in amsmath."""
        following = known.UNICODE.get(self.peek(), self.peek())
        following = known.SYNONYMS.get(following, (following,))[0]
        centred = known.ATOM_CLASSES.get(following) in ("bin", "rel") and following != ":"
        centred = centred or following in known.INTEGRALS or following in known.OPERATORS_WITH_LIMITS
        return [Item([r"\cdots" if centred else r"\ldots"], "ord")]

    def skip(self, token: Token) -> list[Item]:
        unit = r"\hspace" if token.text in (r"\hskip", r"\kern") else r"\mspace"
        body = self.dimension(token)
        if body[-2:] == ["m", "u"]:
            unit = r"\mspace"
        return simplify(unit, [unit, "{", *body, "}"], [body], self.style)

    def root(self, token: Token) -> list[Item]:
        index = self.items_until(r"\of", token)
        body = self.argument(token)
        return [Item([r"\sqrt", "[", *protect_brackets(emit(index)), "]", "{", *body, "}"], "ord")]

    def items_until(self, closer: str, owner: Token) -> list[Item]:
        """What stands between a command of plain TeX and the word that ends its first argument."""
        self.enter()
        done: list[Item] = []
        font, font_from = "", 0
        while self.peek() != closer:
            if self.pos >= len(self.tokens) or self.peek() in _CLOSERS:
                self.fail(f"{owner.text} needs its {closer}.", owner)
            if self.peek() in known.FONT_SWITCHES:
                done[font_from:] = in_font(font, done[font_from:])
                font, font_from = known.FONT_SWITCHES[self.next().text], len(done)
            else:
                done.extend(self.item())
        self.pos += 1
        self.depth -= 1
        done[font_from:] = in_font(font, done[font_from:])
        return flatten(done)

    def math_choice(self, token: Token) -> list[Item]:
        choices = []
        for _ in range(4):
            if self.peek() != "{":
                self.fail(r"\mathchoice needs four arguments in braces.", token)
            choices.append(self.group())
        return [choices[self.style]]

    def coloured(self, token: Token) -> list[Item]:
        self.optional_argument(token, raw=True)
        self.raw_argument(token)
        if self.peek() != "{":
            self.fail(f"{token.text} needs a second argument in braces.", token)
        return [self.group()]

    def plain_group(self, token: Token) -> list[Item]:
        """\\begingroup or \\bgroup: a brace by another name."""
        closer = {r"\begingroup": r"\endgroup", r"\bgroup": r"\egroup"}[token.text]
        inner = self.items()
        self.close(closer, token, f"{token.text} has no {closer}.")
        return [Item([], "ord", inner=inner)]

    def build_relation(self, token: Token) -> list[Item]:
        over = self.items_until(r"\over", token)
        base = self.argument(token)
        return [Item([r"\stackrel", "{", *emit(over), "}", "{", *base, "}"], "rel")]

    # -- environments --

    def environment(self) -> Item:
        opener = self.next()
        name = environment_name(opener.text, r"\begin")
        if name.rstrip("*") in known.OUTER_ENVIRONMENTS:
            self.fail(f"{name} goes around a whole formula, not inside one: use aligned or gathered.", opener)
        if name not in known.ENVIRONMENT_COLUMNS:
            nearest = difflib.get_close_matches(name[:30], known.ENVIRONMENT_COLUMNS, n=2, cutoff=0.6)
            hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
            self.fail(f"The environment {shortened(name)} is not known here.{hint}", opener)
        arguments = []
        if name in ("array", "aligned", "gathered", "alignedat") and self.peek() == "[":
            self.optional_argument(opener, raw=True)
        columns = known.ENVIRONMENT_COLUMNS[name]
        if name in known.ENVIRONMENTS_WITH_ARGUMENT:
            arguments.append(self.raw_argument(opener))
            if name == "array":
                columns = count_columns(arguments[0])
        rows = self.rows(opener, name, name in known.DISPLAY_ENVIRONMENTS, columns)
        # TeX takes split inside of an equation only, and aligned looks the same.
        return self.environment_item("aligned" if name == "split" else name, arguments, rows)

    def environment_item(self, name: str, arguments: list[list[str]], rows: "list[Row]") -> Item:
        tokens = [rf"\begin{{{name}}}"]
        for argument in arguments:
            tokens += ["{", *argument, "}"]
        body = emit_rows(rows)
        if name in ("aligned", "gathered") and body[:1] == ["["]:
            tokens += ["{", "}"]  # or the bracket would open the environment's argument
        tokens += [*body, rf"\end{{{name}}}"]
        fenced = name in known.FENCED_MATRICES.values() or name.endswith("cases")
        return Item(tokens, "inner" if fenced else "ord")

    def rows(self, opener: Token, name: str, display: bool, columns: int) -> "list[Row]":
        """The rows up to \\end{name}."""
        closer = rf"\end{{{name}}}"
        rows = self.row_list(display, columns)
        if self.peek() != closer:
            self.close(closer, opener, rf"\begin{{{name}}} is never closed: add \end{{{name}}}.")
        self.pos += 1
        return rows

    def plain_matrix(self, token: Token) -> list[Item]:
        """\\matrix{...}, \\pmatrix{...}, \\cases{...} of plain TeX."""
        if self.peek() != "{":
            self.fail(f"{token.text} needs an argument in braces.", token)
        opener = self.next()
        name = token.text[1:]
        rows = self.row_list(False, known.ENVIRONMENT_COLUMNS[name])
        self.close("}", opener, "This { is never closed: add a }.")
        return [self.environment_item(name, [], rows)]

    def stacked_argument(self, owner: Token) -> list[str]:
        if self.peek() != "{":
            return self.argument(owner, script=True)
        opener = self.next()
        style, self.style = self.style, 2
        rows = self.row_list(None, 1)
        self.style = style
        self.close("}", opener, "This { is never closed: add a }.")
        return emit_rows(rows)

    def row_list(self, display: bool | None, columns: int) -> "list[Row]":
        """Rows of cells; display None keeps the style."""
        self.enter()
        outer_style = self.style
        rows = [Row()]
        while True:
            row = rows[-1]
            while self.peek() == r"\hline":
                self.pos += 1
                row.rules += 1
            self.style = outer_style if display is None else 0 if display else min(max(outer_style, 1), 3)
            row.cells.append(self.items())
            if self.peek() == "&":
                if columns and len(row.cells) >= columns:
                    self.fail(f"More columns in this row than the environment has ({columns}).")
                self.pos += 1
            elif self.peek() in (r"\\", r"\cr"):
                self.pos += 1
                if self.peek() == "*":
                    self.pos += 1
                row.skip = self.row_skip()
                rows.append(Row())
            else:
                break
        self.style = outer_style
        self.depth -= 1
        last = rows[-1]
        if len(rows) > 1 and last.is_empty:
            rows.pop()
            rows[-1].skip = []
        return rows

    def row_skip(self) -> list[str]:
        """The dimension in brackets after \\\\, if there is one."""
        if self.peek() != "[":
            return []
        for end in range(self.pos + 1, min(self.pos + 20, len(self.tokens))):
            if self.tokens[end].text == "]":
                body = [token.text for token in self.tokens[self.pos + 1 : end]]
                if DIMENSION.fullmatch("".join(body)):
                    self.pos = end + 1
                    return body
                break
        return []

    # -- text --

    def text_argument(self, owner: Token) -> list[str]:
        """The characters of a text argument, spaces as ~ and mathematics between $."""
        if self.pos >= len(self.tokens):
            self.fail(f"{owner.text} needs an argument and the formula ends here.", owner)
        if self.peek() != "{":
            if self.peek() in _CLOSERS or self.peek().startswith("\\"):
                self.fail(f"{owner.text} needs an argument in braces.", owner)
            return [self.next().text]
        spaced = self.tokens[self.pos].start > owner.end and self.is_spaced_out(self.pos)
        return self.text(spaced, owner)

    def is_spaced_out(self, start: int) -> bool:
        """Whether a text is spelt as tokens, `{ l i k e ~ t h i s }`, so that its blanks mean nothing."""
        level = 0
        for here in range(start, len(self.tokens)):
            token = self.tokens[here]
            level += (token.text == "{") - (token.text == "}")
            if level == 0:
                return here > start
            if here + 1 < len(self.tokens) and self.tokens[here + 1].start != token.end + 1:
                return False
        return False

    def text(self, spaced: bool, owner: Token) -> list[str]:
        """The group of a text; mathematics in it is as large as around it, but in \\mbox, and what else makes a box."""
        opener = self.next()
        boxed = known.TEXT_SYNONYMS.get(owner.text, owner.text) not in known.TEXT_COMMANDS - {r"\mbox"}
        self.enter()
        body: list[str] = []
        previous = opener
        while True:
            if self.pos >= len(self.tokens):
                self.fail("This { of a text is never closed: add a }.", opener)
            token = self.tokens[self.pos]
            text = token.text
            if not spaced and token.start > previous.end and not WORD_COMMAND.match(previous.text):
                body.append("~")
            previous = token
            if text == "}":
                self.pos += 1
                break
            if text == "{":
                inner = self.text(spaced, owner)
                switches = any(part in known.FONT_SWITCHES for part in inner)
                body += ["{", *inner, "}"] if switches else inner
            elif text in ("$", r"\("):
                self.pos += 1
                closer = "$" if text == "$" else r"\)"
                style, self.style = self.style, 1 if boxed else self.style
                mathematics = self.items()
                self.style = style
                self.close(closer, token, f"This {text} in a text is never closed: add a {closer}.")
                body += ["$", *emit(mathematics), "$"]
            else:
                body += self.text_piece(token, spaced)
            previous = self.tokens[self.pos - 1]
        self.depth -= 1
        return body

    def text_piece(self, token: Token, spaced: bool) -> list[str]:
        """One character, or one command that may stand in text."""
        self.pos += 1
        text = token.text
        name = known.TEXT_SYNONYMS.get(text, text)
        if name in known.TEXT_COMMANDS:
            if self.peek() != "{":
                self.fail(f"{text} needs an argument in braces.", token)
            inner = self.text(spaced, token)
            return inner if name in (r"\text", r"\mbox") else [name, "{", *inner, "}"]
        if text in known.TEXT_ACCENTS:
            if self.peek() == "{":
                return [text, "{", *self.text(spaced, token), "}"]
            if self.pos >= len(self.tokens) or self.peek() in _CLOSERS:
                self.fail(f"{text} needs a letter.", token)
            return [text, "{", self.next().text, "}"]
        if text in (r"\ ", r"\space", "\\\n", "\\\t"):
            return ["~"]
        if text in known.TEXT_SYMBOLS or text == "~" or (len(text) == 1 and text not in "^_&#\\"):
            return [r"\ldots" if text == r"\dots" else text]
        if text in known.IGNORED:
            return []
        if is_unknown(text):
            raise unknown_command(token)
        raise self.error(
            f"{shortened(text)} in a text: mathematics there goes between dollars, ${shortened(text)}$.", token
        )


_CLOSERS = frozenset(
    {
        "}",
        "&",
        r"\\",
        r"\cr",
        r"\right",
        r"\middle",
        "$",
        r"\(",
        r"\)",
        r"\[",
        r"\]",
        r"\of",
        r"\endgroup",
        r"\egroup",
    }
)
_CONTROL_SPACES = frozenset({"\\ ", "\\\n", "\\\t"})
_SKIPS = frozenset({r"\hskip", r"\kern", r"\mskip", r"\mkern", r"\hspace", r"\hspace*", r"\mspace"})
_SCRIPT_STARTS = frozenset({"_", "^", "'", r"\sb", r"\sp", "′", "’"})
_NO_ARGUMENT = frozenset({r"\limits", r"\nolimits", r"\hline"}) | frozenset(known.FONT_SWITCHES) | known.INFIX
_PLAIN_MATRICES = frozenset({r"\matrix", r"\pmatrix", r"\cases"})
_SPECIAL: dict[str, Callable[[_Parser, Token], list[Item]]] = {
    r"\left": _Parser.left_right,
    r"\not": _Parser.negation,
    r"\dots": _Parser.dots,
    r"\hskip": _Parser.skip, r"\kern": _Parser.skip, r"\mskip": _Parser.skip, r"\mkern": _Parser.skip,
    r"\root": _Parser.root,
    r"\mathchoice": _Parser.math_choice,
    r"\textcolor": _Parser.coloured,
    r"\begingroup": _Parser.plain_group, r"\bgroup": _Parser.plain_group,
    r"\buildrel": _Parser.build_relation,
    r"\matrix": _Parser.plain_matrix, r"\pmatrix": _Parser.plain_matrix, r"\cases": _Parser.plain_matrix,
}  # fmt: skip


def _lists_with_infix(tokens: list[Token]) -> frozenset[int]:
    r"""Where the lists start that turn into a fraction by an \over in them; that of \buildrel makes none."""
    starts: set[int] = set()
    stack = [_Open(0)]
    for here, token in enumerate(tokens):
        text = token.text
        if text == "{" or text.startswith(r"\begin{"):
            stack.append(_Open(here + 1))
        elif text == "[" and here and known.SIGNATURES.get(tokens[here - 1].text, "").startswith("o"):
            stack.append(_Open(here + 1, bracket=True))
        elif text == r"\left":
            stack.append(_Open(here + 2))
        elif text == "]" and stack[-1].bracket:
            stack.pop()
        elif (text in ("}", r"\right") or text.startswith(r"\end{")) and len(stack) > 1:
            while stack[-1].bracket:  # never closed
                stack.pop()
            if len(stack) > 1:
                stack.pop()
        elif text in ("&", r"\\", r"\cr"):
            stack[-1] = _Open(here + 1)
        elif text == r"\buildrel":
            stack[-1].relations += 1
        elif text == r"\over" and stack[-1].relations:
            stack[-1].relations -= 1
        elif text in known.INFIX:
            starts.add(stack[-1].start)
    return frozenset(starts)


@dataclass
class _Open:
    """A list of items that has begun: where, whether in an optional argument, how many \\buildrel wait for their \\over."""

    start: int
    bracket: bool = False
    relations: int = 0
