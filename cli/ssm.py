"""AWS Systems Manager Parameter Store as the source or target of a transfer, by boto3 and its own configuration."""

from collections.abc import Mapping
from typing import Any

from cli.documents import Item, Kind
from cli.plan import Action, Change, Current

PREFIX = "ssm:"


class SsmError(Exception):
    """What AWS refused, or that it could not be reached (`unreachable`)."""

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


class Ssm:
    """The parameters below `path`, by the region, credentials and endpoint that boto3 finds."""

    def __init__(self, path: str) -> None:
        import boto3  # noqa: PLC0415 - see the package
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        self.path = path
        try:
            self._client: Any = boto3.client("ssm")
        except BotoCoreError as error:
            raise SsmError(f"boto3 cannot be used: {error}") from error

    def read(self, *, decrypt: bool) -> Mapping[str, Current]:
        """The parameters by their names below the path; secrets have their value only where they are decrypted.

        Raises:
            SsmError: AWS refuses or is away.
        """
        pages = self._client.get_paginator("get_parameters_by_path")
        found: dict[str, Current] = {}
        with _told():
            for page in pages.paginate(Path=self.path, Recursive=True, WithDecryption=decrypt):
                for parameter in page["Parameters"]:
                    item = _item(parameter, decrypt=decrypt)
                    found[parameter["Name"].removeprefix(self.path).lstrip("/")] = Current(item=item)
        return found

    def apply(self, change: Change) -> None:
        """Does one step of a plan.

        Raises:
            SsmError: AWS refuses or is away.
        """
        name = f"{self.path.rstrip('/')}/{change.name}"
        with _told():
            if change.action is Action.DELETE:
                self._client.delete_parameter(Name=name)
            elif change.action is Action.ADD:
                self._client.put_parameter(Name=name, Value=change.after, Type=change.kind.value)
            else:
                self._client.put_parameter(Name=name, Value=change.after, Overwrite=True)


class _told:  # noqa: N801 - a context manager
    """What boto3 raises becomes an SsmError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        from botocore.exceptions import (  # noqa: PLC0415 - see the package
            BotoCoreError,
            ClientError,
            ConnectionError,  # noqa: A004 - botocore's
            HTTPClientError,
        )

        if isinstance(error, ClientError):
            told = error.response["Error"]
            raise SsmError(f"AWS refused {error.operation_name}: {told['Code']}: {told['Message']}") from error
        if isinstance(error, BotoCoreError):
            unreachable = isinstance(error, ConnectionError | HTTPClientError)
            raise SsmError(f"AWS cannot be called: {error}", unreachable=unreachable) from error


def _item(parameter: Mapping[str, Any], *, decrypt: bool) -> Item:
    kind = Kind(parameter["Type"])
    hidden = kind is Kind.SECURE_STRING and not decrypt  # AWS answers with a ciphertext then
    return Item(value="" if hidden else parameter["Value"], kind=kind)
