"""The commands that hmer.latex knows: symbols by TeX atom class, operators, and commands with arguments.

Sources: The TeXbook (appendix F and chapter 17), LaTeX2e, amsmath, amssymb, and what KaTeX adds to them.
"""


def _words(text: str) -> frozenset[str]:
    """The commands of a blank-separated list, each given its backslash."""
    return frozenset(_ordered(text))


def _ordered(text: str) -> list[str]:
    return ["\\" + word for word in text.split()]


GREEK = _words(
    """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa varkappa lambda mu nu
    xi omicron pi varpi rho varrho sigma varsigma tau upsilon phi varphi chi psi omega digamma Gamma
    Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega varGamma varDelta varTheta varLambda varXi
    varPi varSigma varUpsilon varPhi varPsi varOmega beth gimel daleth"""
)

ORDINARY = GREEK | _words(
    """aleph hbar hslash imath jmath ell wp Re Im partial infty prime backprime emptyset varnothing nabla
    surd top bot angle measuredangle sphericalangle triangle triangledown blacktriangle
    blacktriangledown square blacksquare Diamond lozenge blacklozenge bigstar forall exists nexists neg
    flat natural sharp clubsuit diamondsuit heartsuit spadesuit backslash complement eth mho Finv Game
    Bbbk circledS circledR checkmark maltese diagup diagdown ldots cdots vdots ddots iddots dag ddag S P
    copyright pounds yen # $ % & _ | mathstrut degree vartriangle o O l L i j ae AE oe OE aa AA ss"""
)

BINARY = _words(
    """pm mp times div cdot ast star circ bullet cap cup uplus sqcap sqcup vee wedge setminus wr diamond
    amalg bigtriangleup bigtriangledown triangleleft triangleright lhd rhd unlhd unrhd oplus ominus
    otimes oslash odot bigcirc dagger ddagger smallsetminus dotplus Cap Cup barwedge veebar
    doublebarwedge boxminus boxtimes boxdot boxplus divideontimes ltimes rtimes leftthreetimes
    rightthreetimes curlywedge curlyvee circleddash circledast circledcirc centerdot intercal bmod mod
    And"""
)

ARROWS = _words(
    """leftarrow Leftarrow rightarrow Rightarrow leftrightarrow Leftrightarrow longleftarrow Longleftarrow
    longrightarrow Longrightarrow longleftrightarrow Longleftrightarrow mapsto longmapsto hookleftarrow
    hookrightarrow leftharpoonup leftharpoondown rightharpoonup rightharpoondown rightleftharpoons
    leftrightharpoons uparrow Uparrow downarrow Downarrow updownarrow Updownarrow nearrow searrow
    swarrow nwarrow leadsto rightsquigarrow leftrightsquigarrow dashrightarrow dashleftarrow
    leftleftarrows rightrightarrows leftrightarrows rightleftarrows Lleftarrow Rrightarrow
    twoheadleftarrow twoheadrightarrow leftarrowtail rightarrowtail looparrowleft looparrowright
    curvearrowleft curvearrowright circlearrowleft circlearrowright Lsh Rsh upuparrows downdownarrows
    upharpoonleft upharpoonright downharpoonleft downharpoonright multimap nleftarrow nrightarrow
    nLeftarrow nRightarrow nleftrightarrow nLeftrightarrow"""
)

RELATIONS = ARROWS | _words(
    """leq geq neq prec succ preceq succeq sim simeq ll gg asymp equiv cong approx propto doteq models perp
    mid parallel bowtie Join smile frown subset supset subseteq supseteq sqsubset sqsupset sqsubseteq
    sqsupseteq in ni notin vdash dashv lll ggg leqq geqq leqslant geqslant eqslantless eqslantgtr
    lesssim gtrsim lessapprox gtrapprox approxeq lessdot gtrdot lessgtr gtrless lesseqgtr gtreqless
    lesseqqgtr gtreqqless doteqdot risingdotseq fallingdotseq backsim backsimeq subseteqq supseteqq
    Subset Supset preccurlyeq succcurlyeq curlyeqprec curlyeqsucc precsim succsim precapprox succapprox
    vartriangleleft vartriangleright trianglelefteq trianglerighteq vDash Vdash Vvdash smallsmile
    smallfrown shortmid shortparallel bumpeq Bumpeq between pitchfork varpropto blacktriangleleft
    blacktriangleright therefore because backepsilon eqcirc circeq triangleq thicksim thickapprox
    coloneqq eqqcolon Coloneqq coloneq vcentcolon dblcolon nless ngtr nleq ngeq nleqslant ngeqslant
    nleqq ngeqq lneq gneq lneqq gneqq lvertneqq gvertneqq lnsim gnsim lnapprox gnapprox nprec nsucc
    npreceq nsucceq precneqq succneqq precnsim succnsim precnapprox succnapprox nsim ncong nshortmid
    nshortparallel nmid nparallel nvdash nvDash nVdash nVDash ntriangleleft ntriangleright
    ntrianglelefteq ntrianglerighteq nsubseteq nsupseteq nsubseteqq nsupseteqq subsetneq supsetneq
    varsubsetneq varsupsetneq subsetneqq supsetneqq varsubsetneqq varsupsetneqq notni"""
)

OPENING = _words("{ langle lceil lfloor lvert lVert lgroup lmoustache ulcorner llcorner llbracket")
CLOSING = _words("} rangle rceil rfloor rvert rVert rgroup rmoustache urcorner lrcorner rrbracket")
PUNCTUATION = _words("colon cdotp ldotp")

LARGE_OPERATORS = _words("sum prod coprod bigcap bigcup bigsqcup bigvee bigwedge bigodot bigotimes bigoplus biguplus")
# Scripts go under and over these in display style...
OPERATORS_WITH_LIMITS = LARGE_OPERATORS | _words(
    """lim limsup liminf max min sup inf det gcd Pr injlim projlim varinjlim varprojlim varlimsup
    varliminf"""
)
# ...and beside these in every style.
INTEGRALS = _words("int iint iiint iiiint idotsint oint oiint oiiint smallint")
OPERATOR_NAMES = _words(
    "sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan log ln lg exp arg deg dim hom ker"
)
OPERATORS = OPERATORS_WITH_LIMITS | INTEGRALS | OPERATOR_NAMES

# Operators whose picture is their name in upright letters.
NAMED_WITH_LIMITS = _words("lim max min sup inf det gcd Pr")

SPACES = _words(", : ; ! quad qquad enspace negmedspace negthickspace") | {"~"}
STYLES = (r"\displaystyle", r"\textstyle", r"\scriptstyle", r"\scriptscriptstyle")
BIG_DELIMITERS = {
    "\\" + size + side: kind
    for size in ("big", "Big", "bigg", "Bigg")
    for side, kind in (("", "ord"), ("l", "open"), ("r", "close"), ("m", "rel"))
}
DELIMITERS = (
    frozenset("()[]/|.")
    | OPENING
    | CLOSING
    | _words("| backslash uparrow downarrow updownarrow Uparrow Downarrow Updownarrow vert Vert < >")
) - {r"\<", r"\>"}

ATOM_CLASSES: dict[str, str] = (
    dict.fromkeys(ORDINARY, "ord")
    | dict.fromkeys(BINARY, "bin")
    | dict.fromkeys(RELATIONS, "rel")
    | dict.fromkeys(OPENING, "open")
    | dict.fromkeys(CLOSING, "close")
    | dict.fromkeys(PUNCTUATION, "punct")
    | dict.fromkeys(OPERATORS, "op")
    | {r"\|": "ord"}
    | dict.fromkeys("+-*", "bin")
    | dict.fromkeys("=<>:", "rel")
    | dict.fromkeys("([", "open")
    | dict.fromkeys(")]!?", "close")
    | dict.fromkeys(",;", "punct")
    | dict.fromkeys('./|"`@', "ord")
)

# One spelling for what looks the same; on the right, canonical tokens.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "\\" + typed: tuple(canonical.split())
    for typed, canonical in {
        "le": r"\leq", "ge": r"\geq", "ne": r"\neq", "lt": "<", "gt": ">", "to": r"\rightarrow",
        "gets": r"\leftarrow", "land": r"\wedge", "lor": r"\vee", "lnot": r"\neg", "owns": r"\ni",
        "dag": r"\dagger", "ddag": r"\ddagger", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[",
        "rbrack": "]",
        "vert": "|", "Vert": r"\|", "ast": "*", "slash": "/", "empty": r"\emptyset", "infin": r"\infty",
        "Box": r"\square", "doublecap": r"\Cap", "doublecup": r"\Cup", "restriction": r"\upharpoonright",
        "llless": r"\lll", "gggtr": r"\ggg", "Doteq": r"\doteqdot", "omicron": "o",
        "dasharrow": r"\dashrightarrow",
        "iff": r"\; \Longleftrightarrow \;", "implies": r"\; \Longrightarrow \;",
        "impliedby": r"\; \Longleftarrow \;",
        "dotsc": r"\ldots", "dotso": r"\ldots", "hdots": r"\ldots", "mathellipsis": r"\ldots",
        "textellipsis": r"\ldots",
        "dotsb": r"\cdots", "dotsm": r"\cdots", "dotsi": r"\cdots",
        "thinspace": r"\,", "medspace": r"\:", ">": r"\:", "thickspace": r"\;", "negthinspace": r"\!",
        " ": "~", "\t": "~", "\n": "~", "nobreakspace": "~", "enskip": r"\enspace",
        "Alpha": "A", "Beta": "B", "Epsilon": "E", "Zeta": "Z", "Eta": "H", "Iota": "I", "Kappa": "K",
        "Mu": "M",
        "Nu": "N", "Omicron": "O", "Rho": "P", "Tau": "T", "Chi": "X",
        "lparen": "(", "rparen": ")", "colonequals": r"\coloneqq", "textbackslash": r"\backslash",
        "lq": "`", "rq": "'", "strut": r"\mathstrut",
    }.items()
}  # fmt: skip

NEGATED = {"=": r"\neq", r"\in": r"\notin", r"\exists": r"\nexists"}  # what \not makes of them

# Accents and fonts take one argument and make an ordinary atom of it.
ACCENTS = _words(
    """hat check tilde acute grave dot ddot dddot ddddot breve bar vec mathring widehat widetilde widecheck
    overline underline overrightarrow overleftarrow overleftrightarrow underrightarrow underleftarrow
    underleftrightarrow overgroup undergroup overlinesegment"""
)
FONTS = _words("""mathrm mathbf mathit mathsf mathtt mathcal mathbb mathfrak mathscr mathnormal boldsymbol pmb""")
FONT_SYNONYMS = {
    r"\bm": r"\boldsymbol", r"\bold": r"\mathbf", r"\Bbb": r"\mathbb", r"\frak": r"\mathfrak",
    r"\mathbold": r"\boldsymbol", r"\mathds": r"\mathbb", r"\mathbfcal": r"\mathcal",
}  # fmt: skip
FONT_SWITCHES = {
    r"\rm": r"\mathrm", r"\bf": r"\mathbf", r"\it": r"\mathit", r"\sf": r"\mathsf", r"\tt": r"\mathtt",
    r"\cal": r"\mathcal", r"\sl": r"\mathit", r"\mit": r"\mathnormal", r"\boldmath": r"\boldsymbol",
    r"\bfseries": r"\mathbf", r"\itshape": r"\mathit", r"\rmfamily": r"\mathrm", r"\sffamily": r"\mathsf",
    r"\ttfamily": r"\mathtt", r"\em": r"\mathit",
}  # fmt: skip
TEXT_COMMANDS = _words("text textbf textit textsf texttt textsc mbox emph")
TEXT_SYNONYMS = {
    r"\hbox": r"\mbox", r"\textrm": r"\text", r"\textnormal": r"\text", r"\textup": r"\text",
    r"\textmd": r"\text", r"\textsl": r"\textit",
}  # fmt: skip
# What may stand inside \text besides characters and mathematics between dollars.
TEXT_ACCENTS = frozenset({r"\'", r"\`", r"\^", r"\"", r"\~", r"\=", r"\."}) | _words("c v u H r k")
TEXT_SYMBOLS = _words(
    """ldots dots S P copyright pounds euro l o i j L O ae AE oe OE aa AA ss # $ % & _ { } , : ; ! quad
    qquad enspace textbackslash lq rq dag ddag degree textdegree boldmath bf it rm sf tt sl em - /"""
)

# Arguments of the other commands: m mathematics, o optional mathematics, r raw (dimensions, names, numbers),
# p optional raw, t text, s rows of mathematics.
SIGNATURES: dict[str, str] = (
    dict.fromkeys(ACCENTS | FONTS, "m")
    | dict.fromkeys(TEXT_COMMANDS, "t")
    | {
        "\\" + name: signature
        for names, signature in {
            "frac dfrac tfrac binom dbinom tbinom stackrel overset underset": "mm",
            "cfrac": "pmm", "genfrac": "rrrrmm", "sqrt": "om",
            "xrightarrow xleftarrow xleftrightarrow xRightarrow xLeftarrow xLeftrightarrow xmapsto "
            "xhookrightarrow xhookleftarrow xtwoheadrightarrow xrightleftharpoons xlongequal": "om",
            "mathop mathrel mathbin mathord mathopen mathclose mathpunct mathinner": "m",
            "operatorname operatorname*": "m",
            "overbrace underbrace boxed phantom hphantom vphantom pmod pod": "m", "smash": "pm",
            "llap rlap clap mathllap mathrlap mathclap cancel bcancel xcancel": "m", "fbox": "t",
            "substack": "s", "hspace hspace* mspace": "r", "rule": "prr", "raisebox": "rt", "sideset": "mmm",
            "multicolumn": "rrm", "hdotsfor": "r",
        }.items()
        for name in names.split()
    }
)  # fmt: skip

COMMAND_CLASSES: dict[str, str] = {
    r"\stackrel": "rel", r"\mathop": "op", r"\mathrel": "rel", r"\mathbin": "bin", r"\mathopen": "open",
    r"\mathclose": "close", r"\mathpunct": "punct", r"\mathinner": "inner", r"\operatorname": "op",
    r"\operatorname*": "op", r"\overbrace": "op", r"\underbrace": "op", r"\hspace": "space",
    r"\mspace": "space", r"\hspace*": "space", r"\sideset": "op",
} | {name: "rel" for name in SIGNATURES if name.startswith(r"\x") and "arrow" in name} | {
    r"\xmapsto": "rel", r"\xlongequal": "rel", r"\xrightleftharpoons": "rel",
}  # fmt: skip

# Commands between the two parts they put over each other; the plain ones with their prefix form.
INFIX_PLAIN = {r"\over": r"\frac", r"\choose": r"\binom"}
INFIX = frozenset(INFIX_PLAIN) | _words("atop brack brace above overwithdelims atopwithdelims abovewithdelims")

# Nothing of these can be seen (sizes do nothing in mathematics, numbers and labels stand outside it).
IGNORED = _words(
    """nonumber notag allowbreak nobreak relax protect displaylimits noindent tiny scriptsize footnotesize
    small normalsize large Large LARGE huge Huge null unboldmath upshape mdseries normalfont break
    nolinebreak space vfill hfill smallskip medskip bigskip / *"""
)
IGNORED_WITH_ARGUMENT = _words("label tag tag* color cline vspace")

# How many columns an environment may have; 0: any number.
MATRICES = ("matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix")
ENVIRONMENT_COLUMNS: dict[str, int] = dict.fromkeys(MATRICES, 0) | {
    "array": 0, "subarray": 0, "cases": 2, "dcases": 2, "rcases": 2, "drcases": 2,
    "aligned": 0, "alignedat": 0, "split": 2, "gathered": 1,
}  # fmt: skip
DISPLAY_ENVIRONMENTS = frozenset({"aligned", "alignedat", "split", "gathered", "dcases", "drcases"})
ENVIRONMENTS_WITH_ARGUMENT = frozenset({"array", "subarray", "alignedat"})
# Allowed around a whole formula only; the value is what several rows become.
OUTER_ENVIRONMENTS = {
    "equation": "", "displaymath": "", "math": "", "align": "aligned", "flalign": "aligned",
    "gather": "gathered", "multline": "gathered", "eqnarray": "array",
    "alignat": "alignedat",
}  # fmt: skip
FENCED_MATRICES = {
    ("(", ")"): "pmatrix", ("[", "]"): "bmatrix", (r"\{", r"\}"): "Bmatrix", ("|", "|"): "vmatrix",
    (r"\|", r"\|"): "Vmatrix",
}  # fmt: skip

# What keyboards and clipboards hold instead of commands.
UNICODE: dict[str, str] = {
    **dict(zip("αβγδεζηθικλμνξπρστυφχψω", _ordered(
        "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon "
        "varphi chi psi omega"), strict=True)),
    **dict(zip("ΓΔΘΛΞΠΣΥΦΨΩ", _ordered(
        "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"), strict=True)),
    "ϵ": r"\epsilon", "ϕ": r"\phi", "ϑ": r"\vartheta", "ς": r"\varsigma", "ϱ": r"\varrho", "µ": r"\mu",
    "≤": r"\leq", "≥": r"\geq", "≠": r"\neq", "≈": r"\approx", "≡": r"\equiv", "≅": r"\cong", "∼": r"\sim",
    "∝": r"\propto", "≪": r"\ll", "≫": r"\gg", "∈": r"\in", "∉": r"\notin", "∋": r"\ni", "⊂": r"\subset",
    "⊃": r"\supset", "⊆": r"\subseteq", "⊇": r"\supseteq", "∪": r"\cup", "∩": r"\cap", "∅": r"\emptyset",
    "×": r"\times", "÷": r"\div", "±": r"\pm", "∓": r"\mp", "·": r"\cdot", "⋅": r"\cdot", "−": "-", "–": "-",
    "∗": "*", "∘": r"\circ", "•": r"\bullet", "⊕": r"\oplus", "⊗": r"\otimes", "∧": r"\wedge", "∨": r"\vee",
    "¬": r"\neg", "∀": r"\forall", "∃": r"\exists", "∞": r"\infty", "∂": r"\partial", "∇": r"\nabla",
    "∑": r"\sum", "∏": r"\prod", "∫": r"\int", "∬": r"\iint", "∮": r"\oint", "→": r"\rightarrow",
    "←": r"\leftarrow", "↔": r"\leftrightarrow", "⇒": r"\Rightarrow", "⇐": r"\Leftarrow",
    "⇔": r"\Leftrightarrow", "↦": r"\mapsto", "↑": r"\uparrow", "↓": r"\downarrow", "…": r"\ldots",
    "⋯": r"\cdots", "⋮": r"\vdots",
    "⋱": r"\ddots", "⟨": r"\langle", "⟩": r"\rangle", "⌊": r"\lfloor", "⌋": r"\rfloor", "⌈": r"\lceil",
    "⌉": r"\rceil", "‖": r"\|", "∣": r"\mid", "∥": r"\parallel", "⊥": r"\perp", "∠": r"\angle",
    "ℓ": r"\ell", "ℏ": r"\hbar", "ℵ": r"\aleph", "′": "'", "’": "'", "ı": r"\imath", "†": r"\dagger",
}  # fmt: skip
BLACKBOARD = dict(zip("ℂℍℕℙℚℝℤ", "CHNPQRZ", strict=True))
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni", strict=True)) | {"°": r"\circ"}
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎", "0123456789+-()", strict=True))

KNOWN_COMMANDS: frozenset[str] = (
    frozenset(name for name in ATOM_CLASSES if name.startswith("\\"))
    | frozenset(SYNONYMS) | frozenset(FONT_SYNONYMS) | frozenset(FONT_SWITCHES) | frozenset(TEXT_SYNONYMS)
    | SPACES | frozenset(STYLES) | frozenset(BIG_DELIMITERS) | frozenset(SIGNATURES) | frozenset(INFIX)
    | IGNORED | IGNORED_WITH_ARGUMENT | TEXT_ACCENTS | TEXT_SYMBOLS
    | _words(
        """left right middle limits nolimits not dots sp sb root of hskip kern mskip mkern hline cr mathchoice
        textcolor matrix pmatrix cases begin end begingroup endgroup bgroup egroup buildrel above
        overwithdelims atopwithdelims abovewithdelims"""
    )
) - {"~"}  # fmt: skip
