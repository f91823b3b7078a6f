"""A small Hugging Face Hub on 127.0.0.1: the answers that huggingface_hub needs, and failures it may meet."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

REPOSITORY = "someone/toy"
REVISION = "0123456789abcdef0123456789abcdef01234567"
PUSHED = "fedcba9876543210fedcba9876543210fedcba98"


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked.

    Attributes:
        url: its address; `storage` is that of the second server, to which LFS files are redirected.
        files: contents by repository, commit and name.
        statuses: statuses and X-Error-Codes that answer the next requests; the last one stays.
        wrong_bodies: how many downloads get zeros instead.
        drops: how many downloads break off in the middle.
        delay: seconds before a download begins.
        lfs: whether files are redirected to the storage server, as large ones are.
        is_hub: whether answers have the headers of the Hub; without it is any web page.
        requests: all requests for files, to both servers.
    """

    url: str = ""
    storage: str = ""
    files: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    statuses: list[tuple[int, str | None]] = field(default_factory=list)
    wrong_bodies: int = 0
    drops: int = 0
    delay: float = 0.0
    lfs: bool = False
    is_hub: bool = True
    requests: list[Request] = field(default_factory=list)

    @property
    def downloads(self) -> list[Request]:
        return [request for request in self.requests if request.method == "GET"]


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    """Run both servers until the block ends."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    hub.url, hub.storage = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._file()

    def do_GET(self) -> None:
        self._file()

    def do_POST(self) -> None:
        """Creating a repository, and a commit of files that are sent within it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.hub.statuses:
            return self._error(*self.hub.statuses[0])
        if self.path == "/api/repos/create":
            given = json.loads(body)
            self._json({"url": f"{self.hub.url}/{given['organization']}/{given['name']}"})
        elif self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            self._json({"files": [{"path": name, **modes} for name in names]})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            lines = [json.loads(line) for line in body.splitlines()]
            files = [line["value"] for line in lines if line["key"] == "file"]
            self.hub.files[match[1], PUSHED] = {f["path"]: base64.b64decode(f["content"]) for f in files}
            self._json({"commitUrl": f"{self.hub.url}/{match[1]}/commit/{PUSHED}", "commitOid": PUSHED})
        else:
            self._error(404)
        return None

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _file(self) -> None:
        match = re.fullmatch(r"/(\w+/\w+)/resolve/(\w+)/([\w.-]+)", self.path)
        if match is None:
            return self._error(404)
        hub = self.hub
        hub.requests.append(Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        repository, revision, name = match.groups()
        if hub.statuses:
            status, code = hub.statuses.pop(0) if len(hub.statuses) > 1 else hub.statuses[0]
            if status >= 400:
                return self._error(status, code)
        if all(repository != held for held, _ in hub.files):
            return self._error(401, "RepoNotFound")
        if (repository, revision) not in hub.files:
            return self._error(404, "RevisionNotFound")
        if name not in hub.files[repository, revision]:
            return self._error(404, "EntryNotFound", {"X-Repo-Commit": revision})
        return self._contents(hub.files[repository, revision][name], revision)

    def _contents(self, body: bytes, revision: str) -> None:
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        redirected = self.hub.lfs and self.server.server_port != int(self.hub.storage.rpartition(":")[2])
        self.send_response(302 if redirected else 200)
        if redirected:
            self.send_header("Location", self.hub.storage + self.path)
        if self.hub.is_hub:
            self.send_header("X-Repo-Commit", revision)
            self.send_header("X-Linked-ETag" if redirected else "ETag", etag)
        self.send_header("X-Linked-Size", str(len(body)))
        self.send_header("Content-Length", "0" if redirected else str(len(body)))
        self.end_headers()
        if self.command == "GET" and not redirected:
            self._send(body)

    def _send(self, body: bytes) -> None:
        time.sleep(self.hub.delay)
        if self.hub.wrong_bodies:
            self.hub.wrong_bodies -= 1
            body = bytes(len(body))
        if self.hub.drops:
            self.hub.drops -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def _json(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _error(self, status: int, code: str | None = None, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**({"X-Error-Code": code} if code else {}), **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
