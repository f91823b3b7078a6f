"""A mixed set of pictures that are no photographs, drawn the same each time with Pillow and its own font."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Size = tuple[int, int]

ICON_SIDES = (16, 32, 64, 256)
_PAGE = (800, 600)
_SMOOTH = 4
"""How many times larger drawings are made, to be reduced with soft edges."""

_PALETTE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
_TEXT = (
    "a picture that is drawn has few colours and sharp edges where one that was taken has many and soft ones "
    "so what tells the two apart is how often a pixel equals the one beside it or can be told from others"
)


def graphics_set(photograph: Path) -> dict[str, Image.Image]:
    """The pictures by name, modes L, RGB and RGBA.

    Args:
        photograph: a picture that becomes part of some, at least 400x300 pixels.
    """
    with Image.open(photograph) as opened:
        photo = opened.convert("RGB")
    return {
        "text": _text_page("white", ["black"]),
        "text, grey": _text_page("white", ["black"]).convert("L"),
        "text, coloured": _text_page("#fdf6e3", _PALETTE),
        "text, dark": _text_page("#1e1e1e", ["#d4d4d4", "#569cd6", "#ce9178", "#6a9955"]),
        "window": _window(),
        "table": _table(),
        "bar chart": _bar_chart(),
        "line chart": _line_chart(),
        "line drawing": _line_drawing(),
        "map": _map(),
        **{f"icon {side}": _icon(side) for side in ICON_SIDES},
        "gradient, linear": _linear_gradient((512, 384)),
        "gradient, radial": _radial_gradient((512, 384)),
        "dithered, 2 colours": photo.convert("1").convert("L"),
        "dithered, 16 colours": photo.quantize(palette=photo.quantize(16)).convert("RGB"),
        "noise": _noise((256, 192)),
        "pixel art": _pixel_art(32, 12),
        "page with photograph": _page_with(photo),
    }


def _words(random: np.random.Generator, count: int) -> str:
    words = _TEXT.split()
    return " ".join(words[number] for number in random.integers(len(words), size=count))


def _text_page(paper: str, inks: Sequence[str]) -> Image.Image:
    random = np.random.default_rng(1)
    im = Image.new("RGB", _PAGE, paper)
    draw = ImageDraw.Draw(im)
    draw.text((40, 24), _words(random, 4).capitalize(), inks[0], ImageFont.load_default(28))
    for number, top in enumerate(range(80, _PAGE[1] - 30, 20)):
        if number % 7 != 6:
            draw.text((40, top), _words(random, 14), inks[number % len(inks)], ImageFont.load_default(14))
    return im


def _window() -> Image.Image:
    random = np.random.default_rng(2)
    im = Image.new("RGB", _PAGE, "#3a6ea5")
    draw = ImageDraw.Draw(im)
    font = ImageFont.load_default(13)
    draw.rounded_rectangle((60, 50, 740, 550), 10, "#f0f0f0", "#707070")
    draw.rectangle((61, 60, 739, 84), "#dcdcdc")
    draw.text((330, 64), "Preferences", "black", font)
    for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        draw.ellipse((74 + 22 * number, 65, 88 + 22 * number, 79), colour)
    for row in range(9):
        top = 110 + 40 * row
        draw.text((90, top + 4), _words(random, 2), "#202020", font)
        draw.rectangle((260, top, 520, top + 24), "white", "#a0a0a0")
        draw.text((268, top + 4), _words(random, 3), "#404040", font)
        draw.rectangle((550, top + 4, 566, top + 20), "white", "#606060")
        if random.random() < 0.5:
            draw.line((553, top + 12, 557, top + 17, 564, top + 6), "#2060c0", 2)
        draw.text((576, top + 4), _words(random, 2), "#202020", font)
    for left, label in ((520, "Cancel"), (630, "OK")):
        draw.rounded_rectangle((left, 500, left + 90, 530), 6, "#e4e4e4", "#909090")
        draw.text((left + 28, 507), label, "black", font)
    return im


def _table() -> Image.Image:
    random = np.random.default_rng(3)
    im = Image.new("RGB", _PAGE, "white")
    draw = ImageDraw.Draw(im)
    font = ImageFont.load_default(13)
    for row, top in enumerate(range(0, _PAGE[1], 24)):
        draw.rectangle((0, top, _PAGE[0], top + 23), "#d9e2f3" if not row else ("#f7f7f7", "white")[row % 2])
        for left in range(0, _PAGE[0], 100):
            draw.text((left + 8, top + 4), f"{random.normal(0, 1000):.2f}", "#202020", font)
            draw.line((left, top, left, top + 23), "#c0c0c0")
    return im


def _axes(draw: ImageDraw.ImageDraw) -> None:
    font = ImageFont.load_default(13)
    for number in range(6):
        y = 520 - 90 * number
        draw.line((70, y, 760, y), "#d0d0d0")
        draw.text((30, y - 8), f"{20 * number}", "#404040", font)
    draw.line((70, 70, 70, 520, 760, 520), "black", 2)


def _bar_chart() -> Image.Image:
    random = np.random.default_rng(4)
    im = Image.new("RGB", _PAGE, "white")
    draw = ImageDraw.Draw(im)
    _axes(draw)
    for group in range(8):
        for number, colour in enumerate(_PALETTE[:3]):
            left = 90 + 84 * group + 22 * number
            draw.rectangle((left, 520 - int(random.integers(40, 430)), left + 19, 519), colour)
        draw.text((98 + 84 * group, 530), f"20{group + 17}", "#404040", ImageFont.load_default(13))
    return im


def _line_chart() -> Image.Image:
    random = np.random.default_rng(5)
    large = Image.new("RGB", (_PAGE[0] * _SMOOTH, _PAGE[1] * _SMOOTH), "white")
    draw = ImageDraw.Draw(large)
    for colour in _PALETTE[:4]:
        heights = 300 + np.cumsum(random.normal(0, 12, 140))
        points = [(_SMOOTH * (75 + 4.9 * n), _SMOOTH * float(y)) for n, y in enumerate(heights)]
        draw.line(points, colour, 2 * _SMOOTH, joint="curve")
    im = large.reduce(_SMOOTH)
    _axes(ImageDraw.Draw(im))
    return im


def _line_drawing() -> Image.Image:
    random = np.random.default_rng(6)
    large = Image.new("RGB", (_PAGE[0] * _SMOOTH, _PAGE[1] * _SMOOTH), "white")
    draw = ImageDraw.Draw(large)
    for _ in range(60):
        x, y, width, height = (
            int(n) * _SMOOTH for n in random.integers((0, 0, 20, 20), (700, 500, 300, 300))
        )
        start = float(random.uniform(0, 360))
        draw.arc((x, y, x + width, y + height), start, start + float(random.uniform(60, 300)), "black", 6)
    for _ in range(30):
        draw.line(
            [(int(x) * _SMOOTH, int(y) * _SMOOTH) for x, y in random.integers(0, _PAGE, (2, 2))], "#303030", 5
        )
    return large.reduce(_SMOOTH)


def _map() -> Image.Image:
    random = np.random.default_rng(7)
    large = Image.new("RGB", (_PAGE[0] * 2, _PAGE[1] * 2), "#aadaff")
    draw = ImageDraw.Draw(large)
    for colour in ("#f5f3ee", "#f5f3ee", "#c9e7c1", "#f5f3ee", "#c9e7c1", "#e8e4d8"):
        centre = random.integers((300, 250), (1300, 950))
        angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
        radii = 330 + np.cumsum(random.normal(0, 18, 60))
        rim = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]
        draw.polygon([(float(x), float(y)) for x, y in rim], colour, "#b0a890")
    for _ in range(14):
        ends = random.integers(0, (1600, 1200), (3, 2))
        draw.line([(int(x), int(y)) for x, y in ends], "#ffffff", 10, joint="curve")
    im = large.reduce(2)
    for x, y in random.integers((20, 20), (700, 570), (25, 2)):
        ImageDraw.Draw(im).text(
            (int(x), int(y)), _words(random, 1).title(), "#505050", ImageFont.load_default(12)
        )
    return im


def _icon(side: int) -> Image.Image:
    """A folder with an arrow, on a transparent ground."""
    large = Image.new("RGBA", (256 * _SMOOTH, 256 * _SMOOTH))
    draw = ImageDraw.Draw(large)

    def scaled(*places: int) -> list[int]:
        return [_SMOOTH * place for place in places]

    draw.rounded_rectangle(scaled(20, 50, 130, 110), 14 * _SMOOTH, "#c98a1b")
    draw.rounded_rectangle(scaled(20, 74, 236, 216), 16 * _SMOOTH, "#f2b632")
    draw.ellipse(scaled(128, 120, 244, 236), "#2f7de1")
    draw.polygon(scaled(186, 142, 220, 180, 198, 180, 198, 214, 174, 214, 174, 180, 152, 180), "white")
    return large.resize((side, side), Image.Resampling.LANCZOS)


def _linear_gradient(size: Size) -> Image.Image:
    across = np.linspace(0, 1, size[0])[None, :, None]
    down = np.linspace(0, 1, size[1])[:, None, None]
    start, right, bottom = (np.array(colour) for colour in ((20, 30, 90), (160, 40, -30), (30, 120, 100)))
    return _rounded(start + across * right + down * bottom)


def _radial_gradient(size: Size) -> Image.Image:
    y, x = np.mgrid[: size[1], : size[0]]
    distance = np.hypot(x - size[0] / 2, y - size[1] / 2)[..., None] / math.hypot(*size) * 2
    return _rounded((1 - distance) * np.array((250, 240, 200)) + distance * np.array((40, 60, 120)))


def _rounded(samples: npt.NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(samples), 0, 255).astype(np.uint8))


def _noise(size: Size) -> Image.Image:
    return Image.fromarray(np.random.default_rng(8).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def _pixel_art(side: int, scale: int) -> Image.Image:
    """A figure with mirror symmetry in eight colours, each of its pixels a square."""
    random = np.random.default_rng(9)
    colours = np.array([[20, 12, 28], [68, 36, 52], [48, 52, 109], [78, 74, 78], [133, 76, 48], [52, 101, 36],
                        [208, 70, 72], [222, 238, 214]], np.uint8)  # fmt: skip
    half = random.integers(0, 8, (side // 2, side // 4)).repeat(2, 0).repeat(2, 1)
    figure = Image.fromarray(colours[np.concatenate([half, half[:, ::-1]], 1)])
    return figure.resize((side * scale, side * scale), Image.Resampling.NEAREST)


def _page_with(photo: Image.Image) -> Image.Image:
    page = _text_page("white", ["black"])
    page.paste(photo.resize((400, 267), Image.Resampling.LANCZOS), (200, 160))
    return page
