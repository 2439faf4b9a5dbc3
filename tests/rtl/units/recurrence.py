# SPDX-License-Identifier: Apache-2.0
"""Models of the units of the loop: input product, buffer of sums, sequencer, state."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from functools import cached_property

from units.bench import Bench, Signals, hex_words, index_bits, pack, unpack
from units.stacks import Order


class InputProduct(Bench):
    unit = "hwgen_input_product"

    @property
    def folds(self) -> int:
        return self["Rows"] // self["Pe"]

    @property
    def stacked(self) -> int:
        return self.parameters.get("Stacked", 0)

    @property
    def all_folds(self) -> int:
        """Those of all sets of weights, one behind the other."""
        return self.parameters.get("Sets", 1) * self.folds

    @property
    def column_tiles(self) -> int:
        return self["Columns"] // self["Simd"]

    @property
    def latency(self) -> int:
        return self["WeightStages"] + self["ProductStages"] + self["TreeStages"] + 1

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid_i": 1, "codes_i": self["Simd"] * self["CodeBits"], "last_i": 1, "free_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": 1, "valid_o": 1, "sums_o": self["Pe"] * self["SumBits"], "done_o": 1, "last_o": 1}

    def texts(self) -> dict[str, str]:
        return {"WeightFile": f'"rom/{self.name}_weights.hex"', "BiasFile": f'"rom/{self.name}_bias.hex"'}

    @cached_property
    def constants(self) -> tuple[list[list[int]], list[int]]:
        """Weights [row][column] and biases [row]."""
        rng, top, rows = self.seeded(), 1 << (self["WeightBits"] - 1), self.all_folds * self["Pe"]
        numbers = [-1, 1] if self["Bipolar"] else range(-top, top)
        weights = [[rng.choice(numbers) for _ in range(self["Columns"])] for _ in range(rows)]
        return weights, [rng.randint(-50, 50) for _ in range(rows)]

    def files(self) -> dict[str, str]:
        weights, biases = self.constants
        pe, simd, bits = self["Pe"], self["Simd"], self["WeightBits"]
        stored = [[int(w > 0) for w in row] for row in weights] if self["Bipolar"] else weights
        tiles = [
            pack((w for row in stored[fold * pe :][:pe] for w in row[column * simd :][:simd]), bits)
            for fold in range(self.all_folds)
            for column in range(self.column_tiles)
        ]
        sums = [pack(biases[fold * pe :][:pe], self["SumBits"]) for fold in range(self.all_folds)]
        return {
            f"rom/{self.name}_weights.hex": hex_words(tiles, pe * simd * bits),
            f"rom/{self.name}_bias.hex": hex_words(sums, pe * self["SumBits"]),
        }

    def restart(self) -> None:
        self.cycle, self.fold, self.column = 0, 0, 0
        self.order = Order()
        self.codes: list[int] = []
        self.last = 0
        self.room, self.done = self["Steps"], 0
        self.due: deque[tuple[int, int, int, int]] = deque()  # cycle, sums, done, last
        self.waiting: Signals | None = None

    @property
    def ready(self) -> bool:
        return self.fold % self.folds == 0 and (self.column > 0 or self.room > 0)

    def drive(self) -> Signals:
        # A beat that was not taken stays; one that was begun is brought to its end.
        if self.waiting is None:
            within = self.column > 0 and self.fold % self.folds == 0
            begins = not self.chance(self.idle) if within else self.busy()
            codes = self.word(self["Simd"] * self["CodeBits"])
            last = self.order.last(self.rng) if self.stacked else self.rng.getrandbits(1)
            inputs = {"valid_i": int(begins), "codes_i": codes, "last_i": last}
        else:
            inputs = self.waiting
        # Room comes back for steps that are done.
        return inputs | {"free_i": int(self.done > 0 and not self.chance(self.stall))}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        self.same("ready_o", outputs["ready_o"], int(self.ready))
        if self.due and self.due[0][0] == self.cycle:
            _, sums, done, last = self.due.popleft()
            self.same("valid_o", outputs["valid_o"], 1)
            self.same("sums_o", outputs["sums_o"], sums)
            self.same("done_o", outputs["done_o"], done)
            if done:
                self.same("last_o", outputs["last_o"], last)
            self.done += done
        else:
            self.same("valid_o", outputs["valid_o"], 0)
            self.same("done_o", outputs["done_o"], 0)
        taken = bool(inputs["valid_i"]) and self.ready
        kept = {port: inputs[port] for port in ("valid_i", "codes_i", "last_i")}
        self.waiting = kept if inputs["valid_i"] and not taken else None
        self.room += inputs["free_i"]
        self.done -= inputs["free_i"]
        if taken:
            self.room -= self.column == 0
            self.codes += unpack(inputs["codes_i"], self["CodeBits"], self["Simd"])
            self.last = inputs["last_i"]
        if taken or self.fold % self.folds > 0:
            self._tile()
        self.cycle += 1

    def _tile(self) -> None:
        self.column += 1
        if self.column < self.column_tiles:
            return
        weights, biases = self.constants
        first = self.fold * self["Pe"]
        sums = [
            biases[row] + sum(w * c for w, c in zip(weights[row], self.codes, strict=True))
            for row in range(first, first + self["Pe"])
        ]
        done = self.fold % self.folds == self.folds - 1
        self.due.append((self.cycle + self.latency, pack(sums, self["SumBits"]), int(done), self.last))
        self.column, self.fold = 0, (self.fold + 1) % self.all_folds
        if done:
            self.codes = []
        if done and self.stacked:
            self.order.step(self.last)
            self.fold = self.order.turn * self.folds

    def finished(self) -> bool:
        within = self.fold % self.folds > 0 or self.column > 0
        return not self.due and self.done == 0 and not within and self.waiting is None


class TileProduct(InputProduct):
    unit = "hwgen_tile_product"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {**super().inputs, "weights_i": self["Pe"] * self["Simd"] * self["WeightBits"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {**super().outputs, "tile_o": index_bits(self.all_folds * self.column_tiles)}

    def texts(self) -> dict[str, str]:
        order = f"{32 * self['Gates']}'h{self['Order']:x}"
        return {"Order": order, "BiasFile": f'"rom/{self.name}_bias.hex"'}

    @cached_property
    def memory(self) -> list[int]:
        """The words that others hold for it, with the rows of each group in their order."""
        order, gates, weights = unpack(self["Order"], 32, self["Gates"]), self["Gates"], self.constants[0]
        rows: list[list[int]] = [[]] * len(weights)
        for row, values in enumerate(weights):
            rows[row - row % gates + order[row % gates]] = [int(w > 0) for w in values] if self["Bipolar"] else values
        pe, simd = self["Pe"], self["Simd"]
        return [
            pack((w for row in rows[fold * pe :][:pe] for w in row[column * simd :][:simd]), self["WeightBits"])
            for fold in range(self.all_folds)
            for column in range(self.column_tiles)
        ]

    def files(self) -> dict[str, str]:
        return {name: text for name, text in super().files().items() if name.endswith("_bias.hex")}

    def restart(self) -> None:
        super().restart()
        self.tiles: deque[int] = deque(maxlen=self["WeightStages"])

    def drive(self) -> Signals:
        known = len(self.tiles) == self["WeightStages"]
        word = self.memory[self.tiles[0]] if known else self.word(self.inputs["weights_i"])
        return super().drive() | {"weights_i": word}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        super().observe(inputs, outputs)
        assert outputs["tile_o"] < len(self.memory), f"{self.unit} {self.parameters}: there is no tile {outputs}"
        self.tiles.append(outputs["tile_o"])


class SumsBuffer(Bench):
    unit = "hwgen_sums_buffer"

    @property
    def inputs(self) -> Mapping[str, int]:
        sums = self["WritePe"] * self["SumBits"]
        return {"valid_i": 1, "sums_i": sums, "done_i": 1, "last_i": 1, "take_i": 1, "read_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": 1, "last_o": 1, "sums_o": self["ReadPe"] * self["SumBits"], "free_o": 1}

    def restart(self) -> None:
        self.cycle = 0
        self.writing: list[int] = []
        self.steps: deque[tuple[list[int], int]] = deque()  # whole, not taken
        self.reading: deque[int] = deque()  # sums of steps that were taken
        self.occupied = 0  # steps begun and not yet freed
        self.due: deque[tuple[int, int]] = deque()

    def drive(self) -> Signals:
        begun = bool(self.writing)
        valid = not self.chance(self.idle) if begun else self.occupied < self["Steps"] and self.busy()
        ends = valid and len(self.writing) + self["WritePe"] == self["Rows"]
        return {
            "valid_i": int(valid),
            "sums_i": self.word(self["WritePe"] * self["SumBits"]),
            "done_i": int(ends),
            "last_i": self.rng.getrandbits(1),
            "take_i": int(bool(self.steps) and not self.chance(self.stall)),
            "read_i": int(bool(self.reading) and not self.chance(self.stall)),
        }

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        self.same("ready_o", outputs["ready_o"], int(bool(self.steps)))
        if self.steps:
            self.same("last_o", outputs["last_o"], self.steps[0][1])
        if self.due and self.due[0][0] == self.cycle:
            self.same("sums_o", outputs["sums_o"], self.due.popleft()[1])
        freed = inputs["read_i"] and (len(self.reading) - self["ReadPe"]) % self["Rows"] == 0
        self.same("free_o", outputs["free_o"], int(freed))
        if inputs["read_i"]:
            sums = [self.reading.popleft() for _ in range(self["ReadPe"])]
            self.due.append((self.cycle + self["ReadStages"], pack(sums, self["SumBits"])))
        if inputs["take_i"]:
            self.reading += self.steps.popleft()[0]
        if inputs["valid_i"]:
            self.occupied += not self.writing
            self.writing += unpack(inputs["sums_i"], self["SumBits"], self["WritePe"])
        if inputs["done_i"]:
            self.steps.append((self.writing, inputs["last_i"]))
            self.writing = []
        self.occupied -= bool(freed)
        self.cycle += 1

    def finished(self) -> bool:
        return not (self.writing or self.steps or self.reading or self.due)


class RecurrenceControl(Bench):
    unit = "hwgen_recurrence_control"

    @property
    def tiles(self) -> int:
        return self["ColumnTiles"] * self["Parts"] * self["Groups"]

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"sums_ready_i": 1, "sums_last_i": 1, "room_i": 1, "initial_ready_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        flags = ("start_o", "start_initial_o", "valid_o", "first_column_o", "last_column_o")
        indices = {
            "tile_o": self.tiles,
            "column_o": self["ColumnTiles"],
            "part_o": self["Parts"],
            "group_o": self["Groups"],
        }
        steps = ("initial_o", "final_o", "copy_o")
        return dict.fromkeys((*flags, *steps), 1) | {port: index_bits(count) for port, count in indices.items()}

    def restart(self) -> None:
        self.cycle, self.earliest = 0, 0
        self.initial = True  # of the next step
        self.steps: deque[tuple[int, int, int, int]] = deque()  # first tile, initial, final, number
        self.count = 0
        self.copies: dict[int, int] = {}
        self.last: int | None = None

    def drive(self) -> Signals:
        # What is offered stays, and so does whether it is the last step.
        if self.last is None and self.busy():
            self.last = self.rng.getrandbits(1)
        return {
            "sums_ready_i": int(self.last is not None),
            "sums_last_i": self.rng.getrandbits(1) if self.last is None else self.last,
            "room_i": int(not self.chance(self.stall)),
            "initial_ready_i": int(not self.chance(self.stall)),
        }

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        start = (
            self.cycle >= self.earliest
            and inputs["sums_ready_i"]
            and inputs["room_i"]
            and (inputs["initial_ready_i"] or not self.initial)
        )
        self.same("start_o", outputs["start_o"], int(bool(start)))
        self.same("start_initial_o", outputs["start_initial_o"], int(bool(start and self.initial)))
        active = bool(self.steps) and self.steps[0][0] <= self.cycle
        self.same("valid_o", outputs["valid_o"], int(active))
        if active:
            begin, initial, final, number = self.steps[0]
            tile = self.cycle - begin
            row, column = divmod(tile, self["ColumnTiles"])
            group, part = divmod(row, self["Parts"])
            for port, wanted in (
                ("tile_o", tile),
                ("column_o", column),
                ("part_o", part),
                ("group_o", group),
                ("first_column_o", int(column == 0)),
                ("last_column_o", int(column == self["ColumnTiles"] - 1)),
                ("initial_o", initial),
                ("final_o", final),
            ):
                self.same(port, outputs[port], wanted)
            # A step writes the copy that the step before it did not.
            self.copies[number] = outputs["copy_o"]
            if number - 1 in self.copies:
                self.same("copy_o", outputs["copy_o"], 1 - self.copies[number - 1])
            if tile == self.tiles - 1:
                self.steps.popleft()
        if start:
            last = inputs["sums_last_i"] and not self["Streaming"]
            self.steps.append((self.cycle + 1, int(self.initial), inputs["sums_last_i"], self.count))
            self.earliest = self.cycle + (self.tiles if last else self["Period"])
            self.initial, self.last = bool(last), None
            self.count += 1
        self.cycle += 1

    def finished(self) -> bool:
        return not self.steps and self.last is None


class InterleaveControl(Bench):
    unit = "hwgen_interleave_control"

    @property
    def tiles(self) -> int:
        return self["ColumnTiles"] * self["Parts"] * self["Groups"]

    @property
    def inputs(self) -> Mapping[str, int]:
        context = {"sums_context_i": index_bits(self["Contexts"])}
        return {"sums_ready_i": 1, "sums_last_i": 1, "room_i": 1, "initial_ready_i": 1, **context}

    @property
    def outputs(self) -> Mapping[str, int]:
        flags = ("start_o", "start_initial_o", "valid_o", "first_column_o", "last_column_o")
        indices = {
            "tile_o": self.tiles,
            "column_o": self["ColumnTiles"],
            "part_o": self["Parts"],
            "group_o": self["Groups"],
            "context_o": self["Contexts"],
        }
        steps = ("initial_o", "final_o", "copy_o")
        return dict.fromkeys((*flags, *steps), 1) | {port: index_bits(count) for port, count in indices.items()}

    def restart(self) -> None:
        self.cycle, self.free = 0, 0
        # Of each context that goes on with a sequence: when its state is there.
        self.states: dict[int, int] = {}
        self.copies: dict[int, int] = {}  # that its last step wrote
        self.steps: deque[tuple[int, int, int, int]] = deque()  # first tile, initial, final, context
        self.offered: tuple[int, int] | None = None  # last, context

    def drive(self) -> Signals:
        # What is offered stays.
        if self.offered is None and self.busy():
            self.offered = self.rng.getrandbits(1), self.rng.randrange(self["Contexts"])
        last, context = self.offered or (self.rng.getrandbits(1), self.rng.randrange(self["Contexts"]))
        return {
            "sums_ready_i": int(self.offered is not None),
            "sums_last_i": last,
            "sums_context_i": context,
            "room_i": int(not self.chance(self.stall)),
            "initial_ready_i": int(not self.chance(self.stall)),
        }

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        last, context = inputs["sums_last_i"], inputs["sums_context_i"]
        initial = context not in self.states
        start = (
            self.cycle >= max(self.free, self.states.get(context, 0))
            and inputs["sums_ready_i"]
            and inputs["room_i"]
            and (inputs["initial_ready_i"] or not initial)
        )
        self.same("start_o", outputs["start_o"], int(bool(start)))
        self.same("start_initial_o", outputs["start_initial_o"], int(bool(start and initial)))
        active = bool(self.steps) and self.steps[0][0] <= self.cycle
        self.same("valid_o", outputs["valid_o"], int(active))
        if active:
            self._tile(outputs)
        if start:
            self.steps.append((self.cycle + 1, int(initial), last, context))
            self.free = self.cycle + self.tiles
            self.states[context] = self.cycle + self["Period"]
            if last and not self["Streaming"]:
                del self.states[context]
            self.offered = None
        self.cycle += 1

    def _tile(self, outputs: Signals) -> None:
        begin, initial, final, context = self.steps[0]
        tile = self.cycle - begin
        row, column = divmod(tile, self["ColumnTiles"])
        group, part = divmod(row, self["Parts"])
        for port, wanted in (
            ("tile_o", tile),
            ("column_o", column),
            ("part_o", part),
            ("group_o", group),
            ("first_column_o", int(column == 0)),
            ("last_column_o", int(column == self["ColumnTiles"] - 1)),
            ("initial_o", initial),
            ("final_o", final),
            ("context_o", context),
        ):
            self.same(port, outputs[port], wanted)
        # A step writes the copy that the step before it of the same context did not.
        if tile == 0 and context in self.copies:
            self.same("copy_o", outputs["copy_o"], 1 - self.copies[context])
        self.copies[context] = outputs["copy_o"]
        if tile == self.tiles - 1:
            self.steps.popleft()

    def finished(self) -> bool:
        return not self.steps and self.offered is None


class ContextQueue(Bench):
    unit = "hwgen_context_queue"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"beat_i": 1, "context_i": index_bits(self["Contexts"]), "take_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"context_o": index_bits(self["Contexts"])}

    def restart(self) -> None:
        self.beat, self.context = 0, 0
        self.entered: deque[int] = deque()

    def drive(self) -> Signals:
        if self.beat == 0:
            self.context = self.rng.randrange(self["Contexts"])
            beat = len(self.entered) < self["Steps"] and self.busy()
        else:
            beat = not self.chance(self.idle)
        take = bool(self.entered) and not self.chance(self.stall)
        return {"beat_i": int(beat), "context_i": self.context, "take_i": int(take)}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        if self.entered:
            self.same("context_o", outputs["context_o"], self.entered[0])
        if inputs["take_i"]:
            self.entered.popleft()
        if inputs["beat_i"]:
            self.beat = (self.beat + 1) % self["Beats"]
            if self.beat == 0:
                self.entered.append(self.context)

    def finished(self) -> bool:
        return not self.entered and self.beat == 0


class HiddenMemory(Bench):
    unit = "hwgen_hidden_memory"
    clocks = ("clk_i",)

    @property
    def column_tiles(self) -> int:
        return self["Units"] * self["Groups"] // self["Simd"]

    @property
    def inputs(self) -> Mapping[str, int]:
        return {
            "hidden_write_i": 1,
            "hidden_write_copy_i": 1,
            "hidden_write_group_i": index_bits(self["Groups"]),
            "hidden_i": self["Units"] * self["HiddenBits"],
            "hidden_read_copy_i": 1,
            "hidden_read_column_i": index_bits(self.column_tiles),
        }

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"hidden_o": self["Simd"] * self["HiddenBits"]}

    def restart(self) -> None:
        # Nothing is known before it is written.
        self.hidden: list[list[int | None]] = [[None] * (self["Units"] * self["Groups"]) for _ in range(2)]

    def drive(self) -> Signals:
        inputs = {port: self.word(bits) for port, bits in self.inputs.items()}
        for port in inputs:
            if port.endswith("_group_i"):
                inputs[port] = self.rng.randrange(self["Groups"])
            elif port.endswith("_write_i"):
                inputs[port] = int(self.busy())
        return inputs | {"hidden_read_column_i": self.rng.randrange(self.column_tiles)}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        first = inputs["hidden_read_column_i"] * self["Simd"]
        codes = self.hidden[inputs["hidden_read_copy_i"]][first : first + self["Simd"]]
        got = unpack(outputs["hidden_o"], self["HiddenBits"], self["Simd"])
        known = [code if code is not None else shown for code, shown in zip(codes, got, strict=True)]
        self.same("hidden_o", outputs["hidden_o"], pack(known, self["HiddenBits"]))
        if inputs["hidden_write_i"]:
            first = inputs["hidden_write_group_i"] * self["Units"]
            written = unpack(inputs["hidden_i"], self["HiddenBits"], self["Units"])
            self.hidden[inputs["hidden_write_copy_i"]][first : first + self["Units"]] = written


class StateMemory(HiddenMemory):
    unit = "hwgen_state_memory"

    @property
    def inputs(self) -> Mapping[str, int]:
        group = index_bits(self["Groups"])
        cell = {"cell_write_group_i": group, "cell_i": self["Units"] * self["CellBits"], "cell_read_group_i": group}
        return {**super().inputs, "cell_write_i": 1, **cell}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {**super().outputs, "cell_o": self["Units"] * self["CellBits"]}

    def restart(self) -> None:
        super().restart()
        self.cells: list[int | None] = [None] * self["Groups"]
        self.read: int | None = None

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        super().observe(inputs, outputs)
        if self.read is not None:
            self.same("cell_o", outputs["cell_o"], self.read)
        self.read = self.cells[inputs["cell_read_group_i"]]
        if inputs["cell_write_i"]:
            self.cells[inputs["cell_write_group_i"]] = inputs["cell_i"]


class ContextHidden(Bench):
    unit = "hwgen_context_hidden"
    clocks = ("clk_i",)

    @property
    def column_tiles(self) -> int:
        return self["Units"] * self["Groups"] // self["Simd"]

    @property
    def inputs(self) -> Mapping[str, int]:
        context = index_bits(self["Contexts"])
        return {
            "hidden_write_i": 1,
            "hidden_write_copy_i": 1,
            "hidden_write_context_i": context,
            "hidden_write_group_i": index_bits(self["Groups"]),
            "hidden_i": self["Units"] * self["HiddenBits"],
            "hidden_read_copy_i": 1,
            "hidden_read_context_i": context,
            "hidden_read_column_i": index_bits(self.column_tiles),
        }

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"hidden_o": self["Simd"] * self["HiddenBits"]}

    def restart(self) -> None:
        # Nothing is known before it is written: h by context, copy and unit.
        self.hidden: dict[tuple[int, int, int], int] = {}

    def drive(self) -> Signals:
        inputs = {port: self.word(bits) for port, bits in self.inputs.items()}
        for port in inputs:
            if port.endswith("_group_i"):
                inputs[port] = self.rng.randrange(self["Groups"])
            elif port.endswith("_context_i"):
                inputs[port] = self.rng.randrange(self["Contexts"])
            elif port.endswith("_write_i"):
                inputs[port] = int(self.busy())
        return inputs | {"hidden_read_column_i": self.rng.randrange(self.column_tiles)}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        first = inputs["hidden_read_column_i"] * self["Simd"]
        place = inputs["hidden_read_context_i"], inputs["hidden_read_copy_i"]
        got = unpack(outputs["hidden_o"], self["HiddenBits"], self["Simd"])
        known = [self.hidden.get((*place, first + unit), shown) for unit, shown in enumerate(got)]
        self.same("hidden_o", outputs["hidden_o"], pack(known, self["HiddenBits"]))
        if inputs["hidden_write_i"]:
            place = inputs["hidden_write_context_i"], inputs["hidden_write_copy_i"]
            first = inputs["hidden_write_group_i"] * self["Units"]
            for unit, code in enumerate(unpack(inputs["hidden_i"], self["HiddenBits"], self["Units"])):
                self.hidden[(*place, first + unit)] = code


class ContextMemory(ContextHidden):
    unit = "hwgen_context_memory"

    @property
    def inputs(self) -> Mapping[str, int]:
        context, group = index_bits(self["Contexts"]), index_bits(self["Groups"])
        cell = {
            "cell_write_i": 1,
            "cell_write_context_i": context,
            "cell_write_group_i": group,
            "cell_i": self["Units"] * self["CellBits"],
            "cell_read_context_i": context,
            "cell_read_group_i": group,
        }
        return {**super().inputs, **cell}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {**super().outputs, "cell_o": self["Units"] * self["CellBits"]}

    def restart(self) -> None:
        super().restart()
        # c by context and group.
        self.cells: dict[tuple[int, int], int] = {}
        self.read: int | None = None

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        super().observe(inputs, outputs)
        if self.read is not None:
            self.same("cell_o", outputs["cell_o"], self.read)
        self.read = self.cells.get((inputs["cell_read_context_i"], inputs["cell_read_group_i"]))
        if inputs["cell_write_i"]:
            self.cells[inputs["cell_write_context_i"], inputs["cell_write_group_i"]] = inputs["cell_i"]


def benches() -> list[Bench]:
    """Parameter sets, corners included."""
    products: list[Bench] = [
        InputProduct(
            Rows=rows,
            Columns=columns,
            Pe=pe,
            Simd=simd,
            CodeBits=code,
            WeightBits=weight,
            Bipolar=bipolar,
            SumBits=20,
            WeightBlock=block,
            WeightStages=stages[0],
            ProductStages=stages[1],
            TreeStages=stages[2],
            Steps=steps,
        )
        for rows, columns, pe, simd, code, weight, bipolar, block, stages, steps in (
            (1, 1, 1, 1, 2, 2, 0, 0, (1, 0, 0), 1),
            (4, 2, 4, 2, 8, 8, 0, 0, (1, 1, 0), 2),  # all at once
            (4, 6, 4, 2, 8, 4, 0, 0, (2, 1, 0), 3),  # one group of rows
            (8, 2, 2, 2, 8, 8, 0, 1, (2, 1, 1), 2),  # one tile of columns
            (12, 10, 4, 5, 9, 3, 0, 1, (2, 1, 2), 2),
            (6, 9, 3, 3, 4, 1, 1, 0, (1, 1, 1), 5),
        )
    ]
    products += [
        # Sets of weights in turns: one tile each, one group of rows, several.
        unit(
            Rows=rows,
            Columns=columns,
            Pe=pe,
            Simd=2,
            CodeBits=8,
            WeightBits=4,
            Bipolar=0,
            SumBits=20,
            WeightStages=2,
            ProductStages=1,
            TreeStages=0,
            Steps=3,
            Sets=sets,
            **more,
        )
        for unit, rows, columns, pe, sets, more in (
            (InputProduct, 4, 6, 4, 3, {"WeightBlock": 0}),
            (TileProduct, 4, 2, 4, 2, {"Gates": 1, "Order": 0}),
            (TileProduct, 6, 6, 2, 2, {"Gates": 1, "Order": 0}),
            # As two layers of a stack take turns.
            (TileProduct, 6, 6, 2, 2, {"Gates": 1, "Order": 0, "Stacked": 1}),
            (InputProduct, 4, 2, 4, 2, {"WeightBlock": 0, "Stacked": 1}),
        )
    ]
    products += [
        TileProduct(
            Rows=rows,
            Columns=columns,
            Pe=pe,
            Simd=simd,
            CodeBits=8,
            WeightBits=weight,
            Bipolar=int(weight == 1),
            SumBits=20,
            WeightStages=stages,
            ProductStages=1,
            TreeStages=0,
            Steps=2,
            Gates=len(order),
            Order=pack(order, 32),
        )
        for rows, columns, pe, simd, weight, stages, order in (
            (4, 6, 2, 2, 8, 1, (0,)),
            (1, 1, 1, 1, 2, 2, (0,)),
            (12, 6, 1, 2, 8, 1, (1, 0, 2, 3)),  # tiles in another order
            (6, 3, 1, 3, 4, 2, (2, 0, 1)),
            (16, 4, 8, 2, 8, 2, (1, 0, 2, 3)),  # lanes in another order
            (4, 5, 4, 1, 1, 1, (3, 0, 1, 2)),
        )
    ]
    buffers = [
        SumsBuffer(
            Rows=rows,
            WritePe=write,
            ReadPe=read,
            Common=math.gcd(write, read),
            SumBits=bits,
            Steps=steps,
            ReadStages=stages,
        )
        for rows, write, read, bits, steps, stages in (
            (1, 1, 1, 1, 1, 1),
            (4, 4, 4, 9, 2, 1),
            (12, 4, 2, 8, 2, 2),
            (12, 2, 4, 8, 3, 1),
            (12, 4, 6, 5, 2, 3),
            (60, 4, 15, 7, 2, 2),
            (8, 1, 8, 20, 5, 1),
        )
    ]
    controls: list[Bench] = [
        RecurrenceControl(ColumnTiles=columns, Parts=parts, Groups=groups, Period=period, Streaming=streaming)
        for columns, parts, groups, period, streaming in (
            (1, 1, 1, 1, 0),
            (1, 1, 1, 8, 0),
            (5, 1, 4, 25, 0),
            (2, 4, 3, 24, 0),
            (3, 2, 1, 10, 1),
            (1, 1, 6, 9, 1),
        )
    ]
    controls += [
        InterleaveControl(
            Contexts=contexts, ColumnTiles=columns, Parts=parts, Groups=groups, Period=period, Streaming=streaming
        )
        for contexts, columns, parts, groups, period, streaming in (
            (2, 1, 1, 1, 1, 0),
            (4, 1, 1, 1, 9, 0),
            (3, 5, 1, 4, 25, 0),
            (5, 2, 4, 3, 24, 1),
            (8, 3, 2, 1, 11, 1),
        )
    ]
    queues = [
        ContextQueue(Contexts=contexts, Beats=beats, Steps=steps)
        for contexts, beats, steps in ((2, 1, 1), (4, 5, 2), (3, 2, 5))
    ]
    states = (
        (1, 1, 1, 1, 1),
        (1, 5, 1, 8, 12),
        (4, 1, 2, 8, 8),
        (2, 6, 4, 5, 9),
        (1, 20, 20, 8, 16),
        (3, 4, 2, 2, 3),
    )
    memories = [
        memory(Units=units, Groups=groups, Simd=simd, HiddenBits=hidden, **more)
        for units, groups, simd, hidden, cell in states
        for memory, more in ((HiddenMemory, {}), (StateMemory, {"CellBits": cell}))
    ]
    shared = [
        memory(Contexts=contexts, Units=units, Groups=groups, Simd=simd, HiddenBits=hidden, **more)
        for contexts, (units, groups, simd, hidden, cell) in zip((2, 3, 4, 5, 8, 16), states, strict=True)
        for memory, more in ((ContextHidden, {}), (ContextMemory, {"CellBits": cell}))
    ]
    return [*products, *buffers, *controls, *queues, *memories, *shared]
