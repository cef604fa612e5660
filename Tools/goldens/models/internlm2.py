"""InternLM2's names and packing. Its forward pass is Llama's, so a Llama model with the same numbers is the reference.

Format: internlm/internlm2-chat-7b, modeling_internlm2.py; also OpenGVLab/InternVL at 0556aa8e, internvl_chat/internvl/model/internlm2.
"""

import torch


def pack(state: dict[str, torch.Tensor], heads: int, groups: int, size: int) -> dict[str, torch.Tensor]:
    """Llama's parameters (`model.*`, `lm_head.*`) under InternLM2's names.

    `wqkv` holds, for each key/value head, its query heads, then its key, then its value:
    `[groups, heads / groups + 2, size, width]` flattened.
    """
    names = {
        "model.embed_tokens.weight": "model.tok_embeddings.weight",
        "lm_head.weight": "output.weight",
        "self_attn.o_proj": "attention.wo",
        "mlp.gate_proj": "feed_forward.w1",
        "mlp.up_proj": "feed_forward.w3",
        "mlp.down_proj": "feed_forward.w2",
        "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    packed = {}
    for name, value in state.items():
        if ".self_attn.q_proj." in name:
            parts = [state[name.replace("q_proj", each)] for each in ("q_proj", "k_proj", "v_proj")]
            query, key, value = (part.view(groups, -1, size, part.shape[-1]) for part in parts)
            assert query.shape[1] == heads // groups
            joined = torch.cat([query, key, value], dim=1).reshape(-1, query.shape[-1])
            packed[name.replace("self_attn.q_proj", "attention.wqkv")] = joined
        elif ".self_attn.k_proj." not in name and ".self_attn.v_proj." not in name:
            for old, new in names.items():
                name = name.replace(old, new)
            packed[name] = value
    return packed
