""".env.example names every variable that the settings read, and its samples are of the right form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.environment_variables import read
from shared.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^(?P<optional>#?)(?P<name>[A-Z][A-Z_]+)=(?P<value>.*)$", re.MULTILINE)


class Recorder(Mapping[str, str]):
    """An environment that remembers what was looked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values_ = dict(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
        self.asked.add(key)
        return self.values_.get(key, default)

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return self.values_[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def example(*, with_optional: bool) -> dict[str, str]:
    lines = LINE.finditer((REPOSITORY / ".env.example").read_text())
    return {line["name"]: line["value"] for line in lines if with_optional or not line["optional"]}


def read_all(environ: Mapping[str, str]) -> None:
    settings = Settings.from_environment(environ)
    _ = settings.letters, settings.webhook, settings.orders, settings.references_are_reusable
    read(environ, "monitoring", "sweep")


def test_the_ten_required_variables_with_their_samples_are_complete_settings() -> None:
    required = example(with_optional=False)

    assert len(required) == 10
    assert Settings.from_environment(required).daraja.shortcode == "174379"


def test_every_sample_has_the_form_that_is_asked_for() -> None:
    read_all(example(with_optional=True))


def test_it_names_every_variable_that_is_read_and_no_other() -> None:
    with_all = Recorder(example(with_optional=True))
    read_all(with_all)
    netlifys_database = {"DATABASE_URL": "", "NETLIFY_DB_URL": with_all.values_["NETLIFY_DB_URL"]}
    with_defaults = Recorder({**example(with_optional=False), **netlifys_database})
    read_all(with_defaults)

    assert set(with_all.values_) == with_all.asked | with_defaults.asked
