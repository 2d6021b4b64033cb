import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.clip.modeling_clip import image_text_contrastive_loss as clip_loss

from a2a_contrastive.align import AlignHead
from a2a_contrastive.align_model import normalised
from a2a_contrastive.contrastive import ContrastiveLoss
from a2a_contrastive.contrastive_model import LONELY
from a2a_core.errors import A2AError
from a2a_core.testing.reference import ReferenceHead

HEAD = AlignHead(modalities=("image", "sound"))


def build(**options):
    return ContrastiveLoss(head="pair", **options).build(HEAD)


def drawn(size, both=None):
    first, second = normalised(torch.randn(2, size, 6))
    return {"first": first, "second": second, "both": torch.ones(size).bool() if both is None else torch.tensor(both)}


def judge(module, outputs):
    return module(outputs, {})["contrastive"]


def test_all_pairs_are_judged_as_by_clip():
    module, outputs = build(temperature=0.2), drawn(9)
    logits = outputs["second"] @ outputs["first"].T / 0.2
    torch.testing.assert_close(judge(module, outputs) / 9, clip_loss(logits))


def test_the_formula_in_float64():
    module, outputs = build(), drawn(5)
    cosines = (outputs["first"].double() @ outputs["second"].double().T / 0.07).tolist()
    wanted = 0.0
    for i in range(5):
        for row in (cosines[i], [other[i] for other in cosines]):
            wanted += (math.log(sum(map(math.exp, row))) - row[i]) / 2
    assert judge(module, outputs).item() == pytest.approx(wanted, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=10), st.integers(0, 99))
def test_samples_without_both_neither_count_nor_compare(both, seed):
    torch.manual_seed(seed)
    module, outputs = build(), drawn(len(both), both)
    for name in ("first", "second"):
        outputs[name][~outputs["both"]] = outputs[name][:1].clone()  # what they would be does not matter
        outputs[name].requires_grad_()
    total = judge(module, outputs)
    total.backward()
    here = outputs["both"]
    alone = judge(module, {name: value.detach()[here] for name, value in outputs.items()})
    torch.testing.assert_close(total.detach(), alone.detach(), rtol=1e-4, atol=1e-5)
    for name in ("first", "second"):
        assert not outputs[name].grad[~here].any()


@pytest.mark.parametrize("both", [[False] * 3, [True, False, False]])
def test_nothing_to_compare_is_a_zero_in_the_graph(both):
    module, outputs = build(), drawn(3, both)
    outputs["first"].requires_grad_()
    total = judge(module, outputs)
    assert total.item() == 0
    total.backward()
    assert not outputs["first"].grad.any()
    assert not module.logit_scale.grad.any()


def test_pairs_are_counted_from_inputs_alone():
    rows = {"image": {"row": torch.tensor([0, 1, 1, 4])}, "sound": {"row": torch.tensor([1, 3, 4])}}
    assert build().count({"size": 5, **rows}, {}) == {"contrastive": 2}
    nothing = {"image": {"row": torch.tensor([], dtype=torch.int64)}, "sound": {"row": torch.tensor([0])}}
    assert build().count({"size": 1, **nothing}, {}) == {"contrastive": 0}


def test_a_batch_size_that_leaves_nothing_to_compare_ends_the_run():
    module, inputs = build(), {"size": 1, "image": {"row": torch.tensor([0])}, "sound": {"row": torch.tensor([0])}}
    two = {"size": 2, "image": {"row": torch.tensor([0, 1])}, "sound": {"row": torch.tensor([0, 1])}}
    for batch in [inputs] * (LONELY - 1) + [two] + [inputs] * (LONELY - 1):
        module.count(batch, {})
    module.eval().count(inputs, {})
    with pytest.raises(A2AError, match="compares pairs of `image` and `sound`.*at most one: nothing is learned") as error:
        module.train().count(inputs, {})
    assert "trainer.batch_size" in str(error.value)


def test_the_temperature_is_learned_and_held_back():
    module, outputs = build(temperature=0.011), drawn(8)
    outputs["second"] = outputs["first"]  # perfect: the sharper the better
    optimizer = torch.optim.SGD(module.parameters(), 10.0)
    start = module.logit_scale.item()
    assert start == pytest.approx(-math.log(0.011))
    for _ in range(3):
        optimizer.zero_grad()
        judge(module, outputs).backward()
        optimizer.step()
    module.logit_scale.data.fill_(9.0)
    judge(module, outputs)
    assert module.logit_scale.item() == pytest.approx(math.log(100))
    judge(module, drawn(8)).backward()
    assert module.logit_scale.grad.abs() > 0  # at the bound it can still turn around
    module.eval().logit_scale.data.fill_(9.0)
    same = judge(module, outputs)
    module.logit_scale.data.fill_(math.log(100))
    torch.testing.assert_close(same, judge(module, outputs))


def test_a_fixed_temperature_is_no_parameter():
    module = build(temperature=0.005, learn_temperature=False)
    assert list(module.parameters()) == []
    outputs = drawn(4)
    logits = outputs["second"] @ outputs["first"].T / 0.005
    torch.testing.assert_close(judge(module, outputs) / 4, clip_loss(logits))


def test_it_is_computed_in_float32_under_autocast():
    module, outputs = build(), drawn(20)
    with torch.autocast("cpu", torch.bfloat16):
        found = judge(module, outputs)
    torch.testing.assert_close(found, judge(module, outputs))


def test_what_does_not_fit_is_an_error():
    with pytest.raises(A2AError, match=r"embeds two modalities \(`align`\), and `heads.pair` is `reference`"):
        ContrastiveLoss(head="pair").build(ReferenceHead())
    with pytest.raises(ValueError, match="`temperature` 0.005 lies below `min_temperature` 0.01"):
        ContrastiveLoss(head="pair", temperature=0.005)
