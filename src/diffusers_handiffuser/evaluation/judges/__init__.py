"""What sees images for the scores: features and crops."""
