import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli
import tomli_w
from transformers import AutoConfig

from a2a_core import A2AError
from a2a_core.pretrained import check_source
from a2a_core.pretrained.configuration import NOT_ARCHITECTURE, configuration, plain, read_config, read_preprocessor

LLAVA = {"text_config": {"model_type": "llama", "pad_token_id": 3, "bos_token_id": None}, "vision_config": {"patch_size": 8}}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 24, "pad_token_id": None},
    "roberta": {},
    "t5": {"num_layers": 2},
    "gpt2": {"n_embd": 24},
    "llama": {"num_key_value_heads": 4, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    "dinov3_vit": {"pos_embed_rescale": None},
    "clip": {"vision_config": {"patch_size": 14}},
    "whisper": {"encoder_layers": 2},
    "llava": LLAVA,
    "videomae": {"num_frames": 8},
}


def architecture(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: architecture(value) for key, value in values.items() if key not in NOT_ARCHITECTURE}
    return values


@pytest.mark.parametrize("model_type", CONFIGS)
def test_a_configuration_survives_toml(model_type: str) -> None:
    config = AutoConfig.for_model(model_type, **CONFIGS[model_type])
    again = configuration(tomli.loads(tomli_w.dumps(plain(config))))
    assert architecture(json.loads(again.to_json_string(False))) == architecture(json.loads(config.to_json_string(False)))
    assert plain(again) == plain(config)


def test_nulls_are_listed_where_they_are_not_the_default() -> None:
    table = plain(AutoConfig.for_model("llava", **LLAVA))
    assert "nulls" not in table
    assert "bos_token_id" in table["text_config"]["nulls"]
    assert configuration(table).text_config.bos_token_id is None
    assert plain(AutoConfig.for_model("bert", pad_token_id=None))["nulls"] == ["pad_token_id"]


def test_a_directory_and_a_table_say_the_same(tmp_path: Path) -> None:
    config = AutoConfig.for_model("bert", hidden_size=24, num_labels=5)
    config.save_pretrained(tmp_path)
    assert plain(read_config(tmp_path, {})) == plain(read_config(None, {"model_type": "bert", "hidden_size": 24}))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"model_type": "bertt"}, r"no model type `bertt`\n.*did you mean `bert`"),
        ({"model_type": "bert", "hiden_size": 8}, r"unknown key `hiden_size` for model type `bert`\n.*`hidden_size`"),
        ({"model_type": "bert", "nulls": ["hiden_size"]}, r"unknown key `hiden_size` for model type `bert`\n.*`hidden_size`"),
        ({"model_type": "clip", "vision_config": {"patchsize": 8}}, r"unknown key `patchsize` for .* `clip_vision_model`"),
        ({"model_type": "bert", "hidden_size": "8"}, "`config`: transformers cannot read this configuration: .*expected int"),
        ({"model_type": "llava", "text_config": 3}, "cannot read this configuration"),
    ],
)
def test_tables_that_were_mistyped(table: dict[str, Any], message: str) -> None:
    with pytest.raises(A2AError, match=message):
        read_config(None, table)


def test_a_directory_may_hold_keys_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "of_my_own": 1}')
    table = plain(read_config(tmp_path, {}))
    assert table["of_my_own"] == 1
    assert read_config(None, table, typed=False).of_my_own == 1


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", "{}", '{"model_type": "nonesuch"}', '{"auto_map": {"AutoConfig": "x.Y"}}', "\xff"]
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(A2AError, match="cannot read this configuration"):
        read_config(tmp_path, {})


def test_the_part_of_a_processor_file_comes_before_a_file_of_its_own(tmp_path: Path) -> None:
    assert read_preprocessor(tmp_path, "image_processor") == {}
    (tmp_path / "preprocessor_config.json").write_text('{"size": 32}')
    assert read_preprocessor(tmp_path, "image_processor") == {"size": 32}
    (tmp_path / "processor_config.json").write_text('{"processor_class": "X", "image_processor": {"size": 48}}')
    assert read_preprocessor(tmp_path, "image_processor") == {"size": 48}
    assert read_preprocessor(tmp_path, "feature_extractor") == {"size": 32}
    (tmp_path / "video_preprocessor_config.json").write_text('{"size": 16}')
    assert read_preprocessor(tmp_path, "video_processor") == {"size": 16}
    assert read_preprocessor(tmp_path, "feature_extractor") == {"size": 32}


@pytest.mark.parametrize(("text", "message"), [("{", "is no JSON"), ("[1]", "holds list, not a JSON object")])
def test_a_preprocessor_file_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(A2AError, match=message):
        read_preprocessor(tmp_path, "image_processor")


def test_one_source_of_a_model(tmp_path: Path) -> None:
    table = {"model_type": "bert"}
    check_source(None, table, False, "bert")
    check_source(tmp_path, table, True, "bert")
    for path, config, message in (
        (None, {}, "give `path`, a directory .* or `config`"),
        (tmp_path, table, "not both"),
        (None, {"hidden_size": 8}, 'needs a `model_type`, such as "bert"'),
        (tmp_path, {}, "there is no model at"),
    ):
        with pytest.raises(ValueError, match=message):
            check_source(path, config, False, "bert")


def test_what_config_classes_import_of_it_is_light() -> None:
    code = "import sys, a2a_core.pretrained; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
