"""The database of the corpora that want one: their tables, and who reads and writes each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.lambda_function import LambdaFunction, LambdaFunctionArgs
from components.contracts import Text
from components.core import iam, postgres, retrieval
from components.scope import Component, Scope, after
from components.spec.retrieval import Corpus

FUNCTION = "corpora-tables"
"""What makes tables and users; the deployment calls it."""
_NAME, _OWNER = "corpora", "keeper"
_FAMILY = f"aurora-postgresql{postgres.VERSION}"
# The fewest where it never pauses, and the most. An ACU is 2 GiB of memory with the CPU that comes with them, so 8 are 2 vCPUs;
# in steps of a half, up to 256 ("Aurora Serverless v2 capacity").
_ACUS: Mapping[str, tuple[float, float]] = {"small": (1, 8), "medium": (2, 16), "large": (4, 32)}
_PAUSE_SECONDS = 1800
_ROTATION_DAYS = 30
_TIMEOUT_SECONDS = 120
# One after the other is fast enough; more, so that a slow call holds nobody up.
_AT_ONCE = 5


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """Which corpora are in it, how large it is, and what it stands on."""

    corpora: Mapping[str, Corpus]
    """Those that want a database."""
    size: Literal["small", "medium", "large"]
    network: contracts.Network
    key: contracts.Key
    """Key of the zone of the documents: passages stand in the tables as they are."""
    secrets_key: contracts.Key
    compute_key: contracts.Key
    logs_key: contracts.Key
    boundary: contracts.Boundary
    organization: str | None = None
    recovery_days: int
    """Days in which a deleted secret can be had back; 0 where it may go at once."""
    warning: Sequence[Text] = ()
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """Tags of what belongs to one corpus alone."""


class Database(Component):
    """Aurora PostgreSQL with pgvector for knowledge bases: for each corpus a schema, a table and two users that take turns.

    Nobody connects to it: it lies in the subnets for data, its security group has no rule, and Bedrock and our function ask it
    through the Data API, which signs in over TLS as a secret says. No password is in the program or its state: RDS makes that
    of the owner, our function those of the users. It makes the tables as well, since nothing that is declared does; another
    embedding makes a table anew, and a corpus that goes takes its table and its users with it. The users of one corpus can
    neither read nor write the table of another.

    Outside of prod it pauses after half an hour in which nobody asks; the next question is answered with 503, and some 15
    seconds later there is an answer. In prod it never pauses, and a second instance takes over where one fails.

    What it holds, the documents hold as well. It is protected all the same where the tier protects data: to embed all corpora
    anew takes hours in which nobody finds anything. Backups are kept by tier; a last snapshot is not made.

    Owns the cluster with its instances, parameters, subnets, security group and log, the function with its role, the secrets of
    the corpora with their policies and rotation, and the alarms. Never owns documents, knowledge bases, or who may ask.

    Costs (us-east-1, 2026): 0.12 USD an ACU-hour, which for `small` in prod is 175 a month at rest and 1,402 at its most, and
    elsewhere nothing and 701; 0.10 a GB-month of passages, 0.20 a million of reads and writes; a secret 0.40 a month and corpus.
    A destroy takes it all; in a tier that protects data it is refused. What replaces it: its name, its key, its subnets.

    >>> policies = Corpus.model_validate({"team": "risk", "readers": ["risk"], "store": "database"})
    >>> args = DatabaseArgs(
    ...     corpora={"policies": policies}, size="small", network=network, key=key, secrets_key=key, compute_key=key,
    ...     logs_key=key, boundary=boundary, recovery_days=7,
    ... )
    >>> Database("corpora-database", args, scope=scope, parent=parent).outputs.tables["policies"].name
    'corpus_policies.passages'
    """

    outputs: contracts.Tables

    def __init__(self, name: str, args: DatabaseArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the cluster, and in it what each corpus needs."""
        super().__init__(name, scope, parent)
        self._args = args
        self._physical = scope.names.of("corpora", "data_api_cluster")
        cluster, instances = self._cluster()
        kept = {corpus: self._secret(corpus) for corpus in args.corpora}
        function = self._function(cluster, [secret.arn for secret, _ in kept.values()])
        called = aws.lambda_.Permission(
            f"{name}-rotates",
            function=function.name,
            action="lambda:InvokeFunction",
            principal="secretsmanager.amazonaws.com",
            source_account=scope.account,
            opts=self.options(),
        )
        Alarms(
            f"{name}-alarm",
            AlarmsArgs(
                alarms=retrieval.aws_database(self._physical, scope.names.of(FUNCTION, "function")),
                critical=args.warning,
                warning=args.warning,
            ),
            scope=scope,
            parent=self,
        )
        self.outputs = contracts.Tables(
            tables={
                corpus: contracts.Table(
                    cluster=after(
                        cluster.arn, *self._table(corpus, spec, kept[corpus], function, [*instances, called])
                    ),
                    database=_NAME,
                    name=table(corpus),
                    secret=kept[corpus][0].arn,
                )
                for corpus, spec in args.corpora.items()
            }
        )
        self.finish(self.outputs)

    # -- the cluster

    def _cluster(self) -> tuple[aws.rds.Cluster, list[aws.rds.ClusterInstance]]:
        args, scope, keeps = self._args, self.scope, not self.scope.deletable
        least, most = _ACUS[args.size]
        capacity: aws.rds.ClusterServerlessv2ScalingConfigurationArgsDict = {
            "min_capacity": least,
            "max_capacity": most,
        }
        if scope.tier != "prod":
            capacity = {"min_capacity": 0, "max_capacity": most, "seconds_until_auto_pause": _PAUSE_SECONDS}
        # Nobody in, and nothing out.
        group = aws.ec2.SecurityGroup(
            f"{self.name}-network",
            name=scope.names.of("corpora-database"),
            description="Database of corpora: nobody in, nothing out",
            vpc_id=args.network.id,
            tags={"Name": scope.names.of("corpora-database")},
            opts=self.options(),
        )
        subnets = aws.rds.SubnetGroup(
            f"{self.name}-subnets",
            name=self._physical,
            description="Subnets for data",
            subnet_ids=list(args.network.data_subnets),
            opts=self.options(),
        )
        parameters = aws.rds.ClusterParameterGroup(
            f"{self.name}-parameters",
            name=self._physical,
            description="Nothing without TLS, and who was there",
            family=_FAMILY,
            parameters=[{"name": name, "value": value} for name, value in postgres.PARAMETERS.items()],
            opts=self.options(),
        )
        log = aws.cloudwatch.LogGroup(
            f"{self.name}-log",
            name=f"/aws/rds/cluster/{self._physical}/postgresql",
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            opts=self.options(),
        )
        cluster = aws.rds.Cluster(
            f"{self.name}-cluster",
            cluster_identifier=self._physical,
            engine=aws.rds.EngineType.AURORA_POSTGRESQL,
            engine_mode="provisioned",
            engine_version=postgres.VERSION,
            allow_major_version_upgrade=False,
            serverlessv2_scaling_configuration=capacity,
            database_name=_NAME,
            port=postgres.PORT,
            master_username=_OWNER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=args.secrets_key.id,
            enable_http_endpoint=True,
            iam_database_authentication_enabled=True,
            storage_encrypted=True,
            kms_key_id=args.key.id,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            db_cluster_parameter_group_name=parameters.name,
            enabled_cloudwatch_logs_exports=["postgresql"],
            backup_retention_period=postgres.BACKUP_DAYS[scope.protection],
            preferred_backup_window="01:00-02:00",
            preferred_maintenance_window="sun:03:00-sun:04:00",
            copy_tags_to_snapshot=True,
            delete_automated_backups=not keeps,
            deletion_protection=keeps,
            skip_final_snapshot=True,
            tags={"Name": self._physical},
            opts=self.options(holds_data=True, depends_on=[log]),
        )
        instances = [
            aws.rds.ClusterInstance(
                f"{self.name}-instance-{number}",
                identifier=scope.names.of(f"corpora-{number}", "database"),
                cluster_identifier=cluster.id,
                engine=aws.rds.EngineType.AURORA_POSTGRESQL,
                engine_version=cluster.engine_version,
                instance_class="db.serverless",
                publicly_accessible=False,
                # What takes over scales along with what it takes over from (tiers 0 and 1).
                promotion_tier=1,
                db_subnet_group_name=subnets.name,
                auto_minor_version_upgrade=True,
                copy_tags_to_snapshot=True,
                opts=self.options(),
            )
            for number in range(2 if scope.tier == "prod" else 1)
        ]
        return cluster, instances

    # -- what a corpus has in it

    def _secret(self, corpus: str) -> tuple[aws.secretsmanager.Secret, pulumi.Resource]:
        """The secret of a corpus, which the function fills, and its policy."""
        args, scope, label = self._args, self.scope, f"{self.name}-{corpus}"
        made = aws.secretsmanager.Secret(
            f"{label}-secret",
            name=self._called(corpus),
            description=f"Who the knowledge base of {corpus} is in its database.",
            kms_key_id=args.secrets_key.id,
            recovery_window_in_days=args.recovery_days,
            tags=dict(args.tags.get(corpus, {})),
            opts=self.options(holds_data=True),
        )
        policy = aws.secretsmanager.SecretPolicy(
            f"{label}-secret-policy",
            secret_arn=made.arn,
            policy=pulumi.Output.json_dumps(
                iam.document(
                    iam.deny(
                        ["secretsmanager:*"],
                        ["*"],
                        sid="OnlyInsiders",
                        principals="*",
                        when=iam.outsiders(scope.account, args.organization),
                    )
                )
            ),
            block_public_policy=True,
            opts=self.options(),
        )
        return made, policy

    def _called(self, corpus: str) -> str:
        return self.scope.names.of(f"corpus-{corpus}", "data_api_secret")

    def _function(self, cluster: aws.rds.Cluster, kept: Sequence[Text]) -> contracts.LambdaFunction:
        args, region = self._args, self.scope.region
        owner = cluster.master_user_secrets.apply(_arn)
        return LambdaFunction(
            FUNCTION,
            LambdaFunctionArgs(
                description="Makes the tables and users of corpora, and rotates their passwords.",
                module="corpora_database",
                seconds=_TIMEOUT_SECONDS,
                most=_AT_ONCE,
                environment={
                    "CLUSTER": cluster.arn,
                    "DATABASE": _NAME,
                    "MASTER": owner,
                    "SECRETS": json.dumps({corpus: self._called(corpus) for corpus in sorted(args.corpora)}),
                },
                statements=[
                    iam.allow(
                        [
                            "rds-data:BeginTransaction",
                            "rds-data:CommitTransaction",
                            "rds-data:ExecuteStatement",
                            "rds-data:RollbackTransaction",
                        ],
                        [cluster.arn],
                    ),
                    iam.allow(["secretsmanager:GetSecretValue"], [owner]),
                    iam.allow(
                        [
                            "secretsmanager:DescribeSecret",
                            "secretsmanager:GetSecretValue",
                            "secretsmanager:PutSecretValue",
                            "secretsmanager:UpdateSecretVersionStage",
                        ],
                        kept,
                    ),
                    iam.allow(
                        ["kms:Decrypt", "kms:GenerateDataKey"],
                        [args.secrets_key.id],
                        when=iam.via(region, "secretsmanager"),
                    ),
                    # Its own environment.
                    iam.allow(["kms:Decrypt"], [args.compute_key.id], when=iam.via(region, "lambda")),
                ],
                network=args.network,
                key=args.compute_key,
                logs_key=args.logs_key,
                boundary=args.boundary,
            ),
            scope=self.scope,
            parent=self,
        ).outputs

    def _table(
        self,
        corpus: str,
        spec: Corpus,
        kept: tuple[aws.secretsmanager.Secret, pulumi.Resource],
        function: contracts.LambdaFunction,
        before: Sequence[pulumi.Resource],
    ) -> list[pulumi.Resource]:
        """The table of a corpus with its users, and what gives them new passwords."""
        secret, policy = kept
        made = aws.lambda_.Invocation(
            f"{self.name}-{corpus}-table",
            function_name=function.name,
            # Also called when this changes, and when the corpus goes.
            input=json.dumps(
                {
                    "corpus": corpus,
                    "dimensions": retrieval.dimensions(spec.embedding, "aws"),
                    "embedding": spec.embedding.aws,
                }
            ),
            lifecycle_scope="CRUD",
            # What is taken away after another was made would be that one.
            opts=self.options(depends_on=[*before, secret, policy], delete_before_replace=True),
        )
        rotation = aws.secretsmanager.SecretRotation(
            f"{self.name}-{corpus}-rotation",
            secret_id=secret.id,
            rotation_lambda_arn=function.arn,
            rotation_rules={"automatically_after_days": _ROTATION_DAYS},
            # Shows that it works. The first password is there by then, and stays valid.
            rotate_immediately=True,
            opts=self.options(depends_on=[made]),
        )
        return [made, rotation]


def table(corpus: str) -> str:
    """The table of a corpus with its schema, as runtime/aws/corpora_database.py makes it.

    >>> table("claims-2026")
    'corpus_claims_2026.passages'
    """
    return f"corpus_{corpus.replace('-', '_')}.passages"


def _arn(secrets: Sequence[Any]) -> str:
    """ARN of the only secret of a cluster; what stands in its place where outputs are made up."""
    return str(getattr(secrets[0], "secret_arn", secrets[0]))
