"""A real API server for a test: etcd and kube-apiserver from `KUBEBUILDER_ASSETS`, spoken to over HTTPS, nothing else needed."""

import http.client
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_READY_SECONDS = 120
_REFERENCE = re.compile(r"\$\{[^}]*\}")
# What a reference may look like where a definition wants an id, by a word of it.
_IDS = {"securityGroup": "sg-0", "SecurityGroupId": "sg-0", "ec2/subnet": "subnet-0", "capacityReservation": "cr-0"}


def assets() -> Path | None:
    """Where the two binaries are, by the convention of controller-runtime's envtest; None where they are not."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    found = Path(folder) if folder else None
    return found if found and all((found / name).is_file() for name in ("etcd", "kube-apiserver")) else None


def plain(value: Any) -> Any:
    """An object as it would be sent: what only a cloud knows is a word, whole numbers are whole."""
    match value:
        case str():
            return _REFERENCE.sub(_stand_in, value)
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def _stand_in(reference: re.Match[str]) -> str:
    return next((stands for word, stands in _IDS.items() if word in reference.group()), "ref")


class RefusedError(Exception):
    """What the API server said to an object that it did not take."""


class ApiServer:
    """The server, from `with` to its end; its data goes with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}
        self._token = secrets.token_hex(16)

    def __enter__(self) -> "ApiServer":
        self._home = Path(tempfile.mkdtemp(prefix="api-server-"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()  # there is nothing to save, and a graceful end takes a minute
        for process in self._processes:
            process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def _start(self) -> None:
        client, peer, self._port = _port(), _port(), _port()
        store = f"http://127.0.0.1:{client}"
        self._run(
            "etcd", "--data-dir", self._home / "etcd", "--unsafe-no-fsync",
            "--listen-client-urls", store, "--advertise-client-urls", store,
            "--listen-peer-urls", f"http://127.0.0.1:{peer}",
        )  # fmt: skip
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        signing = self._home / "signing.pem"
        signing.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        (self._home / "tokens.csv").write_text(f'{self._token},admin,admin,"system:masters"\n')
        self._run(
            "kube-apiserver", "--etcd-servers", store, "--cert-dir", self._home / "certs",
            "--secure-port", self._port, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1",
            "--service-account-issuer", "https://kubernetes.default.svc", "--service-cluster-ip-range", "10.0.0.0/24",
            "--service-account-key-file", signing, "--service-account-signing-key-file", signing,
            "--authorization-mode", "RBAC", "--token-auth-file", self._home / "tokens.csv",
            # No controller makes the accounts that it would look for.
            "--disable-admission-plugins", "ServiceAccount",
        )  # fmt: skip
        certificate = self._home / "certs" / "apiserver.crt"
        for _ in range(_READY_SECONDS * 2):
            if any(process.poll() is not None for process in self._processes):
                break
            try:
                if certificate.is_file() and self._ask("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.5)
        log = (self._home / "kube-apiserver.log").read_text(errors="replace")
        raise RuntimeError(f"the API server did not become ready: {log[-2000:]}")

    def _run(self, name: str, *arguments: object) -> None:
        with (self._home / f"{name}.log").open("wb") as log:
            command = [str(self._folder / name), *map(str, arguments)]
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        trusted = ssl.create_default_context(cafile=str(self._home / "certs" / "apiserver.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=60, context=trusted)
        try:
            connection.request(
                method,
                path,
                json.dumps(body) if body is not None else None,
                {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", **(headers or {})},
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def get(self, path: str) -> Any:
        """What lies under a path."""
        status, found = self._ask("GET", path)
        if status != 200:
            raise RefusedError(f"{path}: {found}")
        return found

    def create(self, thing: Mapping[str, Any], *, dry: bool = True, group: str | None = None) -> Any:
        """Make an object, with strict fields; by default only as if. A `group` is whose member asks for it."""
        api, kind = thing["apiVersion"], thing["kind"]
        plural, namespaced = self._kind(api, kind)
        namespace = thing["metadata"].get("namespace", "default")
        path = f"{_root(api)}/{f'namespaces/{namespace}/' if namespaced else ''}{plural}?fieldValidation=Strict"
        asking = {"Impersonate-User": "someone", "Impersonate-Group": group} if group else None
        status, answer = self._ask("POST", f"{path}&dryRun=All" if dry else path, thing, asking)
        if status not in (200, 201):
            raise RefusedError(f"{kind} {thing['metadata']['name']}: {answer.get('message', answer)}")
        return answer

    def define(self, definitions: list[dict[str, Any]]) -> None:
        """Make kinds, and wait until objects of them are taken."""
        for definition in definitions:
            self.create(definition, dry=False)
        for definition in definitions:
            path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition['metadata']['name']}"
            for _ in range(100):
                conditions = self.get(path).get("status", {}).get("conditions") or []
                if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                    break
                time.sleep(0.1)
            else:
                raise RuntimeError(f"{path} is not established")
        self._kinds.clear()

    def _kind(self, api: str, kind: str) -> tuple[str, bool]:
        if (api, kind) not in self._kinds:
            for found in self.get(_root(api))["resources"]:
                if "/" not in found["name"]:
                    self._kinds[api, found["kind"]] = (found["name"], found["namespaced"])
        if (api, kind) not in self._kinds:
            raise RefusedError(f"{api} has no {kind}")
        return self._kinds[api, kind]


def definitions(folder: Path) -> list[dict[str, Any]]:
    """The definitions of kinds in a folder and what is below it."""
    return [yaml.safe_load(file.read_text()) for file in sorted(folder.rglob("*.yaml"))]


def _root(api: str) -> str:
    return f"/api/{api}" if api == "v1" else f"/apis/{api}"


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
