"""Rules on registries."""

import json
from dataclasses import replace

from policies.context import AWS_PROVIDER
from tests.policies.build import ACCOUNT, bad, document, gcp, good, make, ref, urn

READER = {"AWS": "arn:aws:iam::222222222222:root"}
EXPIRE = json.dumps({"rules": [{"rulePriority": 1, "action": {"type": "expire"}}]})
SCANNER = make("gcp:projects/service:Service", "scanner", inputs={"service": "containerscanning.googleapis.com"})
SCANNING = make("aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration", inputs={"scanType": "ENHANCED"})


def ecr(**inputs):
    return make("aws:ecr/repository:Repository", "repository", inputs={"name": "acme-dev/training", **inputs})


def lifecycle(policy=EXPIRE):
    return make("aws:ecr/lifecyclePolicy:LifecyclePolicy", inputs={"repository": ref(ecr(), "name"), "policy": policy})


def template(**inputs):
    return make("aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate", inputs={"prefix": "mirror", **inputs})


def artifacts(**inputs):
    base = {"format": "DOCKER", "mode": "STANDARD_REPOSITORY", **inputs}
    return make("gcp:artifactregistry/repository:Repository", "repository", inputs=base)


def function():
    build = {"dockerRepository": ref(artifacts(), "id")}
    return make("gcp:cloudfunctionsv2/function:Function", inputs={"buildConfig": build})


def admission(evaluation="REQUIRE_ATTESTATION", enforcement="ENFORCED_BLOCK_AND_AUDIT_LOG", **inputs):
    rule = {"evaluationMode": evaluation, "enforcementMode": enforcement}
    return make("gcp:binaryauthorization/policy:Policy", inputs={"defaultAdmissionRule": rule, **inputs})


def shared(*actions, type_="aws:ecr/repositoryPolicy:RepositoryPolicy", effect="Allow"):
    statement = {"Sid": "Others", "Effect": effect, "Principal": READER, "Action": list(actions)}
    return make(type_, inputs={"policy": document(statement)})


def models(*actions):
    statement = {"Sid": "Others", "Effect": "Allow", "Principal": READER, "Action": list(actions), "Resource": "*"}
    return make(
        "aws:sagemaker/modelPackageGroupPolicy:ModelPackageGroupPolicy", inputs={"resourcePolicy": document(statement)}
    )


def reader(member):
    inputs = {"role": "roles/artifactregistry.reader", "member": member}
    return make("gcp:artifactregistry/repositoryIamMember:RepositoryIamMember", inputs=inputs)


CASES = [
    bad("image-immutable", "by default", "can be moved", ecr()),
    bad("image-immutable", "on Google Cloud", "can be moved", artifacts()),
    good("image-immutable", "not moved", ecr(imageTagMutability="IMMUTABLE")),
    good("image-immutable", "on Google Cloud", artifacts(dockerConfig={"immutableTags": True})),
    good("image-immutable", "a mirror", artifacts(mode="REMOTE_REPOSITORY")),
    good("image-immutable", "packages of another kind", artifacts(format="PYTHON")),
    good("image-immutable", "images of functions", artifacts(), function()),
    bad("image-scanned", "nothing", "nothing scans", ecr()),
    bad(
        "image-scanned",
        "the other region's",
        "nothing scans",
        ecr(),
        replace(SCANNING, provider=urn(AWS_PROVIDER, "other")),
    ),
    bad(
        "image-scanned",
        "switched off",
        "switched off",
        SCANNER,
        artifacts(vulnerabilityScanningConfig={"enablementConfig": "DISABLED"}),
    ),
    bad("image-scanned", "without the API", "is not enabled", artifacts()),
    good("image-scanned", "on push", ecr(imageScanningConfiguration={"scanOnPush": True})),
    good("image-scanned", "by the registry", ecr(), SCANNING),
    good("image-scanned", "on Google Cloud", SCANNER, artifacts()),
    bad("image-clean-up", "none", "every image for ever", ecr()),
    bad("image-clean-up", "one that deletes nothing", "every image", ecr(), lifecycle('{"rules": []}')),
    bad("image-clean-up", "a mirror's", "what it makes", template()),
    bad("image-clean-up", "none on Google Cloud", "everything for ever", artifacts()),
    bad("image-clean-up", "only what is kept", "everything", artifacts(cleanupPolicies=[{"action": "KEEP"}])),
    bad(
        "image-clean-up",
        "a dry run",
        "a dry run",
        artifacts(cleanupPolicies=[{"action": "DELETE"}], cleanupPolicyDryRun=True),
    ),
    good("image-clean-up", "some day", ecr(), lifecycle(), template(lifecyclePolicy=EXPIRE)),
    good("image-clean-up", "not yet known", ecr(), SCANNING, lifecycle(ref(SCANNING, "id"))),
    good(
        "image-clean-up",
        "on Google Cloud",
        artifacts(cleanupPolicies=[{"action": "DELETE"}], cleanupPolicyDryRun=False),
    ),
    bad("image-vouched-for", "nobody asked", "nobody is asked: ALWAYS_ALLOW", gcp("dev"), admission("ALWAYS_ALLOW")),
    bad(
        "image-vouched-for",
        "only noticed in prod",
        "starts: DRYRUN",
        gcp("prod"),
        admission(enforcement="DRYRUN_AUDIT_LOG_ONLY"),
    ),
    bad(
        "image-vouched-for",
        "one cluster",
        "in us-west1.a nobody",
        gcp("dev"),
        admission(clusterAdmissionRules=[{"cluster": "us-west1.a", "evaluationMode": "ALWAYS_ALLOW"}]),
    ),
    bad(
        "image-vouched-for",
        "every exception",
        "every image is an exception",
        gcp("dev"),
        admission(admissionWhitelistPatterns=[{"namePattern": "**"}]),
    ),
    good("image-vouched-for", "in prod", gcp("prod"), admission()),
    good("image-vouched-for", "noticed in dev", gcp("dev"), admission(enforcement="DRYRUN_AUDIT_LOG_ONLY")),
    good(
        "image-vouched-for", "a mirror", gcp("prod"), admission(admissionWhitelistPatterns=[{"namePattern": "a/b/**"}])
    ),
    bad("registry-private", "push", "may push (statement Others)", shared("ecr:PutImage")),
    bad("registry-private", "everything", "may push", shared("ecr:*")),
    bad("registry-private", "approve", "register or approve", models("sagemaker:UpdateModelPackage")),
    bad("registry-private", "everything of a model", "register or approve", models("sagemaker:*")),
    bad("registry-private", "everybody", "allUsers is nobody", reader("allUsers")),
    bad("registry-private", "a whole company", "domain:example.com", reader("domain:example.com")),
    bad("registry-private", "a public one", "a public one", make("aws:ecrpublic/repository:Repository", inputs={})),
    good("registry-private", "pull", shared("ecr:BatchGetImage")),
    good("registry-private", "nothing", shared("ecr:*", effect="Deny")),
    good("registry-private", "deploy", models("sagemaker:DescribeModelPackage", "sagemaker:CreateModel")),
    good("registry-private", "one account", reader(f"serviceAccount:pull@acme-{ACCOUNT}.iam.gserviceaccount.com")),
    good("image-scanned", "packages of another kind", artifacts(format="PYTHON")),
]
