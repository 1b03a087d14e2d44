"""The stand-in for the engine: what it keeps, what it answers, what it refuses."""

import asyncio
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pulumi
import pulumi_aws as aws
import pytest
from pulumi.runtime import settings

from policies.model import SECRET, Place
from preview.engine import ProgramError
from preview.record import record, run

HERE = "tests/preview/test_record.py"
ROOT = Path(__file__).parents[2]


def urn(types: str, name: str) -> str:
    return f"urn:pulumi:dev::ai-platform::{types}::{name}"


BUCKET = "aws:s3/bucket:Bucket"


class Group(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ai-platform:aws:Group", name, None, opts)


def provider(**arguments: object) -> aws.Provider:
    return aws.Provider("aws", region="us-west-2", **arguments)  # type: ignore[arg-type]


def using(given: pulumi.ProviderResource, **options: object) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(provider=given, **options)  # type: ignore[arg-type]


def problems(program, **arguments) -> list[str]:
    with pytest.raises(ProgramError) as caught:
        run(program, **arguments)
    return caught.value.problems


# What is kept


def test_urn_has_the_types_of_all_parents_but_the_stack() -> None:
    def program() -> None:
        outer = Group("outer")
        inner = Group("inner", pulumi.ResourceOptions(parent=outer))
        aws.s3.Bucket("raw", opts=using(provider(), parent=inner))

    found = run(program).resources
    chain = f"ai-platform:aws:Group$ai-platform:aws:Group${BUCKET}"
    assert urn(chain, "raw") in found
    assert found[urn(chain, "raw")].parent == urn("ai-platform:aws:Group$ai-platform:aws:Group", "inner")
    assert found[urn("ai-platform:aws:Group", "outer")].parent == ""
    assert not found[urn("ai-platform:aws:Group", "outer")].custom
    assert list(found) == sorted(found)


def test_options_come_from_the_request() -> None:
    def program() -> None:
        given = provider()
        key = aws.kms.Key("key", opts=using(given))
        aws.s3.Bucket(
            "raw",
            bucket="acme-raw",
            opts=using(
                given,
                protect=True,
                retain_on_delete=True,
                ignore_changes=["tags", "forceDestroy"],
                replace_on_changes=["objectLockEnabled"],
                depends_on=[key],
                additional_secret_outputs=["arn"],
                aliases=[
                    pulumi.Alias(name="old"),
                    pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE, type_="aws:s3/b:B", stack="x", project="y"),
                    "urn:pulumi:dev::ai-platform::aws:s3/bucket:Bucket::oldest",
                ],
            ),
        )

    raw = run(program).resources[urn(BUCKET, "raw")]
    assert (raw.protect, raw.retain_on_delete) == (True, True)
    assert raw.ignore_changes == ("forceDestroy", "tags")
    assert raw.replace_on_changes == ("objectLockEnabled",)
    assert raw.dependencies == (urn("aws:kms/key:Key", "key"),)
    assert raw.property_dependencies == {}
    assert raw.secret_outputs == ("arn",)
    assert raw.provider == urn("pulumi:providers:aws", "aws")
    assert raw.aliases[:3] == (
        urn(BUCKET, "old"),
        "urn:pulumi:x::y::aws:s3/b:B::raw",
        urn(BUCKET, "oldest"),
    )


def test_place_is_the_line_in_the_project() -> None:
    def program() -> None:
        given = provider()
        aws.s3.Bucket("raw", opts=using(given))

    place = run(program).resources[urn(BUCKET, "raw")].place
    assert place == Place(HERE, program.__code__.co_firstlineno + 2)


def test_no_place_outside_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(lambda: provider() and None)
    assert [r.place for r in found.resources.values()] == [None]


def test_default_tags_stay_on_the_provider_with_their_own_type() -> None:
    def program() -> None:
        given = provider(default_tags={"tags": {"tier": "dev"}}, allowed_account_ids=["111111111111"])
        aws.s3.Bucket("raw", opts=using(given))

    found = run(program).resources
    inputs = found[urn("pulumi:providers:aws", "aws")].inputs
    assert inputs["defaultTags"] == {"tags": {"tier": "dev"}}
    assert inputs["allowedAccountIds"] == ["111111111111"]
    assert inputs["region"] == "us-west-2"
    assert found[urn(BUCKET, "raw")].inputs == {}


def test_numbers_keep_their_kind() -> None:
    def program() -> None:
        given = provider()
        aws.kms.Key("key", deletion_window_in_days=30, opts=using(given))
        aws.cloudwatch.MetricAlarm("a", comparison_operator="x", evaluation_periods=1, threshold=0.5, opts=using(given))

    found = run(program).resources
    assert repr(found[urn("aws:kms/key:Key", "key")].inputs["deletionWindowInDays"]) == "30"
    assert found[urn("aws:cloudwatch/metricAlarm:MetricAlarm", "a")].inputs["threshold"] == 0.5


# What is answered


def test_an_output_is_a_reference_that_documents_and_dependencies_hold() -> None:
    def program() -> None:
        given = provider()
        raw = aws.s3.Bucket("raw", bucket="acme-raw", opts=using(given))
        aws.s3.BucketPolicy(
            "policy",
            bucket=raw.id,
            policy=pulumi.Output.json_dumps({"Resource": [raw.arn, raw.arn.apply(lambda a: f"{a}/*")]}),
            opts=using(given),
        )
        pulumi.export("bucket", raw.bucket)
        pulumi.export("arn", raw.arn)

    found = run(program)
    raw = urn(BUCKET, "raw")
    policy = found.resources[urn("aws:s3/bucketPolicy:BucketPolicy", "policy")]
    assert policy.inputs["bucket"] == f"${{{raw}#id}}"
    assert json.loads(policy.inputs["policy"]) == {"Resource": [f"${{{raw}#arn}}", f"${{{raw}#arn}}/*"]}
    assert policy.dependencies == (raw,)
    assert policy.property_dependencies == {"bucket": (raw,), "policy": (raw,)}
    assert policy.references == {(raw, "id"), (raw, "arn")}
    assert found.outputs == {"arn": f"${{{raw}#arn}}", "bucket": "acme-raw"}


def test_nested_outputs_have_their_shape_and_optional_ones_are_absent() -> None:
    seen: dict[str, object] = {}

    def program() -> None:
        cluster = aws.eks.Cluster("eks", role_arn="r", vpc_config={"subnet_ids": ["a"]}, opts=using(provider()))
        for name, value in {
            "issuer": cluster.identities[0].oidcs[0].issuer,
            "data": cluster.certificate_authority.data,
            "subnets": cluster.vpc_config.subnet_ids,
            "remote": cluster.remote_network_config,
        }.items():
            value.apply(lambda v, name=name: seen.__setitem__(name, v))

    run(program)
    eks = urn("aws:eks/cluster:Cluster", "eks")
    assert seen == {
        "issuer": f"${{{eks}#identities[0].oidcs[0].issuer}}",
        "data": f"${{{eks}#certificateAuthority.data}}",
        "subnets": ["a"],
        "remote": None,
    }


def test_unknown_in_preview_runs_no_apply_and_refers_to_what_it_waits_for() -> None:
    seen: list[str] = []

    def program() -> None:
        given = provider()
        raw = aws.s3.Bucket("raw", bucket="acme-raw", opts=using(given))
        raw.arn.apply(seen.append)
        raw.id.apply(seen.append)
        raw.bucket.apply(seen.append)
        aws.s3.BucketPolicy("policy", bucket=raw.id, policy=raw.arn, opts=using(given))
        pulumi.export("arn", raw.arn)

    found = run(program, preview=True)
    assert seen == ["acme-raw"]
    policy = found.resources[urn("aws:s3/bucketPolicy:BucketPolicy", "policy")]
    assert policy.inputs == dict.fromkeys(("bucket", "policy"), f"${{{urn(BUCKET, 'raw')}#}}")
    assert policy.property_dependencies["policy"] == (urn(BUCKET, "raw"),)
    assert policy.provider == urn("pulumi:providers:aws", "aws")
    assert "#arn}" in found.outputs["arn"]


def test_a_provider_may_wait_for_an_unknown() -> None:
    def program() -> None:
        raw = aws.s3.Bucket("raw", opts=using(provider()))
        aws.Provider("later", allowed_account_ids=[raw.arn])

    later = run(program, preview=True).resources[urn("pulumi:providers:aws", "later")]
    assert later.inputs["allowedAccountIds"] == f"${{{urn(BUCKET, 'raw')}#}}"


def test_every_value_that_was_secret_is_shown_as_such() -> None:
    def program() -> None:
        given = provider(token=pulumi.Output.secret("hunter1"))
        password = pulumi.Config().require_secret("password")
        secret = aws.secretsmanager.Secret("s", opts=using(given, additional_secret_outputs=["arn"]))
        aws.ssm.Parameter("text", type="String", value=password, opts=using(given))
        aws.ssm.Parameter("inside", type="String", value=pulumi.Output.concat("a", password, "b"), opts=using(given))
        aws.ssm.Parameter("output", type="String", value=secret.arn, opts=using(given))
        aws.ssm.Parameter("nested", type="String", value="x", tags={"a": password, "b": "open"}, opts=using(given))
        pulumi.export("password", {"deep": [password]})

    found = run(program, config={"ai-platform:password": "hunter2"}, secrets=["ai-platform:password"])
    values = {r.name: r.inputs for r in found.resources.values()}
    assert values["text"]["value"] == values["inside"]["value"] == values["output"]["value"] == "[secret]"
    assert values["nested"]["tags"] == {"a": "[secret]", "b": "open"}
    assert values["aws"].pop("token") == SECRET
    assert "hunter" not in repr(found)


def test_files_are_their_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "index.py").write_text("one")

    def program() -> None:
        given = provider()
        assets = {"a.py": pulumi.StringAsset("text"), "b.py": pulumi.FileAsset("code/index.py")}
        for name, code in {
            "assets": pulumi.AssetArchive({**assets, "c": pulumi.FileArchive("code")}),
            "folder": pulumi.FileArchive(str(folder)),
            "remote": pulumi.RemoteArchive("https://example.com/a.zip"),
        }.items():
            aws.lambda_.Function(name, role="r", code=code, opts=using(given))

    def codes() -> dict[str, object]:
        return {r.name: r.inputs["code"] for r in run(program).resources.values() if "code" in r.inputs}

    before = codes()
    assert before["remote"] == "[archive https://example.com/a.zip]"
    assert isinstance(before["assets"], dict)
    assert set(before["assets"]) == {"a.py", "b.py", "c"}
    assert str(tmp_path) not in repr(before)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "index.pyc").write_text("never part of it")
    assert codes() == before
    (folder / "index.py").write_text("two")
    after = codes()
    assert after["folder"] != before["folder"]
    assert after["assets"]["a.py"] == before["assets"]["a.py"]  # type: ignore[index]
    assert after["assets"]["b.py"] != before["assets"]["b.py"]  # type: ignore[index]


def test_a_resource_as_an_input_is_a_reference() -> None:
    def program() -> None:
        given = provider()
        raw = aws.s3.Bucket("raw", opts=using(given))
        group = Group("group")
        pulumi.ComponentResource("ai-platform:aws:List", "list", {"of": [raw, "b"]})
        pulumi.export("direct", [raw.urn, group.urn])
        aws.ssm.Parameter("p", type="String", value="x", tags={"a": raw, "b": group}, opts=using(given))  # type: ignore[dict-item]

    found = run(program).resources
    tags = found[urn("aws:ssm/parameter:Parameter", "p")].inputs["tags"]
    by_id = f"${{{urn(BUCKET, 'raw')}#id}}"
    assert found[urn("ai-platform:aws:List", "list")].inputs == {"of": [by_id, "b"]}
    assert tags == {"a": by_id, "b": f"${{{urn('ai-platform:aws:Group', 'group')}#urn}}"}


def test_transforms_run_from_the_resource_to_the_stack() -> None:
    def mark(name: str, **options: object) -> pulumi.ResourceTransform:
        def transform(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
            if args.type_ != BUCKET:
                return None
            seen = {**args.props.get("tags", {}), name: str(len(args.props.get("tags", {})))}
            opts = pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(**options))  # type: ignore[arg-type]
            return pulumi.ResourceTransformResult(props={**args.props, "tags": seen}, opts=opts)

        return transform

    def program() -> None:
        pulumi.runtime.register_resource_transform(mark("stack", protect=True))
        group = Group("group", pulumi.ResourceOptions(transforms=[mark("parent", ignore_changes=["acl"])]))
        options = using(provider(), parent=group, transforms=[mark("own", retain_on_delete=True)])
        aws.s3.Bucket("raw", opts=options)
        aws.s3.Bucket("other", opts=using(aws.Provider("second")))

    found = {r.name: r for r in run(program).resources.values() if r.type == BUCKET}
    assert found["raw"].inputs["tags"] == {"own": "0", "parent": "1", "stack": "2"}
    assert (found["raw"].protect, found["raw"].retain_on_delete) == (True, True)
    assert found["raw"].ignore_changes == ("acl",)
    assert found["other"].inputs["tags"] == {"stack": "0"}


def test_a_resource_that_no_sdk_declares_has_an_id_and_its_inputs() -> None:
    class Own(pulumi.CustomResource):
        def __init__(self, token: str) -> None:
            super().__init__(token, "own", {"size": 1, "big": 2.0**60, "none": None}, pulumi.ResourceOptions())

    def program() -> None:
        pulumi.export("ids", [Own("own:index:Own").id, Own("aws:s3/nosuch:Nosuch").id])

    found = run(program, config={"pulumi:disable-default-providers": "[]"})
    own, unknown = urn("own:index:Own", "own"), urn("aws:s3/nosuch:Nosuch", "own")
    assert found.resources[own].inputs == {"size": 1, "big": 2.0**60}
    assert found.outputs == {"ids": [f"${{{own}#id}}", f"${{{unknown}#id}}"]}


# What is refused


def test_a_transform_may_leave_the_options_alone() -> None:
    def transform(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult:
        return pulumi.ResourceTransformResult(props={"bucket": "b"}, opts=None)  # type: ignore[arg-type]

    def program() -> None:
        aws.s3.Bucket("raw", opts=using(provider(), transforms=[transform], protect=True))

    raw = run(program).resources[urn(BUCKET, "raw")]
    assert (raw.inputs, raw.protect) == ({"bucket": "b"}, True)


def test_outputs_named_secret_are_secret_once_and_structures_stay_whole() -> None:
    seen: list[object] = []

    def program() -> None:
        secrets = ["bucket", "tags", "versioning"]
        tags = pulumi.Output.secret({"a": "b"})
        raw = aws.s3.Bucket("raw", bucket="b", tags=tags, opts=using(provider(), additional_secret_outputs=secrets))
        raw.tags.apply(seen.append)
        raw.versioning.apply(seen.append)
        pulumi.export("all", {"bucket": raw.bucket, "tags": raw.tags, "versioning": raw.versioning, "arn": raw.arn})

    found = run(program)
    assert found.outputs["all"] == {
        "bucket": "[secret]",
        "tags": "[secret]",
        "versioning": "[secret]",
        "arn": f"${{{urn(BUCKET, 'raw')}#arn}}",
    }
    assert seen[0] == {"a": "b"}
    assert set(seen[1]) == {"enabled", "mfa_delete"}  # type: ignore[call-overload]


def test_duplicate_urn() -> None:
    def program() -> None:
        given = provider()
        aws.s3.Bucket("raw", opts=using(given))
        aws.s3.Bucket("raw", opts=using(given))

    line = program.__code__.co_firstlineno + 2
    assert problems(program) == [
        f"{HERE}:{line + 1}  raw ({BUCKET}): registered before in {HERE}:{line}; duplicate URN"
    ]


def test_no_explicit_provider() -> None:
    def program() -> None:
        aws.s3.Bucket("raw")

    found = problems(program)
    assert len(found) == 1
    assert "raw (aws:s3/bucket:Bucket): no explicit provider" in found[0]
    assert problems(program, config={"pulumi:disable-default-providers": '["aws"]'}) == found
    assert len(run(program, config={"pulumi:disable-default-providers": '["gcp"]'}).resources) == 1


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([{"id": "a", "statuss": "Enabled"}], "rules[0].statuss: no such property; did you mean status?"),
        (
            [{"id": "a", "status": "x", "filter": {"Prefix": "x"}}],
            "rules[0].filter.Prefix: no such property; did you mean prefix?",
        ),
        (
            [{"id": "a", "status": "x", "zzz": 1}],
            "rules[0].zzz: no such property; known are abortIncompleteMultipartUpload, ",
        ),
    ],
)
def test_misspelt_key_in_a_nested_input(rules: list[dict[str, object]], said: str) -> None:
    def program() -> None:
        aws.s3.BucketLifecycleConfiguration("life", bucket="b", rules=rules, opts=using(provider()))  # type: ignore[arg-type]

    found = problems(program)
    assert len(found) == 1
    assert f"life.{said}" in found[0]


def test_keys_of_free_maps_and_of_args_objects_are_no_problem() -> None:
    def program() -> None:
        given = provider()
        rule = aws.s3.BucketLifecycleConfigurationRuleArgs(
            id="a", status="Enabled", abort_incomplete_multipart_upload={"days_after_initiation": 7}
        )
        aws.s3.BucketLifecycleConfiguration("life", bucket="b", rules=[rule], opts=using(given))
        aws.s3.BucketVersioning("v", bucket="b", versioning_configuration={"status": "Enabled"}, opts=using(given))
        aws.s3.Bucket("raw", tags={"any_thing": "x"}, opts=using(given))

    found = run(program).resources
    life = found[urn("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", "life")]
    assert life.get("rules.0.abortIncompleteMultipartUpload.daysAfterInitiation") == 7
    assert found[urn(BUCKET, "raw")].inputs["tags"] == {"any_thing": "x"}
    assert list(life.inputs["rules"][0]) == ["abortIncompleteMultipartUpload", "id", "status"]


def test_a_providers_dict_is_not_translated_by_the_sdk() -> None:
    def program(tags: object) -> None:
        provider(ignore_tags=tags)

    found = problems(lambda: program({"key_prefixes": ["a"]}))
    assert len(found) == 1
    assert (
        "aws.ignoreTags.key_prefixes: no such property; did you mean keyPrefixes? (a plain dict of a provider"
        in found[0]
    )
    given = run(lambda: program(aws.ProviderIgnoreTagsArgs(key_prefixes=["a"]))).of_type("pulumi:providers:aws")
    assert given[0].inputs["ignoreTags"] == {"keyPrefixes": ["a"]}


def test_a_transform_cannot_bring_a_misspelt_property() -> None:
    def transform(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult:
        return pulumi.ResourceTransformResult(props={**args.props, "buckett": "x"}, opts=args.opts)

    def program() -> None:
        aws.s3.Bucket("raw", opts=using(provider(), transforms=[transform]))

    assert "raw.buckett: no such property; did you mean bucket?" in problems(program)[0]


def test_nothing_is_asked_of_the_cloud() -> None:
    def invoke() -> None:
        aws.get_caller_identity()

    def read() -> None:
        aws.s3.Bucket.get("raw", "acme-raw", opts=using(provider()))

    def exists() -> None:
        pulumi.runtime.register_invoke_transform(lambda _: None)
        pulumi.runtime.resource.exists_resource(None, BUCKET, "acme-raw", {}, pulumi.ResourceOptions())

    assert "aws:index/getCallerIdentity:getCallerIdentity asks the cloud" in problems(invoke)[0]
    assert HERE in problems(invoke)[0]
    assert f"raw ({BUCKET}) is read from the cloud" in problems(read)[0]
    assert HERE in problems(read)[0]
    assert "acme-raw (aws:s3/bucket:Bucket) is looked for in the cloud" in problems(exists)[0]


def test_nothing_is_asked_of_a_provider() -> None:
    class Remote(pulumi.ComponentResource):
        def __init__(self) -> None:
            super().__init__("eks:index:Cluster", "eks", {}, None, remote=True)

    def call() -> None:
        pulumi.runtime.call("eks:index:Cluster/kubeconfig", {})

    assert "eks (eks:index:Cluster): a component of a package" in problems(lambda: Remote() and None)[0]
    assert "eks:index:Cluster/kubeconfig calls a provider" in problems(call)[0]


def test_a_file_to_upload_must_be_there() -> None:
    def program() -> None:
        code = pulumi.FileArchive("/nowhere/code")
        aws.lambda_.Function("f", role="r", code=code, opts=using(provider()))

    found = problems(program)
    assert "f.code: no file code to upload" in found[0]
    assert "nowhere" not in found[0]


def test_an_output_in_a_text_is_an_error() -> None:
    def program() -> None:
        raw = aws.s3.Bucket("raw", opts=using(provider()))
        aws.s3.Bucket("next", bucket=f"{raw.arn}", opts=using(provider()))

    with pytest.raises(Exception, match="Calling __str__ on an Output"):
        run(program)


def test_all_problems_are_told_at_once_and_the_first_cause_before_what_follows_from_it() -> None:
    def program() -> None:
        aws.s3.Bucket("raw", opts=using(provider()))
        aws.s3.Bucket("a")
        aws.s3.Bucket("b").arn.apply(lambda _: 1 / 0)

    with pytest.raises(ProgramError) as caught:
        run(program)
    assert len(caught.value.problems) == 2
    assert caught.value.report().startswith("Stack dev: the program has 2 problems; nothing was built.\n  tests/")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_what_the_program_raises_comes_out_as_it_is() -> None:
    def bad_input() -> None:
        raise pulumi.RunError("key: wrong")

    def in_apply() -> None:
        aws.s3.Bucket("raw", opts=using(provider())).arn.apply(lambda _: {}["gone"])

    with pytest.raises(pulumi.RunError, match="key: wrong"):
        run(bad_input)
    with pytest.raises(KeyError, match="gone"):
        run(in_apply)


# What a run leaves behind


def test_a_run_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    state = (os.environ.copy(), Path.cwd(), sys.path[:], gc.isenabled(), settings.get_stack())

    def program() -> None:
        assert "AWS_REGION" not in os.environ
        aws.s3.Bucket("raw", opts=using(aws.Provider("aws")))
        pulumi.export("stack", pulumi.get_stack())

    for stack in ("dev", "prod", "other"):
        found = run(program, stack=stack, config={"ai-platform:leak": "x"})
        assert found.outputs == {"stack": stack}
        assert all(u.startswith(f"urn:pulumi:{stack}::") for u in found.resources)
        assert "region" not in found.of_type("pulumi:providers:aws")[0].inputs
    with pytest.raises(ZeroDivisionError):
        run(lambda: print(1 / 0), stack="last", config={"ai-platform:leak": "x"})  # noqa: T201
    assert (os.environ.copy(), Path.cwd(), sys.path[:], gc.isenabled(), settings.get_stack()) == state
    assert settings.get_root_resource() is None
    assert pulumi.Config("ai-platform").get("leak") is None
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_warnings_of_the_program_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    def program() -> None:
        pulumi.require_pulumi_version(">=3.0.0")
        pulumi.log.info("quiet")
        pulumi.log.warn("careful")
        pulumi.log.error("wrong")

    run(program)
    assert [(r.levelname, r.message) for r in caplog.records if r.name == "preview"] == [
        ("WARNING", "careful"),
        ("ERROR", "wrong"),
    ]


# A whole project

MAIN = """
    import pulumi
    import pulumi_aws as aws
    from lib import name

    config = pulumi.Config()
    given = aws.Provider("aws", region="us-west-2")
    options = pulumi.ResourceOptions(provider=given)
    aws.s3.Bucket("raw", bucket=name(config.require_object("company")["prefix"]), opts=options)
    if secret := config.get_secret("webhook"):
        aws.ssm.Parameter("webhook", type="String", value=secret, opts=options)
    known = [pulumi.runtime.is_config_secret(f"ai-platform:{key}") for key in ("deep", "company")]
    pulumi.export("deep", [config.require_secret_object("deep"), *known])
    pulumi.export("config", {key: config.get(key) for key in ("tier", "zones", "fast", "at", "on", "from_project")})
"""
STACK = """
    config:
      pulumi:disable-default-providers: ["*"]
      ai-platform:tier: dev
      ai-platform:zones: 3
      ai-platform:fast: true
      ai-platform:at: 12:30
      ai-platform:on: {on: gcp, no: 1}
      ai-platform:company: {prefix: acme}
      ai-platform:webhook: {secure: AAABAGx2}
      ai-platform:deep: {hooks: [{url: {secure: AAABAGx2}}, {name: x}]}
"""


def test_a_secret_of_the_file_that_is_taken_out_of_keeping_is_an_error(project) -> None:
    main = MAIN.replace("config.require_secret_object", "config.require_object")
    assert main != MAIN
    root = project(main, **{"lib.py": "def name(prefix):\n    return prefix\n", "stacks/Pulumi.dev.yaml": STACK})
    with pytest.raises(ProgramError, match=r"outputs\.deep.*stands here in clear") as caught:
        record(root, "dev")
    assert "AAABAGx2" not in caught.value.report()


def test_record_runs_the_program_of_a_project(project) -> None:
    root = project(
        MAIN,
        **{
            "lib.py": "def name(prefix):\n    return f'{prefix}-raw'\n",
            "stacks/Pulumi.dev.yaml": STACK,
            "Pulumi.yaml": "name: ai-platform\nruntime: python\nstackConfigDir: stacks\n"
            "config: {from_project: {default: x}, ai-platform:tier: other}\n",
        },
    )
    found = record(root, "dev")
    raw = found.resources[urn(BUCKET, "raw")]
    assert raw.inputs == {"bucket": "acme-raw"}
    assert raw.place == Place("__main__.py", 9)
    assert found.outputs["config"] == {
        "tier": "dev",
        "zones": "3",
        "fast": "true",
        "at": "12:30",
        "on": '{"on":"gcp","no":1}',
        "from_project": "x",
    }
    assert found.resources[urn("aws:ssm/parameter:Parameter", "webhook")].inputs["value"] == "[secret]"
    assert found.outputs["deep"] == ["[secret]", True, False]
    assert "AAABAGx2" not in repr(found)


def test_record_imports_the_project_afresh(project) -> None:
    main = "import pulumi, lib\nlib.seen.append(1)\npulumi.export('seen', len(lib.seen))\npulumi.export('text', lib.text)\n"
    root = project(main, **{"lib.py": "seen = []\ntext = 'one'\n"})
    assert record(root, "dev").outputs == {"seen": 1, "text": "one"}
    (root / "lib.py").write_text("seen = []\ntext = 'another'\n")
    assert record(root, "dev").outputs == {"seen": 1, "text": "another"}
    assert "lib" not in sys.modules


def test_record_does_not_see_this_repository_from_another_project(project) -> None:
    import components.spec.load

    before = (components.spec.load, Path.cwd(), sys.path[:])
    root = project("import os, sys\nassert sys.path[0] == os.getcwd()\nimport components.platform\n")
    with pytest.raises(ModuleNotFoundError):
        record(root, "dev")
    assert (sys.modules["components.spec.load"], Path.cwd(), sys.path[:]) == before


def test_main_may_be_a_file(project) -> None:
    root = project(
        "raise SystemError",
        **{
            "Pulumi.yaml": "name: p\nruntime: python\nmain: app.py\n",
            "app.py": "import pulumi\npulumi.export('a', 1)\n",
        },
    )
    assert record(root, "none-such").outputs == {"a": 1}


@pytest.mark.parametrize(
    "text", ["config: [", "config: {1: a}\n", "", "- a\n", "config: 5\n", "config: {ai-platform:a: }\n"]
)
def test_a_stack_file_that_cannot_be_read_is_left_to_the_program(project, text: str) -> None:
    root = project("import pulumi\npulumi.export('a', pulumi.Config().get('a'))\n", **{"stacks/Pulumi.dev.yaml": text})
    assert record(root, "dev").outputs == {}


def test_two_runs_are_the_same_whatever_the_seed(project) -> None:
    root = project(
        """
        import pulumi, pulumi_aws as aws
        given = aws.Provider("aws", region="us-west-2", default_tags={"tags": {c: c for c in "hgfedcba"}})
        tags, options = {c: c for c in "hgfedcba"}, pulumi.ResourceOptions(provider=given)
        for name in {"a", "b", "c", "d"}:
            bucket = aws.s3.Bucket(name, tags=tags, force_destroy=True, bucket=name, opts=options)
            pulumi.export(name, bucket.arn)
        """
    )
    code = f"from pathlib import Path; from preview.record import record; print(record(Path({str(root)!r}), 'dev'))"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].count("Resource(urn=") == 5
    assert said[0].count("'forceDestroy': True, 'tags': {'a': 'a', 'b': 'b', 'c': 'c',") == 4
    assert "inputs={'bucket': 'a', 'forceDestroy'" in said[0]
