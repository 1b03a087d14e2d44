"""The cache of answers: the service and the function over HTTP, with a real server of Valkey (or Redis) that these tests start.

It is a cluster of one machine, since both clouds' caches speak that protocol. Where no server is installed, these are skipped.
"""

import base64
import datetime
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import redis
from redis.exceptions import NoPermissionError

from components.core.caching import access
from runtime.serving import cache as answers
from runtime.serving.pack import from_sklearn, pack
from runtime.serving.settings import Settings
from tests.runtime.serving import INPUTS, Answer, Service, free_port, service, trained
from tests.runtime.test_serving_function import Lambda, event

BINARY = shutil.which("valkey-server") or shutil.which("redis-server")
pytestmark = pytest.mark.skipif(BINARY is None, reason="neither valkey-server nor redis-server is installed")
CLIENT = "price-check"
ACCOUNT = f"serve-{CLIENT}@acme-ai-dev.iam.gserviceaccount.com"


class Server:
    """A cluster of one machine, with a client that may do what it may do on both clouds."""

    def __init__(self, folder: Path, *more: str, tls: Mapping[str, Any] | None = None) -> None:
        self.port, self.folder = free_port(), folder
        self.tls = dict(tls or {})
        listens = (
            ["--port", "0", "--tls-cluster", "yes", "--tls-port", str(self.port)] if tls else ["--port", str(self.port)]
        )
        self._command = [
            str(BINARY), *listens, "--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--save", "",
            "--bind", "127.0.0.1", "--cluster-announce-ip", "127.0.0.1", "--dir", str(folder), "--loglevel", "warning", *more,
            "--user", CLIENT, ">word", *access(CLIENT).split(), "--user", ACCOUNT, ">word", *access(CLIENT).split(),
        ]  # fmt: skip
        self.start()
        self.admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        for _ in range(500):
            if b"cluster_state:ok" in self.admin.execute_command("CLUSTER", "INFO"):
                break
            time.sleep(0.02)

    @property
    def admin(self) -> Any:
        made: Any = redis.Redis(port=self.port, **self.tls)
        made.response_callbacks.clear()
        return made

    @property
    def url(self) -> str:
        return f"redis{'s' if self.tls else ''}://{CLIENT}:word@localhost:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def server(*more: str, tls: Mapping[str, Any] | None = None) -> Generator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        made = Server(Path(folder), *more, tls=tls)
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def valkey() -> Iterator[Server]:
    with server() as made:
        yield made


def told(url: str, **more: str) -> dict[str, str]:
    # Slow machines run these too: half a second in place of 50 ms.
    return {"CACHE_URL": url, "CACHE_PREFIX": CLIENT, "CACHE_SECONDS": "60", "CACHE_MS": "500", **more}


@pytest.fixture(scope="module")
def running(valkey: Server) -> Iterator[Service]:
    with service(**told(valkey.url)) as found:
        yield found


def ask(found: Service, seed: int, count: int = 3) -> Answer:
    return found.post("/predict", {"instances": trained().rows(count, seed)})


def eventually(found: Service, seed: int, wanted: str) -> Answer:
    """Ask until it comes from there: it is stored after the answer."""
    for _ in range(200):
        answer = ask(found, seed)
        if answer.headers["X-Cache"] == wanted:
            return answer
        time.sleep(0.05)
    raise AssertionError(found.said[-5:])


def events(found: Service, name: str) -> list[dict[str, Any]]:
    return [line for line in found.said if isinstance(line, dict) and line.get("event") == name]


def counted(found: Service, outcome: str) -> float:
    text = found.get("/metrics").body.decode()
    lines = [line for line in text.splitlines() if line.startswith(f'serving_cache_total{{outcome="{outcome}"}}')]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def test_the_second_answer_is_the_first_one_and_says_so(running: Service, valkey: Server):
    misses, hits = counted(running, "miss"), counted(running, "hit")
    first = ask(running, 1)
    assert (first.status, first.headers["X-Cache"]) == (200, "miss")
    second = eventually(running, 1, "hit")
    assert second.body == first.body
    trained().same(second.json["predictions"], trained().rows(3, 1))
    assert counted(running, "miss") > misses
    assert counted(running, "hit") > hits
    [key] = valkey.admin.keys("*")
    assert key.startswith(f"{CLIENT}:".encode())
    assert 0 < valkey.admin.ttl(key) <= 60, "on AWS what never expires is never dropped"
    assert str(trained().rows(3, 1)[0]["amount"]).encode() not in key + valkey.admin.get(key), "nothing that was sent"


def test_the_same_instances_are_the_same_however_they_are_written(running: Service):
    rows = trained().rows(2, 2)
    ask_again = partial(running.ask, "POST", "/predict")
    ask(running, 2, 2)
    eventually_hit(lambda: running.post("/predict", {"instances": rows}))
    spaced = json.dumps({"instances": [dict(reversed(row.items())) for row in rows]}, indent=2)
    assert ask_again(spaced, {"Content-Type": "application/json"}).headers["X-Cache"] == "hit"
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    answer = ask_again(lines, {"Content-Type": "application/jsonlines"})
    assert answer.headers["X-Cache"] == "hit"
    assert len(answer.body.splitlines()) == 2, "in the form that was asked for"
    assert running.post("/predict", {"instances": rows[::-1]}).headers["X-Cache"] == "miss"


def eventually_hit(again: Any) -> None:
    for _ in range(100):
        if again().headers["X-Cache"] == "hit":
            return
        time.sleep(0.05)
    raise AssertionError


def test_another_version_has_answers_of_its_own(running: Service, valkey: Server, tmp_path: Path):
    eventually_hit(partial(ask, running, 3))
    content, signature = from_sklearn(trained().estimator, INPUTS, name="fraud", version="13")
    (tmp_path / "in.onnx").write_bytes(content)
    pack(tmp_path / "in.onnx", signature | {"batch_limit": 64}, tmp_path / "model.tar.gz")
    (tmp_path / "files").mkdir()
    subprocess.run(["tar", "xzf", tmp_path / "model.tar.gz", "-C", tmp_path / "files"], check=True)
    with service(**told(valkey.url), MODEL_DIR=str(tmp_path / "files")) as newer:
        answer = ask(newer, 3)
        assert (answer.headers["X-Model-Version"], answer.headers["X-Cache"]) == ("13", "miss")


def test_what_is_refused_is_not_stored(running: Service, valkey: Server):
    before = valkey.admin.dbsize()
    for _ in range(2):
        answer = running.post("/predict", {"instances": [{"amount": -1}]})
        assert (answer.status, answer.headers["X-Cache"]) == (422, None)
    assert running.ask("POST", "/predict", "{", {"Content-Type": "application/json"}).status == 400
    time.sleep(0.3)
    assert valkey.admin.dbsize() == before


def test_what_is_no_answer_is_not_given(running: Service, valkey: Server):
    eventually(running, 4, "hit")
    for key in valkey.admin.keys("*"):
        valkey.admin.set(key, b'[{"label": 7}]')  # one, for three instances
    answer = ask(running, 4)
    assert answer.headers["X-Cache"] == "miss"
    trained().same(answer.json["predictions"], trained().rows(3, 4))


def test_a_cache_that_goes_away_is_no_error_and_one_that_comes_back_is_used():
    with server() as made, service(**told(made.url)) as found:
        eventually(found, 5, "hit")
        made.stop()
        began = time.monotonic()
        for _ in range(5):
            answer = ask(found, 5)
            assert (answer.status, answer.headers["X-Cache"]) == (200, "away")
        assert time.monotonic() - began < 3, "after the first one nobody waits for it"
        assert len(events(found, "cache is away")) == 1, "once, not for each request"
        made.start()
        eventually(found, 5, "hit")
        assert events(found, "cache is back")
        assert counted(found, "away") >= 5


def test_a_service_whose_cache_was_never_there_starts_and_answers():
    with service(
        **told(f"rediss://somebody@127.0.0.1:{free_port()}", CACHE_SIGN_IN="elasticache/us-west-2/a")
    ) as found:
        answer = ask(found, 6)
        assert (answer.status, answer.headers["X-Cache"]) == (200, "away")
        assert [line["severity"] for line in events(found, "cache is away")] == ["WARNING"]


@pytest.mark.parametrize("url", ["https://somewhere", "rediss://:6379"])
def test_a_cache_that_is_described_wrongly_is_none(url: str):
    with service(**told(url)) as found:
        answer = ask(found, 6)
        assert (answer.status, answer.headers["X-Cache"]) == (200, None)
        assert [line["severity"] for line in events(found, "cache is not used")] == ["ERROR"]


def test_a_slow_cache_costs_a_request_its_bound_and_the_next_ones_nothing(valkey: Server):
    with service(**told(valkey.url, CACHE_MS="100")) as found:
        eventually(found, 7, "hit")
        valkey.admin.execute_command("CLIENT", "PAUSE", 3000, "ALL")
        began = time.monotonic()
        first = ask(found, 7)
        waited = time.monotonic() - began
        assert (first.status, first.headers["X-Cache"]) == (200, "away")
        assert 0.1 <= waited < 1
        began = time.monotonic()
        assert [ask(found, 7).status for _ in range(5)] == [200] * 5
        assert time.monotonic() - began < 0.5
        valkey.admin.execute_command("CLIENT", "UNPAUSE")


def test_the_function_keeps_answers_too(valkey: Server):
    found = Lambda(MODEL_DIR=str(trained().folder), **told(valkey.url))
    try:
        rows = trained().rows(2, 20)
        first, second = (found.invoke(event({"instances": rows})) for _ in range(2))
        assert [each["headers"]["x-cache"] for each in (first, second)] == ["miss", "hit"]
        assert first["body"] == second["body"]
        trained().same(json.loads(second["body"])["predictions"], rows)
        refused = found.invoke(event({"instances": [{"amount": -1}]}))
        assert (refused["statusCode"], refused["headers"].get("x-cache")) == (422, None)
        assert [line.get("cache") for line in found.said if line.get("event") == "request"] == ["miss", "hit", None]
    finally:
        found.end()


def test_a_function_whose_cache_is_away_answers():
    found = Lambda(MODEL_DIR=str(trained().folder), **told(f"redis://somebody:word@127.0.0.1:{free_port()}"))
    try:
        answer = found.invoke(event({"instances": trained().rows(2, 21)}))
        assert (answer["statusCode"], answer["headers"]["x-cache"]) == (200, "away")
    finally:
        found.end()


def test_what_waits_in_a_queue_is_answered_from_it_too(valkey: Server, tmp_path: Path):
    with service(**told(valkey.url), OUTPUT_URI=str(tmp_path)) as found:
        data = base64.b64encode(json.dumps({"instances": trained().rows(2, 22)}).encode()).decode()
        for number in ("1", "2"):
            answer = found.post("/push", {"message": {"messageId": number, "data": data}})
            assert answer.status == 204
            time.sleep(0.5)
        assert counted(found, "hit") == 1
        one, two = (json.loads((tmp_path / "results" / f"{number}.json").read_bytes()) for number in ("1", "2"))
        assert one["predictions"] == two["predictions"]


def test_who_listens_and_never_answers_is_slow_too():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://somebody:word@127.0.0.1:{silent.getsockname()[1]}"
        with service(**told(url, CACHE_MS="100")) as found:
            assert (ask(found, 8).status, ask(found, 8).headers["X-Cache"]) == (200, "away")


def test_a_client_reads_and_writes_its_own_answers_and_does_nothing_else(valkey: Server):
    client: Any = redis.Redis(port=valkey.port, username=CLIENT, password="word")  # noqa: S106
    client.set(f"{CLIENT}:a", "1", ex=5)
    assert client.get(f"{CLIENT}:a") == b"1"
    for command in (
        ("GET", "search:a"), ("SET", "search:a", "1"), ("GET", f"{CLIENT}2:a"), ("KEYS", "*"), ("FLUSHALL",), ("ACL", "LIST"),
        ("CONFIG", "GET", "*"), ("EVAL", "return 1", "0"), ("CLUSTER", "FAILOVER"),
    ):  # fmt: skip
        with pytest.raises(NoPermissionError):
            client.execute_command(*command)


def test_over_tls_it_believes_the_authority_of_the_cache_and_no_other(tmp_path: Path):
    good, other = (authority(tmp_path, name) for name in ("good", "other"))
    files = (
        "--tls-cert-file",
        tmp_path / "good.crt",
        "--tls-key-file",
        tmp_path / "good.key",
        "--tls-auth-clients",
        "no",
    )
    tls = {"ssl": True, "ssl_cert_reqs": "none", "ssl_check_hostname": False}
    with server(*map(str, files), "--tls-ca-cert-file", str(tmp_path / "good.crt"), tls=tls) as made:
        # The certificate has another name than the one it is called by: as on Google Cloud.
        with service(**told(made.url, CACHE_AUTHORITY=good)) as found:
            eventually(found, 9, "hit")
        for wrong in (other, ""):
            with service(**told(made.url, CACHE_AUTHORITY=wrong)) as found:
                assert (ask(found, 9).status, ask(found, 9).headers["X-Cache"]) == (200, "away")


def authority(folder: Path, name: str) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"cache-{name}")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    text = made.public_bytes(serialization.Encoding.PEM)
    (folder / f"{name}.crt").write_bytes(text)
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return text.decode()


def test_on_aws_the_password_is_a_request_that_is_signed_for_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKID",
        "AWS_SECRET_ACCESS_KEY": "word",
        "AWS_SESSION_TOKEN": "session",
    }.items():
        monkeypatch.setenv(name, value)
    token = answers.passwords("elasticache/us-west-2/acme-ai-staging-answers", "chat", "")()
    parts = urlsplit(f"//{token}")
    asked = {name: value for name, [value] in parse_qs(parts.query).items()}
    assert (parts.netloc, parts.path) == ("acme-ai-staging-answers", "/")
    assert (asked["Action"], asked["User"], asked["ResourceType"]) == ("connect", "chat", "ServerlessCache")
    assert asked["X-Amz-Expires"] == "900"
    assert "/us-west-2/elasticache/aws4_request" in asked["X-Amz-Credential"]
    assert asked["X-Amz-Security-Token"] == "session"
    assert len(asked["X-Amz-Signature"]) == 64


def test_on_google_cloud_the_user_is_called_as_the_account(valkey: Server):
    made = answers.Blocking(Settings.of(told(valkey.url.replace(CLIENT, quote(ACCOUNT, safe="")))))
    made.store(f"{CLIENT}:of-an-account", [1.5], 2.0)
    assert made.read(f"{CLIENT}:of-an-account", 1) == ([1.5], "hit")


def test_on_google_cloud_the_password_is_an_access_token(monkeypatch: pytest.MonkeyPatch):
    import google.auth

    class Identity:
        valid, token, asked = False, "", 0

        def refresh(self, _: Any) -> None:
            self.valid, self.asked = True, self.asked + 1
            self.token = f"token-{self.asked}"

    found = Identity()
    monkeypatch.setattr(google.auth, "default", lambda scopes: (found, "project"))  # noqa: ARG005
    password = answers.passwords("memorystore", "", "")
    assert (password(), password()) == ("token-1", "token-1")
    found.valid = False
    assert password() == "token-2", "an old one opens no new connection"


@pytest.mark.parametrize("sign_in", ["elasticache/us-west-2/a", "elasticache/us-west-2", "azure"])
def test_a_way_to_sign_in_that_is_not_whole_is_refused(sign_in: str):
    with pytest.raises(ValueError, match="CACHE_SIGN_IN"):
        answers.passwords(sign_in, "", "")


def test_settings_come_from_variables():
    found = Settings.of({"CACHE_URL": "rediss://a@b:1", "CACHE_SECONDS": "5", "CACHE_MS": "20"})
    assert (found.cache_url, found.cache_seconds, found.cache_ms) == ("rediss://a@b:1", 5, 20.0)
