"""A batched forward pass over transformers' Qwen2.5-VL parameters, for training.

A batch holds pictures of one grid (or one pair of grids), so that attention runs over whole batches; transformers loops over
pictures and windows. Patches are ordered by window, and windows by shape, which changes nothing but speed. Several question and
answer segments share one picture: a segment sees the picture and itself. `test_fast.py` compares this with transformers.
"""

import functools

import torch
import torch.fx.experimental._config
import torch.nn.functional as F

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@functools.lru_cache(maxsize=None)
def window_order(a, b, side=4):
    """Order of an a times b grid of merged patches by window, windows of one shape together; and [(windows, units a window)]."""
    classes = {}
    for y in range(0, a, side):
        for x in range(0, b, side):
            units = [i * b + j for i in range(y, min(a, y + side)) for j in range(x, min(b, x + side))]
            classes.setdefault((min(side, a - y), min(side, b - x)), []).append(units)
    order = [u for windows in classes.values() for units in windows for u in units]
    return order, [(len(windows), len(windows[0])) for windows in classes.values()]


class Layout:
    """Index and rotary tables of one grid on a device."""

    def __init__(self, a, b, head_dim, device, dtype):
        order, classes = window_order(a, b)
        self.a, self.b, self.classes = a, b, classes
        self.order = torch.tensor(order, device=device)
        self.inverse = torch.argsort(self.order)
        unit = torch.tensor([[2 * (u // b) + i, 2 * (u % b) + j] for u in order for i in (0, 1) for j in (0, 1)], dtype=torch.float32)
        freqs = 1.0 / (10000.0 ** (torch.arange(0, head_dim // 2, 2, dtype=torch.float32) / (head_dim // 2)))
        angle = torch.cat([unit[:, :1] * freqs, unit[:, 1:] * freqs], dim=1)
        angle = torch.cat([angle, angle], dim=1)
        self.cos, self.sin = angle.cos().to(device, dtype), angle.sin().to(device, dtype)


class Permute(torch.autograd.Function):
    """x[:, order], whose gradient is a gather too."""

    @staticmethod
    def forward(ctx, x, order, inverse):
        ctx.save_for_backward(inverse)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx, grad):
        return grad.index_select(1, ctx.saved_tensors[0]), None, None


def rms_norm(x, weight, eps):
    y = x.float()
    return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    y = x.float()
    return (y * cos.float() + torch.cat([-y[..., half:], y[..., :half]], dim=-1) * sin.float()).to(x.dtype)


def vision_before(x, norm, qkv_w, qkv_b, cos, sin, heads):
    """x [B, N, C] to q, k, v [B, N, H, D]."""
    y = F.linear(rms_norm(x, norm, 1e-6), qkv_w, qkv_b)
    y = y.view(x.shape[0], x.shape[1], 3, heads, -1)
    c, s = cos[None, :, None, :], sin[None, :, None, :]
    return rotate(y[:, :, 0], c, s), rotate(y[:, :, 1], c, s), y[:, :, 2]


def text_before(x, norm, q_w, q_b, k_w, k_b, v_w, v_b, cos, sin, heads, kv_heads):
    """x [B, L, C] to q, k, v [B, L, H, D], keys and values repeated for their groups of queries; cos, sin [B, L, D]."""
    y = rms_norm(x, norm, 1e-6)
    b, l = x.shape[0], x.shape[1]
    q = F.linear(y, q_w, q_b).view(b, l, heads, -1)
    k = F.linear(y, k_w, k_b).view(b, l, kv_heads, -1)
    v = F.linear(y, v_w, v_b).view(b, l, kv_heads, -1)
    c, s = cos[:, :, None, :], sin[:, :, None, :]
    q, k = rotate(q, c, s), rotate(k, c, s)
    n = heads // kv_heads
    d = q.shape[-1]
    k = k[:, :, :, None, :].expand(b, l, kv_heads, n, d).reshape(b, l, heads, d)
    v = v[:, :, :, None, :].expand(b, l, kv_heads, n, d).reshape(b, l, heads, d)
    return q, k, v


def vision_after(x, y, proj_w, proj_b, norm, gate_w, gate_b, up_w, up_b, down_w, down_b):
    x = x + F.linear(y, proj_w, proj_b)
    y = rms_norm(x, norm, 1e-6)
    return x + F.linear(F.silu(F.linear(y, gate_w, gate_b)) * F.linear(y, up_w, up_b), down_w, down_b)


def text_after(x, y, o_w, norm, gate_w, up_w, down_w):
    x = x + F.linear(y, o_w)
    y = rms_norm(x, norm, 1e-6)
    return x + F.linear(F.silu(F.linear(y, gate_w)) * F.linear(y, up_w), down_w)


def attend(q, k, v, mask=None):
    """[B, N, H, D] each; returns [B, N, H·D]."""
    y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
    return y.transpose(1, 2).reshape(q.shape[0], q.shape[1], -1)


def attend_windows(q, k, v, classes):
    if len(classes) == 1:
        parts = [(q, k, v)]
    else:
        sizes = [4 * n * units for n, units in classes]
        parts = zip(*(torch.split(t, sizes, dim=1) for t in (q, k, v)))
    out = []
    for (n, units), part in zip(classes, parts):
        b, _, h, d = part[0].shape
        y = attend(*(t.reshape(b * n, 4 * units, h, d) for t in part))
        out.append(y.view(b, n * 4 * units, h * d))
    return out[0] if len(out) == 1 else torch.cat(out, dim=1)


def compiled(function):
    """The function compiled once for all batch sizes and lengths."""
    quick = torch.compile(function)
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]

    def call(*values):
        for name, value in zip(arguments, values):
            if name in ("x", "y"):
                torch._dynamo.maybe_mark_dynamic(value, (0, 1))
            elif name in ("cos", "sin"):
                torch._dynamo.maybe_mark_dynamic(value, tuple(range(value.ndim - 1)))
        return quick(*values)

    return call


def to_device(chunk, view, device):
    """A chunk's text arrays as tensors for `Fast.answers`."""
    arrays = chunk["texts"][view]
    batch = {k: torch.from_numpy(v).to(device, non_blocking=True) for k, v in arrays.items()}
    batch = {k: v if v.dtype in (torch.bool, torch.float32) else v.long() for k, v in batch.items()}
    batch["head"], batch["end"] = torch.tensor(chunk["head"], device=device), torch.tensor(chunk["end"], device=device)
    batch["gaps"] = [torch.tensor(g, device=device) for g in chunk["gaps"]]
    return batch


class Fast:
    """Runs transformers' parameters; `functions` may be compiled versions of the functions above."""

    def __init__(self, model, compile=False):
        self.model = model
        self.config = model.config
        self.layouts = {}
        self.constants = {}
        self.functions = {f.__name__: f for f in (vision_before, vision_after, text_before, text_after)}
        if compile:
            # Sizes that happen to be equal in one batch are not equal in the next.
            torch.fx.experimental._config.use_duck_shape = False
            self.functions = {n: compiled(f) for n, f in self.functions.items()}

    def layout(self, a, b, device):
        if (a, b) not in self.layouts:
            vision = self.config.vision_config
            self.layouts[a, b] = Layout(a, b, vision.hidden_size // vision.num_heads, device, torch.float32)
        return self.layouts[a, b]

    def vision(self, pixels):
        """uint8 pixels [B, H, W, 3] of one size to picture tokens [B, H·W / 784, C] in raster order."""
        tower, config = self.model.model.visual, self.config.vision_config
        batch, height, width, _ = pixels.shape
        a, b = height // 28, width // 28
        grid = self.layout(a, b, pixels.device)
        x = pixels.view(batch, a, 2, 14, b, 2, 14, 3).permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(batch, a * b, -1)
        x = x.index_select(1, grid.order).view(batch, a * b * 4, 3, 196)
        weight = tower.patch_embed.proj.weight
        if x.device not in self.constants:
            self.constants[x.device] = [torch.tensor(v, device=x.device)[:, None] for v in (MEAN, STD)]
        mean, std = self.constants[x.device]
        x = ((x.float() * (1 / 255) - mean) / std).to(weight.dtype).view(batch, a * b * 4, 588)
        x = F.linear(x, weight.sum(dim=2).view(weight.shape[0], -1))
        before, after = self.functions["vision_before"], self.functions["vision_after"]
        for i, block in enumerate(tower.blocks):
            q, k, v = before(x, block.norm1.weight, block.attn.qkv.weight, block.attn.qkv.bias, grid.cos, grid.sin, config.num_heads)
            y = attend(q, k, v) if i in config.fullatt_block_indexes else attend_windows(q, k, v, grid.classes)
            mlp = block.mlp
            x = after(x, y, block.attn.proj.weight, block.attn.proj.bias, block.norm2.weight, mlp.gate_proj.weight, mlp.gate_proj.bias,
                      mlp.up_proj.weight, mlp.up_proj.bias, mlp.down_proj.weight, mlp.down_proj.bias)
        merger = tower.merger
        x = rms_norm(x, merger.ln_q.weight, 1e-6).view(batch, a * b, -1)
        x = F.linear(F.gelu(F.linear(x, merger.mlp[0].weight, merger.mlp[0].bias)), merger.mlp[2].weight, merger.mlp[2].bias)
        return Permute.apply(x, grid.inverse, grid.order)

    def rotary(self, positions, dtype):
        """positions [3, B, L] to cos, sin [B, L, D]."""
        text = self.config.text_config
        dim = text.hidden_size // text.num_attention_heads
        theta, sections = text.rope_parameters["rope_theta"], text.rope_parameters["mrope_section"]
        freqs = 1.0 / (theta ** (torch.arange(0, dim, 2, device=positions.device, dtype=torch.float32) / dim))
        chosen, start = [], 0
        for i, n in enumerate(sections):
            chosen.append(positions[i % 3].float()[..., None] * freqs[start : start + n])
            start += n
        angle = torch.cat(chosen, dim=-1)
        angle = torch.cat([angle, angle], dim=-1)
        return angle.cos().to(dtype), angle.sin().to(dtype)

    def text(self, x, positions, mask):
        """Embeddings x [B, L, C], positions [3, B, L], additive mask [B, 1, L, L] to the last hidden state."""
        decoder, config = self.model.model.language_model, self.config.text_config
        cos, sin = self.rotary(positions, x.dtype)
        before, after = self.functions["text_before"], self.functions["text_after"]
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        mask = mask.expand(-1, heads, -1, -1)
        for layer in decoder.layers:
            a, mlp = layer.self_attn, layer.mlp
            q, k, v = before(x, layer.input_layernorm.weight, a.q_proj.weight, a.q_proj.bias, a.k_proj.weight, a.k_proj.bias, a.v_proj.weight, a.v_proj.bias, cos, sin, heads, kv_heads)
            x = after(x, attend(q, k, v, mask), a.o_proj.weight, layer.post_attention_layernorm.weight, mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)
        return rms_norm(x, decoder.norm.weight, 1e-6)

    def sequence(self, pictures, batch):
        """Embeddings, positions and mask of a batch (see data.py for its layout)."""
        embed = self.model.model.language_model.embed_tokens.weight
        device, dtype = embed.device, embed.dtype
        ids, head = batch["ids"], batch["head"]
        count, length = ids.shape
        before = batch["before"]
        parts, seg, pos, time = [], [], [], []

        def add_tokens(tokens, shift, start, clock):
            """Fixed tokens that all rows share."""
            parts.append(F.embedding(tokens, embed)[None].expand(count, -1, -1))
            step = torch.arange(len(tokens), device=device)
            seg.append(torch.zeros(count, len(tokens), dtype=torch.long, device=device))
            pos.append((start + step + shift[:, None]).expand(3, -1, -1))
            time.append(clock + step + shift[:, None])

        zero = torch.zeros_like(before)
        start = clock = 0
        if pictures:
            add_tokens(head[:-1], zero, 0, 0)
            start = clock = len(head) - 1
            for i, (pixels, gap) in enumerate(zip(pictures, batch["gaps"])):
                # gap: the tokens right before this picture, <|vision_start|> last.
                add_tokens(gap, before, start, clock)
                start, clock = start + len(gap), clock + len(gap)
                x = self.vision(pixels)
                a, b = pixels.shape[1] // 28, pixels.shape[2] // 28
                parts.append(x)
                cell = torch.arange(a * b, device=device)
                seg.append(torch.zeros(count, a * b, dtype=torch.long, device=device))
                axes = torch.stack([torch.zeros_like(cell), cell // b, cell % b])
                pos.append(axes[:, None, :] + start + before[None, :, None])
                time.append(clock + cell + before[:, None])
                start, clock = start + max(a, b), clock + a * b
            end = batch["end"]
            add_tokens(end, before, start, clock)
            start, clock = start + 1, clock + 1
        else:
            add_tokens(head, zero, 0, 0)
            start = clock = len(head)
        # Attention with a mask wants a length divisible by 16.
        spare = -(sum(p.shape[1] for p in parts) + length) % 16
        parts.append(F.embedding(F.pad(ids, (0, spare)), embed))
        seg.append(F.pad(batch["seg"], (0, spare), value=-1))
        relative, early = F.pad(batch["pos"], (0, spare)), F.pad(batch["early"], (0, spare))
        first = len(head) - 1
        place = torch.where(early, first + relative, start + before[:, None] + relative)
        pos.append(place.expand(3, -1, -1))
        time.append(torch.where(early, first + relative, clock + before[:, None] + relative))
        seg, time = torch.cat(seg, 1), torch.cat(time, 1)
        allowed = (time[:, None, :] <= time[:, :, None]) & ((seg[:, None, :] == 0) | (seg[:, None, :] == seg[:, :, None]))
        mask = torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill_(~allowed, -30000.0)[:, None]
        return torch.cat(parts, 1), torch.cat(pos, 2), mask, slice(-length - spare, -spare or None)

    def answers(self, pictures, batch):
        """Logits [answer tokens, V] and their targets."""
        x, positions, mask, tail = self.sequence(pictures, batch)
        x = self.text(x, positions, mask)[:, tail]
        x = x.reshape(-1, x.shape[-1]).index_select(0, batch["where"])
        return F.linear(x, self.model.model.language_model.embed_tokens.weight), batch["target"]
