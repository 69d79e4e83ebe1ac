"""Checkpoints named by hf://owner/name: pulled, checked, remembered; hostile ones are refused by name."""

import ast
import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from hub_server import Fault, HubServer
from safetensors.torch import load_file, save
from toys import picture_of, write_dataset

from hmer import checkpoint
from hmer.checkpoint import CONFIG, WEIGHTS, pull, pulled, resolve
from hmer.errors import CheckpointError, HubError
from hmer.recognizer import Recognizer

REFERENCE = "hf://ada/toy"


@pytest.fixture(autouse=True)
def _home(data_folder: Path) -> None:
    """A data folder of its own."""


@pytest.fixture
def files(toy_checkpoint: Path) -> dict[str, bytes]:
    """The toy checkpoint's files by name."""
    return {path.name: path.read_bytes() for path in toy_checkpoint.iterdir() if path.is_file()}


def test_used_by_name_everywhere(
    hub_server: HubServer, toy_checkpoint: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    replay = write_dataset(tmp_path / "replay", {"1": [("1", 0, 0, 1, 1)]})
    files |= {f"replay/{path.name}": path.read_bytes() for path in replay.iterdir()}
    hub_server.create("model", "ada/toy", files)
    picture = picture_of([("1", 0, 0, 1, 1)])
    here, there = Recognizer.load(toy_checkpoint), Recognizer.load(REFERENCE)
    assert there.id == here.id
    assert there.recognize([picture])[0].tokens == here.recognize([picture])[0].tokens
    hub_server.requests.clear()
    hub_server.faults.append(Fault("", 500, times=100))
    folder = resolve(REFERENCE)
    assert (folder / "replay" / "labels.tsv").read_bytes() == files["replay/labels.tsv"]
    assert Recognizer.load(REFERENCE).id == here.id
    assert pulled() == {REFERENCE: folder}
    assert hub_server.requests == []


def test_what_was_not_pulled_yet_is_not_fetched_unasked(hub_server: HubServer, files: dict[str, bytes]) -> None:
    hub_server.create("model", "ada/toy", files)
    with pytest.raises(CheckpointError, match="was not pulled yet"):
        resolve(REFERENCE, fetch=False)
    assert hub_server.requests == []
    folder = pull(REFERENCE)
    assert resolve(REFERENCE, fetch=False) == folder


def test_errors_of_the_hub_are_checkpoint_errors_here(hub_server: HubServer) -> None:
    with pytest.raises(CheckpointError, match="there is none, or it is private"):
        resolve(REFERENCE)
    with pytest.raises(CheckpointError, match="names nothing on the Hub"):
        resolve("hf://ada")
    with pytest.raises(CheckpointError, match="is a dataset"):
        resolve("hf://datasets/ada/toy")


class Evil:
    """Would make a file if it were unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "modeling_hmer.py", "replay/run.py", "resume.pt", "replay/deep/a.png", ".hidden", "x.so"],
)
def test_a_file_that_no_checkpoint_has(
    hub_server: HubServer, files: dict[str, bytes], name: str, tmp_path: Path
) -> None:
    trap = tmp_path / "executed"
    hub_server.create("model", "ada/toy", {**files, name: pickle.dumps(Evil(str(trap)))})
    with pytest.raises(CheckpointError, match=f"hf://ada/toy: holds '{name}', which no checkpoint has"):
        pull(REFERENCE)
    assert hub_server.asked("resolve") == []
    assert not trap.exists()


def unpicklers(source: str) -> list[str]:
    """The calls in a source that may execute what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        safe = any(key.arg == "weights_only" and ast.unparse(key.value) == "True" for key in node.keywords)
        loads = name in ("torch.load", "torch.hub.load") or name.endswith("load_state_dict_from_url")
        if (loads and not safe) or re.fullmatch(r"(c?[pP]ickle|joblib|dill|marshal)\.loads?", name):
            found.append(ast.unparse(node))
        found += [
            ast.unparse(node)
            for key in node.keywords
            if key.arg == "allow_pickle" and ast.unparse(key.value) != "False"
        ]
    return found


def test_nothing_unpickles_what_could_be_code() -> None:
    root = Path(checkpoint.__file__).parents[1]
    paths = [path for folder in ("hmer", "annotations", "scripts", "spaces") for path in (root / folder).rglob("*.py")]
    assert {path.name: found for path in paths if (found := unpicklers(path.read_text(encoding="utf-8")))} == {}
    bad = ["torch.load(f)", "torch.load(f, weights_only=False)", "pickle.load(f)", "np.load(f, allow_pickle=True)"]
    assert [unpicklers(source) for source in bad] == [[source] for source in bad]


def test_a_pickle_named_safetensors(hub_server: HubServer, files: dict[str, bytes], tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    hub_server.create("model", "ada/toy", {**files, WEIGHTS: pickle.dumps(Evil(str(trap)))})
    with pytest.raises(
        CheckpointError, match=r"hf://ada/toy: was refused. model\.safetensors: cannot be read as safetensors"
    ):
        pull(REFERENCE)
    assert not trap.exists()
    assert pulled() == {}


def test_a_claimed_10_gb(hub_server: HubServer, files: dict[str, bytes]) -> None:
    repo = hub_server.create("model", "ada/toy", files)
    tree = repo.trees[repo.branches["main"]]
    old = tree[WEIGHTS]
    tree[WEIGHTS] = type(old)(old.sha256, 10 * 2**30, old.git_sha1, old.lfs)
    with pytest.raises(CheckpointError, match=r"'model\.safetensors' has 10,737,418,240 bytes"):
        pull(REFERENCE)
    assert hub_server.asked("resolve") == []


def test_wrong_shapes_and_settings(hub_server: HubServer, files: dict[str, bytes], toy_checkpoint: Path) -> None:
    weights = load_file(toy_checkpoint / WEIGHTS)
    name = sorted(weights)[0]
    settings = json.loads(files[CONFIG])
    damaged = {
        "has shape": {WEIGHTS: save({**weights, name: torch.zeros(3, 3)})},
        "unexpected": {WEIGHTS: save({**weights, "extra": torch.zeros(1)})},
        "missing": {WEIGHTS: save({key: value for key, value in weights.items() if key != name})},
        "not numbers": {WEIGHTS: save({**weights, name: weights[name] * float("nan")})},
        "unknown setting": {CONFIG: json.dumps({**settings, "auto_map": "x.py"}).encode()},
        "is not one of": {CONFIG: json.dumps({**settings, "label_form": "other"}).encode()},
        "printable": {CONFIG: json.dumps({**settings, "name": "a\n"}).encode()},
        "cannot be read": {CONFIG: b"\x80\x04}"},
        "at most 500,000,000": {
            CONFIG: json.dumps(
                {**settings, "model": {**settings["model"], "decoder_width": 8192, "decoder_layers": 64}}
            ).encode()
        },
    }
    for number, (said, changes) in enumerate(damaged.items()):
        hub_server.create("model", f"ada/toy{number}", {**files, **changes})
        with pytest.raises(CheckpointError, match=f"hf://ada/toy{number}: was refused.*{said}"):
            pull(f"hf://ada/toy{number}")
    assert pulled() == {}


def test_no_checkpoint_at_all(hub_server: HubServer, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    hub_server.create("model", "ada/toy", {"README.md": b"# nothing"})
    with pytest.raises(
        CheckpointError, match=r"is no checkpoint of hmer \(it has no config\.json, model\.safetensors\)"
    ):
        pull(REFERENCE)
    hub_server.create("model", "ada/toy", files)
    monkeypatch.setattr(checkpoint, "MAX_FILES", 2)
    with pytest.raises(CheckpointError, match="it has 3 files"):
        pull(REFERENCE)


def test_a_bad_new_version_leaves_the_old_one(hub_server: HubServer, files: dict[str, bytes]) -> None:
    hub_server.create("model", "ada/toy", files)
    folder = pull(REFERENCE)
    hub_server.commit("model", "ada/toy", {WEIGHTS: b"spoilt"})
    with pytest.raises(CheckpointError, match="was refused"):
        pull(REFERENCE)
    hub_server.commit("model", "ada/toy", {"../x": b"spoilt"})
    with pytest.raises(HubError, match="which is refused"):
        pull(REFERENCE)
    assert resolve(REFERENCE) == folder
    assert Recognizer.load(REFERENCE).config.name == "toy"
