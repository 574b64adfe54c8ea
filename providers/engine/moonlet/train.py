"""Train moonlet, a tiny Llama-architecture model, on CPU with JAX.

    python train.py DATA_DIR RUN_DIR

DATA_DIR is what corpus.py wrote. The schedule counts steps, not seconds, and the batches depend on
the seed alone, so a run that was interrupted resumes from RUN_DIR/state.npz as if it never stopped.
RUN_DIR/moonlet.npz is the last checkpoint's weights; RUN_DIR/log.jsonl gets a line per 20 steps.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

MODEL = {
    "dim": 256, "layers": 6, "heads": 4, "kv_heads": 2, "ffn": 768,
    "rope_freq_base": 10000.0, "rms_eps": 1e-5, "context": 1024,
}
SEED = 0
STEPS = 2500
WARMUP_STEPS = 40
DECAY_STEPS = 1600
TOKENS_PER_STEP = 3072
LEARNT_PER_STEP = 1408
MUON_PEAK = 0.012
ADAM_PEAK = 0.0018
CHECKPOINT_STEPS = 100
LOG_STEPS = 20


# --- the model ---------------------------------------------------------------------------------

def initial_parameters(vocabulary):
    """Linear weights are [in, out]; the embedding is tied with the output head."""
    rng = np.random.default_rng(SEED)
    dim, ffn, depth = MODEL["dim"], MODEL["ffn"], MODEL["layers"]
    kv_dim = dim // MODEL["heads"] * MODEL["kv_heads"]
    residual = (2 * depth) ** -0.5

    def linear(inputs, outputs, scale=1.0):
        return jnp.asarray(rng.normal(0, scale * inputs**-0.5, (inputs, outputs)), jnp.float32)

    def layer():
        return {
            "attn_norm": jnp.ones(dim), "ffn_norm": jnp.ones(dim),
            "q": linear(dim, dim), "k": linear(dim, kv_dim), "v": linear(dim, kv_dim),
            "o": linear(dim, dim, residual),
            "gate": linear(dim, ffn), "up": linear(dim, ffn), "down": linear(ffn, dim, residual),
        }

    embedding = jnp.asarray(rng.normal(0, 0.05, (vocabulary, dim)), jnp.float32)
    return {"embedding": embedding, "norm": jnp.ones(dim), "layers": [layer() for _ in range(depth)]}


def rms_norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + MODEL["rms_eps"]) * weight


def rotary_tables(length, head_dim):
    frequencies = MODEL["rope_freq_base"] ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = np.arange(length)[:, None] * frequencies
    return jnp.asarray(np.cos(angles), jnp.float32), jnp.asarray(np.sin(angles), jnp.float32)


def rotate(x, cos, sin):
    """Half-split rotation; export.py permutes q and k to the interleaved form of GGUF."""
    first, second = jnp.split(x, 2, -1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def attention(layer, h, bias, tables, shape):
    """Causal attention within a conversation; `h` is [rows * length, dim]."""
    rows, length = shape
    heads, kv_heads = MODEL["heads"], MODEL["kv_heads"]
    head_dim = MODEL["dim"] // heads

    def split(x, count):
        return x.reshape(rows, length, count, head_dim).transpose(0, 2, 1, 3)

    def spread(x):
        return jnp.repeat(x, heads // kv_heads, 1)

    q = rotate(split(h @ layer["q"], heads), *tables)
    k = spread(rotate(split(h @ layer["k"], kv_heads), *tables))
    v = spread(split(h @ layer["v"], kv_heads))
    weights = jax.nn.softmax(q @ k.swapaxes(-1, -2) * head_dim**-0.5 + bias, -1)
    return (weights @ v).transpose(0, 2, 1, 3).reshape(rows * length, -1) @ layer["o"]


def hidden_states(parameters, tok, seg):
    """The normed last hidden states, [rows * length, dim]: 2-D keeps XLA on its fast matmul path."""
    length = tok.shape[1]
    visible = (seg[:, :, None] == seg[:, None, :]) & np.tril(np.ones((length, length), bool))
    bias = jnp.where(visible, 0.0, -1e9)[:, None]
    tables = rotary_tables(length, MODEL["dim"] // MODEL["heads"])
    x = parameters["embedding"][tok.reshape(-1)]
    for layer in parameters["layers"]:
        x = x + attention(layer, rms_norm(x, layer["attn_norm"]), bias, tables, tok.shape)
        h = rms_norm(x, layer["ffn_norm"])
        x = x + (jax.nn.silu(h @ layer["gate"]) * (h @ layer["up"])) @ layer["down"]
    return rms_norm(x, parameters["norm"])


def loss_of(parameters, batch):
    """Mean cross-entropy of the learnt tokens; only their positions go through the output head."""
    states = hidden_states(parameters, batch["tok"], batch["seg"])[batch["position"]]
    nll = optax.softmax_cross_entropy_with_integer_labels(states @ parameters["embedding"].T, batch["target"])
    return jnp.sum(nll * batch["weight"]) / jnp.sum(batch["weight"])


# --- the optimizer -----------------------------------------------------------------------------

def orthogonalize(gradient):
    """Newton-Schulz iteration of Muon: push all singular values of the matrix towards 1."""
    tall = gradient.shape[0] > gradient.shape[1]
    x = gradient.T if tall else gradient
    x = x / (jnp.linalg.norm(x) + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


def update_parameter(path, value, gradient, first, second, step, scale):
    """Muon for the matrices of the layers, Adam for the embedding and the norms."""
    if value.ndim == 2 and "embedding" not in jax.tree_util.keystr(path):
        first = 0.95 * first + gradient
        shape_scale = max(1.0, value.shape[1] / value.shape[0]) ** 0.5
        return value - MUON_PEAK * scale * shape_scale * orthogonalize(gradient + 0.95 * first), first, second
    first = 0.9 * first + 0.1 * gradient
    second = 0.98 * second + 0.02 * gradient * gradient
    unbiased_first, unbiased_second = first / (1 - 0.9**step), second / (1 - 0.98**step)
    return value - ADAM_PEAK * scale * unbiased_first / (jnp.sqrt(unbiased_second) + 1e-8), first, second


def train_step(state, step, scale, batch):
    parameters, first, second = state
    loss, gradients = jax.value_and_grad(loss_of)(parameters, batch)
    updated = jax.tree_util.tree_map_with_path(
        lambda path, *leaves: update_parameter(path, *leaves, step, scale), parameters, gradients, first, second
    )
    return jax.tree.transpose(jax.tree.structure(parameters), jax.tree.structure((0, 0, 0)), updated), loss


def learning_rate_scale(step):
    """Warm up, hold, then fall in a line to zero over the last DECAY_STEPS."""
    return min(1.0, step / WARMUP_STEPS, (STEPS + 1 - step) / DECAY_STEPS)


# --- batches -----------------------------------------------------------------------------------

def batch_order(arrays):
    """`(row kind, row indices)` for every step of the run; a function of the data and the seed."""
    rng = np.random.default_rng(SEED)
    order = []
    while len(order) < STEPS:
        epoch = []
        for kind in ("short", "long"):
            rows, length = arrays[f"{kind}_tok"].shape
            size = TOKENS_PER_STEP // length
            shuffled = rng.permutation(rows)[: rows // size * size]
            epoch += [(kind, np.sort(chunk)) for chunk in shuffled.reshape(-1, size)]
        order += [epoch[index] for index in rng.permutation(len(epoch))]
    return order[:STEPS]


def make_batch(arrays, kind, rows):
    """Token ids and conversation numbers, and the learnt positions with their targets, padded to a fixed count."""
    tok, seg, wgt = (arrays[f"{kind}_{name}"][rows].astype(np.int32) for name in ("tok", "seg", "wgt"))
    learnt = np.flatnonzero(wgt)
    if len(learnt) > LEARNT_PER_STEP:
        raise ValueError(f"{len(learnt)} tokens to learn in one step; raise LEARNT_PER_STEP")
    position = np.zeros(LEARNT_PER_STEP, np.int32)
    weight = np.zeros(LEARNT_PER_STEP, np.float32)
    position[: len(learnt)] = learnt
    weight[: len(learnt)] = 1
    target = np.roll(tok, -1, 1).reshape(-1)[position]
    return {"tok": tok, "seg": seg, "position": position, "target": target, "weight": weight}


# --- checkpoints -------------------------------------------------------------------------------

def leaves_by_path(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def save(path, arrays):
    """Write beside the target, then rename, so that an interruption never leaves half a file."""
    partial = path.with_name(path.name + ".partial.npz")
    np.savez(partial, **arrays)
    os.replace(partial, path)


def save_run(run, state, progress):
    save(run / "state.npz", leaves_by_path(state) | {f"progress {name}": value for name, value in progress.items()})
    save(run / "moonlet.npz", leaves_by_path(state[0]))


def load_run(run, state, progress):
    if not (run / "state.npz").exists():
        return state, progress
    stored = np.load(run / "state.npz")
    state = jax.tree_util.tree_map_with_path(lambda path, _: jnp.asarray(stored[jax.tree_util.keystr(path)]), state)
    return state, {name: stored[f"progress {name}"].item() for name in progress}


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# --- the run -----------------------------------------------------------------------------------

def train(arrays, vocabulary, run):
    parameters = initial_parameters(vocabulary)
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = (parameters, zeros, jax.tree.map(jnp.zeros_like, parameters))
    progress = {"step": 0, "tokens": 0, "loss": 0.0, "wall_seconds": 0.0, "cpu_seconds": 0.0}
    state, progress = load_run(run, state, progress)
    print(sum(leaf.size for leaf in jax.tree.leaves(parameters)), "parameters, from step", progress["step"], flush=True)
    compiled = jax.jit(train_step, donate_argnums=0)
    order = batch_order(arrays)
    wall, cpu = time.time() - progress["wall_seconds"], cpu_seconds() - progress["cpu_seconds"]
    for step in range(progress["step"] + 1, STEPS + 1):
        batch = make_batch(arrays, *order[step - 1])
        state, loss = compiled(state, float(step), learning_rate_scale(step), batch)
        loss = float(loss)
        progress["loss"] = loss if step == 1 else 0.95 * progress["loss"] + 0.05 * loss
        progress["step"] = step
        progress["tokens"] += int((batch["seg"] >= 0).sum())
        progress["wall_seconds"] = round(time.time() - wall, 1)
        progress["cpu_seconds"] = round(cpu_seconds() - cpu, 1)
        if step % LOG_STEPS == 0:
            with open(run / "log.jsonl", "a") as log:
                log.write(json.dumps(progress) + "\n")
        if step % CHECKPOINT_STEPS == 0 or step == STEPS:
            save_run(run, state, progress)
    print(json.dumps(progress))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)
    vocabulary = len(json.loads((arguments.data / "tokenizer.json").read_text())["model"]["vocab"])
    train(dict(np.load(arguments.data / "train.npz")), vocabulary, arguments.run)


if __name__ == "__main__":
    main()
