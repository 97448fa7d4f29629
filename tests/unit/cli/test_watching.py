"""`penstock params watch`: what becomes of the messages of a watch, and the table of a terminal."""

from penstock.config.v1 import config_service_pb2 as messages
from penstock.config.v1 import parameter_pb2
from rich.console import Console

from cli.parameter_rows import change_row
from cli.watching import LiveTable


def put(
    name: str, version: int, revision: int, value: str, *, secret: bool = False
) -> messages.WatchParametersResponse:
    kind = parameter_pb2.PARAMETER_TYPE_SECURE_STRING if secret else parameter_pb2.PARAMETER_TYPE_STRING
    found = parameter_pb2.Parameter(name=name, version=version, revision=revision, value=value, type=kind)
    return messages.WatchParametersResponse(put=messages.ParameterPut(parameter=found))


BOOKMARK = messages.WatchParametersResponse(bookmark=messages.WatchBookmark(revision=9))
DELETE = messages.WatchParametersResponse(delete=messages.ParameterDelete(name="/a", revision=11))
METADATA = messages.WatchParametersResponse(
    metadata=messages.ParameterMetadata(name="/b", revision=12, labels={"stable": 1}, tags={"team": "lab"})
)


def drawn(*responses: messages.WatchParametersResponse, height: int = 20) -> list[str]:
    console = Console(width=90, height=height, record=True, force_terminal=False)
    table = LiveTable("/", console)
    for response in responses:
        table.take(change_row(response))
    with console.capture() as capture:
        console.print(table)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_a_change_of_labels_or_tags_is_a_row() -> None:
    """With the pairs for programs, and as a text."""
    row = change_row(METADATA)
    assert (row["event"], row["name"], row["revision"]) == ("metadata", "/b", 12)
    assert (row["labels"], row["tags"], row["value"]) == (
        {"stable": 1},
        {"team": "lab"},
        "labels stable=1; tags team=lab",
    )


def test_the_table_shows_each_parameter_once_and_the_newest_on_top() -> None:
    """What exists, what changed since, what is gone; the value of a secret that was not asked for is not there."""
    lines = drawn(put("/a", 1, 7, "one"), put("/b", 1, 8, "", secret=True), BOOKMARK)
    assert lines[0] == "/: 2 parameters, following, revision 9. Ctrl-C ends."
    assert lines[2:] == ["/b 1 8 put (SecureString, --decrypt shows it)", "/a 1 7 put one"]
    lines = drawn(
        put("/a", 1, 7, "one"), put("/b", 1, 8, "x"), BOOKMARK, put("/a", 2, 10, "two\nlines"), METADATA, DELETE
    )
    assert lines[2:] == ["/a 2 11 deleted two\\nlines", "/b 1 12 metadata labels stable=1; tags team=lab"]


def test_the_table_forgets_what_was_deleted_long_ago() -> None:
    """Names that come and go for ever cost nothing; what exists stays, and alone is counted."""
    responses = [put("/stays", 1, 1, "v"), BOOKMARK]
    for number in range(500):
        gone = messages.ParameterDelete(name=f"/p{number}", revision=number + 1000)
        responses += [put(f"/p{number}", 1, number + 10, "v"), messages.WatchParametersResponse(delete=gone)]
    lines = drawn(*responses, put("/p499", 1, 2000, "back"), height=2000)
    assert lines[0].startswith("/: 2 parameters, following")
    assert [line.split()[0] for line in lines[2:]] == [*(f"/p{number}" for number in range(499, 299, -1)), "/stays"]


def test_the_table_fits_the_terminal() -> None:
    """The newest stay; the title counts all."""
    lines = drawn(*(put(f"/p{number}", 1, number, "v") for number in range(1, 50)), height=10)
    assert lines[0].startswith("/: 49 parameters, reading, revision 49")
    assert [line.split()[0] for line in lines[2:]] == ["/p49", "/p48", "/p47", "/p46", "/p45", "/p44"]
