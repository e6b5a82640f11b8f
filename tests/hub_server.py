"""A small server that speaks the Hub's protocol, for the real client of `huggingface_hub`.

It knows what the client needs to make a repository, commit to it, and download from it:
repositories with branches and private ones, uploads of small files in the commit and of large ones
before it (Git LFS), the tree of a commit, and files with the headers by which the client caches
them.
"""

import base64
import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_ann"
LARGE = (".safetensors", ".npy", ".parquet")
"""What goes up by Git LFS, as `.gitattributes` says on the Hub."""


def git_id(data):
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


@dataclass
class Repository:
    private: bool = False
    commits: dict = field(default_factory=dict)  # files by name, by commit
    branches: dict = field(default_factory=dict)
    messages: list = field(default_factory=list)

    def commit(self, branch, files, message=""):
        parent = self.branches.get(branch, "")
        text = json.dumps([parent, message, sorted((n, git_id(d)) for n, d in files.items())])
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        self.messages.append(message)
        return commit


class Hub:
    """The state of the server.

    Attributes:
        address: Its address.
        repositories: By `OWNER/NAME`.
        blobs: Large files by their SHA-256.
        fails: Whether commits fail.
        cut: How many bytes of a large file are sent before the connection ends; None for all.
        writers: Owners whose repositories the token may write.
        asked: The requests, `METHOD PATH`.
    """

    def __init__(self):
        self.address = ""
        self.repositories = {}
        self.blobs = {}
        self.fails = False
        self.cut = None
        self.writers = {"ann"}
        self.asked = []

    def repository(self, name, files=(), *, private=False):
        """A repository with files, as a first commit leaves it."""
        found = self.repositories[name] = Repository(private)
        found.commit("main", {".gitattributes": b"*.npy filter=lfs\n", **dict(files)}, "first")
        return found

    def files(self, name, revision="main"):
        found = self.repositories[name]
        return found.commits[found.branches.get(revision, revision)]


class Handler(http.server.BaseHTTPRequestHandler):
    hub = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, value, status=200, headers=()):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in dict(headers).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status, code, text):
        self.answer({"error": text}, status, {"X-Error-Code": code, "X-Error-Message": text})

    @property
    def is_ann(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def found(self, name):
        """A repository that the user may see; otherwise the answer is given."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self.is_ann):
            status = 404 if self.is_ann else 401
            self.refuse(status, "RepoNotFound", "Repository not found")
            return None
        return repository

    def commit_of(self, repository, revision):
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit

    def route(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        repo = r"(?P<repo>[^/]+/[^/]+)"
        routes = {
            r"GET /api/whoami-v2": self.whoami,
            r"POST /api/repos/create": self.create,
            r"POST /api/validate-yaml": self.validate,
            rf"POST /api/models/{repo}/branch/(?P<branch>.+)": self.branch,
            rf"POST /api/models/{repo}/preupload/(?P<revision>.+)": self.preupload,
            rf"POST /api/models/{repo}/commit/(?P<branch>.+)": self.commit,
            rf"POST /{repo}\.git/info/lfs/objects/batch": self.batch,
            r"PUT /lfs/(?P<oid>[0-9a-f]{64})": self.store,
            rf"GET /api/models/{repo}": self.info,
            rf"GET /api/models/{repo}/revision/(?P<revision>.+)": self.info,
            rf"GET /api/models/{repo}/tree/(?P<revision>[^/]+)": self.tree,
            rf"(GET|HEAD) /{repo}/resolve/(?P<revision>[^/]+)/(?P<name>.+)": self.resolve,
        }
        for pattern, call in routes.items():
            match = re.fullmatch(pattern, f"{self.command} {path}")
            if match:
                return call(**match.groupdict())
        return self.answer({"error": "no such page"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = route  # noqa: N815

    def whoami(self):
        if not self.is_ann:
            return self.answer({"error": "Invalid username or password."}, 401)
        return self.answer({"type": "user", "name": "ann", "orgs": []})

    def create(self):
        asked = json.loads(self.body())
        name = f"{asked['organization'] or 'ann'}/{asked['name']}"
        if not self.is_ann:
            return self.answer({"error": "Invalid username or password."}, 401)
        url = f"{self.hub.address}/{name}"
        if name in self.hub.repositories:
            return self.answer({"error": "You already created this model repo", "url": url}, 409)
        if name.split("/")[0] not in self.hub.writers:
            text = f"You don't have the rights to create a model under the namespace of {name}"
            return self.answer({"error": text}, 403, {"X-Error-Message": text})
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.repository(name, private=bool(private))
        return self.answer({"url": url, "name": name})

    def validate(self):
        content = json.loads(self.body())["content"]
        assert content.startswith("---\n")
        return self.answer({"errors": [], "warnings": []})

    def branch(self, repo, branch):
        self.body()
        repository = self.found(repo)
        if repository is None:
            return None
        if branch in repository.branches:
            return self.answer({"error": "Reference already exists"}, 409)
        repository.branches[branch] = repository.branches["main"]
        return self.answer({})

    def preupload(self, repo, revision):
        asked = json.loads(self.body())
        repository = self.found(repo)
        commit = repository and self.commit_of(repository, revision)
        if not commit:
            return None
        there = repository.commits[commit]
        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": self.oid_of(there[one["path"]], one["path"])
                if one["path"] in there
                else None,
            }
            for one in asked["files"]
        ]
        return self.answer({"files": files})

    def oid_of(self, data, name):
        return hashlib.sha256(data).hexdigest() if name.endswith(LARGE) else git_id(data)

    def batch(self, repo):
        asked = json.loads(self.body())
        objects = []
        for one in asked["objects"]:
            if one["oid"] not in self.hub.blobs:
                one["actions"] = {"upload": {"href": f"{self.hub.address}/lfs/{one['oid']}"}}
            objects.append(one)
        return self.answer({"transfer": "basic", "objects": objects})

    def store(self, oid):
        data = self.body()
        assert hashlib.sha256(data).hexdigest() == oid
        self.hub.blobs[oid] = data
        return self.answer({})

    def commit(self, repo, branch):
        lines = [json.loads(line) for line in self.body().splitlines()]
        repository = self.found(repo)
        if repository is None:
            return None
        if not self.is_ann or repo.split("/")[0] not in self.hub.writers:
            return self.answer({"error": "Forbidden"}, 403)
        if self.hub.fails:
            return self.answer({"error": "Internal error"}, 500)
        header = lines[0]["value"]
        parent = repository.branches[branch]
        if header.get("parentCommit") not in (None, parent):
            return self.answer({"error": "The parent commit has changed"}, 412)
        files = dict(repository.commits[parent])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        made = repository.commit(branch, files, header["summary"])
        url = f"{self.hub.address}/{repo}/commit/{made}"
        return self.answer({"success": True, "commitOid": made, "commitUrl": url})

    def info(self, repo, revision="main"):
        repository = self.found(repo)
        commit = repository and self.commit_of(repository, revision)
        if not commit:
            return None
        names = [{"rfilename": name} for name in sorted(repository.commits[commit])]
        return self.answer(
            {
                "id": repo,
                "modelId": repo,
                "sha": commit,
                "private": repository.private,
                "siblings": names,
                "tags": [],
            }
        )

    def tree(self, repo, revision):
        repository = self.found(repo)
        commit = repository and self.commit_of(repository, revision)
        if not commit:
            return None
        entries = []
        for name, data in sorted(repository.commits[commit].items()):
            entry = {"type": "file", "path": name, "size": len(data), "oid": git_id(data)}
            if name.endswith(LARGE):
                large = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
                entry["lfs"] = {**large, "pointerSize": 134}
            entries.append(entry)
        return self.answer(entries)

    def resolve(self, repo, revision, name):
        repository = self.found(repo)
        commit = repository and self.commit_of(repository, revision)
        if not commit:
            return None
        data = repository.commits[commit].get(name)
        if data is None:
            return self.refuse(404, "EntryNotFound", f"{name} does not exist")
        whole = len(data)
        headers = {"ETag": f'"{self.oid_of(data, name)}"', "X-Repo-Commit": commit}
        headers["Accept-Ranges"] = "bytes"
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        status = 200
        if asked:
            first, last = int(asked[1]), int(asked[2] or whole - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{whole}"
            data, status = data[first : last + 1], 206
        if self.hub.cut is None or self.command == "HEAD" or not name.endswith(LARGE):
            return self.answer(data, status, headers)
        self.send_response(status)
        for key, text in headers.items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: self.hub.cut])
        self.close_connection = True
        return None


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        pass  # clients that go away


@contextmanager
def hub_server():
    """Run a server; its state is the value."""
    hub = Hub()
    handler = type("Served", (Handler,), {"hub": hub})
    with Server(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
