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

# As in google/gemma-3-1b-it, for contents that are text.
GEMMA_TEMPLATE = (
    "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}"
    "{%- set loop_messages = messages[1:] -%}{%- else -%}{%- set first_user_prefix = '' -%}{%- set loop_messages = messages -%}"
    "{%- endif -%}{%- for message in loop_messages -%}{%- if (message['role'] == 'assistant') -%}{%- set role = 'model' -%}"
    "{%- else -%}{%- set role = message['role'] -%}{%- endif -%}{{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first"
    " else '') }}{{ message['content'] | trim }}{{ '<end_of_turn>\n' }}{%- endfor -%}{%- if add_generation_prompt -%}"
    "{{ '<start_of_turn>model\n' }}{%- endif -%}"
)


def build(name: str, language: str, seed: int, tied: bool, changes: dict, tokenizer: str = "qwen2", dtype=torch.bfloat16,
          cases=("text", "multi-turn"), layers=2) -> None:  # fmt: skip
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    if tokenizer == "qwen2":
        ids = tiny_tokenizer.qwen2(folder, tiny_tokenizer.QWEN_SPECIALS, {"chat_template": internvl_chat.CHATML})
    elif tokenizer == "llama3":
        ids = tiny_tokenizer.llama3(folder, tiny_tokenizer.LLAMA3_SPECIALS, {"chat_template": LLAMA3_TEMPLATE})
        ids |= {"<|endoftext|>": ids["<|begin_of_text|>"], "<|im_end|>": ids["<|eot_id|>"]}
    elif tokenizer == "gemma":
        ids = tiny_tokenizer.gemma(folder, {"chat_template": GEMMA_TEMPLATE})
        ids |= {"<|endoftext|>": ids["<eos>"], "<|im_end|>": ids["<end_of_turn>"]}
    else:
        ids = tiny_tokenizer.internlm2(folder, [], {"chat_template": internvl_chat.INTERNLM2_TEMPLATE})
        ids |= {"<|endoftext|>": ids["</s>"]}
    config = internvl.text_config(language, ids, dtype, layers=layers) | {"tie_word_embeddings": tied} | changes
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
        if tokenizer == "gemma":
            # Scaled by the root of the width, and its head by none: smaller, so that the layers are heard.
            model.model.embed_tokens.weight.mul_(0.2)
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype).float())
    state = dict(model.state_dict())
    if tied:
        del state["lm_head.weight"]
    if is_internlm2:
        state = internlm2.pack(state, config["num_attention_heads"], config["num_key_value_heads"], 16)
    common.write_weights(folder, state, dtype)
    if not is_internlm2:
        # Other implementations of attention leave the soft cap of Gemma 2 out.
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager" if "gemma2" in name else None, output_loading_info=True
        )
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
        # every other layer with a window shorter than the prompt, both softcaps, as google/gemma-2-2b-it has them
        "gemma2": dict(language="llama", seed=48, tied=True, tokenizer="gemma", changes={
            "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh",
            "hidden_act": "gelu_pytorch_tanh", "query_pre_attn_scalar": 24, "sliding_window": 12, "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0, "rope_theta": 10000.0, "rms_norm_eps": 1e-06}),
        # two local layers, then one that sees everything, as google/gemma-3-270m-it and -1b-it name and order them
        "gemma3_text": dict(language="llama", seed=49, tied=True, tokenizer="gemma", layers=3, changes={
            "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "head_dim": 16,
            "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 24, "sliding_window": 12,
            "sliding_window_pattern": 3, "attn_logit_softcapping": None, "final_logit_softcapping": None, "rope_theta": 1000000.0,
            "rope_local_base_freq": 10000.0, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "rms_norm_eps": 1e-06}),
        "internlm2": dict(language="llama", seed=46, tied=False, tokenizer="internlm2", changes={}),
    }  # fmt: skip
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
