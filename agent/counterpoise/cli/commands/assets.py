"""`counterpoise assets`: the pinned weights and demo data, listed or pulled."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from counterpoise.cli.commands.session import Session
from counterpoise.core.errors import JobError

assets_app = typer.Typer(help="List the pinned weights and demo data, or pull them.")


@assets_app.callback()
def assets(context: typer.Context) -> None:
    """List the pinned weights and demo data; `assets pull` fetches them."""
    if context.invoked_subcommand is None:
        list_pinned(context)


@assets_app.command("list")
def list_pinned(context: typer.Context) -> None:
    """List the pinned weights and demo data."""
    from counterpoise.cli.terminal_tables import make_asset_table
    from counterpoise.core.assets import find_cache_dir, list_assets

    session: Session = context.obj
    statuses = list_assets()
    if not session.as_json:
        session.make_console().print(make_asset_table(statuses))
        typer.echo(f"cache: {find_cache_dir()}")
        return
    for status in statuses:
        session.write_event(
            "asset",
            name=status.asset.name,
            description=status.asset.description,
            requirement=status.asset.requirement,
            licence=status.asset.licence,
            sha256=status.asset.sha256,
            size=status.asset.size,
            path=str(status.path),
            is_present=status.is_present,
        )


@assets_app.command()
def pull(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="[NAME]...", help="Which.")] = [],  # noqa: B006
    is_all: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Pull assets into the cache; those that are there already are checked."""
    from counterpoise.core.assets import ASSETS, ensure_asset
    from counterpoise.core.event_kinds import Downloading
    from counterpoise.core.events import tell_progress
    from counterpoise.core.strict_yaml import suggest

    listed = "there are " + ", ".join(ASSETS)
    if is_all == bool(names):
        raise JobError(
            "found " + ("both" if is_all else "neither"), where="assets pull", hint="give names or --all"
        )
    for name in names:
        if name not in ASSETS:
            raise JobError(f"no asset '{name}'", where="assets pull", hint=suggest(name, ASSETS, listed))
    session: Session = context.obj
    for name in names or list(ASSETS):
        with session.open_screen():
            path = ensure_asset(name, progress=tell_progress(partial(Downloading, name)))
        if session.as_json:
            session.write_event("asset", name=name, path=str(path), is_present=True)
        else:
            typer.echo(f"{name}: {path}")
