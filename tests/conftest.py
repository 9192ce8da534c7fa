"""The fixtures of all tests live in tests/fixtures, one file a part."""

pytest_plugins = [
    "tests.fixtures.built_site",
    "tests.fixtures.database",
    "tests.fixtures.shop",
    "tests.fixtures.simulator",
    "tests.fixtures.site",
    "tests.fixtures.soak",
]
