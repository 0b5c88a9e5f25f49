"""Which house a run works in: the folders behind FLYWHEEL_HOME as one Dagster resource.

What goes here: opening lake, packs, models and stores by name. What does not: what stages do with them.
"""

from pathlib import Path

import dagster as dg

from flywheel.chat.render import Renderer
from flywheel.lake import Lake
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel, find_base_model
from flywheel.workflows.loader import find_pack
from flywheel.workflows.pack import Pack


class House(dg.ConfigurableResource):
    """Everything a stage opens by name.

    Attributes:
        home: FLYWHEEL_HOME; empty takes it from the environment when the run starts.
    """

    home: str = ""

    def settings(self) -> Settings:
        """The installation's settings."""
        return Settings(home=Path(self.home)) if self.home else Settings()

    def lake(self) -> Lake:
        """The Delta tables."""
        return Lake(self.settings().lake())

    def pack(self, workflow: str) -> Pack:
        """The workflow pack; raises FlywheelError naming what is wrong with it."""
        return find_pack(self.settings().workflows(), workflow)

    def base_model(self, pack: Pack) -> BaseModel:
        """The base model in force: the installation's choice, else the pack's."""
        settings = self.settings()
        return find_base_model(settings.models(), settings.base_model or pack.settings.base_model)

    def renderer(self, pack: Pack) -> Renderer:
        """The renderer of the pack's model family over the base model's tokenizer."""
        return Renderer(self.base_model(pack).tokenizer_file, pack.settings.model_family)


defs = dg.Definitions(resources={"house": House(), "pipes": dg.PipesSubprocessClient()})
