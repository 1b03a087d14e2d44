"""The cloud's own models for a task: who may call which, and how often."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from types import MappingProxyType
from urllib.parse import quote

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import nth
from components.core.monitoring import Alarm, Query
from components.core.naming import Names
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.gcp.blocks.ceilings import Ceiling, Ceilings, CeilingsArgs, answered
from components.scope import Component, Scope, after
from components.spec.serving import Pretrained, Service


@dataclass(frozen=True, kw_only=True)
class Task:
    """What Google Cloud has for a task."""

    api: str
    permissions: tuple[str, ...]
    """What a call takes, and nothing that makes or changes anything."""
    metric: str | None
    """The quota that counts calls, by the minute; None where it counts something else, such as characters or pages."""


_USE = "serviceusage.services.use"
"""All that calls of an API take that knows no permissions of its own."""
# Sources: IAM "Roles and permissions index" by API; quotas as requests that were refused name them ("Quota exceeded for quota
# metric …"), and as `gcloud alpha services quota list` lists them.
TASKS: Mapping[Service, Task] = MappingProxyType(
    {
        "vision": Task(api="vision.googleapis.com", permissions=(_USE,), metric=None),
        "language": Task(api="language.googleapis.com", permissions=(_USE,), metric=None),
        "speech": Task(
            api="speech.googleapis.com",
            permissions=(_USE, "speech.recognizers.recognize", "speech.operations.get"),
            metric="speech.googleapis.com/default_requests",
        ),
        "translation": Task(
            api="translate.googleapis.com",
            permissions=(
                _USE,
                "cloudtranslate.generalModels.predict",
                "cloudtranslate.languageDetectionModels.predict",
            ),
            metric=None,
        ),
        "text_to_speech": Task(
            api="texttospeech.googleapis.com", permissions=(_USE,), metric="texttospeech.googleapis.com/requests"
        ),
        "document": Task(
            api="documentai.googleapis.com",
            permissions=(_USE, "documentai.processors.processOnline", "documentai.processorVersions.processOnline"),
            metric=None,
        ),
    }
)
_BURST = 10
"""How many times the rate of an even day a minute may have."""
_MINUTES = 24 * 60


@dataclass(frozen=True, kw_only=True)
class ServicesArgs:
    """Which services, and whose work calls them."""

    services: Mapping[Service, Pretrained]
    apis: Mapping[str, Text]
    identities: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """By team, e-mail of what its work runs as."""
    generation: int
    """Which life of the environment this is: the id of a custom role is free again after weeks only."""
    number: str
    """Number of the project."""
    network: contracts.Network | None
    """Network that the function at the ceilings goes out by; without one it goes by Google's own."""
    compute_key: contracts.Key
    logs: Text
    """Bucket of access logs."""
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    teams: Mapping[str, Sequence[Text]] = field(default_factory=dict[str, Sequence[Text]])
    """Channels of each team."""


class Services(Component):
    """Vision, language, speech, translation, text to speech and documents, each for the teams that it is described for.

    A service that is not described is not switched on. Those that are get a role of their own with what a call takes, since
    the roles of Google's let make and delete as well, and each team's work has it. Vision, Natural Language and Text-to-Speech
    know no permission of their own: whoever may use the project's services may call them where they are on.

    Where a quota is known to count calls it is lowered to ten times the rate of an even day, so that nothing can run away
    within minutes. More calls within a day than are described raise an alert, with every service. More than the ceiling take
    the service away, until they are what is described again (`Ceilings`, which says what slips through). They are reached by
    the network's private way to Google's APIs.

    Owns the APIs, roles, grants, quotas, alerts and the ceilings. Never owns what calls. Costs what is called. A destroy gives
    the quotas that it lowered back, and leaves APIs on.

    >>> per_minute(14_400)
    100
    """

    outputs: contracts.Services

    def __init__(self, name: str, args: ServicesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Switch services on, bound them, and let teams call."""
        super().__init__(name, scope, parent)
        self._args = args
        watched = Alarms(
            f"{name}-alarm",
            AlarmsArgs(apis=args.apis, alarms=list(alarms(args.services)), critical=[], warning=list(args.warning)),
            scope=scope,
            parent=self,
        )
        bounded = Ceilings(
            f"{name}-ceilings",
            CeilingsArgs(
                services={service: self._ceiling(service, spec) for service, spec in sorted(args.services.items())},
                apis=args.apis,
                number=args.number,
                generation=args.generation,
                network=args.network,
                key=args.compute_key,
                logs=args.logs,
                critical=args.critical,
                warning=args.warning,
            ),
            scope=scope,
            parent=self,
        )
        self._before = [watched, bounded]
        self.outputs = contracts.Services(
            grants={service: self._grants(service, spec) for service, spec in sorted(args.services.items())}
        )
        self.finish(self.outputs)

    def _ceiling(self, service: Service, spec: Pretrained) -> Ceiling:
        task = TASKS[service]
        return Ceiling(
            api=task.api,
            expected=spec.calls_per_day,
            calls=spec.ceiling,
            quotas={task.metric: per_minute(spec.calls_per_day)} if task.metric else {},
            told=[channel for team in spec.teams for channel in self._args.teams.get(team, ())],
        )

    def _grants(self, service: Service, spec: Pretrained) -> dict[str, Text]:
        args, scope, task = self._args, self.scope, TASKS[service]
        label = f"{self.name}-{service.replace('_', '-')}"
        on = gcp.projects.Service(
            f"{label}-api",
            project=scope.account,
            service=task.api,
            # To switch an API off deletes what stands on it, also what is not ours.
            disable_on_destroy=False,
            disable_dependent_services=False,
            # Nothing is called that nobody counts and bounds.
            opts=self.options(depends_on=self._before),
        )
        bounded: list[pulumi.Resource] = [on]
        if task.metric is not None:
            bounded.append(
                gcp.serviceusage.ConsumerQuotaOverride(
                    f"{label}-quota",
                    project=after(scope.account, on),
                    service=task.api,
                    # Both stand in an address.
                    metric=quote(task.metric, safe=""),
                    limit=quote("/min/project", safe=""),
                    override_value=str(per_minute(spec.calls_per_day)),
                    # It is lower by more than a tenth: that is the point.
                    force=True,
                    # From then on the function at the ceiling says how much: 0 where a service is taken away, else this.
                    opts=self.options(ignore_changes=["overrideValue"]),
                )
            )
        role = gcp.projects.IAMCustomRole(
            f"{label}-role",
            role_id=role_id(scope.names, service, args.generation),
            title=f"Call: {service}",
            description=f"Calls {task.api}, and does nothing else.",
            permissions=list(task.permissions),
            project=args.apis["iam.googleapis.com"],
            opts=self.options(),
        )
        found: dict[str, Text] = {}
        for team in sorted(spec.teams):
            grants = (
                [
                    gcp.projects.IAMMember(
                        f"{label}-{team}",
                        project=args.apis["cloudresourcemanager.googleapis.com"],
                        role=role.name,
                        member=pulumi.Output.concat("serviceAccount:", args.identities[team]),
                        # A ceiling first: nothing is called that nobody bounds.
                        opts=self.options(depends_on=bounded),
                    )
                ]
                if team in args.identities
                else []
            )
            found[team] = after(role.name, *bounded, *grants)
        return found


def per_minute(calls_per_day: int) -> int:
    """The quota of a minute."""
    return max(1, ceil(calls_per_day * _BURST / _MINUTES))


def role_id(names: Names, service: str, generation: int) -> str:
    """Id of a service's custom role, for whoever may grant it."""
    return names.of(nth(f"call-{service}", generation), "custom_role").replace("-", "_")


def alarms(services: Mapping[Service, Pretrained]) -> Iterator[Alarm]:
    """What is watched: calls of a day, of all of a project that were answered."""
    for service, spec in sorted(services.items()):
        yield Alarm(
            name=f"{service.replace('_', '-')}-calls",
            meaning=f"{service} was called more than {spec.calls_per_day} times within a day.",
            first=f"Which identity calls, in the charts of the API; above {spec.ceiling} all calls are refused. If it is meant:"
            " raise its calls_per_day.",
            severity="warning",
            condition=Query(promql=f"{answered(TASKS[service].api)} > {spec.calls_per_day}"),
            minutes=0,
        )
