"""Training batches: worker processes draw pictures and write them, with their questions, into shared memory.

A chunk is a batch of one picture grid. Each row is `head | picture | end | segments`, where head is the system prompt up to
<|vision_start|>, and a segment is a question and its answer, or a short conversation. The loss is on answers only.
`seg` numbers the segments (0 is seen by all), `pos` counts from the end of the picture, `early` marks question tokens that stand
before the picture in the prompt, `before` counts them.
"""

import math
import mmap
import multiprocessing
import multiprocessing.connection
import os
import pickle
import random
import signal
import time
import traceback

import numpy as np
from tokenizers import Tokenizer

from checkpoint import SYSTEM
from questions import CHAT, MIX, ask_mixed, ask_pair
from scenes import Library, picture

SCENE_WEIGHTS = {"sign": 0.42, "shapes": 0.31, "chart": 0.15, "caption": 0.12}
SYSTEMS = ["You are a helpful vision assistant.", "Answer briefly.", "You are a friendly assistant that looks at pictures.", "You answer questions about images.", "Be short and exact."]


class Encoder:
    def __init__(self, path):
        self.tokenizer = Tokenizer.from_file(str(path))
        self.cache = {}

    def __call__(self, text):
        ids = self.cache.get(text)
        if ids is None:
            ids = self.tokenizer.encode(text, add_special_tokens=False).ids
            if len(self.cache) < 60000:
                self.cache[text] = ids
        return ids


def grids(low=64, high=196):
    """Grids of merged patches with their weights: every area, mostly moderate shapes."""
    table = []
    for a in range(3, 40):
        for b in range(3, 40):
            if low <= a * b <= high:
                table.append(((a, b), math.exp(-((math.log(a / b) / 0.85) ** 2) / 2) / (a * b) ** 0.5 + 0.01 / (a * b) ** 0.5))
    return table


class Maker:
    """Makes chunks. `progress` runs from 0 to 1 over the training."""

    def __init__(self, data, tokenizer, seed, tokens, length):
        self.library, self.encode = Library(data), Encoder(tokenizer)
        self.rng = random.Random(seed)
        self.tokens, self.length = tokens, length
        self.grids = grids()
        self.easy = 0.0

    def grid(self, progress):
        table = self.grids
        if progress < 0.2:
            table = [(g, w) for g, w in table if g[0] * g[1] <= 110]
        return self.rng.choices([g for g, _ in table], [w for _, w in table])[0]

    def draw(self, grid, scene=None):
        rng = self.rng
        scene = scene or rng.choices(list(SCENE_WEIGHTS), list(SCENE_WEIGHTS.values()))[0]
        while True:
            try:
                image, facts = picture(rng, self.library, scene, model_size=(grid[0] * 28, grid[1] * 28), easy=rng.random() < self.easy)
                return scene, np.asarray(image), facts
            except Exception:
                traceback.print_exc()

    def segments(self, ask):
        """Segments of one picture until the length is full. A token of an answer of n tokens weighs n ** -0.5."""
        ids, seg, pos, where, target, weight = [], [], [], [], [], []
        number = 0
        misses = 0
        while misses < 4:
            turns = 1 if self.rng.random() < 0.8 else self.rng.choice([2, 2, 3])
            part, answers = [], []
            for turn in range(turns):
                question, answer = ask()
                if turn:
                    part += self.encode("\n<|im_start|>user\n")
                part += self.encode(f"{question}<|im_end|>\n<|im_start|>assistant\n")
                reply = self.encode(f"{answer}<|im_end|>")
                answers += [(len(part) + i - 1, t, len(reply) ** -0.5) for i, t in enumerate(reply)]
                part += reply
            if len(ids) + len(part) > self.length:
                misses += 1
                continue
            number += 1
            where += [len(ids) + i for i, _, _ in answers]
            target += [t for _, t, _ in answers]
            weight += [w for _, _, w in answers]
            ids += part
            seg += [number] * len(part)
            pos += range(len(part))
        return ids, seg, pos, where, target, weight

    def texts(self, askers, early=False):
        """The token arrays of a chunk."""
        count, length = len(askers), self.length
        ids = np.zeros((count, length), np.int32)
        seg = np.full((count, length), -1, np.int32)
        pos = np.zeros((count, length), np.int32)
        mark = np.zeros((count, length), bool)
        before = np.zeros(count, np.int32)
        where, target, weight = [], [], []
        for i, ask in enumerate(askers):
            if early:
                question, answer = ask()
                q = self.encode(question)
                tail, reply = self.encode("<|im_end|>\n<|im_start|>assistant\n"), self.encode(f"{answer}<|im_end|>")
                rest = tail + reply
                row, rs, rp = q + rest, [0] * len(q) + [1] * len(rest), [*range(len(q)), *range(len(rest))]
                if len(row) > length:
                    continue
                mark[i, : len(q)] = True
                before[i] = len(q)
                w, t, v = [len(q) + len(tail) - 1 + k for k in range(len(reply))], reply, [len(reply) ** -0.5] * len(reply)
            else:
                row, rs, rp, w, t, v = self.segments(ask)
            n = len(row)
            ids[i, :n], seg[i, :n], pos[i, :n] = row, rs, rp
            where += [i * length + k for k in w]
            target += t
            weight += v
        return {"ids": ids, "seg": seg, "pos": pos, "early": mark, "before": before, "where": np.array(where, np.int32), "target": np.array(target, np.int32),
                "weight": np.array(weight, np.float32)}

    def chunk(self, progress, views=1):
        """A list of pictures [B, H, W, 3] uint8 (none, one or two) and `views` sets of texts for them."""
        rng = self.rng
        self.easy = max(0.05, 0.85 - 4 * progress)
        roll = rng.random()
        system = SYSTEM if rng.random() < 0.93 else rng.choice(SYSTEMS)
        head = self.encode(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n")
        if roll < 0.012:
            kind, pictures = "chat", []
            def asker():
                pair = rng.choice(CHAT)
                return rng.choice(pair[0]), pair[1]
            askers = [asker] * 48
            texts = [self.texts(askers) for _ in range(views)]
        elif roll < (0.02 if progress < 0.15 else 0.13):
            kind = "pair"
            first = self.grid(progress)
            second = first if rng.random() < 0.5 else self.grid(progress)
            count = max(2, self.tokens // (4 * (first[0] * first[1] + second[0] * second[1])))
            rows = []
            for _ in range(count):
                scenes = rng.choices([("shapes", "shapes"), ("sign", "sign"), ("sign", "shapes"), ("shapes", "sign"), ("chart", "sign"), ("shapes", "chart"), ("caption", "shapes")],
                                     [10, 3, 1, 1, 0.5, 0.5, 1])[0]
                rows.append((self.draw(first, scenes[0]), self.draw(second, scenes[1])))
            pictures = [np.stack([r[i][1] for r in rows]) for i in (0, 1)]
            askers = [lambda r=r: ask_pair(rng, r[0][2], r[1][2]) for r in rows]
            texts = [self.texts(askers) for _ in range(views)]
        else:
            kind = "one"
            grid = self.grid(progress)
            count = max(2, self.tokens // (4 * grid[0] * grid[1]))
            rows = [self.draw(grid) for _ in range(count)]
            pictures = [np.stack([r[1] for r in rows])]
            early = progress > 0.2 and rng.random() < 0.04
            askers = [lambda r=r: ask_mixed(rng, r[2], r[0]) for r in rows]
            texts = [self.texts(askers, early) for _ in range(views)]
        start, end = self.encode("<|vision_start|>"), self.encode("<|vision_end|>")
        if pictures:
            head = head + start
        return {"kind": kind, "pictures": pictures, "texts": texts, "head": head, "gaps": [start, end + start][: len(pictures)], "end": end}


def work(index, seed, memory, slots, slot_bytes, pipe, settings, progress, views):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(3)
    maker = Maker(*settings[:2], f"{seed}-{index}", *settings[2:])
    free = list(slots)
    while True:
        while not free:
            free.append(pipe.recv())
        try:
            chunk = maker.chunk(progress.value, views)
            slot = free.pop()
            offset, shapes = slot * slot_bytes, []
            for array in chunk["pictures"]:
                memory[offset : offset + array.nbytes] = array.tobytes()
                shapes.append((array.shape, offset))
                offset += array.nbytes
            chunk["pictures"] = shapes
            chunk["slot"] = slot
            pipe.send_bytes(pickle.dumps(chunk, protocol=5))
        except (EOFError, BrokenPipeError, KeyboardInterrupt):
            return
        except Exception:
            traceback.print_exc()


class Source:
    """Worker processes with slots of shared memory; a worker that dies takes only its slots with it. Start before CUDA."""

    def __init__(self, settings, workers, seed=0, views=1, slots_each=3):
        tokens = settings[2]
        slot_bytes = (tokens + 4000) * 588 + 4096
        self.memory = mmap.mmap(-1, slot_bytes * workers * slots_each)
        context = multiprocessing.get_context("fork")
        self.progress = context.Value("d", 0.0, lock=False)
        self.pipes, self.processes = [], []
        for i in range(workers):
            ours, theirs = context.Pipe()
            slots = range(i * slots_each, (i + 1) * slots_each)
            process = context.Process(target=work, args=(i, seed, self.memory, slots, slot_bytes, theirs, settings, self.progress, views), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
        self.waited = 0.0

    def __next__(self):
        """The next chunk; its pictures are arrays over shared memory until `release(chunk)`."""
        begun = time.time()
        while True:
            ready = multiprocessing.connection.wait(self.pipes, timeout=30)
            if not ready and not any(p.is_alive() for p in self.processes):
                raise RuntimeError("all data workers died")
            random.shuffle(ready)
            for pipe in ready:
                try:
                    chunk = pickle.loads(pipe.recv_bytes())
                except (EOFError, OSError):
                    self.pipes.remove(pipe)
                    print("a data worker died;", len(self.pipes), "left", flush=True)
                    continue
                chunk["pipe"] = pipe
                chunk["pictures"] = [np.frombuffer(self.memory, np.uint8, math.prod(shape), offset).reshape(shape) for shape, offset in chunk["pictures"]]
                self.waited += time.time() - begun
                return chunk

    def release(self, chunk):
        try:
            chunk["pipe"].send(chunk["slot"])
        except OSError:
            pass
