"""Files from and for the Hugging Face Hub: checked loading, saving, uploads, model cards."""
