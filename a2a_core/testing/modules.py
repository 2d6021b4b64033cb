"""Invariants of everything that builds a module: encoders, projectors, fusions, heads, losses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from a2a_core.testing.check import NotApplicable, attempt, expect, fail
from a2a_core.testing.compare import finite, mapped, same, seeded, tensors, weighted_sum
from a2a_core.testing.subject import ModuleSubject

Subject = ModuleSubject[Any]

META = "under torch.device('meta') build() must work: make tensors without an explicit device, read none (.item(), numpy)"


def builds_on_meta(subject: Subject) -> None:
    """`build()` works on the meta device and puts every tensor there.

    Memory is estimated and checkpoints are loaded from such a module; a tensor made on a device of its own would
    allocate what nobody asked for.
    """
    module = on_meta(subject)
    real = [name for name, tensor in state(module).items() if not tensor.is_meta]
    expect(
        not real,
        f"built on the meta device, but lying elsewhere: {listed(real)}",
        because='`device="cpu"`, torch.from_numpy or a tensor that was made at import',
        remedy=META,
    )


def runs_on_meta(subject: Subject) -> None:
    """`forward` works on the meta device and gives the shapes that it gives on real tensors.

    `a2a check --deep` pushes real samples through a model of any size without allocating it.
    """
    module = on_meta(subject)
    real = subject.outputs(subject.fresh())
    arguments = mapped(subject.arguments(), to_meta)
    with attempt(
        "forward on the meta device",
        "a shape or a branch that depends on values: .item(), .tolist(), .any() in an `if`, boolean indexing, .nonzero()",
        "compute with masks of a static shape instead; make tensors on `x.device`",
    ):
        got = tensors(subject.forward(module, *arguments))
    wrong = [
        f"{name} {tuple(tensor.shape)} against {tuple(got[name].shape) if name in got else 'nothing'}"
        for name, tensor in real.items()
        if name not in got or got[name].shape != tensor.shape
    ]
    expect(not wrong, "forward on the meta device gives other shapes than on real tensors", "; ".join(wrong[:3]))
    elsewhere = [name for name, tensor in got.items() if not tensor.is_meta]
    expect(not elsewhere, f"forward on the meta device gives {listed(elsewhere)} on another device", remedy=META)


def same_seed_same_weights(subject: Subject) -> None:
    """The same seed gives the same weights: a run can be reproduced."""
    first, second = state(subject.fresh(seed=3)), state(subject.fresh(seed=3))
    changed = [name for name, tensor in first.items() if not torch.equal(tensor.nan_to_num(), second[name].nan_to_num())]
    expect(
        not changed,
        f"built twice from the same seed, but different: {listed(changed)}",
        because="a generator of its own without a fixed seed, numpy's, or memory that is never initialised",
        remedy="draw from torch's global generator (torch.nn.init does), nowhere else",
    )


def initialises_itself(subject: Subject) -> None:
    """`build()` gives every parameter and buffer a finite value; nothing else initialises it."""
    with seeded(), uninitialised_is_nan():
        module = subject.make()
    wrong = [name for name, tensor in state(module).items() if tensor.is_floating_point() and not finite(tensor)]
    expect(
        not wrong,
        f"NaN or infinite after build(): {listed(wrong)}",
        because="torch.empty, nn.Parameter(torch.empty(...)) or to_empty without an initialisation after it",
        remedy="initialise in __init__: nn.init.trunc_normal_(self.latent, std=0.02)",
    )


def has_no_scalar_parameters(subject: Subject) -> None:
    """No parameter is 0-dimensional: FSDP2 refuses them."""
    scalars = [name for name, tensor in subject.fresh().named_parameters() if tensor.dim() == 0]
    expect(not scalars, f"0-dimensional parameters, which FSDP2 refuses: {listed(scalars)}", remedy="give it the shape (1,)")


def keeps_tensors_registered(subject: Subject) -> None:
    """Every tensor of the module is a parameter or a buffer.

    A plain attribute is neither moved to the device, nor saved, nor made real after a build on the meta device.
    """
    whole = subject.fresh()
    subject.outputs(whole)  # what it keeps from one pass to the next counts too
    own = vars(nn.Module())
    plain = [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in whole.named_modules()
        for name, value in vars(module).items()
        if name not in own and tensors(value)
    ]
    expect(
        not plain,
        f"attributes that hold tensors which are neither parameters nor buffers: {listed(plain)}",
        because="self.table = torch.arange(...) in __init__, or a cache that forward fills",
        remedy='self.register_buffer("table", ..., persistent=False), and a method reset_buffers() that fills it again',
    )


def gradient_reaches_every_parameter(subject: Subject) -> None:
    """Every trainable parameter can receive a gradient other than 0.

    One that cannot hangs or fails under data parallelism, and weight decay alone would move it.
    """
    module = subject.lively()
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise NotApplicable("it has no trainable parameter")
    backward(subject, module)
    module.train()  # what is reached in training alone, such as a masked token's embedding
    for seed in range(3):
        if unreached(module):
            backward(subject, module, seed)
    missed = unreached(module)
    expect(
        not missed,
        f"no gradient reaches {listed(missed)}",
        because="a layer behind the one whose output is used, a .detach(), an embedding that no input selects",
        remedy="leave it out, use it, or freeze it in build(): parameter.requires_grad_(False)",
    )
    broken = [
        name for name, parameter in module.named_parameters() if parameter.grad is not None and not finite(parameter.grad)
    ]
    expect(
        not broken,
        f"gradients that are NaN or infinite: {listed(broken)}",
        because="a softmax over nothing but padding, sqrt or norm at 0, a division by a length of 0",
        remedy="clamp before dividing; let a fully masked row attend to something and mask its output",
    )


def saved_is_what_is_loaded(subject: Subject) -> None:
    """What safetensors saved gives, in a module that was built on the meta device, the same outputs.

    That is how a checkpoint is opened: nothing may live outside the state dict but what `reset_buffers` makes again.
    """
    from safetensors.torch import load, save

    module = subject.lively()
    wanted = subject.outputs(module)
    stored = save({name: tensor.detach().clone().contiguous() for name, tensor in module.state_dict().items()})
    other = revived(subject)
    with attempt("loading the saved state", remedy="register the same names whenever build() is called"):
        other.load_state_dict(load(stored))
    got = subject.outputs(other.eval())
    for name, tensor in wanted.items():
        same(
            f"`{name}` differs after saving and loading",
            tensor,
            got[name],
            "a buffer with persistent=False that reset_buffers() does not fill, or a value kept outside the state dict",
            "make it a parameter or a persistent buffer, or write reset_buffers()",
        )


def refills_its_buffers(subject: Subject) -> None:
    """`reset_buffers()` fills every buffer that is not saved, with what `build()` put there.

    Loading leaves such buffers as uninitialised memory; the model calls the method of every module that has one.
    """
    fresh = subject.fresh()
    saved = fresh.state_dict().keys()
    lost = {name: buffer for name, buffer in fresh.named_buffers() if name not in saved}
    if not lost:
        raise NotApplicable("every buffer is saved")
    got = dict(revived(subject).named_buffers())
    wrong = [name for name, buffer in lost.items() if not torch.equal(buffer, got[name])]
    expect(
        not wrong,
        f"not saved (persistent=False), and garbage after loading: {listed(wrong)}",
        because="a buffer that only __init__ fills",
        remedy="fill it in reset_buffers(self), in place (self.table.copy_(...)), and call that in __init__",
    )


def works_under_autocast(subject: Subject) -> None:
    """Under bfloat16 autocast, outputs and gradients are finite."""
    module = subject.fresh()
    with attempt(
        "forward and backward under torch.autocast('cpu', torch.bfloat16)",
        "two operands of different dtypes: autocast gives bfloat16, a buffer or an index_put stays float32",
        "cast to the other's dtype (x.to(weight.dtype)) where they meet",
    ):
        with torch.autocast("cpu", torch.bfloat16):
            result = subject.forward(module, *subject.arguments())
        total = weighted_sum(result)
        if total.requires_grad:
            torch.autograd.backward(total)
    gradients = {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}
    wrong = [
        name for name, tensor in {**tensors(result), **gradients}.items() if tensor.is_floating_point() and not finite(tensor)
    ]
    expect(
        not wrong,
        f"NaN or infinite under bfloat16 autocast: {listed(wrong)}",
        because="-1e9 or finfo(float32).min added in another dtype, a softmax over nothing but masked positions, a log of 0",
        remedy="use boolean masks in scaled_dot_product_attention, torch.finfo(x.dtype).min, and float32 for logs and sums",
    )


def is_deterministic_in_evaluation(subject: Subject) -> None:
    """In evaluation mode the same input gives the same output, to the bit; the input and the module stay as they were."""
    module = subject.lively()
    arguments = subject.arguments()
    before = {name: tensor.clone() for name, tensor in tensors(arguments).items()}
    kept = {name: tensor.clone() for name, tensor in state(module).items()}
    with torch.no_grad(), seeded(1):
        first = {name: tensor.clone() for name, tensor in tensors(subject.forward(module, *arguments)).items()}
    changed = [
        name for name, tensor in tensors(arguments).items() if not torch.equal(tensor.nan_to_num(), before[name].nan_to_num())
    ]
    expect(
        not changed, f"forward changes its input {listed(changed)}", because="an operation in place (x += ..., x[...] = ...)"
    )
    altered = [name for name, tensor in state(module).items() if name not in kept or not torch.equal(tensor, kept[name])]
    expect(
        not altered,
        f"forward in evaluation mode changes {listed(altered)}: a frozen part would not stay frozen",
        because="a running statistic or an average that is updated whatever the mode",
        remedy="update it under `if self.training`",
    )
    with torch.no_grad(), seeded(2):
        second = tensors(subject.forward(module, *arguments))
    for name, tensor in first.items():
        same(
            f"`{name}` differs between two passes in evaluation mode",
            tensor.float(),
            second[name].float(),
            "dropout or noise that is on whatever the mode (F.dropout(x, p) without training=self.training)",
            "look at self.training; use nn.Dropout",
            tolerance=0,
        )


MODULES = (
    builds_on_meta,
    runs_on_meta,
    same_seed_same_weights,
    initialises_itself,
    has_no_scalar_parameters,
    keeps_tensors_registered,
    gradient_reaches_every_parameter,
    saved_is_what_is_loaded,
    refills_its_buffers,
    works_under_autocast,
    is_deterministic_in_evaluation,
)


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of everything that is saved."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, saved or not."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def to_meta(tensor: Tensor) -> Tensor:
    """The same shape, nothing in it."""
    return tensor.to("meta")


def on_meta(subject: Subject) -> Any:
    """Built on the meta device."""
    reading = "reading a tensor while building: .item(), .tolist(), numpy()"
    with attempt("build() on the meta device", reading, META), seeded(), torch.device("meta"):
        return subject.make().eval()


def revived(subject: Subject) -> Any:
    """Built on the meta device and given memory, as loading a checkpoint does before the saved tensors are copied in."""
    with uninitialised_is_nan():
        module = on_meta(subject).to_empty(device="cpu")
    for part in module.modules():
        reset = getattr(part, "reset_buffers", None)
        if reset is not None:
            with attempt(f"reset_buffers() of {type(part).__name__}", remedy="write in place"), torch.no_grad():
                reset()
    return module


@contextmanager
def uninitialised_is_nan() -> Iterator[None]:
    """Memory that torch.empty gives holds NaN, so that it can be told from what was written."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def backward(subject: Subject, module: nn.Module, seed: int = 0) -> None:
    """Gradients of a sum in which every output counts."""
    with seeded(seed), attempt("forward and backward"):
        total = weighted_sum(subject.forward(module, *subject.arguments()))
        if not total.requires_grad:
            fail(
                "no output depends on a trainable parameter",
                because="torch.no_grad(), .detach() or .data on the way",
                remedy="leave it out: freezing is said by requires_grad_(False)",
            )
        torch.autograd.backward(total)


def unreached(module: nn.Module) -> list[str]:
    """Trainable parameters whose gradient is missing or all 0."""
    return [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and parameter.numel()
        if parameter.grad is None or not bool(parameter.grad.count_nonzero())
    ]


def listed(names: list[str]) -> str:
    """The first few of many names."""
    shown = ", ".join(f"`{name}`" for name in names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown
