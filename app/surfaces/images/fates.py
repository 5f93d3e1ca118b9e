"""What becomes of each field of a request for pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.surfaces.fates import Fate
from app.surfaces.images.read import MAX_PICTURES

GENERATION_FATES: Final[Mapping[str, Fate]] = {
    "prompt": Fate("mapped", "What is to be seen."),
    "model": Fate(
        "mapped",
        "Names the model. `dall-e-2`, `dall-e-3` and no name mean `flux-1-schnell`, `gpt-image-1` and its kin "
        "`flux-2-klein-4b`.",
    ),
    "n": Fate("emulated", f"As many calls of the model, at most {MAX_PICTURES}; picture i gets `seed` + i."),
    "size": Fate(
        "mapped",
        "Brought to what the model can, which is told; left out and told where its pictures have one size.",
    ),
    "quality": Fate("mapped", "`high`, `hd` and above take more steps, `low` fewer, where steps can be chosen."),
    "response_format": Fate(
        "mapped",
        "`b64_json`, or `url` for an address here that is served for an hour. When nothing is asked: `url` for "
        "`dall-e-2` and `dall-e-3`, as at OpenAI, else `b64_json`.",
    ),
    "output_format": Fate("dropped", "Told in the header: the model makes PNG or JPEG; the answer says which."),
    "output_compression": Fate("dropped", "Told in the header."),
    "background": Fate("refused", "`transparent`; no model on Workers AI makes such pictures."),
    "style": Fate("dropped", "Told in the header; say it in the prompt."),
    "moderation": Fate("dropped", "`low` is told in the header: there is no such choice."),
    "stream": Fate("emulated", "The event comes when the picture is whole."),
    "partial_images": Fate("dropped", "More than 0 is told in the header: no model on Workers AI gives any."),
    "complexity": Fate("dropped", "Told in the header."),
    "frame_count": Fate("refused", "More than 1: pictures do not move."),
    "frame_duration_ms": Fate("dropped", "Told in the header."),
    "svg": Fate("refused", "No model on Workers AI draws with lines."),
    "user": Fate("ignored", "It goes no further."),
    "safety_identifier": Fate("ignored", "It is for OpenAI's own monitoring."),
    "seed": Fate("relayed", "Cloudflare's own: where the model takes one."),
    "steps": Fate("relayed", "Cloudflare's own: goes before `quality`."),
    "guidance": Fate("relayed", "Cloudflare's own: where the model takes it."),
    "negative_prompt": Fate("relayed", "Cloudflare's own: where the model takes it."),
    "strength": Fate("relayed", "Cloudflare's own: where the model takes it."),
}
"""Every field of OpenAI's schema, and Cloudflare's own."""

EDIT_FATES: Final[Mapping[str, Fate]] = {
    "image": Fate("mapped", "One, or up to 4 for `flux-2-*`; what it is, is seen from its bytes: PNG, JPEG or WebP."),
    "mask": Fate("mapped", "For `stable-diffusion-v1-5-inpainting`: what is transparent is drawn; refused elsewhere."),
    **GENERATION_FATES,
    "model": Fate("mapped", "Names the model. `dall-e-2`, `gpt-image-1`, its kin and no name mean `flux-2-klein-4b`."),
    "input_fidelity": Fate("dropped", "Told in the header."),
    "markup": Fate("refused", "Draw it into the picture, or send a mask."),
}

VARIATION_FATES: Final[Mapping[str, Fate]] = {
    name: EDIT_FATES[name]
    for name in (
        "image",
        "model",
        "n",
        "size",
        "response_format",
        "user",
        "seed",
        "steps",
        "guidance",
        "negative_prompt",
        "strength",
    )
}
