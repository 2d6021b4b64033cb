"""`a2a generate`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from a2a_cli.arguments import RunName, batch_size_option, device_option, json_option, output_option, runs_option
from a2a_cli.output import plural, print_json
from a2a_cli.predict import line, opened, sink
from a2a_core import runs as folders
from a2a_core.errors import A2AError

if TYPE_CHECKING:
    from a2a_core.data import Collate
    from a2a_core.inference import Trained

MODALITIES = ("image", "audio", "video")


class InOrder(click.Command):
    """Notes in which order options were given: click keeps it among the values of one option only."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta["a2a.order"] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


@click.command(cls=InOrder)
@click.argument("run", type=RunName())
@click.argument("prompt", required=False)
@click.option("--image", multiple=True, metavar="FILE", help="A picture; may be repeated, as those below.")
@click.option("--audio", multiple=True, metavar="FILE", help="A sound.")
@click.option("--video", multiple=True, metavar="FILE", help="A video.")
@click.option("--system", metavar="TEXT", help="What the system says first.")
@click.option("--raw", is_flag=True, help="Go on with the prompt as plain text: no conversation.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="The most tokens to write.")
@click.option("--temperature", type=click.FloatRange(min=0), help="Sample; below 1 likely tokens more often, 0: greedily.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Sample from the likeliest of this much probability.")
@click.option("--top-k", type=click.IntRange(min=1), help="Sample from so many of the likeliest.")
@click.option("--seed", type=click.IntRange(min=0), help="Sample, and the same again with the same number.")
@click.option("--num-beams", type=click.IntRange(min=1), default=1, show_default=True, help="Texts that are tried at once.")
@click.option("--stream/--no-stream", default=None, help="Show tokens as they come [default: on a terminal].")
@click.option("--rows", type=click.Path(path_type=Path, allow_dash=True), help="Rows of JSON lines in place of a prompt.")
@output_option
@click.option("--field", default="answer", show_default=True, help="The field of rows that answers are put into.")
@batch_size_option
@device_option
@runs_option
@json_option
@click.pass_context
def generate(ctx: click.Context, /, run: str, runs: Path, **options: Any) -> None:
    """Let a trained RUN answer a PROMPT (none: standard input), greedily unless an option says to sample.

    \b
    a2a generate pictures-20260101-120000 "What is this?" --image cat.jpg
    a2a generate runs/mine "<image> and <image>: what differs?" --image a.jpg --image b.jpg --temperature 0.7
    a2a generate runs/mine --raw "To be, or" --max-new-tokens 40
    a2a generate runs/mine --rows questions.jsonl -o answers.jsonl

    Media stand where the prompt has `<image>`, `<audio>` or `<video>`, else before it, in the order in which they are given.
    A row of --rows is a conversation or a text as in training, or has a `prompt`, its `system` and media in the fields that
    the model reads. It comes out as it went in with one more field, or with "error" where it cannot be read.
    """
    refuse_senseless(options)
    found = folders.find(run, runs)
    from a2a_core.data import collator
    from a2a_core.generation import sampling
    from a2a_core.inference import open_run

    chances = sampling(options["temperature"], options["top_p"], options["top_k"], options["seed"])
    given = {**chances, "max_new_tokens": options["max_new_tokens"], "num_beams": options["num_beams"]}
    trained = open_run(found, device=options["device"])
    fusion = trained.model.parts.fusion
    if not fusion.reads_text:
        raise A2AError(f"run {found.name} writes no text: its fusion `{fusion.name}` owns no vocabulary", hint="a2a predict")
    collate = collator(trained.loaded.recipe.collator, trained.model.parts, labelled=False)
    start(options["seed"])
    if options["rows"] is not None:
        answer_rows(trained, collate, given, options)
        return
    prompt = options["prompt"] if options["prompt"] is not None else typed()
    media = in_order(ctx, options)
    streaming = sys.stdout.isatty() and options["num_beams"] == 1 if options["stream"] is None else options["stream"]
    if streaming and not options["as_json"] and options["output"] is None:
        given["streamer"] = streamer(trained)
    answer = one(trained, collate, prompt, media, given, options)
    if options["as_json"]:
        print_json({"run": found.folder, "prompt": prompt, "media": [file for _, file in media], "answer": answer})
    elif "streamer" not in given:
        with sink(options["output"]) as file:
            file.write(answer + "\n")


def refuse_senseless(options: dict[str, Any]) -> None:
    """A2AError for options that contradict each other, and for files that are not there."""
    rows = options["rows"]
    if rows is not None and (options["prompt"] is not None or any(options[name] for name in MODALITIES)):
        raise A2AError("rows have their own prompts and media: give either `--rows` or a prompt")
    if options["raw"] and options["system"]:
        raise A2AError("nobody speaks in plain text: leave out `--raw` or `--system`")
    if options["stream"] and (options["num_beams"] > 1 or rows is not None or options["as_json"] or options["output"]):
        raise A2AError("`--stream` shows one text as it is written: not with beams, rows, a file or JSON")
    if options["as_json"] and (rows is not None or options["output"]):
        raise A2AError("`--json` prints one answer: rows come out as lines of JSON, and a file gets the text alone")
    files = [Path(file) for name in MODALITIES for file in options[name]]
    files += [rows] if rows is not None and str(rows) != "-" else []
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise A2AError(f"there is no file {missing[0]}")


def typed() -> str:
    """A prompt from standard input."""
    if sys.stdin.isatty():
        click.echo("the prompt, ended by Ctrl-D:", err=True)
    return sys.stdin.read().removesuffix("\n")


def in_order(ctx: click.Context, options: dict[str, Any]) -> list[tuple[str, str]]:
    """Modalities and files, as they were given."""
    left = {name: iter(options[name]) for name in MODALITIES}
    return [(name, str(Path(next(left[name])).resolve())) for name in ctx.meta["a2a.order"] if name in left]


def start(seed: int | None) -> None:
    """Chance: torch begins each process with the same one."""
    import torch

    if seed is None:
        torch.seed()
    else:
        torch.manual_seed(seed)


def streamer(trained: Trained) -> Any:
    """Writes to the terminal as tokens come."""
    from transformers import TextStreamer

    text = trained.model.parts.fusion.processor()
    assert text is not None, "asked before"
    return TextStreamer(text.tokenizer, skip_prompt=True, skip_special_tokens=True)


def one(
    trained: Trained,
    collate: Collate,
    prompt: str,
    media: list[tuple[str, str]],
    given: dict[str, Any],
    options: dict[str, Any],
) -> str:
    """The answer to a prompt."""
    from a2a_core.inference import write
    from a2a_core.prompts import asking
    from a2a_core.structures import Row

    try:
        fields = asking(trained.model.parts, prompt, media, options["system"], options["raw"])
    except ValueError as error:
        raise A2AError(str(error)) from None
    ((_, answer),) = write(trained, collate, [Row(fields, "prompt", Path.cwd(), "the prompt")], 1, **given)
    if not isinstance(answer, str):
        hint = "" if options["raw"] or collate.template else "`--raw` goes on with it as plain text"
        raise A2AError(f"the prompt cannot be read: {answer.reason}", hint=hint)
    return answer


def answer_rows(trained: Trained, collate: Collate, given: dict[str, Any], options: dict[str, Any]) -> None:
    """Rows in, rows with answers out."""
    from a2a_core.inference import read_lines, write
    from a2a_core.prompts import from_row

    path: Path = options["rows"]
    source, root = ("standard input", Path.cwd()) if str(path) == "-" else (path.name, path.resolve().parent)
    asked = partial(from_row, trained.model.parts, system=options["system"], raw=options["raw"])
    failed = total = 0
    with opened(path) as lines, sink(options["output"]) as file:
        for row, answer in write(trained, collate, read_lines(lines, source, root), options["batch_size"], asked, **given):
            name, value = (options["field"], answer) if isinstance(answer, str) else ("error", answer.reason)
            failed, total = failed + (not isinstance(answer, str)), total + 1
            file.write(line(row.fields, name, value, row.place))
    if failed:
        click.echo(f'{plural(failed, "row")} could not be read: see "error" there', err=True)
    if failed and failed == total:
        raise SystemExit(1)
