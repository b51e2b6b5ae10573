"""Hand detectors, and hands of a body model fitted to landmarks."""
