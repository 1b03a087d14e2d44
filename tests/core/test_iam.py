"""Policy documents from small parts."""

from components.core import iam


def test_a_statement_holds_what_it_was_given_and_nothing_else():
    assert iam.deny(["s3:*"], ["arn"], sid="Tls", principals="*", when=iam.secure_transport(required=False)) == {
        "Sid": "Tls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:*"],
        "Resource": ["arn"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    assert iam.allow(["sts:AssumeRole"]) == {"Effect": "Allow", "Action": ["sts:AssumeRole"]}


def test_conditions_of_one_operator_are_merged():
    merged = iam.both({"StringEquals": {"a": 1}}, {"StringEquals": {"b": 2}}, {"ArnLike": {"c": 3}})
    assert merged == {"StringEquals": {"a": 1, "b": 2}, "ArnLike": {"c": 3}}


def test_a_service_is_trusted_for_one_account_and_resource():
    (statement,) = iam.trust("lambda.amazonaws.com", "111111111111", "arn:x")["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "111111111111"},
        "ArnLike": {"aws:SourceArn": "arn:x"},
    }
    (plain,) = iam.trust("lambda.amazonaws.com", "111111111111")["Statement"]
    assert plain["Condition"] == {"StringEquals": {"aws:SourceAccount": "111111111111"}}
