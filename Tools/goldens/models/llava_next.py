"""LLaVA-NeXT in Hugging Face form (`LlavaNextForConditionalGeneration`), named as llava-hf/llava-v1.6-mistral-7b-hf and
llava-hf/llava-v1.6-vicuna-7b-hf are."""

import shutil

import common
import llava
from llava import PATCH, TILE
from tiny_tokenizer import write_json

# As in llava-hf/llava-v1.6-mistral-7b-hf.
MISTRAL_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ '<<SYS>>\n' + message['content'][0]['text'] + '\n<</SYS>>\n\n' }}"
    "{% elif message['role'] == 'user' %}{{ '[INST] ' }}{# Render all images first #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{# Render all text next #}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] }}{% endfor %}{{' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'][0]['text'] + '</s> '}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"
    "{% endif %}{% endfor %}"
)
CANVASES = [[TILE, 2 * TILE], [2 * TILE, TILE], [2 * TILE, 2 * TILE], [3 * TILE, TILE], [TILE, 3 * TILE]]


def build(name: str, language: str, seed: int, template: str, cases, saved_again=False) -> None:
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    ids = llava.write_tokenizer(folder, language, "LlavaNextProcessor")
    write_json(
        folder / "config.json",
        {
            "architectures": ["LlavaNextForConditionalGeneration"],
            "ignore_index": -100,
            "image_grid_pinpoints": CANVASES,
            "image_token_index": ids["<image>"],
            "model_type": "llava_next",
            "projector_hidden_act": "gelu",
            "text_config": llava.text_config(language, ids),
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
            "transformers_version": "4.39.0.dev0",
            "use_image_newline_parameter": True,
            "vision_config": llava.vision_config("clip"),
            "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default",
        },
    )
    write_json(
        folder / "preprocessor_config.json",
        llava.preprocessor("clip", "LlavaNextProcessor")
        | {"aspect_ratio_setting": "anyres", "do_pad": True, "image_grid_pinpoints": CANVASES,
           "image_processor_type": "LlavaNextImageProcessor"},
    )  # fmt: skip
    write_json(
        folder / "processor_config.json",
        {"image_token": "<image>", "num_additional_image_tokens": 1, "patch_size": PATCH, "processor_class": "LlavaNextProcessor",
         "vision_feature_select_strategy": "default"},
    )  # fmt: skip
    (folder / "chat_template.jinja").write_text(template)
    write_json(folder / "generation_config.json", {"_from_model_config": True, "bos_token_id": ids["<bos>"],
                                                   "eos_token_id": ids["<eos>"], "transformers_version": "4.39.0.dev0"})  # fmt: skip
    tower = "model.vision_tower" if saved_again else "vision_tower.vision_model"
    unused = [f"{tower}.post_layernorm", f"{tower}.encoder.layers.2"]
    llava.finish(name, folder, seed, False, cases, ids["<image>"], unused, saved_again, dtype=llava.torch.float16)


def generate(only=None) -> None:
    variants = {
        "llava_next": dict(language="mistral", seed=51, template=MISTRAL_TEMPLATE,
                           cases=("one-image", "several-images", "multi-turn", "text")),
        "llava_next-transformers5": dict(language="llama", seed=52, template=llava.TEMPLATE, cases=("multi-turn",), saved_again=True),
    }  # fmt: skip
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
