"""The app as a Space: what is staged starts as there, keeps nothing unasked, and has limits."""

import ast
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import PIL.Image
import pytest
import yaml
from hub_server import Fault, HubServer
from toys import picture_of

from annotations import AnnotationStore, import_dataset
from hmer import hub, publish
from hmer.errors import CheckpointError, ConfigError, HubError, LatexError, LimitError
from hmer.ui import space
from hmer.ui.contributions import Contribution, Contributions
from hmer.ui.options import AppOptions, for_this_place
from hmer.ui.space import SpaceServices

ROOT = Path(__file__).parent.parent


def _deploy() -> ModuleType:
    """spaces/deploy.py, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("deploy", ROOT / "spaces" / "deploy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


deploy = _deploy()


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that would go to a Space."""
    return deploy.stage(tmp_path_factory.mktemp("space") / "staged")  # type: ignore[no-any-return]


def test_what_is_staged(staged: Path) -> None:
    files = set(deploy.staged_files(staged))
    weights = "hmer/checkpoints/handwritten/"
    assert {
        "app.py",
        "README.md",
        "requirements.txt",
        "NOTICE",
        f"{weights}model.safetensors",
        f"{weights}NOTICE",
    } <= files
    assert not any(re.match(r"spaces/|tests/|scripts/|\.git|.*/(replay|regression)/", path) for path in files)
    assert not (ROOT / "spaces" / "__init__.py").exists()
    with pytest.raises(ConfigError, match="is there already"):
        deploy.stage(staged)


def test_card_and_requirements_agree_with_the_project() -> None:
    card = yaml.safe_load((ROOT / "spaces" / "README.md").read_text().split("---\n")[1])
    ours = (ROOT / "requirements.txt").read_text().splitlines()
    theirs = [line for line in (ROOT / "spaces" / "requirements.txt").read_text().splitlines() if line[0] != "#"]
    assert set(theirs) <= set(ours)
    assert f"{card['sdk']}=={card['sdk_version']}" in theirs
    assert card["app_file"] in deploy.STAGED
    assert len(card["short_description"]) <= 60


PROGRAM = """
import json, os, sys
import app
from hmer.ui.options import AppOptions, for_this_place
from hmer.ui.build import build_app
blocks = build_app(for_this_place(AppOptions()))
import hmer
labels = [block.get("props", {}).get("label") for block in blocks.config["components"]]
print(json.dumps({"hmer": hmer.__file__,
                  "pages": [page[0] for page in blocks.pages], "labels": labels, "files": sorted(os.listdir(os.environ["HMER_HOME"]))}))
"""


def test_staged_blocks_are_built_where_gradio_knows_it_is_a_space(staged: Path, tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HF_ENDPOINT")}
    (tmp_path / "home").mkdir()
    there = {"HMER_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "SYSTEM": "spaces", "SPACE_ID": "x/y"}
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM],
        cwd=staged,
        env={**kept, **there},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert Path(told["hmer"]).is_relative_to(staged)
    assert told["files"] == []  # no database on the disk
    assert told["pages"] == [""]  # no desk
    assert "Terms of the weights: cc-by-nc-sa-3.0" in told["labels"]


def test_the_requirements_hold_whatever_the_app_may_import(staged: Path) -> None:
    waiting, seen, others = ["app"], set(), set()
    while waiting:
        name = waiting.pop()
        path = next((path for path in module_files(staged, name) if path.is_file()), None)
        if name in seen:
            continue
        seen.add(name)
        if path is not None:
            waiting += imported_by(path)
        elif name.split(".")[0] not in ("hmer", "annotations"):
            others.add(name.split(".")[0])
    assert {"hmer.ui.build", "hmer.recognizer", "annotations.store"} <= seen
    owners = metadata.packages_distributions()
    packages = {canonical(owners[name][0]) for name in others - sys.stdlib_module_names - {"__future__"}}
    assert packages <= needed_by(staged / "requirements.txt")


def module_files(root: Path, name: str) -> tuple[Path, Path]:
    """Where a module of the project may lie."""
    folder = root.joinpath(*name.split("."))
    return folder.with_suffix(".py"), folder / "__init__.py"


def imported_by(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it; what is taken from a module counts as one too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed_by(requirements: Path) -> set[str]:
    """Every package that pip would install for these requirements, as far as this environment has them."""
    waiting = [
        canonical(re.split(r"[\[=]", line)[0]) for line in requirements.read_text().splitlines() if line[0] != "#"
    ]
    found = {"pip", "setuptools"}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            further = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        waiting += [canonical(re.split(r"[^\w.-]", text)[0]) for text in further if "extra ==" not in text]
    return found


@pytest.mark.slow
def test_deploy_in_a_fresh_environment(hub_server: HubServer, capfd: pytest.CaptureFixture[str], staged: Path) -> None:
    assert deploy.main(["--to", "ada/formulas"]) == 0
    assert re.search(r"the staged app reads \S", capfd.readouterr().out)
    assert set(hub_server.files("space", "ada/formulas")) == set(deploy.staged_files(staged))


def test_upload_after_the_check_and_not_in_a_dry_run(
    hub_server: HubServer, staged: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Path) -> str:
        raise ConfigError("did not start")

    command = ["--to", "ada/formulas", "--python", sys.executable]
    monkeypatch.setattr(deploy, "check", refuse)
    with pytest.raises(ConfigError, match="did not start"):
        deploy.main(command)
    monkeypatch.setattr(deploy, "check", lambda *_: "x")
    assert deploy.main([*command, "--dry_run", "--out", str(tmp_path / "kept")]) == 0
    assert set(deploy.staged_files(tmp_path / "kept")) == set(deploy.staged_files(staged))
    assert hub_server.requests == []
    hub_server.create("space", "ada/other", {"app.py": b"theirs"})
    with pytest.raises(HubError, match=r"was not made by hmer, and app\.py"):
        deploy.main(["--to", "ada/other", *command[2:]])
    assert hub_server.files("space", "ada/other") == {"app.py": b"theirs"}
    assert deploy.main(command) == 0
    assert deploy.main(command) == 0  # nothing new
    files = hub_server.files("space", "ada/formulas")
    assert files == {path: content.read_bytes() for path, content in deploy.staged_files(staged).items()}
    assert hub_server.repos["space", "ada/formulas"].private


def test_a_staged_app_that_does_not_start_is_not_uploaded(staged: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "app.py").write_text("raise SystemExit('no weights')")
    with pytest.raises(ConfigError, match="did not start:\nno weights"), deploy.running(broken, Path(sys.executable)):
        pass


# --- for visitors ---------------------------------------------------------------------------------------------


class Visit:
    """Who asks, and when."""

    def __init__(self) -> None:
        self.name, self.now = "ada", 0.0


@pytest.fixture
def visit() -> Visit:
    return Visit()


@pytest.fixture
def services(visit: Visit, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpaceServices]:
    """The services of a Space; `visit` says who asks."""
    monkeypatch.setenv("SYSTEM", "spaces")
    opened = SpaceServices(for_this_place(AppOptions()), visit=lambda: visit.name, clock=lambda: visit.now)
    yield opened
    opened.close()
    assert {path.name for path in data_folder.iterdir()} <= {"hub"}  # only what a test itself pulled


def png(symbol: str) -> bytes:
    encoded = io.BytesIO()
    PIL.Image.fromarray(picture_of([(symbol, 0, 0, 1, 1)])).save(encoded, format="PNG")
    return encoded.getvalue()


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert for_this_place(AppOptions()) == AppOptions()
    monkeypatch.setenv("SYSTEM", "spaces")
    there = for_this_place(AppOptions(store="mine.db", max_file_mb=100, queue_size=1000))
    assert (there.host, there.store, there.max_file_mb, there.queue_size) == ("0.0.0.0", "sqlite://", 5, 20)


def test_every_visit_has_its_own_corrections(services: SpaceServices, visit: Visit, tmp_path: Path) -> None:
    saved = services.save(png("1"), "1", annotator="Ada Lovelace")
    assert (saved.annotation.annotator, services.accepted_count()) == ("", 1)
    visit.name = "bob"
    assert services.accepted_count() == 0
    with pytest.raises(LimitError, match="nothing to download yet"):
        services.zipped_corrections()
    services.save(png("2"), "2")
    services.save(png("2"), "x")

    earlier = services.zipped_corrections()
    archive = services.zipped_corrections()
    assert not earlier.exists()
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(tmp_path / "mine")
    with AnnotationStore(tmp_path / "again.db") as store:
        assert import_dataset(store, tmp_path / "mine").created == 2
        assert {item.correction for item in store.find()} == {"2", "x"}

    assert services.store is services.visitor().store
    services.forget("bob")
    assert not archive.exists()
    assert services.accepted_count() == 0
    visit.name = "ada"
    assert services.accepted_count() == 1


def test_without_a_visit_nothing_is_saved(services: SpaceServices, visit: Visit) -> None:
    visit.name = ""
    with pytest.raises(LimitError, match="belongs to no visit"):
        services.save(png("1"), "1")
    services.admit(1)
    assert services.accepted_count() == 0
    assert services.store.count() == 0


def test_limits(services: SpaceServices, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    services.admit(space.PICTURES_A_MINUTE)
    with pytest.raises(LimitError, match="30 pictures a minute are read for you"):
        services.admit(1)
    for name in ("bob", "cy", "di"):
        visit.name = name
        services.admit(space.PICTURES_A_MINUTE)
    visit.name = "eve"
    with pytest.raises(LimitError, match="for all visitors together"):
        services.admit(1)
    visit.now = 61.0
    services.admit(1)

    visit.name = "gil"
    for _ in range(space.SAVES_A_MINUTE):
        services.save(png("1"), "1")
    with pytest.raises(LimitError, match="15 corrections a minute are saved for you"):
        services.save(png("2"), "2")
    visit.now += 61.0
    services.save(png("2"), "2")
    monkeypatch.setattr(space, "SAVES_A_MINUTE_OF_ALL", 2)
    visit.name = "eve"
    services.save(png("1"), "1")
    with pytest.raises(LimitError, match="saved for all visitors together"):
        services.save(png("2"), "2")
    assert services.accepted_count() == 1
    visit.now += 61.0
    visit.name = "hal"

    monkeypatch.setattr(space, "MOST_CORRECTIONS", 1)
    jpeg = io.BytesIO()
    PIL.Image.effect_noise((200, 200), 50).save(jpeg, format="JPEG", quality=1)
    services.save(jpeg.getvalue(), "1")
    assert services.visitor().correction_bytes > 2 * len(jpeg.getvalue())  # counted as it is held
    with pytest.raises(LimitError, match="at most 1 corrections"):
        services.save(png("2"), "2")
    monkeypatch.setattr(space, "MOST_CORRECTIONS", 9)
    monkeypatch.setattr(space, "MOST_CORRECTION_BYTES", 10)
    with pytest.raises(LimitError, match="download yours"):
        services.save(png("2"), "2")
    monkeypatch.setattr(space, "VISITORS", 2)
    visit.name = "fay"
    services.admit(1)
    visit.name = "ada"
    assert services.accepted_count() == 0


def test_a_visitor_names_no_other_checkpoint(services: SpaceServices, toy_checkpoint: Path) -> None:
    assert [choice.reference for choice in services.checkpoints()] == ["automatic", "handwritten", "printed"]
    for reference in (str(toy_checkpoint), "/etc", "hf://ada/toy"):
        with pytest.raises(CheckpointError, match="here: there are handwritten"):
            services.recognizers.get(reference)


def test_terms_are_shown() -> None:
    assert "cc-by-nc-sa-3.0" in space.terms()
    assert "non-commercial use" in space.terms()


@pytest.fixture
def giving(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """A Hub where the owner of the Space named a dataset repository."""
    monkeypatch.setenv("HMER_DATASET", "ada/given")
    monkeypatch.setenv("HMER_DATASET_LICENCE", "cc-by-4.0")
    return hub_server


def test_only_what_a_visitor_agreed_to_is_given_away(
    giving: HubServer, services: SpaceServices, visit: Visit, tmp_path: Path
) -> None:
    assert services.contributions is not None
    sentence = space.consent_sentence(services.contributions)
    assert "ada/given" in sentence and "cc-by-4.0" in sentence
    services.save(png("1"), "1")
    assert "this visit only" in services.kept_where()
    services.visitor().agreed = True
    assert services.kept_where().endswith("also go to ada/given")
    services.save(png("2"), r"\frac12")
    services.save(png("2"), r"\frac12")
    with pytest.raises(LatexError):
        services.save(png("2"), "{")
    visit.name = "bob"
    services.save(png("x"), "x")
    assert services.contributions.waiting() == 1
    services.contributions.send()
    services.contributions.send()
    assert len(giving.committed) == 1
    assert giving.repos["dataset", "ada/given"].private
    card = giving.files("dataset", "ada/given")["README.md"].decode()
    assert "not reviewed" in card and "0 different formulas" not in card
    assert publish.pull_dataset("hf://datasets/ada/given", tmp_path / "given") == 1
    assert r"\frac { 1 } { 2 }" in (tmp_path / "given" / "labels.tsv").read_text()


def test_a_failing_hub_loses_nothing(
    giving: HubServer, services: SpaceServices, caplog: pytest.LogCaptureFixture
) -> None:
    assert services.contributions is not None
    services.visitor().agreed = True
    services.save(png("1"), "1")
    giving.faults.append(Fault("POST .*/commit/", 403))
    services.contributions.send()
    assert services.contributions.waiting() == 1
    assert "1 corrections wait on" in caplog.text
    services.save(png("2"), "2")
    services.contributions.close()
    assert services.contributions.waiting() == 0
    assert len(giving.committed[0]["lfsFile"]) == 2


def test_what_failed_is_sent_again_without_a_further_correction(giving: HubServer) -> None:
    contributions = Contributions(publish.destination("ada/given", "dataset"), "cc-by-4.0", send_every_s=0.05)
    giving.faults.append(Fault("POST .*/commit/", 403))
    contributions.add(Contribution("a" * 64, png("1"), "1"))
    give_up = time.monotonic() + 20
    while not giving.committed and time.monotonic() < give_up:
        time.sleep(0.05)
    assert giving.faults == []
    assert len(giving.committed) == 1
    contributions.close()
    assert contributions.waiting() == 0


def test_whatever_fails_loses_nothing(giving: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    contributions = Contributions(publish.destination("ada/given", "dataset"), "cc-by-4.0", send_every_s=0.05)
    add = hub.add
    broken = iter([ValueError("a bug"), OSError("no room")])

    def fail_at_first(*arguments: object, **named: object) -> str:
        for error in broken:
            raise error
        return add(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(hub, "add", fail_at_first)
    contributions.add(Contribution("a" * 64, png("1"), "1"))
    give_up = time.monotonic() + 20
    while contributions.waiting() or not giving.committed:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    assert len(giving.committed) == 1
    contributions.close()


def test_settings_of_the_owner_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMER_DATASET", "ada/given")
    with pytest.raises(ConfigError, match="visitors must be told one"):
        space.configured_contributions()
    monkeypatch.setenv("HMER_DATASET_LICENCE", "cc-by-4.0")
    monkeypatch.setenv("HMER_DATASET", "given")
    with pytest.raises(HubError, match="give owner/name"):
        space.configured_contributions()
    monkeypatch.delenv("HMER_DATASET")
    assert space.configured_contributions() is None
