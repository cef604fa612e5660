"""The language models alone: Qwen2, Qwen3, Llama, InternLM2, with the rotary scalings their published checkpoints use."""

import shutil

import jinja2.sandbox
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import common
import internlm2
import internvl
import internvl_chat
import tiny_tokenizer
from tiny_tokenizer import write_json

LLAMA3_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def build(name: str, language: str, seed: int, tied: bool, changes: dict, tokenizer: str = "qwen2", dtype=torch.bfloat16,
          cases=("text", "multi-turn")) -> None:  # fmt: skip
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    if tokenizer == "qwen2":
        ids = tiny_tokenizer.qwen2(folder, tiny_tokenizer.QWEN_SPECIALS, {"chat_template": internvl_chat.CHATML})
    elif tokenizer == "llama3":
        ids = tiny_tokenizer.llama3(folder, tiny_tokenizer.LLAMA3_SPECIALS, {"chat_template": LLAMA3_TEMPLATE})
        ids |= {"<|endoftext|>": ids["<|begin_of_text|>"], "<|im_end|>": ids["<|eot_id|>"]}
    else:
        ids = tiny_tokenizer.internlm2(folder, [], {"chat_template": internvl_chat.INTERNLM2_TEMPLATE})
        ids |= {"<|endoftext|>": ids["</s>"]}
    config = internvl.text_config(language, ids, dtype, layers=2) | {"tie_word_embeddings": tied} | changes
    config["transformers_version"] = "4.43.0"
    reference = dict(config)
    is_internlm2 = tokenizer == "internlm2"
    if is_internlm2:
        for key in ("attention_bias", "mlp_bias", "head_dim", "pretraining_tp", "attention_dropout"):
            del config[key]
        config |= {"architectures": ["InternLM2ForCausalLM"], "bias": False, "model_type": "internlm2", "bos_token_id": 1,
                   "auto_map": {"AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM"}}  # fmt: skip
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]], "do_sample": True,
                                                   "temperature": 0.7, "top_p": 0.8, "top_k": 20})  # fmt: skip

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**reference)).float().eval()
    common.randomize(model, seed, tied)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype).float())
    state = dict(model.state_dict())
    if tied:
        del state["lm_head.weight"]
    if is_internlm2:
        state = internlm2.pack(state, config["num_attention_heads"], config["num_key_value_heads"], 16)
    common.write_weights(folder, state, dtype)
    if not is_internlm2:
        model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
        model.eval()
        loaded = AutoTokenizer.from_pretrained(folder)

    recorder = common.Recorder(name, model, model.model, {f"layer.{i}": layer for i, layer in enumerate(model.model.layers)})
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    for case in cases:
        messages = common.TEXT_CASES[case]
        if is_internlm2:
            template = environment.from_string(internvl_chat.INTERNLM2_TEMPLATE)
            prompt = template.render(messages=messages, add_generation_prompt=True, bos_token="<s>")
            token_ids = tiny_tokenizer.internlm2_encode(folder, ids, prompt)
        else:
            prompt = loaded.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            # The template has written BOS already where there is one.
            token_ids = loaded(prompt, add_special_tokens=False).input_ids
        inputs = {"input_ids": torch.tensor([token_ids]), "attention_mask": torch.ones(1, len(token_ids), dtype=torch.int64)}
        recorder.record(case, messages, prompt, inputs, None)
    recorder.write()


def generate(only=None) -> None:
    llama3 = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 64,
              "rope_type": "llama3"}  # fmt: skip
    variants = {
        "qwen2": dict(language="qwen2", seed=41, tied=True, changes={"rope_scaling": None}),
        # long-context variant as Qwen2.5's model card describes it
        "qwen2-yarn": dict(language="qwen2", seed=42, tied=False, cases=("multi-turn",), changes={
            "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 64, "type": "yarn"},
            "max_position_embeddings": 256}),
        "qwen3": dict(language="qwen3", seed=43, tied=True, changes={}),
        "llama3": dict(language="llama", seed=44, tied=True, tokenizer="llama3", changes={
            "rope_theta": 500000.0, "rope_scaling": llama3, "max_position_embeddings": 512}),
        # float32, biases everywhere, linear scaling in the old spelling
        "llama-linear": dict(language="llama", seed=45, tied=False, dtype=torch.float32, cases=("multi-turn",), changes={
            "rope_scaling": {"type": "linear", "factor": 2.0}, "attention_bias": True, "mlp_bias": True,
            "num_hidden_layers": 1}),
        # every layer with a window shorter than the prompt
        "mistral": dict(language="llama", seed=47, tied=False, cases=("text",), changes={
            "model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 12, "head_dim": 16,
            "rope_theta": 10000.0}),
        "internlm2": dict(language="llama", seed=46, tied=False, tokenizer="internlm2", changes={}),
    }  # fmt: skip
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
