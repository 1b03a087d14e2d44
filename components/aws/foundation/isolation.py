"""The account as a fence around one environment."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.scope import Component, Scope, after


@dataclass(frozen=True, kw_only=True)
class IsolationArgs:
    """What the fence needs."""

    compute_key: contracts.Key
    """Key of every volume that names no other."""


class Isolation(Component):
    """Settings of the whole account that nothing in it can fall behind: nothing public, nothing unencrypted.

    Owns the account's block of public buckets, snapshots and images, the encryption of volumes by default, the defaults of
    instance metadata, the serial console and the password policy. Never owns the account itself or what the organization
    sets on it. The settings of EC2 hold in the environment's region; its boundary lets nobody work in another.

    Costs nothing. A destroy sets everything back to what AWS gives a new account.

    >>> Isolation("isolation", IsolationArgs(compute_key=key), scope=scope, parent=parent).outputs.apis
    {}
    """

    outputs: contracts.Isolation

    def __init__(self, name: str, args: IsolationArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Set the account's settings."""
        super().__init__(name, scope, parent)
        buckets = aws.s3.AccountPublicAccessBlock(
            f"{name}-buckets",
            account_id=scope.account,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self.options(),
        )
        key = aws.ebs.DefaultKmsKey(f"{name}-volume-key", key_arn=args.compute_key.id, opts=self.options())
        volumes = aws.ebs.EncryptionByDefault(f"{name}-volumes", enabled=True, opts=self.options(depends_on=[key]))
        snapshots = aws.ebs.SnapshotBlockPublicAccess(
            f"{name}-snapshots", state="block-all-sharing", opts=self.options()
        )
        images = aws.ec2.ImageBlockPublicAccess(f"{name}-images", state="block-new-sharing", opts=self.options())
        metadata = aws.ec2.InstanceMetadataDefaults(
            f"{name}-metadata",
            http_endpoint="enabled",
            http_tokens="required",
            # One hop: a container cannot take its machine's identity. Pods have their own (EKS Pod Identity).
            http_put_response_hop_limit=1,
            instance_metadata_tags="disabled",
            opts=self.options(),
        )
        console = aws.ec2.SerialConsoleAccess(f"{name}-serial-console", enabled=False, opts=self.options())
        # Nobody is meant to have a password here; should somebody make a user all the same, it is a strong one.
        passwords = aws.iam.AccountPasswordPolicy(
            f"{name}-passwords",
            minimum_password_length=14,
            password_reuse_prevention=24,
            max_password_age=90,
            require_lowercase_characters=True,
            require_uppercase_characters=True,
            require_numbers=True,
            require_symbols=True,
            allow_users_to_change_password=True,
            opts=self.options(),
        )
        fence = (buckets, volumes, snapshots, images, metadata, console, passwords)
        self.outputs = contracts.Isolation(account=after(scope.account, *fence), apis={})
        self.finish(self.outputs)
