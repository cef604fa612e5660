"""Numbers that transformers 5.17.0 and torch compute for host-side pieces of the models: rotary frequencies of every variant,
window orders of Qwen2.5-VL's tower, resized position tables, and InternVL's features under settings that few checkpoints have.

    OMP_NUM_THREADS=1 python Tools/goldens/layers.py     # writes Tests/Fixtures/layers/golden.json
"""

import json
import pathlib

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, LlamaConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures"
FIXTURE = FIXTURES / "layers" / "golden.json"

BASE = {"hidden_size": 128, "num_attention_heads": 4, "max_position_embeddings": 4096}
FACTORS = {"short_factor": [1 + 0.05 * i for i in range(16)], "long_factor": [1 + 1.5 * i for i in range(16)]}
VARIANTS = {
    "linear": ({"rope_type": "linear", "factor": 4.0}, {}, [0]),
    "linear-old-names": ({"type": "linear", "factor": 2.5}, {}, [0]),
    "dynamic": ({"rope_type": "dynamic", "factor": 2.0}, {}, [100, 4096, 5000, 16384]),
    "llama3": (
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 512}, {"rope_theta": 500000.0}, [0]),
    "yarn": ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}, {"rope_theta": 1000000.0}, [0]),
    "yarn-all": (
        {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 512, "beta_fast": 24, "beta_slow": 2,
         "mscale": 0.9, "mscale_all_dim": 0.7, "truncate": False}, {}, [0]),
    "yarn-attention": ({"rope_type": "yarn", "factor": 2.0, "attention_factor": 1.25}, {}, [0]),
    # Phi-3 keeps the trained length beside the rope parameters.
    "longrope": ({"type": "longrope", **FACTORS}, {"original_max_position_embeddings": 256}, [256, 257]),
    "partial": ({"rope_type": "linear", "factor": 1.0}, {"partial_rotary_factor": 0.5}, [0]),
}  # fmt: skip
GRIDS = [[[1, 8, 12]], [[1, 4, 4], [1, 10, 6]], [[2, 6, 14], [1, 2, 30]]]


def rope() -> list[dict]:
    out = []
    for name, (parameters, extra, lengths) in VARIANTS.items():
        written = BASE | extra | {"rope_scaling": parameters}
        kind = Phi3Config if name == "longrope" else LlamaConfig
        for length in lengths:
            config = kind(**json.loads(json.dumps(written)), **({"pad_token_id": 0} if kind is Phi3Config else {}))
            rope_type = config.rope_parameters["rope_type"]
            frequencies, factor = ROPE_INIT_FUNCTIONS[rope_type](config, None, seq_len=length or None)
            out.append({"name": name, "config": written, "length": length, "attention_factor": factor,
                        "inverse_frequencies": frequencies.tolist()})  # fmt: skip
    return out


def windows() -> list[dict]:
    out = []
    for grids in GRIDS:
        tensor = torch.tensor(grids)
        order, starts = get_vision_window_index(tensor, spatial_merge_size=2, window_size=56, patch_size=14)
        out.append({"grids": grids, "order": order.tolist(), "starts": starts.tolist(),
                    "patches": get_vision_position_ids(tensor, 2).tolist()})  # fmt: skip
    return out


def tables() -> list[dict]:
    torch.manual_seed(5)
    out = []
    for side, new in ((4, 7), (6, 4), (5, 5), (3, 12)):
        table = torch.randn(1, 2, side, side)
        resized = torch.nn.functional.interpolate(table, size=(new, new), mode="bicubic", align_corners=False)
        out.append({"side": side, "new_side": new, "values": table[0].permute(1, 2, 0).flatten().tolist(),
                    "resized": resized[0].permute(1, 2, 0).flatten().tolist()})  # fmt: skip
    return out


def towers() -> list[dict]:
    """The fixture `internvl` with other settings; pixels are a formula that the test repeats."""
    folder = FIXTURES / "models" / "internvl" / "checkpoint"
    out = []
    for size, changes in (
        (84, {}),
        (28, {}),
        (56, {"vision_feature_layer": -2}),
        (56, {"vision_feature_layer": 1}),
    ):
        config = AutoConfig.from_pretrained(folder, **changes)
        model = AutoModelForImageTextToText.from_pretrained(folder, config=config, dtype=torch.float32).eval()
        pixels = ((torch.arange(2 * 3 * size * size) * 7919 % 1009) / 504.5 - 1).view(2, 3, size, size)
        with torch.no_grad():
            features = model.model.get_image_features(pixel_values=pixels, **changes).pooler_output
        out.append({"size": size, "changes": changes, "features": features.flatten().tolist()})
    return out


FIXTURE.parent.mkdir(parents=True, exist_ok=True)
FIXTURE.write_text(json.dumps({"rope": rope(), "windows": windows(), "tables": tables(), "towers": towers()}) + "\n")
