"""A recipe file to a checked Recipe: layers, then plugins, then types, then what tables say of one another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from a2a_core.components import EncoderConfig, FusionConfig
from a2a_core.errors import A2AError, Problem, suggest
from a2a_core.installed import canonical
from a2a_core.options import defined_by
from a2a_core.plugins import Catalog, left_out
from a2a_core.recipe.alike import alike, table, told_once, unlike, used
from a2a_core.recipe.layers import PREFIX, allowed, load_layers
from a2a_core.recipe.recipe import Recipe
from a2a_core.recipe.structure import MOST, Structurer
from a2a_core.recipe.tree import Node

NEEDED = {
    "data.train": "the rows to train on",
    "fusion": "what joins the modalities",
    "heads": "what is predicted, a table each (`[heads.label]`)",
    "losses": "what is minimised, a table each (`[losses.label]`)",
}
MODULES = ("encoders", "projectors", "heads", "losses")
TABLES = (*MODULES, "data", "metrics", "callbacks")
RESERVED = frozenset(
    """
    size T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double dump_patches
    eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu items keys
    load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters pop
    register_backward_hook register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory smart_apply state_dict to to_empty train training type update values xpu zero_grad
    """.split()  # noqa: SIM905
)
"""Names that torch's ModuleDict refuses, and that of a batch's size beside the encoders' inputs."""


@attrs.frozen(slots=False, eq=False)
class Loaded:
    """A recipe, the tree that it was made from, the plugins it may use."""

    recipe: Recipe
    tree: Node
    catalog: Catalog
    overrides: tuple[str, ...]
    """What the environment and the command line changed."""


def load_recipe(
    path: Path,
    catalog: Catalog | None,
    sets: Sequence[str] = (),
    without: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    *,
    for_run: bool = False,
    elsewhere: bool = False,
) -> Loaded:
    """Read, merge and check a recipe; one A2AError with everything that is wrong.

    `catalog = None` loads the plugins that the recipe allows. `for_run` also demands what a run needs: data, a fusion, a
    head, a loss, and files that are there, unless the run will be `elsewhere`.
    """

    def preset(text: str, allow: frozenset[str] | None) -> Path:
        return only(text.partition(":")[0], allow, catalog).preset(text)

    layers = load_layers(path, preset, os.environ if environ is None else environ, without, sets)
    allow = allowed([layers.tree])
    found = Catalog.installed(allow) if catalog is None else catalog.narrowed(allow)
    tree = alike(layers.tree, found)
    problems = [*layers.problems, *unmet(tree, found)]
    problems += [*orphans(tree), *misnamed(tree), *thawed(tree, found)]
    if for_run:
        problems += [*absent(tree), *senseless(tree, found)]
    recipe = None
    try:
        left_out = () if for_run else without  # by a trained run, whose export has these tables
        recipe = Structurer(found, tree, check_files=for_run and not elsewhere, left_out=left_out).make(Recipe)
        problems += unlike(recipe, tree)
        problems += misfits(recipe, tree) if for_run else []
    except A2AError as error:
        problems += told_once(error.problems, tree)
    if problems or recipe is None:
        raise A2AError(presentable(problems))
    return Loaded(recipe, tree, found, layers.overrides)


def only(dist: str, allow: frozenset[str] | None, catalog: Catalog | None) -> Catalog:
    """The plugins of a preset's distribution, nothing else being imported."""
    if allow is not None and left_out(dist, allow):
        raise A2AError(f"`extends` names a preset of {dist}, which `plugins.allow` leaves out", hint=f"allow `{dist}`")
    return Catalog.installed(frozenset({dist})) if catalog is None else catalog


def presentable(problems: list[Problem]) -> list[Problem]:
    """In the order of the files, no more than anyone reads, and with what environment variables cannot do."""

    def place(problem: Problem) -> tuple[str, int, int]:
        origin = problem.origin
        return (origin.source, origin.line, origin.column) if origin else ("", 0, 0)

    once = list({problem.render(): problem for problem in problems}.values())  # what encoders share is wrong in each of them
    shown = [explained(problem) for problem in sorted(once, key=place)[:MOST]]
    return shown if len(once) <= MOST else [*shown, Problem("and more")]


def explained(problem: Problem) -> Problem:
    """An unknown name in the environment may be one that the environment cannot say."""
    if not problem.origin or not problem.origin.source.startswith(f"environment {PREFIX}"):
        return problem
    limits = "environment variables name keys in lower case and without hyphens; `--set` can name any"
    return attrs.evolve(problem, hint=f"{problem.hint} ({limits})" if problem.hint else limits)


def unmet(tree: Node, catalog: Catalog) -> Iterator[Problem]:
    """`plugins.require` that is not met."""
    node = tree.get("plugins", "require")
    wanted = [each for each in node.value if isinstance(each.value, str)] if node and isinstance(node.value, list) else []
    if not wanted:
        return
    from packaging.requirements import InvalidRequirement, Requirement

    have = {canonical(dist): version for dist, version in catalog.versions().items()}
    for each in wanted:
        try:
            need = Requirement(each.value)
        except InvalidRequirement as error:
            yield Problem(f"`{each.value}` is no requirement: {str(error).splitlines()[0]}", each.at)
            continue
        version = have.get(canonical(need.name))
        if version is None:
            left = any(canonical(dist) == canonical(need.name) for dist in catalog.left_out)
            state = "which `plugins.allow` leaves out" if left else "which is not installed"
            yield Problem(f"the recipe requires {need.name}, {state}", each.at, "" if left else f'pip install "{each.value}"')
        elif not need.specifier.contains(version, prereleases=True):
            text = f"the recipe requires {each.value}, and {need.name} {version} is installed"
            yield Problem(text, each.at, f'pip install "{each.value}"')


def orphans(tree: Node) -> Iterator[Problem]:
    """Projectors without an encoder."""
    encoders = table(tree, "encoders")
    for name, node in table(tree, "projectors").items():
        like = encoders[name].get("like") if name in encoders else None
        if name not in encoders:
            yield Problem(f"projector `{name}` has no encoder", node.key, suggest(name, encoders))
        elif like is not None and like.value:
            text = f"encoder `{name}` has the weights of `{like.value}`, its projector's, too"
            yield Problem(text, node.key, f"write `[projectors.{like.value}]`, for both")


def thawed(tree: Node, catalog: Catalog) -> Iterator[Problem]:
    """Encoders whose tokens shall be kept though they are trained; an option of their own by that name is their affair."""
    for name, node in table(tree, "encoders").items():
        cls = used(node, "encoder", catalog)
        if cls is None or defined_by(cls, "cache") is not EncoderConfig:
            continue
        cache, freeze = node.get("cache"), node.get("freeze")
        if cache is not None and cache.value is True and (freeze is None or freeze.value is not True):
            text = f"`encoders.{name}.cache = true` needs `freeze = true`: a trained encoder's tokens change with each step"
            yield Problem(text, cache.at, f"set `encoders.{name}.freeze = true`, or leave `cache` away")


def misnamed(tree: Node) -> Iterator[Problem]:
    """Names that modules, files and columns cannot have."""
    for kind in TABLES:
        for name, node in table(tree, kind).items():
            text = f"`{name}` cannot be a name in `[{kind}]`"
            if name.startswith("_") or not name.replace("-", "_").isidentifier():
                yield Problem(text, node.key, "letters, digits, `-` and `_`, a letter first")
            elif kind in MODULES and name in RESERVED:
                yield Problem(f"{text}: torch's modules have something of that name", node.key)


def senseless(tree: Node, catalog: Catalog) -> Iterator[Problem]:
    """A fusion that would have nothing to join, or no text to read."""
    node = tree.get("fusion")
    cls = used(node, "fusion", catalog)
    if node is None or cls is None or not issubclass(cls, FusionConfig):
        return
    if cls.reads_text:
        given = tree.get("collator")
        collator = used(given, "collator", catalog)
        if given is None or (collator is not None and not getattr(collator, "reads_text", False)):
            text = f"fusion `{cls.name}` reads text, and the collator gives none"
            yield Problem(text, (given or node).key, 'add [collator] use = "chat", of a2a-chat')
        if "text" in table(tree, "encoders"):
            at = table(tree, "encoders")["text"].key
            yield Problem(f"fusion `{cls.name}` reads the text itself: no encoder can be called so", at, "give it another name")
    if cls.needs_encoders and not table(tree, "encoders"):
        text = f"fusion `{cls.name}` joins what encoders give, and there is none"
        yield Problem(text, node.key, "add a table, such as `[encoders.image]`")


def misfits(recipe: Recipe, tree: Node) -> Iterator[Problem]:
    """What heads have to say of the encoders they read, trainer and backend of the other tables, where their keys stand."""
    for key, head in recipe.heads.items():
        try:
            head.knowing(recipe.encoders)
        except A2AError as error:
            yield from (attrs.evolve(problem, origin=tree["heads"][key].key) for problem in error.problems)
    for name, part in (("trainer", recipe.trainer), ("backend", recipe.backend)):
        for key, problem in part.misfits(recipe):
            node = tree.get(name, key) or tree.get(name)
            yield problem if node is None else attrs.evolve(problem, origin=node.at)


def absent(tree: Node) -> Iterator[Problem]:
    """Tables that a run needs."""
    for name, what in NEEDED.items():
        node = tree.get(*name.split("."))
        if node is None or node.value == {}:
            yield Problem(f"there is no `[{name}]`: {what}", tree.at)
