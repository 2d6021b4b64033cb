"""The reference says of every key what the class says."""

from a2a_core.options import Options, option
from a2a_core.recipe import page, reference


def test_a_page(acme) -> None:
    text = page(acme.find("encoder", "patch"))
    assert text.startswith(
        "### encoder `patch`\n\nPictures to tokens.\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
    )
    rows = text.splitlines()
    for row in (
        "| `width` | an integer | `192` | channels (> 0) |",
        "| `dropout` | a number | `0.1` | share of zeros (>= 0 and < 1) |",
        "| `mean` | a list of numbers | `[0.5, 0.5]` | means (>= 0) |",
        "| `size` | [an integer, an integer] | `[8, 8]` | height and width (> 0) |",
        "| `names` | a list of strings | `[]` | names |",
        '| `mode` | "fast" or "slow" | `"fast"` | a mode |',
        "| `layer` | an integer or a string | unset | a layer |",
        "| `crop` | a table | unset | a crop |",
        "| `weights` | a table of numbers | `{}` | weights (>= 0) |",
        "| `config` | a table of values | `{}` | a model's config |",
        "| `path` | a path | unset | a saved model |",
    ):
        assert row in rows
    assert rows[-1].startswith("| `cache_dtype` |"), "a kind's keys stand below the component's own"


def test_required_keys_and_references(acme) -> None:
    rows = page(acme.find("loss", "twice")).splitlines()
    assert "| `inner` | a loss | required | what is doubled |" in rows
    assert "| `head` | a string | required | the head whose outputs it judges (a key of `[heads]`) |" in rows


def test_cells_hold_bars_and_line_breaks() -> None:
    class Odd(Options):
        """Odd."""

        text: str = option("a | b\n  c", default="x|y")

    assert '| `text` | a string | `"x\\|y"` | a \\| b c |' in page(Odd)


def test_the_reference_has_every_component(acme) -> None:
    text = reference(acme)
    for heading in ("## Sources", "## Losses", "### loss `twice`", "### encoder `patch`", "### collator `pad`"):
        assert f"{heading}\n" in text
    assert "From `acme-parts`." in text
    assert text.index("## Sources") < text.index("## Encoders") < text.index("## Losses")
