"""Notebooks, tracking and pipelines on AWS: what they may do, what stops them, and what SageMaker takes."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import botocore.session  # pyright: ignore[reportMissingTypeStubs]
import pulumi
import pulumi_aws as aws
import pytest
from botocore.validate import ParamValidator  # pyright: ignore[reportMissingTypeStubs]

from components import contracts
from components.aws.training import pipelines, tracking, workbench
from components.contracts import Zone
from components.core import iam
from components.core.accelerators import MACHINES
from components.core.naming import Names
from components.core.sagemaker import Use, offered
from components.scope import Scope
from components.spec.experiments import Gate, Input, Pipeline, Step, TrainingStep, run
from policies.model import Graph, Resource
from preview.record import run as record
from tests.aws.building import kind, one, statements, waits_for

API: Any = botocore.session.get_session().get_service_model("sagemaker")
ZONES = ("raw", "curated", "artifacts", "models")
AT = "arn:aws:sagemaker:us-west-2:111111111111"


def scope(tier: str = "dev") -> Scope:
    parent = pulumi.ComponentResource("ai-platform:aws:Example", "example")
    return Scope(
        environment=tier,
        tier=tier,  # pyright: ignore[reportArgumentType]
        cloud="aws",
        account="111111111111",
        region="us-west-2",
        replica_region=None,
        names=Names("acme-ai", tier),
        tags={},
        protection={"dev": "delete", "staging": "protect", "prod": "retain"}[tier],
        log_days=30,
        today=date(2026, 1, 1),
        provider=aws.Provider("aws", region="us-west-2", opts=pulumi.ResourceOptions(parent=parent)),
    )


def text(value: str) -> contracts.Text:
    return pulumi.Output.from_input(value)


def key(name: str) -> contracts.Key:
    return contracts.Key(id=text(f"arn:aws:kms:us-west-2:111111111111:key/{name}"), replica=None)


def bucket(zone: str) -> contracts.Storage:
    name = f"acme-ai-dev-{zone}"
    return contracts.Storage(name=text(name), uri=text(f"s3://{name}"), resource=text(f"arn:aws:s3:::{name}"))


BOUNDARY = "arn:aws:iam::111111111111:policy/acme-ai-dev-boundary"
WARNING = "arn:aws:sns:us-west-2:111111111111:acme-ai-dev-warning"


def network() -> contracts.Network:
    return contracts.Network(
        id=text("vpc-1"),
        workload_subnets=[text("subnet-1"), text("subnet-2")],
        data_subnets=[text("subnet-3")],
        cidr="10.16.0.0/16",
        reach=["10.16.0.0/16", "203.0.113.0/24"],
        prefix_lists={"s3": text("pl-1")},
    )


def notebooks(**changes: Any) -> workbench.WorkbenchArgs:
    users = {
        "ana": workbench.User(persona="data-scientist", email="ana@example.com", tags={"team": "vision"}),
        "ben": workbench.User(persona="ml-engineer", email="ben@example.com"),
    }
    args = workbench.WorkbenchArgs(
        users=users,
        sign_in="iam",
        personas={
            p: text(f"arn:aws:iam::111111111111:role/acme-ai-dev-{p}") for p in ("data-scientist", "ml-engineer")
        },
        idle_hours=3,
        machines=["t3.medium", "g6.xlarge"],
        disk_gib=50,
        max_disk_gib=200,
        zones=[
            workbench.Zone(bucket=bucket("raw"), key=key("data"), readers=["ml-engineer"]),
            workbench.Zone(bucket=bucket("curated"), key=key("data"), readers=["data-scientist"]),
            workbench.Zone(bucket=bucket("artifacts"), key=key("models"), writers=["data-scientist", "ml-engineer"]),
        ],
        network=network(),
        key=key("compute"),
        logs_key=key("logs"),
        boundary=contracts.Boundary(id=text(BOUNDARY)),
    )
    return replace(args, **changes)


def pipeline(**changes: Any) -> Pipeline:
    step = Step(image="111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-training:1.0", max_hours=2)
    train = TrainingStep.model_validate(
        {**step.model_dump(), "accelerator": "nvidia-l4", "machines": 2, "max_hours": 5, "spot": True}
    )
    told: dict[str, Any] = {
        "team": "risk",
        "model": "fraud",
        "schedule": "30 4 * * 1-5",
        "time_zone": "Europe/Berlin",
        "inputs": {"transactions": Input(zone="curated", prefix="transactions/"), "rates": Input(zone="raw")},
        "prepare": step,
        "train": train,
        "evaluate": step,
        "serving_image": "111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-serving:1.0",
        "gate": Gate(metric="auc", at_least=0.9),
    }
    return Pipeline.model_validate({**told, **changes})


def trains(*, record_to: bool = True, **changes: Any) -> pipelines.PipelinesArgs:
    return pipelines.PipelinesArgs(
        runs={"fraud": run("fraud", pipeline(**changes), "aws", "us-west-2")},
        tags={"fraud": {"team": "risk"}},
        zones={
            zone: Zone(bucket=bucket(zone), key=key("data" if zone in ("raw", "curated") else "models"))
            for zone in ZONES
        },
        packages=Zone(bucket=bucket("models"), key=key("models")),
        candidates={"fraud": text(f"{AT}:model-package-group/acme-ai-dev-fraud")},
        network=network(),
        key=key("compute"),
        logs_key=key("logs"),
        tracking=contracts.Tracking(uri=text(f"{AT}:mlflow-app/app-1")),
        record=[iam.allow(["sagemaker:CallMlflowAppApi"], [f"{AT}:mlflow-app/app-1"])] if record_to else [],
        boundary=contracts.Boundary(id=text(BOUNDARY)),
        warning=[text(WARNING)],
    )


COMPONENTS: dict[type, Any] = {
    workbench.WorkbenchArgs: workbench.Workbench,
    tracking.TrackingArgs: tracking.Tracking,
    pipelines.PipelinesArgs: pipelines.Pipelines,
}


def built(make: Callable[[], Any], *, tier: str = "dev", preview: bool = False) -> Graph:
    """The graph of one component. Its arguments are made inside of the run, as outputs have to be."""

    def program() -> None:
        args = make()
        component = COMPONENTS[type(args)]
        parent = pulumi.ComponentResource("ai-platform:aws:Environment", "environment")
        component(component.__name__.lower(), args, scope=scope(tier), parent=parent)

    return record(program, preview=preview)


def inline(graph: Graph, role: str) -> list[dict[str, Any]]:
    return statements(one(graph, "RolePolicy", f"{role}-policy"))


def allowed(found: Sequence[Mapping[str, Any]]) -> set[str]:
    return {action for s in found if s["Effect"] == "Allow" for action in s["Action"]}


def holds(condition: Mapping[str, Mapping[str, Any]], request: Mapping[str, Any]) -> bool:
    """Whether a request fulfils a condition: the operators that are used here, as IAM defines them."""

    def one_key(operator: str, name: str, wanted: Any) -> bool:
        values = [str(w) for w in (wanted if isinstance(wanted, list) else [wanted])]
        given = request.get(name)
        had = [str(g) for g in (given if isinstance(given, list) else [given])] if given is not None else []
        match operator:
            case "Null":
                return (given is None) == (values == ["true"])
            case "ForAnyValue:StringNotEquals":
                return any(g not in values for g in had)
            case "NumericGreaterThan":
                return bool(had) and float(had[0]) > float(values[0])
            case "Bool" | "StringEquals":
                return bool(had) and had[0] in values
            case "StringLike" | "ArnLike":
                return bool(had) and any(fnmatchcase(had[0], v) for v in values)
            case "StringEqualsIfExists":
                return not had or had[0] in values
            case _:
                raise AssertionError(operator)

    return all(one_key(op, k, v) for op, keys in condition.items() for k, v in keys.items())


def may(found: Sequence[Mapping[str, Any]], action: str, resource: str, request: Mapping[str, Any]) -> bool:
    """Whether these statements let a request through."""
    matching = [
        s
        for s in found
        if any(fnmatchcase(action, a) for a in s["Action"])
        and any(fnmatchcase(resource, r) for r in s["Resource"])
        and holds(s.get("Condition", {}), request)
    ]
    return any(s["Effect"] == "Allow" for s in matching) and not any(s["Effect"] == "Deny" for s in matching)


# Notebooks


def test_the_domain_reaches_the_network_and_nothing_else():
    graph = built(notebooks)
    domain = one(graph, "Domain", "workbench-domain")
    assert domain.get("appNetworkAccessType") == "VpcOnly"
    assert domain.get("subnetIds") == ["subnet-1", "subnet-2"]
    assert domain.get("kmsKeyId").endswith("key/compute")
    assert domain.get("domainSettings.dockerSettings.enableDockerAccess") == "DISABLED"
    assert "defaultSpaceSettings" not in domain.inputs, "shared spaces could be made"
    rules = [
        (
            r.type.rpartition(":")[2],
            r.get("ipProtocol"),
            r.get("fromPort"),
            r.get("cidrIpv4") or r.get("prefixListId") or "itself",
        )
        for name in ("SecurityGroupEgressRule", "SecurityGroupIngressRule")
        for r in kind(graph, name)
    ]
    assert sorted(rules) == [
        ("SecurityGroupEgressRule", "tcp", 443, "10.16.0.0/16"),
        ("SecurityGroupEgressRule", "tcp", 443, "203.0.113.0/24"),
        # In a closed network data is behind a gateway, at public addresses.
        ("SecurityGroupEgressRule", "tcp", 443, "pl-1"),
        ("SecurityGroupEgressRule", "tcp", 8192, "itself"),
        ("SecurityGroupIngressRule", "tcp", 8192, "itself"),
    ]
    # The first line that Studio logs would otherwise make a group of its own.
    needed = [one(graph, "LogGroup", "workbench-log"), *kind(graph, "SecurityGroupEgressRule")]
    assert waits_for(graph, domain, *needed)


@pytest.mark.parametrize("app", ["jupyterLabAppSettings", "codeEditorAppSettings"])
def test_a_notebook_is_switched_off_and_its_user_cannot_stay_longer(app: str):
    domain = one(built(notebooks), "Domain", "workbench-domain")
    idle = domain.get(f"defaultUserSettings.{app}.appLifecycleManagement.idleSettings")
    assert idle == {
        "lifecycleManagement": "ENABLED",
        "idleTimeoutInMinutes": 180,
        "minIdleTimeoutInMinutes": 60,
        "maxIdleTimeoutInMinutes": 180,
    }


@pytest.mark.parametrize(("tier", "efs", "protected"), [("dev", "Delete", False), ("prod", "Retain", True)])
def test_what_a_destroy_does(tier: str, efs: str, protected: bool):
    graph = built(notebooks, tier=tier)
    assert one(graph, "Domain", "workbench-domain").get("retentionPolicy.homeEfsFileSystem") == efs
    for resource in (one(graph, "Domain", "workbench-domain"), *kind(graph, "Space")):
        assert bool(resource.protect) == protected
        assert bool(resource.retain_on_delete) == protected


def test_each_user_has_one_private_space_with_the_role_of_the_persona():
    graph = built(notebooks)
    for user, persona in {"ana": "data-scientist", "ben": "ml-engineer"}.items():
        profile = one(graph, "UserProfile", f"workbench-{user}")
        data = one(graph, "RolePolicyAttachment", f"workbench-notebook-{persona}-storage-0-attached")
        assert waits_for(graph, profile, one(graph, "RolePolicy", f"notebook-{persona}-policy"), data)
        role = one(graph, "Role", f"notebook-{persona}-role")
        assert profile.get("userSettings.executionRole") == f"${{{role.urn}#arn}}"
        space = one(graph, "Space", f"workbench-{user}-space")
        assert space.get("spaceSharingSettings.sharingType") == "Private"
        assert space.get("ownershipSettings.ownerUserProfileName") == user
        # Its user takes another machine: that is no drift.
        assert space.ignore_changes == ("spaceSettings",)
    assert len(kind(graph, "Space")) == 2


OURS = {
    "sagemaker:InstanceTypes": ["ml.g6.xlarge"],
    "sagemaker:MaxRuntimeInSeconds": 3600,
    "sagemaker:VpcSubnets": ["subnet-1"],
}


def job(graph: Graph, **changes: Any) -> dict[str, Any]:
    group = one(graph, "SecurityGroup", "workbench-network")
    request = {**OURS, "sagemaker:VpcSecurityGroupIds": [f"${{{group.urn}#id}}"]}
    changed = {f"sagemaker:{name}": value for name, value in changes.items()}
    return {k: v for k, v in {**request, **changed}.items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "lets"),
    [
        ({}, True),
        # One of the two is not enough: a denial of both together would let these through.
        ({"VpcSubnets": None}, False),
        ({"VpcSecurityGroupIds": None}, False),
        ({"VpcSubnets": ["subnet-1", "subnet-of-somebody-else"]}, False),
        ({"InstanceTypes": ["ml.p5.48xlarge"]}, False),
        ({"InstanceTypes": ["ml.g6.xlarge", "ml.p5.48xlarge"]}, False),
        ({"MaxRuntimeInSeconds": 25 * 3600}, False),
    ],
)
@pytest.mark.parametrize("action", ["sagemaker:CreateTrainingJob", "sagemaker:CreateProcessingJob"])
def test_jobs_of_a_notebook_stay_in_the_network_and_under_the_ceiling(action: str, changes: dict[str, Any], lets: bool):
    graph = built(notebooks)
    kinds = {"sagemaker:CreateTrainingJob": "training-job", "sagemaker:CreateProcessingJob": "processing-job"}
    found = inline(graph, "notebook-data-scientist")
    assert may(found, action, f"{AT}:{kinds[action]}/mine", job(graph, **changes)) == lets


def test_an_app_runs_on_an_allowed_machine_in_ones_own_space():
    found = inline(built(notebooks), "notebook-data-scientist")
    owner = f"{AT}:user-profile/${{sagemaker:DomainId}}/${{sagemaker:UserProfileName}}"
    app = f"{AT}:app/${{sagemaker:DomainId}}/x"
    mine = {
        "sagemaker:OwnerUserProfileArn": owner,
        "sagemaker:SpaceSharingType": "Private",
        "sagemaker:InstanceTypes": ["ml.t3.medium"],
    }
    assert may(found, "sagemaker:CreateApp", app, mine)
    assert not may(found, "sagemaker:CreateApp", app, {**mine, "sagemaker:InstanceTypes": ["ml.g6.12xlarge"]})
    assert not may(
        found, "sagemaker:CreateApp", app, {**mine, "sagemaker:OwnerUserProfileArn": f"{AT}:user-profile/d/b"}
    )
    assert not may(found, "sagemaker:CreateApp", app, {**mine, "sagemaker:SpaceSharingType": "Shared"})
    larger = {**mine, "sagemaker:InstanceTypes": ["ml.g6.12xlarge"]}
    assert not may(found, "sagemaker:UpdateSpace", f"{AT}:space/${{sagemaker:DomainId}}/x", larger)
    assert "sagemaker:CreateSpace" not in allowed(found), "a second disk for each user"


def test_a_notebook_reads_what_its_persona_reads():
    graph = built(notebooks)
    reads = {
        persona: statements(one(graph, "Policy", f"workbench-notebook-{persona}-storage-0"))
        for persona in ("data-scientist", "ml-engineer")
    }
    for persona, zone, action, lets in (
        ("data-scientist", "raw", "s3:GetObject", False),
        ("data-scientist", "curated", "s3:GetObject", True),
        ("data-scientist", "curated", "s3:PutObject", False),
        ("data-scientist", "artifacts", "s3:PutObject", True),
        ("ml-engineer", "raw", "s3:GetObject", True),
        ("ml-engineer", "curated", "s3:GetObject", False),
    ):
        assert may(reads[persona], action, f"arn:aws:s3:::acme-ai-dev-{zone}/a", {}) == lets, (persona, zone, action)
    for found in reads.values():
        for s in found:
            if any(action.startswith("kms:") for action in s["Action"]):
                assert s["Condition"] == {"StringEquals": {"kms:ViaService": ["s3.us-west-2.amazonaws.com"]}}


def test_pipelines_are_started_by_engineers_and_models_approved_by_no_notebook():
    graph = built(notebooks)
    start = "sagemaker:StartPipelineExecution"
    assert may(inline(graph, "notebook-ml-engineer"), start, f"{AT}:pipeline/acme-ai-dev-fraud", {})
    assert start not in allowed(inline(graph, "notebook-data-scientist"))
    for persona in ("data-scientist", "ml-engineer"):
        found = allowed(inline(graph, f"notebook-{persona}"))
        assert not {a for a in found if "ModelPackage" in a or a.endswith("*") or "Endpoint" in a}


def test_people_open_their_own_notebooks():
    graph = built(notebooks)
    found = statements(one(graph, "Policy", "workbench-data-scientist-notebooks-0"))
    profile = one(graph, "UserProfile", "workbench-ana")
    opens = [s for s in found if s["Action"] == ["sagemaker:CreatePresignedDomainUrl"]]
    assert [s["Resource"] for s in opens] == [[f"${{{profile.urn}#arn}}"]]
    assert opens[0]["Condition"] == {"StringLike": {"aws:userid": "*:ana"}}
    attached = one(graph, "RolePolicyAttachment", "workbench-data-scientist-notebooks-0-attached")
    assert attached.get("role") == "acme-ai-dev-data-scientist"


def test_with_identity_center_a_profile_belongs_to_a_user():
    graph = built(partial(notebooks, sign_in="sso"))
    assert one(graph, "Domain", "workbench-domain").get("authMode") == "SSO"
    profile = one(graph, "UserProfile", "workbench-ana")
    assert profile.get("singleSignOnUserIdentifier") == "UserName"
    assert profile.get("singleSignOnUserValue") == "ana@example.com"
    assert not [p for p in kind(graph, "Policy") if "-notebooks-" in p.name]


def test_many_users_and_zones_stay_within_the_limits_of_policies():
    users = {
        f"user-{'x' * 20}-{i}": workbench.User(persona="data-scientist", email=f"u{i}@example.com") for i in range(60)
    }

    def many() -> workbench.WorkbenchArgs:
        arns = [text(f"arn:aws:s3:::acme-ai-dev-{'z' * 40}-{i:03}") for i in range(100)]
        storage = [contracts.Storage(name=arn, uri=arn, resource=arn) for arn in arns]
        zones = [workbench.Zone(bucket=found, key=key("data"), readers=["data-scientist"]) for found in storage]
        return notebooks(users=users, zones=zones)

    graph = built(many)
    # White space does not count ("IAM and STS quotas"). ARNs of profiles are 120 characters at most, where the recorder has URNs.
    for name, limit in (("Policy", 6144), ("RolePolicy", 10_240)):
        for policy in kind(graph, name):
            compact = json.dumps(statements(policy), separators=(",", ":"))
            assert len(re.sub(r"\$\{urn[^}]*\}", "x" * 120, compact)) + 60 <= limit, policy.name
    for role in {a.get("role") for a in kind(graph, "RolePolicyAttachment")}:
        assert len([a for a in kind(graph, "RolePolicyAttachment") if a.get("role") == role]) <= 10


# Tracking


def records(**changes: Any) -> tracking.TrackingArgs:
    boundary = contracts.Boundary(id=text(BOUNDARY))
    return tracking.TrackingArgs(bucket=bucket("artifacts"), key=key("models"), boundary=boundary, **changes)


def test_mlflow_keeps_to_its_prefix_and_approves_nothing():
    graph = built(records, tier="prod")
    app = one(graph, "MlflowApp", "tracking-app")
    assert app.get("artifactStoreUri") == "s3://acme-ai-dev-artifacts/mlflow"
    assert app.get("modelRegistrationMode") == "AutoModelRegistrationDisabled"
    assert app.protect
    assert app.retain_on_delete
    window = API.shape_for("WeeklyMaintenanceWindowStart")
    assert re.fullmatch(window.metadata["pattern"], app.get("weeklyMaintenanceWindowStart"))
    found = inline(graph, "tracking")
    assert may(found, "s3:PutObject", "arn:aws:s3:::acme-ai-dev-artifacts/mlflow/1/model", {})
    assert not may(found, "s3:GetObject", "arn:aws:s3:::acme-ai-dev-artifacts/checkpoints/1", {})
    assert not may(found, "s3:ListBucket", "arn:aws:s3:::acme-ai-dev-artifacts", {"s3:prefix": "checkpoints/"})
    assert not {action for action in allowed(found) if action.startswith("sagemaker:")}

    registering = inline(built(partial(records, register_models=True)), "tracking")
    group = f"{AT}:model-package/anything/1"
    status = "sagemaker:ModelApprovalStatus"
    assert may(registering, "sagemaker:CreateModelPackage", group, {status: "PendingManualApproval"})
    assert not may(registering, "sagemaker:CreateModelPackage", group, {status: "Approved"})
    assert "sagemaker:UpdateModelPackage" not in allowed(registering)


# Pipelines


def definition(graph: Graph) -> dict[str, Any]:
    return json.loads(one(graph, "Pipeline", "pipelines-fraud").get("pipelineDefinition"))


def steps(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All steps by name, those of a condition's branches too."""
    top = {step["Name"]: step for step in found["Steps"]}
    arguments = top["good-enough"]["Arguments"]
    return top | {step["Name"]: step for step in (*arguments["IfSteps"], *arguments["ElseSteps"])}


def known(value: Any) -> Any:
    """Arguments with the functions of a pipeline in them replaced by what they might yield."""
    if isinstance(value, dict):
        if {"Get"} == set(value) or {"Std:Join"} == set(value):
            return "s3://bucket/key"
        return {k: known(v) for k, v in value.items()}
    return [known(v) for v in value] if isinstance(value, list) else value


def enums(value: Any, shape: Any, path: str = "") -> Iterator[str]:
    """Where a text is none of those that the API knows."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from enums(inner, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for i, inner in enumerate(value):
            yield from enums(inner, shape.member, f"{path}[{i}]")
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{path}: {value}"


CALLS = {
    "prepare": ("CreateProcessingJob", {"ProcessingJobName": "a"}),
    "train": ("CreateTrainingJob", {"TrainingJobName": "a"}),
    "evaluate": ("CreateProcessingJob", {"ProcessingJobName": "a"}),
    "register": ("CreateModelPackage", {}),
}


@pytest.mark.parametrize("changes", [{}, {"network": "private", "schedule": None}])
def test_sagemaker_takes_the_arguments_of_every_step(changes: dict[str, Any]):
    found = steps(definition(built(partial(trains, **changes))))
    for step, (call, besides) in CALLS.items():
        shape = API.operation_model(call).input_shape
        arguments = known(found[step]["Arguments"])
        assert not set(besides) & set(arguments), "SageMaker gives a pipeline's jobs their names"
        report = ParamValidator().validate({**besides, **arguments}, shape)
        assert not report.has_errors(), report.generate_report()
        assert not list(enums(arguments, shape))


def test_every_reference_leads_to_an_earlier_step():
    found = definition(built(trains))
    outputs = {
        step["Name"]: {o["OutputName"] for o in step["Arguments"].get("ProcessingOutputConfig", {}).get("Outputs", [])}
        for step in found["Steps"]
    }
    order = [step["Name"] for step in found["Steps"]]
    assert order == ["prepare", "train", "evaluate", "good-enough"]
    seen = 0
    for i, step in enumerate(found["Steps"]):
        for reference in re.findall(r'"Get": "(Steps\.[^"]+)"', json.dumps(step)):
            name = reference.split(".")[1]
            seen += 1
            assert name in order[:i], f"{step['Name']} refers to {reference}"
            if output := re.search(r"Outputs\['(\w+)'\]", reference):
                assert output[1] in outputs[name]
    assert seen == 6
    assert found["Steps"][2]["PropertyFiles"] == [
        {"PropertyFileName": "evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    ]
    assert "evaluation" in outputs["evaluate"]


def test_a_model_is_registered_only_if_it_is_good_enough_and_then_waits():
    for gate, bound in (
        (Gate(metric="auc", at_least=0.9), ("GreaterThanOrEqualTo", 0.9)),
        (Gate(metric="error", at_most=0), ("LessThanOrEqualTo", 0)),
    ):
        arguments = steps(definition(built(partial(trains, gate=gate))))["good-enough"]["Arguments"]
        (condition,) = arguments["Conditions"]
        assert (condition["Type"], condition["RightValue"]) == bound
        assert condition["LeftValue"]["Std:JsonGet"] == {
            "PropertyFile": {"Get": "Steps.evaluate.PropertyFiles.evaluation"},
            "Path": gate.metric,
        }
        assert [s["Type"] for s in arguments["IfSteps"]] == ["RegisterModel"]
        assert [s["Type"] for s in arguments["ElseSteps"]] == ["Fail"]
        assert arguments["IfSteps"][0]["Arguments"]["ModelApprovalStatus"] == "PendingManualApproval"


def test_jobs_are_isolated_encrypted_bounded_and_in_the_network():
    graph = built(trains)
    found = steps(definition(graph))
    group = one(graph, "SecurityGroup", "pipelines-network")
    where = {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": [f"${{{group.urn}#id}}"]}
    for step in ("prepare", "evaluate"):
        arguments = found[step]["Arguments"]
        assert arguments["NetworkConfig"]["VpcConfig"] == where
        assert arguments["NetworkConfig"]["EnableNetworkIsolation"] is True
        cluster = arguments["ProcessingResources"]["ClusterConfig"]
        assert (cluster["InstanceType"], cluster["InstanceCount"]) == ("ml.m7i.xlarge", 1)
        assert cluster["VolumeKmsKeyId"].endswith("key/compute")
        assert arguments["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200}
    train = found["train"]["Arguments"]
    assert (train["VpcConfig"], train["EnableNetworkIsolation"]) == (where, True)
    assert train["EnableInterContainerTrafficEncryption"] is True, "two machines speak in clear"
    # A machine with disks of its own gets no volume, and SageMaker refuses a key for one.
    assert train["ResourceConfig"] == {"InstanceType": "ml.g6.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 100}
    assert train["EnableManagedSpotTraining"] is True
    assert train["StoppingCondition"] == {"MaxRuntimeInSeconds": 18_000, "MaxWaitTimeInSeconds": 18_000 + 86_400}
    assert train["CheckpointConfig"]["S3Uri"]["Std:Join"]["Values"][0] == "s3://acme-ai-dev-artifacts/pipelines/fraud"
    assert train["OutputDataConfig"]["KmsKeyId"].endswith("key/models")


def test_machines_on_demand_have_no_time_to_wait():
    train = pipeline().train.model_copy(update={"spot": False, "disk_gib": 16_000})
    arguments = steps(definition(built(partial(trains, train=train))))["train"]["Arguments"]
    assert arguments["StoppingCondition"] == {"MaxRuntimeInSeconds": 18_000}
    assert arguments["ResourceConfig"]["VolumeSizeInGB"] == 419, "more than the machine's own disks"


def test_the_containers_find_their_folders():
    found = steps(definition(built(trains)))
    environments = {step: found[step]["Arguments"]["Environment"] for step in ("prepare", "train", "evaluate")}
    folders: dict[str, set[str]] = {}
    for step in ("prepare", "evaluate"):
        arguments = found[step]["Arguments"]
        mounted = [i["S3Input"]["LocalPath"] for i in arguments["ProcessingInputs"]]
        mounted += [o["S3Output"]["LocalPath"] for o in arguments["ProcessingOutputConfig"]["Outputs"]]
        folders[step] = set(mounted)
        assert {v for k, v in environments[step].items() if k.startswith(("INPUT_", "OUTPUT_", "MODEL"))} == folders[
            step
        ]
    assert set(environments["prepare"]) == {"INPUT_TRANSACTIONS", "INPUT_RATES", "OUTPUT_TRAIN", "OUTPUT_TEST"}
    assert set(environments["train"]) == {"INPUT_TRAIN", "MODEL", "CHECKPOINT"}
    assert environments["train"]["CHECKPOINT"] == found["train"]["Arguments"]["CheckpointConfig"]["LocalPath"]


@pytest.mark.parametrize("network_", ["none", "private"])
def test_experiments_are_recorded_where_there_is_a_way(network_: str):
    graph = built(partial(trains, network=network_))
    found = steps(definition(graph))
    recorded = network_ == "private"
    for step in ("prepare", "train", "evaluate"):
        assert ("MLFLOW_TRACKING_URI" in found[step]["Arguments"]["Environment"]) == recorded
    assert ("sagemaker:CallMlflowAppApi" in allowed(inline(graph, "pipeline-fraud"))) == recorded


def test_the_role_of_a_pipeline_does_what_the_definition_says_and_nothing_else():
    graph = built(trains)
    found = inline(graph, "pipeline-fraud")
    group = one(graph, "SecurityGroup", "pipelines-network")
    request = {
        "sagemaker:InstanceTypes": ["ml.g6.2xlarge"],
        "sagemaker:MaxRuntimeInSeconds": 18_000,
        "sagemaker:VpcSubnets": ["subnet-1", "subnet-2"],
        "sagemaker:VpcSecurityGroupIds": [f"${{{group.urn}#id}}"],
        "sagemaker:NetworkIsolation": "true",
    }
    train, job_ = "sagemaker:CreateTrainingJob", f"{AT}:training-job/pipelines-abc-train"
    assert may(found, train, job_, request)
    for name, value in (
        ("InstanceTypes", ["ml.p5.48xlarge"]),
        ("MaxRuntimeInSeconds", 18_001),
        ("VpcSubnets", None),
        ("VpcSecurityGroupIds", ["sg-of-somebody-else"]),
        ("NetworkIsolation", "false"),
    ):
        changed = {k: v for k, v in {**request, f"sagemaker:{name}": value}.items() if v is not None}
        assert not may(found, train, job_, changed), name
    package = f"{AT}:model-package/acme-ai-dev-fraud/1"
    assert may(
        found, "sagemaker:CreateModelPackage", package, {"sagemaker:ModelApprovalStatus": "PendingManualApproval"}
    )
    assert not may(found, "sagemaker:CreateModelPackage", package, {"sagemaker:ModelApprovalStatus": "Approved"})
    assert not may(found, "sagemaker:CreateModelPackage", f"{AT}:model-package/acme-ai-dev-churn/1", {})
    assert "sagemaker:UpdateModelPackage" not in allowed(found), "a pipeline could approve its own model"
    for zone, path, action, lets in (
        ("curated", "transactions/1.csv", "s3:GetObject", True),
        ("curated", "salaries/1.csv", "s3:GetObject", False),
        ("curated", "transactions/1.csv", "s3:PutObject", False),
        ("raw", "anything", "s3:GetObject", True),
        ("artifacts", "pipelines/fraud/run/train/1", "s3:PutObject", True),
        ("artifacts", "pipelines/churn/run/train/1", "s3:GetObject", False),
        ("models", "fraud/run/model.tar.gz", "s3:PutObject", True),
        ("models", "churn/run/model.tar.gz", "s3:GetObject", False),
    ):
        assert may(found, action, f"arn:aws:s3:::acme-ai-dev-{zone}/{path}", {}) == lets, (zone, path, action)
    passes = next(s for s in found if s["Action"] == ["iam:PassRole"])
    assert passes["Resource"] == ["arn:aws:iam::111111111111:role/acme-ai-dev-pipeline-fraud"]
    assert len(re.sub(r"\$\{[^}]*\}", "x" * 50, json.dumps(found, separators=(",", ":")))) <= 10_240


def test_a_pipeline_starts_when_its_time_has_come_and_somebody_hears_when_it_does_not():
    graph = built(trains)
    schedule = one(graph, "Schedule", "pipelines-schedule-fraud")
    assert schedule.get("scheduleExpression") == "cron(30 4 ? * MON-FRI *)"
    assert schedule.get("scheduleExpressionTimezone") == "Europe/Berlin"
    made = one(graph, "Pipeline", "pipelines-fraud")
    queue = one(graph, "Queue", "pipelines-schedule-failed-queue")
    assert schedule.get("target.arn") == f"${{{made.urn}#arn}}"
    assert schedule.get("target.deadLetterConfig.arn") == f"${{{queue.urn}#arn}}"
    assert schedule.get("target.retryPolicy.maximumRetryAttempts") > 0
    assert waits_for(graph, schedule, made, one(graph, "RolePolicy", "pipeline-start-policy"))
    found = inline(graph, "pipeline-start")
    assert may(found, "sagemaker:StartPipelineExecution", f"${{{made.urn}#arn}}", {})
    assert allowed(found) == {
        "sagemaker:StartPipelineExecution",
        "sqs:SendMessage",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:GenerateDataKey",
    }
    alarms = kind(graph, "MetricAlarm")
    assert {a.get("metricName") for a in alarms} == {"ExecutionFailed", "ApproximateNumberOfMessagesVisible"}
    assert all(a.get("alarmActions") == [WARNING] for a in alarms)
    waiting = json.loads(one(graph, "EventRule", "pipelines-waiting").get("eventPattern"))
    assert waiting["detail"] == {
        "ModelPackageGroupName": ["acme-ai-dev-fraud"],
        "ModelApprovalStatus": ["PendingManualApproval"],
    }
    assert not kind(built(partial(trains, schedule=None)), "Schedule")


def test_a_pipeline_comes_after_what_it_needs_and_goes_before_it():
    graph = built(trains)
    made = one(graph, "Pipeline", "pipelines-fraud")
    needed: list[Resource] = [
        one(graph, "RolePolicy", "pipeline-fraud-policy"),
        *kind(graph, "LogGroup"),
        *kind(graph, "SecurityGroupEgressRule"),
        *kind(graph, "SecurityGroupIngressRule"),
    ]
    assert waits_for(graph, made, *needed)
    assert {g.get("name") for g in kind(graph, "LogGroup")} == {
        "/aws/sagemaker/ProcessingJobs",
        "/aws/sagemaker/TrainingJobs",
    }


@pytest.mark.parametrize("args", [notebooks, trains])
def test_a_first_preview_knows_nothing_and_builds_all_the_same(args: Any):
    assert {r.urn for r in built(args, preview=True).resources.values()} == {
        r.urn for r in built(args).resources.values()
    }


def test_sagemaker_has_what_the_catalogue_says():
    names: dict[Use, str] = {
        "notebook": "AppInstanceType",
        "processing": "ProcessingInstanceType",
        "training": "TrainingInstanceType",
    }
    for use, name in names.items():
        there = set(API.shape_for(name).enum)
        wrong = [m.type for m in MACHINES if m.cloud == "aws" and offered(m, use) != (f"ml.{m.type}" in there)]
        assert not wrong, use


def test_studio_knows_what_is_hidden():
    portal = one(built(notebooks), "Domain", "workbench-domain").get("defaultUserSettings.studioWebPortalSettings")
    assert set(portal["hiddenAppTypes"]) == set(API.shape_for("AppType").enum) - {"JupyterLab", "CodeEditor"}
    assert set(portal["hiddenMlTools"]) <= set(API.shape_for("MlTools").enum)
