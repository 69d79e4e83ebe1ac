"""Repositories of the Hugging Face Hub: pull one, pinned by its commit, and push one, changes only.

What was pulled lies in the data folder, checked, a folder a commit; a name that was pulled once needs no request any
more. The token comes from the environment (HF_TOKEN) or the client's own login and is never handled here.
"""

import contextlib
import contextvars
import hashlib
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote, unquote

import httpx2
import huggingface_hub
from huggingface_hub import errors as client_errors
from huggingface_hub.utils import (
    WeakFileLock,
    build_hf_headers,
    get_session,
    hf_raise_for_status,
    http_stream_backoff,
)

from hmer import __version__, hub_client
from hmer.errors import HubError
from hmer.home import data_home
from hmer.hub_client import client, explained, patiently

log = logging.getLogger(__name__)

SCHEME = "hf://"
TAG = "hmer"  # on the card of every repository that is pushed; what `offers` looks for
MAIN = "main"
DOWNLOADS_AT_ONCE = 8
# Files, or bytes, that are sent before a push looks whether it is to stop.
UPLOADS_AT_ONCE, UPLOADED_BYTES = 32, 5_000_000
OURS_TO_KEEP = (".gitattributes",)  # the Hub's own file, neither pulled nor removed
CARD = "README.md"  # the Hub makes one when somebody begins a repository on its page

UNFINISHED = ".unfinished"  # how the folder of a pull ends that goes on

Kind = Literal["model", "dataset", "space"]
Progress = Callable[[int, int], None]  # bytes there, bytes in all
Content = Path | bytes

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REFERENCE = re.compile(rf"hf://(?:(datasets)/)?({_PART}/{_PART})(?:@(.*))?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILE_PART = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._ +-]{0,199}")
_VERSION = re.compile(r"v(\d+)")


@dataclass(frozen=True)
class Repository:
    """A repository on the Hub at a revision: a branch, a tag or a commit."""

    kind: Kind
    id: str
    revision: str = MAIN

    def __str__(self) -> str:
        prefix = "" if self.kind == "model" else f"{self.kind}s/"
        return f"{SCHEME}{prefix}{self.id}" + ("" if self.revision == MAIN else f"@{self.revision}")

    @property
    def home(self) -> Path:
        """Where its commits lie in the data folder."""
        return data_home() / "hub" / f"{self.kind}s--{self.id.replace('/', '--')}"


@dataclass(frozen=True)
class RemoteFile:
    """A file as the Hub lists it. `sha256` where it is stored apart (LFS), else the blob's `git_sha1`."""

    path: str
    size: int
    git_sha1: str
    sha256: str = ""

    def is_same(self, content: Content) -> bool:
        """Whether this is the file's content."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        return size == self.size and _digest(content, size, git=not self.sha256) == (self.sha256 or self.git_sha1)


@dataclass(frozen=True)
class Changes:
    """What a push would do to a repository, by path. `head` is the commit that it has now, empty where there is none.

    `ours`: whether hmer made it, as its card says.
    """

    head: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    ours: bool

    @property
    def lost(self) -> tuple[str, ...]:
        """What somebody else put there and would no longer find."""
        return () if self.ours else tuple(sorted({*self.removed, *self.changed} - {CARD}))


@dataclass(frozen=True)
class Pushed:
    """What a push did: the commit, its tag, and the files that it added or changed, and removed."""

    url: str
    commit: str
    tag: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Offer:
    """A repository that somebody offers; `licence` is empty when the card names none."""

    reference: str
    updated: str
    licence: str
    private: bool


def is_reference(text: object) -> bool:
    """Whether this names something on the Hub."""
    return isinstance(text, str) and text.startswith(SCHEME)


def parse(reference: str) -> Repository:
    """`hf://owner/name[@revision]`, or `hf://datasets/owner/name[@revision]`. Raises HubError."""
    match = _REFERENCE.fullmatch(reference)
    revision = (match[3] if match else None) or MAIN
    ill = match is None or "--" in match[2] or ".." in reference or match[3] == ""
    if ill or not _REVISION.fullmatch(revision):
        raise HubError(f"{reference!r} names nothing on the Hub; write hf://owner/name or hf://owner/name@revision.")
    assert match is not None
    return Repository("dataset" if match[1] else "model", match[2], revision)


# --- what is here ---------------------------------------------------------------------------------------------


def remembered(repository: Repository) -> Path | None:
    """The folder of what was pulled under this name, or None. Makes no request."""
    commit = repository.revision
    if not _COMMIT.fullmatch(commit):
        try:
            commit = _remembered_commit(repository).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
    folder = repository.home / commit
    return folder if _COMMIT.fullmatch(commit) and folder.is_dir() else None


def pulled(kind: Kind) -> dict[str, Path]:
    """Folder by reference of everything of a kind that was pulled. Makes no request."""
    found: dict[str, Path] = {}
    for ref in sorted((data_home() / "hub").glob(f"{kind}s--*/refs/*")):
        if ref.name.startswith("."):  # being written
            continue
        owner, _, name = ref.parent.parent.name.removeprefix(f"{kind}s--").partition("--")
        repository = Repository(kind, f"{owner}/{name}", unquote(ref.name))
        folder = remembered(repository)
        if folder is not None:
            found[str(repository)] = folder
    return found


def _remembered_commit(repository: Repository) -> Path:
    return repository.home / "refs" / quote(repository.revision, safe="")


# --- pull -----------------------------------------------------------------------------------------------------


def pull(
    reference: str,
    *,
    accept: Callable[[Sequence[RemoteFile]], None],
    check: Callable[[Path], object],
    refresh: bool = False,
    progress: Progress | None = None,
) -> Path:
    """The folder with the files of a repository, from the data folder if it was pulled before, else from the Hub.

    `accept` looks at the list before anything is fetched, `check` at the files before they can be used; both raise to
    refuse. With `refresh` the Hub is asked anew which commit a branch or tag means. `progress` may raise to stop. An
    interrupted pull goes on where it stopped. Raises HubError, and what `accept` and `check` raise; what was pulled
    before stays as it was.
    """
    repository = parse(reference)
    known = remembered(repository)
    if known is not None and not refresh:
        return known
    with explained(repository, repository.revision), _locked(repository.home):
        commit, files, _ = _listing(repository)
        _check_names(repository, files)
        accept(files)
        folder = repository.home / commit
        if not folder.is_dir():
            unfinished = repository.home / f".{commit}{UNFINISHED}"
            _fetch(repository, commit, files, unfinished, progress)
            try:
                check(unfinished)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
            os.rename(unfinished, folder)
        _remember(repository, commit)
    return folder


def _listing(repository: Repository) -> tuple[str, list[RemoteFile], list[str]]:
    """The commit of a revision, its files, and the tags on the card."""
    info = patiently(
        lambda: client().repo_info(
            repository.id, repo_type=repository.kind, revision=repository.revision, files_metadata=True
        )
    )
    files = []
    for item in info.siblings or []:
        if item.rfilename in OURS_TO_KEEP:
            continue
        size = item.lfs.size if item.lfs else item.size
        if not isinstance(size, int) or size < 0 or not (item.lfs or item.blob_id):
            raise HubError(f"{repository}: the Hub does not say how large {item.rfilename!r} is; nothing was fetched.")
        files.append(RemoteFile(item.rfilename, size, item.blob_id or "", item.lfs.sha256 if item.lfs else ""))
    if not info.sha or not _COMMIT.fullmatch(info.sha):
        raise HubError(f"{repository}: the Hub names no commit for it; nothing was fetched.")
    return info.sha, files, list(info.tags or ())


def _check_names(repository: Repository, files: Sequence[RemoteFile]) -> None:
    """Refuse names that could lead out of a folder or mean one another's file on some system."""
    seen: set[str] = set()
    for file in files:
        parts = PurePosixPath(file.path).parts
        plain = "/".join(parts) == file.path and all(
            _FILE_PART.fullmatch(part) and not part.endswith((".", " ")) for part in parts
        )
        if not plain or file.path.casefold() in seen:
            raise HubError(f"{repository}: holds a file named {file.path!r}, which is refused; nothing was fetched.")
        seen.add(file.path.casefold())


def _fetch(
    repository: Repository, commit: str, files: Sequence[RemoteFile], folder: Path, progress: Progress | None
) -> None:
    """Bring the files into `folder`: those of an earlier commit from there, the others from the Hub."""
    total, there = sum(file.size for file in files), 0
    counting, stopped = threading.Lock(), threading.Event()
    if total > shutil.disk_usage(repository.home).free:
        raise HubError(f"{repository}: has {total / 1e6:,.0f} MB, more than there is space for; nothing was fetched.")

    def arrived(count: int) -> None:
        nonlocal there
        with counting:
            if stopped.is_set():
                raise HubError(f"{repository}: the download was stopped; pull again to go on.")
            there += count
            if progress is not None:
                progress(there, total)

    wanted = []
    earlier = [path for path in repository.home.iterdir() if _COMMIT.fullmatch(path.name)]
    for file in files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        old = next((path / file.path for path in (folder, *earlier) if _holds(path / file.path, file)), None)
        if old is None:
            wanted.append(file)
        elif old != target:
            shutil.copyfile(old, target)
        if old is not None:
            arrived(file.size)
    arrived(0)
    headers = build_hf_headers(library_name="hmer", library_version=__version__)

    def fetch(file: RemoteFile) -> None:
        url = huggingface_hub.hf_hub_url(repository.id, file.path, repo_type=repository.kind, revision=commit)
        _download(url, headers, file, folder / file.path, arrived)

    pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE)
    contexts = [contextvars.copy_context() for _ in wanted]  # where gradio keeps whose progress this is
    try:
        for _ in pool.map(lambda context, file: context.run(fetch, file), contexts, sorted(wanted, key=_largest_first)):
            pass
    finally:
        stopped.set()  # downloads that still run end at their next bytes
        pool.shutdown(cancel_futures=True)


def _largest_first(file: RemoteFile) -> int:
    return -file.size


def _holds(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and file.is_same(path)


def _download(
    url: str, headers: Mapping[str, str], file: RemoteFile, target: Path, arrived: Callable[[int], None]
) -> None:
    """One file, from where an earlier attempt stopped; never more than its listed size.

    The client's own download keeps nothing of a file that was cut before 10 MB, and nothing at all when it gives up.
    """
    part = target.with_name(f".{target.name}.part")
    failures = 0
    have = part.stat().st_size if part.is_file() else 0
    arrived(have)
    while True:
        before = have
        asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        try:
            if have < file.size or not part.is_file():
                with http_stream_backoff(
                    "GET",
                    url,
                    headers=asked,
                    max_retries=hub_client.RETRIES,
                    retry_on_exceptions=(),
                    timeout=hub_client.TIMEOUT_S,
                ) as response:
                    hf_raise_for_status(response)  # before the part is opened: a refusal must not empty it
                    if response.status_code != 206:
                        arrived(-have)
                        have = 0
                    with part.open("ab" if have else "wb") as output:
                        for chunk in response.iter_bytes():
                            if have + len(chunk) > file.size:
                                raise HubError(f"{file.path!r} is larger than the Hub's list says; it was not kept.")
                            output.write(chunk)
                            have += len(chunk)
                            arrived(len(chunk))
        except httpx2.TransportError:
            failures = failures + 1 if have <= before else 1
            if failures > hub_client.RETRIES:
                raise
            time.sleep(min(2.0 ** (failures - 1), 8.0) / 2)
            continue
        if have == file.size and file.is_same(part):
            os.replace(part, target)
            return
        part.unlink(missing_ok=True)
        raise HubError(f"{file.path!r} did not arrive as the Hub's list says; try again.")


def _remember(repository: Repository, commit: str) -> None:
    path = _remembered_commit(repository)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.parent / f".{path.name}.{os.getpid()}"
    new.write_text(commit, encoding="ascii")
    os.replace(new, path)


def remove_superseded(reference: str, keep: Callable[[Path], bool] = lambda _: False) -> tuple[str, ...]:
    """Delete what no name leads to any more: earlier commits of a repository, and what interrupted pulls of it left.

    A commit that `keep` asks for stays, and can from now on be named: hf://owner/name@commit. Gives the commits removed.
    """
    repository = parse(reference)
    removed = []
    with _locked(repository.home):
        refs = [path for path in (repository.home / "refs").glob("*") if not path.name.startswith(".")]
        named = {path.read_text(encoding="ascii").strip() for path in refs}
        for folder in sorted(repository.home.iterdir()):
            unfinished = folder.name.endswith(UNFINISHED)
            if folder.name in named or not (unfinished or _COMMIT.fullmatch(folder.name)):
                continue
            if not unfinished and keep(folder):
                _remember(replace(repository, revision=folder.name), folder.name)
                continue
            shutil.rmtree(folder, ignore_errors=True)  # in use elsewhere: the next pull tries again
            if not unfinished and not folder.exists():
                removed.append(folder.name)
    return tuple(removed)


# --- push -----------------------------------------------------------------------------------------------------


def changes(repository: Repository, files: Mapping[str, Content]) -> Changes:
    """What pushing `files` (by path) would change. Only asks. Raises HubError."""
    _check_token()
    with explained(repository, repository.revision):
        try:
            return _changes(repository, files)
        except client_errors.RepositoryNotFoundError as error:
            if isinstance(error, client_errors.GatedRepoError):
                raise
            return Changes("", tuple(files), (), (), ours=True)


def _changes(repository: Repository, files: Mapping[str, Content]) -> Changes:
    head, there, tags = _listing(Repository(repository.kind, repository.id))
    old = {file.path: file for file in there}
    return Changes(
        head,
        added=tuple(path for path in files if path not in old),
        changed=tuple(path for path, content in files.items() if path in old and not old[path].is_same(content)),
        removed=tuple(sorted(set(old) - set(files))),
        ours=TAG in tags,
    )


def push(
    repository: Repository,
    files: Mapping[str, Content],
    message: str,
    *,
    private: bool = True,
    tag: str = "",
    space_sdk: str | None = None,
    seen: Changes | None = None,
    replace_foreign: bool = False,
    progress: Progress | None = None,
) -> Pushed:
    """Make a repository hold exactly `files` (by path) in one commit, and tag it; made, private, if there is none.

    Only what differs travels; a push that was interrupted is repeated. `tag` empty: v1, v2 and so on, a commit that
    has such a tag keeps it. `private` counts only for a repository that is made now. `seen` is what was shown to
    whoever pushes: nothing else is done. Files that hmer did not put there are removed or replaced only with
    `replace_foreign`. `progress` may raise to stop: what the repository holds has not changed then. Raises HubError.
    """
    _check_token()
    api = client()
    with explained(repository, repository.revision):
        api.create_repo(
            repository.id, repo_type=repository.kind, private=private, exist_ok=True, space_sdk=space_sdk
        )  # fmt: skip
        now = _changes(repository, files)
        _check_changes(repository, now, seen, replace_foreign)
        differ = {*now.added, *now.changed}
        travels = [path for path in files if path in differ]
        commit = now.head
        if travels or now.removed:
            additions = [huggingface_hub.CommitOperationAdd(path, files[path]) for path in travels]
            _upload(api, repository, additions, progress)
            operations: list[huggingface_hub.CommitOperationAdd | huggingface_hub.CommitOperationDelete] = [
                *additions,
                *(huggingface_hub.CommitOperationDelete(path, is_folder=False) for path in now.removed),
            ]
            done = api.create_commit(
                repository.id, operations, commit_message=message, repo_type=repository.kind, parent_commit=now.head
            )
            commit = done.oid
        tag = _tag(api, repository, commit, tag)
        return Pushed(f"{api.endpoint}/{_page(repository)}", commit, tag, tuple(travels), now.removed)


def _check_token() -> None:
    if huggingface_hub.get_token() is None:
        raise HubError("There is no token for the Hub: log in with `hf auth login`, or set HF_TOKEN.")


def _check_changes(repository: Repository, now: Changes, seen: Changes | None, replace_foreign: bool) -> None:
    """Raise HubError where a push would do what was not shown, or to what is somebody else's."""
    if seen is not None and (seen.removed != now.removed or seen.head not in ("", now.head)):
        raise HubError(f"{repository}: somebody changed it meanwhile; look again at what would change, then push.")
    if now.lost and not replace_foreign:
        raise HubError(
            f"{repository}: was not made by hmer, and {_some(now.lost)} would be removed or replaced; name another "
            "repository, or ask for it (push.py --replace)."
        )


def _some(paths: Sequence[str]) -> str:
    """A few of many paths, for a sentence."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more


def _upload(
    api: huggingface_hub.HfApi,
    repository: Repository,
    additions: Sequence[huggingface_hub.CommitOperationAdd],
    progress: Progress | None,
) -> None:
    """Send what is stored apart (LFS), some files at a time; the commit then only names it."""
    total = sum(addition.upload_info.size for addition in additions)
    sent = 0
    waiting: list[huggingface_hub.CommitOperationAdd] = []
    tell = progress or (lambda *_: None)
    tell(0, total)
    for number, addition in enumerate(additions, start=1):
        waiting.append(addition)
        size = sum(item.upload_info.size for item in waiting)
        if len(waiting) < UPLOADS_AT_ONCE and size < UPLOADED_BYTES and number < len(additions):
            continue
        api.preupload_lfs_files(repository.id, waiting, repo_type=repository.kind, free_memory=False)
        sent, waiting = sent + size, []
        tell(sent, total)


def add(repository: Repository, files: Mapping[str, Content], message: str, *, card: str = "") -> str:
    """Add files to a repository in one commit, whatever else it holds; gives the commit.

    A repository that is not there is made, private, with `card`. Raises HubError.
    """
    api = client()
    with explained(repository, repository.revision):
        api.create_repo(repository.id, repo_type=repository.kind, private=True, exist_ok=True)
        _, there, _ = _listing(Repository(repository.kind, repository.id))
        new = dict(files)
        if card and CARD not in {file.path for file in there}:
            new[CARD] = card.encode()
        operations = [huggingface_hub.CommitOperationAdd(path, content) for path, content in new.items()]
        done = api.create_commit(repository.id, operations, commit_message=message, repo_type=repository.kind)
        return str(done.oid)


def _tag(api: huggingface_hub.HfApi, repository: Repository, commit: str, tag: str) -> str:
    """Tag a commit; gives the tag's name."""
    refs = api.list_repo_refs(repository.id, repo_type=repository.kind)
    tags = {ref.name: ref.target_commit for ref in refs.tags}
    versions = {name: int(match[1]) for name in tags if (match := _VERSION.fullmatch(name))}
    if not tag:
        for name in versions:
            if tags[name] == commit:
                return name
        tag = f"v{max(versions.values(), default=0) + 1}"
    if tags.get(tag, commit) != commit:
        raise HubError(f"{repository} has a tag {tag} already, of another commit; choose another tag.")
    if tag not in tags:
        api.create_tag(repository.id, repo_type=repository.kind, tag=tag, revision=commit)
    return tag


def _page(repository: Repository) -> str:
    return repository.id if repository.kind == "model" else f"{repository.kind}s/{repository.id}"


# --- list -----------------------------------------------------------------------------------------------------


def offers(owner: str, kind: Literal["model", "dataset"] = "model", limit: int = 100) -> list[Offer]:
    """What a person or organisation offers for hmer, the newest first. Raises HubError."""
    if not re.fullmatch(_PART, owner):
        raise HubError(f"{owner!r} is no name of a person or an organisation on the Hub.")
    api = client()
    with explained(Repository(kind, f"{owner}/*"), MAIN):
        get_session().head(api.endpoint)  # at once without a network, which listing would try for long
        listed: Any = api.list_models if kind == "model" else api.list_datasets
        found = patiently(lambda: list(listed(author=owner, filter=TAG, sort="last_modified", limit=limit, full=True)))
    return [
        Offer(
            str(Repository(kind, item.id)),
            f"{item.last_modified:%Y-%m-%d}" if item.last_modified else "",
            next((tag.partition(":")[2] for tag in item.tags or () if tag.startswith("license:")), ""),
            bool(item.private),
        )
        for item in found
    ]


# --- the client -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One pull of a repository at a time, over all processes."""
    home.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(home / ".lock"):
        yield


def _digest(content: Content, size: int, *, git: bool) -> str:
    """SHA-256 of a file's content, or the SHA-1 that git gives it as a blob."""
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if git else hashlib.sha256()
    if isinstance(content, bytes):
        digest.update(content)
    else:
        with content.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
