"""Idefics3 and SmolVLM (`Idefics3ForConditionalGeneration`, `SmolVLMForConditionalGeneration`), named as HuggingFaceM4/Idefics3-8B-Llama3
and HuggingFaceTB/SmolVLM-256M-Instruct are.

Pictures go through the processors' Pillow backend: torchvision older than 0.27 has no Lanczos, and transformers takes bicubic in its place.
"""

import shutil

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

import common
import llava
import tiny_tokenizer
from tiny_tokenizer import write_json

# As in HuggingFaceTB/SmolVLM-256M-Instruct; Idefics3's begins with its own BOS.
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}"
    "{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
TILE, PATCH = 56, 14
TAGS = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
SPECIALS = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"] + TAGS


def build(name: str, model_type: str, seed: int, cases, tile: int, patch: int, longest: int, scale: int, tied: bool) -> None:
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    smol = model_type == "smolvlm"
    kind = "SmolVLM" if smol else "Idefics3"
    if smol:
        ids = tiny_tokenizer.qwen2(
            folder, tiny_tokenizer.QWEN_SPECIALS[:3] + SPECIALS, {"processor_class": "SmolVLMProcessor"}, base_vocabulary=330)
        ids |= {"<bos>": ids["<|im_start|>"], "<eos>": ids["<end_of_utterance>"]}
    else:
        ids = tiny_tokenizer.llama3(
            folder, tiny_tokenizer.LLAMA3_SPECIALS + SPECIALS, {"processor_class": "Idefics3Processor"}, base_vocabulary=330)
        ids |= {"<bos>": ids["<|begin_of_text|>"], "<eos>": ids["<end_of_utterance>"]}
    tokens = (tile // patch // scale) ** 2
    write_json(
        folder / "config.json",
        {
            "architectures": [f"{kind}ForConditionalGeneration"],
            "image_token_id": ids["<image>"],
            "model_type": model_type,
            "scale_factor": scale,
            "text_config": llava.text_config("llama", ids) | {"num_key_value_heads": 1, "rope_theta": 100000, "head_dim": 16,
                                                              "vocab_size": 384, "tie_word_embeddings": tied},
            "tie_word_embeddings": tied,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.46.0",
            "vision_config": {"hidden_size": 32, "image_size": tile, "intermediate_size": 56, "model_type": f"{model_type}_vision",
                              "num_attention_heads": 2, "num_hidden_layers": 2, "patch_size": patch},
        },
    )  # fmt: skip
    write_json(
        folder / "preprocessor_config.json",
        {"do_convert_rgb": True, "do_image_splitting": True, "do_normalize": True, "do_pad": True, "do_rescale": True,
         "do_resize": True, "image_mean": [0.5, 0.5, 0.5], "image_processor_type": f"{kind}ImageProcessor",
         "image_std": [0.5, 0.5, 0.5], "max_image_size": {"longest_edge": tile}, "processor_class": f"{kind}Processor", "resample": 1,
         "rescale_factor": 0.00392156862745098, "size": {"longest_edge": longest}},
    )  # fmt: skip
    write_json(folder / "processor_config.json", {"image_seq_len": tokens, "processor_class": f"{kind}Processor"})
    (folder / "chat_template.jinja").write_text(TEMPLATE if smol else TEMPLATE.replace("<|im_start|>", "<|begin_of_text|>"))
    write_json(folder / "generation_config.json", {"_from_model_config": True, "bos_token_id": ids["<bos>"],
                                                   "eos_token_id": ids["<eos>"], "transformers_version": "4.46.0"})  # fmt: skip

    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder)).float().eval()
    common.randomize(model, seed, tied)
    state = dict(model.state_dict())
    if tied:
        del state["lm_head.weight"]
    common.write_weights(folder, state, torch.bfloat16)
    model, report = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    model.eval()
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    assert "Pil" in type(processor.image_processor).__name__, type(processor.image_processor)
    recorder = common.Recorder(name, model, model.model.text_model, {})
    for case in cases:
        messages = common.IMAGE_CASES[case]
        prompt = processor.apply_chat_template(
            llava.as_parts(common.for_template(messages)), add_generation_prompt=True, tokenize=False)
        pictures = [common.picture(each) for each in common.image_names(messages)]
        # As apply_chat_template does for a template that writes BOS itself.
        begins = not smol
        inputs = processor(text=[prompt], images=pictures or None, return_tensors="pt", add_special_tokens=not begins)
        recorder.record(case, messages, prompt, dict(inputs), ids["<image>"], case == "one-image")
    recorder.write()


def generate(only=None) -> None:
    variants = {
        "smolvlm": dict(model_type="smolvlm", seed=61, cases=("one-image", "several-images", "multi-turn", "text"), tile=TILE,
                        patch=PATCH, longest=2 * TILE, scale=2, tied=True),
        # pictures no larger than a tile are not split
        "idefics3": dict(model_type="idefics3", seed=62, cases=("several-images",), tile=84, patch=14, longest=84, scale=3, tied=False),
    }  # fmt: skip
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
