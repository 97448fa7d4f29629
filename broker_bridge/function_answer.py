"""What a Lambda function's answer says of the messages it was given: which failed, and replies to their senders.

Both are lists by the id that the Amazon MQ event calls `messageID`. Failures have the form of Lambda's other event
source mappings, `{"batchItemFailures": [{"itemIdentifier": id}]}`; replies are `{"replies": {id: reply}}`, in which a
reply is a text, or the JSON form of `penstock.delivery.v1.Reply`. Where the event knows no ids the whole answer is the
reply. Any other answer, and none, means success.
"""

import json
from collections.abc import Iterator, Sequence

from google.protobuf import json_format
from penstock.delivery.v1 import delivery_service_pb2

from broker_bridge.grpc_target import read_reply
from broker_bridge.parcel import Parcel
from broker_bridge.target_specs import LambdaTarget
from broker_bridge.targets import ACCEPTED, Accepted, ErrorClass, Outcome, Reply, Retry

_SHOWN_CHARACTERS = 500
_NO_JSON = object()
_NAMED = Retry(reason="the function named it in batchItemFailures", error_class=ErrorClass.REFUSED)


class _NoReplyError(ValueError):
    """A reply that cannot be read; the message says why."""


def read_answer(payload: bytes, parcels: Sequence[Parcel], spec: LambdaTarget) -> Sequence[Outcome]:
    """The outcomes of the messages of an invocation that did not fail as a whole.

    A list of failures that cannot be read, or names a message that is not among them, fails all, as at AWS. A reply
    that cannot be read changes no outcome: the function has done its work.
    """
    answer = _parsed(payload)
    try:
        failed = failed_items(answer)
    except ValueError as error:
        return all_failed(str(error), parcels)
    if unknown := failed - {parcel.message.id for parcel in parcels}:
        return all_failed(f"batchItemFailures names {min(unknown)!r}, which is not in the batch", parcels)
    good = [parcel for parcel in parcels if parcel.message.id not in failed]
    if not spec.replies or not any(parcel.message.reply_to for parcel in good):
        return [_NAMED if parcel.message.id in failed else ACCEPTED for parcel in parcels]
    accepted = iter(_whole(payload, good) if spec.simple else _by_id(answer, good, failed))
    return [_NAMED if parcel.message.id in failed else next(accepted) for parcel in parcels]


def all_failed(reason: str, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
    """The outcome of each message where the invocation failed as a whole."""
    return [Retry(reason=reason[:_SHOWN_CHARACTERS], error_class=ErrorClass.REFUSED)] * len(parcels)


def error_text(payload: bytes) -> str:
    """Type and message of a function's error; its stack trace stays in the function's log."""
    try:
        error = json.loads(payload)
        text = f"{error.get('errorType', 'error')}: {error.get('errorMessage', '')}"
    except (ValueError, AttributeError, RecursionError):
        text = payload.decode(errors="replace")
    return text[:_SHOWN_CHARACTERS]


def _parsed(payload: bytes) -> object:
    """The answer as JSON; `_NO_JSON` where it is none."""
    try:
        return json.loads(payload or b"null")
    except (ValueError, RecursionError):
        return _NO_JSON


def failed_items(answer: object) -> set[str]:
    """The message ids that are named as failed. Raises ValueError when the list cannot be read."""
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if failures is None:
        return set()
    if not isinstance(failures, list):
        raise ValueError("batchItemFailures is not a list")  # noqa: TRY004 - of what was read, not of our code
    found: set[str] = set()
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not isinstance(identifier, str) or not identifier:
            raise ValueError("an entry of batchItemFailures has no itemIdentifier")
        found.add(identifier)
    return found


def _by_id(answer: object, good: Sequence[Parcel], failed: set[str]) -> Iterator[Accepted]:
    """The outcomes of the messages that did not fail, of which there is at least one."""
    stray: list[str] = []
    replies: object = {}
    if isinstance(answer, dict):
        replies = answer.get("replies") or {}
    elif answer is not None:
        stray.append("the answer is not a JSON object")
    if not isinstance(replies, dict):
        stray.append("replies is not an object of messageID and reply")
        replies = {}
    unknown = replies.keys() - failed - {parcel.message.id for parcel in good}
    stray += [f"replies names {name[:_SHOWN_CHARACTERS]!r}, which is not in the batch" for name in sorted(unknown)]
    for parcel in good:
        yield _accepted(replies.get(parcel.message.id), before=stray)
        stray = []  # told once, with the first message


def _accepted(document: object, *, before: Sequence[str]) -> Accepted:
    if document is None:
        return Accepted(unread=tuple(before))
    try:
        return Accepted(reply=_reply(document), unread=tuple(before))
    except _NoReplyError as error:
        return Accepted(unread=(*before, str(error)))


def _reply(document: object) -> Reply:
    if isinstance(document, str):
        return Reply(body=_sound(document))
    if not isinstance(document, dict):
        raise _NoReplyError(f"a reply is a text or an object, not {json.dumps(document)[:_SHOWN_CHARACTERS]}")
    try:
        parsed = json_format.ParseDict(document, delivery_service_pb2.Reply())
    except (json_format.ParseError, ValueError, RecursionError, AttributeError) as error:
        raise _NoReplyError(f"the reply is no penstock.delivery.v1.Reply: {error}"[:_SHOWN_CHARACTERS]) from None
    return read_reply(parsed)


def _whole(payload: bytes, parcels: Sequence[Parcel]) -> Iterator[Accepted]:
    """The answer to a simple event, of one message: a JSON string is the text, anything else is sent as it is."""
    for _ in parcels:
        try:
            reply = _text(payload)
        except _NoReplyError as error:
            yield Accepted(unread=(str(error),))
        else:
            yield ACCEPTED if reply is None else Accepted(reply=Reply(body=reply))


def _text(payload: bytes) -> str | None:
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise _NoReplyError(f"the answer is no text: {error}") from None
    try:
        answer = json.loads(text or "null")
    except (ValueError, RecursionError):
        return text
    if isinstance(answer, str):
        return _sound(answer)
    return None if answer is None else text


def _sound(text: str) -> str:
    """JSON can write half of a surrogate pair, which no text holds."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _NoReplyError(f"the reply holds half of a surrogate pair at character {error.start}") from None
    return text
