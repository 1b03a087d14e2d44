"""The reports: complete, stable, short enough, and without a secret."""

import json
import re
from dataclasses import dataclass, replace
from datetime import date

import pytest

from policies.model import Place
from policies.registry import Finding
from preview.difference import compare
from preview.needs import Need
from preview.price import Bill, change, price
from preview.prices.asked import asked
from preview.report import json as as_json
from preview.report import markdown, text, words
from preview.result import Preview, look
from tests.preview.graphs import AWS, graph, make, ref, urn

BUCKET = "aws:s3/bucket:Bucket"
TOPIC = "aws:sns/topic:Topic"
STORAGE = "ai-platform:aws:Storage"


@dataclass(frozen=True)
class Accepted:
    rule: str = "bucket-tls"
    resource: str = "raw"
    reason: str = "moved | next week"
    owner: str = "ml@example.com"
    expires: date = date(2027, 1, 31)


def finding(name: str = "raw", **fields: object) -> Finding:
    given = {
        "rule": "bucket-tls",
        "title": "t",
        "severity": "high",
        "enforcement": "mandatory",
        "resource": urn(BUCKET, name),
        "name": name,
        "message": "lets in <what> comes | in clear",
        "remedy": "Deny it.",
        "place": Place("components/aws/data/storage.py", 12),
        **fields,
    }
    return Finding(**given)  # type: ignore[arg-type]


HEAD = graph(
    make("ai-platform:Platform", "dev"),
    make(STORAGE, "raw", parent=urn("ai-platform:Platform", "dev")),
    make(STORAGE, "empty", parent=urn("ai-platform:Platform", "dev")),
    make(AWS, "aws"),
    make(
        BUCKET,
        "raw",
        parent=urn(STORAGE, "raw"),
        provider=urn(AWS, "aws"),
        inputs={"bucket": "b", "tags": {"z": "1", "a": "[secret]"}},
        dependencies=(urn(AWS, "aws"),),
        property_dependencies={"bucket": (urn(AWS, "aws"),)},
        protect=True,
        ignore_changes=("tags",),
        place=Place("components/aws/data/storage.py", 12),
    ),
    make("aws:s3/bucketVersioning:BucketVersioning", "raw", parent=urn(BUCKET, "raw")),
    make(TOPIC, "a"),
    make(TOPIC, "b", inputs={"arn": ref(BUCKET, "raw", "arn")}),
    outputs={"bucket": "b"},
)
BASE = graph(
    make(AWS, "aws"),
    make(BUCKET, "raw", inputs={"bucket": "a", "tags": {}}, protect=True, provider=urn(AWS, "aws")),
    make(BUCKET, "old"),
    make(TOPIC, "a"),
    make(TOPIC, "b"),
    make(TOPIC, "c"),
)


KEY = "aws:kms/key:Key"
PAID = graph(
    make("ai-platform:Platform", "dev", inputs={"volumes": {"budget": {"monthly_usd": 40, "teams": {"risk": 1}}}}),
    make(AWS, "aws", inputs={"region": "us-west-2"}),
    make("aws:ec2/natGateway:NatGateway", "nat", provider=urn(AWS, "aws")),
    make(KEY, "a", provider=urn(AWS, "aws"), inputs={"tags": {"team": "risk"}}),
    make(KEY, "b", provider=urn(AWS, "aws"), inputs={"tags": {"team": "risk"}}),
    make("aws:batch/computeEnvironment:ComputeEnvironment", "jobs", provider=urn(AWS, "aws"), inputs={
        "computeResources": {"type": "EC2", "instanceTypes": ["g6.2xlarge"], "minVcpus": 0, "maxVcpus": 8}}),
    make(BUCKET, "raw"),
)  # fmt: skip
CHEAPER = graph(
    *(r for r in PAID.resources.values() if r.name not in {"b", "dev"}),
    make(KEY, "c", provider=urn(AWS, "aws")),
    make(KEY, "d", provider=urn(AWS, "aws")),
)


def seen(
    stack: str = "dev",
    *,
    findings: tuple[Finding, ...] = (),
    change: bool = False,
    note: str = "",
    paid: bool = False,
) -> Preview:
    head = graph(*HEAD.resources.values(), stack=stack, outputs=dict(HEAD.outputs))
    return Preview(
        bill=price(PAID) if paid else Bill(),
        change=costs() if paid and change else None,
        graph=head,
        findings=findings,
        needs=(
            Need(kind="account", text="AWS account 1"),
            Need(kind="confirmation", text="x@y confirms " + "so " * 40),
        ),
        base="main" if change else "",
        difference=compare(BASE, head) if change else None,
        note=note,
    )


def costs():
    return change(price(CHEAPER, asked(PAID)), price(PAID))


FINDINGS = (
    finding(),
    finding("a", enforcement="advisory", severity="low", place=None),
    finding("b", waiver=Accepted()),
)


def test_look_asks_everything() -> None:
    found = look(BASE, base="main", note="why")
    assert found.base == "main"
    assert found.note == "why"
    assert found.difference is not None
    assert len(found.difference.created) == 6
    assert found.mandatory
    assert look(BASE).difference is None
    again = look(BASE, base="main", before=BASE).difference
    assert again is not None
    assert not again


# JSON


def test_json_has_every_documented_key() -> None:
    found = as_json.document(seen(findings=FINDINGS, change=True, paid=True))
    parts = {"summary", "resources", "outputs", "findings", "needs", "price", "difference"}
    assert set(found) == {"stack", "project", *parts}
    assert found["summary"] == {
        "resources": 4,
        "components": 3,
        "protected": 1,
        "types": {BUCKET: 1, TOPIC: 2, "aws:s3/bucketVersioning:BucketVersioning": 1},
        "findings": {"mandatory": 1, "advisory": 1, "waived": 1},
        "needs": 2,
        "price": {"idle": 34.85, "expected": 34.85, "ceiling": 748.5},
        "difference": {"created": 1, "changed": 1, "replaced": 1, "removed": 2},
    }
    raw = next(r for r in found["resources"] if r["urn"] == urn(BUCKET, "raw"))
    assert raw == {
        "urn": urn(BUCKET, "raw"),
        "type": BUCKET,
        "name": "raw",
        "parent": urn(STORAGE, "raw"),
        "provider": urn(AWS, "aws"),
        "custom": True,
        "inputs": {"bucket": "b", "tags": {"z": "1", "a": "[secret]"}},
        "dependencies": [urn(AWS, "aws")],
        "property_dependencies": {"bucket": [urn(AWS, "aws")]},
        "protect": True,
        "retain_on_delete": False,
        "ignore_changes": ["tags"],
        "aliases": [],
        "secret_outputs": [],
        "place": {"file": "components/aws/data/storage.py", "line": 12},
    }
    assert [f["waiver"] for f in found["findings"]] == [None, None, {**vars(Accepted()), "expires": "2027-01-31"}]
    assert found["findings"][0]["place"] == {"file": "components/aws/data/storage.py", "line": 12}
    assert found["findings"][1]["place"] is None
    assert found["difference"]["base"] == "main"
    assert found["difference"]["removed"] == [urn(BUCKET, "old"), urn(TOPIC, "c")]
    assert found["difference"]["created"] == [urn("aws:s3/bucketVersioning:BucketVersioning", "raw")]
    assert found["difference"]["data"] == [
        {"urn": urn(BUCKET, "old"), "how": "removed", "fate": "lost"},
        {"urn": urn(BUCKET, "raw"), "how": "replaced", "fate": "refused"},
    ]
    assert found["difference"]["changed"][0] == {
        "urn": urn(BUCKET, "raw"),
        "replaced": True,
        "because": ["bucket"],
        "changes": [{"path": "bucket", "old": "a", "new": "b"}],
    }
    assert "difference" not in as_json.document(seen())
    assert "difference" not in as_json.document(seen())["summary"]


def test_json_is_one_line_or_pretty_and_sorted() -> None:
    line, pretty = as_json.render(seen()), as_json.render(seen(), indent=2)
    assert "\n" not in line
    assert json.loads(line) == json.loads(pretty) == json.loads(json.dumps(as_json.document(seen())))
    assert list(json.loads(line)) == sorted(json.loads(line))
    assert [r["urn"] for r in json.loads(line)["resources"]] == sorted(HEAD.resources)


def test_every_key_is_documented() -> None:
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "preview.md").read_text()
    missing: set[str] = set()

    def look_for(value: object, free: bool = False) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if not free and f"`{key}`" not in page:
                    missing.add(key)
                look_for(item, free or key in {"inputs", "outputs", "types", "property_dependencies"})
        elif isinstance(value, list):
            for item in value:
                look_for(item, free)

    look_for(as_json.document(seen(findings=FINDINGS, change=True, paid=True)))
    assert missing == set()


# Text


def test_text_of_a_stack() -> None:
    assert text.render([seen(findings=FINDINGS, change=True, note="why")]).splitlines() == [
        "== dev: 4 resources, 1 mandatory, 1 advisory, 1 waived ==",
        "└─ Platform  dev",
        "   ├─ Storage  empty",
        "   └─ Storage  raw  2",
        "         s3.Bucket, s3.BucketVersioning",
        "without a component  2",
        "    sns.Topic 2",
        "",
        "Protected (1):",
        "  s3.Bucket",
        "",
        "Change against main (+1 ~1 ±1 -2):",
        "  why",
        "  ! s3.Bucket old holds data and is removed: its data is lost",
        "  ! s3.Bucket raw holds data and is replaced: it is protected, so Pulumi refuses",
        "    the whole update",
        "  - s3.Bucket old",
        "  - sns.Topic c",
        "  ± s3.Bucket raw  (replaced: bucket)",
        '  ±     bucket: "a" → "b"',
        "  ~ sns.Topic b",
        '  ~     arn: "(absent)" → "${raw.arn}"',
        "  + s3.BucketVersioning raw",
        "",
        "Findings (3):",
        "  high mandatory  bucket-tls  raw  components/aws/data/storage.py:12",
        "      lets in <what> comes | in clear",
        "      Deny it.",
        "  low advisory  bucket-tls  a",
        "      lets in <what> comes | in clear",
        "      Deny it.",
        "  high waived  bucket-tls  b  components/aws/data/storage.py:12",
        "      lets in <what> comes | in clear",
        "      accepted by ml@example.com until 2027-01-31: moved | next week",
        "",
        "Before an up:",
        "  Accounts and projects",
        "    - AWS account 1",
        "  To be confirmed by mail",
        "    - x@y confirms so so so so so so so so so so so so so so so so so so so so",
        "      so so so so so so so so so so so so so so so so so so so so",
        "",
    ]


def test_text_of_several_stacks_ends_with_a_table() -> None:
    with_change = text.render([seen(change=True, findings=FINDINGS, paid=True), seen("prod")])
    assert with_change.splitlines()[-3:] == [
        "stack  resources  protected       change  mandatory  advisory  waived  needs  USD/month",
        "dev            4          1  +1 ~1 ±1 -2          1         1       1      2         35",
        "prod           4          1                       0         0       0      2          0",
    ]
    assert text.render([seen(), seen("prod")]).splitlines()[-3] == (
        "stack  resources  protected  mandatory  advisory  waived  needs  USD/month"
    )
    assert "stack  resources" not in text.render([seen()])
    assert max(len(line) for line in with_change.splitlines()[:-3]) <= 80


def test_text_says_that_nothing_changes() -> None:
    same = Preview(graph=BASE, findings=(), needs=(), base="main", difference=compare(BASE, BASE))
    assert "No change against main." in text.render([same])
    assert "no findings" in text.render([same])


def test_styles_meet_their_lines() -> None:
    whole = text.render([seen(findings=FINDINGS, change=True, paid=True)])
    unused = [p for p, _ in text.STYLES if not re.search(p, whole, re.MULTILINE)]
    assert unused == [r"\b(?:medium|low) mandatory\b"]


def test_text_says_what_it_costs() -> None:
    said = text.render([seen(change=True, paid=True)]).partition("Price")[2].partition("Before an up")[0]
    assert said.splitlines() == [
        " (USD a month, without taxes and free tiers):",
        "                                                         idle  expected  ceiling",
        "  all                                                      35        35      748",
        "  against main                                          -1.00     -1.00    -1.00",
        "  by team",
        "    risk                                                 2.00      2.00     2.00",
        "    (shared)                                               33        33      746",
        "  what changes most",
        "    kms.Key b                                           +1.00     +1.00    +1.00",
        "    kms.Key c                                           -1.00     -1.00    -1.00",
        "    kms.Key d                                           -1.00     -1.00    -1.00",
        "  the dearest",
        "    VPC NAT gateway, nat                                   33        33       33",
        "    KMS customer managed key, a                          1.00      1.00     1.00",
        "    KMS customer managed key, b                          1.00      1.00     1.00",
        "    EC2 g6.2xlarge, jobs                                    0         0      714",
        "  87 % of the budget of 40 USD is expected; the ceiling is above it.",
        "  What is expected of risk is above its 1.00 USD of the budget.",
        "  main states no volumes: those of now stand in for its own.",
        "  Prices of another region: us-east-1 for 3 lines.",
        "  In no figure: no volume of EC2 g6.2xlarge, VPC NAT gateway data, s3.Bucket.",
        "",
    ]


def test_a_graph_without_volumes_says_so() -> None:
    silent = Preview(graph=CHEAPER, findings=(), needs=(), bill=price(CHEAPER))
    assert "No volumes are stated: what is expected is what is there when idle." in text.render([silent])


def test_what_is_expected_above_the_budget_is_said_plainly() -> None:
    dear = Preview(graph=PAID, findings=(), needs=(), bill=replace(price(PAID), budget_usd=20))
    assert "What is expected is above the budget of 20 USD, and so is the ceiling." in text.render([dear])
    assert "What is expected is above the budget of 20 USD, and so is the ceiling." in markdown.render([dear])
    assert "⚠️ **dev**: 5 resources · no findings · 35 USD a month" in markdown.render([dear])
    within = Preview(graph=PAID, findings=(), needs=(), bill=replace(price(PAID), budget_usd=1000))
    assert "3 % of the budget of 1,000 USD is expected; the ceiling is within it." in text.render([within])
    assert "✅ **dev**" in markdown.render([within])


# Markdown


def test_markdown_says_what_it_costs() -> None:
    page = markdown.render([seen(change=True, paid=True)])
    assert "| stack | idle | expected | ceiling | against the base | budget |" in page
    assert "| dev | 35 | 35 | 748 | -1.00 / -1.00 / -1.00 | 87 % of the budget of 40 USD is expected;" in page
    assert "| EC2 g6.2xlarge, jobs | 0 | 0 | 714 |\n| team **risk** | 2.00 | 2.00 | 2.00 |" in page
    assert "In no figure: no volume of EC2 g6.2xlarge, VPC NAT gateway data, s3.Bucket." in page


def test_markdown_of_a_pull_request() -> None:
    dev, prod = seen(findings=FINDINGS, change=True, note="a <b>"), seen("prod", change=True)
    assert markdown.render([dev, prod]).splitlines()[:22] == [
        "<!-- ai-platform-preview -->",
        "## Preview",
        "",
        "- ❌ **dev**: 4 resources · `+1 ~1 ±1 -2` · 1 mandatory, 1 advisory, 1 waived<br>a &lt;b>",
        "- ⚠️ **prod**: 4 resources · `+1 ~1 ±1 -2` · no findings",
        "",
        "### Removed, replaced, or holding data",
        "",
        "- dev: **s3.Bucket old holds data and is removed: its data is lost**",
        "- dev: s3.Bucket raw holds data and is replaced: it is protected, so Pulumi refuses the whole update",
        "- dev: sns.Topic c is removed",
        "- prod: **s3.Bucket old holds data and is removed: its data is lost**",
        "- prod: s3.Bucket raw holds data and is replaced: it is protected, so Pulumi refuses the whole update",
        "- prod: sns.Topic c is removed",
        "",
        "### Findings",
        "",
        "| stack | severity | rule | resource | where | what to do |",
        "|---|---|---|---|---|---|",
        (
            "| dev | high, mandatory | `bucket-tls` | `raw`: lets in &lt;what> comes \\| in clear"
            " | components/aws/data/storage.py:12 | Deny it. |"
        ),
        (
            "| dev | high, waived | `bucket-tls` | `b`: lets in &lt;what> comes \\| in clear"
            " | components/aws/data/storage.py:12 | accepted by ml@example.com until 2027-01-31: moved \\| next week |"
        ),
        "| dev | low, advisory | `bucket-tls` | `a`: lets in &lt;what> comes \\| in clear |  | Deny it. |",
    ]
    details = markdown.render([dev]).partition("<details>")[2]
    assert details.splitlines() == [
        "<summary>dev against main: +1 ~1 ±1 -2</summary>",
        "",
        "```diff",
        "- s3.Bucket old",
        "- sns.Topic c",
        "! s3.Bucket raw  (replaced: bucket)",
        '!     bucket: "a" → "b"',
        "! sns.Topic b",
        '!     arn: "(absent)" → "${raw.arn}"',
        "+ s3.BucketVersioning raw",
        "```",
        "",
        "</details>",
        "",
    ]
    assert "- AWS account 1 (dev, prod)" in markdown.render([dev, prod])


def test_markdown_is_green_where_nothing_stands_against_it() -> None:
    same = Preview(graph=BASE, findings=(), needs=(), base="main", difference=compare(BASE, BASE))
    assert (
        markdown.render([same])
        == f"{markdown.MARKER}\n## Preview\n\n- ✅ **dev**: 5 resources · no change · no findings\n\n"
    )
    assert "✅ **dev**: 4 resources · no findings" in markdown.render([seen()])
    assert "⚠️ **dev**" in markdown.render([seen(findings=FINDINGS[1:])])


def test_a_fence_in_a_value_ends_no_block() -> None:
    before, after = graph(make(TOPIC, "a", inputs={"x": "````"})), graph(make(TOPIC, "a", inputs={"x": "```\n"}))
    page = markdown.render([Preview(graph=after, findings=(), needs=(), base="b", difference=compare(before, after))])
    assert page.count("`````diff\n") == page.count("\n`````\n") == 1


@pytest.mark.parametrize("count", [900, 20_000])
def test_markdown_is_cut_by_section_and_never_inside_a_block(count: int) -> None:
    many = tuple(finding(f"bucket-{i}", message="m" * 40) for i in range(count // 20))
    large = graph(*(make(TOPIC, f"topic-{i:06}", inputs={"x": "y" * 50}) for i in range(count)))
    previews = [
        Preview(graph=large, findings=many, needs=seen().needs, base="main", difference=compare(BASE, large)),
        Preview(graph=large, findings=(), needs=(), base="main", difference=compare(large, BASE)),
    ]
    page = markdown.render(previews)
    assert len(page) < 65_536
    assert page == markdown.render(previews)
    assert page.startswith(markdown.MARKER)
    assert page.count("<details>") == page.count("</details>") == 2
    assert page.count("```diff\n") == page.count("\n```\n") == 2
    assert "more lines in the full report: the artifact of this run." in page
    assert "1 mandatory" not in page
    assert f"{len(many)} mandatory" in page
    for line in page.splitlines():
        assert not line.startswith("| dev") or line.endswith("Deny it. |")


# All of them


def test_no_report_holds_a_secret() -> None:
    import pulumi
    import pulumi_aws as aws

    from preview.record import run

    def program() -> None:
        given = pulumi.ResourceOptions(provider=aws.Provider("aws", region="us-west-2"))
        password = pulumi.Config().require_secret("password")
        aws.ssm.Parameter("p", type="String", value=password, tags={"deep": password}, opts=given)
        document = pulumi.Output.json_dumps({"token": password})
        held = aws.secretsmanager.Secret("s", opts=given)
        aws.secretsmanager.SecretVersion("v", secret_id=held.id, secret_string=document, opts=given)
        pulumi.export("password", password)

    def recorded(password: str) -> Preview:
        config, secrets = {"ai-platform:password": password}, ["ai-platform:password"]
        graph_ = run(program, config=config, secrets=secrets)
        return look(graph_, base="main", before=run(lambda: None))

    found = recorded("hunter2")
    pages = [as_json.render(found), as_json.render(found, indent=2), markdown.render([found]), text.render([found])]
    assert all("hunter2" not in page for page in pages)
    assert pages[0].count("[secret]") == 4
    assert pages == [
        as_json.render(other := recorded("another")),
        as_json.render(other, indent=2),
        markdown.render([other]),
        text.render([other]),
    ]


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        (BUCKET, "s3.Bucket"),
        ("aws:ec2/vpc:Vpc", "ec2.Vpc"),
        ("kubernetes:apps/v1:Deployment", "apps.Deployment"),
        (STORAGE, "Storage"),
        ("ai-platform:Platform", "Platform"),
        (AWS, "aws"),
        ("plain", "plain"),
    ],
)
def test_kinds_as_a_person_says_them(type_: str, said: str) -> None:
    assert words.kind(type_) == said


def test_long_values_are_cut() -> None:
    assert words.value("x" * 1000) == f'"{"x" * 159}…'
