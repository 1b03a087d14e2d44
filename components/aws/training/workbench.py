"""Managed notebooks: SageMaker Studio."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.security_group import SecurityGroup, SecurityGroupArgs
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text
from components.core import iam
from components.core.sagemaker import instance
from components.scope import Component, Scope, after

# Hours that a job may run that somebody starts from a notebook; what takes longer goes to a queue or a pipeline.
_LONGEST_JOB_HOURS = 24
# What Studio offers beside notebooks (StudioWebPortalSettings, HiddenAppTypes and HiddenMlTools), hidden because no role here may
# use it.
_HIDDEN_APPS = (
    "Canvas", "DetailedProfiler", "JupyterServer", "KernelGateway", "RSessionGateway", "RStudioServerPro", "TensorBoard",
)  # fmt: skip
_HIDDEN_TOOLS = (
    "AutoMl", "Comet", "DataWrangler", "DeepchecksLLMEvaluation", "EmrClusters", "Endpoints", "Fiddler", "HyperPodClusters",
    "InferenceOptimization", "InferenceRecommender", "JumpStart", "LakeraGuard", "Projects",
)  # fmt: skip
_LOOK = (
    "sagemaker:DescribeApp", "sagemaker:DescribeDomain", "sagemaker:DescribePipeline", "sagemaker:DescribePipelineExecution",
    "sagemaker:DescribeProcessingJob", "sagemaker:DescribeSpace", "sagemaker:DescribeTrainingJob",
    "sagemaker:DescribeUserProfile", "sagemaker:ListApps", "sagemaker:ListDomains", "sagemaker:ListMlflowApps",
    "sagemaker:ListPipelineExecutionSteps", "sagemaker:ListPipelineExecutions", "sagemaker:ListPipelines",
    "sagemaker:ListProcessingJobs", "sagemaker:ListSpaces", "sagemaker:ListTrainingJobs", "sagemaker:ListUserProfiles",
)  # fmt: skip
_FIND = (
    "sagemaker:DescribeDomain", "sagemaker:DescribeUserProfile", "sagemaker:ListDomains", "sagemaker:ListUserProfiles",
)  # fmt: skip
_JOBS = ("sagemaker:CreateProcessingJob", "sagemaker:CreateTrainingJob")
_RUN_PIPELINES = (
    "sagemaker:RetryPipelineExecution", "sagemaker:StartPipelineExecution", "sagemaker:StopPipelineExecution",
)  # fmt: skip
_READ = ("s3:GetBucketLocation", "s3:GetObject", "s3:GetObjectTagging", "s3:ListBucket")
# Not s3:DeleteObjectVersion: what is deleted can be had back for as long as old versions are kept.
_WRITE = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:ListMultipartUploadParts", "s3:PutObject")
# A managed policy holds 6,144 characters and a role ten policies ("IAM and STS quotas"). A zone takes at most 160 characters, the
# notebook of a user 300.
_PER_POLICY = 30
USERS_A_POLICY = 18
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_SEE_NETWORK = (
    "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)  # fmt: skip
_INTERFACES = (
    "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class User:
    """A person with a notebook."""

    persona: str
    email: str
    """Name in IAM Identity Center, where users sign in by it."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A storage zone, and which personas may use it."""

    bucket: contracts.Storage
    key: contracts.Key
    readers: Sequence[str] = ()
    writers: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class WorkbenchArgs:
    """Who has a notebook, what it may be, and what it reaches."""

    users: Mapping[str, User]
    sign_in: Literal["iam", "sso"]
    personas: Mapping[str, Text]
    """Persona to the ARN of the role of its people, who open their notebooks by it where `sign_in` is `iam`."""
    idle_hours: int
    machines: Sequence[str]
    """Machine types that notebooks and their jobs may have, the default first."""
    disk_gib: int
    max_disk_gib: int
    zones: Sequence[Zone]
    network: contracts.Network
    key: contracts.Key
    """Of disks."""
    logs_key: contracts.Key
    record: Sequence[iam.Statement] = ()
    """What an identity needs to record experiments."""
    boundary: contracts.Boundary


class Workbench(Component):
    """A domain of SageMaker Studio that reaches the network and nothing else, with one private notebook for each user.

    A notebook is a space with a disk of its own. It is switched off after `idle_hours`, and its user can set less but never
    more. Nobody makes a second space, shares one, takes a larger machine or disk, or starts a job outside of the network: the
    role says no, whoever asks. The role is that of the user's persona, so a notebook reads the zones that its user reads.

    Owns the domain, profiles and spaces, the role of each persona's notebooks, the security group, the log group, and the
    right of people to open their notebooks. With `sign_in: iam` that right goes by the name of the session that they assume
    their role by, and who can assume it can choose the name; what they do is recorded under their own name all the same. With
    `sign_in: sso` IAM Identity Center says who somebody is. Never owns a bucket, a pipeline or the registry.

    Costs a notebook's disk for as long as it is there, and its machine while it is on (ml.m5.xlarge 0.23 USD an hour, us-east-1,
    2026-09). A destroy needs every notebook to be off, and takes the disks along in a tier that deletes; elsewhere it is
    refused. SageMaker leaves two security groups behind, `security-group-for-inbound-nfs-…` and `…-outbound-nfs-…`, which refer
    to one another and hold the network: take their rules away, then delete them, before the network goes.

    >>> args = WorkbenchArgs(
    ...     users={"ana": User(persona="data-scientist", email="ana@example.com")}, sign_in="sso", personas={}, idle_hours=2,
    ...     machines=["t3.medium"], disk_gib=50, max_disk_gib=200, zones=[Zone(bucket=bucket, key=key)], network=network,
    ...     key=key, logs_key=key, boundary=boundary,
    ... )
    >>> domain = Workbench("workbench", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.Workbench

    def __init__(self, name: str, args: WorkbenchArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the domain and a notebook for each user."""
        super().__init__(name, scope, parent)
        self._args = args
        group = aws.cloudwatch.LogGroup(
            f"{name}-log",
            # The one name that Studio writes to; made here, for Studio would make it unencrypted and for ever.
            name="/aws/sagemaker/studio",
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            opts=self.options(),
        )
        self._security = self._security_group()
        # One for each persona that there is, so that a first user brings no new role to wait for.
        roles = {persona: self._role(persona) for persona in ("data-scientist", "ml-engineer")}
        domain = self._domain(roles["data-scientist"], [group])
        profiles = {user: self._profile(user, spec, domain, roles) for user, spec in args.users.items()}
        spaces = [self._space(user, domain, profile) for user, profile in profiles.items()]
        grants = self._doors(profiles) if args.sign_in == "iam" else []
        self.outputs = contracts.Workbench(id=after(domain.id, *profiles.values(), *spaces, *grants))
        self.finish(self.outputs)

    def _security_group(self) -> Text:
        # "Connect Amazon SageMaker Studio in a VPC to External Resources": within the group, ports 8192 to 65535. The file system
        # that every domain has brings security groups of its own.
        args = SecurityGroupArgs(
            label=self.name,
            description="Notebooks: HTTPS out, one another, nothing else",
            network=self._args.network,
            inside=("tcp", 8192, 65535),
        )
        return SecurityGroup(f"{self.name}-network", args, scope=self.scope, parent=self).outputs.id

    def _domain(self, role: Text, before: Sequence[pulumi.Resource]) -> aws.sagemaker.Domain:
        args, scope = self._args, self.scope
        minutes = args.idle_hours * 60
        app: Any = {
            "app_lifecycle_management": {
                "idle_settings": {
                    "lifecycle_management": "ENABLED",
                    "idle_timeout_in_minutes": minutes,
                    # An hour is the least that there is ("IdleSettings").
                    "min_idle_timeout_in_minutes": 60,
                    "max_idle_timeout_in_minutes": minutes,
                }
            },
            "default_resource_spec": {"instance_type": instance(args.machines[0])},
        }
        off: Any = {"status": "DISABLED"}
        settings: aws.sagemaker.DomainDefaultUserSettingsArgsDict = {
            "execution_role": role,
            "security_groups": [self._security],
            # Notebooks have disks; what lies in the domain's file system belongs to nobody in particular.
            "auto_mount_home_efs": "Disabled",
            "default_landing_uri": "studio::",
            "studio_web_portal": "ENABLED",
            "jupyter_lab_app_settings": app,
            "code_editor_app_settings": app,
            "canvas_app_settings": {
                "direct_deploy_settings": off,
                "kendra_settings": off,
                "model_register_settings": off,
                "time_series_forecasting_settings": off,
            },
            "sharing_settings": {"notebook_output_option": "Disabled"},
            "space_storage_settings": {
                "default_ebs_storage_settings": {
                    "default_ebs_volume_size_in_gb": args.disk_gib,
                    "maximum_ebs_volume_size_in_gb": args.max_disk_gib,
                }
            },
            "studio_web_portal_settings": {
                "hidden_app_types": list(_HIDDEN_APPS),
                "hidden_ml_tools": list(_HIDDEN_TOOLS),
            },
        }
        return aws.sagemaker.Domain(
            f"{self.name}-domain",
            domain_name=scope.names.of(self.name, "studio"),
            auth_mode=args.sign_in.upper(),
            vpc_id=args.network.id,
            subnet_ids=list(args.network.workload_subnets),
            app_network_access_type="VpcOnly",
            kms_key_id=args.key.id,
            tag_propagation="ENABLED",
            # No default_space_settings: without them nobody can make a shared space.
            default_user_settings=settings,
            domain_settings={"docker_settings": {"enable_docker_access": "DISABLED"}},
            # By default the file system stays when the domain goes, and holds the network.
            retention_policy={"home_efs_file_system": "Delete" if scope.deletable else "Retain"},
            opts=self.options(holds_data=True, depends_on=before),
        )

    def _profile(
        self, user: str, spec: User, domain: aws.sagemaker.Domain, roles: Mapping[str, Text]
    ) -> aws.sagemaker.UserProfile:
        sso = self._args.sign_in == "sso"
        return aws.sagemaker.UserProfile(
            f"{self.name}-{user}",
            domain_id=domain.id,
            user_profile_name=user,
            single_sign_on_user_identifier="UserName" if sso else None,
            single_sign_on_user_value=spec.email if sso else None,
            user_settings={"execution_role": roles[spec.persona], "security_groups": [self._security]},
            tags=dict(spec.tags),
            opts=self.options(),
        )

    def _space(
        self, user: str, domain: aws.sagemaker.Domain, profile: aws.sagemaker.UserProfile
    ) -> aws.sagemaker.Space:
        args = self._args
        return aws.sagemaker.Space(
            f"{self.name}-{user}-space",
            domain_id=domain.id,
            space_name=user,
            ownership_settings={"owner_user_profile_name": profile.user_profile_name},
            space_sharing_settings={"sharing_type": "Private"},
            space_settings={
                "app_type": "JupyterLab",
                "jupyter_lab_app_settings": {"default_resource_spec": {"instance_type": instance(args.machines[0])}},
                "space_storage_settings": {"ebs_storage_settings": {"ebs_volume_size_in_gb": args.disk_gib}},
            },
            tags=dict(args.users[user].tags),
            # Its user chooses another machine, a larger disk or a shorter time, all within the domain's bounds.
            opts=self.options(holds_data=True, ignore_changes=["spaceSettings"]),
        )

    def _role(self, persona: str) -> Text:
        """The role of a persona's notebooks; resolves once it has all of its policies."""
        args, scope, label = self._args, self.scope, f"notebook-{persona}"
        role = Workload(
            label,
            WorkloadArgs(
                description=f"Notebooks of {persona}.",
                service="sagemaker.amazonaws.com",
                statements=[*self._studio(), *self._jobs(label), *self._rest(persona)],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        attached: list[pulumi.Resource] = []
        zones = [zone for zone in args.zones if persona in (*zone.readers, *zone.writers)]
        for i in range(0, len(zones), _PER_POLICY):
            part = f"{label}-storage-{i // _PER_POLICY}"
            policy = aws.iam.Policy(
                f"{self.name}-{part}",
                name=scope.names.of(part, "iam_policy"),
                description=f"Data of notebooks of {persona}.",
                policy=pulumi.Output.json_dumps(
                    iam.document(*storage(persona, zones[i : i + _PER_POLICY], scope.region))
                ),
                opts=self.options(),
            )
            attached.append(self._attach(part, _named(role, scope.names.of(label, "iam_role")), policy))
        return after(role, *attached)

    def _at(self, resource: str) -> str:
        return f"arn:aws:sagemaker:{self.scope.region}:{self.scope.account}:{resource}"

    def _studio(self) -> Iterator[iam.Statement]:
        """Look around, and use one's own space ("Give your users access to spaces"). Nobody makes one."""
        profile = "${sagemaker:DomainId}/${sagemaker:UserProfileName}"
        mine: iam.Condition = {
            "ArnLike": {"sagemaker:OwnerUserProfileArn": self._at(f"user-profile/{profile}")},
            "StringEquals": {"sagemaker:SpaceSharingType": ["Private"]},
        }
        yield iam.allow(_LOOK, ["*"])
        yield iam.allow(["sagemaker:CreatePresignedDomainUrl"], [self._at(f"user-profile/{profile}")])
        yield iam.allow(
            ["sagemaker:CreateApp", "sagemaker:DeleteApp"], [self._at("app/${sagemaker:DomainId}/*")], when=mine
        )
        yield iam.allow(["sagemaker:UpdateSpace"], [self._at("space/${sagemaker:DomainId}/*")], when=mine)
        # Studio tags what it makes, and is refused all of it otherwise.
        yield iam.allow(["sagemaker:AddTags"], [self._at("*")], when={"Null": {"sagemaker:TaggingAction": "false"}})

    def _jobs(self, role: str) -> Iterator[iam.Statement]:
        """Jobs as oneself, in the network, on the machines of the list and not for longer than a day."""
        args, scope = self._args, self.scope
        kinds = [self._at("processing-job/*"), self._at("training-job/*")]
        yield iam.allow([*_JOBS, "sagemaker:StopProcessingJob", "sagemaker:StopTrainingJob"], kinds)
        yield iam.allow(
            ["iam:PassRole"],
            [f"arn:aws:iam::{scope.account}:role/{scope.names.of(role, 'iam_role')}"],
            when={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )
        # `system` is what a notebook's own server runs on.
        allowed = [*(instance(machine) for machine in args.machines), "system"]
        yield iam.deny(
            [*_JOBS, "sagemaker:CreateApp", "sagemaker:CreateSpace", "sagemaker:UpdateSpace"],
            ["*"],
            sid="OnlyTheseMachines",
            when={"ForAnyValue:StringNotEquals": {"sagemaker:InstanceTypes": allowed}},
        )
        # Two statements: in one, the two conditions would have to hold together, and a job with subnets alone would pass.
        for key, values in (
            ("VpcSubnets", list(args.network.workload_subnets)),
            ("VpcSecurityGroupIds", [self._security]),
        ):
            yield iam.deny(_JOBS, ["*"], sid=f"Some{key}", when={"Null": {f"sagemaker:{key}": "true"}})
            yield iam.deny(
                _JOBS, ["*"], sid=f"Our{key}", when={"ForAnyValue:StringNotEquals": {f"sagemaker:{key}": values}}
            )
        yield iam.deny(
            _JOBS,
            ["*"],
            sid="NotForLong",
            when={"NumericGreaterThan": {"sagemaker:MaxRuntimeInSeconds": str(_LONGEST_JOB_HOURS * 3600)}},
        )
        at = f"arn:aws:ec2:{scope.region}:{scope.account}"
        yield iam.allow(_SEE_NETWORK, ["*"])
        yield iam.allow(
            _INTERFACES,
            [
                f"{at}:network-interface/*",
                *(pulumi.Output.concat(f"{at}:subnet/", subnet) for subnet in args.network.workload_subnets),
                pulumi.Output.concat(f"{at}:security-group/", self._security),
            ],
        )

    def _rest(self, persona: str) -> Iterator[iam.Statement]:
        """Images, logs, metrics, disks; pipelines, for those whose work they are; experiments."""
        args, scope = self._args, self.scope
        at = f"{scope.region}:{scope.account}"
        yield iam.allow(["ecr:GetAuthorizationToken"], ["*"])
        yield iam.allow(_PULL, [f"arn:aws:ecr:{at}:repository/*"])
        # Not logs:CreateLogGroup: the groups are there, encrypted and with an end.
        yield iam.allow(
            ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:GetLogEvents", "logs:PutLogEvents"],
            [f"arn:aws:logs:{at}:log-group:/aws/sagemaker/*"],
        )
        yield iam.allow(
            ["cloudwatch:PutMetricData"], ["*"], when={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
        )
        yield iam.allow(["kms:CreateGrant"], [args.key.id], when={"Bool": {"kms:GrantIsForAWSResource": "true"}})
        yield iam.allow(
            ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"],
            [args.key.id],
            when=iam.via(scope.region, "ec2", "sagemaker"),
        )
        if persona == "ml-engineer":
            yield iam.allow(_RUN_PIPELINES, [self._at(f"pipeline/{scope.names.of('*', 'pipeline')}")])
        yield from args.record

    def _doors(self, profiles: Mapping[str, aws.sagemaker.UserProfile]) -> list[pulumi.Resource]:
        """The right of each persona's people to open their own notebooks, as policies of the persona's role."""
        args, scope = self._args, self.scope
        made: list[pulumi.Resource] = []
        for persona, role in args.personas.items():
            own = [user for user in profiles if args.users[user].persona == persona]
            for i in range(0, len(own), USERS_A_POLICY):
                part = f"{persona}-notebooks-{i // USERS_A_POLICY}"
                opens = (
                    iam.allow(
                        ["sagemaker:CreatePresignedDomainUrl"],
                        [profiles[user].arn],
                        when={"StringLike": {"aws:userid": f"*:{user}"}},
                    )
                    for user in own[i : i + USERS_A_POLICY]
                )
                policy = aws.iam.Policy(
                    f"{self.name}-{part}",
                    name=scope.names.of(part, "iam_policy"),
                    description=f"{persona}: open notebooks",
                    policy=pulumi.Output.json_dumps(iam.document(iam.allow(_FIND, ["*"]), *opens)),
                    opts=self.options(),
                )
                made.append(self._attach(part, _named(role, scope.names.of(persona, "iam_role")), policy))
        return made

    def _attach(self, part: str, role: Text, policy: aws.iam.Policy) -> aws.iam.RolePolicyAttachment:
        return aws.iam.RolePolicyAttachment(
            f"{self.name}-{part}-attached", role=role, policy_arn=policy.arn, opts=self.options()
        )


def _named(arn: Text, name: str) -> Text:
    """The name of a role, which is known, once the role is there."""
    return pulumi.Output.all(name, arn).apply(lambda found: str(found[0]))


def storage(persona: str, zones: Sequence[Zone], region: str) -> Iterator[iam.Statement]:
    """What a persona's notebooks may do with these zones, each with its key and only through S3."""
    written = [zone for zone in zones if persona in zone.writers]
    read = [zone for zone in zones if persona not in zone.writers]
    for actions, key_actions, chosen in (
        (_READ, ["kms:Decrypt"], read),
        ((*_READ, *_WRITE), ["kms:Decrypt", "kms:GenerateDataKey"], written),
    ):
        if chosen:
            arns = [zone.bucket.resource for zone in chosen]
            yield iam.allow(actions, [*arns, *(pulumi.Output.concat(arn, "/*") for arn in arns)])
            keys = list(dict.fromkeys(zone.key.id for zone in chosen))
            yield iam.allow(key_actions, keys, when=iam.via(region, "s3"))
