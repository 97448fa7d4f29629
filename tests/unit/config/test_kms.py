"""Data keys from KMS, on moto, which enforces the encryption context like KMS, but neither key policies nor limits."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from services.config.crypto import KeyUnavailableError, SecretBox
from services.config.key_file import LocalKeys
from services.config.kms import KeyChain, KmsKeys
from services.config.parameter import Sealed
from services.runtime.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError

ARN = "arn:aws:ssm:eu-west-1:000000000000:parameter"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("kms", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_alias(AliasName="alias/penstock", TargetKeyId=client.create_key()["KeyMetadata"]["KeyId"])
        client.create_alias(AliasName="alias/other", TargetKeyId=client.create_key()["KeyMetadata"]["KeyId"])
        yield client
        client.close()


@pytest.fixture
def keys(client: Any) -> KmsKeys:
    return KmsKeys(client, key="alias/penstock", arn_prefix=ARN)


async def sealed(box: SecretBox, value: str, name: str, key_id: str = "") -> Sealed:
    return box.seal(value, name, 1, await box.data_key(name, key_id))


async def test_a_secret_is_opened_by_kms_alone(client: Any, keys: KmsKeys) -> None:
    """Also by another process, which has nothing in its cache."""
    envelope = await sealed(SecretBox(keys), "s3cret", "/a")
    assert b"s3cret" not in envelope.envelope
    assert await SecretBox(KmsKeys(client, key="alias/penstock", arn_prefix=ARN)).open(envelope, "/a", 1) == "s3cret"


async def test_the_context_is_the_arn_of_the_parameter(client: Any, keys: KmsKeys) -> None:
    """Key policies may demand it; a data key of another parameter is refused, cached or not."""
    key = await keys.new_data_key("/a")
    answer = client.decrypt(CiphertextBlob=key.wrapped, EncryptionContext={"PARAMETER_ARN": f"{ARN}/a"})
    assert answer["Plaintext"] == key.plain
    await keys.unwrap(key.key_id, key.wrapped, "/a")
    with pytest.raises(KeyUnavailableError, match="InvalidCiphertextException"):
        await keys.unwrap(key.key_id, key.wrapped, "/b")


async def test_a_key_that_does_not_exist_is_told(keys: KmsKeys) -> None:
    """As Parameter Store does."""
    with pytest.raises(InvalidArgumentError, match="no usable key 'alias/none'") as caught:
        await keys.new_data_key("/a", "alias/none")
    assert caught.value.metadata == {"ssm_error": "InvalidKeyId"}


async def test_secrets_move_from_the_key_file_to_kms(client: Any, keys: KmsKeys) -> None:
    """And from one KMS key to another, the value untouched; afterwards the key file is not needed."""
    local = LocalKeys([b"k" * 32])
    before = await sealed(SecretBox(local), "s3cret", "/a")
    chain = SecretBox(KeyChain(keys, local))
    assert await chain.open(before, "/a", 1) == "s3cret"
    moved = await chain.rewrapped(before, "/a", 1)
    assert moved is not None
    assert await SecretBox(keys).open(moved, "/a", 1) == "s3cret"
    other = SecretBox(KmsKeys(client, key="alias/other", arn_prefix=ARN))
    again = await other.rewrapped(moved, "/a", 1)
    assert again is not None
    assert await other.open(again, "/a", 1) == "s3cret"
    assert await other.rewrapped(again, "/a", 1) is None
    with pytest.raises(FailedPreconditionError, match="give its key file too"):
        await SecretBox(keys).open(before, "/a", 1)


async def test_kms_away_is_a_passing_trouble(keys: KmsKeys) -> None:
    """The caller may retry; nothing of the secret is told."""

    class Away:
        def generate_data_key(self, **_arguments: object) -> None:
            raise EndpointConnectionError(endpoint_url="kms")

    away = SecretBox(KmsKeys(Away(), key="alias/penstock", arn_prefix=ARN))
    with pytest.raises(UnavailableError, match="KMS cannot be used"):
        await away.data_key("/a")
    assert "alias/penstock" in repr(keys)
