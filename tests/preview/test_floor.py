"""The floor of the benchmark is about the same resources."""

import subprocess
import sys
from pathlib import Path

import pulumi
import pulumi_aws as aws

from benchmarks.floor import script
from benchmarks.preview import Growth, spread
from preview.record import run


def test_the_flat_script_registers_the_same_resources(tmp_path: Path) -> None:
    def program() -> None:
        given = aws.Provider("aws", region="us-west-2", ignore_tags=aws.ProviderIgnoreTagsArgs(key_prefixes=["a"]))
        group = pulumi.ComponentResource("ai-platform:aws:Group", "group")
        opts = pulumi.ResourceOptions(provider=given, parent=group, protect=True, retain_on_delete=True)
        raw = aws.s3.Bucket("raw", bucket="b", tags={"some_key": "x"}, opts=opts)
        aws.s3.BucketVersioning("raw", bucket=raw.id, versioning_configuration={"status": "Enabled"}, opts=opts)
        rule = {"id": "a", "status": "Enabled", "abort_incomplete_multipart_upload": {"days_after_initiation": 7}}
        aws.s3.BucketLifecycleConfiguration("raw", bucket=raw.id, rules=[rule], opts=opts)  # type: ignore[list-item]
        for name, code in {
            "assets": pulumi.AssetArchive({"a.py": pulumi.StringAsset("text")}),
            "remote": pulumi.RemoteArchive("https://example.com/a.zip"),
        }.items():
            aws.lambda_.Function(name, role="r", code=code, opts=opts)
        aws.s3.BucketObjectv2("file", bucket=raw.id, source=pulumi.StringAsset("text"), opts=opts)

    text = script(run(program))
    assert "rules=[{'abort_incomplete_multipart_upload': {'days_after_initiation': 7}, 'id': 'a'" in text
    assert "tags={'some_key': 'x'}" in text
    assert "opts=pulumi.ResourceOptions(provider=r0, protect=True, retain_on_delete=True)" in text
    assert "ignore_tags={'key_prefixes': ['a']}" in text
    file = tmp_path / "floor.py"
    file.write_text(text)
    assert subprocess.check_output([sys.executable, str(file)], text=True) == "7\n"


def grown(*figures: tuple[int, int, float]) -> float:
    return spread([Growth(what="zones", size=z, resources=r, registering=s) for z, r, s in figures])


def test_spread_is_how_much_dearer_a_resource_becomes() -> None:
    # 2 ms each up to ten zones, 3 up to a hundred.
    assert round(grown((1, 100, 0.2), (10, 200, 0.4), (100, 1000, 2.8)), 6) == 0.5
    # Up to ten a few were cheap; a hundred cost no more than what was there at first.
    assert grown((1, 100, 0.2), (10, 200, 0.21), (100, 1000, 1.81)) == 0
    # In the square of what there is.
    assert grown((1, 100, 0.1), (10, 190, 0.361), (100, 1090, 11.881)) > 2
