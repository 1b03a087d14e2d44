"""As much of Cloud Storage's JSON API as the job uses (v1: objects insert, get, list, delete), in memory."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PAGE = 2


class CloudStorage:
    """Objects by name, and faults to come."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.unavailable = 0
        """How many of the next uploads are answered with 503."""
        self.address = ""

    def insert(self, body: bytes, content_type: str) -> tuple[int, bytes]:
        if self.unavailable:
            self.unavailable -= 1
            return 503, b"{}"
        parts = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body).get_payload()
        assert isinstance(parts, list)
        described, content = (part for part in parts if isinstance(part, Message))
        name = json.loads(str(described.get_payload()))["name"]
        # The parser of mails would take bytes for text: what stands between the last head and the last boundary is the content.
        boundary = b"\r\n--" + content_type.partition("boundary=")[2].strip('"').encode()
        head = b"\r\n\r\n"
        start = body.index(head, body.index(b"content-type", body.index(boundary))) + len(head)
        assert content["content-type"] == "application/octet-stream"
        self.objects[name] = body[start : body.rindex(boundary)]
        return 200, json.dumps({"name": name, "bucket": "artifacts"}).encode()

    def list(self, query: dict[str, list[str]]) -> tuple[int, bytes]:
        prefix = query.get("prefix", [""])[0]
        assert query["delimiter"] == ["/"]
        found = [n for n in sorted(self.objects) if n.startswith(prefix) and "/" not in n[len(prefix) :]]
        start = int(query.get("pageToken", ["0"])[0])
        answer: dict[str, Any] = {"items": [{"name": name} for name in found[start : start + PAGE]]}
        if start + PAGE < len(found):
            answer["nextPageToken"] = str(start + PAGE)
        return 200, json.dumps(answer).encode()

    def answer(self, method: str, path: str, content_type: str, body: bytes) -> tuple[int, bytes]:
        url = urlsplit(path)
        place, _, name = url.path.partition("/b/artifacts/o")
        name = unquote(name.lstrip("/"))
        if method == "POST" and place == "/upload/storage/v1":
            return self.insert(body, content_type)
        if method == "GET" and not name:
            return self.list(parse_qs(url.query))
        if name not in self.objects:
            return 404, b"{}"
        if method == "DELETE":
            del self.objects[name]
            return 204, b""
        assert (method, place) == ("GET", "/download/storage/v1")
        return 200, self.objects[name]


@contextmanager
def serving(answer: Any) -> Iterator[str]:
    """An HTTP server on this machine that answers with a status and a body; its host and port."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815 - the base class calls them so

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def cloud_storage() -> Iterator[CloudStorage]:
    fake = CloudStorage()
    with serving(lambda method, path, headers, body: fake.answer(method, path, headers["Content-Type"], body)) as host:
        fake.address = f"http://{host}"
        yield fake
