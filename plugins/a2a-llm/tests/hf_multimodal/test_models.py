"""The fusion as a whole, beside the stock model."""

from __future__ import annotations

import pytest
import torch

from a2a_core import A2AError, RunFailed
from a2a_llm.documents import Documents
from a2a_llm.hf_multimodal import HfMultimodal
from a2a_llm.hf_multimodal_positions import grids_of, spatial

QWEN = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
ALL = ["llava", "llava-siglip", "vipllava", *QWEN, "qwen2_audio"]


@pytest.mark.parametrize("layout", ["documents", "padded"])
@pytest.mark.parametrize("name", ALL)
def test_each_text_is_what_the_stock_model_makes_of_it(kit, name, layout, parts):
    config, module, stock = parts(name, layout=layout)
    assert module.documents is (layout == "documents")
    got = kit.logits_of(module, kit.batch(config, kit.rows))
    torch.testing.assert_close(got, kit.stock_logits(config, stock, kit.rows), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_the_stock_model(kit, name, parts):
    config, module, stock = parts(name)
    inputs = kit.batch(config, kit.rows)
    weights = torch.randn(len(inputs["text"]["ids"]), 270)
    (kit.logits_of(module, inputs) * weights).sum().backward()
    (kit.stock_logits(config, stock, kit.rows) * weights).sum().backward()
    wanted = dict(stock.named_parameters())
    for key, parameter in module.model.named_parameters():
        if key in module.unused:
            assert not parameter.requires_grad
            assert wanted[key].grad is None
        else:
            torch.testing.assert_close(parameter.grad, wanted[key].grad, atol=5e-4, rtol=1e-3, msg=key)


@pytest.mark.parametrize("name", QWEN)
def test_positions_are_those_of_the_stock_model_and_begin_anew_in_each_text(kit, name, parts):
    config, module, stock = parts(name)
    inputs = kit.batch(config, kit.rows)
    got = module.positions(inputs)
    wanted = []
    for row in kit.rows:
        told = kit.stock_arguments(config, row)
        told.pop("pixel_values", None)
        wanted.append(stock.model.get_rope_index(**told)[0][:, 0])
    assert torch.equal(got, torch.cat(wanted, 1))


def test_pictures_without_text_between_them_are_two():
    """The stock index takes neighbours for one medium; a place for each is what it does where text stands between."""
    grids = grids_of({"grids": [[1, 4, 2], [2, 2, 6]], "steps": [1.0, 2.5]}, 2, timestamps=False)
    got = spatial(torch.arange(10), [10], [(torch.arange(1, 9), grids)])
    assert got.tolist() == [
        [0, 1, 1, 3, 3, 3, 5, 5, 5, 6],
        [0, 1, 2, 3, 3, 3, 3, 3, 3, 6],
        [0, 1, 1, 3, 4, 5, 3, 4, 5, 6],
    ]


@pytest.mark.parametrize("name", ALL)
def test_a_batch_without_a_picture_reaches_every_parameter(kit, name, parts):
    config, module, stock = parts(name)
    got = kit.logits_of(module, kit.batch(config, kit.bare))
    torch.testing.assert_close(got, kit.stock_logits(config, stock, kit.bare), atol=2e-5, rtol=1e-4)
    got.square().sum().backward()
    for key, parameter in module.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, key
    for part in module.parts.keys() & {"vision", "audio", "merger"}:
        assert all(not each.grad.any() for each in module.get_submodule(module.parts[part]).parameters() if each.requires_grad)


@pytest.mark.parametrize("name", ALL)
def test_generation_is_that_of_the_stock_model(kit, name, parts):
    config, module, stock = parts(name)
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    got = module.generate({}, kit.batch(config, kit.rows), **options)
    for row, ids in zip(kit.rows, got, strict=True):
        told = kit.stock_arguments(config, row)
        assert ids == stock.generate(**told, **options)[0, told["input_ids"].shape[1] :].tolist()
    if name in QWEN:
        with pytest.raises(RunFailed, match="ends with a medium"):
            module.generate({}, kit.batch(config, [[5, kit.picture(8, 8)]]), **options)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_weights_tokenizer_and_preprocessing_of_a_directory_travel(kit, name, tmp_path, parts):
    config, module, _ = parts(name)
    module.model.save_pretrained(tmp_path)
    config.processor().tokenizer.save_pretrained(tmp_path)
    config.media()["image"].processor.stock.save_pretrained(tmp_path)
    loaded = HfMultimodal(path=tmp_path).resolved()
    assert loaded.resolved() == loaded
    assert loaded.image_processor == config.image_processor
    assert loaded.processor().placeholder("image") == config.processor().placeholder("image")
    second = loaded.build({})
    loaded.load(second)
    for key, value in module.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    torch.testing.assert_close(
        kit.logits_of(second.eval(), kit.batch(loaded, kit.rows)), kit.logits_of(module, kit.batch(config, kit.rows))
    )


def test_what_cannot_be_is_said(kit, parts):
    with pytest.raises(ValueError, match="`hf-multimodal` runs no `llama` model"):
        HfMultimodal(config={"model_type": "llama"})
    with pytest.raises(A2AError, match="has an unknown key `sizes`.*\n.*`size`"):
        HfMultimodal(**{**kit.models["qwen2_vl"], "image_processor": {"sizes": 3}}).resolved()
    small = {**kit.models["llava"]["config"], "text_config": {"model_type": "llama", **kit.small, "vocab_size": 100}}
    with pytest.raises(A2AError, match="`image_token_id` = 259, and the model has `vocab_size` = 100"):
        HfMultimodal(config=small).resolved()
    with pytest.raises(A2AError, match="`image_processor.patch_size` = 8, and the model's `patch_size` is 4"):
        HfMultimodal(config=kit.models["qwen2_vl"]["config"], image_processor={"patch_size": 8}).build({})
    with pytest.raises(A2AError, match="reads media itself, and the recipe has encoders: `image`"):
        HfMultimodal(**kit.models["llava"]).build({"image": 8})
    with pytest.raises(A2AError, match="`image_processor` is given, and a `qwen2_audio` model reads no image"):
        HfMultimodal(**kit.models["qwen2_audio"], image_processor=kit.any_size).resolved()
    with pytest.raises(A2AError, match="`feature_extractor.feature_size` is 80, and the model takes 16 mels"):
        HfMultimodal(**kit.models["qwen2_audio"], feature_extractor={"feature_size": 80}).resolved()
    with pytest.raises(ValueError, match="shorter than a token, 480 samples"):
        HfMultimodal(**kit.models["qwen2_audio"]).media()["audio"].processor(kit.sound(300))
    config, module, _ = parts("llava")
    with pytest.raises(A2AError, match="the collator gives none"):
        module({}, {"size": 1})
    with pytest.raises(ValueError, match="no image"):
        config.media()["image"].processor(b"nothing")


def test_a_model_that_leaks_is_refused_at_its_first_step(kit, monkeypatch, parts):
    config, module, _ = parts("qwen2_5_vl")
    stock = module.states
    leaky = lambda embedded, positions, each, deep=None: stock(embedded, positions, Documents([sum(each.lengths)]), deep)  # noqa: E731
    monkeypatch.setattr(module, "states", leaky)
    with pytest.raises(RunFailed, match="otherwise than each alone"):
        module({}, kit.batch(config, kit.rows))


@pytest.mark.parametrize("name", QWEN)
def test_videos_are_what_the_stock_model_makes_of_them(kit, name, parts):
    config, module, stock = parts(name, video_processor=kit.any_size)
    inputs = kit.batch(config, kit.filmed)
    positions = [stock.model.get_rope_index(**without_pixels(kit.stock_arguments(config, row)))[0][:, 0] for row in kit.filmed]
    assert torch.equal(module.positions(inputs), torch.cat(positions, 1))
    got = kit.logits_of(module, inputs)
    torch.testing.assert_close(got, kit.stock_logits(config, stock, kit.filmed), atol=2e-5, rtol=1e-4)
    got.square().sum().backward()
    assert all(each.grad is not None for each in module.parameters())
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    for row, ids in zip(kit.filmed, module.generate({}, inputs, **options), strict=True):
        told = kit.stock_arguments(config, row)
        assert ids == stock.generate(**told, **options)[0, told["input_ids"].shape[1] :].tolist()


def without_pixels(told):
    return {key: value for key, value in told.items() if not key.startswith("pixel")}


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_the_same_when_activations_are_computed_again(kit, name, parts):
    config, module, _ = parts(name)
    inputs, found = kit.batch(config, kit.rows), []
    for again in (False, True):
        module.zero_grad()
        if again:
            module.train().model.activation_checkpointing_enable()
        kit.logits_of(module, inputs).square().sum().backward()
        found.append({key: each.grad.clone() for key, each in module.named_parameters() if each.requires_grad})
    for key, wanted in found[0].items():
        torch.testing.assert_close(found[1][key], wanted, atol=1e-4, rtol=1e-4, msg=key)


@pytest.mark.parametrize("name", ALL)
def test_in_bfloat16_it_is_about_the_same(kit, name, parts):
    config, module, _ = parts(name)
    inputs = kit.batch(config, kit.rows)
    wanted = kit.logits_of(module, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        cast = kit.logits_of(module, inputs)
    for got in (cast, kit.logits_of(module.bfloat16(), inputs)):
        assert got.dtype == torch.bfloat16
        assert (got.float() - wanted).norm() < 0.05 * wanted.norm()
