import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from a2a_audio.hf_audio import HfAudioEncoder
from a2a_core import A2AError

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "conv_dim": [8, 8],
    "conv_kernel": [10, 8],
    "conv_stride": [5, 8],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 5,
}


@pytest.fixture
def folder(tmp_path):
    """A Wav2Vec2 with a CTC head, as trained with SpecAugment."""
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**SIZES))
    model.save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def load(folder, **options):
    encoder = HfAudioEncoder(path=folder, **options).resolved()
    module = encoder.build()
    encoder.load(module)
    return module


@pytest.mark.parametrize("layer", [None, 1, 0])
def test_weights_are_those_of_the_file(folder, layer):
    stored = load_file(folder / "model.safetensors")
    module = load(folder, layer=layer)
    for name, tensor in module.model.state_dict().items():
        assert torch.equal(tensor, stored[f"wav2vec2.{name}"]), name
    assert len(module.model.encoder.layers) == (2 if layer is None else layer)


def test_a_missing_tensor(folder):
    rewrite(folder, lambda tensors: tensors.pop("wav2vec2.encoder.layers.1.layer_norm.weight"))
    load(folder, layer=1)
    with pytest.raises(A2AError, match=r"lacks 1 of the model's weights: encoder\.layers\.1\.layer_norm\.weight"):
        load(folder)


def test_a_tensor_that_is_left_over(folder):
    rewrite(folder, lambda tensors: tensors.update({"wav2vec2.encoder.layers.1.gate.weight": torch.zeros(2)}))
    load(folder, layer=1)
    with pytest.raises(A2AError, match=r"1 tensors that are unknown to the encoder: .*layers\.1\.gate\.weight"):
        load(folder)


def test_a_tensor_of_another_shape(folder):
    rewrite(folder, lambda tensors: tensors.update({"wav2vec2.encoder.layer_norm.weight": torch.zeros(3)}))
    with pytest.raises(A2AError, match=r"another shape: encoder\.layer_norm\.weight \(\[3\] for \[16\]\)"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_a_file_that_is_broken(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(A2AError, match="cannot be read"):
        load(folder)


def test_no_weights_at_all(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(A2AError, match="cannot be read"):
        load(folder)
