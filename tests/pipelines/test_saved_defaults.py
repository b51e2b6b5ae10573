"""What a checkpoint says of itself: what its images are."""

import warnings
from pathlib import Path

from diffusers import DiffusionPipeline
from diffusers.utils import logging

from diffusers_handiffuser import MINI, HanDiffuserInpaintPipeline, HanDiffuserPipeline

OLD_CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "contract" / "pipeline"


class TestImageDomain:
    def test_is_saved_loaded_and_handed_on(self, make_pipe, tmp_path):
        make_pipe(image_domain="photographs of hands").save_pretrained(tmp_path)
        loaded = DiffusionPipeline.from_pretrained(tmp_path)
        assert loaded.image_domain == loaded.config.image_domain == "photographs of hands"
        assert HanDiffuserInpaintPipeline.from_pipe(loaded).image_domain == "photographs of hands"
        other = HanDiffuserPipeline.from_pretrained(tmp_path, image_domain="paintings")
        assert other.image_domain == "paintings"

    def test_old_checkpoints_do_not_say(self, caplog):
        for name in ("diffusers", "diffusers_handiffuser"):
            logging.get_logger(name).addHandler(caplog.handler)
        try:
            with warnings.catch_warnings(record=True) as caught:
                pipe = HanDiffuserPipeline.from_pretrained(OLD_CHECKPOINT)
        finally:
            for name in ("diffusers", "diffusers_handiffuser"):
                logging.get_logger(name).removeHandler(caplog.handler)
        assert pipe.image_domain is None
        assert "image_domain" not in caplog.text + " ".join(str(warning.message) for warning in caught)

    def test_of_the_bundled_checkpoint(self):
        assert HanDiffuserPipeline.load_config(MINI)["image_domain"] == "renderings of hands"
