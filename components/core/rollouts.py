"""Releases on Google Cloud, as source of Workflows: what is live, what shall be, and what takes it back.

Neither Vertex AI nor Cloud Run moves traffic by itself, looks at alarms meanwhile and moves it back; and the provider has no
resource that deploys a model. A workflow does both. It is no reaction to an event but a reconciliation: started again and again,
it compares what is declared in it with what is there. So a start that is missed, repeated or broken off does no harm: the next
one goes on. What has to be remembered, the version that is trusted and the one that was refused, stands in the metadata of one
object of a bucket, and changes only by compare and swap (`ifMetagenerationMatch`); the same object says which execution is at it.

Sources: Workflows "Syntax overview", "Connectors reference"; Cloud Storage JSON API "Objects: patch"; Vertex AI API v1
`endpoints.deployModel`, `endpoints.patch`, `models.upload`; Cloud Run Admin API v2 `services.patch` with `updateMask=traffic`;
"PromQL for Cloud Monitoring" (`/v1/projects/…/location/global/prometheus/api/v1/query`).

The values of what is declared may be outputs of resources: they stand at the leaves.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Steps = list[dict[str, Any]]
Routines = dict[str, dict[str, Any]]

VERSION = "@VERSION@"
"""In a guard: the version that is watched."""
TAKEN_BACK = "release-taken-back"
RELEASED = "release-trusted"
# Google Cloud metrics: what was sampled is "not visible for up to 360 seconds" (aiplatform), 180 on Cloud Run.
_LATE_MINUTES = 6
_OAUTH = {"type": "OAuth2"}
_RETRY = "${http.default_retry}"
# "Connectors reference": half an hour by default. A model server with accelerators takes longer.
_DEPLOY_SECONDS = 2 * 3600
_STORAGE = "https://storage.googleapis.com"


@dataclass(frozen=True, kw_only=True)
class Wave:
    """A part of the requests, and for how long it is watched."""

    percent: int
    minutes: int


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What takes a release back: a query in PromQL that yields something once it is time."""

    sign: str
    query: str
    """With `VERSION` in the place of the version's name."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One endpoint's release."""

    endpoint: str
    project: str
    workflow: str
    """`projects/…/locations/…/workflows/…` of itself."""
    bucket: str
    record: str
    """Name of the object in it that remembers."""
    version: Any
    """Name of what is declared, which follows from its content."""
    waves: Sequence[Wave]
    guards: Sequence[Guard]


def waves(strategy: Literal["all_at_once", "blue_green", "canary"], percent: int, minutes: int) -> list[Wave]:
    """The parts in which the requests move. After the last of them the rest follows, and the old version goes.

    >>> [wave.percent for wave in waves("blue_green", 0, 15)]
    [50, 100]
    """
    parts = {"all_at_once": [100], "blue_green": [50, 100], "canary": [percent]}[strategy]
    return [Wave(percent=part, minutes=minutes) for part in parts]


def digest(text: str) -> str:
    """Ten characters that stand for a content, in the name of a revision."""
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def number(text: str) -> str:
    """Ten digits at most that stand for a content, none of them a leading zero: ids of Vertex AI's endpoints and deployed models.

    Sources: "DeployedModel", id (1 to 10 digits); google_vertex_ai_endpoint, name (numeric, no leading zeros, at most 10 digits).

    >>> number("acme-ai-dev-fraud")
    '9389639142'
    """
    return str(10**9 + int(hashlib.sha256(text.encode()).hexdigest(), 16) % (9 * 10**9))


def workflow(plan: Plan, target: Routines) -> dict[str, Any]:
    """The source. `target` holds the routines `there`, `deploy`, `split`, `shift` and `remove` of one service."""
    return {
        "main": {"params": ["args"], "steps": _main(plan)},
        "move": _move(),
        "bake": _bake(plan),
        "read": _read(plan),
        "write": _write(plan),
        "busy": _busy(plan),
        **target,
    }


def _main(plan: Plan) -> Steps:
    another = {"return": "another execution is at it"}
    return [
        {
            "init": {
                "assign": [
                    {"me": '${sys.get_env("GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID")}'},
                    {"declared": plan.version},
                    {"again": '${default(map.get(args, "again"), false)}'},
                    {"waves": [{"percent": wave.percent, "minutes": wave.minutes} for wave in plan.waves]},
                    {"because": ""},
                ]
            }
        },
        _call("recall", "read", {}, "state"),
        _call("look", "busy", {"owner": "${state.owner}"}, "taken"),
        {"one_at_a_time": {"switch": [{"condition": "${taken}", **another}]}},
        {
            "claim": {
                "try": {
                    "call": "write",
                    "args": {"state": "${state}", "changes": {"owner": "${me}"}},
                    "result": "state",
                },
                "except": {
                    "as": "e",
                    "steps": [_unless("other", 412), {"lost": another}],
                },
            }
        },
        # Before a destroy: an endpoint of Vertex AI that still has a model cannot be deleted.
        _when(
            "on_request",
            '${default(map.get(args, "empty"), false)}',
            _call("empty", "remove", {"keep": ""}),
            {"emptied": {"return": "empty"}},
        ),
        _call("check", "there", {"version": "${state.trusted}"}, "known"),
        {
            "decide": {
                "switch": [
                    {"condition": "${not known}", "next": "first_deploy"},
                    {"condition": "${state.trusted == declared}", "next": "steady_move"},
                    {"condition": "${state.refused == declared and not again}", "next": "refused_move"},
                ],
                "next": "release",
            }
        },
        # Nothing answers yet: there is nothing to compare with, and nothing to lose. What fails here is tried again.
        {"first_deploy": {"call": "deploy", "args": {"version": "${declared}"}, "next": "trust_move"}},
        # It is live. Whoever else moved traffic, such as an update of the service with an old state, is corrected.
        _call("steady_move", "move", {"trusted": "${declared}", "declared": "${declared}", "percent": 100}),
        _call("steady_remove", "remove", {"keep": "${declared}"}),
        {"steady": {"return": "live"}},
        # It was taken back, and waits for another version, or for somebody who starts it with {"again": true}.
        _call("refused_move", "move", {"trusted": "${state.trusted}", "declared": "${declared}", "percent": 0}),
        _call("refused_remove", "remove", {"keep": "${state.trusted}"}),
        {"refused": {"return": "refused"}},
        {
            "release": {
                "try": {
                    "steps": [
                        _call("release_deploy", "deploy", {"version": "${declared}"}),
                        {
                            "each_wave": {
                                "for": {
                                    "value": "wave",
                                    "in": "${waves}",
                                    "steps": [
                                        _call(
                                            "wave_move",
                                            "move",
                                            {
                                                "trusted": "${state.trusted}",
                                                "declared": "${declared}",
                                                "percent": "${wave.percent}",
                                            },
                                        ),
                                        _call(
                                            "wave_bake",
                                            "bake",
                                            {"declared": "${declared}", "minutes": "${wave.minutes}"},
                                        ),
                                    ],
                                }
                            }
                        },
                    ]
                },
                "except": {"as": "e", "steps": [{"why": {"assign": [{"because": "${json.encode_to_string(e)}"}]}}]},
            }
        },
        {"judge": {"switch": [{"condition": '${because != ""}', "next": "refuse"}]}},
        _call("trust_move", "move", {"trusted": "${declared}", "declared": "${declared}", "percent": 100}),
        # Written before the old version goes: broken off here, the next start only cleans up.
        _call("trust", "write", {"state": "${state}", "changes": {"trusted": "${declared}", "refused": ""}}, "state"),
        _call("trust_remove", "remove", {"keep": "${declared}"}),
        _tell("trust_tell", "NOTICE", RELEASED, plan, {"version": "${declared}"}),
        {"trusted": {"return": "released"}},
        # Written before traffic moves back: broken off here, the next start moves it, and tries nothing again.
        _call("refuse", "write", {"state": "${state}", "changes": {"refused": "${declared}"}}, "state"),
        _call("refuse_move", "move", {"trusted": "${state.trusted}", "declared": "${declared}", "percent": 0}),
        _tell(
            "refuse_tell",
            "ERROR",
            TAKEN_BACK,
            plan,
            {"version": "${declared}", "live": "${state.trusted}", "because": "${because}"},
        ),
        _call("refuse_remove", "remove", {"keep": "${state.trusted}"}),
        {"taken_back": {"return": "taken back"}},
    ]


def _call(name: str, routine: str, args: Mapping[str, Any], result: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"call": routine, **({"args": dict(args)} if args else {})}
    return {name: {**made, **({"result": result} if result else {})}}


def _when(name: str, condition: str, *steps: dict[str, Any]) -> dict[str, Any]:
    """Steps that are taken only then."""
    return {name: {"switch": [{"condition": condition, "steps": list(steps)}]}}


def _unless(name: str, code: int) -> dict[str, Any]:
    """Raise an error of the cloud again that is not this one."""
    return _when(name, f'${{default(map.get(e, "code"), 0) != {code}}}', {f"{name}_raise": {"raise": "${e}"}})


def _tell(name: str, severity: str, event: str, plan: Plan, more: Mapping[str, Any]) -> dict[str, Any]:
    said = {"event": event, "endpoint": plan.endpoint, **more}
    return _call(name, "sys.log", {"severity": severity, "json": said})


def _move() -> dict[str, Any]:
    """Give the declared version this part of the requests, and the trusted one the rest, where that is not so yet."""
    return {
        "params": ["trusted", "declared", "percent"],
        "steps": [
            {"begin": {"assign": [{"wanted": {}}, {"rest": "${100 - percent}"}, {"moves": False}]}},
            _when("new_part", "${percent > 0}", {"new": {"assign": [{"wanted[declared]": "${percent}"}]}}),
            _when("old_part", "${rest > 0}", {"old": {"assign": [{"wanted[trusted]": "${rest}"}]}}),
            _call("now", "split", {}, "split"),
            {
                "compare": {
                    "for": {
                        "value": "each",
                        "in": "${keys(wanted)}",
                        "steps": [
                            _when(
                                "differs",
                                "${default(map.get(split, each), 0) != wanted[each]}",
                                {"differ": {"assign": [{"moves": True}]}},
                            )
                        ],
                    }
                }
            },
            {"same": {"switch": [{"condition": "${not moves}", "return": "same"}]}},
            _call("shift", "shift", {"wanted": "${wanted}"}),
        ],
    }


def _bake(plan: Plan) -> dict[str, Any]:
    """Look every minute; raises the sign that shows. Some minutes longer than was asked for, since metrics come late."""
    ask = {
        "call": "http.get",
        "args": {
            "url": f"https://monitoring.googleapis.com/v1/projects/{plan.project}/location/global/prometheus/api/v1/query",
            "query": {"query": f'${{text.replace_all(guard.query, "{VERSION}", declared)}}'},
            "auth": _OAUTH,
        },
        "result": "answer",
    }
    bad = _when("bad", "${len(answer.body.data.result) > 0}", {"shows": {"raise": "${guard.sign}"}})
    look = {
        "value": "guard",
        "in": [{"sign": guard.sign, "query": guard.query} for guard in plan.guards],
        "steps": [{"ask": {"try": ask, "retry": _RETRY}}, bad],
    }
    return {
        "params": ["declared", "minutes"],
        "steps": [
            {
                "every_minute": {
                    "for": {
                        "value": "minute",
                        "range": [1, f"${{minutes + {_LATE_MINUTES}}}"],
                        "steps": [_call("wait", "sys.sleep", {"seconds": 60}), {"each_guard": {"for": look}}],
                    }
                }
            }
        ],
    }


def _state(name: str, found: str) -> dict[str, Any]:
    """What an object's metadata says."""
    said = {
        key: f'${{default(map.get({found}, ["metadata", "{key}"]), "")}}' for key in ("owner", "trusted", "refused")
    }
    return {name: {"return": {"generation": f"${{{found}.metageneration}}", **said}}}


def _object(plan: Plan) -> str:
    return f"{_STORAGE}/storage/v1/b/{plan.bucket}/o/{plan.record.replace('/', '%2F')}"


def _read(plan: Plan) -> dict[str, Any]:
    """What is remembered; nothing at first."""
    make = {
        "call": "http.post",
        "args": {
            "url": f"{_STORAGE}/upload/storage/v1/b/{plan.bucket}/o",
            "query": {"uploadType": "media", "name": plan.record, "ifGenerationMatch": "0"},
            "headers": {"Content-Type": "application/json"},
            "body": {"endpoint": plan.endpoint},
            "auth": _OAUTH,
        },
        "result": "answer",
    }
    get = {"call": "http.get", "args": {"url": _object(plan), "auth": _OAUTH}, "result": "answer"}
    return {
        "steps": [
            # What is set where an error is handled is not seen outside of there, unless it was there before.
            {"begin": {"assign": [{"answer": None}]}},
            {
                "get": {
                    "try": get,
                    "retry": _RETRY,
                    "except": {
                        "as": "e",
                        "steps": [_unless("other", 404), {"make": make}],
                    },
                }
            },
            _state("known", "answer.body"),
        ]
    }


def _write(plan: Plan) -> dict[str, Any]:
    """Remember something, unless another did meanwhile: then 412 is raised. Not tried twice: the first may have come through."""
    return {
        "params": ["state", "changes"],
        "steps": [
            {
                "patch": {
                    "call": "http.patch",
                    "args": {
                        "url": _object(plan),
                        "query": {"ifMetagenerationMatch": "${state.generation}"},
                        "body": {"metadata": "${changes}"},
                        "auth": _OAUTH,
                    },
                    "result": "answer",
                }
            },
            _state("written", "answer.body"),
        ],
    }


def _busy(plan: Plan) -> dict[str, Any]:
    """Whether the execution that was at it last still runs."""
    get = {
        "call": "http.get",
        "args": {
            "url": f'${{"https://workflowexecutions.googleapis.com/v1/{plan.workflow}/executions/" + owner}}',
            "auth": _OAUTH,
        },
        "result": "answer",
    }
    return {
        "params": ["owner"],
        "steps": [
            {"nobody": {"switch": [{"condition": '${owner == ""}', "return": False}]}},
            {
                "ask": {
                    "try": get,
                    "retry": _RETRY,
                    "except": {"as": "e", "steps": [_unless("other", 404), {"gone": {"return": False}}]},
                }
            },
            {"said": {"return": '${answer.body.state == "ACTIVE"}'}},
        ],
    }


# -- Cloud Run ---------------------------------------------------------------------------------------------------------


def cloud_run(service: str) -> Routines:
    """Versions are revisions, which the update of the service has made already. `service`: `projects/…/services/…`."""
    url = f"https://run.googleapis.com/v2/{service}"
    read = {"try": {"call": "http.get", "args": {"url": url, "auth": _OAUTH}, "result": "answer"}, "retry": _RETRY}
    revision = {
        "call": "http.get",
        "args": {"url": f'${{"{url}/revisions/" + version}}', "auth": _OAUTH},
        "result": "answer",
    }
    add = [
        {
            "entry": {
                "assign": [
                    {
                        "entry": {
                            "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
                            "revision": "${each}",
                            "percent": "${wanted[each]}",
                        }
                    },
                    {"traffic": "${list.concat(traffic, entry)}"},
                ]
            }
        }
    ]
    return {
        "there": {
            "params": ["version"],
            "steps": [
                {"none": {"switch": [{"condition": '${version == ""}', "return": False}]}},
                {
                    "get": {
                        "try": revision,
                        "retry": _RETRY,
                        "except": {"as": "e", "steps": [_unless("other", 404), {"gone": {"return": False}}]},
                    }
                },
                {"found": {"return": True}},
            ],
        },
        "deploy": {
            "params": ["version"],
            "steps": [
                _call("look", "there", {"version": "${version}"}, "found"),
                _when("missing", "${not found}", {"fail": {"raise": '${"There is no revision " + version}'}}),
            ],
        },
        "split": {
            "steps": [
                {"get": read},
                {"begin": {"assign": [{"split": {}}]}},
                {
                    "each_target": {
                        "for": {
                            "value": "part",
                            "in": '${default(map.get(answer.body, "traffic"), [])}',
                            "steps": [
                                # Whatever is latest, as a service begins, is no version that anybody trusts.
                                _when(
                                    "named",
                                    '${default(map.get(part, "revision"), "") != ""}',
                                    {
                                        "take": {
                                            "assign": [
                                                {"split[part.revision]": '${default(map.get(part, "percent"), 0)}'}
                                            ]
                                        }
                                    },
                                )
                            ],
                        }
                    }
                },
                {"done": {"return": "${split}"}},
            ]
        },
        "shift": {
            "params": ["wanted"],
            "steps": [
                {"begin": {"assign": [{"traffic": []}]}},
                {"each_version": {"for": {"value": "each", "in": "${keys(wanted)}", "steps": add}}},
                {
                    "patch": {
                        "try": {
                            "call": "http.patch",
                            "args": {
                                "url": url,
                                "query": {"updateMask": "traffic"},
                                "body": {"traffic": "${traffic}"},
                                "auth": _OAUTH,
                            },
                            "result": "moved",
                        },
                        "retry": _RETRY,
                    }
                },
                {
                    "settle": {
                        "for": {
                            "value": "attempt",
                            "range": [1, 60],
                            "steps": [
                                _call("wait", "sys.sleep", {"seconds": 5}),
                                {"look": read},
                                {
                                    "settled": {
                                        "switch": [
                                            {
                                                "condition": '${not default(map.get(answer.body, "reconciling"), false)}',
                                                "return": "moved",
                                            }
                                        ]
                                    }
                                },
                            ],
                        }
                    }
                },
                {"late": {"raise": "The traffic did not move within five minutes."}},
            ],
        },
        # A revision without requests has no instance: that of old versions costs nothing, and is there to go back to.
        "remove": {"params": ["keep"], "steps": [{"nothing": {"return": "${keep}"}}]},
    }


# -- Vertex AI ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Model:
    """A version in Vertex AI's registry of models, made where it is not there yet."""

    parent: str
    """Project and location."""
    region: str
    id: str
    """Of the model; the same for all versions."""
    alias: Any
    """Of the version: it follows from what it is made of ("Model", versionAliases: a letter first)."""
    body: Mapping[str, Any]
    """As `models.upload` takes it, without id and alias."""
    unpack: Mapping[str, Any] | None = None
    """A job (CustomJob) that first brings the model's files to where `body` says they are."""


def vertex(endpoint: str, region: str, deployed: Mapping[str, Any], model: Model) -> Routines:
    """Versions are deployed models. `endpoint`: `projects/…/endpoints/…`; `deployed`: as `deployModel` takes it."""
    url = f"https://{region}-aiplatform.googleapis.com/v1/{endpoint}"
    read = {"try": {"call": "http.get", "args": {"url": url, "auth": _OAUTH}, "result": "answer"}, "retry": _RETRY}
    all_deployed = '${default(map.get(answer.body, "deployedModels"), [])}'
    api = "googleapis.aiplatform.v1.projects.locations.endpoints"
    same = {"switch": [{"condition": "${each.id == version}", "return": True}]}
    undeploy = _call(
        "undeploy",
        f"{api}.undeployModel",
        {"endpoint": endpoint, "region": region, "body": {"deployedModelId": "${each.id}"}},
    )
    return {
        "there": {
            "params": ["version"],
            "steps": [
                {"get": read},
                {"each_model": {"for": {"value": "each", "in": all_deployed, "steps": [{"same": same}]}}},
                {"none": {"return": False}},
            ],
        },
        "deploy": {
            "params": ["version"],
            "steps": [
                _call("look", "there", {"version": "${version}"}, "found"),
                {"done_before": {"switch": [{"condition": "${found}", "return": "${version}"}]}},
                _call("have", "model", {}, "made"),
                # Without a split nothing moves: the new version gets no request yet.
                _call(
                    "make",
                    f"{api}.deployModel",
                    {
                        "endpoint": endpoint,
                        "region": region,
                        "body": {"deployedModel": {**deployed, "id": "${version}", "model": "${made}"}},
                        "connector_params": {"timeout": _DEPLOY_SECONDS},
                    },
                ),
            ],
        },
        "split": {
            "steps": [
                {"get": read},
                {"begin": {"assign": [{"none": {}}]}},
                {"done": {"return": '${default(map.get(answer.body, "trafficSplit"), none)}'}},
            ]
        },
        "shift": {
            "params": ["wanted"],
            "steps": [
                {
                    "patch": {
                        "try": {
                            "call": "http.patch",
                            "args": {
                                "url": url,
                                "query": {"updateMask": "trafficSplit"},
                                "body": {"trafficSplit": "${wanted}"},
                                "auth": _OAUTH,
                            },
                            "result": "moved",
                        },
                        "retry": _RETRY,
                    }
                }
            ],
        },
        "remove": {
            "params": ["keep"],
            "steps": [
                {"get": read},
                {
                    "each_model": {
                        "for": {
                            "value": "each",
                            "in": all_deployed,
                            "steps": [_when("other", "${each.id != keep}", undeploy)],
                        }
                    }
                },
            ],
        },
        "model": registered(model),
    }


def registered(model: Model) -> dict[str, Any]:
    """The routine that yields a version's name, and makes it first where it is not there.

    A further version names its parent, the first one its id ("models.upload").
    """
    name = f"{model.parent}/models/{model.id}"
    url = f"https://{model.region}-aiplatform.googleapis.com/v1/{name}"
    job = "googleapis.aiplatform.v1.projects.locations.customJobs.create"
    where = {"parent": model.parent, "region": model.region}
    unpack = [
        _call(
            "unpack",
            job,
            {**where, "body": dict(model.unpack), "connector_params": {"timeout": _DEPLOY_SECONDS}},
            "job",
        ),
        _when(
            "unpacked",
            '${job.state != "JOB_STATE_SUCCEEDED"}',
            {"not_unpacked": {"raise": '${job.name + " ended as " + job.state}'}},
        ),
    ] if model.unpack is not None else []  # fmt: skip
    upload = {**where, "connector_params": {"timeout": _DEPLOY_SECONDS}}
    return {
        "steps": [
            {
                "begin": {
                    "assign": [
                        {"alias": model.alias},
                        {"version": f'${{"{name}@" + alias}}'},
                        {"content": {**model.body, "versionAliases": ["${alias}"]}},
                    ]
                }
            },
            {
                "ask": {
                    "try": {
                        "steps": [
                            {
                                "get": {
                                    "call": "http.get",
                                    "args": {"url": f'${{"{url}@" + alias}}', "auth": _OAUTH},
                                    "result": "found",
                                }
                            },
                            {"there": {"return": "${version}"}},
                        ]
                    },
                    "retry": _RETRY,
                    "except": {"as": "e", "steps": [_unless("missing", 404)]},
                }
            },
            *unpack,
            {
                "parent": {
                    "try": {
                        "steps": [
                            {"any": {"call": "http.get", "args": {"url": url, "auth": _OAUTH}, "result": "found"}},
                            _call(
                                "further",
                                "googleapis.aiplatform.v1.projects.locations.models.upload",
                                {**upload, "body": {"parentModel": name, "model": "${content}"}},
                            ),
                            {"added": {"return": "${version}"}},
                        ]
                    },
                    "except": {"as": "e", "steps": [_unless("no_parent", 404)]},
                }
            },
            _call(
                "first",
                "googleapis.aiplatform.v1.projects.locations.models.upload",
                {**upload, "body": {"modelId": model.id, "model": "${content}"}},
            ),
            {"made": {"return": "${version}"}},
        ]
    }


# -- Runs over many records --------------------------------------------------------------------------------------------


def batch(job: Mapping[str, Any], model: Model, *, output: Any, hours: int) -> dict[str, Any]:
    """A workflow that runs a model over records (BatchPredictionJob), and stops it when its time is over.

    `job` is what `batchPredictionJobs.create` takes, without the model and where it writes; `output` the address of a folder, in
    which each run has one of its own. It asks every minute and does not leave it to a connector, so that a run that is cancelled,
    that fails and that is stopped are told apart.
    """
    root = f"https://{model.region}-aiplatform.googleapis.com/v1"
    prefix = {"outputUriPrefix": '${output + "/" + run}'}
    body = {
        **job,
        "model": "${made}",
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": prefix},
    }
    ended = "${state in ends}"
    ask = {
        "call": "http.get",
        "args": {"url": f'${{"{root}/" + name}}', "auth": _OAUTH},
        "result": "answer",
    }
    return {
        "main": {
            "steps": [
                {
                    "init": {
                        "assign": [
                            {"run": '${sys.get_env("GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID")}'},
                            {"output": output},
                            {"state": ""},
                            {"ends": [f"JOB_STATE_{end}" for end in ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")]},
                        ]
                    }
                },
                _call("have", "model", {}, "made"),
                {
                    "start": {
                        "call": "http.post",
                        "args": {
                            "url": f"{root}/{model.parent}/batchPredictionJobs",
                            "body": body,
                            "auth": _OAUTH,
                        },
                        "result": "started",
                    }
                },
                {"named": {"assign": [{"name": "${started.body.name}"}]}},
                {
                    "every_minute": {
                        "for": {
                            "value": "minute",
                            "range": [1, hours * 60],
                            "steps": [
                                _call("wait", "sys.sleep", {"seconds": 60}),
                                {"ask": {"try": ask, "retry": _RETRY}},
                                {"said": {"assign": [{"state": "${answer.body.state}"}]}},
                                {"ended": {"switch": [{"condition": ended, "next": "break"}]}},
                            ],
                        }
                    }
                },
                {
                    "good": {
                        "switch": [
                            {
                                "condition": '${state == "JOB_STATE_SUCCEEDED"}',
                                "return": '${output + "/" + run}',
                            }
                        ]
                    }
                },
                _when("over", ended, {"failed": {"raise": '${name + " ended as " + state}'}}),
                {
                    "stop": {
                        "call": "http.post",
                        "args": {"url": f'${{"{root}/" + name + ":cancel"}}', "auth": _OAUTH},
                    }
                },
                {"late": {"raise": f'${{name + " was stopped after {hours} hours"}}'}},
            ]
        },
        "model": registered(model),
    }
