"""Gemma 3 with images, named as google/gemma-3-4b-it is (`Gemma3ForConditionalGeneration`)."""

import shutil

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

import common
import llava
import text_models
import tiny_tokenizer
from tiny_tokenizer import write_json

TILE, PATCH = 56, 7
# As in google/gemma-3-4b-it.
TEMPLATE = text_models.GEMMA_TEMPLATE.replace(
    "{{ message['content'] | trim }}",
    "{%- if message['content'] is string -%}{{ message['content'] | trim }}{%- elif message['content'] is iterable -%}"
    "{%- for item in message['content'] -%}{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}"
    "{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}{%- endif -%}",
)


def build(name: str, seed: int, cases, saved_again=False) -> None:
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    marks = ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
    named = {"boi_token": marks[0], "eoi_token": marks[1], "image_token": marks[2]}
    ids = tiny_tokenizer.gemma(folder, {"processor_class": "Gemma3Processor", "extra_special_tokens": named} | named, marks)
    write_json(
        folder / "config.json",
        {
            "architectures": ["Gemma3ForConditionalGeneration"],
            "boi_token_index": ids[marks[0]],
            "eoi_token_index": ids[marks[1]],
            "eos_token_id": [ids["<eos>"], ids["<end_of_turn>"]],
            "image_token_index": ids[marks[2]],
            "initializer_range": 0.02,
            "mm_tokens_per_image": 16,
            "model_type": "gemma3",
            "text_config": {
                "head_dim": 16, "hidden_size": 48, "intermediate_size": 96, "max_position_embeddings": 2048,
                "model_type": "gemma3_text", "num_attention_heads": 3, "num_hidden_layers": 3, "num_key_value_heads": 1,
                "query_pre_attn_scalar": 24, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 24,
                "sliding_window_pattern": 3, "vocab_size": 384,
            },
            "torch_dtype": "bfloat16",
            "transformers_version": "4.50.0.dev0",
            "vision_config": llava.vision_config("siglip", TILE) | {"patch_size": PATCH},
        },
    )  # fmt: skip
    write_json(folder / "preprocessor_config.json", {
        "do_convert_rgb": None, "do_normalize": True, "do_pan_and_scan": None, "do_rescale": True, "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "Gemma3ImageProcessor", "image_seq_length": 16,
        "image_std": [0.5, 0.5, 0.5], "pan_and_scan_max_num_crops": None, "pan_and_scan_min_crop_size": None,
        "pan_and_scan_min_ratio_to_activate": None, "processor_class": "Gemma3Processor", "resample": 2,
        "rescale_factor": 0.00392156862745098, "size": {"height": TILE, "width": TILE}})  # fmt: skip
    write_json(folder / "processor_config.json", {"image_seq_length": 16, "processor_class": "Gemma3Processor"})
    write_json(folder / "chat_template.json", {"chat_template": TEMPLATE})
    write_json(folder / "generation_config.json", {"bos_token_id": 2, "do_sample": True, "eos_token_id": [1, ids["<end_of_turn>"]],
                                                   "pad_token_id": 0, "top_k": 64, "top_p": 0.95})  # fmt: skip

    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder)).eval()
    common.randomize(model, seed, tied=True)
    with torch.no_grad():
        model.model.language_model.embed_tokens.weight.mul_(0.2)
        projection = model.model.multi_modal_projector.mm_input_projection_weight
        projection.copy_(torch.randn(projection.shape, generator=torch.Generator().manual_seed(seed)) * 0.2)
    state = {llava.hub_name(key): value for key, value in model.state_dict().items()}
    del state["language_model.lm_head.weight"]
    common.write_weights(folder, state, torch.bfloat16)
    if saved_again:
        common.save_again(folder, new_names=True)
    model, report = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    model.eval()
    processor = AutoProcessor.from_pretrained(folder)
    recorder = common.Recorder(name, model, model.model.language_model, {})
    for case in cases:
        messages = (common.TEXT_CASES if case == "text" else common.IMAGE_CASES)[case]
        prompt = processor.apply_chat_template(common.for_template(messages), add_generation_prompt=True, tokenize=False)
        pictures = [common.picture(each) for each in common.image_names(messages)]
        inputs = processor(text=[prompt], images=[pictures] if pictures else None, return_tensors="pt", add_special_tokens=False)
        recorder.record(case, messages, prompt, dict(inputs), ids[marks[2]], case == "one-image")
    recorder.write({})


def generate(only=None) -> None:
    variants = {
        "gemma3": dict(seed=61, cases=("one-image", "several-images", "multi-turn", "text")),
        "gemma3-transformers5": dict(seed=62, cases=("one-image",), saved_again=True),
    }
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
