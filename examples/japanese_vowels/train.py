"""Train an 8-bit Brevitas LSTM on Japanese Vowels, export it, and record its outputs on the test set.

Run `python train.py`; it writes japanese_vowels.onnx, held_out.npz and results.json beside itself.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
import vowels
from brevitas.nn import QuantLSTM
from brevitas.quant import Int8ActPerTensorFloatMinMaxInit, Uint8ActPerTensorFloatMaxInit
from torch import Tensor, nn
from vowels import FEATURES, SPEAKERS, Utterances

SEED = 0
HIDDEN = 32
BATCH = 27
INPUT_NOISE = 0.3
PACKAGES = ("torch", "brevitas", "onnx", "onnxoptimizer", "numpy", "aeon")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; `scale_rate` is the learning rate of the quantizers' scales."""

    epochs: int
    rate: float
    scale_rate: float
    weight_decay: float = 0.2


FLOAT_SCHEDULE = Schedule(epochs=60, rate=0.02, scale_rate=0.0)
QUANT_SCHEDULE = Schedule(epochs=30, rate=0.002, scale_rate=0.01)


class SpeakerClassifier(nn.Module):
    """A recurrent layer and a linear head on its last valid hidden state."""

    def __init__(self, recurrent: nn.Module) -> None:
        """Wrap `recurrent`, which maps x [steps, batch, 12] to y [steps, batch, 32] first of all."""
        super().__init__()
        self.recurrent = recurrent
        self.head = nn.Linear(HIDDEN, SPEAKERS)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return logits [batch, 9] for padded x [steps, batch, 12]."""
        y = self.recurrent(x)[0]
        logits: Tensor = self.head(y[lengths - 1, torch.arange(len(lengths))])
        return logits


def quant_lstm() -> QuantLSTM:
    """Build the 8-bit layer; every activation's scale starts at range / 2^bits and is then learned.

    Brevitas's default collects ranges from the first forward calls. That fails here: input and output share a
    quantizer, it sees the narrow outputs once a step but the wide input once a batch, and settles on the outputs.
    """
    signed, unsigned = Int8ActPerTensorFloatMinMaxInit, Uint8ActPerTensorFloatMaxInit
    return QuantLSTM(
        FEATURES,
        HIDDEN,
        io_quant=signed,
        io_min_val=-2.0,
        io_max_val=2.0,  # The data lies in -1.9..2.3, hidden states in -1..1.
        gate_acc_quant=signed,
        gate_acc_min_val=-6.0,
        gate_acc_max_val=6.0,  # Beyond 6 a sigmoid is flat.
        cell_state_quant=signed,
        cell_state_min_val=-4.0,
        cell_state_max_val=4.0,  # tanh(4) = 0.9993.
        sigmoid_quant=unsigned,
        sigmoid_max_val=1.0,
        tanh_quant=signed,
        tanh_min_val=-1.0,
        tanh_max_val=1.0,
    )


def quantized_copy(trained: SpeakerClassifier) -> SpeakerClassifier:
    """Start the quantized network from the float one's weights, as quantization-aware training usually does."""
    classifier = SpeakerClassifier(quant_lstm())
    weights = {name: value.clone() for name, value in trained.state_dict().items()}
    # Brevitas splits torch's stacked gate weights itself; the float network has no scales to load.
    result = classifier.load_state_dict(weights, strict=False)
    missing = [name for name in result.missing_keys if not name.endswith("scaling_impl.value")]
    if missing or result.unexpected_keys:
        raise RuntimeError(f"weights that found no place: {missing + result.unexpected_keys}")
    return classifier


def fit(classifier: SpeakerClassifier, data: Utterances, schedule: Schedule) -> None:
    """Train in place with AdamW under a one-cycle schedule, adding Gaussian noise to the inputs."""
    # Scales are the only scalars among the parameters. Decay would drag them to zero, so they have none.
    weights = [p for p in classifier.parameters() if p.ndim > 0]
    scales = [p for p in classifier.parameters() if p.ndim == 0]
    groups: list[dict[str, Any]] = [{"params": weights, "lr": schedule.rate, "weight_decay": schedule.weight_decay}]
    if scales:
        groups.append({"params": scales, "lr": schedule.scale_rate, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups)
    steps = schedule.epochs * -(-len(data) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, [group["lr"] for group in groups], total_steps=steps)
    classifier.train()
    for _ in range(schedule.epochs):
        for indices in torch.randperm(len(data)).split(BATCH):
            _step(classifier, data.batch(indices.tolist()), optimizer)
            cycle.step()


def _step(classifier: SpeakerClassifier, batch: vowels.Batch, optimizer: torch.optim.Optimizer) -> None:
    noisy = batch.x + INPUT_NOISE * torch.randn_like(batch.x)
    loss = nn.functional.cross_entropy(classifier(noisy, batch.lengths), batch.labels)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
    optimizer.step()


@torch.no_grad()
def accuracy(classifier: SpeakerClassifier, data: Utterances) -> float:
    """Return the fraction of sequences whose speaker the classifier names."""
    classifier.eval()
    batch = data.batch(list(range(len(data))))
    correct = classifier(batch.x, batch.lengths).argmax(1) == batch.labels
    return float(correct.double().mean())


@torch.no_grad()
def accuracy_of_codes(recording: record.Recording, head: nn.Linear, data: Utterances) -> float:
    """Return the fraction that `head` names from the recorded hidden codes: what a user of the hardware gets."""
    last = np.cumsum([len(sequence) for sequence in data.sequences]) - 1
    hidden = torch.from_numpy(recording.y[last].astype(np.float32) * recording.y_scale)
    return float((head(hidden).argmax(1) == data.labels).double().mean())


def train_both(data: Utterances) -> tuple[SpeakerClassifier, SpeakerClassifier]:
    """Return the float classifier and the quantized one fine-tuned from it."""
    torch.manual_seed(SEED)
    float_classifier = SpeakerClassifier(nn.LSTM(FEATURES, HIDDEN))
    fit(float_classifier, data, FLOAT_SCHEDULE)
    quant_classifier = quantized_copy(float_classifier)
    fit(quant_classifier, data, QUANT_SCHEDULE)
    return float_classifier, quant_classifier


def save_held_out(path: Path, recording: record.Recording, head: nn.Linear, data: Utterances) -> None:
    """Write the test sequences, end to end, with Brevitas's codes for them and the float head."""
    np.savez_compressed(
        path,
        x=torch.cat(data.sequences).numpy(),
        lengths=np.array([len(sequence) for sequence in data.sequences], dtype=np.int32),
        labels=data.labels.numpy().astype(np.int32),
        head_weight=head.weight.detach().numpy(),
        head_bias=head.bias.detach().numpy(),
        y_codes=recording.y,
        y_scale=recording.y_scale,
        c_codes=recording.c,
        c_n_codes=recording.c_n,
        c_scale=recording.c_scale,
    )


def main() -> None:
    """Train, export, record, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for the three files")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    # One thread: how sums are split among threads changes their float32 rounding.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    train, test = vowels.load("TRAIN"), vowels.load("TEST")
    started = time.perf_counter()
    float_classifier, quant_classifier = train_both(train)
    print(f"trained in {time.perf_counter() - started:.0f} s")

    lstm = quant_classifier.recurrent
    assert isinstance(lstm, QuantLSTM)
    record.export(lstm, max(len(sequence) for sequence in test.sequences), out / "japanese_vowels.onnx")
    recording = record.record(lstm, test.sequences)
    save_held_out(out / "held_out.npz", recording, quant_classifier.head, test)
    results = {
        "float_train_accuracy": accuracy(float_classifier, train),
        "float_test_accuracy": accuracy(float_classifier, test),
        "quantized_train_accuracy": accuracy(quant_classifier, train),
        "quantized_test_accuracy": accuracy_of_codes(recording, quant_classifier.head, test),
        "seed": SEED,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }
    text = json.dumps(results, indent=2)
    (out / "results.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
