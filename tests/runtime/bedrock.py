"""As much of Amazon Bedrock as the functions use, over HTTP: requests are held to the service's own model, down to its patterns.

Moto has none of it. botocore itself checks names, types and what is required, but neither patterns nor upper bounds.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import botocore.session
from botocore.model import OperationModel, Shape

from tests.runtime.cloud_storage import serving

FAULT_STATUS = {"ThrottlingException": 429, "ConflictException": 409, "ValidationException": 400}


class FaultError(Exception):
    """An error of the service, by its code."""


def held_to(shape: Shape, value: Any, where: str) -> None:
    """Raise where a value breaks the service's model."""
    rules = shape.metadata
    size = len(value) if isinstance(value, str | list) else None
    if size is not None and not rules.get("min", 0) <= size <= rules.get("max", size):
        raise AssertionError(f"{where}: length {size} is not within {rules}")
    if isinstance(value, str):
        assert re.fullmatch(rules.get("pattern", "(?s:.*)"), value), f"{where}: {value!r} is not {rules['pattern']}"
        assert value in (getattr(shape, "enum", None) or [value]), f"{where}: {value!r} is none of {shape.enum}"
    elif shape.type_name == "structure":
        assert set(value) <= set(shape.members), f"{where}: {set(value) - set(shape.members)} is unknown"
        for name, part in value.items():
            held_to(shape.members[name], part, f"{where}.{name}")
    elif shape.type_name == "list":
        for number, part in enumerate(value):
            held_to(shape.member, part, f"{where}[{number}]")
    elif shape.type_name == "integer":
        assert rules.get("min", value) <= value <= rules.get("max", value), f"{where}: {value} is not within {rules}"


class Service:
    """A service by its model: what it is asked is checked, then answered by the function of that operation."""

    def __init__(self, name: str, operations: dict[str, Callable[[dict[str, Any]], Any]]) -> None:
        model = botocore.session.get_session().get_service_model(name)
        self._operations: list[tuple[OperationModel, re.Pattern[str], Callable[[dict[str, Any]], Any]]] = []
        for operation, function in operations.items():
            known = model.operation_model(operation)
            path = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", known.http["requestUri"].rstrip("/")) + "/?"
            self._operations.append((known, re.compile(path), function))
        self.faults: dict[str, list[str]] = defaultdict(list)
        """Operation to the codes of errors that its next calls end with; the last one stays when it is `…`."""
        self.calls: Counter[str] = Counter()

    def answer(self, method: str, path: str, _headers: Any, body: bytes) -> tuple[int, bytes]:
        try:
            return self._answer(method, path.partition("?")[0], body)
        except FaultError as fault:
            code = str(fault)
            # In the body, where rest-json has it too: the server here sends no headers of ours.
            return FAULT_STATUS.get(code, 500), json.dumps({"__type": code, "message": "as the test wants it"}).encode()
        except AssertionError as error:
            return 400, json.dumps({"__type": "TestFailure", "message": str(error)}).encode()

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        for known, pattern, function in self._operations:
            found = pattern.fullmatch(path)
            if found and known.http["method"] == method:
                given = {name: unquote(value) for name, value in found.groupdict().items()}
                given |= json.loads(body or b"{}")
                held_to(known.input_shape, given, known.name)
                self.calls[known.name] += 1
                if faults := self.faults[known.name]:
                    raise FaultError(faults[0] if len(faults) > 1 and faults[1] == "…" else faults.pop(0))
                return known.http.get("responseCode", 200), json.dumps(function(given)).encode()
        raise AssertionError(f"nobody expects {method} {path}")


@contextmanager
def running(**services: Service) -> Iterator[dict[str, str]]:
    """The environment variables by which clients find these services, which listen as long as this lasts."""
    with ExitStack() as stack:
        yield {
            f"AWS_ENDPOINT_URL_{name.upper()}": f"http://{stack.enter_context(serving(service.answer))}"
            for name, service in services.items()
        }


@dataclass
class Document:
    status: str = "NOT_FOUND"
    changed: int = 0
    version: str | None = None
    """Which version the store can be asked about."""
    looks: int = 0
    """How often it is found in progress before it ends."""
    end: Callable[[], None] | None = field(default=None, repr=False)


class KnowledgeBase:
    """A knowledge base of one data source, which does its work some time after it was asked to."""

    def __init__(self, name: str, source: str, prefix: str, read: Callable[[str], str | None]) -> None:
        self.name, self.source, self.prefix = name, source, prefix
        self.read = read
        """The version of the object at an address, or none."""
        self.documents: dict[str, Document] = defaultdict(Document)
        self.tokens: set[str] = set()
        self.embedded: list[tuple[str, str]] = []
        """Address and version of each that was embedded."""
        self.jobs = 0
        self.job_running = False
        self.looks = 1
        self.early = True
        """Whether a document is read when it is asked for, not when its turn comes."""
        self.unreadable: set[str] = set()
        """Versions that cannot be read, as an encrypted document."""
        self.ignored = "now"
        """How a request with a used token is answered, which nobody documents: as it is now, as it was first, or with nothing."""
        self.flaky = 0
        """How many of the next documents fail once."""
        self.clock = 0
        self.problems: list[str] = []

    @property
    def content(self) -> dict[str, str]:
        """Version by address, as a search would find it."""
        return {uri: document.version for uri, document in self.documents.items() if document.version}

    def get(self, uris: list[str]) -> list[Any]:
        for uri in uris:
            document = self.documents[uri]
            if document.end is not None:
                document.looks -= 1
                if document.looks < 0:
                    document.end()
                    document.end = None
        return [self.described(uri) for uri in uris]

    def ingest(self, uri: str, token: str) -> Any:
        if token not in self.tokens:
            self.tokens.add(token)
            seen = self.read(uri) if self.early else None

            def end() -> None:
                version = seen if self.early else self.read(uri)
                if self.flaky or version is None or version in self.unreadable:
                    self.flaky = max(0, self.flaky - 1)
                    self.become(uri, "FAILED", self.documents[uri].version)
                else:
                    self.embedded.append((uri, version))
                    self.become(uri, "INDEXED", version)

            self.begin(uri, "STARTING", end)
        elif self.ignored == "first":
            return self.described(uri) | {"status": "STARTING"}
        elif self.ignored == "nothing":
            return None
        return self.described(uri)

    def delete(self, uri: str) -> Any:
        def end() -> None:
            self.become(uri, "NOT_FOUND", None)

        self.begin(uri, "DELETING", end)
        return self.described(uri)

    def begin(self, uri: str, status: str, end: Callable[[], None]) -> None:
        if self.documents[uri].end is not None:
            self.problems.append(f"{uri} was asked for while it was worked on")
        self.documents[uri].status, self.documents[uri].end = status, end
        self.documents[uri].looks = self.looks

    def become(self, uri: str, status: str, version: str | None) -> None:
        self.clock += 1
        document = self.documents[uri]
        document.status, document.version, document.changed = status, version, self.clock

    def described(self, uri: str) -> Any:
        if not uri.startswith(self.prefix):
            self.problems.append(f"{uri} is none of {self.prefix}")
        document = self.documents[uri]
        return {
            "knowledgeBaseId": self.name,
            "dataSourceId": self.source,
            "status": document.status,
            "identifier": {"dataSourceType": "S3", "s3": {"uri": uri}},
            "updatedAt": f"2026-11-01T00:00:{document.changed / 1000:06.3f}Z",
        }

    def start(self, token: str) -> Any:
        if token not in self.tokens:
            if self.job_running:
                raise FaultError("ConflictException")
            self.tokens.add(token)
            self.jobs += 1
            self.job_running = True
        return {
            "ingestionJob": {
                "knowledgeBaseId": self.name,
                "dataSourceId": self.source,
                "ingestionJobId": "JOBJOBJOB1",
                "status": "STARTING",
                "startedAt": "2026-11-01T00:00:00Z",
                "updatedAt": "2026-11-01T00:00:00Z",
            }
        }


class Agent(Service):
    """`bedrock-agent` with some knowledge bases."""

    def __init__(self, *bases: KnowledgeBase) -> None:
        self.bases = {(base.name, base.source): base for base in bases}
        super().__init__(
            "bedrock-agent",
            {
                "GetKnowledgeBaseDocuments": self._get,
                "IngestKnowledgeBaseDocuments": self._ingest,
                "DeleteKnowledgeBaseDocuments": self._delete,
                "StartIngestionJob": lambda given: self._of(given).start(given["clientToken"]),
            },
        )

    def _of(self, given: dict[str, Any]) -> KnowledgeBase:
        return self.bases[given["knowledgeBaseId"], given["dataSourceId"]]

    def _get(self, given: dict[str, Any]) -> Any:
        return {"documentDetails": self._of(given).get([i["s3"]["uri"] for i in given["documentIdentifiers"]])}

    def _ingest(self, given: dict[str, Any]) -> Any:
        (document,) = given["documents"]
        uri = document["content"]["s3"]["s3Location"]["uri"]
        found = self._of(given).ingest(uri, given["clientToken"])
        return {"documentDetails": [found] if found else []}

    def _delete(self, given: dict[str, Any]) -> Any:
        (document,) = given["documentIdentifiers"]
        return {"documentDetails": [self._of(given).delete(document["s3"]["uri"])]}
