"""What has to change."""

from cli.documents import Item, Kind
from cli.plan import HIDDEN, Action, Change, Current, plan_of


def current(value: str, kind: Kind = Kind.STRING, version: int = 3) -> Current:
    return Current(item=Item(value=value, kind=kind), version=version)


def steps(changes: list[Change]) -> list[tuple[Action, str]]:
    return [(change.action, change.name) for change in changes]


def test_only_what_differs_is_changed_and_nothing_deleted_unasked() -> None:
    """By name, with the versions that are replaced."""
    wanted = {"new": Item(value="1"), "same": Item(value="1"), "other": Item(value="2")}
    have = {"same": current("1"), "other": current("1"), "gone": current("1", version=7)}
    assert steps(list(plan_of(wanted, have, prune=False).changes)) == [(Action.ADD, "new"), (Action.CHANGE, "other")]
    pruned = plan_of(wanted, have, prune=True).changes
    assert steps(list(pruned)) == [(Action.DELETE, "gone"), (Action.ADD, "new"), (Action.CHANGE, "other")]
    assert [change.version for change in pruned] == [7, 0, 3]


def test_a_type_is_kept_where_the_document_tells_none() -> None:
    """A .env file knows no types."""
    plan = plan_of({"a": Item(value="2")}, {"a": current("1", Kind.SECURE_STRING)}, prune=False)
    assert [change.kind for change in plan.changes] == [Kind.SECURE_STRING]


def test_a_type_that_would_change_is_a_conflict() -> None:
    wanted = {"a": Item(value="1", kind=Kind.SECURE_STRING)}
    assert plan_of(wanted, {"a": current("1")}, prune=False).conflicts == [
        "a is a String and cannot become a SecureString: delete it first"
    ]


def test_secrets_are_dots_unless_asked_for() -> None:
    """In rows and reprs, before and after."""
    wanted = {"a": Item(value="s3cret-2", kind=Kind.SECURE_STRING)}
    (change,) = plan_of(wanted, {"a": current("s3cret-1", Kind.SECURE_STRING)}, prune=False).changes
    assert "s3cret" not in repr((change, wanted))
    assert (change.row(show_secrets=False)["before"], change.row(show_secrets=False)["after"]) == (HIDDEN, HIDDEN)
    assert change.row(show_secrets=True)["after"] == "s3cret-2"
