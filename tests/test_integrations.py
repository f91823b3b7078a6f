"""Programs that open and save pictures through Pillow or imageio, with the trained codec."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import pillow_neural  # noqa: F401 - a spawned worker imports this module and with it the format

Pixels = npt.NDArray[np.uint8]

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "kodim23.png"


@pytest.fixture(scope="module")
def photograph() -> Pixels:
    """A part [64, 96, 3] of a photograph."""
    with Image.open(PHOTOGRAPH) as im:
        return np.asarray(im.convert("RGB").crop((200, 100, 296, 164)))


@pytest.fixture(scope="module")
def path(photograph: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "photograph.nic"
    Image.fromarray(photograph).save(path, quality=1)
    return path


@pytest.fixture(scope="module")
def decoded(path: Path) -> Pixels:
    return np.asarray(Image.open(path))


def assert_like(pixels: Pixels, photograph: Pixels) -> None:
    """Of the same shape, and as close as the codec comes at one bit per pixel."""
    assert pixels.shape == photograph.shape
    assert np.abs(pixels.astype(np.float64) - photograph).mean() < 6


class Pictures(Dataset[Tensor]):
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor:
        return torch.from_numpy(np.array(Image.open(self.paths[number])))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_data_loader(start_method: str, path: Path) -> None:
    """Its workers have one thread each."""
    decoded = np.asarray(Image.open(path))
    loader = DataLoader(
        Pictures([path] * 4), batch_size=2, num_workers=2, multiprocessing_context=start_method, timeout=120
    )
    batches = torch.cat(list(loader)).numpy()
    assert np.array_equal(batches, np.stack([decoded] * 4))


def test_matplotlib(path: Path, decoded: Pixels, photograph: Pixels, tmp_path: Path) -> None:
    from matplotlib import pyplot

    assert np.array_equal(pyplot.imread(path), decoded)
    pyplot.imsave(tmp_path / "x.nic", photograph, pil_kwargs={"quality": 1})
    saved = pyplot.imread(tmp_path / "x.nic")
    assert_like(saved[..., :3], photograph)
    assert (saved[..., 3] == 255).all()


def test_jupyter_display(path: Path, decoded: Pixels) -> None:
    png = Image.open(path)._repr_png_()  # type: ignore[attr-defined]
    assert png is not None
    shown = Image.open(io.BytesIO(png))
    assert (shown.format, np.array_equal(np.asarray(shown), decoded)) == ("PNG", True)


def test_scikit_image(path: Path, decoded: Pixels, photograph: Pixels, tmp_path: Path) -> None:
    skimage_io = pytest.importorskip("skimage.io")
    assert np.array_equal(skimage_io.imread(path), decoded)
    skimage_io.imsave(tmp_path / "x.nic", photograph)
    assert Image.open(tmp_path / "x.nic").format == "NIC"
    assert_like(skimage_io.imread(tmp_path / "x.nic"), photograph)


def test_datasets_column_of_files(path: Path, decoded: Pixels) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"image": [str(path)]}).cast_column("image", datasets.Image())
    assert np.array_equal(np.asarray(table[0]["image"]), decoded)


def test_datasets_column_of_bytes(path: Path, decoded: Pixels, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = path.read_bytes()
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": [{"path": None, "bytes": data}]}, features).save_to_disk(tmp_path)
    table = datasets.load_from_disk(str(tmp_path))
    assert np.array_equal(np.asarray(table[0]["image"]), decoded)
    assert table.cast_column("image", datasets.Image(decode=False))[0]["image"]["bytes"] == data


def test_datasets_encodes_pictures_without_a_file_name_once_more(path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    column = datasets.Image()
    assert column.encode_example(Image.open(path)) == {"path": str(path), "bytes": None}
    nameless = Image.open(io.BytesIO(path.read_bytes()))
    again = column.encode_example(nameless)["bytes"]
    assert Image.open(io.BytesIO(again)).format == "NIC"
    assert len(again) < path.stat().st_size


def test_django_upload_form(path: Path) -> None:
    pytest.importorskip("django")
    _configure_django(path.parent)
    from django.core.files.uploadedfile import SimpleUploadedFile
    from django.forms import ImageField, ValidationError

    uploaded = ImageField().clean(SimpleUploadedFile("x.nic", path.read_bytes()))
    assert (uploaded.content_type, uploaded.image.size) == ("image/x-nic", (96, 64))
    damaged = path.read_bytes()[:-1]
    with pytest.raises(ValidationError, match="valid image"):
        ImageField().clean(SimpleUploadedFile("x.nic", damaged))


def test_django_model_field(photograph: Pixels, decoded: Pixels, tmp_path: Path) -> None:
    """Django finds the size with ImageFile.Parser and 1,024 bytes at a time; the profile asks for several."""
    pytest.importorskip("django")
    _configure_django(tmp_path)
    from django.core.files.base import ContentFile
    from django.db import connection, models

    class Photograph(models.Model):
        width, height = models.IntegerField(), models.IntegerField()
        picture = models.ImageField(width_field="width", height_field="height")

        class Meta:
            app_label = "gallery"

    with connection.schema_editor() as editor:
        editor.create_model(Photograph)
    file = io.BytesIO()
    Image.fromarray(photograph).save(file, "NIC", quality=1, icc_profile=bytes(3000))
    saved = Photograph(picture=ContentFile(file.getvalue(), "x.nic"))
    saved.full_clean(exclude=["width", "height"])
    saved.save()
    loaded = Photograph.objects.get()
    assert (loaded.width, loaded.height) == (96, 64)
    assert np.array_equal(np.asarray(Image.open(loaded.picture)), decoded)


def _configure_django(media: Path) -> None:
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        )
        django.setup()
    settings.MEDIA_ROOT = str(media)


def test_torchvision_folder(path: Path, decoded: Pixels) -> None:
    folders = pytest.importorskip("torchvision.datasets.folder")
    (path.parent / "class").mkdir()
    (path.parent / "class" / "x.nic").write_bytes(path.read_bytes())
    dataset = folders.ImageFolder(path.parent, is_valid_file=lambda name: name.endswith(".nic"))
    picture, label = dataset[0]
    assert (np.array_equal(np.asarray(picture), decoded), label) == (True, 0)
