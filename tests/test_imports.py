"""Imports go one way: DESIGN.md's directions, read from the source."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hmer", "annotations", "scripts", "spaces")


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found["app"] = ROOT / "app.py"
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """Dotted names that a module imports, wherever in it; what it takes from a package, as a module if it is one."""
    path = MODULES[name]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                base = ".".join(filter(None, [*package[: len(package) - node.level + 1], base]))
            found.update(f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names)
    return found


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def offenders(of: list[str], *forbidden: str) -> list[str]:
    return [f"{name} imports {other}" for name in of for other in sorted(imports(name)) if within(other, *forbidden)]


CORE = [name for name in MODULES if within(name, "hmer") and not within(name, "hmer.ui")]
FORBIDDEN = {
    "hmer outside its ui": (CORE, ("annotations", "gradio", "hmer.ui", "scripts", "app", "sqlalchemy")),
    "annotations": (
        [name for name in MODULES if within(name, "annotations")],
        ("torch", "gradio", "hmer.ui", "hmer.models", "hmer.recognizer", "hmer.trainer", "hmer.checkpoint", "scripts", "app"),
    ),
    "the ui": ([name for name in MODULES if within(name, "hmer.ui")], ("scripts", "app")),
    "models": (
        [name for name in MODULES if within(name, "hmer.models")],
        ("hmer.checkpoint", "hmer.recognizer", "hmer.trainer", "hmer.finetune", "hmer.datasets"),
    ),
    "decoding": (["hmer.decoding"], ("hmer.models", "hmer.checkpoint", "hmer.recognizer", "hmer.grammar", "hmer.trainer")),
    "checkpoint": (["hmer.checkpoint"], ("hmer.recognizer", "hmer.trainer", "hmer.finetune")),
    "recognizer": (["hmer.recognizer"], ("hmer.trainer", "hmer.finetune", "hmer.datasets")),
    "what all may use": (
        ["hmer.latex", "hmer.latex_parser", "hmer.latex_lexer", "hmer.latex_commands", "hmer.latex_labels", "hmer.latex_pretty", "hmer.errors", "hmer.config", "hmer.image", "hmer.ink"],
        ("hmer.models", "hmer.decoding", "hmer.checkpoint", "hmer.recognizer", "hmer.trainer", "hmer.datasets"),
    ),
    "app.py": (["app", "hmer.ui.serve"], ("torch", "sqlalchemy", "sqlite3")),
    "everything": (list(MODULES), ("spaces", "tests")),
}  # fmt: skip


@pytest.mark.parametrize("who", FORBIDDEN)
def test_imports_go_one_way(who: str) -> None:
    of, forbidden = FORBIDDEN[who]
    assert of
    assert offenders(of, *forbidden) == []


def test_a_forbidden_import_would_be_found() -> None:
    assert "hmer.models.base" in imports("hmer.models.transformer")
    assert offenders(["scripts.finetune"], "annotations") == ["scripts.finetune imports annotations"]


def test_modules_do_not_import_in_circles() -> None:
    known = {name: {other for other in imports(name) if other in MODULES} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in known[name]:
                # A package's __init__ gathers its modules, which may name it again.
                if not within(other, name) and not within(name, other):
                    visit(other, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def loaded_by(code: str) -> set[str]:
    """The top-level modules that are there after running `code` in a fresh interpreter."""
    program = f"{code}\nimport sys; print(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split())


LIGHT = "annotations, annotations.store, annotations.export, annotations.imports, scripts.manage_annotations"


def test_annotations_do_without_torch_and_gradio() -> None:
    loaded = loaded_by(f"import {LIGHT}, hmer.latex, hmer.ink, hmer.datasets.folder, hmer.errors, hmer.home")
    assert {"annotations", "hmer", "sqlalchemy"} <= loaded
    assert loaded & {"torch", "gradio", "torchvision", "accelerate"} == set()


def test_the_recogniser_does_without_gradio_and_a_database() -> None:
    loaded = loaded_by("import hmer.recognizer")
    assert "torch" in loaded
    assert loaded & {"gradio", "sqlalchemy", "annotations", "accelerate", "matplotlib", "pandas"} == set()
