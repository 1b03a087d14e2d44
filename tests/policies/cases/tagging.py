"""Rules on tags."""

from tests.policies.build import aws, bad, gcp, good, make

TOPIC = "aws:sns/topic:Topic"

CASES = [
    bad("tags-common", "no owner", "owner", aws(owner=None)),
    bad(
        "tags-common",
        "no tags",
        "environment, tier",
        make("pulumi:providers:aws", "aws", inputs={"region": "us-west-2"}),
    ),
    bad("tags-common", "another environment", "called prod, not dev", aws(environment="prod")),
    bad("tags-common", "labels without a cost centre", "cost-center", gcp(cost_center=None)),
    bad(
        "tags-common",
        "text that is no JSON",
        "environment, tier",
        make("pulumi:providers:aws", "aws", inputs={"defaultTags": "{what"}),
    ),
    good("tags-common", "all tags", aws()),
    good("tags-common", "all labels", gcp()),
    bad(
        "tags-not-overridden",
        "another environment",
        "tag environment is prod, not dev",
        aws(),
        make(TOPIC, inputs={"tags": {"environment": "prod"}}),
    ),
    bad(
        "tags-not-overridden",
        "another tier",
        "label tier is prod, not dev",
        gcp(),
        make("gcp:pubsub/topic:Topic", inputs={"labels": {"tier": "prod"}}),
    ),
    good(
        "tags-not-overridden", "a team", aws(), make(TOPIC, inputs={"tags": {"team": "vision", "environment": "dev"}})
    ),
    good(
        "tags-not-overridden",
        "another owner, and another bill",
        aws(),
        make(TOPIC, inputs={"tags": {"cost-center": "cc-2"}}),
    ),
    good("tags-not-overridden", "no provider to compare with", make(TOPIC, inputs={"tags": {"environment": "prod"}})),
]
