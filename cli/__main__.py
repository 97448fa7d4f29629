"""The `penstock` command: `penstock --help` lists what it can do."""

from importlib.metadata import version
from typing import Annotated

import typer

from cli import audit, bridge, config, demo, events, filters, log, params, send, subscriptions, tracking, up

app = typer.Typer(
    name="penstock",
    help="Feeds legacy JMS messages, filtered and at least once, to gRPC services and AWS Lambda.",
    epilog="Exit codes: 0 done, 1 refused, not found or not as expected, 2 wrong usage, 3 unreachable.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"penstock {version('penstock')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the command as a whole."""


for group in (up, demo, send, params, audit, config, subscriptions, filters, tracking, log, events, bridge):
    group.register(app)


if __name__ == "__main__":
    app()
