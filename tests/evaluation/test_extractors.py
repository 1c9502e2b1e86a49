"""Extractors from files in the published layouts, with small random weights: the layouts are what is tested."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from tests import toy_inception
from unlearning.corruptions.center_hole import CenterHole
from unlearning.metrics.extractors import catalogue, in_domain, inception, weights
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.metrics.frechet import Frechet
from unlearning.metrics.inception_score import InceptionScore
from unlearning.metrics.lpips import Lpips
from unlearning.randomness import generator

CPU = torch.device("cpu")
WIDTH, PATCH, SIDE, PROJECTED = 64, 4, 16, 24


def pictures(n: int = 3, channels: int = 3, size: int = 16) -> Tensor:
    levels = torch.randint(0, 256, (n, channels, size, size), generator=generator(0, "pictures"))
    return levels.float() / 127.5 - 1


def nobody() -> Extractor | None:
    raise AssertionError("nobody asked for a classifier")


def found(name: str, folder: Path) -> Extractor:
    extractor = catalogue.find(name, CPU, folder, nobody)
    assert isinstance(extractor, Extractor), extractor
    return extractor


def random(*shape: int, name: str = "", scale: float = 0.2) -> Tensor:
    return torch.randn(shape, generator=generator(0, name, *shape)) * scale


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))


def open_clip() -> dict[str, Tensor]:
    """OpenCLIP's state dict of one block; the text tower is there to be left alone."""
    block = "visual.transformer.resblocks.0."
    shapes = {
        "visual.class_embedding": (WIDTH,),
        "visual.positional_embedding": ((SIDE // PATCH) ** 2 + 1, WIDTH),
        "visual.conv1.weight": (WIDTH, 3, PATCH, PATCH),
        "visual.proj": (WIDTH, PROJECTED),
        block + "attn.in_proj_weight": (3 * WIDTH, WIDTH),
        block + "attn.in_proj_bias": (3 * WIDTH,),
        block + "attn.out_proj.weight": (WIDTH, WIDTH),
        block + "attn.out_proj.bias": (WIDTH,),
        block + "mlp.c_fc.weight": (4 * WIDTH, WIDTH),
        block + "mlp.c_fc.bias": (4 * WIDTH,),
        block + "mlp.c_proj.weight": (WIDTH, 4 * WIDTH),
        block + "mlp.c_proj.bias": (WIDTH,),
        "positional_embedding": (7, 8),
        "token_embedding.weight": (9, 8),
    }
    for norm in ("visual.ln_pre", "visual.ln_post", block + "ln_1", block + "ln_2"):
        shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    return {name: random(*shape, name=name) for name, shape in shapes.items()}


def clip_by_hand(state: dict[str, Tensor], images: Tensor, quick: bool) -> Tensor:
    """CLIP's image tower, written out."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"])

    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.48145466, 0.4578275, 0.40821073),
                                                              (0.26862954, 0.26130258, 0.27577711)))  # fmt: skip
    patches = F.conv2d(((images + 1) / 2 - mean) / std, state["visual.conv1.weight"], stride=PATCH)
    tokens = patches.flatten(2).transpose(1, 2)
    first = state["visual.class_embedding"].expand(len(images), 1, WIDTH)
    x = norm(torch.cat([first, tokens], 1) + state["visual.positional_embedding"], "visual.ln_pre")
    block = "visual.transformer.resblocks.0."
    attention = nn.MultiheadAttention(WIDTH, 1, batch_first=True)
    attention.load_state_dict(
        {name.removeprefix(block + "attn."): value for name, value in state.items() if "attn." in name}
    )
    y = norm(x, block + "ln_1")
    x = x + attention(y, y, y, need_weights=False)[0]
    y = F.linear(norm(x, block + "ln_2"), state[block + "mlp.c_fc.weight"], state[block + "mlp.c_fc.bias"])
    y = y * torch.sigmoid(1.702 * y) if quick else F.gelu(y)
    x = x + F.linear(y, state[block + "mlp.c_proj.weight"], state[block + "mlp.c_proj.bias"])
    return norm(x[:, 0], "visual.ln_post") @ state["visual.proj"]


@pytest.mark.parametrize("quick", [False, True])
def test_clip_in_openclips_layout_is_the_projected_class_token(tmp_path: Path, quick: bool) -> None:
    state = open_clip()
    name = "vit_x_4-quickgelu-laion400m.pt" if quick else "open_clip_pytorch_model.bin"
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / name)
    extractor = found("clip", tmp_path)
    with torch.no_grad():
        expected = clip_by_hand(state, pictures(), quick)
    assert torch.allclose(extractor(pictures()).float(), expected, atol=1e-4)
    assert extractor(pictures(channels=1)).shape == (3, PROJECTED)
    assert extractor.weights_sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


@pytest.mark.parametrize(("name", "registers"), [("dino_vits4", 0), ("dinov2_vits4", 0), ("dinov2_vits4_reg4", 2)])
def test_dino_in_its_layout_is_the_normalised_class_token(tmp_path: Path, name: str, registers: int) -> None:
    from timm.models.vision_transformer import VisionTransformer

    second = name.startswith("dinov2")
    network = VisionTransformer(
        img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=2, num_heads=1, num_classes=0, global_pool="token",
        init_values=0.5 if second else None, reg_tokens=registers, no_embed_class=bool(registers),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            parameter.copy_(random(*parameter.shape, name=key))
    state: dict[str, Tensor] = dict(network.state_dict())
    if registers:  # published: one position for the class token too, registers by another name
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([torch.zeros(1, 1, WIDTH), state["pos_embed"]], 1)
    if second:
        state["mask_token"] = torch.zeros(1, WIDTH)
    torch.save(state, tmp_path / f"{name}_pretrain.pth")
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = network(((pictures() + 1) / 2 - mean) / std)
    assert torch.allclose(found("dino", tmp_path)(pictures()).float(), expected, atol=1e-4)


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SqueezeNet and LPIPS's weights of its channels."""
    import torchvision

    folder = tmp_path_factory.mktemp("squeezenet")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.squeezenet1_1(weights=None)
    torch.save(network.state_dict(), folder / "plain.pth")
    digest = hashlib.sha256((folder / "plain.pth").read_bytes()).hexdigest()
    (folder / "plain.pth").rename(folder / f"squeezenet1_1-{digest[:8]}.pth")
    return folder


def test_torchvision_gives_lpipss_maps_and_its_channel_weights_where_they_are_here(squeezenet: Path) -> None:
    plain = found("torchvision", squeezenet)
    widths = (64, 128, 256, 384, 384, 512, 512)  # as LPIPS has them for SqueezeNet
    assert tuple(each.shape[1] for each in plain.maps(pictures(2, size=64))) == widths
    assert (plain.channel_weights, "LPIPS" in plain.name) == (None, False)
    assert plain(pictures(2)).shape == (2, 512)
    lin = {f"lin{place}.model.1.weight": torch.rand(1, width, 1, 1) for place, width in enumerate(widths)}
    torch.save(lin, squeezenet / "squeeze.pth")
    weighted = found("perceptual", squeezenet)
    assert weighted.channel_weights is not None
    assert torch.equal(weighted.channel_weights[3], lin["lin3.model.1.weight"].flatten())
    assert "LPIPS" in weighted.name


def test_a_file_that_is_not_the_one_its_name_promises_is_none(squeezenet: Path, tmp_path: Path) -> None:
    published = next(squeezenet.glob("squeezenet*.pth"))
    changed = tmp_path / "squeezenet1_1-00000000.pth"
    changed.write_bytes(published.read_bytes())
    said = catalogue.find("torchvision", CPU, tmp_path, nobody)
    assert said == f"{changed.name} is not the published file: its sha256 begins with {published.stem[-8:]}"
    (tmp_path / inception.FILE).write_bytes(b"something else")
    assert "is not the published file" in str(catalogue.find("inception", CPU, tmp_path, nobody))


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_weights_of_another_layout_are_none_and_the_sentence_says_so(tmp_path: Path, name: str) -> None:
    file = {"clip": "open_clip_pytorch_model.bin", "dino": "dino_vits4_pretrain.pth"}[name]
    torch.save({"something": torch.zeros(2)}, tmp_path / file)
    assert "not a" in str(catalogue.find(name, CPU, tmp_path, nobody))
    (tmp_path / file).write_bytes(b"not an archive")
    assert "damaged" in str(catalogue.find(name, CPU, tmp_path, nobody))


@pytest.mark.parametrize("name", ["inception", "clip", "dino", "torchvision"])
def test_without_weights_there_is_a_reason(tmp_path: Path, name: str) -> None:
    said = catalogue.find(name, CPU, tmp_path, nobody)
    assert str(said).startswith("no weights on this machine: no file ")


@pytest.mark.parametrize(
    ("name", "said"),
    [("auto", "not an FID"), ("perceptual", "no LPIPS"), ("copies", "no SSCD"), ("in_domain", "trained on this data")],
)
def test_what_stands_in_for_a_published_network_says_what_it_is_not(tmp_path: Path, name: str, said: str) -> None:
    class Two:
        def __len__(self) -> int:
            return 2

        def __call__(self, rows: Tensor) -> Tensor:
            return pictures(2, channels=1, size=8)[rows]

    def train() -> Extractor | None:
        return in_domain.train(Two(), ["a", "b"], CenterHole(), tmp_path / "trained.safetensors", CPU)

    patched = pytest.MonkeyPatch()
    patched.setattr(in_domain, "_STEPS", 1)
    extractor = catalogue.find(name, CPU, tmp_path, train)
    patched.undo()
    assert isinstance(extractor, Extractor)
    assert said in extractor.name
    assert catalogue.find(name, CPU, tmp_path, lambda: None) == catalogue.find("in_domain", CPU, None, lambda: None)
    assert [each.shape[1] for each in extractor.maps(pictures(1, channels=1, size=8))] == [32, 64, 64]


def test_sscd_is_read_from_torchscript(tmp_path: Path) -> None:
    import warnings

    class Means(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and what is published
        torch.jit.script(Means()).save(str(tmp_path / "sscd_disc_mixup.torchscript.pt"))
    extractor = found("copies", tmp_path)
    grey = extractor(torch.zeros(1, 3, 8, 8))
    expected = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(grey[0].float(), expected, atol=1e-5)
    assert "SSCD" in extractor.name


def test_a_metric_that_an_extractor_cannot_serve_says_why() -> None:
    plain = Extractor("plain", "", nn.Identity(), CPU)
    assert catalogue.lacking(Frechet(), plain) is None
    assert catalogue.lacking(Frechet(), "not here") == "not here"
    assert catalogue.lacking(InceptionScore(), plain) == "plain has no classes"
    assert catalogue.lacking(Lpips(), plain) == "plain is not looked into at several depths"


def test_inception_sees_what_pytorch_fid_sees_in_png_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same features of pictures that are no whole grey levels, without a file."""
    from pytorch_fid import fid_score
    from pytorch_fid import inception as published

    file = toy_inception.write(tmp_path / "inception.pth")
    monkeypatch.setattr(published, "load_state_dict_from_url", lambda *_, **__: torch.load(file))
    images = (pictures(3) + 0.4 / 127.5).clamp(-1, 1)
    for row, picture in enumerate(images):
        levels = ((picture + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(levels).save(tmp_path / f"{row}.png")
    network = published.InceptionV3([1])
    theirs = fid_score.get_activations(sorted(tmp_path.glob("*.png")), network, 2, 192, "cpu", num_workers=0)
    mine = inception.of(weights.Found(file, "ab"), CPU, 192)(images).numpy()
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
