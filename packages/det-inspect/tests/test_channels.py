"""Reversed channels are found by giving a model the other order, in images that it was evaluated on."""

import pytest
from det_core.data import EvalLoader
from det_core.engine import evaluate
from det_core.errors import ConfigError
from det_inspect.analysis.channels import reversed_channels
from det_inspect.analysis.detection_recorder import DetectionRecorder
from det_inspect.analysis.explanation import Analysis
from squares import Colors, Squares

CLASSES = ("red", "blue")


def loader(length=5):
    return EvalLoader(dataset=Squares(length), batch_size=2)


def checked(model, length=5, images=16):
    recorder = DetectionRecorder(CLASSES)
    evaluate(model, loader(length), [recorder])
    return reversed_channels(model, loader(length), recorder.state(), CLASSES, images)


def test_channels_model_of_the_other_order_has_issue():
    issue = checked(Colors(reverse=True))
    assert issue.kind == "channels in reverse"
    assert issue.details == "AP50 is 0.000 on 5 images, but 1.000 with red and blue exchanged"


def test_channels_model_of_rgb_has_no_issue():
    assert checked(Colors()) is None


def test_channels_limit_of_images_stops_after_the_batch():
    model = Colors(reverse=True)
    assert "on 4 images" in checked(model, 9, images=3).details
    assert model.images == 9 + 4  # each image of the evaluation once, and the first ones once more, reversed


def test_channels_no_evaluated_image_gives_none():
    assert reversed_channels(Colors(), loader(), {}, CLASSES) is None


def test_recorder_states_of_two_processes_merge_to_one():
    halves = [DetectionRecorder(CLASSES) for _ in range(2)]
    whole = DetectionRecorder(CLASSES)
    for batch, half in zip(loader(4), halves, strict=True):
        evaluate(Colors(), [batch], [half])
    evaluate(Colors(), loader(4), [whole])
    joined = DetectionRecorder(CLASSES)
    joined.merge([half.state() for half in halves])
    assert joined.result() == {}
    assert joined.error_analysis().errors == whole.error_analysis().errors
    assert joined.error_analysis().errors.ap50 == pytest.approx(1.0)
    assert joined.error_analysis().issues == ()
    assert DetectionRecorder(("red",)).error_analysis() is None


@pytest.mark.parametrize(("channels", "images"), [(False, 5), (True, 10)])
def test_analysis_predicts_images_again_only_if_asked(channels, images):
    model, analysis = Colors(reverse=True), Analysis(CLASSES, channels=channels)
    evaluate(model, loader(), [analysis])
    kinds = [each["kind"] for each in analysis.explain([], model, loader).as_json()["issues"]]
    assert model.images == images
    assert ("channels in reverse" in kinds) == channels


def test_analysis_without_images_gives_empty_explanation(tmp_path, capsys):
    explanation = Analysis(CLASSES).explain([], Colors(), loader)
    assert explanation.as_json() == {}
    explanation.show()
    assert capsys.readouterr().out == ""
    assert "a/b" in explanation.write_report(tmp_path, "t", {"a/b": 1.0}, ()).read_text().replace("<td>b", "a/b")


def test_analysis_of_less_than_one_image_is_refused():
    with pytest.raises(ConfigError, match="channel_images: must be at least 1; got 0"):
        Analysis(CLASSES, channel_images=0)
