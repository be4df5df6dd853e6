"""The text tower: one layer of OpenCLIP's own transformer, trained without the work whose result nobody reads.

Only the end token's vector is used, so only the end token asks for attention. Keys and values of the other tokens need
not be made one by one: the question goes through the key matrix once, and the value matrix is applied to the weighted
mean. The numbers are OpenCLIP's, at a third of the cost. Tokens are looked up as 256 numbers that one matrix widens to
512; an exported bundle stores them so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH, RANK, HEADS, MLP_RATIO, CONTEXT, VOCABULARY = 512, 256, 8, 3, 77, 49408
START, END = 49406, 49407
LONGEST = 30
ROWS = 14_700
"""How many tokens have a row of their own, of some 18,000 that the texts use: the bundle must stay small."""
LARGE = 24.0
CAUTION = 0.003
SILENCE = 0.3


class TextTower(nn.Module):
    """Token ids → unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, RANK, sparse=True)
        self.widen = nn.Linear(RANK, WIDTH, bias=False)
        self.positions = nn.Parameter(torch.randn(CONTEXT, WIDTH) * 0.01)
        self.before_attention, self.before_mlp, self.last = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.qkv = nn.Parameter(torch.randn(3 * WIDTH, WIDTH) * WIDTH**-0.5)
        self.qkv_bias = nn.Parameter(torch.zeros(3 * WIDTH))
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp_in, self.mlp_out = nn.Linear(WIDTH, MLP_RATIO * WIDTH), nn.Linear(MLP_RATIO * WIDTH, WIDTH)
        self.projection = nn.Parameter(torch.eye(WIDTH))
        self.qkv.data[2 * WIDTH :] = torch.eye(WIDTH)  # at first, a text is the mean of its words
        self.out.weight.data = torch.eye(WIDTH)
        nn.init.zeros_(self.out.bias)
        nn.init.zeros_(self.mlp_out.bias)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Unit vectors (n, 512) of padded ids (n, longest) and their lengths (n)."""
        x = self.attended(tokens, lengths)
        x = x + self.mlp_out(functional.gelu(self.mlp_in(self.before_mlp(x))))
        return functional.normalize(self.last(x) @ self.projection, dim=1)

    def attended(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """What the end token holds after attention, (n, 512)."""
        rows = torch.arange(len(tokens))
        x = self.widen(self.tokens(tokens)) + self.positions[: tokens.shape[1]]
        h = self.before_attention(x)
        x_end, h_end = x[rows, lengths - 1], h[rows, lengths - 1]
        query, key, value = self.qkv.view(3, HEADS, WIDTH // HEADS, WIDTH)
        query_bias, _, value_bias = self.qkv_bias.view(3, HEADS, WIDTH // HEADS)
        asked = torch.einsum("nw,hdw->nhd", h_end, query) + query_bias
        scores = torch.einsum("nhd,hdw,nlw->nhl", asked, key, h) * (WIDTH // HEADS) ** -0.5
        beyond = torch.arange(tokens.shape[1]) >= lengths[:, None]
        heeded = scores.masked_fill(beyond[:, None], -1e9).softmax(-1)
        mean = torch.einsum("nhl,nlw->nhw", heeded, h)
        answer = torch.einsum("nhw,hdw->nhd", mean, value) + value_bias
        return x_end + self.out(answer.flatten(1))

    def start_from_words(self, ids: list[list[int]], vectors: torch.Tensor, weights: np.ndarray) -> None:
        """Set the tokens so that the sum of a text's tokens points to its vector as well as it can.

        Ridge regression by conjugate gradients over all texts; then the 256 directions that hold most of it.
        """
        from scipy import sparse

        columns = np.concatenate(ids)
        rows = np.repeat(np.arange(len(ids)), [len(text) for text in ids])
        counts = sparse.csr_matrix((weights[rows], (rows, columns)), shape=(len(ids), VOCABULARY), dtype=np.float32)
        used = np.unique(columns)
        bags = counts[:, used]
        middle = vectors.mean(0)
        solution = torch.from_numpy(_ridge(bags, (vectors - middle).numpy() * weights[:, None].astype(np.float32)))
        often = torch.from_numpy(np.asarray(bags.multiply(bags).sum(0)).ravel()).float().sqrt()[:, None] * solution
        directions = torch.linalg.eigh(often.T @ often).eigenvectors
        basis, spare = directions[:, -RANK:], directions[:, 0]
        size = float((solution @ basis).norm(dim=1).median())
        self.tokens.weight.data.normal_(0, 0.01 * size)
        self.tokens.weight.data[used] = solution @ basis
        self.tokens.weight.data[[START, END]] = 0
        self.widen.weight.data = basis.contiguous() / size
        self.last.bias.data = 20 * middle
        self._keep_lengths(spare)

    def _keep_lengths(self, spare: torch.Tensor) -> None:
        """Let strong words weigh more than weak ones at first, although a layer norm makes all equally long.

        Every position gets the same large number along a direction that no word uses: what the norm divides by is then
        nearly that number, whatever the word. The value matrix and the biases take the direction out again, exactly:
        they are numbers of half precision, in which bundles store them. A text of no words gets a small vector.
        """
        push = _half(LARGE * spare)
        self.positions.data = push.repeat(CONTEXT, 1)
        value = _half(4 * (torch.eye(WIDTH) - torch.outer(spare, spare)))
        self.qkv.data[2 * WIDTH :] = value
        self.qkv.data[: 2 * WIDTH] = 0
        self.qkv_bias.data[2 * WIDTH :] = -(value @ self.before_attention(push).detach())
        self.out.bias.data = SILENCE * functional.normalize(self.last.bias.data, dim=0) - push
        self.mlp_out.weight.data.zero_()

    @torch.no_grad()
    def correct(self, ids: list[list[int]], vectors: torch.Tensor, weights: np.ndarray) -> None:
        """Set the MLP so that it takes the sum of words to what the text means: "hot dog" is no dog.

        Its first matrix stays random; the second is a ridge regression of what is missing, weighted.
        """
        self.mlp_in.weight.data *= 2.5
        given = encode_all(self, [[START, *text, END] for text in ids], batch=1024, step=self.attended)
        centred = given - given.mean(1, keepdim=True)
        size = centred.norm(dim=1, keepdim=True)
        wanted = vectors * WIDTH**0.5 - self.last.bias
        wanted = functional.normalize(wanted - wanted.mean(1, keepdim=True), dim=1) * size
        hidden = functional.gelu(self.mlp_in(self.before_mlp(given)))
        hidden = torch.cat([hidden, torch.ones(len(hidden), 1)], 1)
        weight = torch.from_numpy(weights).float()[:, None] / size
        matrix = (hidden * weight).T @ (hidden * weight)
        matrix += CAUTION * matrix.diag().mean() * torch.eye(len(matrix))
        solution = torch.linalg.solve(matrix, (hidden * weight).T @ ((wanted - centred) * weight))
        self.mlp_out.weight.data, self.mlp_out.bias.data = solution[:-1].T.contiguous(), solution[-1].clone()

    def share_rows(self, used: torch.Tensor, rows: int = ROWS) -> None:
        """Give all tokens the mean that no text used or that hardly differ from it: bundles store equal rows once."""
        table = self.tokens.weight.data
        mean = table[used].mean(0)
        apart = (table - mean).norm(dim=1) * used
        kept = apart.topk(min(rows, int(used.sum()))).indices
        shared = torch.ones(len(table), dtype=torch.bool)
        shared[kept] = False
        table[shared] = mean

    def openclip_state(self) -> dict[str, torch.Tensor]:
        """The weights under OpenCLIP's names."""
        table = self.tokens.weight.detach()
        block = "transformer.resblocks.0"
        named: dict[str, torch.Tensor] = {
            "token_embedding.weight": table @ self.widen.weight.T,
            "positional_embedding": self.positions,
            f"{block}.attn.in_proj_weight": self.qkv,
            f"{block}.attn.in_proj_bias": self.qkv_bias,
            "text_projection": self.projection,
        }
        layers = {
            f"{block}.ln_1": self.before_attention, f"{block}.ln_2": self.before_mlp, "ln_final": self.last,
            f"{block}.attn.out_proj": self.out, f"{block}.mlp.c_fc": self.mlp_in, f"{block}.mlp.c_proj": self.mlp_out,
        }  # fmt: skip
        for name, layer in layers.items():
            named |= {f"{name}.{part}": tensor for part, tensor in layer.named_parameters()}
        return {name: tensor.detach().contiguous().clone() for name, tensor in named.items()}


def trained(checkpoint: dict[str, Any]) -> TextTower:
    """The tower of a checkpoint, in numbers of half precision, in which bundles store them.

    What positions and biases add and take away again is large: rounded later, a part of it would stay.
    """
    tower = TextTower()
    tower.load_state_dict(checkpoint["tower"])
    tower.share_rows(checkpoint["used"])
    tower.load_state_dict({name: _half(value) for name, value in tower.state_dict().items()})
    return tower.eval()


def _half(values: torch.Tensor) -> torch.Tensor:
    """Round to what half precision can say."""
    return values.half().float()


def _ridge(bags: np.ndarray, wanted: np.ndarray, strength: float = 0.05, rounds: int = 40) -> np.ndarray:
    """Solve (B'B + strength) X = B'W by conjugate gradients, every column at once."""
    solution = np.zeros((bags.shape[1], wanted.shape[1]), np.float32)
    rest = bags.T @ wanted
    direction, size = rest.copy(), (rest * rest).sum(0)
    for _ in range(rounds):
        image = bags.T @ (bags @ direction) + strength * direction
        step = size / (direction * image).sum(0).clip(1e-12)
        solution += step * direction
        rest -= step * image
        smaller = (rest * rest).sum(0)
        direction = rest + smaller / size.clip(1e-20) * direction
        size = smaller
    return solution


def padded(texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of texts as one array, and the length of each."""
    lengths = torch.tensor([len(text) for text in texts])
    tokens = torch.zeros(len(texts), int(lengths.max()), dtype=torch.long)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = torch.tensor(text)
    return tokens, lengths


def encode_all(
    tower: TextTower, texts: list[list[int]], batch: int = 256, step: Callable[..., torch.Tensor] | None = None
) -> torch.Tensor:
    """Unit vectors of any number of texts, similar lengths together; or what another step of the tower gives."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found = torch.zeros(len(texts), WIDTH)
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            found[part] = (step or tower)(*padded([texts[row] for row in part]))
    return found


def config(image_size: int, mean: list[float], std: list[float]) -> dict[str, object]:
    """The contents of open_clip_config.json."""
    vision = {
        "timm_model_name": "tf_efficientnet_lite0", "timm_model_pretrained": False, "timm_pool": "avg",
        "timm_proj": "linear", "timm_proj_bias": True, "image_size": image_size,
    }  # fmt: skip
    text = {
        "context_length": CONTEXT, "vocab_size": VOCABULARY, "width": WIDTH, "heads": HEADS, "layers": 1,
        "mlp_ratio": float(MLP_RATIO),
    }  # fmt: skip
    return {
        "model_cfg": {"embed_dim": WIDTH, "vision_cfg": vision, "text_cfg": text},
        "preprocess_cfg": {"mean": mean, "std": std},
    }


def log_scale(scale: float) -> torch.Tensor:
    """OpenCLIP's logit_scale for a factor."""
    return torch.tensor(math.log(scale))
