"""The fixtures of all tests live in tests/fixtures, one file a part."""

import signal

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.fixtures.built_site",
    "tests.fixtures.database",
    "tests.fixtures.ledger",
    "tests.fixtures.s3_store",
    "tests.fixtures.schedule",
    "tests.fixtures.sentry",
    "tests.fixtures.shop",
    "tests.fixtures.patient",  # after what it imports, as the next
    "tests.fixtures.backup_keeper",
    "tests.fixtures.simulator",
    "tests.fixtures.site",
    "tests.fixtures.soak",
]

# Who starts us in the background of a script, or with nohup, has us ignore Ctrl-C or a hang-up, and so would every
# process that we start; the tests that end processes in these ways need them heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long one example takes says how busy the machine is, and nothing about what we promise.
settings.register_profile("lipa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lipa")
