"""For a program: one object a stack. `docs/preview.md` describes every key; a key is never renamed or taken away."""

import json
from collections import Counter
from typing import Any

from policies.model import Place, Resource
from policies.registry import Finding
from preview.difference import Difference
from preview.needs import Need
from preview.price import Bill, Change, Figures, Line
from preview.prices.asked import HOURS
from preview.result import Preview


def render(preview: Preview, *, indent: int | None = None) -> str:
    """The object as text, keys sorted; one line unless `indent` is given."""
    return json.dumps(document(preview), indent=indent, sort_keys=True, ensure_ascii=False)


def document(preview: Preview) -> dict[str, Any]:
    """The object."""
    found: dict[str, Any] = {
        "stack": preview.stack,
        "project": preview.graph.project,
        "summary": _summary(preview),
        "resources": [_resource(r) for r in preview.graph.resources.values()],
        "outputs": preview.graph.outputs,
        "findings": [_finding(f) for f in preview.findings],
        "needs": [_need(n) for n in preview.needs],
        "price": _bill(preview.bill, preview.change),
    }
    if preview.difference is not None:
        found["difference"] = {"base": preview.base, "note": preview.note, **_difference(preview.difference)}
    return found


def _summary(preview: Preview) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resources": len(preview.resources),
        "components": sum(not r.custom for r in preview.graph.resources.values()),
        "protected": len(preview.protected),
        "types": dict(Counter(r.type for r in preview.resources)),
        "findings": {
            "mandatory": len(preview.mandatory),
            "advisory": len(preview.advisory),
            "waived": len(preview.waived),
        },
        "needs": len(preview.needs),
        "price": _figures(preview.bill.total),
    }
    if (difference := preview.difference) is not None:
        found["difference"] = {
            "created": len(difference.created),
            "changed": len(difference.changed) - len(difference.replaced),
            "replaced": len(difference.replaced),
            "removed": len(difference.removed),
        }
    return found


def _resource(resource: Resource) -> dict[str, Any]:
    return {
        "urn": resource.urn,
        "type": resource.type,
        "name": resource.name,
        "parent": resource.parent,
        "provider": resource.provider,
        "custom": resource.custom,
        "inputs": resource.inputs,
        "dependencies": list(resource.dependencies),
        "property_dependencies": {name: list(urns) for name, urns in resource.property_dependencies.items()},
        "protect": resource.protect,
        "retain_on_delete": resource.retain_on_delete,
        "ignore_changes": list(resource.ignore_changes),
        "aliases": list(resource.aliases),
        "secret_outputs": list(resource.secret_outputs),
        "place": _place(resource.place),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    waiver = finding.waiver
    return {
        "rule": finding.rule,
        "title": finding.title,
        "severity": finding.severity,
        "enforcement": finding.enforcement,
        "resource": finding.resource,
        "name": finding.name,
        "message": finding.message,
        "remedy": finding.remedy,
        "place": _place(finding.place),
        "waiver": waiver
        and {
            "rule": waiver.rule,
            "resource": waiver.resource,
            "reason": waiver.reason,
            "owner": waiver.owner,
            "expires": waiver.expires.isoformat(),
        },
    }


def _need(need: Need) -> dict[str, Any]:
    return {"kind": need.kind, "text": need.text, "source": need.source, "resources": list(need.resources)}


def _bill(bill: Bill, change: Change | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "currency": "USD",
        "hours": HOURS,
        **_figures(bill.total),
        "budget": bill.budget_usd,
        "volumes": bill.volumes,
        "endpoints": [{"name": name, **_figures(each)} for name, each in bill.endpoints.items()],
        "teams": [
            {"name": name, **_figures(each), "budget": bill.team_budgets.get(name)} for name, each in bill.teams.items()
        ],
        "components": [{"name": name, **_figures(each)} for name, each in bill.components.items()],
        "hosted": [{"endpoint": endpoint, "pool": pool} for endpoint, pool in sorted(bill.hosted.items())],
        "lines": [_line(line) for line in bill.lines],
        "unknown": [{"what": what, "why": why, "count": count} for (what, why), count in bill.unknown.items()],
    }
    if change is not None:
        found["change"] = {
            **_figures(change.total),
            "volumes": change.before.volumes,
            "resources": [{"urn": resource.urn, **_figures(figures)} for resource, figures in change.resources],
        }
    return found


def _figures(of: Figures) -> dict[str, float]:
    return {"idle": round(of.idle, 2), "expected": round(of.expected, 2), "ceiling": round(of.ceiling, 2)}


def _line(line: Line) -> dict[str, Any]:
    item, rate = line.item, line.item.rate
    return {
        "resource": line.resource.urn,
        "component": line.component,
        "endpoint": line.endpoint,
        "team": line.team,
        "what": rate.what,
        "unit": rate.unit,
        "usd": rate.usd,
        "units": {"idle": _units(item.idle), "expected": _units(item.expected), "ceiling": _units(item.ceiling)},
        **_figures(line.figures),
        "unknown": line.unknown,
        "region": rate.region,
        "elsewhere": rate.elsewhere,
        "as_of": rate.as_of,
        "source": rate.source,
    }


def _units(count: float | None) -> float | None:
    return None if count is None else round(count, 6)


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "created": [r.urn for r in difference.created],
        "changed": [
            {
                "urn": changed.resource.urn,
                "replaced": changed.replaced,
                "because": [c.path for c in changed.because],
                "changes": [{"path": c.path, "old": c.old, "new": c.new} for c in changed.changes],
            }
            for changed in difference.changed
        ],
        "removed": [r.urn for r in difference.removed],
        "data": [{"urn": e.resource.urn, "how": e.how, "fate": e.fate} for e in difference.endangered],
    }


def _place(place: Place | None) -> dict[str, Any] | None:
    return {"file": place.file, "line": place.line} if place else None
