"""What is changed in the SQLite store: operations in a transaction, which raise their errors before they write."""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from services.config import sqlite_reads as reads
from services.config.parameter import KEPT_VERSIONS, Deletion, MetadataChange, Notice, Parameter
from services.config.policies import first_notice
from services.config.sqlite_schema import INSERT_VERSION, values_of
from services.config.sqlite_writer import Transaction
from services.config.store import (
    Decide,
    LabelMove,
    Retag,
    StoredEnvelope,
    Tagged,
    check_expected_version,
    check_room_for_labels,
    check_room_for_version,
    due_events,
    not_found,
)

_DROPPED_TOGETHER = 10
"""Versions beyond those kept, which reads leave out, are marked together: each touches pages of its own."""

_DROP = "UPDATE events SET live = 0 WHERE name = ? AND version <= ? AND live = 1"
_SET_CURRENT = (
    "INSERT INTO parameters (name, revision, expires_at, notice_at, tier) VALUES (?1, ?2, ?3, ?4, ?5) "
    "ON CONFLICT DO UPDATE SET revision = ?2, expires_at = ?3, notice_at = ?4, tier = ?5"
)
_SET_REVISION = (
    "UPDATE parameters SET revision = ?2 WHERE name = ?1 AND expires_at IS ?3 AND notice_at IS ?4 AND tier = ?5"
)
_DUE_NAMES = (
    "SELECT name, notice_at FROM parameters WHERE expires_at <= ?1 OR notice_at <= ?1 "
    "ORDER BY min(coalesce(expires_at, notice_at), coalesce(notice_at, expires_at)), name"
)


def put(transaction: Transaction, name: str, decide: Decide) -> Parameter:
    """See `ParameterStore.put`."""
    connection = transaction.connection
    parameter = decide(reads.current(connection, name), transaction.revision + 1)
    dropped = parameter.version - KEPT_VERSIONS
    if dropped > 0:
        labelled = reads.one(
            connection, "SELECT EXISTS (SELECT 1 FROM labels WHERE name = ? AND version = ?)", name, dropped
        )
        check_room_for_version(name, parameter.version, dropped_has_label=bool(labelled))
        if dropped % _DROPPED_TOGETHER == 0:
            connection.execute(_DROP, (name, dropped))
    connection.execute(INSERT_VERSION, values_of(parameter))
    values = (name, parameter.revision, parameter.expires_at, first_notice(parameter), parameter.tier.value)
    # Mostly the revision alone changes: a statement that names no indexed column leaves the pages of indices alone.
    if not connection.execute(_SET_REVISION, values).rowcount:
        connection.execute(_SET_CURRENT, values)
    transaction.add(parameter)
    return parameter


def delete(transaction: Transaction, name: str, expected_version: int | None) -> int:
    """See `ParameterStore.delete`."""
    current = reads.current(transaction.connection, name)
    if current is None:
        raise not_found(name)
    check_expected_version(name, expected_version, current)
    return _remove(transaction, name)


def act_on_due(transaction: Transaction, now: float) -> int:
    """See `ParameterStore.act_on_due`."""
    before, connection = transaction.revision, transaction.connection
    for name, notice_at in connection.execute(_DUE_NAMES, (now,)).fetchall():
        parameter = reads.current(connection, name)
        assert parameter
        events, ahead = due_events(parameter, notice_at, now, transaction.revision)
        connection.execute("UPDATE parameters SET notice_at = ? WHERE name = ?", (ahead, name))
        for event in events:
            if isinstance(event, Deletion):
                _remove(transaction, name)
            else:
                _notify(transaction, event)
    return transaction.revision - before


def label(transaction: Transaction, name: str, labels: Sequence[str], version: int | None) -> LabelMove:
    """See `ParameterStore.label`."""
    connection = transaction.connection
    current = reads.current(connection, name)
    found = current if version is None else reads.version(connection, name, version)
    if current is None or found is None:
        raise not_found(name if version is None else f"{name}:{version}")
    check_room_for_labels(name, found.version, {*found.labels, *labels})
    before = _labels_of(connection, name)
    revision = _relabel(transaction, current, before, {**before, **dict.fromkeys(labels, found.version)})
    return LabelMove(version=found.version, labels=labels, revision=revision)


def unlabel(transaction: Transaction, name: str, labels: Sequence[str], version: int) -> LabelMove:
    """See `ParameterStore.unlabel`."""
    connection = transaction.connection
    current, found = reads.current(connection, name), reads.version(connection, name, version)
    if current is None or found is None:
        raise not_found(f"{name}:{version}")
    removed = [label for label in labels if label in found.labels]
    before = _labels_of(connection, name)
    left = {label: labelled for label, labelled in before.items() if label not in removed}
    return LabelMove(version=version, labels=removed, revision=_relabel(transaction, current, before, left))


def retag(transaction: Transaction, name: str, retag: Retag) -> Tagged:
    """See `ParameterStore.retag`."""
    connection = transaction.connection
    current = reads.current(connection, name)
    if current is None:
        raise not_found(name)
    tags = retag(current)
    if tags == current.tags:
        return Tagged(tags=tags)
    connection.execute("UPDATE events SET tags = ? WHERE revision = ?", (json.dumps(dict(tags)), current.revision))
    return Tagged(tags=tags, revision=_tell_metadata(transaction, name, _labels_of(connection, name), tags))


def replace_envelopes(transaction: Transaction, envelopes: Sequence[StoredEnvelope]) -> int:
    """See `ParameterStore.replace_envelopes`."""
    values = [(one.replacement.envelope, one.revision, one.sealed.envelope) for one in envelopes if one.replacement]
    return transaction.connection.executemany(
        "UPDATE events SET envelope = ? WHERE revision = ? AND envelope = ?", values
    ).rowcount


def _remove(transaction: Transaction, name: str) -> int:
    connection, revision = transaction.connection, transaction.revision + 1
    connection.execute("UPDATE events SET live = 0 WHERE name = ? AND live = 1", (name,))
    connection.execute("DELETE FROM parameters WHERE name = ?", (name,))
    connection.execute("DELETE FROM labels WHERE name = ?", (name,))
    connection.execute("INSERT INTO events (revision, name, live) VALUES (?, ?, 0)", (revision, name))
    transaction.add(Deletion(name=name, revision=revision))
    return revision


def _notify(transaction: Transaction, notice: Notice) -> None:
    transaction.connection.execute(
        "INSERT INTO events (revision, name, live, notice, due_at) VALUES (?, ?, 0, ?, ?)",
        (notice.revision, notice.name, notice.policy_type, notice.due_at),
    )
    transaction.add(notice)


def _labels_of(connection: sqlite3.Connection, name: str) -> dict[str, int]:
    return dict(connection.execute("SELECT label, version FROM labels WHERE name = ? ORDER BY label", (name,)))


def _relabel(transaction: Transaction, current: Parameter, before: Mapping[str, int], after: Mapping[str, int]) -> int:
    if after == before:
        return 0
    name, connection = current.name, transaction.connection
    connection.execute("DELETE FROM labels WHERE name = ?", (name,))
    rows = [(name, label, version) for label, version in after.items()]
    connection.executemany("INSERT INTO labels (name, label, version) VALUES (?, ?, ?)", rows)
    return _tell_metadata(transaction, name, after, current.tags)


def _tell_metadata(transaction: Transaction, name: str, labels: Mapping[str, int], tags: Mapping[str, str]) -> int:
    revision = transaction.revision + 1
    transaction.connection.execute(
        "INSERT INTO events (revision, name, live, labels, tags) VALUES (?, ?, 0, ?, ?)",
        (revision, name, json.dumps(labels), json.dumps(dict(tags))),
    )
    transaction.add(MetadataChange(name=name, revision=revision, labels=labels, tags=tags))
    return revision
