"""Where corpora are asked: an API with a function behind it."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core import retrieval
from components.core.cloud_sql import API
from components.core.google import labels, nth
from components.core.monitoring_rows import row
from components.core.naming import Names
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.gcp.blocks.cloud_sql import client, sql_user
from components.gcp.blocks.worker import Worker, WorkerArgs
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after
from components.spec.retrieval import Asking, Corpus
from components.spec.serving import Tokens

_TIMEOUT_SECONDS = 60
# By store. IAM "Vector Search roles and permissions"; where it is a table, the function asks for the question's embedding itself.
_ASK: Mapping[str, str] = {"vectors": "vectorsearch.dataObjects.search", "database": "aiplatform.endpoints.predict"}


@dataclass(frozen=True, kw_only=True)
class AskArgs:
    """Who may ask what."""

    apis: Mapping[str, Text]
    number: str
    """Number of the project."""
    corpora: Mapping[str, Corpus]
    stores: contracts.Corpora
    database: contracts.Server | None = None
    """Where those with `store: database` lie."""
    guardrails: contracts.Guardrails
    api: Asking
    tokens: Tokens | None = None
    """Whose tokens count, with `auth: jwt`."""
    claim: str
    """What names a caller's teams in its token."""
    identities: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Service accounts of teams, with `auth: iam`: e-mails."""
    network: contracts.Network | None
    compute_key: contracts.Key
    logs: Text
    """Bucket of access logs."""
    generation: int = 1
    """Which life of the environment this is: names of custom roles are not freed."""
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()


class Ask(Component):
    """An API that answers questions with passages of one corpus, to those who may read that corpus.

    With `auth: jwt` API Gateway refuses who shows no token of the issuer, and calls the function as an account of its own; with
    `auth: iam` the accounts of teams call the function itself, from the network. Cloud Run lets nobody else through: never
    `allUsers`. The function looks up whether the caller's teams are among the readers; a corpus that is not for them and one that
    there is not are answered alike. Neither questions nor passages are logged. The address is the cloud's own.

    API Gateway calls from outside of the network, so the function's ingress is open with `auth: jwt`, and who calls is what is
    checked. It has no throttle for callers without an API key: how many questions get through is bounded by the instances.

    Owns the API, its configuration and gateway, the function with its role and its user of the database, and the alerts. Never
    owns the stores or the guardrails.

    Costs 3.00 USD a million questions above the first two million a month (API Gateway pricing, 2025), besides the function, the
    store and the guardrail. A destroy takes it all.

    >>> instances(Asking(throttle_rps=20))
    2
    """

    outputs: contracts.Ask

    def __init__(self, name: str, args: AskArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the function, and the API in front of it."""
        super().__init__(name, scope, parent)
        self._args = args
        by_token = args.api.auth == "jwt"
        gateway = self._gateway_account() if by_token else None
        worker = self._worker(gateway)
        reads: list[pulumi.Resource] = []
        if args.database is not None:
            # In no role of the database: it reads what the owner of a table lets it.
            reads.append(sql_user(self, worker.outputs.identity, instance=args.database.id, project=args.apis[API]))
        watched = self._watched(worker.physical)
        policies = Alarms(f"{name}-alert", watched, scope=scope, parent=self).outputs.names
        direct = worker.outputs.id.apply(lambda _: f"{worker.address}/v1")
        address = direct if gateway is None else self._gateway(worker, gateway)
        said = f'resource.type="cloud_run_revision" AND resource.labels.service_name="{worker.physical}"'
        shown = list(policies.values())
        self.outputs = contracts.Ask(
            address=after(address, *reads),
            row=row("corpora", "retrieval", None, watched.alarms, policies=shown, log=(scope.account, said)),
        )
        self.finish(self.outputs)

    def _gateway_account(self) -> Text:
        args = WorkloadArgs(description="Calls the retrieval of corpora.", apis=self._args.apis, grants={})
        return Workload("ask-gateway", args, scope=self.scope, parent=self).outputs.id

    def _worker(self, gateway: Text | None) -> Worker:
        args, scope = self._args, self.scope
        role = gcp.projects.IAMCustomRole(
            f"{self.name}-role",
            role_id=role_id(scope.names, args.generation),
            title="Asks corpora",
            description="Searches stores of corpora, and reads nothing else of them.",
            permissions=[
                right for store, right in _ASK.items() if any(spec.store == store for spec in args.corpora.values())
            ],
            project=args.apis["iam.googleapis.com"],
            opts=self.options(),
        ).name
        signed_in = client(args.database, scope, retrieval.GCP_ASKS)
        grants = {"collections": Grant(role=role), **signed_in.grants}
        if any(spec.guardrail for spec in args.corpora.values()):
            grants["guardrails"] = Grant(role="roles/modelarmor.user")
        callers = {"gateway": gateway} if gateway is not None else self._teams()
        return Worker(
            f"{self.name}-retrieval",
            WorkerArgs(
                apis=args.apis,
                number=args.number,
                label=retrieval.GCP_ASKS,
                module="retrieval",
                entry="query",
                others=["retrieval_rest", "retrieval_stores"],
                requirements="retrieval_requirements.txt",
                description="Answers questions with passages of a corpus.",
                memory="512Mi",
                timeout_seconds=_TIMEOUT_SECONDS,
                at_once=retrieval.GCP_AT_ONCE,
                instances=instances(args.api),
                public=gateway is not None,
                environment={
                    "GATEWAY": gateway if gateway is not None else "",
                    "GROUPS_CLAIM": args.claim,
                    "CORPORA": pulumi.Output.json_dumps(
                        {corpus: self._readers(corpus, spec) for corpus, spec in args.corpora.items()}, sort_keys=True
                    ),
                    **signed_in.environment,
                },
                grants=grants,
                callers=callers,
                network=args.network,
                compute_key=args.compute_key,
                logs=args.logs,
            ),
            scope=scope,
            parent=self,
        )

    def _teams(self) -> dict[str, Text]:
        """The accounts of teams that read some corpus."""
        readers = {team for spec in self._args.corpora.values() for team in spec.readers}
        return {team: account for team, account in self._args.identities.items() if team in readers}

    def _readers(self, corpus: str, spec: Corpus) -> dict[str, object]:
        """What the function knows of a corpus: teams count with tokens, their accounts without."""
        args = self._args
        by_token = args.api.auth == "jwt"
        return {
            **retrieval.gcp_store(spec, args.stores.ids[corpus], self.scope.account, self.scope.region),
            "groups": list(spec.readers) if by_token else [],
            "accounts": [] if by_token else [args.identities[team] for team in spec.readers if team in args.identities],
            "guardrail": args.guardrails.ids[spec.guardrail] if spec.guardrail else None,
        }

    def _gateway(self, worker: Worker, account: Text) -> Text:
        """The address of the gateway, which lets through who shows a token."""
        args, scope = self._args, self.scope
        if args.tokens is None:
            raise ValueError("nobody issues the tokens that corpora are asked with")
        project, label = args.apis["apigateway.googleapis.com"], scope.names.of("corpora", "api")
        tagged = labels(scope.tags)
        api = gcp.apigateway.Api(
            f"{self.name}-api",
            api_id=label,
            display_name=label,
            # A configuration is checked by these two as it is made ("Configuring your development environment").
            project=pulumi.Output.all(
                project, args.apis["servicecontrol.googleapis.com"], args.apis["servicemanagement.googleapis.com"]
            ).apply(lambda found: str(found[0])),
            labels=tagged,
            opts=self.options(),
        )
        document = json.dumps(
            retrieval.openapi(
                label,
                worker.address,
                issuer=args.tokens.issuer,
                keys=args.tokens.keys,
                audience=args.tokens.audience,
                seconds=_TIMEOUT_SECONDS,
            ),
            sort_keys=True,
        )
        config = gcp.apigateway.ApiConfig(
            f"{self.name}-config",
            api=api.api_id,
            # It cannot be changed: another content is another one, made before the gateway moves to it.
            api_config_id=f"{label}-{retrieval.digest(document)}",
            display_name=label,
            gateway_config={"backend_config": {"google_service_account": account}},
            openapi_documents=[
                {
                    "document": {
                        "path": "openapi.json",
                        "contents": base64.b64encode(document.encode()).decode(),
                    }
                }
            ],
            project=project,
            labels=tagged,
            opts=self.options(),
        )
        gateway = gcp.apigateway.Gateway(
            f"{self.name}-gateway",
            gateway_id=label,
            display_name=label,
            api_config=config.id,
            region=scope.region,
            # Once there is somebody behind it, who lets it through.
            project=pulumi.Output.all(project, worker.outputs.id).apply(lambda found: str(found[0])),
            labels=tagged,
            opts=self.options(),
        )
        return after(gateway.default_hostname.apply(lambda host: f"https://{host}/v1"), gateway)

    def _watched(self, service: str) -> AlarmsArgs:
        args = self._args
        counted, foreign = retrieval.gcp_foreign(self.scope.names.full(""), service)
        return AlarmsArgs(
            apis=args.apis,
            alarms=[*retrieval.gcp_asking(service), foreign],
            counts=[counted],
            critical=args.critical,
            warning=args.warning,
        )


def instances(api: Asking) -> int:
    """Instances for as many questions as are let through.

    >>> instances(Asking(throttle_rps=1))
    1
    """
    return retrieval.gcp_instances(api.throttle_rps)


def role_id(names: Names, generation: int) -> str:
    """Id of the custom role of whoever searches.

    >>> role_id(Names("acme-ai", "dev"), 1)
    'acme_ai_dev_retrieval'
    """
    return names.of(nth("retrieval", generation), "custom_role").replace("-", "_")
