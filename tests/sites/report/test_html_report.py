"""report.html: whole, self-contained, true to summary.json, and there for odd runs too."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import sites.report.figures
from engine.records import encoded, report_to_json
from engine.types import RoundReport, Scores, Shift, SiteRound, Speed
from sites import commands
from sites.config import RunConfig, difference
from sites.federation import resolve
from sites.report.curves import COLORS
from sites.report.figures import draw_figures, report_of
from sites.report.html_repeat import command_line
from sites.report.html_report import report_html
from sites.report.html_results import Estimate, estimated, scored
from sites.report.latent_figures import draw_shift, measures
from sites.report.projections import projections
from sites.run_directory import config_toml
from sites.run_reader import read_run
from sites.settings import parse_run
from tests.sites.report.pages import Page
from tests.sites.report.test_report import read_png, write_run

SECTIONS = [
    "setting", "results", "curves", "pictures", "latents", "shift", "alignment", "ledger", "time", "repeat",
]  # fmt: skip
MEASURES = ("mmd", "coral", "a_distance", "identifier_accuracy", "frechet", "wasserstein")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def patients_of(site: int, count: int) -> list[dict[str, dict[str, float]]]:
    random = np.random.default_rng(site)
    before, gain = 20 + random.random(count), 2 + random.random(count)
    return [
        {
            "zero_filled": {"psnr": b, "ssim": 0.5, "nmse": 0.08 + 0.01 * index},
            "test": {"psnr": b + g, "ssim": 0.5 + 0.04 * g, "nmse": 0.02},
        }
        for index, (b, g) in enumerate(zip(before.tolist(), gain.tolist(), strict=True))
    ]


def means(patients: list[dict[str, dict[str, float]]], when: str) -> dict[str, float]:
    return {key: float(np.mean([one[when][key] for one in patients])) for key in ("psnr", "ssim", "nmse")}


def round_of(number: int, names: list[str], target: str) -> RoundReport:
    shift = {measure: Shift(value=1 / number, low=-0.1, high=0.2, p=0.01 * number) for measure in MEASURES}
    aligned = {"identifier_accuracy": 0.6, "adversarial_gradient": 1e-3, "reconstruction_gradient": 1e-2}
    return RoundReport(
        round=number,
        sites={
            name: SiteRound(
                metrics={"loss": 1 / number} | ({} if name == target else aligned),
                scores=Scores(psnr=20 + number, ssim=0.6, nmse=0.05),
                shift={} if name == target else shift,
            )
            for name in names
        },
        ledger={"weights": 1000 * number, "scores": 24, "quux": 5},
        seconds={"train": 1.0, "evaluate": 0.25, "other": 0.01},
        speed={name: Speed(input=7000.0, training=250.0) for name in names},
    )


def full_run(folder: Path, patients: int = 4, rounds: int = 4, **settings: Any) -> Path:
    """A run of the default scenario with everything a run directory can hold, but for a network."""
    config = resolve(RunConfig(rounds=rounds, out=str(folder), **settings))
    names = [site.name for site in config.institutions]
    write_run(folder, 1)
    (folder / "config.toml").write_text(config_toml(config, "cpu"))
    reports = [round_of(number, names, config.target) for number in range(1, rounds + 1)]
    (folder / "rounds.jsonl").write_text("".join(json.dumps(report_to_json(each)) + "\n" for each in reports))
    tested = {name: patients_of(index, patients) for index, name in enumerate(names)}
    write_summary(
        folder,
        algorithm=config.algorithm_name,
        scenario=config.scenario,
        target=config.target,
        seed=config.seed,
        rounds=rounds,
        weights_sha256="ab" * 32,
        seconds={"startup": 5.4, "first_round": 7.0, "median_round": 1.3, "total": 61.0},
        ledger={"weights": 2_000_000, "previews": 500, "quux": 20},
        warnings=["ixi: k-space was synthesised <from> images"],
        sites=[
            {
                "name": name,
                "role": "both" if name == config.target else "source",
                "train_slices": 64,
                "test": means(tested[name], "test"),
                "zero_filled": means(tested[name], "zero_filled"),
                "test_patients": tested[name],
                "zero_filled_validation": means(tested[name], "zero_filled"),
            }
            for name in names
        ],
    )
    random = np.random.default_rng(0)
    pictures = {kind: random.random((32, 32), np.float32) for kind in ("zero_filled", "reconstruction", "truth")}
    save_file({f"{n}/{kind}": p for n in names for kind, p in pictures.items()}, folder / "previews.safetensors")
    latents = {f"{when}/{name}": random.random((6, 5), np.float32) for when in ("before", "after") for name in names}
    save_file(latents, folder / "latents.safetensors")
    return folder


def write_summary(folder: Path, **entries: Any) -> None:
    """summary.json with some entries changed."""
    file = folder / "summary.json"
    (file).write_text(json.dumps(encoded((json.loads(file.read_text()) if file.exists() else {}) | entries)))


def report(folder: Path) -> str:
    """Draw it and read it, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        draw_figures(folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def words(folder: Path) -> str:
    """The page alone, and without latents."""
    return report_html(read_run(folder), [])


def whole(text: str) -> Page:
    """The page, if it is well formed and needs nothing but itself."""
    page = Page(text)
    assert len(set(page.ids)) == len(page.ids)
    assert set(page.uses) <= set(page.ids)
    assert all(each.startswith("data:image/png;base64,") for each in page.loads)
    assert "script" not in page.tags
    assert all(link.startswith("https://arxiv.org/abs/") for link in page.links)
    assert not re.findall(r"https?://(?!arxiv)", text)
    return page


# ---- what it says ---------------------------------------------------------------------------------------


def test_a_run_on_one_page(tmp_path: Path) -> None:
    text = report(full_run(tmp_path))
    page = whole(text)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert len(text) < 3_000_000
    assert "k-space was synthesised <from> images" in page.text
    assert "Simulated institutions: real anatomy (ICBM152)" in page.text
    assert (tmp_path / "config.toml").read_text().strip() in page.text
    assert {"4", "cvpr21", "fl-mrcm", "brats"} <= set(re.findall(r"[\w-]+", page.text))
    assert page.tags.count("img") == 5 * 4
    assert page.tags.count("svg") == 2 + 4 + 4 + len(MEASURES) + 2  # gains, curves, latents, shift, alignment


def test_numbers_are_those_of_the_summary(tmp_path: Path) -> None:
    page = whole(words(full_run(tmp_path)))
    rows = {row[0].replace("target", ""): row for row in page.tables["scores"][2:]}
    sites = json.loads((tmp_path / "summary.json").read_text())["sites"]
    assert list(rows) == ["brats", "fastmri", "hpks", "ixi", "Mean of 4 sites"]
    for site in sites:
        row = rows[site["name"]]
        assert row[1] == "4"
        for index, (key, digits) in enumerate([("psnr", 2), ("ssim", 3), ("nmse", 4)]):
            shown = [cell.replace("−", "-").split(" ± ") for cell in row[2 + 3 * index : 5 + 3 * index]]
            zero_filled, network = site["zero_filled"][key], site["test"][key]
            for (mean, half), value, of in [
                (shown[0], zero_filled, [one["zero_filled"][key] for one in site["test_patients"]]),
                (shown[1], network, [one["test"][key] for one in site["test_patients"]]),
                (shown[2], network - zero_filled,
                 [one["test"][key] - one["zero_filled"][key] for one in site["test_patients"]]),
            ]:  # fmt: skip
                assert float(mean) == pytest.approx(value, abs=0.51 * 10**-digits)
                assert float(half) == pytest.approx(half_interval(of), abs=0.51 * 10**-digits)
    everywhere = float(rows["Mean of 4 sites"][3].split(" ± ")[0])
    assert everywhere == pytest.approx(np.mean([site["test"]["psnr"] for site in sites]), abs=0.0051)


def half_interval(values: list[float]) -> float:
    from scipy import stats

    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95) if np.std(values) else None
    return float(interval.high - interval.low) / 2 if interval else 0.0


def test_the_gain_is_paired_by_patient() -> None:
    patients = [{"zero_filled": {"psnr": b}, "test": {"psnr": b + 2}} for b in (10.0, 20.0, 30.0)]
    site = {"test_patients": patients, "test": {"psnr": 22.0}, "zero_filled": {"psnr": 20.0}}
    found = scored(site, "psnr")
    assert found.gain.mean == 2
    assert found.gain.half == pytest.approx(0, abs=1e-9)
    assert found.network.half == pytest.approx(half_interval([12.0, 22.0, 32.0]))


def test_one_patient_has_no_interval(tmp_path: Path) -> None:
    page = whole(words(full_run(tmp_path, patients=1)))
    assert not [cell for row in page.tables["scores"] for cell in row if "±" in cell]
    assert "One patient has no interval" in page.text


def test_what_crossed_and_how_long(tmp_path: Path) -> None:
    page = whole(words(full_run(tmp_path)))
    crossed = {row[0]: row[1:] for row in page.tables["bytes"][1:]}
    assert list(crossed) == ["weights", "previews", "quux", "All"]  # the largest first
    assert crossed["weights"][1:3] == ["2.5 kB", "2 MB"]
    assert crossed["quux"][0] == "sent by the algorithm"
    seconds = {row[0]: row[1:] for row in page.tables["seconds"][1:]}
    assert seconds["train"][1:3] == ["1.000", "4.00"]
    assert page.tables["speeds"][1][1:] == ["7\u202f000", "250"]


def test_the_shift_of_every_measure(tmp_path: Path) -> None:
    run = full_run(tmp_path)
    page = whole(words(run))
    assert len(page.tables["shifts"][0]) == 1 + len(MEASURES)
    assert page.tables["shifts"][1] == ["fastmri", *["1 → 0.25 p 0.04"] * len(MEASURES)]
    read = read_run(run)
    assert sorted(measures(read)) == sorted(MEASURES)
    assert sum(axis.has_data() for axis in draw_shift(read).axes) == len(MEASURES)


def test_text_of_a_user_is_escaped(tmp_path: Path) -> None:
    run = full_run(tmp_path)
    config = (run / "config.toml").read_text()
    config = config.replace('scenario = "cvpr21"', 'scenario = "<b>x</b>"').replace("simulated 3 T, T2", "</td><i>T2")
    (run / "config.toml").write_text(config)
    write_summary(run, scenario="<b>x</b>", warnings=["</div><script>1</script>"])
    page = whole(words(run))
    assert "b" not in page.tags
    assert "fl-mrcm on <b>x</b>" in page.text
    assert "</td><i>T2" in page.text
    assert "</div><script>1</script>" in page.text


@pytest.mark.parametrize(
    "settings",
    [{}, {"sites": 6, "seed": 3, "target": "hpks", "shift_every": 2}, {"shift": "ixi:contrast=0.5,mask=0.25"}],
)
def test_the_command_line_repeats_the_run(tmp_path: Path, settings: dict[str, Any]) -> None:
    run = full_run(tmp_path, **settings)
    line = command_line(read_run(run))
    assert line in words(run).replace("&#x27;", "'")
    typed = shlex.split(line)
    assert typed[:2] == ["python", "run.py"]
    again = resolve(parse_run(typed[2:]).run)
    stored = resolve(RunConfig(rounds=4, out=str(run), **settings))
    assert difference(stored, replace(again, placement=stored.placement)) == ""


def test_what_was_given_in_python_is_said(tmp_path: Path) -> None:
    run = full_run(tmp_path)
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace('algorithm = "fl-mrcm"', 'algorithm = "TrimmedMean"'))
    page = whole(words(run))
    assert "'TrimmedMean' was given in Python" in page.text
    (run / "config.toml").write_text(text.replace('source = "atlas"', 'source = "Discs"', 1))
    assert "k-space of fastmri was given in Python" in whole(words(run)).text


# ---- odd runs -------------------------------------------------------------------------------------------


def no_previews(run: Path) -> None:
    (run / "previews.safetensors").unlink()


def unfinished(run: Path) -> None:
    (run / "summary.json").unlink()
    (run / "previews.safetensors").unlink()


def old(run: Path) -> None:
    """Of a version that kept neither latents nor each patient's scores."""
    (run / "latents.safetensors").unlink()
    sites = json.loads((run / "summary.json").read_text())["sites"]
    gone = ("test_patients", "role", "zero_filled_validation")
    write_summary(run, sites=[{k: v for k, v in site.items() if k not in gone} for site in sites], warnings=[])


def no_config(run: Path) -> None:
    (run / "config.toml").unlink()


def no_rounds(run: Path) -> None:
    (run / "rounds.jsonl").unlink()


def no_shift(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    for line in lines:
        for site in line["sites"].values():
            site["shift"] = {}
            site["metrics"] = {"loss": 1.0}
    (run / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "latents.safetensors").unlink()


def not_finite(run: Path) -> None:
    text = (run / "rounds.jsonl").read_text()
    (run / "rounds.jsonl").write_text(text.replace("0.25", '"inf"').replace("0.6", '"nan"'))
    summary = json.loads((run / "summary.json").read_text())
    for site, value in zip(summary["sites"], ("nan", "inf", "-inf"), strict=False):
        site["test"] = dict.fromkeys(("psnr", "ssim", "nmse"), value)
        site["test_patients"][0]["test"] = dict(site["test"])
        site["zero_filled_validation"] = dict(site["test"])
    write_summary(run, **summary | {"seconds": summary["seconds"] | {"total": "nan", "first_round": None}})
    for name in ("latents", "previews"):
        arrays = {key: array.copy() for key, array in load_file(run / f"{name}.safetensors").items()}
        for array in arrays.values():
            array[0, 0] = np.nan
        next(iter(arrays.values()))[:] = np.inf
        save_file(arrays, run / f"{name}.safetensors")


def black(run: Path) -> None:
    arrays = load_file(run / "previews.safetensors")
    save_file({key: np.zeros_like(array) for key, array in arrays.items()}, run / "previews.safetensors")
    alike = load_file(run / "latents.safetensors")
    save_file({key: np.ones_like(array) for key, array in alike.items()}, run / "latents.safetensors")


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_previews, "--no-previews"),
        (unfinished, "This run is not finished"),
        (old, "an older version"),
        (no_config, "no config.toml"),
        (no_rounds, "No round is stored"),
        (no_shift, "--shift-every 0"),
        (not_finite, "–"),
        (black, "t-SNE"),
    ],
)
def test_odd_runs_have_a_page(tmp_path: Path, change: Any, says: str) -> None:
    run = full_run(tmp_path, rounds=2)
    change(run)
    page = whole(report(run))
    aligned = change not in (no_rounds, no_shift)
    assert [name for name in page.ids if name in SECTIONS] == [n for n in SECTIONS if aligned or n != "alignment"]
    assert says in page.text
    assert "nan" not in page.text.replace("brats", "").lower().split()


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    run = full_run(tmp_path)
    unfinished(run)
    lines = (run / "rounds.jsonl").read_text().splitlines(keepends=True)
    (run / "rounds.jsonl").write_text("".join(lines[:2]))
    page = whole(words(run))
    assert "2 of 4 rounds are done" in page.text
    assert f"run.py resume {run}" in page.text
    assert "fl-mrcm on cvpr21" in page.text


def test_one_site(tmp_path: Path) -> None:
    from engine.algorithms import FlMr

    run = full_run(tmp_path, sites=1, algorithm=FlMr())
    page = whole(report(run))
    assert [row[0] for row in page.tables["scores"][2:]] == ["fastmritarget"]
    assert "1 institution," in page.text


def test_many_sites(tmp_path: Path) -> None:
    text = words(full_run(tmp_path, sites=64, rounds=2))
    page = whole(text)
    assert len(page.tables["scores"]) == 2 + 64 + 1
    assert page.tags.count("img") == 5 * 64
    assert "mean of the others" in page.text
    assert len(text) < 3_000_000


def test_many_large_pictures_are_shown_smaller(tmp_path: Path) -> None:
    run = full_run(tmp_path, sites=12, rounds=1)
    random = np.random.default_rng(0)
    names = read_run(run).pictured
    picture = random.random((256, 256), np.float32)
    save_file(
        {f"{name}/{kind}": picture for name in names for kind in ("zero_filled", "reconstruction", "truth")},
        run / "previews.safetensors",
    )
    text = words(run)
    assert "Shown at 1/2 of the resolution" in whole(text).text
    assert len(text) < 3_000_000


# ---- damage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["latents.safetensors", "previews.safetensors", "config.toml", "summary.json"])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str) -> None:
    run = full_run(tmp_path)
    (run / name).write_bytes(b"\xff{ not one")
    with pytest.raises(ValueError, match=re.escape(f"{name} is damaged")) as error:
        draw_figures(run)
    assert "\n" not in str(error.value)


def test_latents_of_another_form_are_damage(tmp_path: Path) -> None:
    run = full_run(tmp_path)
    save_file({"before/a": np.zeros(3, np.float32)}, run / "latents.safetensors")
    with pytest.raises(ValueError, match=r"latents\.safetensors is damaged"):
        draw_figures(run)


# ---- latents --------------------------------------------------------------------------------------------


def test_principal_components(tmp_path: Path) -> None:
    run = read_run(full_run(tmp_path))
    found = next(each for each in projections(run) if (each.method, each.when) == ("PCA", "before"))
    rows = np.concatenate([run.latents[f"before/{name}"] for name in found.points]).astype(np.float64)
    variances = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    assert found.explained == pytest.approx(variances[:2] / variances.sum())
    points = np.concatenate([*found.points.values()])
    assert points.var(axis=0, ddof=1) == pytest.approx(variances[:2])
    assert next(iter(found.points)) == run.target


def test_a_plane_is_seen_as_it_is(tmp_path: Path) -> None:
    run = full_run(tmp_path)
    flat = {f"after/{name}": np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32) for name in ("ixi", "a")}
    save_file(flat, run / "latents.safetensors")
    (found,) = [each for each in projections(read_run(run)) if each.method == "PCA"]
    drawn, rows = (
        np.concatenate([part["a"], part["ixi"]]) for part in (found.points, {k[6:]: v for k, v in flat.items()})
    )
    assert np.linalg.norm(drawn[:, None] - drawn, axis=-1) == pytest.approx(
        np.linalg.norm(rows[:, None] - rows, axis=-1), abs=1e-5
    )
    assert sum(found.explained or ()) == pytest.approx(1)


def test_neighbours_stay_together(tmp_path: Path) -> None:
    run = full_run(tmp_path)
    random = np.random.default_rng(0)
    apart = {f"before/{name}": random.normal(size=(12, 8)) + 100 * index for index, name in enumerate(("a", "b"))}
    save_file({key: z.astype(np.float32) for key, z in apart.items()}, run / "latents.safetensors")
    (found,) = [each for each in projections(read_run(run)) if each.method == "t-SNE"]
    a, b = found.points["a"], found.points["b"]
    assert np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)) > 2 * max(a.std(), b.std())
    again = next(each for each in projections(read_run(run)) if each.method == "t-SNE")
    assert np.array_equal(again.points["a"], a)


def test_without_scikit_learn_there_is_no_embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = full_run(tmp_path)
    for module in ("sklearn.manifold", "umap"):
        monkeypatch.setitem(sys.modules, module, None)
    flat = projections(read_run(run))
    assert {each.method for each in flat} == {"PCA"}
    assert "t-SNE, before" not in whole(report_html(read_run(run), flat)).text


def test_colours_of_the_dark_page(tmp_path: Path) -> None:
    text = words(full_run(tmp_path))
    charts = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "var(--s1)" in charts
    assert not [color for color in (*COLORS, "#000000", "#ffffff") if color.lower() in charts]


# ---- when it is written ---------------------------------------------------------------------------------


def test_figures_are_files_too(tmp_path: Path) -> None:
    run = full_run(tmp_path)
    names = {path.stem for path in draw_figures(run)}
    assert names == {"curves", "reconstructions", "alignment", "shift", "latents"}
    for name in ("shift", "latents"):
        pixels = read_png(run / "figures" / f"{name}.png")
        assert pixels[..., :3].std() > 0.02


def test_a_report_is_written_if_it_is_missing_or_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []

    def draw(folder: Path) -> None:
        drawn.append(folder)
        (folder / "report.html").write_text("new")

    monkeypatch.setattr(sites.report.figures, "draw_figures", draw)
    run = full_run(tmp_path)
    path = report_of(run)
    assert path == report_of(run) == run / "report.html"
    assert drawn == [run]
    later = path.stat().st_mtime_ns + 1
    os.utime(run / "rounds.jsonl", ns=(later, later))
    report_of(run)
    assert drawn == [run, run]


def test_show_of_a_directory_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_path: Path, _content: bytes) -> None:
        raise PermissionError(13, "Permission denied")

    run = full_run(tmp_path)
    (run / "summary.json").unlink()
    monkeypatch.setattr(sites.report.figures, "write_atomically", refuse)
    commands.show([str(run)], 0.0)
    shown = capsys.readouterr().out
    assert "no report: it cannot be written (Permission denied)" in shown
    assert f"run directory: {run}" in shown.replace("\n", "")


def test_an_estimate_in_words() -> None:

    assert estimated(Estimate(-0.5), 2) == "−0.50"
    assert Page(estimated(Estimate(1.234, 0.5), 2, signed=True)).text == "+1.23 ± 0.50"
    assert estimated(Estimate(math.nan, math.nan), 2) == "–"


# ---- in a browser ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_it(tmp_path: Path, width: int) -> None:
    run = full_run(tmp_path / "run")
    report(run)
    picture, profile = tmp_path / "page.png", tmp_path / "profile"
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
        f"--user-data-dir={profile}", f"--window-size={width},3000",
    ]  # fmt: skip
    page = (run / "report.html").as_uri()
    dom = subprocess.run([*command, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True).stdout
    assert all(f'<section id="{name}">' in dom for name in SECTIONS)
    subprocess.run([*command, f"--screenshot={picture}", page], capture_output=True, timeout=120, check=True)
    pixels = read_png(picture)[..., :3]
    assert pixels.shape[:2] == (3000, width)
    assert pixels.std() > 0.05
    assert (pixels[:, -8:].std(axis=(0, 1)) < 0.05).all()  # nothing runs over the right edge
