"""Encoders that share weights: what their tables inherit, and what cannot be."""

import pytest

from a2a_core.recipe import fill

AWAY = "leave `width` away, or do without `like`"
OTHER = '\n[encoders.other]\nlike = "image"\n'


def test_a_table_has_the_options_of_the_one_that_it_is_like(load, whole) -> None:
    image = 'use = "patch"\nwidth = 96\nfield = "photo"\noptional = true'
    encoders = load(whole.replace('use = "patch"\nwidth = 96', image) + OTHER).recipe.encoders
    other = encoders["other"]
    assert (other.width, other.like) == (96, "image")
    assert (other.field, other.optional) == ("", False)  # what a side is, is its own affair
    assert type(other) is type(encoders["image"])


def test_settings_reach_both(load, whole) -> None:
    encoders = load(whole + OTHER, ["encoders.image.heads=2", "encoders.other.field=b"]).recipe.encoders
    assert [(encoder.heads, encoder.field) for encoder in encoders.values()] == [(2, ""), (2, "b")]


def test_a_filled_recipe_reads_the_same(load, whole) -> None:
    loaded = load(whole + OTHER)
    assert load(fill(loaded)).recipe == loaded.recipe


@pytest.mark.parametrize(
    ("table", "messages"),
    [
        (
            'like = "image"\nwidth = 192',
            [f"28: encoder `other` has the weights of `image`, and `width` is another there | {AWAY}"],
        ),
        ('like = "imag"', ["27: `encoders.other.like`: there is no `[encoders.imag]` | did you mean `image`?"]),
        ("like = 3", ["27: `encoders.other.like` must be a string, got an integer, 3 | in quotes?"]),
        (
            'like = "other"\nuse = "patch"',
            ["27: encoder `other` is like itself | name the encoder that has the weights"],
        ),
        (
            'like = "image"\n[encoders.third]\nlike = "other"',
            ["29: encoder `third` is like `other`, which is like `image` | name the encoder that has the weights"],
        ),
        (
            'like = "image"\n[projectors.other]\nuse = "linear2"',
            ["28: encoder `other` has the weights of `image`, its projector's, too | write `[projectors.image]`, for both"],
        ),
    ],
)
def test_what_cannot_be(problems, whole, table, messages) -> None:
    assert problems(f"{whole}\n[encoders.other]\n{table}\n") == messages


def test_what_is_wrong_for_both_is_told_once(problems, whole) -> None:
    found = problems(whole.replace("width = 96", "width = 97\ndropout = 2.0") + OTHER)
    assert found == ["11: `encoders.image.dropout` must be < 1, got 2.0"]
    (found,) = problems(whole.replace("width = 96", "width = 97") + OTHER)
    assert found.endswith("width 97 is not divisible by heads 3"), "of what its check refuses, too"
