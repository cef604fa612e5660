"""Times another program on the stages that `vlm bench` times, and prints JSON of the same form.

    python peers.py llama.cpp --model LM.gguf --projector MMPROJ.gguf --image-size 448
    python peers.py openvino --model FOLDER --image-size 448
    python peers.py transformers --model CHECKPOINT --image-size 448

vision: the encoder and connector on one picture that is preprocessed already (OpenVINO GenAI reports it with preprocessing).
prefill: `--prompt-tokens` tokens to the first new token. decode: `--new-tokens` greedy tokens after a prompt of 32, without the first.
first_token: a picture in memory and 32 tokens, preprocessing included, to the first new token.
Every sample has other tokens, from the first on, so that no prefix cache helps; the first sample of each stage is not counted.
"""

import argparse
import ctypes
import json
import os
import random
import resource
import sys
import time
from pathlib import Path


def picture(size: int, run: int = 0):
    """The picture of `vlm bench`, smooth colours with some texture; another one for every run. [height, width, RGB] uint8."""
    import numpy

    y, x = numpy.mgrid[0:size, 0:size]
    return numpy.ascontiguousarray(numpy.stack([255 * x // size, 255 * y // size, (x * y + run) & 255], axis=-1).astype(numpy.uint8))


def token_ids(count: int, run: int, vocabulary: int) -> list[int]:
    """Ordinary tokens, other ones for every run."""
    return random.Random(run * 100_000 + count).choices(range(vocabulary * 9 // 10), k=count)


class LlamaCpp:
    """llama-cpp-python's low-level interface; its mtmd library for pictures."""

    def __init__(self, options) -> None:
        from llama_cpp import llama_cpp, mtmd_cpp

        self.llama, self.mtmd = llama_cpp, mtmd_cpp
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, None)
        if hasattr(mtmd_cpp, "mtmd_helper_log_set"):
            mtmd_cpp.mtmd_helper_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(options.model.encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = 2048
        params.n_batch = 2048
        params.n_threads = params.n_threads_batch = options.threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        assert self.model and self.context, f"{options.model} cannot be loaded"
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.greedy = llama_cpp.llama_sampler_init_greedy()
        settings = mtmd_cpp.mtmd_context_params_default()
        settings.use_gpu = False
        settings.print_timings = False
        settings.n_threads = options.threads
        self.vision_context = mtmd_cpp.mtmd_init_from_file(options.projector.encode(), self.model, settings)
        assert self.vision_context, f"{options.projector} cannot be loaded"
        pixels = picture(options.image_size)
        self.bitmap = mtmd_cpp.mtmd_bitmap_init(
            options.image_size, options.image_size, pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))

    def _image_chunk(self):
        """Preprocesses the picture. Returns the owning list and its one image chunk."""
        m = self.mtmd
        chunks = m.mtmd_input_chunks_init()
        text = m.mtmd_input_text()
        text.text, text.add_special, text.parse_special = m.mtmd_default_marker(), False, True
        if hasattr(text, "text_len"):
            text.text_len = len(text.text)
        bitmaps = (m.mtmd_bitmap_p_ctypes * 1)(self.bitmap)
        assert m.mtmd_tokenize(self.vision_context, chunks, ctypes.byref(text), bitmaps, 1) == 0
        images = [m.mtmd_input_chunks_get(chunks, i) for i in range(m.mtmd_input_chunks_size(chunks))]
        images = [chunk for chunk in images if m.mtmd_input_chunk_get_type(chunk) == m.MTMD_INPUT_CHUNK_TYPE_IMAGE]
        assert len(images) == 1, f"{len(images)} image chunks"
        return chunks, images[0]

    def _feed(self, tokens: list[int]) -> None:
        array = (self.llama.llama_token * len(tokens))(*tokens)
        assert self.llama.llama_decode(self.context, self.llama.llama_batch_get_one(array, len(tokens))) == 0

    def _sample(self) -> int:
        return self.llama.llama_sampler_sample(self.greedy, self.context, -1)

    def _forget(self) -> None:
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)

    def vision(self, run: int) -> float:
        chunks, image = self._image_chunk()
        start = time.perf_counter()
        assert self.mtmd.mtmd_encode_chunk(self.vision_context, image) == 0
        taken = time.perf_counter() - start
        self.mtmd.mtmd_input_chunks_free(chunks)
        return taken

    def prefill(self, run: int, count: int) -> float:
        self._forget()
        start = time.perf_counter()
        self._feed(token_ids(count, run, self.vocabulary))
        self._sample()
        return time.perf_counter() - start

    def decode(self, run: int, count: int) -> float:
        self._forget()
        self._feed(token_ids(32, run, self.vocabulary))
        token = self._sample()
        start = time.perf_counter()
        for _ in range(count - 1):
            self._feed([token])
            token = self._sample()
        return time.perf_counter() - start

    def first_token(self, run: int) -> float:
        self._forget()
        tokens = token_ids(32, run, self.vocabulary)
        position = self.llama.llama_pos(0)
        start = time.perf_counter()
        chunks, image = self._image_chunk()
        self._feed(tokens[:16])
        assert self.mtmd.mtmd_helper_eval_chunk_single(
            self.vision_context, self.context, image, 16, 0, 2048, False, ctypes.byref(position)) == 0
        self._feed(tokens[16:])
        self._sample()
        taken = time.perf_counter() - start
        self.mtmd.mtmd_input_chunks_free(chunks)
        return taken

    def versions(self) -> dict:
        import llama_cpp

        return {"llama-cpp-python": llama_cpp.__version__}


def plain_words(tokenizer_file: Path) -> list[str]:
    """Words that with their leading space are one token each, so that a text of n of them has n tokens."""
    vocabulary = json.loads(tokenizer_file.read_text())["model"]["vocab"]
    return sorted(word[1:] for word in vocabulary if len(word) > 3 and word[0] == "Ġ" and word[1:].isascii() and word[1:].isalpha())


def plain_text(words: list[str], count: int, run: int) -> str:
    return "".join(" " + word for word in random.Random(run * 1000 + count).choices(words, k=count))


class OpenVINO:
    """OpenVINO GenAI's pipelines; for the small model its LLMPipeline beside the vision tower as an OpenVINO model."""

    def __init__(self, options) -> None:
        import numpy
        import openvino
        import openvino_genai

        self.genai, self.openvino = openvino_genai, openvino
        folder = Path(options.model)
        properties = {"INFERENCE_NUM_THREADS": options.threads}
        if options.precision:
            properties["INFERENCE_PRECISION_HINT"] = options.precision
        self.words = plain_words(folder / "tokenizer.json")
        pixels = picture(options.image_size)
        self.separate = (folder / "vision.xml").exists()
        if self.separate:
            self.pipeline = openvino_genai.LLMPipeline(folder, "CPU", **properties)
            self.tower = openvino.compile_model(folder / "vision.xml", "CPU", properties).create_infer_request()
            scaled = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
            self.pixels = numpy.ascontiguousarray(scaled.transpose(2, 0, 1)[None].astype(numpy.float32))
        else:
            self.pipeline = openvino_genai.VLMPipeline(folder, "CPU", **properties)
            # It puts the picture before the text, so another text alone would leave a long prefix to its cache.
            self.images = lambda run: openvino.Tensor(picture(options.image_size, run)[None])

    def _generate(self, prompt: str, new: int, expected: int, image=None):
        config = self.genai.GenerationConfig()
        config.max_new_tokens = new
        config.ignore_eos = True
        config.do_sample = False
        config.apply_chat_template = False
        if image is not None:
            result = self.pipeline.generate(prompt, images=[image], generation_config=config)
        elif self.separate:
            result = self.pipeline.generate([prompt], generation_config=config)
        else:
            result = self.pipeline.generate(prompt, generation_config=config)
        metrics = result.perf_metrics
        given = metrics.get_num_input_tokens()
        assert image is not None or given == expected, f"{given} tokens of the prompt instead of {expected}"
        return metrics

    def vision(self, run: int) -> float:
        if self.separate:
            start = time.perf_counter()
            self.tower.infer([self.pixels])
            return time.perf_counter() - start
        # Its own measure of preparing the embeddings: preprocessing, vision tower and text embeddings.
        metrics = self._generate(plain_text(self.words, 32, run + 100), 1, 32, self.images(run + 100))
        return metrics.get_prepare_embeddings_duration().mean / 1000

    def prefill(self, run: int, count: int) -> float:
        start = time.perf_counter()
        self._generate(plain_text(self.words, count, run), 1, count)
        return time.perf_counter() - start

    def decode(self, run: int, count: int) -> float:
        metrics = self._generate(plain_text(self.words, 32, run + 200), count, 32)
        assert metrics.get_num_generated_tokens() == count
        return metrics.get_tpot().mean / 1000 * (count - 1)

    def first_token(self, run: int) -> float:
        image = None if self.separate else self.images(run + 300)
        start = time.perf_counter()
        if self.separate:
            # The features cannot be handed to this pipeline; as many text tokens stand in for them in the prefill.
            features = self.tower.infer([self.pixels])[0]
            self._generate(plain_text(self.words, 32 + features.shape[-2], run + 300), 1, 32 + features.shape[-2])
        else:
            self._generate(plain_text(self.words, 32, run + 300), 1, 32, image)
        return time.perf_counter() - start

    def versions(self) -> dict:
        return {"openvino": self.openvino.__version__, "openvino-genai": self.genai.__version__}


class Transformers:
    """transformers in bfloat16 with torch's own attention; the plain forward pass, without `generate`."""

    def __init__(self, options) -> None:
        import torch
        import transformers

        self.torch, self.transformers = torch, transformers
        torch.set_num_threads(options.threads)
        torch.set_grad_enabled(False)
        self.model = transformers.AutoModelForImageTextToText.from_pretrained(options.model, dtype=torch.bfloat16).eval()
        self.processor = transformers.AutoImageProcessor.from_pretrained(options.model)
        self.image = torch.from_numpy(picture(options.image_size)).permute(2, 0, 1).contiguous()
        self.config = self.model.config
        self.vocabulary = self.config.text_config.vocab_size
        pixels = self._process()
        features = self._features(pixels)
        self.image_tokens = features.shape[0]

    def _process(self) -> dict:
        inputs = dict(self.processor(images=self.image, return_tensors="pt"))
        inputs.pop("num_patches", None)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.torch.bfloat16)
        return inputs

    def _features(self, pixels: dict):
        output = self.model.get_image_features(**pixels)
        features = getattr(output, "pooler_output", output)
        if isinstance(features, (tuple, list)):
            features = self.torch.cat(list(features))
        return features.reshape(-1, features.shape[-1])

    def _forward(self, tokens: list[int], cache=None, pixels: dict | None = None):
        ids = self.torch.tensor([tokens])
        inputs = {"input_ids": ids, "past_key_values": cache, "use_cache": True, "logits_to_keep": 1} | (pixels or {})
        if pixels and self.config.model_type == "qwen2_vl":
            inputs["mm_token_type_ids"] = (ids == self.config.image_token_id).int()
        output = self.model(**inputs)
        return output.logits[0, -1].argmax().item(), output.past_key_values

    def _tokens(self, count: int, run: int) -> list[int]:
        return [1000 if token >= self.config.image_token_id else token for token in token_ids(count, run, self.vocabulary)]

    def vision(self, run: int) -> float:
        pixels = self._process()
        start = time.perf_counter()
        self._features(pixels)
        return time.perf_counter() - start

    def prefill(self, run: int, count: int) -> float:
        start = time.perf_counter()
        self._forward(self._tokens(count, run))
        return time.perf_counter() - start

    def decode(self, run: int, count: int) -> float:
        token, cache = self._forward(self._tokens(32, run))
        start = time.perf_counter()
        for _ in range(count - 1):
            token, cache = self._forward([token], cache)
        return time.perf_counter() - start

    def first_token(self, run: int) -> float:
        tokens = self._tokens(32, run)
        start = time.perf_counter()
        prompt = tokens[:16] + [self.config.image_token_id] * self.image_tokens + tokens[16:]
        self._forward(prompt, pixels=self._process())
        return time.perf_counter() - start

    def versions(self) -> dict:
        return {"transformers": self.transformers.__version__, "torch": self.torch.__version__}


PEERS = {"llama.cpp": LlamaCpp, "openvino": OpenVINO, "transformers": Transformers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--model", required=True)
    parser.add_argument("--projector", help="llama.cpp's second file")
    parser.add_argument("--precision", help="OpenVINO's INFERENCE_PRECISION_HINT, its default if left out")
    parser.add_argument("--image-size", type=int, default=448)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    # What libraries print while they load goes to standard error; the JSON is alone on standard output.
    output = os.dup(1)
    os.dup2(2, 1)
    start = time.perf_counter()
    peer = PEERS[options.peer](options)
    result = {"peer": options.peer, "versions": peer.versions(), "threads": options.threads, "load_seconds": time.perf_counter() - start}
    stages = {
        "vision": peer.vision,
        "prefill": lambda run: peer.prefill(run, options.prompt_tokens),
        "decode": lambda run: peer.decode(run, options.new_tokens),
        "first_token": peer.first_token,
    }
    for name, stage in stages.items():
        seconds = sorted([stage(run) for run in range(options.runs + 1)][1:])
        result[name] = {"median_seconds": seconds[len(seconds) // 2], "seconds": seconds}
    result["decode"]["tokens_per_second"] = (options.new_tokens - 1) / result["decode"]["median_seconds"]
    result["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    os.write(output, (json.dumps(result, indent=2) + "\n").encode())
    # Some of the libraries crash when Python takes them apart in its own order.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
