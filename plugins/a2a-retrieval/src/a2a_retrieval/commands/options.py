"""Arguments and options that the commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

RUNS = Path("runs")


class RunName(click.ParamType[str]):
    """A run's folder, or its name in the runs folder."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of the runs in the runs folder, newest first; folders when there is none."""
        from click.shell_completion import CompletionItem

        from a2a_core.runs import every

        found = [run.name for run in every(ctx.params.get("runs") or RUNS) if run.name.startswith(incomplete)]
        return [CompletionItem(name) for name in found] or [CompletionItem(incomplete, type="dir")]


run_argument = click.argument("run", type=RunName())
head_option = click.option("--head", metavar="NAME", help="The head that embeds, where there are several.")
side_option = click.option(
    "--side", type=click.Choice(["query", "positive"]), help="What rows are [default: the side whose field they have]."
)
field_option = click.option("--field", metavar="NAME", default="", help="The field to read in place of the side's own.")
batch_tokens_option = click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    help="Most tokens at once, padding included [default: as the device can take].",
)
batch_size_option = click.option("--batch-size", type=click.IntRange(min=1), help="Most items at once, besides.")
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
runs_option = click.option(
    "--runs", type=click.Path(path_type=Path, file_okay=False), default=RUNS, show_default=True, help="The folder of runs."
)
