# SPDX-License-Identifier: Apache-2.0
"""Models of the units that compute: delays, clamps, products, sums, and the edges of a beat."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from units.bench import Bench, Function, Signals, mask, pack, signed, unpack


class Delay(Function):
    unit = "hwgen_delay"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"data_i": self["Width"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"data_o": self["Width"]}

    @property
    def latency(self) -> int:
        return self["Stages"]

    def wanted(self, inputs: Signals) -> Signals:
        return {"data_o": inputs["data_i"]}


class FlagDelay(Bench):
    unit = "hwgen_flag_delay"
    inputs = {"flag_i": 1}  # noqa: RUF012
    outputs = {"flag_o": 1}  # noqa: RUF012

    def restart(self) -> None:
        # Reset leaves no flag behind.
        self.flags = deque([0] * self["Stages"])

    def drive(self) -> Signals:
        return {"flag_i": int(not self.chance(self.idle))}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        self.flags.append(inputs["flag_i"])
        self.same("flag_o", outputs["flag_o"], self.flags.popleft())


class Hold(Bench):
    unit = "hwgen_hold"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid_i": 1, "data_i": self["Width"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"data_o": self["Width"]}

    def restart(self) -> None:
        self.cycle, self.captures = 0, deque[int]()
        self.kept: int | None = None

    def drive(self) -> Signals:
        return {"valid_i": int(not self.chance(self.idle)), "data_i": self.word(self["Width"])}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        if self.kept is not None:
            self.same("data_o", outputs["data_o"], self.kept)
        if inputs["valid_i"]:
            self.captures.append(self.cycle + self["Delay"])
        if self.captures and self.captures[0] == self.cycle:
            self.captures.popleft()
            self.kept = inputs["data_i"]
        self.cycle += 1


class Clamp(Function):
    unit = "hwgen_clamp"
    clocks = ()

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"value_i": self["ValueBits"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"code_o": self["CodeBits"]}

    def drive(self) -> Signals:
        # Half of the values lie around the limits.
        near = self.rng.choice([self["Lo"], self["Hi"]]) + self.rng.randint(-2, 2)
        return {"value_i": mask(near, self["ValueBits"]) if self.chance(0.5) else self.word(self["ValueBits"])}

    def wanted(self, inputs: Signals) -> Signals:
        value = signed(inputs["value_i"], self["ValueBits"])
        return {"code_o": min(max(value, self["Lo"]), self["Hi"])}


class Product(Function):
    unit = "hwgen_product"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"left_i": self["LeftBits"], "right_i": self["RightBits"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"product_o": self["ProductBits"]}

    @property
    def latency(self) -> int:
        return self["Stages"]

    def wanted(self, inputs: Signals) -> Signals:
        left = signed(inputs["left_i"], self["LeftBits"]) - self["LeftZero"]
        right = signed(inputs["right_i"], self["RightBits"]) - self["RightZero"]
        return {"product_o": left * right}


class Multiply(Function):
    unit = "hwgen_multiply"
    clocks = ()

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"left_i": self["LeftBits"], "right_i": self["RightBits"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"product_o": self["LeftBits"] + self["RightBits"]}

    def wanted(self, inputs: Signals) -> Signals:
        left, right = signed(inputs["left_i"], self["LeftBits"]), signed(inputs["right_i"], self["RightBits"])
        return {"product_o": left * right}


class Select(Function):
    unit = "hwgen_select"
    clocks = ()

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"words_i": self["Count"] * self["Width"], "index_i": max(1, (self["Count"] - 1).bit_length())}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"word_o": self["Width"]}

    def drive(self) -> Signals:
        return super().drive() | {"index_i": self.rng.randrange(self["Count"])}

    def wanted(self, inputs: Signals) -> Signals:
        return {"word_o": inputs["words_i"] >> inputs["index_i"] * self["Width"]}


class AdderTree(Function):
    unit = "hwgen_adder_tree"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"terms_i": self["Count"] * self["TermBits"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"sum_o": self["TermBits"] + (self["Count"] - 1).bit_length()}

    @property
    def latency(self) -> int:
        return self["Stages"]

    def wanted(self, inputs: Signals) -> Signals:
        return {"sum_o": sum(unpack(inputs["terms_i"], self["TermBits"], self["Count"]))}


class PackedProducts(Function):
    """Weights stay clear of the most negative number where FieldBits has no room for it."""

    unit = "hwgen_packed_products"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {
            "codes_i": self["Simd"] * self["CodeBits"],
            "weights_i": self["Pe"] * self["Simd"] * self["WeightBits"],
        }

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"products_o": self["Pe"] * self["Simd"] * self["FieldBits"]}

    @property
    def latency(self) -> int:
        return self["Stages"]

    def drive(self) -> Signals:
        inputs = super().drive()
        return inputs | {"weights_i": narrowed(self, inputs["weights_i"])}

    def wanted(self, inputs: Signals) -> Signals:
        return {"products_o": pack(self.products(inputs), self["FieldBits"])}

    def products(self, inputs: Signals) -> list[int]:
        """Row by row."""
        pe, simd = self["Pe"], self["Simd"]
        weights = unpack(inputs["weights_i"], self["WeightBits"], pe * simd)
        codes = unpack(inputs["codes_i"], self["CodeBits"], simd)
        return [weight * codes[place % simd] for place, weight in enumerate(weights)]


def narrowed(bench: Bench, word: int) -> int:
    """Weights without the most negative number, if products are to fit fewer bits than both operands have."""
    bits, count = bench["WeightBits"], bench["Pe"] * bench["Simd"]
    least = -(1 << (bits - 1)) + (bench["FieldBits"] < bits + bench["CodeBits"])
    return pack((max(weight, least) for weight in unpack(word, bits, count)), bits)


class DigitProducts(PackedProducts):
    unit = "hwgen_digit_products"

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"terms_o": self["Pe"] * -(-self["Simd"] // self["Chain"]) * self.term_bits}

    @property
    def term_bits(self) -> int:
        """Bits of a term."""
        return self["CodeBits"] + self["WeightBits"] + (self["Chain"] - 1).bit_length()

    @property
    def latency(self) -> int:
        return self["Stages"] + self["LateStages"]

    def drive(self) -> Signals:
        return Function.drive(self)

    def wanted(self, inputs: Signals) -> Signals:
        simd, chain, products = self["Simd"], self["Chain"], self.products(inputs)
        rows = [products[row : row + simd] for row in range(0, len(products), simd)]
        sums = (sum(row[lane : lane + chain]) for row in rows for lane in range(0, simd, chain))
        return {"terms_o": pack(sums, self.term_bits)}


class AxisInput(Function):
    unit = "hwgen_axis_input"
    clocks = ()

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"tdata_i": self["Lanes"] * self["LaneBits"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"values_o": self["Lanes"] * self["ValueBits"]}

    def wanted(self, inputs: Signals) -> Signals:
        lanes = [inputs["tdata_i"] >> (lane * self["LaneBits"]) for lane in range(self["Lanes"])]
        number = signed if self["Signed"] else mask
        return {"values_o": pack((number(lane, self["CodeBits"]) for lane in lanes), self["ValueBits"])}


class Matvec(Bench):
    unit = "hwgen_matvec"

    @property
    def weight_bits(self) -> int:
        return 1 if self["Bipolar"] else self["WeightBits"]

    @property
    def inputs(self) -> Mapping[str, int]:
        return {
            "valid_i": 1,
            "first_i": 1,
            "last_i": 1,
            "codes_i": self["Simd"] * self["CodeBits"],
            "weights_i": self["Pe"] * self["Simd"] * self["WeightBits"],
            "starts_i": self["Pe"] * self["SumBits"],
        }

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"valid_o": 1, "sums_o": self["Pe"] * self["SumBits"]}

    def restart(self) -> None:
        self.cycle, self.left, self.length = 0, 0, 0
        # Starts are due in these cycles, sums in those; products of the tiles between wait.
        self.pending: deque[tuple[int, bool, bool, list[int]]] = deque()
        self.totals = [0] * self["Pe"]
        self.due: tuple[int, list[int]] | None = None

    def drive(self) -> Signals:
        inputs = {port: self.word(bits) for port, bits in self.inputs.items()}
        if self["Pack"] > 1:
            inputs["weights_i"] = narrowed(self, inputs["weights_i"])
        inputs["valid_i"] = int(self.busy() or (self.left > 0 and not self.chance(self.idle)))
        if inputs["valid_i"]:
            if self.left == 0:
                self.length = self.left = self.rng.choice([1, 1, 2, 3, 7])
            inputs["first_i"] = int(self.left == self.length)
            self.left -= 1
            inputs["last_i"] = int(self.left == 0)
        return inputs

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        if self.due is not None and self.due[0] == self.cycle:
            self.same("valid_o", outputs["valid_o"], 1)
            self.same("sums_o", outputs["sums_o"], pack(self.due[1], self["SumBits"]))
        else:
            self.same("valid_o", outputs["valid_o"], 0)
        pe, simd = self["Pe"], self["Simd"]
        if inputs["valid_i"]:
            codes = unpack(inputs["codes_i"], self["CodeBits"], simd)
            if self["Bipolar"]:
                weights = [1 if inputs["weights_i"] >> place & 1 else -1 for place in range(pe * simd)]
            else:
                weights = unpack(inputs["weights_i"], self["WeightBits"], pe * simd)
            products = [sum(w * c for w, c in zip(weights[row * simd :], codes, strict=False)) for row in range(pe)]
            taken = self.cycle + self["ProductStages"] + self["TreeStages"]
            self.pending.append((taken, bool(inputs["first_i"]), bool(inputs["last_i"]), products))
        if self.pending and self.pending[0][0] == self.cycle:
            _, first, last, products = self.pending.popleft()
            starts = unpack(inputs["starts_i"], self["SumBits"], pe) if first else self.totals
            self.totals = [start + product for start, product in zip(starts, products, strict=True)]
            if last:
                self.due = (self.cycle + 1, self.totals)
        self.cycle += 1

    def finished(self) -> bool:
        return not self.pending and self.left == 0 and (self.due is None or self.due[0] < self.cycle)


def benches() -> list[Bench]:
    """Parameter sets, corners included."""
    delays: list[Bench] = [Delay(Width=w, Stages=s) for w, s in ((1, 0), (1, 1), (7, 1), (1, 5), (65, 2), (200, 3))]
    flags = [FlagDelay(Stages=stages) for stages in (0, 1, 2, 9)]
    holds = [Hold(Width=w, Delay=d) for w, d in ((1, 0), (8, 1), (13, 4))]
    clamps = [
        Clamp(ValueBits=value, CodeBits=code, Lo=lo, Hi=hi)
        for value, code, lo, hi in (
            (9, 8, -128, 127),
            (20, 8, -127, 127),
            (8, 9, 0, 255),  # wider than every value
            (12, 9, 0, 255),
            (3, 6, -20, 20),
            (7, 4, 3, 5),
            (7, 4, -7, -4),
            (6, 3, 2, 2),
            (2, 1, -1, 0),
            (24, 16, -32768, 32767),
        )
    ]
    products = [
        Product(LeftBits=a, RightBits=b, LeftZero=x, RightZero=y, ProductBits=a + b + extra, Stages=stages)
        for a, b, x, y, extra, stages in (
            (9, 8, 0, 0, 0, 1),
            (9, 8, 3, 0, 1, 0),
            (8, 8, -128, 127, 2, 2),
            (1, 1, 0, 0, 0, 0),
            (2, 3, 0, -4, 1, 1),
            (17, 16, 0, 100, 1, 3),
            (5, 4, 0, 0, 3, 1),
        )
    ]
    multiplies = [
        Multiply(LeftBits=left, RightBits=right, Dsp=dsp)
        for left, right, dsp in (
            (8, 8, 1),
            (20, 17, 1),
            (8, 25, 1),
            (8, 26, 1),
            (9, 40, 1),
            (1, 27, 1),
            (8, 27, 0),
            (8, 4, 0),
            (4, 8, 0),
            (9, 2, 0),
            (1, 2, 0),
            (5, 1, 0),
            (3, 3, 0),
        )
    ]
    selects = [Select(Width=w, Count=n) for w, n in ((1, 1), (8, 2), (5, 3), (3, 20), (16, 32), (7, 33))]
    trees = [
        AdderTree(Count=count, TermBits=bits, Stages=stages, Apart=apart)
        for count, bits, stages, apart in (
            (1, 5, 0, 0),
            (2, 1, 0, 0),
            (2, 8, 1, 0),
            (3, 4, 0, 0),
            (5, 16, 2, 0),
            (8, 3, 3, 0),
            (7, 6, 1, 0),
            (20, 16, 4, 0),
            (1, 3, 0, 1),
            (11, 7, 2, 1),
        )
    ]
    inputs = [
        AxisInput(Lanes=lanes, LaneBits=lane, CodeBits=code, Signed=sign, ValueBits=value)
        for lanes, lane, code, sign, value in (
            (1, 8, 8, 1, 8),
            (3, 8, 3, 1, 5),
            (4, 8, 8, 0, 9),
            (2, 16, 12, 1, 12),
            (5, 8, 1, 0, 2),
            (1, 16, 16, 0, 17),
        )
    ]
    matvecs = [
        Matvec(
            Pe=pe,
            Simd=simd,
            CodeBits=code,
            WeightBits=weight,
            Bipolar=bipolar,
            SumBits=bits,
            ProductStages=products_,
            TreeStages=tree,
            Pack=packed,
            FieldBits=field,
        )
        for pe, simd, code, weight, bipolar, bits, products_, tree, packed, field in (
            (1, 1, 2, 2, 0, 8, 0, 0, 1, 4),
            (4, 4, 8, 8, 0, 24, 1, 0, 1, 16),
            (2, 5, 9, 4, 0, 20, 1, 2, 1, 13),
            (3, 8, 4, 1, 1, 12, 1, 3, 1, 5),
            (1, 3, 8, 1, 1, 16, 0, 1, 1, 11),
            (2, 4, 8, 8, 0, 14, 2, 1, 1, 16),  # partial sums wrap around
            (4, 4, 8, 8, 0, 24, 1, 1, 2, 16),
            (7, 3, 4, 4, 0, 16, 1, 2, 3, 8),  # a row is left alone
            (8, 5, 4, 4, 0, 12, 2, 1, 4, 7),
            (3, 4, 4, 4, 0, 8, 1, 0, 2, 7),  # partial sums wrap around
            (4, 4, 4, 4, 0, 14, 1, 2, 0, 8),  # a register more than the tree has levels
            (3, 7, 8, 5, 0, 20, 1, 3, 0, 13),
            (1, 1, 4, 3, 0, 8, 0, 0, 0, 7),
        )
    ]
    packed_products = [
        PackedProducts(
            Pe=pe, Simd=simd, CodeBits=code, WeightBits=weight, Pack=packed, FieldBits=field, Dsp=dsp, Stages=stages
        )
        for pe, simd, code, weight, packed, field, dsp, stages in (
            (2, 1, 8, 8, 2, 16, 1, 1),
            (2, 2, 8, 8, 2, 15, 1, 0),
            (4, 2, 4, 4, 4, 7, 0, 1),
            (6, 1, 4, 4, 3, 8, 0, 2),
            (5, 3, 4, 4, 2, 8, 1, 1),  # a row is left alone
            (5, 1, 3, 5, 2, 8, 0, 1),
            (8, 1, 2, 2, 8, 3, 0, 1),
            (3, 2, 9, 6, 2, 15, 0, 1),
        )
    ]
    digits = [
        DigitProducts(Pe=pe, Simd=simd, CodeBits=code, WeightBits=weight, Chain=chain, Stages=stages, LateStages=late)
        for pe, simd, code, weight, chain, stages, late in (
            (2, 4, 4, 4, 2, 1, 0),
            (1, 1, 4, 4, 2, 0, 0),
            (3, 5, 8, 3, 2, 1, 1),
            (2, 7, 2, 2, 4, 2, 0),
            (1, 6, 5, 8, 3, 1, 2),
            (2, 3, 1, 5, 1, 1, 0),
        )
    ]
    simple = [*delays, *flags, *holds, *clamps, *products, *multiplies, *selects, *trees, *inputs]
    return [*simple, *matvecs, *packed_products, *digits]
