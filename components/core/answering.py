"""What each cloud can do for each kind of endpoint: releases, scaling to zero, and how long a start takes at least."""

from collections.abc import Mapping

Kind = tuple[str, str]
"""A cloud and a kind of endpoint: `realtime`, `serverless` … ; `kubernetes` stands for those in a cluster, and `llm` for
language models of ours there."""

_GUARDED = ("all_at_once", "blue_green", "canary")

RELEASES: Mapping[Kind, tuple[str, ...]] = {
    # SageMaker "Deployment guardrails": real-time and asynchronous endpoints, none that is serverless; "Shadow tests": real-time.
    ("aws", "realtime"): (*_GUARDED, "shadow"),
    ("aws", "async"): _GUARDED,
    ("aws", "serverless"): (),
    # CodeDeploy for Lambda: canary and all at once, with alarms; two colours do not exist where instances come by themselves.
    ("aws", "function"): ("all_at_once", "canary"),
    # Amazon ECS deployment strategies, with alarms.
    ("aws", "container"): _GUARDED,
    # A workflow of ours moves the traffic, watches the alarms and moves it back.
    ("gcp", "realtime"): _GUARDED,
    ("gcp", "serverless"): _GUARDED,
    ("gcp", "async"): ("all_at_once",),
    ("gcp", "function"): _GUARDED,
    ("gcp", "container"): _GUARDED,
    # All at once is a rolling update, which goes on only while new pods become ready, and else stops with the old ones answering.
    # The others are Argo Rollouts', with a watcher of ours (components/kubernetes/serving/release.py): KServe sends a share of
    # the requests to another version (v0.20, `spec.canary`), and watches nothing that would take it back.
    ("aws", "kubernetes"): _GUARDED,
    ("gcp", "kubernetes"): _GUARDED,
    # The router sends what begins alike to the same server: requests would not be split by pods.
    ("aws", "llm"): ("all_at_once",),
    ("gcp", "llm"): ("all_at_once",),
}
"""Strategies of a release that are taken back by an alarm, without anybody awake; and shadows, which need no taking back. In a
cluster all at once is not watched: what does not become ready never answers there."""

NEVER_ZERO: Mapping[Kind, str] = {
    # "Scale an endpoint to zero instances": with inference components only, whose first request after it is an error.
    ("aws", "realtime"): "kind: async or serverless, or server: kubernetes, which scale to zero",
    ("gcp", "realtime"): "kind: serverless, or server: kubernetes, which scale to zero",
    ("aws", "container"): "kind: function or serverless, which scale to zero",
    ("aws", "llm"): "a model of the cloud (foundation), which is paid for by request",
    ("gcp", "llm"): "a model of the cloud (foundation), which is paid for by request",
}
"""Kinds that always have an instance, with what to take instead."""

COLD_START_MS: Mapping[Kind, int] = {
    # AWS Lambda "Understanding the Lambda execution environment lifecycle": "from under 100 ms to over 1 second".
    ("aws", "function"): 1000,
    # SageMaker states no figure ("Serverless Inference", cold starts): the least that we plan for, a container and a model.
    ("aws", "serverless"): 3000,
    ("gcp", "function"): 1000,
    ("gcp", "serverless"): 1000,
    ("gcp", "container"): 1000,
    # Cloud Run "GPU support": "starts in approximately 5 seconds", before a model is loaded.
    ("gcp", "gpu"): 5000,
    # Kubernetes' own aim for the start of a pod whose image is there (sig-scalability, "Pod startup latency SLI/SLO details"):
    # 5 s at the 99th percentile, before a model is loaded.
    ("aws", "kubernetes"): 5000,
    ("gcp", "kubernetes"): 5000,
    # Nobody states a figure: a machine is found, boots and joins, and pulls an image of some GB. What we plan for at least.
    ("aws", "pool"): 60_000,
    ("gcp", "pool"): 60_000,
}
"""How long the first request waits at least where no instance is kept warm, ms; `pool` stands for a cluster's pool that may be
without a machine."""

GEOGRAPHIES = ("apac", "au", "ca", "eu", "global", "jp", "us", "us-gov")
"""What the id of a Bedrock inference profile begins with where it answers from several regions ("Supported Regions and models for
inference profiles"). A model's own id begins with its publisher."""

# AWS PrivateLink "AWS services that integrate with AWS PrivateLink"; each of them takes a policy.
PRIVATE: Mapping[str, tuple[str, ...]] = {
    "vision": ("rekognition",),
    "language": ("comprehend",),
    "speech": ("transcribe", "transcribestreaming"),
    "translation": ("translate",),
    "text_to_speech": ("polly",),
    "document": ("textract",),
}
"""Of AWS's own models for a task, the interface endpoints that they are called through, by the name of the service."""
