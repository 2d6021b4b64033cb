"""Where DeepSpeed keeps gradients, weights and what the optimizer sees of them: stages 1 and 2, and stage 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel

from a2a_core import RunFailed
from a2a_core.holding import first_rank
from a2a_deepspeed.sharing import Share, SharedHolding

if TYPE_CHECKING:
    from a2a_core.model import A2AModel


class StretchesHolding(SharedHolding):
    """Stages 1 and 2: weights are whole on every rank; of what belongs to them a rank has one stretch of each group."""

    def share(self, parameter: nn.Parameter) -> Share:
        """See SharedHolding.share."""
        place: Any = parameter._hp_mapping
        if place is None:
            group = next(n for n, several in enumerate(self.zero.bit16_groups) if any(each is parameter for each in several))
            return Share(self.zero.single_partition_of_fp32_groups[group], 0, 0, 0)
        flat = self.zero.single_partition_of_fp32_groups[place.param_group_index]
        inside, part = place.hp_fragment_address, place.lp_fragment_address
        return Share(flat, inside.start, part.start, part.numel)

    def gradient(self, parameter: nn.Parameter) -> Tensor | None:
        """See SharedHolding.gradient."""
        place: Any = parameter._hp_mapping
        if place is None:
            return None
        found: Tensor = place.get_lp_grad_fragment(parameter._index_in_param_group)
        return found.view(-1)

    def clear(self, parameter: nn.Parameter) -> None:
        """See SharedHolding.clear."""
        part = self.gradient(parameter)
        if part is not None:
            part.zero_()
            if self.zero.cpu_offload:
                self.zero.norm_for_param_grads[self.zero.get_param_id(parameter)] = torch.zeros(())

    def exchange(self) -> None:
        """See ZeroHolding.exchange: stage 2 has done so after each backward pass."""
        if self.stage == 2:
            self.zero.finalize_gradient_accumulation_boundary()
        else:
            super().exchange()

    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """See Holding.load_weights."""
        super().load_weights(state)
        if self.engine is not None:
            self.zero.refresh_fp32_params()


class WeightsHolding(SharedHolding):
    """Stage 3: a rank has its part of every parameter; a module's weights are gathered where it computes, `whole` or not.

    What is computed with elsewhere, too, is gathered with the whole model, and stays so until the step.
    """

    def begin(self, wrapped: nn.Module, optimizer: Any) -> None:
        """See Holding.begin."""
        import deepspeed

        super().begin(wrapped, optimizer)
        whole = [name for name, each in self.model.named_parameters() if not hasattr(each, "ds_id")]
        if whole:
            raise RunFailed(f"ZeRO-3 did not share {', '.join(whole[:8])}")
        for parameter in lent(self.model):
            deepspeed.zero.register_external_parameter(self.engine.module, parameter)
            parameter.is_external_param = True  # else it would be let go of again before the backward pass
        self.unwatch()

    def unwatch(self) -> None:
        """Take DeepSpeed's hooks off layers that losses call, as often as a rank's rows ask for, or not at all.

        Each call would have its place in the order of modules that DeepSpeed remembers, and a rank whose order changes waits
        for all others to compare theirs: for ever, as theirs have not changed. The weights are there without.
        """
        called = [module for layer in output_layers(self.model) for module in layer.modules()]
        theirs = {id(hooks) for module in called for hooks in (module._forward_pre_hooks, module._forward_hooks)}
        offload = self.zero.parameter_offload
        for handle in (*offload.forward_hooks, *offload.backward_hooks):
            if id(handle.hooks_dict_ref()) in theirs:
                handle.remove()

    def numel(self, parameter: nn.Parameter) -> int:
        """See SharedHolding.numel."""
        return int(parameter.ds_numel)

    def shapes(self) -> dict[str, torch.Size]:
        """See SharedHolding.shapes."""
        return {name: torch.Size(each.ds_shape) for name, each in self.trainable()}

    def share(self, parameter: nn.Parameter) -> Share:
        """See SharedHolding.share."""
        group, at, _ = self.zero.grad_position[self.zero.get_param_id(parameter)]
        part = int(parameter.partition_numel())
        first = min(part * dist.get_rank(), int(parameter.ds_numel))
        size = min(part, int(parameter.ds_numel) - first)
        return Share(self.zero.fp32_partitioned_groups_flat[group], int(at), first, size)

    def gradient(self, parameter: nn.Parameter) -> Tensor | None:
        """See SharedHolding.gradient."""
        from deepspeed.utils import safe_get_local_grad

        size = self.share(parameter).size
        return safe_get_local_grad(parameter).view(-1)[:size] if size else None

    def clear(self, parameter: nn.Parameter) -> None:
        """See SharedHolding.clear."""
        from deepspeed.utils import safe_set_local_grad

        safe_set_local_grad(parameter, torch.zeros_like(parameter.ds_tensor))

    def exchange(self) -> None:
        """See ZeroHolding.exchange: it was done after each backward pass."""
        self.zero.finalize_gradient_accumulation_boundary()

    def update(self) -> None:
        """See ZeroHolding.update."""
        super().update()
        self.zero.grad_partitions_flat_buffer.zero_()  # else what the next first backward pass leaves out keeps this gradient

    # weights ------------------------------------------------------------------------------------------------------------

    def weights(self) -> dict[str, Tensor]:
        """See Holding.weights."""
        if self.engine is None:
            return super().weights()
        found: dict[str, Tensor] = {}
        moved: dict[int, Tensor] = {}
        for name, tensor in self.model.state_dict(keep_vars=True).items():
            with self.gathered([tensor]):
                if first_rank():
                    found[name] = moved.setdefault(id(tensor), tensor.detach().to("cpu", copy=True))
        return found

    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """See Holding.load_weights."""
        if self.engine is None:
            super().load_weights(state)
            return
        self._refuse_others(state)
        for name, tensor in self.model.state_dict(keep_vars=True).items():
            if name in state:
                with self.gathered([tensor], 0), torch.no_grad():
                    tensor.data.copy_(state[name])
        self.zero.refresh_fp32_params()

    @contextmanager
    def gathered(self, tensors: list[Any], changes: int | None = None) -> Iterator[None]:
        """Inside they are whole; a rank that `changes` them gives its values to the others."""
        from deepspeed.runtime.zero import GatheredParameters

        shared = [each for each in tensors if hasattr(each, "ds_id")]
        with GatheredParameters(shared, modifier_rank=changes, enabled=bool(shared)):
            yield


def lent(model: A2AModel) -> Iterator[nn.Parameter]:
    """Parameters that others compute with than the modules they are in.

    A fusion lends its output layer to losses and heads; the gradient cache goes back through losses by itself.
    """
    yield from model.losses.parameters()
    for layer in output_layers(model):
        yield from layer.parameters()


def output_layers(model: A2AModel) -> list[nn.Module]:
    """Those that a fusion lends."""
    inner = [module for module in model.fusion.modules() if isinstance(module, PreTrainedModel)]
    return [layer for layer in (module.get_output_embeddings() for module in inner) if layer is not None]
