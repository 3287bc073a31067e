from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from regraft.backbones.blocks import find_blocks
from regraft.backbones.images import ImagePreprocess, image_spec
from regraft.backbones.preprocess import ArrayPreprocess
from regraft.backbones.roles import find_roles
from regraft.errors import DataError


def test_the_largest_list_of_one_class_wins_over_longer_and_mixed_ones() -> None:
    module = nn.Module()
    module.small = nn.ModuleList([nn.Linear(2, 2) for _ in range(5)])
    module.mixed = nn.ModuleList([nn.Linear(50, 50), nn.LayerNorm(50)])
    module.big = nn.ModuleList([nn.Sequential(nn.Linear(9, 9)) for _ in range(2)])
    assert find_blocks(module) == ("big.0", "big.1")


def test_without_lists_the_children_of_a_sequential_are_the_blocks() -> None:
    module = nn.Module()
    module.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    module.head = nn.Linear(8, 2)
    assert find_blocks(module) == ("features.0", "features.1", "features.2")


def test_without_any_list_the_modules_own_children_are_the_blocks() -> None:
    module = nn.Module()
    module.one = nn.Linear(2, 2)
    module.two = nn.LayerNorm(2)
    assert find_blocks(module) == ("one", "two")
    assert find_blocks(nn.ReLU()) == ()


def test_fused_attention_has_no_roles_since_its_projections_are_never_called() -> None:
    roles = find_roles(nn.TransformerEncoderLayer(8, 2, 16))
    assert roles == {
        "linear1": "feed_forward_in",
        "linear2": "feed_forward_out",
        "norm1": "normalisation",
        "norm2": "normalisation",
    }


def preprocess(**declared: object) -> ImagePreprocess:
    return ImagePreprocess(image_spec(declared, where="test"))


def test_the_shorter_edge_is_resized_and_the_centre_cut_out() -> None:
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 255
    prepared = preprocess(size=10, crop=[10, 10], resample="nearest").prepare([image])[0]
    assert prepared.shape == (3, 10, 10)
    assert prepared.min() == 255
    assert preprocess(size=20).prepare([image])[0].shape == (3, 20, 20)
    assert preprocess(size=[5, 7]).prepare([image])[0].shape == (3, 5, 7)


def test_pixels_are_scaled_shifted_and_divided() -> None:
    own = preprocess(size=[1, 1], channels=1, mean=[0.5], std=[0.25])
    batch = own.collate(own.prepare([np.full((1, 1, 3), 255, np.uint8)]))
    assert batch["pixel_values"].tolist() == [[[[2.0]]]]


def test_dark_and_light_change_places_where_declared() -> None:
    own = preprocess(size=[1, 1], invert=True)
    assert own.prepare([np.full((1, 1, 3), 5, np.uint8)])[0].flatten().tolist() == [250] * 3


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 4, 3)])
def test_grey_images_are_taken_as_they_come(shape: tuple[int, ...]) -> None:
    assert preprocess(size=[2, 2]).prepare([np.zeros(shape, np.uint8)])[0].shape == (3, 2, 2)


def test_augmentation_is_refused_where_there_are_no_pixels() -> None:
    with pytest.raises(DataError, match=r"cannot act on arrays. Set augment: none"):
        ArrayPreprocess({}, where="test").normalise(torch.zeros(1))
