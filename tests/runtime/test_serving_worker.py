"""Messages of Pub/Sub, pushed as Pub/Sub pushes them: twice, at once, malformed, poisoned, and while the bucket fails."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.runtime.serving import Buckets, Service, buckets, service, trained


@pytest.fixture(scope="module")
def everything() -> Iterator[tuple[Service, Buckets]]:
    with buckets() as (fake, environment), service(**environment, OUTPUT_URI="gs://artifacts/answers") as running:
        yield running, fake


@pytest.fixture
def running(everything: tuple[Service, Buckets]) -> Service:
    return everything[0]


@pytest.fixture
def bucket(everything: tuple[Service, Buckets]) -> Buckets:
    everything[1].objects.clear()
    return everything[1]


def message(number: str, data: Any, **attributes: str) -> dict[str, Any]:
    """As Pub/Sub sends it ("Push subscriptions", "Receive messages": both spellings of the id and the time)."""
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    return {
        "deliveryAttempt": 1,
        "message": {
            "attributes": attributes,
            "data": base64.b64encode(content).decode(),
            "messageId": number,
            "message_id": number,
            "publishTime": "2026-11-21T15:00:00.123Z",
            "publish_time": "2026-11-21T15:00:00.123Z",
        },
        "subscription": "projects/acme/subscriptions/acme-dev-scores",
    }


def test_a_message_becomes_a_result(running: Service, bucket: Buckets):
    rows = trained().rows(3)
    answer = running.post("/push", message("2070443601311540", {"instances": rows}))
    assert (answer.status, answer.body) == (204, b"")
    result = json.loads(bucket.objects["answers/results/2070443601311540.json"])
    assert (result["model"], result["version"]) == ("fraud", "12")
    trained().same(result["predictions"], rows)


def test_a_message_delivered_again_changes_nothing(running: Service, bucket: Buckets):
    told = message("7", {"instances": trained().rows(2)})
    assert running.post("/push", told).status == 204
    before = dict(bucket.objects)
    scored = running.metric("serving_batch_rows_count")
    assert running.post("/push", told | {"deliveryAttempt": 2}).status == 204
    assert bucket.objects == before
    assert running.metric("serving_batch_rows_count") == scored


def test_a_message_published_twice_counts_once(running: Service, bucket: Buckets):
    for number in ("8", "9"):
        told = message(number, {"instances": trained().rows(1)}, **{"request-id": "order-17"})
        assert running.post("/push", told).status == 204
    assert list(bucket.objects) == ["answers/results/order-17.json"]


def test_deliveries_at_the_same_time_write_one_result(running: Service, bucket: Buckets):
    told = message("10", {"instances": trained().rows(1)})
    with ThreadPoolExecutor(8) as pool:
        assert {each.status for each in pool.map(lambda _: running.post("/push", told), range(16))} == {204}
    assert list(bucket.objects) == ["answers/results/10.json"]
    firsts = [line for line in running.said if line["event"] == "scored" and line["key"] == "10"]
    assert len(firsts) == 1


def test_a_stream_of_messages_with_duplicates_loses_none(running: Service, bucket: Buckets):
    told = [message(f"s{n % 40}", {"instances": trained().rows(2, seed=n % 40)}) for n in range(100)]
    with ThreadPoolExecutor(8) as pool:
        assert {each.status for each in pool.map(lambda each: running.post("/push", each), told)} == {204}
    assert len(bucket.objects) == 40
    for n in range(40):
        result = json.loads(bucket.objects[f"answers/results/s{n}.json"])
        trained().same(result["predictions"], trained().rows(2, seed=n))


@pytest.mark.parametrize(
    ("data", "status"),
    [({"instances": [{"amount": -1}]}, 422), (b"{", 400), ({"instances": []}, 422), (b"", 400)],
)
def test_a_poisoned_message_is_left_to_the_dead_letter_topic(running: Service, bucket: Buckets, data: Any, status: int):
    # Five times, as a subscription with a dead letter topic tries at least.
    assert {running.post("/push", message("11", data)).status for _ in range(5)} == {status}
    assert bucket.objects == {}


MALFORMED = [
    b"not JSON",
    b"[]",
    b"{}",
    b'{"message": 7}',
    b'{"message": {"data": "AAAA"}}',
    b'{"message": {"messageId": 12, "data": ""}}',
    b'{"message": {"messageId": "13", "data": "no base 64!"}}',
    b'{"message": {"messageId": "../../escape", "data": ""}}',
    b'{"message": {"messageId": "14", "attributes": "x", "data": ""}}',
]


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_message_is_kept_and_acknowledged(running: Service, bucket: Buckets, body: bytes):
    assert [running.post("/push", body).status for _ in range(2)] == [204, 204]
    ((name, record),) = bucket.objects.items()
    assert name.startswith("answers/malformed/")
    assert base64.b64decode(json.loads(record)["body"]) == body


def test_nothing_is_acknowledged_that_was_not_written(
    running: Service, bucket: Buckets, monkeypatch: pytest.MonkeyPatch
):
    told = [message("15", {"instances": trained().rows(1)}), b"not JSON"]
    with monkeypatch.context() as patch:
        patch.setattr(bucket, "insert", lambda *_: (403, b"{}"))
        patch.setattr(bucket, "answer", lambda method, *_: (403 if method == "POST" else 404, b"{}"))
        assert [running.post("/push", each).status for each in told] == [500, 500]
    assert bucket.objects == {}
    assert [running.post("/push", each).status for each in told] == [204, 204]
    assert len(bucket.objects) == 2


def test_without_room_or_model_it_comes_again(tmp_path: Any):
    with buckets() as (fake, environment), ThreadPoolExecutor(6) as pool:
        with service(**environment, OUTPUT_URI="gs://artifacts/a", MAX_REQUESTS="1", BATCH_WAIT_MS="300") as found:
            told = [message(str(n), {"instances": trained().rows(1, seed=n)}) for n in range(6)]
            left = told
            for _ in range(20):
                answers = list(pool.map(lambda each: found.post("/push", each).status, left))
                assert set(answers) <= {204, 429}
                left = [each for each, status in zip(left, answers, strict=True) if status == 429]
                if not left:
                    break
        assert sorted(fake.objects) == [f"a/results/{n}.json" for n in range(6)]


def test_without_a_place_for_results_there_is_no_worker():
    with service() as found:
        assert found.post("/push", {}).status == 404
