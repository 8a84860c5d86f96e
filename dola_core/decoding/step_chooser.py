"""One step of lock step: what every lane makes of the read-outs of its row, and the record of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dola_core.contrast import closeness, log_softmax
from dola_core.decoding.batch import EarlyReadout, Readouts, mature_rows
from dola_core.decoding.model_settings import MatureProcessors
from dola_core.lanes import DecodingConfig, Lane, Reading, gumbel_noise, lane_scores, select_tokens
from dola_core.models.reading.workspace import Workspace
from dola_core.trace.schema import recorded_readings
from dola_core.trace.step import Step
from dola_core.trace.step_record import Allowance, RowLanes, record_steps


def early_readouts(lane: Lane, config: DecodingConfig) -> list[EarlyReadout]:
    """The early read-outs that a lane decodes from."""
    normed = lane.reading(config).early_norm
    return [EarlyReadout(layer, normed, lane.image) for layer in lane.reads]


@dataclass(frozen=True)
class StepChoices:
    """What the lanes choose after one forward pass, and what they chose by."""

    ids: Tensor
    """`[rows, T]`"""
    log_q: Tensor
    """`[K, V]`, in the order of `Readouts.logits`."""
    log_q_N: dict[tuple[float, bool], Tensor]
    """{(repetition penalty, whether images are seen): the last layer's log-probabilities `[rows, V]`}"""
    noise: Tensor | None
    """Gumbel noise `[V]`, or None."""
    chosen: list[dict[int, int]]
    """`[lane]{row: token}`"""
    scores: list[Tensor]
    """`[lane][rows, V]`; empty if nothing is recorded."""
    closeness: dict[Reading, Tensor]
    """Of the layers 0 … N−1 to the last, `[N, rows]`, for the readings of lanes that choose a layer by it, 0 for the
    embeddings if no lane reads them; empty if nothing is recorded."""
    contrasted: dict[int, list[int]]
    """{lane that chooses a layer: the layer on each row}; empty if nothing is recorded."""


class StepChooser:
    """The lanes' side of a comparison: what each of them makes of the read-outs of its row."""

    def __init__(
        self,
        batch: Readouts,
        n_layers: int,
        lanes: tuple[Lane, ...],
        config: DecodingConfig,
        processors: MatureProcessors,
        *,
        record: bool,
    ) -> None:
        self.batch, self.n_layers, self.lanes, self.config, self.record = batch, n_layers, lanes, config, record
        self.processors, self.workspace = processors, Workspace()
        self.readings = [lane.reading(config) for lane in lanes]
        self.recorded = recorded_readings(lanes, config)
        self.reads = [early_readouts(lane, config) for lane in lanes]
        self.with_embeddings = any(0 in lane.reads for lane in lanes)

    @torch.inference_mode()
    def choose(self, row_of: dict[int, int]) -> StepChoices | None:
        """Let every lane choose a token: on every row if the step is recorded, else on its own row only.

        None if a read-out is not finite (a NaN or an infinity anywhere shows in the sum), or if the model's settings
        leave no token possible.
        """
        logits = self.batch.logits
        ids = self.batch.ids.to(logits.device)  # a model may begin on one device and end on another
        rows = ids.shape[0]
        mature = {
            (penalty, image): self.processors(ids, logits[mature_rows(self.batch, image=image)], penalty)
            for penalty, image in dict.fromkeys((reading.penalty, reading.image) for reading in self.readings)
        }
        read = logits[: -rows * len(self.batch.sees)] if self.processors.mend_values else logits
        if not (math.isfinite(read.sum()) and all(one.amax(-1).isfinite().all() for one in mature.values())):
            return None
        log_q = torch.log_softmax(logits, -1, out=self.workspace.like("log_q", logits))
        log_q_N = {how: log_softmax(one) for how, one in mature.items()}
        noise = gumbel_noise(self.config, ids.shape[-1], logits.shape[-1])
        noise = None if noise is None else noise.to(logits.device)
        choices = StepChoices(ids, log_q, log_q_N, noise, [{} for _ in self.lanes], [], {}, {})
        if not self.record:
            for number, row in row_of.items():
                scores = self._scores(choices, number, row, row + 1)
                choices.chosen[number][row] = int(select_tokens(self.config, scores, noise))
            return choices
        for number, lane in enumerate(self.lanes):
            reading = self.readings[number]
            if lane.chooses_layer and reading not in choices.closeness:
                choices.closeness[reading] = self._closeness(choices, reading)
            choices.scores.append(self._scores(choices, number, 0, rows))
            tokens = select_tokens(self.config, choices.scores[number], noise).tolist()
            choices.chosen[number].update(enumerate(tokens))
            if lane.chooses_layer:
                own = choices.closeness[reading][list(lane.reads)]
                choices.contrasted[number] = lane.contrasted(own).tolist()
        return choices

    @torch.inference_mode()
    def records(
        self, index: int, row_of: dict[int, int], tokens: dict[int, int], allowance: Allowance, choices: StepChoices
    ) -> tuple[Step, ...]:
        """What the trace keeps of this step: a record of every row, under every reading that is recorded."""
        count, steps = choices.ids.shape[0], list[Step]()
        lanes = [tuple(lane for lane, r in row_of.items() if r == row) for row in range(count)]
        for number, reading in enumerate(self.recorded):
            steps += record_steps(
                index,
                [RowLanes(here, tuple(tokens[lane] for lane in here)) for here in lanes],
                allowance,
                reading=number,
                choices=torch.tensor([[chosen[row] for chosen in choices.chosen] for row in range(count)]),
                contrasted=choices.contrasted,
                scores=torch.stack(choices.scores, dim=1),
                log_q=self._table(choices, reading),
                closeness=choices.closeness.get(reading),
                log_q_0=self._embeddings(choices, reading),
                ids=choices.ids,
                noise=choices.noise,
                workspace=self.workspace,
            )
        return tuple(steps)

    def _scores(self, choices: StepChoices, number: int, first: int, end: int) -> Tensor:
        """What lane `number` decodes from on the rows from `first` to before `end`: `[end − first, V]`."""
        lane, reading = self.lanes[number], self.readings[number]
        log_q_N = choices.log_q_N[reading.penalty, reading.image][first:end]
        log_q = self._early(choices.log_q, self.reads[number], first, end)
        if not lane.chooses_layer:
            return lane_scores(lane, self.config, choices.ids[first:end], log_q_N, log_q)
        known = choices.closeness.get(reading)
        close = closeness(log_q_N, log_q) if known is None else known[list(lane.reads)][:, first:end]
        return lane_scores(lane, self.config, choices.ids[first:end], log_q_N, log_q, close)

    def _early(self, log_q: Tensor, reads: Sequence[EarlyReadout], first: int, end: int) -> Tensor:
        """Early read-outs of the rows from `first` to before `end`: `[L, end − first, V]`, a view where it can be."""
        count = end - first
        places = [self.batch.logit_index(early, first) for early in reads]
        start = places[0] if places else 0
        if places == list(range(start, start + len(places) * count, count)):
            return log_q[start : start + len(places) * count].view(len(places), count, log_q.shape[-1])
        return torch.stack([log_q[place : place + count] for place in places])

    def _table(self, choices: StepChoices, reading: Reading) -> Tensor:
        """Log-probabilities of all layers as a reading has them, `[N, rows, V]`."""
        log_q, mature = choices.log_q, choices.log_q_N[reading.penalty, reading.image]
        start = self.batch.logit_index(EarlyReadout(1, reading.early_norm, reading.image), 0)
        end = start + (self.n_layers - 1) * len(mature)
        if end + len(mature) == len(log_q):  # the last layer's own place follows
            log_q[end:] = mature
            return log_q[start:].view(self.n_layers, *mature.shape)
        return torch.cat([log_q[start:end], mature]).view(self.n_layers, *mature.shape)

    def _embeddings(self, choices: StepChoices, reading: Reading) -> Tensor | None:
        """Log-probabilities of the embeddings as a reading has them, `[rows, V]`, if a lane reads them."""
        if not self.with_embeddings:
            return None
        return self._early(choices.log_q, [EarlyReadout(0, reading.early_norm, reading.image)], 0, len(choices.ids))[0]

    def _closeness(self, choices: StepChoices, reading: Reading) -> Tensor:
        """The closeness of the layers 0 … N−1 to the last: `[N, rows]`."""
        *layers, last = self._table(choices, reading)
        log_q_0 = self._embeddings(choices, reading)
        first = torch.zeros_like(last[:, 0]) if log_q_0 is None else closeness(last, log_q_0)
        return torch.stack([first, *(closeness(last, layer) for layer in layers)])
