"""Prompts and answers: logged, encrypted, for as long as they may be kept, and read by few."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.contracts import Text
from components.core import iam
from components.core.cloudwatch import Alarm, Metric
from components.core.naming import Names
from components.scope import Component, Scope, after

PREFIX = "prompts"
"""Where in the zone; its age is bounded there by the life cycle of the bucket."""
_OF_BEDROCK = "AWSLogs"
"""What Bedrock puts under the prefix by itself."""
_OF_ENDPOINTS = "endpoints"
"""Where models of ours in the cluster have their folders, beside it."""
_READ = ("s3:GetObject", "s3:GetObjectVersion")
_ADD = ("s3:PutObject",)
_DELETE = ("s3:DeleteObject", "s3:DeleteObjectVersion")


@dataclass(frozen=True, kw_only=True)
class PromptsArgs:
    """Where they are logged, and who reads them."""

    bucket: contracts.Storage
    """The zone, whose bucket has the `statements` of this file in its policy."""
    key: contracts.Key
    """That of the zone. Bedrock may use it in its own name."""
    personas: contracts.Personas
    readers: Sequence[str]
    """Personas that may read them; those that have a role."""
    asked: bool = True
    """Whether models of Bedrock are asked; what answers in the cluster writes here without being told by this."""
    critical: Sequence[Text] = ()


class Prompts(Component):
    """Every prompt to a model of Bedrock and every answer, in the account and the region, in the zone of prompts.

    What models of ours in the cluster are asked lies in the same zone, a folder each (`folder`): whoever reads the one reads the
    other, for as long and with the same key. Their pods write it; see `Pod`.

    Bedrock has one such setting for an account and region, and an environment has an account of its own. What a request holds
    and what comes back is written as text and images; what is embedded is not, for the documents are there anyway. What is
    larger than 100 KB lies beside the log, under the same prefix. To S3 alone: there it is as old as `prompt_days` lets it be,
    has the zone's protections and readers of its own, and none of the personas that read logs in CloudWatch sees it.

    Owns the setting, the readers' policies, and the alarm when Bedrock could not write. Never owns the bucket: its policy lets
    Bedrock write and nobody else read (`statements`), which an identity's own policy cannot undo. Its copy in another region
    is granted to nobody. Costs what it takes in the zone; 0.10 USD a month for the alarm; 5 USD for a million
    objects of the cluster, of which a request makes two (S3 requests, us-east-1, 2026-09). A destroy ends the logging, and leaves
    what was logged to the zone.

    >>> args = PromptsArgs(bucket=bucket, key=key, personas=contracts.Personas(roles={}), readers=["auditor"])
    >>> place = Prompts("prompts", args, scope=scope, parent=parent).outputs.place
    """

    outputs: contracts.Prompts

    def __init__(self, name: str, args: PromptsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Let readers in, watch, and begin to log."""
        super().__init__(name, scope, parent)
        self._args = args
        made = self._readers()
        place = pulumi.Output.concat(args.bucket.uri, "/", PREFIX)
        setting = self._setting() if args.asked else None
        if setting:
            made += [setting, self._watch()]
        self.outputs = contracts.Prompts(
            id=after(setting.id if setting else place, *made),
            place=after(place, *made),
        )
        self.finish(self.outputs)

    def _setting(self) -> aws.bedrockmodel.InvocationLoggingConfiguration:
        return aws.bedrockmodel.InvocationLoggingConfiguration(
            f"{self.name}-setting",
            logging_config={
                # Bedrock tries to write when it is told: the bucket's name resolves once its policy lets it.
                "s3_config": {"bucket_name": self._args.bucket.name, "key_prefix": PREFIX},
                "text_data_delivery_enabled": True,
                "image_data_delivery_enabled": True,
                "video_data_delivery_enabled": True,
                "embedding_data_delivery_enabled": False,
            },
            opts=self.options(),
        )

    def _readers(self) -> list[pulumi.Resource]:
        args, scope = self._args, self.scope
        arn = args.bucket.resource
        found: list[iam.Statement] = [
            iam.allow(_READ, [pulumi.Output.concat(arn, f"/{PREFIX}/*")], sid="ReadPrompts"),
            iam.allow(["s3:ListBucket"], [arn], sid="FindThem", when={"StringLike": {"s3:prefix": [f"{PREFIX}/*"]}}),
            iam.allow(["kms:Decrypt"], [args.key.id], sid="Decrypt", when=iam.via(scope.region, "s3")),
        ]
        return [
            aws.iam.RolePolicy(
                f"{self.name}-{persona}",
                name=scope.names.of(self.name, "iam_policy"),
                role=role.apply(lambda role_arn: role_arn.rpartition("/")[2]),
                policy=pulumi.Output.json_dumps(iam.document(*found)),
                opts=self.options(),
            )
            for persona, role in args.personas.roles.items()
            if persona in args.readers
        ]

    def _watch(self) -> Alarms:
        # "Logging CloudWatch metrics": across all models, so without a dimension.
        lost = Metric(namespace="AWS/Bedrock", name="ModelInvocationLogsS3DeliveryFailure", statistic="Sum")
        large = Metric(namespace="AWS/Bedrock", name="ModelInvocationLargeDataS3DeliveryFailure", statistic="Sum")
        alarm = Alarm(
            name=f"{self.name}-lost",
            meaning="Prompts and answers were not logged: Bedrock could not write them to the zone of prompts.",
            first="The policy of its bucket and of its key, as CloudTrail last saw them change. What was not written is lost.",
            severity="critical",
            metrics={"lost": lost, "large": large},
            expression="SUM([lost, large])",
            comparison=">",
            threshold=0,
            period=300,
            periods=1,
        )
        return Alarms(
            f"{self.name}-alarm",
            AlarmsArgs(alarms=[alarm], critical=list(self._args.critical), warning=[]),
            scope=self.scope,
            parent=self,
        )


def folder(endpoint: str) -> str:
    """Where in the zone lies what a model of ours in the cluster is asked and answers.

    >>> folder("chat")
    'prompts/endpoints/chat/'
    """
    return f"{PREFIX}/{_OF_ENDPOINTS}/{endpoint}/"


def statements(
    bucket: str,
    account: str,
    region: str,
    names: Names,
    readers: Sequence[str],
    *,
    asked: bool = True,
    endpoints: Sequence[str] = (),
) -> list[iam.Statement]:
    """What the policy of the zone's bucket says for it: who is asked writes, `readers` read, and nobody else does either.

    Bedrock writes where its models are `asked`, and the pods of these `endpoints`, each with its own role's consent besides. By
    name and as text: the bucket is there before any role is. Nothing is deleted but by age. A service that copies or expires
    is none that reads: S3's copy to another region needs other actions.

    >>> found = statements("acme-ai-dev-logs", "111111111111", "us-west-2", Names("acme-ai", "dev"), ["auditor"])
    >>> [statement["Sid"] for statement in found]
    ['PromptsByBedrock', 'PromptsForReaders', 'PromptsUnchanged', 'PromptsByPods', 'PromptsOnce', 'PromptsStay']
    """
    arn = f"arn:aws:s3:::{bucket}"
    people: iam.Condition = {"BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}

    def but(*roles: str) -> iam.Condition:
        arns = [f"arn:aws:iam::{account}:role/{names.of(role, 'iam_role')}" for role in roles]
        return iam.both(people, {"ArnNotLike": {"aws:PrincipalArn": arns}} if arns else {})

    pods = [f"{endpoint}-pods" for endpoint in endpoints]
    by_bedrock = [
        iam.allow(
            ["s3:PutObject"],
            [f"{arn}/{PREFIX}/{_OF_BEDROCK}/{account}/BedrockModelInvocationLogs/*"],
            sid="PromptsByBedrock",
            principals={"Service": "bedrock.amazonaws.com"},
            when=iam.source(account, f"arn:aws:bedrock:{region}:{account}:*"),
        )
    ]
    below = f"{arn}/{PREFIX}"
    return [
        *(by_bedrock if asked else []),
        iam.deny(_READ, [f"{below}/*"], sid="PromptsForReaders", principals="*", when=but(*readers)),
        iam.deny(_ADD, [f"{below}/{_OF_BEDROCK}/*"], sid="PromptsUnchanged", principals="*", when=people),
        iam.deny(_ADD, [f"{below}/{_OF_ENDPOINTS}/*"], sid="PromptsByPods", principals="*", when=but(*pods)),
        # "Enforce conditional writes on Amazon S3 buckets": what is there is not written over, not by its own writer either.
        iam.deny(
            _ADD,
            [f"{below}/{_OF_ENDPOINTS}/*"],
            sid="PromptsOnce",
            principals="*",
            when=iam.both(people, {"Null": {"s3:if-none-match": "true"}}),
        ),
        iam.deny(_DELETE, [f"{below}/*"], sid="PromptsStay", principals="*", when=people),
    ]
