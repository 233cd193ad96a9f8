"""TensorBoard's log, read back by TensorBoard."""

import subprocess
import sys
from pathlib import Path

from train.event_log import EventLog
from train.progress import Progress


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the scalars that TensorBoard finds in a folder: (step, value) by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def trained(step: int, loss: float) -> Progress:
    """Return the report of one step."""
    return Progress(step, 100, {"width 3": loss, "width 0": 2 * loss}, images_per_second=512.0)


def test_losses_speed_and_accuracies_are_read_back(tmp_path: Path) -> None:
    with EventLog(tmp_path, 0) as log:
        log(trained(10, 1.5))
        log(Progress(20, 100, accuracies={"width 0": 0.25, "gate": 0.5}))
    assert read(tmp_path) == {
        "loss/width 3": [(10, 1.5)],
        "loss/width 0": [(10, 3.0)],
        "images_per_second": [(10, 512.0)],
        "accuracy/width 0": [(20, 0.25)],
        "accuracy/gate": [(20, 0.5)],
    }


def test_a_resumed_run_has_one_value_per_step(tmp_path: Path) -> None:
    with EventLog(tmp_path, 0) as log:
        for step in range(1, 7):
            log(trained(step, 1.0))
    # TensorBoard reads files by name, which holds the second of their making: these two would share it.
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / "events.out.tfevents.0000000001.interrupted")
    with EventLog(tmp_path, 4) as log:
        for step in range(5, 9):
            log(trained(step, 0.5))
    values = read(tmp_path)["loss/width 3"]
    print(values)
    assert values == [(step, 1.0) for step in range(1, 5)] + [(step, 0.5) for step in range(5, 9)]


def test_a_report_is_on_disk_as_soon_as_it_is_made(tmp_path: Path) -> None:
    with EventLog(tmp_path, 0) as log:
        log(trained(1, 1.0))
        assert read(tmp_path)["loss/width 3"] == [(1, 1.0)]


def test_an_installed_tensorflow_is_left_alone(tmp_path: Path) -> None:
    code = "from pathlib import Path; from train.event_log import EventLog; EventLog(Path(sys.argv[1]), 0)"
    command = [sys.executable, "-c", f"import sys; {code}; print('tensorflow' in sys.modules)", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
