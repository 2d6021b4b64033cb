"""Which layer wins, what is refused, and that nothing of a file that is no recipe is shown."""

import os
from pathlib import Path

import pytest

from a2a_core.errors import A2AError
from a2a_core.recipe import load_recipe


def failure(load, *given, **options) -> str:
    with pytest.raises(A2AError) as caught:
        load(*given, **options)
    return str(caught.value)


def test_the_order_of_layers(load, write) -> None:
    write("seed = 1\nbad_rows = 0.1\n[trainer]\nepochs = 1\ngroups = [{ size = 1 }]\n", "base.toml")
    text = 'extends = "base.toml"\nseed = 2\n[trainer]\ngroups = []\n'
    recipe = load(text).recipe
    assert (recipe.seed, recipe.bad_rows, recipe.trainer.epochs, recipe.trainer.groups) == (2, 0.1, 1.0, ())
    assert load(text, environ={"A2A__SEED": "3"}).recipe.seed == 3
    assert load(text, ["seed=4"], environ={"A2A__SEED": "3"}).recipe.seed == 4
    assert load(text, ["seed=4", "seed=5"]).recipe.seed == 5


def test_defaults_stand_below_all(load) -> None:
    recipe = load("").recipe
    assert (recipe.collator.name, recipe.trainer.name, recipe.backend.name) == ("pad", "hf", "single")
    assert load("[trainer]\nepochs = 2\n").recipe.trainer.epochs == 2.0


def test_chains_of_files(load, write) -> None:
    write("seed = 1\nbad_rows = 0.5", "a/a.toml")
    write('extends = "../a/a.toml"\nseed = 2\n[trainer]\nepochs = 4', "b/b.toml")
    recipe = load('extends = "b/b.toml"\nbad_rows = 0.25').recipe
    assert (recipe.seed, recipe.bad_rows, recipe.trainer.epochs) == (2, 0.25, 4.0)


def test_another_use_starts_its_table_anew(load, write) -> None:
    write('[heads.a]\nuse="classify"\n[losses.ce]\nuse = "cross-entropy"\nsmoothing = 0.1\nhead = "a"', "base.toml")
    text = 'extends = "base.toml"\n[losses.ce]\nuse = "twice"\nhead = "a"\ninner = { use = "cross-entropy", head = "a" }'
    assert load(text).recipe.losses["ce"].name == "twice"
    text = 'extends = "base.toml"\n[losses.ce]\nuse = "acme-parts:cross-entropy"\nweight = 2'
    assert load(text).recipe.losses["ce"].smoothing == 0.1


def test_a_table_from_outside_is_merged(load) -> None:
    text = '[encoders.image]\nuse = "patch"\nwidth = 96\ndropout = 0.5\n'
    image = load(text, ["encoders.image={ width = 6 }"]).recipe.encoders["image"]
    assert (image.width, image.dropout) == (6, 0.5)


def test_what_another_use_took_away_is_said(problems, write) -> None:
    write('[losses.ce]\nuse = "cross-entropy"\nhead = "a"\n[heads.a]\nuse = "classify"\n', "base.toml")
    lost = "loss `twice` (acme-parts 0.1.0) needs `head` | another `use` starts its table anew, without the `head` of "
    inner = "loss `twice` (acme-parts 0.1.0) needs `inner` | what is doubled"
    text = 'extends = "base.toml"\n[losses.ce]\nuse = "twice"\n'
    assert problems(text) == [f"2: {inner}", f"3: {lost}base.toml:3"]
    assert problems('extends = "base.toml"', ["losses.ce.use=twice", "losses.ce.weight=2"]) == [
        f"0: {lost}base.toml:3",
        f"1: {inner}",
    ]


def test_without(load, write) -> None:
    write('[encoders.image]\nuse = "patch"\n[encoders.sound]\nuse = "patch"\n', "base.toml")
    recipe = load('extends = "base.toml"\nwithout = ["encoders.sound"]\n').recipe
    assert list(recipe.encoders) == ["image"]
    recipe = load('extends = "base.toml"', without=["encoders.image"]).recipe
    assert list(recipe.encoders) == ["sound"]
    recipe = load('extends = "base.toml"', ['encoders.image.use="patch"'], without=["encoders.image"]).recipe
    assert set(recipe.encoders) == {"sound", "image"}


def test_without_what_is_not_there(load) -> None:
    assert failure(load, 'without = ["encoders.sound"]') == (
        "error: `without` names `encoders.sound`, which is not there\n"
        " --> recipe.toml:1\n"
        '1 | without = ["encoders.sound"]\n'
        "               ^^^^^^^^^^^^^^^^"
    )
    assert "--without" in failure(load, "", without=["encoders.sound"])
    assert "`without` wants a list of keys" in failure(load, 'without = "encoders"')
    assert "`a b` is no key" in failure(load, "", without=["a b"])


def test_a_default_that_is_taken_out_is_missed(problems) -> None:
    assert problems("", without=["trainer"]) == ["0: the recipe needs `trainer` | the run"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("trainer.epochs=3", 3.0),
        ("trainer.epochs = 3 # few", 3.0),
        ('"trainer".epochs=3', 3.0),
        ('trainer.inner_key="3"', "3"),
        ("trainer.inner_key=a bare string", "a bare string"),
        ("trainer.inner_key=a=b", "a=b"),
        ("trainer.inner_key=", ""),
        ("trainer.groups=[{ size = 2 }]", 2),
    ],
)
def test_set(load, text, value) -> None:
    trainer = load("", [text]).recipe.trainer
    assert value in (trainer.epochs, trainer.inner_key, *(group.size for group in trainer.groups))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer", "expected `key.path=value`"),
        ("=3", "expected `key.path=value`"),
        ("a b=3", "expected `key.path=value`"),
        ("[a]\nb=3", "expected `key.path=value`"),
        ("a.=3", "expected `key.path=value`"),
        ("#a=3", "expected `key.path=value`"),
        ("seed=1\nbad_rows=1", "expected one value"),
        ("seed=[1", "not a TOML value"),
        ('seed="1', "not a TOML value"),
        (f"seed={'[' * 40}{']' * 40}", "nested deeper than 32 levels"),
        ("extends=x.toml", "`extends` can stand in a file only"),
        ("seed=\udcff", "--set: not UTF-8"),
        ("seed=x", '`seed` must be an integer, got a string, "x"'),
        ("trainer.inner_key=3", "in quotes, and in others around them that the shell takes away?"),
        ("sed=1", "unknown key `sed` for the recipe"),
    ],
)
def test_wrong_settings(load, text, message) -> None:
    assert message in failure(load, "", [text])


def test_settings_show_their_place(load) -> None:
    assert failure(load, "", ["trainer.epoch=3"]) == (
        "error: unknown key `epoch` for trainer `hf` (acme-parts 0.1.0)\n"
        "  --> --set\n"
        "   | trainer.epoch=3\n"
        "     ^^^^^^^^^^^^^ did you mean `epochs`?"
    )


def test_paths_in_settings_are_relative_to_the_working_folder(load, write, tmp_path, monkeypatch) -> None:
    recipe = write('[encoders.image]\nuse = "patch"')
    monkeypatch.chdir(tmp_path)
    from a2a_core.plugins import Catalog

    loaded = load_recipe(recipe, Catalog.installed(), ["encoders.image.path=model"], environ={"A2A__SEED": "1"})
    assert loaded.recipe.encoders["image"].path == tmp_path / "model"


def test_the_environment(load) -> None:
    loaded = load("", environ={"A2A__TRAINER__EPOCHS": "3", "A2A__TRAINER__INNER_KEY": "x", "A2A_OTHER": "y", "PATH": "z"})
    assert (loaded.recipe.trainer.epochs, loaded.recipe.trainer.inner_key) == (3.0, "x")


def test_the_environment_says_what_it_cannot_name(problems) -> None:
    (found,) = problems("", environ={"A2A__ENCODERS__MY_IMAGE__WIDTH": "3"})
    assert "`encoders.my_image` does not say which encoder" in found
    assert "lower case and without hyphens; `--set` can name any" in found
    (found,) = problems("", environ={"A2A__SEDE": "3"})
    assert "did you mean `seed`? (environment variables name keys in lower case" in found
    for name in ("A2A__", "A2A____X", "A2A__X__", "A2A__A B"):
        assert problems("", environ={name: "3"})[0].startswith("0: expected `key.path=value`")


def test_overrides_in_force_are_listed(load) -> None:
    environ = {"A2A__SEED": "3", "A2A__BAD_ROWS": "0.5"}
    text = '[encoders.x]\nuse = "patch"\n[encoders.y]\nuse = "patch"'
    loaded = load(text, ["seed=4", "encoders.x={ width = 3 }"], without=["encoders.y"], environ=environ)
    assert loaded.overrides == (
        "environment A2A__BAD_ROWS: bad_rows=0.5",
        "--set: seed=4",
        "--set: encoders.x={ width = 3 }",
        "--without: encoders.y",
    )
    assert load(text).overrides == ()


def test_cycles(load, write) -> None:
    write('extends = "b.toml"', "a.toml")
    write('extends = "recipe.toml"', "b.toml")
    message = failure(load, 'extends = "a.toml"')
    assert "`extends` goes in a circle: recipe.toml -> a.toml -> b.toml -> recipe.toml" in message
    assert "b.toml:1" in message
    assert "in a circle" in failure(load, 'extends = "recipe.toml"')


def test_long_chains(load, write) -> None:
    for number in range(40):
        write(f'extends = "{number + 1}.toml"', f"{number}.toml")
    assert "more than 32 files" in failure(load, 'extends = "0.toml"')


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ('"gone.toml"', "there is no file"),
        ('"notes.txt"', "`extends` wants a `.toml` file or a preset"),
        ('""', "`extends` wants a `.toml` file or a preset"),
        ("3", "`extends` wants a `.toml` file or a preset"),
        ('["a.toml"]', "`extends` wants a `.toml` file or a preset"),
        ('"nobody:base"', "preset `base` is offered by nobody, which is not installed"),
        ('"acme-parts:base"', "unknown preset `acme-parts:base`"),
        ('"a\\u0000.toml"', "leads nowhere"),
        (f'"{"x" * 300}.toml"', "File name too long"),
        ('"folder.toml"', "is not a regular file"),
        ('"link.toml"', "which is no `.toml` file"),
        ('"loop.toml"', "leads nowhere"),
    ],
)
def test_wrong_parents_are_shown_where_they_are_named(load, extends, message) -> None:
    here = Path.cwd()
    (here / "notes.txt").write_text("password = hunter2")
    (here / "folder.toml").mkdir()
    (here / "link.toml").symlink_to("notes.txt")
    (here / "loop.toml").symlink_to("loop.toml")
    found = failure(load, f"extends = {extends}")
    assert message in found
    assert "recipe.toml:1" in found
    assert "hunter2" not in found


def test_no_line_of_another_file_is_shown(load, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:hunter2:0\n")
    Path("link.toml").symlink_to(secret)
    for name in (secret, Path("link.toml")):
        with pytest.raises(A2AError) as caught:
            load_recipe(name, None, environ={})
        assert "hunter2" not in str(caught.value)
        assert "no `.toml` file" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "is not UTF-8 (byte 0)"),
        (b"a = 1" + b" " * 256_000, "larger than 256,000 bytes"),
        (b"a = " + b"[" * 40 + b"]" * 40, "nested deeper than 32 levels"),
        (b"a = " + b"[" * 3000 + b"]" * 3000, "not TOML"),
        (b"a." * 100 + b"b = 1", "nested deeper than 32 levels"),
        (b"a." * 2000 + b"b = 1", "not TOML"),
        (b"a = " + b"9" * 5000, "not TOML"),
        (b"a = 'x\0'", "not TOML"),
        (b"a = 1\na = 2", "not TOML: Cannot overwrite a value"),
        (b"a = ", "not TOML: Invalid value"),
    ],
)
def test_hostile_files(acme, write, content, message) -> None:
    path = write("")
    path.write_bytes(content)
    with pytest.raises(A2AError, match=r"^error: ") as caught:
        load_recipe(path, acme, environ={})
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_broken_toml_shows_its_line(load) -> None:
    assert failure(load, "seed = 1\nwidth == 3\n") == (
        "error: not TOML: Invalid value\n --> recipe.toml:2\n2 | width == 3\n           ^"
    )


def test_windows_line_ends_and_byte_order_marks(acme, write) -> None:
    path = write("")
    path.write_bytes(b"\xef\xbb\xbfseed = 1\r\n[encoders.image]\r\nuse = 'patch'\r\nwidht = 3\r\n")
    with pytest.raises(A2AError) as caught:
        load_recipe(path, acme, environ={})
    assert "4 | widht = 3\n    ^^^^^ did you mean `width`?" in str(caught.value)


def test_line_ends_in_strings_are_one_sign(acme, write) -> None:
    path = write("")
    path.write_bytes(b'[trainer]\r\ninner_key = """a\r\nb"""\r\n')
    assert load_recipe(path, acme, environ={}).recipe.trainer.inner_key == "a\nb"


@pytest.mark.parametrize("text", ["seed = \x1b[31m", 'seed = "\\u001b[31m"', '"\\u001b[31m" = 1', 'extends = "\\u001b.toml"'])
def test_terminals_are_not_told_what_to_do(load, text) -> None:
    found = failure(load, text)
    assert "\x1b" not in found
    assert "recipe.toml:1" in found


def test_a_pipe_is_no_recipe(acme, write) -> None:
    os.mkfifo("pipe.toml")
    with pytest.raises(A2AError, match="is not a regular file"):
        load_recipe(Path("pipe.toml"), acme, environ={})


def test_an_unreadable_file(acme, write, monkeypatch) -> None:
    path = write("")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(A2AError, match="cannot be read: Permission denied"):
        load_recipe(path, acme, environ={})
