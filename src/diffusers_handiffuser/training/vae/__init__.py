"""The image autoencoder."""
