import attrs
import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Pooling

from a2a_core.components import RecordingConfig
from a2a_core.errors import A2AError
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_core.structures import Fused, Tokens, Widths
from a2a_core.testing.reference import ReferenceEncoder
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.separate import Separate

SPEC = Widths(None, {"query": 6, "positive": 6, "negatives": 6})
SHARED = {"query": ReferenceEncoder(), "positive": ReferenceEncoder(like="query"), "negatives": ReferenceEncoder(like="query")}


def head(**options):
    return EmbeddingHead(negatives="negatives", **options).knowing(SHARED)


def items(row, slot=None, slots=1, width=6):
    """Items of up to four tokens, after which padding follows."""
    mask = torch.arange(4) < torch.randint(1, 5, (len(row), 1))
    return Tokens(torch.randn(len(row), 4, width), mask, torch.tensor(row), torch.tensor(slot or [0] * len(row)), slots)


@pytest.fixture
def fused():
    """Sample 0 has everything, 1 a query and a positive, 2 a positive alone, 3 a query and negatives."""
    return Fused(
        4,
        encoded={
            "query": items([0, 1, 3]),
            "positive": items([2, 0, 1]),
            "negatives": items([0, 0, 3], [0, 1, 0], 2),
        },
    )


@pytest.mark.parametrize(("pool", "theirs"), [("mean", "mean"), ("cls", "cls"), ("last", "lasttoken"), ("attention", "mean")])
def test_tokens_are_pooled_as_by_sentence_transformers(pool, theirs, fused):
    """Learned weights start as the mean."""
    tokens = fused.encoded["query"]
    reference = Pooling(6, pooling_mode=theirs)
    wanted = reference({"token_embeddings": tokens.values, "attention_mask": tokens.mask.long()})["sentence_embedding"]
    found = head(pool=pool, normalise=False).build(SPEC).vectors("query", tokens)
    torch.testing.assert_close(found, wanted)


def test_learned_weights_are_those_of_a_softmax_over_real_tokens(fused):
    module, tokens = head(pool="attention", normalise=False).build(SPEC), fused.encoded["query"]
    torch.nn.init.normal_(module.scores["query"].weight)
    for found, values, mask in zip(module.vectors("query", tokens), tokens.values, tokens.mask, strict=True):
        weights = (values[mask] @ module.scores["query"].weight[0]).softmax(0)
        torch.testing.assert_close(found, weights @ values[mask])


def test_padding_in_front_is_padding(fused):
    tokens = fused.encoded["query"]
    turned = tokens._replace(values=tokens.values.flip(1), mask=tokens.mask.flip(1))
    first, last = (head(pool=pool).build(SPEC) for pool in ("cls", "last"))
    torch.testing.assert_close(first.vectors("query", turned), last.vectors("query", tokens))


def test_each_side_lies_where_its_sample_is(fused):
    module = head(dimension=5).build(SPEC)
    found = module(fused, {})
    assert found["query_mask"].tolist() == [True, True, False, True]
    assert found["positive_mask"].tolist() == [True, True, True, False]
    assert found["negative_mask"].tolist() == [[True, True], [False, False], [False, False], [True, False]]
    torch.testing.assert_close(found["positive"][[2, 0, 1]], module.vectors("positive", fused.encoded["positive"]))
    torch.testing.assert_close(found["negative"][[0, 0, 3], [0, 1, 0]], module.vectors("negative", fused.encoded["negatives"]))
    for side in ("query", "positive", "negative"):
        there = found[f"{side}_mask"]
        torch.testing.assert_close(found[side][there].norm(dim=-1), torch.ones(int(there.sum())))
        assert not found[side][~there].any()


def test_without_an_encoder_there_are_no_negatives(fused):
    found = EmbeddingHead(dimension=5).build(SPEC)(fused, {})
    assert found["negative"].shape == (4, 0, 5)
    assert found["negative_mask"].shape == (4, 0)


def test_it_predicts_the_cosine_of_what_is_there(fused):
    module = head(normalise=False).build(SPEC)
    outputs = module(fused, {})
    found = module.predict(outputs)
    assert found[2] is found[3] is None
    assert found[1] == pytest.approx(torch.cosine_similarity(outputs["query"][1], outputs["positive"][1], dim=0).item())


def test_sides_that_share_an_encoder_share_what_stands_behind_it():
    shared = head(pool="attention", dimension=5).build(SPEC)
    assert len(list(shared.parameters())) == 2
    apart = attrs.evolve(head(dimension=5), weights={"query": "query", "positive": "positive", "negatives": "positive"})
    module = apart.build(SPEC)
    tokens = items([0, 1])
    assert torch.equal(module.vectors("positive", tokens), module.vectors("negative", tokens))
    assert not torch.equal(module.vectors("query", tokens), module.vectors("positive", tokens))


def test_a_model_of_one_encoder_embeds_both_sides_alike():
    encoders = {"query": ReferenceEncoder(width=8), "positive": ReferenceEncoder(width=8, like="query")}
    known = EmbeddingHead(dimension=5).knowing(encoders)
    model = A2AModel.from_parts(Parts(encoders=encoders, fusion=Separate(), heads={"pair": known})).eval()
    processor = encoders["query"].processor()
    media = {"tensors": processor.pad([processor([1.0, 2.0])]), "row": torch.tensor([0]), "slot": torch.tensor([0]), "slots": 1}
    outputs = model({"size": 1, "query": media, "positive": media}).outputs["pair"]
    assert torch.equal(outputs["query"], outputs["positive"])
    assert len([name for name, _ in model.named_parameters() if name.startswith("heads.")]) == 1


def test_what_it_must_know_of_encoders_is_kept():
    class Recording(ReferenceEncoder, RecordingConfig):
        pass

    sound = Recording(field="wav", start="from", end="")
    found = EmbeddingHead(positive="sound").resolved({"positive_id": [None]}.__getitem__).knowing(SHARED | {"sound": sound})
    assert found.fields == {"query": ("query",), "sound": ("wav", "from")}
    assert found.positive_key == "wav"
    target = found.processor()({"query": "a", "wav": "b.wav", "from": 3})
    assert target.positive == "b.wav @3"
    assert found.describe(target) == "'a' -> 'b.wav @3'"
    told = target._replace(negatives=("c", "d"), score=0.5)
    assert found.describe(told) == "'a' -> 'b.wav @3', 2 negatives, score 0.5"


def test_the_field_that_tells_positives_apart():
    assert EmbeddingHead().resolved({"positive_id": [None, "d1"]}.__getitem__).positive_key == "positive_id"
    assert EmbeddingHead().resolved({}.__getitem__).knowing(SHARED).positive_key == "positive"
    assert EmbeddingHead(positive_key="page").resolved({"positive_id": ["d1"]}.__getitem__).positive_key == "page"


def test_what_does_not_fit_is_an_error(fused):
    with pytest.raises(ValueError, match="`query` is the encoder of 2 sides"):
        EmbeddingHead(positive="query")
    with pytest.raises(A2AError, match="embeds what `positiv` gives, and no encoder has that name") as error:
        EmbeddingHead(positive="positiv").build(SPEC)
    assert "did you mean `positive`" in str(error.value)
    with pytest.raises(A2AError, match="compares `query` of 6 channels with `image` of 8") as error:
        EmbeddingHead(positive="image").build(Widths(None, {"query": 6, "image": 8}))
    assert "`dimension`" in str(error.value)
    apart = SHARED | {"negatives": ReferenceEncoder()}
    with pytest.raises(A2AError, match="`positive` and `negatives` have different weights") as error:
        EmbeddingHead(negatives="negatives").knowing(apart)
    assert 'like = "query"' in str(error.value)
    two = fused._replace(encoded=fused.encoded | {"query": items([0, 0], [0, 1], 2)})
    with pytest.raises(A2AError, match="`query` holds up to 2 items a row, and a row has one query"):
        head().build(SPEC)(two, {})
