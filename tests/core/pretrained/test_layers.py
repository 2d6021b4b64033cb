import copy

import pytest
import torch
from transformers import AutoConfig, AutoModel, ViTConfig, ViTModel

from a2a_core import A2AError
from a2a_core.pretrained.layers import hidden_states, shorten

CONFIG = ViTConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, image_size=8, patch_size=4)


@torch.no_grad()
@pytest.mark.parametrize("layer", [None, 1, 2, 3, -1, -2, -3])
def test_a_shortened_model_gives_the_same_hidden_states(layer: int | None) -> None:
    torch.manual_seed(0)
    whole, pixels = ViTModel(CONFIG).eval(), torch.randn(2, 3, 8, 8)
    output = whole(pixel_values=pixels, output_hidden_states=True)
    config = copy.deepcopy(CONFIG)
    shorten(config, layer)
    model = ViTModel(config).eval()
    model.load_state_dict({name: whole.state_dict()[name] for name in model.state_dict()})
    wanted = output.last_hidden_state if layer is None else output.hidden_states[layer]
    torch.testing.assert_close(hidden_states(model, layer, pixel_values=pixels), wanted)
    assert config.num_hidden_layers == {None: 3, 1: 1, 2: 2, 3: 3, -1: 3, -2: 2, -3: 1}[layer]


@pytest.mark.parametrize("layer", [0, 4, -4])
def test_a_layer_that_is_not_there(layer: int) -> None:
    with pytest.raises(A2AError, match=f"`layer` = {layer}, but the model has 3 layers: 1 to 3, or -3 to -1"):
        shorten(copy.deepcopy(CONFIG), layer)


def test_models_without_layers_that_can_be_counted() -> None:
    with pytest.raises(A2AError, match="`layer` cannot be counted in a `videoprism_vision_model` model"):
        shorten(AutoConfig.for_model("videoprism_vision_model"), 1)
    swin = AutoConfig.for_model("swin", image_size=8, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=2)
    swin.num_hidden_layers = 3
    with pytest.raises(A2AError, match="which has stages"):
        hidden_states(AutoModel.from_config(swin), 1, pixel_values=torch.zeros(1, 3, 8, 8))
