# ruff: noqa: E501 - tables, to be read as such
"""What a change of the description does to endpoints of every kind, wherever they run: what it must, and to nothing else.

One environment a cloud holds an endpoint of every kind, place and release, which changes, and beside it a neighbour of each kind,
which does not. All of them change at once, by one thing at a time; what belongs to whom is told by its name.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pulumi
import pytest
import yaml

from components.core.answering import RELEASES
from components.platform import Platform
from components.spec.load import load
from components.spec.serving import AnyEndpoint
from policies.model import REFERENCE, Graph, Resource
from preview.difference import Changed, Difference, compare
from preview.record import run
from preview.report import words
from tests.conftest import ROOT

# What is built here is covered by the tests of each part, and to trace it all takes half as long again.
pytestmark = [
    pytest.mark.no_cover,
    pytest.mark.xdist_group("changes of serving"),  # the graphs are recorded once
]

CLOUDS = {"dev": "aws", "dev-gcp": "gcp"}

# ---- The endpoints. Where a text says {v}, it is 1 before and 2 after a new version.
PACKAGE = {"package": "fraud", "version": "{v}"}
IMAGE = {"image": "serving:{v}.0.0"}
FILES = {"image": "serving:1.0.0", "artifact": {"path": "m/{v}/model.tar.gz"}}
DIGEST = {"image": "serving:1.0.0", "artifact": {"path": "m/{v}/model.tar.gz", "sha256": "{v}" * 64}}
CLOUDS_OWN = {"aws": "amazon.nova-lite-v{v}:0", "gcp": "publishers/google/models/gemini-{v}.5-flash"}
WEIGHTS = {"weights": {"path": "llama/{v}/"}}

MACHINES = {"scale": {"min": 1, "max": 2}, "objective": {"p95_ms": 5000, "requests_per_month": 1000}}
BURSTS = {"concurrency": {"warm": 1, "max": 5}, "objective": {"p95_ms": 5000, "requests_per_month": 1000}}
QUEUE = {"scale": {"max": 2}, "objective": {"requests_per_month": 1000}}
RUN = {"input": {"zone": "curated"}, "schedule": "0 3 * * *", "objective": {"records_per_month": 1000}}
TOKENS = {"tokens_per_minute": 1000, "objective": {"requests_per_month": 1000}}
FLEET = {"fleet": "cameras"}
API = {"api": {"throttle_rps": 10}}
INSIDE = {"server": "kubernetes"}
POOL = {"pool": "l4", "scale": {"min": 1, "max": 2}}
IN_QUEUE = {"queue": "train"}
HALF = {"release": {"strategy": "canary", "percent": 50}}


def endpoint(kind: str, model: Any, *parts: Mapping[str, Any], release: str = "", shadow: Any = None) -> dict[str, Any]:
    merged = {key: value for part in parts for key, value in part.items()}
    if release:
        merged["release"] = {"strategy": release} | ({"model": shadow} if shadow else {})
    return {"kind": kind, "team": "risk", "model": model, **merged}


CHANGED: Mapping[str, Mapping[str, Any]] = {
    "dev": {
        "rt-package": endpoint("realtime", PACKAGE, MACHINES, release="all_at_once"),
        "rt-image": endpoint("realtime", IMAGE, MACHINES, release="blue_green"),
        "rt-files": endpoint("realtime", FILES, MACHINES, API, release="canary"),
        "rt-digest": endpoint("realtime", DIGEST, MACHINES),
        "rt-shadowed": endpoint("realtime", PACKAGE, MACHINES, release="shadow", shadow={"image": "serving:9.0.0"}),
        "rt-shadow": endpoint("realtime", {"image": "serving:9.0.0"}, MACHINES, release="shadow", shadow=PACKAGE),
        "sl-package": endpoint("serverless", PACKAGE, BURSTS),
        "sl-files": endpoint("serverless", FILES, BURSTS, API),
        "as-package": endpoint("async", PACKAGE, QUEUE, release="all_at_once"),
        "as-files": endpoint("async", FILES, QUEUE, release="blue_green"),
        "as-digest": endpoint("async", DIGEST, QUEUE, release="canary"),
        "ba-package": endpoint("batch", PACKAGE, RUN),
        "ba-files": endpoint("batch", FILES, RUN),
        "fn-digest": endpoint("function", DIGEST, BURSTS, API, release="all_at_once"),
        "fn-image": endpoint("function", IMAGE, BURSTS, API, release="canary"),
        "co-digest": endpoint("container", DIGEST, MACHINES, API, release="all_at_once"),
        "co-image": endpoint("container", IMAGE, MACHINES, API, release="blue_green"),
        "co-canary": endpoint("container", DIGEST, MACHINES, API, release="canary"),
        "lm-tokens": endpoint("llm", CLOUDS_OWN, TOKENS),
        "lm-units": endpoint("llm", CLOUDS_OWN, TOKENS, {"units": 1}),
        "ed-digest": endpoint("edge", DIGEST, FLEET),
        "in-rt": endpoint("realtime", DIGEST, MACHINES, INSIDE),
        "in-colours": endpoint("realtime", DIGEST, MACHINES, INSIDE, release="blue_green"),
        "in-canary": endpoint("container", DIGEST, MACHINES, INSIDE, API, HALF),
        "in-lm": endpoint("llm", WEIGHTS, TOKENS, POOL),
        "in-ba": endpoint("batch", DIGEST, RUN, IN_QUEUE),
    },
    "dev-gcp": {
        "rt-package": endpoint("realtime", PACKAGE, MACHINES, release="all_at_once"),
        "rt-image": endpoint("realtime", IMAGE, MACHINES, release="blue_green"),
        "rt-files": endpoint("realtime", FILES, MACHINES, release="canary"),
        "sl-image": endpoint("serverless", IMAGE, BURSTS, release="all_at_once"),
        "sl-files": endpoint("serverless", FILES, BURSTS, API, release="blue_green"),
        "sl-digest": endpoint("serverless", DIGEST, BURSTS, API, release="canary"),
        "as-files": endpoint("async", FILES, QUEUE, release="all_at_once"),
        "ba-package": endpoint("batch", PACKAGE, RUN),
        "ba-files": endpoint("batch", FILES, RUN),
        "fn-digest": endpoint("function", DIGEST, BURSTS, API, release="all_at_once"),
        "fn-image": endpoint("function", IMAGE, BURSTS, API, release="blue_green"),
        "fn-canary": endpoint("function", DIGEST, BURSTS, API, release="canary"),
        "co-digest": endpoint("container", DIGEST, MACHINES, API, release="all_at_once"),
        "co-image": endpoint("container", IMAGE, MACHINES, API, release="blue_green"),
        "co-canary": endpoint("container", DIGEST, MACHINES, API, release="canary"),
        "lm-tokens": endpoint("llm", CLOUDS_OWN, TOKENS),
        "in-rt": endpoint("realtime", DIGEST, MACHINES, INSIDE),
        "in-colours": endpoint("realtime", DIGEST, MACHINES, INSIDE, release="blue_green"),
        "in-canary": endpoint("container", DIGEST, MACHINES, INSIDE, API, HALF),
        "in-lm": endpoint("llm", WEIGHTS, TOKENS, POOL),
        "in-ba": endpoint("batch", DIGEST, RUN, IN_QUEUE),
    },
}
NEIGHBOURS: Mapping[str, Mapping[str, Any]] = {
    "dev": {
        "nb-rt": endpoint("realtime", {"image": "serving:1.0.0"}, MACHINES, API, release="canary"),
        "nb-sl": endpoint("serverless", {"image": "serving:1.0.0"}, BURSTS),
        "nb-as": endpoint("async", {"image": "serving:1.0.0"}, QUEUE),
        "nb-ba": endpoint("batch", {"image": "serving:1.0.0"}, RUN),
        "nb-fn": endpoint("function", {"image": "serving:1.0.0"}, BURSTS, API),
        "nb-co": endpoint("container", {"image": "serving:1.0.0"}, MACHINES, API),
        "nb-lm": endpoint("llm", {"aws": "amazon.nova-lite-v1:0"}, TOKENS),
        "nb-ed": endpoint("edge", {"image": "serving:1.0.0"}, {"fleet": "gates"}),
        "nb-inner-rt": endpoint("realtime", {"image": "serving:1.0.0"}, MACHINES, INSIDE),
        "nb-inner-co": endpoint("container", {"image": "serving:1.0.0"}, MACHINES, INSIDE, API, HALF),
        "nb-inner-lm": endpoint("llm", {"weights": {"path": "llama/1/"}}, TOKENS, POOL),
        "nb-inner-ba": endpoint("batch", {"image": "serving:1.0.0"}, RUN, IN_QUEUE),
    },
    "dev-gcp": {
        "nb-rt": endpoint("realtime", {"image": "serving:1.0.0"}, MACHINES, release="canary"),
        "nb-sl": endpoint("serverless", {"image": "serving:1.0.0"}, BURSTS),
        "nb-as": endpoint("async", {"image": "serving:1.0.0"}, QUEUE),
        "nb-ba": endpoint("batch", {"image": "serving:1.0.0"}, RUN),
        "nb-fn": endpoint("function", {"image": "serving:1.0.0"}, BURSTS, API),
        "nb-co": endpoint("container", {"image": "serving:1.0.0"}, MACHINES, API),
        "nb-lm": endpoint("llm", {"gcp": "publishers/google/models/gemini-1.5-flash"}, TOKENS),
        "nb-inner-rt": endpoint("realtime", {"image": "serving:1.0.0"}, MACHINES, INSIDE),
        "nb-inner-co": endpoint("container", {"image": "serving:1.0.0"}, MACHINES, INSIDE, API, HALF),
        "nb-inner-lm": endpoint("llm", {"weights": {"path": "llama/1/"}}, TOKENS, POOL),
        "nb-inner-ba": endpoint("batch", {"image": "serving:1.0.0"}, RUN, IN_QUEUE),
    },
}


def filled(value: Any, version: str) -> Any:
    if isinstance(value, Mapping):
        return {key: filled(inner, version) for key, inner in value.items()}
    return value.replace("{v}", version) if isinstance(value, str) else deepcopy(value)


def with_more(spec: dict[str, Any]) -> dict[str, Any]:
    """Twice as much of what it may have at most."""
    for key in ("scale", "concurrency"):
        if key in spec:
            spec[key]["max"] *= 2
    if "api" in spec:
        spec["api"]["throttle_rps"] *= 2
    if "tokens_per_minute" in spec:
        spec["tokens_per_minute"] *= 2
    return {**spec, "machines": 2} if spec["kind"] == "batch" else spec


def with_less_promised(spec: dict[str, Any]) -> dict[str, Any]:
    match spec["kind"]:
        case "batch":
            spec["objective"]["finish_hours"] = 5
        case "llm":
            spec["objective"] |= {"availability_percent": 99, "first_token_p95_ms": 3000}
        case "async":
            spec["objective"] |= {"availability_percent": 99, "max_wait_minutes": 30}
        case "edge":
            pass
        case _:
            spec["objective"] |= {"availability_percent": 99, "p95_ms": 6000}
    return spec


# ---- What has to change. `*` is the endpoint, {#} what stands for a content; ~ updated, ± replaced, + made, - gone.
_SAGEMAKER = """
    + sagemaker.Model acme-ai-dev-*-hosting-{#}
    + sagemaker.EndpointConfiguration acme-ai-dev-*-{#}
    ~ sagemaker.Endpoint *-endpoint: endpointConfigName
    - sagemaker.EndpointConfiguration acme-ai-dev-*-{#}
    - sagemaker.Model acme-ai-dev-*-hosting-{#}
"""
# A revision of Cloud Run, and the workflow that brings requests to it.
_CLOUD_RUN = """
    ~ cloudrunv2.Service *-run-service: template.containers template.revision
    ~ workflows.Workflow *-release-workflow: sourceContents.main
"""
VERSION: Mapping[str, Mapping[str, str]] = {
    "dev": {
        "rt-package rt-image rt-files rt-digest rt-shadowed rt-shadow": _SAGEMAKER,
        "sl-package sl-files as-package as-files as-digest": _SAGEMAKER,
        "ba-package ba-files": """
            + sagemaker.Model acme-ai-dev-*-hosting-{#}
            ~ iam.RolePolicy *-runs-policy: policy
            ~ sfn.StateMachine *-runs: definition.States
            - sagemaker.Model acme-ai-dev-*-hosting-{#}
        """,
        # What is published, and what CodeDeploy is told of it, follow in the cloud.
        "fn-digest": "~ lambda.Function *-function: environment",
        "fn-image": "~ lambda.Function *-function: imageUri",
        "co-digest co-image co-canary": "± ecs.TaskDefinition *-task: containerDefinitions",
        "lm-tokens": "± bedrock.InferenceProfile *-profile: description modelSource name",
        "lm-units": "± bedrock.ProvisionedModelThroughput *-units: modelArn provisionedModelName",
        "ed-digest": "± cloudcontrol.Resource *-template: desiredState",
        # The rollout takes its template from what this makes.
        "in-rt in-colours": "~ serving.kserve.io.InferenceService *-answering: spec.predictor",
        "in-canary": "~ apps.Deployment *-deployment: spec.template",
        "in-lm": "~ apps.Deployment *-servers: spec.template",
        "in-ba": "~ batch.CronJob *-runs: spec.jobTemplate",
    },
    "dev-gcp": {
        "rt-package rt-image rt-files": "~ workflows.Workflow *-release-workflow: sourceContents.main sourceContents.model",
        "sl-image sl-files sl-digest as-files fn-digest fn-image fn-canary co-digest co-image co-canary": _CLOUD_RUN,
        "ba-package ba-files": "~ workflows.Workflow *-workflow: sourceContents.model",
        # Vertex AI counts calls by the model's name.
        "lm-tokens": """
            ~ monitoring.AlertPolicy *-alarm-*-ceiling: conditions
            ~ monitoring.AlertPolicy *-alarm-*-errors: conditions
            ~ monitoring.AlertPolicy *-alarm-*-first-token: conditions
            ~ monitoring.AlertPolicy *-alarm-*-refused: conditions
        """,
        # The rollout takes its template from what this makes.
        "in-rt in-colours": "~ serving.kserve.io.InferenceService *-answering: spec.predictor",
        "in-canary": "~ apps.Deployment *-deployment: spec.template",
        "in-lm": "~ apps.Deployment *-servers: spec.template",
        "in-ba": "~ batch.CronJob *-runs: spec.jobTemplate",
    },
}
_HIGHER = "~ cloudwatch.MetricAlarm *-alarm-*-ceiling: alarmDescription threshold"
_SCALED = f"""
    {_HIGHER}
    ~ appautoscaling.Target *-scale: maxCapacity
"""
# SageMaker has the ceiling of a serverless endpoint in its configuration.
_SERVERLESS = """
    + sagemaker.EndpointConfiguration acme-ai-dev-*-{#}
    ~ sagemaker.Endpoint *-endpoint: endpointConfigName
    ~ cloudwatch.MetricAlarm *-alarm-*-ceiling: alarmDescription metricQueries threshold
    - sagemaker.EndpointConfiguration acme-ai-dev-*-{#}
"""
_PASSAGE = "~ lambda.Function *-passage-function: reservedConcurrentExecutions"
# The ceiling is the service's, so that nothing is released.
_LARGER = """
    ~ cloudrunv2.Service *-run-service: scaling
    ~ monitoring.AlertPolicy *-release-ceiling: conditions documentation
"""
# How many an instance takes at once follows from `concurrency.max`, and is part of the revision.
_LARGER_AND_MORE = f"""
    {_LARGER.replace("scaling", "scaling template.maxInstanceRequestConcurrency template.revision")}
    ~ workflows.Workflow *-release-workflow: sourceContents.main
"""
_THROTTLE = "~ compute.BackendService gateway-to-*: securityPolicy"
_IN_CLUSTER = {
    "in-rt in-colours": """
        ~ serving.kserve.io.InferenceService *-answering: spec.predictor
        ~ keda.sh.ScaledObject *-scaled: spec.maxReplicaCount
    """,
    "in-lm": "~ keda.sh.ScaledObject *-scaled: spec.maxReplicaCount",
    "in-ba": "~ batch.CronJob *-runs: spec.jobTemplate",
}
# What pods say of themselves is asked: the bound stands in the question.
_ASKED = "~ cloudwatch.MetricAlarm *-alarm-*-{}: alarmDescription evaluationCriteria\n"
_ASKED_GCP = "~ monitoring.AlertPolicy *-alarm-*-{}: conditions documentation\n"
_ROOM = {
    "aws": {
        "in-rt in-colours": [_ASKED.format(sign) for sign in ("ceiling", "saturated")],
        "in-lm": [_ASKED.format("ceiling")],
    },
    "gcp": {
        "in-rt in-colours": [_ASKED_GCP.format(sign) for sign in ("ceiling", "saturation")],
        "in-lm": [_ASKED_GCP.format("ceiling")],
    },
}


def _with_room(cloud: str) -> dict[str, str]:
    return {name: "\n".join([text, *_ROOM[cloud].get(name, ())]) for name, text in _IN_CLUSTER.items()}


MORE: Mapping[str, Mapping[str, str]] = {
    "dev": {
        "rt-package rt-image rt-digest rt-shadowed rt-shadow as-package as-files as-digest co-digest co-image co-canary": _SCALED,
        "rt-files": _SCALED + _PASSAGE,
        "sl-package": _SERVERLESS,
        "sl-files": _SERVERLESS + _PASSAGE,
        "ba-package ba-files": "~ sfn.StateMachine *-runs: definition.States",
        "fn-digest fn-image": f"""
            {_HIGHER}
            ~ cloudwatch.MetricAlarm *-alarm-*-saturated: metricQueries
            ~ cloudwatch.MetricAlarm *-alarm-*-throttled: alarmDescription
            ~ lambda.Function *-function: reservedConcurrentExecutions
        """,
        "lm-tokens lm-units": _HIGHER,
        "ed-digest": "",
        "in-canary": f"""
            {_HIGHER}
            ~ keda.sh.ScaledObject *-scaled: spec.maxReplicaCount
        """,
        **_with_room("aws"),
    },
    "dev-gcp": {
        # A deployed model has its bounds from the start: another deployment takes over, as of another version.
        "rt-package rt-image rt-files": """
            ~ workflows.Workflow *-release-workflow: sourceContents.deploy sourceContents.main
            ~ monitoring.AlertPolicy *-release-ceiling: conditions documentation
        """,
        "as-files": _LARGER,
        "sl-image": _LARGER_AND_MORE,
        "sl-files sl-digest": _LARGER_AND_MORE + _THROTTLE,
        "fn-digest fn-image fn-canary co-digest co-image co-canary": _LARGER + _THROTTLE,
        "ba-package ba-files": "~ workflows.Workflow *-workflow: sourceContents.main",
        "lm-tokens": "~ monitoring.AlertPolicy *-alarm-*-ceiling: conditions documentation",
        "in-canary": """
            ~ keda.sh.ScaledObject *-scaled: spec.maxReplicaCount
            ~ monitoring.AlertPolicy *-alarm-*-ceiling: conditions documentation
            ~ networking.gke.io.GCPBackendPolicy *-door-guarded: spec.default
        """,
        **_with_room("gcp"),
    },
}
_PROMISED = """
    ~ cloudwatch.MetricAlarm *-alarm-*-errors: alarmDescription threshold
    ~ cloudwatch.MetricAlarm *-alarm-*-p95: alarmDescription threshold
"""
_WATCHED = "~ argoproj.io.AnalysisTemplate *-release-watch: spec.metrics"
_ROLLBACK = "~ cloudwatch.MetricAlarm *-alarm-*-rollback: metricQueries"
# The workflow watches a release by the same bounds.
_GUARDED = """
    ~ monitoring.AlertPolicy *-release-error-rate: conditions documentation
    ~ monitoring.AlertPolicy *-release-p95-latency: conditions documentation
    ~ workflows.Workflow *-release-workflow: sourceContents.bake
"""
OBJECTIVE: Mapping[str, Mapping[str, str]] = {
    "dev": {
        "nb-rt nb-fn nb-co": _PROMISED + _ROLLBACK,
        "nb-sl": _PROMISED,
        "nb-as": _PROMISED.replace("p95", "waiting") + _ROLLBACK,
        "nb-ba": """
            ~ cloudwatch.MetricAlarm *-alarm-*-failed: alarmDescription
            ~ sfn.StateMachine *-runs: definition.States definition.TimeoutSeconds
        """,
        "nb-lm": _PROMISED.replace("p95", "first-token"),
        # A release is watched by the same bounds.
        "nb-inner-co": _PROMISED + _WATCHED,
        "nb-ed": "",
        "nb-inner-rt": _ASKED.format("errors") + _ASKED.format("p95"),
        "nb-inner-lm": _ASKED.format("errors") + _ASKED.format("first-token"),
        "nb-inner-ba": """
            ~ batch.CronJob *-runs: spec.jobTemplate
            ~ cloudwatch.MetricAlarm *-alarm-*-failed: alarmDescription
        """,
    },
    "dev-gcp": {
        # What an instance is given follows from the objective where the description counts requests at once.
        "nb-rt": _GUARDED.replace("bake", "bake sourceContents.deploy sourceContents.main"),
        "nb-sl nb-fn nb-co": _GUARDED,
        "nb-as": _GUARDED.replace("p95-latency", "waiting"),
        "nb-ba": "~ workflows.Workflow *-workflow: sourceContents.main",
        "nb-lm": """
            ~ monitoring.AlertPolicy *-alarm-*-errors: conditions documentation
            ~ monitoring.AlertPolicy *-alarm-*-first-token: conditions documentation
        """,
        # What checks tokens counts how many answers were in time.
        "nb-inner-co": f"""
            {_WATCHED}
            ~ apps.Deployment *-deployment: spec.template
            ~ core.ConfigMap *-door-told: data
            ~ monitoring.AlertPolicy *-alarm-*-error-rate: conditions documentation
            ~ monitoring.AlertPolicy *-alarm-*-p95-latency: conditions documentation
        """,
        "nb-inner-rt": _ASKED_GCP.format("error-rate") + _ASKED_GCP.format("p95-latency"),
        "nb-inner-lm": _ASKED_GCP.format("errors") + _ASKED_GCP.format("first-token"),
        "nb-inner-ba": """
            ~ batch.CronJob *-runs: spec.jobTemplate
            ~ monitoring.AlertPolicy *-alarm-*-failed: documentation
        """,
    },
}
# What all endpoints have in common, by change.
_QUOTA = "~ core.ResourceQuota spaces-risk-ceiling: spec.hard"
# Rows stand at what is promised and at ceilings; nineteen of them fill a page of Google Cloud.
_PAGE = "~ monitoring.Dashboard serving-dashboard-page: dashboardJson"
# The firewall has a rule a throttle, which names whom it holds for.
_ON_AWS = f"""
    {_QUOTA}
    ~ wafv2.WebAcl gateway-firewall: rules
    ~ cloudwatch.Dashboard serving-dashboard-page: dashboardBody
"""
SHARED: Mapping[str, Mapping[str, str]] = {
    "dev": {
        "version": "",
        "more": _ON_AWS,
        # The bucket of prompts lets pods in by name.
        "removed": f"""
            {_ON_AWS}
            ~ iam.RolePolicy doors-registrar-policy: policy
            ~ s3.BucketPolicy logs-policy: policy
        """,
    },
    "dev-gcp": {
        # Prompts are logged, and models may be called and are charted, by the name of the model.
        "version": f"""
            ~ workflows.Workflow prompts-workflow: sourceContents.main
            ~ orgpolicy.Policy isolation-policy-vertexai.allowedModels: spec.rules
            {_PAGE}
        """,
        "more": f"""
            {_QUOTA}
            {_PAGE}
            ~ monitoring.Dashboard serving-2-dashboard-page: dashboardJson
            + compute.SecurityPolicy gateway-throttle-20
            + compute.SecurityPolicy doors-throttle-20
            ~ monitoring.AlertPolicy gateway-alarm-gateway-blocks: conditions
        """,
        "removed": f"""
            {_QUOTA}
            {_PAGE}
            - monitoring.Dashboard serving-2-dashboard-page
            ~ compute.URLMap gateway-hosts: hostRules pathMatchers
        """,
    },
}
WHY = {
    "sagemaker.Model": "SageMaker changes none: its name holds its content, and outside of dev the former one stays",
    "sagemaker.EndpointConfiguration": "SageMaker changes none: its name holds its content, and outside of dev the former one stays",
    "ecs.TaskDefinition": "ECS changes none: it is another revision of the same family, and outside of dev the former one stays",
    "bedrock.InferenceProfile": "Bedrock changes none: it is of one model",
    "bedrock.ProvisionedModelThroughput": "Bedrock moves no units of a model to another (UpdateProvisionedModelThroughput)",
    "cloudcontrol.Resource": "IoT changes no template of a job, and outside of dev the former one stays to go back to",
}
"""Why something is replaced, or goes, although its endpoint stays."""
MOVES = {
    ("dev", "lm-tokens"): "Bedrock gives each profile an id of its own",
    ("dev", "lm-units"): "Bedrock gives what is bought an id of its own",
    ("dev", "ed-digest"): "a device has no address; this is the template that a roll-out begins with",
    ("dev-gcp", "lm-tokens"): "the address is that of the publisher's model",
}
"""Addresses that name their version: nothing of ours stands between a caller and the model."""


# ---- The environments


def described(stack: str, endpoints: Mapping[str, Any]) -> dict[str, Any]:
    """These endpoints, with what they stand on and little else."""
    content = yaml.safe_load((ROOT / "stacks/platform.yaml").read_text())
    del content["retrieval"]
    pool = {"accelerator": {"type": "nvidia-l4", "per_node": 1}, "nodes": {"max": 40}, "capacity": ["on-demand"]}
    training = {
        "teams": {"risk": {"share": 1, "gpus": 80}},
        "pools": {"l4": pool},
        "queues": {"train": {"pools": ["l4"]}},
    }
    serving = {**content["serving"], "endpoints": dict(endpoints), "max_instances": 500}
    return {**content, "secrets": {}, "training": training, "serving": serving}


def build(stack: str, text: str) -> Graph:
    """The graph of a stack for this text of `platform.yaml`."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "stacks").mkdir()
        own = yaml.safe_load((ROOT / f"stacks/Pulumi.{stack}.yaml").read_text())
        for section in ("training", "serving", "retrieval"):
            own["config"].pop(f"ai-platform:{section}", None)
        (root / f"stacks/Pulumi.{stack}.yaml").write_text(yaml.safe_dump(own))
        (root / "stacks/platform.yaml").write_text(text)
        environment = load(root, stack)

    def program() -> None:
        for name, value in Platform(environment).outputs.items():
            pulumi.export(name, value)

    return run(program, stack=stack)


def written(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False)


def endpoints(stack: str, change: str) -> dict[str, Any]:
    """All endpoints of a stack after a change. `more`: the neighbours promise something else, since both are separate."""
    changed, neighbours = (
        filled(CHANGED[stack], "2" if change == "version" else "1"),
        filled(NEIGHBOURS[stack], "1"),
    )
    match change:
        case "more":
            changed = {name: with_more(spec) for name, spec in changed.items()}
            neighbours = {name: with_less_promised(spec) for name, spec in neighbours.items()}
        case "removed":
            changed = {}
        case _:
            pass
    return {**changed, **neighbours}


@cache
def graph(stack: str, change: str) -> Graph:
    return build(stack, written(described(stack, endpoints(stack, change))))


@cache
def difference(stack: str, change: str) -> Difference:
    if change == "added":
        return compare(graph(stack, "removed"), graph(stack, ""))
    return compare(graph(stack, ""), graph(stack, change))


# ---- Differences as the tables write them


def owner(stack: str, resource: Resource) -> str:
    """The endpoint that a resource is of, by its name; nothing where it is all endpoints'."""
    names = sorted({*CHANGED[stack], *NEIGHBOURS[stack]}, key=len, reverse=True)
    return next((name for name in names if re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", resource.name)), "")


# Of what is large, what is in it.
_LARGE = {"spec", "template", "sourceContents", "definition"}


def _property(path: str) -> str:
    first, *rest = re.sub(r"\[[^\]]*\]", "", path).split(".")
    return f"{first}.{rest[0]}" if first in _LARGE and rest else first


def line(stack: str, mark: str, resource: Resource, change: Changed | None = None) -> str:
    name = re.sub(r"-[0-9a-f]{8}$", "-{#}", resource.name)
    if mine := owner(stack, resource):
        name = name.replace(mine, "*")
    properties = sorted({_property(c.path) for c in change.changes}) if change else []
    return f"{mark} {words.kind(resource.type)} {name}{': ' if properties else ''}{' '.join(properties)}"


@cache
def lines(stack: str, change: str) -> Mapping[str, Mapping[str, str]]:
    """By endpoint, what a change does to it; each line with what the values are, for whoever did not expect it."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    made = difference(stack, change)
    for mark, resources in (("+", made.created), ("-", made.removed)):
        for resource in resources:
            found[owner(stack, resource)][line(stack, mark, resource)] = resource.name
    for each in made.changed:
        written = line(stack, "±" if each.replaced else "~", each.resource, each)
        values = [f"{c.path}: {words.value(c.old)} → {words.value(c.new)}" for c in each.changes]
        found[owner(stack, each.resource)][written] = "\n      ".join([each.resource.name, *values])
    return found


def split(text: str) -> set[str]:
    return {stripped for each in text.splitlines() if (stripped := each.strip())}


def expected(table: Mapping[str, Mapping[str, str]], stack: str, name: str) -> set[str]:
    [text] = [text for names, text in table[stack].items() if name in names.split()]
    return split(text)


def check(found: Mapping[str, str], wanted: set[str]) -> None:
    wrong = [f"  not expected: {each}\n      {found[each]}" for each in sorted(found) if each not in wanted]
    wrong += [f"  not there:    {each}" for each in sorted(wanted - set(found))]
    assert not wrong, "\n".join(["another difference than the table says:", *wrong])


def all_of(which: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(stack, name) for stack, of in which.items() for name in of]


ALL_CHANGED, ALL_NEIGHBOURS = all_of(CHANGED), all_of(NEIGHBOURS)
STACKS = pytest.mark.parametrize("stack", CLOUDS)


# ---- What changes


@pytest.mark.parametrize(("stack", "name"), ALL_CHANGED)
def test_a_new_version_changes_exactly_what_it_must(stack: str, name: str):
    check(lines(stack, "version").get(name, {}), expected(VERSION, stack, name))


@pytest.mark.parametrize(("stack", "name"), ALL_CHANGED)
def test_more_at_most_changes_exactly_what_it_must(stack: str, name: str):
    check(lines(stack, "more").get(name, {}), expected(MORE, stack, name))


@pytest.mark.parametrize(("stack", "name"), ALL_NEIGHBOURS)
def test_another_objective_changes_alarms_and_what_follows_from_it(stack: str, name: str):
    check(lines(stack, "more").get(name, {}), expected(OBJECTIVE, stack, name))


@pytest.mark.parametrize("change", ["version", "removed"])
@pytest.mark.parametrize(("stack", "name"), ALL_NEIGHBOURS)
def test_a_neighbour_stays_as_it_is(stack: str, name: str, change: str):
    check(lines(stack, change).get(name, {}), set())


@pytest.mark.parametrize("change", ["version", "more", "removed"])
@STACKS
def test_of_what_all_have_in_common_lists_alone_change(stack: str, change: str):
    """Gateways, keys, roles of others, quotas: nothing but what names each endpoint."""
    check(lines(stack, change).get("", {}), split(SHARED[stack][change]))


def where(stack: str, change: str, name: str) -> tuple[Any, Any]:
    found = graph(stack, change).outputs[CLOUDS[stack]]["serving"]["endpoints"][name]
    return found["address"], found["id"]


def gone(stack: str, change: str) -> Iterator[str]:
    """URNs of what is deleted: what it gave others is another value, or none."""
    made = difference(stack, change)
    yield from (resource.urn for resource in made.removed)
    yield from (each.before.urn for each in made.replaced)


@pytest.mark.parametrize("change", ["version", "more"])
@pytest.mark.parametrize(("stack", "name"), [*ALL_CHANGED, *ALL_NEIGHBOURS])
def test_an_address_never_changes(stack: str, name: str, change: str):
    before = where(stack, "", name)
    behind = {urn for text in before for urn, _ in REFERENCE.findall(str(text))}
    same = before == where(stack, change, name) and not behind & set(gone(stack, change))
    assert same != (change == "version" and (stack, name) in MOVES)


# Vertex AI copies a model when it registers it, and its instances read the copy.
_COPIED = [("dev-gcp", "rt-files"), ("dev-gcp", "ba-files")]
READS = [
    (stack, name)
    for stack, name in ALL_CHANGED
    if CHANGED[stack][name]["model"] in (FILES, DIGEST, WEIGHTS) and (stack, name) not in _COPIED
]


@pytest.mark.parametrize(("stack", "name"), READS)
def test_what_answered_before_can_still_read_its_model(stack: str, name: str):
    """While a release is watched and when it was taken back, instances of the former version start again."""
    rights = [
        str(r.inputs)
        for r in graph(stack, "version").resources.values()
        if owner(stack, r) == name and r.type.rpartition(":")[2] in {"RolePolicy", "BucketIAMMember"}
    ]
    folder = CHANGED[stack][name]["model"].get("weights", {}).get("path", "m/").partition("/")[0]
    assert [text for text in rights if re.search(rf"/{folder}/(\*|['\"])", text)]
    assert not [text for text in rights if re.search(rf"/{folder}/\d", text)]


@STACKS
def test_names_and_routes_are_no_matter_of_a_version(stack: str):
    before, after = (graph(stack, change).outputs[CLOUDS[stack]]["serving"] for change in ("", "version"))
    assert before["records"]
    for key in before.keys() - {"endpoints"}:
        assert before[key] == after[key], key


@STACKS
def test_the_version_is_said(stack: str):
    own = CLOUDS_OWN[CLOUDS[stack]]  # type: ignore[index]
    said = [
        (PACKAGE, "fraud:{v}"), (IMAGE, "serving:{v}.0.0"), (FILES, "m/{v}/model.tar.gz on serving:1.0.0"),
        (DIGEST, "m/{v}/model.tar.gz on serving:1.0.0"), (CLOUDS_OWN, own), (WEIGHTS, "llama/{v}/ on vllm-openai:v0.11.2"),
    ]  # fmt: skip
    for v, change in enumerate(("", "version"), 1):
        endpoints = graph(stack, change).outputs[CLOUDS[stack]]["serving"]["endpoints"]
        for name, spec in CHANGED[stack].items():
            wanted = next((text for model, text in said if spec["model"] == model), "serving:9.0.0")
            assert endpoints[name]["version"] == wanted.replace("{v}", str(v)), name


# ---- What comes and goes


@STACKS
def test_what_is_removed_goes_whole_and_leaves_no_trace(stack: str):
    owners = {owner(stack, resource) for resource in difference(stack, "removed").removed}
    assert owners - {""} == set(CHANGED[stack])
    left = graph(stack, "removed")
    for name in CHANGED[stack]:
        assert not [r.urn for r in left.resources.values() if re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", repr(r))]
        assert name not in left.outputs[CLOUDS[stack]]["serving"]["endpoints"]


@STACKS
def test_what_is_added_replaces_nothing_and_takes_nothing_away(stack: str):
    made = difference(stack, "added")
    assert made.created
    assert not made.replaced
    assert not made.removed
    assert {owner(stack, each.resource) for each in made.changed} <= {""}


# ---- What says nothing new


def nothing_new(content: dict[str, Any]) -> str:
    """Another order of all keys, a comment at each endpoint, and a team that has none."""
    content["teams"]["legal"] = {"owner": "legal@example.com"}
    content["serving"]["endpoints"] = {
        name: {
            key: dict(reversed(value.items())) if isinstance(value, dict) else value
            for key, value in reversed(spec.items())
        }
        for name, spec in reversed(content["serving"]["endpoints"].items())
    }
    content["serving"] = dict(reversed(content["serving"].items()))
    text = written(dict(reversed(content.items())))
    names = "|".join(content["serving"]["endpoints"])
    return re.sub(rf"^( +)({names}):$", r"\1# What it is for.\n\g<0>", text, flags=re.MULTILINE)


@STACKS
def test_what_says_nothing_new_changes_nothing(stack: str):
    content = described(stack, endpoints(stack, ""))
    before = written(content)
    text = nothing_new(deepcopy(content))
    assert text.count("# What it is for.") == len(CHANGED[stack]) + len(NEIGHBOURS[stack])
    assert text != before
    found = compare(graph(stack, ""), build(stack, text))
    assert not found.changed
    assert not found.removed
    # The team has a budget of its own, and that is all.
    assert {r.type.rpartition(":")[2] for r in found.created} <= {"Budget"}


# ---- The tables


def place(spec: Mapping[str, Any]) -> str:
    """The kind as `RELEASES` calls it."""
    return "kubernetes" if spec.get("server") else "llm" if spec["kind"] == "llm" else spec["kind"]


@STACKS
def test_every_kind_place_and_release_stands_in_the_tables(stack: str):
    cloud = CLOUDS[stack]
    there = {(place(spec), spec.get("release", {}).get("strategy", "all_at_once")) for spec in CHANGED[stack].values()}
    for (on, kind), strategies in RELEASES.items():
        assert on != cloud or {(kind, each) for each in strategies} <= there, kind
    kinds = {get_args(each.model_fields["kind"].annotation)[0] for each in get_args(get_args(AnyEndpoint)[0])}
    missing = set() if cloud == "aws" else {"edge"}
    inside = ("server", "pool", "queue")

    def shape(spec: Mapping[str, Any]) -> tuple[str, bool]:
        return spec["kind"], any(key in spec for key in inside)

    for table in (CHANGED[stack], NEIGHBOURS[stack]):
        assert {spec["kind"] for spec in table.values()} == kinds - missing
        assert {shape(s) for s in table.values()} == {shape(s) for s in CHANGED[stack].values()}
        assert {kind for kind, within in map(shape, table.values()) if within} == {
            "realtime",
            "container",
            "llm",
            "batch",
        }


def test_what_goes_says_why():
    """The shortest list that there is: whatever is deleted although its endpoint stays says which service forces it."""
    every = [VERSION, MORE, OBJECTIVE]
    deleted = {
        each.split()[1] for table in every for of in table.values() for text in of.values() for each in split(text)
        if each[0] in "±-"
    }  # fmt: skip
    assert deleted == set(WHY)


# ---- How a person sees it


def test_a_person_sees_what_is_replaced_and_why():
    said = list(words.lines(difference("dev", "version"), {mark: mark for mark in "+-~±"}))
    at = said.index("± ecs.TaskDefinition co-image-task  (replaced: containerDefinitions)")
    image = "${images-serving-repository.repositoryUrl}"
    assert said[at + 1] == f'±     containerDefinitions[co-image].image: "{image}:1.0.0" → "{image}:2.0.0"'
    assert "± bedrock.InferenceProfile lm-tokens-profile  (replaced: description, modelSource, name)" in said
    said = list(words.lines(difference("dev-gcp", "version"), {mark: mark for mark in "+-~±"}))
    at = said.index("~ cloudrunv2.Service as-files-run-service")
    assert said[at + 1] == '~     template.containers[0].envs[MODEL_DIR].value: "/mnt/models/m/1" → "/mnt/models/m/2"'
