"""`a2a`: every command is a module of its own, imported when it is called."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from a2a_core.errors import A2AError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from a2a_core.plugins import Catalog, Plugin

COMMANDS = {
    "cache": ("a2a_cli.cache:cache", "What frozen encoders made of their media, kept."),
    "check": ("a2a_cli.check:check", "Check a recipe without running it."),
    "eval": ("a2a_cli.eval:eval_", "Measure a trained run on a split of its data."),
    "export": ("a2a_cli.export:export", "Write a trained model in a format that others open."),
    "generate": ("a2a_cli.generate:generate", "Let a trained model write text, from a prompt and media."),
    "launch": ("a2a_cli.launch:launch", "Write what SLURM, Kubernetes, Ray … start a run from."),
    "plugins": ("a2a_cli.plugins:plugins", "What is installed, is it well; a new one."),
    "predict": ("a2a_cli.predict:predict", "Predict rows of JSON lines with a trained run."),
    "recipe": ("a2a_cli.recipe:recipe", "A recipe made complete; the schema of all recipes."),
    "runs": ("a2a_cli.runs:runs", "List, show and compare runs."),
    "train": ("a2a_cli.train:train", "Train what a recipe describes."),
}
"""Name -> where the command lies, and its short help: `a2a --help` imports none of them."""

EPILOG = """\b
Completion of commands, options, recipes and plugins' names in your shell:
  bash  echo 'eval "$(_A2A_COMPLETE=bash_source a2a)"' >> ~/.bashrc
  zsh   echo 'eval "$(_A2A_COMPLETE=zsh_source a2a)"' >> ~/.zshrc
  fish  _A2A_COMPLETE=fish_source a2a > ~/.config/fish/completions/a2a.fish

Exit codes: 0 done, 1 the run failed, 2 the input is wrong."""


class Lazy(click.Group):
    """Our commands and the plugins' ones, by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours, then the plugins'."""
        return [*COMMANDS, *theirs(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; plugins are looked at only for a name that is not ours."""
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        plugin = theirs(ctx).get(cmd_name)
        if plugin is None:
            return None
        from a2a_cli.commands import load

        return load(plugin, cmd_name.rpartition(":")[2])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a suggestion out of every name; click knows only commands that are imported."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            names = self.list_commands(ctx)
            message = f"{error.message}{unfound(error.command_name, names, catalog(ctx))}"
            raise click.NoSuchCommand(error.command_name, message, possibilities=names, ctx=ctx) from None
        except A2AError:
            if not ctx.resilient_parsing:
                raise
            return None, None, []  # completion has nowhere to explain a broken command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and short help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in COMMANDS.items()])
        if found := theirs(ctx):
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, f"from {plugin.dist} {plugin.version}") for name, plugin in found.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names without importing the commands, then the options."""
        from click.shell_completion import CompletionItem

        short = {name: text for name, (_, text) in COMMANDS.items()}
        names = [CompletionItem(n, help=short.get(n)) for n in self.list_commands(ctx) if n.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what goes wrong gets our words and our exit codes."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except A2AError as error:
            tell(error)
            raise click.exceptions.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            click.echo("\ninterrupted", err=True)  # below the terminal's `^C`
            raise click.exceptions.Exit(1) from error
        except (EOFError, BrokenPipeError) as error:
            # click ends quietly on both; that is right only when nobody reads our output any more
            if isinstance(error, BrokenPipeError) and unread():
                raise
            raise RuntimeError(f"{type(error).__name__}: {error}") from error


def unfound(name: str, names: Iterable[str], installed: Catalog) -> str:
    """Why a command may not be there: it is more than one plugin's, or a broken plugin's."""
    qualified = [each for each in names if each.rpartition(":")[2] == name]
    if qualified:
        return f" Write {' or '.join(f'`{each}`' for each in qualified)}."
    broken = [plugin.dist for plugin in installed.plugins if plugin.errors]
    return f" ({', '.join(broken)} failed to load: see `a2a plugins doctor`.)" if broken else ""


def tell(error: A2AError) -> None:
    """All problems on stderr, the word that opens each in red."""
    opening, red = "error:", click.style("error:", fg="red", bold=True)
    lines = (red + line.removeprefix(opening) if line.startswith(opening) else line for line in str(error).splitlines())
    click.echo("\n".join(lines), err=True)
    if len(error.problems) > 1:
        click.echo(f"\n{len(error.problems)} errors", err=True)


def unread() -> bool:
    """Whoever read our output has gone."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        return True
    import select
    from contextlib import suppress

    ends = select.poll()  # what was lost when a write failed is not there to be flushed again
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # no file
            ends.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in ends.poll(0))


def catalog(ctx: click.Context) -> Catalog:
    """The plugins, loaded once a call."""
    from a2a_core.plugins import Catalog

    if "a2a.catalog" not in ctx.meta:
        ctx.meta["a2a.catalog"] = Catalog.installed()
    found: Catalog = ctx.meta["a2a.catalog"]
    return found


def theirs(ctx: click.Context) -> dict[str, Plugin]:
    """The plugins' commands, by what the user types."""
    from a2a_cli.commands import offered

    return offered(catalog(ctx), COMMANDS)


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An exception that nobody expected: its traceback, and what to do with it."""
    sys.__excepthook__(kind, error, trace)
    command = shlex.join(["a2a", *sys.argv[1:]])
    click.echo(
        f"\nThis is a bug in a2a or a plugin. Please report it with the lines above and the command:  {command}", err=True
    )


@click.command(
    cls=Lazy,
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--local_rank", hidden=True, expose_value=False, help="Said by `deepspeed`, which says LOCAL_RANK, too.")
@click.version_option(package_name="a2a-trainer", message="a2a %(version)s")
def a2a() -> None:
    """Train any-to-any multimodal models from recipes; every part is a plugin."""


def main() -> None:
    """The console script."""
    sys.excepthook = report
    # OpenMP's threads spin while they wait, which beside a busy neighbour makes a step many times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    a2a(prog_name="a2a")


if __name__ == "__main__":
    main()
