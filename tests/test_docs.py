"""The documentation says what the code does: what drifts fails here. ``python -m tests.test_docs`` writes it anew."""

import re
from pathlib import Path

from app.api.listing import served_table, unserved_table
from app.settings import settings_table
from app.settings.table import settings_example
from app.surfaces.audio.surface import SpeechSurface, TranscriptionsSurface
from app.surfaces.chat.surface import ChatSurface
from app.surfaces.completions.surface import CompletionsSurface
from app.surfaces.embeddings.surface import EmbeddingsSurface
from app.surfaces.fates import fates_table
from app.surfaces.images.surface import edits
from app.surfaces.moderations.hazards import hazards_table
from app.surfaces.moderations.surface import ModerationsSurface
from app.surfaces.rerank.surface import RerankSurface
from app.surfaces.responses.surface import ResponsesSurface
from app.telemetry.families import metrics_table
from app.telemetry.line import line_table

README = Path(__file__).resolve().parent.parent / "README.md"
EXAMPLE = README.parent / "deploy/env.example"

GENERATED = {
    "settings": settings_table,
    "metrics": metrics_table,
    "log-fields": line_table,
    "chat-fields": lambda: fates_table(ChatSurface()),
    "responses-fields": lambda: fates_table(ResponsesSurface()),
    "completions-fields": lambda: fates_table(CompletionsSurface()),
    "embeddings-fields": lambda: fates_table(EmbeddingsSurface()),
    "moderations-fields": lambda: fates_table(ModerationsSurface()),
    "rerank-fields": lambda: fates_table(RerankSurface()),
    "transcriptions-fields": lambda: fates_table(TranscriptionsSurface()),
    "speech-fields": lambda: fates_table(SpeechSurface()),
    "images-fields": lambda: fates_table(edits()),
    "hazards": hazards_table,
    "routes": served_table,
    "unserved": unserved_table,
}


def with_generated(text):
    for name, make in GENERATED.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        assert text.count(start) == text.count(end) == 1, name
        head, _, rest = text.partition(start)
        tail = rest.partition(end)[2]
        text = f"{head}{start}\n\n{make().strip()}\n\n{end}{tail}"
    return text


def test_generated_parts_are_current():
    text = README.read_text("utf-8")
    assert with_generated(text) == text, "run: python -m tests.test_docs"


def test_the_example_environment_is_current():
    assert EXAMPLE.read_text("utf-8") == settings_example(), "run: python -m tests.test_docs"


def test_every_decision_of_a_dependency_is_written():
    root = README.parent
    pyproject = (root / "pyproject.toml").read_text("utf-8")
    block = pyproject.partition("\ndependencies = [")[2].partition("\n]")[0]
    names = re.findall(r'"([a-z0-9-]+)', block)
    decisions = (root / "app/DECISIONS.md").read_text("utf-8")
    assert len(names) > 5
    assert [name for name in names if name not in decisions] == []


def test_locks_name_no_index():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (README.parent / name).read_text("utf-8")
        assert "://" not in text
        assert "--index" not in text
        assert text.count("--hash=sha256:") > 50


if __name__ == "__main__":
    README.write_text(with_generated(README.read_text("utf-8")), "utf-8")
    EXAMPLE.write_text(settings_example(), "utf-8")
