"""What takes a service of the cloud away from those that call it too often, and gives it back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import nth
from components.core.monitoring import Alarm, Count, Query
from components.core.naming import Names
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.gcp.blocks.worker import Worker, WorkerArgs
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after

LABEL = "service-ceilings"
# "Access control with IAM", Service Usage: to see and to override quotas, and to wait until that is done; and to read metrics. An
# override never grants more than Google does, so this lets nobody do more.
_PERMISSIONS = (
    "monitoring.timeSeries.list", "serviceusage.operations.get", "serviceusage.quotas.get", "serviceusage.quotas.update",
)  # fmt: skip
_LOOK = "*/10 * * * *"
_SECONDS = 540


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """One service: when it is taken away, and when it is given back."""

    api: str
    expected: int
    """Calls within a day; no more of them give it back."""
    calls: int
    """More of them within a day take it away."""
    quotas: Mapping[str, int] = field(default_factory=dict[str, int])
    """By metric: calls a minute that the program lowered a quota to."""
    told: Sequence[Text] = ()
    """Channels of the teams."""


@dataclass(frozen=True, kw_only=True)
class CeilingsArgs:
    """Which services, and what the function that bounds them stands on."""

    services: Mapping[str, Ceiling]
    apis: Mapping[str, Text]
    number: str
    """Number of the project."""
    generation: int
    """Which life of the environment this is: the id of a custom role is free again after weeks only."""
    network: contracts.Network | None
    """Network that the function goes out by; without one it goes by Google's own."""
    key: contracts.Key
    logs: Text
    """Bucket of access logs."""
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()


class Ceilings(Component):
    """An alert on each service's calls within 24 hours, and a function that acts on them.

    Of most of these services no quota counts calls by the day. So every ten minutes the function counts those that were
    answered, and where they are more than the ceiling overrides every quota of a rate that the service has with 0: that is how
    Google has usage capped ("Capping API usage"), and it holds for whoever calls from the project, also where a call takes no
    permission of its own. Once calls are what is expected again, which is a day later, the overrides are taken back; one that a
    person has set on the service meanwhile is gone by then. What quotas a service has the function asks. It may override the
    quotas of any service, for no condition of IAM knows one from the other; it can lower what Google grants, and never raise it.

    What is called until the function has counted and Google enforces what it said goes through: the metric and quotas are some
    minutes late. Where the program has lowered a quota besides, it is less. An update neither sees nor undoes what the function
    does. A service that is taken away when the environment is destroyed, or that is taken out of the description then, stays so:
    `gcloud alpha services quota delete --force` gives it back, or the function, once it knows the service again.

    Owns the alerts, the function with its identities, source and images, and its schedule. Never owns an API, nor the quotas
    that the program lowers. Costs next to nothing: the function by the second, 0.10 USD a month for the schedule (Cloud
    Scheduler pricing, 2026-09).

    >>> ceiling("text_to_speech")
    'text-to-speech-capped'
    """

    outputs: contracts.Alarms

    def __init__(self, name: str, args: CeilingsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the alerts, and what acts."""
        super().__init__(name, scope, parent)
        self._args = args
        caller = Workload(
            f"{LABEL}-caller",
            WorkloadArgs(description="Calls the function that bounds services.", apis=args.apis, grants={}),
            scope=scope,
            parent=self,
        ).outputs.id
        worker = self._worker(caller)
        schedule = self._schedule(worker, caller)
        watched = self._watch(worker)
        self.outputs = contracts.Alarms(
            names={
                service: after(self._alert(service, spec), schedule, watched) for service, spec in args.services.items()
            }
        )
        self.finish(self.outputs)

    def _alert(self, service: str, spec: Ceiling) -> Text:
        """Told to those of what is expected and to the teams, who have their calls refused."""
        alarm = Alarm(
            name=ceiling(service),
            meaning=f"{service} was called more than {spec.calls} times within a day, its ceiling: all calls of the project are"
            " refused, until they are what is expected again.",
            first="Which identity calls, in the charts of the API. If it is meant: raise its calls_per_day over what was called.",
            severity="warning",
            condition=Query(promql=f"{answered(spec.api)} > {spec.calls}"),
            minutes=0,
        )
        told = list(dict.fromkeys([*self._args.warning, *spec.told]))
        args = AlarmsArgs(apis=self._args.apis, alarms=[alarm], critical=[], warning=told)
        label = f"{self.name}-{service.replace('_', '-')}"
        return Alarms(label, args, scope=self.scope, parent=self).outputs.names[alarm.name]

    def _worker(self, caller: Text) -> Worker:
        args, scope = self._args, self.scope
        role = gcp.projects.IAMCustomRole(
            f"{self.name}-role",
            role_id=role_id(scope.names, args.generation),
            title="Bound services",
            description="Counts calls of services, and overrides their quotas.",
            permissions=list(_PERMISSIONS),
            project=args.apis["iam.googleapis.com"],
            opts=self.options(),
        )
        services = {
            service: {"api": spec.api, "expected": spec.expected, "ceiling": spec.calls, "quotas": dict(spec.quotas)}
            for service, spec in sorted(args.services.items())
        }
        return Worker(
            self.name,
            WorkerArgs(
                apis=args.apis,
                number=args.number,
                label=LABEL,
                module="service_ceilings",
                entry="look",
                others=["retrieval_rest"],
                requirements="requirements.txt",
                description="Takes services away from a project that calls them too often, and gives them back.",
                memory="256M",
                timeout_seconds=_SECONDS,
                # One after the other: two at once could each undo what the other does.
                at_once=1,
                instances=1,
                environment={"PROJECT": scope.account, "SERVICES": json.dumps(services, sort_keys=True)},
                grants={"quotas": Grant(role=role.name)},
                callers={"schedule": caller},
                network=args.network,
                compute_key=args.key,
                logs=args.logs,
            ),
            scope=scope,
            parent=self,
        )

    def _schedule(self, worker: Worker, caller: Text) -> gcp.cloudscheduler.Job:
        """When it looks. No second try of a look that failed: the next one comes."""
        args, scope = self._args, self.scope
        return gcp.cloudscheduler.Job(
            f"{self.name}-schedule",
            name=scope.names.of(LABEL, "schedule"),
            description="Counts calls of services against their ceilings.",
            project=args.apis["cloudscheduler.googleapis.com"],
            region=scope.region,
            schedule=_LOOK,
            time_zone="Etc/UTC",
            attempt_deadline=f"{_SECONDS + 30}s",
            retry_config={"retry_count": 0},
            http_target={
                "http_method": "POST",
                "uri": worker.outputs.id.apply(lambda _: worker.address),
                "oidc_token": {"service_account_email": caller, "audience": worker.address},
            },
            opts=self.options(),
        )

    def _watch(self, worker: Worker) -> pulumi.Resource:
        """Looks that failed for half an hour: then nobody bounds what is called."""
        args, scope = self._args, self.scope
        job = scope.names.of(LABEL, "schedule")
        count = Count(
            name=f"{LABEL}-failed",
            description="Looks at the ceilings of services that failed.",
            filter=f'resource.type="cloud_scheduler_job" AND resource.labels.job_id="{job}" AND severity>=ERROR',
        )
        metric = f"logging_googleapis_com:user_{scope.names.full(count.name).replace('-', '_')}"
        failed = f'{metric}{{monitored_resource="cloud_scheduler_job"}}'
        alarm = Alarm(
            name=f"{LABEL}-failing",
            meaning="Services can be called above their ceilings: what takes them away has failed for half an hour.",
            first=f"The log of the function {worker.physical}; stop what calls by hand if an alert ending in -capped is open.",
            severity="critical",
            condition=Query(promql=f"sum(increase({failed}[15m])) > 0"),
            minutes=30,
        )
        told = AlarmsArgs(
            apis=args.apis, alarms=[alarm], counts=[count], critical=list(args.critical), warning=list(args.warning)
        )
        return Alarms(f"{self.name}-failing", told, scope=scope, parent=self)


def answered(api: str) -> str:
    """Calls of an API within 24 hours that were answered, as a query ("Google Cloud metrics", serviceruntime).

    >>> answered("vision.googleapis.com")[:56]
    'sum(increase(serviceruntime_googleapis_com:api_request_c'
    """
    chosen = f'monitored_resource="consumed_api",service="{api}",response_code_class="2xx"'
    return f"sum(increase(serviceruntime_googleapis_com:api_request_count{{{chosen}}}[1d]))"


def ceiling(service: str) -> str:
    """Name of the alert at a service's ceiling."""
    return f"{service.replace('_', '-')}-capped"


def role_id(names: Names, generation: int) -> str:
    """Id of the function's custom role, for whoever may grant it."""
    return names.of(nth(LABEL, generation), "custom_role").replace("-", "_")
