"""A backbone: stem, ordered blocks, pooling; and the depth cut."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import torch
from torch import nn

from regraft.backbones.blocks import depths, depths_by_execution, stem_parts
from regraft.errors import ShapeError
from regraft.hashing import digest_arrays, digest_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from regraft.backbones.preprocess import Preprocess
    from regraft.backbones.roles import Role
    from regraft.backbones.source_heads import SourceHead

Pooling = Literal["masked_mean", "first_token", "pooler", "output"]


class _PassThrough(nn.Module):
    """Stands for a block whose work has been done already; its hooks do not run either."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "_block", block)  # not a submodule: nothing may train or save it

    def __getattr__(self, name: str) -> Any:
        """Answer what some families ask of a block (its attention's type) as the block would."""
        return getattr(self.__dict__["_block"], name)

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return the hidden state as it came; masks and positions are for real blocks."""
        return hidden


class _ReachedError(Exception):
    """Ends a forward pass once the hidden state sought is known."""


@final
class Backbone:
    """A pretrained encoder seen as stem, blocks and pooling.

    Attributes:
        reference: What the user wrote, its revision resolved.
        module: The encoder, in evaluation mode, fp32, no gradient.
        preprocess: Its own preprocessing.
        blocks: Dotted names of the blocks; depth 0 is nearest the input.
        roles: What each layer is for, by dotted name.
        pooling: How features are made of its output: the mean over unmasked tokens, the first
            token, the model's own pooling where it has one, or the output itself (maps and
            tokens averaged).
        notes: What was adapted or found on loading, for people.
        can_cut: Whether prefix and suffix were seen to equal the whole.
        code: Digest of the user's own source that its module comes from; empty for known families.
        token_table: Dotted name of the embedding that token ids index; None where there is none.
        source_head: The pretrained model with the classifier that it was trained with; None where
            it brings none. Copies that train have none.
    """

    def __init__(
        self,
        *,
        reference: str,
        module: nn.Module,
        preprocess: Preprocess,
        blocks: Sequence[str],
        roles: Mapping[str, Role],
        pooling: Pooling,
        by_keyword: bool,
        fresh: Callable[[], nn.Module],
    ) -> None:
        self.reference = reference
        self.module = module.eval().requires_grad_(requires_grad=False)
        self.preprocess = preprocess
        self.blocks = tuple(blocks)
        self.roles = dict(roles)
        self.pooling: Pooling = pooling
        self.notes: tuple[str, ...] = ()
        self.can_cut = False
        self.code = ""
        self.token_table: str | None = None
        self.source_head: SourceHead | None = None
        self.width = 0
        self._fresh = fresh
        self._by_keyword = by_keyword
        self._depths = depths(module, self.blocks)
        self._skipped: tuple[str, ...] = ()
        self._probe: dict[str, torch.Tensor] | None = None

    @property
    def n_blocks(self) -> int:
        """Number of blocks L."""
        return len(self.blocks)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over name, dtype, shape and bytes of every tensor."""
        return digest_arrays(
            {
                name: tensor.detach().cpu().numpy()
                for name, tensor in self.module.state_dict().items()
            }
        )

    @cached_property
    def identity(self) -> str:
        """What its numbers depend on: its tensors, and its code where that is the user's own."""
        return digest_json([self.digest, self.code]) if self.code else self.digest

    def depth_of(self, name: str) -> int:
        """Return the depth of a module or parameter: −1 stem, 0 … L−1 a block, L after them."""
        while name:
            if name in self._depths:
                return self._depths[name]
            name = name.rpartition(".")[0]
        return -1

    def features(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return pooled features (B, width) of a batch."""
        return self._pool(self._forward(batch), batch)

    def hidden(self, batch: Mapping[str, torch.Tensor], *, depth: int) -> torch.Tensor:
        """Return what block `depth` receives, at depth n_blocks the pooled features.

        Raises:
            ShapeError: There is no such block.
        """
        if depth == self.n_blocks:
            return self.features(batch)
        return self.seen(batch, depths=(depth,), pooled=False)[0][0]

    def seen(
        self, batch: Mapping[str, torch.Tensor], *, depths: Sequence[int], pooled: bool
    ) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Return what the blocks at some depths receive and the pooled features, from one pass.

        Where no features are asked for, the pass ends at the last of the blocks.

        Raises:
            ShapeError: There is no such block.
        """
        blocks = {depth: self._block(depth) for depth in depths}
        kept: dict[int, torch.Tensor] = {}

        def keep(depth: int, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            if depth in kept:
                return
            kept[depth] = arguments[0] if arguments else next(iter(keywords.values()))
            if not pooled and len(kept) == len(blocks):
                raise _ReachedError
            kept[depth] = kept[depth].clone()  # the pass goes on, and may write over it in place

        handles = [
            block.register_forward_pre_hook(
                lambda _, arguments, keywords, at=depth: keep(at, arguments, keywords),
                with_kwargs=True,
            )
            for depth, block in blocks.items()
        ]
        features: torch.Tensor | None = None
        try:
            output = self._forward(batch)
            features = self._pool(output, batch) if pooled else None
        except _ReachedError:
            pass
        finally:
            for handle in handles:
                handle.remove()
        for depth in depths:
            if depth not in kept:
                raise ShapeError(f"block {self.blocks[depth]} is not on the forward path.")
        return [kept[depth] for depth in depths], features

    def features_from(
        self, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor], *, depth: int
    ) -> torch.Tensor:
        """Return pooled features (B, width), from what block `depth` receives.

        Blocks before `depth` are passed through and its first argument is replaced; masks and
        positions come from the live pass over `batch`. At depth n_blocks they are `hidden` itself.
        """
        if depth == self.n_blocks:
            return hidden

        def replace(
            _: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if arguments:
                return (hidden, *arguments[1:]), keywords
            return (), {**keywords, next(iter(keywords)): hidden}

        block = self._block(depth)
        handle = block.register_forward_pre_hook(replace, with_kwargs=True, prepend=True)
        try:
            with self._passed_through(depth):
                return self._pool(self._forward(batch), batch)
        finally:
            handle.remove()

    def split_hidden(
        self, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor]
    ) -> list[np.ndarray[Any, Any]]:
        """Return the hidden states by item, the tokens of texts without their padding."""
        values = hidden.detach().float().cpu().numpy()
        mask = batch.get("attention_mask")
        if mask is None or values.ndim < 3:
            return list(values)
        lengths = mask.sum(dim=1).tolist()
        return [row[:length] for row, length in zip(values, lengths, strict=True)]

    def join_hidden(self, items: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
        """Return the hidden states of a batch, texts padded with zeros to the longest."""
        if self.preprocess.kind != "text":
            return torch.from_numpy(np.stack(items))
        longest = max(len(item) for item in items)
        joined = np.zeros((len(items), longest, *items[0].shape[1:]), np.float32)
        for row, item in enumerate(items):
            joined[row, : len(item)] = item
        return torch.from_numpy(joined)

    def block_width(self, depth: int) -> int | None:
        """Return the width of a block's output, its last axis or channels; None if not plain."""
        widths: list[int] = []

        def look(_: nn.Module, __: Any, output: Any) -> None:
            plain = output[0] if isinstance(output, tuple) else output
            if isinstance(plain, torch.Tensor) and plain.is_floating_point() and plain.ndim >= 2:
                widths.append(plain.shape[1] if plain.ndim == 4 else plain.shape[-1])

        handle = self._block(depth).register_forward_hook(look)
        try:
            with torch.no_grad():
                self._forward(self.probe_batch())
        finally:
            handle.remove()
        return widths[0] if widths else None

    def probe_batch(self) -> dict[str, torch.Tensor]:
        """Return a small fixed batch, on the module's device."""
        if self._probe is None:
            raise AssertionError("a backbone is probed on loading")
        device = next(self.module.parameters()).device
        return {name: tensor.to(device) for name, tensor in self._probe.items()}

    def set_probe(self, batch: Mapping[str, torch.Tensor]) -> None:
        """Look at the backbone through a batch: its width, depths, and whether the cut is exact.

        Raises:
            ShapeError: The output pools to something other than features by item.
        """
        self._probe = dict(batch)
        with torch.no_grad():
            whole = self.features(batch)
            if whole.ndim != 2 or not whole.is_floating_point():
                raise ShapeError(
                    f"the module's output pools to shape {tuple(whole.shape)}, not to (items, "
                    "features). Let it return (B, D), (B, T, D) or (B, C, H, W)."
                )
            self.width = int(whole.shape[1])
            self._depths = depths_by_execution(
                self.module, self.blocks, lambda: self._forward(batch)
            )
            kept = self._hidden_of_all(batch)
            if self.preprocess.kind != "text":  # where the stem costs, and no mask is made of it
                self._skipped = stem_parts(self.blocks, self._depths)
            self.can_cut = self._is_exact(batch, whole, kept)
            if self._skipped and not self.can_cut:
                self._skipped = ()
                self.can_cut = self._is_exact(batch, whole, kept)

    def copy(self) -> Backbone:
        """Return a backbone with a copy of the module, to train."""
        return self._with(copy.deepcopy(self.module))

    def randomised(self, seed: int) -> Backbone:
        """Return the same architecture with random weights, its own initialisation under a seed."""
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(seed)
        try:
            module = self._fresh()
        finally:
            torch.set_rng_state(state)
        return self._with(module)

    def _with(self, module: nn.Module) -> Backbone:
        other = Backbone(
            reference=self.reference,
            module=module,
            preprocess=self.preprocess,
            blocks=self.blocks,
            roles=self.roles,
            pooling=self.pooling,
            by_keyword=self._by_keyword,
            fresh=self._fresh,
        )
        other.notes, other.can_cut, other.width = self.notes, self.can_cut, self.width
        other.code, other.token_table = self.code, self.token_table
        other._probe, other._depths, other._skipped = self._probe, self._depths, self._skipped
        return other

    def _block(self, depth: int) -> nn.Module:
        if not 0 <= depth < self.n_blocks:
            raise ShapeError(
                f"depth {depth} is beyond the backbone's {self.n_blocks} blocks "
                f"(0 … {self.n_blocks - 1})."
            )
        return self.module.get_submodule(self.blocks[depth])

    @contextmanager
    def _passed_through(self, depth: int) -> Iterator[None]:
        """Replace stem and blocks before `depth` by pass-throughs, and put them back.

        The stem's parts are only those without which the suffix was seen to be exact on loading.
        """
        taken: list[tuple[nn.Module, str, nn.Module]] = []
        try:
            for name in (*self._skipped, *self.blocks[:depth]):
                parent_name, _, child = name.rpartition(".")
                parent = self.module.get_submodule(parent_name)
                taken.append((parent, child, parent.get_submodule(child)))
                parent._modules[child] = _PassThrough(taken[-1][2])
            yield
        finally:
            for parent, child, block in taken:
                parent._modules[child] = block

    def _forward(self, batch: Mapping[str, torch.Tensor]) -> Any:
        if self._by_keyword:
            return self.module(**batch)
        return self.module(*batch.values())

    def _pool(self, output: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if self.pooling == "pooler" and output.get("pooler_output") is not None:
            pooled: torch.Tensor = output["pooler_output"]
            return pooled.flatten(1)
        hidden: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
        if self.pooling == "first_token":
            return hidden[:, 0]
        if hidden.ndim == 4:
            return hidden.mean(dim=(2, 3))
        if hidden.ndim == 3 and "attention_mask" in batch:
            mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
            return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
        return hidden.mean(dim=1) if hidden.ndim == 3 else hidden

    def _hidden_of_all(self, batch: Mapping[str, torch.Tensor]) -> dict[int, torch.Tensor]:
        """Return what each block receives first in one pass, by depth."""
        kept: dict[int, torch.Tensor] = {}

        def keep_at(depth: int) -> Callable[..., None]:
            def keep(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
                kept.setdefault(depth, arguments[0] if arguments else next(iter(keywords.values())))

            return keep

        handles = [
            self._block(depth).register_forward_pre_hook(keep_at(depth), with_kwargs=True)
            for depth in range(self.n_blocks)
        ]
        try:
            self._forward(batch)
        finally:
            for handle in handles:
                handle.remove()
        return kept

    def _is_exact(
        self,
        batch: Mapping[str, torch.Tensor],
        whole: torch.Tensor,
        kept: Mapping[int, torch.Tensor],
    ) -> bool:
        """Whether prefix then suffix equals the whole pass on one batch, at every depth."""
        try:
            return len(kept) == self.n_blocks > 0 and all(
                torch.equal(self.features_from(hidden, batch, depth=depth), whole)
                for depth, hidden in kept.items()
            )
        except (RuntimeError, TypeError, AttributeError, LookupError, ValueError, ShapeError):
            return False  # what a family does with a replaced argument is its own affair
