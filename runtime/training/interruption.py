"""Learns that the machine is about to be taken away: by SIGTERM, or by the notice that the cloud shows on the machine itself.

SIGTERM comes to a pod that is evicted and to a container that is stopped. A standalone container on a spot machine may hear
nothing before the machine goes; then the notice has to be asked for. Where the metadata server is out of reach (a pod behind a
hop limit of 1, say), that is said once, and SIGTERM remains.
"""

import signal
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

METADATA_HOST = "169.254.169.254"
EVERY = 5.0
"""Seconds between two questions: what EC2's user guide asks for ("Spot Instance interruption notices"); Google gives 30 s."""
_TIMEOUT = 1.0


def aws(host: str) -> str | None:
    """The notice of EC2, by IMDSv2: two minutes ahead; 404 as long as there is none."""
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    _, token = _ask(host, "PUT", "/latest/api/token", lifetime, {200})
    found, notice = _ask(
        host, "GET", "/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token}, {200, 404}
    )
    return notice if found == 200 else None


def gcp(host: str) -> str | None:
    """The notice of Compute Engine: `TRUE` once the machine is being preempted."""
    _, preempted = _ask(host, "GET", "/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"}, {200})
    return "preempted" if preempted == "TRUE" else None


NOTICES: dict[str, Callable[[str], str | None]] = {"aws": aws, "gcp": gcp}


class Interruption:
    """Why to stop, once there is a reason; None before."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def listen(self) -> None:
        """Take SIGTERM for a reason. Says nothing itself: a handler may run in the middle of anything."""
        signal.signal(signal.SIGTERM, lambda *_: self._heard("SIGTERM"))

    def watch(self, cloud: str, host: str, complain: Callable[[str], None], every: float = EVERY) -> None:
        """Ask for the cloud's notice, in the background, until there is one."""
        ask = NOTICES[cloud]

        def run() -> None:
            complained = False
            while self.reason is None:
                try:
                    notice = ask(host)
                except (OSError, HTTPException) as error:
                    notice = None
                    if not complained:
                        complain(f"the metadata server cannot be asked for a notice: {error}")
                    complained = True
                if notice is not None:
                    self._heard(notice)
                time.sleep(every)

        threading.Thread(target=run, daemon=True).start()

    def _heard(self, reason: str) -> None:
        self.reason = self.reason or reason


def _ask(host: str, method: str, path: str, headers: dict[str, str], expected: set[int]) -> tuple[int, str]:
    connection = HTTPConnection(host, timeout=_TIMEOUT)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read().decode(errors="replace").strip()
    finally:
        connection.close()
    if response.status not in expected:
        raise HTTPException(f"{method} {path}: {response.status}")
    return response.status, body
