import pytest
import torch

from a2a_contrastive.align import AlignHead
from a2a_core.errors import A2AError
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_core.structures import Fused, Tokens, Widths
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion

HEAD = AlignHead(modalities=("image", "sound"), projection_dim=5)
SPEC = Widths(None, {"image": 4, "sound": 6})


def items(values, mask, row, slot, slots=1):
    return Tokens(values, mask, torch.tensor(row), torch.tensor(slot), slots)


@pytest.fixture
def fused():
    """Sample 0 has both, 1 a picture, 2 two sounds and a picture, 3 nothing."""
    image = items(torch.randn(3, 2, 4), torch.tensor([[1, 1], [1, 0], [1, 1]]).bool(), [0, 1, 2], [0, 0, 0])
    sound = items(torch.randn(3, 3, 6), torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]]).bool(), [2, 0, 2], [0, 0, 1], 2)
    return Fused(4, encoded={"image": image, "sound": sound})


def test_the_formula_of_its_docstring(fused):
    module = HEAD.build(SPEC).double()
    image, sound = (tokens._replace(values=tokens.values.double()) for tokens in fused.encoded.values())
    found = module(fused._replace(encoded={"image": image, "sound": sound}), {})
    assert found["both"].tolist() == [True, False, True, False]
    heard = torch.cat([sound.values[0], sound.values[2, :2]]).mean(0) @ module.second.weight.T
    torch.testing.assert_close(found["second"][2], heard / heard.norm())
    seen = image.values[1, 0] @ module.first.weight.T
    torch.testing.assert_close(found["first"][1], seen / seen.norm())
    assert not found["first"][3].any()


def test_it_predicts_the_cosine_of_what_is_there(fused):
    module = HEAD.build(SPEC)
    outputs = module(fused, {})
    found = module.predict(outputs)
    assert found[1] is found[3] is None
    assert found[0] == pytest.approx(torch.cosine_similarity(outputs["first"][0], outputs["second"][0], dim=0).item())


@pytest.mark.parametrize("use", ["concat", "bottleneck", "cross-attention", "perceiver"])
def test_no_fusion_lets_one_modality_see_the_other(use, tmp_path):
    """What a picture is embedded as does not depend on its sound, though the fused vector does."""
    pytest.importorskip("a2a_fusion")
    from a2a_core.plugins import Catalog

    fusion = Catalog.installed().find("fusion", f"a2a-fusion:{use}").tiny(tmp_path)
    encoders = {"image": ReferenceEncoder(width=8), "sound": ReferenceEncoder(width=8)}
    model = A2AModel.from_parts(Parts(encoders=encoders, fusion=fusion, heads={"pair": HEAD})).eval()
    processor = encoders["image"].processor()

    def run(sound):
        place = {"row": torch.tensor([0]), "slot": torch.tensor([0]), "slots": 1}
        media = {"image": [1.0, 2.0], "sound": sound}
        inputs = {name: {"tensors": processor.pad([processor(raw)]), **place} for name, raw in media.items()}
        inputs["size"] = 1
        with torch.no_grad():
            encoded, _ = model.encode(inputs)
            return model(inputs).outputs["pair"], model.fusion(encoded, inputs).pooled

    (one, pooled), (other, changed) = run([0.5]), run([-3.0, 7.0])
    assert torch.equal(one["first"], other["first"])
    assert not torch.equal(one["second"], other["second"])
    assert not torch.equal(pooled, changed)


def test_a_name_that_no_encoder_has_is_an_error():
    with pytest.raises(A2AError, match="compares `sund`, and no encoder has that name") as error:
        AlignHead(modalities=("image", "sund")).build(SPEC)
    assert "did you mean `sound`" in str(error.value)
    with pytest.raises(ValueError, match="names `image` twice"):
        AlignHead(modalities=("image", "image"))


def test_it_stands_beside_other_parts_in_a_model():
    encoders = {"image": ReferenceEncoder(), "sound": ReferenceEncoder(width=8)}
    model = A2AModel.from_parts(Parts(encoders=encoders, fusion=ReferenceFusion(), heads={"pair": HEAD}))
    assert model.heads["pair"].second.weight.shape == (5, 16)  # what the fusion is given, behind the projector
