"""DS-Net against its baselines on the same data: `python -m benchmarks.accuracy --data DIR --out DIR`.

Every method gets the same images, schedule, augmentation and moving average, and is judged on the same unseen images:

    ds-net  stage I with in-place bootstrapping
    ieb     … with in-place ensemble bootstrapping
    mvco    … with multi-view consistency (DS-Net++, Li et al., 2021, for transformers)
    labels  … with every width on the labels
    us-net  US-Nets (Yu & Huang, ICCV 2019): in-place distillation, nothing wider than the widest width
    s-net   S-Nets (Yu et al., ICLR 2019): the compared widths alone, all of them every step, batch norm switchable
    static  an ordinary network per width

With --start, those that differ in the objective alone go on from one trained network instead of from random weights.

OUT holds a checkpoint and an evaluation per network. A killed comparison continues when the command is given again:
networks that are there are not trained again, an unfinished one goes on where it was.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.device import one_device
from benchmarks.side_by_side import write_json
from common import DsnetError, check_writable, parse_widths
from common.console import progress, stdout, table
from edge.devices.local import LocalDevice
from train.augment import Normalise
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.config import Objective, SupernetStageConfig, config_for, load_config, overridden
from train.curves import Curve, draw
from train.data import ImageSet, batches, digest, load_images
from train.errors import ConfigError
from train.evaluate import classified_right
from train.loop import Setting
from train.progress import Progress, Report
from train.run_folder import RunFolder
from train.spec import SupernetSpec, load_spec
from train.supernet import Supernet
from train.supernet_stage import train_supernet

METHODS = ("ds-net", "us-net", "s-net", "labels", "ieb", "mvco", "static")
OBJECTIVES: Mapping[str, Objective] = {
    "ds-net": "bootstrapping",
    "ieb": "ensemble bootstrapping",
    "mvco": "multi-view consistency",
    "labels": "labels",
}
"""Methods that train the network as it is, each with an objective of its own."""
CONFIDENCE = 0.95
RESAMPLES = 10_000
EVALUATION_BATCH = 128

Hits = NDArray[np.bool_]
"""Whether each image is classified right, (n,)."""


@dataclass(frozen=True)
class Network:
    """One network to train."""

    name: str
    method: str
    spec: SupernetSpec
    config: SupernetStageConfig
    widths: Mapping[int, int]
    """The compared widths that it provides → their indices in its own spec."""


@dataclass(frozen=True)
class Difference:
    """How many more images a method gets right than the baseline, as a share, with its 95% interval."""

    value: float
    low: float
    high: float


def networks(
    method: str, spec: SupernetSpec, config: SupernetStageConfig, widths: Sequence[int]
) -> tuple[Network, ...]:
    """Return the networks of one method that provide `widths`.

    An unknown method is a ConfigError, widths that `restricted_to` refuses are a SpecError.
    """
    restricted = spec.restricted_to(widths)
    whole = {width: width for width in widths}
    own = {width: index for index, width in enumerate(widths)}
    if method in OBJECTIVES:
        return (Network(method, method, spec, replace(config, objective=OBJECTIVES[method]), whole),)
    match method:
        case "us-net":
            distilled = replace(config, objective="distillation", wide_teacher=False)
            return (Network(method, method, spec, distilled, whole),)
        case "s-net":
            switchable = replace(restricted, batch_norm="switchable")
            return (Network(method, method, switchable, replace(config, objective="labels", sampling="all"), own),)
        case "static":
            alone = replace(config, objective="labels")
            return tuple(
                Network(f"{method}-{width:02d}", method, spec.restricted_to((width,)), alone, {width: 0})
                for width in widths
            )
    raise ConfigError(f"there is no method {method!r:.40}; valid: {', '.join(METHODS)}")


class Comparison:
    """A folder of networks trained on one image set and judged on another."""

    def __init__(
        self,
        out: Path,
        train: ImageSet,
        unseen: ImageSet,
        seed: int,
        given: Mapping[str, Path],
        start: Checkpoint | None = None,
    ) -> None:
        self.out = out
        self.train = train
        self.unseen = unseen
        self.seed = seed
        self.given = given
        """Checkpoints to judge in place of training, by name of the network."""
        self.start = start
        """What every network begins as; None: random weights."""

    def judged(self, network: Network) -> dict[str, Any]:
        """Return a network's evaluation, {checkpoint, images, right}; train and classify only what is not there yet.

        right: per compared width (as text, for JSON), one 1 or 0 per image in the set's order.
        """
        checkpoint = self._checkpoint(network)
        file = self.out / f"{network.name}.json"
        made_from = {"checkpoint_sha256": checkpoint.sha256, "images": digest(self.unseen)}
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        widths = {str(width) for width in network.widths}
        if made_from.items() <= found.items() and found["right"].keys() == widths:
            return dict(found)
        right = right_answers(checkpoint, self.unseen, list(network.widths.values()))
        lists = {
            str(width): "".join(map(str, row.astype(int))) for width, row in zip(network.widths, right, strict=True)
        }
        evaluation = {**made_from, "provenance": checkpoint.provenance, "right": lists}
        write_json(file, evaluation)
        return evaluation

    def _checkpoint(self, network: Network) -> Checkpoint:
        if network.name in self.given:
            path = self.given[network.name]
            found = load_checkpoint(path)
            if found.spec != network.spec:
                raise ConfigError(
                    f"{path} holds a network of spec {found.spec.name!r} that differs from {network.spec.name!r} as "
                    f"{network.name} has it; give a checkpoint of that spec, or leave it out to train one"
                )
            return found
        path = self.out / f"{network.name}.safetensors"
        if not path.exists():
            self._train(network, path)
        found = load_checkpoint(path)
        wanted = json.loads(json.dumps(self._settings(network)))
        differing = sorted(name for name in wanted if found.provenance.get(name) != wanted[name])
        if differing:
            raise ConfigError(
                f"{path} was trained with other settings ({', '.join(differing)} differ); "
                "repeat the command with its settings, give another --out, or delete the file"
            )
        return found

    def _train(self, network: Network, path: Path) -> None:
        if self.start and self.start.spec != network.spec:
            raise ConfigError(
                f"{network.name} cannot begin as the network of --start: its spec is {network.spec.name!r}, that one's "
                f"{self.start.spec.name!r}; leave it out of --methods, or leave --start out"
            )
        fabric = one_device(network.config.precision)
        folder = RunFolder(self.out / f"{network.name}.run", self._settings(network))
        with _bar(network.name) as show:
            setting = Setting(fabric, folder, show)
            start = self.start.tensors if self.start else None
            tensors = train_supernet(network.spec, self.train, network.config, self.seed, start, setting)
        save_checkpoint(path, network.spec, tensors, self._settings(network))
        folder.finish()

    def _settings(self, network: Network) -> dict[str, Any]:
        return {
            "spec": network.spec.to_json(),
            "config": asdict(network.config),
            "seed": self.seed,
            "images": digest(self.train),
            "start_sha256": self.start.sha256 if self.start else None,
        }


def right_answers(checkpoint: Checkpoint, images: ImageSet, indices: Sequence[int]) -> Hits:
    """Return whether each image is classified right at each width of `indices`, (widths, n), in float32."""
    device = one_device().device
    model = Supernet.from_tensors(checkpoint.spec, checkpoint.tensors).to(device)
    normalise = Normalise(checkpoint.spec).to(device)
    loader = batches(images, EVALUATION_BATCH)
    pairs = ((normalise(pixels.to(device)), labels.to(device)) for pixels, labels in loader)
    right: Hits = classified_right(model, pairs, indices).numpy()
    return right


def difference(ours: NDArray[np.floating], baseline: NDArray[np.floating], seed: int = 0) -> Difference:
    """Return the mean of ours − baseline over the images with the percentile bootstrap's interval, paired by image.

    ours, baseline: (n,), the share of the widths at which an image is classified right. A resample of n images is a
    multinomial draw of how often each distinct difference occurs (Efron & Tibshirani, An Introduction to the Bootstrap,
    §13.3), so any number of images fits in memory.
    """
    values, counts = np.unique(np.round(ours - baseline, 9), return_counts=True)
    images = counts.sum()
    means = np.random.default_rng(seed).multinomial(images, counts / images, RESAMPLES) @ values / images
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Difference(float(values @ counts / images), float(low), float(high))


def figures(
    method: str, right: Mapping[str, Mapping[int, Hits]], spec: SupernetSpec, compared_with: str
) -> list[dict[str, Any]]:
    """Return one method's figures, less those of the method compared with: a record per width, then of their mean."""
    hits, widths = right[method], list(right[method])
    costs = spec.restricted_to(widths)
    baseline = None if method == compared_with else right.get(compared_with)
    records = []
    for index, width in enumerate(widths):
        base = baseline[width].astype(float) if baseline else None
        figure = _figure(hits[width].astype(float), base, compared_with)
        records.append({"width": width, "macs": costs.macs(index), **figure})
    mean_base = np.mean([baseline[width] for width in widths], axis=0) if baseline else None
    mean_macs = sum(costs.macs(index) for index in range(len(widths))) / len(widths)
    mean = {
        "width": "mean",
        "macs": mean_macs,
        **_figure(np.mean([hits[width] for width in widths], axis=0), mean_base, compared_with),
    }
    return [*records, mean]


def _figure(hits: NDArray[np.floating], baseline: NDArray[np.floating] | None, compared_with: str) -> dict[str, Any]:
    found = None if baseline is None else asdict(difference(hits, baseline))
    return {"top1": float(hits.mean()), f"minus_{compared_with}": found}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train and judge every network; return every figure."""
    spec = load_spec(options.spec)
    stages = load_config(options.config) if options.config else config_for(spec.name)
    config = overridden(stages.supernet, epochs=options.epochs)
    widths = parse_widths(options.widths) or range(spec.n_widths)
    planned = [network for method in options.methods for network in networks(method, spec, config, widths)]
    given = _given(options.checkpoint, [network.name for network in planned])
    check_writable(options.out / "accuracy.json")
    train, unseen = (load_images(options.data, spec, split) for split in ("train", options.split))
    start = load_checkpoint(options.start) if options.start else None
    comparison = Comparison(options.out, train, unseen, options.seed, given, start)
    right: dict[str, dict[int, Hits]] = {method: {} for method in options.methods}
    records = {}
    for network in planned:
        judged = comparison.judged(network)
        right[network.method] |= {int(width): _hits(text) for width, text in judged["right"].items()}
        records[network.name] = {
            "checkpoint_sha256": judged["checkpoint_sha256"],
            "trained_here": network.name not in given,
            "provenance": judged["provenance"],
        }
    return {
        "spec": spec.name,
        "images": unseen.count,
        "split": options.split,
        "training_images": train.count,
        "epochs": None if options.checkpoint else config.epochs,
        "seed": options.seed,
        "start_sha256": start.sha256 if start else None,
        "baseline": options.baseline,
        "date": time.strftime("%Y-%m-%d"),
        "machine": LocalDevice().fingerprint(),
        "versions": {name: version(name) for name in ("torch", "lightning", "numpy")},
        "methods": {method: figures(method, right, spec, options.baseline) for method in options.methods},
        "networks": records,
    }


def _hits(text: str) -> Hits:
    return np.array([image == "1" for image in text])


def _given(arguments: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    """Read NAME=PATH arguments."""
    given = {}
    for argument in arguments:
        name, separator, path = argument.partition("=")
        if not separator or name not in names:
            raise ConfigError(
                f"--checkpoint {argument!r:.120} names no network; give NAME=PATH, NAME: {', '.join(names)}"
            )
        given[name] = Path(path)
    return given


@contextmanager
def _bar(name: str) -> Iterator[Report]:
    with progress() as bar:
        task = bar.add_task(name, total=None)

        def show(state: Progress) -> None:
            speed = "" if state.images_per_second is None else f"  {state.images_per_second:.0f} images/s"
            bar.update(task, completed=state.done, total=state.total, description=f"{name}{speed}")

        yield show


def title(result: Mapping[str, Any]) -> str:
    """Return the network's name, and for how long all were trained where that was here."""
    return result["spec"] if result["epochs"] is None else f"{result['spec']}, {result['epochs']} epochs"


def report(result: Mapping[str, Any]) -> None:
    """Print the figures."""
    baseline = result["baseline"]
    columns = ("width", "MMACs", "method", "top-1", f"minus {baseline}, points [95%]")
    rows = [
        (record["width"], f"{record['macs'] / 1e6:.2f}", method, f"{record['top1']:.2%}", _points(record, baseline))
        for place in zip(*result["methods"].values(), strict=True)
        for method, record in zip(result["methods"], place, strict=True)
    ]
    stdout().print(table(f"{title(result)}, on {result['images']:,} unseen images", columns, rows))


def _points(record: Mapping[str, Any], baseline: str) -> str:
    found = record[f"minus_{baseline}"]
    if found is None:
        return "–"
    value, low, high = (100 * found[name] for name in ("value", "low", "high"))
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def curves(result: Mapping[str, Any]) -> list[Curve]:
    """Return a curve of accuracy against compute per method."""
    return [
        Curve(method, tuple((record["macs"], record["top1"]) for record in records if record["width"] != "mean"))
        for method, records in result["methods"].items()
    ]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def main() -> None:
    """Run the comparison, print its table, write it as JSON and draw it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description="Compare DS-Net with its baselines on the same data."
    )
    parser.add_argument("--data", type=Path, required=True, help="labelled images with a split train and an unseen one")
    parser.add_argument("--split", default="validation", help="the split to judge on")
    parser.add_argument("--out", type=Path, required=True, help="folder for the networks, accuracy.json and the figure")
    parser.add_argument("--spec", default="ds_mbv1_64", help="a shipped network or the path of a .json spec")
    parser.add_argument("--config", type=Path, help="TOML file with a table supernet; default: the spec's")
    parser.add_argument("--epochs", type=int, help="passes over the images; default: the config's")
    parser.add_argument("--methods", type=_names, default=list(METHODS), help=f"of {', '.join(METHODS)}")
    parser.add_argument(
        "--baseline",
        choices=METHODS,
        default="us-net",
        help="the method whose accuracy is subtracted, if it is compared",
    )
    parser.add_argument("--start", type=Path, help="a checkpoint of the spec that every network begins as")
    parser.add_argument("--widths", default="0,4,9,13", help="widths to compare at: all, or indices")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--checkpoint", action="append", default=[], metavar="NAME=PATH",
        help="a trained network to judge instead of training it: a method, or static-NN; may be repeated",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        result = run(options)
        report(result)
        write_json(options.out / "accuracy.json", result)
        drawn = draw(options.out / "accuracy", curves(result), title=title(result))
    except DsnetError as error:
        parser.exit(2, f"{error}\n")
    print(f"written to {options.out / 'accuracy.json'}, {', '.join(map(str, drawn))}")


if __name__ == "__main__":
    main()
