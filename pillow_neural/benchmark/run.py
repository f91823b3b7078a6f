"""Measures codecs over a folder of pictures."""

import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pillow_neural.benchmark.codecs import (
    Codec,
    SaveArgs,
    decode,
    encode,
    register_formats,
    weights_measured,
)
from pillow_neural.benchmark.metrics import HAS_NLPD, MIN_SIDE, ms_ssim, nlpd, psnr
from pillow_neural.benchmark.results import (
    CodecResult,
    Measurement,
    PictureInfo,
    Results,
    Setting,
    describe_environment,
)
from pillow_neural.cli.workers import threads_for


def find_pictures(folder: Path, limit: int | None = None) -> list[Path]:
    """The PNG files of a folder by name, the first `limit` of them.

    Raises ValueError when there is none or one is too small for MS-SSIM.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png")[:limit]
    if not paths:
        raise ValueError(f"no PNG pictures in {folder}")
    for path in paths:
        picture = _picture_info(path)
        if min(picture.width, picture.height) < MIN_SIDE:
            raise ValueError(f"{path} is {picture.width}x{picture.height}, MS-SSIM needs {MIN_SIDE} a side")
    return paths


def measure(
    codecs: list[Codec], paths: list[Path], *, repeats: int = 1, jobs: int = 1, reuse: Results | None = None
) -> Iterator[Results]:
    """Measure the codecs one after another; yields all results so far after each of them.

    A picture is converted to RGB, saved and opened once untimed at the codec's first setting, then `repeats`
    times at each setting, of which the median times count. With jobs > 1 as many processes share the
    pictures and disturb each other's times. Codecs in `reuse` that aren't measured follow as reused; raises
    ValueError when it holds other pictures, RuntimeError when a codec fails.
    """
    pictures = [_picture_info(path) for path in paths]
    if reuse is not None and reuse.pictures != pictures:
        raise ValueError("the results to reuse hold other pictures")
    named = {codec.name for codec in codecs}
    kept = [replace(old, reused=True) for old in (reuse.codecs if reuse else []) if old.name not in named]
    measured: list[CodecResult] = []
    environment = {**describe_environment(), "jobs": jobs, "repeats": repeats}
    with tqdm(total=len(codecs) * len(paths), unit="picture") as progress:
        for codec in codecs:
            progress.set_description(codec.name)
            rows = []
            for row in _measure_pictures(codec, paths, repeats, jobs):
                rows.append(row)
                progress.update()
            columns = zip(codec.settings, zip(*rows, strict=True), strict=True)
            settings = [_summary(args, list(column)) for args, column in columns]
            here = environment | weights_measured(codec)
            measured.append(CodecResult(codec.name, codec.format, False, here, settings))
            yield Results(pictures, [*measured, *kept])


def _measure_pictures(
    codec: Codec, paths: list[Path], repeats: int, jobs: int
) -> Iterator[list[Measurement]]:
    measure_one = partial(_measure_picture, codec, repeats)
    if jobs == 1:
        yield from map(measure_one, paths)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, _start_worker, (jobs,)) as pool:
        yield from pool.map(measure_one, paths)


def _start_worker(jobs: int) -> None:
    """Share the cores out, for each worker would use all of them and wait for the others."""
    import torch

    torch.set_num_threads(threads_for(jobs))
    end_with_parent()


def end_with_parent() -> None:
    """Make this worker process end when the one that started it does, even if that is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _measure_picture(codec: Codec, repeats: int, path: Path) -> list[Measurement]:
    """The measurements of one picture, one for each of the codec's settings."""
    register_formats()
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    try:
        decode(encode(image, codec.format, codec.settings[0]))
        return [_measure_setting(codec.format, args, repeats, path.name, image) for args in codec.settings]
    except Exception as error:
        raise RuntimeError(f"{codec.name} failed on {path}") from error


def _measure_setting(
    pillow_format: str, args: SaveArgs, repeats: int, name: str, image: Image.Image
) -> Measurement:
    save_times, load_times = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        data = encode(image, pillow_format, args)
        saved = time.perf_counter()
        decoded = decode(data)
        load_times.append(time.perf_counter() - saved)
        save_times.append(saved - start)
    original, pixels = np.asarray(image), np.asarray(decoded.convert("RGB"))
    return Measurement(
        name=name,
        bytes=len(data),
        bpp=8 * len(data) / (image.width * image.height),
        psnr=psnr(original, pixels),
        msssim=ms_ssim(original, pixels),
        save_s=statistics.median(save_times),
        load_s=statistics.median(load_times),
        nlpd=nlpd(original, pixels) if HAS_NLPD else None,
    )


def _summary(args: SaveArgs, rows: list[Measurement]) -> Setting:
    distances = [row.nlpd for row in rows if row.nlpd is not None]
    return Setting(
        args=args,
        bpp=statistics.fmean(row.bpp for row in rows),
        psnr=statistics.fmean(row.psnr for row in rows),
        msssim=statistics.fmean(row.msssim for row in rows),
        save_s=statistics.median(row.save_s for row in rows),
        load_s=statistics.median(row.load_s for row in rows),
        pictures=rows,
        nlpd=statistics.fmean(distances) if distances else None,
    )


def _picture_info(path: Path) -> PictureInfo:
    with Image.open(path) as image:
        return PictureInfo(path.name, image.width, image.height)
