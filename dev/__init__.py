"""What runs on a developer's machine only: set-up, the local stack, the demo. Nothing that is deployed imports it."""
