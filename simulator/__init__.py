"""Daraja on a laptop: M-Pesa's API, the customers' phones and a mailbox, with no Safaricom account.

`python -m simulator` serves it; `Simulator` runs it in a thread for tests; `SimulatorClient` speaks its control API.
It answers with recorded and documented bodies, and fails in the ways Daraja has been seen to fail.
"""

from simulator.client import ControlError, SimulatorClient
from simulator.server import Simulator
from simulator.settings import SANDBOX_PASSKEY, Behaviour, SimulatorSettings

__all__ = ["SANDBOX_PASSKEY", "Behaviour", "ControlError", "Simulator", "SimulatorClient", "SimulatorSettings"]
