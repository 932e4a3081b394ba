"""How long the tests wait for what is sure to come: it is no measure of speed, so a busy machine does not matter."""

PATIENCE = 120.0  # seconds
