"""Rules on pipelines."""

import json

from tests.policies.build import bad, good, make, ref

VPC = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
END = {"MaxRuntimeInSeconds": 3600}
KEY = make("aws:kms/key:Key", "key", inputs={})


def without(given):
    return {key: value for key, value in given.items() if value is not None}


def prepare(**changes):
    arguments = {
        "AppSpecification": {"ImageUri": "prepare:1.0"},
        "NetworkConfig": {"VpcConfig": VPC},
        "ProcessingOutputConfig": {"KmsKeyId": "key"},
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1}},
        "StoppingCondition": END,
        **changes,
    }
    return {"Name": "prepare", "Type": "Processing", "Arguments": without(arguments)}


def train(**changes):
    arguments = {
        "AlgorithmSpecification": {"TrainingImage": "train:1.0"},
        "VpcConfig": VPC,
        "OutputDataConfig": {"KmsKeyId": "key"},
        "ResourceConfig": {"InstanceCount": 1},
        "StoppingCondition": END,
        **changes,
    }
    return {"Name": "train", "Type": "Training", "Arguments": without(arguments)}


def register(status="PendingManualApproval", image="serve:1.0"):
    arguments = {"ModelApprovalStatus": status, "InferenceSpecification": {"Containers": [{"Image": image}]}}
    step = {"Name": "register", "Type": "RegisterModel", "Arguments": without(arguments)}
    return {"Name": "good-enough", "Type": "Condition", "Arguments": {"IfSteps": [step], "ElseSteps": []}}


def pipeline(*steps, definition=None, **inputs):
    text = definition if definition is not None else json.dumps({"Steps": list(steps)})
    return make(
        "aws:sagemaker/pipeline:Pipeline",
        inputs={"pipelineDefinition": text, "roleArn": "arn:aws:iam::1:role/pipeline", **inputs},
    )


def workflow(**inputs):
    return make("gcp:workflows/workflow:Workflow", inputs=inputs)


GOOD = pipeline(prepare(), train(), register())
TWO = {"ClusterConfig": {"InstanceCount": 2}}
SPOT = {"EnableManagedSpotTraining": True}
RULE, BOUND, PINNED, OWN = "pipeline-private", "pipeline-bounded", "pipeline-images-pinned", "pipeline-own-identity"
CASES = [
    bad("pipeline-readable", "no text", "has no steps", pipeline(definition="?")),
    bad("pipeline-readable", "no steps", "has no steps", pipeline()),
    bad(
        "pipeline-readable",
        "not known",
        "not known before",
        KEY,
        pipeline(definition=ref(KEY, "arn")),
        enforcement="advisory",
    ),
    good("pipeline-readable", "steps", GOOD),
    bad(RULE, "training outside", "train is outside", pipeline(train(VpcConfig=None))),
    bad(RULE, "preparing outside", "prepare is outside", pipeline(prepare(NetworkConfig={}))),
    bad(RULE, "a group is missing", "train is outside", pipeline(train(VpcConfig={"Subnets": ["subnet-1"]}))),
    bad(RULE, "no key", "output of the step train", pipeline(train(OutputDataConfig={}))),
    bad(RULE, "in clear", "train speak in clear", pipeline(train(ResourceConfig={"InstanceCount": 2}))),
    good(RULE, "inside", GOOD),
    good(
        RULE,
        "two machines",
        pipeline(train(ResourceConfig={"InstanceCount": 2}, EnableInterContainerTrafficEncryption=True)),
    ),
    bad(BOUND, "no end", "train has no end", pipeline(train(StoppingCondition=None))),
    bad(BOUND, "spot without a checkpoint", "keeps no checkpoint", pipeline(train(**SPOT))),
    good(BOUND, "an end", GOOD),
    good(BOUND, "spot with a checkpoint", pipeline(train(**SPOT, CheckpointConfig={"S3Uri": "s3://a/b"}))),
    bad("pipeline-approval", "by itself", "registers is Approved", pipeline(register("Approved"))),
    bad("pipeline-approval", "by a parameter", "is not decided", pipeline(register({"Get": "Parameters.Status"}))),
    good("pipeline-approval", "by a person", GOOD, pipeline(register(None))),
    bad(
        PINNED,
        "training",
        "train:latest is whatever",
        pipeline(train(AlgorithmSpecification={"TrainingImage": "train:latest"})),
    ),
    bad(PINNED, "preparing", "has no tag", pipeline(prepare(AppSpecification={"ImageUri": "prepare"}))),
    bad(PINNED, "serving", "in the step register", pipeline(register(image="serve"))),
    good(PINNED, "versions", GOOD),
    bad(OWN, "nobody", "no identity", pipeline(roleArn="")),
    bad(OWN, "a workflow", "no identity", workflow()),
    bad(OWN, "the default one", "it is 1-compute", workflow(serviceAccount="1-compute@developer.gserviceaccount.com")),
    good(OWN, "its own", GOOD, workflow(serviceAccount="train@acme-ai-dev.iam.gserviceaccount.com")),
    bad(RULE, "no subnet", "train is outside", pipeline(train(VpcConfig={"SecurityGroupIds": ["sg-1"]}))),
    bad(RULE, "preparing in clear", "prepare speak", pipeline(prepare(ProcessingResources=TWO))),
    good(
        RULE,
        "preparing on two machines",
        pipeline(
            prepare(
                ProcessingResources=TWO,
                NetworkConfig={"VpcConfig": VPC, "EnableInterContainerTrafficEncryption": True},
            )
        ),
    ),
]
