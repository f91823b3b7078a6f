"""The model card of a weights file: what the Hugging Face Hub shows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillow_neural.weights.hub import LIBRARY_NAME
from pillow_neural.weights.manifest import Curve, Training, WeightsEntry

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_TASK = "image-to-image"
_TAGS = ["image-compression", "neural-compression", "learned-image-compression", "pillow"]

_TEXT = """\
# {file}

Trained weights of the codec `{codec}` of the Python package `{library}`, which opens and saves `.nic` files,
pictures compressed by a neural network, like any other format in Pillow:

```python
import pillow_neural  # registers .nic
from PIL import Image

Image.open("photo.png").save("photo.nic", quality=0.25, codec="{codec}"{tuned})  # about 0.25 bits per pixel
Image.open("photo.nic").show()
```

The package finds this file by itself, in the commit that its manifest names, and checks its sha256. On a
machine without a connection, put the file into a folder and name that folder in `PILLOW_NEURAL_WEIGHTS`.

| | |
|---|---|
| file | `{file}` (safetensors) |
| size | {size:,} bytes |
| sha256 | `{sha256}` |
| `.nic` files name it | `{id}` |
| version of the `.nic` format | {format_version} |
| licence | {licence} |

The file is never replaced by another one under its name, so that files saved with it keep opening.

## Training

{minutes:,.0f} minutes, {steps:,} steps, {megapixels:,.0f} megapixels seen.

## Measured

Means over the 24 Kodak pictures, through real files: bits per pixel count whole files.

{table}

Made for photographs; text and drawings are better kept in PNG.
"""


def model_card(entry: WeightsEntry) -> str:
    """README.md of the entry's repository: metadata in YAML with the curve as model-index, then the text.

    Raises:
        ValueError: the entry lacks what the card tells: training facts or a measured curve.
    """
    from huggingface_hub import ModelCard, ModelCardData

    if entry.training is None or entry.curve is None:
        raise ValueError(
            f"the manifest has no measured curve of {entry.file}; measure it with `python -m "
            "pillow_neural.benchmark run` on the 24 Kodak pictures, and give the results.json with --curve"
        )
    data = ModelCardData(
        license=entry.licence.lower(),
        library_name=LIBRARY_NAME,
        pipeline_tag=_TASK,
        tags=_TAGS,
        metrics=["psnr", "ms-ssim"],
        model_name=entry.codec,
        eval_results=_eval_results(entry.curve),
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(entry, entry.training, entry.curve)}"))


def _text(entry: WeightsEntry, training: Training, curve: Curve) -> str:
    points = zip(*curve, strict=True)
    rows = (f"| {bpp:.3f} | {psnr:.2f} dB | {ms_ssim:.4f} |" for bpp, psnr, ms_ssim in points)
    return _TEXT.format(
        library=LIBRARY_NAME,
        codec=entry.codec,
        tuned=f', tune="{entry.tune}"' if entry.tune else "",
        file=entry.file,
        size=entry.size,
        sha256=entry.sha256,
        id=entry.id.hex(),
        format_version=entry.format_version,
        licence=entry.licence,
        table="\n".join(("| bits per pixel | PSNR | MS-SSIM |", "|---:|---:|---:|", *rows)),
        **training._asdict(),
    )


def _eval_results(curve: Curve) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=_TASK,
            dataset_type="kodak",
            dataset_name="Kodak (24 pictures)",
            metric_type=metric,
            metric_name=f"{name} at {bpp:.3f} bits per pixel",
            metric_value=value,
        )
        for metric, name, values in (("psnr", "PSNR", curve.psnr), ("ms-ssim", "MS-SSIM", curve.ms_ssim))
        for bpp, value in zip(curve.bpp, values, strict=True)
    ]
