"""Which language a policy is in, as the API names it: a dialect with the limits of this process, and its mode."""

from collections.abc import Mapping
from dataclasses import replace

from penstock.filtering.v1 import subscription_pb2

from services.filtering.dialect import DIALECTS, EVENTBRIDGE, SNS_ATTRIBUTES, SNS_BODY, Dialect
from services.runtime.errors import FieldViolation, InvalidArgumentError

_NAMES = {
    subscription_pb2.FILTER_DIALECT_UNSPECIFIED: SNS_ATTRIBUTES.name,
    subscription_pb2.FILTER_DIALECT_SNS_ATTRIBUTES: SNS_ATTRIBUTES.name,
    subscription_pb2.FILTER_DIALECT_SNS_BODY: SNS_BODY.name,
    subscription_pb2.FILTER_DIALECT_EVENTBRIDGE: EVENTBRIDGE.name,
}
_EVERY_ELEMENT = {
    subscription_pb2.ANYTHING_BUT_ARRAYS_UNSPECIFIED: None,
    subscription_pb2.ANYTHING_BUT_ARRAYS_NONE_LISTED: True,
    subscription_pb2.ANYTHING_BUT_ARRAYS_ONE_UNLISTED: False,
}


class Languages:
    """The dialects by the values of the API's enumerations; `dialects` are those of this process by name."""

    def __init__(self, dialects: Mapping[str, Dialect] = DIALECTS) -> None:
        self._dialects = dialects

    def read(
        self, dialect: subscription_pb2.FilterDialect, anything_but_arrays: subscription_pb2.AnythingButArrays
    ) -> Dialect:
        """The language of two enum values; unspecified means `sns-attributes`, and arrays as the dialect reads them.

        Raises:
            InvalidArgumentError: with a violation per value that is not known.
        """
        faults = [
            FieldViolation(
                field=field, description=f"{field} {value} is not known; use a value of penstock.filtering.v1.{enum}"
            )
            for field, value, known, enum in (
                ("dialect", dialect, _NAMES, "FilterDialect"),
                ("anything_but_arrays", anything_but_arrays, _EVERY_ELEMENT, "AnythingButArrays"),
            )
            if value not in known
        ]
        if faults:
            raise InvalidArgumentError("; ".join(fault.description for fault in faults), violations=faults)
        language, every = self._dialects[_NAMES[dialect]], _EVERY_ELEMENT[anything_but_arrays]
        return language if every in (None, language.every_element) else replace(language, every_element=bool(every))


AWS = Languages()
"""With the limits of AWS."""
STORED = Languages({name: dialect.unlimited for name, dialect in DIALECTS.items()})
"""For policies that are stored: a limit decides what is taken, not whether what was taken stays in force."""
