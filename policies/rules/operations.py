"""That a failure is noticed, and that a message is not lost."""

from typing import Any

from policies.model import REFERENCE, Graph, Resource, texts
from policies.rule import Found, resource_rule

METRIC_ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
COMPOSITE_ALARM = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
ALERT_POLICY = "gcp:monitoring/alertPolicy:AlertPolicy"
ENDPOINT = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
QUEUE = "aws:sqs/queue:Queue"
TOPIC = "aws:sns/topic:Topic"
REDRIVE = "aws:sqs/redrivePolicy:RedrivePolicy"
SUBSCRIPTION = "gcp:pubsub/subscription:Subscription"

# What sends to a queue the messages that could not be handled, and where it names the queue.
_SENDS_DEAD_LETTERS = (
    (QUEUE, "redrivePolicy"),
    (REDRIVE, "redrivePolicy"),
    ("aws:lambda/function:Function", "deadLetterConfig"),
    ("aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig", "destinationConfig.onFailure"),
    ("aws:sns/topicSubscription:TopicSubscription", "redrivePolicy"),
    ("aws:cloudwatch/eventTarget:EventTarget", "deadLetterConfig"),
    ("aws:scheduler/schedule:Schedule", "target.deadLetterConfig"),
)
# What sends messages to a queue that somebody has to work on.
_SENDS_WORK = (
    ("aws:sns/topicSubscription:TopicSubscription", "endpoint"),
    ("aws:cloudwatch/eventTarget:EventTarget", "arn"),
)


@resource_rule(
    "alarm-reaches-somebody",
    title="An alarm tells somebody",
    types=(METRIC_ALARM, COMPOSITE_ALARM, ALERT_POLICY),
    severity="medium",
    why="An alarm without an action is a red light in an empty room.",
    remedy="alarm_actions or notification_channels from the environment's notifications.",
    controls={
        "soc2": ("CC7.2", "CC7.3"),
        "iso-27001": ("A.8.16",),
        "eu-ai-act": ("12",),
        "nist-ai-rmf": ("MEASURE 2.4", "MEASURE 3.1"),
    },
)
def alarm_reaches_somebody(resource: Resource, graph: Graph) -> Found:
    """An alarm that a composite alarm listens to speaks through that one."""
    if resource.type == ALERT_POLICY:
        if not resource.get("notificationChannels"):
            yield "it has no notification channel"
    elif resource.get("actionsEnabled", True) is False:
        yield "its actions are switched off"
    elif not resource.get("alarmActions") and not graph.linked(resource.urn, COMPOSITE_ALARM, "alarmRule"):
        yield "it has no action"


@resource_rule(
    "queue-dead-letter",
    title="A message that cannot be handled is kept, not lost",
    types=(QUEUE, SUBSCRIPTION),
    severity="low",
    enforcement="advisory",
    why="A message that fails again and again blocks the others until it expires, and then nobody knows what it said.",
    remedy="AWS: redrive_policy to a second queue. Google Cloud: dead_letter_policy.",
    controls={"soc2": ("A1.2",), "iso-27001": ("A.8.14",)},
)
def queue_dead_letter(resource: Resource, graph: Graph) -> Found:
    """What receives dead letters, and no work, needs none itself."""
    if resource.type == SUBSCRIPTION:
        receives = any(graph.linked(topic, SUBSCRIPTION, "deadLetterPolicy") for topic in resource.links("topic"))
        if not receives and not resource.get("deadLetterPolicy.deadLetterTopic"):
            yield "it has no dead-letter topic"
        return
    receives = _sent(resource, graph, _SENDS_DEAD_LETTERS) and not _sent(resource, graph, _SENDS_WORK)
    receives = receives or _keeps_failures(resource, graph)
    own = resource.get("redrivePolicy") or graph.linked(resource.urn, REDRIVE, "queueUrl")
    if not own and not receives:
        yield "it has no dead-letter queue"


def _sent(queue: Resource, graph: Graph, senders: tuple[tuple[str, str], ...]) -> bool:
    return any(
        _names(sender.get(path), queue)
        for type_, path in senders
        for sender in graph.linked(queue.urn, type_, path.partition(".")[0])
    )


def _keeps_failures(queue: Resource, graph: Graph) -> bool:
    """Whether all that comes into a queue are requests that an asynchronous endpoint could not handle."""
    subscriptions = graph.linked(queue.urn, _SENDS_WORK[0][0], "endpoint")
    linked = {topic for subscription in subscriptions for topic in subscription.links("topic")}
    topics = {urn for urn in linked if urn in graph.resources and graph.resources[urn].type == TOPIC}
    failures = {
        match[1]
        for topic in topics
        for endpoint in graph.linked(topic, ENDPOINT, "asyncInferenceConfig")
        for text in texts(endpoint.get("asyncInferenceConfig.outputConfig.notificationConfig.errorTopic"))
        for match in REFERENCE.finditer(text)
    }
    return bool(topics) and topics <= failures and not graph.linked(queue.urn, *_SENDS_WORK[1])


def _names(value: Any, queue: Resource) -> bool:
    """Whether a value leads to the queue; one that was written down may, since what it stands in comes from the queue."""
    named = {match[1] for text in texts(value) for match in REFERENCE.finditer(text)}
    return queue.urn in named if named else value is not None
