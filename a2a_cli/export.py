"""`a2a export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from a2a_cli.arguments import RunName, json_option, runs_option
from a2a_cli.output import print_json, table
from a2a_core import runs as folders
from a2a_core.errors import A2AError

if TYPE_CHECKING:
    from a2a_core.formats import Offer


@click.command()
@click.argument("run", type=RunName())
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="A new folder to write.")
@click.option("--format", "name", metavar="NAME", help="The format [default: the first that holds all of the model].")
@click.option("--list", "listed", is_flag=True, help="List the formats, and why the model is not of one's shape.")
@runs_option
@json_option
def export(run: str, output: Path | None, name: str | None, listed: bool, runs: Path, as_json: bool) -> None:
    """Write what a RUN trained in a format that others open: transformers, peft.

    \b
    a2a export pictures-20260101-120000 --list
    a2a export pictures-20260101-120000 -o llava
    a2a export runs/mine -o adapter --format adapter

    Adapters' updates are taken into the weights, but for the format `adapter`. What was written is opened again as others
    would, and compared with the model: tensors, tokens, and what comes out. A difference leaves nothing behind.
    """
    found = folders.find(run, runs)
    if output is None and not listed:
        raise A2AError("no folder is named to write to", hint="give one with `-o`; `--list` shows the formats")
    if output is not None and output.exists():
        raise A2AError(f"{output} exists already", hint="choose another with `-o`")
    from a2a_core.data import collator
    from a2a_core.formats import chosen, export_as, offers
    from a2a_core.inference import open_run

    trained = open_run(found, device="cpu")
    collate = collator(trained.loaded.recipe.collator, trained.model.parts, labelled=False)
    offered = offers(trained.model, collate)
    if output is None or listed:
        rows = [[each.name, "no" if each.misfit else "yes", each.misfit or opened(each)] for each in offered]
        if as_json:
            print_json([offer._asdict() for offer in offered])
        else:
            click.echo(table(rows, ["format", "fits", ""]))
        return
    written = export_as(trained.model, collate, chosen(offered, name), output)
    if as_json:
        print_json(written._asdict())
        return
    click.echo(f"{written.folder}: {written.format}, opens with {written.opens}")
    click.echo(f"opened again and compared: every tensor is the same, outputs differ by {written.difference:.1g} at the most")
    for note in (*written.notes, *(f"{part} was trained, and is not in it" for part in written.beside)):
        click.echo(f"note: {note}")


def opened(offer: Offer) -> str:
    """What opens it, and what it leaves out."""
    return offer.opens + (f"; without {', '.join(offer.beside)}" if offer.beside else "")
