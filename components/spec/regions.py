"""The regions that the platform knows, their zones, and where a second copy of data may go.

Zones on AWS are zone ids: unlike the letters, they mean the same place in every account. Zones where EKS puts no control
plane (`use1-az3`, `usw1-az2`, `cac1-az3`) are left out. Sources: AWS "Regions and Zones" ,
EKS "Amazon EKS VPC and subnet considerations"; Google Cloud "Regions and zones", "Bucket locations" (configurable
dual-regions pair regions inside US, EU or ASIA), "Cloud KMS locations" (the multi-regions are `us`, `europe`, `asia`).

The replica region lies in the same jurisdiction wherever the cloud has a second region there, so that the default of no
environment moves data abroad; `None` means that it has not, and that the description has to name one.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Region:
    """A cloud's region."""

    zones: tuple[str, ...]
    replica: str | None
    multi_region: str | None = None
    """GCP: the bucket location that holds both this region and its replica, `US`, `EU` or `ASIA`."""


def _aws(code: str, zones: str, replica: str | None) -> Region:
    return Region(tuple(f"{code}-az{n}" for n in zones), replica)


AWS_REGIONS: dict[str, Region] = {
    "us-east-1": _aws("use1", "12456", "us-west-2"),
    "us-east-2": _aws("use2", "123", "us-west-2"),
    "us-west-1": _aws("usw1", "13", "us-east-2"),
    "us-west-2": _aws("usw2", "1234", "us-east-2"),
    "ca-central-1": _aws("cac1", "124", "ca-west-1"),
    "ca-west-1": _aws("caw1", "123", "ca-central-1"),
    "mx-central-1": _aws("mxc1", "123", None),
    "sa-east-1": _aws("sae1", "123", None),
    "eu-central-1": _aws("euc1", "123", "eu-west-1"),
    "eu-central-2": _aws("euc2", "123", None),
    "eu-west-1": _aws("euw1", "123", "eu-central-1"),
    "eu-west-2": _aws("euw2", "123", None),
    "eu-west-3": _aws("euw3", "123", "eu-central-1"),
    "eu-north-1": _aws("eun1", "123", "eu-central-1"),
    "eu-south-1": _aws("eus1", "123", "eu-central-1"),
    "eu-south-2": _aws("eus2", "123", "eu-central-1"),
    "ap-south-1": _aws("aps1", "123", "ap-south-2"),
    "ap-south-2": _aws("aps2", "123", "ap-south-1"),
    "ap-southeast-1": _aws("apse1", "123", None),
    "ap-southeast-2": _aws("apse2", "123", "ap-southeast-4"),
    "ap-southeast-3": _aws("apse3", "123", None),
    "ap-southeast-4": _aws("apse4", "123", "ap-southeast-2"),
    "ap-northeast-1": _aws("apne1", "124", "ap-northeast-3"),
    "ap-northeast-2": _aws("apne2", "1234", None),
    "ap-northeast-3": _aws("apne3", "123", "ap-northeast-1"),
    "ap-east-1": _aws("ape1", "123", None),
    "il-central-1": _aws("ilc1", "123", None),
    "me-south-1": _aws("mes1", "123", None),
    "me-central-1": _aws("mec1", "123", None),
    "af-south-1": _aws("afs1", "123", None),
}


def _gcp(region: str, zones: str, replica: str | None = None, multi_region: str | None = None) -> Region:
    return Region(tuple(f"{region}-{letter}" for letter in zones), replica, multi_region)


GCP_REGIONS: dict[str, Region] = {
    region.zones[0][:-2]: region
    for region in (
        _gcp("us-central1", "abcf", "us-east1", "US"),
        _gcp("us-east1", "bcd", "us-central1", "US"),
        _gcp("us-east4", "abc", "us-central1", "US"),
        _gcp("us-east5", "abc", "us-central1", "US"),
        _gcp("us-south1", "abc", "us-central1", "US"),
        _gcp("us-west1", "abc", "us-central1", "US"),
        _gcp("us-west2", "abc", "us-central1", "US"),
        _gcp("us-west3", "abc", "us-central1", "US"),
        _gcp("us-west4", "abc", "us-central1", "US"),
        _gcp("northamerica-northeast1", "abc"),
        _gcp("northamerica-northeast2", "abc"),
        _gcp("southamerica-east1", "abc"),
        _gcp("europe-west1", "bcd", "europe-west4", "EU"),
        _gcp("europe-west3", "abc", "europe-west4", "EU"),
        _gcp("europe-west4", "abc", "europe-west1", "EU"),
        _gcp("europe-west8", "abc", "europe-west1", "EU"),
        _gcp("europe-west9", "abc", "europe-west1", "EU"),
        _gcp("europe-north1", "abc", "europe-west4", "EU"),
        _gcp("europe-central2", "abc", "europe-west4", "EU"),
        _gcp("europe-southwest1", "abc", "europe-west1", "EU"),
        _gcp("europe-west2", "abc"),
        _gcp("europe-west6", "abc"),
        _gcp("asia-northeast1", "abc", "asia-northeast2", "ASIA"),
        _gcp("asia-northeast2", "abc", "asia-northeast1", "ASIA"),
        _gcp("asia-northeast3", "abc"),
        _gcp("asia-east1", "abc"),
        _gcp("asia-east2", "abc"),
        _gcp("asia-south1", "abc"),
        _gcp("asia-southeast1", "abc"),
        _gcp("asia-southeast2", "abc"),
        _gcp("australia-southeast1", "abc"),
        _gcp("me-west1", "abc"),
        _gcp("africa-south1", "abc"),
    )
}

REGIONS: dict[str, dict[str, Region]] = {"aws": AWS_REGIONS, "gcp": GCP_REGIONS}
