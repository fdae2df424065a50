"""A model that can look: the decoder with what ``vlm.look(image)`` gives."""

from numbers import Integral

from vicrop import images
from vicrop.adapters.decoder import Decoder
from vicrop.adapters.facts import Facts
from vicrop.adapters.registry import FAMILIES
from vicrop.view import View


class Adapter(Decoder):
    """A model behind the few verbs that the method needs, whatever its family.

    Args:
        facts: of the model's family.
        layer: of the map, counted from 0; None for the one that is as deep as the
            family's.

    Raises:
        ValueError: if the model has no such layer, or weights that maps cannot be
            made with.
    """

    def __init__(self, facts: Facts, layer: int | None = None):
        # Frozen: gradients go to attention and pixels, never to weights.
        facts.model.eval().requires_grad_(False)
        depth = len(facts.model.get_decoder().layers)
        if layer is None:
            layer = FAMILIES[facts.family].layer_in(depth)
        if not isinstance(layer, Integral) or layer not in range(depth):
            raise ValueError(
                f"layer {layer} is not one of this model's layers, counted from 0 to "
                f"{depth - 1}"
            )
        super().__init__(facts, int(layer))

    @property
    def connector_layer(self) -> int:
        """Of the map, where the connector has several, counted from 0."""
        return self.facts.connector.layer if self.facts.connector else 0

    def look(
        self,
        image: images.ImageLike,
        fit: str | None = None,
        geometry: str = "exact",
    ) -> View:
        """Encode an image once, for any number of questions.

        Args:
            image: a path, a PIL image or an array.
            fit: ``pad``, ``squash`` or ``centre-crop`` to fit it otherwise than the
                model's processor does; None for the processor's way.
            geometry: ``exact``, or ``upstream`` to lay maps over the whole image
                whatever the model sees of it, as the authors' code does.

        Raises:
            ValueError: for an image that cannot be read or is smaller than a patch, or
                an unknown fit or geometry.
        """
        return View(self, images.load(image), fit, geometry)
