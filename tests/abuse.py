"""Malformed input for the tests: damaged files of every kind, bombs, hostile names and texts. The same for the same seed."""

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import PIL.Image

from hmer.ui.draw_and_upload import examples

PICTURES = ("PNG", "JPEG", "GIF", "WEBP")
MARK = "hmer-abuse"  # in names of files that must not come into being

INK = (
    b'<ink xmlns="http://www.w3.org/2003/InkML"><annotation type="truth">$x$</annotation>'
    b'<trace id="0">10 20, 30 40, 50 20</trace><trace id="1">12 60, 48 61</trace>'
    b'<traceGroup><traceGroup><annotation type="truth">x</annotation><traceView traceDataRef="0"/>'
    b'<traceView traceDataRef="1"/></traceGroup></traceGroup></ink>'
)

NAMES = (
    f"../../../{MARK}.png", f"..\\..\\{MARK}.png", f"/tmp/{MARK}.png", f"C:\\{MARK}.png", f"....//....//{MARK}.png",
    f"%2e%2e%2f{MARK}.png", f"{MARK}\x00.png", f"\x01\x02\x1b[2J{MARK}.png", f"{MARK}\r\nX-Evil: 1.png", f"a\t{MARK}.png",
    "\u202egnp.exe.png", "x" * 300 + ".png", "." * 200 + ".png", "con.png", " .png", ".png", "", ".", "..", "~root", "$(id).png",
    "`id`.png", "<img src=x onerror=alert(1)>.png", "'; DROP TABLE annotations; --.png", "\U0001f600.png",
    f"-rf {MARK}.png", "|ls.png", "a/b/c.png", "\xff\xfe.png", "x.inkml/../y.png",
)  # fmt: skip

TEXTS = (
    "'; DROP TABLE annotations; --", "' OR '1'='1", '"; DELETE FROM pictures; --', "1; ATTACH DATABASE '/tmp/x.db' AS x; --",
    "x' UNION SELECT sql FROM sqlite_master --", "%' AND 1=2 --", "%", "_", "\\", "?1", ":name", "{0.__class__}", "%s%n%x",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "javascript:alert(1)",
    "</textarea><iframe src=//example.com>", "{{7*7}}", "${jndi:ldap://x}", "\x00", "\x00\x01\x02\x1b[31m", "\r\n\r\n", "\u202eabc",
    "\u2028\u2029", "\ufeff", "A\u0300" * 500, "\ud800", "NaN", "null", "-1",
    "1e999", "9" * 400, "../../etc/passwd", "/dev/zero", "hf://../../etc", "hf://a/b@../..", "file:///etc/passwd", "~root", "x" * 50_000,
)  # fmt: skip

FORMULAS = (
    "{" * 20_000, "}" * 20_000, "{" * 5_000 + "x" + "}" * 5_000, r"\frac" * 5_000, r"\frac{1}{" * 2_000 + "1" + "}" * 2_000,
    r"\sqrt{" * 3_000 + "x" + "}" * 3_000, "x^{" * 3_000 + "x" + "}" * 3_000, "x^" * 5_000, "x_" * 5_000, "x^x^x^x", r"\left(" * 2_000,
    r"\left(" * 1_000 + "x" + r"\right)" * 1_000, r"\begin{matrix}" * 500, r"\begin{matrix}" * 300 + "x" + r"\end{matrix}" * 300,
    r"\begin{array}{" + "c" * 20_000 + "}x" + r"\end{array}", r"\begin{array}{*{99999}{c}}x\end{array}", "&" * 20_000, r"\\" * 20_000,
    r"\begin{aligned}" + r"a&b\\" * 5_000 + r"\end{aligned}", r"\def\x{\x\x}\x", r"\newcommand{\x}{\x}\x", r"\let\a\b", r"\catcode`\%=1",
    r"\input{/etc/passwd}", r"\include{x}", r"\write18{touch /tmp/" + MARK + "}", r"\immediate\write18{id}", r"\openin5=/etc/passwd",
    r"\csname x\endcsname", r"\expandafter\expandafter\expandafter x", r"\loop\iftrue\repeat", r"\href{javascript:alert(1)}{x}",
    r"\url{javascript:alert(1)}", r"\includegraphics{http://example.com/x.png}", r"\htmlData{onclick=alert(1)}{x}",
    r"\htmlId{x}{y}", r"\htmlStyle{position:fixed}{x}", r"\rule{99999em}{99999em}", r"\hspace{99999em}", r"\kern 99999em", r"\\[99999em]",
    r"\text{<script>alert(1)</script>}", r"\text{$\text{$\text{$x$}$}$}", r"\operatorname{<b>}", r"\color{expression(alert(1))}x",
    r"\textcolor{red;background:url(//example.com)}{x}", r"\verb|x", r"\begin{document}", r"\end{document}", r"\end{matrix}", "$" * 1_000,
    "$$", r"\(", r"\]", "%" * 1_000, "x % comment\n}", "#1", "~" * 5_000, "\\", "\\\\\\", r"\ ", "\\\x00", r"\limits", r"\right)", "^", "_", "'" * 5_000,
    "+".join(["x"] * 50_000), "\N{COMBINING ACUTE ACCENT}" * 5_000, "∑∫√∞≤", "x\u200bx", r"\unknowncommand{x}", r"\char999999999", r"^^M^^@",
)  # fmt: skip

JSONS: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, "", "x", [], {}, [[]], [{}], {"path": None}, {"path": 5}, {"path": "/etc/passwd"}, {"url": "http://127.0.0.1:1/x.png"},
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, {"path": "../../../etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"path": "http://127.0.0.1:1/x.png", "meta": {"_type": "gradio.FileData"}}, {"path": "", "meta": {"_type": "gradio.FileData"}},
    {"path": "x" * 5_000, "meta": {"_type": "gradio.FileData"}}, {"path": "\x00", "meta": {"_type": "gradio.FileData"}},
    {"path": ["a"], "meta": {"_type": "gradio.FileData"}}, {"meta": {"_type": "gradio.FileData"}}, {"path": "x", "meta": "x"},
    {"path": "x", "url": "file:///etc/passwd", "meta": {"_type": "gradio.FileData"}}, [1] * 1_000, {"a": {"b": {"c": {}}}}, {"__class__": "x"},
)  # fmt: skip


def pictures(kind: str, chance: random.Random) -> Iterator[bytes]:
    """Damaged pictures of one of PICTURES, without end."""
    while True:
        encoded = io.BytesIO()
        picture = PIL.Image.open(chance.choice(examples())).convert("P" if kind == "GIF" else "L")
        picture.save(encoded, format=kind)
        yield mutated(encoded.getvalue(), chance)


def inks(chance: random.Random) -> Iterator[bytes]:
    """Damaged InkML, without end."""
    while True:
        yield mutated(INK, chance)


def archives(chance: random.Random) -> Iterator[bytes]:
    """Damaged zip archives, and archives with hostile names and damaged pictures in them, without end."""
    while True:
        packed = io.BytesIO()
        picture = next(pictures(chance.choice(PICTURES), chance))
        with zipfile.ZipFile(packed, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            archive.writestr(zipfile.ZipInfo(chance.choice(NAMES) or "x"), picture)
            archive.writestr("b.png", examples()[0].read_bytes())
        yield mutated(packed.getvalue(), chance) if chance.random() < 0.7 else packed.getvalue()


def predictions(chance: random.Random) -> Iterator[Any]:
    """What stands in for an answer of /recognize, with something wrong in it, without end."""
    while True:
        answer: dict[str, Any] = {
            "latex": "x", "checkpoint": "handwritten", "tokens": ["x"], "confidence": 0.5, "decoding": {"strategy": "greedy"},
            "alternatives": [{"latex": "x", "probability": 0.5}], "seconds": 0.1,
        }  # fmt: skip
        for _ in range(chance.randint(1, 3)):
            value = chance.choice((*JSONS, *TEXTS, *FORMULAS))
            if chance.random() < 0.2:
                answer.pop(chance.choice(list(answer)), None)
            else:
                answer[chance.choice(list(answer) or ["latex"])] = value
        yield answer if chance.random() < 0.9 else chance.choice(JSONS)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Bytes with something wrong in them, most often near the beginning, where formats say what they hold."""
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        if not damaged:
            break
        at = (
            min(int(chance.expovariate(1 / 60)), len(damaged) - 1)
            if chance.random() < 0.6
            else chance.randrange(len(damaged))
        )
        _WAYS[chance.randrange(len(_WAYS))](damaged, at, chance)
    return bytes(damaged)


def _flip(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, at: int, chance: random.Random) -> None:
    data[at : at + 4] = chance.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", chance.randbytes(4)))


def _cut_off(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at:]


def _leave_out(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at : at + chance.randint(1, 200)]


def _repeat(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = data[at : at + chance.randint(1, 200)] * chance.randint(1, 20)


def _insert(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = chance.randbytes(chance.randint(1, 100))


_WAYS: tuple[Callable[[bytearray, int, random.Random], None], ...] = (
    _flip,
    _flip,
    _overwrite,
    _cut_off,
    _leave_out,
    _repeat,
    _insert,
)


# --- small files that claim to be large -------------------------------------------------------------------


def picture_bombs() -> Iterator[tuple[str, bytes]]:
    """Name and content."""
    zeros = zlib.compress(bytes(30_000_000), 9)
    for wide, tall in ((60_000, 60_000), (2**31 - 1, 1), (30_000, 1_000), (1, 1), (0, 0)):
        yield f"{wide}x{tall}.png", _png(wide, tall, zeros)
    text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    yield "text.png", _png(100, 100, zlib.compress(bytes(100 * 101)), (b"zTXt", text))
    yield (
        "profile.png",
        _png(100, 100, zlib.compress(bytes(100 * 101)), (b"iCCP", b"x\0\0" + zlib.compress(bytes(100_000_000), 9))),
    )
    yield (
        "huge.gif",
        b"GIF89a"
        + struct.pack("<HH", 65_535, 65_535)
        + b"\x80\0\0"
        + b"\0" * 6
        + b",\0\0\0\0"
        + struct.pack("<HH", 65_535, 65_535)
        + b"\0\x02\x02\x4c\x01\0;",
    )
    frames = io.BytesIO()
    still = PIL.Image.new("P", (300, 300))
    still.save(
        frames, "GIF", save_all=True, append_images=[PIL.Image.new("P", (300, 300), index % 2) for index in range(300)]
    )
    yield "frames.gif", frames.getvalue()
    yield "huge.jpg", b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\x01\x03\x11\x01" + bytes(1_000)
    yield (
        "huge.webp",
        b"RIFF"
        + struct.pack("<I", 30)
        + b"WEBPVP8X"
        + struct.pack("<I", 10)
        + b"\0\0\0\0\xff\xff\xff\xff\xff\xff"
        + bytes(12),
    )
    yield "huge.bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 2**30, 2**30, 1, 1, 0, 0, 0, 0, 0, 0)
    yield "zipped.png", gzip.compress(bytes(10_000_000))
    yield "noise.png", bytes(random.Random(0).randbytes(100_000))


def _png(wide: int, tall: int, pixels: bytes, *more: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", wide & 0xFFFFFFFF, tall & 0xFFFFFFFF, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), *more, (b"IDAT", pixels), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def ink_bombs() -> Iterator[tuple[str, bytes]]:
    """Name and content."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    yield "laughs.inkml", f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><ink><trace>&l9;</trace></ink>'.encode()
    yield "outside.inkml", b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><ink><trace>&e;</trace></ink>'
    yield "wide.inkml", '<!DOCTYPE x [<!ENTITY e "x">]><ink><trace>&e;</trace></ink>'.encode("utf-16")
    yield "deep.inkml", b"<ink>" + b"<traceGroup>" * 50_000 + b"</traceGroup>" * 50_000 + b"</ink>"
    yield "points.inkml", b"<ink><trace>" + b"1 1," * 1_000_000 + b"</trace></ink>"
    yield "traces.inkml", b"<ink>" + b"<trace>1 1, 2 2</trace>" * 50_000 + b"</ink>"
    for point in (
        "nan nan",
        "inf 1",
        "1e308 1e308, -1e308 -1e308",
        "1e39 0, 0 1e39",
        "1",
        "x y",
        "-" * 1_000,
        "0 0",
        "0 0, 1e9 1e-9",
    ):
        yield f"{point[:9]}.inkml", f"<ink><trace>{point}</trace></ink>".encode()
    yield (
        "attributes.inkml",
        b"<ink " + b" ".join(b'a%d="x"' % n for n in range(20_000)) + b"><trace>1 1, 9 9</trace></ink>",
    )
    yield "empty.inkml", b""
    yield "wrong.inkml", b"\x00\xff" * 1_000


def archive_bombs() -> Iterator[tuple[str, bytes]]:
    """Name and content."""

    def packed(*entries: tuple[str, bytes]) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries:
                archive.writestr(name, content)
        return file.getvalue()

    zeros = bytes(60_000_000)
    yield "zeros.zip", packed(*((f"{index}.png", zeros) for index in range(3)))
    yield "inner.zip", packed(("more.zip", packed(("a.png", zeros))))
    yield "many.zip", packed(*((f"{index}.txt", b"") for index in range(25_000)))
    yield "names.zip", packed(*((name or "x", b"x") for name in NAMES))
    yield "same.zip", packed(("a.png", b"x"), ("A.png", b"x"), ("a.png/b.png", b"x"))
    whole = packed(("a.png", examples()[0].read_bytes()))
    yield "twice.zip", whole + whole
    yield "before.zip", b"#!/bin/sh\n" + whole
    claim = bytearray(whole)
    claim[22:26] = b"\xff\xff\xff\x7f"
    yield "claim.zip", bytes(claim)
    for flag in (0x1, 0x8, 0x41):  # encrypted, sizes afterwards, strongly encrypted
        marked = bytearray(whole)
        for at in (marked.find(b"PK\x03\x04") + 6, marked.find(b"PK\x01\x02") + 8):
            marked[at] |= flag
        yield f"flag-{flag}.zip", bytes(marked)
    yield "empty.zip", packed()
    yield "nothing.zip", b""


def bodies(chance: random.Random, wellformed: dict[str, Any]) -> Iterator[bytes]:
    """Bodies of requests that are not what they should be, without end."""
    whole = json.dumps(wellformed).encode()
    while True:
        way = chance.randrange(5)
        if way == 0:
            yield mutated(whole, chance)
        elif way == 1:
            yield json.dumps({**wellformed, chance.choice(list(wellformed)): chance.choice(JSONS)}).encode()
        elif way == 2:
            yield json.dumps({"data": [chance.choice((*JSONS, *TEXTS)) for _ in range(chance.randint(0, 14))]}).encode()
        elif way == 3:
            yield chance.choice(
                (
                    b"",
                    b"null",
                    b"[]",
                    b"{",
                    b"\xff\xfe",
                    b"[" * 50_000,
                    b'{"data":' * 5_000,
                    b"NaN",
                    b'{"data": [1e999]}',
                    b"0" * 10_000,
                )
            )
        else:
            yield json.dumps({"data": chance.choice((*JSONS, *TEXTS))}).encode()
