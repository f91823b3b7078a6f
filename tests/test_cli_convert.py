import io
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from pillow_neural.cli import convert, workers
from tests.cli_helpers import ICC, XMP, animation, exif, names, run

Maker = Callable[..., Image.Image]
Output = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("fake_codec")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_picture: Maker) -> Path:
    """The current folder, with one.png, two.jpg and note.txt."""
    monkeypatch.chdir(tmp_path)
    make_picture("RGBA").save(tmp_path / "one.png")
    make_picture("RGB").save(tmp_path / "two.jpg", exif=exif())
    (tmp_path / "note.txt").write_text("not a picture")
    return tmp_path


@pytest.fixture
def tree(folder: Path) -> Path:
    """Also inner/three.webp, inner/deep/one.png, and a hidden folder."""
    for name in ("inner/three.webp", "inner/deep/one.png", ".hidden/four.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.open("one.png").save(name)
    return folder


def test_encode_and_decode_beside_the_input(folder: Path, capsys: Output) -> None:
    assert run("encode", "one.png", "-q", "2.0") == 0
    size = (folder / "one.nic").stat().st_size
    fields = capsys.readouterr().out.split("  ")
    assert fields[:3] == ["one.nic", "40x30", f"{size:,} bytes"]
    assert fields[3] == f"{8 * size / 1200:.3f} bpp"
    original = Image.open("one.png").tobytes()
    (folder / "one.png").unlink()
    assert run("decode", "one.nic") == 0
    assert Image.open("one.png").tobytes() == original


def test_a_folder_is_taken_without_the_folders_in_it(tree: Path) -> None:
    assert run("encode", ".", "-o", "out") == 0
    assert names(tree / "out") == {"one.nic", "two.nic"}


def test_recursion_keeps_the_tree_and_leaves_hidden_folders_out(tree: Path) -> None:
    assert run("encode", "-r", ".", "-o", "out") == 0
    assert names(tree / "out") == {"one.nic", "two.nic", "inner/three.nic", "inner/deep/one.nic"}
    assert run("decode", "out", "-r", "-o", "back", "--format", "webp") == 0
    assert names(tree / "back") == {"one.webp", "two.webp", "inner/three.webp", "inner/deep/one.webp"}


def test_recursion_without_output_writes_beside_each_input(tree: Path) -> None:
    assert run("encode", "-r", "inner") == 0
    assert {"inner/three.nic", "inner/deep/one.nic"} <= names(tree)


def test_patterns_match_files_and_folders(tree: Path) -> None:
    assert run("encode", "[io]n*", "-o", "out") == 0
    assert names(tree / "out") == {"one.nic", "three.nic"}


def test_names_that_are_no_text(folder: Path, capsys: Output) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Path("one.png").rename(name)
    assert run("encode", name) == 0
    assert capsys.readouterr().out.startswith("caf\\udce9.nic  40x30")
    assert Path(name).with_suffix(".nic").exists()


def test_output_file_decides_the_format(folder: Path) -> None:
    assert run("encode", "two.jpg", "-o", "sub/small.nic") == 0
    assert run("decode", "sub/small.nic", "-o", "sub/small.tif") == 0
    assert Image.open("sub/small.tif").format == "TIFF"


def test_a_slash_makes_the_output_a_folder(folder: Path) -> None:
    assert run("encode", "two.jpg", "-o", "v1.0/") == 0
    assert names(folder / "v1.0") == {"two.nic"}


def test_options_may_stand_among_the_inputs(folder: Path) -> None:
    assert run("encode", "one.png", "-o", "out", "two.jpg") == 0
    assert names(folder / "out") == {"one.nic", "two.nic"}


def test_existing_files_are_kept_without_force(folder: Path, capsys: Output) -> None:
    Path("one.nic").write_bytes(b"precious")
    assert run("encode", "one.png") == 1
    assert "--force" in capsys.readouterr().err
    assert Path("one.nic").read_bytes() == b"precious"
    assert run("encode", "one.png", "--force") == 0
    assert Image.open("one.nic").size == (40, 30)


def test_existing_files_can_be_skipped(folder: Path, capsys: Output) -> None:
    Path("one.nic").write_bytes(b"precious")
    assert run("encode", "one.png", "two.jpg", "--skip-existing", "-j", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "one.nic  exists, skipped"
    assert lines[2].startswith("1 written, 1 skipped, ")
    assert Path("one.nic").read_bytes() == b"precious"


def test_a_failure_with_force_keeps_the_existing_file(folder: Path) -> None:
    Path("one.nic").write_bytes(b"precious")
    before = names(folder)
    assert run("encode", "one.png", "-f", "--target-size", "10") == 1
    assert Path("one.nic").read_bytes() == b"precious"
    assert names(folder) == before


def test_an_output_that_cannot_be_written_is_named(folder: Path, capsys: Output) -> None:
    assert run("encode", "one.png", "-o", "note.txt/one.nic") == 1
    error = capsys.readouterr().err
    assert error.startswith("nic: one.png: ")
    assert error.endswith("note.txt\n")


def test_other_files_go_on_after_a_failure(folder: Path, capsys: Output) -> None:
    Path("bad.png").write_bytes(Path("one.png").read_bytes()[:200])
    assert run("encode", "missing.png", "note.txt", "bad.png", "two.jpg") == 1
    output = capsys.readouterr()
    assert output.err.count("nic: ") == 3
    assert "nic: missing.png: No such file or directory\n" in output.err
    assert "nic: note.txt: not a picture that Pillow can open\n" in output.err
    assert "nic: bad.png: " in output.err
    assert names(folder) >= {"two.nic"}
    assert output.out.splitlines()[-1].startswith("1 written, 3 failed, ")


def test_unexpected_errors_show_a_traceback_only_when_verbose(
    folder: Path, fake_codec: object, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("latents")

    monkeypatch.setattr(fake_codec, "encode", fails)
    assert run("encode", "one.png") == 1
    assert capsys.readouterr().err == "nic: one.png: 'latents'\n"
    assert run("encode", "one.png", "-v") == 1
    assert "Traceback" in capsys.readouterr().err


def test_two_inputs_for_one_output(folder: Path, capsys: Output) -> None:
    Image.open("one.png").save("two.png")
    assert run("encode", "two.jpg", "two.png", "-f") == 1
    assert "nic: two.png: another input is written to two.nic" in capsys.readouterr().err
    assert Image.open("two.nic").mode == "RGB"


def test_input_is_never_overwritten(folder: Path) -> None:
    Path("one.png").rename("one.nic")
    assert run("encode", "one.nic", "-f") == 1
    assert Image.open("one.nic").format == "PNG"


def test_a_device_is_written_to_and_not_replaced(folder: Path) -> None:
    os.mkfifo("pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append(Path("pipe").read_bytes()))
    reader.start()
    assert run("encode", "one.png", "-o", "pipe") == 0
    reader.join(timeout=10)
    assert Image.open(io.BytesIO(received[0])).format == "NIC"
    assert Path("pipe").is_fifo()


def test_links_are_followed(folder: Path) -> None:
    Path("store").mkdir()
    Path("store/real.nic").write_bytes(b"old")
    Path("one.nic").symlink_to("store/real.nic")
    assert run("encode", "one.png", "-f") == 0
    assert Path("one.nic").is_symlink()
    assert Image.open("store/real.nic").format == "NIC"


def test_target_size(folder: Path) -> None:
    assert run("encode", "two.jpg", "--target-size", "1.5k") == 0
    assert 500 < Path("two.nic").stat().st_size <= 1500


def test_times_are_those_of_the_source_unless_told_otherwise(folder: Path) -> None:
    os.utime("one.png", ns=(10**18, 10**18 + 123_456_789))
    assert run("encode", "one.png") == 0
    assert Path("one.nic").stat().st_mtime_ns == 10**18 + 123_456_789
    assert run("decode", "one.nic", "-o", "back.png") == 0
    assert Path("back.png").stat().st_mtime_ns == 10**18 + 123_456_789
    assert run("encode", "one.png", "-f", "--no-preserve-times") == 0
    assert Path("one.nic").stat().st_mtime_ns > 10**18 + 10**17


def test_quiet_says_nothing_and_verbose_says_more(folder: Path, capsys: Output) -> None:
    assert run("encode", "one.png", "two.jpg", "-o", "a", "--quiet") == 0
    output = capsys.readouterr()
    assert output.out + output.err == ""
    assert run("encode", "two.jpg", "-o", "b.nic", "--verbose") == 0
    size = Path("two.jpg").stat().st_size
    assert f"\n  from two.jpg, {size:,} bytes; mode RGB; exif " in capsys.readouterr().out


def test_json_has_one_object_a_file_in_the_order_of_the_inputs(folder: Path, capsys: Output) -> None:
    Path("two.nic").write_bytes(b"precious")
    assert run("encode", "two.jpg", "note.txt", "one.png", "--skip-existing", "--json") == 1
    two, note, one = json.loads(capsys.readouterr().out)
    assert (two["input"], two["output"], two["status"]) == ("two.jpg", "two.nic", "skipped")
    assert (note["input"], note["status"]) == ("note.txt", "failed")
    assert note["error"] == "not a picture that Pillow can open"
    size = Path("one.nic").stat().st_size
    expected = {
        "input": "one.png", "output": "one.nic", "status": "written", "error": None, "warnings": [],
        "width": 40, "height": 30, "mode": "RGBA", "frames": 1, "metadata": {},
        "input_bytes": Path("one.png").stat().st_size, "output_bytes": size, "bpp": round(8 * size / 1200, 4),
    }  # fmt: skip
    assert {key: value for key, value in one.items() if key != "seconds"} == expected


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_metadata_survives_both_ways(folder: Path, make_picture: Maker, source: str, capsys: Output) -> None:
    given = exif(orientation=1 if source == "TIFF" else 6)  # Pillow turns TIFF pictures when it loads them
    keywords: dict[str, object] = {"exif": given, "icc_profile": ICC, "xmp": XMP}
    if source == "TIFF":
        given[700] = XMP
        keywords["exif"] = given.tobytes()
    if source == "PNG":
        keywords["pnginfo"] = PngInfo()
        keywords["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    make_picture("RGB").save("source", source, **keywords)
    assert run("encode", "source", "-o", "x.nic") == 0
    with Image.open("x.nic") as nic:
        assert (nic.info["icc_profile"], nic.info["xmp"]) == (ICC, XMP)
        assert (nic.getexif()[0x010F], nic.getexif()[0x0112]) == ("Maker", given[0x0112])
        assert nic.getexif().get_ifd(0x8769)[0x829A] == 0.5
        assert 256 not in nic.getexif()
    assert run("decode", "x.nic", "-o", "back", "--format", source.lower()) == 0
    with Image.open(next(Path("back").iterdir())) as back:
        assert back.format == source
        assert (back.info["icc_profile"], back.info["xmp"]) == (ICC, XMP)
        assert (back.getexif()[0x010F], back.getexif()[0x0112]) == ("Maker", given[0x0112])
        assert back.getexif().get_ifd(0x8769)[0x829A] == 0.5
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (["--ignore-exif"], {"icc_profile", "xmp"}),
        (["--ignore-icc"], {"exif", "xmp"}),
        (["--ignore-xmp"], {"exif", "icc_profile"}),
        (["--ignore-icc", "--ignore-exif"], {"xmp"}),
        (["--strip"], set()),
    ],
)
def test_metadata_can_be_left_out(
    folder: Path, make_picture: Maker, flags: list[str], kept: set[str]
) -> None:
    make_picture("RGB").save("a.webp", exif=exif(), icc_profile=ICC, xmp=XMP)
    metadata = {"exif", "icc_profile", "xmp"}
    assert run("encode", "a.webp", *flags, "-o", "less.nic") == 0
    assert metadata & Image.open("less.nic").info.keys() == kept
    assert run("encode", "a.webp", "-o", "all.nic") == 0
    for name in ("back.png", "back.webp", "back.jpg"):
        assert run("decode", "all.nic", *flags, "-o", name) == 0
        assert metadata & Image.open(name).info.keys() == kept


def test_metadata_that_does_not_fit_is_told(folder: Path, capsys: Output) -> None:
    assert run("encode", "two.jpg") == 0
    assert run("decode", "two.nic", "--format", "bmp") == 0
    assert capsys.readouterr().err == "nic: two.nic: warning: BMP did not keep exif\n"


def test_profile_of_cmyk_is_told_to_be_lost(folder: Path, make_picture: Maker, capsys: Output) -> None:
    make_picture("CMYK").save("c.jpg", icc_profile=ICC)
    assert run("encode", "c.jpg") == 0
    assert capsys.readouterr().err == "nic: c.jpg: warning: NIC did not keep icc_profile\n"


@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("target", ["gif", "webp", "png"])
def test_animations_stay_animated(folder: Path, make_picture: Maker, source: str, target: str) -> None:
    frames = [make_picture("RGB").rotate(angle) for angle in (0, 90, 180)]
    Path("source").write_bytes(animation(source, frames, duration=[100, 200, 300], loop=0))
    assert run("encode", "source", "-o", "moving.nic", "-q", "2") == 0
    with Image.open("moving.nic") as nic:
        assert _durations(nic) == [100, 200, 300]
    assert run("decode", "moving.nic", "--format", target) == 0
    with Image.open(f"moving.{target}") as back:
        assert back.format == target.upper()
        assert _durations(back) == [100, 200, 300]
        assert back.info["loop"] == 0


def _durations(im: Image.Image) -> list[int]:
    durations = []
    for frame in range(im.n_frames):
        im.seek(frame)
        im.load()
        durations.append(round(im.info["duration"]))
    return durations


@pytest.mark.parametrize(("in_gif", "shown"), [(None, 1), (0, 0), (1, 2), (4, 5)])
def test_a_gif_counts_how_often_it_is_shown_after_the_first_time(
    folder: Path, make_picture: Maker, in_gif: int | None, shown: int
) -> None:
    frames = [make_picture("RGB"), make_picture("RGB").rotate(180)]
    Path("a.gif").write_bytes(animation("GIF", frames, duration=100, loop=in_gif))
    assert run("encode", "a.gif") == 0
    assert Image.open("a.nic").info["loop"] == shown
    assert run("decode", "a.nic", "-o", "back.gif") == 0
    assert Image.open("back.gif").info.get("loop") == in_gif
    assert run("decode", "a.nic", "-o", "back.png") == 0
    assert Image.open("back.png").info["loop"] == shown


def test_transparency_of_an_animation_is_not_filled_by_earlier_frames(
    folder: Path, make_picture: Maker
) -> None:
    frames = [Image.new("RGBA", (16, 16)) for _ in range(2)]
    frames[0].paste("red", (0, 0, 8, 16))
    frames[1].paste("blue", (8, 0, 16, 16))
    Path("a.png").write_bytes(animation("PNG", frames, duration=100))
    assert run("encode", "a.png", "-q", "2") == 0
    for name in ("back.gif", "back.apng"):
        assert run("decode", "a.nic", "-o", name) == 0
        with Image.open(name) as back:
            back.seek(1)
            shown = back.convert("RGBA")
        assert shown.getpixel((3, 3))[3] == 0
        assert shown.getpixel((12, 3))[2:] == (pytest.approx(255, abs=4), 255)


def test_formats_without_animation_get_the_first_frame_with_a_warning(
    folder: Path, make_picture: Maker, capsys: Output
) -> None:
    frames = [make_picture("RGB"), make_picture("RGB").rotate(180)]
    Path("a.gif").write_bytes(animation("GIF", frames, duration=100))
    assert run("encode", "a.gif") == 0
    capsys.readouterr()
    assert run("decode", "a.nic", "--format", "jpg") == 0
    output = capsys.readouterr()
    assert "nic: a.nic: warning: only the first of its 2 frames is written" in output.err
    assert output.out.startswith("a.jpg  40x30  ")


def test_pages_are_no_animation(folder: Path, make_picture: Maker, capsys: Output) -> None:
    Path("a.tif").write_bytes(animation("TIFF", [make_picture("RGB"), make_picture("L")]))
    assert run("encode", "a.tif") == 0
    assert Image.open("a.nic").n_frames == 1
    assert "warning: only the first of its 2 pictures is encoded" in capsys.readouterr().err


def test_decoding_a_damaged_file_says_what_is_wrong(folder: Path, capsys: Output) -> None:
    assert run("encode", "two.jpg", "-o", "new.nic") == 0
    Path("new.nic").write_bytes(Path("new.nic").read_bytes()[:-1])
    assert run("decode", "new.nic", "one.png", "-o", "out") == 1
    errors = capsys.readouterr().err
    assert "new.nic: chunk DATA" in errors
    assert "one.png: not a .nic file" in errors
    assert not (folder / "out").exists()


def test_a_mode_that_the_format_lacks_is_explained(folder: Path, capsys: Output) -> None:
    assert run("encode", "one.png") == 0
    assert run("decode", "one.nic", "--format", "jpg") == 1
    expected = "nic: one.nic: JPEG cannot hold mode RGBA: try --format png or webp\n"
    assert capsys.readouterr().err == expected


def test_quality_of_lossy_formats(folder: Path) -> None:
    assert run("encode", "two.jpg") == 0
    for quality in ("10", "95"):
        assert run("decode", "two.nic", "-q", quality, "-o", f"{quality}.webp") == 0
    assert Path("10.webp").stat().st_size < Path("95.webp").stat().st_size / 2


def test_jobs_run_at_the_same_time_and_share_the_cores(
    folder: Path, fake_codec: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = threading.Barrier(2)
    encode, threads = fake_codec.encode, []

    def encode_together(*arguments: object) -> object:
        meeting.wait(timeout=20)
        threads.append(torch.get_num_threads())
        return encode(*arguments)

    usual = torch.get_num_threads()
    monkeypatch.setattr(fake_codec, "encode", encode_together)
    monkeypatch.setattr(convert, "threads_for", lambda jobs: 1 + jobs)
    assert run("encode", "one.png", "two.jpg", "--jobs", "2") == 0
    assert threads == [3, 3]
    assert torch.get_num_threads() == usual


@pytest.mark.parametrize(
    ("files", "wanted", "cores", "jobs"),
    [(1, None, 8, 1), (100, None, 2, 2), (100, None, 64, 4), (100, 20, 4, 20), (3, 20, 4, 3)],
)
def test_number_of_jobs(
    files: int, wanted: int | None, cores: int, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: cores)
    assert workers.jobs_for(files, wanted) == jobs


@pytest.mark.parametrize(("jobs", "usual", "threads"), [(1, 8, 8), (3, 8, 2), (20, 8, 1), (1, 2, 2)])
def test_threads_of_all_jobs_fit_the_cores(
    jobs: int, usual: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: usual)
    assert workers.threads_for(jobs) == threads


def test_ctrl_c_stops_before_the_next_file(
    folder: Path, fake_codec: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fake_codec, "encode", interrupted)
    before = names(folder)
    assert run("encode", "one.png", "two.jpg", "-j", "1") == 130
    assert names(folder) == before


@pytest.mark.parametrize(
    ("inputs", "flags", "shown"),
    [
        (["one.png", "two.jpg"], [], True),
        (["one.png"], [], False),
        (["one.png", "two.jpg"], ["--quiet"], False),
    ],
)
def test_progress_bar_on_a_terminal(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    inputs: list[str],
    flags: list[str],
    shown: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run("encode", *inputs, *flags) == 0
    assert ("0/2" in capsys.readouterr().err) == shown


def test_animated_avif(folder: Path, make_picture: Maker) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    frames = [make_picture("RGB"), make_picture("RGB").rotate(180)]
    Path("a.avif").write_bytes(animation("AVIF", frames, duration=[100, 200]))
    assert run("encode", "a.avif", "-o", "a.nic") == 0
    assert run("decode", "a.nic", "-o", "back.avif") == 0
    assert _durations(Image.open("back.avif")) == [100, 200]
