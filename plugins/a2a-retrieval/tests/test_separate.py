import torch

from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_core.structures import Tokens
from a2a_core.testing.reference import ReferenceEncoder
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.separate import Separate


def test_each_part_is_what_it_was():
    module = Separate().build({"image": 4, "sound": 6})
    image = Tokens(torch.randn(3, 2, 4), torch.ones(3, 2).bool(), torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), 2)
    sound = Tokens(torch.randn(1, 5, 6), torch.ones(1, 5).bool(), torch.tensor([1]), torch.tensor([0]))
    fused = module({"image": image, "sound": sound}, {"size": 2})
    assert fused.parts["image"] is image
    assert fused.parts["sound"] is sound
    assert fused.tokens is fused.pooled is None
    assert not list(module.parameters())


def test_no_width_is_made_alike():
    """Encoders keep theirs, and a head with a dimension brings both into one space."""
    encoders = {"image": ReferenceEncoder(width=4), "sound": ReferenceEncoder(width=6)}
    heads = {"pair": EmbeddingHead(query="image", positive="sound", dimension=5)}
    model = A2AModel.from_parts(Parts(encoders=encoders, fusion=Separate(), heads=heads))
    assert not model.projectors
    shapes = {key: tuple(layer.weight.shape) for key, layer in model.heads["pair"].projections.items()}
    assert shapes == {"image": (5, 4), "sound": (5, 6)}
