"""The trainer `hf`: transformers.Trainer, made exact."""
