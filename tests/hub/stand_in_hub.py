"""A stand-in for the Hugging Face Hub: a small HTTP server on this machine, for downloads and uploads of models.

with StandInHub() as hub:
    ...                                # with HF_ENDPOINT=hub.url and HF_HUB_DISABLE_XET=1
    hub.files("someone/repo")          # what stands on a branch
    hub.requests                       # what was asked, as (method, path)
    hub.fail_once("PUT", "/lfs/")      # the next such request is refused
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

USER = "someone"
LARGE_FILES = (".safetensors", ".bin", ".pkl", ".npz", ".ckpt")
REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Code": code, "X-Error-Message": message}


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        sha = hashlib.sha1(f"{branch} {len(self.commits)} {message}".encode()).hexdigest()
        self.commits[sha], self.messages[sha], self.branches[branch] = files, message, sha
        return sha

    def resolve(self, revision: str) -> str:
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha


@dataclass
class Answer:
    body: bytes | dict | list = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def is_large(path: str) -> bool:
    return path.endswith(LARGE_FILES)


def oid(path: str, content: bytes) -> str:
    """Names a file's content as git (small files) or its extension for large files does."""
    if is_large(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class StandInHub:
    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self._failures: list[tuple[str, str, int]] = []
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """For a process that is to use this Hub and nothing else."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": "hf_token",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # `datasets` tells Amazon: minutes where a name server does not answer
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        repository = self.repositories[repo]
        return repository.commits[repository.resolve(revision)]

    def message(self, repo: str, revision: str = "main") -> str:
        repository = self.repositories[repo]
        return repository.messages[repository.resolve(revision)]

    def put_folder(self, repo: str, folder: Path, branch: str = "main") -> None:
        """As if the folder had been pushed."""
        paths = [path for path in folder.rglob("*") if path.is_file()]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        if repo not in self.repositories:
            self.repositories[repo] = Repository()
            self.repositories[repo].commit("main", {}, "initial commit")
        self.repositories[repo].commit(branch, files, "put")

    def fail_once(self, method: str, part_of_path: str, status: int = 403) -> None:
        self._failures.append((method, part_of_path, status))

    def take_requests(self) -> list[tuple[str, str]]:
        taken, self.requests = self.requests, []
        return taken

    def _handler(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def handle_any(self):
                body = self._read()
                with hub._lock:
                    hub.requests.append((self.command, self.path))
                    answer = hub._answer(self.command, self.path, self.headers, body)
                content = answer.encoded()
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815  # the names that http.server calls

            def _read(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

        return Handler

    def _answer(self, method: str, path: str, headers, body: bytes) -> Answer:
        for failure in self._failures:
            if method == failure[0] and failure[1] in path:
                self._failures.remove(failure)
                return Answer({"error": "refused once"}, failure[2], {"X-Error-Message": "refused once"})
        url = urlsplit(path)
        try:
            for wanted, pattern, route in self._ROUTES:
                match = re.fullmatch(pattern, unquote(url.path)) if method in wanted else None
                if match:
                    if "repo" in match.groupdict() and match["repo"] not in self.repositories:
                        raise Refusal(404, "RepoNotFound", "Repository not found")
                    if method == "POST" and "Authorization" not in headers:
                        raise Refusal(401, "Unauthorized", "Invalid credentials")
                    return route(self, match, parse_qs(url.query), body)
            raise Refusal(404, "NotFound", f"the stand-in has no {method} {path}")
        except Refusal as refusal:
            return Answer({"error": str(refusal)}, refusal.status, refusal.headers)

    def _create_repo(self, match, query, body) -> Answer:
        wanted = json.loads(body)
        repo = f"{wanted.get('organization') or USER}/{wanted['name']}"
        status = 409 if repo in self.repositories else 200
        if status == 200:
            private = wanted.get("visibility") == "private" or wanted.get("private") is True  # before 1.0
            self.repositories[repo] = Repository(private=private)
            self.repositories[repo].commit("main", {".gitattributes": b""}, "initial commit")
        return Answer({"url": f"{self.url}/{repo}", "id": repo, "name": repo}, status)

    def _validate_card(self, match, query, body) -> Answer:
        content = json.loads(body)["content"]
        metadata = yaml.safe_load(content.split("---")[1]) if content.startswith("---") else {}
        errors = [] if isinstance(metadata, dict) else [{"message": "the metadata are no mapping"}]
        return Answer({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _create_branch(self, match, query, body) -> Answer:
        repository = self.repositories[match["repo"]]
        if match["revision"] in repository.branches:
            raise Refusal(409, "BranchExists", "Reference already exists")
        start = json.loads(body or b"{}").get("startingPoint") or "main"
        repository.branches[match["revision"]] = repository.resolve(start)
        return Answer({})

    def _model_info(self, match, query, body) -> Answer:
        repository = self.repositories[match["repo"]]
        sha = repository.resolve(match.groupdict().get("revision") or "main")
        siblings = [{"rfilename": path} for path in sorted(repository.commits[sha])]
        return Answer(
            {"_id": "0", "id": match["repo"], "sha": sha, "private": repository.private, "siblings": siblings}
        )

    def _tree(self, match, query, body) -> Answer:
        repository = self.repositories[match["repo"]]
        entries = []
        for path, content in sorted(repository.commits[repository.resolve(match["revision"])].items()):
            entry = {"type": "file", "path": path, "size": len(content), "oid": oid(path, content)}
            if is_large(path):
                entry["lfs"] = {"oid": oid(path, content), "size": len(content), "pointerSize": 130}
            if path.startswith(match["folder"] or ""):
                entries.append(entry)
        if match["folder"] and not entries:
            raise Refusal(404, "EntryNotFound", f"{match['folder']} does not exist")
        return Answer(entries)

    def _file(self, match, query, body) -> Answer:
        repository = self.repositories[match["repo"]]
        sha = repository.resolve(match["revision"])
        content = repository.commits[sha].get(match["path"])
        if content is None:
            raise Refusal(404, "EntryNotFound", f"Entry not found: {match['path']}")
        name = oid(match["path"], content)
        headers = {"X-Repo-Commit": sha, "ETag": f'"{name}"'}
        if is_large(match["path"]):
            headers |= {"X-Linked-Etag": f'"{name}"', "X-Linked-Size": str(len(content))}
        return Answer(content, headers=headers)

    def _preupload(self, match, query, body) -> Answer:
        repository = self.repositories[match["repo"]]
        present = repository.commits[repository.resolve(match["revision"])]
        answers = []
        for wanted in json.loads(body)["files"]:
            path = wanted["path"]
            answer = {"path": path, "uploadMode": "lfs" if is_large(path) else "regular", "shouldIgnore": False}
            if path in present:
                answer["oid"] = oid(path, present[path])
            answers.append(answer)
        return Answer({"files": answers})

    def _large_file_batch(self, match, query, body) -> Answer:
        objects = []
        for wanted in json.loads(body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.large_files:
                entry["actions"] = {"upload": {"href": f"{self.url}/lfs/{wanted['oid']}", "header": {}}}
            objects.append(entry)
        headers = {"Content-Type": "application/vnd.git-lfs+json"}
        return Answer({"transfer": "basic", "objects": objects}, headers=headers)

    def _put_large_file(self, match, query, body) -> Answer:
        if hashlib.sha256(body).hexdigest() != match["oid"]:
            raise Refusal(400, "BadRequest", "content does not match its name")
        self.large_files[match["oid"]] = body
        return Answer()

    def _commit(self, match, query, body) -> Answer:
        repository, branch = self.repositories[match["repo"]], match["revision"]
        files = dict(repository.commits[repository.resolve(branch)])
        message = ""
        for line in body.splitlines():
            operation = json.loads(line)
            kind, value = operation["key"], operation["value"]
            if kind == "header":
                message = value["summary"]
            elif kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                if value["oid"] not in self.large_files:
                    raise Refusal(400, "BadRequest", f"{value['path']} was not uploaded")
                files[value["path"]] = self.large_files[value["oid"]]
            else:
                raise Refusal(400, "BadRequest", f"the stand-in cannot {kind}")
        answer = {"success": True}
        if query.get("create_pr") == ["1"]:
            number = 1 + sum(name.startswith("refs/pr/") for name in repository.branches)
            branch = f"refs/pr/{number}"
            answer["pullRequestUrl"] = f"{self.url}/{match['repo']}/discussions/{number}"
        sha = repository.commit(branch, files, message)
        return Answer({**answer, "commitOid": sha, "commitUrl": f"{self.url}/{match['repo']}/commit/{sha}"})

    _MODEL = f"/api/models/{REPO}"
    _ROUTES = (
        (("POST",), "/api/repos/create", _create_repo),
        (("POST",), "/api/validate-yaml", _validate_card),
        (("POST",), f"{_MODEL}/branch/(?P<revision>.+)", _create_branch),
        (("POST",), f"{_MODEL}/preupload/(?P<revision>.+)", _preupload),
        (("POST",), f"{_MODEL}/commit/(?P<revision>.+)", _commit),
        (("GET",), _MODEL, _model_info),
        (("GET",), f"{_MODEL}/revision/(?P<revision>.+)", _model_info),
        (("GET",), f"{_MODEL}/tree/(?P<revision>refs/pr/\\d+|[^/]+)(/(?P<folder>.+))?", _tree),
        (("POST",), f"/{REPO}\\.git/info/lfs/objects/batch", _large_file_batch),
        (("PUT",), "/lfs/(?P<oid>[0-9a-f]+)", _put_large_file),
        (("GET", "HEAD"), f"/{REPO}/resolve/(?P<revision>refs/pr/\\d+|[^/]+)/(?P<path>.+)", _file),
    )
