"""hmer.hub with the real client against a Hub on this computer: pull, push, list, and what goes wrong."""

import random
import time
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from hub_server import READ_TOKEN, WRITE_TOKEN, Fault, HubServer

from hmer import hub, hub_client
from hmer.errors import CheckpointError, HubError
from hmer.hub import RemoteFile, Repository

FILES = {"weights.safetensors": random.Random(0).randbytes(300_000), "config.json": b"{}", "replay/a.png": b"png"}
REFERENCE = "hf://ada/model"


@pytest.fixture(autouse=True)
def waits(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A data folder of its own, and the waits between attempts in seconds, which are only noted."""
    noted: list[float] = []
    for module in (hub, hub_client, huggingface_hub.utils._http):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=noted.append))
    return noted


def anything(_: object) -> None:
    """Accepts."""


def pull(reference: str = REFERENCE, **options: object) -> Path:
    return hub.pull(reference, **{"accept": anything, "check": anything, **options})  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("hf://ada/model", Repository("model", "ada/model")),
        ("hf://ada/model@v2", Repository("model", "ada/model", "v2")),
        ("hf://ada/m.2_x@refs/pr/1", Repository("model", "ada/m.2_x", "refs/pr/1")),
        ("hf://datasets/ada/ink@main", Repository("dataset", "ada/ink")),
    ],
)
def test_references(reference: str, repository: Repository) -> None:
    assert hub.parse(reference) == repository
    assert hub.parse(str(repository)) == repository


@pytest.mark.parametrize(
    "text",
    ["hf://", "hf://ada", "hf://ada/model@", "hf://ada/../x", "hf://ada/a--b", "hf://ada/m@../x", "hf://a/b/c", "hf://-a/b",
     "hf://ada/m@a b", "hf://ada/m\n"],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(HubError, match="names nothing on the Hub"):
        hub.parse(text)


def test_pulled_once_and_then_without_any_request(hub_server: HubServer) -> None:
    hub_server.create("model", "ada/model", FILES, private=True)
    seen: list[tuple[int, int]] = []
    folder = pull(progress=lambda there, total: seen.append((there, total)))
    assert content(folder) == FILES
    total = sum(map(len, FILES.values()))
    assert seen[-1] == (total, total)
    assert sorted(seen) == seen
    hub_server.requests.clear()
    assert pull() == folder
    assert pull(f"{REFERENCE}@{folder.name}") == folder
    assert hub_server.requests == []
    assert hub.pulled("model") == {REFERENCE: folder}
    assert hub.pulled("dataset") == {}


def test_branch_tag_and_commit(hub_server: HubServer) -> None:
    repo = hub_server.create("model", "ada/model", FILES)
    first = repo.branches["main"]
    repo.tags["v1"] = first
    second = hub_server.commit("model", "ada/model", {"config.json": b'{"new": 1}'})
    repo.branches["trial/one"] = hub_server.commit("model", "ada/model", {"config.json": b"[]"})
    repo.branches["main"] = second
    assert pull(f"{REFERENCE}@v1").name == first
    assert pull().name == second
    assert content(pull(f"{REFERENCE}@{first}")) == FILES
    assert content(pull(f"{REFERENCE}@trial/one"))["config.json"] == b"[]"


def test_refresh_follows_the_branch_and_fetches_what_changed(hub_server: HubServer) -> None:
    hub_server.create("model", "ada/model", FILES)
    old = pull()
    new = hub_server.commit("model", "ada/model", {"config.json": b'{"new": 1}'})
    assert pull() == old
    hub_server.requests.clear()
    assert pull(refresh=True).name == new
    assert hub_server.asked("resolve") == [f"GET /ada/model/resolve/{new}/config.json"]
    assert content(pull()) == {**FILES, "config.json": b'{"new": 1}'}
    assert content(old) == FILES


def test_superseded_commits_are_removed_and_what_is_named_stays(hub_server: HubServer) -> None:
    repo = hub_server.create("model", "ada/model", FILES)
    first = pull()
    repo.tags["v1"] = first.name
    pull(f"{REFERENCE}@v1")
    hub_server.commit("model", "ada/model", {"config.json": b"[2]"})
    second = pull(refresh=True)
    hub_server.commit("model", "ada/model", {"config.json": b"[3]"})
    third = pull(refresh=True)
    left = third.with_name(f".{'0' * 40}{hub.UNFINISHED}")
    left.mkdir()
    assert hub.remove_superseded(REFERENCE, keep=lambda folder: folder == second) == ()
    assert not left.exists()
    assert hub.pulled("model") == {REFERENCE: third, f"{REFERENCE}@v1": first, f"{REFERENCE}@{second.name}": second}

    hub_server.commit("model", "ada/model", {"config.json": b"[4]"})
    fourth = pull(refresh=True)
    assert hub.remove_superseded(REFERENCE) == (third.name,)
    assert [folder.is_dir() for folder in (first, second, third, fourth)] == [True, True, False, True]
    assert content(fourth) == {**FILES, "config.json": b"[4]"}


def test_progress_is_told_to_whoever_asked(hub_server: HubServer) -> None:
    whose: ContextVar[str] = ContextVar("whose")  # as gradio knows which page a progress bar is on
    hub_server.create("model", "ada/model", FILES)
    whose.set("ada")
    seen: set[str] = set()
    pull(progress=lambda there, total: seen.add(whose.get("nobody")))
    assert seen == {"ada"}


@pytest.mark.parametrize("seed", range(10))
def test_cut_connection_goes_on_where_it_stopped(hub_server: HubServer, seed: int) -> None:
    hub_server.create("model", "ada/model", FILES)
    size = len(FILES["weights.safetensors"])
    place = random.Random(seed).randrange(1, size)
    hub_server.faults.append(Fault("weights", cut_after=place))
    assert content(pull()) == FILES
    assert len(hub_server.asked("resolve.*weights")) == 2


def test_ten_cuts_of_one_file_and_a_pull_that_gives_up(hub_server: HubServer) -> None:
    hub_server.create("model", "ada/model", FILES)
    hub_server.faults.append(Fault("weights", cut_after=25_000, times=10))
    assert content(pull()) == FILES
    assert len(hub_server.asked("resolve.*weights")) == 11

    hub_server.commit("model", "ada/model", {"weights.safetensors": FILES["weights.safetensors"][::-1]})
    hub_server.faults += [Fault("weights", cut_after=200_000), Fault("weights", cut_after=0, times=100)]
    with pytest.raises(HubError, match="cannot be reached"):
        pull(refresh=True)
    assert content(pull()) == FILES
    hub_server.faults = [Fault("weights", cut_after=100_000)]  # enough for the rest, and for nothing more
    hub_server.requests.clear()
    assert content(pull(refresh=True))["weights.safetensors"] == FILES["weights.safetensors"][::-1]
    assert len(hub_server.asked("resolve.*weights")) == 1


@pytest.mark.parametrize("status", [403, 429, 500])
def test_a_refusal_in_between_costs_nothing_of_what_is_there(hub_server: HubServer, status: int) -> None:
    hub_server.create("model", "ada/model", FILES)
    hub_server.faults += [Fault("weights", cut_after=200_000), Fault("weights", status, times=100)]
    with pytest.raises(HubError):
        pull()
    hub_server.faults = [Fault("weights", cut_after=100_000)]  # enough for the rest, and for nothing more
    hub_server.requests.clear()
    assert content(pull()) == FILES
    assert len(hub_server.asked("resolve.*weights")) == 1


def test_a_refusal_does_not_empty_what_is_there(hub_server: HubServer) -> None:
    hub_server.create("model", "ada/model", FILES)
    hub_server.faults += [Fault("weights", cut_after=150_000), Fault("weights", 403)]
    with pytest.raises(HubError, match="your token may not do that"):
        pull()
    (part,) = hub.parse("hf://ada/model").home.rglob(".weights.safetensors.part")
    assert 0 < part.stat().st_size < len(FILES["weights.safetensors"])
    assert content(pull()) == FILES


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("revision", 401), "does not accept the token"),
        (Fault("revision", 403), "your token may not do that"),
        (Fault("revision", 404, {"X_Error_Code": "RepoNotFound"}), "there is none, or it is private"),
        (Fault("revision", 404, {"X_Error_Code": "RevisionNotFound"}), "no branch, tag or commit 'main'"),
        (Fault("revision", 429, {"Retry_After": "3600"}), "asks to wait 3600 seconds"),
        (Fault("revision", 429, {"Retry_After": "1"}, times=100), "too many requests"),
        (Fault("revision", 500), r"in trouble \(500\)"),
        (Fault("resolve.*weights", 500, times=100), r"in trouble \(500\)"),
        (Fault("resolve.*weights", 403), "your token may not do that"),
        (Fault("resolve.*weights", 503, {"Retry_After": "3600"}), r"in trouble \(503\) and asks to wait 3600 seconds"),
        (Fault("resolve.*weights", 429, {"ratelimit": '"api";r=0;t=3600'}), "asks to wait 3600 seconds"),
    ],
)
def test_refusals_in_plain_words(hub_server: HubServer, fault: Fault, said: str) -> None:
    hub_server.create("model", "ada/model", FILES)
    hub_server.faults.append(fault)
    with pytest.raises(HubError, match=said) as caught:
        pull()
    assert WRITE_TOKEN not in str(caught.value)
    assert hub.pulled("model") == {}
    hub_server.faults.clear()
    assert content(pull()) == FILES


def test_short_waits_that_are_asked_for_are_kept(hub_server: HubServer, waits: list[float]) -> None:
    hub_server.create("model", "ada/model", FILES)
    hub_server.faults += [Fault("revision", 429, {"Retry_After": "7"}), Fault("weights", 429, {"Retry_After": "9"})]
    assert content(pull()) == FILES
    assert waits[0] == 7
    assert 10 in waits  # the client adds a second


def test_who_may_see_what(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_server.create("model", "ada/secret", FILES, private=True)
    hub_server.create("model", "ada/gated", FILES).gated = True
    with pytest.raises(HubError, match="no branch, tag or commit 'v7'"):
        pull("hf://ada/secret@v7")
    with pytest.raises(HubError, match="accept terms first"):
        pull("hf://ada/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_mistyped")
    with pytest.raises(HubError, match="does not accept the token"):
        pull("hf://ada/secret")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="there is none, or it is private"):
        pull("hf://ada/secret")


def test_dead_network_and_offline(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.perf_counter()
    with pytest.raises(HubError, match=r"127\.0\.0\.1 cannot be reached"):
        pull()
    with pytest.raises(HubError, match=r"127\.0\.0\.1 cannot be reached"):
        hub.offers("ada")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE forbids"):
        pull()
    assert time.perf_counter() - started < 5


def test_what_was_pulled_survives_a_dead_network(hub_server: HubServer) -> None:
    hub_server.create("model", "ada/model", FILES)
    folder = pull()
    hub_server.faults.append(Fault("", cut_after=0, times=100))
    with pytest.raises(HubError, match="what was pulled before works without it"):
        pull(refresh=True)
    assert pull() == folder
    assert content(folder) == FILES


def test_silence_ends_after_a_bounded_wait(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "TIMEOUT_S", 0.2)
    hub_server.create("model", "ada/model", FILES)
    hub_server.faults.append(Fault("revision", sleep_s=1.0))
    started = time.perf_counter()
    with pytest.raises(HubError, match="does not answer"):
        pull()
    assert time.perf_counter() - started < 0.9


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "a//b", "a\\b", "a\nb", "x.", "é.png", "CONFIG.json"]
)
def test_hostile_names_are_refused_before_anything_is_fetched(
    hub_server: HubServer, name: str, data_folder: Path
) -> None:
    hub_server.create("model", "ada/model", {**FILES, name: b"x"})
    with pytest.raises(HubError, match="which is refused"):
        pull()
    assert hub_server.asked("resolve") == []
    assert not (data_folder.parent / "x").exists()


def test_refused_by_the_list_or_by_the_content(hub_server: HubServer, data_folder: Path) -> None:
    hub_server.create("model", "ada/model", FILES)

    def too_large(files: Sequence[RemoteFile]) -> None:
        assert {file.path: file.size for file in files} == {path: len(data) for path, data in FILES.items()}
        raise HubError("too large")

    with pytest.raises(HubError, match="too large"):
        pull(accept=too_large)
    assert hub_server.asked("resolve") == []

    def spoilt(folder: Path) -> None:
        assert content(folder) == FILES
        raise CheckpointError("spoilt")

    with pytest.raises(CheckpointError, match="spoilt"):
        pull(check=spoilt)
    assert hub.pulled("model") == {}
    assert content(data_folder / "hub").keys() <= {"models--ada--model/.lock"}


def test_content_that_is_not_what_was_listed(hub_server: HubServer) -> None:
    repo = hub_server.create("model", "ada/model", FILES)
    blob = repo.trees[repo.branches["main"]]["weights.safetensors"]
    (hub_server.objects / blob.sha256).write_bytes(FILES["weights.safetensors"][:-1] + b"x")
    with pytest.raises(HubError, match=r"'weights\.safetensors' did not arrive"):
        pull()
    (hub_server.objects / blob.sha256).write_bytes(FILES["weights.safetensors"] + b"more")
    with pytest.raises(HubError, match="larger than the Hub's list says"):
        pull()


def test_more_than_the_disk_holds(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_server.create("model", "ada/model", FILES)
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))  # type: ignore[attr-defined]
    with pytest.raises(HubError, match="more than there is space for"):
        pull()
    assert hub_server.asked("resolve") == []


def test_a_pull_can_be_stopped_and_goes_on(hub_server: HubServer) -> None:
    hub_server.create("model", "ada/model", FILES)

    def stop(there: int, total: int) -> None:
        if there > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(progress=stop)
    assert hub.pulled("model") == {}
    hub_server.requests.clear()
    assert content(pull()) == FILES
    assert len(hub_server.asked("resolve.*weights")) == 1


# --- push -----------------------------------------------------------------------------------------------------

MODEL = Repository("model", "ada/model")
CARD = b"---\nlicense: mit\ntags:\n- hmer\n---\n# model\n"


def test_push_change_push_again(hub_server: HubServer, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(FILES["weights.safetensors"])
    files = {**FILES, "weights.safetensors": weights, "README.md": CARD}
    pushed = hub.push(MODEL, files, "First")
    assert (pushed.tag, set(pushed.added), pushed.removed) == ("v1", set(files), ())
    assert hub_server.files("model", "ada/model") == {**FILES, "README.md": CARD}
    assert hub_server.repos["model", "ada/model"].private
    assert hub_server.repos["model", "ada/model"].tags == {"v1": pushed.commit}

    again = hub.push(MODEL, files, "Nothing new")
    assert (again.commit, again.tag, again.added) == (pushed.commit, "v1", ())
    assert len(hub_server.committed) == 1

    hub_server.requests.clear()
    changed = hub.push(MODEL, {"README.md": CARD, "config.json": b"[]", "weights.safetensors": weights}, "Second")
    assert (changed.tag, changed.added, changed.removed) == ("v2", ("config.json",), ("replay/a.png",))
    assert hub_server.committed[1] == {"file": ["config.json"], "deletedFile": ["replay/a.png"]}
    assert hub_server.asked("lfs") == []
    assert hub_server.files("model", "ada/model", "v1")["config.json"] == b"{}"
    assert hub_server.authorizations == {f"Bearer {WRITE_TOKEN}"}


def test_what_was_pushed_is_what_the_plain_client_downloads(hub_server: HubServer, tmp_path: Path) -> None:
    hub.push(MODEL, {**FILES, "README.md": CARD}, "First", private=False)
    folder = huggingface_hub.snapshot_download("ada/model", revision="v1", local_dir=tmp_path / "plain")
    assert {path: (Path(folder) / path).read_bytes() for path in FILES} == FILES
    assert content(pull()) == {**FILES, "README.md": CARD}


@pytest.mark.parametrize("step", ["PUT /lfs", "POST .*batch", "POST .*/commit/", "POST .*/tag/"])
def test_interrupted_push_is_repeated(hub_server: HubServer, step: str) -> None:
    files = {**FILES, "README.md": CARD}
    hub_server.faults.append(Fault(step, 400, times=50))
    with pytest.raises(HubError, match=r"refuse"):
        hub.push(MODEL, files, "First")
    hub_server.faults.clear()
    pushed = hub.push(MODEL, files, "First")
    assert pushed.tag == "v1"
    assert hub_server.files("model", "ada/model") == files
    assert len(hub_server.committed) == 1


def test_push_without_rights(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubError, match="your token may not do that"):
        hub.push(Repository("model", "bob/model"), FILES, "x")
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    with pytest.raises(HubError, match="use one with write rights"):
        hub.push(MODEL, FILES, "x")
    monkeypatch.setenv("HF_TOKEN", "hf_mistyped")
    with pytest.raises(HubError, match="does not accept the token"):
        hub.push(MODEL, FILES, "x")
    monkeypatch.delenv("HF_TOKEN")
    hub_server.requests.clear()
    with pytest.raises(HubError, match="no token for the Hub"):
        hub.push(MODEL, FILES, "x")
    assert hub_server.requests == []


def test_what_a_push_would_change_is_told_first(hub_server: HubServer) -> None:
    assert hub.changes(MODEL, {"README.md": CARD}) == hub.Changes("", ("README.md",), (), (), ours=True)
    hub.push(MODEL, {**FILES, "README.md": CARD}, "First")
    hub_server.requests.clear()
    changes = hub.changes(MODEL, {"README.md": CARD, "config.json": b"[]", "new.png": b""})
    assert (changes.added, changes.changed, changes.removed) == (
        ("new.png",), ("config.json",), ("replay/a.png", "weights.safetensors"),
    )  # fmt: skip
    assert (changes.ours, changes.lost) == (True, ())
    assert all(request.startswith("GET") for request in hub_server.requests)

    hub_server.commit("model", "ada/model", {"more.png": b"somebody's"})
    with pytest.raises(HubError, match="somebody changed it meanwhile; look again"):
        hub.push(MODEL, {"README.md": CARD}, "x", seen=changes)
    assert hub_server.files("model", "ada/model")["more.png"] == b"somebody's"
    assert len(hub_server.committed) == 1


@pytest.mark.parametrize("card", [b"# theirs\n", b"---\ntags: [other]\n---\n"])
def test_what_hmer_did_not_put_there_stays_unless_asked_for(hub_server: HubServer, card: bytes) -> None:
    theirs = {"README.md": card, "model.bin": b"years of work", "config.json": b'{"theirs": 1}'}
    hub_server.create("model", "ada/model", theirs)
    files = {"README.md": CARD, "config.json": b"{}"}
    assert hub.changes(MODEL, files).lost == ("config.json", "model.bin")
    with pytest.raises(
        HubError, match=r"was not made by hmer, and config\.json, model\.bin would be removed or replaced"
    ):
        hub.push(MODEL, files, "x")
    assert hub_server.files("model", "ada/model") == theirs
    hub.push(MODEL, files, "x", replace_foreign=True)
    assert hub_server.files("model", "ada/model") == files

    hub_server.create("model", "ada/begun", {"README.md": card})  # as its owner begins one on the page of the Hub
    hub.push(Repository("model", "ada/begun"), files, "x")
    assert hub_server.files("model", "ada/begun") == files


def test_a_push_shows_progress_and_can_be_stopped(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "UPLOADS_AT_ONCE", 1)
    files = {"README.md": CARD, "a.safetensors": b"a" * 1000, "b.safetensors": b"b" * 1000}
    total = sum(map(len, files.values()))
    seen: list[int] = []

    def stop(sent: int, total: int) -> None:
        seen.append(sent)
        if sent > len(CARD):
            raise HubError("stopped")

    with pytest.raises(HubError, match="stopped"):
        hub.push(MODEL, files, "x", progress=stop)
    assert seen == [0, len(CARD), len(CARD) + 1000]
    assert hub_server.files("model", "ada/model") == {}
    hub_server.requests.clear()
    done: list[tuple[int, int]] = []
    hub.push(MODEL, files, "x", progress=lambda sent, all_of_it: done.append((sent, all_of_it)))
    assert done[-1] == (total, total)
    assert hub_server.files("model", "ada/model") == files
    assert len(hub_server.asked("PUT")) == 1  # what was sent before is there


def test_push_beside_somebody_elses(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_server.create("model", "ada/model", {**FILES, "README.md": CARD})
    hub_server.faults.append(Fault("POST .*/commit/", 412))
    with pytest.raises(HubError, match="somebody else pushed to it meanwhile"):
        hub.push(MODEL, {"README.md": CARD}, "x")
    assert hub_server.files("model", "ada/model") == {**FILES, "README.md": CARD}
    pushed = hub.push(MODEL, {"README.md": CARD}, "x", tag="v1")
    with pytest.raises(HubError, match="has a tag v1 already"):
        hub.push(MODEL, {"README.md": CARD + b"more"}, "x", tag="v1")
    assert hub_server.repos["model", "ada/model"].tags == {"v1": pushed.commit}


def test_bad_card_is_refused(hub_server: HubServer) -> None:
    with pytest.raises(HubError, match="base_model"):
        hub.push(MODEL, {"README.md": b"---\nbase_model: mine\n---\n"}, "x")
    assert hub_server.files("model", "ada/model") == {}


# --- list -----------------------------------------------------------------------------------------------------


def test_offers(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_server.create("model", "ada/open", {"README.md": CARD})
    hub_server.create("model", "ada/secret", {"README.md": CARD}, private=True)
    hub_server.create("model", "ada/other", {"README.md": b"# not for hmer"})
    hub_server.create("model", "bob/open", {"README.md": CARD})
    hub_server.create("dataset", "ada/ink", {"README.md": CARD})
    assert hub.offers("ada") == [
        hub.Offer("hf://ada/open", "2026-11-22", "mit", False),
        hub.Offer("hf://ada/secret", "2026-11-22", "mit", True),
    ]
    assert [offer.reference for offer in hub.offers("ada", "dataset")] == ["hf://datasets/ada/ink"]
    monkeypatch.delenv("HF_TOKEN")
    assert [offer.reference for offer in hub.offers("ada")] == ["hf://ada/open"]
    with pytest.raises(HubError, match="no name of a person"):
        hub.offers("ada/open")


def test_the_token_is_nowhere_on_the_disk(
    hub_server: HubServer, data_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    hub_server.create("model", "ada/model", FILES, private=True)
    pull()
    hub.push(MODEL, FILES, "x")
    assert WRITE_TOKEN not in caplog.text
    assert all(WRITE_TOKEN.encode() not in data for data in content(data_folder).values())
