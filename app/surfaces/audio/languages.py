"""The languages that Whisper knows, by their codes; OpenAI's ``verbose_json`` has their English names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_TABLE: Final = """
af afrikaans|am amharic|ar arabic|as assamese|az azerbaijani|ba bashkir|be belarusian|bg bulgarian|bn bengali
bo tibetan|br breton|bs bosnian|ca catalan|cs czech|cy welsh|da danish|de german|el greek|en english|es spanish
et estonian|eu basque|fa persian|fi finnish|fo faroese|fr french|gl galician|gu gujarati|ha hausa|haw hawaiian
he hebrew|hi hindi|hr croatian|ht haitian creole|hu hungarian|hy armenian|id indonesian|is icelandic|it italian
ja japanese|jw javanese|ka georgian|kk kazakh|km khmer|kn kannada|ko korean|la latin|lb luxembourgish|ln lingala
lo lao|lt lithuanian|lv latvian|mg malagasy|mi maori|mk macedonian|ml malayalam|mn mongolian|mr marathi|ms malay
mt maltese|my myanmar|ne nepali|nl dutch|nn nynorsk|no norwegian|oc occitan|pa punjabi|pl polish|ps pashto
pt portuguese|ro romanian|ru russian|sa sanskrit|sd sindhi|si sinhala|sk slovak|sl slovenian|sn shona|so somali
sq albanian|sr serbian|su sundanese|sv swedish|sw swahili|ta tamil|te telugu|tg tajik|th thai|tk turkmen|tl tagalog
tr turkish|tt tatar|uk ukrainian|ur urdu|uz uzbek|vi vietnamese|yi yiddish|yo yoruba|yue cantonese|zh chinese
"""

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {code: name for entry in _TABLE.replace("\n", "|").split("|") if entry for code, _, name in (entry.partition(" "),)}
)
"""English names by code."""

_CODES: Final[Mapping[str, str]] = MappingProxyType({name: code for code, name in NAMES.items()})


def name_of(code: str | None) -> str:
    """The English name of a language, as OpenAI writes it; the code itself where we know none."""
    if code is None:
        return "unknown"
    return NAMES.get(code.lower().partition("-")[0], code)


def code_of(language: str) -> str:
    """The code of a language that is named by its code, by a code with a region, or in English."""
    language = language.strip().lower()
    return _CODES.get(language) or language.replace("_", "-").partition("-")[0]
