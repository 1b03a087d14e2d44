"""Language models: that no prompt gets past a guardrail, that the guardrail is one, and that prompts are written down."""

import re
from collections.abc import Iterator

from policies.context import is_prod, mapping, maps, resolve
from policies.documents import Statement, statements
from policies.grants import grants
from policies.model import REFERENCE, Graph, Resource, is_unknown
from policies.pods import pods
from policies.rule import EVERY, Found, Violation, graph_rule, resource_rule
from policies.rules.identity import is_delivery_member, only_delivery
from policies.served import is_own_bucket, resource_text

GUARDRAIL = "aws:bedrock/guardrail:Guardrail"
VERSION = "aws:bedrock/guardrailVersion:GuardrailVersion"
LOGGING = "aws:bedrockmodel/invocationLoggingConfiguration:InvocationLoggingConfiguration"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
TEMPLATE = "gcp:modelarmor/template:Template"
FLOOR = "gcp:modelarmor/floorsetting:Floorsetting"

BUCKET = "aws:s3/bucket:Bucket"
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
BUCKET_KEYS = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
DATASET = "gcp:bigquery/dataset:Dataset"
TABLE = "gcp:bigquery/table:Table"
WORKFLOW = "gcp:workflows/workflow:Workflow"
SERVERS = "kubernetes:apps/v1:Deployment"

_IDENTIFIER = "bedrock:guardrailidentifier"
# What sends a prompt to a model, or has it sent (Service Authorization Reference, "Amazon Bedrock"): Converse is InvokeModel.
_PROMPTS = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
# Models that turn text into numbers, and answer nobody ("Supported foundation models", embeddings).
_EMBEDDING = re.compile(r"arn:aws[\w-]*:bedrock:[^:]*::foundation-model/[\w.-]*embed[\w.:-]*")
_USES = (
    "aws:bedrock/inferenceProfile:InferenceProfile",
    "aws:bedrock/provisionedModelThroughput:ProvisionedModelThroughput",
)
_HARMFUL = {"HATE", "INSULTS", "SEXUAL", "VIOLENCE", "MISCONDUCT"}
_RAI = {"DANGEROUS", "HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT"}


def prompting(resource: Resource, graph: Graph) -> Iterator[Statement]:
    """The statements by which an identity may send prompts to models of Bedrock, other than the deployer's."""
    found = [
        statement
        for statement in statements(resource, graph, "identity")
        if statement.allows
        and not statement.not_actions
        and any(action.startswith("bedrock:") for action in statement.actions)
        and any(statement.covers(action) for action in _PROMPTS)
        and not (statement.resources and all(_EMBEDDING.fullmatch(each) for each in statement.resources))
    ]
    if found and not only_delivery(resource, graph):
        yield from found


def _denied_without(resource: Resource, graph: Graph) -> bool:
    """Whether the same document refuses every prompt, to whatever model, that comes without a guardrail."""
    return any(
        not statement.allows
        and statement.everywhere
        and all(statement.covers(action) for action in _PROMPTS)
        and any(condition.operator == "Null" and condition.key == _IDENTIFIER for condition in statement.conditions)
        for statement in statements(resource, graph, "identity")
    )


@resource_rule(
    "prompt-guarded",
    title="In prod nobody may send a prompt past the guardrail",
    types=(EVERY,),
    severity="high",
    why="A guardrail that the caller names himself is left out by the first who is in a hurry, or by whoever is held up by it.",
    remedy="A condition on bedrock:GuardrailIdentifier: guardrail of the endpoint in the stack's file.",
    controls={
        "soc2": ("CC6.1",),
        "iso-27001": ("A.5.15", "A.8.12"),
        "gdpr": ("25",),
        "eu-ai-act": ("15",),
        "nist-ai-rmf": ("MEASURE 2.7", "MEASURE 2.10"),
    },
)
def prompt_guarded(resource: Resource, graph: Graph) -> Found:
    """Of every statement that allows prompts. Embeddings answer nobody, and know no guardrail."""
    if not is_prod(graph):
        return
    for statement in prompting(resource, graph):
        if not statement.demands(_IDENTIFIER) and not _denied_without(resource, graph):
            yield f"statement {statement.label} lets prompts past every guardrail"


@resource_rule(
    "guardrail-versioned",
    title="A guardrail is used by a version, which never changes",
    types=(EVERY,),
    severity="medium",
    why="A draft is whatever somebody edits at the moment: what was tested is not what holds.",
    remedy="Guardrails.outputs: the id, a colon and the version.",
    controls={"soc2": ("CC8.1",), "iso-27001": ("A.8.9", "A.8.32"), "eu-ai-act": ("15",)},
)
def guardrail_versioned(resource: Resource, graph: Graph) -> Found:
    """Of guardrails, and of the conditions that name one."""
    if resource.type == GUARDRAIL and not graph.linked(resource.urn, VERSION, "guardrailArn"):
        yield "nothing publishes a version of it"
    for statement in statements(resource, graph, "identity"):
        for condition in statement.conditions:
            if condition.key == _IDENTIFIER and condition.operator != "Null":
                for value in condition.values:
                    if not _has_version(value):
                        yield f"statement {statement.label} names {value}, of which the draft holds"


def _has_version(identifier: str) -> bool:
    """Whether a guardrail is named with one of its versions: `…:guardrail/abc:3`, or the ARN, a colon and an output."""
    plain = REFERENCE.sub("known", identifier)
    version = plain.rpartition("guardrail/")[2].partition(":")[2] if "guardrail/" in plain else plain.partition(":")[2]
    return bool(version) and version not in {"DRAFT", "*"}


@resource_rule(
    "guardrail-strict",
    title="In prod a guardrail stops attacks by prompt and what does harm",
    types=(GUARDRAIL, TEMPLATE),
    severity="high",
    why="A guardrail that only masks names lets through the prompt that makes the model hand out everything else.",
    remedy="prompt_attack and harmful of the guardrail: low, medium or high; not off.",
    controls={
        "soc2": ("CC6.1",),
        "iso-27001": ("A.8.12",),
        "eu-ai-act": ("15",),
        "nist-ai-rmf": ("MEASURE 2.7",),
    },
)
def guardrail_strict(resource: Resource, graph: Graph) -> Found:
    """Filters of Bedrock with a strength, filters of Model Armor that are on and that block."""
    if not is_prod(graph):
        return
    if resource.type == GUARDRAIL:
        on = {
            str(each.get("type"))
            for each in maps(resource.get("contentPolicyConfig.filtersConfigs"))
            if str(each.get("inputStrength", "NONE")) != "NONE" and each.get("inputAction", "BLOCK") == "BLOCK"
        }
        if "PROMPT_ATTACK" not in on:
            yield "it does not look for attacks by prompt"
        if missing := _HARMFUL - on:
            yield f"it lets through {', '.join(sorted(missing))}"
        return
    found = mapping(resource.get("filterConfig"))
    if mapping(found.get("piAndJailbreakFilterSettings")).get("filterEnforcement") != "ENABLED":
        yield "it does not look for attacks by prompt"
    kinds = {str(each.get("filterType")) for each in maps(mapping(found.get("raiSettings")).get("raiFilters"))}
    if missing := _RAI - kinds:
        yield f"it lets through {', '.join(sorted(missing))}"
    if resource.get("templateMetadata.enforcementType", "INSPECT_AND_BLOCK") != "INSPECT_AND_BLOCK":
        yield "it tells of what it finds, and stops nothing"


@graph_rule(
    "guardrail-floor",
    title="In prod no model of the project is called with less than a floor of filters",
    severity="high",
    why="Nothing in IAM makes a caller of Vertex AI name a template; without a floor whoever names none is held by none.",
    remedy="Guardrails with floor=True.",
    controls={"soc2": ("CC6.1",), "eu-ai-act": ("15",), "nist-ai-rmf": ("MEASURE 2.7",)},
)
def guardrail_floor(graph: Graph) -> Found:
    """Where there are templates of Model Armor, one floor that is enforced and blocks calls of Vertex AI."""
    templates = graph.of_type(TEMPLATE)
    if not templates or not is_prod(graph):
        return
    floors = graph.of_type(FLOOR)
    if not floors:
        yield "there is no floor"
    for floor in floors:
        if floor.get("enableFloorSettingEnforcement") is not True:
            yield Violation("the floor is not enforced", floor)
        blocks = floor.get("aiPlatformFloorSetting.inspectAndBlock") is True
        if "AI_PLATFORM" not in (floor.get("integratedServices") or []) or not blocks:
            yield Violation("calls of Vertex AI are not held to the floor", floor)


@graph_rule(
    "prompt-logged",
    title="What models are asked, and what they answer, is written down",
    severity="high",
    why="Without the log nobody can say who talked a model into what, or whether it told what it should not have.",
    remedy="retrieval.prompt_zone and prompt_days: Prompts sets the account's log of invocations.",
    controls={
        "soc2": ("CC7.2", "CC7.3"),
        "iso-27001": ("A.8.15",),
        "eu-ai-act": ("12",),
        "nist-ai-rmf": ("MEASURE 2.4",),
    },
)
def prompt_logged(graph: Graph) -> Found:
    """Where Bedrock is used: by an address of a model, or by an identity that may send prompts. Advisory but in prod."""
    enforcement = None if is_prod(graph) else "advisory"
    users = graph.of_type(*_USES)
    if not users:
        users = [r for r in graph.of_type("aws:iam/") if any(True for _ in prompting(r, graph))][:1]
    found = graph.of_type(LOGGING)
    if users and not found:
        yield Violation("models of Bedrock are used, and nothing keeps their prompts", enforcement=enforcement)
    for logging in found:
        kept = mapping(logging.get("loggingConfig"))
        if kept.get("textDataDeliveryEnabled", True) is not True:
            yield Violation("text is left out of the log", logging)
        group, bucket = mapping(kept.get("cloudwatchConfig")), mapping(kept.get("s3Config"))
        linked = {graph.resources[urn].type for urn in logging.links("loggingConfig") if urn in graph.resources}
        ours = (group and LOG_GROUP in linked) or bool(graph.where(LOG_GROUP, "name", str(group.get("logGroupName"))))
        if not ours and not (bucket and is_own_bucket(logging, "loggingConfig", bucket.get("bucketName"), graph)):
            yield Violation("the log is kept in no group and no bucket of ours", logging)


_KEPT_BY_VERTEX = re.compile(r"bq://[^.\"]+\.([^.\"]+)\.")
_TABLES = re.compile(r"projects/.+/datasets/([^/]+)/tables/([^/]+)$")
# "BigQuery IAM roles and permissions": those with `bigquery.tables.getData`, and the basic ones, which every data set lets in.
_ROLES_THAT_READ = {
    "roles/bigquery.admin",
    "roles/bigquery.dataEditor",
    "roles/bigquery.dataOwner",
    "roles/bigquery.dataViewer",
    "roles/bigquery.studioAdmin",
    "roles/editor",
    "roles/owner",
    "roles/viewer",
}
_NAMED = ("group:", "user:", "serviceAccount:")


@graph_rule(
    "prompt-private",
    title="Prompts that are kept have a key of ours, an end, and readers who are named",
    severity="high",
    why="People tell a model what they tell nobody: whoever may read logs, or a bucket, is not thereby meant to read that.",
    remedy="retrieval.prompt_zone, prompt_days and prompt_readers: Prompts keeps them in one place.",
    controls={
        "soc2": ("CC6.1", "C1.2"),
        "iso-27001": ("A.5.15", "A.8.10", "A.8.12"),
        "gdpr": ("25", "32"),
        "eu-ai-act": ("12",),
    },
)
def prompt_private(graph: Graph) -> Found:
    """Where Bedrock logs, where Vertex AI is told to log, and where guards in a cluster write."""
    seen = set[str]()
    for source, place in _places(graph):
        if place.startswith("s3://"):
            bucket, _, path = place.removeprefix("s3://").partition("/")
            found, what = graph.where(BUCKET, "bucket", bucket), _bucket_lets
        elif place.startswith("bq://"):
            name, _, path = place.removeprefix("bq://").partition("/")
            found, what = graph.where(DATASET, "datasetId", name), _dataset_lets
        else:
            yield Violation(f"{place or 'no place'} is a log, and whoever may read logs reads it", source)
            continue
        for each in found:
            if f"{each.urn} {path}" not in seen:
                seen.add(f"{each.urn} {path}")
                yield from (Violation(message, each) for message in what(each, path, graph))


def _places(graph: Graph) -> Iterator[tuple[Resource, str]]:
    """What says where prompts are kept, and where: `s3://bucket/path`, `bq://dataset/table`, or the name of a log."""
    for logging in graph.of_type(LOGGING):
        kept = mapping(logging.get("loggingConfig"))
        bucket, group = mapping(kept.get("s3Config")), mapping(kept.get("cloudwatchConfig"))
        if bucket:
            name = resource_text(resolve(bucket.get("bucketName"), graph))
            yield logging, f"s3://{name}/{str(bucket.get('keyPrefix', '')).strip('/')}"
        if group:
            yield logging, str(group.get("logGroupName"))
    for workflow in graph.of_type(WORKFLOW):
        source = resource_text(workflow.get("sourceContents"))
        if "setPublisherModelConfig" in source:
            for name in sorted(set(_KEPT_BY_VERTEX.findall(source))):
                yield workflow, f"bq://{name}/"
    for servers in graph.of_type(SERVERS):
        for container in (each for pod in pods(servers) for each in pod.containers if "GUARDRAIL" in each.variables):
            log = container.variables.get("PROMPT_LOG")
            table = _TABLES.search(str(log))
            if not is_unknown(log):
                yield servers, f"bq://{table[1]}/{table[2]}" if table else str(log or "")


def _bucket_lets(bucket: Resource, path: str, graph: Graph) -> Iterator[str]:
    """What is wrong with the bucket, for what lies under a path of it."""
    encrypted = graph.linked(bucket.urn, BUCKET_KEYS, "bucket")
    by_default = [mapping(r.get("applyServerSideEncryptionByDefault")) for e in encrypted for r in maps(e.get("rules"))]
    if not any(each.get("kmsMasterKeyId") for each in by_default):
        yield f"what is under {path} has no key of ours"
    rules = [r for each in graph.linked(bucket.urn, LIFECYCLE, "bucket") for r in maps(each.get("rules"))]
    ends = [
        str(mapping(rule.get("filter")).get("prefix", ""))
        for rule in rules
        if rule.get("status") == "Enabled" and mapping(rule.get("expiration")).get("days")
    ]
    if not any(f"{path}/".startswith(prefix) for prefix in ends):
        yield f"what is under {path} stays for ever"
    policies = graph.linked(bucket.urn, BUCKET_POLICY, "bucket")
    said = [statement for policy in policies for statement in statements(policy, graph, "resource")]
    # Before a first deployment the text of a policy that names what is not there is not known either.
    if not any(is_unknown(policy.get("policy")) for policy in policies) and not any(
        _refuses_others(statement, path) for statement in said
    ):
        yield f"whoever may read the bucket reads what is under {path}"


def _refuses_others(statement: Statement, path: str) -> bool:
    """Whether a statement keeps everybody from objects under a path but roles that it names, and services that copy."""
    covered = [each.rpartition(":::")[2].partition("/")[2] for each in statement.resources]
    return (
        not statement.allows
        and statement.anyone
        and not statement.not_principals
        and statement.covers("s3:GetObject")
        and statement.covers("s3:GetObjectVersion")
        and any(each.endswith("*") and f"{path.rstrip('/')}/".startswith(each[:-1]) for each in covered)
        and all(_leaves_out_few(condition.key, condition.values) for condition in statement.conditions)
    )


def _leaves_out_few(key: str, values: tuple[str, ...]) -> bool:
    return key == "aws:principalisawsservice" or (key == "aws:principalarn" and not any("*" in v for v in values))


def _dataset_lets(dataset: Resource, path: str, graph: Graph) -> Iterator[str]:
    """What is wrong with the data set, and with a table in it."""
    tables = [table for table in graph.linked(dataset.urn, TABLE, "datasetId") if path in {"", table.get("tableId")}]
    if not dataset.get("defaultEncryptionConfiguration.kmsKeyName"):
        yield "it has no key of ours"
    if not dataset.get("defaultTableExpirationMs"):
        yield "what is in it stays for ever"
    for table in tables:
        if table.get("expirationTime") is None and not table.get("timePartitioning.expirationMs"):
            yield f"what is in the table {table.get('tableId')} stays for ever"
    for resource in graph.of_type("gcp:"):
        for grant in grants(resource):
            inside = dataset.urn in resource.links("datasetId")
            if inside and not grant.member.startswith(_NAMED) and not REFERENCE.match(grant.member):
                yield f"{grant.member} is let in, whoever that is"
            if grant.wide and grant.role in _ROLES_THAT_READ and not is_delivery_member(resource, graph):
                yield f"{grant.member} reads it by {grant.role} on the whole project"
