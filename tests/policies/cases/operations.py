"""Rules on alarms and messages."""

from tests.policies.build import bad, good, make, ref

TOPIC = make("aws:sns/topic:Topic", inputs={"name": "acme-dev-alerts"})
DEAD = make("aws:sqs/queue:Queue", "dead", inputs={"name": "acme-dev-dead"})
REDRIVE = f'{{"deadLetterTargetArn": "{ref(DEAD, "arn")}", "maxReceiveCount": 5}}'
QUEUE = make("aws:sqs/queue:Queue", "work", inputs={"redrivePolicy": REDRIVE})
PLAIN = make("aws:sqs/queue:Queue", "work", inputs={"name": "acme-dev-work"})
APART = make("aws:sqs/redrivePolicy:RedrivePolicy", inputs={"queueUrl": ref(PLAIN, "url"), "redrivePolicy": REDRIVE})


def alarm(**inputs):
    return make("aws:cloudwatch/metricAlarm:MetricAlarm", "alarm", inputs=inputs)


def composite(**inputs):
    rule = f"ALARM({ref(alarm(), 'alarmName')})"
    return make("aws:cloudwatch/compositeAlarm:CompositeAlarm", inputs={"alarmRule": rule, **inputs})


def policy(**inputs):
    return make("gcp:monitoring/alertPolicy:AlertPolicy", inputs=inputs)


DEAD_TOPIC = make("gcp:pubsub/topic:Topic", "dead", inputs={"name": "acme-dev-dead"})


def subscription(*, comes_from=None, **inputs):
    return make("gcp:pubsub/subscription:Subscription", inputs=inputs, comes_from=comes_from)


def invoked(**destination):
    kind = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"
    return make(kind, inputs={"functionName": "f", "destinationConfig": destination})


ALARM, DEAD_LETTER = "alarm-reaches-somebody", "queue-dead-letter"
FAILED = make("aws:sns/topic:Topic", "failed", inputs={"name": "acme-dev-ocr-failed"})
SUBSCRIBED = make(
    "aws:sns/topicSubscription:TopicSubscription", inputs={"topic": ref(FAILED, "arn"), "endpoint": ref(PLAIN, "arn")}
)


def waits(which):
    output = {"notificationConfig": {which: ref(FAILED, "arn")}}
    type_ = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
    return make(type_, inputs={"asyncInferenceConfig": {"outputConfig": output}})


CASES = [
    good("queue-dead-letter", "failures of an endpoint", FAILED, PLAIN, SUBSCRIBED, waits("errorTopic")),
    bad(
        "queue-dead-letter",
        "answers of an endpoint",
        "no dead-letter",
        FAILED,
        PLAIN,
        SUBSCRIBED,
        waits("successTopic"),
    ),
    bad(ALARM, "no action", "no action", alarm()),
    bad(
        ALARM,
        "actions that are off",
        "switched off",
        TOPIC,
        alarm(alarmActions=[ref(TOPIC, "arn")], actionsEnabled=False),
    ),
    bad(ALARM, "a composite alarm without", "no action", alarm(alarmActions=["arn"]), composite()),
    bad(ALARM, "no channel", "no notification channel", policy()),
    good(ALARM, "an action", TOPIC, alarm(alarmActions=[ref(TOPIC, "arn")])),
    good(ALARM, "through a composite alarm", alarm(), composite(alarmActions=["arn"])),
    good(ALARM, "a channel", policy(notificationChannels=["c"])),
    bad(DEAD_LETTER, "no queue", "no dead-letter queue", PLAIN),
    bad(DEAD_LETTER, "no topic", "no dead-letter topic", subscription()),
    bad(
        DEAD_LETTER,
        "what a schedule sends its work to",
        "no dead-letter queue",
        DEAD,
        make("aws:scheduler/schedule:Schedule", inputs={"target": {"arn": ref(DEAD, "arn")}}),
    ),
    bad(
        DEAD_LETTER,
        "what a schedule sends its work to, and its dead letters elsewhere",
        "no dead-letter queue",
        DEAD,
        make(
            "aws:scheduler/schedule:Schedule",
            inputs={"target": {"arn": ref(DEAD, "arn"), "deadLetterConfig": {"arn": ref(PLAIN, "arn")}}},
        ),
    ),
    bad(
        DEAD_LETTER,
        "where a function's answers go",
        "no dead-letter queue",
        DEAD,
        invoked(onSuccess={"destination": ref(DEAD, "arn")}),
    ),
    bad(
        DEAD_LETTER,
        "dead letters between work",
        "no dead-letter queue",
        DEAD,
        QUEUE,
        make("aws:cloudwatch/eventTarget:EventTarget", inputs={"arn": ref(DEAD, "arn")}),
    ),
    good(DEAD_LETTER, "where a function's failures go", DEAD, invoked(onFailure={"destination": ref(DEAD, "arn")})),
    good(
        DEAD_LETTER,
        "a queue that is named in words",
        DEAD,
        make(
            "aws:lambda/function:Function",
            inputs={"deadLetterConfig": {"targetArn": "arn:aws:sqs:us-west-2:1:dead"}},
            comes_from={"deadLetterConfig": DEAD},
        ),
    ),
    good(DEAD_LETTER, "a queue, which needs none itself", QUEUE, DEAD),
    good(DEAD_LETTER, "a queue by a policy apart", PLAIN, DEAD, APART),
    good(
        DEAD_LETTER,
        "a function's queue",
        DEAD,
        make("aws:lambda/function:Function", inputs={"deadLetterConfig": {"targetArn": ref(DEAD, "arn")}}),
    ),
    good(
        DEAD_LETTER,
        "what reads the dead letters",
        DEAD_TOPIC,
        subscription(topic="dead", comes_from={"topic": DEAD_TOPIC}),
        make(
            "gcp:pubsub/subscription:Subscription",
            "work",
            inputs={"deadLetterPolicy": {"deadLetterTopic": ref(DEAD_TOPIC, "id")}},
        ),
    ),
    good(DEAD_LETTER, "a topic", subscription(deadLetterPolicy={"deadLetterTopic": "t"})),
    good(
        DEAD_LETTER,
        "a schedule's queue",
        DEAD,
        make("aws:scheduler/schedule:Schedule", inputs={"target": {"deadLetterConfig": {"arn": ref(DEAD, "arn")}}}),
    ),
]
