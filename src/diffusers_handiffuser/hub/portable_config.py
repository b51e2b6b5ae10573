"""What the saved configs of this package's models and pipelines leave out."""

import json

from .saving import PushMixin


class PortableConfigMixin(PushMixin):
    """Keeps the place where a model was loaded from (`_name_or_path`, often a path on this machine) out of its files.

    `config._name_or_path` itself stays as diffusers sets it. Mix in before `ModelMixin` or `DiffusionPipeline`.
    """

    def to_json_string(self) -> str:
        """The config as `save_pretrained` writes it."""
        config = json.loads(super().to_json_string())
        config.pop("_name_or_path", None)
        return json.dumps(config, indent=2, sort_keys=True) + "\n"
