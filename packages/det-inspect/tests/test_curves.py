import sys

import pytest
import standins
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.errors import MissingExtraError
from det_inspect.runs.curves import plot_curves
from PIL import Image

ROWS = [
    {"step": 10, "loss": 2.0, "loss_box": 1.5, "loss_class": 0.5, "lr": 0.01},
    {"step": 20, "loss": 1.0, "loss_box": 0.7, "loss_class": 0.3, "lr": 0.02},
    {"step": 20, "val/loss": 1.2, "val/bbox/AP": 0.3, "val/bbox/AP50": 0.6},
]


def test_plot_curves_writes_picture(tmp_path):
    pytest.importorskip("matplotlib")
    with Image.open(plot_curves(ROWS, tmp_path / "curves.png")) as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1_000_000)) > 50


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS[2:], [{"step": 5, "val/mine/score": 3.0}]])
def test_plot_curves_missing_scalars_are_accepted(tmp_path, rows):
    pytest.importorskip("matplotlib")
    assert plot_curves(rows, tmp_path / "curves.png").stat().st_size > 5000


def test_plot_curves_without_matplotlib_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install matplotlib"):
        plot_curves(ROWS, tmp_path / "curves.png")


def test_plot_curves_marks_single_point_with_legend_below():
    from det_inspect.runs import curves
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    curves._plot_losses(axes, [{"step": 1, "loss": 2.0, "loss_box": 1.0}])
    assert [line.get_marker() for line in axes.lines] == ["o", "o"]
    assert axes.get_legend().get_bbox_to_anchor().transformed(axes.transAxes.inverted()).y1 < 0
    axes = Figure().subplots()
    curves._plot_losses(axes, [{"step": n, "loss": 2.0} for n in (1, 2)])
    assert [line.get_marker() for line in axes.lines] == [""]


def test_plot_curves_steps_are_whole_numbers(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    plot_curves([{"step": step, "loss": 1.0, "lr": 0.1} for step in (6, 7, 8)], tmp_path / "curves.png")
    for axes in figures[0].axes:
        assert all(tick == round(tick) for tick in axes.get_xticks())


def test_train_command_leaves_curves_of_the_run(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    recipe = standins.recipe(steps=2).save(tmp_path / "squares.yaml")
    result = CliRunner().invoke(det, ["train", str(recipe), "--output", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert "Learning curves: " in result.output
    assert (tmp_path / "run" / "curves.png").stat().st_size > 5000
