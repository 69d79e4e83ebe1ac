"""Rendered dataset folders: resumable, their failures reported, their looks varied; IM2LaTeX-100k's layout."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from hmer import tex
from hmer.datasets.folder import read_dataset, read_rows
from hmer.datasets.im2latex import as_typeset
from hmer.datasets.rendering import Look, as_im2latex, draw_look, is_simple, render, ziamath_picture
from hmer.errors import DatasetError
from hmer.places import read_places
from hmer.tex import Drawing, Failure, Job
from scripts import prepare_im2latex, render_formulas


def fake_draw(jobs: Sequence[Job], **_: object) -> list[Drawing | Failure]:
    """A bar as long as the formula, which is its first token's; TeX knows no \\heartsuit today."""
    return [
        Failure("no hearts")
        if "heart" in job.latex
        else Drawing(
            np.zeros((12, 10 + len(job.latex)), np.uint8),
            np.array([[0, 0, 0, 10 + len(job.latex), 12]], np.float32) if job.located else None,
        )
        for job in jobs
    ]


@pytest.fixture
def without_tex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tex, "draw", fake_draw)
    monkeypatch.setattr(tex, "is_installed", lambda: True)
    monkeypatch.setattr("hmer.datasets.rendering.CHUNK", 2)
    monkeypatch.setattr(render_formulas, "CHUNK", 2)


@pytest.mark.usefixtures("without_tex")
def test_a_list_becomes_a_dataset_folder_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "list.tsv", tmp_path / "out"
    source.write_text("a\tx+1\nb\t\\heartsuit\nb\t\\frac{a}\nc\t\\left(y^2\\right)~\nc\tz^2\n", encoding="utf-8")
    command = [str(source), "--out", str(out), "--style", "im2latex"]
    assert render_formulas.main(command) == 0
    rows = read_rows(out)
    assert [(row["latex"], row["source"], row["look"]) for row in rows] == [
        ("x + 1", "a", "im2latex"),
        (r"\left ( y ^ { 2 } \right )", "c", "im2latex"),
        ("z ^ { 2 }", "c", "im2latex"),
    ]
    items = read_dataset(out, "printed")
    assert len(items) == 3
    for item in items:  # the box of the first token is the bar
        places, picture = read_places(item.places), cv2.imread(str(item.path), cv2.IMREAD_GRAYSCALE)
        assert places is not None and picture is not None
        ((token, left, top, right, bottom),) = places.astype(int).tolist()
        assert token == 0 and (picture[top:bottom, left:right] < 128).mean() > 0.8
        assert (picture < 128).sum() == (picture[top:bottom, left:right] < 128).sum()
    assert not read_dataset(out, "crohme")[1].places  # there its tokens are others
    refused = (out / "not_rendered.tsv").read_text(encoding="utf-8")
    assert "no hearts" in refused and r"\frac needs an argument" in refused
    assert "not rendered:      1  no hearts" in capsys.readouterr().out

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    (out / "0001" / "labels.tsv").unlink()  # as if it had been stopped there
    (out / "labels.tsv").unlink()
    assert render_formulas.main(command) == 0
    again = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert read_rows(out) == rows
    assert {path.parent.name for path in before if before[path] != again[path]} == {"0001"}

    with pytest.raises(DatasetError, match="other formulas or settings"):
        render_formulas.main([*command, "--seed", "5"])


@pytest.mark.usefixtures("without_tex")
@pytest.mark.parametrize("more", [[], ["--compose", "9"]])
def test_several_processes_make_what_one_makes(tmp_path: Path, more: list[str]) -> None:
    source = tmp_path / "list.txt"
    source.write_text("x + 1\na b c\nc ^ 2\ny + z\n", encoding="utf-8")
    for processes in ("1", "2"):
        command = [str(source), "--out", str(tmp_path / processes), "--cap", "1", *more, "--processes", processes]
        assert render_formulas.main(command) == 0
    assert read_rows(tmp_path / "1") == read_rows(tmp_path / "2")
    assert len(read_rows(tmp_path / "2")) == (9 if more else 4)


@pytest.mark.usefixtures("without_tex")
def test_composed_formulas_are_not_those_excluded(tmp_path: Path) -> None:
    source, excluded, out = tmp_path / "list.txt", tmp_path / "validation.txt", tmp_path / "out"
    source.write_text("x + 1\na b c\n", encoding="utf-8")
    excluded.write_text("{ a } b c\n", encoding="utf-8")
    assert (
        render_formulas.main(
            [str(source), "--out", str(out), "--compose", "7", "--exclude", str(excluded), "--cap", "1"]
        )
        == 0
    )
    rows = read_rows(out)
    assert len(rows) == 7
    assert all(row["latex"] != "a b c" for row in rows)


@pytest.mark.usefixtures("without_tex")
def test_a_list_loses_what_is_excluded_and_nothing_else(tmp_path: Path) -> None:
    source, excluded, out = tmp_path / "list.txt", tmp_path / "validation.txt", tmp_path / "out"
    formulas = [f"a + b_{{{number}}} = c" for number in range(24)] + [r"\mathfrak{x}", r"\frac{a}", "a b c"]
    source.write_text("\n".join(formulas) + "\n", encoding="utf-8")
    excluded.write_text("{ a } b c\n", encoding="utf-8")
    assert render_formulas.main([str(source), "--out", str(out), "--exclude", str(excluded)]) == 0
    assert len(read_rows(out)) == 25
    assert r"\frac{a}" in (out / "not_rendered.tsv").read_text(encoding="utf-8")


def test_looks_are_many() -> None:
    looks = [draw_look(np.random.default_rng(seed)) for seed in range(400)]
    assert {look.name for look in looks} == {"im2latex", "tex", "ziamath"}
    assert {look.font for look in looks} == set(tex.FONTS)
    assert any(sum(look.paper) < sum(look.ink) for look in looks)
    assert any(look.number for look in looks)


@pytest.mark.usefixtures("without_tex")
def test_colours_and_margins_are_as_the_look_says() -> None:
    look = Look("tex", ink=(250, 240, 10), paper=(10, 20, 30), margin_px=5)
    (picture,) = render(["x"], [look], located=True)
    assert not isinstance(picture, Failure)
    assert picture.places is not None and picture.places.tolist() == [[0, 5, 5, 16, 17]]
    assert picture.pixels.shape == (22, 21, 3)
    assert picture.pixels[0, 0].tolist() == [10, 20, 30]
    assert picture.pixels[10, 10].tolist() == [250, 240, 10]


def test_im2latex_pictures_are_halved_heavy_and_padded() -> None:
    grey = np.full((40, 101), 255, np.uint8)
    grey[10:30:4] = 200  # what ink barely touches is black there
    picture = as_im2latex(grey)
    assert picture.shape == (50, 120)
    assert picture.min() < 150
    assert (picture[30:] == 255).all()


def test_ziamath_draws_what_it_is_known_to_draw() -> None:
    picture = ziamath_picture(r"\frac { a } { b } + x ^ { 2 }", 30.0)
    assert picture is not None and 30 < picture.shape[0] < 120 and picture.min() < 50
    assert is_simple(r"\frac { a } { \alpha _ { 1 } }")
    assert not is_simple(r"\begin{matrix} a \end{matrix}")


def test_published_lists_are_spelt_as_they_were_typeset() -> None:
    assert as_typeset(r"a \dots b \dotsc") == r"a \ldots b \dotsc"
    assert as_typeset(r"\mathrm { \boldmath ~ \phi ~ } ( r )") == r"\boldsymbol { \phi } ( r )"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    (tmp_path / "formulas.lst").write_bytes(b"x+1\r\n\\frac{a}\ny\rz\n\xe9\n")  # breaks are \n alone
    (tmp_path / "train.lst").write_text("0 aa basic\n2 bb basic\n1 cc basic\n2 missing basic\n0 aa basic\n")
    images = tmp_path / "images"
    images.mkdir()
    for name in ("aa", "bb", "cc"):
        cv2.imwrite(str(images / f"{name}.png"), np.full((20, 20), 255, np.uint8))
    return tmp_path


@pytest.mark.parametrize("order", ["number first", "name first"])
def test_the_published_layout_becomes_a_dataset_folder(
    published: Path, order: str, capsys: pytest.CaptureFixture[str]
) -> None:
    split, out = published / "train.lst", published / "out"
    if order == "name first":
        split.write_text("aa.png 0\nbb.png 2\ncc.png 1\nmissing.png 2\naa.png 0\n")
    command = [str(published / "formulas.lst"), str(split), str(published / "images"), "--out", str(out)]
    assert prepare_im2latex.main(command) == 0
    assert [(row["file"], row["latex"]) for row in read_rows(out)] == [("aa.png", "x+1"), ("bb.png", "y z")]
    printed = capsys.readouterr().out
    assert "there is no such picture" in printed and "stands twice" in printed and "line 2 of formulas.lst" in printed
    with pytest.raises(DatasetError, match="not empty"):
        prepare_im2latex.main(command)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("aa\n", "expected lines"),
        ("aa 9\n", "names no line"),
        ("../aa 0\n", "none of its pictures"),
        ("", "expected lines"),
    ],
)
def test_a_split_list_that_fits_nothing_is_refused(published: Path, lines: str, message: str) -> None:
    split = published / "train.lst"
    split.write_text(lines)
    with pytest.raises(DatasetError, match=message):
        prepare_im2latex.main(
            [str(published / "formulas.lst"), str(split), str(published / "images"), "--out", str(published / "out")]
        )
