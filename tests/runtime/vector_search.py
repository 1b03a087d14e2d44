"""As much of Cloud Storage, Vector Search, Vertex AI's embeddings and Model Armor as the functions use, in memory, over HTTP.

Fields are those of the interfaces' own definitions (googleapis: vectorsearch/v1 data_object_service and
data_object_search_service, modelarmor/v1 service; Cloud Storage JSON v1): what they do not know is an error here.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from runtime.gcp import retrieval_rest
from tests.runtime.cloud_storage import serving

PAGE = 3
ID = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
HOSTS = {
    "/storage/": "storage.googleapis.com",
    "/dataObjects": "vectorsearch.googleapis.com",
    "/publishers/": "us-central1-aiplatform.googleapis.com",
    "/templates/": "modelarmor.us-central1.rep.googleapis.com",
    "/computeMetadata/": "metadata.google.internal",
}
SEARCH_FIELDS = {"searchText", "searchField", "taskType", "outputFields", "filter", "topK", "searchHint"}


class StatusError(Exception):
    """An error of an interface, by its status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def only(value: dict[str, Any], *fields: str) -> None:
    assert set(value) <= set(fields), f"{set(value) - set(fields)} is unknown"


class Google:
    """A bucket, collections by their names, and templates."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.generation = 1_793_500_000_000_000
        self.objects: dict[str, tuple[str, bytes]] = {}
        self.old: dict[tuple[str, str], bytes] = {}
        self.collections: dict[str, dict[str, dict[str, Any]]] = {}
        self.created: Counter[str] = Counter()
        self.deleted: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, list[int]] = {}
        """Part of a call, as `GET /storage` or `:query`, to the statuses that the next such calls end with."""
        self.atomic = True
        """Whether a batch of which one fails does nothing at all."""
        self.stale: list[dict[str, dict[str, Any]]] = []
        """What the next queries answer with, where that is not the newest."""
        self.before: dict[int, Callable[[], None]] = {}
        """What somebody else does just before the call of that number."""
        self.count = 0
        self.problems: list[str] = []
        """What no such interface would have been asked."""
        self.sanitized: list[tuple[str, str]] = []
        self.searched: list[tuple[str, str, int]] = []
        self.embedded: list[tuple[str, str]] = []
        """What vectors were asked of: task and text."""
        self.verdict: Callable[[str, str], dict[str, Any]] = lambda _side, _text: {
            "filterMatchState": "NO_MATCH_FOUND",
            "invocationResult": "SUCCESS",
        }

    def put(self, name: str, content: bytes) -> str:
        self.generation += 1
        self.objects[name] = (str(self.generation), content)
        self.old[name, str(self.generation)] = content
        return str(self.generation)

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        url = urlsplit(path)
        # A server refuses a request for another host than its own.
        assert headers["Host"] == next(host for part, host in HOSTS.items() if part in url.path)
        if url.path.startswith("/computeMetadata/"):
            found = {"access_token": "t0k3n"} if headers["Metadata-Flavor"] == "Google" else {}
            return 200, json.dumps(found).encode()
        if headers["Authorization"] != "Bearer t0k3n":
            return 401, b"{}"
        self.count += 1
        if act := self.before.pop(self.count, None):
            act()
        for part in [part for part in self.faults if part in f"{method} {url.path}" and self.faults[part]]:
            return self.faults[part].pop(0), b'{"error": {"message": "as the test wants it"}}'
        try:
            return self.served(method, url.path, parse_qs(url.query), json.loads(body) if body else {})
        except StatusError as error:
            return error.status, b'{"error": {"message": "for a reason"}}'
        except (AssertionError, KeyError, ValueError) as error:
            self.problems.append(f"{method} {path}: {error!r}")
            return 400, b"{}"

    def served(self, method: str, path: str, query: dict[str, list[str]], given: dict[str, Any]) -> tuple[int, bytes]:
        if path.startswith("/storage/v1/b/"):
            return self.storage(method, path, query)
        if "/templates/" in path:
            return 200, json.dumps(self.armor(path, given)).encode()
        if path.endswith(":predict"):
            return 200, json.dumps(self.predict(path, given)).encode()
        return 200, json.dumps(self.store(method, path, query, given)).encode()

    def predict(self, path: str, given: dict[str, Any]) -> Any:
        """Vectors of a text's words: texts with the same ones are alike ("Text embeddings API")."""
        only(given, "instances")
        model = path.rpartition("/")[2].removesuffix(":predict")
        dimensions = {"text-embedding-005": 768, "text-multilingual-embedding-002": 768, "gemini-embedding-001": 3072}
        assert 1 <= len(given["instances"]) <= (1 if model.startswith("gemini") else 250)
        found: list[Any] = []
        for one in given["instances"]:
            only(one, "content", "task_type", "title")
            assert one["task_type"] in {"RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"}
            assert one["content"]
            self.embedded.append((one["task_type"], one["content"]))
            values = [0.001] * dimensions[model]
            for word in re.findall(r"\w+", one["content"].lower()):
                values[int.from_bytes(hashlib.sha256(f"{model} {word}".encode()).digest()[:4]) % len(values)] += 1.0
            found.append({"embeddings": {"values": values, "statistics": {"token_count": 5, "truncated": False}}})
        return {"predictions": found}

    def storage(self, method: str, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        assert method == "GET"
        bucket, _, name = path.removeprefix("/storage/v1/b/").partition("/o")
        if bucket != self.bucket:
            raise StatusError(404)
        self.calls["storage"] += 1
        if not name:
            assert set(query) <= {"prefix", "fields", "maxResults", "pageToken"}
            return 200, json.dumps(self.listed(query)).encode()
        name = unquote(name.removeprefix("/"))
        if query.get("alt") == ["media"]:
            self.calls["download"] += 1
            content = self.old.get((name, query["generation"][0]))
            # Versions are kept, but a bucket may have lost one.
            if content is None:
                raise StatusError(404)
            return 200, content
        if name not in self.objects:
            raise StatusError(404)
        generation, content = self.objects[name]
        return 200, json.dumps({"name": name, "generation": generation, "size": str(len(content))}).encode()

    def listed(self, query: dict[str, list[str]]) -> Any:
        names = sorted(name for name in self.objects if name.startswith(query["prefix"][0]))
        start = int(query.get("pageToken", ["0"])[0] or 0)
        answer: dict[str, Any] = {
            "items": [
                {"name": name, "generation": self.objects[name][0], "size": str(len(self.objects[name][1]))}
                for name in names[start : start + PAGE]
            ]
        }
        if not names:
            del answer["items"]
        if start + PAGE < len(names):
            answer["nextPageToken"] = str(start + PAGE)
        return answer

    def store(self, method: str, path: str, query: dict[str, list[str]], given: dict[str, Any]) -> Any:
        collection, _, rest = path.removeprefix("/v1/").partition("/dataObjects")
        if collection not in self.collections:
            raise StatusError(404)
        objects = self.collections[collection]
        self.calls[rest if rest.startswith(":") else method] += 1
        match (method, rest):
            case ("POST", ":query"):
                return self.query(objects, given)
            case ("POST", ":search"):
                return self.search(collection, objects, given)
            case ("POST", ":batchCreate"):
                only(given, "requests")
                for one in given["requests"]:
                    only(one, "parent", "dataObjectId", "dataObject")
                    assert one["parent"] == collection
                self.batch(409, objects, [(one["dataObjectId"], one["dataObject"]) for one in given["requests"]])
            case ("POST", ":batchDelete"):
                only(given, "requests")
                names = [one["name"].removeprefix(f"{collection}/dataObjects/") for one in given["requests"]]
                self.batch(404, objects, [(name, None) for name in names])
            case ("POST", ""):
                self.batch(409, objects, [(query["dataObjectId"][0], given)])
            case ("DELETE", _):
                self.batch(404, objects, [(rest.removeprefix("/"), None)])
            case _:
                raise StatusError(405)
        return {}

    def batch(self, status: int, objects: dict[str, Any], wanted: list[tuple[str, dict[str, Any] | None]]) -> None:
        assert 1 <= len(wanted) <= 1000
        clashes = [name for name, data in wanted if (name in objects) == (data is not None)]
        for name, data in wanted:
            if clashes and (self.atomic or name in clashes):
                continue
            if data is None:
                del objects[name]
                self.deleted[name] += 1
            else:
                assert ID.fullmatch(name)
                only(data, "data", "vectors")
                assert not data["vectors"], "the collection makes them itself"
                assert set(data["data"]) == {"source", "generation", "part", "parts", "text"}
                assert data["data"]["text"]
                objects[name] = data["data"]
                self.created[name] += 1
        if clashes:
            raise StatusError(status)

    def query(self, objects: dict[str, dict[str, Any]], given: dict[str, Any]) -> Any:
        only(given, "filter", "outputFields", "pageSize", "pageToken")
        if self.stale:
            objects = self.stale.pop(0)
        wanted = given.get("filter", {}).get("source", {}).get("$eq")
        names = [name for name, data in sorted(objects.items()) if wanted in {None, data["source"]}]
        start = int(given.get("pageToken") or 0)
        answer: dict[str, Any] = {
            "dataObjects": [
                {"name": f"projects/p/dataObjects/{name}", "data": self.fields(objects[name], given["outputFields"])}
                for name in names[start : start + PAGE]
            ]
        }
        if start + PAGE < len(names):
            answer["nextPageToken"] = str(start + PAGE)
        return answer

    def search(self, collection: str, objects: dict[str, dict[str, Any]], given: dict[str, Any]) -> Any:
        only(given, "semanticSearch", "pageSize", "pageToken")
        asked = given["semanticSearch"]
        only(asked, *SEARCH_FIELDS)
        assert asked["searchField"] == "embedding"
        assert asked["taskType"] == "RETRIEVAL_QUERY"
        self.searched.append((collection, asked["searchText"], asked["topK"]))
        return {
            "results": [
                {"dataObject": {"name": name, "data": self.fields(data, asked["outputFields"])}, "distance": 0.5}
                for name, data in list(objects.items())[: asked["topK"]]
            ]
        }

    def fields(self, data: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
        only(wanted, "dataFields", "vectorFields", "metadataFields")
        # A Struct knows numbers of one kind only.
        return {k: float(v) if isinstance(v, int) else v for k, v in data.items() if k in wanted["dataFields"]}

    def armor(self, path: str, given: dict[str, Any]) -> Any:
        side = path.rpartition(":sanitize")[2]
        (field,) = given
        assert field == {"UserPrompt": "userPromptData", "ModelResponse": "modelResponseData"}[side]
        only(given[field], "text")
        self.sanitized.append((side, given[field]["text"]))
        return {"sanitizationResult": self.verdict(side, given[field]["text"])}


@contextmanager
def listening(google: Google) -> Iterator[list[str]]:
    """Google's interfaces, for as long as this lasts; the hosts that were asked."""
    hosts: list[str] = []
    with serving(google.answer) as address, pytest.MonkeyPatch.context() as patch:

        class Connection(HTTPConnection):
            def __init__(self, host: str, timeout: int) -> None:
                assert timeout
                super().__init__(address, timeout=timeout)
                self.asked = host

            def request(self, method: str, url: str, body: Any = None, headers: Any = None, **_: Any) -> None:
                hosts.append(self.asked)
                super().request(method, url, body, {**headers, "Host": self.asked})

        patch.setattr(retrieval_rest, "HTTPConnection", Connection)
        patch.setattr(retrieval_rest, "HTTPSConnection", Connection)
        yield hosts
