"""Looks at samples' images, which are read ahead."""

from collections.abc import Sequence

from vicrop import images
from vicrop.adapters.adapter import Adapter
from vicrop.run import datasets
from vicrop.run.ahead import Ahead
from vicrop.run.records import RunConfig, Sample
from vicrop.view import View, Views


class Looker:
    """Looks at samples' images; neighbours that share an image share a View.

    Attributes:
        vlm: the model.
        config: of the run.
        views: of the images asked about last.
    """

    def __init__(self, vlm: Adapter, config: RunConfig, coming: Sequence[Sample] = ()):
        self.vlm, self.config, self.views = vlm, config, Views()
        first: dict[str, Sample] = {}
        for sample in coming:
            first.setdefault(sample.image_path, sample)
        self._files = first
        self._images = Ahead(self._load, first, depth=8)

    def __call__(self, sample: Sample) -> View:
        """The view of a sample's image.

        Raises:
            FileNotFoundError: if there is no image.
            ValueError: if it is none that can be looked at.
        """
        return self.views.get(sample.image_path, lambda: self._look(sample))

    def _look(self, sample: Sample) -> View:
        self._files[sample.image_path] = sample  # whom an error is about
        image = self._images(sample.image_path)
        return self.vlm.look(image, self.config.fit, self.config.geometry)

    def _load(self, path: str):
        return images.load(datasets.image_path(self.config.dataset, self._files[path]))

    def close(self) -> None:
        """Free all views and read no more."""
        self._images.close()
        self.views.close()
