"""Living beside PyTorch: its checkpoint files, its safetensors, its scripts."""
