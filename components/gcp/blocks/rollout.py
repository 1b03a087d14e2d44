"""How a new version takes over: a workflow that moves requests, looks, and moves them back."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import labels
from components.core.monitoring import Alarm, Query
from components.core.naming import Names
from components.core.rollouts import TAKEN_BACK, Guard, Plan, Routines, Wave, number, workflow
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after
from components.spec.releases import AllAtOnce, BlueGreen, Canary, Release, Shadow

_SCHEDULE = "*/5 * * * *"
_FORGET = f"{24 * 3600}s"
_API = "https://workflowexecutions.googleapis.com/v1"


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What every endpoint stands on; the same for all of an environment."""

    apis: Mapping[str, Text]
    number: str
    """Number of the project."""
    network: contracts.Network | None
    """All that leaves an instance of Cloud Run goes through it."""
    storage: Mapping[str, contracts.Storage]
    """Zones by name."""
    records_zone: str
    """The one in which releases are remembered, below `releases/`, and versions are unpacked, below `served/`; objects there
    must not expire."""
    compute_key: contracts.Key
    models_key: contracts.Key
    """Workflows may use it."""
    signed: bool
    """Whether an image without an attestation does not start on Cloud Run."""
    releases: contracts.Releases
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()


@dataclass(frozen=True, kw_only=True)
class RolloutArgs:
    """What is declared of one endpoint, and what takes it back."""

    platform: Platform
    endpoint: str
    version: pulumi.Input[str]
    """Name of the version that shall be live; another content has another name."""
    target: Routines
    """How the service is spoken to: routines of components/core/rollouts.py."""
    waves: Sequence[Wave]
    guards: Sequence[Guard]
    alarms: Sequence[Alarm]
    """What is watched of the endpoint; there before anything is released."""
    service: Text | None = None
    """Name of a service of Cloud Run whose traffic it moves; None: it deploys models of Vertex AI."""
    workers: Mapping[str, Text]
    """Identities in whose name versions run; who deploys has to be allowed to act as them."""
    team: Sequence[Text] = ()
    """Channels of the team, told of everything besides."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Rollout(Component):
    """A workflow for one endpoint, started every five minutes, that makes live what is declared in it.

    A first version goes straight. Every further one gets its part of the requests, and the rest once it was watched for as
    long as the description says without a sign of `rollback_on`; else the old one gets all of them back, people are told, and
    nobody tries that version again. `gcloud workflows run NAME --data='{"again": true}'` does, and a new version is tried
    anyway. What a run breaks off, the next one ends.

    Owns the workflow, its schedule, its identity, the alerts of the endpoint, and those of a release that was taken back or
    failed. Never owns the endpoint, nor a version of it. It writes one object, `releases/{endpoint}.json` in the zone, which is
    free to stay after a destroy: what it says of versions that are gone counts for nothing.

    Costs 0.10 USD a month for the schedule and less than a dollar for the steps (0.01 USD a thousand, Workflows prices,
    2026-07). A destroy takes everything but that object. Before an endpoint of Vertex AI is destroyed, its models have to go:
    pause the schedule, then `gcloud workflows run NAME --data='{"empty": true}'`.

    >>> endpoint_id(Names("acme-ai", "dev"), "fraud")
    '9389639142'
    """

    outputs: contracts.Rollout

    def __init__(self, name: str, args: RolloutArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the alerts, and then what releases."""
        super().__init__(name, scope, parent)
        self._args = args
        watched = [self._alert(alarm) for alarm in args.alarms]
        physical = scope.names.of(f"release-{args.endpoint}", "workflow")
        path = f"projects/{scope.account}/locations/{scope.region}/workflows/{physical}"
        watched += self._watch(physical)
        record = f"releases/{args.endpoint}.json"
        plan = Plan(
            endpoint=args.endpoint,
            project=scope.account,
            workflow=path,
            bucket=scope.names.of(args.platform.records_zone, "bucket"),
            record=record,
            version=args.version,
            waves=args.waves,
            guards=args.guards,
        )
        made = gcp.workflows.Workflow(
            f"{name}-workflow",
            name=physical,
            description=f"Releases new versions of {args.endpoint}.",
            project=args.platform.apis["workflows.googleapis.com"],
            region=scope.region,
            service_account=self._driver(record),
            source_contents=pulumi.Output.json_dumps(workflow(plan, args.target), sort_keys=True),
            crypto_key_name=args.platform.models_key.id,
            call_log_level="LOG_ERRORS_ONLY",
            execution_history_level="EXECUTION_HISTORY_BASIC",
            # Nothing is lost with it: it is made from the description.
            deletion_protection=False,
            labels={**labels({**scope.tags, **args.tags}), "endpoint": args.endpoint},
            # Alerts first: nothing is released that nobody watches.
            opts=self.options(depends_on=watched),
        )
        self.outputs = contracts.Rollout(
            id=after(made.id, self._schedule(made, path)), alarms=[policy.name for policy in watched]
        )
        self.finish(self.outputs)

    def _driver(self, record: str) -> Text:
        """Who releases: this endpoint, and no other."""
        args, scope = self._args, self.scope
        object_name = f"projects/_/buckets/{scope.names.of(args.platform.records_zone, 'bucket')}/objects/{record}"
        grants = {
            "watch": Grant(role=args.platform.releases.roles["watch"]),
            "record": Grant(
                role="roles/storage.objectUser",
                bucket=args.platform.storage[args.platform.records_zone].resource,
                condition=("its-record", f'resource.name == "{object_name}"'),
            ),
        }
        if args.service is None:
            grants["deploy"] = Grant(role=args.platform.releases.roles["vertex"])
        driver = Workload(
            f"release-{args.endpoint}",
            WorkloadArgs(
                description=f"Releases new versions of {args.endpoint}.", apis=args.platform.apis, grants=grants
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        member = pulumi.Output.concat("serviceAccount:", driver)
        more: list[pulumi.Resource] = [
            gcp.serviceaccount.IAMMember(
                f"{self.name}-acts-{worker}",
                service_account_id=pulumi.Output.concat(f"projects/{scope.account}/serviceAccounts/", identity),
                role="roles/iam.serviceAccountUser",
                member=member,
                opts=self.options(),
            )
            for worker, identity in args.workers.items()
        ]
        if args.service is not None:
            more.append(
                gcp.cloudrunv2.ServiceIamMember(
                    f"{self.name}-moves",
                    project=args.platform.apis["run.googleapis.com"],
                    location=scope.region,
                    name=args.service,
                    role=args.platform.releases.roles["run"],
                    member=member,
                    opts=self.options(),
                )
            )
        return after(driver, *more)

    def _schedule(self, made: gcp.workflows.Workflow, path: str) -> gcp.cloudscheduler.Job:
        args, scope = self._args, self.scope
        return gcp.cloudscheduler.Job(
            f"{self.name}-schedule",
            name=scope.names.of(f"release-{args.endpoint}", "schedule"),
            description=f"Starts the release of {args.endpoint}, which does nothing where nothing is new.",
            project=args.platform.apis["cloudscheduler.googleapis.com"],
            region=scope.region,
            schedule=_SCHEDULE,
            time_zone="Etc/UTC",
            attempt_deadline="180s",
            # The next start is as good as another try.
            retry_config={"retry_count": 0},
            http_target={
                "http_method": "POST",
                "uri": args.platform.apis["workflowexecutions.googleapis.com"].apply(
                    lambda _: f"{_API}/{path}/executions"
                ),
                "headers": {"Content-Type": "application/json"},
                "body": base64.b64encode(json.dumps({"argument": "{}"}).encode()).decode(),
                "oauth_token": {
                    "service_account_email": args.platform.releases.starter,
                    "scope": "https://www.googleapis.com/auth/cloud-platform",
                },
            },
            opts=self.options(depends_on=[made]),
        )

    def _watch(self, workflow_name: str) -> list[gcp.monitoring.AlertPolicy]:
        """Tell people of releases that were taken back, and of those that could not even be tried."""
        args = self._args
        log: dict[str, Any] = {
            "display_name": "A release was taken back",
            "condition_matched_log": {
                "filter": 'resource.type="workflows.googleapis.com/Workflow"'
                f' AND resource.labels.workflow_id="{workflow_name}" AND jsonPayload.event="{TAKEN_BACK}"',
                "label_extractors": {
                    "version": "EXTRACT(jsonPayload.version)",
                    "live": "EXTRACT(jsonPayload.live)",
                    "because": "EXTRACT(jsonPayload.because)",
                },
            },
        }
        failed: dict[str, Any] = {
            "display_name": "A run ended without success",
            "condition_threshold": {
                "filter": 'resource.type = "workflows.googleapis.com/Workflow"'
                f' AND resource.labels.workflow_id = "{workflow_name}"'
                ' AND metric.type = "workflows.googleapis.com/finished_execution_count"'
                ' AND metric.labels.status = "FAILED"',
                "comparison": "COMPARISON_GT",
                "threshold_value": 0,
                # One that fails is followed by another one; several are no accident.
                "duration": "900s",
                "aggregations": [{"alignment_period": "600s", "per_series_aligner": "ALIGN_DELTA"}],
            },
        }
        endpoint = args.endpoint
        return [
            self._policy(
                "taken-back",
                f"a release of {endpoint} was taken back",
                "The old version answers all requests. What showed stands in the labels. Declare another version, or the old"
                " one. To try the same once more, run the workflow with the argument `again: true`.",
                log,
                args.platform.critical,
                # An alert on logs wants a limit; half an hour is the shortest that an incident stays open.
                {"notification_rate_limit": {"period": "300s"}, "auto_close": "1800s"},
            ),
            self._policy(
                "not-released",
                f"{endpoint} cannot be released",
                "The executions of the workflow say at which step it failed; each start tries again.",
                failed,
                args.platform.warning,
                None,
            ),
        ]

    def _alert(self, alarm: Alarm) -> gcp.monitoring.AlertPolicy:
        if not isinstance(alarm.condition, Query):
            raise TypeError(f"{alarm.name} is no query")
        condition = {
            "display_name": alarm.name,
            "condition_prometheus_query_language": {
                "query": alarm.condition.promql,
                "duration": f"{alarm.minutes * 60}s",
                "evaluation_interval": "60s",
                # A metric is known once something has published it, and nothing has before the first request.
                "disable_metric_validation": True,
            },
        }
        channels = self._args.platform.critical if alarm.severity == "critical" else self._args.platform.warning
        strategy = {"auto_close": _FORGET, "notification_prompts": ["OPENED", "CLOSED"]}
        label = alarm.name.removeprefix(f"{self._args.endpoint}-")
        return self._policy(label, alarm.name, alarm.documentation, condition, channels, strategy, alarm.severity)

    def _policy(
        self,
        label: str,
        title: str,
        text: str,
        condition: Mapping[str, Any],
        channels: Sequence[Text],
        strategy: Any,
        severity: str | None = None,
    ) -> gcp.monitoring.AlertPolicy:
        args, scope = self._args, self.scope
        return gcp.monitoring.AlertPolicy(
            f"{self.name}-{label}",
            display_name=f"{scope.environment}: {title}",
            project=args.platform.apis["monitoring.googleapis.com"],
            combiner="OR",
            severity=(severity or ("critical" if channels is args.platform.critical else "warning")).upper(),
            conditions=[dict(condition)],  # pyright: ignore[reportArgumentType]
            alert_strategy=strategy,
            documentation={"mime_type": "text/markdown", "content": text},
            notification_channels=[*channels, *args.team],
            user_labels={**labels({**scope.tags, **args.tags}), "endpoint": args.endpoint},
            opts=self.options(),
        )


def endpoint_id(names: Names, endpoint: str) -> str:
    """Id of an endpoint of Vertex AI: known before it is there, and the same for as long as it is called the same."""
    return number(names.full(endpoint))


def guarded(release: Release) -> AllAtOnce | BlueGreen | Canary:
    """A release that is watched; a shadow is none, and is not there on Google Cloud (core/answering.py)."""
    if isinstance(release, Shadow):
        raise TypeError("no service of Google Cloud copies requests to a shadow")
    return release
