"""Draw docs/figures/one_file.svg from the JSON of `benchmarks.litert_sharing`: `python -m benchmarks.figures`."""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

SHARED, SEPARATE = "#1b6ca8", "#c9ccd1"


def draw(result: dict[str, Any], precision: str) -> Any:
    """Return the figure: bytes of one nested file against separate ones; latency of each width, nested and plain."""
    (sizes,) = [row for row in result["bytes"] if row["precision"] == precision and row["widths"] > 4]
    rows = result["latency"][precision]["rows"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=(1, 1.6), layout="constrained")
    megabytes = [sizes[key] / 1e6 for key in ("nested", "largest_single", "sum_of_singles")]
    labels = ["one file,\nall widths", "widest\nalone", f"{sizes['widths']} separate\nfiles"]
    bars = left.bar(labels, megabytes, color=[SHARED, SEPARATE, SEPARATE])
    left.bar_label(bars, fmt="%.1f", padding=2)
    left.set(ylabel="MB", title=f"{result['spec']}, {precision}")
    macs = [row["macs"] / 1e6 for row in rows]
    right.plot(
        macs, [row["p50_ms"]["monolithic"] for row in rows], "o", color=SEPARATE, ms=8, label="separate static model"
    )
    right.plot(macs, [row["p50_ms"]["dynamic"] for row in rows], ".-", color=SHARED, label="prefix + tail, nested")
    right.set(xlabel="million multiply-accumulates", ylabel="p50 ms, 1 thread", title="One image", ylim=(0, None))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description="Draw the README's figure.")
    parser.add_argument("--results", type=Path, default=Path("runs/benchmarks/litert_sharing.json"))
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--out", type=Path, default=Path("docs/figures/one_file.svg"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plt.rcParams["svg.hashsalt"] = "one_file"
    figure = draw(json.loads(options.results.read_text(encoding="utf-8")), options.precision)
    figure.savefig(options.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
