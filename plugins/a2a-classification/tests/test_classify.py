import pytest
import torch

from a2a_classification.classify import ClassifyHead
from a2a_core.errors import A2AError
from a2a_core.structures import Widths

CLASSES = ("a", "b", "c")


def test_classes_are_learned_once_and_kept():
    asked = []

    def column(field):
        asked.append(field)
        return ["b", "a", None, 3]

    head = ClassifyHead(field="kind").resolved(column)
    assert head.class_names == head.classes == ("3", "a", "b")
    assert head.resolved(column) == head
    assert asked == ["kind"]


def test_a_number_of_classes_becomes_their_names():
    assert ClassifyHead(classes=3).class_names == ("0", "1", "2")
    assert ClassifyHead(classes=3).resolved(lambda _: [0, 2]).classes == ("0", "1", "2")


def test_unknown_classes_are_an_error():
    for use in (lambda head: head.processor(), lambda head: head.build(Widths(6, {})), lambda head: head.class_names):
        with pytest.raises(A2AError, match="not known yet"):
            use(ClassifyHead())


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("a", "b", "a"), "names `a` twice"),
        (("a",), "at least two"),
        ((), "at least two"),
        (1, ">= 2"),
        (("", "a"), "empty name"),
    ],
)
def test_wrong_classes_are_an_error(classes, message):
    with pytest.raises(ValueError, match=message):
        ClassifyHead(classes=classes)


def test_a_fusion_without_pooled_vector_is_an_error():
    with pytest.raises(A2AError, match="this fusion makes none"):
        ClassifyHead(classes=CLASSES).build(Widths(None, {"image": 8}))


@pytest.mark.parametrize("options", [{}, {"hidden_size": 5, "dropout": 0.5}])
def test_it_predicts_the_name_of_the_likeliest_class(fused, options):
    module = ClassifyHead(classes=CLASSES, **options).build(Widths(6, {})).eval()
    outputs = module(fused, {"size": 4})
    assert outputs["logits"].shape == (4, 3)
    assert module.predict(outputs) == [CLASSES[number] for number in outputs["logits"].argmax(1)]
    assert module.predict({"logits": torch.tensor([[0.0, 2, 1], [3, 2, 1]])}) == ["b", "a"]


def test_without_options_it_is_one_linear_layer(fused):
    module = ClassifyHead(classes=CLASSES).build(Widths(6, {}))
    assert sum(parameter.numel() for parameter in module.parameters()) == 6 * 3 + 3
    weight, bias = module.parameters()
    torch.testing.assert_close(module(fused, {})["logits"], fused.pooled @ weight.T + bias)
