"""The queues of training: job queues of AWS Batch, who a team's jobs are, and where notices of interruption go."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.security_group import SecurityGroup, SecurityGroupArgs
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text, Zone
from components.core import batch, iam
from components.core.accelerators import Machine
from components.scope import Component, Scope, after
from components.spec.capacity import PoolPlan, QueuePlan

_DAY, _FORTNIGHT = 24 * 3600, 14 * 24 * 3600
"""Seconds; a fortnight is the longest that a queue of SQS keeps a message."""
_UPDATE_MINUTES = 360
"""How long a running job may go on while its machines are replaced; the longest that Batch allows ("UpdatePolicy")."""
_NODES = 2
"""Machines of a multi-node job where a submission asks for no other number."""
# What the agent of a machine does: AmazonEC2ContainerServiceforEC2Role, without what execution roles do here, and without
# ecs:CreateCluster, since Batch makes the cluster.
_AGENT = (
    "ecs:DeregisterContainerInstance", "ecs:Poll", "ecs:RegisterContainerInstance", "ecs:StartTelemetrySession",
    "ecs:SubmitAttachmentStateChanges", "ecs:SubmitContainerStateChange", "ecs:SubmitTaskStateChange",
    "ecs:UpdateContainerInstancesState",
)  # fmt: skip
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_EXACTLY = 20
"""Queues of a team whose checkpoints its policy names one by one; a role's own policies have 10,240 characters in all."""


@dataclass(frozen=True, kw_only=True)
class Team:
    """Who trains."""

    share: int
    """Weight against the other teams."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class QueuesArgs:
    """What is queued for, by whom, and where it may read and write."""

    pools: Mapping[str, PoolPlan]
    queues: Mapping[str, QueuePlan]
    teams: Mapping[str, Team]
    checkpoints: Mapping[str, Zone]
    """The zones that queues keep checkpoints in."""
    readable: Mapping[str, Zone]
    """The zones that every team's jobs may read."""
    image: pulumi.Input[str] | None
    """What jobs of Batch run unless a submission says otherwise, with its tag; None where no queue is one of Batch."""
    cluster: contracts.Cluster | None
    """Where the other queues are."""
    network: contracts.Network
    zones: Sequence[str]
    """Zone ids of the network's workload subnets, in their order."""
    compute_key: contracts.Key
    """Key of the machines' disks; Auto Scaling may use it, as machines of Batch are started by it."""
    logs_key: contracts.Key
    boundary: contracts.Boundary


class Queues(Component):
    """Who a team's jobs are, job queues of Batch in front of its pools, and where it is told that machines are taken away.

    A queue of the cluster is made in the cluster: here it has its teams' identities and its place for checkpoints.

    A queue of Batch shares its machines fairly among teams by what they used during the longest run of a job: a job names its
    team as share identifier (`share`), and Batch, unlike the cluster, knows no limit of a team. Each queue and team has a job
    definition `{queue}_{team}` for one accelerator and, where the pool has a fabric, one `…_multinode` for whole machines.
    Priority counts within a team; the lowest class is the default, another one is a submission's
    `--scheduling-priority-override`. A job starts again only where its machine was taken away, or where it said itself that it
    stopped for that. `CHECKPOINT_URI` is the team's place in the queue: a submission adds the name of its run.

    Batch counts in vCPUs and not in accelerators, and prefers the machine whose vCPU is cheapest, which has few accelerators:
    so each environment has machines of one size only, and its ceiling is a whole number of them. Batch does not raise the image
    of a running environment: a new version of its launch template does.

    Owns the environments, their launch templates, security groups and placement groups, queues, policies, job definitions,
    identities, logs, the rules and the queue of notices with its dead letters, and the metrics that alarms stand on. Never
    owns the service-linked role of Batch: that outlives every environment, which Batch needs it for while it is deleted.

    Costs nothing while nothing runs, but for 0.30 USD a metric and month that has data, and 0.50 a GB of logs (us-east-1,
    2026-09); machines by their price, disks besides. A destroy first takes the queues away, then the environments: jobs that
    run end. What waits in a queue is lost.

    >>> args = QueuesArgs(
    ...     pools={}, queues={}, teams={"vision": Team(share=1)}, checkpoints={}, readable={"raw": Zone(bucket=bucket, key=key)},
    ...     image=None, cluster=None, network=network, zones=["usw2-az1"], compute_key=key, logs_key=key,
    ...     boundary=boundary,
    ... )
    >>> list(Queues("queues", args, scope=scope, parent=parent).outputs.identities)
    ['vision']
    """

    outputs: contracts.Queues
    jobs: Mapping[str, Text]
    """ARN of each job definition, by its name without the environment's part: `train_vision`, `train_vision_multinode`."""
    namespace: str
    """Of the metrics in `components.core.batch.METRICS`; those by queue have the dimension `Queue`, its ARN."""
    dead_letters: str
    """Name of the queue of notices that nobody could take."""

    def __init__(self, name: str, args: QueuesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the identities, the queues and the way of notices."""
        super().__init__(name, scope, parent)
        self._args = args
        self._batch = {queue: plan for queue, plan in args.queues.items() if plan.scheduler == "batch"}
        if self._batch and args.image is None:
            raise ValueError(f"queues of Batch need an image: {', '.join(self._batch)}")
        self.namespace = scope.names.of("training")
        self._logs = f"/{scope.names.of('jobs')}"
        identities = {team: self._identity(team) for team in args.teams}
        interruptions = self._interruptions()
        names = {queue: pulumi.Output.from_input(queue) for queue in args.queues if queue not in self._batch}
        self.jobs = {}
        if self._batch:
            names |= self._queues(identities)
        self.outputs = contracts.Queues(
            names={queue: names[queue] for queue in args.queues},
            identities=identities,
            checkpoints={queue: self._checkpoints(queue) for queue in args.queues},
            interruptions=interruptions,
        )
        self.finish(self.outputs)

    def _checkpoints(self, queue: str) -> Text:
        zone = self._args.checkpoints[self._args.queues[queue].checkpoint_zone]
        return pulumi.Output.concat(zone.bucket.uri, f"/checkpoints/{queue}")

    def _identity(self, team: str) -> Text:
        """What a team's jobs run as, in Batch and in the cluster."""
        args, scope = self._args, self.scope
        mine = [queue for queue in args.queues.values() if team in queue.teams]
        namespace, account = f"team-{team}", "trainer"
        identity = Workload(
            f"trainer-{team}",
            WorkloadArgs(
                description=f"Training jobs of the team {team}.",
                # Where a team has no queue, somebody has to be trusted all the same.
                service="ecs-tasks.amazonaws.com" if args.cluster is None or self._uses_batch(mine) else None,
                pod=(namespace, account) if args.cluster else None,
                statements=list(self._may(team, mine)),
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        if args.cluster is None:
            return identity
        association = aws.eks.PodIdentityAssociation(
            f"{self.name}-{team}-pods",
            cluster_name=args.cluster.name,
            namespace=namespace,
            service_account=account,
            role_arn=identity,
            tags=dict(args.teams[team].tags),
            opts=self.options(),
        )
        return after(identity, association)

    def _uses_batch(self, queues: Sequence[QueuePlan]) -> bool:
        return any(queue.name in self._batch for queue in queues)

    def _may(self, team: str, queues: Sequence[QueuePlan]) -> Iterator[iam.Statement]:
        """All that a team's jobs may do: read training data, keep checkpoints in their own place, count."""
        args, scope = self._args, self.scope
        zones = [args.readable[name] for name in sorted(args.readable)]
        if zones:
            buckets = [zone.bucket.resource for zone in zones]
            yield iam.allow(["s3:ListBucket"], buckets, sid="FindData")
            yield iam.allow(
                ["s3:GetObject", "s3:GetObjectVersion"],
                [pulumi.Output.concat(bucket, "/*") for bucket in buckets],
                sid="ReadData",
            )
            keys = {id(zone.key): zone.key.id for zone in zones}
            yield iam.allow(["kms:Decrypt"], list(keys.values()), sid="OpenData", when=iam.via(scope.region, "s3"))
        for number, name in enumerate(sorted({queue.checkpoint_zone for queue in queues})):
            zone = args.checkpoints[name]
            mine = sorted(queue.name for queue in queues if queue.checkpoint_zone == name)
            # Else the policy would be longer than IAM takes: then any queue, of which the team still has its own part only.
            places = [f"checkpoints/{queue}/{team}" for queue in (mine if len(queues) <= _EXACTLY else ["*"])]
            yield iam.allow(
                ["s3:ListBucket"],
                [zone.bucket.resource],
                sid=f"FindCheckpoints{number}",
                when={"StringLike": {"s3:prefix": [text for place in places for text in (place, f"{place}/*")]}},
            )
            yield iam.allow(
                ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"],
                [pulumi.Output.concat(zone.bucket.resource, f"/{place}/*") for place in places],
                sid=f"KeepCheckpoints{number}",
            )  # fmt: skip
            yield iam.allow(
                ["kms:Decrypt", "kms:GenerateDataKey"],
                [zone.key.id],
                sid=f"SealCheckpoints{number}",
                when=iam.via(scope.region, "s3"),
            )
        yield iam.allow(
            ["cloudwatch:PutMetricData"],
            ["*"],
            sid="Count",
            when={"StringEquals": {"cloudwatch:namespace": self.namespace}},
        )

    def _queues(self, identities: Mapping[str, Text]) -> dict[str, Text]:
        """The job queues of Batch by name; each resolves once jobs of its teams can be submitted to it."""
        args = self._args
        profile = self._machine_profile()
        plain = self._security_group("batch", fast=False)
        environments: dict[str, aws.batch.ComputeEnvironment] = {}
        for pool in dict.fromkeys(name for queue in self._batch.values() for name in queue.pools):
            plan = args.pools[pool]
            group = self._security_group(f"batch-{pool}", fast=True) if plan.fast else plain
            environments[pool] = self._environment(plan, profile, group)
        executor = self._executor()
        names: dict[str, Text] = {}
        jobs: dict[str, Text] = {}
        for queue, plan in self._batch.items():
            made = self._queue(plan, environments)
            log = self._log(queue)
            definitions = {
                label: definition
                for team in plan.teams
                for label, definition in self._definitions(plan, team, identities[team], executor, log)
            }
            jobs |= {label: definition.arn for label, definition in definitions.items()}
            names[queue] = after(made.arn, *definitions.values())
        self.jobs = jobs
        return names

    def _machine_profile(self) -> Text:
        """ARN of the profile of Batch's machines; resolves once their agent may do its work."""
        scope = self.scope
        cluster = f"arn:aws:ecs:{scope.region}:{scope.account}"
        role = Workload(
            "batch-machines",
            WorkloadArgs(
                description="Agent of the machines that Batch starts.",
                service="ec2.amazonaws.com",
                statements=[
                    iam.allow(_AGENT, [f"{cluster}:cluster/*", f"{cluster}:container-instance/*"]),
                    iam.allow(
                        ["ecs:TagResource"],
                        [f"{cluster}:container-instance/*"],
                        when={"StringEquals": {"ecs:CreateAction": "RegisterContainerInstance"}},
                    ),
                    # These know no resource.
                    iam.allow(["ecs:DiscoverPollEndpoint", "ec2:DescribeTags"], ["*"]),
                ],
                boundary=self._args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        return aws.iam.InstanceProfile(
            f"{self.name}-batch-machines",
            name=scope.names.of("batch-machines", "iam_policy"),
            role=role.apply(lambda arn: arn.rpartition("/")[2]),
            opts=self.options(),
        ).arn

    def _security_group(self, label: str, *, fast: bool) -> Text:
        """Id of a group of machines; between those of a fabric everything passes ("EFA", security groups)."""
        args = SecurityGroupArgs(
            label=label,
            description="Training jobs: HTTPS out, nothing in but from one another where they work together",
            network=self._args.network,
            services=sorted(self._args.network.prefix_lists),
            inside=("-1", None, None) if fast else None,
        )
        return SecurityGroup(f"{self.name}-{label}", args, scope=self.scope, parent=self).outputs.id

    def _environment(self, pool: PoolPlan, profile: Text, group: Text) -> aws.batch.ComputeEnvironment:
        """The environment of a pool. All that a description can change of it is updated in place, but for its fabric."""
        args, scope, label = self._args, self.scope, f"{self.name}-{pool.name}"
        market, strategy = batch.MARKETS[pool.choices[0].kind]
        vendor = pool.accelerator.vendor if pool.accelerator else None
        if vendor not in batch.IMAGES:
            raise ValueError(f"pool {pool.name}: Batch has no image for {pool.machine.type}")
        types = batch.sizes(pool.machines, fast=pool.fast)
        tags = {**scope.tags, "pool": pool.name, **({"team": pool.team} if pool.team else {})}
        template = self._template(pool, types[0], group, tags)
        subnets = [
            subnet for zone, subnet in zip(args.zones, args.network.workload_subnets, strict=True) if zone in pool.zones
        ]
        resources: aws.batch.ComputeEnvironmentComputeResourcesArgsDict = {
            "type": market,
            "allocation_strategy": strategy,
            "instance_types": [machine.type for machine in types],
            "ec2_configurations": [{"image_type": batch.IMAGES[vendor]}],
            "instance_role": profile,
            "launch_template": {
                "launch_template_id": template.id,
                # By number: a new version is what makes Batch replace its machines.
                "version": template.latest_version.apply(str),
            },
            "min_vcpus": pool.min * types[0].vcpus,
            # "Might need to exceed maxvCpus …, never by more than a single instance" ("ComputeResource"): what is left of it is
            # always that of whole machines, where all are of one size, so that there is nothing to go over for.
            "max_vcpus": pool.max * types[0].vcpus,
            "subnets": subnets,
            # Nobody else sees the default tags: Batch starts the machines.
            "tags": tags,
        }
        if pool.fast:
            resources["placement_group"] = aws.ec2.PlacementGroup(
                f"{label}-placement", name=scope.names.of(pool.name), strategy="cluster", tags=tags, opts=self.options()
            ).name
        else:
            # "Either compute environment Security Groups or Network Interfaces in Launch template are exclusively allowed."
            resources["security_group_ids"] = [group]
        return aws.batch.ComputeEnvironment(
            f"{label}-environment",
            # An environment is deleted only after no queue names it, and a replacement stands beside it for a while.
            name_prefix=f"{scope.names.of(pool.name, 'batch')}-",
            type="MANAGED",
            state="ENABLED",
            # No service_role: the service-linked one is the only one that allows updates in place.
            compute_resources=resources,
            update_policy={"terminate_jobs_on_update": False, "job_execution_timeout_minutes": _UPDATE_MINUTES},
            tags={key: value for key, value in tags.items() if key not in scope.tags},
            opts=self.options(ignore_changes=["computeResources.desiredVcpus"]),
        )

    def _template(
        self, pool: PoolPlan, machine: Machine, group: Text, tags: Mapping[str, str]
    ) -> aws.ec2.LaunchTemplate:
        interfaces: list[aws.ec2.LaunchTemplateNetworkInterfaceArgsDict] = [
            {
                "description": "Fabric",
                "network_card_index": card,
                # Beside the first card, which is the machine's own way in and out.
                "device_index": 0 if card == 0 else 1,
                "interface_type": "efa" if card == 0 else "efa-only",
                "delete_on_termination": "true",
                "security_groups": [group],
            }
            for card in range(machine.interfaces if pool.fast else 0)
        ]
        return aws.ec2.LaunchTemplate(
            f"{self.name}-{pool.name}-template",
            name=self.scope.names.of(f"batch-{pool.name}", "batch"),
            description=f"Machines of the pool {pool.name}",
            block_device_mappings=[
                {
                    "device_name": "/dev/xvda",
                    "ebs": {
                        "volume_size": pool.disk_gib,
                        "volume_type": "gp3",
                        "encrypted": "true",
                        "kms_key_id": self._args.compute_key.id,
                        "delete_on_termination": "true",
                    },
                }
            ],
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                # Enough to ask for a notice of interruption: containers of Batch share the machine's network.
                "http_put_response_hop_limit": 1,
                "instance_metadata_tags": "disabled",
            },
            monitoring={"enabled": True},
            network_interfaces=interfaces,
            tag_specifications=[{"resource_type": "volume", "tags": dict(tags)}],
            user_data=base64.b64encode(batch.boot().encode()).decode(),
            opts=self.options(),
        )

    def _queue(self, plan: QueuePlan, environments: Mapping[str, aws.batch.ComputeEnvironment]) -> aws.batch.JobQueue:
        args, scope, label = self._args, self.scope, f"{self.name}-{plan.name}"
        policy = aws.batch.SchedulingPolicy(
            f"{label}-shares",
            name=scope.names.of(plan.name, "batch"),
            fair_share_policy={
                # What is held back for teams that are away stands idle, of a small pool the last machine; they get theirs by
                # weight as soon as something ends.
                "compute_reservation": 0,
                "share_decay_seconds": min(plan.timeout_hours * batch.HOUR, batch.WEEK),
                "share_distributions": [
                    {"share_identifier": batch.share(team), "weight_factor": batch.weight(args.teams[team].share)}
                    for team in sorted(plan.teams)
                ],
            },
            opts=self.options(),
        )
        return aws.batch.JobQueue(
            f"{label}-queue",
            name=scope.names.of(plan.name, "batch"),
            state="ENABLED",
            priority=1,
            scheduling_policy_arn=policy.arn,
            compute_environment_orders=[
                {"order": order, "compute_environment": environments[pool].arn}
                for order, pool in enumerate(plan.pools, start=1)
            ],
            job_state_time_limit_actions=[
                {"action": "CANCEL", "state": "RUNNABLE", "reason": reason, "max_time_seconds": batch.HOUR}
                for reason in batch.HOPELESS
            ],
            opts=self.options(),
        )

    def _log(self, queue: str) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            f"{self.name}-{queue}-log",
            name=f"{self._logs}/{queue}",
            retention_in_days=self.scope.log_days,
            kms_key_id=self._args.logs_key.id,
            opts=self.options(),
        )

    def _executor(self) -> Text:
        """What starts a container: fetches its image, writes its log."""
        scope = self.scope
        at = f"{scope.region}:{scope.account}"
        return Workload(
            "batch-executor",
            WorkloadArgs(
                description="Fetches the images of training jobs and writes their logs.",
                service="ecs-tasks.amazonaws.com",
                statements=[
                    iam.allow(["ecr:GetAuthorizationToken"], ["*"]),
                    iam.allow(_PULL, [f"arn:aws:ecr:{at}:repository/*"]),
                    iam.allow(
                        ["logs:CreateLogStream", "logs:PutLogEvents"], [f"arn:aws:logs:{at}:log-group:{self._logs}/*:*"]
                    ),
                ],
                boundary=self._args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id

    def _definitions(
        self, queue: QueuePlan, team: str, identity: Text, executor: Text, log: aws.cloudwatch.LogGroup
    ) -> Iterator[tuple[str, aws.batch.JobDefinition]]:
        """The job definitions of a team in a queue, by their names."""
        pools = [self._args.pools[name] for name in queue.pools]
        options: Mapping[str, Any] = {
            "platform_capabilities": ["EC2"],
            "retry_strategy": {
                "attempts": queue.retries + 1,
                # What matches nothing would be tried again; what was cancelled or ran too long never is.
                "evaluate_on_exits": [
                    {"action": "RETRY", "on_status_reason": "Host EC2*"},
                    {"action": "RETRY", "on_exit_code": batch.INTERRUPTED},
                    {"action": "EXIT", "on_reason": "*"},
                ],
            },
            "timeout": {"attempt_duration_seconds": queue.timeout_hours * batch.HOUR},
            "scheduling_priority": min(queue.priority_classes.values()),
            "propagate_tags": True,
            "tags": {**self._args.teams[team].tags, "team": team, "queue": queue.name},
        }
        container = self._container(queue, team, identity, executor, log)
        label = f"{queue.name}_{team}"
        yield (
            label,
            aws.batch.JobDefinition(
                f"{self.name}-{label}",
                name=self.scope.names.of(label, "batch"),
                type="container",
                container_properties=pulumi.Output.json_dumps(
                    {**container, **batch.resources([_part(pool) for pool in pools])}
                ),
                opts=self.options(),
                **options,
            ),
        )
        # No multi-node job runs on spot machines ("Compute environment considerations", multi-node parallel jobs).
        fabric = next((pool for pool in pools if pool.fast and pool.choices[0].kind != "spot"), None)
        if fabric is None or fabric.max < _NODES:
            return
        label = f"{label}_multinode"
        node = {
            **container,
            **batch.resources([_whole(fabric)], interfaces=fabric.machine.interfaces),
            "command": [
                "runtime.training.launch", "--nproc-per-node", str(max(fabric.per_node, 1)), "-m", "runtime.training",
            ],
        }  # fmt: skip
        yield (
            label,
            aws.batch.JobDefinition(
                f"{self.name}-{label}",
                name=self.scope.names.of(label, "batch"),
                type="multinode",
                node_properties=pulumi.Output.json_dumps(
                    {
                        "mainNode": 0,
                        "numNodes": _NODES,
                        # Open-ended: a submission may ask for another number (`--node-overrides numNodes=4`).
                        "nodeRangeProperties": [{"targetNodes": "0:", "container": node}],
                    }
                ),
                opts=self.options(),
                **options,
            ),
        )

    def _container(
        self, queue: QueuePlan, team: str, identity: Text, executor: Text, log: aws.cloudwatch.LogGroup
    ) -> dict[str, Any]:
        """What every job of a team in a queue has."""
        region = self.scope.region
        spot = any(self._args.pools[pool].choices[0].kind == "spot" for pool in queue.pools)
        environment = {
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "CHECKPOINT_URI": pulumi.Output.concat(self._checkpoints(queue.name), f"/{team}"),
            # A container of Batch hears nothing before its machine goes: the job asks the machine.
            **({"NOTICE": "aws"} if spot else {}),
        }
        return {
            "image": self._args.image,
            "jobRoleArn": identity,
            "executionRoleArn": executor,
            "user": batch.USER,
            "privileged": False,
            "readonlyRootFilesystem": True,
            # Of the job alone, on the machine's own disks, and gone with it.
            "volumes": [{"name": "scratch", "host": {}}],
            "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/tmp", "readOnly": False}],  # noqa: S108
            "environment": [{"name": name, "value": value} for name, value in environment.items()],
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": log.name,
                    "awslogs-region": region,
                    "awslogs-stream-prefix": team,
                },
            },
        }

    def _interruptions(self) -> Text:
        """URL of the queue of notices; resolves once they arrive. What happens is logged and counted besides."""
        scope = self.scope
        queue, lost = self._notices()
        group = f"/aws/events/{self.namespace}"
        log = aws.cloudwatch.LogGroup(
            f"{self.name}-events",
            # EventBridge writes to groups of this prefix only.
            name=group,
            retention_in_days=scope.log_days,
            kms_key_id=self._args.logs_key.id,
            opts=self.options(),
        )
        at = [f"arn:aws:logs:{scope.region}:{scope.account}:log-group:{group}:*"]
        writers = {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]}
        writable = aws.cloudwatch.LogResourcePolicy(
            f"{self.name}-events-policy",
            policy_name=scope.names.of("training-events"),
            policy_document=pulumi.Output.json_dumps(
                iam.document(
                    # It says for which rule it acts when it writes, and not yet when it makes the stream (aws-samples/
                    # serverless-patterns, pull request 618); an empty stream is all that this alone gives.
                    iam.allow(["logs:CreateLogStream"], at, sid="Streams", principals=writers),
                    iam.allow(
                        ["logs:PutLogEvents"],
                        at,
                        sid="Events",
                        principals=writers,
                        when={"ArnLike": {"aws:SourceArn": self._rules}},
                    ),
                )
            ),
            opts=self.options(),
        )
        for metric, (pattern, by_queue) in batch.METRICS.items():
            if by_queue and not self._batch:
                continue
            counted: aws.cloudwatch.LogMetricFilterMetricTransformationArgsDict = {
                "name": metric,
                "namespace": self.namespace,
                "value": "1",
                "unit": "Count",
            }
            # A metric with dimensions has no value where nothing happened.
            if by_queue:
                counted["dimensions"] = {"Queue": "$.detail.jobQueue"}
            else:
                counted["default_value"] = "0"
            aws.cloudwatch.LogMetricFilter(
                f"{self.name}-{metric}",
                name=metric,
                log_group_name=log.name,
                pattern=pattern,
                metric_transformation=counted,
                opts=self.options(),
            )
        destinations = {"log": after(log.arn, writable), "queue": queue.arn}
        targets = [
            target
            for event, what in batch.EVENTS.items()
            if self._batch or not what.batch
            for target in self._rule(event, what, destinations, lost)
        ]
        policy = self._queue_policy("interruptions", queue)
        return after(queue.url, policy, *targets)

    def _notices(self) -> tuple[aws.sqs.Queue, aws.sqs.Queue]:
        """The queue of notices, and that of those that nobody could take."""
        scope, key = self.scope, self._args.logs_key.id
        self.dead_letters = scope.names.of("interruptions-lost")
        lost = aws.sqs.Queue(
            f"{self.name}-interruptions-lost",
            name=self.dead_letters,
            kms_master_key_id=key,
            message_retention_seconds=_FORTNIGHT,
            opts=self.options(),
        )
        self._queue_policy("interruptions-lost", lost)
        queue = aws.sqs.Queue(
            f"{self.name}-interruptions",
            name=scope.names.of("interruptions"),
            kms_master_key_id=key,
            # A machine is gone two minutes after its notice; a day is for whoever looks back.
            message_retention_seconds=_DAY,
            redrive_policy=pulumi.Output.json_dumps({"deadLetterTargetArn": lost.arn, "maxReceiveCount": 5}),
            opts=self.options(),
        )
        return queue, lost

    def _queue_policy(self, name: str, queue: aws.sqs.Queue) -> aws.sqs.QueuePolicy:
        scope = self.scope
        physical = scope.names.of(name)
        arn = f"arn:aws:sqs:{scope.region}:{scope.account}:{physical}"
        told = iam.allow(
            ["sqs:SendMessage"],
            [arn],
            sid="Events",
            principals={"Service": "events.amazonaws.com"},
            when=iam.source(scope.account, self._rules),
        )
        clear = iam.deny(["sqs:*"], [arn], sid="OnlyOverTls", principals="*", when=iam.secure_transport(required=False))
        return aws.sqs.QueuePolicy(
            f"{self.name}-{name}-policy",
            queue_url=queue.id,
            policy=pulumi.Output.json_dumps(iam.document(told, clear)),
            opts=self.options(),
        )

    @property
    def _rules(self) -> str:
        """Pattern of the ARNs of this environment's rules."""
        return f"arn:aws:events:{self.scope.region}:{self.scope.account}:rule/{self.scope.names.full('')}*"

    def _rule(
        self, event: str, what: batch.Event, destinations: Mapping[str, Text], lost: aws.sqs.Queue
    ) -> Iterator[pulumi.Resource]:
        """The targets of a rule."""
        scope = self.scope
        pattern = dict(what.pattern)
        if what.batch:
            # By the prefix of their names: a pattern has 2,048 characters.
            ours = f"arn:aws:batch:{scope.region}:{scope.account}:job-queue/{scope.names.full('')}"
            pattern["detail"] = {**pattern["detail"], "jobQueue": [{"prefix": ours}]}
        rule = aws.cloudwatch.EventRule(
            f"{self.name}-{event}",
            name=scope.names.of(event, "event_rule"),
            event_pattern=json.dumps(pattern),
            opts=self.options(),
        )
        for label, destination in destinations.items():
            if not (what.told if label == "queue" else what.logged):
                continue
            yield aws.cloudwatch.EventTarget(
                f"{self.name}-{event}-{label}",
                rule=rule.name,
                target_id=label,
                arn=destination,
                dead_letter_config={"arn": lost.arn},
                opts=self.options(),
            )


def _part(pool: PoolPlan) -> batch.Part:
    """As much of a pool's machine as goes with one accelerator."""
    return batch.part(batch.sizes(pool.machines, fast=pool.fast), min(pool.per_node, 1), max(pool.per_node, 1))


def _whole(pool: PoolPlan) -> batch.Part:
    """All of a pool's machine."""
    return batch.part(batch.sizes(pool.machines, fast=pool.fast), pool.per_node, 1)
