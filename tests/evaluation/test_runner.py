"""Stored predictions against sequences: what comes out, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from PIL import Image

from endodav.data.sequence import FrameRef, Sequence
from endodav.errors import InputError, RecipeError
from endodav.evaluation.comparison import NO_DIFFERENCE, compare
from endodav.evaluation.html import to_html
from endodav.evaluation.predictions import Prediction, open_prediction
from endodav.evaluation.protocols import PROTOCOLS, EvalFrame, Protocol, score
from endodav.evaluation.report import (
    FILENAME,
    Predictor,
    Report,
    notes,
    read_report,
    summarise,
    to_markdown,
)
from endodav.evaluation.runner import Scored, choose_protocols, evaluate_video, fingerprint
from endodav.evaluation.spool import Spool
from endodav.types import Kind

FRAMES, SIZE = 4, (12, 16)
K = np.array([[16.0, 0, 8], [0, 16, 6], [0, 0, 1]])


def truth(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(5, 80, (FRAMES, *SIZE)).astype(np.float32)


def video(tmp_path: Path, depth: np.ndarray, *, poses: bool = True, name: str = "v") -> Sequence:
    refs = []
    for k in range(len(depth)):
        path = tmp_path / f"{name}_{k}.png"
        Image.fromarray(np.full((*depth.shape[1:], 3), 10 * k, np.uint8)).save(path)
        T = np.eye(4)
        T[0, 3] = k
        refs.append(FrameRef(path, path, Fraction(k, 25), T if poses else None))
    return Sequence(
        "test", name, tuple(refs), lambda ref: depth[int(ref.image.stem[-1])], intrinsics=K
    )


def prediction(values: np.ndarray, kind: Kind = Kind.DEPTH) -> Prediction:
    return Prediction(Path("p.npz"), kind, {}, lambda: iter(values), len(values))


def report_from(scored: list[Scored], protocols: list[Protocol], **changes: Any) -> Report:
    predictor = Predictor(
        model="m", weights_sha256="abc", kind="depth", units="mm", seeds="one", settings={}
    )
    facts = {"title": "t", "data": "test", "data_sha256": {}, "versions": {}} | changes
    results = [summarise(protocol, scored) for protocol in protocols]
    return Report(predictor=predictor, results=results, **facts)


def report_of(tmp_path: Path, noise: float, names: int = 3) -> Report:
    scored, videos = [], []
    protocol = PROTOCOLS["endodac"]
    for k in range(names):
        depth = truth(k)
        rng = np.random.default_rng(100 + k)
        off = depth * (1 + noise * rng.uniform(-1, 1, depth.shape)).astype(np.float32)
        videos.append(video(tmp_path, depth, name=f"v{k}_"))
        scored.append(evaluate_video(prediction(off), videos[-1], [protocol], pictures=True))
    digests = {one.name: fingerprint(one) for one in videos}
    report = report_from(scored, [protocol], title=f"noise {noise}", data_sha256=digests)
    html = to_html(report, {one.name: one.pictures for one in scored if one.pictures})
    assert html.count("data:image/png;base64,") == 7 * names
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    return report


def test_spooled_scores_are_those_in_memory(tmp_path: Path) -> None:
    depth = truth()
    depth[1, :3] = 0
    off = depth * np.random.default_rng(1).uniform(0.8, 1.2, depth.shape).astype(np.float32) + 1
    clip = [EvalFrame(p, t, t > 0) for p, t in zip(off, depth, strict=True)]
    found = evaluate_video(prediction(off), video(tmp_path, depth), list(PROTOCOLS.values()))
    for one in found.scores:
        errors = score(clip, Kind.DEPTH, PROTOCOLS[one.protocol]).errors
        assert one.metrics["abs_rel"] == errors.abs_rel
        assert one.metrics["spearman"] == errors.spearman
        assert {"tae_endodav", "tae_vda", "opw", "boundary_f1"} <= one.metrics.keys()
        assert one.frames == FRAMES


def test_the_scratch_file_is_gone_through_again_and_again(tmp_path: Path) -> None:
    depth = truth()
    depth[0] = 90  # known all over
    depth[1] = 1  # known nowhere
    frames = [EvalFrame(-t, t, t > 40) for t in depth]
    with Spool(iter(frames), tmp_path / "made") as spool:
        for _ in range(2):
            for ours, given in zip(spool, frames, strict=True):
                assert (ours.prediction == given.prediction).all()
                assert (ours.valid == given.valid).all()
                assert (ours.truth == given.truth * given.valid).all()
            for ours, given in zip(spool.known(), frames, strict=True):
                assert (ours.prediction == given.prediction[given.valid]).all()
                assert (ours.truth == given.truth[given.valid]).all()
                assert ours.largest == given.prediction.max()
        assert len(list(spool.beginning(2))) == len(list(spool.beginning(2).known())) == 2
        assert spool.not_positive == 1
    assert not list((tmp_path / "made").iterdir())


def test_without_poses_tae_says_that_it_cannot(tmp_path: Path) -> None:
    found = evaluate_video(
        prediction(truth()), video(tmp_path, truth(), poses=False), [PROTOCOLS["metric"]]
    ).scores[0]
    assert "tae_vda" not in found.metrics
    assert any("need poses" in note for note in found.notes)


def test_predictions_a_thousand_times_too_large_are_noticed(tmp_path: Path) -> None:
    found = evaluate_video(
        prediction(1000 * truth()), video(tmp_path, truth()), [PROTOCOLS["metric"]]
    ).scores[0]
    assert any("1e+03 times too large" in note for note in found.notes)


def test_values_that_are_not_positive_are_noticed(tmp_path: Path) -> None:
    off = truth()
    off[:, 0] = -1
    found = evaluate_video(prediction(off), video(tmp_path, truth()), [PROTOCOLS["endodav"]])
    assert any("8.33% of the predicted values" in note for note in found.scores[0].notes)


def test_what_runs_against_the_truth_is_warned_of_once_a_video(tmp_path: Path) -> None:
    protocols = [PROTOCOLS[name] for name in ("vda", "per-frame-lstsq", "endodac")]
    against = 90 - truth()
    scored = evaluate_video(prediction(against), video(tmp_path, truth()), protocols)
    assert [one.inverted for one in scored.scores] == [FRAMES, FRAMES, 0]
    (said,) = (note for note in notes(report_from([scored], protocols)) if "turns near" in note)
    assert said.startswith("v: the fit turns near and far round in 4 of 4 frames (vda), 4 of 4 ")
    assert said in to_markdown(report_from([scored], protocols))


def test_a_constant_frame_among_others_is_noted_and_not_fatal(tmp_path: Path) -> None:
    off = truth()
    off[2] = 7
    protocols = [PROTOCOLS["per-frame-lstsq"], PROTOCOLS["vda"]]
    scored = evaluate_video(prediction(off), video(tmp_path, truth()), protocols)
    assert [one.degenerate for one in scored.scores] == [1, 0]
    found = notes(report_from([scored], protocols))
    assert any("undetermined in 1 of 4 frames (per-frame-lstsq)" in note for note in found)


def test_a_protocol_that_finds_no_fit_leaves_the_others_alone(tmp_path: Path) -> None:
    off = truth()
    off[0] = 7
    protocols = [PROTOCOLS["first-frame"], PROTOCOLS["vda"]]
    scored = evaluate_video(
        prediction(off), video(tmp_path, truth()), protocols, lengths=(2,), pictures=True
    )
    first, second = scored.scores
    assert not first.metrics
    assert "abs_rel" in second.metrics
    assert scored.pictures is not None
    report = report_from([scored], protocols)
    assert any("No errors under first-frame: The pred" in note for note in notes(report))
    assert "| first-frame | 0 |" in to_markdown(report)
    assert "first-frame" in to_html(report, {"v": scored.pictures})


def test_more_frames_than_the_sequence_are_refused_even_if_uncounted(tmp_path: Path) -> None:
    longer = np.concatenate([truth(), truth()[:1]])
    uncounted = replace(prediction(longer), count=None)
    with pytest.raises(InputError, match="more than the 4 frames of v"):
        evaluate_video(uncounted, video(tmp_path, truth()), [PROTOCOLS["endodav"]])
    uncounted = replace(prediction(truth()[:3]), count=None)
    with pytest.raises(InputError, match="has 3 frames, but v has 4"):
        evaluate_video(uncounted, video(tmp_path, truth()), [PROTOCOLS["endodav"]])


def test_drift_is_measured_at_the_lengths_that_the_video_has(tmp_path: Path) -> None:
    off = truth() * np.linspace(1, 2, FRAMES, dtype=np.float32)[:, None, None]
    protocol = PROTOCOLS["video-median"]
    sequence = video(tmp_path, truth())
    found = evaluate_video(prediction(off), sequence, [protocol], lengths=(2, 4, 9)).scores[0]
    assert list(found.drift) == [2, 4]
    assert found.drift[4] == found.metrics["abs_rel"] > found.drift[2]


def test_only_what_is_asked_for_is_computed(tmp_path: Path) -> None:
    sequence = replace(video(tmp_path, truth()), read_image=lambda _: pytest.fail("not wanted"))
    names = ("abs_rel", "tae_vda", "boundary_f1")
    found = evaluate_video(prediction(truth()), sequence, [PROTOCOLS["metric"]], names).scores[0]
    assert tuple(found.metrics) == ("abs_rel", "boundary_f1", "tae_vda")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (truth()[:3], "has 3 frames, but v has 4"),
        (truth()[:, :, :8], "do not crop"),
        (np.full((FRAMES, *SIZE), 3, np.float32), "v: The prediction is the same"),
        (np.full((FRAMES, *SIZE), np.nan, np.float32), "v: .* not finite"),
    ],
)
def test_bad_predictions_are_named(tmp_path: Path, values: np.ndarray, match: str) -> None:
    with pytest.raises(InputError, match=match):
        evaluate_video(prediction(values), video(tmp_path, truth()), [PROTOCOLS["endodav"]])


def test_truth_that_is_nowhere_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="v: The truth has no depth"):
        evaluate_video(prediction(truth()), video(tmp_path, 0 * truth()), [PROTOCOLS["endodav"]])


def test_protocols_by_name() -> None:
    assert len(choose_protocols("all", Kind.DEPTH)) == len(PROTOCOLS)
    assert "metric" not in {p.name for p in choose_protocols("all", Kind.INVERSE_DEPTH)}
    with pytest.raises(RecipeError, match="no protocol 'x'"):
        choose_protocols("vda,x", Kind.DEPTH)
    with pytest.raises(RecipeError, match="compares millimetres"):
        choose_protocols("metric", Kind.INVERSE_DEPTH)


def test_foreign_files_are_read(tmp_path: Path) -> None:
    values = truth()
    np.savez(tmp_path / "p.npz", prediction=values, times=np.arange(4.0))
    for kind in ("npy", "png", "exr"):
        (tmp_path / kind).mkdir()
    for k, one in enumerate(values):
        np.save(tmp_path / "npy" / f"{k}.npy", one)
        Image.fromarray(one.astype(np.uint16)).save(tmp_path / "png" / f"{k}.png")
        OpenEXR.File({}, {"Z": OpenEXR.Channel(one)}).write(str(tmp_path / "exr" / f"{k}.exr"))
    codes = values.astype(np.uint16)
    for name, wanted in (("p.npz", values), ("npy", values), ("png", codes), ("exr", values)):
        found = open_prediction(tmp_path / name, Kind.DEPTH)
        assert found.count == FRAMES
        assert (np.stack(list(found.maps())) == wanted).all()
        with pytest.raises(InputError, match="--kind"):
            open_prediction(tmp_path / name)


def test_reports_read_back_and_compare(tmp_path: Path) -> None:
    good, same, bad = (report_of(tmp_path, noise) for noise in (0.1, 0.1, 0.5))
    (tmp_path / FILENAME).write_text(good.model_dump_json())
    assert read_report(tmp_path) == good
    verdicts = {one.metric: one.verdict for one in compare(good, bad)}
    assert (verdicts["abs_rel"], verdicts["delta1"]) == ("worse", "worse")
    assert {one.verdict for one in compare(good, same)} == {NO_DIFFERENCE}
    summary = good.results[0].metrics["abs_rel"]
    assert summary.low is not None
    assert summary.low <= summary.mean <= (summary.high or 0)
    text = to_markdown(good)
    for said in ("endodac", "weights abc", "0.001..150", "95 % bootstrap", "seeds: one"):
        assert said in text


def test_other_data_under_the_same_name_is_refused(tmp_path: Path) -> None:
    report = report_of(tmp_path, 0.1)
    other = report.model_copy(update={"data_sha256": dict.fromkeys(report.data_sha256, "x")})
    with pytest.raises(InputError, match="different data"):
        list(compare(report, other))


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILENAME).write_text("{}")
    with pytest.raises(InputError, match="no report of this version"):
        read_report(tmp_path)
