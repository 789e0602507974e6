#!/usr/bin/env python3
"""Trains models/momentum.onnx and writes its card, momentum.toml; the same seed gives the same model.

    pip install numpy onnx
    cargo build --release -p signal --example features
    python3 models/train.py            (--check FILE.csv ... also shows what it would say on bars of your own)

The prices are made up: stretches that rise, fall, go back and forth or jump about, as the paper gateway's
synthetic market does, at many bar lengths and volatilities. The features come from the pipeline's own code
(the example `features` prints them), so that training sees what trading sees. The network is 17-32-32-3 with
softmax; the classes are down, flat and up over the next bars, in units of the stock's own volatility.
What it learns is plain momentum. It is a demonstration that enters and leaves, not advice.
"""
import argparse
import hashlib
import pathlib
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
SEED = 20261123
SERIES, BARS = 360, 420
HORIZON = 6  # bars that the classes look ahead
MOVE = 0.75  # a rise or fall is at least so many standard deviations of a walk of HORIZON bars
HIDDEN, EPOCHS, BATCH, RATE = 32, 24, 512, 2e-3


def series(random):
    """One made-up series of bars: rows of open, high, low, close, volume."""
    noise = 10 ** random.uniform(-3.9, -2.6)  # of one bar
    prices, log, anchor, shock = [], np.log(10 ** random.uniform(0.3, 2.6)), None, 0.0
    volume = 10 ** random.uniform(2, 6)
    while len(prices) < BARS:
        regime = random.choice(["bull", "bear", "sideways", "volatile"], p=[0.3, 0.3, 0.28, 0.12])
        drift = {"bull": 1, "bear": -1}.get(regime, 0) * noise * random.uniform(0.35, 1.1)
        loud = noise * {"sideways": 0.7, "volatile": 3.5}.get(regime, 1.0)
        anchor = log
        for _ in range(int(random.integers(20, 75))):
            steps = random.normal(drift / 6, loud / np.sqrt(6), 6)
            if regime in ("sideways", "volatile"):
                steps += (anchor - log) * 0.25 / 6
            # A part of each bar's noise is taken back by the next, as bid and ask do.
            steps[0] -= 0.25 * shock
            path = log + np.concatenate([[0.0], np.cumsum(steps)])
            shock = path[-1] - log - drift
            log = path[-1]
            traded = volume * np.exp(random.normal(0, 0.5)) * (1 + 2 * abs(shock) / (loud * 2))
            prices.append(list(np.exp([path[0], path.max(), path.min(), path[-1]])) + [max(1, round(traded))])
    return prices[:BARS]


def text_of(rows):
    """Bars as the CSV that the feature printer reads."""
    lines = ["timestamp,open,high,low,close,volume"]
    for index, (first, high, low, last, volume) in enumerate(rows):
        stamp = f"2026-01-05T{index // 60:02}:{index % 60:02}:00Z"
        # Steps of a cent, or finer for cheap stocks, as real prices have them.
        digits = 4 if first < 1 else 2
        lines.append(f"{stamp},{first:.{digits}f},{high:.{digits}f},{low:.{digits}f},{last:.{digits}f},{volume}")
    return "\n".join(lines) + "\n"


def features(text, program):
    """The pipeline's own features of bars: names, place of each row (series, bar), matrix, regimes."""
    printed = subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    names = printed[0].split(",")[2:-1]
    rows = [line.split(",") for line in printed[1:]]
    places = np.array([[int(row[0]), int(row[1])] for row in rows])
    return names, places, np.array([[float(value) for value in row[2:-1]] for row in rows]), [row[-1] for row in rows]


def classes(rows_of_series, places):
    """0 down, 1 flat, 2 up for each place; -1 where the future is not known."""
    labels = np.full(len(places), -1)
    logs = [np.log([row[3] for row in rows]) for rows in rows_of_series]
    variances = []
    for closes in logs:
        average, out = 0.0, []
        for change in np.diff(closes, prepend=closes[0]):
            average += (change * change - average) * 2 / 31
            out.append(average)
        variances.append(out)
    for index, (one, bar) in enumerate(places):
        closes = logs[one - 1]
        if bar + HORIZON < len(closes):
            unit = max(np.sqrt(variances[one - 1][bar] * HORIZON), 1e-5)
            move = (closes[bar + HORIZON] - closes[bar]) / unit
            labels[index] = 2 if move > MOVE else 0 if move < -MOVE else 1
    return labels


def forward(weights, rows):
    """The probabilities, and what lies between."""
    layers = [rows]
    for weight, bias in weights[:-1]:
        layers.append(np.maximum(layers[-1] @ weight + bias, 0))
    scores = layers[-1] @ weights[-1][0] + weights[-1][1]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True), layers


def mirrored(names, rows, labels):
    """Every row and its mirror image, so that up and down are learnt alike."""
    signs = np.array([1.0 if name in ("volatility_ratio", "range_ratio", "volume_ratio") else -1.0 for name in names])
    return np.concatenate([rows, rows * signs]), np.concatenate([labels, 2 - labels])


def train(rows, labels, random):
    """Adam on cross entropy."""
    sizes = [rows.shape[1], HIDDEN, HIDDEN, 3]
    weights = [[random.normal(0, np.sqrt(2 / a), (a, b)), np.zeros(b)] for a, b in zip(sizes, sizes[1:])]
    moments = [[[np.zeros_like(part), np.zeros_like(part)] for part in layer] for layer in weights]
    step = 0
    for epoch in range(EPOCHS):
        order, loss = random.permutation(len(rows)), 0.0
        for begin in range(0, len(order), BATCH):
            part = order[begin:begin + BATCH]
            probabilities, layers = forward(weights, rows[part])
            loss -= np.log(probabilities[np.arange(len(part)), labels[part]] + 1e-12).sum()
            slope = probabilities
            slope[np.arange(len(part)), labels[part]] -= 1
            slope /= len(part)
            step += 1
            for depth in (2, 1, 0):
                slopes = [layers[depth].T @ slope + 1e-5 * weights[depth][0], slope.sum(axis=0)]
                slope = (slope @ weights[depth][0].T) * (layers[depth] > 0)
                for index, value in enumerate(slopes):
                    first, second = moments[depth][index]
                    first += 0.1 * (value - first)
                    second += 0.001 * (value * value - second)
                    rate = RATE * (1 - epoch / EPOCHS) * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                    weights[depth][index] = weights[depth][index] - rate * first / (np.sqrt(second) + 1e-8)
        print(f"epoch {epoch + 1:2}  cross entropy {loss / len(rows):.4f}")
    return [[part.astype(np.float32) for part in layer] for layer in weights]


def save(weights, count):
    """The network as a plain ONNX file: three Gemm, two Relu, one Softmax."""
    nodes, stored, before = [], [], "features"
    for index, (weight, bias) in enumerate(weights):
        stored += [numpy_helper.from_array(weight, f"weight_{index}"), numpy_helper.from_array(bias, f"bias_{index}")]
        nodes.append(helper.make_node("Gemm", [before, f"weight_{index}", f"bias_{index}"], [f"layer_{index}"]))
        before = f"layer_{index}"
        if index < 2:
            nodes.append(helper.make_node("Relu", [before], [f"relu_{index}"]))
            before = f"relu_{index}"
    nodes.append(helper.make_node("Softmax", [before], ["probabilities"], axis=1))
    graph = helper.make_graph(
        nodes, "momentum",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", count])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="models/train.py")
    model.ir_version = 8
    onnx.checker.check_model(model)
    data = model.SerializeToString(deterministic=True)
    (HERE / "momentum.onnx").write_bytes(data)
    return data


def card(data, names, row, answer):
    """The card that goes with the file."""
    numbers = lambda values: "[" + ", ".join(f"{float(value):.9g}" for value in values) + "]"
    listed = "".join(f'    "{name}",\n' for name in names)
    (HERE / "momentum.toml").write_text(f"""# The card of momentum.onnx, written by train.py. What each line means: models/README.md
description = "Momentum over the next {HORIZON} bars, learnt from made-up prices. A demonstration, not advice."
sha256 = "{hashlib.sha256(data).hexdigest()}"
input = [1, {len(names)}]
classes = ["down", "flat", "up"]
features = [
{listed}]

# One example: the answer to this input must be this output.
[golden]
input = {numbers(row)}
output = {numbers(answer)}

# Thresholds that suit it, for entry.up_min and exits.down_min in services/config.toml.
[hint]
up_min = 0.5
down_min = 0.5
""")


def show(title, probabilities, regimes):
    """How often the model is of an opinion."""
    down, up = (probabilities[:, 0] >= 0.5).mean(), (probabilities[:, 2] >= 0.5).mean()
    shares = {name: round(regimes.count(name) / max(len(regimes), 1), 2) for name in sorted(set(regimes))}
    print(f"{title}: {len(regimes)} bars, up >= 0.5 in {up:.1%}, down >= 0.5 in {down:.1%}, regimes {shares}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", default=HERE.parent / "target/release/examples/features", help="the feature printer")
    parser.add_argument("--check", nargs="*", default=[], help="CSV files of bars to try the model on")
    arguments = parser.parse_args()
    random = np.random.default_rng(SEED)
    made = [series(random) for _ in range(SERIES)]
    names, places, rows, regimes = features("".join(map(text_of, made)), arguments.features)
    labels = classes(made, places)
    known = labels >= 0
    learn = known & (places[:, 0] <= SERIES * 0.85)
    weights = train(*mirrored(names, rows[learn], labels[learn]), random)
    data = save(weights, len(names))
    held = known & ~learn
    probabilities, _ = forward(weights, rows[held].astype(np.float32))
    print(f"held back: right in {(probabilities.argmax(axis=1) == labels[held]).mean():.1%}, share of classes {np.bincount(labels[held]) / held.sum()}")
    show("held back", probabilities, [regime for regime, keep in zip(regimes, held) if keep])
    golden = np.round(rows[held][100], 4).astype(np.float32)
    answer, _ = forward(weights, golden[None, :])
    card(data, names, golden, answer[0])
    for file in arguments.check:
        _, _, rows, regimes = features(pathlib.Path(file).read_text(), arguments.features)
        show(file, forward(weights, rows.astype(np.float32))[0], regimes)


if __name__ == "__main__":
    main()
