from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from regraft.config.registry import load
from regraft.errors import ConfigError, ShapeError
from regraft.protocols.bag_of_words import fit_words, word_logits
from regraft.protocols.heads import linear as linear_head
from regraft.protocols.modules import bottleneck, lora
from regraft.protocols.predictor_data import PredictorData
from regraft.protocols.predictors import majority, raw_logistic
from regraft.protocols.rates import cosine, linear, slanted_triangular
from regraft.protocols.unfreezing import gradual

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone


def test_the_slanted_triangle_has_the_values_of_its_paper() -> None:
    spec = slanted_triangular.Spec(peak=0.01)
    values = [
        spec.peak * slanted_triangular.factor(spec, step=step, total=1000)
        for step in (0, 50, 100, 550, 1000)
    ]
    # Howard & Ruder, ACL 2018, eq. 3 with T = 1000, cut_frac = 0.1, ratio = 32
    assert values == pytest.approx([0.0003125, 0.00515625, 0.01, 0.00515625, 0.0003125])


def test_the_slanted_triangle_falls_to_its_end_in_few_steps_too() -> None:
    spec = slanted_triangular.Spec()
    factors = [slanted_triangular.factor(spec, step=step, total=5) for step in range(6)]
    assert factors == pytest.approx([1 / 32, 1.0, 0.7578125, 0.515625, 0.2734375, 1 / 32])


def test_cosine_and_line_warm_up_and_fall() -> None:
    steps = (0, 9, 10, 55, 100)
    curve = [cosine.factor(cosine.Spec(), step=step, total=100) for step in steps]
    line = [linear.factor(linear.Spec(), step=step, total=100) for step in steps]
    assert curve == pytest.approx([1 / 11, 10 / 11, 1.0, 0.5, 0.0], abs=1e-12)
    assert line == pytest.approx([1 / 11, 10 / 11, 1.0, 0.5, 0.0], abs=1e-12)


def test_gradual_unfreezing_opens_one_more_block_each_epoch() -> None:
    def opened(spec: gradual.Spec) -> list[int]:
        return [gradual.lowest_open(spec, epoch=e, from_depth=2, n_blocks=6) for e in range(7)]

    assert opened(gradual.Spec()) == [6, 5, 4, 3, 2, 2, 2]
    assert opened(gradual.Spec(head_first=False)) == [5, 4, 3, 2, 2, 2, 2]
    assert opened(gradual.Spec(every=2, blocks=2)) == [6, 6, 4, 4, 2, 2, 2]


def count(backbone: Backbone, names: tuple[str, ...]) -> int:
    named = dict(backbone.module.named_parameters())
    return sum(named[name].numel() for name in names)


def test_lora_has_as_many_parameters_as_its_formula_says(backbones: dict[str, Backbone]) -> None:
    # ViT-B/16, r = 8 on q and v: 12 · 2 · 8 · (768 + 768) = 294,912; here 3 blocks of width 16.
    backbone = backbones["bert"].copy()
    layers = tuple(
        f"encoder.layer.{depth}.attention.self.{part}"
        for depth in range(3)
        for part in ("query", "value")
    )
    inserted = lora.insert(lora.Spec(rank=8, layers=layers), backbone, from_depth=0, seed=0)
    assert count(backbone, inserted.parameter_names) == 3 * 2 * 8 * (16 + 16)
    assert inserted.depths_hit == inserted.depths_named == (0, 1, 2)
    # auto: query, key, value and output
    backbone = backbones["bert"].copy()
    inserted = lora.insert(lora.Spec(rank=4), backbone, from_depth=1, seed=0)
    assert count(backbone, inserted.parameter_names) == 2 * 4 * 4 * (16 + 16)
    assert inserted.depths_hit == (1, 2)


def test_bottlenecks_have_as_many_parameters_as_their_formula_says(
    backbones: dict[str, Backbone],
) -> None:
    # Pfeiffer in ViT-B, r = 64: 12 · (2 · 768 · 64 + 64 + 768) = 1,189,632; here width 16, r = 8.
    backbone = backbones["bert"].copy()
    inserted = bottleneck.insert(bottleneck.Spec(reduction=2), backbone, from_depth=0, seed=0)
    assert count(backbone, inserted.parameter_names) == 3 * (2 * 16 * 8 + 8 + 16)
    assert [name.rpartition(".")[0] for name in inserted.module_names] == list(backbone.blocks)


@pytest.mark.parametrize("family", ["maps", "resnet"])
def test_a_bottleneck_on_a_map_is_a_convolution_of_one_pixel(
    family: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family].copy()
    inserted = bottleneck.insert(bottleneck.Spec(), backbone, from_depth=0, seed=0)
    adapter = backbone.module.get_submodule(inserted.module_names[-1])
    assert isinstance(adapter, bottleneck.Bottleneck)
    torch.nn.init.normal_(adapter.up.weight)
    maps = torch.randn(2, adapter.down.in_features, 3, 5)
    narrow = torch.nn.functional.conv2d(maps, adapter.down.weight[..., None, None])
    wide = torch.nn.functional.conv2d(
        torch.nn.functional.gelu(narrow), adapter.up.weight[..., None, None]
    )
    torch.testing.assert_close(adapter.adapt(maps), maps + wide, rtol=1e-4, atol=1e-4)


def test_an_adapter_of_a_sequential_block_acts_once(backbones: dict[str, Backbone]) -> None:
    backbone = backbones["maps"].copy()
    inserted = bottleneck.insert(bottleneck.Spec(), backbone, from_depth=2, seed=0)
    name = backbone.blocks[2]
    assert f"{name}.regraft_bottleneck" in inserted.module_names
    adapter = backbone.module.get_submodule(f"{name}.regraft_bottleneck")
    assert isinstance(adapter, bottleneck.Bottleneck)
    torch.nn.init.ones_(adapter.up.bias)
    maps = torch.randn(1, 16, 4, 4)
    plain = backbones["maps"].module.get_submodule(name)(maps)
    torch.testing.assert_close(backbone.module.get_submodule(name)(maps), plain + 1.0)


def test_auto_is_attention_or_else_convolutions_and_linear_layers(
    backbones: dict[str, Backbone],
) -> None:
    def roles(family: str) -> set[str]:
        backbone = backbones[family].copy()
        inserted = lora.insert(lora.Spec(), backbone, from_depth=0, seed=0)
        assert inserted.depths_hit == inserted.depths_named or family == "maps"
        return {backbone.roles[name] for name in inserted.module_names}

    assert roles("bert") == {"attention_in", "attention_out"}
    assert roles("resnet") == roles("maps") == {"convolution"}
    assert roles("convnext") == {"convolution", "feed_forward_in", "feed_forward_out"}
    assert roles("tokens") == {"feed_forward_in", "feed_forward_out"}


def test_lora_hits_the_layers_named_and_no_others_whose_names_end_alike() -> None:
    from regraft.protocols.peft_folder import lora_config

    config = lora_config(rank=2, alpha=2, dropout=0.0, targets=["1", "a.b"])
    net = torch.nn.ModuleDict(
        {"1": torch.nn.Linear(2, 2), "x": torch.nn.ModuleDict({"1": torch.nn.Linear(2, 2)})}
    )
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, net)
    assert [n for n, _ in net.named_parameters() if "lora_" in n] == [
        "1.lora_A.default.weight",
        "1.lora_B.default.weight",
    ]


def test_two_lora_modules_live_side_by_side(backbones: dict[str, Backbone]) -> None:
    backbone = backbones["bert"].copy()
    first = lora.insert(lora.Spec(rank=2), backbone, from_depth=0, seed=0)
    second = lora.insert(lora.Spec(rank=3, on="feed_forward_in"), backbone, from_depth=2, seed=1)
    assert not set(first.parameter_names) & set(second.parameter_names)
    assert count(backbone, first.parameter_names) == 3 * 4 * 2 * 32
    assert count(backbone, second.parameter_names) == 3 * (16 + 24)


def test_lora_then_bottleneck_on_a_block_that_is_one_layer(
    backbones: dict[str, Backbone],
) -> None:
    backbone = backbones["maps"].copy()
    first = lora.insert(lora.Spec(), backbone, from_depth=3, seed=0)
    second = bottleneck.insert(bottleneck.Spec(), backbone, from_depth=3, seed=0)
    names = dict(backbone.module.named_parameters())
    assert set(first.parameter_names) | set(second.parameter_names) <= set(names)
    with torch.no_grad():
        torch.testing.assert_close(
            backbone.features(backbone.probe_batch()),
            backbones["maps"].features(backbone.probe_batch()),
        )


@pytest.mark.parametrize(
    ("spec", "from_depth", "message"),
    [
        (
            lora.Spec(on="attention_in"),
            0,
            r"module 'lora': it fits nowhere in .*no layer of role attention_in that it fits in "
            r"the blocks named \(roles there: convolution, normalisation\)",
        ),
        (lora.Spec(on=["convolution", "feed_forward_in"]), 0, "no layer of role feed_forward_in"),
        (
            lora.Spec(layers=("parts.0", "prats.4")),
            0,
            "'prats.4' is not a .*Did you mean 'parts.4'",
        ),
        (lora.Spec(layers=("parts.2",)), 0, "'parts.2' is not a layer of .* that it fits"),
        (lora.Spec(), 4, "no layer of role attention_in or attention_out or convolution or"),
        (bottleneck.Spec(), 4, "module 'bottleneck': it fits nowhere .* no block whose output"),
    ],
)
def test_a_module_that_finds_no_place_is_an_error(
    spec: lora.Spec | bottleneck.Spec, from_depth: int, message: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones["maps"].copy()
    with pytest.raises(ConfigError, match=message):
        load("module", spec.kind).insert(spec, backbone, from_depth=from_depth, seed=0)


def test_a_module_listed_twice_is_an_error(backbones: dict[str, Backbone]) -> None:
    backbone = backbones["maps"].copy()
    bottleneck.insert(bottleneck.Spec(), backbone, from_depth=0, seed=0)
    with pytest.raises(
        ConfigError, match=r"block 0 has a bottleneck already\. List the module once"
    ):
        bottleneck.insert(bottleneck.Spec(), backbone, from_depth=0, seed=0)
    backbone = backbones["bert"].copy()
    lora.insert(lora.Spec(), backbone, from_depth=0, seed=0)
    with pytest.raises(ConfigError, match="no layer of role attention_in that it fits"):
        lora.insert(lora.Spec(on="attention_in"), backbone, from_depth=0, seed=0)


def test_a_head_starts_from_what_was_solved_only_where_it_shall() -> None:
    solved = np.ones((3, 4), np.float32), np.arange(3, dtype=np.float32)
    weights = {}
    for start in ("probe", "centroid", "zero", "random"):
        head = linear_head.build(
            linear_head.Spec(start=start), width=4, n_classes=3, seed=0, solved=solved
        )
        weights[start] = head.weight.detach().numpy(), head.bias.detach().numpy()
    for start in ("probe", "centroid"):
        assert np.array_equal(weights[start][0], solved[0])
        assert np.array_equal(weights[start][1], solved[1])
    assert not weights["zero"][0].any()
    assert 0.0 < np.abs(weights["random"][0]).max() < 0.2
    with pytest.raises(ShapeError, match=r"the solved head is \(3, 4\), not \(2, 4\)"):
        linear_head.build(linear_head.Spec(), width=4, n_classes=2, seed=0, solved=solved)


def test_the_majority_control_knows_smoothed_frequencies() -> None:
    data = PredictorData(
        kind="text",
        raw=None,
        features=None,
        labels=np.array([0, 0, 0, 1, 2]),
        n_classes=3,
        n_train=4,
    )
    state = majority.fit(majority.Spec(), data, 0)
    logits = majority.predict(majority.Spec(), state, data)
    assert np.exp(logits[0]) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_small_images_are_not_enlarged_and_large_ones_are_shrunk_by_averaging() -> None:
    def data(side: int) -> PredictorData:
        checks = np.indices((side, side)).sum(0) % 2 * 200
        images = [np.repeat(checks[..., None], 3, 2).astype(np.uint8)] * 2
        return PredictorData("image", images, None, np.array([0, 1]), 2, 2)

    small = raw_logistic.fit(raw_logistic.Spec(), data(8), 0)
    large = raw_logistic.fit(raw_logistic.Spec(side=4), data(8), 0)
    assert small["weight"].shape == (2, 8 * 8 * 3)
    assert large["side"].tolist() == [4]
    assert raw_logistic.pixels(data(8), 4) == pytest.approx(np.full((2, 48), 100 / 255))


def test_words_and_pairs_are_weighted_as_scikit_learn_does() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = ["a good film", "a very good film", "a bad film", "bad and bad", "so so", "so it is"]
    labels = np.array([0, 0, 1, 1, 2, 2])
    state = fit_words(texts, labels, [], np.empty(0, np.int64), n_classes=3, terms=50)
    peer = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
        LogisticRegression(C=3.0, max_iter=2000),
    ).fit(texts, labels)
    new = ["good and bad", "so", "unheard of"]
    logits = word_logits(state, new).astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert probabilities == pytest.approx(peer.predict_proba(new), abs=1e-5)


def test_texts_without_words_leave_the_class_frequencies() -> None:
    labels = np.array([0, 0, 0, 1])
    state = fit_words(["!", "?", "...", ""], labels, [], labels[:0], n_classes=2, terms=50)
    assert np.exp(word_logits(state, ["?", "hello"])) == pytest.approx(
        np.array([[4 / 6, 2 / 6]] * 2)
    )
