"""Feature networks, the studio judge, and the hand crops that they look at."""
