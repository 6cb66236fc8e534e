"""What every family of published checkpoints keeps to."""

from __future__ import annotations

from collections import Counter

import pytest

from study import registry
from study.fetching import Source
from study.pretrained._coverage import backbone_shapes
from study.pretrained.base import Family


@pytest.mark.parametrize("name", registry.names("pretrained"))
class TestContract:
    def _family(self, name: str) -> type[Family]:
        family: type[Family] = registry.component("pretrained", name)
        return family

    def test_it_says_where_it_comes_from_and_under_which_licence(self, name: str) -> None:
        text = self._family(name).__doc__ or ""
        assert "Source: https://" in text and "Licence: " in text
        assert self._family(name).addresses
        for address in self._family(name).addresses:
            assert address.startswith("https://dl.fbaipublicfiles.com/") and Source(address).is_remote

    def test_every_key_has_one_place_and_every_place_one_key(self, name: str) -> None:
        family = self._family(name)
        backbone = [(s + key, t + key) for s, t in family.backbones.items() for key in backbone_shapes("resnet50")]
        for head in family.heads:
            sources = [source for source, _ in backbone] + [entry.source for entry in head]
            targets = [target for _, target in backbone] + [entry.target for entry in head if entry.target]
            for names in (sources, targets):
                assert [key for key, count in Counter(names).items() if count > 1] == []
            assert not any(source.startswith(prefix) for source in sources for prefix in family.ignored)

    def test_what_is_dropped_is_made_up_for(self, name: str) -> None:
        """Only what is folded into a layer that is there, or what has the one value that changes nothing."""
        for head in self._family(name).heads:
            targets = {entry.target for entry in head}
            for entry in head:
                if entry.target is None:
                    assert entry.constant is not None or entry.folds_into in targets

    def test_the_students_backbone_is_there(self, name: str) -> None:
        assert "backbone." in self._family(name).backbones.values()

    def test_the_optimiser_belongs_to_a_section(self, name: str) -> None:
        family = self._family(name)
        if family.optimizer is not None:
            assert any(family.trained in sections for sections in family.sections)

    def test_mentions_have_modules(self, name: str) -> None:
        assert all("." in mention for mention in self._family(name).inert)
