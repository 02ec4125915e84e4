"""DINOv2's vision transformer (Oquab et al. 2023), the only ViT of the house.

Pre-norm blocks with LayerScale and exact GELU; the patch tokens are preceded by one class token and
carry a learned position table, which is resized to the grid of the image at hand. Patches are
embedded linearly, or by the convolutions of `endodav.models.stem`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.errors import InputError
from endodav.models.attention import attend
from endodav.models.presets import EncoderConfig
from endodav.models.stem import ConvStem

NORM_EPS = 1e-6
MLP_RATIO = 4
TABLE_STD = 0.02
SCALE_OFFSET = 0.1  # DINOv2 resizes its table by (grid + 0.1) / table, against rounding down

TokenBlock = Callable[[Tensor, int, int], Tensor]


class SelfAttention(nn.Module):
    """Multi-head self-attention of tokens [batch, tokens, width]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "batch tokens channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Mix the tokens."""
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attend(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, count, width))
        return out


class MLP(nn.Module):
    """Two linear layers with a GELU between them; `fc1` and `fc2` may carry adapters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1: nn.Module = nn.Linear(width, MLP_RATIO * width)
        self.fc2: nn.Module = nn.Linear(MLP_RATIO * width, width)

    def forward(
        self, tokens: Float[Tensor, "batch tokens channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Transform every token by itself."""
        out: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return out


class LayerScale(nn.Module):
    """A learned gain for each channel."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), initial))

    def forward(self, tokens: Float[Tensor, "*shape channels"]) -> Float[Tensor, "*shape channels"]:
        """Scale the channels."""
        return tokens * self.gain


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and added with a LayerScale; then perhaps a neck.

    Args:
        config: of the encoder.
        neck: residual block on the grid of patch tokens, see `endodav.models.necks`.
    """

    def __init__(self, config: EncoderConfig, neck: nn.Module | None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, NORM_EPS)
        self.attention = SelfAttention(config.width, config.heads)
        self.attention_scale = LayerScale(config.width, config.layer_scale)
        self.mlp_norm = nn.LayerNorm(config.width, NORM_EPS)
        self.mlp = MLP(config.width)
        self.mlp_scale = LayerScale(config.width, config.layer_scale)
        self.neck = neck

    def forward(
        self, tokens: Float[Tensor, "batch tokens channels"], rows: int, columns: int
    ) -> Float[Tensor, "batch tokens channels"]:
        """One step of the transformer; rows * columns patch tokens come last."""
        tokens = tokens + self.attention_scale(self.attention(self.attention_norm(tokens)))
        tokens = tokens + self.mlp_scale(self.mlp(self.mlp_norm(tokens)))
        if self.neck is None:
            return tokens
        first_patch = tokens.shape[1] - rows * columns
        class_token, patches = tokens[:, :first_patch], tokens[:, first_patch:]
        grid = patches.transpose(1, 2).reshape(patches.shape[0], -1, rows, columns)
        patches = patches + self.neck(grid).flatten(2).transpose(1, 2)
        return torch.cat([class_token, patches], dim=1)


class DinoV2(nn.Module):
    """The encoder: images to the normalised tokens of four of its blocks.

    Args:
        config: sizes, taps and the side of the position table.
        necks: residual blocks by the number of the encoder block they follow.
    """

    def __init__(self, config: EncoderConfig, necks: Mapping[int, nn.Module] | None = None) -> None:
        super().__init__()
        self.taps = config.taps
        self.patch_size = config.patch_size
        self.uses_class_token = config.class_token
        self.table_side = config.image_size // config.patch_size
        self.class_token = nn.Parameter(torch.empty(1, 1, config.width))
        self.position_table = nn.Parameter(torch.empty(1, 1 + self.table_side**2, config.width))
        self.patch_embed: nn.Module = (
            nn.Conv2d(3, config.width, config.patch_size, config.patch_size)
            if config.stem is None
            else ConvStem(config.stem, config.width)
        )
        self.dense = config.stem is not None
        fine = () if config.stem is None else config.stem[1:]
        self.widths = cast(tuple[int, int, int, int], (*fine, *(config.width for _ in self.taps)))
        necks = necks or {}
        self.blocks = nn.ModuleList(Block(config, necks.get(i)) for i in range(config.depth))
        self.norm = nn.LayerNorm(config.width, NORM_EPS)
        self.apply(_initialise)
        nn.init.normal_(self.class_token, std=1e-6)
        nn.init.trunc_normal_(self.position_table, std=TABLE_STD)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches of an image.

        Raises:
            InputError: a side is not a positive multiple of the patch size.
        """
        if height % self.patch_size or width % self.patch_size or not (height and width):
            raise InputError(
                f"The network takes images whose sides are multiples of {self.patch_size} pixels, "
                f"not {height}x{width}; resize them first."
            )
        return height // self.patch_size, width // self.patch_size

    def positions(self, rows: int, columns: int) -> Float[Tensor, "1 tokens channels"]:
        """The position table for a grid, class token first.

        Bicubic without antialiasing, and told the scale factor rather than the size: PyTorch maps
        coordinates by that factor, so the offset of 0.1 is part of what the weights know.
        """
        side = self.table_side
        if (rows, columns) == (side, side):
            return self.position_table
        class_position, table = self.position_table[:, :1], self.position_table[:, 1:]
        square = table.transpose(1, 2).reshape(1, -1, side, side).float()
        factors = ((rows + SCALE_OFFSET) / side, (columns + SCALE_OFFSET) / side)
        resized = F.interpolate(square, scale_factor=factors, mode="bicubic")
        flat = resized.flatten(2).transpose(1, 2).to(table.dtype)
        return torch.cat([class_position, flat], dim=1)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch ..."]]:
        """Encode normalised images.

        Returns:
            For each tap the block's output [batch, tokens, channels] behind the final LayerNorm,
            patches last. A convolutional stem puts its maps at 1/4 and 1/8 before them.

        Raises:
            InputError: the sides are not multiples of the patch size.
        """
        rows, columns = self.grid(images.shape[-2], images.shape[-1])
        *fine, patches = self.patch_embed(images) if self.dense else (self.patch_embed(images),)
        patches = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        tokens = tokens + self.positions(rows, columns)
        if not self.uses_class_token:
            tokens = tokens[:, 1:]
        tapped: list[Tensor] = fine
        for index, block in enumerate(self.blocks[: max(self.taps) + 1]):
            tokens = block(tokens, rows, columns)
            if index in self.taps:
                tapped += [self.norm(tokens)] * self.taps.count(index)
        return tapped


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=TABLE_STD)
        nn.init.zeros_(module.bias)
