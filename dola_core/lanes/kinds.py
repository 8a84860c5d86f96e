"""The decoders themselves: each is a score over the read-outs of one forward pass."""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BeforeValidator, FailFast, Field, field_validator
from torch import Tensor

from dola_core.contrast import check_alpha, check_layer, on_plausible_head
from dola_core.lanes.buckets import bucket_layers
from dola_core.lanes.lane import Lane

Alpha = Annotated[float, BeforeValidator(check_alpha)]
"""The plausibility threshold."""
MAX_BETA, MAX_WEIGHT, MAX_READ = 10.0, 100.0, 256
Beta = Annotated[float, Field(ge=0.0, le=MAX_BETA, allow_inf_nan=False)]
"""The strength of the contrast: 1 is DoLa, 0 is the baseline on the plausible head."""


class Baseline(Lane):
    """Plain decoding, from the last layer alone."""

    kind: Literal["plain"] = "plain"
    name: str = Field("Baseline", max_length=100)

    def scores(self, log_q_N: Tensor, log_q: Tensor, closeness: Tensor | None) -> Tensor:
        """`log q_N`."""
        return log_q_N


class DolaStatic(Lane):
    """The last layer contrasted with one fixed layer j*: `log q_N − β · log q_j*` on the plausible head."""

    kind: Literal["static"] = "static"
    name: str = Field("DoLa-static", max_length=100)
    layer: int = Field(strict=True, ge=1)
    alpha: Alpha = 0.1
    beta: Beta = 1.0

    main: ClassVar[str | None] = "layer"

    @property
    def reads(self) -> tuple[int, ...]:
        """Layer j*."""
        return (self.layer,)

    @property
    def least_share(self) -> float:
        """α."""
        return self.alpha

    @property
    def settings(self) -> list[str]:
        """j*, α and what is not as usual."""
        return [f"j* = {self.layer}", *_strength(self.alpha, self.beta), *super().settings]

    def fitted(self, n_layers: int, *, tied: bool) -> "DolaStatic":
        """Itself; raises `ValueError` for a layer that the model has not."""
        check_layer(self.layer, n_layers)
        return self

    def scores(self, log_q_N: Tensor, log_q: Tensor, closeness: Tensor | None) -> Tensor:
        """`F`, equation (4) of the paper at β = 1."""
        return on_plausible_head(log_q_N - self.beta * log_q[0], log_q_N, self.alpha)


class DolaDynamic(Lane):
    """The same with the layer of a bucket that differs most from the last: `M_t = argmax_j JSD(q_N ‖ q_j)`.

    The layer is chosen anew at each step and for each row. The published implementations use another divergence: they
    weight by the mean of the two distributions, so the layer that they choose may differ; see `jensen_shannon`.
    """

    kind: Literal["dynamic"] = "dynamic"
    name: str = Field("DoLa-dynamic", max_length=100)
    bucket: str = Field(max_length=20)
    """See `bucket_layers`."""
    alpha: Alpha = 0.1
    beta: Beta = 1.0
    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], FailFast(), Field(max_length=MAX_READ)] = ()
    """The bucket's layers in the model, which `fitted` fills in."""

    main: ClassVar[str | None] = "bucket"
    chooses_layer: ClassVar[bool] = True

    @field_validator("bucket")
    @classmethod
    def _is_bucket(cls, bucket: str) -> str:
        bucket_layers(bucket, 10_001, tied=True)  # no range of four digits ends beyond
        return bucket

    @property
    def reads(self) -> tuple[int, ...]:
        """The bucket's layers."""
        if not self.layers:
            raise ValueError("A dynamic lane must be fitted to a model before it decodes; see Lane.fitted.")
        return self.layers

    @property
    def least_share(self) -> float:
        """α."""
        return self.alpha

    @property
    def settings(self) -> list[str]:
        """The bucket, α and what is not as usual."""
        return [f"j ∈ {self.bucket}", *_strength(self.alpha, self.beta), *super().settings]

    def fitted(self, n_layers: int, *, tied: bool) -> "DolaDynamic":
        """The lane with its bucket's layers; raises `ValueError` if the model has them not."""
        return self.model_copy(update={"layers": bucket_layers(self.bucket, n_layers, tied=tied)})

    def contrasted(self, closeness: Tensor) -> Tensor:
        """M_t of each row, the lowest among equally different layers."""
        return torch.tensor(self.reads, device=closeness.device)[_least(closeness)]

    def scores(self, log_q_N: Tensor, log_q: Tensor, closeness: Tensor | None) -> Tensor:
        """`F` with M_t in the place of j*."""
        if closeness is None:
            raise ValueError("A dynamic lane needs the closeness of its layers.")
        log_q_M = log_q[_least(closeness), torch.arange(log_q.shape[1], device=log_q.device)]
        return on_plausible_head(log_q_N - self.beta * log_q_M, log_q_N, self.alpha)


def _strength(alpha: float, beta: float) -> list[str]:
    return [f"α = {alpha:g}"] + ([] if beta == 1 else [f"β = {beta:g}"])


def _least(closeness: Tensor) -> Tensor:
    """The first place of the smallest entry: `[L, rows]` → `[rows]`."""
    return (closeness == closeness.amin(0)).int().argmax(0)


class LinearContrast(Lane):
    """Any linear read-out: `Σ_l w_l · log q_l` on the plausible head, with a positive weight of the last layer."""

    kind: Literal["linear"] = "linear"
    name: str = Field("Linear contrast", max_length=100)
    weights: dict[
        Annotated[int, Field(ge=0)], Annotated[float, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]
    ] = Field(max_length=MAX_READ)
    """{early layer: its weight}."""
    mature: float = Field(1.0, gt=0.0, le=MAX_WEIGHT, allow_inf_nan=False)
    """`w_N`."""
    alpha: Alpha = 0.1

    @property
    def reads(self) -> tuple[int, ...]:
        """The layers that have a weight."""
        return tuple(sorted(self.weights))

    @property
    def least_share(self) -> float:
        """α."""
        return self.alpha

    @property
    def settings(self) -> list[str]:
        """The weights, α and what is not as usual."""
        weights = [f"w_{layer} = {self.weights[layer]:g}" for layer in self.reads]
        mature = [] if self.mature == 1 else [f"w_N = {self.mature:g}"]
        return [*mature, *weights, f"α = {self.alpha:g}", *super().settings]

    def fitted(self, n_layers: int, *, tied: bool) -> "LinearContrast":
        """Itself; raises `ValueError` if it weighs layers that the model has not."""
        if not self.weights:
            raise ValueError("A linear contrast needs a weight of at least one layer.")
        for layer in self.weights:
            if layer:
                check_layer(layer, n_layers)
        return self

    def scores(self, log_q_N: Tensor, log_q: Tensor, closeness: Tensor | None) -> Tensor:
        """The weighted sum, added up in the order of the layers."""
        total = self.mature * log_q_N
        for layer, log_q_l in zip(self.reads, log_q, strict=True):
            total = total + self.weights[layer] * log_q_l
        return on_plausible_head(total, log_q_N, self.alpha)
