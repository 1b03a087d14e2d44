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
_READ = ("s3:GetObject", "s3:GetObjectVersion")
_CHANGE = ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObject")


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
    critical: Sequence[Text] = ()


class Prompts(Component):
    """Every prompt to a model of Bedrock and every answer, in the account and the region, in the zone of prompts.

    Bedrock has one such setting for an account and region, and an environment has an account of its own. What a request holds
    and what comes back is written as text and images; what is embedded is not, for the documents are there anyway. What is
    larger than 100 KB lies beside the log, under the same prefix. To S3 alone: there it is as old as `prompt_days` lets it be,
    has the zone's protections and readers of its own, and none of the personas that read logs in CloudWatch sees it.

    Owns the setting, the readers' policies, and the alarm when Bedrock could not write. Never owns the bucket: its policy lets
    Bedrock write and nobody else read (`statements`), which an identity's own policy cannot undo. Its copy in another region
    is granted to nobody. Costs what it takes in the zone; 0.10 USD a month for the alarm. A destroy ends the logging, and
    leaves what was logged to the zone.

    >>> args = PromptsArgs(bucket=bucket, key=key, personas=contracts.Personas(roles={}), readers=["auditor"])
    >>> place = Prompts("prompts", args, scope=scope, parent=parent).outputs.place
    """

    outputs: contracts.Prompts

    def __init__(self, name: str, args: PromptsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Let readers in, watch, and begin to log."""
        super().__init__(name, scope, parent)
        self._args = args
        made: list[pulumi.Resource] = [*self._readers(), self._watch()]
        # Bedrock tries to write when it is told: the bucket's name resolves once its policy lets it.
        setting = aws.bedrockmodel.InvocationLoggingConfiguration(
            f"{name}-setting",
            logging_config={
                "s3_config": {"bucket_name": args.bucket.name, "key_prefix": PREFIX},
                "text_data_delivery_enabled": True,
                "image_data_delivery_enabled": True,
                "video_data_delivery_enabled": True,
                "embedding_data_delivery_enabled": False,
            },
            opts=self.options(),
        )
        self.outputs = contracts.Prompts(
            id=after(setting.id, *made),
            place=after(pulumi.Output.concat(args.bucket.uri, "/", PREFIX), setting, *made),
        )
        self.finish(self.outputs)

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


def statements(bucket: str, account: str, region: str, names: Names, readers: Sequence[str]) -> list[iam.Statement]:
    """What the policy of the zone's bucket says for it: Bedrock writes, `readers` read, and nobody else does either.

    By name and as text: the bucket is there before any role is. A service that copies or expires is none that reads: S3's copy
    to another region needs other actions.

    >>> found = statements("acme-ai-dev-logs", "111111111111", "us-west-2", Names("acme-ai", "dev"), ["auditor"])
    >>> [statement["Sid"] for statement in found]
    ['PromptsByBedrock', 'PromptsForReaders', 'PromptsUnchanged']
    """
    arn = f"arn:aws:s3:::{bucket}"
    roles = [f"arn:aws:iam::{account}:role/{names.of(reader, 'iam_role')}" for reader in readers]
    people: iam.Condition = {"BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}
    others = iam.both(people, {"ArnNotLike": {"aws:PrincipalArn": roles}} if roles else {})
    return [
        iam.allow(
            ["s3:PutObject"],
            [f"{arn}/{PREFIX}/{_OF_BEDROCK}/{account}/BedrockModelInvocationLogs/*"],
            sid="PromptsByBedrock",
            principals={"Service": "bedrock.amazonaws.com"},
            when=iam.source(account, f"arn:aws:bedrock:{region}:{account}:*"),
        ),
        iam.deny(_READ, [f"{arn}/{PREFIX}/*"], sid="PromptsForReaders", principals="*", when=others),
        iam.deny(_CHANGE, [f"{arn}/{PREFIX}/{_OF_BEDROCK}/*"], sid="PromptsUnchanged", principals="*", when=people),
    ]
