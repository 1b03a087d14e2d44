"""File systems as pods mount them."""

from typing import Any

import pytest

from tests.kubernetes.building import TEAMS, VOLUMES, before, built, objects

CLOUDS = ("aws", "gcp")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_team_has_a_claim_on_every_file_system_and_on_its_own_volume(cloud: Any):
    graph = built(cloud, args={"file_systems": {"scratch": VOLUMES[cloud], "data": VOLUMES[cloud]}})
    claims, volumes = objects(graph, "PersistentVolumeClaim"), objects(graph, "PersistentVolume")
    assert set(claims) == {f"team-{team}/{name}" for team in TEAMS for name in ("scratch", "data")}
    assert {claim.get("spec.volumeName") for claim in claims.values()} == set(volumes)
    for name, claim in claims.items():
        volume = volumes[claim.get("spec.volumeName")]
        reference = volume.get("spec.claimRef")
        assert f"{reference['namespace']}/{reference['name']}" == name
        assert claim.get("spec.resources.requests.storage") == volume.get("spec.capacity.storage")
        assert volume.urn in before(graph, claim)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_driver_deletes_a_file_system_and_no_class_makes_a_disk(cloud: Any):
    graph = built(cloud)
    assert objects(graph, "PersistentVolume")
    for volume in objects(graph, "PersistentVolume").values():
        assert volume.get("spec.persistentVolumeReclaimPolicy") == "Retain"
    for kind in ("PersistentVolume", "PersistentVolumeClaim"):
        assert {thing.inputs["spec"]["storageClassName"] for thing in objects(graph, kind).values()} == {""}


def test_all_volumes_of_a_file_system_have_one_handle():
    """Google's driver mounts it once on a machine, by its handle."""
    volumes = objects(built("gcp"), "PersistentVolume").values()
    assert len(volumes) == len(TEAMS)
    assert {volume.get("spec.csi.volumeHandle") for volume in volumes} == {"acme/us-central1-a/scratch"}
    assert {volume.get("spec.csi.driver") for volume in volumes} == {"lustre.csi.storage.gke.io"}


def test_a_claim_comes_after_the_team_s_fences():
    graph = built("aws")
    ceiling = objects(graph, "ResourceQuota")["team-vision/ceiling"]
    assert ceiling.urn in before(graph, objects(graph, "PersistentVolumeClaim")["team-vision/scratch"])
    assert not objects(built("aws", args={"file_systems": {}}), "PersistentVolume")
