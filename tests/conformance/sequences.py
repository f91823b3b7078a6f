"""Pictures of several frames."""

from __future__ import annotations

import io

from PIL import Image, ImageSequence

from tests.conformance.kit import Kit, difference, frames, outcome


def still(kit: Kit) -> str:
    im = kit.open()
    seen = [outcome(lambda n=number: im.seek(n)) for number in (0, 1, -1)]  # type: ignore[misc]
    return f"{im.n_frames} {im.is_animated} {im.tell()}, seek 0, 1, -1: {' '.join(seen)}"


def number_of_frames(kit: Kit) -> str:
    im = kit.open(kit.animation())
    return f"{im.n_frames} frames, {'not ' if im._im is None else ''}decoded"


def kinds_of_append_images(kit: Kit) -> str:
    first, *others = frames()
    with kit.open(kit.animation()) as several:
        given = [others, (im for im in others), [several, others[0]]]
        counts = [kit.open(kit.save(first, save_all=True, append_images=each)).n_frames for each in given]
    return f"list {counts[0]}, generator {counts[1]}, animation {counts[2]}"


def append_images_alone(kit: Kit) -> str:
    first, *others = frames()
    return f"{kit.open(kit.save(first, append_images=others)).n_frames} frames"


def frames_of_another_format(kit: Kit) -> str:
    out = io.BytesIO()
    first, *others = frames()
    first.save(out, "PNG", save_all=True, append_images=others, duration=[10, 20, 30], loop=2)
    return _timing(kit.open(kit.save(Image.open(out), save_all=True)))


def different_sizes(kit: Kit) -> str:
    return outcome(lambda: kit.save(save_all=True, append_images=[Image.new("RGB", (9, 9))]))


def durations(kit: Kit) -> str:
    im = kit.open(kit.animation(loop=2))
    seen = []
    for number in range(3):
        im.seek(number)
        im.load()
        seen.append(f"{im.info['duration']}@{im.info['timestamp']}")
    return " ".join(seen)


def one_duration_and_loop(kit: Kit) -> str:
    return _timing(kit.open(kit.animation(duration=70, loop=2)))


def too_few_durations(kit: Kit) -> str:
    return outcome(lambda: kit.animation(duration=[10]))


def order_of_seeks(kit: Kit) -> str:
    im = kit.open(kit.animation())
    pictures = frames()
    far = []
    for number in (2, 0, 1, 2, 1):
        im.seek(number)
        far.append(difference(im.convert("RGB"), pictures[number]))
    return "right frames" if max(far) < 8 else "wrong frames"


def beyond_the_end(kit: Kit) -> str:
    im = kit.open(kit.animation())
    im.seek(1)
    errors = f"{outcome(lambda: im.seek(3))}, {outcome(lambda: im.seek(-1))}"
    return f"{errors}, still at {im.tell()}"


def iteration(kit: Kit) -> str:
    im = kit.open(kit.animation())
    copies = [frame.copy() for frame in ImageSequence.Iterator(im)]
    right = all(
        difference(copy.convert("RGB"), frame) < 8 for copy, frame in zip(copies, frames(), strict=True)
    )
    return f"{len(copies)} frames" if right else "wrong frames"


def plain_save_of_an_animation(kit: Kit) -> str:
    im = kit.open(kit.animation())
    im.seek(1)
    again = kit.open(kit.save(im))
    same = difference(again.convert("RGB"), frames()[1]) < 8
    return f"{again.n_frames} frame, {'the current' if same else 'another'}"


def save_all_of_one(kit: Kit) -> str:
    return "the bytes of a still" if kit.save(save_all=True) == kit.save() else "other bytes"


def position_of_sources(kit: Kit) -> str:
    with kit.open(kit.animation()) as im, kit.open(kit.animation()) as more:
        im.seek(1)
        more.seek(2)
        kit.save(im, save_all=True, append_images=[more])
        return f"{im.tell()} {more.tell()}"


def grey_and_alpha(kit: Kit) -> str:
    """A grey frame, then one with colour, then one with alpha."""
    grey, colour, alpha = (frames(mode)[0] for mode in ("L", "RGB", "RGBA"))
    im = kit.open(kit.save(grey, save_all=True, append_images=[colour, alpha]))
    im.seek(2)
    exact = im.getchannel("A").tobytes() == alpha.getchannel("A").tobytes() if im.mode == "RGBA" else False
    return f"{im.mode}, alpha {'exact' if exact else 'lost'}"


def metadata(kit: Kit) -> str:
    im = kit.open(kit.animation(icc_profile=b"profile", xmp=b"<x/>"))
    im.seek(1)
    return f"{im.info['icc_profile']!r} {im.info['xmp']!r}"


def _timing(im: Image.Image) -> str:
    seen = []
    for frame in ImageSequence.Iterator(im):
        frame.load()
        seen.append(f"{frame.info['duration']:.0f}")
    return f"{' '.join(seen)}, loop {im.info['loop']}"
