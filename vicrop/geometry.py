"""How a model's preprocessing lays the original image under its patch grid."""

from vicrop.types import Region


def region(fit: str, image_size: tuple[int, int]) -> Region:
    """Where the model's square input lies in the original image.

    Args:
        fit: ``squash`` (both sides stretched to the square), ``centre-crop`` (short
            side fitted, the ends of the long side cut off) or ``pad`` (long side
            fitted; the region then leaves the image).
        image_size: (width, height), pixels.

    Returns:
        (left, top, right, bottom) in pixels of the original image.

    Raises:
        ValueError: for another fit.

    Source: the paper does not mention it. Its code lays every map over the whole
    image, which is right for ``squash`` only (LLaVA's processor centre-crops).
    """
    width, height = image_size
    if fit == "squash":
        return (0.0, 0.0, float(width), float(height))
    if fit not in ("centre-crop", "pad"):
        raise ValueError(f"unknown fit {fit!r}; known: squash, centre-crop, pad")
    side = min(width, height) if fit == "centre-crop" else max(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def visible(fit: str, image_size: tuple[int, int]) -> Region:
    """The part of the original image that reaches the model."""
    left, top, right, bottom = region(fit, image_size)
    width, height = image_size
    return (max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height))
