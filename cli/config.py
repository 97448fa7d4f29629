"""`penstock config`: what an operator does with the files of the config service: backup, restore, keys."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cli.connection import EXIT_REFUSED, usage_error
from cli.output import print_json

app = typer.Typer(no_args_is_help=True, help="Files of the config service: backup, restore, keys of secrets.")

_EPILOG = """Examples:

penstock config backup /backup/parameters-monday.sqlite3 --database .penstock/data/config/parameters.sqlite3

penstock config restore /backup/parameters-monday.sqlite3 --database .penstock/data/config/parameters.sqlite3

penstock config rotate-key --key-file .penstock/data/config/secret.key
"""

DATABASE = typer.Option(
    Path(".penstock/config/parameters.sqlite3"),
    "--database",
    envvar="PENSTOCK_CONFIG_DATABASE",
    dir_okay=False,
    help="Database file of the service.",
)
KEY_FILE = typer.Option(
    Path(".penstock/config/secret.key"),
    "--key-file",
    envvar="PENSTOCK_CONFIG_KEY_FILE",
    dir_okay=False,
    help="Key file of the service.",
)
AS_JSON = typer.Option(False, "--json", help="Print JSON.")


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="config")


@app.command(epilog=_EPILOG)
def backup(
    to: Annotated[Path, typer.Argument(dir_okay=False, help="File to write; it must not exist.")],
    database: Path = DATABASE,
    as_json: bool = AS_JSON,
) -> None:
    """Copy the database while the service runs, checked and whole. The key file is not in it: keep it apart."""
    from services.config.backup import save  # noqa: PLC0415 - see the package
    from services.runtime.errors import PenstockError  # noqa: PLC0415

    try:
        revision = save(database, to)
    except PenstockError as error:
        _fail(error.message)
    if as_json:
        print_json({"file": str(to), "revision": revision})
    else:
        print(f"{to} holds revision {revision}")


@app.command(epilog=_EPILOG)
def restore(
    backup_file: Annotated[Path, typer.Argument(metavar="BACKUP", dir_okay=False, help="File made by backup.")],
    database: Path = DATABASE,
    as_json: bool = AS_JSON,
) -> None:
    """Put a backup in the place of the database; the service must be stopped. The former file is kept beside it."""
    from services.config import backup as files  # noqa: PLC0415 - see the package
    from services.runtime.errors import PenstockError  # noqa: PLC0415

    try:
        revision, former = files.restore(backup_file, database)
    except PenstockError as error:
        _fail(error.message)
    if as_json:
        print_json({"revision": revision, "former": str(former) if former else None})
    else:
        print(f"{database} is restored and goes on after revision {revision}")
        if former:
            print(f"the former file is {former}")


@app.command("rotate-key", epilog=_EPILOG)
def rotate_key(key_file: Path = KEY_FILE, as_json: bool = AS_JSON) -> None:
    """Put a new key first in the key file: a running service takes it up within seconds and re-wraps every secret."""
    import secrets  # noqa: PLC0415

    from services.config.crypto import KEY_BYTES  # noqa: PLC0415 - see the package
    from services.config.key_file import KeyFileError, key_id_of, load_or_create_keys, write_keys  # noqa: PLC0415

    try:
        keys = load_or_create_keys(key_file, may_create=False) if key_file.exists() else _no_file(key_file)
    except KeyFileError as error:
        _fail(error.message)
    new = secrets.token_bytes(KEY_BYTES)
    write_keys(key_file, [new, *keys])
    if as_json:
        print_json({"active": key_id_of(new).hex(), "keys": len(keys) + 1})
    else:
        print(f"key {key_id_of(new).hex()} is active; {len(keys)} older remain until `penstock config drop-keys`")


@app.command("drop-keys", epilog=_EPILOG)
def drop_keys(key_file: Path = KEY_FILE, database: Path = DATABASE, as_json: bool = AS_JSON) -> None:
    """Remove keys from the key file that no stored secret needs any more. Secrets in backups may need them still."""
    from services.config.backup import keys_in_use  # noqa: PLC0415 - see the package
    from services.config.key_file import KeyFileError, key_id_of, load_or_create_keys, write_keys  # noqa: PLC0415
    from services.runtime.errors import PenstockError  # noqa: PLC0415

    try:
        keys = load_or_create_keys(key_file, may_create=False) if key_file.exists() else _no_file(key_file)
        used = keys_in_use(database)
    except (KeyFileError, PenstockError) as error:
        _fail(error.message)
    kept = [key for index, key in enumerate(keys) if index == 0 or key_id_of(key) in used]
    if len(kept) < len(keys):
        write_keys(key_file, kept)
    if as_json:
        print_json({"dropped": len(keys) - len(kept), "kept": [key_id_of(key).hex() for key in kept]})
    else:
        print(f"{len(keys) - len(kept)} dropped, {len(kept)} kept")


def _no_file(key_file: Path) -> NoReturn:
    usage_error(f"{key_file} does not exist: --key-file names the one of the service")


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(EXIT_REFUSED)
