"""Trains the demo model from nothing within a wall-clock budget.

Usage: train.py DATA CHECKPOINT --seconds 1260 [--workers 15] [--patches 100000] ...

CHECKPOINT is a checkpoint.py folder: its configuration and tokenizer are used, and its weights are replaced by the trained ones
every minute. DATA is a prepare_fonts.py folder. The learning rate follows the clock: short warm-up, flat, then linear to zero at
the deadline. Matrices are trained by Muon (momentum, then five Newton-Schulz steps), the rest by AdamW; the weights are kept in
float32 beside the bfloat16 copy that runs.
"""

import argparse
import collections
import math
import os
import pathlib
import queue
import threading
import time

import torch
import torch.nn.functional as F
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from checkpoint import random_model, save
from data import Source
from fast import Fast, to_device


def orthogonalize(g):
    """The nearest (semi-)orthogonal matrices of g [K, R, C] by five quintic Newton-Schulz steps (Jordan et al., Muon)."""
    x = g.to(torch.bfloat16) if g.is_cuda else g
    flip = x.shape[1] > x.shape[2]
    if flip:
        x = x.transpose(1, 2)
    x = x / (x.float().norm(dim=(1, 2), keepdim=True).to(x.dtype) * 1.01 + 1e-7)
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.transpose(1, 2) if flip else x).float()


class Optimizer:
    def __init__(self, model, matrix_rate, rate, decay):
        self.matrix_rate, self.rate, self.decay = matrix_rate, rate, decay
        groups, rest = {}, []
        for name, p in model.named_parameters():
            if p.ndim == 2 and "embed" not in name and "lm_head" not in name:
                # The fused query-key-value matrix is three matrices.
                pieces = [(p, i, p.shape[0] // 3) for i in range(3)] if "qkv" in name else [(p, 0, p.shape[0])]
                for piece in pieces:
                    groups.setdefault((piece[2], p.shape[1]), []).append(piece)
            else:
                rest.append(p)
        self.groups = []
        for (r, c), pieces in groups.items():
            master = torch.stack([p.detach()[i * n : (i + 1) * n].float() for p, i, n in pieces])
            self.groups.append((pieces, master, torch.zeros_like(master), 0.2 * math.sqrt(max(r, c))))
        self.rest = rest
        self.masters = [p.detach().float().clone() for p in rest]
        self.adam = torch.optim.AdamW(self.masters, lr=rate, betas=(0.9, 0.98), eps=1e-10, weight_decay=0.0, fused=self.masters[0].is_cuda)

    @torch.no_grad()
    def step(self, factor, momentum):
        for p in [*self.rest, *(p for pieces, *_ in self.groups for p, *_ in pieces)]:
            if p.grad is None:  # a batch without pictures
                p.grad = torch.zeros_like(p)
        for pieces, master, buffer, scale in self.groups:
            grad = torch.stack([p.grad[i * n : (i + 1) * n] for p, i, n in pieces]).float().nan_to_num_(0.0, 0.0, 0.0)
            buffer.lerp_(grad, 1 - momentum)
            update = orthogonalize(grad.lerp_(buffer, momentum))
            master.mul_(1 - factor * self.matrix_rate * self.decay).add_(update, alpha=-factor * self.matrix_rate * scale)
            torch._foreach_copy_([p.data[i * n : (i + 1) * n] for p, i, n in pieces], list(master.unbind(0)))
        grads = [p.grad.float().nan_to_num_(0.0, 0.0, 0.0) for p in self.rest]
        norm = torch.stack(torch._foreach_norm(grads)).norm()
        torch._foreach_mul_(grads, (1.0 / (norm + 1e-6)).clamp(max=1.0))
        for master, grad in zip(self.masters, grads):
            master.grad = grad
        for group in self.adam.param_groups:
            group["lr"] = self.rate * factor
        self.adam.step()
        torch._foreach_copy_([p.data for p in self.rest], self.masters)
        return norm


class Loader(threading.Thread):
    """Brings chunks to the device on a stream of its own, ahead of their use."""

    def __init__(self, source, device, depth=6):
        super().__init__(daemon=True)
        self.source, self.device = source, device
        self.ready = queue.Queue(depth)
        self.stream = torch.cuda.Stream() if device == "cuda" else None
        self.staging = {}

    def move(self, array, index):
        if self.device != "cuda":
            return torch.from_numpy(array.copy())
        flat = torch.from_numpy(array.reshape(-1))
        if index not in self.staging or self.staging[index].numel() < flat.numel():
            self.staging[index] = torch.empty(int(flat.numel() * 1.2), dtype=torch.uint8, pin_memory=True)
        host = self.staging[index][: flat.numel()]
        host.copy_(flat)
        return host.to(self.device, non_blocking=True).view(array.shape)

    def run(self):
        while True:
            chunk = next(self.source)
            if self.stream:
                with torch.cuda.stream(self.stream):
                    pictures = [self.move(p, i) for i, p in enumerate(chunk["pictures"])]
                    batches = [to_device(chunk, v, self.device) for v in range(len(chunk["texts"]))]
                self.stream.synchronize()
            else:
                pictures = [self.move(p, i) for i, p in enumerate(chunk["pictures"])]
                batches = [to_device(chunk, v, self.device) for v in range(len(chunk["texts"]))]
            self.source.release(chunk)
            self.ready.put((chunk["kind"], pictures, batches))


def use(tensors, stream):
    for t in tensors:
        if isinstance(t, (list, tuple)):
            use(t, stream)
        else:
            t.record_stream(stream)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("checkpoint")
    parser.add_argument("--seconds", type=float, default=1260)
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--patches", type=int, default=100000)
    parser.add_argument("--length", type=int, default=192)
    parser.add_argument("--matrix-rate", type=float, default=3e-3)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--compile", choices=["auto", "off"], default="auto")
    parser.add_argument("--slots", type=int, default=3)
    parser.add_argument("--from-progress", type=float, default=0.0, help="go on from the weights in CHECKPOINT, this part of the training being done")
    parser.add_argument("--deadline-file", help="a file that may hold a new deadline, in seconds since 1970")
    options = parser.parse_args()
    folder = pathlib.Path(options.checkpoint)

    source = Source((options.data, folder / "tokenizer.json", options.patches, options.length), options.workers, seed=os.environ.get("SEED", "1"), views=2, slots_each=options.slots)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.from_progress:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    else:
        model = random_model(Qwen2_5_VLConfig.from_pretrained(folder))
        for name, p in model.named_parameters():
            if any(key in name for key in ("attn.proj.weight", "o_proj.weight", "down_proj.weight")):
                p.data.mul_(0.2)
    model.to(device)
    torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for every shape
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    optimizer = Optimizer(model, options.matrix_rate, options.rate, options.decay)
    model.to(dtype)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}M parameters, {device}, torch {torch.__version__}", flush=True)

    loader = Loader(source, device)
    loader.start()

    def loss_of(fast, item, view):
        kind, pictures, batches = item
        if device == "cuda":
            use([pictures, *[[t if not isinstance(t, list) else t for t in b.values()] for b in batches]], torch.cuda.current_stream())
        logits, target = fast.answers(pictures, batches[view])
        logits = logits.float()
        weight = batches[view]["weight"]
        loss = (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()
        return loss, (logits.detach().argmax(-1) == target).float().mean()

    fast = Fast(model)
    if options.compile == "auto" and device == "cuda":
        items = [loader.ready.get() for _ in range(3)]
        def timed(candidate, repeat):
            torch.cuda.synchronize()
            begun = time.time()
            total = 0.0
            for _ in range(repeat):
                for item in items:
                    loss, _ = loss_of(candidate, item, 0)
                    loss.backward()
                    total += loss.detach()
            torch.cuda.synchronize()
            model.zero_grad(set_to_none=True)
            return (time.time() - begun) / repeat / len(items), float(total) / repeat / len(items)
        timed(fast, 1)
        plain, plain_loss = timed(fast, 2)
        print(f"uncompiled: {plain * 1e3:.1f} ms a chunk, loss {plain_loss:.5f}", flush=True)
        try:
            begun = time.time()
            compiled = Fast(model, compile=True)
            timed(compiled, 1)
            print(f"compiled in {time.time() - begun:.1f} s", flush=True)
            quick, quick_loss = timed(compiled, 2)
            print(f"compiled: {quick * 1e3:.1f} ms a chunk, loss {quick_loss:.5f}", flush=True)
            if quick < plain and abs(quick_loss - plain_loss) < 0.02:
                fast = compiled
        except Exception as error:
            print("compilation failed, going on without:", repr(error)[:600], flush=True)

    began, deadline = time.time(), time.time() + options.seconds
    step = pictures_seen = answers_seen = chunks = reused = 0
    old = collections.deque(maxlen=48)
    recent = collections.defaultdict(lambda: collections.deque(maxlen=100))
    last_log = last_save = began
    logged_pictures = 0
    pending = []
    while True:
        now = time.time()
        progress = options.from_progress + (1 - options.from_progress) * (now - began) / (deadline - began)
        source.progress.value = min(1.0, progress)
        if progress >= 1:
            break
        done = False
        while not done:
            view = 0
            try:
                item = loader.ready.get_nowait()
            except queue.Empty:
                if old:
                    item, view = old.popleft(), 1
                    reused += 1
                else:
                    item = loader.ready.get()
            loss, accuracy = loss_of(fast, item, view)
            # A batch without pictures rides along with one that has some: a step of its own would pull too hard.
            chat = item[0] == "chat"
            (loss * (0.3 if chat else 1.0)).backward()
            done = not chat
            if view == 0:
                old.append(item)
            pending.append((item[0], loss.detach(), accuracy))
            chunks += 1
            pictures_seen += sum(len(p) for p in item[1])
            answers_seen += int(item[2][view]["target"].numel())
        factor = min(1.0, (step + 1) / 150) * min(1.0, max(0.0, 1 - progress) / 0.6 + 0.0005)
        norm = optimizer.step(factor, 0.85 + 0.1 * min(1.0, step / 300))
        model.zero_grad(set_to_none=True)
        step += 1
        if now - last_log > (5 if now - began < 60 else 15):
            for kind, value, right in pending:
                recent[kind].append((value.item(), right.item()))
            pending = []
            text = "  ".join(f"{k} {sum(v for v, _ in r) / len(r):.4f} {sum(a for _, a in r) / len(r):.4f}" for k, r in sorted(recent.items()))
            recent.clear()
            print(f"{now - began:7.1f} s  step {step}  {pictures_seen / 1e3:.0f}k pictures  {(pictures_seen - logged_pictures) / (time.time() - last_log):.0f}/s  reused {reused / chunks:.2f}"
                  f"  waited {source.waited:.0f}  rate {factor:.3f}  norm {norm.item():.2f}  |  {text}", flush=True)
            last_log, logged_pictures = time.time(), pictures_seen
            try:
                if options.deadline_file and os.path.exists(options.deadline_file):
                    deadline = float(open(options.deadline_file).read())
            except ValueError:
                pass
        if now - last_save > 60:
            last_save = now
            write(model, folder)
    write(model, folder)
    (folder / "training.txt").write_text(f"{time.time() - began:.0f} seconds, {step} steps, {pictures_seen} pictures shown ({reused / chunks:.2f} of the chunks a second time), {answers_seen} answer tokens\n")
    print("finished", (folder / "training.txt").read_text(), flush=True)
    for process in source.processes:
        process.kill()
    os._exit(0)


def write(model, folder):
    staging = folder / "staging"
    staging.mkdir(exist_ok=True)
    save(model, staging)
    os.replace(staging / "model.safetensors", folder / "model.safetensors")


if __name__ == "__main__":
    main()
