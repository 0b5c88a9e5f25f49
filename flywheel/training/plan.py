"""What a week's training will cost, before anything is spent: tokens, floating-point operations, memory, hours. No torch here.

Works from a base model's `config.json` and the week's token ids. Operations a token of LoRA training, with N matrix parameters
and A for attention (forward 1, backward 2, of which the weights' own gradients fall away):

    4 N + 3 A + 6 N_lora          and with gradient checkpointing, which runs the forward pass again, 6 N + 4 A + 8 N_lora

The head counts at supervised tokens only, where logits are computed; a preference pair costs one more forward pass, of its
reference. Attention is causal, so a token at position p looks at p + 1 tokens: A = 4 layers heads head_size (p + 1).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flywheel.training.packing import sorted_with_shared

# Dense bfloat16 tensor peaks and memory as the vendor's data sheets give them.
DEVICES = {"L4": (121.0, 24.0), "A100": (312.0, 80.0), "H100": (989.0, 80.0)}
UTILISATION = 0.35
# Model types whose matrix sizes are tested against the real classes; others are taken for the same shape, and it is said.
KNOWN_SHAPES = ("llama", "mistral", "smollm3", "phi3", "qwen2", "qwen3")
_GIB = float(1 << 30)


class Shape(NamedTuple):
    """A base model's sizes.

    Attributes:
        model_type: as its config names it.
        layers, hidden, intermediate, heads, key_heads, head_size, vocabulary, context: of the text model.
        window: tokens that sliding-window layers look back; 0 where every layer looks at everything; windowed: their number.
        tied: whether input and output embeddings are one matrix.
    """

    model_type: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_heads: int
    head_size: int
    vocabulary: int
    context: int
    window: int
    windowed: int
    tied: bool

    def matrices(self) -> list[tuple[int, int]]:
        """(in, out) of each linear layer of one block: query, key, value, output, gate, up, down."""
        queries, keys = self.heads * self.head_size, self.key_heads * self.head_size
        attention = [(self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden)]
        return [*attention, *[(self.hidden, self.intermediate)] * 2, (self.intermediate, self.hidden)]

    def body(self) -> int:
        """Matrix parameters of all blocks."""
        return self.layers * sum(one * other for one, other in self.matrices())

    def head(self) -> int:
        """Parameters of the output matrix."""
        return self.vocabulary * self.hidden

    def parameters(self) -> int:
        """All parameters but norms and biases."""
        return self.body() + self.head() * (1 if self.tied else 2)

    def lora(self, rank: int) -> int:
        """Parameters of an adapter on every linear layer."""
        return self.layers * rank * sum(one + other for one, other in self.matrices())


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The sizes in a model's configuration (its text part)."""
    kinds = config.get("layer_types") or []
    window = config.get("sliding_window") or 0
    windowed = (
        sum(kind == "sliding_attention" for kind in kinds) if kinds else config["num_hidden_layers"] * bool(window)
    )
    return Shape(
        config.get("model_type", "unknown"), config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"],
        config["num_attention_heads"], config.get("num_key_value_heads") or config["num_attention_heads"],
        config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"], config["vocab_size"],
        config.get("max_position_embeddings", 0), window, windowed if window else 0,
        bool(config.get("tie_word_embeddings", True)),
    )  # fmt: skip


class Tokens(NamedTuple):
    """What rows cost in tokens.

    Attributes:
        rows: sequences.
        total: tokens of all of them, prompts included.
        unique: tokens that are computed when what a pack's rows begin with is computed once.
        supervised: tokens with loss.
        looked_at: over the unique tokens, how many tokens each looks at, summed.
        windowed: the same in a sliding-window layer.
        packs: forward passes; longest: unique tokens of the largest; most_supervised: tokens with loss of one, at most.
    """

    rows: int = 0
    total: int = 0
    unique: int = 0
    supervised: int = 0
    looked_at: int = 0
    windowed: int = 0
    packs: int = 0
    longest: int = 0
    most_supervised: int = 0


def count(packs: Sequence[Sequence[tuple[list[int], list[int]]]], *, window: int = 0) -> Tokens:
    """Tokens of packs of rows, each row its prompt ids and target ids.

    Args:
        window: of the model's sliding-window layers.
    """
    found = Tokens()
    for rows in packs:
        sequences = [[*prompt, *target] for prompt, target in rows]
        order, shared = sorted_with_shared(sequences)
        own = [(first, len(sequences[row])) for row, first in zip(order, shared, strict=True)]
        unique = sum(end - first for first, end in own)
        supervised = sum(len(target) for _, target in rows)
        found = Tokens(
            found.rows + len(rows), found.total + sum(end for _, end in own), found.unique + unique,
            found.supervised + supervised, found.looked_at + sum(_looked_at(*span, 0) for span in own),
            found.windowed + sum(_looked_at(*span, window) for span in own), found.packs + 1, max(found.longest, unique),
            max(found.most_supervised, supervised),
        )  # fmt: skip
    return found


def _looked_at(first: int, end: int, window: int) -> int:
    """Sum over positions first to end - 1 of the tokens each looks at: position + 1, at most `window` where there is one."""
    reach = np.arange(first + 1, end + 1)
    return int((np.minimum(reach, window) if window else reach).sum())


def operations(
    shape: Shape, tokens: Tokens, rank: int, *, checkpointing: bool = False, reference: bool = False
) -> float:
    """Floating-point operations of training once on these tokens; `reference`: and of DPO's reference, forward only."""
    attention = 4 * shape.heads * shape.head_size * (
        (shape.layers - shape.windowed) * tokens.looked_at + shape.windowed * tokens.windowed
    )  # fmt: skip
    lora = shape.lora(rank) * tokens.unique
    again = 2 if checkpointing else 0
    total = (4 + again) * (shape.body() * tokens.unique) + (3 + again / 2) * attention + (6 + again) * lora
    total += 4 * shape.head() * tokens.supervised
    if reference:
        total += 2 * (shape.body() * tokens.unique + lora + shape.head() * tokens.supervised) + attention
    return float(total)


class Memory(NamedTuple):
    """Peak memory by what holds it, in GiB; an estimate."""

    weights: float
    adapter: float
    activations: float
    logits: float

    def total(self) -> float:
        """The sum, without what the framework itself takes."""
        return sum(self)


def memory(shape: Shape, tokens: Tokens, rank: int, *, checkpointing: bool = False) -> Memory:
    """Peak of a training step on the largest pack.

    Weights in bfloat16; adapter, gradient and both moments of Adam in float32; per token and layer what the backward pass
    needs (both norms' and projections' inputs, the adapters' rank-sized ones, gate, up and their product), or the layer's
    input alone under gradient checkpointing, at four bytes each: most are bfloat16, but norms, rotations and casts keep
    copies (SmolLM2-135M on a CPU: measured 1.40 MB a token, estimated 1.44); logits at supervised tokens in bfloat16, float32
    and their gradient.
    """
    queries, keys = shape.heads * shape.head_size, shape.key_heads * shape.head_size
    layer = 6 * shape.hidden + 3 * (queries + keys) + 4 * shape.intermediate + 7 * rank
    kept = shape.hidden * shape.layers + layer if checkpointing else layer * shape.layers
    return Memory(
        2 * shape.parameters() / _GIB, 16 * shape.lora(rank) / _GIB, 4 * kept * tokens.longest / _GIB,
        10 * shape.vocabulary * tokens.most_supervised / _GIB,
    )  # fmt: skip


def hours(work: float, peak_tflops: float, utilisation: float = 1.0) -> float:
    """Hours that so many operations take at a share of a device's peak."""
    return work / (peak_tflops * 1e12 * utilisation) / 3600
