"""A Hub on this computer for the tests: keeps real files and speaks the endpoints that huggingface_hub uses.

It can be told to fail: answer with a status, cut connections after so many bytes, or list what is not there.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

WRITE_TOKEN, READ_TOKEN = "hf_ada_may_write_0123456789", "hf_ada_may_read_0123456789"
OWNER = "ada"
LFS_SUFFIXES = (".safetensors", ".bin", ".zip", ".pt")


@dataclass(frozen=True)
class Blob:
    """A stored file."""

    sha256: str
    size: int
    git_sha1: str
    lfs: bool


@dataclass
class Repo:
    """A repository: trees by commit, names of commits."""

    private: bool
    trees: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit_of(self, revision: str) -> str | None:
        return self.branches.get(revision) or self.tags.get(revision) or (revision if revision in self.trees else None)


@dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD path" matches `pattern`."""

    pattern: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int = -1  # bytes of the body
    sleep_s: float = 0.0
    times: int = 1


class HubServer:
    """Use as a context manager; `url` is its address, `requests` what was asked, in order."""

    def __init__(self, root: Path, port: int = 0) -> None:
        self.objects = root / "objects"
        self.objects.mkdir(parents=True)
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[str] = []
        self.authorizations: set[str] = set()
        self.committed: list[dict[str, list[str]]] = []  # paths by operation, a commit
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        server = self

        class Bound(Handler):
            hub = server

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Bound)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> "HubServer":
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    # --- what a test sets up or looks at ---

    def create(self, kind: str, repo_id: str, files: dict[str, bytes] | None = None, *, private: bool = False) -> Repo:
        """A repository with these files, as if somebody else had made it."""
        repo = self.repos[kind, repo_id] = Repo(private)
        self.commit(kind, repo_id, {".gitattributes": b"*.safetensors filter=lfs\n", **(files or {})})
        return repo

    def commit(self, kind: str, repo_id: str, files: dict[str, bytes]) -> str:
        """A commit that adds or replaces files on main."""
        repo = self.repos[kind, repo_id]
        tree = dict(repo.trees.get(repo.branches.get("main", ""), {}))
        tree.update({path: self.store(content, is_lfs(kind, path, len(content))) for path, content in files.items()})
        return self.advance(repo, "main", tree)

    def files(self, kind: str, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a revision."""
        repo = self.repos[kind, repo_id]
        tree = repo.trees[repo.commit_of(revision) or ""]
        return {path: (self.objects / blob.sha256).read_bytes() for path, blob in tree.items() if path[0] != "."}

    def store(self, content: bytes, lfs: bool) -> Blob:
        sha256 = hashlib.sha256(content).hexdigest()
        (self.objects / sha256).write_bytes(content)
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()
        stored = pointer if lfs else content
        return Blob(sha256, len(content), hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest(), lfs)

    def advance(self, repo: Repo, branch: str, tree: dict[str, Blob]) -> str:
        parent = repo.branches.get(branch, "")
        listing = json.dumps([parent, sorted((path, blob.git_sha1) for path, blob in tree.items())])
        oid = hashlib.sha1(listing.encode()).hexdigest()
        repo.trees[oid] = tree
        repo.branches[branch] = oid
        return oid

    def asked(self, pattern: str) -> list[str]:
        """The requests that match."""
        return [request for request in self.requests if re.search(pattern, request)]


def is_lfs(kind: str, path: str, size: int) -> bool:
    return path.endswith(LFS_SUFFIXES) or size > 10_000_000 or (kind == "dataset" and path.endswith(".png"))


class Refusal(Exception):
    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        self.status, self.message, self.code, self.headers = status, message, code, headers


class Handler(BaseHTTPRequestHandler):
    """One request; a route is a regular expression over "METHOD path" and the method that answers."""

    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - the base class looks for these names

    def answer(self) -> None:
        split = urlsplit(self.path)
        self.query = parse_qs(split.query)
        self.body = self.read_body()
        asked = f"{self.command} {unquote(split.path)}"
        with self.hub.lock:
            self.hub.requests.append(asked)
            if "Authorization" in self.headers:
                self.hub.authorizations.add(self.headers["Authorization"])
            self.fault = next((item for item in self.hub.faults if re.search(item.pattern, asked)), None)
            if self.fault is not None:
                self.fault.times -= 1
                if self.fault.times <= 0:
                    self.hub.faults.remove(self.fault)
        try:
            if self.fault is not None:
                time.sleep(self.fault.sleep_s)
                if self.fault.status:
                    raise Refusal(self.fault.status, "told to fail", **self.fault.headers)
            for pattern, handle in ROUTES:
                match = re.fullmatch(pattern, f"{self.command} {split.path}")
                if match:
                    with self.hub.lock:
                        reply = handle(self, *(unquote(group or "") for group in match.groups()))
                    reply()
                    return
            raise Refusal(404, "no such endpoint")
        except Refusal as refusal:
            headers = {name.replace("_", "-"): value for name, value in refusal.headers.items()}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            headers["X-Error-Message"] = refusal.message
            self.send(json.dumps({"error": refusal.message}).encode(), refusal.status, headers)

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.fault.cut_after if self.fault is not None else -1
        self.wfile.write(content if cut < 0 else content[:cut])
        if cut >= 0:
            self.wfile.flush()
            self.close_connection = True

    def json(self, value: Any, status: int = 200) -> Callable[[], None]:
        return lambda: self.send(json.dumps(value).encode(), status)

    # --- who may what ---

    def token(self) -> str:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in (WRITE_TOKEN, READ_TOKEN):
            raise Refusal(401, "Invalid credentials in Authorization header")
        return token

    def writer(self, repo_id: str) -> None:
        token = self.token()
        if not token:
            raise Refusal(401, "Invalid username or password.")
        if token != WRITE_TOKEN or repo_id.split("/")[0] != OWNER:
            raise Refusal(403, "You don't have the rights to do that.")

    def repo(self, kind: str, repo_id: str) -> Repo:
        token = self.token()
        repo = self.hub.repos.get((kind, repo_id))
        if repo is None or (repo.private and (not token or repo_id.split("/")[0] != OWNER)):
            raise Refusal(404 if token else 401, "Repository not found", "RepoNotFound")
        if repo.gated:
            raise Refusal(403, "Access to this repository is restricted", "GatedRepo")
        return repo

    def at(self, kind: str, repo_id: str, revision: str) -> tuple[Repo, str, dict[str, Blob]]:
        repo = self.repo(kind, repo_id)
        commit = repo.commit_of(revision)
        if commit is None:
            raise Refusal(404, "Invalid rev id", "RevisionNotFound")
        return repo, commit, repo.trees[commit]

    # --- endpoints ---

    def front_page(self) -> Callable[[], None]:
        return self.json({})

    def create(self) -> Callable[[], None]:
        asked = json.loads(self.body)
        kind, repo_id = asked.get("type", "model"), f"{asked.get('organization') or OWNER}/{asked['name']}"
        self.writer(repo_id)
        url = {"url": f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{repo_id}"}
        if (kind, repo_id) in self.hub.repos:
            return self.json({"error": "You already created this repo", **url}, 409)
        self.hub.create(kind, repo_id, private=asked.get("visibility") == "private")
        return self.json(url)

    def validate(self) -> Callable[[], None]:
        head = re.match(r"---\n(.*?)\n---\n", json.loads(self.body)["content"], re.DOTALL)
        try:
            metadata = yaml.safe_load(head[1]) if head else {}
        except yaml.YAMLError as error:
            return self.json({"errors": [{"message": str(error)}]}, 400)
        base = metadata.get("base_model", [])
        bases = [base] if isinstance(base, str) else base
        results = [result for entry in metadata.get("model-index", []) for result in entry["results"]]
        whole = all({"task", "dataset", "metrics"} <= set(result) and result["task"].get("type") for result in results)
        errors = [
            {"message": f'"base_model" {name!r} is not a valid model id'}
            for name in bases
            if not re.fullmatch(r"[\w.-]+/[\w.-]+", name)
        ] + ([] if whole else [{"message": '"model-index" is malformed'}])
        return self.json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def listing(self, kinds: str) -> Callable[[], None]:
        wanted = [
            self.about(kinds[:-1], repo_id, repo, repo.branches["main"])
            for (kind, repo_id), repo in self.hub.repos.items()
            if kind + "s" == kinds and repo_id.split("/")[0] == self.query.get("author", [""])[0]
            and (not repo.private or self.token())
        ]  # fmt: skip
        tags = set(self.query.get("filter", []))
        return self.json([item for item in wanted if tags <= set(item["tags"])])

    def about(self, kind: str, repo_id: str, repo: Repo, commit: str) -> dict[str, Any]:
        tree = repo.trees[commit]
        metadata: dict[str, Any] = {}
        if "README.md" in tree:
            text = (self.hub.objects / tree["README.md"].sha256).read_text(encoding="utf-8")
            head = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
            metadata = yaml.safe_load(head[1]) if head else {}
        licence = metadata.get("license")
        siblings = []
        for path, blob in sorted(tree.items()):
            entry: dict[str, Any] = {"rfilename": path}
            if self.query.get("blobs"):
                entry |= {"size": blob.size, "blobId": blob.git_sha1}
                if blob.lfs:
                    entry["lfs"] = {"size": blob.size, "sha256": blob.sha256, "pointerSize": 130}
            siblings.append(entry)
        return {
            "_id": "0", "id": repo_id, "modelId": repo_id, "sha": commit, "private": repo.private, "downloads": 0,
            "likes": 0, "tags": [*metadata.get("tags", []), *([f"license:{licence}"] if licence else [])],
            "lastModified": "2026-11-22T08:00:00.000Z", "siblings": siblings,
        }  # fmt: skip

    def revision(self, kinds: str, repo_id: str, revision: str) -> Callable[[], None]:
        repo, commit, _ = self.at(kinds[:-1], repo_id, revision)
        return self.json(self.about(kinds[:-1], repo_id, repo, commit))

    def default(self, kinds: str, repo_id: str) -> Callable[[], None]:
        return self.revision(kinds, repo_id, "main")

    def tree(self, kinds: str, repo_id: str, revision: str) -> Callable[[], None]:
        _, _, tree = self.at(kinds[:-1], repo_id, revision)
        entries = []
        for path, blob in sorted(tree.items()):
            entry = {"type": "file", "path": path, "size": blob.size, "oid": blob.git_sha1}
            if blob.lfs:
                entry["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": 130}
            entries.append(entry)
        return self.json(entries)

    def refs(self, kinds: str, repo_id: str) -> Callable[[], None]:
        repo = self.repo(kinds[:-1], repo_id)
        named = {"branches": (repo.branches, "refs/heads/"), "tags": (repo.tags, "refs/tags/")}
        answer: dict[str, Any] = {"converts": []}
        for name, (commits, prefix) in named.items():
            answer[name] = [{"name": key, "ref": prefix + key, "targetCommit": oid} for key, oid in commits.items()]
        return self.json(answer)

    def preupload(self, kinds: str, repo_id: str, revision: str) -> Callable[[], None]:
        self.writer(repo_id)
        _, _, tree = self.at(kinds[:-1], repo_id, revision)
        files = []
        for item in json.loads(self.body)["files"]:
            mode = "lfs" if is_lfs(kinds[:-1], item["path"], item["size"]) else "regular"
            old = tree.get(item["path"])
            oid = (old.sha256 if old.lfs else old.git_sha1) if old else None
            files.append({"path": item["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return self.json({"files": files})

    def lfs_batch(self, _kinds: str, repo_id: str) -> Callable[[], None]:
        self.writer(repo_id)
        objects = []
        for item in json.loads(self.body)["objects"]:
            entry: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if not (self.hub.objects / item["oid"]).is_file():
                entry["actions"] = {
                    "upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"},
                    "verify": {"href": f"{self.hub.url}/lfs/verify"},
                }
            objects.append(entry)
        return self.json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> Callable[[], None]:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(400, "The content is not what the oid says")
        (self.hub.objects / oid).write_bytes(self.body)
        return self.json({})

    def lfs_verify(self) -> Callable[[], None]:
        asked = json.loads(self.body)
        path = self.hub.objects / asked["oid"]
        if not path.is_file() or path.stat().st_size != asked["size"]:
            raise Refusal(404, "Object not found")
        return self.json({})

    def commit(self, kinds: str, repo_id: str, revision: str) -> Callable[[], None]:
        self.writer(repo_id)
        repo, head, tree = self.at(kinds[:-1], repo_id, revision)
        tree, done = dict(tree), {}
        for line in self.body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                if value.get("parentCommit", head) != head:
                    raise Refusal(412, "The branch has moved on")
                continue
            done.setdefault(key, []).append(value["path"])
            if key == "file":
                tree[value["path"]] = self.hub.store(base64.b64decode(value["content"]), lfs=False)
            elif key == "lfsFile":
                tree[value["path"]] = self.hub.store((self.hub.objects / value["oid"]).read_bytes(), lfs=True)
            elif key == "deletedFile":
                del tree[value["path"]]
        oid = self.hub.advance(repo, revision, tree)
        self.hub.committed.append(done)
        return self.json({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{repo_id}/commit/{oid}"})

    def tag(self, kinds: str, repo_id: str, revision: str) -> Callable[[], None]:
        self.writer(repo_id)
        repo, commit, _ = self.at(kinds[:-1], repo_id, revision)
        name = json.loads(self.body)["tag"]
        if name in repo.tags:
            raise Refusal(409, "Tag reference exists already")
        repo.tags[name] = commit
        return self.json({})

    def resolve(self, kinds: str, repo_id: str, revision: str, path: str) -> Callable[[], None]:
        _, commit, tree = self.at((kinds or "models/")[:-2], repo_id, revision)
        blob = tree.get(path)
        if blob is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", X_Repo_Commit=commit)
        content = (self.hub.objects / blob.sha256).read_bytes()
        etag = blob.sha256 if blob.lfs else blob.git_sha1
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Content-Type": "application/octet-stream"}
        if blob.lfs:
            headers |= {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start is None:
            return lambda: self.send(content, 200, {**headers, "Content-Length": str(len(content))})
        first = int(start[1])
        headers |= {
            "Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}",
            "Content-Length": str(len(content) - first),
        }
        return lambda: self.send(content[first:], 206, headers)


_ID = r"([\w.-]+/[\w.-]+?)"
_API = rf"/api/(models|datasets|spaces)/{_ID}"
ROUTES: list[tuple[str, Callable[..., Callable[[], None]]]] = [
    (r"HEAD /?", Handler.front_page),
    (r"POST /api/repos/create", Handler.create),
    (r"POST /api/validate-yaml", Handler.validate),
    (r"GET /api/(models|datasets)", Handler.listing),
    (rf"GET {_API}/revision/([^/]+)", Handler.revision),
    (rf"GET {_API}", Handler.default),
    (rf"GET {_API}/tree/([^/]+)", Handler.tree),
    (rf"GET {_API}/refs", Handler.refs),
    (rf"POST {_API}/preupload/([^/]+)", Handler.preupload),
    (rf"POST /(datasets/|spaces/)?{_ID}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    (r"PUT /lfs/([0-9a-f]{64})", Handler.lfs_put),
    (r"POST /lfs/verify", Handler.lfs_verify),
    (rf"POST {_API}/commit/([^/]+)", Handler.commit),
    (rf"POST {_API}/tag/([^/]+)", Handler.tag),
    (rf"(?:GET|HEAD) /(datasets/|spaces/)?{_ID}/resolve/([^/]+)/(.+)", Handler.resolve),
]
