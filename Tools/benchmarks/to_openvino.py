"""Converts the small checkpoint of make_checkpoints.py for OpenVINO, whose exporters do not know it as a whole.

    python to_openvino.py CHECKPOINT OUT

OUT gets the language model as OpenVINO GenAI's LLMPipeline reads it, and vision.xml: the vision tower and the connector. Both are
stored in float16, as `optimum-cli export openvino --weight-format fp16` does. The 2B checkpoint needs only that command.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import openvino
import torch
from optimum.exporters.openvino import main_export
from optimum.intel import OVConfig
from transformers import AutoModelForImageTextToText, LlamaForCausalLM


class Tower(torch.nn.Module):
    def __init__(self, model) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        output = self.model.get_image_features(pixel_values=pixel_values)
        return getattr(output, "pooler_output", output)


def main() -> None:
    checkpoint, out = Path(sys.argv[1]), Path(sys.argv[2])
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32).eval()
    with tempfile.TemporaryDirectory() as temporary:
        language = LlamaForCausalLM(model.config.text_config)
        language.model.load_state_dict(model.model.language_model.state_dict())
        language.tie_weights()
        language.save_pretrained(temporary)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(checkpoint / name, temporary)
        main_export(temporary, out, task="text-generation-with-past", ov_config=OVConfig(dtype="fp16"))
    side = model.config.vision_config.image_size[0]
    with torch.no_grad():
        vision = openvino.convert_model(Tower(model), example_input=torch.zeros(1, 3, side, side), input=[(1, 3, side, side)])
    openvino.save_model(vision, out / "vision.xml", compress_to_fp16=True)


if __name__ == "__main__":
    main()
