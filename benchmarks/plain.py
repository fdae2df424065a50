"""The procedure as the authors' code has it, on stock transformers: the yardstick.

Every pass starts from the pixels, all layers' attention is kept, and the general map is
computed again for every question.
"""

import torch
from PIL import Image

from vicrop import boxes, geometry
from vicrop.adapters.base import GENERAL_QUESTION
from vicrop.adapters.llava import Llava, prompt_text
from vicrop.types import Map


def attention(vlm: Llava, image: Image.Image, question: str) -> torch.Tensor:
    """(rows, cols) attention of the last token, all layers' attention computed."""
    inputs = vlm.processor(
        images=[image], text=prompt_text(question), return_tensors="pt"
    )
    output = vlm.model(**inputs, output_attentions=True)
    places = inputs["input_ids"][0] == vlm.model.config.image_token_id
    row = output.attentions[vlm.layer][0, :, -1].mean(0)
    return row[places].reshape(vlm.grid).detach()


def generate(vlm: Llava, images: list[Image.Image], question: str, tokens: int) -> str:
    """The stock greedy answer from one image or two."""
    text = prompt_text(question, len(images))
    inputs = vlm.processor(images=images, text=text, return_tensors="pt")
    output = vlm.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
    new = output[0, inputs["input_ids"].shape[1] :]
    return vlm.tokenizer.decode(new, skip_special_tokens=True).strip()


def answer(
    vlm: Llava, image: Image.Image, question: str, tokens: int = 20
) -> tuple[str, str]:
    """The plain answer, and the one with the crop that rel-att points to.

    The model must have been loaded with eager attention.
    """
    said = generate(vlm, [image], question, tokens)
    values = attention(vlm, image, question) / attention(vlm, image, GENERAL_QUESTION)
    amap = Map(values.numpy(), geometry.region(vlm.fit, image.size))
    box = boxes.select_box(amap, image.size, vlm.crop_px)
    return said, generate(vlm, [image, image.crop(box)], question, tokens)
