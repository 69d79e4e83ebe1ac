"""Put the app on a Hugging Face Space: stage what it needs, start that in a fresh environment, then upload.

    python spaces/deploy.py --to ada/formulas --dry_run
    python spaces/deploy.py --to ada/formulas

The staged folder must start as on a Space, with nothing installed but its requirements, and read an example through
its API; otherwise nothing is uploaded. --dry_run stops before the upload. This folder is no package and is not staged:
on a Space gradio imports a package named `spaces`.
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # works from a clone, installed or not

from gradio_client import Client, handle_file

from hmer import hub, publish
from hmer.command_line import run
from hmer.errors import ConfigError

STAGED = {
    "app.py": "app.py", "hmer": "hmer", "annotations": "annotations", "LICENSE": "LICENSE", "NOTICE": "NOTICE",
    "spaces/README.md": "README.md", "spaces/requirements.txt": "requirements.txt",
}  # fmt: skip
# Training settings, and what only fine-tuning reads.
LEFT_OUT = ("__pycache__", "*.pyc", "configs", "replay", "regression")
START_TIMEOUT_S = 180.0


def main(argv: Sequence[str] | None = None) -> int:
    """Stage, check, upload; 1 with a message when the staged app does not work."""
    parser = argparse.ArgumentParser(prog="deploy.py", description="Put the app on a Hugging Face Space.")
    parser.add_argument("--to", required=True, help="owner/name of the Space")
    parser.add_argument("--public", action="store_true", help="make a new Space public")
    parser.add_argument("--dry_run", action="store_true", help="stage and check only; nothing is uploaded")
    parser.add_argument(
        "--replace", action="store_true", help="also remove and replace files of a Space that is not hmer's"
    )
    parser.add_argument("--out", default="", help="keep the staged folder here (a new folder)")
    parser.add_argument(
        "--python", default="", help="check with this interpreter instead of a fresh environment (quicker, proves less)"
    )
    options = parser.parse_args(argv)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # the API's client would report its use
    to = hub.Repository("space", publish.destination(options.to, "model").id)
    with tempfile.TemporaryDirectory(prefix="hmer-space-") as working:
        staged = stage(Path(options.out) if options.out else Path(working) / "staged")
        files = staged_files(staged)
        print(
            f"staged {len(files)} files, {sum(path.stat().st_size for path in files.values()) / 1e6:.1f} MB", flush=True
        )
        python = Path(options.python) if options.python else fresh_environment(staged, Path(working) / "venv")
        print(f"the staged app reads {check(staged, python)}", flush=True)
        if options.dry_run:
            print("nothing was uploaded")
            return 0
        changes = hub.changes(to, files)
        print(publish.told(changes, to), flush=True)
        pushed = hub.push(
            to, files, "Deploy",
            private=not options.public, space_sdk="gradio", seen=changes, replace_foreign=options.replace,
        )  # fmt: skip
    print(f"{pushed.url}: {len(pushed.added)} files sent, {len(pushed.removed)} removed, commit {pushed.commit}")
    return 0


def stage(folder: Path) -> Path:
    """Copy what a Space needs into a new folder. Raises ConfigError when it is there already."""
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; name a new folder.")
    folder.mkdir(parents=True)
    for source, target in STAGED.items():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns(*LEFT_OUT))
        else:
            shutil.copyfile(ROOT / source, folder / target)
    return folder


def staged_files(folder: Path) -> dict[str, Path]:
    """The files of a staged folder by their path in the repository, without what running it left."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def fresh_environment(staged: Path, folder: Path) -> Path:
    """A new environment with the staged requirements; gives its interpreter. Raises ConfigError."""
    print("making a fresh environment (some minutes)", flush=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", str(folder)], [*install, "-r", str(staged / "requirements.txt")]):
        if subprocess.run(command, check=False).returncode:  # noqa: S603
            raise ConfigError(f"The fresh environment could not be made: {' '.join(command)} failed.")
    return python


def check(staged: Path, python: Path) -> str:
    """What the staged app, started as on a Space, reads in its first example, asked through the API.

    Raises ConfigError, with the app's output when it does not start.
    """
    with running(staged, python) as url:
        return ask(url, staged)


def ask(url: str, staged: Path) -> str:
    """What the app at an address reads in the first staged example. Raises ConfigError when that is nothing."""
    example = sorted((staged / "hmer" / "ui" / "examples").glob("*.png"))[0]
    answer = Client(url, verbose=False).predict(image=handle_file(str(example)), api_name="/recognize")
    if not answer.get("latex"):
        raise ConfigError(f"The staged app read nothing in {example.name}: {answer}.")
    return str(answer["latex"])


@contextlib.contextmanager
def running(staged: Path, python: Path, **settings: str) -> Iterator[str]:
    """The staged app on a free port of this computer, with a Space's surroundings and little else; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="hmer-space-home-") as home:
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LANG") if name in os.environ}
        places = {"HOME": home, "HMER_HOME": f"{home}/data", "HF_HOME": f"{home}/hub", "PYTHONDONTWRITEBYTECODE": "1"}
        surroundings = {**kept, **places, "SYSTEM": "spaces", "SPACE_ID": "x/y", **settings}
        command = [str(python), "app.py", "--host", "127.0.0.1", "--port", str(port)]
        log = Path(home) / "app.log"
        with log.open("w") as output:
            process = subprocess.Popen(  # noqa: S603
                command, cwd=staged, env=surroundings, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            give_up = time.monotonic() + START_TIMEOUT_S
            while "hmer is at" not in log.read_text():
                if process.poll() is not None or time.monotonic() > give_up:
                    raise ConfigError(f"The staged app did not start:\n{log.read_text()}")
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait(timeout=30)


if __name__ == "__main__":
    sys.exit(run(main))
